//! What each requester has seen of each provider, kept as a node keeps it. What it amounts to, `actum_trust` says.

use crate::{Span, Stream, Streams, Time};
use actum_model::{ComponentId, Did, ReceiptId};
use actum_trust::{Event, Experience, Record, Reputation, reputation::MAX_EVENTS};
use std::collections::BTreeMap;

/// How long a record is taken as it was, in seconds, while nothing but confirmations comes in: as long as a node takes it.
const FRESH: u64 = 60;
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
    held: BTreeMap<Did, Held>,
    /// Until when replays that come after the answer keep its idle core busy: one at a time.
    later: Time,
}

/// What is held of one provider, under one name of its.
#[derive(Default)]
struct Held {
    /// In the order of [`order`], in which a record reads them: it sorts what is in order in no time.
    #[expect(
        clippy::vec_box,
        reason = "one is put among the others with each answer, and each is 300 bytes"
    )]
    events: Vec<Box<Event>>,
    /// Receipts that were asked of it.
    asked: u64,
    /// Receipts that came of it.
    came: u64,
    /// Receipts of it that were refuted here.
    refuted: u64,
    /// The receipt that somebody's proof refutes.
    proven: Option<ReceiptId>,
    /// Until when an answer of its is being replayed before it is handed over.
    judging: Time,
    first_lie: Option<Time>,
    excluded: bool,
    /// By capability.
    made: BTreeMap<usize, Made>,
}

struct Made {
    record: Record,
    of: usize,
    at: u64,
}

/// A capability, by its number and as events name it.
#[derive(Clone, Copy)]
pub(super) struct Of<'a> {
    pub(super) capability: usize,
    pub(super) component: &'a ComponentId,
}

/// A provider is excluded from now on, having lied first at that moment, where it has lied to this requester.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Excluded {
    pub(super) first_lie: Option<Time>,
}

/// What may be the same, one beside the other.
fn order(event: &Event) -> (Option<&ReceiptId>, Experience, &ComponentId, u64) {
    (event.receipt.as_ref(), event.what, &event.component, event.at)
}

impl Held {
    /// Forgets the older half, but no lie.
    fn forget(&mut self) {
        self.events.sort_by_key(|event| event.at);
        let older = self.events.len().saturating_sub(MAX_EVENTS);
        let mut place = 0;
        self.events.retain(|event| {
            place += 1;
            place > older || matches!(event.what, Experience::Diverged)
        });
        self.events.sort_by(|a, b| order(a).cmp(&order(b)));
        self.made.clear();
    }

    /// Takes in that a lie of the provider is known for one; says whether that is news.
    fn exclude(&mut self) -> Option<Excluded> {
        self.made.clear();
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
            held: BTreeMap::new(),
            later: Time::ZERO,
        }
    }

    /// A provider's record, as it bears on this capability.
    pub(super) fn record(&mut self, provider: &Did, of: Of<'_>, now: u64) -> Record {
        let Some(held) = self.held.get_mut(provider) else {
            return Record { as_of: now, ..Record::default() };
        };
        if let Some(made) = held.made.get(&of.capability) {
            // One more confirmation among many changes little, and reading all events for each action would cost much.
            let news = held.events.len().saturating_sub(made.of);
            if news <= made.of / 32 && now.saturating_sub(made.at) < FRESH {
                return made.record.clone();
            }
        }
        let events = held.events.iter().map(Box::as_ref);
        let record = Record::of(events, Some(of.component), now, &Reputation::default(), &[]);
        let record = match held.proven {
            Some(receipt) => record.with_fraud(receipt),
            None => record,
        };
        let made = Made { record: record.clone(), of: held.events.len(), at: now };
        held.made.insert(of.capability, made);
        record
    }

    /// What it has of a provider itself, as the order of what is found reads it.
    pub(super) fn seen(&self, provider: &Did) -> actum_discovery::Record {
        let Some(held) = self.held.get(provider) else { return actum_discovery::Record::default() };
        actum_discovery::Record {
            good: held.came.min(RECEIPTS_READ),
            refuted: held.refuted.max(u64::from(held.proven.is_some())),
        }
    }

    /// Which of a provider's receipts the next is, counted from 0. Each is told once.
    pub(super) fn next_receipt_of(&mut self, provider: &Did) -> u64 {
        let held = self.held.entry(*provider).or_default();
        let next = held.asked;
        held.asked += 1;
        next
    }

    /// Takes in what an action showed.
    pub(super) fn note(&mut self, event: Event) -> Option<Excluded> {
        let held = self.held.entry(event.provider).or_default();
        if held.events.len() >= MAX_EVENTS.saturating_mul(2) {
            held.forget();
        }
        let what = event.what;
        let place = held.events.partition_point(|other| order(other) < order(&event));
        held.events.insert(place, Box::new(event));
        match what {
            Experience::Served { .. } | Experience::Identical => None,
            Experience::Diverged => {
                held.refuted += 1;
                held.exclude()
            }
            _ => {
                held.made.clear();
                None
            }
        }
    }

    /// Takes in that somebody's proof against a provider was verified here.
    pub(super) fn prove(&mut self, provider: Did, receipt: ReceiptId) -> Option<Excluded> {
        let held = self.held.entry(provider).or_default();
        held.proven.get_or_insert(receipt);
        held.exclude()
    }

    /// Takes in that a receipt came, and whether it is a lie, which the requester does not know.
    pub(super) fn came(&mut self, provider: &Did, lie: bool, now: Time) {
        let held = self.held.entry(*provider).or_default();
        held.came += 1;
        if lie {
            held.first_lie.get_or_insert(now);
        }
    }

    /// An answer of a provider is being replayed until then.
    pub(super) fn judge_until(&mut self, provider: &Did, until: Time) {
        let held = self.held.entry(*provider).or_default();
        held.judging = held.judging.max(until);
    }

    /// Until when an answer of a provider is being replayed.
    pub(super) fn judging(&self, provider: &Did) -> Time {
        self.held.get(provider).map_or(Time::ZERO, |held| held.judging)
    }

    /// When a replay that comes after the answer is over, if it is asked for now.
    pub(super) fn replayed_by(&mut self, now: Time, takes: Span) -> Time {
        self.later = self.later.max(now) + takes;
        self.later
    }
}
