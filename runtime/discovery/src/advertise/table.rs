//! The peers around one key that may be its registrars, by distance.

use super::{
    Key, LocalAddresses, Peer,
    limits::{BACK_OFF_MS, BUCKETS, MAX_FAILURES, TABLE_BUCKET, TABLE_PER_PREFIX},
};
use actum_model::Did;
use rand_core::Rng;

/// What became of a peer that was to be taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It was not known.
    New,
    /// It took the place of one that had failed.
    Replaced,
    /// It was known.
    Known,
    /// Two peers of its prefix are in its bucket.
    PrefixFull,
    /// Its bucket is full of peers that have not failed.
    BucketFull,
}

#[derive(Clone, Debug)]
struct Candidate {
    peer: Peer,
    failures: u8,
    /// Not asked before this time, in milliseconds.
    not_before: u64,
}

/// Candidates around one key: at most 20 a bucket, two of them of one /24 or /48.
///
/// Whoever is in stays until it fails five times or, once it has failed, until another wants its place: peers that come later,
/// however many, do not drive out those that answer.
#[derive(Clone, Debug)]
pub struct Table {
    key: Key,
    local: LocalAddresses,
    buckets: [Vec<Candidate>; BUCKETS],
}

impl Table {
    /// An empty table around a key.
    pub fn new(key: Key, local: LocalAddresses) -> Self {
        Self { key, local, buckets: Default::default() }
    }

    /// The key in the middle.
    pub fn key(&self) -> Key {
        self.key
    }

    /// Takes up a peer: one of the routing table, or one named in an answer.
    pub fn add(&mut self, peer: &Peer) -> Added {
        let prefix = self.local.prefix(peer.ip());
        let Some(bucket) = self.buckets.get_mut(self.key.bucket(peer.place())) else {
            return Added::BucketFull;
        };
        if bucket.iter().any(|c| c.peer.did() == peer.did()) {
            return Added::Known;
        }
        let of_prefix = |c: &&Candidate| prefix.is_some() && self.local.prefix(c.peer.ip()) == prefix;
        if bucket.iter().filter(of_prefix).count() >= TABLE_PER_PREFIX {
            return Added::PrefixFull;
        }
        let candidate = Candidate { peer: peer.clone(), failures: 0, not_before: 0 };
        if bucket.len() < TABLE_BUCKET {
            bucket.push(candidate);
            return Added::New;
        }
        match bucket.iter_mut().filter(|c| c.failures > 0).max_by_key(|c| c.failures) {
            Some(failed) => {
                *failed = candidate;
                Added::Replaced
            }
            None => Added::BucketFull,
        }
    }

    /// A peer has answered.
    pub fn answered(&mut self, peer: &Peer) {
        if let Some(candidate) = self.find(peer) {
            candidate.failures = 0;
            candidate.not_before = 0;
        }
    }

    /// A peer has not answered, or not as it should: it is left alone for a while that doubles, and leaves after the
    /// fifth time. `now` is in milliseconds.
    pub fn failed(&mut self, peer: &Peer, now: u64) {
        let Some(candidate) = self.find(peer) else { return };
        candidate.not_before = now.saturating_add(BACK_OFF_MS << candidate.failures.min(MAX_FAILURES));
        candidate.failures += 1;
        if candidate.failures >= MAX_FAILURES
            && let Some(bucket) = self.buckets.get_mut(self.key.bucket(peer.place()))
        {
            bucket.retain(|c| c.peer.did() != peer.did());
        }
    }

    /// A peer of a bucket at random, not backing off and not one to skip.
    pub fn pick(
        &self,
        bucket: usize,
        now: u64,
        rng: &mut impl Rng,
        skip: impl Fn(&Did) -> bool,
    ) -> Option<Peer> {
        let free = self.buckets.get(bucket)?.iter();
        one_of(free.filter(|c| c.not_before <= now && !skip(c.peer.did())), rng).map(|c| c.peer.clone())
    }

    /// How many peers a bucket has.
    pub fn in_bucket(&self, bucket: usize) -> usize {
        self.buckets.get(bucket).map_or(0, Vec::len)
    }

    /// How many peers there are.
    pub fn len(&self) -> usize {
        self.buckets.iter().map(Vec::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.buckets.iter().all(Vec::is_empty)
    }

    fn find(&mut self, peer: &Peer) -> Option<&mut Candidate> {
        let bucket = self.buckets.get_mut(self.key.bucket(peer.place()))?;
        bucket.iter_mut().find(|c| c.peer.did() == peer.did())
    }
}

/// The peers to name in an answer about a key: of those known, one of each bucket, at random. More would let one answer fill
/// a table.
pub fn closer_peers<'a>(
    key: &Key,
    known: impl IntoIterator<Item = &'a Peer>,
    rng: &mut impl Rng,
) -> Vec<Peer> {
    let mut drawn: [(u64, Option<&Peer>); BUCKETS] = [(0, None); BUCKETS];
    for peer in known {
        let Some((seen, one)) = drawn.get_mut(key.bucket(peer.place())) else { continue };
        *seen += 1;
        if below(rng, *seen) == 0 {
            *one = Some(peer);
        }
    }
    drawn.into_iter().filter_map(|(_, peer)| peer.cloned()).collect()
}

/// Of the peers an answer names, those to take up: at most one of each bucket, the first.
pub(crate) fn one_a_bucket<'a>(key: &Key, named: &'a [Peer]) -> impl Iterator<Item = &'a Peer> {
    let mut had = [false; BUCKETS];
    named.iter().filter(move |peer| match had.get_mut(key.bucket(peer.place())) {
        Some(had) => !std::mem::replace(had, true),
        None => false,
    })
}

/// One of several at random, each as likely.
pub(crate) fn one_of<T>(several: impl Iterator<Item = T>, rng: &mut impl Rng) -> Option<T> {
    let mut one = None;
    for (seen, item) in (1..).zip(several) {
        if below(rng, seen) == 0 {
            one = Some(item);
        }
    }
    one
}

/// A number below `n`, or 0. Its bias, of n in 2^64, is nothing beside what it is for.
pub(crate) fn below(rng: &mut impl Rng, n: u64) -> u64 {
    if n <= 1 {
        return 0;
    }
    ((u128::from(rng.next_u64()) * u128::from(n)) >> 64) as u64
}
