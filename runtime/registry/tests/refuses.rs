//! One function a refusal, with its code; and the index in memory, which takes and refuses the same.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

#[path = "../../discovery/tests/common/mod.rs"]
mod common;

use actum_discovery::{CLOCK_SKEW, Index, IndexLimits, Observed, Refused};
use actum_model::*;
use actum_registry::*;
use common::*;
use proptest::prelude::*;
use tempfile::TempDir;

fn with(limits: RegistryLimits) -> (TempDir, Registry) {
    let dir = TempDir::new().unwrap();
    let registry = Registry::open(dir.path(), limits, NOW).unwrap();
    (dir, registry)
}

fn empty() -> (TempDir, Registry) {
    with(RegistryLimits::default())
}

fn code<T: std::fmt::Debug>(result: Result<T, RegistryError>) -> &'static str {
    result.unwrap_err().code()
}

fn count(registry: &Registry, now: u64) -> usize {
    registry.commit().unwrap();
    registry.search(&Query { limit: 50, ..query("") }, now).unwrap().len()
}

#[test]
fn bytes_that_are_no_statement_or_another_or_forged() {
    let (_dir, registry) = empty();
    assert_eq!(code(registry.observe(b"", NOW)), "bad-envelope");
    assert_eq!(code(registry.observe(sign(50, query("words")).bytes(), NOW)), "bad-envelope");
    let mut forged = sign(1, plain_lease(1)).bytes().to_vec();
    forged[10] ^= 1;
    assert_eq!(code(registry.observe(&forged, NOW)), "bad-envelope");
    assert_eq!(code(registry.observe(sign(2, plain(1, "words")).bytes(), NOW)), "bad-envelope");
    assert_eq!(registry.stats(), Stats::default());
    assert_eq!(registry.observe(sign(1, plain(1, "words")).bytes(), NOW).unwrap(), Observed::New);
    assert_eq!(registry.observe(sign(1, plain_lease(1)).bytes(), NOW).unwrap(), Observed::New);
    assert_eq!(count(&registry, NOW), 1);
}

#[test]
fn what_expired_or_begins_too_far_ahead() {
    let (_dir, registry) = empty();
    let descriptor = sign(1, plain(1, "words"));
    assert_eq!(code(registry.observe_descriptor(&descriptor, NOW + 3_600)), "expired");
    assert_eq!(code(registry.observe_lease(&sign(1, plain_lease(1)), NOW + 600)), "expired");
    let early = NOW - CLOCK_SKEW - 1;
    assert_eq!(code(registry.observe_descriptor(&descriptor, early)), "not-yet-valid");
    assert_eq!(registry.stats(), Stats::default());
}

#[test]
fn an_offer_of_two_providers() {
    let (_dir, registry) = empty();
    let mixed = Offer { lease: offer(2, plain(2, "words")).lease, ..offer(1, plain(1, "words")) };
    assert_eq!(code(registry.observe_offer(&mixed, NOW)), "two-providers");
    assert_eq!(registry.stats(), Stats::default());
}

/// Tells how a probe of this descriptor's offer ended.
fn probed(registry: &Registry, descriptor: &Signed<Descriptor>, ended: Probe) {
    assert!(registry.probe_result(&id::sha256(descriptor.bytes()), ended, NOW));
}

/// Takes a descriptor in, and tells how its probe ended.
fn take(registry: &Registry, descriptor: Descriptor, provider: u8, ended: Probe) {
    let descriptor = sign(provider, descriptor);
    registry.observe_descriptor(&descriptor, NOW).unwrap();
    probed(registry, &descriptor, ended);
}

/// Whether a provider's offer of a name is held.
fn holds(registry: &Registry, provider: u8, name: &str) -> bool {
    registry.statements(&[id::sha256(sign(provider, plain(provider, name)).bytes())]).len() == 1
}

#[test]
fn one_provider_more_than_fit_where_all_answered_until_another_expires() {
    let (_dir, registry) = with(RegistryLimits { providers: 2, ..RegistryLimits::default() });
    for provider in [1, 2] {
        registry.observe_lease(&sign(provider, plain_lease(provider)), NOW).unwrap();
        let descriptor = Descriptor { exp: NOW + 600, ..plain(provider, "words") };
        take(&registry, descriptor, provider, Probe::Answered);
    }
    assert_eq!(code(registry.observe_lease(&sign(3, plain_lease(3)), NOW)), "too-many-providers");
    assert_eq!(code(registry.observe_descriptor(&sign(3, plain(3, "words")), NOW)), "too-many-providers");
    registry.observe_lease(&sign(1, Lease { seq: 2, ..plain_lease(1) }), NOW).unwrap();
    let later = Lease { nbf: NOW + 660, exp: NOW + 900, ..plain_lease(3) };
    registry.observe_lease(&sign(3, later), NOW + 660).unwrap();
    assert_eq!(registry.stats().providers, 1);
}

#[test]
fn a_provider_that_never_answered_goes_for_one_that_announces_itself() {
    let limits = RegistryLimits { providers: 3, ..RegistryLimits::default() };
    let (dir, registry) = with(limits);
    take(&registry, plain(1, "a"), 1, Probe::Answered);
    // One that has a silent offer beside one never probed stands as the latter.
    take(&registry, plain(2, "a"), 2, Probe::Silent);
    registry.observe_descriptor(&sign(2, plain(2, "b")), NOW).unwrap();
    take(&registry, plain(3, "a"), 3, Probe::Silent);
    registry.observe_lease(&sign(3, plain_lease(3)), NOW).unwrap();
    registry.commit().unwrap();
    drop(registry);
    let registry = Registry::open(dir.path(), limits, NOW).unwrap();
    // The silent one, with all it said.
    registry.observe_offer(&offer(4, plain(4, "a")), NOW).unwrap();
    assert_eq!((registry.stats().providers, registry.stats().descriptors), (3, 4));
    assert!(!holds(&registry, 3, "a") && holds(&registry, 2, "b"));
    let lease = id::sha256(sign(3, plain_lease(3)).bytes());
    assert!(registry.statements(&[lease]).is_empty());
    // Then the oldest of those never probed; and one of which nothing is known but a tombstone pushes nobody out.
    let tombstone = Tombstone { iss: key(6).did(), release: None, seq: 1, nbf: NOW, exp: NOW + 60 };
    assert_eq!(code(registry.observe_tombstone(&sign(6, tombstone), NOW)), "too-many-providers");
    registry.observe_lease(&sign(5, plain_lease(5)), NOW).unwrap();
    assert!(!holds(&registry, 2, "a") && !holds(&registry, 2, "b") && holds(&registry, 4, "a"));
    assert_eq!((registry.stats().providers, registry.stats().descriptors), (3, 2));
    registry.commit().unwrap();
    drop(registry);
    let registry = Registry::open(dir.path(), limits, NOW).unwrap();
    assert_eq!(registry.damage(), None);
    assert_eq!((registry.stats().providers, registry.stats().descriptors), (3, 2));
}

#[test]
fn one_descriptor_more_than_a_provider_may_have_unless_it_is_newer() {
    let (_dir, registry) = empty();
    let limit = RegistryLimits::default().descriptors_per_provider;
    for n in 0..limit {
        let descriptor = Descriptor { seq: 5, ..plain(1, &format!("c{n}")) };
        registry.observe_descriptor(&sign(1, descriptor), NOW).unwrap();
    }
    let more = |seq| sign(1, Descriptor { seq, ..plain(1, "more") });
    assert_eq!(code(registry.observe_descriptor(&more(4), NOW)), "too-many-descriptors");
    assert_eq!(registry.observe_descriptor(&more(6), NOW).unwrap(), Observed::New);
    assert_eq!(registry.stats().descriptors, limit);
}

#[test]
fn one_descriptor_more_than_fit_where_all_answered_until_another_expires() {
    let (_dir, registry) = with(RegistryLimits { descriptors: 3, ..RegistryLimits::default() });
    for (provider, name, exp) in [(1, "a", NOW + 60), (1, "b", NOW + 3_600), (2, "a", NOW + 3_600)] {
        take(&registry, Descriptor { exp, ..plain(provider, name) }, provider, Probe::Answered);
    }
    assert_eq!(code(registry.observe_offer(&offer(3, plain(3, "c")), NOW)), "index-full");
    assert_eq!(registry.stats().providers, 2);
    let newer = Descriptor { seq: 2, ..plain(2, "a") };
    assert_eq!(registry.observe_descriptor(&sign(2, newer), NOW).unwrap(), Observed::Newer);
    registry.observe_offer(&offer(3, plain(3, "c")), NOW + 120).unwrap();
    assert_eq!(registry.stats().descriptors, 3);
}

#[test]
fn the_silent_and_then_the_oldest_never_probed_go_for_an_offer_that_is_announced() {
    let (_dir, registry) = with(RegistryLimits { descriptors: 4, ..RegistryLimits::default() });
    for provider in [1, 2] {
        registry.observe_descriptor(&sign(provider, plain(provider, "a")), NOW).unwrap();
    }
    take(&registry, plain(3, "a"), 3, Probe::Silent);
    take(&registry, plain(4, "a"), 4, Probe::Answered);
    let held = || (1..=8).filter(|n| holds(&registry, *n, "a")).collect::<Vec<_>>();
    registry.observe_offer(&offer(5, plain(5, "a")), NOW).unwrap();
    assert_eq!(held(), [1, 2, 4, 5]);
    for (newcomer, left) in [(6, [2, 4, 5, 6]), (7, [4, 5, 6, 7])] {
        registry.observe_offer(&offer(newcomer, plain(newcomer, "a")), NOW).unwrap();
        assert_eq!(held(), left);
    }
    // They are found as anything else is, and what went is not.
    let found = registry.search(&query("a"), NOW).unwrap();
    assert!(found.is_empty(), "not committed");
    assert_eq!(count(&registry, NOW), 3, "of one there is no lease");
}

#[test]
fn what_another_registry_brings_takes_only_the_room_of_the_silent() {
    let (_dir, registry) = with(RegistryLimits { descriptors: 3, providers: 3, ..RegistryLimits::default() });
    registry.observe_descriptor(&sign(1, plain(1, "a")), NOW).unwrap();
    take(&registry, plain(2, "a"), 2, Probe::Answered);
    let from_registry = |n: u8| registry.observe_from_registry(sign(n, plain(n, "a")).bytes(), NOW);
    // What is free is anybody's.
    assert_eq!(from_registry(3).unwrap(), Observed::New);
    assert_eq!(code(from_registry(4)), "index-full");
    assert_eq!(
        code(registry.observe_from_registry(sign(4, plain_lease(4)).bytes(), NOW)),
        "too-many-providers"
    );
    probed(&registry, &sign(3, plain(3, "a")), Probe::Silent);
    assert_eq!(from_registry(4).unwrap(), Observed::New);
    let held = (1..=4).filter(|n| holds(&registry, *n, "a")).collect::<Vec<_>>();
    assert_eq!(held, [1, 2, 4]);
    // Of those that are known, what is newer is taken whoever brings it.
    let newer = Descriptor { seq: 2, ..plain(1, "a") };
    assert_eq!(registry.observe_from_registry(sign(1, newer).bytes(), NOW).unwrap(), Observed::Newer);
    assert_eq!(code(from_registry(5)), "index-full");
    assert_eq!(registry.observe_descriptor(&sign(5, plain(5, "a")), NOW).unwrap(), Observed::New);
}

#[test]
fn what_its_provider_took_back_now_and_after_a_restart() {
    let tombstone = |release: Option<&str>, seq| {
        let release = release.map(|name| ReleaseId::of(name.as_bytes()));
        sign(1, Tombstone { iss: key(1).did(), release, seq, nbf: NOW, exp: NOW + 3_600 })
    };
    let at = |name: &str, seq| sign(1, Descriptor { seq, ..plain(1, name) });
    let (dir, registry) = empty();
    registry.observe_lease(&sign(1, plain_lease(1)), NOW).unwrap();
    registry.observe_descriptor(&at("words", 5), NOW).unwrap();
    registry.observe_descriptor(&at("lines", 5), NOW).unwrap();
    assert_eq!(count(&registry, NOW), 2);
    assert_eq!(registry.observe(tombstone(Some("words"), 5).bytes(), NOW).unwrap(), Observed::New);
    let found = registry.search(&query("words"), NOW).unwrap();
    assert!(found.is_empty(), "gone before the next commit");
    assert_eq!(count(&registry, NOW), 1);
    drop(registry);
    let registry = Registry::open(dir.path(), RegistryLimits::default(), NOW).unwrap();
    assert_eq!(code(registry.observe_descriptor(&at("words", 5), NOW)), "taken-back");
    assert_eq!(registry.observe_descriptor(&at("words", 6), NOW).unwrap(), Observed::New);
    assert_eq!(registry.observe(tombstone(Some("words"), 5).bytes(), NOW).unwrap(), Observed::Same);
    assert_eq!(registry.observe(tombstone(Some("words"), 4).bytes(), NOW).unwrap(), Observed::Older);
    assert_eq!(count(&registry, NOW), 2);
    assert_eq!(registry.observe(tombstone(None, 9).bytes(), NOW).unwrap(), Observed::New);
    assert_eq!(count(&registry, NOW), 0);
    assert_eq!(code(registry.observe_lease(&sign(1, Lease { seq: 9, ..plain_lease(1) }), NOW)), "taken-back");
    assert_eq!(code(registry.observe_descriptor(&at("lines", 9), NOW)), "taken-back");
    registry.tick(NOW + 3_660).unwrap();
    assert_eq!(registry.stats(), Stats::default());
}

#[test]
fn more_tombstones_than_a_provider_may_have_offers() {
    let (_dir, registry) = with(RegistryLimits { descriptors_per_provider: 2, ..RegistryLimits::default() });
    let tombstone = |n: u8| {
        let release = Some(ReleaseId::of(&[n]));
        sign(1, Tombstone { iss: key(1).did(), release, seq: 1, nbf: NOW, exp: NOW + 3_600 })
    };
    for n in 0..3 {
        registry.observe_tombstone(&tombstone(n), NOW).unwrap();
    }
    assert_eq!(code(registry.observe_tombstone(&tombstone(3), NOW)), "too-many-descriptors");
}

#[test]
fn a_directory_that_another_process_or_handle_has_open() {
    let (dir, registry) = empty();
    assert_eq!(code(Registry::open(dir.path(), RegistryLimits::default(), NOW)), "in-use");
    drop(registry);
    Registry::open(dir.path(), RegistryLimits::default(), NOW).unwrap();
}

#[test]
fn a_directory_that_cannot_be_made() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, b"").unwrap();
    assert_eq!(code(Registry::open(&file, RegistryLimits::default(), NOW)), "io");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]

    #[test]
    fn any_statements_in_any_order_are_taken_as_the_index_in_memory_takes_them(
        steps in prop::collection::vec((1..4_u8, 0..6_u8, 0..4_u64, 0..8_u8), 1..60),
    ) {
        let dir = TempDir::new().unwrap();
        let limits = RegistryLimits { descriptors_per_provider: 4, providers: 3, ..RegistryLimits::default() };
        let open = || Registry::open(dir.path(), limits, NOW).unwrap();
        let mut registry = open();
        let mut index = Index::new(IndexLimits { descriptors_per_provider: 4, providers: 3, ..IndexLimits::default() });
        for (provider, name, seq, kind) in steps {
            let named = format!("c{name}");
            let bytes = match kind {
                0 | 1 => {
                    let lease = Lease { seq, descriptors_seq: seq / 2, load: u32::from(name), ..plain_lease(provider) };
                    sign(provider, lease).bytes().to_vec()
                }
                2 => {
                    let release = (name > 0).then(|| ReleaseId::of(named.as_bytes()));
                    let iss = key(provider).did();
                    let exp = NOW + 60 + u64::from(name);
                    sign(provider, Tombstone { iss, release, seq: seq / 2, nbf: NOW, exp }).bytes().to_vec()
                }
                3 => {
                    registry.commit().unwrap();
                    drop(registry);
                    registry = open();
                    continue;
                }
                _ => {
                    let descriptor = Descriptor { seq, public: kind % 2 == 0, ..plain(provider, &named) };
                    sign(provider, descriptor).bytes().to_vec()
                }
            };
            let shown = |taken: Result<Observed, Refused>| taken.map_err(|e| e.code());
            let here = registry.observe(&bytes, NOW).map_err(|e| e.code());
            prop_assert_eq!(here, shown(index.observe(&bytes, NOW)));
        }
        registry.commit().unwrap();
        let everything = Query { limit: 50, ..query("") };
        let wire = |found: Vec<actum_discovery::Found>| found.iter().map(|f| f.offer.to_wire()).collect::<Vec<_>>();
        prop_assert_eq!(wire(registry.search(&everything, NOW).unwrap()), wire(index.search(&everything, NOW)));
        registry.tick(NOW + 100_000).unwrap();
        prop_assert_eq!(registry.stats(), Stats::default());
    }
}
