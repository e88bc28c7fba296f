//! The rotation of a key: the old key's last word, which names its successor and the delegations that stay good.

use crate::{
    DelegationId, Did, RotationId, SecretKey, Signed, Statement, codec, key::KeyError, ucan::MAX_TIME,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use std::collections::BTreeSet;

/// From now on `to` is who `iss` was.
///
/// Whoever knows of it refuses invocations signed by `iss`, and delegations issued by `iss` that are not in `keep`: a
/// stolen key can sign, and nothing it signs afterwards holds. The first rotation of a key that is seen is the one that
/// counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// The old key, which signs.
    pub iss: Did,
    /// The new key.
    pub to: Did,
    /// When, by the issuer's clock, in seconds since the Unix epoch. At most [`MAX_TIME`].
    pub iat: u64,
    /// The delegations issued by the old key that stay good. At most [`Rotation::MAX_KEPT`].
    pub keep: BTreeSet<DelegationId>,
    /// The new key's signature over [`Rotation::acceptance`], so that nobody is made the successor of another.
    pub accepted: ByteArray<64>,
}

impl Rotation {
    /// The most delegations that one rotation keeps.
    pub const MAX_KEPT: usize = 1_024;

    /// Hands `old` over to `new`.
    pub fn new(old: &SecretKey, new: &SecretKey, iat: u64, keep: BTreeSet<DelegationId>) -> Self {
        let (iss, to) = (old.did(), new.did());
        let accepted = ByteArray::new(new.sign(&Self::acceptance(&iss, &to, iat, &keep)));
        Self { iss, to, iat, keep, accepted }
    }

    /// What the new key signs: all of the rotation, so that a thief of the old key cannot hand over to the rightful
    /// successor and keep delegations of his own.
    pub fn acceptance(iss: &Did, to: &Did, iat: u64, keep: &BTreeSet<DelegationId>) -> Vec<u8> {
        codec::encode(&("actum/rotation-accepted@1", iss, to, iat, keep))
    }
}

impl Statement for Rotation {
    const TAG: &'static str = "actum/rotation@1";
    const MAX_BYTES: usize = 64 << 10;

    fn issuer(&self) -> Did {
        self.iss
    }

    fn check(&self) -> Result<(), String> {
        if self.iss == self.to {
            return Err("a key is not its own successor".to_owned());
        }
        if self.keep.len() > Self::MAX_KEPT {
            return Err(format!(
                "{} delegations kept where at most {} are allowed",
                self.keep.len(),
                Self::MAX_KEPT
            ));
        }
        if self.iat > MAX_TIME {
            return Err(format!("the time {} is over 2^53 - 1 seconds", self.iat));
        }
        let acceptance = Self::acceptance(&self.iss, &self.to, self.iat, &self.keep);
        let accepted = self.to.verify(&acceptance, self.accepted.as_slice());
        accepted.map_err(|e: KeyError| format!("the successor did not accept: {e}"))
    }
}

impl Signed<Rotation> {
    /// The rotation's id.
    pub fn id(&self) -> RotationId {
        RotationId::of(self.bytes())
    }
}
