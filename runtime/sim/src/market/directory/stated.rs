//! Statements as they are passed about: shared, with their digests.

use actum_discovery::reconcile::StatementDigest;
use actum_model::{Descriptor, Lease, SecretKey, Signed, Statement, id::sha256};
use std::sync::Arc;

/// A signed statement and its digest. Cheap to clone.
#[derive(Debug)]
pub(crate) struct Stated<T> {
    pub(crate) signed: Arc<Signed<T>>,
    pub(crate) id: StatementDigest,
}

impl<T> Clone for Stated<T> {
    fn clone(&self) -> Self {
        Self { signed: self.signed.clone(), id: self.id }
    }
}

impl<T: Statement> Stated<T> {
    /// Signs a statement.
    pub(crate) fn sign(statement: T, key: &SecretKey) -> Self {
        let signed = Signed::sign(statement, key);
        Self { id: sha256(signed.bytes()), signed: Arc::new(signed) }
    }

    /// What it weighs.
    pub(crate) fn bytes(&self) -> u64 {
        self.signed.bytes().len() as u64
    }
}

/// An offer: under which of all names, and of which capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) name: u32,
    pub(crate) capability: u8,
}

/// Descriptors of one provider, by capability.
pub(crate) type Descriptors = Arc<Vec<(u8, Stated<Descriptor>)>>;

/// What a provider announces at once.
#[derive(Debug)]
pub(crate) struct Sheet {
    pub(crate) name: u32,
    pub(crate) lease: Stated<Lease>,
    pub(crate) descriptors: Descriptors,
}

impl Sheet {
    /// What its statements weigh.
    pub(crate) fn bytes(&self) -> u64 {
        let descriptors = self.descriptors.iter().map(|(_, descriptor)| descriptor.bytes());
        descriptors.fold(self.lease.bytes(), u64::saturating_add)
    }

    /// How many statements it has.
    pub(crate) fn statements(&self) -> u64 {
        self.descriptors.len() as u64 + 1
    }
}

/// One statement that a registry gives to another.
#[derive(Clone, Debug)]
pub(crate) enum Given {
    Lease(u32, Stated<Lease>),
    Descriptor(Key, Stated<Descriptor>),
}

impl Given {
    /// Under which name it was said.
    pub(crate) fn name(&self) -> u32 {
        match self {
            Self::Lease(name, _) => *name,
            Self::Descriptor(key, _) => key.name,
        }
    }

    /// What it weighs.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Lease(_, lease) => lease.bytes(),
            Self::Descriptor(_, descriptor) => descriptor.bytes(),
        }
    }
}
