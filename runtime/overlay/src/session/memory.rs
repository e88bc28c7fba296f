//! Memory for unfinished messages: taken before it is used, by session and by all sessions together.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// The memory all sessions share.
#[derive(Debug)]
pub(crate) struct Budget {
    held: AtomicUsize,
    limit: NonZeroUsize,
}

impl Budget {
    pub(crate) fn new(limit: NonZeroUsize) -> Arc<Self> {
        Arc::new(Self { held: AtomicUsize::new(0), limit })
    }
}

/// One session's share of it.
#[derive(Debug)]
pub(super) struct Account {
    total: Arc<Budget>,
    held: AtomicUsize,
    limit: NonZeroUsize,
}

impl Account {
    pub(super) fn new(total: Arc<Budget>, limit: NonZeroUsize) -> Arc<Self> {
        Arc::new(Self { total, held: AtomicUsize::new(0), limit })
    }

    /// Bytes this session may hold.
    pub(super) fn limit(&self) -> usize {
        self.limit.get().min(self.total.limit.get())
    }

    /// Bytes this session holds.
    #[cfg(feature = "fuzzing")]
    pub(super) fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    fn take(&self, bytes: usize) -> Result<(), NoRoom> {
        let add = |counter: &AtomicUsize, limit: NonZeroUsize| {
            let fits = |held: usize| held.checked_add(bytes).filter(|sum| *sum <= limit.get());
            counter.fetch_update(Relaxed, Relaxed, fits).map(drop).map_err(|_| NoRoom)
        };
        add(&self.held, self.limit)?;
        add(&self.total.held, self.total.limit).inspect_err(|_| {
            self.held.fetch_sub(bytes, Relaxed);
        })
    }

    fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Relaxed);
        self.total.held.fetch_sub(bytes, Relaxed);
    }
}

/// The memory for unfinished messages is used up.
#[derive(Debug)]
pub(super) struct NoRoom;

/// Why a piece was not added.
#[derive(Debug)]
pub(super) enum PartialError {
    NoRoom,
    TooLarge,
}

/// A message of which some frames have come. It gives its memory back when dropped.
#[derive(Debug)]
pub(super) struct Partial {
    bytes: Vec<u8>,
    limit: usize,
    account: Arc<Account>,
}

impl Partial {
    pub(super) fn new(account: &Arc<Account>, limit: usize) -> Self {
        Self { bytes: Vec::new(), limit, account: Arc::clone(account) }
    }

    /// Adds a frame's payload, growing by doubling, never past the message's limit.
    pub(super) fn push(&mut self, payload: &[u8]) -> Result<(), PartialError> {
        let length = self.bytes.len().saturating_add(payload.len());
        if length > self.limit {
            return Err(PartialError::TooLarge);
        }
        let capacity = self.bytes.capacity();
        if length > capacity {
            let target = capacity.saturating_mul(2).clamp(length, self.limit);
            self.account.take(target.saturating_sub(capacity)).map_err(|NoRoom| PartialError::NoRoom)?;
            self.bytes.reserve_exact(target.saturating_sub(self.bytes.len()));
        }
        self.bytes.extend_from_slice(payload);
        Ok(())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        self.account.give_back(self.bytes.capacity());
    }
}
