//! An action: one invocation asked for.

use crate::{
    ActionId, BlobId, ComponentId, DelegationId, Did, FunctionName, Limits, codec, permission::Granted, ucan,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use std::collections::BTreeSet;

/// One invocation asked for: everything that decides how it ends, except the bytes its ids name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// Who asks.
    pub requester: Did,
    /// The component to run.
    pub component: ComponentId,
    /// The exported function to call.
    pub function: FunctionName,
    /// The id of the canonical encoding of the arguments.
    pub args: BlobId,
    /// The ceilings to run under.
    pub limits: Limits,
    /// What the guest is granted of the real world. Empty: nothing.
    pub permissions: BTreeSet<Granted>,
    /// The seed of the guest's randomness.
    pub seed: ByteArray<32>,
    /// Where the guest's clocks start, in nanoseconds since the Unix epoch.
    pub time_base: u64,
    /// Makes this action different from an equal one asked for earlier.
    pub nonce: ByteArray<12>,
    /// Whether the provider may run it with less than all of `permissions`. Default: no, it is then refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

impl Action {
    /// The action's id.
    pub fn id(&self) -> ActionId {
        ActionId::of(&codec::encode(self))
    }

    /// The most fuel units that it and all it calls may burn.
    pub fn most_fuel(&self) -> u64 {
        let calls = self.permissions.iter().map(|granted| match granted {
            Granted::Delegate(delegate) => delegate.fuel,
            _ => 0,
        });
        calls.fold(self.limits.fuel, u64::saturating_add)
    }
}

/// By what authority an action ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Authority {
    /// Run by the owner on the owner's machine; no grant needed.
    Local,
    /// The provider's owner marked the offer public.
    Public,
    /// The provider's owner lists the requester as a caller of the offer.
    Listed,
    /// By this chain of delegations, the root first: 1 to [`ucan::MAX_CHAIN`] of them.
    Granted(Vec<DelegationId>),
    /// A guest asked for it through its node, which is requester and provider both: the id of that guest's action, which
    /// grants the call.
    Delegated(ActionId),
}

impl Authority {
    /// What the types alone cannot say: the length of a chain.
    pub fn check(&self) -> Result<(), String> {
        let Self::Granted(chain) = self else { return Ok(()) };
        if (1..=ucan::MAX_CHAIN).contains(&chain.len()) {
            return Ok(());
        }
        Err(format!("a chain of {} delegations where 1 to {} are allowed", chain.len(), ucan::MAX_CHAIN))
    }

    /// Whether the provider ran it for itself, so that nobody sent it a request.
    pub fn is_own(&self) -> bool {
        matches!(self, Self::Local | Self::Delegated(_))
    }
}
