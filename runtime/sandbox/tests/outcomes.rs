//! Each way an action can end, by a guest that ends so, under both engines, twice.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

mod common;

use actum_model::{Limits, Outcome, TrapCode, Value};
use actum_sandbox::{
    CancelToken, EngineKind, ExecuteError, Execution, Pool, Sandbox, SandboxConfig, Surroundings,
};
use common::{action, echo, limits, plain, run, sandbox, timeless, typed, wat, work};
use std::time::Duration;

/// Runs a component twice under each engine and checks that all four agree, except for native stack depth.
fn everywhere(component: &[u8], values: &[Value], limits: &Limits) -> Execution {
    let [a, b] = [EngineKind::Cranelift, EngineKind::Pulley].map(|kind| {
        let sandbox = sandbox(kind);
        let [first, second] = [(); 2].map(|()| timeless(run(&sandbox, component, values, limits.clone())));
        assert_eq!(first, second, "twice under {kind:?}");
        first
    });
    assert_eq!(a, b, "compiled and interpreted");
    a
}

fn outcome(core: &str) -> Outcome {
    everywhere(&plain(core), &[], &limits()).outcome
}

#[test]
fn a_result_is_ok() {
    let execution = everywhere(&echo(), &[Value::Bytes(b"hello".into())], &limits());
    let output = execution.output.unwrap();
    assert_eq!(output, b"\x45hello");
    assert_eq!(execution.outcome, Outcome::Ok(actum_model::BlobId::of(&output)));
    assert_eq!(execution.memory_bytes, 65536);
    assert!(execution.fuel > 10);
    assert!(execution.journal.entries.is_empty());
}

#[test]
fn a_function_without_result_is_ok() {
    assert_eq!(outcome("nop").code(), "ok");
}

#[test]
fn an_err_is_a_guest_error() {
    let component = typed(
        "(result (result string (error string)))",
        "(result i32) (i32.store8 (i32.const 16) (i32.const 1)) (i32.store (i32.const 20) (i32.const 100))
         (i32.store (i32.const 24) (i32.const 3)) (i32.store (i32.const 100) (i32.const 0x6f6e6f6e)) (i32.const 16)",
    );
    let execution = everywhere(&component, &[], &limits());
    assert_eq!(execution.outcome.code(), "guest-error");
    assert!(execution.output.unwrap().ends_with(b"non"));
}

#[test]
fn traps_have_codes() {
    for (core, code) in [
        ("unreachable", TrapCode::Unreachable),
        ("(drop (i32.div_u (i32.const 1) (i32.const 0)))", TrapCode::IntegerDivisionByZero),
        ("(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))", TrapCode::IntegerOverflow),
        ("(drop (i32.trunc_f32_s (f32.const nan)))", TrapCode::BadConversionToInteger),
        ("(drop (i32.load (i32.const 0x7fffffff)))", TrapCode::MemoryOutOfBounds),
        ("(call_indirect (i32.const 0))) (table 1 funcref) (func", TrapCode::IndirectCallToNull),
        ("(call_indirect (i32.const 9))) (table 1 funcref) (func", TrapCode::TableOutOfBounds),
        (
            "(call_indirect (i32.const 0))) (table funcref (elem $one)) (func $one (param i32)",
            TrapCode::BadSignature,
        ),
    ] {
        assert_eq!(outcome(core), Outcome::Trap(code), "{core}");
    }
}

#[test]
fn lies_about_results_are_canonical_abi_traps() {
    let lie = |ty: &str, at: u32, len: u32| {
        let core = format!(
            "(result i32) (i32.store (i32.const 16) (i32.const {at}))
             (i32.store (i32.const 20) (i32.const {len})) (i32.const 16)"
        );
        everywhere(&typed(ty, &core), &[], &limits()).outcome
    };
    let abi = Outcome::Trap(TrapCode::CanonicalAbi);
    assert_eq!(lie("(result (list u8))", 0, 0x7fff_ffff), abi);
    assert_eq!(lie("(result (list u32))", 3, 1), abi, "unaligned");
    assert_eq!(lie("(result string)", 0xffff_0000, 64), abi);
    assert_eq!(lie("(result (option bool))", 0xff, 0), abi, "discriminant");
    let invalid_utf8 = typed(
        "(result string)",
        "(result i32) (i32.store8 (i32.const 100) (i32.const 0xff)) (i32.store (i32.const 16) (i32.const 100))
         (i32.store (i32.const 20) (i32.const 1)) (i32.const 16)",
    );
    assert_eq!(everywhere(&invalid_utf8, &[], &limits()).outcome, abi);
    let beyond_memory = typed("(result (list u8))", "(result i32) (i32.const 0x7ffffff0)");
    assert_eq!(everywhere(&beyond_memory, &[], &limits()).outcome, abi);
}

#[test]
fn an_endless_loop_runs_out_of_fuel_exactly() {
    let execution = everywhere(&plain("(loop (br 0))"), &[], &Limits { fuel: 1_000_003, ..limits() });
    assert_eq!((execution.outcome, execution.fuel), (Outcome::OutOfFuel, 1_000_003));
}

#[test]
fn instantiation_is_metered_too() {
    let component = wat(r#"(component
      (core module $m (func $start (loop (br 0))) (start $start) (func (export "run")))
      (core instance $i (instantiate $m))
      (func (export "run") (canon lift (core func $i "run"))))"#);
    assert_eq!(everywhere(&component, &[], &limits()).outcome, Outcome::OutOfFuel);
}

#[test]
fn a_trap_in_a_start_function_is_the_guests() {
    let component = wat(r#"(component
      (core module $m (func $start unreachable) (start $start) (func (export "run")))
      (core instance $i (instantiate $m))
      (func (export "run") (canon lift (core func $i "run"))))"#);
    assert_eq!(everywhere(&component, &[], &limits()).outcome, Outcome::Trap(TrapCode::Unreachable));
}

#[test]
fn a_memory_bomb_is_out_of_memory() {
    let execution = everywhere(&plain("(loop (drop (memory.grow (i32.const 1))) (br 0))"), &[], &limits());
    assert_eq!((execution.outcome, execution.memory_bytes), (Outcome::OutOfMemory, 16 << 20));
}

#[test]
fn memory_is_summed_over_memories() {
    let two = |pages: u32| {
        wat(&format!(
            r#"(component
          (core module $m (memory {pages}) (func (export "run")))
          (core instance $a (instantiate $m)) (core instance $b (instantiate $m))
          (func (export "run") (canon lift (core func $b "run"))))"#
        ))
    };
    let fits = everywhere(&two(128), &[], &limits());
    assert_eq!((fits.outcome.code(), fits.memory_bytes), ("ok", 16 << 20));
    let not = everywhere(&two(129), &[], &limits());
    assert_eq!((not.outcome, not.memory_bytes), (Outcome::OutOfMemory, 129 << 16));
}

#[test]
fn growing_past_a_memorys_own_maximum_is_not_the_limit() {
    let component = wat(r#"(component
      (core module $m (memory 1 2) (func (export "run") (result i32) (memory.grow (i32.const 5))))
      (core instance $i (instantiate $m))
      (func (export "run") (result s32) (canon lift (core func $i "run"))))"#);
    let execution = everywhere(&component, &[], &limits());
    assert_eq!(execution.output.unwrap(), [0x20], "-1");
}

#[test]
fn tables_are_summed_and_bounded() {
    let grow =
        "(loop (drop (table.grow $t (ref.null func) (i32.const 1000))) (br 0))) (table $t 1 funcref) (func";
    assert_eq!(outcome(grow), Outcome::OutOfMemory);
}

#[test]
fn deep_recursion_is_a_stack_overflow() {
    for kind in [EngineKind::Cranelift, EngineKind::Pulley] {
        let execution = run(&sandbox(kind), &plain("(call $run) (call $run)"), &[], limits());
        assert_eq!(execution.outcome, Outcome::StackOverflow, "{kind:?}");
    }
}

#[test]
fn too_many_instances_has_its_own_outcome() {
    let limits = Limits { instances: 1, ..limits() };
    assert_eq!(everywhere(&echo(), &[Value::Bytes(vec![])], &limits).outcome, Outcome::TooManyInstances);
}

/// The engine looks at the clock while the first instance starts, so it has called back before it refuses the second.
#[test]
fn one_instance_too_many_is_the_same_however_long_the_others_took_to_start() {
    let component = wat(r#"(component
      (import "wasi:clocks/monotonic-clock@0.2.0" (instance $mono (export "now" (func (result u64)))))
      (core func $now (canon lower (func $mono "now")))
      (core module $slow (func $start (local $i i32)
        (loop (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 20_000_000)))))
        (start $start))
      (core instance (instantiate $slow))
      (core module $m (import "" "now" (func (result i64))) (func (export "run")))
      (core instance $i (instantiate $m (with "" (instance (export "now" (func $now))))))
      (func (export "run") (canon lift (core func $i "run"))))"#);
    let limits = Limits { fuel: 1_000_000_000, instances: 1, ..limits() };
    let execution = everywhere(&component, &[], &limits);
    assert_eq!(execution.outcome, Outcome::TooManyInstances);
    assert!(execution.fuel > 100_000_000, "the first one started");
}

/// The guest's allocator, which may end in any way, and on some machines sooner than on others, does not run for it.
#[test]
fn an_answer_that_cannot_be_paid_is_not_given() {
    let component = |realloc: &str| {
        wat(&format!(
            r#"(component
      (import "wasi:random/random@0.2.0" (instance $random
        (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
      (core module $libc (memory (export "memory") 1)
        (func $deep (call $deep))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32)
          (drop (memory.grow (i32.const 10))) {realloc}))
      (core instance $libc (instantiate $libc))
      (core func $bytes (canon lower (func $random "get-random-bytes")
        (memory $libc "memory") (realloc (func $libc "realloc"))))
      (core module $m (import "" "bytes" (func $bytes (param i64 i32)))
        (func (export "run") (call $bytes (i64.const 1_000_000) (i32.const 16))))
      (core instance $i (instantiate $m (with "" (instance (export "bytes" (func $bytes))))))
      (func (export "run") (canon lift (core func $i "run"))))"#
        ))
    };
    for realloc in ["(i32.const 64)", "(call $deep) (i32.const 64)", "unreachable"] {
        let limits = Limits { fuel: 900_000, ..limits() };
        let execution = everywhere(&component(realloc), &[], &limits);
        assert_eq!((execution.outcome, execution.fuel), (Outcome::OutOfFuel, 900_000), "{realloc}");
        assert_eq!(execution.memory_bytes, 65_536, "{realloc}: the allocator did not run");
    }
    let paid = everywhere(&component("unreachable"), &[], &limits());
    assert_eq!((paid.outcome, paid.memory_bytes), (Outcome::Trap(TrapCode::Unreachable), 11 * 65_536));
}

#[test]
fn too_large_an_output_has_its_own_outcome() {
    let limits = Limits { output_bytes: 100, ..limits() };
    let fits = everywhere(&echo(), &[Value::Bytes(vec![0; 98])], &limits);
    assert_eq!(fits.outcome.code(), "ok");
    let not = everywhere(&echo(), &[Value::Bytes(vec![0; 99])], &limits);
    assert_eq!((not.outcome, not.output), (Outcome::OutputTooLarge, None));
}

#[test]
fn the_wall_clock_protects_the_host() {
    for engine in [EngineKind::Cranelift, EngineKind::Pulley] {
        let config =
            SandboxConfig { engine, wall_clock: Duration::from_millis(50), ..SandboxConfig::default() };
        let sandbox = Sandbox::new(config).unwrap();
        let limits = Limits { fuel: u64::MAX / 2, ..limits() };
        assert_eq!(run(&sandbox, &plain("(loop (br 0))"), &[], limits).outcome, Outcome::TimedOut);
    }
}

#[test]
fn a_running_action_can_be_cancelled() {
    let sandbox = sandbox(EngineKind::Cranelift);
    let loaded = sandbox.load(&plain("(loop (br 0))")).unwrap();
    let (action, args) = action(&loaded, "run", &[], Limits { fuel: u64::MAX / 2, ..limits() });
    let token = CancelToken::default();
    std::thread::scope(|scope| {
        let around = Surroundings { cancel: token.clone(), ..Surroundings::default() };
        let (sandbox, loaded, action, args) = (&sandbox, &loaded, &action, &args);
        let running = scope.spawn(move || sandbox.execute_in(loaded, action, args, &around));
        token.cancel();
        assert!(matches!(running.join().unwrap(), Err(ExecuteError::Cancelled)));
    });
}

#[test]
fn an_action_that_another_waits_for_waits_for_nobody() {
    let pool = Pool { actions: std::num::NonZeroU32::MIN, nested: 1, ..Pool::default() };
    let sandbox = Sandbox::new(SandboxConfig { pool, ..SandboxConfig::default() }).unwrap();
    let endless = sandbox.load(&plain("(loop (br 0))")).unwrap();
    let (action, args) = action(&endless, "run", &[], Limits { fuel: u64::MAX / 2, ..limits() });
    let token = CancelToken::default();
    let around = Surroundings { cancel: token.clone(), nested: true, ..Surroundings::default() };
    std::thread::scope(|scope| {
        for nested in [false, true] {
            let around = Surroundings { nested, ..around.clone() };
            let (sandbox, endless, action, args) = (&sandbox, &endless, &action, &args);
            // Until it has its place: the brief ones below take that too.
            scope.spawn(move || {
                while matches!(sandbox.execute_in(endless, action, args, &around), Err(ExecuteError::NoPlace))
                {
                }
            });
        }
        // Both kinds of place are held; sooner or later the nested one is seen to be.
        let limit = Limits { fuel: 1_000, ..limits() };
        let brief = actum_model::Action { limits: limit, ..action.clone() };
        while !matches!(sandbox.execute_in(&endless, &brief, &args, &around), Err(ExecuteError::NoPlace)) {}
        token.cancel();
    });
    // Given back, it can be taken again, while none is kept for anybody else.
    let around = Surroundings { nested: true, ..Surroundings::default() };
    let brief = actum_model::Action { limits: Limits { fuel: 1_000, ..limits() }, ..action.clone() };
    assert_eq!(sandbox.execute_in(&endless, &brief, &args, &around).unwrap().outcome, Outcome::OutOfFuel);
}

#[test]
fn mistakes_of_the_caller_are_errors_not_outcomes() {
    let sandbox = sandbox(EngineKind::Cranelift);
    let loaded = sandbox.load(&echo()).unwrap();
    let (good, args) = action(&loaded, "run", &[Value::Bytes(vec![1])], limits());
    let refused = |action, args: &[u8]| sandbox.execute(&loaded, &action, args).unwrap_err();
    let other = actum_model::Action { component: actum_model::ComponentId::of(b"other"), ..good.clone() };
    assert!(matches!(refused(other, &args), ExecuteError::WrongComponent { .. }));
    let missing = actum_model::Action { function: "walk".parse().unwrap(), ..good.clone() };
    assert!(matches!(refused(missing, &args), ExecuteError::NoSuchFunction { .. }));
    assert!(matches!(refused(good.clone(), b"\x80"), ExecuteError::Args(_)));
    let limits = Limits { memory_bytes: 1 << 40, ..limits() };
    assert!(matches!(
        refused(actum_model::Action { limits, ..good }, &args),
        ExecuteError::LimitTooHigh { limit: "memory_bytes", .. }
    ));
}

#[test]
fn more_actions_than_slots_wait_their_turn() {
    let mut config = SandboxConfig::default();
    config.pool.actions = 2.try_into().unwrap();
    let sandbox = Sandbox::new(config).unwrap();
    let component = work();
    let value = [Value::Bytes(vec![5; 100_000])];
    let first = timeless(run(&sandbox, &component, &value, limits()));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..5 {
                    assert_eq!(timeless(run(&sandbox, &component, &value, limits())), first);
                }
            });
        }
    });
}
