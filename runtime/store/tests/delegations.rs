//! Delegations, the chains among them, and what people call keys.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod common;

use actum_model::{Delegation, DelegationId, Did, Invocation, InvocationId, Signed, ucan};
use actum_store::*;
use common::*;
use std::time::{Duration, Instant};

fn open() -> (tempfile::TempDir, Store) {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    (home, store)
}

fn did(n: u8) -> Did {
    key(n).did()
}

fn delegation(iss: u8, aud: u8, sub: Option<u8>, exp: Option<u64>, nonce: u16) -> Signed<Delegation> {
    let payload = Delegation {
        iss: did(iss),
        aud: did(aud),
        sub: sub.map(did),
        cmd: "/actum/run".parse().unwrap(),
        pol: ucan::Policy::default(),
        nonce: serde_bytes::ByteBuf::from(nonce.to_be_bytes()),
        meta: None,
        nbf: None,
        exp,
    };
    Signed::sign(payload, &key(iss))
}

/// A delegation of `sub`'s authority without end.
fn link(iss: u8, aud: u8, sub: u8) -> Signed<Delegation> {
    delegation(iss, aud, Some(sub), None, 0)
}

fn ids(chains: &[Vec<Signed<Delegation>>]) -> Vec<Vec<DelegationId>> {
    chains.iter().map(|chain| chain.iter().map(Signed::<Delegation>::id).collect()).collect()
}

#[test]
fn delegations_by_id_audience_and_issuer() {
    let (home, store) = open();
    let [a, b, c] = [link(1, 2, 1), link(1, 3, 1), delegation(3, 2, None, Some(100), 0)];
    store.put_delegation(&a).unwrap();
    store.put_delegations(&[a.clone(), b.clone(), c.clone()]).unwrap();
    drop(store);
    let store = Store::open(home.path()).unwrap();
    assert_eq!(store.delegation(&c.id()).unwrap().unwrap(), c);
    assert_eq!(store.delegations_to(&did(2), 10).unwrap(), [c.clone(), a.clone()]);
    assert_eq!(store.delegations_to(&did(2), 1).unwrap(), std::slice::from_ref(&c));
    assert_eq!(store.delegations_by(&did(1), 10).unwrap(), [b.clone(), a.clone()]);
    assert_eq!(store.delegations(10).unwrap().len(), 3);
    assert_eq!(store.delegations(2).unwrap(), [c, b]);
    assert!(store.remove_delegation(&a.id()).unwrap());
    assert!(!store.remove_delegation(&a.id()).unwrap());
    assert_eq!(store.delegation(&a.id()).unwrap(), None);
}

#[test]
fn delegations_of_a_key_and_by_part_of_an_id() {
    let (_home, store) = open();
    let [a, b, c] = [link(1, 2, 1), link(2, 3, 1), link(4, 5, 4)];
    store.put_delegations(&[a.clone(), b.clone(), c.clone()]).unwrap();
    assert_eq!(store.delegations_of(&did(2), 10).unwrap(), [b.clone(), a.clone()]);
    assert_eq!(store.delegations_of(&did(2), 1).unwrap(), [b]);
    assert!(store.delegations_of(&did(9), 10).unwrap().is_empty());
    let id = a.id().to_string();
    for part in [&id[..], &id[..20], &id[id.len() - 12..]] {
        assert_eq!(store.delegation_by_part(part).unwrap().as_ref(), Some(&a), "{part}");
    }
    let Err(StoreError::Ambiguous { matches, .. }) = store.delegation_by_part("bafy") else { panic!() };
    assert_eq!((matches.len(), matches[0].clone()), (3, c.id().to_string()));
    for part in ["", "%", "_", "BAFY", "zzzz", "bafy%"] {
        assert_eq!(store.delegation_by_part(part).unwrap(), None, "{part}");
    }
}

#[test]
fn a_delegation_that_was_changed_on_the_disk() {
    let (home, store) = open();
    let (a, b) = (link(1, 2, 1), link(1, 3, 1));
    store.put_delegation(&a).unwrap();
    let db = rusqlite::Connection::open(home.path().join("store/actum.db")).unwrap();
    db.execute("UPDATE delegations SET bytes = ?1", [b.bytes()]).unwrap();
    assert!(matches!(store.delegation(&a.id()), Err(StoreError::Corrupt { what: "delegation", .. })));
    assert!(matches!(store.chains_to(&did(2), None, 0, 9), Err(StoreError::Corrupt { .. })));
}

#[test]
fn chains_lead_from_the_subject_to_the_holder() {
    let (_home, store) = open();
    // 1 → 2 → 3, 1 → 3, and 3 → 4 by a powerline.
    let [one, two, direct] = [link(1, 2, 1), link(2, 3, 1), link(1, 3, 1)];
    let power = delegation(3, 4, None, None, 0);
    store.put_delegations(&[power.clone(), two.clone(), one.clone(), direct.clone()]).unwrap();
    let chains =
        |holder, sub: Option<u8>| ids(&store.chains_to(&did(holder), sub.map(did).as_ref(), 0, 10).unwrap());
    assert_eq!(chains(2, Some(1)), [vec![one.id()]]);
    assert_eq!(chains(3, Some(1)), [vec![direct.id()], vec![one.id(), two.id()]]);
    let both = [vec![direct.id(), power.id()], vec![one.id(), two.id(), power.id()]];
    assert_eq!(chains(4, Some(1)), both);
    assert_eq!(chains(4, None), both);
    assert_eq!(store.chains_to(&did(4), None, 0, 1).unwrap().len(), 1);
    for (holder, sub) in [(1, 1), (4, 2), (4, 4), (5, 1)] {
        assert!(chains(holder, Some(sub)).is_empty(), "{holder} of {sub}");
    }
}

#[test]
fn what_is_no_chain_is_not_found() {
    let (_home, store) = open();
    let stray = [
        delegation(1, 2, None, None, 0), // a powerline is no root
        link(5, 2, 1),                   // not by the subject, nor by anyone who has it from the subject
        link(1, 3, 1),
        link(3, 2, 9), // of another subject
        delegation(1, 2, Some(1), Some(99), 0),
    ];
    store.put_delegations(&stray).unwrap();
    assert!(store.chains_to(&did(2), None, 100, 10).unwrap().is_empty());
    assert_eq!(ids(&store.chains_to(&did(2), None, 99, 10).unwrap()), [vec![stray[4].id()]]);
}

#[test]
fn a_chain_has_at_most_its_length_and_no_key_twice() {
    let (_home, store) = open();
    for n in 1..=9 {
        store.put_delegation(&link(n, n + 1, 1)).unwrap();
        store.put_delegation(&link(n + 1, n, 1)).unwrap(); // and back
    }
    let found = store.chains_to(&did(9), Some(&did(1)), 0, 100).unwrap();
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [8]);
    assert!(store.chains_to(&did(10), Some(&did(1)), 0, 100).unwrap().is_empty());
}

#[test]
fn a_strangers_delegations_neither_hide_a_chain_nor_make_the_search_long() {
    let (_home, store) = open();
    let [root, leaf] = [link(1, 2, 1), delegation(2, 3, None, None, 0)];
    store.put_delegations(&[root.clone(), leaf.clone()]).unwrap();
    // Twenty keys of a stranger who delegate everything to each other and to the holder, of every sort.
    let mut junk = Vec::new();
    for from in 20..40 {
        for to in (20..40).chain([3]).filter(|to| *to != from) {
            junk.push(delegation(from, to, None, None, 0));
            junk.push(link(from, to, 1));
            junk.push(link(from, to, from));
        }
    }
    store.put_delegations(&junk).unwrap();
    let begun = Instant::now();
    let wanted = [vec![root.id(), leaf.id()]];
    assert_eq!(ids(&store.chains_to(&did(3), Some(&did(1)), 0, 1_000).unwrap()), wanted);
    assert_eq!(store.chains_to(&did(3), None, 0, 1_000).unwrap().len(), 1_000);
    // All paths among twenty would take for ever.
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[test]
fn more_delegations_than_a_search_looks_at() {
    let (_home, store) = open();
    let old = link(1, 2, 1);
    store.put_delegation(&old).unwrap();
    let junk: Vec<_> =
        (0..=MAX_LINKS_SEARCHED_PER_KEY as u16).map(|n| delegation(9, 2, Some(1), None, n)).collect();
    store.put_delegations(&junk).unwrap();
    // The subject's own are looked at first.
    assert_eq!(ids(&store.chains_to(&did(2), Some(&did(1)), 0, 9).unwrap()), [vec![old.id()]]);
}

#[test]
fn an_invocation_is_evidence_of_its_receipt() {
    let (home, store) = open();
    let invocation = Invocation {
        iss: did(1),
        sub: did(2),
        aud: None,
        cmd: "/actum/run".parse().unwrap(),
        args: Default::default(),
        prf: vec![],
        meta: None,
        nonce: serde_bytes::ByteBuf::from(vec![0; 12]),
        exp: Some(100),
        iat: None,
        cause: None,
    };
    let signed = Signed::sign(invocation, &key(1));
    let (with, without) = (Made::new(1, 1, 8), Made::new(1, 2, 8));
    let new = NewReceipt { invocation: Some(signed.bytes()), ..with.parts() };
    store.put_receipts(&[new, without.parts()]).unwrap();
    let evidence = store.evidence(&with.receipt.id()).unwrap().unwrap();
    assert_eq!(evidence.invocation.as_deref(), Some(signed.bytes()));
    assert_eq!(store.evidence(&without.receipt.id()).unwrap().unwrap().invocation, None);

    let long = vec![0; (32 << 10) + 1];
    let new = NewReceipt { invocation: Some(&long), ..with.parts() };
    assert!(matches!(store.put_receipt(new), Err(StoreError::TooLarge { what: "invocation", .. })));
    let db = rusqlite::Connection::open(home.path().join("store/actum.db")).unwrap();
    let id = InvocationId::of(signed.bytes()).to_string();
    assert_eq!(db.execute("DELETE FROM blobs WHERE id = ?1", [id]).unwrap(), 1);
    let error = store.evidence(&with.receipt.id()).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { what: "invocation", .. }), "{error}");
}

#[test]
fn names_are_for_one_key_until_they_are_removed() {
    let (home, store) = open();
    store.put_name("Alice", &did(1)).unwrap();
    store.put_name("alice", &did(1)).unwrap();
    store.put_name("al.ice-2_", &did(1)).unwrap();
    store.put_name("bob", &did(2)).unwrap();
    let error = store.put_name("ALICE", &did(2)).unwrap_err();
    assert!(
        matches!(&error, StoreError::NameTaken { name, did: d } if name == "Alice" && *d == did(1).to_string())
    );
    drop(store);
    let store = Store::open(home.path()).unwrap();
    assert_eq!(store.named("aLICE").unwrap(), Some(did(1)));
    assert_eq!(store.named("carol").unwrap(), None);
    assert_eq!(store.name_of(&did(1)).unwrap().as_deref(), Some("Alice"));
    assert_eq!(store.name_of(&did(3)).unwrap(), None);
    let all = [("al.ice-2_", 1), ("Alice", 1), ("bob", 2)].map(|(name, n)| (name.to_owned(), did(n)));
    assert_eq!(store.names().unwrap(), all);
    assert!(store.remove_name("alice").unwrap());
    assert!(!store.remove_name("alice").unwrap());
    store.put_name("ALICE", &did(2)).unwrap();
    assert_eq!(store.named("alice").unwrap(), Some(did(2)));
}

#[test]
fn what_is_not_a_name() {
    let (_home, store) = open();
    let long = "a".repeat(MAX_NAME_BYTES + 1);
    for name in ["", "-x", ".x", "_x", "a b", "a/b", "did:key:z6Mk", "älice", "a\n", &long] {
        let error = store.put_name(name, &did(1)).unwrap_err();
        assert!(matches!(error, StoreError::BadName { .. }), "{name:?}: {error}");
    }
    assert!(store.names().unwrap().is_empty());
    store.put_name(&"a".repeat(MAX_NAME_BYTES), &did(1)).unwrap();
}

#[test]
fn more_names_than_are_kept() {
    let (home, store) = open();
    let db = rusqlite::Connection::open(home.path().join("store/actum.db")).unwrap();
    let fill = format!(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {MAX_NAMES})
         INSERT INTO names (name, did) SELECT 'n' || n, '{}' FROM n",
        did(1)
    );
    db.execute_batch(&fill).unwrap();
    assert!(matches!(store.put_name("one", &did(1)), Err(StoreError::Full { what: "names", .. })));
    store.put_name("n1", &did(1)).unwrap();
    store.remove_name("n1").unwrap();
    store.put_name("one", &did(1)).unwrap();
}

#[test]
fn a_store_of_schema_2_is_upgraded_and_keeps_what_it_had() {
    let (home, store) = open();
    let (old, new) = (Made::new(1, 1, 10), Made::new(1, 2, 10));
    store.put_receipts(&[old.parts()]).unwrap();
    drop(store);
    let db = rusqlite::Connection::open(home.path().join("store/actum.db")).unwrap();
    db.execute_batch(SCHEMA_5_GONE).unwrap();
    db.execute_batch(SCHEMA_3_GONE).unwrap();
    drop(db);
    let store = Store::open(home.path()).unwrap();
    assert_eq!(store.evidence(&old.receipt.id()).unwrap().unwrap().invocation, None);
    store.put_receipt(NewReceipt { invocation: Some(b"signed"), ..new.parts() }).unwrap();
    assert_eq!(store.evidence(&new.receipt.id()).unwrap().unwrap().invocation.unwrap(), b"signed");
    store.put_delegation(&link(1, 2, 1)).unwrap();
    store.put_name("alice", &did(1)).unwrap();
    assert_eq!(store.answer_to(&InvocationId::of(b"signed")).unwrap().unwrap().receipt, new.receipt);
    assert_eq!(SCHEMA_VERSION, 5);
}
