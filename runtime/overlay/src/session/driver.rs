//! The task behind a session: reads frames, runs the handler, writes answers, watches the clock.

use super::{
    Handler, Inner, ProgressSender, SessionHandle,
    core::{Incoming, goodbye},
    frame::{HEADER_BYTES, Header, PAYLOAD_BYTES},
    memory::Partial,
};
use crate::{CloseReason, Refusal, RefusalCode, Request, RequestKind, Response, Timeouts, defaults, wire};
use actum_model::codec;
use futures::{
    AsyncRead, AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt,
    future::{AbortRegistration, Abortable},
    stream::FuturesUnordered,
};
use libp2p::Stream;
use std::{
    future::poll_fn,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Interval, MissedTickBehavior, Sleep, interval, sleep};

/// The read buffer an idle session keeps, in bytes.
const SMALL_BUFFER: usize = 16 << 10;
/// The read buffer a large message grows it to, in bytes.
const LARGE_BUFFER: usize = 2 * (HEADER_BYTES + PAYLOAD_BYTES);
/// Reads before other tasks get their turn.
const READS_A_TURN: usize = 32;
/// Bytes a peer may still send while it is told goodbye.
const LINGER_BYTES: usize = 1 << 20;

type Running = Pin<Box<dyn Future<Output = Ended> + Send>>;

/// What became of the work on a request.
enum Ended {
    /// Its answer's bytes.
    Answer(u32, Vec<u8>),
    /// The peer no longer wants it.
    Cancelled,
    /// It was none.
    Broken(String),
}

/// A request as it came: one that is large is read apart from the session's task.
enum Accepted {
    Read(Box<Request>),
    Unread(Partial),
}

/// The task behind a session.
pub(crate) struct Driver {
    session: SessionHandle,
    handler: Arc<dyn Handler>,
    timeouts: Timeouts,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    bytes_read: u64,
    accepted: Vec<(u32, Accepted, AbortRegistration)>,
    running: FuturesUnordered<Running>,
    /// How long handlers are waited for, once the session drains.
    answers: Option<Pin<Box<Sleep>>>,
    tick: Interval,
    watch: Watch,
}

/// What was seen at earlier ticks.
#[derive(Default)]
struct Watch {
    reading: Pace,
    writing: Pace,
    emptied_mark: u64,
    activity_mark: (u64, u64),
    idle_ticks: u32,
}

/// How long bytes that are due have not moved.
#[derive(Default)]
struct Pace {
    /// The count of bytes when they last moved, or were not due.
    mark: u64,
    /// Ticks since then.
    ticks: u32,
}

impl Pace {
    /// At a tick: whether bytes are due, how many have moved in all, and whether, since the last tick, there was a moment
    /// when none were due. Fewer than [`defaults::STALL_MIN_BYTES`] since the mark are no progress.
    fn look(&mut self, due: bool, bytes: u64, settled: bool) {
        let moved = settled || bytes.wrapping_sub(self.mark) >= defaults::STALL_MIN_BYTES;
        self.ticks = if due && !moved { self.ticks.saturating_add(1) } else { 0 };
        if moved || !due {
            self.mark = bytes;
        }
    }
}

impl Driver {
    pub(crate) fn new(session: SessionHandle, handler: Arc<dyn Handler>, timeouts: Timeouts) -> Self {
        let mut tick = interval(tick_of(&timeouts));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            session,
            handler,
            timeouts,
            buffer: vec![0; SMALL_BUFFER],
            start: 0,
            end: 0,
            bytes_read: 0,
            accepted: Vec::new(),
            running: FuturesUnordered::new(),
            answers: None,
            tick,
            watch: Watch::default(),
        }
    }

    /// Runs the session to its end; says why it ended.
    pub(crate) async fn run(mut self) -> CloseReason {
        let reason = poll_fn(|cx| self.poll(cx)).await;
        let (stream, unsent) = {
            let mut inner = self.session.0.lock();
            inner.closed = Some(reason.clone());
            inner.core.close(&reason);
            inner.waker = None;
            let mut unsent = inner.out.get(inner.out_at..).unwrap_or_default().to_vec();
            let goodbye = goodbye(&reason);
            inner.core.count_goodbye(goodbye.len());
            unsent.extend(goodbye);
            (inner.stream.take(), unsent)
        };
        // Now, not after the farewell: a handler that goes on elsewhere must not stand still meanwhile.
        self.running.clear();
        if let Some(mut stream) = stream {
            let farewell = async {
                stream.write_all(&unsent).await?;
                stream.close().await?;
                // Closing a socket with unread bytes resets it, and the peer would not read why.
                let mut lingering = 0_usize;
                while !unsent.is_empty() && lingering < LINGER_BYTES {
                    match stream.read(&mut self.buffer).await? {
                        0 => break,
                        n => lingering = lingering.saturating_add(n),
                    }
                }
                Ok::<_, std::io::Error>(())
            };
            let _ = tokio::time::timeout(defaults::GOODBYE, farewell).await;
        }
        reason
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        for _ in 0..READS_A_TURN {
            let more = match self.turn(cx) {
                Ok(more) => more,
                Err(reason) => return Poll::Ready(reason),
            };
            if !more {
                while self.tick.poll_tick(cx).is_ready() {
                    if let Err(reason) = self.on_tick() {
                        return Poll::Ready(reason);
                    }
                }
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads once, starts what came, polls what runs, writes what is ready. Says whether there may be more to read.
    fn turn(&mut self, cx: &mut Context<'_>) -> Result<bool, CloseReason> {
        let session = self.session.clone();
        let read = {
            let mut inner = session.0.lock();
            if !inner.waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
                inner.waker = Some(cx.waker().clone());
            }
            self.read(cx, &mut inner)?
        };
        for (id, request, registration) in std::mem::take(&mut self.accepted) {
            self.running.push(run_handler(&self.handler, &session, id, request, registration));
        }
        let mut answers = Vec::new();
        while let Poll::Ready(Some(ended)) = self.running.poll_next_unpin(cx) {
            match ended {
                Ended::Answer(id, bytes) => answers.push((id, bytes)),
                Ended::Cancelled => {}
                Ended::Broken(what) => return Err(CloseReason::Violation(what)),
            }
        }
        let mut inner = session.0.lock();
        if let Some(what) = inner.broken.take() {
            return Err(CloseReason::Violation(what));
        }
        for (id, bytes) in answers {
            inner.core.answer(id, bytes);
        }
        match inner.poll_write(cx) {
            Poll::Ready(Err(e)) => Err(CloseReason::Lost(e.to_string())),
            Poll::Pending => Ok(read),
            Poll::Ready(Ok(())) => match inner.draining {
                Some(answers) if self.running.is_empty() || self.over(answers, cx) => {
                    Err(CloseReason::ShutDown)
                }
                _ => Ok(read),
            },
        }
    }

    /// Whether handlers have had so much time since it was first asked; if not, wakes the task when they have.
    fn over(&mut self, answers: Duration, cx: &mut Context<'_>) -> bool {
        let over = self.answers.get_or_insert_with(|| Box::pin(sleep(answers)));
        over.as_mut().poll(cx).is_ready()
    }

    /// Reads what is there, once, and files the frames in it.
    fn read(&mut self, cx: &mut Context<'_>, inner: &mut Inner) -> Result<bool, CloseReason> {
        let Some(stream) = &mut inner.stream else {
            return Err(CloseReason::Lost("the stream is gone".to_owned()));
        };
        let free = self.buffer.get_mut(self.end..).unwrap_or_default();
        let n = match Pin::new(stream as &mut Stream).poll_read(cx, free) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Err(e)) => return Err(CloseReason::Lost(e.to_string())),
            Poll::Ready(Ok(0)) => return Err(CloseReason::Lost("the peer ended the stream".to_owned())),
            Poll::Ready(Ok(n)) => n,
        };
        self.end = self.end.saturating_add(n);
        self.bytes_read = self.bytes_read.wrapping_add(n as u64);
        loop {
            let held = self.buffer.get(self.start..self.end).unwrap_or_default();
            let Some((head, rest)) = held.split_first_chunk::<HEADER_BYTES>() else { break };
            let header = Header::decode(head).map_err(|e| CloseReason::Violation(e.to_string()))?;
            let Some(payload) = rest.get(..header.length) else {
                if HEADER_BYTES.saturating_add(header.length) > self.buffer.len() {
                    self.buffer.resize(LARGE_BUFFER, 0);
                }
                break;
            };
            let incoming = inner.core.frame(header, payload);
            self.start = self.start.saturating_add(HEADER_BYTES).saturating_add(header.length);
            match incoming.map_err(|v| CloseReason::Violation(v.0))? {
                Incoming::Nothing => {}
                Incoming::Request(id, request, abort) => {
                    self.accepted.push((id, Accepted::Read(request), abort));
                }
                Incoming::Unread(id, partial, abort) => {
                    self.accepted.push((id, Accepted::Unread(partial), abort));
                }
                Incoming::Goodbye(reason) => return Err(CloseReason::PeerSaid(reason)),
            }
        }
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start > 0 {
            // At most a frame's part is moved; the next frame then always fits behind it.
            self.buffer.copy_within(self.start..self.end, 0);
            self.end = self.end.saturating_sub(self.start);
            self.start = 0;
        }
        Ok(true)
    }

    /// Looks whether the peer still does its part.
    fn on_tick(&mut self) -> Result<(), CloseReason> {
        let session = self.session.clone();
        let mut inner = session.0.lock();
        let tick = tick_of(&self.timeouts);
        let watch = &mut self.watch;

        let owed = self.end > self.start || inner.core.is_assembling();
        watch.reading.look(owed, self.bytes_read, false);

        let unsent = inner.out_at < inner.out.len();
        watch.writing.look(unsent, inner.bytes_written, inner.emptied != watch.emptied_mark);
        watch.emptied_mark = inner.emptied;

        let activity = (self.bytes_read, inner.bytes_written);
        let idle = inner.core.is_idle() && !unsent && activity == watch.activity_mark;
        watch.idle_ticks = if idle { watch.idle_ticks.saturating_add(1) } else { 0 };
        watch.activity_mark = activity;

        let stall = self.timeouts.stall;
        if tick.saturating_mul(watch.reading.ticks.max(watch.writing.ticks)) >= stall {
            return Err(CloseReason::Stalled(stall));
        }
        let stall = stall.saturating_mul(defaults::STALLS_PER_FRAME);
        if tick.saturating_mul(inner.core.tick()) >= stall {
            return Err(CloseReason::Stalled(stall));
        }
        if tick.saturating_mul(watch.idle_ticks) >= self.timeouts.idle {
            return Err(CloseReason::Idle(self.timeouts.idle));
        }
        Ok(())
    }
}

/// Four looks within the shortest of the timeouts.
fn tick_of(timeouts: &Timeouts) -> Duration {
    (timeouts.stall.min(timeouts.idle) / 4).max(Duration::from_millis(1))
}

/// The handler's work on one request, ended by a cancellation, and its answer's bytes.
fn run_handler(
    handler: &Arc<dyn Handler>,
    session: &SessionHandle,
    id: u32,
    request: Accepted,
    registration: AbortRegistration,
) -> Running {
    let progress = ProgressSender { shared: Arc::clone(&session.0), id };
    let (handler, session) = (Arc::clone(handler), session.clone());
    let kind = match &request {
        Accepted::Read(request) => Some(request.kind()),
        Accepted::Unread(partial) => wire::request_kind(partial.bytes()),
    };
    let work = AssertUnwindSafe(async move {
        let request = match request {
            Accepted::Read(request) => request,
            Accepted::Unread(partial) => match elsewhere(move || Request::decode(partial.bytes())).await {
                Some(Ok(request)) => Box::new(request),
                Some(Err(e)) => return Ended::Broken(format!("a request: {e}")),
                None => return Ended::Answer(id, failed(kind)),
            },
        };
        let answer = handler.handle(session.peer(), *request, session, progress).await;
        let bytes = match answer.weight() > defaults::LARGE_MESSAGE {
            true => elsewhere(move || codec::encode(&answer)).await.unwrap_or_else(|| failed(kind)),
            false => codec::encode(&answer),
        };
        Ended::Answer(id, bytes)
    });
    Box::pin(async move {
        match Abortable::new(work.catch_unwind(), registration).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(_)) => Ended::Answer(id, failed(kind)),
            Err(_) => Ended::Cancelled,
        }
    })
}

/// Runs what takes long apart from the session's task.
async fn elsewhere<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

/// The answer of a handler that failed. What may have been begun is not to be asked of another.
fn failed(kind: Option<RequestKind>) -> Vec<u8> {
    let begun = kind.is_some_and(RequestKind::has_events);
    let code = if begun { RefusalCode::Gone } else { RefusalCode::Internal };
    codec::encode(&Response::from(Refusal::new(code, "this peer failed on the request")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ticks without progress after each of these looks: whether bytes are due, how many have moved, and whether none were
    /// due in between.
    fn ticks(looks: &[(bool, u64, bool)]) -> Vec<u32> {
        let mut pace = Pace::default();
        let look = |(due, bytes, settled): &(bool, u64, bool)| {
            pace.look(*due, *bytes, *settled);
            pace.ticks
        };
        looks.iter().map(look).collect()
    }

    #[test]
    fn dripping_is_no_progress_in_either_direction() {
        let most = defaults::STALL_MIN_BYTES - 1;
        assert_eq!(ticks(&[(true, 1, false), (true, 2, false), (true, most, false)]), [1, 2, 3]);
        assert_eq!(ticks(&[(true, 1, false), (true, most + 1, false), (true, most + 2, false)]), [1, 0, 1]);
    }

    #[test]
    fn little_that_is_written_to_its_end_is_progress() {
        assert_eq!(ticks(&[(true, 1, false), (true, 2, true), (true, 3, true)]), [1, 0, 0]);
        assert_eq!(ticks(&[(true, 1, false), (false, 2, false), (true, 3, false)]), [1, 0, 1]);
    }
}
