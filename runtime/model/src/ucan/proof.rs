//! Delegations as proofs: verified, with their ids, cheap to clone; and those seen before.

use super::policy::{self, Statement as Predicate};
use crate::{Delegation, DelegationId, EnvelopeError, Signed};
use ipld_core::ipld::Ipld;
use std::{
    collections::{HashMap, VecDeque},
    ops::Deref,
    sync::Arc,
};

/// A verified delegation with its id. Clones share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof(Arc<Held>);

#[derive(Debug, PartialEq, Eq)]
struct Held {
    id: DelegationId,
    signed: Signed<Delegation>,
}

impl Proof {
    /// Reads and verifies a delegation: encoding, signature, and its own rules; not its time, and not its place in a chain.
    pub fn read(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        Signed::<Delegation>::verify(bytes).map(Self::from)
    }

    /// The delegation's id, reckoned once.
    pub fn id(&self) -> &DelegationId {
        &self.0.id
    }

    /// The delegation with its signature.
    pub fn signed(&self) -> &Signed<Delegation> {
        &self.0.signed
    }

    /// The envelope's bytes.
    pub fn bytes(&self) -> &[u8] {
        self.0.signed.bytes()
    }

    /// About what it takes in memory, in bytes. A value of one byte becomes a hundred when it is decoded.
    fn weight(&self) -> usize {
        let delegation = self.0.signed.payload();
        let facts = delegation.meta.iter().flatten().map(|(key, value)| key.len() + weight(value));
        let policy = delegation.pol.statements.iter().map(weight_of_statement);
        size_of::<Held>() + self.bytes().len() + facts.chain(policy).sum::<usize>()
    }
}

fn weight(value: &Ipld) -> usize {
    let inside = match value {
        Ipld::String(text) => text.len(),
        Ipld::Bytes(bytes) => bytes.len(),
        Ipld::List(list) => list.iter().map(weight).sum(),
        Ipld::Map(map) => {
            map.iter().map(|(key, value)| size_of::<String>() + key.len() + weight(value)).sum()
        }
        _ => 0,
    };
    size_of::<Ipld>() + inside
}

fn weight_of_statement(statement: &Predicate) -> usize {
    let path = |s: &policy::Selector| s.as_str().len() * 2 + size_of_val(s.segments());
    let inside = match statement {
        Predicate::Eq(s, value)
        | Predicate::Ne(s, value)
        | Predicate::Lt(s, value)
        | Predicate::Le(s, value)
        | Predicate::Gt(s, value)
        | Predicate::Ge(s, value) => path(s) + weight(value),
        // Between two wildcards there is at least an empty string.
        Predicate::Like(s, pattern) => path(s) + pattern.as_str().len() * (2 + size_of::<String>()),
        Predicate::And(inner) | Predicate::Or(inner) => inner.iter().map(weight_of_statement).sum(),
        Predicate::Not(inner) => weight_of_statement(inner),
        Predicate::All(s, inner) | Predicate::Any(s, inner) => path(s) + weight_of_statement(inner),
    };
    size_of::<Predicate>() + inside
}

impl From<Signed<Delegation>> for Proof {
    fn from(signed: Signed<Delegation>) -> Self {
        Self(Arc::new(Held { id: signed.id(), signed }))
    }
}

impl Deref for Proof {
    type Target = Delegation;
    fn deref(&self) -> &Delegation {
        self.0.signed.payload()
    }
}

/// Delegations that were verified before, so that bytes seen again cost their digest and no signature.
///
/// The oldest leaves first. It remembers only what verified, so whoever sends many new delegations pays a signature for
/// each, and costs the others a verification at most.
#[derive(Debug, Default)]
pub struct Known {
    proofs: HashMap<DelegationId, Proof>,
    order: VecDeque<DelegationId>,
    bytes: usize,
}

impl Known {
    /// The most delegations remembered.
    pub const MAX_PROOFS: usize = 4_096;
    /// The most memory they may take, in bytes, as far as that can be told.
    pub const MAX_BYTES: usize = 16 << 20;

    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.proofs.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.proofs.is_empty()
    }

    /// A delegation verified before.
    pub fn get(&self, id: &DelegationId) -> Option<&Proof> {
        self.proofs.get(id)
    }

    /// The delegation of these bytes: the one verified before, or verified now and remembered.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Proof, EnvelopeError> {
        // The digest of more than an envelope may be is not worth reckoning.
        if bytes.len() <= <Delegation as crate::Statement>::MAX_BYTES
            && let Some(proof) = self.get(&DelegationId::of(bytes))
        {
            return Ok(proof.clone());
        }
        let proof = Proof::read(bytes)?;
        self.remember(proof.clone());
        Ok(proof)
    }

    /// Remembers a delegation that was verified elsewhere.
    pub fn remember(&mut self, proof: Proof) {
        let weight = proof.weight();
        let id = *proof.id();
        if weight > Self::MAX_BYTES || self.proofs.contains_key(&id) {
            return;
        }
        while self.proofs.len() >= Self::MAX_PROOFS || self.bytes + weight > Self::MAX_BYTES {
            let Some(oldest) = self.order.pop_front() else { break };
            self.bytes -= self.proofs.remove(&oldest).map_or(0, |gone| gone.weight());
        }
        self.bytes += weight;
        self.order.push_back(id);
        self.proofs.insert(id, proof);
    }
}
