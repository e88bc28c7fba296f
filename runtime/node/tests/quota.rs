//! Quotas: never more than the limit in any minute, and no later again than need be.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use actum_model::{DelegationId, Did, SecretKey, run::Use};
use actum_node::quota::*;
use proptest::prelude::*;
use std::{collections::BTreeMap, time::Duration};

fn did(n: u8) -> Did {
    SecretKey::from_seed(&[n; 32]).did()
}

fn id(n: u32) -> DelegationId {
    DelegationId::of(&n.to_be_bytes())
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn ceiling(fuel: u64, bytes: u64) -> Ceiling {
    Ceiling { fuel, bytes }
}

/// Quotas of a requester, and of all: fuel, bytes, actions in flight.
fn quotas(one: (u64, u64, u32), all: (u64, u64, Option<u32>)) -> Quotas {
    let quota = |fuel, bytes, in_flight| Quota {
        in_flight,
        fuel_per_minute: Some(fuel),
        bytes_per_minute: Some(bytes),
    };
    let config =
        QuotaConfig { per_requester: quota(one.0, one.1, Some(one.2)), total: quota(all.0, all.1, all.2) };
    Quotas::new(&config)
}

#[test]
fn the_defaults_are_the_named_ones_and_unknown_keys_are_refused() {
    let config: QuotaConfig = toml::from_str("[per_requester]\nin_flight = 4").unwrap();
    assert_eq!(config.per_requester, Quota { in_flight: Some(4), ..Quota::default() });
    assert_eq!(config.total, Quota::default());
    for wrong in ["[requester]", "[total]\nfuel = 1", "[total]\nin_flight = -1"] {
        assert!(toml::from_str::<QuotaConfig>(wrong).is_err(), "{wrong}");
    }

    let quotas = Quotas::new(&QuotaConfig::default());
    let refused = |fuel, bytes| quotas.admit(&did(1), ceiling(fuel, bytes), ms(0)).unwrap_err();
    assert_eq!(refused(REQUESTER_FUEL + 1, 0).what, QuotaName::RequesterFuel);
    assert_eq!(refused(0, REQUESTER_BYTES + 1).what, QuotaName::RequesterBytes);
    let tickets: Vec<_> =
        (0..REQUESTER_IN_FLIGHT).map(|_| quotas.admit(&did(1), ceiling(1, 1), ms(0)).unwrap()).collect();
    assert_eq!(refused(1, 1).what, QuotaName::RequesterInFlight);
    drop(tickets);
    for n in 10..14 {
        quotas
            .admit(&did(n), ceiling(REQUESTER_FUEL, REQUESTER_BYTES), ms(100_000))
            .unwrap()
            .settle(ceiling(REQUESTER_FUEL, REQUESTER_BYTES));
    }
    let full = |fuel, bytes| quotas.admit(&did(1), ceiling(fuel, bytes), ms(100_000)).unwrap_err();
    assert_eq!((full(1, 0).what, full(1, 0).limit), (QuotaName::TotalFuel, TOTAL_FUEL));
    assert_eq!((full(0, 1).what, full(0, 1).limit), (QuotaName::TotalBytes, TOTAL_BYTES));
}

#[test]
fn too_many_in_flight_is_not_a_matter_of_time() {
    let quotas = quotas((1_000, 1_000, 2), (10_000, 10_000, Some(3)));
    let admit = |n| quotas.admit(&did(n), ceiling(1, 1), ms(0));
    let (a, b) = (admit(1).unwrap(), admit(1).unwrap());
    let no = admit(1).unwrap_err();
    let wanted =
        Exhausted { what: QuotaName::RequesterInFlight, limit: 2, used: 2, asked: 1, retry_after: None };
    assert_eq!(no, wanted);
    assert!(no.to_string().contains("requester-in-flight"), "{no}");
    let c = admit(2).unwrap();
    assert_eq!(admit(3).unwrap_err().what, QuotaName::TotalInFlight);
    a.settle(ceiling(1, 1));
    drop(b);
    let (d, e) = (admit(1).unwrap(), admit(3).unwrap());
    assert_eq!(admit(4).unwrap_err().what, QuotaName::TotalInFlight);
    drop((c, d, e));
    assert!(admit(4).is_ok());
}

#[test]
fn what_was_not_used_is_given_back_and_what_is_never_settled_counts() {
    let quotas = quotas((100, 1_000, 9), (10_000, 10_000, None));
    let admit = |fuel| quotas.admit(&did(1), ceiling(fuel, 1), ms(500));
    admit(80).unwrap().settle(ceiling(30, 1));
    assert_eq!(admit(71).unwrap_err().used, 30);
    drop(admit(60).unwrap());
    let no = admit(11).unwrap_err();
    assert_eq!((no.used, no.retry_after), (90, Some(ms(60_500))));
    admit(10).unwrap().settle(ceiling(25, 1));
    assert_eq!(admit(1).unwrap_err().used, 115, "more than was reserved counts too");
}

#[test]
fn what_is_over_a_limit_by_itself_never_fits() {
    let quotas = quotas((100, 1_000, 9), (50, 10_000, None));
    drop(quotas.admit(&did(1), ceiling(10, 999), ms(0)).unwrap());
    let no = quotas.admit(&did(1), ceiling(60, 1), ms(0)).unwrap_err();
    assert_eq!((no.what, no.retry_after), (QuotaName::TotalFuel, None));
    // The longest of several waits is told: the bytes are free again later than the fuel.
    drop(quotas.admit(&did(2), ceiling(40, 0), ms(0)).unwrap());
    let no = quotas.admit(&did(1), ceiling(u64::MAX, u64::MAX), ms(0)).unwrap_err();
    assert_eq!(no.retry_after, None);
    let no = quotas.admit(&did(2), ceiling(20, 1), ms(30_000)).unwrap_err();
    assert_eq!((no.what, no.used, no.retry_after), (QuotaName::TotalFuel, 50, Some(ms(31_000))));
}

#[test]
fn a_clock_that_goes_back_stands_still() {
    let quotas = quotas((100, 1_000, 9), (10_000, 10_000, None));
    drop(quotas.admit(&did(1), ceiling(100, 1), ms(100_000)).unwrap());
    let no = quotas.admit(&did(1), ceiling(1, 1), ms(0)).unwrap_err();
    assert_eq!(no.retry_after, Some(ms(61_000)));
    assert!(quotas.admit(&did(1), ceiling(1, 1), ms(161_000)).is_ok());
}

#[test]
fn a_bounded_number_of_requesters_is_remembered_and_idle_ones_are_forgotten() {
    let quotas = quotas((100, 100, 9), (u64::MAX, u64::MAX, None));
    let many: Vec<Did> = (0..=MAX_REQUESTERS as u32)
        .map(|n| {
            let mut seed = [7; 32];
            seed[..4].copy_from_slice(&n.to_be_bytes());
            SecretKey::from_seed(&seed).did()
        })
        .collect();
    let (last, rest) = many.split_last().unwrap();
    let running = quotas.admit(&rest[0], ceiling(1, 1), ms(0)).unwrap();
    for did in &rest[1..] {
        drop(quotas.admit(did, ceiling(1, 1), ms(5_000)).unwrap());
    }
    let no = quotas.admit(last, ceiling(1, 1), ms(5_250)).unwrap_err();
    assert_eq!((no.what, no.limit), (QuotaName::Requesters, MAX_REQUESTERS as u64));
    assert_eq!(no.retry_after, Some(ms(60_750)));
    assert!(quotas.admit(&rest[5], ceiling(1, 1), ms(5_250)).is_ok(), "one that is remembered");
    assert!(quotas.admit(last, ceiling(1, 1), ms(65_999)).is_err());
    assert!(quotas.admit(last, ceiling(1, 1), ms(66_000)).is_ok());
    for n in 0..MAX_REQUESTERS as u64 {
        drop(quotas.admit(last, ceiling(0, 0), ms(200_000 + n)).unwrap());
    }
    assert_eq!(quotas.remembered(), 2, "the one that runs and the one that came last");
    drop(running);
    drop(quotas.admit(last, ceiling(0, 0), ms(300_000)).unwrap());
    assert_eq!(quotas.remembered(), 1);
}

#[test]
fn a_bounded_number_of_delegations_is_remembered() {
    let minutes = Minutes::new();
    let take = |n, now| minutes.reserve(&[id(n)], 1, ms(now), |_| Ok::<_, ()>(()));
    for n in 0..MAX_DELEGATIONS as u32 {
        drop(take(n, 0).unwrap());
    }
    let Err(NotReserved::Full(no)) = take(u32::MAX, 250) else { panic!("it was taken") };
    assert_eq!((no.what, no.retry_after), (QuotaName::Delegations, Some(ms(60_750))));
    assert!(take(7, 250).is_ok(), "one that is remembered");
    assert!(take(u32::MAX, 61_000).is_ok());
}

#[test]
fn a_minute_is_judged_with_the_action_and_a_refusal_counts_nothing() {
    let minutes = Minutes::new();
    let reserve = |ids: &[DelegationId], fuel, now| {
        let mut seen = Vec::new();
        let ticket = minutes.reserve(ids, fuel, ms(now), |uses| {
            seen = uses.to_vec();
            if uses.iter().all(|u| u.actions <= 3) { Ok(()) } else { Err(()) }
        });
        (ticket, seen)
    };
    let with = |actions, fuel| Use { actions, fuel };
    let (first, seen) = reserve(&[id(1), id(2), id(1)], 10, 0);
    assert_eq!(seen, [with(1, 10); 3]);
    let (second, seen) = reserve(&[id(1)], 10, 30_000);
    assert_eq!(seen, [with(2, 20)]);
    first.unwrap().settle(4);
    assert_eq!(minutes.uses(&id(1), ms(30_000)), with(2, 14));
    assert_eq!(minutes.uses(&id(2), ms(30_000)), with(1, 4));
    let _ = reserve(&[id(1)], 10, 40_000).0.unwrap();
    assert_eq!(reserve(&[id(1)], 10, 40_000).0.unwrap_err(), NotReserved::Refused(()));
    assert_eq!(minutes.uses(&id(1), ms(40_000)), with(3, 24));
    second.unwrap().take_back();
    assert_eq!(minutes.uses(&id(1), ms(40_000)), with(2, 14));
    assert_eq!(minutes.uses(&id(1), ms(61_000)), with(1, 10));
    assert_eq!(minutes.uses(&id(9), ms(61_000)), Use::default());
}

/// What an action did once it was admitted.
#[derive(Clone, Copy, Debug)]
enum End {
    /// It used this part of what was reserved, in percent.
    Settled(u64),
    /// It was lost.
    Dropped,
    /// It goes on.
    Running,
}

/// Milliseconds since the one before; who; fuel; bytes; what became of it.
type Step = (u64, u8, u64, u64, End);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let end = prop_oneof![(0..=100_u64).prop_map(End::Settled), Just(End::Dropped), Just(End::Running)];
    let pause = prop_oneof![0..200_u64, 0..5_000_u64, 50_000..70_000_u64];
    prop::collection::vec((pause, 0..3_u8, 0..120_u64, 0..120_u64, end), 1..80)
}

/// One action as it counts.
#[derive(Clone, Copy, Debug)]
struct Counted {
    at: u64,
    who: u8,
    fuel: u64,
    bytes: u64,
}

/// What counts in the `span` milliseconds up to and with `now`.
fn sums(log: &[Counted], now: u64, span: u64, who: Option<u8>) -> (u64, u64) {
    let within = log.iter().filter(|c| c.at + span > now && who.is_none_or(|w| w == c.who));
    within.fold((0, 0), |(fuel, bytes), c| (fuel + c.fuel, bytes + c.bytes))
}

const ONE: (u64, u64, u32) = (200, 200, u32::MAX);
const ALL: (u64, u64, Option<u32>) = (400, 400, None);

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn never_more_than_the_limit_in_a_minute_and_no_later_than_need_be(steps in steps()) {
        let quotas = quotas(ONE, ALL);
        let (mut log, mut running, mut now) = (Vec::<Counted>::new(), Vec::new(), 0_u64);
        for (pause, who, fuel, bytes, end) in steps {
            now += pause;
            let admit = |now| quotas.admit(&did(who), ceiling(fuel, bytes), ms(now));
            let ticket = match admit(now) {
                Ok(ticket) => ticket,
                Err(no) => {
                    // Refused rightly: with the bucket that is the error of the window, it is too much.
                    let (mine, all) = (sums(&log, now, 61_000, Some(who)), sums(&log, now, 61_000, None));
                    prop_assert!(
                        mine.0 + fuel > ONE.0 || mine.1 + bytes > ONE.1 || all.0 + fuel > ALL.0 || all.1 + bytes > ALL.1,
                        "{no} at {now}: {log:?}"
                    );
                    prop_assert!(no.used + no.asked > no.limit);
                    // Every single one fits, so it is a matter of time: then it fits, and not a moment before.
                    let wait = u64::try_from(no.retry_after.unwrap().as_millis()).unwrap();
                    prop_assert!(wait > 0 && wait <= 61_000);
                    prop_assert!(admit(now + wait - 1).is_err());
                    now += wait;
                    admit(now).unwrap()
                }
            };
            let mut counted = Counted { at: now, who, fuel, bytes };
            log.push(counted);
            // What is reserved is within the limit, not only what is used in the end.
            let (mine, all) = (sums(&log, now, 60_000, Some(who)), sums(&log, now, 60_000, None));
            prop_assert!(mine.0 <= ONE.0 && mine.1 <= ONE.1, "{mine:?} of one at {now}");
            prop_assert!(all.0 <= ALL.0 && all.1 <= ALL.1, "{all:?} of all at {now}");
            match end {
                End::Settled(percent) => {
                    (counted.fuel, counted.bytes) = (fuel * percent / 100, bytes * percent / 100);
                    ticket.settle(ceiling(counted.fuel, counted.bytes));
                    *log.last_mut().unwrap() = counted;
                }
                End::Dropped => drop(ticket),
                End::Running => running.push(ticket),
            }
        }
    }

    #[test]
    fn a_minute_of_delegations_holds_and_tells_when_it_fits_again(steps in steps()) {
        // Each under its own delegation and one that all share; the policies bound actions and fuel.
        const ACTIONS: u64 = 5;
        const FUEL: u64 = 250;
        let minutes = Minutes::new();
        let fits = |uses: &[Use]| {
            uses[0].actions <= 2 * ACTIONS && uses.iter().all(|u| u.fuel <= FUEL) && uses[1].actions <= ACTIONS
        };
        let mut log: BTreeMap<u64, Vec<(u8, u64)>> = BTreeMap::new();
        let mut now = 0;
        for (pause, who, fuel, _, end) in steps {
            now += pause;
            let chain = [id(99), id(who.into())];
            let reserve = |now| {
                minutes.reserve(&chain, fuel, ms(now), |uses| if fits(uses) { Ok(()) } else { Err(()) })
            };
            let again = minutes.fits_again(&chain, fuel, ms(now), fits);
            let ticket = match reserve(now) {
                Ok(ticket) => {
                    prop_assert_eq!(again, Some(Duration::ZERO));
                    ticket
                }
                Err(no) => {
                    prop_assert_eq!(no, NotReserved::Refused(()));
                    let wait = u64::try_from(again.unwrap().as_millis()).unwrap();
                    prop_assert!(wait > 0 && wait <= 61_000);
                    prop_assert!(reserve(now + wait - 1).is_err());
                    now += wait;
                    reserve(now).unwrap()
                }
            };
            log.entry(now).or_default().push((who, fuel));
            let minute: Vec<_> = log.range(now.saturating_sub(59_999)..).flat_map(|(_, all)| all).collect();
            let mine: Vec<_> = minute.iter().filter(|(w, _)| *w == who).collect();
            prop_assert!(minute.len() as u64 <= 2 * ACTIONS && mine.len() as u64 <= ACTIONS);
            prop_assert!(minute.iter().map(|(_, fuel)| fuel).sum::<u64>() <= FUEL);
            if let End::Settled(percent) = end {
                ticket.settle(fuel * percent / 100);
                log.get_mut(&now).unwrap().last_mut().unwrap().1 = fuel * percent / 100;
            }
        }
        prop_assert_eq!(minutes.fits_again(&[id(99)], FUEL + 1, ms(now), |uses| uses[0].fuel <= FUEL), None);
    }
}
