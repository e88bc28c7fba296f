//! Attacks on the advertise plane, in virtual time, each with its figure: how many lookups find an honest provider. That no
//! forged, dead or foreign ad is ever taken is asserted in all of them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

mod common;

use actum_discovery::advertise::*;
use common::net::*;
use std::net::IpAddr;

const HONEST: usize = 1_000;
/// How long attackers have the network for themselves, in milliseconds: longer than an ad lives.
const HEAD_START: u64 = 1_000_000;
/// How long the honest provider has before it is looked for.
const SETTLE: u64 = 1_000_000;
const LOOKUPS: usize = 150;

fn key() -> Key {
    Key::tag("text")
}

struct Outcome {
    found: f64,
    /// The same of lookups that go on when they have enough.
    dug: f64,
    /// Of the providers found, those that are honest.
    honest: f64,
    placed: usize,
}

/// Lets attackers register first, if they do, then honest providers, and then others look.
fn attack(net: &mut Net, registrants: &[usize], providers: usize) -> Outcome {
    net.route();
    for attacker in registrants {
        net.advertise(*attacker, "words", &["text"]);
        net.run(60_000 / registrants.len().max(1) as u64);
    }
    net.run(HEAD_START);
    let honest: Vec<_> =
        (0..providers).map(|n| (net.advertise(n, "words", &["text"]), *net.nodes[n].peer.did())).collect();
    net.run(SETTLE);
    let looked = net.look_around(key(), LOOKUPS);
    net.dig = true;
    let dug = net.look_around(key(), LOOKUPS);
    assert!(looked.iter().chain(&dug).all(|l| l.wrong == 0), "a forged, dead or foreign ad was taken");
    let dids: Vec<_> = honest.iter().map(|(_, did)| *did).collect();
    let all: usize = looked.iter().map(|l| l.found.len()).sum();
    let good: usize =
        looked.iter().map(|l| dids.iter().filter(|did| l.found.contains_key(did)).count()).sum();
    Outcome {
        found: share(&looked, &dids),
        dug: share(&dug, &dids),
        honest: good as f64 / all.max(1) as f64,
        placed: net.placed(honest[0].0).get(&key()).copied().unwrap_or(0),
    }
}

fn say(what: &str, outcome: &Outcome) {
    println!(
        "{what}: found in {:.1}% of lookups, {:.1}% of those that dig; {:.1}% of all found are honest; {} places",
        outcome.found * 100.0,
        outcome.dug * 100.0,
        outcome.honest * 100.0,
        outcome.placed
    );
}

/// Twenty who registered first, and otherwise do as they should.
fn earlier(ip: impl Fn(usize) -> IpAddr) -> Outcome {
    let mut net = Net::new(HONEST, 10);
    let first: Vec<_> = (0..20).map(|n| net.join(secret(500 + n as u64), ip(n), Conduct::Honest)).collect();
    attack(&mut net, &first, 1)
}

#[test]
fn twenty_earlier_registrants_of_one_prefix_hide_nobody() {
    let outcome = earlier(one_prefix);
    say("20 earlier registrants, one /24", &outcome);
    assert!(outcome.found >= 0.95);
}

#[test]
fn twenty_earlier_registrants_of_many_prefixes_hide_nobody() {
    let outcome = earlier(|n| many_prefixes(100_000 + n));
    say("20 earlier registrants, many prefixes", &outcome);
    assert!(outcome.found >= 0.95);
}

/// Identities made to be near the key, that register themselves everywhere and as registrars name each other only.
fn ground_around(count: usize, ip: impl Fn(usize) -> IpAddr) -> Outcome {
    let mut net = Net::new(HONEST, 11);
    let attackers = ground(&key(), count).into_iter().enumerate();
    let attackers: Vec<_> = attackers.map(|(n, secret)| net.join(secret, ip(n), Conduct::Shills)).collect();
    attack(&mut net, &attackers, 1)
}

#[test]
fn twenty_ground_identities_of_one_prefix_hide_nobody() {
    let outcome = ground_around(20, one_prefix);
    say("20 ground identities, one /24", &outcome);
    assert!(outcome.found >= 0.95);
}

#[test]
fn a_hundred_ground_identities_of_one_prefix_hide_nobody() {
    let outcome = ground_around(100, one_prefix);
    say("100 ground identities, one /24", &outcome);
    assert!(outcome.found >= 0.95);
}

#[test]
fn a_thousand_ground_identities_of_one_prefix_hide_nobody() {
    let outcome = ground_around(1_000, one_prefix);
    say("1,000 ground identities, one /24", &outcome);
    assert!(outcome.found >= 0.95);
}

#[test]
fn twenty_ground_identities_of_many_prefixes() {
    let outcome = ground_around(20, |n| many_prefixes(100_000 + n));
    say("20 ground identities, many prefixes", &outcome);
    assert!(outcome.found >= 0.80);
}

#[test]
fn a_hundred_ground_identities_of_many_prefixes() {
    let outcome = ground_around(100, |n| many_prefixes(100_000 + n));
    say("100 ground identities, many prefixes", &outcome);
    assert!(outcome.found >= 0.80);
}

#[test]
fn a_thousand_ground_identities_of_many_prefixes() {
    let outcome = ground_around(1_000, |n| many_prefixes(100_000 + n));
    say("1,000 ground identities, many prefixes", &outcome);
    // As many attackers as there are others, for one provider: what is found is a fair draw, and it is not among them.
    assert!(outcome.found > 0.0);
}

#[test]
fn a_flood_of_valid_descriptors_from_one_prefix() {
    let mut net = Net::new(HONEST, 12);
    let flood: Vec<_> =
        (0..50).map(|n| net.join(secret(500 + n as u64), one_prefix(n), Conduct::Honest)).collect();
    net.route();
    for (n, attacker) in flood.iter().enumerate() {
        let tags: Vec<_> = (0..12).map(|t| format!("flood-{n}-{t}")).collect();
        let mut tags: Vec<_> = tags.iter().map(String::as_str).collect();
        tags.push("text");
        net.advertise(*attacker, &format!("flood-{n}"), &tags);
        net.run(1_000);
    }
    let outcome = attack(&mut net, &[], 1);
    say("50 providers of 14 keys each, one /24", &outcome);
    println!("refused: {:?}", net.refused);
    assert!(outcome.found >= 0.95);
}

/// A third of all peers, from all over, that do as registrars as `conduct` says.
fn a_third(conduct: Conduct, register: bool, providers: usize) -> Outcome {
    let mut net = Net::new(HONEST * 2 / 3, 13);
    let hostile = anybody(HONEST / 3, 5_000).into_iter().enumerate();
    let hostile: Vec<_> =
        hostile.map(|(n, secret)| net.join(secret, many_prefixes(100_000 + n), conduct)).collect();
    attack(&mut net, if register { &hostile } else { &[] }, providers)
}

#[test]
fn a_third_of_all_registrars_that_omit_all_ads() {
    let outcome = a_third(Conduct::Omits, false, 1);
    say("a third omits", &outcome);
    assert!(outcome.found >= 0.95);
}

#[test]
fn a_third_of_all_registrars_that_never_answer() {
    let outcome = a_third(Conduct::Silent, false, 1);
    say("a third is silent", &outcome);
    assert!(outcome.found >= 0.95);
}

#[test]
fn a_third_of_all_registrars_that_forge() {
    let outcome = a_third(Conduct::Forges, false, 1);
    say("a third forges", &outcome);
    assert!(outcome.found >= 0.95);
    assert_eq!(outcome.honest, 1.0);
}

#[test]
fn a_third_of_all_registrars_that_answer_with_accomplices_only() {
    let outcome = a_third(Conduct::Shills, false, 1);
    say("a third answers with accomplices only", &outcome);
    assert!(outcome.found >= 0.80);
}

#[test]
fn a_third_of_all_peers_that_do_all_of_it_against_providers_a_twentieth_as_many() {
    let outcome = a_third(Conduct::Shills, true, 33);
    say("a third lies and registers, 33 honest providers", &outcome);
    assert!(outcome.found >= 0.80);
}

#[test]
fn a_third_of_all_peers_that_do_all_of_it_against_one_provider() {
    let outcome = a_third(Conduct::Shills, true, 1);
    say("a third lies and registers, 1 honest provider", &outcome);
    // 333 providers of the key against one: no fair draw finds it in most lookups. A floor, not a goal.
    assert!(outcome.found > 0.1 && outcome.dug > 0.3);
}
