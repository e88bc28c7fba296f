//! The advertise plane at rest, in virtual time: that what is advertised is found, how fast, and at what cost, as the network
//! grows.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

mod virtual_network;

use actum_discovery::advertise::*;
use actum_sim::{
    Span,
    advertise::{made_up, scale, share},
};
use std::collections::BTreeSet;
use virtual_network::*;

/// A twentieth of the peers provide something of their own, that nobody else has; some look for some of it. The goal: found
/// always; time and bytes flat, or growing as the logarithm of the number of peers.
#[test]
fn what_one_peer_offers_is_found_in_a_network_of_1_000_and_of_10_000() {
    let small = scale(steady(), 1_000, 50, 100, 1);
    let large = scale(steady(), 10_000, 500, 30, 1);
    for (peers, f) in [(1_000, &small), (10_000, &large)] {
        println!(
            "{peers} peers: found {:.0}%, first after {:.1} round trips, over after {:.1}, {} peers asked, {:.0} bytes a \
             lookup; {:.0} bytes sent by each node in a minute for registrations",
            f["found"] * 100.0,
            f["first_round_trips"],
            f["round_trips"],
            f["asked"],
            f["lookup_bytes"],
            f["registration_bytes"],
        );
        assert_eq!(f["wrong"], 0.0);
    }
    assert!(small["found"] >= 0.99 && large["found"] >= 0.99);
    // Ten times the peers are 3.3 more buckets that are not empty: one step nearer each, and three registrations.
    let doublings = 10_f64.log2();
    assert!(large["first_round_trips"] - small["first_round_trips"] <= 1.5 * doublings);
    assert!(large["round_trips"] - small["round_trips"] <= 1.5 * doublings);
    assert!(large["asked"] - small["asked"] <= (limits::LOOKUP_PEERS as f64 * 1.2 * doublings).floor());
    assert!(large["registration_bytes"] <= small["registration_bytes"] * 1.6);
}

/// What many offer is found at the far peers, without coming near the few that are nearest.
#[test]
fn what_many_offer_is_found_in_a_few_round_trips() {
    let mut net = honest(1_000, 2);
    net.route();
    let words = made_up("words", &["text"]).unwrap();
    for n in 0..200 {
        net.offer(n, std::slice::from_ref(&words)).unwrap();
        net.run(Span::from_seconds(1));
    }
    net.run(Span::from_seconds(1_200));
    let looked = net.look_around(Key::tag("text"), 100);
    let first =
        median(looked.iter().filter_map(|l| l.found.values().min().map(|span| span.micros())).collect());
    let providers = median(looked.iter().map(|l| l.found.len() as u64).collect());
    let asked = median(looked.iter().map(|l| l.asked as u64).collect());
    println!("200 providers of one key: first after {first} µs, {providers} providers from {asked} peers");
    assert!(looked.iter().all(|l| l.found.len() >= 30 && l.wrong == 0));
    assert!(first <= 4 * ONE_WAY.micros());
    let each: BTreeSet<_> = looked.iter().flat_map(|l| l.found.keys().copied()).collect();
    println!("of the 200, {} were found by one lookup or another", each.len());
    assert!(each.len() >= 190);
}

/// A network of twenty, where everybody is registrar of everything.
#[test]
fn in_a_network_of_twenty_everything_is_found() {
    let mut net = honest(20, 3);
    net.route();
    for n in 0..20 {
        let release = made_up(&format!("capability-{n}"), &["text", &format!("tag-{n}")]).unwrap();
        net.offer(n, &[release]).unwrap();
    }
    net.run(Span::from_seconds(180));
    let soon = (0..20).filter(|n| {
        let did = net.did(*n).unwrap();
        share(&net.look_around(Key::tag(&format!("tag-{n}")), 3), &[did]) == 1.0
    });
    let soon = soon.count();
    net.run(Span::from_seconds(1_800));
    let looked = net.look_around(Key::tag("text"), 20);
    let shared: Vec<_> = looked.iter().map(|l| l.found.len() as u64).collect();
    println!(
        "twenty peers: {soon} of 20 own tags found after three minutes; of the tag all have, {} found",
        median(shared)
    );
    assert_eq!(soon, 20);
    assert!(looked.iter().all(|l| l.found.len() >= 18));
}
