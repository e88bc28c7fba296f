//! What a file is that somebody hands over: a receipt's bundle, a fraud proof or a flow, told by its first block.
//!
//! All three are CAR archives with one root, which is a signed statement; its type decides who reads the rest.

use crate::{
    Receipt, Statement, Verdict,
    bundle::{Bundle, BundleError, MAX_BUNDLE_BYTES, split_section},
    flow::{FlowBundle, FlowBundleError, FlowRecord},
    fraud::FraudProof,
};
use cid::Cid;
use ipld_core::ipld::Ipld;

/// A file, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Archive {
    /// A receipt's bundle.
    Receipt(Box<Bundle>),
    /// A proof that a receipt is not what happens.
    Proof(Box<FraudProof>),
    /// Several actions that were one flow.
    Flow(Box<FlowBundle>),
}

/// Why a file is refused.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// More bytes than any archive may have; nothing was read.
    #[error("the file has {actual} bytes where at most {MAX_BUNDLE_BYTES} are allowed")]
    TooLarge {
        /// Bytes received.
        actual: usize,
    },
    /// It begins with a statement that is no archive's root.
    #[error("this is the archive of a {found:?}, which nobody here reads")]
    Unknown {
        /// The statement's tag.
        found: String,
    },
    /// It is no archive of a signed statement, or its bundle fails a check.
    #[error(transparent)]
    Bundle(BundleError),
    /// A fraud proof that fails a check.
    #[error("the proof is refused: {0}")]
    Proof(#[source] BundleError),
    /// A flow that fails a check.
    #[error(transparent)]
    Flow(#[from] FlowBundleError),
}

/// Reads a file, whichever of the three it is.
pub fn read(bytes: &[u8]) -> Result<Archive, ArchiveError> {
    if bytes.len() > MAX_BUNDLE_BYTES {
        return Err(ArchiveError::TooLarge { actual: bytes.len() });
    }
    match tag(bytes).as_deref() {
        Some(FlowRecord::TAG) => Ok(Archive::Flow(Box::new(FlowBundle::from_bytes(bytes)?))),
        Some(Verdict::TAG) => {
            let proof = FraudProof::from_bytes(bytes).map_err(ArchiveError::Proof)?;
            Ok(Archive::Proof(Box::new(proof)))
        }
        // Without a tag it is no archive of ours; the reader of bundles says what is wrong with it.
        Some(Receipt::TAG) | None => {
            let bundle = Bundle::from_bytes(bytes).map_err(ArchiveError::Bundle)?;
            Ok(Archive::Receipt(Box::new(bundle)))
        }
        Some(other) => Err(ArchiveError::Unknown { found: other.chars().take(MAX_TAG_SHOWN).collect() }),
    }
}

/// How much of an unknown tag is shown, in characters.
const MAX_TAG_SHOWN: usize = 64;

/// What the first block says that it is. Nothing of it is checked.
fn tag(bytes: &[u8]) -> Option<String> {
    let (_, rest) = split_section(bytes, 0).ok()?;
    let (mut first, _) = split_section(rest, 1).ok()?;
    Cid::read_bytes(&mut first).ok()?;
    if first.len() > FlowRecord::MAX_BYTES {
        return None;
    }
    let Ok(Ipld::List(parts)) = serde_ipld_dagcbor::from_slice::<Ipld>(first) else { return None };
    match parts.as_slice() {
        [Ipld::Bytes(_), Ipld::Map(signed)] => signed.keys().find(|key| *key != "h").cloned(),
        _ => None,
    }
}

impl Archive {
    /// The bundles in it that stand for themselves: one of a receipt, each step's of a flow, and of a proof the one it is
    /// about where its component is there.
    pub fn bundles(self) -> Vec<Bundle> {
        match self {
            Self::Receipt(bundle) => vec![*bundle],
            Self::Proof(proof) => proof.bundle.whole().into_iter().collect(),
            Self::Flow(flow) => flow.bundles(),
        }
    }
}
