//! What is held of one provider in memory: its events, and the records that were made of them.

use super::{Event, Experience, MAX_EVENTS, Opinion, Record, Reputation, order};
use actum_model::{ComponentId, Did, ReceiptId};
use std::collections::BTreeMap;

/// How long a record is taken as it was, in seconds, while nothing but answers and confirmations comes in.
const FRESH_SECONDS: u64 = 60;

/// What share of the events that a record was made of may come in before it is made anew: one in so many.
const NEWS_ONE_IN: usize = 32;

/// All that is held of one provider: what was seen of it, how many receipts were asked of it, what somebody proved.
///
/// [`Record::of`] of the same events says the same as [`Self::record`], at most a minute and one event in thirty-two late.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// In the order in which a record reads them: it sorts what is in order in no time.
    #[expect(
        clippy::vec_box,
        reason = "one is put among the others with each answer, and each is 300 bytes"
    )]
    seen: Vec<Box<Seen>>,
    arrivals: u64,
    receipts: u64,
    proven: Option<ReceiptId>,
    made: BTreeMap<ComponentId, Made>,
}

#[derive(Clone, Debug)]
struct Seen {
    arrival: u64,
    event: Event,
}

#[derive(Clone, Debug)]
struct Made {
    record: Record,
    /// Of how many events.
    of: usize,
    /// When, in seconds since the Unix epoch.
    at: u64,
}

impl Held {
    /// What was kept: events of the provider and of the keys it had before, in the order in which they came, and how many
    /// receipts were asked of it so far.
    pub fn of(events: impl IntoIterator<Item = Event>, receipts: u64) -> Self {
        let seen = events.into_iter().zip(0..).map(|(event, arrival)| Box::new(Seen { arrival, event }));
        let mut seen: Vec<_> = seen.collect();
        seen.sort_by(|a, b| order(&a.event, &b.event));
        let arrivals = u64::try_from(seen.len()).unwrap_or(u64::MAX);
        Self { seen, arrivals, receipts, ..Self::default() }
    }

    /// The events, in no order that says anything.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.seen.iter().map(|seen| &seen.event)
    }

    /// The receipt by which somebody's proof, that was verified here, condemns the provider.
    pub fn proven(&self) -> Option<ReceiptId> {
        self.proven
    }

    /// Whether this home itself saw it lie.
    pub fn lied(&self) -> bool {
        self.events().any(Event::is_own_lie)
    }

    /// Which of the provider's receipts the next is, counted from 0. Each is told once: actions that go on at the same time
    /// are different receipts.
    pub fn next_receipt(&mut self) -> u64 {
        let next = self.receipts;
        self.receipts = next.saturating_add(1);
        next
    }

    /// Takes in what an action showed. Of twice [`MAX_EVENTS`] the older half is forgotten first, but no lie.
    pub fn note(&mut self, event: Event) {
        if self.seen.len() >= MAX_EVENTS.saturating_mul(2) {
            self.forget();
        }
        // One more confirmation among many changes little.
        if !matches!(event.what, Experience::Served { .. } | Experience::Identical) {
            self.made.clear();
        }
        let arrival = self.arrivals;
        self.arrivals = arrival.saturating_add(1);
        let place = self.seen.partition_point(|seen| order(&seen.event, &event).is_lt());
        self.seen.insert(place, Box::new(Seen { arrival, event }));
    }

    fn forget(&mut self) {
        let older = self.seen.len().saturating_sub(MAX_EVENTS);
        let mut arrivals: Vec<u64> = self.seen.iter().map(|seen| seen.arrival).collect();
        arrivals.sort_unstable();
        let first = arrivals.get(older).copied().unwrap_or(0);
        self.seen.retain(|seen| seen.arrival >= first || seen.event.what == Experience::Diverged);
        self.made.clear();
    }

    /// Takes in whether somebody's proof condemns the provider, and by which receipt.
    pub fn prove(&mut self, proven: Option<ReceiptId>) {
        if proven != self.proven {
            self.made.clear();
        }
        self.proven = proven;
    }

    /// The record as it was made lately, where little has come in since.
    pub fn fresh(&self, component: &ComponentId, now: u64) -> Option<&Record> {
        let made = self.made.get(component)?;
        // Reading all events for each action would cost much.
        let news = self.seen.len().saturating_sub(made.of);
        let fresh = news <= made.of / NEWS_ONE_IN && now.saturating_sub(made.at) < FRESH_SECONDS;
        fresh.then_some(&made.record)
    }

    /// The provider's record as it bears on this component: the [fresh](Self::fresh) one, or one made anew and held.
    ///
    /// `verifiers` are the records of those who say something of the provider, as far as they are to be heard.
    pub fn record(
        &mut self,
        component: &ComponentId,
        now: u64,
        reputation: &Reputation,
        verifiers: &BTreeMap<Did, Record>,
    ) -> Record {
        if let Some(record) = self.fresh(component, now) {
            return record.clone();
        }
        let record = self.read(Some(component), now, reputation, verifiers);
        let made = Made { record: record.clone(), of: self.seen.len(), at: now };
        self.made.insert(*component, made);
        record
    }

    /// The provider's record by all that is held by now, for a `component` or for none in particular.
    pub fn read(
        &self,
        component: Option<&ComponentId>,
        now: u64,
        reputation: &Reputation,
        verifiers: &BTreeMap<Did, Record>,
    ) -> Record {
        let opinion = |event| Opinion::of(event, verifiers);
        let opinions: Vec<Opinion<'_>> = self.events().filter_map(opinion).collect();
        let record = Record::of(self.events(), component, now, reputation, &opinions);
        match self.proven {
            Some(receipt) => record.with_fraud(receipt),
            None => record,
        }
    }
}

impl<'a> Opinion<'a> {
    /// What an event is that somebody else says, where that one's record is among these.
    fn of(event: &'a Event, verifiers: &'a BTreeMap<Did, Record>) -> Option<Self> {
        let verifier = event.verifier?;
        Some(Opinion { verifier, verifier_record: verifiers.get(&verifier)?, event })
    }
}
