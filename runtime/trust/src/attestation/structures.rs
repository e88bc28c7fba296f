//! Reads the three structures of a TPM 2.0 quote, each strictly: this key's kind, this signature's kind, nothing behind.
//!
//! Source: TCG, "Trusted Platform Module Library, Part 2: Structures", whose names stand here. All integers are big-endian. Crates
//! read the whole protocol (`tpm2-protocol`), much of it by casting bytes, or need the TPM's C library (`tss-esapi`); three
//! structures of one kind are less to trust.

use std::collections::BTreeSet;

/// `TPM_GENERATED_VALUE`: what a TPM puts in front of what it signs of its own, and a restricted key signs of nobody else's.
const TPM_GENERATED_VALUE: u32 = 0xff54_4347;
/// `TPM_ST_ATTEST_QUOTE`.
const TPM_ST_ATTEST_QUOTE: u16 = 0x8018;
/// `TPM_ALG_SHA256`.
const TPM_ALG_SHA256: u16 = 0x000b;
/// `TPM_ALG_NULL`.
const TPM_ALG_NULL: u16 = 0x0010;
/// `TPM_ALG_ECDSA`.
const TPM_ALG_ECDSA: u16 = 0x0018;
/// `TPM_ALG_ECC`.
const TPM_ALG_ECC: u16 = 0x0023;
/// `TPM_ECC_NIST_P256`.
const TPM_ECC_NIST_P256: u16 = 0x0003;

/// The attributes (`TPMA_OBJECT`) that an attestation key has: it never leaves its TPM nor its parent, was made in it, and signs
/// only what the TPM made itself.
const ATTRIBUTES: [(u32, &str); 5] = [
    (1 << 1, "fixedTPM"),
    (1 << 4, "fixedParent"),
    (1 << 5, "sensitiveDataOrigin"),
    (1 << 16, "restricted"),
    (1 << 18, "sign"),
];
/// The attribute `decrypt`, which a key that attests has not.
const DECRYPT: u32 = 1 << 17;

/// The longest digest or name there is, in bytes: SHA-512's, and the two bytes that name the algorithm.
const MAX_DIGEST: usize = 64 + 2;
/// The most banks of registers in a selection: what the reference implementation has algorithms for.
const MAX_BANKS: u32 = 16;
/// The longest bit map of registers, in bytes.
const MAX_SELECT: u8 = 4;
/// A coordinate or scalar of P-256, in bytes.
const SCALAR: usize = 32;

/// What is wrong with a structure of a TPM's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TpmError {
    /// It ends too early, or a length in it says more than there is.
    #[error("it is cut short")]
    CutShort,
    /// Something follows it.
    #[error("{0} bytes follow it")]
    Trailing(usize),
    /// A part is longer than such a part may be.
    #[error("a part of {0} bytes is too long")]
    TooLong(usize),
    /// A field has another value than the only one that is known here.
    #[error("its {field} is {found:#x}, where {wanted:#x} is wanted")]
    Other {
        /// The field, as the specification calls it.
        field: &'static str,
        /// The value found.
        found: u32,
        /// The value wanted.
        wanted: u32,
    },
    /// The key has not an attribute that keys that attest have.
    #[error("the key is not {0}")]
    Attribute(&'static str),
    /// The key may decrypt.
    #[error("the key is one that decrypts")]
    Decrypts,
    /// The key is not a point of its curve.
    #[error("the key is not a point of its curve")]
    NotAPoint,
    /// The signature has a part that is zero or no less than the group's order.
    #[error("it is not a signature of that curve")]
    NotASignature,
}

/// What remains to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], TpmError> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or(TpmError::CutShort)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TpmError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(TpmError::CutShort)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, TpmError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn short(&mut self) -> Result<u16, TpmError> {
        self.array().map(u16::from_be_bytes)
    }

    fn long(&mut self) -> Result<u32, TpmError> {
        self.array().map(u32::from_be_bytes)
    }

    /// A `TPM2B`: a length of two bytes, and as many bytes.
    fn sized(&mut self, most: usize) -> Result<&'a [u8], TpmError> {
        let length = usize::from(self.short()?);
        if length > most { Err(TpmError::TooLong(length)) } else { self.take(length) }
    }

    /// A `TPM2B_ECC_PARAMETER` of P-256. TPMs may leave out zeros in front.
    fn scalar(&mut self) -> Result<[u8; SCALAR], TpmError> {
        let bytes = self.sized(SCALAR)?;
        let mut scalar = [0; SCALAR];
        for (to, from) in scalar.iter_mut().rev().zip(bytes.iter().rev()) {
            *to = *from;
        }
        Ok(scalar)
    }

    fn is(&mut self, field: &'static str, wanted: u16) -> Result<(), TpmError> {
        same(field, self.short()?.into(), wanted.into())
    }

    fn end(self) -> Result<(), TpmError> {
        if self.0.is_empty() { Ok(()) } else { Err(TpmError::Trailing(self.0.len())) }
    }
}

fn same(field: &'static str, found: u32, wanted: u32) -> Result<(), TpmError> {
    if found == wanted { Ok(()) } else { Err(TpmError::Other { field, found, wanted }) }
}

/// A quote: the part of a `TPMS_ATTEST` that is looked at.
pub(super) struct Quote<'a> {
    /// `extraData`: what the asker wanted to see in it.
    pub(super) extra: &'a [u8],
    /// The registers quoted: the bank's algorithm, and the register's number.
    pub(super) pcrs: BTreeSet<(u16, u8)>,
    /// `pcrDigest`: the digest of their values, one after the other.
    pub(super) digest: &'a [u8],
}

impl<'a> Quote<'a> {
    /// Reads a `TPMS_ATTEST` with a `TPMS_QUOTE_INFO`.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, TpmError> {
        let mut reader = Reader(bytes);
        same("magic", reader.long()?, TPM_GENERATED_VALUE)?;
        reader.is("type", TPM_ST_ATTEST_QUOTE)?;
        // `qualifiedSigner` names the key by its parents, which nobody here knows; its own name says enough.
        let _ = reader.sized(MAX_DIGEST)?;
        let extra = reader.sized(MAX_DIGEST)?;
        // `clockInfo`: clock, resetCount and restartCount. They are no wall clock.
        let _ = reader.take(8 + 4 + 4)?;
        // `safe`, a TPMI_YES_NO.
        let safe = reader.byte()?;
        if safe > 1 {
            return Err(TpmError::Other { field: "safe", found: safe.into(), wanted: 1 });
        }
        // `firmwareVersion`.
        let _ = reader.take(8)?;
        let banks = reader.long()?;
        if banks > MAX_BANKS {
            return Err(TpmError::TooLong(usize::try_from(banks).unwrap_or(usize::MAX)));
        }
        let mut pcrs = BTreeSet::new();
        for _ in 0..banks {
            let bank = reader.short()?;
            let length = reader.byte()?;
            if length > MAX_SELECT {
                return Err(TpmError::TooLong(length.into()));
            }
            let map = reader.take(length.into())?;
            let numbers = (0..).zip(map.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1)));
            pcrs.extend(numbers.filter(|(_, set)| *set == 1).map(|(number, _)| (bank, number)));
        }
        let digest = reader.sized(MAX_DIGEST)?;
        reader.end()?;
        Ok(Self { extra, pcrs, digest })
    }
}

/// The bank of registers that this build can ask for.
pub(super) const SHA256_BANK: u16 = TPM_ALG_SHA256;

/// The public part of a key that attests: ECDSA with SHA-256 on P-256.
pub(super) struct Public<'a> {
    /// The `TPMT_PUBLIC`, of which the key's name is made.
    pub(super) area: &'a [u8],
    /// The point's coordinates.
    pub(super) point: [[u8; SCALAR]; 2],
}

impl<'a> Public<'a> {
    /// Reads a `TPM2B_PUBLIC`, and what it must say to be a key that attests.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, TpmError> {
        let mut outer = Reader(bytes);
        let area = outer.sized(bytes.len())?;
        outer.end()?;
        let mut reader = Reader(area);
        reader.is("type", TPM_ALG_ECC)?;
        reader.is("nameAlg", TPM_ALG_SHA256)?;
        let attributes = reader.long()?;
        if let Some((_, name)) = ATTRIBUTES.iter().find(|(bit, _)| attributes & bit == 0) {
            return Err(TpmError::Attribute(name));
        }
        if attributes & DECRYPT != 0 {
            return Err(TpmError::Decrypts);
        }
        // `authPolicy`: who may use the key is its owner's business.
        let _ = reader.sized(MAX_DIGEST)?;
        // TPMS_ECC_PARMS: a key that signs has no cipher and derives none.
        reader.is("symmetric", TPM_ALG_NULL)?;
        reader.is("scheme", TPM_ALG_ECDSA)?;
        reader.is("scheme's hash", TPM_ALG_SHA256)?;
        reader.is("curveID", TPM_ECC_NIST_P256)?;
        reader.is("kdf", TPM_ALG_NULL)?;
        let point = [reader.scalar()?, reader.scalar()?];
        reader.end()?;
        Ok(Self { area, point })
    }
}

/// Reads a `TPMT_SIGNATURE` by ECDSA with SHA-256 on P-256: r and s.
pub(super) fn signature(bytes: &[u8]) -> Result<[[u8; SCALAR]; 2], TpmError> {
    let mut reader = Reader(bytes);
    reader.is("sigAlg", TPM_ALG_ECDSA)?;
    reader.is("hash", TPM_ALG_SHA256)?;
    let parts = [reader.scalar()?, reader.scalar()?];
    reader.end()?;
    Ok(parts)
}
