//! Providers keep their offers registered, and registrars answer them.

use super::{
    Conduct, Event, For, Net,
    statements::{Announced, Announcing},
};
use crate::{Stream, Time};
use actum_discovery::advertise::{
    Advertiser, Challenge, Key, Peer, Registered, Registrar, Registration, Reply, Request, Secret, Sent,
    Ticket, closer_peers, limits::AD_TTL_MS,
};
use actum_model::{Release, Signed, release::CHUNK_BYTES};
use std::{collections::BTreeMap, sync::Arc};

/// Who advertises.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) node: u32,
    machine: Advertiser,
    announcing: Announcing,
    draws: Stream,
    /// When its advertiser is woken next.
    wake: Option<Time>,
    /// Whether it looks for registries whenever it announces, as nodes do, and when it does so next.
    pub(super) seeks: bool,
    pub(super) seek: Option<Time>,
}

/// A proof of possession under way: four messages, the registrar's two questions and the provider's answers.
#[derive(Debug)]
pub(super) struct Proof {
    provider: u32,
    registrar: u32,
    /// The request that is answered when it is over.
    id: u64,
    key: Key,
    challenge: Challenge,
    /// Messages still to come after the one under way.
    left: u64,
}

impl Net {
    /// A peer begins to offer these, from now on. Says the provider's number; `None` where there is no such peer.
    pub fn offer(&mut self, node: u32, releases: &[Arc<Signed<Release>>]) -> Option<u32> {
        let number = self.provide(node, releases, false, false)?;
        self.announce(number);
        Some(number)
    }

    /// How many places a provider has, under each key.
    pub fn placed(&self, provider: u32) -> BTreeMap<Key, usize> {
        self.providers.get(provider as usize).map(|p| p.machine.placed_at(self.millis())).unwrap_or_default()
    }

    /// A provider that has not announced anything yet.
    pub(super) fn provide(
        &mut self,
        node: u32,
        releases: &[Arc<Signed<Release>>],
        registry: bool,
        seeks: bool,
    ) -> Option<u32> {
        let own = self.did(node)?;
        let number = u32::try_from(self.providers.len()).ok()?;
        let mut machine = Advertiser::new(own, self.setup.local);
        if registry {
            machine.advertise_registry();
        }
        self.providers.push(Provider {
            node,
            machine,
            announcing: Announcing::new(self.setup.lifetimes, releases.to_vec()),
            draws: self.streams.of("provider", u64::from(number)),
            wake: None,
            seeks,
            seek: None,
        });
        Some(number)
    }

    /// Signs what is due, has it advertised, and comes back when the next is.
    pub(super) fn announce(&mut self, number: u32) {
        let now = self.engine.now();
        let Some(provider) = self.providers.get_mut(number as usize) else { return };
        let Some(node) = self.nodes.get(provider.node as usize) else { return };
        let jitter = provider.draws.number();
        let announced = provider.announcing.poll(now, jitter, &node.secret, node.peer.addrs());
        if let Some(Announced { descriptors, lease }) = announced {
            if let Some(descriptors) = descriptors {
                descriptors.iter().for_each(|descriptor| provider.machine.advertise(descriptor));
                let known = node.routing.iter().filter_map(|n| self.nodes.get(*n as usize));
                provider.machine.learn(known.map(|node| &node.peer));
            }
            provider.machine.set_lease(now.unix_millis(), lease);
        }
        self.engine.at(provider.announcing.due(), Event::Announce(number));
        let seeks = provider.seeks;
        self.wake_provider(number);
        if seeks {
            self.seek_now(number);
        }
    }

    pub(super) fn wake_provider(&mut self, number: u32) {
        let now = self.engine.now();
        let Some(provider) = self.providers.get_mut(number as usize) else { return };
        let sent = provider.machine.poll(now.unix_millis(), provider.draws.rng());
        let deadline = provider.machine.deadline();
        let due = Time::from_unix_millis(deadline.max(now.unix_millis().saturating_add(1)));
        // Woken earlier than it is due, it finds that out and goes on sleeping.
        if deadline < u64::MAX && provider.wake.is_none_or(|wake| wake <= now || due < wake) {
            provider.wake = Some(due);
            self.engine.at(due, Event::WakeProvider(number));
        }
        let node = provider.node;
        for sent in sent {
            let bytes = self.setup.weighs.of_request(&sent.request);
            self.send(node, For::Registration, bytes, Event::Request(number, Box::new(sent)));
        }
    }

    /// Whether this is the waking that was last asked for, and not one that an earlier one came before.
    pub(super) fn is_due(&self, number: u32) -> bool {
        self.providers.get(number as usize).is_some_and(|p| p.wake == Some(self.now()))
    }

    /// A provider's request is at its registrar.
    pub(super) fn at_registrar(&mut self, number: u32, sent: &Sent) {
        let now = self.millis();
        let Some(registrar) = self.number_of(&sent.to) else { return };
        let Some(provider) = self.providers.get(number as usize).map(|p| p.node) else { return };
        let Some((sender, ip)) = self.node(provider).map(|n| (*n.peer.did(), n.peer.ip())) else { return };
        let key = match &sent.request {
            Request::Register(Registration { key, .. }) => Some(*key),
            Request::Renew(_) => None,
        };
        let secret = || Secret::from_bytes(self.streams.bytes("secret", u64::from(registrar)));
        let local = self.setup.local;
        let Some(node) = self.nodes.get_mut(registrar as usize) else { return };
        let reply = match node.conduct {
            Conduct::Silent => return,
            Conduct::Honest => {
                let machine = node.registrar.get_or_insert_with(|| Box::new(Registrar::new(secret(), local)));
                match &sent.request {
                    Request::Renew(lease) => {
                        machine.renew(now, sender, ip, lease.bytes(), &mut self.verifier)
                    }
                    Request::Register(asked) => {
                        match machine.register(now, sender, ip, asked, &mut self.verifier) {
                            Registered::Reply(reply) => reply,
                            Registered::Prove(challenge) => {
                                let (id, key) = (sent.id, asked.key);
                                let left = 4;
                                let proof = Proof { provider: number, registrar, id, key, challenge, left };
                                self.prove(Box::new(proof));
                                return;
                            }
                        }
                    }
                }
            }
            // Accomplices among themselves, and everybody else whom it lulls.
            _ => Reply::Confirmed { for_ms: AD_TTL_MS },
        };
        self.reply(registrar, number, sent.id, reply, key);
    }

    /// Sends the next message of a proof; or the provider has shown what it had to, and its registration is answered.
    pub(super) fn prove(&mut self, mut proof: Box<Proof>) {
        let Proof { provider, registrar, id, key, .. } = *proof;
        let Some(left) = proof.left.checked_sub(1) else {
            let now = self.millis();
            let node = self.nodes.get_mut(registrar as usize);
            let Some(machine) = node.and_then(|node| node.registrar.as_mut()) else { return };
            let reply = machine.proved(now, proof.challenge.id, Ok(()));
            self.reply(registrar, provider, id, reply, Some(key));
            return;
        };
        proof.left = left;
        let by_registrar = left % 2 == 1;
        let provider = self.providers.get(provider as usize).map(|p| p.node);
        let Some(from) = provider.map(|provider| if by_registrar { registrar } else { provider }) else {
            return;
        };
        let Challenge { component_bytes, index, .. } = proof.challenge;
        let chunk = CHUNK_BYTES as u64;
        // The last message carries the chunk.
        let carried = if left == 0 {
            component_bytes.saturating_sub(index.saturating_mul(chunk)).min(chunk)
        } else {
            0
        };
        let bytes = carried.saturating_add(self.setup.weighs.prove / 4);
        self.send(from, For::Proof, bytes, Event::Prove(proof));
    }

    /// A registrar's answer is with the provider.
    pub(super) fn replied(&mut self, number: u32, id: u64, reply: &Reply, closer: &[Peer]) {
        let now = self.millis();
        let Some(provider) = self.providers.get_mut(number as usize) else { return };
        provider.machine.answered(now, id, reply, closer, provider.draws.rng());
        self.wake_provider(number);
    }

    /// The peers that a registrar names to whoever asks it about a key.
    pub(super) fn closer(&mut self, registrar: u32, key: &Key) -> Vec<Peer> {
        let Some(node) = self.nodes.get(registrar as usize) else { return Vec::new() };
        let named = if node.conduct == Conduct::Shills { &self.hostile.shills[..] } else { &node.routing };
        let known = named.iter().filter_map(|n| self.nodes.get(*n as usize)).map(|node| &node.peer);
        closer_peers(key, known, self.draws.of(registrar).rng())
    }

    fn reply(&mut self, registrar: u32, provider: u32, id: u64, reply: Reply, key: Option<Key>) {
        if let Reply::Refused(refused) = &reply {
            *self.refused.entry(refused.code()).or_default() += 1;
        }
        let closer = key.map(|key| self.closer(registrar, &key)).unwrap_or_default();
        let weighs = &self.setup.weighs;
        let answer = if key.is_some() { weighs.registered } else { weighs.renewed };
        let said = match &reply {
            Reply::Confirmed { .. } => 0,
            Reply::Wait { .. } => Ticket::BYTES,
            Reply::Refused(refused) => refused.code().len() + refused.to_string().len(),
        };
        let bytes = answer + said as u64 + weighs.peer * closer.len() as u64;
        self.send(registrar, For::Registration, bytes, Event::Reply(provider, id, Box::new((reply, closer))));
    }
}

impl crate::profile::Weighs {
    /// An advertiser's request, with the statements in it.
    fn of_request(&self, request: &Request) -> u64 {
        match request {
            Request::Register(Registration { offer, ticket, .. }) => {
                let ticket = ticket.map_or(0, |_| Ticket::BYTES);
                self.register + (offer.descriptor.len() + offer.lease.len() + ticket) as u64
            }
            Request::Renew(lease) => self.renew + lease.bytes().len() as u64,
        }
    }
}
