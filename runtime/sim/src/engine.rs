//! The engine: what happens next. It knows nothing of what events mean.

use crate::{Span, Time};
use std::collections::VecDeque;

/// Events that are due later than the base, and first differ from it in the same bit.
#[derive(Debug)]
struct Later<E> {
    events: Vec<(Time, E)>,
    /// The earliest of them.
    first: Time,
}

impl<E> Default for Later<E> {
    fn default() -> Self {
        Self { events: Vec::new(), first: Time::from_micros(u64::MAX) }
    }
}

/// Events in virtual time, the earliest first, and of one moment in the order in which they were asked for.
///
/// Time never runs back: what is asked for in the past happens now.
///
/// That is what makes it fast. It is a radix heap: an event lies in the bin of the highest bit in which its moment differs from
/// the base, which is the moment of the last event that was taken. The earliest event is in the lowest bin that has any. When
/// it is taken its moment is the new base, and its bin is spread over lower ones, front to back. So an event is only ever appended
/// and moved down, at most once a bit, where a binary heap compares it with others all over memory; and since those of one moment
/// are always in one bin, none overtakes another, without a number to tell their order by.
#[derive(Debug)]
pub struct Engine<E> {
    /// What is due at the base.
    due: VecDeque<E>,
    /// By the highest bit in which the moment differs from the base.
    later: [Later<E>; 64],
    /// The bins that have any, a bit each.
    some: u64,
    base: Time,
    now: Time,
    pending: usize,
    scheduled: u64,
    handled: u64,
}

impl<E> Default for Engine<E> {
    fn default() -> Self {
        Self {
            due: VecDeque::new(),
            later: std::array::from_fn(|_| Later::default()),
            some: 0,
            base: Time::ZERO,
            now: Time::ZERO,
            pending: 0,
            scheduled: 0,
            handled: 0,
        }
    }
}

impl<E> Engine<E> {
    /// Nothing is going to happen, and it is the beginning.
    pub fn new() -> Self {
        Self::default()
    }

    /// What time it is.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Has an event happen at a moment, or now if that has passed.
    pub fn at(&mut self, when: Time, event: E) {
        self.put(when.max(self.now), event);
        self.scheduled += 1;
        self.pending += 1;
    }

    /// Has an event happen a while from now.
    pub fn after(&mut self, span: Span, event: E) {
        self.at(self.now + span, event);
    }

    /// The next event that happens before `end`: it is then that time. `None` where there is none, and then it is `end`.
    pub fn next_before(&mut self, end: Time) -> Option<E> {
        if self.due.is_empty() {
            self.refill(end);
        }
        let event = if self.base < end { self.due.pop_front() } else { None };
        if event.is_some() {
            self.now = self.now.max(self.base);
            self.handled += 1;
            self.pending -= 1;
        } else {
            self.now = self.now.max(end);
        }
        event
    }

    /// How many events are still going to happen.
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// How many events were asked for so far.
    pub fn scheduled(&self) -> u64 {
        self.scheduled
    }

    /// How many events happened so far.
    pub fn handled(&self) -> u64 {
        self.handled
    }

    fn put(&mut self, when: Time, event: E) {
        let Some(bit) = (when.micros() ^ self.base.micros()).checked_ilog2() else {
            self.due.push_back(event);
            return;
        };
        if let Some(bin) = self.later.get_mut(bit as usize) {
            bin.first = bin.first.min(when);
            bin.events.push((when, event));
            self.some |= 1 << bit;
        }
    }

    /// Moves the base on to the earliest event, if that is before `end`. Until then the base stays: somebody may still ask for
    /// something earlier.
    fn refill(&mut self, end: Time) {
        let bit = self.some.trailing_zeros();
        let Some(bin) = self.later.get_mut(bit as usize).filter(|bin| bin.first < end) else { return };
        self.base = bin.first;
        self.some &= !(1 << bit);
        let mut bin = std::mem::take(bin);
        for (when, event) in bin.events.drain(..) {
            self.put(when, event);
        }
        // Its memory is used again.
        if let Some(emptied) = self.later.get_mut(bit as usize) {
            emptied.events = bin.events;
        }
    }
}
