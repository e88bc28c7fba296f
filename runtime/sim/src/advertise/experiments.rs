//! What the advertise plane comes to: as the network grows, and in one as small as can be run for real.

use super::{Conduct, Net, Setup, Walked, made_up, people::secret};
use crate::{Figures, Span, runs::NotRun};
use actum_discovery::{
    Lifetimes,
    advertise::{Key, LocalAddresses},
};
use actum_model::{Release, Signed};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, atomic::AtomicBool},
};

/// How long providers take to come, one after another; how long they have then; and how long their bytes are counted.
const COMING: Span = Span::from_seconds(600);
const SETTLING: Span = Span::from_seconds(600);
const COUNTED: Span = Span::from_seconds(600);
/// The nodes of a small network start within so long.
const STARTING: Span = Span::from_seconds(2);

/// A network in which some peers provide something of their own each, under two keys, that nobody else has; and then others
/// look for some of it, by its tag.
///
/// | figure | what |
/// |---|---|
/// | `found` | the share of lookups that found the one provider |
/// | `first_ms` | the median time until it was found, in milliseconds |
/// | `over_ms` | the median time until the lookup was over, in milliseconds |
/// | `first_round_trips`, `round_trips` | the same in round trips of the link's median |
/// | `asked` | the median number of peers that a lookup asked |
/// | `lookup_bytes` | the mean of what all sent for a lookup, in bytes |
/// | `registration_bytes` | bytes each peer sent in a minute, on average, for registrations; proofs apart |
/// | `proof_bytes` | the same for proofs of possession, their chunks included |
/// | `wrong` | ads given out that were none |
/// | `events` | events that were simulated |
pub fn scale(
    setup: Setup,
    peers: u32,
    providers: u32,
    lookups: u32,
    seed: u64,
) -> BTreeMap<&'static str, f64> {
    // Nobody stops it.
    scale_unless(setup, peers, providers, lookups, seed, &AtomicBool::new(false)).unwrap_or_default()
}

/// The same, looking now and then whether to stop.
///
/// # Errors
/// [`NotRun::Stopped`] when it was told to.
pub fn scale_unless(
    setup: Setup,
    peers: u32,
    providers: u32,
    lookups: u32,
    seed: u64,
    stop: &AtomicBool,
) -> Result<BTreeMap<&'static str, f64>, NotRun> {
    let mut net = Net::new(setup, seed);
    net.join_honest(peers);
    net.route();
    let mut theirs = Vec::new();
    for n in 0..providers.min(peers) {
        let name = format!("capability-{n}");
        let release = made_up(&name, &[&name]);
        if release.is_ok_and(|release| net.offer(n, &[release]).is_some()) {
            theirs.extend(net.did(n).map(|did| (did, Key::tag(&name))));
        }
        net.run_unless(Span::from_micros(COMING.micros() / u64::from(providers.max(1))), stop)?;
    }
    net.run_unless(SETTLING, stop)?;
    let before = net.bytes();
    net.run_unless(COUNTED, stop)?;
    let after = net.bytes();
    let minutes = COUNTED.seconds() / 60.0 * f64::from(peers.max(1));

    // Every seventh provider, so that those who came early and late are looked for.
    let wanted = (0..lookups as usize).filter_map(|n| theirs.get((n * 7) % theirs.len().max(1)).copied());
    let (dids, keys): (Vec<_>, Vec<_>) = wanted.unzip();
    let looked = net.look_for_each_unless(&keys, stop)?;
    let mut figures = Figures::default();
    for (did, looked) in dids.iter().zip(&looked) {
        if let Some(after) = looked.found.get(did) {
            figures.sample("first", after.millis());
        }
        figures.sample("found", f64::from(u8::from(looked.found.contains_key(did))));
        figures.sample("over", looked.took.map_or(0.0, Span::millis));
        figures.sample("asked", looked.asked as f64);
        figures.add("wrong", looked.wrong as f64);
    }
    let round_trip = (2.0 * setup.link.one_way.millis()).max(0.001);
    let (first, over) = (figures.quantile("first", 500), figures.quantile("over", 500));
    Ok(BTreeMap::from([
        ("found", figures.mean("found")),
        ("first_ms", first),
        ("over_ms", over),
        ("first_round_trips", first / round_trip),
        ("round_trips", over / round_trip),
        ("asked", figures.quantile("asked", 500)),
        ("lookup_bytes", (net.bytes().lookups - after.lookups) as f64 / looked.len().max(1) as f64),
        ("registration_bytes", (after.registrations - before.registrations) as f64 / minutes),
        ("proof_bytes", (after.proofs - before.proofs) as f64 / minutes),
        ("wrong", figures.get("wrong")),
        ("events", net.events() as f64),
    ]))
}

/// A network in which so many peers provide the same; and then others look for it, and for what nobody provides. What a lookup
/// of each comes to, in this order; see [`Walked`].
pub fn popular(setup: Setup, peers: u32, providers: u32, lookups: usize, seed: u64) -> [Walked; 2] {
    const WANTED: &str = "wanted";
    let mut net = Net::new(setup, seed);
    net.join_honest(peers);
    net.route();
    let release = made_up(WANTED, &[WANTED]);
    for n in 0..providers.min(peers) {
        if let Ok(release) = &release {
            net.offer(n, std::slice::from_ref(release));
        }
        net.run(Span::from_micros(COMING.micros() / u64::from(providers.max(1))));
    }
    net.run(SETTLING);
    let wanted = vec![Key::tag(WANTED); lookups];
    // Each for something else: how far it is to a key depends on who happens to be near it.
    let nothing = (0..lookups).map(|n| Key::tag(&format!("nothing-{n}"))).collect();
    [wanted, nothing].map(|keys: Vec<Key>| {
        let before = net.bytes().lookups;
        let looked = net.look_for_each(&keys);
        let bytes = net.bytes().lookups.saturating_sub(before);
        Walked::of(&looked, bytes, setup.link)
    })
}

/// A small network on one machine, as it can be run for real too: every provider offers the same, every node looks for
/// registries whenever it announces, and all begin together.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// Nodes that offer.
    pub peers: u32,
    /// What each of them offers.
    pub releases: Vec<Arc<Signed<Release>>>,
    /// Nodes beside those that are registries, and advertise themselves as such.
    pub registries: u32,
    /// How long leases live, in seconds.
    pub lease_seconds: u64,
    /// How long it runs before anything is counted, in seconds.
    pub warm_up_seconds: u64,
    /// How long is counted, in seconds. At least 1.
    pub seconds: u64,
}

/// What the nodes of a small network send on the advertise plane, by each node in a second.
///
/// | figure | what |
/// |---|---|
/// | `bytes` | what a real node counts as the advertise plane's: registrations and lookups, both ways |
/// | `registration_bytes`, `lookup_bytes` | of those |
/// | `proof_bytes` | proofs of possession, which a real node counts as content |
/// | `messages` | messages of all of these |
/// | `placed` | places that each provider has in the end, over all its keys |
pub fn traffic(setup: Setup, traffic: &Traffic, seed: u64) -> BTreeMap<&'static str, f64> {
    let lifetimes = Lifetimes { lease: traffic.lease_seconds, ..setup.lifetimes };
    let mut net = Net::new(Setup { local: LocalAddresses::Exempt, lifetimes, ..setup }, seed);
    let nodes = traffic.peers.saturating_add(traffic.registries);
    for n in 0..nodes {
        net.join(secret(net.streams, u64::from(n)), IpAddr::V4(Ipv4Addr::LOCALHOST), Conduct::Honest);
    }
    net.route();
    let mut starts = net.streams.of("starts", 0);
    for n in 0..nodes {
        let registry = n >= traffic.peers;
        let releases = if registry { &[] } else { &traffic.releases[..] };
        if let Some(provider) = net.provide(n, releases, registry, true) {
            let when = Span::from_micros(starts.below(STARTING.micros()));
            net.engine.after(when, super::Event::Announce(provider));
        }
    }
    net.run(Span::from_seconds(traffic.warm_up_seconds));
    let (before, messages) = (net.bytes(), net.carrier().messages());
    let seconds = traffic.seconds.max(1);
    net.run(Span::from_seconds(seconds));
    let (after, whole) = (net.bytes(), seconds as f64 * f64::from(nodes.max(1)));
    let registrations = (after.registrations - before.registrations) as f64 / whole;
    let lookups = (after.lookups - before.lookups) as f64 / whole;
    let placed: usize = (0..traffic.peers).map(|n| net.placed(n).values().sum::<usize>()).sum();
    BTreeMap::from([
        ("bytes", registrations + lookups),
        ("registration_bytes", registrations),
        ("lookup_bytes", lookups),
        ("proof_bytes", (after.proofs - before.proofs) as f64 / whole),
        ("messages", (net.carrier().messages() - messages) as f64 / whole),
        ("placed", placed as f64 / f64::from(traffic.peers.max(1))),
    ])
}
