//! Fraud proofs: what came of each is remembered, what is proven stays so, and all of it is bounded.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

mod common;

use actum_model::*;
use actum_store::*;
use common::*;
use rusqlite::{Connection, params};

fn open() -> (tempfile::TempDir, Store) {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    (home, store)
}

fn receipt(n: u32) -> ReceiptId {
    ReceiptId::of(&n.to_be_bytes())
}

/// Rows as the store writes them, many at once.
fn fill(home: &std::path::Path, rows: impl Iterator<Item = (u32, Did, ProofState, Vec<u8>)>) {
    let mut db = Connection::open(home.join("store/actum.db")).unwrap();
    let tx = db.transaction().unwrap();
    for (n, provider, state, bytes) in rows {
        tx.execute(
            "INSERT INTO proofs (receipt, provider, at, state, bytes) VALUES (?1, ?2, 1, ?3, ?4)",
            params![receipt(n).to_string(), provider.to_string(), state.name(), bytes],
        )
        .unwrap();
    }
    tx.commit().unwrap();
}

#[test]
fn what_came_of_a_proof_is_found_after_reopening_and_only_what_holds_is_kept() {
    let (home, store) = open();
    let (liar, honest) = (key(1).did(), key(2).did());
    store.put_proof(&receipt(1), &liar, ProofState::Proven, b"proof", 10).unwrap();
    store.put_proof(&receipt(2), &honest, ProofState::Refuted, b"forged", 11).unwrap();
    store.put_proof(&receipt(3), &honest, ProofState::Undecided, b"unknown", 12).unwrap();
    drop(store);
    let store = Store::open(home.path()).unwrap();
    assert_eq!(store.proven_liar(&liar).unwrap(), Some(receipt(1)));
    assert_eq!(store.proven_liar(&honest).unwrap(), None);
    assert_eq!(store.proof_bytes(&receipt(1)).unwrap().as_deref(), Some(&b"proof"[..]));
    for n in [2, 3, 4] {
        assert_eq!(store.proof_bytes(&receipt(n)).unwrap(), None);
    }
    let refuted = store.proof_of(&receipt(2)).unwrap().unwrap();
    let expected = ProofRecord {
        place: 2,
        receipt: receipt(2),
        provider: honest,
        at: 11,
        state: ProofState::Refuted,
        bytes: 0,
    };
    assert_eq!(refuted, expected);
    assert_eq!(store.proof_of(&receipt(4)).unwrap(), None);
    assert_eq!(store.proof_counts().unwrap(), [1, 1, 1]);
}

#[test]
fn what_is_proven_stays_so_and_what_was_undecided_gets_a_new_place() {
    let (_home, store) = open();
    let liar = key(1).did();
    store.put_proof(&receipt(1), &liar, ProofState::Undecided, b"", 1).unwrap();
    store.put_proof(&receipt(2), &key(2).did(), ProofState::Proven, b"two", 1).unwrap();
    let read = store.proofs_after(0, 64).unwrap();
    assert_eq!(read.iter().map(|p| p.receipt).collect::<Vec<_>>(), [receipt(2)]);
    store.put_proof(&receipt(1), &liar, ProofState::Proven, b"one", 2).unwrap();
    for state in ProofState::ALL {
        store.put_proof(&receipt(1), &liar, state, b"another", 3).unwrap();
    }
    assert_eq!(store.proof_bytes(&receipt(1)).unwrap().as_deref(), Some(&b"one"[..]));
    // Whoever read up to the second hears of the first.
    let more = store.proofs_after(read[0].place, 64).unwrap();
    assert_eq!(more.iter().map(|p| (p.receipt, p.bytes)).collect::<Vec<_>>(), [(receipt(1), 3)]);
    assert_eq!(store.proofs_after(more[0].place, 64).unwrap(), []);
    assert_eq!(store.proofs_after(0, 1).unwrap().len(), 1);
    for state in ProofState::ALL {
        assert_eq!(state.name().parse(), Ok(state));
    }
}

#[test]
fn what_could_not_be_judged_is_forgotten_in_time() {
    let (_home, store) = open();
    store.put_proof(&receipt(1), &key(1).did(), ProofState::Undecided, b"", 5).unwrap();
    let later = 6 + UNDECIDED_KEPT_SECONDS;
    store.put_proof(&receipt(2), &key(2).did(), ProofState::Refuted, b"", later).unwrap();
    assert_eq!(store.proof_of(&receipt(1)).unwrap(), None);
    assert!(store.proof_of(&receipt(2)).unwrap().is_some());
}

#[test]
fn many_who_convict_themselves_push_out_no_liar_that_this_home_dealt_with() {
    let (home, store) = open();
    let made = Made::new(1, 1, 8);
    store.put_receipts(&[made.parts()]).unwrap();
    let (known, stranger) = (key(1).did(), key(2).did());
    store.put_proof(&made.receipt.id(), &known, ProofState::Proven, b"known", 1).unwrap();
    store.put_proof(&receipt(1), &stranger, ProofState::Proven, b"stranger", 1).unwrap();
    let nobody = key(3).did();
    let rows = (0..MAX_PROOFS as u32 - 2)
        .map(|n| (100 + n, nobody, if n == 7 { ProofState::Refuted } else { ProofState::Proven }, vec![1]));
    fill(home.path(), rows);
    let later = |n| store.put_proof(&receipt(n), &nobody, ProofState::Proven, b"later", 2).unwrap();
    // What proved nothing goes first, then the oldest of those never dealt with.
    later(50_000);
    assert_eq!(store.proof_of(&receipt(107)).unwrap(), None);
    assert_eq!(store.proven_liar(&stranger).unwrap(), Some(receipt(1)));
    later(50_001);
    assert_eq!(store.proven_liar(&stranger).unwrap(), None);
    assert_eq!(store.proven_liar(&known).unwrap(), Some(made.receipt.id()));
    assert_eq!(store.proof_counts().unwrap(), [MAX_PROOFS as u64, 0, 0]);
}

#[test]
fn the_bytes_of_proofs_are_bounded_and_what_they_proved_is_not_forgotten() {
    let (home, store) = open();
    let made = Made::new(1, 1, 8);
    store.put_receipts(&[made.parts()]).unwrap();
    let known = key(1).did();
    store.put_proof(&made.receipt.id(), &known, ProofState::Proven, b"known", 1).unwrap();
    let large = vec![7; 8 << 20];
    let fits = (MAX_PROOFS_BYTES / large.len() as u64) as u32 - 1;
    fill(home.path(), (0..fits).map(|n| (n, key(2).did(), ProofState::Proven, large.clone())));
    for n in [1_000, 1_001] {
        store.put_proof(&receipt(n), &key(3).did(), ProofState::Proven, &large, 2).unwrap();
    }
    let kept: u64 = store.proofs_after(0, usize::MAX).unwrap().iter().map(|p| p.bytes).sum();
    assert!(kept <= MAX_PROOFS_BYTES, "{kept}");
    assert_eq!(store.proof_of(&receipt(0)).unwrap().unwrap().bytes, 0);
    assert_eq!(store.proof_counts().unwrap(), [u64::from(fits) + 3, 0, 0]);
    assert_eq!(store.proof_bytes(&made.receipt.id()).unwrap().as_deref(), Some(&b"known"[..]));
}

#[test]
fn whose_lies_matter_here() {
    let (_home, store) = open();
    let made = Made::new(1, 1, 8);
    store.put_receipts(&[made.parts()]).unwrap();
    store.put_offers(&[(&descriptor(2, "words", 1, 10, 100), &lease(2, 1, 1, 10, 100))], 20).unwrap();
    assert!(store.deals_with(&key(1).did(), 20).unwrap());
    assert!(store.deals_with(&key(2).did(), 20).unwrap());
    assert!(!store.deals_with(&key(2).did(), 100).unwrap());
    assert!(!store.deals_with(&key(3).did(), 20).unwrap());
}

#[test]
fn verdicts_are_read_on_from_a_place() {
    let (_home, store) = open();
    let said: Vec<_> = (0..3).map(|n| verdict(9, 1, receipt(n), Judgement::Identical)).collect();
    for verdict in &said {
        store.put_verdict(verdict).unwrap();
    }
    let all = store.verdicts_after(0, 64).unwrap();
    assert_eq!(store.last_verdict().unwrap(), all[2].0);
    assert_eq!(all.iter().map(|(_, v)| v.clone()).collect::<Vec<_>>(), said);
    assert_eq!(store.verdicts_after(all[0].0, 1).unwrap(), [all[1].clone()]);
    assert_eq!(store.verdicts_after(all[2].0, 64).unwrap(), []);
}
