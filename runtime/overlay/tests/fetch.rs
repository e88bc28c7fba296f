//! Fetching believes digests, not peers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use actum_model::{
    BlobId, ComponentId, Descriptor, FunctionName, Limits, ProfileId, ReleaseId, Signed,
    id::sha256,
    release::{CHUNK_BYTES, Function, Release, chunk_digests, manifest},
};
use actum_overlay::{
    DownloadEvent, FetchError, Fetched, Handler, InMemory, Overlay, Put, Refusal, RefusalCode, Request,
    Response, SessionHandle, Sink, Wanted, download, fetch_manifest, fetch_release,
};
use common::*;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

/// Three chunks and a bit.
fn component() -> Vec<u8> {
    component_of(3)
}

/// So many chunks and a bit.
fn component_of(chunks: usize) -> Vec<u8> {
    (0_u32..).flat_map(|i| sha256(&i.to_be_bytes())).take(chunks * CHUNK_BYTES + 77).collect()
}

fn a_release() -> Signed<Release> {
    release_of(&component())
}

fn release_of(bytes: &[u8]) -> Signed<Release> {
    let function = Function {
        name: "a:b/c#run".parse::<FunctionName>().unwrap(),
        docs: String::new(),
        params: vec![],
        result: None,
    };
    let release = Release {
        iss: key(1).did(),
        name: "tests/fetched".parse().or_else(|_| "fetched".parse()).unwrap(),
        version: semver::Version::new(1, 0, 0),
        intent: "is fetched".to_owned(),
        tags: vec![],
        component: ComponentId::of(bytes),
        component_bytes: bytes.len() as u64,
        chunks: chunk_digests(bytes),
        wit: vec![].into(),
        functions: vec![function],
        permissions: Default::default(),
        examples: vec![],
    };
    Signed::sign(release, &key(1))
}

/// The descriptor that offers a release.
fn descriptor(release: &Signed<Release>) -> Descriptor {
    let r = release.payload();
    Descriptor {
        iss: key(1).did(),
        release: release.id(),
        author: r.iss,
        name: r.name.clone(),
        version: r.version.clone(),
        component: r.component,
        component_bytes: r.component_bytes,
        manifest: BlobId::of(&manifest(&r.chunks)),
        intent: r.intent.clone(),
        tags: vec![],
        functions: vec![],
        permissions: Default::default(),
        profile: ProfileId::of(b"profile"),
        limits: Limits::default(),
        price: 0,
        region: None,
        public: true,
        tiers: Default::default(),
        verdicts: vec![],
        seq: 1,
        nbf: 0,
        exp: 1,
    }
}

/// How a peer that has a component gives its chunks.
#[derive(Clone, Copy)]
enum Manner {
    Well,
    /// This chunk is off by one bit.
    Wrong(u32),
    /// Every chunk is.
    AllWrong,
    /// So many, and the others not before this is so.
    Holds(u32, &'static AtomicBool),
    /// So many, and nothing more.
    Until(u32),
    /// The first so many are refused as busy, and the others given once this is so.
    BusyFor(u32, &'static AtomicBool),
    /// Another manifest and another release than asked for.
    Liar,
}

/// Something that is not so yet.
fn not_yet() -> &'static AtomicBool {
    Box::leak(Box::new(AtomicBool::new(false)))
}

async fn is_so(it: &AtomicBool) {
    while !it.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Makes it so once so many chunks were asked for.
async fn so_once_asked(asked: &AtomicU32, chunks: u32, it: &AtomicBool) {
    let what = format!("{chunks} chunks are asked for");
    until(&what, || async { asked.load(Ordering::Relaxed) >= chunks }).await;
    it.store(true, Ordering::Relaxed);
}

/// Serves a component, its release and its manifest; counts the chunks asked for.
fn serving(bytes: Vec<u8>, manner: Manner) -> (Arc<dyn Handler>, Arc<AtomicU32>) {
    let release = Arc::new(release_of(&bytes));
    let (bytes, asked) = (Arc::new(bytes), Arc::new(AtomicU32::new(0)));
    let count = asked.clone();
    let handler = answer(move |_, request, _, _| {
        let (bytes, release, count) = (bytes.clone(), release.clone(), count.clone());
        Box::pin(async move {
            match (request, manner) {
                (Request::Chunk { index, .. }, _) => {
                    let before = count.fetch_add(1, Ordering::Relaxed);
                    match manner {
                        Manner::Holds(n, it) if before >= n => is_so(it).await,
                        Manner::Until(n) if before >= n => std::future::pending().await,
                        Manner::BusyFor(n, _) if before < n => {
                            return Refusal::new(RefusalCode::Busy, "later").retry_after_ms(20).into();
                        }
                        Manner::BusyFor(_, it) => is_so(it).await,
                        _ => {}
                    }
                    match bytes.chunks(CHUNK_BYTES).nth(index as usize) {
                        Some(chunk) => {
                            let mut bytes = chunk.to_vec();
                            let wrong = match manner {
                                Manner::Wrong(wrong) => wrong == index,
                                manner => matches!(manner, Manner::AllWrong),
                            };
                            bytes[0] ^= u8::from(wrong);
                            Response::Chunk { bytes }
                        }
                        None => Refusal::new(RefusalCode::BadRequest, "no such chunk").into(),
                    }
                }
                (Request::Release { .. }, _) => Response::Release { release: release.bytes().to_vec() },
                (Request::Manifest { .. }, Manner::Liar) => Response::Manifest { bytes: vec![7; 32] },
                (Request::Manifest { .. }, _) => {
                    Response::Manifest { bytes: manifest(&release.payload().chunks) }
                }
                _ => Refusal::new(RefusalCode::NotOffered, "nothing else").into(),
            }
        })
    });
    (handler, asked)
}

/// A requester with a session to a provider of each manner, and how often each was asked for a chunk.
struct Swarm {
    providers: Vec<Overlay>,
    sessions: Vec<SessionHandle>,
    asked: Vec<Arc<AtomicU32>>,
    _requester: Overlay,
}

async fn swarm(bytes: &[u8], manners: &[Manner]) -> Swarm {
    let requester = overlay(100, echo()).await;
    let (mut providers, mut sessions, mut asked) = (Vec::new(), Vec::new(), Vec::new());
    for (n, manner) in manners.iter().enumerate() {
        let (handler, count) = serving(bytes.to_vec(), *manner);
        let provider = overlay(n as u8 + 1, handler).await;
        requester.connect(&address(&provider, "tcp")).await.unwrap();
        sessions.push(requester.session_with(&provider.did()).unwrap());
        providers.push(provider);
        asked.push(count);
    }
    Swarm { providers, sessions, asked, _requester: requester }
}

/// Downloads into memory; what was told on the way, too.
async fn fetch(
    swarm: &Swarm,
    release: &Release,
) -> (Result<Fetched, FetchError>, Option<Vec<u8>>, Vec<DownloadEvent>) {
    fetch_hearing(swarm, release, |_| {}).await
}

/// The same; `hears` what is told when it is.
async fn fetch_hearing(
    swarm: &Swarm,
    release: &Release,
    mut hears: impl FnMut(&DownloadEvent) + Send,
) -> (Result<Fetched, FetchError>, Option<Vec<u8>>, Vec<DownloadEvent>) {
    let wanted = Wanted::of_release(release).unwrap();
    let (mut sink, mut events) = (InMemory::new(&wanted), Vec::new());
    let mut told = |event: DownloadEvent| {
        hears(&event);
        events.push(event);
    };
    let fetched = download(&wanted, &swarm.sessions, &mut sink, &mut told).await;
    (fetched, sink.finish(), events)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_comes_whole_with_its_release() {
    for transport in TRANSPORTS {
        let (provider, requester) = pair(transport, serving(component(), Manner::Well).0).await;
        let session = requester.session_with(&provider.did()).unwrap();
        let release = fetch_release(&session, a_release().id()).await.unwrap();
        let wanted = Wanted::of_release(release.payload()).unwrap();
        let (mut sink, mut seen) = (InMemory::new(&wanted), Vec::new());
        let fetched = download(&wanted, &[session], &mut sink, &mut |e| seen.push(e)).await.unwrap();
        assert_eq!(fetched, Fetched { before: 0, given: vec![4] });
        assert_eq!(sink.finish().unwrap(), component());
        let progress = |done| DownloadEvent::Progress { done, total: 4 };
        assert_eq!(seen, [1, 2, 3, 4].map(progress));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_descriptor_alone_is_enough() {
    let swarm = swarm(&component(), &[Manner::Well, Manner::Liar]).await;
    let offered = descriptor(&a_release());
    let wanted = fetch_manifest(&swarm.sessions[0], &offered).await.unwrap();
    assert_eq!(wanted, Wanted::of_release(a_release().payload()).unwrap());
    let mut sink = InMemory::new(&wanted);
    download(&wanted, &swarm.sessions[..1], &mut sink, &mut |_| {}).await.unwrap();
    assert_eq!(sink.finish().unwrap(), component());
    match fetch_manifest(&swarm.sessions[1], &offered).await.unwrap_err() {
        FetchError::WrongManifest { peer, component } => {
            assert_eq!((peer, component), (swarm.providers[1].did(), offered.component));
        }
        other => panic!("{other:?}"),
    }
    // The right manifest of a size it is not of.
    let longer = Descriptor { component_bytes: offered.component_bytes + CHUNK_BYTES as u64, ..offered };
    let error = fetch_manifest(&swarm.sessions[0], &longer).await.unwrap_err();
    assert!(matches!(error, FetchError::BadManifest { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_chunk_ends_it_where_nobody_else_is_and_is_named() {
    let swarm = swarm(&component(), &[Manner::Wrong(2)]).await;
    let (error, whole, events) = fetch(&swarm, a_release().payload()).await;
    match error.unwrap_err() {
        FetchError::NobodyLeft { total, tried, done, .. } => {
            assert_eq!((done < total, total), (true, 4));
            assert_eq!(tried, [(swarm.providers[0].did(), "it sent a wrong chunk 2".to_owned())]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(whole, None);
    assert!(events.contains(&DownloadEvent::WrongChunk { peer: swarm.providers[0].did(), index: 2 }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_peers_share_the_work_and_a_liar_is_asked_no_more() {
    let bytes = component_of(40);
    // Of a peer no more than eight are out at once: one that was asked for the thirteenth has given five. Neither gives more
    // before the other has given as many, and before the liar is found out, however slow it is.
    let (found_out, one, two) = (not_yet(), not_yet(), not_yet());
    let swarm = swarm(&bytes, &[Manner::Holds(5, one), Manner::AllWrong, Manner::Holds(5, two)]).await;
    let hears = |event: &DownloadEvent| {
        if matches!(event, DownloadEvent::WrongChunk { .. }) {
            found_out.store(true, Ordering::Relaxed);
        }
    };
    let share = async {
        until("the liar is found out", || async { found_out.load(Ordering::Relaxed) }).await;
        let asked = &swarm.asked;
        tokio::join!(so_once_asked(&asked[0], 13, two), so_once_asked(&asked[2], 13, one));
    };
    let release = release_of(&bytes);
    let fetched = fetch_hearing(&swarm, release.payload(), hears);
    let ((fetched, whole, events), ()) = tokio::join!(fetched, share);
    let given = fetched.unwrap().given;
    assert!(given[0] > 4 && given[2] > 4, "{given:?}");
    assert_eq!((given[1], given.iter().sum::<u32>()), (0, 41));
    assert_eq!(whole.unwrap(), bytes);
    let liars: Vec<_> = events.iter().filter(|e| matches!(e, DownloadEvent::WrongChunk { .. })).collect();
    assert!(
        matches!(liars[..], [DownloadEvent::WrongChunk { peer, .. }] if *peer == swarm.providers[1].did()),
        "{liars:?}"
    );
    // Four to begin with, and two more when the first comes, before that is looked at.
    assert!(swarm.asked[1].load(Ordering::Relaxed) <= 6, "asked on after it had lied");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_falls_silent_loses_its_chunks_to_another() {
    let bytes = component_of(40);
    // The third is slower than the second by as much as that takes to give twenty-one: of these no more than eight are out.
    let twenty_one = not_yet();
    let swarm = swarm(&bytes, &[Manner::Until(2), Manner::Well, Manner::Holds(0, twenty_one)]).await;
    let release = release_of(&bytes);
    let quick = so_once_asked(&swarm.asked[1], 29, twenty_one);
    let ((fetched, whole, events), ()) = tokio::join!(fetch(&swarm, release.payload()), quick);
    assert_eq!(whole.unwrap(), bytes);
    let given = fetched.unwrap().given;
    assert!(given[0] <= 2 && given[1] > 20, "{given:?}");
    // Nobody waited the twenty seconds after which a chunk counts as failed, three of which give a peer up.
    let given_up = events.iter().any(|e| matches!(e, DownloadEvent::GivenUp { .. }));
    assert!(!given_up, "{events:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_peer_does_not_end_it_and_a_busy_one_is_asked_again() {
    let bytes = component_of(20);
    let lost = not_yet();
    let swarm = swarm(&bytes, &[Manner::Until(1), Manner::BusyFor(3, lost)]).await;
    let (first, asked, session) = (&swarm.providers[0], &swarm.asked[0], &swarm.sessions[0]);
    let cut = async {
        while asked.load(Ordering::Relaxed) < 2 {
            tokio::task::yield_now().await;
        }
        first.shutdown().await;
        // Known to the one who fetches before the other gives anything.
        until("the loss is known", || async { session.closed().is_some() }).await;
        lost.store(true, Ordering::Relaxed);
    };
    let release = release_of(&bytes);
    let ((fetched, whole, events), ()) = tokio::join!(fetch(&swarm, release.payload()), cut);
    assert_eq!(whole.unwrap(), bytes);
    assert!(fetched.unwrap().given[1] >= 20);
    let gone = swarm.providers[0].did();
    assert!(events.iter().any(|e| matches!(e, DownloadEvent::GivenUp { peer, .. } if *peer == gone)));
}

/// Has some chunks already, and keeps what comes.
struct Half {
    inner: InMemory,
    here: Vec<bool>,
    put: Vec<u32>,
}

impl Sink for Half {
    fn verified(&self) -> Vec<bool> {
        self.here.clone()
    }
    fn put(&mut self, index: u32, chunk: Vec<u8>) -> actum_overlay::BoxFuture<'_, Result<Put, String>> {
        self.put.push(index);
        self.inner.put(index, chunk)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_here_is_not_fetched_again() {
    let bytes = component_of(9);
    let swarm = swarm(&bytes, &[Manner::Well]).await;
    let wanted = Wanted::of_release(release_of(&bytes).payload()).unwrap();
    let here = (0..10).map(|n| n % 3 == 0).collect();
    let mut sink = Half { inner: InMemory::new(&wanted), here, put: vec![] };
    let mut seen = Vec::new();
    let fetched = download(&wanted, &swarm.sessions, &mut sink, &mut |e| seen.push(e)).await.unwrap();
    assert_eq!(fetched, Fetched { before: 4, given: vec![6] });
    assert_eq!(seen[0], DownloadEvent::Progress { done: 4, total: 10 });
    sink.put.sort_unstable();
    assert_eq!(sink.put, [1, 2, 4, 5, 7, 8]);
    assert_eq!(swarm.asked[0].load(Ordering::Relaxed), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_release_is_refused() {
    let (provider, requester) = pair("tcp", serving(component(), Manner::Well).0).await;
    let session = requester.session_with(&provider.did()).unwrap();
    let wanted = ReleaseId::of(b"another");
    assert!(matches!(
        fetch_release(&session, wanted).await,
        Err(FetchError::WrongRelease { peer, wanted: w }) if peer == provider.did() && w == wanted
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_of_another_component_makes_no_component() {
    let swarm = swarm(&component(), &[Manner::Well]).await;
    let mut release = a_release().into_payload();
    release.component = ComponentId::of(b"another");
    let (fetched, whole, _) = fetch(&swarm, &release).await;
    assert_eq!((fetched.is_ok(), whole), (true, None));
    release.chunks.pop();
    assert!(matches!(Wanted::of_release(&release), Err(FetchError::BadManifest { .. })));
    for size in [0, (64 << 20) + 1, u64::MAX] {
        release.component_bytes = size;
        assert!(matches!(Wanted::of_release(&release), Err(FetchError::BadManifest { .. })));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_passed_on() {
    let refusing = answer(|_, _, _, _| {
        Box::pin(async { Refusal::new(RefusalCode::UnknownComponent, "not here").into() })
    });
    let (provider, requester) = pair("tcp", refusing).await;
    let session = requester.session_with(&provider.did()).unwrap();
    let wanted = Wanted::of_release(a_release().payload()).unwrap();
    let mut sink = InMemory::new(&wanted);
    match download(&wanted, &[session], &mut sink, &mut |_| {}).await.unwrap_err() {
        FetchError::NobodyLeft { done: 0, tried, .. } => {
            assert_eq!(tried, [(provider.did(), "unknown-component: not here".to_owned())]);
        }
        other => panic!("{other:?}"),
    }
    let mut sink = InMemory::new(&wanted);
    let nobody = download(&wanted, &[], &mut sink, &mut |_| {}).await.unwrap_err();
    assert!(matches!(nobody, FetchError::NobodyLeft { .. }), "{nobody}");
}
