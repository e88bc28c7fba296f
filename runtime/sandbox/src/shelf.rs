//! The shelf: the compiled components in memory, at most so many, the least recently used leaving first.

use crate::load::Loaded;
use actum_model::ComponentId;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Compiled components by their id.
pub(crate) struct Shelf {
    most: NonZeroUsize,
    places: Mutex<Places>,
}

#[derive(Default)]
struct Places {
    /// Counts uses: the clock of "least recently".
    now: u64,
    by_id: HashMap<ComponentId, (Arc<Loaded>, u64)>,
}

impl Shelf {
    pub(crate) fn new(most: NonZeroUsize) -> Self {
        Self { most, places: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.now += 1;
        places
    }

    /// A component that is here, as used now.
    pub(crate) fn get(&self, id: &ComponentId) -> Option<Arc<Loaded>> {
        let mut places = self.lock();
        let now = places.now;
        let (loaded, used) = places.by_id.get_mut(id)?;
        *used = now;
        Some(Arc::clone(loaded))
    }

    /// Puts a component here and gives it back; or the one that was here first, so that there is only ever one.
    pub(crate) fn put(&self, loaded: Arc<Loaded>) -> Arc<Loaded> {
        let mut places = self.lock();
        let now = places.now;
        if let Some((first, used)) = places.by_id.get_mut(loaded.id()) {
            *used = now;
            return Arc::clone(first);
        }
        if places.by_id.len() >= self.most.get() {
            let oldest = places.by_id.iter().min_by_key(|(_, (_, used))| *used).map(|(id, _)| *id);
            oldest.and_then(|id| places.by_id.remove(&id));
        }
        places.by_id.insert(*loaded.id(), (Arc::clone(&loaded), now));
        loaded
    }
}
