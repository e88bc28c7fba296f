//! The signed envelope, in the shape of UCAN 1.0: `[signature, {"h": varsig header, "<tag>": payload}]` in DAG-CBOR.
//!
//! The signature covers the second element, so it covers the tag: a statement of one type or version can never be
//! read as another. The id of a statement is the CID of the whole envelope.

use crate::{Did, SecretKey, codec, codec::DecodeError};
use ipld_core::ipld::Ipld;
use serde::{Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;

/// Varsig 1.0 header: Ed25519 (EdDSA over Edwards25519, sha2-512) over DAG-CBOR.
pub const VARSIG_ED25519_DAG_CBOR: [u8; 8] = [0x34, 0x01, 0xed, 0x01, 0xed, 0x01, 0x13, 0x71];

/// A payload that can be signed.
pub trait Statement: Serialize + DeserializeOwned + Clone {
    /// Names type and version inside the signed bytes, e.g. `actum/receipt@1`.
    const TAG: &'static str;
    /// The largest envelope accepted, in bytes.
    const MAX_BYTES: usize;
    /// Who must have signed it.
    fn issuer(&self) -> Did;
    /// What the types alone cannot say: orders, ranges, sizes of parts.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Why an envelope was refused.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// The bytes are not such an envelope.
    #[error("not a {tag} envelope: {source}")]
    Decode {
        /// The statement wanted.
        tag: &'static str,
        /// What is wrong with the bytes.
        source: DecodeError,
    },
    /// The envelope holds another type or version of statement.
    #[error("this is a {found:?}, not a {wanted}")]
    WrongTag {
        /// The tag wanted.
        wanted: &'static str,
        /// The tag found.
        found: String,
    },
    /// Signed by an algorithm or over an encoding this version does not know.
    #[error("unknown signature header")]
    UnknownHeader,
    /// The signature has not the 64 bytes of an Ed25519 signature, so it is nobody's.
    #[error("a signature of {actual} bytes, which no Ed25519 signature has")]
    SignatureLength {
        /// How many bytes it has.
        actual: usize,
    },
    /// The issuer's key did not sign these bytes.
    #[error("the signature is not {issuer}'s")]
    BadSignature {
        /// Who is named as the issuer.
        issuer: Did,
    },
}

/// A statement with its issuer's signature, verified: it cannot be made from bytes without the check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed<T> {
    payload: T,
    bytes: Vec<u8>,
}

/// The signed map up to its payload: two keys, `h` first because DAG-CBOR sorts shorter keys first, then the tag.
fn signed_prefix(tag: &str) -> Vec<u8> {
    let mut bytes = vec![0xa2, 0x61, b'h', 0x48];
    bytes.extend_from_slice(&VARSIG_ED25519_DAG_CBOR);
    bytes.extend_from_slice(&codec::encode(tag));
    bytes
}

fn signed_bytes<T: Statement>(payload: &T) -> Vec<u8> {
    codec::encode_after(signed_prefix(T::TAG), payload)
}

/// An array of two and a byte string of 64: the fixed head of every envelope, before the signature's bytes.
const HEAD: [u8; 3] = [0x82, 0x58, 0x40];

fn envelope_bytes(signature: &[u8; 64], signed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD.len() + signature.len() + signed.len());
    bytes.extend_from_slice(&HEAD);
    bytes.extend_from_slice(signature);
    bytes.extend_from_slice(signed);
    bytes
}

/// How long the byte string is that an array of two begins with, if all of it is there.
fn signature_length(bytes: &[u8]) -> Option<usize> {
    let (length, rest) = match bytes {
        [0x82, 0x58, length, rest @ ..] => (usize::from(*length), rest),
        [0x82, 0x59, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        [0x82, head @ 0x40..=0x57, rest @ ..] => (usize::from(head - 0x40), rest),
        _ => return None,
    };
    (rest.len() > length).then_some(length)
}

impl<T: Statement> Signed<T> {
    /// Signs a statement that keeps its type's rules, where that is known; otherwise [`Self::try_sign`].
    ///
    /// The caller holds the issuer's key; a statement signed with another key is refused by every reader, as is one that
    /// breaks the rules.
    pub fn sign(payload: T, key: &SecretKey) -> Self {
        let signed = signed_bytes(&payload);
        let bytes = envelope_bytes(&key.sign(&signed), &signed);
        Self { payload, bytes }
    }

    /// Signs a statement, unless every reader would refuse it: for its own rules, or for its size.
    pub fn try_sign(payload: T, key: &SecretKey) -> Result<Self, DecodeError> {
        payload.check().map_err(DecodeError::Invalid)?;
        let signed = Self::sign(payload, key);
        let (actual, limit) = (signed.bytes.len(), T::MAX_BYTES);
        if actual > limit { Err(DecodeError::TooLarge { actual, limit }) } else { Ok(signed) }
    }

    /// Reads and verifies an envelope: canonical encoding, tag, issuer's signature, and the statement's own rules.
    pub fn verify(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let tag = T::TAG;
        let refuse = |source| EnvelopeError::Decode { tag, source };
        if bytes.len() > T::MAX_BYTES {
            return Err(refuse(DecodeError::TooLarge { actual: bytes.len(), limit: T::MAX_BYTES }));
        }
        let malformed = |what: &str| refuse(DecodeError::Malformed(what.to_owned()));
        let Some(rest) = bytes.strip_prefix(&HEAD) else {
            return Err(match signature_length(bytes) {
                Some(actual) if actual != 64 => EnvelopeError::SignatureLength { actual },
                _ => malformed("not an array of a 64-byte signature and a map"),
            });
        };
        let (signature, signed) =
            rest.split_at_checked(64).ok_or_else(|| malformed("the signature is cut short"))?;
        let Some(body) = signed.strip_prefix(signed_prefix(tag).as_slice()) else {
            return Err(Self::diagnose(signed));
        };
        let payload: T = serde_ipld_dagcbor::from_slice(body)
            .map_err(|e| refuse(DecodeError::Malformed(e.to_string())))?;
        if signed_bytes(&payload) != signed {
            return Err(refuse(DecodeError::NotCanonical));
        }
        payload.check().map_err(|e| refuse(DecodeError::Invalid(e)))?;
        let issuer = payload.issuer();
        issuer.verify(signed, signature).map_err(|_| EnvelopeError::BadSignature { issuer })?;
        Ok(Self { payload, bytes: bytes.to_vec() })
    }

    /// Says why the signed part does not begin as a statement of this type must.
    fn diagnose(signed: &[u8]) -> EnvelopeError {
        let wanted = T::TAG;
        let parts = match serde_ipld_dagcbor::from_slice::<BTreeMap<String, Ipld>>(signed) {
            Ok(parts) => parts,
            Err(e) => {
                return EnvelopeError::Decode { tag: wanted, source: DecodeError::Malformed(e.to_string()) };
            }
        };
        if parts.get("h") != Some(&Ipld::Bytes(VARSIG_ED25519_DAG_CBOR.to_vec())) {
            return EnvelopeError::UnknownHeader;
        }
        let found = parts.into_keys().find(|k| k != "h" && k != wanted).unwrap_or_default();
        EnvelopeError::WrongTag { wanted, found }
    }

    /// The statement.
    pub fn payload(&self) -> &T {
        &self.payload
    }

    /// The envelope's bytes, as signed and as stored.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Gives up the envelope for its statement.
    pub fn into_payload(self) -> T {
        self.payload
    }
}
