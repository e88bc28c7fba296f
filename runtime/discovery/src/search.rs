//! Answering a query: exact matches first, then by words.

use crate::{Corpus, Index, LiveOffer, Match, Ranker, WordRanker, index::Live};
use actum_model::{CapabilityName, ComponentId, Descriptor, Query, ReleaseId, name::split_version};
use semver::Version;
use std::cmp::{Ordering, Reverse};

/// An offer that answers a query, and why.
#[derive(Clone, Debug)]
pub struct Found {
    /// The offer.
    pub offer: LiveOffer,
    /// Why it answers.
    pub why: Why,
    /// How well its words match, as [`crate::Match::score`]; 0 where the match is exact; how many indexes say so where it is
    /// by meaning.
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
    /// None of the query's words occurs in it, and indexes say that it means the same: at their word.
    Meaning,
    /// The query is empty: everything answers.
    Everything,
}

/// What a query's text means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// What offers this release.
    Release(ReleaseId),
    /// What offers a release of this component.
    Component(ComponentId),
    /// What is so called, in this version.
    NameVersion(CapabilityName, Version),
    /// What is so called, and then what its words match.
    Name(CapabilityName),
    /// What its words match.
    Words,
    /// Nothing in particular.
    Everything,
}

impl Wanted {
    /// Reads a query's text. Every text means something.
    pub fn of(text: &str) -> Self {
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
    pub fn exactly(&self, d: &Descriptor) -> Option<Why> {
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
    /// come with those that have room first, then in [`turn`](crate::turn): the answer depends on nothing but index and query.
    pub fn search(&self, query: &Query, now: u64) -> Vec<Found> {
        self.search_with(&WordRanker, query, now)
    }

    /// As [`Index::search`], with another ranker for plain words.
    pub fn search_with(&self, ranker: &impl Ranker, query: &Query, now: u64) -> Vec<Found> {
        self.ranked(ranker, query, now, |_| true)
    }

    /// As [`Index::search`], among the offers that are to be given out at all: a registry gives out what answered its probe.
    pub fn search_among(&self, query: &Query, now: u64, given: impl Fn(&Descriptor) -> bool) -> Vec<Found> {
        self.ranked(&WordRanker, query, now, given)
    }

    fn ranked(
        &self,
        ranker: &impl Ranker,
        query: &Query,
        now: u64,
        given: impl Fn(&Descriptor) -> bool,
    ) -> Vec<Found> {
        let wanted = Wanted::of(&query.text);
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let by_words = matches!(wanted, Wanted::Name(_) | Wanted::Words);
        let mut exact = Vec::new();
        let mut rest = vec![None; if by_words { self.postings.slots() } else { 0 }];
        let mut corpus = Corpus::new(&self.postings);
        let takes_part = |d: &Descriptor| query.filters.check(d).is_ok() && given(d);
        for offer in self.live(now).filter(|offer| takes_part(offer.descriptor())) {
            if let Some(why) = wanted.exactly(offer.descriptor()) {
                exact.push((offer.in_turn(query), why));
            } else if let Some(place) = rest.get_mut(offer.slot as usize) {
                *place = Some(offer);
                corpus.add(offer.slot);
            }
        }
        first(&mut exact, limit, |(a, _), (b, _)| {
            by_name(*a).cmp(&by_name(*b)).then_with(|| a.by_readiness(*b))
        });
        let exact = exact.into_iter().map(|(offer, why)| Found { offer: offer.offer(), why, score: 0 });
        let mut found: Vec<_> = exact.collect();
        if by_words && found.len() < limit {
            let ranking = ranker.rank(&query.text, &corpus);
            let place = |m: &Match| rest.get(m.offer).copied().flatten().map(|offer| offer.in_turn(query));
            let mut matches: Vec<_> =
                ranking.matches.iter().filter_map(|m| Some((m.score, m.words, place(m)?))).collect();
            first(&mut matches, limit - found.len(), |a, b| {
                b.0.cmp(&a.0).then_with(|| a.2.by_readiness(b.2))
            });
            found.extend(matches.into_iter().map(|(score, words, offer)| Found {
                offer: offer.offer(),
                why: Why::Words(matched(&ranking.words, words)),
                score,
            }));
        }
        found
    }
}

/// Keeps the first so many, in order. No two are equal.
fn first<T>(list: &mut Vec<T>, most: usize, by: impl Fn(&T, &T) -> Ordering) {
    if list.len() > most {
        list.select_nth_unstable_by(most, &by);
        list.truncate(most);
    }
    list.sort_unstable_by(by);
}

/// The words whose bits are set.
fn matched(words: &[String], bits: u32) -> Vec<String> {
    let set = words.iter().zip(0..u32::BITS).filter(|(_, bit)| bits >> bit & 1 == 1);
    set.map(|(word, _)| word.clone()).collect()
}

/// By name, the highest version first.
fn by_name(offer: Live<'_>) -> (&CapabilityName, Reverse<&Version>) {
    let d = offer.descriptor();
    (&d.name, Reverse(&d.version))
}
