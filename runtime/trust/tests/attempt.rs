//! What follows from how an attempt went.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use actum_model::{BlobId, Did, Outcome, SecretKey};
use actum_trust::{
    replicas::{Considered, Settled, consider, fair, settle},
    *,
};
use std::time::Duration;

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
        assert_eq!(known(replay).next(&came(2, false), false), Next::HandOver);
        assert_eq!(known(replay).next(&came(1, false), false), Next::Replay, "one did not come back");
    }
    assert_eq!(known(Replay::Before).next(&came(2, false), false), Next::Replay);
    for replay in [Replay::No, Replay::After, Replay::Before] {
        for confirmed in [false, true] {
            assert_eq!(known(replay).next(&came(1, true), confirmed), Next::Refuse);
        }
    }
    let without = known(Replay::No).with_canaries(false);
    assert_eq!((without.canaries, without.replay), (0, Replay::Before));
    assert_eq!(known(Replay::No).with_canaries(true), known(Replay::No));
    let none = Plan { canaries: 0, ..known(Replay::No) };
    assert_eq!(none.with_canaries(false), none, "what had none loses none");
}

#[test]
fn what_replay_has_confirmed_is_not_replayed_again() {
    for replay in [Replay::No, Replay::After, Replay::Before] {
        let plan =
            Plan { canaries: 2, replicas: 3, replay, fallbacks: 0, patience_seconds: 1, attestation: false };
        for answered in 0..=2 {
            let came = Canaries { wanted: 2, answered, lied: false };
            assert_eq!(plan.next(&came, true), Next::Confirmed, "{replay:?}, {answered} came back");
        }
        assert!(!plan.replays_later(true));
        assert_eq!(plan.replays_later(false), replay == Replay::After);
    }
}

#[test]
fn who_had_less_time_than_anybody_is_not_late() {
    let plan = Plan {
        canaries: 0,
        replicas: 1,
        replay: Replay::No,
        fallbacks: 0,
        patience_seconds: 30,
        attestation: false,
    };
    let seconds = Duration::from_secs;
    assert!(plan.fair(seconds(15), seconds(120)) && !plan.fair(seconds(14), seconds(120)));
    assert!(plan.fair(seconds(5), seconds(10)) && !plan.fair(seconds(4), seconds(10)));
    assert!(fair(seconds(5), seconds(120)) && !fair(seconds(4), seconds(120)));
    assert!(fair(seconds(3), seconds(3)), "more nobody could have");
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
    assert_eq!(settle(&did(3), &agreed, Some(did(1))), Settled::Proven { by: did(1) });
    assert_eq!(settle(&did(1), &[], None), Settled::Nobody);
}
