//! What is known of a flow that was begun before: which steps are done, and what may still be had of those that were not.

use super::{
    plan::{Flow, Step},
    step::{Done, How},
    verify::no_files,
};
use crate::{home::Home, invoke};
use actum_model::{
    Action, BlobId, Claim, ComponentId, Did, Function, Granted, Invocation, InvocationId, Judgement, Outcome,
    Receipt, ReceiptId, Release, RunArgs, Signed,
};
use actum_store::{Evidence, StoreError};
use serde_json::Value as Json;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

/// How far another's clock may be behind this one's, in seconds, for a receipt to be looked at: its time is its provider's.
const SKEW_SECONDS: u64 = 3_600;
/// The most receipts looked through for answers that came and were not noted: a flow has at most 64 steps.
const LOOKED_THROUGH: usize = 4_096;

/// The steps of a flow that are done, by their places in the plan, as this home remembers them. Nothing is sent.
///
/// A step counts only if its receipt is here, ended `ok`, is of the arguments that plan, inputs and outputs give, and was not
/// found to be false since: a level of risk may have it replayed behind the answer.
pub fn recall(home: &Home, flow: &Flow) -> Result<BTreeMap<usize, Done>, StoreError> {
    let (mut done, mut outputs) = (BTreeMap::new(), BTreeMap::new());
    let Some(state) = home.store().flow_state(&flow.id())? else { return Ok(done) };
    for at in flow.order() {
        let Some(step) = flow.steps().get(*at) else { continue };
        let Some(receipt) = state.steps.get(&step.name) else { continue };
        let Some(found) = stored(home, receipt, step, How::Before)? else { continue };
        if refuted(home, receipt)?.is_some() {
            continue;
        }
        let args = flow.args(step, &outputs).ok();
        let encoded = args.and_then(|args| invoke::encode_args(&found.function, &args, &mut no_files).ok());
        let said = &found.receipt.payload().action;
        if said.requester != home.did() || encoded.map(|args| BlobId::of(&args)) != Some(said.args) {
            continue;
        }
        outputs.insert(step.name.clone(), found.output.clone());
        done.insert(*at, found);
    }
    Ok(done)
}

/// Where this home's own replay found a receipt to be false, if it did.
pub(super) fn refuted(home: &Home, receipt: &ReceiptId) -> Result<Option<Judgement>, StoreError> {
    let verdicts = home.store().verdicts_of(receipt)?;
    let own = verdicts.iter().map(Signed::payload).filter(|verdict| verdict.iss == home.did());
    let mut judgements = own.map(|verdict| verdict.judgement.clone());
    Ok(judgements.find(|judgement| matches!(judgement, Judgement::Diverged(_))))
}

/// A step's end from a stored receipt, where that ended `ok` and can be read.
pub(super) fn stored(
    home: &Home,
    receipt: &ReceiptId,
    step: &Step,
    how: How,
) -> Result<Option<Done>, StoreError> {
    let Some(evidence) = home.store().evidence(receipt)? else { return Ok(None) };
    let said = evidence.receipt.payload();
    if !matches!(said.outcome, Outcome::Ok(_)) {
        return Ok(None);
    }
    let Some(release) = called(home, &evidence)? else { return Ok(None) };
    let function = release.payload().function(&step.function).ok().cloned();
    let Some(function) = function.filter(|f| f.name == said.action.function) else { return Ok(None) };
    let output = invoke::output_json(&function, &said.outcome, evidence.output.as_deref());
    let Ok(output) = output else { return Ok(None) };
    let output = output.unwrap_or(Json::Null);
    let receipt = evidence.receipt;
    Ok(Some(Done { receipt, release, function, output, how, risk: step.risk.clone(), explained: None }))
}

/// The release that the request named: its types are those that the arguments were read by.
fn called(home: &Home, evidence: &Evidence) -> Result<Option<Signed<Release>>, StoreError> {
    let said = evidence.receipt.payload();
    let invocation = evidence.invocation.as_deref().and_then(|b| Signed::<Invocation>::verify(b).ok());
    let claim = invocation.and_then(|i| RunArgs::read(i.payload()).ok()).map(|(_, claim)| claim);
    let releases = home.store().releases_of_component(&said.action.component)?;
    let meant = |release: &Signed<Release>| claim.as_ref().is_none_or(|c| Claim::of(release.payload()) == *c);
    Ok(releases.into_iter().find(meant))
}

/// Answers that may be had of an earlier run: receipts that came and were not noted, and calls without an answer.
#[derive(Default)]
pub(super) struct Left {
    receipts: Mutex<Vec<Signed<Receipt>>>,
    unanswered: Mutex<Vec<(InvocationId, Option<Did>, Action)>>,
}

/// The call that a step makes.
pub(super) struct Wanted<'a> {
    pub(super) component: ComponentId,
    pub(super) function: &'a Function,
    pub(super) args: BlobId,
    pub(super) permissions: &'a BTreeSet<Granted>,
    /// The provider, where the plan names one.
    pub(super) provider: Option<Did>,
}

impl Wanted<'_> {
    /// Whether an action that this provider was asked for is the step's.
    fn is(&self, action: &Action, provider: Option<Did>) -> bool {
        action.component == self.component
            && action.function == self.function.name
            && action.args == self.args
            && action.permissions == *self.permissions
            && self.provider.is_none_or(|wanted| provider == Some(wanted))
    }
}

impl Left {
    /// What a flow that was begun then left behind. `taken` are the receipts of its steps that are done.
    pub(super) fn read(home: &Home, begun: u64, taken: &BTreeSet<ReceiptId>) -> Result<Self, StoreError> {
        // Of an action the time base is this home's clock when it was sent: a plan cannot choose another.
        let begun_nanos = begun.saturating_mul(1_000_000_000);
        let ours = |action: &Action| action.requester == home.did() && action.time_base >= begun_nanos;
        let mut receipts =
            home.store().receipts(Some(begun.saturating_sub(SKEW_SECONDS)), LOOKED_THROUGH, None)?;
        receipts.retain(|receipt| {
            let said = receipt.payload();
            let asked = said.invocation.is_some() && ours(&said.action);
            asked && matches!(said.outcome, Outcome::Ok(_)) && !taken.contains(&receipt.id())
        });
        let unanswered = home.store().all_unanswered()?.into_iter().filter_map(|call| {
            let (action, _) = RunArgs::read(call.invocation.payload()).ok()?;
            ours(&action).then_some((call.invocation.id(), call.invocation.payload().aud, action))
        });
        Ok(Self { receipts: Mutex::new(receipts), unanswered: Mutex::new(unanswered.collect()) })
    }

    /// A receipt of this very call, which no other step gets.
    pub(super) fn receipt(&self, wanted: &Wanted<'_>) -> Option<ReceiptId> {
        let mut receipts = self.receipts.lock().unwrap_or_else(PoisonError::into_inner);
        let is_wanted = |receipt: &Signed<Receipt>| {
            let said = receipt.payload();
            wanted.is(&said.action, Some(said.iss))
        };
        let found = receipts.iter().position(is_wanted)?;
        Some(receipts.swap_remove(found).id())
    }

    /// A call of this very kind that waits for its answer, which no other step gets.
    pub(super) fn unanswered(&self, wanted: &Wanted<'_>) -> Option<InvocationId> {
        let mut calls = self.unanswered.lock().unwrap_or_else(PoisonError::into_inner);
        let found = calls.iter().position(|(_, provider, action)| wanted.is(action, *provider))?;
        Some(calls.swap_remove(found).0)
    }
}
