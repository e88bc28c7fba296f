//! An action: one invocation asked for.

use crate::{ActionId, BlobId, ComponentId, Did, FunctionName, Limits, codec, permission::Granted};
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
}

impl Action {
    /// The action's id.
    pub fn id(&self) -> ActionId {
        ActionId::of(&codec::encode(self))
    }
}

/// By what authority an action ran. It grows into the root of a delegation chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Authority {
    /// Run by the owner on the owner's machine; no grant needed.
    Local,
    /// The provider's owner marked the offer public.
    Public,
    /// The provider's owner lists the requester as a caller of the offer.
    Listed,
    /// A guest asked for it through its node, which is requester and provider both: the id of that guest's action, which
    /// grants the call.
    Delegated(ActionId),
}
