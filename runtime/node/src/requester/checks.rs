//! The checks that go with a delegated action: canaries beside it, attestation, and re-execution here; the same action
//! elsewhere is in `compare.rs`. What they amount to is decided in `delegate.rs`.

use super::{
    CallProgress, CallRequest, Called, Requester,
    delegate::{Check, Tally},
    local::Local,
};
use crate::{clock, failure::CallError, invoke};
use actum_discovery::Found;
use actum_model::{Divergence, Function, Judgement, Outcome, Release, Signed, value};
use actum_overlay::SessionHandle;
use actum_sandbox::replay::{self, Evidence};
use actum_trust::{Effect, Experience, Known, Plan, Replay, Strength, canary};
use futures::{
    FutureExt,
    future::{BoxFuture, Either},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How many perturbations are looked at for one canary. What makes the action fail tells a canary from work, so one is
/// sought that does not.
const PERTURBATIONS: usize = 6;
/// By how much the beginning of a canary's clock differs from the action's at most, in nanoseconds: as much as two actions
/// that are asked for together.
const CLOCKS_APART: u64 = 2_000_000;

/// How far from `CLOCKS_APART` before the middle of all a beginning lies, by chance.
fn apart() -> u64 {
    u64::from_le_bytes(clock::random()) % (2 * CLOCKS_APART)
}

/// What is to be done, whoever does it.
pub(super) struct Job<'a> {
    pub(super) release: &'a Signed<Release>,
    pub(super) function: &'a Function,
    pub(super) request: &'a CallRequest,
    pub(super) effect: Effect,
    /// Whether somebody chose the seed, and where the clock begins: then canaries have the same.
    pub(super) fixed: (bool, bool),
    /// When all of it is to be over.
    pub(super) until: Instant,
}

/// An answer to the action itself.
pub(super) struct Answer {
    pub(super) called: Called,
    pub(super) millis: u32,
}

/// What came of one candidate.
pub(super) struct Attempted {
    pub(super) answer: Result<Answer, CallError>,
    pub(super) canaries: Canaries,
    /// Whether it had about as long as any provider has.
    pub(super) fair: bool,
}

/// What came of the canaries.
pub(super) struct Canaries {
    pub(super) wanted: u32,
    /// Those answered, rightly.
    pub(super) answered: u32,
    pub(super) honest: Result<(), CallError>,
}

impl Canaries {
    /// The same, as the policy has it.
    pub(super) fn came(&self) -> actum_trust::Canaries {
        actum_trust::Canaries { wanted: self.wanted, answered: self.answered, lied: self.honest.is_err() }
    }
}

/// A canary before it is sent.
struct Canary {
    request: CallRequest,
    known: Known,
}

/// What a canary's answer says.
enum Honest {
    Yes,
    No(CallError),
    /// It says nothing.
    Unknown,
}

enum Came {
    Work(Box<Result<Answer, CallError>>),
    Canary(usize, Box<Result<Called, CallError>>),
}

impl Requester {
    /// Asks one candidate for the action and for canaries with it, sent together in an order that nobody can foresee.
    pub(super) async fn ask_with_canaries(
        &self,
        job: &Job<'_>,
        found: &Found,
        plan: &Plan,
        patience: Duration,
        tally: &mut Tally,
        progress: &mut (dyn FnMut(CallProgress) + Send),
    ) -> Result<Attempted, CallError> {
        let provider = found.offer.descriptor().payload().iss;
        let wanted = plan.canaries;
        let mut came = Canaries { wanted, answered: 0, honest: Ok(()) };
        let left = patience.min(job.until.saturating_duration_since(Instant::now()));
        let session = match self.session_in(found, left).await {
            Ok(session) => session,
            Err(source) => {
                let fair = plan.fair(left, job.request.deadline);
                let answer = Err(CallError::Connect { provider, source });
                return Ok(Attempted { answer, canaries: came, fair });
            }
        };
        if plan.replay == Replay::Before && job.effect > Effect::Reads {
            // What could not be checked here is not begun: no check takes back what it did.
            self.local(job.release, &[found]).await?;
        }
        let canaries = match wanted {
            0 => Vec::new(),
            wanted => match self.draw(job, found, wanted, patience).await {
                Ok(canaries) => canaries,
                Err(error) => {
                    tally.add(Check::Canary, provider, format!("none could be made: {error}"), 0, 0);
                    Vec::new()
                }
            },
        };
        // What was prepared here took none of the provider's time, only of the whole.
        let left = patience.min(job.until.saturating_duration_since(Instant::now()));
        let fair = plan.fair(left, job.request.deadline);
        let real = CallRequest { deadline: left, ..job.request.clone() };
        let count = u32::try_from(canaries.len()).unwrap_or(u32::MAX);
        let place = canary::order(count, u64::from_le_bytes(clock::random()));
        let mut quiet: Vec<_> = canaries.iter().map(|_| |_: CallProgress| {}).collect();
        let mut sent: Vec<BoxFuture<'_, Came>> = Vec::with_capacity(canaries.len() + 1);
        for ((n, canary), quiet) in canaries.iter().enumerate().zip(&mut quiet) {
            let request = CallRequest { deadline: left, ..canary.request.clone() };
            let session = &session;
            let asked = async move {
                let called =
                    self.call_one(session, found, (job.release, job.function), &request, false, quiet).await;
                Came::Canary(n, Box::new(called))
            };
            sent.push(asked.boxed());
        }
        let work = async {
            let began = Instant::now();
            let called = self.ask_twice(&session, found, job, &real, progress).await;
            let millis = u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX);
            Came::Work(Box::new(called.map(|called| Answer { called, millis })))
        };
        sent.insert(place.min(sent.len()), work.boxed());
        // What the answer will be checked with comes while the provider works: afterwards it may be gone.
        let checked_with = async {
            if plan.replay == Replay::Before {
                let _came_later = self.local(job.release, &[found]).await;
            }
            std::future::pending::<std::convert::Infallible>().await
        };
        let came_back =
            match futures::future::select(futures::future::join_all(sent), checked_with.boxed()).await {
                Either::Left((came_back, _)) => came_back,
                Either::Right((never, _)) => match never {},
            };
        let mut answer = None;
        for one in came_back {
            match one {
                Came::Work(work) => answer = Some(*work),
                Came::Canary(n, called) => {
                    let Some(canary) = canaries.get(n) else { continue };
                    match *called {
                        Ok(called) => {
                            let (found, honest) = self.judge_canary(job, found, canary, &called).await?;
                            let fuel = called.receipt.payload().fuel.saturating_add(canary.known.fuel);
                            tally.add(Check::Canary, provider, found, fuel, called.bytes());
                            match honest {
                                Honest::Yes => came.answered += 1,
                                Honest::Unknown => {}
                                Honest::No(lied) => came.honest = came.honest.and(Err(lied)),
                            }
                        }
                        Err(error) => {
                            self.note_failure(provider, job, &error, fair)?;
                            tally.add(
                                Check::Canary,
                                provider,
                                format!("no answer: {error}"),
                                canary.known.fuel,
                                0,
                            );
                        }
                    }
                }
            }
        }
        let answer = answer.unwrap_or(Err(CallError::Unreachable { tried: Vec::new() }));
        Ok(Attempted { answer, canaries: came, fair })
    }

    /// One that lost the call before it admitted it is asked once more: nothing is wrong with it.
    async fn ask_twice(
        &self,
        session: &SessionHandle,
        found: &Found,
        job: &Job<'_>,
        request: &CallRequest,
        progress: &mut (dyn FnMut(CallProgress) + Send),
    ) -> Result<Called, CallError> {
        let what = (job.release, job.function);
        match self.call_one(session, found, what, request, true, progress).await {
            Err(CallError::NotAdmitted { provider }) => {
                let lost = |source| CallError::Connect { provider, source };
                let session = self.session_in(found, request.deadline).await.map_err(lost)?;
                self.call_one(&session, found, what, request, true, progress).await
            }
            other => other,
        }
    }

    /// Draws canaries: the action with perturbed arguments, whose right answers are had by executing it here. Once `within`
    /// is over, no more are begun.
    async fn draw(
        &self,
        job: &Job<'_>,
        found: &Found,
        wanted: u32,
        within: Duration,
    ) -> Result<Vec<Canary>, CallError> {
        let began = Instant::now();
        let local = self.local(job.release, &[found]).await?;
        let params = &job.function.params;
        let args = &job.request.args;
        let cannot =
            |why: String| CallError::Unverified { provider: found.offer.descriptor().payload().iss, why };
        let values = value::decode_params(params, args, args.len()).map_err(|e| cannot(e.to_string()))?;
        // The beginnings of the action and of its canaries lie alike about a moment that is none of theirs: were it the
        // action's own, it would be the one in the middle more often than not.
        let base = job.request.choices.time_base.unwrap_or_else(clock::now_nanos);
        let middle = base.saturating_add(CLOCKS_APART).saturating_sub(apart());
        let mut canaries = Vec::new();
        for _ in 0..wanted {
            let mut best = None;
            for attempt in 0..PERTURBATIONS {
                if began.elapsed() >= within {
                    break;
                }
                let strength = match attempt {
                    0 | 1 => Strength::Digits,
                    2 | 3 => Strength::Words,
                    _ => Strength::Strong,
                };
                let mut random = || u64::from_le_bytes(clock::random());
                let perturbed = canary::perturb(params, &values, strength, &mut random);
                let Some(values) = perturbed else { continue };
                let Ok(args) = value::encode_params(params, &values) else { continue };
                let canary = self.know(job, &local, args, middle).await?;
                let works = matches!(canary.known.outcome, Outcome::Ok(_));
                if works || best.is_none() {
                    best = Some(canary);
                }
                if works {
                    break;
                }
            }
            canaries.extend(best);
        }
        if canaries.is_empty() {
            return Err(cannot(
                "the arguments have nothing that could be changed, or it took too long".to_owned(),
            ));
        }
        Ok(canaries)
    }

    /// Executes a canary here.
    async fn know(
        &self,
        job: &Job<'_>,
        local: &Local,
        args: Vec<u8>,
        middle: u64,
    ) -> Result<Canary, CallError> {
        let mut choices = job.request.choices.clone();
        if !job.fixed.0 {
            choices.seed = Some(clock::random());
        }
        if !job.fixed.1 {
            choices.time_base = Some(middle.saturating_sub(CLOCKS_APART).saturating_add(apart()));
        }
        let component = job.release.payload().component;
        let action = invoke::action(self.home.did(), component, job.function, &args, choices.clone());
        let (sandbox, loaded, given) = (self.home.sandbox()?.clone(), local.loaded.clone(), args.clone());
        let execute = move || sandbox.execute(&loaded, &action, &given);
        let executed = tokio::task::spawn_blocking(execute).await.map_err(|e| e.to_string());
        let executed = executed.and_then(|e| e.map_err(|e| e.to_string()));
        let unknown = |why| CallError::Unverified { provider: self.home.did(), why };
        let execution = executed.map_err(unknown)?;
        let stdio = execution.stdio_block().map(|(id, _)| id);
        let (profile, journal) = (self.home.sandbox()?.profile_id(), execution.journal.id());
        let (fuel, memory_bytes) = (execution.fuel, execution.memory_bytes);
        let known = Known::of(profile, execution.outcome, fuel, memory_bytes, journal, stdio);
        let request = CallRequest { args, choices, deadline: job.request.deadline };
        Ok(Canary { request, known })
    }

    /// Whether a canary was answered rightly. That it was not, re-execution decides.
    async fn judge_canary(
        &self,
        job: &Job<'_>,
        found: &Found,
        canary: &Canary,
        called: &Called,
    ) -> Result<(String, Honest), CallError> {
        let receipt = called.receipt.payload();
        if !canary.known.comparable(receipt) {
            return Ok((format!("not comparable: {}", receipt.outcome), Honest::Unknown));
        }
        let Some(differs) = canary::check(&canary.known, receipt) else {
            self.noted(called, Experience::Identical)?;
            return Ok(("answered as known beforehand".to_owned(), Honest::Yes));
        };
        match self.judge(job, found, called).await? {
            Judgement::Identical => {
                self.noted(called, Experience::Identical)?;
                Ok(("answered otherwise than known, and true all the same".to_owned(), Honest::Yes))
            }
            Judgement::Diverged(divergence) => {
                let lied = self.condemn(called, divergence)?;
                Ok((format!("answered wrongly, at {}", differs.at), Honest::No(lied)))
            }
            Judgement::NotReplayable(why) => Ok((format!("not comparable: {why}"), Honest::Unknown)),
        }
    }

    /// Re-executes an answer before it is believed. Until it is known what it is, no other answer of its provider is handed
    /// over.
    pub(super) async fn replay_first(
        &self,
        job: &Job<'_>,
        found: &Found,
        called: &Called,
        tally: &mut Tally,
    ) -> Result<(), CallError> {
        let provider = called.receipt.payload().iss;
        let judging = self.judging(&provider);
        let _under_way = judging.read().await;
        let judgement = match self.judge(job, found, called).await {
            Ok(judgement) => judgement,
            Err(error @ (CallError::Untrue { .. } | CallError::Home(_) | CallError::Store(_))) => {
                return Err(error);
            }
            Err(error) => {
                tally.add(Check::Replay, provider, format!("not possible here: {error}"), 0, 0);
                tally.keep_or_waste(called);
                return Err(CallError::Unverified { provider, why: error.to_string() });
            }
        };
        tally.add(Check::Replay, provider, judgement.to_string(), called.receipt.payload().fuel, 0);
        match judgement {
            Judgement::Identical => self.noted(called, Experience::Identical),
            Judgement::Diverged(divergence) => {
                tally.waste(called);
                Err(self.condemn(called, divergence)?)
            }
            Judgement::NotReplayable(why) => {
                self.noted(called, Experience::NotReplayable)?;
                tally.keep_or_waste(called);
                Err(CallError::Unverified { provider, why })
            }
        }
    }

    /// What re-execution here says of an answer.
    pub(super) async fn judge(
        &self,
        job: &Job<'_>,
        found: &Found,
        called: &Called,
    ) -> Result<Judgement, CallError> {
        let local = self.local(job.release, &[found]).await?;
        judge_with(&self.home, &local, called).await
    }

    /// Signs and keeps that an answer was a lie; gives the error that says so.
    pub(super) fn condemn(&self, called: &Called, divergence: Divergence) -> Result<CallError, CallError> {
        let provider = called.receipt.payload().iss;
        let judgement = Judgement::Diverged(divergence);
        self.sign_verdict(called, judgement.clone())?;
        self.noted(called, Experience::Diverged)?;
        Ok(CallError::Lied { provider, receipt: called.receipt.id(), judgement: Box::new(judgement) })
    }

    /// Whether an answer is attested by a platform that is trusted here.
    pub(super) fn attested(&self, called: &Called, tally: &mut Tally) -> Result<(), CallError> {
        let provider = called.receipt.payload().iss;
        let judged = called.evidence.attestation.as_ref();
        let judged = judged.map(|a| self.attest.judge(a, &called.receipt, clock::now_secs()));
        let found = judged.as_ref().map_or_else(|| "none came".to_owned(), ToString::to_string);
        tally.add(Check::Attestation, provider, found.clone(), 0, 0);
        match judged.is_some_and(|judged| judged.found.is_ok()) {
            true => Ok(()),
            false => {
                tally.waste(called);
                Err(CallError::Unverified { provider, why: format!("its attestation: {found}") })
            }
        }
    }
}

/// Re-executes an answer on a blocking thread.
pub(super) async fn judge_with(
    home: &Arc<crate::Home>,
    local: &Local,
    called: &Called,
) -> Result<Judgement, CallError> {
    let sandbox = home.sandbox()?.clone();
    let (component, receipt, evidence) =
        (local.component.clone(), called.receipt.clone(), called.evidence.clone());
    let (output, journal) = (called.output.clone(), called.journal()?);
    let provider = receipt.payload().iss;
    let run = move || {
        let evidence = Evidence {
            receipt: receipt.payload(),
            component: &component,
            args: &evidence.args,
            output: output.as_deref(),
            journal: &journal,
            bodies: &evidence.bodies,
            stdio: evidence.stdio.as_deref(),
        };
        replay::replay(&sandbox, &evidence)
    };
    let failed = |why: String| CallError::Unverified { provider, why };
    let judged = tokio::task::spawn_blocking(run).await.map_err(|e| failed(e.to_string()))?;
    judged.map_err(|e| failed(e.to_string()))
}
