//! What an overlay is started with.

use crate::{Stream, defaults};
use actum_model::Did;
use libp2p::{Multiaddr, StreamProtocol};
use std::{fmt, num::NonZeroUsize, sync::Arc, time::Duration};

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
        Self { listen, ..Self::client() }
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
    /// A peer in the middle of a message, or not taking ours, must make progress within this. Default 20 s.
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

/// How much of everything others may use. They hold per process or per peer, not per address range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections to one peer. Default 4.
    pub connections_per_peer: u32,
    /// Connections in all. Default 512. Against exhaustion of sockets and memory.
    pub connections: u32,
    /// Connections others opened. Default 384.
    pub connections_in: u32,
    /// Connections we opened. Default 384.
    pub connections_out: u32,
    /// Requests of one peer handled at once; more are refused as `busy`. Default 64. It does not bound what one
    /// request costs: that is the handler's.
    pub inbound_requests: NonZeroUsize,
    /// Requests in flight to one peer; more wait their turn. Default 128, at most 256 by protocol.
    pub outbound_requests: NonZeroUsize,
    /// Bytes of unfinished messages held for one session. Default 160 MiB. Against messages that never end.
    pub reassembly_session_bytes: NonZeroUsize,
    /// Bytes of unfinished messages held for all sessions together. Default 512 MiB.
    pub reassembly_total_bytes: NonZeroUsize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_per_peer: defaults::CONNECTIONS_PER_PEER,
            connections: defaults::CONNECTIONS,
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
