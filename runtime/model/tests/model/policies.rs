//! The policy language: what selectors find, what statements say of it, and what is refused.

use actum_model::{
    codec,
    ucan::{
        Args, Budget, Policy, Unmet,
        policy::{MAX_DEPTH, MAX_STATEMENTS, Pattern, Selector, Statement},
    },
};
use ipld_core::ipld::Ipld;
use proptest::prelude::*;

pub(crate) fn ipld(value: &serde_json::Value) -> Ipld {
    use serde_json::Value as Json;
    match value {
        Json::Null => Ipld::Null,
        Json::Bool(b) => Ipld::Bool(*b),
        Json::Number(n) => n.as_i128().map_or_else(|| Ipld::Float(n.as_f64().unwrap()), Ipld::Integer),
        Json::String(text) => Ipld::String(text.clone()),
        Json::Array(list) => Ipld::List(list.iter().map(ipld).collect()),
        Json::Object(map) => Ipld::Map(map.iter().map(|(k, v)| (k.clone(), ipld(v))).collect()),
    }
}

pub(crate) fn list(json: serde_json::Value) -> Vec<Ipld> {
    let Ipld::List(list) = ipld(&json) else { panic!("a list") };
    list
}

pub(crate) fn policy(json: serde_json::Value) -> Policy {
    Policy::try_from(list(json)).unwrap()
}

fn args() -> Args {
    let Ipld::Map(mut args) = ipld(&serde_json::json!({
        "from": "alice@example.com",
        "to": ["bob@example.com", "carol@not.example.com", "dan@example.com"],
        "n": 3,
        "half": 0.5,
        "nothing": null,
        "yes": true,
        "limits": {"fuel": 10, "a-key": {"b": [1, [2, 3]]}, "0": "zero", "\"]": "odd"},
        "empty": [],
    })) else {
        panic!("a map")
    };
    args.insert("bytes".to_owned(), Ipld::Bytes(vec![0xd6, 0xa9, 0xc1, 0x8c, 0xf8, 0xc4]));
    args
}

fn holds(statement: serde_json::Value) -> bool {
    let policy = policy(serde_json::json!([statement]));
    match policy.check(&args(), &mut Budget::default()) {
        Ok(()) => true,
        Err(Unmet::Statement { index: 0, .. }) => false,
        Err(other) => panic!("{other}"),
    }
}

macro_rules! hold {
    ($($statement:tt),* $(,)?) => { $(assert!(holds(serde_json::json!($statement)), "{}", stringify!($statement));)* };
}
macro_rules! fail {
    ($($statement:tt),* $(,)?) => { $(assert!(!holds(serde_json::json!($statement)), "{}", stringify!($statement));)* };
}

#[test]
fn selectors_find_what_the_specification_says() {
    hold![
        ["==", ".from", "alice@example.com"],
        ["==", ".to[1]", "carol@not.example.com"],
        ["==", ".to[-1]", "dan@example.com"],
        ["==", ".to[99]?", null],
        ["==", ".to[1:3]", ["carol@not.example.com", "dan@example.com"]],
        ["==", ".to[1:]", ["carol@not.example.com", "dan@example.com"]],
        ["==", ".to[:1]", ["bob@example.com"]],
        ["==", ".to[0:-2]", ["bob@example.com"]],
        ["==", ".to[2:1]", []],
        ["==", ".to[-9:9][]", ["bob@example.com", "carol@not.example.com", "dan@example.com"]],
        ["==", ".limits.fuel", 10],
        ["==", ".limits[\"fuel\"]", 10],
        ["==", ".[\"limits\"].[\"a-key\"].b[1][0]", 2],
        ["==", ".limits.a-key?.b[0]", 1],
        ["==", ".limits[\"0\"]", "zero"],
        ["==", ".limits[\"\\\"]\"]", "odd"],
        ["==", ".limits[\"\\u0066uel\"]", 10],
        ["==", ".limits[\"a-key\"][]", [[1, [2, 3]]]],
        ["==", ".limits[\"a-key\"][][0][1:]", [[2, 3]]],
        ["==", ".bytes[3]", 140],
        ["==", ".bytes[-1]", 196],
        ["==", ".bytes[1:3][]", [169, 193]],
        ["==", ".bytes[9]?", null],
        ["==", ".missing", null],
        ["==", ".missing?", null],
        ["==", ".missing.deeper?", null],
        ["==", ".from.deeper???", null],
        ["==", ".from[0]?", null],
        ["==", ".n[]?", null],
        ["==", ".n[0:1]?", null],
        ["==", ".from[\"x\"]?", null],
        ["any", ".", ["==", ".?", 3]],
    ];
}

#[test]
fn a_selector_that_finds_nothing_makes_its_statement_false() {
    for selector in [
        ".to[3]",
        ".to[-4]",
        ".missing.deeper",
        ".missing.deeper.deepest?",
        ".from.x",
        ".from[0]",
        ".to.x",
        ".limits[0]",
        ".n[]",
        ".n[0:1]",
        ".nothing.x",
        ".to[9]?.x",
        ".bytes[6]",
        ".bytes.x",
        ".empty[0]",
        ".empty[-1]",
        ".yes[]",
    ] {
        for statement in [
            serde_json::json!(["==", selector, null]),
            serde_json::json!(["!=", selector, 1]),
            serde_json::json!(["<", selector, 1]),
            serde_json::json!([">=", selector, 0]),
            serde_json::json!(["like", selector, "*"]),
            serde_json::json!(["all", selector, ["==", ".", ["never"]]]),
            serde_json::json!(["any", selector, ["or", []]]),
        ] {
            assert!(!holds(statement.clone()), "{statement}");
            assert!(holds(serde_json::json!(["not", statement])), "not {statement}");
        }
    }
}

#[test]
fn comparing_other_kinds_is_false_and_never_an_error() {
    fail![
        ["<", ".from", 1],
        [">", ".from", 1],
        ["<=", ".yes", 1],
        [">=", ".nothing", 0],
        ["<", ".missing", 1],
        [">", ".to", 0],
        ["<", ".bytes", 1],
        ["like", ".n", "*"],
        ["like", ".nothing", "*"],
        ["like", ".bytes", "*"],
        ["all", ".from", ["or", []]],
        ["any", ".n", ["or", []]],
        ["all", ".missing", ["or", []]],
        ["all", ".bytes", ["<", ".", 256]],
        ["==", ".bytes", [214, 169, 193, 140, 248, 196]],
        ["==", ".yes", 1],
        ["==", ".n", "3"],
        ["==", ".nothing", false],
        ["==", ".empty", null],
        ["==", ".empty", {}],
        ["==", ".limits", {"fuel": 10}],
    ];
    hold![
        ["!=", ".n", "3"],
        ["!=", ".limits", {"fuel": 10}],
        ["all", ".bytes[]", ["<", ".", 256]],
        ["any", ".bytes[][1:]", ["==", ".", 140]],
        ["all", ".limits[]?", ["!=", ".", 11]],
    ];
}

#[test]
fn connectives_and_quantifiers_over_nothing() {
    hold![["and", []], ["or", []], ["all", ".empty", ["==", ".", 1]], ["not", ["any", ".empty", ["or", []]]]];
    fail![["any", ".empty", ["or", []]], ["not", ["or", []]], ["not", ["and", []]]];
}

#[test]
fn numbers_are_compared_by_value_and_exactly() {
    let check = |found: Ipld, statement: Statement| {
        let args = Args::from([("n".to_owned(), Ipld::List(vec![found]))]);
        Policy::new(vec![statement]).check(&args, &mut Budget::default()).is_ok()
    };
    let sel = || ".n[0]".parse::<Selector>().unwrap();
    const BIG: i128 = 1 << 53;
    let float = |n: f64| Ipld::Float(n);
    for (a, b) in [
        (Ipld::Integer(1), float(1.5)),
        (Ipld::Integer(-2), float(-1.5)),
        (float(-1.5), Ipld::Integer(-1)),
        (Ipld::Integer(BIG), Ipld::Integer(BIG + 1)),
        // As floats these two would be equal.
        (float(BIG as f64), Ipld::Integer(BIG + 1)),
        (Ipld::Integer(BIG * 2 - 1), float((BIG * 2) as f64)),
        (Ipld::Integer(u64::MAX.into()), float(18_446_744_073_709_551_616.0)),
        (float(-18_446_744_073_709_551_616.0), Ipld::Integer(-i128::from(u64::MAX))),
        (Ipld::Integer(i128::MAX), float(f64::MAX)),
        (float(f64::MIN), Ipld::Integer(i128::MIN)),
        (Ipld::Integer(0), float(f64::MIN_POSITIVE)),
        (float(-f64::MIN_POSITIVE), Ipld::Integer(0)),
        (Ipld::Integer(1), float(f64::INFINITY)),
    ] {
        for (x, y, less) in [(&a, &b, true), (&b, &a, false)] {
            let compare = |make: fn(Selector, Ipld) -> Statement| check(x.clone(), make(sel(), y.clone()));
            let all = [
                compare(Statement::Lt),
                compare(Statement::Le),
                compare(Statement::Gt),
                compare(Statement::Ge),
            ];
            assert_eq!(all, [less, less, !less, !less], "{x:?} and {y:?}");
            assert!(!compare(Statement::Eq) && compare(Statement::Ne), "{x:?} and {y:?}");
        }
    }
    let (ints, floats) =
        (list(serde_json::json!([{"a": [1, 0]}])), list(serde_json::json!([{"a": [1.0, -0.0]}])));
    for (x, y) in [(&ints, &floats), (&floats, &ints)] {
        assert!(check(Ipld::List(x.clone()), Statement::eq(sel(), Ipld::List(y.clone()))), "at any depth");
    }
    for make in [Statement::Lt, Statement::Le, Statement::Gt, Statement::Ge, Statement::Eq] {
        assert!(!check(Ipld::Integer(1), make(sel(), float(f64::NAN))));
        assert!(!check(float(f64::NAN), make(sel(), Ipld::Integer(1))));
        assert!(!check(float(f64::NAN), make(sel(), float(f64::NAN))));
    }
}

#[test]
fn selectors_that_are_none() {
    for text in [
        "",
        "from",
        "..",
        "...",
        ".from..to",
        ".from.",
        "..from",
        "[0]",
        "[\"a\"]",
        ".[",
        ".]",
        ".[0",
        ".[\"a]",
        ".['a']",
        ".[a]",
        ".[1.5]",
        ".[+1]",
        ".[ 1]",
        ".[--1]",
        ".[-]",
        ".[:]",
        ".[1:2:3]",
        ".[1:x]",
        ".0",
        ".-a",
        ".a b",
        ".é",
        ".a|.b",
        ".[99999999999999999999]",
        "?",
        ".a?b",
        ".?a",
        ".?.a",
        ".[\"\\x\"]",
        ".[\"a\"",
        ".[\"\"\"]",
        " .a",
        ".a ",
        ".a\0",
        ".[\"a\"]b",
    ] {
        let refused = text.parse::<Selector>();
        assert!(refused.is_err(), "{text:?} is {refused:?}");
    }
    let long = format!(".[{:?}]", "a".repeat(Selector::MAX_BYTES));
    assert!(long.parse::<Selector>().unwrap_err().to_string().contains("1024 bytes"));
    assert!(".a".repeat(Selector::MAX_SEGMENTS).parse::<Selector>().is_ok());
    assert!(".a".repeat(Selector::MAX_SEGMENTS + 1).parse::<Selector>().is_err());
}

#[test]
fn selectors_of_keys_are_read_back() {
    let path = |keys: &[&str]| Selector::path(keys).unwrap();
    assert_eq!(path(&[]), Selector::identity());
    assert_eq!(path(&["limits", "fuel"]).as_str(), ".limits.fuel");
    assert_eq!(path(&["input", "a-key", "", "é\"]"]).as_str(), ".input[\"a-key\"][\"\"][\"é\\\"]\"]");
    assert_eq!(path(&["0", "a"]).as_str(), ".[\"0\"].a");
    assert!(Selector::path(&["a"; Selector::MAX_SEGMENTS + 1]).is_err());
}

#[test]
fn policies_that_are_none() {
    use serde_json::json;
    // Of the wrong kind, where nothing is expected of the words, or wrong in its own way.
    for (bad, words) in [
        (json!([1]), ""),
        (json!([[]]), "without its operator"),
        (json!([["==", ".a"]]), "without its value"),
        (json!([["=="]]), "without its selector"),
        (json!([["==", ".a", 1, 2]]), "more than it takes"),
        (json!([["===", ".a", 1]]), "no operator"),
        (json!([["Like", ".a", "b"]]), "no operator"),
        (json!([[1, ".a", 1]]), ""),
        (json!([["==", "a", 1]]), "not a selector"),
        (json!([["==", 1, 1]]), ""),
        (json!([["<", ".a", "1"]]), "no number"),
        (json!([["<=", ".a", null]]), "no number"),
        (json!([[">", ".a", [1]]]), "no number"),
        (json!([[">=", ".a", true]]), "no number"),
        (json!([["like", ".a", 1]]), ""),
        (json!([["and", ["==", ".a", 1]]]), ""),
        (json!([["or", {}]]), ""),
        (json!([["and"]]), "without its statements"),
        (json!([["and", [], []]]), "more than it takes"),
        (json!([["not", [["==", ".a", 1]]]]), ""),
        (json!([["not", ["==", ".a", 1], 1]]), "more than it takes"),
        (json!([["all", ["==", ".a", 1]]]), ""),
        (json!([["any", ".a"]]), "without its statement"),
        (json!([["any", ".a", ["==", ".b", 1], 1]]), "more than it takes"),
    ] {
        let error = Policy::try_from(list(bad.clone())).unwrap_err().to_string();
        assert!(error.contains(words), "{bad}: {error}");
        let bytes = codec::encode(&ipld(&bad));
        let error = codec::decode::<Policy>(&bytes, bytes.len()).unwrap_err().to_string();
        assert!(error.contains(words), "{bad}: {error}");
    }
}

#[test]
fn policies_too_deep_or_too_long_are_refused_in_both_directions() {
    let leaf = || Statement::eq(".a".parse().unwrap(), 1);
    let nested = |depth: usize| {
        Policy::new(vec![(1..depth).fold(leaf(), |inner, n| match n % 4 {
            0 => Statement::negate(inner),
            1 => Statement::and(vec![inner]),
            2 => Statement::or(vec![inner]),
            _ => Statement::all(".a".parse().unwrap(), inner),
        })])
    };
    let many = |count: usize| {
        let (outer, inner) = (count / 2, count - count / 2 - 1);
        Policy::new([vec![leaf(); outer], vec![Statement::or(vec![leaf(); inner])]].concat())
    };
    let value = |depth: usize| {
        let value = (1..depth).fold(Ipld::Null, |inner, _| Ipld::List(vec![inner]));
        Policy::new(vec![Statement::eq(".a".parse().unwrap(), value)])
    };
    let both = |policy: &Policy| {
        let read = Policy::try_from(Vec::<Ipld>::from(policy.clone())).is_ok();
        assert_eq!(policy.bounds().is_ok(), read);
        read
    };
    assert!(both(&nested(MAX_DEPTH)) && !both(&nested(MAX_DEPTH + 1)));
    assert!(both(&many(MAX_STATEMENTS)) && !both(&many(MAX_STATEMENTS + 1)));
    assert!(both(&value(64)) && !both(&value(65)));
    for bad in [
        Ipld::Float(f64::NAN),
        Ipld::Float(f64::INFINITY),
        Ipld::Integer(1 << 64),
        Ipld::Integer(-(1 << 64) - 1),
    ] {
        assert!(
            Policy::new(vec![Statement::eq(".a".parse().unwrap(), bad.clone())]).bounds().is_err(),
            "{bad:?}"
        );
        assert!(
            Policy::new(vec![Statement::lt(".a".parse().unwrap(), bad.clone())]).bounds().is_err(),
            "{bad:?}"
        );
    }
    assert!(Policy::new(vec![Statement::lt(".a".parse().unwrap(), "1")]).bounds().is_err());
    // Deeper than any stack should follow: the decoder stops first.
    let bytes = [vec![0x81; 10_000], vec![0x80]].concat();
    assert!(codec::decode::<Policy>(&bytes, bytes.len()).is_err());
}

#[test]
fn statements_are_shown_as_they_are_written() {
    use serde_json::json;
    for (statement, text) in [
        (json!(["<=", ".limits.fuel", 50_000_000]), r#"["<=", ".limits.fuel", 50000000]"#),
        (
            json!(["==", ".a", [1, 1.0, null, true, {"b": "c"}]]),
            r#"["==", ".a", [1, 1.0, null, true, {"b": "c"}]]"#,
        ),
        (
            json!(["not", ["like", ".[\"a\"]", "x\\*\u{1b}[2J\u{202e}"]]),
            r#"["not", ["like", ".[\"a\"]", "x\\*\u001b[2J\u202e"]]"#,
        ),
        (
            json!(["any", ".to", ["or", [["!=", ".", "é\n"], ["and", []]]]]),
            r#"["any", ".to", ["or", [["!=", ".", "é\n"], ["and", []]]]]"#,
        ),
    ] {
        let policy = policy(json!([statement]));
        assert_eq!(policy.statements[0].to_string(), text);
        assert_eq!(policy.to_string(), format!("[{text}]"));
        assert_eq!(serde_json::from_str::<serde_json::Value>(text).unwrap(), statement);
    }
    let bytes = Statement::eq(".a".parse().unwrap(), Ipld::Bytes(vec![0xd6, 0xa9, 0xc1, 0x8c, 0xf8, 0xc4]));
    assert_eq!(bytes.to_string(), r#"["==", ".a", {"/": {"bytes": "1qnBjPjE"}}]"#);
    let long = policy(json!([["==", ".a", 1], ["==", ".n", "x".repeat(5_000)]]));
    let unmet = long.check(&Args::from([("a".into(), 1.into())]), &mut Budget::default()).unwrap_err();
    let text = unmet.to_string();
    assert!(unmet.index() == 1 && text.ends_with('…') && text.len() < 300, "{text}");
}

#[test]
fn what_a_statement_mentions() {
    use serde_json::json;
    let mentions = |statement: serde_json::Value| policy(json!([statement])).statements[0].mentions("spent");
    for yes in [
        json!(["<=", ".spent.fuel", 1]),
        json!(["<=", ".[\"spent\"].fuel", 1]),
        json!(["<=", ".[\"\\u0073pent\"]?.fuel?", 1]),
        json!(["==", ".", {}]),
        json!(["==", ".?", {}]),
        json!(["any", ".[]", ["==", ".fuel", 1]]),
        json!(["all", ".", ["==", ".fuel", 1]]),
        json!(["all", ".spent", ["<", ".", 1]]),
        json!(["not", ["or", [["==", ".a", 1], ["and", [["like", ".spent?", "*"]]]]]]),
        json!(["==", ".[0]", 1]),
        json!(["==", ".[1:]?", null]),
    ] {
        assert!(mentions(yes.clone()), "{yes}");
    }
    for no in [
        json!(["<=", ".limits.spent", 1]),
        json!(["<=", ".spents", 1]),
        json!(["==", ".limits", {"spent": 1}]),
        json!(["all", ".limits", ["<", ".spent", 1]]),
        json!(["any", ".a", ["==", ".", "spent"]]),
        json!(["like", ".name", ".spent"]),
        json!(["and", []]),
    ] {
        assert!(!mentions(no.clone()), "{no}");
    }
}

/// Statements that would look at more than there is time for, over `args`.
fn bombs() -> (Vec<Statement>, Args) {
    let sel = |text: &str| text.parse::<Selector>().unwrap();
    let leaf = Statement::ne(sel("."), -1);
    // Six lists in one another, of ten each.
    let many = (0..5).fold(leaf.clone(), |inner, _| Statement::all(sel("."), inner));
    let wide = (0..6).fold(Ipld::Integer(1), |inner, _| Ipld::List(vec![inner; 10]));
    let text = "a".repeat(1_000_000);
    let args = Args::from([
        ("list".to_owned(), Ipld::List(vec![1.into(); 200_000])),
        ("wide".to_owned(), wide.clone()),
        ("text".to_owned(), text.clone().into()),
        ("texts".to_owned(), Ipld::List(vec![text.into(); 20])),
        ("bytes".to_owned(), Ipld::Bytes(vec![1; 1_000_000])),
        ("map".to_owned(), Ipld::Map((0..200_000).map(|n| (n.to_string(), n.into())).collect())),
    ]);
    let bombs = vec![
        Statement::all(sel(".list"), leaf.clone()),
        Statement::all(sel(".wide"), many),
        Statement::eq(sel(".wide"), wide),
        Statement::all(sel(".bytes[]"), leaf.clone()),
        Statement::any(sel(".texts"), Statement::like(sel("."), "*a*b".repeat(50))),
        Statement::all(sel(".texts"), Statement::ne(sel("."), "a".repeat(1_000_000) + "b")),
        Statement::all(sel(".map"), leaf.clone()),
        Statement::and(vec![Statement::ne(sel(".map[]"), 1); 200]),
        Statement::and(vec![Statement::ne(sel(".list[1:][1:][1:][:-1][1:][1:][1:][1:]"), 1); 20_000]),
    ];
    (bombs, args)
}

#[test]
fn a_policy_bomb_ends_as_a_refusal_wherever_it_lies() {
    let (bombs, args) = bombs();
    let sel = || ".missing".parse::<Selector>().unwrap();
    for bomb in bombs {
        let text = bomb.to_string().chars().take(80).collect::<String>();
        for hidden in [
            bomb.clone(),
            Statement::negate(bomb.clone()),
            Statement::negate(Statement::negate(bomb.clone())),
            Statement::or(vec![bomb.clone(), Statement::eq(sel(), Ipld::Null)]),
            Statement::negate(Statement::and(vec![bomb.clone(), Statement::ne(sel(), Ipld::Null)])),
        ] {
            let policy = Policy::new(vec![Statement::eq(sel(), Ipld::Null), hidden]);
            let mut budget = Budget::default();
            let start = std::time::Instant::now();
            let judged = policy.check(&args, &mut budget);
            assert!(matches!(judged, Err(Unmet::Budget { index: 1, .. })), "{text}: {judged:?}");
            assert!(start.elapsed().as_secs() < 2, "{text} took {:?}", start.elapsed());
            assert_eq!(budget.left(), 0);
            // What is left is nothing: not even the simplest policy holds on it.
            let simple = Policy::new(vec![Statement::and(vec![])]);
            assert!(matches!(simple.check(&args, &mut budget), Err(Unmet::Budget { index: 0, .. })));
            assert!(Policy::default().check(&args, &mut budget).is_ok(), "a policy of nothing needs nothing");
        }
    }
}

fn value() -> impl Strategy<Value = Ipld> {
    let leaf = prop_oneof![
        Just(Ipld::Null),
        any::<bool>().prop_map(Ipld::Bool),
        any::<i64>().prop_map(|n| Ipld::Integer(n.into())),
        any::<u64>().prop_map(|n| Ipld::Integer(-1 - i128::from(n))),
        (-4_i128..4).prop_map(Ipld::Integer),
        (-4..4).prop_map(|n| Ipld::Float(f64::from(n) / 2.0)),
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(Ipld::Float),
        "[ab*\\\\]{0,4}".prop_map(Ipld::String),
        any::<String>().prop_map(Ipld::String),
        any::<Vec<u8>>().prop_map(Ipld::Bytes),
        any::<[u8; 4]>().prop_map(|b| Ipld::Link(*actum_model::DelegationId::of(&b).cid())),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Ipld::List),
            prop::collection::btree_map("[abc]|[a-z\"\\]-]{0,3}", inner, 0..4).prop_map(Ipld::Map),
        ]
    })
}

fn selector() -> impl Strategy<Value = Selector> {
    let segment = prop_oneof![
        "\\.[abc]\\??",
        "\\[\"[a-z-]{0,3}\"\\]\\??",
        "\\[-?[0-3]\\]\\??",
        "\\[-?[0-3]:-?[0-3]\\]\\??",
        "\\[-?[0-3]:\\]",
        "\\[:-?[0-3]\\]",
        Just("[]".to_owned()),
        Just("[]?".to_owned()),
    ];
    prop::collection::vec(segment, 0..4).prop_map(|segments| {
        let text = segments.concat();
        let text = if text.starts_with('.') { text } else { format!(".{text}") };
        text.parse().unwrap_or_else(|e| panic!("{e}"))
    })
}

pub(crate) fn statement() -> impl Strategy<Value = Statement> {
    let number = || {
        prop_oneof![any::<i64>().prop_map(Ipld::from), (-4..4).prop_map(|n| Ipld::Float(f64::from(n) / 2.0))]
    };
    let leaf = prop_oneof![
        (selector(), value()).prop_map(|(s, v)| Statement::Eq(s, v)),
        (selector(), value()).prop_map(|(s, v)| Statement::Ne(s, v)),
        (selector(), number()).prop_map(|(s, n)| Statement::Lt(s, n)),
        (selector(), number()).prop_map(|(s, n)| Statement::Le(s, n)),
        (selector(), number()).prop_map(|(s, n)| Statement::Gt(s, n)),
        (selector(), number()).prop_map(|(s, n)| Statement::Ge(s, n)),
        (selector(), "[ab*\\\\]{0,6}").prop_map(|(s, p)| Statement::like(s, p)),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Statement::and),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Statement::or),
            inner.clone().prop_map(Statement::negate),
            (selector(), inner.clone()).prop_map(|(s, i)| Statement::all(s, i)),
            (selector(), inner).prop_map(|(s, i)| Statement::any(s, i)),
        ]
    })
}

pub(crate) fn any_args() -> impl Strategy<Value = Args> {
    prop::collection::btree_map("[abc]", value(), 0..4)
}

/// The meaning of a glob, without care for time.
fn glob(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['\\', '*', rest @ ..] => text.first() == Some(&'*') && glob(rest, &text[1..]),
        ['*', rest @ ..] => (0..=text.len()).any(|n| glob(rest, &text[n..])),
        [c, rest @ ..] => text.first() == Some(c) && glob(rest, &text[1..]),
    }
}

proptest! {
    #[test]
    fn policies_come_back_from_both_encodings(statements in prop::collection::vec(statement(), 0..4)) {
        let policy = Policy::new(statements);
        policy.bounds().unwrap();
        let bytes = codec::encode(&policy);
        prop_assert_eq!(&codec::decode::<Policy>(&bytes, bytes.len()).unwrap(), &policy);
        let list: Vec<Ipld> = policy.clone().into();
        prop_assert_eq!(&codec::encode(&list), &bytes);
        prop_assert_eq!(Policy::try_from(list).unwrap(), policy);
    }

    #[test]
    fn a_policy_is_all_of_its_statements_and_not_turns_each_around(
        statements in prop::collection::vec(statement(), 0..4), args in any_args()
    ) {
        let judge = |statements: Vec<Statement>| match Policy::new(statements).check(&args, &mut Budget::default()) {
            Ok(()) => true,
            Err(Unmet::Statement { .. }) => false,
            Err(unmet) => panic!("{unmet}"),
        };
        let each: Vec<bool> = statements.iter().map(|s| judge(vec![s.clone()])).collect();
        prop_assert_eq!(judge(statements.clone()), each.iter().all(|held| *held));
        prop_assert_eq!(judge(vec![Statement::and(statements.clone())]), each.iter().all(|held| *held));
        let some = each.is_empty() || each.contains(&true);
        prop_assert_eq!(judge(vec![Statement::or(statements.clone())]), some);
        for (statement, held) in statements.into_iter().zip(each) {
            prop_assert_eq!(judge(vec![Statement::negate(statement)]), !held);
        }
    }

    #[test]
    fn what_holds_takes_its_steps_and_fails_with_one_fewer(statement in statement(), args in any_args()) {
        let policy = Policy::new(vec![statement]);
        let mut budget = Budget::default();
        let judged = policy.check(&args, &mut budget);
        let used = Budget::STEPS - budget.left();
        prop_assert!(used > 0);
        prop_assert_eq!(policy.check(&args, &mut Budget::new(used)), judged);
        let less = policy.check(&args, &mut Budget::new(used - 1));
        prop_assert!(matches!(less, Err(Unmet::Budget { .. })), "{:?}", less);
    }

    #[test]
    fn what_is_not_mentioned_changes_nothing(statement in statement(), args in any_args(), other in value()) {
        for key in ["a", "b", "c"] {
            if !statement.mentions(key) {
                let policy = Policy::new(vec![statement.clone()]);
                let mut changed = args.clone();
                changed.insert(key.to_owned(), other.clone());
                let judge = |args: &Args| policy.check(args, &mut Budget::default()).is_ok();
                prop_assert_eq!(judge(&args), judge(&changed));
            }
        }
    }

    #[test]
    fn values_equal_themselves(value in value()) {
        let policy = Policy::new(vec![Statement::eq(".v".parse().unwrap(), value.clone())]);
        prop_assert!(policy.check(&Args::from([("v".to_owned(), value)]), &mut Budget::default()).is_ok());
    }

    #[test]
    fn reading_a_selector_never_panics(text in any::<String>(), near in "\\.[.a\\[\\]\"\\\\0-9:?é-]{0,16}") {
        for text in [text, near] {
            if let Ok(selector) = text.parse::<Selector>() {
                prop_assert_eq!(selector.as_str(), &text);
                let policy = Policy::new(vec![Statement::eq(selector, Ipld::Null)]);
                let _ = policy.check(&args(), &mut Budget::default());
            }
        }
    }

    #[test]
    fn keys_become_selectors_that_find_them(keys in prop::collection::vec(any::<String>(), 1..4)) {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let wrapped = keys.iter().rev().fold(Ipld::Integer(7), |inner, key| {
            Ipld::Map([((*key).to_owned(), inner)].into())
        });
        let Ipld::Map(args) = wrapped else { panic!("a map") };
        let Ok(selector) = Selector::path(&keys) else { return Ok(()) };
        let policy = Policy::new(vec![Statement::eq(selector, 7)]);
        prop_assert!(policy.check(&args, &mut Budget::default()).is_ok(), "{policy}");
    }

    #[test]
    fn globs_match_what_they_mean(pattern in "[ab*\\\\]{0,8}", text in "[ab*\\\\]{0,10}") {
        let chars = |t: &str| t.chars().collect::<Vec<_>>();
        let meant = glob(&chars(&pattern), &chars(&text));
        prop_assert_eq!(Pattern::from(pattern).matches(&text), meant);
        prop_assert!(Pattern::exactly(&text).matches(&text));
    }
}
