//! What is put is found again, as it was and in the promised order.
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

#[test]
fn blobs_of_every_size_come_back_and_absent_ones_are_none() {
    let (_home, store) = open();
    for size in [0, 1, INLINE_BYTES, INLINE_BYTES + 1, 1 << 20] {
        let bytes = vec![7; size];
        let id = store.put_blob(&bytes).unwrap();
        assert_eq!(id, store.put_blob(&bytes).unwrap());
        assert_eq!(store.get(&id).unwrap(), Some(bytes));
        assert!(store.has(&id).unwrap());
    }
    assert_eq!(store.get(&BlobId::of(b"absent")).unwrap(), None);
    let id = store.put_component(&[1; 40_000]).unwrap();
    assert!(store.has_component(&id).unwrap());
    assert!(!store.has_component(&ComponentId::of(b"absent")).unwrap());
    assert_eq!(store.component(&id).unwrap().unwrap().len(), 40_000);
}

#[test]
fn a_blob_is_not_a_component_nor_a_component_a_blob() {
    let (_home, store) = open();
    for size in [8, 100_000] {
        let made = Made::new(1, 1, size);
        store.put_receipts(&[made.parts()]).unwrap();
        for bytes in [&made.args, &made.output, &made.journal] {
            let id = ComponentId::of(bytes);
            assert_eq!(store.component(&id).unwrap(), None);
            assert_eq!(store.get(&id).unwrap(), None);
            assert!(!store.has_component(&id).unwrap());
            assert_eq!(store.component_chunk(&id, 0, 256 << 10).unwrap(), None);
        }
        // The same bytes as both are two entries.
        let id = store.put_component(&made.args).unwrap();
        assert_eq!(store.component(&id).unwrap().unwrap(), made.args);
        let only = vec![9; size];
        store.put_component(&only).unwrap();
        assert_eq!(store.get(&BlobId::of(&only)).unwrap(), None);
        assert!(!store.has(&BlobId::of(&only)).unwrap());
    }
}

#[test]
fn strangers_get_only_what_a_release_here_names() {
    let (_home, store) = open();
    let bytes: Vec<u8> = (0..600_000).map(|n: usize| (n / 1_000) as u8).collect();
    let id = store.put_component(&bytes).unwrap();
    assert_eq!(store.released_chunk(&id, 0).unwrap(), None, "no release names it");
    // A stranger's release with wrong digests, kept first, does not stand in the way of the true one.
    let mut lie = release(2, "lie", "1.0.0", &bytes).into_payload();
    lie.chunks.reverse();
    store.put_release(&Signed::sign(lie, &key(2))).unwrap();
    store.put_release(&release(1, "words", "1.0.0", &bytes)).unwrap();
    for (index, chunk) in bytes.chunks(release::CHUNK_BYTES).enumerate() {
        assert_eq!(store.released_chunk(&id, index as u32).unwrap().unwrap(), chunk);
    }
    assert_eq!(store.released_chunk(&id, 3).unwrap(), None);
    // A release that names somebody's arguments as its component gets nobody those arguments.
    let made = Made::new(1, 1, 100);
    store.put_receipts(&[made.parts()]).unwrap();
    store.put_release(&release(2, "thief", "1.0.0", &made.args)).unwrap();
    assert_eq!(store.released_chunk(&ComponentId::of(&made.args), 0).unwrap(), None);
}

#[test]
fn a_component_by_the_chunk_is_the_component() {
    let (_home, store) = open();
    for size in [1, 999, 1_000, 2_500, 100_000] {
        let bytes: Vec<u8> = (0..size).map(|n: usize| n as u8).collect();
        let id = store.put_component(&bytes).unwrap();
        for (index, chunk) in bytes.chunks(1_000).enumerate() {
            assert_eq!(store.component_chunk(&id, index as u32, 1_000).unwrap().unwrap(), chunk);
        }
        let past = bytes.len().div_ceil(1_000) as u32;
        for index in [past, past + 1, u32::MAX] {
            assert_eq!(store.component_chunk(&id, index, 1_000).unwrap(), None);
        }
    }
    assert_eq!(store.component_chunk(&ComponentId::of(b"absent"), 0, 1_000).unwrap(), None);
}

#[test]
fn everything_is_there_after_reopening_and_nothing_is_outside_the_store() {
    let home = tempfile::tempdir().unwrap();
    let made = Made::new(1, 1, 100_000);
    {
        let store = Store::open(&home.path().join("a/b")).unwrap();
        store.put_receipts(&[made.parts()]).unwrap();
    }
    let store = Store::open(&home.path().join("a/b")).unwrap();
    let evidence = store.evidence(&made.receipt.id()).unwrap().unwrap();
    assert_eq!((evidence.args, evidence.output), (made.args, Some(made.output)));
    assert_eq!((evidence.component, evidence.release), (None, None));
    assert_eq!(std::fs::read_dir(home.path().join("a/b")).unwrap().count(), 1);
}

#[test]
fn a_journal_comes_back_with_its_bodies_which_receipts_share() {
    let (_home, store) = open();
    let large = vec![7; INLINE_BYTES + 1];
    let (journal, bodies) = journal_of(&[b"one", &large, b"one"]);
    let made: Vec<_> = (0..2).map(|n| Made::told(1, n, 8, journal.clone(), bodies.clone())).collect();
    store.put_receipts(&made.iter().map(Made::parts).collect::<Vec<_>>()).unwrap();
    for made in &made {
        let evidence = store.evidence(&made.receipt.id()).unwrap().unwrap();
        assert_eq!((evidence.journal, evidence.bodies), (journal.bytes(), bodies.clone()));
    }
}

#[cfg(unix)]
#[test]
fn directories_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let outer = tempfile::tempdir().unwrap();
    let home = outer.path().join("home");
    let store = Store::open(&home).unwrap();
    store.put_blob(&[0; INLINE_BYTES + 1]).unwrap();
    let mut dirs = vec![home];
    while let Some(dir) = dirs.pop() {
        assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o777, 0o700, "{}", dir.display());
        let entries = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path());
        dirs.extend(entries.filter(|p| p.is_dir()));
    }
}

#[test]
fn releases_by_id_name_version_component_and_newest_first() {
    let (_home, store) = open();
    let old = release(1, "words", "1.9.0", b"one");
    let new = release(1, "words", "1.10.0", b"two");
    let other = release(2, "words", "1.9.0", b"one");
    for r in [&new, &old, &other, &old] {
        store.put_release(r).unwrap();
    }
    assert_eq!(store.release(&old.id()).unwrap(), Some(old.clone()));
    assert_eq!(store.releases().unwrap(), [other.clone(), old.clone(), new.clone()]);
    let name = "words".parse().unwrap();
    assert_eq!(store.find_release(&name, None).unwrap(), [new, other.clone(), old.clone()]);
    let version = "1.9.0".parse().unwrap();
    assert_eq!(store.find_release(&name, Some(&version)).unwrap(), [other.clone(), old.clone()]);
    assert_eq!(store.release_of_component(&ComponentId::of(b"one")).unwrap(), Some(old.clone()));
    assert_eq!(store.releases_of_component(&ComponentId::of(b"one")).unwrap(), [old, other]);
    assert_eq!(store.release_of_component(&ComponentId::of(b"three")).unwrap(), None);
}

#[test]
fn receipts_by_id_time_provider_and_short_id() {
    let (_home, store) = open();
    let made: Vec<_> = (0..20).map(|n| Made::new(1 + (n % 2) as u8, n, 8)).collect();
    let parts: Vec<_> = made.iter().map(Made::parts).collect();
    store.put_receipts(&parts).unwrap();
    store.put_receipts(&parts).unwrap();
    let times = |receipts: Vec<Signed<Receipt>>| receipts.iter().map(|r| r.payload().iat).collect::<Vec<_>>();
    assert_eq!(times(store.receipts(None, 3, None).unwrap()), [19, 18, 17]);
    assert_eq!(times(store.receipts(Some(16), 100, Some(&key(1).did())).unwrap()), [18, 16]);
    assert_eq!(store.receipts(None, 100, None).unwrap().len(), 20);
    let id = made[3].receipt.id().to_string();
    assert_eq!(store.receipt_by_part(&id).unwrap().unwrap(), made[3].receipt);
    assert_eq!(store.receipt_by_part(&id[..20]).unwrap().unwrap(), made[3].receipt);
    assert_eq!(store.receipt_by_part("bafyreizzzzzz").unwrap(), None);
    assert_eq!(store.receipt_by_part(&id[id.len() - 12..]).unwrap().unwrap(), made[3].receipt);
    assert_eq!(store.receipt_by_part("%").unwrap(), None);
}

#[test]
fn a_receipt_that_cannot_be_kept_does_not_take_its_batch_with_it() {
    let (_home, store) = open();
    let mut made: Vec<_> = (0..64).map(|n| Made::new(1, n, 8)).collect();
    made.push(Made::new(1, 64, MAX_BLOB_BYTES));
    let mut parts: Vec<_> = made.iter().map(Made::parts).collect();
    parts[7].journal = b"another";
    let lost = store.put_receipts_each(&parts).unwrap();
    assert!(matches!(
        lost.as_slice(),
        [(7, StoreError::Mismatch { what: "journal", .. }), (64, StoreError::TooLarge { .. })]
    ));
    assert_eq!(store.receipts(None, 100, None).unwrap().len(), 63);
    assert!(store.evidence(&made[63].receipt.id()).unwrap().is_some());
    assert_eq!(store.put_receipts_each(&parts[7..8]).unwrap().len(), 1);
    assert!(store.put_receipts_each(&parts[8..9]).unwrap().is_empty());
}

#[test]
fn verdicts_by_receipt_and_provider() {
    let (_home, store) = open();
    let receipt = ReceiptId::of(b"receipt");
    let good = verdict(1, 2, receipt, Judgement::Identical);
    let bad = verdict(3, 2, ReceiptId::of(b"other"), Judgement::NotReplayable("why".to_owned()));
    for v in [&good, &bad, &good] {
        store.put_verdict(v).unwrap();
    }
    assert_eq!(store.verdicts_of(&receipt).unwrap(), std::slice::from_ref(&good));
    assert_eq!(store.verdicts_about(&key(2).did()).unwrap(), [good, bad]);
    assert!(store.verdicts_about(&key(1).did()).unwrap().is_empty());
}

#[test]
fn more_verdicts_than_one_transaction_takes_are_all_kept() {
    let (_home, store) = open();
    let about = |n: u32| verdict(1, 2, ReceiptId::of(&n.to_be_bytes()), Judgement::Identical);
    let many: Vec<_> = (0..2 * VERDICTS_AT_ONCE as u32 + 3).map(about).collect();
    store.put_verdicts(&many).unwrap();
    store.put_verdicts(&many).unwrap();
    store.put_verdicts(&[]).unwrap();
    assert_eq!(store.verdicts_about(&key(2).did()).unwrap(), many);
}

#[test]
fn receipts_are_listed_with_whether_anyone_judged_them() {
    let (_home, store) = open();
    let made: Vec<_> = (0..6).map(|n| Made::new(1 + (n % 2) as u8, n, 8)).collect();
    store.put_receipts(&made.iter().map(Made::parts).collect::<Vec<_>>()).unwrap();
    store.put_verdict(&verdict(9, 1, made[2].receipt.id(), Judgement::Identical)).unwrap();
    let listed = |since, limit, provider: Option<u8>| {
        let provider = provider.map(|n| key(n).did());
        let listed = store.listed_receipts(since, limit, provider.as_ref()).unwrap();
        let place = |l: &ListedReceipt| made.iter().position(|m| m.receipt.id().to_string() == l.id).unwrap();
        for one in &listed {
            assert_eq!(one.provider, made[place(one)].receipt.payload().iss.to_string());
        }
        listed.iter().map(|one| (place(one), one.judged)).collect::<Vec<_>>()
    };
    let judged = |n: usize| (n, n == 2);
    assert_eq!(listed(None, 100, None), [5, 4, 3, 2, 1, 0].map(judged));
    assert_eq!(listed(Some(2), 100, Some(1)), [4, 2].map(judged));
    assert_eq!(listed(None, 2, None), [5, 4].map(judged));
    let evidence = store.evidence_without_component(&made[1].receipt.id()).unwrap().unwrap();
    assert_eq!((evidence.receipt, evidence.args), (made[1].receipt.clone(), made[1].args.clone()));
}

#[test]
fn an_offer_lives_until_it_expires_is_replaced_or_is_withdrawn() {
    let (_home, store) = open();
    let first = descriptor(1, "words", 5, 100, 1_000);
    store.put_offer(&first, &lease(1, 5, 1, 100, 400), 150).unwrap();
    assert_eq!(store.offers(399).unwrap().len(), 1);
    assert!(store.offers(400).unwrap().is_empty());
    let newer = descriptor(1, "words", 6, 100, 2_000);
    store.put_offer(&newer, &lease(1, 6, 2, 300, 700), 350).unwrap();
    store.put_offer(&first, &lease(1, 5, 1, 100, 400), 350).unwrap();
    let kept = store.offers(350).unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].descriptor, newer);
    assert_eq!(kept[0].lease.payload().seq, 2);
    let next = descriptor(1, "images", 7, 100, 2_000);
    store.put_offer(&next, &lease(1, 7, 3, 300, 700), 350).unwrap();
    assert_eq!(store.offers(350).unwrap()[0].descriptor, next);
    assert_eq!(store.offers(350).unwrap().len(), 1);
    assert_eq!(store.prune_offers(2_000).unwrap(), 2);
}

#[test]
fn one_provider_keeps_a_bounded_number_of_offers_and_the_newest_stay() {
    let (_home, store) = open();
    let lease = lease(1, 0, 1, 0, 900);
    let many: Vec<_> = (0..100).map(|n| descriptor(1, &format!("c{n}"), n, 0, 1_000)).collect();
    let pairs: Vec<_> = many.iter().map(|d| (d, &lease)).collect();
    store.put_offers(&pairs, 1).unwrap();
    let kept = store.offers(1).unwrap();
    assert_eq!(kept.len(), MAX_OFFERS_PER_PROVIDER);
    assert!(kept.iter().all(|o| o.descriptor.payload().seq >= 100 - MAX_OFFERS_PER_PROVIDER as u64));
}

#[test]
fn peers_are_bounded_and_the_last_seen_come_first() {
    let (_home, store) = open();
    for n in 0..(MAX_PEERS as u64 + 5) {
        store.put_peer(&format!("/ip4/127.0.0.1/tcp/{n}"), &key(1).did(), n).unwrap();
    }
    store.put_peer("/ip4/127.0.0.1/tcp/1004", &key(1).did(), 3).unwrap();
    let peers = store.peers().unwrap();
    assert_eq!(peers.len(), MAX_PEERS);
    assert_eq!(peers[0].last_seen, MAX_PEERS as u64 + 4);
    assert_eq!(peers[MAX_PEERS - 1].last_seen, 5);
}

#[test]
fn an_attestation_is_found_by_its_receipt_and_the_first_one_stays() {
    let (home, store) = open();
    let id = ReceiptId::of(b"a receipt");
    assert_eq!(store.attestation_of(&id).unwrap(), None);
    let first = Attestation::new(id, Tpm2Quote::FORMAT, vec![1; 400]).unwrap();
    store.put_attestation(&first).unwrap();
    store.put_attestation(&Attestation::new(id, "other@1", vec![2]).unwrap()).unwrap();
    assert_eq!(store.attestation_of(&id).unwrap(), Some(first.clone()));
    assert_eq!(store.attestation_of(&ReceiptId::of(b"another")).unwrap(), None);
    // One that lies at another receipt's place is damage.
    let other = ReceiptId::of(b"another");
    let db = rusqlite::Connection::open(home.path().join("store/actum.db")).unwrap();
    db.execute("UPDATE attestations SET receipt = ?1", [other.to_string()]).unwrap();
    assert_eq!(store.attestation_of(&id).unwrap(), None);
    let damaged = store.attestation_of(&other).unwrap_err().to_string();
    assert!(damaged.contains("it is of receipt"), "{damaged}");
}
