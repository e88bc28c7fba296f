//! Connects peers over libp2p and carries their requests.
//!
//! What lives here: transports, a peer's identity on the wire, one long-lived session a peer pair with its own
//! framing, and the closed set of messages on it. What may not enter: deciding who may call, what to answer, or where
//! things are stored; that is the [`Handler`]'s, so the node's.
//!
//! Two things are open on purpose: other planes bring their own protocols on the same connections
//! ([`OverlayConfig::raw_protocols`]), and a connection is dialled without a session until one is asked for.

#![forbid(unsafe_code)]

mod behaviour;
mod config;
pub mod defaults;
mod error;
mod fetch;
mod identity;
mod overlay;
mod session;
mod swarm;
mod transport;
mod wire;

pub use config::{Limits, OverlayConfig, RawProtocol, Timeouts};
pub use error::{CloseReason, ConnectError, OverlayError, RequestError};
pub use fetch::{FetchError, fetch_component, fetch_release};
pub use futures::future::BoxFuture;
pub use identity::{did_of, peer_id_of};
pub use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol};
pub use overlay::{Overlay, PeerInfo};
pub use session::{Handler, ProgressSender, SessionHandle, frame};
pub use wire::{
    Event, MAX_NOTICE_BYTES, MAX_NOTICES, Notice, Place, Refusal, RefusalCode, Request, RequestKind,
    Response, SESSION_PROTOCOL,
};
