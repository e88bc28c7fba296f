//! What no figure shows.

use super::{
    super::{Event as Happens, Market},
    conduct::{Said, says},
    place,
};
use crate::{
    Streams, Time,
    params::{Conduct, Params, Step},
    profile::Profile,
};
use actum_trust::{Effect, RiskPolicy};

fn market(params: Params, seed: u64) -> Market {
    Market::new(params, RiskPolicy::default(), Profile::measured().unwrap(), seed)
}

#[test]
fn who_else_asks_moves_nothing_of_the_first_requester() {
    // What it draws first: its secret, when its first workflow begins, and in what order it would ask.
    let first = |requesters| {
        let mut market = market(Params { requesters, ..Params::default() }, 1);
        let began = loop {
            assert!(!market.run(Time::from_seconds(3_600), 1), "nobody asked");
            if let Some(workflow) = market.workflows.values().find(|w| w.requester == 0) {
                break workflow.began;
            }
        };
        let asker = &mut market.delegations.requesters[0];
        (asker.secret, began, asker.draws.clone().number(), asker.notices.number())
    };
    let alone = first(1);
    assert_eq!(alone, first(2));
    assert_eq!(alone, first(37));
}

#[test]
fn who_is_caught_by_three_comes_back_under_another_name() {
    let params = Params {
        peers: 30,
        requesters: 20,
        alpha: 0.2,
        hostile: Conduct::Whitewashes,
        workflows_per_hour: 240.0,
        steps: vec![Step::Pure],
        ..Params::default()
    };
    let mut market = market(params.clone(), 2);
    market.run(Time::from_seconds(3_600), u64::MAX);
    let peers = &market.population.peers[..place(params.peers)];
    assert!(peers.iter().any(|peer| peer.names > 1));
    assert!(peers.iter().all(|peer| peer.names == 1 || peer.conduct == Conduct::Whitewashes));
    // Whoever three have caught goes by that name no more, and nobody else went.
    for (did, by) in &market.delegations.caught {
        let n = market.population.by_did(did).unwrap();
        assert_eq!(*by >= 3, market.population.peer(n).unwrap().did != *did, "caught by {by}");
    }
}

#[test]
fn nothing_is_held_of_what_is_over() {
    let hostile = Conduct::NeverAnswers;
    let params = Params { peers: 30, alpha: 0.3, hostile, workflows_per_hour: 240.0, ..Params::default() };
    let mut market = market(params, 3);
    market.run(Time::from_seconds(600), u64::MAX);
    // Nobody begins anything any more; what goes on ends.
    market.params.workflows_per_hour = 0.0;
    market.run(Time::from_seconds(1_500), u64::MAX);
    assert!(market.workflows.is_empty() && market.delegations.actions.is_empty());
    assert!(market.delegations.calls.is_empty() && market.delegations.owed.is_empty());
    assert!(market.population.peers.iter().all(|peer| peer.admitted == 0));
}

#[test]
fn a_proof_comes_once_to_every_honest_peer_though_hostile_ones_keep_silent() {
    let params = Params {
        peers: 2_000,
        alpha: 0.2,
        proofs: true,
        workflows_per_hour: 0.0,
        capabilities: 10,
        offers_each: 1,
        ..Params::default()
    };
    let honest = 1_600 + u64::from(params.registries);
    let mut market = market(params, 5);
    let liar = market.population.peers[1_999].did;
    let (mut ctx, _, delegations) = market.parts();
    delegations.spreading.found(0, liar, (1, 0), &mut delegations.components, &mut ctx);
    market.run(Time::from_seconds(30), u64::MAX);
    let f = market.figures();
    assert_eq!(f["proof_runs"], honest as f64, "each runs it once");
    assert_eq!((f["proofs"], f["proofs_known_to_all"]), (1.0, 1.0));
    assert!(f["known_to_all_s"] < 1.0, "{f:?}");
    // Each requester excludes the liar, by a proof alone.
    let seen: Vec<_> = (1..10).map(|n| market.delegations.seen(n, &liar)).collect();
    assert!(seen.iter().all(|record| record.refuted == 1 && record.good == 0), "{seen:?}");
    // A second proof of the same liar tells nobody anything.
    let (mut ctx, _, delegations) = market.parts();
    delegations.spreading.found(3, liar, (2, 0), &mut delegations.components, &mut ctx);
    market.run(Time::from_seconds(60), u64::MAX);
    assert_eq!(market.figures()["proof_runs"], honest as f64);
}

#[test]
fn an_event_is_small() {
    assert!(size_of::<super::Event>() <= 24, "{}", size_of::<super::Event>());
    assert!(size_of::<Happens>() <= 64, "{}", size_of::<Happens>());
}

#[test]
fn providers_say_what_they_are_like() {
    let mut draws = Streams::new(4).of("conduct", 0);
    let mut ask = |conduct, canary, effect, before| says(conduct, canary, effect, before, &mut draws);
    let (pure, writes) = (Effect::Pure, Effect::Writes);
    assert_eq!(ask(Conduct::Honest, false, writes, 9), Said::Truth);
    assert_eq!(ask(Conduct::Lies, true, pure, 0), Said::Lie);
    assert_eq!(ask(Conduct::Colludes, false, pure, 0), Said::RingsLie);
    assert_eq!(ask(Conduct::Turns { after: 3 }, false, pure, 2), Said::Truth);
    assert_eq!(ask(Conduct::Turns { after: 3 }, true, pure, 3), Said::Lie);
    assert_eq!(ask(Conduct::TellsCanaries { probability: 1.0 }, true, pure, 0), Said::Truth);
    assert_eq!(ask(Conduct::TellsCanaries { probability: 1.0 }, false, pure, 0), Said::Lie);
    assert_eq!(ask(Conduct::LiesOfTheWorld, false, pure, 0), Said::Truth);
    assert_eq!(ask(Conduct::LiesOfTheWorld, false, writes, 0), Said::OfTheWorld);
    let lies =
        (0..9_000).filter(|_| ask(Conduct::LiesOneIn { one_in: 3 }, false, pure, 0) == Said::Lie).count();
    assert!((2_700..3_300).contains(&lies), "{lies}");
    assert!(Said::OfTheWorld.replays() && !Said::OfTheWorld.is_right());
}
