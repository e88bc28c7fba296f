//! The only place where the node reads a clock or the system's randomness; everything below takes them as arguments.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since the Unix epoch.
pub fn now_secs() -> u64 {
    now_nanos() / 1_000_000_000
}

/// Milliseconds since the Unix epoch.
pub fn now_millis() -> u64 {
    now_nanos() / 1_000_000
}

/// Nanoseconds since the Unix epoch; a clock before it reads as zero.
pub fn now_nanos() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
}

/// Bytes nobody can guess.
///
/// # Panics
/// When the operating system has no randomness to give: nothing that needs a key or a nonce can go on then.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[expect(clippy::expect_used, reason = "without randomness no key or nonce can be made")]
    getrandom::fill(&mut bytes).expect("the operating system provides randomness");
    bytes
}
