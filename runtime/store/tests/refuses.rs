//! One function a refusal: what is wrong is named, and nothing is kept.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

mod common;

use actum_model::*;
use actum_store::*;
use common::*;
use std::{
    fs,
    path::{Path, PathBuf},
};

fn open() -> (tempfile::TempDir, Store) {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    (home, store)
}

fn database(home: &Path) -> PathBuf {
    home.join("store/actum.db")
}

fn blob_file(home: &Path, id: &BlobId) -> PathBuf {
    let cid = id.to_string();
    home.join("store/blobs").join(&cid[cid.len() - 2..]).join(cid)
}

#[test]
fn a_blob_whose_file_was_changed() {
    let (home, store) = open();
    let bytes = vec![1; INLINE_BYTES + 1];
    let id = store.put_blob(&bytes).unwrap();
    let file = blob_file(home.path(), &id);
    let mut changed = bytes.clone();
    changed[100] ^= 1;
    for damage in [changed, Vec::new(), vec![1; INLINE_BYTES]] {
        fs::write(&file, damage).unwrap();
        let error = store.get(&id).unwrap_err();
        assert!(
            matches!(&error, StoreError::Corrupt { what: "blob", id: named, .. } if *named == id.to_string())
        );
    }
    store.put_blob(&bytes).unwrap();
    assert_eq!(store.get(&id).unwrap(), Some(bytes), "putting it again mends it");
}

#[test]
fn a_component_whose_file_was_changed() {
    let (home, store) = open();
    let bytes = vec![1; 100];
    let id = store.put_component(&bytes).unwrap();
    let cid = id.to_string();
    store.put_release(&release(1, "words", "1.0.0", &bytes)).unwrap();
    fs::write(home.path().join("store/components").join(&cid[cid.len() - 2..]).join(cid), [2; 100]).unwrap();
    assert!(matches!(store.released_chunk(&id, 0), Err(StoreError::Corrupt { what: "component", .. })));
    assert!(matches!(store.component(&id), Err(StoreError::Corrupt { what: "component", .. })));
    store.put_component(&bytes).unwrap();
    assert_eq!(store.component(&id).unwrap(), Some(bytes), "putting it again mends it");
}

#[test]
fn a_blob_whose_row_was_changed() {
    let (home, store) = open();
    let id = store.put_blob(b"small").unwrap();
    let db = rusqlite::Connection::open(database(home.path())).unwrap();
    db.execute("UPDATE blobs SET bytes = x'00'", []).unwrap();
    assert!(matches!(store.get(&id), Err(StoreError::Corrupt { what: "blob", .. })));
    store.put_blob(b"small").unwrap();
    assert_eq!(store.get(&id).unwrap().unwrap(), b"small");
}

#[test]
fn a_receipt_whose_row_was_changed() {
    let (home, store) = open();
    let made = Made::new(1, 1, 8);
    store.put_receipts(&[made.parts()]).unwrap();
    let db = rusqlite::Connection::open(database(home.path())).unwrap();
    db.execute("UPDATE receipts SET bytes = CAST(bytes || x'00' AS BLOB)", []).unwrap();
    let id = made.receipt.id();
    assert!(matches!(store.receipt(&id), Err(StoreError::Corrupt { what: "receipt", .. })));
}

#[test]
fn a_receipt_whose_evidence_is_gone() {
    let (home, store) = open();
    let made = Made::new(1, 1, INLINE_BYTES);
    store.put_receipts(&[made.parts()]).unwrap();
    fs::remove_file(blob_file(home.path(), &made.receipt.payload().action.args)).unwrap();
    let error = store.evidence(&made.receipt.id()).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { what: "arguments", .. }), "{error}");
}

#[test]
fn a_blob_over_its_bound() {
    let (_home, store) = open();
    let error = store.put_blob(&vec![0; MAX_BLOB_BYTES + 1]).unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { limit: MAX_BLOB_BYTES, .. }));
}

#[test]
fn a_newer_schema() {
    let (home, store) = open();
    drop(store);
    let db = rusqlite::Connection::open(database(home.path())).unwrap();
    db.pragma_update(None, "user_version", SCHEMA_VERSION + 1).unwrap();
    let error = Store::open(home.path()).unwrap_err();
    let StoreError::NewerVersion { found, known, .. } = error else { panic!("{error}") };
    assert_eq!((found, known), (SCHEMA_VERSION + 1, SCHEMA_VERSION));
    assert!(error.to_string().contains("upgrade Actum"));
}

#[test]
fn another_programs_database() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("store")).unwrap();
    let db = rusqlite::Connection::open(database(home.path())).unwrap();
    db.execute_batch("CREATE TABLE theirs (x)").unwrap();
    assert!(matches!(Store::open(home.path()), Err(StoreError::NotAStore { .. })));
    drop(db);
    fs::write(database(home.path()), b"not a database at all, but text").unwrap();
    assert!(matches!(Store::open(home.path()), Err(StoreError::NotAStore { .. })));
}

#[test]
fn a_home_that_is_a_file() {
    let home = tempfile::NamedTempFile::new().unwrap();
    let error = Store::open(home.path()).unwrap_err();
    assert!(matches!(error, StoreError::Io { doing: "create", .. }), "{error}");
}

#[test]
fn evidence_the_receipt_does_not_name() {
    let (_home, store) = open();
    let made = Made::new(1, 1, 8);
    let right = made.parts();
    let stranger = Bodies::from([(BlobId::of(b"x"), b"x".to_vec())]);
    let wrong = [
        ("arguments", NewReceipt { args: b"x", ..right }),
        ("output", NewReceipt { output: Some(b"x"), ..right }),
        ("output", NewReceipt { output: None, ..right }),
        ("journal", NewReceipt { journal: b"x", ..right }),
        ("stdio", NewReceipt { stdio: Some(b"x"), ..right }),
        ("body of the journal", NewReceipt { bodies: &stranger, ..right }),
    ];
    for (part, new) in wrong {
        let error = store.put_receipts(&[right, new]).unwrap_err();
        assert!(matches!(error, StoreError::Mismatch { what, .. } if what == part), "{error}");
    }
    assert_eq!(store.receipt(&made.receipt.id()).unwrap(), None);
    assert!(!store.has(&BlobId::of(b"x")).unwrap());
}

#[test]
fn bodies_the_journal_does_not_name() {
    let (_home, store) = open();
    let (journal, bodies) = journal_of(&[b"one", b"two"]);
    let made = Made::told(1, 1, 8, journal, bodies.clone());
    let right = made.parts();
    let [one, two] = [b"one", b"two"].map(|b: &[u8; 3]| BlobId::of(b));
    let missing = Bodies::from([(one, b"one".to_vec())]);
    let changed = Bodies::from([(one, b"one".to_vec()), (two, b"TWO".to_vec())]);
    let instead = Bodies::from([(one, b"one".to_vec()), (BlobId::of(b"x"), b"x".to_vec())]);
    let more = bodies.into_iter().chain([(BlobId::of(b"x"), b"x".to_vec())]).collect();
    for bodies in [&missing, &changed, &instead, &more] {
        let error = store.put_receipt(NewReceipt { bodies, ..right }).unwrap_err();
        assert!(matches!(error, StoreError::Mismatch { what: "body of the journal", .. }), "{error}");
    }
    assert!(!store.has(&one).unwrap());
    store.put_receipt(right).unwrap();
    assert!(store.has(&one).unwrap());
}

#[test]
fn a_journal_that_is_none() {
    let (_home, store) = open();
    let made = Made::new(1, 1, 8);
    let mut receipt = made.receipt.payload().clone();
    receipt.journal = JournalId::of(b"x");
    let receipt = Signed::sign(receipt, &key(1));
    let error =
        store.put_receipt(NewReceipt { receipt: &receipt, journal: b"x", ..made.parts() }).unwrap_err();
    assert!(matches!(error, StoreError::Mismatch { what: "journal", .. }), "{error}");
}

#[test]
fn evidence_whose_body_is_gone() {
    let (home, store) = open();
    let (journal, bodies) = journal_of(&[b"one", b"two"]);
    let made = Made::told(1, 1, 8, journal, bodies);
    store.put_receipt(made.parts()).unwrap();
    let db = rusqlite::Connection::open(database(home.path())).unwrap();
    let gone = db.execute("DELETE FROM blobs WHERE id = ?1", [BlobId::of(b"two").to_string()]).unwrap();
    assert_eq!(gone, 1);
    let error = store.evidence(&made.receipt.id()).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { what: "body of the journal", .. }), "{error}");
}

#[test]
fn an_offer_of_two_providers() {
    let (_home, store) = open();
    let error = store.put_offer(&descriptor(1, "words", 1, 0, 9), &lease(2, 1, 1, 0, 9), 1).unwrap_err();
    assert!(matches!(error, StoreError::Mismatch { what: "lease", .. }));
}

#[test]
fn an_address_over_its_bound() {
    let (_home, store) = open();
    let error = store.put_peer(&"a".repeat(MAX_ADDRESS_BYTES + 1), &key(1).did(), 1).unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { what: "address", .. }));
}

#[test]
fn a_short_id_of_several_receipts() {
    let (_home, store) = open();
    let made: Vec<_> = (0..10).map(|n| Made::new(1, n, 8)).collect();
    store.put_receipts(&made.iter().map(Made::parts).collect::<Vec<_>>()).unwrap();
    match store.receipt_by_part("bafyrei").unwrap_err() {
        StoreError::Ambiguous { prefix, matches } => {
            assert_eq!(prefix, "bafyrei");
            assert_eq!(matches.len(), 8);
            assert_eq!(matches[0], made[9].receipt.id().to_string());
        }
        other => panic!("{other}"),
    }
}
