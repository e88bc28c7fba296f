//! The registry: statements in, statements out, and what is made durable when.

use crate::{
    Damage, Embedder, RegistryError, RegistryLimits,
    commit::Committer,
    limits::PROBE_SCAN,
    meaning::Meaning,
    probes::Turn,
    recent::Recent,
    room::Room,
    state::{Digest, Place, Probed, State, digest},
    store::Store,
    words::{Snapshot, Words},
};
use actum_discovery::{
    LiveOffer, Observed, Probe, Refused, alive,
    reconcile::{Holdings, Item, StatementDigest},
};
use actum_model::{Descriptor, Did, EnvelopeError, Lease, Offer, ReleaseId, Signed, Statement, Tombstone};
use std::{
    fs::File,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
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
    /// After which turn [`Registry::to_probe`] goes on, for each kind.
    pub(crate) probe_from: Mutex<[Turn; 3]>,
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
    /// Where the registry is full, what did not answer a probe makes room for a newcomer, or else what was never probed, the
    /// oldest first.
    ///
    /// # Errors
    /// [`RegistryError::Refused`] where the statement is; otherwise the commit failed, and will be tried again.
    pub fn observe(&self, bytes: &[u8], now: u64) -> Result<Observed, RegistryError> {
        self.observe_in(bytes, Room::OfUnproven, now)
    }

    /// As [`Registry::observe`], of what another registry has: where this one is full, only what did not answer a probe makes
    /// room for it.
    ///
    /// # Errors
    /// As [`Registry::observe`].
    pub fn observe_from_registry(&self, bytes: &[u8], now: u64) -> Result<Observed, RegistryError> {
        self.observe_in(bytes, Room::OfSilent, now)
    }

    fn observe_in(&self, bytes: &[u8], room: Room, now: u64) -> Result<Observed, RegistryError> {
        let refused = |e: EnvelopeError| Refused::from(e);
        match Signed::<Descriptor>::verify(bytes) {
            Ok(descriptor) => self.taken(|state| state.take_descriptor(&descriptor, room, now, self)),
            Err(EnvelopeError::WrongTag { found, .. }) if found == Lease::TAG => {
                let lease = Signed::<Lease>::verify(bytes).map_err(refused)?;
                self.taken(|state| state.take_lease(&lease, room, now, self))
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
        self.taken(|state| state.take_descriptor(descriptor, Room::OfUnproven, now, self))
    }

    /// Takes in a verified lease. No document changes.
    ///
    /// # Errors
    /// As [`Registry::observe`].
    pub fn observe_lease(&self, lease: &Signed<Lease>, now: u64) -> Result<Observed, RegistryError> {
        self.taken(|state| state.take_lease(lease, Room::OfUnproven, now, self))
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

    /// Says how a probe of the offer with this descriptor ended. An offer is found while its last was answered or there was
    /// none; those that answered come first. Gives back whether there is such an offer still: what a provider answered for one
    /// descriptor says nothing of another that came meanwhile.
    pub fn probe_result(&self, descriptor: &StatementDigest, ended: Probe, now: u64) -> bool {
        let mut state = self.write();
        let Some(Place::Descriptor(slot)) = state.place_of(descriptor) else { return false };
        if state.offers.get(slot).is_none_or(|entry| entry.id != *descriptor) {
            return false;
        }
        state.probe_ended(slot, ended, now);
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

    /// An offer that can be called now and whose probe is due: one never probed, or else one that answered, or else one that did
    /// not; each kind in the order in which they are due, call by call, and going round until a result is told.
    /// `may` says whether this provider, at this IP address if its lease has any, may be probed now. One call looks at some
    /// 65,000 offers of each kind at most, so none is not yet the end.
    pub fn to_probe(&self, now: u64, may: impl Fn(&Did, Option<IpAddr>) -> bool) -> Option<LiveOffer> {
        let mut damaged = Vec::new();
        let offer = {
            let (state, mut turns) = (self.read(), lock(&self.probe_from));
            let kinds = [Probed::Never, Probed::Answers, Probed::Silent];
            kinds.into_iter().zip(turns.iter_mut()).find_map(|(kind, last)| {
                let mut due = state.probes.due(kind, *last, now).take(PROBE_SCAN);
                due.find_map(|turn| {
                    *last = turn;
                    let (_, provider, lease) = state.callable(turn.1, now)?;
                    may(&provider.did, lease.ip).then(|| self.offer_at(&state, turn.1, now, &mut damaged))?
                })
            })
        };
        self.drop_damaged(&damaged);
        offer
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
