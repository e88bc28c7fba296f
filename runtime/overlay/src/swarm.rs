//! The swarm's task: dials, listens, and turns streams into sessions. The hot path does not pass through here.

mod opening;

use crate::{
    AddPeerError, CloseReason, ConnectError, Multiaddr, OverlayConfig, OverlayError, PeerAddrs, PeerId,
    PeerInfo, SESSION_PROTOCOL, Stream,
    access::Vet,
    defaults, did_of,
    prefix::{ip_of, is_relayed},
    reach::{Observed, Relays},
    registry::{Connected, Registry, State, Told},
    routing::{Found, Joins, Queries, Table, Upkeep},
    session::{Budget, Handler, SessionHandle},
    transport::{Network, NetworkEvent, build, chain, denial, dial_error},
};
use actum_model::Did;
use futures::StreamExt;
use libp2p::{
    StreamProtocol, Swarm,
    core::ConnectedPoint,
    identify, identity, ping,
    swarm::{ConnectionId, ListenError, SwarmEvent},
};
use opening::Waiting;
use std::{collections::HashMap, num::NonZeroUsize, sync::Arc, time::Instant};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep_until, timeout},
};

pub(crate) const SESSION: StreamProtocol = StreamProtocol::new(SESSION_PROTOCOL);
pub(crate) type Reply<T> = oneshot::Sender<Result<T, ConnectError>>;

/// What the overlay asks of the swarm's task.
pub(crate) enum Command {
    /// Get a session: with a peer, or with whoever answers at the one address. Where another peer named the addresses, only
    /// those within the scope are dialled.
    Connect { peer: Option<PeerId>, addresses: Vec<Multiaddr>, named: bool, reply: Reply<SessionHandle> },
    /// Open a stream of another plane's protocol to a connected peer.
    OpenRaw { peer: Did, protocol: StreamProtocol, reply: Reply<Stream> },
    /// Look for the peers closest to a key, or for the one peer wanted.
    Query { key: Vec<u8>, n: NonZeroUsize, wanted: Option<Did>, reply: Found },
    /// List the peers in the table.
    Known { reply: oneshot::Sender<Vec<PeerAddrs>> },
    /// Dial a peer to join the network through it.
    AddPeer { peer: Did, addresses: Vec<Multiaddr>, reply: oneshot::Sender<Result<(), AddPeerError>> },
    /// Refuse a peer from now on, and part from it.
    Deny { peer: Did },
    /// Close everything.
    Shutdown { reply: oneshot::Sender<()> },
}

struct Ended {
    number: u64,
    connection: ConnectionId,
    peer: Did,
    reason: CloseReason,
}

pub(crate) struct SwarmTask {
    pub(crate) swarm: Swarm<Network>,
    pub(crate) config: OverlayConfig,
    pub(crate) vet: Arc<Vet>,
    pub(crate) table: Table,
    pub(crate) queries: Queries,
    pub(crate) joins: Joins,
    pub(crate) upkeep: Upkeep,
    pub(crate) relays: Relays,
    pub(crate) observed: Observed,
    handler: Arc<dyn Handler>,
    pub(crate) registry: Arc<Registry>,
    budget: Arc<Budget>,
    commands: mpsc::Receiver<Command>,
    ended: (mpsc::Sender<Ended>, mpsc::Receiver<Ended>),
    waiting: Vec<Waiting>,
    raw: HashMap<u64, (ConnectionId, Reply<Stream>)>,
    numbers: u64,
}

impl SwarmTask {
    /// Builds the swarm and listens; returns when every configured address is listening.
    pub(crate) async fn start(
        config: OverlayConfig,
        keypair: identity::Keypair,
        handler: Arc<dyn Handler>,
        registry: Arc<Registry>,
        commands: mpsc::Receiver<Command>,
    ) -> Result<Self, OverlayError> {
        let now = Instant::now();
        let vet = Arc::new(Vet { access: config.access.clone(), scope: config.scope() });
        let relays = Relays::new(&config.reach.relays, now)?;
        let swarm = build(&config, &vet, keypair)?;
        let budget = Budget::new(config.limits.reassembly_total_bytes);
        let mut task = Self {
            table: Table::new(Arc::clone(&vet), config.exempts_loopback()),
            vet,
            queries: Queries::default(),
            joins: Joins::default(),
            upkeep: Upkeep::new(now),
            relays,
            observed: Observed::default(),
            swarm,
            handler,
            registry,
            budget,
            commands,
            ended: mpsc::channel(defaults::COMMAND_QUEUE),
            waiting: Vec::new(),
            raw: HashMap::new(),
            numbers: 0,
            config,
        };
        {
            let facts = &mut task.registry.lock().facts;
            facts.probing = task.config.reach.probe;
            facts.announced = task.config.reach.announce.clone();
        }
        for address in task.config.reach.announce.clone() {
            task.swarm.add_external_address(address);
        }
        for address in task.config.listen.clone() {
            let refuse = |reason: String| OverlayError::Listen { address: address.to_string(), reason };
            free(&address).map_err(|e| refuse(e.to_string()))?;
            let listener = task.swarm.listen_on(address.clone()).map_err(|e| refuse(chain(&e)))?;
            let confirmed = timeout(defaults::LISTEN, async {
                loop {
                    match task.swarm.select_next_some().await {
                        SwarmEvent::NewListenAddr { listener_id, address } => {
                            task.listening(listener_id, address);
                            if listener_id == listener {
                                return Ok(());
                            }
                        }
                        SwarmEvent::ListenerClosed { listener_id, reason, .. } if listener_id == listener => {
                            return Err(reason.err().map_or("closed".to_owned(), |e| e.to_string()));
                        }
                        SwarmEvent::ListenerError { listener_id, error } if listener_id == listener => {
                            return Err(error.to_string());
                        }
                        other => task.on_event(other),
                    }
                }
            });
            let confirmed =
                confirmed.await.unwrap_or_else(|_| Err(format!("nothing after {:?}", defaults::LISTEN)));
            confirmed.map_err(refuse)?;
        }
        Ok(task)
    }

    /// Runs until told to shut down, or until nobody is left to tell.
    pub(crate) async fn run(mut self) {
        let last = loop {
            let due = self.relays_at().into_iter().chain([self.upkeep_at()]).min();
            let due = due.map_or_else(tokio::time::Instant::now, tokio::time::Instant::from_std);
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event),
                Some(ended) = self.ended.1.recv() => self.on_ended(&ended),
                command = self.commands.recv() => match command {
                    Some(Command::Connect { peer, addresses, named, reply }) => {
                        self.connect(peer, addresses, named, reply);
                    }
                    Some(Command::OpenRaw { peer, protocol, reply }) => self.open_raw(peer, protocol, reply),
                    Some(Command::Query { key, n, wanted, reply }) => self.query(key, n, wanted, reply),
                    Some(Command::Known { reply }) => {
                        let _ = reply.send(self.table_peers());
                    }
                    Some(Command::AddPeer { peer, addresses, reply }) => {
                        let _ = reply.send(self.add_peer(peer, addresses));
                    }
                    Some(Command::Deny { peer }) => self.deny(peer),
                    Some(Command::Shutdown { reply }) => break Some(reply),
                    None => break None,
                },
                () = sleep_until(due) => {
                    let now = Instant::now();
                    self.upkeep(now);
                    self.ask_relays(now);
                }
            }
        };
        self.close().await;
        if let Some(reply) = last {
            let _ = reply.send(());
        }
    }

    /// Lets out what is written or about to be answered, closes every connection, and stops listening.
    async fn close(mut self) {
        let deadline = tokio::time::Instant::now() + self.config.timeouts.shutdown;
        for waiting in self.waiting.drain(..) {
            waiting.answer(&Err(ConnectError::ShutDown));
        }
        for open in self.registry.lock().sessions.values().flatten() {
            open.handle.drain(self.config.timeouts.shutdown / 2);
        }
        let mut disconnecting = false;
        loop {
            if !disconnecting && self.registry.lock().sessions.is_empty() {
                disconnecting = true;
                let connections: Vec<_> = self.registry.lock().connections.keys().copied().collect();
                for connection in connections {
                    self.swarm.close_connection(connection);
                }
            }
            if disconnecting && self.registry.lock().connections.is_empty() {
                break;
            }
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event),
                Some(ended) = self.ended.1.recv() => self.on_ended(&ended),
                () = sleep_until(deadline) => break,
            }
        }
        *self.registry.lock() = State::default();
    }

    fn number(&mut self) -> u64 {
        self.numbers = self.numbers.wrapping_add(1);
        self.numbers
    }

    /// Refuses a peer from now on, and closes what there is with it.
    fn deny(&mut self, peer: Did) {
        let id = crate::peer_id_of(&peer);
        let network = self.swarm.behaviour_mut();
        network.gate.deny(peer);
        network.kad.inner.remove_peer(&id);
        // It fails where the peer is not connected.
        let _ = self.swarm.disconnect_peer_id(id);
    }

    fn on_event(&mut self, event: SwarmEvent<NetworkEvent>) {
        match event {
            SwarmEvent::NewListenAddr { listener_id, address } => self.listening(listener_id, address),
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.registry.lock().facts.listening.retain(|a| *a != address);
            }
            SwarmEvent::ListenerClosed { listener_id, addresses, .. } => {
                self.on_listener_closed(listener_id, &addresses, Instant::now());
            }
            SwarmEvent::ExternalAddrConfirmed { address } => self.on_external(address, true),
            SwarmEvent::ExternalAddrExpired { address } => self.on_external(address, false),
            SwarmEvent::IncomingConnectionError { error: ListenError::Denied { cause }, .. } => {
                let code = denial(&cause).map_or("other", |d| d.code());
                self.registry.lock().count(code);
            }
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                let Some(did) = did_of(peer_id) else { return };
                let info = PeerInfo {
                    did,
                    address: endpoint.get_remote_address().clone(),
                    inbound: endpoint.is_listener(),
                    relayed: endpoint.is_relayed(),
                    since: Instant::now(),
                    rtt: None,
                    agent: None,
                };
                // Who comes through a relay shows only its name; where it came through is where we listen.
                let seen = match &endpoint {
                    ConnectedPoint::Listener { local_addr, send_back_addr } => {
                        if is_relayed(local_addr) {
                            local_addr
                        } else {
                            send_back_addr
                        }
                    }
                    ConnectedPoint::Dialer { address, .. } => address,
                };
                let connected =
                    Connected { observed: ip_of(seen), relayed: info.relayed, info, dials_back: None };
                self.registry.lock().connections.insert(connection_id, connected);
                self.on_dialled(peer_id, did, connection_id);
                self.on_joined(connection_id);
            }
            SwarmEvent::ConnectionClosed { connection_id, cause, .. } => {
                {
                    let mut state = self.registry.lock();
                    state.connections.remove(&connection_id);
                    state.facts.probers = state.probers();
                }
                let reason = cause.map_or("the peer closed it".to_owned(), |e| chain(&e));
                self.fail_waiting(connection_id, &ConnectError::Lost { reason: reason.clone() });
                self.raw.retain(|_, (connection, _)| *connection != connection_id);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                if let libp2p::swarm::DialError::Denied { cause } = &error {
                    let code = denial(cause).map_or("other", |d| d.code());
                    self.registry.lock().count(code);
                }
                self.fail_waiting(connection_id, &dial_error(&error, peer_id));
                if let Some(peer) = peer_id {
                    self.on_gone(peer, &error);
                }
                self.on_joined(connection_id);
            }
            SwarmEvent::Behaviour(NetworkEvent::Streams((peer, connection, event))) => {
                self.on_stream(peer, connection, event);
            }
            SwarmEvent::Behaviour(NetworkEvent::Ping(ping::Event { connection, result, .. })) => match result
            {
                Ok(rtt) => self.describe(connection, |info| info.rtt = Some(rtt)),
                Err(ping::Failure::Unsupported) => {}
                Err(e) => {
                    tracing::debug!("closing a connection whose ping failed: {e}");
                    self.swarm.close_connection(connection);
                }
            },
            SwarmEvent::Behaviour(NetworkEvent::Identify(event)) => self.on_identify(event),
            SwarmEvent::Behaviour(NetworkEvent::Kad(event)) => self.on_kad(event),
            SwarmEvent::Behaviour(NetworkEvent::Prober(event)) => self.on_probe(&event),
            SwarmEvent::Behaviour(NetworkEvent::DialsBack(event)) => {
                tracing::debug!(client = %event.client, address = %event.tested_addr, "dialled back: {:?}", event.result);
            }
            SwarmEvent::Behaviour(NetworkEvent::Relay(event)) => tracing::debug!("relay: {event:?}"),
            SwarmEvent::Behaviour(NetworkEvent::Relayed(event)) => tracing::debug!("relayed: {event:?}"),
            SwarmEvent::Behaviour(NetworkEvent::Punching(event)) => {
                tracing::debug!(peer = %event.remote_peer_id, "a direct way past the relay: {:?}", event.result);
            }
            #[cfg(feature = "mdns")]
            SwarmEvent::Behaviour(NetworkEvent::Mdns(libp2p::mdns::Event::Discovered(found))) => {
                for (peer, address) in found {
                    if self.vet.permits(&address).is_ok() {
                        self.join(Some(peer), vec![crate::prefix::without_peer(address).0]);
                    }
                }
            }
            _ => {}
        }
    }

    fn on_identify(&mut self, event: identify::Event) {
        let identify::Event::Received { connection_id, peer_id, mut info } = event else { return };
        info.agent_version.truncate(info.agent_version.floor_char_boundary(64));
        self.describe(connection_id, |peer| peer.agent = Some(info.agent_version));
        let told =
            Told { protocols: info.protocols, addresses: info.listen_addrs, observed: info.observed_addr };
        self.on_routable(connection_id, peer_id, &told);
        self.on_seen(connection_id, &told);
    }

    fn describe(&self, connection: ConnectionId, change: impl FnOnce(&mut PeerInfo)) {
        if let Some(connected) = self.registry.lock().connections.get_mut(&connection) {
            change(&mut connected.info);
        }
    }

    fn listening(&mut self, listener: libp2p::core::transport::ListenerId, address: Multiaddr) {
        if !self.believes_listener(listener, &address) {
            return;
        }
        let listening = &mut self.registry.lock().facts.listening;
        if !listening.contains(&address) {
            listening.push(address);
        }
    }
}

/// Whether nobody listens at an address of a chosen port. The transports share ports, so that two programs on one would
/// each get some of the other's peers without a word; a socket that shares nothing finds out.
fn free(address: &Multiaddr) -> std::io::Result<()> {
    use libp2p::multiaddr::Protocol;
    let mut parts = address.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => std::net::IpAddr::from(ip),
        Some(Protocol::Ip6(ip)) => ip.into(),
        _ => return Ok(()),
    };
    match parts.next() {
        Some(Protocol::Tcp(port)) if port != 0 => std::net::TcpListener::bind((ip, port)).map(drop),
        Some(Protocol::Udp(port)) if port != 0 => std::net::UdpSocket::bind((ip, port)).map(drop),
        _ => Ok(()),
    }
}
