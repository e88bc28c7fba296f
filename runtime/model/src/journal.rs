//! The journal: every host answer the guest observed and the receipt cannot derive, in the order it was observed.

use crate::{BlobId, JournalId, codec};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// The answers one action was given. Empty for a pure action: the virtual world follows from the receipt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// The entries, in the order the guest observed them.
    pub entries: Vec<JournalEntry>,
}

/// One question the guest asked the host, and what it was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JournalEntry {
    /// The imported function, e.g. `wasi:keyvalue/store@0.2.0#get`.
    pub function: String,
    /// The digest of the canonical encoding of what the guest asked.
    pub asked: BlobId,
    /// The canonical encoding of what it was told, a typed denial included.
    pub told: ByteBuf,
}

impl Journal {
    /// The largest encoded journal accepted, in bytes.
    pub const MAX_BYTES: usize = 16 << 20;

    /// The journal's canonical bytes.
    pub fn bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// The journal's root, as receipts carry it.
    pub fn id(&self) -> JournalId {
        JournalId::of(&self.bytes())
    }
}
