//! The words of all descriptors, by word: a query looks at the offers that hold its words, and at no others.

use crate::rank::Text;
use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A text as it is looked through: its stems by their hashes, with their weights. Stems themselves would take ten times the
/// memory where every descriptor has words of its own.
#[derive(Clone, Debug)]
pub(crate) struct Words {
    /// Sorted by hash.
    weights: Box<[(u64, u32)]>,
    /// The length of the text.
    length: u32,
}

impl Words {
    pub(crate) fn of(text: &Text) -> Self {
        let weights: BTreeMap<u64, u32> = text.stems().map(|(stem, weight)| (hash(stem), weight)).collect();
        Self { weights: weights.into_iter().collect(), length: text.length }
    }

    /// What a stem weighs in it; none where it does not hold it.
    fn weight(&self, hash: u64) -> Option<u32> {
        let place = self.weights.binary_search_by_key(&hash, |(hash, _)| *hash).ok()?;
        self.weights.get(place).map(|(_, weight)| *weight)
    }
}

/// From each stem to the descriptors that hold it. A descriptor is known by its slot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Postings {
    /// The weight of a stem in a descriptor, by the stem's hash and the slot. Nothing, where texts are looked through.
    weights: BTreeMap<(u64, u32), u32>,
    /// The text in each slot, none in a free one.
    texts: Vec<Option<Arc<Words>>>,
    free: Vec<u32>,
    /// Whether a word is looked for in one text after the other: where texts are few and asked once, nothing is faster.
    looks_through: bool,
}

impl Postings {
    /// For few texts, of which little is asked.
    pub(crate) fn of_few() -> Self {
        Self { looks_through: true, ..Self::default() }
    }

    /// Takes a text in, and says in which slot. Slots are used again.
    pub(crate) fn insert(&mut self, text: Arc<Words>) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.texts.push(None);
            // As many slots as descriptors: memory ends long before the numbers do.
            (self.texts.len() - 1) as u32
        });
        if !self.looks_through {
            self.weights.extend(text.weights.iter().map(|(hash, weight)| ((*hash, slot), *weight)));
        }
        if let Some(place) = self.texts.get_mut(slot as usize) {
            *place = Some(text);
        }
        slot
    }

    /// Forgets the text in this slot.
    pub(crate) fn remove(&mut self, slot: u32) {
        let Some(text) = self.texts.get_mut(slot as usize).and_then(Option::take) else { return };
        if !self.looks_through {
            for (hash, _) in &text.weights {
                self.weights.remove(&(*hash, slot));
            }
        }
        self.free.push(slot);
    }

    /// Forgets the texts in these slots, in one pass over all words.
    pub(crate) fn remove_all(&mut self, slots: &BTreeSet<u32>) {
        if slots.is_empty() {
            return;
        }
        for slot in slots {
            if let Some(text) = self.texts.get_mut(*slot as usize) {
                *text = None;
            }
        }
        let texts = &self.texts;
        self.weights.retain(|(_, slot), _| texts.get(*slot as usize).is_some_and(Option::is_some));
        self.free.extend(slots);
    }

    /// The texts that hold a stem, by slot, and what it weighs there.
    fn holding(&self, stem: &str) -> impl Iterator<Item = (u32, u32)> + '_ {
        let hash = hash(stem);
        let (texts, weights) = match self.looks_through {
            true => (self.texts.as_slice(), None),
            false => ([].as_slice(), Some(self.weights.range((hash, 0)..=(hash, u32::MAX)))),
        };
        let through =
            (0..).zip(texts).filter_map(move |(slot, text)| Some((slot, text.as_ref()?.weight(hash)?)));
        through.chain(weights.into_iter().flatten().map(|((_, slot), weight)| (*slot, *weight)))
    }

    /// How many slots there are, free ones included.
    pub(crate) fn slots(&self) -> usize {
        self.texts.len()
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.weights.is_empty() && self.free.len() == self.texts.len()
    }
}

/// FNV-1a. Who makes two words collide gains nothing: the other word could as well be written down.
fn hash(stem: &str) -> u64 {
    stem.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The offers a query is ranked over, for a [`crate::Ranker`].
#[derive(Debug)]
pub struct Corpus<'a> {
    postings: &'a Postings,
    /// By slot: the length of a text that takes part.
    lengths: Vec<Option<u32>>,
    offers: usize,
    total: u64,
    looked_at: Cell<usize>,
}

impl<'a> Corpus<'a> {
    pub(crate) fn new(postings: &'a Postings) -> Self {
        let lengths = vec![None; postings.slots()];
        Self { postings, lengths, offers: 0, total: 0, looked_at: Cell::new(0) }
    }

    /// Lets the offer in this slot take part.
    pub(crate) fn add(&mut self, slot: u32) {
        let text = self.postings.texts.get(slot as usize).and_then(Option::as_ref);
        if let (Some(place), Some(text)) = (self.lengths.get_mut(slot as usize), text) {
            *place = Some(text.length);
            self.offers += 1;
            self.total += u64::from(text.length);
        }
    }

    /// How many offers take part.
    pub fn offers(&self) -> usize {
        self.offers
    }

    /// The number above each [`Match::offer`](crate::Match::offer).
    pub fn slots(&self) -> usize {
        self.lengths.len()
    }

    /// The mean length of their texts, in weight.
    pub fn average_length(&self) -> f64 {
        self.total as f64 / self.offers.max(1) as f64
    }

    /// The offers whose texts hold a stemmed word: which, the word's weight there, and the text's length.
    pub fn holding(&self, stem: &str) -> impl Iterator<Item = (usize, u32, u32)> + '_ {
        self.postings.holding(stem).filter_map(|(slot, weight)| {
            self.looked_at.set(self.looked_at.get() + 1);
            let slot = slot as usize;
            Some((slot, weight, (*self.lengths.get(slot)?)?))
        })
    }

    /// How many pairs of word and offer were looked at so far: the work a query costs.
    pub fn looked_at(&self) -> usize {
        self.looked_at.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Arc<Words> {
        Arc::new(Words::of(&Text::plain(text)))
    }

    #[test]
    fn what_is_removed_leaves_nothing_behind() {
        for mut postings in [Postings::default(), Postings::of_few()] {
            let (a, b) = (words("count words"), words("count lines"));
            let slots = [postings.insert(a.clone()), postings.insert(b)];
            let mut corpus = Corpus::new(&postings);
            slots.iter().for_each(|s| corpus.add(*s));
            assert_eq!((corpus.holding("count").count(), corpus.holding("line").count()), (2, 1));
            postings.remove(slots[0]);
            assert_eq!(Corpus::new(&postings).slots(), 2);
            assert_eq!(postings.insert(a), slots[0]);
            postings.remove_all(&[slots[0]].into());
            assert!(!postings.is_empty());
            postings.remove(slots[1]);
            assert!(postings.is_empty());
        }
    }

    #[test]
    fn looking_through_finds_what_looking_up_finds() {
        let texts = ["count words", "count the lines of a text", "words words words", "nothing of it", ""];
        let (mut few, mut many) = (Postings::of_few(), Postings::default());
        for text in texts {
            assert_eq!(few.insert(words(text)), many.insert(words(text)));
        }
        few.remove(1);
        many.remove(1);
        for stem in ["count", "word", "line", "text", "xylophon"] {
            let held = |postings: &Postings| postings.holding(stem).collect::<Vec<_>>();
            assert_eq!(held(&few), held(&many), "{stem}");
        }
    }
}
