//! What can go wrong between two peers, one enum an operation.

use crate::Denial;
use actum_model::Did;
use std::time::Duration;

/// Why an overlay could not start.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// A transport could not be set up.
    #[error("cannot set up the transports: {0}")]
    Transport(String),
    /// An address to listen on is not possible.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address as configured.
        address: String,
        /// What the transport said.
        reason: String,
    },
    /// The configuration asks for what this build does not have.
    #[error("{setting} needs a build with the feature {feature:?}")]
    NotBuilt {
        /// What was asked for.
        setting: &'static str,
        /// The cargo feature of this crate that has it.
        feature: &'static str,
    },
}

/// Why there is no session with a peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Not a multiaddr that can be dialled.
    #[error("{address:?} is not an address to dial: {reason}")]
    BadAddress {
        /// The address as given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No address of the peer is known.
    #[error("no address to reach {peer} at")]
    NoAddress {
        /// The peer wanted.
        peer: Did,
    },
    /// No address answered.
    #[error("could not dial {}", tried.iter().map(|(a, e)| format!("{a} ({e})")).collect::<Vec<_>>().join(", "))]
    Dial {
        /// Each address tried, and why it failed.
        tried: Vec<(String, String)>,
    },
    /// Somebody else answers at that address.
    #[error("the peer at {address} is {found}, not {expected}")]
    WrongPeer {
        /// The address dialled.
        address: String,
        /// The peer id wanted.
        expected: String,
        /// The peer id found.
        found: String,
    },
    /// The address is our own.
    #[error("{address} is this peer itself")]
    Ourselves {
        /// The address dialled.
        address: String,
    },
    /// The peer does not speak the session protocol: another program, or another version.
    #[error("{peer} does not speak {protocol}")]
    ProtocolNotSupported {
        /// The peer.
        peer: Did,
        /// The protocol wanted.
        protocol: &'static str,
    },
    /// We refuse it ourselves: a list, a limit, or a key that is not Ed25519.
    #[error("we refuse the connection ourselves: {0}")]
    Denied(Denial),
    /// Something in the stack below refuses it for a reason of its own.
    #[error("the connection was refused: {reason}")]
    Refused {
        /// What it said.
        reason: String,
    },
    /// The connection broke while the session was being opened.
    #[error("the connection broke before a session was open: {reason}")]
    Lost {
        /// What the transport said.
        reason: String,
    },
    /// It took too long.
    #[error("no session after {after:?}")]
    TimedOut {
        /// How long was waited.
        after: Duration,
    },
    /// The overlay is shut down.
    #[error("the overlay is shut down")]
    ShutDown,
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The stream ended or broke.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// The peer closed it and said why.
    #[error("the peer closed the session: {0}")]
    PeerSaid(String),
    /// The peer broke the protocol; we closed.
    #[error("the peer broke the protocol: {0}")]
    Violation(String),
    /// The peer stopped in the middle of a message, or does not take ours; we closed.
    #[error("the peer made no progress for {0:?}")]
    Stalled(Duration),
    /// Nothing was in flight for the idle timeout; we closed.
    #[error("nothing was in flight for {0:?}")]
    Idle(Duration),
    /// We are shutting down.
    #[error("this peer is shutting down")]
    ShutDown,
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// There is no session with that peer. Nothing was sent.
    #[error("not connected to {peer}")]
    NotConnected {
        /// The peer.
        peer: Did,
    },
    /// The request exceeds what its kind allows. Nothing was sent.
    #[error("the request has {actual} bytes; {limit} are allowed")]
    TooLarge {
        /// Its encoded size in bytes.
        actual: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The session ended before the whole request was sent: the peer did not act on it.
    #[error("lost before the request was sent: {reason}")]
    LostBeforeSending {
        /// Why the session ended.
        reason: CloseReason,
    },
    /// The session ended after the request was sent: the peer may have acted on it.
    #[error("lost while waiting for the answer, the request may have been carried out: {reason}")]
    LostWhileWaiting {
        /// Why the session ended.
        reason: CloseReason,
    },
    /// No answer by the deadline; the peer was told to stop.
    #[error("no answer after {after:?}{}", if *may_have_run { ", the request may have been carried out" } else { "" })]
    TimedOut {
        /// The deadline.
        after: Duration,
        /// Whether the whole request had been sent.
        may_have_run: bool,
    },
    /// The answer did not fit beside the other unfinished messages held in memory; the peer was told to stop.
    #[error("no memory left to receive the answer: {limit} bytes of unfinished messages are allowed")]
    NoRoom {
        /// The limit in bytes.
        limit: usize,
    },
}
