//! Guests' requests over real connections: recorded once, and replayed with the server gone.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

mod server;

use actum_capabilities::guests::FETCHER;
use actum_model::value::{decode_result, encode_params};
use actum_model::{Action, Authority, BlobId, Granted, Judgement, Limits, Outcome, Receipt, SecretKey, json};
use actum_node::host::http::start;
use actum_sandbox::host::{Host, HttpRequest, Landing};
use actum_sandbox::replay::{Evidence, replay};
use actum_sandbox::{EngineKind, Execution, Sandbox, SandboxConfig, Surroundings};
use serde_json::{Value as Json, json};
use server::Server;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

static ENGINES: LazyLock<[Sandbox; 2]> = LazyLock::new(|| {
    [EngineKind::Cranelift, EngineKind::Pulley]
        .map(|engine| Sandbox::new(SandboxConfig { engine, ..SandboxConfig::default() }).unwrap())
});

/// The node's own client, and nothing else.
struct Client;

impl Host for Client {
    fn http(&self, request: HttpRequest, landing: Landing) {
        start(SecretKey::from_seed(&[7; 32]).did(), request, landing);
    }
}

/// An action that was run.
struct Ran {
    args: Vec<u8>,
    receipt: Receipt,
    execution: Execution,
}

/// Calls the guest with what is granted.
fn run(function: &str, args: &Json, granted: &[Granted]) -> Ran {
    let sandbox = &ENGINES[0];
    let loaded = sandbox.load(FETCHER.component).unwrap();
    let function = loaded.functions().iter().find(|f| f.name.answers_to(function)).unwrap();
    let args = encode_params(&function.params, &json::params_from_json(&function.params, args).unwrap());
    let args = args.unwrap();
    let action = Action {
        requester: SecretKey::from_seed(&[7; 32]).did(),
        component: *loaded.id(),
        function: function.name.clone(),
        args: BlobId::of(&args),
        limits: Limits::default(),
        permissions: granted.iter().cloned().collect(),
        seed: [9; 32].into(),
        time_base: 1_700_000_000_000_000_000,
        nonce: [1; 12].into(),
        partial: false,
    };
    let around = Surroundings { host: Arc::new(Client), ..Surroundings::default() };
    let execution = sandbox.execute_in(&loaded, &action, &args, &around).unwrap();
    let iss = SecretKey::from_seed(&[3; 32]).did();
    let receipt = execution.receipt(action, iss, 1_700_000_000, Authority::Local, sandbox.profile_id());
    Ran { args, receipt, execution }
}

impl Ran {
    fn result(&self) -> Json {
        let Some(output) = &self.execution.output else { panic!("{:?}", self.execution.outcome) };
        let loaded = ENGINES[0].load(FETCHER.component).unwrap();
        let ty = loaded.function(&self.receipt.action.function).unwrap().result.as_ref();
        json::result_to_json(ty, decode_result(ty, output, usize::MAX).unwrap().as_ref())
    }

    /// Replays under either engine. Nobody is there to be asked.
    fn replays(self) -> Self {
        for sandbox in &*ENGINES {
            let evidence = Evidence {
                receipt: &self.receipt,
                component: FETCHER.component,
                args: &self.args,
                output: self.execution.output.as_deref(),
                journal: &self.execution.journal,
                bodies: &self.execution.bodies,
                stdio: None,
            };
            assert_eq!(replay(sandbox, &evidence).unwrap(), Judgement::Identical);
        }
        self
    }
}

fn grant(text: &str) -> Granted {
    text.parse().unwrap()
}

/// The origin with other bounds.
fn bounded(origin: &str, body_bytes: u64, timeout_ms: u64) -> Granted {
    let Granted::Http(mut http) = grant(&format!("http:{origin}")) else { panic!("{origin}") };
    http.body_bytes = body_bytes;
    http.timeout_ms = timeout_ms;
    Granted::Http(http)
}

/// A `GET` from a server, with a large body's bound and this timeout; then the server goes, and the request replays.
fn get(path: &str, body_bytes: u64, timeout_ms: u64) -> Json {
    let server = Server::start();
    let granted = bounded(&server.origin(), body_bytes, timeout_ms);
    let ran = run("fetch", &json!(["GET", server.url(path), [], null]), &[granted]);
    drop(server);
    ran.replays().result()
}

fn failure(result: &Json) -> &str {
    result["err"]["failed"].as_str().unwrap_or_else(|| panic!("{result}"))
}

#[test]
fn a_request_replays_with_the_server_gone() {
    let result = get("/text/hello", 1 << 20, 30_000);
    assert_eq!((&result["ok"]["status"], &result["ok"]["body"]), (&json!(200), &json!("hello")));
    let large = get("/sized/300000", 1 << 20, 30_000);
    assert_eq!(large["ok"]["body"].as_str().unwrap().len(), 300_000);
    assert_eq!(get("/chunked/5000", 1 << 20, 30_000)["ok"]["body"].as_str().unwrap().len(), 5_000);
    assert_eq!(get("/until-closed/5000", 1 << 20, 30_000)["ok"]["body"].as_str().unwrap().len(), 5_000);
    assert_eq!(get("/missing", 1 << 20, 30_000)["ok"]["status"], 404, "a status is an answer");
}

#[test]
fn nothing_of_the_node_is_added_to_a_request() {
    let server = Server::start();
    let granted = grant(&format!("http:GET,POST,HEAD,DELETE:{}", server.origin()));
    let said = |method: &str, body: Option<&str>| {
        let args = json!([method, server.url("/echo?a=1&b=%20"), [["X-One", "1"]], body]);
        let result = run("fetch", &args, std::slice::from_ref(&granted)).replays().result();
        result["ok"]["body"].as_str().unwrap_or_else(|| panic!("{result}")).to_owned()
    };
    let host = server.origin().replace("http://", "");
    assert_eq!(said("GET", None), format!("GET /echo?a=1&b=%20 HTTP/1.1|host: {host}|x-one: 1|"));
    let length = "content-length: 4";
    let expected = format!("POST /echo?a=1&b=%20 HTTP/1.1|{length}|host: {host}|x-one: 1|body");
    assert_eq!(said("POST", Some("body")), expected);
    let expected = format!("DELETE /echo?a=1&b=%20 HTTP/1.1|{length}|host: {host}|x-one: 1|body");
    assert_eq!(said("DELETE", Some("body")), expected);
    assert_eq!(said("HEAD", None), "", "what a HEAD is answered has no body");
}

#[test]
fn two_overlapping_requests_replay_in_the_order_they_were_observed() {
    // So late that the other is first even where the machine stands still in between.
    for (a, b, first) in [("/late/5000/a", "/text/b", 1), ("/text/a", "/late/5000/b", 0)] {
        let server = Server::start();
        let granted = grant(&format!("http:{}", server.origin()));
        let ran = run("fetch-both", &json!([server.url(a), server.url(b)]), &[granted]);
        drop(server);
        let told = &ran.replays().result()["ok"];
        assert_eq!(told[0], first);
        assert_eq!((&told[1]["body"], &told[2]["body"]), (&json!("a"), &json!("b")));
    }
}

#[test]
fn a_redirect_is_an_answer_and_following_it_is_a_request_of_its_own() {
    let (here, there) = (Server::start(), Server::start());
    let to = format!("/redirect/{}", there.url("/text/there"));
    let args = json!([here.url(&to)]);
    let granted = grant(&format!("http:{}", here.origin()));
    let ran = run("follow", &args, std::slice::from_ref(&granted)).replays();
    assert_eq!(ran.result(), json!([[302], {"err": "denied"}]));
    assert_eq!(there.requests(), 0, "nobody went there");
    let both = [granted, grant(&format!("http:{}", there.origin()))];
    let ran = run("follow", &args, &both).replays();
    assert_eq!((&ran.result()[0], &ran.result()[1]["ok"]["body"]), (&json!([302, 200]), &json!("there")));
}

#[test]
fn loopback_is_reached_where_it_is_named_and_only_there() {
    let server = Server::start();
    let local = server.origin().replace("127.0.0.1", "localhost");
    let granted = [grant(&format!("http:{local}"))];
    let ran = run("fetch", &json!(["GET", format!("{local}/text/hi"), [], null]), &granted).replays();
    assert_eq!(ran.result()["ok"]["body"], "hi");
    let ran = run("fetch", &json!(["GET", server.url("/text/hi"), [], null]), &granted).replays();
    assert_eq!(ran.result(), json!({"err": "denied"}), "one name is not another");
    assert_eq!(server.requests(), 1);
}

#[test]
fn an_answer_over_its_bound_is_an_error() {
    assert!(get("/sized/1000", 1_000, 30_000).get("ok").is_some());
    for path in ["/sized/1001", "/chunked/1001", "/until-closed/1001", "/endless"] {
        assert_eq!(
            failure(&get(path, 1_000, 30_000)),
            "ErrorCode::HttpResponseBodySize(Some(1000))",
            "{path}"
        );
    }
    let headers = get("/headers/100000", 1 << 20, 30_000);
    assert_eq!(failure(&headers), "ErrorCode::HttpResponseHeaderSectionSize(Some(65536))");
}

#[test]
fn a_slow_answer_ends_when_its_time_is_over() {
    for path in ["/late/60000/x", "/drip-headers", "/drip-body"] {
        let start = Instant::now();
        assert_eq!(failure(&get(path, 1 << 20, 400)), "ErrorCode::HttpResponseTimeout", "{path}");
        // A minute is what the first would take, and the others have no end.
        assert!(start.elapsed() < Duration::from_secs(55), "{path}");
    }
    let server = Server::start();
    let granted = grant(&format!("http:{}", server.origin()));
    let ran = run("within", &json!([server.url("/drip-body"), 200]), &[granted]).replays();
    assert_eq!(failure(&ran.result()), "ErrorCode::HttpResponseTimeout", "the guest's own bound");
}

#[test]
fn what_goes_wrong_on_the_way_is_told_by_name() {
    assert_eq!(failure(&get("/garbage", 1 << 20, 30_000)), "ErrorCode::HttpProtocolError");
    assert_eq!(failure(&get("/hang-up", 1 << 20, 30_000)), "ErrorCode::ConnectionTerminated");
    assert_eq!(failure(&get("/half", 1 << 20, 30_000)), "ErrorCode::ConnectionTerminated");
    // Where one end of a connection is, nobody listens, and nobody else can meanwhile.
    let there = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let held = std::net::TcpStream::connect(there.local_addr().unwrap()).unwrap();
    let gone = format!("http://{}", held.local_addr().unwrap());
    let ran = run("fetch", &json!(["GET", format!("{gone}/"), [], null]), &[grant(&format!("http:{gone}"))]);
    assert_eq!(failure(&ran.replays().result()), "ErrorCode::ConnectionRefused");
    // A server that does not speak TLS.
    let server = Server::start();
    let secure = server.origin().replace("http:", "https:");
    let args = json!(["GET", format!("{secure}/"), [], null]);
    let ran = run("fetch", &args, &[grant(&format!("http:{secure}"))]).replays();
    assert_eq!(failure(&ran.result()), "ErrorCode::TlsProtocolError");
}

#[test]
fn a_guest_that_ends_leaves_its_requests_behind() {
    let server = Server::start();
    let granted = grant(&format!("http:{}", server.origin()));
    let start = Instant::now();
    let ran = run("race", &json!([server.url("/drip-body"), 100]), &[granted]);
    // Half a minute is the request's own time.
    assert!(start.elapsed() < Duration::from_secs(29), "it waits for the timer, not for the server");
    let ran = ran.replays();
    assert_eq!(ran.result(), json!({"ok": null}));
    assert!(matches!(ran.execution.outcome, Outcome::Ok(_)));
}
