//! Lookups, and registrars that answer them.

use super::{Conduct, Event, For, Net};
use crate::{Span, Stream, Time, runs::NotRun};
use actum_discovery::advertise::{Ad, Answer, Key, Lookup, Peer, Table, keys_of};
use actum_model::{Descriptor, Did, Lease, Signed, Statement, id::sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::AtomicBool,
};

/// How long after the last one a node looks for registries again: where it knows some, and where it knows none.
const SEEK_EVERY: Span = Span::from_seconds(900);
const SEEK_SOON: Span = Span::from_seconds(10);
/// How soon after one another those begin who look around.
const BETWEEN: Span = Span::from_millis(300);

/// A lookup.
#[derive(Debug)]
pub(super) struct Looking {
    node: u32,
    key: Key,
    /// None when it is over.
    machine: Option<Box<(Lookup, Stream)>>,
    wake: Option<Time>,
    out: Looked,
    /// The provider that looks for registries by this.
    for_provider: Option<u32>,
}

/// What came of a lookup.
#[derive(Clone, Debug, Default)]
pub struct Looked {
    /// When it began.
    pub began: Time,
    /// Providers, and how long after the beginning each was found.
    pub found: BTreeMap<Did, Span>,
    /// Ads that were not what they must be. None may ever be.
    pub wrong: usize,
    /// Answers in which something was wrong.
    pub faults: usize,
    /// Peers asked.
    pub asked: usize,
    /// Peers that were named in answers.
    pub named: usize,
    /// Ads in answers, those known already among them.
    pub ads: usize,
    /// Bytes of the statements in those.
    pub ad_bytes: usize,
    /// How long it took, once it is over.
    pub took: Option<Span>,
}

/// The share of lookups that found any of these.
pub fn share(looked: &[Looked], of: &[Did]) -> f64 {
    let found = looked.iter().filter(|l| of.iter().any(|did| l.found.contains_key(did))).count();
    found as f64 / looked.len().max(1) as f64
}

/// Judges ads anew, by the definitions and not by the verifier.
#[derive(Debug, Default)]
pub(super) struct Judge {
    /// Statements that were found to be signed.
    signed: BTreeSet<[u8; 32]>,
}

impl Judge {
    /// Whether an ad found at a time, in seconds, under a key is one.
    fn is_right(&mut self, ad: &Ad, key: &Key, second: u64) -> bool {
        let lease = ad.lease();
        let alive = self.is_signed::<Lease>(lease.bytes()) && lease.payload().exp > second;
        let Some(descriptor) = ad.descriptor() else { return alive && *key == Key::registries() };
        let (d, l) = (descriptor.payload(), lease.payload());
        alive
            && self.is_signed::<Descriptor>(descriptor.bytes())
            && d.iss == l.iss
            && d.exp > second
            && d.seq >= l.descriptors_seq
            && keys_of(d).contains(key)
    }

    fn is_signed<T: Statement>(&mut self, bytes: &[u8]) -> bool {
        let digest = sha256(bytes);
        self.signed.contains(&digest) || Signed::<T>::verify(bytes).is_ok() && self.signed.insert(digest)
    }
}

impl Net {
    /// A peer looks for a key. Says the lookup's number; `None` where there is no such peer.
    pub fn look(&mut self, node: u32, key: Key) -> Option<u32> {
        self.look_for(node, key, None)
    }

    /// What came of a lookup so far.
    pub fn looked(&self, lookup: u32) -> Option<&Looked> {
        self.lookups.get(lookup as usize).map(|looking| &looking.out)
    }

    /// So many lookups by random honest peers, one soon after another, and all of them over.
    pub fn look_around(&mut self, key: Key, lookups: usize) -> Vec<Looked> {
        self.look_for_each(&vec![key; lookups])
    }

    /// A lookup for each key by a random honest peer, one soon after another, and all of them over.
    pub fn look_for_each(&mut self, keys: &[Key]) -> Vec<Looked> {
        // Nobody stops it.
        self.look_for_each_unless(keys, &AtomicBool::new(false)).unwrap_or_default()
    }

    /// The same, unless it is stopped before.
    pub(super) fn look_for_each_unless(
        &mut self,
        keys: &[Key],
        stop: &AtomicBool,
    ) -> Result<Vec<Looked>, NotRun> {
        let honest = self.nodes.iter().zip(0..).filter(|(node, _)| node.conduct == Conduct::Honest);
        let honest: Vec<u32> = honest.map(|(_, n)| n).collect();
        let mut begun = Vec::new();
        for key in keys {
            let asker = honest.get(self.askers.place(honest.len()));
            begun.extend(asker.and_then(|node| self.look(*node, *key)));
            self.run_unless(BETWEEN, stop)?;
        }
        let is_over = |net: &Self, lookup: &u32| net.looked(*lookup).is_none_or(|l| l.took.is_some());
        while !begun.iter().all(|lookup| is_over(self, lookup)) {
            self.run_unless(Span::from_seconds(1), stop)?;
        }
        Ok(begun.into_iter().filter_map(|lookup| self.looked(lookup).cloned()).collect())
    }

    /// A provider looks for registries, if it is time to.
    pub(super) fn seek(&mut self, provider: u32) {
        let now = self.now();
        if self.providers.get(provider as usize).is_some_and(|p| p.seek == Some(now)) {
            self.seek_now(provider);
        }
    }

    pub(super) fn seek_now(&mut self, number: u32) {
        let Some(provider) = self.providers.get_mut(number as usize) else { return };
        provider.seek = None;
        let node = provider.node;
        self.look_for(node, Key::registries(), Some(number));
    }

    fn look_for(&mut self, node: u32, key: Key, for_provider: Option<u32>) -> Option<u32> {
        let asker = self.node(node)?;
        let mut table = Table::new(key, self.setup.local);
        for known in asker.routing.iter().filter_map(|n| self.node(*n)) {
            table.add(&known.peer);
        }
        let mut machine = Lookup::new(table, *asker.peer.did(), self.setup.local);
        if self.thorough {
            machine.dig();
        }
        let number = u32::try_from(self.lookups.len()).ok()?;
        self.lookups.push(Looking {
            node,
            key,
            machine: Some(Box::new((machine, self.streams.of("lookup", u64::from(number))))),
            wake: None,
            out: Looked { began: self.now(), ..Looked::default() },
            for_provider,
        });
        self.wake_lookup(number);
        Some(number)
    }

    pub(super) fn wake_lookup(&mut self, number: u32) {
        let now = self.engine.now();
        let Some(looking) = self.lookups.get_mut(number as usize) else { return };
        let Some((machine, draws)) = looking.machine.as_deref_mut() else { return };
        let ask = machine.poll(now.unix_millis(), draws.rng());
        looking.out.asked = machine.peers_asked();
        if ask.is_empty() && machine.is_done() {
            looking.out.took = Some(now.since(looking.out.began));
            looking.machine = None;
            if let Some(provider) = looking.for_provider {
                let again = if looking.out.found.is_empty() { SEEK_SOON } else { SEEK_EVERY };
                self.seek_again(provider, now + again);
            }
            return;
        }
        if let Some(deadline) = machine.deadline() {
            let due = Time::from_unix_millis(deadline.max(now.unix_millis().saturating_add(1)));
            if looking.wake.is_none_or(|wake| wake <= now || due < wake) {
                looking.wake = Some(due);
                self.engine.at(due, Event::WakeLookup(number));
            }
        }
        let (node, bytes) = (looking.node, self.setup.weighs.get_ads);
        for peer in ask {
            self.send(node, For::Lookup, bytes, Event::Ask(number, peer));
        }
    }

    /// Whether this is the waking that was last asked for, and not one that an earlier one came before.
    pub(super) fn is_lookup_due(&self, number: u32) -> bool {
        self.lookups.get(number as usize).is_some_and(|l| l.wake == Some(self.now()))
    }

    fn seek_again(&mut self, number: u32, when: Time) {
        if let Some(provider) = self.providers.get_mut(number as usize) {
            provider.seek = Some(when);
            self.engine.at(when, Event::Seek(number));
        }
    }

    /// A lookup's question is at a registrar.
    pub(super) fn asked(&mut self, lookup: u32, peer: Peer) {
        let now = self.millis();
        let Some(registrar) = self.number_of(&peer) else { return };
        let Some((key, asker)) = self.lookups.get(lookup as usize).map(|l| (l.key, l.node)) else { return };
        let Some(ip) = self.node(asker).map(|node| node.peer.ip()) else { return };
        let Some(node) = self.nodes.get_mut(registrar as usize) else { return };
        let ads = match node.conduct {
            Conduct::Silent => return,
            Conduct::Omits => Vec::new(),
            Conduct::Shills => self.shilled(),
            Conduct::Forges => self.forged(),
            Conduct::Honest => {
                let draws = self.draws.of(registrar).rng();
                let ads = node.registrar.as_mut().map(|held| held.get_ads(now, ip, &key, draws));
                ads.and_then(Result::ok).unwrap_or_default().iter().map(Ad::to_wire).collect()
            }
        };
        let answer = Answer { ads, closer: self.closer(registrar, &key) };
        let weighs = &self.setup.weighs;
        let carried: usize = answer.ads.iter().map(|ad| ad.descriptor.len() + ad.lease.len()).sum();
        let named = weighs.peer * answer.closer.len() as u64;
        let bytes = weighs.ads + weighs.offer * answer.ads.len() as u64 + carried as u64 + named;
        self.send(registrar, For::Lookup, bytes, Event::Answer(lookup, peer, Box::new(answer)));
    }

    /// A registrar's answer is with whoever looks.
    pub(super) fn answered(&mut self, lookup: u32, from: &Peer, answer: &Answer) {
        let now = self.engine.now();
        let Some(looking) = self.lookups.get_mut(lookup as usize) else { return };
        let Some((machine, _)) = looking.machine.as_deref_mut() else { return };
        let answered = machine.answered(now.unix_millis(), from.did(), answer, &mut self.verifier);
        looking.out.faults += usize::from(answered.fault.is_some());
        looking.out.named += answer.closer.len();
        looking.out.ads += answer.ads.len();
        let bytes = answer.ads.iter().map(|ad| ad.descriptor.len() + ad.lease.len());
        looking.out.ad_bytes += bytes.sum::<usize>();
        for ad in answered.found {
            let right = self.judged.is_right(&ad, &looking.key, now.unix_seconds());
            looking.out.wrong += usize::from(!right);
            looking.out.found.entry(ad.provider()).or_insert(now.since(looking.out.began));
        }
        self.wake_lookup(lookup);
    }
}
