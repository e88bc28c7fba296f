//! Peers count what they serve each other: both sides agree and can prove it, a lie counts nothing, and under load who gives
//! is served before who only takes.

use crate::harness::{Node, Ran, Stage};
use actum_model::{Action, Did, Filters, Limits, Outcome, Signed, balance::Accounts};
use actum_node::{
    Config, Home,
    config::OfferConfig,
    invoke::{self, Choices},
    node::Node as Peer,
    provider::{ExecuteError, Execution, Executor, Honest, Loaded, Sandbox, Surroundings},
    requester::{CallProgress, CallRequest, Requester},
};
use std::{
    fs,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

fn did(stage: &Stage, home: &str) -> String {
    stage.actum(home, &["key", "show"]).exits(0).stdout.trim().to_owned()
}

fn balance(stage: &Stage, home: &str, args: &[&str]) -> serde_json::Value {
    stage.actum(home, &[&["--format", "json", "peers", "balance"], args].concat()).exits(0).json()
}

/// Asks for the balance until both sides count the same: a provider stores what it has answered a moment later.
fn agreed(stage: &Stage, home: &str, peer: &str) -> serde_json::Value {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let seen = balance(stage, home, &[peer]);
        if seen["agrees"] == true {
            return seen;
        }
        assert!(Instant::now() < until, "they do not come to agree: {seen:#}");
        thread::sleep(Duration::from_millis(100));
    }
}

fn count(stage: &Stage, home: &str, node: &Node, words: &str) -> Ran {
    stage.actum(home, &["call", "text-stats", "count-words", words, "--peer", node.address("tcp")])
}

#[test]
fn both_sides_count_the_same_and_prove_it_and_what_is_missing_or_forged_shows() {
    let stage = Stage::new();
    for home in ["a", "b"] {
        stage.publish(home, "text-stats");
    }
    let a = stage.node("a", &["--offer", "text-stats"]);
    let a_did = a.did().to_owned();
    stage.actum("b", &["peers", "balance", &a_did, "--offline"]).exits(5).says("no receipt between");
    for words in ["one", "one two", "one two three"] {
        count(&stage, "b", &a, words).exits(0);
    }
    let seen = agreed(&stage, "b", &a_did);
    let consumed = seen["consumed"]["fuel"].as_u64().expect("fuel");
    assert!(consumed > 0 && seen["consumed"]["receipts"] == 3, "{seen:#}");
    assert_eq!(seen["served"]["receipts"], 0);
    assert_eq!(seen["theirs"]["served"], seen["consumed"]);
    assert_eq!(seen["disputed"], serde_json::json!([]));
    a.stop();

    // The other way round: who was asked asks.
    let b_did = did(&stage, "b");
    let b = stage.node("b", &["--offer", "text-stats"]);
    count(&stage, "a", &b, "four").exits(0);
    let seen = agreed(&stage, "a", &b_did);
    assert_eq!((&seen["served"]["fuel"], &seen["consumed"]["receipts"]), (&consumed.into(), &1.into()));
    b.stop();
    let listed = stage.actum("a", &["peers", "balance"]).exits(0);
    assert!(listed.stdout.contains(&b_did) && listed.stdout.contains("agree"), "{listed:?}");

    // Each proves it to whoever does not know either.
    let elsewhere = Stage::new();
    let mut exported = Vec::new();
    for (home, peer) in [("a", &b_did), ("b", &a_did)] {
        let file = format!("{home}.car");
        stage.actum(home, &["peers", "balance", peer, "--offline", "--export", &file]).exits(0);
        let bytes = fs::read(stage.path().join(&file)).expect("a file");
        elsewhere.write(&file, &bytes);
        let verified =
            elsewhere.actum("nobody", &["--format", "json", "peers", "balance", "--verify", &file]).exits(0);
        let verified = verified.json();
        assert_eq!((&verified["holds"], &verified["theirs"]), (&true.into(), &true.into()), "{verified:#}");
        exported.push(Accounts::from_bytes(&bytes).expect("accounts"));
    }
    assert_eq!(exported[0].entries, exported[1].entries, "both by the same receipts");
    assert!(!elsewhere.path().join("nobody").exists(), "checking needs no home");

    let whole = &exported[0];
    let verify = |accounts: &Accounts, code: i32| {
        elsewhere.write("changed.car", accounts.to_bytes());
        elsewhere.actum("nobody", &["peers", "balance", "--verify", "changed.car"]).exits(code)
    };
    verify(whole, 0);
    for n in 0..whole.entries.len() {
        let mut dropped = whole.clone();
        dropped.entries.remove(n);
        assert!(verify(&dropped, 7).stdout.starts_with("does not hold: "), "entry {n}");
        let mut unasked = whole.clone();
        unasked.entries[n].invocation = None;
        assert!(verify(&unasked, 7).stdout.contains("is not there"), "entry {n}");
    }
    // A receipt with more fuel, rightly signed by its provider: the balance is of another.
    let (home_a, home_b) = (open(&stage, "a"), open(&stage, "b"));
    let mut forged = whole.clone();
    for entry in &mut forged.entries {
        let mut receipt = entry.receipt.payload().clone();
        receipt.fuel += 1;
        let provider = if receipt.iss == home_a.did() { &home_a } else { &home_b };
        entry.receipt = Signed::sign(receipt, provider.key().expect("its key"));
    }
    assert!(verify(&forged, 7).stdout.starts_with("does not hold: "));
    // A balance over receipts that the other never asked for: the provider's own word is not enough.
    let mut alone = whole.clone();
    let mut said = alone.ours.payload().clone();
    let mut tally = actum_model::balance::Tally::default();
    for entry in &mut alone.entries {
        let mut receipt = entry.receipt.payload().clone();
        if receipt.iss == home_a.did() {
            receipt.action.limits.fuel += 1;
            entry.receipt = Signed::sign(receipt, home_a.key().expect("its key"));
            tally.add(&entry.receipt.id(), entry.receipt.payload().fuel);
        }
    }
    said.served = tally.side();
    alone.ours = Signed::sign(said, home_a.key().expect("its key"));
    assert!(verify(&alone, 7).stdout.contains("does not answer what was asked"));
}

fn open(stage: &Stage, home: &str) -> Home {
    Home::open(&stage.path().join(home)).expect("a home")
}

/// Executes honestly, one after another, and says who is begun. What one requester asks for waits until the test lets it go on.
struct Holds {
    who: Did,
    begins: mpsc::Sender<Did>,
    go: Mutex<mpsc::Receiver<()>>,
}

impl Executor for Holds {
    fn execute(
        &self,
        sandbox: &Sandbox,
        loaded: &Loaded,
        action: &Action,
        args: &[u8],
        around: &Surroundings,
    ) -> Result<Execution, ExecuteError> {
        let _ = self.begins.send(action.requester);
        if action.requester == self.who {
            // A test that has failed lets nothing go on.
            let _ = self.go.lock().expect("no panic").recv_timeout(PATIENCE);
        }
        Honest.execute(sandbox, loaded, action, args, around)
    }
}

/// How long anything may take here, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// A provider with one turn, which `busy` holds until it is let go on.
struct OneTurn {
    go: mpsc::Sender<()>,
    begins: mpsc::Receiver<Did>,
    address: String,
    did: Did,
    node: Peer,
    runtime: tokio::runtime::Runtime,
}

impl OneTurn {
    fn new(stage: &Stage, giving: &str) -> Self {
        stage.publish_guest("a", "endless", "[]");
        let offer = "[[offer]]\nrelease = \"endless\"\npublic = true\n";
        let config =
            Config::parse(&format!("parallel = 1\nqueue = 8\n{offer}{giving}")).expect("it is right");
        let (go, goes) = mpsc::channel();
        let (begun, begins) = mpsc::channel();
        let who = did(stage, "busy").parse().expect("a key");
        let holds = Arc::new(Holds { who, begins: begun, go: Mutex::new(goes) });
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let home = Arc::new(open(stage, "a"));
        let node = runtime.block_on(Peer::start(home, config, Some(holds))).expect("it starts");
        let addresses = node.addresses();
        let address = addresses.iter().find(|a| a.contains("/tcp/")).expect("an address").clone();
        Self { go, begins, address, did: node.did(), node, runtime }
    }

    /// Who is begun next.
    fn begins(&self) -> String {
        self.begins.recv_timeout(PATIENCE).expect("somebody is begun").to_string()
    }

    fn stop(self) {
        self.runtime.block_on(self.node.stop());
    }
}

fn spin(stage: &Stage, home: &str, address: &str, fuel: &str) -> Ran {
    stage.actum(home, &["call", "endless", "spin", "--fuel", fuel, "--peer", address])
}

/// Has a home ask for what `spin` asks for, in this process, and `waits` hear of it when it has to wait for its turn.
fn spin_here(stage: &Stage, home: &str, address: &str, fuel: u64, waits: &mpsc::Sender<()>) {
    let home = Arc::new(open(stage, home));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let outcome = runtime.block_on(async {
        let requester = Requester::start(home, &[], &[address.to_owned()]).await.expect("it starts");
        let found = requester.candidates("endless", &Filters::default()).await.expect("it is offered");
        let prepared = requester.prepare(&found, "spin").await.expect("its release");
        let choices = Choices { limits: Limits { fuel, ..Limits::default() }, ..Choices::default() };
        let none = serde_json::json!([]);
        let args = invoke::encode_args(&prepared.function, &none, &mut |_| Err("no files".to_owned()));
        let request = CallRequest { args: args.expect("none"), choices, deadline: 2 * PATIENCE };
        let mut progress = |event: CallProgress| {
            if let CallProgress::Queued { .. } = event {
                waits.send(()).expect("the test waits");
            }
        };
        let done = requester.delegate(prepared, request, None, &mut progress).await.expect("it is served");
        requester.stop().await.expect("it is kept");
        done.called.receipt.payload().outcome.clone()
    });
    assert_eq!(outcome, Outcome::OutOfFuel);
}

#[test]
fn under_load_who_gives_is_served_before_who_only_takes() {
    let stage = Stage::new();
    let a = OneTurn::new(&stage, "");
    // The giver has done something for this home.
    stage.publish("giver", "text-stats");
    let giver = stage.node("giver", &["--offer", "text-stats"]);
    count(&stage, "a", &giver, "one two").exits(0);
    giver.stop();
    let giver_did = did(&stage, "giver");
    let seen = balance(&stage, "a", &[&giver_did, "--offline"]);
    assert_eq!(seen["served_as"], "giver", "{seen:#}");

    let (waits, waiting) = mpsc::channel();
    let order = thread::scope(|scope| {
        let call = |home: &'static str| {
            let (stage, address, waits) = (&stage, a.address.as_str(), waits.clone());
            scope.spawn(move || spin_here(stage, home, address, 1_000_000, &waits))
        };
        let mut all = vec![call("busy")];
        assert_eq!(a.begins(), did(&stage, "busy"));
        // The free riders come first, and wait.
        all.extend(["rider-1", "rider-2"].map(call));
        for _ in 0..2 {
            waiting.recv_timeout(PATIENCE).expect("they wait");
        }
        all.push(call("giver"));
        waiting.recv_timeout(PATIENCE).expect("it waits");
        a.go.send(()).expect("it waits for that");
        let order = [a.begins(), a.begins(), a.begins()];
        for one in all {
            one.join().expect("it ends");
        }
        order
    });
    assert_eq!(order[0], giver_did, "{order:?}");
    let a_did = a.did.to_string();
    assert_eq!(balance(&stage, "rider-1", &[&a_did, "--offline"])["consumed"]["receipts"], 1);
    a.stop();
}

#[test]
fn over_its_allowance_a_newcomer_is_served_unless_others_wait() {
    let stage = Stage::new();
    let a = OneTurn::new(&stage, "[giving]\nallowance_fuel = 20000000\n");
    let address = a.address.as_str();
    // More than the allowance in all, and nobody else is there.
    spin(&stage, "taker", address, "15000000").exits(6);
    spin(&stage, "taker", address, "1000000").exits(6);
    // It counts once it is stored, which is a moment after it was answered.
    let (home, taker) = (open(&stage, "a"), did(&stage, "taker").parse().expect("a key"));
    let until = Instant::now() + PATIENCE;
    while home.store().tally(&a.did, &taker).expect("the store").receipts < 2 {
        assert!(Instant::now() < until, "what was served is not stored");
        thread::sleep(Duration::from_millis(20));
    }
    let (waits, waiting) = mpsc::channel();
    thread::scope(|scope| {
        let call = |home: &'static str| {
            let (stage, waits) = (&stage, waits.clone());
            scope.spawn(move || spin_here(stage, home, address, 1_000_000, &waits))
        };
        let mut all = vec![call("busy")];
        // The earlier two, and this one.
        for _ in 0..3 {
            a.begins();
        }
        all.push(call("other"));
        waiting.recv_timeout(PATIENCE).expect("it waits");
        let refused = spin(&stage, "taker", address, "15000000").exits(9);
        refused.says("exhausted").says("others wait").says("again in 10 s");
        // What is still within it is not refused.
        all.push(call("taker"));
        waiting.recv_timeout(PATIENCE).expect("it waits");
        a.go.send(()).expect("it waits for that");
        for one in all {
            one.join().expect("it ends");
        }
    });
    // With the load gone, it is served again.
    spin(&stage, "taker", address, "15000000").exits(6);
    let a_did = a.did.to_string();
    let seen = balance(&stage, "taker", &[&a_did]);
    assert_eq!(seen["consumed"]["receipts"], 4, "{seen:#}");
    stage.write("bad.toml", "[giving]\nallowance = 1\n");
    stage.actum("b", &["node", "--config", "bad.toml"]).exits(3).says("allowance");
    stage.write("bad.toml", "[giving]\nwindow_seconds = 10\n");
    stage.actum("b", &["node", "--config", "bad.toml"]).exits(3).says("3,600");
    a.stop();
}

/// Executes honestly, and says that it was twice the work.
#[derive(Debug)]
struct Liar;

impl Executor for Liar {
    fn execute(
        &self,
        sandbox: &Sandbox,
        loaded: &Loaded,
        action: &Action,
        args: &[u8],
        around: &Surroundings,
    ) -> Result<Execution, ExecuteError> {
        let mut execution = Honest.execute(sandbox, loaded, action, args, around)?;
        execution.fuel = execution.fuel.saturating_mul(2);
        Ok(execution)
    }
}

#[test]
fn an_entry_that_replay_refutes_counts_nothing() {
    let stage = Stage::new();
    stage.publish("liar", "text-stats");
    let home = Arc::new(open(&stage, "liar"));
    let liar_did = home.did().to_string();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let offer = OfferConfig {
        release: "text-stats".to_owned(),
        public: true,
        callers: Vec::new(),
        allow: Vec::new(),
        price: 0,
    };
    let config = Config { offers: vec![offer], ..Config::default() };
    let liar = runtime.block_on(Peer::start(home, config, Some(Arc::new(Liar)))).expect("it starts");
    let addresses = liar.addresses();
    let address = addresses.iter().find(|a| a.contains("/tcp/")).expect("an address");
    // What is not checked at once, so that the lie gets into the accounts.
    let call = ["call", "text-stats", "count-words", "to be or not", "--peer", address, "--risk", "blind"];
    let level =
        "[risk.level.blind]\ncanaries = 0\nprobation = 0\nprobation_here = 0\nreplay_one_in = 4294967295\n";
    stage.write("you/config.toml", level);
    let called = stage.actum("you", &call).exits(0);
    let receipt = called.receipt();
    let seen = agreed(&stage, "you", &liar_did);
    assert!(seen["consumed"]["fuel"].as_u64() > Some(0), "both sides count the lie: {seen:#}");

    // Replay shows it, and it counts nothing from then on.
    stage.actum("you", &["replay", &receipt]).exits(7);
    let seen = balance(&stage, "you", &[&liar_did, "--settle"]);
    assert_eq!(seen["consumed"], serde_json::json!({"receipts": 0, "fuel": 0}), "{seen:#}");
    assert_eq!((&seen["void"][0]["receipt"], &seen["agrees"]), (&receipt.clone().into(), &false.into()));

    // The liar goes on counting it: that shows as what only it counts, void here.
    let seen = balance(&stage, "you", &[&liar_did]);
    let disputed = seen["disputed"].as_array().expect("a list");
    assert_eq!(disputed.len(), 1, "{seen:#}");
    assert_eq!(disputed[0]["receipt"], receipt.as_str());
    assert_eq!((&disputed[0]["doubt"], &disputed[0]["void"]), (&"only-theirs".into(), &true.into()));
    assert_eq!(disputed[0]["settled"], "void");
    let shown = stage.actum("you", &["peers", "balance", &liar_did]).exits(0);
    assert!(shown.stdout.contains("count nothing") && shown.stdout.contains("void here"), "{shown:?}");
    runtime.block_on(liar.stop());
}
