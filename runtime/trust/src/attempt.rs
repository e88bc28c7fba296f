//! What follows from how an attempt at one provider went: what is remembered of it, whether the next one may be asked, and
//! what an answer has to pass before it is handed over.

use crate::{Effect, Experience, Plan, Replay};
use std::time::Duration;

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It could not be reached; nothing was sent.
    NotReached,
    /// What was sent was lost before the provider began, and it never will.
    NotBegun,
    /// The answer was lost.
    Lost {
        /// Whether the action may have run.
        may_have_run: bool,
    },
    /// It did not answer in time.
    Late {
        /// Whether the action may have run.
        may_have_run: bool,
        /// Whether it had about as long as any provider has. What others left of the time is no fault of its.
        fair: bool,
    },
    /// It began, and has no answer any more.
    Gone,
    /// It refused before it began.
    Refused(Refused),
    /// What it answered does not hold together.
    Inconsistent,
    /// Its answer, or that to a canary, is not what happens.
    Lied,
    /// Its answer could not be checked, and was to be.
    Unverified,
}

/// Why a provider refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It does not do now what it offers: busy, broken, or no longer offering it.
    NotNow,
    /// It does not do it for this requester, or not by this grant.
    NotForYou,
    /// What is asked for is wrong, whoever is asked.
    Wrong,
}

impl Failure {
    /// What is remembered of the provider. `None`: nothing, or what the check that found it has noted already.
    pub fn experience(&self) -> Option<Experience> {
        match self {
            Self::NotReached | Self::NotBegun | Self::Lost { .. } | Self::Gone => Some(Experience::Lost),
            Self::Late { fair: true, .. } => Some(Experience::Late),
            Self::Refused(Refused::NotNow) => Some(Experience::Refused),
            Self::Inconsistent => Some(Experience::Inconsistent),
            Self::Late { fair: false, .. } | Self::Refused(_) | Self::Lied | Self::Unverified => None,
        }
    }

    /// Whether the next candidate may be asked. What has effects is not run twice, once it may have run; what has none may
    /// be, for all that anybody would see.
    pub fn goes_on(&self, effect: Effect) -> bool {
        let harmless = effect <= Effect::Reads;
        match self {
            Self::NotReached | Self::NotBegun | Self::Refused(Refused::NotNow | Refused::NotForYou) => true,
            Self::Refused(Refused::Wrong) => false,
            Self::Lost { may_have_run } | Self::Late { may_have_run, .. } => harmless || !may_have_run,
            Self::Gone | Self::Inconsistent | Self::Lied | Self::Unverified => harmless,
        }
    }
}

/// What came of the canaries that went with an action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Canaries {
    /// How many there were to be.
    pub wanted: u32,
    /// How many were answered rightly.
    pub answered: u32,
    /// Whether one was answered with a lie.
    pub lied: bool,
}

/// What is to be done with an answer that holds together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is not taken: the provider lied to a canary.
    Refuse,
    /// It is replayed, and handed over if it is true.
    Replay,
    /// It is handed over: replay has found it true already, and is not asked twice.
    Confirmed,
    /// It is handed over, unless the provider was caught meanwhile. An answer of one whose other answer is being replayed
    /// waits for that.
    HandOver,
}

impl Plan {
    /// The same where canaries cannot be: replay takes their place. `possible`: whether they can.
    #[must_use]
    pub fn with_canaries(mut self, possible: bool) -> Self {
        if self.canaries > 0 && !possible {
            (self.canaries, self.replay) = (0, Replay::Before);
        }
        self
    }

    /// Whether a provider that has this long has about as long as any, of all that the action may take: half as long as it
    /// would be waited for.
    pub fn fair(&self, left: Duration, whole: Duration) -> bool {
        let anybodys = Duration::from_secs(u64::from(self.patience_seconds)).min(whole);
        left >= anybodys / 2
    }

    /// What is to be done with the answer. A canary that did not come back says nothing: replay takes its place.
    /// `confirmed`: whether replay has found this very answer true, as where replicas differed.
    pub fn next(&self, canaries: &Canaries, confirmed: bool) -> Next {
        if canaries.lied {
            Next::Refuse
        } else if confirmed {
            Next::Confirmed
        } else if self.replay == Replay::Before || canaries.answered < canaries.wanted {
            Next::Replay
        } else {
            Next::HandOver
        }
    }

    /// Whether the answer that is handed over is still to be replayed. `confirmed`: whether it was, for whatever reason.
    pub fn replays_later(&self, confirmed: bool) -> bool {
        self.replay == Replay::After && !confirmed
    }
}
