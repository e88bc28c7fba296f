//! Who waits where a provider is busy: served by what it has given, and nobody for ever.

use crate::Priority;
use std::{collections::BTreeMap, time::Duration};

/// How long one waits behind better ones: 30 seconds. From then on only those that have waited longer are before it, each
/// of which holds a turn no longer than its provider lets an action take.
pub const STARVES: Duration = Duration::from_secs(30);

/// Those who wait for a turn, and in which order they have it.
///
/// A free turn goes to the one of the best [`Priority`], the first come of equals. One that has waited for [`STARVES`] goes
/// before all that have not, so that a stream of better ones keeps nobody out. `now` is counted from a moment that the
/// caller chose once; how many may wait, the caller says as well, by whether it asks for a place to be [given
/// up](Self::displace).
#[derive(Clone, Debug)]
pub struct Queue<T> {
    /// By arrival.
    waiting: BTreeMap<u64, Waiter<T>>,
    arrivals: u64,
}

#[derive(Clone, Debug)]
struct Waiter<T> {
    what: T,
    priority: Priority,
    since: Duration,
}

impl<T> Waiter<T> {
    fn starves(&self, now: Duration) -> bool {
        now.saturating_sub(self.since) >= STARVES
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), arrivals: 0 }
    }
}

impl<T> Queue<T> {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether one that comes now may wait: who has used up what strangers get waits only where nobody else does.
    pub fn lets_wait(&self, priority: Priority) -> bool {
        priority != Priority::Debtor || self.is_empty()
    }

    /// Takes a place. Gives the number by which it is [left](Self::leave).
    pub fn join(&mut self, what: T, priority: Priority, now: Duration) -> u64 {
        let arrival = self.arrivals;
        self.arrivals = arrival.saturating_add(1);
        self.waiting.insert(arrival, Waiter { what, priority, since: now });
        arrival
    }

    /// Gives up a place, where it was not taken or given up before.
    pub fn leave(&mut self, arrival: u64) -> Option<T> {
        self.waiting.remove(&arrival).map(|waiter| waiter.what)
    }

    /// All give up their places, in the order in which they came.
    pub fn leave_all(&mut self) -> Vec<T> {
        std::mem::take(&mut self.waiting).into_values().map(|waiter| waiter.what).collect()
    }

    /// Whose turn is next: those that starve first, then by priority; by arrival among equals.
    pub fn next(&mut self, now: Duration) -> Option<T> {
        let place = |(arrival, waiter): (&u64, &Waiter<T>)| {
            let starves = waiter.starves(now);
            (if starves { None } else { Some(waiter.priority) }, *arrival)
        };
        let (_, arrival) = self.waiting.iter().map(place).min()?;
        self.leave(arrival)
    }

    /// How many that wait will be served before one of this priority that comes now, if nobody else comes.
    pub fn ahead_of(&self, priority: Priority, now: Duration) -> usize {
        self.waiting.values().filter(|w| w.priority <= priority || w.starves(now)).count()
    }

    /// Whether one waits that would be [sent away](Self::displace) for this priority.
    pub fn may_displace(&self, priority: Priority, now: Duration) -> bool {
        self.last_worse_than(priority, now).is_some()
    }

    /// Where all places are taken: sends away the one that waits with the least claim, where one of this priority has a
    /// better one. Otherwise whoever comes is refused as one that comes to a busy provider.
    pub fn displace(&mut self, priority: Priority, now: Duration) -> Option<T> {
        let arrival = self.last_worse_than(priority, now)?;
        self.leave(arrival)
    }

    /// The arrival of the last of the worst priority, where that is worse than this one. Who starves is not put off again.
    fn last_worse_than(&self, priority: Priority, now: Duration) -> Option<u64> {
        let worse = self.waiting.iter().filter(|(_, w)| w.priority > priority && !w.starves(now));
        worse.map(|(arrival, w)| (w.priority, *arrival)).max().map(|(_, arrival)| arrival)
    }
}
