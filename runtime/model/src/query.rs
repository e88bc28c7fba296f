//! A signed question to an index, and its signed answer.

use crate::{Did, Statement};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

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
    /// The most offers wanted, 1 to 50.
    pub limit: u32,
    /// Ties the answer to this question.
    pub nonce: ByteArray<12>,
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
        Ok(())
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
