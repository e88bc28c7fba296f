//! What becomes of a call whose connection, provider or requester is lost: it is resumed or fails in a coded way, and no
//! invocation is ever executed twice.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod stage;

use actum_model::{Did, SecretKey};
use actum_node::{
    Home,
    node::Node,
    provider::Executor,
    requester::{CallError, Requester},
};
use actum_overlay::{
    BoxFuture, Handler, Overlay, OverlayConfig, ProgressSender, Request, RequestError, Response,
    SessionHandle,
};
use stage::*;
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tempfile::TempDir;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A provider with an executor that takes its time, a proxy before it, and a requester that came by the proxy.
struct Stage {
    dir: TempDir,
    node: Node,
    proxy: Proxy,
    slow: Arc<Slow>,
}

impl Stage {
    async fn new(held: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let slow = Slow::of(held);
        let node = provider(home(dir.path(), "provider"), 0, Some(slow.clone() as Arc<dyn Executor>)).await;
        let proxy = Proxy::before(&node.addresses()[0]).await;
        Self { dir, node, proxy, slow }
    }

    fn home(&self) -> Arc<Home> {
        home(self.dir.path(), "requester")
    }

    fn executions(&self) -> usize {
        self.slow.executions.load(SeqCst)
    }

    async fn started(&self, n: usize) {
        until("the action starts", || self.executions() >= n).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_connection_is_made_again_and_the_action_goes_on() {
    let stage = Stage::new(HELD).await;
    let (requester, prepared) = ready(&stage.home(), &[stage.proxy.address()]).await;
    let cut = async {
        stage.started(1).await;
        stage.proxy.cut();
    };
    // It ends once the one who came back was told that it runs.
    let hears = |heard: &[String]| {
        let back = heard.iter().any(|h| h.starts_with("Resuming"));
        if back && heard.last().is_some_and(|h| h == "Running") {
            stage.slow.let_go();
        }
    };
    let called = call_hearing(&requester, &prepared, "still here", LONG, hears);
    let ((called, heard), ()) = tokio::join!(called, cut);
    assert!(echoed(&called.unwrap(), "still here"));
    assert_eq!(stage.executions(), 1);
    assert!(heard.iter().any(|h| h.starts_with("Resuming")), "{heard:?}");
    // What is new to the one who came back is told again: it runs.
    assert_eq!(heard.last().unwrap(), "Running", "{heard:?}");
    requester.stop().await.unwrap();
    let home = stage.home();
    assert_eq!(home.store().receipts(None, 9, None).unwrap().len(), 1);
    assert_eq!(home.store().all_unanswered().unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_in_flight_are_all_resumed_and_each_runs_once() {
    let stage = Stage::new(ms(40)).await;
    let (requester, prepared) = ready(&stage.home(), &[stage.proxy.address()]).await;
    let texts: Vec<_> = (0..16).map(|n| format!("call {n}")).collect();
    let calls = futures::future::join_all(texts.iter().map(|text| call(&requester, &prepared, text, LONG)));
    let cut = async {
        stage.started(2).await;
        stage.proxy.cut();
    };
    let (called, ()) = tokio::join!(calls, cut);
    for ((called, _), text) in called.iter().zip(&texts) {
        assert!(echoed(called.as_ref().unwrap(), text));
    }
    assert_eq!(stage.executions(), texts.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_lost_on_its_way_is_given_again_from_the_store() {
    let stage = Stage::new(ms(50)).await;
    let provider_home = home(stage.dir.path(), "provider");
    let (requester, prepared) = ready(&stage.home(), &[stage.proxy.address()]).await;
    stage.proxy.hold_down();
    let cut = async {
        until("the receipt is stored", || provider_home.store().receipts(None, 9, None).unwrap().len() == 1)
            .await;
        stage.proxy.cut();
    };
    let ((called, _), ()) = tokio::join!(call(&requester, &prepared, "twice told", LONG), cut);
    assert!(echoed(&called.unwrap(), "twice told"));
    assert_eq!(stage.executions(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_lost_before_it_was_admitted_is_asked_anew_and_its_late_copy_is_refused() {
    let stage = Stage::new(ms(0)).await;
    let (requester, prepared) = ready(&stage.home(), &[stage.proxy.address()]).await;
    let mut events = stage.node.events();
    // The call stays in the proxy, which loses the requester, and comes to the provider after all once that has said that
    // it never saw it.
    let text = "once ".repeat(2_000);
    stage.proxy.hold_up();
    let before = stage.proxy.bytes_held();
    let lose = async {
        // All of it: it comes in one piece, and is more than whatever else is sent meanwhile.
        until("the call is in the proxy", || {
            let sent = requester.traffic().action.sent;
            sent.messages == 1 && stage.proxy.bytes_held() - before >= sent.bytes
        })
        .await;
        stage.proxy.cut_half();
    };
    let ((called, heard), ()) = tokio::join!(call(&requester, &prepared, &text, LONG), lose);
    assert!(echoed(&called.unwrap(), &text));
    assert_eq!(heard.iter().filter(|h| h.starts_with("Asking")).count(), 2, "{heard:?}");
    assert_eq!(stage.executions(), 1);
    stage.proxy.release();
    let late = async {
        loop {
            let event = events.recv().await.unwrap().to_json();
            if event["event"] == "refused" {
                return event;
            }
        }
    };
    let refused = tokio::time::timeout(LONG, late).await.unwrap();
    assert_eq!(refused["code"], "already-served", "{refused}");
    assert_eq!(stage.executions(), 1);
}

/// What was begun may have had its effect: nobody else is asked to do it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_stops_while_an_action_runs_makes_nobody_run_it_again() {
    let stage = Stage::new(HELD).await;
    let second_slow = Slow::of(HELD);
    // Another of the same release, or it would be no candidate.
    let first = home(stage.dir.path(), "provider");
    let release = first.store().releases().unwrap().remove(0);
    let second = home(stage.dir.path(), "second");
    second.store().put_release(&release).unwrap();
    second
        .store()
        .put_component(&first.store().component(&release.payload().component).unwrap().unwrap())
        .unwrap();
    let second = offering(second, &release, 0, Some(second_slow.clone() as Arc<dyn Executor>)).await;
    let addresses = [stage.node.addresses()[0].clone(), second.addresses()[0].clone()];
    let (requester, prepared) = ready(&stage.home(), &addresses).await;
    let Stage { node, slow, dir: _dir, .. } = stage;
    let executions = || [&slow, &second_slow].map(|slow| slow.executions.load(SeqCst));
    let stop = async {
        until("one of them has it", || executions() != [0, 0]).await;
        let asked = if executions() == [1, 0] { node } else { second };
        asked.stop().await;
    };
    let ((called, _), ()) = tokio::join!(call(&requester, &prepared, "once", ms(20_000)), stop);
    // It says so, where it still can.
    let error = called.unwrap_err();
    assert!(matches!(error, CallError::Gone { .. } | CallError::Unanswered { .. }), "{error}");
    assert_eq!(executions().iter().sum::<usize>(), 1);
}

/// Who asks for an answer later, and does not wait long, takes nothing away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resumption_that_does_not_wait_leaves_the_action_to_go_on() {
    let stage = Stage::new(HELD).await;
    let id = {
        let (requester, prepared) = ready(&stage.home(), &[stage.proxy.address()]).await;
        let home = stage.home();
        let lose = async {
            stage.started(1).await;
            until("the call is remembered", || !requester_calls(&home).is_empty()).await;
            stage.proxy.hold_up();
            stage.proxy.hold_down();
        };
        tokio::select! {
            called = call(&requester, &prepared, "later", LONG) => panic!("{:?}", called.0),
            () = lose => {}
        }
        // Nothing of it comes to the provider, not even that it is given up.
        stage.proxy.cut();
        requester.stop().await.unwrap();
        requester_calls(&home)[0]
    };
    // Past the proxy, which goes on holding everything back.
    let (requester, _) = ready(&stage.home(), &stage.node.addresses()[..1]).await;
    let early = requester.resume(&id, ms(300), &mut |_| {}).await.unwrap_err();
    assert!(matches!(early, CallError::Unanswered { .. }), "{early}");
    stage.slow.let_go();
    let called = requester.resume(&id, LONG, &mut |_| {}).await.unwrap();
    assert!(echoed(&called, "later"));
    assert_eq!(stage.executions(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_stops_the_action_before_and_after_a_cut() {
    let stage = Stage::new(HELD).await;
    let (requester, prepared) = ready(&stage.home(), &[stage.proxy.address()]).await;
    // Long enough for the action to start, and below for the connection to be made again.
    let (called, _) = call(&requester, &prepared, "in time", ms(4_000)).await;
    let timed_out = matches!(
        called,
        Err(CallError::Lost { source: RequestError::TimedOut { may_have_run: true, .. }, .. })
    );
    assert!(timed_out, "{called:?}");
    until("it is cancelled", || stage.slow.cancelled.load(SeqCst) == 1 && stage.node.running() == 0).await;

    let cut = async {
        stage.started(2).await;
        stage.proxy.cut();
    };
    let ((called, _), ()) = tokio::join!(call(&requester, &prepared, "after a cut", ms(8_000)), cut);
    let error = called.unwrap_err();
    let timed_out =
        matches!(error, CallError::Lost { source: RequestError::TimedOut { may_have_run: true, .. }, .. });
    assert!(timed_out, "{error}");
    until("it is cancelled too", || stage.slow.cancelled.load(SeqCst) == 2 && stage.node.running() == 0)
        .await;
    // Asked later, the provider says that it was admitted and has no answer.
    let unanswered = requester_calls(&stage.home());
    let gone = requester.resume(&unanswered[0], LONG, &mut |_| {}).await.unwrap_err();
    assert!(matches!(gone, CallError::Gone { .. }), "{gone}");
    let again = requester.resume(&unanswered[0], LONG, &mut |_| {}).await.unwrap_err();
    assert!(matches!(again, CallError::NothingToResume { .. }), "{again}");
}

fn requester_calls(home: &Home) -> Vec<actum_model::InvocationId> {
    home.store().all_unanswered().unwrap().iter().map(|u| u.invocation.id()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_a_call_cancels_it_and_losing_its_connection_does_not() {
    let stage = Stage::new(HELD).await;
    let (requester, prepared) = ready(&stage.home(), &[stage.proxy.address()]).await;
    tokio::select! {
        _ = call(&requester, &prepared, "dropped", LONG) => panic!("answered"),
        () = stage.started(1) => {}
    }
    until("it is cancelled", || stage.slow.cancelled.load(SeqCst) == 1).await;
    let provider_home = home(stage.dir.path(), "provider");
    assert_eq!(provider_home.store().receipts(None, 9, None).unwrap().len(), 0);
    // The requester leaves without a word of this call.
    let left = {
        let (requester, prepared) = ready(&home(stage.dir.path(), "other"), &[stage.proxy.address()]).await;
        tokio::spawn(async move { call(&requester, &prepared, "left", LONG).await.0 })
    };
    stage.started(2).await;
    // What it says as it goes stays in the proxy. It is gone before the cut: a call that had been resumed would be cancelled
    // with its requester.
    stage.proxy.hold_up();
    left.abort();
    assert!(left.await.is_err_and(|e| e.is_cancelled()));
    stage.proxy.cut();
    stage.slow.let_go();
    until("it ran to its end", || provider_home.store().receipts(None, 9, None).unwrap().len() == 1).await;
    assert_eq!(stage.slow.cancelled.load(SeqCst), 1);
}

/// Answers nothing.
struct Mute;

impl Handler for Mute {
    fn handle(
        &self,
        _: Did,
        _: Request,
        _: SessionHandle,
        _: ProgressSender,
    ) -> BoxFuture<'static, Response> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_not_given_anothers_answer() {
    let stage = Stage::new(ms(0)).await;
    let (requester, prepared) = ready(&stage.home(), &[stage.proxy.address()]).await;
    let called = call(&requester, &prepared, "mine", LONG).await.0.unwrap();
    requester.stop().await.unwrap();
    let evidence = stage.home().store().evidence(&called.receipt.id()).unwrap().unwrap();
    let ask = async |seed: &SecretKey, invocation: Vec<u8>| {
        let overlay = Overlay::start(OverlayConfig::client(), seed, Arc::new(Mute)).await.unwrap();
        let peer = overlay.connect(&stage.node.addresses()[0]).await.unwrap();
        overlay.request(&peer, &Request::Resume { invocation, leaves: false }, LONG).await.unwrap()
    };
    let code = |response: &Response| match response {
        Response::Refused { refusal } => refusal.code.name(),
        _ => "answered",
    };
    let stranger = SecretKey::from_seed(&[9; 32]);
    let invocation = evidence.invocation.unwrap();
    assert_eq!(code(&ask(&stranger, invocation.clone()).await), "bad-request");
    assert_eq!(code(&ask(&stranger, vec![0; 200]).await), "bad-request");
    let mine = stage.home();
    match ask(mine.key().unwrap(), invocation).await {
        Response::Done { receipt, .. } => assert_eq!(receipt, called.receipt.bytes()),
        other => panic!("{other:?}"),
    }
}

// Other processes: this test's binary again.

const ROLE: &str = "LOST_ROLE";
const DIR: &str = "LOST_DIR";
const PORT: &str = "LOST_PORT";

/// A child process, killed when dropped.
struct Process(Child);

impl Process {
    fn start(role: &str, dir: &Path, port: u16) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "child", "--nocapture"]).stdout(Stdio::null()).stderr(Stdio::null());
        command.env(ROLE, role).env(DIR, dir).env(PORT, port.to_string());
        Self(command.spawn().unwrap())
    }

    /// As SIGKILL does.
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn tally(dir: &Path) -> usize {
    fs::read(dir.join("tally")).map_or(0, |bytes| bytes.len())
}

/// Not a test of its own: what a child process does until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(role) = env::var(ROLE) else { return };
    let dir = PathBuf::from(env::var(DIR).unwrap());
    let port = env::var(PORT).unwrap().parse().unwrap();
    match role.as_str() {
        "requester" => {
            let address = fs::read_to_string(dir.join("address")).unwrap();
            let (requester, prepared) = ready(&home(&dir, "requester"), &[address]).await;
            call(&requester, &prepared, "asked by the dead", LONG).await.0.unwrap();
        }
        held => {
            let slow = Slow {
                held: ms(held.parse().unwrap()),
                let_go: AtomicBool::new(false),
                executions: Arc::new(AtomicUsize::new(0)),
                cancelled: Arc::default(),
                tally: Some(dir.join("tally")),
            };
            let node =
                provider(home(&dir, "provider"), port, Some(Arc::new(slow) as Arc<dyn Executor>)).await;
            fs::write(dir.join("address.new"), &node.addresses()[0]).unwrap();
            fs::rename(dir.join("address.new"), dir.join("address")).unwrap();
            tokio::time::sleep(HELD).await;
        }
    }
}

async fn serve(dir: &Path, held: &str, port: u16) -> Process {
    let _ = fs::remove_file(dir.join("address"));
    let process = Process::start(held, dir, port);
    until("the provider listens", || dir.join("address").exists()).await;
    process
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_killed_after_it_stored_the_receipt_gives_it_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut process = serve(dir.path(), "50", port).await;
    let proxy = Proxy::before(&fs::read_to_string(dir.path().join("address")).unwrap()).await;
    let provider_home = home(dir.path(), "provider");
    let (requester, prepared) = ready(&home(dir.path(), "requester"), &[proxy.address()]).await;
    proxy.hold_down();
    let again = async {
        until("the receipt is stored", || provider_home.store().receipts(None, 9, None).unwrap().len() == 1)
            .await;
        process.kill();
        proxy.cut();
        serve(dir.path(), "50", port).await
    };
    let ((called, _), _process) = tokio::join!(call(&requester, &prepared, "kept", LONG), again);
    assert!(echoed(&called.unwrap(), "kept"));
    assert_eq!(tally(dir.path()), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_killed_in_the_middle_says_that_it_may_have_run_and_never_runs_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut process = serve(dir.path(), "120000", port).await;
    let address = fs::read_to_string(dir.path().join("address")).unwrap();
    let (requester, prepared) = ready(&home(dir.path(), "requester"), &[address]).await;
    let again = async {
        until("it runs", || tally(dir.path()) == 1).await;
        process.kill();
        serve(dir.path(), "0", port).await
    };
    let ((called, _), _process) = tokio::join!(call(&requester, &prepared, "half", LONG), again);
    let error = called.unwrap_err();
    assert!(matches!(error, CallError::Gone { .. }), "{error}");
    assert!(error.to_string().contains("may have run"), "{error}");
    assert_eq!(tally(dir.path()), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requester_that_was_killed_gets_its_answer_later() {
    let stage = Stage::new(HELD).await;
    let dir = stage.dir.path();
    fs::write(dir.join("address"), &stage.node.addresses()[0]).unwrap();
    let mut process = Process::start("requester", dir, 0);
    stage.started(1).await;
    let requester_home = stage.home();
    until("the call is remembered", || !requester_calls(&requester_home).is_empty()).await;
    process.kill();
    stage.slow.let_go();
    let asked = requester_calls(&requester_home);
    let requester = Requester::start(requester_home.clone(), &[], &[]).await.unwrap();
    let called = requester.resume(&asked[0], LONG, &mut |_| {}).await.unwrap();
    assert!(echoed(&called, "asked by the dead"));
    assert_eq!(stage.executions(), 1);
    requester.stop().await.unwrap();
    assert_eq!(requester_calls(&requester_home), []);
    let evidence = requester_home.store().evidence(&called.receipt.id()).unwrap().unwrap();
    assert!(evidence.invocation.is_some());
}
