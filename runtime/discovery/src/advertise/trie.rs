//! How alike an address is to those that hold ads already: two binary tries, of IPv4 and of IPv6 addresses.

use std::net::IpAddr;

/// A lower bound on a waiting time, which sinks as time passes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Floor {
    ms: f64,
    at: u64,
}

impl Floor {
    /// What is left of it at `now`. It sinks by half of the time that passes: a wait has two parts with a floor each, so
    /// that together they sink no faster than time, and asking anew never beats having waited.
    pub(super) fn left(&self, now: u64) -> f64 {
        (self.ms - now.saturating_sub(self.at) as f64 / 2.0).max(0.0)
    }

    /// Takes in a wait quoted now; it never falls by it.
    pub(super) fn raise(&mut self, ms: f64, now: u64) {
        if ms > self.left(now) {
            *self = Self { ms, at: now };
        }
    }
}

/// A vertex stands for a prefix under which there are addresses.
#[derive(Clone, Copy, Debug, Default)]
struct Vertex {
    /// Where its children are; 0, which is the root, for none.
    children: [u32; 2],
    /// How many addresses are under it.
    count: u32,
    floor: Floor,
}

/// The addresses of those who hold ads, each provider's once.
///
/// At most one vertex for each bit of each address, so it is bounded by the cache it serves.
#[derive(Clone, Debug, Default)]
pub(super) struct Trie {
    v4: Tree,
    v6: Tree,
}

impl Trie {
    pub(super) fn insert(&mut self, ip: IpAddr) {
        let (tree, bits) = self.tree_mut(ip);
        tree.insert(bits);
    }

    /// Takes out an address that was put in.
    pub(super) fn remove(&mut self, ip: IpAddr) {
        let (tree, bits) = self.tree_mut(ip);
        tree.remove(bits);
    }

    /// How alike an address is to those here: the share of its prefixes, 0 to 1, under which there are more than as many
    /// as there would be, were the addresses spread evenly. `without` is left out of account, if it is here.
    pub(super) fn score(&self, ip: IpAddr, without: Option<IpAddr>) -> f64 {
        let (tree, bits) = self.tree(ip);
        let without = without.filter(|w| w.is_ipv4() == ip.is_ipv4()).map(|w| bits_of(w).0);
        tree.score(bits, without)
    }

    /// The highest floor over all prefixes of an address.
    pub(super) fn floor(&self, ip: IpAddr, now: u64) -> f64 {
        let (tree, bits) = self.tree(ip);
        tree.path(bits).map(|vertex| vertex.floor.left(now)).fold(0.0, f64::max)
    }

    /// Raises the floor at the longest prefix of an address that is here. The whole path is read, since addresses that come
    /// later make it longer.
    pub(super) fn raise(&mut self, ip: IpAddr, ms: f64, now: u64) {
        let (tree, bits) = self.tree_mut(ip);
        tree.raise(bits, ms, now);
    }

    #[cfg(test)]
    fn vertices(&self) -> usize {
        [&self.v4, &self.v6].map(|tree| tree.vertices.len() - tree.free.len()).iter().sum()
    }

    fn tree(&self, ip: IpAddr) -> (&Tree, Bits) {
        (if ip.is_ipv4() { &self.v4 } else { &self.v6 }, bits_of(ip))
    }

    fn tree_mut(&mut self, ip: IpAddr) -> (&mut Tree, Bits) {
        (if ip.is_ipv4() { &mut self.v4 } else { &mut self.v6 }, bits_of(ip))
    }
}

/// An address's bits, from the left, and how many count.
type Bits = (u128, u32);

/// All of an IPv4 address; of an IPv6 address the first 64 bits, since its holder has all the others to choose from.
fn bits_of(ip: IpAddr) -> Bits {
    match ip {
        IpAddr::V4(ip) => (u128::from(ip.to_bits()) << 96, 32),
        IpAddr::V6(ip) => (ip.to_bits(), 64),
    }
}

fn bit(bits: u128, i: u32) -> bool {
    bits << i >> 127 == 1
}

#[derive(Clone, Debug, Default)]
struct Tree {
    /// The first is the root. Empty until something is put in: most registrars hold nothing.
    vertices: Vec<Vertex>,
    free: Vec<u32>,
}

impl Tree {
    fn child(&self, at: u32, right: bool) -> Option<u32> {
        let [zero, one] = self.vertices.get(at as usize)?.children;
        Some(if right { one } else { zero }).filter(|child| *child != 0)
    }

    fn set_child(&mut self, at: u32, right: bool, to: u32) {
        if let Some(vertex) = self.vertices.get_mut(at as usize) {
            let [zero, one] = &mut vertex.children;
            *(if right { one } else { zero }) = to;
        }
    }

    /// The vertices from the root on.
    fn path(&self, (bits, count): Bits) -> impl Iterator<Item = &Vertex> {
        let mut next = (!self.vertices.is_empty()).then_some((0, 0));
        std::iter::from_fn(move || {
            let (at, depth) = next?;
            next =
                (depth < count).then(|| self.child(at, bit(bits, depth))).flatten().map(|c| (c, depth + 1));
            self.vertices.get(at as usize)
        })
    }

    fn insert(&mut self, (bits, count): Bits) {
        if self.vertices.is_empty() {
            self.vertices.push(Vertex::default());
        }
        let mut at = 0;
        self.count(at, 1);
        for i in 0..count {
            let right = bit(bits, i);
            at = match self.child(at, right) {
                Some(child) => child,
                None => {
                    let new = self.fresh();
                    self.set_child(at, right, new);
                    new
                }
            };
            self.count(at, 1);
        }
    }

    fn remove(&mut self, (bits, count): Bits) {
        if self.vertices.is_empty() {
            return;
        }
        let mut at = 0;
        self.count(at, -1);
        for i in 0..count {
            let right = bit(bits, i);
            let Some(child) = self.child(at, right) else { return };
            if self.count(child, -1) == 0 {
                self.set_child(at, right, 0);
                self.release(child, bits, i + 1, count);
                return;
            }
            at = child;
        }
    }

    /// Gives back a vertex under which nothing is left, and those below it: a chain, as all of them led to one address.
    fn release(&mut self, from: u32, bits: u128, depth: u32, count: u32) {
        let mut next = Some(from);
        for i in depth..=count {
            let Some(at) = next else { break };
            next = self.child(at, bit(bits, i.min(127)));
            if let Some(vertex) = self.vertices.get_mut(at as usize) {
                *vertex = Vertex::default();
            }
            self.free.push(at);
        }
    }

    fn fresh(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.vertices.push(Vertex::default());
            u32::try_from(self.vertices.len() - 1).unwrap_or(0)
        })
    }

    fn count(&mut self, at: u32, by: i32) -> u32 {
        self.vertices.get_mut(at as usize).map_or(0, |vertex| {
            vertex.count = vertex.count.saturating_add_signed(by);
            vertex.count
        })
    }

    /// DISC-NG's equation 3. The counts are those before the newcomer is put in.
    fn score(&self, (bits, count): Bits, without: Option<u128>) -> f64 {
        let mut path = self.path((bits, count)).map(|vertex| vertex.count);
        let without_one = u32::from(without.is_some());
        let Some(total) = path.next().map(|n| n.saturating_sub(without_one)).filter(|n| *n > 0) else {
            return 0.0;
        };
        let mut crowded = 0_u32;
        for (i, n) in (1..).zip(path) {
            // The one left out is under this prefix, if it begins so.
            let shared = without.is_some_and(|w| (w ^ bits).leading_zeros() >= i);
            let n = n.saturating_sub(u32::from(shared));
            if n == 0 {
                break;
            }
            if u128::from(n) << i > u128::from(total) {
                crowded += 1;
            }
        }
        f64::from(crowded) / f64::from(count)
    }

    fn raise(&mut self, (bits, count): Bits, ms: f64, now: u64) {
        if self.vertices.is_empty() {
            return;
        }
        let mut at = 0;
        for i in 0..count {
            match self.child(at, bit(bits, i)) {
                Some(child) => at = child,
                None => break,
            }
        }
        if let Some(vertex) = self.vertices.get_mut(at as usize) {
            vertex.floor.raise(ms, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn v4(bits: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(bits))
    }

    /// The same from the definition, by looking at all addresses.
    fn plainly(held: &[u32], ip: u32) -> f64 {
        let mut crowded = 0;
        for i in 1..=32 {
            let under = held.iter().filter(|h| (*h ^ ip) >> (32 - i) == 0).count() as u64;
            if under == 0 {
                break;
            }
            crowded += u32::from(under << i > held.len() as u64);
        }
        f64::from(crowded) / 32.0
    }

    proptest! {
        #[test]
        fn the_score_is_the_definitions(
            held in prop::collection::vec(0u32..1 << 12, 0..40), gone in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
            ip in 0u32..1 << 12,
        ) {
            // Few different bits on the left, so that prefixes are shared.
            let spread = |n: u32| n << 20 | n & 7;
            let (mut trie, mut held) = (Trie::default(), held.into_iter().map(spread).collect::<Vec<_>>());
            held.iter().for_each(|h| trie.insert(v4(*h)));
            for index in gone {
                if !held.is_empty() {
                    let out = held.swap_remove(index.index(held.len()));
                    trie.remove(v4(out));
                }
            }
            let ip = spread(ip);
            prop_assert_eq!(trie.score(v4(ip), None), plainly(&held, ip));
            if let Some(own) = held.pop() {
                prop_assert_eq!(trie.score(v4(ip), Some(v4(own))), plainly(&held, ip));
                held.push(own);
            }
            held.iter().for_each(|h| trie.remove(v4(*h)));
            prop_assert!(trie.vertices() <= 1, "the root alone may stay");
        }

        #[test]
        fn a_floor_never_sinks_faster_than_half_of_time(
            ips in prop::collection::vec((0u32..1 << 8, 0u32..1_000_000, 0u64..100_000), 1..30), ip in 0u32..1 << 8,
        ) {
            let mut trie = Trie::default();
            trie.insert(v4(ip << 24));
            let (mut now, mut before) = (0, 0.0);
            for (other, ms, later) in ips {
                now += later;
                let floor = trie.floor(v4(ip << 24), now);
                prop_assert!(floor >= before - later as f64 / 2.0);
                trie.raise(v4(other << 24), f64::from(ms), now);
                trie.insert(v4(other << 24));
                before = trie.floor(v4(ip << 24), now);
                prop_assert!(before >= floor);
            }
        }
    }

    #[test]
    fn the_same_address_is_wholly_alike_and_a_far_one_is_not() {
        let mut trie = Trie::default();
        assert_eq!(trie.score(v4(1), None), 0.0);
        trie.insert(v4(1));
        assert_eq!(trie.score(v4(1), None), 1.0);
        assert_eq!(trie.score(v4(1), Some(v4(1))), 0.0);
        assert_eq!(trie.score(v4(1 << 31), None), 0.0);
        let v6 = |bits: u128| IpAddr::V6(Ipv6Addr::from_bits(bits));
        assert_eq!(trie.score(v6(1), None), 0.0, "kept apart from IPv4");
        trie.insert(v6(1));
        assert_eq!(trie.score(v6(2), None), 1.0, "of one /64");
    }
}
