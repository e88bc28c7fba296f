//! One long-lived stream to a peer, carrying requests both ways.
//!
//! Whoever asks writes to the stream directly, without waking the session's task; the task reads, runs the handler's
//! futures, and writes what did not fit. Nothing here stops reading: what exceeds a limit is refused or ends the session,
//! so two peers can never wait for each other.

mod core;
mod driver;
pub mod frame;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod memory;

use self::core::{Came, Core, Reply};
use crate::{
    BoxFuture, CloseReason, Event, Limits, Request, RequestError, RequestKind, Response, traffic::Counters,
};
use actum_model::{Did, codec};
pub(crate) use driver::Driver;
use libp2p::Stream;
pub(crate) use memory::Budget;
use std::{
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Answers what peers ask.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request.
    ///
    /// `peer` is authenticated by the transport's handshake. The future is polled on the session's task, so that a short
    /// answer costs no detour: it must not block, and work of more than about a millisecond belongs on a thread or task
    /// of its own. It is dropped when the peer cancels or the session ends; [`SessionHandle::closed`] tells which: it says
    /// nothing while the peer is still there. A panic in it becomes `internal`.
    fn handle(
        &self,
        peer: Did,
        request: Request,
        session: SessionHandle,
        progress: ProgressSender,
    ) -> BoxFuture<'static, Response>;
}

struct Inner {
    core: Core,
    stream: Option<Stream>,
    /// Frames taken from the core and not yet taken by the stream, from `out_at` on.
    out: Vec<u8>,
    out_at: usize,
    needs_flush: bool,
    bytes_written: u64,
    /// How often there was nothing left to write.
    emptied: u64,
    /// Wakes the session's task.
    waker: Option<Waker>,
    /// Why the session is over.
    closed: Option<CloseReason>,
    /// Close once all is written, and what the peer asked for before is answered or has taken so long.
    draining: Option<Duration>,
    /// What the peer broke, found elsewhere than on the session's task.
    broken: Option<String>,
}

impl Inner {
    /// Gives the stream what it takes. Pending when it takes no more for now; `cx` is woken when it does.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        use futures::AsyncWrite;
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(())) };
        loop {
            if self.out_at >= self.out.len() {
                self.out.clear();
                self.out_at = 0;
                self.core.fill(&mut self.out);
            }
            let unsent = self.out.get(self.out_at..).unwrap_or_default();
            if unsent.is_empty() {
                self.emptied = self.emptied.wrapping_add(1);
                break;
            }
            match Pin::new(&mut *stream).poll_write(cx, unsent) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => {
                    self.out_at = self.out_at.saturating_add(n);
                    self.bytes_written = self.bytes_written.wrapping_add(n as u64);
                    self.needs_flush = true;
                }
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if self.needs_flush {
            match Pin::new(stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.needs_flush = false,
                other => return other,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes from outside the session's task, on its behalf: what is left over wakes the task, not the caller.
    fn write_now(&mut self) {
        let Some(waker) = self.waker.take() else { return };
        if matches!(self.poll_write(&mut Context::from_waker(&waker)), Poll::Ready(Err(_))) {
            // The task meets the error itself.
            waker.wake_by_ref();
        }
        self.waker = Some(waker);
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

struct Shared {
    peer: Did,
    slots: Semaphore,
    inner: Mutex<Inner>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session with one peer: asks it things. Cheap to clone; keeping one does not keep the session open.
#[derive(Clone)]
pub struct SessionHandle(Arc<Shared>);

impl fmt::Debug for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionHandle(with {})", self.0.peer)
    }
}

impl SessionHandle {
    pub(crate) fn new(
        peer: Did,
        stream: Stream,
        limits: Limits,
        budget: Arc<Budget>,
        traffic: Arc<Counters>,
    ) -> Self {
        let account = budget.account(peer, limits.reassembly_session_bytes);
        let slots = limits.outbound_requests.get().min(crate::defaults::PROTOCOL_IN_FLIGHT);
        let inner = Inner {
            core: Core::new(limits, account, traffic),
            stream: Some(stream),
            out: Vec::new(),
            out_at: 0,
            needs_flush: true,
            bytes_written: 0,
            emptied: 0,
            waker: None,
            closed: None,
            draining: None,
            broken: None,
        };
        Self(Arc::new(Shared { peer, slots: Semaphore::new(slots), inner: Mutex::new(inner) }))
    }

    /// The peer at the other end.
    pub fn peer(&self) -> Did {
        self.0.peer
    }

    /// Why the session is over, if it is.
    pub fn closed(&self) -> Option<CloseReason> {
        self.0.lock().closed.clone()
    }

    /// Asks, and waits for the answer, at most `deadline`. Dropping the future tells the peer to stop.
    pub async fn request(&self, request: &Request, deadline: Duration) -> Result<Response, RequestError> {
        let mut sent = Sent { shared: &self.0, id: None, may_have_run: false };
        let answer = async {
            let _slot = self.0.slots.acquire().await;
            let reply = sent.send(request, None)?;
            let answer = reply.await;
            // Whatever the answer is, it was to the whole request.
            (sent.id, sent.may_have_run) = (None, true);
            self.read(request.kind(), answer.unwrap_or_else(|_| Err(lost(&self.0)))?).await
        };
        let answer = tokio::time::timeout(deadline, answer).await;
        answer.unwrap_or_else(|_| Err(sent.timed_out(deadline)))
    }

    /// The same, hearing how a call is coming along. `on_event` is called on the caller's task.
    pub async fn request_with_progress(
        &self,
        request: &Request,
        deadline: Duration,
        mut on_event: impl FnMut(Event),
    ) -> Result<Response, RequestError> {
        let mut sent = Sent { shared: &self.0, id: None, may_have_run: false };
        let answer = async {
            let _slot = self.0.slots.acquire().await;
            let (sender, mut events) = mpsc::channel(crate::defaults::EVENT_QUEUE);
            let mut reply = sent.send(request, Some(sender))?;
            let answer = loop {
                tokio::select! {
                    biased;
                    Some(event) = events.recv() => on_event(event),
                    answer = &mut reply => break answer,
                }
            };
            // Whatever the answer is, it was to the whole request.
            (sent.id, sent.may_have_run) = (None, true);
            self.read(request.kind(), answer.unwrap_or_else(|_| Err(lost(&self.0)))?).await
        };
        let answer = tokio::time::timeout(deadline, answer).await;
        answer.unwrap_or_else(|_| Err(sent.timed_out(deadline)))
    }

    /// An answer, read here where the session's task did not. One that is none ends the session.
    async fn read(&self, kind: RequestKind, came: Came) -> Result<Response, RequestError> {
        let partial = match came {
            Came::Read(response) => return Ok(*response),
            Came::Unread(partial) => partial,
        };
        let read = move || Response::decode(partial.bytes(), kind).map_err(|e| format!("an answer: {e}"));
        let read = tokio::task::spawn_blocking(read).await.unwrap_or_else(|e| Err(e.to_string()));
        read.map_err(|what| {
            let mut inner = self.0.lock();
            inner.broken = Some(what.clone());
            inner.wake();
            RequestError::LostWhileWaiting { reason: CloseReason::Violation(what) }
        })
    }

    /// Ends the session once what the peer has asked for is answered, or so much time is over, and what is written has been
    /// taken by the stream.
    pub(crate) fn drain(&self, answers: Duration) {
        let mut inner = self.0.lock();
        inner.draining = Some(answers);
        inner.wake();
    }
}

fn lost(shared: &Shared) -> RequestError {
    let reason = shared.lock().closed.clone();
    let reason = reason.unwrap_or_else(|| CloseReason::Lost("the session's task is gone".to_owned()));
    RequestError::LostWhileWaiting { reason }
}

/// A request on its way; dropped before its answer came, it is cancelled.
struct Sent<'a> {
    shared: &'a Arc<Shared>,
    id: Option<u32>,
    may_have_run: bool,
}

impl Sent<'_> {
    fn send(
        &mut self,
        request: &Request,
        events: Option<mpsc::Sender<Event>>,
    ) -> Result<oneshot::Receiver<Reply>, RequestError> {
        let kind = request.kind();
        let bytes = codec::encode(request);
        let limit = kind.max_request_bytes();
        if bytes.len() > limit {
            return Err(RequestError::TooLarge { actual: bytes.len(), limit });
        }
        let mut inner = self.shared.lock();
        if let Some(reason) = &inner.closed {
            return Err(RequestError::LostBeforeSending { reason: reason.clone() });
        }
        let Some((id, reply)) = inner.core.call(kind, bytes, events) else {
            inner.draining = Some(Duration::ZERO);
            inner.wake();
            let reason = CloseReason::Lost("the session has used up its request numbers".to_owned());
            return Err(RequestError::LostBeforeSending { reason });
        };
        self.id = Some(id);
        match inner.core.asking() > crate::defaults::ASKING_ALONE {
            true => inner.wake(),
            false => inner.write_now(),
        }
        Ok(reply)
    }

    fn cancel(&mut self) {
        if let Some(id) = self.id.take() {
            let mut inner = self.shared.lock();
            // Of what a session that is over had sent, nobody knows any more.
            self.may_have_run = inner.closed.is_some() || inner.core.cancel(id);
            if inner.closed.is_none() {
                inner.write_now();
            }
        }
    }

    fn timed_out(&mut self, after: Duration) -> RequestError {
        self.cancel();
        RequestError::TimedOut { after, may_have_run: self.may_have_run }
    }
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// Tells the asking peer how its request is coming along.
#[derive(Clone)]
pub struct ProgressSender {
    shared: Arc<Shared>,
    id: u32,
}

impl ProgressSender {
    /// Sends an event. One that is still unsent is replaced; after the answer, events are dropped.
    pub fn send(&self, event: Event) {
        let bytes = codec::encode(&event);
        let mut inner = self.shared.lock();
        inner.core.event(self.id, bytes);
        inner.write_now();
    }
}

impl fmt::Debug for ProgressSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProgressSender(to {}, request {})", self.shared.peer, self.id)
    }
}
