//! When a statement is alive, and an offer with both its halves.

use crate::Refused;
use actum_model::{Descriptor, Lease, Offer, Signed};
use std::sync::Arc;

/// How far ahead of ours a provider's clock may be, in seconds: two minutes. It softens the beginning of a life only: a
/// clock that is behind loses as much of a life's end, and a lease is refreshed long before that.
pub const CLOCK_SKEW: u64 = 120;

/// Checks that a life has begun, give or take [`CLOCK_SKEW`], and is not over.
pub(crate) fn alive(nbf: u64, exp: u64, now: u64) -> Result<(), Refused> {
    if exp <= now {
        Err(Refused::Expired { exp, now })
    } else if nbf > now.saturating_add(CLOCK_SKEW) {
        Err(Refused::NotYetValid { nbf, now })
    } else {
        Ok(())
    }
}

/// An offer that can be called now: a descriptor and its provider's lease. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LiveOffer {
    pub(crate) descriptor: Arc<Signed<Descriptor>>,
    pub(crate) lease: Arc<Signed<Lease>>,
}

impl LiveOffer {
    /// What is offered.
    pub fn descriptor(&self) -> &Signed<Descriptor> {
        &self.descriptor
    }

    /// How things stand with the provider.
    pub fn lease(&self) -> &Signed<Lease> {
        &self.lease
    }

    /// The offer as pages carry it.
    pub fn to_wire(&self) -> Offer {
        Offer {
            descriptor: self.descriptor.bytes().to_vec().into(),
            lease: self.lease.bytes().to_vec().into(),
        }
    }

    /// Whether both halves are alive and the lease still covers the descriptor.
    ///
    /// A descriptor newer than the lease is covered: its provider signed it later, and the next lease will say so.
    pub(crate) fn is_live(descriptor: &Descriptor, lease: &Lease, now: u64) -> bool {
        alive(descriptor.nbf, descriptor.exp, now).is_ok()
            && alive(lease.nbf, lease.exp, now).is_ok()
            && descriptor.seq >= lease.descriptors_seq
    }
}
