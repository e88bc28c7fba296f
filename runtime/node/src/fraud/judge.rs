//! What a proof is worth: its receipt is run again here. What its sender says of it counts for nothing.

use crate::home::{Home, HomeError};
use actum_model::{Divergence, FraudProof, Journal, Judgement, bundle::PartialBundle, codec};
use actum_sandbox::{ExecuteError, ReplayError, Sandbox, replay};

/// What came of running the receipt of a proof again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// The receipt is not what happens: where it differs first. Its provider signed a lie.
    Proven(Divergence),
    /// The receipt is what happens: whoever made the proof lied.
    Refuted,
    /// It could not be told here, and why.
    Undecided(String),
}

/// Runs the receipt of a proof again, on this component. The parts are those the receipt names, as
/// [`FraudProof::from_bytes`] has checked.
pub fn judge(sandbox: &Sandbox, bundle: &PartialBundle, component: &[u8]) -> Judged {
    tried(sandbox, bundle, component).unwrap_or_else(|failed| Judged::Undecided(failed.to_string()))
}

/// As [`judge`]; an error where this host failed, which says nothing about the receipt: a later moment may do.
pub(super) fn tried(
    sandbox: &Sandbox,
    bundle: &PartialBundle,
    component: &[u8],
) -> Result<Judged, ExecuteError> {
    let journal: Journal = match codec::decode(&bundle.journal, Journal::MAX_BYTES) {
        Ok(journal) => journal,
        Err(e) => return Ok(Judged::Undecided(e.to_string())),
    };
    let evidence = replay::Evidence {
        receipt: bundle.receipt.payload(),
        component,
        args: &bundle.args,
        output: bundle.output.as_deref(),
        journal: &journal,
        bodies: &bundle.bodies,
        stdio: bundle.stdio.as_deref(),
    };
    Ok(match replay::replay(sandbox, &evidence) {
        Ok(Judgement::Diverged(divergence)) => Judged::Proven(divergence),
        Ok(Judgement::Identical) => Judged::Refuted,
        Ok(Judgement::NotReplayable(why)) => Judged::Undecided(why),
        Err(ReplayError::Host(failed)) => return Err(failed),
        Err(e) => Judged::Undecided(e.to_string()),
    })
}

/// Judges a proof with this home's sandbox, its component taken from this home where the proof only names it.
pub fn verify(home: &Home, proof: &FraudProof) -> Result<Judged, HomeError> {
    let of_home;
    let component = match &proof.bundle.component {
        Some(component) => component,
        None => {
            let id = proof.bundle.receipt.payload().action.component;
            match home.store().component(&id)? {
                Some(component) => {
                    of_home = component;
                    &of_home
                }
                None => return Ok(Judged::Undecided(format!("its component {id} is not here"))),
            }
        }
    };
    Ok(judge(home.sandbox()?, &proof.bundle, component))
}
