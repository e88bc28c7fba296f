//! Components, which whoever replays or draws canaries needs: who has them, and fetching them, each once.
//!
//! Whoever asks for something is taken for a home that lacks it, whatever it offers itself; of other peers, those that offer it have it.
//! A fetch is not lost, and however long it takes it is waited for.

use super::{place, tally};
use crate::{Stream, Time, market::Ctx};
use std::collections::BTreeMap;

/// A set of peers.
#[derive(Debug)]
pub(super) struct Peers(Vec<u64>);

impl Peers {
    pub(super) fn none_of(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    pub(super) fn has(&self, n: u32) -> bool {
        self.0.get(place(n / 64)).is_some_and(|word| word & (1 << (n % 64)) != 0)
    }

    /// Adds one; says whether it is new.
    pub(super) fn add(&mut self, n: u32) -> bool {
        let Some(word) = self.0.get_mut(place(n / 64)) else { return false };
        let new = *word & (1 << (n % 64)) == 0;
        *word |= 1 << (n % 64);
        new
    }

    pub(super) fn remove(&mut self, n: u32) {
        if let Some(word) = self.0.get_mut(place(n / 64)) {
            *word &= !(1 << (n % 64));
        }
    }
}

/// Who has which component.
pub(super) struct Components {
    /// By capability: who has got the component, or is getting it.
    got: Vec<Peers>,
    /// When what a requester fetches is there, by requester and capability.
    there: BTreeMap<(u32, usize), Time>,
    draws: BTreeMap<u32, Stream>,
}

/// What a component weighs, in bytes.
pub(super) fn weighs(ctx: &Ctx<'_>) -> u64 {
    ctx.params.component_bytes.unwrap_or(ctx.profile.weighs.component)
}

impl Components {
    pub(super) fn new(ctx: &Ctx<'_>) -> Self {
        let count = ctx.population.peers.len();
        Self {
            got: ctx.population.capabilities.iter().map(|_| Peers::none_of(count)).collect(),
            there: BTreeMap::new(),
            draws: BTreeMap::new(),
        }
    }

    /// Whether a peer has a component.
    pub(super) fn has(&self, peer: u32, capability: usize, ctx: &Ctx<'_>) -> bool {
        let offers = || ctx.population.peer(peer).and_then(|peer| peer.offers.get(capability)).copied();
        let got = self.got.get(capability).is_some_and(|got| got.has(peer));
        got || peer >= ctx.params.requesters && offers().unwrap_or(false)
    }

    /// A peer has got a component with something else.
    pub(super) fn add(&mut self, peer: u32, capability: usize) {
        if let Some(got) = self.got.get_mut(capability) {
            got.add(peer);
        }
    }

    /// When a component is with a requester, from now on. Where it lacks it, it begins to fetch it.
    pub(super) fn ready(&mut self, requester: u32, capability: usize, ctx: &mut Ctx<'_>) -> Time {
        let now = ctx.now();
        if let Some(there) = self.there.get(&(requester, capability)) {
            return now.max(*there);
        }
        let bytes = weighs(ctx);
        if bytes == 0 || self.has(requester, capability, ctx) {
            return now;
        }
        self.add(requester, capability);
        let (streams, link) = (ctx.streams, ctx.link());
        let draws = self.draws.entry(requester);
        let draws = draws.or_insert_with(|| streams.of("components", u64::from(requester)));
        let both_ways =
            draws.log_normal(link.one_way, link.sigma) + draws.log_normal(link.one_way, link.sigma);
        let there = now + both_ways + link.on_the_wire(bytes);
        self.there.insert((requester, capability), there);
        tally::fetched(ctx.profile.weighs.statements.saturating_add(bytes), ctx);
        there
    }
}
