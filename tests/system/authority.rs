//! Who may ask what of whom: given, narrowed, used up, taken back and handed over, by the command and between real nodes; and
//! what hostile peers make of it.

mod attacks;
mod peer;

use crate::harness::{Node, Ran, Stage};
use actum_node::Home;
use peer::{Peer, Wire, bounded, key, ran, refused};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

const CLOSED: &str = "[[offer]]\nrelease = \"text-stats\"\n";
const WORDS: [&str; 4] = ["call", "text-stats", "count-words", "one two three"];

/// A web server that answers when the test says so.
pub(crate) struct Web(TcpListener);

impl Web {
    pub(crate) fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").expect("a port"))
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.0.local_addr().expect("an address"))
    }

    pub(crate) fn permission(&self) -> String {
        format!("http:{}", self.origin())
    }

    /// Waits for a request; it waits for its answer.
    pub(crate) fn request(&self) -> TcpStream {
        // Who was to ask may have failed: then nobody comes.
        self.0.set_nonblocking(true).expect("it is a socket");
        let begun = Instant::now();
        let stream = loop {
            match self.0.accept() {
                Ok((stream, _)) => break stream,
                Err(_) if begun.elapsed() < Duration::from_secs(180) => {
                    thread::sleep(Duration::from_millis(5))
                }
                Err(e) => panic!("nobody asks: {e}"),
            }
        };
        stream.set_nonblocking(false).expect("it is a socket");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("it is a socket");
        let mut lines = BufReader::new(&stream).lines();
        while !lines.next().expect("a head").expect("text").is_empty() {}
        stream
    }

    pub(crate) fn answer(&self, mut to: TcpStream, status: &str, fields: &[&str]) {
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        // Who asked may be gone: that is what some tests are about.
        let _ = write!(to, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n{fields}\r\n");
    }

    /// Whether nobody has asked since.
    fn is_silent(&self) -> bool {
        self.0.set_nonblocking(true).expect("it is a socket");
        self.0.accept().is_err()
    }

    /// Has the guest `fetcher` of a node ask this server, in a home.
    pub(crate) fn fetch(&self, stage: &Stage, home: &str, node: &str, function: &str) -> Ran {
        let url = json!([format!("{}/", self.origin())]).to_string();
        stage.actum(home, &["call", "fetcher", function, &url, "--peer", node, "--grant", &self.permission()])
    }
}

impl Stage {
    /// A grant from a home, in a file of its own; the file's name.
    fn gives(&self, home: &str, file: &str, to: &str, clauses: &[&str]) -> String {
        self.actum(home, &[&["grant", "new", "--to", to, "-o", file], clauses].concat()).exits(0);
        file.to_owned()
    }

    fn adds(&self, home: &str, file: &str) {
        self.actum(home, &["grant", "add", file]).exits(0);
    }

    /// Asks a node for the words of a text.
    fn words(&self, home: &str, node: &Node, more: &[&str]) -> Ran {
        self.actum(home, &[&WORDS[..], &["--peer", node.address("tcp")], more].concat())
    }

    /// Asks again and again until it is refused so. A minute is long for news that is on its way, and short for nodes that would
    /// have to meet anew before they hear: their leases hold for ten.
    #[track_caller]
    fn words_until(&self, home: &str, node: &Node, code: &str) {
        let start = Instant::now();
        loop {
            let ran = self.words(home, node, &[]);
            if ran.code == 4 && ran.stderr.contains(code) {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "never {code}: {ran:?}");
        }
    }

    fn shown(&self, home: &str, receipt: &str) -> Value {
        self.actum(home, &["--format", "json", "receipt", "show", receipt]).exits(0).json()
    }

    /// Replays a receipt in its home on both engines.
    fn replays(&self, home: &str, receipt: &str) {
        for engine in ["cranelift", "pulley"] {
            let replayed = self.actum(home, &["replay", receipt, "--engine", engine]).exits(0);
            assert_eq!(replayed.stdout.trim(), "identical", "{receipt} on {engine}");
        }
    }
}

#[test]
fn a_grant_lets_bob_in_and_carol_no_further_than_both_say() {
    let stage = Stage::new();
    stage.publish("alice", "text-stats");
    let alice = stage.node_with("alice", CLOSED);
    stage.words("bob", &alice, &[]).exits(4).says("not-allowed").says("grant");

    let bob = format!("bob={}", stage.did("bob"));
    let clauses =
        ["--may", "text-stats", "--function", "count-words", "--fuel", "100M", "--input", "text like one*"];
    stage.gives("alice", "bob.grant", &bob, &clauses);
    let root = stage.actum("alice", &["--format", "json", "grant", "show", "bob.grant"]).exits(0).json();
    assert!(root["says"].as_str().expect("words").contains("at most 100M fuel"), "{root}");
    stage.actum("mallory", &["grant", "add", "bob.grant"]).exits(4);
    stage.adds("bob", "bob.grant");

    // Nobody names the grant; the receipt does.
    let called = stage.words("bob", &alice, &["--fuel", "50000000"]).exits(0);
    assert_eq!(called.json()["words"], 3);
    let shown = stage.shown("bob", &called.receipt());
    assert_eq!((&shown["authority"], &shown["chain"]), (&json!("granted"), &json!([root["grant"]])));
    stage.replays("bob", &called.receipt());

    // Beyond it, by name.
    stage.words("bob", &alice, &["--fuel", "200000000"]).exits(4).says("not-allowed").says(".limits.fuel");
    let call = |home: &str, function: &str, args: &str, more: &[&str]| {
        let fixed =
            ["call", "text-stats", function, args, "--peer", alice.address("tcp"), "--fuel", "10000000"];
        stage.actum(home, &[&fixed[..], more].concat())
    };
    call("bob", "frequent-words", r#"["one two", 1]"#, &[]).exits(4).says(".function");
    call("bob", "count-words", "two three", &[]).exits(4).says(".input.text");
    call("bob", "count-words", "one two", &[]).exits(0);

    // Bob hands on less, and nothing more.
    let carol = format!("carol={}", stage.did("carol"));
    let narrow = |file: &str, fuel: &str| {
        stage.actum("bob", &["grant", "narrow", "bob.grant", "--to", &carol, "--fuel", fuel, "-o", file])
    };
    narrow("wide.grant", "101M").exits(4).says("limits.fuel");
    narrow("carol.grant", "20M").exits(0);
    stage.adds("carol", "carol.grant");
    assert_eq!(call("carol", "count-words", "one two", &[]).exits(0).json()["words"], 2);
    let over = stage.words("carol", &alice, &["--fuel", "30000000"]).exits(4).says("not-allowed");
    assert!(over.stderr.contains(".limits.fuel"), "it does not say which clause: {over:?}");
    call("carol", "count-words", "two three", &[]).exits(4).says("not-allowed").says(".input.text");
    // It is Carol's alone.
    stage.actum("mallory", &["grant", "add", "carol.grant"]).exits(4);
    call("mallory", "count-words", "one two", &[]).exits(4).says("not-allowed");
}

#[test]
fn what_a_node_granted_itself_nobody_has_to_carry() {
    let stage = Stage::new();
    stage.publish("alice", "text-stats");
    let alice = stage.node_with("alice", CLOSED);
    let bob = stage.did("bob");
    // While it runs, by another process, and without the file ever reaching Bob.
    stage.gives("alice", "bob.grant", &bob, &["--may", "text-stats", "--fuel", "20M"]);
    let called = stage.words("bob", &alice, &["--fuel", "10000000"]).exits(0);
    assert_eq!(stage.shown("bob", &called.receipt())["authority"], "granted");
    stage.words("bob", &alice, &["--fuel", "30000000"]).exits(4).says(".limits.fuel");
    stage.words("carol", &alice, &["--fuel", "10000000"]).exits(4).says("not-allowed");
}

#[test]
fn a_grant_bounds_what_is_given_of_the_real_world() {
    let stage = Stage::new();
    stage.publish_guest("alice", "notes", "[\"keyvalue\"]");
    let alice = stage.node_with("alice", "[[offer]]\nrelease = \"notes\"\nallow = [\"keyvalue:n\"]\n");
    let bob = stage.did("bob");
    stage.gives("alice", "bob.grant", &bob, &["--may", "notes", "--allow", "keyvalue:n:keys=in/"]);
    stage.adds("bob", "bob.grant");
    let set = |key: &str, more: &[&str]| {
        let args = json!(["n", key, "AQ=="]).to_string();
        let fixed = ["call", "notes", "set", &args, "--peer", alice.address("tcp")];
        stage.actum("bob", &[&fixed[..], more].concat())
    };
    // What is asked for is compared at admission, what the guest does with it at each call.
    let wide = set("in/a", &["--grant", "keyvalue:n"]).exits(4).says("not-allowed");
    assert!(wide.stderr.contains("keyvalue:n") && wide.stderr.contains("grant"), "{wide:?}");
    set("in/a", &["--grant", "keyvalue:m"]).exits(4).says("keyvalue:m");
    assert_eq!(set("in/a", &["--grant", "keyvalue:n:keys=in/"]).exits(0).json(), "ok");
    let outside = set("out/a", &["--grant", "keyvalue:n:keys=in/"]).exits(6);
    assert_eq!(outside.json(), json!({"err": "access denied"}));
    // With less than all, it runs without.
    let less = set("in/a", &["--grant", "keyvalue:n", "--accept-less"]);
    let shown = stage.shown("bob", &less.receipt());
    assert_eq!(shown["withheld"], json!(["keyvalue:n"]));
    assert_ne!(less.code, 0);
    stage.replays("bob", &less.receipt());
    // A grant of nothing gives nothing, whatever the owner allows others.
    stage.gives("alice", "carol.grant", &stage.did("carol"), &["--may", "notes", "--allow", "none"]);
    stage.adds("carol", "carol.grant");
    let args = ["call", "notes", "list", "\"n\"", "--peer", alice.address("tcp"), "--grant", "keyvalue:n"];
    stage.actum("carol", &args).exits(4).says("not-allowed").says("keyvalue:n");
}

#[test]
fn a_budget_ends_and_a_rate_comes_back() {
    let stage = Stage::new();
    stage.publish("alice", "text-stats");
    let alice = stage.node_with("alice", CLOSED);
    for (home, clause) in [("bob", ["--actions", "2"]), ("carol", ["--actions-per-minute", "1"])] {
        let clauses = [&["--may", "text-stats"][..], &clause].concat();
        let file = stage.gives("alice", &format!("{home}.grant"), &stage.did(home), &clauses);
        stage.adds(home, &file);
    }
    stage.words("bob", &alice, &[]).exits(0);
    // What was refused costs nothing.
    stage.words("bob", &alice, &["--grant", "keyvalue:n"]).exits(2);
    stage.words("bob", &alice, &[]).exits(0);
    let over = |alice: &Node| {
        let over = stage.words("bob", alice, &[]).exits(9).says("exhausted").says("spent.actions");
        assert!(!over.stderr.contains("again in"), "{over:?}");
    };
    over(&alice);
    stage.words("carol", &alice, &[]).exits(0);
    stage.words("carol", &alice, &[]).exits(9).says("exhausted").says("minute.actions").says("again in ");
    // Denied is another thing.
    stage.words("mallory", &alice, &[]).exits(4).says("not-allowed");
    drop(alice);
    let config = stage.path().join("alice.toml");
    let alice = stage.node("alice", &["--config", config.to_str().expect("UTF-8")]);
    over(&alice);
}

#[test]
fn a_node_shares_what_it_has_and_says_when_to_come_back() {
    let stage = Stage::new();
    let web = Web::new();
    stage.publish_guest("alice", "endless", "[]");
    stage.publish_guest("alice", "fetcher", "[\"http\"]");
    let alice = stage.node_with(
        "alice",
        &format!(
            "[[offer]]\nrelease = \"endless\"\npublic = true\n[[offer]]\nrelease = \"fetcher\"\npublic = true\n\
             allow = [\"{}\"]\n[quota.per_requester]\nin_flight = 1\nfuel_per_minute = 115_000_000\n",
            web.permission()
        ),
    );
    let address = alice.address("tcp").to_owned();
    let spin = |home: &str, fuel: &str| {
        stage.actum(home, &["call", "endless", "spin", "--fuel", fuel, "--peer", &address])
    };
    // So little fuel that a minute is not over before all of it was asked for, however slowly it burns.
    let (url, allow) = (json!([format!("{}/", web.origin())]).to_string(), web.permission());
    let fetch =
        ["call", "fetcher", "follow", &url, "--fuel", "100000000", "--peer", &address, "--grant", &allow];
    std::thread::scope(|scope| {
        let first = scope.spawn(|| stage.actum("bob", &fetch));
        let held = web.request();
        spin("bob", "1000").exits(9).says("exhausted").says("requester-in-flight");
        // What one has taken, another still has.
        spin("carol", "1000").exits(6);
        web.answer(held, "200 OK", &[]);
        first.join().expect("it ends").exits(0);
    });
    spin("bob", "100000000").code.eq(&6).then_some(()).expect("it burned all of it");
    spin("bob", "50000000").exits(9).says("exhausted").says("requester-fuel-per-minute").says("again in ");
    // More than a minute ever has does not come back.
    let never = spin("carol", "100000000");
    assert_eq!(never.code, 6, "{never:?}");
}

#[test]
fn a_revoked_grant_ends_what_rests_on_it_wherever_it_is_told() {
    let stage = Stage::new();
    stage.publish("alice", "text-stats");
    let hub = stage.node("hub", &[]);
    let config = format!("bootstrap = [\"{}\"]\n{CLOSED}", hub.address("tcp"));
    let alice = stage.node_with("alice", &config);
    let clauses = ["--may", "text-stats"];
    for home in ["bob", "erin"] {
        let file = stage.gives("alice", &format!("{home}.grant"), &stage.did(home), &clauses);
        stage.adds(home, &file);
    }
    for home in ["carol", "dave"] {
        let file = format!("{home}.grant");
        let to = stage.did(home);
        stage.actum("bob", &["grant", "narrow", "bob.grant", "--to", &to, "-o", &file]).exits(0);
        stage.adds(home, &file);
        stage.words(home, &alice, &[]).exits(0);
    }
    // Not by whoever has the file, and not by whom it is for.
    stage.actum("mallory", &["grant", "revoke", "carol.grant", "--peer", alice.address("tcp")]).exits(4);
    stage.actum("carol", &["grant", "revoke", "carol.grant", "--peer", alice.address("tcp")]).exits(4);
    stage.words("carol", &alice, &[]).exits(0);

    // By Bob, who is in the middle: told to a third, it reaches Alice, and Dave keeps what is his.
    stage
        .actum("bob", &["grant", "revoke", "carol.grant", "--peer", hub.address("tcp")])
        .exits(0)
        .says("told 1 peer");
    stage.words_until("carol", &alice, "revoked");
    stage.words("dave", &alice, &[]).exits(0);

    // By Alice, in another process of her running node's home.
    stage.words("erin", &alice, &[]).exits(0);
    stage.actum("alice", &["grant", "revoke", "erin.grant", "--offline"]).exits(0);
    stage.words("erin", &alice, &[]).exits(4).says("revoked");

    // While her node is down; it hears of it when it is back.
    alice.stop();
    stage.actum("bob", &["grant", "revoke", "dave.grant", "--peer", hub.address("tcp")]).exits(0);
    let again = stage.path().join("alice.toml");
    let alice = stage.node("alice", &["--config", again.to_str().expect("UTF-8")]);
    stage.words_until("dave", &alice, "revoked");
    for home in ["carol", "erin"] {
        stage.words(home, &alice, &[]).exits(4).says("revoked");
    }
    stage.words("bob", &alice, &[]).exits(0);
    // What is above takes what is below.
    stage.actum("alice", &["grant", "revoke", "bob.grant", "--offline"]).exits(0);
    stage.words("bob", &alice, &[]).exits(4).says("revoked");
}

#[test]
fn a_running_action_is_withdrawn_at_its_next_question() {
    let stage = Stage::new();
    let web = Web::new();
    stage.publish_guest("alice", "fetcher", "[\"http\"]");
    let alice = stage.node_with("alice", "[[offer]]\nrelease = \"fetcher\"\n");
    let address = alice.address("tcp").to_owned();
    let allow = web.permission();
    stage.gives("alice", "bob.grant", &stage.did("bob"), &["--may", "fetcher", "--allow", &allow]);
    stage.adds("bob", "bob.grant");
    let next = format!("location: {}/next", web.origin());

    // In the middle of a chain of requests; the second is never made.
    let withdrawn = std::thread::scope(|scope| {
        let call = scope.spawn(|| web.fetch(&stage, "bob", &address, "follow"));
        let first = web.request();
        web.answer(first, "302 Found", &[&next]);
        let second = web.request();
        stage.actum("alice", &["grant", "revoke", "bob.grant", "--offline"]).exits(0);
        web.answer(second, "302 Found", &[&next]);
        call.join().expect("it ends")
    });
    let withdrawn = withdrawn.exits(4).says("withdrawn").says("ask for a new grant");
    assert!(web.is_silent(), "a request was made after the end");
    let shown = stage.shown("bob", &withdrawn.receipt());
    assert_eq!(shown["outcome"], "withdrawn");
    stage.replays("bob", &withdrawn.receipt());
    stage.actum("bob", &["call", "fetcher", "follow", "\"x\"", "--peer", &address]).exits(4).says("revoked");
    alice.stop();
    stage.replays_with_the_home_away("alice", &[withdrawn.receipt()]);
}

/// Waits until a node has burned a third of a second of processor time: nothing but an endless guest has it do so.
#[cfg(target_os = "linux")]
fn burns(node: &Node) {
    let (before, start) = (node.burned(), Instant::now());
    while node.burned() - before < Duration::from_millis(300) {
        assert!(start.elapsed() < Duration::from_secs(60), "nothing burns");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The same where it cannot be told.
#[cfg(not(target_os = "linux"))]
fn burns(_: &Node) {
    std::thread::sleep(Duration::from_millis(400));
}

#[test]
fn a_guests_calls_have_no_more_than_its_grant_and_end_with_it() {
    let stage = Stage::new();
    stage.publish("alice", "text-stats");
    stage.publish_guest("alice", "caller", "[\"delegate\"]");
    stage.publish_guest("alice", "endless", "[]");
    stage.publish_guest("alice", "notes", "[\"keyvalue\"]");
    // The node allows its other callers more than it grants Bob.
    let component = |name: &str| {
        let home = Home::open(&stage.path().join("alice")).expect("a home");
        let all = home.store().releases().expect("a store");
        let release = all.iter().find(|r| r.payload().name.as_str() == name).expect("a release");
        release.payload().component.to_string()
    };
    let delegate =
        |target: &str, name: &str, more: &str| format!("delegate:{target}={},{more}", component(name));
    let words = delegate("words", "text-stats", "fuel=50000000");
    let more = delegate("words", "text-stats", "fuel=60000000");
    let notes = delegate("notes", "notes", "fuel=50000000");
    let deep_notes = delegate("notes", "notes", "depth=2,fuel=50000000");
    let own = delegate("self", "caller", "depth=3,fuel=100000000000");
    let spin = delegate("endless", "endless", "depth=3,fuel=10000000000");
    let mut alice = stage
        .node_with("alice", &format!("[[offer]]\nrelease = \"caller\"\nallow = [\"{more}\", \"{notes}\"]\n"));
    let address = alice.address("tcp").to_owned();
    let bob = stage.did("bob");
    let allow = ["--allow", &words, "--allow", &own, "--allow", &spin];
    stage.gives("alice", "bob.grant", &bob, &[&["--may", "caller"][..], &allow].concat());
    stage.adds("bob", "bob.grant");
    let call = |function: &str, args: &Value, more: &[&str]| {
        let args = args.to_string();
        stage.actum("bob", &[&["call", "caller", function, &args, "--peer", &address][..], more].concat())
    };
    let count = json!(["words", "count-words", "[\"one two\"]"]);
    let relayed = call("relay", &count, &["--grant", &words]).exits(0);
    assert!(relayed.stdout.contains("words"), "{relayed:?}");
    // More fuel, or another target, is not Bob's, though the owner allows it to others.
    call("relay", &count, &["--grant", &more]).exits(4).says("not-allowed").says("delegate:words");
    call("relay", &count, &["--grant", &notes]).exits(4).says("not-allowed").says("delegate:notes");
    // What is called is not what was granted: it has no more than the call.
    let other = call("relay", &json!(["notes", "list", "[\"n\"]"]), &["--grant", &words]);
    assert!(other.stdout.contains("denied"), "{other:?}");
    // Withheld, it is handed on to nobody.
    let less = call("relay", &count, &["--grant", &words, "--grant", &notes, "--accept-less"]).exits(0);
    let shown = stage.shown("bob", &less.receipt());
    assert_eq!(shown["withheld"], json!([notes]));
    let other = json!(["notes", "list", "[\"n\"]"]);
    let less = call("relay", &other, &["--grant", &words, "--grant", &notes, "--accept-less"]);
    assert!(less.stdout.contains("denied"), "{less:?}");
    // What takes long to compile is compiled before it matters below.
    let brief = delegate("endless", "endless", "fuel=1000000");
    let spun = call("relay", &json!(["endless", "spin", "[]"]), &["--grant", &brief]);
    assert!(spun.stdout.contains("failed: out-of-fuel"), "{spun:?}");
    // Nor by a call of the call.
    let inner = json!(["notes", "list", "[\"n\"]"]).to_string();
    let nested = json!(["self", "relay", inner]);
    let deep = call("relay", &nested, &["--grant", &own, "--grant", &deep_notes, "--accept-less"]).exits(0);
    assert!(deep.stdout.contains("denied"), "{deep:?}");
    stage.replays("bob", &less.receipt());

    // Calls of calls: while the innermost burns, the grant at the root is revoked. It reaches nothing, so it burns on; what
    // called it has its answer, and whoever asks for anything after that is ended.
    while alice.wait_for("executed")["receipt"] != deep.receipt() {}
    let before = stage.delegated("alice").len();
    let inner = json!(["endless", "spin", "[]"]).to_string();
    let middle = json!(["self", "swallow", inner]).to_string();
    let withdrawn = std::thread::scope(|scope| {
        let (call, own, spin, middle) = (&call, &own, &spin, &middle);
        let called = scope.spawn(move || {
            call("relay", &json!(["self", "twice", middle]), &["--grant", own, "--grant", spin])
        });
        alice.wait_for("started");
        burns(&alice);
        stage.actum("alice", &["grant", "revoke", "bob.grant", "--offline"]).exits(0);
        called.join().expect("it ends")
    });
    assert!(withdrawn.stdout.contains("failed: withdrawn"), "{withdrawn:?}");
    let after = stage.delegated("alice");
    let of: BTreeMap<_, _> = after
        .iter()
        .take(after.len() - before)
        .map(|r| (r["outcome"].as_str().expect("a code"), r["receipt"].as_str().expect("an id")))
        .collect();
    assert_eq!(of.keys().copied().collect::<Vec<_>>(), ["ok", "out-of-fuel", "withdrawn"]);
    stage.replays("alice", of["withdrawn"]);
    stage.replays("bob", &withdrawn.receipt());
    stage.actum("bob", &["call", "caller", "deep", "0", "--peer", &address]).exits(4).says("revoked");
}

#[test]
fn a_key_is_handed_over_and_no_grant_is_given_anew() {
    let stage = Stage::new();
    let release = stage.publish("alice", "text-stats");
    let alice = stage.node_with("alice", CLOSED);
    for home in ["bob", "carol"] {
        let file = stage.gives("alice", &format!("{home}.grant"), &stage.did(home), &["--may", "text-stats"]);
        stage.adds(home, &file);
    }
    let copy = |home: &str| {
        let copy = format!("old-{home}");
        stage.actum(home, &["key", "export", "-o", &format!("{copy}.pem")]).exits(0);
        stage.actum(&copy, &["key", "import", &format!("{copy}.pem")]).exits(0);
        copy
    };
    // One that Bob hands on before, and ends afterwards.
    let dave = stage.did("dave");
    stage.actum("bob", &["grant", "narrow", "bob.grant", "--to", &dave, "-o", "dave.grant"]).exits(0);
    stage.adds("dave", "dave.grant");
    let thief = copy("bob");
    stage.adds(&thief, "bob.grant");
    stage.words(&thief, &alice, &[]).exits(0);
    let old = stage.did("bob");
    stage.actum("bob", &["key", "rotate"]).exits(0);
    assert_ne!(stage.did("bob"), old);
    let called = stage.words("bob", &alice, &[]).exits(0);
    let shown = stage.shown("bob", &called.receipt());
    assert_eq!(shown["chain"].as_array().map(Vec::len), Some(2), "the grant and the powerline: {shown}");
    // Told of it by Bob's own node, Alice's takes nothing of the old key any more.
    let bob = stage.node("bob", &["--bootstrap", alice.address("tcp")]);
    stage.words_until(&thief, &alice, "revoked");
    bob.stop();
    stage.words("bob", &alice, &[]).exits(0);
    stage.words("dave", &alice, &[]).exits(0);
    stage.actum("bob", &["grant", "revoke", "dave.grant", "--peer", alice.address("tcp")]).exits(0);
    stage.words("dave", &alice, &[]).exits(4).says("revoked");

    // Alice hands over too. What she gave stays; what is signed with her old key afterwards is nothing.
    let thief = copy("alice");
    alice.stop();
    let old = stage.did("alice");
    stage.actum("alice", &["key", "rotate"]).exits(0);
    let config = stage.path().join("alice.toml");
    let alice = stage.node("alice", &["--config", config.to_str().expect("UTF-8")]);
    assert_ne!(alice.did(), old);
    for home in ["bob", "carol"] {
        stage.words(home, &alice, &[]).exits(0);
    }
    stage.gives(&thief, "forged.grant", &stage.did("mallory"), &["--may", &format!("{old}/text-stats")]);
    stage.adds("mallory", "forged.grant");
    stage.words("mallory", &alice, &[]).exits(4);
    let stolen = Home::open(&stage.path().join(&thief)).expect("a home").key().expect("a key").clone();
    let mallory = Peer::new(key(4));
    let wire = Wire::new(&stage, "alice", &release, "count-words", &json!(["one two"]));
    let forged = peer::grant(&stolen, mallory.did(), stolen.did());
    refused(mallory.asks(&alice, &wire, &[forged]), "revoked", "succeeded");
    // Nor is whoever has it the owner.
    stage.words(&thief, &alice, &[]).exits(4).says("revoked");
}

#[test]
fn the_owner_says_whose_grants_count_and_who_is_denied() {
    let stage = Stage::new();
    let release = stage.publish("alice", "text-stats");
    let (bob, laptop, mallory) = (Peer::new(key(2)), key(8), Peer::new(key(4)));
    let alice = Home::open(&stage.path().join("alice")).expect("a home").key().expect("a key").clone();
    let wire = Wire::new(&stage, "alice", &release, "count-words", &json!(["one two three"]));
    let config = format!(
        "owners = [\"{}\"]\ndeny = [\"{}\"]\n[[offer]]\nrelease = \"text-stats\"\ncallers = [\"{}\"]\n",
        laptop.did(),
        mallory.did(),
        mallory.did()
    );
    let node = stage.node_with("alice", &config);
    // Rooted in the owner's other key.
    let theirs = peer::grant(&laptop, bob.did(), laptop.did());
    ran(bob.asks(&node, &wire, std::slice::from_ref(&theirs)));
    let strangers = peer::grant(&key(9), bob.did(), key(9).did());
    refused(bob.asks(&node, &wire, &[strangers]), "not-allowed", "nobody to this node");
    let bounds = actum_model::ucan::policy::Statement::eq(
        ".name".parse::<actum_model::ucan::policy::Selector>().expect("one"),
        "other",
    );
    let elsewhere = bounded(&laptop, bob.did(), laptop.did(), vec![bounds]);
    refused(bob.asks(&node, &wire, &[elsewhere]), "not-allowed", ".name");
    // Denied, whatever she holds and whoever she acts through; and what she hands on is nothing.
    let hers = peer::grant(&alice, mallory.did(), alice.did());
    refused(mallory.asks(&node, &wire, std::slice::from_ref(&hers)), "not-allowed", "denies");
    refused(mallory.asks(&node, &wire, &[]), "not-allowed", "denies");
    let through = [hers, peer::grant(&mallory.key, bob.did(), alice.did())];
    refused(bob.asks(&node, &wire, &through), "not-allowed", "denies");
}

#[test]
fn ones_own_work_and_what_is_public_need_no_grant() {
    let stage = Stage::new();
    stage.publish("alice", "text-stats");
    let ran = stage.actum("alice", &["run", "text-stats", "count-words", "one two"]).exits(0);
    assert_eq!(stage.shown("alice", &ran.receipt())["authority"], "local");
    let alice = stage.node_with("alice", &format!("{CLOSED}public = true\n"));
    let called = stage.words("you", &alice, &[]).exits(0);
    assert_eq!(stage.shown("you", &called.receipt())["authority"], "public");
    for home in ["alice", "you"] {
        let grants = stage.actum(home, &["--format", "json", "grant", "list", "--all"]).exits(0).json();
        assert_eq!(grants, json!([]), "nobody had to make one");
    }
}
