//! Tier 3: the same action at several providers who have nothing to do with one another, and what follows if they differ.

use crate::Chosen;
use actum_model::{Did, Outcome, codec, id::sha256};
use std::collections::{BTreeMap, BTreeSet};

/// The places of the first `k` candidates no two of whom share an operator or an address prefix, in their order. Fewer,
/// where there are not so many.
///
/// `operator_of` says who runs a candidate, as far as that is known, and a prefix of its address such as a /24 of IPv4 or a
/// /48 of IPv6. Two without a prefix are told apart by their operators alone.
pub fn independent<T>(
    candidates: &[Chosen<T>],
    operator_of: impl Fn(&Chosen<T>) -> (Did, Option<String>),
    k: usize,
) -> Vec<usize> {
    let (mut operators, mut prefixes) = (BTreeSet::new(), BTreeSet::new());
    let mut places = Vec::new();
    for (n, candidate) in candidates.iter().enumerate() {
        if places.len() >= k {
            break;
        }
        let (operator, prefix) = operator_of(candidate);
        if operators.contains(&operator) || prefix.as_ref().is_some_and(|p| prefixes.contains(p)) {
            continue;
        }
        operators.insert(operator);
        prefixes.extend(prefix);
        places.push(n);
    }
    places
}

/// How an action ended and with what output, in one number to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OutcomeDigest([u8; 32]);

impl OutcomeDigest {
    /// Of an outcome, which names its output by id.
    pub fn of(outcome: &Outcome) -> Self {
        Self(sha256(&codec::encode(outcome)))
    }
}

/// Whether providers agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// All say the same.
    All,
    /// More than half say the same.
    Majority {
        /// Who does not, in the order they were given: to be replayed.
        minority: Vec<Did>,
    },
    /// No answer has more than half: all are to be replayed, and no output is believed until one was confirmed.
    Split,
}

/// Compares what each provider says. A provider counts once; one that says two things is of the minority.
pub fn compare(answers: &[(Did, OutcomeDigest)]) -> Agreement {
    let mut said: BTreeMap<Did, BTreeSet<OutcomeDigest>> = BTreeMap::new();
    for (provider, digest) in answers {
        said.entry(*provider).or_default().insert(*digest);
    }
    let mut votes: BTreeMap<OutcomeDigest, usize> = BTreeMap::new();
    for digests in said.values().filter(|digests| digests.len() == 1) {
        for digest in digests {
            *votes.entry(*digest).or_default() += 1;
        }
    }
    let Some((winner, _)) = votes.into_iter().find(|(_, n)| *n > said.len() / 2) else {
        return Agreement::Split;
    };
    let dissents = |provider: &Did| said.get(provider).is_none_or(|d| d.iter().any(|d| *d != winner));
    let mut minority: Vec<Did> = Vec::new();
    for (provider, _) in answers {
        if dissents(provider) && !minority.contains(provider) {
            minority.push(*provider);
        }
    }
    if minority.is_empty() { Agreement::All } else { Agreement::Majority { minority } }
}
