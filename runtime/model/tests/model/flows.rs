//! A flow's file holds exactly what its record names, byte for byte, and an archive is told by its first block.

use crate::{
    bundles::{bundle, section, sections},
    samples::{self, provider, requester},
};
use actum_model::{
    BlobId, FlowBundle, FlowRecord, FraudProof, Receipt, Signed, Statement,
    archive::{self, Archive, ArchiveError},
    bundle::{Bundle, BundleError},
    flow::{Feed, FlowBundleError, FlowStep, MAX_STEPS},
    id::{DAG_CBOR, RAW},
};

const PLAN: &[u8] = br#"{"name":"reading"}"#;
const INPUTS: &[u8] = br#"{"text":"to be"}"#;

/// Two steps that share everything but their receipts.
fn steps() -> [Bundle; 2] {
    let later = Receipt { iat: samples::receipt().iat + 1, ..samples::receipt() };
    [bundle(), Bundle { receipt: Signed::sign(later, &provider()), ..bundle() }]
}

fn record(steps: &[Bundle; 2]) -> FlowRecord {
    let fed = vec![Feed { into: "args.text".to_owned(), step: "first".to_owned() }];
    FlowRecord {
        iss: requester().did(),
        iat: 1_790_000_000,
        name: "reading".to_owned(),
        plan: BlobId::of(PLAN),
        inputs: BlobId::of(INPUTS),
        steps: vec![FlowStep::of("first", &steps[0], vec![]), FlowStep::of("second", &steps[1], fed)],
    }
}

fn with(record: FlowRecord) -> FlowBundle {
    let (plan, inputs) = (PLAN.to_vec(), INPUTS.to_vec());
    FlowBundle { record: Signed::sign(record, &requester()), plan, inputs, steps: steps().to_vec() }
}

pub(crate) fn flow() -> FlowBundle {
    with(record(&steps()))
}

fn refused(bytes: &[u8]) -> FlowBundleError {
    FlowBundle::from_bytes(bytes).unwrap_err()
}

#[test]
fn reads_back_what_was_written_with_shared_blocks_once() {
    let flow = flow();
    let bytes = flow.to_bytes();
    let read = FlowBundle::from_bytes(&bytes).unwrap();
    assert_eq!(read, flow);
    assert_eq!(read.bundles(), steps().to_vec());
    // Header, record, plan, inputs, the blocks of one bundle, and the other's receipt.
    let own = sections(&bundle().to_bytes()).len() - 1;
    assert_eq!(sections(&bytes).len(), 1 + 3 + own + 1);
    assert_eq!(flow.record.payload().flow(), flow.record.payload().clone().flow());
}

#[test]
fn every_change_to_any_byte_is_refused() {
    let bytes = flow().to_bytes();
    for at in 0..bytes.len() {
        for flip in [1, 0x80] {
            let mut changed = bytes.clone();
            changed[at] ^= flip;
            assert!(FlowBundle::from_bytes(&changed).is_err(), "byte {at} with {flip:#x} flipped");
        }
    }
    for end in 0..bytes.len() {
        assert!(FlowBundle::from_bytes(&bytes[..end]).is_err(), "cut to {end} bytes");
    }
}

#[test]
fn other_blocks_and_another_order_are_refused() {
    let parts = sections(&flow().to_bytes());
    for n in 2..parts.len() {
        let without: Vec<_> =
            parts.iter().enumerate().filter(|(i, _)| *i != n).map(|(_, p)| p.clone()).collect();
        assert!(FlowBundle::from_bytes(&without.concat()).is_err(), "without block {n}");
        for m in 2..n {
            let mut swapped = parts.clone();
            swapped.swap(n, m);
            let bytes = swapped.concat();
            assert!(matches!(refused(&bytes), FlowBundleError::Order { .. }), "blocks {n} and {m} swapped");
        }
    }
    for place in 2..=parts.len() {
        let mut more = parts.clone();
        more.insert(place, section(RAW, b"a stranger"));
        assert!(matches!(refused(&more.concat()), FlowBundleError::Order { .. }), "a stranger at {place}");
    }
    let mut twice = parts.clone();
    twice.push(parts[3].clone());
    assert!(matches!(refused(&twice.concat()), FlowBundleError::Archive(BundleError::Duplicate { .. })));
}

#[test]
fn a_record_that_names_other_blocks_of_a_step_is_refused() {
    let steps = steps();
    // Everything is there and signed, and the second step claims the first one's blocks behind its own receipt.
    let mut swapped = record(&steps);
    let blocks = swapped.steps[0].blocks.clone();
    swapped.steps[1].blocks.extend(blocks.into_iter().take(1));
    let flow = with(swapped);
    assert!(matches!(refused(&flow.to_bytes()), FlowBundleError::Step { step, .. } if step == "second"));
    let mut missing = record(&steps);
    missing.steps[0].blocks.pop();
    missing.steps[1].blocks.pop();
    // The block is in the file, and nobody names it.
    assert!(matches!(refused(&with(missing).to_bytes()), FlowBundleError::Order { .. }));
}

#[test]
fn what_the_record_says_of_itself_must_hold() {
    let steps = steps();
    let good = record(&steps);
    assert_eq!(good.check(), Ok(()));
    let broken: [&dyn Fn(&mut FlowRecord); 11] = [
        &|r| r.steps.clear(),
        &|r| r.name = "Re ading".to_owned(),
        &|r| r.steps[1].name = "first".to_owned(),
        &|r| r.steps[0].name = String::new(),
        &|r| r.steps[1].receipt = r.steps[0].receipt,
        &|r| {
            let first = r.steps[0].clone();
            r.steps[1] = FlowStep { name: "second".to_owned(), ..first };
        },
        &|r| r.steps[0].blocks.clear(),
        &|r| {
            let block = r.steps[0].blocks[1];
            r.steps[0].blocks.push(block);
        },
        &|r| r.steps[1].fed[0].step = "third".to_owned(),
        &|r| r.steps[1].fed[0].into = "args\n".to_owned(),
        &|r| {
            let feed = r.steps[1].fed[0].clone();
            r.steps[1].fed.push(feed);
        },
    ];
    for (n, change) in broken.iter().enumerate() {
        let mut record = good.clone();
        change(&mut record);
        assert!(record.check().is_err(), "{n}");
        assert!(Signed::try_sign(record.clone(), &requester()).is_err(), "{n}");
        assert!(Signed::<FlowRecord>::verify(Signed::sign(record, &requester()).bytes()).is_err(), "{n}");
    }
    let mut many = good.clone();
    let step = good.steps[0].clone();
    many.steps = (0..=MAX_STEPS).map(|n| FlowStep { name: format!("s{n}"), ..step.clone() }).collect();
    assert!(many.check().is_err());
}

#[test]
fn an_archive_is_read_by_its_first_block() {
    let flow = flow();
    assert_eq!(archive::read(&flow.to_bytes()).unwrap(), Archive::Flow(Box::new(flow.clone())));
    assert_eq!(archive::read(&bundle().to_bytes()).unwrap(), Archive::Receipt(Box::new(bundle())));
    let proof =
        FraudProof { verdict: Signed::sign(samples::verdict(), &requester()), bundle: bundle().into() };
    // Whatever is wrong with it, it is the proof's reader that says so.
    let read = archive::read(&proof.to_bytes(true));
    assert!(matches!(read, Ok(Archive::Proof(_)) | Err(ArchiveError::Proof(_))), "{read:?}");
    assert_eq!(archive::read(&flow.to_bytes()).unwrap().bundles().len(), 2);
    for (bytes, wanted) in [(&b""[..], "no archive"), (b"PK\x03\x04", "another kind of file")] {
        assert!(matches!(archive::read(bytes), Err(ArchiveError::Bundle(_))), "{wanted}");
    }
    let release = Signed::sign(samples::release(), &samples::author());
    let root = section(DAG_CBOR, release.bytes());
    let mut other = sections(&bundle().to_bytes());
    other[1] = root;
    assert!(
        matches!(archive::read(&other.concat()), Err(ArchiveError::Unknown { found }) if found == "actum/release@1")
    );
}
