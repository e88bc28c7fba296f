//! The registry: statements in, statements out, and what is made durable when.

use crate::{
    Damage, Embedder, RegistryError, RegistryLimits,
    limits::PROBE_SCAN,
    meaning::Meaning,
    recent::Recent,
    state::{Digest, Pending, Place, Probed, State, digest},
    store::{Batch, Meta, Store, Table},
    take::Fetch,
    words::{Snapshot, Words},
};
use actum_discovery::{
    LiveOffer, Observed, Refused, alive,
    reconcile::{Holdings, Item},
};
use actum_model::{
    Descriptor, Did, EnvelopeError, Lease, Offer, ReleaseId, Signed, Statement, Tombstone, codec,
};
use std::{
    collections::BTreeSet,
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};
use tantivy::IndexWriter;

/// What a registry holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Providers, expired ones included until the minute is over.
    pub providers: usize,
    /// Descriptors, likewise.
    pub descriptors: usize,
    /// Descriptors whose provider answered its last probe.
    pub answering: usize,
    /// Statements taken in since the last commit: what a killed process would lose.
    pub uncommitted: usize,
}

/// A durable, searchable index of what providers announce, in a directory of its own.
///
/// All methods take `&self` and may be called from several threads; they do disk I/O and may block, so an async program
/// calls them from blocking threads. Queries go on while a commit is made. `now` is in seconds since the Unix epoch.
pub struct Registry {
    pub(crate) dir: PathBuf,
    pub(crate) limits: RegistryLimits,
    pub(crate) state: RwLock<State>,
    pub(crate) store: Store,
    pub(crate) words: Words,
    pub(crate) snapshot: RwLock<Arc<Snapshot>>,
    pub(crate) committer: Mutex<Committer>,
    /// The epoch of the last commit.
    pub(crate) epoch: AtomicU64,
    /// The slot at which [`Registry::to_probe`] goes on.
    pub(crate) probe_from: AtomicU32,
    pub(crate) recent: Mutex<Recent>,
    pub(crate) embedder: Option<Arc<dyn Embedder>>,
    pub(crate) meaning: RwLock<Meaning>,
    pub(crate) damage: Option<Damage>,
    /// Holds the directory's lock until the registry is dropped.
    pub(crate) _lock: File,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("dir", &self.dir)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// Who makes commits, one at a time.
pub(crate) struct Committer {
    pub(crate) writer: IndexWriter,
    /// Documents deleted from the index whose rows are still among the doomed.
    pub(crate) done: BTreeSet<u64>,
    /// Whether the index may hold documents of this registry's slots that it does not know of: after a restart.
    pub(crate) unsure: bool,
    /// When [`Registry::tick`] last committed.
    pub(crate) last: u64,
}

impl Registry {
    /// Takes in the bytes of a signed descriptor, a signed lease or a signed tombstone.
    ///
    /// A lease counts at once; the words of a descriptor are found after the next commit. Commits when
    /// [`RegistryLimits::commit_after`] statements have come since the last.
    ///
    /// # Errors
    /// [`RegistryError::Refused`] where the statement is; otherwise the commit failed, and will be tried again.
    pub fn observe(&self, bytes: &[u8], now: u64) -> Result<Observed, RegistryError> {
        let refused = |e: EnvelopeError| Refused::from(e);
        match Signed::<Descriptor>::verify(bytes) {
            Ok(descriptor) => self.observe_descriptor(&descriptor, now),
            Err(EnvelopeError::WrongTag { found, .. }) if found == Lease::TAG => {
                self.observe_lease(&Signed::verify(bytes).map_err(refused)?, now)
            }
            Err(EnvelopeError::WrongTag { found, .. }) if found == Tombstone::TAG => {
                self.observe_tombstone(&Signed::verify(bytes).map_err(refused)?, now)
            }
            Err(e) => Err(refused(e).into()),
        }
    }

    /// Takes in both halves of an offer: both or neither.
    ///
    /// # Errors
    /// As [`Registry::observe`].
    pub fn observe_offer(&self, offer: &Offer, now: u64) -> Result<Observed, RegistryError> {
        let descriptor = Signed::<Descriptor>::verify(&offer.descriptor).map_err(Refused::from)?;
        let lease = Signed::<Lease>::verify(&offer.lease).map_err(Refused::from)?;
        let (d, l) = (descriptor.payload(), lease.payload());
        if d.iss != l.iss {
            return Err(Refused::TwoProviders { descriptor: d.iss, lease: l.iss }.into());
        }
        alive(l.nbf, l.exp, now)?;
        let observed = self.observe_descriptor(&descriptor, now)?;
        self.observe_lease(&lease, now)?;
        Ok(observed)
    }

    /// Takes in a descriptor that was verified: its type says so. This is how a caller that verified elsewhere, or signed
    /// itself, does not verify twice.
    ///
    /// # Errors
    /// As [`Registry::observe`].
    pub fn observe_descriptor(
        &self,
        descriptor: &Signed<Descriptor>,
        now: u64,
    ) -> Result<Observed, RegistryError> {
        self.taken(|state| state.take_descriptor(descriptor, now, self))
    }

    /// Takes in a verified lease. No document changes.
    ///
    /// # Errors
    /// As [`Registry::observe`].
    pub fn observe_lease(&self, lease: &Signed<Lease>, now: u64) -> Result<Observed, RegistryError> {
        self.taken(|state| state.take_lease(lease, now, self))
    }

    /// Takes in a verified tombstone: what it takes back is not found any more, from now on.
    ///
    /// # Errors
    /// As [`Registry::observe`].
    pub fn observe_tombstone(
        &self,
        tombstone: &Signed<Tombstone>,
        now: u64,
    ) -> Result<Observed, RegistryError> {
        self.taken(|state| state.take_tombstone(tombstone, now))
    }

    fn taken(
        &self,
        take: impl FnOnce(&mut State) -> Result<Observed, Refused>,
    ) -> Result<Observed, RegistryError> {
        let (observed, full) = {
            let mut state = self.write();
            let observed = take(&mut state)?;
            (observed, state.pending.statements >= self.limits.commit_after.max(1))
        };
        if full {
            self.commit()?;
        }
        Ok(observed)
    }

    /// Says whether the provider answered when it was asked for this release. An offer is found while it did or was never
    /// asked; those that answered come first. Gives back whether there is such an offer.
    pub fn probe_result(&self, provider: &Did, release: &ReleaseId, ok: bool) -> bool {
        let mut state = self.write();
        let Some(slot) = state.offer_of(provider, &digest(release)).map(|(slot, _)| slot) else {
            return false;
        };
        state.set_probed(slot, if ok { Probed::Answers } else { Probed::Silent });
        state.put_offer(slot);
        true
    }

    /// What became of the last probe of an offer; `None` where there is no such offer or it was not probed yet.
    pub fn probed(&self, provider: &Did, release: &ReleaseId) -> Option<bool> {
        match self.read().offer_of(provider, &digest(release))?.1.probed {
            Probed::Never => None,
            Probed::Answers => Some(true),
            Probed::Silent => Some(false),
        }
    }

    /// Up to `most` offers that can be called now and whose provider did not answer a probe yet, or not the last: going round
    /// all of them, call by call. One call looks at some 65,000 offers at most, so fewer or none is not yet the end.
    pub fn to_probe(&self, most: usize, now: u64) -> Vec<LiveOffer> {
        let (mut offers, mut damaged) = (Vec::new(), Vec::new());
        {
            let state = self.read();
            let slots = state.offers.numbers();
            let mut from = self.probe_from.load(Ordering::Relaxed);
            for _ in 0..slots.min(PROBE_SCAN as u32) {
                if offers.len() >= most {
                    break;
                }
                let slot = from % slots;
                from = slot + 1;
                let wanted = state.callable(slot, now).is_some_and(|(e, ..)| e.probed != Probed::Answers);
                if wanted {
                    offers.extend(self.offer_at(&state, slot, now, &mut damaged));
                }
            }
            self.probe_from.store(from, Ordering::Relaxed);
        }
        self.drop_damaged(&damaged);
        offers
    }

    /// One provider's offer of a release, if it can be called now, whatever a probe said.
    pub fn offer(&self, provider: &Did, release: &ReleaseId, now: u64) -> Option<LiveOffer> {
        let mut damaged = Vec::new();
        let offer = {
            let state = self.read();
            let slot = state.offer_of(provider, &digest(release))?.0;
            self.offer_at(&state, slot, now, &mut damaged)
        };
        self.drop_damaged(&damaged);
        offer
    }

    /// Forgets what expired, and commits if [`RegistryLimits::commit_every`] seconds went by since it last did. To be called
    /// every second or few.
    ///
    /// # Errors
    /// The commit failed. What it would have made durable is kept, and tried again.
    pub fn tick(&self, now: u64) -> Result<(), RegistryError> {
        self.write().expire(now);
        {
            let mut committer = lock(&self.committer);
            if now < committer.last.saturating_add(self.limits.commit_every) {
                return Ok(());
            }
            committer.last = now;
        }
        self.commit()
    }

    /// Makes all that was taken in durable, and its words found.
    ///
    /// # Errors
    /// Disk or index failed. What it would have made durable is kept, and tried again.
    pub fn commit(&self) -> Result<(), RegistryError> {
        let mut committer = lock(&self.committer);
        let (pending, batch, epoch) = {
            let mut state = self.write();
            if state.pending.is_empty() {
                return Ok(());
            }
            let mut pending = std::mem::take(&mut state.pending);
            let batch = Arc::new(std::mem::take(&mut pending.batch));
            state.committing = Some(Arc::clone(&batch));
            (pending, batch, state.epoch)
        };
        let made = self.commit_batch(&mut committer, &pending, &batch, epoch);
        let mut state = self.write();
        state.committing = None;
        match made {
            Ok(()) => {
                drop(state);
                self.epoch.store(epoch, Ordering::Release);
                self.write_epoch(epoch)
            }
            Err(e) => {
                let batch = Arc::unwrap_or_clone(batch);
                state.pending.absorb(Pending { batch, ..pending });
                Err(e)
            }
        }
    }

    fn commit_batch(
        &self,
        committer: &mut Committer,
        pending: &Pending,
        batch: &Batch,
        epoch: u64,
    ) -> Result<(), RegistryError> {
        let mut more = Batch::new();
        let said = self.to_say(pending, batch);
        let mut vectors = Vec::new();
        if let Some(embedder) = &self.embedder {
            for (slot, _, _, descriptor) in &said {
                let vector = Meaning::of(&**embedder, descriptor);
                more.insert((Table::Vectors, u64::from(*slot)), Some(vector.to_bytes()));
                vectors.push((*slot, vector));
            }
        }
        more.extend(committer.done.iter().map(|stamp| ((Table::Doomed, *stamp), None)));
        let embedder = self.embedder.as_ref().map(|e| e.name()).unwrap_or_default();
        // The statements first: an index that is behind can be brought up to them, not the other way round.
        self.store.write(&[batch, &more], &Meta { epoch, embedder })?;
        committer.done.clear();
        if said.is_empty() && pending.doomed.is_empty() {
            return Ok(());
        }
        if let Err(e) = self.index(committer, &said, &pending.doomed, epoch) {
            // What was half said is unsaid, to be said again whole.
            committer.writer.rollback()?;
            committer.unsure = true;
            return Err(e);
        }
        committer.done.clone_from(&pending.doomed);
        committer.unsure = false;
        let snapshot = self.words.snapshot()?;
        self.meaning.write().unwrap_or_else(PoisonError::into_inner).extend(vectors);
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
        Ok(())
    }

    /// The descriptors whose documents are to be made: slot, generation, whether there may be one before, and what it says.
    fn to_say(&self, pending: &Pending, batch: &Batch) -> Vec<(u32, u32, bool, Descriptor)> {
        let state = self.read();
        let mut say = Vec::with_capacity(pending.say.len());
        for slot in &pending.say {
            let Some(entry) = state.offers.get(*slot) else { continue };
            let (generation, replaces) = (entry.generation, entry.generation != entry.taken as u32);
            let bytes = match batch.get(&(Table::Descriptors, u64::from(*slot))) {
                Some(bytes) => bytes.clone(),
                None => self.store.get(Table::Descriptors, u64::from(*slot)).ok().flatten(),
            };
            if let Some(descriptor) = bytes.as_deref().and_then(payload_of::<Descriptor>) {
                say.push((*slot, generation, replaces, descriptor));
            }
        }
        say
    }

    fn index(
        &self,
        committer: &mut Committer,
        said: &[(u32, u32, bool, Descriptor)],
        doomed: &BTreeSet<u64>,
        epoch: u64,
    ) -> Result<(), RegistryError> {
        for stamp in doomed {
            self.words.unsay(&committer.writer, *stamp);
        }
        for (slot, generation, replaces, descriptor) in said {
            let replaces = *replaces || committer.unsure;
            self.words.say(&committer.writer, *slot, *generation, descriptor, replaces)?;
        }
        Ok(Words::commit(&mut committer.writer, epoch)?)
    }

    /// Keeps the epoch beside the database too: it outlives one that is damaged.
    pub(crate) fn write_epoch(&self, epoch: u64) -> Result<(), RegistryError> {
        let (path, new) = (self.dir.join("epoch"), self.dir.join("epoch.new"));
        std::fs::write(&new, epoch.to_string()).map_err(io(&new))?;
        std::fs::rename(&new, &path).map_err(io(&path))
    }

    /// How many statements the registry had taken in at its last commit, which is what queries are answered from. It only
    /// grows, over restarts and damage too, and nothing it counts is lost by a killed process.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// What the registry holds.
    pub fn stats(&self) -> Stats {
        let state = self.read();
        Stats {
            providers: state.providers.len(),
            descriptors: state.offers.len(),
            answering: state.answer,
            uncommitted: state.pending.statements,
        }
    }

    /// What was found damaged when the directory was opened, if anything.
    pub fn damage(&self) -> Option<&Damage> {
        self.damage.as_ref()
    }

    /// The descriptors, leases and tombstones held that are alive, to be reconciled with another registry's: 40 bytes each,
    /// and a few tenths of a second for a million. One may serve several runs.
    pub fn holdings(&self, now: u64) -> Holdings {
        let items: Vec<_> = self.read().alive(now).map(|(exp, id)| Item { exp, id }).collect();
        Holdings::new(items)
    }

    /// The statements of these digests, as they were signed, for a registry that lacks them; those not held are left out. The
    /// caller bounds how many it asks for.
    pub fn statements(&self, ids: &[Digest]) -> Vec<Vec<u8>> {
        let state = self.read();
        let found = ids.iter().filter_map(|id| {
            let bytes = self.bytes(&state, state.place_of(id)?)?;
            (actum_model::id::sha256(&bytes) == *id).then_some(bytes)
        });
        found.collect()
    }

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

    /// The offer in a slot, both halves verified, now or lately. A half that is not what was taken in is noted as damaged.
    pub(crate) fn offer_at(
        &self,
        state: &State,
        slot: u32,
        now: u64,
        damaged: &mut Vec<Damaged>,
    ) -> Option<LiveOffer> {
        let (entry, _, lease) = state.callable(slot, now)?;
        let (id, lease_id, provider) = (entry.id, lease.id, entry.provider);
        let known = lock(&self.recent).descriptor(&id);
        let descriptor = known.or_else(|| {
            let place = Place::Descriptor(slot);
            let fresh = self.verified::<Descriptor>(state, place, &id, damaged)?;
            lock(&self.recent).put_descriptor(id, Arc::clone(&fresh));
            Some(fresh)
        });
        let known = lock(&self.recent).lease(&lease_id);
        let lease = known.or_else(|| {
            let fresh = self.verified::<Lease>(state, Place::Lease(provider), &lease_id, damaged)?;
            lock(&self.recent).put_lease(lease_id, Arc::clone(&fresh));
            Some(fresh)
        });
        LiveOffer::of(descriptor?, lease?, now).ok().flatten()
    }

    fn verified<T: Statement>(
        &self,
        state: &State,
        place: Place,
        id: &Digest,
        damaged: &mut Vec<Damaged>,
    ) -> Option<Arc<Signed<T>>> {
        let bytes = self.bytes(state, place).filter(|bytes| actum_model::id::sha256(bytes) == *id);
        let statement = bytes.and_then(|bytes| Signed::verify(&bytes).ok());
        if statement.is_none() {
            damaged.push((place, *id));
        }
        statement.map(Arc::new)
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

/// Where a statement should be, and which.
pub(crate) type Damaged = (Place, Digest);

impl Fetch for Registry {
    fn bytes(&self, state: &State, place: Place) -> Option<Vec<u8>> {
        Registry::bytes(self, state, place)
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing here leaves half a change behind: what panicked did not happen, or is said again by the next commit.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> RegistryError + '_ {
    move |source| RegistryError::Io { path: path.to_owned(), source }
}

/// What a stored envelope says, without its signature being looked at: for words and vectors, never for an answer.
pub(crate) fn payload_of<T: Statement>(bytes: &[u8]) -> Option<T> {
    // An envelope is an array of a 64-byte signature and a map of the header and the payload.
    let signed = bytes.get(3 + 64..)?;
    let tag = codec::encode(T::TAG);
    let at = signed.windows(tag.len()).take(64).position(|window| window == tag)?;
    codec::decode(signed.get(at + tag.len()..)?, T::MAX_BYTES).ok()
}
