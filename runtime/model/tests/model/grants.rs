//! Grants clause by clause: that policies decide as the clauses say, that nothing is lost between the two, what counts as
//! widening, and how it reads.

use crate::samples::{self, author, provider, requester};
use actum_model::{
    Action, Claim, ComponentId, Delegation, Did, Granted, Limits, RunArgs, SecretKey, Terms,
    grant::{
        ByteSize, Capability, Ceilings, Count, InputRule, Interface, May, Quota, Widening, check_chain,
        clause, describe, describe_chain, is_exhaustion, narrows, sees_input,
    },
    permission::{Config, Http},
    run::{Use, policy_args},
    ucan::{
        Budget, Policy,
        policy::{MAX_STATEMENTS, Pattern, Statement},
    },
};
use ipld_core::ipld::Ipld;
use proptest::{
    collection::{btree_set, vec},
    option,
    prelude::*,
    sample::select,
};
use std::collections::BTreeSet;

const NOW: u64 = 1_790_000_000;

fn component(n: u8) -> ComponentId {
    ComponentId::of(&[n])
}

fn dids() -> Vec<Did> {
    vec![author().did(), provider().did()]
}

fn functions() -> Vec<actum_model::FunctionName> {
    ["actum:csv/query@0.1.0#run", "actum:csv/query@0.1.0#head", "actum:csv/query@0.1.00#run", "run"]
        .map(|f| f.parse().unwrap())
        .into()
}

fn statement(text: &str) -> Statement {
    fn ipld(json: serde_json::Value) -> Ipld {
        match json {
            serde_json::Value::Null => Ipld::Null,
            serde_json::Value::Bool(b) => b.into(),
            serde_json::Value::Number(n) => n.as_i64().unwrap().into(),
            serde_json::Value::String(s) => s.into(),
            serde_json::Value::Array(items) => items.into_iter().map(ipld).collect::<Vec<_>>().into(),
            serde_json::Value::Object(map) => Ipld::Map(map.into_iter().map(|(k, v)| (k, ipld(v))).collect()),
        }
    }
    let form = ipld(serde_json::from_str(text).unwrap());
    Policy::try_from(vec![form]).unwrap().statements.pop().unwrap()
}

// From so few of everything that what is drawn is often allowed, and often just not.

fn any_capability() -> impl Strategy<Value = Capability> {
    prop_oneof![
        (1..3_u8).prop_map(|n| Capability::Component(component(n))),
        (select(dids()), select(vec!["csv", "csv-query"]), option::of(select(vec!["1.0.0", "1.0.1-a+b"])))
            .prop_map(|(author, name, version)| Capability::Named {
                author,
                name: name.parse().unwrap(),
                version: version.map(|v| v.parse().unwrap()),
            }),
        select(vec!["actum:csv/query@0.1.0", "actum:csv/query@0.1.00", "actum:csv/query@0.1"])
            .prop_map(|text| Capability::Interface(text.parse::<Interface>().unwrap())),
    ]
}

fn any_granted() -> impl Strategy<Value = Granted> {
    let texts = vec![
        "network",
        "keyvalue:notes",
        "keyvalue:notes:read",
        "keyvalue:notes:keys=a",
        "keyvalue:notes:keys=ab",
        r"keyvalue:notes:keys=a\b",
        "keyvalue:notes:read:keys=a*",
        "keyvalue:notes:keys=a*b",
        r"keyvalue:notes:read:keys=a\*",
        "keyvalue:note:read",
        "config:key=a",
        "config:key=b",
        "config:other=a",
    ];
    let methods = btree_set(select(vec!["GET", "HEAD", "POST"]).prop_map(str::to_owned), 1..3);
    let origin = select(vec!["https://example.com", "http://example.com"]);
    prop_oneof![
        select(texts).prop_map(|text| text.parse().unwrap()),
        (origin, methods, 1..3_u64, 1..3_u64).prop_map(|(origin, methods, body_bytes, timeout_ms)| {
            let origin = origin.parse().unwrap();
            Granted::Http(Http { origin, methods, body_bytes, timeout_ms })
        }),
        (1..3_u8).prop_map(|n| format!("files:{}", component(n)).parse().unwrap()),
        (1..3_u8, 1..3_u32, 1..3_u64).prop_map(|(n, depth, fuel)| {
            format!("delegate:t={},depth={depth},fuel={fuel}", component(n)).parse().unwrap()
        }),
    ]
}

fn ceiling(stated: f64) -> impl Strategy<Value = Option<u64>> {
    option::weighted(stated, prop_oneof![0..4_u64, Just(u64::MAX)])
}

fn any_ceilings(stated: f64) -> impl Strategy<Value = Ceilings> {
    let all = (
        ceiling(stated),
        ceiling(stated),
        ceiling(stated),
        ceiling(stated),
        ceiling(stated),
        ceiling(stated),
        ceiling(stated),
    );
    all.prop_map(
        |(fuel, memory_bytes, table_elements, instances, output_bytes, stdio_bytes, journal_bytes)| {
            Ceilings {
                fuel,
                memory_bytes,
                table_elements,
                instances,
                output_bytes,
                stdio_bytes,
                journal_bytes,
            }
        },
    )
}

fn any_quota(stated: f64) -> impl Strategy<Value = Quota> {
    (ceiling(stated), ceiling(stated)).prop_map(|(actions, fuel)| Quota { actions, fuel })
}

/// Terms of all clauses that are no statements, each stated so often.
fn any_clauses(stated: f64) -> impl Strategy<Value = Terms> {
    (
        option::weighted(stated, btree_set(any_capability(), 0..3)),
        option::weighted(stated, btree_set(select(functions()), 0..3)),
        any_ceilings(stated),
        option::weighted(stated, btree_set(any_granted(), 0..5)),
        any_quota(stated),
        any_quota(stated),
    )
        .prop_map(|(capability, functions, limits, permissions, spent, minute)| Terms {
            capability,
            functions,
            input: vec![],
            limits,
            permissions,
            spent,
            minute,
            other: vec![],
        })
}

/// How often a clause is stated: so that each is met, and so that a chain of several is often passed.
const SOME: f64 = 0.35;
const FEW: f64 = 0.05;

/// Terms whose capabilities can all be compared.
fn any_named() -> impl Strategy<Value = Terms> {
    any_clauses(SOME).prop_map(|mut terms| {
        terms.capability.iter_mut().for_each(|any| any.retain(|c| matches!(c, Capability::Named { .. })));
        terms
    })
}

const INPUT: [&str; 4] = [
    r#"["<=", ".input.rows", 100]"#,
    r#"["or", [["==", ".input?.mode", "fast"], ["like", ".input[\"url\"]", "https://*"]]]"#,
    r#"["all", ".input.rows", ["==", ".limits", 1]]"#,
    r#"["not", ["==", ".input", null]]"#,
];

/// Each almost a clause, or about arguments and more.
const OTHER: [&str; 18] = [
    r#"["or", []]"#,
    r#"["and", []]"#,
    r#"["==", ".limits.fuel", 3]"#,
    r#"["<=", ".limits.fuel", -1]"#,
    r#"["<=", ".limits", 3]"#,
    r#"["<=", ".spent.memory_bytes", 3]"#,
    r#"["<=", ".limits[\"fuel\"]", 3]"#,
    r#"["not", ["<=", ".limits.fuel", 3]]"#,
    r#"["or", [["==", ".function", "run"]]]"#,
    r#"["or", [["==", ".function", "run"], ["==", ".function", "run"]]]"#,
    r#"["or", [["==", ".function", "run"], ["<=", ".limits.fuel", 3]]]"#,
    r#"["==", ".function", "not a function"]"#,
    r#"["like", ".function", "actum:csv/*"]"#,
    r#"["like", ".function", "actum:csv/*#*"]"#,
    r#"["all", ".permissions", ["like", ".keyvalue.keys", "a\\*"]]"#,
    r#"["all", ".permissions", ["or", []]]"#,
    r#"["and", [["<=", ".input.rows", 100], ["<=", ".limits.fuel", 3]]]"#,
    r#"["any", ".", ["==", ".", 1]]"#,
];

fn any_terms(stated: f64) -> impl Strategy<Value = Terms> {
    let some = |texts: &'static [&'static str]| {
        btree_set(select(texts), 0..3).prop_map(|texts| texts.into_iter().map(statement).collect::<Vec<_>>())
    };
    (any_clauses(stated), some(&INPUT), some(&OTHER)).prop_map(|(terms, input, other)| Terms {
        input,
        other,
        ..terms
    })
}

fn any_asked() -> impl Strategy<Value = (Action, Claim)> {
    let small = || prop_oneof![4 => 0..4_u64, 1 => Just(u64::MAX)];
    let limits = (small(), small(), small(), 0..2_u64, 0..2_u64, 0..2_u64, 0..2_u64);
    let claim = (select(dids()), select(vec!["csv", "csv-query"]), select(vec!["1.0.0", "1.0.1-a+b"]));
    let permissions = btree_set(any_granted(), 0..3);
    (limits, claim, permissions, 1..3_u8, select(functions())).prop_map(
        |(limits, (author, name, version), permissions, n, function)| {
            let (fuel, memory_bytes, table_elements, instances, output_bytes, stdio_bytes, journal_bytes) =
                limits;
            let limits = Limits {
                fuel,
                memory_bytes,
                table_elements,
                instances,
                output_bytes,
                stdio_bytes,
                journal_bytes,
            };
            let action =
                Action { component: component(n), function, limits, permissions, ..samples::action() };
            (action, Claim { author, name: name.parse().unwrap(), version: version.parse().unwrap() })
        },
    )
}

fn any_use() -> impl Strategy<Value = Use> {
    (0..4_u64, 0..4_u64).prop_map(|(actions, fuel)| Use { actions, fuel })
}

fn passes(policy: &Policy, (action, claim): &(Action, Claim), spent: Use, minute: Use) -> bool {
    let did = provider().did();
    let invocation = RunArgs::invocation(action, claim, did, did, vec![], NOW + 1, NOW);
    let input = Ipld::Map([("rows".to_owned(), Ipld::from(3)), ("mode".to_owned(), "fast".into())].into());
    let args = policy_args(&invocation, Some(input), spent, minute);
    policy.check(&args, &mut Budget::default()).is_ok()
}

fn delegation(from: u8, to: u8, terms: &Terms) -> Delegation {
    let did = |n: u8| SecretKey::from_seed(&[n; 32]).did();
    Delegation {
        iss: did(from),
        aud: did(to),
        sub: Some(did(1)),
        cmd: RunArgs::command(),
        pol: terms.policy().unwrap(),
        nonce: b"nonce".to_vec().into(),
        meta: None,
        nbf: None,
        exp: Some(NOW + 3_600),
    }
}

/// As `terms`, but for one clause, with less of it: by `pick`.
fn narrower(terms: &Terms, pick: u8) -> Terms {
    let mut terms = terms.clone();
    let fewer = |n: &mut Option<u64>| *n = Some(n.map_or(3, |n| n.saturating_sub(1)));
    match pick % 8 {
        0 => fewer(&mut terms.limits.fuel),
        1 => fewer(&mut terms.limits.memory_bytes),
        2 => fewer(&mut terms.spent.actions),
        3 => fewer(&mut terms.minute.fuel),
        4 => drop(terms.permissions.get_or_insert_default().pop_last()),
        5 => drop(terms.functions.get_or_insert_default().pop_first()),
        6 => drop(terms.capability.get_or_insert_default().pop_first()),
        _ => terms.other.push(statement(OTHER[2])),
    }
    terms
}

proptest! {
    #[test]
    fn a_policy_decides_as_the_clauses_say(
        terms in any_clauses(SOME), asked in any_asked(), spent in any_use(), minute in any_use()
    ) {
        let typed = terms.allows(&asked.0, &asked.1, spent, minute);
        prop_assert_eq!(passes(&terms.policy().unwrap(), &asked, spent, minute), typed, "{:?}", terms);
    }

    /// The permissions alone, which decide more often where nothing else does.
    #[test]
    fn permissions_are_within_one_another_in_policies_too(
        most in btree_set(any_granted(), 0..6), asked in any_asked()
    ) {
        let within = asked.0.permissions.iter().all(|a| most.iter().any(|b| a.within(b)));
        let terms = Terms { permissions: Some(most), ..Terms::default() };
        let none = Use::default();
        prop_assert_eq!(passes(&terms.policy().unwrap(), &asked, none, none), within);
        prop_assert_eq!(terms.allows(&asked.0, &asked.1, none, none), within);
    }

    #[test]
    fn terms_are_what_their_policy_says(terms in any_terms(SOME)) {
        prop_assert_eq!(Terms::read(&terms.policy().unwrap()), terms);
    }

    /// Several statements of a clause, in any order, among others.
    #[test]
    fn a_policy_read_and_written_decides_the_same(
        (all, order) in vec(any_terms(SOME), 1..4).prop_flat_map(|all| {
            let policies = all.iter().flat_map(|t| t.policy().unwrap().statements).collect::<Vec<_>>();
            (Just(all), Just(policies).prop_shuffle())
        }),
        asked in any_asked(), spent in any_use(), minute in any_use()
    ) {
        let written = Policy::new(order);
        let read = Terms::read(&written);
        let again = read.policy().unwrap();
        prop_assert_eq!(passes(&again, &asked, spent, minute), passes(&written, &asked, spent, minute), "{}", again.statements.len());
        // Once read, it is in the one form there is.
        prop_assert_eq!(&Terms::read(&again), &read);
        let effective = Terms::effective(&all).policy().unwrap();
        prop_assert_eq!(passes(&effective, &asked, spent, minute), passes(&written, &asked, spent, minute));
    }

    /// Every delegation in the chain says what it likes; what is taken never exceeds the root.
    #[test]
    fn no_chain_gives_more_than_its_root(
        chain in vec(any_clauses(FEW), 1..5), asked in any_asked(), used in vec(any_use(), 5), minute in any_use()
    ) {
        let delegations: Vec<_> =
            (1..).zip(&chain).map(|(n, terms)| delegation(n, n + 1, terms)).collect();
        let accepted = check_chain(&delegations.iter().collect::<Vec<_>>()).is_ok()
            && delegations.iter().zip(&used).all(|(d, used)| passes(&d.pol, &asked, *used, minute));
        if accepted {
            for (terms, used) in chain.iter().zip(&used) {
                prop_assert!(terms.allows(&asked.0, &asked.1, *used, minute));
            }
        }
    }

    /// As above, of chains that narrow step by step, which are all accepted and often pass.
    #[test]
    fn narrowing_step_by_step_is_never_widening(
        root in any_clauses(FEW), picks in vec(any::<u8>(), 0..5), asked in any_asked(), used in any_use()
    ) {
        let mut chain = vec![root];
        for pick in picks {
            chain.push(narrower(&chain[chain.len() - 1], pick));
        }
        let delegations: Vec<_> =
            (1..).zip(&chain).map(|(n, terms)| delegation(n, n + 1, terms)).collect();
        prop_assert_eq!(check_chain(&delegations.iter().collect::<Vec<_>>()), Ok(()));
        let last = delegations.last().unwrap();
        for above in &delegations {
            prop_assert_eq!(narrows(last, above), Ok(()));
        }
        if passes(&last.pol, &asked, used, used) {
            prop_assert!(chain[0].allows(&asked.0, &asked.1, used, used));
        }
    }

    /// A clause that allows an action, which the same clause above does not, is told of, unless they cannot be compared.
    #[test]
    fn what_allows_more_widens(parent in any_named(), child in any_named(), asked in any_asked(), used in any_use()) {
        // What the child does not say, it inherits.
        let filled = Terms {
            capability: child.capability.clone().or(parent.capability.clone()),
            functions: child.functions.clone().or(parent.functions.clone()),
            permissions: child.permissions.clone().or(parent.permissions.clone()),
            limits: Ceilings { fuel: child.limits.fuel.or(parent.limits.fuel), ..parent.limits.clone() },
            spent: Quota { actions: child.spent.actions.or(parent.spent.actions), ..parent.spent.clone() },
            minute: Quota { fuel: child.minute.fuel.or(parent.minute.fuel), ..parent.minute.clone() },
            ..Terms::default()
        };
        let (action, claim) = &asked;
        if filled.allows(action, claim, used, used) && !parent.allows(action, claim, used, used) {
            prop_assert!(child.widens(&parent).is_err());
        }
    }

    #[test]
    fn a_condition_in_words_is_read_as_that_condition(
        path in "[a-z]{1,3}(-[a-z0-9]{1,2})?(\\[-?[1-9]\\]){0,2}(\\.[a-z0-9]{1,3}){0,2}",
        operator in select(vec!["==", "!=", "<", "<=", ">", ">=", "like"]),
        text in any::<String>(), n in any::<i64>()
    ) {
        let value = match operator {
            "like" => serde_json::Value::from(text).to_string(),
            "==" | "!=" if n % 2 == 0 => serde_json::Value::from(text).to_string(),
            _ => n.to_string(),
        };
        let rule: InputRule = format!("{path} {operator} {value}").parse().unwrap();
        let terms = Terms { input: vec![rule.0.clone()], ..Terms::default() };
        prop_assert_eq!(&Terms::read(&terms.policy().unwrap()), &terms);
        let words = describe(&delegation(1, 2, &terms), &|did| did.short(), &|at| at.to_string(), NOW);
        prop_assert_eq!(words.lines().count(), 2, "{}", words);
        let shown = words.lines().last().unwrap().strip_prefix("Only where ").unwrap();
        let again: InputRule = shown.strip_suffix('.').unwrap().parse().unwrap();
        prop_assert_eq!(again, rule);
    }

    #[test]
    fn numbers_are_read_as_they_are_written(n in any::<u64>(), small in 0..1_000_u64) {
        for n in [n, small, small * 1_000, small << 10, small << 20] {
            prop_assert_eq!(Count(n).to_string().parse::<Count>(), Ok(Count(n)));
            prop_assert_eq!(ByteSize(n).to_string().parse::<ByteSize>(), Ok(ByteSize(n)));
        }
    }
}

/// Of every kind some, each near another in one respect.
fn all_granted() -> Vec<Granted> {
    let mut all: Vec<Granted> = [
        "network",
        "keyvalue:notes",
        "keyvalue:notes:read",
        "keyvalue:notes:keys=a",
        "keyvalue:notes:keys=ab",
        "keyvalue:notes:read:keys=a*",
        "keyvalue:notes:keys=a*b",
        "keyvalue:note:read",
        "config:key=a",
        "config:key=b",
        "config:other=a",
    ]
    .map(|text| text.parse().unwrap())
    .into();
    for n in 1..3 {
        all.push(format!("files:{}", component(n)).parse().unwrap());
        for bounds in ["", ",depth=2", ",fuel=7", ",depth=2,fuel=7"] {
            all.push(format!("delegate:t={}{bounds}", component(n)).parse().unwrap());
        }
        for origin in ["GET:https://a.example", "GET,HEAD:https://a.example", "HEAD,POST:https://a.example"] {
            let Granted::Http(http) = format!("http:{origin}").parse().unwrap() else { panic!() };
            all.push(Granted::Http(Http { timeout_ms: u64::from(n), ..http.clone() }));
            all.push(Granted::Http(Http { body_bytes: u64::from(n), ..http }));
        }
    }
    all.push("http:GET:http://a.example".parse().unwrap());
    all
}

fn permitting(most: &Granted) -> Terms {
    Terms { permissions: Some([most.clone()].into()), ..Terms::default() }
}

fn asking_for(one: &Granted) -> (Action, Claim) {
    let action = Action { permissions: [one.clone()].into(), ..samples::action() };
    (action, Claim::of(&samples::release()))
}

#[test]
fn each_permission_is_within_another_in_policies_exactly_where_it_is() {
    let all = all_granted();
    let none = Use::default();
    for most in &all {
        let policy = permitting(most).policy().unwrap();
        for one in &all {
            let within = one.within(most);
            assert_eq!(passes(&policy, &asking_for(one), none, none), within, "{one:?} in {most:?}");
            assert_eq!(permitting(one).widens(&permitting(most)).is_ok(), within, "{one:?} in {most:?}");
        }
    }
}

#[test]
fn what_two_grants_permit_together_is_what_both_permit() {
    let all = all_granted();
    let none = Use::default();
    let asked: Vec<_> = all.iter().map(|one| (one, asking_for(one))).collect();
    for a in &all {
        for b in &all {
            let both = Terms::effective(&[permitting(a), permitting(b)]);
            for (one, (action, claim)) in &asked {
                let allowed = both.allows(action, claim, none, none);
                assert_eq!(allowed, one.within(a) && one.within(b), "{one:?} in {a:?} and {b:?}");
            }
        }
    }
}

fn named(author: Did, version: Option<&str>) -> Capability {
    let name = "csv-query".parse().unwrap();
    Capability::Named { author, name, version: version.map(|v| v.parse().unwrap()) }
}

fn granted(texts: &[&str]) -> Option<BTreeSet<Granted>> {
    Some(texts.iter().map(|t| t.parse().unwrap()).collect())
}

#[test]
fn each_clause_is_written_as_the_documentation_says() {
    let written = |terms: Terms| {
        let statements = terms.policy().unwrap().statements;
        statements.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let terms = Terms {
        capability: Some([named(author().did(), Some("1.2.0")), named(author().did(), None)].into()),
        functions: Some(["actum:csv/query@0.1.0#run".parse().unwrap()].into()),
        input: vec!["max-rows<=100".parse::<InputRule>().unwrap().0],
        limits: Ceilings { fuel: Some(50_000_000), ..Ceilings::default() },
        permissions: granted(&["keyvalue:notes:read:keys=in*box/", "http:https://example.com"]),
        spent: Quota { actions: Some(100), fuel: None },
        minute: Quota { actions: None, fuel: Some(7) },
        other: vec![],
    };
    let did = author().did();
    let lines = [
        &format!(
            r#"["or", [["and", [["==", ".author", "{did}"], ["==", ".name", "csv-query"]]], ["and", [["==", ".author", "{did}"], ["==", ".name", "csv-query"], ["==", ".version", "1.2.0"]]]]]"#
        ),
        r#"["==", ".function", "actum:csv/query@0.1.0#run"]"#,
        r#"["<=", ".input[\"max-rows\"]", 100]"#,
        r#"["<=", ".limits.fuel", 50000000]"#,
        r#"["all", ".permissions", ["or", [["and", [["==", ".http.origin", "https://example.com"], ["all", ".http.methods", ["or", [["==", ".", "GET"], ["==", ".", "HEAD"]]]], ["<=", ".http.body_bytes", 4194304], ["<=", ".http.timeout_ms", 30000]]], ["and", [["==", ".keyvalue.bucket", "notes"], ["==", ".keyvalue.write", false], ["like", ".keyvalue.keys", "in\\*box/*"]]]]]]"#,
        r#"["<=", ".spent.actions", 100]"#,
        r#"["<=", ".minute.fuel", 7]"#,
    ];
    assert_eq!(written(terms), lines.join("\n"));
    let capability = |c: Capability| Terms { capability: Some([c].into()), ..Terms::default() };
    assert_eq!(
        written(capability(Capability::Component(component(1)))),
        format!(r#"["==", ".component", {{"/": "{}"}}]"#, component(1))
    );
    assert_eq!(
        written(capability(Capability::Interface("actum:csv/query@0.1.0".parse().unwrap()))),
        r##"["like", ".function", "actum:csv/query@0.1.0#*"]"##
    );
    let none = Terms { permissions: Some([].into()), ..Terms::default() };
    assert_eq!(written(none), r#"["==", ".permissions", []]"#);
    let nothing = Terms { capability: Some([].into()), functions: Some([].into()), ..Terms::default() };
    assert_eq!(written(nothing), "[\"==\", \".name\", \"\"]\n[\"==\", \".function\", \"\"]");
    assert!(Terms::default().policy().unwrap().statements.is_empty());
}

#[test]
fn a_star_in_a_name_is_a_star() {
    let allows = |most: &str, asked: &str| {
        let terms = Terms { permissions: granted(&[most]), ..Terms::default() };
        let action = Action { permissions: granted(&[asked]).unwrap(), ..samples::action() };
        let asked = (action, Claim::of(&samples::release()));
        let none = Use::default();
        let policy = terms.policy().unwrap();
        assert_eq!(Terms::read(&policy), terms, "{most}");
        passes(&policy, &asked, none, none)
    };
    assert!(allows("keyvalue:n:keys=a*b", "keyvalue:n:keys=a*bc"));
    assert!(!allows("keyvalue:n:keys=a*b", "keyvalue:n:keys=axb"));
    assert!(allows(r"keyvalue:n:keys=\*b", r"keyvalue:n:keys=\*b"));
    assert!(!allows(r"keyvalue:n:keys=\*b", "keyvalue:n:keys=*b"));
    // No pattern says "begins with a backslash": what is given is less than it could be, and not something else.
    assert!(allows(r"keyvalue:n:keys=a\", r"keyvalue:n:keys=a\"));
    assert!(!allows(r"keyvalue:n:keys=a\", r"keyvalue:n:keys=a\b"));
    assert!(!allows(r"keyvalue:n:keys=a\", "keyvalue:n:keys=a*"));
    assert!("actum:csv/*@0.1.0".parse::<Interface>().is_err());
    assert!(Pattern::exactly("a*").matches("a*"));
}

#[test]
fn a_statement_has_the_name_of_its_clause() {
    for (text, name, exhaustion, input) in [
        (r#"["<=", ".limits.fuel", 3]"#, "limits.fuel", false, false),
        (r#"["==", ".permissions", []]"#, "permissions", false, false),
        (r#"["<=", ".spent.actions", 3]"#, "spent.actions", true, false),
        (r#"["<=", ".minute.fuel", 3]"#, "minute.fuel", true, false),
        (r#"["==", ".function", "run"]"#, "functions", false, false),
        (r##"["like", ".function", "a:b/c@0.1.0#*"]"##, "capability", false, false),
        (r#"["<=", ".input.rows", 3]"#, "input.rows", false, true),
        (r#"["or", [["==", ".spent.actions", 3], ["==", ".a", 1]]]"#, "", true, false),
        (r#"["any", ".", ["==", ".", 1]]"#, "", true, true),
        (r#"["==", ".limits[\"fuel\"]", 1]"#, "", false, false),
    ] {
        let statement = statement(text);
        assert_eq!(clause(&statement), if name.is_empty() { text } else { name });
        assert_eq!(is_exhaustion(&statement), exhaustion, "{text}");
        assert_eq!(sees_input(&Policy::new(vec![statement])), input, "{text}");
    }
}

#[test]
fn each_clause_that_is_wider_is_refused_with_its_name() {
    let parent = Terms {
        capability: Some([named(author().did(), Some("1.0.0"))].into()),
        functions: Some(["run".parse().unwrap()].into()),
        limits: Ceilings { fuel: Some(50_000_000), output_bytes: Some(1 << 20), ..Ceilings::default() },
        permissions: granted(&["keyvalue:notes:read", "http:GET:https://example.com"]),
        spent: Quota { actions: Some(100), fuel: None },
        minute: Quota { actions: None, fuel: Some(1_000) },
        ..Terms::default()
    };
    let refused = |child: Terms, words: &str| {
        assert_eq!(child.widens(&parent).map_err(|e| e.to_string()), Err(words.to_owned()));
    };
    let default = Terms::default;
    assert_eq!(default().widens(&parent), Ok(()));
    assert_eq!(parent.widens(&parent), Ok(()));
    // Of another kind: not compared, and both are enforced.
    let other = Capability::Component(component(1));
    assert_eq!(Terms { capability: Some([other].into()), ..default() }.widens(&parent), Ok(()));
    refused(
        Terms { limits: Ceilings { fuel: Some(100_000_000), ..Ceilings::default() }, ..default() },
        "it widens limits.fuel: 100M fuel where the grant above gives 50M fuel",
    );
    refused(
        Terms { limits: Ceilings { output_bytes: Some((1 << 20) + 1), ..Ceilings::default() }, ..default() },
        "it widens limits.output_bytes: 1048577 of output where the grant above gives 1MiB of output",
    );
    let did = author().did();
    refused(
        Terms { capability: Some([named(did, None)].into()), ..default() },
        &format!("it widens capability: {did}/csv-query where the grant above gives {did}/csv-query@1.0.0"),
    );
    refused(
        Terms { functions: Some(["run".parse().unwrap(), "walk".parse().unwrap()].into()), ..default() },
        "it widens functions: walk where the grant above gives run",
    );
    refused(
        Terms { permissions: granted(&["keyvalue:notes"]), ..default() },
        "it widens permissions: keyvalue:notes where the grant above gives http:GET:https://example.com, keyvalue:notes:read",
    );
    let Some(Granted::Http(mut http)) = granted(&["http:GET:https://example.com"]).unwrap().pop_first()
    else {
        panic!()
    };
    http.body_bytes *= 2;
    refused(
        Terms { permissions: Some([Granted::Http(http)].into()), ..default() },
        "it widens permissions: http:GET:https://example.com with bodies of 8MiB where the grant above gives http:GET:https://example.com, keyvalue:notes:read",
    );
    refused(
        Terms { spent: Quota { actions: Some(101), fuel: None }, ..default() },
        "it widens spent.actions: 101 actions where the grant above gives 100 actions",
    );
    refused(
        Terms { minute: Quota { actions: None, fuel: Some(1_001) }, ..default() },
        "it widens minute.fuel: 1001 fuel where the grant above gives 1k fuel",
    );
    let none = Terms { permissions: Some([].into()), ..default() };
    let child = Terms { permissions: granted(&["network"]), ..default() };
    let widening = child.widens(&none).unwrap_err();
    assert_eq!(widening.to_string(), "it widens permissions: network where the grant above gives none");
}

#[test]
fn a_delegation_widens_in_its_subject_its_command_and_its_times() {
    let parent = Delegation { nbf: Some(NOW), ..delegation(1, 2, &Terms::default()) };
    let with = |change: &dyn Fn(&mut Delegation)| {
        let mut child = delegation(2, 3, &Terms::default());
        change(&mut child);
        narrows(&child, &parent).map_err(|Widening { clause, .. }| clause)
    };
    assert_eq!(with(&|_| {}), Ok(()));
    assert_eq!(with(&|d| d.sub = None), Ok(()));
    assert_eq!(with(&|d| d.exp = None), Ok(()));
    assert_eq!(with(&|d| d.cmd = "/actum/run/fast".parse().unwrap()), Ok(()));
    assert_eq!(with(&|d| d.sub = Some(d.iss)), Err("sub".to_owned()));
    assert_eq!(with(&|d| d.cmd = "/actum".parse().unwrap()), Err("cmd".to_owned()));
    assert_eq!(with(&|d| d.cmd = "/".parse().unwrap()), Err("cmd".to_owned()));
    assert_eq!(with(&|d| d.nbf = Some(NOW - 1)), Err("from".to_owned()));
    assert_eq!(with(&|d| d.exp = Some(NOW + 3_601)), Err("until".to_owned()));
    // A powerline of everything, as a rotated key leaves, hands on what there is and says nothing of it.
    let hand_on = |d: &mut Delegation| (d.sub, d.cmd) = (None, "/".parse().unwrap());
    assert_eq!(with(&hand_on), Ok(()));
    let words = narrows(&Delegation { exp: Some(NOW + 3_601), ..parent.clone() }, &parent).unwrap_err();
    assert_eq!(
        words.to_string(),
        "it widens until: 2026-09-21T15:13:21Z where the grant above gives 2026-09-21T15:13:20Z"
    );
}

#[test]
fn a_chain_is_compared_with_all_above_and_not_only_the_next() {
    let fuel = |most| Terms { limits: Ceilings { fuel: most, ..Ceilings::default() }, ..Terms::default() };
    let chain = [
        delegation(1, 2, &fuel(Some(5))),
        delegation(2, 3, &fuel(None)),
        Delegation { sub: None, cmd: "/".parse().unwrap(), exp: None, ..delegation(3, 4, &fuel(None)) },
        delegation(4, 5, &fuel(Some(6))),
    ];
    let chain: Vec<_> = chain.iter().collect();
    assert_eq!(check_chain(&chain[..3]), Ok(()));
    let widened = check_chain(&chain).unwrap_err();
    assert_eq!((widened.position, widened.widening.clause.as_str()), (4, "limits.fuel"));
    assert!(widened.to_string().starts_with("delegation 4 of the chain: it widens limits.fuel: 6 fuel"));
    let mut late = chain[3].clone();
    late.pol = Policy::default();
    late.cmd = "/actum".parse().unwrap();
    let chain = [chain[0], chain[1], chain[2], &late];
    assert_eq!(check_chain(&chain).unwrap_err().widening.clause, "cmd");
    assert_eq!(check_chain(&[]), Ok(()));
}

fn name_of(did: &Did) -> String {
    let key = |n: u8| SecretKey::from_seed(&[n; 32]).did();
    let known = [(key(1), "Alice"), (key(2), "Bob"), (key(3), "Carol")];
    known.iter().find(|(known, _)| known == did).map_or_else(|| did.short(), |(_, name)| (*name).to_owned())
}

fn words(delegation: &Delegation) -> String {
    describe(delegation, &name_of, &|at| format!("{} s from then", at.saturating_sub(NOW)), NOW)
}

#[test]
fn a_grant_reads_as_a_sentence() {
    let carol = requester().did();
    let terms = Terms {
        capability: Some([named(carol, None)].into()),
        limits: Ceilings { fuel: Some(50_000_000), memory_bytes: Some(64 << 20), ..Ceilings::default() },
        permissions: Some([].into()),
        spent: Quota { actions: Some(100), fuel: None },
        minute: Quota { actions: Some(10), fuel: Some(1_000_000_000) },
        input: vec!["rows<=100".parse::<InputRule>().unwrap().0, statement(INPUT[2])],
        other: vec![statement(OTHER[2])],
        ..Terms::default()
    };
    assert_eq!(
        words(&delegation(1, 2, &terms)),
        "Alice lets Bob run csv-query by Carol (any function), in the name of Alice, each time with at most 50M fuel and 64MiB of memory, at most 100 actions in all, at most 10 actions and 1G fuel within 60 s, with no permissions: no network, no storage, no files, until 3600 s from then.
Only where rows <= 100.
Only where [\"all\", \".input.rows\", [\"==\", \".limits\", 1]].
Only where [\"==\", \".limits.fuel\", 3]."
    );
    let fuel = Terms {
        functions: Some(["run".parse().unwrap(), "walk".parse().unwrap()].into()),
        limits: Ceilings { fuel: Some(7), ..Ceilings::default() },
        permissions: granted(&["http:https://example.com"]),
        ..Terms::default()
    };
    let alone = Delegation { nbf: Some(NOW + 60), exp: None, ..delegation(1, 2, &fuel) };
    assert_eq!(
        words(&alone),
        "Alice lets Bob run any capability of anyone's (run or walk), in the name of Alice, each time with at most 7 fuel, with no permissions but http:GET,HEAD:https://example.com, from 60 s from then, without end."
    );
    let chain = [delegation(1, 2, &terms), delegation(2, 3, &fuel)];
    let chain =
        describe_chain(&chain.iter().collect::<Vec<_>>(), &name_of, &|_| "Friday".to_owned(), NOW + 3_601);
    assert_eq!(
        chain.lines().next().unwrap(),
        "Alice lets Carol, through Bob, run csv-query by Carol (run or walk), in the name of Alice, each time with at most 7 fuel and 64MiB of memory, at most 100 actions in all, less what others use of it, at most 10 actions and 1G fuel within 60 s, less what others use of it, with no permissions: no network, no storage, no files, until Friday, which is over."
    );
    assert_eq!(describe_chain(&[], &name_of, &|_| String::new(), NOW), "");
}

#[test]
fn a_grant_of_everything_reads_as_one() {
    let all = Delegation { cmd: "/".parse().unwrap(), exp: None, ..delegation(1, 2, &Terms::default()) };
    assert_eq!(
        words(&all),
        "Alice lets Bob use everything: every command there is and will be, in the name of Alice, without any condition, without end."
    );
    assert_eq!(
        words(&Delegation { sub: None, ..all.clone() }),
        "Alice lets Bob use everything: every command there is and will be, by whatever Alice is let do by others, now and later, without any condition, without end."
    );
    assert_eq!(
        words(&Delegation { cmd: "/actum".parse().unwrap(), ..all.clone() }),
        "Alice lets Bob use the command /actum and all below it, in the name of Alice, without any condition, without end."
    );
    assert_eq!(
        words(&Delegation { cmd: RunArgs::command(), ..all.clone() }),
        "Alice lets Bob run any capability of anyone's (any function), in the name of Alice, with any permissions it asks for, without end."
    );
    // What is handed on is no more than what was given.
    let given = delegation(1, 2, &Terms { permissions: Some([].into()), ..Terms::default() });
    let handed = Delegation { sub: None, iss: all.aud, aud: requester().did(), ..all };
    let chain = describe_chain(&[&given, &handed], &name_of, &|_| "Friday".to_owned(), NOW);
    assert_eq!(
        chain,
        "Alice lets Carol, through Bob, run any capability of anyone's (any function), in the name of Alice, with no permissions: no network, no storage, no files, until Friday."
    );
}

#[test]
fn a_strangers_text_stays_in_its_line() {
    let evil = "x\nOnly where nothing. \u{202e}\u{1b}[2J";
    let eq = |path: &str| Statement::eq(path.parse().unwrap(), evil);
    let terms = Terms {
        permissions: Some([Granted::Config(Config { key: "k".to_owned(), value: evil.to_owned() })].into()),
        input: vec![eq(".input.a"), eq(r#".input["x\n"]"#)],
        other: vec![eq(".a")],
        ..Terms::default()
    };
    for cmd in ["/", "/actum/run"] {
        let delegation = Delegation { cmd: cmd.parse().unwrap(), ..delegation(1, 2, &terms) };
        let words = describe(&delegation, &|_| evil.to_owned(), &|_| evil.to_owned(), NOW);
        let conditions = if cmd == "/" { 4 } else { 3 };
        assert_eq!(words.lines().count(), 1 + conditions, "{words}");
        assert!(!words.contains(['\u{1b}', '\u{202e}', '\r']), "{words:?}");
    }
    assert!(!clause(&eq(r#".input["x\n"]"#)).contains('\n'));
    let more = Terms { permissions: granted(&["network"]), ..Terms::default() };
    let widening = terms.widens(&more).unwrap_err().to_string();
    assert!(!widening.contains(['\n', '\u{1b}']), "{widening}");
}

#[test]
fn what_people_type_is_read_or_refused_with_a_reason() {
    assert_eq!("50M".parse(), Ok(Count(50_000_000)));
    assert_eq!("1_500".parse(), Ok(Count(1_500)));
    assert_eq!("2 k".parse(), Ok(Count(2_000)));
    assert_eq!("64MiB".parse(), Ok(ByteSize(64 << 20)));
    assert_eq!("4096".parse(), Ok(ByteSize(4_096)));
    for wrong in ["", "M", "-1", "1.5M", "50MB", "50m", "_5", "1e9", "99999999999999999999", "20000000000G"] {
        let error = wrong.parse::<Count>().unwrap_err();
        assert!(error.contains("a number such as 1500, 50k, 50M or 1G"), "{error}");
    }
    assert!("64MB".parse::<ByteSize>().unwrap_err().contains("one of KiB, MiB, GiB"));

    let did = author().did();
    let by_author = |text: &str| text.parse::<May>().map(|may| may.by(did));
    assert_eq!(by_author("csv-query"), Ok(named(did, None)));
    assert_eq!(by_author("csv-query@1.0.0"), Ok(named(did, Some("1.0.0"))));
    assert_eq!(format!("{did}/csv-query@1.0.0").parse(), Ok(May::Capability(named(did, Some("1.0.0")))));
    let id = component(1);
    assert_eq!(id.to_string().parse(), Ok(May::Capability(Capability::Component(id))));
    let interface = "actum:csv/query@0.1.0";
    let expected = May::Capability(Capability::Interface(interface.parse().unwrap()));
    assert_eq!(interface.parse(), Ok(expected));
    for wrong in [
        "",
        "Csv",
        "csv@1",
        "csv/query@0.1.0",
        "actum:csv/query",
        "actum:csv/*@1.0.0",
        "did:key:z6/x",
        "a b",
        "actum:csv/query@0.1.0#run",
    ] {
        assert!(wrong.parse::<May>().is_err(), "{wrong}");
    }

    for (typed, written) in [
        ("rows<=100", r#"["<=", ".input.rows", 100]"#),
        ("mode==fast", r#"["==", ".input.mode", "fast"]"#),
        ("mode == \"100\"", r#"["==", ".input.mode", "100"]"#),
        ("url like https://example.com/*", r#"["like", ".input.url", "https://example.com/*"]"#),
        ("options.max-rows[0] != null", r#"["!=", ".input.options[\"max-rows\"][0]", null]"#),
        ("a==[1, {\"b\": false}]", r#"["==", ".input.a", [1, {"b": false}]]"#),
        (r#"["not", ["==", ".input.a", 1]]"#, r#"["not", ["==", ".input.a", 1]]"#),
    ] {
        let rule: InputRule = typed.parse().unwrap();
        assert_eq!(rule.0.to_string(), written);
    }
    let link = format!(r#"["==", ".input.a", {{"/": "{id}"}}]"#);
    assert_eq!(link.parse::<InputRule>().unwrap().0.to_string(), link);
    let bytes = r#"["==", ".input.a", {"/": {"bytes": "AAE"}}]"#;
    assert_eq!(bytes.parse::<InputRule>().unwrap().0.to_string(), bytes);
    for wrong in [
        "",
        "rows",
        "rows=100",
        "rows<=",
        "rows=>5",
        "<=5",
        "rows<=many",
        "a..b==1",
        "a[x]==1",
        "a[0==1",
        "a[0]b==1",
        "a b==1",
        r#"["<=", ".limits.fuel", 5]"#,
        r#"["or", [["==", ".input.a", 1], ["==", ".name", "a"]]]"#,
        "[1]",
        "[",
        r#"["==", ".input.a", {"/": 1}]"#,
        r#"["or", []]"#,
    ] {
        assert!(wrong.parse::<InputRule>().is_err(), "{wrong}");
    }
}

#[test]
fn terms_that_no_policy_can_hold_are_refused_when_they_are_written() {
    let many = (0..MAX_STATEMENTS).map(|n| format!("keyvalue:{n}:read").parse().unwrap()).collect();
    let terms = Terms { permissions: Some(many), ..Terms::default() };
    assert!(terms.policy().is_err());
}
