//! Connects peers over libp2p and carries their requests.
//!
//! What lives here: transports, a peer's identity on the wire, finding peers by their keys, who may connect, whether one
//! can be reached, one long-lived session a peer pair with its own framing, and the closed set of messages on it. What may not enter: deciding who may call, what to answer, or where
//! things are stored; that is the [`Handler`]'s, so the node's.
//!
//! Two things are open on purpose: other planes bring their own protocols on the same connections
//! ([`OverlayConfig::raw_protocols`]), and a connection is dialled without a session until one is asked for.

#![forbid(unsafe_code)]

mod access;
mod behaviour;
mod config;
pub mod defaults;
mod error;
mod fetch;
mod gate;
mod guarded;
mod identity;
mod overlay;
mod prefix;
mod reach;
mod registry;
mod routing;
mod session;
mod swarm;
mod traffic;
mod transport;
mod wire;

pub use access::{Access, Denial, NetworkScope};
pub use config::{Limits, OverlayConfig, RawProtocol, ReachConfig, RoutingConfig, Timeouts};
pub use error::{CloseReason, ConnectError, OverlayError, RequestError};
pub use fetch::{
    DownloadEvent, FetchError, Fetched, InMemory, Put, Sink, Wanted, download, fetch_manifest, fetch_release,
};
pub use futures::future::BoxFuture;
pub use identity::{did_of, peer_id_of};
pub use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol};
pub use overlay::{Overlay, PeerInfo};
pub use prefix::{IpPrefix, PrefixError};
pub use reach::{Reachability, Untested};
pub use routing::{AddPeerError, PeerAddrs, ROUTING_PROTOCOL, RoutingError, bucket, distance};
#[cfg(feature = "fuzzing")]
pub use session::fuzzing;
pub use session::{Handler, ProgressSender, SessionHandle, frame};
pub use traffic::{BothWays, Moved, Traffic, TrafficKind};
pub use wire::{
    Accusation, Contact, Event, MAX_ACCUSATIONS, MAX_ADS, MAX_CLOSER, MAX_ENTRIES, MAX_NOTICE_BYTES,
    MAX_NOTICES, MAX_RECONCILE, MAX_STATEMENTS, MAX_VERDICTS, Notice, Place, Placed, Refusal, RefusalCode,
    Request, RequestKind, Response, SESSION_PROTOCOL, TICKET_BYTES,
};
