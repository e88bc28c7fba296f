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

use actum_model::value::encode_params;
use actum_model::{Authority, BlobId, Bodies, Journal, Limits, Receipt, SecretKey, Value, codec, value};
use actum_sandbox::replay::{Evidence, replay};
use actum_sandbox::{EngineKind, Sandbox, SandboxConfig};
use common::{action, echo, sandbox, work};
use std::hint::black_box;
use std::time::{Duration, Instant};
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store, StoreLimits,
    StoreLimitsBuilder,
};

/// Wasmtime with the same engine settings and the same limits, called through a typed function, and nothing else.
struct Bare {
    engine: Engine,
    ready: InstancePre<StoreLimits>,
    limits: Limits,
}

impl Bare {
    fn new(component: &[u8], limits: &Limits) -> Self {
        let pool = SandboxConfig::default().pool;
        let mut pooling = PoolingAllocationConfig::new();
        pooling
            .total_memories(128)
            .max_memory_size(pool.memory_bytes as usize)
            .table_elements(pool.table_elements as usize)
            .linear_memory_keep_resident(pool.keep_resident_bytes)
            .table_keep_resident(64 << 10);
        let mut config = Config::new();
        config
            .consume_fuel(true)
            .epoch_interruption(true)
            .memory_init_cow(false)
            .cranelift_nan_canonicalization(true)
            .relaxed_simd_deterministic(true)
            .concurrency_support(false)
            .max_wasm_stack(512 << 10)
            .allocation_strategy(InstanceAllocationStrategy::Pooling(pooling));
        let engine = Engine::new(&config).unwrap();
        let component = Component::from_binary(&engine, component).unwrap();
        let ready = Linker::new(&engine).instantiate_pre(&component).unwrap();
        Self { engine, ready, limits: limits.clone() }
    }

    fn call(&self, input: &[u8]) -> Vec<u8> {
        let limits = StoreLimitsBuilder::new()
            .memory_size(self.limits.memory_bytes as usize)
            .table_elements(self.limits.table_elements as usize)
            .instances(self.limits.instances as usize)
            .trap_on_grow_failure(true)
            .build();
        let mut store = Store::new(&self.engine, limits);
        store.limiter(|limits| limits);
        store.set_fuel(self.limits.fuel).unwrap();
        store.set_epoch_deadline(1_000_000);
        let instance = self.ready.instantiate(&mut store).unwrap();
        let run = instance.get_typed_func::<(&[u8],), (Vec<u8>,)>(&mut store, "run").unwrap();
        run.call(&mut store, (input,)).unwrap().0
    }
}

fn time<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    black_box(work());
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// The medians of two things done alternately.
fn compare(rounds: usize, mut a: impl FnMut(), mut b: impl FnMut()) -> (Duration, Duration) {
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for round in 0..rounds + rounds / 10 {
        let (x, y) = (time(&mut a), time(&mut b));
        if round >= rounds / 10 {
            one.push(x);
            two.push(y);
        }
    }
    (median(one), median(two))
}

fn line(name: &str, ours: Duration, theirs: Duration, goal: Option<f64>) {
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    let goal = goal.map_or_else(String::new, |g| {
        format!("  goal {g:.1}: {}", if ratio <= g { "met" } else { "MISSED" })
    });
    println!("{name:<46} {ratio:>6.2}x  {ours:>10.1?} over {theirs:>10.1?}{goal}");
}

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
        compare(rounds, || drop(black_box(receipt())), || drop(black_box(bare.call(&input))));
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
            let output = value::encode_result(ty, Some(&Value::Bytes(bare.call(&input)))).unwrap();
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
