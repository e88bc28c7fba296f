//! How well an offer answers plain words. Behind [`Ranker`], so that a search library can take its place.

mod words;

use crate::LiveOffer;
use actum_model::Descriptor;
use std::collections::{BTreeMap, BTreeSet};
use words::{synonyms, words};

/// Judges offers against plain words.
pub trait Ranker {
    /// The offers that match, in any order, each at most once.
    ///
    /// The same arguments must give the same answer on every machine. Called for each query; it must not block.
    fn rank(&self, query: &str, offers: &[LiveOffer]) -> Vec<Match>;
}

/// An offer that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Which of the offers.
    pub offer: usize,
    /// How well, in thousandths of the ranker's own unit; more is better. Comparable within one answer only.
    pub score: u64,
    /// The query's words that matched, as they were typed, in lower case.
    pub words: Vec<String>,
}

/// What a word in a name is worth, against one in a doc comment.
const NAME: u32 = 4;
/// What a tag is worth.
const TAG: u32 = 3;
/// What a word of the sentence of intent is worth.
const INTENT: u32 = 3;
/// What a word of a function's name is worth.
const FUNCTION: u32 = 2;
/// What a word of a doc comment or of an interface's name is worth.
const DOCS: u32 = 1;

/// A descriptor's words, stemmed, with their weights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    weights: BTreeMap<String, u32>,
    length: u32,
}

impl Text {
    /// The words of name, intent, tags, functions and their docs.
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
        }
        // Functions of one interface repeat its name; it counts once.
        for interface in
            descriptor.functions.iter().filter_map(|f| f.name.interface()).collect::<BTreeSet<_>>()
        {
            text.add(interface.split('@').next().unwrap_or(interface), DOCS);
        }
        text
    }

    /// The weight of a stemmed word; 0 when it does not occur.
    pub fn weight(&self, stem: &str) -> u32 {
        self.weights.get(stem).copied().unwrap_or(0)
    }

    fn add(&mut self, text: &str, weight: u32) {
        for word in words(text) {
            *self.weights.entry(word.stem).or_default() += weight;
            self.length += weight;
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
    fn rank(&self, query: &str, offers: &[LiveOffer]) -> Vec<Match> {
        let mut matches: Vec<(f64, Vec<String>)> = vec![(0.0, Vec::new()); offers.len()];
        let total: f64 = offers.iter().map(|o| f64::from(o.text.length)).sum();
        let count = offers.len().max(1) as f64;
        let average = (total / count).max(1.0);
        let mut seen = BTreeSet::new();
        for word in words(query) {
            if !seen.insert(word.stem.clone()) {
                continue;
            }
            let alike = synonyms(&word.stem);
            let weight = |text: &Text| -> f64 {
                let other = alike.iter().map(|s| text.weight(s)).max().unwrap_or(0);
                f64::from(text.weight(&word.stem)).max(SYNONYM * f64::from(other))
            };
            let holding = offers.iter().filter(|o| weight(&o.text) > 0.0).count() as f64;
            let rarity = log2(1.0 + (count - holding + 0.5) / (holding + 0.5));
            for (offer, (score, matched)) in offers.iter().zip(&mut matches) {
                let weight = weight(&offer.text);
                if weight > 0.0 {
                    let length = 1.0 - B + B * f64::from(offer.text.length) / average;
                    *score += rarity * weight * (K1 + 1.0) / (weight + K1 * length);
                    matched.push(word.typed.clone());
                }
            }
        }
        let scored = matches.into_iter().enumerate().filter(|(_, (_, words))| !words.is_empty());
        scored.map(|(offer, (score, words))| Match { offer, score: (score * 1000.0) as u64, words }).collect()
    }
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
