//! Requests under way, as pollables see them: one is ready once the guest was told so, not when the answer came.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wasmtime_wasi::p2::Pollable;

/// The requests of one action. Behind a lock only because pollables must own a handle: one thread uses it.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Requests that were sent.
    departed: BTreeSet<u64>,
    /// Those the guest knows to have an answer.
    landed: BTreeSet<u64>,
    /// Those looked at in the poll now going on and not known to have one.
    waited: BTreeSet<u64>,
}

impl Flights {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a request was sent.
    pub(crate) fn depart(&self, number: u64) {
        self.lock().departed.insert(number);
    }

    /// Forgets what was looked at before.
    pub(crate) fn begin_poll(&self) {
        self.lock().waited.clear();
    }

    /// The requests looked at since, in order; those never sent apart, since nothing can come of them.
    pub(crate) fn waited(&self) -> Vec<u64> {
        let state = self.lock();
        state.waited.intersection(&state.departed).copied().collect()
    }

    /// Notes that the guest was told of these answers.
    pub(crate) fn land(&self, numbers: &[u64]) {
        self.lock().landed.extend(numbers);
    }

    /// Whether the guest knows that there is an answer.
    pub(crate) fn has_landed(&self, number: u64) -> bool {
        self.lock().landed.contains(&number)
    }

    /// Whether it was sent.
    pub(crate) fn has_departed(&self, number: u64) -> bool {
        self.lock().departed.contains(&number)
    }

    /// Notes that the answer was taken, or that nobody wants it any more.
    pub(crate) fn forget(&self, number: u64) {
        let mut state = self.lock();
        state.departed.remove(&number);
        // Still landed: a pollable of it stays ready.
        state.landed.insert(number);
    }
}

/// A request's pollable.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) number: u64,
    pub(crate) flights: Arc<Flights>,
}

#[wasmtime_wasi::async_trait]
impl Pollable for Arrival {
    async fn ready(&mut self) {
        let waits = {
            let mut state = self.flights.lock();
            let waits = !state.landed.contains(&self.number);
            if waits {
                state.waited.insert(self.number);
            }
            waits
        };
        if waits {
            std::future::pending::<()>().await;
        }
    }
}
