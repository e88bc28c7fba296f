//! Messages are strict: one byte string each, nothing unknown, nothing behind, nothing oversized.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use actum_model::{
    BlobId, ComponentId, ReceiptId,
    codec::{self, DecodeError},
};
use actum_overlay::{Accusation, Event, Notice, Place, Refusal, RefusalCode, Request, RequestKind, Response};
use common::*;
use proptest::prelude::*;
use serde_bytes::ByteBuf;

fn requests() -> Vec<Request> {
    vec![
        Request::Announce { lease: vec![1; 512], descriptors: vec![ByteBuf::from(vec![2; 4096]); 128] },
        Request::Find { query: vec![3; 2048] },
        call(&key(1), vec![4; 1 << 20]),
        Request::Call {
            invocation: vec![1; 32 << 10],
            proofs: vec![vec![2; 16 << 10].into(); 8],
            args: vec![],
        },
        Request::Resume { invocation: vec![6; 32 << 10], leaves: true },
        Request::Notify { notices: vec![revocation(), Notice::Rotation { rotation: vec![3; 64 << 10] }] },
        Request::Notices { after: Place { revocations: u64::MAX >> 1, rotations: 0 } },
        Request::Verdicts { about: key(2).did() },
        Request::Accuse { receipt: ReceiptId::of(b"r"), provider: key(2).did(), bytes: u32::MAX },
        Request::Proof { receipt: ReceiptId::of(b"r") },
        Request::Accusations { after: u64::MAX >> 1 },
        release(),
        Request::Manifest { component: ComponentId::of(b"c"), manifest: BlobId::of(b"m") },
        chunk(u32::MAX),
        Request::Balance { balance: vec![9; 1 << 10] },
        Request::Entries { served: true, after: u64::MAX >> 1 },
    ]
}

fn responses() -> Vec<(RequestKind, Response)> {
    let refusal = Refusal::new(RefusalCode::Busy, "x".repeat(5000)).retry_after_ms(u64::MAX >> 1);
    vec![
        (RequestKind::Announce, Response::Announced { accepted: 3, refused: vec!["y".repeat(1024); 128] }),
        (RequestKind::Find, Response::Page { page: vec![1; 256 << 10] }),
        (RequestKind::Call, done(vec![2; 1 << 20])),
        (RequestKind::Call, told(vec![vec![5; 1025], vec![6; 1 << 20]])),
        (RequestKind::Call, attested(16 << 10)),
        (RequestKind::Notify, Response::Notified { news: 1, refused: vec!["z".repeat(1024); 64] }),
        (RequestKind::Notices, Response::Notices { notices: vec![revocation()], next: Place::default() }),
        (RequestKind::Verdicts, Response::Verdicts { verdicts: vec![ByteBuf::from([7; 9])] }),
        (RequestKind::Accuse, Response::Heard { wanted: true }),
        (RequestKind::Proof, Response::Proof { car: vec![8; 8 << 20] }),
        (
            RequestKind::Accusations,
            Response::Accusations { list: vec![accusation(); 64], next: u64::MAX >> 1 },
        ),
        (RequestKind::Release, Response::Release { release: vec![3; 256 << 10] }),
        (RequestKind::Resume, told(vec![vec![5; 1025]])),
        (RequestKind::Manifest, Response::Manifest { bytes: vec![7; 8 << 10] }),
        (RequestKind::Chunk, Response::Chunk { bytes: vec![4; 256 << 10] }),
        (RequestKind::Balance, Response::Balance { balance: vec![9; 1 << 10] }),
        (RequestKind::Entries, Response::Entries { ids: vec![[7; 32].into(); 256], next: u64::MAX >> 1 }),
        (RequestKind::Chunk, refusal.into()),
    ]
}

fn revocation() -> Notice {
    Notice::Revocation { revocation: vec![1; 32 << 10], witness: vec![vec![2; 16 << 10].into(); 8] }
}

fn accusation() -> Accusation {
    Accusation { receipt: ReceiptId::of(b"r"), provider: key(2).did(), bytes: u32::MAX }
}

fn told(bodies: Vec<Vec<u8>>) -> Response {
    let bodies = bodies.into_iter().map(ByteBuf::from).collect();
    Response::Done {
        receipt: vec![1],
        output: None,
        journal: vec![2],
        bodies,
        stdio: None,
        attestation: None,
    }
}

fn attested(bytes: usize) -> Response {
    let attestation = Some(vec![8; bytes]);
    Response::Done {
        receipt: vec![1],
        output: None,
        journal: vec![2],
        bodies: vec![],
        stdio: None,
        attestation,
    }
}

#[test]
fn an_attestation_may_be_there_and_is_bounded() {
    // One of none is written as no attestation.
    let none = codec::encode(&told(vec![]));
    assert!(!none.windows(11).any(|w| w == b"attestation"));
    let mut null =
        b"\xa1\x64done\xa5\x65stdio\xf6\x66output\xf6\x67journal\x41\x02\x67receipt\x41\x01".to_vec();
    null.extend(b"\x6battestation\xf6");
    assert!(Response::decode(&null, RequestKind::Call).is_err());
    let refused = Response::decode(&codec::encode(&attested((16 << 10) + 1)), RequestKind::Call).unwrap_err();
    assert!(matches!(refused, DecodeError::Invalid(_)), "{refused}");
}

#[test]
fn bodies_so_small_that_they_belong_in_the_journal_are_refused() {
    for small in [0, 1, 1024] {
        let bytes = codec::encode(&told(vec![vec![5; 1025], vec![6; small]]));
        assert!(Response::decode(&bytes, RequestKind::Call).is_err(), "{small}");
    }
    // A list of none is written as no list.
    let none = codec::encode(&told(vec![]));
    assert!(!none.windows(6).any(|w| w == b"bodies"));
    let mut written = b"\xa1\x64done\xa5".to_vec();
    written.extend(b"\x65stdio\xf6\x66bodies\x80\x66output\xf6\x67journal\x41\x02\x67receipt\x41\x01");
    assert!(Response::decode(&written, RequestKind::Call).is_err());
    let absent = b"\xa1\x64done\xa4\x65stdio\xf6\x66output\xf6\x67journal\x41\x02\x67receipt\x41\x01";
    assert_eq!(none, absent);
}

/// An element is a byte on the wire, and more in memory: one too many ends the reading.
#[test]
fn a_list_ends_at_the_element_after_the_last_that_may_be() {
    for length in [9, 1_000_000_u32] {
        let mut call = b"\xa1\x64call\xa3\x64args\x40\x66proofs\x9a".to_vec();
        call.extend(length.to_be_bytes());
        if length < 24 {
            call.truncate(call.len() - 5);
            call.push(0x80 | u8::try_from(length).unwrap());
        }
        call.resize(call.len() + length as usize, 0x40);
        call.extend(b"\x6ainvocation\x41\x01");
        let refused = Request::decode(&call).unwrap_err().to_string();
        assert!(refused.contains("at most 8 elements"), "{refused}");
    }
}

#[test]
fn messages_at_their_largest_read_back() {
    for request in requests() {
        assert_eq!(Request::decode(&codec::encode(&request)).unwrap(), request);
    }
    for (kind, response) in responses() {
        assert_eq!(Response::decode(&codec::encode(&response), kind).unwrap(), response);
    }
    for event in [
        Event::Queued { ahead: u32::MAX },
        Event::Fetching { chunks_done: u32::MAX, chunks_total: u32::MAX },
        Event::Running,
    ] {
        assert_eq!(Event::decode(&codec::encode(&event)).unwrap(), event);
    }
}

#[test]
fn trailing_bytes_are_refused() {
    for request in requests() {
        let mut bytes = codec::encode(&request);
        bytes.push(0);
        assert!(Request::decode(&bytes).is_err());
        bytes.truncate(bytes.len() - 2);
        assert!(Request::decode(&bytes).is_err());
    }
}

#[test]
fn unknown_fields_and_messages_are_refused() {
    // {"find": {"x": 0, "query": h''}} and {"mind": {"query": h''}}
    for bytes in [
        &b"\xa1\x64find\xa2\x61x\x00\x65query\x40"[..],
        b"\xa1\x64mind\xa1\x65query\x40",
        b"",
        b"\xa1",
        b"\xa0",
    ] {
        assert!(Request::decode(bytes).is_err(), "{bytes:?}");
    }
    assert!(Request::decode(b"\xa1\x64find\xa1\x65query\x40").is_ok());
    // A length in two bytes that fits in one.
    assert!(Request::decode(b"\xa1\x64find\xa1\x65query\x58\x00").is_err());
}

#[test]
fn bytes_as_a_list_of_numbers_are_refused() {
    assert!(Request::decode(b"\xa1\x64find\xa1\x65query\x81\x01").is_err());
}

#[test]
fn an_answer_to_another_question_is_refused() {
    let chunk = codec::encode(&Response::Chunk { bytes: vec![1] });
    assert!(Response::decode(&chunk, RequestKind::Chunk).is_ok());
    assert!(Response::decode(&chunk, RequestKind::Call).is_err());
    assert!(Response::decode(&chunk, RequestKind::Manifest).is_err());
    let done = codec::encode(&done(vec![1]));
    assert!(Response::decode(&done, RequestKind::Resume).is_ok());
    assert!(Response::decode(&done, RequestKind::Manifest).is_err());
}

#[test]
fn oversized_messages_are_refused_unparsed() {
    let mut bytes = codec::encode(&chunk(1));
    bytes.resize(RequestKind::Chunk.max_request_bytes() + 1, 0);
    assert!(matches!(Request::decode(&bytes), Err(DecodeError::TooLarge { .. })));
    let oversized = Response::Chunk { bytes: vec![0; (256 << 10) + 1] };
    assert!(matches!(
        Response::decode(&codec::encode(&oversized), RequestKind::Chunk),
        Err(DecodeError::Invalid(_))
    ));
    let manifest = codec::encode(&Response::Manifest { bytes: vec![0; (8 << 10) + 1] });
    assert!(matches!(Response::decode(&manifest, RequestKind::Manifest), Err(DecodeError::Invalid(_))));
    let manifest = codec::encode(&Response::Manifest { bytes: vec![0; 16 << 10] });
    assert!(matches!(Response::decode(&manifest, RequestKind::Manifest), Err(DecodeError::TooLarge { .. })));
    let car = Response::Proof { car: vec![0; (8 << 20) + 1] };
    assert!(matches!(
        Response::decode(&codec::encode(&car), RequestKind::Proof),
        Err(DecodeError::Invalid(_))
    ));
    let many = Response::Accusations { list: vec![accusation(); 65], next: 1 };
    let refused = Response::decode(&codec::encode(&many), RequestKind::Accusations).unwrap_err();
    assert!(matches!(refused, DecodeError::Malformed(_)), "{refused}");
    let many = Request::Announce { lease: vec![], descriptors: vec![ByteBuf::new(); 129] };
    assert!(matches!(Request::decode(&codec::encode(&many)), Err(DecodeError::Malformed(_))));
    let small = |n: usize| vec![ByteBuf::from(vec![1]); n];
    for oversized in [
        Request::Call { invocation: vec![0; (32 << 10) + 1], proofs: vec![], args: vec![] },
        Request::Call { invocation: vec![], proofs: small(9), args: vec![] },
        Request::Call { invocation: vec![], proofs: vec![vec![0; (16 << 10) + 1].into()], args: vec![] },
        Request::Resume { invocation: vec![0; (32 << 10) + 1], leaves: false },
        Request::Notify { notices: vec![Notice::Rotation { rotation: vec![0; (64 << 10) + 1] }] },
        Request::Notify { notices: vec![Notice::Revocation { revocation: vec![], witness: small(9) }] },
        Request::Notify { notices: vec![Notice::Rotation { rotation: vec![] }; 65] },
    ] {
        let refused = Request::decode(&codec::encode(&oversized)).unwrap_err();
        assert!(matches!(refused, DecodeError::Invalid(_) | DecodeError::Malformed(_)), "{refused}");
    }
}

#[test]
fn balances_and_entries_are_bounded() {
    let refused = Request::decode(&codec::encode(&Request::Balance { balance: vec![0; (1 << 10) + 1] }));
    assert!(matches!(refused, Err(DecodeError::Invalid(_))), "{refused:?}");
    let large = codec::encode(&Response::Balance { balance: vec![0; (1 << 10) + 1] });
    assert!(matches!(Response::decode(&large, RequestKind::Balance), Err(DecodeError::Invalid(_))));
    let many = codec::encode(&Response::Entries { ids: vec![[7; 32].into(); 257], next: 1 });
    assert!(matches!(Response::decode(&many, RequestKind::Entries), Err(DecodeError::Malformed(_))));
    // A digest has 32 bytes.
    assert!(
        Response::decode(b"\xa1\x67entries\xa2\x63ids\x81\x41\x07\x64next\x01", RequestKind::Entries)
            .is_err()
    );
    assert!(Response::decode(b"\xa1\x67entries\xa2\x63ids\x80\x64next\x01", RequestKind::Entries).is_ok());
}

#[test]
fn refusal_codes_are_written_as_shown() {
    for code in [
        RefusalCode::Busy,
        RefusalCode::NotOffered,
        RefusalCode::NotAllowed,
        RefusalCode::Exhausted,
        RefusalCode::BadProof,
        RefusalCode::Expired,
        RefusalCode::TooEarly,
        RefusalCode::Revoked,
        RefusalCode::AlreadyServed,
        RefusalCode::UnknownInvocation,
        RefusalCode::Gone,
        RefusalCode::UnknownComponent,
        RefusalCode::UnknownRelease,
        RefusalCode::BadRequest,
        RefusalCode::OverLimit,
        RefusalCode::ShuttingDown,
        RefusalCode::Internal,
    ] {
        assert_eq!(codec::encode(&code), codec::encode(code.name()));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        if let Ok(request) = Request::decode(&bytes) {
            prop_assert_eq!(codec::encode(&request), bytes.clone());
        }
        let _ = Response::decode(&bytes, RequestKind::Call);
        let _ = Event::decode(&bytes);
    }

    #[test]
    fn a_changed_byte_never_reads_as_the_same(at in 0_usize..60, to in any::<u8>()) {
        let request = release();
        let mut bytes = codec::encode(&request);
        let at = at % bytes.len();
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        if let Ok(other) = Request::decode(&bytes) {
            prop_assert_ne!(other, request);
        }
    }
}
