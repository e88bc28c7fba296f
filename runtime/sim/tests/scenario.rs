//! Scenarios as files: those of the project can be run, and what is wrong in one's own is said with where it is.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use actum_sim::{
    params::{Conduct, Params, Step},
    scenario::{CHECKED_IN, CheckedIn, MAX_RUNS, Scenario, ScenarioError, Whose},
};
use actum_trust::RiskPolicy;
use proptest::prelude::*;
use std::collections::BTreeSet;

const SMALL: &str = r#"
name = "small"
title = "A small one"
question = "Is it read?"

[paper]
peers = 40      # the paper's
[ours]
requesters = 4  # few
seconds = 60    # short

[x]
parameter = "alpha"
values = [0, 0.25, 0.5]
of = "paper"

[[series]]
name = "naive"
of = "paper"
[[series]]
name = "mine"
of = "ours"
set = { policy = "mine", level = { replay_one_in = 7 } }

[[plot]]
figure = "success"
label = "workflows that succeed"
[[expect]]
shape = "falls"
figure = "success"
series = "naive"

[seeds]
full = 3
quick = 2
[quick]
seconds = 30    # shorter
values = [0, 0.5]

[policies.mine]
pure = "low"
"#;

fn error(text: &str) -> String {
    match Scenario::parse(text, "small.toml") {
        Ok(_) => panic!("it was read"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_the_project_keeps_can_be_run_and_says_whose_and_why() {
    let mut names = BTreeSet::new();
    let mut runs = (0, 0);
    for one in CHECKED_IN {
        let scenario = one.scenario().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(scenario.name, one.name, "the file is called as the scenario is");
        assert!(names.insert(one.name));
        assert!(!scenario.plots.is_empty() && !scenario.expects.is_empty(), "{}", one.name);
        let series = scenario.series.iter().flat_map(|s| s.set.iter().map(|_| s.of));
        let whose = series.chain([scenario.x.of]).chain(scenario.paper.iter().map(|_| Whose::Paper));
        let ours = one.of == Whose::Ours;
        assert!(!ours || whose.into_iter().all(|whose| whose == Whose::Ours), "{}", one.name);
        for setting in scenario.paper.iter().chain(&scenario.ours).chain(&scenario.quick) {
            assert!(!setting.why.is_empty(), "{}, line {}: why?", one.name, setting.line);
        }
        assert!(scenario.question.contains('?') && !scenario.question.contains('\n'), "{}", one.name);
        runs.0 += scenario.runs(false).unwrap();
        runs.1 += scenario.runs(true).unwrap();
    }
    assert!(runs.1 * 5 < runs.0, "quick is quick: {runs:?}");
    let papers = CHECKED_IN.iter().filter(|one| one.of == Whose::Paper).map(|one| one.name);
    assert_eq!(papers.collect::<Vec<_>>(), ["alpha", "peers", "refresh", "ttl"]);
}

#[test]
fn the_paper_s_first_experiment_is_as_the_paper_has_it() {
    let scenario = CheckedIn::named("alpha").unwrap().scenario().unwrap();
    let points = scenario.points(false).unwrap();
    assert_eq!(points.len(), 6 * 11);
    let alphas: Vec<f64> = points.iter().take(11).map(|point| point.params.alpha).collect();
    assert_eq!((alphas.first(), alphas.last()), (Some(&0.0), Some(&0.5)));
    for point in &points {
        assert_eq!((point.params.peers, point.params.hostile), (100, Conduct::Lies));
        assert_eq!(point.params.steps, [Step::Pure, Step::Writes]);
    }
    let node = points.last().unwrap();
    assert_eq!((node.params.policy.as_str(), &node.policy), ("node", &RiskPolicy::default()));
}

#[test]
fn series_and_axis_change_what_they_say_and_the_rest_has_its_defaults() {
    let scenario = Scenario::parse(SMALL, "small.toml").unwrap();
    let points = scenario.points(false).unwrap();
    let expected = |alpha| Params { peers: 40, requesters: 4, seconds: 60, alpha, ..Params::default() };
    for (place, alpha) in [0.0, 0.25, 0.5].into_iter().enumerate() {
        let (naive, mine) = (points.get(place).unwrap(), points.get(place + 3).unwrap());
        assert_eq!((naive.series, naive.x, &naive.params), (0, place, &expected(alpha)));
        assert_eq!(mine.params, Params { policy: "mine".to_owned(), ..expected(alpha) });
        assert!(mine.policy.level.values().all(|level| level.replay_one_in.get() == 7));
        assert!(naive.policy.level.values().any(|level| level.replay_one_in.get() != 7));
    }
    let quick = scenario.points(true).unwrap();
    assert_eq!((quick.len(), quick.iter().all(|point| point.params.seconds == 30)), (4, true));
    assert_eq!((scenario.runs(false).unwrap(), scenario.runs(true).unwrap()), (18, 8));

    let listed = scenario.parameters(false);
    let of =
        |key: &str| listed.iter().find(|p| p.key == key).map(|p| (p.value.as_str(), p.whose, p.why.as_str()));
    assert_eq!(of("peers"), Some(("40", Whose::Paper, "the paper's")));
    assert_eq!(of("requesters"), Some(("4", Whose::Ours, "few")));
    assert_eq!(of("capacity"), Some(("4", Whose::Ours, "a default")));
    assert_eq!(of("alpha"), None, "it goes along the axis");
    let quick = scenario.parameters(true);
    assert!(quick.iter().any(|p| p.key == "seconds" && p.value == "30" && p.why == "shorter"));
}

#[test]
fn a_life_is_that_of_leases_too_as_far_as_leases_may_live() {
    let text = SMALL.replace("\"alpha\"", "\"ttl_seconds\"").replace("[0, 0.25, 0.5]", "[30, 900, 3600]");
    let text = text.replace("values = [0, 0.5]", "");
    let scenario = Scenario::parse(&text, "small.toml").unwrap();
    let lives = scenario.points(false).unwrap();
    let lives: Vec<_> = lives.iter().map(|p| (p.params.descriptor_seconds, p.params.lease_seconds)).collect();
    assert_eq!(lives.get(..3), Some([(30, 30), (900, 900), (3600, 900)].as_slice()));
    let both = text.replace("requesters = 4", "requesters = 4\nlease_seconds = 60");
    assert_eq!(error(&both), "small.toml, line 10: lease_seconds is set in [ours], and goes along the axis");
}

#[test]
fn what_goes_along_the_axis_may_be_of_a_level_or_of_what_hostile_ones_do() {
    let text = SMALL.replace("\"alpha\"", "\"level.canaries\"").replace("[0, 0.25, 0.5]", "[0, 8]");
    let text = text.replace("values = [0, 0.5]", "");
    let points = Scenario::parse(&text, "small.toml").unwrap().points(false).unwrap();
    let canaries = |n: usize| points.get(n).unwrap().policy.level.values().map(|l| l.canaries).max();
    assert_eq!((canaries(0), canaries(1)), (Some(0), Some(8)));
    assert!(error(&text.replace("[0, 8]", "[0, 9]")).contains("canaries is 9; 0 to 8 are allowed"));
    assert!(error(&text.replace("level.canaries", "level.parrots")).contains("parrots"));

    let turns = SMALL.replace("\"alpha\"", "\"hostile.after\"").replace("[0, 0.25, 0.5]", "[0, 9]");
    let turns = turns.replace("values = [0, 0.5]", "");
    assert!(error(&turns).contains("hostile.after is no parameter here"), "{}", error(&turns));
    let turns = turns.replace("[ours]", "[ours]\nhostile = { kind = \"turns\", after = 1 }");
    let points = Scenario::parse(&turns, "small.toml").unwrap().points(false).unwrap();
    assert_eq!(points.get(1).unwrap().params.hostile, Conduct::Turns { after: 9 });

    let policies = SMALL.replace("\"alpha\"", "\"policy\"").replace("[0, 0.25, 0.5]", "[\"low\", \"high\"]");
    let policies = policies.replace("values = [0, 0.5]", "").replace("policy = \"mine\", ", "");
    let scenario = Scenario::parse(&policies, "small.toml").unwrap();
    let xs: Vec<_> = scenario.xs(false).iter().map(|x| (x.label.as_str(), x.at)).collect();
    assert_eq!(xs, [("low", 0.0), ("high", 1.0)]);
}

#[test]
fn what_is_wrong_is_said_with_where_it_is() {
    let changed = |from: &str, to: &str| {
        assert!(SMALL.contains(from), "{from}");
        error(&SMALL.replace(from, to))
    };
    let unknown = changed("seconds = 60", "secnds = 60");
    assert!(
        unknown.starts_with("small.toml, line 10: secnds in [ours] is no parameter; there are "),
        "{unknown}"
    );
    assert!(unknown.contains("seconds, ") && unknown.contains("ttl_seconds"), "{unknown}");
    let both = changed("seconds = 60", "peers = 60");
    assert_eq!(both, "small.toml, line 10: peers is in [paper] and in [ours]; it can be in one of them");
    let policy = changed("policy = \"mine\"", "policy = \"yours\"");
    assert!(policy.starts_with("small.toml: no policy is called \"yours\"; there are "), "{policy}");
    assert!(policy.contains("canary") && policy.contains("mine") && policy.contains("node"), "{policy}");
    assert!(changed("pure = \"low\"", "pure = \"lax\"").contains("policy mine: "));
    assert!(changed("title =", "titel =").contains("titel"));
    assert!(changed("shape = \"falls\"", "shape = \"dances\"").contains("dances"));
    let series = changed("series = \"naive\"", "series = \"naif\"");
    assert_eq!(series, "small.toml: [[expect]] names series \"naif\"; there are mine, naive");
    let axis = changed("set = { policy", "set = { alpha = 0.1, policy");
    assert!(axis.contains("line 23: alpha is set in a series, and goes along the axis"), "{axis}");
    assert!(changed("[0, 0.25, 0.5]", "[0.5, 0.25]").contains("rising"));
    assert!(changed("[0, 0.25, 0.5]", "[]").contains("nothing goes along the axis"));
    assert!(changed("\"naive\"\nof", "\"mine\"\nof").contains("two series are called \"mine\""));
    assert!(changed("name = \"small\"", "name = \"../small\"").contains("lower-case letters"));
    assert!(changed("parameter = \"alpha\"", "parameter = \"beta\"").contains("line 13: beta in [x]"));
    assert!(error("name = 1").contains("small.toml: "));
}

#[test]
fn numbers_are_within_their_bounds_and_fit_together() {
    let ours = |line: &str| error(&SMALL.replace("requesters = 4  # few", line));
    assert!(ours("requesters = 30").contains("series \"naive\" at alpha = 0.5: requesters is 30; 1 to 20"));
    assert!(ours("lease_seconds = 901").contains("lease_seconds is 901; 6 to 900 are allowed"));
    assert!(ours("capabilities = 1").contains("2 steps; 1 to 1 are allowed"));
    assert!(ours("captured = 1.5").contains("captured is 1.5; 0 to 1 are allowed"));
    assert!(ours("noticed = nan").contains("noticed is NaN"));
    assert!(ours("component_bytes = 67108865").contains("component_bytes is 67108865; 0 to 67108864"));
    assert!(ours("registries = 0").contains("registries is 0"));
    assert!(ours("registries = -1").contains("-1"));
    assert!(ours("registries = \"three\"").contains("registries"));
    // What a kind of conduct does not have is no less unknown.
    assert!(ours("hostile = { kind = \"lies\", after = 3 }").contains("hostile.after is no parameter here"));
}

#[test]
fn a_sweep_that_is_too_large_is_refused_with_how_large_it_is() {
    let text = SMALL.replace("full = 3", "full = 9999");
    let values: Vec<String> = (0..50).map(|n| format!("0.{n:02}")).collect();
    let text = text.replace("[0, 0.25, 0.5]", &format!("[{}]", values.join(", ")));
    let error = Scenario::parse(&text, "small.toml").unwrap_err();
    assert!(matches!(error, ScenarioError::TooMany { runs: 999_900, .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains("999900 runs") && said.contains(&MAX_RUNS.to_string()), "{said}");
    for seeds in ["full = 0", "full = 10001"] {
        assert!(self::error(&SMALL.replace("full = 3", seeds)).contains("seeds; 1 to 10000"));
    }
}

proptest! {
    /// A person's file may be anything: it is read or refused, and never more.
    #[test]
    fn a_file_with_anything_in_it_is_read_or_refused(
        at in any::<prop::sample::Index>(),
        len in 0_usize..20,
        text in "[\\PC\n]{0,12}",
    ) {
        let start = at.index(SMALL.len());
        let end = (start + len).min(SMALL.len());
        let mut changed = SMALL.to_owned();
        changed.replace_range(start..end, &text);
        let _ = Scenario::parse(&changed, "small.toml");
    }
}
