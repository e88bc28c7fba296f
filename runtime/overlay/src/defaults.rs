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
/// Bytes that must move within [`STALL`] where some are due: to us while a message is begun, to the peer while some are
/// unsent. A fragment, so that dripping bytes buys nothing.
pub const STALL_MIN_BYTES: u64 = 16 << 10;
/// How many times [`STALL`] each unfinished message may wait for its next frame of 64 KiB, whatever else comes: so nobody
/// keeps one waiting behind other traffic. At the slowest pace allowed a frame takes four; the other two are for the turns
/// of other messages.
pub const STALLS_PER_FRAME: u32 = 6;
/// A connection that carries no stream is closed after this. Long enough to dial, be identified and then open a
/// session; short enough that idle strangers do not use up the connection limit.
pub const IDLE_CONNECTION: Duration = Duration::from_secs(10);
/// How often a connection is pinged: it finds a vanished peer while a long action runs.
pub const PING_INTERVAL: Duration = Duration::from_secs(15);
/// A ping unanswered for this long closes the connection. Longer than any sane round trip under load.
pub const PING: Duration = Duration::from_secs(20);
/// Ending handlers, flushing answers and closing connections in [`crate::Overlay::shutdown`]; handlers have half of it. The
/// caller has drained its work before: this is for what is on its way out.
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
/// Handshakes under way in each direction: those others began are the cheapest thing to flood us with. Each ends after 10 s,
/// over QUIC after 5 s.
pub const PENDING: u32 = 128;
/// Handshakes under way that the holders of one /24 or /48 began. Eight such ranges fill [`PENDING`]; half of
/// [`CONNECTIONS_PER_PREFIX`] lets an office behind one address start its day.
pub const PENDING_PER_PREFIX: u32 = 16;
/// The same for this machine's own addresses, where they are exempt: half of [`PENDING`], so that a program gone wild here
/// does not lock out everybody else.
pub const PENDING_LOOPBACK: u32 = 64;
/// The same through relays, which share one bound: the connections of two relays of our own kind, [`RELAY_CIRCUITS`] each.
pub const PENDING_RELAYED: u32 = 32;
/// Connections that the holders of one /24 or /48 opened, or that we opened to them. Twelve such ranges fill
/// [`CONNECTIONS_IN`], so that one rented range does not; a household or an office behind one address fits.
pub const CONNECTIONS_PER_PREFIX: u32 = 32;
/// The same for this machine's own addresses, where they are exempt: peers of a network on one machine, and commands.
pub const CONNECTIONS_LOOPBACK: u32 = 256;
/// Connections that come through relays, or that we made through them: nobody's own address shows, so all share one bound.
pub const CONNECTIONS_RELAYED: u32 = 64;
/// Resident bytes of the process above which others' connections are refused: 4 GiB. [`CONNECTIONS`] fresh ones, 600 MB, and
/// [`REASSEMBLY_TOTAL`], 640 MiB, are 1.2 GiB; actions run in the same process. No sum of limits stays below it, though:
/// streams left unread may hold 16 MiB a connection over TCP, 8 GiB in all, or 8 MiB over QUIC, 4 GiB in all, and
/// downloads and answers kept where there is no room come on top. Hence this bound: above it, something is wrong.
pub const PROCESS_MEMORY: NonZeroUsize = ONE.saturating_add((4 << 30) - 1);
/// How old the figure of the process's memory may be: a flood of connections must not become a flood of file reads.
pub const MEMORY_READ: Duration = Duration::from_millis(100);
/// Peers denied while running that are remembered, 32 bytes each. Lists in the configuration are not bounded by it.
pub const DENIED_PEERS: usize = 4096;
/// Streams of one connection. Each may hold a 256 KiB yamux window, so 16 MiB a connection.
pub const STREAMS_PER_CONNECTION: NonZeroU32 = ONE_U32.saturating_add(63);
/// Bytes one QUIC stream may have in flight to us: 4 MiB fill 100 Mbit/s at a third of a second.
pub const QUIC_STREAM_BYTES: u32 = 4 << 20;
/// The same for all streams of a QUIC connection together, and so what one can make us hold.
pub const QUIC_CONNECTION_BYTES: u32 = 8 << 20;
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
/// Bytes of unfinished messages and of unread answers one session may hold: two of the largest messages and some small
/// ones.
pub const REASSEMBLY_SESSION: NonZeroUsize = ONE.saturating_add((160 << 20) - 1);
/// The same for all sessions together: four times [`REASSEMBLY_SESSION`], so that a peer's share is a full session's.
pub const REASSEMBLY_TOTAL: NonZeroUsize = ONE.saturating_add((640 << 20) - 1);
/// All sessions of one peer together may hold a part of [`REASSEMBLY_TOTAL`], one in so many: a quarter, 160 MiB. One peer may
/// have [`CONNECTIONS_PER_PEER`] sessions, and must not hold everything with them.
pub const REASSEMBLY_PEER_PART: usize = 4;
/// An answer of at most so many bytes is kept where there is no room, too: whoever fills the memory must not silence us. With
/// [`INBOUND_REQUESTS`] of them, a session holds 256 KiB at most.
pub const SMALL_ANSWER: usize = 4 << 10;
/// Progress events accepted for one request: one a chunk of the largest component is 256.
pub const EVENTS_PER_REQUEST: u32 = 4096;
/// Progress events waiting for a slow caller; the newest are dropped, they are only progress.
pub const EVENT_QUEUE: usize = 16;
/// A message of more bytes than this is read and written apart from the session's task, which other messages share: a
/// megabyte takes that task a millisecond.
pub const LARGE_MESSAGE: usize = 1 << 20;
/// With more requests of ours in flight than this, a new one is written by the session's task, together with those that
/// others add meanwhile; with fewer, by whoever asks, who waits for nothing else.
pub const ASKING_ALONE: usize = 4;
/// Commands waiting for the swarm's task.
pub const COMMAND_QUEUE: usize = 64;

// Peer routing.

/// Peers in one bucket, and in one answer: Kademlia's k.
pub const BUCKET: NonZeroUsize = ONE.saturating_add(19);
/// Peers of one /24 or /48 in one bucket. Two, so that one of them may be gone; a rented range then holds a tenth of a
/// bucket instead of all of it.
pub const PREFIX_PER_BUCKET: usize = 2;
/// Peers asked at once in a query, and the paths it takes that share no peer: Kademlia's alpha.
pub const PARALLELISM: NonZeroUsize = ONE.saturating_add(2);
/// A query ends after this, whatever is known. At a fifth of a second's round trip, a hop to a peer not connected takes a
/// second; there are four at a million peers.
pub const QUERY: Duration = Duration::from_secs(10);
/// A query that has had answers, and then none for this long, is asked for what it has: what is still out by then is most
/// likely a dial to a peer that is gone, and over UDP nobody says so. Longer than the hop above.
pub const QUERY_QUIET: Duration = Duration::from_millis(1500);
/// How often a query is looked at for that.
pub const QUERY_LOOK: Duration = Duration::from_millis(250);
/// Where a peer could not be dialled, it is not dialled again for a query within this; others go on naming it for a while.
pub const GONE: Duration = Duration::from_secs(60);
/// Peers remembered as gone, each with at most [`ADDRESSES_PER_PEER`] addresses of [`ADDRESS_BYTES`]: 1 MiB in all.
pub const GONE_PEERS: usize = 1024;
/// A peer answers one request of a query within this, or counts as dead. Three lost packets at half a second.
pub const QUERY_REQUEST: Duration = Duration::from_secs(4);
/// Queries under way at once; more are refused. Each holds about 20 KiB and makes up to 40 requests.
pub const QUERIES: usize = 32;
/// Bytes of one message: 20 peers with [`ADDRESSES_PER_PEER`] addresses of [`ADDRESS_BYTES`] and their names fit.
pub const ROUTING_MESSAGE: usize = 32 << 10;
/// Addresses kept of one peer: two transports on each of a few interfaces, and one or two relays.
pub const ADDRESSES_PER_PEER: usize = 8;
/// Bytes of one address. The longest sensible one, through a relay, has about 110.
pub const ADDRESS_BYTES: usize = 128;
/// How often the table is refreshed by looking for peers near random keys. Peers stay for minutes to hours; a refresh
/// costs some tens of requests.
pub const BOOTSTRAP_INTERVAL: Duration = Duration::from_secs(300);
/// Part of an interval, in percent, that a peer's own key adds to it or takes away, so that peers started together do not
/// refresh together.
pub const JITTER_PERCENT: u64 = 20;
/// How often the table is looked after: peers gone are forgotten, and known peers dialled where it is nearly empty.
pub const UPKEEP_INTERVAL: Duration = Duration::from_secs(30);
/// A table of fewer peers dials the bootstrap peers again.
pub const FEW_PEERS: usize = 4;
/// Peers waiting to be dialled, to be asked who they are: persisted ones, the bootstrap list, the local network.
pub const JOIN_QUEUE: usize = 256;
/// Such dials under way at once; they leave room in [`PENDING`] for dials that somebody waits for.
pub const JOIN_DIALS: usize = 16;

// Reachability.

/// Addresses that may be ours, as others saw them, in the life of a process: each is probed, and kept by the prober.
pub const CANDIDATES: usize = 32;
/// Addresses of this machine believed on the word of one party; more need two, so that a stranger cannot use up
/// [`CANDIDATES`].
pub const OBSERVED_ON_ONE_WORD: usize = 4;
/// Dials in a minute that others may have us make, to see whether they can be reached or to meet them half way.
pub const DIALS_ON_DEMAND_PER_MINUTE: u32 = 30;
/// The minute of [`DIALS_ON_DEMAND_PER_MINUTE`].
pub const MINUTE: Duration = Duration::from_secs(60);
/// Bytes through one relayed connection, both ways together: signalling, a session's opening, small calls. Whoever
/// relays is not a carrier.
pub const RELAY_BYTES: u64 = 128 << 10;
/// How long one relayed connection lives: enough to find a direct way.
pub const RELAY_DURATION: Duration = Duration::from_secs(120);
/// Peers that hold a place at a relay, to be reached through it.
pub const RELAY_RESERVATIONS: usize = 128;
/// How long such a place is kept before it is asked for again.
pub const RELAY_RESERVATION: Duration = Duration::from_secs(3600);
/// Connections relayed at once: 16 × 128 KiB at most in two minutes.
pub const RELAY_CIRCUITS: usize = 16;
/// Places, and connections, of one peer at a relay.
pub const RELAY_PER_PEER: usize = 2;
/// Waiting before a relay that was lost, or refused, is asked again.
pub const RELAY_RETRY: Duration = Duration::from_secs(30);
/// Addresses one relay may give us: it says them itself.
pub const RELAY_ADDRESSES: usize = 4;
// Limits on a download.

/// Chunks of a component asked of one peer at once, to begin with.
pub const CHUNKS_PER_PEER_MIN: usize = 4;
/// Chunks asked of one peer at once, once it has shown that it keeps up: 8 × 256 KiB fills a 100 Mbit/s path of 160 ms.
pub const CHUNKS_PER_PEER_MAX: usize = 8;
/// Chunks asked of all peers together at once, so what one download holds in memory: 32 × 256 KiB = 8 MiB.
pub const CHUNKS_IN_FLIGHT: usize = 32;
/// Peers that one download asks. More of them share what one connection's worth of bandwidth brings.
pub const DOWNLOAD_PEERS: usize = 8;
/// A chunk that has not come by then is asked of somebody else too, where there is somebody. 256 KiB in three seconds is
/// 0.7 Mbit/s for one of them, or eight at 5.6 Mbit/s.
pub const CHUNK_SLOW: Duration = Duration::from_secs(3);
/// A chunk that has not come by then is given up, and counts against the peer.
pub const CHUNK: Duration = Duration::from_secs(20);
/// Chunks a peer may fail to give before it is asked no more in this download.
pub const CHUNK_FAILURES: u32 = 3;
/// The longest a peer that says it is busy is left alone before it is asked again.
pub const CHUNK_BUSY: Duration = Duration::from_secs(2);
