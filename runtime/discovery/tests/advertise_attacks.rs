//! Attacks on the advertise plane, in virtual time, each with its figure: how many lookups find an honest provider. That no
//! forged, dead or foreign ad is ever taken is asserted in all of them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

mod virtual_network;

use actum_discovery::advertise::*;
use actum_sim::{
    Span, Streams,
    advertise::{Conduct, Net, anywhere, ground, in_one_prefix, made_up, secret, share},
};
use std::net::IpAddr;
use virtual_network::*;

const HONEST: u32 = 1_000;
/// How long attackers have the network for themselves: longer than an ad lives.
const HEAD_START: Span = Span::from_seconds(1_000);
/// How long the honest provider has before it is looked for.
const SETTLE: Span = Span::from_seconds(1_000);
const LOOKUPS: usize = 150;
/// Identities made to choose the nearest of.
const MADE: u64 = 100_000;
/// Where attackers' keys and addresses come from.
const THEIRS: Streams = Streams::new(77);

fn key() -> Key {
    Key::tag("text")
}

/// Addresses all of one /24.
fn one_prefix(n: u32) -> IpAddr {
    in_one_prefix((n % 256) as u8)
}

/// Addresses from all over, as a rule each of another /24.
fn many_prefixes(n: u32) -> IpAddr {
    anywhere(THEIRS, u64::from(n))
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
fn attack(net: &mut Net, registrants: &[u32], providers: u32) -> Outcome {
    let words = made_up("words", &["text"]).unwrap();
    net.lie_about(words.clone(), made_up("words", &["other"]).unwrap());
    net.route();
    for attacker in registrants {
        net.offer(*attacker, std::slice::from_ref(&words)).unwrap();
        net.run(Span::from_millis(60_000 / registrants.len().max(1) as u64));
    }
    net.run(HEAD_START);
    let honest: Vec<_> = (0..providers)
        .map(|n| (net.offer(n, std::slice::from_ref(&words)).unwrap(), net.did(n).unwrap()))
        .collect();
    net.run(SETTLE);
    let looked = net.look_around(key(), LOOKUPS);
    net.dig(true);
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
fn earlier(ip: impl Fn(u32) -> IpAddr) -> Outcome {
    let mut net = honest(HONEST, 10);
    let first: Vec<_> =
        (0..20).map(|n| net.join(secret(THEIRS, u64::from(n)), ip(n), Conduct::Honest)).collect();
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
    let outcome = earlier(many_prefixes);
    say("20 earlier registrants, many prefixes", &outcome);
    assert!(outcome.found >= 0.95);
}

/// Identities made to be near the key, that register themselves everywhere and as registrars name each other only.
fn ground_around(count: usize, ip: impl Fn(u32) -> IpAddr) -> Outcome {
    let mut net = honest(HONEST, 11);
    let attackers = (0..).zip(ground(THEIRS, &key(), MADE, count));
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
    let outcome = ground_around(20, many_prefixes);
    say("20 ground identities, many prefixes", &outcome);
    assert!(outcome.found >= 0.80);
}

#[test]
fn a_hundred_ground_identities_of_many_prefixes() {
    let outcome = ground_around(100, many_prefixes);
    say("100 ground identities, many prefixes", &outcome);
    assert!(outcome.found >= 0.80);
}

#[test]
fn a_thousand_ground_identities_of_many_prefixes() {
    let outcome = ground_around(1_000, many_prefixes);
    say("1,000 ground identities, many prefixes", &outcome);
    // As many attackers as there are others, for one provider: what is found is a fair draw, and it is not among them.
    assert!(outcome.found > 0.0);
}

#[test]
fn a_flood_of_valid_descriptors_from_one_prefix() {
    let mut net = honest(HONEST, 12);
    let flood: Vec<_> =
        (0..50).map(|n| net.join(secret(THEIRS, u64::from(n)), one_prefix(n), Conduct::Honest)).collect();
    net.route();
    for (n, attacker) in flood.iter().enumerate() {
        let tags: Vec<_> = (0..12).map(|t| format!("flood-{n}-{t}")).collect();
        let mut tags: Vec<_> = tags.iter().map(String::as_str).collect();
        tags.push("text");
        net.offer(*attacker, &[made_up(&format!("flood-{n}"), &tags).unwrap()]).unwrap();
        net.run(Span::from_seconds(1));
    }
    let outcome = attack(&mut net, &[], 1);
    say("50 providers of 14 keys each, one /24", &outcome);
    println!("refused: {:?}", net.refused());
    assert!(outcome.found >= 0.95);
}

/// A third of all peers, from all over, that do as registrars as `conduct` says.
fn a_third(conduct: Conduct, register: bool, providers: u32) -> Outcome {
    let mut net = honest(HONEST * 2 / 3, 13);
    let hostile: Vec<_> =
        (0..HONEST / 3).map(|n| net.join(secret(THEIRS, u64::from(n)), many_prefixes(n), conduct)).collect();
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
