//! A requester finds and calls: ranking, argument checking, every form of target and argument, and refusals.

use crate::{
    authority::Web,
    harness::{Stage, bytes},
};
use actum_node::Home;
use std::{
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

#[test]
fn plain_words_find_the_right_capability_first() {
    let stage = Stage::new();
    let names: Vec<&str> = actum_capabilities::ALL.iter().map(|c| c.name).collect();
    let mut args = Vec::new();
    for name in &names {
        stage.publish("a", name);
        args.extend(["--offer", name]);
    }
    let a = stage.node("a", &args);
    for (words, wanted) in [
        ("count words in a text", "text-stats"),
        ("turn markdown into html", "markdown"),
        ("make a picture smaller", "thumbnail"),
        ("sum a column of a csv table", "csv-aggregate"),
        ("summarise a long text", "text-summary"),
        ("draw a QR code", "qr-code"),
        ("what changed between two texts", "text-diff"),
        ("sha256 of a file", "digest"),
        ("query json", "json-query"),
        ("extract matches of a regular expression", "regex-extract"),
    ] {
        let found = stage
            .actum("you", &["--format", "json", "find", words, "--peer", a.address("tcp")])
            .exits(0)
            .json();
        assert_eq!(found[0]["name"], wanted, "{words:?} found {found}");
    }
    let text = stage.actum("you", &["find", "draw", "a", "QR", "code"]).exits(0);
    assert!(text.stdout.contains("matched:"), "{text:?}");
    let found =
        stage.actum("you", &["--format", "json", "find", "hovercraft eels", "--peer", a.address("tcp")]);
    assert_eq!(found.exits(0).json(), serde_json::json!([]));
}

#[test]
fn every_form_of_target_and_argument_works() {
    let stage = Stage::new();
    let release = stage.publish("a", "text-stats");
    let a = stage.node("a", &["--offer", "text-stats"]);
    let peer = ["--peer", a.address("tcp")];
    let words = |args: &[&str], stdin: &[u8]| {
        let ran = stage.actum_with("you", &[&["call"], args, &peer].concat(), stdin).exits(0);
        ran.json()["words"].as_u64().expect("a number")
    };
    stage.write("text.txt", "five words in this file");
    stage.write("args.json", r#"{"text": "two words"}"#);
    assert_eq!(words(&["text-stats", "count-words", "three words here"], b""), 3);
    assert_eq!(words(&["text-stats@0.1.0", "count-words", r#"["a b"]"#], b""), 2);
    assert_eq!(words(&[&release, "count-words", r#"{"text": "a b c d"}"#], b""), 4);
    assert_eq!(words(&["count the words of a text", "count-words", "@text.txt"], b""), 5);
    assert_eq!(words(&["text-stats", "actum:text-stats/text-stats#count-words", "-"], b"from stdin"), 2);
    let called = stage
        .actum("you", &[&["--format", "json", "call", "text-stats", "count-words", "x"][..], &peer].concat());
    let json = called.exits(0).json();
    assert_eq!(json["outcome"], "ok");
    assert_eq!(json["provider"], a.did());
    // What was met is remembered: no peer needs to be named again.
    stage.actum("you", &["call", "text-stats", "count-words", "x"]).exits(0);
    let peers = stage.actum("you", &["--format", "json", "peers"]).exits(0).json();
    assert_eq!(peers[0]["did"], a.did());
}

#[test]
fn a_wrong_argument_says_where_what_and_instead_of_what_before_anything_is_sent() {
    let stage = Stage::new();
    stage.publish("a", "csv-aggregate");
    let a = stage.node("a", &["--offer", "csv-aggregate"]);
    let args = r#"{"table": "a\n1\n", "group-by": [], "aggregates": [{"column": 7, "measure": "sum"}]}"#;
    let ran = stage
        .actum("you", &["call", "csv-aggregate", "aggregate-by", args, "--peer", a.address("tcp")])
        .exits(2);
    let ran = ran.says("aggregates[0].column").says("string").says("7");
    assert_eq!(ran.stdout, "");
    let args = r#"{"table": "a\n1\n", "group-by": [], "aggregates": [{"column": "a", "measure": "summ"}]}"#;
    let ran = stage
        .actum("you", &["call", "csv-aggregate", "aggregate-by", args, "--peer", a.address("tcp")])
        .exits(2);
    ran.says("aggregates[0].measure").says("summ");
    a.stop();
    let kept = stage.actum("a", &["--format", "json", "receipt", "list"]).exits(0).json();
    assert_eq!(kept, serde_json::json!([]), "nothing reached the provider");
}

#[test]
fn a_megabyte_goes_there_and_comes_back_exactly() {
    let stage = Stage::new();
    stage.publish_guest("a", "echo", "[]");
    let a = stage.node("a", &["--offer", "echo"]);
    let content: Vec<u8> = (0..3_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    stage.write("big.bin", &content);
    let called =
        stage.actum("you", &["call", "echo", "echo", "@big.bin", "--peer", a.address("tcp")]).exits(0);
    assert!(called.json() == bytes(&content), "the bytes came back changed");
    assert_eq!(stage.actum("you", &["replay", &called.receipt()]).exits(0).stdout.trim(), "identical");
}

#[test]
fn only_listed_callers_are_admitted_to_what_is_not_public() {
    let stage = Stage::new();
    stage.publish("a", "text-stats");
    let friend = stage.actum("friend", &["key", "show"]).exits(0).stdout.trim().to_owned();
    stage.write("a.toml", format!("[[offer]]\nrelease = \"text-stats\"\ncallers = [\"{friend}\"]\n"));
    let a = stage.node("a", &["--config", "a.toml"]);
    let call = |home: &str| {
        stage.actum(home, &["call", "text-stats", "count-words", "a b", "--peer", a.address("tcp")])
    };
    call("stranger").exits(4).says("not-allowed").says("actum key show");
    assert_eq!(call("friend").exits(0).json()["words"], 2);
    stage.write("closed.toml", "[[offer]]\nrelease = \"text-stats\"\n");
    a.stop();
    let closed = stage.node("a", &["--config", "closed.toml"]);
    let ran =
        stage.actum("friend", &["call", "text-stats", "count-words", "a b", "--peer", closed.address("tcp")]);
    ran.exits(4).says("not-allowed");
}

#[test]
fn limits_over_the_providers_are_refused_by_name() {
    let stage = Stage::new();
    stage.publish("a", "text-stats");
    stage.write("a.toml", "[[offer]]\nrelease = \"text-stats\"\npublic = true\n[limits]\nfuel = 1000000\n");
    let a = stage.node("a", &["--config", "a.toml"]);
    let ran = stage.actum("you", &["call", "text-stats", "count-words", "a b", "--peer", a.address("tcp")]);
    ran.exits(8).says("over-limit").says("fuel");
    stage.write("big.txt", "word ".repeat(2_000_000));
    let big =
        ["call", "text-stats", "count-words", "@big.txt", "--fuel", "1000000", "--peer", a.address("tcp")];
    stage.actum("you", &big).exits(8).says("over-limit").says("args_bytes");
    let ran = stage.actum(
        "you",
        &["call", "text-stats", "count-words", "a b", "--fuel", "1000000", "--peer", a.address("tcp")],
    );
    ran.exits(0);
}

/// An offer to let anyone ask this web server.
fn fetching(web: &Web) -> String {
    format!("[[offer]]\nrelease = \"fetcher\"\npublic = true\nallow = [\"{}\"]\n", web.permission())
}

#[test]
fn a_full_node_says_busy_and_when_to_come_back() {
    let stage = Stage::new();
    let web = Web::new();
    for (guest, permissions) in [("endless", "[]"), ("fetcher", "[\"http\"]")] {
        stage.publish_guest("a", guest, permissions);
    }
    let endless = "[[offer]]\nrelease = \"endless\"\npublic = true\n";
    let a = stage.node_with("a", &format!("parallel = 1\nqueue = 0\n{endless}{}", fetching(&web)));
    let address = a.address("tcp").to_owned();
    thread::scope(|scope| {
        // It runs until the server answers, however long the other takes to come.
        let first = scope.spawn(|| web.fetch(&stage, "one", &address, "follow"));
        let held = web.request();
        stage
            .actum("two", &["call", "endless", "spin", "--fuel", "1000", "--peer", &address])
            .exits(9)
            .says("busy");
        web.answer(held, "200 OK", &[]);
        first.join().expect("the caller ends").exits(0);
    });
}

/// Nothing is lost with the process that asked: the action goes on, and its answer is there for whoever comes back.
#[test]
fn an_interrupted_call_is_answered_later_and_runs_once() {
    let stage = Stage::new();
    let web = Web::new();
    stage.publish_guest("a", "fetcher", "[\"http\"]");
    let a = stage.node_with("a", &fetching(&web));
    let url = serde_json::json!([format!("{}/", web.origin())]).to_string();
    let mut call = stage.command("you");
    call.args(["call", "fetcher", "follow", &url, "--peer", a.address("tcp"), "--grant", &web.permission()]);
    let mut call = call.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("actum starts");
    // It runs until the server answers, and is remembered as unanswered a moment after it was sent.
    let held = web.request();
    let home = Home::open(&stage.path().join("you")).expect("a home");
    let until = Instant::now() + Duration::from_secs(20);
    while home.store().all_unanswered().expect("the store").is_empty() {
        assert!(Instant::now() < until, "it is not remembered");
        thread::sleep(Duration::from_millis(10));
    }
    drop(home);
    call.kill().expect("it still waits");
    call.wait().expect("it ends");
    web.answer(held, "200 OK", &[]);
    // It was answered, and the receipt says so.
    let resumed = stage.actum("you", &["call", "--resume"]).exits(0);
    assert_eq!(resumed.json()[0], serde_json::json!([200]), "{resumed:?}");
    let receipt = resumed.receipt();
    let shown = stage.actum("you", &["--format", "json", "receipt", "show", &receipt]).exits(0).json();
    assert_eq!(shown["outcome"], "ok", "{shown:#}");
    // What checks were to go with it is forgotten with the process: it was run again before it was shown.
    let known = stage.actum("you", &["--format", "json", "peers", "show", a.did()]).exits(0).json();
    assert_eq!(known["confirmed"], 1, "{known}");
    stage.actum("you", &["replay", &receipt]).exits(0);
    stage.actum("you", &["call", "--resume"]).exits(5).says("no call waits for an answer here");
    stage.actum("you", &["call", "--resume", "nonsense"]).exits(2);
    stage.actum("you", &["call"]).exits(2);
    let executed = stage.actum("a", &["receipt", "list"]).exits(0).stdout;
    assert_eq!(executed.lines().filter(|line| line.contains("follow")).count(), 1, "{executed}");
}

#[test]
fn nobody_to_ask_and_nobody_there_are_told_apart() {
    let stage = Stage::new();
    stage.actum("you", &["find", "anything"]).exits(3).says("--peer");
    let gone = {
        let a = stage.node("a", &[]);
        let address = a.address("tcp").to_owned();
        a.stop();
        address
    };
    stage.actum("you", &["find", "anything", "--peer", &gone]).exits(8).says(&gone);
    stage.actum("you", &["find", "anything", "--peer", "garbage"]).exits(8).says("garbage");
    let a = stage.node("a", &[]);
    stage.actum("you", &["call", "no-such", "f", "--peer", a.address("tcp")]).exits(5).says("nobody offers");
}
