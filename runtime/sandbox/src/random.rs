//! The virtual randomness: three ChaCha20 key streams of the action's seed, one for each `wasi:random` interface.
//!
//! The rule, part of the profile: the key is the seed; stream 0 is `random`, 1 `insecure`, 2 `insecure-seed`; bytes are
//! the key stream's, integers its next eight bytes, little-endian.

use crate::error::Stop;
use crate::toll::Toll;
use actum_model::TrapCode;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use wasmtime::component::HasData;
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};

/// The most random bytes one call may ask for: 1 MiB. More is a trap.
pub(crate) const MAX_BYTES: u64 = 1 << 20;

/// The randomness of one action.
pub(crate) struct Randomness {
    secure: ChaCha20Rng,
    insecure: ChaCha20Rng,
    seed: ChaCha20Rng,
}

impl Randomness {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        let stream = |n| {
            let mut rng = ChaCha20Rng::from_seed(seed);
            rng.set_stream(n);
            rng
        };
        Self { secure: stream(0), insecure: stream(1), seed: stream(2) }
    }
}

/// Names [`Randomness`] to the linker.
pub(crate) struct HasRandomness;

impl HasData for HasRandomness {
    type Data<'a> = Chance<'a>;
}

/// The randomness of one action, and what it costs.
pub(crate) struct Chance<'a> {
    pub(crate) random: &'a mut Randomness,
    pub(crate) toll: &'a mut Toll,
}

fn bytes(rng: &mut ChaCha20Rng, toll: &mut Toll, len: u64) -> wasmtime::Result<Vec<u8>> {
    let len = match usize::try_from(len) {
        Ok(n) if len <= MAX_BYTES => n,
        _ => return Err(Stop::Fault(TrapCode::Other).into()),
    };
    toll.bytes(len);
    let mut out = vec![0; len];
    rng.fill_bytes(&mut out);
    Ok(out)
}

fn integer(rng: &mut ChaCha20Rng) -> u64 {
    let mut out = [0; 8];
    rng.fill_bytes(&mut out);
    u64::from_le_bytes(out)
}

impl random::Host for Chance<'_> {
    fn get_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        bytes(&mut self.random.secure, self.toll, len)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(integer(&mut self.random.secure))
    }
}

impl insecure::Host for Chance<'_> {
    fn get_insecure_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        bytes(&mut self.random.insecure, self.toll, len)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(integer(&mut self.random.insecure))
    }
}

impl insecure_seed::Host for Chance<'_> {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok((integer(&mut self.random.seed), integer(&mut self.random.seed)))
    }
}
