//! Random components and random actions: whatever runs, runs the same twice, under each engine and each way of compiling.
//!
//! A case is one number: a component made from it and a handful of actions, with random arguments, limits, seeds and
//! time bases. `ACTUM_RANDOM_CASES` adds so many new ones to the committed;
//! `ACTUM_RANDOM_SEED` runs one again. A case that fails names its number and leaves its component in the target
//! directory's `tmp`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

mod common;

use actum_model::value::{decode_params, encode_params};
use actum_model::{
    Action, Authority, BlobId, Function, Judgement, Outcome, Param, SecretKey, Value, WitType, json,
};
use actum_sandbox::replay::{Evidence, replay};
use actum_sandbox::{EngineKind, Execution, Loaded, Optimise, Pool, Sandbox, SandboxConfig};
use arbitrary::Unstructured;
use common::draw::Draw;
use common::{LIBC, timeless, wat};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wasm_smith::{Config, Module};

/// Cases that once failed, by number. They come first.
const REGRESSIONS: &[u64] = &[0xa2a907f8cb9f3fe8];
/// Where the committed cases begin.
const COMMITTED: u64 = 0xac70;

/// One component under every way of running it. None of what they differ in may be seen.
struct Rigs {
    first: Sandbox,
    others: Vec<(&'static str, Sandbox)>,
}

impl Rigs {
    fn new(ways: &[(&'static str, EngineKind, Optimise, u64, usize)]) -> Self {
        let mut rigs = ways.iter().map(|&(name, engine, optimise, memory_mib, keep_resident_bytes)| {
            let pool = Pool {
                actions: NonZeroU32::new(2).unwrap(),
                memory_bytes: memory_mib << 20,
                keep_resident_bytes,
                ..Pool::default()
            };
            let wall_clock = Duration::from_secs(300);
            let config = SandboxConfig { engine, optimise, pool, wall_clock, ..SandboxConfig::default() };
            (name, Sandbox::new(config).unwrap())
        });
        Self { first: rigs.next().unwrap().1, others: rigs.collect() }
    }

    /// Every engine, every optimisation, three sizes of pool.
    fn all() -> Self {
        use EngineKind::{Cranelift, Pulley};
        Self::new(&[
            ("compiled", Cranelift, Optimise::Speed, 64, 2 << 20),
            ("compiled without optimising", Cranelift, Optimise::Nothing, 128, 0),
            ("compiled for size", Cranelift, Optimise::SpeedAndSize, 1024, 64 << 10),
            ("interpreted", Pulley, Optimise::Speed, 96, 0),
        ])
    }
}

/// What happened to a case's actions, counted by outcome.
type Tally = BTreeMap<String, u64>;

/// Runs an action twice under the first sandbox and once under each other, and replays the receipts crosswise.
fn agree(rigs: &Rigs, component: &[u8], action: &Action, args: &[u8]) -> Result<Execution, String> {
    let run = |sandbox: &Sandbox| -> Result<Execution, String> {
        let loaded = sandbox.load(component).map_err(|e| format!("loading: {e}"))?;
        sandbox.execute(&loaded, action, args).map(timeless).map_err(|e| format!("executing: {e}"))
    };
    let receipt = |execution: &Execution| {
        let iss = SecretKey::from_seed(&[3; 32]).did();
        execution.receipt(action.clone(), iss, 1_700_000_000, Authority::Local, rigs.first.profile_id())
    };
    let first = run(&rigs.first)?;
    let overflows = first.outcome == Outcome::StackOverflow;
    let again = run(&rigs.first)?;
    if first != again {
        return Err(format!("twice under the same sandbox: {first:?}\n{again:?}"));
    }
    let (receipt_of_first, stdio) = (receipt(&first), first.stdio_block());
    for (name, sandbox) in &rigs.others {
        let other = run(sandbox)?;
        // How deep the native stack is depends on the machine's code: declared, and never judged.
        if overflows || other.outcome == Outcome::StackOverflow {
            continue;
        }
        if other != first {
            return Err(format!("{name} differs: {first:?}\n{other:?}"));
        }
        let evidence = Evidence {
            receipt: &receipt_of_first,
            component,
            args,
            output: first.output.as_deref(),
            journal: &first.journal,
            bodies: &first.bodies,
            stdio: stdio.as_ref().map(|(_, bytes)| bytes.as_slice()),
        };
        match replay(sandbox, &evidence) {
            Ok(Judgement::Identical) => {}
            other => return Err(format!("replayed {name}: {other:?}")),
        }
    }
    let theirs = receipt(&first);
    let evidence = Evidence {
        receipt: &theirs,
        component,
        args,
        output: None,
        journal: &first.journal,
        bodies: &first.bodies,
        stdio: None,
    };
    match replay(&rigs.first, &evidence) {
        Ok(Judgement::NotReplayable(_)) if overflows => {}
        Ok(Judgement::Identical) if !overflows || receipt_of_first == theirs => {}
        other => return Err(format!("replayed without its output: {other:?}")),
    }
    Ok(first)
}

/// A random action of a function, its arguments drawn or near to given ones.
fn action(
    draw: &mut Draw,
    loaded: &Loaded,
    function: &Function,
    near: Option<&[Value]>,
) -> (Action, Vec<u8>) {
    let values: Vec<Value> = match near {
        Some(near) => function.params.iter().zip(near).map(|(p, v)| draw.near(&p.ty, v)).collect(),
        None => function.params.iter().map(|p| draw.value(&p.ty)).collect(),
    };
    let args = encode_params(&function.params, &values).unwrap();
    let decoded = decode_params(&function.params, &args, args.len()).unwrap();
    assert_eq!(encode_params(&function.params, &decoded).unwrap(), args, "arguments come back");
    let action = Action {
        requester: SecretKey::from_seed(&[7; 32]).did(),
        component: *loaded.id(),
        function: function.name.clone(),
        args: BlobId::of(&args),
        limits: draw.limits(),
        permissions: BTreeSet::new(),
        seed: draw.seed().into(),
        time_base: if draw.one_in(4) { *draw.pick(&[0, 1, u64::MAX, 1 << 63]) } else { draw.scaled(61) },
        nonce: [1; 12].into(),
        partial: false,
    };
    (action, args)
}

// ---- random components

/// A component type as text, and what it is in a core signature.
const PARAMS: &[(&str, &str)] = &[
    ("s32", "i32"),
    ("u32", "i32"),
    ("s64", "i64"),
    ("u64", "i64"),
    ("f32", "f32"),
    ("f64", "f64"),
    ("bool", "i32"),
    ("char", "i32"),
    ("s8", "i32"),
    ("u16", "i32"),
    ("string", "i32 i32"),
    ("(list u8)", "i32 i32"),
    ("(list f64)", "i32 i32"),
    ("(list string)", "i32 i32"),
    ("(option f32)", "i32 f32"),
    ("(result s64 (error f32))", "i32 i64"),
    ("(tuple u8 f64 s64)", "i32 f64 i64"),
];

const RESULTS: &[(&str, &str)] = &[
    ("s32", "i32"),
    ("u64", "i64"),
    ("s64", "i64"),
    ("f32", "f32"),
    ("f32", "f32"),
    ("f64", "f64"),
    ("f64", "f64"),
    ("u8", "i32"),
    ("bool", "i32"),
    ("char", "i32"),
    ("string", "i32"),
    ("(list u8)", "i32"),
    ("(list f32)", "i32"),
    ("(tuple f32 f64 u16)", "i32"),
    ("(option s64)", "i32"),
    ("(result (list u8) (error string))", "i32"),
];

/// What a random module may call: clocks and randomness, and output through a helper that keeps within its buffer.
const WORLD: &str = r#"
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $mono
    (export "now" (func (result u64))) (export "resolution" (func (result u64)))))
  (import "wasi:random/random@0.2.0" (instance $random
    (export "get-random-bytes" (func (param "len" u64) (result (list u8))))
    (export "get-random-u64" (func (result u64)))))
  (import "wasi:random/insecure@0.2.0" (instance $insecure
    (export "get-insecure-random-u64" (func (result u64)))))
  (import "wasi:random/insecure-seed@0.2.0" (instance $seed
    (export "insecure-seed" (func (result (tuple u64 u64))))))
  (import "wasi:io/error@0.2.0" (instance $errors (export "error" (type (sub resource)))))
  (alias export $errors "error" (type $error))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (export "output-stream" (type $stream (sub resource)))
    (alias outer 1 $error (type $outer))
    (export "error" (type $e (eq $outer)))
    (type $failed' (variant (case "last-operation-failed" (own $e)) (case "closed")))
    (export "stream-error" (type $failed (eq $failed')))
    (export "[method]output-stream.blocking-write-and-flush"
      (func (param "self" (borrow $stream)) (param "contents" (list u8)) (result (result (error $failed)))))))
  (alias export $streams "output-stream" (type $output))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $output (type $outer)) (export "output-stream" (type $o (eq $outer)))
    (export "get-stdout" (func (result (own $o))))))
  (core func $now (canon lower (func $mono "now")))
  (core func $resolution (canon lower (func $mono "resolution")))
  (core func $u64 (canon lower (func $random "get-random-u64")))
  (core func $fast (canon lower (func $insecure "get-insecure-random-u64")))
  (core func $bytes (canon lower (func $random "get-random-bytes")
    (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core func $keys (canon lower (func $seed "insecure-seed") (memory $libc "memory")))
  (core func $get (canon lower (func $stdout "get-stdout")))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
    (memory $libc "memory")))
  (core module $shouter
    (import "" "get" (func $get (result i32)))
    (import "" "write" (func $write (param i32 i32 i32 i32)))
    (func (export "shout") (param i32 i32)
      (call $write (call $get) (i32.and (local.get 0) (i32.const 0xfff))
        (i32.and (local.get 1) (i32.const 0x1ff)) (i32.const 3000))))
  (core instance $shouter (instantiate $shouter
    (with "" (instance (export "get" (func $get)) (export "write" (func $write))))))
  (core instance $world
    (export "now" (func $now)) (export "resolution" (func $resolution)) (export "random" (func $u64))
    (export "insecure" (func $fast)) (export "bytes" (func $bytes)) (export "keys" (func $keys))
    (export "shout" (func $shouter "shout")))
"#;

const AVAILABLE: &str = r#"(module
  (import "world" "now" (func (result i64)))
  (import "world" "resolution" (func (result i64)))
  (import "world" "random" (func (result i64)))
  (import "world" "insecure" (func (result i64)))
  (import "world" "bytes" (func (param i64 i32)))
  (import "world" "keys" (func (param i32)))
  (import "world" "shout" (func (param i32 i32)))
  (import "libc" "memory" (memory 1))
  (import "libc" "realloc" (func (param i32 i32 i32 i32) (result i32))))"#;

/// The generator's settings: what the profile has, with bounds that keep a case in milliseconds.
fn smith(draw: &mut Draw, exports: Vec<u8>) -> Config {
    Config {
        available_imports: Some(wat(AVAILABLE)),
        exports: Some(exports),
        disallow_traps: !draw.one_in(3),
        allow_start_export: draw.one_in(3),
        min_funcs: 2,
        max_funcs: 12,
        max_instructions: 20 + draw.below(300),
        max_memories: 3,
        max_memory32_bytes: 4 << 20,
        min_memories: 1,
        max_tables: 3,
        max_table_elements: 500,
        max_data_segments: 8,
        max_type_size: 100,
        max_globals: 12,
        max_imports: 6,
        max_exports: 0,
        memory_offset_choices: wasm_smith::MemoryOffsetChoices(90, 9, 1),
        bulk_memory_enabled: true,
        simd_enabled: draw.one_in(2),
        relaxed_simd_enabled: draw.one_in(2),
        multi_value_enabled: true,
        reference_types_enabled: true,
        tail_call_enabled: true,
        extended_const_enabled: true,
        memory64_enabled: false,
        gc_enabled: false,
        exceptions_enabled: false,
        threads_enabled: false,
        shared_everything_threads_enabled: false,
        custom_page_sizes_enabled: false,
        wide_arithmetic_enabled: false,
        canonicalize_nans: false,
        ..Config::default()
    }
}

/// A random module with these exports, as text.
fn module(draw: &mut Draw, exports: &[u8]) -> Option<String> {
    for attempt in 0..6 {
        let mut config = smith(draw, exports.to_vec());
        config.reference_types_enabled &= attempt < 5;
        let bytes = draw.bytes(4096);
        let module = Module::new(config, &mut Unstructured::new(&bytes)).ok()?.to_bytes();
        let text = wasmprinter::print_bytes(&module).unwrap();
        // The engine counts `externref` among the types of the collector, which the profile does not have.
        if !text.contains("extern") {
            return Some(text);
        }
    }
    None
}

/// A component of one random module, as text.
fn component(draw: &mut Draw) -> Option<String> {
    let own = draw.one_in(2);
    let memory = if own { r#"(memory $main "memory")"# } else { r#"(memory $libc "memory")"# };
    let mut exports = String::from("(module ");
    if own {
        exports += &format!(r#"(memory (export "memory") 1 {}) "#, 1 + draw.below(8));
    }
    let mut lifted = String::new();
    for n in 0..1 + draw.below(4) {
        let params: Vec<_> = (0..draw.below(5)).map(|_| *draw.pick(PARAMS)).collect();
        let result = if draw.one_in(8) { None } else { Some(*draw.pick(RESULTS)) };
        let flat: String = params.iter().map(|(_, core)| format!(" {core}")).collect();
        let core = result.map(|(_, core)| format!(" (result {core})")).unwrap_or_default();
        exports += &format!(r#"(func (export "f{n}") (param{flat}){core} unreachable) "#);
        let typed: String =
            params.iter().enumerate().map(|(i, (ty, _))| format!(r#" (param "p{i}" {ty})"#)).collect();
        let given = result.map(|(ty, _)| format!(" (result {ty})")).unwrap_or_default();
        lifted += &format!(
            "  (func (export \"f{n}\"){typed}{given}\n    (canon lift (core func $main \"f{n}\") {memory} (realloc (func $libc \"realloc\"))))\n"
        );
    }
    exports += ")";
    let text = module(draw, &wat(&exports))?;
    let text = text.strip_prefix("(module").unwrap();
    Some(format!(
        "(component {LIBC}{WORLD}\n(core module $main {text}\n(core instance $main (instantiate $main \
         (with \"world\" (instance $world)) (with \"libc\" (instance $libc))))\n{lifted})"
    ))
}

/// Runs one case: a random component, up to eight actions.
fn case(rigs: &Rigs, seed: u64, tally: &Mutex<Tally>) -> Result<(), String> {
    let count = |what: &str| *tally.lock().unwrap().entry(what.to_owned()).or_default() += 1;
    let mut draw = Draw::new(seed);
    let Some(text) = component(&mut draw) else {
        count("no module");
        return Ok(());
    };
    let bytes = wat(&text);
    let at = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("random-{seed:#x}.wat"));
    let failed = |what: String| {
        std::fs::write(&at, &text).unwrap();
        format!("case {seed:#x}, component in {}\n{what}", at.display())
    };
    let loaded = match rigs.first.load(&bytes) {
        Ok(loaded) => loaded,
        Err(error) => {
            for (name, sandbox) in &rigs.others {
                if sandbox.load(&bytes).err().as_ref() != Some(&error) {
                    return Err(failed(format!("refused as {error}, but not {name}")));
                }
            }
            let why: String = error.to_string().chars().filter(|c| !c.is_ascii_digit()).collect();
            count(&format!("refused: {why}"));
            return Ok(());
        }
    };
    for _ in 0..2 + draw.below(7) {
        let function = draw.pick(loaded.functions()).clone();
        let (action, args) = action(&mut draw, &loaded, &function, None);
        let start = Instant::now();
        match agree(rigs, &bytes, &action, &args) {
            Ok(execution) => count(&ending(&execution)),
            Err(what) => return Err(failed(format!("{what}\n{action:#?}\narguments {args:02x?}"))),
        }
        if start.elapsed() > Duration::from_secs(120) {
            return Err(failed(format!("took {:?}\n{action:#?}", start.elapsed())));
        }
    }
    Ok(())
}

fn ending(execution: &Execution) -> String {
    match &execution.outcome {
        Outcome::Trap(code) => format!("trap {}", code.code()),
        other => other.code().to_owned(),
    }
}

/// The cases to run: the committed ones, the same every time, and as many new ones as `ACTUM_RANDOM_CASES` says; or the one
/// of `ACTUM_RANDOM_SEED`.
fn seeds(default: u64) -> Vec<u64> {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        let parsed = match text.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16),
            None => text.parse(),
        };
        Some(parsed.unwrap_or_else(|e| panic!("{name}: {e}")))
    };
    if let Some(seed) = number("ACTUM_RANDOM_SEED") {
        return vec![seed];
    }
    let new = number("ACTUM_RANDOM_CASES").unwrap_or(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let fresh = Draw::new(now.as_secs() ^ u64::from(now.subsec_nanos()) << 32).u64();
    println!("{} regressions, {default} committed cases, {new} new ones from {fresh:#x}", REGRESSIONS.len());
    let committed = (0..default).map(|n| COMMITTED + n);
    let new = (0..new).map(|n| fresh.wrapping_add(n));
    REGRESSIONS.iter().copied().chain(committed).chain(new).collect()
}

/// Runs every case on all cores; the first failure is the test's.
fn everyone(seeds: &[u64], run: impl Fn(u64) -> Result<(), String> + Sync) {
    let next = AtomicU64::new(0);
    let failures = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) =
                    seeds.get(usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap())
                {
                    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(*seed)));
                    let what = match failed {
                        Ok(Ok(())) => continue,
                        Ok(Err(what)) => what,
                        Err(_) => format!("case {seed:#x} panicked"),
                    };
                    failures.lock().unwrap().push(what);
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} cases failed; the first:\n{}", failures.len(), failures[0]);
}

#[test]
fn random_components_agree_under_every_engine_and_optimisation() {
    let rigs = Rigs::all();
    let tally = Mutex::new(Tally::new());
    let seeds = seeds(300);
    everyone(&seeds, |seed| case(&rigs, seed, &tally));
    let tally = tally.into_inner().unwrap();
    println!("{tally:#?}");
    let ran: u64 =
        tally.iter().filter(|(k, _)| !k.starts_with("refused") && *k != "no module").map(|(_, n)| n).sum();
    let ok = tally.get("ok").copied().unwrap_or(0);
    if seeds.len() >= 100 {
        let cases = u64::try_from(seeds.len()).unwrap();
        assert!(ran > cases * 2, "most components load: {ran} actions of {cases} cases");
        assert!(ok * 20 > ran, "many actions end well: {ok} of {ran}");
    }
}

// ---- guests from this repository

/// A guest, and argument lists worth starting from.
struct Known {
    name: &'static str,
    component: &'static [u8],
    examples: Vec<(String, serde_json::Value)>,
}

fn known() -> Vec<Known> {
    let guests = actum_capabilities::guests::ALL.iter().map(|g| Known {
        name: g.name,
        component: g.component,
        examples: Vec::new(),
    });
    let capabilities = actum_capabilities::ALL.iter().map(|c| {
        let manifest: toml::Table = c.manifest.parse().unwrap();
        let examples = manifest["example"].as_array().unwrap().iter().map(|e| {
            let args = e.get("args").map_or(serde_json::json!({}), |a| serde_json::to_value(a).unwrap());
            (e["function"].as_str().unwrap().to_owned(), args)
        });
        Known { name: c.name, component: c.component, examples: examples.collect() }
    });
    guests.chain(capabilities).collect()
}

fn params(function: &Function) -> Vec<(&str, &WitType)> {
    function.params.iter().map(|Param { name, ty }| (name.as_str(), ty)).collect()
}

#[test]
fn random_actions_on_real_guests_agree_under_every_engine() {
    use EngineKind::{Cranelift, Pulley};
    let rigs = Rigs::new(&[
        ("compiled", Cranelift, Optimise::Speed, 64, 2 << 20),
        ("interpreted", Pulley, Optimise::Speed, 96, 0),
    ]);
    let known = known();
    let tally = Mutex::new(Tally::new());
    everyone(&seeds(400), |seed| {
        let mut draw = Draw::new(seed);
        let guest = draw.pick(&known);
        let loaded = rigs.first.load(guest.component).map_err(|e| format!("{}: {e}", guest.name))?;
        for _ in 0..3 {
            let example = match guest.examples.as_slice() {
                [] => None,
                some => Some(draw.pick(some)),
            };
            let function = match example {
                Some((name, _)) => loaded.functions().iter().find(|f| f.name.answers_to(name)).unwrap(),
                None => draw.pick(loaded.functions()),
            };
            let near = example.map(|(_, args)| json::params_from_json(&function.params, args).unwrap());
            let near = if draw.one_in(5) { None } else { near };
            let (mut action, args) = action(&mut draw, &loaded, function, near.as_deref());
            if draw.one_in(2) {
                action.limits.fuel = 20_000_000;
            }
            let execution = agree(&rigs, guest.component, &action, &args).map_err(|what| {
                format!(
                    "case {seed:#x}, {} {} {:?}\n{what}\n{action:#?}\narguments {args:02x?}",
                    guest.name,
                    function.name,
                    params(function)
                )
            })?;
            *tally.lock().unwrap().entry(ending(&execution)).or_default() += 1;
        }
        Ok(())
    });
    println!("{:#?}", tally.into_inner().unwrap());
}
