//! `wasi:io` without a runtime: streams that are always ready, and polling that moves the virtual clock.
//!
//! wasmtime-wasi's synchronous shims enter a tokio runtime for each call. Here nothing can ever be pending but a
//! moment of the virtual clock, so one look at a future decides it.

use crate::clock::Clock;
use crate::error::Stop;
use crate::real::Real;
use crate::toll::Toll;
use actum_model::TrapCode;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::sync::io::{poll, streams};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, StreamError, StreamResult};
use wasmtime_wasi_io::bindings::wasi::io::{poll as waiting, streams as plain};

/// The most a blocking write may carry, in bytes; from WASI's own text.
const BLOCKING_WRITE: usize = 4096;

/// The bounds of streams, as the profile has them.
pub(crate) fn rules() -> String {
    format!("{} bytes permitted, {BLOCKING_WRITE} in a blocking write", crate::stdio::PERMIT)
}

/// The `wasi:io` host of one action.
pub(crate) struct IoView<'a> {
    pub(crate) clock: &'a Arc<Clock>,
    pub(crate) table: &'a mut ResourceTable,
    pub(crate) real: &'a mut Real,
    pub(crate) toll: &'a mut Toll,
}

/// Names [`IoView`] to the linker.
pub(crate) struct HasIo;

impl HasData for HasIo {
    type Data<'a> = IoView<'a>;
}

/// Names the resource table to the linker, for `wasi:io/error`.
pub(crate) struct HasTable;

impl HasData for HasTable {
    type Data<'a> = &'a mut ResourceTable;
}

/// The answer of a future if it has one now.
fn now<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

/// The answer of a stream operation, all of which are ready at once.
fn at_once<T>(future: impl Future<Output = StreamResult<T>>) -> StreamResult<T> {
    now(future).unwrap_or_else(|| Err(StreamError::Trap(Stop::Fault(TrapCode::Other).into())))
}

impl IoView<'_> {
    /// Looks once; if nothing is ready, waits and looks again: for the real world, where that is looked at and as far
    /// as the journal says, else by moving the clock to the earliest moment waited for.
    ///
    /// `waits`: whether to wait at all. An answer of the real world is ready when the guest is told so, which is
    /// journalled; how long it took is not observed.
    fn wait<T>(
        &mut self,
        waits: bool,
        mut look: impl FnMut(&mut ResourceTable) -> Option<wasmtime::Result<T>>,
    ) -> wasmtime::Result<T> {
        self.clock.begin_poll();
        self.real.flights.begin_poll();
        let first = look(self.table);
        let flying = self.real.flights.waited();
        if !flying.is_empty() {
            let patience = self.clock.patience().map(Duration::from_nanos);
            let landed = self.real.land(&flying, waits && first.is_none(), patience)?;
            if !landed.is_empty() {
                return look(self.table).unwrap_or_else(stuck);
            }
        }
        if let Some(answer) = first {
            return answer;
        }
        self.clock.skip_to_earliest();
        look(self.table).unwrap_or_else(stuck)
    }
}

/// Waiting for what can never be.
fn stuck<T>() -> wasmtime::Result<T> {
    Err(Stop::Fault(TrapCode::Other).into())
}

impl poll::Host for IoView<'_> {
    /// Gives everything ready now, sorted; when nothing is, everything ready at the earliest moment waited for.
    fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        self.clock.observe();
        self.toll.each(pollables.len());
        let reps: Vec<u32> = pollables.iter().map(Resource::rep).collect();
        let mut ready = self.wait(true, |table| {
            let list = reps.iter().map(|rep| Resource::new_borrow(*rep)).collect();
            now(waiting::Host::poll(table, list))
        })?;
        ready.sort_unstable();
        Ok(ready)
    }
}

impl poll::HostPollable for IoView<'_> {
    fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        self.clock.observe();
        let rep = pollable.rep();
        self.wait(false, |table| now(waiting::HostPollable::ready(table, Resource::new_borrow(rep))))
    }

    fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        self.clock.observe();
        let rep = pollable.rep();
        self.wait(true, |table| now(waiting::HostPollable::block(table, Resource::new_borrow(rep))))
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        waiting::HostPollable::drop(self.table, pollable)
    }
}

impl streams::Host for IoView<'_> {
    fn convert_stream_error(&mut self, error: StreamError) -> wasmtime::Result<streams::StreamError> {
        Ok(plain::Host::convert_stream_error(self.table, error)?.into())
    }
}

impl streams::HostInputStream for IoView<'_> {
    fn read(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<Vec<u8>> {
        let read = plain::HostInputStream::read(self.table, stream, len);
        read.inspect(|bytes| self.toll.bytes(bytes.len()))
    }

    fn blocking_read(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<Vec<u8>> {
        let read = at_once(plain::HostInputStream::blocking_read(self.table, stream, len));
        read.inspect(|bytes| self.toll.bytes(bytes.len()))
    }

    fn skip(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        plain::HostInputStream::skip(self.table, stream, len)
    }

    fn blocking_skip(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        at_once(plain::HostInputStream::blocking_skip(self.table, stream, len))
    }

    fn subscribe(&mut self, stream: Resource<DynInputStream>) -> wasmtime::Result<Resource<DynPollable>> {
        plain::HostInputStream::subscribe(self.table, stream)
    }

    fn drop(&mut self, stream: Resource<DynInputStream>) -> wasmtime::Result<()> {
        self.table.delete(stream)?;
        Ok(())
    }
}

/// Refuses a blocking write larger than WASI allows.
fn bounded(len: usize) -> StreamResult<()> {
    if len > BLOCKING_WRITE {
        return Err(StreamError::Trap(Stop::Fault(TrapCode::Other).into()));
    }
    Ok(())
}

impl streams::HostOutputStream for IoView<'_> {
    fn check_write(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<u64> {
        plain::HostOutputStream::check_write(self.table, stream)
    }

    fn write(&mut self, stream: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        self.toll.bytes(bytes.len());
        plain::HostOutputStream::write(self.table, stream, bytes)
    }

    fn blocking_write_and_flush(
        &mut self,
        stream: Resource<DynOutputStream>,
        bytes: Vec<u8>,
    ) -> StreamResult<()> {
        bounded(bytes.len())?;
        self.toll.bytes(bytes.len());
        at_once(plain::HostOutputStream::blocking_write_and_flush(self.table, stream, bytes))
    }

    fn blocking_write_zeroes_and_flush(
        &mut self,
        stream: Resource<DynOutputStream>,
        len: u64,
    ) -> StreamResult<()> {
        bounded(usize::try_from(len).unwrap_or(usize::MAX))?;
        at_once(plain::HostOutputStream::blocking_write_zeroes_and_flush(self.table, stream, len))
    }

    fn subscribe(&mut self, stream: Resource<DynOutputStream>) -> wasmtime::Result<Resource<DynPollable>> {
        plain::HostOutputStream::subscribe(self.table, stream)
    }

    fn write_zeroes(&mut self, stream: Resource<DynOutputStream>, len: u64) -> StreamResult<()> {
        plain::HostOutputStream::write_zeroes(self.table, stream, len)
    }

    fn flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        plain::HostOutputStream::flush(self.table, stream)
    }

    fn blocking_flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        at_once(plain::HostOutputStream::blocking_flush(self.table, stream))
    }

    fn splice(
        &mut self,
        to: Resource<DynOutputStream>,
        from: Resource<DynInputStream>,
        len: u64,
    ) -> StreamResult<u64> {
        plain::HostOutputStream::splice(self.table, to, from, len)
    }

    fn blocking_splice(
        &mut self,
        to: Resource<DynOutputStream>,
        from: Resource<DynInputStream>,
        len: u64,
    ) -> StreamResult<u64> {
        at_once(plain::HostOutputStream::blocking_splice(self.table, to, from, len))
    }

    fn drop(&mut self, stream: Resource<DynOutputStream>) -> wasmtime::Result<()> {
        self.table.delete(stream)?;
        Ok(())
    }
}
