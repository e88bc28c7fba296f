//! The tape: what the host answers is journalled as the guest observes it, and replayed without the host.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test, a panic is the message"
)]

mod common;

use actum_model::permission::{Config, Delegate};
use actum_model::{
    Action, Authority, Bodies, ComponentId, Granted, Journal, Judgement, Limits, Outcome, Receipt, SecretKey,
    Value, Withdrawal,
};
use actum_sandbox::host::{DelegateAnswer, DelegateAsk, DelegateError, DelegateTold};
use actum_sandbox::replay::{Evidence, replay};
use actum_sandbox::{EngineKind, Execution, Host, Sandbox, Surroundings};
use common::{LIBC, action, limits, sandbox, wat};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// `run: func(target: string, times: u32) -> list<u8>`: calls `target` so many times and gives the last answer as it lies
/// in memory: the discriminant, then pointers or text.
fn caller() -> Vec<u8> {
    wat(&format!(
        r#"(component
  (import "actum:host/delegate@0.1.0" (instance $host
    (type $answer' (record (field "output" string) (field "receipt" string) (field "fuel" u64)))
    (export "answer" (type $answer (eq $answer')))
    (type $failure' (record (field "outcome" string) (field "receipt" string) (field "fuel" u64)))
    (export "failure" (type $failure (eq $failure')))
    (type $error' (variant (case "denied" string) (case "exhausted" string) (case "invalid" string)
      (case "failed" $failure) (case "unavailable" string)))
    (export "error" (type $error (eq $error')))
    (export "call" (func (param "target" string) (param "function" string) (param "args" string)
      (result (result $answer (error $error)))))))
  {LIBC}
  (core func $call (canon lower (func $host "call") (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core module $main
    (import "libc" "memory" (memory 1))
    (import "host" "call" (func $call (param i32 i32 i32 i32 i32 i32 i32)))
    (data (i32.const 100) "f[1]")
    (func (export "run") (param $at i32) (param $len i32) (param $times i32) (result i32)
      (loop $again
        (call $call (local.get $at) (local.get $len) (i32.const 100) (i32.const 1)
          (i32.const 101) (i32.const 3) (i32.const 200))
        (local.set $times (i32.sub (local.get $times) (i32.const 1)))
        (br_if $again (i32.gt_s (local.get $times) (i32.const 0))))
      (i32.store (i32.const 16) (i32.const 200)) (i32.store (i32.const 20) (i32.const 40)) (i32.const 16)))
  (core instance $main (instantiate $main (with "libc" (instance $libc))
    (with "host" (instance (export "call" (func $call))))))
  (func (export "run") (param "target" string) (param "times" u32) (result (list u8))
    (canon lift (core func $main "run") (memory $libc "memory") (realloc (func $libc "realloc")))))"#
    ))
}

/// Answers with a text of so many bytes, and counts.
struct Scripted {
    bytes: usize,
    asked: AtomicU64,
}

impl Scripted {
    fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { bytes, asked: AtomicU64::new(0) })
    }
}

impl Host for Scripted {
    fn delegate(&self, ask: DelegateAsk<'_>) -> DelegateTold {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        assert_eq!((ask.number, ask.function, ask.args), (number, "f", "[1]"));
        if self.bytes == 0 {
            return Err(DelegateError::Unavailable("nobody".to_owned()));
        }
        Ok(DelegateAnswer {
            output: "x".repeat(self.bytes),
            receipt: format!("receipt {number}"),
            fuel: 10,
            total_fuel: 40,
        })
    }
}

/// Whoever it calls ends because the authority has ended, which is its caller's too.
#[derive(Default)]
struct Ending(AtomicBool);

impl Host for Ending {
    fn withdrawn(&self) -> Option<Withdrawal> {
        self.0.load(Ordering::Relaxed).then_some(Withdrawal::Revoked)
    }

    fn delegate(&self, _: DelegateAsk<'_>) -> DelegateTold {
        assert!(!self.0.swap(true, Ordering::Relaxed), "nothing is called after the end");
        let (outcome, receipt) = ("withdrawn".to_owned(), "receipt".to_owned());
        Err(DelegateError::Failed { outcome, receipt, fuel: 10, total_fuel: 10 })
    }
}

fn grant(fuel: u64) -> Granted {
    let component = ComponentId::of(b"another");
    Granted::Delegate(Delegate { target: "other".to_owned(), component, depth: 1, fuel })
}

struct Case {
    component: Vec<u8>,
    action: Action,
    args: Vec<u8>,
    execution: Execution,
    receipt: Receipt,
}

fn receipt(sandbox: &Sandbox, action: &Action, execution: &Execution) -> Receipt {
    let iss = SecretKey::from_seed(&[3; 32]).did();
    execution.receipt(action.clone(), iss, 1, Authority::Public, sandbox.profile_id())
}

fn record(host: Arc<dyn Host>, granted: &[Granted], target: &str, times: u32, limits: Limits) -> Case {
    let (component, sandbox) = (caller(), sandbox(EngineKind::Cranelift));
    let loaded = sandbox.load(&component).unwrap();
    let values = [Value::String(target.to_owned()), Value::U32(times)];
    let (mut action, args) = action(&loaded, "run", &values, limits);
    action.permissions = granted.iter().cloned().collect();
    let around = Surroundings { host, ..Surroundings::default() };
    let execution = sandbox.execute_in(&loaded, &action, &args, &around).unwrap();
    let receipt = receipt(&sandbox, &action, &execution);
    Case { component, action, args, execution, receipt }
}

impl Case {
    fn judge(&self, engine: EngineKind, receipt: &Receipt, journal: &Journal, bodies: &Bodies) -> Judgement {
        let evidence = Evidence {
            receipt,
            component: &self.component,
            args: &self.args,
            output: None,
            journal,
            bodies,
            stdio: None,
        };
        replay(&sandbox(engine), &evidence).unwrap()
    }

    #[track_caller]
    fn replays(&self) {
        for engine in [EngineKind::Cranelift, EngineKind::Pulley] {
            let judgement =
                self.judge(engine, &self.receipt, &self.execution.journal, &self.execution.bodies);
            assert_eq!(judgement, Judgement::Identical, "{engine:?}");
        }
    }

    #[track_caller]
    fn replays_compiled(&self) {
        let judgement =
            self.judge(EngineKind::Cranelift, &self.receipt, &self.execution.journal, &self.execution.bodies);
        assert_eq!(judgement, Judgement::Identical, "{:?}", self.action.limits);
    }

    /// The judgement of the receipt with another journal under its name.
    fn forged(&self, change: impl FnOnce(&mut Journal)) -> Judgement {
        let mut journal = self.execution.journal.clone();
        change(&mut journal);
        let receipt = Receipt { journal: journal.id(), ..self.receipt.clone() };
        self.judge(EngineKind::Cranelift, &receipt, &journal, &self.execution.bodies)
    }
}

#[test]
fn answers_are_journalled_in_order_and_replayed_without_the_host() {
    let host = Scripted::new(5);
    let case = record(host.clone(), &[grant(1_000)], "other", 3, limits());
    assert_eq!(case.execution.outcome.code(), "ok");
    assert_eq!(case.execution.journal.entries.len(), 3);
    assert_eq!(host.asked.load(Ordering::Relaxed), 3);
    case.replays();
    assert_eq!(host.asked.load(Ordering::Relaxed), 3, "a replay reaches out to nothing");
}

#[test]
fn a_denial_is_a_typed_answer_made_before_any_effect() {
    let host = Scripted::new(5);
    let case = record(host.clone(), &[grant(1_000)], "stranger", 1, limits());
    assert_eq!(case.execution.outcome.code(), "ok", "the guest goes on");
    assert_eq!(host.asked.load(Ordering::Relaxed), 0);
    assert_eq!(case.execution.journal.entries.len(), 1, "and the denial is journalled");
    case.replays();
}

#[test]
fn without_the_permission_the_import_is_denied_by_name() {
    let config = Granted::Config(Config { key: "k".to_owned(), value: "v".to_owned() });
    for granted in [vec![], vec![config]] {
        let case = record(Scripted::new(5), &granted, "other", 1, limits());
        assert_eq!(case.execution.outcome, Outcome::Denied(vec!["actum:host/delegate@0.1.0".to_owned()]));
        case.replays();
    }
}

#[test]
fn what_was_granted_is_used_up() {
    let host = Scripted::new(5);
    let case = record(host.clone(), &[grant(100)], "other", 5, limits());
    // Each call burns 40 with all it calls: 100, 60 and 20 are left before the first three.
    assert_eq!(host.asked.load(Ordering::Relaxed), 3);
    assert_eq!(case.execution.journal.entries.len(), 5);
    case.replays();
}

#[test]
fn a_full_journal_ends_the_guest_at_the_same_question() {
    for (bytes, limit) in [(600, 4_000), (100_000, 250_000)] {
        let limits = Limits { journal_bytes: limit, ..limits() };
        let case = record(Scripted::new(bytes), &[grant(10_000_000)], "other", 100, limits);
        assert_eq!(case.execution.outcome, Outcome::JournalTooLarge);
        let weight: u64 = case.execution.journal.entries.iter().map(|e| e.weight()).sum();
        assert!(weight <= limit);
        case.replays();
    }
}

#[test]
fn an_answer_that_just_fits_and_one_that_just_does_not() {
    let limits = Limits { journal_bytes: 100_000, ..limits() };
    let mut ends = std::collections::BTreeSet::new();
    for bytes in (99_000..100_100).step_by(11) {
        let case = record(Scripted::new(bytes), &[grant(1_000)], "other", 1, limits.clone());
        case.replays_compiled();
        ends.insert(case.execution.outcome.code());
    }
    assert_eq!(ends.into_iter().collect::<Vec<_>>(), ["journal-too-large", "ok"]);
}

#[test]
fn large_answers_stand_beside_the_journal_once() {
    let case = record(Scripted::new(1_000_000), &[grant(10_000)], "other", 1, limits());
    assert!(case.execution.journal.bytes().len() < 1_000);
    assert_eq!(case.execution.bodies.values().map(Vec::len).collect::<Vec<_>>(), [1_000_000]);
    assert_eq!(case.execution.journal.bodies(), case.execution.bodies.keys().copied().collect::<Vec<_>>());
    case.replays();
    let (receipt, journal) = (&case.receipt, &case.execution.journal);
    let other: Bodies = case.execution.bodies.keys().map(|id| (*id, vec![0; 1_000_000])).collect();
    for bodies in [&Bodies::new(), &other] {
        let evidence = Evidence {
            receipt,
            component: &case.component,
            args: &case.args,
            output: None,
            journal,
            bodies,
            stdio: None,
        };
        let refused = replay(&sandbox(EngineKind::Cranelift), &evidence).unwrap_err();
        assert!(refused.to_string().starts_with("a body of the journal"), "{refused}");
    }
}

#[test]
fn a_forged_journal_diverges_at_its_entry() {
    let case = record(Scripted::new(5), &[grant(1_000)], "other", 3, limits());
    let at = |judgement: Judgement| match judgement {
        Judgement::Diverged(divergence) => divergence.at,
        other => panic!("{other}"),
    };
    assert_eq!(at(case.forged(|j| j.entries.swap(0, 1))), "journal entry 1");
    assert_eq!(at(case.forged(|j| drop(j.entries.pop()))), "journal entry 3");
    assert_eq!(at(case.forged(|j| j.entries.push(j.entries[2].clone()))), "journal entry 4");
    assert_eq!(at(case.forged(|j| j.entries[1].function = "wasi:http/x#y".to_owned())), "journal entry 2");
    assert_eq!(at(case.forged(|j| j.entries[1].told = vec![0xf6].into())), "journal entry 2");
    // An answer nobody gave leads the guest elsewhere.
    let told = case.forged(|j| {
        let entry = &mut j.entries[2];
        let place = entry.told.windows(5).position(|w| w == b"xxxxx").unwrap();
        entry.told[place] = b'y';
    });
    assert_eq!(told, Judgement::Identical, "only its place in memory is in this output");
}

#[test]
fn an_answer_that_names_what_is_not_there_diverges() {
    let case = record(Scripted::new(2_000), &[grant(1_000)], "other", 1, limits());
    // Where the block happens to be at hand, the entry weighs less than it did.
    assert!(matches!(case.forged(|j| j.entries[0].bodies.clear()), Judgement::Diverged(_)));
    let mut journal = case.execution.journal.clone();
    journal.entries[0].bodies.clear();
    let receipt = Receipt { journal: journal.id(), ..case.receipt.clone() };
    match case.judge(EngineKind::Cranelift, &receipt, &journal, &Bodies::new()) {
        Judgement::Diverged(divergence) => assert_eq!(divergence.at, "journal entry 1"),
        other => panic!("{other}"),
    }
}

#[test]
fn host_calls_cost_fuel_by_rule() {
    let fuel = |times| record(Scripted::new(5), &[grant(10_000)], "other", times, limits()).execution.fuel;
    let each = fuel(2) - fuel(1);
    assert_eq!(fuel(4) - fuel(3), each);
    assert!(each > 500, "{each}");
    let limits = Limits { fuel: fuel(3) - 100, ..limits() };
    let case = record(Scripted::new(5), &[grant(10_000)], "other", 3, limits);
    assert_eq!(case.execution.outcome, Outcome::OutOfFuel);
    case.replays();
}

#[test]
fn what_a_guest_cannot_pay_does_not_stand_in_for_how_it_ended() {
    let granted = [grant(1_000_000)];
    let whole = record(Scripted::new(5), &granted, "other", 3, limits()).execution.fuel;
    for fuel in (0..whole + 50).step_by(23) {
        for journal_bytes in [0, 150, 400, 100_000] {
            let limits = Limits { fuel, journal_bytes, ..limits() };
            record(Scripted::new(5), &granted, "other", 3, limits).replays_compiled();
        }
    }
}

#[test]
fn a_question_without_room_in_the_journal_has_no_effect() {
    let host = Scripted::new(5);
    let limits = Limits { journal_bytes: 100, ..limits() };
    let case = record(host.clone(), &[grant(1_000)], "other", 1, limits);
    assert_eq!(case.execution.outcome, Outcome::JournalTooLarge);
    assert_eq!(host.asked.load(Ordering::Relaxed), 0);
    case.replays();
}

#[test]
fn a_journal_cannot_grant_what_the_action_does_not() {
    let case = record(Scripted::new(5), &[grant(1_000)], "other", 1, limits());
    let mut receipt = case.receipt.clone();
    let Some(Granted::Delegate(mut delegate)) = receipt.action.permissions.pop_first() else { panic!() };
    delegate.target = "another".to_owned();
    receipt.action.permissions.insert(Granted::Delegate(delegate));
    match case.judge(EngineKind::Cranelift, &receipt, &case.execution.journal, &case.execution.bodies) {
        Judgement::Diverged(divergence) => assert_eq!(divergence.at, "journal entry 1"),
        other => panic!("{other}"),
    }
}

#[test]
fn a_caller_ends_at_its_next_question_after_a_call_that_was_withdrawn() {
    for (times, outcome) in [(1, "ok"), (2, "withdrawn"), (9, "withdrawn")] {
        let case = record(Arc::new(Ending::default()), &[grant(1_000)], "other", times, limits());
        assert_eq!(case.execution.outcome.code(), outcome);
        let entries = &case.execution.journal.entries;
        let told: Vec<_> = entries.iter().map(|entry| entry.withdrawn().is_some()).collect();
        assert_eq!(told, [false, true][..entries.len()]);
        assert_eq!(entries.len(), if times == 1 { 1 } else { 2 });
        case.replays();
    }
}

#[test]
fn bodies_that_nothing_names_are_not_weighed() {
    let case = record(Scripted::new(100_000), &[grant(1_000)], "other", 1, limits());
    let judgement = case.forged(|journal| {
        let body = journal.entries[0].bodies[0];
        journal.entries[0].bodies.push(body);
    });
    match judgement {
        Judgement::Diverged(divergence) => assert_eq!(divergence.at, "journal entry 1"),
        other => panic!("{other}"),
    }
}

#[test]
fn an_unavailable_host_is_an_answer_too() {
    let case = record(Scripted::new(0), &[grant(10_000)], "other", 2, limits());
    assert_eq!(case.execution.outcome.code(), "ok");
    case.replays();
    let nobody = record(Arc::new(actum_sandbox::NoHost), &[grant(10_000)], "other", 2, limits());
    assert_eq!(nobody.execution.outcome.code(), "ok");
    nobody.replays();
    assert_eq!(nobody.action.permissions.len(), 1);
}
