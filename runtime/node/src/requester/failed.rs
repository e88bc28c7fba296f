//! What a failed call says of the provider, in the words of the policy.

use crate::failure::CallError;
use actum_overlay::{RefusalCode, RequestError};
use actum_trust::{Failure, Refused};

impl CallError {
    /// How an attempt at one provider failed; `None` where that says nothing of any provider. `fair`: whether the provider had
    /// about as long as any has.
    pub(super) fn failure(&self, fair: bool) -> Option<Failure> {
        Some(match self {
            Self::Connect { .. } | Self::Unreachable { .. } => Failure::NotReached,
            Self::NotAdmitted { .. } => Failure::NotBegun,
            Self::Lost { source, .. } => match source {
                RequestError::NotConnected { .. } | RequestError::LostBeforeSending { .. } => {
                    Failure::Lost { may_have_run: false }
                }
                RequestError::TimedOut { may_have_run, .. } => {
                    Failure::Late { may_have_run: *may_have_run, fair }
                }
                // It would be for anybody.
                RequestError::TooLarge { .. } => Failure::Refused(Refused::Wrong),
                _ => Failure::Lost { may_have_run: true },
            },
            Self::Unanswered { .. } => Failure::Late { may_have_run: true, fair },
            Self::Gone { .. } => Failure::Gone,
            Self::Refused { refusal, .. } => Failure::Refused(refused(refusal.code)),
            Self::Inconsistent { .. } | Self::BadAnswer { .. } => Failure::Inconsistent,
            Self::Lied { .. } => Failure::Lied,
            Self::Unverified { .. } => Failure::Unverified,
            _ => return None,
        })
    }
}

/// What a refusal says. An honest peer refuses so before it begins, and as [`RefusalCode::Gone`] from then on.
fn refused(code: RefusalCode) -> Refused {
    use RefusalCode::{
        BadProof, Busy, Exhausted, Expired, Internal, NotAllowed, NotOffered, OverLimit, Revoked,
        ShuttingDown, TooEarly, UnknownComponent, UnknownRelease,
    };
    match code {
        Busy | Internal | NotOffered | OverLimit | ShuttingDown | UnknownComponent | UnknownRelease => {
            Refused::NotNow
        }
        BadProof | Exhausted | Expired | NotAllowed | Revoked | TooEarly => Refused::NotForYou,
        _ => Refused::Wrong,
    }
}
