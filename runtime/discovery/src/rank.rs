//! How well an offer answers plain words. Behind [`Ranker`], so that a search library can take its place.

mod words;

use crate::Corpus;
use actum_model::Descriptor;
use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};
use words::{Word, synonyms, words};

/// The most different words of a query that count, stop words not among them: the first ones typed.
pub const QUERY_TERMS: usize = 12;

/// Judges offers against plain words.
pub trait Ranker {
    /// The offers that match, in any order, each at most once.
    ///
    /// The same arguments must give the same answer on every machine. Called for each query; it must not block.
    fn rank(&self, query: &str, corpus: &Corpus<'_>) -> Ranking;
}

/// The offers that match, and what of the query they match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranking {
    /// The query's words that counted, as they were typed, in lower case. At most 32.
    pub words: Vec<String>,
    /// The offers.
    pub matches: Vec<Match>,
}

/// An offer that matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// Which of the offers, as [`Corpus::holding`] names it.
    pub offer: usize,
    /// How well, in thousandths of the ranker's own unit; more is better. Comparable within one answer only.
    pub score: u64,
    /// Which of [`Ranking::words`] matched: bit 0 stands for the first.
    pub words: u32,
}

/// What a word in a name is worth, against one in a doc comment.
const NAME: u32 = 4;
/// What a tag is worth.
const TAG: u32 = 3;
/// What a word of the sentence of intent is worth.
const INTENT: u32 = 3;
/// What a word of a function's name is worth.
const FUNCTION: u32 = 2;
/// What a word of a doc comment, of a signature or of an interface's name is worth.
const DOCS: u32 = 1;

/// The most different words of one descriptor that it can be found by: the first ones.
const STEMS: usize = 256;

/// A descriptor's words, stemmed, with their weights. Every index reads a descriptor this way, so that what one finds
/// another can rank.
#[derive(Clone, Debug, Default)]
pub struct Text {
    pub(crate) weights: BTreeMap<Box<str>, u32>,
    /// The weight of all words, counted or not.
    pub(crate) length: u32,
}

/// A word of a query, as it is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// As typed, in lower case.
    pub typed: String,
    /// What remains when its ending is taken off.
    pub stem: String,
    /// The stems that mean the same, sorted, itself not included. Each is worth half of the word itself.
    pub synonyms: Vec<String>,
}

impl Term {
    /// The query's different words, the first [`QUERY_TERMS`] of them, in order.
    pub fn all(query: &str) -> Vec<Self> {
        let with_synonyms = |w: Word| Self { synonyms: synonyms(&w.stem), typed: w.typed, stem: w.stem };
        terms(query).into_iter().map(with_synonyms).collect()
    }

    /// Whether a descriptor's text holds the word or a synonym of it.
    pub fn is_in(&self, text: &Text) -> bool {
        let holds = |stem: &String| text.weights.contains_key(stem.as_str());
        holds(&self.stem) || self.synonyms.iter().any(holds)
    }
}

impl Text {
    /// Each different stem with the weight of all its occurrences, in order of the stems.
    pub fn stems(&self) -> impl Iterator<Item = (&str, u32)> {
        self.weights.iter().map(|(stem, weight)| (&**stem, *weight))
    }

    /// The words of name, intent, tags, functions, their docs and signatures.
    pub fn of(descriptor: &Descriptor) -> Self {
        let mut text = Self::default();
        text.add(descriptor.name.as_str(), NAME);
        text.add(&descriptor.intent, INTENT);
        for tag in &descriptor.tags {
            text.add(tag, TAG);
        }
        for function in &descriptor.functions {
            text.add(function.name.name(), FUNCTION);
            text.add(&function.docs, DOCS);
            text.add(&function.signature, DOCS);
        }
        // Functions of one interface repeat its name; it counts once.
        for interface in
            descriptor.functions.iter().filter_map(|f| f.name.interface()).collect::<BTreeSet<_>>()
        {
            text.add(interface.split('@').next().unwrap_or(interface), DOCS);
        }
        text
    }

    #[cfg(test)]
    pub(crate) fn plain(words: &str) -> Self {
        let mut text = Self::default();
        text.add(words, DOCS);
        text
    }

    fn add(&mut self, text: &str, weight: u32) {
        for word in words(text) {
            self.length += weight;
            let full = self.weights.len() >= STEMS;
            match self.weights.entry(word.stem.into()) {
                Entry::Occupied(mut held) => *held.get_mut() += weight,
                Entry::Vacant(_) if full => {}
                Entry::Vacant(free) => drop(free.insert(weight)),
            }
        }
    }
}

/// BM25 over weighted fields, with English stems, stop words and a few synonyms.
///
/// A synonym counts half of the word itself. Only IEEE basic operations are used, so scores agree between machines.
#[derive(Clone, Copy, Debug, Default)]
pub struct WordRanker;

/// BM25's saturation: how soon more of the same word stops helping.
const K1: f64 = 1.2;
/// BM25's length normalisation: how much a long text is held against its offer.
const B: f64 = 0.5;
/// What a synonym is worth, against the word itself.
const SYNONYM: f64 = 0.5;

impl Ranker for WordRanker {
    fn rank(&self, query: &str, corpus: &Corpus<'_>) -> Ranking {
        let count = corpus.offers() as f64;
        let average = corpus.average_length().max(1.0);
        let mut ranked = vec![Ranked::default(); corpus.slots()];
        let mut matching = Vec::new();
        let terms = terms(query);
        for (bit, term) in terms.iter().enumerate() {
            let holding = holding(term, corpus, &mut ranked);
            let held = holding.len() as f64;
            let rarity = log2(1.0 + (count - held + 0.5) / (held + 0.5));
            for (offer, length) in holding {
                let Some(r) = ranked.get_mut(offer) else { continue };
                let weight = std::mem::take(&mut r.weight);
                let length = 1.0 - B + B * f64::from(length) / average;
                if r.words == 0 {
                    matching.push(offer);
                }
                r.score += rarity * weight * (K1 + 1.0) / (weight + K1 * length);
                r.words |= 1 << bit;
            }
        }
        let matches = matching.into_iter().filter_map(|offer| {
            let r = ranked.get(offer)?;
            Some(Match { offer, score: (r.score * 1000.0) as u64, words: r.words })
        });
        Ranking { matches: matches.collect(), words: terms.into_iter().map(|t| t.typed).collect() }
    }
}

/// What is known of an offer so far.
#[derive(Clone, Copy, Debug, Default)]
struct Ranked {
    score: f64,
    words: u32,
    /// What the term at hand weighs there.
    weight: f64,
}

/// The query's different words, as many as count.
fn terms(query: &str) -> Vec<Word> {
    let mut seen = BTreeSet::new();
    words(query).filter(|w| seen.insert(w.stem.clone())).take(QUERY_TERMS).collect()
}

/// The offers that hold a term or a synonym of it, with the lengths of their texts. The weight goes into `ranked`.
fn holding(term: &Word, corpus: &Corpus<'_>, ranked: &mut [Ranked]) -> Vec<(usize, u32)> {
    let mut holding = Vec::new();
    let mut take = |stem: &str, worth: f64| {
        for (offer, weight, length) in corpus.holding(stem) {
            let Some(r) = ranked.get_mut(offer) else { continue };
            if r.weight == 0.0 {
                holding.push((offer, length));
            }
            r.weight = r.weight.max(worth * f64::from(weight));
        }
    };
    take(&term.stem, 1.0);
    synonyms(&term.stem).iter().for_each(|stem| take(stem, SYNONYM));
    holding
}

/// The binary logarithm of a number of at least 1, to twenty bits: `f64::ln` may differ between platforms.
fn log2(mut number: f64) -> f64 {
    let mut log = 0.0;
    while number >= 2.0 {
        number /= 2.0;
        log += 1.0;
    }
    let mut bit = 0.5;
    for _ in 0..20 {
        number *= number;
        if number >= 2.0 {
            number /= 2.0;
            log += bit;
        }
        bit /= 2.0;
    }
    log
}

#[cfg(test)]
mod tests {
    use super::log2;

    #[test]
    fn the_logarithm_is_one() {
        for number in [1.0, 1.5, 2.0, 3.0, 10.0, 12345.678_f64] {
            assert!((log2(number) - number.log2()).abs() < 1e-5, "{number}");
        }
    }
}
