//! How a peer is reached from elsewhere, over real sockets: dialled back, through a relay, and past it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use actum_overlay::{
    ConnectError, Multiaddr, NetworkScope, Overlay, OverlayConfig, Reachability, RequestError, Response,
};
use common::*;

/// A relay on loopback, which knows the address that others reach it at.
async fn relay(n: u8) -> Overlay {
    let address: Multiaddr = format!("/ip4/127.0.0.1/tcp/{}", free_port()).parse().unwrap();
    let mut config = OverlayConfig { listen: vec![address.clone()], ..OverlayConfig::default() };
    config.reach.relay = true;
    config.reach.announce = vec![address];
    started(n, config).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_listen_is_reached_through_a_relay_for_little_and_not_for_much() {
    let relay = relay(1).await;
    let mut config = OverlayConfig::client();
    config.reach.relays = relay.external_addresses();
    let target = started(2, config).await;
    until("the target holds a place", || async { !target.external_addresses().is_empty() }).await;
    assert!(matches!(target.reachability(), Reachability::Relayed { .. }), "{}", target.reachability());

    let requester = started(3, OverlayConfig::client()).await;
    let session = requester.connect_to(&target.did(), &target.external_addresses()).await.unwrap();
    assert_eq!(session.request(&chunk(5), LONG).await, Ok(Response::Chunk { bytes: vec![0, 0, 0, 5] }));
    let info = requester.peers().into_iter().find(|p| p.did == target.did()).unwrap();
    assert!(info.relayed && !info.inbound, "{info:?}");
    assert!(target.peers().iter().any(|p| p.did == requester.did() && p.relayed && p.inbound));

    // A relay is for signalling: it cuts what carries more than 128 KiB, and the request says so.
    let much = session.request(&call(&key(3), vec![7; 1 << 20]), LONG).await;
    assert!(
        matches!(much, Err(RequestError::LostBeforeSending { .. } | RequestError::LostWhileWaiting { .. })),
        "{much:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_relay_gives_no_place() {
    let address: Multiaddr = format!("/ip4/127.0.0.1/tcp/{}", free_port()).parse().unwrap();
    let mut config = OverlayConfig { listen: vec![address.clone()], ..OverlayConfig::default() };
    config.reach.announce = vec![address];
    let no_relay = started(1, config).await;
    let mut config = OverlayConfig::client();
    config.reach.relays = no_relay.external_addresses();
    let target = started(2, config).await;
    until("it was asked", || async { !no_relay.peers().is_empty() }).await;
    assert_eq!(target.external_addresses(), vec![]);
    assert_eq!(target.reachability(), Reachability::NotListening);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_meet_through_a_relay_find_the_direct_way() {
    let relay = relay(1).await;
    let mut config = OverlayConfig::default();
    config.reach.relays = relay.external_addresses();
    let target = started(2, config).await;
    let circuit = |overlay: &Overlay| {
        let addresses = overlay.external_addresses();
        addresses.into_iter().find(|a| a.to_string().contains("p2p-circuit"))
    };
    until("the target holds a place", || async { circuit(&target).is_some() }).await;
    // Both sides dial at one moment, which can miss on a busy machine: then another requester tries.
    let mut met = None;
    for n in 3..6 {
        let requester = started(n, OverlayConfig::default()).await;
        requester.connect_to(&target.did(), &[circuit(&target).unwrap()]).await.unwrap();
        let direct = || requester.peers().into_iter().any(|p| p.did == target.did() && !p.relayed);
        for _ in 0..300 {
            if direct() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        if direct() {
            met = Some(requester);
            break;
        }
    }
    let requester = met.expect("one of three finds the direct way");
    // And a session asked for from then on is on it: it carries what the relay would not.
    let session = requester.connect_to(&target.did(), &[]).await.unwrap();
    let much = session.request(&call(&key(3), vec![7; 1 << 20]), LONG).await;
    assert_eq!(much, Ok(done(vec![7; 1 << 20])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_dialled_back_is_confirmed_and_handed_out() {
    let prober = started(1, OverlayConfig::default()).await;
    // The prober comes to know where it is seen as it dials back. Nobody confirms that: the other one dials nobody back.
    let mut config = OverlayConfig::default();
    config.reach.serve_probes = false;
    let overlay = started(2, config).await;
    assert_eq!(overlay.reachability(), Reachability::LoopbackOnly);
    overlay.connect(&address(&prober, "tcp")).await.unwrap();
    let own = address(&overlay, "tcp");
    let is_own = |found: &Multiaddr| found.to_string() == own;
    until("the address is confirmed", || async { overlay.external_addresses().iter().any(is_own) }).await;
    assert_eq!(
        overlay.reachability(),
        Reachability::LoopbackOnly,
        "a dial back from this machine tells no more"
    );
    // Another transport's may be confirmed between the two looks.
    until("what is confirmed comes first", || async {
        let confirmed = overlay.external_addresses();
        confirmed.iter().any(is_own) && overlay.addresses().starts_with(&confirmed)
    })
    .await;
    assert_eq!(prober.external_addresses(), vec![]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_of_the_internet_does_not_dial_back_into_this_machine() {
    let config = OverlayConfig { scope: Some(NetworkScope::Internet), ..OverlayConfig::default() };
    let prober = started(1, config).await;
    // The address this machine would use to go elsewhere; nothing is sent to find it.
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let own = socket.connect("8.8.8.8:53").and_then(|()| socket.local_addr());
    let Some(own) = own.ok().filter(|own| !own.ip().is_loopback()) else {
        eprintln!("skipped: this machine has no address but loopback");
        return;
    };
    let own = format!("/ip4/{}/tcp/0", own.ip());
    let listen = vec![own.parse().unwrap(), "/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    let config = OverlayConfig { listen, scope: Some(NetworkScope::Machine), ..OverlayConfig::default() };
    let overlay = started(2, config).await;
    assert_eq!(overlay.reachability().code(), "unknown-no-prober");
    overlay.connect(&address(&prober, "tcp")).await.unwrap();
    until("the address counts as blocked", || async { overlay.reachability().code() == "blocked" }).await;
    assert_eq!(overlay.external_addresses(), vec![]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_strangers_name_is_dialled_within_the_scope_and_what_is_denied_never() {
    let target = started(1, OverlayConfig::default()).await;
    let named: Vec<Multiaddr> = vec![address(&target, "tcp").parse().unwrap()];
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port: Multiaddr =
        format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().unwrap().port()).parse().unwrap();

    let config = OverlayConfig { scope: Some(NetworkScope::Internet), ..OverlayConfig::client() };
    let far = started(2, config).await;
    let refused = far.connect_named(&target.did(), std::slice::from_ref(&port)).await.unwrap_err();
    assert!(matches!(&refused, ConnectError::Denied(why) if why.code() == "out-of-scope"), "{refused}");
    assert!(listener.accept().is_err(), "nobody knocked");
    far.connect_to(&target.did(), &named).await.unwrap();

    // A denied range is not dialled beside an allowed address either.
    let mut config = OverlayConfig::client();
    config.access.deny_prefixes = vec!["127.0.0.0/8".parse().unwrap()];
    let wary = started(3, config).await;
    let refused = wary.connect_to(&target.did(), &[port]).await.unwrap_err();
    assert!(matches!(&refused, ConnectError::Denied(why) if why.code() == "address-denied"), "{refused}");
    assert!(listener.accept().is_err(), "nobody knocked");
}

#[tokio::test]
async fn what_the_configuration_cannot_have_is_refused_at_the_start() {
    let mut config = OverlayConfig::client();
    config.reach.relays = vec!["/ip4/127.0.0.1/tcp/1".parse().unwrap()];
    let refused = Overlay::start(config, &key(1), echo()).await.unwrap_err();
    assert!(refused.to_string().contains("ends in /p2p/"), "{refused}");
    #[cfg(not(feature = "mdns"))]
    {
        let mut config = OverlayConfig::client();
        config.reach.mdns = true;
        let refused = Overlay::start(config, &key(1), echo()).await.unwrap_err();
        assert_eq!(refused.to_string(), "mdns needs a build with the feature \"mdns\"");
    }
}
