//! The replays that this home owes, done by its node while nothing else runs.

use crate::{clock, home::Home, requester};
use actum_model::ReceiptId;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// How often it is looked whether a replay is owed and the node is idle.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How many owed replays are looked at, the oldest first, for one that can be done.
const LOOKED_AT: usize = 64;
/// How long one that could not be done is left alone, in seconds: its component may come.
const LEFT_ALONE: u64 = 3_600;

/// Does what is owed for as long as the node runs: one at a time, and nothing while an action runs or waits.
pub(crate) async fn run(home: Arc<Home>, running: impl Fn() -> u32 + Send) {
    let mut impossible: BTreeMap<ReceiptId, u64> = BTreeMap::new();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = clock::now_secs();
        impossible.retain(|_, since| now.saturating_sub(*since) < LEFT_ALONE);
        while running() == 0 {
            let (reader, left_alone) = (home.clone(), impossible.clone());
            let next = move || {
                let owed = reader.store().owed_replays(LOOKED_AT)?;
                Ok::<_, actum_store::StoreError>(owed.into_iter().find(|id| !left_alone.contains_key(id)))
            };
            let Ok(Ok(Some(receipt))) = tokio::task::spawn_blocking(next).await else { break };
            let home = home.clone();
            let paid = tokio::task::spawn_blocking(move || requester::pay(&home, &receipt)).await;
            if let Ok(Err(error)) = paid {
                tracing::debug!(%receipt, %error, "an owed replay is not possible now");
                impossible.insert(receipt, now);
            }
        }
    }
}
