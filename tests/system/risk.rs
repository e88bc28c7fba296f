//! A requester checks as much as is at stake: what a liar says is not handed over, the next one is asked, and why is said.

use crate::harness::{Node, Stage};
use std::time::{Duration, Instant};

/// Waits until one has heard what another offers: who is busy when it starts is told later.
fn hears(index: &mut Node, of: &Node) {
    let begun = Instant::now();
    while index.wait_for("announced")["provider"] != of.did() {
        assert!(begun.elapsed() < Duration::from_secs(300), "{} is not heard of", of.did());
    }
}

/// A meeting point, an honest provider and a liar of the same release.
fn cast(stage: &Stage) -> [Node; 3] {
    let mut meeting = stage.node("meeting", &[]);
    let at = meeting.address("tcp").to_owned();
    let release = stage.publish("honest", "text-stats");
    let honest = stage.node("honest", &["--offer", "text-stats", "--bootstrap", &at]);
    hears(&mut meeting, &honest);
    let from = ["--bootstrap", honest.address("tcp"), "--bootstrap", &at];
    let liar = stage.start_as("liar", &[&["demo", "--lie-about", &release], &from[..]].concat());
    hears(&mut meeting, &liar);
    [meeting, honest, liar]
}

#[test]
fn a_lie_is_not_handed_over_and_its_teller_is_not_asked_again() {
    let stage = Stage::new();
    let [meeting, honest, liar] = cast(&stage);
    let at = meeting.address("tcp");
    for risk in ["low", "medium", "high"] {
        let home = format!("you-{risk}");
        // Whom of two newcomers it begins with is drawn: so often that the liar is met.
        for turn in 0..12 {
            let args = [
                "call",
                "text-stats",
                "count-words",
                "[\"to be or not to be\"]",
                "--peer",
                at,
                "--risk",
                risk,
                "--explain",
            ];
            let ran = stage.actum(&home, &args).exits(0).says(&format!("risk: {risk}"));
            assert_eq!(ran.json()["words"], 6, "{risk}, {turn}");
            assert!(ran.stderr.contains(&format!("asked: {}", honest.did())), "{}", ran.stderr);
            if turn == 0 {
                assert!(ran.stderr.contains("checked: replay of"), "a newcomer: {}", ran.stderr);
            }
        }
        let shown = stage.actum(&home, &["--format", "json", "peers", "show", honest.did()]).exits(0).json();
        assert_eq!(shown["standing"], "known", "{shown}");
    }
    // Whoever names the liar asks the liar, and is not told its lie. The meeting point has seen the proof, and names it no more.
    let by = liar.address("tcp");
    let named = ["call", "text-stats", "count-words", "[\"to be\"]", "--peer", by, "--provider", liar.did()];
    let ran = stage.actum("you-low", &named).exits(7).says("lied: its receipt");
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("receipt export"), "what to do next: {}", ran.stderr);
    let shown = stage.actum("you-low", &["peers", "show", liar.did()]).exits(0);
    assert!(shown.stdout.contains("caught in a lie"), "{}", shown.stdout);
    let shown = stage.actum("you-low", &["--format", "json", "peers", "show", liar.did()]).exits(0).json();
    assert_eq!(shown["standing"], "fraud");
    // However often it is named, and though nothing but probation would be replayed here.
    stage.write(
        "you-low/config.toml",
        "[risk.level.blind]\ncanaries = 0\nprobation = 0\nprobation_here = 0\nreplay_one_in = 4294967295\n",
    );
    let named = [&named[..], &["--risk", "blind"]].concat();
    let ran = stage.actum("you-low", &named).exits(7).says("lied: its receipt");
    assert_eq!(ran.stdout, "");
    // From then on it is left out before anybody is asked.
    let ran =
        stage.actum("you-low", &["call", "text-stats", "count-words", "[\"a\"]", "--peer", at]).exits(0);
    assert_eq!(ran.json()["words"], 1);
    drop((meeting, honest, liar));
}

#[test]
fn canaries_find_a_liar_by_questions_whose_answer_is_known() {
    let stage = Stage::new();
    let [meeting, honest, _liar] = cast(&stage);
    let at = meeting.address("tcp");
    // Nothing is replayed but what canaries leave open: they have all the time there is, for one that is late is such.
    stage.write(
        "you/config.toml",
        "[risk.level.canaries]\ncanaries = 2\nprobation = 0\nprobation_here = 0\nreplay_one_in = 4294967295\nexplore_one_in = 1\npatience_seconds = 600\n",
    );
    let mut met = false;
    for turn in 0..12 {
        let text = format!("[\"{turn} birds and 40 fish, 17 of them red\"]");
        let args =
            ["call", "text-stats", "count-words", &text, "--peer", at, "--risk", "canaries", "--explain"];
        let ran = stage.actum("you", &args).exits(0);
        assert!(turn > 0 || ran.stderr.contains("checked: canary of"), "{}", ran.stderr);
        assert_eq!(ran.json()["words"], 9, "{turn}: {}", ran.stderr);
        assert!(ran.stderr.contains(&format!("asked: {}", honest.did())), "{}", ran.stderr);
        if ran.stderr.contains("answered wrongly, at output") {
            met = true;
            break;
        }
    }
    assert!(met, "the liar was never asked");
}

#[test]
fn levels_and_tables_are_refused_by_name() {
    let stage = Stage::new();
    let [meeting, _honest, _liar] = cast(&stage);
    let at = meeting.address("tcp");
    let args = ["call", "text-stats", "count-words", "[\"a\"]", "--peer", at, "--risk", "none"];
    stage.actum("you", &args).exits(2).says("low, medium, high");
    for (table, says) in [
        ("[risk]\npure = \"none\"\n", "none"),
        ("[risk]\nrisky = \"low\"\n", "risky"),
        ("[risk.level.low]\ncanary = 1\n", "canary"),
        ("[risk.level.low]\ncanaries = 9\n", "canaries"),
        ("[risk.level.low]\nreplay_one_in = 0\n", "replay_one_in"),
    ] {
        stage.write("you/config.toml", table);
        stage.actum("you", &args).exits(3).says(says);
    }
}

#[test]
fn what_a_verified_provider_says_of_a_stranger_weighs_a_little() {
    let stage = Stage::new();
    let mut meeting = stage.node("meeting", &[]);
    let at = meeting.address("tcp").to_owned();
    let at = at.as_str();
    let release = stage.publish("friend", "text-stats");
    let friend = stage.node("friend", &["--offer", "text-stats", "--bootstrap", at]);
    hears(&mut meeting, &friend);
    let from = ["--bootstrap", friend.address("tcp"), "--bootstrap", at];
    let stranger = stage.node("stranger", &[&["--offer", &release], &from[..]].concat());
    hears(&mut meeting, &stranger);
    let call = |home: &str, more: &[&str]| {
        let args = ["call", "text-stats", "count-words", "[\"3 of 12 words\"]", "--peer", at];
        stage.actum(home, &[&args[..], more].concat()).exits(0)
    };
    let opinions = |of: &Node| {
        let shown = stage.actum("you", &["--format", "json", "peers", "show", of.did()]).exits(0).json();
        let events = shown["events"].as_array().expect("events").clone();
        events.iter().filter(|e| e["verifier"] == friend.did()).count()
    };
    stage.write("you/config.toml", "[risk.level.medium]\nexplore_one_in = 4294967295\n");
    // The friend has looked into the stranger's receipts; nobody here knows either yet.
    call("friend", &["--provider", stranger.did(), "--replay"]);
    call("you", &["--provider", friend.did(), "--risk", "medium"]);
    assert_eq!(opinions(&stranger), 0, "only candidates are asked about");
    // Nothing depends on an opinion, so each call waits half a second for it, and a busy machine may be late.
    let begun = Instant::now();
    while opinions(&stranger) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(120), "the friend's opinion did not come");
        call("you", &["--risk", "medium"]);
    }
    assert_eq!(opinions(&stranger), 1);
    let shown = stage.actum("you", &["peers", "show", stranger.did()]).exits(0);
    assert!(shown.stdout.contains("1 opinion of providers that were verified here"), "{}", shown.stdout);
    // It makes nobody known: that is what one's own eyes are for.
    let shown = stage.actum("you", &["--format", "json", "peers", "show", stranger.did()]).exits(0).json();
    assert_eq!(shown["confirmed"], 0, "{shown}");
}
