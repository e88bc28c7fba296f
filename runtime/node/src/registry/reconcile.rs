//! Reconciling with other registries: drives [`actum_discovery::reconcile`] over the overlay.

use super::{Keeping, RECONCILE_EVERY, RECONCILE_FIRST, blocking};
use crate::{clock, home::Home, node::Service, plane::dialled};
use actum_discovery::{
    Observed,
    reconcile::{Holdings, Initiator, ROUNDS, Responder, StatementDigest},
};
use actum_model::{Did, id::sha256};
use actum_overlay::{MAX_STATEMENTS, Overlay, Refusal, RefusalCode, Request, Response};
use actum_registry::{Registry, RegistryError};
use actum_store::Offence;
use serde_bytes::{ByteArray, ByteBuf};
use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, timeout_at};

/// How long one answer may take: a side of a million statements looks through all of them.
const DEADLINE: Duration = Duration::from_secs(20);
/// How long another registry gets to name what it has. What it named by then is asked for.
const NAMING: Duration = Duration::from_secs(60);
/// How long one run may take in all. What came by then is kept, and the next registry has its turn.
const RUN: Duration = Duration::from_secs(120);
/// The most statements one run takes in that are news here: 10,000. The next run tells the rest.
const NEWS: usize = 10_000;
/// How old what is answered from may be, in seconds: listing a million statements takes a few tenths of one.
const HOLDINGS_SECONDS: u64 = 20;
/// Seconds within which one peer may send [`ROUNDS`] messages: one run.
const RUN_SECONDS: u64 = 30;
/// The most peers whose messages are counted. Beyond it, newcomers are told to come later.
const PEERS: usize = 256;

/// What is answered from, and how much each peer has asked lately.
#[derive(Default)]
pub(super) struct Answering {
    holdings: Option<(u64, Arc<Holdings>)>,
    asked: BTreeMap<Did, (u64, u32)>,
}

impl Answering {
    /// Counts a message of a peer's, or says that it has to wait.
    fn count(&mut self, peer: Did, now: u64) -> Result<(), Refusal> {
        let later = |why: &str| {
            Refusal::new(RefusalCode::Busy, why).retry_after_ms(RUN_SECONDS.saturating_mul(1_000))
        };
        self.asked.retain(|_, (since, _)| since.saturating_add(RUN_SECONDS) > now);
        if self.asked.len() >= PEERS && !self.asked.contains_key(&peer) {
            return Err(later("too many registries reconcile at once"));
        }
        let (_, messages) = self.asked.entry(peer).or_insert((now, 0));
        *messages += 1;
        if *messages > ROUNDS { Err(later("one run at a time")) } else { Ok(()) }
    }
}

impl Keeping {
    /// Answers a message of another registry's.
    pub(crate) fn reconcile(&self, peer: Did, message: &[u8]) -> Result<Response, Refusal> {
        let now = clock::now_secs();
        let holdings = {
            let mut answering = self.answering.lock().unwrap_or_else(PoisonError::into_inner);
            answering.count(peer, now)?;
            match &answering.holdings {
                Some((at, holdings)) if at.saturating_add(HOLDINGS_SECONDS) > now => holdings.clone(),
                _ => {
                    let holdings = Arc::new(self.registry.holdings(now));
                    answering.holdings = Some((now, holdings.clone()));
                    holdings
                }
            }
        };
        let answer = Responder::new(&holdings).and_then(|mut responder| responder.answer(message));
        let message = answer.map_err(|e| Refusal::new(RefusalCode::BadRequest, e.to_string()))?;
        Ok(Response::Reconciled { message })
    }

    /// The statements that another registry asks for.
    pub(crate) fn statements(&self, ids: &[ByteArray<32>]) -> Response {
        let ids: Vec<StatementDigest> = ids.iter().map(|id| **id).collect();
        let statements = self.registry.statements(&ids).into_iter().map(ByteBuf::from).collect();
        Response::Statements { statements }
    }
}

/// Asks another registry now and then what this one lacks. Runs until it is dropped.
pub(super) async fn run(service: &Service, keeping: &Arc<Keeping>, overlay: &Overlay) {
    let mut next = 0_usize;
    tokio::time::sleep(RECONCILE_FIRST).await;
    loop {
        let others = service.announcing().registries.clone();
        if let Some(other) = others.get(next % others.len().max(1)) {
            next = next.wrapping_add(1);
            let (partner, began, addresses) = (*other.did(), Instant::now(), dialled(other));
            let ran = match timeout_at(began + RUN, overlay.connect_named(&partner, &addresses)).await {
                Ok(Ok(session)) => {
                    let ask = |request: Request| {
                        let session = session.clone();
                        async move { session.request(&request, DEADLINE).await.map_err(|e| e.to_string()) }
                    };
                    with(keeping, began, NEWS, &ask).await
                }
                Ok(Err(e)) => Ran { news: 0, ended: Err(Ended::Early(e.to_string())) },
                Err(_) => Ran { news: 0, ended: Err(late(RUN)) },
            };
            if ran.news > 0 {
                tracing::info!(registry = %partner, news = ran.news, "reconciled");
            }
            match ran.ended {
                Ok(()) => {}
                Err(Ended::Early(why)) => {
                    tracing::debug!(registry = %partner, why, "not reconciled to the end");
                }
                Err(Ended::Fault(why)) => {
                    tracing::warn!(registry = %partner, why, "a registry sent what it should not");
                    remember(&service.home, partner).await;
                }
            }
        }
        tokio::time::sleep(if others.is_empty() { RECONCILE_FIRST } else { RECONCILE_EVERY }).await;
    }
}

/// What came of a run with another registry.
#[derive(Debug)]
struct Ran {
    /// How many statements were news here.
    news: usize,
    ended: Result<(), Ended>,
}

/// Why a run ended before its end.
#[derive(Debug)]
enum Ended {
    /// Nobody is to blame, or nobody knows who.
    Early(String),
    /// The other registry sent what no honest, sound one does.
    Fault(String),
}

/// The time was over.
fn late(within: Duration) -> Ended {
    Ended::Early(format!("not done in {} s", within.as_secs()))
}

/// The other registry answered something else than was asked for.
fn unexpected(answer: Response) -> Ended {
    Ended::Early(match answer {
        Response::Refused { refusal } => refusal.to_string(),
        _ => "it answered something else".to_owned(),
    })
}

/// One run with another registry, asked by `ask`, that takes in at most so much news. What was taken in is kept, however it
/// ends.
async fn with<F: Future<Output = Result<Response, String>>>(
    keeping: &Arc<Keeping>,
    began: Instant,
    most: usize,
    ask: &impl Fn(Request) -> F,
) -> Ran {
    let holdings = blocking(keeping, |registry| registry.holdings(clock::now_secs())).await;
    let Some(holdings) = holdings else { return Ran { news: 0, ended: Ok(()) } };
    let (mut lacking, named) = name(&holdings, began + NAMING, ask).await;
    drop(holdings);
    // From anywhere on: what is refused here is named again each time, and is not to stand before all else.
    let from = usize::try_from(u32::from_le_bytes(clock::random())).unwrap_or_default();
    let from = from.checked_rem(lacking.len()).unwrap_or_default();
    lacking.rotate_left(from);
    let mut news = 0;
    let fetched = fetch(keeping, &lacking, began + RUN, most, ask, &mut news).await;
    Ran { news, ended: fetched.and(named) }
}

/// What the other registry has and this one lacks, as far as it said so in time and until it stopped; and whether it said
/// all.
async fn name<F: Future<Output = Result<Response, String>>>(
    holdings: &Holdings,
    until: Instant,
    ask: &impl Fn(Request) -> F,
) -> (Vec<StatementDigest>, Result<(), Ended>) {
    let mut lacking = Vec::new();
    let naming = async {
        let (mut run, first) = Initiator::begin(holdings).map_err(|e| Ended::Early(e.to_string()))?;
        let mut message = Some(first);
        while let Some(bytes) = message.take() {
            match ask(Request::Reconcile { message: bytes }).await.map_err(Ended::Early)? {
                Response::Reconciled { message: answer } => {
                    let told = run.take(&answer).map_err(|e| Ended::Early(e.to_string()))?;
                    lacking.extend(told.lacking_here);
                    message = told.send;
                }
                answer => return Err(unexpected(answer)),
            }
        }
        Ok::<(), Ended>(())
    };
    let named = timeout_at(until, naming).await.unwrap_or_else(|_| Err(late(NAMING)));
    (lacking, named)
}

/// Fetches statements and takes them in, until `most` of them were news here.
async fn fetch<F: Future<Output = Result<Response, String>>>(
    keeping: &Arc<Keeping>,
    mut lacking: &[StatementDigest],
    until: Instant,
    most: usize,
    ask: &impl Fn(Request) -> F,
    news: &mut usize,
) -> Result<(), Ended> {
    while !lacking.is_empty() && *news < most {
        let (some, rest) = lacking.split_at(lacking.len().min(MAX_STATEMENTS).min(most - *news));
        lacking = rest;
        let ids = some.iter().map(|id| ByteArray::new(*id)).collect();
        let answer = timeout_at(until, ask(Request::Statements { ids })).await.map_err(|_| late(RUN))?;
        let statements = match answer.map_err(Ended::Early)? {
            Response::Statements { statements } => statements,
            answer => return Err(unexpected(answer)),
        };
        let asked = some.to_vec();
        let taken =
            blocking(keeping, move |registry| take_in(registry, &asked, &statements, clock::now_secs()));
        let Some(taken) = taken.await else { return Ok(()) };
        *news += taken.news;
        taken.ended?;
    }
    Ok(())
}

/// Takes in what was sent of what was asked for. What was not asked for is not looked at; it ends the run, as does what
/// could have been seen at any time to be no statement.
fn take_in(registry: &Registry, asked: &[StatementDigest], sent: &[ByteBuf], now: u64) -> Ran {
    let mut news = 0;
    let ended = sent.iter().try_for_each(|statement| {
        if !asked.contains(&sha256(statement)) {
            return Err(Ended::Fault("it sent what nobody asked for".to_owned()));
        }
        match registry.observe_from_registry(statement, now) {
            Ok(Observed::New | Observed::Newer) => news += 1,
            Ok(Observed::Same | Observed::Older) => {}
            Err(RegistryError::Refused(why)) if why.is_fault() => return Err(Ended::Fault(why.to_string())),
            Err(RegistryError::Refused(why)) => {
                tracing::debug!(%why, code = why.code(), "a statement was not taken in");
            }
            Err(error) => return Err(Ended::Early(error.to_string())),
        }
        Ok(())
    });
    Ran { news, ended }
}

/// Holds against a registry what it sent.
async fn remember(home: &Arc<Home>, partner: Did) {
    let home = home.clone();
    let kept = tokio::task::spawn_blocking(move || {
        home.store().put_offence(&partner, Offence::WrongPage, clock::now_secs())
    });
    if let Ok(Err(error)) = kept.await {
        tracing::warn!(%error, "what a registry was caught at could not be stored");
    }
}

#[cfg(test)]
mod tests;
