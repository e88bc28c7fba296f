//! The simulator's network of the advertise plane, as the tests here set it up.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test binary uses its own share of these"
)]

use actum_sim::{
    Span,
    advertise::{Net, Setup},
    profile::{Link, Profile},
};

/// The time a message takes; a round trip is twice that.
pub const ONE_WAY: Span = Span::from_millis(50);

/// Every message takes as long and comes.
pub fn steady() -> Setup {
    let link = Link { one_way: ONE_WAY, sigma: 0.0, loss: 0.0, bytes_per_second: u64::MAX };
    Setup::new(link, Profile::measured().unwrap().weighs)
}

/// So many honest peers, from all over. Routing tables are still to be made.
pub fn honest(peers: u32, seed: u64) -> Net {
    let mut net = Net::new(steady(), seed);
    net.join_honest(peers);
    net
}

/// The median of some numbers.
pub fn median(mut numbers: Vec<u64>) -> u64 {
    numbers.sort_unstable();
    numbers.get(numbers.len() / 2).copied().unwrap_or(0)
}
