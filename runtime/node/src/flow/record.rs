//! What is left of a flow: one signed record, and one file that anybody can check offline.

use super::{
    plan::Flow,
    step::Done,
    verify::{self, WiringError},
};
use crate::{
    audit::{self, AuditError},
    clock,
    home::{Home, HomeError},
};
use actum_model::{
    BlobId, DecodeError, FlowBundle, FlowRecord, Signed,
    flow::{FlowStep, MAX_FLOW_BYTES},
};
use std::collections::BTreeMap;

/// Why a flow's file could not be made. Its steps are done all the same.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A step is missing.
    #[error("step {step:?} is not done")]
    NotDone {
        /// Which.
        step: String,
    },
    /// A step's receipt, or what it names, is not here.
    #[error("step {step:?} cannot be put into the flow's file")]
    Step {
        /// Which.
        step: String,
        /// Why not.
        source: AuditError,
    },
    /// The record would be refused by every reader.
    #[error("the flow's record: {0}")]
    Record(#[source] DecodeError),
    /// What the steps did is not what the plan says. Nothing of this home's own making comes to that.
    #[error("the flow is not wired as its plan says")]
    Wiring(#[from] WiringError),
    /// All together is more than any reader takes.
    #[error("the flow's file has {actual} bytes where at most {MAX_FLOW_BYTES} are allowed")]
    TooLarge {
        /// How many it would have.
        actual: usize,
    },
    /// The home failed.
    #[error(transparent)]
    Home(#[from] HomeError),
}

/// A flow whose steps are all done, with everything that checking it needs, as the bytes of its file.
pub fn bundle(home: &Home, flow: &Flow, done: &BTreeMap<usize, &Done>) -> Result<Vec<u8>, RecordError> {
    let (mut steps, mut bundles) = (Vec::new(), Vec::new());
    for (at, step) in flow.steps().iter().enumerate() {
        let name = || step.name.clone();
        let done = done.get(&at).ok_or_else(|| RecordError::NotDone { step: name() })?;
        let mut own = audit::bundle(home, &done.receipt.id().to_string())
            .map_err(|source| RecordError::Step { step: name(), source })?;
        // By whose types the arguments were read; others may have released the same component.
        own.release = Some(done.release.clone());
        steps.push(FlowStep::of(&step.name, &own, flow.fed(at).to_vec()));
        bundles.push(own);
    }
    let record = FlowRecord {
        iss: home.did(),
        iat: clock::now_secs(),
        name: flow.plan().name.clone(),
        plan: BlobId::of(flow.plan_bytes()),
        inputs: BlobId::of(flow.input_bytes()),
        steps,
    };
    let whole = FlowBundle {
        record: Signed::try_sign(record, home.key()?).map_err(RecordError::Record)?,
        plan: flow.plan_bytes().to_vec(),
        inputs: flow.input_bytes().to_vec(),
        steps: bundles,
    };
    verify::wiring(&whole)?;
    let bytes = whole.to_bytes();
    let actual = bytes.len();
    if actual > MAX_FLOW_BYTES { Err(RecordError::TooLarge { actual }) } else { Ok(bytes) }
}
