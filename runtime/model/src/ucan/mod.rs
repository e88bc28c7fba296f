//! UCAN 1.0: delegations, invocations, and the chains that prove them.
//!
//! Source: the UCAN specification 1.0.0 with its Delegation, Invocation and Revocation parts. The envelope is
//! [`Signed`]; only `did:key` of Ed25519 is known as a principal. Our own, because none fits: the crate
//! `ucan` on the registry is the JWT format of before 1.0, and no longer resolves.

pub mod chain;
pub mod container;
pub mod policy;
pub mod proof;
pub mod revocation;

pub use chain::{Chain, ChainError, Link, Revocations, validate};
pub use policy::{Budget, Policy, PolicyError, Unmet};
pub use proof::{Known, Proof};
pub use revocation::{Revocation, RevocationError};

use crate::{DelegationId, Did, InvocationId, Signed, Statement};
use cid::Cid;
use ipld_core::ipld::Ipld;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::{collections::BTreeMap, fmt, str::FromStr};

/// The largest integer that every implementation can say, 2^53 - 1: the bound of all times.
pub const MAX_TIME: u64 = (1 << 53) - 1;
/// The most bytes of a nonce.
pub const MAX_NONCE_BYTES: usize = 64;
/// The most delegations in one chain.
pub const MAX_CHAIN: usize = 8;

/// The arguments of an invocation, which policies constrain.
pub type Args = BTreeMap<String, Ipld>;

/// A command: a path of lower-case segments, such as `/actum/run`. It covers itself and everything below it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Command(String);

impl Command {
    /// The most bytes of a command.
    pub const MAX_BYTES: usize = 256;

    /// `/`, which covers every command.
    pub fn top() -> Self {
        Self("/".to_owned())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `other` or above it.
    pub fn covers(&self, other: &Self) -> bool {
        self.0 == "/"
            || other.0.strip_prefix(&self.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl FromStr for Command {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let segment = |s: &str| {
            !s.is_empty() && !s.chars().any(|c| c.is_uppercase() || c.is_control() || c.is_whitespace())
        };
        let good = text == "/" || text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(segment));
        if !good || text.len() > Self::MAX_BYTES {
            let shown: String = text.chars().take(80).collect();
            return Err(format!("{shown:?} is not a command such as /actum/run"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Command {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Command> for String {
    fn from(command: Command) -> Self {
        command.0
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A delegation: `iss` lets `aud` invoke `cmd` on `sub`, as far as `pol` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delegation {
    /// Who delegates, and signs.
    pub iss: Did,
    /// To whom.
    pub aud: Did,
    /// Whose authority it is. `None`, a powerline: whatever authority `iss` has from others.
    pub sub: Option<Did>,
    /// The command, and all below it.
    pub cmd: Command,
    /// What the invocation's arguments must satisfy.
    pub pol: Policy,
    /// Makes this delegation different from an equal one.
    pub nonce: ByteBuf,
    /// Facts that delegate nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<BTreeMap<String, Ipld>>,
    /// Not valid before, in seconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// Not valid after, in seconds since the Unix epoch. `None`: without end.
    pub exp: Option<u64>,
}

impl Statement for Delegation {
    const TAG: &'static str = "ucan/dlg@1.0.0";
    const MAX_BYTES: usize = 16 << 10;

    fn issuer(&self) -> Did {
        self.iss
    }

    fn check(&self) -> Result<(), String> {
        nonce(&self.nonce)?;
        self.pol.bounds().map_err(|e| e.to_string())?;
        self.meta.iter().flat_map(BTreeMap::values).try_for_each(policy::sayable)?;
        times([self.nbf, self.exp])
    }
}

impl Signed<Delegation> {
    /// The delegation's id.
    pub fn id(&self) -> DelegationId {
        DelegationId::of(self.bytes())
    }
}

/// An invocation: `iss` asks for `cmd` on `sub`, by the authority of `prf`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invocation {
    /// Who asks, and signs.
    pub iss: Did,
    /// Whose authority is used.
    pub sub: Did,
    /// Who is asked, where that is not `sub`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aud: Option<Did>,
    /// What is asked for.
    pub cmd: Command,
    /// Its arguments.
    pub args: Args,
    /// The delegations that prove it, from the one `sub` issued to the one `iss` received.
    pub prf: Vec<DelegationId>,
    /// Facts that ask for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<BTreeMap<String, Ipld>>,
    /// Makes this invocation different from an equal one.
    pub nonce: ByteBuf,
    /// Not valid after, in seconds since the Unix epoch. `None`: without end.
    pub exp: Option<u64>,
    /// When it was made, by its issuer's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<u64>,
    /// The receipt that led to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cid>,
}

impl Statement for Invocation {
    const TAG: &'static str = "ucan/inv@1.0.0";
    const MAX_BYTES: usize = 32 << 10;

    fn issuer(&self) -> Did {
        self.iss
    }

    fn check(&self) -> Result<(), String> {
        nonce(&self.nonce)?;
        if self.prf.len() > MAX_CHAIN {
            return Err(format!("{} proofs where at most {MAX_CHAIN} are allowed", self.prf.len()));
        }
        self.args
            .values()
            .chain(self.meta.iter().flat_map(BTreeMap::values))
            .try_for_each(policy::sayable)?;
        times([self.exp, self.iat])
    }
}

impl Signed<Invocation> {
    /// The invocation's id.
    pub fn id(&self) -> InvocationId {
        InvocationId::of(self.bytes())
    }
}

fn nonce(nonce: &[u8]) -> Result<(), String> {
    let actual = nonce.len();
    if actual > MAX_NONCE_BYTES {
        Err(format!("a nonce of {actual} bytes where at most {MAX_NONCE_BYTES} are allowed"))
    } else {
        Ok(())
    }
}

fn times<const N: usize>(times: [Option<u64>; N]) -> Result<(), String> {
    match times.into_iter().flatten().find(|t| *t > MAX_TIME) {
        Some(time) => Err(format!("the time {time} is over 2^53 - 1 seconds")),
        None => Ok(()),
    }
}
