//! What an advertiser does with the answers it gets, hostile ones too.
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
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

const T: u64 = NOW * 1_000;

fn ticket(n: u8) -> Ticket {
    Ticket::from_bytes([n; Ticket::BYTES])
}

fn advertiser(peers: u8) -> (Advertiser, ChaCha8Rng) {
    let mut machine = Advertiser::new(key(1).did(), LocalAddresses::Count);
    machine.advertise(&Arc::new(sign(1, plain(1, "words"))));
    let peers: Vec<_> = (2..2 + peers)
        .map(|n| Peer::observed(key(n).did(), vec![], IpAddr::from([203, n, 113, 1])))
        .collect();
    machine.learn(&peers);
    (machine, ChaCha8Rng::seed_from_u64(1))
}

fn lease(machine: &mut Advertiser, now: u64) {
    let lease = Lease { nbf: now / 1_000, exp: now / 1_000 + 900, seq: now, ..plain_lease(1) };
    machine.set_lease(now, Arc::new(sign(1, lease)));
}

fn keys(sent: &[Sent]) -> Vec<Option<Ticket>> {
    let tickets = sent.iter().map(|s| match &s.request {
        Request::Register(registration) => registration.ticket,
        Request::Renew(_) => panic!("a lease"),
    });
    tickets.collect()
}

#[test]
fn three_a_bucket_and_no_more_in_flight_than_it_may() {
    let (mut machine, mut rng) = advertiser(200);
    assert!(machine.poll(T, &mut rng).is_empty(), "nothing without a lease");
    assert_eq!(machine.deadline(), u64::MAX);
    lease(&mut machine, T);
    let sent = machine.poll(T, &mut rng);
    let mut buckets: BTreeMap<usize, usize> = BTreeMap::new();
    for sent in &sent {
        let Request::Register(registration) = &sent.request else { panic!("no registration") };
        *buckets.entry(registration.key.bucket(sent.to.place())).or_default() += 1;
    }
    assert!(buckets.values().all(|n| *n <= REGISTRATIONS) && buckets[&0] == REGISTRATIONS);
    assert!(sent.len() <= ADVERTISER_IN_FLIGHT);
    assert!(machine.poll(T, &mut rng).is_empty());
}

#[test]
fn a_wait_of_nothing_is_kept_ten_seconds_and_one_for_ever_fifteen_minutes() {
    for (quoted, kept) in [(0, WAIT_FLOOR_MS), (20_000, 20_000), (u64::MAX, WAIT_CAP_MS)] {
        let (mut machine, mut rng) = advertiser(1);
        lease(&mut machine, T);
        let sent = machine.poll(T, &mut rng);
        assert_eq!(keys(&sent), [None]);
        let wait = Reply::Wait { ticket: ticket(1), wait_ms: quoted };
        machine.answered(T, sent[0].id, &wait, &[], &mut rng);
        assert!(machine.poll(T + kept - 1, &mut rng).is_empty());
        lease(&mut machine, T + kept);
        assert_eq!(keys(&machine.poll(T + kept, &mut rng)), [Some(ticket(1))]);
    }
}

#[test]
fn a_registrar_that_makes_it_wait_without_end_is_given_up() {
    let (mut machine, mut rng) = advertiser(1);
    let (mut now, mut asked) = (T, 0);
    lease(&mut machine, now);
    let mut sent = machine.poll(now, &mut rng);
    while let Some(one) = sent.pop() {
        asked += 1;
        machine.answered(now, one.id, &Reply::Wait { ticket: ticket(1), wait_ms: 300_000 }, &[], &mut rng);
        now += 300_000;
        lease(&mut machine, now);
        sent = machine.poll(now, &mut rng);
        if keys(&sent) == [None] {
            break;
        }
    }
    assert_eq!(asked, 5, "at 0, 300, 600, 900 and 1,200 s; then it begins anew");
}

#[test]
fn a_refusal_turns_it_to_another_and_the_refusing_one_is_left_alone() {
    let (mut machine, mut rng) = advertiser(1);
    lease(&mut machine, T);
    let sent = machine.poll(T, &mut rng);
    machine.answered(T, sent[0].id, &Reply::Refused(RegisterRefused::Full), &[], &mut rng);
    assert!(machine.poll(T + 1, &mut rng).is_empty());
    assert!(machine.poll(T + BACK_OFF_MS - 1, &mut rng).is_empty());
    assert_eq!(machine.poll(T + BACK_OFF_MS + ADVERTISER_IDLE_MS, &mut rng).len(), 1);
}

#[test]
fn a_place_is_renewed_in_its_last_third_and_a_hostile_one_cannot_make_it_hurry() {
    let (mut machine, mut rng) = advertiser(1);
    lease(&mut machine, T);
    let sent = machine.poll(T, &mut rng);
    machine.answered(T, sent[0].id, &Reply::Confirmed { for_ms: AD_TTL_MS }, &[], &mut rng);
    assert_eq!(machine.placed_at(T).values().sum::<usize>(), 1);
    lease(&mut machine, T + 450_000);
    let renewed = machine.poll(T + 450_000, &mut rng);
    assert!(matches!(renewed[..], [Sent { request: Request::Renew(_), .. }]), "one lease a registrar");
    machine.answered(T + 450_000, renewed[0].id, &Reply::Confirmed { for_ms: AD_TTL_MS }, &[], &mut rng);
    assert!(machine.poll(T + AD_TTL_MS - RENEWAL_MS - 1, &mut rng).is_empty());
    let sent = machine.poll(T + AD_TTL_MS - MIN_LIFE_MS, &mut rng);
    assert_eq!(keys(&sent), [None]);
    // A place that ends at once is not asked for at once.
    let now = T + AD_TTL_MS;
    lease(&mut machine, now);
    machine.answered(now, sent[0].id, &Reply::Confirmed { for_ms: 0 }, &[], &mut rng);
    assert!(machine.poll(now + WAIT_FLOOR_MS - 1, &mut rng).is_empty());
}

#[test]
fn a_registrar_that_forgot_it_is_registered_at_again() {
    let (mut machine, mut rng) = advertiser(1);
    lease(&mut machine, T);
    let sent = machine.poll(T, &mut rng);
    machine.answered(T, sent[0].id, &Reply::Confirmed { for_ms: AD_TTL_MS }, &[], &mut rng);
    lease(&mut machine, T + 100_000);
    let renewed = machine.poll(T + 100_000, &mut rng);
    let gone = Reply::Refused(RegisterRefused::NothingHere);
    machine.answered(T + 100_000, renewed[0].id, &gone, &[], &mut rng);
    assert_eq!(keys(&machine.poll(T + 100_000, &mut rng)), [None]);
}

#[test]
fn a_newer_descriptor_goes_to_every_place_at_once_and_a_withdrawn_one_nowhere() {
    let (mut machine, mut rng) = advertiser(1);
    lease(&mut machine, T);
    let sent = machine.poll(T, &mut rng);
    machine.answered(T, sent[0].id, &Reply::Confirmed { for_ms: AD_TTL_MS }, &[], &mut rng);
    let newer = sign(1, Descriptor { seq: 2, ..plain(1, "words") });
    machine.advertise(&Arc::new(newer.clone()));
    let sent = machine.poll(T + 1_000, &mut rng);
    let Request::Register(registration) = &sent[0].request else { panic!("no registration") };
    assert_eq!(registration.offer.descriptor, newer.bytes());
    machine.withdraw(&newer.payload().release);
    machine.answered(T + 1_000, sent[0].id, &Reply::Confirmed { for_ms: AD_TTL_MS }, &[], &mut rng);
    lease(&mut machine, T + 2_000);
    assert!(machine.poll(T + 600_000, &mut rng).is_empty());
}

#[test]
fn one_that_never_answers_is_turned_away_from() {
    let (mut machine, mut rng) = advertiser(1);
    lease(&mut machine, T);
    assert_eq!(machine.poll(T, &mut rng).len(), 1);
    let late = ANSWER_TIMEOUT_MS + PROOF_TIMEOUT_MS;
    assert!(machine.deadline() <= T + late);
    assert!(machine.poll(T + late, &mut rng).is_empty(), "it is left alone for a while");
}

#[test]
fn whoever_waits_when_a_newer_descriptor_comes_begins_again_with_that() {
    for while_asked in [false, true] {
        let (mut machine, mut rng) = advertiser(1);
        lease(&mut machine, T);
        let sent = machine.poll(T, &mut rng);
        let newer = Arc::new(sign(1, Descriptor { seq: 2, ..plain(1, "words") }));
        let wait = Reply::Wait { ticket: ticket(1), wait_ms: 100_000 };
        if while_asked {
            machine.advertise(&newer);
            machine.answered(T, sent[0].id, &wait, &[], &mut rng);
        } else {
            machine.answered(T, sent[0].id, &wait, &[], &mut rng);
            machine.advertise(&newer);
        }
        let sent = machine.poll(T + 100_000, &mut rng);
        assert_eq!(keys(&sent), [None]);
        let Request::Register(registration) = &sent[0].request else { panic!("no registration") };
        assert_eq!(registration.offer.descriptor, newer.bytes());
    }
}
