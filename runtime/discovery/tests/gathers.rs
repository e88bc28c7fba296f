//! What a requester makes of several indexes' answers: of honest ones, and of those that omit, misrank, invent and collude.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed; the figures are for people"
)]

mod common;

use actum_discovery::{advertise::LocalAddresses, *};
use actum_model::*;
use common::*;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

fn names(found: &[Found]) -> Vec<&str> {
    found.iter().map(|f| f.offer.descriptor().payload().name.as_str()).collect()
}

fn providers(found: &[Found]) -> Vec<Did> {
    found.iter().map(|f| f.offer.descriptor().payload().iss).collect()
}

/// The question as it is asked of one index.
fn ask(index: u8, query: &Query) -> Query {
    Query { aud: key(index).did(), ..query.clone() }
}

fn page(query: &Query, index: u8, offers: Vec<Offer>) -> Signed<Page> {
    sign(index, Page { iss: key(index).did(), aud: query.iss, nonce: query.nonce, epoch: 1, offers })
}

/// What one asker gathered of these pages.
fn gathered(query: &Query, pages: &[(u8, Vec<Offer>)]) -> (Gathering, Vec<Taken>) {
    let mut gathering = Gathering::new(query.clone());
    let taken = pages.iter().map(|(index, offers)| {
        let (asked, page) = (ask(*index, query), page(query, *index, offers.clone()));
        gathering.page(&Answer { query: &asked, page: &page }, NOW)
    });
    let taken = taken.collect();
    (gathering, taken)
}

const NOTHING: fn(&Did) -> Record = |_| Record { good: 0, refuted: 0 };

/// A draw in which nobody is explored.
const PLAIN: u64 = 1;

fn live(offer: &Offer) -> LiveOffer {
    let descriptor = Signed::verify(&offer.descriptor).unwrap();
    LiveOffer::of(Arc::new(descriptor), Arc::new(Signed::verify(&offer.lease).unwrap()), NOW)
        .unwrap()
        .unwrap()
}

#[test]
fn the_union_is_ranked_here_and_keeps_the_newest() {
    let asked = query("count words in a text");
    let newer = Descriptor { seq: 2, version: "1.0.1".parse().unwrap(), ..one_of_ten(7) };
    let misranked = (60, vec![offer(1, one_of_ten(0)), offer(8, one_of_ten(7))]);
    let other = (61, vec![offer(8, newer), offer(9, one_of_ten(8))]);
    let (mut gathering, taken) = gathered(&asked, &[misranked.clone(), other.clone()]);
    assert!(taken.iter().all(|taken| taken.page.is_none() && taken.offers.is_empty()));
    let found = gathering.found(NOTHING, NOW, PLAIN);
    assert_eq!(names(&found)[0], "text-stats");
    assert_eq!(found[0].offer.descriptor().payload().seq, 2);
    assert_eq!(found.len(), 3);
    let (reversed, _) = gathered(&asked, &[other, misranked]);
    assert_eq!(names(&found), names(&reversed.found(NOTHING, NOW, PLAIN)));
    // Each is given out once.
    assert_eq!(gathering.news(NOTHING, NOW, PLAIN).len(), 3);
    assert!(gathering.news(NOTHING, NOW, PLAIN).is_empty());
    assert!(Gathering::new(asked).found(NOTHING, NOW, PLAIN).is_empty());
}

#[test]
fn nothing_is_left_where_nobody_answers_or_all_that_is_named_lied() {
    let asked = query("count words in a text");
    let liar = key(8).did();
    let lied = |did: &Did| Record { good: 9, refuted: u64::from(*did == liar) };
    let leaves_nothing = |gathering: &Gathering, record: &dyn Fn(&Did) -> Record| {
        gathering.leaves_nothing(&gathering.found(record, NOW, PLAIN), record)
    };
    let (nobody, _) = gathered(&asked, &[]);
    assert!(leaves_nothing(&nobody, &lied));
    let (empty, _) = gathered(&asked, &[(60, vec![])]);
    assert!(leaves_nothing(&empty, &NOTHING));
    let mut pages = vec![(60, vec![offer(8, one_of_ten(7))])];
    let (captured, _) = gathered(&asked, &pages);
    assert!(leaves_nothing(&captured, &lied) && !leaves_nothing(&captured, &NOTHING));
    let honest = Descriptor { intent: "Count words".to_owned(), ..plain(3, "counter") };
    pages.push((61, vec![offer(3, honest)]));
    let (other, _) = gathered(&asked, &pages);
    assert!(!leaves_nothing(&other, &lied));
    let meant = Descriptor { intent: "Draw cats".to_owned(), ..plain(3, "cats") };
    let (meant, _) = gathered(&asked, &[(60, vec![offer(3, meant)])]);
    assert!(leaves_nothing(&meant, &NOTHING), "what only an index says is meant is not called by intent");
}

#[test]
fn a_forged_offer_is_left_out_and_the_rest_of_its_page_counts() {
    let mut forged = offer(1, one_of_ten(0));
    forged.descriptor[90] ^= 1;
    let (gathering, taken) = gathered(&query("words"), &[(60, vec![forged, offer(8, one_of_ten(7))])]);
    assert_eq!(names(&gathering.found(NOTHING, NOW, PLAIN)), ["text-stats"]);
    assert_eq!(taken[0].offers.len(), 1);
    assert!(taken[0].is_fault());
}

#[test]
fn ones_own_offers_are_not_found() {
    let asked = Query { iss: key(8).did(), ..query("words") };
    let (gathering, _) = gathered(&asked, &[(60, vec![offer(8, one_of_ten(7))])]);
    assert!(gathering.found(NOTHING, NOW, PLAIN).is_empty());
}

#[test]
fn what_only_indexes_say_is_meant_comes_last_and_within_the_constraints() {
    let asked = query("moggies");
    let moggies = Descriptor { intent: "Draw moggies".to_owned(), ..plain(3, "cats") };
    let pages = [
        (60, vec![offer(1, one_of_ten(0)), offer(2, one_of_ten(1)), offer(3, moggies.clone())]),
        (61, vec![offer(2, one_of_ten(1))]),
    ];
    let (gathering, _) = gathered(&asked, &pages);
    let found = gathering.found(NOTHING, NOW, PLAIN);
    // The one that has a word, then the one two indexes name.
    assert_eq!(names(&found), ["cats", "digest", "csv-aggregate"]);
    assert_eq!(found[1].why, Why::Meaning);
    let cheap = Filters { max_price: Some(3), ..Filters::default() };
    let costly = Descriptor { price: 9, ..one_of_ten(1) };
    let (gathering, _) = gathered(&Query { filters: cheap, ..asked }, &[(60, vec![offer(2, costly)])]);
    assert!(gathering.found(NOTHING, NOW, PLAIN).is_empty());
    // An id means nothing but itself.
    let id = query(&one_of_ten(0).release.to_string());
    let (gathering, _) = gathered(&id, &[(60, vec![offer(2, one_of_ten(1))])]);
    assert!(gathering.found(NOTHING, NOW, PLAIN).is_empty());
    // However many an index names.
    let many = (1..=40).map(|n| offer(n, plain(n, &format!("c{n}")))).collect();
    let (gathering, _) = gathered(&Query { limit: 50, ..query("xylophone") }, &[(60, many)]);
    assert_eq!(gathering.found(NOTHING, NOW, PLAIN).len(), MEANT);
}

/// Offers of one release by four providers; the first two say that they are full.
fn of_four() -> Vec<Offer> {
    let lease = |n: u8, nbf| {
        sign(n, Lease { load: if n < 3 { 4 } else { 3 }, nbf, exp: nbf + 600, ..plain_lease(n) })
    };
    (1..=4)
        .map(|n| Offer {
            descriptor: sign(n, plain(n, "same")).bytes().to_vec().into(),
            lease: lease(n, if n == 3 { NOW - 301 } else { NOW }).bytes().to_vec().into(),
        })
        .collect()
}

#[test]
fn equals_come_by_ones_own_receipts_then_by_fresh_leases_then_by_room() {
    let (gathering, _) = gathered(&query("same"), &[(60, of_four())]);
    let order = |record: &dyn Fn(&Did) -> Record| {
        let found = gathering.found(record, NOW, PLAIN);
        let place = |did: &Did| (1..=4).find(|n| key(*n).did() == *did).unwrap();
        let order: Vec<u8> = providers(&found).iter().map(place).collect();
        order
    };
    let turn = |n: u8| turn(&query("same"), &key(n).did());
    let [busy, busy_too] = if turn(1) < turn(2) { [1, 2] } else { [2, 1] };
    // The third's lease is more than half over.
    assert_eq!(order(&NOTHING), [4, busy, busy_too, 3]);
    let known = |n: u8, record: Record| {
        move |did: &Did| if *did == key(n).did() { record } else { Record::default() }
    };
    assert_eq!(order(&known(3, Record { good: 1, refuted: 0 })), [3, 4, busy, busy_too]);
    assert_eq!(order(&known(4, Record { good: 90, refuted: 1 })), [busy, busy_too, 3, 4]);
    let both = |did: &Did| match *did {
        d if d == key(1).did() => Record { good: 2, refuted: 0 },
        d if d == key(2).did() => Record { good: 3, refuted: 0 },
        d if d == key(3).did() => Record { good: 4, refuted: 0 },
        _ => Record::default(),
    };
    assert_eq!(order(&both), [3, busy, busy_too, 4], "by doublings");
}

#[test]
fn a_newcomer_is_tried_now_and_then_and_a_liar_is_not() {
    let (gathering, _) = gathered(&query("same"), &[(60, of_four())]);
    let record = |did: &Did| match *did {
        d if d == key(1).did() => Record { good: 100, refuted: 0 },
        d if d == key(2).did() => Record { good: 100, refuted: 1 },
        _ => Record::default(),
    };
    let mut first: BTreeMap<Did, usize> = BTreeMap::new();
    for draw in 0..1_000 {
        let found = gathering.found(record, NOW, draw);
        assert_eq!(found.len(), 4);
        *first.entry(providers(&found)[0]).or_default() += 1;
    }
    assert_eq!(first[&key(1).did()], 900);
    assert_eq!((first[&key(3).did()], first[&key(4).did()]), (50, 50));
}

#[test]
fn an_omission_blames_only_where_it_is_certain_that_the_offer_was_good() {
    let asked = query("same");
    let old = |n: u8| Descriptor { nbf: NOW - SETTLED, ..plain(n, "same") };
    let (one, two) = (offer(1, old(1)), offer(2, old(2)));
    let fresh = offer(3, Descriptor { nbf: NOW - SETTLED + 1, ..plain(3, "same") });
    let advertised = [live(&one), live(&two), live(&fresh)];
    let blamed = |pages: &[(u8, Vec<Offer>)], record: &dyn Fn(&Did) -> Record| {
        let omissions = gathered(&asked, pages).0.omissions(&advertised, record, NOW);
        omissions.iter().map(|o| (o.index, o.offer.descriptor().payload().iss)).collect::<Vec<_>>()
    };
    let did = |n: u8| key(n).did();
    let all = vec![one.clone(), two.clone()];
    // Two others have what the third left out.
    let pages = [(60, all.clone()), (61, vec![one.clone()]), (62, all.clone())];
    assert_eq!(blamed(&pages, &NOTHING), [(did(61), did(2))]);
    // One other may have made it up, and two that have it nothing to do with one that did not answer.
    assert!(blamed(&pages[..2], &NOTHING).is_empty());
    // A probe may have failed: an offer that only some have blames nobody.
    let some = [(60, vec![]), (61, vec![one.clone()]), (62, vec![two.clone()])];
    assert!(blamed(&some, &NOTHING).is_empty());
    // But for that of a provider that answered the asker itself.
    let used = |provider: &Did| Record { good: u64::from(*provider == did(2)), refuted: 0 };
    assert_eq!(blamed(&pages[..2], &used), [(did(61), did(2))]);
    // What no index has may be its provider's own fault.
    assert!(blamed(&[(60, vec![one.clone()]), (61, vec![])], &used).is_empty());
    let lied = |provider: &Did| Record { good: 1, refuted: u64::from(*provider == did(2)) };
    assert!(blamed(&pages[..2], &lied).is_empty());
    // A page without room may have had better ones.
    let full = Query { limit: 1, ..asked.clone() };
    let (gathering, _) = gathered(&full, &[(60, vec![one])]);
    assert!(gathering.omissions(&advertised, used, NOW).is_empty());
}

/// What a hostile registry does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evil {
    /// Leaves every honest offer out.
    Omits,
    /// Gives the worst match first, and only so many as are hardly looked at.
    Misranks,
    /// Makes offers up in honest providers' names, and gives ended ones.
    Invents,
    /// Leaves honest offers out, and gives its accomplices', which answer to every word and advertise too.
    Colludes,
}

const REGISTRIES_ALL: u8 = 15;
const QUERIES: usize = 1_000;

/// What came of a thousand queries.
#[derive(Debug)]
struct Figures {
    /// Queries that found every honest offer, in thousandths; of the first half, and of the second.
    complete: [usize; 2],
    /// Queries whose first result was an honest offer of what was meant.
    first: [usize; 2],
    /// Offers given out that nobody signed.
    forged: usize,
    /// Registries that were caught, and so are asked after all others: hostile ones and honest ones.
    caught: [usize; 2],
}

/// A thousand queries to three of fifteen registries, the first `evil` of which are hostile; one in twenty is audited.
fn a_thousand_queries(evil: &[Evil]) -> Figures {
    let asked = Query { limit: 50, ..query("count words in a text") };
    let old = |d: Descriptor| Descriptor { nbf: NOW - SETTLED, ..d };
    // Eight honest providers of what is meant, and two of something else.
    let meant = |n: u8| offer(n, old(Descriptor { iss: key(n).did(), ..one_of_ten(7) }));
    let honest: Vec<Offer> = (1..=8)
        .map(meant)
        .chain([offer(9, old(Descriptor { iss: key(9).did(), ..one_of_ten(6) }))])
        .collect();
    let stuffed = |n: u8| {
        let intent = "count words in a text ".repeat(8);
        offer(n, old(Descriptor { intent, tags: vec!["count".to_owned(); 8], ..plain(n, "loud") }))
    };
    let accomplices: Vec<Offer> = (200..210).map(stuffed).collect();
    let invented: Vec<Offer> = honest
        .iter()
        .cloned()
        .map(|mut offer| {
            offer.descriptor[120] ^= 1;
            offer
        })
        .collect();
    let colluding = evil.contains(&Evil::Colludes);
    let advertised: Vec<LiveOffer> =
        honest.iter().chain(if colluding { &accomplices[..] } else { &[] }).map(live).collect();
    // Probes fail at what does not do what it says: honest registries have none of the accomplices.
    let answers: Vec<Signed<Page>> = (0..REGISTRIES_ALL)
        .map(|n| {
            let offers = match evil.get(usize::from(n)) {
                None => honest.clone(),
                Some(Evil::Omits) => vec![],
                Some(Evil::Misranks) => honest.iter().rev().take(2).cloned().collect(),
                Some(Evil::Invents) => invented.clone(),
                Some(Evil::Colludes) => accomplices.clone(),
            };
            page(&asked, 100 + n, offers)
        })
        .collect();
    let mut candidates: Vec<RegistryCandidate> = (0..REGISTRIES_ALL)
        .map(|n| RegistryCandidate {
            did: key(100 + n).did(),
            operator: key(100 + n).did(),
            ip: IpAddr::from([100, n, 0, 1]),
            omissions: 0,
            named: false,
        })
        .collect();
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let mut figures = Figures { complete: [0; 2], first: [0; 2], forged: 0, caught: [0; 2] };
    for n in 0..QUERIES {
        let mut gathering = Gathering::new(asked.clone());
        for chosen in choose_registries(&candidates, LocalAddresses::Count, rng.next_u64()) {
            let at = candidates.iter().position(|c| c.did == chosen.did).unwrap();
            let asked = Query { aud: chosen.did, ..asked.clone() };
            let taken = gathering.page(&Answer { query: &asked, page: &answers[at] }, NOW);
            candidates[at].omissions += u32::from(taken.is_fault());
        }
        if n % 20 == 0 {
            for omission in gathering.omissions(&advertised, NOTHING, NOW) {
                candidates.iter_mut().find(|c| c.did == omission.index).unwrap().omissions += 1;
            }
        }
        let found = gathering.found(NOTHING, NOW, rng.next_u64());
        let has = |n: u8| providers(&found).contains(&key(n).did());
        figures.complete[n * 2 / QUERIES] += usize::from((1..=9).all(has));
        figures.first[n * 2 / QUERIES] += usize::from(names(&found).first() == Some(&"text-stats"));
        let signed = |f: &Found| Signed::<Descriptor>::verify(f.offer.descriptor().bytes()).is_ok();
        figures.forged += found.iter().filter(|f| !signed(f)).count();
    }
    for (n, candidate) in candidates.iter().enumerate() {
        figures.caught[usize::from(n >= evil.len())] += usize::from(candidate.omissions > 0);
    }
    println!("{evil:?}: {figures:?}");
    figures
}

#[test]
fn one_hostile_registry_of_fifteen_takes_nothing_away() {
    for evil in [Evil::Omits, Evil::Misranks, Evil::Invents, Evil::Colludes] {
        let figures = a_thousand_queries(&[evil]);
        assert_eq!(figures.complete, [500, 500], "{evil:?}");
        assert_eq!(figures.forged, 0);
        assert_eq!(figures.caught, [1, 0], "{evil:?}");
    }
}

#[test]
fn three_that_omit_misrank_and_invent_take_nothing_away() {
    let figures = a_thousand_queries(&[Evil::Omits, Evil::Misranks, Evil::Invents]);
    assert!(figures.complete[0] >= 475 && figures.complete[1] == 500, "{figures:?}");
    assert_eq!(figures.first, [500, 500]);
    assert_eq!((figures.forged, figures.caught), (0, [3, 0]));
}

#[test]
fn a_third_that_collude_are_found_out() {
    let figures = a_thousand_queries(&[Evil::Colludes; 5]);
    assert!(figures.complete[0] >= 475 && figures.complete[1] >= 495, "{figures:?}");
    assert_eq!(figures.forged, 0);
    assert!(figures.caught[0] == 5 && figures.first[1] >= 495, "{figures:?}");
}
