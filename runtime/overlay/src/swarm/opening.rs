//! How a session comes about: a dial, a stream on the connection, and the session on the stream.

use super::{Ended, Reply, SESSION, SwarmTask};
use crate::{
    CloseReason, ConnectError, Multiaddr, PeerId, SESSION_PROTOCOL, Stream,
    behaviour::{OpenError, StreamEvent},
    did_of,
    prefix::ip_of,
    registry::Open,
    session::{Driver, SessionHandle},
    transport::dial_error,
};
use actum_model::Did;
use libp2p::{
    StreamProtocol,
    swarm::{
        ConnectionId,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use std::sync::Arc;

/// Somebody waits for a session.
pub(super) struct Waiting {
    pub(super) connection: ConnectionId,
    peer: Option<PeerId>,
    /// The stream asked for; none while dialling.
    token: Option<u64>,
    replies: Vec<Reply<SessionHandle>>,
}

impl Waiting {
    pub(super) fn answer(self, result: &Result<SessionHandle, ConnectError>) {
        for reply in self.replies {
            let _ = reply.send(result.clone());
        }
    }
}

impl SwarmTask {
    pub(super) fn connect(
        &mut self,
        peer: Option<PeerId>,
        mut addresses: Vec<Multiaddr>,
        named: bool,
        reply: Reply<SessionHandle>,
    ) {
        if let Some(peer) = peer {
            let Some(did) = did_of(peer) else { return };
            if let Some(session) = self.registry.best_session(&did) {
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
        let mut denied = None;
        addresses.retain(|address| {
            let permitted = match named {
                true => self.vet.permits(address),
                false => self.vet.access.address(address, ip_of(address)),
            };
            permitted.map_err(|why| denied = Some(why)).is_ok()
        });
        if let (true, Some(why)) = (addresses.is_empty(), denied) {
            let _ = reply.send(Err(ConnectError::Denied(why)));
            return;
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

    pub(super) fn open_raw(&mut self, peer: Did, protocol: StreamProtocol, reply: Reply<Stream>) {
        let connection = self.registry.lock().connection(&peer);
        let Some(connection) = connection else {
            let _ = reply.send(Err(ConnectError::NoAddress { peer }));
            return;
        };
        let token = self.number();
        self.swarm.behaviour_mut().streams.open(crate::peer_id_of(&peer), connection, protocol, token);
        self.raw.insert(token, (connection, reply));
    }

    /// A connection is up; if it is one somebody waits for, a session is opened on it.
    pub(super) fn on_dialled(&mut self, peer: PeerId, did: Did, connection: ConnectionId) {
        let Some(at) = self.waiting.iter().position(|w| w.connection == connection && w.token.is_none())
        else {
            return;
        };
        let mut waiting = self.waiting.swap_remove(at);
        waiting.peer = Some(peer);
        match self.registry.best_session(&did) {
            Some(session) => {
                waiting.answer(&Ok(session));
                self.swarm.close_connection(connection);
            }
            None => self.open_session(peer, waiting),
        }
    }

    pub(super) fn fail_waiting(&mut self, connection: ConnectionId, error: &ConnectError) {
        while let Some(at) = self.waiting.iter().position(|w| w.connection == connection) {
            self.waiting.swap_remove(at).answer(&Err(error.clone()));
        }
    }

    pub(super) fn on_stream(&mut self, peer: PeerId, connection: ConnectionId, event: StreamEvent) {
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
        let traffic = Arc::clone(&self.registry.traffic);
        let budget = Arc::clone(&self.budget);
        let handle = SessionHandle::new(peer, stream, self.config.limits.clone(), budget, traffic);
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

    pub(super) fn on_ended(&mut self, ended: &Ended) {
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
