//! One function a refusal, with its code.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

mod common;

use actum_discovery::*;
use actum_model::*;
use common::*;
use proptest::prelude::*;

fn code<T: std::fmt::Debug>(result: Result<T, Refused>) -> &'static str {
    result.unwrap_err().code()
}

#[test]
fn bytes_that_are_neither() {
    let mut index = Index::default();
    assert_eq!(code(index.observe(b"", NOW)), "bad-envelope");
    let query = sign(50, query("words"));
    assert_eq!(code(index.observe(query.bytes(), NOW)), "bad-envelope");
    let mut forged = sign(1, plain_lease(1)).bytes().to_vec();
    forged[10] ^= 1;
    assert_eq!(code(index.observe(&forged, NOW)), "bad-envelope");
    assert!(index.is_empty());
    assert_eq!(index.observe(sign(1, plain(1, "words")).bytes(), NOW).unwrap(), Observed::New);
    assert_eq!(index.observe(sign(1, plain_lease(1)).bytes(), NOW).unwrap(), Observed::New);
    assert_eq!(index.offers(NOW).len(), 1);
}

#[test]
fn somebody_elses_signature() {
    let forged = sign(2, plain(1, "words"));
    assert_eq!(code(Index::default().observe(forged.bytes(), NOW)), "bad-envelope");
}

#[test]
fn an_expired_descriptor_or_lease() {
    let mut index = Index::default();
    assert_eq!(code(index.observe_descriptor(sign(1, plain(1, "words")), NOW + 3_600)), "expired");
    assert_eq!(code(index.observe_lease(sign(1, plain_lease(1)), NOW + 600)), "expired");
    assert!(index.is_empty());
}

#[test]
fn a_life_that_begins_too_far_ahead() {
    let mut index = Index::default();
    let early = NOW - CLOCK_SKEW - 1;
    assert_eq!(code(index.observe_descriptor(sign(1, plain(1, "words")), early)), "not-yet-valid");
    assert_eq!(code(index.observe_lease(sign(1, plain_lease(1)), early)), "not-yet-valid");
    index.observe_lease(sign(1, plain_lease(1)), early + 1).unwrap();
}

#[test]
fn one_provider_more_than_fit_until_another_expires() {
    let mut index = Index::new(IndexLimits { providers: 2, ..IndexLimits::default() });
    for provider in [1, 2] {
        index.observe_lease(sign(provider, plain_lease(provider)), NOW).unwrap();
    }
    assert_eq!(code(index.observe_lease(sign(3, plain_lease(3)), NOW)), "too-many-providers");
    index.observe_lease(sign(1, Lease { seq: 2, ..plain_lease(1) }), NOW).unwrap();
    let later = Lease { nbf: NOW + 600, exp: NOW + 900, ..plain_lease(3) };
    index.observe_lease(sign(3, later), NOW + 600).unwrap();
    assert_eq!(index.len(), 1);
}

#[test]
fn one_descriptor_more_than_a_provider_may_have_unless_it_is_newer() {
    let mut index = Index::default();
    let limit = IndexLimits::default().descriptors_per_provider;
    for n in 0..limit {
        let descriptor = Descriptor { seq: 5, ..plain(1, &format!("c{n}")) };
        index.observe_descriptor(sign(1, descriptor), NOW).unwrap();
    }
    let more = |seq| sign(1, Descriptor { seq, ..plain(1, "more") });
    assert_eq!(code(index.observe_descriptor(more(4), NOW)), "too-many-descriptors");
    assert_eq!(index.observe_descriptor(more(6), NOW).unwrap(), Observed::New);
    index.observe_lease(sign(1, plain_lease(1)), NOW).unwrap();
    assert_eq!(index.offers(NOW).len(), limit);
}

#[test]
fn one_descriptor_more_than_fit_until_another_expires() {
    let mut index = Index::new(IndexLimits { descriptors: 3, ..IndexLimits::default() });
    for (provider, name, exp) in [(1, "a", NOW + 60), (1, "b", NOW + 3_600), (2, "a", NOW + 3_600)] {
        let descriptor = Descriptor { exp, ..plain(provider, name) };
        assert_eq!(index.observe_descriptor(sign(provider, descriptor), NOW).unwrap(), Observed::New);
    }
    assert_eq!(code(index.observe_descriptor(sign(1, plain(1, "c")), NOW)), "index-full");
    assert_eq!(code(index.observe_offer(&offer(3, plain(3, "c")), NOW)), "index-full");
    assert_eq!(index.len(), 2);
    let newer = Descriptor { seq: 2, ..plain(2, "a") };
    assert_eq!(index.observe_descriptor(sign(2, newer), NOW).unwrap(), Observed::Newer);
    index.observe_offer(&offer(3, plain(3, "c")), NOW + 60).unwrap();
    assert_eq!(code(index.observe_offer(&offer(3, plain(3, "d")), NOW + 60)), "index-full");
    assert_eq!(index.len(), 3);
}

#[test]
fn an_offer_of_two_providers() {
    let mixed = Offer { lease: offer(2, plain(2, "words")).lease, ..offer(1, plain(1, "words")) };
    let mut index = Index::default();
    assert_eq!(code(index.observe_offer(&mixed, NOW)), "two-providers");
    assert!(index.is_empty());
}

#[test]
fn an_older_statement_is_ignored() {
    let mut index = Index::default();
    let at = |seq| sign(1, Descriptor { seq, ..plain(1, "words") });
    assert_eq!(index.observe_descriptor(at(5), NOW).unwrap(), Observed::New);
    assert_eq!(index.observe_descriptor(at(5), NOW).unwrap(), Observed::Same);
    assert_eq!(index.observe_descriptor(at(4), NOW).unwrap(), Observed::Older);
    assert_eq!(index.observe_descriptor(at(6), NOW).unwrap(), Observed::Newer);
}

#[test]
fn what_its_provider_took_back() {
    let tombstone = |release: Option<&str>, seq| {
        let release = release.map(|name| ReleaseId::of(name.as_bytes()));
        sign(1, Tombstone { iss: key(1).did(), release, seq, nbf: NOW, exp: NOW + 3_600 })
    };
    let at = |name: &str, seq| sign(1, Descriptor { seq, ..plain(1, name) });
    let mut index = Index::default();
    index.observe_lease(sign(1, plain_lease(1)), NOW).unwrap();
    index.observe_descriptor(at("words", 5), NOW).unwrap();
    index.observe_descriptor(at("lines", 5), NOW).unwrap();
    assert_eq!(index.observe(tombstone(Some("words"), 5).bytes(), NOW).unwrap(), Observed::New);
    assert_eq!(index.offers(NOW).len(), 1, "lines stays");
    assert_eq!(code(index.observe_descriptor(at("words", 5), NOW)), "taken-back");
    assert_eq!(code(index.observe_descriptor(at("words", 4), NOW)), "taken-back");
    // Offered anew, it counts again, and an older tombstone does not touch it.
    assert_eq!(index.observe_descriptor(at("words", 6), NOW).unwrap(), Observed::New);
    assert_eq!(index.observe(tombstone(Some("words"), 5).bytes(), NOW).unwrap(), Observed::Same);
    assert_eq!(index.observe(tombstone(Some("words"), 4).bytes(), NOW).unwrap(), Observed::Older);
    assert_eq!(index.offers(NOW).len(), 2);
    // The provider leaves: its lease ends too, and does not come back by being sent again.
    assert_eq!(index.observe(tombstone(None, 9).bytes(), NOW).unwrap(), Observed::New);
    assert!(index.offers(NOW).is_empty());
    assert_eq!(code(index.observe_lease(sign(1, Lease { seq: 9, ..plain_lease(1) }), NOW)), "taken-back");
    assert_eq!(code(index.observe_descriptor(at("lines", 9), NOW)), "taken-back");
    index.observe_lease(sign(1, Lease { seq: 10, ..plain_lease(1) }), NOW).unwrap();
    // In the end tombstones are forgotten too.
    index.expire(NOW + 3_600);
    assert!(index.is_empty());
    // Another's tombstone takes nothing back.
    let forged = sign(2, Tombstone { release: None, ..tombstone(None, 9).into_payload() });
    assert_eq!(code(index.observe(forged.bytes(), NOW)), "bad-envelope");
}

#[test]
fn more_tombstones_than_a_provider_may_have_offers() {
    let mut index = Index::new(IndexLimits { descriptors_per_provider: 2, ..IndexLimits::default() });
    let tombstone = |n: u8| {
        let release = Some(ReleaseId::of(&[n]));
        sign(1, Tombstone { iss: key(1).did(), release, seq: 1, nbf: NOW, exp: NOW + 3_600 })
    };
    for n in 0..3 {
        index.observe_tombstone(&tombstone(n), NOW).unwrap();
    }
    assert_eq!(code(index.observe_tombstone(&tombstone(3), NOW)), "too-many-descriptors");
}

#[test]
fn an_offer_that_does_not_fulfil_what_is_asked() {
    let mut index = Index::default();
    for provider in [1, 2] {
        let price = u64::from(provider);
        index.observe_offer(&offer(provider, Descriptor { price, ..plain(provider, "words") }), NOW).unwrap();
    }
    let found = |text: &str, filters: Filters| {
        index
            .search(&Query { filters, ..query(text) }, NOW)
            .into_iter()
            .map(|f| f.offer.descriptor().payload().iss)
            .collect::<Vec<_>>()
    };
    // Whether it answers exactly, by words or because nothing was asked.
    for text in ["words", "something useful", ""] {
        assert_eq!(found(text, Filters::default()).len(), 2);
        let cheap = Filters { max_price: Some(1), ..Filters::default() };
        assert_eq!(found(text, cheap), [key(1).did()], "{text}");
    }
}

#[test]
fn a_page_by_another_index_for_another_asker_to_another_question_or_too_long() {
    let asked = Query { limit: 1, ..query("words") };
    let right = Page { iss: asked.aud, aud: asked.iss, nonce: asked.nonce, epoch: 0, offers: vec![] };
    let two = vec![offer(1, one_of_ten(0)), offer(2, one_of_ten(1))];
    let wrong = [
        ("other-index", sign(61, Page { iss: key(61).did(), ..right.clone() })),
        ("other-asker", sign(60, Page { aud: key(51).did(), ..right.clone() })),
        ("other-question", sign(60, Page { nonce: [8; 12].into(), ..right.clone() })),
        ("too-many-offers", sign(60, Page { offers: two, ..right })),
    ];
    for (code, page) in wrong {
        let mut gathering = Gathering::new(asked.clone());
        let taken = gathering.page(&Answer { query: &asked, page: &page }, NOW);
        assert_eq!(taken.page.map(|why| why.code()), Some(code));
        assert!(taken.is_fault() && gathering.answers() == 0);
        assert!(gathering.found(|_| Record::default(), NOW, 1).is_empty());
    }
}

#[test]
fn a_descriptor_of_no_life_or_too_long_a_version() {
    let make = |version: &str, life| {
        descriptor_for(&release(1, "", version), key(1).did(), conditions(), validity(1, life))
    };
    assert_eq!(make("1.0.0", 0), Err(DescribeError::Life { life: 0 }));
    assert!(matches!(make("1.0.0", Descriptor::MAX_LIFE + 1), Err(DescribeError::Life { .. })));
    let long = format!("1.0.0-{}", "a".repeat(5_000));
    assert!(matches!(make(&long, 60), Err(DescribeError::TooLarge { limit: 4096, .. })));
}

#[test]
fn a_descriptor_that_says_something_else_than_its_release() {
    let release = release(2, "Docs.", "1.0.0");
    let right = descriptor_for(&release, key(1).did(), conditions(), validity(1, 60)).unwrap();
    type Change = fn(&mut Descriptor);
    let changes: [(&str, Change); 12] = [
        ("release", |d| d.release = ReleaseId::of(b"x")),
        ("author", |d| d.author = d.iss),
        ("name", |d| d.name = "other".parse().unwrap()),
        ("version", |d| d.version.major += 1),
        ("component", |d| d.component = ComponentId::of(b"x")),
        ("component_bytes", |d| d.component_bytes += 1),
        ("manifest", |d| d.manifest = BlobId::of(b"x")),
        ("permissions", |d| d.permissions = [Permission::Http].into()),
        ("intent", |d| d.intent.push('x')),
        ("tags", |d| drop(d.tags.pop())),
        ("docs", |d| d.functions[0].docs.push('x')),
        ("signature", |d| d.functions[1].signature.push('x')),
    ];
    for (field, change) in changes {
        let mut wrong = right.clone();
        change(&mut wrong);
        assert_eq!(agrees(&wrong, &release).unwrap_err().field, field);
    }
    let mut more = right.clone();
    more.functions.push(right.functions[0].clone());
    more.functions.swap(0, 1);
    assert_eq!(agrees(&more, &release).unwrap_err().field, "functions");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_order_of_observations_gives_the_same_index(
        seeds in prop::collection::vec((1..4_u8, 0..6_u8, 0..4_u64, any::<bool>()), 1..40),
        order in any::<u64>(),
    ) {
        let statements: Vec<Vec<u8>> = seeds.iter().map(|(provider, name, seq, lease)| {
            if *lease {
                let lease = Lease { seq: *seq, descriptors_seq: *seq / 2, load: u32::from(*name), ..plain_lease(*provider) };
                sign(*provider, lease).bytes().to_vec()
            } else {
                let descriptor = Descriptor { seq: *seq, public: name % 2 == 0, ..plain(*provider, &format!("c{name}")) };
                sign(*provider, descriptor).bytes().to_vec()
            }
        }).collect();
        let mut shuffled = statements.clone();
        shuffled.sort_by_key(|s| s.iter().fold(order, |h, b| h.rotate_left(7).wrapping_mul(31) ^ u64::from(*b)));
        // Few descriptors fit, so that making room is part of it.
        let limits = IndexLimits { descriptors_per_provider: 4, ..IndexLimits::default() };
        let offers = |statements: &[Vec<u8>]| {
            let mut index = Index::new(limits);
            for bytes in statements {
                match index.observe(bytes, NOW) {
                    Ok(_) | Err(Refused::TooManyDescriptors { .. }) => {}
                    Err(e) => panic!("{e}"),
                }
            }
            index.offers(NOW).iter().map(LiveOffer::to_wire).collect::<Vec<_>>()
        };
        prop_assert_eq!(offers(&statements), offers(&shuffled));
    }
}
