//! Guests that mean harm: each ends in its own outcome, within the memory it was allowed, under either engine alike, and
//! the sandbox goes on serving.
//!
//! Every case runs under the compiler and is replayed under the interpreter: that is the gate against the two
//! disagreeing. Only how deep a native stack goes may differ.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

mod common;

use actum_model::{Authority, Judgement, Limits, Outcome, SecretKey, TrapCode, Value, codec};
use actum_sandbox::replay::{Evidence, replay};
use actum_sandbox::{EngineKind, Execution, LoadError, Loaded, Sandbox};
use common::{LIBC, action, echo, limits, plain, sandbox, typed, wat};
use std::sync::OnceLock;

/// The most memory this process may have held at once, in bytes: what an action may hold, what may cross, and what the
/// engines take, for all tests of this file together.
const PEAK: u64 = 4 << 30;

/// The compiler and the interpreter, shared: what one guest leaves behind, the next one would find.
fn sandboxes() -> &'static [Sandbox; 2] {
    static BOTH: OnceLock<[Sandbox; 2]> = OnceLock::new();
    BOTH.get_or_init(|| [EngineKind::Cranelift, EngineKind::Pulley].map(sandbox))
}

/// Runs `run` under the compiler, replays it under the interpreter, and sees that both still serve.
fn gate(component: &[u8], values: &[Value], limits: Limits) -> Execution {
    let [compiled, interpreted] = sandboxes();
    let loaded = compiled.load(component).unwrap();
    let execution = gate_loaded(&loaded, component, values, limits);
    for sandbox in [compiled, interpreted] {
        let after = common::run(sandbox, &echo(), &[Value::Bytes(b"still here".into())], common::limits());
        assert_eq!(after.output.unwrap(), b"\x4astill here");
    }
    execution
}

fn gate_loaded(loaded: &Loaded, component: &[u8], values: &[Value], limits: Limits) -> Execution {
    let [compiled, interpreted] = sandboxes();
    let (action, args) = action(loaded, "run", values, limits.clone());
    let execution = compiled.execute(loaded, &action, &args).unwrap();
    assert!(execution.memory_bytes <= limits.memory_bytes);
    assert!(execution.fuel <= limits.fuel);
    let iss = SecretKey::from_seed(&[3; 32]).did();
    let receipt = execution.receipt(action, iss, 1_700_000_000, Authority::Local, compiled.profile_id());
    let stdio = codec::encode(&execution.stdio);
    let evidence = Evidence {
        receipt: &receipt,
        component,
        args: &args,
        output: execution.output.as_deref(),
        journal: &execution.journal,
        bodies: &execution.bodies,
        stdio: receipt.stdio.is_some().then_some(&stdio),
    };
    match replay(interpreted, &evidence).unwrap() {
        Judgement::Identical => {}
        Judgement::NotReplayable(_) if execution.outcome == Outcome::StackOverflow => {}
        other => panic!("{}: {other}", execution.outcome),
    }
    if let Some(peak) = peak() {
        assert!(peak < PEAK, "{peak} bytes were held at once");
    }
    execution
}

/// The most memory this process has held, in bytes, where the system says it.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

fn outcome(component: &[u8], limits: Limits) -> Outcome {
    gate(component, &[], limits).outcome
}

const ABI: Outcome = Outcome::Trap(TrapCode::CanonicalAbi);

/// Limits that leave room for as much memory as is ever given.
fn roomy() -> Limits {
    Limits { memory_bytes: 1 << 30, ..limits() }
}

#[test]
fn an_endless_loop() {
    let limits = Limits { fuel: 1_000_000, ..limits() };
    let execution = gate(&plain("(loop (br 0))"), &[], limits);
    assert_eq!((execution.outcome, execution.fuel), (Outcome::OutOfFuel, 1_000_000));
}

#[test]
fn deep_recursion() {
    assert_eq!(outcome(&plain("(call $run) (call $run)"), limits()), Outcome::StackOverflow);
}

#[test]
fn memory_growth() {
    assert_eq!(
        outcome(&plain("(loop (drop (memory.grow (i32.const 1))) (br 0))"), limits()),
        Outcome::OutOfMemory
    );
    let all_at_once = plain("(drop (memory.grow (i32.const 65535)))");
    assert_eq!(outcome(&all_at_once, limits()), Outcome::OutOfMemory);
}

#[test]
fn growth_of_many_memories_is_summed() {
    let memories: String = (0..8).map(|n| format!("(memory $m{n} 1)")).collect();
    let grow: String = (0..8).map(|n| format!("(drop (memory.grow $m{n} (i32.const 3)))")).collect();
    let component = wat(&format!(
        r#"(component (core module $m {memories} (func (export "run") (loop {grow} (br 0))))
           (core instance $i (instantiate $m)) (func (export "run") (canon lift (core func $i "run"))))"#
    ));
    let execution = gate(&component, &[], limits());
    assert_eq!(execution.outcome, Outcome::OutOfMemory);
    assert!(execution.memory_bytes > (16 << 20) - 4 * 65536, "all of it was given before");
}

#[test]
fn table_growth() {
    let grow = |by: u32| {
        plain(&format!(
            "(loop (drop (table.grow $t (ref.null func) (i32.const {by}))) (br 0))) (table $t 1 funcref) (func"
        ))
    };
    assert_eq!(outcome(&grow(1_000), limits()), Outcome::OutOfMemory);
    assert_eq!(outcome(&grow(1_000_000), limits()), Outcome::OutOfMemory);
    // Growing costs by the element, before it is tried.
    assert_eq!(outcome(&grow(u32::MAX), limits()), Outcome::OutOfFuel);
}

#[test]
fn many_instances() {
    let component = |memory: &str| {
        let instances = "(core instance (instantiate $m))".repeat(900);
        wat(&format!(
            r#"(component (core module $m {memory} (func (export "run"))) {instances}
               (core instance $i (instantiate $m)) (func (export "run") (canon lift (core func $i "run"))))"#
        ))
    };
    let few = Limits { instances: 100, ..limits() };
    assert_eq!(outcome(&component(""), few), Outcome::TooManyInstances);
    // As many memories as instances: more than the pool holds for one component.
    let refused = sandboxes()[0].load(&component("(memory 0)")).unwrap_err();
    assert!(matches!(refused, LoadError::Invalid { .. }), "{refused}");
}

/// A result of this type: a pointer and a length, which are what the guest says, after it grew its memory.
fn claims(ty: &str, pages: u32, at: u32, len: u32) -> Vec<u8> {
    typed(
        &format!("(result {ty})"),
        &format!(
            "(result i32) (drop (memory.grow (i32.const {pages}))) (i32.store (i32.const 16) (i32.const {at}))
             (i32.store (i32.const 20) (i32.const {len})) (i32.const 16)"
        ),
    )
}

#[test]
fn a_result_that_claims_more_than_there_is() {
    for ty in ["(list u8)", "string", "(list u64)", "(list string)", "(list (list u8))"] {
        for len in [u32::MAX, 0x7fff_ffff, 300_000_000, 0x1000_0000] {
            assert_eq!(outcome(&claims(ty, 0, 0, len), limits()), ABI, "{ty} {len}");
        }
    }
}

#[test]
fn a_result_larger_than_what_may_cross() {
    for ty in ["(list u8)", "string", "(list u64)", "(list (tuple u8 string))"] {
        let size = if ty.contains("tuple") {
            12
        } else if ty.contains("64") {
            8
        } else {
            1
        };
        let execution = gate(&claims(ty, 4_700, 1 << 16, 300_000_000 / size), &[], roomy());
        assert_eq!(execution.outcome, Outcome::ValuesTooLarge, "{ty}");
        assert_eq!(execution.outcome.to_string(), "values-too-large");
        assert_eq!(execution.output, None);
    }
}

#[test]
fn a_result_whose_parts_are_all_the_same_memory() {
    // A million bytes, of which each of ten thousand lists says that they are its own.
    let component = typed(
        "(result (list (list u8)))",
        "(result i32) (local $i i32)
         (drop (memory.grow (i32.const 32)))
         (loop
           (i32.store (i32.add (i32.const 65536) (i32.mul (local.get $i) (i32.const 8))) (i32.const 65536))
           (i32.store (i32.add (i32.const 65540) (i32.mul (local.get $i) (i32.const 8))) (i32.const 1000000))
           (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 10000))))
         (i32.store (i32.const 16) (i32.const 65536)) (i32.store (i32.const 20) (i32.const 10000)) (i32.const 16)",
    );
    assert_eq!(outcome(&component, roomy()), Outcome::ValuesTooLarge);
    // Twenty million empty lists: eight bytes each there, more here.
    let empty = claims("(list (list u8))", 2_600, 1 << 16, 20_000_000);
    assert_eq!(outcome(&empty, roomy()), Outcome::ValuesTooLarge);
}

#[test]
fn arguments_larger_than_the_guests_memory() {
    let execution = gate(&echo(), &[Value::Bytes(vec![1; 20 << 20])], limits());
    assert_eq!(execution.outcome, Outcome::OutOfMemory);
}

#[test]
fn a_realloc_that_lies() {
    let lies = |ty: &str, realloc: &str, value: Value| {
        let component = wat(&format!(
            r#"(component
              (core module $m (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) {realloc})
                (func (export "run") (param i32 i32) (result i32) (i32.load (local.get 0))))
              (core instance $i (instantiate $m))
              (func (export "run") (param "data" {ty}) (result u32)
                (canon lift (core func $i "run") (memory $i "memory") (realloc (func $i "realloc")))))"#
        ));
        gate(&component, &[value], limits()).outcome
    };
    let bytes = || Value::Bytes(vec![5; 100]);
    let words = || Value::List((0..10).map(Value::U32).collect());
    for at in ["(i32.const 0xffff0000)", "(i32.const -1)", "(i32.const 65500)"] {
        assert_eq!(lies("(list u8)", at, bytes()), ABI, "out of bounds at {at}");
        assert_eq!(lies("string", at, Value::String("x".repeat(100))), ABI, "out of bounds at {at}");
    }
    assert_eq!(lies("(list u32)", "(i32.const 1)", words()), ABI, "unaligned");
    let trap = Outcome::Trap(TrapCode::Unreachable);
    assert_eq!(lies("(list u8)", "unreachable", bytes()), trap);
    let endless = "(loop (br 0)) (i32.const 0)";
    assert_eq!(lies("(list u8)", endless, bytes()), Outcome::OutOfFuel);
    // Always the same place: its own harm, and nobody else's.
    let list = || Value::List(vec![Value::String("one".into()), Value::String("other".into())]);
    assert_eq!(lies("(list string)", "(i32.const 64)", list()).code(), "ok");
    let grows = "(drop (memory.grow (i32.const 65535))) (i32.const 64)";
    assert_eq!(lies("(list u8)", grows, bytes()), Outcome::OutOfMemory);
}

#[test]
fn deeply_nested_values_and_types() {
    let nested = |depth: usize| {
        let mut types = String::from("(type $t0 (list u8))");
        for level in 1..depth {
            types += &format!("(type $t{level} (list $t{}))", level - 1);
        }
        // Each list holds one: itself, as far as the bytes say.
        wat(&format!(
            r#"(component {types}
              (core module $m (memory (export "memory") 1)
                (func (export "run") (result i32)
                  (i32.store (i32.const 16) (i32.const 16)) (i32.store (i32.const 20) (i32.const 1)) (i32.const 16)))
              (core instance $i (instantiate $m))
              (func (export "run") (result $t{}) (canon lift (core func $i "run") (memory $i "memory"))))"#,
            depth - 1
        ))
    };
    assert_eq!(outcome(&nested(10), limits()).code(), "ok");
    for depth in [50, 90] {
        match sandboxes()[0].load(&nested(depth)) {
            Ok(_) => drop(gate(&nested(depth), &[], limits())),
            Err(error) => assert!(matches!(error, LoadError::NothingCallable { .. }), "{depth}: {error}"),
        }
    }
    for depth in [200, 5_000] {
        let refused = sandboxes()[0].load(&nested(depth)).unwrap_err();
        let expected = matches!(refused, LoadError::Invalid { .. } | LoadError::NothingCallable { .. });
        assert!(expected, "{depth}: {refused}");
    }
}

#[test]
fn a_trap_in_a_start_function() {
    let component = wat(r#"(component
      (core module $m (func $start unreachable) (start $start) (func (export "run")))
      (core instance $i (instantiate $m))
      (func (export "run") (canon lift (core func $i "run"))))"#);
    assert_eq!(outcome(&component, limits()), Outcome::Trap(TrapCode::Unreachable));
}

#[test]
fn a_core_function_of_the_wrong_signature_is_refused() {
    for core in ["(param i32)", "(result i32) (i32.const 1)", "(param i64 f32) (result f64) (f64.const 0)"] {
        let component = format!(
            r#"(component (core module $m (func (export "run") {core})) (core instance $i (instantiate $m))
               (func (export "run") (canon lift (core func $i "run"))))"#
        );
        // The text is not checked by what turns it into bytes.
        let refused = sandboxes()[0].load(&wat(&component)).unwrap_err();
        assert!(matches!(refused, LoadError::Invalid { .. }), "{core}: {refused}");
    }
}

/// Imports streams, polling and randomness, and does this with them. `$out` is stdout, `$p` a pollable.
fn with_world(core: &str) -> Vec<u8> {
    wat(&format!(
        r#"(component
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $p (sub resource)))
    (export "[method]pollable.ready" (func (param "self" (borrow $p)) (result bool)))
    (export "[method]pollable.block" (func (param "self" (borrow $p))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.3" (instance $mono
    (alias outer 1 $pollable (type $p0))
    (export "subscribe-duration" (func (param "when" u64) (result (own $p0))))))
  (import "wasi:random/random@0.2.0" (instance $random
    (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
  (import "wasi:io/error@0.2.0" (instance $error (export "error" (type (sub resource)))))
  (alias export $error "error" (type $err))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (export "output-stream" (type $o (sub resource)))
    (alias outer 1 $err (type $e0))
    (type $se' (variant (case "last-operation-failed" (own $e0)) (case "closed")))
    (export "stream-error" (type $se (eq $se')))
    (export "[method]output-stream.blocking-write-and-flush"
      (func (param "self" (borrow $o)) (param "contents" (list u8)) (result (result (error $se)))))))
  (alias export $streams "output-stream" (type $stream))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $stream (type $s0)) (export "get-stdout" (func (result (own $s0))))))
  {LIBC}
  (core func $sleep (canon lower (func $mono "subscribe-duration")))
  (core func $ready (canon lower (func $poll "[method]pollable.ready")))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core func $bytes (canon lower (func $random "get-random-bytes") (memory $libc "memory")
    (realloc (func $libc "realloc"))))
  (core func $get (canon lower (func $stdout "get-stdout")))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
    (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core module $m
    (import "libc" "memory" (memory 1))
    (import "w" "sleep" (func $sleep (param i64) (result i32)))
    (import "w" "ready" (func $ready (param i32) (result i32)))
    (import "w" "block" (func $block (param i32)))
    (import "w" "bytes" (func $bytes (param i64 i32)))
    (import "w" "get" (func $get (result i32)))
    (import "w" "write" (func $write (param i32 i32 i32 i32)))
    (func (export "run") (local $out i32) (local $p i32)
      (local.set $out (call $get))
      (local.set $p (call $sleep (i64.const 1000000000000)))
      {core}))
  (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "w" (instance
    (export "sleep" (func $sleep)) (export "ready" (func $ready)) (export "block" (func $block))
    (export "bytes" (func $bytes)) (export "get" (func $get)) (export "write" (func $write))))))
  (func (export "run") (canon lift (core func $i "run"))))"#
    ))
}

#[test]
fn a_flood_of_output() {
    let flood = with_world(
        "(loop (call $write (local.get $out) (i32.const 0) (i32.const 4096) (i32.const 16)) (br 0))",
    );
    let execution = gate(&flood, &[], limits());
    assert_eq!(execution.outcome, Outcome::StdioTooLarge);
    assert!((execution.stdio.stdout.len() as u64) <= limits().stdio_bytes);
}

#[test]
fn arguments_of_an_import_larger_than_what_may_cross() {
    let write = |pages: u32, len: u32| {
        with_world(&format!(
            "(drop (memory.grow (i32.const {pages})))
             (call $write (local.get $out) (i32.const 0) (i32.const {len}) (i32.const 16))"
        ))
    };
    assert_eq!(outcome(&write(4_700, 300_000_000), roomy()), Outcome::ValuesTooLarge);
    assert_eq!(outcome(&write(0, u32::MAX), limits()), ABI, "more than there is");
    // Crosses, and is then over what a blocking write may carry.
    assert_eq!(outcome(&write(4_000, 200_000_000), roomy()), Outcome::Trap(TrapCode::Other));
}

#[test]
fn endless_polling() {
    let fuel = Limits { fuel: 1_000_000, ..limits() };
    let polls = with_world("(loop (drop (call $ready (local.get $p))) (br 0))");
    assert_eq!(outcome(&polls, fuel.clone()), Outcome::OutOfFuel);
    let waits = with_world("(loop (call $block (local.get $p)) (br 0))");
    assert_eq!(outcome(&waits, fuel), Outcome::OutOfFuel);
    let hoards = with_world("(loop (drop (call $sleep (i64.const 1))) (br 0))");
    assert_eq!(outcome(&hoards, limits()), Outcome::Trap(TrapCode::Other), "handles are bounded");
}

#[test]
fn a_flood_of_randomness() {
    let bytes =
        |len: u64| with_world(&format!("(loop (call $bytes (i64.const {len}) (i32.const 16)) (br 0))"));
    assert_eq!(outcome(&bytes(1 << 20), limits()), Outcome::OutOfMemory);
    assert_eq!(outcome(&bytes(0), Limits { fuel: 1_000_000, ..limits() }), Outcome::OutOfFuel);
    for len in [(1 << 20) + 1, 1 << 40, u64::MAX] {
        assert_eq!(outcome(&bytes(len), limits()).code(), "trap", "{len}");
    }
}

/// Loads a damaged component; if it still is one with a `run` of the old type, it runs and replays.
fn damaged(component: &[u8], whole: &Loaded) {
    let Ok(loaded) = sandboxes()[0].load(component) else { return };
    let of_run =
        |l: &Loaded| l.functions().iter().find(|f| f.name.answers_to("run")).map(|f| f.params.clone());
    if of_run(&loaded) == of_run(whole) {
        gate_loaded(&loaded, component, &[], Limits { fuel: 200_000, ..limits() });
    }
}

/// A component that uses all of the world for a moment, and ends.
fn busy() -> Vec<u8> {
    with_world(
        "(call $bytes (i64.const 100) (i32.const 16)) (call $block (local.get $p))
         (call $write (local.get $out) (i32.const 0) (i32.const 64) (i32.const 16))",
    )
}

#[test]
fn a_component_cut_anywhere() {
    let whole = busy();
    let loaded = sandboxes()[0].load(&whole).unwrap();
    assert_eq!(gate(&whole, &[], limits()).outcome.code(), "ok");
    // Every section's beginning is among these.
    for len in 0..whole.len() {
        damaged(&whole[..len], &loaded);
    }
}

#[test]
fn a_component_with_a_flipped_bit() {
    let whole = busy();
    let loaded = sandboxes()[0].load(&whole).unwrap();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..200 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bit = (random >> 33) as usize % (whole.len() * 8);
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        damaged(&flipped, &loaded);
    }
}
