//! The receipt: the provider's signed statement of how an action ended.

use crate::{
    Action, Authority, BlobId, Did, Granted, InvocationId, JournalId, Outcome, ProfileId, ReceiptId, Signed,
    Statement, permission,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// This action, by this authority, under this profile, ended so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The provider, who signs.
    pub iss: Did,
    /// When it was issued, by the provider's clock, in seconds since the Unix epoch.
    pub iat: u64,
    /// What was asked.
    pub action: Action,
    /// By what authority it ran.
    pub authority: Authority,
    /// The signed request that it answers. None exactly where nobody sent one: where the authority [is the provider's
    /// own](Authority::is_own).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invocation: Option<InvocationId>,
    /// What the action asked for and was not given. Only of an action that is `partial`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub withheld: BTreeSet<Granted>,
    /// The engine profile it ran under.
    pub profile: ProfileId,
    /// How it ended.
    pub outcome: Outcome,
    /// Fuel units burned.
    pub fuel: u64,
    /// The most linear memory it held at once, in bytes.
    pub memory_bytes: u64,
    /// The root of its journal.
    pub journal: JournalId,
    /// The id of its captured [`Stdio`]; absent when it wrote nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdio: Option<BlobId>,
}

impl Statement for Receipt {
    const TAG: &'static str = "actum/receipt@1";
    /// Room for whatever ran: all that an action can be granted, or what an invocation can ask for and have withheld, with
    /// the longest chain and the longest denial.
    const MAX_BYTES: usize = 96 << 10;
    fn issuer(&self) -> Did {
        self.iss
    }
    fn check(&self) -> Result<(), String> {
        permission::check_granted(&self.action.permissions)?;
        permission::check_withheld(&self.action, &self.withheld)?;
        self.authority.check()?;
        match (&self.authority, &self.invocation) {
            (own, Some(_)) if own.is_own() => {
                return Err("it answers a request, and nobody sent one for what ran so".to_owned());
            }
            (asked, None) if !asked.is_own() => {
                return Err("it ran at another's request, and names none".to_owned());
            }
            _ => {}
        }
        self.outcome.check()
    }
}

impl Receipt {
    /// What the guest was given: what the action asked for, less what was withheld.
    pub fn given(&self) -> BTreeSet<Granted> {
        self.action.permissions.difference(&self.withheld).cloned().collect()
    }
}

impl Signed<Receipt> {
    /// The receipt's id.
    pub fn id(&self) -> ReceiptId {
        ReceiptId::of(self.bytes())
    }
}

/// What a guest wrote, as one block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stdio {
    /// Bytes written to standard output.
    pub stdout: serde_bytes::ByteBuf,
    /// Bytes written to standard error.
    pub stderr: serde_bytes::ByteBuf,
}
