//! Who may succeed whom: both keys sign the same words.

use crate::samples::{author, provider, requester, rotation};
use actum_model::{DecodeError, DelegationId, EnvelopeError, Rotation, Signed, Statement, ucan::MAX_TIME};
use proptest::prelude::*;
use serde_bytes::ByteArray;
use std::collections::BTreeSet;

/// Why a rotation, rightly signed by the old key, is refused by whoever reads it.
fn refused(rotation: Rotation) -> String {
    let signed = Signed::sign(rotation.clone(), &author());
    match Signed::<Rotation>::verify(signed.bytes()) {
        Err(EnvelopeError::Decode { source: DecodeError::Invalid(why), .. }) => {
            assert!(Signed::try_sign(rotation, &author()).is_err());
            why
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn both_keys_must_agree() {
    let good = rotation();
    assert!(Signed::<Rotation>::verify(Signed::sign(good.clone(), &author()).bytes()).is_ok());
    let nobody = Rotation { accepted: ByteArray::new([0; 64]), ..good.clone() };
    assert!(refused(nobody).contains("the successor did not accept"));
    let by_the_old = author().sign(&Rotation::acceptance(&good.iss, &good.to, good.iat, &good.keep));
    let forced = Rotation { accepted: ByteArray::new(by_the_old), ..good.clone() };
    assert!(refused(forced).contains("the successor did not accept"));
    let another = Rotation { to: provider().did(), ..good };
    assert!(refused(another).contains("the successor did not accept"));
}

#[test]
fn a_thief_of_the_old_key_changes_nothing_that_the_successor_accepted() {
    let good = rotation();
    let more: BTreeSet<_> = good.keep.iter().copied().chain([DelegationId::of(b"the thief's")]).collect();
    for changed in [
        Rotation { keep: more, ..good.clone() },
        Rotation { keep: BTreeSet::new(), ..good.clone() },
        Rotation { iat: good.iat + 1, ..good.clone() },
    ] {
        assert!(refused(changed).contains("the successor did not accept"));
    }
}

#[test]
fn an_acceptance_of_another_key_s_rotation_is_none() {
    let other = Rotation::new(&provider(), &requester(), rotation().iat, rotation().keep);
    assert!(refused(Rotation { accepted: other.accepted, ..rotation() }).contains("did not accept"));
}

#[test]
fn a_key_is_not_its_own_successor() {
    let to_itself = Rotation::new(&author(), &author(), 1, BTreeSet::new());
    assert_eq!(refused(to_itself), "a key is not its own successor");
}

#[test]
fn what_is_kept_and_when_are_bounded() {
    let ids = |n: usize| (0..n).map(|i| DelegationId::of(&i.to_be_bytes())).collect::<BTreeSet<_>>();
    let most = Rotation::new(&author(), &requester(), MAX_TIME, ids(Rotation::MAX_KEPT));
    let signed = Signed::try_sign(most, &author()).unwrap();
    assert!(signed.bytes().len() <= Rotation::MAX_BYTES);
    assert!(Signed::<Rotation>::verify(signed.bytes()).is_ok());
    let more = Rotation::new(&author(), &requester(), 1, ids(Rotation::MAX_KEPT + 1));
    assert!(refused(more).contains("1025 delegations kept"));
    let late = Rotation::new(&author(), &requester(), MAX_TIME + 1, BTreeSet::new());
    assert!(refused(late).contains("2^53"));
}

proptest! {
    #[test]
    fn decoding_what_was_encoded_is_identity(iat in 0..=MAX_TIME, seeds in proptest::collection::vec(any::<u64>(), 0..20)) {
        let keep = seeds.iter().map(|s| DelegationId::of(&s.to_be_bytes())).collect();
        let made = Signed::sign(Rotation::new(&author(), &requester(), iat, keep), &author());
        let read = Signed::<Rotation>::verify(made.bytes()).unwrap();
        prop_assert_eq!(read.id(), made.id());
        prop_assert_eq!(read, made);
    }
}
