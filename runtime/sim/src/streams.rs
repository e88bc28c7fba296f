//! Randomness: one stream for each actor and purpose, all of one seed, none of them moved by what another draws.

use crate::Span;
use actum_model::id::sha256;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use rand_distr::{Distribution, Exp1, StandardNormal};

/// Sets the streams of a seed apart from everything else that is hashed.
const DOMAIN: &[u8] = b"actum/sim@1";

/// The streams of one seed.
#[derive(Clone, Copy, Debug)]
pub struct Streams {
    seed: u64,
}

impl Streams {
    /// All streams of a seed.
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The stream that one actor draws from for one purpose. The same arguments give the same stream, whoever else there is.
    pub fn of(&self, purpose: &str, actor: u64) -> Stream {
        let key = sha256(&[DOMAIN, &self.seed.to_be_bytes(), purpose.as_bytes()].concat());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(actor);
        Stream(rng)
    }

    /// 32 bytes for one actor and purpose, e.g. of a key.
    pub fn bytes(&self, purpose: &str, actor: u64) -> [u8; 32] {
        let parts: [&[u8]; 5] =
            [DOMAIN, &self.seed.to_be_bytes(), b"bytes", purpose.as_bytes(), &actor.to_be_bytes()];
        sha256(&parts.concat())
    }
}

/// One actor's random numbers.
#[derive(Clone, Debug)]
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `n`; 0 where `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        // The upper half of a product is as good as uniform for the small numbers that are drawn here.
        let product = u128::from(self.number()) * u128::from(n);
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// A place in a list of `len`; 0 where it is empty.
    pub fn place(&mut self, len: usize) -> usize {
        usize::try_from(self.below(u64::try_from(len).unwrap_or(u64::MAX))).unwrap_or(0)
    }

    /// A number in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True so often.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// How long until something that happens once in `mean` on average, whatever happened before.
    pub fn exponential(&mut self, mean: Span) -> Span {
        let one: f64 = Exp1.sample(&mut self.0);
        Span::from_micros((one * mean.micros() as f64) as u64)
    }

    /// A log-normal span of this median; `sigma` is the standard deviation of its natural logarithm.
    pub fn log_normal(&mut self, median: Span, sigma: f64) -> Span {
        if sigma == 0.0 {
            return median;
        }
        let normal: f64 = StandardNormal.sample(&mut self.0);
        Span::from_micros((median.micros() as f64 * (sigma * normal).exp()) as u64)
    }

    /// Puts a list in an order drawn by chance.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for n in (1..list.len()).rev() {
            let other = self.place(n + 1);
            list.swap(n, other);
        }
    }

    /// The generator itself, for what takes one.
    pub fn rng(&mut self) -> &mut ChaCha8Rng {
        &mut self.0
    }
}
