//! Compiling: so many at once, each waited for only so long, and given up by whoever no longer wants it.
//!
//! The compiler cannot be interrupted. A compilation that takes too long is therefore left to end by itself, on its own
//! thread and in its own place among the few that run; only those who wait for it are told. What it makes is kept all
//! the same, so that it was not for nothing. How long that can be is what the bounds on a component are for.

use crate::engine::Sandbox;
use crate::error::LoadError;
use crate::execute::CancelToken;
use crate::load::Loaded;
use crate::turns::LOOK;
use actum_model::ComponentId;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Stack of a compiling thread, in bytes; 8 MiB, as a main thread has. Address space, not memory.
const STACK: usize = 8 << 20;

/// How the components of a sandbox were come by, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompileCounts {
    /// Compilations that run now.
    pub running: usize,
    /// Components compiled.
    pub compiled: u64,
    /// Components taken from the cache on disk instead.
    pub cached: u64,
    /// Files in the cache that were not believed: altered, cut short, another component's, or made with another key.
    pub disbelieved: u64,
}

/// The compilations of one sandbox.
pub(crate) struct Compilers {
    most: NonZeroUsize,
    wall_clock: Duration,
    now: Mutex<Now>,
    ended: Condvar,
    pub(crate) compiled: AtomicU64,
    pub(crate) cached: AtomicU64,
    pub(crate) disbelieved: AtomicU64,
}

#[derive(Default)]
struct Now {
    jobs: HashMap<ComponentId, Arc<Job>>,
}

/// A compilation that runs, or has just ended.
struct Job {
    since: Instant,
    result: OnceLock<Result<Arc<Loaded>, LoadError>>,
}

impl Compilers {
    pub(crate) fn new(most: NonZeroUsize, wall_clock: Duration) -> Self {
        Self {
            most,
            wall_clock,
            now: Mutex::default(),
            ended: Condvar::new(),
            compiled: AtomicU64::new(0),
            cached: AtomicU64::new(0),
            disbelieved: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, id: &ComponentId, job: &Job, result: Result<Arc<Loaded>, LoadError>) {
        let _ = job.result.set(result);
        self.lock().jobs.remove(id);
        self.ended.notify_all();
    }

    fn seconds(&self) -> u64 {
        self.wall_clock.as_secs()
    }
}

impl Sandbox {
    /// How the components of this sandbox were come by.
    pub fn compile_counts(&self) -> CompileCounts {
        let compilers = &self.inner.compilers;
        CompileCounts {
            running: compilers.lock().jobs.len(),
            compiled: compilers.compiled.load(Ordering::Relaxed),
            cached: compilers.cached.load(Ordering::Relaxed),
            disbelieved: compilers.disbelieved.load(Ordering::Relaxed),
        }
    }

    /// Has a component compiled, or waits for the compilation of it that already runs.
    pub(crate) fn have_compiled(
        &self,
        id: ComponentId,
        bytes: &[u8],
        cancel: Option<&CancelToken>,
        deadline: Option<Instant>,
    ) -> Result<Arc<Loaded>, LoadError> {
        let compilers = &self.inner.compilers;
        let asked = Instant::now();
        let mut mine: Option<Arc<Job>> = None;
        let mut now = compilers.lock();
        loop {
            if let Some(result) = mine.as_ref().and_then(|job| job.result.get()) {
                return result.clone();
            }
            if cancel.is_some_and(CancelToken::is_cancelled) {
                return Err(LoadError::Cancelled);
            }
            if mine.is_none() {
                // One that ended since it was last looked for.
                if let Some(loaded) = self.inner.shelf.get(&id) {
                    return Ok(loaded);
                }
                mine = match now.jobs.get(&id) {
                    Some(job) => Some(Arc::clone(job)),
                    None if now.jobs.len() < compilers.most.get() => {
                        let job = Arc::new(Job { since: Instant::now(), result: OnceLock::new() });
                        self.start(id, bytes, &job)?;
                        now.jobs.insert(id, Arc::clone(&job));
                        Some(job)
                    }
                    None => None,
                };
            }
            let seconds = compilers.seconds();
            let (since, late) = match &mine {
                Some(job) => (job.since, LoadError::CompileTooSlow { seconds }),
                None => (asked, LoadError::CompilersBusy { running: compilers.most.get(), seconds }),
            };
            let own = compilers.wall_clock.saturating_sub(since.elapsed());
            let left = deadline.map_or(own, |d| own.min(d.saturating_duration_since(Instant::now())));
            if left.is_zero() {
                return Err(late);
            }
            let wait = if cancel.is_some() { left.min(LOOK) } else { left };
            now = compilers.ended.wait_timeout(now, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Starts the thread of a compilation. It cannot end before the caller lets go of the lock.
    fn start(&self, id: ComponentId, bytes: &[u8], job: &Arc<Job>) -> Result<(), LoadError> {
        let (sandbox, bytes, job) = (self.clone(), bytes.to_vec(), Arc::clone(job));
        let work = move || {
            let made = catch_unwind(AssertUnwindSafe(|| sandbox.compile(id, &bytes)))
                .unwrap_or_else(|_| Err(LoadError::Host { reason: "the compiler panicked".to_owned() }))
                .map(|loaded| sandbox.inner.shelf.put(Arc::new(loaded)));
            sandbox.inner.compilers.end(&id, &job, made);
        };
        let thread = std::thread::Builder::new().name("actum-compiler".to_owned()).stack_size(STACK);
        thread.spawn(work).map(drop).map_err(|e| LoadError::Host { reason: format!("no thread: {e}") })
    }
}
