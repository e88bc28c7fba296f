//! What the swarm is made of, and its errors in our words.

use crate::{ConnectError, Multiaddr, OverlayConfig, PeerId, behaviour::Behaviour, defaults, swarm::SESSION};
use libp2p::{
    Swarm, SwarmBuilder, connection_limits, identify, identity, noise, ping,
    swarm::{ConnectionDenied, DialError, NetworkBehaviour},
    tcp, yamux,
};

/// What identify calls the protocols of this overlay as a whole.
const PROTOCOL_FAMILY: &str = "/actum/1";
const AGENT: &str = concat!("actum/", env!("CARGO_PKG_VERSION"));

#[derive(NetworkBehaviour)]
pub(crate) struct Network {
    limits: connection_limits::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(crate) streams: Behaviour,
}

/// Transports, limits and protocols, as configured.
pub(crate) fn build(
    config: &OverlayConfig,
    keypair: identity::Keypair,
) -> Result<Swarm<Network>, Box<dyn std::error::Error + Send + Sync>> {
    let mut yamux = yamux::Config::default();
    yamux.set_max_num_streams(defaults::STREAMS_PER_CONNECTION);
    let limits = &config.limits;
    let limits = connection_limits::ConnectionLimits::default()
        .with_max_established(Some(limits.connections))
        .with_max_established_incoming(Some(limits.connections_in))
        .with_max_established_outgoing(Some(limits.connections_out))
        .with_max_established_per_peer(Some(limits.connections_per_peer))
        .with_max_pending_incoming(Some(defaults::PENDING_IN))
        .with_max_pending_outgoing(Some(defaults::PENDING_OUT));
    let protocols = std::iter::once(SESSION).chain(config.raw_protocols.iter().map(|r| r.name.clone()));
    let network = Network {
        limits: connection_limits::Behaviour::new(limits),
        identify: identify::Behaviour::new(
            identify::Config::new(PROTOCOL_FAMILY.to_owned(), keypair.public())
                .with_agent_version(AGENT.to_owned())
                .with_cache_size(0),
        ),
        ping: ping::Behaviour::new(
            ping::Config::new().with_interval(defaults::PING_INTERVAL).with_timeout(defaults::PING),
        ),
        streams: Behaviour::new(protocols.collect()),
    };
    let builder = SwarmBuilder::with_existing_identity(keypair).with_tokio().with_tcp(
        tcp::Config::default(),
        noise::Config::new,
        move || yamux.clone(),
    )?;
    #[cfg(feature = "quic")]
    let builder = builder.with_quic_config(|mut quic| {
        quic.max_concurrent_stream_limit = defaults::STREAMS_PER_CONNECTION as u32;
        quic
    });
    let swarm = builder
        .with_behaviour(|_| network)?
        .with_swarm_config(|swarm| {
            swarm
                .with_idle_connection_timeout(defaults::IDLE_CONNECTION)
                .with_max_negotiating_inbound_streams(defaults::NEGOTIATING_STREAMS)
        })
        .build();
    Ok(swarm)
}

/// Says in our words why a dial failed.
pub(crate) fn dial_error(error: &DialError, expected: Option<PeerId>) -> ConnectError {
    let wrong = |address: &Multiaddr, obtained: &PeerId| ConnectError::WrongPeer {
        address: address.to_string(),
        expected: expected.map_or(String::new(), |p| p.to_string()),
        found: obtained.to_string(),
    };
    match error {
        DialError::LocalPeerId { address } => ConnectError::Ourselves { address: address.to_string() },
        DialError::WrongPeerId { obtained, address } => wrong(address, obtained),
        DialError::Transport(tried) => {
            let tried = tried.iter().map(|(a, e)| (a.to_string(), chain(e))).collect();
            ConnectError::Dial { tried }
        }
        DialError::Denied { cause } => ConnectError::Refused { reason: denial(cause) },
        DialError::Aborted | DialError::NoAddresses | DialError::DialPeerConditionFalse(_) => {
            ConnectError::Lost { reason: error.to_string() }
        }
    }
}

fn denial(cause: &ConnectionDenied) -> String {
    match cause.downcast_ref::<connection_limits::Exceeded>() {
        Some(exceeded) => format!("our own limit: {exceeded}"),
        None => chain(cause),
    }
}

/// An error with its causes: libp2p's outermost ones say little.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    text
}
