//! The balance: one peer's signed word on how much fuel it and another have served each other, and what proves it.
//!
//! Receipts are the entries. A receipt is one exactly where one peer asked and another ran, so that the two are different
//! and it [answers a request](Receipt::invocation); what a home runs for itself is nobody's debt.
//!
//! # How a balance names its entries
//!
//! A side of a balance commits to the *set* of its receipts by one digest. Both peers must get the same digest whichever
//! receipt came first, and neither should go through all of them each time one is added. So it is an LtHash (Bellare and
//! Micciancio 1997; Lewi, Kim, Maykov and Weis, "Securing Update Propagation with Homomorphic Hashing", 2019) with the
//! parameters of that paper, 1,024 lanes of 16 bits: each receipt id is stretched to 2 KiB by sha2-256 in counter mode,
//! the stretched ids are added lane by lane, and the sum's sha2-256 is the digest. Two sets with one digest are as hard to
//! find as a short vector in a lattice, estimated at over 2^200 operations. As a sum, it would not tell a set from one
//! that holds a receipt 65,537 times: whoever proves a balance shows each receipt once.

use crate::{
    Did, Invocation, InvocationId, Receipt, ReceiptId, Signed, Statement,
    bundle::{Block, Blocks, BundleError, MAX_BUNDLE_BYTES, write},
    envelope::EnvelopeError,
    id::{DAG_CBOR, SHA2_256, cid_of, sha256},
    ucan::MAX_TIME,
};
use cid::Cid;
use multihash::Multihash;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use std::fmt;

/// The most receipts of one side, and the most fuel: 2^63 - 1, which every database's integers hold. A sum beyond it
/// stays there.
pub const MAX_SUM: u64 = i64::MAX as u64;

/// What is mixed into every stretched id.
const SET_TAG: &[u8] = b"actum/balance-set@1";
/// 16-bit lanes of a set's sum: LtHash16's.
const LANES: usize = 1_024;
/// Lanes that one sha2-256 digest fills.
const LANES_A_BLOCK: usize = 16;

/// What commits to a set of receipts: the sum of their stretched ids, whatever their order.
#[derive(Clone, PartialEq, Eq)]
pub struct ReceiptSet(Box<[u16; LANES]>);

impl ReceiptSet {
    /// The bytes of a set's sum: 2 KiB.
    pub const BYTES: usize = LANES * 2;

    /// Adds a receipt that is not in it.
    pub fn add(&mut self, receipt: &ReceiptId) {
        for (block, lanes) in (0_u8..).zip(self.0.chunks_mut(LANES_A_BLOCK)) {
            let stretched = sha256(&[SET_TAG, receipt.digest(), &[block]].concat());
            let (pairs, _) = stretched.as_chunks::<2>();
            for (lane, pair) in lanes.iter_mut().zip(pairs) {
                *lane = lane.wrapping_add(u16::from_le_bytes(*pair));
            }
        }
    }

    /// What the set is told by.
    pub fn digest(&self) -> [u8; 32] {
        sha256(&self.to_bytes())
    }

    /// The sum, to be kept: lanes as little-endian numbers.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|lane| lane.to_le_bytes()).collect()
    }

    /// The sum as it was kept; nothing where that has not [`Self::BYTES`].
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (pairs, []) = bytes.as_chunks::<2>() else { return None };
        if pairs.len() != LANES {
            return None;
        }
        let mut set = Self::default();
        for (lane, pair) in set.0.iter_mut().zip(pairs) {
            *lane = u16::from_le_bytes(*pair);
        }
        Some(set)
    }
}

impl Default for ReceiptSet {
    fn default() -> Self {
        Self(Box::new([0; LANES]))
    }
}

impl fmt::Debug for ReceiptSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest: String = self.digest().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        write!(f, "ReceiptSet({digest}…)")
    }
}

/// The receipt whose id has this sha2-256 digest.
pub fn receipt_of(digest: &[u8; 32]) -> ReceiptId {
    #[expect(
        clippy::expect_used,
        reason = "a digest of 32 bytes fits in 64, and version, codec and hash are a receipt id's own"
    )]
    Multihash::<64>::wrap(SHA2_256, digest)
        .ok()
        .and_then(|hash| ReceiptId::try_from(Cid::new_v1(DAG_CBOR, hash)).ok())
        .expect("32 bytes make a receipt id")
}

/// What some receipts add up to, counted one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub receipts: u64,
    /// Their fuel.
    pub fuel: u64,
    /// Which.
    pub set: ReceiptSet,
}

impl Tally {
    /// Counts a receipt that was not counted before.
    pub fn add(&mut self, receipt: &ReceiptId, fuel: u64) {
        self.receipts = self.receipts.saturating_add(1).min(MAX_SUM);
        self.fuel = self.fuel.saturating_add(fuel).min(MAX_SUM);
        self.set.add(receipt);
    }

    /// As a balance states it.
    pub fn side(&self) -> Side {
        Side { receipts: self.receipts, fuel: self.fuel, digest: ByteArray::new(self.set.digest()) }
    }
}

/// One direction of a balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Side {
    /// How many receipts. At most [`MAX_SUM`].
    pub receipts: u64,
    /// The fuel they say was burned. At most [`MAX_SUM`].
    pub fuel: u64,
    /// Which receipts: a [`ReceiptSet`]'s digest.
    pub digest: ByteArray<32>,
}

impl Side {
    fn check(&self) -> Result<(), String> {
        if self.receipts.max(self.fuel) > MAX_SUM {
            return Err(format!(
                "a side of {} receipts and {} fuel is over 2^63 - 1",
                self.receipts, self.fuel
            ));
        }
        if self.receipts == 0 && *self != Tally::default().side() {
            return Err("a side of no receipts has fuel, or another digest than that of none".to_owned());
        }
        Ok(())
    }
}

/// This is what we two have served each other, as `iss` counts it. The one with the highest `seq` stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Balance {
    /// Who says so, and signs.
    pub iss: Did,
    /// The other.
    pub peer: Did,
    /// When, by the issuer's clock, in seconds since the Unix epoch. At most [`MAX_TIME`].
    pub iat: u64,
    /// The issuer's count of its balances with this peer, from 1. At most [`MAX_TIME`].
    pub seq: u64,
    /// What the issuer ran for the peer.
    pub served: Side,
    /// What the peer ran for the issuer.
    pub consumed: Side,
}

impl Statement for Balance {
    const TAG: &'static str = "actum/balance@1";
    const MAX_BYTES: usize = 1 << 10;

    fn issuer(&self) -> Did {
        self.iss
    }

    fn check(&self) -> Result<(), String> {
        if self.iss == self.peer {
            return Err("nobody owes themselves".to_owned());
        }
        if self.iat.max(self.seq) > MAX_TIME {
            return Err(format!("the time {} or the count {} is over 2^53 - 1", self.iat, self.seq));
        }
        self.served.check()?;
        self.consumed.check()
    }
}

/// Which two peers a receipt is an entry between, as provider and requester; none where nobody served another.
pub fn between(receipt: &Receipt) -> Option<(Did, Did)> {
    let (provider, requester) = (receipt.iss, receipt.action.requester);
    (provider != requester && receipt.invocation.is_some()).then_some((provider, requester))
}

/// A receipt with the request that it answers: the provider signed the one, the requester the other, so that neither can
/// make an entry alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The receipt.
    pub receipt: Signed<Receipt>,
    /// The request, where it is at hand.
    pub invocation: Option<Signed<Invocation>>,
}

/// Two peers' balances with everything that proves them, in one file: a CAR archive, as [`crate::bundle`] has them, of one
/// peer's balance, the other's where it is known, and the entries in the order of their receipts' ids, each followed by its
/// request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accounts {
    /// The balance of who exported it, the archive's root.
    pub ours: Signed<Balance>,
    /// The other's.
    pub theirs: Option<Signed<Balance>>,
    /// The entries, by their receipts' ids.
    pub entries: Vec<Entry>,
}

/// Why a file is no exported balance.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    /// It is no archive, or a block is not what its id names.
    #[error(transparent)]
    Archive(#[from] BundleError),
    /// A block is not what stands at its place.
    #[error("block {block} is refused: {source}")]
    Block {
        /// Which, from 1.
        block: usize,
        /// What is wrong with it.
        source: EnvelopeError,
    },
    /// A block has another place in such a file, or none.
    #[error("block {block}: {cid} is out of order")]
    Order {
        /// Which, from 1.
        block: usize,
        /// Its id.
        cid: Cid,
    },
    /// The second balance is not that of the other peer on the same two.
    #[error("the second balance is not the other peer's")]
    OtherPair,
}

impl Accounts {
    /// The archive's bytes. Sorts the entries.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut entries: Vec<_> = self.entries.iter().map(|entry| (entry.receipt.id(), entry)).collect();
        entries.sort_unstable_by_key(|(id, _)| *id);
        let mut blocks: Vec<Block<'_>> =
            Vec::with_capacity(entries.len().saturating_mul(2).saturating_add(2));
        let block = |bytes| (cid_of(DAG_CBOR, bytes), bytes);
        blocks.push(block(self.ours.bytes()));
        blocks.extend(self.theirs.iter().map(|theirs| block(theirs.bytes())));
        for (id, entry) in entries {
            blocks.push((*id.cid(), entry.receipt.bytes()));
            blocks.extend(entry.invocation.iter().map(|request| block(request.bytes())));
        }
        write(&blocks)
    }

    /// Reads what [`Self::to_bytes`] wrote, strictly: every block against its id, every signature, the order, and nothing
    /// else. Whether the receipts are those of the balances is not looked at.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AccountsError> {
        if bytes.len() > MAX_BUNDLE_BYTES {
            return Err(BundleError::TooLarge { actual: bytes.len() }.into());
        }
        let mut read = Blocks::read(bytes)?;
        let ours: Signed<Balance> = verify(1, read.first()?)?;
        let mut blocks = (1_usize..).zip(read.all().iter().copied()).skip(1).peekable();
        let theirs = match blocks.peek() {
            Some((block, (cid, bytes))) => match Signed::<Balance>::verify(bytes) {
                Ok(_) if cid.codec() != DAG_CBOR => {
                    return Err(AccountsError::Order { block: *block, cid: *cid });
                }
                Ok(theirs) => Some(theirs),
                Err(source @ EnvelopeError::BadSignature { .. }) => {
                    return Err(AccountsError::Block { block: *block, source });
                }
                // A receipt, or what is refused as one.
                Err(_) => None,
            },
            None => None,
        };
        if let Some(theirs) = &theirs {
            let (one, other) = (ours.payload(), theirs.payload());
            if (one.iss, one.peer) != (other.peer, other.iss) {
                return Err(AccountsError::OtherPair);
            }
            blocks.next();
        }
        let (mut entries, mut last) = (Vec::new(), None);
        while let Some((block, (cid, bytes))) = blocks.next() {
            let receipt: Signed<Receipt> = verify(block, bytes)?;
            let id = receipt.id();
            if *id.cid() != cid || last.is_some_and(|last| last >= id) {
                return Err(AccountsError::Order { block, cid });
            }
            last = Some(id);
            let named = receipt.payload().invocation;
            let request = blocks.next_if(|(_, (cid, _))| named.as_ref().map(InvocationId::cid) == Some(cid));
            let invocation = request.map(|(block, (_, bytes))| verify(block, bytes)).transpose()?;
            entries.push(Entry { receipt, invocation });
        }
        Ok(Self { ours, theirs, entries })
    }
}

fn verify<T: Statement>(block: usize, bytes: &[u8]) -> Result<Signed<T>, AccountsError> {
    Signed::verify(bytes).map_err(|source| AccountsError::Block { block, source })
}
