//! The words of all descriptors, by word: a query looks at the offers that hold its words, and at no others.

use crate::rank::Text;
use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
};

/// From each stem to the descriptors that hold it. A descriptor is known by its slot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Postings {
    /// The weight of a stem in a descriptor, by the stem's hash and the slot. Stems themselves would take ten times the
    /// memory where every descriptor has words of its own.
    weights: BTreeMap<(u64, u32), u32>,
    /// The length of the text in each slot, zero in a free one.
    lengths: Vec<u32>,
    free: Vec<u32>,
}

impl Postings {
    /// Takes a text in, and says in which slot. Slots are used again.
    pub(crate) fn insert(&mut self, text: Text) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.lengths.push(0);
            // As many slots as descriptors: memory ends long before the numbers do.
            (self.lengths.len() - 1) as u32
        });
        if let Some(length) = self.lengths.get_mut(slot as usize) {
            *length = text.length;
        }
        for (stem, weight) in text.weights {
            self.weights.insert((hash(&stem), slot), weight);
        }
        slot
    }

    /// Forgets the text that was taken in as this slot.
    pub(crate) fn remove(&mut self, slot: u32, text: &Text) {
        for stem in text.weights.keys() {
            self.weights.remove(&(hash(stem), slot));
        }
        if let Some(length) = self.lengths.get_mut(slot as usize) {
            *length = 0;
        }
        self.free.push(slot);
    }

    /// Forgets the texts in these slots, in one pass over all words.
    pub(crate) fn remove_all(&mut self, slots: &BTreeSet<u32>) {
        if slots.is_empty() {
            return;
        }
        let mut gone = vec![false; self.slots()];
        for slot in slots {
            if let (Some(gone), Some(length)) =
                (gone.get_mut(*slot as usize), self.lengths.get_mut(*slot as usize))
            {
                (*gone, *length) = (true, 0);
            }
        }
        self.weights.retain(|(_, slot), _| gone.get(*slot as usize) != Some(&true));
        self.free.extend(slots);
    }

    /// How many slots there are, free ones included.
    pub(crate) fn slots(&self) -> usize {
        self.lengths.len()
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.weights.is_empty() && self.free.len() == self.lengths.len()
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
        let length = self.postings.lengths.get(slot as usize).copied();
        if let (Some(place), Some(length)) = (self.lengths.get_mut(slot as usize), length) {
            *place = Some(length);
            self.offers += 1;
            self.total += u64::from(length);
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
        let hash = hash(stem);
        let holding = self.postings.weights.range((hash, 0)..=(hash, u32::MAX));
        holding.filter_map(|((_, slot), weight)| {
            self.looked_at.set(self.looked_at.get() + 1);
            let slot = *slot as usize;
            Some((slot, *weight, (*self.lengths.get(slot)?)?))
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

    #[test]
    fn what_is_removed_leaves_nothing_behind() {
        let mut postings = Postings::default();
        let (a, b) = (Text::plain("count words"), Text::plain("count lines"));
        let slots = [postings.insert(a.clone()), postings.insert(b.clone())];
        let mut corpus = Corpus::new(&postings);
        slots.iter().for_each(|s| corpus.add(*s));
        assert_eq!((corpus.holding("count").count(), corpus.holding("line").count()), (2, 1));
        postings.remove(slots[0], &a);
        assert_eq!(Corpus::new(&postings).slots(), 2);
        assert_eq!(postings.insert(a.clone()), slots[0]);
        postings.remove_all(&[slots[0]].into());
        assert!(!postings.is_empty());
        postings.remove(slots[1], &b);
        assert!(postings.is_empty());
    }
}
