//! Making room for newcomers: what expired goes first, then offers whose provider did not answer a probe, then those never probed, the
//! oldest first. What answered stays, however much there is to come.

use crate::{
    state::{Digest, Probed, State},
    store::Table,
};
use actum_discovery::Refused;
use actum_model::Did;

/// Whose room a newcomer may take where none is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// That of offers that did not answer.
    OfSilent,
    /// That of offers that did not answer, or else were never probed.
    OfUnproven,
}

impl Room {
    pub(crate) fn is_of(self, probed: Probed) -> bool {
        match probed {
            Probed::Silent => true,
            Probed::Never => self == Self::OfUnproven,
            Probed::Answers => false,
        }
    }
}

impl State {
    /// Makes room for this provider, if it is a new one.
    pub(crate) fn admit(&mut self, provider: &Did, room: Room, now: u64) -> Result<(), Refused> {
        let limit = self.limits.providers;
        let fits = |state: &Self| state.providers.len() < limit || state.by_did.contains_key(provider);
        if !fits(self) {
            self.expire(now);
        }
        if !fits(self)
            && let Some(place) = self.probes.first_provider(room)
        {
            self.forget_provider(place);
        }
        if fits(self) { Ok(()) } else { Err(Refused::TooManyProviders { limit }) }
    }

    /// Makes room for an offer that is new. Where its provider has as many as it may, an expired one goes, else the one of
    /// the lowest sequence number if that is lower than the newcomer's.
    pub(crate) fn make_room(
        &mut self,
        did: &Did,
        newcomer: (u64, Digest),
        room: Room,
        now: u64,
    ) -> Result<(), Refused> {
        let limit = self.limits.descriptors_per_provider;
        let held = |state: &Self| state.provider(did).map_or(0, |p| p.offers.len());
        if held(self) >= limit {
            self.expire_of(did, now);
        }
        if held(self) >= limit {
            let offers = self.provider(did).into_iter().flat_map(|p| &p.offers);
            let ages = offers.filter_map(|slot| self.offers.get(*slot).map(|e| (e.seq, e.release, *slot)));
            return match ages.min() {
                Some((seq, release, slot)) if (seq, release) < newcomer => {
                    self.forget_offer(slot);
                    Ok(())
                }
                _ => Err(Refused::TooManyDescriptors { provider: *did, limit }),
            };
        }
        let limit = self.limits.descriptors;
        let full = |state: &Self| state.offers.len() >= limit;
        if full(self) {
            self.expire(now);
        }
        // Nothing goes for a newcomer that is refused after all.
        if full(self) && self.probes.first_offer(room).is_none() {
            return Err(Refused::Full { limit });
        }
        self.admit(did, room, now)?;
        if full(self)
            && let Some(slot) = self.probes.first_offer(room)
        {
            let provider = self.offers.get(slot).map(|e| e.provider);
            self.forget_offer(slot);
            // Without offers it may be the last of its provider.
            provider.into_iter().for_each(|place| self.provider_ends(place));
        }
        Ok(())
    }

    /// Forgets a provider and all it said.
    fn forget_provider(&mut self, place: u32) {
        let Some(provider) = self.providers.get_mut(place) else { return };
        let (lease, buried) = (provider.lease.take(), std::mem::take(&mut provider.buried));
        for slot in provider.offers.clone() {
            self.forget_offer(slot);
        }
        if let Some(lease) = lease {
            self.forget_lease(place, &lease);
        }
        self.forget_tombstones(buried);
        self.remove_provider(place);
    }

    /// Removes a provider that holds nothing any more.
    pub(crate) fn remove_provider(&mut self, place: u32) {
        if let Some(provider) = self.providers.remove(place) {
            self.probes.forget_provider(place, &provider);
            self.by_did.remove(&provider.did);
        }
        self.delete(Table::Providers, place);
    }
}
