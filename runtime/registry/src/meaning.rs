//! What descriptors mean, as vectors: for finding what shares no word with the query, and for ordering what does.
//!
//! Optional: without an [`Embedder`] nothing of this is kept. With one, each descriptor costs its dimensions in bytes and eight
//! more, in memory and on disk.

use actum_model::Descriptor;

/// Turns a text into a vector, so that texts of like meaning get vectors of like direction.
///
/// The same text must give the same vector in every process. Called for each descriptor at a commit and for each query;
/// it should take microseconds.
pub trait Embedder: Send + Sync {
    /// Names the model and its version. Vectors of another name are made anew when a directory is opened.
    fn name(&self) -> String;

    /// The text's vector, of any length but the same for every text, at most [`DIMENSIONS`]. Empty or all zero where the text
    /// means nothing to the model.
    fn embed(&self, text: &str) -> Vec<f32>;
}

/// The most dimensions of a vector: 1,024. Those after are left out.
pub const DIMENSIONS: usize = 1_024;
/// The most neighbours in meaning that one query adds to those that share its words.
pub const NEIGHBOURS: usize = 64;
/// How many of those that share words are ordered again by meaning.
pub(crate) const RERANKED: usize = 64;
/// The least cosine, in thousandths, of a neighbour: below it two texts have nothing to do with one another.
const NEAR: i64 = 400;
/// Up to so many vectors, every one is compared with the query; of more, those whose sketches are nearest.
const COMPARED: usize = 16_384;
/// How many of the nearest sketches are compared.
const SKETCHED: usize = 4_096;

/// A direction, a byte a dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vector {
    parts: Box<[i8]>,
}

impl Vector {
    /// Quantises a vector to its largest part; none where it has no direction.
    pub(crate) fn of(vector: &[f32]) -> Option<Self> {
        let vector = vector.get(..DIMENSIONS).unwrap_or(vector);
        let largest = vector.iter().fold(0.0_f32, |most, part| most.max(part.abs()));
        let usable = largest.is_normal() && vector.iter().all(|part| part.is_finite());
        // Within -127 to 127 by construction.
        usable.then(|| Self {
            parts: vector.iter().map(|part| (part / largest * 127.0).round() as i8).collect(),
        })
    }

    /// The vector as stored; empty where there is none.
    fn bytes(&self) -> Vec<u8> {
        self.parts.iter().map(|part| part.cast_unsigned()).collect()
    }

    /// A bit for each of 64 fixed directions: whether the vector points that way.
    fn sketch(&self) -> u64 {
        let side = |n: u64| {
            let mut bits = Bits(n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let along = |sum: i64, part: &i8| {
                if bits.next() { sum + i64::from(*part) } else { sum - i64::from(*part) }
            };
            self.parts.iter().fold(0_i64, along) >= 0
        };
        (0..64).fold(0, |sketch, n| sketch << 1 | u64::from(side(n)))
    }
}

/// Pseudo-random bits, the same on every machine: SplitMix64.
struct Bits(u64);

impl Bits {
    fn next(&mut self) -> bool {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb) >> 63 == 1
    }
}

/// The vector of one descriptor, if it means anything to the model.
#[derive(Clone, Debug)]
pub(crate) struct Meant(Option<Vector>);

impl Meant {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.0.as_ref().map(Vector::bytes).unwrap_or_default()
    }

    pub(crate) fn read(bytes: &[u8]) -> Self {
        let parts: Box<[i8]> = bytes.iter().map(|byte| byte.cast_signed()).collect();
        Self((!parts.is_empty() && parts.len() <= DIMENSIONS).then_some(Vector { parts }))
    }
}

/// The vectors of all descriptors, by slot.
#[derive(Debug, Default)]
pub(crate) struct Meaning {
    dimensions: usize,
    parts: Vec<i8>,
    /// Each slot's sketch and length, squared; length 0 where there is no vector.
    sketches: Vec<u64>,
    lengths: Vec<u32>,
}

impl Meaning {
    /// What a descriptor means: its name, intent, tags and docs.
    pub(crate) fn of(embedder: &dyn Embedder, d: &Descriptor) -> Meant {
        let mut text = format!("{} {}", d.name.as_str().replace('-', " "), d.intent);
        for more in d.tags.iter().chain(d.functions.iter().map(|f| &f.docs)) {
            text.push(' ');
            text.push_str(more);
        }
        Meant(Vector::of(&embedder.embed(&text)))
    }

    /// Keeps the vectors of these slots, in place of what was there.
    pub(crate) fn extend(&mut self, vectors: impl IntoIterator<Item = (u32, Meant)>) {
        for (slot, Meant(vector)) in vectors {
            let slot = slot as usize;
            if self.dimensions == 0 {
                self.dimensions = vector.as_ref().map_or(0, |v| v.parts.len());
            }
            if self.sketches.len() <= slot {
                self.sketches.resize(slot + 1, 0);
                self.lengths.resize(slot + 1, 0);
            }
            self.parts.resize(self.sketches.len() * self.dimensions, 0);
            let vector = vector.filter(|v| v.parts.len() == self.dimensions);
            let at = slot * self.dimensions;
            if let (Some(vector), Some(place)) = (&vector, self.parts.get_mut(at..at + self.dimensions)) {
                place.copy_from_slice(&vector.parts);
            }
            if let (Some(sketch), Some(length)) = (self.sketches.get_mut(slot), self.lengths.get_mut(slot)) {
                *sketch = vector.as_ref().map_or(0, Vector::sketch);
                // At most 1,024 times 127 squared.
                *length = vector.as_ref().map_or(0, |v| dot(&v.parts, &v.parts) as u32);
            }
        }
    }

    fn vector(&self, slot: usize) -> Option<&[i8]> {
        let at = slot * self.dimensions;
        self.lengths.get(slot).filter(|length| **length > 0)?;
        self.parts.get(at..at + self.dimensions)
    }

    /// The cosine between a slot's vector and another, in thousandths.
    fn likeness(&self, slot: u32, vector: &Vector) -> Option<i64> {
        let (own, other) = (self.vector(slot as usize)?, &vector.parts);
        let lengths = f64::from(*self.lengths.get(slot as usize)?) * dot(other, other) as f64;
        (own.len() == other.len()).then(|| (dot(own, other) as f64 * 1000.0 / lengths.sqrt()) as i64)
    }

    /// The slots nearest in meaning, nearest first, at most [`NEIGHBOURS`].
    pub(crate) fn nearest(&self, vector: &Vector, takes_part: impl Fn(u32) -> bool) -> Vec<u32> {
        let slots = self.sketches.len();
        let near = if slots <= COMPARED { self.held().collect() } else { self.sketched(vector.sketch()) };
        let mut near: Vec<_> = near
            .into_iter()
            .filter_map(|slot| Some((self.likeness(slot, vector).filter(|l| *l >= NEAR)?, slot)))
            .filter(|(_, slot)| takes_part(*slot))
            .collect();
        near.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        near.into_iter().take(NEIGHBOURS).map(|(_, slot)| slot).collect()
    }

    fn held(&self) -> impl Iterator<Item = u32> {
        let held = self.lengths.iter().enumerate().filter(|(_, length)| **length > 0);
        held.map(|(slot, _)| slot as u32)
    }

    /// The slots whose sketches differ in the fewest bits, about [`SKETCHED`] of them.
    fn sketched(&self, sketch: u64) -> Vec<u32> {
        let distance = |slot: u32| self.sketches.get(slot as usize).map_or(64, |s| (s ^ sketch).count_ones());
        let mut by_distance = [0_usize; 65];
        for slot in self.held() {
            if let Some(count) = by_distance.get_mut(distance(slot) as usize) {
                *count += 1;
            }
        }
        let mut within = 0;
        let farthest = by_distance.iter().position(|count| {
            within += count;
            within >= SKETCHED
        });
        let farthest = farthest.unwrap_or(64) as u32;
        self.held().filter(|slot| distance(*slot) <= farthest).take(SKETCHED * 4).collect()
    }

    /// A score that weighs words and meaning alike: thousandths of the best score by words, and of the cosine.
    pub(crate) fn reranked(&self, score: u64, best: u64, slot: u32, vector: &Vector) -> u64 {
        let words = score * 1000 / best.max(1);
        words + self.likeness(slot, vector).map_or(0, |l| l.max(0).cast_unsigned())
    }
}

fn dot(a: &[i8], b: &[i8]) -> i64 {
    // Sums of at most 1,024 products of at most 127 squared fit in 32 bits, which the compiler turns into wide loads.
    i64::from(a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum::<i32>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(n: u64, dimensions: usize) -> Vec<f32> {
        let mut bits = Bits(n);
        (0..dimensions).map(|_| (0..8).map(|_| if bits.next() { 1.0 } else { -1.0_f32 }).sum()).collect()
    }

    #[test]
    fn the_nearest_of_many_are_found_by_their_sketches() {
        let mut meaning = Meaning::default();
        let all = (0..40_000_u32).map(|n| (n, Meant(Vector::of(&noise(u64::from(n) * 7_919, 64)))));
        meaning.extend(all);
        let mut found = 0;
        for n in (0..40_000).step_by(400) {
            // Half of it is the descriptor's direction, the rest noise.
            let (own, other) = (noise(n * 7_919, 64), noise(n + 1_000_000_007, 64));
            let mixed: Vec<_> = own.iter().zip(&other).map(|(a, b)| a + b * 0.7).collect();
            let nearest = meaning.nearest(&Vector::of(&mixed).unwrap(), |_| true);
            assert!(nearest.len() <= NEIGHBOURS);
            found += usize::from(nearest.first() == Some(&(n as u32)));
        }
        assert!(found >= 95, "{found} of 100");
    }

    #[test]
    fn a_vector_without_direction_is_none() {
        for none in [&[][..], &[0.0, 0.0], &[f32::NAN, 1.0], &[f32::INFINITY]] {
            assert!(Vector::of(none).is_none());
        }
        assert_eq!(Vector::of(&noise(1, 5_000)).unwrap().parts.len(), DIMENSIONS);
    }
}
