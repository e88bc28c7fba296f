//! The one encoding of everything that outlives a process: DAG-CBOR, strict in both directions.
//!
//! Source: IPLD DAG-CBOR specification. One value has one byte string, so one id.

use serde::{Serialize, de::DeserializeOwned};
use std::io;

/// Why bytes are not the value they were said to be.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes exceed the size this type is allowed; nothing was parsed.
    #[error("{actual} bytes where at most {limit} are allowed")]
    TooLarge {
        /// Bytes received.
        actual: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Not DAG-CBOR, or not of this type: unknown or missing field, wrong kind, trailing bytes.
    #[error("not valid DAG-CBOR of this type: {0}")]
    Malformed(String),
    /// Understood, but not the one canonical byte string of the value.
    #[error("not the canonical encoding of its value")]
    NotCanonical,
    /// Well-formed, but a field holds what its type forbids.
    #[error("{0}")]
    Invalid(String),
}

/// Encodes a value as DAG-CBOR.
///
/// # Panics
/// Never for the types of this crate: they hold only what DAG-CBOR can say. A float that is NaN or infinite, which
/// DAG-CBOR cannot say, is kept out by [`crate::value`].
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    /// Room for most of what is encoded, in bytes: a journal's question, an id, a small record.
    const ROOM: usize = 64;
    encode_after(Vec::with_capacity(ROOM), value)
}

/// Encodes a value behind what is there.
pub(crate) fn encode_after<T: Serialize + ?Sized>(mut bytes: Vec<u8>, value: &T) -> Vec<u8> {
    #[expect(
        clippy::expect_used,
        reason = "every type of this crate is representable in DAG-CBOR; tests encode each"
    )]
    serde_ipld_dagcbor::to_writer(&mut bytes, &value).expect("model types are representable in DAG-CBOR");
    bytes
}

/// Decodes exactly one value from `bytes`, refusing anything but its canonical encoding.
///
/// Refused: more than `limit` bytes, non-minimal integers, unsorted or duplicate keys, indefinite lengths, unknown
/// fields, trailing bytes, and any other byte string that does not re-encode to itself.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, DecodeError> {
    if bytes.len() > limit {
        return Err(DecodeError::TooLarge { actual: bytes.len(), limit });
    }
    let value: T =
        serde_ipld_dagcbor::from_slice(bytes).map_err(|e| DecodeError::Malformed(e.to_string()))?;
    // Compared as it is written, so that nothing is kept of the second encoding: bytes can be 64 MiB.
    let mut same = Same { rest: bytes, differs: false };
    match serde_ipld_dagcbor::to_writer(&mut same, &value) {
        Ok(()) if same.rest.is_empty() => Ok(value),
        Err(e) if !same.differs => Err(DecodeError::Malformed(e.to_string())),
        _ => Err(DecodeError::NotCanonical),
    }
}

/// Takes what is written as long as it is what is expected.
struct Same<'a> {
    rest: &'a [u8],
    differs: bool,
}

impl io::Write for Same<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.rest.strip_prefix(bytes) {
            Some(rest) => self.rest = rest,
            None => {
                self.differs = true;
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
