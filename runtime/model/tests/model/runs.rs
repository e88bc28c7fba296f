//! Actions as invocations: there and back, what is refused, and what policies see.

use crate::samples::{self, case, field, list, names, option, param, provider, requester, some};
use actum_model::{
    Action, Claim, DelegationId, Granted, Invocation, Limits, RunArgs, Signed, Value, WitType, json,
    run::{InputError, MAX_INPUT_VALUES, MAX_INVOCATION_LIFE, RunError, Use, ask_for, input_of, policy_args},
    types::ResultType,
    ucan::MAX_CHAIN,
    value::encode_params,
};
use data_encoding::BASE64;
use ipld_core::ipld::Ipld;
use proptest::{collection::vec, prelude::*};
use serde_bytes::{ByteArray, ByteBuf};
use serde_json::Value as Json;

const NOW: u64 = 1_790_000_000;

fn claim() -> Claim {
    Claim::of(&samples::release())
}

fn invocation() -> Invocation {
    let (aud, sub) = (provider().did(), samples::author().did());
    RunArgs::invocation(&samples::action(), &claim(), aud, sub, vec![], NOW + MAX_INVOCATION_LIFE, NOW)
}

fn any_action() -> impl Strategy<Value = Action> {
    let limits = any::<[u64; 7]>().prop_map(|[a, b, c, d, e, f, g]| Limits {
        fuel: a,
        memory_bytes: b,
        table_elements: c,
        instances: d,
        output_bytes: e,
        stdio_bytes: f,
        journal_bytes: g,
    });
    let permission = prop::sample::select(vec![
        "network",
        "http:GET,POST:https://example.com:8443",
        "http:http://[::1]",
        "keyvalue:notes:read:keys=a*",
        "config:key=a value",
    ]);
    let permissions = vec(permission, 0..4)
        .prop_map(|texts| texts.into_iter().map(|t| t.parse::<Granted>().unwrap()).collect());
    let rest = (any::<[u8; 32]>(), any::<u64>(), any::<[u8; 12]>(), any::<bool>());
    (limits, permissions, rest).prop_map(|(limits, permissions, (seed, time_base, nonce, partial))| Action {
        limits,
        permissions,
        seed: ByteArray::new(seed),
        time_base,
        nonce: ByteArray::new(nonce),
        partial,
        ..samples::action()
    })
}

proptest! {
    #[test]
    fn an_action_is_what_its_invocation_asks_for(action in any_action(), proofs in 0..=MAX_CHAIN) {
        let prf = (0..proofs).map(|n| DelegationId::of(&[u8::try_from(n).unwrap()])).collect::<Vec<_>>();
        let (aud, sub) = (provider().did(), samples::author().did());
        let invocation = RunArgs::invocation(&action, &claim(), aud, sub, prf.clone(), NOW + 1, NOW);
        prop_assert_eq!(&invocation.prf, &prf);
        let signed = Signed::sign(invocation, &requester());
        let read = Signed::<Invocation>::verify(signed.bytes()).unwrap();
        prop_assert_eq!(RunArgs::read(read.payload()).unwrap(), (action, claim()));
    }

    #[test]
    fn arguments_are_seen_in_the_shape_they_have_in_json(
        (params, values) in vec(crate::values::any_type(), 0..3).prop_flat_map(|types| {
            let values: Vec<_> = types.iter().map(crate::values::any_value).collect();
            let params: Vec<_> =
                types.into_iter().enumerate().map(|(n, ty)| param(&format!("p-{n}"), ty)).collect();
            (Just(params), values)
        })
    ) {
        let encoded = encode_params(&params, &values).unwrap();
        let seen = input_of(&params, &encoded).unwrap();
        prop_assert_eq!(as_json(&seen), json::params_to_json(&params, &values));
    }
}

/// As values are written in JSON: bytes in base64, and large integers as text.
fn as_json(seen: &Ipld) -> Json {
    match seen {
        Ipld::Null => Json::Null,
        Ipld::Bool(b) => Json::from(*b),
        Ipld::Integer(n) if n.unsigned_abs() > 1 << 53 => Json::from(n.to_string()),
        Ipld::Integer(n) => Json::from(i64::try_from(*n).unwrap()),
        Ipld::Float(n) => Json::from(*n),
        Ipld::String(text) => Json::from(text.as_str()),
        Ipld::Bytes(bytes) => Json::from(BASE64.encode(bytes)),
        Ipld::List(items) => items.iter().map(as_json).collect::<Vec<_>>().into(),
        Ipld::Map(map) => Json::Object(map.iter().map(|(k, v)| (k.clone(), as_json(v))).collect()),
        Ipld::Link(_) => panic!("no value is a link"),
    }
}

#[test]
fn what_is_not_an_actions_invocation_is_refused() {
    let read = |change: &dyn Fn(&mut Invocation)| {
        let mut invocation = invocation();
        change(&mut invocation);
        RunArgs::read(&invocation).map(|_| ())
    };
    assert_eq!(read(&|_| {}), Ok(()));
    assert_eq!(read(&|i| i.aud = None), Err(RunError::NoAudience));
    assert_eq!(read(&|i| i.exp = None), Err(RunError::NoTime("exp")));
    assert_eq!(read(&|i| i.iat = None), Err(RunError::NoTime("iat")));
    for cmd in ["/", "/actum", "/actum/run/fast", "/actum/runs"] {
        let refused = Err(RunError::Command(cmd.parse().unwrap()));
        assert_eq!(read(&|i| i.cmd = cmd.parse().unwrap()), refused);
    }
    for exp in [NOW - 1, NOW + MAX_INVOCATION_LIFE + 1] {
        assert_eq!(read(&|i| i.exp = Some(exp)), Err(RunError::Life { iat: NOW, exp }));
    }
    for bytes in [0, 11, 13] {
        assert_eq!(read(&|i| i.nonce = ByteBuf::from(vec![0; bytes])), Err(RunError::Nonce(bytes)));
    }
}

#[test]
fn arguments_in_another_form_are_refused() {
    let refused = |change: &dyn Fn(&mut actum_model::ucan::Args)| {
        let mut invocation = invocation();
        let granted: Granted = "http:GET:https://example.com".parse().unwrap();
        let mut action = samples::action();
        action.permissions.insert(granted);
        invocation.args = RunArgs::of(&action, &claim()).to_args();
        assert!(RunArgs::read(&invocation).is_ok());
        change(&mut invocation.args);
        match RunArgs::read(&invocation) {
            Err(RunError::Args(_) | RunError::Permissions(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    let keys: Vec<String> = invocation().args.into_keys().collect();
    for key in &keys {
        refused(&|args| drop(args.remove(key)));
        refused(&|args| drop(args.insert(key.clone(), Ipld::Null)));
    }
    for key in ["requester", "nonce", "spent", "minute"] {
        refused(&|args| drop(args.insert(key.to_owned(), Ipld::Map([].into()))));
    }
    refused(&|args| drop(args.insert("partial".to_owned(), Ipld::Bool(false))));
    refused(&|args| drop(args.insert("time_base".to_owned(), Ipld::Float(f64::NAN))));
    refused(&|args| drop(args.insert("name".to_owned(), Ipld::from("not a name"))));
    refused(&|args| drop(args.insert("input".to_owned(), Ipld::Map([].into()))));
    // A default that is left out means the same and is not what policies would see.
    refused(&|args| {
        let Some(Ipld::Map(limits)) = args.get_mut("limits") else { panic!() };
        limits.remove("fuel");
    });
    let http = |change: &dyn Fn(&mut std::collections::BTreeMap<String, Ipld>)| {
        refused(&|args| {
            let Some(Ipld::List(permissions)) = args.get_mut("permissions") else { panic!() };
            let Some(Ipld::Map(one)) = permissions.first_mut() else { panic!() };
            let Some(Ipld::Map(http)) = one.get_mut("http") else { panic!() };
            change(http);
        });
    };
    http(&|http| drop(http.remove("methods")));
    http(&|http| drop(http.insert("origin".to_owned(), Ipld::from("https://EXAMPLE.com"))));
    http(&|http| drop(http.insert("methods".to_owned(), Ipld::List(vec![]))));
    http(&|http| drop(http.insert("more".to_owned(), Ipld::Null)));
    // The same permission twice, and a bucket twice.
    refused(&|args| {
        let Some(Ipld::List(permissions)) = args.get_mut("permissions") else { panic!() };
        permissions.push(permissions[0].clone());
    });
}

#[test]
fn policies_see_the_arguments_and_what_is_used_in_place_of_what_was_signed() {
    let input = Ipld::Map([("rows".to_owned(), Ipld::from(3))].into());
    let spent = Use { actions: 7, fuel: 1_000 };
    let invocation = invocation();
    let seen = policy_args(&invocation, Some(input.clone()), spent, Use::default());
    assert_eq!(seen["input"], input);
    assert_eq!(seen["spent"].get("actions").unwrap(), Some(&Ipld::from(7)));
    assert_eq!(seen["spent"].get("fuel").unwrap(), Some(&Ipld::from(1_000)));
    assert_eq!(seen["minute"].get("fuel").unwrap(), Some(&Ipld::from(0)));
    for (key, value) in &invocation.args {
        assert!(key == "input" || seen[key] == *value, "{key}");
    }
    // Not even their id stands there when they are not shown.
    assert!(!policy_args(&invocation, None, spent, spent).contains_key("input"));
}

#[test]
fn arguments_that_ask_for_other_permissions_are_that_actions() {
    let granted: std::collections::BTreeSet<Granted> =
        ["network", "keyvalue:notes:read", "http:https://example.com"].map(|t| t.parse().unwrap()).into();
    let mut args = invocation().args;
    ask_for(&mut args, &granted).unwrap();
    let action = Action { permissions: granted, ..samples::action() };
    assert_eq!(args, RunArgs::of(&action, &claim()).to_args());
}

#[test]
fn each_type_is_seen_as_people_write_it() {
    let seen = |ty: WitType, value: Value| {
        let params = [param("p", ty)];
        let encoded = encode_params(&params, &[value]).unwrap();
        let Ipld::Map(mut map) = input_of(&params, &encoded).unwrap() else { panic!() };
        map.remove("p").unwrap()
    };
    let one = |name: &str, value: Ipld| Ipld::Map([(name.to_owned(), value)].into());
    let text = |text: &str| Ipld::from(text);
    assert_eq!(seen(WitType::U64, Value::U64(u64::MAX)), Ipld::from(u64::MAX));
    assert_eq!(seen(WitType::S64, Value::S64(i64::MIN)), Ipld::from(i64::MIN));
    assert_eq!(seen(WitType::F32, Value::F32(0.1)), Ipld::Float(0.1));
    assert_eq!(seen(WitType::F64, Value::F64(f64::NAN)), text("nan"));
    assert_eq!(seen(WitType::F64, Value::F64(f64::NEG_INFINITY)), text("-inf"));
    assert_eq!(seen(WitType::Char, Value::Char('é')), text("é"));
    assert_eq!(seen(WitType::bytes(), Value::Bytes(vec![0, 255])), Ipld::Bytes(vec![0, 255]));
    let record = WitType::Record(vec![field("max-rows", WitType::U8), field("b", WitType::Bool)]);
    let shown = Ipld::Map([("max-rows".to_owned(), Ipld::from(3)), ("b".to_owned(), true.into())].into());
    assert_eq!(seen(record, Value::Record(vec![Value::U8(3), Value::Bool(true)])), shown);
    let variant = WitType::Variant(vec![case("never", None), case("after", Some(WitType::U8))]);
    assert_eq!(seen(variant.clone(), Value::Variant(0, None)), text("never"));
    let after = Value::Variant(1, Some(Box::new(Value::U8(5))));
    assert_eq!(seen(variant, after), one("after", Ipld::from(5)));
    assert_eq!(seen(WitType::Enum(names(&["a", "b"])), Value::Enum(1)), text("b"));
    let flags = seen(WitType::Flags(names(&["a", "b", "c"])), Value::Flags(0b101));
    assert_eq!(flags, Ipld::List(vec![text("a"), text("c")]));
    assert_eq!(seen(option(WitType::U8), Value::Option(None)), Ipld::Null);
    assert_eq!(seen(option(WitType::U8), some(Value::U8(1))), Ipld::from(1));
    assert_eq!(seen(option(option(WitType::U8)), some(Value::Option(None))), one("some", Ipld::Null));
    let result = WitType::Result(ResultType { ok: None, err: Some(Box::new(WitType::String)) });
    assert_eq!(seen(result.clone(), Value::Result(Ok(None))), text("ok"));
    let err = Value::Result(Err(Some(Box::new(Value::String("no".into())))));
    assert_eq!(seen(result, err), one("err", text("no")));
}

#[test]
fn more_values_than_a_policy_is_shown_are_refused_and_bytes_are_one() {
    let params = [param("flags", list(WitType::Bool)), param("data", WitType::bytes())];
    let encoded = |count: usize| {
        let flags = Value::List(vec![Value::Bool(true); count]);
        encode_params(&params, &[flags, Value::Bytes(vec![0; 100_000])]).unwrap()
    };
    // The list and the bytes are values too.
    assert!(input_of(&params, &encoded(MAX_INPUT_VALUES - 2)).is_ok());
    assert_eq!(input_of(&params, &encoded(MAX_INPUT_VALUES - 1)), Err(InputError::TooMany));
    assert!(matches!(input_of(&params, b"\x80"), Err(InputError::Value(_))));
}
