//! A peer's place in the network: what the node and the command line hold.

use crate::{
    AddPeerError, ConnectError, Event, Handler, OverlayConfig, OverlayError, PeerAddrs, Reachability,
    Request, RequestError, Response, RoutingError, SessionHandle, Stream, Timeouts, defaults, did_of,
    identity, peer_id_of,
    prefix::is_relayed,
    registry::Registry,
    routing,
    swarm::{Command, SwarmTask},
    traffic::Traffic,
};
use actum_model::{Did, SecretKey};
use libp2p::{Multiaddr, PeerId, StreamProtocol, multiaddr::Protocol};
use std::{
    collections::BTreeMap,
    fmt,
    num::NonZeroUsize,
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
    /// Whether the connection goes through a relay.
    pub relayed: bool,
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

    /// The addresses others can dial, each ending in `/p2p/…`: first those that lead here from elsewhere, as
    /// [`external_addresses`](Self::external_addresses) has them, then those listened on. Empty where there are none.
    pub fn addresses(&self) -> Vec<Multiaddr> {
        let mut all = self.external_addresses();
        let listening = self.0.registry.lock().facts.listening.clone();
        for address in self.named(listening) {
            if !all.contains(&address) {
                all.push(address);
            }
        }
        all
    }

    /// The addresses that lead here from elsewhere, each ending in `/p2p/…`: confirmed by a dial back, announced in the
    /// configuration, or through a relay that keeps a place. They change while the overlay runs.
    pub fn external_addresses(&self) -> Vec<Multiaddr> {
        let facts = self.0.registry.lock().facts.clone();
        let relayed = facts.listening.into_iter().filter(is_relayed);
        self.named(facts.confirmed.into_iter().chain(facts.announced).chain(relayed))
    }

    fn named(&self, addresses: impl IntoIterator<Item = Multiaddr>) -> Vec<Multiaddr> {
        let peer = peer_id_of(&self.0.did);
        // One that ends in another peer is not ours to hand out.
        addresses.into_iter().filter_map(|a| a.with_p2p(peer).ok()).collect()
    }

    /// Whether peers elsewhere can reach this one, and if not, why. It asks nobody; it says what is known by now.
    pub fn reachability(&self) -> Reachability {
        self.0.registry.lock().facts.reachability()
    }

    /// How many connections were refused since the start, by the code of the [`Denial`](crate::Denial); `record` counts
    /// records that peers wanted kept.
    pub fn refusals(&self) -> BTreeMap<&'static str, u64> {
        self.0.registry.lock().refusals.clone()
    }

    /// What all sessions carried since the start, those that are over too.
    pub fn traffic(&self) -> Traffic {
        self.0.registry.traffic.read()
    }

    /// The connected peers, one entry a connection, in no order.
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.0.registry.lock().peers()
    }

    /// Where that peer is seen, if it is connected: the address that counts for limits on ranges, because nobody can claim
    /// another's. Of a peer behind a relay, the relay's.
    pub fn seen_at(&self, peer: &Did) -> Option<std::net::IpAddr> {
        self.0.registry.lock().seen_at(peer)
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
        self.session(peer, vec![dialled], false).await.map(|s| s.peer())
    }

    /// Gets a session with a known peer: the one there is, or a new one at one of `addresses` (with or without `/p2p/…`).
    pub async fn connect_to(
        &self,
        peer: &Did,
        addresses: &[Multiaddr],
    ) -> Result<SessionHandle, ConnectError> {
        self.session_at(peer, addresses, false).await
    }

    /// The same, where another peer named the addresses, be it as its own: only those within the scope are dialled. With none
    /// of them, it is [`ConnectError::Denied`].
    pub async fn connect_named(
        &self,
        peer: &Did,
        addresses: &[Multiaddr],
    ) -> Result<SessionHandle, ConnectError> {
        self.session_at(peer, addresses, true).await
    }

    async fn session_at(
        &self,
        peer: &Did,
        addresses: &[Multiaddr],
        named: bool,
    ) -> Result<SessionHandle, ConnectError> {
        if let Some(session) = self.0.registry.best_session(peer) {
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
        self.session(Some(expected), stripped, named).await
    }

    async fn session(
        &self,
        peer: Option<PeerId>,
        addresses: Vec<Multiaddr>,
        named: bool,
    ) -> Result<SessionHandle, ConnectError> {
        self.command(|reply| Command::Connect { peer, addresses, named, reply }).await
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

    /// Asks the network for the 20 peers closest to a key, by [`distance`](crate::distance), closest first; this peer itself
    /// is not among them. At most 10 s; 1.5 s after the last answer, it makes do with those there are.
    pub async fn closest(&self, key: [u8; 32]) -> Result<Vec<PeerAddrs>, RoutingError> {
        self.closest_n(key, defaults::BUCKET).await
    }

    /// The same for the `n` closest, at most 20.
    pub async fn closest_n(&self, key: [u8; 32], n: NonZeroUsize) -> Result<Vec<PeerAddrs>, RoutingError> {
        let mut found = self.query(key.to_vec(), n, None).await?;
        found.sort_by_key(|p| routing::distance(&key, &p.did));
        found.truncate(n.get());
        Ok(found)
    }

    /// Finds where a peer is: among the peers known, or else by asking the network. Peers that do not
    /// [serve](crate::RoutingConfig::serve) routing cannot be found.
    pub async fn find_peer(&self, peer: &Did) -> Result<PeerAddrs, RoutingError> {
        let found = self.query(peer_id_of(peer).to_bytes(), defaults::BUCKET, Some(*peer)).await?;
        found.into_iter().next().ok_or(RoutingError::NotFound { peer: *peer })
    }

    async fn query(
        &self,
        key: Vec<u8>,
        n: NonZeroUsize,
        wanted: Option<Did>,
    ) -> Result<Vec<PeerAddrs>, RoutingError> {
        let (reply, answer) = oneshot::channel();
        let query = Command::Query { key, n, wanted, reply };
        self.0.commands.send(query).await.map_err(|_| RoutingError::ShutDown)?;
        answer.await.unwrap_or(Err(RoutingError::ShutDown))
    }

    /// The peers in the routing table, for keeping over a restart. Each was connected and spoke the protocol; it may be
    /// gone by now. Empty after a shutdown.
    pub async fn known_peers(&self) -> Vec<PeerAddrs> {
        let (reply, answer) = oneshot::channel();
        match self.0.commands.send(Command::Known { reply }).await {
            Ok(()) => answer.await.unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }

    /// Has a peer dialled, in its turn, so that it gets into the routing table if it is there and speaks the protocol: for
    /// peers kept over a restart. Returns before it is dialled. Addresses outside the scope are left out.
    pub async fn add_peer(&self, peer: Did, addresses: Vec<Multiaddr>) -> Result<(), AddPeerError> {
        let (reply, answer) = oneshot::channel();
        let add = Command::AddPeer { peer, addresses, reply };
        self.0.commands.send(add).await.map_err(|_| AddPeerError::ShutDown)?;
        answer.await.unwrap_or(Err(AddPeerError::ShutDown))
    }

    /// At most `n` peers of the routing table. The same table and seed give the same peers; each is as likely as any other.
    pub async fn sample(&self, n: usize, seed: u64) -> Vec<PeerAddrs> {
        routing::sample(self.known_peers().await, n, seed)
    }

    /// Refuses a peer from now on and closes its connections: for whoever was caught. It holds until the overlay ends, or
    /// until 4,096 others were denied; lists that last are in [`Access`](crate::Access).
    pub async fn deny_peer(&self, peer: Did) {
        // After a shutdown there is nobody left to refuse.
        let _ = self.0.commands.send(Command::Deny { peer }).await;
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
    /// Handlers that are about to answer have half of that; then they are dropped. Whoever shuts down has drained its work
    /// before.
    pub async fn shutdown(&self) {
        let (reply, done) = oneshot::channel();
        if self.0.commands.send(Command::Shutdown { reply }).await.is_ok() {
            let _ = done.await;
        }
    }
}
