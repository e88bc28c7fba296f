//! The journal: every host answer the guest observed and the receipt cannot derive, in the order it was observed.

use crate::{BlobId, JournalId, Permission, Withdrawal, codec};
use cid::Cid;
use ipld_core::ipld::Ipld;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

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
    /// The imported function, e.g. `wasi:keyvalue/store#get`.
    pub function: String,
    /// The canonical encoding of what the guest asked, with large bodies by id.
    pub asked: ByteBuf,
    /// The canonical encoding of what it was told, a typed denial included, with large bodies by id.
    pub told: ByteBuf,
    /// The bodies that question and answer name by id, in that order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bodies: Vec<BlobId>,
}

/// Bytes inside a question or an answer: themselves where they are few, else their id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Body {
    /// At most [`Body::MAX_INLINE`] bytes.
    Bytes(ByteBuf),
    /// More: a block beside the journal.
    Id(BlobId),
}

/// The bodies of a journal, by their ids.
pub type Bodies = BTreeMap<BlobId, Vec<u8>>;

impl Body {
    /// The most bytes that stand in an entry itself.
    pub const MAX_INLINE: usize = 1 << 10;

    /// The bytes themselves, or their id where they are many.
    pub fn of(bytes: &[u8]) -> Self {
        if bytes.len() <= Self::MAX_INLINE {
            Self::Bytes(ByteBuf::from(bytes))
        } else {
            Self::Id(BlobId::of(bytes))
        }
    }

    /// The bytes. `None` when they are beside the journal and not among `bodies`.
    pub fn open<'a>(&'a self, bodies: &'a Bodies) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Id(id) => bodies.get(id).map(Vec::as_slice),
        }
    }
}

/// What the functions that a journal may hold begin with, and the permission that gives a guest each.
///
/// A beginning ends where the function's name does, or before a `/` or a `#`. `wasi:config` is not here: its answers stand
/// in the action.
const TELLING: [(&str, Permission); 5] = [
    ("wasi:http", Permission::Http),
    ("wasi:io/poll#poll", Permission::Http),
    ("wasi:keyvalue", Permission::Keyvalue),
    ("wasi:filesystem#block", Permission::Files),
    ("actum:host/delegate", Permission::Delegate),
];

/// The one key of a decision that stands where an answer would. No interface answers with a map of this key.
const WITHDRAWN: &str = "actum/withdrawn@1";

/// What an entry says was told where the authority to run had ended: the canonical encoding of
/// `{"actum/withdrawn@1": "revoked"}`, or `"expired"`. At most [`WITHDRAWAL_BYTES`].
pub fn withdrawal(why: Withdrawal) -> Vec<u8> {
    codec::encode(&BTreeMap::from([(WITHDRAWN, why)]))
}

/// The most bytes of [`withdrawal`].
pub const WITHDRAWAL_BYTES: usize = 32;

impl JournalEntry {
    /// How the authority to run had ended when this was asked: then there was no answer and no effect, and no entry
    /// follows.
    pub fn withdrawn(&self) -> Option<Withdrawal> {
        if self.told.len() > WITHDRAWAL_BYTES {
            return None;
        }
        Withdrawal::ALL.into_iter().find(|why| self.told == withdrawal(*why))
    }

    /// Whether its bodies are those that the question names, as given, followed by those that the answer names.
    pub fn lists(&self, question: &[BlobId]) -> bool {
        let Some((asked, told)) = self.bodies.split_at_checked(question.len()) else { return false };
        // Without the two bytes that begin every link there is none: most answers need not be read twice.
        if !self.told.windows(2).any(|pair| pair == [0xd8, 0x2a]) {
            return asked == question && told.is_empty();
        }
        let Ok(answer) = serde_ipld_dagcbor::from_slice::<Ipld>(&self.told) else { return false };
        let mut named = Vec::new();
        links(&answer, &mut named);
        let mut told: Vec<_> = told.iter().map(|id| *id.cid()).collect();
        // An encoding sorts what it holds, so the order is not that of the list.
        named.sort_unstable();
        told.sort_unstable();
        asked == question && told == named
    }

    /// What an entry weighs beyond its parts, in bytes: no less than their heads.
    pub const HEADS: usize = 64;
    /// What each id of a body weighs, in bytes: no less than its encoding.
    pub const ID_WEIGHT: usize = 48;

    /// What the entry weighs against the limit `journal_bytes`, its bodies apart.
    pub fn weight(&self) -> u64 {
        let ids = self.bodies.len().saturating_mul(Self::ID_WEIGHT);
        let bytes = self.function.len() + self.asked.len() + self.told.len() + ids + Self::HEADS;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// The permission without which no guest is told this. `None`: nothing that is journalled has this function.
    pub fn permission(&self) -> Option<Permission> {
        let begins = |known: &str| {
            self.function
                .strip_prefix(known)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '#']))
        };
        TELLING.into_iter().find_map(|(known, permission)| begins(known).then_some(permission))
    }
}

impl Journal {
    /// The largest encoded journal accepted, in bytes, its bodies apart: 16 MiB.
    pub const MAX_BYTES: usize = 16 << 20;

    /// The journal's canonical bytes.
    pub fn bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// The journal's root, as receipts carry it.
    pub fn id(&self) -> JournalId {
        /// The one of a pure action, which most are.
        static EMPTY: LazyLock<JournalId> = LazyLock::new(|| JournalId::of(&Journal::default().bytes()));
        if self.entries.is_empty() { *EMPTY } else { JournalId::of(&self.bytes()) }
    }

    /// The ids of its bodies, each once, in the order of their first appearance.
    pub fn bodies(&self) -> Vec<BlobId> {
        let mut seen = BTreeSet::new();
        self.entries.iter().flat_map(|e| &e.bodies).filter(|id| seen.insert(**id)).copied().collect()
    }

    /// What it weighs against the limit `journal_bytes`: its entries, and each body once for every entry that names it.
    /// `body_bytes` gives a body's length.
    pub fn weight(&self, body_bytes: impl Fn(&BlobId) -> u64) -> u64 {
        let entry = |e: &JournalEntry| e.bodies.iter().map(&body_bytes).fold(e.weight(), u64::saturating_add);
        self.entries.iter().map(entry).fold(0, u64::saturating_add)
    }
}

/// Every link in a value.
fn links(value: &Ipld, found: &mut Vec<Cid>) {
    match value {
        Ipld::Link(cid) => found.push(*cid),
        Ipld::List(items) => items.iter().for_each(|item| links(item, found)),
        Ipld::Map(items) => items.values().for_each(|item| links(item, found)),
        _ => {}
    }
}
