//! By what authority an action ran, as an auditor can tell offline: what is proven, what is not, what is false.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use actum_model::{
    ucan::{ChainError, policy::Statement},
    value::encode_params,
    *,
};
use actum_trust::*;
use proptest::prelude::*;
use serde_bytes::ByteArray;

const ASKED: u64 = 1_790_000_000;
const COMPONENT: &[u8] = b"component";

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}
fn provider() -> SecretKey {
    key(1)
}
fn friend() -> SecretKey {
    key(2)
}
fn requester() -> SecretKey {
    key(3)
}
fn author() -> SecretKey {
    key(4)
}

fn params() -> Vec<Param> {
    vec![Param { name: "text".into(), ty: WitType::String }]
}

fn args() -> Vec<u8> {
    encode_params(&params(), &[Value::String("to be".into())]).unwrap()
}

fn le(selector: &str, most: u64) -> Statement {
    Statement::le(selector.parse().unwrap(), most)
}

fn eq(selector: &str, text: &str) -> Statement {
    Statement::eq(selector.parse().unwrap(), text)
}

fn release() -> Release {
    Release {
        iss: author().did(),
        name: "words".parse().unwrap(),
        version: "1.0.0".parse().unwrap(),
        intent: "Count words.".into(),
        tags: vec![],
        component: ComponentId::of(COMPONENT),
        component_bytes: COMPONENT.len() as u64,
        chunks: release::chunk_digests(COMPONENT),
        wit: Default::default(),
        functions: vec![],
        permissions: Default::default(),
        examples: vec![],
    }
}

/// Everything of an honest receipt by a chain from the provider over a friend to the requester, to be bent.
struct World {
    action: Action,
    root: Delegation,
    leaf: Delegation,
    /// What the request shows; `None`: the whole chain.
    shown: Option<Vec<DelegationId>>,
    /// Whom the request is for.
    aud: Did,
    sub: Did,
    asked: u64,
    authority: Option<Authority>,
    issued: u64,
    withheld: Vec<Granted>,
    /// The request is for another action than the receipt's.
    other: Option<Action>,
    command: Option<&'static str>,
    without_request: bool,
    without_root: bool,
    input: bool,
    release: Option<Release>,
}

fn delegation(from: &SecretKey, to: &SecretKey) -> Delegation {
    Delegation {
        iss: from.did(),
        aud: to.did(),
        sub: Some(provider().did()),
        cmd: RunArgs::command(),
        pol: Policy::default(),
        nonce: vec![1; 12].into(),
        meta: None,
        nbf: None,
        exp: Some(ASKED + 1_000),
    }
}

fn signer(did: Did) -> SecretKey {
    (0..10).map(key).find(|key| key.did() == did).unwrap()
}

impl World {
    fn new() -> Self {
        Self {
            action: Action {
                requester: requester().did(),
                component: ComponentId::of(COMPONENT),
                function: "count".parse().unwrap(),
                args: BlobId::of(&args()),
                limits: Limits::default(),
                permissions: Default::default(),
                seed: ByteArray::new([1; 32]),
                time_base: 1,
                nonce: ByteArray::new([2; 12]),
                partial: false,
            },
            root: delegation(&provider(), &friend()),
            leaf: delegation(&friend(), &requester()),
            shown: None,
            aud: provider().did(),
            sub: provider().did(),
            asked: ASKED,
            authority: None,
            issued: ASKED + 5,
            withheld: vec![],
            other: None,
            command: None,
            without_request: false,
            without_root: false,
            input: true,
            release: Some(release()),
        }
    }

    fn check(change: impl FnOnce(&mut Self)) -> Result<Proven, AuthorityError> {
        let mut world = Self::new();
        change(&mut world);
        let sign = |d: Delegation| {
            let key = signer(d.iss);
            Proof::from(Signed::sign(d, &key))
        };
        let mut proofs = vec![sign(world.root), sign(world.leaf)];
        let ids: Vec<_> = proofs.iter().map(|p| *p.id()).collect();
        let shown = world.shown.unwrap_or_else(|| ids.clone());
        let asked = world.other.as_ref().unwrap_or(&world.action);
        let claim = Claim::of(&release());
        let end = world.asked + 60;
        let mut request = RunArgs::invocation(asked, &claim, world.aud, world.sub, shown, end, world.asked);
        if let Some(command) = world.command {
            request.cmd = command.parse().unwrap();
        }
        let request = Signed::sign(request, &requester());
        let authority = world.authority.unwrap_or(Authority::Granted(ids));
        let receipt = Receipt {
            iss: provider().did(),
            iat: world.issued,
            action: world.action,
            invocation: (!authority.is_own()).then(|| request.id()),
            authority,
            withheld: world.withheld.into_iter().collect(),
            profile: ProfileId::of(b"profile"),
            outcome: Outcome::OutOfFuel,
            fuel: 1,
            memory_bytes: 1,
            journal: Journal::default().id(),
            stdio: None,
        };
        if world.without_root {
            proofs.remove(0);
        }
        let (params, args) = (params(), args());
        let at_hand = AtHand {
            invocation: (!world.without_request).then_some(&request),
            proofs: &proofs,
            release: world.release.as_ref(),
            input: world.input.then_some((&params, &args)),
        };
        actum_trust::authority(&receipt, &at_hand)
    }
}

fn granted(unproven: Vec<Unproven>) -> Proven {
    Proven { how: How::Granted { root: provider().did() }, unproven }
}

#[test]
fn a_chain_to_the_requester_is_proven_and_its_standing_is_the_providers_word() {
    assert_eq!(World::check(|_| {}).unwrap(), granted(vec![Unproven::Standing]));
    let allowed = |w: &mut World| {
        w.root.pol = Policy::new(vec![eq(".function", "count"), eq(".author", &author().did().to_string())]);
        w.leaf.pol = Policy::new(vec![le(".limits.fuel", u64::MAX >> 1), eq(".input.text", "to be")]);
    };
    assert_eq!(World::check(allowed).unwrap(), granted(vec![Unproven::Standing]));
}

#[test]
fn what_cannot_be_judged_offline_is_said() {
    let clause = |text: &str| text.to_owned();
    let said = World::check(|w| {
        w.root.pol = Policy::new(vec![le(".spent.actions", 0), eq(".name", "words")]);
        w.leaf.pol = Policy::new(vec![le(".minute.fuel", 0), eq(".input.text", "something else")]);
        w.input = false;
        w.release = None;
    });
    let wanted = vec![
        Unproven::Standing,
        Unproven::Usage { position: 1, clause: clause("spent.actions") },
        Unproven::Usage { position: 2, clause: clause("minute.fuel") },
        Unproven::Input { position: 2, clause: clause("input.text") },
        Unproven::Release(Box::new(Claim::of(&release()))),
    ];
    for unproven in &wanted {
        assert!(unproven.to_string().starts_with("that "), "{unproven}");
    }
    assert_eq!(said.unwrap(), granted(wanted));
    // A release that another calls by that name is not the one that the request speaks of.
    let said = World::check(|w| {
        w.root.pol = Policy::new(vec![eq(".name", "words")]);
        w.release.as_mut().unwrap().iss = friend().did();
    });
    assert!(matches!(said.unwrap().unproven[..], [Unproven::Standing, Unproven::Release(_)]));
}

#[test]
fn whom_the_provider_answers_for_is_its_word() {
    let said = World::check(|w| {
        w.sub = key(5).did();
        w.root = Delegation { sub: Some(w.sub), ..delegation(&key(5), &friend()) };
        w.leaf.sub = Some(w.sub);
    });
    let said = said.unwrap();
    assert_eq!(said.how, How::Granted { root: key(5).did() });
    assert_eq!(said.unproven, [Unproven::Root(key(5).did()), Unproven::Standing]);
}

#[test]
fn a_provider_may_find_the_grant_itself() {
    World::check(|w| w.shown = Some(vec![])).unwrap();
    // Then the request says nothing of whose authority it is, and the chain does.
    World::check(|w| {
        w.shown = Some(vec![]);
        w.sub = key(5).did();
    })
    .unwrap();
}

#[test]
fn public_and_listed_prove_the_request_alone() {
    for (authority, word) in [(Authority::Public, Unproven::Public), (Authority::Listed, Unproven::Listed)] {
        let said = World::check(|w| (w.authority, w.shown) = (Some(authority.clone()), Some(vec![])));
        assert_eq!(said.unwrap(), Proven { how: How::Requested, unproven: vec![word] });
        let error = World::check(|w| w.authority = Some(authority)).unwrap_err();
        assert!(matches!(error, AuthorityError::OtherChain { shown: 2, named: 0 }), "{error}");
    }
}

#[test]
fn its_own_needs_nobody() {
    let own = World::check(|w| {
        w.authority = Some(Authority::Local);
        w.action.requester = provider().did();
    });
    assert_eq!(own.unwrap(), Proven { how: How::Own, unproven: vec![] });
    for authority in [Authority::Local, Authority::Delegated(World::new().action.id())] {
        let error = World::check(|w| w.authority = Some(authority)).unwrap_err();
        assert!(matches!(error, AuthorityError::NotOwn { .. }), "{error}");
    }
}

#[test]
fn what_is_not_at_hand_is_not_false() {
    let error = World::check(|w| w.without_request = true).unwrap_err();
    assert!(matches!(error, AuthorityError::NoInvocation { .. }) && error.is_missing(), "{error}");
    let error = World::check(|w| w.without_root = true).unwrap_err();
    assert!(matches!(error, AuthorityError::NoProof { position: 1, .. }) && error.is_missing(), "{error}");
    // What is false without it, stays false.
    let error = World::check(|w| {
        w.without_request = true;
        w.leaf.aud = key(7).did();
    })
    .unwrap_err();
    assert!(!error.is_missing(), "{error}");
    let error = World::check(|w| {
        w.without_root = true;
        w.aud = key(7).did();
    })
    .unwrap_err();
    assert!(!error.is_missing(), "{error}");
}

#[test]
fn a_chain_that_ended_while_the_action_ran_gave_it_all_the_same() {
    // Asked within the chain's time, and done long after.
    World::check(|w| w.issued = ASKED + 100_000).unwrap();
    // The clocks of the three differ by a minute each way.
    World::check(|w| (w.root.exp, w.leaf.exp) = (Some(ASKED - 120), None)).unwrap();
    World::check(|w| w.issued = ASKED - 60).unwrap();
    World::check(|w| {
        w.root.nbf = Some(ASKED + 65);
        w.root.exp = Some(ASKED + 66);
        w.leaf.exp = None;
    })
    .unwrap();
}

macro_rules! refuses {
    ($($name:ident: $check:literal, $pattern:pat => $change:expr;)*) => {$(
        #[test]
        fn $name() {
            let change: fn(&mut World) = $change;
            let error = World::check(change).unwrap_err();
            assert!(matches!(error, $pattern), "{error:?}");
            assert_eq!(error.check(), $check);
            assert!(!error.is_missing() && !error.to_string().is_empty());
        }
    )*};
}

refuses! {
    another_command: "invocation", AuthorityError::NoAction(_) => |w| w.command = Some("/actum/other");
    a_request_for_another_provider: "provider", AuthorityError::OtherProvider { .. } => |w| w.aud = key(7).did();
    a_request_for_another_function: "action", AuthorityError::OtherAction(_) =>
        |w| w.other = Some(Action { function: "other".parse().unwrap(), ..w.action.clone() });
    a_request_for_other_arguments: "action", AuthorityError::OtherAction(_) =>
        |w| w.other = Some(Action { args: BlobId::of(b"other"), ..w.action.clone() });
    a_request_for_less: "action", AuthorityError::OtherAction(_) =>
        |w| { w.other = Some(w.action.clone()); w.action.permissions = ["keyvalue:notes".parse().unwrap()].into(); };
    a_request_of_another_nonce: "action", AuthorityError::OtherAction(_) =>
        |w| w.other = Some(Action { nonce: ByteArray::new([9; 12]), ..w.action.clone() });
    a_receipt_before_its_request: "time", AuthorityError::Before { .. } => |w| w.issued = ASKED - 61;
    a_chain_that_the_request_does_not_show: "chain", AuthorityError::OtherChain { shown: 1, named: 2 } =>
        |w| w.shown = Some(vec![DelegationId::of(b"another")]);
    a_chain_to_somebody_else: "chain", AuthorityError::Chain(ChainError::InvalidAudience { index: 1, .. }) =>
        |w| w.leaf.aud = key(7).did();
    a_broken_chain: "chain", AuthorityError::Chain(ChainError::InvalidAudience { index: 0, .. }) =>
        |w| w.root.aud = key(7).did();
    a_chain_of_another_subject: "chain", AuthorityError::Chain(ChainError::InvalidSubject { .. }) =>
        |w| w.sub = key(7).did();
    a_root_by_somebody_else: "chain", AuthorityError::Chain(ChainError::InvalidSubject { index: 0, .. }) =>
        |w| w.root.iss = key(7).did();
    a_chain_of_another_command: "command", AuthorityError::Chain(ChainError::Command { index: 1, .. }) =>
        |w| w.leaf.cmd = "/actum/other".parse().unwrap();
    a_chain_that_had_ended: "time", AuthorityError::Chain(ChainError::Expired { .. }) =>
        |w| w.root.exp = Some(ASKED - 121);
    a_chain_that_had_not_begun: "time", AuthorityError::Chain(ChainError::TooEarly { .. }) =>
        |w| w.leaf.nbf = Some(ASKED + 66);
    a_chain_that_began_after_its_request_ended: "time", AuthorityError::Chain(ChainError::TooEarly { .. }) =>
        |w| { w.issued = ASKED + 100_000; w.root.exp = None; w.leaf.exp = None; w.leaf.nbf = Some(ASKED + 60 + 60 + 61); };
    a_delegation_that_says_more: "narrowing", AuthorityError::Widened(_) => |w| w.leaf.exp = Some(ASKED + 1_001);
    a_ceiling_exceeded: "policy", AuthorityError::Chain(ChainError::Policy { index: 1, .. }) =>
        |w| w.leaf.pol = Policy::new(vec![eq(".function", "count"), le(".limits.fuel", w.action.limits.fuel - 1)]);
    another_function_than_granted: "policy", AuthorityError::Chain(ChainError::Policy { index: 0, .. }) =>
        |w| w.root.pol = Policy::new(vec![eq(".function", "other")]);
    other_arguments_than_granted: "policy", AuthorityError::Chain(ChainError::Policy { index: 0, .. }) =>
        |w| w.root.pol = Policy::new(vec![eq(".input.text", "not to be")]);
}

/// A policy that allows one bucket alone.
fn notes_only() -> Policy {
    let permissions = Some(["keyvalue:notes".parse().unwrap()].into());
    Terms { permissions, ..Terms::default() }.policy().unwrap()
}

#[test]
fn policies_judge_what_was_given_and_not_what_was_withheld() {
    let asks = |w: &mut World| {
        w.action.partial = true;
        w.action.permissions = ["keyvalue:notes".parse().unwrap(), "keyvalue:drafts".parse().unwrap()].into();
        w.root.pol = notes_only();
    };
    World::check(|w| {
        asks(w);
        w.withheld = vec!["keyvalue:drafts".parse().unwrap()];
    })
    .unwrap();
    for withheld in [vec![], vec!["keyvalue:notes".parse().unwrap()]] {
        let error = World::check(|w| {
            asks(w);
            w.withheld = withheld;
        })
        .unwrap_err();
        assert_eq!(error.check(), "policy", "{error}");
    }
}

#[test]
fn a_request_given_in_place_of_the_one_that_is_named() {
    let action = Action { requester: requester().did(), ..World::new().action };
    let claim = Claim::of(&release());
    let made = |at| {
        let request =
            RunArgs::invocation(&action, &claim, provider().did(), provider().did(), vec![], at + 60, at);
        Signed::sign(request, &requester())
    };
    let (named, given) = (made(ASKED), made(ASKED + 1));
    let mut receipt = Receipt {
        iss: provider().did(),
        iat: ASKED + 5,
        action: action.clone(),
        authority: Authority::Public,
        invocation: Some(named.id()),
        withheld: Default::default(),
        profile: ProfileId::of(b"profile"),
        outcome: Outcome::OutOfFuel,
        fuel: 1,
        memory_bytes: 1,
        journal: Journal::default().id(),
        stdio: None,
    };
    let check = |receipt: &Receipt, given| {
        authority(receipt, &AtHand { invocation: Some(given), ..AtHand::default() })
    };
    check(&receipt, &named).unwrap();
    let error = check(&receipt, &given).unwrap_err();
    assert!(matches!(error, AuthorityError::OtherInvocation { .. }), "{error}");
    receipt.invocation = None;
    let error = check(&receipt, &named).unwrap_err();
    assert!(matches!(error, AuthorityError::Request { names: false }), "{error}");
    receipt.authority = Authority::Local;
    receipt.invocation = Some(named.id());
    let error = check(&receipt, &named).unwrap_err();
    assert!(matches!(error, AuthorityError::Request { names: true }), "{error}");
}

proptest! {
    /// Whatever an honest provider may have seen on its clock is not called false.
    #[test]
    fn no_honest_time_is_false(
        began in ASKED - 60..=ASKED + 120,
        ran in 0..1_000_u64,
        nbf in prop::option::of(ASKED - 300..ASKED + 300),
        life in prop::option::of(0..300_u64),
    ) {
        let exp = life.map(|life| nbf.unwrap_or(ASKED - 150) + life);
        let valid = nbf.is_none_or(|nbf| nbf <= began + 60) && exp.is_none_or(|exp| began <= exp + 60);
        let said = World::check(|w| {
            w.root.exp = None;
            w.leaf.nbf = nbf;
            w.leaf.exp = exp;
            w.issued = began + ran;
        });
        prop_assert!(!valid || said.is_ok(), "{said:?}");
    }
}
