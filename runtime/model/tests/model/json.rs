//! JSON at the edges: what is refused, in which words, and which of two readings counts.

use crate::samples::{case, field, list, names, option, param, some};
use actum_model::{
    Value, WitType,
    json::{
        JsonError, from_json, params_from_json, params_from_json_with, params_to_json, result_to_json,
        to_json,
    },
    types::ResultType,
};
use serde_json::{Value as Json, json};

fn read(ty: &WitType, json: Json) -> Value {
    from_json(ty, &json).unwrap_or_else(|e| panic!("{json}: {e}"))
}
fn words(ty: &WitType, json: Json) -> String {
    match from_json(ty, &json) {
        Ok(value) => panic!("{json} was read as {value:?}"),
        Err(e) => e.to_string(),
    }
}
fn result(ok: Option<WitType>, err: Option<WitType>) -> WitType {
    WitType::Result(ResultType { ok: ok.map(Box::new), err: err.map(Box::new) })
}

#[test]
fn a_wrong_type_says_which_field_expected_what_got_what() {
    let item = WitType::Record(vec![field("name", WitType::String), field("size", option(WitType::U8))]);
    let params =
        [param("text", WitType::String), param("options", WitType::Record(vec![field("items", list(item))]))];
    let error = |json| params_from_json(&params, &json).unwrap_err().to_string();
    assert_eq!(
        error(json!(["t", {"items": [{"name": "a"}, {"name": 7}]}])),
        "options.items[1].name: expected string, got 7"
    );
    assert_eq!(
        error(json!(["t", {"items": [{"nmae": "a"}]}])),
        "options.items[0]: unknown field \"nmae\", did you mean \"name\"?; known: name, size"
    );
    assert_eq!(
        error(json!(["t", {"items": [{}]}])),
        "options.items[0]: the field \"name\" (string) is missing"
    );
    assert_eq!(
        error(json!({"text": "t", "option": {}})),
        "arguments: unknown parameter \"option\", did you mean \"options\"?; known: text, options"
    );
    assert_eq!(
        error(json!({"text": "t"})).split(" (").next().unwrap(),
        "arguments: the parameter \"options\""
    );
    assert_eq!(
        error(json!(["t"])),
        "expected 2 arguments (text: string, options: record { items: list<record { name: string, size: option<u8…) \
         as an array, or an object by name, got [\"t\"]"
    );
    assert_eq!(
        error(json!(["t", {"items": [{"name": "a", "size": 256}]}])),
        "options.items[0].size: expected u8 (an integer from 0 to 255), got 256"
    );
}

#[test]
fn integers() {
    assert_eq!(read(&WitType::U64, json!("18446744073709551615")), Value::U64(u64::MAX));
    assert_eq!(read(&WitType::U64, json!(u64::MAX)), Value::U64(u64::MAX));
    assert_eq!(read(&WitType::S64, json!("-9223372036854775808")), Value::S64(i64::MIN));
    assert_eq!(to_json(&WitType::U64, &Value::U64(1 << 53)), json!(9_007_199_254_740_992_u64));
    assert_eq!(to_json(&WitType::U64, &Value::U64((1 << 53) + 1)), json!("9007199254740993"));
    assert_eq!(to_json(&WitType::S64, &Value::S64(-(1 << 53) - 1)), json!("-9007199254740993"));
    for json in [json!(1.0), json!(-1), json!("1"), json!(true), json!(null), json!(4_294_967_296_u64)] {
        assert!(words(&WitType::U32, json).contains("u32 (an integer from 0 to 4294967295)"));
    }
    for json in [json!("+1"), json!(" 1"), json!(""), json!("-"), json!("0x1"), json!("18446744073709551616")]
    {
        words(&WitType::U64, json);
    }
    words(&WitType::S64, json!(9_223_372_036_854_775_808_u64));
}

#[test]
fn floats() {
    assert_eq!(read(&WitType::F64, json!(1)), Value::F64(1.0));
    assert_eq!(to_json(&WitType::F32, &Value::F32(0.1)).to_string(), "0.1");
    assert_eq!(to_json(&WitType::F64, &Value::F64(f64::NAN)), json!("nan"));
    assert_eq!(read(&WitType::F32, json!("-inf")), Value::F32(f32::NEG_INFINITY));
    assert!(words(&WitType::F32, json!(1e39)).contains("f32 (at most 3.4028235e38"));
    words(&WitType::F64, json!("NaN"));
    words(&WitType::F64, json!("1"));
}

#[test]
fn bytes_are_base64_in_one_form() {
    assert_eq!(read(&WitType::bytes(), json!("aGk=")), Value::Bytes(b"hi".to_vec()));
    assert_eq!(to_json(&WitType::bytes(), &Value::Bytes(b"hi".to_vec())), json!("aGk="));
    for json in [json!("aGk"), json!("aGk=\n"), json!("aG-_"), json!("aGl="), json!([104, 105]), json!(null)]
    {
        assert!(words(&WitType::bytes(), json).contains("base64"));
    }
}

#[test]
fn files_are_for_the_caller_to_read() {
    let params = [param("data", WitType::bytes()), param("name", WitType::String)];
    let json = json!(["@a.png", "@b"]);
    let error = params_from_json(&params, &json).unwrap_err().to_string();
    assert!(error.starts_with("data: cannot use \"@a.png\": files are read only"), "{error}");
    let mut asked = Vec::new();
    let values = params_from_json_with(&params, &json, &mut |path| {
        asked.push(path.to_owned());
        Ok(b"png".to_vec())
    });
    assert_eq!(values.unwrap(), [Value::Bytes(b"png".to_vec()), Value::String("@b".into())]);
    assert_eq!(asked, ["a.png"]);
    let one = [param("data", WitType::bytes())];
    for json in [json!("@a.png"), json!(["@a.png"]), json!({"data": "@a.png"})] {
        let error = params_from_json_with(&one, &json, &mut |_| Err("no such file".into())).unwrap_err();
        assert_eq!(error.to_string(), "data: cannot use \"@a.png\": no such file");
        assert!(params_from_json_with(&one, &json, &mut |_| Ok(vec![])).is_ok());
    }
}

#[test]
fn options() {
    let twice = option(option(WitType::U8));
    let none = Value::Option(None);
    for (json, value) in [
        (json!(null), none.clone()),
        (json!({"some": null}), some(none)),
        (json!({"some": 7}), some(some(Value::U8(7)))),
    ] {
        assert_eq!(read(&twice, json.clone()), value);
        assert_eq!(to_json(&twice, &value), json);
    }
    assert!(words(&twice, json!(7)).contains("{\"some\": option<u8>}"));
    let record = WitType::Record(vec![field("a", option(WitType::U8)), field("b", WitType::Bool)]);
    assert_eq!(read(&record, json!({"b": true})), read(&record, json!({"a": null, "b": true})));
}

#[test]
fn variants_results_enums_and_flags() {
    let variant = WitType::Variant(vec![case("none", None), case("at", Some(option(WitType::U8)))]);
    assert_eq!(read(&variant, json!("none")), Value::Variant(0, None));
    let at = |v: Value| Value::Variant(1, Some(Box::new(v)));
    assert_eq!(read(&variant, json!({"at": null})), at(Value::Option(None)));
    assert_eq!(
        words(&variant, json!("at")),
        "value: expected {\"at\": payload}, the payload of option<u8>, got \"at\""
    );
    assert!(words(&variant, json!({"none": null})).contains("without a payload"));
    assert!(words(&variant, json!({"att": 1})).contains("did you mean \"at\"?"));
    words(&variant, json!({"at": 1, "none": 2}));
    words(&variant, json!({}));

    let r = result(None, Some(WitType::String));
    assert_eq!(read(&r, json!("ok")), Value::Result(Ok(None)));
    assert_eq!(to_json(&r, &Value::Result(Ok(None))), json!("ok"));
    let failed = Value::Result(Err(Some(Box::new(Value::String("no".into())))));
    assert_eq!(read(&r, json!({"err": "no"})), failed);
    assert_eq!(result_to_json(Some(&r), Some(&failed)), json!({"err": "no"}));
    assert_eq!(result_to_json(None, None), json!(null));
    words(&r, json!("err"));
    words(&r, json!({"ok": null}));

    let e = WitType::Enum(names(&["red", "green"]));
    assert_eq!(read(&e, json!("green")), Value::Enum(1));
    assert_eq!(
        words(&e, json!("grene")),
        "value: unknown case \"grene\", did you mean \"green\"?; known: red, green"
    );
    assert_eq!(words(&e, json!("zzzzzzzz")), "value: unknown case \"zzzzzzzz\"; known: red, green");

    let f = WitType::Flags(names(&["r", "w", "x"]));
    assert_eq!(read(&f, json!(["x", "r"])), Value::Flags(0b101));
    assert_eq!(to_json(&f, &Value::Flags(0b101)), json!(["r", "x"]));
    assert!(words(&f, json!(["r", "r"])).contains("value[1]: expected each flag at most once"));
    words(&f, json!(["q"]));
    words(&f, json!("r"));
}

#[test]
fn a_large_value_is_quoted_in_at_most_60_characters() {
    let long = json!({"a": "x".repeat(1 << 20), "b": [1, 2, 3]});
    let JsonError::Mismatch { found, .. } = from_json(&WitType::Bool, &long).unwrap_err() else { panic!() };
    assert_eq!(found.chars().count(), 60);
}

fn one(ty: WitType, json: Json) -> Result<Value, JsonError> {
    params_from_json(&[param("p", ty)], &json).map(|mut v| v.remove(0))
}

#[test]
fn one_parameter_may_stand_bare() {
    assert_eq!(one(WitType::String, json!("a")).unwrap(), Value::String("a".into()));
    assert_eq!(one(WitType::String, json!(["a"])).unwrap(), Value::String("a".into()));
    assert_eq!(one(WitType::String, json!({"p": "a"})).unwrap(), Value::String("a".into()));
    let numbers = |n: &[u32]| Value::List(n.iter().map(|n| Value::U32(*n)).collect());
    let ty = list(WitType::U32);
    assert_eq!(one(ty.clone(), json!([])).unwrap(), numbers(&[]));
    assert_eq!(one(ty.clone(), json!([1])).unwrap(), numbers(&[1]));
    assert_eq!(one(ty.clone(), json!([1, 2])).unwrap(), numbers(&[1, 2]));
    assert_eq!(one(ty.clone(), json!([[1]])).unwrap(), numbers(&[1]));
    assert_eq!(one(ty, json!([[]])).unwrap(), numbers(&[]));
    let record = WitType::Record(vec![field("q", WitType::U32)]);
    let value = Value::Record(vec![Value::U32(1)]);
    for json in [json!({"q": 1}), json!([{"q": 1}]), json!({"p": {"q": 1}})] {
        assert_eq!(one(record.clone(), json).unwrap(), value);
    }
    let same = WitType::Record(vec![field("p", WitType::U32)]);
    for json in [json!({"p": 1}), json!([{"p": 1}]), json!({"p": {"p": 1}})] {
        assert_eq!(one(same.clone(), json).unwrap(), value);
    }
    assert_eq!(one(option(WitType::U32), json!(null)).unwrap(), Value::Option(None));
    assert_eq!(one(option(WitType::U32), json!({})).unwrap(), Value::Option(None));
}

#[test]
fn what_two_readings_fit_is_refused_unless_they_mean_the_same() {
    let nested = list(list(WitType::U32));
    let error = one(nested.clone(), json!([[]])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`[[]]` can be read in two ways: as the list of arguments, or as \"p\" itself; write `{\"p\":[]}` or `{\"p\":[[]]}`"
    );
    assert_eq!(one(nested.clone(), json!({"p": []})).unwrap(), Value::List(vec![]));
    assert_eq!(one(nested.clone(), json!({"p": [[]]})).unwrap(), Value::List(vec![Value::List(vec![])]));
    assert!(one(nested, json!([[1]])).is_ok());
    let optional = option(list(option(WitType::U32)));
    assert!(matches!(one(optional.clone(), json!([null])), Err(JsonError::Ambiguous { .. })));
    assert_eq!(one(optional.clone(), json!({"p": null})).unwrap(), Value::Option(None));
    let all_optional = option(WitType::Record(vec![field("a", option(WitType::U32))]));
    assert!(matches!(one(all_optional, json!({})), Err(JsonError::Ambiguous { .. })));
    // By name is by name, even where the bare value would fit too.
    let inner =
        WitType::Record(vec![field("p", option(WitType::Record(vec![field("p", option(WitType::U32))])))]);
    let by_name = one(inner.clone(), json!({"p": {}})).unwrap();
    assert_eq!(by_name, Value::Record(vec![Value::Option(None)]));
    assert_eq!(params_to_json(&[param("p", inner)], &[by_name]), json!({"p": {"p": null}}));
}

#[test]
fn what_no_reading_fits_says_why_for_both() {
    let error = one(list(WitType::U32), json!(["x"])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "read as the arguments: p: expected list<u32>, got \"x\"; \
         read as \"p\" itself: p[0]: expected u32 (an integer from 0 to 4294967295), got \"x\""
    );
    let error = one(WitType::U32, json!("x")).unwrap_err();
    assert_eq!(error.to_string(), "p: expected u32 (an integer from 0 to 4294967295), got \"x\"");
}

#[test]
fn no_parameters_take_nothing() {
    assert_eq!(params_from_json(&[], &json!([])).unwrap(), []);
    assert_eq!(params_from_json(&[], &json!({})).unwrap(), []);
    let error = params_from_json(&[], &json!([1])).unwrap_err().to_string();
    assert_eq!(error, "expected no arguments: [] or {}, got [1]");
    assert!(params_from_json(&[], &json!(null)).is_err());
}
