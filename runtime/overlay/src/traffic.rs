//! What a peer's sessions carried, by what it was for: messages and bytes, as sessions hand them to their streams and take them
//! from there. What encrypts and carries the streams weighs more, and is not counted.

use crate::RequestKind;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};

/// What a message is for. An answer and news of a request are for what the request is for, and so is its cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrafficKind {
    /// Leases and descriptors told, and taken back.
    Announce,
    /// Queries, and pages of offers.
    Find,
    /// The advertise plane: registrations, renewals, lookups.
    Advertise,
    /// Registries telling one another what they lack.
    Reconcile,
    /// Accusations, fraud proofs, and verdicts asked for.
    Fraud,
    /// Releases, manifests and components.
    Content,
    /// What two peers count of each other.
    Balance,
    /// Actions: invocations, arguments, outputs, receipts.
    Action,
    /// Notices of ended authority, goodbyes, and what came too late to tell.
    Other,
}

impl TrafficKind {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 9] = [
        Self::Announce,
        Self::Find,
        Self::Advertise,
        Self::Reconcile,
        Self::Fraud,
        Self::Content,
        Self::Balance,
        Self::Action,
        Self::Other,
    ];

    /// What requests of a kind are for.
    pub const fn of(kind: RequestKind) -> Self {
        match kind {
            RequestKind::Announce | RequestKind::Withdraw => Self::Announce,
            RequestKind::Find => Self::Find,
            RequestKind::Register | RequestKind::Renew | RequestKind::Ads => Self::Advertise,
            RequestKind::Reconcile | RequestKind::Statements => Self::Reconcile,
            RequestKind::Accuse | RequestKind::Proof | RequestKind::Accusations | RequestKind::Verdicts => {
                Self::Fraud
            }
            RequestKind::Release | RequestKind::Manifest | RequestKind::Chunk => Self::Content,
            RequestKind::Balance | RequestKind::Entries => Self::Balance,
            RequestKind::Call | RequestKind::Resume => Self::Action,
            RequestKind::Notify | RequestKind::Notices => Self::Other,
        }
    }

    /// The stable name, as JSON has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Announce => "announce",
            Self::Find => "find",
            Self::Advertise => "advertise",
            Self::Reconcile => "reconcile",
            Self::Fraud => "fraud",
            Self::Content => "content",
            Self::Balance => "balance",
            Self::Action => "action",
            Self::Other => "other",
        }
    }

    /// Whether it is of the control plane: neither what is done for others, nor the programs that it is done with.
    pub const fn is_control(self) -> bool {
        !matches!(self, Self::Action | Self::Content)
    }
}

/// Messages, and their bytes with the heads of their frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moved {
    /// Whole messages, cancellations among them.
    pub messages: u64,
    /// Bytes, those of messages that are not whole yet among them.
    pub bytes: u64,
}

/// What moved of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BothWays {
    /// To peers.
    pub sent: Moved,
    /// From peers.
    pub received: Moved,
}

/// What all sessions of an overlay carried since it started, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    /// [`TrafficKind::Announce`]
    pub announce: BothWays,
    /// [`TrafficKind::Find`]
    pub find: BothWays,
    /// [`TrafficKind::Advertise`]
    pub advertise: BothWays,
    /// [`TrafficKind::Reconcile`]
    pub reconcile: BothWays,
    /// [`TrafficKind::Fraud`]
    pub fraud: BothWays,
    /// [`TrafficKind::Content`]
    pub content: BothWays,
    /// [`TrafficKind::Balance`]
    pub balance: BothWays,
    /// [`TrafficKind::Action`]
    pub action: BothWays,
    /// [`TrafficKind::Other`]
    pub other: BothWays,
}

impl Traffic {
    /// What moved of a kind.
    pub fn of(&self, kind: TrafficKind) -> BothWays {
        match kind {
            TrafficKind::Announce => self.announce,
            TrafficKind::Find => self.find,
            TrafficKind::Advertise => self.advertise,
            TrafficKind::Reconcile => self.reconcile,
            TrafficKind::Fraud => self.fraud,
            TrafficKind::Content => self.content,
            TrafficKind::Balance => self.balance,
            TrafficKind::Action => self.action,
            TrafficKind::Other => self.other,
        }
    }
}

/// A pair of [`Moved`] and its like, as sessions count.
#[derive(Debug, Default)]
struct Count {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Count {
    fn add(&self, bytes: usize, whole: bool) {
        // Nothing else hangs on what is counted, and 2^64 bytes are more than a machine moves in its life.
        self.bytes.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.messages.fetch_add(u64::from(whole), Ordering::Relaxed);
    }

    fn read(&self) -> Moved {
        Moved { messages: self.messages.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }
}

/// What all sessions of an overlay count in: a fixed few numbers, shared.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    sent: [Count; TrafficKind::ALL.len()],
    received: [Count; TrafficKind::ALL.len()],
}

impl Counters {
    /// Takes in a frame that was handed to a stream. `last`: it is its message's last.
    pub(crate) fn sent(&self, kind: TrafficKind, bytes: usize, last: bool) {
        if let Some(count) = self.sent.get(kind as usize) {
            count.add(bytes, last);
        }
    }

    /// Takes in a frame that came.
    pub(crate) fn received(&self, kind: TrafficKind, bytes: usize, last: bool) {
        if let Some(count) = self.received.get(kind as usize) {
            count.add(bytes, last);
        }
    }

    /// What was counted by now. Sessions go on meanwhile, so that one number may be a frame ahead of another.
    pub(crate) fn read(&self) -> Traffic {
        let both = |kind: TrafficKind| BothWays {
            sent: self.sent.get(kind as usize).map(Count::read).unwrap_or_default(),
            received: self.received.get(kind as usize).map(Count::read).unwrap_or_default(),
        };
        Traffic {
            announce: both(TrafficKind::Announce),
            find: both(TrafficKind::Find),
            advertise: both(TrafficKind::Advertise),
            reconcile: both(TrafficKind::Reconcile),
            fraud: both(TrafficKind::Fraud),
            content: both(TrafficKind::Content),
            balance: both(TrafficKind::Balance),
            action: both(TrafficKind::Action),
            other: both(TrafficKind::Other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_for_what_its_name_says() {
        use RequestKind::*;
        // Without a wildcard in `of`, a kind that is new does not compile before it is for something.
        for (kinds, traffic) in [
            (&[Announce, Withdraw][..], TrafficKind::Announce),
            (&[Find], TrafficKind::Find),
            (&[Register, Renew, Ads], TrafficKind::Advertise),
            (&[Reconcile, Statements], TrafficKind::Reconcile),
            (&[Accuse, Proof, Accusations, Verdicts], TrafficKind::Fraud),
            (&[Release, Manifest, Chunk], TrafficKind::Content),
            (&[Balance, Entries], TrafficKind::Balance),
            (&[Call, Resume], TrafficKind::Action),
            (&[Notify, Notices], TrafficKind::Other),
        ] {
            for kind in kinds {
                assert_eq!(TrafficKind::of(*kind), traffic, "{kind:?}");
            }
        }
    }

    #[test]
    fn kinds_are_counted_apart_and_keep_their_names() {
        let counters = Counters::default();
        for (n, kind) in TrafficKind::ALL.into_iter().enumerate() {
            counters.sent(kind, 100 + n, false);
            counters.sent(kind, 1, true);
            counters.received(kind, n, true);
        }
        let read = counters.read();
        for (n, kind) in TrafficKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, n, "{kind:?}");
            let sent = Moved { messages: 1, bytes: 101 + n as u64 };
            assert_eq!(read.of(kind), BothWays { sent, received: Moved { messages: 1, bytes: n as u64 } });
        }
        let control: Vec<_> = TrafficKind::ALL.into_iter().filter(|k| !k.is_control()).collect();
        assert_eq!(control, [TrafficKind::Content, TrafficKind::Action]);
    }
}
