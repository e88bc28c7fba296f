//! Every capability is published with its examples reproduced, delegated once on real input, and replayed on both
//! engines. A capability without a test here does not compile.

use crate::harness::{Stage, bytes};
use serde_json::{Value, json};

/// Publishes, hosts, delegates, and replays under Cranelift and Pulley; returns the result.
fn delegate(name: &str, function: &str, args: &Value) -> Value {
    let stage = Stage::new();
    stage.publish("host", name);
    let host = stage.node("host", &["--offer", name]);
    stage.write("args.json", args.to_string());
    let ran =
        stage.actum("you", &["call", name, function, "@args.json", "--peer", host.address("tcp")]).exits(0);
    for engine in ["cranelift", "pulley"] {
        let replayed = stage.actum("you", &["replay", &ran.receipt(), "--engine", engine]).exits(0);
        assert_eq!(replayed.stdout.trim(), "identical", "{name} on {engine}");
    }
    ran.json()
}

const LICENCE: &str = include_str!("../../LICENSE-APACHE");
const HARVEST: &str = include_str!("../../examples/data/harvest.csv");

#[test]
fn text_stats() {
    let counts = delegate("text-stats", "count-words", &json!({"text": LICENCE}));
    assert_eq!(counts["bytes"], LICENCE.len());
    assert_eq!(counts["lines"], LICENCE.lines().count());
}

#[test]
fn text_summary() {
    let wit = actum_capabilities::find("text-summary").expect("it is built in").wit;
    assert!(wit.iter().any(|(_, text)| text.contains("summar")));
    let summary = delegate("text-summary", "summarize", &json!({"text": LICENCE, "sentences": 3}));
    assert!(!summary.is_null(), "{summary}");
}

#[test]
fn markdown() {
    let html = delegate("markdown", "render", &json!({"markdown": "# Hi\n\n*there*"}));
    assert_eq!(html, "<h1>Hi</h1>\n<p><em>there</em></p>\n");
}

#[test]
fn csv_aggregate() {
    let args = json!({"table": HARVEST, "group-by": ["field"], "aggregates": [{"column": "kilograms", "measure": "count"}]});
    let groups = delegate("csv-aggregate", "aggregate-by", &args);
    let rows: u64 = groups["ok"].as_array().expect("groups").iter().filter_map(|g| g["rows"].as_u64()).sum();
    assert_eq!(rows as usize, HARVEST.lines().count() - 1);
}

#[test]
fn digest() {
    let data: Vec<u8> = (0..2_000_000_u32).map(|i| i as u8).collect();
    let found = delegate("digest", "sha256", &json!([bytes(&data)]));
    let wanted: String = actum_model::id::sha256(&data).iter().map(|b| format!("{b:02x}")).collect();
    assert!(found.to_string().contains(&wanted), "{found} is not {wanted}");
}

#[test]
fn thumbnail() {
    let code = delegate("qr-code", "draw", &json!({"text": "https://example.org", "format": {"png": 16}}));
    let image = &code["ok"]["image"]["png"];
    let made = delegate(
        "thumbnail",
        "make",
        &json!({"image": image, "fit": {"width": 32, "height": 32}, "format": {"jpeg": 70}}),
    );
    assert_eq!(made["ok"]["size"], json!({"width": 32, "height": 32}));
}

#[test]
fn qr_code() {
    let code = delegate("qr-code", "draw", &json!({"text": "hello", "format": "svg", "correction": "high"}));
    assert!(code["ok"]["image"]["svg"].as_str().is_some_and(|s| s.contains("<svg")), "{code}");
}

#[test]
fn text_diff() {
    let diff = run_first_example("text-diff");
    assert!(!diff.is_null());
}

#[test]
fn json_query() {
    let found = run_first_example("json-query");
    assert!(!found.is_null());
}

#[test]
fn regex_extract() {
    let found = run_first_example("regex-extract");
    assert!(!found.is_null());
}

/// Delegates the manifest's first example and returns the result, which must be what the manifest says.
fn run_first_example(name: &str) -> Value {
    let manifest = actum_capabilities::find(name).expect("it is built in").manifest;
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let example = &manifest["example"][0];
    let json = |v: Option<&toml::Value>| serde_json::to_value(v).expect("JSON");
    let given = delegate(name, example["function"].as_str().expect("a name"), &json(example.get("args")));
    assert_eq!(without_nulls(given.clone()), without_nulls(json(example.get("output"))));
    given
}

/// An absent field and null both say `none`.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, without_nulls(v))).collect()
        }
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

actum_capabilities::foreach_capability!(assert_capability);

macro_rules! assert_capability {
    ($name:ident) => {
        const _: fn() = $name;
    };
}
use assert_capability;
