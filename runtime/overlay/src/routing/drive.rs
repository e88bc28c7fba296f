//! What the swarm's task does for routing: queries, dials to join the network, and upkeep of the table.

use super::{Inserted, PeerAddrs, ROUTING, RoutingError, jitter, peer_addrs, table::addresses_of};
use crate::{
    AddPeerError, Multiaddr, PeerId, defaults, did_of, peer_id_of, prefix::without_peer, registry::Told,
    swarm::SwarmTask,
};
use actum_model::Did;
use libp2p::{
    kad,
    swarm::{
        ConnectionId, DialError,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    num::NonZeroUsize,
    time::Instant,
};
use tokio::sync::oneshot;

/// Where the answer of a query goes.
pub(crate) type Found = oneshot::Sender<Result<Vec<PeerAddrs>, RoutingError>>;

/// Queries under way.
#[derive(Default)]
pub(crate) struct Queries(HashMap<kad::QueryId, Running>);

struct Running {
    /// The one peer looked for, where it is one.
    wanted: Option<Did>,
    since: Instant,
    /// When it was last looked at.
    looked: Instant,
    /// The answers it has had, and since when there are no more.
    answers: (u32, Instant),
    /// Told to make do with what it has.
    finished: bool,
    reply: Found,
}

impl Running {
    /// Whether it has had answers, and then none for long enough.
    fn is_enough(&mut self, answers: u32, now: Instant) -> bool {
        self.looked = now;
        if answers != self.answers.0 {
            self.answers = (answers, now);
        }
        answers > 0 && now.saturating_duration_since(self.answers.1) >= defaults::QUERY_QUIET
    }
}

/// Peers to be dialled, so that they say who they are.
#[derive(Default)]
pub(crate) struct Joins {
    queue: VecDeque<(Option<PeerId>, Vec<Multiaddr>)>,
    dialling: HashSet<ConnectionId>,
}

/// When the table is looked after next.
pub(crate) struct Upkeep {
    at: Instant,
    refresh_at: Instant,
    refreshes: u64,
}

impl Upkeep {
    /// Starts with a round at once.
    pub(crate) fn new(now: Instant) -> Self {
        Self { at: now, refresh_at: now, refreshes: 0 }
    }
}

impl SwarmTask {
    /// Looks for the `n` peers closest to a key; with `wanted`, for that one peer.
    pub(crate) fn query(&mut self, key: Vec<u8>, n: NonZeroUsize, wanted: Option<Did>, reply: Found) {
        if let Some(known) = wanted.and_then(|did| self.known(peer_id_of(&did), Vec::new())) {
            let _ = reply.send(Ok(vec![known]));
            return;
        }
        let kad = &mut self.swarm.behaviour_mut().kad.inner;
        let refusal = if kad.kbuckets().next().is_none() {
            Some(RoutingError::NoPeers)
        } else if self.queries.0.len() >= defaults::QUERIES {
            Some(RoutingError::Busy { limit: defaults::QUERIES })
        } else {
            None
        };
        if let Some(refusal) = refusal {
            let _ = reply.send(Err(refusal));
            return;
        }
        let id = kad.get_n_closest_peers(key, n);
        let since = Instant::now();
        let running = Running { wanted, since, looked: since, answers: (0, since), finished: false, reply };
        self.queries.0.insert(id, running);
    }

    /// A peer with the addresses of the table, or else with those that others named.
    fn known(&mut self, peer: PeerId, named: Vec<Multiaddr>) -> Option<PeerAddrs> {
        let mut addresses = addresses_of(&mut self.swarm.behaviour_mut().kad.inner, peer);
        let observed = if addresses.is_empty() {
            addresses = named.into_iter().filter(|a| self.vet.permits(a).is_ok()).collect();
            addresses.truncate(defaults::ADDRESSES_PER_PEER);
            None
        } else {
            self.table.observed(&peer)
        };
        if addresses.is_empty() { None } else { peer_addrs(peer, addresses, observed) }
    }

    pub(crate) fn on_kad(&mut self, event: kad::Event) {
        match event {
            kad::Event::OutboundQueryProgressed {
                id,
                result: kad::QueryResult::GetClosestPeers(result),
                ..
            } => {
                let Some(running) = self.queries.0.remove(&id) else { return };
                let peers = match result {
                    Ok(kad::GetClosestPeersOk { peers, .. })
                    | Err(kad::GetClosestPeersError::Timeout { peers, .. }) => peers,
                };
                let _ = running.reply.send(self.answer(running.wanted, running.since, peers));
            }
            kad::Event::RoutingUpdated { peer, is_new_peer: true, old_peer: Some(_), .. } => {
                self.table.recheck(&mut self.swarm.behaviour_mut().kad.inner, peer);
            }
            kad::Event::RoutingUpdated { peer, .. } => {
                self.table.trim(&mut self.swarm.behaviour_mut().kad.inner, peer);
            }
            kad::Event::InboundRequest {
                request: kad::InboundRequest::PutRecord { .. } | kad::InboundRequest::AddProvider { .. },
            } => {
                tracing::debug!("a peer wants a record kept: dropped");
                self.registry.lock().count("record");
            }
            _ => {}
        }
    }

    fn answer(
        &mut self,
        wanted: Option<Did>,
        since: Instant,
        peers: Vec<kad::PeerInfo>,
    ) -> Result<Vec<PeerAddrs>, RoutingError> {
        let nobody = peers.is_empty();
        let mut found: Vec<PeerAddrs> =
            peers.into_iter().filter_map(|p| self.known(p.peer_id, p.addrs)).collect();
        if let Some(peer) = wanted {
            // It may have connected while the query ran.
            found.retain(|p| p.did == peer);
            found.extend(if found.is_empty() { self.known(peer_id_of(&peer), Vec::new()) } else { None });
        }
        match (found.is_empty(), wanted) {
            (false, _) => Ok(found),
            // libp2p's disjoint paths end in "nobody" where they mean "no answer" (rust-libp2p #5418).
            (true, None) => Err(RoutingError::NoAnswer { after: since.elapsed() }),
            (true, Some(_)) if nobody => Err(RoutingError::NoAnswer { after: since.elapsed() }),
            (true, Some(peer)) => Err(RoutingError::NotFound { peer }),
        }
    }

    /// A peer said what it speaks.
    pub(crate) fn on_routable(&mut self, connection: ConnectionId, peer: PeerId, told: &Told) {
        let kad = &mut self.swarm.behaviour_mut().kad.inner;
        if !told.protocols.contains(&ROUTING) {
            kad.remove_peer(&peer);
            return;
        }
        let (observed, dialled) = {
            let state = self.registry.lock();
            let Some(open) = state.connections.get(&connection) else { return };
            (open.observed, (!open.info.inbound).then(|| open.info.address.clone()))
        };
        let Some(observed) = observed else { return };
        let claimed = dialled.into_iter().chain(told.addresses.iter().cloned()).collect();
        match self.table.insert(kad, peer, observed, claimed) {
            Inserted::In => {}
            refused => tracing::debug!(%peer, ?refused, "not in the table"),
        }
        let did = did_of(peer);
        for (id, running) in &mut self.queries.0 {
            if running.wanted.is_some() && running.wanted == did {
                running.finished = true;
                if let Some(mut query) = kad.query_mut(id) {
                    query.finish();
                }
            }
        }
    }

    /// A peer could not be dialled. While others are connected the network is not to blame, so it is left alone where it was
    /// dialled, and handed on no longer where that leaves no address of the table to try.
    pub(crate) fn on_gone(&mut self, peer: PeerId, error: &DialError) {
        let failed: Vec<&Multiaddr> = match error {
            DialError::Transport(tried) => tried.iter().map(|(address, _)| address).collect(),
            DialError::WrongPeerId { address, .. } => vec![address],
            _ => return,
        };
        if self.registry.lock().connections.is_empty() {
            return;
        }
        let failed = failed.into_iter().filter_map(|a| a.clone().with_p2p(peer).ok()).collect::<Vec<_>>();
        let kad = &mut self.swarm.behaviour_mut().kad;
        self.table.forget(&mut kad.inner, peer, &failed);
        kad.gone(peer, failed, Instant::now());
    }

    /// Every peer in the table.
    pub(crate) fn table_peers(&mut self) -> Vec<PeerAddrs> {
        self.table.peers(&mut self.swarm.behaviour_mut().kad.inner)
    }

    /// Has a peer dialled, to join the network through it.
    pub(crate) fn add_peer(&mut self, did: Did, addresses: Vec<Multiaddr>) -> Result<(), AddPeerError> {
        let peer = peer_id_of(&did);
        let mut usable = Vec::new();
        for address in addresses.into_iter().take(defaults::ADDRESSES_PER_PEER) {
            let (address, named) = without_peer(address);
            if named.is_none_or(|named| named == peer) && self.vet.permits(&address).is_ok() {
                usable.push(address);
            }
        }
        if usable.is_empty() {
            return Err(AddPeerError::NoAddress { peer: did });
        }
        self.join(Some(peer), usable)
            .then_some(())
            .ok_or(AddPeerError::QueueFull { limit: defaults::JOIN_QUEUE })
    }

    /// Queues a dial. False: the queue is full.
    pub(crate) fn join(&mut self, peer: Option<PeerId>, addresses: Vec<Multiaddr>) -> bool {
        if self.joins.queue.iter().any(|(p, a)| *p == peer && *a == addresses) {
            return true;
        }
        if self.joins.queue.len() >= defaults::JOIN_QUEUE {
            return false;
        }
        self.joins.queue.push_back((peer, addresses));
        self.dial_next();
        true
    }

    /// A dial is over, one way or the other.
    pub(crate) fn on_joined(&mut self, connection: ConnectionId) {
        if self.joins.dialling.remove(&connection) {
            self.dial_next();
        }
    }

    fn dial_next(&mut self) {
        while self.joins.dialling.len() < defaults::JOIN_DIALS {
            let Some((peer, addresses)) = self.joins.queue.pop_front() else { return };
            let options = match (peer, addresses.first()) {
                (Some(peer), _) => DialOpts::peer_id(peer)
                    .condition(PeerCondition::DisconnectedAndNotDialing)
                    .addresses(addresses)
                    .allocate_new_port()
                    .build(),
                (None, Some(address)) => {
                    DialOpts::unknown_peer_id().address(address.clone()).allocate_new_port().build()
                }
                (None, None) => continue,
            };
            let connection = options.connection_id();
            match self.swarm.dial(options) {
                Ok(()) => {
                    self.joins.dialling.insert(connection);
                }
                Err(e) => tracing::debug!(?peer, "not dialled to join: {e}"),
            }
        }
    }

    /// When [`upkeep`](Self::upkeep) has something to do next.
    pub(crate) fn upkeep_at(&self) -> Instant {
        let enough = self.queries.0.values().filter(|q| !q.finished).map(|q| q.looked + defaults::QUERY_LOOK);
        enough.chain([self.upkeep.at]).min().unwrap_or(self.upkeep.at)
    }

    /// Asks slow queries for what they have, forgets peers gone, joins through known peers where few are left, and
    /// refreshes the table.
    pub(crate) fn upkeep(&mut self, now: Instant) {
        let kad = &mut self.swarm.behaviour_mut().kad.inner;
        for (id, running) in self.queries.0.iter_mut().filter(|(_, running)| !running.finished) {
            let Some(mut query) = kad.query_mut(id) else { continue };
            if running.is_enough(query.stats().num_successes(), now) {
                running.finished = true;
                query.finish();
            }
        }
        if now < self.upkeep.at {
            return;
        }
        self.upkeep.at = now + defaults::UPKEEP_INTERVAL;
        self.table.prune(kad);
        let few = kad.kbuckets().map(|b| b.num_entries()).sum::<usize>() < defaults::FEW_PEERS;
        if now >= self.upkeep.refresh_at {
            let did = did_of(*self.swarm.local_peer_id());
            self.upkeep.refreshes = self.upkeep.refreshes.wrapping_add(1);
            let refresh = self.config.routing.refresh;
            let interval = did.map_or(refresh, |did| jitter(refresh, &did, self.upkeep.refreshes));
            self.upkeep.refresh_at = now + interval;
            // It fails where no peer is known, which joining sees to.
            let _ = self.swarm.behaviour_mut().kad.inner.bootstrap();
        }
        if few {
            for address in self.config.routing.bootstrap.clone() {
                let (address, peer) = without_peer(address);
                self.join(peer, vec![address]);
            }
        }
    }
}
