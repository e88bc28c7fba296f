//! Actions under way, by the invocation they answer: so that a requester whose session was lost finds its action again, and
//! none is ever run twice.
//!
//! An action goes on for [`LINGER`] after its requester's session was lost, unless the requester cancelled it; whoever
//! signed the invocation may come back on another session and wait for it there. It counts as under way until its receipt
//! is stored, so that between its end and the disk there is no moment in which nobody knows of it.
//!
//! Whoever is told that an invocation was never admitted may ask somebody else. So from then on it never is: a copy of it
//! that is still on its way on the lost connection is refused.

use crate::provider::CancelToken;
use actum_model::{Did, InvocationId};
use actum_overlay::{BoxFuture, Event, ProgressSender, Refusal, RefusalCode, Response, SessionHandle};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::sync::{Notify, watch};

/// How long an action goes on without anybody waiting for it: two minutes. Long enough for a requester that moves from one
/// network to another; it holds its place among the running all the while.
pub const LINGER: Duration = Duration::from_secs(120);
/// How often it is looked whether somebody waits.
const LOOK: Duration = Duration::from_secs(1);
/// For how long an invocation that was said never to be admitted is refused: a minute. By then the connection on which it
/// may still be under way is dead here: a peer that answers no ping is dropped after 35 seconds.
const RULED_OUT: Duration = Duration::from_secs(60);
/// The most invocations ruled out at once. Full: who asks is told to come again, and nothing is said.
const MAX_RULED_OUT: usize = 4_096;
/// The most of one peer.
const MAX_RULED_OUT_PER_PEER: usize = 256;

/// Actions under way, and invocations that never will be.
#[derive(Clone, Default)]
pub(crate) struct Flights(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    under_way: BTreeMap<InvocationId, Arc<Shared>>,
    ruled_out: BTreeSet<InvocationId>,
    by_age: VecDeque<(Instant, InvocationId, Did)>,
    per_peer: BTreeMap<Did, usize>,
}

/// How an action is coming along.
#[derive(Clone)]
enum News {
    /// The last event, where there was one.
    UnderWay(Option<Event>),
    /// It is over: its answer is in the store, or there is none and perhaps a refusal.
    Over(Option<Refusal>),
}

/// What those who wait for an action share with it.
struct Shared {
    cancel: CancelToken,
    news: watch::Sender<News>,
    /// Resumed requests that wait for it.
    waiting: AtomicU32,
    /// Somebody with a right to has cancelled it.
    cancelled: Notify,
}

/// An action under way, for as long as it lives.
pub(crate) struct Flight {
    flights: Flights,
    id: InvocationId,
    shared: Arc<Shared>,
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Flight").field(&self.id).finish()
    }
}

impl Flight {
    /// Ends it with a refusal, which those who wait are given too.
    fn refuse(self, refusal: Refusal) {
        self.shared.news.send_replace(News::Over(Some(refusal)));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.flights.lock().under_way.remove(&self.id);
        self.shared.news.send_if_modified(|news| {
            let over = matches!(news, News::Over(_));
            if !over {
                *news = News::Over(None);
            }
            !over
        });
    }
}

impl Flights {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An action begins; refused where its invocation is under way already or was ruled out.
    pub(crate) fn begin(&self, id: InvocationId, cancel: CancelToken) -> Result<Flight, Refusal> {
        let mut state = self.lock();
        state.forget_old();
        let again = |why| Err(Refusal::new(RefusalCode::AlreadyServed, why));
        if state.ruled_out.contains(&id) {
            return again("its requester was told that this invocation never ran here");
        }
        if state.under_way.contains_key(&id) {
            return again("this invocation is under way");
        }
        let (news, _) = watch::channel(News::UnderWay(None));
        let (waiting, cancelled) = (AtomicU32::new(0), Notify::new());
        let shared = Arc::new(Shared { cancel, news, waiting, cancelled });
        state.under_way.insert(id, shared.clone());
        Ok(Flight { flights: self.clone(), id, shared })
    }

    /// Waits for an action that is under way, as long as it takes; nothing where none is.
    ///
    /// Whoever waits counts as its requester: dropped while its session is open, which is a cancellation, it cancels the
    /// action, unless it said that it `leaves` the action to go on.
    pub(crate) async fn wait(
        &self,
        id: &InvocationId,
        leaves: bool,
        session: &SessionHandle,
        progress: &ProgressSender,
    ) -> Option<Result<(), Refusal>> {
        let shared = self.lock().under_way.get(id)?.clone();
        let mut news = shared.news.subscribe();
        shared.waiting.fetch_add(1, Ordering::Relaxed);
        let mut waiter = Waiter { shared, session, done: leaves };
        loop {
            let now = news.borrow_and_update().clone();
            match now {
                News::UnderWay(event) => event.into_iter().for_each(|event| progress.send(event)),
                News::Over(refusal) => {
                    waiter.done = true;
                    return Some(refusal.map_or(Ok(()), Err));
                }
            }
            // The sender lives as long as the action, and says that it is over before it goes.
            let _ = news.changed().await;
        }
    }

    /// From now on this invocation is not admitted. Says whether it is under way instead.
    pub(crate) fn rule_out(&self, id: InvocationId, peer: Did) -> Result<RuledOut, Refusal> {
        let mut state = self.lock();
        state.forget_old();
        if state.under_way.contains_key(&id) {
            return Ok(RuledOut::UnderWay);
        }
        if state.ruled_out.contains(&id) {
            return Ok(RuledOut::Done);
        }
        let of_peer = state.per_peer.get(&peer).copied().unwrap_or(0);
        if state.ruled_out.len() >= MAX_RULED_OUT || of_peer >= MAX_RULED_OUT_PER_PEER {
            let text = format!(
                "{MAX_RULED_OUT_PER_PEER} lost invocations of yours, or too many of all, were asked for"
            );
            return Err(Refusal::new(RefusalCode::Busy, text).retry_after_ms(1_000));
        }
        state.ruled_out.insert(id);
        state.by_age.push_back((Instant::now(), id, peer));
        *state.per_peer.entry(peer).or_default() += 1;
        Ok(RuledOut::Done)
    }
}

/// What became of ruling an invocation out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RuledOut {
    /// It is.
    Done,
    /// It cannot be any more: it is under way.
    UnderWay,
}

impl State {
    fn forget_old(&mut self) {
        while let Some((at, id, peer)) = self.by_age.front().copied()
            && at.elapsed() >= RULED_OUT
        {
            self.by_age.pop_front();
            self.ruled_out.remove(&id);
            if let Some(count) = self.per_peer.get_mut(&peer) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.per_peer.remove(&peer);
                }
            }
        }
    }
}

/// One who waits for somebody's action to end.
struct Waiter<'a> {
    shared: Arc<Shared>,
    session: &'a SessionHandle,
    /// To go without cancelling anything.
    done: bool,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
        if !self.done && self.session.closed().is_none() {
            self.shared.cancel.cancel();
            self.shared.cancelled.notify_one();
        }
    }
}

/// Where the work on a call leaves its flight for whoever outlives it.
#[derive(Default)]
pub(crate) struct Slot(Mutex<(Option<Flight>, Option<Arc<Shared>>)>);

impl Slot {
    fn lock(&self) -> MutexGuard<'_, (Option<Flight>, Option<Arc<Shared>>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The action has begun.
    pub(crate) fn put(&self, flight: Flight) {
        let shared = flight.shared.clone();
        *self.lock() = (Some(flight), Some(shared));
    }

    /// The action has ended with a receipt, with which the flight goes until that is stored.
    pub(crate) fn take(&self) -> Option<Flight> {
        self.lock().0.take()
    }

    /// The action has ended without.
    pub(crate) fn refuse(&self, refusal: &Refusal) {
        let flight = self.take();
        flight.into_iter().for_each(|flight| flight.refuse(refusal.clone()));
    }

    /// Tells the requester, and those who wait in its place.
    pub(crate) fn tell(&self, progress: &ProgressSender, event: Event) {
        progress.send(event);
        if let Some(shared) = &self.lock().1 {
            shared.news.send_replace(News::UnderWay(Some(event)));
        }
    }
}

/// The work on a call, which goes on elsewhere when the session it came by is lost. Dropped while the session is open, it
/// was cancelled, and ends.
pub(crate) struct Lingering {
    // Dropped before the slot: what the work holds is given back before its flight is over.
    work: Option<BoxFuture<'static, Response>>,
    session: SessionHandle,
    slot: Arc<Slot>,
}

impl Lingering {
    pub(crate) fn new(work: BoxFuture<'static, Response>, session: SessionHandle, slot: Arc<Slot>) -> Self {
        Self { work: Some(work), session, slot }
    }
}

impl Future for Lingering {
    type Output = Response;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        match &mut self.work {
            Some(work) => {
                let answer = work.as_mut().poll(cx);
                if answer.is_ready() {
                    self.work = None;
                }
                answer
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        let shared = self.slot.lock().1.clone();
        // Before it has begun, nothing is worth going on with; and a runtime that ends takes nothing on.
        if let (Some(shared), Ok(runtime)) = (shared, tokio::runtime::Handle::try_current())
            && self.session.closed().is_some()
        {
            runtime.spawn(linger(work, shared, self.slot.clone()));
        }
    }
}

/// Sees an action to its end that has lost its requester, as long as [`LINGER`] allows. Its answer is in the store then.
async fn linger(mut work: BoxFuture<'static, Response>, shared: Arc<Shared>, slot: Arc<Slot>) {
    let mut alone = Duration::ZERO;
    while alone < LINGER {
        tokio::select! {
            biased;
            _ = &mut work => return,
            () = shared.cancelled.notified() => break,
            () = tokio::time::sleep(LOOK) => {}
        }
        let waited_for = shared.waiting.load(Ordering::Relaxed) > 0;
        alone = if waited_for { Duration::ZERO } else { alone.saturating_add(LOOK) };
    }
    drop(work);
    slot.refuse(&Refusal::new(
        RefusalCode::Gone,
        "nobody waited for the action any more, and it was stopped",
    ));
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use actum_model::SecretKey;

    fn id(n: u32) -> InvocationId {
        InvocationId::of(&n.to_be_bytes())
    }

    fn did(n: u8) -> Did {
        SecretKey::from_seed(&[n; 32]).did()
    }

    fn begun(flights: &Flights, n: u32) -> (Arc<Slot>, Arc<Shared>) {
        let slot = Arc::new(Slot::default());
        slot.put(flights.begin(id(n), CancelToken::default()).unwrap());
        let shared = slot.lock().1.clone().unwrap();
        (slot, shared)
    }

    #[tokio::test(start_paused = true)]
    async fn an_action_nobody_waits_for_is_stopped_after_its_time_and_not_before() {
        let flights = Flights::default();
        let (slot, shared) = begun(&flights, 1);
        let began = tokio::time::Instant::now();
        shared.waiting.store(1, Ordering::Relaxed);
        let lingering = tokio::spawn(linger(Box::pin(std::future::pending()), shared.clone(), slot.clone()));
        tokio::time::sleep(LINGER * 3).await;
        assert!(!lingering.is_finished(), "somebody waits");
        shared.waiting.store(0, Ordering::Relaxed);
        lingering.await.unwrap();
        let alone = began.elapsed() - LINGER * 3;
        assert!(alone >= LINGER - LOOK && alone <= LINGER + LOOK, "{alone:?}");
        let news = shared.news.borrow().clone();
        assert!(matches!(news, News::Over(Some(refusal)) if refusal.code == RefusalCode::Gone));
        assert!(flights.lock().under_way.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_cancelled_from_another_session_ends_at_once() {
        let flights = Flights::default();
        let (slot, shared) = begun(&flights, 1);
        let began = tokio::time::Instant::now();
        let lingering = tokio::spawn(linger(Box::pin(std::future::pending()), shared.clone(), slot));
        shared.cancelled.notify_one();
        lingering.await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[test]
    fn an_invocation_is_either_under_way_or_ruled_out() {
        let flights = Flights::default();
        let (slot, _) = begun(&flights, 1);
        assert_eq!(flights.rule_out(id(1), did(1)).unwrap(), RuledOut::UnderWay);
        let again = flights.begin(id(1), CancelToken::default()).unwrap_err();
        assert_eq!(again.code, RefusalCode::AlreadyServed);
        drop(slot);
        assert_eq!(flights.rule_out(id(1), did(1)).unwrap(), RuledOut::Done);
        assert_eq!(flights.rule_out(id(1), did(1)).unwrap(), RuledOut::Done);
        let late = flights.begin(id(1), CancelToken::default()).unwrap_err();
        assert_eq!(late.code, RefusalCode::AlreadyServed);
    }

    #[test]
    fn nobody_is_told_that_something_never_ran_when_that_cannot_be_remembered() {
        let flights = Flights::default();
        for n in 0..MAX_RULED_OUT_PER_PEER as u32 {
            assert_eq!(flights.rule_out(id(n), did(1)).unwrap(), RuledOut::Done);
        }
        assert_eq!(flights.rule_out(id(9_999), did(1)).unwrap_err().code, RefusalCode::Busy);
        for n in 0..(MAX_RULED_OUT - MAX_RULED_OUT_PER_PEER) as u32 {
            let peer = did((2 + n / MAX_RULED_OUT_PER_PEER as u32) as u8);
            assert_eq!(flights.rule_out(id(100_000 + n), peer).unwrap(), RuledOut::Done);
        }
        assert_eq!(flights.rule_out(id(9_999), did(200)).unwrap_err().code, RefusalCode::Busy);
        // One that is ruled out already costs nothing.
        assert_eq!(flights.rule_out(id(0), did(1)).unwrap(), RuledOut::Done);
    }
}
