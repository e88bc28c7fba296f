//! Forgetting what expired, by the minute: each offer and each provider stands once under the minute it may end at, and
//! is looked at then. One that was refreshed meanwhile moves on.

use crate::{
    state::{Ending, Place, State},
    store::Table,
};
use actum_model::Did;

/// The seconds of a minute, which is how late something may be forgotten.
const MINUTE: u64 = 60;
/// The most endings looked at in one go: 10,000. What is left expired none the less, and only takes up room until the next.
const AT_ONCE: usize = 10_000;

impl State {
    /// Puts something under the first minute that begins when it is over.
    pub(crate) fn end_at(&mut self, exp: u64, ending: Ending) {
        self.ends.entry(exp.div_ceil(MINUTE)).or_default().push(ending);
    }

    /// Puts a provider under the minute that its lease or its first tombstone ends at, or now if it has neither, unless
    /// it stands somewhere already.
    pub(crate) fn provider_ends(&mut self, place: u32) {
        let Some(provider) = self.providers.get_mut(place) else { return };
        if provider.ends {
            return;
        }
        provider.ends = true;
        let generation = provider.generation;
        let ends = provider.lease.iter().map(|l| l.exp).chain(provider.buried.iter().map(|b| b.exp));
        let exp = ends.min().unwrap_or(0);
        self.end_at(exp, Ending::Provider { place, generation });
    }

    /// Forgets what expired, at most [`AT_ONCE`] of it. It costs what has to be forgotten, not what is held.
    pub(crate) fn expire(&mut self, now: u64) {
        for _ in 0..AT_ONCE {
            let Some(mut first) = self.ends.first_entry() else { return };
            if *first.key() > now / MINUTE {
                return;
            }
            match first.get_mut().pop() {
                Some(Ending::Offer { slot, generation }) => self.end_offer(slot, generation, now),
                Some(Ending::Provider { place, generation }) => self.end_provider(place, generation, now),
                None => drop(first.remove()),
            }
        }
    }

    /// Forgets what expired of one provider, to the second.
    pub(crate) fn expire_of(&mut self, did: &Did, now: u64) {
        let held = self.provider(did).map(|p| p.offers.clone()).unwrap_or_default();
        for slot in held {
            if self.offers.get(slot).is_some_and(|e| e.exp <= now) {
                self.forget_offer(slot);
            }
        }
    }

    fn end_offer(&mut self, slot: u32, generation: u32, now: u64) {
        let Some(entry) = self.offers.get(slot).filter(|e| e.generation == generation) else { return };
        if entry.exp > now {
            let (exp, ending) = (entry.exp, Ending::Offer { slot, generation });
            return self.end_at(exp, ending);
        }
        let provider = entry.provider;
        self.forget_offer(slot);
        // Without offers it may be the last of its provider.
        self.provider_ends(provider);
    }

    fn end_provider(&mut self, place: u32, generation: u32, now: u64) {
        let Some(provider) = self.providers.get_mut(place).filter(|p| p.generation == generation) else {
            return;
        };
        provider.ends = false;
        let lease = provider.lease.take_if(|l| l.exp <= now);
        let buried: Vec<_> = provider.buried.extract_if(.., |b| b.exp <= now).collect();
        let did = provider.did;
        let holds_nothing =
            provider.lease.is_none() && provider.offers.is_empty() && provider.buried.is_empty();
        let waits = provider.lease.is_some() || !provider.buried.is_empty();
        if let Some(lease) = lease {
            self.forget_lease(place, &lease);
        }
        for buried in buried {
            self.forget_id(&buried.id, Place::Tombstone(buried.key));
            self.graves.remove(buried.key);
            self.delete(Table::Tombstones, buried.key);
        }
        if holds_nothing {
            self.providers.remove(place);
            self.by_did.remove(&did);
            self.delete(Table::Providers, place);
        } else if waits {
            self.provider_ends(place);
        }
    }
}
