//! A fraud proof is a verdict and its receipt's bundle, byte for byte; what accuses nobody, or another, is refused.

use crate::samples::{self, COMPONENT, author, provider, requester};
use actum_model::{
    BlobId, Bodies, FraudProof, Judgement, Outcome, Receipt, Signed, Verdict,
    bundle::{BlockKind, Bundle, BundleError, PartialBundle},
    id::{DAG_CBOR, RAW, cid_of},
};

fn bundle() -> Bundle {
    Bundle {
        receipt: Signed::sign(samples::receipt(), &provider()),
        release: Some(Signed::sign(samples::release(), &author())),
        component: COMPONENT.to_vec(),
        args: samples::args(),
        output: Some(samples::output()),
        journal: samples::journal().bytes(),
        bodies: Bodies::new(),
        stdio: Some(samples::stdio()),
        invocation: None,
        proofs: vec![],
        attestation: None,
    }
}

fn proof() -> FraudProof {
    FraudProof { verdict: Signed::sign(samples::verdict(), &requester()), bundle: bundle().into() }
}

fn of(bundle: Bundle) -> FraudProof {
    let said = Verdict {
        receipt: bundle.receipt.id(),
        provider: bundle.receipt.payload().iss,
        ..samples::verdict()
    };
    FraudProof { verdict: Signed::sign(said, &requester()), bundle: bundle.into() }
}

fn said(verdict: Verdict) -> FraudProof {
    FraudProof { verdict: Signed::sign(verdict, &requester()), ..proof() }
}

fn without_component(proof: FraudProof) -> FraudProof {
    FraudProof { bundle: proof.bundle.with_component(None), ..proof }
}

/// The header and the sections of an archive, each with its length in front.
fn sections(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = bytes;
    let mut sections = Vec::new();
    while !rest.is_empty() {
        let (n, after) = unsigned_varint::decode::usize(rest).unwrap();
        let size = rest.len() - after.len() + n;
        sections.push(rest[..size].to_vec());
        rest = &rest[size..];
    }
    sections
}

fn section(codec: u64, bytes: &[u8]) -> Vec<u8> {
    let cid = cid_of(codec, bytes).to_bytes();
    let mut buffer = unsigned_varint::encode::usize_buffer();
    let length = unsigned_varint::encode::usize(cid.len() + bytes.len(), &mut buffer);
    [length, &cid, bytes].concat()
}

fn refused(bytes: &[u8]) -> BundleError {
    FraudProof::from_bytes(bytes).unwrap_err()
}

#[test]
fn reads_back_what_was_written_with_its_component_and_without() {
    let granted = of(samples::granted_bundle());
    for whole in [proof(), granted] {
        assert_eq!(FraudProof::from_bytes(&whole.to_bytes(true)).unwrap(), whole);
        let named = FraudProof::from_bytes(&whole.to_bytes(false)).unwrap();
        assert_eq!(named, without_component(whole.clone()));
        // One proof has one byte string, however it came about.
        assert_eq!(named.to_bytes(true), whole.to_bytes(false));
    }
    assert_eq!(proof().claimed().unwrap().at, "fuel");
}

#[test]
fn the_verdict_is_the_root_and_then_comes_the_bundle_as_it_is() {
    let all = sections(&proof().to_bytes(true));
    let bundle = sections(&bundle().to_bytes());
    assert_eq!(all[1], section(DAG_CBOR, proof().verdict.bytes()));
    assert_eq!(all[2..], bundle[1..]);
    // {"roots": [42(h'00' + CID)], "version": 1}
    let mut header = b"\x3a\xa2\x65roots\x81\xd8\x2a\x58\x25\x00".to_vec();
    header.extend(proof().verdict.id().cid().to_bytes());
    header.extend(b"\x67version\x01");
    assert_eq!(all[0], header);
    let fewer = sections(&proof().to_bytes(false));
    let component = section(RAW, COMPONENT);
    assert_eq!(fewer, all.into_iter().filter(|s| *s != component).collect::<Vec<_>>());
}

#[test]
fn a_bundle_is_no_proof_and_a_proof_no_bundle() {
    let (bundle, proof) = (bundle().to_bytes(), proof().to_bytes(true));
    assert!(matches!(refused(&bundle), BundleError::Verdict(_)));
    assert!(matches!(Bundle::from_bytes(&proof), Err(BundleError::Receipt(_))));
    // A bundle needs its component, whatever a proof may leave out.
    let all = sections(&bundle);
    let component = section(RAW, COMPONENT);
    let fewer: Vec<u8> = all.into_iter().filter(|s| *s != component).flatten().collect();
    let error = Bundle::from_bytes(&fewer).unwrap_err();
    assert!(matches!(error, BundleError::Missing { kind: BlockKind::Component, .. }), "{error}");
}

#[test]
fn any_changed_byte() {
    let granted = of(samples::granted_bundle());
    for bytes in [proof().to_bytes(true), proof().to_bytes(false), granted.to_bytes(false)] {
        for i in 0..bytes.len() {
            for change in [0x01, 0x80, 0x20, 0xff] {
                let mut changed = bytes.clone();
                changed[i] ^= change;
                assert!(FraudProof::from_bytes(&changed).is_err(), "byte {i} changed by {change:#x}");
            }
        }
    }
}

#[test]
fn any_cut_and_any_byte_added() {
    let bytes = proof().to_bytes(true);
    let mut bare = proof();
    bare.bundle.release = None;
    // What is left when release and component are cut off is a proof without them, as it may be.
    let may_be = [bare.to_bytes(true), bare.to_bytes(false)];
    for end in 0..bytes.len() {
        let cut = FraudProof::from_bytes(&bytes[..end]);
        assert_eq!(cut.is_ok(), may_be.iter().any(|b| *b == bytes[..end]), "cut to {end} bytes");
    }
    for extra in [0x00, 0x01, 0x80] {
        assert!(FraudProof::from_bytes(&[&bytes[..], &[extra]].concat()).is_err());
    }
}

#[test]
fn a_verdict_that_accuses_nobody() {
    for judgement in [Judgement::Identical, Judgement::NotReplayable("no such profile".into())] {
        let error = refused(&said(Verdict { judgement, ..samples::verdict() }).to_bytes(true));
        assert!(matches!(error, BundleError::NotDiverged), "{error}");
    }
}

#[test]
fn a_verdict_about_another_provider() {
    let error = refused(&said(Verdict { provider: author().did(), ..samples::verdict() }).to_bytes(true));
    match error {
        BundleError::OtherProvider { verdict, receipt } => {
            assert_eq!((*verdict, *receipt), (author().did(), provider().did()))
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_verdict_about_another_receipt() {
    let other = Signed::sign(Receipt { iat: 1, ..samples::receipt() }, &provider());
    let verdict = Verdict { receipt: other.id(), ..samples::verdict() };
    let error = refused(&said(verdict.clone()).to_bytes(true));
    assert!(matches!(error, BundleError::Missing { kind: BlockKind::Receipt, .. }), "{error}");
    // Nor does it help that the receipt it is about is there too.
    let mut all = sections(&said(verdict).to_bytes(true));
    all.insert(2, section(DAG_CBOR, other.bytes()));
    assert!(matches!(refused(&all.concat()), BundleError::Stranger { .. }));
}

#[test]
fn a_verdict_or_receipt_that_its_issuer_did_not_sign() {
    let forged = FraudProof { verdict: Signed::sign(samples::verdict(), &author()), ..proof() };
    assert!(matches!(refused(&forged.to_bytes(true)), BundleError::Verdict(_)));
    let forged = Bundle { receipt: Signed::sign(samples::receipt(), &author()), ..bundle() };
    let proof = FraudProof {
        verdict: Signed::sign(Verdict { receipt: forged.receipt.id(), ..samples::verdict() }, &requester()),
        bundle: PartialBundle::from(forged),
    };
    assert!(matches!(refused(&proof.to_bytes(true)), BundleError::Receipt(_)));
}

#[test]
fn another_component_another_order_a_stranger_or_what_is_missing() {
    let foreign = of(Bundle { component: b"another".to_vec(), ..bundle() });
    assert!(matches!(refused(&foreign.to_bytes(true)), BundleError::Stranger { .. }));
    let all = sections(&proof().to_bytes(true));
    for i in 2..all.len() {
        let mut more = all.clone();
        more.insert(i, section(RAW, b"not named by the receipt"));
        assert!(matches!(refused(&more.concat()), BundleError::Stranger { .. }), "at {i}");
        let mut swapped = all.clone();
        swapped.swap(i - 1, i);
        assert!(FraudProof::from_bytes(&swapped.concat()).is_err(), "{i}");
        let mut twice = all.clone();
        twice.insert(i, all[i].clone());
        assert!(matches!(refused(&twice.concat()), BundleError::Duplicate { .. }), "{i}");
    }
    let kinds =
        [BlockKind::Receipt, BlockKind::Args, BlockKind::Output, BlockKind::Journal, BlockKind::Stdio];
    for (i, expected) in (2..).zip(kinds) {
        let mut fewer = all.clone();
        fewer.remove(i);
        match refused(&fewer.concat()) {
            BundleError::Missing { kind, .. } => assert_eq!(kind, expected),
            other => panic!("{expected}: {other}"),
        }
    }
}

#[test]
fn a_lie_told_by_a_failure_has_no_output() {
    let receipt = Receipt { outcome: Outcome::OutOfFuel, stdio: None, ..samples::receipt() };
    let bundle = Bundle {
        receipt: Signed::sign(receipt, &provider()),
        output: None,
        stdio: None,
        release: None,
        ..bundle()
    };
    let proof = of(bundle);
    assert_eq!(FraudProof::from_bytes(&proof.to_bytes(true)).unwrap(), proof);
    assert_eq!(sections(&proof.to_bytes(false)).len(), 1 + 4);
    assert_ne!(BlobId::of(&proof.to_bytes(true)), BlobId::of(&proof.to_bytes(false)));
}
