//! Registries of the advertise plane.

use super::Seeker;
use crate::node::multiaddrs;
use actum_discovery::{
    RegistryCandidate,
    advertise::{Ad, Key, Peer},
    choose_registries,
};
use actum_model::Did;
use actum_overlay::Multiaddr;
use std::{collections::BTreeMap, time::Duration};

impl Seeker<'_> {
    /// Looks for registries on the advertise plane for at most so long, and chooses a few that share neither operator nor
    /// address range with one another, nor with those of `known`, which keep their places. `candidate` says what is held
    /// of a registry; `draw` is a random number.
    pub(crate) async fn find_registries<E>(
        &self,
        within: Duration,
        known: Vec<RegistryCandidate>,
        candidate: impl Fn(&Peer) -> Result<RegistryCandidate, E>,
        draw: u64,
    ) -> Result<Vec<Peer>, E> {
        let mut found: BTreeMap<Did, Peer> = BTreeMap::new();
        let mut on_found = |ad: Ad| {
            let lease = ad.lease().payload();
            if let Ok(peer) = Peer::named(lease.iss, lease.addrs.clone()) {
                found.insert(lease.iss, peer);
            }
        };
        self.look_up(Key::registries(), within, &mut on_found).await;
        found.remove(&self.own);
        known.iter().for_each(|had| drop(found.remove(&had.did)));
        let mut candidates: Vec<_> =
            known.into_iter().map(|had| RegistryCandidate { named: true, ..had }).collect();
        for peer in found.values() {
            candidates.push(candidate(peer)?);
        }
        let chosen = choose_registries(&candidates, self.local, draw);
        Ok(chosen.iter().filter_map(|c| found.remove(&c.did)).collect())
    }
}

/// Where a peer says it can be reached, as it is dialled.
pub(crate) fn dialled(peer: &Peer) -> Vec<Multiaddr> {
    multiaddrs(peer.addrs())
}
