//! What strangers' accusations may cost this node. Time is an argument: how long the node runs.

use actum_model::Did;
use std::{collections::BTreeMap, time::Duration};

/// What one peer may ask and say about proofs in a minute: an accusation counts one.
const MESSAGES: u64 = 64;
/// The same of all peers together: keys are cheap.
const MESSAGES_IN_ALL: u64 = 1_024;
/// What a request for a proof, or for accusations, counts as.
pub(super) const ASKING: u64 = 4;
/// The fuel that one peer's accusations may burn here in an hour: 10^11, ten actions of the default limit. What counts is
/// what an action may burn, since only running it tells what it does.
pub(super) const FUEL: u64 = 100_000_000_000;
/// The same of all peers together: 10^12.
const FUEL_IN_ALL: u64 = 1_000_000_000_000;
/// The most accusations in an hour of providers that this home has nothing to do with: 16. Their lies do no harm here, and
/// making such providers costs nothing.
const STRANGERS: u64 = 16;
/// The same of one peer: 8, so that one does not take all of it.
const STRANGERS_OF_ONE: u64 = 8;
/// The most bytes of proofs and components that one peer's accusations may have this node fetch in a day: 128 MiB, two of
/// the largest components. Components are kept.
const BYTES: u64 = 128 << 20;
/// The same of all peers together: 512 MiB.
const BYTES_IN_ALL: u64 = 512 << 20;
/// The most peers that are counted apart; the one counted longest is forgotten for another, and counts in all still.
const MAX_PEERS: usize = 1_024;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// Something of which each peer, and all together, may use so much in so long. Peers that this home has had nothing to do with
/// get no more than half of it together: their keys are free, and what others have to say must not wait for them.
#[derive(Debug)]
pub(super) struct Allowance {
    per: Duration,
    each: u64,
    all: u64,
    peers: BTreeMap<Did, Used>,
    together: Used,
    /// Of that, what such peers used.
    unknown: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Used {
    since: Duration,
    amount: u64,
}

impl Allowance {
    fn new(per: Duration, each: u64, all: u64) -> Self {
        Self { per, each, all, peers: BTreeMap::new(), together: Used::default(), unknown: 0 }
    }

    /// Takes so much, if there is as much left of all. `known`: whether this home has had to do with the peer, or whether
    /// that does not matter.
    pub(super) fn take(&mut self, peer: &Did, known: bool, amount: u64, at: Duration) -> bool {
        if !self.has(peer, known, amount, at) {
            return false;
        }
        if !known {
            self.unknown = self.unknown.saturating_add(amount);
        }
        if self.peers.len() >= MAX_PEERS && !self.peers.contains_key(peer) {
            let oldest = self.peers.iter().min_by_key(|(_, used)| used.since).map(|(did, _)| *did);
            oldest.map(|did| self.peers.remove(&did));
        }
        let mine = self.peers.entry(*peer).or_insert(Used { since: at, amount: 0 });
        mine.amount = mine.amount.saturating_add(amount);
        self.together.amount = self.together.amount.saturating_add(amount);
        true
    }

    /// Whether there is as much left for a peer.
    pub(super) fn has(&mut self, peer: &Did, known: bool, amount: u64, at: Duration) -> bool {
        let per = self.per;
        let over = |used: &Used| at.saturating_sub(used.since) >= per;
        self.peers.retain(|_, used| !over(used));
        if over(&self.together) {
            self.together = Used { since: at, amount: 0 };
            self.unknown = 0;
        }
        let mine = self.peers.get(peer).map_or(0, |used| used.amount);
        let room = known || self.unknown.saturating_add(amount) <= self.all / 2;
        room && mine.saturating_add(amount) <= self.each
            && self.together.amount.saturating_add(amount) <= self.all
    }

    /// When there is more for a peer that has used up what there is: at the latest.
    pub(super) fn again(&self, peer: &Did) -> Duration {
        let mine = self.peers.get(peer).map_or(self.together.since, |used| used.since);
        mine.max(self.together.since).saturating_add(self.per)
    }
}

/// Everything that is bounded.
#[derive(Debug)]
pub(super) struct Bounds {
    /// Messages.
    pub(super) messages: Allowance,
    /// Fuel of replays.
    pub(super) fuel: Allowance,
    /// Accusations of providers that matter little here.
    pub(super) strangers: Allowance,
    /// Bytes fetched.
    pub(super) bytes: Allowance,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            messages: Allowance::new(MINUTE, MESSAGES, MESSAGES_IN_ALL),
            fuel: Allowance::new(HOUR, FUEL, FUEL_IN_ALL),
            strangers: Allowance::new(HOUR, STRANGERS_OF_ONE, STRANGERS),
            bytes: Allowance::new(DAY, BYTES, BYTES_IN_ALL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actum_model::SecretKey;

    fn peer(n: u8) -> Did {
        SecretKey::from_seed(&[n; 32]).did()
    }

    #[test]
    fn a_peer_gets_so_much_and_more_when_the_time_is_over() {
        let mut few = Allowance::new(MINUTE, 3, 5);
        let at = Duration::from_secs(10);
        let mut take = |amount| few.take(&peer(1), true, amount, at);
        assert!(take(2) && !take(2) && take(1));
        assert_eq!(few.again(&peer(1)), at + MINUTE);
        assert!(!few.has(&peer(1), true, 1, at + MINUTE - Duration::from_secs(1)));
        assert!(few.take(&peer(1), true, 3, at + MINUTE));
        assert!(!few.has(&peer(1), true, 4, at + MINUTE + MINUTE), "more than there ever is");
    }

    #[test]
    fn strangers_leave_half_to_those_known_here() {
        let mut few = Allowance::new(HOUR, 1, 10);
        let at = Duration::from_secs(1);
        assert_eq!((0..=99).filter(|n| few.take(&peer(*n), false, 1, at)).count(), 5);
        assert_eq!((100..=199).filter(|n| few.take(&peer(*n), true, 1, at)).count(), 5);
        assert!(few.take(&peer(0), false, 1, at + HOUR), "another hour");
    }

    #[test]
    fn many_keys_get_no_more_than_all_together() {
        let mut few = Allowance::new(HOUR, 3, 5);
        let taken = (0..=255).filter(|n| few.take(&peer(*n), true, 1, Duration::from_secs(1))).count();
        assert_eq!(taken, 5);
        assert_eq!(few.again(&peer(9)), HOUR);
        assert!(few.take(&peer(9), true, 1, HOUR));
    }

    #[test]
    fn what_is_counted_apart_is_bounded() {
        let mut many = Allowance::new(HOUR, 1, u64::MAX);
        for n in 0..MAX_PEERS + 10 {
            let mut seed = [0; 32];
            seed[..8].copy_from_slice(&n.to_be_bytes());
            let at = Duration::from_millis(n as u64);
            assert!(many.take(&SecretKey::from_seed(&seed).did(), true, 1, at));
        }
        assert_eq!(many.peers.len(), MAX_PEERS);
        assert_eq!(many.together.amount, MAX_PEERS as u64 + 10);
    }
}
