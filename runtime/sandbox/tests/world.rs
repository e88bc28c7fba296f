//! The virtual world: what a guest can see of time, randomness and its streams, and what it is denied.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

mod common;

use actum_model::{Granted, Limits, Outcome, TrapCode, Value};
use actum_sandbox::{EngineKind, Execution};
use common::{LIBC, action, limits, run, sandbox, timeless, wat};
use std::time::Duration;

/// Imports clocks, polling, randomness and streams, and exports functions over them.
fn world() -> Vec<u8> {
    wat(&format!(
        r#"(component
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $p (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $p))))
    (export "poll" (func (param "in" (list (borrow $p))) (result (list u32))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.3" (instance $mono
    (alias outer 1 $pollable (type $p0))
    (export "now" (func (result u64)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $p0))))))
  (import "wasi:clocks/wall-clock@0.2.12" (instance $wall
    (type $d' (record (field "seconds" u64) (field "nanoseconds" u32)))
    (export "datetime" (type $d (eq $d')))
    (export "now" (func (result $d)))))
  (import "wasi:random/random@0.2.0" (instance $random
    (export "get-random-u64" (func (result u64)))
    (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
  (import "wasi:random/insecure@0.2.0" (instance $insecure (export "get-insecure-random-u64" (func (result u64)))))
  (import "wasi:cli/exit@0.2.0" (instance $exit (export "exit" (func (param "status" (result))))))
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
  (core func $now (canon lower (func $mono "now")))
  (core func $sleep (canon lower (func $mono "subscribe-duration")))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core func $poll' (canon lower (func $poll "poll") (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core func $date (canon lower (func $wall "now") (memory $libc "memory")))
  (core func $random' (canon lower (func $random "get-random-u64")))
  (core func $bytes (canon lower (func $random "get-random-bytes") (memory $libc "memory")
    (realloc (func $libc "realloc"))))
  (core func $insecure' (canon lower (func $insecure "get-insecure-random-u64")))
  (core func $exit' (canon lower (func $exit "exit")))
  (core func $get (canon lower (func $stdout "get-stdout")))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
    (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core module $m
    (import "libc" "memory" (memory 1))
    (import "w" "now" (func $now (result i64)))
    (import "w" "sleep" (func $sleep (param i64) (result i32)))
    (import "w" "block" (func $block (param i32)))
    (import "w" "poll" (func $poll (param i32 i32 i32)))
    (import "w" "date" (func $date (param i32)))
    (import "w" "random" (func $random (result i64)))
    (import "w" "bytes" (func $bytes (param i64 i32)))
    (import "w" "insecure" (func $insecure (result i64)))
    (import "w" "exit" (func $exit (param i32)))
    (import "w" "get" (func $get (result i32)))
    (import "w" "write" (func $write (param i32 i32 i32 i32)))
    (func (export "nap") (result i64)
      (drop (call $now))
      (call $block (call $sleep (i64.const 5000000000)))
      (call $now))
    (func (export "first") (result i32)
      (i32.store (i32.const 64) (call $sleep (i64.const 3000)))
      (i32.store (i32.const 68) (call $sleep (i64.const 2000)))
      (i32.store (i32.const 72) (call $sleep (i64.const 2000)))
      (call $poll (i32.const 64) (i32.const 3) (i32.const 16))
      (i32.const 16))
    (func (export "forever") (loop (drop (call $sleep (i64.const 1))) (br 0)))
    (func (export "today") (result i64) (call $date (i32.const 16)) (i64.load (i32.const 16)))
    (func (export "dice") (result i32)
      (i64.store (i32.const 16) (call $random)) (i64.store (i32.const 24) (call $random))
      (i64.store (i32.const 32) (call $insecure)) (i32.const 16))
    (func (export "flood") (call $bytes (i64.const 2000000) (i32.const 16)))
    (func (export "leave") (call $exit (i32.const 0)))
    (func (export "say") (param $n i32) (local $out i32)
      (local.set $out (call $get))
      (i32.store (i32.const 100) (i32.const 0x0a216968))
      (loop (call $write (local.get $out) (i32.const 100) (i32.const 4) (i32.const 200))
        (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))
  (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "w" (instance
    (export "now" (func $now)) (export "sleep" (func $sleep)) (export "block" (func $block))
    (export "poll" (func $poll')) (export "date" (func $date)) (export "random" (func $random'))
    (export "bytes" (func $bytes)) (export "insecure" (func $insecure')) (export "exit" (func $exit'))
    (export "get" (func $get)) (export "write" (func $write))))))
  (func (export "nap") (result u64) (canon lift (core func $i "nap")))
  (func (export "first") (result (list u32)) (canon lift (core func $i "first") (memory $libc "memory")))
  (func (export "forever") (canon lift (core func $i "forever")))
  (func (export "today") (result u64) (canon lift (core func $i "today")))
  (func (export "dice") (result (tuple u64 u64 u64)) (canon lift (core func $i "dice") (memory $libc "memory")))
  (func (export "flood") (canon lift (core func $i "flood")))
  (func (export "leave") (canon lift (core func $i "leave")))
  (func (export "say") (param "n" u32) (canon lift (core func $i "say"))))"#
    ))
}

/// Runs a function of [`world`] under both engines, twice, and checks that all agree.
fn see(function: &str, values: &[Value], limits: &Limits) -> Execution {
    let component = world();
    let mut seen = Vec::new();
    for kind in [EngineKind::Cranelift, EngineKind::Pulley] {
        let sandbox = sandbox(kind);
        let loaded = sandbox.load(&component).unwrap();
        assert!(loaded.imports().iter().all(|i| i.provided));
        let (action, args) = action(&loaded, function, values, limits.clone());
        for _ in 0..2 {
            seen.push(timeless(sandbox.execute(&loaded, &action, &args).unwrap()));
        }
    }
    assert!(seen.iter().all(|e| *e == seen[0]), "{seen:#?}");
    seen.remove(0)
}

fn value(execution: &Execution, ty: &actum_model::WitType) -> Value {
    let output = execution.output.as_ref().unwrap_or_else(|| panic!("{:?}", execution.outcome));
    actum_model::value::decode_result(Some(ty), output, 1000).unwrap().unwrap()
}

#[test]
fn sleeping_moves_the_clock_and_not_the_thread() {
    // Two observations of 1 µs before the deadline is set and met: see the rule in the clock's own words.
    let nap = || {
        let slept = value(&see("nap", &[], &limits()), &actum_model::WitType::U64);
        assert_eq!(slept, Value::U64(5_000_001_000));
    };
    assert!(common::is_ever_quicker(Duration::from_secs(15), nap), "eight five-second naps");
}

#[test]
fn polling_gives_the_earliest_and_all_of_them() {
    let list = actum_model::WitType::List(Box::new(actum_model::WitType::U32));
    assert_eq!(value(&see("first", &[], &limits()), &list), Value::List(vec![Value::U32(1), Value::U32(2)]));
}

#[test]
fn the_wall_clock_starts_at_the_time_base() {
    assert_eq!(value(&see("today", &[], &limits()), &actum_model::WitType::U64), Value::U64(1_700_000_000));
}

#[test]
fn randomness_is_chacha20_of_the_seed_in_separate_streams() {
    use rand_core::{Rng, SeedableRng};
    let ty = actum_model::WitType::Tuple(vec![actum_model::WitType::U64; 3]);
    let mut streams = [0, 1].map(|n| {
        let mut rng = rand_chacha::ChaCha20Rng::from_seed([9; 32]);
        rng.set_stream(n);
        rng
    });
    let [secure, insecure] = &mut streams;
    let expected = [secure.next_u64(), secure.next_u64(), insecure.next_u64()];
    assert_eq!(
        value(&see("dice", &[], &limits()), &ty),
        Value::Tuple(expected.into_iter().map(Value::U64).collect())
    );
}

#[test]
fn what_a_function_writes_is_captured() {
    let execution = see("say", &[Value::U32(2)], &limits());
    assert_eq!(execution.outcome.code(), "ok");
    assert_eq!(execution.stdio.stdout.as_slice(), b"hi!\nhi!\n");
    assert!(execution.stdio_block().is_some());
}

#[test]
fn a_flood_of_stdout_ends_at_the_same_byte() {
    let execution = see("say", &[Value::U32(1_000_000)], &Limits { stdio_bytes: 1001, ..limits() });
    assert_eq!(execution.outcome, Outcome::StdioTooLarge);
    assert_eq!(execution.stdio.stdout.len(), 1000);
}

#[test]
fn a_flood_of_handles_or_of_random_bytes_is_a_trap() {
    assert_eq!(see("forever", &[], &limits()).outcome, Outcome::Trap(TrapCode::Other));
    assert_eq!(see("flood", &[], &limits()).outcome, Outcome::Trap(TrapCode::Other));
}

#[test]
fn a_function_that_exits_is_a_trap() {
    assert_eq!(see("leave", &[], &limits()).outcome, Outcome::Trap(TrapCode::Exit));
}

#[test]
fn what_is_not_in_the_world_is_denied_by_name_and_sorted() {
    let component = wat(r#"(component
      (import "wasi:sockets/tcp@0.2.0" (instance (export "f" (func))))
      (import "wasi:http/outgoing-handler@0.2.0" (instance (export "f" (func))))
      (import "wasi:clocks/monotonic-clock@0.3.0" (instance (export "now" (func (result u64)))))
      (import "wasi:clocks/wall-clock@0.2.0" (instance))
      (import "my:own/types" (instance (type $u u32) (export "t" (type (eq $u)))))
      (import "host-call" (func))
      (core module $m (func (export "run")))
      (core instance $i (instantiate $m))
      (func (export "run") (canon lift (core func $i "run"))))"#);
    let sandbox = sandbox(EngineKind::Cranelift);
    let loaded = sandbox.load(&component).unwrap();
    let (mut action, args) = action(&loaded, "run", &[], limits());
    let denied = [
        "host-call",
        "wasi:clocks/monotonic-clock@0.3.0",
        "wasi:http/outgoing-handler@0.2.0",
        "wasi:sockets/tcp@0.2.0",
    ];
    for granted in [false, true] {
        action.permissions = granted.then_some(Granted::Network).into_iter().collect();
        let execution = sandbox.execute(&loaded, &action, &args).unwrap();
        assert_eq!(execution.outcome, Outcome::Denied(denied.map(str::to_owned).into()));
        assert_eq!((execution.fuel, execution.memory_bytes), (0, 0));
    }
    let asks: Vec<_> =
        loaded.imports().iter().filter(|i| i.permission.is_some()).map(|i| i.name.as_str()).collect();
    assert_eq!(asks, ["wasi:sockets/tcp@0.2.0", "wasi:http/outgoing-handler@0.2.0"]);
}

/// A `wasi:cli/run` program that copies its standard input to standard output, then ends as its argument count says:
/// no argument: returns ok; one: returns err; two: exits with status 1; three: traps.
fn cat() -> Vec<u8> {
    wat(&format!(
        r#"(component
  (import "wasi:cli/environment@0.2.0" (instance $env (export "get-arguments" (func (result (list string))))))
  (import "wasi:cli/exit@0.2.0" (instance $exit (export "exit" (func (param "status" (result))))))
  (import "wasi:io/error@0.2.0" (instance $error (export "error" (type (sub resource)))))
  (alias export $error "error" (type $err))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (export "output-stream" (type $o (sub resource)))
    (export "input-stream" (type $in (sub resource)))
    (alias outer 1 $err (type $e0))
    (type $se' (variant (case "last-operation-failed" (own $e0)) (case "closed")))
    (export "stream-error" (type $se (eq $se')))
    (export "[method]output-stream.blocking-splice"
      (func (param "self" (borrow $o)) (param "src" (borrow $in)) (param "len" u64)
        (result (result u64 (error $se)))))))
  (alias export $streams "output-stream" (type $out))
  (alias export $streams "input-stream" (type $in))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $out (type $s0)) (export "get-stdout" (func (result (own $s0))))))
  (import "wasi:cli/stdin@0.2.0" (instance $stdin
    (alias outer 1 $in (type $s0)) (export "get-stdin" (func (result (own $s0))))))
  {LIBC}
  (core func $args (canon lower (func $env "get-arguments") (memory $libc "memory")
    (realloc (func $libc "realloc"))))
  (core func $exit' (canon lower (func $exit "exit")))
  (core func $out' (canon lower (func $stdout "get-stdout")))
  (core func $in' (canon lower (func $stdin "get-stdin")))
  (core func $splice (canon lower (func $streams "[method]output-stream.blocking-splice")
    (memory $libc "memory")))
  (core module $m
    (import "libc" "memory" (memory 1))
    (import "w" "args" (func $args (param i32)))
    (import "w" "exit" (func $exit (param i32)))
    (import "w" "out" (func $out (result i32)))
    (import "w" "in" (func $in (result i32)))
    (import "w" "splice" (func $splice (param i32 i32 i64 i32)))
    (func (export "run") (result i32) (local $n i32)
      (call $args (i32.const 16))
      (local.set $n (i32.load (i32.const 20)))
      (call $splice (call $out) (call $in) (i64.const 1000) (i32.const 32))
      (if (i32.eq (local.get $n) (i32.const 3)) (then (call $exit (i32.const 1))))
      (if (i32.eq (local.get $n) (i32.const 4)) (then unreachable))
      (i32.eq (local.get $n) (i32.const 2))))
  (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "w" (instance
    (export "args" (func $args)) (export "exit" (func $exit')) (export "out" (func $out'))
    (export "in" (func $in')) (export "splice" (func $splice))))))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $run (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $run)))"#
    ))
}

#[test]
fn a_command_is_a_function_of_its_arguments_and_input() {
    let sandbox = sandbox(EngineKind::Cranelift);
    let loaded = sandbox.load(&cat()).unwrap();
    let function = &loaded.functions()[0];
    assert_eq!(function.name.to_string(), "wasi:cli/run@0.2.0#run");
    let ends = |args: usize, limits: Limits| {
        let values = [Value::List(vec![Value::String("x".into()); args]), Value::Bytes(b"from stdin".into())];
        let (action, args) = action(&loaded, "run", &values, limits);
        sandbox.execute(&loaded, &action, &args).unwrap()
    };
    let decode = |e: &Execution| value(e, function.result.as_ref().unwrap());
    let stdout = || Value::Bytes(b"from stdin".into());
    let ok = ends(0, limits());
    assert_eq!(ok.outcome.code(), "ok");
    assert!(ok.stdio_block().is_none());
    let streams = vec![stdout(), Value::Bytes(vec![])];
    assert_eq!(decode(&ok), Value::Result(Ok(Some(Box::new(Value::Record(streams))))));
    for args in [1, 2] {
        let failed = ends(args, limits());
        assert_eq!(failed.outcome.code(), "guest-error");
        let failure = vec![Value::U8(1), stdout(), Value::Bytes(vec![])];
        assert_eq!(decode(&failed), Value::Result(Err(Some(Box::new(Value::Record(failure))))));
    }
    let trapped = ends(3, limits());
    assert_eq!(trapped.outcome, Outcome::Trap(TrapCode::Unreachable));
    assert_eq!(trapped.stdio.stdout.as_slice(), b"from stdin", "what it said before is kept");
    assert_eq!(ends(0, Limits { output_bytes: 5, ..limits() }).outcome, Outcome::OutputTooLarge);
}

/// A component whose function asks for so many random bytes, and whose `realloc` first goes round so many times.
fn slow_to_make_room(rounds: u32, bytes: u32) -> Vec<u8> {
    wat(&format!(
        r#"(component
  (import "wasi:random/random@0.2.0" (instance $random
    (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
  (core module $libc
    (memory (export "memory") 20)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local $n i32)
      (local.set $n (i32.const {rounds}))
      (loop (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
      (drop (memory.grow (i32.const 1)))
      (i32.const 4096)))
  (core instance $libc (instantiate $libc))
  (core func $bytes (canon lower (func $random "get-random-bytes") (memory $libc "memory")
    (realloc (func $libc "realloc"))))
  (core module $m
    (import "w" "bytes" (func $bytes (param i64 i32)))
    (func (export "run") (call $bytes (i64.const {bytes}) (i32.const 16))))
  (core instance $i (instantiate $m (with "w" (instance (export "bytes" (func $bytes))))))
  (func (export "run") (canon lift (core func $i "run"))))"#
    ))
}

#[test]
fn the_toll_is_taken_however_long_the_guest_takes_to_make_room() {
    for engine in [EngineKind::Cranelift, EngineKind::Pulley] {
        let sandbox = sandbox(engine);
        let fuel = |rounds, bytes| {
            let limits = Limits { fuel: 1_000_000_000, ..limits() };
            let execution = run(&sandbox, &slow_to_make_room(rounds, bytes), &[], limits);
            assert!(matches!(execution.outcome, Outcome::Ok(_)), "{}", execution.outcome);
            execution.fuel
        };
        // Long enough for the wall clock to be looked at while the answer has no place yet.
        assert_eq!(fuel(50_000_000, 100_001) - fuel(50_000_000, 1), 100_000, "{engine:?}");
        assert_eq!(fuel(1, 100_001) - fuel(1, 1), 100_000, "{engine:?}");
    }
}
