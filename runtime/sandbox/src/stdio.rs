//! Captured standard output and error: bounded together, and ending the guest at the same byte every time.

use crate::error::Stop;
use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

/// The permit a stream hands out, in bytes. It bounds what one write may make the host allocate.
const PERMIT: usize = 64 << 10;

/// What a guest wrote so far.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Written {
    pub(crate) fn len(&self) -> u64 {
        u64::try_from(self.stdout.len().saturating_add(self.stderr.len())).unwrap_or(u64::MAX)
    }
}

/// Both streams of one action, with their common limit.
#[derive(Clone, Debug)]
pub(crate) struct Capture {
    limit: u64,
    written: Arc<Mutex<Written>>,
}

impl Capture {
    /// Captures at most `limit` bytes, both streams together.
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, written: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what was written.
    pub(crate) fn take(&self) -> Written {
        std::mem::take(&mut *self.lock())
    }

    /// The stream of standard output, or of standard error.
    pub(crate) fn stream(&self, stderr: bool) -> Stream {
        Stream { capture: self.clone(), stderr }
    }
}

/// One of the two streams.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    capture: Capture,
    stderr: bool,
}

impl Stream {
    /// Takes a whole write or none of it: a write that would pass the limit ends the guest.
    fn append(&self, bytes: &[u8]) -> StreamResult<()> {
        let mut written = self.capture.lock();
        let more = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if written.len().saturating_add(more) > self.capture.limit {
            return Err(StreamError::Trap(Stop::Stdio.into()));
        }
        if self.stderr {
            written.stderr.extend_from_slice(bytes)
        } else {
            written.stdout.extend_from_slice(bytes)
        }
        Ok(())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Stream {
    async fn ready(&mut self) {}
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Stream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.append(&bytes)
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT)
    }
}
