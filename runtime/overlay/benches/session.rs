//! What a session costs over a raw framed stream on the same connection: two processes on loopback, interleaved medians.
//!
//! `cargo bench -p actum-overlay --bench session`. The other process is this binary again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark stops at its first surprise"
)]

use actum_model::{BlobId, Did, Invocation, SecretKey, Signed};
use actum_overlay::{
    BoxFuture, Handler, Overlay, OverlayConfig, ProgressSender, RawProtocol, Request, Response,
    SessionHandle, Stream,
};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, stream::FuturesUnordered};
use ipld_core::ipld::Ipld;
use libp2p::StreamProtocol;
use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

const RAW: StreamProtocol = StreamProtocol::new("/actum/bench/echo/1");
const DEADLINE: Duration = Duration::from_secs(30);
const BYTES: usize = 1024;
const ROUNDS: usize = 60;
const OPS: usize = 100;

struct Echo;

impl Handler for Echo {
    fn handle(
        &self,
        _: Did,
        request: Request,
        _: SessionHandle,
        _: ProgressSender,
    ) -> BoxFuture<'static, Response> {
        Box::pin(async move {
            match request {
                Request::Call { args, .. } => Response::Done {
                    receipt: Vec::new(),
                    output: Some(args),
                    journal: Vec::new(),
                    bodies: Vec::new(),
                    stdio: None,
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
        let overlay = Overlay::start(config, &SecretKey::from_seed(&[1; 32]), Arc::new(Echo)).await.unwrap();
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

async fn measure(kind: &'static str, address: String) {
    let key = SecretKey::from_seed(&[2; 32]);
    let overlay = Overlay::start(OverlayConfig::client(), &key, Arc::new(Echo)).await.unwrap();
    let peer = overlay.connect(&address).await.unwrap();
    let mut raw = overlay.open_raw(peer, RAW).await.unwrap();
    let (find, call) = (Request::Find { query: vec![7; BYTES] }, call(&key));
    let mut framed = (BYTES as u32).to_be_bytes().to_vec();
    framed.resize(4 + BYTES, 7);
    let mut buffer = Vec::new();
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        let [raws, finds, calls] = &mut times;
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
        if round == 0 {
            // The first round warms up.
            times.iter_mut().for_each(Vec::clear);
        }
    }
    let [raws, finds, calls] = &mut times;
    let (r, f, c) = (median(raws), median(finds), median(calls));
    println!("{kind:8} raw {r:6.1} µs   find {f:6.1} µs = {:.2}x   call {c:6.1} µs = {:.2}x", f / r, c / r);

    let start = Instant::now();
    let mut flying = FuturesUnordered::new();
    const MANY: usize = 20_000;
    for _ in 0..64 {
        flying.push(overlay.request(&peer, &call, DEADLINE));
    }
    for n in 0..MANY {
        flying.next().await.unwrap().unwrap();
        if n + 64 < MANY {
            flying.push(overlay.request(&peer, &call, DEADLINE));
        }
    }
    println!("{kind:8} 64 in flight: {:.0} calls a second", MANY as f64 / start.elapsed().as_secs_f64());
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
    let addresses: Vec<String> = lines.take_while(|l| !l.is_empty()).collect();
    println!("1 KiB there and back, two processes, {} pairs:", ROUNDS * OPS);
    let runtime = runtime();
    for address in addresses {
        let kind = if address.contains("quic") { "quic" } else { "tcp+noise" };
        runtime.block_on(runtime.spawn(measure(kind, address))).unwrap();
    }
    drop(server.stdin.take());
    server.wait().unwrap();
}
