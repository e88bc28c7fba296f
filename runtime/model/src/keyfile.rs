//! Private keys as text: PKCS#8 PEM (RFC 5958, RFC 8410), plain or sealed with a passphrase (PBES2, RFC 8018), which
//! OpenSSL reads and writes too.
//!
//! ```text
//! did:key:z6Mk…                             whose key it is: text before the boundary, which PEM allows (RFC 7468, 5.2)
//! -----BEGIN ENCRYPTED PRIVATE KEY-----     or PRIVATE KEY
//! ```
//! The first line says whose key a sealed file holds without unsealing it, and finds damage: CBC tells nothing of it. A
//! file without that line is read too. The key itself is written in version 1 of PKCS#8, without its public half, because
//! OpenSSL reads no other; version 2 is read.

use crate::{Did, SecretKey, key::KeyError};
use ed25519_dalek::{SigningKey, pkcs8::KeypairBytes};
use pkcs8::{
    EncodePrivateKey, EncryptedPrivateKeyInfo, EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef,
    SecretDocument,
    der::{Encode, asn1::OctetStringRef, pem},
    pkcs5::{
        EncryptionScheme,
        pbes2::{Kdf, Parameters},
        scrypt,
    },
};
use std::fmt;

pub use pkcs8::der::zeroize::Zeroizing;

/// The most bytes of a key's file: 16 KiB. An Ed25519 key takes some 300; what is longer is not read.
pub const MAX_PEM_BYTES: usize = 16 << 10;

/// What sealing a key costs: scrypt (RFC 7914) with N = 2^14, r = 8, p = 5, which takes 16 MiB of memory, five times over.
/// N is the greatest that OpenSSL unseals without being told to (it stops at 32 MiB).
pub const SCRYPT_LOG_N: u8 = 14;
/// scrypt's block size.
pub const SCRYPT_R: u32 = 8;
/// scrypt's parallelism: how often its work is done.
pub const SCRYPT_P: u32 = 5;

/// The most memory that unsealing takes, in bytes: 256 MiB. A file that asks for more is refused before any work.
pub const MAX_UNSEAL_MEMORY_BYTES: u64 = 256 << 20;
/// The most work that unsealing by scrypt takes, as 128·N·r·p bytes mixed: 1 GiB, some seconds.
pub const MAX_UNSEAL_WORK_BYTES: u64 = 1 << 30;
/// The most iterations of PBKDF2 that unsealing takes: 5,000,000, some seconds. OpenSSL writes 2,048.
pub const MAX_PBKDF2_ITERATIONS: u32 = 5_000_000;

/// What a person remembers, and a key is sealed with. Zeroed when dropped; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// The most bytes of a passphrase.
    pub const MAX_BYTES: usize = 1_024;
    /// The fewest characters of one that is chosen for a key of ours.
    pub const MIN_CHARS: usize = 8;

    /// A passphrase as it was given. Its UTF-8 bytes count; nothing is normalised.
    pub fn given(text: String) -> Result<Self, PassphraseError> {
        let text = Zeroizing::new(text);
        if text.len() > Self::MAX_BYTES {
            return Err(PassphraseError::TooLong);
        }
        Ok(Self(text))
    }

    /// A passphrase that somebody chooses to seal a key with.
    pub fn chosen(text: String) -> Result<Self, PassphraseError> {
        let given = Self::given(text)?;
        if given.0.chars().count() < Self::MIN_CHARS { Err(PassphraseError::TooShort) } else { Ok(given) }
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// Why a passphrase was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PassphraseError {
    /// Too few characters to seal a key with.
    #[error("a passphrase has at least {} characters", Passphrase::MIN_CHARS)]
    TooShort,
    /// More than anybody types.
    #[error("a passphrase has at most {} bytes", Passphrase::MAX_BYTES)]
    TooLong,
}

/// What a key's file says before it is unsealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyText {
    /// Whether reading the key takes a passphrase.
    pub sealed: bool,
    /// Whose key it says it is. Checked when the key is read.
    pub did: Option<Did>,
}

impl KeyText {
    /// Looks at a key's file. What it holds is not looked at.
    pub fn of(text: &str) -> Result<Self, KeyError> {
        if text.len() > MAX_PEM_BYTES {
            return Err(KeyError::NotPem(format!("more than {MAX_PEM_BYTES} bytes")));
        }
        let label = pem::decode_label(text.as_bytes()).map_err(|e| KeyError::NotPem(e.to_string()))?;
        let sealed = match label {
            "PRIVATE KEY" => false,
            "ENCRYPTED PRIVATE KEY" => true,
            "RSA PRIVATE KEY" => return Err(wrong("an RSA key")),
            "EC PRIVATE KEY" | "EC PARAMETERS" => return Err(wrong("an elliptic-curve (ECDSA) key")),
            "OPENSSH PRIVATE KEY" => return Err(wrong("a key in OpenSSH's own format")),
            "PUBLIC KEY" => return Err(wrong("a public key")),
            other => return Err(wrong(&format!("a {:?}", other.chars().take(40).collect::<String>()))),
        };
        let first = text.lines().next().unwrap_or_default().trim_end();
        let did = first.starts_with("did:").then(|| first.parse()).transpose()?;
        Ok(Self { sealed, did })
    }
}

impl SecretKey {
    /// The key as PKCS#8 PEM text, which OpenSSL and others read, below a line with its `did:key`.
    pub fn to_pem(&self) -> Zeroizing<String> {
        #[expect(clippy::expect_used, reason = "a document of a known form always encodes")]
        let pem = self.document().to_pem("PRIVATE KEY", LineEnding::LF).expect("PKCS#8 encodes as PEM");
        Zeroizing::new(format!("{}\n{}", self.did(), pem.as_str()))
    }

    /// The key as sealed PKCS#8 PEM text: PBES2 with scrypt ([`SCRYPT_LOG_N`]) and AES-256-CBC, below a line with its
    /// `did:key`. `salt` and `iv` are random, and never used twice.
    pub fn to_sealed_pem(&self, passphrase: &Passphrase, salt: &[u8; 16], iv: [u8; 16]) -> String {
        #[expect(
            clippy::expect_used,
            reason = "parameters and sizes are constants that fit, as every test of it shows"
        )]
        let pem = self.seal(passphrase, salt, iv).expect("a 32-byte key seals");
        format!("{}\n{}", self.did(), pem.as_str())
    }

    fn seal(
        &self,
        passphrase: &Passphrase,
        salt: &[u8; 16],
        iv: [u8; 16],
    ) -> Result<Zeroizing<String>, pkcs8::Error> {
        let cost = scrypt::Params::new(SCRYPT_LOG_N, SCRYPT_R, SCRYPT_P)
            .map_err(|_| pkcs8::Error::ParametersMalformed)?;
        let parameters = Parameters::generate_scrypt_aes256cbc(cost, salt, iv)?;
        let encrypted = parameters.encrypt(passphrase.0.as_bytes(), self.document().as_bytes())?;
        let info = EncryptedPrivateKeyInfo {
            encryption_algorithm: EncryptionScheme::from(parameters),
            encrypted_data: OctetStringRef::new(&encrypted)?,
        };
        let document = SecretDocument::try_from(Zeroizing::new(info.to_der()?).as_slice())?;
        Ok(document.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF)?)
    }

    fn document(&self) -> SecretDocument {
        let bytes = KeypairBytes { secret_key: self.seed(), public_key: None };
        #[expect(clippy::expect_used, reason = "a 32-byte seed always encodes")]
        bytes.to_pkcs8_der().expect("an Ed25519 key encodes as PKCS#8")
    }

    /// Reads a key from PKCS#8 PEM text that is not sealed.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let said = KeyText::of(text)?;
        if said.sealed {
            return Err(KeyError::Sealed);
        }
        let (_, document) = SecretDocument::from_pem(text).map_err(|e| KeyError::NotPem(e.to_string()))?;
        Self::from_document(&document, |e| KeyError::NotPem(e.to_string()))?.named(said.did)
    }

    /// Reads a key from sealed PKCS#8 PEM text: PBES2 with scrypt or PBKDF2 (HMAC over SHA-2), and AES in CBC mode. What
    /// would take more than [`MAX_UNSEAL_MEMORY_BYTES`], [`MAX_UNSEAL_WORK_BYTES`] or [`MAX_PBKDF2_ITERATIONS`] is
    /// refused before any work.
    pub fn from_sealed_pem(text: &str, passphrase: &Passphrase) -> Result<Self, KeyError> {
        let said = KeyText::of(text)?;
        if !said.sealed {
            return Err(KeyError::NotSealed);
        }
        let (_, document) = SecretDocument::from_pem(text).map_err(|e| KeyError::NotPem(e.to_string()))?;
        let info = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())
            .map_err(|e| KeyError::NotPem(e.to_string()))?;
        affordable(&info.encryption_algorithm)?;
        let opened = info.decrypt(passphrase.0.as_bytes()).map_err(|e| match e {
            pkcs8::Error::EncryptedPrivateKey(
                e @ (pkcs8::pkcs5::Error::UnsupportedAlgorithm { .. }
                | pkcs8::pkcs5::Error::AlgorithmParametersInvalid { .. }),
            ) => KeyError::Method(e.to_string()),
            _ => KeyError::WrongPassphrase,
        })?;
        Self::from_document(&opened, |_| KeyError::WrongPassphrase)?.named(said.did)
    }

    fn from_document(
        document: &SecretDocument,
        broken: impl Fn(pkcs8::Error) -> KeyError,
    ) -> Result<Self, KeyError> {
        let info = PrivateKeyInfoRef::try_from(document.as_bytes()).map_err(&broken)?;
        match info.algorithm.oid.to_string().as_str() {
            "1.3.101.112" => {}
            "1.2.840.113549.1.1.1" | "1.2.840.113549.1.1.10" => return Err(wrong("an RSA key")),
            "1.2.840.10045.2.1" => return Err(wrong("an elliptic-curve (ECDSA) key")),
            "1.3.101.110" => return Err(wrong("an X25519 key")),
            "1.3.101.113" => return Err(wrong("an Ed448 key")),
            other => return Err(wrong(&format!("a key of the algorithm {other}"))),
        }
        let key = SigningKey::try_from(info).map_err(&broken)?;
        Ok(Self::from_seed(&key.to_bytes()))
    }

    /// This key, if it is the one that its file names.
    fn named(self, said: Option<Did>) -> Result<Self, KeyError> {
        let held = self.did();
        match said {
            Some(said) if said != held => Err(KeyError::OtherKey { said, held }),
            _ => Ok(self),
        }
    }
}

fn wrong(what: &str) -> KeyError {
    KeyError::WrongKind(what.to_owned())
}

/// Refuses what costs too much, and numbers that no honest file has. A file is a stranger's until it is unsealed.
fn affordable(scheme: &EncryptionScheme) -> Result<(), KeyError> {
    let refuse = |why: String| Err(KeyError::Method(why));
    let Some(parameters) = scheme.pbes2() else {
        return refuse(
            "it is not sealed by PBES2; `openssl pkcs8 -topk8 -v2 aes-256-cbc` seals anew".to_owned(),
        );
    };
    match &parameters.kdf {
        Kdf::Scrypt(s) => {
            let (n, r, p) = (s.cost_parameter, u64::from(s.block_size), u64::from(s.parallelization));
            if n < 2 || !n.is_power_of_two() || r == 0 || p == 0 {
                return refuse(format!("scrypt has no N = {n}, r = {r}, p = {p}"));
            }
            let memory = n.saturating_add(p).saturating_mul(128 * r);
            let work = n.saturating_mul(128 * r).saturating_mul(p);
            if memory > MAX_UNSEAL_MEMORY_BYTES || work > MAX_UNSEAL_WORK_BYTES {
                return refuse(format!(
                    "scrypt with N = {n}, r = {r}, p = {p} would take {memory} bytes of memory and mix {work}, where \
                     {MAX_UNSEAL_MEMORY_BYTES} and {MAX_UNSEAL_WORK_BYTES} are allowed"
                ));
            }
            Ok(())
        }
        Kdf::Pbkdf2(p) if p.iteration_count == 0 || p.iteration_count > MAX_PBKDF2_ITERATIONS => {
            refuse(format!(
                "PBKDF2 with {} iterations, where 1 to {MAX_PBKDF2_ITERATIONS} are allowed",
                p.iteration_count
            ))
        }
        Kdf::Pbkdf2(_) => Ok(()),
        _ => refuse("its key derivation is neither scrypt nor PBKDF2".to_owned()),
    }
}
