//! The simulator: the same seed gives the same files, whatever happened in between, and a wrong scenario is refused with its place.

use crate::harness::{Ran, Stage};
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

/// A scenario of ten minutes among few.
const SMALL: &str = r#"
name = "small"
title = "A small one"
question = "Do liars lie?"

[paper]
peers = 12

[ours]
requesters = 3
seconds = 600

[x]
parameter = "alpha"
values = [0.0, 0.5]
of = "paper"

[[series]]
name = "naive"
of = "paper"
set = { policy = "naive" }

[[series]]
name = "node"
of = "ours"
set = { policy = "node" }

[[plot]]
figure = "success"
label = "workflows that succeed"

[[expect]]
shape = "falls"
figure = "success"
series = "naive"

[[expect]]
shape = "at-least"
figure = "success"
series = "node"
bound = 2.0

[seeds]
full = 16
quick = 2
"#;

/// Every file below a directory, by its path there.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                left.push(path);
            } else {
                let name = path.strip_prefix(root).expect("it is below").display().to_string();
                files.insert(name, fs::read(&path).expect("a file"));
            }
        }
    }
    files
}

#[track_caller]
fn are_the_same(one: &Path, other: &Path) {
    let (one, other) = (files(one), files(other));
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&one), names(&other));
    let differ: Vec<_> = one.iter().filter(|(name, bytes)| other[*name] != **bytes).map(|(n, _)| n).collect();
    assert!(differ.is_empty(), "{differ:?} differ");
}

fn simulated(stage: &Stage, scenario: &str, more: &[&str]) -> Ran {
    stage.write("mine.toml", scenario);
    stage.actum("unused", &[&["sim", "run", "mine.toml"], more].concat())
}

#[test]
fn the_paper_s_experiments_are_repeated_and_the_same_seed_gives_the_same_files() {
    let stage = Stage::new();
    let paper =
        |out: &str| stage.actum("unused", &["sim", "paper", "--quick", "--seed", "1", "--out", out]).exits(0);
    let ran = paper("d1");
    assert!(ran.stdout.contains("  held"), "{ran:?}");
    assert!(ran.stderr.contains("alpha: done") && ran.stderr.contains("report: d1/report.html"), "{ran:?}");
    paper("d2");
    are_the_same(&stage.path().join("d1"), &stage.path().join("d2"));

    let made = files(&stage.path().join("d1"));
    for name in
        ["report.html", "report.md", "risk.toml", "alpha.csv", "ttl-summary.csv", "figures/alpha-success.svg"]
    {
        assert!(made.contains_key(name), "there is no {name} among {:?}", made.keys());
    }
    // The levels that were found are a node's configuration.
    let risk = String::from_utf8(made["risk.toml"].clone()).expect("text");
    actum_node::Config::parse(&risk).expect("a configuration");
    // The page fetches nothing.
    let page = String::from_utf8(made["report.html"].clone()).expect("text");
    for fetched in ["src=\"http", "href=\"http", "@import", "<script src"] {
        assert!(!page.contains(fetched), "{fetched}");
    }
    // What is done comes to the same again.
    paper("d1");
    are_the_same(&stage.path().join("d1"), &stage.path().join("d2"));
}

/// Begins a simulation of `mine.toml`, and interrupts it once a run is over; gives what it said. None where it was through before
/// the interrupt came.
fn interrupted(stage: &Stage, kept: &Path) -> Option<String> {
    let mut run = stage.command("unused");
    run.args(["sim", "run", "mine.toml", "--out", "halves"]).stdin(Stdio::null());
    let run = run.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let begun = Instant::now();
    while fs::metadata(kept).map_or(0, |file| file.len()) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(120), "no run was over");
        std::thread::sleep(Duration::from_millis(2));
    }
    let pid = i32::try_from(run.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("nobody has waited for it");
    let ended = run.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    if ended.status.success() {
        return None;
    }
    assert_eq!(ended.status.code(), Some(1), "{said}");
    Some(said)
}

#[test]
fn what_is_interrupted_goes_on_and_comes_to_the_same() {
    let stage = Stage::new();
    let long = SMALL.replace("full = 16", "full = 60");
    simulated(&stage, &long, &["--out", "whole"]).exits(0);

    let kept = stage.path().join("halves/runs/small.jsonl");
    // On a busy machine the interrupt may come too late: then it is begun anew.
    let said = (0..20).find_map(|_| {
        let said = interrupted(&stage, &kept);
        if said.is_none() {
            fs::remove_dir_all(stage.path().join("halves")).expect("it was written");
        }
        said
    });
    let said = said.expect("no interrupt ended it");
    assert!(
        said.contains("`actum sim run mine.toml --seed 1 --out halves` goes on where it was left"),
        "{said}"
    );
    let lines = fs::read_to_string(&kept).expect("runs").lines().count();
    assert!((1..240).contains(&lines), "{lines}");
    // And one whose last line was being written when the machine went off.
    let mut torn = fs::read(&kept).expect("runs");
    torn.truncate(torn.len() - 9);
    fs::write(&kept, torn).expect("it is written");

    simulated(&stage, &long, &["--out", "halves"]).exits(0).says("torn");
    are_the_same(&stage.path().join("whole"), &stage.path().join("halves"));
}

#[test]
fn another_seed_gives_other_figures_and_a_missed_shape_is_no_failure() {
    let stage = Stage::new();
    let ran = simulated(&stage, SMALL, &["--seed", "1", "--out", "one", "--format", "json"]).exits(0).json();
    let section = &ran["sections"][0];
    assert_eq!(
        (&section["name"], section["held"].as_array().map(Vec::len)),
        (&"small".into(), Some(1)),
        "{ran}"
    );
    assert_eq!(section["missed"].as_array().map(Vec::len), Some(1), "{ran}");
    let report = ran["report"].as_str().expect("a path");
    assert!(stage.path().join(report).exists(), "{ran}");

    let text = simulated(&stage, SMALL, &["--seed", "2", "--out", "two"]).exits(0);
    assert!(text.stdout.contains("  held") && text.stdout.contains("  missed"), "{text:?}");
    let csv = |out: &str| fs::read_to_string(stage.path().join(out).join("small.csv")).expect("a table");
    assert_ne!(csv("one"), csv("two"));
    let runs = |out: &str| csv(out).lines().count();
    assert_eq!((runs("one"), runs("two")), (1 + 2 * 2 * 16, 1 + 2 * 2 * 16));
    simulated(&stage, SMALL, &["--seeds", "1", "--out", "three"]).exits(0);
    assert_eq!(runs("three"), 1 + 2 * 2);
}

#[test]
fn a_wrong_scenario_is_refused_with_its_place() {
    let stage = Stage::new();
    let refused = |from: &str, to: &str| {
        assert!(SMALL.contains(from), "{from}");
        simulated(&stage, &SMALL.replacen(from, to, 1), &["--out", "never"]).exits(2).says("mine.toml")
    };
    refused("requesters = 3", "requseters = 3").says("line 10").says("requseters").says("requesters");
    refused("requesters = 3", "peers = 12").says("line 10").says("[paper]").says("[ours]");
    refused("policy = \"naive\"", "policy = \"naïf\"").says("naïf").says("reputation");
    refused("parameter = \"alpha\"", "parameter = \"beta\"").says("beta");
    refused("shape = \"falls\"", "shape = \"soars\"").says("soars").says("falls");
    refused("title = ", "titel = ").says("titel");
    let values = (0..20).map(|n| format!("0.{n:02}")).collect::<Vec<_>>().join(", ");
    let huge = SMALL.replacen("full = 16", "full = 5000", 1).replacen("0.0, 0.5", &values, 1);
    let huge = simulated(&stage, &huge, &["--out", "never"]).exits(2).says("mine.toml");
    huge.says("200000 runs").says("100000");
    assert!(!stage.path().join("never/report.html").exists());
}

#[test]
fn the_scenarios_are_listed_and_shown_and_can_be_begun_from() {
    let stage = Stage::new();
    let listed = stage.actum("unused", &["sim", "list"]).exits(0).stdout;
    assert!(listed.contains("alpha: "), "{listed}");
    let json = stage.actum("unused", &["--format", "json", "sim", "list"]).exits(0).json();
    let all = json.as_array().expect("a list");
    assert!(all.len() >= 10, "{json}");
    for scenario in all {
        let name = scenario["name"].as_str().expect("a name");
        assert!(scenario["question"].as_str().is_some_and(|q| q.contains('?')), "{scenario}");
        let shown = stage.actum("unused", &["sim", "show", name]).exits(0).stdout;
        assert!(shown.contains(&format!("name = \"{name}\"")), "{shown}");
    }
    stage.actum("unused", &["sim", "show", "nothing"]).exits(5).says("alpha");
    stage.actum("unused", &["sim", "run", "nothing"]).exits(5).says("alpha");
    stage.actum("unused", &["sim", "run", "nothing.toml"]).exits(5).says("nothing.toml");
    stage.actum("unused", &["sim", "paper"]).exits(2).says("--seed");
}
