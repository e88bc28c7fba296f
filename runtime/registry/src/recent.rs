//! Statements read back from disk lately, and verified at most once.

use crate::{fetch::payload_of, limits::RECENT, state::Digest};
use actum_model::{Descriptor, Lease, Signed, Statement};
use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

/// A statement's bytes, which are those that were verified when it was taken in: their digest is.
#[derive(Debug)]
pub(crate) struct Held<T> {
    pub(crate) bytes: Vec<u8>,
    signed: OnceLock<Option<Arc<Signed<T>>>>,
}

impl<T: Statement> Held<T> {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, signed: OnceLock::new() }
    }

    /// The statement, its signature verified: now, or when this was asked before.
    pub(crate) fn signed(&self) -> Option<Arc<Signed<T>>> {
        self.signed.get_or_init(|| Signed::verify(&self.bytes).ok().map(Arc::new)).clone()
    }

    /// What it says.
    pub(crate) fn payload(&self) -> Option<T> {
        match self.signed.get() {
            Some(signed) => signed.as_ref().map(|signed| signed.payload().clone()),
            None => payload_of(&self.bytes),
        }
    }
}

/// Statements of one kind, by the digest in their ids. Half of them are the newest, half those before; neither map is ever
/// iterated.
#[derive(Debug)]
struct Halves<T> {
    young: HashMap<Digest, Arc<Held<T>>>,
    old: HashMap<Digest, Arc<Held<T>>>,
}

impl<T> Default for Halves<T> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new() }
    }
}

impl<T> Halves<T> {
    fn get(&mut self, id: &Digest) -> Option<Arc<Held<T>>> {
        if let Some(held) = self.young.get(id) {
            return Some(Arc::clone(held));
        }
        let held = self.old.remove(id)?;
        self.put(*id, Arc::clone(&held));
        Some(held)
    }

    fn put(&mut self, id: Digest, held: Arc<Held<T>>) {
        // Of two kinds, two halves each.
        if self.young.len() >= RECENT / 4 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, held);
    }
}

/// The descriptors and leases read last, at most [`RECENT`] together.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    descriptors: Halves<Descriptor>,
    leases: Halves<Lease>,
}

/// A kind of statement that is kept.
pub(crate) trait Kept: Statement {
    fn get(recent: &mut Recent, id: &Digest) -> Option<Arc<Held<Self>>>;
    fn put(recent: &mut Recent, id: Digest, held: Arc<Held<Self>>);
}

impl Kept for Descriptor {
    fn get(recent: &mut Recent, id: &Digest) -> Option<Arc<Held<Self>>> {
        recent.descriptors.get(id)
    }

    fn put(recent: &mut Recent, id: Digest, held: Arc<Held<Self>>) {
        recent.descriptors.put(id, held);
    }
}

impl Kept for Lease {
    fn get(recent: &mut Recent, id: &Digest) -> Option<Arc<Held<Self>>> {
        recent.leases.get(id)
    }

    fn put(recent: &mut Recent, id: Digest, held: Arc<Held<Self>>) {
        recent.leases.put(id, held);
    }
}
