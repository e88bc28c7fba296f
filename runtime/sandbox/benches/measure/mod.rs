//! What the benchmarks share: bare wasmtime to compare with, interleaved timing, and lines of ratios.
#![allow(dead_code, unreachable_pub, reason = "each benchmark uses its own part")]

use actum_model::Limits;
use actum_sandbox::SandboxConfig;
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};
use wasmtime::component::{Component, InstancePre, Linker, TypedFunc};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store, StoreLimits,
    StoreLimitsBuilder,
};

/// The engine settings of the profile, as far as they matter to speed, with the sandbox's pool.
pub fn settings() -> Config {
    pooled(Enabled::No)
}

/// The same, with or without asking the kernel which pages a guest wrote.
pub fn pooled(scan: Enabled) -> Config {
    let pool = SandboxConfig::default().pool;
    let mut pooling = PoolingAllocationConfig::new();
    pooling
        .total_memories(128)
        .max_memory_size(pool.memory_bytes as usize)
        .table_elements(pool.table_elements as usize)
        .linear_memory_keep_resident(pool.keep_resident_bytes)
        .table_keep_resident(64 << 10)
        .pagemap_scan(scan);
    let mut config = on_demand();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling));
    config
}

/// The same, each instance's memory mapped when it is made.
pub fn on_demand() -> Config {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .epoch_interruption(true)
        .memory_init_cow(false)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .concurrency_support(false)
        .max_wasm_stack(512 << 10);
    config
}

/// Wasmtime with the same engine settings and the same limits, called through a typed function, and nothing else.
pub struct Bare {
    engine: Engine,
    ready: InstancePre<StoreLimits>,
    limits: Limits,
}

impl Bare {
    pub fn new(component: &[u8], limits: &Limits) -> Self {
        Self::with(&settings(), component, limits)
    }

    pub fn with(config: &Config, component: &[u8], limits: &Limits) -> Self {
        let engine = Engine::new(config).unwrap();
        let component = Component::from_binary(&engine, component).unwrap();
        let ready = Linker::new(&engine).instantiate_pre(&component).unwrap();
        Self { engine, ready, limits: limits.clone() }
    }

    fn store(&self) -> Store<StoreLimits> {
        let limits = StoreLimitsBuilder::new()
            .memory_size(self.limits.memory_bytes as usize)
            .table_elements(self.limits.table_elements as usize)
            .instances(self.limits.instances as usize)
            .trap_on_grow_failure(true)
            .build();
        let mut store = Store::new(&self.engine, limits);
        store.limiter(|limits| limits);
        // An engine without fuel refuses it, and one without epochs never looks at the deadline.
        let _ = store.set_fuel(self.limits.fuel);
        store.set_epoch_deadline(1_000_000);
        store
    }

    /// Instantiates and calls `run: func(list<u8>) -> list<u8>`: the bytes, and the fuel that is left.
    pub fn call(&self, input: &[u8]) -> (Vec<u8>, u64) {
        let mut store = self.store();
        let instance = self.ready.instantiate(&mut store).unwrap();
        let run = instance.get_typed_func::<(&[u8],), (Vec<u8>,)>(&mut store, "run").unwrap();
        let output = run.call(&mut store, (input,)).unwrap().0;
        (output, store.get_fuel().unwrap_or(0))
    }

    /// `run: func(n: u32) -> u64` on an instance that stays.
    pub fn kernel(&self, n: u32) -> impl FnMut() + use<> {
        let mut store = self.store();
        let instance = self.ready.instantiate(&mut store).unwrap();
        let run: TypedFunc<(u32,), (u64,)> = instance.get_typed_func(&mut store, "run").unwrap();
        let fuel = self.limits.fuel;
        move || {
            let _ = store.set_fuel(fuel);
            black_box(run.call(&mut store, (n,)).unwrap().0);
        }
    }
}

/// The wall clock of something done once, by however many threads it takes.
pub fn time<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    black_box(work());
    start.elapsed()
}

pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// The processor time this thread has used, its share of the kernel's included.
///
/// On a machine with other work, the wall clock of something longer than a scheduler's slice measures that work.
fn used() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// The processor time of one of `batch` runs.
fn cost(batch: u32, work: &mut dyn FnMut()) -> Duration {
    let start = used();
    for _ in 0..batch {
        work();
    }
    (used() - start) / batch
}

/// The medians of two things done alternately.
pub fn compare(rounds: usize, mut a: impl FnMut(), mut b: impl FnMut()) -> (Duration, Duration) {
    let [one, two] = compare_all(rounds, [&mut a, &mut b]);
    (one, two)
}

/// The medians of several things done in turn, small ones a few times a turn: what looks at the clock costs, too.
pub fn compare_all<const N: usize>(rounds: usize, mut things: [&mut dyn FnMut(); N]) -> [Duration; N] {
    const TURN: Duration = Duration::from_micros(50);
    let mut batches = [1; N];
    for (thing, batch) in things.iter_mut().zip(&mut batches) {
        thing();
        let once = cost(1, thing).max(Duration::from_nanos(100));
        *batch = u32::try_from(TURN.as_nanos() / once.as_nanos()).unwrap().clamp(1, 50);
    }
    let mut times = [const { Vec::new() }; N];
    for round in 0..rounds + rounds / 10 {
        for ((thing, batch), times) in things.iter_mut().zip(batches).zip(&mut times) {
            let took = cost(batch, thing);
            if round >= rounds / 10 {
                times.push(took);
            }
        }
    }
    times.map(median)
}

/// The medians of two things, each done by all of `threads` at once, in turn: the processor time of one.
pub fn compare_together(
    threads: usize,
    rounds: usize,
    batch: u32,
    a: &(dyn Fn() + Sync),
    b: &(dyn Fn() + Sync),
) -> (Duration, Duration) {
    let barrier = Barrier::new(threads);
    let every = |work: &(dyn Fn() + Sync)| {
        barrier.wait();
        cost(batch, &mut || work())
    };
    let alternate = || -> Vec<(Duration, Duration)> { (0..rounds).map(|_| (every(a), every(b))).collect() };
    let all: Vec<(Duration, Duration)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(alternate)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let (one, two) = all.into_iter().unzip();
    (median(one), median(two))
}

/// One line: what was measured, the ratio, and whether it is within its goal.
pub fn line(name: &str, ours: Duration, theirs: Duration, goal: Option<f64>) {
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    let goal = goal.map_or_else(String::new, |g| {
        format!("  goal {g:.2}: {}", if ratio <= g { "met" } else { "MISSED" })
    });
    println!("{name:<58} {ratio:>7.2}x  {ours:>10.1?} over {theirs:>10.1?}{goal}");
}
