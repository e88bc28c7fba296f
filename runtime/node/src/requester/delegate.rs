//! Delegates an action as a risk policy says: whom to ask, which checks go with it, whom next if one fails. The decisions
//! are `actum-trust`'s; here they meet the network, the clock and the sandbox.

use super::{
    CallProgress, CallRequest, Called, Prepared, Requester,
    checks::{Answer, Attempted, Job},
};
use crate::{clock, failure::CallError, invoke};
use actum_discovery::Found;
use actum_model::{ComponentId, Did, Journal, codec};
use actum_trust::{
    Asker, Candidate, Chosen, Class, Effect, Experience, Level, Next, Plan, Record, choose, plan, sampling,
};
use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::RwLock;

/// The longest that one action is waited for: a week, for as long as a call without an answer is remembered.
const MAX_DEADLINE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// The most providers of whom it is held whether an answer of theirs is being replayed; then those are left for whom none is.
const MAX_JUDGED: usize = 256;

/// A delegated action that came through its checks, and how it came to that.
#[derive(Debug)]
pub struct Delegated {
    /// The answer.
    pub called: Called,
    /// Why this provider, which checks, and what they cost.
    pub explained: Explained,
}

/// Why an action went where it went, and what was checked.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The level of risk it was delegated under.
    pub level: String,
    /// Why that level.
    pub because: String,
    /// Who answered.
    pub provider: Did,
    /// Why this provider, line by line.
    pub why: Vec<String>,
    /// The checks, in order.
    pub checks: Vec<Checked>,
    /// Fuel burned beyond the action's own, here and elsewhere, for checks and for answers that were not taken.
    pub extra_fuel: u64,
    /// Bytes of arguments and outputs moved beyond the action's own.
    pub extra_bytes: u64,
    /// Who was asked before and did not do, and why.
    pub fell_back: Vec<(Did, String)>,
    /// Who was not asked, and why.
    pub left_out: Vec<(Did, String)>,
}

/// A check that was made, or could not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Which.
    pub check: Check,
    /// Of whom.
    pub provider: Did,
    /// What it showed, in words.
    pub found: String,
    /// Fuel it took, here and elsewhere.
    pub fuel: u64,
    /// Bytes it moved.
    pub bytes: u64,
}

/// The kinds of checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// Everything about a receipt that can be checked without running anything.
    Consistency,
    /// An action whose right answer was known before it was sent.
    Canary,
    /// The same action at another provider.
    Replica,
    /// Re-execution here.
    Replay,
    /// What the provider's platform says of its receipt.
    Attestation,
}

impl Check {
    /// The check's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Consistency => "consistency",
            Self::Canary => "canary",
            Self::Replica => "replica",
            Self::Replay => "replay",
            Self::Attestation => "attestation",
        }
    }
}

/// Who was not asked, and why.
type LeftOut = Vec<(Did, String)>;

/// What adds up over all that is tried for one action.
pub(super) struct Tally {
    pub(super) checks: Vec<Checked>,
    fell_back: Vec<(Did, String)>,
    /// Fuel and bytes of answers that were not taken.
    wasted: (u64, u64),
    /// A failure that could not be checked here, for where nobody does better.
    pub(super) spare: Option<Called>,
}

impl Tally {
    pub(super) fn add(&mut self, check: Check, provider: Did, found: String, fuel: u64, bytes: u64) {
        self.checks.push(Checked { check, provider, found, fuel, bytes });
    }

    pub(super) fn waste(&mut self, called: &Called) {
        self.wasted.0 = self.wasted.0.saturating_add(called.receipt.payload().fuel);
        self.wasted.1 = self.wasted.1.saturating_add(called.bytes());
    }

    /// Of an answer that could not be tried here: a failure claims no output, so the first is what there is to say where
    /// nobody does better. Anything else is wasted.
    pub(super) fn keep_or_waste(&mut self, called: &Called) {
        match called.output.is_none() && self.spare.is_none() {
            true => self.spare = Some(called.clone()),
            false => self.waste(called),
        }
    }
}

impl Requester {
    /// Delegates an action under a level of risk, by its name, or the one that the policy has for such an action.
    ///
    /// Candidates are asked in the order of what this home has seen of them. One that cannot, is slow or is caught lying is
    /// followed by the next, as far as the action may be run twice: what has effects is not, once it may have run. Checks
    /// that come before the answer are over when this returns; those that come after it are owed, and done by
    /// [`Self::stop`] or this home's node.
    pub async fn delegate(
        &self,
        prepared: Prepared,
        mut request: CallRequest,
        risk: Option<&str>,
        progress: &mut (dyn FnMut(CallProgress) + Send),
    ) -> Result<Delegated, CallError> {
        let Prepared { release, function, candidates, insisted } = prepared;
        invoke::check_size(&function, &request.args)?;
        let component = release.payload().component;
        let class = Class {
            effect: Effect::of(&request.choices.permissions),
            args_bytes: u64::try_from(request.args.len()).unwrap_or(u64::MAX),
            asker: match candidates.iter().all(|found| found.offer.descriptor().payload().public) {
                true => Asker::Own,
                false => Asker::Granted,
            },
        };
        let (name, level, because) = self.policy.level_for(&class, risk)?;
        // One seed and one beginning of time for all who run it, or their answers could not be compared. What is drawn here
        // looks like what is drawn for each action of its own.
        let fixed = (request.choices.seed.is_some(), request.choices.time_base.is_some());
        request.choices.seed.get_or_insert_with(clock::random);
        // No coarser than a canary's, whatever this machine's clock can tell apart.
        request.choices.time_base.get_or_insert_with(|| {
            clock::now_nanos().saturating_add(u64::from_le_bytes(clock::random()) % 1_000)
        });
        if level.canaries > 0 {
            self.hear_opinions(&candidates).await?;
        }
        let (chosen, mut left_out) = self.chosen(&candidates, &component, level, insisted)?;
        let mut tally = Tally { checks: Vec::new(), fell_back: Vec::new(), wasted: (0, 0), spare: None };
        let until = Instant::now() + request.deadline.min(MAX_DEADLINE);
        let job = Job {
            release: &release,
            function: &function,
            request: &request,
            effect: class.effect,
            fixed,
            until,
        };
        let most = usize::try_from(level.fallbacks).unwrap_or(usize::MAX).saturating_add(1);
        let asked: Vec<&Chosen<&Found>> = chosen.iter().take(most).collect();
        let mut last = None;
        for (place, candidate) in asked.iter().enumerate() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let provider = candidate.candidate.provider;
            // As it is by now: the checks of those before it, or a call beside this one, may have shown that it lies. Of one
            // that was named it decides how much is checked.
            let record = self.records.of(&provider, &component)?;
            if record.standing().excluded() && !insisted {
                left_out.push((provider, record.explain().into_iter().next().unwrap_or_default()));
                continue;
            }
            let nth = self.records.next_receipt_of(&provider)?;
            let due = sampling::due(&self.sampling, &provider, nth, level.replay_one_in);
            let draw = u64::from_le_bytes(clock::random());
            let public = candidate.candidate.item.offer.descriptor().payload().public;
            // By a grant they would go as work does, and use it up. Were there neither, whoever offers to the few alone would be
            // checked less.
            let plan = plan(level, class.effect, &record, due, draw)
                .with_canaries(public && request.choices.permissions.is_empty());
            let mut others: Vec<&Chosen<&Found>> = Vec::new();
            for other in chosen.iter().filter(|c| plan.replicas > 1 && c.candidate.provider != provider) {
                if !self.records.of(&other.candidate.provider, &component)?.standing().excluded() {
                    others.push(other);
                }
            }
            let patience = match place.saturating_add(1) < asked.len() && class.effect <= Effect::Reads {
                true => left.min(Duration::from_secs(u64::from(level.patience_seconds))),
                false => left,
            };
            progress(CallProgress::Asking { provider });
            match self.attempt(&job, candidate, &others, &plan, patience, &mut tally, progress).await {
                Ok((called, confirmed)) => {
                    if plan.replays_later(confirmed) {
                        self.replay_later(&called);
                    }
                    if let Some(session) = self.overlay.session_with(&called.receipt.payload().iss) {
                        self.exchanges.after_call(&self.home, &session, called.receipt.payload().iss);
                    }
                    // Where replicas were compared, it may be one of those.
                    let by = called.receipt.payload().iss;
                    let by = chosen.iter().find(|c| c.candidate.provider == by).unwrap_or(*candidate);
                    let explained = explain(name, &because.to_string(), by, &called, tally, left_out);
                    return Ok(Delegated { called, explained });
                }
                Err(error) if error.failure(true).is_some_and(|f| f.goes_on(class.effect)) => {
                    progress(CallProgress::FellBack { provider, why: error.to_string() });
                    tally.fell_back.push((provider, error.to_string()));
                    // Why somebody said no, or was caught, says more than that another was not there.
                    let lost = matches!(error, CallError::Connect { .. } | CallError::Unreachable { .. });
                    if last.is_none() || !lost {
                        last = Some(error);
                    }
                }
                Err(error) => {
                    last = Some(error);
                    break;
                }
            }
        }
        if let (Some(called), Some(CallError::Unverified { .. })) = (tally.spare.take(), &last) {
            let provider = called.receipt.payload().iss;
            if let Some(candidate) = asked.iter().find(|c| c.candidate.provider == provider) {
                let explained = explain(name, &because.to_string(), candidate, &called, tally, left_out);
                return Ok(Delegated { called, explained });
            }
        }
        match (last, left_out.into_iter().next()) {
            (Some(error), _) => Err(error),
            (None, Some((provider, why))) => Err(CallError::Excluded { provider, why }),
            (None, None) => Err(CallError::Unreachable { tried: Vec::new() }),
        }
    }

    /// The candidates in the order to ask them, and who is left out.
    fn chosen<'a>(
        &self,
        candidates: &'a [Found],
        component: &ComponentId,
        level: &Level,
        insisted: bool,
    ) -> Result<(Vec<Chosen<&'a Found>>, LeftOut), CallError> {
        let mut records = std::collections::BTreeMap::<Did, Record>::new();
        for found in candidates {
            let provider = found.offer.descriptor().payload().iss;
            let mut record = self.records.of(&provider, component)?;
            if insisted {
                // Whoever names a provider gets it, whatever it did.
                record.fraud = None;
            }
            records.insert(provider, record);
        }
        let ranked = candidates.iter().map(|found| {
            let d = found.offer.descriptor().payload();
            Candidate { provider: d.iss, release: d.release, item: found }
        });
        let draw = u64::from_le_bytes(clock::random());
        let record_of = |provider: &Did| records.get(provider).cloned().unwrap_or_default();
        let choice = choose(ranked.collect(), record_of, level, draw);
        let left_out = choice.excluded.into_iter().map(|(candidate, record)| {
            (candidate.provider, record.explain().into_iter().next().unwrap_or_default())
        });
        Ok((choice.candidates, left_out.collect()))
    }

    /// One candidate, and the checks that come before its answer is believed. Says as well whether replay has found the answer
    /// true.
    #[expect(clippy::too_many_arguments, reason = "what one attempt is made of, and each is used once")]
    async fn attempt(
        &self,
        job: &Job<'_>,
        candidate: &Chosen<&Found>,
        others: &[&Chosen<&Found>],
        plan: &Plan,
        patience: Duration,
        tally: &mut Tally,
        progress: &mut (dyn FnMut(CallProgress) + Send),
    ) -> Result<(Called, bool), CallError> {
        let provider = candidate.candidate.provider;
        let Attempted { answer, canaries, fair } =
            self.ask_with_canaries(job, candidate.candidate.item, plan, patience, tally, progress).await?;
        let called = match answer {
            Ok(Answer { called, millis }) => {
                self.noted(&called, Experience::Served { millis })?;
                tally.add(Check::Consistency, provider, "consistent".to_owned(), 0, 0);
                called
            }
            Err(error) => {
                self.note_failure(provider, job, &error, fair)?;
                return Err(error);
            }
        };
        if plan.attestation {
            self.attested(&called, tally)?;
        }
        let came = canaries.came();
        if plan.next(&came, false) == Next::Refuse
            && let Err(lied) = canaries.honest
        {
            tally.waste(&called);
            return Err(lied);
        }
        let (called, confirmed) = match plan.replicas > 1 {
            // They have as long as the first: one that answered late leaves them no less.
            true => {
                let until = job.until.min(Instant::now() + patience);
                self.compare(job, called, candidate, others, plan.replicas, until, tally).await?
            }
            false => (called, false),
        };
        if plan.attestation && called.receipt.payload().iss != provider {
            self.attested(&called, tally)?;
        }
        match plan.next(&came, confirmed) {
            Next::Confirmed => return Ok((called, true)),
            Next::Replay => {
                self.replay_first(job, candidate.candidate.item, &called, tally).await?;
                return Ok((called, true));
            }
            Next::Refuse | Next::HandOver => {}
        }
        // An answer of a provider that is being looked into is not handed over before that is done.
        let judging = self.judging(&provider);
        if tokio::time::timeout_at(job.until.into(), judging.write()).await.is_err() {
            tally.waste(&called);
            let why = "another answer of it was still being looked into when the time was over".to_owned();
            return Err(CallError::Unverified { provider, why });
        }
        let record = self.records.of(&provider, &job.release.payload().component)?;
        if record.fraud.is_some() && candidate.record.fraud.is_none() {
            tally.waste(&called);
            let why = record.explain().into_iter().next().unwrap_or_default();
            return Err(CallError::Unverified { provider, why });
        }
        Ok((called, false))
    }

    /// What is held while a provider's answers are replayed before they are handed over.
    pub(super) fn judging(&self, provider: &Did) -> Arc<RwLock<()>> {
        let mut judging = self.judging.lock().unwrap_or_else(PoisonError::into_inner);
        if judging.len() >= MAX_JUDGED && !judging.contains_key(provider) {
            judging.retain(|_, lock| Arc::strong_count(lock) > 1);
        }
        judging.entry(*provider).or_default().clone()
    }

    /// Takes in that a provider did not do what it was asked for. `fair`: whether it had about as long as any provider has.
    pub(super) fn note_failure(
        &self,
        provider: Did,
        job: &Job<'_>,
        error: &CallError,
        fair: bool,
    ) -> Result<(), CallError> {
        match error.failure(fair).and_then(|failure| failure.experience()) {
            Some(what) => Ok(self.records.note(provider, job.release.payload().component, what, None)?),
            None => Ok(()),
        }
    }

    pub(super) fn noted(&self, called: &Called, what: Experience) -> Result<(), CallError> {
        let receipt = called.receipt.payload();
        let id = Some(called.receipt.id());
        Ok(self.records.note(receipt.iss, receipt.action.component, what, id)?)
    }
}

fn explain(
    level: &str,
    because: &str,
    candidate: &Chosen<&Found>,
    called: &Called,
    tally: Tally,
    left_out: LeftOut,
) -> Explained {
    let mut why = vec![candidate.why.name().to_owned()];
    why.extend(candidate.record.explain());
    let fuel = tally.checks.iter().map(|check| check.fuel).fold(tally.wasted.0, u64::saturating_add);
    let bytes = tally.checks.iter().map(|check| check.bytes).fold(tally.wasted.1, u64::saturating_add);
    Explained {
        level: level.to_owned(),
        because: because.to_owned(),
        provider: called.receipt.payload().iss,
        why,
        checks: tally.checks,
        extra_fuel: fuel,
        extra_bytes: bytes,
        fell_back: tally.fell_back,
        left_out,
    }
}

impl Called {
    /// The bytes that came and went: arguments, output and journal.
    pub fn bytes(&self) -> u64 {
        let output = self.output.as_ref().map_or(0, Vec::len);
        let bytes = self.evidence.args.len() + output + self.evidence.journal.len();
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    pub(super) fn journal(&self) -> Result<Journal, CallError> {
        codec::decode(&self.evidence.journal, Journal::MAX_BYTES)
            .map_err(|e| CallError::BadAnswer { provider: self.receipt.payload().iss, what: e.to_string() })
    }
}
