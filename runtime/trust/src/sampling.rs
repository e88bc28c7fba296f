//! Tier 4: which receipts are replayed, so that nobody can tell beforehand and lying does not pay.

use actum_model::{Did, id::sha256};
use std::num::NonZeroU32;

/// Sets this use of the secret apart from every other.
const DOMAIN: &[u8] = b"actum/sampling@1";

/// Whether a provider's `nth` receipt, counted from 0, is replayed.
///
/// The receipts are taken in blocks of `one_in`, and of each block exactly one is drawn: no luck lets a liar through for
/// longer than `2 * one_in - 2` receipts in a row. Which one, follows from a hash keyed with `secret`: who does not have
/// it cannot do better than guess, and the same question has the same answer, whatever else was asked. All parts of what
/// is hashed have fixed lengths and the hash itself is never shown, so that a plain hash of key and message will do.
pub fn due(secret: &[u8; 32], provider: &Did, nth: u64, one_in: NonZeroU32) -> bool {
    let size = u64::from(one_in.get());
    let (block, place) = (nth / size, nth % size);
    let parts = [
        DOMAIN,
        secret.as_slice(),
        provider.as_bytes().as_slice(),
        one_in.get().to_be_bytes().as_slice(),
        block.to_be_bytes().as_slice(),
    ]
    .concat();
    // Of 2^64 numbers, and with fewer than 2^32 places, no place is noticeably likelier than another.
    let drawn = sha256(&parts).iter().take(8).fold(0_u64, |n, byte| (n << 8) | u64::from(*byte));
    drawn % size == place
}

/// The least sampling, as one in so many, at which one lie is a loss on average.
///
/// A lie that is found gains nothing and costs `stake`; one that is not gains `gain`. Of one in `n` it costs if
/// `(n - 1) * gain < stake`. Both are in the same unit, such as fuel units: the gain is what the liar saves or is paid by
/// one lie, the stake what its good standing would bring in from now on. Where nothing is gained, any rate will do; where
/// nothing is at stake, as of a newcomer, everything is replayed.
pub fn rate_for_negative_expectation(gain: u64, stake: u64) -> NonZeroU32 {
    let spare = match (stake.checked_sub(1), gain) {
        (None, _) => 0,
        (Some(_), 0) => return NonZeroU32::MAX,
        (Some(spare), gain) => spare / gain,
    };
    NonZeroU32::MIN.saturating_add(u32::try_from(spare).unwrap_or(u32::MAX))
}

/// How many lies go through, on average, before one is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectedLies {
    /// Of a liar who lies each time, in thousandths: `(n - 1) / 2`, for the one drawn is on average in the middle.
    pub always_milli: u64,
    /// Of a liar whose lies are far apart, in thousandths: `n - 1`, for each is found one time in `n`.
    pub rare_milli: u64,
}

/// How many lies go through, on average, where one in so many receipts is replayed.
pub fn expected_lies(one_in: NonZeroU32) -> ExpectedLies {
    let others = u64::from(one_in.get() - 1);
    ExpectedLies { always_milli: others * 500, rare_milli: others * 1_000 }
}
