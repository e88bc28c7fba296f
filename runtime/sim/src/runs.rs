//! One run of one network with one seed: what runs it, and where what it came to is kept.

use crate::{Time, market::Market, params::Params, profile::Profile};
use actum_trust::RiskPolicy;
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

mod kept;

pub(crate) use kept::Kept;
pub use kept::KeptError;

/// The most events of one run: a thousand million. One that has more has a parameter that nobody meant.
pub const MAX_EVENTS: u64 = 1_000_000_000;
/// Events between two looks at whether to stop.
const EVENTS_A_LOOK: u64 = 100_000;

/// What a run came to, by name. One that is no number says nothing.
pub type RunFigures = BTreeMap<String, f64>;

/// What runs a network.
pub trait Runner: Sync {
    /// What it is called: what another one came to for the same network is not what this one comes to.
    fn name(&self) -> &str;

    /// Runs a network with a seed; the same arguments come to the same. Looks at `stop` now and then.
    ///
    /// # Errors
    /// [`NotRun`] when it did not come to the end.
    fn run(
        &self,
        params: &Params,
        policy: &RiskPolicy,
        profile: &Profile,
        seed: u64,
        stop: &AtomicBool,
    ) -> Result<RunFigures, NotRun>;
}

/// Why a run did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRun {
    /// It was told to stop.
    #[error("it was stopped")]
    Stopped,
    /// It had more events than [`MAX_EVENTS`].
    #[error("it had {MAX_EVENTS} events, and more are not allowed")]
    TooLong,
}

/// Runs networks as a [`Market`].
#[derive(Clone, Copy, Debug, Default)]
pub struct InMarket;

impl Runner for InMarket {
    fn name(&self) -> &str {
        "market"
    }

    fn run(
        &self,
        params: &Params,
        policy: &RiskPolicy,
        profile: &Profile,
        seed: u64,
        stop: &AtomicBool,
    ) -> Result<RunFigures, NotRun> {
        let end = Time::from_seconds(params.seconds);
        let mut market = Market::new(params.clone(), policy.clone(), profile.clone(), seed);
        let mut left = MAX_EVENTS;
        while !market.run(end, EVENTS_A_LOOK.min(left)) {
            if stop.load(Ordering::Relaxed) {
                return Err(NotRun::Stopped);
            }
            left = left.saturating_sub(EVENTS_A_LOOK);
            if left == 0 {
                return Err(NotRun::TooLong);
            }
        }
        Ok(market.figures().into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }
}

/// Runs networks by a closure of this name, in one go.
pub struct By<F>(pub &'static str, pub F);

impl<F> Runner for By<F>
where
    F: Fn(&Params, &RiskPolicy, &Profile, u64) -> RunFigures + Sync,
{
    fn name(&self) -> &str {
        self.0
    }

    fn run(
        &self,
        params: &Params,
        policy: &RiskPolicy,
        profile: &Profile,
        seed: u64,
        _stop: &AtomicBool,
    ) -> Result<RunFigures, NotRun> {
        Ok((self.1)(params, policy, profile, seed))
    }
}
