//! Replay: an honest receipt is identical under either engine; each forgery is found at its place.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

mod common;

use actum_model::{
    Authority, BlobId, Bodies, Divergence, Journal, JournalEntry, JournalId, Judgement, Limits, Outcome,
    ProfileId, Receipt, SecretKey, Value,
};
use actum_sandbox::replay::{Evidence, ReplayError, replay};
use actum_sandbox::{EngineKind, Execution, Sandbox};
use common::{action, echo, limits, plain, sandbox, work};

struct Case {
    component: Vec<u8>,
    args: Vec<u8>,
    receipt: Receipt,
    execution: Execution,
}

impl Case {
    fn new(sandbox: &Sandbox, component: Vec<u8>, values: &[Value], limits: Limits) -> Self {
        let loaded = sandbox.load(&component).unwrap();
        let (action, args) = action(&loaded, "run", values, limits);
        let execution = sandbox.execute(&loaded, &action, &args).unwrap();
        let iss = SecretKey::from_seed(&[3; 32]).did();
        let receipt = execution.receipt(action, iss, 1_700_000_000, Authority::Local, sandbox.profile_id());
        Self { component, args, receipt, execution }
    }

    fn judge(&self, sandbox: &Sandbox) -> Result<Judgement, ReplayError> {
        self.judge_as(sandbox, &self.receipt, self.execution.output.as_deref(), &self.execution.journal)
    }

    fn judge_as(
        &self,
        sandbox: &Sandbox,
        receipt: &Receipt,
        output: Option<&[u8]>,
        journal: &Journal,
    ) -> Result<Judgement, ReplayError> {
        let (component, args) = (self.component.as_slice(), self.args.as_slice());
        let bodies = &Bodies::new();
        replay(sandbox, &Evidence { receipt, component, args, output, journal, bodies, stdio: None })
    }
}

fn diverged(judgement: Result<Judgement, ReplayError>) -> Divergence {
    match judgement.unwrap() {
        Judgement::Diverged(divergence) => divergence,
        other => panic!("{other}"),
    }
}

#[test]
fn honest_receipts_are_identical_under_either_engine() {
    let [compiled, interpreted] = [EngineKind::Cranelift, EngineKind::Pulley].map(sandbox);
    for (component, values) in [
        (echo(), vec![Value::Bytes(b"abc".into())]),
        (work(), vec![Value::Bytes(vec![1; 5000])]),
        (plain("unreachable"), vec![]),
        (plain("(loop (br 0))"), vec![]),
        (plain("(loop (drop (memory.grow (i32.const 1))) (br 0))"), vec![]),
    ] {
        let case = Case::new(&compiled, component, &values, limits());
        assert_eq!(case.judge(&compiled).unwrap(), Judgement::Identical);
        assert_eq!(case.judge(&interpreted).unwrap(), Judgement::Identical);
    }
}

#[test]
fn each_forgery_diverges_at_its_place() {
    let sandbox = sandbox(EngineKind::Cranelift);
    let case = Case::new(&sandbox, echo(), &[Value::Bytes(b"the truth".into())], limits());
    let empty = Journal::default();
    let forge = |change: &dyn Fn(&mut Receipt)| {
        let mut receipt = case.receipt.clone();
        change(&mut receipt);
        diverged(case.judge_as(&sandbox, &receipt, None, &empty))
    };
    assert_eq!(forge(&|r| r.outcome = Outcome::OutOfFuel).at, "outcome");
    assert_eq!(forge(&|r| r.outcome = Outcome::GuestError(*r.outcome.output().unwrap())).at, "outcome");
    assert_eq!(forge(&|r| r.outcome = Outcome::Ok(BlobId::of(b"x"))).at, "output");
    assert_eq!(forge(&|r| r.fuel += 1).at, "fuel");
    assert_eq!(forge(&|r| r.memory_bytes += 1).at, "memory");
    assert_eq!(forge(&|r| r.stdio = Some(BlobId::of(b"x"))).at, "stdio");

    let mut receipt = case.receipt.clone();
    let lie = b"\x49the tooth";
    receipt.outcome = Outcome::Ok(BlobId::of(lie));
    let found = diverged(case.judge_as(&sandbox, &receipt, Some(lie), &empty));
    assert_eq!(found.at, "output[5]");
    assert_eq!(found.receipt, "\"ooth\" (9 bytes)");
    assert_eq!(found.replay, "\"ruth\" (9 bytes)");

    let entry = JournalEntry {
        function: "wasi:keyvalue/store@0.2.0#get".into(),
        asked: b"q".to_vec().into(),
        told: b"a".to_vec().into(),
        bodies: vec![],
    };
    let journal = Journal { entries: vec![entry] };
    let mut receipt = case.receipt.clone();
    receipt.journal = journal.id();
    let found = diverged(case.judge_as(&sandbox, &receipt, None, &journal));
    assert_eq!((found.at.as_str(), found.replay.as_str()), ("journal entry 1", "none"));
}

#[test]
fn evidence_that_is_not_what_the_receipt_names_is_no_judgement() {
    let sandbox = sandbox(EngineKind::Cranelift);
    let case = Case::new(&sandbox, echo(), &[Value::Bytes(b"abc".into())], limits());
    let whole = Evidence {
        receipt: &case.receipt,
        component: &case.component,
        args: &case.args,
        output: case.execution.output.as_deref(),
        journal: &case.execution.journal,
        bodies: &case.execution.bodies,
        stdio: None,
    };
    let which = |evidence: &Evidence<'_>| match replay(&sandbox, evidence) {
        Err(ReplayError::NotNamed { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(which(&Evidence { component: b"\0asm", ..whole }), "component");
    assert_eq!(which(&Evidence { args: b"\x80", ..whole }), "arguments");
    assert_eq!(which(&Evidence { output: Some(b"x"), ..whole }), "output");
    assert_eq!(which(&Evidence { stdio: Some(b"x"), ..whole }), "stdio");
    let receipt = Receipt { journal: JournalId::of(b"x"), ..case.receipt.clone() };
    assert_eq!(which(&Evidence { receipt: &receipt, ..whole }), "journal");
}

#[test]
fn what_cannot_be_tried_here_is_not_called_a_lie() {
    let sandbox = sandbox(EngineKind::Cranelift);
    let case = Case::new(&sandbox, plain("(call $run) (call $run)"), &[], limits());
    assert_eq!(case.receipt.outcome, Outcome::StackOverflow);
    let not_replayable = |receipt: &Receipt| {
        let judgement = case.judge_as(&sandbox, receipt, None, &Journal::default()).unwrap();
        assert!(matches!(judgement, Judgement::NotReplayable(_)), "{judgement}");
    };
    not_replayable(&Receipt { profile: ProfileId::of(b"another"), ..case.receipt.clone() });
    not_replayable(&Receipt { outcome: Outcome::TimedOut, ..case.receipt.clone() });
    not_replayable(&Receipt { fuel: 1, ..case.receipt.clone() });
    let mut large = case.receipt.clone();
    large.action.limits.memory_bytes = 1 << 40;
    not_replayable(&large);
}

#[test]
fn a_receipt_for_what_cannot_be_run_at_all_diverges() {
    let sandbox = sandbox(EngineKind::Cranelift);
    let mut case = Case::new(&sandbox, echo(), &[Value::Bytes(b"abc".into())], limits());
    case.args = b"\x80".to_vec();
    case.receipt.action.args = BlobId::of(&case.args);
    assert!(diverged(case.judge(&sandbox)).replay.starts_with("refused: "));
}
