//! Statements as they were verified last: what is asked for often is verified once.

use crate::{limits::RECENT, state::Digest};
use actum_model::{Descriptor, Lease, Signed};
use std::{collections::HashMap, sync::Arc};

/// Statements of one kind, by the digest in their ids. Half of them are the newest, half those before; none of the maps is
/// ever iterated.
#[derive(Debug)]
struct Halves<T> {
    young: HashMap<Digest, Arc<Signed<T>>>,
    old: HashMap<Digest, Arc<Signed<T>>>,
}

impl<T> Default for Halves<T> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new() }
    }
}

impl<T> Halves<T> {
    fn get(&mut self, id: &Digest) -> Option<Arc<Signed<T>>> {
        if let Some(held) = self.young.get(id) {
            return Some(Arc::clone(held));
        }
        let held = self.old.remove(id)?;
        self.put(*id, Arc::clone(&held));
        Some(held)
    }

    fn put(&mut self, id: Digest, statement: Arc<Signed<T>>) {
        // Of two kinds, two halves each.
        if self.young.len() >= RECENT / 4 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, statement);
    }
}

/// The descriptors and leases verified last, at most [`RECENT`] together.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    descriptors: Halves<Descriptor>,
    leases: Halves<Lease>,
}

impl Recent {
    pub(crate) fn descriptor(&mut self, id: &Digest) -> Option<Arc<Signed<Descriptor>>> {
        self.descriptors.get(id)
    }

    pub(crate) fn lease(&mut self, id: &Digest) -> Option<Arc<Signed<Lease>>> {
        self.leases.get(id)
    }

    pub(crate) fn put_descriptor(&mut self, id: Digest, statement: Arc<Signed<Descriptor>>) {
        self.descriptors.put(id, statement);
    }

    pub(crate) fn put_lease(&mut self, id: Digest, statement: Arc<Signed<Lease>>) {
        self.leases.put(id, statement);
    }
}
