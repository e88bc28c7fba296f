//! Fraud proofs on their way from peer to peer.
//!
//! Who caught a liar makes a proof and tells the peers it is connected to; whoever lacks it asks for it, runs it again and,
//! if it is true, which all of them are here, tells its own. One proof of a liar is enough. Connections are drawn once, each
//! goes both ways, and hostile peers keep silent. What a node lets strangers' accusations cost it is not bounded here.

use super::{
    components::{self, Components, Peers},
    is_online, place,
};
use crate::{
    Kind, Span, Stream, Time,
    market::{self, Ctx},
    params::Conduct,
};
use actum_model::Did;
use std::collections::BTreeMap;

/// How often a node looks whether it has found a lie.
const LOOK_EVERY: Span = Span::from_millis(500);
/// The most liars whose proofs are passed on in one market: 25 kB each among 100,000 peers. Of more, none is made.
const MAX_PROOFS: usize = 4_096;

/// What happens to a proof, by its number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// A peer that holds it tells its peers.
    Told { proof: u32, by: u32 },
    /// A peer hears of it.
    Accused { proof: u32, by: u32, to: u32 },
    /// Who told is asked for it.
    Wanted { proof: u32, by: u32, to: u32 },
    /// It comes.
    Given { proof: u32, to: u32 },
    /// A peer has verified it.
    Verified { proof: u32, by: u32 },
}

/// What a delegation has to know of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Heard {
    /// A requester has verified a proof.
    Proven {
        /// Which.
        requester: u32,
        /// Who lied.
        liar: Did,
        /// The call that was answered with a lie.
        receipt: u64,
    },
    /// A liar hears that it was caught.
    OfItself {
        /// By which name.
        liar: Did,
    },
}

/// A proof against one liar.
struct Proof {
    liar: Did,
    receipt: u64,
    capability: usize,
    began: Time,
    holds: Peers,
    /// Those that are getting it.
    asks: Peers,
    /// All requesters before this one hold it, or were not there.
    missing: u32,
    known_to_all: bool,
}

/// All proofs, and who is connected to whom.
pub(super) struct Spreading {
    /// Where in `peers` those of each peer begin.
    first: Vec<usize>,
    peers: Vec<u32>,
    proofs: Vec<Proof>,
    by_liar: BTreeMap<Did, u32>,
    /// Until when each peer judges what it has got: one proof at a time.
    judging: Vec<Time>,
    draws: BTreeMap<u32, Stream>,
}

/// Who is connected to whom: each peer draws half of its connections, and is drawn for as many on average.
fn connect(ctx: &Ctx<'_>) -> (Vec<usize>, Vec<u32>) {
    let count = ctx.population.peers.len();
    let all = u32::try_from(count).unwrap_or(u32::MAX);
    let mut pairs = Vec::new();
    for n in 0..all {
        let mut draws = ctx.streams.of("neighbours", u64::from(n));
        for _ in 0..ctx.params.neighbours.div_ceil(2) {
            let other = u32::try_from(draws.below(u64::from(all))).unwrap_or(n);
            if other != n {
                pairs.extend([(n, other), (other, n)]);
            }
        }
    }
    pairs.sort_unstable();
    pairs.dedup();
    let mut first = vec![0; count + 1];
    for (n, _) in &pairs {
        if let Some(end) = first.get_mut(place(*n) + 1) {
            *end += 1;
        }
    }
    let mut sum = 0;
    for end in &mut first {
        sum += *end;
        *end = sum;
    }
    (first, pairs.into_iter().map(|(_, other)| other).collect())
}

impl Spreading {
    pub(super) fn new(ctx: &Ctx<'_>) -> Self {
        let (first, peers) = if ctx.params.proofs { connect(ctx) } else { Default::default() };
        let count = ctx.population.peers.len();
        Self {
            first,
            peers,
            proofs: Vec::new(),
            by_liar: BTreeMap::new(),
            judging: vec![Time::ZERO; if ctx.params.proofs { count } else { 0 }],
            draws: BTreeMap::new(),
        }
    }

    /// A requester has found an answer to be a lie.
    pub(super) fn found(
        &mut self,
        requester: u32,
        liar: Did,
        (receipt, capability): (u64, usize),
        components: &mut Components,
        ctx: &mut Ctx<'_>,
    ) {
        if !ctx.params.proofs {
            return;
        }
        let known = self.by_liar.get(&liar).copied();
        let Some(number) = known.or_else(|| self.begin(liar, receipt, capability, ctx)) else { return };
        let Some(proof) = self.proofs.get_mut(place(number)) else { return };
        if !proof.holds.add(requester) {
            return;
        }
        // What it was caught with is there, the component too.
        components.add(requester, capability);
        let streams = ctx.streams;
        let draws = self.draws.entry(requester);
        let draws = draws.or_insert_with(|| streams.of("looks", u64::from(requester)));
        let looks = Span::from_micros(draws.below(LOOK_EVERY.micros()));
        ctx.figures.count("proof_runs");
        let takes = ctx.profile.takes.judge + ctx.profile.takes.replay;
        after(looks + takes, Event::Told { proof: number, by: requester }, ctx);
        self.is_known(number, ctx);
    }

    fn begin(&mut self, liar: Did, receipt: u64, capability: usize, ctx: &mut Ctx<'_>) -> Option<u32> {
        if self.proofs.len() >= MAX_PROOFS {
            return None;
        }
        let number = u32::try_from(self.proofs.len()).ok()?;
        let count = ctx.population.peers.len();
        self.proofs.push(Proof {
            liar,
            receipt,
            capability,
            began: ctx.now(),
            holds: Peers::none_of(count),
            asks: Peers::none_of(count),
            missing: 0,
            known_to_all: false,
        });
        self.by_liar.insert(liar, number);
        ctx.figures.count("proofs");
        Some(number)
    }

    pub(super) fn handle(
        &mut self,
        event: Event,
        components: &mut Components,
        ctx: &mut Ctx<'_>,
    ) -> Option<Heard> {
        match event {
            Event::Told { proof, by } => self.tell(proof, by, ctx),
            Event::Accused { proof, by, to } => return self.accused(proof, by, to, ctx),
            Event::Wanted { proof, by, to } => self.wanted(proof, by, to, components, ctx),
            Event::Given { proof, to } => self.given(proof, to, components, ctx),
            Event::Verified { proof, by } => return self.verified(proof, by, ctx),
        }
        None
    }

    fn tell(&mut self, proof: u32, by: u32, ctx: &mut Ctx<'_>) {
        let honest = |n| ctx.population.peer(n).is_some_and(|peer| peer.conduct == Conduct::Honest);
        if !honest(by) || !is_online(by, ctx) {
            return;
        }
        let from = self.first.get(place(by)).copied().unwrap_or(0);
        let to = self.first.get(place(by) + 1).copied().unwrap_or(from);
        for n in self.peers.get(from..to).unwrap_or_default() {
            let event = Event::Accused { proof, by, to: *n };
            send(by, ctx.profile.weighs.accuse, event, ctx);
        }
    }

    fn accused(&mut self, number: u32, by: u32, to: u32, ctx: &mut Ctx<'_>) -> Option<Heard> {
        ctx.carrier.delivered();
        let proof = self.proofs.get_mut(place(number))?;
        let peer = ctx.population.peer(to).filter(|peer| peer.online)?;
        if peer.did == proof.liar {
            return Some(Heard::OfItself { liar: proof.liar });
        }
        if peer.conduct != Conduct::Honest || proof.holds.has(to) || !proof.asks.add(to) {
            return None;
        }
        let event = Event::Wanted { proof: number, by: to, to: by };
        if !send(to, ctx.profile.weighs.statements, event, ctx) {
            proof.asks.remove(to);
        }
        None
    }

    /// `to` is asked by `by`.
    fn wanted(&mut self, number: u32, by: u32, to: u32, components: &Components, ctx: &mut Ctx<'_>) {
        ctx.carrier.delivered();
        let Some(proof) = self.proofs.get_mut(place(number)) else { return };
        let bytes = match components.has(by, proof.capability, ctx) {
            true => ctx.profile.weighs.proof,
            false => ctx.profile.weighs.proof.saturating_add(components::weighs(ctx)),
        };
        if !is_online(to, ctx) || !send(to, bytes, Event::Given { proof: number, to: by }, ctx) {
            proof.asks.remove(by);
        }
    }

    fn given(&mut self, number: u32, to: u32, components: &mut Components, ctx: &mut Ctx<'_>) {
        ctx.carrier.delivered();
        let Some(proof) = self.proofs.get_mut(place(number)) else { return };
        if !is_online(to, ctx) {
            proof.asks.remove(to);
            return;
        }
        components.add(to, proof.capability);
        let Some(judging) = self.judging.get_mut(place(to)) else { return };
        *judging = (*judging).max(ctx.now()) + ctx.profile.takes.judge + ctx.profile.takes.replay;
        ctx.figures.count("proof_runs");
        let verified =
            market::Event::Delegation(super::Event::Fraud(Event::Verified { proof: number, by: to }));
        ctx.engine.at(*judging, verified);
    }

    fn verified(&mut self, number: u32, by: u32, ctx: &mut Ctx<'_>) -> Option<Heard> {
        let proof = self.proofs.get_mut(place(number))?;
        if !proof.holds.add(by) {
            return None;
        }
        let (liar, receipt) = (proof.liar, proof.receipt);
        self.tell(number, by, ctx);
        self.is_known(number, ctx);
        (by < ctx.params.requesters).then_some(Heard::Proven { requester: by, liar, receipt })
    }

    /// Takes in the moment at which every requester that is there holds it.
    fn is_known(&mut self, number: u32, ctx: &mut Ctx<'_>) {
        let Some(proof) = self.proofs.get_mut(place(number)) else { return };
        let requesters = ctx.params.requesters;
        while proof.missing < requesters && (proof.holds.has(proof.missing) || !is_online(proof.missing, ctx))
        {
            proof.missing += 1;
        }
        if proof.missing >= requesters && !proof.known_to_all {
            proof.known_to_all = true;
            ctx.figures.count("proofs_known_to_all");
            ctx.figures.sample("known_to_all_s", ctx.now().since(proof.began).seconds());
        }
    }
}

fn after(span: Span, event: Event, ctx: &mut Ctx<'_>) {
    ctx.engine.after(span, market::Event::Delegation(super::Event::Fraud(event)));
}

fn send(from: u32, bytes: u64, event: Event, ctx: &mut Ctx<'_>) -> bool {
    let event = market::Event::Delegation(super::Event::Fraud(event));
    ctx.carrier.send(ctx.engine, from, Kind::Fraud, bytes, event)
}
