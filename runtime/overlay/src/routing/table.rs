//! Who gets into the table of peers, and with which addresses.

use super::{NoRecords, PeerAddrs, peer_addrs};
use crate::{
    IpPrefix, Multiaddr, PeerId,
    access::Vet,
    defaults,
    prefix::{Reach, ip_of, reach_of},
};
use libp2p::kad;
use std::{collections::HashMap, net::IpAddr, sync::Arc};

type Kad = kad::Behaviour<NoRecords>;

/// What became of a peer that wanted into the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inserted {
    /// It is in, or waits for one that may be gone to be tried.
    In,
    /// Its bucket has as many peers of its range as it may.
    PrefixFull,
    /// Its bucket is full.
    BucketFull,
    /// None of its addresses can be handed on.
    NoAddress,
}

/// What Kademlia does not know of the peers in its table.
pub(crate) struct Table {
    vet: Arc<Vet>,
    exempt_loopback: bool,
    /// Where each peer was seen. Entries outlive their peers' until [`Table::prune`].
    observed: HashMap<PeerId, IpAddr>,
}

impl Table {
    pub(crate) fn new(vet: Arc<Vet>, exempt_loopback: bool) -> Self {
        Self { vet, exempt_loopback, observed: HashMap::new() }
    }

    /// Takes in a peer that is connected and speaks the protocol, or renews what is known of it. `claimed` is what it
    /// calls its addresses, the one it was dialled at first.
    pub(crate) fn insert(
        &mut self,
        kad: &mut Kad,
        peer: PeerId,
        observed: IpAddr,
        claimed: Vec<Multiaddr>,
    ) -> Inserted {
        let addresses = self.usable(peer, observed, claimed);
        if addresses.is_empty() {
            return Inserted::NoAddress;
        }
        if !self.has_room(kad, peer, observed) {
            return Inserted::PrefixFull;
        }
        let before = addresses_of(kad, peer);
        for address in &addresses {
            if kad.add_address(&peer, address.clone()) == kad::RoutingUpdate::Failed {
                return Inserted::BucketFull;
            }
        }
        for gone in before.iter().filter(|a| !addresses.contains(a)) {
            kad.remove_address(&peer, gone);
        }
        self.observed.insert(peer, observed);
        Inserted::In
    }

    /// The addresses worth keeping: at the place the peer was seen first, few, short, and none nearer than that place.
    fn usable(&self, peer: PeerId, observed: IpAddr, claimed: Vec<Multiaddr>) -> Vec<Multiaddr> {
        let mut usable: Vec<Multiaddr> = Vec::new();
        for address in claimed {
            let Ok(address) = address.with_p2p(peer) else { continue };
            let fits = address.len() <= defaults::ADDRESS_BYTES && self.vet.permits_own(&address, observed);
            if fits && !usable.contains(&address) {
                usable.push(address);
            }
        }
        usable.sort_by_key(|address| ip_of(address) != Some(observed));
        usable.truncate(defaults::ADDRESSES_PER_PEER);
        usable
    }

    /// Whether the peer's bucket has room for one more of its range.
    fn has_room(&self, kad: &mut Kad, peer: PeerId, observed: IpAddr) -> bool {
        if self.exempt_loopback && reach_of(observed) == Reach::Loopback {
            return true;
        }
        let party = IpPrefix::party_of(observed);
        let Some(bucket) = kad.kbucket(peer) else { return false };
        let same = bucket
            .iter()
            .map(|entry| *entry.node.key.preimage())
            .filter(|other| *other != peer)
            .filter(|other| self.observed.get(other).is_some_and(|ip| IpPrefix::party_of(*ip) == party))
            .count();
        same < defaults::PREFIX_PER_BUCKET
    }

    /// A peer came in after its predecessor was found gone: its range may have filled meanwhile.
    pub(crate) fn recheck(&mut self, kad: &mut Kad, peer: PeerId) {
        let room =
            self.observed.get(&peer).copied().is_some_and(|observed| self.has_room(kad, peer, observed));
        if !room {
            kad.remove_peer(&peer);
        }
    }

    /// Keeps the list of a peer's addresses short: Kademlia adds each one that it reached the peer at.
    pub(crate) fn trim(&self, kad: &mut Kad, peer: PeerId) {
        let addresses = addresses_of(kad, peer);
        for surplus in addresses.iter().skip(defaults::ADDRESSES_PER_PEER) {
            kad.remove_address(&peer, surplus);
        }
    }

    /// A peer could not be dialled at these addresses. It leaves the table with the last of its addresses that may be
    /// dialled: others may have named these, and what they name must drive nobody out.
    pub(crate) fn forget(&self, kad: &mut Kad, peer: PeerId, failed: &[Multiaddr]) {
        for address in failed {
            // Kademlia does the same, except for a peer's last address and for one that somebody else answered at.
            kad.remove_address(&peer, address);
        }
        let left = addresses_of(kad, peer);
        if !left.is_empty() && left.iter().all(|address| self.vet.permits(address).is_err()) {
            kad.remove_peer(&peer);
        }
    }

    /// Forgets where peers were seen that are in the table no more.
    pub(crate) fn prune(&mut self, kad: &mut Kad) {
        self.observed.retain(|peer, _| !addresses_of(kad, *peer).is_empty());
    }

    /// Where a peer of the table was seen.
    pub(crate) fn observed(&self, peer: &PeerId) -> Option<IpAddr> {
        self.observed.get(peer).copied()
    }

    /// Every peer in the table, nearest buckets first.
    pub(crate) fn peers(&self, kad: &mut Kad) -> Vec<PeerAddrs> {
        let mut all = Vec::new();
        for bucket in kad.kbuckets() {
            for entry in bucket.iter() {
                let peer = *entry.node.key.preimage();
                let addresses = entry.node.value.iter().cloned().collect();
                all.extend(peer_addrs(peer, addresses, self.observed(&peer)));
            }
        }
        all
    }
}

/// The addresses the table has of a peer; none where it is not in it.
pub(crate) fn addresses_of(kad: &mut Kad, peer: PeerId) -> Vec<Multiaddr> {
    let Some(bucket) = kad.kbucket(peer) else { return Vec::new() };
    let found = bucket.iter().find(|entry| *entry.node.key.preimage() == peer);
    found.map_or_else(Vec::new, |entry| entry.node.value.iter().cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Access, NetworkScope, OverlayConfig, peer_id_of, routing};
    use actum_model::SecretKey;
    use libp2p::{
        core::transport::TransportError,
        swarm::{ConnectionId, DialError, DialFailure, FromSwarm, NetworkBehaviour},
    };

    fn peer(n: u16) -> PeerId {
        let mut seed = [9; 32];
        seed[..2].copy_from_slice(&n.to_be_bytes());
        peer_id_of(&SecretKey::from_seed(&seed).did())
    }

    fn table(exempt: bool) -> (Table, Kad) {
        let vet = Vet { access: Access::default(), scope: NetworkScope::Machine };
        (Table::new(Arc::new(vet), exempt), routing::kademlia(&OverlayConfig::default(), peer(0)))
    }

    /// Lets 200 peers seen at addresses that `ip` makes in; says how many came in, and the most of a bucket.
    fn crowd(exempt: bool, ip: impl Fn(u16) -> String) -> (usize, usize) {
        let (mut table, mut kad) = table(exempt);
        for n in 1..=200 {
            let observed: IpAddr = ip(n).parse().unwrap();
            let address = Multiaddr::from(observed).with(libp2p::multiaddr::Protocol::Tcp(n));
            table.insert(&mut kad, peer(n), observed, vec![address]);
        }
        let most = kad.kbuckets().map(|b| b.num_entries()).max().unwrap();
        (table.peers(&mut kad).len(), most)
    }

    #[test]
    fn one_range_gets_two_places_a_bucket() {
        let (peers, most) = crowd(false, |n| format!("203.1.113.{n}"));
        assert_eq!(most, 2);
        assert!(peers <= 20, "{peers} of one /24");
        let (_, most) = crowd(false, |n| format!("2a00:1450:1:{n}::1"));
        assert_eq!(most, 2);
    }

    #[test]
    fn many_ranges_fill_their_buckets() {
        let (_, most) = crowd(false, |n| format!("8.{n}.1.1"));
        assert_eq!(most, 20);
    }

    /// The addresses of a peer that has two after a dial of it failed at these ports: as Kademlia leaves them, and then we.
    fn after_failing(ports: &[u16], told_kademlia: bool) -> Vec<Multiaddr> {
        let (mut table, mut kad) = table(false);
        let at = |port: &u16| -> Multiaddr { format!("/ip4/8.8.8.8/tcp/{port}").parse().unwrap() };
        let claimed = [1, 2].iter().map(at).collect();
        assert_eq!(table.insert(&mut kad, peer(1), "8.8.8.8".parse().unwrap(), claimed), Inserted::In);
        let failed: Vec<Multiaddr> = ports.iter().map(|port| at(port).with_p2p(peer(1)).unwrap()).collect();
        if told_kademlia {
            let tried = failed.iter().map(|a| (a.clone(), TransportError::MultiaddrNotSupported(a.clone())));
            let error = DialError::Transport(tried.collect());
            kad.on_swarm_event(FromSwarm::DialFailure(DialFailure {
                peer_id: Some(peer(1)),
                error: &error,
                connection_id: ConnectionId::new_unchecked(1),
            }));
        }
        table.forget(&mut kad, peer(1), &failed);
        addresses_of(&mut kad, peer(1))
    }

    #[test]
    fn addresses_that_strangers_name_drive_nobody_out() {
        for told in [true, false] {
            assert_eq!(after_failing(&[9], told).len(), 2);
            assert_eq!(after_failing(&[9, 1], told).len(), 1, "the other was not tried");
            assert_eq!(after_failing(&[1, 9, 2], told).len(), 0, "both of them were");
        }
    }

    #[test]
    fn loopback_is_exempt_only_where_that_is_said() {
        assert_eq!(crowd(true, |_| "127.0.0.1".to_owned()).1, 20);
        assert_eq!(crowd(false, |_| "127.0.0.1".to_owned()).1, 2);
    }

    #[test]
    fn addresses_are_few_short_and_no_nearer_than_their_peer() {
        let (mut table, mut kad) = table(false);
        let observed: IpAddr = "8.8.8.8".parse().unwrap();
        let mut claimed: Vec<Multiaddr> =
            ["/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/1", "/dns4/a.example/tcp/1"]
                .iter()
                .map(|a| a.parse().unwrap())
                .collect();
        claimed.extend((1..100).map(|n| format!("/ip4/9.9.9.9/tcp/{n}").parse().unwrap()));
        claimed.push("/ip4/8.8.8.8/tcp/1".parse().unwrap());
        assert_eq!(table.insert(&mut kad, peer(1), observed, claimed.clone()), Inserted::In);
        let kept = addresses_of(&mut kad, peer(1));
        assert_eq!(kept.len(), defaults::ADDRESSES_PER_PEER);
        assert!(kept[0].to_string().starts_with("/ip4/8.8.8.8/tcp/1/p2p/"), "{kept:?}");
        assert_eq!(table.insert(&mut kad, peer(2), observed, claimed[..3].to_vec()), Inserted::NoAddress);

        let renewed: Multiaddr = "/ip4/8.8.8.8/tcp/2".parse().unwrap();
        assert_eq!(table.insert(&mut kad, peer(1), observed, vec![renewed.clone()]), Inserted::In);
        assert_eq!(addresses_of(&mut kad, peer(1)), vec![renewed.with_p2p(peer(1)).unwrap()]);
    }
}
