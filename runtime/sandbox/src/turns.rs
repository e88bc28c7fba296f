//! Turns: only so many actions run at once, since the pool has a slot for each.

use crate::error::ExecuteError;
use crate::execute::CancelToken;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How often something that waits looks whether it was cancelled. A token wakes nobody by itself.
pub(crate) const LOOK: Duration = Duration::from_millis(20);

/// Lets only so many actions run at once: the pool has a slot for each.
pub(crate) struct Turns {
    free: Mutex<u32>,
    returned: Condvar,
}

impl Turns {
    pub(crate) fn new(actions: u32) -> Self {
        Self { free: Mutex::new(actions), returned: Condvar::new() }
    }

    /// Waits for a turn. It ends when the guard is dropped.
    ///
    /// # Errors
    /// [`ExecuteError::Cancelled`], soon after the token is cancelled.
    pub(crate) fn take(&self, cancel: Option<&CancelToken>) -> Result<Turn<'_>, ExecuteError> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            if cancel.is_some_and(CancelToken::is_cancelled) {
                return Err(ExecuteError::Cancelled);
            }
            free = match cancel {
                Some(_) => self.returned.wait_timeout(free, LOOK).unwrap_or_else(PoisonError::into_inner).0,
                None => self.returned.wait(free).unwrap_or_else(PoisonError::into_inner),
            };
        }
        *free = free.saturating_sub(1);
        Ok(Turn { turns: self })
    }
}

/// One action's turn.
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut free = self.turns.free.lock().unwrap_or_else(PoisonError::into_inner);
        *free = free.saturating_add(1);
        self.turns.returned.notify_one();
    }
}
