//! Why an index does not take a statement in.

use crate::CLOCK_SKEW;
use actum_model::{Did, EnvelopeError};

/// Why a descriptor or lease was refused.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Neither a signed descriptor nor a signed lease.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// Its life is over.
    #[error("expired at {exp}; it is {now}")]
    Expired {
        /// When it expired.
        exp: u64,
        /// The time here.
        now: u64,
    },
    /// Its life begins further ahead than two clocks may differ.
    #[error("not valid before {nbf}; it is {now}, and clocks may differ by {CLOCK_SKEW} seconds")]
    NotYetValid {
        /// When it begins.
        nbf: u64,
        /// The time here.
        now: u64,
    },
    /// The index holds as many providers as it may. Expired ones make room with time.
    #[error("the index is full: it holds {limit} providers")]
    TooManyProviders {
        /// How many it may hold.
        limit: usize,
    },
    /// The index holds as many descriptors as it may. Expired ones make room with time.
    #[error("the index is full: it holds {limit} descriptors")]
    Full {
        /// How many it may hold.
        limit: usize,
    },
    /// The provider has as many offers here as it may, all of a higher sequence number.
    #[error("{provider} has {limit} newer offers here, as many as one provider may")]
    TooManyDescriptors {
        /// The provider.
        provider: Did,
        /// How many it may have.
        limit: usize,
    },
    /// Its provider took it back: with a tombstone of this sequence number or a higher one.
    #[error("{provider} took it back with a tombstone of sequence number {seq}")]
    TakenBack {
        /// The provider.
        provider: Did,
        /// The tombstone's sequence number.
        seq: u64,
    },
    /// The descriptor and the lease of one offer are of two providers.
    #[error("a descriptor of {descriptor} came with a lease of {lease}")]
    TwoProviders {
        /// Who signed the descriptor.
        descriptor: Did,
        /// Who signed the lease.
        lease: Did,
    },
}

impl Refused {
    /// Whether whoever passed it on is to blame: it could have seen at any time that this is no offer.
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::Envelope(_) | Self::TwoProviders { .. })
    }

    /// The stable code, as on wires and in metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Envelope(_) => "bad-envelope",
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } => "not-yet-valid",
            Self::TooManyProviders { .. } => "too-many-providers",
            Self::Full { .. } => "index-full",
            Self::TooManyDescriptors { .. } => "too-many-descriptors",
            Self::TakenBack { .. } => "taken-back",
            Self::TwoProviders { .. } => "two-providers",
        }
    }
}
