//! The advertise plane at rest, in virtual time: that what is advertised is found, how fast, and at what cost, as the network
//! grows.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

mod common;

use actum_discovery::advertise::*;
use common::net::*;

struct Figures {
    found: f64,
    first_rtt: f64,
    all_rtt: f64,
    asked: u64,
    lookup_bytes: u64,
    /// Bytes a node sends in a minute, of registrations; a twentieth of the nodes are providers of two keys each.
    bytes_per_node: f64,
}

/// A twentieth of the peers provide something of their own, that nobody else has; some look for some of it.
fn at_rest(peers: usize, lookups: usize) -> Figures {
    let mut net = Net::new(peers, 1);
    net.route();
    let providers = peers / 20;
    let names: Vec<_> = (0..providers).map(|n| format!("capability-{n}")).collect();
    for (n, name) in names.iter().enumerate() {
        net.advertise(n, name, &[name]);
        net.run(600_000 / providers as u64);
    }
    net.run(600_000);
    let before = net.bytes;
    net.run(600_000);
    let bytes_per_node = (net.bytes - before) as f64 / peers as f64 / 10.0;
    let before = net.bytes;
    let mut all = Vec::new();
    for n in 0..lookups {
        let provider = n * 7 % providers;
        let looked = net.look_around(Key::tag(&names[provider]), 1).remove(0);
        all.push((*net.nodes[provider].peer.did(), looked));
    }
    let asking = all.iter().map(|(_, l)| l.took).sum::<u64>() as f64 / 60_000.0;
    let background = (bytes_per_node * peers as f64 * asking) as u64;
    let found: Vec<_> = all.iter().filter_map(|(did, l)| l.found.get(did).copied()).collect();
    assert!(all.iter().all(|(_, l)| l.wrong == 0));
    Figures {
        found: found.len() as f64 / lookups as f64,
        first_rtt: median(found) as f64 / (2 * ONE_WAY) as f64,
        all_rtt: median(all.iter().map(|(_, l)| l.took).collect()) as f64 / (2 * ONE_WAY) as f64,
        asked: median(all.iter().map(|(_, l)| l.asked as u64).collect()),
        lookup_bytes: (net.bytes - before).saturating_sub(background) / lookups as u64,
        bytes_per_node,
    }
}

/// The goal: found always; time and bytes flat, or growing as the logarithm of the number of peers.
#[test]
fn what_one_peer_offers_is_found_in_a_network_of_1_000_and_of_10_000() {
    let small = at_rest(1_000, 100);
    let large = at_rest(10_000, 30);
    for (peers, f) in [(1_000, &small), (10_000, &large)] {
        println!(
            "{peers} peers: found {:.0}%, first after {:.1} round trips, over after {:.1}, {} peers asked, {} bytes a \
             lookup; {:.0} bytes sent by each node in a minute for registrations",
            f.found * 100.0,
            f.first_rtt,
            f.all_rtt,
            f.asked,
            f.lookup_bytes,
            f.bytes_per_node,
        );
    }
    assert!(small.found >= 0.99 && large.found >= 0.99);
    // Ten times the peers are 3.3 more buckets that are not empty: one step nearer each, and three registrations.
    let doublings = 10_f64.log2();
    assert!(large.first_rtt - small.first_rtt <= 1.5 * doublings);
    assert!(large.all_rtt - small.all_rtt <= 1.5 * doublings);
    assert!(large.asked - small.asked <= (limits::LOOKUP_PEERS as f64 * 1.2 * doublings) as u64);
    assert!(large.bytes_per_node <= small.bytes_per_node * 1.6);
}

/// What many offer is found at the far peers, without coming near the few that are nearest.
#[test]
fn what_many_offer_is_found_in_a_few_round_trips() {
    let mut net = Net::new(1_000, 2);
    net.route();
    for n in 0..200 {
        net.advertise(n, "words", &["text"]);
        net.run(1_000);
    }
    net.run(1_200_000);
    let looked = net.look_around(Key::tag("text"), 100);
    let first = median(looked.iter().filter_map(|l| l.found.values().min().copied()).collect());
    let providers = median(looked.iter().map(|l| l.found.len() as u64).collect());
    let asked = median(looked.iter().map(|l| l.asked as u64).collect());
    println!("200 providers of one key: first after {first} ms, {providers} providers from {asked} peers");
    assert!(looked.iter().all(|l| l.found.len() >= 30 && l.wrong == 0));
    assert!(first <= 4 * ONE_WAY);
    let mut each = std::collections::BTreeSet::new();
    looked.iter().for_each(|l| each.extend(l.found.keys().copied()));
    println!("of the 200, {} were found by one lookup or another", each.len());
    assert!(each.len() >= 190);
}

/// A network of twenty, where everybody is registrar of everything.
#[test]
fn in_a_network_of_twenty_everything_is_found() {
    let mut net = Net::new(20, 3);
    net.route();
    for n in 0..20 {
        net.advertise(n, &format!("capability-{n}"), &["text", &format!("tag-{n}")]);
    }
    net.run(180_000);
    let soon = (0..20).filter(|n| {
        let did = *net.nodes[*n].peer.did();
        share(&net.look_around(Key::tag(&format!("tag-{n}")), 3), &[did]) == 1.0
    });
    let soon = soon.count();
    net.run(1_800_000);
    let looked = net.look_around(Key::tag("text"), 20);
    let shared: Vec<_> = looked.iter().map(|l| l.found.len() as u64).collect();
    println!(
        "twenty peers: {soon} of 20 own tags found after three minutes; of the tag all have, {} found",
        median(shared)
    );
    assert_eq!(soon, 20);
    assert!(looked.iter().all(|l| l.found.len() >= 18));
}
