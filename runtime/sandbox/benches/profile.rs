//! What each setting of the profile costs, and what the sandbox costs over bare wasmtime with the same settings.
//!
//! One table of ratios, each of two things done alternately, by their medians. Settings that change results (fuel, the
//! form of NaNs) are measured on three guests that do nothing but compute; those that only change speed (the pool, the
//! compile cache) are measured as the sandbox uses them. Last, a warm action of a function without imports: from its
//! encoded arguments to outcome, output bytes and fuel, the digest of the output apart, since bare wasmtime names
//! nothing; then what that digest and the receipt add.
//!
//! `cargo bench -p actum-sandbox --bench profile`

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark that fails has nothing to say")]

#[path = "../tests/common/mod.rs"]
mod common;
mod measure;

use actum_capabilities::guests;
use actum_model::permission::{Granted, Keyvalue};
use actum_model::{Authority, BlobId, Judgement, Limits, SecretKey, Value, codec, value};
use actum_sandbox::host::{KeyvalueAsk, KeyvalueTold};
use actum_sandbox::replay::{Evidence, replay};
use actum_sandbox::{
    CacheKey, CompileCache, EngineKind, Execution, Host, Loaded, Sandbox, SandboxConfig, Surroundings,
};
use common::{action, echo, sandbox, typed, work};
use measure::{
    Bare, compare, compare_all, compare_together, line, median, on_demand, pooled, settings, time,
};
use std::hint::black_box;
use std::sync::Arc;
use wasmtime::component::{Component, InstancePre, Linker, ResourceTable};
use wasmtime::{Config, Enabled, Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// Enough for every guest here, and not so much that it is not a limit.
fn limits() -> Limits {
    Limits { memory_bytes: 64 << 20, ..Limits::default() }
}

/// Mixes a counter into a hash, `n` times.
fn hash() -> Vec<u8> {
    typed(
        r#"(param "n" u32) (result u64)"#,
        r"(param $n i32) (result i64) (local $hash i64)
      (local.set $hash (i64.const 0xcbf29ce484222325))
      (loop $next
        (local.set $hash (i64.mul (i64.const 0x100000001b3)
          (i64.xor (local.get $hash) (i64.extend_i32_u (local.get $n)))))
        (local.set $hash (i64.xor (local.get $hash) (i64.shr_u (local.get $hash) (i64.const 29))))
        (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
      (local.get $hash)",
    )
}

/// Fills `n` words from a generator and sorts them by insertion at shrinking distances.
fn sort() -> Vec<u8> {
    typed(
        r#"(param "n" u32) (result u64)"#,
        r"(param $n i32) (result i64)
        (local $i i32) (local $j i32) (local $gap i32) (local $x i32) (local $seed i32)
      (local.set $seed (i32.const 12345))
      (loop $fill
        (local.set $seed (i32.add (i32.mul (local.get $seed) (i32.const 1103515245)) (i32.const 12345)))
        (i32.store offset=8192 (i32.shl (local.get $i) (i32.const 2)) (local.get $seed))
        (br_if $fill (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
      (local.set $gap (i32.shr_u (local.get $n) (i32.const 1)))
      (loop $shrink
        (local.set $i (local.get $gap))
        (loop $each
          (local.set $x (i32.load offset=8192 (i32.shl (local.get $i) (i32.const 2))))
          (local.set $j (local.get $i))
          (block $placed (loop $shift
            (br_if $placed (i32.lt_u (local.get $j) (local.get $gap)))
            (br_if $placed (i32.le_s
              (i32.load offset=8192 (i32.shl (i32.sub (local.get $j) (local.get $gap)) (i32.const 2)))
              (local.get $x)))
            (i32.store offset=8192 (i32.shl (local.get $j) (i32.const 2))
              (i32.load offset=8192 (i32.shl (i32.sub (local.get $j) (local.get $gap)) (i32.const 2))))
            (local.set $j (i32.sub (local.get $j) (local.get $gap)))
            (br $shift)))
          (i32.store offset=8192 (i32.shl (local.get $j) (i32.const 2)) (local.get $x))
          (br_if $each (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
        (br_if $shrink (local.tee $gap (i32.shr_u (local.get $gap) (i32.const 1)))))
      (i64.load offset=8192 (i32.const 0))",
    )
}

/// Counts the steps until each of `n` times `n` points of the Mandelbrot set's square escapes.
fn mandelbrot() -> Vec<u8> {
    typed(
        r#"(param "n" u32) (result u64)"#,
        r"(param $n i32) (result i64) (local $x i32) (local $y i32) (local $k i32) (local $sum i64)
        (local $a f64) (local $b f64) (local $u f64) (local $v f64) (local $t f64) (local $step f64)
      (local.set $step (f64.div (f64.const 3) (f64.convert_i32_u (local.get $n))))
      (loop $row
        (local.set $x (i32.const 0))
        (local.set $b (f64.sub (f64.mul (f64.convert_i32_u (local.get $y)) (local.get $step)) (f64.const 1.5)))
        (loop $point
          (local.set $a (f64.sub (f64.mul (f64.convert_i32_u (local.get $x)) (local.get $step)) (f64.const 2)))
          (local.set $u (f64.const 0)) (local.set $v (f64.const 0)) (local.set $k (i32.const 0))
          (block $out (loop $again
            (br_if $out (f64.gt
              (f64.add (f64.mul (local.get $u) (local.get $u)) (f64.mul (local.get $v) (local.get $v)))
              (f64.const 4)))
            (local.set $t (f64.add (local.get $a)
              (f64.sub (f64.mul (local.get $u) (local.get $u)) (f64.mul (local.get $v) (local.get $v)))))
            (local.set $v (f64.add (local.get $b)
              (f64.mul (f64.const 2) (f64.mul (local.get $u) (local.get $v)))))
            (local.set $u (local.get $t))
            (br_if $again (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 1))) (i32.const 200)))))
          (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u (local.get $k))))
          (br_if $point (i32.lt_u (local.tee $x (i32.add (local.get $x) (i32.const 1))) (local.get $n))))
        (br_if $row (i32.lt_u (local.tee $y (i32.add (local.get $y) (i32.const 1))) (local.get $n))))
      (local.get $sum)",
    )
}

/// What the settings that make a result the same everywhere cost a guest that computes.
fn metering() {
    let config = |fuel: bool, epochs: bool, nans: bool| {
        let mut config = settings();
        config.consume_fuel(fuel).epoch_interruption(epochs).cranelift_nan_canonicalization(nans);
        config
    };
    let guests =
        [("hash loop", hash(), 200_000), ("sort", sort(), 8_000), ("Mandelbrot set", mandelbrot(), 48)];
    for (name, component, n) in guests {
        let of = |config: Config| Bare::with(&config, &component, &limits()).kernel(n);
        let (mut none, mut epochs) = (of(config(false, false, true)), of(config(false, true, true)));
        let (mut fuel, mut both) = (of(config(true, false, true)), of(config(true, true, true)));
        let mut nans = of(config(false, false, false));
        let [none, epochs, fuel, both, plain] =
            compare_all(300, [&mut none, &mut epochs, &mut fuel, &mut both, &mut nans]);
        line(&format!("{name}: fuel over no metering"), fuel, none, Some(1.3));
        line(&format!("{name}: fuel over epochs"), fuel, epochs, Some(1.3));
        line(&format!("{name}: fuel and epochs over no metering"), both, none, None);
        if name.starts_with('M') {
            line(&format!("{name}: NaNs made one form over left alone"), none, plain, Some(1.1));
        }
    }
}

/// A store with the ordinary WASI, for guests that import it.
struct Ground {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for Ground {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

fn ground(config: &Config, component: &[u8]) -> (Engine, InstancePre<Ground>) {
    let engine = Engine::new(config).unwrap();
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker).unwrap();
    let component = Component::from_binary(&engine, component).unwrap();
    let ready = linker.instantiate_pre(&component).unwrap();
    (engine, ready)
}

/// A new instance, from nothing to nothing.
fn instantiate((engine, ready): &(Engine, InstancePre<Ground>)) {
    let ground = Ground { wasi: WasiCtx::builder().build(), table: ResourceTable::new() };
    let mut store = Store::new(engine, ground);
    store.set_fuel(1 << 40).unwrap();
    store.set_epoch_deadline(1_000_000);
    black_box(ready.instantiate(&mut store).unwrap());
}

fn instances() {
    let large = actum_capabilities::find("json-query").unwrap().component;
    for (name, component) in [("44 kB guest", guests::ECHO.component), ("1.6 MB guest", large)] {
        let (pool, demand) = (ground(&settings(), component), ground(&on_demand(), component));
        let mut copied = on_demand();
        copied.memory_init_cow(true);
        let copied = ground(&copied, component);
        let asking = ground(&pooled(Enabled::Auto), component);
        let [pool, demand, copied, asking] = compare_all(
            1_000,
            [
                &mut || instantiate(&pool),
                &mut || instantiate(&demand),
                &mut || instantiate(&copied),
                &mut || instantiate(&asking),
            ],
        );
        line(&format!("{name}: instance from the pool over on demand"), pool, demand, Some(1.0));
        line(&format!("{name}: … over on demand, memory copied on write"), pool, copied, None);
        line(
            &format!("{name}: … over a pool that asks the kernel which pages were written"),
            pool,
            asking,
            None,
        );
    }
}

/// A component as a later process finds it, against one never seen.
fn cache() {
    let folder = std::env::temp_dir().join(format!("actum-profile-{}", std::process::id()));
    let cache = || Some(CompileCache::new(folder.clone(), CacheKey::from([7; 32])));
    let in_folder = || SandboxConfig { cache: cache(), ..SandboxConfig::default() };
    let (mut cached, mut compiled) = (Vec::new(), Vec::new());
    let component = guests::ECHO.component;
    Sandbox::new(in_folder()).unwrap().load(component).unwrap();
    for _ in 0..5 {
        let (with, without) = (Sandbox::new(in_folder()).unwrap(), sandbox(EngineKind::Cranelift));
        cached.push(time(|| with.load(component).unwrap()));
        compiled.push(time(|| without.load(component).unwrap()));
    }
    // What is left behind is a temporary folder of this run.
    let _ = std::fs::remove_dir_all(folder);
    line("44 kB guest: loaded from the cache over compiled", median(cached), median(compiled), Some(0.05));
}

/// `run: func(data: r) -> r` where `r` is a record of one `list<u8>`: the same core code as an echo's.
fn echo_in_a_record() -> Vec<u8> {
    common::wat(&format!(
        r#"(component {}
  (core module $main
    (import "libc" "memory" (memory 1))
    (func (export "run") (param i32 i32) (result i32)
      (i32.store (i32.const 16) (local.get 0)) (i32.store (i32.const 20) (local.get 1)) (i32.const 16)))
  (core instance $main (instantiate $main (with "libc" (instance $libc))))
  (type $r' (record (field "data" (list u8))))
  (export $r "r" (type $r'))
  (func (export "run") (param "x" $r) (result $r)
    (canon lift (core func $main "run") (memory $libc "memory") (realloc (func $libc "realloc")))))"#,
        common::LIBC
    ))
}

/// Bytes alone and bytes inside a record, from encoded arguments to encoded output.
fn bytes(sandbox: &Sandbox) {
    let (plain, record) = (echo(), echo_in_a_record());
    let (plain, record) = (sandbox.load(&plain).unwrap(), sandbox.load(&record).unwrap());
    for (name, size, rounds) in [("1 KiB", 1 << 10, 1_000), ("1 MiB", 1 << 20, 20)] {
        let bytes = Value::Bytes(vec![7; size]);
        let (one, args) = action(&plain, "run", std::slice::from_ref(&bytes), limits());
        let (other, inside) = action(&record, "run", &[Value::Record(vec![bytes])], limits());
        let [typed, dynamic, record] = compare_all(
            rounds,
            [
                &mut || drop(black_box(sandbox.execute(&plain, &one, &args).unwrap())),
                &mut || drop(black_box(sandbox.execute_dynamically(&plain, &one, &args).unwrap())),
                &mut || drop(black_box(sandbox.execute(&record, &other, &inside).unwrap())),
            ],
        );
        line(&format!("{name} echo: a value for each byte over typed"), dynamic, typed, None);
        line(&format!("{name} echo: bytes in a record over bytes alone"), record, typed, None);
    }
}

/// A bucket in which every key has the same value.
struct Notes;

impl Host for Notes {
    fn keyvalue(&self, _: &str, ask: KeyvalueAsk) -> Result<KeyvalueTold, String> {
        let KeyvalueAsk::Get(keys) = ask else { return Err("nothing else is asked here".to_owned()) };
        Ok(KeyvalueTold::Values(keys.iter().map(|_| Some(vec![b'v'; 100])).collect()))
    }
}

/// `run: func(n: u32) -> u64`, getting one key `n` times from the bucket `notes`.
fn gets() -> Vec<u8> {
    common::wat(&format!(
        r#"(component
  (import "wasi:keyvalue/store@0.2.0-draft" (instance $kv
    (export "bucket" (type $bucket (sub resource)))
    (type $error' (variant (case "no-such-store") (case "access-denied") (case "other" string)))
    (export "error" (type $error (eq $error')))
    (export "open" (func (param "identifier" string) (result (result (own $bucket) (error $error)))))
    (export "[method]bucket.get" (func (param "self" (borrow $bucket)) (param "key" string)
      (result (result (option (list u8)) (error $error)))))))
  {}
  (core func $open (canon lower (func $kv "open")
    (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core func $get (canon lower (func $kv "[method]bucket.get")
    (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core module $main
    (import "libc" "memory" (memory 1))
    (import "kv" "open" (func $open (param i32 i32 i32)))
    (import "kv" "get" (func $get (param i32 i32 i32 i32)))
    (data (i32.const 32) "noteskey")
    (func (export "run") (param $n i32) (result i64) (local $sum i64)
      (call $open (i32.const 32) (i32.const 5) (i32.const 64))
      (loop $next
        (call $get (i32.load (i32.const 68)) (i32.const 37) (i32.const 3) (i32.const 96))
        (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u (i32.load (i32.const 108)))))
        (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
      (local.get $sum)))
  (core instance $main (instantiate $main (with "libc" (instance $libc))
    (with "kv" (instance (export "open" (func $open)) (export "get" (func $get))))))
  (func (export "run") (param "n" u32) (result u64) (canon lift (core func $main "run"))))"#,
        common::LIBC
    ))
}

/// A hundred answers of the host: given and written down, against read back and compared.
fn journal(sandbox: &Sandbox) {
    let component = gets();
    let loaded = sandbox.load(&component).unwrap();
    let (mut action, args) = action(&loaded, "run", &[Value::U32(100)], limits());
    action.permissions.insert(Granted::Keyvalue(Keyvalue {
        bucket: "notes".to_owned(),
        write: false,
        keys: None,
    }));
    let around = Surroundings { host: Arc::new(Notes), ..Surroundings::default() };
    let execute = || sandbox.execute_in(&loaded, &action, &args, &around).unwrap();
    let done = execute();
    assert_eq!(done.outcome.code(), "ok");
    assert_eq!(done.journal.entries.len(), 101);
    let iss = SecretKey::from_seed(&[3; 32]).did();
    let receipt = done.receipt(action.clone(), iss, 0, Authority::Local, sandbox.profile_id());
    let evidence = Evidence {
        receipt: &receipt,
        component: &component,
        args: &args,
        output: done.output.as_deref(),
        journal: &done.journal,
        bodies: &done.bodies,
        stdio: None,
    };
    assert_eq!(replay(sandbox, &evidence).unwrap(), Judgement::Identical);
    let [recorded, replayed, journals, alone] = compare_all(
        500,
        [
            &mut || {
                let receipt =
                    execute().receipt(action.clone(), iss, 0, Authority::Local, sandbox.profile_id());
                black_box(codec::encode(&receipt));
            },
            &mut || drop(black_box(replay(sandbox, &evidence).unwrap())),
            &mut || _ = black_box(done.journal.id()),
            &mut || drop(black_box(execute())),
        ],
    );
    line("100 gets: replayed over recorded, with receipt", replayed, recorded, Some(1.1));
    line("100 gets: replayed over recorded, without", replayed, alone, None);
    println!("    the id of those 101 entries is {journals:.1?}, once at each side");
}

/// One warm action, by whatever thread.
struct Warm {
    sandbox: Sandbox,
    loaded: Arc<Loaded>,
    action: actum_model::Action,
    args: Vec<u8>,
    bare: Bare,
    input: Vec<u8>,
}

impl Warm {
    /// In a sandbox of its own: what larger actions left resident in a shared pool would be cleared here.
    fn new(component: &[u8], size: usize) -> Self {
        let sandbox = sandbox(EngineKind::Cranelift);
        let input: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        let loaded = sandbox.load(component).unwrap();
        let (action, args) = action(&loaded, "run", &[Value::Bytes(input.clone())], limits());
        Self { sandbox, loaded, action, args, bare: Bare::new(component, &limits()), input }
    }

    fn ours(&self) -> Execution {
        self.sandbox.execute(&self.loaded, &self.action, &self.args).unwrap()
    }

    fn alone(&self, name: &str, rounds: usize) {
        let done = self.ours();
        let output = done.output.clone().unwrap();
        let iss = SecretKey::from_seed(&[3; 32]).did();
        let ty = self.loaded.functions()[0].result.as_ref();
        let receipt = |done: &Execution| {
            let action = self.action.clone();
            codec::encode(&done.receipt(action, iss, 0, Authority::Local, self.sandbox.profile_id()))
        };
        let done = Execution { output: None, ..done };
        let [ours, bare, digest] = compare_all(
            rounds,
            [
                &mut || drop(black_box(self.ours())),
                &mut || drop(black_box(self.bare.call(&self.input))),
                &mut || _ = black_box(BlobId::of(&output)),
            ],
        );
        line(&format!("{name}: warm action over bare"), ours.saturating_sub(digest), bare, Some(1.25));
        line(&format!("{name}: … with its output's digest, over bare without"), ours, bare, None);
        let [named, receipts, journals] = compare_all(
            rounds,
            [
                &mut || {
                    let output = Value::Bytes(self.bare.call(&self.input).0);
                    black_box(BlobId::of(&value::encode_result(ty, Some(&output)).unwrap()));
                },
                &mut || drop(black_box(receipt(&done))),
                &mut || _ = black_box(done.journal.id()),
            ],
        );
        line(&format!("{name}: … over bare with encoding and digest"), ours, named, None);
        println!(
            "    a receipt adds the output's digest {digest:.1?}, and {receipts:.1?} to assemble and encode, the \
             journal's id {journals:.1?} of it"
        );
    }

    fn together(&self, name: &str, threads: usize, rounds: usize, batch: u32) {
        let output = self.ours().output.unwrap();
        let (ours, bare) =
            compare_together(threads, rounds, batch, &|| drop(black_box(self.ours())), &|| {
                drop(black_box(self.bare.call(&self.input)));
                black_box(BlobId::of(&output));
            });
        let digest = compare(rounds, || _ = black_box(BlobId::of(&output)), || ()).0;
        line(
            &format!("{name}: warm action over bare, {threads} threads at once"),
            ours.saturating_sub(digest),
            bare.saturating_sub(digest),
            Some(1.25),
        );
    }
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let wants = |part: &str| wanted.is_empty() || wanted.iter().any(|w| w == part);
    let sandbox = sandbox(EngineKind::Cranelift);
    if wants("instances") {
        instances();
    }
    if wants("metering") {
        metering();
    }
    if wants("cache") {
        cache();
    }
    if wants("bytes") {
        bytes(&sandbox);
    }
    if wants("journal") {
        journal(&sandbox);
    }
    if wants("actions") {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        for (name, component, size, rounds, batch) in [
            ("1 KiB echo", echo(), 1 << 10, 2_000, 50),
            ("1 KiB work", work(), 1 << 10, 2_000, 50),
            ("1 MiB echo", echo(), 1 << 20, 200, 4),
            ("1 MiB work", work(), 1 << 20, 100, 2),
        ] {
            let warm = Warm::new(&component, size);
            warm.alone(name, rounds);
            warm.together(name, threads, rounds / 10, batch);
        }
    }
}
