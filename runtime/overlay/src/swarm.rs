//! The swarm's task: dials, listens, and turns streams into sessions. The hot path does not pass through here.

use crate::{
    CloseReason, ConnectError, Multiaddr, OverlayConfig, OverlayError, PeerId, PeerInfo, SESSION_PROTOCOL,
    Stream,
    behaviour::{OpenError, StreamEvent},
    defaults, did_of,
    session::{Budget, Driver, Handler, SessionHandle},
    transport::{Network, NetworkEvent, build, chain, dial_error},
};
use actum_model::Did;
use futures::StreamExt;
use libp2p::{
    StreamProtocol, Swarm, identify, identity, ping,
    swarm::{
        ConnectionId, SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep_until, timeout},
};

pub(crate) const SESSION: StreamProtocol = StreamProtocol::new(SESSION_PROTOCOL);
pub(crate) type Reply<T> = oneshot::Sender<Result<T, ConnectError>>;

/// What the overlay asks of the swarm's task.
pub(crate) enum Command {
    /// Get a session: with a peer, or with whoever answers at the one address.
    Connect { peer: Option<PeerId>, addresses: Vec<Multiaddr>, reply: Reply<SessionHandle> },
    /// Open a stream of another plane's protocol to a connected peer.
    OpenRaw { peer: Did, protocol: StreamProtocol, reply: Reply<Stream> },
    /// Close everything.
    Shutdown { reply: oneshot::Sender<()> },
}

/// What the overlay and the swarm's task both see.
#[derive(Default)]
pub(crate) struct Registry(Mutex<State>);

#[derive(Default)]
pub(crate) struct State {
    sessions: HashMap<Did, Vec<Open>>,
    connections: HashMap<ConnectionId, PeerInfo>,
    pub(crate) listening: Vec<Multiaddr>,
}

struct Open {
    number: u64,
    connection: ConnectionId,
    inbound: bool,
    handle: SessionHandle,
}

impl Registry {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session with that peer that is not over.
    pub(crate) fn session(&self, peer: &Did) -> Option<SessionHandle> {
        self.lock().session(peer)
    }
}

impl State {
    fn session(&self, peer: &Did) -> Option<SessionHandle> {
        self.sessions.get(peer)?.iter().find(|s| s.handle.closed().is_none()).map(|s| s.handle.clone())
    }

    pub(crate) fn peers(&self) -> Vec<PeerInfo> {
        self.connections.values().cloned().collect()
    }

    fn connection(&self, peer: &Did) -> Option<ConnectionId> {
        self.connections.iter().find(|(_, info)| info.did == *peer).map(|(id, _)| *id)
    }
}

/// Somebody waits for a session.
struct Waiting {
    connection: ConnectionId,
    peer: Option<PeerId>,
    /// The stream asked for; none while dialling.
    token: Option<u64>,
    replies: Vec<Reply<SessionHandle>>,
}

impl Waiting {
    fn answer(self, result: &Result<SessionHandle, ConnectError>) {
        for reply in self.replies {
            let _ = reply.send(result.clone());
        }
    }
}

struct Ended {
    number: u64,
    connection: ConnectionId,
    peer: Did,
    reason: CloseReason,
}

pub(crate) struct SwarmTask {
    swarm: Swarm<Network>,
    config: OverlayConfig,
    handler: Arc<dyn Handler>,
    registry: Arc<Registry>,
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
        let swarm = build(&config, keypair).map_err(|e| OverlayError::Transport(e.to_string()))?;
        let budget = Budget::new(config.limits.reassembly_total_bytes);
        let mut task = Self {
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
        for address in task.config.listen.clone() {
            let refuse = |reason: String| OverlayError::Listen { address: address.to_string(), reason };
            free(&address).map_err(|e| refuse(e.to_string()))?;
            let listener = task.swarm.listen_on(address.clone()).map_err(|e| refuse(chain(&e)))?;
            let confirmed = timeout(defaults::LISTEN, async {
                loop {
                    match task.swarm.select_next_some().await {
                        SwarmEvent::NewListenAddr { listener_id, address } => {
                            task.listening(address);
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
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event),
                Some(ended) = self.ended.1.recv() => self.on_ended(&ended),
                command = self.commands.recv() => match command {
                    Some(Command::Connect { peer, addresses, reply }) => self.connect(peer, addresses, reply),
                    Some(Command::OpenRaw { peer, protocol, reply }) => self.open_raw(peer, protocol, reply),
                    Some(Command::Shutdown { reply }) => break Some(reply),
                    None => break None,
                },
            }
        };
        self.close().await;
        if let Some(reply) = last {
            let _ = reply.send(());
        }
    }

    /// Lets what is written out, closes every connection, and stops listening.
    async fn close(mut self) {
        let deadline = tokio::time::Instant::now() + self.config.timeouts.shutdown;
        for waiting in self.waiting.drain(..) {
            waiting.answer(&Err(ConnectError::ShutDown));
        }
        for open in self.registry.lock().sessions.values().flatten() {
            open.handle.drain();
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

    fn connect(&mut self, peer: Option<PeerId>, addresses: Vec<Multiaddr>, reply: Reply<SessionHandle>) {
        if let Some(peer) = peer {
            let Some(did) = did_of(peer) else { return };
            if let Some(session) = self.registry.session(&did) {
                let _ = reply.send(Ok(session));
                return;
            }
            if let Some(waiting) = self.waiting.iter_mut().find(|w| w.peer == Some(peer)) {
                waiting.replies.push(reply);
                return;
            }
            let connection = self.registry.lock().connection(&did);
            if let Some(connection) = connection {
                let waiting = Waiting { connection, peer: Some(peer), token: None, replies: vec![reply] };
                self.open_session(peer, waiting);
                return;
            }
            if addresses.is_empty() {
                let _ = reply.send(Err(ConnectError::NoAddress { peer: did }));
                return;
            }
        }
        // A port of its own: two peers that dial each other from their listening ports at once meet in one TCP connection
        // with two dialling ends, and its handshake fails.
        let options = match (peer, addresses.first()) {
            (Some(peer), _) => DialOpts::peer_id(peer)
                .condition(PeerCondition::Always)
                .addresses(addresses)
                .allocate_new_port()
                .build(),
            (None, Some(address)) => {
                DialOpts::unknown_peer_id().address(address.clone()).allocate_new_port().build()
            }
            (None, None) => return,
        };
        let waiting =
            Waiting { connection: options.connection_id(), peer, token: None, replies: vec![reply] };
        match self.swarm.dial(options) {
            Ok(()) => self.waiting.push(waiting),
            Err(e) => waiting.answer(&Err(dial_error(&e, peer))),
        }
    }

    fn open_session(&mut self, peer: PeerId, mut waiting: Waiting) {
        let token = self.number();
        waiting.token = Some(token);
        self.swarm.behaviour_mut().streams.open(peer, waiting.connection, SESSION, token);
        self.waiting.push(waiting);
    }

    fn open_raw(&mut self, peer: Did, protocol: StreamProtocol, reply: Reply<Stream>) {
        let connection = self.registry.lock().connection(&peer);
        let Some(connection) = connection else {
            let _ = reply.send(Err(ConnectError::NoAddress { peer }));
            return;
        };
        let token = self.number();
        self.swarm.behaviour_mut().streams.open(crate::peer_id_of(&peer), connection, protocol, token);
        self.raw.insert(token, (connection, reply));
    }

    fn on_event(&mut self, event: SwarmEvent<NetworkEvent>) {
        match event {
            SwarmEvent::NewListenAddr { address, .. } => self.listening(address),
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.registry.lock().listening.retain(|a| *a != address);
            }
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                let Some(did) = did_of(peer_id) else { return };
                let info = PeerInfo {
                    did,
                    address: endpoint.get_remote_address().clone(),
                    inbound: endpoint.is_listener(),
                    since: Instant::now(),
                    rtt: None,
                    agent: None,
                };
                self.registry.lock().connections.insert(connection_id, info);
                self.on_dialled(peer_id, did, connection_id);
            }
            SwarmEvent::ConnectionClosed { connection_id, cause, .. } => {
                self.registry.lock().connections.remove(&connection_id);
                let reason = cause.map_or("the peer closed it".to_owned(), |e| chain(&e));
                self.fail_waiting(connection_id, &ConnectError::Lost { reason: reason.clone() });
                self.raw.retain(|_, (connection, _)| *connection != connection_id);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                self.fail_waiting(connection_id, &dial_error(&error, peer_id));
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
            SwarmEvent::Behaviour(NetworkEvent::Identify(identify::Event::Received {
                connection_id,
                mut info,
                ..
            })) => {
                info.agent_version.truncate(info.agent_version.floor_char_boundary(64));
                self.describe(connection_id, |peer| peer.agent = Some(info.agent_version));
            }
            _ => {}
        }
    }

    fn describe(&self, connection: ConnectionId, change: impl FnOnce(&mut PeerInfo)) {
        if let Some(info) = self.registry.lock().connections.get_mut(&connection) {
            change(info);
        }
    }

    fn listening(&self, address: Multiaddr) {
        let listening = &mut self.registry.lock().listening;
        if !listening.contains(&address) {
            listening.push(address);
        }
    }

    /// A connection is up; if it is one somebody waits for, a session is opened on it.
    fn on_dialled(&mut self, peer: PeerId, did: Did, connection: ConnectionId) {
        let Some(at) = self.waiting.iter().position(|w| w.connection == connection && w.token.is_none())
        else {
            return;
        };
        let mut waiting = self.waiting.swap_remove(at);
        waiting.peer = Some(peer);
        match self.registry.session(&did) {
            Some(session) => {
                waiting.answer(&Ok(session));
                self.swarm.close_connection(connection);
            }
            None => self.open_session(peer, waiting),
        }
    }

    fn fail_waiting(&mut self, connection: ConnectionId, error: &ConnectError) {
        while let Some(at) = self.waiting.iter().position(|w| w.connection == connection) {
            self.waiting.swap_remove(at).answer(&Err(error.clone()));
        }
    }

    fn on_stream(&mut self, peer: PeerId, connection: ConnectionId, event: StreamEvent) {
        let Some(did) = did_of(peer) else { return };
        match event {
            StreamEvent::Inbound(protocol, stream) if protocol == SESSION => {
                let second = self.registry.lock().sessions.get(&did).is_some_and(|sessions| {
                    sessions
                        .iter()
                        .any(|s| s.inbound && s.connection == connection && s.handle.closed().is_none())
                });
                if second {
                    tracing::debug!(%did, "closing a connection with a second session on it");
                    self.swarm.close_connection(connection);
                } else {
                    self.start_session(did, connection, stream, true);
                }
            }
            StreamEvent::Inbound(protocol, stream) => {
                if let Some(raw) = self.config.raw_protocols.iter().find(|r| r.name == protocol) {
                    (raw.accept)(did, stream);
                }
            }
            StreamEvent::Outbound(token, result) => {
                let result = result.map_err(|e| match e {
                    OpenError::NotSupported => {
                        ConnectError::ProtocolNotSupported { peer: did, protocol: SESSION_PROTOCOL }
                    }
                    OpenError::Broken(reason) => ConnectError::Lost { reason },
                });
                if let Some((_, reply)) = self.raw.remove(&token) {
                    let _ = reply.send(result);
                } else if let Some(at) = self.waiting.iter().position(|w| w.token == Some(token)) {
                    let waiting = self.waiting.swap_remove(at);
                    let session = result.map(|stream| self.start_session(did, connection, stream, false));
                    waiting.answer(&session);
                }
            }
        }
    }

    fn start_session(
        &mut self,
        peer: Did,
        connection: ConnectionId,
        stream: Stream,
        inbound: bool,
    ) -> SessionHandle {
        let number = self.number();
        let handle = SessionHandle::new(peer, stream, self.config.limits.clone(), Arc::clone(&self.budget));
        let driver = Driver::new(handle.clone(), Arc::clone(&self.handler), self.config.timeouts.clone());
        let ended = self.ended.0.clone();
        tokio::spawn(async move {
            let reason = driver.run().await;
            let _ = ended.send(Ended { number, connection, peer, reason }).await;
        });
        let open = Open { number, connection, inbound, handle: handle.clone() };
        self.registry.lock().sessions.entry(peer).or_default().push(open);
        handle
    }

    fn on_ended(&mut self, ended: &Ended) {
        tracing::debug!(peer = %ended.peer, "session over: {}", ended.reason);
        {
            let mut state = self.registry.lock();
            if let Some(sessions) = state.sessions.get_mut(&ended.peer) {
                sessions.retain(|s| s.number != ended.number);
                if sessions.is_empty() {
                    state.sessions.remove(&ended.peer);
                }
            }
        }
        if matches!(ended.reason, CloseReason::Violation(_) | CloseReason::Stalled(_)) {
            self.swarm.close_connection(ended.connection);
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
