//! How much one peer, and one address range, may ask of a receiver.

use crate::{
    advertise::{
        LocalAddresses, Prefix,
        limits::{FAULT_COST, RATES_HELD},
    },
    rates::{Rates, TooMuch},
};
use actum_model::Did;
use std::net::IpAddr;

/// A burst, and then so many a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Requests of one peer in a burst.
    pub peer_burst: u64,
    /// Milliseconds in which one peer may make one request more.
    pub peer_every_ms: u64,
    /// Requests of one address prefix (a /24 or a /48) in a burst.
    pub prefix_burst: u64,
    /// Milliseconds in which one address prefix may make one request more.
    pub prefix_every_ms: u64,
}

impl Allowance {
    /// Announcements: a provider makes one in five minutes, and one more when something changes.
    pub const ANNOUNCEMENTS: Self =
        Self { peer_burst: 16, peer_every_ms: 5_000, prefix_burst: 64, prefix_every_ms: 1_000 };
    /// Queries: what a person types, and what an agent asks step by step.
    pub const QUERIES: Self =
        Self { peer_burst: 128, peer_every_ms: 100, prefix_burst: 1_024, prefix_every_ms: 10 };
}

/// What was asked of a receiver lately: at most 4,096 peers and as many prefixes are remembered; more are refused as
/// [`TooMuch::Busy`] until another's burst is whole again.
///
/// `now` is milliseconds since the Unix epoch; the peer's key and address are what the connection proved.
#[derive(Clone, Debug)]
pub struct Intake {
    local: LocalAddresses,
    by_peer: Rates<Did>,
    by_prefix: Rates<Prefix>,
}

impl Intake {
    /// Nothing was asked yet.
    pub fn new(allowance: Allowance, local: LocalAddresses) -> Self {
        let Allowance { peer_burst, peer_every_ms, prefix_burst, prefix_every_ms } = allowance;
        Self {
            local,
            by_peer: Rates::new(peer_every_ms, peer_burst, RATES_HELD),
            by_prefix: Rates::new(prefix_every_ms, prefix_burst, RATES_HELD),
        }
    }

    /// Takes a request into account, the prefix's first: a prefix that asks too often cannot fill what is remembered of
    /// peers.
    ///
    /// # Errors
    /// It may not be made now.
    pub fn ask(&mut self, now: u64, peer: Did, ip: IpAddr) -> Result<(), TooMuch> {
        self.ask_by_prefix(now, ip)?;
        self.by_peer.ask(peer, now)
    }

    /// As [`ask`](Self::ask), of the prefix alone.
    ///
    /// # Errors
    /// It may not be made now.
    pub fn ask_by_prefix(&mut self, now: u64, ip: IpAddr) -> Result<(), TooMuch> {
        match self.local.prefix(ip.to_canonical()) {
            Some(prefix) => self.by_prefix.ask(prefix, now),
            None => Ok(()),
        }
    }

    /// Charges a peer that sent what could not have been right at any time: 16 requests
    /// ([`FAULT_COST`](crate::advertise::limits::FAULT_COST)). Its prefix is charged nothing beyond the request itself: others
    /// are there too.
    pub fn charge_peer(&mut self, peer: Did) {
        self.by_peer.charge(peer, FAULT_COST);
    }

    /// As [`charge_peer`](Self::charge_peer), and as much to its prefix: where requests are cheap and a new key is too.
    pub fn charge(&mut self, peer: Did, ip: IpAddr) {
        self.charge_peer(peer);
        if let Some(prefix) = self.local.prefix(ip.to_canonical()) {
            self.by_prefix.charge(prefix, FAULT_COST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actum_model::SecretKey;

    #[test]
    fn a_peer_a_prefix_and_a_fault_count_each() {
        let allowance =
            Allowance { peer_burst: 20, peer_every_ms: 100, prefix_burst: 30, prefix_every_ms: 10 };
        let mut intake = Intake::new(allowance, LocalAddresses::Count);
        let did = |n: u8| SecretKey::from_seed(&[n; 32]).did();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for _ in 0..20 {
            assert_eq!(intake.ask(0, did(1), ip("198.51.100.1")), Ok(()));
        }
        assert_eq!(intake.ask(0, did(1), ip("192.0.2.1")), Err(TooMuch::Fast { again_ms: 100 }));
        for _ in 0..10 {
            assert_eq!(intake.ask(0, did(2), ip("198.51.100.2")), Ok(()));
        }
        let full = Err(TooMuch::Fast { again_ms: 10 });
        assert_eq!(intake.ask(0, did(3), ip("198.51.100.3")), full);
        assert_eq!(intake.ask(0, did(3), ip("::ffff:198.51.100.3")), full, "the same address");
        assert_eq!(intake.ask(0, did(3), ip("203.0.113.3")), Ok(()));
        for _ in 0..2 {
            intake.charge(did(3), ip("203.0.113.3"));
        }
        assert!(intake.ask(0, did(3), ip("192.0.2.9")).is_err());
    }

    #[test]
    fn on_one_machine_addresses_do_not_count() {
        let allowance = Allowance { peer_burst: 2, peer_every_ms: 100, prefix_burst: 1, prefix_every_ms: 10 };
        let mut intake = Intake::new(allowance, LocalAddresses::Exempt);
        let did = SecretKey::from_seed(&[1; 32]).did();
        let here = IpAddr::from([127, 0, 0, 1]);
        assert_eq!((intake.ask(0, did, here), intake.ask(0, did, here)), (Ok(()), Ok(())));
        assert!(intake.ask(0, did, here).is_err());
    }
}
