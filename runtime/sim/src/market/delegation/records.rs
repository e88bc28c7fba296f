//! What each requester has seen of each provider, held as a node holds it: [`Held`].

use crate::{Span, Stream, Streams, Time};
use actum_model::{ComponentId, Did, ReceiptId};
use actum_trust::{Event, Held, Record, Reputation};
use std::collections::BTreeMap;

/// The most receipts of one provider that the order of what is found reads: as many as a node reads.
const RECEIPTS_READ: u64 = 16;

/// One requester.
pub(super) struct Requester {
    /// What its sampling follows from.
    pub(super) secret: [u8; 32],
    /// What it draws when it chooses and plans.
    pub(super) draws: Stream,
    /// Whether it notices by itself that an output is wrong.
    pub(super) notices: Stream,
    of: BTreeMap<Did, Provider>,
    /// Until when replays that come after the answer keep its idle core busy: one at a time.
    later: Time,
}

/// One provider, under one name of its.
#[derive(Default)]
struct Provider {
    held: Held,
    /// Receipts that came of it.
    came: u64,
    /// Until when an answer of its is being replayed before it is handed over.
    judging: Time,
    first_lie: Option<Time>,
    excluded: bool,
}

/// A provider is excluded from now on, having lied first at that moment, where it has lied to this requester.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Excluded {
    pub(super) first_lie: Option<Time>,
}

impl Provider {
    /// Takes in that a lie of the provider is known for one; says whether that is news.
    fn exclude(&mut self) -> Option<Excluded> {
        if self.excluded {
            return None;
        }
        self.excluded = true;
        Some(Excluded { first_lie: self.first_lie })
    }
}

impl Requester {
    pub(super) fn new(n: u32, streams: Streams) -> Self {
        Self {
            secret: streams.bytes("sampling", u64::from(n)),
            draws: streams.of("delegation", u64::from(n)),
            notices: streams.of("notices", u64::from(n)),
            of: BTreeMap::new(),
            later: Time::ZERO,
        }
    }

    /// A provider's record, as it bears on this component.
    pub(super) fn record(&mut self, provider: &Did, component: &ComponentId, now: u64) -> Record {
        match self.of.get_mut(provider) {
            Some(of) => of.held.record(component, now, &Reputation::default(), &BTreeMap::new()),
            None => Record { as_of: now, ..Record::default() },
        }
    }

    /// What it has of a provider itself, as the order of what is found reads it.
    pub(super) fn seen(&self, provider: &Did) -> actum_discovery::Record {
        let Some(of) = self.of.get(provider) else { return actum_discovery::Record::default() };
        actum_discovery::Record {
            good: of.came.min(RECEIPTS_READ),
            // As a node has it: whether it is known to have lied.
            refuted: u64::from(of.excluded),
        }
    }

    /// Which of a provider's receipts the next is, counted from 0. Each is told once.
    pub(super) fn next_receipt_of(&mut self, provider: &Did) -> u64 {
        self.of.entry(*provider).or_default().held.next_receipt()
    }

    /// Takes in what an action showed.
    pub(super) fn note(&mut self, event: Event) -> Option<Excluded> {
        let of = self.of.entry(event.provider).or_default();
        let lies = event.is_own_lie();
        of.held.note(event);
        if lies { of.exclude() } else { None }
    }

    /// Takes in that somebody's proof against a provider was verified here.
    pub(super) fn prove(&mut self, provider: Did, receipt: ReceiptId) -> Option<Excluded> {
        let of = self.of.entry(provider).or_default();
        of.held.prove(Some(receipt));
        of.exclude()
    }

    /// Takes in that a receipt came, and whether it is a lie, which the requester does not know.
    pub(super) fn came(&mut self, provider: &Did, lie: bool, now: Time) {
        let of = self.of.entry(*provider).or_default();
        of.came += 1;
        if lie {
            of.first_lie.get_or_insert(now);
        }
    }

    /// An answer of a provider is being replayed until then.
    pub(super) fn judge_until(&mut self, provider: &Did, until: Time) {
        let of = self.of.entry(*provider).or_default();
        of.judging = of.judging.max(until);
    }

    /// Until when an answer of a provider is being replayed.
    pub(super) fn judging(&self, provider: &Did) -> Time {
        self.of.get(provider).map_or(Time::ZERO, |of| of.judging)
    }

    /// When a replay that comes after the answer is over, if it is asked for now.
    pub(super) fn replayed_by(&mut self, now: Time, takes: Span) -> Time {
        self.later = self.later.max(now) + takes;
        self.later
    }
}
