//! Giving proofs to whoever asks, and telling peers that there are some.

use super::own::last_made;
use crate::{clock, home::Home};
use actum_model::{Did, ReceiptId};
use actum_overlay::{Overlay, Refusal, RefusalCode, Request, Response};
use actum_store::ProofRecord;
use futures::StreamExt;
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::sync::Semaphore;

/// How many proofs this process reads at once, for all peers together: 4 are 32 MiB.
const READS: usize = 4;
/// How long a peer may take to hear an accusation.
const HEARD_IN: Duration = Duration::from_secs(10);
/// The most peers told of one proof at once.
const TOLD_AT_ONCE: usize = 64;
/// How long a command that leaves stays for peers that want a proof, at most.
const STAYS: Duration = Duration::from_secs(5);
/// How long nobody must have asked for anything, in milliseconds, for it to leave before that.
const QUIET_MS: u64 = 500;
/// How often it looks.
const LOOK: Duration = Duration::from_millis(50);

static TURNS: Semaphore = Semaphore::const_new(READS);

/// How many proofs this process gave, and when a peer last asked for a proof or what it needs, in milliseconds since the Unix
/// epoch.
static GIVEN: AtomicU64 = AtomicU64::new(0);
static TOUCHED: AtomicU64 = AtomicU64::new(0);

/// Notes that a peer asked for something that a proof may need.
pub(crate) fn touched() {
    TOUCHED.store(clock::now_millis(), Relaxed);
}

/// Gives the proof about a receipt, where there is one here.
pub(crate) async fn give(home: Arc<Home>, receipt: ReceiptId) -> Result<Response, Refusal> {
    let internal = |e: String| Refusal::new(RefusalCode::Internal, e);
    let turn = TURNS.acquire().await.map_err(|e| internal(e.to_string()))?;
    let read = move || {
        let _turn = turn;
        home.store().proof_bytes(&receipt)
    };
    let read = tokio::task::spawn_blocking(read).await.map_err(|e| internal(e.to_string()))?;
    match read.map_err(|e| internal(e.to_string()))? {
        Some(car) => {
            GIVEN.fetch_add(1, Relaxed);
            touched();
            Ok(Response::Proof { car })
        }
        None => {
            Err(Refusal::new(RefusalCode::NotOffered, format!("no proof about receipt {receipt} is here")))
        }
    }
}

/// Tells peers that there is a proof; says how many want it. Whose lie it proves is not told.
pub(crate) async fn accuse(
    overlay: &Overlay,
    peers: impl IntoIterator<Item = Did>,
    proof: &ProofRecord,
) -> u64 {
    let Ok(bytes) = u32::try_from(proof.bytes) else { return 0 };
    let peers: BTreeSet<Did> = peers.into_iter().filter(|peer| *peer != proof.provider).collect();
    let request = Request::Accuse { receipt: proof.receipt, provider: proof.provider, bytes };
    let told = futures::stream::iter(peers).map(|peer| {
        let request = &request;
        async move {
            match overlay.request(&peer, request, HEARD_IN).await {
                Ok(Response::Heard { wanted }) => wanted,
                Ok(Response::Refused { refusal }) => {
                    tracing::debug!(%peer, %refusal, "a peer does not hear of a proof");
                    false
                }
                Ok(_) => false,
                Err(error) => {
                    tracing::debug!(%peer, %error, "a peer was not told of a proof");
                    false
                }
            }
        }
    });
    let told = told.buffer_unordered(TOLD_AT_ONCE);
    told.fold(0_u64, |wanted, one| std::future::ready(wanted.saturating_add(u64::from(one)))).await
}

/// For a command that is about to leave the network: makes proofs of the lies that were found last, tells these peers, and
/// stays a moment for those that want them. Costs next to nothing where there were none.
pub(crate) async fn push(home: &Arc<Home>, overlay: &Overlay, peers: &[Did]) {
    let here = home.clone();
    let made = tokio::task::spawn_blocking(move || last_made(&here)).await;
    let made = match made {
        Ok(Ok(made)) => made,
        Ok(Err(error)) => return tracing::warn!(%error, "proofs of lies could not be made"),
        Err(error) => return tracing::warn!(%error, "proofs of lies could not be made"),
    };
    let given = GIVEN.load(Relaxed);
    let mut wanted = 0_u64;
    for proof in &made {
        let connected = overlay.peers().into_iter().map(|peer| peer.did);
        wanted = wanted.saturating_add(accuse(overlay, peers.iter().copied().chain(connected), proof).await);
    }
    if wanted == 0 {
        return;
    }
    touched();
    let served = async {
        loop {
            tokio::time::sleep(LOOK).await;
            let quiet = clock::now_millis().saturating_sub(TOUCHED.load(Relaxed)) >= QUIET_MS;
            if quiet && GIVEN.load(Relaxed).saturating_sub(given) >= wanted {
                break;
            }
        }
    };
    if tokio::time::timeout(STAYS, served).await.is_err() {
        tracing::debug!(wanted, "not every peer came for the proof that it wanted");
    }
}
