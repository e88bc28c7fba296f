//! What is held of a provider: what makes it known, what no crowd and no time can do.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use actum_model::{ComponentId, Did, ReceiptId, SecretKey};
use actum_trust::{reputation::*, *};
use proptest::prelude::*;
use std::{collections::BTreeSet, sync::LazyLock};

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 24 * 3_600;

/// Made once: keys take their time, and events name thousands.
static DIDS: LazyLock<Vec<Did>> =
    LazyLock::new(|| (0..=u8::MAX).map(|n| SecretKey::from_seed(&[n; 32]).did()).collect());

fn did(n: u8) -> Did {
    DIDS[usize::from(n)]
}

fn component(n: u8) -> ComponentId {
    ComponentId::of(&[n])
}

/// Of provider 1, about its receipt of this number.
fn event(receipt: u64, what: Experience, at: u64) -> Event {
    Event {
        provider: did(1),
        component: component(0),
        at,
        what,
        verifier: None,
        receipt: Some(ReceiptId::of(&receipt.to_be_bytes())),
    }
}

fn times(n: u64, what: Experience) -> Vec<Event> {
    (0..n).map(|r| event(r, what, NOW)).collect()
}

fn record(events: &[Event]) -> Record {
    heard(events, &[])
}

fn heard(events: &[Event], opinions: &[Opinion<'_>]) -> Record {
    Record::of(events, Some(&component(0)), NOW, &Reputation::default(), opinions)
}

#[test]
fn a_newcomer_is_unknown_and_not_bad() {
    let newcomer = record(&[]);
    assert_eq!(newcomer, Record { as_of: NOW, ..Record::default() });
    assert_eq!(newcomer.standing(), Standing::Unknown);
    assert_eq!((newcomer.honesty.mean_permille(), newcomer.honesty.low_permille()), (500, 25));
    assert_eq!(newcomer.honesty.doublings(), 0);
}

#[test]
fn the_bound_rises_with_confirmations_and_falls_with_what_is_against() {
    let low = |n| record(&times(n, Experience::Identical)).honesty.low_permille();
    let known: Vec<_> = [0, 1, 8, 64, 1_000].map(low).into();
    assert_eq!(known, [25, 278, 751, 960, 997]);
    let doublings = |n| record(&times(n, Experience::Identical)).honesty.doublings();
    assert_eq!([0, 1, 2, 4, 8, 16, 32, 64, 128, 4_000].map(doublings), [0, 1, 2, 3, 4, 5, 6, 7, 8, 8]);
    let mut mixed = times(64, Experience::Identical);
    mixed.push(event(1_000, Experience::Inconsistent, NOW));
    assert!(record(&mixed).honesty.low_permille() < low(64));
    assert_eq!(record(&mixed).standing(), Standing::Known);
}

#[test]
fn a_thousand_confirmations_do_not_outweigh_one_divergence_and_time_does_not_either() {
    let mut events = times(1_000, Experience::Identical);
    events.push(event(5_000, Experience::Diverged, NOW - 3_650 * DAY));
    // However much came afterwards.
    events.extend((10_000..10_000 + 2 * MAX_EVENTS as u64).map(|n| event(n, Experience::Identical, NOW)));
    let record = record(&events);
    assert_eq!(record.standing(), Standing::Fraud);
    assert_eq!(record.fraud.unwrap().receipt, events[1_000].receipt);
    let clean = Record::default().with_fraud(ReceiptId::of(b"proven"));
    assert_eq!(clean.standing(), Standing::Fraud);
}

#[test]
fn a_new_key_sheds_no_past() {
    let mut events = times(10, Experience::Identical);
    events.push(event(99, Experience::Diverged, NOW - DAY));
    let mut after = times(3, Experience::Identical);
    for e in &mut after {
        e.provider = did(2);
    }
    events.extend(after);
    let of = |keys: &[Did]| {
        let keys: BTreeSet<_> = keys.iter().copied().collect();
        Record::of(inherit(&events, &keys), None, NOW, &Reputation::default(), &[]).standing()
    };
    assert_eq!(of(&[did(2)]), Standing::Known);
    assert_eq!(of(&[did(2), did(1)]), Standing::Fraud);
    assert_eq!(of(&[did(3)]), Standing::Unknown);
}

#[test]
fn evidence_fades_by_half_lives() {
    assert_eq!([0, 5, 10, 15, 20, 30].map(|age| decay(1_000, age, 10)), [1_000, 750, 500, 375, 250, 125]);
    assert_eq!(decay(1_000, u64::MAX, 1), 0);
    assert_eq!(decay(u64::MAX, u64::MAX, 0), 0);
    let at = |at| record(&[event(1, Experience::Identical, at)]).honesty.good_milli;
    assert_eq!([NOW, NOW - 30 * DAY, NOW - 60 * DAY].map(at), [1_000, 500, 250]);
    // A clock ahead of ours makes nothing weigh more.
    assert_eq!(at(u64::MAX), 1_000);
    assert_eq!(record(&[event(1, Experience::Identical, u64::MAX)]).last_seen, Some(NOW));
    // Once confirmed stays known, however faintly.
    assert_eq!(record(&[event(1, Experience::Identical, 1)]).standing(), Standing::Known);
    let late = |days| record(&[event(1, Experience::Late, NOW - days * DAY)]).service.bad_milli;
    assert_eq!([0, 1, 2].map(late), [1_000, 500, 250]);
}

#[test]
fn what_fails_its_checks_is_suspect_until_confirmed_or_long_ago() {
    let bad = |at| event(1_000, Experience::Inconsistent, at);
    assert_eq!(record(&[bad(NOW)]).standing(), Standing::Suspect);
    assert_eq!(record(&[bad(NOW - 59 * DAY)]).standing(), Standing::Suspect);
    assert_eq!(record(&[bad(NOW - 61 * DAY)]).standing(), Standing::Unknown);
    for (confirmed, standing) in [(4, Standing::Suspect), (5, Standing::Known)] {
        let mut events = times(confirmed, Experience::Identical);
        events.push(bad(NOW));
        assert_eq!(record(&events).standing(), standing);
    }
}

#[test]
fn what_mostly_fails_is_suspect_and_a_few_failures_are_nothing() {
    let of = |what, n: u64| record(&times(n, what)).standing();
    assert_eq!(of(Experience::Lost, 2), Standing::Unknown);
    assert_eq!(of(Experience::Lost, 3), Standing::Suspect);
    // To refuse costs nobody much.
    assert_eq!(of(Experience::Refused, 5), Standing::Unknown);
    assert_eq!(of(Experience::Refused, 6), Standing::Suspect);
    let mut mixed = times(10, Experience::Served { millis: 7 });
    mixed.extend(times(9, Experience::Late));
    assert_eq!(record(&mixed).standing(), Standing::Unknown);
}

#[test]
fn what_mostly_cannot_be_tried_is_not_confirmed_by_the_rest() {
    let mut events = times(10, Experience::Identical);
    events.extend((100..110).map(|n| event(n, Experience::NotReplayable, NOW)));
    let half = record(&events);
    assert_eq!((half.opaque, half.standing(), half.proven()), (false, Standing::Known, 10));
    events.push(event(110, Experience::NotReplayable, NOW));
    let most = record(&events);
    assert_eq!((most.opaque, most.standing(), most.proven()), (true, Standing::Unknown, 0));
    assert_eq!((most.confirmed, most.honesty), (10, half.honesty));
}

#[test]
fn one_receipt_counts_once_and_looking_again_makes_nothing_younger() {
    let twice = [
        event(1, Experience::Identical, NOW),
        event(1, Experience::Identical, NOW - 30 * DAY),
        event(1, Experience::NotReplayable, NOW - 60 * DAY),
        event(1, Experience::Served { millis: 80 }, NOW),
        event(1, Experience::Served { millis: 80 }, NOW),
    ];
    let record = record(&twice);
    assert_eq!((record.confirmed, record.not_replayable, record.served), (1, 0, 1));
    assert_eq!(record.honesty.good_milli, 500);
    assert_eq!(record.millis, Some(80));
}

#[test]
fn capabilities_are_counted_apart_too() {
    let mut events = times(5, Experience::Identical);
    events[0].component = component(1);
    events[1].component = component(1);
    let record = record(&events);
    assert_eq!((record.confirmed, record.confirmed_here), (5, 3));
    assert_eq!((record.honesty.good_milli, record.here.good_milli), (5_000, 3_000));
}

/// An opinion of `verifier` on receipt `n` of provider 1.
fn said(verifier: u8, n: u64, what: Experience) -> Event {
    Event { verifier: Some(did(verifier)), ..event(n, what, NOW) }
}

fn opinions<'a>(said: &'a [Event], of: &'a Record) -> Vec<Opinion<'a>> {
    said.iter()
        .map(|event| Opinion { verifier: event.verifier.unwrap(), verifier_record: of, event })
        .collect()
}

#[test]
fn a_verified_friends_word_counts_a_little_and_convicts_nobody() {
    let friend = record(&times(1_000, Experience::Identical));
    let good: Vec<_> = (0..3).map(|n| said(2, n, Experience::Identical)).collect();
    let after = heard(&[], &opinions(&good, &friend));
    // A quarter each, times 997 of 1000.
    assert_eq!((after.honesty.good_milli, after.opinions), (3 * 249, 3));
    assert_eq!(after.standing(), Standing::Unknown);
    let bad = [said(2, 1, Experience::Diverged)];
    let after = heard(&times(10, Experience::Identical), &opinions(&bad, &friend));
    assert_eq!(after.honesty.bad_milli, 4 * 249);
    assert_eq!((after.standing(), after.fraud), (Standing::Known, None));
    // What no receipt shows, counts nothing; nor does a word in one's own cause, or under another's name.
    let own = said(1, 1, Experience::Identical);
    let mut bare = said(2, 1, Experience::Identical);
    bare.receipt = None;
    let served = said(2, 1, Experience::Served { millis: 1 });
    assert_eq!(heard(&[], &opinions(&[own, bare, served], &friend)), record(&[]));
    let borrowed = Opinion { verifier: did(3), verifier_record: &friend, event: &good[0] };
    assert_eq!(heard(&[], &[borrowed]), record(&[]));
    // Nor among our own events.
    assert_eq!(record(&good), record(&[]));
    assert_eq!(record(&bad), record(&[]));
}

#[test]
fn no_crowd_says_more_than_eight_replays() {
    let friend = record(&times(1_000, Experience::Identical));
    for what in [Experience::Identical, Experience::Diverged] {
        let one: Vec<_> = (0..1_000).map(|n| said(2, n, what)).collect();
        let score = heard(&[], &opinions(&one, &friend)).honesty;
        assert_eq!(score.good_milli + score.bad_milli, VERIFIER_CAP * ACTION_MILLI);
        let crowd: Vec<_> = (0..1_000).map(|n| said(2 + (n % 20) as u8, n, what)).collect();
        let score = heard(&[], &opinions(&crowd, &friend)).honesty;
        assert_eq!(score.good_milli + score.bad_milli, OPINION_CAP * ACTION_MILLI);
    }
}

#[test]
fn a_record_says_in_words_what_it_is_made_of() {
    let mut events = times(41, Experience::Identical);
    for e in &mut events[12..] {
        e.component = component(1);
    }
    events.push(event(50, Experience::NotReplayable, NOW));
    events.extend((0..118).map(|n| event(n, Experience::Served { millis: 85 }, NOW - 7_300)));
    events.extend((200..202).map(|n| event(n, Experience::Lost, NOW - 7_300)));
    let lines = record(&events).explain();
    assert!(
        lines.contains(&"confirmed 41 of 42 replayed, 12 of them of this capability".to_owned()),
        "{lines:?}"
    );
    assert!(lines.contains(&"answered 118 of 120, typically in 85 ms".to_owned()), "{lines:?}");
    assert_eq!(lines.last().unwrap(), "last seen 0 seconds ago");
    let later = Record::of(&events, None, NOW + 3 * DAY, &Reputation::default(), &[]).explain();
    assert_eq!(later.last().unwrap(), "last seen 3 days ago");
    let fraud = record(&[event(1, Experience::Diverged, NOW)]).explain();
    assert!(fraud[0].contains(&event(1, Experience::Diverged, 0).receipt.unwrap().to_string()), "{fraud:?}");
    assert!(
        record(&[event(1, Experience::Inconsistent, NOW)]).explain().iter().any(|l| l.starts_with("suspect"))
    );
}

#[test]
fn names_are_read_as_they_are_written() {
    let all = [
        Experience::Identical,
        Experience::Diverged,
        Experience::NotReplayable,
        Experience::Served { millis: 9 },
        Experience::Late,
        Experience::Lost,
        Experience::Refused,
        Experience::Inconsistent,
    ];
    for what in all {
        assert_eq!(Experience::parse(what.name(), 9), Some(what));
    }
    assert_eq!(Experience::parse("Identical", 0), None);
}

fn any_experience() -> impl Strategy<Value = Experience> {
    prop_oneof![
        4 => Just(Experience::Identical),
        1 => Just(Experience::Diverged),
        1 => Just(Experience::NotReplayable),
        2 => (0..5_000_u32).prop_map(|millis| Experience::Served { millis }),
        1 => Just(Experience::Late),
        1 => Just(Experience::Lost),
        1 => Just(Experience::Refused),
        1 => Just(Experience::Inconsistent),
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    (0..12_u64, any::<bool>(), any_experience(), 0..200 * DAY, 0..2_u8).prop_map(
        |(receipt, has, what, age, c)| Event {
            component: component(c),
            receipt: has.then(|| ReceiptId::of(&receipt.to_be_bytes())),
            ..event(0, what, NOW + DAY - age)
        },
    )
}

proptest! {
    #[test]
    fn the_same_events_in_any_order_and_repeated_give_the_same_record(
        events in prop::collection::vec(any_event(), 0..40),
        said in prop::collection::vec((any_event(), 2..5_u8), 0..20),
        seed in any::<u64>(),
    ) {
        let friend = record(&times(20, Experience::Identical));
        let said: Vec<_> = said.into_iter().map(|(e, v)| Event { verifier: Some(did(v)), ..e }).collect();
        let heard_of = opinions(&said, &friend);
        let straight = heard(&events, &heard_of);
        let shuffle = |len: usize, n: usize| (n as u64).wrapping_mul(seed | 1) as usize % len.max(1);
        let mut other: Vec<_> = events.iter().chain(&events).cloned().collect();
        let mut others: Vec<_> = heard_of.iter().chain(&heard_of).copied().collect();
        for n in 0..other.len() {
            let m = shuffle(other.len(), n);
            other.swap(n, m);
        }
        for n in 0..others.len() {
            let m = shuffle(others.len(), n);
            others.swap(n, m);
        }
        prop_assert_eq!(straight, heard(&other, &others));
    }

    #[test]
    fn nothing_that_unknown_identities_say_moves_anything(
        own in prop::collection::vec(any_event(), 0..20),
        said in prop::collection::vec((any_event(), 2..200_u8), 0..200),
        bad in prop_oneof![Just(Experience::Inconsistent), Just(Experience::Diverged), Just(Experience::Served { millis: 1 })],
    ) {
        let said: Vec<_> = said.into_iter().map(|(e, v)| Event { verifier: Some(did(v)), ..e }).collect();
        // Nobody, somebody who merely answers, somebody suspect, somebody caught.
        for stranger in [Record::default(), record(&[event(1, bad, NOW)])] {
            prop_assert_eq!(record(&own), heard(&own, &opinions(&said, &stranger)));
        }
    }

    #[test]
    fn a_fresh_identity_never_ranks_above_a_confirmed_provider(
        confirmed in 1..200_u64,
        age in 0..2_000 * DAY,
        fresh in prop::collection::vec((0..500_u64, 0..2_000_u32), 0..60),
        said in prop::collection::vec((0..500_u64, 2..9_u8), 0..60),
        draw in any::<u64>(),
    ) {
        let known: Vec<_> = (0..confirmed).map(|n| event(n, Experience::Identical, NOW - age)).collect();
        // It answers as fast as it likes and has friends; no receipt of it was replayed here.
        let fresh: Vec<_> =
            fresh.into_iter().map(|(n, millis)| event(n, Experience::Served { millis }, NOW)).collect();
        let friend = record(&times(500, Experience::Identical));
        let said: Vec<_> = said.into_iter().map(|(n, v)| said_of(v, n)).collect();
        let newcomer = heard(&fresh, &opinions(&said, &friend));
        let candidate = |n: u8| Candidate { provider: did(n), release: actum_model::ReleaseId::of(b""), item: n };
        let of = |provider: &Did| if *provider == did(1) { record(&known) } else { newcomer.clone() };
        let level = Level { newcomers: false, ..Level::low() };
        let choice = choose(vec![candidate(9), candidate(1), candidate(8)], of, &level, draw);
        prop_assert_eq!(choice.candidates[0].candidate.item, 1);
    }

    #[test]
    fn more_confirmations_are_never_less_sure(good in 0..300_000_u64, more in 0..5_000_u64) {
        let low = |good_milli| Score { good_milli, bad_milli: 0 }.low_permille();
        prop_assert!(low(good) <= low(good + more));
        let against = |bad_milli| Score { good_milli: good, bad_milli }.mean_permille();
        prop_assert!(against(more) <= against(0));
    }

    #[test]
    fn no_score_overflows(good_milli in any::<u64>(), bad_milli in any::<u64>()) {
        let score = Score { good_milli, bad_milli };
        prop_assert!(score.low_permille() <= score.mean_permille());
        prop_assert!(score.mean_permille() <= 1_000);
    }
}

fn said_of(verifier: u8, n: u64) -> Event {
    said(verifier, n, Experience::Identical)
}
