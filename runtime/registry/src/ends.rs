//! Forgetting what expired, by the minute: each offer and each provider stands once under the minute it may end at, and
//! is looked at then. One that was refreshed meanwhile moves on.

use crate::{
    state::{Buried, Ending, Place, Provider, State},
    store::Table,
};
use actum_model::Did;
use std::collections::BTreeMap;

/// The seconds of a minute, which is how late something may be forgotten.
const MINUTE: u64 = 60;
/// The most endings looked at in one go: 10,000. What is left expired none the less, and only takes up room until the next.
const AT_ONCE: usize = 10_000;
/// How many endings of what is gone are kept whatever is held: 1,024. Beyond twice what is held and these, they are sorted out.
const GONE: usize = 1_024;

impl State {
    /// Puts something under the first minute that begins when it is over.
    pub(crate) fn end_at(&mut self, exp: u64, ending: Ending) {
        self.ends.entry(exp.div_ceil(MINUTE)).or_default().push(ending);
        self.endings += 1;
        let held = self.offers.len() + self.providers.len();
        if self.endings > held.saturating_mul(2).saturating_add(GONE) {
            self.end_all_anew();
        }
    }

    /// Leaves out the endings of offers and providers that were replaced or made room since.
    fn end_all_anew(&mut self) {
        let offers = self.offers.iter().map(|(slot, entry)| {
            let generation = entry.generation;
            (entry.exp, Ending::Offer { slot, generation })
        });
        let providers = self.providers.iter().filter(|(_, p)| p.ends).map(|(place, provider)| {
            let generation = provider.generation;
            (provider.first_end(), Ending::Provider { place, generation })
        });
        let (mut ends, mut endings) = (BTreeMap::<_, Vec<_>>::new(), 0);
        for (exp, ending) in offers.chain(providers) {
            ends.entry(exp.div_ceil(MINUTE)).or_default().push(ending);
            endings += 1;
        }
        (self.ends, self.endings) = (ends, endings);
    }

    /// Puts a provider under the minute that its lease or its first tombstone ends at, or now if it has neither, unless
    /// it stands somewhere already.
    pub(crate) fn provider_ends(&mut self, place: u32) {
        let Some(provider) = self.providers.get_mut(place) else { return };
        if provider.ends {
            return;
        }
        provider.ends = true;
        let (exp, generation) = (provider.first_end(), provider.generation);
        self.end_at(exp, Ending::Provider { place, generation });
    }

    /// Forgets what expired, at most [`AT_ONCE`] of it. It costs what has to be forgotten, not what is held.
    pub(crate) fn expire(&mut self, now: u64) {
        for _ in 0..AT_ONCE {
            let Some(mut first) = self.ends.first_entry() else { return };
            if *first.key() > now / MINUTE {
                return;
            }
            let Some(ending) = first.get_mut().pop() else {
                first.remove();
                continue;
            };
            self.endings = self.endings.saturating_sub(1);
            match ending {
                Ending::Offer { slot, generation } => self.end_offer(slot, generation, now),
                Ending::Provider { place, generation } => self.end_provider(place, generation, now),
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
        let holds_nothing =
            provider.lease.is_none() && provider.offers.is_empty() && provider.buried.is_empty();
        let waits = provider.lease.is_some() || !provider.buried.is_empty();
        if let Some(lease) = lease {
            self.forget_lease(place, &lease);
        }
        self.forget_tombstones(buried);
        if holds_nothing {
            self.remove_provider(place);
        } else if waits {
            self.provider_ends(place);
        }
    }

    pub(crate) fn forget_tombstones(&mut self, gone: Vec<Buried>) {
        for buried in gone {
            self.forget_id(&buried.id, Place::Tombstone(buried.key));
            self.graves.remove(buried.key);
            self.delete(Table::Tombstones, buried.key);
        }
    }
}

impl Provider {
    /// When the lease or the first tombstone ends; 0 where there is neither.
    fn first_end(&self) -> u64 {
        let ends = self.lease.iter().map(|l| l.exp).chain(self.buried.iter().map(|b| b.exp));
        ends.min().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Entry, Probed};
    use actum_model::SecretKey;

    fn entry(provider: u32, generation: u32) -> Entry {
        Entry {
            provider,
            generation,
            release: [1; 32],
            id: [2; 32],
            seq: 1,
            nbf: 0,
            exp: 6_000,
            taken: u64::from(generation),
            said: 0,
            probed: Probed::Never,
            probe_at: 0,
            tries: 0,
        }
    }

    fn held(state: &State) -> usize {
        state.ends.values().map(Vec::len).sum()
    }

    #[test]
    fn the_endings_of_what_was_replaced_do_not_pile_up() {
        let mut state = State::default();
        let did = SecretKey::from_seed(&[1; 32]).did();
        let place = state.place(&did);
        state.provider_ends(place);
        for generation in 0..10_000 {
            let slot = state.offers.insert(entry(place, generation));
            if let Some(provider) = state.providers.get_mut(place) {
                provider.offers.push(slot);
            }
            state.note_offer(slot);
            state.end_at(6_000, Ending::Offer { slot, generation });
            if generation < 9_999 {
                state.forget_offer(slot);
            }
            assert!(held(&state) <= GONE + 4, "{}", held(&state));
            assert_eq!(held(&state), state.endings);
        }
        // What is still there ends when it should, and so does its provider.
        state.expire(5_999);
        assert_eq!((state.offers.len(), state.providers.len()), (1, 1));
        state.expire(6_000);
        state.expire(6_000);
        assert_eq!((state.offers.len(), state.providers.len(), held(&state)), (0, 0, 0));
    }
}
