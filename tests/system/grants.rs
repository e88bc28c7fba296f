//! Grants without any node: made, handed on, read, checked, ended, each in the hands of whoever has them.

use crate::harness::{Ran, Stage};
use actum_model::{
    Delegation, Did, RunArgs, SecretKey, Signed, Terms,
    grant::Ceilings,
    ucan::{
        Policy, Proof,
        container::{Form, write_chain},
        policy::{Selector, Statement},
    },
};
use std::fs;

/// A stage, and who is on it.
struct Company {
    stage: Stage,
    alice: String,
    bob: String,
    carol: String,
}

impl Company {
    fn new() -> Self {
        let stage = Stage::new();
        let did = |home| stage.actum(home, &["key", "show"]).exits(0).stdout.trim().to_owned();
        let (alice, bob, carol) = (did("alice"), did("bob"), did("carol"));
        Self { stage, alice, bob, carol }
    }

    fn grant(&self, home: &str, args: &[&str]) -> Ran {
        self.stage.actum(home, &[&["grant"][..], args].concat())
    }

    fn json(&self, home: &str, args: &[&str]) -> serde_json::Value {
        self.stage.actum(home, &[&["--format", "json", "grant"][..], args].concat()).exits(0).json()
    }

    /// Alice lets Bob, who keeps it; `bob.grant` is its file, and its id is returned.
    fn alice_lets_bob(&self, clauses: &[&str]) -> String {
        let to = format!("bob={}", self.bob);
        let new = ["new", "--to", &to, "--may", "csv-query", "--author", &self.alice, "-o", "bob.grant"];
        self.grant("alice", &[&new[..], clauses].concat()).exits(0);
        self.grant("bob", &["add", "bob.grant"]).exits(0).stdout.trim().to_owned()
    }

    /// Bob hands it on to Carol, as `carol.grant`.
    fn bob_lets_carol(&self, clauses: &[&str]) -> Ran {
        let to = format!("carol={}", self.carol);
        self.grant("bob", &[&["narrow", "bob.grant", "--to", &to, "-o", "carol.grant"][..], clauses].concat())
    }

    fn exists(&self, file: &str) -> bool {
        self.stage.path().join(file).exists()
    }
}

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

/// A delegation as any other program may write one.
fn link(by: u8, to: &str, sub: Did, exp: Option<u64>, pol: Policy) -> Proof {
    let delegation = Delegation {
        iss: key(by).did(),
        aud: to.parse().expect("a did"),
        sub: Some(sub),
        cmd: RunArgs::command(),
        pol,
        nonce: vec![by; 12].into(),
        meta: None,
        nbf: None,
        exp,
    };
    Proof::from(Signed::sign(delegation, &key(by)))
}

fn fuel(most: u64) -> Policy {
    let limits = Ceilings { fuel: Some(most), ..Ceilings::default() };
    Terms { limits, ..Terms::default() }.policy().expect("a policy")
}

fn says(text: &str, pieces: &[&str]) {
    for piece in pieces {
        assert!(text.contains(piece), "{piece:?} is not in {text:?}");
    }
}

#[test]
fn a_grant_is_made_kept_handed_on_and_read_by_people() {
    let c = Company::new();
    let to = format!("bob={}", c.bob);
    let new = ["new", "--to", &to, "--may", "csv-query", "--author", &c.alice, "--fuel", "50M"];
    let until = ["--until", "2099-01-02", "-o", "bob.grant"];
    let made = c.grant("alice", &[&new[..], &until].concat()).exits(0);
    assert_eq!(made.stdout, "");
    let sentence = [
        "You let bob run csv-query by you",
        "in your name",
        "at most 50M fuel",
        "until Friday 2 January 2099",
        "no network",
    ];
    says(&made.stderr, &sentence);
    let file = c.stage.path().join("bob.grant");
    let written = fs::read(&file).expect("the file");
    assert_eq!(written.first(), Some(&b'B'));
    c.grant("alice", &[&new[..], &until].concat()).exits(2).says("is there already");
    assert_eq!(fs::read(&file).expect("the file"), written, "nothing is written over");

    // What a person gets in a message may have blank lines around it.
    let added = c.stage.actum_with("bob", &["grant", "add", "-"], &[b"\n ", &written[..], b"\n"].concat());
    let added = added.exits(0).says("lets you run csv-query").says("`actum call` uses it");
    let id = added.stdout.trim();
    says(&made.stderr, &[&format!("grant: {id}")]);
    // To whom it is not, it is no use; who knows a part of its id may leave the rest.
    c.grant("carol", &["add", "bob.grant"]).exits(4).says("not to this home");
    let show = c.grant("bob", &["show", &id[id.len() - 10..]]).exits(0);
    says(
        &show.stdout,
        &[&c.alice, &format!("you ({})", c.bob), id, "state    valid", "\".limits.fuel\", 50000000"],
    );
    c.grant("bob", &["show", "zzz"]).exits(5).says("neither a file nor the id");
    c.grant("bob", &["show", &id[..id.len() - 1]]).exits(0);

    let handed = c.bob_lets_carol(&["--fuel", "10M", "--actions", "3", "--for", "7d"]).exits(0);
    says(&handed.stderr, &["lets carol, through you,", "10M fuel", "at most 3 actions in all"]);
    let kept = c.grant("carol", &["add", "carol.grant"]).exits(0);
    says(&kept.stderr, &["lets you, through", "run csv-query", "at most 10M fuel", "no network"]);
    let shown = c.json("carol", &["show", kept.stdout.trim()]);
    let chain = shown["chain"].as_array().expect("a chain");
    assert_eq!(chain.len(), 2);
    assert_eq!((&chain[0]["iss"], &chain[1]["iss"]), (&c.alice.as_str().into(), &c.bob.as_str().into()));
    assert_eq!((&shown["to"], &shown["state"]), (&c.carol.as_str().into(), &"valid".into()));
    assert_eq!(
        shown["container"].as_str().map(|t| format!("{t}\n")),
        fs::read_to_string(c.stage.path().join("carol.grant")).ok()
    );
    assert!(chain[0]["exp"].as_u64() > chain[1]["exp"].as_u64());

    let listed = c.json("bob", &["list"]);
    let listed = listed.as_array().expect("a list");
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0]["to"], c.carol.as_str(), "the newest comes first");
    assert_eq!(c.json("bob", &["list", "--held"]).as_array().map(Vec::len), Some(1));
    assert_eq!(c.json("bob", &["list", "--issued", "--limit", "1"])[0]["grant"], listed[0]["grant"]);
    let table = c.grant("bob", &["list"]).exits(0).stdout;
    says(&table, &["you → carol", "csv-query, 10M fuel each, 3 times", "valid"]);
}

#[test]
fn what_is_handed_on_says_itself_all_that_it_may_not_exceed() {
    let c = Company::new();
    c.alice_lets_bob(&["--fuel", "50M", "--actions", "5", "--for", "2h", "--input", "rows<=100"]);
    // It goes with whatever Bob has of Alice, so silence would hand on all of that.
    c.bob_lets_carol(&["--actions", "2", "--forever"]).exits(0);
    let shown = c.json("carol", &["show", "carol.grant"]);
    let links = shown["chain"].as_array().expect("a chain");
    let pol = links[1]["pol"].to_string();
    says(
        &pol,
        &["csv-query", &c.alice, "50000000", ".input.rows", "[\"<=\",\".spent.actions\",2]", ".permissions"],
    );
    assert_eq!(links[1]["exp"], links[0]["exp"]);
}

#[test]
fn what_is_not_said_is_little_and_what_is_meant_is_found() {
    let c = Company::new();
    c.stage.publish("alice", "text-stats");
    let made = c.grant("alice", &["new", "--to", &c.bob]).exits(0);
    says(
        &made.stderr,
        &["warning: it is for anything", "it holds until", "no network, no storage, no files"],
    );
    let text = made.stdout.trim();
    assert!(text.starts_with('B') && !text.contains('\n'));
    let shown = c.stage.actum_with("bob", &["--format", "json", "grant", "show", "-"], text.as_bytes());
    let shown = shown.exits(0).json();
    assert_eq!(shown["chain"][0]["pol"], serde_json::json!([["==", ".permissions", []]]));
    let life = shown["until"].as_u64().expect("an end");
    let now = std::time::UNIX_EPOCH.elapsed().expect("a clock").as_secs();
    assert!(life.abs_diff(now + 30 * 86_400) < 600);

    let new = |more: &[&str]| {
        let all = [&["--format", "json", "grant", "new", "--to", &c.bob][..], more].concat();
        c.stage.actum("alice", &all)
    };
    let clauses = ["--may", "text-stats", "--function", "count-words", "--input", "text like a*"];
    let limits = ["--memory", "64MiB", "--output", "1MiB", "--allow", "keyvalue:notes", "--forever"];
    let made = new(&[&clauses[..], &limits].concat()).exits(0);
    assert!(!made.stderr.contains("warning"), "{}", made.stderr);
    let made = made.json();
    assert_eq!(made["until"], serde_json::Value::Null);
    let pol = made["chain"][0]["pol"].to_string();
    says(&pol, &[&c.alice, "text-stats", "#count-words", "67108864", "1048576", "notes", "like"]);
    new(&["--may", "text-stats", "--input", "txet==a"])
        .exits(0)
        .says("no function it allows takes an argument \"txet\"");
    new(&["--may", "text-stats", "--function", "nope"]).exits(5).says("no function");
    new(&["--may", "nowhere"]).exits(5).says("--author");
    new(&["--until", "2001-01-01"]).exits(2).says("would have ended already");
    new(&["--from", "2099-01-02", "--until", "2099-01-01"]).exits(2).says("end before it begins");
    new(&["--until", "2099-01-01", "--forever"]).exits(2);
    new(&["--fuel", "lots"]).exits(2);
    new(&["--allow", "everything"]).exits(2);
    let error = new(&["--may", "nowhere"]).stderr;
    let error: serde_json::Value = serde_json::from_str(error.trim()).expect("JSON");
    assert_eq!(error["error"]["kind"], "not-found");
}

#[test]
fn names_mean_one_key_for_good() {
    let c = Company::new();
    let new = |to: &str| c.grant("alice", &["new", "--to", to]);
    new("bob").exits(5).says("nobody is called \"bob\"").says("--to bob=did:key");
    new(&format!("bob={}", c.bob)).exits(0);
    new("bob").exits(0).says("You let bob");
    new(&c.bob).exits(0).says("You let bob");
    new(&format!("bob={}", c.carol)).exits(2).says("bob");
    new(&format!("You={}", c.carol)).exits(2).says("calls itself");
    new(&format!("a b={}", c.carol)).exits(2).says("is not a name");
    new(&c.alice).exits(2).says("has it already");
    new("did:key:nobody").exits(2);
}

#[test]
fn nothing_is_handed_on_that_was_not_given() {
    let c = Company::new();
    let numbers = ["--fuel", "50M", "--memory", "64MiB", "--output", "1MiB", "--actions", "10"];
    let rates = ["--total-fuel", "1G", "--actions-per-minute", "5", "--fuel-per-minute", "100M"];
    let rest = ["--function", "actum:csv/query@0.1.0#run", "--from", "2020-01-02", "--until", "2099-01-02"];
    c.alice_lets_bob(&[&numbers[..], &rates, &rest].concat());
    for (clauses, clause) in [
        (&["--fuel", "50_000_001"][..], "limits.fuel: 50000001 fuel where the grant above gives 50M fuel"),
        (&["--memory", "65MiB"], "limits.memory_bytes"),
        (&["--output", "2MiB"], "limits.output_bytes"),
        (&["--actions", "11"], "spent.actions"),
        (&["--total-fuel", "2G"], "spent.fuel"),
        (&["--actions-per-minute", "6"], "minute.actions"),
        (&["--fuel-per-minute", "101M"], "minute.fuel"),
        (&["--function", "actum:csv/query@0.1.0#drop"], "functions"),
        (&["--may", "csv-drop", "--author", &c.alice], "capability"),
        (&["--may", "csv-query", "--author", &c.bob], "capability"),
        (&["--allow", "http:https://example.com"], "permissions"),
        (&["--allow", "network"], "permissions"),
        (&["--until", "2099-01-03"], "until"),
        (&["--from", "2020-01-01", "--until", "2099-01-01"], "from"),
    ] {
        c.bob_lets_carol(clauses).exits(4).says(&format!("widens {clause}"));
        assert!(!c.exists("carol.grant"), "{clauses:?}");
    }
    assert_eq!(c.json("bob", &["list", "--issued"]), serde_json::json!([]), "nothing was signed");
    // As much, and less, and nothing but another end, are all right; so is a version of what was given.
    let same = ["--fuel", "50M", "--actions", "10", "--until", "2099-01-02", "--allow", "none"];
    c.bob_lets_carol(&[&same[..], &["--may", "csv-query@1.0.0", "--author", &c.alice]].concat()).exits(0);
    // Nor is what somebody else was given.
    c.grant("bob", &["narrow", "carol.grant", "--to", &c.alice]).exits(2).says("has it already");
    c.grant("mallory", &["narrow", "carol.grant", "--to", &c.alice]).exits(4).says("not to this home");
}

#[test]
fn a_grant_that_does_not_hold_is_refused_with_the_reason() {
    let c = Company::new();
    c.alice_lets_bob(&["--from", "2020-01-02", "--until", "2099-01-02"]);
    c.bob_lets_carol(&["--fuel", "1M", "--until", "2098-01-01"]).exits(0);
    let verify = |more: &[&str]| c.grant("carol", &[&["verify", "carol.grant"][..], more].concat());
    says(&verify(&[]).exits(0).stdout, &["valid: 2 signatures, until Wednesday 1 January 2098"]);
    verify(&["--at", "2098-01-03"]).exits(7).says("(Expired)").says("delegation 2 of the chain ended");
    verify(&["--at", "2099-12-01T12:00:00Z"]).exits(7).says("(Expired)").says("delegation 1");
    verify(&["--at", "2019-12-31"]).exits(7).says("(TooEarly)");
    verify(&["--for-provider", &c.alice]).exits(0);
    verify(&["--for-provider", &c.bob]).exits(7).says("(InvalidSubject)");
    let json =
        c.stage.actum("carol", &["--format", "json", "grant", "verify", "carol.grant", "--at", "2098-01-03"]);
    let json = json.exits(7).json();
    assert_eq!((&json["valid"], &json["error"]), (&false.into(), &"Expired".into()));

    // Whatever is changed on the way is found.
    let whole = fs::read(c.stage.path().join("carol.grant")).expect("the file");
    for at in (1..whole.len() - 1).step_by(whole.len() / 8) {
        let mut bytes = whole.clone();
        bytes[at] = if bytes[at] == b'A' { b'C' } else { b'A' };
        c.stage.write("flipped.grant", &bytes);
        c.grant("carol", &["verify", "flipped.grant"]).exits(7);
        c.grant("carol", &["add", "flipped.grant"]).exits(7).says("this is not a grant");
    }
    c.stage.write("other.grant", "Good morning");
    c.grant("carol", &["add", "other.grant"]).exits(7).says("begins with none of");
    c.grant("carol", &["add", "absent.grant"]).exits(5);
    assert_eq!(c.json("carol", &["list", "--all"]), serde_json::json!([]), "nothing of it was kept");

    let add = |links: &[Proof]| {
        c.stage.write("made.grant", write_chain(links, Form::Raw).expect("a container"));
        c.grant("carol", &["add", "made.grant"])
    };
    let (one, two) = (key(1).did(), key(2).did().to_string());
    add(&[link(1, &c.carol, one, Some(1_000_000_000), fuel(10))]).exits(7).says("(Expired)").says("2001");
    let root = link(1, &two, one, None, fuel(10));
    add(&[root.clone(), link(2, &c.carol, one, None, fuel(11))]).exits(7).says("widens limits.fuel");
    add(&[link(2, &c.carol, one, None, fuel(9))]).exits(7);
    add(&[root, link(2, &c.carol, one, None, fuel(9))]).exits(0);
}

#[test]
fn what_strangers_write_moves_nothing_on_a_terminal() {
    let c = Company::new();
    let evil =
        Statement::eq(Selector::path(&["note"]).expect("a selector"), "\u{1b}[2J\n\u{202e}You let eve");
    let grant = link(1, &c.bob, key(1).did(), None, Policy::new(vec![evil]));
    c.stage.write("evil.grant", write_chain(&[grant], Form::Raw).expect("a container"));
    for args in [["add", "evil.grant"], ["show", "evil.grant"], ["list", "--all"]] {
        let ran = c.grant("bob", &args).exits(0);
        let printed = ran.stdout + &ran.stderr;
        assert!(!printed.contains(['\u{1b}', '\u{202e}']), "{printed:?}");
        assert!(!printed.lines().any(|line| line.starts_with("You let")), "{printed}");
    }
}

#[test]
fn a_key_that_is_handed_over_keeps_what_it_was_given_and_gave() {
    let c = Company::new();
    let id = c.alice_lets_bob(&[]);
    c.stage.actum("bob", &["key", "rotate"]).exits(0);
    c.bob_lets_carol(&["--fuel", "1M"]).exits(0);
    let kept = c.grant("carol", &["add", "carol.grant"]).exits(0);
    let shown = c.json("carol", &["show", kept.stdout.trim()]);
    assert_eq!(shown["chain"].as_array().map(Vec::len), Some(3), "by way of the old key");
    let listed = c.json("bob", &["list"]).to_string();
    says(&listed, &[&id, kept.stdout.trim()]);

    c.stage.actum("alice", &["key", "export", "-o", "stolen.pem"]).exits(0);
    c.stage.actum("alice", &["key", "rotate"]).exits(0);
    c.grant("alice", &["verify", "bob.grant"]).exits(0);
    let issued = c.json("alice", &["list", "--issued"]);
    assert_eq!((&issued[0]["grant"], &issued[0]["state"]), (&id.as_str().into(), &"valid".into()));
    let new = c.stage.actum("alice", &["key", "show"]).stdout;
    c.grant("carol", &["verify", "carol.grant", "--for-provider", new.trim()]).exits(7);
    c.grant("alice", &["verify", "carol.grant", "--for-provider", new.trim()]).exits(0);
    // Whoever has the old key may sign what they like; who knows of the new one gives nothing for it.
    c.stage.actum("thief", &["key", "import", "stolen.pem"]).exits(0);
    c.grant("thief", &["new", "--to", &c.carol, "-o", "stolen.grant"]).exits(0);
    c.grant("alice", &["verify", "stolen.grant"]).exits(7).says("(Revoked)").says("has succeeded");
    // What the old key gave, the new one can end.
    c.grant("alice", &["revoke", &id, "--offline"]).exits(0);
    c.grant("alice", &["verify", "bob.grant"]).exits(7).says("(Revoked)").says("revoked by you");
}

#[test]
fn whoever_issued_a_part_ends_it_and_nobody_else() {
    let c = Company::new();
    let id = c.alice_lets_bob(&["--forever"]);
    c.bob_lets_carol(&[]).exits(0);
    let denied = c.grant("mallory", &["revoke", "carol.grant"]).exits(4).says("not this home's to revoke");
    says(&denied.stderr, &[&c.alice, &c.bob]);
    c.grant("carol", &["revoke", "carol.grant"]).exits(4);
    c.grant("bob", &["revoke", &id]).exits(4).says(&c.alice);
    c.grant("bob", &["verify", "carol.grant"]).exits(0);

    // Bob's own part of the file ends, and Alice's does not.
    let ended = c.grant("bob", &["revoke", "carol.grant", "--offline"]).exits(0).says("nobody else was told");
    assert_eq!(
        ended.stdout.trim(),
        c.json("bob", &["list", "--issued"])[0]["grant"].as_str().expect("an id")
    );
    let shown = c.grant("bob", &["show", "carol.grant"]).exits(0).stdout;
    says(&shown, &["It does not hold (Revoked)", "revoked by you", "state    valid"]);
    c.grant("bob", &["verify", "bob.grant"]).exits(0);
    c.grant("bob", &["revoke", "carol.grant", "--offline"]).exits(0).says("it was before");
    // Who has not heard cannot know.
    c.grant("alice", &["verify", "carol.grant"]).exits(0);

    // Alice knows no peer, which is no failure.
    let ended = c.stage.actum("alice", &["--format", "json", "grant", "revoke", "carol.grant"]).exits(0);
    let ended = ended.says("nobody else was told").json();
    assert_eq!((ended["revoked"].as_str(), &ended["told"]), (Some(id.as_str()), &serde_json::json!([])));
    let flaw = c.grant("alice", &["verify", "carol.grant"]).exits(7).says("(Revoked)");
    says(&flaw.stderr, &["delegation 1 of the chain was revoked by you"]);
    c.grant("alice", &["verify", &id]).exits(7).says("revoked by you");
    says(&c.grant("alice", &["show", "carol.grant"]).exits(0).stdout, &["but not what it rests on"]);
    let listed = c.json("alice", &["list"]);
    assert_eq!(
        (&listed[0]["state"], &listed[0]["revoked_by"]),
        (&"revoked".into(), &c.alice.as_str().into())
    );
    // By its id Alice ends what Bob issued below her, where she has it; a peer that is not there is told of.
    let unreachable = ["revoke", &id, "--peer", "/ip4/127.0.0.1/tcp/1"];
    c.grant("alice", &unreachable).exits(0).says("not told").says("nobody else was told");
}
