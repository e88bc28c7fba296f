//! Components in text and actions to run on them, shared by the tests and the benchmark.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper that fails is a test that fails")]

pub mod draw;

use actum_model::value::encode_params;
use actum_model::{Action, BlobId, Limits, SecretKey, Value};
use actum_sandbox::{EngineKind, Execution, Loaded, Sandbox, SandboxConfig};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A memory with a bump allocator that grows.
pub const LIBC: &str = r#"
  (core module $libc
    (memory (export "memory") 1)
    (global $top (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32) (local $pages i32)
      (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
      (global.set $top (i32.add (local.get $at) (local.get 3)))
      (local.set $pages (i32.sub
        (i32.div_u (i32.add (global.get $top) (i32.const 65535)) (i32.const 65536)) (memory.size)))
      (if (i32.gt_s (local.get $pages) (i32.const 0))
        (then (drop (memory.grow (local.get $pages)))))
      (local.get $at)))
  (core instance $libc (instantiate $libc))
"#;

/// A component whose function `run` has this type, and this core body over the memory of [`LIBC`].
///
/// `core` is the core function after its name, e.g. `(param i32 i32) (result i32) …`.
pub fn typed(ty: &str, core: &str) -> Vec<u8> {
    let text = format!(
        r#"(component {LIBC}
  (core module $main
    (import "libc" "memory" (memory 1))
    (func $run (export "run") {core}))
  (core instance $main (instantiate $main (with "libc" (instance $libc))))
  (func (export "run") {ty}
    (canon lift (core func $main "run") (memory $libc "memory") (realloc (func $libc "realloc")))))"#
    );
    wat(&text)
}

/// A component whose function `run` takes and gives nothing, with this core body.
pub fn plain(core: &str) -> Vec<u8> {
    typed("", core)
}

/// `run: func(data: list<u8>) -> list<u8>`, giving back what it took.
pub fn echo() -> Vec<u8> {
    typed(
        r#"(param "data" (list u8)) (result (list u8))"#,
        r"(param i32 i32) (result i32)
      (i32.store (i32.const 16) (local.get 0)) (i32.store (i32.const 20) (local.get 1)) (i32.const 16)",
    )
}

/// `run: func(data: list<u8>) -> list<u8>`, a few steps of work on each byte, in place.
pub fn work() -> Vec<u8> {
    typed(
        r#"(param "data" (list u8)) (result (list u8))"#,
        r"(param $at i32) (param $len i32) (result i32) (local $i i32) (local $hash i32)
      (local.set $hash (i32.const 0x811c9dc5))
      (block $done (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $len)))
        (local.set $hash (i32.mul (i32.const 0x01000193) (i32.xor (local.get $hash)
          (i32.load8_u (i32.add (local.get $at) (local.get $i))))))
        (local.set $hash (i32.xor (local.get $hash) (i32.rotl (local.get $hash) (i32.const 13))))
        (i32.store8 (i32.add (local.get $at) (local.get $i))
          (i32.xor (local.get $hash) (i32.shr_u (local.get $hash) (i32.const 11))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
      (i32.store (i32.const 16) (local.get $at)) (i32.store (i32.const 20) (local.get $len)) (i32.const 16)",
    )
}

/// Text as a component's bytes.
pub fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

pub fn sandbox(engine: EngineKind) -> Sandbox {
    Sandbox::new(SandboxConfig { engine, ..SandboxConfig::default() }).unwrap()
}

pub fn limits() -> Limits {
    Limits { fuel: 50_000_000, memory_bytes: 16 << 20, ..Limits::default() }
}

/// An action of a function, its arguments encoded.
pub fn action(loaded: &Loaded, function: &str, values: &[Value], limits: Limits) -> (Action, Vec<u8>) {
    let function = loaded.functions().iter().find(|f| f.name.answers_to(function)).unwrap();
    let args = encode_params(&function.params, values).unwrap();
    let action = Action {
        requester: SecretKey::from_seed(&[7; 32]).did(),
        component: *loaded.id(),
        function: function.name.clone(),
        args: BlobId::of(&args),
        limits,
        permissions: BTreeSet::new(),
        seed: [9; 32].into(),
        time_base: 1_700_000_000_000_000_000,
        nonce: [1; 12].into(),
        partial: false,
    };
    (action, args)
}

/// Runs `run` of a component.
pub fn run(sandbox: &Sandbox, component: &[u8], values: &[Value], limits: Limits) -> Execution {
    let loaded: Arc<Loaded> = sandbox.load(component).unwrap();
    let (action, args) = action(&loaded, "run", values, limits);
    sandbox.execute(&loaded, &action, &args).unwrap()
}

/// An execution without how long it took, which is no part of its result.
pub fn timeless(execution: Execution) -> Execution {
    Execution { wall: Duration::ZERO, ..execution }
}

/// Whether this ever takes less than that, in two minutes of tries: what waits so long never does, and what does not may, on a busy
/// machine, now and then.
pub fn is_ever_quicker(most: Duration, mut run: impl FnMut()) -> bool {
    let begun = Instant::now();
    loop {
        let start = Instant::now();
        run();
        if start.elapsed() < most {
            return true;
        }
        if begun.elapsed() > Duration::from_secs(120) {
            return false;
        }
    }
}
