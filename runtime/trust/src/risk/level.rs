//! One level of the table: how much checking, how much waiting.

use std::{cmp::Reverse, num::NonZeroU32};

/// The most canaries before one action: each costs as much as the action, here and there.
pub const MAX_CANARIES: u32 = 8;
/// The most providers that run one action.
pub const MAX_REPLICAS: u32 = 7;
/// The most confirmed receipts that a probation can ask for: a record counts no more than its newest events.
pub const MAX_PROBATION: u32 = 1_024;
/// The most further providers that are asked when one fails.
pub const MAX_FALLBACKS: u32 = 16;
/// The longest that one provider's answer is waited for, in seconds: as long as a provider keeps what nobody came for.
pub const MAX_PATIENCE_SECONDS: u32 = 600;

/// What is done about one action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Canaries before the action of a provider that is not known; a known one gets one now and then, the more rarely the
    /// better it is known. At most [`MAX_CANARIES`].
    pub canaries: u32,
    /// How many providers run the action, if it is pure. 1 to [`MAX_REPLICAS`].
    pub replicas: u32,
    /// How many run it, if it is told something of the world: replay cannot prove that, others' eyes can. 1 to
    /// [`MAX_REPLICAS`], and at least `replicas` are used.
    pub replicas_reads: u32,
    /// One in so many receipts is replayed.
    pub replay_one_in: NonZeroU32,
    /// Whether an output that is drawn for replay waits until it was replayed.
    pub before: bool,
    /// Every receipt is replayed, before its output is handed over, until so many of the provider's were confirmed. At most
    /// [`MAX_PROBATION`].
    pub probation: u32,
    /// The same, of this capability. At most [`MAX_PROBATION`].
    pub probation_here: u32,
    /// How many further providers are asked when one fails. At most [`MAX_FALLBACKS`].
    pub fallbacks: u32,
    /// How long one provider's answer is waited for, in seconds. 1 to [`MAX_PATIENCE_SECONDS`].
    pub patience_seconds: u32,
    /// One action in so many goes to a newcomer first, so that newcomers become known.
    pub explore_one_in: NonZeroU32,
    /// Whether a newcomer may be asked before a known provider at all; otherwise it is tried by canaries alone.
    pub newcomers: bool,
    /// Whether the provider has to attest its machine's state.
    pub attestation: bool,
}

const fn one_in(n: u32) -> NonZeroU32 {
    match NonZeroU32::new(n) {
        Some(n) => n,
        None => NonZeroU32::MIN,
    }
}

impl Level {
    /// A wrong answer is a nuisance.
    pub const fn low() -> Self {
        Self {
            canaries: 0,
            replicas: 1,
            replicas_reads: 1,
            replay_one_in: one_in(50),
            before: true,
            probation: 2,
            probation_here: 1,
            fallbacks: 4,
            patience_seconds: 30,
            explore_one_in: one_in(10),
            newcomers: true,
            attestation: false,
        }
    }

    /// A wrong answer costs something.
    pub const fn medium() -> Self {
        Self {
            canaries: 1,
            replicas: 1,
            replicas_reads: 1,
            replay_one_in: one_in(10),
            before: true,
            probation: 48,
            probation_here: 4,
            fallbacks: 4,
            patience_seconds: 30,
            explore_one_in: one_in(20),
            newcomers: true,
            attestation: false,
        }
    }

    /// No answer is better than a wrong one.
    pub const fn high() -> Self {
        Self {
            canaries: 2,
            replicas: 1,
            replicas_reads: 3,
            replay_one_in: NonZeroU32::MIN,
            before: true,
            probation: 64,
            probation_here: 4,
            fallbacks: 8,
            patience_seconds: 60,
            explore_one_in: one_in(20),
            newcomers: false,
            attestation: false,
        }
    }

    /// The levels that always exist, by name.
    pub const fn defaults() -> [(&'static str, Self); 3] {
        [("low", Self::low()), ("medium", Self::medium()), ("high", Self::high())]
    }

    /// What says which of two levels is the stricter: how much is replayed, whether the output waits for it, and then
    /// everything else that finds a lie.
    pub(crate) fn strictness(&self) -> impl Ord + use<> {
        let replicas = (self.replicas_reads, self.replicas);
        (
            Reverse(self.replay_one_in),
            self.before,
            replicas,
            self.canaries,
            self.probation,
            self.probation_here,
            self.attestation,
            !self.newcomers,
        )
    }

    /// Whether every number is within its bounds.
    ///
    /// # Errors
    /// [`LevelError`] for the first that is not.
    pub fn check(&self) -> Result<(), LevelError> {
        let bounds = [
            ("canaries", self.canaries, 0, MAX_CANARIES),
            ("replicas", self.replicas, 1, MAX_REPLICAS),
            ("replicas_reads", self.replicas_reads, 1, MAX_REPLICAS),
            ("probation", self.probation, 0, MAX_PROBATION),
            ("probation_here", self.probation_here, 0, MAX_PROBATION),
            ("fallbacks", self.fallbacks, 0, MAX_FALLBACKS),
            ("patience_seconds", self.patience_seconds, 1, MAX_PATIENCE_SECONDS),
        ];
        match bounds.into_iter().find(|(_, value, least, most)| !(*least..=*most).contains(value)) {
            Some((key, value, least, most)) => Err(LevelError { key, value, least, most }),
            None => Ok(()),
        }
    }
}

impl Default for Level {
    fn default() -> Self {
        Self::medium()
    }
}

/// A number of a level is out of its bounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} is {value}; {least} to {most} are allowed")]
pub struct LevelError {
    /// Which.
    pub key: &'static str,
    /// What it is.
    pub value: u32,
    /// The least it may be.
    pub least: u32,
    /// The most it may be.
    pub most: u32,
}
