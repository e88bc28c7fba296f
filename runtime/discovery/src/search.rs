//! Answering a query: exact matches first, then by words.

use crate::{Index, LiveOffer, Ranker, WordRanker};
use actum_model::{CapabilityName, ComponentId, Query, ReleaseId, name::split_version};
use semver::Version;
use std::cmp::Reverse;

/// An offer that answers a query, and why.
#[derive(Clone, Debug)]
pub struct Found {
    /// The offer.
    pub offer: LiveOffer,
    /// Why it answers.
    pub why: Why,
    /// How well its words match, as [`crate::Match::score`]; 0 where the match is exact.
    pub score: u64,
}

/// Why an offer answers a query. The first that applies, best first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The query is its release's id.
    Release,
    /// The query is its component's id.
    Component,
    /// The query is its name and version.
    NameVersion,
    /// The query is its name.
    Name,
    /// These words of the query occur in it, or a synonym does.
    Words(Vec<String>),
    /// The query is empty: everything answers.
    Everything,
}

/// What a query's text means.
enum Wanted {
    Release(ReleaseId),
    Component(ComponentId),
    NameVersion(CapabilityName, Version),
    Name(CapabilityName),
    Words,
    Everything,
}

impl Wanted {
    fn of(text: &str) -> Self {
        let text = text.trim();
        if text.is_empty() {
            return Self::Everything;
        }
        if let Ok(release) = text.parse() {
            return Self::Release(release);
        }
        if let Ok(component) = text.parse() {
            return Self::Component(component);
        }
        let (name, version) = split_version(text);
        match (name.parse(), version) {
            (Ok(name), Some(version)) => Self::NameVersion(name, version),
            (Ok(name), None) => Self::Name(name),
            _ => Self::Words,
        }
    }

    /// Why this offer answers exactly, if it does.
    fn exactly(&self, offer: &LiveOffer) -> Option<Why> {
        let d = offer.descriptor.payload();
        match self {
            Self::Release(id) => (d.release == *id).then_some(Why::Release),
            Self::Component(id) => (d.component == *id).then_some(Why::Component),
            Self::NameVersion(n, v) => (d.name == *n && d.version == *v).then_some(Why::NameVersion),
            Self::Name(name) => (d.name == *name).then_some(Why::Name),
            Self::Words => None,
            Self::Everything => Some(Why::Everything),
        }
    }
}

impl Index {
    /// The offers that answer a query and can be called now, best first, at most `query.limit`.
    ///
    /// A release id, a component id or a `name@version` finds exactly that. A name finds what is so called, highest
    /// version first, then what its words match. Anything else is plain words; nothing at all finds everything. Equals
    /// come in the order of their load, then of their provider's id: the answer depends on nothing but the index.
    pub fn search(&self, query: &Query, now: u64) -> Vec<Found> {
        self.search_with(&WordRanker, query, now)
    }

    /// As [`Index::search`], with another ranker for plain words.
    pub fn search_with(&self, ranker: &impl Ranker, query: &Query, now: u64) -> Vec<Found> {
        let wanted = Wanted::of(&query.text);
        let (exact, rest): (Vec<_>, Vec<_>) =
            self.offers(now).into_iter().partition(|offer| wanted.exactly(offer).is_some());
        let exact = exact.into_iter().filter_map(|offer| {
            let why = wanted.exactly(&offer)?;
            Some(Found { offer, why, score: 0 })
        });
        let mut found: Vec<_> = exact.collect();
        found.sort_by(|a, b| {
            by_name(&a.offer).cmp(&by_name(&b.offer)).then_with(|| a.offer.by_readiness(&b.offer))
        });
        if let Wanted::Name(_) | Wanted::Words = wanted {
            let matches = ranker.rank(&query.text, &rest).into_iter().filter_map(|m| {
                Some(Found { offer: rest.get(m.offer)?.clone(), why: Why::Words(m.words), score: m.score })
            });
            let mut matches: Vec<_> = matches.collect();
            matches.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| a.offer.by_readiness(&b.offer)));
            found.append(&mut matches);
        }
        found.truncate(usize::try_from(query.limit).unwrap_or(usize::MAX));
        found
    }
}

/// By name, the highest version first.
fn by_name(offer: &LiveOffer) -> (&CapabilityName, Reverse<&Version>) {
    let d = offer.descriptor.payload();
    (&d.name, Reverse(&d.version))
}
