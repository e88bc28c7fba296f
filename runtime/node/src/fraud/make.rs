//! Proofs made here: of a receipt that a replay in this home showed to be false.

use crate::{
    audit::{self, AuditError},
    home::Home,
};
use actum_model::{
    FraudProof, Judgement, ReceiptId, Release, Signed, Verdict, bundle::PartialBundle, release::chunk_digests,
};
use actum_store::StoreError;

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// No replay in this home has shown that receipt to be false.
    #[error("nothing in this home shows that receipt {receipt} is not what happens")]
    NotShown {
        /// The receipt.
        receipt: ReceiptId,
    },
    /// The receipt, or what it names, is not to be had.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The proof that the receipt with this id is false, or the only receipt whose id begins or ends so: from the last verdict
/// of this home's own key on it. The component is in it where this home has it.
pub fn proof(home: &Home, id: &str) -> Result<FraudProof, ProofError> {
    let receipt = audit::receipt(home, id)?.id();
    let verdict = shown(home, &receipt)?.ok_or(ProofError::NotShown { receipt })?;
    let mut bundle = audit::partial_bundle(home, &receipt.to_string())?;
    if let Some(component) = bundle.component.take() {
        with_true_release(home, &mut bundle, &component)?;
        bundle.component = Some(component);
    }
    Ok(FraudProof { verdict, bundle })
}

/// Leaves a release only where it names the component's true chunks: it is its author's word, and by a false one nobody who is
/// told of the proof could fetch the component. Where it does not, another one that is here takes its place, or none.
pub(super) fn with_true_release(
    home: &Home,
    bundle: &mut PartialBundle,
    component: &[u8],
) -> Result<(), StoreError> {
    let chunks = chunk_digests(component);
    let true_of_it =
        |release: &Release| release.component_bytes == component.len() as u64 && release.chunks == chunks;
    if bundle.release.as_ref().is_some_and(|release| !true_of_it(release.payload())) {
        let here = home.store().releases_of_component(&bundle.receipt.payload().action.component)?;
        bundle.release = here.into_iter().find(|release| true_of_it(release.payload()));
    }
    Ok(())
}

/// The verdict of this home that a receipt diverged, unless a later one of it says that it did not.
fn shown(home: &Home, receipt: &ReceiptId) -> Result<Option<Signed<Verdict>>, StoreError> {
    let verdicts = home.store().verdicts_of(receipt)?;
    let last = verdicts
        .into_iter()
        .rev()
        .filter(|verdict| is_own(home, verdict.payload()))
        .find(|verdict| !matches!(verdict.payload().judgement, Judgement::NotReplayable(_)));
    Ok(last.filter(|verdict| matches!(verdict.payload().judgement, Judgement::Diverged(_))))
}

/// Whether a verdict is this home's, by the key it has or one that it had.
pub(super) fn is_own(home: &Home, verdict: &Verdict) -> bool {
    verdict.iss == home.did() || home.former().iter().any(|former| former.did == verdict.iss)
}
