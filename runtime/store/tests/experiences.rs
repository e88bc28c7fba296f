//! What actions showed is found again, once each, the lasting first; and replays are owed until they are paid.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

mod common;

use actum_model::*;
use actum_store::*;
use common::*;

fn open() -> (tempfile::TempDir, Store) {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    (home, store)
}

fn one(provider: u8, at: u64, kind: &str, receipt: Option<&[u8]>) -> Experienced {
    Experienced {
        provider: key(provider).did(),
        component: ComponentId::of(b"a component"),
        at,
        kind: kind.to_owned(),
        millis: 7,
        receipt: receipt.map(ReceiptId::of),
        verifier: key(9).did(),
        lasts: kind == "diverged",
    }
}

#[test]
fn they_come_back_newest_first_and_what_lasts_before_all() {
    let (home, store) = open();
    let (a, b) = (key(1).did(), key(2).did());
    let lie = one(1, 1, "diverged", Some(b"lie"));
    store.put_experiences(&[lie.clone(), one(1, 2, "served", Some(b"x")), one(2, 3, "late", None)]).unwrap();
    store.put_experiences(&[one(1, 4, "identical", Some(b"x"))]).unwrap();
    let found = store.experiences_with(&a, 10).unwrap();
    let kinds: Vec<_> = found.iter().map(|e| e.kind.as_str()).collect();
    assert_eq!(kinds, ["diverged", "identical", "served"]);
    assert_eq!(found[0], lie);
    assert_eq!(
        store.experiences_with(&a, 1).unwrap(),
        std::slice::from_ref(&lie),
        "what lasts is read however few are read"
    );
    let mut all = store.experienced().unwrap();
    all.sort();
    let mut both = vec![a, b];
    both.sort();
    assert_eq!(all, both);
    drop(store);
    let again = Store::open(home.path()).unwrap();
    assert_eq!(again.experiences_with(&a, 10).unwrap(), found);
}

#[test]
fn one_receipt_has_one_of_a_kind_by_a_verifier() {
    let (_home, store) = open();
    let said = one(1, 1, "identical", Some(b"x"));
    let other = Experienced { verifier: key(8).did(), ..said.clone() };
    store.put_experiences(&[said.clone(), Experienced { at: 5, ..said.clone() }, other]).unwrap();
    let found = store.experiences_with(&key(1).did(), 10).unwrap();
    assert_eq!(found.iter().map(|e| e.at).collect::<Vec<_>>(), [1, 1], "one by each verifier, the first");
    // What is about no receipt is counted each time.
    store.put_experiences(&[one(1, 1, "late", None), one(1, 1, "late", None)]).unwrap();
    assert_eq!(store.experiences_with(&key(1).did(), 10).unwrap().len(), 4);
}

#[test]
fn an_overlong_kind_is_refused_and_nothing_of_it_kept() {
    let (_home, store) = open();
    let long = one(1, 1, &"x".repeat(MAX_KIND_BYTES + 1), None);
    assert!(matches!(
        store.put_experiences(&[one(1, 1, "late", None), long]),
        Err(StoreError::TooLarge { .. })
    ));
    assert!(store.experiences_with(&key(1).did(), 10).unwrap().is_empty());
}

#[test]
fn replays_are_owed_in_their_order_until_they_are_paid() {
    let (home, store) = open();
    let ids: Vec<_> = [b"a", b"b", b"c"].iter().map(|b| ReceiptId::of(*b)).collect();
    for (at, id) in (1..).zip(&ids) {
        assert!(store.owe_replay(id, at).unwrap());
        assert!(!store.owe_replay(id, at).unwrap(), "once");
    }
    store.replay_paid(&ids[1]).unwrap();
    store.replay_paid(&ids[1]).unwrap();
    drop(store);
    let store = Store::open(home.path()).unwrap();
    assert_eq!(store.owed_replays(10).unwrap(), [ids[0], ids[2]]);
    assert_eq!(store.owed_replays(1).unwrap(), [ids[0]]);
}
