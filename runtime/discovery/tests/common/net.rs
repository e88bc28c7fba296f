//! A network in virtual time: peers with routing tables, latencies and addresses, and no sockets. What runs in it are the
//! advertise plane's own machines; only the carrying of messages is made here.

use super::sign_as;
use actum_discovery::advertise::{limits, *};
use actum_model::{release::CHUNK_BYTES, *};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, OnceLock},
};

/// When these networks begin, in milliseconds since the Unix epoch.
pub const START: u64 = super::NOW * 1_000;
/// The time a message takes, in milliseconds; a round trip is twice that.
pub const ONE_WAY: u64 = 50;
/// Peers in one bucket of a routing table, as in Kademlia.
const ROUTING_BUCKET: usize = 20;
/// Bytes of a message beyond what it carries: framing, request number, authentication.
const OVERHEAD: usize = 40;
/// Bytes of a peer in an answer: key and one address.
const PEER_BYTES: usize = 64;
/// How long a lease lives here, in seconds; it is renewed at half of that.
const LEASE: u64 = 900;

/// What a peer does when it is registrar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    Honest,
    /// Says it registers everything and gives out nothing. Names peers truthfully.
    Omits,
    /// Says it registers everything, gives out accomplices' ads, valid ones, and names accomplices only.
    Shills,
    /// Gives out what is forged, dead or of another key.
    Forges,
    /// Never answers.
    Silent,
}

pub struct Node {
    pub secret: SecretKey,
    pub peer: Peer,
    pub conduct: Conduct,
    routing: Vec<u32>,
    registrar: Option<Box<Registrar>>,
}

struct Provider {
    node: usize,
    machine: Advertiser,
    wake: u64,
}

struct Looking {
    node: usize,
    machine: Lookup,
    out: Looked,
    wake: u64,
}

/// What came of a lookup.
#[derive(Clone, Debug, Default)]
pub struct Looked {
    pub began: u64,
    /// Provider and when it was found, in milliseconds after the beginning.
    pub found: BTreeMap<Did, u64>,
    /// Ads that were not what they must be. None may ever be.
    pub wrong: usize,
    pub faults: usize,
    pub asked: usize,
    pub took: u64,
    pub done: bool,
}

enum Event {
    WakeProvider(usize),
    WakeLookup(usize),
    ToRegistrar(usize, Sent),
    FromRegistrar(usize, u64, Reply, Vec<Peer>),
    Ask(usize, Peer),
    Answer(usize, Did, Answer),
    NewLease(usize),
}

pub struct Net {
    pub now: u64,
    pub nodes: Vec<Node>,
    pub bytes: u64,
    pub proofs: u64,
    pub refused: BTreeMap<&'static str, u64>,
    shills: Vec<usize>,
    shilled: BTreeMap<Key, (u64, Vec<Offer>)>,
    by_did: BTreeMap<Did, usize>,
    queue: BTreeMap<(u64, u64), Event>,
    events: u64,
    rng: ChaCha8Rng,
    verifier: Verifier,
    /// Statements judged by their signatures already.
    judged: BTreeSet<[u8; 32]>,
    providers: Vec<Provider>,
    lookups: Vec<Looking>,
    /// Whether lookups go on when they have enough.
    pub dig: bool,
}

/// Secret keys, made once: the place of a key is known only once it is made, so grinding is making many.
pub fn ground(key: &Key, count: usize) -> Vec<SecretKey> {
    static POOL: OnceLock<Vec<(Place, SecretKey)>> = OnceLock::new();
    let pool = POOL.get_or_init(|| {
        let made = (0..100_000_u64).map(|n| {
            let secret = secret(1_000_000 + n);
            (Place::of(&secret.did()), secret)
        });
        made.collect()
    });
    let distance =
        |place: &Place| -> [u8; 32] { std::array::from_fn(|i| place.as_bytes()[i] ^ key.as_bytes()[i]) };
    let mut nearest: Vec<_> = pool.iter().map(|(place, secret)| (distance(place), secret)).collect();
    nearest.sort_by_key(|(distance, _)| *distance);
    nearest.into_iter().take(count).map(|(_, secret)| secret.clone()).collect()
}

pub fn secret(n: u64) -> SecretKey {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&n.to_le_bytes());
    SecretKey::from_seed(&seed)
}

/// So many secret keys at random.
pub fn anybody(count: usize, from: u64) -> Vec<SecretKey> {
    (0..count as u64).map(|n| secret(from + n)).collect()
}

/// Addresses all of one /24.
pub fn one_prefix(n: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, (n % 256) as u8))
}

/// Addresses from all over, as a rule each of another /24.
pub fn many_prefixes(n: usize) -> IpAddr {
    let mut rng = ChaCha8Rng::seed_from_u64(77 + n as u64);
    IpAddr::V4(Ipv4Addr::from_bits(rng.next_u32()))
}

impl Net {
    /// So many honest peers, from all over.
    pub fn new(honest: usize, seed: u64) -> Self {
        let mut net = Self {
            now: START,
            nodes: Vec::new(),
            bytes: 0,
            proofs: 0,
            refused: BTreeMap::new(),
            shills: Vec::new(),
            shilled: BTreeMap::new(),
            by_did: BTreeMap::new(),
            queue: BTreeMap::new(),
            events: 0,
            rng: ChaCha8Rng::seed_from_u64(seed),
            verifier: Verifier::new(50_000),
            judged: BTreeSet::new(),
            providers: Vec::new(),
            lookups: Vec::new(),
            dig: false,
        };
        for (n, secret) in anybody(honest, seed << 32).into_iter().enumerate() {
            net.join(secret, many_prefixes(n), Conduct::Honest);
        }
        net
    }

    /// Another peer; routing tables are made afterwards.
    pub fn join(&mut self, secret: SecretKey, ip: IpAddr, conduct: Conduct) -> usize {
        let did = secret.did();
        let peer = Peer::observed(did, vec![format!("/ip4/{ip}/tcp/4001")], ip);
        let n = self.nodes.len();
        self.by_did.insert(did, n);
        if conduct == Conduct::Shills {
            self.shills.push(n);
        }
        self.nodes.push(Node { secret, peer, conduct, routing: Vec::new(), registrar: None });
        n
    }

    /// Gives everybody a routing table: in each bucket around its place up to 20 peers, two of one prefix.
    pub fn route(&mut self) {
        let place = |node: &Node| u64::from_be_bytes(*node.peer.place().as_bytes().first_chunk().unwrap());
        let mut sorted: Vec<(u64, u32)> =
            (0_u32..).zip(&self.nodes).map(|(n, node)| (place(node), n)).collect();
        sorted.sort_unstable();
        for n in 0..self.nodes.len() {
            let own = place(&self.nodes[n]);
            let mut routing = Vec::new();
            for depth in 0..63 {
                let sibling = (own ^ 1 << (63 - depth)) >> (63 - depth);
                let low = sorted.partition_point(|(p, _)| p >> (63 - depth) < sibling);
                let high = sorted.partition_point(|(p, _)| p >> (63 - depth) <= sibling);
                let mut prefixes: BTreeMap<Prefix, usize> = BTreeMap::new();
                let mut taken = BTreeSet::new();
                let range = &sorted[low..high];
                for i in 0..range.len().min(4 * ROUTING_BUCKET) {
                    let at = if range.len() <= 4 * ROUTING_BUCKET {
                        // All of them, from a random one on.
                        (i + n) % range.len()
                    } else {
                        self.rng.next_u64() as usize % range.len()
                    };
                    let other = range[at].1;
                    let count = prefixes.entry(Prefix::of(self.nodes[other as usize].peer.ip())).or_default();
                    if taken.len() < ROUTING_BUCKET && *count < 2 && taken.insert(other) {
                        *count += 1;
                    }
                }
                routing.extend(taken);
                let nearer = sorted.partition_point(|(p, _)| p >> (63 - depth) <= own >> (63 - depth))
                    - sorted.partition_point(|(p, _)| p >> (63 - depth) < own >> (63 - depth));
                if nearer <= 1 {
                    break;
                }
            }
            self.nodes[n].routing = routing;
        }
    }

    fn lease(&mut self, node: usize) -> Signed<Lease> {
        let (now, secret) = (self.now / 1_000, &self.nodes[node].secret);
        let lease = Lease {
            iss: secret.did(),
            addrs: self.nodes[node].peer.addrs().to_vec(),
            seq: self.now,
            nbf: now,
            exp: now + LEASE,
            ..super::plain_lease(1)
        };
        Signed::sign(lease, secret)
    }

    /// A peer begins to advertise.
    pub fn advertise(&mut self, node: usize, name: &str, tags: &[&str]) -> usize {
        let tags = tags.iter().map(|t| (*t).to_owned()).collect();
        let now = self.now / 1_000;
        let descriptor = Descriptor {
            component_bytes: CHUNK_BYTES as u64 / 2,
            tags,
            nbf: now,
            exp: now + 21_600,
            ..super::plain(1, name)
        };
        let descriptor = Arc::new(sign_as(&self.nodes[node].secret, descriptor));
        let mut machine = Advertiser::new(self.nodes[node].secret.did(), LocalAddresses::Count);
        machine.advertise(&descriptor);
        machine.learn(self.nodes[node].routing.iter().map(|n| &self.nodes[*n as usize].peer));
        machine.set_lease(self.now, Arc::new(self.lease(node)));
        let n = self.providers.len();
        self.providers.push(Provider { node, machine, wake: 0 });
        self.schedule(LEASE * 500, Event::NewLease(n));
        self.wake_provider(n);
        n
    }

    /// How many places a provider has, under each key.
    pub fn placed(&self, provider: usize) -> BTreeMap<Key, usize> {
        self.providers[provider].machine.placed_at(self.now)
    }

    /// A peer looks for a key.
    pub fn look(&mut self, node: usize, key: Key) -> usize {
        let mut table = Table::new(key, LocalAddresses::Count);
        let own = *self.nodes[node].peer.did();
        for n in &self.nodes[node].routing {
            table.add(&self.nodes[*n as usize].peer);
        }
        let mut machine = Lookup::new(table, own, LocalAddresses::Count);
        if self.dig {
            machine.dig();
        }
        let out = Looked { began: self.now, ..Looked::default() };
        self.lookups.push(Looking { node, machine, out, wake: 0 });
        self.wake_lookup(self.lookups.len() - 1);
        self.lookups.len() - 1
    }

    pub fn looked(&self, lookup: usize) -> &Looked {
        &self.lookups[lookup].out
    }

    /// Lookups by random honest peers, spread over a while, and all of them over.
    pub fn look_around(&mut self, key: Key, lookups: usize) -> Vec<Looked> {
        let honest: Vec<_> =
            (0..self.nodes.len()).filter(|n| self.nodes[*n].conduct == Conduct::Honest).collect();
        let begun: Vec<_> = (0..lookups)
            .map(|_| {
                let node = honest[self.rng.next_u64() as usize % honest.len()];
                let lookup = self.look(node, key);
                self.run(300);
                lookup
            })
            .collect();
        while begun.iter().any(|l| !self.looked(*l).done) {
            self.run(1_000);
        }
        begun.into_iter().map(|l| self.looked(l).clone()).collect()
    }

    pub fn random_honest(&mut self) -> usize {
        loop {
            let n = self.rng.next_u64() as usize % self.nodes.len();
            if self.nodes[n].conduct == Conduct::Honest {
                return n;
            }
        }
    }

    /// Lets time pass, in milliseconds.
    pub fn run(&mut self, ms: u64) {
        let until = self.now + ms;
        while let Some(entry) = self.queue.first_entry().filter(|e| e.key().0 <= until) {
            self.now = entry.key().0;
            let event = entry.remove();
            self.handle(event);
        }
        self.now = until;
    }

    fn schedule(&mut self, after: u64, event: Event) {
        self.events += 1;
        self.queue.insert((self.now + after, self.events), event);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::WakeProvider(n) if self.providers[n].wake <= self.now => self.wake_provider(n),
            Event::WakeLookup(n) if self.lookups[n].wake <= self.now => self.wake_lookup(n),
            Event::WakeProvider(_) | Event::WakeLookup(_) => {}
            Event::ToRegistrar(n, sent) => self.at_registrar(n, &sent),
            Event::FromRegistrar(n, id, reply, closer) => {
                let machine = &mut self.providers[n].machine;
                machine.answered(self.now, id, &reply, &closer, &mut self.rng);
                self.wake_provider(n);
            }
            Event::Ask(n, peer) => self.ask(n, &peer),
            Event::Answer(n, from, answer) => self.answer(n, &from, &answer),
            Event::NewLease(n) => {
                let lease = self.lease(self.providers[n].node);
                self.providers[n].machine.set_lease(self.now, Arc::new(lease));
                self.schedule(LEASE * 500, Event::NewLease(n));
                self.wake_provider(n);
            }
        }
    }

    fn wake_provider(&mut self, n: usize) {
        let provider = &mut self.providers[n];
        let sent = provider.machine.poll(self.now, &mut self.rng);
        provider.wake = provider.machine.deadline().max(self.now + 1);
        let after = provider.wake.saturating_sub(self.now);
        for sent in sent {
            self.bytes += OVERHEAD as u64
                + match &sent.request {
                    Request::Register(r) => {
                        32 + r.offer.descriptor.len()
                            + r.offer.lease.len()
                            + r.ticket.map_or(0, |_| Ticket::BYTES)
                    }
                    Request::Renew(lease) => lease.bytes().len(),
                } as u64;
            self.schedule(ONE_WAY, Event::ToRegistrar(n, sent));
        }
        if after < 1 << 40 {
            self.schedule(after, Event::WakeProvider(n));
        }
    }

    fn at_registrar(&mut self, n: usize, sent: &Sent) {
        let Some(at) = self.by_did.get(sent.to.did()).copied() else { return };
        let (sender, ip) = {
            let node = &self.nodes[self.providers[n].node];
            (*node.peer.did(), node.peer.ip())
        };
        let key = match &sent.request {
            Request::Register(r) => Some(r.key),
            Request::Renew(_) => None,
        };
        let mut delay = ONE_WAY;
        let reply = match self.nodes[at].conduct {
            Conduct::Silent => return,
            Conduct::Honest => {
                let registrar = self.nodes[at].registrar.get_or_insert_with(|| {
                    let mut bytes = [0; 32];
                    bytes[..8].copy_from_slice(&(at as u64).to_le_bytes());
                    Box::new(Registrar::new(Secret::from_bytes(bytes), LocalAddresses::Count))
                });
                match &sent.request {
                    Request::Renew(lease) => {
                        registrar.renew(self.now, sender, ip, lease.bytes(), &mut self.verifier)
                    }
                    Request::Register(asked) => {
                        match registrar.register(self.now, sender, ip, asked, &mut self.verifier) {
                            Registered::Reply(reply) => reply,
                            Registered::Prove(challenge) => {
                                self.proofs += 1;
                                delay += 4 * ONE_WAY;
                                registrar.proved(self.now, challenge.id, Ok(()))
                            }
                        }
                    }
                }
            }
            // Accomplices among themselves, and everybody else whom it lulls.
            _ => Reply::Confirmed { for_ms: limits::AD_TTL_MS },
        };
        if let Reply::Refused(refused) = &reply {
            *self.refused.entry(refused.code()).or_default() += 1;
        }
        let closer = key.map(|key| self.closer(at, &key)).unwrap_or_default();
        self.bytes += (OVERHEAD + Ticket::BYTES + closer.len() * PEER_BYTES) as u64;
        self.schedule(delay, Event::FromRegistrar(n, sent.id, reply, closer));
    }

    fn closer(&mut self, at: usize, key: &Key) -> Vec<Peer> {
        let nodes = &self.nodes;
        if nodes[at].conduct == Conduct::Shills {
            return closer_peers(key, self.shills.iter().map(|n| &nodes[*n].peer), &mut self.rng);
        }
        let known = nodes[at].routing.iter().map(|n| &nodes[*n as usize].peer);
        closer_peers(key, known, &mut self.rng)
    }

    fn wake_lookup(&mut self, n: usize) {
        let looking = &mut self.lookups[n];
        if looking.out.done {
            return;
        }
        let ask = looking.machine.poll(self.now, &mut self.rng);
        looking.out.asked = looking.machine.peers_asked();
        if ask.is_empty() && looking.machine.is_done() {
            looking.out.done = true;
            looking.out.took = self.now - looking.out.began;
            return;
        }
        looking.wake = looking.machine.deadline().unwrap_or(u64::MAX);
        let after = looking.wake.saturating_sub(self.now);
        for peer in ask {
            self.bytes += (OVERHEAD + 32) as u64;
            self.schedule(ONE_WAY, Event::Ask(n, peer));
        }
        self.schedule(after.min(60_000), Event::WakeLookup(n));
    }

    fn ask(&mut self, n: usize, peer: &Peer) {
        let Some(at) = self.by_did.get(peer.did()).copied() else { return };
        let (key, ip) = (self.lookups[n].machine.key(), self.nodes[self.lookups[n].node].peer.ip());
        let ads = match self.nodes[at].conduct {
            Conduct::Silent => return,
            Conduct::Omits => Vec::new(),
            Conduct::Shills => self.shilled(&key),
            Conduct::Forges => self.forged(&key),
            Conduct::Honest => {
                let Node { registrar, .. } = &mut self.nodes[at];
                let ads = registrar.as_mut().map(|r| r.get_ads(self.now, ip, &key, &mut self.rng));
                ads.and_then(Result::ok).unwrap_or_default().iter().map(Ad::to_wire).collect()
            }
        };
        let answer = Answer { ads, closer: self.closer(at, &key) };
        let carried: usize = answer.ads.iter().map(|o| o.descriptor.len() + o.lease.len()).sum();
        self.bytes += (OVERHEAD + carried + answer.closer.len() * PEER_BYTES) as u64;
        let from = *peer.did();
        self.schedule(ONE_WAY, Event::Answer(n, from, answer));
    }

    fn answer(&mut self, n: usize, from: &Did, answer: &Answer) {
        let looking = &mut self.lookups[n];
        let answered = looking.machine.answered(self.now, from, answer, &mut self.verifier);
        looking.out.faults += usize::from(answered.fault.is_some());
        let (key, second) = (looking.machine.key(), self.now / 1_000);
        for ad in answered.found {
            // Judged anew, by the definitions and not by the verifier.
            let (d, l) = (ad.descriptor().unwrap(), ad.lease());
            let signed = signed::<Descriptor>(&mut self.judged, d.bytes())
                && signed::<Lease>(&mut self.judged, l.bytes());
            let (d, l) = (d.payload(), l.payload());
            let right = signed
                && d.iss == l.iss
                && d.exp > second
                && l.exp > second
                && d.seq >= l.descriptors_seq
                && keys_of(d).contains(&key);
            looking.out.wrong += usize::from(!right);
            looking.out.found.entry(ad.provider()).or_insert(self.now - looking.out.began);
        }
        self.wake_lookup(n);
    }

    /// Ten accomplices' ads, signed and alive.
    fn shilled(&mut self, key: &Key) -> Vec<Offer> {
        let fresh = self.shilled.get(key).filter(|(made, _)| self.now < made + 600_000);
        if fresh.is_none() {
            let shills: Vec<_> = self.shills.iter().copied().take(500).collect();
            let offers = shills.into_iter().map(|n| {
                let now = self.now / 1_000;
                let tags = vec!["text".to_owned()];
                let descriptor = Descriptor { tags, nbf: now, exp: now + 3_600, ..super::plain(1, "words") };
                let descriptor = sign_as(&self.nodes[n].secret, descriptor);
                let lease = self.lease(n);
                Offer { descriptor: descriptor.bytes().to_vec().into(), lease: lease.bytes().to_vec().into() }
            });
            let offers = offers.collect();
            self.shilled.insert(*key, (self.now, offers));
        }
        let offers = &self.shilled[key].1;
        let from = self.rng.next_u64() as usize % offers.len().max(1);
        offers.iter().cycle().skip(from).take(offers.len().min(limits::ANSWER_ADS)).cloned().collect()
    }

    /// Ads that are none, of each kind.
    fn forged(&mut self, key: &Key) -> Vec<Offer> {
        let pick = self.rng.next_u64() % 5;
        let (now, n) = (self.now / 1_000, self.rng.next_u64());
        let node = self.random_honest();
        let secret = secret(n);
        let tags = vec![if pick == 0 { "other" } else { "text" }.to_owned()];
        let life = if pick == 1 { (now - 7_200, now - 3_600) } else { (now, now + 3_600) };
        let descriptor = Descriptor { tags, nbf: life.0, exp: life.1, ..super::plain(1, "words") };
        let descriptor = sign_as(&secret, descriptor);
        let lease = Lease { iss: secret.did(), nbf: now, exp: now + 900, ..super::plain_lease(1) };
        let lease = match pick {
            2 => Lease { nbf: now - 1_000, exp: now - 100, ..lease },
            3 => Lease { descriptors_seq: 9, ..lease },
            _ => lease,
        };
        let mut lease = Signed::sign(lease, &secret).bytes().to_vec();
        if pick == 4 {
            // Another's name under it.
            lease = self.lease(node).bytes().to_vec();
        }
        let _ = key;
        vec![Offer { descriptor: descriptor.bytes().to_vec().into(), lease: lease.into() }]
    }
}

/// Whether these bytes are a signed statement; those that were found to be are not looked at again.
fn signed<T: Statement>(judged: &mut BTreeSet<[u8; 32]>, bytes: &[u8]) -> bool {
    let digest = id::sha256(bytes);
    judged.contains(&digest) || Signed::<T>::verify(bytes).is_ok() && judged.insert(digest)
}

/// How many of the lookups found one of these.
pub fn share(looked: &[Looked], of: &[Did]) -> f64 {
    let found = looked.iter().filter(|l| of.iter().any(|did| l.found.contains_key(did))).count();
    found as f64 / looked.len() as f64
}

/// The median of some numbers.
pub fn median(mut numbers: Vec<u64>) -> u64 {
    numbers.sort_unstable();
    numbers.get(numbers.len() / 2).copied().unwrap_or(0)
}
