//! What is held of a provider in memory is what its events say.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use actum_model::{ComponentId, Did, ReceiptId, SecretKey};
use actum_trust::reputation::*;
use proptest::prelude::*;
use std::{collections::BTreeMap, sync::LazyLock};

const NOW: u64 = 1_800_000_000;

static DIDS: LazyLock<Vec<Did>> =
    LazyLock::new(|| (0..4).map(|n| SecretKey::from_seed(&[n; 32]).did()).collect());

fn component(n: u8) -> ComponentId {
    ComponentId::of(&[n])
}

fn receipt(n: u64) -> ReceiptId {
    ReceiptId::of(&n.to_be_bytes())
}

fn event(n: u64, what: Experience, at: u64) -> Event {
    let receipt = Some(receipt(n));
    Event { provider: DIDS[1], component: component(0), at, what, verifier: None, receipt }
}

fn record(held: &mut Held, now: u64) -> Record {
    held.record(&component(0), now, &Reputation::default(), &BTreeMap::new())
}

fn held(n: u64) -> Held {
    Held::of((0..n).map(|n| event(n, Experience::Identical, NOW)), n)
}

#[test]
fn a_record_is_taken_as_it_was_for_a_minute_of_confirmations() {
    let mut held = held(64);
    assert_eq!(record(&mut held, NOW).confirmed, 64);
    for n in 64..66 {
        held.note(event(n, Experience::Identical, NOW));
        assert_eq!(record(&mut held, NOW).confirmed, 64, "few among many");
    }
    assert_eq!(record(&mut held, NOW + 59).confirmed, 64);
    assert_eq!(record(&mut held.clone(), NOW + 60).confirmed, 66);
    held.note(event(66, Experience::Served { millis: 1 }, NOW));
    assert_eq!(record(&mut held, NOW).confirmed, 66, "one in thirty-two is news");
    assert!(held.fresh(&component(0), NOW).is_some() && held.fresh(&component(1), NOW).is_none());
}

#[test]
fn what_speaks_against_a_provider_is_read_at_once() {
    use Experience::{Diverged, Inconsistent, Late, Lost, NotReplayable, Refused};
    for what in [Diverged, Inconsistent, Late, Lost, NotReplayable, Refused] {
        let mut held = held(100);
        record(&mut held, NOW);
        held.note(event(1_000, what, NOW));
        assert_eq!(held.fresh(&component(0), NOW), None, "{what:?}");
        assert_eq!(held.lied(), what == Diverged);
    }
    let mut held = held(100);
    record(&mut held, NOW);
    held.prove(Some(receipt(5)));
    assert_eq!(record(&mut held, NOW).fraud, Some(Fraud { receipt: Some(receipt(5)) }));
    assert!(!held.lied() && held.proven().is_some());
    held.prove(Some(receipt(5)));
    assert!(held.fresh(&component(0), NOW).is_some(), "it is no news");
}

#[test]
fn the_older_half_is_forgotten_and_no_lie_is() {
    let most = 2 * MAX_EVENTS as u64;
    let mut held = Held::of([event(0, Experience::Diverged, NOW - 9)], 0);
    for n in 1..most {
        held.note(event(n, Experience::Identical, NOW));
    }
    assert_eq!(held.events().count() as u64, most);
    // Older than all that came before, and it came last.
    held.note(event(most, Experience::Identical, NOW - 1));
    let mut left: Vec<_> = held.events().map(|event| event.receipt.unwrap()).collect();
    left.sort();
    let kept = std::iter::once(0).chain(most / 2..=most);
    let mut kept: Vec<_> = kept.map(receipt).collect();
    kept.sort();
    assert_eq!(left, kept);
}

#[test]
fn each_receipt_has_its_number_once() {
    let mut held = held(3);
    assert_eq!([held.next_receipt(), held.next_receipt()], [3, 4]);
    assert_eq!(Held::default().next_receipt(), 0);
}

#[test]
fn others_are_heard_as_far_as_they_are_known() {
    let said = Event { verifier: Some(DIDS[2]), ..event(1, Experience::Identical, NOW) };
    let mut held = Held::of([said], 0);
    held.note(Event { verifier: Some(DIDS[3]), ..event(2, Experience::Diverged, NOW) });
    assert!(!held.lied(), "nobody's word is a lie seen");
    let known = Record::of(
        &(0..50).map(|n| event(n, Experience::Identical, NOW)).collect::<Vec<_>>(),
        None,
        NOW,
        &Reputation::default(),
        &[],
    );
    let read = |verifiers| held.read(None, NOW, &Reputation::default(), &verifiers);
    assert_eq!(read(BTreeMap::new()).opinions, 0);
    let heard = read(BTreeMap::from([(DIDS[2], known)]));
    assert_eq!((heard.opinions, heard.own), (1, Score::default()));
    assert!(heard.honesty.good_milli > 0 && heard.fraud.is_none());
}

fn what() -> impl Strategy<Value = Experience> {
    use Experience::{Identical, Inconsistent, Late, Lost, NotReplayable, Refused, Served};
    prop_oneof![
        Just(Identical),
        Just(NotReplayable),
        (0..9_000_u32).prop_map(|millis| Served { millis }),
        Just(Late),
        Just(Lost),
        Just(Refused),
        Just(Inconsistent),
        Just(Experience::Diverged),
    ]
}

proptest! {
    #[test]
    fn the_record_is_that_of_the_events_however_they_came(
        events in prop::collection::vec((0..20_u64, what(), 0..90_u64), 0..60),
        loaded in 0..60_usize,
    ) {
        let events: Vec<Event> = events.into_iter().map(|(n, what, ago)| event(n, what, NOW - ago)).collect();
        let loaded = loaded.min(events.len());
        let mut held = Held::of(events[..loaded].iter().cloned(), 0);
        for event in &events[loaded..] {
            held.note(event.clone());
        }
        let of = Record::of(&events, Some(&component(0)), NOW, &Reputation::default(), &[]);
        prop_assert_eq!(record(&mut held, NOW), of);
    }
}
