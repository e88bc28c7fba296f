//! The advertise plane in virtual time: that the same seed is the same run, that nothing is lost on the way, what a small network
//! sends, and what it comes to among 100,000 peers.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use actum_discovery::advertise::{Key, limits::PROOF_TTL_MS};
use actum_sim::{
    Span,
    advertise::{Net, Setup, Traffic, Walk, made_up, popular, scale, scale_unless, traffic},
    profile::{Link, Profile},
    runs::NotRun,
};
use std::{collections::BTreeMap, sync::atomic::AtomicBool};

fn setup(link: Link) -> Setup {
    Setup::new(link, Profile::measured().unwrap().weighs)
}

fn small(seconds: u64, lease_seconds: u64) -> Traffic {
    let names = ["text-summary", "text-stats"];
    let releases = names.map(|name| made_up(name, &["text", "words", "count", name]).unwrap());
    Traffic {
        peers: 47,
        releases: releases.to_vec(),
        registries: 3,
        lease_seconds,
        warm_up_seconds: 0,
        seconds,
    }
}

#[test]
fn the_same_seed_is_the_same_run_and_another_is_another() {
    let link = Link { one_way: Span::from_millis(40), sigma: 0.4, loss: 0.01, bytes_per_second: 1_000_000 };
    let run = |seed| scale(setup(link), 300, 15, 20, seed);
    let (one, other) = (run(1), run(2));
    assert_eq!(one, run(1));
    assert_ne!(one, other);
    assert_eq!((one["wrong"], other["wrong"]), (0.0, 0.0));
    // One message in a hundred is lost, and asked again of somebody else.
    assert!(one["found"] >= 0.9 && other["found"] >= 0.9);
}

/// All that is counted is the advertise plane's, and nothing that comes goes uncounted: it would stay under way for ever.
#[test]
fn every_message_is_delivered_lost_or_under_way() {
    let link = Link { one_way: Span::from_millis(40), sigma: 0.4, loss: 0.05, bytes_per_second: 1_000_000 };
    let mut net = Net::new(setup(link), 7);
    net.join_honest(200);
    net.route();
    let release = made_up("words", &["text"]).unwrap();
    let providers: Vec<u32> =
        (0..20).map(|n| net.offer(n, std::slice::from_ref(&release)).unwrap()).collect();
    for _ in 0..200 {
        net.run(Span::from_millis(777));
        let carrier = net.carrier();
        let advertise = carrier.sent(actum_sim::Kind::Advertise);
        assert_eq!(carrier.messages(), advertise.messages);
        assert!(carrier.under_way() <= advertise.messages - advertise.lost);
        let bytes = net.bytes();
        assert_eq!(advertise.bytes, bytes.registrations + bytes.lookups + bytes.proofs);
    }
    let carrier = net.carrier();
    assert!(carrier.under_way() < 50, "{} of {} under way", carrier.under_way(), carrier.messages());
    assert!(carrier.messages() > 1_000 && net.bytes().proofs > 0);
    let looked = net.look_around(Key::tag("text"), 20);
    assert!(looked.iter().all(|l| !l.found.is_empty() && l.wrong == 0));
    assert!(providers.iter().all(|p| net.placed(*p).values().sum::<usize>() > 0));
}

/// What fifty nodes on one machine send: more where leases are renewed more often, less once all is in place; and proofs are
/// given once in six hours.
#[test]
fn a_small_network_sends_most_at_first() {
    let link = Profile::measured().unwrap().link;
    let say = |what: &str, figures: &BTreeMap<&str, f64>| println!("{what}: {figures:.1?}");
    let cold = traffic(setup(link), &small(120, 600), 1);
    say("the first two minutes, in a second by each of 50", &cold);
    let warm = traffic(setup(link), &Traffic { warm_up_seconds: 1_800, ..small(1_800, 600) }, 1);
    say("half an hour later", &warm);
    let hasty = traffic(setup(link), &Traffic { warm_up_seconds: 1_800, ..small(1_800, 120) }, 1);
    say("with leases of two minutes", &hasty);
    for figures in [&cold, &warm, &hasty] {
        assert_eq!(figures["bytes"], figures["registration_bytes"] + figures["lookup_bytes"]);
        assert!(figures["bytes"] > 0.0 && figures["placed"] > 20.0);
    }
    assert!(cold["bytes"] > 2.0 * warm["bytes"]);
    assert!(hasty["bytes"] > 1.2 * warm["bytes"]);
    assert!(PROOF_TTL_MS > 3_600_000 && cold["proof_bytes"] > 10.0 * warm["proof_bytes"]);
}

/// What a market takes a lookup to weigh and to take is what it does here, in networks that it was not measured in.
#[test]
fn a_lookup_costs_in_a_market_what_it_costs_here() {
    let near = Link { one_way: Span::from_millis(25), sigma: 0.4, loss: 0.0, bytes_per_second: 12_500_000 };
    let far = Link { one_way: Span::from_millis(80), sigma: 0.3, loss: 0.0, bytes_per_second: 1_250_000 };
    // How many peers, how many of them offer it, networks, and within what part.
    let all = [
        (20, 20, 30, near, 0.2),
        (50, 50, 10, far, 0.2),
        (100, 100, 6, near, 0.2),
        (200, 200, 2, far, 0.2),
        (100, 10, 8, near, 0.25),
        (300, 30, 3, near, 0.25),
    ];
    let mut missed = Vec::new();
    for (peers, providers, networks, link, within) in all {
        let setup = setup(link);
        let runs: Vec<_> =
            (0..networks).map(|seed| popular(setup, peers, providers, 40, 100 + seed)).collect();
        for (n, walk) in
            [Walk::of_what_many_offer(peers, providers), Walk::of_nothing(peers)].iter().enumerate()
        {
            let mean = |of: &dyn Fn(usize) -> f64| (0..runs.len()).map(of).sum::<f64>() / runs.len() as f64;
            let statements = mean(&|run| runs[run][n].statements);
            let taken = [
                ("bytes", walk.bytes(&setup.weighs, statements), mean(&|run| runs[run][n].bytes)),
                ("ms", walk.takes(link, &setup.weighs, statements).millis(), mean(&|run| runs[run][n].ms)),
                ("providers", walk.providers, mean(&|run| runs[run][n].walk.providers)),
            ];
            for (what, taken, here) in taken {
                let said = format!(
                    "{what} among {peers}, {providers} of whom offer it, {n}: {taken:.0}, here {here:.0}"
                );
                println!("{said}");
                missed.extend(((taken - here).abs() > within * here).then_some(said));
            }
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
    // In between and beyond it goes on, and among few it is little.
    let asked: Vec<f64> =
        [0, 1, 5, 10, 70, 700, 5_000, 100_000].map(|peers| Walk::of_nothing(peers).asked).into();
    assert!(asked.is_sorted() && asked[0] == 0.0 && asked[1] < 1.0 && asked[7] < 80.0, "{asked:?}");
    assert_eq!(Walk::of_what_many_offer(100, 3).providers, 3.0);
    assert_eq!(Walk::of_what_many_offer(100, 0).ads, 0.0);
}

#[test]
fn a_network_that_is_stopped_comes_to_nothing() {
    let link = Profile::measured().unwrap().link;
    let run = |stop| scale_unless(setup(link), 50, 5, 5, 1, &AtomicBool::new(stop));
    assert_eq!(run(true), Err(NotRun::Stopped));
    assert_eq!(run(false).unwrap(), scale(setup(link), 50, 5, 5, 1));
}
