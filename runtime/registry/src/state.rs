//! What is kept in memory of every offer and every provider: enough to say what is alive, and no words.
//!
//! A lease's refresh changes one provider here and touches no document: whether an offer can be called is decided when it is
//! asked for. An offer keeps its slot for as long as its provider offers that release, whatever it says of it.

use crate::{
    RegistryLimits,
    probes::Probes,
    slab::Slab,
    store::{Batch, Table},
};
pub(crate) use actum_discovery::Probed;
use actum_discovery::{Readiness, advertise::Peer, alive};
use actum_model::{Descriptor, Did, Lease, ReleaseId};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

/// The digest in an id.
pub(crate) type Digest = [u8; 32];

/// The digest in a release's id.
pub(crate) fn digest(release: &ReleaseId) -> Digest {
    // Every id is of 32 bytes.
    release.digest().try_into().unwrap_or_default()
}

/// One provider's offer of one release.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) provider: u32,
    /// Which use of its slot this is.
    pub(crate) generation: u32,
    pub(crate) release: Digest,
    /// The descriptor's.
    pub(crate) id: Digest,
    pub(crate) seq: u64,
    pub(crate) nbf: u64,
    pub(crate) exp: u64,
    /// At which epoch it last said something else: later than the index's, and its document is to be made again.
    pub(crate) taken: u64,
    /// A hash of all it says but its number and times.
    pub(crate) said: u64,
    pub(crate) probed: Probed,
    /// When it is to be probed next. In memory only.
    pub(crate) probe_at: u64,
    /// Probes since the last that was answered. In memory only.
    pub(crate) tries: u8,
}

/// A provider's lease.
#[derive(Clone, Debug)]
pub(crate) struct Leased {
    pub(crate) id: Digest,
    pub(crate) seq: u64,
    pub(crate) nbf: u64,
    pub(crate) exp: u64,
    pub(crate) descriptors_seq: u64,
    pub(crate) load: u32,
    pub(crate) capacity: u32,
    /// The IP address that it counts by. In memory only.
    pub(crate) ip: Option<IpAddr>,
}

/// The IP address that a provider counts by, of those its lease has: what [`Registry::to_probe`](crate::Registry::to_probe)
/// asks by.
pub fn ip_of(lease: &Lease) -> Option<IpAddr> {
    Peer::named(lease.iss, lease.addrs.clone()).ok().map(|peer| peer.ip())
}

/// A tombstone, of one release or of the whole provider.
#[derive(Clone, Debug)]
pub(crate) struct Buried {
    pub(crate) key: u32,
    pub(crate) of: Option<Digest>,
    pub(crate) id: Digest,
    pub(crate) seq: u64,
    pub(crate) nbf: u64,
    pub(crate) exp: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Provider {
    pub(crate) did: Did,
    /// Which use of its place this is.
    pub(crate) generation: u32,
    pub(crate) lease: Option<Leased>,
    /// The slots of its offers, in the order they came.
    pub(crate) offers: Vec<u32>,
    pub(crate) buried: Vec<Buried>,
    /// Whether it stands among the ends.
    pub(crate) ends: bool,
    /// Where it stands among those that make room, once that is known.
    pub(crate) standing: Option<Probed>,
}

/// Where a statement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Descriptor(u32),
    Lease(u32),
    Tombstone(u32),
}

/// Something that may be over at a known minute.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    Offer { slot: u32, generation: u32 },
    Provider { place: u32, generation: u32 },
}

/// Names one document in the index: a slot, and which use of it.
pub(crate) fn stamp(slot: u32, generation: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(slot)
}

/// What was changed since the last commit.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    pub(crate) batch: Batch,
    /// Slots whose documents are to be made again, and of what; where nothing, of the statement on disk.
    pub(crate) say: BTreeMap<u32, Option<Arc<Descriptor>>>,
    /// Documents to be deleted, by stamp.
    pub(crate) doomed: BTreeSet<u64>,
    /// Statements taken in.
    pub(crate) statements: usize,
}

impl Pending {
    pub(crate) fn is_empty(&self) -> bool {
        self.batch.is_empty() && self.say.is_empty() && self.doomed.is_empty()
    }

    /// Takes back what could not be committed, where nothing newer was said.
    pub(crate) fn absorb(&mut self, mut older: Self) {
        older.batch.append(&mut self.batch);
        older.say.append(&mut self.say);
        older.doomed.append(&mut self.doomed);
        older.statements += self.statements;
        *self = older;
    }
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) limits: RegistryLimits,
    pub(crate) providers: Slab<Provider>,
    pub(crate) by_did: BTreeMap<Did, u32>,
    pub(crate) offers: Slab<Entry>,
    /// The keys of tombstones.
    pub(crate) graves: Slab<()>,
    /// Where a statement is, by the first bytes of its digest. Never iterated. Who grinds two ids that begin alike hides
    /// one of his own statements from those who fetch by id.
    ids: HashMap<u64, Place>,
    pub(crate) ends: BTreeMap<u64, Vec<Ending>>,
    /// How many those are.
    pub(crate) endings: usize,
    pub(crate) probes: Probes,
    /// The slots whose provider answered its last probe, a bit each: looked at for every match, so it has to be small.
    answering: Vec<u64>,
    /// How many those are.
    pub(crate) answer: usize,
    /// Statements taken in, ever.
    pub(crate) epoch: u64,
    pub(crate) pending: Pending,
    /// What is being committed, to be read meanwhile.
    pub(crate) committing: Option<Arc<Batch>>,
}

impl State {
    pub(crate) fn new(limits: RegistryLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    pub(crate) fn put(&mut self, table: Table, key: u32, value: Vec<u8>) {
        self.pending.batch.insert((table, u64::from(key)), Some(value));
    }

    pub(crate) fn delete(&mut self, table: Table, key: u32) {
        self.pending.batch.insert((table, u64::from(key)), None);
    }

    /// What a table holds beyond the database: bytes, or nothing any more. Outer `None`: what the database says.
    pub(crate) fn unwritten(&self, table: Table, key: u32) -> Option<Option<Vec<u8>>> {
        let key = (table, u64::from(key));
        let committing = || self.committing.as_ref().and_then(|batch| batch.get(&key));
        self.pending.batch.get(&key).or_else(committing).cloned()
    }

    /// The provider's offer of a release, and its slot.
    pub(crate) fn offer_of(&self, provider: &Did, release: &Digest) -> Option<(u32, &Entry)> {
        let provider = self.providers.get(*self.by_did.get(provider)?)?;
        let mut held = provider.offers.iter().filter_map(|slot| Some((*slot, self.offers.get(*slot)?)));
        held.find(|(_, entry)| entry.release == *release)
    }

    /// The offer and its provider, if it can be called now: both halves are alive, the lease covers the descriptor, and no
    /// probe went unanswered since one was answered.
    pub(crate) fn callable(&self, slot: u32, now: u64) -> Option<(&Entry, &Provider, &Leased)> {
        let entry = self.offers.get(slot)?;
        let provider = self.providers.get(entry.provider)?;
        let lease = provider.lease.as_ref()?;
        let lives = alive(entry.nbf, entry.exp, now).is_ok()
            && alive(lease.nbf, lease.exp, now).is_ok()
            && entry.seq >= lease.descriptors_seq;
        lives.then_some((entry, provider, lease))
    }

    /// Marks a slot as one whose provider answers, or as one whose does not.
    pub(crate) fn mark(&mut self, slot: u32, answers: bool) {
        let (word, bit) = (slot as usize / 64, 1_u64 << (slot % 64));
        if self.answering.len() <= word {
            self.answering.resize(word + 1, 0);
        }
        let Some(word) = self.answering.get_mut(word) else { return };
        match (*word & bit != 0, answers) {
            (false, true) => (*word, self.answer) = (*word | bit, self.answer + 1),
            (true, false) => (*word, self.answer) = (*word & !bit, self.answer - 1),
            _ => {}
        }
    }

    pub(crate) fn answers(&self, slot: u32) -> bool {
        self.answering.get(slot as usize / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    pub(crate) fn note_id(&mut self, id: &Digest, place: Place) {
        self.ids.insert(first(id), place);
    }

    pub(crate) fn forget_id(&mut self, id: &Digest, place: Place) {
        if self.ids.get(&first(id)) == Some(&place) {
            self.ids.remove(&first(id));
        }
    }

    pub(crate) fn place_of(&self, id: &Digest) -> Option<Place> {
        self.ids.get(&first(id)).copied()
    }

    /// When each statement expires, and which it is, for those that are alive.
    pub(crate) fn alive(&self, now: u64) -> impl Iterator<Item = (u64, Digest)> {
        let descriptors = self.offers.iter().map(|(_, e)| (e.exp, e.id));
        let others = self.providers.iter().flat_map(|(_, p)| {
            let lease = p.lease.iter().map(|l| (l.exp, l.id));
            lease.chain(p.buried.iter().map(|b| (b.exp, b.id)))
        });
        descriptors.chain(others).filter(move |(exp, _)| *exp > now)
    }
}

impl Leased {
    pub(crate) fn readiness(&self) -> Readiness {
        Readiness { load: self.load, capacity: self.capacity }
    }
}

/// The first bytes of a digest.
pub(crate) fn first(id: &Digest) -> u64 {
    id.first_chunk::<8>().map_or(0, |first| u64::from_be_bytes(*first))
}
