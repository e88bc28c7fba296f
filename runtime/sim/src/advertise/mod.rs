//! The advertise plane in virtual time: peers with routing tables, addresses and links, and no sockets.
//!
//! What runs is the node's own: [`Advertiser`](actum_discovery::advertise::Advertiser), [`Registrar`](actum_discovery::advertise::Registrar) and
//! [`Lookup`](actum_discovery::advertise::Lookup) decide everything, [`Announcer`](actum_discovery::Announcer) says when what is
//! signed, and the statements are signed for real. Here is only what the node's driver does: carrying, and knowing some peers.
//!
//! Not as in the node: routing tables are made once and hold peers that are there; nobody comes or goes; a signature is verified
//! once for all peers, as nothing but time would come of verifying it again.

mod cost;
mod experiments;
mod hostile;
mod looking;
mod people;
mod registering;
mod routing;
mod statements;

pub use cost::{Walk, Walked};
pub use experiments::{Traffic, popular, scale, scale_unless, traffic};
pub use looking::{Looked, share};
pub use people::{Conduct, anywhere, ground, in_one_prefix, secret};
pub use statements::made_up;

use crate::{
    Carrier, Engine, Kind, Span, Stream, Streams, Time, profile::Link, profile::Weighs, runs::NotRun,
};
use actum_discovery::{
    Lifetimes,
    advertise::{Answer, LocalAddresses, Peer, Reply, Sent, Verifier},
};
use actum_model::{Did, SecretKey};
use hostile::Hostile;
use looking::Looking;
use people::Node;
use registering::{Proof, Provider};
use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::atomic::{AtomicBool, Ordering},
};

/// Statements of either kind that the one verifier of all peers remembers.
const VERIFIED: usize = 50_000;
/// Events between two looks at whether to stop: a second's work at most.
const EVENTS_A_LOOK: u64 = 10_000;

/// What a network is like.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// What carries messages.
    pub link: Link,
    /// What messages weigh beyond the statements in them.
    pub weighs: Weighs,
    /// Whether addresses of one machine count. By default they do.
    pub local: LocalAddresses,
    /// How long statements live. By default as long as a node's.
    pub lifetimes: Lifetimes,
}

impl Setup {
    /// A network of such links and messages, and of nodes as they are by default.
    pub fn new(link: Link, weighs: Weighs) -> Self {
        Self { link, weighs, local: LocalAddresses::default(), lifetimes: Lifetimes::default() }
    }
}

/// The bytes that all peers sent, by what for; framing included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// Registrations and renewals, and their answers.
    pub registrations: u64,
    /// Lookups and their answers.
    pub lookups: u64,
    /// Proofs of possession, chunks included.
    pub proofs: u64,
}

/// What bytes were sent for.
#[derive(Clone, Copy, Debug)]
enum For {
    Registration,
    Lookup,
    Proof,
}

/// What happens next. Providers, lookups and nodes are meant by their numbers.
#[derive(Debug)]
enum Event {
    /// A provider's statements are due.
    Announce(u32),
    /// A provider looks for registries again.
    Seek(u32),
    /// Something of a provider's advertiser is due.
    WakeProvider(u32),
    /// Something of a lookup is due.
    WakeLookup(u32),
    /// A provider's request is at its registrar.
    Request(u32, Box<Sent>),
    /// A message of a proof of possession is where it goes.
    Prove(Box<Proof>),
    /// The answer to a provider's request is there, and the peers that came with it.
    Reply(u32, u64, Box<(Reply, Vec<Peer>)>),
    /// A lookup's question is at a registrar.
    Ask(u32, Peer),
    /// Its answer is there.
    Answer(u32, Peer, Box<Answer>),
}

/// The randomness of nodes as registrars, each with a stream of its own.
#[derive(Debug)]
struct Draws {
    streams: Streams,
    by_node: BTreeMap<u32, Box<Stream>>,
}

impl Draws {
    fn of(&mut self, node: u32) -> &mut Stream {
        let streams = self.streams;
        self.by_node.entry(node).or_insert_with(|| Box::new(streams.of("registrar", u64::from(node))))
    }
}

/// A network. Peers, providers and lookups have numbers from 0 on, in the order in which they came.
#[derive(Debug)]
pub struct Net {
    setup: Setup,
    streams: Streams,
    engine: Engine<Event>,
    carrier: Carrier,
    nodes: Vec<Node>,
    by_did: BTreeMap<Did, u32>,
    providers: Vec<Provider>,
    lookups: Vec<Looking>,
    draws: Draws,
    verifier: Verifier,
    judged: looking::Judge,
    hostile: Hostile,
    bytes: Bytes,
    refused: BTreeMap<&'static str, u64>,
    /// Who looks around.
    askers: Stream,
    thorough: bool,
}

impl Net {
    /// A network of nobody.
    pub fn new(setup: Setup, seed: u64) -> Self {
        let streams = Streams::new(seed);
        Self {
            setup,
            streams,
            engine: Engine::new(),
            carrier: Carrier::new(setup.link, u32::MAX, streams),
            nodes: Vec::new(),
            by_did: BTreeMap::new(),
            providers: Vec::new(),
            lookups: Vec::new(),
            draws: Draws { streams, by_node: BTreeMap::new() },
            verifier: Verifier::new(VERIFIED),
            judged: looking::Judge::default(),
            hostile: Hostile::new(streams),
            bytes: Bytes::default(),
            refused: BTreeMap::new(),
            askers: streams.of("askers", 0),
            thorough: false,
        }
    }

    /// Another peer. Says its number. Routing tables are made when all are there, by [`Self::route`].
    pub fn join(&mut self, secret: SecretKey, ip: IpAddr, conduct: Conduct) -> u32 {
        let did = secret.did();
        // TCP and QUIC, as nodes have them by default.
        let addrs = vec![format!("/ip4/{ip}/tcp/4001"), format!("/ip4/{ip}/udp/4001/quic-v1")];
        let peer = Peer::observed(did, addrs, ip);
        let number = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        self.by_did.insert(did, number);
        if conduct == Conduct::Shills {
            self.hostile.shills.push(number);
        }
        self.nodes.push(Node { secret, peer, conduct, routing: Box::default(), registrar: None });
        number
    }

    /// So many honest peers more, from all over.
    pub fn join_honest(&mut self, peers: u32) {
        for _ in 0..peers {
            let n = self.nodes.len() as u64;
            self.join(secret(self.streams, n), anywhere(self.streams, n), Conduct::Honest);
        }
    }

    /// Who a peer is.
    pub fn did(&self, node: u32) -> Option<Did> {
        self.node(node).map(|node| *node.peer.did())
    }

    /// What time it is.
    pub fn now(&self) -> Time {
        self.engine.now()
    }

    /// Lets time pass.
    pub fn run(&mut self, span: Span) {
        // Nobody stops it.
        let _ = self.run_unless(span, &AtomicBool::new(false));
    }

    /// The same, looking now and then whether to stop.
    fn run_unless(&mut self, span: Span, stop: &AtomicBool) -> Result<(), NotRun> {
        let end = self.now() + span;
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(NotRun::Stopped);
            }
            for _ in 0..EVENTS_A_LOOK {
                let Some(event) = self.engine.next_before(end) else { return Ok(()) };
                self.handle(event);
            }
        }
    }

    /// Whether lookups that begin from now on go on when they have enough.
    pub fn dig(&mut self, thorough: bool) {
        self.thorough = thorough;
    }

    /// What was sent so far.
    pub fn bytes(&self) -> Bytes {
        self.bytes
    }

    /// What carries the messages, with its counts.
    pub fn carrier(&self) -> &Carrier {
        &self.carrier
    }

    /// How many events there were so far.
    pub fn events(&self) -> u64 {
        self.engine.handled()
    }

    /// How often registrations were refused, by code.
    pub fn refused(&self) -> &BTreeMap<&'static str, u64> {
        &self.refused
    }

    fn handle(&mut self, event: Event) {
        let carried = !matches!(
            event,
            Event::Announce(_) | Event::Seek(_) | Event::WakeProvider(_) | Event::WakeLookup(_)
        );
        if carried {
            self.carrier.delivered();
        }
        match event {
            Event::Announce(provider) => self.announce(provider),
            Event::Seek(provider) => self.seek(provider),
            // Those that are not due are superseded by an earlier one.
            Event::WakeProvider(provider) if self.is_due(provider) => self.wake_provider(provider),
            Event::WakeLookup(lookup) if self.is_lookup_due(lookup) => self.wake_lookup(lookup),
            Event::WakeProvider(_) | Event::WakeLookup(_) => {}
            Event::Request(provider, sent) => self.at_registrar(provider, &sent),
            Event::Prove(proof) => self.prove(proof),
            Event::Reply(provider, id, reply) => self.replied(provider, id, &reply.0, &reply.1),
            Event::Ask(lookup, peer) => self.asked(lookup, peer),
            Event::Answer(lookup, from, answer) => self.answered(lookup, &from, &answer),
        }
    }

    fn send(&mut self, from: u32, what: For, bytes: u64, event: Event) {
        let sum = match what {
            For::Registration => &mut self.bytes.registrations,
            For::Lookup => &mut self.bytes.lookups,
            For::Proof => &mut self.bytes.proofs,
        };
        *sum = sum.saturating_add(bytes);
        self.carrier.send(&mut self.engine, from, Kind::Advertise, bytes, event);
    }

    fn millis(&self) -> u64 {
        self.now().unix_millis()
    }

    fn node(&self, node: u32) -> Option<&Node> {
        self.nodes.get(node as usize)
    }

    fn number_of(&self, peer: &Peer) -> Option<u32> {
        self.by_did.get(peer.did()).copied()
    }
}
