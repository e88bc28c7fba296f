//! What a registrar and a lookup refuse, one function a refusal, with its code; and how long one waits.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod common;

use actum_discovery::advertise::{limits::*, *};
use actum_model::*;
use common::*;
use proptest::prelude::*;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::net::IpAddr;

/// Milliseconds since the Unix epoch in these tests.
const T: u64 = NOW * 1_000;

struct Bench {
    registrar: Registrar,
    verifier: Verifier,
}

impl Bench {
    fn new() -> Self {
        let registrar = Registrar::new(Secret::from_bytes([9; 32]), LocalAddresses::Count);
        Self { registrar, verifier: Verifier::default() }
    }

    fn register(&mut self, now: u64, sender: u8, ip: &str, asked: &Registration) -> Registered {
        self.registrar.register(now, key(sender).did(), ip.parse().unwrap(), asked, &mut self.verifier)
    }

    /// Registers and proves what has to be proven.
    fn settle(&mut self, now: u64, sender: u8, ip: &str, asked: &Registration) -> Reply {
        match self.register(now, sender, ip, asked) {
            Registered::Reply(reply) => reply,
            Registered::Prove(challenge) => self.registrar.proved(now, challenge.id, Ok(())),
        }
    }

    fn drawn(&mut self, now: u64, key: &Key) -> Vec<Did> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let ads = self.registrar.get_ads(now, "198.51.100.1".parse().unwrap(), key, &mut rng).unwrap();
        ads.iter().map(Ad::provider).collect()
    }
}

fn tagged(provider: u8, name: &str) -> Descriptor {
    Descriptor { tags: vec!["text".to_owned()], ..plain(provider, name) }
}

fn asked(provider: u8, descriptor: Descriptor) -> Registration {
    Registration { key: Key::tag("text"), offer: offer(provider, descriptor), ticket: None }
}

fn code(reply: Reply) -> &'static str {
    match reply {
        Reply::Refused(refused) => refused.code(),
        other => panic!("not refused: {other:?}"),
    }
}

fn waits(reply: Reply) -> (Ticket, u64) {
    match reply {
        Reply::Wait { ticket, wait_ms } => (ticket, wait_ms),
        other => panic!("no wait: {other:?}"),
    }
}

fn confirmed(reply: Reply) -> u64 {
    match reply {
        Reply::Confirmed { for_ms } => for_ms,
        other => panic!("not confirmed: {other:?}"),
    }
}

#[test]
fn a_provider_that_left_is_given_out_no_more_and_comes_back_with_a_newer_lease() {
    let mut bench = Bench::new();
    let (ip, text) = ("198.51.100.7", Key::tag("text"));
    confirmed(bench.settle(T, 1, ip, &asked(1, tagged(1, "words"))));
    assert_eq!(bench.drawn(T, &text), [key(1).did()]);
    let tombstone = |release| Tombstone { iss: key(1).did(), release, seq: 1, nbf: NOW, exp: NOW + 3_600 };
    bench.registrar.left(&tombstone(Some(ReleaseId::of(b"words"))), T);
    assert_eq!(bench.drawn(T, &text).len(), 1, "one offer less is for the next lease to say");
    bench.registrar.left(&tombstone(None), T);
    assert_eq!(bench.drawn(T, &text), []);
    assert!(bench.registrar.is_empty());
    assert_eq!(code(bench.settle(T, 1, ip, &asked(1, tagged(1, "words")))), "taken-back");
    let lease = |seq| sign(1, Lease { seq, ..plain_lease(1) }).bytes().to_vec();
    let descriptor = asked(1, tagged(1, "words")).offer.descriptor;
    let again =
        Registration { offer: Offer { descriptor, lease: lease(2).into() }, ..asked(1, tagged(1, "words")) };
    confirmed(bench.settle(T, 1, ip, &again));
    assert_eq!(bench.drawn(T, &text), [key(1).did()]);
}

#[test]
fn an_ad_gets_its_place_only_once_its_component_is_shown() {
    let mut bench = Bench::new();
    let asked = asked(1, Descriptor { component_bytes: 10 << 20, ..tagged(1, "words") });
    let Registered::Prove(challenge) = bench.register(T, 1, "192.0.2.1", &asked) else { panic!("no proof") };
    assert!(challenge.index < 40 && challenge.provider == key(1).did());
    assert!(bench.drawn(T, &asked.key).is_empty());
    // A second registration meanwhile waits, and loses nothing by it.
    let (_, wait) = waits(bench.settle(T, 1, "192.0.2.1", &asked));
    assert_eq!(wait, WAIT_FLOOR_MS);
    let refused = bench.registrar.proved(T + 1, challenge.id, Err(ProofFailed::WrongChunk));
    assert_eq!(code(refused), "proof-wrong-chunk");
    // It cannot draw another chunk by trying again.
    let Registered::Prove(again) = bench.register(T + 2, 1, "192.0.2.1", &asked) else { panic!("no proof") };
    assert_eq!(again.index, challenge.index);
    assert_eq!(confirmed(bench.registrar.proved(T + 3, again.id, Ok(()))), AD_TTL_MS);
    assert_eq!(bench.drawn(T + 3, &asked.key), [key(1).did()]);
    assert_eq!(code(bench.registrar.proved(T + 4, again.id, Ok(()))), "proof-late");
    // Shown once, it is believed for its other keys too.
    let other = Registration { key: Key::component(&ComponentId::of(b"words")), ..asked };
    assert!(matches!(
        bench.register(T + 5, 1, "192.0.2.1", &other),
        Registered::Reply(Reply::Confirmed { .. })
    ));
}

#[test]
fn a_proof_that_takes_too_long() {
    let mut bench = Bench::new();
    let Registered::Prove(challenge) = bench.register(T, 1, "192.0.2.1", &asked(1, tagged(1, "words")))
    else {
        panic!("no proof")
    };
    assert_eq!(code(bench.registrar.proved(T + PROOF_TIMEOUT_MS, challenge.id, Ok(()))), "proof-late");
    assert!(bench.registrar.is_empty());
}

#[test]
fn silent_peers_of_one_prefix_do_not_use_up_all_proofs() {
    let mut bench = Bench::new();
    for provider in 1..=PROOFS_PER_PREFIX as u8 {
        let registered =
            bench.register(T, provider, "192.0.2.1", &asked(provider, tagged(provider, "words")));
        assert!(matches!(registered, Registered::Prove(_)));
    }
    waits(bench.settle(T, 20, "192.0.2.9", &asked(20, tagged(20, "words"))));
    assert!(matches!(
        bench.register(T, 21, "198.51.100.1", &asked(21, tagged(21, "words"))),
        Registered::Prove(_)
    ));
}

#[test]
fn an_offer_that_is_not_the_senders() {
    let mut bench = Bench::new();
    assert_eq!(code(bench.settle(T, 2, "192.0.2.1", &asked(1, tagged(1, "words")))), "not-the-provider");
}

#[test]
fn a_forged_offer() {
    let mut bench = Bench::new();
    let mut asked = asked(1, tagged(1, "words"));
    asked.offer.descriptor[70] ^= 1;
    assert_eq!(code(bench.settle(T, 1, "192.0.2.1", &asked)), "bad-envelope");
    let mut asked = self::asked(1, tagged(1, "words"));
    asked.offer.lease = sign(2, plain_lease(2)).bytes().to_vec().into();
    assert_eq!(code(bench.settle(T, 1, "192.0.2.1", &asked)), "two-providers");
    assert_eq!(bench.registrar.refused()["two-providers"], 1);
}

#[test]
fn a_key_that_is_not_the_offers() {
    let mut bench = Bench::new();
    for key in [Key::tag("other"), Key::interface("text"), Key::registries()] {
        let asked = Registration { key, ..asked(1, tagged(1, "words")) };
        assert_eq!(code(bench.settle(T, 1, "192.0.2.1", &asked)), "other-key");
    }
}

#[test]
fn a_registry_is_advertised_by_its_lease_alone() {
    let mut bench = Bench::new();
    let lease = sign(1, plain_lease(1)).bytes().to_vec();
    let offer = Offer { descriptor: vec![].into(), lease: lease.into() };
    let asked = Registration { key: Key::registries(), offer, ticket: None };
    assert_eq!(confirmed(bench.settle(T, 1, "192.0.2.1", &asked)), AD_TTL_MS);
    assert_eq!(bench.drawn(T, &Key::registries()), [key(1).did()]);
    let asked = Registration { key: Key::tag("text"), ..asked };
    assert_eq!(code(bench.settle(T, 1, "192.0.2.1", &asked)), "bad-envelope");
}

#[test]
fn an_old_lease_or_descriptor() {
    let mut bench = Bench::new();
    let asked = asked(1, tagged(1, "words"));
    assert_eq!(code(bench.settle(T + 600_000 - MIN_LIFE_MS + 1, 1, "192.0.2.1", &asked)), "ends-soon");
    assert_eq!(code(bench.settle(T + 600_000, 1, "192.0.2.1", &asked)), "expired");
    // The lease has moved on and covers this descriptor no longer.
    let mut asked = asked;
    let lease = Lease { descriptors_seq: 2, seq: 2, ..plain_lease(1) };
    asked.offer.lease = sign(1, lease).bytes().to_vec().into();
    assert_eq!(code(Bench::new().settle(T, 1, "192.0.2.1", &asked)), "not-covered");
}

#[test]
fn an_older_descriptor_and_a_release_with_another_component() {
    let mut bench = Bench::new();
    let newer = Descriptor { seq: 5, ..tagged(1, "words") };
    confirmed(bench.settle(T, 1, "192.0.2.1", &asked(1, newer.clone())));
    assert_eq!(code(bench.settle(T, 1, "192.0.2.1", &asked(1, tagged(1, "words")))), "older");
    let other = Descriptor { seq: 6, component: ComponentId::of(b"other"), ..newer };
    assert_eq!(code(bench.settle(T, 1, "192.0.2.1", &asked(1, other))), "other-component");
}

#[test]
fn a_newer_descriptor_takes_the_place_without_a_wait_and_without_gaining_time() {
    let mut bench = Bench::new();
    confirmed(bench.settle(T, 1, "192.0.2.1", &asked(1, tagged(1, "words"))));
    let newer = asked(1, Descriptor { seq: 2, ..tagged(1, "words") });
    assert_eq!(confirmed(bench.settle(T + 100_000, 1, "192.0.2.1", &newer)), AD_TTL_MS - 100_000);
    assert_eq!(bench.registrar.len(), 1);
}

#[test]
fn a_lease_keeps_all_ads_alive_and_without_one_they_end() {
    let mut bench = Bench::new();
    confirmed(bench.settle(T, 1, "192.0.2.1", &asked(1, tagged(1, "words"))));
    assert!(bench.drawn(T + 600_000, &Key::tag("text")).is_empty());
    let (did, ip) = (key(1).did(), "192.0.2.1".parse::<IpAddr>().unwrap());
    let lease = sign(1, Lease { seq: 2, exp: NOW + 900, ..plain_lease(1) });
    let renew = |bench: &mut Bench, now, by: Did| {
        bench.registrar.renew(now, by, ip, lease.bytes(), &mut bench.verifier)
    };
    assert_eq!(code(renew(&mut bench, T, key(2).did())), "not-the-provider");
    assert_eq!(confirmed(renew(&mut bench, T + 500_000, did)), 400_000);
    assert_eq!(bench.drawn(T + 899_999, &Key::tag("text")), [did]);
    assert!(bench.drawn(T + 900_000, &Key::tag("text")).is_empty());
    assert_eq!(code(renew(&mut bench, T + 900_000, did)), "expired");
    let (other, lease) =
        (key(2).did(), sign(2, Lease { nbf: NOW + 500, exp: NOW + 1_000, ..plain_lease(2) }));
    let reply = bench.registrar.renew(T + 900_001, other, ip, lease.bytes(), &mut bench.verifier);
    assert_eq!(code(reply), "nothing-here");
}

#[test]
fn a_ticket_of_another_key_advertiser_or_time() {
    let mut bench = Bench::new();
    // Somebody of the same address is here, so the next one waits.
    confirmed(bench.settle(T, 1, "192.0.2.1", &asked(1, tagged(1, "words"))));
    let plain = asked(2, Descriptor { tags: vec!["text".to_owned(), "b".to_owned()], ..tagged(2, "words") });
    let (ticket, wait) = waits(bench.settle(T, 2, "192.0.2.1", &plain));
    assert_eq!(wait, WAIT_CAP_MS);
    let with = |asked: &Registration, ticket| Registration { ticket: Some(ticket), ..asked.clone() };
    let at = T + 590_000;
    let lease = |provider: u8| {
        sign(provider, Lease { seq: 2, nbf: NOW + 500, exp: NOW + 1_400, ..plain_lease(provider) })
    };
    let mut fresh = plain.clone();
    fresh.offer.lease = lease(2).bytes().to_vec().into();
    assert_eq!(code(bench.settle(at, 2, "192.0.2.1", &with(&fresh, ticket))), "ticket-early");
    let late = T + wait + TICKET_WINDOW_MS + 1;
    assert_eq!(code(bench.settle(late, 2, "192.0.2.1", &with(&fresh, ticket))), "ticket-late");
    let other_key = Registration { key: Key::tag("b"), ..fresh.clone() };
    assert_eq!(code(bench.settle(T + wait, 2, "192.0.2.1", &with(&other_key, ticket))), "ticket-forged");
    let mut other = asked(3, tagged(3, "words"));
    other.offer.lease = lease(3).bytes().to_vec().into();
    assert_eq!(code(bench.settle(T + wait, 3, "192.0.2.1", &with(&other, ticket))), "ticket-forged");
    // In its time, for what it is, under a newer lease: it is good.
    let for_ms = confirmed(bench.settle(T + wait, 2, "192.0.2.1", &with(&fresh, ticket)));
    assert_eq!(for_ms, AD_TTL_MS);
    // Used again, it gains nothing: there is one place and its end is the same.
    assert_eq!(
        confirmed(bench.settle(T + wait + 5_000, 2, "192.0.2.1", &with(&fresh, ticket))),
        for_ms - 5_000
    );
    assert_eq!(bench.drawn(T + wait, &Key::tag("text")), [key(2).did()]);
}

/// A provider of ten capabilities with twelve keys each, all at one registrar: how many are in before the first ends.
#[test]
fn a_provider_waits_longer_the_more_ads_it_has_and_never_has_more_than_it_may() {
    let mut bench = Bench::new();
    let mut waiting: Vec<(u64, Registration)> = Vec::new();
    for n in 0..10 {
        let tags: Vec<_> = (0..12).map(|t| format!("{n}-{t}")).collect();
        let descriptor = Descriptor { tags: tags.clone(), ..plain(1, &format!("words-{n}")) };
        let mut offer = offer(1, descriptor);
        offer.lease = sign(1, Lease { exp: NOW + 900, ..plain_lease(1) }).bytes().to_vec().into();
        waiting.extend(
            tags.iter()
                .map(|tag| (T, Registration { key: Key::tag(tag), offer: offer.clone(), ticket: None })),
        );
    }
    let mut placed = Vec::new();
    for second in 0..830 {
        let now = T + second * 1_000;
        for (at, asked) in waiting.iter_mut().filter(|(at, _)| *at <= now) {
            match bench.settle(now, 1, "192.0.2.1", asked) {
                Reply::Confirmed { .. } => {
                    *at = u64::MAX;
                    placed.push(second);
                }
                Reply::Wait { ticket, wait_ms } => {
                    *at = now + wait_ms.next_multiple_of(1_000);
                    asked.ticket = Some(ticket);
                }
                Reply::Refused(refused) => assert_eq!(refused.code(), "too-many-ads"),
            }
        }
    }
    let by = |second| placed.iter().filter(|at| **at <= second).count();
    println!("of 120 ads of one provider, placed by 1, 60, 300 and 830 s: {:?}", [1, 60, 300, 830].map(by));
    assert!(by(60) >= 10 && by(830) >= 30);
    assert!(placed.len() <= ADS_PER_PROVIDER);
}

#[test]
fn too_many_of_one_key() {
    let mut bench = Bench::new();
    let mut now = T;
    for n in 0..=ADS_PER_PROVIDER_AND_KEY {
        let name = format!("words-{n}");
        let mut asked = asked(1, tagged(1, &name));
        let mut reply = bench.settle(now, 1, "192.0.2.1", &asked);
        if let Reply::Wait { ticket, wait_ms } = reply {
            now += wait_ms;
            asked.ticket = Some(ticket);
            reply = bench.settle(now, 1, "192.0.2.1", &asked);
        }
        if n < ADS_PER_PROVIDER_AND_KEY {
            confirmed(reply);
        } else {
            assert_eq!(code(reply), "too-many-of-key");
        }
    }
    assert_eq!(bench.drawn(now, &Key::tag("text")).len(), 1, "one provider is drawn once");
}

#[test]
fn whoever_asks_too_often_and_faults_cost_more() {
    let mut bench = Bench::new();
    let good = asked(1, tagged(1, "words"));
    for _ in 0..PROVIDER_BURST {
        assert!(!matches!(bench.settle(T, 1, "192.0.2.1", &good), Reply::Refused(_)));
    }
    assert_eq!(code(bench.settle(T, 1, "192.0.2.1", &good)), "too-fast");
    let mut faults = 0;
    while code(bench.settle(T, 2, "198.51.100.1", &good)) == "not-the-provider" {
        faults += 1;
    }
    assert_eq!(faults, PROVIDER_BURST.div_ceil(FAULT_COST + 1));
}

/// As many providers of as many keys, one after the other at once: how many get in without a wait, and how long the next
/// would have to wait.
fn crowd(ip: impl Fn(u32) -> u32) -> (u32, u64) {
    let mut bench = Bench::new();
    let (mut placed, mut longest) = (0, 0);
    for n in 0..700_u32 {
        let mut seed = [0; 32];
        seed[..4].copy_from_slice(&n.to_le_bytes());
        let secret = SecretKey::from_seed(&seed);
        let tag = format!("t{n}");
        let descriptor = Descriptor { iss: secret.did(), tags: vec![tag.clone()], ..plain(1, "words") };
        let offer = Offer {
            descriptor: Signed::sign(descriptor, &secret).bytes().to_vec().into(),
            lease: Signed::sign(Lease { iss: secret.did(), ..plain_lease(1) }, &secret)
                .bytes()
                .to_vec()
                .into(),
        };
        let asked = Registration { key: Key::tag(&tag), offer, ticket: None };
        let ip = IpAddr::V4(ip(n).into());
        let registered = bench.registrar.register(T, secret.did(), ip, &asked, &mut bench.verifier);
        let reply = match registered {
            Registered::Reply(reply) => reply,
            Registered::Prove(challenge) => bench.registrar.proved(T, challenge.id, Ok(())),
        };
        match reply {
            Reply::Confirmed { .. } => placed += 1,
            Reply::Wait { wait_ms, .. } => longest = longest.max(wait_ms),
            Reply::Refused(refused) => assert_eq!(refused.code(), "too-fast"),
        }
    }
    (placed, longest)
}

#[test]
fn one_prefix_does_not_fill_a_registrar_and_many_fill_it_slowly() {
    let one = crowd(|n| 0xc000_0200 | n & 0xff);
    let random = crowd(|n| n.wrapping_mul(0x9e37_79b9) ^ n.wrapping_mul(0x85eb_ca6b) >> 13);
    let spread = crowd(u32::reverse_bits);
    println!(
        "placed at once of 700, longest wait in ms: one /24 {one:?}, random {random:?}, spread evenly {spread:?}"
    );
    assert_eq!(one, (1, WAIT_CAP_MS));
    assert!(random.0 < 20, "{random:?}");
    // Somebody with the whole address space to choose from still leaves a third of it free.
    assert!(spread.0 < 650, "{spread:?}");
}

#[test]
fn an_answer_with_nothing_is_a_failure_and_a_forged_ad_ends_it() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut verifier = Verifier::default();
    let tag = Key::tag("text");
    let mut table = Table::new(tag, LocalAddresses::Count);
    let peer = |n: u8| Peer::observed(key(n).did(), vec![], IpAddr::from([203, n, 113, 1]));
    (1..=3).for_each(|n| assert_eq!(table.add(&peer(n)), Added::New));
    let mut lookup = Lookup::new(table, key(99).did(), LocalAddresses::Count);
    let asked = lookup.poll(T, &mut rng);
    assert_eq!(asked.len(), 3);
    let fault = |answered: Answered| answered.fault.unwrap().code();
    let (one, two, three) = (asked[0].did(), asked[1].did(), asked[2].did());
    assert_eq!(fault(lookup.answered(T, one, &Answer::default(), &mut verifier)), "empty-answer");
    assert_eq!(fault(lookup.answered(T, one, &Answer::default(), &mut verifier)), "unasked-answer");
    let good = offer(1, tagged(1, "words"));
    let mut forged = good.clone();
    forged.lease[80] ^= 1;
    let answer = Answer { ads: vec![good.clone(), forged, offer(2, tagged(2, "words"))], closer: vec![] };
    let answered = lookup.answered(T, two, &answer, &mut verifier);
    assert_eq!(answered.found.len(), 1, "what was verified before the forged one counts");
    assert_eq!(fault(answered), "bad-envelope");
    let answer = Answer { ads: vec![good; ANSWER_ADS + 1], closer: vec![] };
    assert_eq!(fault(lookup.answered(T, three, &answer, &mut verifier)), "too-many-ads");
    assert!(lookup.poll(T, &mut rng).is_empty() && lookup.is_done());
}

#[test]
fn dead_ads_are_left_out_and_nothing_is_verified_twice() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut verifier = Verifier::default();
    let tag = Key::tag("text");
    let mut table = Table::new(tag, LocalAddresses::Count);
    for n in 1..=2 {
        table.add(&Peer::observed(key(n).did(), vec![], IpAddr::from([203, n, 113, 1])));
    }
    let mut lookup = Lookup::new(table, key(99).did(), LocalAddresses::Count);
    let asked = lookup.poll(T, &mut rng);
    let answer =
        Answer { ads: vec![offer(1, tagged(1, "words")), offer(2, tagged(2, "words"))], closer: vec![] };
    let first = lookup.answered(T, asked[0].did(), &answer, &mut verifier);
    assert_eq!((first.found.len(), verifier.checked()), (2, 4));
    let second = lookup.answered(T, asked[1].did(), &answer, &mut verifier);
    assert_eq!((second.found.len(), verifier.checked()), (0, 4));
    assert!(second.fault.is_none());
    let ended = verifier.ad(&answer.ads[0], &tag, T + 600_000).unwrap_err();
    assert_eq!((ended.code(), ended.is_fault()), ("expired", false));
}

#[test]
fn a_table_keeps_two_of_a_prefix_and_lets_failed_ones_go() {
    let mut table = Table::new(Key::tag("text"), LocalAddresses::Count);
    let peer = |n: u8, ip: [u8; 4]| Peer::observed(key(n).did(), vec![], IpAddr::from(ip));
    let mut added: Vec<_> = (1..=60).map(|n| table.add(&peer(n, [203, 0, 113, n]))).collect();
    assert_eq!(added.iter().filter(|a| **a == Added::New).count(), table.len());
    assert!((0..BUCKETS).all(|b| table.in_bucket(b) <= TABLE_PER_PREFIX));
    added.extend((61..=160).map(|n| table.add(&peer(n, [n, 0, 113, n]))));
    assert_eq!(table.in_bucket(0), TABLE_BUCKET);
    assert!(added.contains(&Added::PrefixFull) && added.contains(&Added::BucketFull));
    // One that fails makes room.
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let failing = table.pick(0, T, &mut rng, |_| false).unwrap();
    table.failed(&failing, T);
    assert!(table.pick(0, T, &mut rng, |did| did != failing.did()).is_none(), "left alone for a while");
    assert!(table.pick(0, T + BACK_OFF_MS, &mut rng, |did| did != failing.did()).is_some());
    let replaced =
        (161..=255).map(|n| table.add(&peer(n, [n, 0, 113, n]))).filter(|a| *a == Added::Replaced).count();
    assert_eq!(replaced, 1);
}

proptest! {
    /// Whatever comes and goes in between, to ask again is never better than to have waited: as long as the key has ads and
    /// the address its prefix, a wait asked for later is shorter by no more than the time that passed.
    #[test]
    fn asking_again_is_never_better_than_waiting(events in prop::collection::vec((1u8..40, 0u64..40_000), 1..40)) {
        let mut bench = Bench::new();
        let ip = |n: u8| format!("{}.0.2.{n}", if n.is_multiple_of(3) { 192 } else { n });
        // Two that stay, so that the key and the prefix do.
        let long = |n: u8, now: u64| {
            let mut asked = asked(n, Descriptor { exp: NOW + 80_000, ..tagged(n, "words") });
            let lease = Lease { nbf: now / 1_000, exp: now / 1_000 + 900, seq: now, ..plain_lease(n) };
            asked.offer.lease = sign(n, lease).bytes().to_vec().into();
            asked
        };
        let mut now = T;
        bench.settle(now, 99, "192.0.2.99", &long(99, now));
        let mut before: Option<(u64, u64)> = None;
        for (n, later) in events {
            let (_, wait) = waits(bench.settle(now, 98, "192.0.2.98", &long(98, now)));
            if let Some((at, earlier)) = before {
                prop_assert!(wait + (now - at) + 1 >= earlier, "{earlier} ms at {at}, {wait} ms at {now}");
            }
            before = Some((now, wait));
            if now + later > T + AD_TTL_MS - 1_000 {
                break;
            }
            bench.settle(now, n, &ip(n), &long(n, now));
            now += later;
        }
    }
}
