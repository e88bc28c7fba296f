//! What a session refuses: each peer here breaks the protocol its own way, is disconnected, and an honest peer is served.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use actum_model::codec;
use actum_overlay::{
    Overlay, OverlayConfig, Request, Response, Stream,
    frame::{HEADER_BYTES, Header, Kind, PAYLOAD_BYTES},
};
use common::*;
use futures::{AsyncReadExt, AsyncWriteExt};
use std::{num::NonZeroUsize, time::Duration};

/// A frame as an honest peer would write it.
fn frame(kind: Kind, id: u32, last: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Header { kind, last, id, length: payload.len() }.encode().to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

fn request(id: u32, request: &Request) -> Vec<u8> {
    frame(Kind::Request, id, true, &codec::encode(request))
}

/// The first part of a call that never comes to its end.
fn endless() -> Vec<u8> {
    let bytes = codec::encode(&call(&key(2), vec![7; 2 * PAYLOAD_BYTES]));
    bytes[..PAYLOAD_BYTES].to_vec()
}

/// Reads all frames until the stream ends, for whatever reason.
async fn read_frames(stream: &mut Stream) -> Vec<(Header, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some(frame) = read_frame(stream).await {
        frames.push(frame);
    }
    frames
}

async fn read_frame(stream: &mut Stream) -> Option<(Header, Vec<u8>)> {
    let mut head = [0; HEADER_BYTES];
    stream.read_exact(&mut head).await.ok()?;
    let header = Header::decode(&head).unwrap();
    let mut payload = vec![0; header.length];
    stream.read_exact(&mut payload).await.ok()?;
    Some((header, payload))
}

/// Sends `bytes` to an overlay, expects a goodbye with `why`, and that an honest peer is served before and after.
async fn disconnected(bytes: &[u8], why: &str) {
    let (provider, requester) = pair("tcp", echo()).await;
    let mut stream = hostile(&address(&provider, "tcp")).await;
    requester.request(&provider.did(), &chunk(1), LONG).await.unwrap();
    // The write may fail midway: the stream is closed under it.
    let _ = stream.write_all(bytes).await;
    let _ = stream.flush().await;
    let frames = tokio::time::timeout(LONG, read_frames(&mut stream)).await.expect("not disconnected");
    let (header, words) = frames.last().expect("no goodbye");
    assert_eq!(header.kind, Kind::Goodbye);
    let words = String::from_utf8(words.clone()).unwrap();
    assert!(words.contains(why), "{words}");
    requester.request(&provider.did(), &chunk(2), LONG).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage() {
    disconnected(b"GET / HTTP/1.1\r\nHost: actum\r\n\r\n", "unknown kind").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_said_to_be_four_gigabytes() {
    disconnected(&[0xff, 0xff, 0xff, 0xff, 0x80, 0, 0, 0, 0], "a frame of 4294967295 bytes").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_in_crumbs() {
    let crumb = Header { kind: Kind::Request, last: false, id: 0, length: 1 }.encode();
    disconnected(&crumb, "neither full nor the last").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_no_known_kind() {
    disconnected(&frame(Kind::Request, 0, true, b"\xa1\x64nope\xa0"), "not a request").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_with_trailing_bytes() {
    let mut bytes = codec::encode(&chunk(1));
    bytes.push(0);
    disconnected(&frame(Kind::Request, 0, true, &bytes), "a request: not valid DAG-CBOR").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_message_over_its_size() {
    let mut bytes = codec::encode(&chunk(1));
    bytes.resize(PAYLOAD_BYTES, 0);
    disconnected(&frame(Kind::Request, 0, false, &bytes), "over its size").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_without_end() {
    let part = frame(Kind::Request, 0, false, &endless());
    let (provider, requester) = pair("tcp", echo()).await;
    let mut stream = hostile(&address(&provider, "tcp")).await;
    // 64 MiB and 64 KiB are allowed: 1,025 frames. Write until the other end has had enough.
    let mut written = 0;
    while written < 4096 && stream.write_all(&part).await.is_ok() {
        written += 1;
    }
    assert!((1025..4096).contains(&written), "{written} frames were taken");
    requester.request(&provider.did(), &chunk(2), LONG).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_used_twice() {
    let twice = [request(5, &chunk(1)), request(5, &chunk(2))].concat();
    disconnected(&twice, "").await;
    let falling = [request(5, &chunk(1)), request(4, &chunk(2))].concat();
    disconnected(&falling, "must rise").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_events_and_cancellations_of_nothing() {
    let response = codec::encode(&Response::Chunk { bytes: vec![1] });
    disconnected(&frame(Kind::Response, 0, true, &response), "an answer to no request").await;
    disconnected(&frame(Kind::Event, 0, true, b"\x67running"), "an answer to no request").await;
    disconnected(&frame(Kind::Cancel, 0, true, b""), "a cancellation of nothing").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_requests_than_the_protocol_allows() {
    let hanging = answer(|_, request, _, _| {
        Box::pin(async move {
            match request {
                Request::Call { .. } => std::future::pending().await,
                other => echoed(other),
            }
        })
    });
    let (provider, requester) = pair("tcp", hanging).await;
    let mut stream = hostile(&address(&provider, "tcp")).await;
    let one = call(&key(2), vec![]);
    // Sixty-four are handled, the next are told to wait.
    for id in 0..65 {
        stream.write_all(&request(id, &one)).await.unwrap();
    }
    stream.flush().await.unwrap();
    let (header, bytes) = read_frame(&mut stream).await.unwrap();
    assert_eq!(header.id, 64);
    match Response::decode(&bytes, one.kind()).unwrap() {
        Response::Refused { refusal } => assert_eq!(refusal.code.name(), "busy"),
        other => panic!("{other:?}"),
    }
    requester.request(&provider.did(), &chunk(2), LONG).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_falls_silent_within_a_message() {
    let mut config = OverlayConfig::default();
    config.timeouts.stall = Duration::from_millis(100);
    let provider = Overlay::start(config, &key(1), echo()).await.unwrap();
    for bytes in
        [vec![0, 0, 0], frame(Kind::Request, 0, false, &endless()), request(0, &chunk(1))[..20].to_vec()]
    {
        let mut stream = hostile(&address(&provider, "tcp")).await;
        // The write may fail midway: the stream is closed under it.
        let _ = stream.write_all(&bytes).await;
        let _ = stream.flush().await;
        let frames = tokio::time::timeout(LONG, read_frames(&mut stream)).await.expect("not disconnected");
        let (_, words) = frames.last().expect("no goodbye");
        assert!(String::from_utf8_lossy(words).contains("no progress"), "{words:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_kept_waiting_behind_others() {
    let mut config = OverlayConfig::default();
    config.timeouts.stall = Duration::from_millis(100);
    let provider = Overlay::start(config, &key(1), echo()).await.unwrap();
    let mut stream = hostile(&address(&provider, "tcp")).await;
    let _ = stream.write_all(&frame(Kind::Request, 0, false, &endless())).await;
    // Whole calls, asked and answered, as fast as they go.
    let whole = call(&key(2), vec![7; 32 << 10]);
    let goodbye = async {
        let mut id = 0;
        loop {
            id += 1;
            let _ = stream.write_all(&request(id, &whole)).await;
            let _ = stream.flush().await;
            let (header, payload) = read_frame(&mut stream).await.expect("no goodbye");
            if header.kind == Kind::Goodbye {
                break payload;
            }
        }
    };
    let words = tokio::time::timeout(LONG, goodbye).await.expect("not disconnected");
    assert!(String::from_utf8_lossy(&words).contains("no progress"), "{words:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_messages_beyond_the_memory_allowed() {
    let mut config = OverlayConfig::default();
    config.limits.reassembly_session_bytes = NonZeroUsize::new(1 << 20).unwrap();
    let provider = Overlay::start(config, &key(1), echo()).await.unwrap();
    let requester = Overlay::start(OverlayConfig::client(), &key(2), echo()).await.unwrap();
    requester.connect(&address(&provider, "tcp")).await.unwrap();
    let large = call(&key(2), vec![7; 4 << 20]);
    match requester.request(&provider.did(), &large, LONG).await.unwrap() {
        Response::Refused { refusal } => assert_eq!(refusal.message, "no memory left to receive this"),
        other => panic!("{other:?}"),
    }
    // What was held is free again.
    let fits = call(&key(2), vec![7; 200 << 10]);
    for _ in 0..20 {
        let answer = requester.request(&provider.did(), &fits, LONG).await.unwrap();
        assert_eq!(answer, done(vec![7; 200 << 10]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_asks_for_much_and_reads_nothing_holds_no_more_than_its_share() {
    let handler = answer(|_, request, _, _| {
        Box::pin(async move {
            match request {
                Request::Resume { .. } => done(vec![7; 600 << 10]),
                other => echoed(other),
            }
        })
    });
    let mut config = OverlayConfig::default();
    config.limits.reassembly_session_bytes = NonZeroUsize::new(1 << 20).unwrap();
    let provider = Overlay::start(config, &key(1), handler).await.unwrap();
    let mut stream = hostile(&address(&provider, "tcp")).await;
    let resume = Request::Resume { invocation: vec![1; 100], leaves: false };
    for id in 0..60 {
        stream.write_all(&request(id, &resume)).await.unwrap();
    }
    stream.flush().await.unwrap();
    // All sixty small questions are answered; most of them by a refusal, since nothing was read meanwhile.
    let (mut whole, mut busy, mut left) = (0, 0, 60);
    let mut parts: std::collections::BTreeMap<u32, Vec<u8>> = Default::default();
    while left > 0 {
        let (header, payload) = read_frame(&mut stream).await.unwrap();
        parts.entry(header.id).or_default().extend(payload);
        if header.last {
            left -= 1;
            match Response::decode(&parts.remove(&header.id).unwrap(), resume.kind()).unwrap() {
                Response::Refused { refusal } if refusal.code.name() == "busy" => busy += 1,
                Response::Done { .. } => whole += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(whole >= 1 && busy >= 40, "{whole} answered, {busy} refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resumption_and_a_manifest_over_their_sizes() {
    let mut bytes = codec::encode(&Request::Resume { invocation: vec![1; 32 << 10], leaves: false });
    bytes.resize(PAYLOAD_BYTES, 0);
    disconnected(&frame(Kind::Request, 0, false, &bytes), "over its size").await;
    let oversized = codec::encode(&Request::Resume { invocation: vec![1; (32 << 10) + 1], leaves: false });
    disconnected(&frame(Kind::Request, 0, true, &oversized), "oversized").await;
    disconnected(&frame(Kind::Event, 0, true, b"\x67running"), "an answer to no request").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_message_with_trailing_bytes() {
    let mut bytes = codec::encode(&call(&key(2), vec![7; 3 << 20]));
    bytes.push(0);
    let mut frames = Vec::new();
    for part in bytes.chunks(PAYLOAD_BYTES) {
        frames.extend(frame(Kind::Request, 0, part.len() < PAYLOAD_BYTES, part));
    }
    disconnected(&frames, "a request: not valid DAG-CBOR").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_answer_that_is_none() {
    use std::sync::{Arc, Mutex};
    // A handler cannot write a false answer, so a bare stream does: it takes the overlay's own request.
    let taken = Arc::new(Mutex::new(None));
    let asked = taken.clone();
    let handler = answer(move |_, request, session, _| {
        let asked = asked.clone();
        Box::pin(async move {
            let call = call(&key(1), vec![1]);
            *asked.lock().unwrap() = Some(tokio::spawn(async move { session.request(&call, LONG).await }));
            echoed(request)
        })
    });
    let provider = overlay(1, handler).await;
    let mut stream = hostile(&address(&provider, "tcp")).await;
    stream.write_all(&request(0, &chunk(1))).await.unwrap();
    stream.flush().await.unwrap();
    // Its question, and its answer to ours, in whatever order.
    let heads = [read_frame(&mut stream).await.unwrap().0, read_frame(&mut stream).await.unwrap().0];
    let id = heads.iter().find(|head| head.kind == Kind::Request).unwrap().id;
    let mut bytes = codec::encode(&done(vec![7; 3 << 20]));
    bytes.push(0);
    for part in bytes.chunks(PAYLOAD_BYTES) {
        stream.write_all(&frame(Kind::Response, id, part.len() < PAYLOAD_BYTES, part)).await.unwrap();
    }
    stream.flush().await.unwrap();
    let frames = tokio::time::timeout(LONG, read_frames(&mut stream)).await.expect("not disconnected");
    let (header, words) = frames.last().expect("no goodbye");
    assert_eq!(header.kind, Kind::Goodbye);
    assert!(String::from_utf8_lossy(words).contains("an answer: not valid DAG-CBOR"));
    let task = taken.lock().unwrap().take().unwrap();
    let error = task.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("an answer"), "{error}");
}
