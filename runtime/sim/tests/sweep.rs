//! Sweeps: the same bytes however they are done, nothing finished is lost, and nothing damaged is believed.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use actum_sim::{
    params::Params,
    profile::Profile,
    runs::{By, InMarket, NotRun, RunFigures, Runner},
    scenario::Scenario,
    sweep::{Progress, Sweep, SweepError, Swept},
};
use actum_trust::RiskPolicy;
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

const SCENARIO: &str = r#"
name = "small"
title = "A small one"
question = "Is it swept?"
[ours]
peers = 40
[x]
parameter = "alpha"
values = [0.0, 0.1, 0.2, 0.3]
of = "paper"
[[series]]
name = "naive, with a comma"
of = "paper"
[[series]]
name = "replay"
of = "ours"
set = { policy = "replay" }
[[plot]]
figure = "success"
label = "success"
[[expect]]
shape = "falls"
figure = "success"
series = "naive, with a comma"
[[expect]]
shape = "above"
figure = "success"
series = "replay"
than = "naive, with a comma"
from = 0.1
[seeds]
full = 5
quick = 1
"#;

const RUNS: usize = 2 * 4 * 5;

fn sweep(seed: u64) -> Sweep {
    let scenario = Scenario::parse(SCENARIO, "small.toml").unwrap();
    Sweep::of(&scenario, false, seed, &Profile::measured().unwrap()).unwrap()
}

/// What a run comes to here: something that hangs on all that it is given.
fn cheap(params: &Params, policy: &RiskPolicy, profile: &Profile, seed: u64) -> RunFigures {
    let noise = (seed % 1_000) as f64 / 1e5;
    let lost = if policy.pure == "replay" { 0.0 } else { params.alpha };
    RunFigures::from([
        ("success".to_owned(), 1.0 - lost - noise),
        ("third".to_owned(), noise / 3.0 + f64::from(params.peers)),
        ("sign".to_owned(), profile.takes.sign.micros() as f64),
        ("nothing".to_owned(), f64::NAN),
    ])
}

type Cheap = fn(&Params, &RiskPolicy, &Profile, u64) -> RunFigures;
const CHEAP: By<Cheap> = By("cheap", cheap);

fn quietly(_: Progress<'_>) {}

fn run(sweep: &Sweep, runner: &(impl Runner + ?Sized), out: &Path) -> Result<Swept, SweepError> {
    sweep.run(runner, out, &quietly, &AtomicBool::new(false))
}

/// Both tables.
fn tables(swept: &Swept, out: &Path) -> (String, String) {
    let written = swept.write(out).unwrap();
    (fs::read_to_string(written.runs).unwrap(), fs::read_to_string(written.summary).unwrap())
}

/// The tables of a sweep that was done in one go.
fn fresh(seed: u64) -> (String, String) {
    let out = tempfile::tempdir().unwrap();
    tables(&run(&sweep(seed), &CHEAP, out.path()).unwrap(), out.path())
}

/// Counts how often it is asked.
struct Counted(AtomicUsize);

impl Runner for Counted {
    fn name(&self) -> &str {
        "cheap"
    }

    fn run(
        &self,
        params: &Params,
        policy: &RiskPolicy,
        profile: &Profile,
        seed: u64,
        _: &AtomicBool,
    ) -> Result<RunFigures, NotRun> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(cheap(params, policy, profile, seed))
    }
}

#[test]
fn tables_are_in_order_and_say_what_the_seeds_come_to() {
    let (runs, summary) = fresh(1);
    let lines: Vec<&str> = runs.lines().collect();
    assert_eq!((lines.len(), lines[0]), (1 + RUNS, "scenario,series,x,seed,nothing,sign,success,third"));
    assert!(lines[1].starts_with("small,\"naive, with a comma\",0,"), "{}", lines[1]);
    assert!(lines[RUNS].starts_with("small,replay,0.3,"), "{}", lines[RUNS]);
    // Series go through the same seeds, at every x.
    let seeds: Vec<&str> = lines[1..].iter().map(|line| line.rsplitn(5, ',').nth(4).unwrap()).collect();
    let seeds: Vec<&str> = seeds.iter().map(|line| line.rsplit(',').next().unwrap()).collect();
    assert!(seeds.chunks(5).all(|chunk| chunk == &seeds[..5]));
    assert_eq!(seeds[..5].iter().collect::<BTreeSet<_>>().len(), 5);
    assert_eq!(summary.lines().next(), Some("series,x,figure,n,mean,sd,low,high"));
    // What is no number is in neither.
    assert_eq!(summary.lines().count(), 1 + 2 * 4 * 3);
    let sign = Profile::measured().unwrap().takes.sign.micros();
    assert!(summary.contains(&format!("replay,0.3,sign,5,{sign},0,{sign},{sign}\n")), "{summary}");
    assert_eq!(fresh(1), (runs.clone(), summary), "the same seed, the same bytes");
    assert_ne!(fresh(2).0, runs);
}

#[test]
fn what_was_stopped_goes_on_and_comes_to_the_same_bytes() {
    let out = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(false);
    let told = Mutex::new(Vec::new());
    let stopping = |progress: Progress<'_>| {
        told.lock().unwrap().push(progress.done);
        stop.store(progress.done >= 7, Ordering::Relaxed);
    };
    let error = sweep(1).run(&CHEAP, out.path(), &stopping, &stop).unwrap_err();
    let SweepError::Stopped { done, of, path, .. } = &error else { panic!("{error}") };
    let done = *done;
    assert!(done >= 7 && done < *of && *of == RUNS, "{done} of {of}");
    assert!(error.to_string().contains("the same command goes on from there"), "{error}");
    assert_eq!(fs::read_to_string(path).unwrap().lines().count(), done);
    assert!(told.lock().unwrap().contains(&7));

    let counted = Counted(AtomicUsize::new(0));
    let swept = run(&sweep(1), &counted, out.path()).unwrap();
    assert_eq!((swept.before, counted.0.load(Ordering::Relaxed)), (done, RUNS - done));
    assert_eq!(swept.warnings, Vec::<String>::new());
    assert_eq!(tables(&swept, out.path()), fresh(1));
    // And once more: nothing is left to do.
    let again = run(&sweep(1), &counted, out.path()).unwrap();
    assert_eq!((again.before, counted.0.load(Ordering::Relaxed)), (RUNS, RUNS - done));
    assert_eq!(tables(&again, out.path()), fresh(1));
}

#[test]
fn a_run_that_is_told_to_stop_amid_itself_is_no_error_of_its_own() {
    struct Waits;
    impl Runner for Waits {
        fn name(&self) -> &str {
            "waits"
        }
        fn run(
            &self,
            _: &Params,
            _: &RiskPolicy,
            _: &Profile,
            _: u64,
            stop: &AtomicBool,
        ) -> Result<RunFigures, NotRun> {
            stop.store(true, Ordering::Relaxed);
            Err(NotRun::Stopped)
        }
    }
    let out = tempfile::tempdir().unwrap();
    let error = run(&sweep(1), &Waits, out.path()).unwrap_err();
    assert!(matches!(error, SweepError::Stopped { done: 0, .. }), "{error}");
}

#[test]
fn what_is_torn_or_damaged_is_done_again() {
    let out = tempfile::tempdir().unwrap();
    run(&sweep(1), &CHEAP, out.path()).unwrap();
    let path = out.path().join("runs/small.jsonl");
    let whole = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<String> = whole.lines().map(str::to_owned).collect();
    lines[3] = lines[3].replace("\"success\":", "\"success\":1");
    lines[5] = "not a line".to_owned();
    let torn = lines.join("\n");
    fs::write(&path, &torn[..torn.len() - 9]).unwrap();

    let counted = Counted(AtomicUsize::new(0));
    let swept = run(&sweep(1), &counted, out.path()).unwrap();
    assert_eq!((swept.before, counted.0.load(Ordering::Relaxed)), (RUNS - 3, 3));
    let said = swept.warnings.join("\n");
    assert!(said.contains("torn") && said.contains("line 4: ") && said.contains("line 6: "), "{said}");
    assert_eq!(tables(&swept, out.path()), fresh(1));
    // Every prefix of the file is as good a start.
    for cut in [0, 1, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..cut]).unwrap();
        assert_eq!(tables(&run(&sweep(1), &CHEAP, out.path()).unwrap(), out.path()), fresh(1));
    }
}

#[test]
fn what_is_kept_is_for_the_same_run_alone() {
    let out = tempfile::tempdir().unwrap();
    run(&sweep(1), &CHEAP, out.path()).unwrap();
    let counted = Counted(AtomicUsize::new(0));
    let count = |sweep: &Sweep, of: usize| {
        counted.0.store(0, Ordering::Relaxed);
        run(sweep, &counted, out.path()).unwrap();
        assert_eq!(counted.0.load(Ordering::Relaxed), of);
    };
    count(&sweep(2), RUNS);
    let text = SCENARIO.replace("peers = 40", "peers = 41");
    let scenario = Scenario::parse(&text, "small.toml").unwrap();
    let mut profile = Profile::measured().unwrap();
    count(&Sweep::of(&scenario, false, 1, &profile).unwrap(), RUNS);
    profile.weighs.call += 1;
    count(&Sweep::of(&scenario, false, 1, &profile).unwrap(), RUNS);
    let text = SCENARIO.replace("policy = \"replay\"", "policy = \"replay\", level = { canaries = 1 }");
    let scenario = Scenario::parse(&text, "small.toml").unwrap();
    let changed = Sweep::of(&scenario, false, 1, &Profile::measured().unwrap()).unwrap();
    count(&changed, RUNS / 2);
    // Fewer or more seeds are some of the same.
    let more = Scenario::parse(&SCENARIO.replace("full = 5", "full = 7"), "small.toml").unwrap();
    count(&Sweep::of(&more, false, 1, &Profile::measured().unwrap()).unwrap(), RUNS / 5 * 2);
}

#[test]
fn shapes_are_judged_by_what_came_out() {
    let out = tempfile::tempdir().unwrap();
    let verdicts = run(&sweep(1), &CHEAP, out.path()).unwrap().verdicts();
    assert_eq!(verdicts.iter().map(|v| v.held()).collect::<Vec<_>>(), [true, true]);
    assert!(verdicts[0].text().contains("at alpha = 0.3"), "{}", verdicts[0]);
    let same: By<Cheap> = By("same", |_, _, _, _| RunFigures::from([("success".to_owned(), 0.5)]));
    let verdicts = run(&sweep(1), &same, out.path()).unwrap().verdicts();
    assert!(verdicts.iter().all(|v| !v.held()), "{verdicts:?}");
}

#[test]
fn a_figure_that_is_not_there_and_a_file_in_use_are_said() {
    let out = tempfile::tempdir().unwrap();
    let other: By<Cheap> = By("other", |_, _, _, _| RunFigures::from([("sucess".to_owned(), 0.5)]));
    let error = run(&sweep(1), &other, out.path()).unwrap_err().to_string();
    assert_eq!(error, "small: no figure is called \"success\"; there are sucess");

    let inner = Mutex::new(None);
    let meanwhile = |_: Progress<'_>| {
        let other = sweep(1).run(&CHEAP, out.path(), &quietly, &AtomicBool::new(false));
        inner.lock().unwrap().get_or_insert(other.unwrap_err().to_string());
    };
    sweep(1).run(&CHEAP, out.path(), &meanwhile, &AtomicBool::new(false)).unwrap();
    let said = inner.into_inner().unwrap().unwrap();
    assert!(said.contains("small.jsonl is being written to by somebody else"), "{said}");
}

#[test]
fn a_market_is_swept_to_the_same_figures_each_time() {
    let text = SCENARIO
        .replace("peers = 40", "peers = 20\nrequesters = 2\nseconds = 120")
        .replace("full = 5", "full = 2");
    let scenario = Scenario::parse(&text, "small.toml").unwrap();
    let sweep = Sweep::of(&scenario, false, 1, &Profile::measured().unwrap()).unwrap();
    let tables = [(), ()].map(|()| {
        let out = tempfile::tempdir().unwrap();
        tables(&run(&sweep, &InMarket, out.path()).unwrap(), out.path())
    });
    assert_eq!(tables[0], tables[1]);
    assert!(tables[0].1.contains(",control_bytes,2,"), "{}", tables[0].1);
}
