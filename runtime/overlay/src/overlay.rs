//! A peer's place in the network: what the node and the command line hold.

use crate::{
    ConnectError, Event, Handler, OverlayConfig, OverlayError, Request, RequestError, Response,
    SessionHandle, Stream, Timeouts, defaults, did_of, identity, peer_id_of,
    swarm::{Command, Registry, SwarmTask},
};
use actum_model::{Did, SecretKey};
use libp2p::{Multiaddr, PeerId, StreamProtocol, multiaddr::Protocol};
use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

/// A connected peer.
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// Who.
    pub did: Did,
    /// The address at the other end.
    pub address: Multiaddr,
    /// Whether the peer dialled us.
    pub inbound: bool,
    /// Since when.
    pub since: Instant,
    /// The last round trip measured.
    pub rtt: Option<Duration>,
    /// The program it says it is, at most 64 bytes; it can say anything.
    pub agent: Option<String>,
}

/// A peer's place in the network. Cheap to clone; when the last clone is dropped, it shuts down.
#[derive(Clone)]
pub struct Overlay(Arc<Inner>);

struct Inner {
    did: Did,
    timeouts: Timeouts,
    registry: Arc<Registry>,
    commands: mpsc::Sender<Command>,
}

impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Overlay({})", self.0.did)
    }
}

impl Overlay {
    /// Starts listening and answering. Returns when every configured address is listening.
    ///
    /// Must be called in a tokio runtime.
    pub async fn start(
        config: OverlayConfig,
        key: &SecretKey,
        handler: Arc<dyn Handler>,
    ) -> Result<Self, OverlayError> {
        let registry = Arc::new(Registry::default());
        let (commands, receiver) = mpsc::channel(defaults::COMMAND_QUEUE);
        let timeouts = config.timeouts.clone();
        let keypair = identity::keypair_of(key);
        let task = SwarmTask::start(config, keypair, handler, Arc::clone(&registry), receiver).await?;
        tokio::spawn(task.run());
        Ok(Self(Arc::new(Inner { did: key.did(), timeouts, registry, commands })))
    }

    /// This peer.
    pub fn did(&self) -> Did {
        self.0.did
    }

    /// The addresses others can dial, each ending in `/p2p/…`. Empty where the configuration has none.
    pub fn addresses(&self) -> Vec<Multiaddr> {
        let peer = peer_id_of(&self.0.did);
        self.0.registry.lock().listening.iter().map(|a| a.clone().with(Protocol::P2p(peer))).collect()
    }

    /// The connected peers, one entry a connection, in no order.
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.0.registry.lock().peers()
    }

    /// Gets a session with whoever is at `address`, a multiaddr; if it ends in `/p2p/…`, with that peer and no other.
    pub async fn connect(&self, address: &str) -> Result<Did, ConnectError> {
        let bad = |reason: String| ConnectError::BadAddress { address: address.to_owned(), reason };
        let mut dialled: Multiaddr =
            address.parse().map_err(|e: libp2p::multiaddr::Error| bad(e.to_string()))?;
        let peer = match dialled.iter().last() {
            Some(Protocol::P2p(peer)) => {
                dialled.pop();
                did_of(peer).ok_or_else(|| bad("its peer id is not an Ed25519 key's".to_owned()))?;
                Some(peer)
            }
            Some(_) => None,
            None => return Err(bad("it is empty".to_owned())),
        };
        self.session(peer, vec![dialled]).await.map(|s| s.peer())
    }

    /// Gets a session with a known peer: the one there is, or a new one at one of `addresses` (with or without `/p2p/…`).
    pub async fn connect_to(
        &self,
        peer: &Did,
        addresses: &[Multiaddr],
    ) -> Result<SessionHandle, ConnectError> {
        if let Some(session) = self.0.registry.session(peer) {
            return Ok(session);
        }
        let expected = peer_id_of(peer);
        let mut stripped = Vec::with_capacity(addresses.len());
        for address in addresses {
            let mut dialled = address.clone();
            if let Some(Protocol::P2p(found)) = dialled.iter().last() {
                if found != expected {
                    return Err(ConnectError::WrongPeer {
                        address: address.to_string(),
                        expected: expected.to_string(),
                        found: found.to_string(),
                    });
                }
                dialled.pop();
            }
            stripped.push(dialled);
        }
        self.session(Some(expected), stripped).await
    }

    async fn session(
        &self,
        peer: Option<PeerId>,
        addresses: Vec<Multiaddr>,
    ) -> Result<SessionHandle, ConnectError> {
        self.command(|reply| Command::Connect { peer, addresses, reply }).await
    }

    /// Opens a stream of another plane's protocol to a connected peer.
    pub async fn open_raw(&self, peer: Did, protocol: StreamProtocol) -> Result<Stream, ConnectError> {
        self.command(|reply| Command::OpenRaw { peer, protocol, reply }).await
    }

    async fn command<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, ConnectError>>) -> Command,
    ) -> Result<T, ConnectError> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.0.commands.send(command(reply)).await.map_err(|_| ConnectError::ShutDown)?;
            answer.await.unwrap_or(Err(ConnectError::ShutDown))
        };
        let after = self.0.timeouts.connect;
        timeout(after, asked).await.unwrap_or(Err(ConnectError::TimedOut { after }))
    }

    /// The session with a connected peer, if there is one: for many requests in a row.
    pub fn session_with(&self, peer: &Did) -> Option<SessionHandle> {
        self.0.registry.session(peer)
    }

    /// Asks a connected peer, and waits for the answer, at most `deadline`. Dropping the future tells the peer to stop.
    pub async fn request(
        &self,
        peer: &Did,
        request: &Request,
        deadline: Duration,
    ) -> Result<Response, RequestError> {
        let session = self.session_with(peer).ok_or(RequestError::NotConnected { peer: *peer })?;
        session.request(request, deadline).await
    }

    /// The same, hearing how a call is coming along.
    pub async fn request_with_progress(
        &self,
        peer: &Did,
        request: &Request,
        deadline: Duration,
        on_event: impl FnMut(Event),
    ) -> Result<Response, RequestError> {
        let session = self.session_with(peer).ok_or(RequestError::NotConnected { peer: *peer })?;
        session.request_with_progress(request, deadline, on_event).await
    }

    /// Lets answers already given out, closes every session and connection, and stops listening. At most 2 s by default.
    ///
    /// It does not wait for handlers: whoever shuts down has drained its work before.
    pub async fn shutdown(&self) {
        let (reply, done) = oneshot::channel();
        if self.0.commands.send(Command::Shutdown { reply }).await.is_ok() {
            let _ = done.await;
        }
    }
}
