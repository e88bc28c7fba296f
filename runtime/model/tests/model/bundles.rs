//! A bundle holds exactly what its receipt names, byte for byte.

use crate::samples::{self, COMPONENT, author, provider, requester};
use actum_model::{
    Attestation, Authority, BlobId, Bodies, Journal, JournalEntry, Outcome, Proof, Receipt, Signed,
    bundle::{BlockKind, Bundle, BundleError},
    id::{DAG_CBOR, RAW, cid_of},
};

pub(crate) fn bundle() -> Bundle {
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

fn with_receipt(receipt: Receipt) -> Bundle {
    Bundle { receipt: Signed::sign(receipt, &provider()), ..bundle() }
}

/// A bundle whose journal names these bodies, one an entry.
fn told(bodies: &[&[u8]]) -> Bundle {
    let entry = |body: &&[u8]| JournalEntry {
        function: "wasi:keyvalue/store#bucket.get".to_owned(),
        asked: vec![0xf6].into(),
        told: vec![0xf6].into(),
        bodies: vec![BlobId::of(body)],
    };
    let journal = Journal { entries: bodies.iter().map(entry).collect() };
    Bundle {
        journal: journal.bytes(),
        bodies: bodies.iter().map(|b| (BlobId::of(b), b.to_vec())).collect(),
        ..with_receipt(Receipt { journal: journal.id(), ..samples::receipt() })
    }
}

/// The header and the sections of a bundle, each with its length in front.
pub(crate) fn sections(bytes: &[u8]) -> Vec<Vec<u8>> {
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

pub(crate) fn section(codec: u64, bytes: &[u8]) -> Vec<u8> {
    let cid = cid_of(codec, bytes).to_bytes();
    let mut buffer = unsigned_varint::encode::usize_buffer();
    let length = unsigned_varint::encode::usize(cid.len() + bytes.len(), &mut buffer);
    [length, &cid, bytes].concat()
}

fn refused(bytes: &[u8]) -> BundleError {
    Bundle::from_bytes(bytes).unwrap_err()
}

#[test]
fn reads_back_what_was_written() {
    let whole = bundle();
    assert_eq!(Bundle::from_bytes(&whole.to_bytes()).unwrap(), whole);
    let bare = Bundle {
        release: None,
        output: None,
        stdio: None,
        ..with_receipt(Receipt { outcome: Outcome::OutOfFuel, stdio: None, ..samples::receipt() })
    };
    assert_eq!(Bundle::from_bytes(&bare.to_bytes()).unwrap(), bare);
    assert_eq!(sections(&bare.to_bytes()).len(), 1 + 4);
    assert_eq!(sections(&whole.to_bytes()).len(), 1 + 7);
}

#[test]
fn the_root_and_first_block_is_the_receipt() {
    let bundle = bundle();
    let first = &sections(&bundle.to_bytes())[1];
    assert_eq!(*first, section(DAG_CBOR, bundle.receipt.bytes()));
    let header = &sections(&bundle.to_bytes())[0];
    // {"roots": [42(h'00' + CID)], "version": 1}
    let mut expected = b"\x3a\xa2\x65roots\x81\xd8\x2a\x58\x25\x00".to_vec();
    expected.extend(bundle.receipt.id().cid().to_bytes());
    expected.extend(b"\x67version\x01");
    assert_eq!(*header, expected);
}

#[test]
fn equal_blocks_are_written_once() {
    let same = samples::args();
    let outcome = Outcome::Ok(BlobId::of(&same));
    let bundle = Bundle { output: Some(same), ..with_receipt(Receipt { outcome, ..samples::receipt() }) };
    let bytes = bundle.to_bytes();
    assert_eq!(sections(&bytes).len(), 1 + 6);
    assert_eq!(Bundle::from_bytes(&bytes).unwrap(), bundle);
}

#[test]
fn bodies_follow_the_journal_in_its_order_each_once() {
    let bundle = told(&[b"zebra", b"ape", b"zebra"]);
    let bytes = bundle.to_bytes();
    assert_eq!(Bundle::from_bytes(&bytes).unwrap(), bundle);
    let all = sections(&bytes);
    assert_eq!(all.len(), 1 + 7 + 2);
    assert_eq!(all[4], section(DAG_CBOR, &bundle.journal));
    assert_eq!([&all[5], &all[6]], [&section(RAW, b"zebra"), &section(RAW, b"ape")]);

    for i in [5, 6] {
        let mut fewer = all.clone();
        fewer.remove(i);
        assert!(
            matches!(refused(&fewer.concat()), BundleError::Missing { kind: BlockKind::Body, .. }),
            "{i}"
        );
        let mut more = all.clone();
        more.insert(i, section(RAW, b"stranger"));
        assert!(matches!(refused(&more.concat()), BundleError::Stranger { .. }), "{i}");
        let mut twice = all.clone();
        twice.insert(i, all[i].clone());
        assert!(matches!(refused(&twice.concat()), BundleError::Duplicate { .. }), "{i}");
    }
    for (a, b) in [(4, 5), (5, 6), (6, 7), (3, 6)] {
        let mut swapped = all.clone();
        swapped.swap(a, b);
        assert!(matches!(refused(&swapped.concat()), BundleError::Order { .. }), "{a} {b}");
    }
    let missing = Bundle { bodies: Bodies::new(), ..bundle };
    assert!(matches!(refused(&missing.to_bytes()), BundleError::Missing { kind: BlockKind::Body, .. }));
}

#[test]
fn a_body_equal_to_another_part_is_written_once() {
    let (output, stdio) = (samples::output(), samples::stdio());
    let bundle = told(&[&stdio, COMPONENT, &output]);
    let bytes = bundle.to_bytes();
    assert_eq!(sections(&bytes).len(), 1 + 7);
    assert_eq!(Bundle::from_bytes(&bytes).unwrap(), bundle);
}

#[test]
fn any_changed_byte() {
    let granted = samples::granted_bundle().to_bytes();
    for bytes in [bundle().to_bytes(), told(&[&[7; 300], b"ape"]).to_bytes(), granted] {
        any_changed_byte_of(&bytes);
    }
}

fn any_changed_byte_of(bytes: &[u8]) {
    for i in 0..bytes.len() {
        for change in [0x01, 0x80, 0x20, 0xff] {
            let mut changed = bytes.to_vec();
            changed[i] ^= change;
            assert!(Bundle::from_bytes(&changed).is_err(), "byte {i} changed by {change:#x}");
        }
    }
}

#[test]
fn any_cut_and_any_byte_added() {
    let bytes = bundle().to_bytes();
    let without_release = Bundle { release: None, ..bundle() }.to_bytes();
    for end in 0..bytes.len() {
        // What is left when the release is cut off is the bundle without it, as it may be.
        let cut = Bundle::from_bytes(&bytes[..end]);
        assert_eq!(cut.is_ok(), bytes[..end] == without_release, "cut to {end} bytes");
    }
    for extra in [0x00, 0x01, 0x80] {
        assert!(Bundle::from_bytes(&[&bytes[..], &[extra]].concat()).is_err());
    }
}

/// The sections of a granted receipt's bundle: header, receipt, arguments, journal, component, and then these.
const REQUEST: usize = 5;
const ROOT: usize = 6;
const LEAF: usize = 7;
const RELEASE: usize = 8;

#[test]
fn the_request_and_its_chain_follow_the_component_root_first() {
    let granted = samples::granted_bundle();
    let all = sections(&granted.to_bytes());
    assert_eq!(all.len(), RELEASE + 1);
    assert_eq!(all[REQUEST], section(DAG_CBOR, samples::request().bytes()));
    assert_eq!(all[ROOT], section(DAG_CBOR, samples::grants()[0].bytes()));
    assert_eq!(all[LEAF], section(DAG_CBOR, samples::grants()[1].bytes()));
    assert_eq!(Bundle::from_bytes(&all.concat()).unwrap(), granted);
}

#[test]
fn a_request_or_a_delegation_may_be_missing() {
    let granted = samples::granted_bundle();
    let all = sections(&granted.to_bytes());
    let without = |i: usize| {
        let mut fewer = all.clone();
        fewer.remove(i);
        fewer.concat()
    };
    let [root, leaf] = <[_; 2]>::try_from(samples::grants()).unwrap();
    for (i, fewer) in [
        (REQUEST, Bundle { invocation: None, ..granted.clone() }),
        (ROOT, Bundle { proofs: vec![leaf], ..granted.clone() }),
        (LEAF, Bundle { proofs: vec![root], ..granted.clone() }),
        (RELEASE, Bundle { release: None, ..granted.clone() }),
    ] {
        assert_eq!(fewer.to_bytes(), without(i));
        assert_eq!(Bundle::from_bytes(&without(i)).unwrap(), fewer);
    }
}

#[test]
fn requests_and_delegations_in_another_order_twice_or_that_the_receipt_does_not_name() {
    let granted = samples::granted_bundle();
    let all = sections(&granted.to_bytes());
    for (a, b) in [(REQUEST, ROOT), (ROOT, LEAF), (REQUEST, LEAF), (4, REQUEST), (3, LEAF)] {
        let mut swapped = all.clone();
        swapped.swap(a, b);
        let error = refused(&swapped.concat());
        assert!(matches!(error, BundleError::Order { .. }), "{a} {b}: {error}");
    }
    for i in [REQUEST, ROOT, LEAF] {
        let mut swapped = all.clone();
        swapped.swap(i, RELEASE);
        let error = refused(&swapped.concat());
        assert!(matches!(error, BundleError::Stranger { .. } | BundleError::Order { .. }), "{i}: {error}");
        let mut twice = all.clone();
        twice.insert(i, all[i].clone());
        assert!(matches!(refused(&twice.concat()), BundleError::Duplicate { .. }), "{i}");
        let mut more = all.clone();
        more.insert(i, section(DAG_CBOR, Signed::sign(samples::delegation(), &author()).bytes()));
        assert!(matches!(refused(&more.concat()), BundleError::Stranger { .. }), "{i}");
    }
    // What a receipt does not say it ran by has no place beside it.
    let listed = Bundle { invocation: Some(samples::request()), ..bundle() };
    assert!(matches!(refused(&listed.to_bytes()), BundleError::Stranger { .. }));
    let listed = Bundle { release: None, proofs: samples::grants(), ..bundle() };
    assert!(matches!(refused(&listed.to_bytes()), BundleError::Stranger { .. }));
}

#[test]
fn a_request_or_a_delegation_that_its_issuer_did_not_sign() {
    let granted = samples::granted_bundle();
    let forged = Signed::sign(samples::request().payload().clone(), &author());
    let receipt = Receipt { invocation: Some(forged.id()), ..granted.receipt.payload().clone() };
    let receipt = Signed::sign(receipt, &provider());
    let error = refused(&Bundle { receipt, invocation: Some(forged), ..granted.clone() }.to_bytes());
    assert!(matches!(error, BundleError::Token { kind: BlockKind::Invocation, .. }), "{error}");

    let forged = Proof::from(Signed::sign(samples::delegation(), &requester()));
    let authority = Authority::Granted(vec![*forged.id()]);
    let receipt = Signed::sign(Receipt { authority, ..granted.receipt.payload().clone() }, &provider());
    let error = refused(&Bundle { receipt, proofs: vec![forged], ..granted }.to_bytes());
    assert!(matches!(error, BundleError::Token { kind: BlockKind::Delegation, .. }), "{error}");
}

#[test]
fn a_missing_block_is_named() {
    let all = sections(&bundle().to_bytes());
    let kinds =
        [BlockKind::Args, BlockKind::Output, BlockKind::Journal, BlockKind::Stdio, BlockKind::Component];
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
fn a_duplicate_block() {
    let mut all = sections(&bundle().to_bytes());
    for i in 1..all.len() {
        let mut twice = all.clone();
        twice.insert(i, all[i].clone());
        assert!(matches!(refused(&twice.concat()), BundleError::Duplicate { block, .. } if block == i + 1));
    }
    all.pop();
    let last = all[2].clone();
    all.push(last);
    assert!(matches!(refused(&all.concat()), BundleError::Duplicate { block: 7, .. }));
}

#[test]
fn a_stranger_block_anywhere() {
    let all = sections(&Bundle { release: None, ..bundle() }.to_bytes());
    for i in 2..=all.len() {
        let mut more = all.clone();
        more.insert(i, section(RAW, b"not named by the receipt"));
        assert!(matches!(refused(&more.concat()), BundleError::Stranger { .. }), "at {i}");
    }
}

#[test]
fn another_order() {
    let all = sections(&bundle().to_bytes());
    for i in 3..all.len() {
        let mut swapped = all.clone();
        swapped.swap(i - 1, i);
        let error = refused(&swapped.concat());
        let ok = matches!(error, BundleError::Order { .. } | BundleError::Stranger { .. });
        assert!(ok, "{i}: {error}");
    }
    let mut swapped = all;
    swapped.swap(1, 2);
    assert!(matches!(refused(&swapped.concat()), BundleError::Root { .. }));
}

#[test]
fn a_header_that_is_not_canonical() {
    let all = sections(&bundle().to_bytes());
    let root = bundle().receipt.id();
    let header = |roots: usize, version: u8| {
        let mut h = b"\xa2\x65roots".to_vec();
        h.push(0x80 | u8::try_from(roots).unwrap());
        for _ in 0..roots {
            h.extend(b"\xd8\x2a\x58\x25\x00");
            h.extend(root.cid().to_bytes());
        }
        h.extend(b"\x67version");
        h.push(version);
        [vec![u8::try_from(h.len()).unwrap()], h].concat()
    };
    assert_eq!(header(1, 1), all[0]);
    let blocks = all[1..].concat();
    for wrong in [header(0, 1), header(2, 1), header(1, 2), vec![0], vec![]] {
        let error = refused(&[wrong, blocks.clone()].concat());
        assert!(matches!(error, BundleError::Header(_)), "{error}");
    }
    let long = [&[all[0][0] | 0x80, 0x00], &all[0][1..], &blocks].concat();
    assert!(matches!(refused(&long), BundleError::Length { block: 0 }));
    let unsorted = {
        let mut h = b"\x3a\xa2\x67version\x01\x65roots\x81\xd8\x2a\x58\x25\x00".to_vec();
        h.extend(root.cid().to_bytes());
        h
    };
    assert!(matches!(refused(&[unsorted, blocks].concat()), BundleError::Header(_)));
}

#[test]
fn a_hash_that_does_not_match_is_named_by_its_block() {
    let all = sections(&bundle().to_bytes());
    for i in 1..all.len() {
        let mut changed = all.clone();
        *changed[i].last_mut().unwrap() ^= 1;
        match refused(&changed.concat()) {
            BundleError::Hash { block, .. } => assert_eq!(block, i),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_receipt_that_its_issuer_did_not_sign() {
    let forged = Signed::sign(samples::receipt(), &author());
    let bytes = Bundle { receipt: forged, ..bundle() }.to_bytes();
    assert!(matches!(refused(&bytes), BundleError::Receipt(_)));
}

#[test]
fn a_release_of_another_component_or_not_signed() {
    let mut release = samples::release();
    release.component = actum_model::ComponentId::of(b"another");
    let bytes = Bundle { release: Some(Signed::sign(release, &author())), ..bundle() }.to_bytes();
    assert!(matches!(refused(&bytes), BundleError::OtherComponent { .. }));
    let forged = Signed::sign(samples::release(), &provider());
    let bytes = Bundle { release: Some(forged), ..bundle() }.to_bytes();
    assert!(matches!(refused(&bytes), BundleError::Release(_)));
}

#[test]
fn an_output_that_the_receipt_does_not_have() {
    let bundle = with_receipt(Receipt { outcome: Outcome::OutOfMemory, ..samples::receipt() });
    assert!(matches!(refused(&bundle.to_bytes()), BundleError::Stranger { block: 3, .. }));
}

#[test]
fn a_journal_or_stdio_of_another_form() {
    let bytes = b"\xa0".to_vec();
    let journal = actum_model::JournalId::of(&bytes);
    let bundle = Bundle { journal: bytes.clone(), ..with_receipt(Receipt { journal, ..samples::receipt() }) };
    let error = refused(&bundle.to_bytes());
    assert!(matches!(error, BundleError::Block { kind: BlockKind::Journal, .. }), "{error}");
    let stdio = Some(BlobId::of(&bytes));
    let bundle = Bundle { stdio: Some(bytes), ..with_receipt(Receipt { stdio, ..samples::receipt() }) };
    let error = refused(&bundle.to_bytes());
    assert!(matches!(error, BundleError::Block { kind: BlockKind::Stdio, .. }), "{error}");
}

/// A bundle with its receipt's attestation behind the release.
fn attested() -> Bundle {
    let bundle = bundle();
    let attestation = Attestation::new(bundle.receipt.id(), "tpm2-quote@1", vec![7; 300]).unwrap();
    Bundle { attestation: Some(attestation), ..bundle }
}

#[test]
fn an_attestation_comes_last_with_a_release_or_without() {
    for bundle in [attested(), Bundle { release: None, ..attested() }] {
        let bytes = bundle.to_bytes();
        let last = section(DAG_CBOR, bundle.attestation.as_ref().unwrap().bytes());
        assert_eq!(sections(&bytes).last(), Some(&last));
        assert_eq!(Bundle::from_bytes(&bytes).unwrap(), bundle);
        let bare = Bundle { attestation: None, ..bundle }.to_bytes();
        assert_eq!(bytes, [bare, last].concat());
        for i in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[i] ^= 1;
            assert!(Bundle::from_bytes(&changed).is_err(), "byte {i}");
        }
    }
}

#[test]
fn an_attestation_out_of_its_place_or_twice() {
    let all = sections(&attested().to_bytes());
    let last = all.len() - 1;
    for at in 2..last {
        let mut moved = all.clone();
        let attestation = moved.pop().unwrap();
        moved.insert(at, attestation);
        let error = refused(&moved.concat());
        assert!(matches!(error, BundleError::Stranger { .. }), "at {at}: {error}");
    }
    let other = Attestation::new(attested().receipt.id(), "tpm2-quote@1", vec![8; 300]).unwrap();
    let more = [all.concat(), section(DAG_CBOR, other.bytes())].concat();
    assert!(matches!(refused(&more), BundleError::Stranger { block, .. } if block == last + 1));
    let mut instead = all;
    instead[last - 1] = section(DAG_CBOR, other.bytes());
    assert!(matches!(refused(&instead.concat()), BundleError::Release(_)));
}

#[test]
fn an_attestation_of_another_receipt_or_malformed() {
    let attestation = Attestation::new(samples::verdict().receipt, "tpm2-quote@1", vec![7]).unwrap();
    let other = Receipt { fuel: 1, ..samples::receipt() };
    let error = refused(&Bundle { attestation: Some(attestation), ..with_receipt(other) }.to_bytes());
    assert!(matches!(error, BundleError::OtherReceipt { .. }), "{error}");

    let bare = bundle().to_bytes();
    let attested = attested();
    let bytes = attested.attestation.as_ref().unwrap().bytes();
    for end in 21..bytes.len() {
        let error = refused(&[&bare[..], &section(DAG_CBOR, &bytes[..end])].concat());
        assert!(matches!(error, BundleError::Block { kind: BlockKind::Attestation, .. }), "{end}: {error}");
    }
    // As uninterpreted bytes it is none.
    let error = refused(&[&bare[..], &section(RAW, bytes)].concat());
    assert!(matches!(error, BundleError::Stranger { .. }), "{error}");
}

#[test]
fn an_attestation_over_its_bounds() {
    let id = bundle().receipt.id();
    let around = Attestation::new(id, "a", vec![0; 8 << 10]).unwrap().bytes().len() - (8 << 10);
    let room = Attestation::MAX_BYTES - around;
    assert_eq!(Attestation::new(id, "a", vec![0; room]).unwrap().bytes().len(), Attestation::MAX_BYTES);
    assert!(Attestation::new(id, "a", vec![0; room + 1]).is_err());
    let longest = "f".repeat(Attestation::MAX_FORMAT_BYTES);
    assert_eq!(Attestation::new(id, &longest, vec![]).unwrap().format(), longest);
    for format in ["", "tpm\u{1b}[2J", "TPM", "a b", &format!("{longest}f")] {
        assert!(Attestation::new(id, format, vec![]).is_err(), "{format:?}");
    }
}
