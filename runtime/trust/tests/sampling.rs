//! Which receipts are replayed: exactly so many, never long none, and unforeseeably.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use actum_model::{Did, SecretKey};
use actum_trust::sampling::*;
use std::{num::NonZeroU32, sync::LazyLock};

/// Made once: keys take their time.
static DIDS: LazyLock<[Did; 3]> = LazyLock::new(|| [0, 1, 2].map(|n| SecretKey::from_seed(&[n; 32]).did()));

fn did(n: u8) -> Did {
    DIDS[usize::from(n)]
}

fn one_in(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

#[test]
fn of_each_block_exactly_one_is_drawn_and_no_gap_is_long() {
    for n in [1, 2, 3, 9, 50] {
        let drawn: Vec<u64> =
            (0..u64::from(n) * 400).filter(|i| due(&[7; 32], &did(1), *i, one_in(n))).collect();
        assert_eq!(drawn.len(), 400);
        for (block, i) in drawn.iter().enumerate() {
            assert_eq!(i / u64::from(n), block as u64);
        }
        for pair in drawn.windows(2) {
            assert!(pair[1] - pair[0] < 2 * u64::from(n), "{pair:?}");
        }
    }
}

#[test]
fn every_place_is_as_likely_and_nothing_but_the_secret_says_which() {
    const N: u64 = 9;
    const BLOCKS: u64 = 9_000;
    let place = |secret: u8, provider: u8, block: u64| {
        (0..N).position(|p| due(&[secret; 32], &did(provider), block * N + p, one_in(9))).unwrap()
    };
    let mut places = [0_u64; N as usize];
    let (mut same_secret, mut same_provider, mut same_next) = (0, 0, 0);
    for block in 0..BLOCKS {
        let here = place(1, 1, block);
        places[here] += 1;
        same_secret += u64::from(place(2, 1, block) == here);
        same_provider += u64::from(place(1, 2, block) == here);
        same_next += u64::from(place(1, 1, block + 1) == here);
    }
    // 1000 are expected of each; five standard deviations are 149.
    for n in places.into_iter().chain([same_secret, same_provider, same_next]) {
        assert!((851..1_149).contains(&n), "{n} of {BLOCKS}");
    }
}

#[test]
fn so_many_lies_go_through_as_is_said() {
    const N: u32 = 9;
    // Over many secrets, a liar from the first receipt on.
    let secrets = 4_000_u32;
    let secret = |n: u32| {
        let mut secret = [0; 32];
        secret[..4].copy_from_slice(&n.to_be_bytes());
        secret
    };
    let always: u64 = (0..secrets)
        .map(|s| (0..).position(|i| due(&secret(s), &did(1), i, one_in(N))).unwrap() as u64)
        .sum();
    // And one that lies once a block, at a place of its own choice each.
    let rare: u64 = (0..secrets)
        .map(|s| {
            let lie = |block: u64| block * u64::from(N) + block * 5 % u64::from(N);
            (0..).position(|block| due(&secret(s), &did(1), lie(block), one_in(N))).unwrap() as u64
        })
        .sum();
    let expected = expected_lies(one_in(N));
    assert_eq!((expected.always_milli, expected.rare_milli), (4_000, 8_000));
    let milli = |sum: u64| sum * 1_000 / u64::from(secrets);
    // Standard errors: 2.58 / 63 and 8.49 / 63 lies; five of them.
    assert!(milli(always).abs_diff(expected.always_milli) < 205, "{}", milli(always));
    assert!(milli(rare).abs_diff(expected.rare_milli) < 675, "{}", milli(rare));
}

#[test]
fn at_the_rate_given_a_lie_loses_and_at_the_next_it_does_not() {
    for gain in [1, 2, 3, 7, 1_000] {
        for stake in [1, 2, 3, 8, 9, 1_000, 1_001, 123_456] {
            let n = u64::from(rate_for_negative_expectation(gain, stake).get());
            let loses = |n: u64| (n - 1) * gain < stake;
            assert!(loses(n) && !loses(n + 1), "gain {gain}, stake {stake}: one in {n}");
            // Exhaustively over a block: all places a lie and the sample can have.
            let all =
                (0..n.min(200)).map(|sample| if sample == 0 { -i128::from(stake) } else { i128::from(gain) });
            assert!(n > 200 || all.sum::<i128>() < 0);
        }
    }
    assert_eq!(rate_for_negative_expectation(0, 1), NonZeroU32::MAX);
    assert_eq!(rate_for_negative_expectation(1, u64::MAX), NonZeroU32::MAX);
    assert_eq!(rate_for_negative_expectation(5, 0).get(), 1);
    assert_eq!(rate_for_negative_expectation(0, 0).get(), 1);
}
