//! What an overlay is started with.

use crate::{
    Access, NetworkScope, Stream, defaults,
    prefix::{Reach, ip_of, reach_of},
};
use actum_model::Did;
use libp2p::{Multiaddr, StreamProtocol};
use std::{
    fmt,
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::Duration,
};

/// What an overlay is started with.
#[derive(Clone, Debug)]
pub struct OverlayConfig {
    /// Where to listen. Default: loopback only, a free TCP port and, with the feature `quic`, a free UDP port. Empty: dial only.
    pub listen: Vec<Multiaddr>,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// How much of everything others may use.
    pub limits: Limits,
    /// Protocols of other planes, with their own framing, on the same connections. Default: none.
    pub raw_protocols: Vec<RawProtocol>,
    /// Who may connect. Default: everybody.
    pub access: Access,
    /// How far away peers are looked for. Default: none, which means as far as [`OverlayConfig::scope`] says.
    pub scope: Option<NetworkScope>,
    /// Finding peers.
    pub routing: RoutingConfig,
    /// Being found and dialled.
    pub reach: ReachConfig,
}

/// Finding peers by their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutingConfig {
    /// Whether others may ask this peer for peers, and are told of it. Default: true where it listens; a process that only
    /// asks and leaves says no, so that nobody's table fills with peers that are gone.
    pub serve: bool,
    /// Peers to join the network through, dialled at the start and whenever few peers are known. Default: none.
    pub bootstrap: Vec<Multiaddr>,
    /// Whether queries take paths that share no peer, so that one liar cannot lead all of them. Default: true.
    pub disjoint_paths: bool,
    /// How often the table is refreshed. Default 5 min, give or take a fifth.
    pub refresh: Duration,
}

/// Being reached from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReachConfig {
    /// Addresses this peer is known to be reached at, such as a forwarded port; not tested. Default: none.
    pub announce: Vec<Multiaddr>,
    /// Whether peers we dialled are asked to dial back at the addresses they see us at (AutoNAT v2). Default: true.
    pub probe: bool,
    /// Whether we dial back when asked so: at most 30 times a minute, at addresses within the scope. Default: true where
    /// the peer listens.
    pub serve_probes: bool,
    /// Relays to hold a place at, each address ending in `/p2p/…`. Default: none.
    pub relays: Vec<Multiaddr>,
    /// Whether we relay between others, 128 KiB and 2 min a connection. It needs an address others reach us at.
    /// Default: false.
    pub relay: bool,
    /// Whether two peers that met through a relay try for a direct connection (DCUtR). Default: true.
    pub hole_punching: bool,
    /// Whether peers of the local network are found by multicast, and told of this one. It needs the cargo feature `mdns`.
    /// Default: false.
    pub mdns: bool,
}

impl Default for OverlayConfig {
    fn default() -> Self {
        let tcp: Multiaddr = Multiaddr::empty()
            .with(std::net::Ipv4Addr::LOCALHOST.into())
            .with(libp2p::multiaddr::Protocol::Tcp(0));
        #[cfg(feature = "quic")]
        let listen = vec![
            tcp,
            Multiaddr::empty()
                .with(std::net::Ipv4Addr::LOCALHOST.into())
                .with(libp2p::multiaddr::Protocol::Udp(0))
                .with(libp2p::multiaddr::Protocol::QuicV1),
        ];
        #[cfg(not(feature = "quic"))]
        let listen = vec![tcp];
        Self {
            listen,
            routing: RoutingConfig { serve: true, ..RoutingConfig::asking() },
            reach: ReachConfig { serve_probes: true, ..ReachConfig::asking() },
            ..Self::client()
        }
    }
}

impl OverlayConfig {
    /// Dials only: for processes that ask and leave.
    pub fn client() -> Self {
        Self {
            listen: Vec::new(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            raw_protocols: Vec::new(),
            access: Access::default(),
            scope: None,
            routing: RoutingConfig::asking(),
            reach: ReachConfig::asking(),
        }
    }

    /// How far away peers are looked for: what [`scope`](field@Self::scope) says, or else this machine, where every
    /// listening address and every bootstrap peer and relay is on loopback; or else the site.
    pub fn scope(&self) -> NetworkScope {
        let mut known = self
            .listen
            .iter()
            .chain(&self.routing.bootstrap)
            .chain(&self.reach.relays)
            .chain(&self.reach.announce);
        let loopback = known.all(|a| ip_of(a).is_some_and(|ip| reach_of(ip) == Reach::Loopback));
        self.scope.unwrap_or(if loopback { NetworkScope::Machine } else { NetworkScope::Site })
    }

    /// Whether peers on this machine have a bound of their own instead of a prefix's: a network on one machine is what
    /// everybody tries first, and nobody elsewhere can come from a loopback address.
    pub fn exempts_loopback(&self) -> bool {
        self.scope() == NetworkScope::Machine && !self.limits.count_loopback
    }
}

impl RoutingConfig {
    /// For a process that asks and does not answer.
    fn asking() -> Self {
        Self {
            serve: false,
            bootstrap: Vec::new(),
            disjoint_paths: true,
            refresh: defaults::BOOTSTRAP_INTERVAL,
        }
    }
}

impl ReachConfig {
    fn asking() -> Self {
        Self {
            announce: Vec::new(),
            probe: true,
            serve_probes: false,
            relays: Vec::new(),
            relay: false,
            hole_punching: true,
            mdns: false,
        }
    }
}

/// How long things may take. Each default, with its reason, is in [`defaults`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Dialling, handshake and opening the session together. Default 10 s.
    pub connect: Duration,
    /// A session with nothing in flight is closed after this. Default 2 min.
    pub idle: Duration,
    /// A peer in the middle of a message, or not taking ours, must move 16 KiB within this, and each unfinished message must
    /// grow within six times this. Default 20 s.
    pub stall: Duration,
    /// Flushing and closing on shutdown. Default 2 s.
    pub shutdown: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: defaults::CONNECT,
            idle: defaults::IDLE,
            stall: defaults::STALL,
            shutdown: defaults::SHUTDOWN,
        }
    }
}

/// How much of everything others may use. What is refused for one of these has a [`Denial`](crate::Denial) that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections to one peer. Default 32.
    pub connections_per_peer: u32,
    /// Connections in all. Default 512. Against exhaustion of sockets and memory.
    pub connections: u32,
    /// Handshakes under way that others began, and that we began. Default 128 each. Against floods of half-open ones.
    pub pending: u32,
    /// Handshakes under way that one /24 of IPv4 or /48 of IPv6 began. Default 16. Against whoever keeps all others out by
    /// beginning many and ending none. Over QUIC a forged source address passes for the range's, so that it does not hold
    /// there; loopback, where exempt, and relays are apart.
    pub pending_per_prefix: u32,
    /// Handshakes under way that others on loopback began, where that is exempt. Default 64.
    pub pending_loopback: u32,
    /// Handshakes under way that others began through relays. Default 32.
    pub pending_relayed: u32,
    /// Connections in each direction with one /24 of IPv4 or /48 of IPv6. Default 32. Against whoever rents a range. It does
    /// not hold for loopback, where that is exempt ([`OverlayConfig::exempts_loopback`]), nor through relays.
    pub connections_per_prefix: u32,
    /// Connections in each direction on loopback, where that is exempt. Default 256.
    pub connections_loopback: u32,
    /// Whether loopback addresses count by prefix like any other. Default: false. For a peer behind a proxy on its own
    /// machine, where everybody comes from loopback.
    pub count_loopback: bool,
    /// Connections in each direction through relays. Default 64.
    pub connections_relayed: u32,
    /// Streams open at once on one connection. Default 64. Against exhaustion of memory: each may hold 256 KiB.
    pub streams: NonZeroU32,
    /// Resident bytes of the process above which others' connections are refused; none: no such limit. Default 4 GiB.
    /// It counts the whole process, because that is what the system kills; established connections are not cut.
    pub process_memory_bytes: Option<NonZeroUsize>,
    /// Connections others opened. Default 384.
    pub connections_in: u32,
    /// Connections we opened. Default 384.
    pub connections_out: u32,
    /// Requests of one peer handled at once; more are refused as `busy`. Default 64. It does not bound what one
    /// request costs: that is the handler's.
    pub inbound_requests: NonZeroUsize,
    /// Requests in flight to one peer; more wait their turn. Default 128, at most 256 by protocol.
    pub outbound_requests: NonZeroUsize,
    /// Bytes of unfinished messages and of unread answers held for one session. Default 160 MiB. Against messages that never
    /// end and peers that never read. An answer that cannot be given twice, such as a call's, is kept where there is no room;
    /// new requests are refused until there is again.
    pub reassembly_session_bytes: NonZeroUsize,
    /// The same for all sessions together, of which one peer's may hold a quarter. Default 640 MiB.
    pub reassembly_total_bytes: NonZeroUsize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_per_peer: defaults::CONNECTIONS_PER_PEER,
            connections: defaults::CONNECTIONS,
            pending: defaults::PENDING,
            pending_per_prefix: defaults::PENDING_PER_PREFIX,
            pending_loopback: defaults::PENDING_LOOPBACK,
            pending_relayed: defaults::PENDING_RELAYED,
            connections_per_prefix: defaults::CONNECTIONS_PER_PREFIX,
            connections_loopback: defaults::CONNECTIONS_LOOPBACK,
            count_loopback: false,
            connections_relayed: defaults::CONNECTIONS_RELAYED,
            streams: defaults::STREAMS_PER_CONNECTION,
            process_memory_bytes: Some(defaults::PROCESS_MEMORY),
            connections_in: defaults::CONNECTIONS_IN,
            connections_out: defaults::CONNECTIONS_OUT,
            inbound_requests: defaults::INBOUND_REQUESTS,
            outbound_requests: defaults::OUTBOUND_REQUESTS,
            reassembly_session_bytes: defaults::REASSEMBLY_SESSION,
            reassembly_total_bytes: defaults::REASSEMBLY_TOTAL,
        }
    }
}

/// A protocol of another plane: its name, and who takes the streams that peers open.
#[derive(Clone)]
pub struct RawProtocol {
    /// The protocol's name on the wire.
    pub name: StreamProtocol,
    /// Called with each inbound stream, on the swarm's task: it must hand the stream on and return at once.
    pub accept: Arc<dyn Fn(Did, Stream) + Send + Sync>,
}

impl fmt::Debug for RawProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawProtocol({})", self.name)
    }
}
