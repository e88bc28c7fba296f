//! What a delegated action costs over a raw framed stream that carries as many bytes on the same connection, and what
//! replay costs over execution: ratios of interleaved medians, so that a busy machine slows both sides.
//!
//! `cargo bench -p actum-node --bench delegation`. The provider is this binary again, as a process of its own.
//!
//! Delegated is all of it: `Requester::call` encodes and sends, the provider's node checks, admits, executes and signs,
//! the requester verifies the receipt and checks it against what it asked, and both homes keep it behind the answer.
//! axum is what everybody has: an echo of as many bytes over HTTP/1.1 with keep-alive, plain, unsigned, and executing nothing.
//! Raw is a write, a flush and a read of messages as long, on one open stream of the same libp2p connection.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a benchmark stops at its first surprise"
)]

#[path = "../../overlay/benches/http/mod.rs"]
mod http;

use actum_capabilities::{Guest, guests};
use actum_model::{
    Action, Authority, BlobId, Claim, Did, Filters, Journal, Judgement, Limits, Receipt, RunArgs, SecretKey,
    Signed, Value, codec, value::encode_params,
};
use actum_node::{
    Config, Home,
    config::OfferConfig,
    invoke::{self, Choices},
    node::Node,
    publish::{Described, publish},
    quota::{Quota, QuotaConfig},
    requester::{CallRequest, Called, Prepared, Requester},
};
use actum_overlay::{RawProtocol, Request, Response, Stream, StreamProtocol};
use actum_sandbox::{
    Loaded, Sandbox,
    replay::{Evidence, replay},
};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, stream::FuturesUnordered};
use http::{Http, serve_http};
use std::{
    hint::black_box,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

const RAW: StreamProtocol = StreamProtocol::new("/actum/bench/raw/1");
const ECHO: &Guest = &guests::ECHO;
const DEADLINE: Duration = Duration::from_secs(30);
/// Argument and result of the delegated action, in bytes.
const BYTES: usize = 1024;
/// Turns of each thing measured, and how often it is done in one.
const ROUNDS: usize = 60;
const OPS: usize = 50;
/// Calls made in one turn to measure throughput, and turns.
const MANY: usize = 1_024;
const MANY_ROUNDS: usize = 9;
const IN_FLIGHT: usize = 64;
/// Bytes of a frame's head: the length of what follows, and the length wanted back.
const HEAD: usize = 8;

/// Reads a frame; says how long the answer to it shall be, or that there are no more.
async fn read_frame(stream: &mut Stream, buffer: &mut Vec<u8>) -> Option<usize> {
    let mut head = [0; HEAD];
    stream.read_exact(&mut head).await.ok()?;
    let (length, wanted) = head.split_at(HEAD / 2);
    let number = |b: &[u8]| u32::from_be_bytes(b.try_into().unwrap()) as usize;
    buffer.resize(number(length), 0);
    stream.read_exact(buffer).await.unwrap();
    Some(number(wanted))
}

async fn write_frame(stream: &mut Stream, frame: &mut Vec<u8>, length: usize, wanted: usize) {
    frame.resize(HEAD + length, 7);
    frame[..HEAD / 2].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
    frame[HEAD / 2..HEAD].copy_from_slice(&u32::try_from(wanted).unwrap().to_be_bytes());
    stream.write_all(frame).await.unwrap();
    stream.flush().await.unwrap();
}

/// The provider's process: an ordinary node, and the other end of the raw stream.
async fn serve(home: &Path) {
    let home = Arc::new(Home::open(home).unwrap());
    let component = home.root().join("echo.wasm");
    std::fs::write(&component, ECHO.component).unwrap();
    let described = Described {
        name: Some("echo".to_owned()),
        intent: Some("Give back what is given".to_owned()),
        interfaces: vec!["test:echo/echo@0.1.0".to_owned()],
        ..Described::default()
    };
    let release = publish(&home, &component, described).unwrap();
    let config = Config {
        listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
        offers: vec![OfferConfig {
            release: release.id().to_string(),
            public: true,
            callers: Vec::new(),
            allow: Vec::new(),
            price: 0,
        }],
        // Room for the 64 in flight.
        queue: 64,
        quota: QuotaConfig {
            per_requester: Quota {
                in_flight: Some(64),
                fuel_per_minute: Some(u64::MAX),
                bytes_per_minute: Some(u64::MAX),
            },
            total: Quota {
                in_flight: None,
                fuel_per_minute: Some(u64::MAX),
                bytes_per_minute: Some(u64::MAX),
            },
        },
        ..Config::default()
    };
    let answer = |_, mut stream: Stream| {
        tokio::spawn(async move {
            let (mut buffer, mut frame) = (Vec::new(), Vec::new());
            while let Some(wanted) = read_frame(&mut stream, &mut buffer).await {
                write_frame(&mut stream, &mut frame, wanted, 0).await;
            }
        });
    };
    let raw = RawProtocol { name: RAW, accept: Arc::new(answer) };
    let node = Node::start_with(home, config, None, vec![raw]).await.unwrap();
    println!("{}", node.addresses()[0]);
    println!("{}", serve_http().await);
    std::io::stdout().flush().unwrap();
    // The requester closes it when it has measured everything.
    let asked = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    asked.await.unwrap().unwrap();
    node.stop().await;
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn time<T>(times: &mut Vec<Duration>, work: impl FnOnce() -> T) {
    let start = Instant::now();
    black_box(work());
    times.push(start.elapsed());
}

fn goal(ratio: f64, goal: f64) -> String {
    format!("{ratio:.2}x  goal {goal:.1}: {}", if ratio <= goal { "met" } else { "MISSED" })
}

async fn call(requester: &Requester, prepared: Prepared, args: Vec<u8>) -> Called {
    let request = CallRequest { args, choices: Choices::default(), deadline: DEADLINE };
    requester.call(prepared, request, &mut |_| {}).await.unwrap()
}

/// Arguments that were not asked before, so that nothing of a call is already stored: the last bytes count up.
fn fresh(args: &mut [u8]) -> Vec<u8> {
    let counter = args.last_chunk_mut::<8>().unwrap();
    *counter = (u64::from_be_bytes(*counter) + 1).to_be_bytes();
    args.to_vec()
}

/// What the session carries for this call, both ways, in bytes.
fn message_sizes(called: &Called, args: &[u8]) -> (usize, usize) {
    let receipt = called.receipt.payload();
    let (claim, provider) = (Claim::of(called.release.payload()), receipt.iss);
    let invocation =
        RunArgs::invocation(&receipt.action, &claim, provider, provider, vec![], receipt.iat, receipt.iat);
    // Anybody's signature is as long.
    let invocation = Signed::sign(invocation, &SecretKey::from_seed(&[1; 32])).bytes().to_vec();
    let up = codec::encode(&Request::Call { invocation, proofs: vec![], args: args.to_vec() });
    let down = codec::encode(&Response::Done {
        receipt: called.receipt.bytes().to_vec(),
        output: called.output.clone(),
        journal: Journal::default().bytes(),
        bodies: vec![],
        stdio: None,
        attestation: None,
    });
    (up.len(), down.len())
}

async fn delegation(home: Arc<Home>, address: String, http: String) {
    let requester = Requester::start(home.clone(), &[address], &[]).await.unwrap();
    let candidates = requester.candidates("echo", &Filters::default()).await.unwrap();
    let prepared = requester.prepare(&candidates, "echo").await.unwrap();
    let mut args = encode_params(&prepared.function.params, &[Value::Bytes(vec![7; BYTES])]).unwrap();

    let first = call(&requester, prepared.clone(), args.clone()).await;
    let receipt = first.receipt.payload();
    let mut raw = requester.open_raw(receipt.iss, RAW).await.unwrap();
    let (up, down) = message_sizes(&first, &args);
    let sandbox = home.sandbox().unwrap();
    let loaded = sandbox.load(ECHO.component).unwrap();
    let (message, signature) = (first.receipt.bytes(), home.key().unwrap().sign(first.receipt.bytes()));
    let own = Receipt { iss: home.did(), ..receipt.clone() };
    let own_signed = Signed::sign(own.clone(), home.key().unwrap());

    let mut axum = Http::connect(&http, BYTES).await;
    let [mut raws, mut calls, mut executions, mut signatures, mut envelopes, mut axums]: [Vec<Duration>; 6] =
        std::array::from_fn(|_| Vec::new());
    let (mut frame, mut buffer) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        for _ in 0..OPS {
            let start = Instant::now();
            write_frame(&mut raw, &mut frame, up, down).await;
            read_frame(&mut raw, &mut buffer).await.unwrap();
            raws.push(start.elapsed());
        }
        for _ in 0..OPS {
            let (prepared, args) = (prepared.clone(), fresh(&mut args));
            let start = Instant::now();
            let called = call(&requester, prepared, args.clone()).await;
            calls.push(start.elapsed());
            assert_eq!(called.output.as_deref(), Some(&args[1..]));
        }
        for _ in 0..OPS {
            let start = Instant::now();
            axum.post().await;
            axums.push(start.elapsed());
        }
        for _ in 0..OPS {
            time(&mut executions, || sandbox.execute(&loaded, &receipt.action, &args).unwrap());
            time(&mut signatures, || {
                home.did().verify(message, &signature).unwrap();
                home.key().unwrap().sign(message)
            });
            time(&mut envelopes, || {
                Signed::<Receipt>::verify(own_signed.bytes()).unwrap();
                Signed::sign(own.clone(), home.key().unwrap())
            });
        }
        if round == 0 {
            // The first round warms up.
            for times in [&mut raws, &mut calls, &mut executions, &mut signatures, &mut envelopes, &mut axums]
            {
                times.clear();
            }
        }
    }
    let [raw, delegated, execution, signature, envelope, axum] =
        [&mut raws, &mut calls, &mut executions, &mut signatures, &mut envelopes, &mut axums]
            .map(|t| micros(median(t)));
    println!("A delegated action of {BYTES} bytes ({up} bytes there, {down} back), p50 of {}:", ROUNDS * OPS);
    println!("  raw framed stream, same bytes       {raw:7.1} µs");
    println!("  axum, as many bytes as the argument {axum:7.1} µs");
    println!("  delegated, signed, verified, kept   {delegated:7.1} µs");
    println!("  execution alone                     {execution:7.1} µs");
    println!("  Ed25519 alone: one sign, one verify {signature:7.1} µs = {:.2} raw", signature / raw);
    println!("  the same, with the receipt's codec  {envelope:7.1} µs = {:.2} raw", envelope / raw);
    println!("  (delegated - execution) / raw: {}", goal((delegated - execution) / raw, 2.0));
    println!("  (delegated - execution) / axum: {:.2}x", (delegated - execution) / axum);
    println!("  without the signature's cost:  {:.2}x", (delegated - execution - signature) / raw);

    let mut connections = Vec::new();
    for _ in 0..IN_FLIGHT {
        connections.push(Http::connect(&http, BYTES).await);
    }
    let [mut many_calls, mut many_axums]: [Vec<Duration>; 2] = std::array::from_fn(|_| Vec::new());
    for round in 0..=MANY_ROUNDS {
        let start = Instant::now();
        let mut flying = FuturesUnordered::new();
        for n in 0..MANY {
            if n >= IN_FLIGHT {
                flying.next().await.unwrap();
            }
            flying.push(call(&requester, prepared.clone(), fresh(&mut args)));
        }
        while flying.next().await.is_some() {}
        many_calls.push(start.elapsed());
        let start = Instant::now();
        let posts = connections.iter_mut().map(async |connection| {
            for _ in 0..MANY / IN_FLIGHT {
                connection.post().await;
            }
        });
        futures::future::join_all(posts).await;
        many_axums.push(start.elapsed());
        if round == 0 {
            many_calls.clear();
            many_axums.clear();
        }
    }
    let [calls, axums] =
        [&mut many_calls, &mut many_axums].map(|times| MANY as f64 / median(times).as_secs_f64());
    println!(
        "  {IN_FLIGHT} in flight, a second: {calls:.0} calls = {:.2} of axum's {axums:.0}",
        calls / axums
    );
    requester.stop().await.unwrap();
}

/// Replay over what the provider did: the digest of the arguments at admission, execution, the receipt's payload.
fn replaying(sandbox: &Sandbox, name: &str, component: &[u8], function: &str, value: Value, rounds: usize) {
    let loaded: Arc<Loaded> = sandbox.load(component).unwrap();
    let function = loaded.functions().iter().find(|f| f.name.name() == function).unwrap();
    let args = encode_params(&function.params, &[value]).unwrap();
    let iss = SecretKey::from_seed(&[3; 32]).did();
    let choices = Choices { limits: Limits::default(), ..Choices::default() };
    let action = invoke::action(iss, *loaded.id(), function, &args, choices);
    let once = |action: Action, iss: Did| {
        assert_eq!(BlobId::of(&args), action.args);
        let execution = sandbox.execute(&loaded, &action, &args).unwrap();
        let receipt = execution.receipt(action, iss, 0, Authority::Local, sandbox.profile_id());
        black_box(codec::encode(&receipt));
        (receipt, execution.output)
    };
    let (receipt, output) = once(action.clone(), iss);
    assert_eq!(receipt.outcome.code(), "ok");
    let journal = Journal::default();
    let evidence = Evidence {
        receipt: &receipt,
        component,
        args: &args,
        output: output.as_deref(),
        journal: &journal,
        bodies: &Default::default(),
        stdio: None,
    };
    let (mut originals, mut replays) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        time(&mut originals, || once(action.clone(), iss));
        time(&mut replays, || assert_eq!(replay(sandbox, &evidence).unwrap(), Judgement::Identical));
    }
    let (original, again) = (micros(median(&mut originals)), micros(median(&mut replays)));
    println!("  {name:28} {again:9.1} over {original:9.1} µs: {}", goal(again / original, 1.1));
}

fn main() {
    let mut args = std::env::args().skip(1);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if args.next().as_deref() == Some("serve") {
        let home = args.next().unwrap();
        return runtime.block_on(async { serve(Path::new(&home)).await });
    }
    let homes = tempfile::tempdir().unwrap();
    let mut provider = Command::new(std::env::current_exe().unwrap())
        .arg("serve")
        .arg(homes.path().join("provider"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut address, mut http) = (String::new(), String::new());
    let mut lines = BufReader::new(provider.stdout.take().unwrap());
    lines.read_line(&mut address).unwrap();
    lines.read_line(&mut http).unwrap();
    let home = Arc::new(Home::open(&homes.path().join("requester")).unwrap());
    // On a worker thread, where a requester's work is done; `block_on` alone would add a hop to every answer.
    runtime
        .block_on(runtime.spawn(delegation(home.clone(), address.trim().to_owned(), http.trim().to_owned())))
        .unwrap();
    drop(provider.stdin.take());
    assert!(provider.wait().unwrap().success());

    println!("Replay over execution, p50:");
    let sandbox = home.sandbox().unwrap();
    let echo = Value::Bytes(vec![7; BYTES]);
    replaying(sandbox, "echo, 1 KiB", ECHO.component, "echo", echo, 3_000);
    let text = "To be, or not to be, that is the question. ".repeat((1 << 20) / 43);
    let stats = actum_capabilities::find("text-stats").unwrap();
    replaying(sandbox, "text-stats, 1 MiB", stats.component, "count-words", Value::String(text), 20);
}
