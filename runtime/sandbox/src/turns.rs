//! Turns: only so many actions run at once, since the pool has a slot for each.

use crate::error::ExecuteError;
use crate::execute::CancelToken;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How often something that waits looks whether it was cancelled. A token wakes nobody by itself.
pub(crate) const LOOK: Duration = Duration::from_millis(20);

/// Lets only so many actions run at once: the pool has a slot for each.
pub(crate) struct Turns {
    places: Mutex<TurnsLeft>,
    returned: Condvar,
}

struct TurnsLeft {
    free: u32,
    /// Callers asleep. While there are none, giving a turn back wakes nobody and costs no call of the system.
    waiting: u32,
}

impl Turns {
    pub(crate) fn new(actions: u32) -> Self {
        Self { places: Mutex::new(TurnsLeft { free: actions, waiting: 0 }), returned: Condvar::new() }
    }

    /// Waits for a turn. It ends when the guard is dropped.
    ///
    /// # Errors
    /// [`ExecuteError::Cancelled`], soon after the token is cancelled.
    pub(crate) fn take(&self, cancel: &CancelToken) -> Result<Turn<'_>, ExecuteError> {
        let mut left = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        while left.free == 0 {
            if cancel.is_cancelled() {
                return Err(ExecuteError::Cancelled);
            }
            left.waiting = left.waiting.saturating_add(1);
            left = self.returned.wait_timeout(left, LOOK).unwrap_or_else(PoisonError::into_inner).0;
            left.waiting = left.waiting.saturating_sub(1);
        }
        left.free = left.free.saturating_sub(1);
        Ok(Turn { turns: self })
    }

    /// A turn if one is free now.
    pub(crate) fn try_take(&self) -> Option<Turn<'_>> {
        let mut left = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        left.free = left.free.checked_sub(1)?;
        Some(Turn { turns: self })
    }
}

/// One action's turn.
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut left = self.turns.places.lock().unwrap_or_else(PoisonError::into_inner);
        left.free = left.free.saturating_add(1);
        let asleep = left.waiting > 0;
        drop(left);
        if asleep {
            self.turns.returned.notify_one();
        }
    }
}
