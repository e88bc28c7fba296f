//! Reading statements back from where they are: what was taken in since the last commit, what is being committed, the
//! database.

use crate::{
    Registry,
    recent::{Held, Kept, Recent},
    registry::lock,
    state::{Digest, Place, State},
    store::Table,
    take::Fetch,
};
use actum_discovery::LiveOffer;
use actum_model::{Descriptor, Lease, Statement, codec, id::sha256};
use std::sync::{Arc, PoisonError, RwLockReadGuard, RwLockWriteGuard};

/// Where a statement should be, and which.
pub(crate) type Damaged = (Place, Digest);

/// Both halves of an offer, as they were signed.
pub(crate) type Halves = (Arc<Held<Descriptor>>, Arc<Held<Lease>>);

impl Registry {
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes at a place. What cannot be read is as good as not there.
    pub(crate) fn bytes(&self, state: &State, place: Place) -> Option<Vec<u8>> {
        let (table, key) = match place {
            Place::Descriptor(slot) => (Table::Descriptors, slot),
            Place::Lease(provider) => (Table::Leases, provider),
            Place::Tombstone(key) => (Table::Tombstones, key),
        };
        let bytes = match state.unwritten(table, key) {
            Some(bytes) => bytes,
            None => self.store.get(table, u64::from(key)).ok().flatten(),
        }?;
        match place {
            Place::Tombstone(_) => crate::rows::statement_of(&bytes).map(<[u8]>::to_vec),
            _ => Some(bytes),
        }
    }

    /// Both halves of the offer in a slot, if it can be called now. A half that is not what was taken in is noted as
    /// damaged.
    pub(crate) fn held_at(
        &self,
        state: &State,
        slot: u32,
        now: u64,
        damaged: &mut Vec<Damaged>,
    ) -> Option<Halves> {
        let (entry, _, lease) = state.callable(slot, now)?;
        let descriptor = self.held(state, Place::Descriptor(slot), &entry.id, damaged)?;
        Some((descriptor, self.held(state, Place::Lease(entry.provider), &lease.id, damaged)?))
    }

    /// As [`Self::held_at`], both halves verified.
    pub(crate) fn offer_at(
        &self,
        state: &State,
        slot: u32,
        now: u64,
        damaged: &mut Vec<Damaged>,
    ) -> Option<LiveOffer> {
        let (descriptor, lease) = self.held_at(state, slot, now, damaged)?;
        LiveOffer::of(descriptor.signed()?, lease.signed()?, now).ok().flatten()
    }

    fn held<T: Kept>(
        &self,
        state: &State,
        place: Place,
        id: &Digest,
        damaged: &mut Vec<Damaged>,
    ) -> Option<Arc<Held<T>>> {
        if let Some(held) = T::get(&mut recent(self), id) {
            return Some(held);
        }
        // The digest is that of the bytes that were verified, and stands in a row with a checksum of its own.
        let Some(bytes) = self.bytes(state, place).filter(|bytes| sha256(bytes) == *id) else {
            damaged.push((place, *id));
            return None;
        };
        let held = Arc::new(Held::new(bytes));
        T::put(&mut recent(self), *id, Arc::clone(&held));
        Some(held)
    }

    /// Forgets statements whose bytes are not what was taken in; their providers will announce them again.
    pub(crate) fn drop_damaged(&self, damaged: &[Damaged]) {
        if damaged.is_empty() {
            return;
        }
        let mut state = self.write();
        for (place, id) in damaged {
            match *place {
                Place::Descriptor(slot) if state.offers.get(slot).is_some_and(|e| e.id == *id) => {
                    state.forget_offer(slot);
                }
                Place::Lease(at) => {
                    let held = state.providers.get_mut(at);
                    if let Some(lease) = held.and_then(|p| p.lease.take_if(|l| l.id == *id)) {
                        state.forget_lease(at, &lease);
                    }
                }
                _ => {}
            }
        }
    }
}

impl Fetch for Registry {
    fn bytes(&self, state: &State, place: Place) -> Option<Vec<u8>> {
        Registry::bytes(self, state, place)
    }
}

fn recent(registry: &Registry) -> std::sync::MutexGuard<'_, Recent> {
    lock(&registry.recent)
}

/// What a stored envelope says, without its signature being looked at: its digest was.
pub(crate) fn payload_of<T: Statement>(bytes: &[u8]) -> Option<T> {
    // An envelope is an array of a 64-byte signature and a map of the header and the payload.
    let signed = bytes.get(3 + 64..)?;
    let tag = codec::encode(T::TAG);
    let at = signed.windows(tag.len()).take(64).position(|window| window == tag)?;
    codec::decode(signed.get(at + tag.len()..)?, T::MAX_BYTES).ok()
}
