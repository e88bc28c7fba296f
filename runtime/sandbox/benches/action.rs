//! What the sandbox costs over bare wasmtime with the same limits, and replay over execution, as ratios.
//!
//! Each pair is run alternately and its medians are compared, so a busy machine slows both sides. An action here is
//! everything but the signature: decode the arguments, instantiate, call, encode and hash the output, journal, encode
//! the receipt's payload. The arguments' own digest is taken when an action is admitted, before this.
//!
//! `cargo bench -p actum-sandbox`

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark that fails has nothing to say")]

#[path = "../tests/common/mod.rs"]
mod common;
mod measure;

use actum_model::value::encode_params;
use actum_model::{Authority, BlobId, Bodies, Journal, Limits, Receipt, SecretKey, Value, codec, value};
use actum_sandbox::replay::{Evidence, replay};
use actum_sandbox::{EngineKind, Sandbox};
use common::{action, echo, sandbox, work};
use measure::{Bare, compare, line};
use std::hint::black_box;
fn measure(sandbox: &Sandbox, name: &str, component: &[u8], size: usize, rounds: usize, goal: f64) {
    let limits = Limits { memory_bytes: 64 << 20, ..Limits::default() };
    let input: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
    let loaded = sandbox.load(component).unwrap();
    let (action, args) = action(&loaded, "run", &[Value::Bytes(input.clone())], limits.clone());
    let iss = SecretKey::from_seed(&[3; 32]).did();
    let receipt = || -> (Receipt, Vec<u8>) {
        let execution = sandbox.execute(&loaded, &action, &args).unwrap();
        let receipt = execution.receipt(action.clone(), iss, 0, Authority::Local, sandbox.profile_id());
        black_box(codec::encode(&receipt));
        (receipt, execution.output.unwrap())
    };
    let bare = Bare::new(component, &limits);
    let done = actum_sandbox::Execution { output: None, ..sandbox.execute(&loaded, &action, &args).unwrap() };
    let (ours, theirs) =
        compare(rounds, || drop(black_box(receipt())), || drop(black_box(bare.call(&input).0)));
    line(&format!("{name}: action over bare wasmtime"), ours, theirs, Some(goal));

    let (encoded, executed) = compare(
        rounds,
        || {
            let execution = actum_sandbox::Execution::clone(&done);
            let receipt = execution.receipt(action.clone(), iss, 0, Authority::Local, sandbox.profile_id());
            drop(black_box(codec::encode(&receipt)));
        },
        || drop(black_box(sandbox.execute(&loaded, &action, &args).unwrap())),
    );
    println!(
        "{name}: of that, {executed:.1?} executing and {encoded:.1?} assembling and encoding the receipt"
    );

    // The same bytes through bare wasmtime, with the codec and the digest that any verifiable result needs.
    let params = &loaded.functions()[0].params;
    let ty = loaded.functions()[0].result.as_ref();
    let (ours, theirs) = compare(
        rounds,
        || drop(black_box(receipt())),
        || {
            let Some(Value::Bytes(input)) = value::decode_params(params, &args, args.len()).unwrap().pop()
            else {
                return;
            };
            let output = value::encode_result(ty, Some(&Value::Bytes(bare.call(&input).0))).unwrap();
            black_box(BlobId::of(&output));
        },
    );
    line(&format!("{name}: … with its codec and digest"), ours, theirs, None);

    let (first, output) = receipt();
    let journal = Journal::default();
    let evidence = Evidence {
        receipt: &first,
        component,
        args: &args,
        output: Some(&output),
        journal: &journal,
        bodies: &Bodies::new(),
        stdio: None,
    };
    let original = || {
        // What the provider did: check the arguments' digest at admission, then run.
        black_box(BlobId::of(&args));
        drop(black_box(receipt()));
    };
    let (again, once) = compare(rounds, || drop(black_box(replay(sandbox, &evidence).unwrap())), original);
    line(&format!("{name}: replay over execution"), again, once, Some(1.1));
}

fn main() {
    let sandbox = sandbox(EngineKind::Cranelift);
    measure(&sandbox, "1 KiB echo", &echo(), 1 << 10, 5_000, 1.5);
    measure(&sandbox, "1 KiB work", &work(), 1 << 10, 5_000, 1.5);
    measure(&sandbox, "1 MiB echo", &echo(), 1 << 20, 300, 1.2);
    measure(&sandbox, "1 MiB work", &work(), 1 << 20, 300, 1.2);

    let component = echo();
    let loaded = sandbox.load(&component).unwrap();
    for (name, size, rounds) in [("1 KiB", 1 << 10, 1_000), ("1 MiB", 1 << 20, 20)] {
        let (action, args) = action(
            &loaded,
            "run",
            &[Value::Bytes(vec![7; size])],
            Limits { memory_bytes: 64 << 20, ..Limits::default() },
        );
        let (dynamic, typed) = compare(
            rounds,
            || drop(black_box(sandbox.execute_dynamically(&loaded, &action, &args).unwrap())),
            || drop(black_box(sandbox.execute(&loaded, &action, &args).unwrap())),
        );
        line(&format!("{name} echo: dynamic path over typed path"), dynamic, typed, None);
    }
    let params = &loaded.functions()[0].params;
    let megabyte = vec![7; 1 << 20];
    let values = [Value::Bytes(megabyte.clone())];
    let (digest, encode) = compare(
        100,
        || _ = black_box(BlobId::of(&megabyte)),
        || drop(black_box(encode_params(params, &values).unwrap())),
    );
    println!("1 MiB: sha2-256 {digest:.1?}, canonical encoding {encode:.1?}");
}
