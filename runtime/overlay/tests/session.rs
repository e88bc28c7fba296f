//! What a session promises to honest peers, over real sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use actum_overlay::{
    CloseReason, ConnectError, Event, Multiaddr, Overlay, OverlayConfig, Request, RequestError, Response,
};
use common::*;
use futures::FutureExt;
use std::{sync::Arc, time::Duration};
use tokio::sync::{Notify, mpsc, oneshot};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_answered_over_every_transport() {
    for transport in TRANSPORTS {
        let (provider, requester) = pair(transport, echo()).await;
        for index in 0..100 {
            let answer = requester.request(&provider.did(), &chunk(index), LONG).await.unwrap();
            assert_eq!(answer, Response::Chunk { bytes: index.to_be_bytes().to_vec() });
        }
        // One connection of its own; the provider may have dialled back to see whether it can be reached.
        assert_eq!(requester.peers().iter().filter(|p| !p.inbound).count(), 1);
        provider.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_go_both_ways_on_one_session() {
    for transport in TRANSPORTS {
        // The provider asks the requester for three chunks while it answers.
        let handler = answer(|_, _, session, _| {
            Box::pin(async move {
                let mut all = Vec::new();
                for index in 7..10 {
                    match session.request(&chunk(index), LONG).await {
                        Ok(Response::Chunk { bytes }) => all.extend(bytes),
                        other => panic!("{other:?}"),
                    }
                }
                done(all)
            })
        });
        let (provider, requester) = pair(transport, handler).await;
        let answer = requester.request(&provider.did(), &call(&key(2), vec![]), LONG).await.unwrap();
        assert_eq!(answer, done(vec![0, 0, 0, 7, 0, 0, 0, 8, 0, 0, 0, 9]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_message_overtakes_a_large_one() {
    for transport in TRANSPORTS {
        // The large one is answered once the small one was asked: the machine may stand still between the two.
        let both = Arc::new(Notify::new());
        let asked = Arc::clone(&both);
        let handler = answer(move |_, request, _, _| {
            let asked = Arc::clone(&asked);
            Box::pin(async move {
                if matches!(request, Request::Call { .. }) {
                    asked.notified().await;
                }
                echoed(request)
            })
        });
        let (provider, requester) = pair(transport, handler).await;
        let session = requester.session_with(&provider.did()).unwrap();
        let (ended, mut order) = mpsc::channel(2);
        let large = call(&key(2), vec![9; 16 << 20]);
        let big = {
            let (session, ended) = (session.clone(), ended.clone());
            async move {
                let answer = session.request(&large, LONG).await.unwrap();
                ended.send("large").await.unwrap();
                answer
            }
        };
        let small = async move {
            let answer = session.request(&chunk(1), LONG).await.unwrap();
            ended.send("small").await.unwrap();
            answer
        };
        // In this order, each up to where it waits for its answer.
        let (big, small, ()) = tokio::join!(biased; big, small, async { both.notify_one() });
        assert_eq!(big, done(vec![9; 16 << 20]));
        assert_eq!(small, Response::Chunk { bytes: vec![0, 0, 0, 1] });
        assert_eq!(order.recv().await, Some("small"));
        assert_eq!(order.recv().await, Some("large"));
    }
}

struct OnDrop(Option<oneshot::Sender<()>>);
impl Drop for OnDrop {
    fn drop(&mut self) {
        let _ = self.0.take().unwrap().send(());
    }
}

/// A handler that says when it started and when it was dropped, and never answers calls.
fn hanging() -> (Arc<dyn actum_overlay::Handler>, Arc<Notify>, oneshot::Receiver<()>) {
    let (dropped, was_dropped) = oneshot::channel();
    let guard = std::sync::Mutex::new(Some(OnDrop(Some(dropped))));
    let started = Arc::new(Notify::new());
    let notify = Arc::clone(&started);
    let handler = answer(move |_, request, _, _| {
        if !matches!(request, Request::Call { .. }) {
            return Box::pin(async move { echoed(request) });
        }
        let guard = guard.lock().unwrap().take();
        let notify = Arc::clone(&notify);
        Box::pin(async move {
            let _guard = guard;
            notify.notify_one();
            std::future::pending().await
        })
    });
    (handler, started, was_dropped)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_a_request_drops_its_handler() {
    let (handler, started, dropped) = hanging();
    let (provider, requester) = pair("tcp", handler).await;
    {
        let (did, request) = (provider.did(), call(&key(2), vec![1]));
        let asked = requester.request(&did, &request, LONG);
        tokio::select! {
            answer = asked => panic!("{answer:?}"),
            () = started.notified() => {}
        }
    }
    dropped.await.unwrap();
    // The session goes on.
    requester.request(&provider.did(), &chunk(1), LONG).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_passes_and_the_handler_is_told() {
    let (handler, started, dropped) = hanging();
    let (provider, requester) = pair("tcp", handler).await;
    // From here on, what is asked is sent at once.
    requester.request(&provider.did(), &chunk(1), LONG).await.unwrap();
    // A request that is given up before the provider came to it never gets to the handler: then with more time.
    for after in [200, 2_000, 20_000].map(Duration::from_millis) {
        let error = requester.request(&provider.did(), &call(&key(2), vec![1]), after).await.unwrap_err();
        assert_eq!(error, RequestError::TimedOut { after, may_have_run: true });
        // Answered after what came before it was begun.
        requester.request(&provider.did(), &chunk(1), LONG).await.unwrap();
        if started.notified().now_or_never().is_some() {
            tokio::time::timeout(LONG, dropped).await.expect("it is not told").unwrap();
            return;
        }
    }
    panic!("the handler never began");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_arrive_in_order_before_the_answer() {
    let handler = answer(|_, _, session, progress| {
        Box::pin(async move {
            for event in [Event::Queued { ahead: 2 }, Event::Running] {
                progress.send(event);
                // A round trip lets the event out before the next could replace it.
                session.request(&chunk(0), LONG).await.unwrap();
            }
            done(vec![])
        })
    });
    let (provider, requester) = pair("tcp", handler).await;
    let mut seen = Vec::new();
    let request = call(&key(2), vec![]);
    let answer = requester.request_with_progress(&provider.did(), &request, LONG, |e| seen.push(e)).await;
    assert_eq!(answer.unwrap(), done(vec![]));
    assert_eq!(seen, [Event::Queued { ahead: 2 }, Event::Running]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_peer_is_told_apart_before_and_after_sending() {
    let (handler, started, _dropped) = hanging();
    let (provider, requester) = pair("tcp", handler).await;
    let session = requester.session_with(&provider.did()).unwrap();
    let request = call(&key(2), vec![1]);
    let (answer, ()) = tokio::join!(session.request(&request, LONG), async {
        started.notified().await;
        provider.shutdown().await;
    });
    let reason = CloseReason::PeerSaid("this peer is shutting down".to_owned());
    assert_eq!(answer.unwrap_err(), RequestError::LostWhileWaiting { reason: reason.clone() });
    assert_eq!(
        session.request(&request, LONG).await.unwrap_err(),
        RequestError::LostBeforeSending { reason }
    );
    let error = requester.request(&provider.did(), &request, LONG).await.unwrap_err();
    assert_eq!(error, RequestError::NotConnected { peer: provider.did() });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_shuts_down_gives_the_answers_it_is_about_to_give() {
    let (started, answers) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (told, may) = (started.clone(), answers.clone());
    let handler = answer(move |_, _, _, _| {
        let (told, may) = (told.clone(), may.clone());
        Box::pin(async move {
            told.notify_one();
            may.notified().await;
            done(vec![7])
        })
    });
    let mut config = OverlayConfig::default();
    config.timeouts.shutdown = LONG;
    let provider = Overlay::start(config, &key(1), handler).await.unwrap();
    let requester = overlay(2, echo()).await;
    requester.connect(&address(&provider, "tcp")).await.unwrap();
    let session = requester.session_with(&provider.did()).unwrap();
    let request = call(&key(2), vec![1]);
    let (answer, ()) = tokio::join!(session.request(&request, LONG), async {
        started.notified().await;
        let answers_late = async {
            // By now it is being shut down; where it is not yet, nothing is shown.
            tokio::time::sleep(Duration::from_millis(200)).await;
            answers.notify_one();
        };
        tokio::join!(provider.shutdown(), answers_late);
    });
    assert_eq!(answer.unwrap(), done(vec![7]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panicking_handler_says_whether_it_may_have_begun_and_serves_on() {
    let handler = answer(|_, request, _, _| {
        if matches!(request, Request::Call { .. } | Request::Release { .. }) {
            panic!("as asked");
        }
        Box::pin(async move { echoed(request) })
    });
    let (provider, requester) = pair("tcp", handler).await;
    let release = Request::Release { id: actum_model::ReleaseId::of(b"x") };
    for (request, code) in [(call(&key(2), vec![]), "gone"), (release, "internal")] {
        match requester.request(&provider.did(), &request, LONG).await.unwrap() {
            Response::Refused { refusal } => assert_eq!(refusal.code.name(), code),
            other => panic!("{other:?}"),
        }
    }
    requester.request(&provider.did(), &chunk(1), LONG).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_peer_than_named_is_refused() {
    for transport in TRANSPORTS {
        let (provider, stranger) = (overlay(1, echo()).await, overlay(3, echo()).await);
        let requester = Overlay::start(OverlayConfig::client(), &key(2), echo()).await.unwrap();
        assert!(requester.addresses().is_empty());
        let real = address(&provider, transport);
        let (place, _) = real.rsplit_once('/').unwrap();
        let lie = format!("{place}/{}", actum_overlay::peer_id_of(&stranger.did()));
        match requester.connect(&lie).await.unwrap_err() {
            ConnectError::WrongPeer { found, expected, .. } => {
                assert_eq!(found, actum_overlay::peer_id_of(&provider.did()).to_string());
                assert_eq!(expected, actum_overlay::peer_id_of(&stranger.did()).to_string());
            }
            other => panic!("{other:?}"),
        }
        // Without a name, whoever answers is reported.
        let (bare, _) = place.rsplit_once("/p2p").unwrap();
        assert_eq!(requester.connect(bare).await.unwrap(), provider.did());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_that_lead_nowhere_say_why() {
    let requester = Overlay::start(OverlayConfig::client(), &key(2), echo()).await.unwrap();
    match requester.connect("/ip4/127.0.0.1/tcp/1").await.unwrap_err() {
        ConnectError::Dial { tried } => assert!(tried[0].1.contains("refused"), "{tried:?}"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(requester.connect("localhost:80").await, Err(ConnectError::BadAddress { .. })));
    assert!(matches!(requester.connect("").await, Err(ConnectError::BadAddress { .. })));
    let nobody = key(9).did();
    let error = requester.connect_to(&nobody, &[]).await.unwrap_err();
    assert_eq!(error, ConnectError::NoAddress { peer: nobody });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_dial_at_once_and_both_are_served() {
    let (a, b) = (overlay(1, echo()).await, overlay(2, echo()).await);
    let (to_a, to_b) = (address(&a, "tcp"), address(&b, "tcp"));
    let (x, y) = tokio::join!(b.connect(&to_a), a.connect(&to_b));
    assert_eq!((x.unwrap(), y.unwrap()), (a.did(), b.did()));
    let (da, db) = (a.did(), b.did());
    let (one, two) = (chunk(1), chunk(2));
    let (x, y) = tokio::join!(b.request(&da, &one, LONG), a.request(&db, &two, LONG));
    assert_eq!(x.unwrap(), Response::Chunk { bytes: vec![0, 0, 0, 1] });
    assert_eq!(y.unwrap(), Response::Chunk { bytes: vec![0, 0, 0, 2] });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_session_ends_and_a_new_one_is_made() {
    let provider = overlay(1, echo()).await;
    let mut config = OverlayConfig::client();
    config.timeouts.idle = Duration::from_millis(40);
    let requester = Overlay::start(config, &key(2), echo()).await.unwrap();
    let at = address(&provider, "tcp");
    // The session itself: it may be over before it is looked for.
    let (did, at): (_, [Multiaddr; 1]) = (provider.did(), [at.parse().unwrap()]);
    let session = requester.connect_to(&did, &at).await.unwrap();
    until("it is closed", || std::future::ready(session.closed().is_some())).await;
    assert_eq!(session.closed(), Some(CloseReason::Idle(Duration::from_millis(40))));
    until("a new one serves, be it that it is over as soon", || async {
        match requester.connect_to(&did, &at).await {
            Ok(again) => again.request(&chunk(1), LONG).await.is_ok(),
            Err(_) => false,
        }
    })
    .await;
}
