//! Less than was asked for: an authority that ends while a guest runs, what was withheld of an action, and a bucket of which
//! only some keys may be named. No effect follows a refusal, and a replay is refused the same.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

mod common;

use actum_capabilities::guests::{CALLER, FETCHER, NOTES};
use actum_model::explain::{Width, refused};
use actum_model::journal::withdrawal;
use actum_model::value::decode_result;
use actum_model::{
    Action, Authority, Bodies, Granted, InvocationId, Journal, Judgement, Limits, Outcome, Receipt,
    SecretKey, Signed, Withdrawal, codec, json,
};
use actum_sandbox::host::{
    DelegateAsk, DelegateError, DelegateTold, HttpRequest, HttpResponse, KeyvalueAsk, KeyvalueTold, Landing,
};
use actum_sandbox::replay::{Evidence, replay};
use actum_sandbox::{EngineKind, ExecuteError, Execution, Host, Sandbox, Surroundings};
use common::{action, sandbox};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

static COMPILED: LazyLock<Sandbox> = LazyLock::new(|| sandbox(EngineKind::Cranelift));
static INTERPRETED: LazyLock<Sandbox> = LazyLock::new(|| sandbox(EngineKind::Pulley));

/// One bucket for all, an authority that ends, and a count of what was done.
#[derive(Default)]
struct World {
    /// The authority lasts for so many questions; none: for ever.
    lasts: Option<u64>,
    /// Ends it at once.
    ended: AtomicBool,
    why: Option<Withdrawal>,
    looked: AtomicU64,
    effects: AtomicU64,
    bucket: Mutex<BTreeMap<String, Vec<u8>>>,
    /// How many keys a page has; it lists every key, whatever was asked for. None: those asked for, in one page.
    heedless: Option<usize>,
    held: Mutex<Vec<Landing>>,
    /// The host of whoever is called.
    child: Option<Arc<World>>,
}

impl World {
    /// An authority that lasts for so many questions.
    fn lasting(questions: u64, why: Withdrawal) -> Self {
        Self { lasts: Some(questions), why: Some(why), ..Self::default() }
    }

    fn with_keys(keys: &[&str]) -> Self {
        let bucket = keys.iter().map(|key| ((*key).to_owned(), b"1".to_vec())).collect();
        Self { bucket: Mutex::new(bucket), ..Self::default() }
    }

    fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
    }

    fn effects(&self) -> u64 {
        self.effects.load(Ordering::SeqCst)
    }
}

impl Host for World {
    fn withdrawn(&self) -> Option<Withdrawal> {
        let looked = self.looked.fetch_add(1, Ordering::SeqCst);
        let over = self.lasts.is_some_and(|lasts| looked >= lasts) || self.ended.load(Ordering::SeqCst);
        over.then(|| self.why.unwrap_or(Withdrawal::Revoked))
    }

    fn keyvalue(&self, _: &str, ask: KeyvalueAsk) -> Result<KeyvalueTold, String> {
        self.effects.fetch_add(1, Ordering::SeqCst);
        let mut bucket = self.bucket.lock().unwrap();
        Ok(match ask {
            KeyvalueAsk::Get(keys) => {
                KeyvalueTold::Values(keys.iter().map(|key| bucket.get(key).cloned()).collect())
            }
            KeyvalueAsk::Set(pairs) => {
                bucket.extend(pairs.into_iter().map(|(key, value)| (key, value.into_vec())));
                KeyvalueTold::Done
            }
            KeyvalueAsk::Delete(keys) => {
                bucket.retain(|key, _| !keys.contains(key));
                KeyvalueTold::Done
            }
            KeyvalueAsk::List { prefix, cursor } => {
                let from = Bound::Included(prefix.clone().unwrap_or_default());
                let prefix = prefix.unwrap_or_default();
                match self.heedless {
                    None => {
                        let begin_so = bucket.range((from, Bound::Unbounded)).map(|(key, _)| key);
                        KeyvalueTold::Keys(
                            begin_so.filter(|k| k.starts_with(&prefix)).cloned().collect(),
                            None,
                        )
                    }
                    Some(page) => {
                        let from = usize::try_from(cursor.unwrap_or(0)).unwrap();
                        let keys = bucket.keys().skip(from).take(page).cloned().collect();
                        let next = from + page;
                        KeyvalueTold::Keys(keys, (next < bucket.len()).then_some(next as u64))
                    }
                }
            }
            KeyvalueAsk::Increment(_, delta) => KeyvalueTold::Number(delta),
        })
    }

    fn http(&self, request: HttpRequest, landing: Landing) {
        self.effects.fetch_add(1, Ordering::SeqCst);
        if request.path == "/never" {
            return self.held.lock().unwrap().push(landing);
        }
        // The answer is there, and so is the end.
        self.end();
        landing.land(Ok(HttpResponse { status: 200, headers: vec![], body: b"secret".to_vec() }));
    }

    fn delegate(&self, ask: DelegateAsk<'_>) -> DelegateTold {
        self.effects.fetch_add(1, Ordering::SeqCst);
        let host = self.child.clone().unwrap();
        let args: Json = serde_json::from_str(ask.args).unwrap();
        let call = Call::of(NOTES.component, ask.function, args).granted(&["keyvalue:notes"]);
        let run = call.nested().run_on(host);
        let outcome = run.execution.outcome.code().to_owned();
        let fuel = run.execution.fuel;
        Err(DelegateError::Failed { outcome, receipt: "its receipt".to_owned(), fuel, total_fuel: fuel })
    }
}

/// A call of a test guest.
#[derive(Clone)]
struct Call {
    component: &'static [u8],
    function: String,
    args: Json,
    granted: Vec<Granted>,
    withheld: Vec<Granted>,
    partial: bool,
    limits: Limits,
    nested: bool,
}

fn parsed(texts: &[&str]) -> Vec<Granted> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// The steps of [`tour`], each a question: the first asks only for the bucket.
const STEPS: u64 = 8;

/// One step for each thing a bucket can do.
fn tour() -> Call {
    Call::of(NOTES.component, "tour", json!(["notes", "Zml2ZSE="])).granted(&["keyvalue:notes"])
}

impl Call {
    fn of(component: &'static [u8], function: &str, args: Json) -> Self {
        let function = function.to_owned();
        let (granted, withheld, partial, nested) = (vec![], vec![], false, false);
        Self { component, function, args, granted, withheld, partial, limits: Limits::default(), nested }
    }

    fn granted(mut self, granted: &[&str]) -> Self {
        self.granted = parsed(granted);
        self
    }

    fn withheld(mut self, withheld: &[&str]) -> Self {
        (self.withheld, self.partial) = (parsed(withheld), true);
        self
    }

    fn nested(mut self) -> Self {
        self.nested = true;
        self
    }

    fn try_run_on(&self, host: Arc<World>) -> Result<Run, ExecuteError> {
        let loaded = COMPILED.load(self.component).unwrap();
        let function = loaded.functions().iter().find(|f| f.name.answers_to(&self.function)).unwrap();
        let values = json::params_from_json(&function.params, &self.args).unwrap();
        let (action, args) = action(&loaded, &self.function, &values, self.limits.clone());
        let permissions = self.granted.iter().cloned().collect();
        let action = Action { permissions, partial: self.partial, ..action };
        let around = Surroundings {
            host: Arc::clone(&host) as Arc<dyn Host>,
            withheld: self.withheld.iter().cloned().collect(),
            nested: self.nested,
            ..Surroundings::default()
        };
        let execution = COMPILED.execute_in(&loaded, &action, &args, &around)?;
        let key = SecretKey::from_seed(&[3; 32]);
        let receipt =
            execution.receipt(action, key.did(), 1_700_000_000, Authority::Listed, COMPILED.profile_id());
        let receipt = Receipt { invocation: Some(InvocationId::of(b"request")), ..receipt };
        let signed = Signed::try_sign(receipt, &key).unwrap();
        let receipt = Signed::<Receipt>::verify(signed.bytes()).unwrap().payload().clone();
        Ok(Run { component: self.component, args, receipt, execution, host })
    }

    fn run_on(&self, host: Arc<World>) -> Run {
        self.try_run_on(host).unwrap()
    }

    /// Runs it; what happened replays under either engine, without the host.
    #[track_caller]
    fn run(&self, host: World) -> Run {
        let run = self.run_on(Arc::new(host));
        let done = run.host.effects();
        for sandbox in [&COMPILED, &INTERPRETED] {
            let judgement = run.judge(sandbox, &run.receipt, &run.execution.journal, &run.execution.bodies);
            assert_eq!(judgement, Judgement::Identical, "{:?}", run.execution.outcome);
        }
        assert_eq!(run.host.effects(), done);
        run
    }
}

/// An action that was run, and everything that is needed to run it again.
struct Run {
    component: &'static [u8],
    args: Vec<u8>,
    receipt: Receipt,
    execution: Execution,
    host: Arc<World>,
}

impl Run {
    fn judge(&self, sandbox: &Sandbox, receipt: &Receipt, journal: &Journal, bodies: &Bodies) -> Judgement {
        let (component, args) = (self.component, self.args.as_slice());
        let evidence = Evidence { receipt, component, args, output: None, journal, bodies, stdio: None };
        replay(sandbox, &evidence).unwrap()
    }

    /// Where the replay of a doctored receipt and journal diverges, under either engine alike.
    #[track_caller]
    fn doctored(&self, doctor: impl FnOnce(&mut Receipt, &mut Journal)) -> String {
        let (mut receipt, mut journal) = (self.receipt.clone(), self.execution.journal.clone());
        doctor(&mut receipt, &mut journal);
        receipt.journal = journal.id();
        let at = |sandbox| match self.judge(sandbox, &receipt, &journal, &self.execution.bodies) {
            Judgement::Diverged(divergence) => divergence.at,
            other => panic!("{other}"),
        };
        let (compiled, interpreted) = (at(&COMPILED), at(&INTERPRETED));
        assert_eq!(compiled, interpreted);
        compiled
    }

    fn entries(&self) -> usize {
        self.execution.journal.entries.len()
    }

    fn result(&self) -> Json {
        let Some(output) = &self.execution.output else { panic!("{:?}", self.execution.outcome) };
        let loaded = COMPILED.load(self.component).unwrap();
        let ty = loaded.function(&self.receipt.action.function).unwrap().result.as_ref();
        json::result_to_json(ty, decode_result(ty, output, usize::MAX).unwrap().as_ref())
    }

    /// The entries that a reader is shown as refused.
    fn refused(&self) -> Vec<usize> {
        let shown = refused(&self.execution.journal, &self.execution.bodies, Width::FULL);
        shown.map(|refused| refused.entry).collect()
    }
}

#[test]
fn an_authority_that_ends_ends_the_guest_at_its_next_question() {
    for why in Withdrawal::ALL {
        for lasts in 0..STEPS {
            let run = tour().run(World::lasting(lasts, why));
            assert_eq!(run.execution.outcome, Outcome::Withdrawn(why), "after {lasts}");
            let (last, before) = run.execution.journal.entries.split_last().unwrap();
            assert_eq!((last.withdrawn(), before.len() as u64), (Some(why), lasts));
            assert!(before.iter().all(|entry| entry.withdrawn().is_none()));
            assert_eq!(run.host.effects(), lasts.saturating_sub(1), "nothing is done after the end");
            assert_eq!(run.refused(), [run.entries()]);
        }
        let run = tour().run(World::lasting(STEPS, why));
        assert_eq!((run.execution.outcome.code(), run.host.effects()), ("ok", STEPS - 1));
    }
}

#[test]
fn a_guest_that_asks_nothing_is_not_withdrawn() {
    let sandbox = &COMPILED;
    let loaded = sandbox.load(&common::echo()).unwrap();
    let (mut action, args) =
        action(&loaded, "run", &[actum_model::Value::Bytes(vec![1; 9])], Limits::default());
    action.permissions = parsed(&["keyvalue:notes"]).into_iter().collect();
    let host = Arc::new(World::lasting(0, Withdrawal::Expired));
    let around = Surroundings { host: Arc::clone(&host) as Arc<dyn Host>, ..Surroundings::default() };
    let execution = sandbox.execute_in(&loaded, &action, &args, &around).unwrap();
    assert_eq!((execution.outcome.code(), execution.journal.entries.len()), ("ok", 0));
}

#[test]
fn an_answer_that_came_is_not_told_after_the_end() {
    let url = |path: &str| format!("http://api.example{path}");
    let call = |path: &str| {
        let args = json!(["GET", url(path), [], null]);
        Call::of(FETCHER.component, "fetch", args).granted(&["http:http://api.example"])
    };
    let run = call("/").run(World::default());
    assert_eq!(run.execution.outcome, Outcome::Withdrawn(Withdrawal::Revoked));
    let asked: Vec<_> = run.execution.journal.entries.iter().map(|e| e.function.as_str()).collect();
    assert_eq!(asked, ["wasi:http/outgoing-handler#handle", "wasi:io/poll#poll"]);
    assert_eq!(run.host.effects(), 1);
    assert_eq!(run.doctored(|receipt, _| receipt.outcome = Outcome::OutOfFuel), "journal entry 2");
}

#[test]
fn a_wait_notices_the_end_soon() {
    let host = Arc::new(World::default());
    let args = json!(["GET", "http://api.example/never", [], null]);
    let call = Call::of(FETCHER.component, "fetch", args).granted(&["http:http://api.example"]);
    let ends = {
        let host = Arc::clone(&host);
        std::thread::spawn(move || {
            while host.effects() == 0 {
                std::thread::yield_now();
            }
            std::thread::sleep(Duration::from_millis(50));
            host.end();
            Instant::now()
        })
    };
    let run = call.run_on(host);
    // A glance is 20 ms; the rest is for a busy machine. The request has thirty seconds.
    assert!(ends.join().unwrap().elapsed() < Duration::from_secs(25));
    assert_eq!(run.execution.outcome, Outcome::Withdrawn(Withdrawal::Revoked));
    assert_eq!(run.execution.journal.entries.last().unwrap().function, "wasi:io/poll#poll");
    for sandbox in [&COMPILED, &INTERPRETED] {
        let judgement = run.judge(sandbox, &run.receipt, &run.execution.journal, &run.execution.bodies);
        assert_eq!(judgement, Judgement::Identical);
    }
}

#[test]
fn a_forged_end_diverges() {
    let revoked = Outcome::Withdrawn(Withdrawal::Revoked);
    let run = tour().run(World::lasting(3, Withdrawal::Revoked));
    let told = |outcome: Outcome| run.doctored(|receipt, _| receipt.outcome = outcome);
    // The entry, and another outcome.
    for outcome in [
        Outcome::Withdrawn(Withdrawal::Expired),
        Outcome::OutOfFuel,
        Outcome::JournalTooLarge,
        Outcome::Ok(actum_model::BlobId::of(b"")),
    ] {
        assert_eq!(told(outcome), "journal entry 4");
    }
    // The outcome, and no entry, or one that only looks like it.
    assert_eq!(run.doctored(|_, journal| drop(journal.entries.pop())), "journal entry 4");
    let bored = codec::encode(&BTreeMap::from([("actum/withdrawn@1", "bored")]));
    let longer = [withdrawal(Withdrawal::Revoked), vec![0]].concat();
    for other in [bored, longer, vec![0xf6], withdrawal(Withdrawal::Expired)] {
        let told = |_: &mut Receipt, journal: &mut Journal| journal.entries[3].told = other.into();
        assert_eq!(run.doctored(told), "journal entry 4");
    }
    // An entry after the last one, and the last one to another question.
    let after = |_: &mut Receipt, journal: &mut Journal| journal.entries.push(journal.entries[3].clone());
    assert_eq!(run.doctored(after), "journal entry 4");
    let other = |_: &mut Receipt, journal: &mut Journal| {
        let told = journal.entries[3].told.clone();
        journal.entries[3] = journal.entries[2].clone();
        journal.entries[3].told = told;
    };
    assert_eq!(run.doctored(other), "journal entry 4");
    // What was used until then is no less and no more.
    assert_eq!(run.doctored(|receipt, _| receipt.fuel += 1), "fuel");
    assert_eq!(run.doctored(|receipt, _| receipt.memory_bytes += 1), "memory");

    // A whole run, told as one that was cut off.
    let whole = tour().run(World::default());
    assert_eq!(whole.doctored(|receipt, _| receipt.outcome = revoked.clone()), "outcome");
    for at in 0..whole.entries() - 1 {
        for outcome in [revoked.clone(), whole.receipt.outcome.clone()] {
            let cut = |receipt: &mut Receipt, journal: &mut Journal| {
                journal.entries[at].told = withdrawal(Withdrawal::Revoked).into();
                receipt.outcome = outcome;
            };
            assert_eq!(whole.doctored(cut), format!("journal entry {}", at + 1));
        }
    }
    let cut = |receipt: &mut Receipt, journal: &mut Journal| {
        journal.entries.truncate(4);
        journal.entries[3].told = withdrawal(Withdrawal::Revoked).into();
        receipt.outcome = revoked.clone();
    };
    assert_eq!(whole.doctored(cut), "fuel", "and the fuel of the whole");
}

#[test]
fn the_bodies_of_the_last_question_stand_beside_it() {
    let value = "v".repeat(5_000);
    let call = Call::of(NOTES.component, "set", json!(["notes", "key", value])).granted(&["keyvalue:notes"]);
    let run = call.run(World::lasting(1, Withdrawal::Expired));
    assert_eq!((run.execution.bodies.len(), run.host.effects()), (1, 0));
    assert_eq!(run.doctored(|_, journal| journal.entries[1].bodies.clear()), "journal entry 2");
}

#[test]
fn neither_fuel_nor_room_stands_in_for_how_it_ended() {
    let whole = tour().run_on(Arc::new(World::default()));
    let weight = whole.execution.journal.weight(|_| 0);
    let fuel = whole.execution.fuel;
    let mut ends = std::collections::BTreeSet::new();
    let mut replays = |limits: Limits| {
        let call = Call { limits, ..tour() };
        for lasts in [0, 1, 5] {
            let run = call.run_on(Arc::new(World::lasting(lasts, Withdrawal::Revoked)));
            let journal = &run.execution.journal;
            let judgement = run.judge(&COMPILED, &run.receipt, journal, &run.execution.bodies);
            assert_eq!(judgement, Judgement::Identical, "{:?}", run.receipt);
            assert!(run.host.effects() <= lasts.saturating_sub(1));
            assert!(journal.weight(|_| 0) <= run.receipt.action.limits.journal_bytes);
            ends.insert(run.execution.outcome.code());
        }
    };
    for journal_bytes in (0..weight).step_by(7) {
        replays(Limits { journal_bytes, ..Limits::default() });
    }
    for fuel in (0..fuel).step_by(usize::try_from(fuel / 150).unwrap()) {
        replays(Limits { fuel, ..Limits::default() });
    }
    assert_eq!(ends.into_iter().collect::<Vec<_>>(), ["journal-too-large", "out-of-fuel", "withdrawn"]);
}

#[test]
fn a_call_whose_authority_ends_fails_and_says_why() {
    let child = Arc::new(World::lasting(2, Withdrawal::Revoked));
    let host = World { child: Some(Arc::clone(&child)), ..World::default() };
    let component = actum_model::ComponentId::of(NOTES.component);
    let args = json!(["notes", "tour", r#"["notes", "Zml2ZSE="]"#]);
    let grant = format!("delegate:notes={component}");
    let run = Call::of(CALLER.component, "relay", args).granted(&[&grant]).run(host);
    let told = run.result()["err"].as_str().unwrap().to_owned();
    assert!(told.starts_with("failed: withdrawn after"), "{told}");
    assert_eq!(child.effects(), 1);
}

#[test]
fn what_was_withheld_is_not_there() {
    let call = tour().granted(&["keyvalue:notes", "keyvalue:other"]).withheld(&["keyvalue:notes"]);
    let run = call.run(World::default());
    assert_eq!(run.result(), json!(["open: access denied"]));
    assert_eq!((run.host.effects(), run.refused()), (0, vec![1]), "a denial like any other, journalled");
    assert_eq!(run.receipt.withheld.iter().map(Granted::to_string).collect::<Vec<_>>(), ["keyvalue:notes"]);
    // The receipt decides what the guest was given: nobody can say otherwise afterwards.
    assert_eq!(run.doctored(|receipt, _| receipt.withheld.clear()), "journal entry 1");
    let given = tour().granted(&["keyvalue:notes", "keyvalue:other"]).withheld(&[]).run(World::default());
    assert_eq!((given.host.effects(), given.receipt.withheld.len()), (STEPS - 1, 0));
    let withhold = |receipt: &mut Receipt, _: &mut Journal| {
        receipt.withheld = parsed(&["keyvalue:notes"]).into_iter().collect();
    };
    assert_eq!(given.doctored(withhold), "journal entry 1");
}

#[test]
fn an_import_of_which_all_is_withheld_is_denied_by_name() {
    let call = tour().granted(&["keyvalue:notes", "config:k=v"]).withheld(&["keyvalue:notes"]);
    let run = call.run(World::default());
    let Outcome::Denied(names) = &run.execution.outcome else { panic!("{:?}", run.execution.outcome) };
    assert!(names.iter().all(|name| name.starts_with("wasi:keyvalue/")), "{names:?}");
    assert_eq!((run.receipt.withheld.len(), run.entries()), (1, 0));
    let lie = run.doctored(|receipt, _| receipt.withheld.clear());
    assert_eq!(lie, "journal entry 1", "given its bucket, it runs and asks");
}

#[test]
fn only_part_of_what_was_asked_for_is_withheld_and_only_where_that_is_allowed() {
    let call = tour().granted(&["keyvalue:notes"]);
    let whole = Call { partial: false, ..call.clone().withheld(&["keyvalue:notes"]) };
    for (call, why) in [
        (whole, "not to run with less"),
        (call.clone().withheld(&["keyvalue:other"]), "does not ask for"),
        (call.withheld(&["keyvalue:notes:read"]), "does not ask for"),
    ] {
        match call.try_run_on(Arc::new(World::default())) {
            Err(ExecuteError::Withheld { reason }) => assert!(reason.contains(why), "{reason}"),
            other => panic!("{:?}", other.map(|run| run.execution.outcome)),
        }
    }
}

fn notes(function: &str, args: Json, granted: &str) -> Call {
    Call::of(NOTES.component, function, args).granted(&[granted])
}

#[test]
fn a_key_that_does_not_begin_as_granted_is_denied_without_effect() {
    const GRANT: &str = "keyvalue:notes:keys=inbox/";
    const READ: &str = "keyvalue:notes:read:keys=inbox/";
    let both = json!([["inbox/a", "eA=="], ["outbox/a", "eA=="]]);
    for (function, args, grant) in [
        ("get", json!(["notes", "outbox/a"]), GRANT),
        ("get", json!(["notes", "inbox"]), GRANT),
        ("get", json!(["notes", "Inbox/a"]), READ),
        ("set", json!(["notes", "outbox/a", "eA=="]), GRANT),
        ("set", json!(["notes", "inbox/a", "eA=="]), READ),
        ("remove", json!(["notes", "outbox/a"]), GRANT),
        ("remove", json!(["notes", "inbox/a"]), READ),
        ("exists", json!(["notes", "outbox/a"]), GRANT),
        ("increment", json!(["notes", "outbox/a", 1]), GRANT),
        ("increment", json!(["notes", "inbox/a", 1]), READ),
        ("batch", json!(["notes", both]), GRANT),
    ] {
        let run = notes(function, args.clone(), grant).run(World::with_keys(&["inbox/a", "outbox/a"]));
        assert_eq!(run.result(), json!({"err": "access denied"}), "{function} {args}");
        assert_eq!((run.host.effects(), run.refused()), (0, vec![2]), "{function} {args}");
        // Nobody can say afterwards that it was answered.
        let answered = |_: &mut Receipt, journal: &mut Journal| {
            journal.entries[1].told =
                codec::encode(&Ok::<_, u8>(BTreeMap::from([("values", vec![None::<u8>])]))).into();
        };
        assert_eq!(run.doctored(answered), "journal entry 2");
    }
    for (function, args, grant) in [
        ("get", json!(["notes", "inbox/a"]), READ),
        ("set", json!(["notes", "inbox/new", "eA=="]), GRANT),
        ("remove", json!(["notes", "inbox/"]), GRANT),
        ("exists", json!(["notes", "inbox/a"]), READ),
        ("increment", json!(["notes", "inbox/a", 1]), GRANT),
        ("batch", json!(["notes", [["inbox/a", "eA=="], ["inbox/b", "eQ=="]]]), GRANT),
    ] {
        let run = notes(function, args.clone(), grant).run(World::with_keys(&["inbox/a", "outbox/a"]));
        assert_eq!(run.execution.outcome.code(), "ok", "{function} {args}: {}", run.result());
        assert!(run.host.effects() > 0 && run.refused().is_empty());
        // Nor that it was denied.
        let denied = |_: &mut Receipt, journal: &mut Journal| {
            journal.entries[1].told = codec::encode(&Err::<u8, _>("access-denied")).into();
        };
        assert_eq!(run.doctored(denied), "journal entry 2");
    }
}

#[test]
fn a_listing_shows_the_keys_that_begin_as_granted_and_no_others() {
    let keys = ["inbox", "inbox/", "inbox/a", "inbox/ä", "inbox/b", "inboxes", "outbox/a"];
    let wanted = json!({"ok": ["inbox/", "inbox/a", "inbox/b", "inbox/ä"]});
    for heedless in [None, Some(1), Some(2), Some(3), Some(100)] {
        let world = World { heedless, ..World::with_keys(&keys) };
        let run = notes("list", json!(["notes"]), "keyvalue:notes:read:keys=inbox/").run(world);
        assert_eq!(run.result(), wanted, "pages of {heedless:?}");
        let all = notes("list", json!(["notes"]), "keyvalue:notes:read");
        let run = all.run(World { heedless, ..World::with_keys(&keys) });
        assert_eq!(run.result()["ok"].as_array().unwrap().len(), keys.len());
    }
    let run = notes("list", json!(["notes"]), "keyvalue:notes:keys=inbox/").run(World::with_keys(&keys));
    let forged = |_: &mut Receipt, journal: &mut Journal| {
        let told = &mut journal.entries[1].told;
        let at = told.windows(7).position(|w| w == b"inbox/a").unwrap();
        told[at..at + 7].copy_from_slice(b"inboxes");
    };
    assert_eq!(run.doctored(forged), "journal entry 2", "a key outside is told by no host");
    let renamed = |_: &mut Receipt, journal: &mut Journal| {
        let told = &mut journal.entries[1].told;
        let at = told.windows(7).position(|w| w == b"inbox/a").unwrap();
        told[at..at + 7].copy_from_slice(b"inbox/x");
    };
    assert_ne!(run.doctored(renamed), "journal entry 2", "one within leads the guest elsewhere");
}
