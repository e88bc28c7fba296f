//! Which offers are to be probed, and which make room where there is none: those that never answered a probe stand in an order
//! here, oldest first, and their providers likewise.

use crate::{
    room::Room,
    state::{Entry, Provider, State},
};
use actum_discovery::{PROBED_FOR, Probe, Probed, Probing, SILENT_FOR};
use std::{cmp::Reverse, collections::BTreeSet, ops::Bound};

/// When something is probed, and its slot.
pub(crate) type Turn = (u64, u32);

/// Orders of what is held.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    /// Every offer, by what became of its last probe and when the next is due: those never probed first, then those that
    /// answered, then those that did not.
    due: BTreeSet<(Probed, u64, u32)>,
    /// Offers that did not answer and, after them, those never probed: each by the epoch at which it last said something
    /// else.
    offers: BTreeSet<(Reverse<Probed>, u64, u32)>,
    /// Providers without an offer that answered, likewise: by generation.
    providers: BTreeSet<(Reverse<Probed>, u32, u32)>,
}

impl Probes {
    pub(crate) fn note(&mut self, slot: u32, entry: &Entry) {
        self.due.insert((entry.probed, entry.probe_at, slot));
        if entry.probed != Probed::Answers {
            self.offers.insert((Reverse(entry.probed), entry.taken, slot));
        }
    }

    pub(crate) fn forget(&mut self, slot: u32, entry: &Entry) {
        self.due.remove(&(entry.probed, entry.probe_at, slot));
        self.offers.remove(&(Reverse(entry.probed), entry.taken, slot));
    }

    pub(crate) fn forget_provider(&mut self, place: u32, provider: &Provider) {
        if let Some(standing) = provider.standing {
            self.providers.remove(&(Reverse(standing), provider.generation, place));
        }
    }

    /// What is due of one kind, beginning after `from` and going round.
    pub(crate) fn due(&self, probed: Probed, from: Turn, now: u64) -> impl Iterator<Item = Turn> {
        let at = |(due, slot): Turn| (probed, due, slot);
        let last = (now, u32::MAX);
        // A clock may have been set back.
        let from = from.min(last);
        let after = self.due.range((Bound::Excluded(at(from)), Bound::Included(at(last))));
        let before = self.due.range(at((0, 0))..=at(from));
        after.chain(before).map(|(_, due, slot)| (*due, *slot))
    }

    /// The offer that makes room first.
    pub(crate) fn first_offer(&self, room: Room) -> Option<u32> {
        let (Reverse(probed), _, slot) = self.offers.first()?;
        room.is_of(*probed).then_some(*slot)
    }

    /// The provider that makes room first.
    pub(crate) fn first_provider(&self, room: Room) -> Option<u32> {
        let (Reverse(probed), _, place) = self.providers.first()?;
        room.is_of(*probed).then_some(*place)
    }
}

impl Entry {
    /// What an offer read back from disk goes on with. When it was probed is not kept: probes of those that answered are
    /// spread over the time that an answer holds.
    pub(crate) fn resume(&mut self, slot: u32, now: u64) {
        let (tries, spread) = match self.probed {
            Probed::Never => (0, 1),
            Probed::Answers => (0, PROBED_FOR),
            Probed::Silent => (1, SILENT_FOR),
        };
        self.tries = tries;
        self.probe_at = now.saturating_add(u64::from(slot) % spread);
    }

    fn probe_ended(&mut self, ended: Probe, now: u64) {
        let mut probing = Probing { probed: self.probed, at: self.probe_at, tries: self.tries };
        probing.ended(ended, now);
        (self.probed, self.probe_at, self.tries) = (probing.probed, probing.at, probing.tries);
    }
}

impl State {
    /// Changes an offer, and where it stands; what is on disk of it stays.
    pub(crate) fn change_offer(&mut self, slot: u32, change: impl FnOnce(&mut Entry)) {
        let Some(entry) = self.offers.get_mut(slot) else { return };
        self.probes.forget(slot, entry);
        change(entry);
        self.note_offer(slot);
    }

    /// Notes where an offer stands, and its provider for it.
    pub(crate) fn note_offer(&mut self, slot: u32) {
        let Some(entry) = self.offers.get(slot) else { return };
        self.probes.note(slot, entry);
        let (answers, provider) = (entry.probed == Probed::Answers, entry.provider);
        self.mark(slot, answers);
        self.rank(provider);
    }

    pub(crate) fn probe_ended(&mut self, slot: u32, ended: Probe, now: u64) {
        self.change_offer(slot, |entry| entry.probe_ended(ended, now));
        self.put_offer(slot);
    }

    /// Finds out where a provider stands among those that make room: as its best offer does, and as one never probed
    /// where it has none.
    pub(crate) fn rank(&mut self, place: u32) {
        let Some(provider) = self.providers.get_mut(place) else { return };
        let offers = &self.offers;
        let probed = provider.offers.iter().filter_map(|slot| offers.get(*slot)).map(|e| e.probed);
        let best = probed.min_by_key(|probed| match probed {
            Probed::Answers => 0,
            Probed::Never => 1,
            Probed::Silent => 2,
        });
        let standing = best.unwrap_or(Probed::Never);
        if provider.standing == Some(standing) {
            return;
        }
        self.probes.forget_provider(place, provider);
        provider.standing = Some(standing);
        if standing != Probed::Answers {
            self.probes.providers.insert((Reverse(standing), provider.generation, place));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_goes_round_and_a_clock_set_back_does_no_harm() {
        let mut probes = Probes::default();
        probes.due.extend((0..4).map(|slot| (Probed::Never, 10, slot)));
        probes.due.insert((Probed::Never, 20, 4));
        probes.due.insert((Probed::Silent, 0, 5));
        let slots =
            |from, now| probes.due(Probed::Never, from, now).map(|(_, slot)| slot).collect::<Vec<_>>();
        assert_eq!(slots((0, 0), 10), [0, 1, 2, 3]);
        assert_eq!(slots((10, 1), 10), [2, 3, 0, 1]);
        assert_eq!(slots((10, 1), 20), [2, 3, 4, 0, 1]);
        assert_eq!(slots((20, 4), 10), [0, 1, 2, 3]);
        assert!(slots((20, 4), 5).is_empty());
    }
}
