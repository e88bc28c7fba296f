//! Taking statements in: newer replaces older, limits hold, what was taken back stays away. The rules are those of
//! `actum_discovery::Index`; the tests hold both to the same sequences.

use crate::{
    room::Room,
    rows,
    state::{
        Buried, Digest, Ending, Entry, Leased, Place, Probed, Provider, State, digest, first, ip_of, stamp,
    },
    store::Table,
};
use actum_discovery::{Observed, Refused, alive};
use actum_model::{Descriptor, Did, Lease, Signed, Tombstone, codec, id::sha256};
use std::sync::Arc;

/// The bytes of the statement at a place, to compare two of one sequence number.
pub(crate) trait Fetch {
    /// Nothing where they cannot be had: then the newcomer wins.
    fn bytes(&self, state: &State, place: Place) -> Option<Vec<u8>>;
}

/// A hash of all that a descriptor says but its number and times: two alike need no new document, and what a probe found out of one
/// is so of the other.
pub(crate) fn said(d: &Descriptor) -> u64 {
    let timeless = Descriptor { seq: 0, nbf: 0, exp: 0, ..d.clone() };
    first(&sha256(&codec::encode(&timeless)))
}

impl State {
    pub(crate) fn take_descriptor(
        &mut self,
        descriptor: &Signed<Descriptor>,
        room: Room,
        now: u64,
        fetch: &impl Fetch,
    ) -> Result<Observed, Refused> {
        let d = descriptor.payload();
        alive(d.nbf, d.exp, now)?;
        let release = digest(&d.release);
        if let Some(provider) = self.provider(&d.iss) {
            provider.stands(Some(&release), d.seq)?;
        }
        let id: Digest = descriptor.id().digest().try_into().unwrap_or_default();
        let known = self.offer_of(&d.iss, &release).map(|(slot, e)| (slot, e.seq, e.id, e.said));
        let taken = self.epoch + 1;
        let said = said(d);
        let slot = match known {
            Some((slot, seq, known, before)) => {
                match self.compare(
                    (seq, known, Place::Descriptor(slot)),
                    (d.seq, id, descriptor.bytes()),
                    fetch,
                ) {
                    Observed::Newer => {}
                    old => return Ok(old),
                }
                self.forget_id(&known, Place::Descriptor(slot));
                self.change_offer(slot, |entry| {
                    (entry.id, entry.seq, entry.nbf, entry.exp, entry.said) = (id, d.seq, d.nbf, d.exp, said);
                    if said != before {
                        entry.taken = taken;
                        // What was found out was found out of something else.
                        (entry.probed, entry.probe_at) = (Probed::Never, now);
                    }
                });
                if said != before {
                    self.pending.say.insert(slot, Some(Arc::new(d.clone())));
                }
                slot
            }
            None => {
                self.make_room(&d.iss, (d.seq, release), room, now)?;
                let provider = self.place(&d.iss);
                let generation = taken as u32;
                let entry = Entry {
                    provider,
                    generation,
                    release,
                    id,
                    seq: d.seq,
                    nbf: d.nbf,
                    exp: d.exp,
                    taken,
                    said,
                    probed: Probed::Never,
                    probe_at: now,
                    tries: 0,
                };
                let slot = self.offers.insert(entry);
                if let Some(provider) = self.providers.get_mut(provider) {
                    provider.offers.push(slot);
                }
                self.note_offer(slot);
                self.end_at(d.exp, Ending::Offer { slot, generation });
                self.pending.say.insert(slot, Some(Arc::new(d.clone())));
                slot
            }
        };
        self.note_id(&id, Place::Descriptor(slot));
        self.put(Table::Descriptors, slot, descriptor.bytes().to_vec());
        self.put_offer(slot);
        self.count();
        Ok(if known.is_some() { Observed::Newer } else { Observed::New })
    }

    pub(crate) fn take_lease(
        &mut self,
        lease: &Signed<Lease>,
        room: Room,
        now: u64,
        fetch: &impl Fetch,
    ) -> Result<Observed, Refused> {
        let l = lease.payload();
        alive(l.nbf, l.exp, now)?;
        if let Some(provider) = self.provider(&l.iss) {
            provider.stands(None, l.seq)?;
        }
        let id: Digest = lease.id().digest().try_into().unwrap_or_default();
        let at = self.by_did.get(&l.iss).copied();
        let known = at.and_then(|at| Some((at, self.providers.get(at)?.lease.clone()?)));
        if let Some((at, known)) = &known {
            match self.compare((known.seq, known.id, Place::Lease(*at)), (l.seq, id, lease.bytes()), fetch) {
                Observed::Newer => self.forget_id(&known.id, Place::Lease(*at)),
                old => return Ok(old),
            }
        } else {
            self.admit(&l.iss, room, now)?;
        }
        let place = self.place(&l.iss);
        if let Some(provider) = self.providers.get_mut(place) {
            provider.lease = Some(Leased {
                id,
                seq: l.seq,
                nbf: l.nbf,
                exp: l.exp,
                descriptors_seq: l.descriptors_seq,
                load: l.load,
                capacity: l.capacity,
                ip: ip_of(l),
            });
        }
        self.note_id(&id, Place::Lease(place));
        self.put(Table::Leases, place, lease.bytes().to_vec());
        self.put_provider(place);
        self.provider_ends(place);
        self.count();
        Ok(if known.is_some() { Observed::Newer } else { Observed::New })
    }

    pub(crate) fn take_tombstone(
        &mut self,
        tombstone: &Signed<Tombstone>,
        now: u64,
    ) -> Result<Observed, Refused> {
        let t = tombstone.payload();
        alive(t.nbf, t.exp, now)?;
        // There is nothing here to take back of one that is not known: nobody untried goes for it.
        self.admit(&t.iss, Room::OfSilent, now)?;
        let of = t.release.as_ref().map(digest);
        let known = self.provider(&t.iss).and_then(|p| p.buried.iter().find(|b| b.of == of)).cloned();
        let limit = self.limits.descriptors_per_provider;
        match &known {
            Some(known) if (known.seq, known.exp) == (t.seq, t.exp) => return Ok(Observed::Same),
            Some(known) if known.seq >= t.seq => return Ok(Observed::Older),
            None if self.provider(&t.iss).is_some_and(|p| p.buried.len() > limit) => {
                return Err(Refused::TooManyDescriptors { provider: t.iss, limit });
            }
            _ => {}
        }
        let place = self.place(&t.iss);
        let key = match &known {
            Some(known) => {
                self.forget_id(&known.id, Place::Tombstone(known.key));
                known.key
            }
            None => self.graves.insert(()),
        };
        let id = sha256(tombstone.bytes());
        let buried = Buried { key, of, id, seq: t.seq, nbf: t.nbf, exp: t.exp };
        let row = [buried.row(place), tombstone.bytes().to_vec()].concat();
        self.put(Table::Tombstones, key, row);
        self.note_id(&id, Place::Tombstone(key));
        let mut gone = Vec::new();
        let mut lease = None;
        if let Some(provider) = self.providers.get_mut(place) {
            provider.buried.retain(|b| b.of != of);
            provider.buried.push(buried);
            gone.clone_from(&provider.offers);
            if of.is_none() {
                lease = provider.lease.take_if(|l| l.seq <= t.seq);
            }
        }
        if let Some(lease) = lease {
            self.forget_lease(place, &lease);
        }
        for slot in gone {
            let taken_back = |e: &Entry| of.is_none_or(|of| of == e.release) && e.seq <= t.seq;
            if self.offers.get(slot).is_some_and(taken_back) {
                self.forget_offer(slot);
            }
        }
        self.provider_ends(place);
        self.count();
        Ok(if known.is_some() { Observed::Newer } else { Observed::New })
    }

    /// Compares by sequence number. A provider that signs two statements under one number is held to the one whose bytes
    /// sort last, whichever came first.
    fn compare(
        &self,
        (seq, id, place): (u64, Digest, Place),
        (new_seq, new_id, new): (u64, Digest, &[u8]),
        fetch: &impl Fetch,
    ) -> Observed {
        if id == new_id {
            return Observed::Same;
        }
        let newer = match seq.cmp(&new_seq) {
            std::cmp::Ordering::Equal => fetch.bytes(self, place).is_none_or(|known| known.as_slice() < new),
            order => order.is_lt(),
        };
        if newer { Observed::Newer } else { Observed::Older }
    }

    pub(crate) fn provider(&self, did: &Did) -> Option<&Provider> {
        self.providers.get(*self.by_did.get(did)?)
    }

    /// The place of a provider that was admitted.
    pub(crate) fn place(&mut self, did: &Did) -> u32 {
        if let Some(place) = self.by_did.get(did) {
            return *place;
        }
        let generation = (self.epoch + 1) as u32;
        let (offers, buried) = (Vec::new(), Vec::new());
        let provider =
            Provider { did: *did, generation, lease: None, offers, buried, ends: false, standing: None };
        let place = self.providers.insert(provider);
        self.by_did.insert(*did, place);
        self.rank(place);
        self.put_provider(place);
        place
    }

    /// Forgets one offer. Its provider stays.
    pub(crate) fn forget_offer(&mut self, slot: u32) {
        self.mark(slot, false);
        let Some(entry) = self.offers.remove(slot) else { return };
        self.probes.forget(slot, &entry);
        self.forget_id(&entry.id, Place::Descriptor(slot));
        if let Some(provider) = self.providers.get_mut(entry.provider) {
            provider.offers.retain(|held| *held != slot);
        }
        self.rank(entry.provider);
        let doomed = stamp(slot, entry.generation);
        self.pending.doomed.insert(doomed);
        self.pending.batch.insert((Table::Doomed, doomed), Some(Vec::new()));
        self.pending.say.remove(&slot);
        for table in [Table::Offers, Table::Descriptors, Table::Vectors] {
            self.delete(table, slot);
        }
    }

    pub(crate) fn forget_lease(&mut self, place: u32, lease: &Leased) {
        self.forget_id(&lease.id, Place::Lease(place));
        self.delete(Table::Leases, place);
        self.put_provider(place);
    }

    pub(crate) fn put_offer(&mut self, slot: u32) {
        if let Some(row) = self.offers.get(slot).map(Entry::row) {
            self.put(Table::Offers, slot, row);
        }
    }

    pub(crate) fn put_provider(&mut self, place: u32) {
        if let Some(p) = self.providers.get(place) {
            let row = rows::provider(&p.did, p.generation, p.lease.as_ref());
            self.put(Table::Providers, place, row);
        }
    }

    fn count(&mut self) {
        self.epoch += 1;
        self.pending.statements += 1;
    }
}

impl Provider {
    /// Refuses what was taken back: of this release, or of all.
    fn stands(&self, release: Option<&Digest>, seq: u64) -> Result<(), Refused> {
        let buried = self.buried.iter().filter(|b| b.of.is_none() || b.of.as_ref() == release);
        match buried.map(|b| b.seq).max() {
            Some(buried) if seq <= buried => Err(Refused::TakenBack { provider: self.did, seq: buried }),
            _ => Ok(()),
        }
    }
}
