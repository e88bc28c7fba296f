//! Twenty nodes, each a process of its own: a late joiner finds all that is live, after a restart and through churn.

use crate::harness::{Node, Stage};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// One where all meet, registries, and providers of one capability.
const REGISTRIES: usize = 3;
const PROVIDERS: usize = 16;
/// How long a network of nodes may take to tell one another.
const SETTLES: Duration = Duration::from_secs(300);

fn provider(stage: &Stage, name: &str, meeting: &Node) -> Node {
    stage.publish(name, "text-stats");
    stage.node(name, &["--offer", "text-stats", "--bootstrap", meeting.address("tcp")])
}

/// Who a peer that was never here before finds with its first question. It knows where all meet, and asks registries.
fn late_joiner(stage: &Stage, name: &str, meeting: &Node) -> BTreeSet<String> {
    stage.write(&format!("{name}/config.toml"), format!("bootstrap = [\"{}\"]\n", meeting.address("tcp")));
    let ran = stage.actum(name, &["--format", "json", "find", "count words", "--limit", "50"]);
    let found: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap_or_default();
    let found = found.as_array().cloned().unwrap_or_default();
    found.iter().map(|f| f["provider"].as_str().unwrap().to_owned()).collect()
}

/// Late joiners come until one of them finds all of these; says whom it found, and how long that took.
fn until_found(
    stage: &Stage,
    name: &str,
    meeting: &Node,
    live: &BTreeSet<String>,
) -> (BTreeSet<String>, Duration) {
    let began = Instant::now();
    let mut n = 0;
    loop {
        let found = late_joiner(stage, &format!("{name}-{n}"), meeting);
        if found.is_superset(live) {
            return (found, began.elapsed());
        }
        n += 1;
        let recall = found.intersection(live).count();
        assert!(began.elapsed() < SETTLES, "{name}: {recall} of {} after {SETTLES:?}", live.len());
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn dids(nodes: &[Node]) -> BTreeSet<String> {
    nodes.iter().map(|node| node.did().to_owned()).collect()
}

#[test]
fn a_late_joiner_of_twenty_finds_all_that_is_live_after_a_restart_and_through_churn() {
    let stage = Stage::new();
    let meeting = stage.node("meeting", &[]);
    let registry = |n: usize, meeting: &Node| {
        stage.write(&format!("registry-{n}/config.toml"), "registry = true\n");
        stage.node(&format!("registry-{n}"), &["--bootstrap", meeting.address("tcp")])
    };
    let mut registries: Vec<Node> = (0..REGISTRIES).map(|n| registry(n, &meeting)).collect();
    let mut providers: Vec<Node> =
        (0..PROVIDERS).map(|n| provider(&stage, &format!("provider-{n}"), &meeting)).collect();
    let live = dids(&providers);
    let (_, took) = until_found(&stage, "joiner", &meeting, &live);
    println!("all {PROVIDERS} found {took:?} after the last of {} nodes started", 1 + REGISTRIES + PROVIDERS);
    // From then on, a first question has all of them, and nobody else, unless a busy machine is late with the answers.
    for n in 0..3 {
        assert_eq!(until_found(&stage, &format!("later-{n}"), &meeting, &live).0, live);
    }

    // A third of the providers change: half of those that go say so, the others are just gone.
    let mut left = BTreeSet::new();
    for (n, node) in providers.drain(..PROVIDERS / 3).enumerate() {
        if n % 2 == 0 {
            left.insert(node.did().to_owned());
            node.stop();
        } else {
            drop(node);
        }
    }
    let came = (0..PROVIDERS / 3).map(|n| provider(&stage, &format!("newcomer-{n}"), &meeting));
    providers.extend(came);
    let live = dids(&providers);
    let found = late_joiner(&stage, "churn", &meeting);
    let recall = found.intersection(&live).count() * 100 / live.len();
    println!("{recall} % of {} found at once after a third changed", live.len());
    let (_, took) = until_found(&stage, "churned", &meeting, &live);
    println!("all found {took:?} after that");
    // Those that said that they leave are not found: long before their leases end, though not in the moment they go.
    let began = Instant::now();
    let mut n = 0;
    while !until_found(&stage, &format!("last-{n}"), &meeting, &live).0.is_disjoint(&left) {
        assert!(
            began.elapsed() < Duration::from_secs(120),
            "those that said that they leave are still found"
        );
        n += 1;
    }

    // The peer that all met at is gone for good, and one that knows nobody is in its place; a registry comes back there, with
    // what it kept.
    registries.remove(0).stop();
    meeting.stop();
    let meeting = stage.node("another", &[]);
    registries.push(registry(0, &meeting));
    let (_, took) = until_found(&stage, "restart", &meeting, &live);
    println!("all found again {took:?} after the restart");
}
