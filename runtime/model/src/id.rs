//! Content ids: CIDv1 over sha2-256, one newtype for each kind of thing so that they cannot be mixed up.

use cid::Cid;
use multihash::Multihash;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr};

/// The multicodec of uninterpreted bytes.
pub const RAW: u64 = 0x55;
/// The multicodec of DAG-CBOR.
pub const DAG_CBOR: u64 = 0x71;
/// The multihash code of sha2-256.
pub const SHA2_256: u64 = 0x12;

/// Why a text or CID is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not a CID at all.
    #[error("not a CID: {0}")]
    NotCid(String),
    /// A CID of another version, codec or hash than this kind of id uses.
    #[error("{cid} is not a {kind}: it needs CIDv1, codec 0x{codec:x}, sha2-256")]
    WrongKind {
        /// The CID as given.
        cid: String,
        /// The kind of id wanted.
        kind: &'static str,
        /// The codec that kind uses.
        codec: u64,
    },
}

/// The sha2-256 digest of some bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The CIDv1 of some bytes under a codec.
pub fn cid_of(codec: u64, bytes: &[u8]) -> Cid {
    #[expect(clippy::expect_used, reason = "a sha2-256 digest always fits in 64 bytes")]
    let hash = Multihash::<64>::wrap(SHA2_256, &sha256(bytes)).expect("32 bytes fit");
    Cid::new_v1(codec, hash)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $codec:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Cid);

        impl $name {
            /// The id of these very bytes.
            pub fn of(bytes: &[u8]) -> Self {
                Self(cid_of($codec, bytes))
            }

            /// The id as a CID.
            pub fn cid(&self) -> &Cid {
                &self.0
            }

            /// The id of the same bytes, uninterpreted.
            pub fn raw(&self) -> BlobId {
                BlobId(Cid::new_v1(RAW, *self.0.hash()))
            }

            /// The sha2-256 digest inside the id.
            pub fn digest(&self) -> &[u8] {
                self.0.hash().digest()
            }

            /// Whether these are the bytes the id names.
            pub fn names(&self, bytes: &[u8]) -> bool {
                self.digest() == sha256(bytes)
            }
        }

        impl TryFrom<Cid> for $name {
            type Error = IdError;
            fn try_from(cid: Cid) -> Result<Self, IdError> {
                let right = cid.version() == cid::Version::V1
                    && cid.codec() == $codec
                    && cid.hash().code() == SHA2_256
                    && cid.hash().size() == 32;
                if right {
                    Ok(Self(cid))
                } else {
                    Err(IdError::WrongKind { cid: cid.to_string(), kind: stringify!($name), codec: $codec })
                }
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Cid::from_str(text).map_err(|e| IdError::NotCid(e.to_string()))?.try_into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(s)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                Cid::deserialize(d)?.try_into().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// A Wasm component: the digest of its binary, equal to `sha256sum` and to its OCI layer digest.
    ComponentId, RAW
);
id!(
    /// Uninterpreted bytes: arguments, outputs, captured stdio.
    BlobId, RAW
);
id!(
    /// A signed [`crate::Release`], signature included.
    ReleaseId, DAG_CBOR
);
id!(
    /// A signed [`crate::Descriptor`], signature included.
    DescriptorId, DAG_CBOR
);
id!(
    /// A signed [`crate::Lease`], signature included.
    LeaseId, DAG_CBOR
);
id!(
    /// An [`crate::Action`].
    ActionId, DAG_CBOR
);
id!(
    /// A [`crate::Journal`].
    JournalId, DAG_CBOR
);
id!(
    /// A signed [`crate::Delegation`], signature included.
    DelegationId, DAG_CBOR
);
id!(
    /// A signed [`crate::Invocation`], signature included.
    InvocationId, DAG_CBOR
);
id!(
    /// A signed [`crate::Rotation`], signature included.
    RotationId, DAG_CBOR
);
id!(
    /// An engine [`crate::Profile`].
    ProfileId, DAG_CBOR
);
id!(
    /// A signed [`crate::Receipt`], signature included.
    ReceiptId, DAG_CBOR
);
id!(
    /// A signed [`crate::Verdict`], signature included.
    VerdictId, DAG_CBOR
);
id!(
    /// A plan run with certain inputs, whoever runs it: the pair of their ids.
    FlowId, DAG_CBOR
);
