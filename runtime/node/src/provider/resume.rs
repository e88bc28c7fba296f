//! The answer to a call whose session was lost, for whoever signed the call.

use super::{Provider, internal, stopping};
use crate::flights::RuledOut;
use actum_model::{Did, InvocationId};
use actum_overlay::{ProgressSender, Refusal, RefusalCode, Response, SessionHandle};
use actum_store::{Answer, StoreError, ledger::WasServed};
use serde_bytes::ByteBuf;
use tokio::sync::Semaphore;

/// How many stored answers are read at once, for all peers together. Each may have 64 MiB.
const ANSWER_READS: usize = 2;

static ANSWER_TURNS: Semaphore = Semaphore::const_new(ANSWER_READS);

impl Provider {
    /// Answers what was asked before, on a session that is lost: waits for it where it is under way, gives what is stored
    /// where it has ended, and rules it out where it was never admitted. Costs one signature's verification and a look into
    /// the store, and starts nothing. `leaves`: whether the action goes on when this is cancelled.
    pub(crate) async fn resume(
        &self,
        peer: Did,
        invocation: &[u8],
        leaves: bool,
        session: &SessionHandle,
        progress: &ProgressSender,
    ) -> Result<Response, Refusal> {
        let invocation = self.gate.own_invocation(&peer, invocation)?;
        let id = invocation.id();
        loop {
            if let Some(over) = self.flights.wait(&id, leaves, session, progress).await {
                over?;
            }
            if let Some(answer) = self.answer_to(id).await? {
                return Ok(answer);
            }
            match self.flights.rule_out(id, peer)? {
                RuledOut::UnderWay => continue,
                RuledOut::Done => {}
            }
            // It may have begun and ended since it was looked for; now it cannot begin any more.
            if let Some(answer) = self.answer_to(id).await? {
                return Ok(answer);
            }
            return Err(match self.gate.was_served(invocation.payload()).map_err(internal)? {
                WasServed::No => {
                    let text = "this invocation was never admitted here, and will not be";
                    Refusal::new(RefusalCode::UnknownInvocation, text)
                }
                WasServed::Yes | WasServed::Forgotten => {
                    let text = "this invocation may have run here, and no answer to it is kept";
                    Refusal::new(RefusalCode::Gone, text)
                }
            });
        }
    }

    /// The stored answer to an invocation.
    async fn answer_to(&self, id: InvocationId) -> Result<Option<Response>, Refusal> {
        let turn = ANSWER_TURNS.acquire().await.map_err(|_| stopping())?;
        let home = self.home.clone();
        let read = move || -> Result<_, StoreError> {
            let _turn = turn;
            let Some(answer) = home.store().answer_to(&id)? else { return Ok(None) };
            let attestation = home.store().attestation_of(&answer.receipt.id())?;
            Ok(Some((answer, attestation)))
        };
        let answer = tokio::task::spawn_blocking(read).await.map_err(internal)?.map_err(internal)?;
        Ok(answer.map(|(answer, attestation)| {
            let Answer { receipt, output, journal, bodies, stdio } = answer;
            Response::Done {
                receipt: receipt.bytes().to_vec(),
                output,
                journal,
                bodies: bodies.into_iter().map(ByteBuf::from).collect(),
                stdio,
                attestation: attestation.map(|a| a.bytes().to_vec()),
            }
        }))
    }
}
