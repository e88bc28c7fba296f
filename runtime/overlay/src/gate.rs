//! Lets connections in and out by the lists, by how many one party has already, and by the memory that is left.
//!
//! What is known before the handshake decides before it: an inbound connection's address costs one socket to refuse.
//! Counts include handshakes under way, so that a flood of unfinished ones meets the same bound; and those have a bound of
//! their own, lower, so that a few floods do not use up every place for them.

use crate::{
    Access, Denial, IpPrefix, Limits, Multiaddr, PeerId, defaults, did_of,
    prefix::{Reach, ip_of, is_relayed, reach_of},
};
use actum_model::Did;
use libp2p::{
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm, dummy,
    },
};
use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    task::{Context, Poll},
    time::Instant,
};

/// Who shares a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Party {
    /// A /24 or a /48.
    Prefix(IpPrefix),
    /// This machine, where it is exempt from the bound of a prefix.
    Loopback,
    /// Whoever comes through a relay, and so hides behind its address.
    Relayed,
}

impl Party {
    /// Of the limits on ranges, loopback and relays the one for this party, and the refusal of what exceeds it.
    fn limit(self, prefixes: u32, loopback: u32, relayed: u32) -> (u32, Denial) {
        match self {
            Self::Prefix(prefix) => (prefixes, Denial::PrefixFull { prefix, limit: prefixes }),
            Self::Loopback => (loopback, Denial::LoopbackFull { limit: loopback }),
            Self::Relayed => (relayed, Denial::RelayedFull { limit: relayed }),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Direction {
    In,
    Out,
}

/// The gate itself. It opens no streams and has no events.
pub(crate) struct Gate {
    access: Access,
    /// Peers denied while running, oldest first.
    denied: VecDeque<Did>,
    limits: Limits,
    exempt_loopback: bool,
    connections: HashMap<ConnectionId, (Direction, Party)>,
    counts: HashMap<(Direction, Party), u32>,
    /// Handshakes under way that others began.
    handshakes: HashMap<ConnectionId, Party>,
    memory: Memory,
}

impl Gate {
    pub(crate) fn new(access: Access, limits: Limits, exempt_loopback: bool) -> Self {
        Self {
            access,
            denied: VecDeque::new(),
            limits,
            exempt_loopback,
            connections: HashMap::new(),
            counts: HashMap::new(),
            handshakes: HashMap::new(),
            memory: Memory::default(),
        }
    }

    /// Refuses that peer from now on. Past [`defaults::DENIED_PEERS`] the oldest such refusal is forgotten.
    pub(crate) fn deny(&mut self, peer: Did) {
        if !self.denied.contains(&peer) {
            if self.denied.len() >= defaults::DENIED_PEERS {
                self.denied.pop_front();
            }
            self.denied.push_back(peer);
        }
    }

    fn peer(&self, peer: PeerId) -> Result<(), Denial> {
        let peer = did_of(peer).ok_or(Denial::UnknownKey)?;
        if self.denied.contains(&peer) {
            return Err(Denial::PeerDenied { peer });
        }
        self.access.peer(peer)
    }

    fn address(&self, address: &Multiaddr) -> Result<(), Denial> {
        let ip = if is_relayed(address) { None } else { ip_of(address) };
        self.access.address(address, ip)
    }

    fn party(&self, address: &Multiaddr, relayed: bool) -> Party {
        match ip_of(address) {
            Some(ip) if !relayed => match reach_of(ip) {
                Reach::Loopback if self.exempt_loopback => Party::Loopback,
                _ => Party::Prefix(IpPrefix::party_of(ip)),
            },
            _ => Party::Relayed,
        }
    }

    /// Counts a connection, unless its party has as many as it may in that direction. The directions are counted apart:
    /// a stranger next door must not keep us from dialling a friend in the same range.
    fn enter(&mut self, id: ConnectionId, direction: Direction, party: Party) -> Result<(), Denial> {
        if self.connections.contains_key(&id) {
            return Ok(());
        }
        let limits = &self.limits;
        let (limit, denial) = party.limit(
            limits.connections_per_prefix,
            limits.connections_loopback,
            limits.connections_relayed,
        );
        let count = self.counts.entry((direction, party)).or_default();
        if *count >= limit {
            return Err(denial);
        }
        *count += 1;
        self.connections.insert(id, (direction, party));
        Ok(())
    }

    /// Whether a party may begin one more handshake. How many are under way in all is bounded by [`Limits::pending`].
    fn may_begin(&self, party: Party) -> Result<(), Denial> {
        let limits = &self.limits;
        let (limit, denial) =
            party.limit(limits.pending_per_prefix, limits.pending_loopback, limits.pending_relayed);
        let under_way = self.handshakes.values().filter(|other| **other == party).count();
        if under_way < limit as usize { Ok(()) } else { Err(denial) }
    }

    fn leave(&mut self, id: ConnectionId) {
        self.handshakes.remove(&id);
        if let Some(key) = self.connections.remove(&id)
            && let Some(count) = self.counts.get_mut(&key)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(&key);
            }
        }
    }

    fn pending_in(&mut self, id: ConnectionId, local: &Multiaddr, remote: &Multiaddr) -> Result<(), Denial> {
        self.address(remote)?;
        self.memory.allow(self.limits.process_memory_bytes.map(Into::into), Instant::now())?;
        let party = self.party(remote, is_relayed(local));
        self.may_begin(party)?;
        self.enter(id, Direction::In, party)?;
        self.handshakes.insert(id, party);
        Ok(())
    }

    fn established_in(&mut self, id: ConnectionId, peer: PeerId) -> Result<(), Denial> {
        self.handshakes.remove(&id);
        self.peer(peer)
    }

    /// A dial may name several addresses; it is refused here where none of them may be dialled, and the one that answers
    /// is looked at again.
    fn pending_out(&self, peer: Option<PeerId>, addresses: &[Multiaddr]) -> Result<(), Denial> {
        if let Some(peer) = peer {
            self.peer(peer)?;
        }
        let mut refusal = None;
        for address in addresses {
            match self.address(address) {
                Ok(()) => return Ok(()),
                Err(denial) => refusal = Some(denial),
            }
        }
        refusal.map_or(Ok(()), Err)
    }

    fn established_out(&mut self, id: ConnectionId, peer: PeerId, address: &Multiaddr) -> Result<(), Denial> {
        self.peer(peer)?;
        self.address(address)?;
        self.enter(id, Direction::Out, self.party(address, is_relayed(address)))
    }
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.pending_in(id, local, remote).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.established_in(id, peer).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.pending_out(peer, addresses).map_err(ConnectionDenied::new)?;
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.established_out(id, peer, address).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(closed) => self.leave(closed.connection_id),
            // Also what a later behaviour refused, in either direction.
            FromSwarm::ListenFailure(failure) => self.leave(failure.connection_id),
            FromSwarm::DialFailure(failure) => self.leave(failure.connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

/// What the process holds, looked up no more often than [`defaults::MEMORY_READ`].
#[derive(Default)]
struct Memory {
    read: Option<(Instant, usize)>,
}

impl Memory {
    fn allow(&mut self, limit: Option<usize>, now: Instant) -> Result<(), Denial> {
        let Some(limit) = limit else { return Ok(()) };
        let fresh = |(at, _): &(Instant, usize)| now.saturating_duration_since(*at) < defaults::MEMORY_READ;
        let (at, used) = self.read.filter(fresh).unwrap_or_else(|| {
            // Where the platform does not tell, the other limits have to do.
            (now, memory_stats::memory_stats().map_or(0, |stats| stats.physical_mem))
        });
        self.read = Some((at, used));
        if used > limit { Err(Denial::Memory { used, limit }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroUsize;

    fn gate(exempt_loopback: bool) -> Gate {
        let limits = Limits {
            connections_per_prefix: 2,
            connections_loopback: 3,
            connections_relayed: 1,
            ..Limits::default()
        };
        Gate::new(Access::default(), limits, exempt_loopback)
    }

    fn connects(gate: &mut Gate, n: usize, from: &str) -> Result<(), &'static str> {
        let local = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        gate.pending_in(ConnectionId::new_unchecked(n), &local, &from.parse().unwrap()).map_err(|d| d.code())
    }

    #[test]
    fn one_party_gets_its_share_and_others_theirs() {
        let mut gate = gate(false);
        assert_eq!(connects(&mut gate, 1, "/ip4/203.0.113.1/tcp/1"), Ok(()));
        assert_eq!(connects(&mut gate, 2, "/ip4/203.0.113.2/tcp/1"), Ok(()));
        assert_eq!(connects(&mut gate, 3, "/ip4/203.0.113.3/tcp/1"), Err("prefix-full"));
        assert_eq!(connects(&mut gate, 4, "/ip4/198.51.100.1/tcp/1"), Ok(()));
        for n in 5..7 {
            assert_eq!(connects(&mut gate, n, &format!("/ip6/2001:db8:1:{n}::1/tcp/1")), Ok(()));
        }
        assert_eq!(connects(&mut gate, 7, "/ip6/2001:db8:1:ffff::1/tcp/1"), Err("prefix-full"));
        assert_eq!(connects(&mut gate, 8, "/ip6/::ffff:203.0.113.9/tcp/1"), Err("prefix-full"));
        gate.leave(ConnectionId::new_unchecked(1));
        assert_eq!(connects(&mut gate, 9, "/ip4/203.0.113.3/tcp/1"), Ok(()), "room once one has left");
        assert_eq!(gate.counts.len(), 3);
    }

    #[test]
    fn loopback_and_relays_have_bounds_of_their_own() {
        let mut gate = gate(true);
        for n in 0..3 {
            assert_eq!(connects(&mut gate, n, "/ip4/127.0.0.1/tcp/1"), Ok(()));
        }
        assert_eq!(connects(&mut gate, 3, "/ip4/127.9.9.9/tcp/1"), Err("loopback-full"));
        let relayed = "/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
        assert_eq!(connects(&mut gate, 4, relayed), Ok(()));
        assert_eq!(connects(&mut gate, 5, relayed), Err("relayed-full"));
    }

    #[test]
    fn one_party_has_few_handshakes_under_way_whatever_it_has_finished() {
        let mut gate = gate(true);
        gate.limits =
            Limits { pending_per_prefix: 2, pending_loopback: 3, pending_relayed: 1, ..Limits::default() };
        let peer = crate::peer_id_of(&actum_model::SecretKey::from_seed(&[1; 32]).did());
        for n in 0..10 {
            assert_eq!(connects(&mut gate, n, "/ip4/203.0.113.1/tcp/1"), Ok(()), "number {n}");
            assert_eq!(gate.established_in(ConnectionId::new_unchecked(n), peer), Ok(()));
        }
        assert_eq!(connects(&mut gate, 10, "/ip4/203.0.113.1/tcp/1"), Ok(()));
        assert_eq!(connects(&mut gate, 11, "/ip4/203.0.113.2/udp/1/quic-v1"), Ok(()));
        assert_eq!(connects(&mut gate, 12, "/ip4/203.0.113.3/tcp/1"), Err("prefix-full"));
        assert_eq!(connects(&mut gate, 13, "/ip4/198.51.100.1/tcp/1"), Ok(()), "another range");
        gate.leave(ConnectionId::new_unchecked(11));
        assert_eq!(connects(&mut gate, 14, "/ip4/203.0.113.3/tcp/1"), Ok(()), "one has failed");
        for n in 20..23 {
            assert_eq!(connects(&mut gate, n, "/ip4/127.0.0.1/tcp/1"), Ok(()));
        }
        assert_eq!(connects(&mut gate, 23, "/ip4/127.0.0.1/tcp/1"), Err("loopback-full"));
        let relayed = "/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
        assert_eq!(connects(&mut gate, 24, relayed), Ok(()));
        assert_eq!(connects(&mut gate, 25, relayed), Err("relayed-full"));
    }

    #[test]
    fn directions_are_counted_apart() {
        let mut gate = gate(false);
        let key = actum_model::SecretKey::from_seed(&[1; 32]).did();
        let (peer, address) = (crate::peer_id_of(&key), "/ip4/203.0.113.1/tcp/1".parse().unwrap());
        assert_eq!(connects(&mut gate, 1, "/ip4/203.0.113.1/tcp/1"), Ok(()));
        assert_eq!(connects(&mut gate, 2, "/ip4/203.0.113.2/tcp/1"), Ok(()));
        assert_eq!(gate.established_out(ConnectionId::new_unchecked(3), peer, &address), Ok(()));
        gate.deny(key);
        let denied = gate.established_out(ConnectionId::new_unchecked(4), peer, &address).unwrap_err();
        assert_eq!(denied, Denial::PeerDenied { peer: key });
    }

    #[test]
    fn a_process_that_holds_too_much_takes_nobody_in() {
        let mut gate = gate(false);
        gate.limits.process_memory_bytes = NonZeroUsize::new(1);
        assert_eq!(connects(&mut gate, 1, "/ip4/203.0.113.1/tcp/1"), Err("memory"));
        gate.limits.process_memory_bytes = None;
        assert_eq!(connects(&mut gate, 1, "/ip4/203.0.113.1/tcp/1"), Ok(()));
    }
}
