//! An ad: an offer, verified, under a key it belongs to.

use super::{Key, keys_of, limits::VERIFIED_HELD};
use crate::{LiveOffer, Refused, live::alive};
use actum_model::{Descriptor, Did, EnvelopeError, Lease, Offer, Signed, Statement, id::sha256};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// A verified descriptor with what is often asked about it.
#[derive(Clone, Debug)]
pub(super) struct Described {
    pub(super) signed: Arc<Signed<Descriptor>>,
    keys: Arc<[Key]>,
    /// The sha2-256 of the descriptor's bytes.
    pub(super) digest: [u8; 32],
}

/// An offer that may stand under a key. It cannot be made without verifying it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ad {
    pub(super) descriptor: Option<Described>,
    pub(super) lease: Arc<Signed<Lease>>,
}

impl Ad {
    /// Whose it is.
    pub fn provider(&self) -> Did {
        self.lease.payload().iss
    }

    /// What is offered. `None` for a registry, whose ad is its lease alone.
    pub fn descriptor(&self) -> Option<&Signed<Descriptor>> {
        self.descriptor.as_ref().map(|d| &*d.signed)
    }

    /// How things stand with the provider.
    pub fn lease(&self) -> &Signed<Lease> {
        &self.lease
    }

    /// The offer it is of, to be searched and ranked. `None` for a registry.
    pub fn live_offer(&self) -> Option<LiveOffer> {
        let descriptor = self.descriptor.as_ref()?.signed.clone();
        Some(LiveOffer { descriptor, lease: self.lease.clone(), words: None })
    }

    /// The ad as messages carry it; a registry's has no bytes in place of a descriptor.
    pub fn to_wire(&self) -> Offer {
        let descriptor = self.descriptor().map(|d| d.bytes().to_vec()).unwrap_or_default();
        Offer { descriptor: descriptor.into(), lease: self.lease.bytes().to_vec().into() }
    }

    /// What tells the provider's ads under one key apart: the release, or nothing for a registry.
    pub(super) fn what(&self) -> [u8; 32] {
        self.descriptor().map_or([0; 32], |d| digest_of(d.payload().release.digest()))
    }

    /// The digest that tickets are bound to.
    pub(super) fn digest(&self) -> [u8; 32] {
        self.descriptor.as_ref().map_or([0; 32], |d| d.digest)
    }

    /// When the descriptor ends, in milliseconds; never, where there is none.
    pub(super) fn descriptor_ends(&self) -> u64 {
        self.descriptor().map_or(u64::MAX, |d| d.payload().exp.saturating_mul(1_000))
    }
}

/// The sha2-256 inside an id.
pub(super) fn digest_of(digest: &[u8]) -> [u8; 32] {
    digest.try_into().unwrap_or([0; 32])
}

/// Why an offer is no ad under a key.
#[derive(Debug, thiserror::Error)]
pub enum AdRefused {
    /// One of its statements was refused.
    #[error(transparent)]
    Statement(#[from] Refused),
    /// The key is none of the descriptor's; or it is that of registries, and there is a descriptor.
    #[error("the offer does not belong under the key {key}")]
    OtherKey {
        /// The key.
        key: Key,
    },
    /// The lease no longer covers the descriptor.
    #[error("the lease covers descriptors from sequence number {covered} on; this one has {seq}")]
    NotCovered {
        /// The descriptor's sequence number.
        seq: u64,
        /// The least that the lease covers.
        covered: u64,
    },
}

impl AdRefused {
    /// The stable code, as on wires and in metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Statement(refused) => refused.code(),
            Self::OtherKey { .. } => "other-key",
            Self::NotCovered { .. } => "not-covered",
        }
    }

    /// Whether whoever sent it is to blame. Time is nobody's fault: what was alive when it was sent may have ended since.
    pub fn is_fault(&self) -> bool {
        !matches!(
            self,
            Self::Statement(Refused::Expired { .. } | Refused::NotYetValid { .. }) | Self::NotCovered { .. }
        )
    }
}

/// Verifies offers, and remembers which bytes it has verified: an advertiser that waits sends the same ones again and again, and
/// a lookup gets them from many registrars. The last ones are remembered, whoever sent them.
#[derive(Clone, Debug)]
pub struct Verifier {
    descriptors: Known<Described>,
    leases: Known<Arc<Signed<Lease>>>,
}

impl Default for Verifier {
    fn default() -> Self {
        Self::new(VERIFIED_HELD)
    }
}

impl Verifier {
    /// A verifier that remembers so many descriptors and so many leases. Default [`VERIFIED_HELD`].
    pub fn new(held: usize) -> Self {
        Self { descriptors: Known::new(held), leases: Known::new(held) }
    }

    /// How many signatures it had to check.
    pub fn checked(&self) -> u64 {
        self.descriptors.missed + self.leases.missed
    }

    /// An offer as an ad under a key, at `now_ms`: both signatures, one provider, both alive, the lease covering the
    /// descriptor, and the key one of the descriptor's.
    pub fn ad(&mut self, offer: &Offer, key: &Key, now_ms: u64) -> Result<Ad, AdRefused> {
        let lease = self.lease(&offer.lease, now_ms)?;
        if *key == Key::registries() {
            let alone = offer.descriptor.is_empty();
            return alone.then_some(Ad { descriptor: None, lease }).ok_or(AdRefused::OtherKey { key: *key });
        }
        let descriptor = self.descriptors.get(&offer.descriptor, |bytes, digest| {
            let signed = Signed::<Descriptor>::verify(bytes)?;
            let keys = keys_of(signed.payload()).into();
            Ok(Described { signed: Arc::new(signed), keys, digest })
        })?;
        let (d, l) = (descriptor.signed.payload(), lease.payload());
        if d.iss != l.iss {
            return Err(Refused::TwoProviders { descriptor: d.iss, lease: l.iss }.into());
        }
        alive(d.nbf, d.exp, now_ms / 1_000)?;
        if d.seq < l.descriptors_seq {
            return Err(AdRefused::NotCovered { seq: d.seq, covered: l.descriptors_seq });
        }
        if descriptor.keys.binary_search(key).is_err() {
            return Err(AdRefused::OtherKey { key: *key });
        }
        Ok(Ad { descriptor: Some(descriptor), lease })
    }

    /// A lease that is alive at `now_ms`.
    pub(super) fn lease(&mut self, bytes: &[u8], now_ms: u64) -> Result<Arc<Signed<Lease>>, Refused> {
        let lease = self.leases.get(bytes, |bytes, _| Signed::<Lease>::verify(bytes).map(Arc::new))?;
        alive(lease.payload().nbf, lease.payload().exp, now_ms / 1_000)?;
        Ok(lease)
    }
}

/// What was verified last, by the digest of its bytes. The oldest leaves.
#[derive(Clone, Debug)]
struct Known<T> {
    held: usize,
    known: BTreeMap<[u8; 32], T>,
    order: VecDeque<[u8; 32]>,
    missed: u64,
}

impl<T: Clone> Known<T> {
    fn new(held: usize) -> Self {
        Self { held, known: BTreeMap::new(), order: VecDeque::new(), missed: 0 }
    }

    fn get(
        &mut self,
        bytes: &[u8],
        verify: impl FnOnce(&[u8], [u8; 32]) -> Result<T, EnvelopeError>,
    ) -> Result<T, Refused> {
        // Nothing so long is a statement: not worth its digest.
        if bytes.len() > Descriptor::MAX_BYTES {
            return Ok(verify(bytes, [0; 32])?);
        }
        let digest = sha256(bytes);
        if let Some(known) = self.known.get(&digest) {
            return Ok(known.clone());
        }
        self.missed += 1;
        let new = verify(bytes, digest)?;
        while self.order.len() >= self.held {
            let Some(oldest) = self.order.pop_front() else { break };
            self.known.remove(&oldest);
        }
        if self.held > 0 {
            self.known.insert(digest, new.clone());
            self.order.push_back(digest);
        }
        Ok(new)
    }
}
