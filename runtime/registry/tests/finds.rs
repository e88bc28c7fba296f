//! What a registry finds, and in which order: as the index in memory does, which stands beside it here.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

#[path = "../../discovery/tests/common/mod.rs"]
mod common;

use actum_discovery::{Found, Index, Why};
use actum_model::{descriptor::Offered, *};
use actum_registry::*;
use common::*;
use std::collections::BTreeMap;
use tempfile::TempDir;

fn empty() -> (TempDir, Registry) {
    let dir = TempDir::new().unwrap();
    let registry = Registry::open(dir.path(), RegistryLimits::default(), NOW).unwrap();
    (dir, registry)
}

/// A registry and an index that took the same offers in.
struct Both {
    registry: Registry,
    index: Index,
    _dir: TempDir,
}

impl Both {
    fn of(offers: impl IntoIterator<Item = Offer>) -> Self {
        let (dir, registry) = empty();
        let mut index = Index::default();
        for offer in offers {
            registry.observe_offer(&offer, NOW).unwrap();
            index.observe_offer(&offer, NOW).unwrap();
        }
        registry.commit().unwrap();
        Self { registry, index, _dir: dir }
    }

    /// What both find alike, in the same order: by name, id or filter.
    fn alike(&self, query: &Query) -> Vec<Found> {
        let (found, expected) = (self.registry.search(query, NOW).unwrap(), self.index.search(query, NOW));
        let shown =
            |found: &[Found]| found.iter().map(|f| (f.offer.to_wire(), f.why.clone())).collect::<Vec<_>>();
        assert_eq!(shown(&found), shown(&expected), "{query:?}");
        let wire: Vec<_> = found.iter().map(|f| f.offer.to_wire()).collect();
        assert_eq!(self.registry.offers(query, NOW).unwrap(), wire);
        found
    }
}

fn ten() -> Both {
    Both::of((0..TEN.len()).map(|n| offer(u8::try_from(n + 1).unwrap(), one_of_ten(n))))
}

fn names(found: &[Found]) -> Vec<&str> {
    found.iter().map(|f| f.offer.descriptor().payload().name.as_str()).collect()
}

/// What people type, and what they mean by it.
const MEANT: [(&str, &str); 24] = [
    ("count words in a text", "text-stats"),
    ("make a picture smaller", "thumbnail"),
    ("shrink my photos", "thumbnail"),
    ("turn markdown into a web page", "markdown"),
    ("convert markdown to html", "markdown"),
    ("compare two versions of a text", "text-diff"),
    ("what changed between these files? show differences", "text-diff"),
    ("shorten a long article to a summary", "text-summary"),
    ("keywords of an article", "text-summary"),
    ("sum a column of a spreadsheet", "csv-aggregate"),
    ("sha256 of a file", "digest"),
    ("fingerprint of some data", "digest"),
    ("make a barcode for my web address", "qr-code"),
    ("filter JSON documents", "json-query"),
    ("find all matches of a regular expression", "regex-extract"),
    ("average per group", "csv-aggregate"),
    ("frequent words", "text-stats"),
    ("how many sentences", "text-stats"),
    ("replace what matches a pattern", "regex-extract"),
    ("reshape json", "json-query"),
    ("list headings", "markdown"),
    ("jpeg preview image", "thumbnail"),
    ("patch between two texts", "text-diff"),
    ("verify a checksum", "digest"),
];

#[test]
fn plain_words_find_what_is_meant_at_least_as_often_as_in_memory() {
    let both = ten();
    // The rank of what is meant, as one over its place.
    let worth = |found: &[Found], name: &str| {
        let place = names(found).iter().position(|found| *found == name);
        place.map_or(0.0, |place| 1.0 / (place + 1) as f64)
    };
    let (mut here, mut there) = (0.0, 0.0);
    for (text, name) in MEANT {
        let q = query(text);
        let (found, expected) = (both.registry.search(&q, NOW).unwrap(), both.index.search(&q, NOW));
        let (mine, other) = (worth(&found, name), worth(&expected, name));
        if mine < other {
            println!("{text:?}: {:?}, in memory {:?}", names(&found), names(&expected));
        }
        (here, there) = (here + mine, there + other);
        // The same offers, in whichever order, for the same words.
        let sorted = |found: &[Found]| {
            let whys = found.iter().map(|f| (f.offer.to_wire().descriptor, format!("{:?}", f.why)));
            whys.collect::<BTreeMap<_, _>>()
        };
        assert_eq!(sorted(&found), sorted(&expected), "{text:?}");
    }
    println!("mean reciprocal rank of {}: {:.3}, in memory {:.3}", MEANT.len(), here / 24.0, there / 24.0);
    assert!(here >= there, "{here} against {there}");
    for (text, name) in MEANT.iter().take(15) {
        assert_eq!(names(&both.registry.search(&query(text), NOW).unwrap())[0], *name, "{text:?}");
    }
}

#[test]
fn a_result_says_which_words_matched() {
    let Both { registry, _dir, .. } = ten();
    let found = registry.search(&query("Count the words in a text"), NOW).unwrap();
    assert_eq!(found[0].why, Why::Words(vec!["count".to_owned(), "words".to_owned(), "text".to_owned()]));
    assert!(found.windows(2).all(|w| w[0].score >= w[1].score) && found[0].score > 0);
    assert!(registry.search(&query("xylophone"), NOW).unwrap().is_empty());
    assert!(registry.search(&query("the of and"), NOW).unwrap().is_empty());
}

#[test]
fn a_signatures_words_find_it() {
    let (_dir, registry) = empty();
    let mut described = one_of_ten(9);
    described.functions[0].signature = "make(picture: list<u8>, sepia-tone: bool) -> list<u8>".to_owned();
    registry.observe_offer(&offer(10, described), NOW).unwrap();
    registry.commit().unwrap();
    assert_eq!(names(&registry.search(&query("sepia"), NOW).unwrap()), ["thumbnail"]);
}

#[test]
fn exact_names_and_ids_come_before_words() {
    let mut shouting = plain(20, "loud");
    shouting.intent = "digest digest digest digest".to_owned();
    shouting.tags = vec!["digest".to_owned(); 16];
    let all = (0..TEN.len()).map(|n| offer(u8::try_from(n + 1).unwrap(), one_of_ten(n)));
    let both = Both::of(all.chain([offer(20, shouting)]));
    assert_eq!(names(&both.alike(&query("digest"))), ["digest", "loud"]);
    let digest = one_of_ten(1);
    for text in [digest.release.to_string(), digest.component.to_string(), "digest@1.0.0".to_owned()] {
        assert_eq!(names(&both.alike(&query(&text))), ["digest"]);
    }
    assert!(both.alike(&query("digest@2.0.0")).is_empty());
    assert_eq!(both.alike(&Query { limit: 50, ..query(" ") }).len(), 11);
    assert_eq!(both.alike(&Query { limit: 3, ..query("") }).len(), 3);
}

#[test]
fn a_name_gives_its_highest_version_first_then_who_has_room() {
    let versions = [
        (1, "1.9.0", 0, 1),
        (2, "1.10.0", 4, 4),
        (3, "1.10.0", 3, 4),
        (4, "1.10.0", 0, 0),
        (5, "2.0.0-rc.1", 0, 1),
    ];
    let offers = versions.map(|(provider, version, load, capacity)| {
        let descriptor = Descriptor { version: version.parse().unwrap(), ..plain(provider, "same") };
        let lease = sign(provider, Lease { load, capacity, ..plain_lease(provider) });
        Offer { lease: lease.bytes().to_vec().into(), ..offer(provider, descriptor) }
    });
    let both = Both::of(offers);
    let providers =
        |found: Vec<Found>| found.iter().map(|f| f.offer.lease().payload().iss).collect::<Vec<_>>();
    assert_eq!(providers(both.alike(&query("same"))), [5, 3, 2, 4, 1].map(|n| key(n).did()));
    // By words they are equals.
    assert_eq!(providers(both.registry.search(&query("useful"), NOW).unwrap())[4], key(4).did());
    both.alike(&query("something useful"));
}

#[test]
fn hard_constraints_are_held_whatever_is_asked() {
    let interfaces = ["actum:geo/api@0.1.0", "actum:geo/api@0.2.0", "actum:maps/api@0.1.0"];
    let regions = [None, Some("de"), Some("us"), Some("us-ca"), Some("us-ny")];
    let offers = (1..=60_u8).map(|n| {
        let permission = Permission::ALL[usize::from(n) % Permission::ALL.len()];
        let function = Offered {
            name: format!("{}#locate-{}", interfaces[usize::from(n) % 3], n % 4).parse().unwrap(),
            docs: String::new(),
            signature: String::new(),
        };
        let descriptor = Descriptor {
            price: u64::from(n % 7),
            region: regions[usize::from(n) % 5].map(|r| r.parse().unwrap()),
            permissions: if n % 2 == 0 { [permission].into() } else { Default::default() },
            tiers: Tier::ALL.into_iter().take(usize::from(n) % 5).collect(),
            functions: vec![function],
            ..plain(n, if n % 3 == 0 { "places" } else { "other" })
        };
        offer(n, descriptor)
    });
    let both = Both::of(offers);
    let filters = [
        Filters { function: Some("locate-2".to_owned()), ..Filters::default() },
        Filters { function: Some("actum:geo/api#locate-2".to_owned()), ..Filters::default() },
        Filters { function: Some("actum:geo/api@0.2.0#locate-1".to_owned()), ..Filters::default() },
        Filters { interface: Some("actum:geo/api".to_owned()), ..Filters::default() },
        Filters { interface: Some("actum:geo/api@0.1.0".to_owned()), ..Filters::default() },
        Filters { interface: Some("actum:geo".to_owned()), ..Filters::default() },
        Filters { needs_no: [Permission::Network].into(), ..Filters::default() },
        Filters { needs_no: [Permission::Http, Permission::Files].into(), ..Filters::default() },
        Filters { max_price: Some(2), ..Filters::default() },
        Filters { tiers: [Tier::Canary, Tier::Evidence].into(), ..Filters::default() },
        Filters { region: Some("us".parse().unwrap()), ..Filters::default() },
        Filters { region: Some("us-ca".parse().unwrap()), ..Filters::default() },
        Filters { region: Some("fr".parse().unwrap()), ..Filters::default() },
        Filters { provider: Some(key(9).did()), ..Filters::default() },
        Filters {
            interface: Some("actum:geo/api".to_owned()),
            max_price: Some(4),
            region: Some("us".parse().unwrap()),
            needs_no: [Permission::Http].into(),
            ..Filters::default()
        },
    ];
    let mut found = 0;
    for filters in filters {
        for text in ["", "places", "useful", "something useful for other places"] {
            let q = Query { filters: filters.clone(), limit: 50, ..query(text) };
            let offers = if text.len() > 10 {
                // Two lists of words may order differently; who is among them does not.
                let mut here = both.registry.search(&q, NOW).unwrap();
                assert_eq!(here.len(), both.index.search(&q, NOW).len());
                here.retain(|f| q.filters.check(f.offer.descriptor().payload()).is_ok());
                here
            } else {
                both.alike(&q)
            };
            found += offers.len();
        }
    }
    assert!(found > 500, "{found}");
}

#[test]
fn a_refresh_that_says_the_same_touches_no_document_and_a_lease_never_does() {
    let (dir, registry) = empty();
    registry.observe_offer(&offer(8, one_of_ten(7)), NOW).unwrap();
    registry.commit().unwrap();
    let meta = || std::fs::read(dir.path().join("words/meta.json")).unwrap();
    let before = meta();
    let renewed = Lease { seq: 2, load: 3, nbf: NOW + 300, exp: NOW + 900, ..plain_lease(8) };
    registry.observe_lease(&sign(8, renewed), NOW + 300).unwrap();
    let again = Descriptor { seq: 2, nbf: NOW + 300, exp: NOW + 7_200, ..one_of_ten(7) };
    let again = sign(8, again);
    registry.observe_descriptor(&again, NOW + 300).unwrap();
    registry.commit().unwrap();
    assert_eq!(meta(), before);
    let found = registry.search(&query("count words"), NOW + 700).unwrap();
    assert_eq!(found[0].offer.descriptor().bytes(), again.bytes());
    assert_eq!(found[0].offer.lease().payload().load, 3);
    // Other words do, and the offer never goes missing in between.
    let other =
        Descriptor { seq: 3, intent: "Count and play the xylophone".to_owned(), ..again.into_payload() };
    registry.observe_descriptor(&sign(8, other), NOW + 300).unwrap();
    assert_eq!(names(&registry.search(&query("count"), NOW + 700).unwrap()), ["text-stats"]);
    assert!(registry.search(&query("lines"), NOW + 700).unwrap().is_empty(), "it does not say so any more");
    assert!(registry.search(&query("xylophone"), NOW + 700).unwrap().is_empty());
    registry.commit().unwrap();
    assert_eq!(names(&registry.search(&query("xylophone"), NOW + 700).unwrap()), ["text-stats"]);
    assert_ne!(meta(), before);
}

#[test]
fn an_offer_is_found_while_both_halves_live_and_the_lease_covers_it() {
    let Both { registry, _dir, .. } = ten();
    let found = |now| registry.search(&Query { limit: 50, ..query("") }, now).unwrap().len();
    assert_eq!((found(NOW + 599), found(NOW + 600)), (10, 0));
    let renewed = Lease { seq: 2, descriptors_seq: 1, nbf: NOW + 300, exp: NOW + 900, ..plain_lease(1) };
    registry.observe_lease(&sign(1, renewed.clone()), NOW + 300).unwrap();
    assert_eq!(found(NOW + 600), 1);
    let withdrawn = Lease { seq: 3, descriptors_seq: 2, ..renewed };
    registry.observe_lease(&sign(1, withdrawn), NOW + 301).unwrap();
    assert_eq!(found(NOW + 600), 0);
    registry.tick(NOW + 3_660).unwrap();
    assert_eq!((registry.stats().providers, registry.stats().descriptors), (0, 0));
}

/// Tells how a probe of one provider's offer ended; says whether there is one.
fn probe(registry: &Registry, provider: &Did, release: &ReleaseId, ended: Probe) -> bool {
    let offer = registry.offer(provider, release, NOW);
    offer.is_some_and(|offer| registry.probe_result(&id::sha256(offer.descriptor().bytes()), ended, NOW))
}

#[test]
fn probed_offers_come_first_unprobed_ones_after_and_failed_ones_not_at_all() {
    let (_dir, registry) = empty();
    for n in 1..=40_u8 {
        let mut descriptor = plain(n, if n == 40 { "xylophone" } else { "music" });
        descriptor.intent = format!("Plays the xylophone {}", "and more ".repeat(usize::from(n)));
        registry.observe_offer(&offer(n, descriptor), NOW).unwrap();
    }
    registry.commit().unwrap();
    let search = |limit| {
        let found = registry.search(&Query { limit, ..query("xylophone") }, NOW).unwrap();
        found.iter().map(|f| f.offer.lease().payload().iss).collect::<Vec<_>>()
    };
    let (music, xylophone) = (plain(1, "music").release, plain(40, "xylophone").release);
    let order = search(50);
    assert_eq!((order.len(), order[0]), (40, key(40).did()));
    let pick = |places: [usize; 5]| places.map(|n| order[n]);
    assert_eq!(registry.probed(&order[30], &music), None);
    for n in [20, 30] {
        assert!(probe(&registry, &order[n], &music, Probe::Answered));
    }
    assert_eq!(search(5), pick([20, 30, 0, 1, 2]));
    assert!(probe(&registry, &order[0], &xylophone, Probe::Silent));
    assert!(probe(&registry, &order[1], &music, Probe::Silent));
    assert_eq!(search(5), pick([20, 30, 2, 3, 4]));
    // Probed again, it is back, and an exact match before words.
    assert!(probe(&registry, &order[0], &xylophone, Probe::Answered));
    assert_eq!(search(5), pick([0, 20, 30, 2, 3]));
    assert!(!probe(&registry, &order[2], &xylophone, Probe::Answered), "it does not offer that");
    assert_eq!(registry.stats().answering, 3);
    let asked = (0..36).filter_map(|_| registry.to_probe(NOW, |_, _| true));
    let mut asked: Vec<_> = asked.map(|o| o.lease().payload().iss).collect();
    asked.sort();
    let mut unprobed: Vec<_> = (2..40).filter(|n| ![20, 30].contains(n)).map(|n| order[n]).collect();
    unprobed.sort();
    assert_eq!(asked, unprobed);
}

#[test]
fn a_flood_that_nobody_answers_for_hides_no_one_who_answers() {
    let (_dir, registry) = empty();
    let mut honest = plain(1, "one-of-few-words");
    honest.intent = format!("Plays a xylophone {}", "and other instruments ".repeat(20));
    registry.observe_offer(&offer(1, honest.clone()), NOW).unwrap();
    assert!(probe(&registry, &honest.iss, &honest.release, Probe::Answered));
    for n in 0..2_000_u32 {
        let secret = SecretKey::from_seed(&actum_model::id::sha256(&n.to_be_bytes()));
        let descriptor = Descriptor {
            iss: secret.did(),
            intent: "Xylophone xylophone".to_owned(),
            tags: vec!["xylophone".to_owned(); 4],
            ..plain(1, "xylophone")
        };
        registry.observe_descriptor(&Signed::sign(descriptor, &secret), NOW).unwrap();
        let lease = Lease { iss: secret.did(), ..plain_lease(1) };
        registry.observe_lease(&Signed::sign(lease, &secret), NOW).unwrap();
    }
    registry.commit().unwrap();
    // Whether the flood matches exactly, by one word, or by more of them.
    for text in ["xylophone", "play xylophone", "xylophone useful instruments"] {
        let found = registry.search(&Query { limit: 3, ..query(text) }, NOW).unwrap();
        assert_eq!((found.len(), found[0].offer.lease().payload().iss), (3, honest.iss), "{text}");
    }
}

#[test]
fn of_a_thousand_equals_those_that_have_room_come_first_however_the_library_skips() {
    let (_dir, registry) = empty();
    for n in 0..1_000_u32 {
        let secret = SecretKey::from_seed(&actum_model::id::sha256(&n.to_be_bytes()));
        let descriptor =
            Descriptor { iss: secret.did(), intent: "Draws a marimba".to_owned(), ..plain(1, "same") };
        // Ten have room, anywhere among them.
        let load = u32::from(n * 7 % 1_000 >= 10);
        let lease = Lease { iss: secret.did(), load, capacity: 1, ..plain_lease(1) };
        registry.observe_descriptor(&Signed::sign(descriptor, &secret), NOW).unwrap();
        registry.observe_lease(&Signed::sign(lease, &secret), NOW).unwrap();
        if n % 90 == 0 {
            registry.commit().unwrap();
        }
    }
    registry.commit().unwrap();
    for text in ["marimba", "draws marimba", "same"] {
        let found = registry.search(&query(text), NOW).unwrap();
        let loads: Vec<_> = found.iter().map(|f| f.offer.lease().payload().load).collect();
        assert_eq!(loads, [0; 10], "{text}");
    }
}

#[test]
fn statements_are_given_to_a_registry_that_lacks_them() {
    let Both { registry: there, _dir: _there, .. } = ten();
    let (_dir, here) = empty();
    let (lacking, had) = (there.holdings(NOW), here.holdings(NOW));
    assert_eq!((lacking.len(), had.len()), (20, 0));
    let (mut begins, first) = actum_discovery::reconcile::Initiator::begin(&had).unwrap();
    let answer = actum_discovery::reconcile::Responder::new(&lacking).unwrap().answer(&first).unwrap();
    let told = begins.take(&answer).unwrap();
    let statements = there.statements(&told.lacking_here);
    assert_eq!(statements.len(), 20);
    for statement in statements {
        here.observe(&statement, NOW).unwrap();
    }
    assert_eq!(here.holdings(NOW).len(), 20);
    assert!(here.statements(&[[7; 32]]).is_empty());
    here.commit().unwrap();
    assert_eq!(names(&here.search(&query("count words"), NOW).unwrap())[0], "text-stats");
    let tombstone = Tombstone { iss: key(1).did(), release: None, seq: 5, nbf: NOW, exp: NOW + 60 };
    let tombstone = sign(1, tombstone);
    here.observe(tombstone.bytes(), NOW).unwrap();
    let id = actum_model::id::sha256(tombstone.bytes());
    assert_eq!(here.statements(&[id]), [tombstone.bytes()]);
    assert_eq!((here.holdings(NOW).len(), here.holdings(NOW + 60).len()), (19, 18));
}
