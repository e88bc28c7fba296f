//! What hostile peers send, each of them refused, by a node that serves the next one.

use super::{
    Web,
    peer::{Peer, Wire, bounded, delegation, grant, key, ran, refusal, refused, sign},
};
use crate::harness::{Node, Stage};
use actum_model::{
    Delegation, DelegationId, Did, Invocation, Outcome, Rotation, SecretKey, Signed, Withdrawal,
    run::MAX_INVOCATION_LIFE,
    ucan::{
        MAX_CHAIN, Proof, Revocation,
        policy::{Selector, Statement},
    },
};
use actum_node::{Home, clock};
use actum_overlay::{Notice, Response};
use serde_json::json;
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// Alice hosts text-stats for nobody, and everybody speaks the wire.
struct Scene {
    stage: Stage,
    node: Node,
    wire: Wire,
    alice: SecretKey,
}

const CLOSED: &str = "[[offer]]\nrelease = \"text-stats\"\n";

fn selector(text: &str) -> Selector {
    text.parse().expect("a selector")
}

fn fuel(most: u64) -> Statement {
    Statement::Le(selector(".limits.fuel"), most.into())
}

impl Scene {
    fn new(config: &str) -> Self {
        let stage = Stage::new();
        let release = stage.publish("alice", "text-stats");
        let alice = Home::open(&stage.path().join("alice")).expect("a home").key().expect("a key").clone();
        let wire = Wire::new(&stage, "alice", &release, "count-words", &json!(["one two three"]));
        let node = stage.node_with("alice", config);
        Self { stage, node, wire, alice }
    }

    fn alice(&self) -> Did {
        self.alice.did()
    }

    /// From Alice to this key.
    fn root(&self, to: Did) -> Proof {
        grant(&self.alice, to, self.alice())
    }

    /// The same node again, after whatever `end` does to the first.
    fn again(self, end: impl FnOnce(Node)) -> Self {
        let Self { stage, node, wire, alice } = self;
        end(node);
        let config = stage.path().join("alice.toml");
        let node = stage.node("alice", &["--config", config.to_str().expect("UTF-8")]);
        Self { stage, node, wire, alice }
    }
}

fn invoke(invocation: &Invocation, key: &SecretKey) -> Vec<u8> {
    Signed::sign(invocation.clone(), key).bytes().to_vec()
}

#[test]
fn a_chain_is_one_chain_of_the_right_people_and_of_nothing_more() {
    let scene = Scene::new(CLOSED);
    let Scene { node, wire, alice, .. } = &scene;
    let (bob, carol, mallory) = (Peer::new(key(2)), Peer::new(key(3)), Peer::new(key(4)));
    let (dave, other) = (key(5), key(6));
    let root = scene.root(bob.did());
    let to_carol = grant(&bob.key, carol.did(), alice.did());

    // What is right runs, so that nothing below is refused for another reason.
    let honest = [root.clone(), to_carol.clone()];
    let receipt = ran(carol.asks(node, wire, &honest));
    let granted = honest.iter().map(|p| *p.id()).collect();
    assert_eq!(receipt.payload().authority, actum_model::Authority::Granted(granted));

    // Spliced: a link of another chain in place of one's own, or of one's own in another's.
    let to_dave = scene.root(dave.did());
    refused(carol.asks(node, wire, &[to_dave, to_carol.clone()]), "bad-proof", "used by");
    let others = grant(&other, bob.did(), other.did());
    refused(carol.asks(node, wire, &[others.clone(), to_carol.clone()]), "bad-proof", "subject");
    refused(carol.asks(node, wire, &[to_carol.clone(), root.clone()]), "bad-proof", "");
    refused(carol.asks(node, wire, std::slice::from_ref(&to_carol)), "bad-proof", "subject");
    refused(carol.asks(node, wire, &[root.clone(), root.clone(), to_carol.clone()]), "bad-proof", "used by");

    // Subjects swapped: another's authority under Alice's name, and Alice's under another's.
    let mine = grant(&mallory.key, mallory.did(), alice.did());
    refused(mallory.asks(node, wire, std::slice::from_ref(&mine)), "bad-proof", "subject");
    let mut swapped = wire.invocation(mallory.did(), std::slice::from_ref(&mine));
    swapped.sub = alice.did();
    let forged = mallory.send(node, wire, &invoke(&swapped, &mallory.key), std::slice::from_ref(&mine));
    refused(forged, "bad-proof", "subject");
    let elsewhere = grant(&other, mallory.did(), other.did());
    refused(mallory.asks(node, wire, std::slice::from_ref(&elsewhere)), "not-allowed", "nobody to this node");
    swapped.prf = vec![*elsewhere.id()];
    refused(mallory.send(node, wire, &invoke(&swapped, &mallory.key), &[elsewhere]), "bad-proof", "subject");
    swapped.prf.clear();
    refused(mallory.send(node, wire, &invoke(&swapped, &mallory.key), &[]), "not-allowed", "no grant");

    // Audiences swapped: Bob's grant in Mallory's hand, Bob's words from Mallory's mouth, words for another node.
    refused(mallory.asks(node, wire, std::slice::from_ref(&root)), "bad-proof", "used by");
    let bobs = wire.invocation(bob.did(), std::slice::from_ref(&root));
    let stolen = mallory.send(node, wire, &invoke(&bobs, &bob.key), std::slice::from_ref(&root));
    refused(stolen, "bad-request", "another's");
    let mut astray = wire.invocation(bob.did(), std::slice::from_ref(&root));
    astray.aud = Some(other.did());
    let astray = bob.send(node, wire, &invoke(&astray, &bob.key), std::slice::from_ref(&root));
    refused(astray, "bad-request", "another provider");
    let mut forged = wire.invocation(bob.did(), std::slice::from_ref(&root));
    forged.iss = bob.did();
    let forged = bob.send(node, wire, &invoke(&forged, &mallory.key), std::slice::from_ref(&root));
    refused(forged, "bad-request", "signature");

    // Another command than was given, and one that nobody gave.
    let reads = Delegation {
        cmd: "/actum/read".parse().expect("a command"),
        ..delegation(alice, bob.did(), Some(alice.did()))
    };
    refused(bob.asks(node, wire, &[sign(reads, alice)]), "bad-proof", "/actum/read");
    let mut other_command = wire.invocation(bob.did(), std::slice::from_ref(&root));
    other_command.cmd = "/actum/run/more".parse().expect("a command");
    let other_command = bob.send(node, wire, &invoke(&other_command, &bob.key), std::slice::from_ref(&root));
    refused(other_command, "bad-request", "/actum/run/more");

    // A powerline is no root; as a later link it hands on what there is.
    let powerline = sign(delegation(alice, bob.did(), None), alice);
    refused(bob.asks(node, wire, &[powerline]), "bad-proof", "names no subject");
    let powerline = sign(delegation(&bob.key, carol.did(), None), &bob.key);
    ran(carol.asks(node, wire, &[root.clone(), powerline.clone()]));
    refused(carol.asks(node, wire, &[powerline, root.clone()]), "bad-proof", "");

    // A proof that is nowhere, one that nobody named, one twice.
    let unknown = scene.root(bob.did());
    let invocation = wire.invocation(bob.did(), std::slice::from_ref(&unknown));
    refused(bob.send(node, wire, &invoke(&invocation, &bob.key), &[]), "bad-proof", "not at hand");
    let invocation = wire.invocation(bob.did(), std::slice::from_ref(&root));
    let more = [root.clone(), unknown];
    refused(bob.send(node, wire, &invoke(&invocation, &bob.key), &more), "bad-request", "does not name");

    // Other arguments than were signed.
    let swapped = wire.with_args(&json!(["another text"])).args;
    refused(bob.asks_with(node, wire, &swapped, std::slice::from_ref(&root)), "bad-request", "arguments");
    ran(bob.asks(node, wire, std::slice::from_ref(&root)));
}

#[test]
fn a_grant_that_says_more_than_the_one_above_is_refused_with_the_clause() {
    let scene = Scene::new(CLOSED);
    let Scene { node, wire, alice, .. } = &scene;
    let (bob, carol) = (Peer::new(key(2)), Peer::new(key(3)));
    let small = wire.with_fuel(1_000_000);
    let root = bounded(alice, bob.did(), alice.did(), vec![fuel(50_000_000)]);
    let narrow = bounded(&bob.key, carol.did(), alice.did(), vec![fuel(2_000_000)]);
    let silent = grant(&bob.key, carol.did(), alice.did());
    let wide = bounded(&bob.key, carol.did(), alice.did(), vec![fuel(60_000_000)]);
    ran(carol.asks(node, &small, &[root.clone(), narrow.clone()]));
    ran(carol.asks(node, &small, &[root.clone(), silent.clone()]));
    let says = "limits.fuel: 60M fuel where the grant above gives 50M fuel";
    refused(carol.asks(node, &small, &[root.clone(), wide]), "bad-proof", says);
    let later = Delegation {
        exp: Some(clock::now_secs() + 7_200),
        ..delegation(&bob.key, carol.did(), Some(alice.did()))
    };
    refused(carol.asks(node, &small, &[root.clone(), sign(later, &bob.key)]), "bad-proof", "widens until");
    let never = Delegation { exp: None, ..delegation(&bob.key, carol.did(), Some(alice.did())) };
    ran(carol.asks(node, &small, &[root.clone(), sign(never, &bob.key)]));
    // Hidden where no clause is read, it gives nothing all the same.
    let sly = Statement::Or(vec![fuel(60_000_000), fuel(60_000_000)]);
    let sly = bounded(&bob.key, carol.did(), alice.did(), vec![sly]);
    let large = wire.with_fuel(55_000_000);
    refused(carol.asks(node, &large, &[root.clone(), sly]), "not-allowed", ".limits.fuel");
    // Carol is held to each of the two.
    let between = wire.with_fuel(3_000_000);
    refused(carol.asks(node, &between, &[root.clone(), narrow]), "not-allowed", "2000000");
    refused(carol.asks(node, &large, &[root, silent]), "not-allowed", "50000000");
}

#[test]
fn a_chain_has_eight_links_and_a_policy_its_bounds() {
    let scene = Scene::new(CLOSED);
    let Scene { node, wire, alice, .. } = &scene;
    let keys: Vec<_> = (0..=u8::try_from(MAX_CHAIN).expect("few")).map(|n| key(20 + n)).collect();
    let mut chain = vec![scene.root(keys[0].did())];
    for pair in keys.windows(2) {
        chain.push(grant(&pair[0], pair[1].did(), alice.did()));
    }
    assert_eq!(chain.len(), MAX_CHAIN + 1);
    let (eighth, ninth) = (Peer::new(keys[MAX_CHAIN - 1].clone()), Peer::new(keys[MAX_CHAIN].clone()));
    ran(eighth.asks(node, wire, &chain[..MAX_CHAIN]));
    let invocation = invoke(&wire.invocation(ninth.did(), &chain), &ninth.key);
    refused(ninth.send(node, wire, &invocation, &chain[..MAX_CHAIN]), "bad-request", "9 proofs");
    // Nor does leaving one out help; and nine in one message are none: it is not read to its end.
    let without: Vec<_> = chain[..4].iter().chain(&chain[5..]).cloned().collect();
    refused(ninth.asks(node, wire, &without), "bad-proof", "used by");
    let proofs = chain.iter().map(|p| p.bytes().to_vec()).collect();
    let lost = ninth.try_send(node, wire, &invocation, proofs).unwrap_err();
    assert!(lost.to_string().contains("at most 8"), "{lost}");

    // Bombs: policies that would look at more than there is time for, over arguments as large as they may be.
    let bob = Peer::new(key(2));
    let text = "a".repeat(1 << 20);
    let big = wire.with_args(&json!([text]));
    let like = |n| Statement::Like(selector(".input.text"), pattern(n));
    let all = (0..12).fold(Statement::Ne(selector("."), (-1).into()), |inner, _| {
        Statement::All(selector("."), Box::new(inner))
    });
    let likes = Statement::Or(vec![like(10); 100]);
    let bombs = [vec![likes.clone()], vec![Statement::Not(Box::new(likes))], vec![all; 16]];
    for bomb in bombs {
        let bomb = bounded(alice, bob.did(), alice.did(), bomb);
        let start = Instant::now();
        let refusal = refusal(bob.asks(node, &big, std::slice::from_ref(&bomb)));
        // A megabyte has to get there, too, on a machine that may have much else to do.
        assert!(start.elapsed() < Duration::from_secs(25), "{refusal} took {:?}", start.elapsed());
        assert_eq!(refusal.code.name(), "not-allowed", "{refusal}");
    }
    // Too many statements, or too deep, are no delegation.
    let many = bounded(alice, bob.did(), alice.did(), vec![fuel(1_000); 257]);
    refused(bob.asks(node, wire, &[many]), "bad-proof", "256");
    let deep = (0..17).fold(fuel(1_000), |inner, _| Statement::Not(Box::new(inner)));
    let deep = bounded(alice, bob.did(), alice.did(), vec![deep]);
    refused(bob.asks(node, wire, &[deep]), "bad-proof", "16");
    ran(bob.asks(node, &big, &[scene.root(bob.did())]));
}

fn pattern(n: usize) -> actum_model::ucan::policy::Pattern {
    match Statement::like(selector("."), "*a*b".repeat(n)) {
        Statement::Like(_, pattern) => pattern,
        other => panic!("{other}"),
    }
}

#[test]
fn one_flipped_bit_anywhere_is_refused() {
    let scene = Scene::new(CLOSED);
    let Scene { node, wire, .. } = &scene;
    let bob = Peer::new(key(2));
    let root = scene.root(bob.did());
    let flip = |bytes: &[u8], bit: usize| {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    };
    // Every eleventh bit or so: all places and all bits of a byte.
    let bits = |bytes: &[u8]| (0..bytes.len() * 8).step_by(59).collect::<Vec<_>>();
    let invocation = invoke(&wire.invocation(bob.did(), std::slice::from_ref(&root)), &bob.key);
    for bit in bits(&invocation) {
        let sent = bob.send(node, wire, &flip(&invocation, bit), std::slice::from_ref(&root));
        refused(sent, "bad-request", "");
    }
    for bit in bits(root.bytes()) {
        let other = flip(root.bytes(), bit);
        let sent = bob.try_send(node, wire, &invocation, vec![other.clone()]);
        refused(sent.expect("an answer"), "bad-request", "does not name");
        // Nor where the invocation names what it has become.
        let mut named = wire.invocation(bob.did(), &[]);
        named.prf = vec![DelegationId::of(&other)];
        let sent = bob.try_send(node, wire, &invoke(&named, &bob.key), vec![other]);
        refused(sent.expect("an answer"), "bad-proof", "");
    }
    ran(bob.send(node, wire, &invocation, &[root]));
}

#[test]
fn clocks_may_differ_by_a_minute_and_no_more() {
    let scene = Scene::new(CLOSED);
    let Scene { node, wire, alice, .. } = &scene;
    let bob = Peer::new(key(2));
    let root = scene.root(bob.did());
    // What gets worse with time is forty seconds within the minute, and what gets better fifty beyond it, so that a slow machine
    // changes nothing. The rest is ten, and where exactly the minute ends is for the tests of whoever judges by it.
    let holds = |from: Option<i64>, until: Option<i64>| {
        let at = |by: i64| clock::now_secs().checked_add_signed(by);
        let held = Delegation {
            nbf: from.and_then(at),
            exp: until.and_then(at),
            ..delegation(alice, bob.did(), Some(alice.did()))
        };
        bob.asks(node, wire, &[sign(held, alice)])
    };
    ran(holds(None, Some(-20)));
    refused(holds(None, Some(-70)), "expired", "proof 0");
    ran(holds(Some(50), Some(100)));
    refused(holds(Some(110), Some(160)), "too-early", "proof 0");

    let made = |iat: i64, exp: i64| {
        let mut invocation = wire.invocation(bob.did(), std::slice::from_ref(&root));
        let now = clock::now_secs();
        invocation.iat = now.checked_add_signed(iat);
        invocation.exp = now.checked_add_signed(exp);
        bob.send(node, wire, &invoke(&invocation, &bob.key), std::slice::from_ref(&root))
    };
    ran(made(-100, -20));
    refused(made(-100, -70), "expired", "the invocation");
    ran(made(50, 100));
    refused(made(110, 160), "too-early", "the invocation");
    // Nobody can have a node remember for long.
    let life = i64::try_from(MAX_INVOCATION_LIFE).expect("a life");
    ran(made(0, life));
    refused(made(0, life + 1), "bad-request", "600");
    refused(made(0, -1), "bad-request", "");
    for time in ["iat", "exp"] {
        let mut endless = wire.invocation(bob.did(), std::slice::from_ref(&root));
        match time {
            "iat" => endless.iat = None,
            _ => endless.exp = None,
        }
        let sent = bob.send(node, wire, &invoke(&endless, &bob.key), std::slice::from_ref(&root));
        refused(sent, "bad-request", time);
    }
}

#[test]
fn an_invocation_is_served_once_also_after_the_node_was_killed() {
    let scene = Scene::new(CLOSED);
    let bob = Peer::new(key(2));
    let root = scene.root(bob.did());
    let proofs = std::slice::from_ref(&root);
    let first = scene.wire.invocation(bob.did(), proofs);
    let bytes = invoke(&first, &bob.key);
    ran(bob.send(&scene.node, &scene.wire, &bytes, proofs));
    refused(bob.send(&scene.node, &scene.wire, &bytes, proofs), "already-served", "");
    // Another invocation with its nonce is no other.
    let mut same_nonce = scene.wire.invocation(bob.did(), proofs);
    same_nonce.nonce = first.nonce.clone();
    let same_nonce = invoke(&same_nonce, &bob.key);
    refused(bob.send(&scene.node, &scene.wire, &same_nonce, proofs), "already-served", "");
    // Nor are two at once.
    let race = invoke(&scene.wire.invocation(bob.did(), proofs), &bob.key);
    let (scene_ref, race_ref) = (&scene, &race);
    let answers = std::thread::scope(|scope| {
        let sent: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(move || {
                    let bob = Peer::new(key(2));
                    bob.send(&scene_ref.node, &scene_ref.wire, race_ref, proofs)
                })
            })
            .collect();
        sent.into_iter().map(|sent| sent.join().expect("it ends")).collect::<Vec<_>>()
    });
    let served = answers.iter().filter(|a| matches!(a, Response::Done { .. })).count();
    assert_eq!(served, 1, "{answers:?}");

    let killed = scene.again(drop);
    for bytes in [&bytes, &same_nonce, &race] {
        refused(bob.send(&killed.node, &killed.wire, bytes, proofs), "already-served", "");
    }
    let carol = Peer::new(key(3));
    let theirs = killed.root(carol.did());
    let mut same = killed.wire.invocation(carol.did(), std::slice::from_ref(&theirs));
    same.nonce = first.nonce.clone();
    // A nonce is its sender's: nobody uses up another's.
    ran(carol.send(&killed.node, &killed.wire, &invoke(&same, &carol.key), &[theirs]));

    // What one provider was asked, another does not do.
    killed.stage.publish("second", "text-stats");
    let second = killed.stage.node_with("second", "[[offer]]\nrelease = \"text-stats\"\npublic = true\n");
    refused(bob.send(&second, &killed.wire, &bytes, proofs), "bad-request", "another provider");
}

#[test]
fn a_grant_that_expires_in_the_queue_is_never_run() {
    let stage = Stage::new();
    let web = Web::new();
    stage.publish("alice", "text-stats");
    stage.publish_guest("alice", "fetcher", "[\"http\"]");
    let release = stage.publish("alice", "text-stats");
    let alice = Home::open(&stage.path().join("alice")).expect("a home").key().expect("a key").clone();
    let wire = Wire::new(&stage, "alice", &release, "count-words", &json!(["one two three"]));
    let node = stage.node_with(
        "alice",
        &format!(
            "parallel = 1\nclock_skew_seconds = 0\n{CLOSED}[[offer]]\nrelease = \"fetcher\"\npublic = true\nallow = [\"{}\"]\n",
            web.permission()
        ),
    );
    let address = node.address("tcp").to_owned();
    let bob = Peer::new(key(2));
    std::thread::scope(|scope| {
        let ahead = scope.spawn(|| web.fetch(&stage, "you", &address, "follow"));
        let held = web.request();
        let end = clock::now_secs() + 2;
        let short = Delegation { exp: Some(end), ..delegation(&alice, bob.did(), Some(alice.did())) };
        let chain = [sign(short, &alice)];
        let long = [grant(&alice, bob.did(), alice.did())];
        let mut brief = wire.invocation(bob.did(), &long);
        brief.exp = Some(end);
        let cases = [(wire.invocation(bob.did(), &chain), chain, "proof 0"), (brief, long, "the invocation")];
        let waits: Vec<_> = cases
            .into_iter()
            .map(|(invocation, proofs, says)| {
                let (node, wire, bob) = (&node, &wire, &bob);
                scope.spawn(move || {
                    let sent = bob.send(node, wire, &invoke(&invocation, &bob.key), &proofs);
                    refused(sent, "expired", says);
                })
            })
            .collect();
        while clock::now_secs() <= end {
            std::thread::sleep(Duration::from_millis(50));
        }
        web.answer(held, "200 OK", &[]);
        ahead.join().expect("it ends").exits(0);
        waits.into_iter().for_each(|wait| wait.join().expect("it ends"));
    });
    node.stop();
    let kept = stage.actum("alice", &["--format", "json", "receipt", "list"]).exits(0).json();
    let functions: Vec<_> = kept.as_array().expect("a list").iter().map(|r| r["function"].clone()).collect();
    assert_eq!(functions.len(), 1, "only what was ahead ran: {functions:?}");
}

#[test]
fn an_action_that_outlives_its_grant_is_withdrawn_while_it_waits() {
    let stage = Stage::new();
    let web = Web::new();
    stage.publish_guest("alice", "fetcher", "[\"http\"]");
    let home = Home::open(&stage.path().join("alice")).expect("a home");
    let alice = home.key().expect("a key").clone();
    let release = home.store().releases().expect("a store")[0].id().to_string();
    let permission = web.permission();
    let config =
        format!("clock_skew_seconds = 0\n[[offer]]\nrelease = \"fetcher\"\nallow = [\"{permission}\"]\n");
    let url = json!([format!("{}/", web.origin())]);
    let mut wire = Wire::new(&stage, "alice", &release, "follow", &url);
    wire.choices.permissions = BTreeSet::from([permission.parse().expect("a permission")]);
    let node = stage.node_with("alice", &config);
    let bob = Peer::new(key(2));
    // Long enough for a busy machine to begin, and shorter than a request may take.
    let end = clock::now_secs() + 15;
    let short = Delegation { exp: Some(end), ..delegation(&alice, bob.did(), Some(alice.did())) };
    let receipt = std::thread::scope(|scope| {
        let asked = scope.spawn(|| ran(bob.asks(&node, &wire, &[sign(short, &alice)])));
        // It is never answered.
        let _held = web.request();
        asked.join().expect("it ends")
    });
    assert_eq!(receipt.payload().outcome, Outcome::Withdrawn(Withdrawal::Expired));
    assert!(web.is_silent());
    node.stop();
    stage.replays("alice", &receipt.id().to_string());
}

#[test]
fn a_budget_is_the_roots_however_often_it_is_handed_on() {
    let scene = Scene::new(CLOSED);
    let Scene { node, wire, alice, .. } = &scene;
    let (bob, wire) = (Peer::new(key(2)), wire.with_fuel(10_000_000));
    let spent = Statement::Le(selector(".spent.actions"), 2.into());
    let root = bounded(alice, bob.did(), alice.did(), vec![spent]);
    // A new grant to a new key each time, with ends of their own, so that nothing but the root is the same.
    let many = (0..3).map(|n| {
        let to = Peer::new(key(30 + n));
        let child = Delegation {
            exp: Some(clock::now_secs() + 1_000 + u64::from(n)),
            ..delegation(&bob.key, to.did(), Some(alice.did()))
        };
        to.asks(node, &wire, &[root.clone(), sign(child, &bob.key)])
    });
    let mut many = many.collect::<Vec<_>>().into_iter();
    ran(many.next().expect("one"));
    ran(many.next().expect("two"));
    let over = refused(many.next().expect("three"), "exhausted", "spent.actions");
    assert_eq!(over.retry_after_ms, None);
    refused(bob.asks(node, &wire, std::slice::from_ref(&root)), "exhausted", "spent.actions");
    // What would count in another way is not counted wrongly.
    let spent = Statement::Ge(selector(".spent.actions"), 0.into());
    for sly in [
        Statement::Not(Box::new(Statement::Gt(selector(".spent.actions"), 1.into()))),
        Statement::Or(vec![Statement::Le(selector(".spent.actions"), 1.into()), spent]),
    ] {
        let sly = bounded(alice, bob.did(), alice.did(), vec![sly]);
        refused(bob.asks(node, &wire, &[sly]), "not-allowed", ".spent");
    }
}

#[test]
fn a_budget_is_not_forgotten_with_the_short_lived_grant_it_was_used_through() {
    let scene = Scene::new(&format!("clock_skew_seconds = 0\n{CLOSED}"));
    let Scene { node, wire, alice, .. } = &scene;
    let (bob, wire) = (Peer::new(key(2)), wire.with_fuel(10_000_000));
    let root =
        bounded(alice, bob.did(), alice.did(), vec![Statement::Le(selector(".spent.actions"), 1.into())]);
    let through = |n: u8, life: u64| {
        let to = Peer::new(key(30 + n));
        let exp = Some(clock::now_secs() + life);
        let child = Delegation { exp, ..delegation(&bob.key, to.did(), Some(alice.did())) };
        (to, [root.clone(), sign(child, &bob.key)])
    };
    // On a busy machine it may be over before it is looked at: then one that lives longer does, since what was refused costs
    // nothing.
    let mut life = 2;
    loop {
        let (first, chain) = through(0, life);
        match first.asks(node, &wire, &chain) {
            Response::Refused { refusal } if refusal.code.name() == "expired" && life < 50 => life *= 3,
            answer => {
                ran(answer);
                break;
            }
        }
    }
    // Long enough for what ended to be forgotten: a node tidies every five seconds.
    std::thread::sleep(Duration::from_secs(life + 7));
    let (second, chain) = through(1, 1_000);
    refused(second.asks(node, &wire, &chain), "exhausted", "spent.actions");
}

#[test]
fn whoever_is_denied_is_denied_by_all_their_keys() {
    let (old, new, carol) = (Peer::new(key(2)), Peer::new(key(7)), Peer::new(key(3)));
    let scene = Scene::new(&format!("deny = [\"{}\"]\n{CLOSED}", new.did()));
    let Scene { node, wire, alice, .. } = &scene;
    let chain = [scene.root(old.did()), grant(&old.key, carol.did(), alice.did())];
    ran(carol.asks(node, wire, &chain));
    refused(new.asks(node, wire, &[scene.root(new.did())]), "not-allowed", "denies");
    let keep = chain.iter().map(|p| *p.id()).collect();
    let rotation = Signed::sign(Rotation::new(&old.key, &new.key, clock::now_secs(), keep), &old.key);
    let heard = new.notifies(node, Notice::Rotation { rotation: rotation.bytes().to_vec() });
    assert_eq!(heard, (1, vec![]));
    refused(old.asks(node, wire, &chain[..1]), "not-allowed", "denies");
    refused(carol.asks(node, wire, &chain), "not-allowed", "denies");
}

#[test]
fn nobody_but_those_above_revokes_over_the_wire() {
    let scene = Scene::new(CLOSED);
    let Scene { node, wire, alice, .. } = &scene;
    let (bob, carol, mallory) = (Peer::new(key(2)), Peer::new(key(3)), Peer::new(key(4)));
    let chain = [scene.root(bob.did()), grant(&bob.key, carol.did(), alice.did())];
    let powerline = [scene.root(bob.did()), sign(delegation(&bob.key, carol.did(), None), &bob.key)];
    let notice = |revocation: &Signed<Invocation>, path: &[Proof]| Notice::Revocation {
        revocation: revocation.bytes().to_vec(),
        witness: path.iter().map(|p| p.bytes().to_vec().into()).collect(),
    };
    // Of a path she is not in, she makes none; what Bob made, with her name in it, is not his.
    assert!(Revocation::make(&chain, None, &mallory.key).is_err());
    let bobs = Revocation::make(&chain, None, &bob.key).expect("his");
    let mut hers = bobs.payload().clone();
    hers.iss = mallory.did();
    hers.sub = mallory.did();
    let (news, why) = mallory.notifies(node, notice(&Signed::sign(hers, &mallory.key), &chain));
    assert!(news == 0 && why.len() == 1, "{why:?}");
    let mut forged = bobs.payload().clone();
    forged.iat = Some(clock::now_secs());
    let (news, why) = mallory.notifies(node, notice(&Signed::sign(forged, &mallory.key), &chain));
    assert!(news == 0 && why.len() == 1, "{why:?}");
    // A path of her own that ends in his powerline is a path; it says nothing about Alice's.
    let own = [grant(&mallory.key, bob.did(), mallory.did()), powerline[1].clone()];
    let sly = Revocation::make(&own, None, &mallory.key).expect("a path");
    mallory.notifies(node, notice(&sly, &own));
    // Nor does whoever was given it.
    assert!(Revocation::make(&chain, None, &carol.key).is_err());
    ran(carol.asks(node, wire, &chain));
    ran(carol.asks(node, wire, &powerline));
    // Bob does, whoever carries it, and so does Alice; what she takes back takes all that rests on it.
    assert_eq!(mallory.notifies(node, notice(&bobs, &chain)), (1, vec![]));
    assert_eq!(mallory.notifies(node, notice(&bobs, &chain)), (0, vec![]));
    refused(carol.asks(node, wire, &chain), "revoked", "");
    ran(carol.asks(node, wire, &powerline));
    ran(bob.asks(node, wire, &chain[..1]));
    let root = Revocation::make(&powerline[..1], None, alice).expect("hers");
    assert_eq!(mallory.notifies(node, notice(&root, &powerline[..1])), (1, vec![]));
    refused(carol.asks(node, wire, &powerline), "revoked", "");
    refused(bob.asks(node, wire, &powerline[..1]), "revoked", "");
}

#[test]
fn a_rotation_needs_both_keys_and_the_first_one_counts() {
    let scene = Scene::new(CLOSED);
    let Scene { node, wire, alice, .. } = &scene;
    let (bob, thief) = (Peer::new(key(2)), Peer::new(key(4)));
    let new = Peer::new(key(7));
    let root = scene.root(bob.did());
    let powerline = sign(
        Delegation {
            cmd: actum_model::ucan::Command::top(),
            exp: None,
            ..delegation(&bob.key, new.did(), None)
        },
        &bob.key,
    );
    let keep = BTreeSet::from([*powerline.id()]);
    let notice = |rotation: Rotation, by: &SecretKey| Notice::Rotation {
        rotation: Signed::sign(rotation, by).bytes().to_vec(),
    };
    let now = clock::now_secs();
    // Made by neither, or by one of the two alone.
    let unsigned = Rotation::new(&bob.key, &thief.key, now, keep.clone());
    let (news, why) = thief.notifies(node, notice(unsigned, &thief.key));
    assert!(news == 0 && why.len() == 1, "{why:?}");
    let unwilling = Rotation { to: alice.did(), ..Rotation::new(&bob.key, &thief.key, now, keep.clone()) };
    let (news, why) = thief.notifies(node, notice(unwilling, &bob.key));
    assert!(news == 0 && why.len() == 1, "{why:?}");
    ran(bob.asks(node, wire, std::slice::from_ref(&root)));

    let rotation = notice(Rotation::new(&bob.key, &new.key, now, keep.clone()), &bob.key);
    assert_eq!(new.notifies(node, rotation), (1, vec![]));
    // Who has the old key now comes second, asks in vain, and hands on nothing.
    let (news, why) =
        thief.notifies(node, notice(Rotation::new(&bob.key, &thief.key, now - 9, keep), &bob.key));
    assert!(news == 0 && why[0].contains("successor"), "{why:?}");
    refused(bob.asks(node, wire, std::slice::from_ref(&root)), "revoked", "successor");
    let stolen = [root.clone(), grant(&bob.key, thief.did(), alice.did())];
    refused(thief.asks(node, wire, &stolen), "revoked", "succeeded");
    ran(new.asks(node, wire, &[root, powerline]));
}
