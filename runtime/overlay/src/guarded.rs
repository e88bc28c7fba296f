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
    /// Peers that could not be dialled: when, and at which addresses, each ending in `/p2p/…`.
    gone: HashMap<PeerId, (Instant, Vec<Multiaddr>)>,
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

    /// A peer could not be dialled at these addresses, each ending in `/p2p/…`: for [`defaults::GONE`] it is not dialled there
    /// again on what others say of it. At another address it may be: whoever names a false one must not hide it.
    pub(crate) fn gone(&mut self, peer: PeerId, mut failed: Vec<Multiaddr>, now: Instant) {
        failed.retain(|address| address.len() <= defaults::ADDRESS_BYTES);
        failed.truncate(defaults::ADDRESSES_PER_PEER);
        if self.gone.len() >= defaults::GONE_PEERS {
            self.gone.retain(|_, (since, _)| now.saturating_duration_since(*since) < defaults::GONE);
        }
        if self.gone.len() < defaults::GONE_PEERS {
            self.gone.insert(peer, (now, failed));
        }
    }

    /// Whether dials of the peer failed at every one of these addresses a moment ago.
    fn is_gone(&self, peer: PeerId, addresses: &[Multiaddr], now: Instant) -> bool {
        let Some((since, failed)) = self.gone.get(&peer) else { return false };
        let fresh = now.saturating_duration_since(*since) < defaults::GONE;
        fresh && !addresses.is_empty() && addresses.iter().all(|address| failed.contains(address))
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
        let now = Instant::now();
        let asked = self.dials.remove(&id);
        if asked {
            self.may_dial(addresses, now).map_err(ConnectionDenied::new)?;
        }
        let mut more = self.inner.handle_pending_outbound_connection(id, peer, addresses, role)?;
        more.retain(|a| a.len() <= defaults::ADDRESS_BYTES && self.vet.permits(a).is_ok());
        more.truncate(defaults::ADDRESSES_PER_PEER);
        if asked
            && addresses.is_empty()
            && let Some(peer) = peer.filter(|peer| self.is_gone(*peer, &more, now)).and_then(did_of)
        {
            return Err(ConnectionDenied::new(Denial::Gone { peer }));
        }
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
        loop {
            let event = self.inner.poll(cx);
            match &event {
                Poll::Ready(ToSwarm::Dial { opts }) => {
                    self.dials.insert(opts.connection_id());
                }
                // The other behaviours would dial there.
                Poll::Ready(ToSwarm::NewExternalAddrOfPeer { address, .. })
                    if self.vet.permits(address).is_err() =>
                {
                    continue;
                }
                _ => {}
            }
            return event;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Access, NetworkScope};
    use libp2p::swarm::dummy;
    use std::{convert::Infallible, task::Waker, time::Duration};

    fn guarded() -> Guarded<dummy::Behaviour> {
        let vet = Vet { access: Access::default(), scope: NetworkScope::Internet };
        Guarded::new(dummy::Behaviour, Arc::new(vet))
    }

    /// Names the same addresses of whoever is dialled, and tells them, the last first, as those of that one peer.
    struct Names(PeerId, Vec<Multiaddr>);

    impl NetworkBehaviour for Names {
        type ConnectionHandler = dummy::ConnectionHandler;
        type ToSwarm = Infallible;

        fn handle_established_inbound_connection(
            &mut self,
            _: ConnectionId,
            _: PeerId,
            _: &Multiaddr,
            _: &Multiaddr,
        ) -> Result<THandler<Self>, ConnectionDenied> {
            Ok(dummy::ConnectionHandler)
        }

        fn handle_pending_outbound_connection(
            &mut self,
            _: ConnectionId,
            _: Option<PeerId>,
            _: &[Multiaddr],
            _: Endpoint,
        ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
            Ok(self.1.clone())
        }

        fn handle_established_outbound_connection(
            &mut self,
            _: ConnectionId,
            _: PeerId,
            _: &Multiaddr,
            _: Endpoint,
            _: PortUse,
        ) -> Result<THandler<Self>, ConnectionDenied> {
            Ok(dummy::ConnectionHandler)
        }

        fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

        fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
            match event {}
        }

        fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
            self.1.pop().map_or(Poll::Pending, |address| {
                Poll::Ready(ToSwarm::NewExternalAddrOfPeer { peer_id: self.0, address })
            })
        }
    }

    fn naming(peer: PeerId, addresses: &[&str]) -> Guarded<Names> {
        let vet = Vet { access: Access::default(), scope: NetworkScope::Internet };
        Guarded::new(Names(peer, addresses.iter().map(|a| address(a)).collect()), Arc::new(vet))
    }

    /// The addresses added to a dial that the behaviour itself asked for.
    fn asked(guarded: &mut Guarded<Names>, peer: PeerId) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let id = ConnectionId::new_unchecked(1);
        guarded.dials.insert(id);
        guarded.handle_pending_outbound_connection(id, Some(peer), &[], Endpoint::Dialer)
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
    fn addresses_beyond_the_scope_are_neither_added_to_a_dial_nor_told() {
        let peer = PeerId::random();
        let (near, far) = ("/ip4/192.168.1.1/tcp/80", "/ip4/8.8.8.8/tcp/1");
        let hop = format!("/p2p/{peer}/p2p-circuit");
        let long = format!("{far}{}", hop.repeat(4));
        let mut guarded = naming(peer, &[near, far, &long]);
        let id = ConnectionId::new_unchecked(1);
        let more = guarded.handle_pending_outbound_connection(id, Some(peer), &[], Endpoint::Dialer);
        assert_eq!(more.unwrap(), [address(far)]);

        let mut guarded = naming(peer, &[near, far, near]);
        let mut context = Context::from_waker(Waker::noop());
        match guarded.poll(&mut context) {
            Poll::Ready(ToSwarm::NewExternalAddrOfPeer { address: told, .. }) => {
                assert_eq!(told, address(far))
            }
            other => panic!("{other:?}"),
        }
        assert!(guarded.poll(&mut context).is_pending());
    }

    #[test]
    fn a_peer_that_is_gone_is_left_alone_for_a_while_where_it_was_and_memory_of_it_is_bounded() {
        let peer = crate::peer_id_of(&actum_model::SecretKey::from_seed(&[1; 32]).did());
        let (old, new) = ("/ip4/8.8.8.8/tcp/1", "/ip4/9.9.9.9/tcp/1");
        let now = Instant::now();
        let mut guarded = naming(peer, &[old]);
        guarded.gone(peer, vec![address(old)], now);
        assert!(guarded.is_gone(peer, &[address(old)], now));
        assert!(!guarded.is_gone(peer, &[address(old)], now + defaults::GONE));
        let denied = asked(&mut guarded, peer).unwrap_err().downcast::<Denial>().unwrap();
        assert_eq!(denied.code(), "gone");
        let mut guarded = naming(peer, &[old, new]);
        guarded.gone(peer, vec![address(old)], now);
        assert_eq!(asked(&mut guarded, peer).unwrap().len(), 2, "there is an address nobody tried");

        for _ in 0..2 * defaults::GONE_PEERS {
            guarded.gone(PeerId::random(), vec![address(old); 99], now);
        }
        assert_eq!(guarded.gone.len(), defaults::GONE_PEERS);
        assert!(guarded.gone.values().all(|(_, failed)| failed.len() <= defaults::ADDRESSES_PER_PEER));
        guarded.gone(PeerId::random(), vec![address(old)], now + defaults::GONE);
        assert_eq!(guarded.gone.len(), 1, "the old ones made room");
    }
}
