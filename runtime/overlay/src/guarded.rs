//! Holds a behaviour that acts on strangers' words to the rules of [`Vet`]: the addresses it dials, those it adds to
//! others' dials, and those it is told may be our own.

use crate::{
    Denial, Multiaddr, PeerId,
    access::Vet,
    defaults, did_of,
    prefix::{ip_of, is_relayed},
};
use libp2p::{
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm,
    },
};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

/// A behaviour on a leash.
pub(crate) struct Guarded<B> {
    pub(crate) inner: B,
    vet: Arc<Vet>,
    /// Dials the behaviour asked for that have not started.
    dials: HashSet<ConnectionId>,
    /// Peers that could not be dialled, and when.
    gone: HashMap<PeerId, Instant>,
    /// How many it may ask for in a minute, and what it has asked for in this one.
    rate: Option<(u32, Minute)>,
    /// Addresses of this machine as peers saw them; see [`crate::reach::Observed`].
    observed: BTreeSet<IpAddr>,
    /// Addresses it was told may be ours.
    candidates: BTreeSet<Multiaddr>,
}

#[derive(Default)]
struct Minute {
    since: Option<Instant>,
    count: u32,
}

impl<B> Guarded<B> {
    pub(crate) fn new(inner: B, vet: Arc<Vet>) -> Self {
        Self {
            inner,
            vet,
            dials: HashSet::new(),
            gone: HashMap::new(),
            rate: None,
            observed: BTreeSet::new(),
            candidates: BTreeSet::new(),
        }
    }

    /// A peer could not be dialled: for [`defaults::GONE`] it is not dialled again on what others say of it.
    pub(crate) fn gone(&mut self, peer: PeerId, now: Instant) {
        let fresh = |since: &Instant| now.saturating_duration_since(*since) < defaults::GONE;
        if self.gone.len() >= defaults::GONE_PEERS {
            self.gone.retain(|_, since| fresh(since));
        }
        if self.gone.len() < defaults::GONE_PEERS {
            self.gone.insert(peer, now);
        }
    }

    fn is_gone(&self, peer: PeerId, now: Instant) -> bool {
        self.gone.get(&peer).is_some_and(|since| now.saturating_duration_since(*since) < defaults::GONE)
    }

    /// Believes that this machine was seen at that address.
    pub(crate) fn believe(&mut self, observed: IpAddr) {
        self.observed.insert(observed);
    }

    /// Lets it dial no more than `limit` times a minute.
    pub(crate) fn with_rate(self, limit: u32) -> Self {
        Self { rate: Some((limit, Minute::default())), ..self }
    }

    fn may_dial(&mut self, addresses: &[Multiaddr], now: Instant) -> Result<(), Denial> {
        for address in addresses {
            self.vet.permits(address)?;
        }
        let Some((limit, minute)) = &mut self.rate else { return Ok(()) };
        if minute.since.is_none_or(|since| now.saturating_duration_since(since) >= defaults::MINUTE) {
            *minute = Minute { since: Some(now), count: 0 };
        }
        if minute.count >= *limit {
            return Err(Denial::DialsOnDemand { limit: *limit });
        }
        minute.count += 1;
        Ok(())
    }

    /// Whether it may be told that an address could be ours. Peers say anything, and what is told is kept for good: so
    /// only so many, at addresses believed, and none that the scope leaves out.
    fn may_be_ours(&mut self, address: &Multiaddr) -> bool {
        if self.candidates.contains(address) {
            return true;
        }
        // Through a relay, the address is the relay's.
        let believed = !is_relayed(address) && ip_of(address).is_some_and(|ip| self.observed.contains(&ip));
        let room = self.candidates.len() < defaults::CANDIDATES;
        believed && room && self.vet.permits(address).is_ok() && self.candidates.insert(address.clone())
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for Guarded<B> {
    type ConnectionHandler = B::ConnectionHandler;
    type ToSwarm = B::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(id, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if self.dials.remove(&id) {
            if let Some(peer) = peer.filter(|peer| self.is_gone(*peer, Instant::now()))
                && let Some(peer) = did_of(peer)
            {
                return Err(ConnectionDenied::new(Denial::Gone { peer }));
            }
            self.may_dial(addresses, Instant::now()).map_err(ConnectionDenied::new)?;
        }
        let mut more = self.inner.handle_pending_outbound_connection(id, peer, addresses, role)?;
        more.retain(|address| self.vet.permits(address).is_ok());
        more.truncate(defaults::ADDRESSES_PER_PEER);
        Ok(more)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(id, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match &event {
            FromSwarm::ConnectionEstablished(established) => {
                self.gone.remove(&established.peer_id);
            }
            FromSwarm::NewExternalAddrCandidate(candidate) if !self.may_be_ours(candidate.addr) => return,
            // A dial that never started, because there is a connection already.
            FromSwarm::DialFailure(failure) => {
                self.dials.remove(&failure.connection_id);
            }
            _ => {}
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        let event = self.inner.poll(cx);
        if let Poll::Ready(ToSwarm::Dial { opts }) = &event {
            self.dials.insert(opts.connection_id());
        }
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Access, NetworkScope};
    use libp2p::swarm::dummy;
    use std::time::Duration;

    fn guarded() -> Guarded<dummy::Behaviour> {
        let vet = Vet { access: Access::default(), scope: NetworkScope::Internet };
        Guarded::new(dummy::Behaviour, Arc::new(vet))
    }

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn dials_at_others_wish_are_few_a_minute_and_none_beyond_the_scope() {
        let mut guarded = guarded().with_rate(2);
        let (now, public) = (Instant::now(), [address("/ip4/8.8.8.8/tcp/1")]);
        let mut dial = |addresses: &[Multiaddr], at| guarded.may_dial(addresses, at).map_err(|d| d.code());
        let both = [public[0].clone(), address("/ip4/192.168.1.1/tcp/80")];
        assert_eq!(dial(&both, now), Err("out-of-scope"), "one bad address spoils the dial");
        assert_eq!(dial(&public, now), Ok(()));
        assert_eq!(dial(&public, now + Duration::from_secs(59)), Ok(()));
        assert_eq!(dial(&public, now + Duration::from_secs(59)), Err("dials-on-demand"));
        assert_eq!(dial(&public, now + defaults::MINUTE), Ok(()));
    }

    #[test]
    fn what_may_be_ours_lies_where_we_were_seen_and_is_bounded() {
        let mut guarded = guarded();
        assert!(!guarded.may_be_ours(&address("/ip4/8.8.8.8/tcp/1")), "nobody saw us there");
        for seen in ["8.8.8.8", "10.0.0.1"] {
            guarded.believe(seen.parse().unwrap());
        }
        assert!(!guarded.may_be_ours(&address("/ip4/10.0.0.1/tcp/1")), "beyond the scope");
        let relay = "/ip4/8.8.8.8/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN/p2p-circuit";
        assert!(!guarded.may_be_ours(&address(relay)), "the relay's");
        let taken =
            (1..1000).filter(|n| guarded.may_be_ours(&address(&format!("/ip4/8.8.8.8/tcp/{n}")))).count();
        assert_eq!(taken, defaults::CANDIDATES);
        assert!(guarded.may_be_ours(&address("/ip4/8.8.8.8/tcp/1")), "known already");
    }

    #[test]
    fn a_peer_that_is_gone_is_left_alone_for_a_while_and_memory_of_it_is_bounded() {
        let mut guarded = guarded();
        let (now, peer) = (Instant::now(), PeerId::random());
        guarded.gone(peer, now);
        assert!(guarded.is_gone(peer, now) && !guarded.is_gone(peer, now + defaults::GONE));
        for _ in 0..2 * defaults::GONE_PEERS {
            guarded.gone(PeerId::random(), now);
        }
        assert_eq!(guarded.gone.len(), defaults::GONE_PEERS);
        let later = PeerId::random();
        guarded.gone(later, now + defaults::GONE);
        assert_eq!(guarded.gone.len(), 1, "the old ones made room");
    }
}
