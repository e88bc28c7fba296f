//! The best of what matches and can be called now, in one pass over the index.
//!
//! Whether a match is alive, fulfils the numbers and answered its probe is asked of each match while the library walks its
//! lists, so nothing dead takes the place of something alive, however much of it there is; and once enough is found the
//! library skips whatever cannot score better.

use crate::{
    state::{Digest, Entry, Leased, Probed, Provider, State},
    words::{Numbers, Snapshot},
};
use actum_discovery::{Readiness, turn};
use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
};
use tantivy::query::{EnableScoring, Query};

/// Where an offer stands among others of its kind; the least comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    /// By name, the first letters of it. 0 where words rank.
    name: u64,
    /// By version or by score, the highest first.
    pub(crate) high: Reverse<u64>,
    ready: Readiness,
    /// Among equals, another for each query.
    turn: u64,
    provider: Digest,
    release: Digest,
}

impl Rank {
    pub(crate) fn of(
        (entry, provider, lease): (&Entry, &Provider, &Leased),
        name: u64,
        high: u64,
        query: &actum_model::Query,
    ) -> Self {
        let (ready, turn) = (lease.readiness(), turn(query, &provider.did));
        let provider = *provider.did.as_bytes();
        Self { name, high: Reverse(high), ready, turn, provider, release: entry.release }
    }
}

/// The best so many, those whose provider answered its probe apart from those not probed yet.
#[derive(Debug)]
pub(crate) struct Best {
    most: usize,
    pub(crate) answering: BinaryHeap<(Rank, u32)>,
    pub(crate) unprobed: BinaryHeap<(Rank, u32)>,
}

impl Best {
    pub(crate) fn new(most: usize) -> Self {
        Self { most: most.max(1), answering: BinaryHeap::new(), unprobed: BinaryHeap::new() }
    }

    fn insert(&mut self, answers: bool, rank: Rank, slot: u32) {
        let most = self.most;
        let heap = if answers { &mut self.answering } else { &mut self.unprobed };
        if heap.len() < most {
            heap.push((rank, slot));
        } else if let Some(mut worst) = heap.peek_mut()
            && rank < worst.0
        {
            *worst = (rank, slot);
        }
    }

    /// The score that a heap asks for; nothing while there is room.
    fn asks(&self, answers: bool) -> Option<u64> {
        let heap = if answers { &self.answering } else { &self.unprobed };
        let full = heap.len() >= self.most;
        heap.peek().filter(|_| full).map(|(rank, _)| rank.high.0)
    }
}

/// Thousandths, as `actum_discovery::Match::score` has them.
fn thousandths(score: f32) -> u64 {
    (score * 1000.0) as u64
}

/// One search in progress.
pub(crate) struct Collect<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) state: &'a State,
    pub(crate) numbers: &'a Numbers,
    pub(crate) asked: &'a actum_model::Query,
    pub(crate) now: u64,
}

impl Collect<'_> {
    /// Whether an offer takes part, as far as its numbers and its life go.
    fn takes_part(&self, stamp: u64) -> Option<(u32, (&Entry, &Provider, &Leased))> {
        let slot = stamp as u32;
        let found = self.state.callable(slot, self.now)?;
        let entry = found.0;
        let same = u64::from(entry.generation) == stamp >> 32;
        (same && entry.probed != Probed::Silent).then_some((slot, found))
    }

    /// The best by words. `exact` are left out.
    pub(crate) fn ranked(
        &self,
        query: &dyn Query,
        exact: &BTreeSet<u32>,
        best: &mut Best,
    ) -> tantivy::Result<()> {
        let searcher = &self.snapshot.searcher;
        let weight = query.weight(EnableScoring::enabled_from_searcher(searcher))?;
        let threshold = |best: &Best| {
            // While fewer answer than are asked for, any that does is wanted, whatever it scores; where none does at all,
            // there is nothing to wait for.
            let asked = match best.asks(true) {
                Some(asked) => Some(asked),
                None if self.state.answer == 0 => best.asks(false),
                None => None,
            };
            // Equals are let through: they may have room. A hair lower still, for what rounding took.
            asked.map_or(f32::MIN, |asked| asked as f32 / 1000.0 * (1.0 - 1e-5))
        };
        for (segment, columns) in searcher.segment_readers().iter().zip(&self.snapshot.columns) {
            let deleted = segment.alive_bitset();
            weight.for_each_pruning(threshold(best), segment, &mut |doc, score| {
                let score = thousandths(score);
                if deleted.is_some_and(|alive| alive.is_deleted(doc)) {
                    return threshold(best);
                }
                let stamp = columns.stamp.first(doc).unwrap_or_default();
                let answers = self.state.answers(stamp as u32);
                let hopeless = best.asks(answers).is_some_and(|asked| score < asked);
                if !hopeless
                    && self.numbers.hold(columns, doc)
                    && let Some((slot, found)) = self.takes_part(stamp)
                    && !exact.contains(&slot)
                {
                    best.insert(answers, Rank::of(found, 0, score, self.asked), slot);
                }
                threshold(best)
            })?;
        }
        Ok(())
    }

    /// The best of the first `most` that match, by name and version, and, if `keep`, the slots of those that match.
    pub(crate) fn exact(
        &self,
        query: &dyn Query,
        most: usize,
        keep: bool,
        best: &mut Best,
    ) -> tantivy::Result<BTreeSet<u32>> {
        let searcher = &self.snapshot.searcher;
        let weight = query.weight(EnableScoring::disabled_from_searcher(searcher))?;
        let mut slots = BTreeSet::new();
        let mut looked_at = 0;
        for (segment, columns) in searcher.segment_readers().iter().zip(&self.snapshot.columns) {
            let mut docs = weight.scorer(segment, 1.0)?;
            let deleted = segment.alive_bitset();
            let mut doc = docs.doc();
            while doc != tantivy::TERMINATED && looked_at < most {
                looked_at += 1;
                if deleted.is_none_or(|alive| alive.is_alive(doc))
                    && self.numbers.hold(columns, doc)
                    && let Some((slot, found)) = self.takes_part(columns.stamp.first(doc).unwrap_or_default())
                {
                    let name = columns.name.first(doc).unwrap_or_default();
                    let version = columns.version.first(doc).unwrap_or_default();
                    let rank = Rank::of(found, name, version, self.asked);
                    best.insert(found.0.probed == Probed::Answers, rank, slot);
                    if keep {
                        slots.insert(slot);
                    }
                }
                doc = docs.advance();
            }
        }
        Ok(slots)
    }
}
