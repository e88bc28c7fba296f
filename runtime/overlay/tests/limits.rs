//! Who is let in, over real sockets: a flood from one range leaves room for the next, and lists decide before handshakes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use actum_overlay::{ConnectError, Denial, Overlay, OverlayConfig};
use common::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Whether the other side closes without having said a word.
async fn closed_silently(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    matches!(tokio::time::timeout(LONG, stream.read(&mut byte)).await.expect("left open"), Ok(0) | Err(_))
}

fn refused(overlay: &Overlay, code: &str) -> u64 {
    overlay.refusals().get(code).copied().unwrap_or(0)
}

#[cfg(target_os = "linux")] // elsewhere loopback has one address
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_from_one_range_is_refused_while_another_range_gets_in() {
    const ROOM: u32 = 4;
    const FLOOD: u8 = 40;
    let mut config = OverlayConfig::default();
    config.limits.count_loopback = true;
    config.limits.connections_per_prefix = ROOM;
    let provider = started(1, config).await;
    let target = socket(&provider);
    // Handshakes begun and never ended: the cheapest flood there is.
    let mut flood = Vec::new();
    for n in 1..=FLOOD {
        flood.push(tcp_from(&format!("127.0.7.{n}"), target).await);
    }
    until("the surplus is refused", || async {
        refused(&provider, "prefix-full") == u64::from(FLOOD) - u64::from(ROOM)
    })
    .await;
    for stream in flood.iter_mut().skip(ROOM as usize) {
        assert!(closed_silently(stream).await, "a refused socket is closed before any handshake");
    }
    let requester = started(2, OverlayConfig::client()).await;
    requester.connect(&address(&provider, "tcp")).await.unwrap();
    requester.request(&provider.did(), &chunk(1), LONG).await.unwrap();

    // Room comes back when the flood goes.
    drop(flood);
    until("somebody of the range is greeted", || async {
        let mut stream = tcp_from("127.0.7.200", target).await;
        let greeting = b"\x13/multistream/1.0.0\n";
        let mut answer = [0; 20];
        stream.write_all(greeting).await.is_ok()
            && stream.read_exact(&mut answer).await.is_ok()
            && answer == *greeting
    })
    .await;
}

#[cfg(target_os = "linux")] // elsewhere loopback has one address
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_that_one_range_never_ends_leave_places_to_another() {
    const ROOM: u32 = 4;
    const FLOOD: u8 = 20;
    let mut config = OverlayConfig::default();
    config.limits.count_loopback = true;
    config.limits.pending = 2 * ROOM;
    config.limits.pending_per_prefix = ROOM;
    let provider = started(1, config).await;
    let mut flood = Vec::new();
    for n in 1..=FLOOD {
        flood.push(tcp_from(&format!("127.0.7.{n}"), socket(&provider)).await);
    }
    until("the surplus is refused", || async {
        refused(&provider, "prefix-full") == u64::from(FLOOD) - u64::from(ROOM)
    })
    .await;
    // More than have room at once: a handshake that has ended gives its place back.
    let mut connected = Vec::new();
    for n in 2..10 {
        let requester = started(n, OverlayConfig::client()).await;
        requester.connect(&address(&provider, "tcp")).await.unwrap();
        connected.push(requester);
    }
    // The provider may be the last to see that a connection is up.
    until("all are connected", || async { provider.peers().len() == connected.len() }).await;
}

#[cfg(target_os = "linux")] // elsewhere loopback has one address
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denied_range_is_turned_away_before_the_handshake() {
    let mut config = OverlayConfig::default();
    config.access.deny_prefixes = vec!["127.0.7.0/24".parse().unwrap()];
    let provider = started(1, config).await;
    assert!(closed_silently(&mut tcp_from("127.0.7.9", socket(&provider)).await).await);
    until("it is counted", || async { refused(&provider, "address-denied") == 1 }).await;
    let requester = started(2, OverlayConfig::client()).await;
    requester.connect(&address(&provider, "tcp")).await.unwrap();
}

#[cfg(target_os = "linux")] // elsewhere loopback has one address
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_allowed_ranges_get_in_where_there_is_a_list() {
    let mut config = OverlayConfig::default();
    config.access.allow_prefixes = vec!["127.0.0.0/24".parse().unwrap()];
    let provider = started(1, config).await;
    assert!(closed_silently(&mut tcp_from("127.0.7.9", socket(&provider)).await).await);
    until("it is counted", || async { refused(&provider, "address-not-allowed") == 1 }).await;
    let requester = started(2, OverlayConfig::client()).await;
    requester.connect(&address(&provider, "tcp")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denied_peer_gets_no_session_in_either_direction() {
    for transport in TRANSPORTS {
        let mut config = OverlayConfig::default();
        config.access.deny_peers = [key(2).did()].into();
        let provider = started(1, config).await;
        let denied = started(2, OverlayConfig::default()).await;
        let refusal = denied.connect(&address(&provider, transport)).await;
        assert!(refusal.is_err(), "{refusal:?}");
        until("it is counted", || async { refused(&provider, "peer-denied") == 1 }).await;
        assert!(provider.peers().is_empty());
        let ours = provider.connect(&address(&denied, transport)).await;
        assert_eq!(ours, Err(ConnectError::Denied(Denial::PeerDenied { peer: key(2).did() })));
        let other = started(3, OverlayConfig::client()).await;
        other.connect(&address(&provider, transport)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_allowed_peers_get_in_where_there_is_a_list() {
    let mut config = OverlayConfig::default();
    config.access.allow_peers = [key(2).did()].into();
    let provider = started(1, config).await;
    let stranger = started(3, OverlayConfig::client()).await;
    assert!(stranger.connect(&address(&provider, "tcp")).await.is_err());
    until("it is counted", || async { refused(&provider, "peer-not-allowed") == 1 }).await;
    let friend = started(2, OverlayConfig::client()).await;
    friend.connect(&address(&provider, "tcp")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_denied_while_connected_is_parted_from_and_stays_out() {
    let (provider, requester) = pair("tcp", echo()).await;
    provider.deny_peer(requester.did()).await;
    until("the connection is closed", || async { provider.peers().is_empty() }).await;
    until("it is not let in again", || async {
        let again = requester.connect(&address(&provider, "tcp")).await;
        again.is_err() && refused(&provider, "peer-denied") > 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loopback_has_a_bound_of_its_own() {
    let mut config = OverlayConfig::default();
    config.limits.connections_loopback = 1;
    let provider = started(1, config).await;
    let first = started(2, OverlayConfig::client()).await;
    first.connect(&address(&provider, "tcp")).await.unwrap();
    let second = started(3, OverlayConfig::client()).await;
    assert!(second.connect(&address(&provider, "tcp")).await.is_err());
    until("it is counted", || async { refused(&provider, "loopback-full") > 0 }).await;
}
