//! What a platform says of a receipt: evidence that hardware made it, in a form of its own, beside the provider's signature.
//!
//! A receipt does not name its attestation, which is made after it and of it. So an attestation says which receipt it is of,
//! and whoever carries the two can leave it out. What it proves is not for this room: `actum-trust` verifies it.

use crate::{
    ReceiptId,
    codec::{self, DecodeError},
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// Evidence of a provider's platform over one receipt, within its bounds.
///
/// ```text
/// {"actum/attestation@1": {"format": "tpm2-quote@1", "receipt": <CID>, "evidence": <bytes>}}
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    said: Said,
    bytes: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    receipt: ReceiptId,
    format: String,
    evidence: ByteBuf,
}

/// The tag names type and version, as in signed statements.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tagged<S> {
    #[serde(rename = "actum/attestation@1")]
    said: S,
}

/// A map of one entry whose key is the tag: how every attestation begins, and nothing else that stands in a bundle.
const BEGIN: &[u8] = b"\xa1\x73actum/attestation@1";

impl Attestation {
    /// The largest one accepted, in bytes: 16 KiB. A quote takes half a KiB; a certificate chain, in formats that have one, a
    /// few.
    pub const MAX_BYTES: usize = 16 << 10;
    /// The longest name of a format, in bytes.
    pub const MAX_FORMAT_BYTES: usize = 32;

    /// Makes one, unless every reader would refuse it.
    ///
    /// `format` names what the evidence is, with its version, such as [`Tpm2Quote::FORMAT`]: 1 to
    /// [`Self::MAX_FORMAT_BYTES`] of `a-z`, `0-9`, `-` and `@`.
    pub fn new(receipt: ReceiptId, format: &str, evidence: Vec<u8>) -> Result<Self, DecodeError> {
        let said = Said { receipt, format: format.to_owned(), evidence: evidence.into() };
        Self::read(&codec::encode(&Tagged { said }))
    }

    /// Reads one strictly: canonical, nothing unknown, nothing behind, within its bounds. What its evidence says is not looked
    /// at.
    pub fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let Tagged { said } = codec::decode::<Tagged<Said>>(bytes, Self::MAX_BYTES)?;
        let known = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'@');
        let format = said.format.as_bytes();
        if !(1..=Self::MAX_FORMAT_BYTES).contains(&format.len()) || !format.iter().all(known) {
            return Err(DecodeError::Invalid(
                "what names the attestation's format is no such name".to_owned(),
            ));
        }
        Ok(Self { said, bytes: bytes.to_vec() })
    }

    /// The receipt it says it is of.
    pub fn receipt(&self) -> &ReceiptId {
        &self.said.receipt
    }

    /// What the evidence is, with its version.
    pub fn format(&self) -> &str {
        &self.said.format
    }

    /// The evidence, as its format has it.
    pub fn evidence(&self) -> &[u8] {
        &self.said.evidence
    }

    /// Its canonical bytes, as stored and as sent.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether bytes begin as those of an attestation do, whatever follows.
    pub(crate) fn begins(bytes: &[u8]) -> bool {
        bytes.starts_with(BEGIN)
    }
}

/// The evidence of the format [`Self::FORMAT`]: a TPM 2.0 quote with its key, each structure as the TPM gave it.
///
/// Source: TCG, "Trusted Platform Module Library, Part 2: Structures".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tpm2Quote {
    /// The `TPMS_ATTEST` that was signed (section "TPMS_ATTEST").
    pub attest: ByteBuf,
    /// The `TPMT_SIGNATURE` over it.
    pub signature: ByteBuf,
    /// The `TPM2B_PUBLIC` of the key that signed.
    pub public: ByteBuf,
}

impl Tpm2Quote {
    /// The format's name and version.
    pub const FORMAT: &'static str = "tpm2-quote@1";

    /// Its canonical bytes.
    pub fn bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads one strictly. What the structures say is not looked at.
    pub fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(bytes, Attestation::MAX_BYTES)
    }
}
