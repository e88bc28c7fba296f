//! How often somebody may ask: a burst, and then so many a second. One number is remembered of each who asks.

use std::collections::BTreeMap;

/// Rates of many, bounded.
#[derive(Clone, Debug)]
pub(crate) struct Rates<K> {
    /// When each one's burst will be whole again, in milliseconds.
    whole_at: BTreeMap<K, u64>,
    held: usize,
    every_ms: u64,
    burst: u64,
}

/// Why somebody may not ask now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// It, or its address range, asked too often.
    #[error("too many requests; the next in {again_ms} ms")]
    Fast {
        /// In how many milliseconds it may again.
        again_ms: u64,
    },
    /// Too many others have asked lately to remember one more.
    #[error("too many ask at once")]
    Busy,
}

impl TooMuch {
    /// The stable code, as on wires and in metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Fast { .. } => "too-fast",
            Self::Busy => "busy",
        }
    }
}

impl<K: Ord + Copy> Rates<K> {
    pub(crate) fn new(every_ms: u64, burst: u64, held: usize) -> Self {
        Self { whole_at: BTreeMap::new(), held, every_ms, burst }
    }

    /// Takes one request into account, if it may be made.
    pub(crate) fn ask(&mut self, who: K, now: u64) -> Result<(), TooMuch> {
        let span = self.every_ms.saturating_mul(self.burst);
        // No debt is larger than a burst, whatever was charged and should the clock have gone back.
        let most = now.saturating_add(span.saturating_mul(2));
        let whole_at = self.whole_at.get(&who).map(|at| (*at).min(most));
        let next = whole_at.unwrap_or(0).max(now).saturating_add(self.every_ms);
        if let Some(again_ms) = (next - now).checked_sub(span).filter(|ms| *ms > 0) {
            if let Some(at) = whole_at {
                self.whole_at.insert(who, at);
            }
            return Err(TooMuch::Fast { again_ms });
        }
        if whole_at.is_none() && self.whole_at.len() >= self.held {
            // Those whose burst is whole are as if they had never asked.
            self.whole_at.retain(|_, at| *at > now);
            if self.whole_at.len() >= self.held {
                return Err(TooMuch::Busy);
            }
        }
        self.whole_at.insert(who, next);
        Ok(())
    }

    /// Charges somebody who has asked with so many requests more.
    pub(crate) fn charge(&mut self, who: K, requests: u64) {
        if let Some(whole_at) = self.whole_at.get_mut(&who) {
            *whole_at = whole_at.saturating_add(self.every_ms.saturating_mul(requests));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_one_at_a_time_and_faults_cost_more() {
        let mut rates = Rates::new(100, 3, 2);
        for _ in 0..3 {
            assert_eq!(rates.ask(1, 1_000), Ok(()));
        }
        assert_eq!(rates.ask(1, 1_000), Err(TooMuch::Fast { again_ms: 100 }));
        assert_eq!(rates.ask(1, 1_100), Ok(()));
        rates.charge(1, 2);
        assert_eq!(rates.ask(1, 1_100), Err(TooMuch::Fast { again_ms: 300 }));
        rates.charge(1, 1_000);
        assert_eq!(rates.ask(1, 1_100), Err(TooMuch::Fast { again_ms: 400 }));
        assert_eq!(rates.ask(1, 500), Err(TooMuch::Fast { again_ms: 400 }), "the clock went back");
    }

    #[test]
    fn no_more_are_remembered_than_fit_and_those_at_rest_make_room() {
        let mut rates = Rates::new(100, 3, 2);
        assert_eq!(rates.ask(1, 0), Ok(()));
        assert_eq!(rates.ask(2, 0), Ok(()));
        assert_eq!(rates.ask(3, 0), Err(TooMuch::Busy));
        assert_eq!(rates.ask(3, 100), Ok(()));
        assert_eq!(rates.whole_at.len(), 1);
    }
}
