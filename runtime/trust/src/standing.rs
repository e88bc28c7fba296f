//! What is held for and against each provider, counted from verdicts.

use actum_model::{Did, Judgement, ReceiptId, Signed, Verdict};
use std::collections::{BTreeMap, BTreeSet};

/// What the verdicts on one provider's receipts add up to. A receipt counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Receipts that re-execution confirmed.
    pub identical: u64,
    /// Receipts that re-execution refuted.
    pub diverged: u64,
    /// Receipts that could not be tried: neither for nor against.
    pub not_replayable: u64,
}

impl Standing {
    /// Whether the provider is not to be asked again: one refuted receipt is enough, for nothing but a lie or a broken
    /// machine makes one.
    pub fn excluded(&self) -> bool {
        self.diverged > 0
    }
}

/// How much a verdict weighs where several are on one receipt: the last one here wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    NotReplayable,
    Identical,
    Diverged,
}

/// The standing of every provider that was judged, by verifiers that are believed.
///
/// Anyone can sign a verdict, so a stranger's counts for nothing: else one lie would exclude an honest provider. The
/// same verdicts in any order, repeated or not, give the same standings.
#[derive(Clone, Debug, Default)]
pub struct Standings {
    believed: BTreeSet<Did>,
    judged: BTreeMap<Did, BTreeMap<ReceiptId, Weight>>,
}

impl Standings {
    /// No verdicts yet. `believed` are the verifiers whose verdicts count: oneself, and whom one's owner names.
    pub fn new(believed: impl IntoIterator<Item = Did>) -> Self {
        Self { believed: believed.into_iter().collect(), judged: BTreeMap::new() }
    }

    /// Counts a verdict; `false` when its verifier is not believed.
    pub fn count(&mut self, verdict: &Signed<Verdict>) -> bool {
        let verdict = verdict.payload();
        if !self.believed.contains(&verdict.iss) {
            return false;
        }
        let weight = match verdict.judgement {
            Judgement::Identical => Weight::Identical,
            Judgement::Diverged(_) => Weight::Diverged,
            Judgement::NotReplayable(_) => Weight::NotReplayable,
        };
        let receipts = self.judged.entry(verdict.provider).or_default();
        let held = receipts.entry(verdict.receipt).or_insert(weight);
        *held = weight.max(*held);
        true
    }

    /// A provider's standing. One that was never judged has none of anything.
    pub fn of(&self, provider: &Did) -> Standing {
        let mut standing = Standing::default();
        for weight in self.judged.get(provider).into_iter().flat_map(BTreeMap::values) {
            match weight {
                Weight::Identical => standing.identical += 1,
                Weight::Diverged => standing.diverged += 1,
                Weight::NotReplayable => standing.not_replayable += 1,
            }
        }
        standing
    }
}
