//! What a directory does in a market: who is found, what is stale, what it costs, and what a captured registry can do.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use actum_sim::{
    Span, Time,
    market::Market,
    params::{Conduct, Params},
    profile::{Link, Profile},
};
use actum_trust::RiskPolicy;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Few enough that a page has room for all of them.
fn few() -> Params {
    Params { peers: 40, requesters: 5, ..Params::default() }
}

fn market(params: &Params, seed: u64) -> Market {
    Market::new(params.clone(), RiskPolicy::default(), Profile::measured().unwrap(), seed)
}

fn run(params: &Params, seed: u64) -> BTreeMap<&'static str, f64> {
    let mut market = market(params, seed);
    assert!(market.run(Time::from_seconds(params.seconds), u64::MAX));
    market.figures()
}

#[test]
fn everybody_else_who_offers_it_is_found() {
    let figures = run(&few(), 1);
    assert!(figures["workflows"] > 100.0);
    assert!((38.5..=39.0).contains(&figures["found"]), "{figures:?}");
    assert_eq!((figures["stale"], figures["failed_probes"], figures["omissions"]), (0.0, 0.0, 0.0));
    assert!(figures["empty"] < 0.02 && figures["pages"] > 2.99);
    // Two offers each, at each of three registries.
    assert_eq!(figures["probes"], 40.0 * 2.0 * 3.0);
}

#[test]
fn the_same_seed_gives_the_same_figures() {
    let params = Params { drift_seconds: 600, churn_seconds: 900, alpha: 0.2, ..few() };
    // As text: what no run has seen is no number, and equals nothing.
    assert_eq!(format!("{:?}", run(&params, 7)), format!("{:?}", run(&params, 7)));
    assert_ne!(run(&params, 7)["events"], run(&params, 8)["events"]);
}

#[test]
fn what_many_offer_is_drawn_anew_for_each_query() {
    let figures = run(&Params { peers: 200, alpha: 0.3, ..Params::default() }, 3);
    assert!(figures["found"] > 49.0, "{figures:?}");
    assert!((0.27..0.33).contains(&figures["hostile_found"]), "{figures:?}");
}

#[test]
fn announcing_twice_as_often_costs_twice_as_much() {
    let bytes = |lease_seconds| run(&Params { lease_seconds, ..few() }, 1)["announce_bytes"];
    let ratio = bytes(150) / bytes(300);
    assert!((1.8..2.2).contains(&ratio), "{ratio}");
}

#[test]
fn the_longer_statements_live_the_more_is_stale() {
    let stale = |params: Params| run(&Params { seconds: 7_200, ..params }, 2)["stale"];
    let churn = |lease_seconds| stale(Params { lease_seconds, churn_seconds: 1_800, ..few() });
    let drift = |lease_seconds| stale(Params { lease_seconds, drift_seconds: 1_800, ..few() });
    let (short, long) = (churn(60), churn(1_200));
    assert!(short < 0.08 && long > 0.15, "gone: {short} {long}");
    let (short, long) = (drift(60), drift(1_200));
    assert!(short < 0.08 && long > 2.0 * short, "taken back: {short} {long}");
}

#[test]
fn whoever_does_not_answer_is_soon_given_out_no_more() {
    // By registries: on the advertise plane nobody is probed.
    for hostile in [Conduct::NeverAnswers, Conduct::Refuses] {
        let figures = run(&Params { alpha: 0.3, hostile, advertise: false, ..few() }, 1);
        assert!(figures["hostile_found"] < 0.02, "{hostile:?} {figures:?}");
        assert!(figures["failed_probes"] > 0.2 && figures["found"] > 26.0, "{hostile:?} {figures:?}");
    }
    let riders = run(&Params { free_riders: 0.5, advertise: false, ..few() }, 1);
    assert!((18.0..20.0).contains(&riders["found"]), "{riders:?}");
}

#[test]
fn registries_tell_one_another_what_was_told_to_few_of_them() {
    let figures = run(&Params { registries: 8, ..few() }, 1);
    // Each of eight learns two descriptors and one lease of each provider, of which it is told a third.
    assert!(figures["reconciled"] > 40.0 * 3.0 * 5.0, "{figures:?}");
    assert!(figures["found"] > 38.0 && figures["reconcile_bytes"] > 0.0);
    let alone = run(&Params { registries: 1, ..few() }, 1);
    assert_eq!(alone["reconcile_bytes"], 0.0);
}

#[test]
fn a_captured_registry_leaves_out_and_is_found_out() {
    let params = Params { alpha: 0.3, requesters: 10, ..few() };
    let one = run(&Params { captured: 0.34, ..params.clone() }, 1);
    assert!(one["found"] > 38.0, "two others have all there is: {one:?}");
    assert!(one["omissions"] > 3.0, "{one:?}");
    let all = run(&Params { captured: 1.0, advertise: false, ..params.clone() }, 1);
    assert_eq!((all["hostile_found"], all["omissions"]), (1.0, 0.0));
    assert_eq!(run(&params, 1)["omissions"], 0.0, "an honest one is not blamed");
}

#[test]
fn where_nobody_answers_nothing_is_found() {
    let link = Link { loss: 1.0, ..Profile::measured().unwrap().link };
    let lost = run(&Params { link: Some(link), seconds: 600, ..few() }, 1);
    let none = run(&Params { registries: 0, advertise: false, seconds: 600, ..few() }, 1);
    assert!(lost["workflows"] > 10.0 && none["workflows"] > 10.0);
    // Ten seconds for registries, and five for the advertise plane.
    assert_eq!((lost["empty"], lost["pages"], lost["discovery_ms"]), (1.0, 0.0, 15_000.0));
    assert_eq!((none["empty"], none["control_bytes"], none["looked_up"]), (1.0, 0.0, 0.0));
}

#[test]
fn whom_registries_leave_with_nothing_looks_on_the_advertise_plane() {
    let link = Link { one_way: Span::from_millis(25), sigma: 0.4, loss: 0.0, bytes_per_second: 12_500_000 };
    let params = Params { link: Some(link), ..few() };
    let honest = run(&params, 1);
    assert!(honest["looked_up"] < 0.02, "but for the first moments: {honest:?}");
    // There are none, or all of them list hostile providers alone, of which there are none.
    for (registries, captured) in [(0, 0.0), (3, 1.0)] {
        let f = run(&Params { registries, captured, ..params.clone() }, 1);
        // Some look there anyway, to audit.
        assert!((f["looked_up"] + f["audited"] - 1.0).abs() < 1e-9 && f["audited"] < 0.1, "{f:?}");
        assert!(f["found"] > 35.0 && f["success"] > 0.98, "{f:?}");
        // As many bytes as lookups weigh: ads of some 30 providers, each more than once.
        let bytes = f["advertise_bytes"] * 40.0 * 3_600.0 / (f["workflows"] * 2.0);
        assert!((100_000.0..400_000.0).contains(&bytes), "{bytes}: {f:?}");
        // Some five round trips of 50 ms after what registries took.
        assert!(f["discovery_ms"] > honest["discovery_ms"] + 150.0 && f["discovery_ms"] < 600.0, "{f:?}");
    }
    let without = run(&Params { registries: 0, advertise: false, ..params }, 1);
    assert_eq!((without["empty"], without["advertise_bytes"]), (1.0, 0.0));
}

#[test]
fn whoever_was_lied_to_by_all_that_captured_registries_list_finds_others() {
    let params = Params { alpha: 0.2, captured: 1.0, hostile: Conduct::Lies, ..few() };
    let policy = RiskPolicy::default();
    let run = |advertise| {
        let params = Params { advertise, ..params.clone() };
        let mut market = Market::new(params.clone(), policy.clone(), Profile::measured().unwrap(), 1);
        assert!(market.run(Time::from_seconds(params.seconds), u64::MAX));
        market.figures()
    };
    let (looks, stays) = (run(true), run(false));
    assert!(stays["success"] < 0.05 && stays["looked_up"] == 0.0, "{stays:?}");
    assert!(looks["looked_up"] > 0.5 && looks["success"] > 0.9, "{looks:?}");
}

#[test]
fn what_the_advertise_plane_loses_takes_as_long_as_is_looked() {
    let link = Link { loss: 0.05, ..Profile::measured().unwrap().link };
    let f = run(&Params { link: Some(link), registries: 0, ..few() }, 1);
    assert!(f["discovery_ms"] == 5_000.0 && f["found"] > 30.0, "{f:?}");
}

#[test]
fn an_audit_costs_bytes_and_changes_little_else() {
    let (audited, not) = (run(&few(), 1), run(&Params { advertise: false, ..few() }, 1));
    assert!((0.02..0.08).contains(&audited["audited"]) && not["audited"] == 0.0, "{audited:?}");
    let bytes = audited["advertise_bytes"] * 40.0 * 3_600.0;
    let audits = audited["audited"] * audited["workflows"] * 2.0;
    assert!((100_000.0..400_000.0).contains(&(bytes / audits)), "{audited:?}");
    assert_eq!(not["advertise_bytes"], 0.0);
    for same in ["workflows", "found", "discovery_ms", "find_bytes", "success"] {
        // Those of the first moments, when nobody has announced yet, look there or do not.
        let (a, b) = (audited[same], not[same]);
        assert!((a - b).abs() <= 0.01 * a, "{same}: {a} and {b}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_message_vanishes(
        seed in any::<u64>(),
        peers in 1_u32..30,
        registries in 0_u32..6,
        drift_seconds in 0_u64..300,
        churn_seconds in 0_u64..300,
        loss in 0.0..0.3,
        alpha in 0.0..1.0,
    ) {
        let link = Link { loss, ..Profile::measured().unwrap().link };
        let params = Params {
            peers, registries, drift_seconds, churn_seconds, alpha,
            requesters: peers.min(3), lease_seconds: 60, link: Some(link), ..Params::default()
        };
        let mut market = market(&params, seed);
        for minute in 1..=20 {
            market.run(Time::from_seconds(60 * minute), u64::MAX);
            let ((scheduled, handled, pending), (sent, under_way)) = (market.engine(), market.messages());
            prop_assert_eq!(scheduled, handled + pending as u64);
            // Nothing is under way for as long as half a second: what is not lost has come.
            prop_assert!(under_way <= 40 && under_way <= sent, "{} of {}", under_way, sent);
        }
        let figures = market.figures();
        for share in ["stale", "empty", "hostile_found", "failed_probes"] {
            prop_assert!((0.0..=1.0).contains(&figures[share]), "{}: {:?}", share, figures);
        }
    }
}
