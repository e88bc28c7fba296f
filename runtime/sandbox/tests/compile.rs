//! Compiling is bounded and can be given up; what is compiled is kept on disk, and believed only when it is ours.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

mod common;

use actum_sandbox::{
    CacheKey, CancelToken, CompileCache, EngineKind, ExecuteError, LoadError, Sandbox, SandboxConfig,
    Surroundings,
};
use common::{action, limits, plain, typed, wat};
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A component that takes a while to compile: many functions, no two alike.
fn slow() -> Vec<u8> {
    let functions: String = (0..3_000)
        .map(|n| {
            let work = format!("(i32.add (i32.const {n}) (i32.mul (local.get 0) (i32.const {n})))");
            format!(
                "(func (param i32) (result i32) {})",
                work.to_owned() + &format!("{work} drop").repeat(20)
            )
        })
        .collect();
    wat(&format!(
        r#"(component (core module $m {functions} (func (export "run"))) (core instance $i (instantiate $m))
           (func (export "run") (canon lift (core func $i "run"))))"#
    ))
}

/// Waits until it holds; five minutes are more than any machine needs.
fn until(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(300), "it never holds");
        std::thread::yield_now();
    }
}

#[test]
fn a_slow_compilation_is_not_waited_for_and_kept_all_the_same() {
    let config = SandboxConfig { compile_wall_clock: Duration::ZERO, ..SandboxConfig::default() };
    let sandbox = Sandbox::new(config).unwrap();
    let component = slow();
    assert_eq!(sandbox.load(&component).unwrap_err(), LoadError::CompileTooSlow { seconds: 0 });
    let id = actum_model::ComponentId::of(&component);
    until(|| sandbox.loaded(&id).is_some());
    assert_eq!(sandbox.load(&component).unwrap().id(), &id);
    assert_eq!(sandbox.compile_counts().compiled, 1);
}

#[test]
fn a_load_that_waits_for_the_compiler_can_be_cancelled() {
    let one = NonZeroUsize::MIN;
    let (component, other) = (slow(), plain("nop"));
    // On a busy machine the one may be compiled before the other is given up: then both are done again.
    until(|| {
        let sandbox = Sandbox::new(SandboxConfig { compilations: one, ..SandboxConfig::default() }).unwrap();
        let token = CancelToken::default();
        let still_compiles = std::thread::scope(|scope| {
            let compiling = scope.spawn(|| sandbox.load(&component));
            until(|| sandbox.compile_counts().running == 1 || compiling.is_finished());
            let waiting = scope.spawn(|| sandbox.load_cancellable(&other, &token));
            token.cancel();
            let given_up = waiting.join().unwrap();
            let still_compiles = sandbox.compile_counts().compiled == 0;
            if still_compiles {
                assert_eq!(given_up.unwrap_err(), LoadError::Cancelled);
            }
            compiling.join().unwrap().unwrap();
            still_compiles
        });
        assert!(sandbox.load(&other).is_ok());
        still_compiles
    });
}

#[test]
fn one_who_gives_up_a_compilation_leaves_it_to_the_others() {
    let component = slow();
    // On a busy machine it may be compiled before the one gives it up: then it is done again.
    until(|| {
        let sandbox = Sandbox::new(SandboxConfig::default()).unwrap();
        let token = CancelToken::default();
        let first = std::thread::scope(|scope| {
            let [first, second] = [Some(&token), None].map(|token| {
                let (sandbox, component) = (&sandbox, &component);
                scope.spawn(move || match token {
                    Some(token) => sandbox.load_cancellable(component, token),
                    None => sandbox.load(component),
                })
            });
            until(|| sandbox.compile_counts().running == 1 || second.is_finished());
            token.cancel();
            second.join().unwrap().unwrap();
            first.join().unwrap()
        });
        assert_eq!(sandbox.compile_counts().compiled, 1);
        first.err() == Some(LoadError::Cancelled)
    });
}

#[test]
fn no_more_is_compiled_at_once_than_allowed() {
    let (component, other) = (slow(), plain("nop"));
    let busy = LoadError::CompilersBusy { running: 1, seconds: 0 };
    assert!(busy.is_of_the_host());
    // On a busy machine the one may be compiled before the other is asked for: then both are done again.
    until(|| {
        let config = SandboxConfig {
            compilations: NonZeroUsize::MIN,
            compile_wall_clock: Duration::ZERO,
            ..SandboxConfig::default()
        };
        let sandbox = Sandbox::new(config).unwrap();
        let _ = sandbox.load(&component);
        let refused = sandbox.load(&other).err();
        until(|| sandbox.compile_counts().running == 0);
        refused.as_ref() == Some(&busy)
    });
}

#[test]
fn an_action_that_waits_for_its_turn_can_be_cancelled() {
    let mut config = SandboxConfig::default();
    config.pool.actions = std::num::NonZeroU32::MIN;
    let sandbox = Sandbox::new(config).unwrap();
    let loaded = sandbox.load(&plain("(loop (br 0))")).unwrap();
    let limits = actum_model::Limits { fuel: u64::MAX / 2, ..limits() };
    let (action, args) = action(&loaded, "run", &[], limits);
    let [running, waiting] = [CancelToken::default(), CancelToken::default()];
    std::thread::scope(|scope| {
        let [first, second] = [&running, &waiting].map(|token| {
            let (sandbox, loaded, action, args) = (&sandbox, &loaded, &action, &args);
            scope.spawn(move || {
                let around = Surroundings { cancel: token.clone(), ..Surroundings::default() };
                sandbox.execute_in(loaded, action, args, &around)
            })
        });
        // Whichever got the turn, the other one waits: cancelled, both end, and the waiting one without the turn.
        waiting.cancel();
        assert!(matches!(second.join().unwrap(), Err(ExecuteError::Cancelled)));
        running.cancel();
        assert!(matches!(first.join().unwrap(), Err(ExecuteError::Cancelled)));
    });
}

/// A directory of this test's own, empty.
fn directory(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&dir);
    dir
}

fn with_cache(engine: EngineKind, cache: CompileCache) -> Sandbox {
    Sandbox::new(SandboxConfig { engine, cache: Some(cache), ..SandboxConfig::default() }).unwrap()
}

fn cache(dir: &Path) -> CompileCache {
    CompileCache::new(dir.to_owned(), CacheKey::from([7; 32]))
}

/// `run` gives this number.
fn gives(number: u8) -> Vec<u8> {
    typed("(result u32)", &format!("(result i32) (i32.const {number})"))
}

/// What a new sandbox of this cache makes of the component: compiled, cached and disbelieved. The result must be right.
fn come_by(cache: CompileCache, number: u8) -> (u64, u64, u64) {
    let sandbox = with_cache(EngineKind::Cranelift, cache);
    assert_eq!(common::run(&sandbox, &gives(number), &[], limits()).output.unwrap(), [number]);
    let counts = sandbox.compile_counts();
    (counts.compiled, counts.cached, counts.disbelieved)
}

const COMPILED: (u64, u64, u64) = (1, 0, 0);
const CACHED: (u64, u64, u64) = (0, 1, 0);
const DISBELIEVED: (u64, u64, u64) = (1, 0, 1);

/// The one file of a component.
fn file(dir: &PathBuf, number: u8) -> PathBuf {
    let id = actum_model::ComponentId::of(&gives(number)).to_string();
    let mut dirs = fs::read_dir(dir).unwrap().map(|d| d.unwrap().path().join(&id)).filter(|p| p.exists());
    let file = dirs.next().unwrap();
    assert_eq!(dirs.next(), None);
    file
}

#[test]
fn a_cache_directory_serves_another_sandbox() {
    let dir = directory("serves");
    assert_eq!(come_by(cache(&dir), 7), COMPILED);
    assert_eq!(come_by(cache(&dir), 7), CACHED);
    let pulley = with_cache(EngineKind::Pulley, cache(&dir));
    pulley.load(&gives(7)).unwrap();
    assert_eq!(pulley.compile_counts().compiled, 1, "another engine's code is another's");
    // The same component at once from the cache is one component.
    let sandbox = with_cache(EngineKind::Cranelift, cache(&dir));
    let component = gives(7);
    let all: Vec<_> = std::thread::scope(|scope| {
        let loads: Vec<_> = (0..8).map(|_| scope.spawn(|| sandbox.load(&component).unwrap())).collect();
        loads.into_iter().map(|l| l.join().unwrap()).collect()
    });
    assert!(all.iter().all(|l| Arc::ptr_eq(l, &all[0])));
    assert_eq!(sandbox.compile_counts().compiled, 0);
}

#[test]
fn an_altered_file_is_compiled_again_and_replaced() {
    let dir = directory("altered");
    assert_eq!(come_by(cache(&dir), 7), COMPILED);
    let file = file(&dir, 7);
    let whole = fs::read(&file).unwrap();
    let step = whole.len() / 40 + 1;
    // Every byte of the header, and bytes all over the code.
    for at in (0..40).chain((40..whole.len()).step_by(step)).chain([whole.len() - 1]) {
        let mut altered = whole.clone();
        altered[at] ^= 1;
        fs::write(&file, altered).unwrap();
        assert_eq!(come_by(cache(&dir), 7), DISBELIEVED, "byte {at}");
        assert_eq!(fs::read(&file).unwrap(), whole, "replaced by the same");
    }
    for len in [0, 1, 8, 39, 40, 41, whole.len() / 2, whole.len() - 1] {
        fs::write(&file, &whole[..len]).unwrap();
        assert_eq!(come_by(cache(&dir), 7), DISBELIEVED, "cut to {len}");
    }
    fs::write(&file, [&whole[..], b"more"].concat()).unwrap();
    assert_eq!(come_by(cache(&dir), 7), DISBELIEVED, "more at the end");
    assert_eq!(come_by(cache(&dir), 7), CACHED);
}

#[test]
fn another_components_file_is_not_believed() {
    let dir = directory("moved");
    assert_eq!(come_by(cache(&dir), 7), COMPILED);
    assert_eq!(come_by(cache(&dir), 8), COMPILED);
    fs::copy(file(&dir, 7), file(&dir, 8)).unwrap();
    assert_eq!(come_by(cache(&dir), 8), DISBELIEVED);
    assert_eq!(come_by(cache(&dir), 7), CACHED);
}

#[test]
fn a_file_of_another_engine_is_not_believed() {
    let dir = directory("engines");
    assert_eq!(come_by(cache(&dir), 7), COMPILED);
    let ours = file(&dir, 7);
    with_cache(EngineKind::Pulley, cache(&dir)).load(&gives(7)).unwrap();
    let id = ours.file_name().unwrap();
    let mut all = fs::read_dir(&dir).unwrap().map(|d| d.unwrap().path().join(id));
    let theirs = all.find(|p| *p != ours).unwrap();
    fs::copy(theirs, ours).unwrap();
    assert_eq!(come_by(cache(&dir), 7), DISBELIEVED);
}

#[test]
fn a_file_made_with_another_key_is_not_believed() {
    let dir = directory("keys");
    let theirs = CompileCache::new(dir.to_owned(), CacheKey::from([8; 32]));
    assert_eq!(come_by(theirs.clone(), 7), COMPILED);
    assert_eq!(come_by(cache(&dir), 7), DISBELIEVED);
    assert_eq!(come_by(theirs, 7), DISBELIEVED);
    assert_eq!(format!("{:?}", CacheKey::from([7; 32])), "CacheKey(…)", "the key is not shown");
}

#[test]
fn the_oldest_files_leave_when_the_cache_is_full() {
    let dir = directory("full");
    assert_eq!(come_by(cache(&dir), 1), COMPILED);
    let one = fs::metadata(file(&dir, 1)).unwrap().len();
    // The clock of files may be coarse: this one is certainly older.
    let old = std::time::SystemTime::now() - Duration::from_secs(3600);
    fs::File::options().write(true).open(file(&dir, 1)).unwrap().set_modified(old).unwrap();
    let small = || CompileCache { most_bytes: one * 5 / 2, ..cache(&dir) };
    assert_eq!(come_by(small(), 2), COMPILED);
    assert_eq!(come_by(small(), 3), COMPILED);
    assert_eq!(come_by(small(), 3), CACHED);
    assert_eq!(come_by(small(), 2), CACHED);
    assert_eq!(come_by(small(), 1), COMPILED, "it was the oldest");
    let too_small = CompileCache { most_bytes: 100, ..cache(&directory("tiny")) };
    assert_eq!(come_by(too_small.clone(), 1), COMPILED);
    assert_eq!(come_by(too_small, 1), COMPILED, "what does not fit is not kept");
}
