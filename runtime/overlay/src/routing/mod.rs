//! Finding peers by their keys: Kademlia under our own protocol name, for peers and nothing else.
//!
//! What lives here: the table of peers, who gets into it, and queries. What may not enter: records of any kind. A table
//! is fed only by peers that were connected and said that they speak the protocol; what others say of third parties is
//! dialled, under the rules of [`NetworkScope`](crate::NetworkScope), before it counts.

mod drive;
mod store;
mod table;

pub(crate) use drive::{Found, Joins, Queries, Upkeep};
pub(crate) use store::NoRecords;
pub(crate) use table::{Inserted, Table};

use crate::{Multiaddr, OverlayConfig, PeerId, defaults, did_of, peer_id_of};
use actum_model::Did;
use libp2p::{StreamProtocol, kad};
use std::{net::IpAddr, time::Duration};

/// The routing protocol's name on the wire.
pub const ROUTING_PROTOCOL: &str = "/actum/kad/1";
pub(crate) const ROUTING: StreamProtocol = StreamProtocol::new(ROUTING_PROTOCOL);

/// A peer and where it may be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddrs {
    /// Who.
    pub did: Did,
    /// Addresses it says are its own, each ending in `/p2p/…`; at most [`defaults::ADDRESSES_PER_PEER`].
    pub addresses: Vec<Multiaddr>,
    /// Where it was seen when it was last connected: the address that counts for limits on ranges, because nobody can
    /// claim another's. Of a peer behind a relay, the relay's. None: it was not seen, others named it.
    pub observed: Option<IpAddr>,
}

/// Why a query found nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoutingError {
    /// This peer knows no other yet: no bootstrap peer answered, and none connected.
    #[error("no peers are known to ask")]
    NoPeers,
    /// Peers were asked and none answered in time. On paths that share no peer, an empty answer means the same.
    #[error("none of the peers known answered within {after:?}")]
    NoAnswer {
        /// How long was waited.
        after: Duration,
    },
    /// Peers answered, and none knew the one wanted.
    #[error("nobody asked knows {peer}")]
    NotFound {
        /// The peer wanted.
        peer: Did,
    },
    /// As many queries are under way as may be.
    #[error("{limit} queries are under way already")]
    Busy {
        /// The limit.
        limit: usize,
    },
    /// The overlay is shut down.
    #[error("the overlay is shut down")]
    ShutDown,
}

/// Why a peer is not dialled to be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddPeerError {
    /// No address was given, or none that may be dialled and names that peer.
    #[error("{peer} has no usable address")]
    NoAddress {
        /// The peer.
        peer: Did,
    },
    /// As many peers wait to be dialled as may.
    #[error("{limit} peers are waiting to be dialled already")]
    QueueFull {
        /// The limit.
        limit: usize,
    },
    /// The overlay is shut down.
    #[error("the overlay is shut down")]
    ShutDown,
}

/// How far apart two places in the key space are; less is closer. The place of `key` in [`closest`](crate::Overlay::closest)
/// is its sha-256, and a peer's is the sha-256 of its peer id; the distance is their XOR, as an unsigned big-endian number.
pub fn distance(key: &[u8; 32], peer: &Did) -> [u8; 32] {
    let key = kad::KBucketKey::new(key.to_vec());
    let peer = kad::KBucketKey::from(peer_id_of(peer));
    key.distance(&peer).0.to_big_endian()
}

/// Which bucket of ours a peer belongs to: 0 for the nearest to 255 for the farther half of all. None: it is ourselves.
pub fn bucket(ours: &Did, peer: &Did) -> Option<u32> {
    kad::KBucketKey::from(peer_id_of(ours)).distance(&kad::KBucketKey::from(peer_id_of(peer))).ilog2()
}

/// Kademlia with everything it can do besides finding peers switched off.
pub(crate) fn kademlia(config: &OverlayConfig, local: PeerId) -> kad::Behaviour<NoRecords> {
    let mut kad = kad::Config::new(ROUTING);
    kad.set_kbucket_inserts(kad::BucketInserts::Manual)
        .set_kbucket_size(defaults::BUCKET)
        // Both filtered and refused by the store: neither alone would hold a release that changes its mind.
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_caching(kad::Caching::Disabled)
        // No jobs: the one for replication remembers every key that a peer ever puts.
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_provider_publication_interval(None)
        .set_periodic_bootstrap_interval(None)
        .set_replication_factor(defaults::BUCKET)
        .set_parallelism(defaults::PARALLELISM)
        .disjoint_query_paths(config.routing.disjoint_paths)
        .set_query_timeout(defaults::QUERY)
        .set_substreams_timeout(defaults::QUERY_REQUEST)
        .set_max_packet_size(defaults::ROUTING_MESSAGE);
    let mut behaviour = kad::Behaviour::with_config(local, NoRecords, kad);
    let mode = if config.routing.serve { kad::Mode::Server } else { kad::Mode::Client };
    behaviour.set_mode(Some(mode));
    behaviour
}

/// `n` of these peers, the same ones for the same peers and seed, whatever their order.
pub(crate) fn sample(mut peers: Vec<PeerAddrs>, n: usize, seed: u64) -> Vec<PeerAddrs> {
    peers.sort_by_key(|p| p.did);
    let mut state = seed;
    for at in (1..peers.len()).rev() {
        state = mix(state);
        // The bias of the remainder is below 2⁻⁴⁰ for any table.
        let other = usize::try_from(state % (at as u64 + 1)).unwrap_or(0);
        peers.swap(at, other);
    }
    peers.truncate(n);
    peers
}

/// An interval, longer or shorter by up to [`defaults::JITTER_PERCENT`], as a peer's key and a count say.
pub(crate) fn jitter(interval: Duration, local: &Did, count: u64) -> Duration {
    let seed = local.as_bytes().iter().fold(count, |state, byte| mix(state ^ u64::from(*byte)));
    let percent = 100 - defaults::JITTER_PERCENT + seed % (2 * defaults::JITTER_PERCENT + 1);
    interval * u32::try_from(percent).unwrap_or(100) / 100
}

/// The step of SplitMix64: spreads what is not secret.
fn mix(state: u64) -> u64 {
    let z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A peer of the table or of an answer, in our words; none where its key is not Ed25519.
pub(crate) fn peer_addrs(
    peer: PeerId,
    addresses: Vec<Multiaddr>,
    observed: Option<IpAddr>,
) -> Option<PeerAddrs> {
    let did = did_of(peer)?;
    let addresses = addresses.into_iter().filter_map(|a| a.with_p2p(peer).ok()).collect();
    Some(PeerAddrs { did, addresses, observed })
}

#[cfg(test)]
mod tests {
    use super::*;
    use actum_model::SecretKey;
    use std::collections::BTreeSet;

    fn peers() -> Vec<PeerAddrs> {
        let did = |n| SecretKey::from_seed(&[n; 32]).did();
        (0..20).map(|n| PeerAddrs { did: did(n), addresses: vec![], observed: None }).collect()
    }

    #[test]
    fn a_sample_depends_on_the_peers_and_the_seed_and_not_on_the_order() {
        let mut backwards = peers();
        backwards.reverse();
        assert_eq!(sample(peers(), 5, 7), sample(backwards, 5, 7));
        assert_ne!(sample(peers(), 5, 7), sample(peers(), 5, 8));
        assert_eq!(sample(peers(), 99, 7).len(), 20);
        assert_eq!(sample(vec![], 5, 7), vec![]);
        let seen: BTreeSet<Did> = (0..200).flat_map(|seed| sample(peers(), 3, seed)).map(|p| p.did).collect();
        assert_eq!(seen.len(), 20, "everybody is sampled sooner or later");
    }

    #[test]
    fn jitter_stays_within_its_share_and_differs_between_peers() {
        let second = Duration::from_secs(1);
        let all: BTreeSet<Duration> = peers().iter().map(|p| jitter(second, &p.did, 0)).collect();
        assert!(all.len() > 5, "{all:?}");
        assert!(all.iter().all(|d| *d >= second * 80 / 100 && *d <= second * 120 / 100), "{all:?}");
    }

    #[test]
    fn a_peer_is_in_no_bucket_of_its_own() {
        let all = peers();
        assert_eq!(bucket(&all[0].did, &all[0].did), None);
        assert_eq!(bucket(&all[0].did, &all[1].did), bucket(&all[1].did, &all[0].did));
    }
}
