//! One step: what is left of an earlier run is taken, and only what is not is delegated.

use super::{
    plan::Step,
    recall::{Left, Wanted, stored},
    verify::no_files,
};
use crate::{
    audit::{self, AuditError, ReplayOptions},
    clock,
    content::{self, Source},
    home::Home,
    invoke::{self, ArgsError, Choices},
    requester::{self, CallError, CallProgress, CallRequest, Called, Explained, Found, Prepared, Requester},
};
use actum_model::{
    BlobId, Did, Filters, FlowId, Function, Granted, Judgement, Limits, Outcome, Receipt, ReceiptId, Release,
    Signed, value::ValueError,
};
use actum_store::StoreError;
use serde_json::Value as Json;
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

/// How long fetching a component that an earlier run did not keep may take.
const COMPONENT_DEADLINE: Duration = Duration::from_secs(60);
/// How long an answer that came may take to be on the disk: the keeper writes behind, and waits for other processes.
const KEPT_DEADLINE: Duration = Duration::from_secs(30);
/// How often is looked whether it is.
const KEPT_POLL: Duration = Duration::from_millis(10);

/// How a step came to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It was delegated now.
    Now,
    /// It was done by an earlier run.
    Before,
    /// An earlier run sent it, and its answer was had now.
    Resumed,
}

/// A step that is done: its action ended `ok`.
#[derive(Clone, Debug)]
pub struct Done {
    /// The receipt.
    pub receipt: Signed<Receipt>,
    /// The release by which it was called.
    pub release: Signed<Release>,
    /// The function called.
    pub function: Function,
    /// The output; null where the function returns nothing.
    pub output: Json,
    /// How it came to be done.
    pub how: How,
    /// The level of risk it was delegated under, where that is known.
    pub risk: Option<String>,
    /// Why this provider, and what was checked, where it was delegated now.
    pub explained: Option<Explained>,
}

/// Why a step is not done.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// Something that its arguments refer to is not in the outputs.
    #[error("its arguments: {0}")]
    Missing(String),
    /// What the plan gives does not fit the function.
    #[error(transparent)]
    Args(#[from] ArgsError),
    /// What the plan grants is nothing that can be granted here.
    #[error("what it grants: {0}")]
    Grants(String),
    /// Nobody did it.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The action ended otherwise than `ok`.
    #[error("the action ended: {outcome} (receipt {receipt})")]
    Outcome {
        /// How.
        outcome: Outcome,
        /// The receipt that says so.
        receipt: ReceiptId,
    },
    /// The output is not of the function's type.
    #[error("the output is not of the function's type")]
    Output(#[from] ValueError),
    /// An answer to an earlier run could not be checked by running it again, and asking again might do twice what is meant to
    /// be done once.
    #[error("the answer to an earlier run cannot be checked here: {why} (receipt {receipt})")]
    Unchecked {
        /// The receipt.
        receipt: ReceiptId,
        /// Why not.
        why: String,
    },
    /// The receipt did not get to the disk.
    #[error("receipt {receipt} could not be kept")]
    NotKept {
        /// Which.
        receipt: ReceiptId,
    },
    /// Running an answer again failed.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a step's grants mean in this home: permissions for what the release asks for.
pub type Grants<'a> = &'a dyn Fn(&Step, &Release) -> Result<BTreeSet<Granted>, String>;

/// What the steps of one run share.
pub(super) struct Runner<'a> {
    pub(super) requester: &'a Requester,
    pub(super) home: Arc<Home>,
    pub(super) flow: FlowId,
    pub(super) left: Left,
    pub(super) grants: Grants<'a>,
}

/// A call, ready to be made or found.
struct Ready {
    candidates: Vec<Found>,
    prepared: Prepared,
    args: Vec<u8>,
    permissions: BTreeSet<Granted>,
}

impl Runner<'_> {
    /// Does a step with these arguments, and remembers that it is done.
    pub(super) async fn step(
        &self,
        step: &Step,
        args: &Json,
        progress: &mut (dyn FnMut(CallProgress) + Send),
    ) -> Result<Done, StepError> {
        let filters = Filters { provider: step.provider, ..Filters::default() };
        let candidates = self.requester.candidates(step.call.trim(), &filters).await?;
        let prepared = self.requester.prepare(&candidates, &step.function).await?;
        let prepared = if step.provider.is_some() { prepared.insist() } else { prepared };
        let release = prepared.release.payload();
        let args = invoke::encode_args(&prepared.function, args, &mut no_files)?;
        let permissions = (self.grants)(step, release).map_err(StepError::Grants)?;
        let ready = Ready { candidates, prepared, args, permissions };
        let done = match self.left_over(step, &ready, progress).await? {
            Some(done) => done,
            None => self.delegate(step, ready, progress).await?,
        };
        let (flow, name, receipt) = (self.flow, step.name.clone(), done.receipt.id());
        let home = self.home.clone();
        blocking(move || home.store().put_flow_step(&flow, &name, &receipt, clock::now_secs())).await?;
        Ok(done)
    }

    async fn delegate(
        &self,
        step: &Step,
        ready: Ready,
        progress: &mut (dyn FnMut(CallProgress) + Send),
    ) -> Result<Done, StepError> {
        let request = CallRequest {
            args: ready.args,
            choices: choices(step, ready.permissions),
            deadline: Duration::from_secs(step.deadline_seconds()),
        };
        let delegated =
            self.requester.delegate(ready.prepared, request, step.risk.as_deref(), progress).await?;
        let called = self.accepted(delegated.called).await?;
        let risk = Some(delegated.explained.level.clone());
        done(called, How::Now, risk, Some(delegated.explained))
    }

    /// What ended `ok`, once it is on the disk and its component is here as far as it can be had.
    async fn accepted(&self, called: Called) -> Result<Called, StepError> {
        let receipt = called.receipt.id();
        if !matches!(called.receipt.payload().outcome, Outcome::Ok(_)) {
            let outcome = called.receipt.payload().outcome.clone();
            return Err(StepError::Outcome { outcome, receipt });
        }
        match self.requester.keep_component(&called).await {
            Ok(()) => {}
            Err(e @ CallError::Untrue { .. }) => return Err(e.into()),
            // The step is done all the same; the flow's file wants the component, and says so.
            Err(error) => tracing::warn!(%error, %receipt, "a component could not be kept"),
        }
        self.kept(&receipt).await?;
        Ok(called)
    }

    /// Waits until a receipt that came is on the disk.
    async fn kept(&self, receipt: &ReceiptId) -> Result<(), StepError> {
        let until = Instant::now() + KEPT_DEADLINE;
        loop {
            let (home, id) = (self.home.clone(), *receipt);
            if blocking(move || home.store().receipt(&id)).await?.is_some() {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(StepError::NotKept { receipt: *receipt });
            }
            tokio::time::sleep(KEPT_POLL).await;
        }
    }

    /// The answer to this call that an earlier run left behind: received and not noted, or not received yet. It missed the
    /// checks that go with delegating, so it is run again here before anything is made of it.
    async fn left_over(
        &self,
        step: &Step,
        ready: &Ready,
        progress: &mut (dyn FnMut(CallProgress) + Send),
    ) -> Result<Option<Done>, StepError> {
        let wanted = Wanted {
            component: ready.prepared.release.payload().component,
            function: &ready.prepared.function,
            args: BlobId::of(&ready.args),
            permissions: &ready.permissions,
            provider: step.provider,
        };
        // It may run twice, for all that anybody would see.
        let harmless = ready.permissions.is_empty();
        while let Some(receipt) = self.left.receipt(&wanted) {
            if let Some(done) = self.checked(step, ready, &receipt, How::Before).await? {
                return Ok(Some(done));
            }
        }
        while let Some(invocation) = self.left.unanswered(&wanted) {
            let deadline = Duration::from_secs(step.deadline_seconds());
            match self.requester.resume(&invocation, deadline, progress).await {
                Ok(called) => {
                    let receipt = match self.accepted(called).await {
                        Ok(called) => called.receipt.id(),
                        // That it failed is as unchecked as an output would be, and somebody else may do better.
                        Err(StepError::Outcome { .. }) if harmless => continue,
                        Err(error) => return Err(error),
                    };
                    if let Some(done) = self.checked(step, ready, &receipt, How::Resumed).await? {
                        return Ok(Some(done));
                    }
                }
                Err(CallError::NotAdmitted { .. } | CallError::NothingToResume { .. }) => {}
                // It may have run, and nobody says, or not now. Without effects that is no matter: it is asked for anew.
                Err(
                    CallError::Gone { .. }
                    | CallError::Unanswered { .. }
                    | CallError::Lost { .. }
                    | CallError::BadAnswer { .. }
                    | CallError::Inconsistent { .. },
                ) if harmless => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// An answer of an earlier run, run again here: `None` where it was a lie, so that somebody else is asked.
    async fn checked(
        &self,
        step: &Step,
        ready: &Ready,
        receipt: &ReceiptId,
        how: How,
    ) -> Result<Option<Done>, StepError> {
        let unchecked = |why: String| StepError::Unchecked { receipt: *receipt, why };
        let fetched = self.component(ready.prepared.release.payload(), &ready.candidates).await;
        fetched.map_err(unchecked)?;
        let (home, id) = (self.home.clone(), receipt.to_string());
        let replay = move || audit::replay(&home, &id, ReplayOptions::default());
        let replayed = tokio::task::spawn_blocking(replay).await;
        match replayed.map_err(|e| unchecked(e.to_string()))??.judgement {
            Judgement::Identical => {
                let (home, id, step) = (self.home.clone(), *receipt, step.clone());
                Ok(blocking(move || stored(&home, &id, &step, how)).await?)
            }
            Judgement::Diverged(found) => {
                tracing::warn!(%receipt, at = %found.at, "the answer to an earlier run is a lie");
                Ok(None)
            }
            Judgement::NotReplayable(why) if ready.permissions.is_empty() => {
                tracing::warn!(%receipt, why, "the answer to an earlier run cannot be checked, and is asked for anew");
                Ok(None)
            }
            Judgement::NotReplayable(why) => Err(unchecked(why)),
        }
    }

    /// Has the component of a release here, from whoever offers it.
    async fn component(&self, release: &Release, candidates: &[Found]) -> Result<(), String> {
        let (home, id) = (self.home.clone(), release.component);
        if blocking(move || home.store().has_component(&id)).await.map_err(|e| e.to_string())? {
            return Ok(());
        }
        let mut sessions = Vec::new();
        for found in candidates {
            let provider: Did = found.offer.descriptor().payload().iss;
            let addresses = requester::addresses(&found.offer);
            sessions.extend(self.requester.session_at(&provider, &addresses).await);
        }
        let mut nobody = |_, _| {};
        let obtain = content::obtain(&self.home, Source::Release(release), &sessions, &mut nobody);
        match tokio::time::timeout(COMPONENT_DEADLINE, obtain).await {
            Ok(obtained) => obtained.map(drop).map_err(|e| e.to_string()),
            Err(_) => Err(format!("its component took more than {} s", COMPONENT_DEADLINE.as_secs())),
        }
    }

    /// Has the component of a step that an earlier run did here, so that the flow's file can be made.
    pub(super) async fn complete(&self, step: &Step, done: &Done) -> Result<(), StepError> {
        let (home, id) = (self.home.clone(), done.release.payload().component);
        if blocking(move || home.store().has_component(&id)).await? {
            return Ok(());
        }
        let filters = Filters { provider: step.provider, ..Filters::default() };
        let candidates = self.requester.candidates(step.call.trim(), &filters).await?;
        let fetched = self.component(done.release.payload(), &candidates).await;
        fetched.map_err(|why| StepError::Unchecked { receipt: done.receipt.id(), why })
    }
}

fn done(
    called: Called,
    how: How,
    risk: Option<String>,
    explained: Option<Explained>,
) -> Result<Done, StepError> {
    let said = called.receipt.payload();
    let output = invoke::output_json(&called.function, &said.outcome, called.output.as_deref())?;
    let (receipt, release, function) = (called.receipt, called.release, called.function);
    Ok(Done { receipt, release, function, output: output.unwrap_or(Json::Null), how, risk, explained })
}

fn choices(step: &Step, permissions: BTreeSet<Granted>) -> Choices {
    let default = Limits::default();
    let memory_bytes = step.memory_mib.map(|mib| mib.saturating_mul(1 << 20));
    let chosen = [("fuel", step.fuel), ("memory_bytes", memory_bytes)].into_iter();
    Choices {
        fixed: chosen.filter(|(_, chosen)| chosen.is_some()).map(|(name, _)| name).collect(),
        limits: Limits {
            fuel: step.fuel.unwrap_or(default.fuel),
            memory_bytes: memory_bytes.unwrap_or(default.memory_bytes),
            ..default
        },
        permissions,
        ..Choices::default()
    }
}

/// Runs what waits for the disk where waiting is allowed.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        // It does not panic and is not aborted; if the runtime ends, so does all that waits for this.
        Err(_) => std::future::pending().await,
    }
}
