//! `wasi:http` with a scripted host: what a guest may ask for, what it is told, and that a replay is told the same.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

mod common;

use actum_model::value::decode_result;
use actum_model::{
    Authority, BlobId, Body, Divergence, Granted, Journal, Judgement, Limits, Outcome, Receipt, SecretKey,
    TrapCode, codec, json,
};
use actum_sandbox::host::{Host, HttpAnswer, HttpError, HttpRequest, HttpResponse, Landing};
use actum_sandbox::replay::{Evidence, replay};
use actum_sandbox::{CancelToken, EngineKind, ExecuteError, Execution, Sandbox, SandboxConfig, Surroundings};
use common::{action, sandbox};
use serde_json::{Value as Json, json};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

static COMPILED: LazyLock<Sandbox> = LazyLock::new(|| sandbox(EngineKind::Cranelift));
static INTERPRETED: LazyLock<Sandbox> = LazyLock::new(|| sandbox(EngineKind::Pulley));

/// What becomes of a request, by the last word of its path.
#[derive(Default)]
struct Script {
    seen: Mutex<Vec<HttpRequest>>,
    held: Mutex<Vec<Landing>>,
}

fn answer(body: &[u8]) -> HttpAnswer {
    let headers = vec![("content-type".to_owned(), b"text/plain".to_vec().into())];
    Ok(HttpResponse { status: 200, headers, body: body.to_vec() })
}

impl Host for Script {
    fn http(&self, request: HttpRequest, landing: Landing) {
        let path = request.path.clone();
        let body = request.body.clone();
        self.seen.lock().unwrap().push(request);
        match path.trim_start_matches('/').split('/').collect::<Vec<_>>()[..] {
            ["never"] => self.held.lock().unwrap().push(landing),
            ["lost"] => drop(landing),
            ["refused"] => landing.land(Err(HttpError::ConnectionRefused)),
            ["size"] => landing.land(answer(body.len().to_string().as_bytes())),
            ["bytes", count] => landing.land(answer(&vec![b'b'; count.parse().unwrap()])),
            ["late", text] => {
                let text = text.to_owned();
                std::thread::spawn(move || {
                    // Later than a guest on a busy machine looks for an answer that is there.
                    std::thread::sleep(Duration::from_secs(2));
                    landing.land(answer(text.as_bytes()));
                });
            }
            ref words => landing.land(answer(words.concat().as_bytes())),
        }
    }
}

/// An action that was run, and everything that is needed to run it again.
struct Case {
    args: Vec<u8>,
    receipt: Receipt,
    execution: Execution,
    host: Arc<Script>,
}

const ORIGIN: &str = "http://api.example";

/// A call of the test guest.
struct Call<'a> {
    sandbox: &'a Sandbox,
    function: &'a str,
    args: Json,
    grants: Vec<Granted>,
    limits: Limits,
    cancel: CancelToken,
}

fn call(function: &str, args: Json) -> Call<'_> {
    let grants = vec![format!("http:GET,POST:{ORIGIN}").parse().unwrap()];
    Call {
        sandbox: &COMPILED,
        function,
        args,
        grants,
        limits: Limits::default(),
        cancel: CancelToken::default(),
    }
}

impl Call<'_> {
    fn granted(mut self, grants: &[&str]) -> Self {
        self.grants = grants.iter().map(|text| text.parse().unwrap()).collect();
        self
    }

    fn body_bytes(mut self, bytes: u64) -> Self {
        for granted in &mut self.grants {
            if let Granted::Http(http) = granted {
                http.body_bytes = bytes;
            }
        }
        self
    }

    fn journal_bytes(mut self, bytes: u64) -> Self {
        self.limits.journal_bytes = bytes;
        self
    }

    fn try_run(self) -> Result<Case, ExecuteError> {
        let loaded = self.sandbox.load(actum_capabilities::guests::FETCHER.component).unwrap();
        let function = loaded.functions().iter().find(|f| f.name.answers_to(self.function)).unwrap();
        let values = json::params_from_json(&function.params, &self.args).unwrap();
        let (mut action, args) = action(&loaded, self.function, &values, self.limits);
        action.permissions = self.grants.into_iter().collect();
        let host = Arc::new(Script::default());
        let around = Surroundings {
            host: Arc::clone(&host) as Arc<dyn Host>,
            cancel: self.cancel,
            ..Surroundings::default()
        };
        let execution = self.sandbox.execute_in(&loaded, &action, &args, &around)?;
        let iss = SecretKey::from_seed(&[3; 32]).did();
        let profile = self.sandbox.profile_id();
        let receipt = execution.receipt(action, iss, 1_700_000_000, Authority::Local, profile);
        Ok(Case { args, receipt, execution, host })
    }

    /// Runs it; what happened replays under either engine.
    fn run(self) -> Case {
        let case = self.try_run().unwrap();
        assert_eq!(case.judge(&COMPILED, &case.execution.journal), Judgement::Identical);
        assert_eq!(case.judge(&INTERPRETED, &case.execution.journal), Judgement::Identical);
        case
    }
}

impl Case {
    fn judge(&self, sandbox: &Sandbox, journal: &Journal) -> Judgement {
        let receipt = &Receipt { journal: journal.id(), ..self.receipt.clone() };
        let evidence = Evidence {
            receipt,
            component: actum_capabilities::guests::FETCHER.component,
            args: &self.args,
            output: self.execution.output.as_deref(),
            journal,
            bodies: &self.execution.bodies,
            stdio: None,
        };
        replay(sandbox, &evidence).unwrap()
    }

    /// How the replay of a doctored journal diverges.
    fn doctored(&self, doctor: impl FnOnce(&mut Journal)) -> Divergence {
        let mut journal = self.execution.journal.clone();
        doctor(&mut journal);
        match self.judge(&COMPILED, &journal) {
            Judgement::Diverged(divergence) => divergence,
            other => panic!("{other}"),
        }
    }

    fn result(&self) -> Json {
        let Some(output) = &self.execution.output else { panic!("{:?}", self.execution.outcome) };
        let loaded = COMPILED.load(actum_capabilities::guests::FETCHER.component).unwrap();
        let ty = loaded.function(&self.receipt.action.function).unwrap().result.as_ref();
        let value = decode_result(ty, output, usize::MAX).unwrap();
        json::result_to_json(ty, value.as_ref())
    }

    /// The functions of the journal's entries, without their packages.
    fn asked(&self) -> Vec<&str> {
        let entries = &self.execution.journal.entries;
        entries.iter().map(|e| e.function.split('#').nth(1).unwrap()).collect()
    }

    fn sent(&self) -> Vec<HttpRequest> {
        self.host.seen.lock().unwrap().clone()
    }
}

fn url(path: &str) -> String {
    format!("{ORIGIN}{path}")
}

fn get(path: &str) -> Json {
    json!(["GET", url(path), [], null])
}

#[test]
fn a_request_is_sent_once_and_journalled_and_replays() {
    let args = json!(["POST", url("/size"), [["X-One", "1"], ["x-two", "2"]], "twelve bytes"]);
    let case = call("fetch", args).run();
    assert_eq!(case.result()["ok"]["body"], "12");
    assert_eq!(case.result()["ok"]["headers"], json!([["content-type", "text/plain"]]));
    assert_eq!(case.asked(), ["handle", "poll", "future-incoming-response.get"]);
    let [sent] = &case.sent()[..] else { panic!("sent once, and not again by two replays") };
    assert_eq!(
        (sent.origin.to_string(), sent.method.as_str(), sent.path.as_str()),
        (ORIGIN.into(), "POST", "/size")
    );
    let names: Vec<_> = sent.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["x-one", "x-two"], "nothing is added");
    assert_eq!((sent.body.as_slice(), sent.timeout), (&b"twelve bytes"[..], Duration::from_secs(30)));
}

#[test]
fn what_no_grant_covers_is_denied_before_the_effect_and_the_guest_can_match_on_it() {
    for (method, url) in [
        ("GET", "http://other.example/"),
        ("GET", "https://api.example/"),
        ("GET", "http://api.example:8080/"),
        ("GET", "http://sub.api.example/"),
        ("DELETE", "http://api.example/"),
        ("get", "http://api.example/"),
    ] {
        let case = call("fetch", json!([method, url, [], null])).run();
        assert_eq!(case.result(), json!({"err": "denied"}), "{method} {url}");
        assert_eq!(case.asked(), ["handle"], "the denial is journalled");
        assert!(case.sent().is_empty());
    }
    // Each grant is narrow by itself: they add up, and nothing more.
    let grants = ["http:GET:http://a.example", "http:POST:http://b.example"];
    for (method, url, denied) in [
        ("GET", "http://a.example/", false),
        ("POST", "http://b.example/", false),
        ("POST", "http://a.example/", true),
        ("GET", "http://b.example/", true),
    ] {
        let case = call("fetch", json!([method, url, [], null])).granted(&grants).run();
        assert_eq!(case.result().get("err").is_some(), denied, "{method} {url}");
    }
}

#[test]
fn without_the_permission_the_interface_is_not_there() {
    let case = call("fetch", get("/")).granted(&["keyvalue:notes"]).try_run().unwrap();
    let Outcome::Denied(names) = &case.execution.outcome else { panic!("{:?}", case.execution.outcome) };
    assert!(names.iter().any(|name| name.starts_with("wasi:http/outgoing-handler")), "{names:?}");
}

#[test]
fn what_is_no_request_is_refused_by_name() {
    let told = |method: &str, url: &str| call("fetch", json!([method, url, [], null])).run().result();
    let failed = |name: &str| json!({"err": {"failed": name}});
    assert_eq!(told("GET", "ftp://api.example/"), failed("ErrorCode::HttpRequestUriInvalid"));
    assert_eq!(told("GET", "http://user@api.example/"), failed("ErrorCode::HttpRequestUriInvalid"));
    assert_eq!(told("GET", "http://api.example:0/"), failed("ErrorCode::HttpRequestUriInvalid"));
    assert_eq!(told("GET", "http://0x7f.1/"), failed("ErrorCode::HttpRequestUriInvalid"));
    assert_eq!(told("CONNECT", "http://api.example/"), failed("ErrorCode::HttpRequestMethodInvalid"));
    assert_eq!(told("GET", "http://api.example/a b"), json!({"err": {"refused": "path"}}));
    assert_eq!(told("GET", "http://api.example/\r\nx: y"), json!({"err": {"refused": "path"}}));
    assert_eq!(told("G T", "http://api.example/"), json!({"err": {"refused": "method"}}));
}

#[test]
fn fields_that_concern_the_connection_are_forbidden_and_others_checked() {
    let field = |name: &str, value: &str| call("field", json!([name, value])).run().result();
    for name in ["Host", "connection", "keep-alive", "proxy-authorization", "te", "trailer", "upgrade"] {
        assert_eq!(field(name, "x"), json!({"err": "forbidden"}), "{name}");
    }
    for (name, value) in [("", "x"), ("a b", "x"), ("a:", "x"), ("a", "x\r\ny: z"), ("a", "x\0")] {
        assert_eq!(field(name, value), json!({"err": "invalid-syntax"}), "{name:?} {value:?}");
    }
    assert_eq!(field("X-Second", "2"), json!({"ok": [["x-first", "1"], ["x-second", "2"]]}));
    assert_eq!(field("x-first", "2"), json!({"ok": [["x-first", "2"]]}));
    assert_eq!(field("x", &"y".repeat(70_000)), json!({"err": "forbidden"}), "over the bound of a section");
}

#[test]
fn two_overlapping_requests_replay_in_the_order_they_were_observed() {
    for (a, b, first) in [("/late/a", "/b", 1), ("/a", "/late/b", 0)] {
        let case = call("fetch-both", json!([url(a), url(b)])).run();
        let told = &case.result()["ok"];
        assert_eq!((&told[0], &told[1]["body"], &told[2]["body"]), (&json!(first), &json!("a"), &json!("b")));
        let get = "future-incoming-response.get";
        assert_eq!(case.asked(), ["handle", "handle", "poll", get, "poll", get]);
        // Nobody can turn the order round afterwards.
        let turned = case.doctored(|journal| {
            journal.entries[2].told = codec::encode(&vec![1 - first]).into();
        });
        assert_eq!(turned.at, "journal entry 4", "{turned:?}");
    }
}

#[test]
fn a_race_against_a_timer_replays_as_it_ended() {
    // Five virtual seconds: nobody waits for them where the answer is there.
    let race =
        || assert_eq!(call("race", json!([url("/quick"), 5_000])).run().result()["ok"]["body"], "quick");
    assert!(common::is_ever_quicker(Duration::from_secs(5), race), "the timer was waited for");
    // And real ones while recording, where it is not; the replays wait for nothing.
    let case = call("race", json!([url("/never"), 300])).run();
    assert_eq!(case.result(), json!({"ok": null}));
    assert!(case.execution.wall >= Duration::from_millis(300), "the request got its time");
    let replay = || assert_eq!(case.judge(&COMPILED, &case.execution.journal), Judgement::Identical);
    assert!(common::is_ever_quicker(Duration::from_millis(300), replay), "a replay waits for nobody");
}

#[test]
fn looking_again_and_again_replays_with_as_many_looks() {
    let case = call("look-often", json!([url("/late/there"), 20])).run();
    let told = &case.result()["ok"];
    assert_eq!(told[1]["body"], "there");
    assert!(told[0].as_u64().unwrap() >= 1, "{told}");
}

#[test]
fn a_body_written_after_the_request_departs_with_it() {
    let case = call("upload", json!([url("/size"), 10, 10_000])).run();
    assert_eq!(case.result()["ok"]["body"], "100000");
    let get = "future-incoming-response.get";
    assert_eq!(case.asked(), ["handle", "outgoing-body.finish", "poll", get]);
    assert_eq!(case.execution.bodies.len(), 1, "a large body is beside the journal, by its id");
    assert_eq!(case.execution.journal.entries[1].bodies, [BlobId::of(&vec![b'x'; 100_000])]);
}

#[test]
fn a_request_body_over_the_bound_is_refused_and_nothing_sent() {
    let over = json!({"err": {"failed": "ErrorCode::HttpRequestBodySize(Some(11))"}});
    let args = json!(["POST", url("/size"), [], "twelve bytes"]);
    let case = call("fetch", args).body_bytes(11).run();
    assert_eq!((case.result(), case.sent().len()), (over.clone(), 0));
    let case = call("upload", json!([url("/size"), 2, 6])).body_bytes(11).run();
    assert_eq!((case.result(), case.sent().len()), (over, 0));
    let case = call("upload", json!([url("/size"), 2, 6])).body_bytes(12).run();
    assert_eq!(case.result()["ok"]["body"], "12");
}

#[test]
fn a_content_length_must_agree_with_the_body() {
    let fetch = |length: &str| {
        call("fetch", json!(["POST", url("/size"), [["content-length", length]], "twelve bytes"])).run()
    };
    let case = fetch("12");
    assert_eq!(case.result()["ok"]["body"], "12");
    assert!(case.sent()[0].headers.is_empty(), "it follows from the body");
    assert_eq!(fetch("11").result()["err"]["failed"], "ErrorCode::HttpRequestBodySize(Some(12))");
    assert_eq!(fetch("+12").result()["err"]["failed"], "ErrorCode::HttpProtocolError");
}

#[test]
fn a_body_is_read_in_pieces_as_large_as_asked_for() {
    let case = call("pieces", json!([url("/bytes/10000"), 4096])).run();
    assert_eq!(case.result(), json!({"ok": [4096, 4096, 1808]}));
    assert_eq!(call("pieces", json!([url("/bytes/0"), 4096])).run().result(), json!({"ok": []}));
}

#[test]
fn an_answer_is_taken_once() {
    assert_eq!(call("twice", json!([url("/")])).run().result(), json!({"ok": true}));
}

#[test]
fn errors_of_the_host_are_answers() {
    let failed = |path: &str| call("fetch", get(path)).run().result()["err"]["failed"].clone();
    assert_eq!(failed("/refused"), "ErrorCode::ConnectionRefused");
    assert_eq!(failed("/lost"), "ErrorCode::InternalError(Some(\"the host lost the request\"))");
}

#[test]
fn a_request_never_sent_is_not_waited_for() {
    let case = call("wait-unfinished", json!([url("/")])).run();
    assert_eq!(case.execution.outcome, Outcome::Trap(TrapCode::Other));
    let case = call("drop-unfinished", json!([url("/")])).run();
    assert!(case.result()["err"]["failed"].as_str().unwrap().contains("dropped before it was finished"));
    assert!(case.sent().is_empty());
}

#[test]
fn only_so_many_requests_are_under_way_dropped_ones_included() {
    let limit = json!({"err": {"failed": "ErrorCode::ConnectionLimitReached"}});
    for drop in [false, true] {
        let path = if drop { "/never" } else { "/late/x" };
        let case = call("many", json!([url(path), 12, drop])).run();
        let told = case.result();
        let (sent, refused) = told.as_array().unwrap().split_at(8);
        assert!(sent.iter().all(|one| one == "ok"), "{told}");
        assert!(refused.iter().all(|one| *one == limit), "{told}");
        assert_eq!(case.sent().len(), 8);
    }
    // Those that were answered and dropped make room.
    let case = call("many", json!([url("/x"), 100, true])).run();
    assert_eq!(case.sent().len(), 100);
}

#[test]
fn a_requests_own_timeout_can_only_be_smaller() {
    let sent = |ms: u64| call("within", json!([url("/"), ms])).run().sent()[0].timeout;
    assert_eq!(sent(50), Duration::from_millis(50));
    assert_eq!(sent(60_000), Duration::from_secs(30), "the grant's bound");
}

#[test]
fn a_full_journal_ends_the_guest_at_the_same_place_again() {
    // The answer does not fit any more.
    let case = call("fetch", get("/bytes/90000")).journal_bytes(90_000).run();
    assert_eq!(case.execution.outcome, Outcome::JournalTooLarge);
    assert_eq!(case.asked(), ["handle", "poll"]);
    // Nor does what is written, before it is sent.
    let case = call("upload", json!([url("/size"), 3, 40_000])).journal_bytes(100_000).run();
    assert_eq!(case.execution.outcome, Outcome::JournalTooLarge);
    assert_eq!((case.asked(), case.sent().len()), (vec!["handle"], 0));
    // A host is never asked for more than could be journalled.
    let case = call("fetch", get("/x")).journal_bytes(100_000).run();
    assert_eq!(case.sent()[0].max_bytes, 100_000);
}

#[test]
fn a_wait_ends_when_it_is_cancelled_and_when_its_time_is_over() {
    let cancel = CancelToken::default();
    let mut waiting = call("fetch", get("/never"));
    waiting.cancel = cancel.clone();
    let canceller = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        cancel.cancel();
    });
    let start = Instant::now();
    assert!(matches!(waiting.try_run(), Err(ExecuteError::Cancelled)));
    // The request has thirty.
    assert!(start.elapsed() < Duration::from_secs(25));
    canceller.join().unwrap();

    let wall_clock = Duration::from_millis(200);
    let hasty = Sandbox::new(SandboxConfig { wall_clock, ..SandboxConfig::default() }).unwrap();
    let mut waiting = call("fetch", get("/never"));
    waiting.sandbox = &hasty;
    let case = waiting.try_run().unwrap();
    assert_eq!(case.execution.outcome, Outcome::TimedOut);
}

#[test]
fn a_changed_answer_diverges() {
    let case = call("fetch", get("/truth")).run();
    let get_entry = 2;
    let lie = case.doctored(|journal| {
        let told = &mut journal.entries[get_entry].told;
        let at = told.windows(5).position(|w| w == b"truth").unwrap();
        told[at..at + 5].copy_from_slice(b"tooth");
    });
    assert_eq!(
        (lie.at.as_str(), lie.receipt.as_str(), lie.replay.as_str()),
        ("output.ok.body", "\"truth\"", "\"tooth\"")
    );
    let garbled = case.doctored(|journal| _ = journal.entries[get_entry].told.pop());
    assert_eq!(garbled.at, "journal entry 3", "{garbled:?}");
    let order = case.doctored(|journal| journal.entries.swap(0, 1));
    assert_eq!(order.at, "journal entry 1");
    assert!(order.receipt.starts_with("wasi:io/poll#poll asked"), "{order:?}");
    assert!(order.replay.starts_with("wasi:http/outgoing-handler#handle asked"), "{order:?}");
    let short = case.doctored(|journal| _ = journal.entries.pop());
    assert_eq!((short.at.as_str(), short.receipt.as_str()), ("journal entry 3", "none"));
    let never = case.doctored(|journal| journal.entries[1].told = codec::encode(&Vec::<u64>::new()).into());
    assert_eq!(never.at, "journal entry 2", "a wait ends with an answer: {never:?}");
}

#[test]
fn a_guest_that_asks_another_question_diverges_with_both_to_read() {
    let case = call("fetch", get("/a/path/that/is/long/enough/and/ends/in/truth")).run();
    let other = case.doctored(|journal| {
        let asked = &mut journal.entries[0].asked;
        let at = asked.windows(5).position(|w| w == b"truth").unwrap();
        asked[at..at + 5].copy_from_slice(b"tooth");
    });
    assert_eq!(other.at, "journal entry 1");
    assert!(other.receipt.contains("/in/tooth") && other.replay.contains("/in/truth"), "{other:?}");
    // The recorded answer of a request that is not the one asked for now is not given.
    let body = Body::of(b"x");
    let finish = case.doctored(|journal| {
        journal.entries[0].function = "wasi:http/types#outgoing-body.finish".to_owned();
        journal.entries[0].asked = codec::encode(&(0u64, &body)).into();
    });
    assert_eq!(finish.at, "journal entry 1");
}

#[test]
fn a_changed_body_is_not_what_the_journal_names() {
    let mut case = call("fetch", get("/bytes/5000")).run();
    let id = *case.execution.bodies.keys().next().unwrap();
    case.execution.bodies.get_mut(&id).unwrap()[17] = b'!';
    let evidence = Evidence {
        receipt: &case.receipt,
        component: actum_capabilities::guests::FETCHER.component,
        args: &case.args,
        output: None,
        journal: &case.execution.journal,
        bodies: &case.execution.bodies,
        stdio: None,
    };
    let refused = replay(&COMPILED, &evidence).unwrap_err().to_string();
    assert!(refused.starts_with("a body of the journal"), "{refused}");
    // Nor is another body that is named honestly what the guest was told.
    let other = vec![b'c'; 5000];
    let (was, is) = (codec::encode(&Body::Id(id)), codec::encode(&Body::of(&other)));
    case.execution.bodies = [(BlobId::of(&other), other.clone())].into();
    let lie = case.doctored(|journal| {
        let entry = &mut journal.entries[2];
        let at = entry.told.windows(was.len()).position(|w| w == was).unwrap();
        entry.told[at..at + was.len()].copy_from_slice(&is);
        entry.bodies = vec![BlobId::of(&other)];
    });
    assert_eq!(lie.at, "output.ok.body");
}

#[test]
fn a_journal_cannot_grant_what_the_action_does_not() {
    let ok = codec::encode(&Ok::<(), HttpError>(()));
    let denied = codec::encode(&Err::<(), _>(HttpError::HttpRequestDenied));
    let case = call("fetch", json!(["GET", "http://other.example/", [], null])).run();
    let lie = case.doctored(|journal| journal.entries[0].told = ok.clone().into());
    assert_eq!(lie.at, "journal entry 1");
    assert!(lie.receipt.ends_with("the rules say HttpRequestDenied"), "{lie:?}");
    let case = call("fetch", get("/")).run();
    let lie = case.doctored(|journal| journal.entries[0].told = denied.into());
    assert!(lie.receipt.ends_with("the rules say that it is granted"), "{lie:?}");
    let case = call("upload", json!([url("/size"), 2, 6])).body_bytes(11).run();
    let lie = case.doctored(|journal| journal.entries[1].told = ok.into());
    assert_eq!(lie.at, "journal entry 2");
    assert!(lie.receipt.ends_with("the rules say HttpRequestBodySize(11)"), "{lie:?}");
}
