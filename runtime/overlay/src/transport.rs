//! What the swarm is made of, and its errors in our words.

use crate::{
    ConnectError, Denial, Multiaddr, OverlayConfig, OverlayError, PeerId,
    access::Vet,
    behaviour::Behaviour,
    defaults,
    gate::Gate,
    guarded::Guarded,
    routing::{NoRecords, kademlia},
    swarm::SESSION,
};
use libp2p::{
    Swarm, SwarmBuilder, autonat, connection_limits, dcutr, identify, identity, kad, noise, ping, relay,
    swarm::{ConnectionDenied, DialError, NetworkBehaviour, behaviour::toggle::Toggle},
    tcp, yamux,
};
use std::sync::Arc;

/// What identify calls the protocols of this overlay as a whole.
const PROTOCOL_FAMILY: &str = "/actum/1";
const AGENT: &str = concat!("actum/", env!("CARGO_PKG_VERSION"));
/// Whoever speaks this dials back on demand (AutoNAT v2).
pub(crate) const PROBER: libp2p::StreamProtocol =
    libp2p::StreamProtocol::new("/libp2p/autonat/2/dial-request");

#[cfg(feature = "mdns")]
type Mdns = libp2p::mdns::tokio::Behaviour;
#[cfg(not(feature = "mdns"))]
type Mdns = libp2p::swarm::dummy::Behaviour;

/// Everything a connection serves. Those that refuse come first: nothing is computed for a connection they turn away.
#[derive(NetworkBehaviour)]
pub(crate) struct Network {
    pub(crate) gate: Gate,
    limits: connection_limits::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(crate) streams: Behaviour,
    pub(crate) kad: Guarded<kad::Behaviour<NoRecords>>,
    pub(crate) prober: Toggle<Guarded<autonat::v2::client::Behaviour>>,
    dials_back: Toggle<Guarded<autonat::v2::server::Behaviour>>,
    relayed: relay::client::Behaviour,
    relay: Toggle<relay::Behaviour>,
    pub(crate) punching: Toggle<Guarded<dcutr::Behaviour>>,
    mdns: Toggle<Guarded<Mdns>>,
}

impl Network {
    fn new(
        config: &OverlayConfig,
        vet: &Arc<Vet>,
        key: &identity::Keypair,
        relayed: relay::client::Behaviour,
        mdns: Option<Mdns>,
    ) -> Self {
        let local = key.public().to_peer_id();
        let (limits, reach) = (&config.limits, &config.reach);
        let counts = connection_limits::ConnectionLimits::default()
            .with_max_established(Some(limits.connections))
            .with_max_established_incoming(Some(limits.connections_in))
            .with_max_established_outgoing(Some(limits.connections_out))
            .with_max_established_per_peer(Some(limits.connections_per_peer))
            .with_max_pending_incoming(Some(limits.pending))
            .with_max_pending_outgoing(Some(limits.pending));
        let protocols = std::iter::once(SESSION).chain(config.raw_protocols.iter().map(|r| r.name.clone()));
        // Both with libp2p's own randomness and pace: at most 10 addresses every 5 s.
        let prober =
            reach.probe.then(|| Guarded::new(autonat::v2::client::Behaviour::default(), Arc::clone(vet)));
        let dials_back = reach.serve_probes.then(|| {
            Guarded::new(autonat::v2::server::Behaviour::default(), Arc::clone(vet))
                .with_rate(defaults::DIALS_ON_DEMAND_PER_MINUTE)
        });
        let punching = reach.hole_punching.then(|| {
            Guarded::new(dcutr::Behaviour::new(local), Arc::clone(vet))
                .with_rate(defaults::DIALS_ON_DEMAND_PER_MINUTE)
        });
        Self {
            gate: Gate::new(config.access.clone(), limits.clone(), config.exempts_loopback()),
            limits: connection_limits::Behaviour::new(counts),
            identify: identify::Behaviour::new(
                identify::Config::new(PROTOCOL_FAMILY.to_owned(), key.public())
                    .with_agent_version(AGENT.to_owned())
                    .with_push_listen_addr_updates(true)
                    .with_cache_size(0),
            ),
            ping: ping::Behaviour::new(
                ping::Config::new().with_interval(defaults::PING_INTERVAL).with_timeout(defaults::PING),
            ),
            streams: Behaviour::new(protocols.collect()),
            kad: Guarded::new(kademlia(config, local), Arc::clone(vet)),
            prober: prober.into(),
            dials_back: dials_back.into(),
            relayed,
            relay: reach.relay.then(|| relay::Behaviour::new(local, relay_limits())).into(),
            punching: punching.into(),
            mdns: mdns.map(|mdns| Guarded::new(mdns, Arc::clone(vet))).into(),
        }
    }
}

/// Relaying for signalling: small, short, and rated as libp2p does by itself, 30 an hour for a peer and 60 for an address.
fn relay_limits() -> relay::Config {
    relay::Config {
        max_reservations: defaults::RELAY_RESERVATIONS,
        max_reservations_per_peer: defaults::RELAY_PER_PEER,
        reservation_duration: defaults::RELAY_RESERVATION,
        max_circuits: defaults::RELAY_CIRCUITS,
        max_circuits_per_peer: defaults::RELAY_PER_PEER,
        max_circuit_duration: defaults::RELAY_DURATION,
        max_circuit_bytes: defaults::RELAY_BYTES,
        ..relay::Config::default()
    }
}

#[cfg(feature = "mdns")]
fn multicast(wanted: bool, local: PeerId) -> Result<Option<Mdns>, OverlayError> {
    let new = || Mdns::new(libp2p::mdns::Config::default(), local);
    wanted.then(new).transpose().map_err(|e| OverlayError::Transport(format!("multicast: {e}")))
}

#[cfg(not(feature = "mdns"))]
fn multicast(wanted: bool, _: PeerId) -> Result<Option<Mdns>, OverlayError> {
    if wanted {
        return Err(OverlayError::NotBuilt { setting: "mdns", feature: "mdns" });
    }
    Ok(None)
}

/// Transports, limits and protocols, as configured.
pub(crate) fn build(
    config: &OverlayConfig,
    vet: &Arc<Vet>,
    keypair: identity::Keypair,
) -> Result<Swarm<Network>, OverlayError> {
    let fail = |e: &dyn std::error::Error| OverlayError::Transport(chain(e));
    let mdns = multicast(config.reach.mdns, keypair.public().to_peer_id())?;
    let streams = config.limits.streams.get();
    let mut yamux = yamux::Config::default();
    yamux.set_max_num_streams(streams as usize);
    let relayed_yamux = yamux.clone();
    let builder = SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, move || yamux.clone())
        .map_err(|e| fail(&e))?;
    #[cfg(feature = "quic")]
    let builder = builder.with_quic_config(|mut quic| {
        quic.max_concurrent_stream_limit = streams;
        quic.max_stream_data = defaults::QUIC_STREAM_BYTES;
        quic.max_connection_data = defaults::QUIC_CONNECTION_BYTES;
        quic
    });
    let swarm = builder
        .with_relay_client(noise::Config::new, move || relayed_yamux.clone())
        .map_err(|e| fail(&e))?
        .with_behaviour(|key, relayed| Network::new(config, vet, key, relayed, mdns))
        .map_err(|e| fail(&e))?;
    Ok(swarm
        .with_swarm_config(|swarm| {
            // Not `V1Lazy`, which would halve a query's round trips: multistream-select 0.14 panics in whatever writes,
            // flushes or closes a stream after its lazy negotiation failed, and any peer can have one fail.
            swarm
                .with_idle_connection_timeout(defaults::IDLE_CONNECTION)
                .with_max_negotiating_inbound_streams(defaults::NEGOTIATING_STREAMS)
        })
        .build())
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
        DialError::Denied { cause } => match denial(cause) {
            Some(denial) => ConnectError::Denied(denial),
            None => ConnectError::Refused { reason: chain(cause) },
        },
        DialError::Aborted | DialError::NoAddresses | DialError::DialPeerConditionFalse(_) => {
            ConnectError::Lost { reason: error.to_string() }
        }
    }
}

/// Our own reason for refusing a connection, if it was one.
pub(crate) fn denial(cause: &ConnectionDenied) -> Option<Denial> {
    let counted = |e: &connection_limits::Exceeded| Denial::Connections { reason: e.to_string() };
    cause.downcast_ref::<Denial>().cloned().or_else(|| cause.downcast_ref().map(counted))
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
