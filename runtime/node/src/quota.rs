//! How much a requester, all of them together, and the holders of a delegation may use in a minute. Pure: the time is an
//! argument, nothing is measured here, and what it knows is gone with it (a restart forgets the minute).
//!
//! # What a minute is
//!
//! Use counts when it was admitted, in buckets of [`BUCKET`], and until the last moment of its bucket is a whole
//! [`WINDOW`] ago. So in no 60 seconds, wherever they begin, is more admitted than the limit; and something may be refused for
//! up to one [`BUCKET`] longer than an exact window would. An action that runs longer than the window is forgotten while
//! it runs, but for being in flight.
//!
//! The most that an action can use is reserved at admission, and the rest given back when it is settled. One that is
//! never settled counts in full.

use actum_model::{DelegationId, Did, run::Use};
use serde::Deserialize;
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What "a minute" is: 60 seconds.
pub const WINDOW: Duration = Duration::from_secs(60);
/// How exactly a minute is measured: 1 second.
pub const BUCKET: Duration = Duration::from_secs(1);
/// For how many buckets, its own included, use counts: the window and one more.
const SPAN: u64 = 61;

/// How many requesters are remembered: 10,000, at most 15 MB. One more is refused until another has been idle for a
/// [`WINDOW`].
pub const MAX_REQUESTERS: usize = 10_000;
/// How many delegations are remembered: 65,536. As [`MAX_REQUESTERS`].
pub const MAX_DELEGATIONS: usize = 65_536;

/// A requester's actions in flight, unless configured: 16.
pub const REQUESTER_IN_FLIGHT: u32 = 16;
/// A requester's fuel a minute, unless configured: 3·10^11.
pub const REQUESTER_FUEL: u64 = 300_000_000_000;
/// A requester's bytes a minute, unless configured: 256 MiB.
pub const REQUESTER_BYTES: u64 = 256 << 20;
/// All requesters' fuel a minute, unless configured: 1.2·10^12.
pub const TOTAL_FUEL: u64 = 1_200_000_000_000;
/// All requesters' bytes a minute, unless configured: 1 GiB.
pub const TOTAL_BYTES: u64 = 1 << 30;

/// What may be used. Zero allows nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quota {
    /// Actions admitted and not yet ended. Default: [`REQUESTER_IN_FLIGHT`] for a requester; for all of them no bound of
    /// its own, since a node bounds what it runs and queues.
    pub in_flight: Option<u32>,
    /// Fuel a minute. Default: [`REQUESTER_FUEL`]; [`TOTAL_FUEL`].
    pub fuel_per_minute: Option<u64>,
    /// Bytes of arguments, outputs and journals a minute. Default: [`REQUESTER_BYTES`]; [`TOTAL_BYTES`].
    pub bytes_per_minute: Option<u64>,
}

/// The quotas of a node.
///
/// Example:
/// ```
/// let config: actum_node::quota::QuotaConfig = toml::from_str(r#"
/// per_requester = { in_flight = 4, fuel_per_minute = 10_000_000_000 }
/// total = { bytes_per_minute = 100_000_000 }
/// "#).unwrap();
/// assert_eq!(config.per_requester.bytes_per_minute, None); // the default
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuotaConfig {
    /// Of each requester. Default: [`Quota`]'s.
    pub per_requester: Quota,
    /// Of all requesters together. Default: [`Quota`]'s.
    pub total: Quota,
}

/// Which bound was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QuotaName {
    /// The requester's actions in flight.
    RequesterInFlight,
    /// The requester's fuel a minute.
    RequesterFuel,
    /// The requester's bytes a minute.
    RequesterBytes,
    /// Everybody's actions in flight.
    TotalInFlight,
    /// Everybody's fuel a minute.
    TotalFuel,
    /// Everybody's bytes a minute.
    TotalBytes,
    /// [`MAX_REQUESTERS`].
    Requesters,
    /// [`MAX_DELEGATIONS`].
    Delegations,
}

impl QuotaName {
    /// A stable label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RequesterInFlight => "requester-in-flight",
            Self::RequesterFuel => "requester-fuel-per-minute",
            Self::RequesterBytes => "requester-bytes-per-minute",
            Self::TotalInFlight => "total-in-flight",
            Self::TotalFuel => "total-fuel-per-minute",
            Self::TotalBytes => "total-bytes-per-minute",
            Self::Requesters => "requesters",
            Self::Delegations => "delegations",
        }
    }
}

impl fmt::Display for QuotaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// There is no room for this now. Nothing was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the quota {what} is exhausted: {asked} more than the {used} in use is over {limit}")]
pub struct Exhausted {
    /// Which bound: of several, the one that is in the way longest.
    pub what: QuotaName,
    /// The bound.
    pub limit: u64,
    /// What is in use or reserved.
    pub used: u64,
    /// What was asked for.
    pub asked: u64,
    /// After how long the same succeeds, if nothing else happens until then. `None`: time alone does not help, since it
    /// is over the limit by itself, or others must end first.
    pub retry_after: Option<Duration>,
}

/// The most that an action can use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ceiling {
    /// Fuel.
    pub fuel: u64,
    /// Bytes of its arguments, output and journal.
    pub bytes: u64,
}

/// Two amounts that are counted together.
type Pair = [u64; 2];

fn plus(a: Pair, b: Pair) -> Pair {
    let ([a0, a1], [b0, b1]) = (a, b);
    [a0.saturating_add(b0), a1.saturating_add(b1)]
}

fn minus(a: Pair, b: Pair) -> Pair {
    let ([a0, a1], [b0, b1]) = (a, b);
    [a0.saturating_sub(b0), a1.saturating_sub(b1)]
}

/// How long it is from `now` to the beginning of a bucket.
fn wait(now: Duration, bucket: u64) -> Duration {
    Duration::from_secs(bucket).saturating_sub(now)
}

/// What was admitted lately. At most [`SPAN`] buckets, by their number, the oldest first.
#[derive(Debug, Default)]
struct Window(VecDeque<(u64, Pair)>);

impl Window {
    /// What counts in a bucket's time, now or later.
    fn sum(&self, bucket: u64) -> Pair {
        let counts = self.0.iter().filter(|(b, _)| b.saturating_add(SPAN) > bucket);
        counts.fold(Pair::default(), |sum, (_, amount)| plus(sum, *amount))
    }

    /// When something counts no more: bucket after bucket.
    fn ends(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|(b, _)| b.saturating_add(SPAN))
    }

    fn add(&mut self, bucket: u64, amount: Pair) {
        while self.0.front().is_some_and(|(b, _)| b.saturating_add(SPAN) <= bucket) {
            self.0.pop_front();
        }
        match self.0.back_mut() {
            Some((b, there)) if *b == bucket => *there = plus(*there, amount),
            _ => self.0.push_back((bucket, amount)),
        }
    }

    /// Gives back what was added to a bucket, and adds more to it; nothing if it counts no more.
    fn change(&mut self, bucket: u64, back: Pair, more: Pair) {
        if let Some((_, there)) = self.0.iter_mut().rev().find(|(b, _)| *b == bucket) {
            *there = plus(minus(*there, back), more);
        }
    }
}

#[derive(Debug, Default)]
struct Entry {
    window: Window,
    in_flight: u32,
    /// The newest bucket of the window.
    last: u64,
}

/// A bounded number of windows. Those that are idle, with nothing in flight and nothing that counts, are forgotten.
#[derive(Debug)]
struct Windows<K> {
    entries: HashMap<K, Entry>,
    /// Those with nothing in flight, by their newest bucket.
    idle: BTreeSet<(u64, K)>,
    most: usize,
    clock: Duration,
}

impl<K: Copy + Ord + Hash> Windows<K> {
    fn new(most: usize) -> Self {
        Self { entries: HashMap::new(), idle: BTreeSet::new(), most, clock: Duration::ZERO }
    }

    /// The time and its bucket. Time that goes back stands still.
    fn tick(&mut self, now: Duration) -> (Duration, u64) {
        self.clock = self.clock.max(now);
        (self.clock, self.clock.as_secs())
    }

    fn sum(&self, key: &K, bucket: u64) -> Pair {
        self.entries.get(key).map_or([0; 2], |entry| entry.window.sum(bucket))
    }

    fn in_flight(&self, key: &K) -> u32 {
        self.entries.get(key).map_or(0, |entry| entry.in_flight)
    }

    /// Makes room for these keys; else, how many are remembered, and from which bucket on there is room for them.
    fn make_room(&mut self, keys: &[K], bucket: u64) -> Result<(), (usize, Option<u64>)> {
        let new = keys.iter().filter(|key| !self.entries.contains_key(key)).count();
        let mut forgettable = new.saturating_add(1); // one more than come, so that a quiet time catches up
        while forgettable > 0
            && let Some((last, key)) = self.idle.first().copied()
            && last.saturating_add(SPAN) <= bucket
        {
            self.idle.pop_first();
            self.entries.remove(&key);
            forgettable -= 1;
        }
        let new = keys.iter().filter(|key| !self.entries.contains_key(key)).count();
        let needed = self.entries.len().saturating_add(new).saturating_sub(self.most);
        match needed.checked_sub(1) {
            None => Ok(()),
            Some(place) => {
                let others = self.idle.iter().filter(|(_, key)| !keys.contains(key));
                Err((self.entries.len(), others.map(|(last, _)| last.saturating_add(SPAN)).nth(place)))
            }
        }
    }

    fn add(&mut self, key: K, bucket: u64, amount: Pair, in_flight: bool) {
        let entry = self.entries.entry(key).or_default();
        self.idle.remove(&(entry.last, key));
        entry.window.add(bucket, amount);
        entry.last = bucket;
        entry.in_flight = entry.in_flight.saturating_add(in_flight.into());
        if entry.in_flight == 0 {
            self.idle.insert((bucket, key));
        }
    }

    fn change(&mut self, key: &K, bucket: u64, back: Pair, more: Pair) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.window.change(bucket, back, more);
        }
    }

    fn end(&mut self, key: K) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.in_flight = entry.in_flight.saturating_sub(1);
            if entry.in_flight == 0 {
                self.idle.insert((entry.last, key));
            }
        }
    }
}

/// Limits with the defaults filled in.
#[derive(Clone, Copy, Debug)]
struct Limits {
    in_flight: Option<u32>,
    fuel: u64,
    bytes: u64,
}

#[derive(Debug)]
struct State {
    requesters: Windows<Did>,
    all: Window,
    all_in_flight: u32,
}

/// The quotas of requesters. Cheap to clone; clones are the same quotas.
#[derive(Clone, Debug)]
pub struct Quotas {
    per_requester: Limits,
    total: Limits,
    state: Arc<Mutex<State>>,
}

/// An action in flight. Dropped, it has ended, and what was reserved for it stays counted; [`Ticket::settle`] gives the
/// rest back.
#[must_use = "dropped, the action has ended"]
#[derive(Debug)]
pub struct Ticket {
    state: Arc<Mutex<State>>,
    requester: Did,
    bucket: u64,
    ceiling: Ceiling,
}

impl Quotas {
    /// Quotas of which nothing is used yet.
    pub fn new(config: &QuotaConfig) -> Self {
        let (one, all) = (config.per_requester, config.total);
        let per_requester = Limits {
            in_flight: Some(one.in_flight.unwrap_or(REQUESTER_IN_FLIGHT)),
            fuel: one.fuel_per_minute.unwrap_or(REQUESTER_FUEL),
            bytes: one.bytes_per_minute.unwrap_or(REQUESTER_BYTES),
        };
        let total = Limits {
            in_flight: all.in_flight,
            fuel: all.fuel_per_minute.unwrap_or(TOTAL_FUEL),
            bytes: all.bytes_per_minute.unwrap_or(TOTAL_BYTES),
        };
        let requesters = Windows::new(MAX_REQUESTERS);
        let state = State { requesters, all: Window::default(), all_in_flight: 0 };
        Self { per_requester, total, state: Arc::new(Mutex::new(state)) }
    }

    /// Reserves what an action can use at most, if there is room for all of it. `now` is the time since any moment that
    /// stays the same, by a clock that does not go back; one that does stands still here.
    pub fn admit(&self, requester: &Did, ceiling: Ceiling, now: Duration) -> Result<Ticket, Exhausted> {
        let mut state = guard(&self.state);
        let (now, bucket) = state.requesters.tick(now);
        let mut worst: Option<Exhausted> = None;
        let mut met = |exhausted: Exhausted| {
            let longer = worst.as_ref().is_none_or(|w| match (w.retry_after, exhausted.retry_after) {
                (None, _) => false,
                (Some(_), None) => true,
                (Some(old), Some(new)) => new > old,
            });
            if longer {
                worst = Some(exhausted);
            }
        };
        let mine = state.requesters.entries.get(requester).map(|entry| &entry.window);
        let none = Window::default();
        let windows = [
            (mine.unwrap_or(&none), &self.per_requester, QuotaName::RequesterFuel, QuotaName::RequesterBytes),
            (&state.all, &self.total, QuotaName::TotalFuel, QuotaName::TotalBytes),
        ];
        for (window, limits, fuel, bytes) in windows {
            let [used_fuel, used_bytes] = window.sum(bucket);
            for (what, place, limit, used, asked) in [
                (fuel, 0, limits.fuel, used_fuel, ceiling.fuel),
                (bytes, 1, limits.bytes, used_bytes, ceiling.bytes),
            ] {
                if !fits(used, asked, limit) {
                    let used_at = |b| window.sum(b).into_iter().nth(place).unwrap_or(0);
                    let free = window.ends().find(|b| fits(used_at(*b), asked, limit));
                    met(Exhausted { what, limit, used, asked, retry_after: free.map(|b| wait(now, b)) });
                }
            }
        }
        let in_flight = [
            (
                QuotaName::RequesterInFlight,
                self.per_requester.in_flight,
                state.requesters.in_flight(requester),
            ),
            (QuotaName::TotalInFlight, self.total.in_flight, state.all_in_flight),
        ];
        for (what, limit, used) in in_flight {
            if let Some(limit) = limit
                && used >= limit
            {
                let (limit, used) = (limit.into(), used.into());
                met(Exhausted { what, limit, used, asked: 1, retry_after: None });
            }
        }
        if let Err((used, free)) = state.requesters.make_room(std::slice::from_ref(requester), bucket) {
            let (what, limit) = (QuotaName::Requesters, MAX_REQUESTERS as u64);
            let retry_after = free.map(|b| wait(now, b));
            met(Exhausted { what, limit, used: used as u64, asked: 1, retry_after });
        }
        if let Some(worst) = worst {
            return Err(worst);
        }
        let amount = [ceiling.fuel, ceiling.bytes];
        state.requesters.add(*requester, bucket, amount, true);
        state.all.add(bucket, amount);
        state.all_in_flight = state.all_in_flight.saturating_add(1);
        Ok(Ticket { state: Arc::clone(&self.state), requester: *requester, bucket, ceiling })
    }

    /// How many requesters are remembered.
    pub fn remembered(&self) -> usize {
        guard(&self.state).requesters.entries.len()
    }
}

impl Ticket {
    /// The action has ended and used this: the rest of what was reserved is given back. More than that counts too.
    pub fn settle(self, used: Ceiling) {
        let (back, more) = ([self.ceiling.fuel, self.ceiling.bytes], [used.fuel, used.bytes]);
        let mut state = guard(&self.state);
        state.requesters.change(&self.requester, self.bucket, back, more);
        state.all.change(self.bucket, back, more);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = guard(&self.state);
        state.requesters.end(self.requester);
        state.all_in_flight = state.all_in_flight.saturating_sub(1);
    }
}

fn fits(used: u64, asked: u64, limit: u64) -> bool {
    used.checked_add(asked).is_some_and(|sum| sum <= limit)
}

fn guard<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was used under each delegation in the last minute, which its policy may bound. Cheap to clone; clones are the
/// same.
#[derive(Clone, Debug)]
pub struct Minutes(Arc<Mutex<Windows<DelegationId>>>);

/// Why nothing was reserved under delegations. Nothing was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReserved<E> {
    /// [`MAX_DELEGATIONS`] are remembered.
    Full(Exhausted),
    /// The caller's decision.
    Refused(E),
}

/// What was reserved under delegations. Dropped, it stays counted.
#[must_use = "dropped, what was reserved stays counted"]
#[derive(Debug)]
pub struct MinuteTicket {
    windows: Arc<Mutex<Windows<DelegationId>>>,
    delegations: Vec<DelegationId>,
    bucket: u64,
    fuel: u64,
}

impl Default for Minutes {
    fn default() -> Self {
        Self::new()
    }
}

impl Minutes {
    /// Nothing used yet.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Windows::new(MAX_DELEGATIONS))))
    }

    /// What was used under a delegation in the minute before `now`, a time as [`Quotas::admit`] has it.
    pub fn uses(&self, id: &DelegationId, now: Duration) -> Use {
        let mut windows = guard(&self.0);
        let (_, bucket) = windows.tick(now);
        used(windows.sum(id, bucket))
    }

    /// Counts one action and its fuel for each of these delegations, if `decide` takes the minute *with it*, in their
    /// order. Nobody else's reservation comes between. A delegation named twice is counted once.
    pub fn reserve<E>(
        &self,
        delegations: &[DelegationId],
        fuel: u64,
        now: Duration,
        decide: impl FnOnce(&[Use]) -> Result<(), E>,
    ) -> Result<MinuteTicket, NotReserved<E>> {
        let mut windows = guard(&self.0);
        let (now, bucket) = windows.tick(now);
        decide(&with(&windows, delegations, fuel, bucket)).map_err(NotReserved::Refused)?;
        let mut delegations = delegations.to_vec();
        delegations.sort_unstable();
        delegations.dedup();
        windows.make_room(&delegations, bucket).map_err(|(used, free)| {
            NotReserved::Full(Exhausted {
                what: QuotaName::Delegations,
                limit: MAX_DELEGATIONS as u64,
                used: used as u64,
                asked: delegations.len() as u64,
                retry_after: free.map(|b| wait(now, b)),
            })
        })?;
        for id in &delegations {
            windows.add(*id, bucket, [1, fuel], false);
        }
        Ok(MinuteTicket { windows: Arc::clone(&self.0), delegations, bucket, fuel })
    }

    /// After how long one more action with this fuel fits under these delegations, if nothing else happens until then:
    /// `fits` judges the minute with it, in their order, and is asked at most 61 times for each. `None`: waiting does not
    /// help.
    pub fn fits_again(
        &self,
        delegations: &[DelegationId],
        fuel: u64,
        now: Duration,
        mut fits: impl FnMut(&[Use]) -> bool,
    ) -> Option<Duration> {
        let mut windows = guard(&self.0);
        let (now, bucket) = windows.tick(now);
        let entries = delegations.iter().filter_map(|id| windows.entries.get(id));
        let ends = entries.flat_map(|entry| entry.window.ends()).filter(|end| *end > bucket);
        let moments: BTreeSet<u64> = ends.chain([bucket]).collect();
        let first = moments.into_iter().find(|at| fits(&with(&windows, delegations, fuel, *at)))?;
        Some(wait(now, first))
    }
}

fn used([actions, fuel]: Pair) -> Use {
    Use { actions, fuel }
}

/// The minute with one more action, at a bucket.
fn with(windows: &Windows<DelegationId>, ids: &[DelegationId], fuel: u64, bucket: u64) -> Vec<Use> {
    ids.iter().map(|id| used(plus(windows.sum(id, bucket), [1, fuel]))).collect()
}

impl MinuteTicket {
    /// The action has ended and used this fuel: the rest is given back. More than was reserved counts too.
    pub fn settle(self, fuel: u64) {
        self.change([0, self.fuel], [0, fuel]);
    }

    /// Nothing was begun: neither the action nor its fuel counts.
    pub fn take_back(self) {
        self.change([1, self.fuel], [0; 2]);
    }

    fn change(&self, back: Pair, more: Pair) {
        let mut windows = guard(&self.windows);
        for id in &self.delegations {
            windows.change(id, self.bucket, back, more);
        }
    }
}
