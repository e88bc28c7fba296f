//! Whether a flow's file is wired as its plan has it: plan, inputs and outputs give each step's arguments, to the byte.
//!
//! Needs no network and no home. That each output is what running the action gives is for replay to show, and that a
//! receipt's provider signed it was shown when the file was read.

use super::plan::{Flow, PlanError, Step};
use crate::{
    invoke::{self, ArgsError},
    resolve,
};
use actum_model::{
    BlobId, ComponentId, FlowBundle, Outcome, ReleaseId, bundle::Bundle, flow::FlowStep,
    release::FunctionLookupError, value::ValueError,
};
use actum_sandbox::Sandbox;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};

/// Why a flow's file is not what its plan says.
#[derive(Debug, thiserror::Error)]
pub enum WiringError {
    /// The plan or the inputs in it are none, or not in their one form.
    #[error("the plan or the inputs are refused: {0}")]
    Plan(#[from] PlanError),
    /// The record has other steps than the plan, or in another order.
    #[error("the record's steps are {record}, the plan's {plan}")]
    Steps {
        /// The steps of the record.
        record: String,
        /// The steps of the plan.
        plan: String,
    },
    /// The record is called otherwise than its plan.
    #[error("the record is of a flow {record:?}, the plan of {plan:?}")]
    Name {
        /// What the record says.
        record: String,
        /// What the plan says.
        plan: String,
    },
    /// A step does not hold.
    #[error("step {step:?}: {why}")]
    Step {
        /// The step.
        step: String,
        /// What does not hold.
        why: StepFlaw,
    },
}

/// What does not hold of a step.
#[derive(Debug, thiserror::Error)]
pub enum StepFlaw {
    /// Its bundle has no release, so nobody can read arguments and output.
    #[error("its release is missing, which gives arguments and output their types")]
    NoRelease,
    /// The release has no such function, or several.
    #[error(transparent)]
    Function(FunctionLookupError),
    /// The release says of its component what is not so, or the component cannot be looked at.
    #[error("its release is not true of its component: {0}")]
    Untrue(String),
    /// The receipt is of another function than the plan's.
    #[error("its receipt is of {receipt}, the plan's function is {plan}")]
    OtherFunction {
        /// The function in the receipt.
        receipt: String,
        /// The function the plan means.
        plan: String,
    },
    /// Somebody else asked for the action than signed the record.
    #[error("its action was asked for by another than signed the record")]
    OtherRequester,
    /// The plan names a provider, and another answered.
    #[error("its receipt is not of the provider that the plan names")]
    OtherProvider,
    /// The plan names a release or component by its id, and it is another.
    #[error("its release or component is not the one that the plan names")]
    OtherTarget,
    /// It did not end well, so nothing of it could go on.
    #[error("its action ended: {0}")]
    Outcome(String),
    /// The output cannot be read.
    #[error("its output cannot be read: {0}")]
    Output(ValueError),
    /// Something that the plan refers to is not there.
    #[error("{0}")]
    Missing(String),
    /// What the plan gives is not of the function's types.
    #[error("what the plan gives are no arguments: {0}")]
    Args(ArgsError),
    /// The plan gives other arguments than those of the receipt.
    #[error("the plan, the inputs and the outputs give the arguments {plan}, and its receipt has {receipt}")]
    OtherArgs {
        /// What they come to.
        plan: Box<BlobId>,
        /// What was run.
        receipt: Box<BlobId>,
    },
    /// The record says otherwise which outputs went where.
    #[error("the record says otherwise which outputs went into its arguments")]
    Fed,
}

/// As [`wiring`], and that each step's release says of its component's functions what is so: whoever signs a flow chooses
/// the releases in it, and one with exchanged parameters would have arguments mean something else.
pub fn whole(bundle: &FlowBundle, sandbox: &Sandbox) -> Result<(), WiringError> {
    wiring(bundle)?;
    let mut seen = BTreeSet::new();
    for (step, own) in bundle.record.payload().steps.iter().zip(&bundle.steps) {
        let flaw = |why| WiringError::Step { step: step.name.clone(), why };
        let release = own.release.as_ref().ok_or_else(|| flaw(StepFlaw::NoRelease))?;
        if seen.insert(release.id()) {
            let loaded = sandbox.load(&own.component).map_err(|e| flaw(StepFlaw::Untrue(e.to_string())))?;
            let found = resolve::tells_the_truth(release.payload(), &loaded);
            found.map_err(|why| flaw(StepFlaw::Untrue(why)))?;
        }
    }
    Ok(())
}

/// Whether a flow's arguments are what its plan, its inputs and its outputs give, step by step, as the releases have their
/// types; [`whole`] looks whether those are true.
pub fn wiring(bundle: &FlowBundle) -> Result<(), WiringError> {
    let said = bundle.record.payload();
    let flow = Flow::from_canonical(&bundle.plan, &bundle.inputs)?;
    if said.name != flow.plan().name {
        return Err(WiringError::Name { record: said.name.clone(), plan: flow.plan().name.clone() });
    }
    let record = list(said.steps.iter().map(|s| s.name.as_str()));
    let plan = list(flow.steps().iter().map(|s| s.name.as_str()));
    if record != plan || bundle.steps.len() != flow.steps().len() {
        return Err(WiringError::Steps { record, plan });
    }
    let mut outputs = BTreeMap::new();
    for at in flow.order() {
        let parts = (flow.steps().get(*at), said.steps.get(*at), bundle.steps.get(*at));
        let (Some(step), Some(recorded), Some(own)) = parts else { continue };
        let flaw = |why| WiringError::Step { step: step.name.clone(), why };
        if own.receipt.payload().action.requester != said.iss {
            return Err(flaw(StepFlaw::OtherRequester));
        }
        if recorded.fed != flow.fed(*at) {
            return Err(flaw(StepFlaw::Fed));
        }
        let output = one(&flow, step, recorded, own, &outputs).map_err(flaw)?;
        outputs.insert(step.name.clone(), output);
    }
    Ok(())
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// One step, of which all it needs are known to hold; gives its output.
fn one(
    flow: &Flow,
    step: &Step,
    recorded: &FlowStep,
    own: &Bundle,
    outputs: &BTreeMap<String, Json>,
) -> Result<Json, StepFlaw> {
    let said = own.receipt.payload();
    let release = own.release.as_ref().ok_or(StepFlaw::NoRelease)?;
    let other_release = step.call.trim().parse::<ReleaseId>().is_ok_and(|id| id != release.id());
    let other_component = step.call.trim().parse::<ComponentId>().is_ok_and(|id| id != said.action.component);
    // The reader has checked this; it costs nothing to be sure that the steps are not swapped.
    if other_release || other_component || recorded.receipt != own.receipt.id() {
        return Err(StepFlaw::OtherTarget);
    }
    if step.provider.is_some_and(|provider| provider != said.iss) {
        return Err(StepFlaw::OtherProvider);
    }
    let function = release.payload().function(&step.function).map_err(StepFlaw::Function)?;
    if function.name != said.action.function {
        let (receipt, plan) = (said.action.function.to_string(), function.name.to_string());
        return Err(StepFlaw::OtherFunction { receipt, plan });
    }
    if !matches!(said.outcome, Outcome::Ok(_)) {
        return Err(StepFlaw::Outcome(said.outcome.to_string()));
    }
    let args = flow.args(step, outputs).map_err(StepFlaw::Missing)?;
    let args = invoke::encode_args(function, &args, &mut no_files).map_err(StepFlaw::Args)?;
    let plan = BlobId::of(&args);
    if plan != said.action.args {
        return Err(StepFlaw::OtherArgs { plan: Box::new(plan), receipt: Box::new(said.action.args) });
    }
    let output = invoke::output_json(function, &said.outcome, own.output.as_deref());
    Ok(output.map_err(StepFlaw::Output)?.unwrap_or(Json::Null))
}

/// A plan reads no files: it would mean something else elsewhere.
pub(super) fn no_files(path: &str) -> Result<Vec<u8>, String> {
    Err(format!("a plan reads no files; give what is in {path:?} as an input"))
}
