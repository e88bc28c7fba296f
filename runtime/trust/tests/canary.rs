//! Canaries: arguments that look like others, and answers that are known.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use actum_model::{
    types::{Case, Field, ResultType},
    value::encode_params,
    *,
};
use actum_trust::canary::*;
use proptest::prelude::*;
use serde_bytes::ByteArray;
use std::collections::BTreeSet;

const ALL: [Strength; 3] = [Strength::Digits, Strength::Words, Strength::Strong];

/// SplitMix64: numbers without end from one.
fn random(mut seed: u64) -> impl FnMut() -> u64 {
    move || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let a = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let b = (a ^ (a >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        b ^ (b >> 31)
    }
}

fn one(ty: WitType, value: Value, strength: Strength, seed: u64) -> Option<Value> {
    let params = [Param { name: "x".into(), ty }];
    perturb(&params, &[value], strength, &mut random(seed)).map(|mut values| values.remove(0))
}

fn text(text: &str, strength: Strength, seed: u64) -> Option<String> {
    let other = one(WitType::String, Value::String(text.into()), strength, seed)?;
    assert!(matches!(other, Value::String(_)), "{other:?}");
    if let Value::String(text) = other { Some(text) } else { None }
}

#[test]
fn digits_become_digits_and_nothing_else_changes() {
    let given = r#"{"id": 2041, "price": 0.75, "n": 7, "none": 0}"#;
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let other = text(given, Strength::Digits, seed).unwrap();
        assert_eq!(other.len(), given.len());
        for (a, b) in given.chars().zip(other.chars()) {
            assert_eq!(a.is_ascii_digit(), b.is_ascii_digit());
            assert!(a.is_ascii_digit() || a == b);
        }
        // Still JSON, of the same numbers of digits.
        let read: serde_like::Line = serde_like::read(&other);
        assert!((2_000..3_000).contains(&read.id) && (1..=9).contains(&read.n) && read.none == 0, "{other}");
        seen.insert(other);
    }
    assert!(seen.len() > 190, "{} different of 200", seen.len());
}

/// Just enough of a reader for the line above.
mod serde_like {
    pub(super) struct Line {
        pub(super) id: u32,
        pub(super) n: u32,
        pub(super) none: u32,
    }
    pub(super) fn read(text: &str) -> Line {
        let field = |name: &str| {
            let (_, rest) = text.split_once(&format!("\"{name}\": ")).unwrap();
            rest.split([',', '}']).next().unwrap().to_owned()
        };
        Line {
            id: field("id").parse().unwrap(),
            n: field("n").parse().unwrap(),
            none: field("none").parse().unwrap(),
        }
    }
}

#[test]
fn words_change_places_and_stay_the_same_words() {
    let given = "the cat saw one dog and the man ran for his bus; Größe zählt";
    let words = |text: &str| {
        let mut words: Vec<_> = text.split(|c: char| !c.is_alphabetic()).map(str::to_owned).collect();
        words.sort();
        words
    };
    let mut different = 0;
    for seed in 0..100 {
        assert_eq!(text(given, Strength::Digits, seed), None);
        let Some(other) = text(given, Strength::Words, seed) else { continue };
        assert_eq!((words(&other), other.len()), (words(given), given.len()));
        different += 1;
    }
    assert!(different > 90, "{different} of 100");
    // Where no two words are as long, there is nothing to change.
    assert_eq!(text("a bc def", Strength::Words, 1), None);
}

#[test]
fn numbers_keep_their_digits_their_sign_and_their_size() {
    for seed in 0..300 {
        let Some(Value::S64(n)) = one(WitType::S64, Value::S64(-1_234), Strength::Digits, seed) else {
            continue;
        };
        assert!((-1_999..=-1_000).contains(&n), "{n}");
        // 200 and 255 are one byte apart from 256.
        let Some(Value::U16(n)) = one(WitType::U16, Value::U16(251), Strength::Digits, seed) else {
            continue;
        };
        assert!((200..256).contains(&n), "{n}");
        let Some(Value::S8(n)) = one(WitType::S8, Value::S8(-128), Strength::Digits, seed) else { continue };
        assert!((-128..=-100).contains(&n), "{n}");
        let Some(Value::U64(n)) = one(WitType::U64, Value::U64(u64::MAX), Strength::Digits, seed) else {
            continue;
        };
        assert!(n >= 10_000_000_000_000_000_000, "{n}");
        let Some(Value::F64(n)) = one(WitType::F64, Value::F64(-273.15), Strength::Digits, seed) else {
            continue;
        };
        assert!((-300.0..=-200.0).contains(&n), "{n}");
        let Some(Value::F32(n)) = one(WitType::F32, Value::F32(4_096.0), Strength::Digits, seed) else {
            continue;
        };
        assert!((4_000.0..5_000.0).contains(&n), "{n}");
        let Some(Value::Char(c)) = one(WitType::Char, Value::Char('5'), Strength::Digits, seed) else {
            continue;
        };
        assert!(c.is_ascii_digit());
    }
    for (ty, same) in [
        (WitType::U32, Value::U32(0)),
        (WitType::F64, Value::F64(f64::INFINITY)),
        (WitType::F64, Value::F64(f64::NAN)),
        (WitType::F64, Value::F64(-0.0)),
        (WitType::Char, Value::Char('x')),
        (WitType::Bool, Value::Bool(true)),
        (WitType::Enum(vec!["aa".into(), "bb".into()]), Value::Enum(0)),
        (WitType::Flags(vec!["a".into(), "b".into()]), Value::Flags(1)),
        (WitType::bytes(), Value::Bytes(b"2041".to_vec())),
        (WitType::String, Value::String(String::new())),
    ] {
        assert_eq!(one(ty, same, Strength::Digits, 1), None);
    }
}

#[test]
fn lists_are_permuted_and_flags_flipped_only_where_that_is_wanted() {
    let list = WitType::List(Box::new(WitType::String));
    let given: Vec<_> = ["a", "bb", "ccc", "dddd"].map(|t| Value::String(t.into())).into();
    assert_eq!(one(list.clone(), Value::List(given.clone()), Strength::Digits, 1), None);
    let permuted = one(list, Value::List(given.clone()), Strength::Words, 1).unwrap();
    let Value::List(items) = permuted else { panic!() };
    assert_eq!(items.len(), 4);
    assert!(given.iter().all(|item| items.contains(item)));

    let some = |ty: WitType, value: Value| {
        (0..50).find_map(|seed| one(ty.clone(), value.clone(), Strength::Strong, seed))
    };
    assert_eq!(some(WitType::Bool, Value::Bool(true)), Some(Value::Bool(false)));
    let names = || ["up", "left", "down"].map(str::to_owned).to_vec();
    assert_eq!(some(WitType::Enum(names()), Value::Enum(1)), Some(Value::Enum(2)));
    assert_eq!(some(WitType::Enum(names()), Value::Enum(0)), None);
    assert!(some(WitType::Flags(names()), Value::Flags(0)).is_some());
    let csv = Value::Bytes(b"name,n\nann,12\nbob,34\n".to_vec());
    assert!(one(WitType::bytes(), csv, Strength::Words, 3).is_some());
    let binary = || Value::Bytes(vec![0x89, b'P', b'N', b'G', 0, 0xff]);
    assert_eq!(one(WitType::bytes(), binary(), Strength::Words, 3), None);
    assert!(some(WitType::bytes(), binary()).is_some());
}

#[test]
fn arguments_that_are_none_are_refused() {
    assert_eq!(one(WitType::Bool, Value::U8(12), Strength::Strong, 1), None);
    let params = [Param { name: "x".into(), ty: WitType::U8 }];
    assert_eq!(perturb(&params, &[], Strength::Strong, &mut random(1)), None);
}

fn leaf() -> impl Strategy<Value = (WitType, Value)> {
    prop_oneof![
        any::<bool>().prop_map(|v| (WitType::Bool, Value::Bool(v))),
        any::<i8>().prop_map(|v| (WitType::S8, Value::S8(v))),
        any::<u8>().prop_map(|v| (WitType::U8, Value::U8(v))),
        any::<i16>().prop_map(|v| (WitType::S16, Value::S16(v))),
        any::<u16>().prop_map(|v| (WitType::U16, Value::U16(v))),
        any::<i32>().prop_map(|v| (WitType::S32, Value::S32(v))),
        any::<u32>().prop_map(|v| (WitType::U32, Value::U32(v))),
        any::<i64>().prop_map(|v| (WitType::S64, Value::S64(v))),
        any::<u64>().prop_map(|v| (WitType::U64, Value::U64(v))),
        any::<f32>().prop_map(|v| (WitType::F32, Value::F32(v))),
        any::<f64>().prop_map(|v| (WitType::F64, Value::F64(v))),
        any::<char>().prop_map(|v| (WitType::Char, Value::Char(v))),
        ".{0,40}".prop_map(|v| (WitType::String, Value::String(v))),
        "[a-z0-9 ,]{0,60}".prop_map(|v| (WitType::String, Value::String(v))),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|v| (WitType::bytes(), Value::Bytes(v))),
        "[a-z0-9,\n]{0,40}".prop_map(|v| (WitType::bytes(), Value::Bytes(v.into_bytes()))),
        (0..4_u32)
            .prop_map(|v| (WitType::Enum(["a", "b", "cc", "dd"].map(Into::into).into()), Value::Enum(v))),
        (0..1_u32 << 10)
            .prop_map(|v| (WitType::Flags((0..10).map(|n| format!("f{n}")).collect()), Value::Flags(v))),
    ]
}

fn any_value() -> impl Strategy<Value = (WitType, Value)> {
    leaf().prop_recursive(4, 24, 4, |inner| {
        let boxed = |v: &Value| Some(Box::new(v.clone()));
        prop_oneof![
            (inner.clone(), 0..5_usize).prop_map(|((ty, v), n)| {
                let items = vec![v; n];
                let value = Value::list(&ty, items).unwrap();
                (WitType::List(Box::new(ty)), value)
            }),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| {
                let (types, values): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
                let field = |(n, ty)| Field { name: format!("n{n}"), ty };
                (WitType::Record(types.into_iter().enumerate().map(field).collect()), Value::Record(values))
            }),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| {
                let (types, values) = parts.into_iter().unzip();
                (WitType::Tuple(types), Value::Tuple(values))
            }),
            inner.clone().prop_map(move |(ty, v)| {
                let some = Value::Variant(1, boxed(&v));
                let cases =
                    vec![Case { name: "no".into(), ty: None }, Case { name: "yes".into(), ty: Some(ty) }];
                (WitType::Variant(cases), some)
            }),
            inner.clone().prop_map(move |(ty, v)| (WitType::Option(Box::new(ty)), Value::Option(boxed(&v)))),
            (inner, any::<bool>()).prop_map(move |((ty, v), is_ok)| {
                let ty = Some(Box::new(ty));
                if is_ok {
                    (WitType::Result(ResultType { ok: ty, err: None }), Value::Result(Ok(boxed(&v))))
                } else {
                    (WitType::Result(ResultType { ok: None, err: ty }), Value::Result(Err(boxed(&v))))
                }
            }),
        ]
    })
}

proptest! {
    #[test]
    fn a_canarys_arguments_are_valid_others_and_exactly_as_long(
        given in prop::collection::vec(any_value(), 1..4), seed in any::<u64>(),
    ) {
        let params: Vec<_> = given.iter().enumerate()
            .map(|(n, (ty, _))| Param { name: format!("p{n}"), ty: ty.clone() }).collect();
        let values: Vec<_> = given.into_iter().map(|(_, v)| v).collect();
        let before = encode_params(&params, &values).unwrap();
        for strength in ALL {
            if let Some(other) = perturb(&params, &values, strength, &mut random(seed)) {
                let after = encode_params(&params, &other).unwrap();
                prop_assert_ne!(&after, &before);
                prop_assert_eq!(after.len(), before.len());
                // The same draw gives the same canary.
                prop_assert_eq!(encode_params(&params, &perturb(&params, &values, strength, &mut random(seed)).unwrap()), Ok(after));
            }
        }
    }

    #[test]
    fn any_text_with_a_longer_number_can_be_another(text_before in "[a-z ]{0,9}", n in 10..100_000_u32, seed in any::<u64>()) {
        let given = format!("{text_before}{n}");
        // Four draws of the last digit alone are the same one time in ten thousand.
        let found = (0..3).any(|more| text(&given, Strength::Digits, seed.wrapping_add(more * 1_000)).is_some());
        prop_assert!(found);
    }
}

#[test]
fn the_real_action_is_at_every_place_alike() {
    let mut places = [0; 3];
    for draw in 0..300 {
        places[order(2, draw)] += 1;
    }
    assert_eq!(places, [100; 3]);
    assert_eq!(order(0, u64::MAX), 0);
    assert!(order(u32::MAX, u64::MAX) <= u32::MAX as usize);
}

fn receipt() -> Receipt {
    let action = Action {
        requester: SecretKey::from_seed(&[1; 32]).did(),
        component: ComponentId::of(b"component"),
        function: "run".parse().unwrap(),
        args: BlobId::of(b"args"),
        limits: Limits::default(),
        permissions: BTreeSet::new(),
        seed: ByteArray::new([1; 32]),
        time_base: 1,
        nonce: ByteArray::new([2; 12]),
        partial: false,
    };
    Receipt {
        iss: SecretKey::from_seed(&[2; 32]).did(),
        iat: 1,
        action,
        authority: Authority::Public,
        invocation: Some(InvocationId::of(b"invocation")),
        withheld: BTreeSet::new(),
        profile: ProfileId::of(b"profile"),
        outcome: Outcome::Ok(BlobId::of(b"output")),
        fuel: 10,
        memory_bytes: 65_536,
        journal: Journal::default().id(),
        stdio: None,
    }
}

/// What is known of an action that ends as this receipt says.
fn known(r: &Receipt) -> Known {
    Known::of(r.profile, r.outcome.clone(), r.fuel, r.memory_bytes, r.journal, r.stdio)
}

#[test]
fn the_first_difference_is_named_as_replay_names_it() {
    let right = known(&receipt());
    assert_eq!(check(&right, &receipt()), None);
    type Lie = fn(&mut Receipt);
    // Each lie together with all that come after it in the order.
    let lies: [(&str, Lie); 6] = [
        ("outcome", |r| r.outcome = Outcome::GuestError(BlobId::of(b"output"))),
        ("output", |r| r.outcome = Outcome::Ok(BlobId::of(b"lie"))),
        ("fuel", |r| r.fuel += 1),
        ("memory", |r| r.memory_bytes += 1),
        ("journal", |r| r.journal = JournalId::of(b"lie")),
        ("stdio", |r| r.stdio = Some(BlobId::of(b"lie"))),
    ];
    for n in 0..lies.len() {
        let mut lied = receipt();
        for (_, lie) in lies[n..].iter().rev() {
            lie(&mut lied);
        }
        let found = check(&right, &lied).unwrap();
        assert_eq!(found.at, lies[n].0);
        assert_ne!(found.receipt, found.replay);
    }
    let failed = Receipt { outcome: Outcome::OutOfFuel, ..receipt() };
    let found = check(&right, &failed).unwrap();
    assert_eq!(
        (found.at.as_str(), found.receipt.as_str(), found.replay.as_str()),
        ("outcome", "out-of-fuel", "ok")
    );
}

#[test]
fn what_an_honest_machine_may_see_otherwise_is_no_divergence() {
    let right = known(&receipt());
    for outcome in [Outcome::TimedOut, Outcome::StackOverflow] {
        let other = Receipt { outcome, fuel: 99, ..receipt() };
        assert_eq!((check(&right, &other), right.comparable(&other)), (None, false));
        assert_eq!(check(&known(&other), &receipt()), None);
    }
    let other = Receipt { profile: ProfileId::of(b"another"), fuel: 99, ..receipt() };
    assert_eq!((check(&right, &other), right.comparable(&other)), (None, false));
}
