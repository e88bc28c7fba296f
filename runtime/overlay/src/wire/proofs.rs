//! What the messages about fraud proofs are made of.

use actum_model::{Did, ReceiptId};
use serde::{Deserialize, Serialize};

/// The most accusations in one answer.
pub const MAX_ACCUSATIONS: usize = 64;
/// The largest [`Accusation`] in bytes: a CID of 41, a did:key of 58, a number, and what names them.
pub(super) const MAX_ACCUSATION: usize = 256;

/// That somebody has a proof that a provider lied. It is worth nothing without the proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accusation {
    /// The receipt that is not what happens.
    pub receipt: ReceiptId,
    /// Whose receipt it is.
    pub provider: Did,
    /// How many bytes the proof has, without its component.
    pub bytes: u32,
}
