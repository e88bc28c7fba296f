//! Opens and accepts streams of our own protocols, and nothing else: dialling and limits are others' work.
//!
//! Every inbound stream reaches the swarm's task as an event, so none is lost to a full queue, and libp2p stops
//! negotiating more while events wait.

use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol,
    core::{
        Endpoint,
        transport::PortUse,
        upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo},
    },
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
        NetworkBehaviour, NotifyHandler, StreamUpgradeError, SubstreamProtocol, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm,
        handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound},
    },
};
use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

/// Why a stream was not opened.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The peer does not speak the protocol.
    NotSupported,
    /// The connection broke, or negotiating took too long.
    Broken(String),
}

/// What became of a connection's streams.
#[derive(Debug)]
pub(crate) enum StreamEvent {
    /// The peer opened one.
    Inbound(StreamProtocol, Stream),
    /// One we asked for, by its token.
    Outbound(u64, Result<Stream, OpenError>),
}

/// Asks a connection for a stream.
#[derive(Debug)]
pub(crate) struct Open {
    protocol: StreamProtocol,
    token: u64,
}

/// Opens and accepts streams.
pub(crate) struct Behaviour {
    protocols: Arc<[StreamProtocol]>,
    events: VecDeque<ToSwarm<(PeerId, ConnectionId, StreamEvent), Open>>,
}

impl Behaviour {
    /// Accepts these protocols.
    pub(crate) fn new(protocols: Vec<StreamProtocol>) -> Self {
        Self { protocols: protocols.into(), events: VecDeque::new() }
    }

    /// Opens a stream on a connection; a [`StreamEvent::Outbound`] with the token follows, unless it closes before.
    pub(crate) fn open(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        protocol: StreamProtocol,
        token: u64,
    ) {
        self.events.push_back(ToSwarm::NotifyHandler {
            peer_id: peer,
            handler: NotifyHandler::One(connection),
            event: Open { protocol, token },
        });
    }

    fn handler(&self, peer: PeerId) -> Result<Handler, ConnectionDenied> {
        if crate::did_of(peer).is_none() {
            return Err(ConnectionDenied::new(crate::Denial::UnknownKey));
        }
        Ok(Handler {
            protocols: Arc::clone(&self.protocols),
            wanted: VecDeque::new(),
            events: VecDeque::new(),
        })
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = (PeerId, ConnectionId, StreamEvent);

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handler(peer)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handler(peer)
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.events.push_back(ToSwarm::GenerateEvent((peer, connection, event)));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.events.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

/// The part of [`Behaviour`] that lives on one connection.
pub(crate) struct Handler {
    protocols: Arc<[StreamProtocol]>,
    wanted: VecDeque<Open>,
    events: VecDeque<StreamEvent>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = StreamEvent;
    type InboundProtocol = Upgrade;
    type OutboundProtocol = Upgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = u64;

    fn listen_protocol(&self) -> SubstreamProtocol<Upgrade> {
        SubstreamProtocol::new(Upgrade(self.protocols.to_vec()), ())
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Upgrade, u64, StreamEvent>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event));
        }
        if let Some(Open { protocol, token }) = self.wanted.pop_front() {
            let protocol = SubstreamProtocol::new(Upgrade(vec![protocol]), token);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, open: Open) {
        self.wanted.push_back(open);
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Upgrade, Upgrade, (), u64>) {
        let event = match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (stream, protocol),
                ..
            }) => StreamEvent::Inbound(protocol, stream),
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (stream, _),
                info: token,
            }) => StreamEvent::Outbound(token, Ok(stream)),
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: token, error }) => {
                let error = match error {
                    StreamUpgradeError::NegotiationFailed => OpenError::NotSupported,
                    StreamUpgradeError::Timeout => OpenError::Broken("negotiating took too long".to_owned()),
                    StreamUpgradeError::Io(e) => OpenError::Broken(e.to_string()),
                    StreamUpgradeError::Apply(never) => match never {},
                };
                StreamEvent::Outbound(token, Err(error))
            }
            _ => return,
        };
        self.events.push_back(event);
    }
}

/// Agrees on a protocol and leaves the stream as it is.
pub(crate) struct Upgrade(Vec<StreamProtocol>);

impl UpgradeInfo for Upgrade {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl InboundUpgrade<Stream> for Upgrade {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}

impl OutboundUpgrade<Stream> for Upgrade {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}
