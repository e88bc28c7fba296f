//! Who there is, what they do as registrars, and where keys and addresses come from.

use crate::Streams;
use actum_discovery::advertise::{Key, Peer, Place, Registrar};
use actum_model::SecretKey;
use std::net::{IpAddr, Ipv4Addr};

/// What a peer does when it is registrar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    /// What it should.
    Honest,
    /// Says it registers everything and gives out nothing. Names peers truthfully.
    Omits,
    /// Says it registers everything, gives out accomplices' ads, valid ones, and names accomplices only.
    Shills,
    /// Gives out what is forged, dead or of another key.
    Forges,
    /// Never answers.
    Silent,
}

/// A peer.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) secret: SecretKey,
    pub(super) peer: Peer,
    pub(super) conduct: Conduct,
    /// The numbers of the peers it knows.
    pub(super) routing: Box<[u32]>,
    /// Most hold nothing for a long time.
    pub(super) registrar: Option<Box<Registrar>>,
}

/// A secret key by its number.
pub fn secret(streams: Streams, n: u64) -> SecretKey {
    SecretKey::from_seed(&streams.bytes("key", n))
}

/// An address by its number, as a rule each of another /24.
pub fn anywhere(streams: Streams, n: u64) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits((streams.of("address", n).number() >> 32) as u32))
}

/// An address by its number, all of one /24.
pub fn in_one_prefix(n: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, n))
}

/// The secret keys nearest to a key, of so many made: the place of a key is known only once it is made, so grinding is making
/// many.
pub fn ground(streams: Streams, key: &Key, made: u64, nearest: usize) -> Vec<SecretKey> {
    let mut all: Vec<([u8; 32], u64)> = (0..made)
        .map(|n| {
            let place = Place::of(&ground_key(streams, n).did());
            let mut distance = *key.as_bytes();
            distance.iter_mut().zip(place.as_bytes()).for_each(|(a, b)| *a ^= b);
            (distance, n)
        })
        .collect();
    all.sort_unstable();
    all.into_iter().take(nearest).map(|(_, n)| ground_key(streams, n)).collect()
}

fn ground_key(streams: Streams, n: u64) -> SecretKey {
    SecretKey::from_seed(&streams.bytes("ground", n))
}
