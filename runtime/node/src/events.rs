//! What a node does, as its log tells it.

use actum_model::{Did, FunctionName, Outcome, ReceiptId};
use actum_overlay::Refusal;
use actum_store::ProofState;
use std::fmt;

/// What a node did, for its log.
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
    /// A peer accused a provider of a lie, and its proof was judged here.
    Accused {
        /// The peer that accused.
        from: Did,
        /// Whom.
        provider: Did,
        /// The receipt that was run again.
        receipt: ReceiptId,
        /// What came of it.
        state: ProofState,
    },
    /// A peer accused a provider of a lie with what is no proof of it.
    WrongProof {
        /// The peer that accused.
        from: Did,
        /// Whom.
        provider: Did,
        /// The receipt that it was to be about.
        receipt: ReceiptId,
        /// What is wrong with it.
        why: String,
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
            Self::Accused { from, provider, receipt, state } => serde_json::json!({
                "event": "accused", "from": from.to_string(), "provider": provider.to_string(),
                "receipt": receipt.to_string(), "state": state.name(),
            }),
            Self::WrongProof { from, provider, receipt, why } => serde_json::json!({
                "event": "wrong-proof", "from": from.to_string(), "provider": provider.to_string(),
                "receipt": receipt.to_string(), "why": why,
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
            Self::Accused { from, provider, receipt, state } => write!(
                f,
                "{} accused {} of a lie: {state} by running receipt {receipt} again",
                from.short(),
                provider.short()
            ),
            Self::WrongProof { from, provider, why, .. } => {
                write!(f, "{} accused {} with what is no proof: {why}", from.short(), provider.short())
            }
            Self::Joined { peer } => write!(f, "announced to {}", peer.short()),
            Self::Unreachable { address, why } => write!(f, "cannot reach {address}: {why}"),
        }
    }
}
