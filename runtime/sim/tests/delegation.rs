//! What policies come to in a market: who is believed, who is caught, and what it costs.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may")]

use actum_sim::{
    Span, Time,
    market::Market,
    params::{Conduct, Params, Step},
    profile::{Link, Profile},
};
use actum_trust::RiskPolicy;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A policy that has one level for everything: what is not said here is not checked.
fn policy(level: &str) -> RiskPolicy {
    let nothing = [
        ("canaries", "0"),
        ("replicas", "1"),
        ("replicas_reads", "1"),
        ("replay_one_in", "4294967295"),
        ("before", "false"),
        ("probation", "0"),
        ("probation_here", "0"),
        ("fallbacks", "4"),
        ("explore_one_in", "10"),
    ];
    let classes = ["pure", "reads", "writes", "spends", "large", "granted"];
    let mut text: String = classes.map(|class| format!("{class} = \"one\"\n")).concat();
    text.push_str("[level.one]\n");
    text.push_str(level);
    for (key, value) in nothing {
        let said = level.lines().any(|line| line.split('=').next().is_some_and(|k| k.trim() == key));
        if !said {
            text.push_str(&format!("{key} = {value}\n"));
        }
    }
    toml::from_str(&text).unwrap()
}

const NAIVE: &str = "fallbacks = 0\n";
const CANARY: &str = "canaries = 2\n";
const EVIDENCE: &str = "replicas = 3\nreplicas_reads = 3\n";
const REPLAY: &str = "replay_one_in = 1\nbefore = true\n";

/// Few enough to be found all at once.
fn params() -> Params {
    Params { peers: 40, requesters: 10, seconds: 1_800, steps: vec![Step::Pure], ..Params::default() }
}

fn market(params: &Params, level: &str, seed: u64) -> Market {
    Market::new(params.clone(), policy(level), Profile::measured().unwrap(), seed)
}

fn figures(params: &Params, level: &str, seed: u64) -> BTreeMap<&'static str, f64> {
    let mut market = market(params, level, seed);
    assert!(market.run(Time::from_seconds(params.seconds), u64::MAX));
    let figures = market.figures();
    assert!(figures["steps"] > 100.0, "{figures:?}");
    assert_eq!(figures["honest_dropped"], 0.0, "{figures:?}");
    figures
}

#[test]
fn who_checks_nothing_takes_lies_in_proportion() {
    let params = Params { alpha: 0.25, requesters: 25, ..params() };
    let all: f64 = (0..4).map(|seed| figures(&params, NAIVE, seed)["wrong_outputs_per_10k"]).sum();
    let wrong = all / 4.0;
    assert!((1_000.0..=4_000.0).contains(&wrong), "{wrong}");
    let f = figures(&params, NAIVE, 1);
    assert_eq!((f["extra_fuel"], f["extra_bytes"], f["lies_caught"]), (0.0, 0.0, 0.0));
    assert_eq!(f["served_givers"], 1.0);
}

#[test]
fn who_replays_everything_first_never_takes_a_lie() {
    let conducts = [
        Conduct::Lies,
        Conduct::LiesOneIn { one_in: 3 },
        Conduct::Turns { after: 10 },
        Conduct::TellsCanaries { probability: 1.0 },
        Conduct::Colludes,
        Conduct::Whitewashes,
        Conduct::LiesOfTheWorld,
    ];
    for hostile in conducts {
        let steps = vec![Step::Pure, Step::Writes];
        let params = Params { alpha: 0.4, hostile, steps, workflows_per_hour: 120.0, ..params() };
        let f = figures(&params, REPLAY, 2);
        // No replay shows what did not happen in the world.
        let lies = hostile == Conduct::LiesOfTheWorld;
        assert_eq!(f["wrong_outputs_per_10k"] > 0.0, lies, "{hostile:?}: {f:?}");
        assert_eq!(f["lies_caught"] > 0.0, !lies, "{hostile:?}: {f:?}");
        assert!(f["extra_fuel"] >= 0.9, "each is run twice: {f:?}");
    }
}

#[test]
fn canaries_find_those_who_lie_and_not_those_who_tell_them() {
    let lies = Params { alpha: 0.4, ..params() };
    let f = figures(&lies, CANARY, 3);
    assert_eq!(f["wrong_outputs_per_10k"], 0.0, "newcomers get canaries each time: {f:?}");
    assert!(f["lies_caught"] > 0.0 && f["fell_back"] > 0.0 && f["canaries"] > 0.0, "{f:?}");
    assert!(f["seconds_to_drop"] < 1.0, "{f:?}");
    let tells = Params { hostile: Conduct::TellsCanaries { probability: 1.0 }, ..lies.clone() };
    let told = figures(&tells, CANARY, 3);
    assert!(told["wrong_outputs_per_10k"] > 500.0 && told["lies_caught"] == 0.0, "{told:?}");
    let half = Params { hostile: Conduct::TellsCanaries { probability: 0.5 }, ..lies.clone() };
    let f = figures(&half, CANARY, 3);
    assert!(f["lies_caught"] > 0.0, "{f:?}");
    assert!(f["wrong_outputs_per_10k"] < told["wrong_outputs_per_10k"], "{f:?}");
    // One that turns was honest to canaries, and is known by then.
    let turns = Params { hostile: Conduct::Turns { after: 8 }, ..lies };
    assert!(figures(&turns, CANARY, 3)["wrong_outputs_per_10k"] > 0.0);
}

#[test]
fn replicas_outvote_liars_but_not_two_of_them_who_agree() {
    let lies = Params { alpha: 0.4, ..params() };
    let f = figures(&lies, EVIDENCE, 4);
    assert_eq!(f["wrong_outputs_per_10k"], 0.0, "{f:?}");
    assert!(f["lies_caught"] > 0.0 && f["extra_fuel"] > 1.5 && f["extra_bytes"] > 1.5, "{f:?}");
    let colludes = Params { hostile: Conduct::Colludes, ..lies.clone() };
    assert!(figures(&colludes, EVIDENCE, 4)["wrong_outputs_per_10k"] > 0.0);
    // Those of one ring are not asked together.
    let ring = Params { ring: 16, ..colludes };
    assert_eq!(figures(&ring, EVIDENCE, 4)["wrong_outputs_per_10k"], 0.0);
    // What the world is said to be, others' eyes tell, where no replay does.
    let reads = vec![Step::Reads];
    let world = Params { hostile: Conduct::LiesOfTheWorld, steps: reads, ..lies };
    assert!(figures(&world, REPLAY, 4)["wrong_outputs_per_10k"] > 0.0);
    assert_eq!(figures(&world, EVIDENCE, 4)["wrong_outputs_per_10k"], 0.0);
}

#[test]
fn who_notices_learns_and_a_lie_of_the_world_is_never_caught() {
    let lies = Params { alpha: 0.3, seconds: 7_200, ..params() };
    let careless = figures(&lies, "", 5);
    let notices = figures(&Params { noticed: 0.5, ..lies.clone() }, "", 5);
    assert!(notices["lies_caught"] > 0.0 && notices["seconds_to_drop"] >= 60.0, "{notices:?}");
    assert!(notices["wrong_outputs_per_10k"] < careless["wrong_outputs_per_10k"] / 2.0, "{notices:?}");
    let steps = vec![Step::Writes];
    let world = Params { hostile: Conduct::LiesOfTheWorld, noticed: 1.0, steps, ..lies };
    let f = figures(&world, "", 5);
    assert!(f["lies_caught"] == 0.0 && f["wrong_outputs_per_10k"] > 0.0, "{f:?}");
}

#[test]
fn a_sample_that_is_replayed_later_bounds_how_long_a_liar_goes_on() {
    let lies = Params { alpha: 0.3, seconds: 3_600, ..params() };
    let f = figures(&lies, "replay_one_in = 5\n", 6);
    assert!(f["wrong_outputs_per_10k"] > 0.0 && f["lies_caught"] > 0.0, "{f:?}");
    // Of each five receipts one is drawn: a liar gets eight lies through at most, and the answers under way.
    let liars = 12.0 * 10.0;
    assert!(f["wrong_outputs_per_10k"] * f["steps"] / 10_000.0 <= liars * 9.0, "{f:?}");
    assert!((0.1..0.4).contains(&f["replays"]), "{f:?}");
}

#[test]
fn a_proof_reaches_everybody_and_spares_them_the_lie() {
    let alone = Params { alpha: 0.2, requesters: 20, workflows_per_hour: 120.0, ..params() };
    let without = figures(&alone, REPLAY, 7);
    assert_eq!((without["proofs"], without["fraud_bytes"]), (0.0, 0.0));
    let told = Params { proofs: true, ..alone };
    let f = figures(&told, REPLAY, 7);
    assert!(f["proofs"] >= 4.0 && f["proofs"] <= 8.0, "{f:?}");
    assert!(f["proofs_known_to_all"] >= f["proofs"] - 1.0, "{f:?}");
    assert!(f["known_to_all_s"] > 0.0 && f["known_to_all_s"] < 3.0, "{f:?}");
    assert!(f["lies_caught"] < without["lies_caught"] / 2.0, "{f:?}");
    assert!(f["fraud_bytes"] > 0.0 && f["proof_runs"] >= f["proofs"] * 20.0, "{f:?}");
}

#[test]
fn proofs_are_lost_on_who_comes_back_under_another_name() {
    let lies = Params { alpha: 0.2, proofs: true, workflows_per_hour: 240.0, ..params() };
    let same = figures(&lies, REPLAY, 8);
    let other = figures(&Params { hostile: Conduct::Whitewashes, ..lies.clone() }, REPLAY, 8);
    assert!(same["proofs"] <= 8.0 && other["proofs"] > same["proofs"], "{other:?}");
}

#[test]
fn who_does_not_do_what_it_offers_is_soon_probed_out() {
    let level = "patience_seconds = 2\nfallbacks = 8\n";
    for hostile in [Conduct::Refuses, Conduct::NeverAnswers] {
        // By registries alone: on the advertise plane nobody is probed.
        let f = figures(&Params { alpha: 0.5, hostile, advertise: false, ..params() }, level, 9);
        // Until it was probed it is given out after all who answered.
        assert!(f["hostile_found"] < 0.05 && f["success"] > 0.99, "{hostile:?}: {f:?}");
        assert!(f["failed_probes"] > 0.5, "{hostile:?}: {f:?}");
    }
}

#[test]
fn who_is_gone_is_followed_by_the_next() {
    let level = "patience_seconds = 2\nfallbacks = 8\n";
    let f = figures(&Params { churn_seconds: 900, seconds: 3_600, ..params() }, level, 9);
    assert!(f["fell_back"] > 0.0 && f["stale"] > 0.0 && f["wrong"] == 0.0, "{f:?}");
    assert!(f["success"] > 0.95, "{f:?}");
}

/// Few providers, each action of which takes a second.
fn busy(params: Params, level: &str) -> BTreeMap<&'static str, f64> {
    let mut profile = Profile::measured().unwrap();
    profile.takes.execute = Span::from_seconds(1);
    let mut market = Market::new(params.clone(), policy(level), profile, 10);
    assert!(market.run(Time::from_seconds(params.seconds), u64::MAX));
    market.figures()
}

/// A component of so many bytes takes as many microseconds to come.
fn slow(params: Params, level: &str, component_bytes: u64, execute: Span) -> BTreeMap<&'static str, f64> {
    let link = Link { one_way: Span::from_millis(10), sigma: 0.0, loss: 0.0, bytes_per_second: 1_000_000 };
    let mut profile = Profile::measured().unwrap();
    profile.takes.execute = execute;
    let component_bytes = Some(component_bytes);
    let params = Params { component_bytes, link: Some(link), ..params };
    let mut market = Market::new(params.clone(), policy(level), profile, 13);
    assert!(market.run(Time::from_seconds(params.seconds), u64::MAX));
    market.figures()
}

#[test]
fn a_component_is_fetched_once_by_whoever_checks_and_counted() {
    let run = |level, bytes| slow(params(), level, bytes, Span::from_millis(1));
    for level in [CANARY, REPLAY, "replay_one_in = 5\n"] {
        let (fetched, had) = (run(level, 1_000_000), run(level, 0));
        assert_eq!((fetched["fetched"], had["fetched"]), (10.0, 0.0), "one by each requester: {level}");
        let bytes = |f: &BTreeMap<&str, f64>| f["action_bytes"] * 40.0 * 1_800.0;
        let more = bytes(&fetched) - bytes(&had);
        // The 61 bytes of asking for it are the profile's.
        assert!((more - 10.0 * 1_000_061.0).abs() < 50_000.0, "{more}: {level}");
        assert!(fetched["extra_bytes"] > had["extra_bytes"] + 1.0, "{fetched:?}");
    }
    for level in [NAIVE, EVIDENCE] {
        assert_eq!(run(level, 1_000_000)["fetched"], 0.0, "nothing is replayed: {level}");
    }
}

#[test]
fn a_component_delays_what_needs_it_by_what_is_left_of_it() {
    // Each asks about once: nearly all are the first of theirs. All of it runs for two seconds, and a component takes one.
    let rare = Params { workflows_per_hour: 0.5, seconds: 3_600, requesters: 30, ..params() };
    let run = |level, bytes| slow(rare.clone(), level, bytes, Span::from_seconds(2))["workflow_ms"];
    let near = |a: f64, b: f64| (a - b).abs() < 100.0;
    let nothing = run(NAIVE, 0);
    assert!(near(nothing, run(NAIVE, 1_000_000)));
    // Two canaries are executed here before, for which it has to be there.
    let (had, fetched) = (run(CANARY, 0), run(CANARY, 1_000_000));
    assert!(near(fetched, had + 1_020.0), "{had} and {fetched}");
    // What is replayed afterwards comes meanwhile; unless it takes longer than the work.
    let (had, fetched, large) = (run(REPLAY, 0), run(REPLAY, 1_000_000), run(REPLAY, 5_000_000));
    assert!(near(fetched, had), "{had} and {fetched}");
    assert!(near(large, had + 3_000.0), "{had} and {large}");
    // What has effects is not begun before.
    let writes = Params { steps: vec![Step::Writes], ..rare.clone() };
    let run = |bytes| slow(writes.clone(), REPLAY, bytes, Span::from_seconds(2))["workflow_ms"];
    let (had, fetched) = (run(0), run(1_000_000));
    assert!(near(fetched, had + 1_020.0), "{had} and {fetched}");
}

#[test]
fn who_gave_is_served_before_who_only_takes() {
    // All ask and all but the riders give: each asks for more than the third of an action a second that there is for each.
    let params = Params {
        peers: 12,
        requesters: 12,
        registries: 1,
        seconds: 1_200,
        workflows_per_hour: 3_000.0,
        capacity: 1,
        queue: 2,
        free_riders: 0.34,
        ..params()
    };
    let unbalanced = busy(params.clone(), "fallbacks = 2\n");
    let balanced = busy(Params { balances: true, ..params }, "fallbacks = 2\n");
    assert!(unbalanced["served_givers"] < 0.95 && unbalanced["served_riders"] > 0.3, "{unbalanced:?}");
    let gap = |f: &BTreeMap<&str, f64>| f["served_givers"] - f["served_riders"];
    assert!(gap(&unbalanced).abs() < 0.1, "{unbalanced:?}");
    assert!(gap(&balanced) > 0.2, "{balanced:?}");
}

#[test]
fn one_seed_comes_to_one_thing_and_another_to_another() {
    let params = Params { alpha: 0.3, hostile: Conduct::Whitewashes, proofs: true, noticed: 0.3, ..params() };
    let once = figures(&params, CANARY, 11);
    assert_eq!(once, figures(&params, CANARY, 11));
    assert_ne!(once, figures(&params, CANARY, 12));
    // Stopping and going on changes nothing.
    let mut market = market(&params, CANARY, 11);
    while !market.run(Time::from_seconds(params.seconds), 97) {}
    assert_eq!(once, market.figures());
}

fn conducts() -> impl Strategy<Value = Conduct> {
    prop_oneof![
        Just(Conduct::Honest),
        Just(Conduct::Lies),
        (1_u32..5).prop_map(|one_in| Conduct::LiesOneIn { one_in }),
        (0_u32..20).prop_map(|after| Conduct::Turns { after }),
        (0.0..=1.0).prop_map(|probability| Conduct::TellsCanaries { probability }),
        Just(Conduct::Colludes),
        Just(Conduct::Whitewashes),
        Just(Conduct::LiesOfTheWorld),
        Just(Conduct::NeverAnswers),
        Just(Conduct::Refuses),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever goes on: nobody honest is called a liar, no message is lost sight of, and nothing is served that was not
    /// asked for.
    #[test]
    fn honest_ones_are_never_dropped(
        hostile in conducts(),
        level in prop_oneof![Just(NAIVE), Just(CANARY), Just(EVIDENCE), Just(REPLAY), Just("replay_one_in = 3\n")],
        alpha in 0.0..0.6,
        loss in prop_oneof![Just(0.0), 0.0..0.3],
        riders in 0.0..0.3,
        churn in prop_oneof![Just(0_u64), 60_u64..600],
        (proofs, balances) in any::<(bool, bool)>(),
        seed in any::<u64>(),
    ) {
        let link = Link { one_way: Span::from_millis(20), sigma: 0.5, loss, bytes_per_second: 1_000_000 };
        let params = Params {
            peers: 20,
            requesters: 4,
            seconds: 600,
            workflows_per_hour: 240.0,
            steps: vec![Step::Pure, Step::Reads, Step::Writes],
            capabilities: 3,
            offers_each: 3,
            link: Some(link),
            capacity: 1,
            queue: 1,
            free_riders: riders,
            churn_seconds: churn,
            hostile,
            alpha,
            proofs,
            balances,
            noticed: 0.5,
            ..Params::default()
        };
        let mut market = Market::new(params.clone(), policy(level), Profile::measured().unwrap(), seed);
        prop_assert!(market.run(Time::from_seconds(params.seconds), u64::MAX));
        let f = market.figures();
        prop_assert_eq!(f["honest_dropped"], 0.0);
        prop_assert!(f["served_givers"] <= 1.0 && f["served_riders"] <= 1.0);
        prop_assert!(f["wrong_outputs_per_10k"] == 0.0 || hostile != Conduct::Honest);
        let ((scheduled, handled, pending), (_, under_way)) = (market.engine(), market.messages());
        prop_assert_eq!(scheduled, handled + pending as u64);
        prop_assert!(under_way <= pending as u64, "{} of {}", under_way, pending);
    }
}
