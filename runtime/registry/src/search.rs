//! Answering a query: exact matches first, then by words, as `actum_discovery::Index` does; those whose provider answered a
//! probe before those not asked yet.

use crate::{
    Registry, RegistryError,
    collect::{Best, Collect, Rank},
    fetch::Damaged,
    limits::{LOOKED_AT, SPARE},
    meaning::{RERANKED, Vector},
    recent::Held,
    state::{Probed, State},
    words::{Fact, Numbers, Snapshot},
};
use actum_discovery::{Found, LiveOffer, Term, Text, Wanted, Why};
use actum_model::{Descriptor, Lease, Offer, Query};
use std::{
    cmp::Reverse,
    collections::BTreeSet,
    sync::{Arc, PoisonError},
};
use tantivy::query::AllQuery;

/// An offer in the order of the answer.
pub(crate) struct Hit {
    pub(crate) descriptor: Arc<Held<Descriptor>>,
    pub(crate) lease: Arc<Held<Lease>>,
    /// 0 where the match is exact.
    score: u64,
    exact: bool,
}

impl Registry {
    /// The offers that answer a query and can be called now, best first, at most `query.limit`.
    ///
    /// As [`actum_discovery::Index::search`], with these differences. Offers whose provider answered its last probe come before
    /// those never probed, exact or not; those whose did not answer are left out. Scores are BM25 with the frequencies of all
    /// descriptors held, expired ones too until the index drops them, and lengths rounded to one of 256: they compare within one answer
    /// only. Equals come with those that have room first, then in [`turn`](actum_discovery::turn). Nothing in particular finds what
    /// comes first among [`LOOKED_AT`](crate::LOOKED_AT). With an [`Embedder`](crate::Embedder), what means the same is found too: [`Why::Meaning`].
    ///
    /// Both statements of each offer are verified again. [`Registry::offers`] answers without, for those who verify themselves.
    ///
    /// # Errors
    /// The index failed.
    pub fn search(&self, query: &Query, now: u64) -> Result<Vec<Found>, RegistryError> {
        let (wanted, terms) = (Wanted::of(&query.text), Term::all(&query.text));
        let found = self.hits(query, &wanted, &terms, now)?.into_iter().filter_map(|hit| {
            let offer = LiveOffer::of(hit.descriptor.signed()?, hit.lease.signed()?, now).ok()??;
            let descriptor = offer.descriptor().payload();
            let why = match hit.exact {
                true => wanted.exactly(descriptor)?,
                false => match matched(&terms, descriptor) {
                    none if none.is_empty() => Why::Meaning,
                    words => Why::Words(words),
                },
            };
            Some(Found { offer, why, score: hit.score })
        });
        Ok(found.collect())
    }

    /// The same offers in the same order, as a [`Page`](actum_model::Page) carries them. Their signatures were verified
    /// when they were taken in,
    /// and that these are those bytes is checked; whoever gets the page verifies them again anyway.
    ///
    /// # Errors
    /// The index failed.
    pub fn offers(&self, query: &Query, now: u64) -> Result<Vec<Offer>, RegistryError> {
        let (wanted, terms) = (Wanted::of(&query.text), Term::all(&query.text));
        let hits = self.hits(query, &wanted, &terms, now)?.into_iter();
        let offer = |hit: Hit| Offer {
            descriptor: hit.descriptor.bytes.clone().into(),
            lease: hit.lease.bytes.clone().into(),
        };
        Ok(hits.map(offer).collect())
    }

    fn hits(
        &self,
        query: &Query,
        wanted: &Wanted,
        terms: &[Term],
        now: u64,
    ) -> Result<Vec<Hit>, RegistryError> {
        let mut damaged = Vec::new();
        let hits = {
            let state = self.read();
            let snapshot = Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner));
            let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
            let (registry, state, snapshot, damaged) = (self, &state, &snapshot, &mut damaged);
            Search { registry, state, snapshot, query, wanted, terms, now, limit, damaged }.run()
        };
        self.drop_damaged(&damaged);
        Ok(hits?)
    }
}

struct Search<'a> {
    registry: &'a Registry,
    state: &'a State,
    snapshot: &'a Snapshot,
    query: &'a Query,
    wanted: &'a Wanted,
    terms: &'a [Term],
    now: u64,
    limit: usize,
    damaged: &'a mut Vec<Damaged>,
}

impl Search<'_> {
    fn run(mut self) -> tantivy::Result<Vec<Hit>> {
        let numbers = Numbers::of(&self.query.filters);
        let (snapshot, state, now) = (self.snapshot, self.state, self.now);
        let collect = Collect { snapshot, state, numbers: &numbers, asked: self.query, now };
        let most = self.limit.saturating_add(SPARE);
        let mut exact = Best::new(most);
        let mut slots = BTreeSet::new();
        if let Some(main) = self.exactly() {
            let query = snapshot.within(main, &self.query.filters)?;
            // Whoever floods a name does not hide who has it too; nothing in particular is not worth looking at all there is.
            let most = if *self.wanted == Wanted::Everything { LOOKED_AT } else { usize::MAX };
            let keep = matches!(self.wanted, Wanted::Name(_));
            slots = collect.exact(&*query, most, keep, &mut exact)?;
        }
        let mut hits = Vec::new();
        self.exact(exact.answering.into_vec(), &mut hits);
        let by_words = matches!(self.wanted, Wanted::Name(_) | Wanted::Words) && hits.len() < self.limit;
        let mut ranked = Best::new(if self.registry.embedder.is_some() { most.max(RERANKED) } else { most });
        if by_words && !self.terms.is_empty() {
            let query = snapshot.within(snapshot.words(self.terms), &self.query.filters)?;
            collect.ranked(&*query, &slots, &mut ranked)?;
        }
        let near = if by_words { self.near(&slots) } else { Near::default() };
        self.ranked(ranked.answering.into_sorted_vec(), near.answering, near.vector.as_ref(), &mut hits);
        self.exact(exact.unprobed.into_vec(), &mut hits);
        self.ranked(ranked.unprobed.into_sorted_vec(), near.unprobed, near.vector.as_ref(), &mut hits);
        Ok(hits)
    }

    /// What is asked for exactly, or everything.
    fn exactly(&self) -> Option<Box<dyn tantivy::query::Query>> {
        match self.wanted {
            Wanted::Release(id) => Some(self.snapshot.fact(&Fact::Release(id.digest()))),
            Wanted::Component(id) => Some(self.snapshot.fact(&Fact::Component(id.digest()))),
            Wanted::NameVersion(name, _) | Wanted::Name(name) => {
                Some(self.snapshot.fact(&Fact::Name(name.as_str())))
            }
            Wanted::Everything => Some(Box::new(AllQuery)),
            Wanted::Words => None,
        }
    }

    /// The offer in a slot. One that changed since it was indexed has to be `still` what is looked for, and to fulfil the
    /// constraints still.
    fn hit(
        &mut self,
        slot: u32,
        score: u64,
        exact: bool,
        still: impl Fn(&Descriptor) -> bool,
    ) -> Option<Hit> {
        let (descriptor, lease) = self.registry.held_at(self.state, slot, self.now, self.damaged)?;
        let changed = self.state.offers.get(slot)?.taken > self.snapshot.epoch;
        if changed || exact {
            let payload = descriptor.payload()?;
            if self.query.filters.check(&payload).is_err() || !still(&payload) {
                return None;
            }
        }
        Some(Hit { descriptor, lease, score, exact })
    }

    /// Adds those that answer exactly: by name, the highest version first, then who has room.
    fn exact(&mut self, candidates: Vec<(Rank, u32)>, hits: &mut Vec<Hit>) {
        let wanted = self.wanted;
        let mut found = Vec::new();
        for (rank, slot) in candidates {
            let Some(hit) = self.hit(slot, 0, true, |d| wanted.exactly(d).is_some()) else { continue };
            let Some(d) = hit.descriptor.payload() else { continue };
            found.push(((d.name, Reverse(d.version), rank), hit));
        }
        // The index knows the first letters of a name and the rough order of versions.
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        let room = self.limit.saturating_sub(hits.len());
        hits.extend(found.into_iter().take(room).map(|(_, hit)| hit));
    }

    /// Adds those that hold the words or mean the same, best first.
    fn ranked(
        &mut self,
        mut candidates: Vec<(Rank, u32)>,
        near: Vec<(Rank, u32)>,
        vector: Option<&Vector>,
        hits: &mut Vec<Hit>,
    ) {
        if let Some(vector) = vector {
            let held: BTreeSet<_> = candidates.iter().map(|(_, slot)| *slot).collect();
            candidates.extend(near.into_iter().filter(|(_, slot)| !held.contains(slot)));
            let meaning = self.registry.meaning.read().unwrap_or_else(PoisonError::into_inner);
            let best = candidates.iter().map(|(rank, _)| rank.high.0).max().unwrap_or_default();
            for (rank, slot) in &mut candidates {
                rank.high.0 = meaning.reranked(rank.high.0, best, *slot, vector);
            }
            candidates.sort();
        }
        let terms = self.terms;
        let still = |d: &Descriptor| vector.is_some() || !matched(terms, d).is_empty();
        for (rank, slot) in candidates {
            if hits.len() >= self.limit {
                return;
            }
            hits.extend(self.hit(slot, rank.high.0, false, still));
        }
    }

    /// What means about the same as the query, where there is an embedder.
    fn near(&self, exact: &BTreeSet<u32>) -> Near {
        let vector = self.registry.embedder.as_ref().and_then(|e| Vector::of(&e.embed(&self.query.text)));
        let Some(vector) = vector else { return Near::default() };
        let meaning = self.registry.meaning.read().unwrap_or_else(PoisonError::into_inner);
        let takes_part = |slot: u32| {
            let callable = self.state.callable(slot, self.now);
            callable.is_some_and(|(e, ..)| e.probed != Probed::Silent) && !exact.contains(&slot)
        };
        let mut near = Near::default();
        for slot in meaning.nearest(&vector, takes_part) {
            let Some(found) = self.state.callable(slot, self.now) else { continue };
            // The words' index did not hold these to the constraints.
            let held = self.registry.held_at(self.state, slot, self.now, &mut Vec::new());
            let payload = held.and_then(|(descriptor, _)| descriptor.payload());
            if payload.is_none_or(|d| self.query.filters.check(&d).is_err()) {
                continue;
            }
            let list = if self.state.answers(slot) { &mut near.answering } else { &mut near.unprobed };
            list.push((Rank::of(found, 0, 0, self.query), slot));
        }
        near.vector = Some(vector);
        near
    }
}

/// Semantic neighbours of the query, those that answered a probe apart.
#[derive(Default)]
struct Near {
    vector: Option<Vector>,
    answering: Vec<(Rank, u32)>,
    unprobed: Vec<(Rank, u32)>,
}

/// The words of the query that occur in a descriptor, or a synonym does.
fn matched(terms: &[Term], descriptor: &Descriptor) -> Vec<String> {
    let text = Text::of(descriptor);
    terms.iter().filter(|term| term.is_in(&text)).map(|term| term.typed.clone()).collect()
}
