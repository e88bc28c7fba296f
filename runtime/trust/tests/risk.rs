//! The one table: which checks an action gets, what the defaults are, and what is no table.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use actum_model::{ComponentId, Granted, ReceiptId, SecretKey};
use actum_trust::{risk::*, *};
use std::collections::BTreeSet;

fn granted(texts: &[&str]) -> BTreeSet<Granted> {
    texts.iter().map(|t| t.parse().unwrap()).collect()
}

#[test]
fn an_action_is_what_the_most_of_its_permissions_makes_it() {
    let tree = format!("files:{}", actum_model::BlobId::of(b"tree"));
    let delegate = format!("delegate:other={}", ComponentId::of(b"other"));
    let cases: [(&[&str], Effect); 10] = [
        (&[], Effect::Pure),
        (&["network"], Effect::Pure),
        (&["http:https://example.com"], Effect::Reads),
        (&["http:GET,HEAD,OPTIONS:https://example.com"], Effect::Reads),
        (&["http:GET,POST:https://example.com"], Effect::Writes),
        (&["keyvalue:notes:read"], Effect::Reads),
        (&["keyvalue:notes"], Effect::Writes),
        (&["config:key=value", &tree], Effect::Reads),
        (&["keyvalue:notes", "http:https://example.com"], Effect::Writes),
        (&["config:key=value", &delegate], Effect::Spends),
    ];
    for (permissions, effect) in cases {
        assert_eq!(Effect::of(&granted(permissions)), effect, "{permissions:?}");
    }
}

fn class(effect: Effect, args_bytes: u64, asker: Asker) -> Class {
    Class { effect, args_bytes, asker }
}

#[test]
fn the_strictest_that_applies_holds_and_says_why() {
    let policy = RiskPolicy::default();
    let of = |effect, bytes, asker| {
        let (name, level, because) = policy.level_for(&class(effect, bytes, asker), None).unwrap();
        assert_eq!(*level, policy.level[name]);
        assert!(!because.to_string().is_empty());
        (name.to_owned(), because)
    };
    let mib = 1 << 20;
    assert_eq!(of(Effect::Pure, mib, Asker::Own), ("low".into(), Because::Effect(Effect::Pure)));
    let large = Because::Large { args_bytes: mib + 1, large_bytes: mib };
    assert_eq!(of(Effect::Pure, mib + 1, Asker::Own), ("medium".into(), large.clone()));
    assert_eq!(of(Effect::Pure, 0, Asker::Granted), ("medium".into(), Because::Granted));
    assert_eq!(of(Effect::Pure, mib + 1, Asker::Granted), ("medium".into(), large));
    assert_eq!(of(Effect::Reads, 0, Asker::Own), ("medium".into(), Because::Effect(Effect::Reads)));
    // What is strict already is not made less so.
    for effect in [Effect::Writes, Effect::Spends] {
        assert_eq!(of(effect, mib + 1, Asker::Granted), ("high".into(), Because::Effect(effect)));
    }
}

#[test]
fn what_is_asked_for_wins_and_that_it_is_less_is_said() {
    let policy = RiskPolicy::default();
    let writes = class(Effect::Writes, 0, Asker::Own);
    let (name, _, because) = policy.level_for(&writes, Some("low")).unwrap();
    assert_eq!((name, &because), ("low", &Because::Asked { instead_of: "high".into(), lower: true }));
    assert!(because.to_string().contains("stricter high"));
    let pure = class(Effect::Pure, 0, Asker::Own);
    let (name, _, because) = policy.level_for(&pure, Some("high")).unwrap();
    assert_eq!((name, because), ("high", Because::Asked { instead_of: "low".into(), lower: false }));
    let unknown = policy.level_for(&pure, Some("extreme")).unwrap_err();
    assert_eq!(unknown.known, ["low", "medium", "high"]);
    assert_eq!(unknown.to_string(), "no risk level is called \"extreme\"; there are low, medium, high");
}

fn read(text: &str) -> Result<RiskPolicy, String> {
    toml::from_str(text).map_err(|e: toml::de::Error| e.to_string())
}

#[test]
fn a_table_changes_what_it_names_and_leaves_the_rest() {
    assert_eq!(read("").unwrap(), RiskPolicy::default());
    let read = read(
        r#"
        pure = "paranoid"
        large_bytes = 10
        [level.low]
        replay_one_in = 20
        [level.paranoid]
        replay_one_in = 1
        replicas = 3
        "#,
    )
    .unwrap();
    let mut wanted = RiskPolicy { pure: "paranoid".into(), large_bytes: 10, ..RiskPolicy::default() };
    wanted.level.get_mut("low").unwrap().replay_one_in = 20.try_into().unwrap();
    let paranoid = Level { replay_one_in: 1.try_into().unwrap(), replicas: 3, ..Level::medium() };
    wanted.level.insert("paranoid".into(), paranoid);
    assert_eq!(read, wanted);
    assert_eq!(read.names(), ["low", "medium", "paranoid", "high"]);
    let (name, level, _) = read.level_for(&class(Effect::Pure, 99, Asker::Granted), None).unwrap();
    assert_eq!((name, level.replicas), ("paranoid", 3));
}

#[test]
fn no_table_is_read_with_what_it_does_not_mean() {
    for (text, says) in [
        ("pur = \"low\"", "unknown field `pur`"),
        ("pure = \"lo\"", "pure is \"lo\", and no risk level is called that; there are high, low, medium"),
        ("[level.low]\ncanary = 1", "unknown field `canary`"),
        ("[level.low]\ncanaries = 9", "risk level low: canaries is 9; 0 to 8 are allowed"),
        ("[level.low]\ncanaries = -1", "invalid value"),
        ("[level.low]\nreplicas = 0", "risk level low: replicas is 0; 1 to 7 are allowed"),
        ("[level.low]\nreplicas_reads = 8", "replicas_reads is 8; 1 to 7 are allowed"),
        ("[level.low]\nreplay_one_in = 0", "nonzero"),
        ("[level.low]\nprobation = 1025", "probation is 1025; 0 to 1024 are allowed"),
        ("[level.low]\nfallbacks = 17", "fallbacks is 17; 0 to 16 are allowed"),
        ("[level.low]\npatience_seconds = 0", "patience_seconds is 0; 1 to 600 are allowed"),
        ("[level.low]\nexplore_one_in = 0", "nonzero"),
        ("[level.\"Very High\"]", "lower-case letters, digits and hyphens"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(says), "{text}: {error}");
    }
    let many: String = (0..14).map(|n| format!("[level.l{n}]\n")).collect();
    assert!(read(&many).unwrap_err().contains("17 risk levels where at most 16 are allowed"));
    for (_, level) in Level::defaults() {
        level.check().unwrap();
    }
}

/// Of a provider with so many confirmed receipts, of which so many here.
fn confirmed(all: u64, here: u64) -> Record {
    let event = |n: u64| Event {
        provider: SecretKey::from_seed(&[1; 32]).did(),
        component: ComponentId::of(&[u8::from(n < here)]),
        at: 1_000,
        what: Experience::Identical,
        verifier: None,
        receipt: Some(ReceiptId::of(&n.to_be_bytes())),
    };
    let events: Vec<_> = (0..all).map(event).collect();
    Record::of(&events, Some(&ComponentId::of(&[1])), 1_000, &Reputation::default(), &[])
}

#[test]
fn on_probation_everything_is_replayed_before_it_is_believed() {
    let replay = |level: &Level, record: &Record, due| plan(level, Effect::Pure, record, due, 1).replay;
    for (_, level) in Level::defaults() {
        for due in [false, true] {
            assert_eq!(replay(&level, &Record::default(), due), Replay::Before);
            assert_eq!(replay(&level, &confirmed(1, 1), due), Replay::Before);
        }
    }
    assert_eq!(replay(&Level::low(), &confirmed(2, 1), true), Replay::Before);
    let after = Level { before: false, ..Level::low() };
    assert_eq!(replay(&after, &confirmed(2, 1), true), Replay::After);
    assert_eq!(replay(&after, &confirmed(1, 1), true), Replay::Before);
    assert_eq!(replay(&Level::low(), &confirmed(2, 1), false), Replay::No);
    assert_eq!(replay(&Level::medium(), &confirmed(47, 47), false), Replay::Before);
    assert_eq!(replay(&Level::medium(), &confirmed(64, 3), false), Replay::Before);
    assert_eq!(replay(&Level::medium(), &confirmed(64, 4), false), Replay::No);
    assert_eq!(replay(&Level::medium(), &confirmed(64, 4), true), Replay::Before);
    assert_eq!(replay(&Level::high(), &confirmed(1_000, 1_000), false), Replay::Before);
    // A suspect is on probation again, whatever it had.
    let mut suspect = confirmed(100, 100);
    suspect.own.bad_milli = suspect.own.good_milli;
    assert_eq!(suspect.standing(), Standing::Suspect);
    assert_eq!(replay(&Level::low(), &suspect, false), Replay::Before);
    // And one whose receipts mostly cannot be tried never leaves it.
    let opaque = Record { opaque: true, ..confirmed(100, 100) };
    assert_eq!(replay(&Level::low(), &opaque, false), Replay::Before);
}

#[test]
fn canaries_become_rarer_the_better_a_provider_is_known() {
    let canaries = |record: &Record| -> u32 {
        (0..1_200).map(|draw| plan(&Level::medium(), Effect::Pure, record, false, draw).canaries).sum()
    };
    assert_eq!(canaries(&Record::default()), 1_200);
    assert_eq!(canaries(&confirmed(1, 1)), 400);
    assert_eq!(canaries(&confirmed(98, 98)), 12);
    // Known for something else is not known for this.
    assert_eq!(canaries(&confirmed(98, 0)), 600);
    for effect in [Effect::Reads, Effect::Writes, Effect::Spends] {
        assert_eq!(plan(&Level::high(), effect, &Record::default(), true, 0).canaries, 0);
    }
    assert_eq!(plan(&Level::high(), Effect::Pure, &Record::default(), true, 0).canaries, 2);
    let low = plan(&Level::low(), Effect::Pure, &confirmed(1, 1), true, 0);
    assert_eq!(low.canaries, 0);
}

#[test]
fn an_effect_is_wanted_once_and_what_was_read_is_seen_by_several() {
    let replicas = |effect| plan(&Level::high(), effect, &Record::default(), false, 0).replicas;
    assert_eq!([Effect::Pure, Effect::Reads, Effect::Writes, Effect::Spends].map(replicas), [1, 3, 1, 1]);
    let several = Level { replicas: 5, ..Level::high() };
    assert_eq!(plan(&several, Effect::Reads, &Record::default(), false, 0).replicas, 5);
    assert_eq!(plan(&several, Effect::Writes, &Record::default(), false, 0).replicas, 1);
}

#[test]
fn a_plan_says_what_it_costs() {
    let made = plan(&Level::high(), Effect::Pure, &Record::default(), false, 0);
    assert_eq!(made.runs(), Runs { here: 3, there: 2 });
    assert!(made.explain().iter().any(|l| l.contains("3 times as much here, 2 times there")), "{made:?}");
    let cheap = plan(&Level::low(), Effect::Pure, &confirmed(9, 9), false, 0);
    assert_eq!(cheap.runs(), Runs { here: 0, there: 0 });
}

#[test]
fn under_medium_the_checks_cost_less_than_fifteen_percent() {
    // Ten thousand actions at one honest provider, all within a half-life.
    let level = Level::medium();
    let (mut here, mut there, mut proven) = (0_u64, 0_u64, 0_u64);
    let mut draw = 1_u64;
    let mut record = Record::default();
    for n in 0..10_000_u64 {
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let due = sampling::due(&[3; 32], &SecretKey::from_seed(&[1; 32]).did(), n, level.replay_one_in);
        let made = plan(&level, Effect::Pure, &record, due, draw >> 11);
        here += u64::from(made.runs().here);
        there += u64::from(made.runs().there);
        if made.replay != Replay::No || made.canaries > 0 {
            proven += 1;
            // Nothing beyond this changes the plan but the rate of canaries.
            if proven <= 300 {
                record = confirmed(proven, proven);
            }
        }
    }
    assert!(here + there < 1_500, "{here} runs here and {there} there beyond 10000");
    assert!(here > 1_000, "{here}");
}

/// `docs/trust.md` has the defaults in two tables; they are the defaults.
#[test]
fn the_defaults_in_the_documentation_are_the_defaults() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/trust.md");
    let doc = std::fs::read_to_string(path).unwrap();
    let levels = Level::defaults().map(|(_, level)| level);
    let line = |key: &str, cell: &dyn Fn(&Level) -> String| {
        let [low, medium, high] = levels.each_ref().map(cell);
        format!("| `{key}` | {low} | {medium} | {high} |")
    };
    let rows = [
        line("canaries", &|l| l.canaries.to_string()),
        line("replicas", &|l| l.replicas.to_string()),
        line("replicas_reads", &|l| l.replicas_reads.to_string()),
        line("replay_one_in", &|l| l.replay_one_in.to_string()),
        line("before", &|l| l.before.to_string()),
        line("probation", &|l| l.probation.to_string()),
        line("probation_here", &|l| l.probation_here.to_string()),
        line("fallbacks", &|l| l.fallbacks.to_string()),
        line("patience_seconds", &|l| l.patience_seconds.to_string()),
        line("explore_one_in", &|l| l.explore_one_in.to_string()),
        line("newcomers", &|l| l.newcomers.to_string()),
        line("attestation", &|l| l.attestation.to_string()),
    ];
    for row in &rows {
        assert!(doc.contains(row.as_str()), "docs/trust.md lacks {row}");
    }
    // The configuration it shows reads, and says nothing but the defaults.
    let (_, rest) = doc.split_once("```toml\n[risk]\n").unwrap();
    let (table, _) = rest.split_once("```").unwrap();
    assert_eq!(read(&table.replace("[risk.level.", "[level.")).unwrap(), RiskPolicy::default());
}
