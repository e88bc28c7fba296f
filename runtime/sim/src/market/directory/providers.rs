//! Providers: what each says of itself and when, and how it changes without saying so.

use super::{
    Event,
    stated::{Descriptors, Sheet, Stated},
};
use crate::{
    Kind, Span, Stream, Streams, Time,
    market::{
        self, Ctx,
        population::{Capability, Peer},
    },
    params::{Conduct, Params},
};
use actum_discovery::{
    Announcement, Announcer, Conditions, Lifetimes, LiveOffer, REGISTRIES, RegistryCandidate, Validity,
    advertise::LocalAddresses, choose_registries, descriptor_for,
};
use actum_model::{Did, Lease, Limits, ProfileId, Tier};
use std::sync::Arc;

/// Within what time providers begin to announce, where there are few of them.
const BEGIN: Span = Span::from_seconds(2);
/// How many are few.
const FEW: u32 = 2_000;

/// A provider, as it announces itself.
struct Provider {
    announcer: Announcer,
    /// Its own random numbers, of when it announces.
    draws: Stream,
    /// The same, of how long probes take there: how many registries there are moves no announcement.
    probed: Option<Box<Stream>>,
    /// The name it goes by now.
    name: u32,
    /// Of its wakings the one that counts: an earlier one that is still to come counts no more.
    turn: u32,
    /// How long after a full second it wakes: when it began.
    phase: Span,
    /// The registries it announces to.
    registries: Arc<[u32]>,
    /// By capability, what it last said that it offers.
    said: Vec<bool>,
    /// What it last announced.
    sheet: Option<Arc<Sheet>>,
    drift: Option<Box<Stream>>,
    churn: Option<Box<Stream>>,
}

/// All providers.
pub(super) struct Providers {
    all: Vec<Provider>,
    /// Who goes or went by each name.
    names: Vec<u32>,
    dids: Vec<Did>,
    lifetimes: Lifetimes,
    conditions: Conditions,
}

impl Providers {
    /// Providers that are going to announce to registries, of which there are so many.
    pub(super) fn new(candidates: &[RegistryCandidate], ctx: &mut Ctx<'_>) -> Self {
        let params = ctx.params;
        let everyone: Arc<[u32]> = (0..candidates.len()).filter_map(|n| u32::try_from(n).ok()).collect();
        let begin = match params.peers > FEW {
            true => Span::from_seconds(params.lease_seconds / 3),
            false => BEGIN,
        };
        let lifetimes = Lifetimes { lease: params.lease_seconds, descriptor: params.descriptor_seconds };
        let mut all = Vec::new();
        for peer in 0..params.peers {
            let mut draws = ctx.streams.of("announce", u64::from(peer));
            let first = Time::from_micros(draws.below(begin.micros().max(1)));
            let draw = draws.number();
            let registries =
                if candidates.len() <= REGISTRIES { everyone.clone() } else { chosen(candidates, draw) };
            all.push(Provider {
                announcer: Announcer::new(lifetimes, 0),
                draws,
                probed: None,
                name: peer,
                turn: 0,
                phase: Span::from_micros(first.micros() % 1_000_000),
                registries,
                said: Vec::new(),
                sheet: None,
                drift: changes("drift", peer, params.drift_seconds, ctx.streams),
                churn: changes("churn", peer, params.churn_seconds, ctx.streams),
            });
            wake(peer, 0, first, ctx);
        }
        let names = (0..params.peers).collect();
        let dids = ctx.population.peers.iter().take(all.len()).map(|peer| peer.did).collect();
        let conditions = Conditions {
            profile: ProfileId::of(b"actum/sim@1"),
            limits: Limits::default(),
            price: 0,
            region: None,
            public: true,
            tiers: Tier::ALL.into(),
            verdicts: Vec::new(),
        };
        let mut providers = Self { all, names, dids, lifetimes, conditions };
        for peer in 0..params.peers {
            providers.drifts_later(peer, ctx);
            providers.churns_later(peer, ctx);
        }
        providers
    }

    /// Announces what is due, and wakes again when more is.
    pub(super) fn due(&mut self, peer: u32, turn: u32, ctx: &mut Ctx<'_>) {
        let Some(provider) = get(&mut self.all, peer) else { return };
        let Some(who) = ctx.population.peer(peer).filter(|who| who.online && provider.turn == turn) else {
            return;
        };
        if provider.said != who.offers {
            provider.announcer.offers_changed();
        }
        let now = ctx.now().unix_seconds();
        if let Some(due) = provider.announcer.poll(now, provider.draws.number()) {
            let descriptors = match (due.descriptors, &provider.sheet) {
                (None, Some(sheet)) => sheet.descriptors.clone(),
                (validity, _) => {
                    provider.said.clone_from(&who.offers);
                    let validity = validity.unwrap_or(due.lease);
                    describe(who, &ctx.population.capabilities, &self.conditions, validity)
                }
            };
            let lease = Stated::sign(lease(who, ctx.params, due), &who.key);
            let sheet = Arc::new(Sheet { name: provider.name, lease, descriptors });
            provider.sheet = Some(sheet.clone());
            let bytes = ctx.profile.weighs.announce.saturating_add(sheet.bytes());
            for registry in provider.registries.iter() {
                let event = Event::Announced { registry: *registry, sheet: sheet.clone() };
                ctx.carrier.send(ctx.engine, peer, Kind::Announce, bytes, market::Event::Directory(event));
            }
        }
        let next = Time::from_unix_seconds(provider.announcer.due()) + provider.phase;
        wake(peer, turn, next, ctx);
    }

    /// Takes back an offer, or gives one again, without a word.
    pub(super) fn drifts(&mut self, peer: u32, ctx: &mut Ctx<'_>) {
        let Some(draws) = get(&mut self.all, peer).and_then(|p| p.drift.as_mut()) else { return };
        if let Some(who) = ctx.population.peer_mut(peer) {
            let place = draws.place(who.offers.len());
            if let Some(offered) = who.offers.get_mut(place) {
                *offered = !*offered;
            }
        }
        self.drifts_later(peer, ctx);
    }

    /// Goes without a word, or comes back; who comes back announces at once.
    pub(super) fn churns(&mut self, peer: u32, ctx: &mut Ctx<'_>) {
        let Some(who) = ctx.population.peer_mut(peer) else { return };
        who.online = !who.online;
        if who.online {
            self.announces_now(peer, ctx);
        }
        self.churns_later(peer, ctx);
    }

    /// Takes in that a peer goes by another name now: its first announcement under that is due at once.
    pub(super) fn renamed(&mut self, peer: u32, ctx: &mut Ctx<'_>) {
        let (Some(provider), Some(who)) = (get(&mut self.all, peer), ctx.population.peer(peer)) else {
            return;
        };
        let Ok(name) = u32::try_from(self.names.len()) else { return };
        self.names.push(peer);
        self.dids.push(who.did);
        (provider.name, provider.sheet) = (name, None);
        provider.announcer = Announcer::new(self.lifetimes, 0);
        self.announces_now(peer, ctx);
    }

    /// Whose name this is or was, and whether it is still that of somebody who is there.
    pub(super) fn behind(&self, name: u32, ctx: &Ctx<'_>) -> Option<(u32, bool)> {
        let place = usize::try_from(name).ok()?;
        let peer = *self.names.get(place)?;
        let who = ctx.population.peer(peer)?;
        Some((peer, who.online && self.dids.get(place) == Some(&who.did)))
    }

    /// All offers of a capability that live, by provider, whether whoever said so is still there or not: what is registered on
    /// the advertise plane.
    pub(super) fn advertised(&self, capability: u8, now: u64) -> Vec<LiveOffer> {
        let offers = self.all.iter().filter_map(|provider| {
            let sheet = provider.sheet.as_ref()?;
            let (_, descriptor) = sheet.descriptors.iter().find(|(of, _)| *of == capability)?;
            LiveOffer::of(descriptor.signed.clone(), sheet.lease.signed.clone(), now).ok()?
        });
        offers.collect()
    }

    /// How long a provider executes one action, of its own random numbers.
    pub(super) fn executes(&mut self, peer: u32, ctx: &Ctx<'_>) -> Span {
        let takes = &ctx.profile.takes;
        let Some(provider) = get(&mut self.all, peer) else { return takes.execute };
        let of = || Box::new(ctx.streams.of("probed", u64::from(peer)));
        provider.probed.get_or_insert_with(of).log_normal(takes.execute, takes.execute_sigma)
    }

    fn announces_now(&mut self, peer: u32, ctx: &mut Ctx<'_>) {
        let Some(provider) = get(&mut self.all, peer) else { return };
        provider.announcer.readiness_changed();
        provider.turn += 1;
        provider.phase = Span::from_micros(ctx.now().micros() % 1_000_000);
        wake(peer, provider.turn, ctx.now(), ctx);
    }

    fn drifts_later(&mut self, peer: u32, ctx: &mut Ctx<'_>) {
        let mean = Span::from_seconds(ctx.params.drift_seconds);
        if let Some(draws) = get(&mut self.all, peer).and_then(|p| p.drift.as_mut()) {
            let span = draws.exponential(mean);
            ctx.engine.after(span, market::Event::Directory(Event::Drifts(peer)));
        }
    }

    fn churns_later(&mut self, peer: u32, ctx: &mut Ctx<'_>) {
        let mean = Span::from_seconds(ctx.params.churn_seconds);
        if let Some(draws) = get(&mut self.all, peer).and_then(|p| p.churn.as_mut()) {
            let span = draws.exponential(mean);
            ctx.engine.after(span, market::Event::Directory(Event::Churns(peer)));
        }
    }
}

/// Whether a peer offers a capability now, whatever it said.
pub(super) fn offers(who: &Peer, capability: u8) -> bool {
    who.offers.get(usize::from(capability)).copied().unwrap_or(false)
}

fn get(all: &mut [Provider], peer: u32) -> Option<&mut Provider> {
    all.get_mut(usize::try_from(peer).ok()?)
}

fn wake(peer: u32, turn: u32, when: Time, ctx: &mut Ctx<'_>) {
    ctx.engine.at(when, market::Event::Directory(Event::Due { peer, turn }));
}

fn changes(purpose: &str, peer: u32, seconds: u64, streams: Streams) -> Option<Box<Stream>> {
    (seconds > 0).then(|| Box::new(streams.of(purpose, u64::from(peer))))
}

/// A few of the registries.
fn chosen(candidates: &[RegistryCandidate], draw: u64) -> Arc<[u32]> {
    let chosen = choose_registries(candidates, LocalAddresses::Count, draw);
    let place = |one: &RegistryCandidate| candidates.iter().position(|c| c.did == one.did);
    chosen.iter().filter_map(|one| u32::try_from(place(one)?).ok()).collect()
}

/// Signs a descriptor of each capability that a peer offers.
fn describe(
    who: &Peer,
    capabilities: &[Capability],
    conditions: &Conditions,
    validity: Validity,
) -> Descriptors {
    let offered = (0_u8..).zip(capabilities).filter(|(capability, _)| offers(who, *capability));
    let descriptors = offered.filter_map(|(capability, of)| {
        let descriptor = descriptor_for(&of.signed, who.did, conditions.clone(), validity).ok()?;
        Some((capability, Stated::sign(descriptor, &who.key)))
    });
    Arc::new(descriptors.collect())
}

/// How things stand with a peer, as it says. Hostile ones say that they are idle.
fn lease(who: &Peer, params: &Params, due: Announcement) -> Lease {
    let admitted = if who.conduct == Conduct::Honest { who.admitted } else { 0 };
    Lease {
        iss: who.did,
        addrs: vec![format!("/ip4/{}/tcp/4001", who.ip)],
        load: admitted.min(params.capacity),
        queued: admitted.saturating_sub(params.capacity),
        capacity: params.capacity,
        lately: None,
        descriptors_seq: due.descriptors_seq,
        seq: due.lease.seq,
        nbf: due.lease.nbf,
        exp: due.lease.exp,
    }
}
