//! What a session knows: requests in flight in both directions, and the frames still to be written. No I/O, no clock.

use super::{
    frame::{self, Header, Kind},
    memory::{Account, Held, Partial, PartialError},
};
use crate::{
    CloseReason, Event, Limits, Refusal, RefusalCode, Request, RequestError, RequestKind, Response, defaults,
    traffic::{Counters, TrafficKind},
    wire,
};
use actum_model::codec;
use futures::future::{AbortHandle, AbortRegistration};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};
use tokio::sync::{mpsc, oneshot};

/// What a caller gets in the end.
pub(super) type Reply = Result<Came, RequestError>;

/// An answer.
#[derive(Debug)]
pub(super) enum Came {
    /// Read.
    Read(Box<Response>),
    /// So large that reading it would hold up the session: whoever waits for it reads it.
    Unread(Partial),
}

/// The largest goodbye in bytes.
const MAX_GOODBYE: usize = 256;
/// Bytes written in one go: enough for a frame, small enough to stay interleaved.
const BATCH: usize = frame::PAYLOAD_BYTES;

/// The peer did what no honest peer does.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Violation(pub(super) String);

fn violation<T>(what: impl Into<String>) -> Result<T, Violation> {
    Err(Violation(what.into()))
}

/// What a frame led to, beyond the session's own books.
#[derive(Debug)]
pub(super) enum Incoming {
    /// Nothing the driver must act on.
    Nothing,
    /// A whole request to hand to the handler; the registration ends it when the peer cancels.
    Request(u32, Box<Request>, AbortRegistration),
    /// One so large that reading it would hold up the session.
    Unread(u32, Partial, AbortRegistration),
    /// The peer closes the session.
    Goodbye(String),
}

/// A request of ours.
struct Call {
    kind: RequestKind,
    reply: oneshot::Sender<Reply>,
    events: Option<mpsc::Sender<Event>>,
    events_seen: u32,
    /// The whole request has been handed to the stream.
    sent: bool,
    partial: Option<Partial>,
}

/// A request of the peer's.
enum Inbound {
    /// Some of its frames have come.
    Assembling(RequestKind, Partial),
    /// It will be refused once its last frame has come; the frames are not kept.
    Discarding(RequestKind, Refusal),
    /// The handler has it.
    Running(RequestKind, AbortHandle),
    /// The answer is being written; `true` if it had been admitted.
    Replying(RequestKind, bool),
}

impl Inbound {
    fn admitted(&self) -> bool {
        match self {
            Self::Assembling(..) | Self::Running(..) => true,
            Self::Discarding(..) => false,
            Self::Replying(_, admitted) => *admitted,
        }
    }

    fn kind(&self) -> RequestKind {
        match self {
            Self::Assembling(kind, _)
            | Self::Discarding(kind, _)
            | Self::Running(kind, _)
            | Self::Replying(kind, _) => *kind,
        }
    }
}

/// A message being written.
struct Outgoing {
    kind: Kind,
    about: TrafficKind,
    id: u32,
    bytes: Vec<u8>,
    at: usize,
    /// The memory of an answer, until this is dropped: written, cancelled or closed.
    _held: Option<Held>,
}

pub(super) struct Core {
    limits: Limits,
    account: Arc<Account>,
    traffic: Arc<Counters>,
    next_id: u32,
    calls: HashMap<u32, Call>,
    inbound: HashMap<u32, Inbound>,
    admitted: usize,
    last_inbound: Option<u32>,
    requests_seen: u64,
    cancels_seen: u64,
    /// Bytes that may still arrive for requests we gave up.
    stray_bytes: u64,
    outbox: VecDeque<Outgoing>,
}

impl Core {
    pub(super) fn new(limits: Limits, account: Arc<Account>, traffic: Arc<Counters>) -> Self {
        Self {
            limits,
            account,
            traffic,
            next_id: 0,
            calls: HashMap::new(),
            inbound: HashMap::new(),
            admitted: 0,
            last_inbound: None,
            requests_seen: 0,
            cancels_seen: 0,
            stray_bytes: 0,
            outbox: VecDeque::new(),
        }
    }

    // Our requests.

    /// Puts a request of ours on the way. Nothing when this session has used up its numbers.
    pub(super) fn call(
        &mut self,
        kind: RequestKind,
        bytes: Vec<u8>,
        events: Option<mpsc::Sender<Event>>,
    ) -> Option<(u32, oneshot::Receiver<Reply>)> {
        let id = self.next_id;
        self.next_id = id.checked_add(1)?;
        let (reply, receiver) = oneshot::channel();
        let call = Call { kind, reply, events, events_seen: 0, sent: false, partial: None };
        self.calls.insert(id, call);
        self.push(Kind::Request, kind, id, bytes);
        Some((id, receiver))
    }

    /// Gives up a request of ours. Says whether the whole of it had been sent.
    pub(super) fn cancel(&mut self, id: u32) -> bool {
        let Some(call) = self.calls.remove(&id) else { return false };
        let unsent = self.outbox.iter().position(|o| o.kind == Kind::Request && o.id == id);
        let begun = unsent.and_then(|at| self.outbox.remove(at)).is_none_or(|unsent| unsent.at > 0);
        if begun {
            let events = wire::MAX_EVENT.saturating_mul(64);
            let stray = call.kind.max_response_bytes().saturating_add(events);
            self.stray_bytes = self.stray_bytes.saturating_add(u64::try_from(stray).unwrap_or(u64::MAX));
            self.push(Kind::Cancel, call.kind, id, Vec::new());
        }
        call.sent
    }

    // The peer's requests.

    /// The handler's answer, encoded. Dropped where the peer no longer wants it.
    pub(super) fn answer(&mut self, id: u32, bytes: Vec<u8>) {
        let Some(&Inbound::Running(kind, _)) = self.inbound.get(&id) else { return };
        let limit = kind.max_response_bytes();
        let kept = if bytes.len() > limit {
            let text = format!("the answer has {} bytes; {limit} are allowed", bytes.len());
            let code = if kind.has_events() { RefusalCode::Gone } else { RefusalCode::OverLimit };
            Err(Refusal::new(code, text))
        } else {
            match self.account.hold(bytes.len()) {
                Ok(held) => Ok(held),
                // Small questions may have large answers: a peer that asks many and reads none holds no more than its
                // share.
                Err(_) if kind.can_wait() && bytes.len() > defaults::SMALL_ANSWER => Err(slow_reader()),
                Err(_) => Ok(self.account.hold_anyway(bytes.len())),
            }
        };
        self.inbound.insert(id, Inbound::Replying(kind, true));
        match kept {
            Ok(held) => {
                let about = TrafficKind::of(kind);
                let answer = Outgoing { kind: Kind::Response, about, id, bytes, at: 0, _held: Some(held) };
                self.outbox.push_back(answer);
            }
            Err(refusal) => self.push(Kind::Response, kind, id, codec::encode(&Response::from(refusal))),
        }
    }

    /// News of a running request. A piece of news still unsent is replaced.
    pub(super) fn event(&mut self, id: u32, bytes: Vec<u8>) {
        let Some(&Inbound::Running(kind, _)) = self.inbound.get(&id) else { return };
        match self.outbox.iter_mut().find(|o| o.kind == Kind::Event && o.id == id) {
            Some(unsent) => unsent.bytes = bytes,
            None => self.push(Kind::Event, kind, id, bytes),
        }
    }

    fn admit(&mut self, id: u32, state: Inbound) {
        let now = usize::from(state.admitted());
        let before = usize::from(self.inbound.insert(id, state).is_some_and(|s| s.admitted()));
        self.admitted = self.admitted.saturating_add(now).saturating_sub(before);
    }

    fn forget(&mut self, id: u32) -> Option<Inbound> {
        let state = self.inbound.remove(&id)?;
        self.admitted = self.admitted.saturating_sub(usize::from(state.admitted()));
        Some(state)
    }

    fn refuse(&mut self, id: u32, kind: RequestKind, refusal: Refusal) {
        self.admit(id, Inbound::Replying(kind, false));
        self.push(Kind::Response, kind, id, codec::encode(&Response::from(refusal)));
    }

    // Frames in.

    pub(super) fn frame(&mut self, header: Header, payload: &[u8]) -> Result<Incoming, Violation> {
        let bytes = frame::HEADER_BYTES.saturating_add(payload.len());
        self.traffic.received(self.about(header, payload), bytes, header.last);
        match header.kind {
            Kind::Request => self.on_request(header, payload),
            Kind::Response => self.on_response(header, payload).map(|()| Incoming::Nothing),
            Kind::Event => self.on_event(header.id, payload).map(|()| Incoming::Nothing),
            Kind::Cancel => self.on_cancel(header.id, payload).map(|()| Incoming::Nothing),
            Kind::Goodbye if payload.len() > MAX_GOODBYE => violation("a long goodbye"),
            Kind::Goodbye => Ok(Incoming::Goodbye(printable(payload))),
        }
    }

    /// What a frame is for, as it comes.
    fn about(&self, header: Header, payload: &[u8]) -> TrafficKind {
        let kind = match header.kind {
            Kind::Request => match self.inbound.get(&header.id) {
                Some(begun) => Some(begun.kind()),
                None => wire::request_kind(payload),
            },
            Kind::Cancel => self.inbound.get(&header.id).map(Inbound::kind),
            Kind::Response | Kind::Event => self.calls.get(&header.id).map(|call| call.kind),
            Kind::Goodbye => None,
        };
        kind.map_or(TrafficKind::Other, TrafficKind::of)
    }

    fn on_request(&mut self, header: Header, payload: &[u8]) -> Result<Incoming, Violation> {
        let id = header.id;
        match self.inbound.get_mut(&id) {
            None => {
                let (kind, refusal) = self.begin_request(id, payload)?;
                match refusal {
                    Some(refusal) if header.last => self.refuse(id, kind, refusal),
                    Some(refusal) => self.admit(id, Inbound::Discarding(kind, refusal)),
                    None if header.last => return self.start(id, payload),
                    None => {
                        let partial = Partial::new(&self.account, kind.max_request_bytes());
                        self.admit(id, Inbound::Assembling(kind, partial));
                        return self.more_of_request(header, payload);
                    }
                }
                Ok(Incoming::Nothing)
            }
            Some(Inbound::Assembling(..) | Inbound::Discarding(..)) => self.more_of_request(header, payload),
            Some(Inbound::Running(..) | Inbound::Replying(..)) => violation("two requests under one number"),
        }
    }

    /// Checks a request's first frame. Says what is asked for, and why it must be refused, where it must.
    fn begin_request(
        &mut self,
        id: u32,
        payload: &[u8],
    ) -> Result<(RequestKind, Option<Refusal>), Violation> {
        if self.last_inbound.is_some_and(|last| id <= last) {
            return violation("request numbers must rise");
        }
        if self.inbound.len() >= defaults::PROTOCOL_IN_FLIGHT {
            return violation(format!("more than {} requests in flight", defaults::PROTOCOL_IN_FLIGHT));
        }
        let kind = match wire::request_kind(payload) {
            None => return violation("not a request of this protocol"),
            Some(kind) if payload.len() > kind.max_request_bytes() => {
                return violation("a request over its size");
            }
            Some(kind) => kind,
        };
        self.last_inbound = Some(id);
        self.requests_seen = self.requests_seen.saturating_add(1);
        let limit = self.limits.inbound_requests.get();
        if self.admitted >= limit {
            let text = format!("{limit} requests of yours are under way");
            return Ok((kind, Some(Refusal::new(RefusalCode::Busy, text).retry_after_ms(100))));
        }
        if self.account.is_over() {
            return Ok((kind, Some(slow_reader())));
        }
        Ok((kind, None))
    }

    fn more_of_request(&mut self, header: Header, payload: &[u8]) -> Result<Incoming, Violation> {
        let id = header.id;
        if let Some(Inbound::Assembling(kind, partial)) = self.inbound.get_mut(&id) {
            let kind = *kind;
            match partial.push(payload) {
                Ok(()) => {}
                Err(PartialError::TooLarge) => return violation("a request over its size"),
                Err(PartialError::NoRoom) => {
                    let text = "no memory left to receive this";
                    let refusal = Refusal::new(RefusalCode::Busy, text).retry_after_ms(1000);
                    self.admit(id, Inbound::Discarding(kind, refusal));
                }
            }
        }
        if !header.last {
            return Ok(Incoming::Nothing);
        }
        match self.forget(id) {
            Some(Inbound::Assembling(kind, partial)) if partial.bytes().len() > defaults::LARGE_MESSAGE => {
                let (abort, registration) = AbortHandle::new_pair();
                self.admit(id, Inbound::Running(kind, abort));
                Ok(Incoming::Unread(id, partial, registration))
            }
            Some(Inbound::Assembling(_, partial)) => self.start(id, partial.bytes()),
            Some(Inbound::Discarding(kind, refusal)) => {
                self.refuse(id, kind, refusal);
                Ok(Incoming::Nothing)
            }
            _ => Ok(Incoming::Nothing),
        }
    }

    fn start(&mut self, id: u32, bytes: &[u8]) -> Result<Incoming, Violation> {
        let request = Request::decode(bytes).map_err(|e| Violation(format!("a request: {e}")))?;
        let (abort, registration) = AbortHandle::new_pair();
        self.admit(id, Inbound::Running(request.kind(), abort));
        Ok(Incoming::Request(id, Box::new(request), registration))
    }

    fn on_response(&mut self, header: Header, payload: &[u8]) -> Result<(), Violation> {
        let Some(call) = self.calls.get_mut(&header.id) else { return self.stray(header.id, payload) };
        if !call.sent {
            return violation("an answer to half a request");
        }
        if call.partial.is_none() {
            match wire::max_response(payload, call.kind) {
                None => return violation("not an answer to what was asked"),
                Some(limit) if payload.len() > limit => return violation("an answer over its size"),
                Some(limit) if !header.last => call.partial = Some(Partial::new(&self.account, limit)),
                Some(_) => {}
            }
        }
        if let Some(partial) = &mut call.partial {
            match partial.push(payload) {
                Ok(()) => {}
                Err(PartialError::TooLarge) => return violation("an answer over its size"),
                Err(PartialError::NoRoom) => {
                    let limit = self.account.limit();
                    return self.no_room(header, limit);
                }
            }
        }
        if header.last
            && let Some(call) = self.calls.remove(&header.id)
        {
            let came = match call.partial {
                Some(partial) if partial.bytes().len() > defaults::LARGE_MESSAGE => Came::Unread(partial),
                partial => {
                    let bytes = partial.as_ref().map_or(payload, Partial::bytes);
                    let response = Response::decode(bytes, call.kind);
                    Came::Read(Box::new(response.map_err(|e| Violation(format!("an answer: {e}")))?))
                }
            };
            let _ = call.reply.send(Ok(came));
        }
        Ok(())
    }

    /// There is no memory for an answer: its caller is told, and the peer to stop.
    fn no_room(&mut self, header: Header, limit: usize) -> Result<(), Violation> {
        let (nobody, _) = oneshot::channel();
        if let Some(call) = self.calls.get_mut(&header.id) {
            let reply = std::mem::replace(&mut call.reply, nobody);
            let _ = reply.send(Err(RequestError::NoRoom { limit }));
        }
        self.cancel(header.id);
        Ok(())
    }

    fn on_event(&mut self, id: u32, payload: &[u8]) -> Result<(), Violation> {
        let Some(call) = self.calls.get_mut(&id) else { return self.stray(id, payload) };
        call.events_seen = call.events_seen.saturating_add(1);
        if !call.sent || !call.kind.has_events() || call.events_seen > defaults::EVENTS_PER_REQUEST {
            return violation("an event nobody waits for");
        }
        let event = Event::decode(payload).map_err(|e| Violation(format!("an event: {e}")))?;
        if let Some(events) = &call.events {
            let _ = events.try_send(event);
        }
        Ok(())
    }

    fn on_cancel(&mut self, id: u32, payload: &[u8]) -> Result<(), Violation> {
        self.cancels_seen = self.cancels_seen.saturating_add(1);
        let known = self.last_inbound.is_some_and(|last| id <= last);
        if !payload.is_empty() || !known || self.cancels_seen > self.requests_seen {
            return violation("a cancellation of nothing");
        }
        if let Some(Inbound::Running(_, abort)) = self.forget(id) {
            abort.abort();
        }
        self.outbox.retain(|o| o.id != id || !matches!(o.kind, Kind::Response | Kind::Event));
        Ok(())
    }

    /// Frames of a request we gave up may still be under way, so many bytes of them.
    fn stray(&mut self, id: u32, payload: &[u8]) -> Result<(), Violation> {
        let bytes = u64::try_from(payload.len()).unwrap_or(u64::MAX).max(1);
        match self.stray_bytes.checked_sub(bytes) {
            Some(left) if id < self.next_id => {
                self.stray_bytes = left;
                Ok(())
            }
            _ => violation("an answer to no request"),
        }
    }

    // Frames out.

    /// Queues what no budget counts: our own requests, and what is small and at most one a request.
    fn push(&mut self, kind: Kind, asked: RequestKind, id: u32, bytes: Vec<u8>) {
        let about = TrafficKind::of(asked);
        self.outbox.push_back(Outgoing { kind, about, id, bytes, at: 0, _held: None });
    }

    /// Takes in that a goodbye of so many bytes is written, by whoever writes it; none where there is none.
    pub(super) fn count_goodbye(&self, bytes: usize) {
        if bytes > 0 {
            self.traffic.sent(TrafficKind::Other, bytes, true);
        }
    }

    /// Moves frames to `out`, one of each waiting message in turn, until it is full enough.
    pub(super) fn fill(&mut self, out: &mut Vec<u8>) {
        while out.len() < BATCH {
            let Some(mut outgoing) = self.outbox.pop_front() else { return };
            let rest = outgoing.bytes.get(outgoing.at..).unwrap_or_default();
            let (payload, last) = match rest.split_at_checked(frame::PAYLOAD_BYTES) {
                Some((payload, more)) if !more.is_empty() => (payload, false),
                _ => (rest, true),
            };
            let header = Header { kind: outgoing.kind, last, id: outgoing.id, length: payload.len() };
            out.extend_from_slice(&header.encode());
            out.extend_from_slice(payload);
            let bytes = frame::HEADER_BYTES.saturating_add(payload.len());
            self.traffic.sent(outgoing.about, bytes, last);
            outgoing.at = outgoing.at.saturating_add(payload.len());
            if !last {
                self.outbox.push_back(outgoing);
                continue;
            }
            match outgoing.kind {
                Kind::Request => {
                    if let Some(call) = self.calls.get_mut(&outgoing.id) {
                        call.sent = true;
                    }
                }
                Kind::Response => drop(self.forget(outgoing.id)),
                Kind::Event | Kind::Cancel | Kind::Goodbye => {}
            }
        }
    }

    /// Requests of ours in flight.
    pub(super) fn asking(&self) -> usize {
        self.calls.len()
    }

    // The end.

    /// Whether nothing is in flight in either direction.
    pub(super) fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.inbound.is_empty() && self.outbox.is_empty()
    }

    /// Whether the peer owes us the rest of a message.
    pub(super) fn is_assembling(&self) -> bool {
        self.calls.values().any(|c| c.partial.is_some())
            || self.inbound.values().any(|i| matches!(i, Inbound::Assembling(..) | Inbound::Discarding(..)))
    }

    /// A tick of whoever has a clock. Says how many have passed since the unfinished message that waits longest began or
    /// last grew; other messages do not speak for it.
    pub(super) fn tick(&mut self) -> u32 {
        let answers = self.calls.values_mut().filter_map(|call| call.partial.as_mut());
        let requests = self.inbound.values_mut().filter_map(|inbound| match inbound {
            Inbound::Assembling(_, partial) => Some(partial),
            Inbound::Discarding(..) | Inbound::Running(..) | Inbound::Replying(..) => None,
        });
        answers.chain(requests).map(Partial::tick).max().unwrap_or(0)
    }

    /// Ends every request: our callers learn why, the peer's are forgotten.
    pub(super) fn close(&mut self, reason: &CloseReason) {
        for (_, call) in self.calls.drain() {
            let reason = reason.clone();
            let error = if call.sent {
                RequestError::LostWhileWaiting { reason }
            } else {
                RequestError::LostBeforeSending { reason }
            };
            let _ = call.reply.send(Err(error));
        }
        self.inbound.clear();
        self.admitted = 0;
        self.outbox.clear();
    }
}

fn slow_reader() -> Refusal {
    Refusal::new(RefusalCode::Busy, "too many answers to you are still being sent").retry_after_ms(1000)
}

/// A goodbye as bytes.
pub(super) fn goodbye(reason: &CloseReason) -> Vec<u8> {
    let mut text = match reason {
        CloseReason::Lost(_) | CloseReason::PeerSaid(_) => return Vec::new(),
        CloseReason::Violation(what) => format!("protocol broken: {what}"),
        CloseReason::Stalled(_) | CloseReason::Idle(_) | CloseReason::ShutDown => reason.to_string(),
    };
    text.truncate(text.floor_char_boundary(MAX_GOODBYE));
    let mut bytes = Header { kind: Kind::Goodbye, last: true, id: 0, length: text.len() }.encode().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// A peer's words, without what could confuse a terminal.
fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{frame::PAYLOAD_BYTES, memory::Budget};
    use actum_model::{ComponentId, SecretKey};
    use std::num::NonZeroUsize;

    const KIB: usize = 1 << 10;

    /// A session that may hold so many bytes, and its account.
    fn core(bytes: usize) -> (Core, Arc<Account>) {
        let limit = NonZeroUsize::new(bytes).unwrap();
        let budget = Budget::new(NonZeroUsize::new(bytes * defaults::REASSEMBLY_PEER_PART).unwrap());
        let account = budget.account(SecretKey::from_seed(&[1; 32]).did(), limit);
        (Core::new(Limits::default(), Arc::clone(&account), Arc::default()), account)
    }

    fn chunk() -> Request {
        Request::Chunk { component: ComponentId::of(b"component"), index: 0 }
    }

    fn find() -> Request {
        Request::Find { query: vec![1] }
    }

    /// Asks, as the peer would. False: the session refuses it.
    fn asks(core: &mut Core, id: u32, request: &Request) -> bool {
        let bytes = codec::encode(request);
        let header = Header { kind: Kind::Request, last: true, id, length: bytes.len() };
        match core.frame(header, &bytes).unwrap() {
            Incoming::Request(..) => true,
            Incoming::Nothing => false,
            other => panic!("{other:?}"),
        }
    }

    /// Sends a frame that is not its message's last.
    fn begins(core: &mut Core, id: u32) {
        let call = Request::Call { invocation: vec![1], proofs: vec![], args: vec![7; 4 * PAYLOAD_BYTES] };
        let bytes = codec::encode(&call);
        let header = Header { kind: Kind::Request, last: false, id, length: PAYLOAD_BYTES };
        assert!(matches!(core.frame(header, &bytes[..PAYLOAD_BYTES]), Ok(Incoming::Nothing)));
    }

    fn cancels(core: &mut Core, id: u32) {
        let header = Header { kind: Kind::Cancel, last: true, id, length: 0 };
        assert!(matches!(core.frame(header, &[]), Ok(Incoming::Nothing)));
    }

    /// Writes all there is; says how many bytes that was.
    fn written(core: &mut Core) -> usize {
        let mut all = 0;
        loop {
            let mut out = Vec::new();
            core.fill(&mut out);
            if out.is_empty() {
                return all;
            }
            all += out.len();
        }
    }

    #[test]
    fn an_unread_answer_is_counted_until_it_is_written_cancelled_or_closed() {
        let (mut core, account) = core(1024 * KIB);
        for id in 0..3 {
            assert!(asks(&mut core, id, &chunk()));
            core.answer(id, vec![7; 200 * KIB]);
        }
        assert_eq!(account.held(), 600 * KIB);
        cancels(&mut core, 1);
        assert_eq!(account.held(), 400 * KIB);
        // Half a message is still a whole one in memory.
        core.fill(&mut Vec::new());
        assert_eq!(account.held(), 400 * KIB);
        assert!(written(&mut core) > 300 * KIB);
        assert_eq!(account.held(), 0);
        assert!(core.is_idle());

        assert!(asks(&mut core, 3, &chunk()));
        core.answer(3, vec![7; 200 * KIB]);
        core.answer(3, vec![7; 200 * KIB]);
        assert_eq!(account.held(), 200 * KIB, "one request, one answer");
        core.close(&CloseReason::ShutDown);
        assert_eq!(account.held(), 0);
    }

    #[test]
    fn where_there_is_no_room_a_chunk_waits_and_what_was_done_once_is_kept() {
        let (mut core, account) = core(300 * KIB);
        for id in 0..4 {
            let request = if id < 3 { chunk() } else { find() };
            assert!(asks(&mut core, id, &request));
        }
        core.answer(0, vec![7; 200 * KIB]);
        core.answer(1, vec![7; 200 * KIB]);
        assert_eq!(account.held(), 200 * KIB, "the second chunk is refused");
        core.answer(3, vec![7; 200 * KIB]);
        assert_eq!(account.held(), 400 * KIB, "a page is not");
        core.answer(2, vec![7; KIB]);
        assert_eq!(account.held(), 401 * KIB, "nor what is small");
        assert!(!asks(&mut core, 4, &chunk()), "nothing new while the session is over its limit");
        assert!(written(&mut core) > 401 * KIB);
        assert_eq!(account.held(), 0);
        assert!(asks(&mut core, 5, &chunk()));
    }

    #[test]
    fn frames_are_counted_by_what_they_are_for() {
        let (mut core, _) = core(1024 * KIB);
        let moved = |messages, bytes: usize| crate::Moved { messages, bytes: bytes as u64 };
        assert!(asks(&mut core, 0, &find()));
        core.answer(0, vec![7; 100]);
        assert!(core.call(RequestKind::Chunk, vec![7; 3], None).is_some());
        let out = written(&mut core);
        let read = core.traffic.read();
        let head = frame::HEADER_BYTES;
        assert_eq!(read.find.received, moved(1, head + codec::encode(&find()).len()));
        assert_eq!(read.find.sent, moved(1, head + 100));
        assert_eq!(read.content.sent, moved(1, head + 3));
        assert_eq!(out, 2 * head + 103, "all that is written is counted");

        begins(&mut core, 1);
        assert_eq!(core.traffic.read().action.received, moved(0, head + PAYLOAD_BYTES));
        cancels(&mut core, 1);
        assert_eq!(core.traffic.read().action.received, moved(1, 2 * head + PAYLOAD_BYTES));
        core.count_goodbye(0);
        assert_eq!(core.traffic.read().other, crate::BothWays::default());
    }

    #[test]
    fn an_unfinished_message_grows_old_whatever_else_comes() {
        let (mut core, _) = core(1024 * KIB);
        assert_eq!(core.tick(), 0);
        begins(&mut core, 0);
        assert_eq!(core.tick(), 1);
        assert!(asks(&mut core, 1, &chunk()));
        begins(&mut core, 2);
        assert_eq!(core.tick(), 2, "the one that waits longest");
        let more = Header { kind: Kind::Request, last: false, id: 0, length: PAYLOAD_BYTES };
        assert!(matches!(core.frame(more, &[7; PAYLOAD_BYTES]), Ok(Incoming::Nothing)));
        assert_eq!(core.tick(), 2, "now the other one");
        cancels(&mut core, 2);
        assert_eq!(core.tick(), 2);
        cancels(&mut core, 0);
        assert_eq!(core.tick(), 0);
    }
}
