#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use super::*;
use actum_model::{Lease, SecretKey, Signed};
use actum_registry::RegistryLimits;
use std::{
    cell::Cell,
    future::{Ready, ready},
    sync::{LazyLock, Mutex},
};
use tempfile::TempDir;

/// More than one message names: 64 KiB are some 2,000.
const MANY: u32 = 2_500;
/// When the leases of these tests begin, for whoever holds them.
static NBF: LazyLock<u64> = LazyLock::new(clock::now_secs);

fn lease(n: u32) -> Signed<Lease> {
    let key = SecretKey::from_seed(&sha256(&n.to_be_bytes()));
    let nbf = *NBF;
    let lease = Lease {
        iss: key.did(),
        addrs: vec!["/ip4/127.0.0.1/tcp/4001".to_owned()],
        load: 0,
        queued: 0,
        capacity: 1,
        lately: None,
        descriptors_seq: 1,
        seq: 1,
        nbf,
        exp: nbf + 600,
    };
    Signed::sign(lease, &key)
}

/// A registry that holds so many leases.
fn registry(leases: u32) -> (TempDir, Arc<Keeping>) {
    let dir = TempDir::new().unwrap();
    let now = clock::now_secs();
    let registry = Registry::open(dir.path(), RegistryLimits::default(), now).unwrap();
    for n in 0..leases {
        registry.observe_lease(&lease(n), now).unwrap();
    }
    (dir, Arc::new(Keeping { registry, answering: Mutex::default(), wanted: Mutex::default() }))
}

/// What an honest registry answers.
fn honest(there: &Keeping, request: &Request) -> Response {
    match request {
        Request::Reconcile { message } => {
            let asks = SecretKey::from_seed(&[9; 32]).did();
            there.reconcile(asks, message).unwrap_or_else(Response::from)
        }
        Request::Statements { ids } => there.statements(ids),
        other => panic!("{other:?}"),
    }
}

/// An answer, or none for ever.
async fn or_never(answer: Option<Response>) -> Result<Response, String> {
    match answer {
        Some(answer) => Ok(answer),
        None => std::future::pending().await,
    }
}

fn now(answer: Response) -> Ready<Result<Response, String>> {
    ready(Ok(answer))
}

fn held(keeping: &Keeping) -> usize {
    keeping.registry.stats().providers
}

#[tokio::test]
async fn what_another_registry_has_comes_here() {
    let ((_here, here), (_there, there)) = (registry(3), registry(MANY));
    let ran = with(&here, Instant::now(), NEWS, &|request: Request| now(honest(&there, &request))).await;
    assert!(ran.ended.is_ok(), "{ran:?}");
    assert_eq!((ran.news, held(&here)), (MANY as usize - 3, MANY as usize));
}

#[tokio::test]
async fn what_was_named_before_a_refusal_is_fetched_all_the_same() {
    let ((_here, here), (_there, there)) = (registry(0), registry(MANY));
    let messages = Cell::new(0);
    let ask = |request: Request| {
        if matches!(request, Request::Reconcile { .. }) {
            messages.set(messages.get() + 1);
        }
        now(match messages.get() {
            2 if matches!(request, Request::Reconcile { .. }) => {
                Response::from(Refusal::new(RefusalCode::Busy, "later"))
            }
            _ => honest(&there, &request),
        })
    };
    let ran = with(&here, Instant::now(), NEWS, &ask).await;
    assert!(matches!(&ran.ended, Err(Ended::Early(why)) if why.contains("later")), "{ran:?}");
    assert!(ran.news > 1_000 && ran.news < MANY as usize, "{}", ran.news);
    assert_eq!(held(&here), ran.news);
}

#[tokio::test]
async fn what_was_named_before_a_message_that_is_none_is_fetched_all_the_same() {
    let ((_here, here), (_there, there)) = (registry(0), registry(MANY));
    let messages = Cell::new(0);
    let ask = |request: Request| {
        if matches!(request, Request::Reconcile { .. }) {
            messages.set(messages.get() + 1);
            if messages.get() == 2 {
                return now(Response::Reconciled { message: vec![0xff; 100] });
            }
        }
        now(honest(&there, &request))
    };
    let ran = with(&here, Instant::now(), NEWS, &ask).await;
    assert!(matches!(ran.ended, Err(Ended::Early(_))), "{ran:?}");
    assert_eq!((ran.news > 1_000, held(&here)), (true, ran.news));
}

#[tokio::test(start_paused = true)]
async fn one_that_never_ends_naming_is_waited_for_no_longer_than_a_minute() {
    let ((_here, here), (_there, there)) = (registry(0), registry(MANY));
    let messages = Cell::new(0);
    let ask = |request: Request| {
        if matches!(request, Request::Reconcile { .. }) {
            messages.set(messages.get() + 1);
        }
        let silent = messages.get() > 1 && matches!(request, Request::Reconcile { .. });
        let answer = (!silent).then(|| honest(&there, &request));
        or_never(answer)
    };
    let began = Instant::now();
    let ran = with(&here, began, NEWS, &ask).await;
    assert!(matches!(ran.ended, Err(Ended::Early(_))), "{ran:?}");
    assert!(ran.news > 1_000, "{}", ran.news);
    assert!((NAMING..RUN).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn one_that_never_ends_sending_is_waited_for_no_longer_than_two() {
    let ((_here, here), (_there, there)) = (registry(0), registry(300));
    let fetched = Cell::new(0);
    let ask = |request: Request| {
        if matches!(request, Request::Statements { .. }) {
            fetched.set(fetched.get() + 1);
        }
        let answer = (fetched.get() < 2).then(|| honest(&there, &request));
        or_never(answer)
    };
    let began = Instant::now();
    let ran = with(&here, began, NEWS, &ask).await;
    assert!(matches!(ran.ended, Err(Ended::Early(_))), "{ran:?}");
    assert_eq!((ran.news, held(&here)), (MAX_STATEMENTS, MAX_STATEMENTS));
    assert!(began.elapsed() >= RUN && began.elapsed() < RUN * 2, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_run_takes_in_so_much_and_the_next_one_more() {
    let ((_here, here), (_there, there)) = (registry(0), registry(300));
    for so_far in [140, 280, 300] {
        let ran = with(&here, Instant::now(), 140, &|request: Request| now(honest(&there, &request))).await;
        assert!(ran.ended.is_ok(), "{ran:?}");
        assert_eq!(held(&here), so_far);
    }
}

#[tokio::test]
async fn statements_that_nobody_asked_for() {
    let ((_here, here), (_there, there)) = (registry(0), registry(10));
    let ask = |request: Request| {
        let mut answer = honest(&there, &request);
        if let Response::Statements { statements } = &mut answer {
            statements.insert(4, ByteBuf::from(lease(99).bytes()));
        }
        now(answer)
    };
    let ran = with(&here, Instant::now(), NEWS, &ask).await;
    assert!(matches!(ran.ended, Err(Ended::Fault(_))), "{ran:?}");
    // What came before stands.
    assert_eq!((ran.news, held(&here)), (4, 4));
}

#[test]
fn statements_that_are_none_and_others_that_are_only_of_no_use() {
    let (_dir, here) = registry(0);
    let known = lease(1);
    let asked = [sha256(b"no statement"), sha256(known.bytes())];
    let sent = [ByteBuf::from(known.bytes()), ByteBuf::from(b"no statement".as_slice())];
    // One that expired meanwhile could be sent in good faith.
    let late = take_in(&here.registry, &asked, &sent[..1], clock::now_secs() + 3_600);
    assert!(late.ended.is_ok() && late.news == 0, "{late:?}");
    let ran = take_in(&here.registry, &asked, &sent, clock::now_secs());
    assert!(matches!(ran.ended, Err(Ended::Fault(_))), "{ran:?}");
    assert_eq!((ran.news, held(&here)), (1, 1));
}

#[tokio::test]
async fn what_a_registry_was_caught_at_is_remembered() {
    let dir = TempDir::new().unwrap();
    let home = Arc::new(Home::open(dir.path()).unwrap());
    let partner = SecretKey::from_seed(&[9; 32]).did();
    remember(&home, partner).await;
    let caught = home.store().offences_of(&partner, 0).unwrap();
    assert_eq!(caught.iter().map(|o| o.offence).collect::<Vec<_>>(), [Offence::WrongPage]);
}
