//! Finding who can do it: real nodes, real sockets, and nobody who has to be trusted.

use crate::harness::{Ran, Stage};
use std::time::{Duration, Instant};

/// Asks again until the answer is as wished, for at most so long as a provider's first announcements may take.
fn until(mut ask: impl FnMut() -> Ran, wished: impl Fn(&Ran) -> bool) -> Ran {
    let began = Instant::now();
    loop {
        let ran = ask();
        if wished(&ran) {
            return ran;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "never as wished: {ran:?}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn names(ran: &Ran) -> Vec<String> {
    let found: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap_or_default();
    let found = found.as_array().cloned().unwrap_or_default();
    found.iter().map(|f| f["name"].as_str().unwrap().to_owned()).collect()
}

fn find(stage: &Stage, home: &str, args: &[&str]) -> Ran {
    stage.actum(home, &[&["--format", "json", "find"], args].concat())
}

/// Nobody is a registry here, and whoever is asked was told of nothing: the ads alone lead to the provider.
#[test]
fn a_provider_is_found_where_no_registry_knows_of_it() {
    let stage = Stage::new();
    stage.publish("provider", "text-stats");
    let meeting = stage.node("meeting", &[]);
    let elsewhere = stage.node("elsewhere", &["--bootstrap", meeting.address("tcp")]);
    let provider = stage.node("provider", &["--offer", "text-stats", "--bootstrap", meeting.address("tcp")]);
    let by = |what: &[&str]| find(&stage, "you", &[what, &["--peer", elsewhere.address("tcp")]].concat());
    // By its interface, and by a word that is one of its tags.
    let found = until(|| by(&["--interface", "actum:text-stats/text-stats"]), |ran| !names(ran).is_empty());
    assert_eq!(names(&found), ["text-stats"]);
    assert_eq!(found.json()[0]["provider"], provider.did());
    until(|| by(&["words"]), |ran| names(ran) == ["text-stats"]);
    // It is called as if anybody had told of it, and the receipt replays.
    let called = stage.actum(
        "you",
        &[
            "call",
            "text-stats",
            "count-words",
            "[\"one two\"]",
            "--peer",
            elsewhere.address("tcp"),
            "--replay",
        ],
    );
    called.exits(0).says("replay: identical");
    // A provider that stops says so; nobody waits for its lease to end.
    provider.stop();
    until(|| by(&["--interface", "actum:text-stats/text-stats"]), |ran| names(ran).is_empty());
}

/// What one registry was told, another learns by reconciling; both have probed the provider by then.
#[test]
fn registries_find_one_another_and_what_either_lacks() {
    let stage = Stage::new();
    stage.publish("provider", "text-stats");
    for registry in ["one", "other"] {
        stage.write(&format!("{registry}/config.toml"), "registry = true\n");
    }
    let one = stage.node("one", &[]);
    let other = stage.node("other", &["--bootstrap", one.address("tcp")]);
    let provider = stage.node("provider", &["--offer", "text-stats", "--bootstrap", one.address("tcp")]);
    for registry in [&one, &other] {
        let ask = || find(&stage, "you", &["count", "words", "--peer", registry.address("tcp")]);
        let found = until(ask, |ran| names(ran) == ["text-stats"]);
        assert_eq!(found.json()[0]["provider"], provider.did());
        assert!(found.json()[0]["lately"]["actions"].as_u64().unwrap_or(1) >= 1);
    }
    // A registry keeps what it has over a restart, killed or not, and answers from it at once.
    drop(one);
    let one = stage.node("one", &[]);
    let ask = || find(&stage, "you", &["count", "words", "--peer", one.address("tcp")]);
    assert_eq!(names(&until(ask, |ran| !names(ran).is_empty())), ["text-stats"]);
    // A provider that leaves says so to whoever is connected.
    provider.stop();
    let ask = || find(&stage, "you", &["count", "words", "--peer", other.address("tcp")]);
    until(ask, |ran| names(ran).is_empty());
}

#[test]
fn what_must_hold_is_asked_for_beside_the_words() {
    let stage = Stage::new();
    stage.publish("provider", "text-stats");
    stage.publish("provider", "csv-aggregate");
    stage.write(
        "provider/config.toml",
        "region = \"de-by\"\n[[offer]]\nrelease = \"text-stats\"\npublic = true\nprice = 5\n\
         [[offer]]\nrelease = \"csv-aggregate\"\npublic = true\n",
    );
    let provider = stage.node("provider", &[]);
    let by =
        |what: &[&str]| names(&find(&stage, "you", &[what, &["--peer", provider.address("tcp")]].concat()));
    assert_eq!(by(&["--function", "count-words"]), ["text-stats"]);
    assert_eq!(by(&["--max-price", "4"]), ["csv-aggregate"]);
    assert_eq!(by(&["--max-price", "5", "--region", "de"]).len(), 2);
    assert!(by(&["--region", "fr"]).is_empty());
    assert_eq!(by(&["--needs-no", "network", "--tier", "replay", "--provider", provider.did()]).len(), 2);
    stage
        .actum("you", &["find", "--tier", "gold"])
        .exits(2)
        .says("known: reputation, canary, evidence, replay");
    stage.actum("you", &["find"]).exits(2);
    let shown = stage.actum("you", &["find", "--max-price", "5", "words", "--peer", provider.address("tcp")]);
    assert!(shown.exits(0).stdout.contains("5 credits a million fuel; de-by"));
}

/// Peers met once are enough: neither side needs its bootstrap list again.
#[test]
fn a_restart_needs_no_bootstrap_peer() {
    let stage = Stage::new();
    stage.publish("provider", "text-stats");
    stage.write("meeting/config.toml", "listen = [\"/ip4/127.0.0.1/tcp/0\"]\n");
    let meeting = stage.node("meeting", &[]);
    let provider = stage.node("provider", &["--offer", "text-stats", "--bootstrap", meeting.address("tcp")]);
    let known = |home: &str| stage.actum(home, &["--format", "json", "doctor"]).json()["node"].clone();
    until(
        || stage.actum("provider", &["--format", "json", "peers"]),
        |ran| ran.stdout.contains(meeting.did()),
    );
    provider.stop();
    assert!(known("provider").is_null(), "what a node that ended wrote is gone");
    let provider = stage.node("provider", &["--offer", "text-stats"]);
    let standing = until(
        || stage.actum("provider", &["--format", "json", "doctor"]),
        |ran| ran.json()["node"]["known"].as_u64() >= Some(1),
    );
    let node = &standing.json()["node"];
    assert!(node["reachability"].as_str().unwrap().contains("this machine"), "{node}");
    let found = until(
        || {
            find(
                &stage,
                "you",
                &["--interface", "actum:text-stats/text-stats", "--peer", meeting.address("tcp")],
            )
        },
        |ran| !names(ran).is_empty(),
    );
    assert_eq!(found.json()[0]["provider"], provider.did());
}
