//! Evidence for and against, and what may be concluded from so much of it.

use super::ACTION_MILLI;
use std::sync::LazyLock;

/// Standard deviations between the mean and the lower bound, in thousandths: 1.645, below which a normal variable is one
/// time in twenty.
const DEVIATIONS_MILLI: u128 = 1_645;

/// The lower bounds at which a score is surer by a doubling: those of three quarters of one confirmation, and of twice as
/// many each time.
static DOUBLINGS: LazyLock<[u64; 8]> = LazyLock::new(|| {
    let bound = |n: u32| Score { good_milli: (ACTION_MILLI * 3 / 4) << n, bad_milli: 0 }.low_permille();
    [0, 1, 2, 3, 4, 5, 6, 7].map(bound)
});

/// Evidence for and against something, in thousandths of an action.
///
/// The chance that the next action is good is taken as a Beta distribution that starts out uniform, Beta(1, 1): nothing
/// known, everything possible. Each action adds one to its side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    /// For it.
    pub good_milli: u64,
    /// Against it.
    pub bad_milli: u64,
}

impl Score {
    /// The mean, in thousandths: 500 where nothing is known.
    pub fn mean_permille(&self) -> u64 {
        let (good, bad) = self.posterior();
        u64::try_from(good * 1_000 / (good + bad)).unwrap_or(0)
    }

    /// What the chance is at least, in thousandths, to be wrong about one time in twenty: the mean less 1.645 standard
    /// deviations. 25 where nothing is known, and the more evidence there is, the nearer to the mean.
    pub fn low_permille(&self) -> u64 {
        let (good, bad) = self.posterior();
        let all = good + bad;
        // The variance is ab / (n² (n + 1)); n + 1 in thousandths is n + 1000. At most 2^33 each: nothing overflows.
        let variance = good * bad * 1_000_000_000_000 / (all * all) * 1_000 / (all + 1_000);
        let mean = good * 1_000_000 / all;
        let low = mean.saturating_sub(variance.isqrt() * DEVIATIONS_MILLI / 1_000);
        u64::try_from(low / 1_000).unwrap_or(0)
    }

    /// How sure this is, by doublings: 0 for less than three quarters of one confirmation and nothing against it, then one
    /// more for each doubling of as much, up to 8 from 96 confirmations on. Coarse, so that one more receipt does not draw
    /// all the work to one provider.
    pub fn doublings(&self) -> u32 {
        let low = self.low_permille();
        DOUBLINGS.iter().map(|bound| u32::from(low >= *bound)).sum()
    }

    fn posterior(&self) -> (u128, u128) {
        let side = |milli: u64| u128::from(milli.min(u64::from(u32::MAX)) + ACTION_MILLI);
        (side(self.good_milli), side(self.bad_milli))
    }

    /// Both evidences together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            good_milli: self.good_milli.saturating_add(other.good_milli),
            bad_milli: self.bad_milli.saturating_add(other.bad_milli),
        }
    }

    /// The same proportion, of at most so much evidence.
    pub(crate) fn capped(self, most_milli: u64) -> Self {
        let all = u128::from(self.good_milli) + u128::from(self.bad_milli);
        if all <= u128::from(most_milli) {
            return self;
        }
        let part = |milli: u64| {
            u64::try_from(u128::from(milli) * u128::from(most_milli) / all).unwrap_or(most_milli)
        };
        Self { good_milli: part(self.good_milli), bad_milli: part(self.bad_milli) }
    }
}
