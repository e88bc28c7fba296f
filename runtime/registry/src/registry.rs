//! The registry: statements in, statements out, and what is made durable when.

use crate::{
    Damage, Embedder, RegistryError, RegistryLimits,
    commit::Committer,
    limits::PROBE_SCAN,
    meaning::Meaning,
    recent::Recent,
    state::{Digest, Probed, State, digest},
    store::Store,
    words::{Snapshot, Words},
};
use actum_discovery::{
    LiveOffer, Observed, Refused, alive,
    reconcile::{Holdings, Item},
};
use actum_model::{Descriptor, Did, EnvelopeError, Lease, Offer, ReleaseId, Signed, Statement, Tombstone};
use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

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
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing here leaves half a change behind: what panicked did not happen, or is said again by the next commit.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> RegistryError + '_ {
    move |source| RegistryError::Io { path: path.to_owned(), source }
}
