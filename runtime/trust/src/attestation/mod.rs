//! What a platform says of a receipt, and whether that holds: the slot for kinds of evidence, each with a verifier of its own.
//!
//! An attestation that holds says that a machine somebody vouched for had this receipt in hand. It does not say that the
//! receipt is true: replay does.

mod structures;
mod tpm2;

use actum_model::{Attestation, DecodeError, Receipt, ReceiptId, Signed};
pub use structures::TpmError;
pub use tpm2::{AkName, AkNameError, MAX_PCR, PCR_BYTES, Tpm2, pcr_value};

/// Knows one format of evidence.
pub trait AttestationVerifier {
    /// The format's name and version.
    fn format(&self) -> &'static str;

    /// Who the statement says attests, in words, where that can be read. It proves nothing: whoever made the statement wrote it.
    fn claims(&self, statement: &[u8]) -> Option<String>;

    /// Checks that the statement is evidence of the receipt, and that whoever attests is trusted here; in this order, so that
    /// what is not trusted is otherwise sound. `now` is in seconds since the Unix epoch, for formats whose keys expire.
    fn verify(
        &self,
        statement: &[u8],
        receipt: &Signed<Receipt>,
        now: u64,
    ) -> Result<Attested, AttestationError>;
}

/// An attestation that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attested {
    /// Its format.
    pub format: &'static str,
    /// Who attests, in words.
    pub by: String,
}

/// Why an attestation does not hold.
#[derive(Debug, thiserror::Error)]
pub enum AttestationError {
    /// Nobody here knows its format.
    #[error("its format {format} is not known here")]
    UnknownFormat {
        /// The format's name.
        format: String,
    },
    /// It says that it is of another receipt.
    #[error("it is of receipt {of}")]
    OtherReceipt {
        /// The receipt it is of.
        of: ReceiptId,
    },
    /// The evidence is not of its format.
    #[error("its evidence is malformed: {0}")]
    Evidence(#[source] DecodeError),
    /// One of the TPM's structures is not what it must be.
    #[error("its {structure} is refused: {source}")]
    Structure {
        /// The structure, as the specification calls it.
        structure: &'static str,
        /// What is wrong with it.
        source: TpmError,
    },
    /// What was signed is over something else than this receipt.
    #[error("what was signed is over something else than this receipt")]
    OtherDigest,
    /// The key did not sign it.
    #[error("the signature is not that key's")]
    Signature,
    /// It is sound, and the key that signed is none that is trusted here.
    #[error("{by} is not trusted here")]
    NotTrusted {
        /// Who attests, in words.
        by: String,
    },
    /// It is sound, and over other platform configuration registers than those that are asked for.
    #[error("it is over PCRs {quoted}, where {wanted} are asked for")]
    OtherPcrs {
        /// The registers quoted.
        quoted: String,
        /// The registers asked for.
        wanted: String,
    },
    /// It is sound, and the platform was in another state than the one that is asked for.
    #[error("the platform's PCRs have other values than those that are asked for")]
    PcrValues,
}

impl AttestationError {
    /// Whether the evidence is sound, and only what is asked for here is not met.
    pub fn is_sound(&self) -> bool {
        matches!(self, Self::NotTrusted { .. } | Self::OtherPcrs { .. } | Self::PcrValues)
    }
}

/// Checks an attestation by whichever verifier knows its format. `now` is in seconds since the Unix epoch.
pub fn attested(
    verifiers: &[&dyn AttestationVerifier],
    attestation: &Attestation,
    receipt: &Signed<Receipt>,
    now: u64,
) -> Result<Attested, AttestationError> {
    let verifier = verifiers.iter().find(|v| v.format() == attestation.format());
    let verifier = verifier
        .ok_or_else(|| AttestationError::UnknownFormat { format: attestation.format().to_owned() })?;
    if *attestation.receipt() != receipt.id() {
        return Err(AttestationError::OtherReceipt { of: *attestation.receipt() });
    }
    verifier.verify(attestation.evidence(), receipt, now)
}
