//! What peers send each other: messages, progress, and whole sessions of frames.

use actum_model::codec;
use actum_overlay::{Event, Request, RequestKind, Response, fuzzing};

const KINDS: [RequestKind; 15] = [
    RequestKind::Announce,
    RequestKind::Find,
    RequestKind::Call,
    RequestKind::Resume,
    RequestKind::Notify,
    RequestKind::Notices,
    RequestKind::Verdicts,
    RequestKind::Accuse,
    RequestKind::Proof,
    RequestKind::Accusations,
    RequestKind::Release,
    RequestKind::Manifest,
    RequestKind::Chunk,
    RequestKind::Balance,
    RequestKind::Entries,
];

/// Any bytes, as each message: what decodes is within its size and encodes to the same bytes.
pub(crate) fn message(data: &[u8]) {
    if let Ok(request) = Request::decode(data) {
        assert!(data.len() <= request.kind().max_request_bytes(), "a request over its size");
        assert_eq!(codec::encode(&request), data, "a request decoded, encoded");
    }
    for kind in KINDS {
        if let Ok(response) = Response::decode(data, kind) {
            assert!(data.len() <= kind.max_response_bytes().max(2 << 10), "an answer over its size");
            assert_eq!(codec::encode(&response), data, "an answer decoded, encoded");
        }
    }
    if let Ok(event) = Event::decode(data) {
        assert_eq!(codec::encode(&event), data, "an event decoded, encoded");
    }
}

/// Any bytes, as the frames of a session, with requests, answers and cancellations of its own between them.
pub(crate) fn session(data: &[u8]) {
    fuzzing::session(data).unwrap();
}
