//! Why finding and calling fail, each remedy its own variant.

use crate::{home::HomeError, invoke::ArgsError};
use actum_model::{Did, InvocationId, Judgement, ReceiptId, ReleaseId, release::FunctionLookupError};
use actum_overlay::{ConnectError, OverlayError, Refusal, RefusalCode, RequestError};
use actum_store::StoreError;
use actum_trust::{Inconsistency, UnknownLevel};

/// Why nothing could be looked up.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// No peer's address is known here.
    #[error("this home knows no peer to ask")]
    NobodyToAsk,
    /// Every peer that was asked failed.
    #[error("no peer answered{}", tried.iter().map(|t| format!("; {t}")).collect::<String>())]
    NoAnswer {
        /// Each peer, and what went wrong.
        tried: Vec<String>,
    },
    /// The network could not be set up.
    #[error("the network could not be set up")]
    Overlay(#[from] OverlayError),
    /// The home failed.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Looking for a provider failed.
    #[error(transparent)]
    Find(#[from] FindError),
    /// Nobody offers it.
    #[error("nobody offers {target:?} now")]
    NotFound {
        /// What was asked for.
        target: String,
    },
    /// The release has no such function.
    #[error(transparent)]
    Function(#[from] FunctionLookupError),
    /// The arguments do not fit; nothing was sent.
    #[error(transparent)]
    Args(#[from] ArgsError),
    /// No candidate could be reached or gave its release.
    #[error("no provider could be reached{}", tried.iter().map(|t| format!("; {t}")).collect::<String>())]
    Unreachable {
        /// Each candidate, and what went wrong.
        tried: Vec<String>,
    },
    /// The provider refused, and no other candidate remained.
    #[error("{provider} refused: {refusal}")]
    Refused {
        /// The provider.
        provider: Did,
        /// Its words.
        refusal: Refusal,
    },
    /// What is asked for does not fit into an invocation; nothing was sent.
    #[error("too much is asked for: {why}")]
    TooMuch {
        /// What of.
        why: String,
    },
    /// The connection failed while the action may have been running.
    #[error("{provider} did not answer")]
    Lost {
        /// The provider.
        provider: Did,
        /// What happened.
        source: RequestError,
    },
    /// The call was lost on its way, and the provider says that it never admitted it and never will: it did not run.
    #[error("the call was lost before {provider} admitted it")]
    NotAdmitted {
        /// The provider.
        provider: Did,
    },
    /// The provider was lost while the action may have been running, and was not reached again by the deadline. Its
    /// answer can be asked for later, by the invocation's id: [`Requester::resume`](crate::requester::Requester::resume).
    #[error(
        "{provider} was lost, and not reached again in time ({why}): the action may have run, and its answer may be had \
         later, as that to {invocation}"
    )]
    Unanswered {
        /// The provider.
        provider: Did,
        /// What was sent to it.
        invocation: InvocationId,
        /// What happened last.
        why: String,
    },
    /// The provider admitted the call and has no answer, or no longer: the action may have run. Nobody else was asked.
    #[error(
        "{provider} has no answer to {invocation}: it was admitted, the action may have run, and nothing of it is kept"
    )]
    Gone {
        /// The provider.
        provider: Did,
        /// What was sent to it.
        invocation: InvocationId,
    },
    /// No call of that id waits for its answer here: it was answered, or never sent, or longer ago than a week.
    #[error("no call {invocation} waits for an answer here")]
    NothingToResume {
        /// What was asked for.
        invocation: InvocationId,
    },
    /// The release says of its component what is not so: the arguments may have been read otherwise than meant.
    #[error("release {release} is not true: {why}")]
    Untrue {
        /// The release.
        release: ReleaseId,
        /// What is not so.
        why: String,
    },
    /// What the provider sent contradicts itself or the action; nothing of it was kept.
    #[error("{provider} sent a receipt that does not hold")]
    Inconsistent {
        /// The provider.
        provider: Did,
        /// Which check failed.
        source: Box<Inconsistency>,
    },
    /// The provider answered with something that is not an answer to a call.
    #[error("{provider} answered something else than a receipt: {what}")]
    BadAnswer {
        /// The provider.
        provider: Did,
        /// What is wrong.
        what: String,
    },
    /// A candidate could not be reached.
    #[error("{provider} could not be reached")]
    Connect {
        /// The provider.
        provider: Did,
        /// What happened.
        source: ConnectError,
    },
    /// The provider's answer, or one of its answers to canaries, is not what the component does: the receipt proves it to
    /// anybody. Nothing of it was taken.
    #[error("{provider} lied: its receipt {receipt} {judgement}")]
    Lied {
        /// The provider.
        provider: Did,
        /// The receipt.
        receipt: ReceiptId,
        /// Where re-execution differs.
        judgement: Box<Judgement>,
    },
    /// The level of risk wants the answer checked before it is believed, and it could not be.
    #[error("the answer of {provider} could not be verified: {why}")]
    Unverified {
        /// The provider.
        provider: Did,
        /// Why.
        why: String,
    },
    /// Everybody who offers it was left out for what they did.
    #[error("nobody is left to ask: {provider} was left out: {why}")]
    Excluded {
        /// The first of them.
        provider: Did,
        /// What it did.
        why: String,
    },
    /// No such level of risk.
    #[error(transparent)]
    Risk(#[from] UnknownLevel),
    /// The home failed.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CallError {
    fn refused(&self) -> Option<&Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal),
            _ => None,
        }
    }

    /// Whether somebody with authority said no, and will say so again.
    pub fn is_denial(&self) -> bool {
        use RefusalCode::{AlreadyServed, BadProof, Expired, NotAllowed, Revoked, TooEarly};
        self.refused().is_some_and(|r| {
            matches!(r.code, NotAllowed | BadProof | Expired | TooEarly | Revoked | AlreadyServed)
        })
    }

    /// Whether there is no room, of a quota, a budget or the queue; and when it may be worth asking again, in milliseconds.
    pub fn is_exhaustion(&self) -> Option<Option<u64>> {
        let refusal = self.refused()?;
        matches!(refusal.code, RefusalCode::Exhausted | RefusalCode::Busy).then_some(refusal.retry_after_ms)
    }
}
