//! What no figure shows.

use super::super::Market;
use crate::{
    Time,
    params::{Conduct, Params},
    profile::Profile,
};
use actum_model::{Filters, Query};
use actum_trust::RiskPolicy;
use serde_bytes::ByteArray;

#[test]
fn what_was_never_probed_is_given_out_after_what_answered_and_what_is_silent_never() {
    let params = Params {
        peers: 40,
        alpha: 0.5,
        hostile: Conduct::NeverAnswers,
        workflows_per_hour: 0.0,
        ..Params::default()
    };
    let mut market = Market::new(params, RiskPolicy::default(), Profile::measured().unwrap(), 1);
    let mut given = |seconds: u64| {
        market.run(Time::from_seconds(seconds), u64::MAX);
        let registry = &market.directory.registries[0];
        let query = Query {
            iss: registry.did,
            aud: registry.did,
            text: market.population.capabilities[0].intent.clone(),
            filters: Filters::default(),
            limit: 30,
            nonce: ByteArray::new([0; 12]),
        };
        let found = registry.search(&query, Time::from_seconds(seconds).unix_seconds());
        let of = |did| market.population.peer(market.population.by_did(did).unwrap()).unwrap().conduct;
        found.iter().map(|offer| of(&offer.descriptor().payload().iss)).collect::<Vec<_>>()
    };
    // Probes of those who never answer take their time: most are still to come.
    let soon = given(10);
    let first = soon.iter().position(|conduct| *conduct == Conduct::NeverAnswers).unwrap();
    assert!(first > 0 && soon.len() == 30, "{soon:?}");
    assert!(
        soon[first..].iter().filter(|conduct| **conduct == Conduct::NeverAnswers).count() > 5,
        "{soon:?}"
    );
    let later = given(1_200);
    assert_eq!(later, [Conduct::Honest; 20], "{later:?}");
}
