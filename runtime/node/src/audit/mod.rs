//! Receipts after the fact: listing, exporting, running them again, and by what authority they ran.
//!
//! Replay needs a receipt, its component, its arguments and its journal; never a network, never a peer. Its authority is
//! judged apart from it, on the request and the delegations as far as they are at hand.
//!
//! One receipt is looked at here, many by [`audit_many`].

mod calls;
mod case;
mod counter;
mod files;
mod html;
mod many;
mod report;
pub mod svr;

use crate::{
    clock,
    home::{Home, HomeError},
    invoke, records,
};
use actum_model::{
    Attestation, Authority, Bodies, Claim, DelegationId, Function, Invocation, Journal, Judgement, Proof,
    Receipt, ReceiptId, Release, RunArgs, Signed, Verdict,
    archive::{self, Archive},
    bundle::{Bundle, BundleError, PartialBundle},
    codec, json, value,
};
use actum_sandbox::{
    EngineKind, Sandbox, SandboxConfig,
    replay::{self, ReplayError},
};
use actum_store::{Evidence, StoreError};
use actum_trust::AtHand;
pub use actum_trust::{AuthorityError, How, Proven, Unproven};
pub use calls::{Call, MAX_CALLS_LISTED, calls};
pub use html::{escape, html, thousands};
pub use many::{AuditOptions, MAX_RECEIPTS, MAX_THREADS, Progress, Selection, audit_files, audit_many};
pub use report::{Kind, MAX_ROWS, Report, Row, Tally};
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// Why a receipt could not be shown, exported or replayed.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// No such receipt in this home.
    #[error("no receipt {id:?} in this home")]
    NotFound {
        /// What was typed.
        id: String,
    },
    /// Several receipts begin or end so.
    #[error("several receipts match {id:?}: {}", matches.join(", "))]
    Ambiguous {
        /// What was typed.
        id: String,
        /// The receipts.
        matches: Vec<String>,
    },
    /// The component the receipt names is not in this home.
    #[error("the component {component} of receipt {receipt} is not in this home")]
    MissingComponent {
        /// The receipt.
        receipt: ReceiptId,
        /// The component.
        component: actum_model::ComponentId,
    },
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A bundle failed a check.
    #[error("{} is not a true bundle", path.display())]
    Bundle {
        /// The file.
        path: PathBuf,
        /// Which check, on what.
        source: BundleError,
    },
    /// A file of any sort that is audited failed a check.
    #[error("{} is not a true bundle", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// Which check, on what.
        source: Box<actum_model::archive::ArchiveError>,
    },
    /// The file holds a flow, which is more than one receipt.
    #[error("{} holds a flow, not one receipt", path.display())]
    Several {
        /// The file.
        path: PathBuf,
    },
    /// No thread could be started.
    #[error("no thread could be started to audit on")]
    Threads {
        /// What the system said.
        source: io::Error,
    },
    /// The evidence does not fit the receipt, or the host failed.
    #[error("the receipt cannot be replayed")]
    Evidence(#[from] ReplayError),
    /// The stored journal is not one.
    #[error("the stored journal cannot be read")]
    Journal(#[from] actum_model::DecodeError),
    /// The home failed.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A delegation that this home's owner made or took, or that came with an action.
pub(crate) fn proof(home: &Home, id: &DelegationId) -> Result<Option<Proof>, StoreError> {
    if let Some(delegation) = home.store().delegation(id)? {
        return Ok(Some(Proof::from(delegation)));
    }
    let stored = home.store().get(&id.raw())?;
    Ok(stored.and_then(|bytes| Proof::read(&bytes).ok()).filter(|proof| proof.id() == id))
}

/// The receipts of this home, newest first.
pub fn receipts(home: &Home, limit: u32) -> Result<Vec<Signed<Receipt>>, AuditError> {
    Ok(home.store().receipts(None, limit as usize, None)?)
}

/// The receipt with this id, or the only one whose id begins or ends so.
pub fn receipt(home: &Home, id: &str) -> Result<Signed<Receipt>, AuditError> {
    match home.store().receipt_by_part(id) {
        Ok(Some(receipt)) => Ok(receipt),
        Ok(None) => Err(AuditError::NotFound { id: id.to_owned() }),
        Err(StoreError::Ambiguous { matches, .. }) => {
            Err(AuditError::Ambiguous { id: id.to_owned(), matches })
        }
        Err(e) => Err(e.into()),
    }
}

/// By what authority an action ran, as far as that is at hand here and can be told offline.
pub struct Claimed {
    /// The request that the receipt answers.
    pub invocation: Option<Signed<Invocation>>,
    /// The delegations of the chain, root first, as far as they are at hand.
    pub proofs: Vec<Proof>,
    /// What is proven, what is missing, or what is false.
    pub found: Result<Proven, AuthorityError>,
}

impl Claimed {
    fn of(
        receipt: &Receipt,
        invocation: Option<Signed<Invocation>>,
        proofs: Vec<Proof>,
        release: Option<&Release>,
        input: Option<(&Function, &[u8])>,
    ) -> Self {
        let at_hand = AtHand {
            invocation: invocation.as_ref(),
            proofs: &proofs,
            release,
            input: input.map(|(function, args)| (function.params.as_slice(), args)),
        };
        let found = actum_trust::authority(receipt, &at_hand);
        Self { invocation, proofs, found }
    }

    /// Whether the receipt says something false of its authority, as far as can be seen.
    pub fn is_false(&self) -> bool {
        self.found.as_ref().is_err_and(|error| !error.is_missing())
    }
}

/// The request that a receipt names, and its delegations, as far as this home has them.
fn shown(home: &Home, evidence: &Evidence) -> Result<(Option<Signed<Invocation>>, Vec<Proof>), AuditError> {
    let said = evidence.receipt.payload();
    let kept = evidence.invocation.as_deref().zip(said.invocation);
    let kept = kept.filter(|(bytes, id)| id.names(bytes));
    let damaged = |source: actum_model::EnvelopeError, id: String| StoreError::Corrupt {
        what: "invocation",
        id,
        why: source.to_string(),
    };
    let invocation =
        kept.map(|(bytes, id)| Signed::verify(bytes).map_err(|e| damaged(e, id.to_string()))).transpose()?;
    let ids: &[DelegationId] = match &said.authority {
        Authority::Granted(ids) => ids,
        _ => &[],
    };
    let mut proofs = Vec::with_capacity(ids.len());
    for id in ids {
        proofs.extend(proof(home, id)?);
    }
    Ok((invocation, proofs))
}

/// The release of which the request speaks, where it is here; else any of the component.
fn called(
    home: &Home,
    evidence: &Evidence,
    invocation: Option<&Signed<Invocation>>,
) -> Result<Option<Signed<Release>>, AuditError> {
    let claim = invocation.and_then(|invocation| RunArgs::read(invocation.payload()).ok());
    let Some((action, claim)) = claim else { return Ok(evidence.release.clone()) };
    let releases = home.store().releases_of_component(&action.component)?;
    let meant = releases.into_iter().find(|release| Claim::of(release.payload()) == claim);
    Ok(meant.or_else(|| evidence.release.clone()))
}

/// A receipt with everything needed to run it again, and what is here of its authority.
pub fn bundle(home: &Home, id: &str) -> Result<Bundle, AuditError> {
    with_component(partial_bundle(home, id)?, None)
}

/// As [`bundle`], and without the component where it is not here.
pub fn partial_bundle(home: &Home, id: &str) -> Result<PartialBundle, AuditError> {
    let receipt = receipt(home, id)?;
    let missing = || AuditError::NotFound { id: id.to_owned() };
    let evidence = home.store().evidence(&receipt.id())?.ok_or_else(missing)?;
    let (invocation, proofs) = shown(home, &evidence)?;
    let release = called(home, &evidence, invocation.as_ref())?;
    let attestation = home.store().attestation_of(&receipt.id())?;
    Ok(Bundle {
        attestation,
        invocation,
        proofs,
        receipt,
        release,
        component: evidence.component,
        args: evidence.args,
        output: evidence.output,
        journal: evidence.journal,
        bodies: evidence.bodies,
        stdio: evidence.stdio,
    })
}

/// The whole bundle: its component is in it, or in that home.
fn with_component(mut bundle: PartialBundle, home: Option<&Home>) -> Result<Bundle, AuditError> {
    let (receipt, component) = (bundle.receipt.id(), bundle.receipt.payload().action.component);
    let here = match (bundle.component.take(), home) {
        (None, Some(home)) => home.store().component(&component)?,
        (here, _) => here,
    };
    let here = here.ok_or(AuditError::MissingComponent { receipt, component })?;
    Ok(bundle.with_component(here))
}

/// A receipt with its values in words.
pub struct Shown {
    /// The receipt.
    pub receipt: Signed<Receipt>,
    /// The arguments as JSON, where the function's types are known here.
    pub args: Option<serde_json::Value>,
    /// The output as JSON, where there is one and the function's types are known here.
    pub output: Option<serde_json::Value>,
    /// The journal.
    pub journal: Journal,
    /// The bodies the journal names.
    pub bodies: Bodies,
    /// By what authority it ran.
    pub claimed: Claimed,
    /// What its provider's platform says of it. Whether that holds, [`AttestConfig::judge`](crate::attest::AttestConfig::judge)
    /// says.
    pub attestation: Option<Attestation>,
}

/// One receipt, its arguments and output decoded where the types are known here.
pub fn show(home: &Home, id: &str) -> Result<Shown, AuditError> {
    let receipt = receipt(home, id)?;
    let missing = || AuditError::NotFound { id: id.to_owned() };
    let evidence = home.store().evidence(&receipt.id())?.ok_or_else(missing)?;
    let action = &receipt.payload().action;
    // The component's own types before a release's: anyone may have signed that.
    let loaded = match &evidence.component {
        Some(component) => home.sandbox()?.load(component).ok(),
        None => None,
    };
    let of_component = loaded.as_ref().and_then(|l| l.function(&action.function));
    let of_release = || evidence.release.as_ref()?.payload().function(&action.function.to_string()).ok();
    let function: Option<&Function> = of_component.or_else(of_release);
    let args = function.and_then(|f| {
        let values = value::decode_params(&f.params, &evidence.args, evidence.args.len()).ok()?;
        Some(json::params_to_json(&f.params, &values))
    });
    let output = function.and_then(|f| {
        invoke::output_json(f, &receipt.payload().outcome, evidence.output.as_deref()).ok().flatten()
    });
    let journal: Journal = codec::decode(&evidence.journal, Journal::MAX_BYTES)?;
    let (invocation, proofs) = shown(home, &evidence)?;
    let release = called(home, &evidence, invocation.as_ref())?;
    let release = release.as_ref().map(Signed::payload);
    let input = of_component.map(|f| (f, evidence.args.as_slice()));
    let claimed = Claimed::of(receipt.payload(), invocation, proofs, release, input);
    let attestation = home.store().attestation_of(&receipt.id())?;
    Ok(Shown { receipt, args, output, journal, bodies: evidence.bodies, claimed, attestation })
}

/// What a replay showed.
pub struct Replayed {
    /// The receipt replayed.
    pub receipt: Signed<Receipt>,
    /// The judgement.
    pub judgement: Judgement,
    /// What the guest was told when the receipt was made.
    pub journal: Journal,
    /// The bodies the journal names.
    pub bodies: Bodies,
    /// By what authority it ran. That nothing else happens when it is run again says nothing about this, nor this about
    /// that.
    pub claimed: Claimed,
    /// What its provider's platform says of it.
    pub attestation: Option<Attestation>,
    /// Whose claim it is that the receipt is false, where it came in a fraud proof. It had no part in the judgement.
    pub accusation: Option<Signed<Verdict>>,
}

/// On what a receipt is replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayOptions {
    /// The engine.
    pub engine: EngineKind,
    /// When the replay is given up, as `not-replayable`. Default: as [`SandboxConfig::wall_clock`].
    pub wall_clock: Duration,
}

impl Default for ReplayOptions {
    fn default() -> Self {
        let SandboxConfig { engine, wall_clock, .. } = SandboxConfig::default();
        Self { engine, wall_clock }
    }
}

impl ReplayOptions {
    fn config(self) -> SandboxConfig {
        SandboxConfig { engine: self.engine, wall_clock: self.wall_clock, ..SandboxConfig::default() }
    }
}

/// Replays a receipt of this home and keeps the verdict, signed.
pub fn replay(home: &Home, id: &str, options: ReplayOptions) -> Result<Replayed, AuditError> {
    let bundle = bundle(home, id)?;
    let chosen;
    let sandbox = if options == ReplayOptions::default() {
        home.sandbox()?
    } else {
        chosen = home.sandbox_from(options.config())?;
        &chosen
    };
    let replayed = judge(bundle, sandbox)?;
    let (judgement, profile) = (replayed.judgement.clone(), sandbox.profile_id());
    let verdict = actum_trust::verdict(&replayed.receipt, judgement, home.did(), profile, clock::now_secs());
    records::judged(home, &Signed::sign(verdict, home.key()?))?;
    Ok(replayed)
}

/// Replays the receipt of a file: of a bundle that [`Bundle::to_bytes`] wrote, or of a fraud proof. Uses no home and no
/// network; a proof that only names its component is for [`replay_file_at`].
pub fn replay_file(path: &Path, options: ReplayOptions) -> Result<Replayed, AuditError> {
    replay_read(path, options, None)
}

/// As [`replay_file`], and takes from this home the component that a proof only names.
pub fn replay_file_at(home: &Home, path: &Path, options: ReplayOptions) -> Result<Replayed, AuditError> {
    replay_read(path, options, Some(home))
}

fn replay_read(path: &Path, options: ReplayOptions, home: Option<&Home>) -> Result<Replayed, AuditError> {
    let bytes = files::read(path)?;
    let archive = archive::read(&bytes)
        .map_err(|source| AuditError::Archive { path: path.to_owned(), source: Box::new(source) })?;
    drop(bytes);
    let (bundle, accusation) = match archive {
        Archive::Receipt(bundle) => (*bundle, None),
        Archive::Proof(proof) => (with_component(proof.bundle, home)?, Some(proof.verdict)),
        Archive::Flow(_) => return Err(AuditError::Several { path: path.to_owned() }),
    };
    let sandbox = Sandbox::new(options.config()).map_err(HomeError::from)?;
    let replayed = judge(bundle, &sandbox)?;
    Ok(Replayed { accusation, ..replayed })
}

/// Whether a policy wants to see the arguments.
fn looks(proofs: &[Proof]) -> bool {
    proofs.iter().any(|proof| actum_model::grant::sees_input(&proof.pol))
}

fn judge(bundle: Bundle, sandbox: &Sandbox) -> Result<Replayed, AuditError> {
    let journal: Journal = codec::decode(&bundle.journal, Journal::MAX_BYTES)?;
    let evidence = replay::Evidence {
        receipt: bundle.receipt.payload(),
        component: &bundle.component,
        args: &bundle.args,
        output: bundle.output.as_deref(),
        journal: &journal,
        bodies: &bundle.bodies,
        stdio: bundle.stdio.as_deref(),
    };
    let judgement = replay::replay(sandbox, &evidence)?;
    let said = bundle.receipt.payload();
    // The component's own types: anyone may have signed a release.
    let loaded = match looks(&bundle.proofs) {
        true => sandbox.load(&bundle.component).ok(),
        false => None,
    };
    let function = loaded.as_ref().and_then(|loaded| loaded.function(&said.action.function));
    let input = function.map(|function| (function, bundle.args.as_slice()));
    let release = bundle.release.as_ref().map(Signed::payload);
    let claimed = Claimed::of(said, bundle.invocation, bundle.proofs, release, input);
    let attestation = bundle.attestation;
    Ok(Replayed {
        receipt: bundle.receipt,
        judgement,
        journal,
        bodies: bundle.bodies,
        claimed,
        attestation,
        accusation: None,
    })
}
