//! What a query finds, and in which order.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

mod common;

use actum_discovery::*;
use actum_model::*;
use common::*;
use std::{cell::Cell, collections::BTreeSet};

fn ten() -> Index {
    let mut index = Index::default();
    for n in 0..TEN.len() {
        let provider = u8::try_from(n + 1).unwrap();
        index.observe_offer(&offer(provider, one_of_ten(n)), NOW).unwrap();
    }
    index
}

fn names(found: &[Found]) -> Vec<&str> {
    found.iter().map(|f| f.offer.descriptor().payload().name.as_str()).collect()
}

fn first(text: &str) -> String {
    let found = ten().search(&query(text), NOW);
    names(&found).first().copied().unwrap_or_default().to_owned()
}

#[test]
fn plain_words_find_the_capability_a_person_means() {
    let meant = [
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
    ];
    for (text, name) in meant {
        assert_eq!(first(text), name, "{text:?}");
    }
}

#[test]
fn a_result_says_which_words_matched() {
    let found = ten().search(&query("Count the words in a text"), NOW);
    assert_eq!(found[0].why, Why::Words(vec!["count".to_owned(), "words".to_owned(), "text".to_owned()]));
    assert!(found.windows(2).all(|w| w[0].score >= w[1].score));
    assert!(ten().search(&query("xylophone"), NOW).is_empty());
    assert!(ten().search(&query("the of and"), NOW).is_empty());
}

/// Ranks as usual, and counts what was looked at and what was scored.
#[derive(Default)]
struct Counting {
    looked_at: Cell<usize>,
    scored: Cell<usize>,
}

impl Ranker for Counting {
    fn rank(&self, query: &str, corpus: &Corpus<'_>) -> Ranking {
        let ranking = WordRanker.rank(query, corpus);
        self.looked_at.set(corpus.looked_at());
        self.scored.set(ranking.matches.len());
        ranking
    }
}

#[test]
fn a_long_query_over_many_offers_looks_only_at_those_that_hold_its_first_words() {
    let mut index = Index::default();
    for n in 0..5_000_usize {
        let provider = u8::try_from(n / 64 + 1).unwrap();
        let mut descriptor = plain(provider, &format!("c{n}"));
        descriptor.intent =
            format!("{} {}", "zebra ".repeat(60), if n % 1_000 == 0 { "xylophone" } else { "" });
        index.observe_descriptor(sign(provider, descriptor), NOW).unwrap();
    }
    for provider in 1..=79 {
        index.observe_lease(sign(provider, plain_lease(provider)), NOW).unwrap();
    }
    let count = |text: &str| {
        let counting = Counting::default();
        let found = index.search_with(&counting, &query(text), NOW).len();
        (found, counting.scored.get(), counting.looked_at.get())
    };
    assert_eq!(count("xylophone"), (5, 5, 5));
    assert_eq!(count("zebra"), (10, 5_000, 5_000));
    // Each of a hundred words is different; those after the first twelve do not count.
    let others = (0..QUERY_TERMS - 1).map(|n| format!("q{n} ")).collect::<String>();
    let many = (0..88).map(|n| format!("r{n} ")).collect::<String>();
    assert_eq!(count(&format!("{others} xylophone {many} zebra")), (5, 5, 5));
    assert_eq!(count(&format!("{others} quiet xylophone {many} zebra")), (0, 0, 0));
    // One word typed a hundred times is one term.
    assert_eq!(count(&format!("{} xylophone", "zebra ".repeat(80))), (10, 5_000, 5_005));
}

#[test]
fn what_was_replaced_or_forgotten_is_no_longer_found() {
    let mut index = ten();
    let say = |seq, intent: &str| Descriptor { seq, intent: intent.to_owned(), ..plain(1, "same") };
    index.observe_descriptor(sign(1, say(1, "play the xylophone")), NOW).unwrap();
    assert_eq!(names(&index.search(&query("xylophone"), NOW)), ["same"]);
    index.observe_descriptor(sign(1, say(2, "play the trumpet")), NOW).unwrap();
    assert!(index.search(&query("xylophone"), NOW).is_empty());
    assert_eq!(names(&index.search(&query("trumpet"), NOW)), ["same"]);
    index.expire(NOW + 3_600);
    let again = Descriptor { nbf: NOW + 3_600, exp: NOW + 3_700, ..say(3, "play the drum") };
    index.observe_descriptor(sign(1, again), NOW + 3_600).unwrap();
    let lease = Lease { seq: 2, nbf: NOW + 3_600, exp: NOW + 3_700, ..plain_lease(1) };
    index.observe_lease(sign(1, lease), NOW + 3_600).unwrap();
    assert!(index.search(&query("trumpet"), NOW + 3_600).is_empty());
    assert_eq!(names(&index.search(&query("drum"), NOW + 3_600)), ["same"]);
}

#[test]
fn exact_names_and_ids_come_before_words() {
    let mut index = ten();
    let mut shouting = plain(20, "loud");
    shouting.intent = "digest digest digest digest".to_owned();
    shouting.tags = vec!["digest".to_owned(); 16];
    index.observe_offer(&offer(20, shouting), NOW).unwrap();
    let found = index.search(&query("digest"), NOW);
    assert_eq!(names(&found), ["digest", "loud"]);
    assert_eq!(found[0].why, Why::Name);
    let digest = one_of_ten(1);
    let exact = [
        (digest.release.to_string(), Why::Release),
        (digest.component.to_string(), Why::Component),
        ("digest@1.0.0".to_owned(), Why::NameVersion),
    ];
    for (text, why) in exact {
        let found = index.search(&query(&text), NOW);
        assert_eq!((names(&found), &found[0].why), (vec!["digest"], &why));
    }
    assert!(index.search(&query("digest@2.0.0"), NOW).is_empty());
    assert_eq!(index.search(&Query { limit: 50, ..query(" ") }, NOW).len(), 11);
    assert_eq!(index.search(&Query { limit: 3, ..query("") }, NOW).len(), 3);
}

#[test]
fn a_name_gives_its_highest_version_first_then_who_has_room() {
    let mut index = Index::default();
    for (provider, version, load, capacity) in
        [(1, "1.9.0", 0, 1), (2, "1.10.0", 4, 4), (3, "1.10.0", 3, 4), (4, "1.10.0", 0, 0)]
    {
        let mut descriptor = plain(provider, "same");
        descriptor.version = version.parse().unwrap();
        index.observe_descriptor(sign(provider, descriptor), NOW).unwrap();
        index.observe_lease(sign(provider, Lease { load, capacity, ..plain_lease(provider) }), NOW).unwrap();
    }
    let found = index.search(&query("same"), NOW);
    let providers: Vec<_> = found.iter().map(|f| f.offer.lease().payload().iss).collect();
    assert_eq!(providers, [3, 2, 4, 1].map(|n| key(n).did()));
}

#[test]
fn who_says_that_it_has_nothing_to_do_gains_nothing() {
    let mut index = Index::default();
    let keys: Vec<_> = (0..100).map(|n| SecretKey::from_seed(&[n; 32])).collect();
    for (n, key) in (0..).zip(&keys) {
        // Those who work say so; a third says that it does not, and that it could do any amount.
        let (load, capacity) = if n < 33 { (0, 1_000) } else { (3, 4) };
        let lease = Lease { iss: key.did(), load, capacity, ..plain_lease(1) };
        index.observe_descriptor(sign_as(key, plain(1, "same")), NOW).unwrap();
        index.observe_lease(Signed::sign(lease, key), NOW).unwrap();
    }
    let idle: BTreeSet<_> = keys.iter().take(33).map(SecretKey::did).collect();
    let listed = (0..100).map(|n| {
        let found = index.search(&Query { limit: 10, nonce: [n; 12].into(), ..query("same") }, NOW);
        found.iter().filter(|f| idle.contains(&f.offer.lease().payload().iss)).count()
    });
    let listed: usize = listed.sum();
    assert!((250..410).contains(&listed), "{listed} of 1,000 for 33 in 100");
}

#[test]
fn of_many_equals_each_query_finds_others_and_no_name_is_better() {
    let mut index = Index::default();
    let mut keys: Vec<_> = (0..200).map(|n| SecretKey::from_seed(&[n; 32])).collect();
    keys.sort_by_key(SecretKey::did);
    for key in &keys {
        let lease = Lease { iss: key.did(), ..plain_lease(1) };
        index.observe_descriptor(sign_as(key, plain(1, "same")), NOW).unwrap();
        index.observe_lease(Signed::sign(lease, key), NOW).unwrap();
    }
    // Whoever grinds names has the lowest ones.
    let ground: BTreeSet<_> = keys.iter().take(60).map(SecretKey::did).collect();
    for text in ["same", "useful", ""] {
        let (mut seen, mut theirs) = (BTreeSet::new(), 0);
        for n in 0..100 {
            let query = Query { limit: 50, nonce: [n; 12].into(), ..query(text) };
            let found = index.search(&query, NOW);
            let providers: BTreeSet<_> = found.iter().map(|f| f.offer.lease().payload().iss).collect();
            assert_eq!(providers.len(), 50);
            theirs += providers.intersection(&ground).count();
            seen.extend(providers);
        }
        assert_eq!(seen.len(), 200, "{text:?}: everybody is found");
        assert!((1_350..1_650).contains(&theirs), "{text:?}: {theirs} of 5,000 for 30 in 100");
    }
}

#[test]
fn what_is_not_to_be_given_out_is_not_found() {
    let not_the_first = |d: &Descriptor| d.iss != key(1).did();
    let found = ten().search_among(&Query { limit: 50, ..query("") }, NOW, not_the_first);
    assert_eq!(found.len(), 9);
    assert!(found.iter().all(|f| f.offer.descriptor().payload().iss != key(1).did()));
}

#[test]
fn an_offer_is_found_while_both_halves_live_and_the_lease_covers_it() {
    let mut index = ten();
    assert_eq!(index.offers(NOW + 599).len(), 10);
    assert!(index.offers(NOW + 600).is_empty());
    let renewed = Lease { seq: 2, descriptors_seq: 1, nbf: NOW + 300, exp: NOW + 900, ..plain_lease(1) };
    index.observe_lease(sign(1, renewed.clone()), NOW + 300).unwrap();
    assert_eq!(index.offers(NOW + 600).len(), 1);
    let withdrawn = Lease { seq: 3, descriptors_seq: 2, ..renewed };
    index.observe_lease(sign(1, withdrawn), NOW + 301).unwrap();
    assert!(index.offers(NOW + 600).is_empty());
    index.expire(NOW + 3_600);
    assert!(index.is_empty());
}

#[test]
fn refreshes_fall_between_a_third_and_a_half_of_a_life_and_numbers_only_rise() {
    let lives = Lifetimes::default();
    let mut announcer = Announcer::new(lives, 0);
    let (mut now, mut last, mut described) = (NOW, 0, 0);
    for jitter in (0..2_000).map(|n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
        let said = announcer.poll(now, jitter).unwrap();
        assert!(said.lease.seq > last);
        assert_eq!((said.lease.nbf, said.lease.exp), (now, now + lives.lease));
        if let Some(descriptors) = said.descriptors {
            assert_eq!(said.descriptors_seq, descriptors.seq);
            assert!(descriptors.seq > last && now - described <= lives.descriptor || described == 0);
            described = now;
        }
        last = said.lease.seq;
        assert!(announcer.poll(now, jitter).is_none());
        let wait = announcer.due() - now;
        assert!(
            wait <= lives.lease / 2
                && (wait >= lives.lease / 3 || announcer.due() >= described + lives.descriptor / 3)
        );
        now = announcer.due();
    }
    announcer.readiness_changed();
    assert!(announcer.poll(now - 1, 0).unwrap().descriptors.is_none());
    announcer.offers_changed();
    let said = announcer.poll(now - 1, 0).unwrap();
    assert!(said.descriptors.is_some() && said.descriptors_seq < said.lease.seq);
    assert!(Announcer::new(lives, 1 << 40).poll(NOW, 0).unwrap().lease.seq > 1 << 40);
}

#[test]
fn a_release_of_any_size_has_a_descriptor_that_fits_and_agrees() {
    for functions in [1, 2, 5, 10, 16, 40] {
        for docs in ["", "One line.\nAnother.", &"ü".repeat(200)] {
            let release = release(functions, docs, "1.0.0");
            let made = descriptor_for(&release, key(1).did(), conditions(), validity(3, 60)).unwrap();
            agrees(&made, &release).unwrap();
            assert!(!made.functions.is_empty());
            let signed = sign(1, made);
            Signed::<Descriptor>::verify(signed.bytes()).unwrap();
        }
    }
}

#[test]
fn docs_give_way_before_signatures_and_signatures_before_functions() {
    let make = |functions| {
        let release = release(functions, &"d".repeat(300), "1.0.0");
        descriptor_for(&release, key(1).did(), conditions(), validity(3, 60)).unwrap()
    };
    let few = make(3);
    assert!(few.functions.iter().all(|f| f.docs.len() == 120 && f.signature.len() <= 240));
    assert!(few.functions[0].docs.ends_with('…'));
    let some = make(6);
    assert!(some.functions.iter().all(|f| !f.signature.is_empty()));
    assert!(!some.functions[0].docs.is_empty() && some.functions[5].docs.is_empty());
    let many = make(16);
    assert!(many.functions.len() == 16 && many.functions.iter().all(|f| f.docs.is_empty()));
    assert!(!many.functions[0].signature.is_empty() && many.functions[15].signature.is_empty());
}
