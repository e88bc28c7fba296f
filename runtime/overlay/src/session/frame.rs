//! Frames: how messages share one stream. A frame is `u32 length | u8 kind | u32 id | payload`, integers big-endian.
//!
//! The length is the payload's. The kind's highest bit marks a message's last frame; every earlier frame of it is
//! full, so that a message cannot be dripped in crumbs. Requests are numbered by who asks, in rising order; answers,
//! events and cancellations carry the number of the request they belong to.

/// Bytes before a payload.
pub const HEADER_BYTES: usize = 9;
/// The largest payload of one frame in bytes: 64 KiB. A small message waits at most for one frame of each large one.
pub const PAYLOAD_BYTES: usize = 64 << 10;
/// Marks a message's last frame.
const LAST: u8 = 0x80;

/// What a frame is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request.
    Request,
    /// The answer to one.
    Response,
    /// News of one. One frame, no more.
    Event,
    /// The asker no longer wants the answer. One empty frame.
    Cancel,
    /// The sender closes the session; the payload says why, in words. One frame.
    Goodbye,
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it is part of.
    pub kind: Kind,
    /// Whether it is the message's last.
    pub last: bool,
    /// The request's number.
    pub id: u32,
    /// Bytes of payload.
    pub length: usize,
}

/// Why a head is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The payload is said to be larger than any frame's.
    #[error("a frame of {0} bytes")]
    TooLong(u32),
    /// No such kind.
    #[error("a frame of unknown kind {0}")]
    UnknownKind(u8),
    /// A frame that is not its message's last must be full, and only requests and answers have several.
    #[error("a {0:?} frame that is neither full nor the last")]
    NotFull(Kind),
}

impl Header {
    /// The head's bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let kind = match self.kind {
            Kind::Request => 0,
            Kind::Response => 1,
            Kind::Event => 2,
            Kind::Cancel => 3,
            Kind::Goodbye => 4,
        };
        let [l0, l1, l2, l3] = u32::try_from(self.length).unwrap_or(u32::MAX).to_be_bytes();
        let [i0, i1, i2, i3] = self.id.to_be_bytes();
        [l0, l1, l2, l3, if self.last { kind | LAST } else { kind }, i0, i1, i2, i3]
    }

    /// Reads a head, refusing one that no honest peer writes.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, FrameError> {
        let [l0, l1, l2, l3, kind, i0, i1, i2, i3] = *bytes;
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        let last = kind & LAST != 0;
        let kind = match kind & !LAST {
            0 => Kind::Request,
            1 => Kind::Response,
            2 => Kind::Event,
            3 => Kind::Cancel,
            4 => Kind::Goodbye,
            unknown => return Err(FrameError::UnknownKind(unknown)),
        };
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        if size > PAYLOAD_BYTES {
            return Err(FrameError::TooLong(length));
        }
        let full = matches!(kind, Kind::Request | Kind::Response) && size == PAYLOAD_BYTES;
        if !last && !full {
            return Err(FrameError::NotFull(kind));
        }
        Ok(Self { kind, last, id: u32::from_be_bytes([i0, i1, i2, i3]), length: size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_read_back() {
        for kind in [Kind::Request, Kind::Response, Kind::Event, Kind::Cancel, Kind::Goodbye] {
            let header = Header { kind, last: true, id: 0xfeed_beef, length: 77 };
            assert_eq!(Header::decode(&header.encode()), Ok(header));
        }
        let part = Header { kind: Kind::Response, last: false, id: 1, length: PAYLOAD_BYTES };
        assert_eq!(Header::decode(&part.encode()), Ok(part));
    }

    #[test]
    fn crumbs_giants_and_strangers_are_refused() {
        let crumb = Header { kind: Kind::Request, last: false, id: 1, length: 1 };
        assert_eq!(Header::decode(&crumb.encode()), Err(FrameError::NotFull(Kind::Request)));
        let event = Header { kind: Kind::Event, last: false, id: 1, length: PAYLOAD_BYTES };
        assert_eq!(Header::decode(&event.encode()), Err(FrameError::NotFull(Kind::Event)));
        let giant = Header { kind: Kind::Request, last: true, id: 1, length: PAYLOAD_BYTES + 1 };
        assert_eq!(Header::decode(&giant.encode()), Err(FrameError::TooLong(65_537)));
        assert_eq!(Header::decode(b"GET / HTT"), Err(FrameError::UnknownKind(47)));
        assert_eq!(Header::decode(&[0, 0, 0, 0, 0x85, 0, 0, 0, 0]), Err(FrameError::UnknownKind(5)));
    }
}
