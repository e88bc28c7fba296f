//! The accusations that wait to be looked at: each receipt once, few of each sender, those first who are known here.

use actum_model::{Did, ReceiptId};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// The most accusations that wait: 256, at some 300 bytes.
const MAX_WAITING: usize = 256;
/// The most that wait of one sender: 16.
const MAX_OF_ONE: usize = 16;
/// The most senders remembered of one accusation: where the first is gone, the next is asked for the proof.
const MAX_SENDERS: usize = 4;

/// An accusation that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    /// The receipt.
    pub(super) receipt: ReceiptId,
    /// Whose receipt it is said to be.
    pub(super) provider: Did,
    /// Who say they have the proof.
    pub(super) senders: Vec<Did>,
    /// Whether this home has had to do with one of them, who is then the first.
    pub(super) known: bool,
    /// How often it was looked at in vain.
    pub(super) tries: u32,
    /// When it is looked at, at the earliest.
    pub(super) after: Duration,
}

/// What became of an accusation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// It waits.
    Queued,
    /// The same waits already, or is being looked at, and this sender is one of those who are asked for the proof.
    Known,
    /// The same is being looked at by others' word, or as many as are asked for it say that they have it. They may not give
    /// it, so it is to be said again later.
    Later,
    /// There is no room.
    Full,
}

/// The accusations that wait, and those that are being looked at, by whose words.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    under_way: BTreeMap<ReceiptId, Vec<Did>>,
}

impl Queue {
    /// Whether a receipt, said to be that provider's, waits, or is being looked at.
    pub(super) fn has(&self, receipt: &ReceiptId, provider: &Did) -> bool {
        let same = |w: &Waiting| w.receipt == *receipt && w.provider == *provider;
        self.under_way.contains_key(receipt) || self.waiting.iter().any(same)
    }

    /// Has an accusation wait. `known`: whether this home has had to do with its sender.
    pub(super) fn add(&mut self, receipt: ReceiptId, provider: Did, from: Did, known: bool) -> Added {
        if let Some(senders) = self.under_way.get(&receipt) {
            return if senders.contains(&from) { Added::Known } else { Added::Later };
        }
        let same = self.waiting.iter_mut().find(|w| w.receipt == receipt && w.provider == provider);
        if let Some(same) = same {
            if same.senders.contains(&from) {
                return Added::Known;
            }
            // Strangers who promise a proof and do not give it keep nobody away who is known here.
            if known && !same.known {
                same.senders.insert(0, from);
                same.senders.truncate(MAX_SENDERS);
                same.known = true;
                return Added::Known;
            }
            if same.senders.len() < MAX_SENDERS {
                same.senders.push(from);
                return Added::Known;
            }
            return Added::Later;
        }
        let of_one = self.waiting.iter().filter(|w| w.senders.first() == Some(&from)).count();
        if of_one >= MAX_OF_ONE {
            return Added::Full;
        }
        if self.waiting.len() >= MAX_WAITING {
            // Strangers make room for those known here, the last come first.
            let stranger = self.waiting.iter().rposition(|w| !w.known).filter(|_| known);
            let Some(stranger) = stranger else { return Added::Full };
            self.waiting.remove(stranger);
        }
        let (senders, after) = (vec![from], Duration::ZERO);
        self.waiting.push_back(Waiting { receipt, provider, senders, known, tries: 0, after });
        Added::Queued
    }

    /// The next to look at, of a sender none of whose is being looked at: until [`Self::done`] it is under way.
    pub(super) fn next(&mut self, at: Duration) -> Option<Waiting> {
        let busy = |w: &Waiting| self.under_way.values().any(|by| w.senders.first() == by.first());
        let due = |w: &Waiting| w.after <= at && !busy(w) && !self.under_way.contains_key(&w.receipt);
        let known = self.waiting.iter().position(|w| w.known && due(w));
        let place = known.or_else(|| self.waiting.iter().position(due))?;
        let next = self.waiting.remove(place)?;
        self.under_way.insert(next.receipt, next.senders.clone());
        Some(next)
    }

    /// What was under way is done; where it is not, it waits again.
    pub(super) fn done(&mut self, receipt: &ReceiptId, again: Option<Waiting>) {
        self.under_way.remove(receipt);
        if let Some(again) = again.filter(|_| self.waiting.len() < MAX_WAITING) {
            self.waiting.push_back(again);
        }
    }

    /// Forgets what a sender said.
    pub(super) fn forget(&mut self, sender: &Did) {
        self.waiting.iter_mut().for_each(|w| w.senders.retain(|did| did != sender));
        self.waiting.retain(|w| !w.senders.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actum_model::SecretKey;

    fn peer(n: u8) -> Did {
        SecretKey::from_seed(&[n; 32]).did()
    }

    fn receipt(n: u32) -> ReceiptId {
        ReceiptId::of(&n.to_be_bytes())
    }

    #[test]
    fn each_receipt_waits_once_with_all_who_have_its_proof() {
        let mut queue = Queue::default();
        assert_eq!(queue.add(receipt(1), peer(9), peer(1), false), Added::Queued);
        for n in 1..=6 {
            let added = if n <= 4 { Added::Known } else { Added::Later };
            assert_eq!(queue.add(receipt(1), peer(9), peer(n), false), added, "{n}");
        }
        let next = queue.next(Duration::ZERO).unwrap();
        assert_eq!(next.senders, (1..=4).map(peer).collect::<Vec<_>>());
        assert_eq!(queue.next(Duration::ZERO), None);
        assert_eq!(queue.add(receipt(1), peer(9), peer(4), false), Added::Known, "it is asked");
        assert_eq!(queue.add(receipt(1), peer(9), peer(7), true), Added::Later, "others are being asked");
        assert_eq!(
            queue.add(receipt(1), peer(8), peer(7), true),
            Added::Later,
            "whoever it is said to be of"
        );
        assert!(queue.has(&receipt(1), &peer(9)));
        queue.done(&receipt(1), None);
        assert!(!queue.has(&receipt(1), &peer(9)));
        assert_eq!(queue.add(receipt(1), peer(9), peer(7), true), Added::Queued, "they did not give it");
    }

    #[test]
    fn strangers_keep_nobody_away_who_is_known() {
        let mut queue = Queue::default();
        for n in 1..=4 {
            queue.add(receipt(1), peer(9), peer(n), false);
        }
        assert_eq!(queue.add(receipt(1), peer(9), peer(5), true), Added::Known);
        for n in 0..MAX_WAITING as u32 {
            queue.add(receipt(2 + n), peer(9), peer(10 + (n / 16) as u8), false);
        }
        assert_eq!(queue.add(receipt(900), peer(9), peer(100), false), Added::Full);
        assert_eq!(queue.add(receipt(901), peer(9), peer(101), true), Added::Queued);
        assert_eq!(queue.waiting.len(), MAX_WAITING);
        let first = queue.next(Duration::ZERO).unwrap();
        assert_eq!((first.receipt, first.senders.len()), (receipt(1), MAX_SENDERS));
        assert_eq!(first.senders[0], peer(5), "who is known is asked first");
        assert_eq!(queue.next(Duration::ZERO).unwrap().receipt, receipt(901));
    }

    #[test]
    fn one_receipt_is_looked_at_once_at_a_time() {
        let mut queue = Queue::default();
        queue.add(receipt(1), peer(9), peer(1), false);
        queue.add(receipt(1), peer(8), peer(2), false);
        assert!(!queue.has(&receipt(1), &peer(7)));
        assert_eq!(queue.next(Duration::ZERO).unwrap().provider, peer(9));
        assert_eq!(queue.next(Duration::ZERO), None);
        queue.done(&receipt(1), None);
        assert_eq!(queue.next(Duration::ZERO).unwrap().provider, peer(8));
    }

    #[test]
    fn one_sender_takes_little_of_the_room_and_all_together_no_more_than_there_is() {
        let mut queue = Queue::default();
        let mut queued = 0;
        for sender in 0..40 {
            let added =
                (0..20).map(|n| queue.add(receipt(100 * sender + n), peer(9), peer(sender as u8), false));
            let added = added.filter(|added| *added == Added::Queued).count();
            assert!(added <= MAX_OF_ONE);
            queued += added;
        }
        assert_eq!(queued, MAX_WAITING);
        queue.forget(&peer(0));
        assert_eq!(queue.add(receipt(99), peer(9), peer(0), false), Added::Queued);
    }

    #[test]
    fn those_known_here_come_first_and_what_waits_for_a_time_does() {
        let mut queue = Queue::default();
        queue.add(receipt(1), peer(9), peer(1), false);
        queue.add(receipt(2), peer(9), peer(2), true);
        queue.add(receipt(3), peer(9), peer(2), true);
        let first = queue.next(Duration::ZERO).unwrap();
        assert_eq!(first.receipt, receipt(2));
        // One of a sender at a time, so that no slow one takes all places.
        assert_eq!(queue.next(Duration::ZERO).unwrap().receipt, receipt(1));
        assert_eq!(queue.next(Duration::ZERO), None);
        queue.done(&receipt(2), Some(Waiting { after: Duration::from_secs(5), tries: 1, ..first }));
        queue.done(&receipt(1), None);
        assert_eq!(queue.next(Duration::ZERO).unwrap().receipt, receipt(3));
        queue.done(&receipt(3), None);
        assert_eq!(queue.next(Duration::from_secs(4)), None);
        assert_eq!(queue.next(Duration::from_secs(5)).unwrap().tries, 1);
    }
}
