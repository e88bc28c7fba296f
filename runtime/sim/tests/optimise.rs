//! The search for the cheapest level, in a market that is a formula: what it finds is what trying everything finds.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use actum_sim::{
    optimise::{self, Damage, Found, OptimiseError, Setup, Tally},
    params::{Conduct, Params},
    report::Verdict,
    runs::RunFigures,
};
use actum_trust::{Level, RiskPolicy};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

const ACTIONS: f64 = 10_000.0;
const SEEDS: [u64; 4] = [1, 2, 3, 4];

/// A level costs what its checks say, and lets through less the more it has of them.
fn formula(params: &Params, policy: &RiskPolicy, seed: u64) -> Result<RunFigures, OptimiseError> {
    let level = policy.level.get(&policy.pure).expect("a level");
    let sampled = 1.0 / f64::from(level.replay_one_in.get());
    let extra = f64::from(level.replicas - 1) + sampled + f64::from(level.probation) / 300.0;
    let worse = match params.hostile {
        Conduct::Honest => 0.0,
        Conduct::LiesOneIn { .. } => 0.3,
        _ => 1.0,
    };
    let seen = 1.0 + f64::from(level.probation) + 40.0 * sampled + 3.0 * f64::from(level.canaries);
    let seen = seen * if level.replicas > 1 { 4.0 } else { 1.0 } * if level.before { 1.5 } else { 1.0 };
    let differs = 1.0 + (seed % 3) as f64 / 50.0;
    let wrong = params.alpha * worse * 0.9 / seen * differs;
    Ok(BTreeMap::from([
        ("workflows".to_owned(), ACTIONS),
        ("wrong".to_owned(), (wrong * ACTIONS).floor() / ACTIONS),
        ("failed".to_owned(), 0.0),
        ("extra_fuel".to_owned(), extra + 0.05 * f64::from(level.canaries)),
    ]))
}

fn setup() -> Setup {
    Setup { most_runs: usize::MAX, ..Setup::full() }
}

fn found(setup: &Setup) -> Found {
    optimise::search(setup, &SEEDS, &formula, &AtomicBool::new(false)).expect("it is not stopped")
}

/// The same, where what is checked costs the more the more often it finds something, and most where it is told apart.
fn by_conduct(params: &Params, policy: &RiskPolicy, seed: u64) -> Result<RunFigures, OptimiseError> {
    let mut figures = formula(params, policy, seed)?;
    let factor = match params.hostile {
        Conduct::TellsCanaries { .. } => 8.0,
        Conduct::LiesOneIn { .. } => 0.3,
        _ => 0.5,
    };
    figures.entry("extra_fuel".to_owned()).and_modify(|extra| *extra *= factor);
    Ok(figures)
}

/// A market that is a formula.
type Formula = fn(&Params, &RiskPolicy, u64) -> Result<RunFigures, OptimiseError>;

/// The cost of the cheapest level within a bound, all being tried.
fn by_trying_all(formula: Formula, setup: &Setup, alpha: f64, bound: f64) -> Option<f64> {
    let conducts = if alpha == 0.0 { vec![("honest", Conduct::Honest)] } else { setup.conducts.clone() };
    let costs = setup.space.levels().into_iter().filter_map(|level| {
        let policy = optimise::policy_of(level);
        let run = |conduct: Conduct| {
            let params = Params { alpha, hostile: conduct, ..setup.params.clone() };
            SEEDS.map(|seed| Tally::of(&formula(&params, &policy, seed).expect("figures")))
        };
        let runs: Vec<_> = conducts.iter().map(|(_, conduct)| run(*conduct)).collect();
        let within = runs.iter().all(|runs| Damage::of(runs).high <= bound);
        let all = runs.iter().flatten().map(|tally| tally.extra_fuel);
        within.then(|| all.sum::<f64>() / (runs.len() * SEEDS.len()) as f64)
    });
    costs.min_by(f64::total_cmp)
}

#[test]
fn it_finds_what_trying_everything_finds_in_far_fewer_runs() {
    let setup = setup();
    for formula in [formula as Formula, by_conduct] {
        finds_what_trying_everything_finds(formula, &setup);
    }
}

fn finds_what_trying_everything_finds(formula: Formula, setup: &Setup) {
    let found =
        optimise::search(setup, &SEEDS, &formula, &AtomicBool::new(false)).expect("it is not stopped");
    let everything = found.levels * (1 + (setup.alphas.len() - 1) * setup.conducts.len()) * SEEDS.len();
    assert!(found.runs * 5 < everything, "{} of {everything} runs", found.runs);
    assert_eq!(found.cheapest.len(), setup.alphas.len() * setup.bounds.len());
    for cheapest in &found.cheapest {
        let wanted = by_trying_all(formula, setup, cheapest.alpha, cheapest.bound);
        assert_eq!(
            cheapest.level.map(|_| cheapest.cost.mul_add(1e9, 0.5) as u64),
            wanted.map(|c| c.mul_add(1e9, 0.5) as u64),
            "{cheapest:?}"
        );
    }
    assert!(found.cheapest.iter().any(|c| c.level.is_none() || c.cost > 0.1), "something is hard");
    assert!(!found.cut);
}

#[test]
fn more_hostile_ones_and_a_lower_bound_never_cost_less() {
    let found = found(&setup());
    let cost = |c: &optimise::Cheapest| if c.level.is_some() { c.cost } else { f64::MAX };
    for a in &found.cheapest {
        for b in &found.cheapest {
            if a.alpha <= b.alpha && a.bound >= b.bound {
                assert!(cost(a) <= cost(b), "{a:?} {b:?}");
            }
        }
    }
}

#[test]
fn what_is_said_to_be_better_than_the_node_s_level_is() {
    for node in found(&setup()).node {
        let Some(better) = &node.better else { continue };
        assert!(better.cost < node.cost && better.outputs == 3.0 * ACTIONS, "{node:?}");
        assert_eq!(better.told_apart, node.damage.mean > 0.0, "{node:?}");
        let policy = optimise::policy_of(better.level);
        for (_, hostile) in setup().conducts {
            let params = Params { alpha: node.alpha, hostile, ..setup().params };
            let runs = SEEDS.map(|seed| Tally::of(&formula(&params, &policy, seed).expect("figures")));
            assert!(Damage::of(&runs).high <= node.damage.high, "{node:?}");
        }
    }
}

#[test]
fn levels_of_which_nothing_was_wrong_are_not_said_to_be_better() {
    let never_wrong = |params: &Params, policy: &RiskPolicy, seed: u64| {
        let mut figures = formula(params, policy, seed)?;
        figures.insert("wrong".to_owned(), 0.0);
        Ok(figures)
    };
    let setup = setup();
    let same = optimise::search(&setup, &SEEDS, &never_wrong, &AtomicBool::new(false)).expect("it ends");
    assert!(same.node.iter().any(|node| node.better.is_some()));
    let section = optimise::section(&same, &setup);
    assert!(section.verdicts.iter().all(Verdict::held));
    assert!(section.verdicts.iter().any(|v| v.text().contains("cannot be told apart by so few outputs")));
    let found = found(&setup);
    let missed = optimise::section(&found, &setup).verdicts.into_iter().filter(|v| !v.held());
    let missed: Vec<Verdict> = missed.collect();
    assert!(
        !missed.is_empty() && missed.iter().all(|v| v.text().contains("as far as 30,000 outputs")),
        "{missed:?}"
    );
}

#[test]
fn what_the_node_s_own_levels_cost_says_nothing_of_the_grid() {
    let dear = |params: &Params, policy: &RiskPolicy, seed: u64| {
        let mut figures = formula(params, policy, seed)?;
        if policy.level.get(&policy.pure).expect("a level").explore_one_in != Level::medium().explore_one_in {
            figures.insert("extra_fuel".to_owned(), 1_000.0);
        }
        Ok(figures)
    };
    let setup = setup();
    let dear = optimise::search(&setup, &SEEDS, &dear, &AtomicBool::new(false)).expect("it ends");
    assert!(dear.node.iter().any(|node| node.cost == 1_000.0));
    let costs = |found: &Found| -> Vec<f64> { found.cheapest.iter().map(|c| c.cost).collect() };
    assert_eq!(costs(&dear), costs(&found(&setup)));
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| found(&setup()))
    };
    assert_eq!(on(1), on(4));
}

#[test]
fn a_level_that_leaves_actions_without_an_answer_is_no_choice() {
    let refuses = |params: &Params, policy: &RiskPolicy, seed: u64| {
        let mut figures = formula(params, policy, seed)?;
        if policy.level.get(&policy.pure).expect("a level").probation > 8 {
            figures.insert("failed".to_owned(), 0.5);
        }
        Ok(figures)
    };
    let found = optimise::search(&setup(), &SEEDS, &refuses, &AtomicBool::new(false)).expect("it ends");
    let levels: Vec<Level> = found.cheapest.iter().filter_map(|c| c.level).collect();
    assert!(!levels.is_empty() && levels.iter().all(|l| l.probation <= 8), "{levels:?}");
}

#[test]
fn it_stops_when_told_and_when_there_were_enough_runs() {
    let (stop, runs) = (AtomicBool::new(false), AtomicUsize::new(0));
    let stopping = |params: &Params, policy: &RiskPolicy, seed: u64| {
        if runs.fetch_add(1, Ordering::SeqCst) == 20 {
            stop.store(true, Ordering::SeqCst);
        }
        formula(params, policy, seed)
    };
    let stopped = optimise::search(&setup(), &SEEDS, &stopping, &stop);
    assert!(matches!(stopped, Err(OptimiseError::Stopped)));
    assert!(runs.into_inner() < 40);
    for most_runs in [0, 50, 333, 700] {
        let cut = found(&Setup { most_runs, ..setup() });
        assert!(cut.cut && cut.runs <= most_runs, "{} of {most_runs}", cut.runs);
    }
}

#[test]
fn every_run_is_made_once() {
    let made = Mutex::new(BTreeMap::<String, u32>::new());
    let noting = |params: &Params, policy: &RiskPolicy, seed: u64| {
        *made.lock().unwrap().entry(format!("{params:?} {policy:?} {seed}")).or_default() += 1;
        formula(params, policy, seed)
    };
    optimise::search(&setup(), &SEEDS, &noting, &AtomicBool::new(false)).expect("it ends");
    assert!(made.into_inner().unwrap().values().all(|times| *times == 1));
}

#[test]
fn a_node_takes_the_table_that_is_written() {
    let found = found(&setup());
    let text = optimise::risk_toml(&found);
    let table: toml::Table = text.parse().expect("TOML");
    let risk = table.get("risk").expect("a [risk]").clone();
    let policy = RiskPolicy::deserialize(risk).expect("a node's table");
    assert!(policy.pure.starts_with("within-"), "{text}");
    let at = found.cheapest.iter().filter(|c| c.alpha == optimise::RISK_ALPHA);
    for cheapest in at {
        let name = format!("within-{}", cheapest.bound);
        assert_eq!(policy.level.get(&name), cheapest.level.as_ref(), "{text}");
    }
    let nothing = optimise::risk_toml(&Found::default());
    let table: toml::Table = nothing.parse().expect("TOML");
    assert_eq!(RiskPolicy::deserialize(table["risk"].clone()).expect("a table"), RiskPolicy::default());
}

#[test]
fn nothing_wrong_in_few_actions_shows_little() {
    let none = |actions| Tally { actions, ..Tally::default() };
    let few = Damage::of(&[none(100.0)]);
    assert!(few.mean == 0.0 && few.low == 0.0 && few.high > 200.0, "{few:?}");
    let many = Damage::of(&[none(10_000.0); 4]);
    assert!(many.high < 1.0, "{many:?}");
    // Runs that differ say less than their outputs together.
    let wrong = |wrong| Tally { actions: 10_000.0, wrong, ..Tally::default() };
    let alike = Damage::of(&[wrong(50.0); 4]);
    let apart = Damage::of(&[wrong(0.0), wrong(0.0), wrong(0.0), wrong(200.0)]);
    assert!(alike.mean == apart.mean && apart.high > alike.high && apart.low < alike.low);
    assert_eq!(Damage::of(&[]).high, 10_000.0);
}
