//! The engine profile `actum/1`: one table holds every setting that can change a result, and both the engine's
//! configuration and the profile's digest are made from it.
//!
//! What only changes speed (the compiler or the interpreter, the pool, caches, the wall-clock protection) is not in the
//! table: the same action costs the same fuel under each.

use crate::bounds::{self, Bound};
use crate::cache::{Cache, CompileCache};
use crate::clock::STEP;
use crate::compile::Compilers;
use crate::error::{SandboxError, chain};
use crate::random;
use crate::real::files::{MAX_PATH_BYTES, MAX_PATH_NAMES};
use crate::shelf::Shelf;
use crate::toll;
use crate::turns::Turns;
use crate::world::{self, MAX_HANDLES, State};
use actum_model::release::MAX_COMPONENT_BYTES;
use actum_model::{BlobId, Body, Journal, Limits, Profile, ProfileId, value};
use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;
use wasmtime::component::Linker;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OperatorCost, OptLevel, PoolingAllocationConfig,
    Strategy, WasmFeatures,
};

/// The profile's name and version.
pub(crate) const PROFILE: &str = "actum/1";
/// The engine and its release. It must say what `Cargo.lock` says; a test compares them.
pub(crate) const ENGINE: &str = "wasmtime 48.0.8";
/// The most output, and the most stdio, that an action may ask for: 64 MiB. A receipt is believed about its own limits, so
/// this is what keeps one from filling an auditor's memory.
const CEILING_BYTES: u64 = 64 << 20;
/// How often the wall clock is looked at while an action runs.
const TICK: Duration = Duration::from_millis(20);
/// Bytes that may cross from the guest to the host in one call, as the engine counts them: 256 MiB.
pub(crate) const MAX_CROSSING_BYTES: usize = 256 << 20;

/// How guest code is run. Either gives the same outcome, output, fuel and memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EngineKind {
    /// Compiled to the machine's own code. The fast one.
    #[default]
    Cranelift,
    /// Interpreted: 15 to 45 times slower, an independent check of the compiler.
    Pulley,
}

impl EngineKind {
    /// The kind's name, as command lines use it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cranelift => "cranelift",
            Self::Pulley => "pulley",
        }
    }
}

/// How much work the compiler puts into the code. It changes how fast a guest runs, never what it does or costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Optimise {
    /// Compiles soonest, runs slowest.
    Nothing,
    /// Runs fastest.
    #[default]
    Speed,
    /// Runs fast, in less code.
    SpeedAndSize,
}

/// How many actions run at once, and how large each may be. Address space is reserved for all of it, memory is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Actions that run at the same time; further ones wait their turn. Default 16.
    pub actions: NonZeroU32,
    /// Actions that run at the same time for others that wait for them ([`Surroundings::nested`]); one more is refused at
    /// once. Default 16.
    ///
    /// [`Surroundings::nested`]: crate::Surroundings::nested
    pub nested: u32,
    /// The highest `memory_bytes` an action may ask for, and the largest single memory. Default 1 GiB, at most 4 GiB.
    pub memory_bytes: u64,
    /// The highest `table_elements` an action may ask for, and the largest single table. Default 100,000.
    pub table_elements: u64,
    /// Linear memories one component may have; one with more is refused at load. Default 8.
    pub memories: NonZeroU32,
    /// Bytes of each memory that stay resident between actions: cleared by hand instead of given back to the system.
    pub keep_resident_bytes: usize,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            actions: NonZeroU32::new(16).unwrap_or(NonZeroU32::MIN),
            nested: 16,
            memory_bytes: 1 << 30,
            table_elements: 100_000,
            memories: NonZeroU32::new(8).unwrap_or(NonZeroU32::MIN),
            keep_resident_bytes: 2 << 20,
        }
    }
}

/// Tables one component may have.
const TABLES: u32 = 64;
/// Core instances one component may be made of, whatever an action's limit.
const INSTANCES: u32 = 1_000;

/// How a sandbox is made. None of it can change a result.
#[derive(Clone, Debug)]
pub struct SandboxConfig {
    /// Compiler or interpreter. Default [`EngineKind::Cranelift`].
    pub engine: EngineKind,
    /// What the compiler optimises for. Default [`Optimise::Speed`].
    pub optimise: Optimise,
    /// Where compiled components are kept between processes; absent: nowhere.
    pub cache: Option<CompileCache>,
    /// Components compiled at the same time; further ones wait. Against strangers who would have every core compile for
    /// them. One compilation uses all cores; the second lets a small component past a large one. Default 2.
    pub compilations: NonZeroUsize,
    /// How long a compilation is waited for, and how long its turn. Against components that are within every bound and
    /// still slow: the compiler cannot be interrupted, so such a one goes on in the background, in its place among
    /// [`Self::compilations`], and is kept when it ends. Does not bound the CPU it takes. Default 120 s.
    pub compile_wall_clock: Duration,
    /// The longest an action may run before the host ends it, to protect itself. Default 60 s.
    pub wall_clock: Duration,
    /// Compiled components kept in memory; the least recently used goes first. Default 64.
    pub loaded: NonZeroUsize,
    /// How much runs at once.
    pub pool: Pool,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            engine: EngineKind::default(),
            optimise: Optimise::default(),
            cache: None,
            compilations: NonZeroUsize::new(2).unwrap_or(NonZeroUsize::MIN),
            compile_wall_clock: Duration::from_secs(120),
            wall_clock: Duration::from_secs(60),
            loaded: NonZeroUsize::new(64).unwrap_or(NonZeroUsize::MIN),
            pool: Pool::default(),
        }
    }
}

/// A setting's value, and what applies it to the engine where the engine is what it concerns.
enum Setting {
    Switch(bool, fn(&mut Config, bool)),
    Number(usize, fn(&mut Config, usize)),
    Rule(fn() -> String),
    /// Several settings, named as the bounds are.
    Bounds(&'static [&'static Bound]),
}

/// Every setting that can change a result. Changing a line changes the profile's id.
const SETTINGS: &[(&str, Setting)] = &[
    ("fuel", Setting::Switch(true, |c, on| _ = c.consume_fuel(on))),
    ("fuel-costs", Setting::Rule(fuel_costs)),
    ("memory-init-cow", Setting::Switch(false, |c, on| _ = c.memory_init_cow(on))),
    ("nan-canonicalization", Setting::Switch(true, |c, on| _ = c.cranelift_nan_canonicalization(on))),
    ("relaxed-simd-deterministic", Setting::Switch(true, |c, on| _ = c.relaxed_simd_deterministic(on))),
    ("max-wasm-stack", Setting::Number(512 << 10, |c, n| _ = c.max_wasm_stack(n))),
    ("wasm-simd", Setting::Switch(true, |c, on| _ = c.wasm_simd(on))),
    ("wasm-relaxed-simd", Setting::Switch(true, |c, on| _ = c.wasm_relaxed_simd(on))),
    ("wasm-bulk-memory", Setting::Switch(true, |c, on| _ = c.wasm_bulk_memory(on))),
    ("wasm-multi-value", Setting::Switch(true, |c, on| _ = c.wasm_multi_value(on))),
    ("wasm-multi-memory", Setting::Switch(true, |c, on| _ = c.wasm_multi_memory(on))),
    (
        "wasm-reference-types",
        Setting::Switch(true, |c, on| _ = c.wasm_features(WasmFeatures::REFERENCE_TYPES, on)),
    ),
    ("wasm-tail-call", Setting::Switch(true, |c, on| _ = c.wasm_tail_call(on))),
    ("wasm-extended-const", Setting::Switch(true, |c, on| _ = c.wasm_extended_const(on))),
    ("wasm-memory64", Setting::Switch(false, |c, on| _ = c.wasm_memory64(on))),
    ("wasm-wide-arithmetic", Setting::Switch(false, |c, on| _ = c.wasm_wide_arithmetic(on))),
    ("wasm-custom-page-sizes", Setting::Switch(false, |c, on| _ = c.wasm_custom_page_sizes(on))),
    (
        "wasm-function-references",
        Setting::Switch(false, |c, on| _ = c.wasm_features(WasmFeatures::FUNCTION_REFERENCES, on)),
    ),
    ("wasm-gc", Setting::Switch(false, |c, on| _ = c.wasm_features(WasmFeatures::GC, on))),
    ("wasm-exceptions", Setting::Switch(false, |c, on| _ = c.wasm_features(WasmFeatures::EXCEPTIONS, on))),
    (
        "wasm-stack-switching",
        Setting::Switch(false, |c, on| _ = c.wasm_features(WasmFeatures::STACK_SWITCHING, on)),
    ),
    ("wasm-threads", Setting::Switch(false, |c, on| _ = c.wasm_features(WasmFeatures::THREADS, on))),
    ("component-model", Setting::Switch(true, |c, on| _ = c.wasm_component_model(on))),
    ("component-model-async", Setting::Switch(false, |c, on| _ = c.concurrency_support(on))),
    ("component-crossing-typed", Setting::Rule(crate::fast::table)),
    ("component-crossing-value", Setting::Number(size_of::<wasmtime::component::Val>(), |_, _| {})),
    ("component-crossing-bytes", Setting::Number(MAX_CROSSING_BYTES, |_, _| {})),
    ("wasi", Setting::Rule(|| "wasi 0.2 virtual 1".to_owned())),
    (
        "wasi-clock",
        Setting::Rule(|| {
            format!("starts at the time base; +{STEP} ns after each observation; waiting skips")
        }),
    ),
    ("wasi-random", Setting::Rule(|| "chacha20, key seed, streams 0 1 2".to_owned())),
    ("wasi-random-bytes", Setting::Number(random::MAX_BYTES as usize, |_, _| {})),
    (
        "wasi-filesystem",
        Setting::Rule(|| {
            format!("a read-only tree by id; paths of {MAX_PATH_BYTES} bytes and {MAX_PATH_NAMES} names")
        }),
    ),
    ("wasi-handles", Setting::Number(MAX_HANDLES, |_, _| {})),
    (
        "fuel-host",
        Setting::Rule(|| {
            format!(
                "{} a call, {} a byte, {} an item; due before the answer",
                toll::CALL,
                toll::BYTE,
                toll::ITEM
            )
        }),
    ),
    ("wasi-http", Setting::Rule(crate::real::http::rules)),
    ("wasi-keyvalue", Setting::Rule(crate::real::keyvalue::rules)),
    ("wasi-streams", Setting::Rule(crate::io::rules)),
    ("delegate", Setting::Rule(crate::real::delegate::rules)),
    ("values", Setting::Rule(|| format!("at most {} of them, {} deep", value::MAX_VALUES, value::MAX_DEPTH))),
    ("journal", Setting::Rule(|| format!("1; bodies over {} bytes by id", Body::MAX_INLINE))),
    ("load-bytes", Setting::Number(MAX_COMPONENT_BYTES, |_, _| {})),
    ("load-bounds", Setting::Bounds(&bounds::ALL)),
    ("argv0", Setting::Rule(|| crate::command::ARGV0.to_owned())),
];

/// The fuel table in use: the engine's default table, set explicitly, by the digest of every cost in it.
fn fuel_costs() -> String {
    let costs = format!("{:?}", OperatorCost::default());
    format!("wasmtime-48-default {}", BlobId::of(costs.as_bytes()))
}

/// The profile, from the table.
pub(crate) fn profile() -> Profile {
    let settings: BTreeMap<String, String> = SETTINGS
        .iter()
        .flat_map(|(name, setting)| {
            let value = match setting {
                Setting::Switch(on, _) => if *on { "on" } else { "off" }.to_owned(),
                Setting::Number(n, _) => n.to_string(),
                Setting::Rule(text) => text(),
                Setting::Bounds(all) => {
                    return all.iter().map(|b| (b.name.to_owned(), b.most.to_string())).collect();
                }
            };
            vec![((*name).to_owned(), value)]
        })
        .collect();
    Profile { name: PROFILE.to_owned(), engine: ENGINE.to_owned(), settings }
}

/// The engine's configuration: the table, then what only changes speed.
fn config(wanted: &SandboxConfig) -> Result<Config, SandboxError> {
    let refused = |e: wasmtime::Error| SandboxError::Engine { reason: chain(&e) };
    let mut config = Config::new();
    for (_, setting) in SETTINGS {
        match setting {
            Setting::Switch(on, apply) => apply(&mut config, *on),
            Setting::Number(n, apply) => apply(&mut config, *n),
            Setting::Rule(_) | Setting::Bounds(_) => {}
        }
    }
    config.operator_cost(OperatorCost::default());
    config.strategy(Strategy::Cranelift).epoch_interruption(true);
    config.cranelift_opt_level(match wanted.optimise {
        Optimise::Nothing => OptLevel::None,
        Optimise::Speed => OptLevel::Speed,
        Optimise::SpeedAndSize => OptLevel::SpeedAndSize,
    });
    config.wasm_backtrace_max_frames(NonZeroUsize::new(1));
    if wanted.engine == EngineKind::Pulley {
        config.target("pulley64").map_err(refused)?;
    }
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling(&wanted.pool)));
    Ok(config)
}

fn pooling(pool: &Pool) -> PoolingAllocationConfig {
    let actions = pool.actions.get().saturating_add(pool.nested);
    let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let mut config = PoolingAllocationConfig::new();
    config
        .total_component_instances(actions)
        .total_core_instances(actions.saturating_mul(INSTANCES))
        .max_core_instances_per_component(INSTANCES)
        .total_memories(actions.saturating_mul(pool.memories.get()))
        .max_memories_per_component(pool.memories.get())
        .max_memories_per_module(pool.memories.get())
        .max_memory_size(size(pool.memory_bytes))
        .total_tables(actions.saturating_mul(TABLES))
        .max_tables_per_component(TABLES)
        .max_tables_per_module(TABLES)
        .table_elements(size(pool.table_elements))
        .linear_memory_keep_resident(pool.keep_resident_bytes)
        .table_keep_resident(64 << 10)
        // Not by asking the kernel which pages a guest wrote: a page that was swapped out counts as none, and would be the
        // next guest's to read (bytecodealliance/wasmtime#14357).
        .pagemap_scan(Enabled::No);
    config
}

/// Runs components. Cheap to clone: clones share everything. Calls block; make them from blocking threads.
#[derive(Clone)]
pub struct Sandbox {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) engine: Engine,
    pub(crate) kind: EngineKind,
    pub(crate) linker: Linker<State>,
    pub(crate) shelf: Shelf,
    pub(crate) wall_clock: Duration,
    pub(crate) turns: Turns,
    pub(crate) compilers: Compilers,
    pub(crate) cache: Option<Cache>,
    /// The turns of actions that others wait for. Apart, so that those others cannot hold them all.
    pub(crate) nested: Turns,
    pool: Pool,
    profile: Profile,
    profile_id: ProfileId,
    /// Dropping it ends the watcher.
    _watcher: SyncSender<()>,
}

impl Sandbox {
    /// Makes a sandbox: an engine of the profile `actum/1`, its pool, and the thread that watches the wall clock.
    ///
    /// # Errors
    /// [`SandboxError`] when the machine refuses the address space, the cache directory or the thread.
    pub fn new(config: SandboxConfig) -> Result<Self, SandboxError> {
        let refused = |e: wasmtime::Error| SandboxError::Engine { reason: chain(&e) };
        let engine = Engine::new(&self::config(&config)?).map_err(refused)?;
        let linker = world::linker(&engine).map_err(refused)?;
        let watcher = watch(&engine)?;
        let profile = profile();
        let profile_id = profile.id();
        let cache = config.cache.map(|cache| Cache::open(cache, &engine, profile_id)).transpose()?;
        let inner = Inner {
            engine,
            kind: config.engine,
            linker,
            shelf: Shelf::new(config.loaded),
            wall_clock: config.wall_clock,
            turns: Turns::new(config.pool.actions.get()),
            compilers: Compilers::new(config.compilations, config.compile_wall_clock),
            cache,
            nested: Turns::new(config.pool.nested),
            pool: config.pool,
            profile,
            profile_id,
            _watcher: watcher,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The profile: everything that can change a result. The same for every sandbox of this version.
    pub fn profile(&self) -> &Profile {
        &self.inner.profile
    }

    /// The profile's digest.
    pub fn profile_id(&self) -> ProfileId {
        self.inner.profile_id
    }

    /// Whether this sandbox compiles or interprets.
    pub fn engine(&self) -> EngineKind {
        self.inner.kind
    }

    /// The highest limits an action may ask for here. Fuel has no ceiling of its own: it bounds no memory.
    pub fn ceiling(&self) -> Limits {
        Limits {
            fuel: u64::MAX,
            memory_bytes: self.inner.pool.memory_bytes,
            table_elements: self.inner.pool.table_elements,
            instances: u64::from(INSTANCES),
            output_bytes: CEILING_BYTES,
            stdio_bytes: CEILING_BYTES,
            journal_bytes: Journal::MAX_BYTES as u64,
        }
    }
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").field("engine", &self.inner.kind).finish_non_exhaustive()
    }
}

/// Starts the thread that moves the engine's epoch, until the sender is dropped.
fn watch(engine: &Engine) -> Result<SyncSender<()>, SandboxError> {
    let (stop, stopped) = sync_channel::<()>(0);
    let engine = engine.weak();
    std::thread::Builder::new()
        .name("actum-watcher".to_owned())
        .spawn(move || {
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => break,
                }
            }
        })
        .map_err(SandboxError::Watcher)?;
    Ok(stop)
}
