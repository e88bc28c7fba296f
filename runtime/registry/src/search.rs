//! Answering a query: exact matches first, then by words, as `actum_discovery::Index` does; those whose provider answered a
//! probe before those not asked yet.

use crate::{
    Registry, RegistryError,
    collect::{Best, Collect, Rank},
    limits::SPARE,
    meaning::RERANKED,
    registry::Damaged,
    state::State,
    words::{Fact, Numbers, Snapshot},
};
use actum_discovery::{Found, LiveOffer, Readiness, Term, Text, Wanted, Why};
use actum_model::{Descriptor, Query};
use std::{
    cmp::Reverse,
    collections::BTreeSet,
    sync::{Arc, PoisonError},
};
use tantivy::query::AllQuery;

/// A match, with what it is ordered by.
struct Candidate {
    slot: u32,
    offer: LiveOffer,
    score: u64,
}

impl Registry {
    /// The offers that answer a query and can be called now, best first, at most `query.limit`.
    ///
    /// As [`actum_discovery::Index::search`], with these differences. Offers whose provider answered its last probe come
    /// before those never probed, exact or not; those whose did not answer are left out. Scores are BM25 with the
    /// frequencies of all descriptors held, expired ones too until the index drops them, and lengths rounded to one of 256: they compare
    /// within one answer only. Equals come in the order of their load. Nothing in particular finds what comes first among
    /// [`LOOKED_AT`](crate::LOOKED_AT). With an [`Embedder`](crate::Embedder), what means the same is found too, and then [`Why::Words`] may name none.
    ///
    /// # Errors
    /// The index failed.
    pub fn search(&self, query: &Query, now: u64) -> Result<Vec<Found>, RegistryError> {
        let mut damaged = Vec::new();
        let found = {
            let state = self.read();
            let snapshot = Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner));
            Search {
                registry: self,
                state: &state,
                snapshot: &snapshot,
                query,
                now,
                limit: usize::try_from(query.limit).unwrap_or(usize::MAX),
                damaged: &mut damaged,
            }
            .run()
        };
        self.drop_damaged(&damaged);
        Ok(found?)
    }
}

struct Search<'a> {
    registry: &'a Registry,
    state: &'a State,
    snapshot: &'a Snapshot,
    query: &'a Query,
    now: u64,
    limit: usize,
    damaged: &'a mut Vec<Damaged>,
}

impl Search<'_> {
    fn run(mut self) -> tantivy::Result<Vec<Found>> {
        let wanted = Wanted::of(&self.query.text);
        let numbers = Numbers::of(&self.query.filters);
        let (snapshot, state, now) = (self.snapshot, self.state, self.now);
        let collect = Collect { snapshot, state, numbers: &numbers, now };
        let most = self.limit.saturating_add(SPARE);
        let mut exact = Best::new(most);
        let mut slots = BTreeSet::new();
        if let Some(main) = self.exactly(&wanted) {
            let query = snapshot.within(main, &self.query.filters)?;
            slots = collect.exact(&*query, &mut exact)?;
        }
        let (answering, unprobed) = (exact.answering.into_vec(), exact.unprobed.into_vec());
        let mut found = self.exact(answering, &wanted);
        let by_words = matches!(wanted, Wanted::Name(_) | Wanted::Words);
        let terms = if by_words { Term::all(&self.query.text) } else { Vec::new() };
        let mut ranked = Best::new(if self.registry.embedder.is_some() { most.max(RERANKED) } else { most });
        if !terms.is_empty() && found.len() < self.limit {
            let query = snapshot.within(snapshot.words(&terms), &self.query.filters)?;
            collect.ranked(&*query, &slots, &mut ranked)?;
        }
        let (first, second) = (ranked.answering.into_vec(), ranked.unprobed.into_vec());
        let near = if by_words && found.len() < self.limit { self.near(&slots) } else { Near::default() };
        let words = self.ranked(first, near.answering, &terms, &near.vector);
        self.add(&mut found, words);
        let exact = self.exact(unprobed, &wanted);
        self.add(&mut found, exact);
        if found.len() < self.limit {
            let words = self.ranked(second, near.unprobed, &terms, &near.vector);
            self.add(&mut found, words);
        }
        Ok(found)
    }

    fn add(&self, found: &mut Vec<Found>, more: Vec<Found>) {
        let room = self.limit.saturating_sub(found.len());
        found.extend(more.into_iter().take(room));
    }

    /// What is asked for exactly, or everything.
    fn exactly(&self, wanted: &Wanted) -> Option<Box<dyn tantivy::query::Query>> {
        match wanted {
            Wanted::Release(id) => Some(self.snapshot.fact(&Fact::Release(id.digest()))),
            Wanted::Component(id) => Some(self.snapshot.fact(&Fact::Component(id.digest()))),
            Wanted::NameVersion(name, _) | Wanted::Name(name) => {
                Some(self.snapshot.fact(&Fact::Name(name.as_str())))
            }
            Wanted::Everything => Some(Box::new(AllQuery)),
            Wanted::Words => None,
        }
    }

    /// The candidates' offers, those that still fulfil what is asked: a descriptor may have changed since it was indexed.
    fn offers(&mut self, candidates: Vec<(Rank, u32)>) -> Vec<Candidate> {
        let mut offers = Vec::with_capacity(candidates.len());
        for (rank, slot) in candidates {
            let offer = self.registry.offer_at(self.state, slot, self.now, self.damaged);
            let holds = |offer: &LiveOffer| self.query.filters.check(offer.descriptor().payload()).is_ok();
            if let Some(offer) = offer.filter(holds) {
                offers.push(Candidate { slot, offer, score: rank.high.0 });
            }
        }
        offers
    }

    /// Those that answer exactly: by name, the highest version first, then the least busy.
    fn exact(&mut self, candidates: Vec<(Rank, u32)>, wanted: &Wanted) -> Vec<Found> {
        let mut candidates = self.offers(candidates);
        candidates.sort_by(|a, b| {
            let key = |c: &Candidate| {
                let d = c.offer.descriptor().payload();
                (d.name.clone(), Reverse(d.version.clone()))
            };
            key(a).cmp(&key(b)).then_with(|| by_readiness(a, b))
        });
        let found = candidates.into_iter().filter_map(|c| {
            let why = wanted.exactly(c.offer.descriptor().payload())?;
            Some(Found { offer: c.offer, why, score: 0 })
        });
        found.take(self.limit).collect()
    }

    /// Those that hold the words or mean the same, best first.
    fn ranked(
        &mut self,
        candidates: Vec<(Rank, u32)>,
        near: Vec<(Rank, u32)>,
        terms: &[Term],
        vector: &Option<crate::meaning::Vector>,
    ) -> Vec<Found> {
        let mut candidates = candidates;
        candidates.sort();
        if vector.is_none() {
            candidates.truncate(self.limit.saturating_add(SPARE));
        }
        let held: BTreeSet<_> = candidates.iter().map(|(_, slot)| *slot).collect();
        let mut candidates = self.offers(candidates);
        let near: Vec<_> = near.into_iter().filter(|(_, slot)| !held.contains(slot)).collect();
        candidates.extend(self.offers(near));
        if let Some(vector) = vector {
            let meaning = self.registry.meaning.read().unwrap_or_else(PoisonError::into_inner);
            let best = candidates.iter().map(|c| c.score).max().unwrap_or_default();
            for c in &mut candidates {
                c.score = meaning.reranked(c.score, best, c.slot, vector);
            }
        }
        let words =
            candidates.iter().map(|c| matched(terms, c.offer.descriptor().payload())).collect::<Vec<_>>();
        let mut found: Vec<_> = candidates.into_iter().zip(words).collect();
        // A descriptor that changed since it was indexed may hold none of the words any more.
        found.retain(|(_, words)| !words.is_empty() || vector.is_some());
        found.sort_by(|(a, _), (b, _)| b.score.cmp(&a.score).then_with(|| by_readiness(a, b)));
        let found = found.into_iter().take(self.limit);
        found.map(|(c, words)| Found { offer: c.offer, why: Why::Words(words), score: c.score }).collect()
    }

    /// What means about the same as the query, where there is an embedder.
    fn near(&self, exact: &BTreeSet<u32>) -> Near {
        let Some(embedder) = &self.registry.embedder else { return Near::default() };
        let Some(vector) = crate::meaning::Vector::of(&embedder.embed(&self.query.text)) else {
            return Near::default();
        };
        let meaning = self.registry.meaning.read().unwrap_or_else(PoisonError::into_inner);
        let takes_part = |slot: u32| {
            let (entry, ..) = self.state.callable(slot, self.now)?;
            (entry.probed != crate::state::Probed::Silent && !exact.contains(&slot)).then_some(())
        };
        let mut near = Near::default();
        for slot in meaning.nearest(&vector, |slot| takes_part(slot).is_some()) {
            let Some(found) = self.state.callable(slot, self.now) else { continue };
            let list = if self.state.answers(slot) { &mut near.answering } else { &mut near.unprobed };
            list.push((Rank::of(found, 0, 0), slot));
        }
        near.vector = Some(vector);
        near
    }
}

/// Semantic neighbours of the query, those that answered a probe apart.
#[derive(Default)]
struct Near {
    vector: Option<crate::meaning::Vector>,
    answering: Vec<(Rank, u32)>,
    unprobed: Vec<(Rank, u32)>,
}

/// The words of the query that occur in a descriptor, or a synonym does.
fn matched(terms: &[Term], descriptor: &Descriptor) -> Vec<String> {
    let text = Text::of(descriptor);
    terms.iter().filter(|term| term.is_in(&text)).map(|term| term.typed.clone()).collect()
}

/// The less busy first; then by provider and release, so that no two offers are equal.
fn by_readiness(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    let key = |c: &Candidate| {
        let (descriptor, lease) = (c.offer.descriptor().payload(), c.offer.lease().payload());
        (Readiness::of(lease), lease.iss, descriptor.release)
    };
    key(a).cmp(&key(b))
}
