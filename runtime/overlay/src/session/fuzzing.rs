//! The session's books, driven by arbitrary bytes: what `fuzz` calls. Not for anything else.

use super::{
    core::{Core, Incoming},
    frame::{HEADER_BYTES, Header},
    memory::Budget,
};
use crate::{CloseReason, Limits, Refusal, RefusalCode, Request, Response, defaults};
use actum_model::{ComponentId, Did, SecretKey, codec};
use std::{
    num::NonZeroUsize,
    sync::{Arc, LazyLock},
};

/// What a fuzzed session may hold of unfinished messages, in bytes: small, so that the limit is met.
const HELD: usize = 256 << 10;
/// What its answers may hold beyond that, in bytes: those that cannot wait and those that are small are kept where there is no
/// room. Each here has fewer than 128, and no more requests than this are in flight.
const ANSWERS: usize = 128 * defaults::PROTOCOL_IN_FLIGHT;
/// Whose session it is.
static PEER: LazyLock<Did> = LazyLock::new(|| SecretKey::from_seed(&[1; 32]).did());

/// Reads the bytes as the frames of a peer, and between them, where a byte says so, answers or gives up what is in flight,
/// as a node would. `Err` says which promise was broken: that memory stays within its limits and all of it is given back,
/// and that what is written is frames.
pub fn session(data: &[u8]) -> Result<(), String> {
    let held = NonZeroUsize::new(HELD).unwrap_or(NonZeroUsize::MIN);
    let limits = Limits {
        inbound_requests: NonZeroUsize::MIN.saturating_add(7),
        reassembly_session_bytes: held,
        ..Limits::default()
    };
    let total = held.saturating_mul(NonZeroUsize::MIN.saturating_add(defaults::REASSEMBLY_PEER_PART - 1));
    let account = Budget::new(total).account(*PEER, held);
    let mut core = Core::new(limits, account.clone(), Arc::default());
    let ask = Request::Chunk { component: ComponentId::of(b"fuzz"), index: 0 };
    let (mut mine, mut theirs, mut out, mut rest) = (Vec::new(), Vec::new(), Vec::new(), data);
    while let Some((&what, more)) = rest.split_first() {
        rest = more;
        match what {
            0 => mine.extend(core.call(ask.kind(), codec::encode(&ask), None)),
            1 => {
                if let Some((id, _)) = mine.pop() {
                    core.cancel(id);
                }
            }
            2 => {
                if let Some(id) = theirs.pop() {
                    let refusal = Refusal::new(RefusalCode::Busy, "fuzz");
                    core.event(id, codec::encode(&crate::Event::Running));
                    core.answer(id, codec::encode(&Response::from(refusal)));
                }
            }
            3 => {
                out.clear();
                core.fill(&mut out);
                frames(&out)?;
            }
            _ => {
                let Some((head, more)) = rest.split_first_chunk::<HEADER_BYTES>() else { break };
                let Ok(header) = Header::decode(head) else { break };
                if header.encode() != *head {
                    return Err("a head read, written".to_owned());
                }
                let Some((payload, more)) = more.split_at_checked(header.length) else { break };
                rest = more;
                match core.frame(header, payload) {
                    Ok(Incoming::Nothing) => {}
                    Ok(Incoming::Request(id, request, _)) => {
                        if request.kind().max_request_bytes() < codec::encode(&request).len() {
                            return Err("a request over its size".to_owned());
                        }
                        theirs.push(id);
                    }
                    Ok(Incoming::Unread(..)) => return Err("more than may be held was read".to_owned()),
                    Ok(Incoming::Goodbye(_)) | Err(_) => break,
                }
            }
        }
        if account.held() > HELD + ANSWERS {
            return Err(format!("{} bytes are held", account.held()));
        }
    }
    core.close(&CloseReason::ShutDown);
    match (account.held(), core.is_idle()) {
        (0, true) => Ok(()),
        (held, idle) => Err(format!("closed: {held} bytes are held, idle: {idle}")),
    }
}

/// Whether these bytes are whole frames.
fn frames(mut bytes: &[u8]) -> Result<(), String> {
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or("half a head was written")?;
        let header = Header::decode(head).map_err(|e| format!("was written: {e}"))?;
        bytes = rest.get(header.length..).ok_or("half a frame was written")?;
    }
    Ok(())
}
