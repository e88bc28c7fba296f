//! What this machine's platform says of the receipts made here, and what others' platforms say of theirs.
//!
//! A provider that is configured to has its TPM quote each receipt's digest and sends that along. It is evidence beside the
//! answer: where it fails, the answer goes out without it. A requester keeps what came; whether it holds is judged when
//! somebody looks, by whom they trust then. Docs: `docs/attestation.md`.

mod tpm2;

use crate::home::Home;
use actum_model::{Attestation, DecodeError, Receipt, Signed};
pub use actum_trust::AttestationError;
use actum_trust::{AkName, AttestationVerifier, MAX_PCR, PCR_BYTES, Tpm2, TpmError, attested, pcr_value};
use serde::{Deserialize, Deserializer, de::Error};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    process::ExitStatus,
    sync::Arc,
    time::Duration,
};
pub use tpm2::Tpm2Attester;

/// How long one attestation may take, waiting for others' included: 5 seconds. A TPM on a slow bus takes half a second.
pub const ATTEST_DEADLINE: Duration = Duration::from_secs(5);
/// How long a platform that failed is left alone, so that one that hangs does not hold up every answer: 30 seconds.
pub const ATTEST_REST: Duration = Duration::from_secs(30);

/// Whether receipts made here are attested, and whose attestations are worth something here.
///
/// ```
/// let config: actum_node::Config = actum_node::Config::parse(r#"
/// [attest]
/// tpm2 = { ak_context = "0x81010002", tcti = "device:/dev/tpmrm0" }
/// trust = ["000b9d923cdfd2289148ba384422a9f893654be23966a9baee7ef2738aa383e054d9"]
/// "#).unwrap();
/// assert_eq!(config.attest.trust.len(), 1);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AttestConfig {
    /// The TPM that quotes each receipt that this node signs. Default: none.
    pub tpm2: Option<Tpm2Config>,
    /// The names of the TPM keys whose quotes are trusted, as `tpm2_readpublic` prints them. Default: none.
    #[serde(deserialize_with = "names")]
    pub trust: BTreeSet<AkName>,
    /// The PCRs, of the bank of SHA-256, that a quote must be over, with the values they must have: `{ 0 = "<64 hexadecimal
    /// digits>", … }`. Default: any PCRs, in any state.
    #[serde(deserialize_with = "values")]
    pub pcrs: BTreeMap<u8, [u8; PCR_BYTES]>,
}

/// A TPM 2.0 and its attestation key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tpm2Config {
    /// The attestation key, as tpm2-tools take it: a persistent handle such as `0x81010002`, or the path of a context file. It
    /// has no password.
    pub ak_context: String,
    /// How the TPM is reached, as tpm2-tools take it: `device:/dev/tpmrm0`, `swtpm:path=…`. Default: what they choose.
    #[serde(default)]
    pub tcti: Option<String>,
    /// The PCRs, of the bank of SHA-256, that are quoted. Default: 0 to 7, how the machine was started.
    #[serde(default = "boot", deserialize_with = "numbers")]
    pub pcrs: BTreeSet<u8>,
}

fn boot() -> BTreeSet<u8> {
    (0..=7).collect()
}

/// Names as they are written, each refused at its place.
fn names<'de, D: Deserializer<'de>>(list: D) -> Result<BTreeSet<AkName>, D::Error> {
    struct Text(AkName);
    impl<'de> Deserialize<'de> for Text {
        fn deserialize<D: Deserializer<'de>>(text: D) -> Result<Self, D::Error> {
            String::deserialize(text)?.parse().map(Text).map_err(Error::custom)
        }
    }
    Ok(Vec::<Text>::deserialize(list)?.into_iter().map(|text| text.0).collect())
}

fn numbers<'de, D: Deserializer<'de>>(list: D) -> Result<BTreeSet<u8>, D::Error> {
    let numbers = BTreeSet::<u8>::deserialize(list)?;
    if numbers.is_empty() || numbers.iter().any(|number| *number > MAX_PCR) {
        return Err(D::Error::custom(format!("PCRs are one or more of 0 to {MAX_PCR}")));
    }
    Ok(numbers)
}

fn values<'de, D: Deserializer<'de>>(table: D) -> Result<BTreeMap<u8, [u8; PCR_BYTES]>, D::Error> {
    let mut values = BTreeMap::new();
    for (number, value) in BTreeMap::<String, String>::deserialize(table)? {
        // One way to write each, so that no register is there twice.
        let known = number.parse().ok().filter(|n: &u8| *n <= MAX_PCR && n.to_string() == number);
        let known =
            known.ok_or_else(|| D::Error::custom(format!("{number:?} is not a PCR of 0 to {MAX_PCR}")))?;
        let value = pcr_value(&value).ok_or_else(|| {
            D::Error::custom(format!("the value of PCR {number} is not {} hexadecimal digits", 2 * PCR_BYTES))
        })?;
        values.insert(known, value);
    }
    Ok(values)
}

impl AttestConfig {
    /// What attests here, as configured; tried once, so that a node whose TPM cannot be used does not start.
    ///
    /// Blocks for as long as the TPM takes, at most [`ATTEST_DEADLINE`].
    pub fn attester(&self, home: &Home) -> Result<Option<Arc<dyn Attester>>, AttestError> {
        let Some(config) = &self.tpm2 else { return Ok(None) };
        let attester = Tpm2Attester::new(config, &home.root().join("attest"))?;
        tracing::info!(key = %attester.name(), "receipts are attested by a TPM");
        Ok(Some(Arc::new(attester)))
    }

    /// Whether an attestation holds for a receipt, by whom this configuration trusts. `now` is in seconds since the Unix epoch.
    pub fn judge(&self, attestation: &Attestation, receipt: &Signed<Receipt>, now: u64) -> Judged {
        let tpm2 = Tpm2 { trusted: self.trust.clone(), pcrs: self.pcrs.clone() };
        let verifiers: [&dyn AttestationVerifier; 1] = [&tpm2];
        let claims = verifiers.iter().filter(|v| v.format() == attestation.format());
        let by = claims.filter_map(|v| v.claims(attestation.evidence())).next();
        let found = attested(&verifiers, attestation, receipt, now).map(|_| ());
        Judged { by: by.unwrap_or_else(|| attestation.format().to_owned()), found }
    }
}

/// What came of looking at an attestation.
#[derive(Debug)]
pub struct Judged {
    /// Who attests, as the evidence itself says; where it does not, its format.
    pub by: String,
    /// That it holds, or why not.
    pub found: Result<(), AttestationError>,
}

impl Judged {
    /// For programs: `holds`; where the evidence is sound, `not-trusted` for a key that nobody here trusts, and `other-state` for
    /// PCRs that are not those asked for; `false` else.
    pub fn state(&self) -> &'static str {
        match &self.found {
            Ok(()) => "holds",
            Err(AttestationError::NotTrusted { .. }) => "not-trusted",
            Err(error) if error.is_sound() => "other-state",
            Err(_) => "false",
        }
    }
}

impl std::fmt::Display for Judged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.found {
            Ok(()) => write!(f, "{}: holds", self.by),
            Err(AttestationError::NotTrusted { .. }) => write!(f, "{}: not trusted", self.by),
            Err(error) => write!(f, "{}: does not hold: {error}", self.by),
        }
    }
}

/// Has the platform attest receipts.
pub trait Attester: Send + Sync {
    /// Makes the attestation of a receipt that was just signed. Called on a blocking thread, once a receipt; it comes back
    /// within [`ATTEST_DEADLINE`], or not much later. A failure costs the receipt its attestation and nothing else.
    fn attest(&self, receipt: &Signed<Receipt>) -> Result<Attestation, AttestError>;
}

/// Why there is no attestation.
#[derive(Debug, thiserror::Error)]
pub enum AttestError {
    /// A program of tpm2-tools could not be started.
    #[error("cannot run {program}, which is part of tpm2-tools")]
    NoProgram {
        /// The program.
        program: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The program failed.
    #[error("{program} failed ({status}): {said}")]
    Failed {
        /// The program.
        program: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// What it said, cut.
        said: String,
    },
    /// It took too long, and was ended.
    #[error("the TPM did not answer in {} s", ATTEST_DEADLINE.as_secs())]
    TooSlow,
    /// The platform failed a short time ago and is left alone.
    #[error("the TPM failed less than {} s ago", ATTEST_REST.as_secs())]
    Resting,
    /// A file for what the programs write could not be used.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The directory for these files could not be made.
    #[error("cannot make a place for what the TPM says")]
    Place(#[source] Box<crate::HomeError>),
    /// The configured key is none that attests.
    #[error("{ak_context} is not a key that attests: restricted, for signing by ECDSA with SHA-256 on P-256")]
    Key {
        /// The key as configured.
        ak_context: String,
        /// What is wrong with it.
        source: TpmError,
    },
    /// What the TPM gave is more than an attestation holds.
    #[error("the quote is too large")]
    TooLarge(#[source] DecodeError),
    /// What the TPM gave does not hold: nobody would believe it.
    #[error("the TPM's own quote does not hold")]
    Untrue(#[source] AttestationError),
}

/// The attestation of a receipt that this node signed, for whoever asked, kept here too. None where there is none to be had.
pub(crate) async fn made(
    home: &Arc<Home>,
    attester: Option<&Arc<dyn Attester>>,
    receipt: &Signed<Receipt>,
) -> Option<Vec<u8>> {
    let (home, attester, receipt) = (home.clone(), attester?.clone(), receipt.clone());
    let work = move || match attester.attest(&receipt) {
        Ok(attestation) => {
            stored(&home, &attestation);
            Some(attestation.bytes().to_vec())
        }
        Err(error) => {
            let why =
                std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
            tracing::warn!(receipt = %receipt.id(), "a receipt is not attested: {error}{why}");
            None
        }
    };
    tokio::task::spawn_blocking(work).await.ok().flatten()
}

/// Keeps what came with a receipt, where it is an attestation of that receipt. Otherwise the receipt has none: it is as good
/// without.
pub(crate) async fn keep(home: &Arc<Home>, receipt: &Signed<Receipt>, bytes: Vec<u8>) {
    let (home, id) = (home.clone(), receipt.id());
    let work = move || match Attestation::read(&bytes) {
        Ok(attestation) if *attestation.receipt() == id => stored(&home, &attestation),
        Ok(attestation) => {
            tracing::warn!(receipt = %id, of = %attestation.receipt(), "an attestation of another receipt came");
        }
        Err(error) => tracing::warn!(receipt = %id, %error, "what came as an attestation is none"),
    };
    let _ = tokio::task::spawn_blocking(work).await;
}

fn stored(home: &Home, attestation: &Attestation) {
    if let Err(error) = home.store().put_attestation(attestation) {
        tracing::warn!(receipt = %attestation.receipt(), %error, "an attestation could not be kept");
    }
}
