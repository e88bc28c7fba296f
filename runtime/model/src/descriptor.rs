//! What a provider announces: the descriptor says what is offered, the lease says how things stand.

use crate::{
    BlobId, CapabilityName, ComponentId, DescriptorId, Did, LeaseId, Limits, Permission, ProfileId,
    ReleaseId, Signed, Statement, VerdictId, text,
};
use semver::Version;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, str::FromStr};

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
    /// Its size in bytes.
    pub component_bytes: u64,
    /// The id of its manifest: the digests of its chunks, as [`crate::release::manifest`] has them.
    pub manifest: BlobId,
    /// The release's sentence of intent. At most 512 bytes.
    pub intent: String,
    /// The release's tags. At most 16, of 32 bytes each.
    pub tags: Vec<String>,
    /// The functions offered. At most 16.
    pub functions: Vec<Offered>,
    /// What the release asks to be granted. Whether an action needs it is the caller's to know.
    pub permissions: BTreeSet<Permission>,
    /// The profile the provider executes under: receipts are replayable by whoever has it.
    pub profile: ProfileId,
    /// The largest limits the provider accepts.
    pub limits: Limits,
    /// What a million units of fuel cost, in fuel credits. 0: nothing.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub price: u64,
    /// Where the provider says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
    /// Whether anyone may call; otherwise those the provider's owner lists.
    pub public: bool,
    /// The verification tiers the provider lets itself be held to.
    pub tiers: BTreeSet<Tier>,
    /// Verdicts on the provider's receipts that it points to. At most 8. Whose they are, and what they are worth, is for
    /// whoever reads them to say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verdicts: Vec<VerdictId>,
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

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A tier of verification, as the paper and `docs/` name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// Tier 1: what became of earlier receipts.
    Reputation,
    /// Tier 2: actions whose answer the requester knows.
    Canary,
    /// Tier 3: signed receipts and journals that hold together.
    Evidence,
    /// Tier 4: deterministic re-execution.
    Replay,
}

impl Tier {
    /// Every tier, the cheapest first.
    pub const ALL: [Self; 4] = [Self::Reputation, Self::Canary, Self::Evidence, Self::Replay];

    /// The tier's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reputation => "reputation",
            Self::Canary => "canary",
            Self::Evidence => "evidence",
            Self::Replay => "replay",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Tier {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|t| t.name() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|t| t.name()).collect();
            format!("unknown tier {text:?}; known: {}", known.join(", "))
        })
    }
}

/// A country or a part of one, as ISO 3166 writes them, in lower case: `de`, `us-ca`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Region(String);

impl Region {
    /// The region's code.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is that region or a part of it.
    pub fn is_in(&self, other: &Self) -> bool {
        self.0.strip_prefix(other.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }
}

impl TryFrom<String> for Region {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let (country, part) = text.split_once('-').map_or((text.as_str(), None), |(c, p)| (c, Some(p)));
        let country = country.len() == 2 && country.bytes().all(|b| b.is_ascii_lowercase());
        let part = part.is_none_or(|p| {
            (1..=3).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        });
        match country && part {
            true => Ok(Self(text)),
            false => {
                Err(format!("{text:?} is no region: two letters as in `de`, or with a part as in `us-ca`"))
            }
        }
    }
}

impl From<Region> for String {
    fn from(region: Region) -> Self {
        region.0
    }
}

impl FromStr for Region {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.to_owned().try_into()
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
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
        if self.verdicts.len() > 8 {
            return Err("at most 8 verdicts are allowed".to_owned());
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
    /// Where it can be reached, as multiaddrs without the peer id. At most 4, of 128 bytes each, as far as the lease has
    /// room: two of the longest, four of the usual.
    pub addrs: Vec<String>,
    /// Actions running now.
    pub load: u32,
    /// Actions waiting for their turn.
    pub queued: u32,
    /// Actions it runs at once.
    pub capacity: u32,
    /// How it did lately, by its own account. Absent where it has run nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lately: Option<Lately>,
    /// The sequence number its descriptors must have, or exceed, to be alive.
    pub descriptors_seq: u64,
    /// Newer replaces older.
    pub seq: u64,
    /// Not valid before, in seconds since the Unix epoch.
    pub nbf: u64,
    /// Not valid from this time on, in seconds since the Unix epoch.
    pub exp: u64,
}

/// What a provider observed of its own actions over a while. Its own word: whoever depends on it measures again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lately {
    /// The seconds looked back over, 1 to 86,400.
    pub window: u32,
    /// Actions that ended in it. At least 1.
    pub actions: u32,
    /// How many of them ended as their guest would have it: `ok` or `guest-error`.
    pub ok: u32,
    /// The median time from admission to receipt, in milliseconds.
    pub p50_ms: u32,
}

impl Lately {
    fn check(self) -> Result<(), String> {
        if !(1..=86_400).contains(&self.window) {
            return Err(format!("a window of {} seconds; 1 to 86,400 are allowed", self.window));
        }
        if self.actions == 0 || self.ok > self.actions {
            return Err(format!("{} of {} actions", self.ok, self.actions));
        }
        Ok(())
    }
}

impl Lease {
    /// The longest life of a lease, in seconds: a quarter of an hour.
    pub const MAX_LIFE: u64 = 900;
    /// The most addresses.
    pub const MAX_ADDRS: usize = 4;
    /// The longest address in bytes: one through a relay has about 100.
    pub const MAX_ADDR_BYTES: usize = 128;
}

impl Statement for Lease {
    const TAG: &'static str = "actum/lease@1";
    const MAX_BYTES: usize = 512;

    fn issuer(&self) -> Did {
        self.iss
    }

    fn check(&self) -> Result<(), String> {
        life(self.nbf, self.exp, Self::MAX_LIFE)?;
        if self.addrs.len() > Self::MAX_ADDRS || self.addrs.iter().any(|a| a.len() > Self::MAX_ADDR_BYTES) {
            return Err("at most 4 addresses of 128 bytes are allowed".to_owned());
        }
        self.lately.map_or(Ok(()), Lately::check)?;
        self.addrs.iter().try_for_each(|a| text::one_line("an address", a))
    }
}

/// A provider takes back what it announced, before that expires: a signed tombstone. Kept by whoever hears it for as long
/// as anything it takes back could still be alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tombstone {
    /// The provider, who signs.
    pub iss: Did,
    /// The release no longer offered. Absent: nothing is, the provider leaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseId>,
    /// The highest sequence number taken back. What comes with a higher one counts again.
    pub seq: u64,
    /// Not valid before, in seconds since the Unix epoch.
    pub nbf: u64,
    /// To be kept until then, in seconds since the Unix epoch: what it takes back has expired by then.
    pub exp: u64,
}

impl Statement for Tombstone {
    const TAG: &'static str = "actum/tombstone@1";
    const MAX_BYTES: usize = 384;

    fn issuer(&self) -> Did {
        self.iss
    }

    fn check(&self) -> Result<(), String> {
        life(self.nbf, self.exp, Descriptor::MAX_LIFE)
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
