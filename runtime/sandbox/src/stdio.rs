//! Captured standard output and error: bounded together, and ending the guest at the same byte every time.

use crate::error::Stop;
use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

/// The permit a stream hands out, in bytes. It bounds what one write may make the host allocate.
pub(crate) const PERMIT: usize = 64 << 10;

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

/// Both streams of one action, with their common limit. Most functions never open one.
#[derive(Debug)]
pub(crate) struct Capture {
    limit: u64,
    written: Option<Arc<Mutex<Written>>>,
}

fn lock(written: &Mutex<Written>) -> MutexGuard<'_, Written> {
    written.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Capture {
    /// Captures at most `limit` bytes, both streams together.
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, written: None }
    }

    /// Takes what was written.
    pub(crate) fn take(&self) -> Written {
        self.written.as_deref().map(|written| std::mem::take(&mut *lock(written))).unwrap_or_default()
    }

    /// The stream of standard output, or of standard error.
    pub(crate) fn stream(&mut self, stderr: bool) -> Stream {
        let written = Arc::clone(self.written.get_or_insert_default());
        Stream { limit: self.limit, written, stderr }
    }
}

/// One of the two streams.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    limit: u64,
    written: Arc<Mutex<Written>>,
    stderr: bool,
}

impl Stream {
    /// Takes a whole write or none of it: a write that would pass the limit ends the guest.
    fn append(&self, bytes: &[u8]) -> StreamResult<()> {
        let mut written = lock(&self.written);
        let more = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if written.len().saturating_add(more) > self.limit {
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
