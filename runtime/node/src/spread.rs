//! Passing notices on: what this node heard or was told by its owner reaches every peer it has a session with, and what a
//! bootstrap peer keeps reaches this node when they meet.

use crate::{
    authority::{ASKING, Gate},
    clock,
};
use actum_model::Did;
use actum_overlay::{Notice, Overlay, Place, Refusal, RefusalCode, Request, Response};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;

/// How long a peer may take over one message of notices.
const DEADLINE: Duration = Duration::from_secs(10);
/// How often a node looks whether its owner has written a notice from another process.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often the ledger is tidied.
const TIDY_EVERY: Duration = Duration::from_secs(5);
/// The most messages of notices exchanged with one peer at a time, each way: 64 of 64 notices. The rest follows the next time.
const MAX_MESSAGES: usize = 64;
/// The most peers told one message at once.
const TOLD_AT_ONCE: usize = 64;
/// The most messages being passed on at once.
const PASSED_AT_ONCE: usize = 16;
/// The most peers of which is remembered how far they and we have read; then all is exchanged anew.
const MAX_PEERS: usize = 1_024;

/// Spreads one node's notices.
pub(crate) struct Spread {
    gate: Arc<Gate>,
    news: tokio::sync::Notify,
    read: Mutex<BTreeMap<Did, Read>>,
}

#[derive(Clone, Copy, Default)]
struct Read {
    theirs: Place,
    ours: Place,
}

impl Spread {
    pub(crate) fn new(gate: Arc<Gate>) -> Self {
        Self { gate, news: tokio::sync::Notify::new(), read: Mutex::default() }
    }

    /// Takes notices that a peer sent unasked.
    pub(crate) async fn hear(self: &Arc<Self>, from: Did, notices: Vec<Notice>) -> Result<Response, Refusal> {
        self.gate.meter(&from, notices.len())?;
        let (news, refused) = self.take(notices).await;
        Ok(Response::Notified { news, refused })
    }

    async fn take(self: &Arc<Self>, notices: Vec<Notice>) -> (u32, Vec<String>) {
        let spread = self.clone();
        let heard = move || spread.gate.hear(notices, clock::now_secs());
        // It does not panic and is not aborted.
        let (news, refused) = tokio::task::spawn_blocking(heard).await.unwrap_or_default();
        if news > 0 {
            self.news.notify_one();
        }
        (news, refused)
    }

    async fn tell(self: &Arc<Self>, after: Place) -> Result<(Vec<Notice>, Place), String> {
        let spread = self.clone();
        let told = tokio::task::spawn_blocking(move || spread.gate.tell(after)).await;
        told.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
    }

    /// Answers a peer's request for notices.
    pub(crate) async fn answer(self: &Arc<Self>, peer: Did, after: Place) -> Result<Response, Refusal> {
        self.gate.meter(&peer, ASKING)?;
        let told = self.tell(after).await.map_err(|e| Refusal::new(RefusalCode::Internal, e))?;
        let (notices, next) = told;
        Ok(Response::Notices { notices, next })
    }

    /// Hears what a peer keeps, and tells it what is kept here, since the last time. How far that came is remembered message
    /// by message.
    pub(crate) async fn exchange(self: &Arc<Self>, overlay: &Overlay, peer: Did) -> Result<(), String> {
        let mut read = self.reading().get(&peer).copied().unwrap_or_default();
        for _ in 0..MAX_MESSAGES {
            let answer = overlay.request(&peer, &Request::Notices { after: read.theirs }, DEADLINE).await;
            let (notices, next) = match answer.map_err(|e| e.to_string())? {
                Response::Notices { notices, next } => (notices, next),
                Response::Refused { refusal } => return Err(refusal.to_string()),
                _ => return Err("it answered something else than its notices".to_owned()),
            };
            if next == read.theirs || notices.is_empty() {
                break;
            }
            let (_, refused) = self.take(notices).await;
            if let Some(why) = refused.first() {
                tracing::debug!(%peer, why, "notices were left out");
            }
            read.theirs = next;
            self.came_so_far(peer, read);
        }
        for _ in 0..MAX_MESSAGES {
            let (notices, next) = self.tell(read.ours).await?;
            if notices.is_empty() {
                break;
            }
            let answer = overlay.request(&peer, &Request::Notify { notices }, DEADLINE).await;
            match answer.map_err(|e| e.to_string())? {
                Response::Notified { .. } => {}
                // Not taken: told again the next time.
                Response::Refused { refusal } => return Err(refusal.to_string()),
                _ => return Err("it answered something else".to_owned()),
            }
            read.ours = next;
            self.came_so_far(peer, read);
        }
        Ok(())
    }

    fn came_so_far(&self, peer: Did, read: Read) {
        let mut all = self.reading();
        if all.len() >= MAX_PEERS && !all.contains_key(&peer) {
            all.clear();
        }
        all.insert(peer, read);
    }

    fn reading(&self) -> std::sync::MutexGuard<'_, BTreeMap<Did, Read>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells every connected peer what is news here, for as long as the node runs.
    pub(crate) async fn run(self: Arc<Self>, overlay: Overlay) {
        let mut told = Place::default();
        // What is known at the start, peers are told when they are met.
        while let Ok((notices, next)) = self.tell(told).await {
            told = next;
            if notices.is_empty() {
                break;
            }
        }
        let passing = Arc::new(Semaphore::new(PASSED_AT_ONCE));
        let mut tidied = Instant::now();
        loop {
            tokio::select! {
                () = self.news.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => { self.gate.refresh(); }
            }
            if tidied.elapsed() >= TIDY_EVERY {
                let gate = self.gate.clone();
                let _ = tokio::task::spawn_blocking(move || gate.tidy(clock::now_secs())).await;
                tidied = Instant::now();
            }
            for _ in 0..MAX_MESSAGES {
                let (notices, next) = match self.tell(told).await {
                    Ok(more) => more,
                    Err(error) => {
                        tracing::error!(error, "notices cannot be read");
                        break;
                    }
                };
                if notices.is_empty() {
                    break;
                }
                told = next;
                // Peers that are slow keep nobody waiting; whoever misses this hears it when they meet us again.
                match passing.clone().try_acquire_owned() {
                    Ok(place) => {
                        let overlay = overlay.clone();
                        tokio::spawn(async move {
                            pass_on(&overlay, notices).await;
                            drop(place);
                        });
                    }
                    Err(_) => tracing::warn!("peers are slow to take notices; some are not told now"),
                }
            }
        }
    }
}

/// Sends notices to every connected peer. One that cannot take them hears of them when it asks.
async fn pass_on(overlay: &Overlay, notices: Vec<Notice>) {
    use futures::StreamExt;
    let peers: BTreeSet<Did> = overlay.peers().into_iter().map(|peer| peer.did).collect();
    let request = Request::Notify { notices };
    let sent = futures::stream::iter(peers).for_each_concurrent(TOLD_AT_ONCE, |peer| {
        let request = &request;
        async move {
            if let Err(error) = overlay.request(&peer, request, DEADLINE).await {
                tracing::debug!(%peer, %error, "a peer was not told");
            }
        }
    });
    sent.await;
}
