//! How offers are announced and found: providers' announcements, registries and queries. The rules are
//! `actum_discovery`'s; here messages are carried and time goes by.
//!
//! Statements are signed as a node signs them. Nobody forges here, so they are not verified again: verifying only takes its
//! time.

mod advertised;
mod lookups;
mod probes;
mod providers;
mod reconcile;
mod registry;
mod stated;
#[cfg(test)]
mod tests;

use super::{Ctx, population::Peer};
use crate::{Figures, Kind, Span, params::Conduct};
use actum_discovery::{Found, Omission, Record, RegistryCandidate};
use actum_model::{Did, ReleaseId};
use advertised::Lookers;
use lookups::Lookups;
use providers::Providers;
use reconcile::Run;
use registry::Registry;
use stated::Sheet;
use std::{collections::BTreeMap, sync::Arc};

/// How often a registry looks for what to probe.
const TICK: Span = Span::from_seconds(1);
/// At how many of those it forgets what expired: once a minute. What expired is not given out before either.
const EXPIRE_EVERY: u64 = 60;

/// What happens in a directory.
#[derive(Debug)]
pub(crate) enum Event {
    /// A provider wakes, for it may have something to announce.
    Due {
        peer: u32,
        turn: u32,
    },
    /// An announcement comes to a registry.
    Announced {
        registry: u32,
        sheet: Arc<Sheet>,
    },
    /// The registry has verified it.
    Verified {
        registry: u32,
        sheet: Arc<Sheet>,
    },
    /// The registry's answer comes back.
    Acknowledged,
    /// A peer takes an offer back or gives it again.
    Drifts(u32),
    /// A peer goes or comes back.
    Churns(u32),
    /// A registry looks after what it holds, for the nth time.
    Tick {
        registry: u32,
        nth: u64,
    },
    Probe(probes::Event),
    Reconcile(reconcile::Event),
    Lookup(lookups::Event),
}

/// What a requester has of a provider itself.
pub(crate) type Seen<'a> = &'a dyn Fn(u32, &Did) -> Record;

/// A query whose answers have come.
pub(crate) struct Looked {
    /// For which workflow.
    pub(crate) job: u64,
    /// What was found, best first.
    pub(crate) found: Vec<Found>,
    /// Who left out what the advertise plane has, where it was looked up there.
    pub(crate) omissions: Vec<Omission>,
}

/// Providers' statements, and registries.
pub(crate) struct Directory {
    providers: Providers,
    registries: Vec<Registry>,
    /// Reconciliations under way, by the registry that began it.
    runs: BTreeMap<u32, Run>,
    lookups: Lookups,
    lookers: Lookers,
}

impl Directory {
    pub(crate) fn new(ctx: &mut Ctx<'_>) -> Self {
        let params = ctx.params;
        let releases: Arc<[ReleaseId]> = ctx.population.capabilities.iter().map(|c| c.release).collect();
        let captured = (f64::from(params.registries) * params.captured).round() as u32;
        let honest = params.registries.saturating_sub(captured);
        let (mut candidates, mut registries) = (Vec::new(), Vec::new());
        for n in 0..params.registries {
            let number = params.peers.saturating_add(n);
            let Some(peer) = ctx.population.peer(number) else { continue };
            let (did, operator, ip) = (peer.did, peer.operator, peer.ip);
            candidates.push(RegistryCandidate { did, operator, ip, omissions: 0, named: false });
            let draws = ctx.streams.of("registry", u64::from(n));
            registries.push(Registry::new(number, did, n >= honest, draws, releases.clone()));
            let tick = Event::Tick { registry: n, nth: 1 };
            ctx.engine.after(TICK, super::Event::Directory(tick));
        }
        let providers = Providers::new(&candidates, ctx);
        let lookups = Lookups::new(ctx);
        let (runs, lookers) = (BTreeMap::new(), Lookers::default());
        let mut directory = Self { providers, registries, runs, lookups, lookers };
        directory.reconcile_first(ctx);
        directory
    }

    /// Begins to look for whoever offers a capability.
    pub(crate) fn find(&mut self, job: u64, requester: u32, capability: usize, ctx: &mut Ctx<'_>) {
        self.look(job, requester, capability, ctx);
    }

    pub(crate) fn handle(&mut self, event: Event, seen: Seen<'_>, ctx: &mut Ctx<'_>) -> Option<Looked> {
        match event {
            Event::Due { peer, turn } => self.providers.due(peer, turn, ctx),
            Event::Announced { registry, sheet } => {
                ctx.carrier.delivered();
                let takes = times(ctx.profile.takes.verify, sheet.statements());
                ctx.engine.after(takes, super::Event::Directory(Event::Verified { registry, sheet }));
            }
            Event::Verified { registry, sheet } => {
                let hostile = self.is_hostile(sheet.name, ctx);
                let now = ctx.now().unix_seconds();
                let at = get(&mut self.registries, registry)?;
                at.take(&sheet, hostile, now);
                let answer = super::Event::Directory(Event::Acknowledged);
                let bytes = ctx.profile.weighs.announced;
                ctx.carrier.send(ctx.engine, at.peer, Kind::Announce, bytes, answer);
            }
            Event::Acknowledged => ctx.carrier.delivered(),
            Event::Drifts(peer) => self.providers.drifts(peer, ctx),
            Event::Churns(peer) => self.providers.churns(peer, ctx),
            Event::Tick { registry, nth } => {
                let at = get(&mut self.registries, registry)?;
                if nth.is_multiple_of(EXPIRE_EVERY) {
                    at.expire(ctx.now().unix_seconds());
                }
                self.probe(registry, ctx);
                let tick = Event::Tick { registry, nth: nth.saturating_add(1) };
                ctx.engine.after(TICK, super::Event::Directory(tick));
            }
            Event::Probe(event) => self.handle_probe(event, ctx),
            Event::Reconcile(event) => self.handle_reconcile(event, ctx),
            Event::Lookup(event) => return self.handle_lookup(event, seen, ctx),
        }
        None
    }

    /// Takes in what came of a query: what was found for a capability, and who left out what it should have had.
    pub(crate) fn looked(
        &mut self,
        requester: u32,
        capability: usize,
        found: &[Found],
        omissions: &[Omission],
        ctx: &mut Ctx<'_>,
    ) {
        self.note_found(capability, found, ctx);
        self.blame(requester, omissions, ctx);
    }

    /// Takes in that a peer goes by another name now.
    pub(crate) fn renamed(&mut self, peer: u32, ctx: &mut Ctx<'_>) {
        self.providers.renamed(peer, ctx);
    }

    /// Adds what finding came to:
    ///
    /// - `found`: offers of what was asked for that a query found, on average; `empty`: the share of queries that found none.
    /// - `stale`: of the offers found, the share whose provider was gone or offered that no more.
    /// - `hostile_found`: of the offers found, the share that hostile providers make.
    /// - `looked_up`: the share of queries that registries left with nothing, so that it was looked on the advertise plane;
    ///   `audited`: the share that was looked up there for audit alone.
    /// - `pages`: registries that answered a query in time, on average.
    /// - `omissions`: how often a requester found that a registry left out what it should have had.
    /// - `probes`: probes of registries; `failed_probes`: the share of them that was not answered as it should be.
    /// - `reconciled`: statements that a registry had from another one first.
    pub(crate) fn figures(&self, counted: &Figures, all: &mut BTreeMap<&'static str, f64>) {
        all.extend([
            ("found", counted.share("found_offers", "queries")),
            ("empty", counted.share("empty_queries", "queries")),
            ("stale", counted.share("stale_offers", "found_offers")),
            ("hostile_found", counted.share("hostile_found", "found_offers")),
            ("looked_up", counted.share("looked_up", "queries")),
            ("audited", counted.share("audited", "queries")),
            ("pages", counted.share("pages", "queries")),
            ("omissions", counted.get("omissions")),
            ("probes", counted.get("probes")),
            ("failed_probes", counted.share("failed_probes", "probes")),
            ("reconciled", counted.get("reconciled")),
        ]);
    }

    fn is_hostile(&self, name: u32, ctx: &Ctx<'_>) -> bool {
        let behind = self.providers.behind(name, ctx);
        behind.and_then(|(peer, _)| ctx.population.peer(peer)).is_some_and(is_hostile)
    }
}

fn is_hostile(peer: &Peer) -> bool {
    peer.conduct != Conduct::Honest
}

fn get(registries: &mut [Registry], registry: u32) -> Option<&mut Registry> {
    registries.get_mut(usize::try_from(registry).ok()?)
}

/// A span so many times.
fn times(span: Span, count: u64) -> Span {
    Span::from_micros(span.micros().saturating_mul(count))
}
