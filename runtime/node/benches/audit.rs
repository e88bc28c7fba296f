//! What auditing costs over bare execution: receipts verified a second by `audit_many`, against the same actions run by the
//! sandbox alone on as many threads. Ratios of interleaved medians, so that a busy machine slows both sides.
//!
//! `cargo bench -p actum-node --bench audit`.
//!
//! Audited is all of it: the receipt and its evidence come from the store, each block is checked against its id, the
//! signature, the authority and the consistency are judged, the action is run again, and a verdict is signed and kept.
//! Every receipt is audited once, so that nothing is left out because it was done before. Bare is `Sandbox::execute` of
//! actions and arguments that lie in memory.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a benchmark stops at its first surprise"
)]

use actum_capabilities::guests;
use actum_model::{Action, Authority, Limits, SecretKey, Signed, Value, value::encode_params};
use actum_node::{
    Home,
    audit::{AuditOptions, Kind, Selection, audit_many},
    invoke::{self, Choices},
};
use actum_sandbox::{Loaded, Sandbox};
use actum_store::NewReceipt;
use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// What is audited: so many receipts a round, of calls that differ in their arguments alone.
struct Work {
    name: &'static str,
    component: &'static [u8],
    function: &'static str,
    argument: fn(usize) -> Value,
    receipts: usize,
    rounds: u8,
    /// The most that auditing may cost over execution; none where there is nothing to run and all is bookkeeping.
    goal: Option<f64>,
}

fn text(n: usize, bytes: usize) -> Value {
    let mut text = format!("Number {n}. ");
    while text.len() < bytes {
        text.push_str("To be, or not to be, that is the question. ");
    }
    Value::String(text)
}

/// A round's receipts, by a provider of its own: what to run for them, in memory; their evidence is in the home.
fn prepare(home: &Home, loaded: &Loaded, work: &Work, key: &SecretKey) -> Vec<(Action, Vec<u8>)> {
    let sandbox = home.sandbox().unwrap();
    let function = loaded.functions().iter().find(|f| f.name.name() == work.function).unwrap();
    let mut made = Vec::new();
    for n in 0..work.receipts {
        let args = encode_params(&function.params, &[(work.argument)(n)]).unwrap();
        let choices = Choices { limits: Limits::default(), ..Choices::default() };
        let action = invoke::action(key.did(), *loaded.id(), function, &args, choices);
        let execution = sandbox.execute(loaded, &action, &args).unwrap();
        assert_eq!(execution.outcome.code(), "ok");
        let receipt = execution.receipt(action.clone(), key.did(), 0, Authority::Local, sandbox.profile_id());
        made.push((Signed::sign(receipt, key), args, execution));
    }
    let journals: Vec<_> = made.iter().map(|(_, _, execution)| execution.journal.bytes()).collect();
    let news = made.iter().zip(&journals).map(|((receipt, args, execution), journal)| NewReceipt {
        receipt,
        args,
        output: execution.output.as_deref(),
        journal,
        bodies: &execution.bodies,
        stdio: None,
        invocation: None,
    });
    home.store().put_receipts(&news.collect::<Vec<_>>()).unwrap();
    made.into_iter().map(|(receipt, args, _)| (receipt.into_payload().action, args)).collect()
}

/// Runs all of them on so many threads, each taking the next.
fn bare(sandbox: &Sandbox, loaded: &Loaded, actions: &[(Action, Vec<u8>)], threads: usize) -> Duration {
    let next = AtomicUsize::new(0);
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((action, args)) = actions.get(next.fetch_add(1, Ordering::Relaxed)) {
                    black_box(sandbox.execute(loaded, action, args).unwrap());
                }
            });
        }
    });
    start.elapsed()
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

fn measure(home: &Home, work: &Work, threads: usize, seed: u8) {
    let sandbox = home.sandbox().unwrap();
    let loaded: Arc<Loaded> = sandbox.load(work.component).unwrap();
    home.store().put_component(work.component).unwrap();
    let options = AuditOptions::default();
    let (mut bares, mut audits) = (Vec::new(), Vec::new());
    // The first round warms up.
    for round in 0..=work.rounds {
        let key = SecretKey::from_seed(&[seed, round].repeat(16).try_into().unwrap());
        let actions = prepare(home, &loaded, work, &key);
        let executed = bare(sandbox, &loaded, &actions, threads);
        let start = Instant::now();
        let what = Selection::Provider { did: key.did(), since: None };
        let report = audit_many(home, &what, &options, &mut |_| {}).unwrap();
        let audited = start.elapsed();
        assert_eq!(report.threads, threads);
        assert_eq!(report.total.of(Kind::Identical), work.receipts as u64, "{:?}", report.rows);
        assert_eq!((report.kept, report.lost.len()), (work.receipts as u64, 0));
        if round > 0 {
            bares.push(executed);
            audits.push(audited);
        }
    }
    let (bare, audit) = (median(&mut bares), median(&mut audits));
    let (ratio, each) = (audit / bare, |seconds: f64| seconds * 1e6 * threads as f64 / work.receipts as f64);
    let goal = match work.goal {
        Some(goal) => format!("  goal {goal:.1}: {}", if ratio <= goal { "met" } else { "MISSED" }),
        None => String::new(),
    };
    println!(
        "  {:22} {:8.0} receipts a second over {:8.0} actions a second; a core {:9.1} over {:9.1} µs: {ratio:.2}x{goal}",
        work.name,
        work.receipts as f64 / audit,
        work.receipts as f64 / bare,
        each(audit),
        each(bare),
    );
}

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(&dir.path().join("auditor")).unwrap();
    let threads = thread::available_parallelism().unwrap().get();
    let stats = actum_capabilities::find("text-stats").unwrap().component;
    let all = [
        Work {
            name: "text-stats, 1 MiB",
            component: stats,
            function: "count-words",
            argument: |n| text(n, 1 << 20),
            receipts: 8 * threads,
            rounds: 5,
            goal: Some(1.1),
        },
        Work {
            name: "text-stats, 64 KiB",
            component: stats,
            function: "count-words",
            argument: |n| text(n, 64 << 10),
            receipts: 64 * threads,
            rounds: 7,
            goal: Some(1.1),
        },
        Work {
            name: "text-stats, 4 KiB",
            component: stats,
            function: "count-words",
            argument: |n| text(n, 4 << 10),
            receipts: 256 * threads,
            rounds: 7,
            goal: None,
        },
        Work {
            name: "echo, 1 KiB",
            component: guests::ECHO.component,
            function: "echo",
            argument: |n| Value::Bytes([n.to_be_bytes().as_slice(), &[7; 1016]].concat()),
            receipts: 512 * threads,
            rounds: 7,
            goal: None,
        },
    ];
    println!("Auditing over bare execution, on {threads} threads, medians:");
    for (seed, work) in (1..).zip(&all) {
        measure(&home, work, threads, seed);
    }
}
