//! What a session costs over a raw framed stream on the same connection and over axum, one request in flight and 64; and what
//! a component's transfer costs over raw TCP: two processes on loopback, interleaved medians.
//!
//! `cargo bench -p actum-overlay --bench session`. The other process is this binary again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark stops at its first surprise"
)]

mod http;

use actum_model::{
    BlobId, ComponentId, Did, FunctionName, Invocation, Release, SecretKey, Signed,
    release::{CHUNK_BYTES, Function, chunk_digests},
};
use actum_overlay::{
    BoxFuture, Handler, InMemory, Overlay, OverlayConfig, ProgressSender, RawProtocol, Request, Response,
    SessionHandle, Stream, Wanted, download,
};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, stream::FuturesUnordered};
use http::{Http, serve_http};
use ipld_core::ipld::Ipld;
use libp2p::StreamProtocol;
use sha2::{Digest, Sha256};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

const RAW: StreamProtocol = StreamProtocol::new("/actum/bench/echo/1");
const DEADLINE: Duration = Duration::from_secs(30);
const BYTES: usize = 1024;
const ROUNDS: usize = 60;
const OPS: usize = 100;
const IN_FLIGHT: usize = 64;
/// Turns of each thing with many in flight, and how many in one.
const MANY_ROUNDS: usize = 9;
const MANY: usize = 3_000;
/// The component transferred, and how often.
const TRANSFER: usize = 50 << 20;
const TRANSFERS: usize = 9;
/// Calls of 64 MiB beside which small requests are timed.
const LARGE: u32 = 5;

/// The component: 50 MiB that do not repeat.
fn component() -> Vec<u8> {
    (0..TRANSFER as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn release(bytes: &[u8]) -> Release {
    Release {
        iss: SecretKey::from_seed(&[1; 32]).did(),
        name: "transferred".parse().unwrap(),
        version: "1.0.0".parse().unwrap(),
        intent: "is transferred".to_owned(),
        tags: vec![],
        component: ComponentId::of(bytes),
        component_bytes: bytes.len() as u64,
        chunks: chunk_digests(bytes),
        wit: vec![].into(),
        functions: vec![Function {
            name: "a:b/c#run".parse::<FunctionName>().unwrap(),
            docs: String::new(),
            params: vec![],
            result: None,
        }],
        permissions: Default::default(),
        examples: vec![],
    }
}

/// Echoes, and gives the chunks of a component out of memory.
struct Echo(Arc<Vec<u8>>);

impl Handler for Echo {
    fn handle(
        &self,
        _: Did,
        request: Request,
        _: SessionHandle,
        _: ProgressSender,
    ) -> BoxFuture<'static, Response> {
        let component = self.0.clone();
        Box::pin(async move {
            match request {
                Request::Chunk { index, .. } => {
                    let chunk = component.chunks(CHUNK_BYTES).nth(index as usize).unwrap();
                    Response::Chunk { bytes: chunk.to_vec() }
                }
                Request::Call { args, .. } => Response::Done {
                    receipt: Vec::new(),
                    output: Some(args),
                    journal: Vec::new(),
                    bodies: Vec::new(),
                    stdio: None,
                    attestation: None,
                },
                Request::Find { query } => Response::Page { page: query },
                _ => panic!("not in this benchmark"),
            }
        })
    }
}

async fn read_framed(stream: &mut Stream, buffer: &mut Vec<u8>) -> bool {
    buffer.resize(4, 0);
    if stream.read_exact(buffer).await.is_err() {
        return false;
    }
    let length = u32::from_be_bytes(buffer.get(..4).unwrap().try_into().unwrap()) as usize;
    buffer.resize(4 + length, 0);
    stream.read_exact(buffer.get_mut(4..).unwrap()).await.unwrap();
    true
}

fn serve() {
    runtime().block_on(async {
        let echo = |_, mut stream: Stream| {
            tokio::spawn(async move {
                let mut buffer = Vec::new();
                while read_framed(&mut stream, &mut buffer).await {
                    stream.write_all(&buffer).await.unwrap();
                    stream.flush().await.unwrap();
                }
            });
        };
        let mut config = OverlayConfig::default();
        config.raw_protocols.push(RawProtocol { name: RAW, accept: Arc::new(echo) });
        let bytes = Arc::new(component());
        let echo = Arc::new(Echo(bytes.clone()));
        let overlay = Overlay::start(config, &SecretKey::from_seed(&[1; 32]), echo).await.unwrap();
        let plain = TcpListener::bind("127.0.0.1:0").unwrap();
        println!("{}", serve_http().await);
        println!("{}", plain.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in plain.incoming() {
                stream.unwrap().write_all(&bytes).unwrap();
            }
        });
        for address in overlay.addresses() {
            println!("{address}");
        }
        println!();
        std::io::stdout().flush().unwrap();
        let asked = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
        asked.await.unwrap().unwrap();
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn call(key: &SecretKey) -> Request {
    let args = vec![7; BYTES];
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

fn median(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).unwrap().as_secs_f64() * 1e6
}

/// Keeps 64 frames in flight on a raw stream, until so many have come back.
async fn raw_many(raw: &mut Stream, framed: &[u8], many: usize) {
    let room = tokio::sync::Semaphore::new(IN_FLIGHT);
    let (mut reads, mut writes) = raw.split();
    let write = async {
        for _ in 0..many {
            room.acquire().await.unwrap().forget();
            writes.write_all(framed).await.unwrap();
            writes.flush().await.unwrap();
        }
    };
    let read = async {
        let mut back = vec![0; framed.len()];
        for _ in 0..many {
            reads.read_exact(&mut back).await.unwrap();
            room.add_permits(1);
        }
    };
    futures::future::join(write, read).await;
}

async fn calls_many(session: &SessionHandle, call: &Request, many: usize) {
    let mut flying = FuturesUnordered::new();
    for n in 0..many {
        if n >= IN_FLIGHT {
            let answer: Result<_, _> = flying.next().await.unwrap();
            answer.unwrap();
        }
        flying.push(session.request(call, DEADLINE));
    }
    while let Some(answer) = flying.next().await {
        answer.unwrap();
    }
}

async fn http_many(connections: &mut [Http], many: usize) {
    let each = many / connections.len();
    let all = connections.iter_mut().map(async |connection| {
        for _ in 0..each {
            connection.post().await;
        }
    });
    futures::future::join_all(all).await;
}

async fn measure(kind: &'static str, address: String, http: String) {
    let key = SecretKey::from_seed(&[2; 32]);
    let overlay =
        Overlay::start(OverlayConfig::client(), &key, Arc::new(Echo(Arc::default()))).await.unwrap();
    let peer = overlay.connect(&address).await.unwrap();
    let mut raw = overlay.open_raw(peer, RAW).await.unwrap();
    let (find, call) = (Request::Find { query: vec![7; BYTES] }, call(&key));
    let mut framed = (BYTES as u32).to_be_bytes().to_vec();
    framed.resize(4 + BYTES, 7);
    let mut buffer = Vec::new();
    let mut axum = Http::connect(&http, BYTES).await;
    let mut times = [const { Vec::new() }; 4];
    for round in 0..=ROUNDS {
        let [raws, finds, calls, axums] = &mut times;
        for _ in 0..OPS {
            let start = Instant::now();
            raw.write_all(&framed).await.unwrap();
            raw.flush().await.unwrap();
            assert!(read_framed(&mut raw, &mut buffer).await);
            raws.push(start.elapsed());
        }
        for (request, times) in [(&find, finds), (&call, calls)] {
            for _ in 0..OPS {
                let start = Instant::now();
                overlay.request(&peer, request, DEADLINE).await.unwrap();
                times.push(start.elapsed());
            }
        }
        for _ in 0..OPS {
            let start = Instant::now();
            axum.post().await;
            axums.push(start.elapsed());
        }
        if round == 0 {
            // The first round warms up.
            times.iter_mut().for_each(Vec::clear);
        }
    }
    let [raws, finds, calls, axums] = &mut times;
    let (r, f, c, a) = (median(raws), median(finds), median(calls), median(axums));
    println!(
        "{kind:8} raw {r:6.1} µs   find {f:6.1} µs = {:.2}x   call {c:6.1} µs = {:.2}x   axum {a:6.1} µs; call = {:.2} axum",
        f / r,
        c / r,
        c / a
    );

    let session = overlay.session_with(&peer).unwrap();
    let mut connections = Vec::new();
    for _ in 0..IN_FLIGHT {
        connections.push(Http::connect(&http, BYTES).await);
    }
    let many = MANY / IN_FLIGHT * IN_FLIGHT;
    let mut times = [const { Vec::new() }; 3];
    for round in 0..=MANY_ROUNDS {
        let [raws, calls, axums] = &mut times;
        let start = Instant::now();
        raw_many(&mut raw, &framed, many).await;
        raws.push(start.elapsed());
        let start = Instant::now();
        calls_many(&session, &call, many).await;
        calls.push(start.elapsed());
        let start = Instant::now();
        http_many(&mut connections, many).await;
        axums.push(start.elapsed());
        if round == 0 {
            times.iter_mut().for_each(Vec::clear);
        }
    }
    let [r, c, a] = times.each_mut().map(|times| many as f64 / (median(times) / 1e6));
    println!(
        "{kind:8} {IN_FLIGHT} in flight, a second: raw {r:.0}   call {c:.0} = {:.2} raw   axum {a:.0}; call = {:.2} axum",
        c / r,
        c / a
    );
}

/// What a small request waits when the session carries the largest calls, one after another, both ways.
async fn beside(kind: &'static str, address: String) {
    let key = SecretKey::from_seed(&[4; 32]);
    let overlay =
        Overlay::start(OverlayConfig::client(), &key, Arc::new(Echo(Arc::default()))).await.unwrap();
    let peer = overlay.connect(&address).await.unwrap();
    let session = overlay.session_with(&peer).unwrap();
    let (find, mut large) = (Request::Find { query: vec![7; BYTES] }, call(&key));
    if let Request::Call { args, .. } = &mut large {
        *args = vec![7; 64 << 20];
    }
    let time = async |times: &mut Vec<Duration>| {
        let start = Instant::now();
        session.request(&find, DEADLINE).await.unwrap();
        times.push(start.elapsed());
    };
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..500 {
        time(&mut alone).await;
    }
    let start = Instant::now();
    for _ in 0..LARGE {
        let carried = session.request(&large, DEADLINE);
        tokio::pin!(carried);
        loop {
            tokio::select! {
                biased;
                answer = &mut carried => break drop(answer.unwrap()),
                () = time(&mut beside) => {}
            }
        }
    }
    let took = start.elapsed() / LARGE;
    let p50 = (median(&mut alone), median(&mut beside));
    let of = |share: usize| beside.get(beside.len() * share / 100).unwrap().as_secs_f64() * 1e3;
    println!(
        "{kind:8} beside a call of 64 MiB ({took:.0?}): find {:.0} µs = {:.1}x alone; p90 {:.1} ms, p99 {:.1} ms, longest {:.1} ms",
        p50.1,
        p50.1 / p50.0,
        of(90),
        of(99),
        beside.last().unwrap().as_secs_f64() * 1e3
    );
}

/// The component, over TCP and hashed as it comes, and as chunks of a download.
async fn transfer(kind: &'static str, address: String, plain: String) {
    let key = SecretKey::from_seed(&[3; 32]);
    let overlay =
        Overlay::start(OverlayConfig::client(), &key, Arc::new(Echo(Arc::default()))).await.unwrap();
    let peer = overlay.connect(&address).await.unwrap();
    let bytes = component();
    let wanted = Wanted::of_release(&release(&bytes)).unwrap();
    let digest = Sha256::digest(&bytes);
    let mut times = [const { Vec::new() }; 2];
    for round in 0..=TRANSFERS {
        let [plains, downloads] = &mut times;
        let plain = plain.clone();
        let read = tokio::task::spawn_blocking(move || {
            let start = Instant::now();
            let (mut stream, mut hash) = (TcpStream::connect(plain).unwrap(), Sha256::new());
            let (mut whole, mut buffer) = (Vec::with_capacity(TRANSFER), vec![0; CHUNK_BYTES]);
            loop {
                let n = stream.read(&mut buffer).unwrap();
                let read = buffer.get(..n).unwrap();
                hash.update(read);
                whole.extend_from_slice(read);
                if n == 0 {
                    return (start.elapsed(), hash.finalize());
                }
            }
        });
        let (time, hashed) = read.await.unwrap();
        assert_eq!(hashed, digest);
        plains.push(time);
        let session = overlay.session_with(&peer).unwrap();
        let start = Instant::now();
        let mut sink = InMemory::new(&wanted);
        download(&wanted, &[session], &mut sink, &mut |_| {}).await.unwrap();
        assert_eq!(sink.finish().unwrap().len(), TRANSFER);
        downloads.push(start.elapsed());
        if round == 0 {
            times.iter_mut().for_each(Vec::clear);
        }
    }
    let [p, d] = times.each_mut().map(|times| median(times) / 1e3);
    println!("{kind:8} 50 MiB: raw TCP and sha-256 {p:.0} ms   download {d:.0} ms = {:.2}x", d / p);
}

fn main() {
    if std::env::args().any(|a| a == "serve") {
        return serve();
    }
    let mut server = Command::new(std::env::current_exe().unwrap())
        .arg("serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(server.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut addresses: Vec<String> = lines.take_while(|l| !l.is_empty()).collect();
    let (http, plain) = (addresses.remove(0), addresses.remove(0));
    println!("1 KiB there and back, two processes, {} pairs:", ROUNDS * OPS);
    let runtime = runtime();
    for address in addresses {
        let kind = if address.contains("quic") { "quic" } else { "tcp+noise" };
        runtime.block_on(runtime.spawn(measure(kind, address.clone(), http.clone()))).unwrap();
        runtime.block_on(runtime.spawn(beside(kind, address.clone()))).unwrap();
        runtime.block_on(runtime.spawn(transfer(kind, address, plain.clone()))).unwrap();
    }
    drop(server.stdin.take());
    server.wait().unwrap();
}
