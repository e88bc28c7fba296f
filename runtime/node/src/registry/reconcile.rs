//! Reconciling with other registries: drives [`actum_discovery::reconcile`] over the overlay.

use super::{Keeping, RECONCILE_EVERY, RECONCILE_FIRST};
use crate::{clock, node::Service, plane::dialled};
use actum_discovery::reconcile::{CutOff, Holdings, Initiator, ROUNDS, Responder, StatementDigest};
use actum_model::Did;
use actum_overlay::{MAX_STATEMENTS, Overlay, Refusal, RefusalCode, Request, Response, SessionHandle};
use actum_registry::Registry;
use serde_bytes::{ByteArray, ByteBuf};
use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

/// How long one answer may take: a side of a million statements looks through all of them.
const DEADLINE: Duration = Duration::from_secs(20);
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
pub(super) async fn run(service: &Service, registry: &Registry, overlay: &Overlay) {
    let mut next = 0_usize;
    tokio::time::sleep(RECONCILE_FIRST).await;
    loop {
        let others = service.announcing().registries.clone();
        if let Some(other) = others.get(next % others.len().max(1)) {
            next = next.wrapping_add(1);
            let told = async {
                let session =
                    overlay.connect_to(other.did(), &dialled(other)).await.map_err(|e| e.to_string())?;
                with(registry, &session).await
            };
            match told.await {
                Ok(0) => {}
                Ok(news) => tracing::info!(registry = %other.did(), news, "reconciled"),
                Err(why) => tracing::debug!(registry = %other.did(), why, "not reconciled"),
            }
        }
        tokio::time::sleep(if others.is_empty() { RECONCILE_FIRST } else { RECONCILE_EVERY }).await;
    }
}

/// One run with another registry; says how many statements were news here.
async fn with(registry: &Registry, session: &SessionHandle) -> Result<usize, String> {
    let cut = |e: CutOff| e.to_string();
    let holdings = registry.holdings(clock::now_secs());
    let (mut run, first) = Initiator::begin(&holdings).map_err(cut)?;
    let (mut message, mut lacking) = (Some(first), Vec::new());
    while let Some(bytes) = message.take() {
        let answer = session.request(&Request::Reconcile { message: bytes }, DEADLINE).await;
        match answer.map_err(|e| e.to_string())? {
            Response::Reconciled { message: answer } => {
                let told = run.take(&answer).map_err(cut)?;
                lacking.extend(told.lacking_here);
                message = told.send;
            }
            Response::Refused { refusal } => return Err(refusal.to_string()),
            _ => return Err("it answered something else".to_owned()),
        }
    }
    let mut news = 0;
    for some in lacking.chunks(MAX_STATEMENTS) {
        let ids = some.iter().map(|id| ByteArray::new(*id)).collect();
        let answer = session.request(&Request::Statements { ids }, DEADLINE).await;
        let Response::Statements { statements } = answer.map_err(|e| e.to_string())? else {
            return Err("it did not send what it named".to_owned());
        };
        for statement in statements {
            match registry.observe(&statement, clock::now_secs()) {
                Ok(_) => news += 1,
                Err(error) => tracing::debug!(%error, code = error.code(), "a statement was not taken in"),
            }
        }
    }
    Ok(news)
}
