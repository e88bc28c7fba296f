//! The engine: what happens next. It knows nothing of what events mean.

use crate::{Span, Time};
use std::{cmp::Ordering, collections::BinaryHeap};

/// An event and when it happens. Equal moments happen in the order in which they were asked for.
#[derive(Debug)]
struct Due<E> {
    when: Time,
    nth: u64,
    event: E,
}

impl<E> Due<E> {
    fn key(&self) -> (Time, u64) {
        (self.when, self.nth)
    }
}

impl<E> Ord for Due<E> {
    /// The earliest is the greatest: the heap gives out the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

impl<E> PartialOrd for Due<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Due<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<E> Eq for Due<E> {}

/// Events in virtual time, the earliest first.
///
/// Time never runs back: what is asked for in the past happens now. An event costs a push and a pop of a binary heap.
#[derive(Debug)]
pub struct Engine<E> {
    heap: BinaryHeap<Due<E>>,
    now: Time,
    scheduled: u64,
    handled: u64,
}

impl<E> Default for Engine<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), now: Time::ZERO, scheduled: 0, handled: 0 }
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
        let when = when.max(self.now);
        self.heap.push(Due { when, nth: self.scheduled, event });
        self.scheduled += 1;
    }

    /// Has an event happen a while from now.
    pub fn after(&mut self, span: Span, event: E) {
        self.at(self.now + span, event);
    }

    /// The next event that happens before `end`: it is then that time. `None` where there is none, and then it is `end`.
    pub fn next_before(&mut self, end: Time) -> Option<E> {
        match self.heap.peek() {
            Some(due) if due.when < end => {
                let due = self.heap.pop()?;
                self.now = due.when;
                self.handled += 1;
                Some(due.event)
            }
            _ => {
                self.now = self.now.max(end);
                None
            }
        }
    }

    /// How many events are still going to happen.
    pub fn pending(&self) -> usize {
        self.heap.len()
    }

    /// How many events were asked for so far.
    pub fn scheduled(&self) -> u64 {
        self.scheduled
    }

    /// How many events happened so far.
    pub fn handled(&self) -> u64 {
        self.handled
    }
}
