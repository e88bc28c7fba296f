//! Routing tables: whom everybody knows.

use super::Net;
use actum_discovery::advertise::Prefix;
use std::collections::BTreeMap;

/// Peers in one bucket of a routing table, as in Kademlia.
const BUCKET: usize = 20;
/// Of those, the most of one address prefix.
const OF_PREFIX: usize = 2;
/// Peers that are looked at to fill a bucket.
const LOOKED_AT: usize = 4 * BUCKET;

impl Net {
    /// Gives everybody a routing table: in each bucket around its place up to 20 peers, two of one prefix, as a Kademlia that
    /// has run for a while has them.
    pub fn route(&mut self) {
        let places = self.nodes.iter().map(|node| first_bits(node.peer.place().as_bytes()));
        let mut sorted: Vec<(u64, u32)> = places.zip(0..).collect();
        sorted.sort_unstable();
        let tables: Vec<Box<[u32]>> = (0..).take(self.nodes.len()).map(|n| self.table(n, &sorted)).collect();
        for (node, table) in self.nodes.iter_mut().zip(tables) {
            node.routing = table;
        }
    }

    /// A node's table. `sorted` has all places, and whose they are.
    fn table(&self, n: u32, sorted: &[(u64, u32)]) -> Box<[u32]> {
        let mut table = Vec::new();
        let Some(own) = self.node(n).map(|node| first_bits(node.peer.place().as_bytes())) else {
            return table.into();
        };
        let mut draws = self.streams.of("routing", u64::from(n));
        for depth in 0..63 {
            let shift = 63 - depth;
            let sharing = |prefix: u64| {
                let low = sorted.partition_point(|(place, _)| place >> shift < prefix);
                let high = sorted.partition_point(|(place, _)| place >> shift <= prefix);
                sorted.get(low..high).unwrap_or_default()
            };
            let bucket = sharing((own >> shift) ^ 1);
            let mut taken: Vec<u32> = Vec::new();
            let mut prefixes: BTreeMap<Prefix, usize> = BTreeMap::new();
            let from = draws.place(bucket.len());
            for i in 0..bucket.len().min(LOOKED_AT) {
                let few = bucket.len() <= LOOKED_AT;
                // All of them, from a random one on; or random ones.
                let at = if few { (i + from) % bucket.len() } else { draws.place(bucket.len()) };
                let Some((_, other)) = bucket.get(at).filter(|(_, other)| !taken.contains(other)) else {
                    continue;
                };
                let prefix = self.node(*other).and_then(|node| self.setup.local.prefix(node.peer.ip()));
                if let Some(prefix) = prefix {
                    let count = prefixes.entry(prefix).or_default();
                    if *count >= OF_PREFIX {
                        continue;
                    }
                    *count += 1;
                }
                taken.push(*other);
                if taken.len() >= BUCKET {
                    break;
                }
            }
            table.extend(taken);
            if sharing(own >> shift).len() <= 1 {
                break;
            }
        }
        table.into()
    }
}

/// The first 64 bits of a place: no two peers of any network that is simulated share them.
fn first_bits(place: &[u8; 32]) -> u64 {
    place.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}
