//! Runs a flow: every step as soon as those it needs are done, several at once, each delegated and falling back by itself.
//!
//! A step that is done is noted with its receipt, so that running the same plan with the same inputs again does only what is
//! not done. A process that is killed loses nothing either: calls without an answer are remembered (see
//! `requester/resume.rs`), and what came and was not noted is found among the receipts.

use super::{
    plan::{Flow, Step},
    recall::{Left, refuted},
    step::{Done, Grants, Runner, StepError, blocking},
};
use crate::{
    clock,
    home::Home,
    requester::{CallError, CallProgress, Requester},
};
use actum_model::ReceiptId;
use actum_store::StoreError;
use futures::{StreamExt, stream::FuturesUnordered};
use serde_json::Value as Json;
use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// The most steps under way at once: each may ask several providers, and the outputs of all are held.
pub const MAX_PARALLEL: usize = 8;
/// How long steps under way are still listened to once a run is to stop: calls are remembered some 20 ms after they were
/// sent, and what is remembered is answered later.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// How a step is coming along.
#[derive(Clone, Debug)]
pub enum Event {
    /// It was begun.
    Started,
    /// Its call is coming along.
    Call(CallProgress),
    /// It is done.
    Done,
    /// It failed, for this reason.
    Failed(String),
}

/// How a flow is run.
pub struct Options<'a> {
    /// What a step's grants mean in this home.
    pub grants: Grants<'a>,
    /// The steps that are done already, as [`super::recall`] gives them.
    pub done: BTreeMap<usize, Done>,
}

/// How a step ended.
#[derive(Debug)]
pub enum Ended {
    /// Well.
    Done(Box<Done>),
    /// It failed, after its own fallbacks.
    Failed(Box<StepError>),
    /// It was not begun, because these steps failed or were not begun.
    NotBegun(Vec<String>),
    /// It was done with what these steps gave, and that is a lie or was made of one: [`Finished::take_back`] found it.
    Misled(Vec<String>),
    /// The run was stopped before it was done. What was sent goes on where it runs, and is asked for by the next run.
    Stopped,
}

/// How a flow ended.
#[derive(Debug)]
pub struct Finished {
    /// How each step ended, by its place in the plan.
    pub steps: BTreeMap<usize, Ended>,
    /// Whether it was stopped.
    pub stopped: bool,
}

impl Finished {
    /// The steps, where all are done.
    pub fn done(&self) -> Option<BTreeMap<usize, &Done>> {
        let done = self.steps.iter().map(|(at, ended)| match ended {
            Ended::Done(done) => Some((*at, &**done)),
            _ => None,
        });
        done.collect()
    }

    /// Takes back what this home has found to be a lie: a step whose receipt is false has failed, and what its output went
    /// into was done with a lie. The next run does both anew.
    ///
    /// A level of risk may have outputs handed over before they are replayed. [`Requester::stop`] does such replays, so this
    /// is for after it.
    pub fn take_back(&mut self, home: &Home, flow: &Flow) -> Result<(), StoreError> {
        let mut lies: BTreeSet<&str> = BTreeSet::new();
        for at in flow.order() {
            let Some(step) = flow.steps().get(*at) else { continue };
            let Some(Ended::Done(done)) = self.steps.get(at) else { continue };
            let (provider, receipt) = (done.receipt.payload().iss, done.receipt.id());
            let ended = match refuted(home, &receipt)? {
                Some(judgement) => {
                    let lied = CallError::Lied { provider, receipt, judgement: Box::new(judgement) };
                    Ended::Failed(Box::new(StepError::from(lied)))
                }
                None => {
                    let fed = flow.fed(*at).iter().map(|feed| feed.step.as_str());
                    let because: BTreeSet<&str> = fed.filter(|name| lies.contains(name)).collect();
                    if because.is_empty() {
                        continue;
                    }
                    Ended::Misled(because.into_iter().map(str::to_owned).collect())
                }
            };
            lies.insert(step.name.as_str());
            self.steps.insert(*at, ended);
        }
        Ok(())
    }
}

/// Runs what of a flow is not done, until all is, nothing more can be, or `stop` is ready.
///
/// What fails takes only those with it that need it. `progress` hears each step by its name.
///
/// # Errors
/// The store failed before anything was sent.
pub async fn run(
    requester: &Requester,
    flow: &Flow,
    options: Options<'_>,
    stop: impl Future<Output = ()>,
    progress: &mut (dyn FnMut(&str, Event) + Send),
) -> Result<Finished, StoreError> {
    let (home, id) = (requester.home.clone(), flow.id());
    let taken: BTreeSet<ReceiptId> = options.done.values().map(|done| done.receipt.id()).collect();
    let left = blocking(move || {
        let before = home.store().flow_state(&id)?.is_some();
        let begun = home.store().begin_flow(&id, clock::now_secs())?;
        if before { Left::read(&home, begun, &taken) } else { Ok(Left::default()) }
    });
    let left = left.await?;
    let runner =
        Runner { requester, home: requester.home.clone(), flow: flow.id(), left, grants: options.grants };
    let tell = Mutex::new(progress);
    let say = |step: &str, event| (tell.lock().unwrap_or_else(PoisonError::into_inner))(step, event);
    let mut state = State::new(flow, options.done);
    let mut stop = pin!(stop);
    let mut until = None;
    for (at, done) in &state.steps {
        let (Some(step), Ended::Done(done)) = (flow.steps().get(*at), done) else { continue };
        tokio::select! {
            // What is done stays done without its component; the file alone wants it.
            completed = runner.complete(step, done) => {
                if let Err(error) = completed {
                    tracing::warn!(step = %step.name, %error, "the component of a step that is done is not here");
                }
            }
            () = &mut stop => {
                until = Some(tokio::time::Instant::now());
                break;
            }
        }
    }
    let mut running = FuturesUnordered::new();
    loop {
        while until.is_none()
            && running.len() < MAX_PARALLEL
            && let Some((at, step)) = state.take_ready()
        {
            say(&step.name, Event::Started);
            let (args, runner, say) = (flow.args(step, &state.outputs), &runner, &say);
            running.push(async move {
                let args = match args {
                    Ok(args) => args,
                    Err(why) => return (at, Err(StepError::Missing(why))),
                };
                let mut heard = |event| say(&step.name, Event::Call(event));
                (at, runner.step(step, &args, &mut heard).await)
            });
        }
        let ended = match until {
            None => tokio::select! {
                ended = running.next() => ended,
                () = &mut stop => {
                    until = Some(tokio::time::Instant::now() + LAST_WORDS);
                    continue;
                }
            },
            Some(until) => tokio::time::timeout_at(until, running.next()).await.unwrap_or(None),
        };
        let Some((at, ended)) = ended else { break };
        if let Some(step) = flow.steps().get(at) {
            say(&step.name, ended.as_ref().map_or_else(|e| Event::Failed(words(e)), |_| Event::Done));
            state.end(at, step, ended);
        }
    }
    // Dropping a call cancels its action where it runs. These are to go on, and to be asked for by the next run; their
    // sessions end with the requester.
    if !running.is_empty() {
        std::mem::forget(running);
    }
    Ok(state.finish(until.is_some()))
}

/// An error with its causes, on one line.
fn words(error: &StepError) -> String {
    let (mut text, mut next) = (error.to_string(), std::error::Error::source(error));
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// What is done, what is under way, and what can be next.
struct State<'a> {
    flow: &'a Flow,
    steps: BTreeMap<usize, Ended>,
    outputs: BTreeMap<String, Json>,
    begun: BTreeSet<usize>,
}

impl<'a> State<'a> {
    fn new(flow: &'a Flow, done: BTreeMap<usize, Done>) -> Self {
        let mut state =
            Self { flow, steps: BTreeMap::new(), outputs: BTreeMap::new(), begun: BTreeSet::new() };
        for (at, done) in done {
            if let Some(step) = flow.steps().get(at) {
                state.begun.insert(at);
                state.end(at, step, Ok(done));
            }
        }
        state
    }

    /// A step that can be begun: all it needs is done. It counts as begun from now on.
    fn take_ready(&mut self) -> Option<(usize, &'a Step)> {
        let ready = |at: &&usize| {
            !self.begun.contains(*at) && self.flow.needs(**at).all(|name| self.outputs.contains_key(name))
        };
        let at = *self.flow.order().iter().find(ready)?;
        self.begun.insert(at);
        Some((at, self.flow.steps().get(at)?))
    }

    fn end(&mut self, at: usize, step: &Step, ended: Result<Done, StepError>) {
        let ended = match ended {
            Ok(done) => {
                self.outputs.insert(step.name.clone(), done.output.clone());
                Ended::Done(Box::new(done))
            }
            Err(error) => Ended::Failed(Box::new(error)),
        };
        self.steps.insert(at, ended);
    }

    /// Says of what is left why it is left.
    fn finish(mut self, stopped: bool) -> Finished {
        let mut lost: BTreeSet<String> = BTreeSet::new();
        for at in self.flow.order() {
            let Some(step) = self.flow.steps().get(*at) else { continue };
            let ended = match self.steps.remove(at) {
                Some(ended) => ended,
                None => {
                    let because: Vec<_> = self.flow.needs(*at).filter(|name| lost.contains(*name)).collect();
                    match because.is_empty() {
                        true => Ended::Stopped,
                        false => Ended::NotBegun(because.into_iter().map(str::to_owned).collect()),
                    }
                }
            };
            if matches!(ended, Ended::Failed(_) | Ended::NotBegun(_)) {
                lost.insert(step.name.clone());
            }
            self.steps.insert(*at, ended);
        }
        Finished { steps: self.steps, stopped }
    }
}
