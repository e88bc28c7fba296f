//! The order in which an asker lists what answers equally well: by what it has seen of each provider itself, by how fresh
//! each one's word is, and now and then a newcomer first.

use crate::{Found, Readiness, Why};
use actum_model::{Did, Lease};
use std::cmp::Reverse;

/// One query in so many puts a provider first of which nothing is known, before those that have shown themselves: else
/// nobody new would ever be tried.
pub const EXPLORE_ONE_IN: u64 = 10;

/// What an asker has of a provider itself, in receipts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Receipts of actions that ended well, or that re-execution confirmed.
    pub good: u64,
    /// Receipts that re-execution refuted.
    pub refuted: u64,
}

impl Record {
    /// Whether the provider has shown that it does what it offers.
    pub fn vouches(&self) -> bool {
        self.good > 0 && self.refuted == 0
    }

    /// 0 for a provider that has shown itself, 1 for a newcomer, 2 for one that lied.
    fn rank(&self) -> u8 {
        match (self.vouches(), self.refuted) {
            (true, _) => 0,
            (false, 0) => 1,
            (false, _) => 2,
        }
    }
}

/// Whether more than half of a lease's life is over: a provider that is well has signed a newer one by then.
fn is_stale(lease: &Lease, now: u64) -> bool {
    let life = lease.exp.saturating_sub(lease.nbf);
    now.saturating_sub(lease.nbf).saturating_mul(2) > life
}

/// Orders what answers a query, `found` being best first: how well it answers decides, and among those that answer about
/// equally well (exactly, with one name and version, or with a score of at least nine tenths of the best of them) what `record` has of
/// their providers: those that have shown themselves, by doublings of their good receipts; then newcomers; last those
/// that lied. Equals come in the order of their leases' freshness, then those that have room.
///
/// `draw` is a random number of this query: in one of [`EXPLORE_ONE_IN`] a newcomer that offers the best release comes first.
pub fn order(found: Vec<Found>, record: &impl Fn(&Did) -> Record, now: u64, draw: u64) -> Vec<Found> {
    let mut ordered: Vec<Found> = Vec::with_capacity(found.len());
    let mut rest = found.into_iter().peekable();
    while let Some(best) = rest.next() {
        let mut equals = vec![best.clone()];
        while let Some(next) = rest.next_if(|next| answers_as_well(&best, next)) {
            equals.push(next);
        }
        sort(&mut equals, record, now);
        if ordered.is_empty() && draw.is_multiple_of(EXPLORE_ONE_IN) {
            explore(&mut equals, record, draw / EXPLORE_ONE_IN);
        }
        ordered.extend(equals);
    }
    ordered
}

/// Whether an offer answers about as well as the best of its kind.
fn answers_as_well(best: &Found, next: &Found) -> bool {
    match (&best.why, &next.why) {
        (Why::Words(_), Why::Words(_)) | (Why::Meaning, Why::Meaning) => {
            next.score.saturating_mul(10) >= best.score.saturating_mul(9)
        }
        (why, next_why) => {
            let version = |f: &Found| {
                let d = f.offer.descriptor().payload();
                (d.name.clone(), d.version.clone())
            };
            why == next_why && version(best) == version(next)
        }
    }
}

fn sort(equals: &mut [Found], record: &impl Fn(&Did) -> Record, now: u64) {
    // Stable: equals keep their rank.
    equals.sort_by_cached_key(|found| {
        let lease = found.offer.lease().payload();
        let record = record(&lease.iss);
        let doublings = if record.vouches() { record.good.ilog2() + 1 } else { 0 };
        (record.rank(), Reverse(doublings.min(8)), is_stale(lease, now), Readiness::of(lease))
    });
}

/// Puts a newcomer first, of the release that is first.
fn explore(equals: &mut [Found], record: &impl Fn(&Did) -> Record, draw: u64) {
    let release = equals.first().map(|found| found.offer.descriptor().payload().release);
    let is_new = |found: &Found| {
        let d = found.offer.descriptor().payload();
        Some(d.release) == release && record(&d.iss).rank() == 1
    };
    let newcomers: Vec<usize> = (0..equals.len()).filter(|n| equals.get(*n).is_some_and(is_new)).collect();
    let Some(count) = u64::try_from(newcomers.len()).ok().filter(|n| *n > 0) else { return };
    let drawn = usize::try_from(draw % count).ok().and_then(|n| newcomers.get(n));
    if let Some(first) = drawn.and_then(|n| equals.get_mut(..=*n)) {
        first.rotate_right(1);
    }
}
