//! Tier 3: the same action at several providers who have nothing to do with one another, and what follows if they differ.

use crate::{Chosen, Effect};
use actum_model::{Did, Outcome, codec, id::sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// From how long on a replica that did not answer is late: with less, nobody could have.
const FAIR: Duration = Duration::from_secs(5);

/// Whether a replica that has this long has about as long as any provider, of all that the action may take.
pub fn fair(left: Duration, whole: Duration) -> bool {
    left >= whole.min(FAIR)
}

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

/// What replicas' answers come to before any of them is replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Considered {
    /// One alone answered, or none.
    Alone {
        /// Whether replay can take the others' place: of what the world said, one alone is not believed.
        replay: bool,
    },
    /// Several did.
    Several {
        /// Who say the same, and are more than half.
        agreed: Vec<Did>,
        /// Who do not: to be replayed.
        doubted: Vec<Did>,
    },
}

/// Considers what each provider says, in the order they were asked.
pub fn consider(effect: Effect, answers: &[(Did, OutcomeDigest)]) -> Considered {
    if answers.len() < 2 {
        return Considered::Alone { replay: effect == Effect::Pure };
    }
    let doubted = match compare(answers) {
        Agreement::All => Vec::new(),
        Agreement::Majority { minority } => minority,
        Agreement::Split => answers.iter().map(|(provider, _)| *provider).collect(),
    };
    let mut agreed: Vec<Did> = Vec::new();
    for (provider, _) in answers {
        if !doubted.contains(provider) && !agreed.contains(provider) {
            agreed.push(*provider);
        }
    }
    Considered::Several { agreed, doubted }
}

/// Whose answer is handed over, after those that are doubted were replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// One that was doubted is true: it is handed over, once those who agreed on something else were replayed as well.
    Proven {
        /// Whose answer it is.
        by: Did,
    },
    /// Those who agree are believed.
    Agreed {
        /// Whose answer it is: of the one that was asked first, where it is among them.
        by: Did,
        /// Whether it is replayed first: it is another's, who was not chosen.
        replay: bool,
    },
    /// No two gave the same answer, and none was confirmed.
    Nobody,
}

/// Settles among those who `agreed`, and the first of the doubted that replay confirmed, which only a pure action's can be:
/// that what the world is said to be replays speaks for nobody.
pub fn settle(first: &Did, agreed: &[Did], proven: Option<Did>) -> Settled {
    if let Some(by) = proven {
        return Settled::Proven { by };
    }
    match agreed.contains(first) {
        true => Settled::Agreed { by: *first, replay: false },
        false => match agreed.first() {
            Some(by) => Settled::Agreed { by: *by, replay: true },
            None => Settled::Nobody,
        },
    }
}
