//! What follows from how an attempt went.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use actum_model::{BlobId, Did, Outcome, SecretKey};
use actum_trust::{
    replicas::{Considered, Settled, consider, settle},
    *,
};

const EFFECTS: [Effect; 4] = [Effect::Pure, Effect::Reads, Effect::Writes, Effect::Spends];

#[test]
fn what_may_have_had_an_effect_is_not_run_again() {
    let anyway = [
        Failure::NotReached,
        Failure::NotBegun,
        Failure::Lost { may_have_run: false },
        Failure::Late { may_have_run: false, fair: true },
        Failure::Refused(Refused::NotNow),
        Failure::Refused(Refused::NotForYou),
    ];
    let unless_it_may_have_run = [
        Failure::Lost { may_have_run: true },
        Failure::Late { may_have_run: true, fair: true },
        Failure::Gone,
        Failure::Inconsistent,
        Failure::Lied,
        Failure::Unverified,
    ];
    for effect in EFFECTS {
        for failure in anyway {
            assert!(failure.goes_on(effect), "{failure:?}, {effect:?}");
        }
        for failure in unless_it_may_have_run {
            assert_eq!(failure.goes_on(effect), effect <= Effect::Reads, "{failure:?}, {effect:?}");
        }
        assert!(!Failure::Refused(Refused::Wrong).goes_on(effect), "nobody else would do it");
    }
}

#[test]
fn nobody_is_blamed_for_what_is_not_theirs() {
    let late = |fair| Failure::Late { may_have_run: true, fair }.experience();
    assert_eq!((late(true), late(false)), (Some(Experience::Late), None));
    let refused = |why| Failure::Refused(why).experience();
    assert_eq!(refused(Refused::NotNow), Some(Experience::Refused));
    assert_eq!((refused(Refused::NotForYou), refused(Refused::Wrong)), (None, None));
    assert_eq!(Failure::Gone.experience(), Some(Experience::Lost));
    assert_eq!(Failure::Inconsistent.experience(), Some(Experience::Inconsistent));
    // The replay that found it has noted it.
    assert_eq!(Failure::Lied.experience(), None);
}

#[test]
fn an_answer_passes_what_was_planned_and_what_canaries_leave_open() {
    let known = |replay| Plan {
        canaries: 2,
        replicas: 1,
        replay,
        fallbacks: 0,
        patience_seconds: 1,
        attestation: false,
    };
    let came = |answered, lied| Canaries { wanted: 2, answered, lied };
    for replay in [Replay::No, Replay::After] {
        assert_eq!(known(replay).next(&came(2, false)), Next::HandOver);
        assert_eq!(known(replay).next(&came(1, false)), Next::Replay, "one did not come back");
    }
    assert_eq!(known(Replay::Before).next(&came(2, false)), Next::Replay);
    for replay in [Replay::No, Replay::After, Replay::Before] {
        assert_eq!(known(replay).next(&came(1, true)), Next::Refuse);
    }
    let without = known(Replay::No).with_canaries(false);
    assert_eq!((without.canaries, without.replay), (0, Replay::Before));
    assert_eq!(known(Replay::No).with_canaries(true), known(Replay::No));
    let none = Plan { canaries: 0, ..known(Replay::No) };
    assert_eq!(none.with_canaries(false), none, "what had none loses none");
}

fn did(n: u8) -> Did {
    SecretKey::from_seed(&[n; 32]).did()
}

fn says(n: u8, what: &[u8]) -> (Did, OutcomeDigest) {
    (did(n), OutcomeDigest::of(&Outcome::Ok(BlobId::of(what))))
}

#[test]
fn one_alone_is_replayed_or_not_believed() {
    for effect in EFFECTS {
        let alone = Considered::Alone { replay: effect == Effect::Pure };
        assert_eq!(consider(effect, &[says(1, b"x")]), alone);
        assert_eq!(consider(effect, &[]), alone);
    }
}

#[test]
fn those_who_agree_are_believed_until_replay_says_otherwise() {
    let of = |answers: &[(Did, OutcomeDigest)]| match consider(Effect::Pure, answers) {
        Considered::Several { agreed, doubted } => (agreed, doubted),
        Considered::Alone { .. } => panic!("several answered"),
    };
    let all = of(&[says(1, b"x"), says(2, b"x"), says(3, b"x")]);
    assert_eq!(all, (vec![did(1), did(2), did(3)], vec![]));
    let most = of(&[says(1, b"y"), says(2, b"x"), says(3, b"x")]);
    assert_eq!(most, (vec![did(2), did(3)], vec![did(1)]));
    let split = of(&[says(1, b"y"), says(2, b"x")]);
    assert_eq!(split, (vec![], vec![did(1), did(2)]));

    let agreed = [did(2), did(3)];
    assert_eq!(settle(&did(3), &agreed, None), Settled::Agreed { by: did(3), replay: false });
    assert_eq!(settle(&did(1), &agreed, None), Settled::Agreed { by: did(2), replay: true });
    let proven = Settled::Proven { by: did(1), look_into: agreed.to_vec() };
    assert_eq!(settle(&did(1), &agreed, Some(did(1))), proven);
    assert_eq!(settle(&did(1), &[], None), Settled::Nobody);
}
