//! What the overlay and the swarm's task both see: sessions, connections, and what is known of them.

use crate::{Multiaddr, PeerInfo, reach::Facts, session::SessionHandle, traffic::Counters};
use actum_model::Did;
use libp2p::{StreamProtocol, swarm::ConnectionId};
use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What the overlay and the swarm's task both see.
#[derive(Default)]
pub(crate) struct Registry {
    state: Mutex<State>,
    /// What all sessions carried, those that are over too.
    pub(crate) traffic: Arc<Counters>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) sessions: HashMap<Did, Vec<Open>>,
    pub(crate) connections: HashMap<ConnectionId, Connected>,
    pub(crate) facts: Facts,
    /// How often what was refused, by its code.
    pub(crate) refusals: BTreeMap<&'static str, u64>,
}

/// A session, and the connection it is on.
pub(crate) struct Open {
    pub(crate) number: u64,
    pub(crate) connection: ConnectionId,
    pub(crate) inbound: bool,
    pub(crate) handle: SessionHandle,
}

/// A connection, and what is known of the peer at its other end.
pub(crate) struct Connected {
    pub(crate) info: PeerInfo,
    /// Where the peer is; through a relay, where that is.
    pub(crate) observed: Option<IpAddr>,
    pub(crate) relayed: bool,
    /// Whether the peer dials back; none before it said what it speaks.
    pub(crate) dials_back: Option<bool>,
}

/// What a peer said about itself, and about us.
pub(crate) struct Told {
    pub(crate) protocols: Vec<StreamProtocol>,
    /// Addresses it calls its own.
    pub(crate) addresses: Vec<Multiaddr>,
    /// The address it sees us at.
    pub(crate) observed: Multiaddr,
}

impl Registry {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session with that peer that is not over.
    pub(crate) fn session(&self, peer: &Did) -> Option<SessionHandle> {
        self.lock().open(peer).map(|s| s.handle.clone())
    }

    /// The same, but none where there is only one through a relay although a direct connection is there to open a better
    /// one on.
    pub(crate) fn best_session(&self, peer: &Did) -> Option<SessionHandle> {
        let state = self.lock();
        let open = state.open(peer)?;
        let better = state.is_relayed(open.connection)
            && state.connection(peer).is_some_and(|direct| !state.is_relayed(direct));
        (!better).then(|| open.handle.clone())
    }
}

impl State {
    fn open(&self, peer: &Did) -> Option<&Open> {
        let open = self.sessions.get(peer)?.iter().filter(|s| s.handle.closed().is_none());
        open.min_by_key(|s| (self.is_relayed(s.connection), s.number))
    }

    fn is_relayed(&self, connection: ConnectionId) -> bool {
        self.connections.get(&connection).is_some_and(|c| c.relayed)
    }

    pub(crate) fn peers(&self) -> Vec<PeerInfo> {
        self.connections.values().map(|c| c.info.clone()).collect()
    }

    /// Where that peer is seen, if it is connected: the address that counts for limits on ranges. Of one behind a relay, the
    /// relay's.
    pub(crate) fn seen_at(&self, peer: &Did) -> Option<IpAddr> {
        self.connections.values().filter(|c| c.info.did == *peer).find_map(|c| c.observed)
    }

    /// A connection with that peer, a direct one if there is one.
    pub(crate) fn connection(&self, peer: &Did) -> Option<ConnectionId> {
        let with = self.connections.iter().filter(|(_, c)| c.info.did == *peer);
        with.min_by_key(|(_, c)| (c.relayed, c.info.since)).map(|(id, _)| *id)
    }

    /// Connections we made to peers that dial back.
    pub(crate) fn probers(&self) -> usize {
        self.connections.values().filter(|c| c.dials_back == Some(true) && !c.info.inbound).count()
    }

    /// Counts a refusal.
    pub(crate) fn count(&mut self, code: &'static str) {
        let count = self.refusals.entry(code).or_default();
        *count = count.saturating_add(1);
    }
}
