//! The real world, granted: buckets that outlive actions, calls of other capabilities, and what stands in their way. Every
//! receipt replays without any of it.

use crate::harness::{Node, Ran, Stage};
use serde_json::{Value, json};

const KEYVALUE: &str = "[\"keyvalue\"]";
const DELEGATE: &str = "[\"delegate\"]";

impl Stage {
    fn count(&self, home: &str, more: &[&str]) -> Ran {
        let count = ["run", "notes", "increment", r#"["n", "visits", 1]"#];
        self.actum(home, &[&count, more].concat())
    }

    /// Runs a function of the guest `caller` with these calls granted.
    fn calls(&self, home: &str, function: &str, args: &str, grants: &[&str]) -> Ran {
        let mut command = vec!["run", "caller", function, args];
        grants.iter().for_each(|grant| command.extend(["--grant", grant]));
        self.actum(home, &command)
    }

    /// The receipts of a home's own guests' calls, newest first.
    pub(crate) fn delegated(&self, home: &str) -> Vec<Value> {
        let all =
            self.actum(home, &["--format", "json", "receipt", "list", "--limit", "1000"]).exits(0).json();
        let all = all.as_array().expect("a list").clone();
        all.into_iter().filter(|r| r["authority"] == "delegated").collect()
    }

    /// Exports these receipts, moves the home away, and replays each bundle on both engines.
    pub(crate) fn replays_with_the_home_away(&self, home: &str, receipts: &[String]) {
        let bundle = |n: usize| self.path().join(format!("{home}-{n}.car"));
        for (n, receipt) in receipts.iter().enumerate() {
            let path = bundle(n);
            self.actum(home, &["receipt", "export", receipt, "-o", path.to_str().expect("UTF-8")]).exits(0);
        }
        std::fs::rename(self.path().join(home), self.path().join(format!("{home}-away"))).expect("moved");
        for (n, receipt) in receipts.iter().enumerate() {
            let path = bundle(n);
            for engine in ["cranelift", "pulley"] {
                let replay = ["replay", path.to_str().expect("UTF-8"), "--engine", engine];
                let replayed = self.actum("nobody", &replay).exits(0);
                assert_eq!(replayed.stdout.trim(), "identical", "{receipt} on {engine}");
            }
        }
    }

    /// A node with a configuration of its own.
    pub(crate) fn node_with(&self, home: &str, config: &str) -> Node {
        let path = self.write(&format!("{home}.toml"), config);
        self.node(home, &["--config", path.to_str().expect("UTF-8")])
    }
}

fn id(receipt: &Value) -> String {
    receipt["receipt"].as_str().expect("an id").to_owned()
}

#[test]
fn a_counter_goes_on_from_process_to_process_and_replays_without_it() {
    let stage = Stage::new();
    stage.publish_guest("me", "notes", KEYVALUE);
    let first = stage.count("me", &["--grant", "keyvalue:n"]).exits(0);
    let second = stage.count("me", &["--grant", "keyvalue:n"]).exits(0);
    assert_eq!(first.json(), json!({"ok": 1}));
    assert_eq!(second.json(), json!({"ok": 2}));
    stage.publish_guest("you", "notes", KEYVALUE);
    assert_eq!(stage.count("you", &["--grant", "keyvalue:n"]).exits(0).json(), json!({"ok": 1}));
    stage.replays_with_the_home_away("me", &[first.receipt(), second.receipt()]);
}

#[test]
fn what_is_not_granted_is_denied_with_the_grant_to_type() {
    let stage = Stage::new();
    stage.publish_guest("me", "notes", KEYVALUE);
    stage.count("me", &[]).exits(4).says("wasi:keyvalue/").says("--grant keyvalue:<bucket>");
    // Granted, and yet not this bucket, or not for writing: the guest is told, and goes on.
    let other = stage.count("me", &["--grant", "keyvalue:other"]).exits(6);
    assert_eq!(other.json(), json!({"err": "access denied"}));
    let reads = stage.count("me", &["--grant", "keyvalue:n:read"]).exits(6);
    assert_eq!(reads.json(), json!({"err": "access denied"}));
}

#[test]
fn what_a_release_does_not_ask_for_is_not_granted() {
    let stage = Stage::new();
    stage.publish_guest("me", "notes", KEYVALUE);
    stage.publish_guest("me", "echo", "[]");
    let asked = stage.count("me", &["--grant", "http:https://example.com"]).exits(2);
    asked.says("notes@0.1.0 does not ask for http").says("--grant keyvalue:<bucket>");
    stage
        .actum("me", &["run", "echo", "echo", "\"\"", "--grant", "keyvalue:n"])
        .exits(2)
        .says("leave --grant out");
    stage.count("me", &["--grant", "keyvalu:n"]).exits(2).says("unknown permission");
    stage.count("me", &["--grant", "keyvalue:n", "--grant", "keyvalue:n:read"]).exits(2).says("twice");
}

#[test]
fn a_provider_admits_only_what_its_owner_allows() {
    let stage = Stage::new();
    stage.publish_guest("host", "notes", KEYVALUE);
    let call = |home: &str, node: &Node, grant: &str| {
        let count = r#"["n", "visits", 1]"#;
        let address = node.address("tcp");
        stage.actum(home, &["call", "notes", "increment", count, "--peer", address, "--grant", grant])
    };
    let host = stage.node_with("host", "[[offer]]\nrelease = \"notes\"\npublic = true\n");
    let refused = call("you", &host, "keyvalue:n").exits(4);
    refused.says("not-allowed").says("keyvalue:n is not allowed here").says("`allow`");
    assert!(stage.delegated("you").is_empty());
    host.stop();
    let allowing = "[[offer]]\nrelease = \"notes\"\npublic = true\nallow = [\"keyvalue:n\", \"http:https://example.com\"]\n";
    let host = stage.node_with("host", allowing);
    let first = call("you", &host, "keyvalue:n").exits(0);
    assert_eq!(first.json(), json!({"ok": 1}));
    assert_eq!(call("you", &host, "keyvalue:n").exits(0).json(), json!({"ok": 2}));
    // Less than what is allowed is allowed; more, or another bucket, is not.
    assert_eq!(call("you", &host, "keyvalue:n:read").exits(6).json(), json!({"err": "access denied"}));
    call("you", &host, "keyvalue:m").exits(4).says("keyvalue:m is not allowed here");
    assert_eq!(call("other", &host, "keyvalue:n").exits(0).json(), json!({"ok": 1}), "a bucket of its own");
    host.stop();
    let host = stage.node_with("host", allowing);
    assert_eq!(call("you", &host, "keyvalue:n").exits(0).json(), json!({"ok": 3}), "after a restart");
    host.stop();
    let third = stage.count("host", &["--grant", "keyvalue:n"]).exits(0);
    assert_eq!(third.json(), json!({"ok": 1}), "the host's owner sees nothing of its callers' buckets");
    assert_eq!(stage.actum("you", &["replay", &first.receipt()]).exits(0).stdout.trim(), "identical");
}

#[test]
fn a_permission_that_is_unknown_in_the_configuration_is_refused_with_its_place() {
    let stage = Stage::new();
    for (wrong, why) in
        [("keyvalu:n", "unknown permission"), ("http:example.com", "origin"), ("keyvalue", "bounds")]
    {
        let config =
            format!("[[offer]]\nrelease = \"notes\"\nallow = [\n  \"keyvalue:n\",\n  \"{wrong}\",\n]\n");
        stage.write("wrong.toml", config);
        stage.actum("a", &["node", "--config", "wrong.toml"]).exits(3).says("line 3").says(why);
    }
}

#[test]
fn a_guests_calls_leave_receipts_of_their_own_that_replay() {
    let stage = Stage::new();
    stage.publish("me", "text-stats");
    stage.publish_guest("me", "caller", DELEGATE);
    let args = r#"["words", "count-words", "[\"one two three\"]"]"#;
    let parent = stage.calls("me", "twice", args, &["delegate:words=text-stats"]).exits(0);
    let answers: Vec<String> = serde_json::from_value(parent.json()["ok"].clone()).expect("two answers");
    let answer: Value = serde_json::from_str(&answers[0]).expect("JSON");
    assert_eq!(answer["words"], 3);
    assert_eq!(answers[0], answers[1]);
    let me = stage.actum("me", &["key", "show"]).exits(0).stdout.trim().to_owned();
    let children = stage.delegated("me");
    assert_eq!(children.len(), 2);
    assert_ne!(children[0]["receipt"], children[1]["receipt"], "equal calls are two actions");
    for child in &children {
        assert_eq!((&child["requester"], &child["provider"]), (&json!(me), &json!(me)));
        assert_eq!(child["permissions"], json!([]));
        assert_eq!(child["delegated_by"], children[0]["delegated_by"]);
    }
    // The tree, by the receipts that the journal names.
    let shown = stage.actum("me", &["receipt", "show", &parent.receipt()]).exits(0);
    for child in &children {
        assert!(shown.stdout.contains(&id(child)), "{}", shown.stdout);
    }
    let mut receipts: Vec<_> = children.iter().map(id).collect();
    receipts.push(parent.receipt());
    stage.replays_with_the_home_away("me", &receipts);
}

#[test]
fn calls_nest_as_deep_as_is_granted_and_no_deeper() {
    let stage = Stage::new();
    stage.publish_guest("me", "caller", DELEGATE);
    let grant = |depth: u32| format!("delegate:self=caller,depth={depth},fuel=100000000000");
    // A component that imports the interface cannot run without a grant, so the last of eight calls must be another's.
    let deepest = stage.calls("me", "deep", "7", &[&grant(8)]).exits(0);
    assert_eq!(deepest.json(), json!(format!("{}bottom", "down ".repeat(7))));
    assert_eq!(stage.delegated("me").len(), 7);
    let over = stage.calls("me", "deep", "8", &[&grant(8)]).exits(0);
    assert_eq!(over.json(), json!(format!("{}failed: denied after 0", "down ".repeat(7))));
    let shown = stage.actum("me", &["receipt", "show", &over.receipt()]).exits(0).stdout;
    assert_eq!(shown.lines().filter(|l| l.starts_with("call")).count(), 8, "{shown}");
    stage.calls("me", "deep", "9", &[&grant(9)]).exits(2).says("the depth is 1 to 8");
}

#[test]
fn every_refusal_of_a_call_is_the_guests_to_match() {
    let stage = Stage::new();
    stage.publish("me", "text-stats");
    stage.publish_guest("me", "caller", DELEGATE);
    stage.publish_guest("me", "trapper", "[]");
    stage.publish_guest("me", "notes", KEYVALUE);
    let absent = format!("delegate:absent={}", actum_model::ComponentId::of(b"nowhere"));
    let grants = ["delegate:words=text-stats", "delegate:trapper", "delegate:notes", &absent];
    let case = |args: &str| {
        let ran = stage.calls("me", "swallow", args, &grants).exits(0);
        assert_eq!(stage.actum("me", &["replay", &ran.receipt()]).exits(0).stdout.trim(), "identical");
        ran.json().as_str().expect("a word").to_owned()
    };
    assert_eq!(case(r#"["words", "count-words", "[\"a\"]"]"#), "answer");
    assert_eq!(case(r#"["other", "count-words", "[\"a\"]"]"#), "denied");
    assert_eq!(case(r#"["words", "no-such-function", "[]"]"#), "invalid");
    assert_eq!(case(r#"["words", "count-words", "[1]"]"#), "invalid");
    assert_eq!(case(r#"["words", "count-words", "not JSON"]"#), "invalid");
    assert_eq!(case(r#"["trapper", "unreachable", "[]"]"#), "failed");
    // It asks for a bucket, and a call is granted nothing.
    assert_eq!(case(r#"["notes", "get", "[\"n\", \"k\"]"]"#), "failed");
    assert_eq!(case(r#"["absent", "run", "[]"]"#), "unavailable");
}

#[test]
fn the_fuel_of_all_calls_together_is_bounded() {
    let stage = Stage::new();
    stage.publish("me", "text-stats");
    stage.publish_guest("me", "caller", DELEGATE);
    stage.publish_guest("me", "endless", "[]");
    let args = r#"["words", "count-words", "[\"one two\"]"]"#;
    let exhausted = stage.calls("me", "exhaust", args, &["delegate:words=text-stats,fuel=1000000"]).exits(0);
    let told = exhausted.json();
    let answers = told[0].as_u64().expect("a number");
    let burned: u64 = stage.delegated("me").iter().map(|r| r["fuel"].as_u64().expect("fuel")).sum();
    assert!(answers > 1, "{told}");
    assert!(burned <= 1_000_000, "{burned}");
    let last = told[1].as_str().expect("a text");
    assert!(last.starts_with("exhausted") || last.starts_with("failed: out-of-fuel"), "{last}");
    // One that never ends takes what is left, and then nothing is.
    let args = r#"["endless", "spin", "[]"]"#;
    let spun = stage.calls("me", "swallow", args, &["delegate:endless,fuel=1000000"]).exits(0);
    assert_eq!(spun.json(), "failed");
    stage.replays_with_the_home_away("me", &[exhausted.receipt(), spun.receipt()]);
}

#[test]
fn a_provider_calls_for_its_callers_what_it_allows() {
    let stage = Stage::new();
    stage.publish("host", "text-stats");
    stage.publish("you", "text-stats");
    stage.publish_guest("host", "caller", DELEGATE);
    let component = stage.show_component("you", "text-stats");
    let allow = format!(
        "[[offer]]\nrelease = \"caller\"\npublic = true\nallow = [\"delegate:words={component},fuel=50000000\"]\n"
    );
    let host = stage.node_with("host", &allow);
    let call = |grant: &str| {
        let args = r#"["words", "count-words", "[\"one two\"]"]"#;
        stage
            .actum("you", &["call", "caller", "relay", args, "--peer", host.address("tcp"), "--grant", grant])
    };
    call("delegate:words=text-stats").exits(4).says("not-allowed");
    let called = call("delegate:words=text-stats,fuel=50000000").exits(0);
    let answer: Value = serde_json::from_str(called.json()["ok"].as_str().expect("text")).expect("JSON");
    assert_eq!(answer["words"], 2);
    assert_eq!(stage.actum("you", &["replay", &called.receipt()]).exits(0).stdout.trim(), "identical");
    assert!(stage.delegated("you").is_empty(), "the call's receipt is the provider's");
    assert_eq!(stage.delegated("host").len(), 1);
    host.stop();
}

impl Stage {
    /// The component of a published capability.
    pub(crate) fn show_component(&self, home: &str, name: &str) -> String {
        let component = format!("capabilities/{name}/{name}.wasm");
        let published = self.actum(home, &["--format", "json", "publish", &component]).exits(0).json();
        published["component"].as_str().expect("an id").to_owned()
    }
}

#[test]
fn a_directory_is_granted_by_its_path_and_replays_when_it_is_gone() {
    let stage = Stage::new();
    stage.publish_guest("me", "reader", "[\"files\"]");
    stage.write("papers/letter.txt", "dear reader");
    let ran =
        stage.actum("me", &["run", "reader", "read", "/letter.txt", "--grant", "files:papers"]).exits(0);
    assert_eq!(ran.json(), json!({"ok": "dear reader"}));
    stage
        .actum("me", &["run", "reader", "read", "/letter.txt", "--grant", "files:nowhere"])
        .exits(2)
        .says("nowhere");
    std::fs::remove_dir_all(stage.path().join("papers")).expect("removed");
    stage.replays_with_the_home_away("me", &[ran.receipt()]);
}
