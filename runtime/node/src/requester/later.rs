//! Replays that come after the answer: on idle cores, one at a time, and owed until they are done, by whichever process of
//! this home comes to it.

use super::{Called, Requester, checks::judge_with};
use crate::{
    audit::{self, ReplayOptions},
    balances, clock,
    failure::CallError,
    home::Home,
    records::{self, Records},
};
use actum_model::{Judgement, ReceiptId, Signed};
use actum_store::StoreError;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{sync::Semaphore, task::JoinSet};

/// Answers held in memory until they are replayed. When full, the replay is owed, for this home's node or `actum audit`.
const MAX_WAITING: usize = 64;
/// How long leaving the network does replays that are owed. What is not begun by then stays owed.
const SETTLING: Duration = Duration::from_secs(2);

/// Replays under way behind the answers they are of.
pub(super) struct Later {
    turn: Arc<Semaphore>,
    waiting: JoinSet<()>,
    /// Those that are owed and not under way.
    owed: Vec<ReceiptId>,
}

impl Later {
    pub(super) fn new() -> Self {
        Self { turn: Arc::new(Semaphore::new(1)), waiting: JoinSet::new(), owed: Vec::new() }
    }
}

impl Requester {
    /// Has an answer replayed when there is time.
    pub(super) fn replay_later(&self, called: &Called) {
        let receipt = called.receipt.id();
        match self.home.store().owe_replay(&receipt, clock::now_secs()) {
            Ok(true) => {}
            Ok(false) => tracing::debug!(%receipt, "this replay is owed already, or too many are"),
            // It is no reason to fail the call that this fails.
            Err(error) => tracing::warn!(%error, "a replay that is owed could not be noted"),
        }
        let mut later = self.later.lock().unwrap_or_else(PoisonError::into_inner);
        while later.waiting.try_join_next().is_some() {}
        let local = self.held(&called.receipt.payload().action.component);
        let Some(local) = local.filter(|_| later.waiting.len() < MAX_WAITING) else {
            if later.owed.len() < MAX_WAITING {
                later.owed.push(receipt);
            }
            return;
        };
        let (home, records, turn) = (self.home.clone(), self.records.clone(), later.turn.clone());
        let called = called.clone();
        later.waiting.spawn(async move {
            let Ok(_turn) = turn.acquire_owned().await else { return };
            let judged = judge_with(&home, &local, &called).await;
            let kept = judged.and_then(|judgement| keep(&home, &records, &called, judgement));
            if let Err(error) = kept {
                tracing::warn!(receipt = %called.receipt.id(), %error, "an answer could not be replayed");
            }
        });
    }

    /// Signs a verdict of one's own and keeps it.
    pub(super) fn sign_verdict(&self, called: &Called, judgement: Judgement) -> Result<(), CallError> {
        sign(&self.home, called, judgement)
    }
}

/// Waits a little for the replays that are under way, and does those that are owed and can be done.
pub(super) async fn settle(
    home: &Arc<Home>,
    records: &Records,
    later: &Mutex<Later>,
) -> Result<(), StoreError> {
    let until = Instant::now() + SETTLING;
    let (mut waiting, owed, turn) = {
        let mut later = later.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut later.waiting), std::mem::take(&mut later.owed), later.turn.clone())
    };
    let ended = tokio::time::timeout(SETTLING, async { while waiting.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        // No other begins. The one under way is seen through: its thread goes on in any case, and is waited for.
        turn.close();
        while waiting.join_next().await.is_some() {}
    }
    for receipt in owed {
        if Instant::now() >= until {
            break;
        }
        let home = home.clone();
        let paid = tokio::task::spawn_blocking(move || pay(&home, &receipt)).await;
        if let Ok(Err(error)) = paid {
            tracing::debug!(%receipt, %error, "an owed replay is not possible yet");
        }
    }
    records.flush()
}

fn sign(home: &Home, called: &Called, judgement: Judgement) -> Result<(), CallError> {
    let profile = home.sandbox()?.profile_id();
    let verdict = actum_trust::verdict(&called.receipt, judgement, home.did(), profile, clock::now_secs());
    let verdict = Signed::sign(verdict, home.key()?);
    home.store().put_verdict(&verdict)?;
    Ok(balances::judged(home, verdict.payload())?)
}

fn keep(home: &Home, records: &Records, called: &Called, judgement: Judgement) -> Result<(), CallError> {
    let receipt = called.receipt.payload();
    if let Judgement::Diverged(_) = judgement {
        tracing::warn!(provider = %receipt.iss, receipt = %called.receipt.id(), "{judgement}");
        sign(home, called, judgement.clone())?;
    }
    let what = records::experience(&judgement);
    records.note(receipt.iss, receipt.action.component, what, Some(called.receipt.id()))?;
    Ok(home.store().replay_paid(&called.receipt.id())?)
}

/// Does a replay that is owed, from what this home has. One that is not possible stays owed: so does one whose receipt is
/// not here, for it may be on its way to the disk.
pub(crate) fn pay(home: &Home, receipt: &ReceiptId) -> Result<(), audit::AuditError> {
    audit::replay(home, &receipt.to_string(), ReplayOptions::default())?;
    Ok(home.store().replay_paid(receipt)?)
}
