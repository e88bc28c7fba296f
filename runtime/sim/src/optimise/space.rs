//! The levels that are tried, and which of two is the weaker.

use actum_trust::Level;
use std::num::NonZeroU32;

/// A grid of levels. Each list goes from the weakest to the strictest.
#[derive(Clone, Debug)]
pub struct Space {
    /// Canaries before the action of a provider that is not known.
    pub canaries: Vec<u32>,
    /// One in so many receipts is replayed.
    pub replay_one_in: Vec<u32>,
    /// Whether the output waits for that.
    pub before: Vec<bool>,
    /// Confirmed receipts until which everything is replayed.
    pub probation: Vec<u32>,
    /// Providers that run the action.
    pub replicas: Vec<u32>,
}

impl Space {
    /// Every level of the grid. What the grid does not say is as in the node's `medium`; a capability is on probation for a
    /// provider's first four receipts at most, as there.
    pub fn levels(&self) -> Vec<Level> {
        let medium = Level::medium();
        let mut levels = Vec::new();
        for &replicas in &self.replicas {
            for &replay_one_in in &self.replay_one_in {
                for &probation in &self.probation {
                    for &canaries in &self.canaries {
                        for &before in &self.before {
                            levels.push(Level {
                                canaries,
                                replicas,
                                replicas_reads: replicas,
                                replay_one_in: NonZeroU32::new(replay_one_in).unwrap_or(NonZeroU32::MIN),
                                before,
                                probation,
                                probation_here: probation.min(medium.probation_here),
                                ..medium
                            });
                        }
                    }
                }
            }
        }
        levels
    }
}

/// Whether a level checks no more than another in anything, and is not that one. Of two that differ in what is no check, as whom
/// they ask and how long they wait, neither is.
pub(super) fn is_weaker(weak: &Level, strict: &Level) -> bool {
    let with_its_checks = Level {
        canaries: strict.canaries,
        replicas: strict.replicas,
        replicas_reads: strict.replicas_reads,
        replay_one_in: strict.replay_one_in,
        before: strict.before,
        probation: strict.probation,
        probation_here: strict.probation_here,
        ..*weak
    };
    weak != strict
        && with_its_checks == *strict
        && weak.canaries <= strict.canaries
        && weak.replicas <= strict.replicas
        && weak.replicas_reads <= strict.replicas_reads
        && weak.replay_one_in >= strict.replay_one_in
        && weak.before <= strict.before
        && weak.probation <= strict.probation
        && weak.probation_here <= strict.probation_here
}

/// About what a level costs, in runs of each action. It decides in which order levels are tried and nothing else.
pub(super) fn about(level: &Level) -> f64 {
    f64::from(level.replicas.saturating_sub(1))
        + 1.0 / f64::from(level.replay_one_in.get())
        + f64::from(level.probation) / 200.0
        + f64::from(level.canaries) / 50.0
        + if level.before { 0.001 } else { 0.0 }
}

/// A level in a few words, e.g. `1 canary, replay 1 in 10 before, probation 8`.
pub fn words(level: &Level) -> String {
    let mut words = Vec::new();
    match level.canaries {
        0 => {}
        1 => words.push("1 canary".to_owned()),
        n => words.push(format!("{n} canaries")),
    }
    if level.replicas > 1 {
        words.push(format!("{} replicas", level.replicas));
    }
    let when = if level.before { "before" } else { "after" };
    words.push(match level.replay_one_in.get() {
        1 => format!("replay each {when}"),
        n => format!("replay 1 in {n} {when}"),
    });
    if level.probation > 0 {
        words.push(format!("probation {}", level.probation));
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_in_more_than_checks_is_neither_weaker_nor_stricter() {
        let strict =
            Level { canaries: 8, probation: 99, probation_here: 99, replicas_reads: 3, ..Level::medium() };
        assert!(is_weaker(&Level::medium(), &strict) && !is_weaker(&strict, &Level::medium()));
        assert!(!is_weaker(&strict, &strict));
        let others = [
            Level { fallbacks: 8, ..strict },
            Level { newcomers: false, ..strict },
            Level { patience_seconds: 60, ..strict },
            Level { explore_one_in: NonZeroU32::MIN, ..strict },
            Level { attestation: true, ..strict },
            Level { probation_here: 3, ..strict },
            Level { replicas_reads: 0, ..strict },
        ];
        for other in others {
            assert!(!is_weaker(&Level::medium(), &other), "{other:?}");
            assert!(!is_weaker(&other, &Level::medium()), "{other:?}");
        }
    }
}
