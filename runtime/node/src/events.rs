//! What a node does, as its log tells it.

use actum_model::{Did, FunctionName, Outcome, ReceiptId};
use actum_overlay::Refusal;
use std::fmt;

/// What a node did, for its log.
#[expect(
    clippy::large_enum_variant,
    reason = "an execution is what almost every event is; boxing it would cost each one"
)]
#[derive(Clone, Debug)]
pub enum NodeEvent {
    /// An admitted action begins to run.
    Started {
        /// Who asked.
        requester: Did,
        /// What is called.
        function: FunctionName,
    },
    /// An action ended with a receipt.
    Executed {
        /// Who asked.
        requester: Did,
        /// The receipt.
        receipt: ReceiptId,
        /// What was called.
        function: FunctionName,
        /// How it ended.
        outcome: Outcome,
        /// Fuel units burned.
        fuel: u64,
    },
    /// A call was refused.
    Refused {
        /// Who asked.
        requester: Did,
        /// Why not.
        refusal: Refusal,
    },
    /// A peer announced its offers to us.
    Announced {
        /// The peer.
        provider: Did,
        /// Offers now indexed.
        accepted: u32,
    },
    /// A bootstrap peer took our announcement.
    Joined {
        /// The peer.
        peer: Did,
    },
    /// A bootstrap peer could not be reached; it is tried again.
    Unreachable {
        /// Its address.
        address: String,
        /// Why.
        why: String,
    },
}

impl NodeEvent {
    /// The event as JSON, with a stable `event` name.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Executed { requester, receipt, function, outcome, fuel } => serde_json::json!({
                "event": "executed", "requester": requester.to_string(), "receipt": receipt.to_string(),
                "function": function.to_string(), "outcome": outcome.code(), "fuel": fuel,
            }),
            Self::Started { requester, function } => serde_json::json!({
                "event": "started", "requester": requester.to_string(), "function": function.to_string(),
            }),
            Self::Refused { requester, refusal } => serde_json::json!({
                "event": "refused", "requester": requester.to_string(), "code": refusal.code.name(),
                "message": refusal.message,
            }),
            Self::Announced { provider, accepted } => serde_json::json!({
                "event": "announced", "provider": provider.to_string(), "accepted": accepted,
            }),
            Self::Joined { peer } => serde_json::json!({"event": "joined", "peer": peer.to_string()}),
            Self::Unreachable { address, why } => {
                serde_json::json!({"event": "unreachable", "address": address, "why": why})
            }
        }
    }
}

impl fmt::Display for NodeEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Executed { requester, function, outcome, fuel, .. } => {
                write!(f, "{} for {}: {outcome}, {fuel} fuel", function.name(), requester.short())
            }
            Self::Started { requester, function } => {
                write!(f, "running {} for {}", function.name(), requester.short())
            }
            Self::Refused { requester, refusal } => write!(f, "refused {}: {refusal}", requester.short()),
            Self::Announced { provider, accepted } => write!(f, "{} offers {accepted}", provider.short()),
            Self::Joined { peer } => write!(f, "announced to {}", peer.short()),
            Self::Unreachable { address, why } => write!(f, "cannot reach {address}: {why}"),
        }
    }
}
