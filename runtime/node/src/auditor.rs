//! The replays that this home owes, done by its node while nothing else runs.

use crate::{audit::AuditError, clock, home::Home, requester};
use actum_model::ReceiptId;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// How often it is looked whether a replay is owed and the node is idle.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How many owed replays are looked at beyond those that are left alone, the oldest first, for one that can be done.
const LOOKED_AT: usize = 64;
/// The most that are left alone; then nothing more is tried until some of them are again.
const MAX_LEFT_ALONE: usize = 10_000;
/// How long one that could not be done is left alone, in seconds: its component may come.
const LEFT_ALONE: u64 = 3_600;

/// Does what is owed for as long as the node runs: one at a time, and nothing while an action runs or waits.
pub(crate) async fn run(home: Arc<Home>, running: impl Fn() -> u32 + Send) {
    let mut impossible: BTreeMap<ReceiptId, u64> = BTreeMap::new();
    // Those whose receipt was not here: not yet on the disk, or gone.
    let mut missed: BTreeSet<ReceiptId> = BTreeSet::new();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = clock::now_secs();
        impossible.retain(|_, since| now.saturating_sub(*since) < LEFT_ALONE);
        while running() == 0 && impossible.len() < MAX_LEFT_ALONE {
            let (reader, left_alone) = (home.clone(), impossible.clone());
            let next = move || {
                let owed = reader.store().owed_replays(LOOKED_AT.saturating_add(left_alone.len()))?;
                Ok::<_, actum_store::StoreError>(owed.into_iter().find(|id| !left_alone.contains_key(id)))
            };
            let Ok(Ok(Some(receipt))) = tokio::task::spawn_blocking(next).await else { break };
            let (payer, gone) = (home.clone(), missed.contains(&receipt));
            let pay = move || match requester::pay(&payer, &receipt) {
                // There is nothing to replay.
                Err(AuditError::NotFound { .. }) if gone => {
                    payer.store().replay_paid(&receipt).map_err(AuditError::from)
                }
                paid => paid,
            };
            let why = match tokio::task::spawn_blocking(pay).await {
                Ok(Ok(())) => {
                    missed.remove(&receipt);
                    continue;
                }
                Ok(Err(error)) => {
                    if matches!(error, AuditError::NotFound { .. }) && missed.len() < MAX_LEFT_ALONE {
                        missed.insert(receipt);
                    }
                    error.to_string()
                }
                Err(error) => error.to_string(),
            };
            tracing::debug!(%receipt, why, "an owed replay is not possible now");
            impossible.insert(receipt, clock::now_secs());
        }
    }
}
