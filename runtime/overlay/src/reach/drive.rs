//! What the swarm's task does to be reached: who sees us where, what dials back found, and places at relays.

use crate::{
    Multiaddr, OverlayError, PeerId, defaults,
    prefix::{ip_of, is_relayed, relay_of},
    registry::Told,
    swarm::SwarmTask,
    transport::PROBER,
};
use libp2p::{autonat, core::transport::ListenerId, multiaddr::Protocol, swarm::ConnectionId};
use std::time::Instant;

/// Places at relays.
#[derive(Default)]
pub(crate) struct Relays(Vec<Place>);

struct Place {
    /// The address listened on: the relay's, and the circuit.
    address: Multiaddr,
    relay: PeerId,
    /// While the place is held or asked for.
    listener: Option<ListenerId>,
    /// When to ask again.
    retry_at: Instant,
}

impl Relays {
    /// The relays of the configuration; each must name its peer.
    pub(crate) fn new(addresses: &[Multiaddr], now: Instant) -> Result<Self, OverlayError> {
        let place = |address: &Multiaddr| {
            let circuit = address.clone().with(Protocol::P2pCircuit);
            let Some(relay) = relay_of(&circuit).filter(|_| !is_relayed(address)) else {
                let reason = "a relay's address ends in /p2p/ and its peer id".to_owned();
                return Err(OverlayError::Listen { address: address.to_string(), reason });
            };
            Ok(Place { address: circuit, relay, listener: None, retry_at: now })
        };
        addresses.iter().map(place).collect::<Result<_, _>>().map(Self)
    }
}

impl SwarmTask {
    /// Asks for the places at relays that are not held. What goes wrong shows as a listener that closes.
    pub(crate) fn ask_relays(&mut self, now: Instant) {
        for place in self.relays.0.iter_mut().filter(|p| p.listener.is_none() && p.retry_at <= now) {
            place.retry_at = now + defaults::RELAY_RETRY;
            match self.swarm.listen_on(place.address.clone()) {
                Ok(listener) => place.listener = Some(listener),
                Err(e) => tracing::debug!(relay = %place.address, "no place at the relay: {e}"),
            }
        }
    }

    /// When [`ask_relays`](Self::ask_relays) has something to do next.
    pub(crate) fn relays_at(&self) -> Option<Instant> {
        self.relays.0.iter().filter(|p| p.listener.is_none()).map(|p| p.retry_at).min()
    }

    /// A listener is gone, and its addresses with it.
    pub(crate) fn on_listener_closed(&mut self, listener: ListenerId, addresses: &[Multiaddr], now: Instant) {
        self.registry.lock().facts.listening.retain(|a| !addresses.contains(a));
        for place in self.relays.0.iter_mut().filter(|p| p.listener == Some(listener)) {
            tracing::debug!(relay = %place.address, "the place at the relay is lost");
            place.listener = None;
            place.retry_at = now + defaults::RELAY_RETRY;
        }
    }

    /// Whether an address that a listener reports is one to hand on. A relay says itself what its addresses are: few, and
    /// through itself, are believed.
    pub(crate) fn believes_listener(&self, listener: ListenerId, address: &Multiaddr) -> bool {
        let Some(place) = self.relays.0.iter().find(|p| p.listener == Some(listener)) else { return true };
        let state = self.registry.lock();
        let through = state.facts.listening.iter().filter(|a| relay_of(a) == Some(place.relay)).count();
        relay_of(address) == Some(place.relay)
            && through < defaults::RELAY_ADDRESSES
            && address.len() <= defaults::ADDRESS_BYTES
            && self.vet.permits(address).is_ok()
    }

    /// A peer said what it speaks, and where it sees us: only the first time on a connection counts for the latter.
    pub(crate) fn on_seen(&mut self, connection: ConnectionId, told: &Told) {
        let witness = {
            let mut state = self.registry.lock();
            let Some(open) = state.connections.get_mut(&connection) else { return };
            let first = open.dials_back.replace(told.protocols.contains(&PROBER)).is_none();
            let witness = if first && !open.info.inbound && !open.relayed { open.observed } else { None };
            state.facts.probers = state.probers();
            witness
        };
        let (Some(witness), Some(seen)) = (witness, ip_of(&told.observed)) else { return };
        if self.vet.permits(&told.observed).is_err() {
            return;
        }
        self.registry.lock().facts.seen = true;
        if self.observed.hear(seen, witness) {
            let network = self.swarm.behaviour_mut();
            if let Some(prober) = network.prober.as_mut() {
                prober.believe(seen);
            }
            if let Some(punching) = network.punching.as_mut() {
                punching.believe(seen);
            }
        }
    }

    /// A peer was asked to dial back, and said whether it got through.
    pub(crate) fn on_probe(&mut self, event: &autonat::v2::client::Event) {
        let facts = &mut self.registry.lock().facts;
        match &event.result {
            Ok(()) => {
                facts.blocked.remove(&event.tested_addr);
            }
            Err(e) => {
                tracing::debug!(address = %event.tested_addr, server = %event.server, "no dial back: {e}");
                if facts.blocked.len() < defaults::CANDIDATES && !facts.confirmed.contains(&event.tested_addr)
                {
                    facts.blocked.insert(event.tested_addr.clone());
                }
            }
        }
    }

    /// An address was confirmed, or is ours no longer. Those through a relay are confirmed by nobody but the relay, and are
    /// among those listened on.
    pub(crate) fn on_external(&mut self, address: Multiaddr, ours: bool) {
        if is_relayed(&address) {
            return;
        }
        let facts = &mut self.registry.lock().facts;
        facts.blocked.remove(&address);
        facts.confirmed.retain(|a| *a != address);
        if ours && facts.confirmed.len() < defaults::CANDIDATES && !facts.announced.contains(&address) {
            facts.confirmed.push(address);
        }
    }
}
