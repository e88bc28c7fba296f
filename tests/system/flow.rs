//! Flows: plans refused before anything is sent, branches, fallbacks, runs taken up where they were left, and one file that
//! proves the whole.

use crate::harness::{Node, Stage};
use actum_model::{BlobId, FlowBundle, RunArgs, Signed};
use actum_node::{
    Home,
    flow::{StepFlaw, WiringError, wiring},
};
use std::{
    fs,
    process::{Child, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

const EXAMPLE: &str = include_str!("../../examples/data/flow.toml");
const CAPABILITIES: [&str; 4] = ["text-summary", "text-stats", "markdown", "digest"];

/// A node of its own that offers these, and anything else that was published in its home.
fn provider(stage: &Stage, capabilities: &[&str], more: &[&str]) -> Node {
    let mut args = Vec::new();
    for name in capabilities {
        stage.publish("a", name);
        args.extend(["--offer", name]);
    }
    for name in more {
        args.extend(["--offer", name]);
    }
    stage.node("a", &args)
}

fn step<'a>(ran: &'a serde_json::Value, name: &str) -> &'a serde_json::Value {
    let steps = ran["steps"].as_array().expect("steps");
    steps.iter().find(|step| step["name"] == name).expect("the step")
}

/// How many receipts of this function a home has.
fn executed(stage: &Stage, home: &str, function: &str) -> usize {
    let listed = stage.actum(home, &["receipt", "list"]).exits(0).stdout;
    listed.lines().filter(|line| line.contains(function)).count()
}

#[test]
fn branches_run_feed_one_another_and_end_in_one_file_that_proves_the_whole() {
    let stage = Stage::new();
    let a = provider(&stage, &CAPABILITIES, &[]);
    stage.write("plan.toml", EXAMPLE);
    let checked = stage.actum("you", &["flow", "check", "plan.toml"]).exits(0).stdout;
    assert!(checked.contains("summary: at once") && checked.contains("count: at once"), "{checked}");
    assert!(checked.contains("page: after summary, count"), "{checked}");
    let run = ["--format", "json", "flow", "run", "plan.toml", "-o", "flow.car", "--peer", a.address("tcp")];
    let ran = stage.actum("you", &run).exits(0).json();
    for name in ["summary", "count", "page", "fingerprint"] {
        let step = step(&ran, name);
        assert_eq!((&step["outcome"], &step["done"]), (&"ok".into(), &"now".into()), "{step}");
        assert_eq!(step["provider"], a.did());
        assert!(step["fuel"].as_u64() > Some(0));
    }
    assert_eq!(step(&ran, "page")["risk"], "medium");
    let page = step(&ran, "page")["output"].as_str().expect("a page").to_owned();
    assert!(page.contains("<h1>In short</h1>"), "{page}");
    let words = &step(&ran, "count")["output"]["words"];
    assert!(page.contains(&format!("{words} words")), "{page}");
    let digest = actum_model::id::sha256(page.as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(step(&ran, "fingerprint")["output"], hex);

    // Nobody is there any more: the same again is only remembered, and its output is the same.
    a.stop();
    let again = stage.actum("you", &["flow", "run", "plan.toml", "-o", "again.car"]).exits(0);
    assert_eq!(again.json(), hex);
    assert!(again.stderr.contains("bundle: again.car"), "{again:?}");
    // Somebody who was never part of it, and asks nobody, has the file alone.
    stage.actum("auditor", &["audit", "flow.car"]).exits(0);
    stage.actum("auditor", &["audit", "again.car"]).exits(0);

    let bytes = fs::read(stage.path().join("flow.car")).expect("the file");
    let flow = FlowBundle::from_bytes(&bytes).expect("a flow");
    wiring(&flow).expect("it is wired as its plan says");
    assert_eq!(flow.record.payload().steps.len(), 4);
    refuses_what_was_changed(&stage, &bytes, &flow);
}

/// What whoever holds the requester's own key can still not do: pass other inputs, outputs or wires for those of the plan.
fn refuses_what_was_changed(stage: &Stage, bytes: &[u8], flow: &FlowBundle) {
    let home = Home::open(&stage.path().join("you")).expect("a home");
    let forged = |change: &dyn Fn(&mut FlowBundle, &mut actum_model::FlowRecord)| {
        let mut forged = flow.clone();
        let mut record = flow.record.payload().clone();
        change(&mut forged, &mut record);
        forged.record = Signed::sign(record, home.key().expect("its key"));
        forged
    };
    let other_inputs = forged(&|flow, record| {
        flow.inputs = br#"{"text":"Another text. Of two sentences."}"#.to_vec();
        record.inputs = BlobId::of(&flow.inputs);
    });
    let found = wiring(&other_inputs);
    assert!(
        matches!(&found, Err(WiringError::Step { why: StepFlaw::OtherArgs { .. }, .. })),
        "other inputs: {found:?}"
    );
    // It is a flow in every other way, so the file is read, and found out.
    stage.write("forged.car", other_inputs.to_bytes());
    stage.actum("auditor", &["audit", "forged.car"]).exits(7);
    let other_wires = forged(&|_, record| {
        let page = record.steps.iter_mut().find(|step| step.name == "page").expect("the step");
        page.fed.pop();
    });
    let found = wiring(&other_wires);
    assert!(matches!(&found, Err(WiringError::Step { why: StepFlaw::Fed, .. })), "other wires: {found:?}");
    let swapped = forged(&|flow, record| {
        flow.steps.swap(0, 1);
        record.steps.swap(0, 1);
    });
    assert!(matches!(wiring(&swapped), Err(WiringError::Steps { .. })));
    let renamed = forged(&|flow, record| {
        flow.steps.swap(0, 1);
        record.steps.swap(0, 1);
        for (step, name) in record.steps.iter_mut().zip(["summary", "count"]) {
            step.name = name.to_owned();
        }
    });
    let found = wiring(&renamed);
    assert!(matches!(&found, Err(WiringError::Step { .. })), "steps that are one another's: {found:?}");
    // An output that is not the receipt's, anywhere in the file, is no file.
    let output = flow.steps.last().and_then(|step| step.output.clone()).expect("an output");
    let at = bytes.windows(output.len()).position(|window| window == output).expect("it is in the file");
    let mut changed = bytes.to_vec();
    changed[at + output.len() - 1] ^= 1;
    stage.write("changed.car", &changed);
    stage.actum("auditor", &["audit", "changed.car"]).exits(7);
}

#[test]
fn a_wrong_plan_is_refused_with_its_place_before_anything_is_sent() {
    let stage = Stage::new();
    let a = provider(&stage, &CAPABILITIES, &[]);
    let run = |plan: &str, input: &str| {
        stage.write("plan.toml", plan);
        stage.actum("you", &["flow", "run", "plan.toml", "--input", input, "--peer", a.address("tcp")])
    };
    let refused = |from: &str, to: &str| {
        assert!(EXAMPLE.contains(from), "{from}");
        run(&EXAMPLE.replacen(from, to, 1), "text=hello").exits(2)
    };
    refused("steps.page.output", "steps.pgae.output").says("line 37").says("\"fingerprint\"").says("pgae");
    refused("{{input.text}}", "{{input.txt}}").says("args.text").says("txt");
    refused("args = { text = \"{{input.text}}\" }", "args = { text = \"{{steps.page.output}}\" }")
        .says("count -> page");
    refused("risk = \"medium\"", "risk = \"none\"").says("medium");
    refused("risk = \"medium\"", "grant = [\"moon:light\"]").says("moon");
    refused("risk = \"medium\"", "rsik = \"medium\"").says("rsik");
    run(EXAMPLE, "txt=hello").exits(2).says("input.txt");
    stage.actum("you", &["flow", "check", "gone.toml"]).exits(5);
    a.stop();
    let kept = stage.actum("a", &["--format", "json", "receipt", "list"]).exits(0).json();
    assert_eq!(kept, serde_json::json!([]), "nothing reached the provider");
}

#[test]
fn a_step_that_fails_takes_only_those_with_it_that_need_it() {
    let stage = Stage::new();
    let a = provider(&stage, &["text-summary", "text-stats"], &[]);
    // Nobody offers the digest, and an empty text has no summary.
    let plan = r#"
name = "half"
[input]
text = "one two three"
[[step]]
name = "count"
call = "text-stats"
function = "count-words"
args = ["{{input.text}}"]
[[step]]
name = "empty"
call = "text-summary"
function = "summarize"
args = { text = "" }
[[step]]
name = "digest"
call = "nobody-offers-this"
function = "sha256"
args = ["{{steps.count.output | bytes}}"]
[[step]]
name = "after"
call = "text-stats"
function = "count-words"
args = ["{{steps.digest.output}} {{steps.empty.output.ok[0].text}}"]
"#;
    stage.write("plan.toml", plan);
    let ran =
        stage.actum("you", &["--format", "json", "flow", "run", "plan.toml", "--peer", a.address("tcp")]);
    assert!(matches!(ran.code, 5 | 6), "{ran:?}");
    assert!(ran.stderr.contains("goes on where it was left"), "{ran:?}");
    let json = ran.json();
    assert_eq!(json["bundle"], serde_json::Value::Null);
    assert_eq!(step(&json, "count")["output"]["words"], 3);
    assert_eq!(step(&json, "empty")["outcome"], "guest-error");
    assert!(step(&json, "empty")["receipt"].is_string(), "it has a receipt all the same");
    assert_eq!(step(&json, "digest")["outcome"], "failed");
    assert_eq!(step(&json, "after")["outcome"], "not-begun");
    let why = step(&json, "after")["why"].as_str().expect("a reason").to_owned();
    assert!(why.contains("digest") && why.contains("empty"), "{why}");
    // Once more: what is done is not done again.
    stage.actum("you", &["flow", "run", "plan.toml"]);
    a.stop();
    // Its one argument is "one two three", which nothing else here counts.
    assert_eq!(executed(&stage, "a", "count-words"), 1);
}

/// Three steps, of which the second takes seconds: it reads a clock ten million times.
const SLOW: &str = r#"
name = "slow"
[[step]]
name = "count"
call = "text-stats"
function = "count-words"
args = ["two words"]
risk = "low"
[[step]]
name = "slow"
call = "sleeper"
function = "spin-for"
args = { nanoseconds = 10000000000 }
after = ["count"]
risk = "low"
[[step]]
name = "last"
call = "digest"
function = "sha256"
args = ["{{steps.slow.output | bytes}}"]
risk = "low"
"#;

/// Whether a home remembers a call of this function that was not answered.
fn remembered(home: &Home, function: &str) -> bool {
    let calls = home.store().all_unanswered().expect("the store");
    calls.iter().any(|call| {
        let (action, _) = RunArgs::read(call.invocation.payload()).expect("a call");
        action.function.to_string().contains(function)
    })
}

/// Starts a plan with a slow step and waits until that runs and is remembered.
fn in_the_middle(stage: &Stage, a: &mut Node, plan: &str) -> Child {
    stage.write("plan.toml", plan);
    let mut run = stage.command("you");
    run.args(["flow", "run", "plan.toml", "--peer", a.address("tcp")]);
    let run =
        run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    while !a.wait_for("started")["function"].as_str().expect("a function").contains("spin-for") {}
    // It is remembered as unanswered a moment after it was sent.
    let home = Home::open(&stage.path().join("you")).expect("a home");
    let until = Instant::now() + Duration::from_secs(60);
    while !remembered(&home, "spin-for") {
        assert!(Instant::now() < until, "it is not remembered");
        std::thread::sleep(Duration::from_millis(5));
    }
    run
}

/// Runs it again to its end, and shows that every action ran once.
fn goes_on(stage: &Stage, a: Node) {
    let ran = stage.actum("you", &["--format", "json", "flow", "run", "plan.toml", "-o", "flow.car"]);
    let ran = ran.exits(0).json();
    assert_eq!(step(&ran, "count")["done"], "before");
    assert_ne!(step(&ran, "slow")["done"], "now", "it was sent already");
    assert_eq!(step(&ran, "last")["done"], "now");
    assert!(step(&ran, "slow")["output"].as_u64() > Some(1_000_000));
    a.stop();
    for function in ["count-words", "spin-for", "sha256"] {
        assert_eq!(executed(stage, "a", function), 1, "{function}");
    }
    stage.actum("auditor", &["audit", "flow.car"]).exits(0);
}

#[test]
fn a_killed_run_is_taken_up_and_no_action_runs_twice() {
    let stage = Stage::new();
    stage.publish_guest("a", "sleeper", "[]");
    let mut a = provider(&stage, &["text-stats", "digest"], &["sleeper"]);
    let mut run = in_the_middle(&stage, &mut a, SLOW);
    run.kill().expect("it still runs");
    run.wait().expect("it ends");
    goes_on(&stage, a);
}

#[test]
fn a_call_whose_provider_is_gone_for_good_is_made_to_another() {
    let stage = Stage::new();
    let component = stage.guest("sleeper");
    let manifest = "name = \"sleeper\"\nversion = \"0.1.0\"\nintent = \"Test\"\n";
    let manifest = stage.write("sleeper.toml", manifest);
    let publish = ["publish", &component, "--manifest", manifest.to_str().expect("UTF-8")];
    let release = stage.actum("a", &publish).exits(0).stdout.trim().to_owned();
    let mut a = stage.node("a", &["--offer", &release]);
    let plan = "name = \"one\"\n[[step]]\nname = \"slow\"\ncall = \"sleeper\"\nfunction = \"spin-for\"\n\
                args = [10000000000]\nrisk = \"low\"\ndeadline_seconds = 45\n";
    let mut run = in_the_middle(&stage, &mut a, plan);
    run.kill().expect("it still runs");
    run.wait().expect("it ends");
    // Another has it from the first, which then ends for good.
    let b = stage.node("b", &["--offer", &release, "--bootstrap", a.address("tcp")]);
    drop(a);
    // The answer is asked of the one that has it until the deadline; nothing it could have done would be done twice.
    let ran =
        stage.actum("you", &["--format", "json", "flow", "run", "plan.toml", "--peer", b.address("tcp")]);
    let ran = ran.exits(0).json();
    assert_eq!(step(&ran, "slow")["provider"], b.did());
    assert_eq!(step(&ran, "slow")["done"], "now");
}

#[test]
fn a_lie_that_is_found_behind_the_answer_is_taken_back_with_what_was_made_of_it() {
    let stage = Stage::new();
    let a = provider(&stage, &["digest"], &[]);
    stage.publish("liar", "text-stats");
    let liar =
        stage.start_as("liar", &["demo", "--lie-about", "text-stats", "--bootstrap", a.address("tcp")]);
    // Everything is replayed, and nothing waits for it.
    let level = "[risk.level.behind]\ncanaries = 0\nprobation = 0\nprobation_here = 0\nreplay_one_in = 1\n\
                 before = false\n";
    stage.write("you/config.toml", level);
    stage.write("other/config.toml", level);
    let call = ["call", "text-stats", "count-words", "[\"a b\"]", "--risk", "behind", "--peer"];
    let ran = stage.actum("other", &[&call[..], &[liar.address("tcp")]].concat()).exits(7);
    assert_eq!(ran.says("lied: its receipt").stdout, "", "what is known to be a lie is not handed over");
    let plan = r#"
name = "behind"
[[step]]
name = "count"
call = "text-stats"
function = "count-words"
args = ["two words"]
risk = "behind"
[[step]]
name = "digest"
call = "digest"
function = "sha256"
args = ["{{steps.count.output.words | bytes}}"]
risk = "behind"
"#;
    stage.write("plan.toml", plan);
    let run = ["--format", "json", "flow", "run", "plan.toml", "--peer", a.address("tcp"), "--peer"];
    let ran =
        stage.actum("you", &[&run[..], &[liar.address("tcp")]].concat()).exits(7).says("lied: its receipt");
    let json = ran.json();
    assert_eq!(json["bundle"], serde_json::Value::Null);
    assert_eq!(step(&json, "count")["output"], serde_json::Value::Null, "the lie is not handed over");
    assert_eq!(step(&json, "digest")["outcome"], "misled");
    // The next run has both done anew, by somebody else.
    stage.publish("honest", "text-stats");
    let honest = stage.node("honest", &["--offer", "text-stats", "--bootstrap", a.address("tcp")]);
    let json = stage.actum("you", &[&run[..], &[honest.address("tcp")]].concat()).exits(0).json();
    assert_eq!(step(&json, "count")["provider"], honest.did());
    assert_eq!(step(&json, "count")["output"]["words"], 2);
    assert_eq!(step(&json, "digest")["done"], "now");
    assert!(json["bundle"].is_string(), "{json}");
}

#[test]
fn an_interrupted_run_says_how_to_go_on_and_goes_on() {
    let stage = Stage::new();
    stage.publish_guest("a", "sleeper", "[]");
    let mut a = provider(&stage, &["text-stats", "digest"], &["sleeper"]);
    let run = in_the_middle(&stage, &mut a, SLOW);
    let pid = i32::try_from(run.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it still runs");
    let ended = run.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(8), "{said}");
    assert!(said.contains("`actum flow run plan.toml` goes on where it was left"), "{said}");
    goes_on(&stage, a);
}

#[test]
fn a_provider_that_is_killed_in_the_middle_is_followed_by_the_next() {
    let stage = Stage::new();
    let component = stage.guest("sleeper");
    let manifest = "name = \"sleeper\"\nversion = \"0.1.0\"\nintent = \"Test\"\n";
    let manifest = stage.write("sleeper.toml", manifest);
    let publish = ["publish", &component, "--manifest", manifest.to_str().expect("UTF-8")];
    let release = stage.actum("a", &publish).exits(0).stdout.trim().to_owned();
    let a = stage.node("a", &["--offer", &release]);
    let b = stage.node("b", &["--offer", &release, "--bootstrap", a.address("tcp")]);
    let (at_a, at_b) = (a.address("tcp").to_owned(), b.address("tcp").to_owned());
    // How long a lost provider is waited for before the next is asked.
    stage.write("you/config.toml", "[risk.level.low]\npatience_seconds = 20\n");
    let plan = "name = \"one\"\n[[step]]\nname = \"slow\"\ncall = \"sleeper\"\nfunction = \"spin-for\"\n\
                args = [10000000000]\nrisk = \"low\"\n";
    stage.write("plan.toml", plan);
    let killed = AtomicBool::new(false);
    // Whichever begins is killed; the other begins after it.
    let begins = |mut node: Node| {
        node.wait_for("started");
        if killed.swap(true, Ordering::SeqCst) { Some(node) } else { None }
    };
    let (ran, left) = std::thread::scope(|scope| {
        let begins = &begins;
        let nodes = [a, b].map(|node| scope.spawn(move || begins(node)));
        let run = ["--format", "json", "flow", "run", "plan.toml", "--peer", &at_a, "--peer", &at_b];
        let ran = stage.actum("you", &run);
        // So that a node which was never asked is not waited for, whatever came of it.
        for address in [&at_a, &at_b] {
            stage.actum("other", &["call", &release, "spin-for", "1000", "--peer", address]);
        }
        (ran, nodes.map(|node| node.join().expect("it ends")))
    });
    let ran = ran.exits(0).json();
    let survivor = left.iter().flatten().next().expect("one of them was asked second");
    assert_eq!(step(&ran, "slow")["provider"], survivor.did());
}
