//! Every timeout and limit of this crate, with its reason. Nothing elsewhere holds a number of this kind.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

/// `1`, for building the constants below without a panic in sight.
const ONE: NonZeroUsize = NonZeroUsize::MIN;
const ONE_U32: NonZeroU32 = NonZeroU32::MIN;

// Timeouts.

/// Dialling, handshake and opening the session together. A TCP handshake with Noise takes three round trips; ten
/// seconds let it survive two lost packets at half a second's round trip, and a person still waits for it.
pub const CONNECT: Duration = Duration::from_secs(10);
/// A request without a deadline of its own. Control messages are answered from memory; half a minute means the peer
/// is not going to.
pub const REQUEST: Duration = Duration::from_secs(30);
/// A session on which nothing is in flight is closed after this. Two minutes: setting one up again costs a few
/// milliseconds, keeping it costs about 20 KiB.
pub const IDLE: Duration = Duration::from_secs(120);
/// A peer that is in the middle of a message, or does not take what we send, must make progress within this.
/// Twenty seconds ride out a lost Wi-Fi association; memory is held no longer for a peer that fell silent.
pub const STALL: Duration = Duration::from_secs(20);
/// Bytes of a begun message that must arrive within [`STALL`]: a fragment, so that dripping bytes buys nothing.
pub const STALL_MIN_BYTES: u64 = 16 << 10;
/// A connection that carries no stream is closed after this. Long enough to dial, be identified and then open a
/// session; short enough that idle strangers do not use up the connection limit.
pub const IDLE_CONNECTION: Duration = Duration::from_secs(10);
/// How often a connection is pinged: it finds a vanished peer while a long action runs.
pub const PING_INTERVAL: Duration = Duration::from_secs(15);
/// A ping unanswered for this long closes the connection. Longer than any sane round trip under load.
pub const PING: Duration = Duration::from_secs(20);
/// Flushing answers and closing connections in [`crate::Overlay::shutdown`]. The caller has drained its work before;
/// this is for bytes already written.
pub const SHUTDOWN: Duration = Duration::from_secs(2);
/// Telling a peer why a session ends, and waiting for it to close its side. An honest one takes a round trip; a hostile
/// one holds one connection this much longer.
pub const GOODBYE: Duration = Duration::from_secs(1);
/// Waiting for the operating system to confirm a listening address.
pub const LISTEN: Duration = Duration::from_secs(5);

// Limits on connections.

/// Connections to one peer: two when both dial at once, over two transports; and one user's commands, run side by side,
/// are one peer.
pub const CONNECTIONS_PER_PEER: u32 = 32;
/// Connections in all. At most about 1.2 MB each fresh, so 600 MB in the worst case.
pub const CONNECTIONS: u32 = 512;
/// Connections others opened. Less than all, so that strangers cannot keep us from dialling.
pub const CONNECTIONS_IN: u32 = 384;
/// Connections we opened.
pub const CONNECTIONS_OUT: u32 = 384;
/// Handshakes others began: the cheapest thing to flood us with.
pub const PENDING_IN: u32 = 64;
/// Dials under way.
pub const PENDING_OUT: u32 = 64;
/// Streams of one connection. Each may hold a 256 KiB yamux window, so 16 MiB a connection.
pub const STREAMS_PER_CONNECTION: usize = 64;
/// Inbound streams of one connection that have not agreed on a protocol yet.
pub const NEGOTIATING_STREAMS: usize = 16;

// Limits on a session.

/// Requests of one peer handled at once; more are refused as busy.
pub const INBOUND_REQUESTS: NonZeroUsize = ONE.saturating_add(63);
/// Requests we have in flight to one peer; more wait their turn. Below [`PROTOCOL_IN_FLIGHT`].
pub const OUTBOUND_REQUESTS: NonZeroUsize = ONE.saturating_add(127);
/// Requests unanswered on one session, by protocol: whoever sends more is disconnected. It bounds the busy refusals
/// we would otherwise queue for a peer that never reads.
pub const PROTOCOL_IN_FLIGHT: usize = 256;
/// Bytes of unfinished messages one session may hold: two of the largest messages and some small ones.
pub const REASSEMBLY_SESSION: NonZeroUsize = ONE.saturating_add((160 << 20) - 1);
/// Bytes of unfinished messages all sessions together may hold.
pub const REASSEMBLY_TOTAL: NonZeroUsize = ONE.saturating_add((512 << 20) - 1);
/// Progress events accepted for one request: one a chunk of the largest component is 256.
pub const EVENTS_PER_REQUEST: u32 = 4096;
/// Progress events waiting for a slow caller; the newest are dropped, they are only progress.
pub const EVENT_QUEUE: usize = 16;
/// Chunks of a component asked for at once: 8 × 256 KiB fills a 100 Mbit/s path of 160 ms.
pub const CHUNKS_IN_FLIGHT: NonZeroU32 = ONE_U32.saturating_add(7);
/// Commands waiting for the swarm's task.
pub const COMMAND_QUEUE: usize = 64;
