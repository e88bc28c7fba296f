//! What the tests of this crate share: real overlays on loopback, a handler made of a closure, hostile peers.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses its own part of this")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test helpers fail by panicking"
)]

use actum_model::{BlobId, ComponentId, Did, Invocation, ReleaseId, SecretKey, Signed};
use actum_overlay::{
    BoxFuture, Handler, Overlay, OverlayConfig, Placed, ProgressSender, Request, Response, SESSION_PROTOCOL,
    SessionHandle, Stream,
};
use ipld_core::ipld::Ipld;
use libp2p::{Multiaddr, StreamProtocol, Swarm, SwarmBuilder, noise, swarm::SwarmEvent, tcp, yamux};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

pub const LONG: Duration = Duration::from_secs(60);

struct Answer<F>(F);

impl<F> Handler for Answer<F>
where
    F: Fn(Did, Request, SessionHandle, ProgressSender) -> BoxFuture<'static, Response>
        + Send
        + Sync
        + 'static,
{
    fn handle(
        &self,
        peer: Did,
        request: Request,
        session: SessionHandle,
        progress: ProgressSender,
    ) -> BoxFuture<'static, Response> {
        (self.0)(peer, request, session, progress)
    }
}

/// A handler made of a closure.
pub fn answer<F>(f: F) -> Arc<dyn Handler>
where
    F: Fn(Did, Request, SessionHandle, ProgressSender) -> BoxFuture<'static, Response>
        + Send
        + Sync
        + 'static,
{
    Arc::new(Answer(f))
}

/// Answers a chunk with its index, a release with its id, a call with its arguments.
pub fn echo() -> Arc<dyn Handler> {
    answer(|_, request, _, _| Box::pin(async move { echoed(request) }))
}

pub fn echoed(request: Request) -> Response {
    match request {
        Request::Call { args, .. } => done(args),
        Request::Resume { invocation, .. } => done(invocation),
        Request::Manifest { manifest, .. } => Response::Manifest { bytes: manifest.digest().to_vec() },
        Request::Chunk { index, .. } => Response::Chunk { bytes: index.to_be_bytes().to_vec() },
        Request::Find { query } => Response::Page { page: query },
        Request::Release { id } => Response::Release { release: id.digest().to_vec() },
        Request::Announce { descriptors, .. } => {
            Response::Announced { accepted: descriptors.len() as u32, refused: vec![] }
        }
        Request::Notify { notices } => Response::Notified { news: notices.len() as u32, refused: vec![] },
        Request::Notices { after } => Response::Notices { notices: vec![], next: after },
        Request::Verdicts { .. } => Response::Verdicts { verdicts: vec![] },
        Request::Accuse { .. } => Response::Heard { wanted: false },
        Request::Proof { receipt } => Response::Proof { car: receipt.digest().to_vec() },
        Request::Accusations { after } => Response::Accusations { list: vec![], next: after },
        Request::Register { .. } | Request::Renew { .. } => {
            Response::Registered { placed: Placed::Confirmed { for_ms: 1 }, closer: vec![] }
        }
        Request::Ads { .. } => Response::Ads { ads: vec![], closer: vec![] },
        Request::Reconcile { message } => Response::Reconciled { message },
        Request::Statements { .. } => Response::Statements { statements: vec![] },
        Request::Withdraw { .. } => Response::Withdrawn {},
        Request::Balance { balance } => Response::Balance { balance },
        Request::Entries { after, .. } => Response::Entries { ids: vec![], next: after },
    }
}

pub fn done(output: Vec<u8>) -> Response {
    let output = Some(output);
    Response::Done {
        receipt: vec![1],
        output,
        journal: vec![],
        bodies: vec![],
        stdio: None,
        attestation: None,
    }
}

pub fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

pub fn chunk(index: u32) -> Request {
    Request::Chunk { component: ComponentId::of(b"component"), index }
}

pub fn release() -> Request {
    Request::Release { id: ReleaseId::of(b"release") }
}

pub fn call(key: &SecretKey, args: Vec<u8>) -> Request {
    let invocation = Invocation {
        iss: key.did(),
        sub: key.did(),
        aud: None,
        cmd: "/actum/run".parse().unwrap(),
        args: [("input".to_owned(), Ipld::Link(*BlobId::of(&args).cid()))].into(),
        prf: Vec::new(),
        meta: None,
        nonce: vec![0; 12].into(),
        exp: Some(0),
        iat: None,
        cause: None,
    };
    Request::Call { invocation: Signed::sign(invocation, key).bytes().to_vec(), proofs: Vec::new(), args }
}

pub async fn overlay(n: u8, handler: Arc<dyn Handler>) -> Overlay {
    Overlay::start(OverlayConfig::default(), &key(n), handler).await.unwrap()
}

pub fn address(overlay: &Overlay, kind: &str) -> String {
    let found = overlay.addresses().into_iter().map(|a| a.to_string()).find(|a| a.contains(kind));
    found.unwrap_or_else(|| panic!("no {kind} address"))
}

/// Two overlays and a session between them: the second asks, the first answers with `handler`.
pub async fn pair(kind: &str, handler: Arc<dyn Handler>) -> (Overlay, Overlay) {
    let provider = overlay(1, handler).await;
    let requester = overlay(2, echo()).await;
    let did = requester.connect(&address(&provider, kind)).await.unwrap();
    assert_eq!(did, provider.did());
    (provider, requester)
}

pub const TRANSPORTS: &[&str] = if cfg!(feature = "quic") { &["tcp", "quic-v1"] } else { &["tcp"] };

/// A peer with no manners: a bare swarm and a raw stream that says it speaks our protocol.
pub async fn hostile(target: &str) -> Stream {
    let mut swarm: Swarm<libp2p_stream::Behaviour> = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| libp2p_stream::Behaviour::new())
        .unwrap()
        .build();
    let mut control = swarm.behaviour().new_control();
    swarm.dial(target.parse::<Multiaddr>().unwrap()).unwrap();
    let peer = loop {
        use futures::StreamExt;
        if let SwarmEvent::ConnectionEstablished { peer_id, .. } = swarm.select_next_some().await {
            break peer_id;
        }
    };
    tokio::spawn(async move {
        use futures::StreamExt;
        loop {
            swarm.select_next_some().await;
        }
    });
    control.open_stream(peer, StreamProtocol::new(SESSION_PROTOCOL)).await.unwrap()
}

/// A configuration that joins the network through these peers.
pub fn joining(bootstrap: &[Multiaddr]) -> OverlayConfig {
    let mut config = OverlayConfig::default();
    config.routing.bootstrap = bootstrap.to_vec();
    config
}

/// A port that is free, and that nobody is given who asks for any: those lie above.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two test programs that run side by side begin far from one another.
    let first = (std::process::id().wrapping_mul(7_919) % 20_000) as u16;
    let port = || 10_000 + (first + NEXT.fetch_add(1, Relaxed) % 1_000) % 20_000;
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(port).take(1_000).find(free).unwrap()
}

pub async fn started(n: u8, config: OverlayConfig) -> Overlay {
    Overlay::start(config, &key(n), echo()).await.unwrap()
}

/// Asks again and again until the answer is yes; fails with what it was about after a minute.
pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let asked = async {
        let mut pace = tokio::time::interval(Duration::from_millis(50));
        while !holds().await {
            pace.tick().await;
        }
    };
    tokio::time::timeout(LONG, asked).await.unwrap_or_else(|_| panic!("not so after {LONG:?}: {what}"));
}

/// A way to `target` for peers that cannot choose where they come from: whoever dials the address returned arrives from
/// `source`.
pub async fn by_way_of(source: String, target: SocketAddr) -> Multiaddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = tcp_from(&source, target).await;
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
        }
    });
    format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()
}

/// A bare TCP connection from an address of our choice.
pub async fn tcp_from(source: &str, target: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{source}:0").parse().unwrap()).unwrap();
    socket.connect(target).await.unwrap()
}

/// The socket address an overlay listens on.
pub fn socket(overlay: &Overlay) -> SocketAddr {
    let address = address(overlay, "tcp");
    let parts: Vec<&str> = address.split('/').collect();
    format!("{}:{}", parts[2], parts[4]).parse().unwrap()
}
