//! What a provider announces: the descriptor says what is offered, the lease says how things stand.

use crate::{
    CapabilityName, ComponentId, DescriptorId, Did, LeaseId, Limits, ReleaseId, Signed, Statement, text,
};
use semver::Version;
use serde::{Deserialize, Serialize};

/// Peer P offers release R, until it expires. Replaced by one with a higher sequence number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Descriptor {
    /// The provider, who signs.
    pub iss: Did,
    /// The release offered.
    pub release: ReleaseId,
    /// The release's author.
    pub author: Did,
    /// The capability's name.
    pub name: CapabilityName,
    /// Its version.
    pub version: Version,
    /// The component the release names.
    pub component: ComponentId,
    /// The release's sentence of intent. At most 512 bytes.
    pub intent: String,
    /// The release's tags. At most 16, of 32 bytes each.
    pub tags: Vec<String>,
    /// The functions offered. At most 16.
    pub functions: Vec<Offered>,
    /// The largest limits the provider accepts.
    pub limits: Limits,
    /// Whether anyone may call; otherwise those the provider's owner lists.
    pub public: bool,
    /// Newer replaces older.
    pub seq: u64,
    /// Not valid before, in seconds since the Unix epoch.
    pub nbf: u64,
    /// Not valid from this time on, in seconds since the Unix epoch.
    pub exp: u64,
}

/// A function in a descriptor: enough to find it and to choose it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offered {
    /// Its full name.
    pub name: crate::FunctionName,
    /// The first line of its doc comment, at most 120 bytes, without control characters.
    pub docs: String,
    /// Its signature as WIT writes it, at most 240 bytes; the release has the exact types.
    pub signature: String,
}

impl Descriptor {
    /// The longest life of a descriptor, in seconds: a day.
    pub const MAX_LIFE: u64 = 86_400;
}

impl Statement for Descriptor {
    const TAG: &'static str = "actum/descriptor@1";
    const MAX_BYTES: usize = 4 << 10;

    fn issuer(&self) -> Did {
        self.iss
    }

    fn check(&self) -> Result<(), String> {
        life(self.nbf, self.exp, Self::MAX_LIFE)?;
        if self.intent.is_empty() || self.intent.len() > 512 {
            return Err("intent must have 1 to 512 bytes".to_owned());
        }
        if self.tags.len() > 16 || self.tags.iter().any(|t| t.is_empty() || t.len() > 32) {
            return Err("at most 16 tags of 1 to 32 bytes are allowed".to_owned());
        }
        if self.functions.len() > 16
            || self.functions.iter().any(|f| f.docs.len() > 120 || f.signature.len() > 240)
        {
            return Err(
                "at most 16 functions, with docs of 120 and signatures of 240 bytes, are allowed".to_owned()
            );
        }
        text::one_line("intent", &self.intent)?;
        self.tags.iter().try_for_each(|t| text::one_line("a tag", t))?;
        for f in &self.functions {
            text::one_line("docs", &f.docs)?;
            text::one_line("a signature", &f.signature)?;
        }
        Ok(())
    }
}

/// A provider's readiness, covering all its descriptors. Small and short-lived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// The provider, who signs.
    pub iss: Did,
    /// Where it can be reached, as multiaddrs without the peer id. At most 4, of 96 bytes each.
    pub addrs: Vec<String>,
    /// Actions running or queued now.
    pub load: u32,
    /// Actions it runs at once.
    pub capacity: u32,
    /// The sequence number its descriptors must have to be alive.
    pub descriptors_seq: u64,
    /// Newer replaces older.
    pub seq: u64,
    /// Not valid before, in seconds since the Unix epoch.
    pub nbf: u64,
    /// Not valid from this time on, in seconds since the Unix epoch.
    pub exp: u64,
}

impl Lease {
    /// The longest life of a lease, in seconds: a quarter of an hour.
    pub const MAX_LIFE: u64 = 900;
}

impl Statement for Lease {
    const TAG: &'static str = "actum/lease@1";
    const MAX_BYTES: usize = 512;

    fn issuer(&self) -> Did {
        self.iss
    }

    fn check(&self) -> Result<(), String> {
        life(self.nbf, self.exp, Self::MAX_LIFE)?;
        if self.addrs.len() > 4 || self.addrs.iter().any(|a| a.len() > 96) {
            return Err("at most 4 addresses of 96 bytes are allowed".to_owned());
        }
        self.addrs.iter().try_for_each(|a| text::one_line("an address", a))
    }
}

fn life(nbf: u64, exp: u64, max: u64) -> Result<(), String> {
    match exp.checked_sub(nbf) {
        Some(life) if (1..=max).contains(&life) => Ok(()),
        _ => Err(format!("valid from {nbf} to {exp}: the life must be 1 to {max} seconds")),
    }
}

impl Signed<Descriptor> {
    /// The descriptor's id.
    pub fn id(&self) -> DescriptorId {
        DescriptorId::of(self.bytes())
    }
}

impl Signed<Lease> {
    /// The lease's id.
    pub fn id(&self) -> LeaseId {
        LeaseId::of(self.bytes())
    }
}
