//! What makes a receipt doubtful, what a verdict says, and whom that leaves to be asked.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use actum_model::{receipt::Stdio, *};
use actum_trust::*;
use proptest::prelude::*;
use serde_bytes::{ByteArray, ByteBuf};
use std::{collections::BTreeSet, sync::LazyLock};

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

const COMPONENT: &[u8] = b"component";
const ARGS: &[u8] = b"args";
const OUTPUT: &[u8] = b"output";

fn receipt() -> Receipt {
    let action = Action {
        requester: key(9).did(),
        component: ComponentId::of(COMPONENT),
        function: "run".parse().unwrap(),
        args: BlobId::of(ARGS),
        limits: Limits::default(),
        permissions: BTreeSet::new(),
        seed: ByteArray::new([1; 32]),
        time_base: 1,
        nonce: ByteArray::new([2; 12]),
        partial: false,
    };
    Receipt {
        iss: key(1).did(),
        iat: 1,
        action,
        authority: Authority::Public,
        invocation: Some(InvocationId::of(b"invocation")),
        withheld: Default::default(),
        profile: ProfileId::of(b"profile"),
        outcome: Outcome::Ok(BlobId::of(OUTPUT)),
        fuel: 10,
        memory_bytes: 65_536,
        journal: Journal::default().id(),
        stdio: None,
    }
}

const KEYVALUE: &str = "keyvalue:notes";
const TWO_BODIES: &[(&str, &[&[u8]])] =
    &[("wasi:keyvalue/store#bucket.get", &[b"one"]), ("wasi:keyvalue/store#bucket.set", &[b"two", b"one"])];

/// What is said of a receipt that differs from an honest one in one thing, with what came with it.
struct Doubt {
    /// Whether the asker granted what the receipt says, under the limits it says.
    granted: bool,
    /// Who was asked.
    provider: Did,
    receipt: Receipt,
    output: Option<Vec<u8>>,
    journal: Vec<u8>,
    bodies: Vec<ByteBuf>,
    stdio: Option<Vec<u8>>,
    invocation: Option<InvocationId>,
    chain: Vec<DelegationId>,
}

impl Doubt {
    fn check(change: impl FnOnce(&mut Self)) -> Result<(), Box<Inconsistency>> {
        let asked = receipt();
        let mut doubt = Self {
            granted: false,
            provider: key(1).did(),
            receipt: receipt(),
            output: Some(OUTPUT.to_vec()),
            journal: Journal::default().bytes(),
            bodies: vec![],
            stdio: None,
            invocation: Some(InvocationId::of(b"invocation")),
            chain: vec![],
        };
        change(&mut doubt);
        // What was granted is the asker's to say.
        let mut asked = asked;
        if std::mem::take(&mut doubt.granted) {
            asked.action.permissions = doubt.receipt.action.permissions.clone();
            asked.action.limits = doubt.receipt.action.limits.clone();
            asked.action.partial = doubt.receipt.action.partial;
            asked.action.requester = doubt.receipt.action.requester;
        }
        consistency(
            &doubt.receipt,
            &Asked {
                provider: doubt.provider,
                action: &asked.action,
                invocation: doubt.invocation,
                chain: &doubt.chain,
                profiles: &[ProfileId::of(b"profile")],
                output: doubt.output.as_deref(),
                journal: &doubt.journal,
                bodies: &doubt.bodies,
                stdio: doubt.stdio.as_deref(),
            },
        )
    }

    fn stdio(&mut self, stdout: usize) {
        let stdio = Stdio { stdout: vec![0; stdout].into(), ..Stdio::default() };
        self.take_stdio(codec::encode(&stdio));
    }

    fn take_stdio(&mut self, bytes: Vec<u8>) {
        self.receipt.stdio = Some(BlobId::of(&bytes));
        self.stdio = Some(bytes);
    }

    fn take_journal(&mut self, bytes: Vec<u8>) {
        self.receipt.journal = JournalId::of(&bytes);
        self.journal = bytes;
    }

    /// The guest was granted this and told that: functions, each with the bodies it names.
    fn tell(&mut self, granted: &[&str], told: &[(&str, &[&[u8]])]) {
        self.granted = true;
        self.receipt.action.permissions = granted.iter().map(|g| g.parse().unwrap()).collect();
        let entry = |(function, bodies): &(&str, &[&[u8]])| JournalEntry {
            function: (*function).to_owned(),
            asked: Default::default(),
            told: Default::default(),
            bodies: bodies.iter().map(|b| BlobId::of(b)).collect(),
        };
        let journal = Journal { entries: told.iter().map(entry).collect() };
        let all = told.iter().flat_map(|(_, bodies)| bodies.iter().copied());
        let body = |id: BlobId| ByteBuf::from(all.clone().find(|b| id.names(b)).unwrap());
        self.bodies = journal.bodies().into_iter().map(body).collect();
        self.take_journal(journal.bytes());
    }

    /// The provider ran it for itself.
    fn own(&mut self) {
        self.receipt.iss = self.receipt.action.requester;
        self.receipt.authority = Authority::Local;
        self.receipt.invocation = None;
        self.granted = true;
        self.provider = self.receipt.iss;
    }

    /// Its bucket was withheld.
    fn withhold(&mut self, partial: bool) {
        self.granted = true;
        self.receipt.action.partial = partial;
        self.receipt.withheld = [KEYVALUE.parse().unwrap()].into();
    }

    /// The authority ended at a question, which so many others follow.
    fn withdraw(&mut self, more: usize, why: Withdrawal) {
        self.tell(&[KEYVALUE], &[("wasi:keyvalue/store#open", &[])]);
        let mut journal: Journal = codec::decode(&self.journal, Journal::MAX_BYTES).unwrap();
        journal.entries[0].told = journal::withdrawal(why).into();
        journal.entries.extend(vec![journal.entries[0].clone(); more]);
        self.take_journal(journal.bytes());
    }

    fn end(&mut self, outcome: Outcome) {
        self.receipt.outcome = outcome;
        self.output = None;
    }

    fn deny(&mut self, imports: &[&str], fuel: u64) {
        self.receipt.outcome = Outcome::Denied(imports.iter().map(|i| (*i).to_owned()).collect());
        self.output = None;
        self.receipt.fuel = fuel;
        self.receipt.memory_bytes = 0;
    }
}

macro_rules! refuses {
    ($($name:ident: $pattern:pat => $change:expr;)*) => {$(
        #[test]
        fn $name() {
            let error = Doubt::check($change).unwrap_err();
            assert!(matches!(*error, $pattern), "{error:?}");
            assert!(!error.to_string().is_empty());
        }
    )*};
}

refuses! {
    another_provider: Inconsistency::OtherProvider { .. } => |d| d.receipt.iss = key(2).did();
    another_requester: Inconsistency::OtherAction { field: "requester", .. } => |d| d.receipt.action.requester = key(2).did();
    another_component: Inconsistency::OtherAction { field: "component", .. } => |d| d.receipt.action.component = ComponentId::of(b"x");
    another_function: Inconsistency::OtherAction { field: "function", .. } => |d| d.receipt.action.function = "x".parse().unwrap();
    other_arguments: Inconsistency::OtherAction { field: "args", .. } => |d| d.receipt.action.args = BlobId::of(b"x");
    other_limits: Inconsistency::OtherAction { field: "limits", .. } => |d| d.receipt.action.limits.fuel += 1;
    other_permissions: Inconsistency::OtherAction { field: "permissions", .. } => |d| { d.receipt.action.permissions.insert(Granted::Network); };
    another_seed: Inconsistency::OtherAction { field: "seed", .. } => |d| d.receipt.action.seed[0] ^= 1;
    another_time_base: Inconsistency::OtherAction { field: "time_base", .. } => |d| d.receipt.action.time_base += 1;
    another_nonce: Inconsistency::OtherAction { field: "nonce", .. } => |d| d.receipt.action.nonce[0] ^= 1;
    less_than_asked_for_where_it_was_not_allowed: Inconsistency::OtherAction { field: "partial", .. } => |d| d.receipt.action.partial = true;
    a_local_run_by_another_peer: Inconsistency::NotLocal { .. } => |d| d.receipt.authority = Authority::Local;
    a_delegated_run_by_another_peer: Inconsistency::NotLocal { .. } =>
        |d| d.receipt.authority = Authority::Delegated(d.receipt.action.id());
    a_chain_without_a_request: Inconsistency::Request { invocation: None, .. } => |d| {
        d.receipt.authority = Authority::Granted(vec![DelegationId::of(b"d")]);
        d.receipt.invocation = None;
    };
    a_public_run_without_a_request: Inconsistency::Request { invocation: None, .. } => |d| {
        d.receipt.invocation = None;
        d.invocation = None;
    };
    a_chain_without_a_request_even_where_none_is_known: Inconsistency::Request { invocation: None, .. } => |d| {
        d.receipt.authority = Authority::Granted(vec![DelegationId::of(b"d")]);
        d.receipt.invocation = None;
        d.invocation = None;
    };
    a_request_that_nobody_sent: Inconsistency::Request { .. } => |d| d.invocation = Some(InvocationId::of(b"another"));
    another_chain_than_was_shown: Inconsistency::Request { .. } => |d| {
        d.chain = vec![DelegationId::of(b"d")];
        d.receipt.authority = Authority::Granted(vec![DelegationId::of(b"e")]);
    };
    a_chain_that_was_shown_and_is_not_named: Inconsistency::Request { .. } =>
        |d| d.chain = vec![DelegationId::of(b"d")];
    a_request_for_what_ran_by_its_providers_own_authority: Inconsistency::Request { invocation: Some(_), .. } => |d| {
        d.own();
        d.receipt.invocation = Some(InvocationId::of(b"i"));
    };
    something_withheld_of_an_action_that_is_not_partial: Inconsistency::Withheld(_) => |d| {
        d.tell(&[KEYVALUE], &[]);
        d.withhold(false);
    };
    something_withheld_that_was_not_asked_for: Inconsistency::Withheld(_) => |d| {
        d.withhold(true);
    };
    a_journal_of_what_was_withheld: Inconsistency::UngrantedJournal { entry: 1, permission: Some(Permission::Keyvalue), .. } => |d| {
        d.tell(&[KEYVALUE], &[("wasi:keyvalue/store#open", &[])]);
        d.withhold(true);
    };
    an_outcome_withdrawn_that_no_entry_tells: Inconsistency::Withdrawal { entry: 0, entries: 1, journal: None, .. } => |d| {
        d.tell(&[KEYVALUE], &[("wasi:keyvalue/store#open", &[])]);
        d.end(Outcome::Withdrawn(Withdrawal::Revoked));
    };
    an_entry_withdrawn_that_the_outcome_denies: Inconsistency::Withdrawal { entry: 1, outcome: None, .. } => |d| {
        d.withdraw(0, Withdrawal::Revoked);
        d.end(Outcome::OutOfFuel);
    };
    an_entry_withdrawn_for_another_reason: Inconsistency::Withdrawal { entry: 1, journal: Some(Withdrawal::Expired), .. } => |d| {
        d.withdraw(0, Withdrawal::Expired);
        d.end(Outcome::Withdrawn(Withdrawal::Revoked));
    };
    an_entry_after_the_authority_ended: Inconsistency::Withdrawal { entry: 1, entries: 2, .. } => |d| {
        d.withdraw(1, Withdrawal::Revoked);
        d.end(Outcome::Withdrawn(Withdrawal::Revoked));
    };
    an_unknown_profile: Inconsistency::UnknownProfile { .. } => |d| d.receipt.profile = ProfileId::of(b"x");
    another_output: Inconsistency::Output { named: Some(_), came: Some(_) } => |d| d.output = Some(b"x".to_vec());
    no_output: Inconsistency::Output { came: None, .. } => |d| d.output = None;
    an_output_of_a_failure: Inconsistency::Output { named: None, .. } => |d| d.receipt.outcome = Outcome::OutOfFuel;
    another_journal: Inconsistency::Journal { .. } => |d| d.journal = b"x".to_vec();
    another_stdio: Inconsistency::Stdio { named: None, came: Some(_) } => |d| d.stdio = Some(b"x".to_vec());
    fuel_over_its_limit: Inconsistency::OverLimit { resource: "fuel", .. } => |d| d.receipt.fuel = u64::MAX;
    memory_over_its_limit: Inconsistency::OverLimit { resource: "memory_bytes", .. } => |d| d.receipt.memory_bytes = u64::MAX;
    stdio_over_its_limit: Inconsistency::OverLimit { resource: "stdio_bytes", .. } => |d| d.stdio((1 << 20) + 1);
    a_journal_that_is_none: Inconsistency::MalformedJournal(_) => |d| d.take_journal(b"x".to_vec());
    a_stdio_that_is_none: Inconsistency::MalformedStdio(_) => |d| d.take_stdio(b"x".to_vec());
    a_journal_without_a_grant: Inconsistency::UngrantedJournal { entry: 1, permission: Some(Permission::Keyvalue), .. } =>
        |d| d.tell(&[], &[("wasi:keyvalue/store#open", &[])]);
    a_journal_of_another_grant: Inconsistency::UngrantedJournal { entry: 2, permission: Some(Permission::Http), .. } =>
        |d| d.tell(&[KEYVALUE], &[("wasi:keyvalue/store#open", &[]), ("wasi:http/outgoing-handler#handle", &[])]);
    a_journal_of_a_function_that_tells_nothing: Inconsistency::UngrantedJournal { entry: 1, permission: None, .. } =>
        |d| d.tell(&[KEYVALUE], &[("wasi:random/random#get-random-u64", &[])]);
    a_journal_over_its_limit: Inconsistency::OverLimit { resource: "journal_bytes", .. } => |d| {
        d.receipt.action.limits.journal_bytes = 63;
        d.tell(&[KEYVALUE], &[("wasi:keyvalue/store#open", &[])]);
    };
    bodies_over_the_journals_limit: Inconsistency::OverLimit { resource: "journal_bytes", .. } => |d| {
        d.receipt.action.limits.journal_bytes = 4_000;
        d.tell(&[KEYVALUE], &[("wasi:keyvalue/store#bucket.get", &[&[1; 2_000]]), ("wasi:keyvalue/store#bucket.get", &[&[1; 2_000]])]);
    };
    a_missing_body: Inconsistency::Body { number: 2, named: Some(_), came: None } => |d| {
        d.tell(&[KEYVALUE], TWO_BODIES);
        d.bodies.pop();
    };
    a_body_too_many: Inconsistency::Body { number: 3, named: None, came: Some(_) } => |d| {
        d.tell(&[KEYVALUE], TWO_BODIES);
        d.bodies.push(ByteBuf::from("three"));
    };
    a_body_twice: Inconsistency::Body { number: 3, named: None, came: Some(_) } => |d| {
        d.tell(&[KEYVALUE], TWO_BODIES);
        d.bodies.push(d.bodies[0].clone());
    };
    bodies_in_another_order: Inconsistency::Body { number: 1, named: Some(_), came: Some(_) } => |d| {
        d.tell(&[KEYVALUE], TWO_BODIES);
        d.bodies.swap(0, 1);
    };
    another_body: Inconsistency::Body { number: 2, named: Some(_), came: Some(_) } => |d| {
        d.tell(&[KEYVALUE], TWO_BODIES);
        d.bodies[1][0] ^= 1;
    };
    a_denial_that_burned_fuel: Inconsistency::DeniedYetRan { fuel: 1, .. } => |d| d.deny(&["wasi:http"], 1);
    a_denial_of_nothing: Inconsistency::DeniedNothing(_) => |d| d.deny(&[], 0);
    a_denial_in_disorder: Inconsistency::DeniedNothing(_) => |d| d.deny(&["b", "a"], 0);
}

#[test]
fn what_a_chain_a_provider_or_a_part_gives_is_consistent() {
    Doubt::check(Doubt::own).unwrap();
    // The provider may find the requester's grant in its own home.
    for shown in [vec![], vec![DelegationId::of(b"d")]] {
        Doubt::check(|d| {
            d.receipt.authority = Authority::Granted(vec![DelegationId::of(b"d")]);
            d.chain = shown;
        })
        .unwrap();
    }
    Doubt::check(|d| {
        d.tell(&[KEYVALUE, "http:https://example.com"], &[("wasi:io/poll#poll", &[])]);
        d.withhold(true);
    })
    .unwrap();
    for why in Withdrawal::ALL {
        Doubt::check(|d| {
            d.withdraw(0, why);
            d.end(Outcome::Withdrawn(why));
        })
        .unwrap();
    }
}

#[test]
fn what_is_told_through_a_grant_is_consistent() {
    let http = "http:https://example.com";
    let files = format!("files:{}", BlobId::of(b"tree"));
    let delegate = format!("delegate:other={}", ComponentId::of(b"other"));
    let told = [
        (http, "wasi:http/outgoing-handler#handle"),
        (http, "wasi:http/types#future-incoming-response.get"),
        (http, "wasi:io/poll#poll"),
        (KEYVALUE, "wasi:keyvalue/store#open"),
        (KEYVALUE, "wasi:keyvalue/atomics#increment"),
        (&files, "wasi:filesystem#block"),
        (&delegate, "actum:host/delegate#call"),
    ];
    for (granted, function) in told {
        Doubt::check(|d| d.tell(&[granted], &[(function, &[])])).unwrap();
        for (other, _) in told.iter().filter(|(other, _)| *other != granted) {
            let refused = Doubt::check(|d| d.tell(&[other], &[(function, &[])])).unwrap_err();
            assert!(matches!(*refused, Inconsistency::UngrantedJournal { entry: 1, .. }), "{refused}");
        }
    }
    for function in [
        "wasi:httpx/types#f",
        "wasi:io/poll#pollable.block",
        "wasi:filesystem/types#read",
        "",
        "wasi:config/store#get",
    ] {
        let all = [http, KEYVALUE, &files, &delegate, "config:k=v"];
        let refused = Doubt::check(|d| d.tell(&all, &[(function, &[])])).unwrap_err();
        assert!(matches!(*refused, Inconsistency::UngrantedJournal { permission: None, .. }), "{refused}");
    }
    Doubt::check(|d| d.tell(&[KEYVALUE], TWO_BODIES)).unwrap();
}

#[test]
fn an_honest_receipt_is_consistent() {
    Doubt::check(|_| {}).unwrap();
    Doubt::check(|d| d.stdio(1 << 20)).unwrap();
    Doubt::check(|d| d.deny(&["a", "b"], 0)).unwrap();
    Doubt::check(|d| {
        d.receipt.outcome = Outcome::OutOfFuel;
        d.receipt.fuel = d.receipt.action.limits.fuel;
        d.output = None;
    })
    .unwrap();
}

/// Says of every receipt what it was told to say.
struct Says(Judgement);

impl Replayer for Says {
    fn profile(&self) -> ProfileId {
        ProfileId::of(b"mine")
    }
    fn replay(&self, _: &Receipt, _: &Evidence<'_>) -> Judgement {
        self.0.clone()
    }
}

fn evidence(journal: &[u8]) -> Evidence<'_> {
    static NONE: Bodies = Bodies::new();
    Evidence { component: COMPONENT, args: ARGS, output: Some(OUTPUT), journal, bodies: &NONE, stdio: None }
}

#[test]
fn a_verdict_names_receipt_provider_profile_and_judgement() {
    let signed = Signed::sign(receipt(), &key(1));
    let journal = Journal::default().bytes();
    let made = examine(&Says(Judgement::Identical), &signed, &evidence(&journal), key(3).did(), 77);
    let wanted = Verdict {
        iss: key(3).did(),
        iat: 77,
        receipt: signed.id(),
        provider: key(1).did(),
        profile: ProfileId::of(b"mine"),
        judgement: Judgement::Identical,
    };
    assert_eq!(made, wanted);
}

#[test]
fn evidence_the_receipt_does_not_name_accuses_nobody() {
    let signed = Signed::sign(receipt(), &key(1));
    let journal = Journal::default().bytes();
    let right = evidence(&journal);
    let stranger = Bodies::from([(BlobId::of(b"x"), b"x".to_vec())]);
    let wrong = [
        ("component", Evidence { component: b"x", ..right }),
        ("arguments", Evidence { args: b"x", ..right }),
        ("output", Evidence { output: None, ..right }),
        ("journal", Evidence { journal: b"x", ..right }),
        ("body of the journal", Evidence { bodies: &stranger, ..right }),
        ("stdio", Evidence { stdio: Some(b"x"), ..right }),
    ];
    let liar = Says(diverged("output", "a", "b"));
    for (part, evidence) in wrong {
        match examine(&liar, &signed, &evidence, key(3).did(), 1).judgement {
            Judgement::NotReplayable(why) => assert!(why.contains(part), "{why}"),
            other => panic!("{other}"),
        }
    }
}

fn diverged(at: &str, receipt: &str, replay: &str) -> Judgement {
    let text = |t: &str| t.to_owned();
    Judgement::Diverged(Divergence { at: text(at), receipt: text(receipt), replay: text(replay) })
}

#[test]
fn a_verdict_of_any_length_fits_in_its_envelope() {
    let signed = Signed::sign(receipt(), &key(1));
    let long = "é".repeat(100_000);
    for judgement in [diverged(&long, &long, &long), Judgement::NotReplayable(long.clone())] {
        let made = verdict(&signed, judgement, key(3).did(), ProfileId::of(b""), 1);
        Signed::<Verdict>::verify(Signed::sign(made, &key(3)).bytes()).unwrap();
    }
}

/// Of the first ten keys, made once: keys take their time, and records name thousands.
static DIDS: LazyLock<Vec<Did>> = LazyLock::new(|| (0..10).map(|n| key(n).did()).collect());

fn candidate(provider: u8, release: &str) -> Candidate<u8> {
    Candidate {
        provider: DIDS[usize::from(provider)],
        release: ReleaseId::of(release.as_bytes()),
        item: provider,
    }
}

/// How often each of the providers 1 to 9 was confirmed; 99 of them: it was caught in a lie, 98: its receipts are bad.
fn record(confirmed: u64, component: &ComponentId) -> Record {
    let event = |n: u64, what| Event {
        provider: DIDS[1],
        component: *component,
        at: 1_000,
        what,
        verifier: None,
        receipt: Some(ReceiptId::of(&n.to_be_bytes())),
    };
    let events: Vec<_> = match confirmed {
        99 => vec![event(0, Experience::Diverged)],
        98 => vec![event(0, Experience::Inconsistent)],
        n => (0..n).map(|n| event(n, Experience::Identical)).collect(),
    };
    Record::of(&events, Some(component), 1_000, &Reputation::default(), &[])
}

fn chosen(ranked: Vec<Candidate<u8>>, confirmed: &[(u8, u64)], level: &Level, draw: u64) -> Choice<u8> {
    let component = ComponentId::of(COMPONENT);
    let of = |did: &Did| {
        let held = confirmed.iter().find(|(provider, _)| DIDS[usize::from(*provider)] == *did);
        held.map_or_else(Record::default, |(_, n)| record(*n, &component))
    };
    choose(ranked, of, level, draw)
}

fn order(choice: &Choice<u8>) -> Vec<(u8, ReleaseId)> {
    choice.candidates.iter().map(|c| (c.candidate.item, c.candidate.release)).collect()
}

/// Never explores.
fn settled() -> Level {
    Level { newcomers: false, explore_one_in: std::num::NonZeroU32::MAX, ..Level::low() }
}

#[test]
fn one_divergence_excludes_a_provider_and_says_why() {
    let choice = chosen(vec![candidate(1, "a"), candidate(2, "a")], &[(1, 99)], &settled(), 0);
    assert_eq!(order(&choice), [(2, ReleaseId::of(b"a"))]);
    assert_eq!(choice.excluded[0].0, candidate(1, "a"));
    assert!(choice.excluded[0].1.standing().excluded());
    assert!(choice.excluded[0].1.explain()[0].contains("caught in a lie"));
}

#[test]
fn the_best_matching_release_stays_first_and_its_proven_providers_lead() {
    let ranked =
        vec![candidate(1, "a"), candidate(5, "b"), candidate(8, "a"), candidate(7, "a"), candidate(5, "a")];
    let choice = chosen(ranked, &[(5, 4), (7, 1), (8, 98)], &settled(), 0);
    let (a, b) = (ReleaseId::of(b"a"), ReleaseId::of(b"b"));
    assert_eq!(order(&choice), [(5, a), (7, a), (1, a), (8, a), (5, b)]);
    let why: Vec<_> = choice.candidates.iter().map(|c| c.why).collect();
    assert_eq!(why, [Why::Proven, Why::Known, Why::Newcomer, Why::Suspect, Why::Proven]);
}

#[test]
fn equals_share_the_work_and_one_more_receipt_draws_none_of_it() {
    // Past probation, 40 and 4,000 confirmations are the same; one is short of it.
    let ranked = || (1..5).map(|p| candidate(p, "a")).collect::<Vec<_>>();
    let held = [(1, 40), (2, 4_000), (3, 1)];
    let mut first = [0; 5];
    for draw in 0..100 {
        let choice = chosen(ranked(), &held, &settled(), draw);
        first[usize::from(choice.candidates[0].candidate.item)] += 1;
        assert_eq!(order(&choice)[2..], [(3, ReleaseId::of(b"a")), (4, ReleaseId::of(b"a"))]);
    }
    assert_eq!(first, [0, 50, 50, 0, 0]);
}

#[test]
fn newcomers_are_explored_at_the_levels_rate_and_never_under_high() {
    let ranked = || vec![candidate(1, "a"), candidate(8, "a"), candidate(2, "a"), candidate(3, "b")];
    let held = [(1, 200), (8, 98)];
    let explored = |level: &Level| {
        let first = |draw| chosen(ranked(), &held, level, draw).candidates.swap_remove(0);
        let all = (0..5_000).map(first).filter(|c| c.why == Why::Explored);
        all.map(|c| assert_eq!(c.candidate.item, 2)).count()
    };
    let low = explored(&Level::low());
    assert!((400..600).contains(&low), "{low} of 5000 where one in ten is wanted");
    assert_eq!(explored(&Level::high()), 0);
    // Where nobody else is there, a newcomer is asked under every level.
    let alone = chosen(vec![candidate(2, "a")], &[], &Level::high(), 0);
    assert_eq!(alone.candidates[0].why, Why::Newcomer);
}

#[test]
fn who_answers_and_who_is_fast_comes_first_among_equals() {
    let component = ComponentId::of(COMPONENT);
    let served = |millis: &[u32], lost: u64| {
        let event = |n: usize, what| Event {
            provider: DIDS[1],
            component,
            at: n as u64,
            what,
            verifier: None,
            receipt: None,
        };
        let mut events: Vec<_> = millis
            .iter()
            .enumerate()
            .map(|(n, millis)| event(n, Experience::Served { millis: *millis }))
            .collect();
        events.extend((0..lost).map(|n| event(100 + n as usize, Experience::Lost)));
        Record::of(&events, None, 200, &Reputation::default(), &[])
    };
    let records = [
        (1, served(&[9_000; 9], 0)),
        (2, served(&[30; 9], 0)),
        (3, served(&[30; 2], 3)),
        (4, Record::default()),
    ];
    let ranked = (1..5).map(|p| candidate(p, "a")).collect();
    let of = |did: &Did| records.iter().find(|(p, _)| DIDS[*p] == *did).unwrap().1.clone();
    let choice = choose(ranked, of, &settled(), 0);
    let order: Vec<_> = choice.candidates.iter().map(|c| c.candidate.item).collect();
    assert_eq!(order, [2, 1, 4, 3]);
}

proptest! {
    #[test]
    fn a_choice_loses_nobody_and_never_asks_a_fraud(
        held in prop::collection::vec((1..9_u8, prop_oneof![0..200_u64, Just(98), Just(99)]), 0..8),
        draw in any::<u64>(),
    ) {
        let ranked = (1..9).map(|p| candidate(p, if p % 3 == 0 { "b" } else { "a" })).collect();
        let choice = chosen(ranked, &held, &Level::medium(), draw);
        prop_assert_eq!(choice.candidates.len() + choice.excluded.len(), 8);
        let providers: BTreeSet<_> = choice.candidates.iter().map(|c| c.candidate.item).collect();
        prop_assert_eq!(providers.len(), choice.candidates.len());
        for c in &choice.candidates {
            prop_assert!(!c.record.standing().excluded());
        }
        // But for one that is explored, no newcomer of a release comes before one that was confirmed.
        let settled: Vec<_> = choice.candidates.iter().filter(|c| c.why != Why::Explored).collect();
        for pair in settled.windows(2).filter(|p| p[0].candidate.release == p[1].candidate.release) {
            prop_assert!(pair[0].why != Why::Newcomer || pair[1].why >= Why::Newcomer);
        }
    }

    #[test]
    fn any_other_output_is_noticed(output in prop::collection::vec(any::<u8>(), 0..40)) {
        let result = Doubt::check(|d| d.output = Some(output.clone()));
        prop_assert_eq!(result.is_ok(), output == OUTPUT);
    }
}
