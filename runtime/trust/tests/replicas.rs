//! Providers who have nothing to do with one another, and what it means if they differ.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use actum_model::{BlobId, Did, Outcome, ReleaseId, SecretKey};
use actum_trust::{
    replicas::{compare, independent},
    *,
};
use proptest::prelude::*;

fn did(n: u8) -> Did {
    SecretKey::from_seed(&[n; 32]).did()
}

fn candidates(n: u8) -> Vec<Chosen<u8>> {
    let ranked =
        (0..n).map(|n| Candidate { provider: did(n), release: ReleaseId::of(b""), item: n }).collect();
    choose(ranked, |_| Record::default(), &Level::high(), 0).candidates
}

#[test]
fn two_of_one_operator_or_one_prefix_are_one() {
    let all = candidates(7);
    let run_by = [1, 1, 2, 3, 4, 5, 5];
    let at = ["a", "b", "c", "a", "d", "e", "f"];
    let of = |c: &Chosen<u8>| {
        let n = usize::from(c.candidate.item);
        (did(run_by[n]), Some(at[n].to_owned()))
    };
    assert_eq!(independent(&all, of, 10), [0, 2, 4, 5]);
    assert_eq!(independent(&all, of, 3), [0, 2, 4]);
    assert_eq!(independent(&all, of, 0), [] as [usize; 0]);
    // Whose address is not known is told apart by operator alone.
    assert_eq!(independent(&all, |c| (of(c).0, None), 10), [0, 2, 3, 4, 5]);
}

fn ok(output: &[u8]) -> OutcomeDigest {
    OutcomeDigest::of(&Outcome::Ok(BlobId::of(output)))
}

#[test]
fn how_it_ended_is_compared_and_with_what() {
    let output = BlobId::of(b"x");
    let all = [
        Outcome::Ok(output),
        Outcome::GuestError(output),
        Outcome::Ok(BlobId::of(b"y")),
        Outcome::OutOfFuel,
        Outcome::TimedOut,
    ];
    for (n, a) in all.iter().enumerate() {
        for (m, b) in all.iter().enumerate() {
            assert_eq!(OutcomeDigest::of(a) == OutcomeDigest::of(b), n == m);
        }
    }
}

#[test]
fn the_minority_is_named_and_half_is_no_majority() {
    let (x, y, z) = (ok(b"x"), ok(b"y"), ok(b"z"));
    let say = |said: &[OutcomeDigest]| {
        compare(&said.iter().enumerate().map(|(n, d)| (did(n as u8), *d)).collect::<Vec<_>>())
    };
    assert_eq!(say(&[x, x, x]), Agreement::All);
    assert_eq!(say(&[x]), Agreement::All);
    assert_eq!(say(&[y, x, x]), Agreement::Majority { minority: vec![did(0)] });
    assert_eq!(say(&[x, y, x, z, x]), Agreement::Majority { minority: vec![did(1), did(3)] });
    for split in [&[][..], &[x, y], &[x, y, z], &[x, x, y, y], &[x, x, y, z]] {
        assert_eq!(say(split), Agreement::Split);
    }
}

#[test]
fn one_provider_has_one_voice() {
    let (x, y) = (ok(b"x"), ok(b"y"));
    let stuffed = [(did(1), y), (did(1), y), (did(1), y), (did(2), x), (did(3), x)];
    assert_eq!(compare(&stuffed), Agreement::Majority { minority: vec![did(1)] });
    let double = [(did(1), y), (did(1), x), (did(2), x), (did(3), x)];
    assert_eq!(compare(&double), Agreement::Majority { minority: vec![did(1)] });
    assert_eq!(compare(&[(did(1), y), (did(1), x)]), Agreement::Split);
}

proptest! {
    #[test]
    fn all_agree_exactly_where_all_say_the_same(said in prop::collection::vec(0..3_u8, 1..8)) {
        let answers: Vec<_> = said.iter().enumerate().map(|(n, s)| (did(n as u8), ok(&[*s]))).collect();
        let most = (0..3_u8).map(|d| said.iter().filter(|s| **s == d).count()).max().unwrap();
        match compare(&answers) {
            Agreement::All => prop_assert_eq!(most, said.len()),
            Agreement::Majority { minority } => {
                prop_assert!(most * 2 > said.len());
                prop_assert_eq!(minority.len(), said.len() - most);
            }
            Agreement::Split => prop_assert!(most * 2 <= said.len()),
        }
    }
}
