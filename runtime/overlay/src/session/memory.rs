//! Memory for unfinished messages and unread answers: taken before it is used, by session, by peer and by all together.

use crate::defaults;
use actum_model::Did;
use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// The memory all sessions share.
#[derive(Debug)]
pub(crate) struct Budget {
    held: AtomicUsize,
    limit: NonZeroUsize,
    /// The peers that have sessions. An entry goes with the last account of its peer.
    shares: Mutex<HashMap<Did, Weak<Share>>>,
}

impl Budget {
    pub(crate) fn new(limit: NonZeroUsize) -> Arc<Self> {
        Arc::new(Self { held: AtomicUsize::new(0), limit, shares: Mutex::default() })
    }

    /// Opens the account of one more session with a peer.
    pub(super) fn account(self: &Arc<Self>, peer: Did, limit: NonZeroUsize) -> Arc<Account> {
        let mut shares = self.shares();
        let share = shares.get(&peer).and_then(Weak::upgrade).unwrap_or_else(|| {
            let share = Arc::new(Share { peer, held: AtomicUsize::new(0), total: Arc::clone(self) });
            shares.insert(peer, Arc::downgrade(&share));
            share
        });
        Arc::new(Account { share, held: AtomicUsize::new(0), limit })
    }

    fn shares(&self) -> MutexGuard<'_, HashMap<Did, Weak<Share>>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that one peer may hold.
    fn limit_of_peer(&self) -> usize {
        self.limit.get().div_ceil(defaults::REASSEMBLY_PEER_PART)
    }
}

/// What the sessions of one peer hold together.
#[derive(Debug)]
struct Share {
    peer: Did,
    held: AtomicUsize,
    total: Arc<Budget>,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut shares = self.total.shares();
        // A new session of the peer may have put a share of its own in this one's place.
        if shares.get(&self.peer).is_some_and(|share| share.strong_count() == 0) {
            shares.remove(&self.peer);
        }
    }
}

/// One session's part of it.
#[derive(Debug)]
pub(super) struct Account {
    share: Arc<Share>,
    held: AtomicUsize,
    limit: NonZeroUsize,
}

impl Account {
    /// Bytes this session may hold.
    pub(super) fn limit(&self) -> usize {
        self.limit.get().min(self.share.total.limit_of_peer())
    }

    /// Bytes this session holds.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    /// Whether this session, or its peer, holds more than it may.
    pub(super) fn is_over(&self) -> bool {
        let [session, peer, _] = self.counters();
        [session, peer].iter().any(|(held, limit)| held.load(Relaxed) > *limit)
    }

    /// Takes bytes for an answer, where there is room.
    pub(super) fn hold(self: &Arc<Self>, bytes: usize) -> Result<Held, NoRoom> {
        self.take(bytes)?;
        Ok(Held { bytes, account: Arc::clone(self) })
    }

    /// Takes bytes for an answer whether there is room or not: nobody takes more until as many are given back.
    pub(super) fn hold_anyway(self: &Arc<Self>, bytes: usize) -> Held {
        for (held, _) in self.counters() {
            // It cannot overflow: these are bytes in memory.
            held.fetch_add(bytes, Relaxed);
        }
        Held { bytes, account: Arc::clone(self) }
    }

    /// What is held, and how much may be: by the session, by its peer, by all.
    fn counters(&self) -> [(&AtomicUsize, usize); 3] {
        let total = &self.share.total;
        [
            (&self.held, self.limit.get()),
            (&self.share.held, total.limit_of_peer()),
            (&total.held, total.limit.get()),
        ]
    }

    fn take(&self, bytes: usize) -> Result<(), NoRoom> {
        let counters = self.counters();
        for (at, (held, limit)) in counters.iter().enumerate() {
            let fits = |held: usize| held.checked_add(bytes).filter(|sum| sum <= limit);
            if held.fetch_update(Relaxed, Relaxed, fits).is_err() {
                for (taken, _) in counters.iter().take(at) {
                    taken.fetch_sub(bytes, Relaxed);
                }
                return Err(NoRoom);
            }
        }
        Ok(())
    }

    fn give_back(&self, bytes: usize) {
        for (held, _) in self.counters() {
            held.fetch_sub(bytes, Relaxed);
        }
    }
}

/// The memory is used up.
#[derive(Debug)]
pub(super) struct NoRoom;

/// The memory of an answer. It is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    bytes: usize,
    account: Arc<Account>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.account.give_back(self.bytes);
    }
}

/// Why a piece was not added.
#[derive(Debug)]
pub(super) enum PartialError {
    NoRoom,
    TooLarge,
}

/// A message of which some frames have come. It gives its memory back when dropped.
#[derive(Debug)]
pub(super) struct Partial {
    bytes: Vec<u8>,
    limit: usize,
    /// Ticks since it began or last grew.
    waited: u32,
    account: Arc<Account>,
}

impl Partial {
    pub(super) fn new(account: &Arc<Account>, limit: usize) -> Self {
        Self { bytes: Vec::new(), limit, waited: 0, account: Arc::clone(account) }
    }

    /// Adds a frame's payload, growing by doubling, never past the message's limit.
    pub(super) fn push(&mut self, payload: &[u8]) -> Result<(), PartialError> {
        let length = self.bytes.len().saturating_add(payload.len());
        if length > self.limit {
            return Err(PartialError::TooLarge);
        }
        let capacity = self.bytes.capacity();
        if length > capacity {
            let target = capacity.saturating_mul(2).clamp(length, self.limit);
            self.account.take(target.saturating_sub(capacity)).map_err(|NoRoom| PartialError::NoRoom)?;
            self.bytes.reserve_exact(target.saturating_sub(self.bytes.len()));
        }
        self.bytes.extend_from_slice(payload);
        self.waited = 0;
        Ok(())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Counts a tick. Says how many there have been since it began or last grew.
    pub(super) fn tick(&mut self) -> u32 {
        self.waited = self.waited.saturating_add(1);
        self.waited
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        self.account.give_back(self.bytes.capacity());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actum_model::SecretKey;

    const KIB: usize = 1 << 10;

    fn size(bytes: usize) -> NonZeroUsize {
        NonZeroUsize::new(bytes).unwrap()
    }

    fn did(n: u8) -> Did {
        SecretKey::from_seed(&[n; 32]).did()
    }

    #[test]
    fn the_sessions_of_one_peer_leave_most_to_the_others() {
        let budget = Budget::new(size(400 * KIB));
        let sessions: Vec<_> = (0..4).map(|_| budget.account(did(1), size(100 * KIB))).collect();
        let held: Vec<_> = sessions.iter().filter_map(|session| session.hold(60 * KIB).ok()).collect();
        assert_eq!(held.len(), 1, "a second one is beyond the peer's quarter");
        assert_eq!(sessions[1].held(), 0, "what was refused is not counted");
        let rest = sessions[1].hold(40 * KIB).unwrap();
        let others: Vec<_> = (2..5).map(|n| budget.account(did(n), size(100 * KIB))).collect();
        let theirs: Vec<_> = others.iter().map(|session| session.hold(100 * KIB).unwrap()).collect();
        assert!(budget.account(did(5), size(100 * KIB)).hold(1).is_err(), "all of it is held");
        drop((held, rest, theirs));
        assert_eq!(budget.held.load(Relaxed), 0);
    }

    #[test]
    fn a_share_lasts_as_long_as_anything_of_its_peer() {
        let budget = Budget::new(size(400 * KIB));
        let first = budget.account(did(1), size(100 * KIB));
        let held = first.hold(60 * KIB).unwrap();
        drop(first);
        let second = budget.account(did(1), size(100 * KIB));
        assert!(second.hold(60 * KIB).is_err(), "the session is gone, its answer is not");
        drop(held);
        assert!(second.hold(60 * KIB).is_ok());
        drop(second);
        assert!(budget.shares().is_empty());
    }

    #[test]
    fn what_is_held_over_the_limit_keeps_others_out_until_it_is_given_back() {
        let budget = Budget::new(size(40 * KIB));
        let account = budget.account(did(1), size(10 * KIB));
        let held = account.hold_anyway(50 * KIB);
        assert!(account.is_over() && account.hold(1).is_err());
        let other = budget.account(did(2), size(10 * KIB));
        assert!(!other.is_over() && other.hold(1).is_err());
        drop(held);
        assert!(!account.is_over() && account.hold(10 * KIB).is_ok() && other.hold(10 * KIB).is_ok());
        assert_eq!(budget.held.load(Relaxed), 0);
    }
}
