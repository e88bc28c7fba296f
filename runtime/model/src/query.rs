//! A signed question to an index, and its signed answer.

use crate::{
    Descriptor, Did, FunctionName, Permission, Statement,
    descriptor::{Region, Tier},
    text,
};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};
use std::collections::BTreeSet;

/// What is looked for, in plain words or by exact name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// Who asks, who signs.
    pub iss: Did,
    /// Who is asked: an answer to another index cannot be passed off.
    pub aud: Did,
    /// Plain words, `name`, `name@version`, a release id or a component id. At most 512 bytes.
    pub text: String,
    /// What an offer must fulfil, whatever its words.
    #[serde(default, skip_serializing_if = "Filters::is_empty")]
    pub filters: Filters,
    /// The most offers wanted, 1 to 50.
    pub limit: u32,
    /// Ties the answer to this question.
    pub nonce: ByteArray<12>,
}

/// Hard constraints. What is absent constrains nothing; all that is present must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filters {
    /// One of the functions is called so: its name, or its name with its interface. At most 256 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// One of the functions is of this interface, `namespace:package/interface`; any version of it where none is given. At
    /// most 256 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// None of these is asked for. `network` stands for `http` too.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub needs_no: BTreeSet<Permission>,
    /// A million units of fuel cost no more than this, in fuel credits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_price: Option<u64>,
    /// The provider lets itself be held to all of these tiers.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tiers: BTreeSet<Tier>,
    /// The provider says it is in this region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
    /// The provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Did>,
}

impl Filters {
    /// Whether nothing is constrained.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an offer fulfils all of it. The name of a constraint that it does not fulfil: the first.
    ///
    /// # Errors
    /// The constraint's name.
    pub fn check(&self, offer: &Descriptor) -> Result<(), &'static str> {
        let function = |asked: &String| offer.functions.iter().any(|f| f.name.answers_to(asked));
        let interface = |asked: &String| offer.functions.iter().any(|f| is_of(&f.name, asked));
        let needs = |not: &Permission| {
            offer.permissions.contains(not)
                || *not == Permission::Network && offer.permissions.contains(&Permission::Http)
        };
        let in_region = |asked: &Region| offer.region.as_ref().is_some_and(|region| region.is_in(asked));
        let holds = [
            ("function", self.function.as_ref().is_none_or(function)),
            ("interface", self.interface.as_ref().is_none_or(interface)),
            ("needs_no", !self.needs_no.iter().any(needs)),
            ("max_price", self.max_price.is_none_or(|most| offer.price <= most)),
            ("tiers", self.tiers.is_subset(&offer.tiers)),
            ("region", self.region.as_ref().is_none_or(in_region)),
            ("provider", self.provider.is_none_or(|provider| offer.iss == provider)),
        ];
        holds.into_iter().find(|(_, holds)| !holds).map_or(Ok(()), |(name, _)| Err(name))
    }

    fn sane(&self) -> Result<(), String> {
        for (name, text) in [("function", &self.function), ("interface", &self.interface)] {
            let Some(text) = text else { continue };
            if text.is_empty() || text.len() > 256 {
                return Err(format!("{name} must have 1 to 256 bytes"));
            }
            text::one_line(name, text)?;
        }
        Ok(())
    }
}

/// Whether a function is of an interface, of any version where none is given.
fn is_of(function: &FunctionName, asked: &str) -> bool {
    let any_version = |interface: &str| interface.split_once('@').is_some_and(|(name, _)| name == asked);
    function.interface().is_some_and(|interface| interface == asked || any_version(interface))
}

impl Statement for Query {
    const TAG: &'static str = "actum/query@1";
    const MAX_BYTES: usize = 2 << 10;
    fn issuer(&self) -> Did {
        self.iss
    }
    fn check(&self) -> Result<(), String> {
        if self.text.len() > 512 {
            return Err("the query has more than 512 bytes".to_owned());
        }
        if !(1..=50).contains(&self.limit) {
            return Err(format!("limit is {}; 1 to 50 are allowed", self.limit));
        }
        self.filters.sane()
    }
}

/// One offer: the provider's own signed statements, so that an index can omit but not forge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// The signed [`crate::Descriptor`].
    pub descriptor: ByteBuf,
    /// The signed [`crate::Lease`].
    pub lease: ByteBuf,
}

/// An index's answer, best first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// The index, who signs.
    pub iss: Did,
    /// Who asked.
    pub aud: Did,
    /// The question's nonce.
    pub nonce: ByteArray<12>,
    /// How far the index had come when it answered: a number that grows with every statement it takes in, also over restarts.
    /// Whoever was told that an offer was taken in at one epoch, and does not find it on a page of a later one that it
    /// belongs on, has caught an omission.
    pub epoch: u64,
    /// What it found.
    pub offers: Vec<Offer>,
}

impl Statement for Page {
    const TAG: &'static str = "actum/page@1";
    const MAX_BYTES: usize = 256 << 10;
    fn issuer(&self) -> Did {
        self.iss
    }
    fn check(&self) -> Result<(), String> {
        if self.offers.len() > 50 { Err("more than 50 offers".to_owned()) } else { Ok(()) }
    }
}
