//! Why a registrar does not register, in codes.

use super::{
    AdRefused, ProofFailed, TicketRefused,
    limits::{ADS_PER_PROVIDER, ADS_PER_PROVIDER_AND_KEY, CAPACITY, MIN_LIFE_MS},
};
use actum_model::Did;

/// Why a registrar refused a request.
#[derive(Debug, thiserror::Error)]
pub enum RegisterRefused {
    /// The offer is no ad under this key.
    #[error(transparent)]
    Ad(#[from] AdRefused),
    /// Somebody registers another's offer.
    #[error("{sender} sent an offer of {provider}; a provider registers its own")]
    NotTheProvider {
        /// Who sent it.
        sender: Did,
        /// Whose it is.
        provider: Did,
    },
    /// The ticket is no good.
    #[error(transparent)]
    Ticket(#[from] TicketRefused),
    /// The provider's ad here is newer than this one.
    #[error("an offer of sequence number {known} is registered; this one has {seq}")]
    Older {
        /// The sequence number registered.
        known: u64,
        /// The one sent.
        seq: u64,
    },
    /// The provider names another component for a release than it did; a release has one.
    #[error("the release was registered with another component")]
    OtherComponent,
    /// Too little is left of the descriptor's or the lease's life.
    #[error("the offer ends in {left_ms} ms; {MIN_LIFE_MS} must be left")]
    EndsSoon {
        /// What is left, in milliseconds.
        left_ms: u64,
    },
    /// A component of a size that none may have, so that nothing could be proven.
    #[error("a component of {bytes} bytes, which none may have")]
    ComponentSize {
        /// The size the descriptor says.
        bytes: u64,
    },
    /// The registrar is full. Ads end within a quarter of an hour.
    #[error("the registrar is full: it holds {CAPACITY} ads")]
    Full,
    /// The provider has as many ads here as it may.
    #[error("the provider has {ADS_PER_PROVIDER} ads here, as many as one may")]
    TooManyAds,
    /// The provider has as many ads under this key as it may.
    #[error("the provider has {ADS_PER_PROVIDER_AND_KEY} ads under this key, as many as one may")]
    TooManyOfKey,
    /// The provider, or its address prefix, asks too often.
    #[error("too many requests; the next in {again_ms} ms")]
    TooFast {
        /// In how many milliseconds it may ask again.
        again_ms: u64,
    },
    /// So many ask that one more cannot be remembered.
    #[error("too many ask at once")]
    Busy,
    /// The provider did not prove that it has the component.
    #[error(transparent)]
    Possession(#[from] ProofFailed),
    /// The provider left: with a tombstone of this sequence number or a higher one.
    #[error("the provider left with a tombstone of sequence number {seq}")]
    Left {
        /// The tombstone's sequence number.
        seq: u64,
    },
    /// A lease came from a provider that has no ad here.
    #[error("the provider has no ad here")]
    NothingHere,
}

impl RegisterRefused {
    /// The stable code, as on wires and in metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Ad(refused) => refused.code(),
            Self::NotTheProvider { .. } => "not-the-provider",
            Self::Ticket(refused) => refused.code(),
            Self::Older { .. } => "older",
            Self::OtherComponent => "other-component",
            Self::EndsSoon { .. } => "ends-soon",
            Self::ComponentSize { .. } => "component-size",
            Self::Full => "registrar-full",
            Self::TooManyAds => "too-many-ads",
            Self::TooManyOfKey => "too-many-of-key",
            Self::TooFast { .. } => "too-fast",
            Self::Busy => "busy",
            Self::Possession(failed) => failed.code(),
            Self::Left { .. } => "taken-back",
            Self::NothingHere => "nothing-here",
        }
    }

    /// Whether the sender is to blame: what it sent could not have been right at any time. It costs it 16 requests
    /// ([`FAULT_COST`](super::limits::FAULT_COST)); what more it costs is for the driver to say.
    pub fn is_fault(&self) -> bool {
        match self {
            Self::Ad(refused) => refused.is_fault(),
            Self::NotTheProvider { .. } | Self::OtherComponent | Self::ComponentSize { .. } => true,
            Self::Ticket(refused) => *refused == TicketRefused::Forged,
            Self::Possession(failed) => *failed != ProofFailed::Late,
            Self::Older { .. }
            | Self::EndsSoon { .. }
            | Self::Full
            | Self::TooManyAds
            | Self::TooManyOfKey
            | Self::TooFast { .. }
            | Self::Busy
            | Self::Left { .. }
            | Self::NothingHere => false,
        }
    }
}
