//! What the messages of the advertise plane are made of.

use actum_model::{Descriptor, Did, Lease, Statement};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

/// The largest [`Contact`] in bytes: four addresses, a key, and what names them.
pub(super) const MAX_CONTACT: usize = Lease::MAX_ADDRS * (Lease::MAX_ADDR_BYTES + 2) + 96;
/// The largest [`Offer`] in bytes.
pub(super) const MAX_AD: usize = Descriptor::MAX_BYTES + Lease::MAX_BYTES + 64;
/// The length of a registrar's ticket in bytes. What is in it is between the registrar and itself.
pub const TICKET_BYTES: usize = 52;
/// The most ads in one answer.
pub const MAX_ADS: usize = 10;
/// The most peers named in one answer: one of each distance.
pub const MAX_CLOSER: usize = 16;

/// The longest message of set reconciliation in bytes: 64 KiB.
pub const MAX_RECONCILE: usize = 64 << 10;
/// The most statements asked for at once.
pub const MAX_STATEMENTS: usize = 128;

/// A peer, and where it is said to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    /// Who.
    pub did: Did,
    /// Multiaddrs without the peer id. At most 4, of 128 bytes each.
    #[serde(deserialize_with = "super::at_most::<_, _, { Lease::MAX_ADDRS }>")]
    pub addrs: Vec<String>,
}

impl Contact {
    pub(super) fn fits(&self) -> bool {
        self.addrs.len() <= Lease::MAX_ADDRS && self.addrs.iter().all(|a| a.len() <= Lease::MAX_ADDR_BYTES)
    }
}

/// What a registrar says to an ad.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Placed {
    /// It has a place.
    Confirmed {
        /// For how many milliseconds from now.
        for_ms: u64,
    },
    /// It has to wait.
    Wait {
        /// To be shown when it comes again.
        ticket: ByteArray<TICKET_BYTES>,
        /// How many milliseconds from now that is.
        wait_ms: u64,
    },
    /// It is refused.
    Refused {
        /// The kind of refusal, as `actum-discovery` names it. At most 64 bytes.
        code: String,
        /// What exactly, for people. At most 1 KiB.
        message: String,
    },
}

impl Placed {
    pub(super) fn fits(&self) -> bool {
        match self {
            Self::Refused { code, message } => code.len() <= 64 && message.len() <= super::MAX_REFUSAL_TEXT,
            Self::Confirmed { .. } | Self::Wait { .. } => true,
        }
    }
}
