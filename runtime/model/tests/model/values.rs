//! The encoding of values: one byte string for each, and every other one refused with its place.

use crate::samples::{case, field, list, names, option, param, some};
use actum_model::{
    Param, Value, WitType, codec, json,
    types::ResultType,
    value::{
        MAX_DEPTH, MAX_VALUES, ValueError, check, decode_params, decode_result, encode_params, encode_result,
        encode_result_of,
    },
};
use ipld_core::ipld::Ipld;
use proptest::{collection::vec, prelude::*};

/// Any type that a component can have, a few levels deep.
pub(crate) fn any_type() -> impl Strategy<Value = WitType> {
    use WitType::*;
    let names = |most| vec("[a-c]{0,2}", 1..most).prop_map(numbered);
    let leaf = prop_oneof![
        prop::sample::select(vec![
            Bool,
            S8,
            U8,
            S16,
            U16,
            S32,
            U32,
            S64,
            U64,
            F32,
            F64,
            Char,
            String,
            WitType::bytes()
        ]),
        names(5).prop_map(Enum),
        names(33).prop_map(Flags),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let named = vec(("[a-c]{0,2}", inner.clone()), 1..4);
        let cases = vec(("[a-c]{0,2}", prop::option::of(inner.clone())), 1..4);
        let side = prop::option::of(inner.clone().prop_map(Box::new));
        prop_oneof![
            inner.clone().prop_map(|t| List(Box::new(t))),
            inner.clone().prop_map(|t| Option(Box::new(t))),
            inner.clone().prop_map(|t| Option(Box::new(Option(Box::new(t))))),
            vec(inner, 1..4).prop_map(Tuple),
            named.prop_map(|fields| {
                let (names, types): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
                Record(numbered(names).iter().zip(types).map(|(n, t)| field(n, t)).collect())
            }),
            cases.prop_map(|cases| {
                let (names, types): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
                Variant(numbered(names).iter().zip(types).map(|(n, t)| case(n, t)).collect())
            }),
            (side.clone(), side).prop_map(|(ok, err)| Result(ResultType { ok, err })),
        ]
    })
}

/// Makes names unique without making them all alike.
fn numbered(names: Vec<String>) -> Vec<String> {
    names.into_iter().enumerate().map(|(i, n)| format!("{n}x{i}")).collect()
}

/// Any value of a type.
pub(crate) fn any_value(ty: &WitType) -> BoxedStrategy<Value> {
    let boxed = |ty: &WitType| any_value(ty).prop_map(Box::new);
    match ty {
        WitType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        WitType::S8 => any::<i8>().prop_map(Value::S8).boxed(),
        WitType::U8 => any::<u8>().prop_map(Value::U8).boxed(),
        WitType::S16 => any::<i16>().prop_map(Value::S16).boxed(),
        WitType::U16 => any::<u16>().prop_map(Value::U16).boxed(),
        WitType::S32 => any::<i32>().prop_map(Value::S32).boxed(),
        WitType::U32 => any::<u32>().prop_map(Value::U32).boxed(),
        WitType::S64 => prop_oneof![any::<i64>(), -300..300_i64].prop_map(Value::S64).boxed(),
        WitType::U64 => prop_oneof![any::<u64>(), 0..300_u64].prop_map(Value::U64).boxed(),
        WitType::F32 => any::<u32>().prop_map(|b| Value::F32(f32::from_bits(b))).boxed(),
        WitType::F64 => prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            prop::sample::select(vec![0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, 0.1]),
        ]
        .prop_map(Value::F64)
        .boxed(),
        WitType::Char => any::<char>().prop_map(Value::Char).boxed(),
        WitType::String => any::<String>().prop_map(Value::String).boxed(),
        WitType::List(_) if ty.is_bytes() => vec(any::<u8>(), 0..40).prop_map(Value::Bytes).boxed(),
        WitType::List(t) => vec(any_value(t), 0..4).prop_map(Value::List).boxed(),
        WitType::Record(fields) => {
            fields.iter().map(|f| any_value(&f.ty)).collect::<Vec<_>>().prop_map(Value::Record).boxed()
        }
        WitType::Tuple(types) => {
            types.iter().map(any_value).collect::<Vec<_>>().prop_map(Value::Tuple).boxed()
        }
        WitType::Variant(cases) => {
            let cases: Vec<_> = (0..)
                .zip(cases)
                .map(|(i, c): (u32, _)| match &c.ty {
                    Some(ty) => boxed(ty).prop_map(move |v| Value::Variant(i, Some(v))).boxed(),
                    None => Just(Value::Variant(i, None)).boxed(),
                })
                .collect();
            prop::strategy::Union::new(cases).boxed()
        }
        WitType::Enum(cases) => (0..u32::try_from(cases.len()).unwrap()).prop_map(Value::Enum).boxed(),
        WitType::Option(t) => prop::option::of(boxed(t)).prop_map(Value::Option).boxed(),
        WitType::Result(sides) => {
            let side = |t: &Option<Box<WitType>>| match t {
                Some(t) => boxed(t).prop_map(Some).boxed(),
                None => Just(None).boxed(),
            };
            prop_oneof![side(&sides.ok).prop_map(Ok), side(&sides.err).prop_map(Err)]
                .prop_map(Value::Result)
                .boxed()
        }
        WitType::Flags(flags) => {
            let all = u32::try_from((1_u64 << flags.len()) - 1).unwrap();
            any::<u32>().prop_map(move |bits| Value::Flags(bits & all)).boxed()
        }
    }
}

fn typed_value() -> impl Strategy<Value = (WitType, Value)> {
    any_type().prop_flat_map(|ty| {
        let value = any_value(&ty);
        (Just(ty), value)
    })
}

/// A value as text, in which every float has its own, NaN among them, and -0 is not 0.
fn text(value: &Value) -> String {
    format!("{value:?}")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn decoding_undoes_encoding((ty, value) in typed_value()) {
        prop_assert!(ty.check().is_ok());
        check(&ty, &value).unwrap();
        let bytes = encode_result(Some(&ty), Some(&value)).unwrap();
        let back = decode_result(Some(&ty), &bytes, bytes.len()).unwrap().unwrap();
        prop_assert_eq!(text(&back), text(&value));
        prop_assert_eq!(&encode_result(Some(&ty), Some(&back)).unwrap(), &bytes);
        prop_assert_eq!(encode_result_of(Some(&ty), Some(back)).unwrap(), bytes);
    }

    #[test]
    fn the_dag_cbor_library_agrees_that_it_is_canonical((ty, value) in typed_value()) {
        let bytes = encode_params(&[param("x", ty)], &[value]).unwrap();
        let ipld: Ipld = codec::decode(&bytes, bytes.len()).unwrap();
        prop_assert_eq!(codec::encode(&ipld), bytes);
    }

    #[test]
    fn json_round_trips((ty, value) in typed_value()) {
        let written = json::to_json(&ty, &value).to_string();
        let read = json::from_json(&ty, &serde_json::from_str(&written).unwrap()).unwrap();
        prop_assert_eq!(text(&read), text(&value), "{}", written);
        let params = [param("x0", ty)];
        let written = json::params_to_json(&params, std::slice::from_ref(&value)).to_string();
        let read = json::params_from_json(&params, &serde_json::from_str(&written).unwrap()).unwrap();
        prop_assert_eq!(text(&read[0]), text(&value), "{}", written);
    }

    #[test]
    fn random_bytes_are_refused_or_canonical(ty in any_type(), bytes in vec(any::<u8>(), 0..40)) {
        if let Ok(value) = decode_result(Some(&ty), &bytes, 64) {
            prop_assert_eq!(encode_result(Some(&ty), value.as_ref()).unwrap(), bytes);
        }
    }

    #[test]
    fn damaged_bytes_are_refused_or_canonical(
        (ty, value) in typed_value(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()
    ) {
        let mut bytes = encode_result(Some(&ty), Some(&value)).unwrap();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at); } else { bytes[at] = byte; }
        if let Ok(value) = decode_result(Some(&ty), &bytes, bytes.len()) {
            prop_assert_eq!(encode_result(Some(&ty), value.as_ref()).unwrap(), bytes);
        }
    }

    #[test]
    fn a_value_of_another_type_never_panics((ty, value) in typed_value(), other in any_type()) {
        let _ = ty;
        if let Ok(bytes) = encode_result(Some(&other), Some(&value)) {
            prop_assert_eq!(text(&decode_result(Some(&other), &bytes, bytes.len()).unwrap().unwrap()), text(&value));
        }
        let _ = json::to_json(&other, &value);
    }
}

fn encoded(ty: WitType, value: Value) -> Vec<u8> {
    encode_result(Some(&ty), Some(&value)).unwrap()
}

#[test]
fn forms() {
    assert_eq!(encoded(WitType::Bool, Value::Bool(true)), [0xf5]);
    assert_eq!(encoded(WitType::S64, Value::S64(i64::MIN)), b"\x3b\x7f\xff\xff\xff\xff\xff\xff\xff");
    assert_eq!(encoded(WitType::U64, Value::U64(u64::MAX)), b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff");
    assert_eq!(encoded(WitType::S8, Value::S8(-1)), [0x20]);
    assert_eq!(encoded(WitType::F32, Value::F32(1.5)), b"\xfb\x3f\xf8\0\0\0\0\0\0");
    assert_eq!(encoded(WitType::F32, Value::F32(f32::NAN)), b"\x63nan");
    assert_eq!(encoded(WitType::F64, Value::F64(f64::NEG_INFINITY)), b"\x64-inf");
    assert_eq!(encoded(WitType::F64, Value::F64(-0.0)), b"\x62-0");
    assert_eq!(encoded(WitType::Char, Value::Char('é')), b"\x62\xc3\xa9");
    assert_eq!(encoded(WitType::bytes(), Value::Bytes(vec![1, 2])), b"\x42\x01\x02");
    assert_eq!(encoded(list(WitType::S8), Value::List(vec![Value::S8(1)])), b"\x81\x01");
    assert_eq!(encoded(WitType::Enum(names(&["a", "b"])), Value::Enum(1)), b"\x61b");
    let variant = WitType::Variant(vec![case("a", None), case("b", Some(WitType::U8))]);
    assert_eq!(encoded(variant.clone(), Value::Variant(0, None)), b"\x61a");
    assert_eq!(encoded(variant, Value::Variant(1, Some(Box::new(Value::U8(7))))), b"\xa1\x61b\x07");
    let none = Value::Option(None);
    assert_eq!(encoded(option(WitType::U8), none.clone()), b"\xf6");
    assert_eq!(encoded(option(WitType::U8), some(Value::U8(7))), b"\x07");
    assert_eq!(encoded(option(option(WitType::U8)), none.clone()), b"\xf6");
    assert_eq!(encoded(option(option(WitType::U8)), some(none)), b"\x81\xf6");
    assert_eq!(encoded(option(option(WitType::U8)), some(some(Value::U8(7)))), b"\x81\x07");
    let result = WitType::Result(ResultType { ok: None, err: Some(Box::new(WitType::U8)) });
    assert_eq!(encoded(result.clone(), Value::Result(Ok(None))), b"\xa1\x62ok\xf6");
    assert_eq!(encoded(result, Value::Result(Err(Some(Box::new(Value::U8(7)))))), b"\xa1\x63err\x07");
    assert_eq!(encoded(WitType::Flags(names(&["a", "b"])), Value::Flags(0b10)), b"\x02");
    assert_eq!(encode_result(None, None).unwrap(), b"\xf6");
    assert_eq!(decode_result(None, b"\xf6", 1).unwrap(), None);
    assert_eq!(encode_params(&[], &[]).unwrap(), b"\x80");
}

fn refused(ty: &WitType, bytes: &[u8]) -> ValueError {
    decode_result(Some(ty), bytes, 1 << 20).unwrap_err()
}

#[test]
fn bytes_that_are_not_canonical() {
    let not_canonical = |ty: WitType, bytes: &[u8]| match refused(&ty, bytes) {
        ValueError::NotCanonical { .. } => {}
        other => panic!("{other}"),
    };
    not_canonical(WitType::U32, b"\x18\x17");
    not_canonical(WitType::U32, b"\x19\0\xff");
    not_canonical(WitType::U32, b"\x1a\0\0\xff\xff");
    not_canonical(WitType::U32, b"\x1b\0\0\0\0\xff\xff\xff\xff");
    not_canonical(WitType::S32, b"\x38\x01");
    not_canonical(WitType::String, b"\x78\x01a");
    not_canonical(WitType::String, b"\x7f\x61a\xff");
    not_canonical(WitType::bytes(), b"\x5f\x41a\xff");
    not_canonical(list(WitType::Bool), b"\x9f\xff");
    not_canonical(list(WitType::Bool), b"\x98\x01\xf5");
    not_canonical(WitType::F64, b"\xfb\x80\0\0\0\0\0\0\0");
    not_canonical(WitType::F64, b"\xfb\x7f\xf8\0\0\0\0\0\0");
    not_canonical(WitType::F64, b"\xfb\x7f\xf0\0\0\0\0\0\0");
}

#[test]
fn bytes_of_another_type() {
    let flags = WitType::Flags(names(&["a", "b"]));
    let variant = WitType::Variant(vec![case("a", None), case("b", Some(WitType::U8))]);
    let result = WitType::Result(ResultType { ok: None, err: Some(Box::new(WitType::U8)) });
    let wrong: [(WitType, &[u8]); 25] = [
        (WitType::Bool, b"\x01"),
        (WitType::Bool, b"\xf6"),
        (WitType::U8, b"\x19\x01\0"),
        (WitType::U8, b"\x20"),
        (WitType::S8, b"\x18\x80"),
        (WitType::S64, b"\x1b\x80\0\0\0\0\0\0\0"),
        (WitType::S64, b"\x3b\x80\0\0\0\0\0\0\0"),
        (WitType::U8, b"\xfb\x3f\xf0\0\0\0\0\0\0"),
        (WitType::F64, b"\x01"),
        (WitType::F64, b"\xfa\x3f\x80\0\0"),
        (WitType::F64, b"\xf9\x3c\0"),
        (WitType::F64, b"\x63NaN"),
        (WitType::F32, b"\xfb\x3f\xb9\x99\x99\x99\x99\x99\x9a"),
        (WitType::Char, b"\x60"),
        (WitType::Char, b"\x62ab"),
        (WitType::String, b"\x61\xff"),
        (WitType::bytes(), b"\x81\x01"),
        (list(WitType::S8), b"\x41\x01"),
        (flags, b"\x04"),
        (variant.clone(), b"\x61b"),
        (variant.clone(), b"\xa1\x61a\xf6"),
        (variant, b"\xa2\x61b\x01\x61c\x01"),
        (result.clone(), b"\xa1\x62ok\x01"),
        (result, b"\xa0"),
        (option(option(WitType::U8)), b"\x07"),
    ];
    for (ty, bytes) in wrong {
        match refused(&ty, bytes) {
            ValueError::Mismatch { .. } => {}
            other => panic!("{ty}: {other}"),
        }
    }
}

#[test]
fn an_error_names_the_place_what_was_expected_and_what_is_there() {
    let item = WitType::Record(vec![field("name", WitType::String)]);
    let options = WitType::Record(vec![field("items", list(item))]);
    let params = [param("text", WitType::String), param("options", options)];
    let items = b"\x82\x61t\x81\x84\x81\x61a\x81\x61b\x81\x61c\x81\x07";
    let error = decode_params(&params, items, 100).unwrap_err();
    assert_eq!(error.to_string(), "options.items[3].name: expected string, found integer 7");
    let error = encode_params(&params, &[Value::String("t".into()), Value::U8(1)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "options: expected record { items: list<record { name: string }> }, found u8 1"
    );
    assert_eq!(
        decode_params(&params, b"\x81\x61t", 100).unwrap_err().to_string(),
        "expected 2 arguments, found 1"
    );
}

#[test]
fn trailing_bytes_and_bytes_over_the_limit() {
    let trailing = decode_result(Some(&WitType::Bool), b"\xf5\xf5\0", 10).unwrap_err();
    assert_eq!(trailing, ValueError::Trailing { bytes: 2 });
    let large = decode_result(Some(&WitType::bytes()), &[0; 11], 10).unwrap_err();
    assert_eq!(large, ValueError::TooLarge { actual: 11, limit: 10 });
    assert!(decode_result(None, b"\xf6\xf6", 10).is_err());
    assert!(decode_params(&[], b"\x80\x80", 10).is_err());
}

#[test]
fn announced_lengths_without_their_bytes_cost_nothing() {
    for head in
        [&b"\x9b\0\0\0\x01\0\0\0\0"[..], b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", b"\x9a\xff\xff\xff\xff"]
    {
        let cut = refused(&list(WitType::String), head);
        assert_eq!(cut, ValueError::CutShort { path: "result".into() });
        let text: Vec<u8> = [&[head[0] - 0x20], &head[1..]].concat();
        assert_eq!(refused(&WitType::String, &text), ValueError::CutShort { path: "result".into() });
        let bytes: Vec<u8> = [&[head[0] - 0x40], &head[1..]].concat();
        assert_eq!(refused(&WitType::bytes(), &bytes), ValueError::CutShort { path: "result".into() });
        let params: &[Param] = &[];
        assert!(matches!(decode_params(params, head, 100), Err(ValueError::Count { .. })));
    }
}

#[test]
fn too_deep_and_too_many() {
    let (mut ty, mut value, mut bytes) = (WitType::Bool, Value::Bool(true), vec![0xf5]);
    for _ in 0..MAX_DEPTH {
        ty = list(ty);
        value = Value::List(vec![value]);
        bytes.insert(0, 0x81);
    }
    assert_eq!(encode_result(Some(&ty), Some(&value)).unwrap(), bytes);
    assert_eq!(decode_result(Some(&ty), &bytes, 100).unwrap(), Some(value.clone()));
    ty = list(ty);
    value = Value::List(vec![value]);
    bytes.insert(0, 0x81);
    assert!(matches!(encode_result(Some(&ty), Some(&value)), Err(ValueError::TooDeep { .. })));
    assert!(matches!(refused(&ty, &bytes), ValueError::TooDeep { .. }));

    let mut bytes = vec![0xf5; MAX_VALUES + 5];
    bytes[..5].copy_from_slice(&[0x9a, 0, 0x40, 0, 0]);
    let many = decode_result(Some(&list(WitType::Bool)), &bytes, bytes.len()).unwrap_err();
    assert!(matches!(many, ValueError::TooMany { .. }), "{many}");
}

#[test]
fn only_bytes_are_a_list_of_u8() {
    let items = vec![Value::U8(1), Value::U8(2)];
    assert!(check(&WitType::bytes(), &Value::List(items.clone())).is_err());
    assert!(check(&list(WitType::S8), &Value::Bytes(vec![1])).is_err());
    assert_eq!(Value::list(&WitType::U8, items.clone()).unwrap(), Value::Bytes(vec![1, 2]));
    assert_eq!(Value::list(&WitType::U16, items.clone()).unwrap(), Value::List(items));
    assert!(Value::list(&WitType::U8, vec![Value::Bool(true)]).is_err());
}

#[test]
fn bytes_and_text_become_their_encoding_where_they_lie() {
    let result = |ok: Option<WitType>, err: Option<WitType>| {
        WitType::Result(ResultType { ok: ok.map(Box::new), err: err.map(Box::new) })
    };
    for len in [0, 1, 23, 24, 255, 256, 65_535, 65_536] {
        let (bytes, text) = (Value::Bytes(vec![7; len]), Value::String("x".repeat(len)));
        let inside = |value: &Value| Some(Box::new(value.clone()));
        let both = result(Some(WitType::bytes()), Some(WitType::String));
        for (ty, value) in [
            (WitType::bytes(), bytes.clone()),
            (WitType::String, text.clone()),
            (both.clone(), Value::Result(Ok(inside(&bytes)))),
            (both.clone(), Value::Result(Err(inside(&text)))),
            (result(None, Some(WitType::String)), Value::Result(Ok(None))),
            // Not of the type: refused all the same.
            (WitType::String, bytes.clone()),
            (both.clone(), Value::Result(Ok(inside(&text)))),
            (WitType::U8, text.clone()),
        ] {
            let (borrowed, owned) =
                (encode_result(Some(&ty), Some(&value)), encode_result_of(Some(&ty), Some(value)));
            assert_eq!(borrowed, owned, "{ty:?} of {len}");
        }
    }
}
