//! It runs safely: every hostile or odd guest, delegated to a real node, ends in its own coded outcome with a receipt that
//! replays, on the engine that made it and on the other one, and the node goes on serving. A guest without a test here does
//! not compile.

use crate::harness::{Ran, Stage};

/// Delegates a guest's function to a node of its own; then the receipt replays, and the node still serves.
fn delegate(guest: &str, function: &str, args: &str, more: &[&str]) -> Ran {
    let stage = Stage::new();
    let permissions = match guest {
        "network" => "[\"network\"]",
        "fetcher" => "[\"http\"]",
        "notes" => "[\"keyvalue\"]",
        "caller" => "[\"delegate\"]",
        _ => "[]",
    };
    stage.publish_guest("host", guest, permissions);
    let mut offers = vec!["--offer", guest];
    if guest != "failing" {
        stage.publish_guest("host", "failing", "[]");
        offers.extend(["--offer", "failing"]);
    }
    let host = stage.node("host", &offers);
    let call = [&["call", guest, function, args, "--peer", host.address("tcp")], more].concat();
    let ran = stage.actum("you", &call);
    let replayed = stage.actum("you", &["replay", &ran.receipt()]).exits(0);
    assert_eq!(replayed.stdout.trim(), "identical");
    let interpreted = stage.actum("you", &["replay", &ran.receipt(), "--engine", "pulley"]);
    // How deep a native stack goes is the one thing that the engines may disagree about, and they say so.
    if ran.stderr.contains("stack-overflow") && interpreted.stdout.starts_with("not-replayable") {
        interpreted.exits(7);
    } else {
        assert_eq!(interpreted.exits(0).stdout.trim(), "identical");
    }
    let serves =
        stage.actum("you", &["call", "failing", "even", "2", "--peer", host.address("tcp")]).exits(0);
    assert_eq!(serves.json(), serde_json::json!({"ok": 2}), "the node goes on serving");
    host.stop();
    ran
}

#[test]
fn endless() {
    delegate("endless", "spin", "[]", &["--fuel", "10000000"]).exits(6).says("out-of-fuel");
}

#[test]
fn memory_bomb() {
    delegate("memory-bomb", "grow", "[]", &["--memory", "16"]).exits(6).says("out-of-memory");
}

#[test]
fn trapper() {
    delegate("trapper", "unreachable", "[]", &[]).exits(6).says("trap (unreachable)");
    delegate("trapper", "divide", "[1, 0]", &[]).exits(6).says("trap (");
    delegate("trapper", "overflow-stack", "[1]", &[]).exits(6).says("stack-overflow");
}

#[test]
fn failing() {
    let ran = delegate("failing", "even", "3", &[]).exits(6).says("the function returned an error");
    assert!(ran.json().get("err").is_some(), "the guest's own error is data: {ran:?}");
}

#[test]
fn network() {
    delegate("network", "phone-home", "198.51.100.7", &[]).exits(4).says("denied").says("wasi:sockets/");
}

#[test]
fn fetcher() {
    let get = r#"["GET", "http://example.org/", [], null]"#;
    delegate("fetcher", "fetch", get, &[]).exits(4).says("denied").says("--grant http:https://");
}

#[test]
fn notes() {
    delegate("notes", "get", r#"["notes", "key"]"#, &[]).exits(4).says("denied").says("wasi:keyvalue/");
}

#[test]
fn caller() {
    let denied = delegate("caller", "deep", "1", &[]).exits(4);
    denied.says("actum:host/delegate").says("--grant delegate:<target>=");
}

#[test]
fn observer() {
    let choices = ["--seed", &"5a".repeat(32), "--time-base", "1700000000000000000"];
    let first = delegate("observer", "observe", "[]", &choices).exits(0);
    let second = delegate("observer", "observe", "[]", &choices).exits(0);
    assert_eq!(
        first.stdout, second.stdout,
        "clocks, randomness and hash order follow from seed and time base"
    );
    let other = delegate("observer", "random-bytes", "[16]", &["--seed", &"5b".repeat(32)]).exits(0);
    let same = delegate("observer", "random-bytes", "[16]", &choices).exits(0);
    assert_ne!(other.stdout, same.stdout);
}

#[test]
fn sleeper() {
    delegate("sleeper", "sleep-an-hour", "[]", &[]).exits(0);
}

#[test]
fn flood() {
    delegate("flood", "flood-stdout", "[]", &[]).exits(6).says("stdio-too-large");
    delegate("flood", "write", "[100]", &[]).exits(0);
}

#[test]
fn reader() {
    let told = |function, args| delegate("reader", function, args, &[]).exits(6).json()["err"].clone();
    assert_eq!(told("look", r#"["a.txt", 0, 1]"#), "there is no directory");
    assert!(told("walk", r#"["/"]"#).is_string(), "nothing was granted, so there is nothing to see");
}

#[test]
fn big_output() {
    delegate("big-output", "text", "[40000000]", &[]).exits(6).says("output-too-large");
}

#[test]
fn echo() {
    assert_eq!(delegate("echo", "echo", "\"aGVsbG8=\"", &[]).exits(0).json(), "aGVsbG8=");
}

#[test]
fn command() {
    // WASI 0.2's exit says success or failure, and no number.
    let ran = delegate("command", "run", r#"{"args": ["--exit=3"], "stdin": ""}"#, &[]).exits(6);
    assert_eq!(ran.json()["err"]["status"], 1);
}

actum_capabilities::foreach_guest!(assert_guest);

macro_rules! assert_guest {
    ($name:ident) => {
        const _: fn() = $name;
    };
}
use assert_guest;
