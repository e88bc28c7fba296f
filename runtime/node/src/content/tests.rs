#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use super::*;
use actum_discovery::{Conditions, descriptor_for};
use actum_model::{
    FunctionName, Limits, ProfileId, SecretKey,
    id::sha256,
    release::{CHUNK_BYTES, Function, chunk_digests},
};
use actum_overlay::{Handler, Overlay, OverlayConfig, ProgressSender, Request};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Five chunks and a bit.
fn component() -> Vec<u8> {
    (0_u32..).flat_map(|i| sha256(&i.to_be_bytes())).take(5 * CHUNK_BYTES + 77).collect()
}

fn release(bytes: &[u8]) -> Signed<Release> {
    let key = SecretKey::from_seed(&[50; 32]);
    let function = Function {
        name: "a:b/c#run".parse::<FunctionName>().unwrap(),
        docs: String::new(),
        params: vec![],
        result: None,
    };
    let release = Release {
        iss: key.did(),
        name: "moved".parse().unwrap(),
        version: "1.0.0".parse().unwrap(),
        intent: "is moved about".to_owned(),
        tags: vec![],
        component: ComponentId::of(bytes),
        component_bytes: bytes.len() as u64,
        chunks: chunk_digests(bytes),
        wit: vec![].into(),
        functions: vec![function],
        permissions: Default::default(),
        examples: vec![],
    };
    Signed::sign(release, &key)
}

fn descriptor(release: &Signed<Release>) -> Descriptor {
    let conditions = Conditions {
        profile: ProfileId::of(b"profile"),
        limits: Limits::default(),
        price: 0,
        region: None,
        public: true,
        tiers: Default::default(),
        verdicts: vec![],
    };
    let validity =
        actum_discovery::Announcer::new(Default::default(), 0).poll(0, 0).unwrap().descriptors.unwrap();
    descriptor_for(release, SecretKey::from_seed(&[50; 32]).did(), conditions, validity).unwrap()
}

/// Something counted, and how much of it is waited for.
type Enough = (Arc<AtomicU32>, u32);

async fn enough(counts: &[Enough]) {
    while counts.iter().any(|(count, least)| count.load(Relaxed) < *least) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Gives what its home has as a node does; or, lying, each chunk with a bit turned and another manifest.
struct Giver {
    home: Arc<Home>,
    lies: bool,
    /// Chunks it was asked for.
    asked: Arc<AtomicU32>,
    /// What it gave.
    gave: Arc<AtomicU32>,
    /// It gives no manifest, and no chunk, before there is enough of these.
    manifest_after: Vec<Enough>,
    chunks_after: Vec<Enough>,
}

impl Handler for Giver {
    fn handle(
        &self,
        _: Did,
        request: Request,
        _: SessionHandle,
        _: ProgressSender,
    ) -> BoxFuture<'static, Response> {
        let (home, lies, asked, gave) = (self.home.clone(), self.lies, self.asked.clone(), self.gave.clone());
        let (manifest_after, chunks_after) = (self.manifest_after.clone(), self.chunks_after.clone());
        Box::pin(async move {
            let answer = match request {
                Request::Chunk { component, index } => {
                    asked.fetch_add(1, Relaxed);
                    enough(&chunks_after).await;
                    chunk(home, component, index).await
                }
                Request::Manifest { component, manifest } => {
                    enough(&manifest_after).await;
                    manifest_of(home, component, manifest).await
                }
                Request::Release { id } => super::release(&home, &id),
                _ => Err(Refusal::new(RefusalCode::NotOffered, "nothing else")),
            };
            let mut answer = answer.unwrap_or_else(Response::from);
            match &mut answer {
                Response::Chunk { bytes } | Response::Manifest { bytes } if lies => bytes[0] ^= 1,
                _ => {}
            }
            gave.fetch_add(1, Relaxed);
            answer
        })
    }
}

struct Peer {
    did: Did,
    session: SessionHandle,
    asked: Arc<AtomicU32>,
    _overlay: Overlay,
}

/// A home that wants, and peers that have; those whose place is in `liars` lie.
///
/// No peer is so slow that another is asked in its place before it is found out what it gives: where there are no liars, none
/// gives a chunk before all were asked for one; where there are, the others wait for a chunk that was asked of a liar first.
struct Stage {
    dir: tempfile::TempDir,
    home: Arc<Home>,
    peers: Vec<Peer>,
    release: Signed<Release>,
    _overlay: Overlay,
}

async fn stage(peers: u8, liars: &[u8]) -> Stage {
    let dir = tempfile::tempdir().unwrap();
    let home = |name: &str| Arc::new(Home::open(&dir.path().join(name)).unwrap());
    let (giving, wanting) = (home("giving"), home("wanting"));
    let release = release(&component());
    giving.store().put_component(&component()).unwrap();
    giving.store().put_release(&release).unwrap();
    let me = SecretKey::from_seed(&[100; 32]);
    let nothing = Giver {
        home: wanting.clone(),
        lies: false,
        asked: Arc::default(),
        gave: Arc::default(),
        manifest_after: vec![],
        chunks_after: vec![],
    };
    let overlay = Overlay::start(OverlayConfig::client(), &me, Arc::new(nothing)).await.unwrap();
    let counts = || (0..peers).map(|_| Arc::<AtomicU32>::default()).collect::<Vec<_>>();
    let (all_asked, all_gave) = (counts(), counts());
    let mut all = Vec::new();
    for n in 0..peers {
        let place = usize::from(n);
        let (asked, lies) = (all_asked[place].clone(), liars.contains(&n));
        let lied: Vec<Enough> = liars.iter().map(|n| (all_gave[usize::from(*n)].clone(), 1)).collect();
        let (manifest_after, chunks_after) = if lies {
            (vec![], vec![])
        } else if liars.is_empty() {
            (vec![], all_asked.iter().map(|asked| (asked.clone(), 1)).collect())
        } else {
            // The six chunks are shared out before anything comes.
            let share = 6 / u32::from(peers);
            (lied.clone(), [lied, vec![(asked.clone(), share + 1)]].concat())
        };
        let (home, gave) = (giving.clone(), all_gave[place].clone());
        let giver = Giver { home, lies, asked: asked.clone(), gave, manifest_after, chunks_after };
        let key = SecretKey::from_seed(&[n; 32]);
        let peer = Overlay::start(OverlayConfig::default(), &key, Arc::new(giver)).await.unwrap();
        overlay.connect(&peer.addresses()[0].to_string()).await.unwrap();
        let session = overlay.session_with(&key.did()).unwrap();
        all.push(Peer { did: key.did(), session, asked, _overlay: peer });
    }
    Stage { home: wanting, peers: all, release, dir, _overlay: overlay }
}

impl Stage {
    async fn obtain(&self, source: Source<'_>, peers: &[usize]) -> Result<Vec<u8>, ObtainError> {
        let sessions: Vec<_> = peers.iter().map(|n| self.peers[*n].session.clone()).collect();
        let mut seen = 0;
        let obtained = obtain(&self.home, source, &sessions, &mut |done, _| seen = done).await;
        assert!(obtained.is_err() || seen == 6 || seen == 0, "{seen} of 6 chunks were told of");
        obtained
    }

    /// Waits until it is remembered that a peer did that.
    async fn caught(&self, peer: usize, at: Offence) {
        let did = self.peers[peer].did;
        let remembered = async {
            while !self.home.store().offences_of(&did, 0).unwrap().iter().any(|o| o.offence == at) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), remembered).await.expect("it is not remembered");
    }

    /// How many chunks a peer was asked for, those under way to it included: what was sent before comes before.
    async fn asked(&self, peer: usize) -> u32 {
        let Peer { session, asked, .. } = &self.peers[peer];
        let last = Request::Release { id: self.release.id() };
        session.request(&last, Duration::from_secs(60)).await.unwrap();
        asked.load(Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_comes_by_a_release_and_by_a_descriptor_and_then_it_is_here() {
    let stage = stage(2, &[]).await;
    let wanted = descriptor(&stage.release);
    let bytes = stage.obtain(Source::Descriptor(&wanted), &[0, 1]).await.unwrap();
    assert_eq!(bytes, component());
    // What takes one of them long is asked of the other too, but never twice of the same.
    let asked = [stage.asked(0).await, stage.asked(1).await];
    let each = asked.iter().all(|asked| (1..=6).contains(asked));
    assert!(each && asked.iter().sum::<u32>() >= 6, "{asked:?}");
    assert_eq!(stage.obtain(Source::Release(stage.release.payload()), &[]).await.unwrap(), component());

    let other = super::tests::stage(1, &[]).await;
    let bytes = other.obtain(Source::Release(other.release.payload()), &[0]).await.unwrap();
    assert_eq!(bytes, component());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_liar_is_remembered_and_asked_only_when_nobody_else_has_it() {
    let stage = stage(2, &[0]).await;
    let source = Source::Release(stage.release.payload());
    assert_eq!(stage.obtain(source, &[0, 1]).await.unwrap(), component());
    stage.caught(0, Offence::WrongChunk).await;
    let asked = stage.asked(0).await;
    // As if it had never come: now the liar is known, by whoever opens this home.
    let removed = stage.dir.path().join("wanting/store/components");
    std::fs::remove_dir_all(&removed).unwrap();
    std::fs::create_dir(&removed).unwrap();
    assert_eq!(stage.obtain(source, &[0, 1]).await.unwrap(), component());
    assert_eq!(stage.asked(0).await, asked, "the liar was asked again");
    assert!(stage.asked(1).await >= 6);

    std::fs::remove_dir_all(&removed).unwrap();
    std::fs::create_dir(&removed).unwrap();
    let nobody = stage.obtain(source, &[0]).await.unwrap_err();
    assert!(matches!(nobody, ObtainError::Fetch(FetchError::NobodyLeft { .. })), "{nobody}");
    assert!(stage.asked(0).await > asked, "where there is no other, it is asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_false_manifest_is_remembered_and_the_next_is_asked() {
    let stage = stage(2, &[0]).await;
    let wanted = descriptor(&stage.release);
    assert_eq!(stage.obtain(Source::Descriptor(&wanted), &[0, 1]).await.unwrap(), component());
    stage.caught(0, Offence::WrongManifest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_release_here_names_is_given_to_nobody() {
    let stage = stage(1, &[]).await;
    let other = release(b"another component");
    let unknown = stage.obtain(Source::Descriptor(&descriptor(&other)), &[0]).await.unwrap_err();
    match unknown {
        ObtainError::Fetch(FetchError::Refused { refusal, .. }) => {
            assert_eq!(refusal.code, RefusalCode::UnknownComponent);
        }
        other => panic!("{other}"),
    }
    let nobody = stage.obtain(Source::Descriptor(&descriptor(&other)), &[]).await.unwrap_err();
    assert!(matches!(nobody, ObtainError::Nobody(_)), "{nobody}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_false_release_makes_no_component_and_does_not_spoil_the_true_one() {
    let stage = stage(1, &[]).await;
    let mut lie = stage.release.payload().clone();
    lie.component = ComponentId::of(b"what it says it is");
    // The peer would have to have it: as if it did.
    let source = Source::Release(&lie);
    let refused = stage.obtain(source, &[0]).await.unwrap_err();
    assert!(matches!(refused, ObtainError::Fetch(FetchError::NobodyLeft { .. })), "{refused}");
    lie.component_bytes += CHUNK_BYTES as u64;
    let refused = stage.obtain(Source::Release(&lie), &[0]).await.unwrap_err();
    assert!(matches!(refused, ObtainError::Fetch(FetchError::BadManifest { .. })), "{refused}");
    assert_eq!(stage.obtain(Source::Release(stage.release.payload()), &[0]).await.unwrap(), component());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_want_it_at_once_fetch_it_once_and_a_download_given_up_goes_on() {
    let stage = stage(1, &[]).await;
    let source = Source::Release(stage.release.payload());
    // Dropped after its third chunk.
    let sessions = [stage.peers[0].session.clone()];
    let third = Arc::new(tokio::sync::Notify::new());
    let told = third.clone();
    let mut progress = |done, _| {
        if done == 3 {
            told.notify_one();
        }
    };
    tokio::select! {
        biased;
        () = third.notified() => {}
        _ = obtain(&stage.home, source, &sessions, &mut progress) => panic!("it was to be dropped"),
    }
    let (a, b) = tokio::join!(stage.obtain(source, &[0]), stage.obtain(source, &[0]));
    assert_eq!((a.unwrap(), b.unwrap()), (component(), component()));
    // The one that was dropped may have asked for all six, those that never came among them: whether they
    // reach the peer before or after it is dropped is not known. From the start it would be six more.
    let asked = stage.peers[0].asked.load(Relaxed);
    assert!((6..=6 + 3).contains(&asked), "{asked} chunks were asked for although three were here");
}
