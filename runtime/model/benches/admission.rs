//! What it costs to validate a chain of delegations over the signatures in it: ratios of interleaved medians, so that a
//! busy machine slows both sides.
//!
//! `cargo bench -p actum-model --bench admission`.
//!
//! A chain is three delegations of a grant as people make them, from bytes: decoding, ids, signatures, principals, time,
//! revocations and policies. Bare is three strict Ed25519 verifications of messages as long, with the points of the
//! issuers' keys decompressed; a chain *of strangers* decompresses its keys, and so does what it is compared with. A chain seen
//! before is the same bytes again, whose signatures are remembered.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark stops at its first surprise")]

use actum_model::{
    Delegation, DelegationId, Did, SecretKey, Signed,
    ucan::{
        Args, Budget, Chain, Known, Policy, Proof,
        policy::{Selector, Statement},
    },
};
use ipld_core::ipld::Ipld;
use rustix::time::{ClockId, clock_gettime};
use std::{collections::BTreeMap, hint::black_box, time::Duration};

const NOW: u64 = 1_800_000_000;
const SKEW: u64 = 60;
const ROUNDS: usize = 400;
/// How often each thing is done in one turn.
const BATCH: u32 = 4;
/// The delegations of the chain.
const DELEGATIONS: u8 = 3;

/// The processor time this thread has used.
fn used() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap(), u32::try_from(now.tv_nsec).unwrap())
}

/// The medians of several things done in turn.
fn compare<const N: usize>(mut things: [&mut dyn FnMut(); N]) -> [Duration; N] {
    let mut times = [const { Vec::new() }; N];
    for round in 0..ROUNDS + ROUNDS / 10 {
        for (thing, times) in things.iter_mut().zip(&mut times) {
            let start = used();
            (0..BATCH).for_each(|_| thing());
            if round >= ROUNDS / 10 {
                times.push((used() - start) / BATCH);
            }
        }
    }
    times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    })
}

fn line(name: &str, ours: Duration, theirs: Duration, goal: Option<f64>) {
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    let goal = goal.map_or_else(String::new, |g| {
        format!("  goal {g:.2}: {}", if ratio <= g { "met" } else { "MISSED" })
    });
    println!("{name:<58} {ratio:>7.3}x  {ours:>10.1?} over {theirs:>10.1?}{goal}");
}

fn at(selector: &str) -> Selector {
    selector.parse().unwrap()
}

/// Which capability, which functions, which arguments, how much of it, and how often.
fn policy(cut: i128) -> Policy {
    let function = |name: &str| Statement::eq(at(".function"), name);
    Policy::new(vec![
        Statement::eq(at(".author"), SecretKey::from_seed(&[90; 32]).did().to_string()),
        Statement::eq(at(".name"), "markdown"),
        Statement::or(vec![function("render"), function("outline")]),
        Statement::like(at(".input.title"), "Report *"),
        Statement::le(at(".limits.fuel"), 50_000_000 / cut),
        Statement::le(at(".limits.memory_bytes"), (64_i128 << 20) / cut),
        Statement::all(
            at(".permissions"),
            Statement::and(vec![
                Statement::eq(at(".http.origin"), "https://api.example.com"),
                Statement::le(at(".http.body_bytes"), 65_536),
            ]),
        ),
        Statement::le(at(".spent.actions"), 1_000 / cut),
        Statement::le(at(".spent.fuel"), 50_000_000_000_i128 / cut),
        Statement::le(at(".minute.actions"), 60 / cut),
    ])
}

fn map<const N: usize>(entries: [(&str, Ipld); N]) -> BTreeMap<String, Ipld> {
    entries.map(|(k, v)| (k.to_owned(), v)).into()
}

fn args() -> Args {
    let http = map([
        ("origin", "https://api.example.com".into()),
        ("methods", Ipld::List(vec!["GET".into()])),
        ("body_bytes", 65_536.into()),
        ("timeout_ms", 5_000.into()),
    ]);
    let used = |actions: i128| {
        Ipld::Map(map([("actions", actions.into()), ("fuel", (actions * 10_000_000).into())]))
    };
    let limits = map([("fuel", 10_000_000.into()), ("memory_bytes", (16_i128 << 20).into())]);
    map([
        ("author", SecretKey::from_seed(&[90; 32]).did().to_string().into()),
        ("name", "markdown".into()),
        ("version", "1.2.0".into()),
        ("function", "render".into()),
        ("input", Ipld::Map(map([("title", "Report of the week".into())]))),
        ("limits", Ipld::Map(limits)),
        ("permissions", Ipld::List(vec![Ipld::Map(map([("http", Ipld::Map(http))]))])),
        ("spent", used(12)),
        ("minute", used(2)),
    ])
}

/// A key, a message and a signature.
type Bare = (Did, Vec<u8>, Vec<u8>);

/// A chain's principals: the subject, and whoever was delegated to.
fn people(seed: u8) -> Vec<SecretKey> {
    (0..=DELEGATIONS).map(|n| SecretKey::from_seed(&[seed, n].repeat(16).try_into().unwrap())).collect()
}

/// The tokens of a chain from the first of these people to the last.
fn tokens(people: &[SecretKey]) -> Vec<Vec<u8>> {
    let links = people.windows(2).enumerate();
    let token = |(n, pair): (usize, &[SecretKey])| {
        let delegation = Delegation {
            iss: pair[0].did(),
            aud: pair[1].did(),
            sub: Some(people[0].did()),
            cmd: "/actum/run".parse().unwrap(),
            pol: policy(1 + n as i128),
            nonce: vec![n as u8; 12].into(),
            meta: None,
            nbf: Some(NOW - 1_000),
            exp: Some(NOW + 86_400),
        };
        Signed::try_sign(delegation, &pair[0]).unwrap().bytes().to_vec()
    };
    links.map(token).collect()
}

/// All that is asked of a chain, its bytes read by `read`.
fn validate(tokens: &[Vec<u8>], ends: (&Did, &Did), args: &Args, mut read: impl FnMut(&[u8]) -> Proof) {
    let proofs = tokens.iter().map(|t| read(t)).collect();
    let chain = Chain::of(proofs, ends.0, ends.1).unwrap();
    chain.covers(&"/actum/run".parse().unwrap()).unwrap();
    chain.at(NOW, SKEW).unwrap();
    chain.standing(&|_: &DelegationId, _: &[Did]| None).unwrap();
    chain.judge(|_, _| args, &mut Budget::default()).unwrap();
    black_box(chain);
}

fn main() {
    let args = args();
    let one = people(1);
    let chain = tokens(&one);
    let ends = (&one[0].did(), &one[usize::from(DELEGATIONS)].did());
    // As long as the part of each token that is signed, by the same keys.
    let bare: Vec<Bare> = one
        .iter()
        .zip(&chain)
        .map(|(key, token)| {
            let message = token[67..].to_vec();
            let signature = key.sign(&message).to_vec();
            (key.did(), message, signature)
        })
        .collect();
    let lengths: Vec<usize> = chain.iter().map(Vec::len).collect();
    println!(
        "{DELEGATIONS} delegations of {lengths:?} bytes, {} statements each",
        policy(1).statements.len()
    );

    let mut known = Known::new();
    for token in &chain {
        known.read(token).unwrap();
    }
    let others: Vec<_> = (2..22).map(|seed| (people(seed), tokens(&people(seed)))).collect();
    let stranger = std::cell::Cell::new(0);
    let next = || {
        stranger.set((stranger.get() + 1) % others.len());
        &others[stranger.get()]
    };
    let keys: Vec<Vec<Did>> = others.iter().map(|(p, _)| p.iter().map(SecretKey::did).collect()).collect();
    let signed: Vec<Vec<Bare>> = others
        .iter()
        .zip(&keys)
        .map(|((_, tokens), keys)| {
            keys.iter().zip(tokens).map(|(k, t)| (*k, t[67..].to_vec(), t[3..67].to_vec())).collect()
        })
        .collect();
    let turn = std::cell::Cell::new(0);
    let [signatures, fresh, seen] = compare([
        &mut || bare.iter().for_each(|(did, message, signature)| did.verify(message, signature).unwrap()),
        &mut || validate(&chain, ends, &args, |bytes| Proof::read(bytes).unwrap()),
        &mut || validate(&chain, ends, &args, |bytes| known.read(bytes).unwrap()),
    ]);
    // Apart from the others: strangers drive out the keys that were met lately.
    let [decompressed, strangers] = compare([
        &mut || {
            turn.set((turn.get() + 1) % signed.len());
            signed[turn.get()]
                .iter()
                .for_each(|(did, message, signature)| did.verify(message, signature).unwrap());
        },
        &mut || {
            let (_, tokens) = next();
            let dids = &keys[stranger.get()];
            validate(tokens, (&dids[0], &dids[usize::from(DELEGATIONS)]), &args, |b| Proof::read(b).unwrap());
        },
    ]);
    line("a chain, over its signatures", fresh, signatures, Some(1.3));
    line("a chain seen before, over the first time", seen, fresh, Some(0.1));
    line("a chain of strangers, over its signatures", strangers, decompressed, None);
}
