//! A running node's part: hears accusations, has what is worth it judged, one at a time, and passes on what it has proven
//! itself.

mod look;

use super::{
    bounds::{ASKING, Bounds},
    own::Own,
    queue::{Added, Queue, Waiting},
    serve::{accuse, give},
};
use crate::{clock, events::NodeEvent, home::Home};
use actum_model::{Did, ReceiptId, fraud::MAX_SPREAD_BYTES};
use actum_overlay::{Accusation, MAX_ACCUSATIONS, Overlay, Refusal, RefusalCode, Request, Response};
use actum_store::{Offence, ProofRecord, StoreError};
use futures::{StreamExt, stream::FuturesUnordered};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::{Notify, Semaphore, broadcast};

/// How often a node looks whether this home has found a lie, in this process or another, or proven one.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often the peers it joined the network by are asked for what they have proven.
const ASK_EVERY: Duration = Duration::from_secs(300);
/// How often it looks whether what waits is due.
const DUE_EVERY: Duration = Duration::from_secs(1);
/// How many accusations are looked at at once, each of another sender: most of it is waiting for peers, and one that is slow
/// keeps nobody from being heard. Only one is judged at a time.
const LOOKED_AT_ONCE: usize = 8;
/// How long a peer may take over a message of accusations.
const MESSAGE_IN: Duration = Duration::from_secs(10);
/// How long the accusations of a peer that sent a wrong proof are not heard, in seconds: a day.
const IGNORED_SECONDS: u64 = 86_400;
/// The most proofs being passed on at once.
const PASSED_AT_ONCE: usize = 4;
/// The most messages of accusations asked of one peer at a time: 16 of 64 accusations. The rest follows the next time.
const MAX_MESSAGES: usize = 16;
/// The most proofs told one peer when it is met.
const TOLD_WHEN_MET: usize = 32;
/// The most peers of which is remembered how far they and we have read; then all is exchanged anew.
const MAX_PEERS: usize = 1_024;
/// The most peers asked again and again: those joined by come first.
const MAX_MET: usize = 64;
/// The most accusations laid aside, of providers that matter little here until they matter, and of receipts that others have
/// accused until these were looked at: 1,024 at some 200 bytes. Then the oldest make room.
const MAX_ASIDE: usize = 1_024;
/// The most laid aside of one sender.
const MAX_ASIDE_OF_ONE: usize = 128;
/// How often it is looked whether they matter by now.
const ASIDE_EVERY: Duration = Duration::from_secs(15);

/// One node's accusations, heard and made.
pub(crate) struct Accusing {
    home: Arc<Home>,
    events: broadcast::Sender<NodeEvent>,
    began: Instant,
    state: Mutex<State>,
    /// Something was proven.
    proven: Notify,
    /// Something waits to be judged.
    waits: Notify,
    /// One judges at a time.
    turn: Semaphore,
}

#[derive(Default)]
struct State {
    bounds: Bounds,
    queue: Queue,
    read: BTreeMap<Did, Read>,
    met: Vec<Did>,
    aside: VecDeque<(Did, Accusation)>,
}

impl State {
    fn lay_aside(&mut self, from: Did, said: Accusation) {
        let mut of_one = self.aside.iter().filter(|(did, _)| *did == from);
        // The same by another's word is not the same: that one may not give what it promises.
        if of_one.clone().count() >= MAX_ASIDE_OF_ONE
            || of_one.any(|(_, other)| other.receipt == said.receipt)
        {
            return;
        }
        if self.aside.len() >= MAX_ASIDE {
            self.aside.pop_front();
        }
        self.aside.push_back((from, said));
    }
}

#[derive(Clone, Copy, Default)]
struct Read {
    theirs: u64,
    ours: u64,
}

/// What the store says of an accusation and of who makes it.
struct Known {
    provider: bool,
    sender: bool,
}

impl Accusing {
    pub(crate) fn new(home: Arc<Home>, events: broadcast::Sender<NodeEvent>) -> Self {
        Self {
            home,
            events,
            began: Instant::now(),
            state: Mutex::default(),
            proven: Notify::new(),
            waits: Notify::new(),
            turn: Semaphore::new(1),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at(&self) -> Duration {
        self.began.elapsed()
    }

    /// Runs what waits for a disk, or computes for long, where waiting is allowed.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Home) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let home = self.home.clone();
        tokio::task::spawn_blocking(move || work(&home)).await.map_err(|e| e.to_string())?
    }

    /// Counts what a peer asks for unasked; refuses what is too much.
    fn meter(&self, peer: &Did, amount: u64) -> Result<(), Refusal> {
        if self.state().bounds.messages.take(peer, true, amount, self.at()) {
            return Ok(());
        }
        let refusal =
            Refusal::new(RefusalCode::Busy, "too many accusations, or requests for proofs, in a minute");
        Err(refusal.retry_after_ms(60_000))
    }

    /// Hears that a peer has a proof.
    pub(crate) async fn hear(&self, from: Did, said: Accusation) -> Result<Response, Refusal> {
        self.meter(&from, 1)?;
        let added = self.consider(from, said).await.map_err(|e| Refusal::new(RefusalCode::Internal, e))?;
        Ok(Response::Heard { wanted: added == Some(Added::Queued) })
    }

    /// Gives a proof.
    pub(crate) async fn give(&self, peer: Did, receipt: ReceiptId) -> Result<Response, Refusal> {
        self.meter(&peer, ASKING)?;
        give(self.home.clone(), receipt).await
    }

    /// Says of whom there are proofs here.
    pub(crate) async fn answer(&self, peer: Did, after: u64) -> Result<Response, Refusal> {
        self.meter(&peer, ASKING)?;
        let proofs = self.after(after, MAX_ACCUSATIONS).await;
        let proofs = proofs.map_err(|e| Refusal::new(RefusalCode::Internal, e))?;
        let next = proofs.last().map_or(after, |proof| proof.place);
        let accusation = |proof: ProofRecord| {
            let bytes = u32::try_from(proof.bytes).ok()?;
            Some(Accusation { receipt: proof.receipt, provider: proof.provider, bytes })
        };
        Ok(Response::Accusations { list: proofs.into_iter().filter_map(accusation).collect(), next })
    }

    async fn after(&self, place: u64, limit: usize) -> Result<Vec<ProofRecord>, String> {
        self.blocking(move |home| home.store().proofs_after(place, limit).map_err(|e| e.to_string())).await
    }

    /// Has an accusation wait to be judged, where it is wanted; none where it is not.
    async fn consider(&self, from: Did, said: Accusation) -> Result<Option<Added>, String> {
        let Accusation { receipt, provider, bytes } = said;
        // What is said of this node itself, it knows better; it is for others to judge.
        if usize::try_from(bytes).is_ok_and(|bytes| bytes > MAX_SPREAD_BYTES) || provider == self.home.did() {
            return Ok(None);
        }
        let known = self.blocking(move |home| wanted(home, &from, &receipt, &provider)).await?;
        let Some(known) = known else { return Ok(None) };
        let mut state = self.state();
        let at = self.at();
        let State { bounds, queue, .. } = &mut *state;
        if !known.provider && !queue.has(&receipt, &provider) && !bounds.strangers.take(&from, true, 1, at) {
            state.lay_aside(from, Accusation { receipt, provider, bytes });
            return Ok(None);
        }
        let added = queue.add(receipt, provider, from, known.sender);
        if added == Added::Later {
            state.lay_aside(from, Accusation { receipt, provider, bytes });
        }
        drop(state);
        if added == Added::Queued {
            self.waits.notify_one();
        }
        Ok(Some(added))
    }

    /// Hears what a peer has proven, and tells it what is proven here, since the last time.
    pub(crate) async fn exchange(&self, overlay: &Overlay, peer: Did) -> Result<(), String> {
        let mut read = {
            let mut state = self.state();
            if !state.met.contains(&peer) && state.met.len() < MAX_MET {
                state.met.push(peer);
            }
            state.read.get(&peer).copied().unwrap_or_default()
        };
        'messages: for _ in 0..MAX_MESSAGES {
            let request = Request::Accusations { after: read.theirs };
            let answer = overlay.request(&peer, &request, MESSAGE_IN).await;
            let (list, next) = match answer.map_err(|e| e.to_string())? {
                Response::Accusations { list, next } => (list, next),
                Response::Refused { refusal } => return Err(refusal.to_string()),
                _ => return Err("it answered something else than accusations".to_owned()),
            };
            if next <= read.theirs || list.is_empty() {
                break;
            }
            for said in list {
                // Where there is no room, it is heard again from here the next time.
                if self.consider(peer, said).await? == Some(Added::Full) {
                    break 'messages;
                }
            }
            read.theirs = next;
            self.came_so_far(peer, read);
        }
        for proof in self.after(read.ours, TOLD_WHEN_MET).await? {
            accuse(overlay, [peer], &proof).await;
            read.ours = proof.place;
            self.came_so_far(peer, read);
        }
        Ok(())
    }

    fn came_so_far(&self, peer: Did, read: Read) {
        let mut state = self.state();
        if state.read.len() >= MAX_PEERS && !state.read.contains_key(&peer) {
            state.read.clear();
        }
        state.read.insert(peer, read);
    }

    /// Judges, tells and asks, for as long as the node runs.
    pub(crate) async fn run(self: Arc<Self>, overlay: Overlay) {
        tokio::join!(
            self.judge_all(&overlay),
            self.tell_all(&overlay),
            self.ask_all(&overlay),
            self.take_up_all()
        );
    }

    /// Looks now and then whether what was laid aside matters by now: its provider was met, or there is time, or those who
    /// accused before did not give the proof.
    async fn take_up_all(&self) {
        loop {
            tokio::time::sleep(ASIDE_EVERY).await;
            let aside = std::mem::take(&mut self.state().aside);
            for (from, said) in aside {
                match self.consider(from, said.clone()).await {
                    Ok(Some(Added::Full)) => self.state().lay_aside(from, said),
                    Ok(_) => {}
                    Err(error) => tracing::error!(error, "an accusation laid aside could not be looked at"),
                }
            }
        }
    }

    async fn ask_all(&self, overlay: &Overlay) {
        loop {
            tokio::time::sleep(ASK_EVERY).await;
            let met = self.state().met.clone();
            for peer in met {
                if overlay.session_with(&peer).is_none() {
                    continue;
                }
                if let Err(why) = self.exchange(overlay, peer).await {
                    tracing::debug!(%peer, why, "accusations were not exchanged to the end");
                }
            }
        }
    }

    /// Makes proofs of what this home has found, and tells every connected peer what is proven here.
    async fn tell_all(&self, overlay: &Overlay) {
        let (mut told, mut own) = (0, Own::default());
        // What is proven at the start, peers hear when they are met.
        while let Ok(proofs) = self.after(told, MAX_ACCUSATIONS).await {
            match proofs.last() {
                Some(last) => told = last.place,
                None => break,
            }
        }
        let passing = Arc::new(Semaphore::new(PASSED_AT_ONCE));
        loop {
            tokio::select! {
                () = self.proven.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            match self.blocking(move |home| Ok(own.look(home))).await {
                Ok(looked) => own = looked,
                Err(error) => {
                    tracing::error!(error, "lies that this home found could not be looked for");
                    own = Own::default();
                }
            }
            let proofs = match self.after(told, MAX_ACCUSATIONS).await {
                Ok(proofs) => proofs,
                Err(error) => {
                    tracing::error!(error, "proofs cannot be read");
                    continue;
                }
            };
            for proof in proofs {
                // Peers that are slow keep nobody waiting for long: what is not told now is told in a moment.
                let Ok(place) = passing.clone().try_acquire_owned() else { break };
                told = proof.place;
                let overlay = overlay.clone();
                tokio::spawn(async move {
                    let peers: Vec<Did> = overlay.peers().into_iter().map(|peer| peer.did).collect();
                    accuse(&overlay, peers, &proof).await;
                    drop(place);
                });
            }
        }
    }

    /// Looks at what waits.
    async fn judge_all(&self, overlay: &Overlay) {
        let mut looking = FuturesUnordered::new();
        loop {
            while looking.len() < LOOKED_AT_ONCE {
                let next = self.state().queue.next(self.at());
                let Some(waiting) = next else { break };
                looking.push(self.see_to(overlay, waiting));
            }
            tokio::select! {
                Some(()) = looking.next(), if !looking.is_empty() => {}
                () = self.waits.notified() => {}
                () = tokio::time::sleep(DUE_EVERY) => {}
            }
        }
    }

    async fn see_to(&self, overlay: &Overlay, waiting: Waiting) {
        let receipt = waiting.receipt;
        let outcome = self.look_at(overlay, &waiting).await;
        let (again, event) = self.settle(waiting, outcome).await;
        self.state().queue.done(&receipt, again);
        if let Some(event) = event {
            // Nobody listens where this fails.
            let _ = self.events.send(event);
        }
    }
}

/// Whether a proof that a peer says it has is wanted here: nothing is known of it or of its provider's lies yet, and the
/// peer was not caught with a wrong one lately.
fn wanted(home: &Home, from: &Did, receipt: &ReceiptId, provider: &Did) -> Result<Option<Known>, String> {
    let look = || -> Result<Option<Known>, StoreError> {
        let (store, now) = (home.store(), clock::now_secs());
        let caught = store.offences_of(from, now.saturating_sub(IGNORED_SECONDS))?;
        if caught.iter().any(|record| record.offence == Offence::WrongProof)
            || store.proof_of(receipt)?.is_some()
            || store.proven_liar(provider)?.is_some()
        {
            return Ok(None);
        }
        Ok(Some(Known { provider: store.deals_with(provider, now)?, sender: store.deals_with(from, now)? }))
    };
    look().map_err(|e| e.to_string())
}
