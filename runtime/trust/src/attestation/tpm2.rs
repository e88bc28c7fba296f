//! The format `tpm2-quote@1`: a TPM's quote over a receipt's digest, by a key that is trusted by name.

use super::{
    AttestationError, AttestationVerifier, Attested,
    structures::{Public, Quote, SHA256_BANK, TpmError, signature},
};
use actum_model::{Receipt, Signed, Tpm2Quote, id::sha256};
use p256::ecdsa::{Signature, VerifyingKey, signature::Verifier};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

/// The greatest number of a platform configuration register: PC clients have 24.
pub const MAX_PCR: u8 = 23;
/// A register's value in the bank of SHA-256, in bytes.
pub const PCR_BYTES: usize = 32;

/// The two bytes in front of a name made with SHA-256.
const NAME_ALG: [u8; 2] = SHA256_BANK.to_be_bytes();

/// The Name of a TPM's attestation key: the digest of its public area, with the algorithm in front. Written as `tpm2_readpublic`
/// does, in 68 hexadecimal digits that begin with `000b`.
///
/// Source: TPM 2.0 Library, Part 1, section "Names".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AkName([u8; 32]);

/// A text that is no name of an attestation key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a TPM key's name: 000b and 64 more hexadecimal digits, as tpm2_readpublic prints it"
)]
pub struct AkNameError {
    /// The text.
    pub text: String,
}

impl AkName {
    /// The name of the key with this `TPM2B_PUBLIC`, where that is one of a key that attests: ECDSA P-256 with SHA-256,
    /// restricted, for signing, made in its TPM and fixed to it.
    pub fn of(public: &[u8]) -> Result<Self, TpmError> {
        Public::read(public).map(|public| Self(sha256(public.area)))
    }
}

impl fmt::Display for AkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        NAME_ALG.iter().chain(&self.0).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for AkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AkName({self})")
    }
}

impl FromStr for AkName {
    type Err = AkNameError;
    fn from_str(text: &str) -> Result<Self, AkNameError> {
        let no_name = || AkNameError { text: text.to_owned() };
        let digest = text.strip_prefix("000b").ok_or_else(no_name)?;
        pcr_value(digest).map(Self).ok_or_else(no_name)
    }
}

/// The value of a register in the bank of SHA-256, from its 64 hexadecimal digits, in either case.
pub fn pcr_value(text: &str) -> Option<[u8; PCR_BYTES]> {
    let mut bytes = [0; PCR_BYTES];
    if text.len() != 2 * PCR_BYTES {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        for digit in pair {
            let value = u8::try_from(char::from(*digit).to_digit(16)?).ok()?;
            *byte = *byte << 4 | value;
        }
    }
    Some(bytes)
}

/// Verifies quotes of TPM 2.0.
///
/// What holds then: a key that cannot leave its TPM signed a quote over this receipt's digest. That the key is in a genuine TPM
/// is what trusting its name says; nothing here looks at the manufacturer's certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tpm2 {
    /// The names of the keys that are trusted.
    pub trusted: BTreeSet<AkName>,
    /// The registers, of the bank of SHA-256, that a quote must be over, with the values that they must have. Empty: any
    /// registers, in any state.
    pub pcrs: BTreeMap<u8, [u8; PCR_BYTES]>,
}

impl Tpm2 {
    fn check_pcrs(&self, quote: &Quote<'_>) -> Result<(), AttestationError> {
        if self.pcrs.is_empty() {
            return Ok(());
        }
        let wanted: BTreeSet<_> = self.pcrs.keys().map(|number| (SHA256_BANK, *number)).collect();
        if quote.pcrs != wanted {
            return Err(AttestationError::OtherPcrs { quoted: listed(&quote.pcrs), wanted: listed(&wanted) });
        }
        let values: Vec<u8> = self.pcrs.values().flatten().copied().collect();
        if quote.digest == sha256(&values) { Ok(()) } else { Err(AttestationError::PcrValues) }
    }
}

fn listed(pcrs: &BTreeSet<(u16, u8)>) -> String {
    let each = pcrs.iter().map(|(bank, number)| match *bank {
        SHA256_BANK => format!("sha256:{number}"),
        other => format!("{other:#06x}:{number}"),
    });
    each.collect::<Vec<_>>().join(",")
}

impl AttestationVerifier for Tpm2 {
    fn format(&self) -> &'static str {
        Tpm2Quote::FORMAT
    }

    fn claims(&self, statement: &[u8]) -> Option<String> {
        let quote = Tpm2Quote::read(statement).ok()?;
        AkName::of(&quote.public).ok().map(said)
    }

    fn verify(
        &self,
        statement: &[u8],
        receipt: &Signed<Receipt>,
        _: u64,
    ) -> Result<Attested, AttestationError> {
        let refused = |structure| move |source| AttestationError::Structure { structure, source };
        let Tpm2Quote { attest, signature: signed, public } =
            Tpm2Quote::read(statement).map_err(AttestationError::Evidence)?;
        let name = AkName::of(&public).map_err(refused("TPM2B_PUBLIC"))?;
        let quote = Quote::read(&attest).map_err(refused("TPMS_ATTEST"))?;
        if quote.extra != receipt.id().digest() {
            return Err(AttestationError::OtherDigest);
        }
        let Public { point: [x, y], .. } = Public::read(&public).map_err(refused("TPM2B_PUBLIC"))?;
        // An uncompressed point (SEC 1, section 2.3.3).
        let point = [&[0x04][..], &x, &y].concat();
        let key = VerifyingKey::from_sec1_bytes(&point)
            .map_err(|_| refused("TPM2B_PUBLIC")(TpmError::NotAPoint))?;
        let [r, s] = signature(&signed).map_err(refused("TPMT_SIGNATURE"))?;
        let signature =
            Signature::from_scalars(r, s).map_err(|_| refused("TPMT_SIGNATURE")(TpmError::NotASignature))?;
        key.verify(&attest, &signature).map_err(|_| AttestationError::Signature)?;
        if !self.trusted.contains(&name) {
            return Err(AttestationError::NotTrusted { by: said(name) });
        }
        self.check_pcrs(&quote)?;
        Ok(Attested { format: Tpm2Quote::FORMAT, by: said(name) })
    }
}

fn said(name: AkName) -> String {
    format!("TPM {name}")
}
