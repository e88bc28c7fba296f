//! Bodies: a request's, written until it is finished; a response's, read from the bytes that are all there.

use super::super::RealView;
use super::super::bindings::wasi::http::types;
use super::fields::Fields;
use super::handler::Departure;
use super::response::Failure;
use super::{Code, Written};
use crate::host::HttpError;
use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wasmtime::component::Resource;
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, DynPollable, OutputStream, Pollable, StreamError, StreamResult,
    subscribe,
};

/// The permit a body's stream hands out, in bytes.
const PERMIT: usize = crate::stdio::PERMIT;

/// A request's body as far as it is written. Behind a lock only because streams must own a handle: one thread uses it.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    stage: Stage,
    /// The request that departs once the body is finished.
    waiting: Option<Waiting>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Open,
    Finished,
    Dropped,
}

/// A request that was accepted before its body was finished.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) number: u64,
    pub(super) departure: Departure,
    pub(super) failure: Failure,
}

impl Draft {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The whole body; nothing while it is being written.
    ///
    /// # Errors
    /// When it will never be whole.
    pub(super) fn take(&self) -> Result<Option<Vec<u8>>, HttpError> {
        let mut state = self.lock();
        match state.stage {
            Stage::Open => Ok(None),
            Stage::Finished => Ok(Some(std::mem::take(&mut state.bytes))),
            Stage::Dropped => Err(unfinished()),
        }
    }

    /// Says what departs once it is whole.
    pub(super) fn precede(&self, waiting: Waiting) {
        self.lock().waiting = Some(waiting);
    }
}

fn unfinished() -> HttpError {
    HttpError::InternalError("the request's body was dropped before it was finished".to_owned())
}

/// The guest's handle of a request's body.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated interface names it in public")]
pub struct OutgoingBody {
    draft: Draft,
    has_stream: bool,
}

impl OutgoingBody {
    pub(super) fn new(draft: Draft) -> Self {
        Self { draft, has_stream: false }
    }
}

/// What is written to a request's body.
struct Sink {
    draft: Draft,
    written: Written,
}

#[wasmtime_wasi::async_trait]
impl Pollable for Sink {
    async fn ready(&mut self) {}
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Sink {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.written.take(bytes.len()).map_err(|stop| StreamError::Trap(stop.into()))?;
        self.draft.lock().bytes.extend_from_slice(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT)
    }
}

impl RealView<'_> {
    /// Notes that a request waiting for its body will never be sent.
    fn give_up(&mut self, number: u64, failure: &Failure, error: HttpError) {
        // Set here alone, and once: the body is gone.
        _ = failure.set(error);
        self.real.flights.land(&[number]);
    }
}

impl types::HostOutgoingBody for RealView<'_> {
    fn write(
        &mut self,
        it: Resource<OutgoingBody>,
    ) -> wasmtime::Result<Result<Resource<DynOutputStream>, ()>> {
        let written = self.real.written.clone();
        let body = self.table.get_mut(&it)?;
        if std::mem::replace(&mut body.has_stream, true) {
            return Ok(Err(()));
        }
        let stream: DynOutputStream = Box::new(Sink { draft: body.draft.clone(), written });
        Ok(Ok(self.table.push_child(stream, &it)?))
    }

    /// Ends the body; a request that waits for it departs. Traps while the stream is there, as WASI says.
    fn finish(
        &mut self,
        it: Resource<OutgoingBody>,
        trailers: Option<Resource<Fields>>,
    ) -> wasmtime::Result<Result<(), Code>> {
        let draft = self.table.delete(it)?.draft;
        let trailers = trailers.map(|t| self.table.delete(t)).transpose()?;
        let mut state = draft.lock();
        if trailers.is_some_and(|t| !t.entries().is_empty()) {
            state.stage = Stage::Dropped;
            let waiting = state.waiting.take();
            drop(state);
            let none = HttpError::HttpRequestTrailerSectionSize(0);
            if let Some(waiting) = waiting {
                self.give_up(waiting.number, &waiting.failure, none.clone());
            }
            return Ok(Err(none.into()));
        }
        state.stage = Stage::Finished;
        let Some(Waiting { number, departure, failure }) = state.waiting.take() else { return Ok(Ok(())) };
        let bytes = std::mem::take(&mut state.bytes);
        drop(state);
        match self.real.send_body(number, departure, bytes)? {
            Ok(()) => Ok(Ok(())),
            Err(error) => {
                self.give_up(number, &failure, error.clone());
                Ok(Err(error.into()))
            }
        }
    }

    /// A body dropped before it is finished is no body: its request is never sent.
    fn drop(&mut self, it: Resource<OutgoingBody>) -> wasmtime::Result<()> {
        let draft = self.table.delete(it)?.draft;
        let waiting = {
            let mut state = draft.lock();
            state.stage = Stage::Dropped;
            state.waiting.take()
        };
        if let Some(waiting) = waiting {
            self.give_up(waiting.number, &waiting.failure, unfinished());
        }
        Ok(())
    }
}

/// A response's body.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated interface names it in public")]
pub struct IncomingBody {
    bytes: Option<Bytes>,
}

impl IncomingBody {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self { bytes: Some(bytes) }
    }
}

impl types::HostIncomingBody for RealView<'_> {
    /// All that is left, as much at once as is asked for.
    fn stream(
        &mut self,
        it: Resource<IncomingBody>,
    ) -> wasmtime::Result<Result<Resource<DynInputStream>, ()>> {
        let Some(bytes) = self.table.get_mut(&it)?.bytes.take() else { return Ok(Err(())) };
        let stream: DynInputStream = Box::new(MemoryInputPipe::new(bytes));
        Ok(Ok(self.table.push_child(stream, &it)?))
    }

    /// Traps while the stream is there, as WASI says.
    fn finish(&mut self, it: Resource<IncomingBody>) -> wasmtime::Result<Resource<FutureTrailers>> {
        self.table.delete(it)?;
        Ok(self.table.push(FutureTrailers::default())?)
    }

    fn drop(&mut self, it: Resource<IncomingBody>) -> wasmtime::Result<()> {
        self.table.delete(it)?;
        Ok(())
    }
}

/// A response's trailers: always there, and none. Those that were sent are not observed.
#[derive(Debug, Default)]
#[expect(unreachable_pub, reason = "the generated interface names it in public")]
pub struct FutureTrailers {
    taken: bool,
}

#[wasmtime_wasi::async_trait]
impl Pollable for FutureTrailers {
    async fn ready(&mut self) {}
}

/// Trailers: a second look, an error, some or none.
type Trailers = Option<Result<Result<Option<Resource<Fields>>, Code>, ()>>;

impl types::HostFutureTrailers for RealView<'_> {
    fn subscribe(&mut self, it: Resource<FutureTrailers>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, it)
    }

    fn get(&mut self, it: Resource<FutureTrailers>) -> wasmtime::Result<Trailers> {
        let trailers = self.table.get_mut(&it)?;
        Ok(Some(if std::mem::replace(&mut trailers.taken, true) { Err(()) } else { Ok(Ok(None)) }))
    }

    fn drop(&mut self, it: Resource<FutureTrailers>) -> wasmtime::Result<()> {
        self.table.delete(it)?;
        Ok(())
    }
}
