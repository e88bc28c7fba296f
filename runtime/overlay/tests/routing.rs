//! What routing promises, over real sockets: whoever is live is found, whoever is not is not handed on, nothing is stored.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use actum_model::Did;
use actum_overlay::{
    AddPeerError, ConnectError, Multiaddr, Overlay, OverlayConfig, ROUTING_PROTOCOL, RoutingError, distance,
    peer_id_of,
};
use common::*;
use futures::StreamExt;
use libp2p::{
    StreamProtocol, Swarm, SwarmBuilder, identify,
    kad::{self, store::MemoryStore},
    noise,
    swarm::{NetworkBehaviour, SwarmEvent, dial_opts::DialOpts},
    tcp, yamux,
};
use std::{collections::BTreeSet, time::Duration};

const NODES: u8 = 20;

/// Every live peer finds exactly the others.
async fn all_found(live: &[Overlay]) {
    let finding = live.iter().map(|overlay| async move {
        let others = live.iter().map(Overlay::did).filter(|d| *d != overlay.did()).collect();
        finds(overlay, &others).await;
    });
    futures::future::join_all(finding).await;
}

async fn finds(overlay: &Overlay, others: &BTreeSet<Did>) {
    let about = format!("{} finds the {} others", overlay.did(), others.len());
    until(&about, || async {
        let found = overlay.closest([7; 32]).await.unwrap_or_default();
        found.iter().map(|p| p.did).collect::<BTreeSet<_>>() == *others
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_peers_find_each_other_and_a_late_joiner_and_a_restarted_one_without_the_bootstrap_peer() {
    let first = started(1, OverlayConfig::default()).await;
    let bootstrap = first.addresses();
    let mut live = vec![first];
    for n in 2..NODES {
        live.push(started(n, joining(&bootstrap)).await);
    }
    all_found(&live).await;

    // The answer is ordered by the distance anybody can compute.
    let found = live[3].closest([9; 32]).await.unwrap();
    let distances: Vec<_> = found.iter().map(|p| distance(&[9; 32], &p.did)).collect();
    assert!(distances.is_sorted(), "{distances:?}");

    // A late joiner knows everybody and is known to everybody.
    live.push(started(NODES, joining(&bootstrap)).await);
    let late = live.last().unwrap().did();
    all_found(&live).await;
    for overlay in &live[..live.len() - 1] {
        // One query may end without an answer where peers take long.
        until("the late joiner is found and reached", || async {
            match overlay.find_peer(&late).await {
                Ok(found) => overlay.connect_to(&late, &found.addresses).await.is_ok(),
                Err(_) => false,
            }
        })
        .await;
    }

    // The bootstrap peer goes, and one peer starts again with nothing but the peers it kept.
    let kept = live[7].known_peers().await;
    assert!(kept.iter().all(|p| p.observed.is_some()), "only peers that were connected are kept: {kept:?}");
    // The table may change between the two.
    until("one table and one seed give the same peers", || async {
        live[7].sample(5, 1).await == live[7].sample(5, 1).await
    })
    .await;
    live[0].shutdown().await;
    live[7].shutdown().await;
    let restarted = started(8, OverlayConfig::default()).await;
    assert_eq!(restarted.closest([7; 32]).await, Err(RoutingError::NoPeers));
    for peer in &kept {
        restarted.add_peer(peer.did, peer.addresses.clone()).await.unwrap();
    }
    live[7] = restarted;
    live.remove(0);
    all_found(&live).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_only_asks_finds_others_and_is_handed_to_nobody() {
    let first = started(1, OverlayConfig::default()).await;
    let second = started(2, joining(&first.addresses())).await;
    let mut asking = OverlayConfig::client();
    asking.routing.bootstrap = first.addresses();
    let asking = started(3, asking).await;
    finds(&asking, &[first.did(), second.did()].into()).await;
    finds(&first, &[second.did()].into()).await;
    assert!(first.known_peers().await.iter().all(|p| p.did != asking.did()));
    // Nobody may answer for a while; once somebody does, it is that.
    until("it is not found", || async {
        let found = second.find_peer(&asking.did()).await;
        assert!(found.is_err(), "{found:?}");
        found == Err(RoutingError::NotFound { peer: asking.did() })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_peer_says_that_it_knows_nobody() {
    let lone = started(1, OverlayConfig::default()).await;
    assert_eq!(lone.closest([7; 32]).await, Err(RoutingError::NoPeers));
    assert_eq!(lone.find_peer(&key(2).did()).await, Err(RoutingError::NoPeers));
    let nowhere = vec!["/dns4/example.org/tcp/1".parse().unwrap()];
    let refused = lone.add_peer(key(2).did(), nowhere).await;
    assert_eq!(refused, Err(AddPeerError::NoAddress { peer: key(2).did() }));
    lone.shutdown().await;
    assert_eq!(lone.closest([7; 32]).await, Err(RoutingError::ShutDown));
}

#[derive(NetworkBehaviour)]
struct Stock {
    kad: kad::Behaviour<MemoryStore>,
    identify: identify::Behaviour,
}

/// libp2p's own Kademlia under our protocol's name, with everything on; and whatever listens beside it.
async fn stock(listen: &[&str]) -> Swarm<Stock> {
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|key| {
            let local = key.public().to_peer_id();
            let config = kad::Config::new(StreamProtocol::new(ROUTING_PROTOCOL));
            let mut kad = kad::Behaviour::with_config(local, MemoryStore::new(local), config);
            kad.set_mode(Some(kad::Mode::Server));
            let identify = identify::Config::new("/actum/1".to_owned(), key.public());
            Stock { kad, identify: identify::Behaviour::new(identify) }
        })
        .unwrap()
        .with_swarm_config(|c| c.with_idle_connection_timeout(Duration::from_secs(60)))
        .build();
    for address in listen {
        swarm.listen_on(address.parse().unwrap()).unwrap();
    }
    swarm
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_and_provider_records_are_dropped_and_counted() {
    const RECORDS: u64 = 50;
    let overlay = started(1, OverlayConfig::default()).await;
    let target: Multiaddr = address(&overlay, "tcp").parse().unwrap();
    let mut hostile = stock(&["/ip4/127.0.0.1/tcp/0"]).await;
    hostile.behaviour_mut().kad.add_address(&peer_id_of(&overlay.did()), target);
    for n in 0..RECORDS {
        let key = kad::RecordKey::new(&n.to_be_bytes());
        let record = kad::Record::new(key.clone(), vec![0; 1000]);
        let kad = &mut hostile.behaviour_mut().kad;
        kad.put_record_to(record, [peer_id_of(&overlay.did())].into_iter(), kad::Quorum::One);
        kad.start_providing(key).unwrap();
    }
    let turning = tokio::spawn(async move {
        let mut questions = BTreeSet::new();
        let (mut asked, mut silent) = (0, 0);
        loop {
            let event = hostile.select_next_some().await;
            if let SwarmEvent::Behaviour(StockEvent::Kad(kad::Event::OutboundQueryProgressed {
                result,
                id,
                ..
            })) = event
            {
                match result {
                    // What it put, it asks for. It forgets its own copy first.
                    kad::QueryResult::PutRecord(_) if asked < RECORDS => {
                        let key = kad::RecordKey::new(&asked.to_be_bytes());
                        let kad = &mut hostile.behaviour_mut().kad;
                        kad.remove_record(&key);
                        questions.insert(kad.get_record(key).to_string());
                        asked += 1;
                    }
                    kad::QueryResult::GetRecord(Ok(kad::GetRecordOk::FoundRecord(found))) => {
                        return Err(found);
                    }
                    kad::QueryResult::GetRecord(_) if questions.remove(&id.to_string()) => silent += 1,
                    _ => {}
                }
            }
            if silent == RECORDS {
                return Ok(hostile);
            }
        }
    });
    let hostile = tokio::time::timeout(LONG, turning).await.unwrap().unwrap();
    let mut hostile = hostile.expect("no record is ever given back");
    tokio::spawn(async move {
        loop {
            hostile.select_next_some().await;
        }
    });
    until("every record and provider record was dropped", || async {
        overlay.refusals().get("record").copied().unwrap_or(0) >= 2 * RECORDS
    })
    .await;
    let honest = started(2, joining(&overlay.addresses())).await;
    until("an honest peer is served", || async { honest.closest([1; 32]).await.is_ok() }).await;
}

#[cfg(target_os = "linux")] // elsewhere loopback has one address
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_range_takes_two_places_a_bucket_and_the_next_range_gets_its_own() {
    let mut config = OverlayConfig::default();
    config.limits.count_loopback = true;
    let overlay = started(1, config).await;
    // Each listens in its range, and comes from there.
    let mut crowd = Vec::new();
    for (range, peers) in [(7, 16), (8, 4)] {
        for n in 1..=peers {
            let mut swarm = stock(&[&format!("/ip4/127.0.{range}.{n}/tcp/0")]).await;
            while !matches!(swarm.select_next_some().await, SwarmEvent::NewListenAddr { .. }) {}
            let way = by_way_of(format!("127.0.{range}.{n}"), socket(&overlay)).await;
            // From a new port: the one it listens on may be in use towards there, by a connection of before.
            let dial = move || DialOpts::unknown_peer_id().address(way.clone()).allocate_new_port().build();
            swarm.dial(dial()).unwrap();
            crowd.push(tokio::spawn(async move {
                loop {
                    // A busy machine may take longer than either waits, for a handshake or for what is said after it.
                    if let SwarmEvent::OutgoingConnectionError { .. } | SwarmEvent::ConnectionClosed { .. } =
                        swarm.select_next_some().await
                    {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        swarm.dial(dial()).unwrap();
                    }
                }
            }));
        }
    }
    // Not all at one time: a connection that carries nothing is closed after ten seconds.
    let mut told = BTreeSet::new();
    until("everybody was connected and has said what it speaks", || {
        told.extend(overlay.peers().into_iter().filter(|p| p.agent.is_some()).map(|p| p.did));
        std::future::ready(told.len() == 20)
    })
    .await;
    let known = overlay.known_peers().await;
    for range in [7, 8] {
        let mut buckets: Vec<_> = known
            .iter()
            .filter(|p| p.observed.unwrap().to_string().starts_with(&format!("127.0.{range}.")))
            .map(|p| actum_overlay::bucket(&overlay.did(), &p.did).unwrap())
            .collect();
        assert!(!buckets.is_empty(), "nobody of 127.0.{range}.0/24 in {known:?}");
        buckets.sort_unstable();
        assert!(buckets.windows(3).all(|w| w[0] != w[2]), "three of a range in one bucket: {buckets:?}");
    }
    crowd.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_speaks_no_sessions_is_told_from_one_that_is_not_there() {
    let mut swarm = stock(&["/ip4/127.0.0.1/tcp/0"]).await;
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address;
        }
    };
    tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    let overlay = started(1, OverlayConfig::client()).await;
    let refused = overlay.connect(&address.to_string()).await;
    assert!(matches!(refused, Err(ConnectError::ProtocolNotSupported { .. })), "{refused:?}");
}
