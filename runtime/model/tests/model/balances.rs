//! What a balance commits to, what it may not say, and that its file is one byte string.

use crate::samples::{author, balance, granted_receipt, provider, receipt, request, requester};
use actum_model::{
    Balance, DecodeError, EnvelopeError, InvocationId, Receipt, ReceiptId, Signed, Statement,
    balance::{Accounts, AccountsError, Entry, MAX_SUM, ReceiptSet, Side, Tally, between, receipt_of},
    bundle::BundleError,
    ucan::MAX_TIME,
};
use proptest::prelude::*;

fn id(n: u64) -> ReceiptId {
    ReceiptId::of(&n.to_be_bytes())
}

fn set(ids: impl IntoIterator<Item = u64>) -> ReceiptSet {
    let mut set = ReceiptSet::default();
    ids.into_iter().for_each(|n| set.add(&id(n)));
    set
}

proptest! {
    #[test]
    fn a_set_is_the_same_in_any_order_and_no_other_set_is(
        ids in proptest::collection::btree_set(0_u64..1_000, 1..24),
        seed in any::<u64>(),
    ) {
        let whole = set(ids.iter().copied());
        let mut shuffled: Vec<u64> = ids.iter().copied().collect();
        shuffled.sort_by_key(|n| n.wrapping_mul(seed | 1));
        prop_assert_eq!(set(shuffled.iter().copied()).digest(), whole.digest());
        for left_out in &ids {
            let others = ids.iter().copied().filter(|n| n != left_out);
            prop_assert_ne!(set(others.clone()).digest(), whole.digest());
            prop_assert_ne!(set(others.chain([1_000])).digest(), whole.digest());
            let mut twice = whole.clone();
            twice.add(&id(*left_out));
            prop_assert_ne!(twice.digest(), whole.digest());
        }
        prop_assert_eq!(ReceiptSet::from_bytes(&whole.to_bytes()), Some(whole));
    }
}

#[test]
fn a_sum_of_another_size_is_none() {
    for size in
        [0, 1, ReceiptSet::BYTES - 2, ReceiptSet::BYTES - 1, ReceiptSet::BYTES + 1, ReceiptSet::BYTES + 2]
    {
        assert_eq!(ReceiptSet::from_bytes(&vec![1; size]), None, "{size}");
    }
    assert_eq!(ReceiptSet::from_bytes(&vec![0; ReceiptSet::BYTES]), Some(ReceiptSet::default()));
}

#[test]
fn a_digest_is_a_receipts_again() {
    let id = id(7);
    assert_eq!(receipt_of(id.digest().try_into().unwrap()), id);
}

#[test]
fn a_sum_past_the_most_stays_there() {
    let mut tally = Tally::default();
    tally.add(&id(1), MAX_SUM - 1);
    tally.add(&id(2), u64::MAX);
    tally.add(&id(3), 1);
    assert_eq!((tally.receipts, tally.fuel), (3, MAX_SUM));
}

/// Why a balance, rightly signed, is refused by whoever reads it.
fn refused(balance: Balance) -> String {
    let signed = Signed::sign(balance.clone(), &provider());
    match Signed::<Balance>::verify(signed.bytes()) {
        Err(EnvelopeError::Decode { source: DecodeError::Invalid(why), .. }) => {
            assert!(Signed::try_sign(balance, &provider()).is_err());
            why
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_balance_says_only_what_can_be() {
    let good = balance();
    let largest = Side { receipts: MAX_SUM, fuel: MAX_SUM, ..good.served };
    let large = Balance { iat: MAX_TIME, seq: MAX_TIME, served: largest, consumed: largest, ..good.clone() };
    let signed = Signed::try_sign(large, &provider()).unwrap();
    assert!(signed.bytes().len() <= Balance::MAX_BYTES, "{}", signed.bytes().len());
    Signed::<Balance>::verify(signed.bytes()).unwrap();

    assert!(refused(Balance { peer: good.iss, ..good.clone() }).contains("nobody owes themselves"));
    assert!(refused(Balance { iat: MAX_TIME + 1, ..good.clone() }).contains("2^53 - 1"));
    assert!(refused(Balance { seq: MAX_TIME + 1, ..good.clone() }).contains("2^53 - 1"));
    let over = Side { fuel: MAX_SUM + 1, ..good.served };
    assert!(refused(Balance { served: over, ..good.clone() }).contains("2^63 - 1"));
    assert!(refused(Balance { consumed: over, ..good.clone() }).contains("2^63 - 1"));
    let nothing = Tally::default().side();
    for none in [Side { fuel: 1, ..nothing }, Side { digest: good.served.digest, ..nothing }] {
        assert!(refused(Balance { served: none, ..good.clone() }).contains("no receipts"));
    }
    // Another's word is nobody's.
    let forged = Signed::sign(good, &author());
    assert!(matches!(Signed::<Balance>::verify(forged.bytes()), Err(EnvelopeError::BadSignature { .. })));
}

#[test]
fn only_what_one_asked_and_another_ran_is_an_entry() {
    let asked = receipt();
    assert_eq!(between(&asked), Some((provider().did(), requester().did())));
    assert_eq!(between(&Receipt { invocation: None, ..asked.clone() }), None);
    assert_eq!(between(&Receipt { iss: requester().did(), ..asked }), None);
}

fn accounts() -> Accounts {
    let asked = Receipt { invocation: Some(request().id()), ..granted_receipt() };
    let other = Receipt { invocation: Some(InvocationId::of(b"lost")), ..receipt() };
    let mut entries = vec![
        Entry { receipt: Signed::sign(asked, &provider()), invocation: Some(request()) },
        Entry { receipt: Signed::sign(other, &provider()), invocation: None },
    ];
    entries.sort_by_key(|entry| entry.receipt.id());
    let ours = balance();
    let theirs = Balance {
        iss: ours.peer,
        peer: ours.iss,
        served: ours.consumed,
        consumed: ours.served,
        ..ours.clone()
    };
    Accounts {
        ours: Signed::sign(ours, &provider()),
        theirs: Some(Signed::sign(theirs, &requester())),
        entries,
    }
}

#[test]
fn accounts_read_back_as_they_were_and_in_one_order() {
    let whole = accounts();
    for built in [
        whole.clone(),
        Accounts { theirs: None, ..whole.clone() },
        Accounts { entries: vec![], ..whole.clone() },
        Accounts { theirs: None, entries: vec![], ..whole.clone() },
    ] {
        let bytes = built.to_bytes();
        let read = Accounts::from_bytes(&bytes).unwrap();
        assert_eq!(read, built);
        assert_eq!(read.to_bytes(), bytes);
    }
    let mut turned = whole.clone();
    turned.entries.reverse();
    assert_eq!(turned.to_bytes(), whole.to_bytes());
}

#[test]
fn accounts_with_any_byte_changed_are_refused() {
    let bytes = accounts().to_bytes();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(Accounts::from_bytes(&changed).is_err(), "byte {at}");
    }
    for cut in [1, 100, bytes.len() / 2] {
        assert!(Accounts::from_bytes(&bytes[..bytes.len() - cut]).is_err(), "{cut}");
    }
    assert!(Accounts::from_bytes(&[&bytes[..], b"x"].concat()).is_err());
}

#[test]
fn accounts_of_others_are_refused() {
    let whole = accounts();
    let stranger = Balance { iss: author().did(), ..whole.theirs.as_ref().unwrap().payload().clone() };
    let other = Accounts { theirs: Some(Signed::sign(stranger, &author())), ..whole.clone() };
    assert!(matches!(Accounts::from_bytes(&other.to_bytes()), Err(AccountsError::OtherPair)));
    let forged = Balance { seq: 9, ..whole.theirs.as_ref().unwrap().payload().clone() };
    let forged = Accounts { theirs: Some(Signed::sign(forged, &author())), ..whole.clone() };
    let refused = Accounts::from_bytes(&forged.to_bytes()).unwrap_err();
    assert!(matches!(refused, AccountsError::Block { block: 2, .. }), "{refused}");
    // A request that no receipt before it names has no place.
    let mut stray = whole;
    for entry in &mut stray.entries {
        entry.invocation = Some(request());
    }
    stray.entries.retain(|entry| entry.receipt.payload().invocation != Some(request().id()));
    assert!(matches!(Accounts::from_bytes(&stray.to_bytes()), Err(AccountsError::Block { .. })));
    assert!(matches!(
        Accounts::from_bytes(b""),
        Err(AccountsError::Archive(BundleError::Length { .. } | BundleError::CutShort { .. }))
    ));
}
