//! Ed25519 keys: who signs. In text a public key is a `did:key`; a peer's libp2p identity is the same key.
//!
//! Verification is strict: small-order and non-canonical public keys and signatures are refused.

use ed25519_dalek::{Signature, Signer, SigningKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

/// The multicodec varint of an Ed25519 public key, before the key's bytes in a `did:key`.
const ED25519_PUB: [u8; 2] = [0xed, 0x01];

/// The keys this thread met last. Decompressing a point and base58 cost microseconds each, and one
/// message names the same few keys many times. What is here has passed every check; what failed one is not kept.
mod recent {
    use super::{ED25519_PUB, KeyError};
    use ed25519_dalek::VerifyingKey;
    use std::{cell::RefCell, rc::Rc};

    /// Keys held by each thread. Peers that send more than these cost us the time, and nothing else.
    const HELD: usize = 16;

    struct Known {
        key: VerifyingKey,
        text: Rc<str>,
    }

    thread_local! {
        /// In the order they came; the oldest leaves.
        static RECENT: RefCell<Vec<Known>> = const { RefCell::new(Vec::new()) };
    }

    fn find<T>(is_it: impl Fn(&Known) -> bool, take: impl FnOnce(&Known) -> T) -> Option<T> {
        RECENT.with_borrow(|held| held.iter().find(|k| is_it(k)).map(take))
    }

    /// The usable public key of these bytes: on the curve, canonical, not of small order.
    pub(super) fn known(bytes: &[u8; 32]) -> Result<VerifyingKey, KeyError> {
        if let Some(key) = find(|k| k.key.as_bytes() == bytes, |k| k.key) {
            return Ok(key);
        }
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::BadKey)?;
        if key.is_weak() || !is_reduced(bytes) {
            return Err(KeyError::BadKey);
        }
        let text = encode(bytes).into();
        RECENT.with_borrow_mut(|held| {
            if held.len() >= HELD {
                held.remove(0);
            }
            held.push(Known { key, text });
        });
        Ok(key)
    }

    /// Whether the coordinate is below 2^255 - 19: decompression takes it modulo that, so 19 points have a second name.
    fn is_reduced(bytes: &[u8; 32]) -> bool {
        let [low, middle @ .., high] = bytes;
        *low < 0xed || high & 0x7f != 0x7f || middle.iter().any(|b| *b != 0xff)
    }

    /// The key named so, if it was met lately.
    pub(super) fn named(text: &str) -> Option<[u8; 32]> {
        find(|k| *k.text == *text, |k| k.key.to_bytes())
    }

    /// The key's name.
    pub(super) fn text_of(bytes: &[u8; 32]) -> Rc<str> {
        let held = || find(|k| k.key.as_bytes() == bytes, |k| Rc::clone(&k.text));
        let met = || known(bytes).ok().and_then(|_| held());
        held().or_else(met).unwrap_or_else(|| encode(bytes).into())
    }

    fn encode(key: &[u8; 32]) -> String {
        let mut bytes = [0; 34];
        let (prefix, rest) = bytes.split_at_mut(2);
        prefix.copy_from_slice(&ED25519_PUB);
        rest.copy_from_slice(key);
        format!("did:key:z{}", bs58::encode(bytes).into_string())
    }
}

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
    /// A key, but none that Actum uses.
    #[error("this is {0}, and Actum's keys are Ed25519 private keys in PKCS#8 PEM")]
    WrongKind(String),
    /// The key is sealed: reading it takes a passphrase.
    #[error("the key is sealed with a passphrase")]
    Sealed,
    /// The key is not sealed, where a sealed one was wanted.
    #[error("the key is not sealed")]
    NotSealed,
    /// Unsealing gave no key.
    #[error("the passphrase is wrong, or the file is damaged")]
    WrongPassphrase,
    /// Sealed by a method that this version does not read, or whose cost is over a bound.
    #[error("the key cannot be unsealed here: {0}")]
    Method(String),
    /// The file names another key than it holds.
    #[error("the file says it holds the key of {said}, and holds that of {held}")]
    OtherKey {
        /// Whose key it says it holds.
        said: Did,
        /// Whose key it holds.
        held: Did,
    },
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
        recent::known(&bytes).map(|_| Self(bytes))
    }

    /// The 32 bytes of the public key.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Checks a signature over `message`, strictly.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), KeyError> {
        let key = recent::known(&self.0)?;
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
        f.write_str(&recent::text_of(&self.0))
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
        if let Some(bytes) = recent::named(text) {
            return Ok(Self(bytes));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_names_of_a_point_are_refused() {
        for excess in 0..19 {
            for sign in [0x7f, 0xff] {
                let mut bytes = [0xff; 32];
                bytes[0] = 0xed + excess;
                bytes[31] = sign;
                assert_eq!(Did::from_bytes(bytes), Err(KeyError::BadKey), "2^255 - 19 + {excess}");
            }
        }
    }

    #[test]
    fn keys_met_long_ago_and_lately_read_the_same() {
        let texts: Vec<String> = (0..40).map(|n| SecretKey::from_seed(&[n; 32]).did().to_string()).collect();
        for text in texts.iter().chain(texts.iter().rev()) {
            let did: Did = text.parse().unwrap();
            assert_eq!(did.to_string(), *text);
            assert!(text.replace("did:key:z", "did:key:Z").parse::<Did>().is_err());
        }
    }
}
