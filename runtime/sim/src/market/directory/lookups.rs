//! Queries: a requester asks a few registries what offers a capability, and makes one answer of theirs; where they have none, the
//! advertise plane's.

use super::{Directory, Looked, Seen, advertised::LookedUp, registry::Registry};
use crate::{
    Kind, Span, Stream,
    market::{self, Ctx, population::Capability},
};
use actum_discovery::{
    Found, Gathering, LiveOffer, Omission, RegistryCandidate, advertise::LocalAddresses, choose_registries,
};
use actum_model::{Did, Filters, Query, SecretKey, Signed};
use serde_bytes::ByteArray;
use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

/// The most offers asked for of one registry, as a node does.
const PAGE: u32 = 50;
/// One query in so many is compared with what the advertise plane has.
const AUDIT_ONE_IN: u64 = 20;
/// How long a registry may take to answer, as long as none has.
const DEADLINE: Span = Span::from_seconds(10);
/// How long the others have once one has.
const OTHERS: Span = Span::from_seconds(5);

/// Of one query at one registry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    lookup: u64,
    registry: u32,
}

/// What happens with queries.
#[derive(Debug)]
pub(crate) enum Event {
    /// It comes to a registry.
    Asks(Asked),
    /// The registry has searched.
    Searched(Asked),
    /// A page comes back.
    Answers(Asked, Arc<[LiveOffer]>),
    /// The page is verified.
    Verified(Asked, Arc<[LiveOffer]>),
    /// Nobody is waited for any longer.
    Late(u64),
    /// What the advertise plane has is there.
    LookedUp(u64, Arc<[LiveOffer]>),
}

fn event(event: Event) -> market::Event {
    market::Event::Directory(super::Event::Lookup(event))
}

/// A query under way.
struct Lookup {
    job: u64,
    requester: u32,
    capability: u8,
    /// By registry, what it was asked and has not answered.
    waiting: BTreeMap<u32, Query>,
    gathering: Gathering,
    draw: u64,
    /// Whether the registries have answered or are not waited for any more, and no page counts.
    over: bool,
    advertised: Advertised,
}

/// How far a query has come with the advertise plane.
enum Advertised {
    NotLooked,
    Looking,
    Found(Vec<LiveOffer>),
}

/// All queries under way, and what requesters hold against registries.
pub(super) struct Lookups {
    under_way: BTreeMap<u64, Lookup>,
    next: u64,
    draws: BTreeMap<u32, Stream>,
    /// How often a requester found a registry to have left something out.
    omissions: BTreeMap<(u32, Did), u32>,
    /// By capability, what a signed query for it weighs.
    weighs: Vec<u64>,
}

impl Lookups {
    pub(super) fn new(ctx: &Ctx<'_>) -> Self {
        let key = SecretKey::from_seed(&ctx.streams.bytes("query", 0));
        let weighs = ctx.population.capabilities.iter().map(|capability| {
            let query = query(capability, key.did(), key.did(), [0; 12]);
            Signed::sign(query, &key).bytes().len() as u64
        });
        Self {
            weighs: weighs.collect(),
            under_way: BTreeMap::new(),
            next: 0,
            draws: BTreeMap::new(),
            omissions: BTreeMap::new(),
        }
    }
}

/// A question for a capability, in the words of its author.
fn query(capability: &Capability, iss: Did, aud: Did, nonce: [u8; 12]) -> Query {
    Query {
        iss,
        aud,
        text: capability.intent.clone(),
        filters: Filters::default(),
        limit: PAGE,
        nonce: ByteArray::new(nonce),
    }
}

fn nonce(draws: &mut Stream) -> [u8; 12] {
    let (head, tail) = (draws.number().to_be_bytes(), draws.number().to_be_bytes());
    let mut nonce = [0; 12];
    nonce.iter_mut().zip(head.into_iter().chain(tail)).for_each(|(to, from)| *to = from);
    nonce
}

fn place_of(registries: &[Registry], did: &Did) -> Option<u32> {
    u32::try_from(registries.iter().position(|registry| registry.did == *did)?).ok()
}

impl Directory {
    pub(super) fn look(&mut self, job: u64, requester: u32, capability: usize, ctx: &mut Ctx<'_>) {
        let (lookups, registries) = (&mut self.lookups, &self.registries);
        let streams = ctx.streams;
        let draws = lookups.draws.entry(requester);
        let draws = draws.or_insert_with(|| streams.of("find", u64::from(requester)));
        // The same draws, whatever comes of them.
        let (draw, among, audited) =
            (draws.number(), draws.number(), draws.number().is_multiple_of(AUDIT_ONE_IN));
        let number = lookups.next;
        lookups.next += 1;
        let (Some(who), Some(wanted)) =
            (ctx.population.peer(requester), ctx.population.capabilities.get(capability))
        else {
            return;
        };
        let own = query(wanted, who.did, who.did, nonce(draws));
        let mut lookup = Lookup {
            job,
            requester,
            capability: u8::try_from(capability).unwrap_or(u8::MAX),
            waiting: BTreeMap::new(),
            gathering: Gathering::new(own),
            draw,
            over: false,
            advertised: Advertised::NotLooked,
        };
        let candidates = self.registries.iter().filter_map(|registry| {
            let peer = ctx.population.peer(registry.peer)?;
            let omissions = lookups.omissions.get(&(requester, registry.did)).copied();
            Some(RegistryCandidate {
                did: registry.did,
                operator: peer.operator,
                ip: peer.ip,
                omissions: omissions.unwrap_or_default(),
                named: false,
            })
        });
        let candidates: Vec<_> = candidates.collect();
        let chosen = choose_registries(&candidates, LocalAddresses::Count, among);
        let weighs = lookups.weighs.get(capability).copied().unwrap_or_default();
        let bytes = ctx.profile.weighs.find.saturating_add(weighs);
        if who.online {
            let queries = chosen.iter().map(|one| query(wanted, who.did, one.did, nonce(draws)));
            let queries = queries.filter_map(|query| Some((place_of(registries, &query.aud)?, query)));
            lookup.waiting = queries.collect();
        }
        for registry in lookup.waiting.keys().copied() {
            let asks = event(Event::Asks(Asked { lookup: number, registry }));
            ctx.carrier.send(ctx.engine, requester, Kind::Find, bytes, asks);
        }
        let deadline = if self.registries.is_empty() { Span::ZERO } else { DEADLINE };
        ctx.engine.after(deadline, event(Event::Late(number)));
        let audited = audited && who.online && ctx.params.advertise;
        self.lookups.under_way.insert(number, lookup);
        if audited {
            ctx.figures.count("audited");
            self.look_there(number, ctx);
        }
    }

    /// Looks on the advertise plane too.
    fn look_there(&mut self, number: u64, ctx: &mut Ctx<'_>) {
        let Some(lookup) = self.lookups.under_way.get_mut(&number) else { return };
        lookup.advertised = Advertised::Looking;
        let (requester, capability) = (lookup.requester, lookup.capability);
        let LookedUp { offers, takes } = self.look_up(requester, capability, ctx);
        ctx.engine.after(takes, event(Event::LookedUp(number, offers.into())));
    }

    pub(super) fn handle_lookup(
        &mut self,
        happens: Event,
        seen: Seen<'_>,
        ctx: &mut Ctx<'_>,
    ) -> Option<Looked> {
        match happens {
            Event::Asks(asked) => {
                ctx.carrier.delivered();
                let takes = &ctx.profile.takes;
                let offers = super::get(&mut self.registries, asked.registry)?.given();
                let each = Span::from_micros(offers.saturating_mul(takes.search_offer_ns) / 1_000);
                ctx.engine.after(takes.search + each, event(Event::Searched(asked)));
                None
            }
            Event::Searched(asked) => {
                let lookup = self.lookups.under_way.get(&asked.lookup).filter(|lookup| !lookup.over)?;
                let query = lookup.waiting.get(&asked.registry)?;
                let registry = super::get(&mut self.registries, asked.registry)?;
                let offers: Arc<[LiveOffer]> = registry.search(query, ctx.now().unix_seconds()).into();
                let weighs = &ctx.profile.weighs;
                let offer = |offer: &LiveOffer| {
                    let statements = offer.descriptor().bytes().len() + offer.lease().bytes().len();
                    weighs.offer.saturating_add(statements as u64)
                };
                let bytes = offers.iter().map(offer).fold(weighs.page, u64::saturating_add);
                let answers = event(Event::Answers(asked, offers));
                ctx.carrier.send(ctx.engine, registry.peer, Kind::Find, bytes, answers);
                None
            }
            Event::Answers(asked, offers) => {
                ctx.carrier.delivered();
                let requester = self.lookups.under_way.get(&asked.lookup)?.requester;
                if ctx.population.peer(requester)?.online {
                    // The page, and both halves of each offer.
                    let statements = (offers.len() as u64).saturating_mul(2).saturating_add(1);
                    let takes = super::times(ctx.profile.takes.verify, statements);
                    ctx.engine.after(takes, event(Event::Verified(asked, offers)));
                }
                None
            }
            Event::Verified(asked, offers) => {
                let now = ctx.now().unix_seconds();
                let lookup = self.lookups.under_way.get_mut(&asked.lookup)?;
                if lookup.over {
                    return None;
                }
                let query = lookup.waiting.remove(&asked.registry)?;
                lookup.gathering.verified(&query, &offers, now);
                ctx.figures.count("pages");
                lookup.over = lookup.waiting.is_empty();
                if lookup.gathering.answers() == 1 {
                    ctx.engine.after(OTHERS, event(Event::Late(asked.lookup)));
                }
                self.end_lookup(asked.lookup, seen, ctx)
            }
            Event::Late(lookup) => {
                self.lookups.under_way.get_mut(&lookup)?.over = true;
                self.end_lookup(lookup, seen, ctx)
            }
            Event::LookedUp(lookup, offers) => {
                let found = Advertised::Found(offers.to_vec());
                self.lookups.under_way.get_mut(&lookup)?.advertised = found;
                self.end_lookup(lookup, seen, ctx)
            }
        }
    }

    /// Ends a query once registries have answered, or are not waited for, and so has the advertise plane where it was asked too,
    /// to audit them. Where they leave the requester with nothing, it is asked now, as by a node.
    fn end_lookup(&mut self, number: u64, seen: Seen<'_>, ctx: &mut Ctx<'_>) -> Option<Looked> {
        let lookup = self.lookups.under_way.get(&number).filter(|lookup| lookup.over)?;
        let (requester, now) = (lookup.requester, ctx.now().unix_seconds());
        let there = ctx.population.peer(requester)?.online;
        let record = |did: &Did| seen(requester, did);
        if matches!(lookup.advertised, Advertised::Looking) {
            return None;
        }
        if matches!(lookup.advertised, Advertised::NotLooked) {
            let found = lookup.gathering.found(record, now, lookup.draw);
            if there && ctx.params.advertise && lookup.gathering.leaves_nothing(&found, record) {
                ctx.figures.count("looked_up");
                self.look_there(number, ctx);
                return None;
            }
            let Lookup { job, .. } = self.lookups.under_way.remove(&number)?;
            return Some(Looked { job, found, omissions: Vec::new() });
        }
        let Lookup { job, mut gathering, draw, advertised, .. } = self.lookups.under_way.remove(&number)?;
        let advertised = match advertised {
            Advertised::Found(offers) if there => offers,
            _ => Vec::new(),
        };
        // What the advertise plane has is there to choose from as well.
        advertised.iter().for_each(|offer| gathering.offer(offer, now));
        let found = gathering.found(record, now, draw);
        Some(Looked { job, found, omissions: gathering.omissions(&advertised, record, now) })
    }

    pub(super) fn note_found(&mut self, capability: usize, found: &[Found], ctx: &mut Ctx<'_>) {
        let Some(wanted) = ctx.population.capabilities.get(capability) else { return };
        let release = wanted.release;
        let found = found.iter().map(|found| found.offer.descriptor().payload());
        let (mut offers, mut stale, mut hostile) = (0.0, 0.0, 0.0);
        for d in found.filter(|d| d.release == release) {
            offers += 1.0;
            let who = ctx.population.by_did(&d.iss).and_then(|n| ctx.population.peer(n));
            let offered = |who: &&market::population::Peer| {
                who.online && who.did == d.iss && who.offers.get(capability) == Some(&true)
            };
            stale += f64::from(u8::from(!who.as_ref().is_some_and(offered)));
            hostile += f64::from(u8::from(who.is_some_and(super::is_hostile)));
        }
        ctx.figures.count("queries");
        ctx.figures.add("found_offers", offers);
        ctx.figures.add("stale_offers", stale);
        ctx.figures.add("hostile_found", hostile);
        if offers == 0.0 {
            ctx.figures.count("empty_queries");
        }
    }

    pub(super) fn blame(&mut self, requester: u32, omissions: &[Omission], ctx: &mut Ctx<'_>) {
        for omission in omissions {
            let provider = omission.offer.descriptor().payload().iss;
            let who = ctx.population.by_did(&provider).and_then(|n| ctx.population.peer(n));
            // Its provider has to be there: else the registry may have found that it is not.
            if !who.is_some_and(|who| who.online && who.did == provider) {
                continue;
            }
            ctx.figures.count("omissions");
            match self.lookups.omissions.entry((requester, omission.index)) {
                Entry::Occupied(mut held) => *held.get_mut() = held.get().saturating_add(1),
                Entry::Vacant(free) => drop(free.insert(1)),
            }
        }
    }
}
