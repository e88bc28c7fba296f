//! When a provider announces what: soft state has to be said again before it expires, and not by everyone at once.

use actum_model::{Descriptor, Lease};

/// How long announced statements live, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Of a lease, 6 to [`Lease::MAX_LIFE`]. Default 600: a provider that vanished is forgotten in ten minutes.
    pub lease: u64,
    /// Of a descriptor, 6 to [`Descriptor::MAX_LIFE`]. Default 21,600: six hours.
    pub descriptor: u64,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { lease: 600, descriptor: 21_600 }
    }
}

impl Lifetimes {
    /// The shortest life, 6 seconds: below it a third of it is no time to be heard again.
    pub const MIN: u64 = 6;
}

/// A statement's sequence number and life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The sequence number.
    pub seq: u64,
    /// Valid from, in seconds since the Unix epoch.
    pub nbf: u64,
    /// Valid until, in seconds since the Unix epoch.
    pub exp: u64,
}

/// What to sign and announce now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// For every descriptor, when descriptors are due; all of them carry one sequence number.
    pub descriptors: Option<Validity>,
    /// For the lease, which is always due.
    pub lease: Validity,
    /// The sequence number the lease names as its descriptors'.
    pub descriptors_seq: u64,
}

/// Says what is due, and when the next is.
///
/// A refresh falls between a third and a half of a life after the last one, where within is the caller's jitter: late
/// enough to be cheap, early enough that one lost announcement does no harm, and spread so that providers started
/// together do not stay together.
#[derive(Clone, Debug)]
pub struct Announcer {
    lifetimes: Lifetimes,
    lease_due: u64,
    descriptors_due: u64,
    descriptors_seq: u64,
    last_seq: u64,
}

impl Announcer {
    /// Everything is due at once. Lives outside their range are brought into it.
    ///
    /// `last_seq` is the highest sequence number used before, 0 when unknown: numbers also never fall below the time, so
    /// a restarted provider goes on upwards unless its clock went back.
    pub fn new(lifetimes: Lifetimes, last_seq: u64) -> Self {
        let lifetimes = Lifetimes {
            lease: lifetimes.lease.clamp(Lifetimes::MIN, Lease::MAX_LIFE),
            descriptor: lifetimes.descriptor.clamp(Lifetimes::MIN, Descriptor::MAX_LIFE),
        };
        Self { lifetimes, lease_due: 0, descriptors_due: 0, descriptors_seq: 0, last_seq }
    }

    /// When to ask again, in seconds since the Unix epoch; 0 when something is due from the start.
    pub fn due(&self) -> u64 {
        self.lease_due.min(self.descriptors_due)
    }

    /// What is offered has changed: descriptors are due at once. A withdrawn offer dies with the lease that follows, which
    /// names a higher sequence number than its descriptor has.
    pub fn offers_changed(&mut self) {
        self.descriptors_due = 0;
    }

    /// Addresses or load have changed enough to be worth saying: the lease is due at once.
    pub fn readiness_changed(&mut self) {
        self.lease_due = 0;
    }

    /// What takes back everything announced so far: for whoever leaves. To be kept until what it takes back has expired.
    ///
    /// It has the last number used, and none of its own: whoever comes back within the second is not taken back with it.
    pub fn take_back(&self, now: u64) -> Validity {
        Validity { seq: self.last_seq, nbf: now, exp: now.saturating_add(self.lifetimes.descriptor) }
    }

    /// What to announce at `now`, in seconds since the Unix epoch, if anything. `jitter` is any random number.
    pub fn poll(&mut self, now: u64, jitter: u64) -> Option<Announcement> {
        if now < self.due() {
            return None;
        }
        let mut descriptors = None;
        if now >= self.descriptors_due {
            let seq = self.next_seq(now);
            self.descriptors_seq = seq;
            self.descriptors_due = refresh(now, self.lifetimes.descriptor, jitter);
            descriptors =
                Some(Validity { seq, nbf: now, exp: now.saturating_add(self.lifetimes.descriptor) });
        }
        self.lease_due = refresh(now, self.lifetimes.lease, jitter);
        let seq = self.next_seq(now);
        let lease = Validity { seq, nbf: now, exp: now.saturating_add(self.lifetimes.lease) };
        Some(Announcement { descriptors, lease, descriptors_seq: self.descriptors_seq })
    }

    fn next_seq(&mut self, now: u64) -> u64 {
        self.last_seq = self.last_seq.saturating_add(1).max(now);
        self.last_seq
    }
}

/// A time between a third and a half of a life after `now`.
fn refresh(now: u64, life: u64, jitter: u64) -> u64 {
    let (soonest, latest) = (life / 3, life / 2);
    now.saturating_add(soonest + jitter % (latest - soonest + 1))
}
