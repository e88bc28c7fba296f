//! When a statement is alive, and an offer with both its halves.

use crate::{Refused, corpus::Words};
use actum_model::{Descriptor, Lease, Offer, Signed};
use std::{cmp::Ordering, sync::Arc};

/// How far ahead of ours a provider's clock may be, in seconds: two minutes. It softens the beginning of a life only: a
/// clock that is behind loses as much of a life's end, and a lease is refreshed long before that.
pub const CLOCK_SKEW: u64 = 120;

/// Checks that a life has begun, give or take [`CLOCK_SKEW`], and is not over.
///
/// # Errors
/// [`Refused::Expired`] and [`Refused::NotYetValid`].
pub fn alive(nbf: u64, exp: u64, now: u64) -> Result<(), Refused> {
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
    /// The descriptor's words, where an index has looked at them.
    pub(crate) words: Option<Arc<Words>>,
}

impl LiveOffer {
    /// An offer of these halves.
    ///
    /// # Errors
    /// The halves are of two providers, or one of them is not alive. `None` within `Ok`: the lease does not cover the
    /// descriptor.
    pub fn of(
        descriptor: Arc<Signed<Descriptor>>,
        lease: Arc<Signed<Lease>>,
        now: u64,
    ) -> Result<Option<Self>, Refused> {
        let (d, l) = (descriptor.payload(), lease.payload());
        if d.iss != l.iss {
            return Err(Refused::TwoProviders { descriptor: d.iss, lease: l.iss });
        }
        alive(d.nbf, d.exp, now)?;
        alive(l.nbf, l.exp, now)?;
        let covered = d.seq >= l.descriptors_seq;
        Ok(covered.then_some(Self { descriptor, lease, words: None }))
    }

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

/// Whether a provider says that it has room. Who has comes first, then who is full, last who has no capacity at all.
///
/// How much room is not believed: whoever wants to be called says that it has nothing to do, and were that to count, fifty who
/// say so would keep all that do work off every page. Those who have room take turns.
#[derive(Clone, Copy, Debug)]
pub struct Readiness {
    /// Actions running.
    pub load: u32,
    /// Actions it runs at once.
    pub capacity: u32,
}

impl Readiness {
    /// What a lease says of it.
    pub fn of(lease: &Lease) -> Self {
        Self { load: lease.load, capacity: lease.capacity }
    }

    /// 0 where it has room, 1 where it is full, 2 where it has no capacity.
    fn class(&self) -> u8 {
        match (self.capacity, self.load < self.capacity) {
            (0, _) => 2,
            (_, true) => 0,
            (_, false) => 1,
        }
    }
}

impl Ord for Readiness {
    fn cmp(&self, other: &Self) -> Ordering {
        self.class().cmp(&other.class())
    }
}

impl PartialOrd for Readiness {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Readiness {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Readiness {}
