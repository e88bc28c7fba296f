//! Containers: delegations in one file or message, as bytes or as text.
//!
//! Source: UCAN Container 0.1.0: a byte that says the form, then `{"ctn-v1": [token, …]}` in CBOR. Written sorted, as the
//! text wants it; read in any order, as the published containers are not sorted, and the order means nothing. Twice the same token
//! is refused. The compressed forms are refused by name: what unpacks to a thousand times its size has no place where
//! strangers send it, and tokens are keys and signatures, which do not compress.

use super::{MAX_CHAIN, Proof};
use crate::{DecodeError, Delegation, EnvelopeError, Statement, codec};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::collections::BTreeSet;

/// The most tokens in one container: a chain, a revocation of it, and some to spare.
pub const MAX_TOKENS: usize = 2 * MAX_CHAIN;
/// The most bytes of a container, as bytes.
pub const MAX_BYTES: usize = MAX_TOKENS * (Delegation::MAX_BYTES + 8);
/// The most bytes of a container, as text.
pub const MAX_TEXT_BYTES: usize = MAX_BYTES.div_ceil(3) * 4 + 2;

/// How a container is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As bytes, beginning with `@`.
    Raw,
    /// As text, beginning with `B`: base64 with the standard alphabet, padded.
    Base64,
    /// As text, beginning with `C`: base64 with the alphabet of URLs, not padded.
    Base64Url,
}

/// Why a container was refused.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// The first byte says no form.
    #[error("not a UCAN container: it begins with none of @, B and C")]
    Unknown,
    /// A compressed form, which is not read here.
    #[error("a compressed UCAN container: write it again without gzip")]
    Compressed,
    /// Not base64 of the form it says.
    #[error("not base64 as the container says: {0}")]
    Base64(String),
    /// Not the map of one list that a container is.
    #[error("not a UCAN container: {0}")]
    Decode(#[source] DecodeError),
    /// More tokens than a container may hold.
    #[error("{actual} tokens where at most {limit} are allowed")]
    TooMany {
        /// How many there are.
        actual: usize,
        /// How many may be.
        limit: usize,
    },
    /// Two tokens are the same.
    #[error("token {0} occurs twice")]
    Twice(usize),
    /// A token is no delegation that verifies.
    #[error("token {index}: {source}")]
    Token {
        /// Which one, from 0.
        index: usize,
        /// What is wrong with it.
        source: EnvelopeError,
    },
    /// The delegations do not follow one another.
    #[error("these {0} delegations are not one chain")]
    NotAChain(usize),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inner {
    #[serde(rename = "ctn-v1")]
    tokens: Vec<ByteBuf>,
}

/// Writes tokens, sorted, each once.
pub fn write<T: AsRef<[u8]>>(
    tokens: impl IntoIterator<Item = T>,
    form: Form,
) -> Result<Vec<u8>, ContainerError> {
    let sorted: BTreeSet<Vec<u8>> = tokens.into_iter().map(|t| t.as_ref().to_vec()).collect();
    bounded(sorted.len(), MAX_TOKENS)?;
    let inner = codec::encode(&Inner { tokens: sorted.into_iter().map(ByteBuf::from).collect() });
    let (actual, limit) = (inner.len() + 1, MAX_BYTES);
    if actual > limit {
        return Err(ContainerError::Decode(DecodeError::TooLarge { actual, limit }));
    }
    Ok(match form {
        Form::Raw => [b"@", inner.as_slice()].concat(),
        Form::Base64 => format!("B{}", BASE64.encode(&inner)).into_bytes(),
        Form::Base64Url => format!("C{}", BASE64URL_NOPAD.encode(&inner)).into_bytes(),
    })
}

/// Reads the tokens of a container, unverified, in the order they come. A text may end in one line break.
pub fn read(bytes: &[u8]) -> Result<Vec<Vec<u8>>, ContainerError> {
    let text = |encoding: data_encoding::Encoding, text: &[u8]| {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        encoding.decode(text).map_err(|e| ContainerError::Base64(e.to_string()))
    };
    let limit = if bytes.first() == Some(&b'@') { MAX_BYTES } else { MAX_TEXT_BYTES };
    if bytes.len() > limit {
        let actual = bytes.len();
        return Err(ContainerError::Decode(DecodeError::TooLarge { actual, limit }));
    }
    let inner = match bytes {
        [b'@', inner @ ..] => inner.to_vec(),
        [b'B', inner @ ..] => text(BASE64, inner)?,
        [b'C', inner @ ..] => text(BASE64URL_NOPAD, inner)?,
        [b'M' | b'O' | b'P', ..] => return Err(ContainerError::Compressed),
        _ => return Err(ContainerError::Unknown),
    };
    let Inner { tokens } = codec::decode(&inner, MAX_BYTES).map_err(ContainerError::Decode)?;
    bounded(tokens.len(), MAX_TOKENS)?;
    let mut seen = BTreeSet::new();
    if let Some(twice) = tokens.iter().position(|t| !seen.insert(t.as_slice())) {
        return Err(ContainerError::Twice(twice));
    }
    Ok(tokens.into_iter().map(ByteBuf::into_vec).collect())
}

/// Writes a chain of delegations.
pub fn write_chain(proofs: &[Proof], form: Form) -> Result<Vec<u8>, ContainerError> {
    bounded(proofs.len(), MAX_CHAIN)?;
    write(proofs.iter().map(Proof::bytes), form)
}

/// Reads a chain of delegations, each verified, and puts it in order, root first.
///
/// What is asked of their order is that it is one: each to the issuer of the next, all about one subject, who issued the
/// root; or none about any. Times and policies are not looked at.
pub fn read_chain(bytes: &[u8]) -> Result<Vec<Proof>, ContainerError> {
    let tokens = read(bytes)?;
    bounded(tokens.len(), MAX_CHAIN)?;
    let read = |(index, token): (usize, &Vec<u8>)| {
        Proof::read(token).map_err(|source| ContainerError::Token { index, source })
    };
    let proofs: Vec<Proof> = tokens.iter().enumerate().map(read).collect::<Result<_, _>>()?;
    arrange(&proofs).ok_or(ContainerError::NotAChain(proofs.len()))
}

/// The order in which delegations are one chain, root first, if there is one. At most [`MAX_CHAIN`] are looked at.
pub fn arrange(proofs: &[Proof]) -> Option<Vec<Proof>> {
    if proofs.is_empty() || proofs.len() > MAX_CHAIN {
        return None;
    }
    let subject = proofs.iter().find_map(|p| p.sub);
    if proofs.iter().any(|p| p.sub.is_some() && p.sub != subject) {
        return None;
    }
    let is_root = |p: &Proof| p.sub == subject && subject.is_none_or(|subject| p.iss == subject);
    proofs.iter().filter(|p| is_root(p)).find_map(|root| {
        let mut order = vec![root.clone()];
        extend(&mut order, proofs).then_some(order)
    })
}

/// Completes an order, trying each delegation that may come next.
fn extend(order: &mut Vec<Proof>, proofs: &[Proof]) -> bool {
    let Some(last) = order.last().cloned() else { return false };
    if order.len() == proofs.len() {
        return true;
    }
    for next in proofs.iter().filter(|p| p.iss == last.aud) {
        if order.iter().any(|p| p.id() == next.id()) {
            continue;
        }
        order.push(next.clone());
        if extend(order, proofs) {
            return true;
        }
        order.pop();
    }
    false
}

fn bounded(actual: usize, limit: usize) -> Result<(), ContainerError> {
    if actual > limit { Err(ContainerError::TooMany { actual, limit }) } else { Ok(()) }
}
