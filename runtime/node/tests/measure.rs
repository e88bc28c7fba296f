//! What the real node takes and weighs: everything is measured, and nothing is what no node could do.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use actum_node::{
    Home,
    measure::{Homes, Subject, measure},
    publish::{Described, publish},
};
use std::{sync::Arc, time::Duration};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_is_measured_between_real_nodes() {
    let dir = tempfile::tempdir().unwrap();
    let stats = actum_capabilities::find("text-stats").unwrap();
    let path = dir.path().join("text-stats.wasm");
    std::fs::write(&path, stats.component).unwrap();
    let described = Described {
        name: Some("text-stats".to_owned()),
        intent: Some("Count the words of a text".to_owned()),
        interfaces: vec!["actum:text-stats/text-stats@0.1.0".to_owned()],
        ..Described::default()
    };
    let author = Home::open(&dir.path().join("author")).unwrap();
    let release = publish(&author, &path, described).unwrap();
    let home = |name: &str| {
        let home = Home::open(&dir.path().join(name)).unwrap();
        home.store().put_component(stats.component).unwrap();
        home.store().put_release(&release).unwrap();
        Arc::new(home)
    };
    let homes = Homes { registry: home("registry"), provider: home("provider"), requester: home("you") };
    let text = "To be, or not to be, that is the question. ".repeat(47);
    let args = serde_json::json!({ "text": text });
    let subject =
        Subject { component: stats.component, release: &release, function: "count-words", args: &args };
    let mut heard = Vec::new();
    let measured = measure(&homes, &subject, 1, &mut |what| heard.push(what.to_owned())).await.unwrap();
    assert!(heard.len() >= 4, "{heard:?}");

    let (link, takes, weighs) = (measured.link, measured.takes, measured.weighs);
    let long = Duration::from_secs(5);
    for (name, took) in [
        ("one way", link.one_way),
        ("sign", takes.sign),
        ("verify", takes.verify),
        ("admit", takes.admit),
        ("execute", takes.execute),
        ("replay", takes.replay),
        ("search", takes.search),
    ] {
        assert!(took > Duration::ZERO && took < long, "{name}: {took:?} in {measured:?}");
    }
    assert!(takes.judge < long && takes.replay > takes.execute / 4, "{measured:?}");
    assert!(link.bytes_per_second > 1_000_000 && link.sigma.is_finite() && takes.execute_sigma.is_finite());
    assert!(takes.admit >= takes.sign, "a provider signs what it admits");

    let len = |n: usize| n as u64;
    assert_eq!((weighs.component, weighs.fuel > 0), (len(stats.component.len()), true));
    assert!(weighs.args > len(text.len()) && weighs.args < len(text.len()) + 64, "{weighs:?}");
    // Each carries a signature, a key and a nonce at least.
    for (name, bytes) in [("call", weighs.call), ("done", weighs.done), ("page", weighs.page)] {
        assert!((150..4_000).contains(&bytes), "{name}: {bytes}");
    }
    // These carry nothing of their own but names.
    for (name, bytes) in [
        ("announce", weighs.announce),
        ("announced", weighs.announced),
        ("find", weighs.find),
        ("offer", weighs.offer),
        ("renew", weighs.renew),
        ("get_ads", weighs.get_ads),
        ("ads", weighs.ads),
        ("reconcile", weighs.reconcile),
    ] {
        assert!((9..100).contains(&bytes), "{name}: {bytes}");
    }
    assert!(weighs.register > 84 && weighs.registered > 52, "key and ticket, ticket: {weighs:?}");
    assert!(weighs.proof > weighs.args && weighs.proof < weighs.component, "{weighs:?}");
}
