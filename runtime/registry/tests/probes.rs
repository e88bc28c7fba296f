//! Which offers are to be probed and when, and for how long what a probe found out holds.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

#[path = "../../discovery/tests/common/mod.rs"]
mod common;

use actum_discovery::reconcile::StatementDigest;
use actum_model::{id::sha256, *};
use actum_registry::*;
use common::*;
use std::{collections::BTreeSet, net::IpAddr};
use tempfile::TempDir;

/// When descriptors in these tests expire.
const LATE: u64 = NOW + 86_400;

fn empty() -> (TempDir, Registry) {
    let dir = TempDir::new().unwrap();
    let registry = Registry::open(dir.path(), RegistryLimits::default(), NOW).unwrap();
    (dir, registry)
}

fn words(provider: u8) -> Descriptor {
    Descriptor { exp: LATE, ..plain(provider, "words") }
}

/// The digest that names a descriptor's offer.
fn digest(provider: u8, descriptor: Descriptor) -> StatementDigest {
    sha256(sign(provider, descriptor).bytes())
}

/// Takes an offer in, and gives back its name.
fn take(registry: &Registry, provider: u8, descriptor: Descriptor) -> StatementDigest {
    let signed = sign(provider, descriptor);
    registry.observe_descriptor(&signed, NOW).unwrap();
    registry.observe_lease(&sign(provider, plain_lease(provider)), NOW).unwrap();
    sha256(signed.bytes())
}

/// Refreshes the leases of all providers, which are numbered from 1 on.
fn renew(registry: &Registry, now: u64) {
    for n in (1..).take(registry.stats().providers) {
        let lease = Lease { seq: 2 + now - NOW, nbf: now, exp: now + 600, ..plain_lease(n) };
        registry.observe_lease(&sign(n, lease), now).unwrap();
    }
}

/// The providers of all that is to be probed, in the order of one round.
fn due(registry: &Registry, now: u64) -> Vec<Did> {
    renew(registry, now);
    let mut asked = Vec::new();
    while let Some(offer) = registry.to_probe(now, |provider, _| !asked.contains(provider)) {
        asked.push(offer.descriptor().payload().iss);
    }
    asked
}

fn dids<const N: usize>(providers: [u8; N]) -> Vec<Did> {
    providers.map(|n| key(n).did()).to_vec()
}

#[test]
fn what_an_offer_said_before_was_probed_and_not_what_it_says_now() {
    let (dir, registry) = empty();
    let (release, did) = (words(1).release, key(1).did());
    let first = take(&registry, 1, words(1));
    take(&registry, 2, words(2));
    assert!(registry.probe_result(&first, Probe::Answered, NOW));
    // The same again, with another number and other times.
    let again = Descriptor { seq: 2, nbf: NOW + 1, exp: LATE + 1, ..words(1) };
    registry.observe_descriptor(&sign(1, again.clone()), NOW).unwrap();
    assert_eq!((registry.probed(&did, &release), registry.stats().answering), (Some(true), 1));
    // Anything else, be it nothing that is searched for.
    let changes: [fn(Descriptor) -> Descriptor; 5] = [
        |d| Descriptor { component: ComponentId::of(b"another"), ..d },
        |d| Descriptor { intent: "Does something else".to_owned(), ..d },
        |d| Descriptor { price: 7, ..d },
        |d| Descriptor { public: false, ..d },
        |d| Descriptor { profile: ProfileId::of(b"another"), ..d },
    ];
    let mut said = again;
    for (n, change) in (0..).zip(changes) {
        let before = digest(1, said.clone());
        assert!(registry.probe_result(&before, Probe::Answered, NOW));
        said = change(Descriptor { seq: 3 + n, ..said });
        registry.observe_descriptor(&sign(1, said.clone()), NOW).unwrap();
        assert_eq!((registry.probed(&did, &release), registry.stats().answering), (None, 0), "change {n}");
        assert!(due(&registry, NOW).contains(&did), "change {n}");
        // A probe of what it said before may end now.
        assert!(!registry.probe_result(&before, Probe::Answered, NOW));
        assert_eq!(registry.probed(&did, &release), None);
    }
    registry.commit().unwrap();
    drop(registry);
    let registry = Registry::open(dir.path(), RegistryLimits::default(), NOW).unwrap();
    assert_eq!((registry.probed(&did, &release), registry.stats().answering), (None, 0));
}

#[test]
fn one_that_answered_is_asked_again_after_an_hour_and_stands_until_then() {
    let (_dir, registry) = empty();
    let offer = take(&registry, 1, words(1));
    assert!(registry.probe_result(&offer, Probe::Answered, NOW));
    assert!(due(&registry, NOW + PROBED_FOR - 1).is_empty());
    assert_eq!(due(&registry, NOW + PROBED_FOR), dids([1]));
    assert_eq!(registry.probed(&key(1).did(), &words(1).release), Some(true));
    assert!(registry.probe_result(&offer, Probe::Silent, NOW + PROBED_FOR));
    assert_eq!(registry.probed(&key(1).did(), &words(1).release), Some(false));
}

#[test]
fn those_never_probed_come_first_then_those_that_answered_then_the_silent() {
    let (_dir, registry) = empty();
    let offers = [1, 2, 3, 4, 5].map(|n| take(&registry, n, words(n)));
    assert_eq!(due(&registry, NOW), dids([1, 2, 3, 4, 5]));
    registry.probe_result(&offers[0], Probe::Silent, NOW);
    registry.probe_result(&offers[1], Probe::Answered, NOW);
    registry.probe_result(&offers[2], Probe::Silent, NOW + 1);
    assert_eq!(due(&registry, NOW), dids([4, 5]));
    let later = due(&registry, NOW + PROBED_FOR);
    let (first, second, third) = (&later[..2], &later[2..3], &later[3..]);
    let set = |dids: &[Did]| dids.iter().copied().collect::<BTreeSet<_>>();
    assert_eq!(set(first), set(&dids([4, 5])));
    assert_eq!(second, dids([2]));
    assert_eq!(third, dids([1, 3]));
    // One that comes meanwhile is never behind those.
    take(&registry, 6, words(6));
    renew(&registry, NOW + PROBED_FOR);
    let found = registry.to_probe(NOW + PROBED_FOR, |did, _| *did != key(4).did() && *did != key(5).did());
    assert_eq!(found.unwrap().lease().payload().iss, key(6).did());
}

#[test]
fn one_that_is_silent_is_asked_half_as_often_each_time() {
    let (_dir, registry) = empty();
    let offer = take(&registry, 1, words(1));
    let mut now = NOW;
    for wait in [SILENT_FOR, 2 * SILENT_FOR, 4 * SILENT_FOR, 8 * SILENT_FOR] {
        assert!(registry.probe_result(&offer, Probe::Silent, now));
        assert!(due(&registry, now + wait - 1).is_empty());
        now += wait;
        assert_eq!(due(&registry, now), dids([1]));
    }
    for _ in 0..4 {
        registry.probe_result(&offer, Probe::Silent, now);
        now += SILENT_AT_MOST;
        assert_eq!(due(&registry, now), dids([1]), "it is never given up");
    }
    // Once it answered, it begins anew.
    registry.probe_result(&offer, Probe::Answered, now);
    registry.probe_result(&offer, Probe::Silent, now);
    assert_eq!(due(&registry, now + SILENT_FOR), dids([1]));
}

#[test]
fn one_that_has_no_room_is_asked_later_and_does_not_live_on_an_old_answer() {
    let (_dir, registry) = empty();
    let (did, release) = (key(1).did(), words(1).release);
    let offer = take(&registry, 1, words(1));
    assert!(registry.probe_result(&offer, Probe::Busy, NOW));
    assert_eq!(registry.probed(&did, &release), None);
    assert!(due(&registry, NOW + SILENT_FOR - 1).is_empty());
    assert_eq!(due(&registry, NOW + SILENT_FOR), dids([1]));
    registry.probe_result(&offer, Probe::Answered, NOW);
    for _ in 0..6 {
        registry.probe_result(&offer, Probe::Busy, NOW + PROBED_FOR);
        assert_eq!(registry.probed(&did, &release), Some(true));
    }
    registry.probe_result(&offer, Probe::Busy, NOW + PROBED_FOR);
    assert_eq!((registry.probed(&did, &release), registry.stats().answering), (None, 0));
}

#[test]
fn who_may_not_be_probed_now_is_passed_over_and_comes_later() {
    let (dir, registry) = empty();
    for (n, address) in
        [(1, "/ip4/192.0.2.1/tcp/1"), (2, "/dns4/a.example/tcp/1"), (3, "/ip6/2001:db8::1/tcp/1")]
    {
        registry.observe_descriptor(&sign(n, words(n)), NOW).unwrap();
        let lease = Lease { addrs: vec![address.to_owned()], ..plain_lease(n) };
        registry.observe_lease(&sign(n, lease), NOW).unwrap();
    }
    let at = |registry: &Registry, ip: Option<&str>| {
        let ip = ip.map(|ip| ip.parse::<IpAddr>().unwrap());
        let found = registry.to_probe(NOW, |_, at| at == ip);
        found.map(|offer| offer.descriptor().payload().iss)
    };
    let each = |registry: &Registry| {
        assert_eq!(at(registry, Some("192.0.2.1")), Some(key(1).did()));
        assert_eq!(at(registry, None), Some(key(2).did()));
        assert_eq!(at(registry, Some("2001:db8::1")), Some(key(3).did()));
        assert_eq!(at(registry, Some("192.0.2.2")), None);
    };
    each(&registry);
    assert!(registry.to_probe(NOW, |_, _| false).is_none());
    registry.commit().unwrap();
    drop(registry);
    // Where a provider can be reached is known after a restart too.
    each(&Registry::open(dir.path(), RegistryLimits::default(), NOW).unwrap());
}

#[test]
fn after_a_restart_probes_are_spread_and_none_is_forgotten() {
    let (dir, registry) = empty();
    for n in 1..=30 {
        let offer = take(&registry, n, words(n));
        let ended = if n > 20 { Probe::Silent } else { Probe::Answered };
        registry.probe_result(&offer, ended, NOW);
    }
    registry.commit().unwrap();
    drop(registry);
    let registry = Registry::open(dir.path(), RegistryLimits::default(), NOW).unwrap();
    assert!(due(&registry, NOW).len() <= 2);
    let all = due(&registry, NOW + PROBED_FOR);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 30);
    let silent: BTreeSet<_> = (21..=30).map(|n| key(n).did()).collect();
    assert!(all[20..].iter().all(|did| silent.contains(did)), "those that answered come first");
}
