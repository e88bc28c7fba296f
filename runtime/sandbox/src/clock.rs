//! The virtual clocks: they start at the action's time base and advance by rule.
//!
//! The rule, part of the profile: monotonic time starts at 0 and wall-clock time at the action's `time_base`; each
//! observation (a clock's `now`, a `poll`, a pollable's `ready` or `block`) moves both on by [`STEP`] after it is
//! answered; waiting for a moment moves both to that moment at once. Nobody ever sleeps.

use crate::error::Stop;
use actum_model::TrapCode;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};
use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::clocks::{monotonic_clock, wall_clock};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

/// How far each observation moves the clocks, in nanoseconds: 1 µs.
pub(crate) const STEP: u64 = 1_000;

/// Both clocks of one action. Atomics only because pollables must own a handle: one thread uses it.
#[derive(Debug)]
pub(crate) struct Clock {
    time_base: u64,
    elapsed: AtomicU64,
    /// The earliest moment waited for in the poll now going on; `u64::MAX` when none.
    earliest: AtomicU64,
}

impl Clock {
    pub(crate) fn new(time_base: u64) -> Arc<Self> {
        Arc::new(Self { time_base, elapsed: AtomicU64::new(0), earliest: AtomicU64::new(u64::MAX) })
    }

    /// Reads the monotonic clock, then moves it on by one step.
    pub(crate) fn observe(&self) -> u64 {
        let now = self.elapsed.load(Relaxed);
        self.elapsed.store(now.saturating_add(STEP), Relaxed);
        now
    }

    /// Forgets what was waited for before.
    pub(crate) fn begin_poll(&self) {
        self.earliest.store(u64::MAX, Relaxed);
    }

    /// How long until the earliest moment waited for since [`Self::begin_poll`], in nanoseconds.
    pub(crate) fn patience(&self) -> Option<u64> {
        match self.earliest.load(Relaxed) {
            u64::MAX => None,
            at => Some(at.saturating_sub(self.elapsed.load(Relaxed))),
        }
    }

    /// Moves the clocks to the earliest moment waited for since [`Self::begin_poll`].
    pub(crate) fn skip_to_earliest(&self) {
        self.elapsed.fetch_max(self.earliest.load(Relaxed), Relaxed);
    }
}

/// A moment that can be waited for.
struct Alarm {
    at: u64,
    clock: Arc<Clock>,
}

#[wasmtime_wasi::async_trait]
impl Pollable for Alarm {
    async fn ready(&mut self) {
        if self.clock.elapsed.load(Relaxed) < self.at {
            self.clock.earliest.fetch_min(self.at, Relaxed);
            std::future::pending::<()>().await;
        }
    }
}

/// The `wasi:clocks` host of one action.
pub(crate) struct ClockView<'a> {
    pub(crate) clock: &'a Arc<Clock>,
    pub(crate) table: &'a mut ResourceTable,
}

/// Names [`ClockView`] to the linker.
pub(crate) struct HasClock;

impl HasData for HasClock {
    type Data<'a> = ClockView<'a>;
}

impl ClockView<'_> {
    fn alarm(&mut self, at: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let alarm = self.table.push(Alarm { at, clock: Arc::clone(self.clock) })?;
        subscribe(self.table, alarm)
    }
}

impl monotonic_clock::Host for ClockView<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.clock.observe())
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(STEP)
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.alarm(when)
    }

    fn subscribe_duration(&mut self, duration: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let at = self.clock.elapsed.load(Relaxed).saturating_add(duration);
        self.alarm(at)
    }
}

/// Nanoseconds as WASI's seconds and nanoseconds.
fn datetime(nanoseconds: u64) -> wasmtime::Result<wall_clock::Datetime> {
    let fraction = u32::try_from(nanoseconds % 1_000_000_000);
    let nanoseconds_part = fraction.map_err(|_| Stop::Fault(TrapCode::Other))?;
    Ok(wall_clock::Datetime { seconds: nanoseconds / 1_000_000_000, nanoseconds: nanoseconds_part })
}

impl wall_clock::Host for ClockView<'_> {
    fn now(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        datetime(self.clock.time_base.saturating_add(self.clock.observe()))
    }

    fn resolution(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        datetime(STEP)
    }
}
