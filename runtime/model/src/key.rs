//! Ed25519 keys: who signs. In text a public key is a `did:key`; a peer's libp2p identity is the same key.
//!
//! Verification is strict: small-order and non-canonical public keys and signatures are refused.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

/// The multicodec varint of an Ed25519 public key, before the key's bytes in a `did:key`.
const ED25519_PUB: [u8; 2] = [0xed, 0x01];

/// Why a key or signature was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not `did:key:z…` of an Ed25519 key.
    #[error("not an Ed25519 did:key: {0}")]
    NotDidKey(String),
    /// The bytes are not a usable public key: not on the curve, not canonical, or of small order.
    #[error("not a usable Ed25519 public key")]
    BadKey,
    /// Not an Ed25519 private key in PKCS#8 PEM.
    #[error("not an Ed25519 private key in PKCS#8 PEM: {0}")]
    NotPem(String),
    /// The signature does not verify, strictly, under this key.
    #[error("the signature does not verify")]
    BadSignature,
}

/// A public key: the name of a peer, author, requester or auditor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Did([u8; 32]);

impl Did {
    /// Takes a public key, refusing one that is not canonical or is of small order.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, KeyError> {
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| KeyError::BadKey)?;
        if key.is_weak() || key.to_bytes() != bytes {
            return Err(KeyError::BadKey);
        }
        Ok(Self(bytes))
    }

    /// The 32 bytes of the public key.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Checks a signature over `message`, strictly.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), KeyError> {
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| KeyError::BadKey)?;
        let signature = Signature::from_slice(signature).map_err(|_| KeyError::BadSignature)?;
        key.verify_strict(message, &signature).map_err(|_| KeyError::BadSignature)
    }

    /// The last eight characters, for people who compare names at a glance; never an identity.
    pub fn short(&self) -> String {
        let text = self.to_string();
        let start = text.len().saturating_sub(8);
        text.get(start..).unwrap_or_default().to_owned()
    }
}

impl fmt::Display for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 34];
        let (prefix, key) = bytes.split_at_mut(2);
        prefix.copy_from_slice(&ED25519_PUB);
        key.copy_from_slice(&self.0);
        write!(f, "did:key:z{}", bs58::encode(bytes).into_string())
    }
}

impl fmt::Debug for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Did {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let wrong = || KeyError::NotDidKey(text.chars().take(80).collect());
        let encoded = text.strip_prefix("did:key:z").filter(|t| t.len() <= 64).ok_or_else(wrong)?;
        let bytes = bs58::decode(encoded).into_vec().map_err(|_| wrong())?;
        let key = bytes.strip_prefix(&ED25519_PUB).ok_or_else(wrong)?;
        let did = Self::from_bytes(key.try_into().map_err(|_| wrong())?)?;
        if did.to_string() == text { Ok(did) } else { Err(wrong()) }
    }
}

impl Serialize for Did {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Did {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A signing key. Zeroed when dropped; never printed.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// A key from 32 bytes of secret randomness (the caller's: this crate has none).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The secret seed, to store it or to derive a libp2p identity from it.
    pub fn seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The key as PKCS#8 PEM text (RFC 8410), which OpenSSL and others read.
    pub fn to_pem(&self) -> String {
        use ed25519_dalek::pkcs8::{EncodePrivateKey, spki::der::pem::LineEnding};
        #[expect(clippy::expect_used, reason = "a 32-byte seed always encodes")]
        self.0.to_pkcs8_pem(LineEnding::LF).expect("an Ed25519 key encodes as PKCS#8").to_string()
    }

    /// Reads a key from PKCS#8 PEM text.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        use ed25519_dalek::pkcs8::DecodePrivateKey;
        SigningKey::from_pkcs8_pem(pem).map(Self).map_err(|e| KeyError::NotPem(e.to_string()))
    }

    /// The public half.
    pub fn did(&self) -> Did {
        Did(self.0.verifying_key().to_bytes())
    }

    /// An Ed25519 signature (64 bytes) over `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.did())
    }
}
