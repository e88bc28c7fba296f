//! Two registries find out what either lacks, and a stranger cannot make them work for ever.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use actum_discovery::reconcile::*;
use actum_model::id::sha256;
use proptest::prelude::*;

/// The `n`th statement: its id says nothing of its expiry, and some expire together.
fn item(n: u64) -> Item {
    Item { exp: 1_000_000 + n % 3_600, id: sha256(&n.to_be_bytes()) }
}

fn held(numbers: impl IntoIterator<Item = u64>) -> Holdings {
    Holdings::new(numbers.into_iter().map(item))
}

fn ids(numbers: impl IntoIterator<Item = u64>) -> Vec<StatementDigest> {
    let mut ids: Vec<_> = numbers.into_iter().map(|n| item(n).id).collect();
    ids.sort();
    ids
}

/// What a run told and cost.
#[derive(Debug, Default)]
struct Run {
    here: Vec<StatementDigest>,
    there: Vec<StatementDigest>,
    rounds: usize,
    bytes: usize,
    longest: usize,
}

fn run(here: &Holdings, there: &Holdings) -> Run {
    let (mut initiator, mut message) = Initiator::begin(here).unwrap();
    let mut responder = Responder::new(there).unwrap();
    let mut run = Run::default();
    loop {
        let answer = responder.answer(&message).unwrap();
        run.rounds += 1;
        run.bytes += message.len() + answer.len();
        run.longest = run.longest.max(message.len()).max(answer.len());
        let told = initiator.take(&answer).unwrap();
        run.here.extend(told.lacking_here);
        run.there.extend(told.lacking_there);
        match told.send {
            Some(next) => message = next,
            None => break,
        }
    }
    assert!(initiator.is_over());
    run.here.sort();
    run.there.sort();
    run
}

#[test]
fn a_hundred_differences_in_ten_thousand_are_found_in_a_few_small_messages() {
    // 9,950 in common, 50 more on either side, spread over all of them.
    let only_here = (0..50).map(|n| n * 199);
    let only_there = (0..50).map(|n| 20_000 + n * 7);
    let common = (0..10_000).filter(|n| n % 199 != 0 || *n >= 50 * 199);
    let here = held(common.clone().chain(only_here.clone()));
    let there = held(common.chain(only_there.clone()));
    assert_eq!((here.len(), there.len()), (10_000, 10_000));
    let run = run(&here, &there);
    println!("10,000 and 10,000, 100 apart: {} rounds, {} bytes", run.rounds, run.bytes);
    assert_eq!(run.there, ids(only_here));
    assert_eq!(run.here, ids(only_there));
    assert!(run.rounds <= 4 && run.bytes < 120_000 && run.longest <= MESSAGE_BYTES, "{run:?}");
}

#[test]
fn what_is_the_same_costs_one_round() {
    let run = run(&held(0..10_000), &held((0..10_000).rev()));
    assert_eq!((run.rounds, run.here.len(), run.there.len()), (1, 0, 0));
    assert!(run.bytes < 1_000);
}

#[test]
fn a_registry_that_begins_empty_learns_all_within_bounded_messages() {
    let run = run(&held([]), &held(0..20_000));
    println!("0 and 20,000: {} rounds, {} bytes", run.rounds, run.bytes);
    assert_eq!(run.here, ids(0..20_000));
    assert!(run.longest <= MESSAGE_BYTES && run.rounds <= 16);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_two_sets_are_told_apart_exactly(
        here in prop::collection::btree_set(0_u64..4_000, 0..2_000),
        there in prop::collection::btree_set(0_u64..4_000, 0..2_000),
    ) {
        let run = run(&held(here.iter().copied()), &held(there.iter().copied()));
        prop_assert_eq!(run.here, ids(there.difference(&here).copied()));
        prop_assert_eq!(run.there, ids(here.difference(&there).copied()));
    }

    #[test]
    fn noise_is_refused_or_answered_within_bounds(noise in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let holdings = held(0..500);
        for noise in [noise.clone(), [&[0x61], &*noise].concat()] {
            let mut responder = Responder::new(&holdings).unwrap();
            if let Ok(answer) = responder.answer(&noise) {
                prop_assert!(answer.len() <= MESSAGE_BYTES);
            }
            let (mut initiator, _) = Initiator::begin(&holdings).unwrap();
            if let Ok(told) = initiator.take(&noise) {
                prop_assert!(told.send.is_none_or(|m| m.len() <= MESSAGE_BYTES));
            }
        }
    }
}

/// One range over everything, with a fingerprint that fits nothing.
fn never_the_same(round: u8) -> Vec<u8> {
    let mut message = vec![0x61, 0, 0, 1];
    message.extend([round; 16]);
    message
}

#[test]
fn a_peer_that_never_agrees_is_cut_off() {
    let holdings = held(0..1_000);
    let (mut initiator, _) = Initiator::begin(&holdings).unwrap();
    let mut responder = Responder::new(&holdings).unwrap();
    for round in 0..ROUNDS {
        let told = initiator.take(&never_the_same(round as u8)).unwrap();
        assert!(told.send.is_some_and(|m| m.len() <= MESSAGE_BYTES));
        assert!(responder.answer(&never_the_same(round as u8)).unwrap().len() <= MESSAGE_BYTES);
    }
    assert_eq!(initiator.take(&never_the_same(9)).unwrap_err().code(), "too-many-rounds");
    assert_eq!(responder.answer(&never_the_same(9)).unwrap_err().code(), "too-many-rounds");
    assert_eq!(initiator.take(&never_the_same(9)).unwrap_err().code(), "run-over");
}

#[test]
fn a_peer_that_names_ids_without_end_is_cut_off() {
    let holdings = held(0..10);
    let (mut initiator, _) = Initiator::begin(&holdings).unwrap();
    let (mut told, mut n) = (0, 0_u64);
    let why = loop {
        // A range up to the last id there can be, with 2,000 ids in it, then one more that wants an answer.
        let mut message = vec![0x61, 0, 0, 2, 0x8f, 0x50];
        for _ in 0..2_000 {
            n += 1;
            message.extend(sha256(&n.to_le_bytes()));
        }
        message.extend([1, 0, 1]);
        message.extend([7; 16]);
        match initiator.take(&message) {
            Ok(step) => told += step.lacking_here.len(),
            Err(why) => break why,
        }
    };
    assert_eq!((told, why.code()), (DIFFERENCES, "too-many-differences"));
}

#[test]
fn a_message_too_long_cut_short_or_of_another_protocol() {
    let holdings = held(0..1_000);
    let code = |message: &[u8]| {
        let mut responder = Responder::new(&holdings).unwrap();
        let why = responder.answer(message).unwrap_err();
        assert_eq!(responder.answer(message).unwrap_err().code(), "run-over");
        why.code()
    };
    assert_eq!(code(&vec![0x61; MESSAGE_BYTES + 1]), "message-too-large");
    assert_eq!(code(&[]), "malformed");
    assert_eq!(code(b"GET / HTTP/1.1"), "malformed");
    let (_, first) = Initiator::begin(&holdings).unwrap();
    assert_eq!(code(&first[..first.len() - 1]), "malformed");
    // A list that says it is longer than the message.
    assert_eq!(code(&[0x61, 0, 0, 2, 0x8f, 0xff, 0xff, 0x7f]), "malformed");
}
