//! Who served whom: counted with the receipts, by pair, once each, and found again in an older store.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

mod common;

use actum_model::{balance::Tally, *};
use actum_store::*;
use common::*;

fn open() -> (tempfile::TempDir, Store) {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    (home, store)
}

/// The `n`th action that `requester` asked of `provider`.
fn asked(provider: u8, requester: u8, n: u64, fuel: u64) -> Made {
    let made = Made::new(provider, n, 4);
    let mut receipt = made.receipt.payload().clone();
    receipt.action.requester = key(requester).did();
    receipt.authority = Authority::Public;
    receipt.invocation = Some(InvocationId::of(&[&[provider, requester][..], &n.to_be_bytes()].concat()));
    receipt.fuel = fuel;
    Made { receipt: Signed::sign(receipt, &key(provider)), ..made }
}

fn tally_of(made: &[&Made]) -> Tally {
    let mut tally = Tally::default();
    made.iter().for_each(|m| tally.add(&m.receipt.id(), m.receipt.payload().fuel));
    tally
}

fn tally(store: &Store, provider: u8, requester: u8) -> Tally {
    store.tally(&key(provider).did(), &key(requester).did()).unwrap()
}

fn signed(store: &Store, own: u8, peer: u8, now: u64) -> Option<Signed<Balance>> {
    let sign = |balance| Signed::sign(balance, &key(own));
    store.signed_balance(&key(own).did(), &key(peer).did(), now, sign).unwrap()
}

#[test]
fn receipts_are_counted_by_pair_whatever_comes_together_and_once() {
    let (_home, store) = open();
    let (a, b, c) = (asked(1, 2, 10, 5), asked(1, 2, 4_000, 7), asked(2, 1, 12, 11));
    // What a home ran for itself, and what others did, is apart.
    let (own, others) = (Made::new(1, 13, 4), asked(3, 2, 14, 1));
    store.put_receipt(a.parts()).unwrap();
    store.put_receipts(&[own.parts(), c.parts(), b.parts(), a.parts(), others.parts()]).unwrap();
    store.put_receipt(b.parts()).unwrap();
    assert_eq!(tally(&store, 1, 2), tally_of(&[&b, &a]));
    assert_eq!(tally(&store, 2, 1), tally_of(&[&c]));
    assert_eq!(tally(&store, 2, 3), Tally::default());
    assert_eq!(store.partners(&key(2).did()).unwrap(), [key(1).did(), key(3).did()].into());
    let [one, two] = [key(1).did(), key(2).did()];
    assert_eq!(store.served_since(&one, &two, 0).unwrap(), [(0, 5), (1, 7)]);
    assert_eq!(store.served_since(&one, &two, 1).unwrap(), [(1, 7)]);
    let first = store.entries(&one, &two, 0, 1).unwrap();
    assert_eq!((first.len(), first[0].receipt), (1, a.receipt.id()));
    let rest = store.entries(&one, &two, first[0].n, 9).unwrap();
    assert_eq!(rest.iter().map(|e| e.receipt).collect::<Vec<_>>(), [b.receipt.id()]);
    assert_eq!(store.entry(&own.receipt.id()).unwrap(), None);
}

#[test]
fn a_second_answer_to_one_request_is_no_entry() {
    let (_home, store) = open();
    let made = asked(1, 2, 10, 5);
    let mut again = made.receipt.payload().clone();
    again.fuel = 500;
    let again = Made { receipt: Signed::sign(again, &key(1)), ..asked(1, 2, 10, 5) };
    store.put_receipts(&[made.parts(), again.parts()]).unwrap();
    assert!(store.receipt(&again.receipt.id()).unwrap().is_some());
    assert_eq!(tally(&store, 1, 2), tally_of(&[&made]));
}

#[test]
fn a_void_entry_counts_nothing_and_is_shown() {
    let (_home, store) = open();
    let (lie, truth) = (asked(1, 2, 10, u64::MAX), asked(1, 2, 11, 7));
    store.put_receipts(&[lie.parts(), truth.parts()]).unwrap();
    assert_eq!(tally(&store, 1, 2).fuel, balance::MAX_SUM);
    let [one, two] = [key(1).did(), key(2).did()];
    assert_eq!(store.judged_entries(&one, &two).unwrap(), []);
    store.put_verdict(&verdict(2, 1, lie.receipt.id(), Judgement::Identical)).unwrap();
    assert_eq!(store.judged_entries(&one, &two).unwrap()[0].receipt, lie.receipt.id());
    assert!(store.void_entry(&lie.receipt.id()).unwrap());
    assert!(!store.void_entry(&lie.receipt.id()).unwrap(), "it is void already");
    assert!(!store.void_entry(&ReceiptId::of(b"another")).unwrap());
    assert_eq!(tally(&store, 1, 2), tally_of(&[&truth]), "as if it had never been");
    let void = store.void_entries(&one, &two).unwrap();
    assert_eq!((void.len(), void[0].receipt, void[0].void), (1, lie.receipt.id(), true));
    assert_eq!(store.entries(&one, &two, 0, 9).unwrap().len(), 1);
    // Kept again, it does not come back.
    store.put_receipt(lie.parts()).unwrap();
    assert_eq!(tally(&store, 1, 2), tally_of(&[&truth]));
}

#[test]
fn a_balance_is_signed_anew_only_where_something_changed() {
    let (home, store) = open();
    assert_eq!(signed(&store, 1, 2, 100), None, "there is nothing between them");
    let (a, b) = (asked(1, 2, 10, 5), asked(2, 1, 11, 7));
    store.put_receipt(a.parts()).unwrap();
    let first = signed(&store, 1, 2, 100).unwrap();
    assert_eq!((first.payload().seq, first.payload().iat), (1, 100));
    assert_eq!(first.payload().served, tally_of(&[&a]).side());
    assert_eq!(signed(&store, 1, 2, 200).unwrap(), first);
    store.put_receipt(b.parts()).unwrap();
    // Another process of the home goes on from there.
    let other = Store::open(home.path()).unwrap();
    let second = signed(&other, 1, 2, 300).unwrap();
    assert_eq!((second.payload().seq, second.payload().iat), (2, 300));
    assert_eq!(second.payload().consumed, tally_of(&[&b]).side());
    assert_eq!(signed(&store, 1, 2, 400).unwrap(), second);
    assert_eq!(store.balance(&key(1).did(), &key(2).did()).unwrap().unwrap().balance, second);
}

#[test]
fn of_a_peers_balances_the_highest_is_kept() {
    let (_home, store) = open();
    let side = tally_of(&[&asked(2, 1, 1, 5)]).side();
    let balance = |seq, iat| {
        let [iss, peer] = [key(2).did(), key(1).did()];
        Signed::sign(
            Balance { iss, peer, iat, seq, served: side, consumed: Tally::default().side() },
            &key(2),
        )
    };
    store.put_balance(&balance(5, 1), 100).unwrap();
    for (older, at) in [(balance(4, 2), 110), (balance(5, 3), 105)] {
        store.put_balance(&older, at).unwrap();
        let kept = store.balance(&key(2).did(), &key(1).did()).unwrap().unwrap();
        assert_eq!((kept.balance, kept.at), (balance(5, 1), 110), "and when it was heard");
    }
    store.put_balance(&balance(6, 4), 120).unwrap();
    let kept = store.balance(&key(2).did(), &key(1).did()).unwrap().unwrap();
    assert_eq!((kept.balance, kept.at), (balance(6, 4), 120));
    assert_eq!(store.balance(&key(1).did(), &key(2).did()).unwrap(), None);
}

#[test]
fn an_older_store_is_counted_when_it_is_opened() {
    let home = tempfile::tempdir().unwrap();
    let made: Vec<_> = (0..600).map(|n| asked(1, 2, n, n)).collect();
    let store = Store::open(home.path()).unwrap();
    let parts: Vec<_> = made.iter().map(Made::parts).collect();
    store.put_receipts(&parts).unwrap();
    let counted = tally(&store, 1, 2);
    assert_eq!(counted, tally_of(&made.iter().collect::<Vec<_>>()));
    drop(store);
    let db = rusqlite::Connection::open(home.path().join("store/actum.db")).unwrap();
    db.execute_batch(SCHEMA_5_GONE).unwrap();
    // One is damaged: it is left out, and nothing else.
    let id = made[0].receipt.id().to_string();
    db.execute("UPDATE receipts SET bytes = x'00' WHERE id = ?1", [id]).unwrap();
    drop(db);
    let store = Store::open(home.path()).unwrap();
    let whole: Vec<_> = made[1..].iter().collect();
    assert_eq!(tally(&store, 1, 2), tally_of(&whole));
    // What comes later is added to it.
    let more = asked(1, 2, 1_000, 9);
    store.put_receipt(more.parts()).unwrap();
    assert_eq!(tally(&store, 1, 2), tally_of(&[&whole[..], &[&more]].concat()));
}
