//! Carries messages: how long each is under way, whether it comes, and what all of them weighed.

use crate::{Engine, Stream, Streams, profile::Link};

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Leases and descriptors, told to registries.
    Announce,
    /// Queries, and pages of offers.
    Find,
    /// The advertise plane: registrations, tickets, lookups.
    Advertise,
    /// Registries telling one another what they lack.
    Reconcile,
    /// Fraud proofs and what is asked about them.
    Fraud,
    /// Actions: arguments, outputs, receipts, and the components they are checked with. The only kind that is not of the control plane.
    Action,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 6] =
        [Self::Announce, Self::Find, Self::Advertise, Self::Reconcile, Self::Fraud, Self::Action];

    /// The stable name, as figures have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Announce => "announce",
            Self::Find => "find",
            Self::Advertise => "advertise",
            Self::Reconcile => "reconcile",
            Self::Fraud => "fraud",
            Self::Action => "action",
        }
    }

    /// Whether it is of the control plane.
    pub const fn is_control(self) -> bool {
        !matches!(self, Self::Action)
    }
}

/// What was sent of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Messages.
    pub messages: u64,
    /// Their bytes, framing included.
    pub bytes: u64,
    /// Those that did not come.
    pub lost: u64,
}

/// The network between peers. Each sender draws from a stream of its own.
#[derive(Debug)]
pub struct Carrier {
    link: Link,
    streams: Streams,
    peers: u32,
    by_sender: Vec<Option<Stream>>,
    sent: [Sent; Kind::ALL.len()],
    delivered: u64,
}

impl Carrier {
    /// A network of such links in which nothing was sent yet. Senders from `peers` on are registries: they are counted from there,
    /// so that one more peer moves none of them.
    pub fn new(link: Link, peers: u32, streams: Streams) -> Self {
        Self { link, streams, peers, by_sender: Vec::new(), sent: Default::default(), delivered: 0 }
    }

    /// Sends a message of so many bytes: `event` happens when it arrives, or never where it is lost. Says which.
    ///
    /// Whoever handles `event` tells [`Self::delivered`].
    pub fn send<E>(&mut self, engine: &mut Engine<E>, from: u32, kind: Kind, bytes: u64, event: E) -> bool {
        let (link, streams) = (self.link, self.streams);
        let (purpose, actor) = match from.checked_sub(self.peers) {
            Some(registry) => ("carrier of a registry", registry),
            None => ("carrier", from),
        };
        let place = usize::try_from(from).unwrap_or(usize::MAX);
        if self.by_sender.len() <= place {
            self.by_sender.resize(place + 1, None);
        }
        let (delay, lost) = match self.by_sender.get_mut(place) {
            Some(slot) => {
                let stream = slot.get_or_insert_with(|| streams.of(purpose, u64::from(actor)));
                (stream.log_normal(link.one_way, link.sigma), link.loss > 0.0 && stream.chance(link.loss))
            }
            None => (link.one_way, false),
        };
        if let Some(sent) = self.sent.get_mut(kind as usize) {
            sent.messages += 1;
            sent.bytes = sent.bytes.saturating_add(bytes);
            sent.lost += u64::from(lost);
        }
        if !lost {
            engine.after(delay + link.on_the_wire(bytes), event);
        }
        !lost
    }

    /// Counts messages that are not carried one by one: so many, of so many bytes together, all of which have come.
    pub fn count(&mut self, kind: Kind, messages: u64, bytes: u64) {
        if let Some(sent) = self.sent.get_mut(kind as usize) {
            sent.messages = sent.messages.saturating_add(messages);
            sent.bytes = sent.bytes.saturating_add(bytes);
            self.delivered = self.delivered.saturating_add(messages);
        }
    }

    /// Takes in that a message has arrived.
    pub fn delivered(&mut self) {
        self.delivered += 1;
    }

    /// What was sent of a kind.
    pub fn sent(&self, kind: Kind) -> Sent {
        self.sent.get(kind as usize).copied().unwrap_or_default()
    }

    /// Bytes of the control plane, of all peers.
    pub fn control_bytes(&self) -> u64 {
        Kind::ALL.into_iter().filter(|k| k.is_control()).map(|k| self.sent(k).bytes).sum()
    }

    /// Messages sent, of all kinds.
    pub fn messages(&self) -> u64 {
        self.sent.iter().map(|sent| sent.messages).sum()
    }

    /// Messages that are still under way: sent, not lost, not delivered.
    pub fn under_way(&self) -> u64 {
        let lost: u64 = self.sent.iter().map(|sent| sent.lost).sum();
        self.messages().saturating_sub(lost).saturating_sub(self.delivered)
    }
}
