//! Providers at work: who runs, who waits, and who is sent away. Whose claim is the better and in which order they are served,
//! `actum_trust` says.

use crate::{
    Span, Stream, Streams, Time,
    market::{Ctx, population::Peer},
    params::Conduct,
};
use actum_model::Limits;
use actum_trust::{Account, Effect, Giving, HOUR_SECONDS, Hour, Priority, Queue, Refused, priority};
use std::{collections::BTreeMap, time::Duration};

use super::conduct::{Said, says};

/// All providers' work, by peer; those alone that were asked for something.
pub(super) struct Providers {
    each: BTreeMap<u32, Provider>,
    streams: Streams,
    giving: Giving,
}

/// One provider.
struct Provider {
    conduct: Stream,
    works: Stream,
    executed: u64,
    running: u32,
    /// Calls.
    waiting: Queue<u64>,
    /// By requester, where balances are kept.
    accounts: BTreeMap<u32, Kept>,
}

/// What is counted between a provider and a requester.
#[derive(Default)]
struct Kept {
    account: Account,
    lately: Vec<Hour>,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    /// It runs from now on.
    Runs,
    /// It waits for its turn, in the place of another call where one is named.
    Waits(Option<u64>),
    /// It is refused.
    Refused(Refused),
    /// Nothing is ever heard of it.
    Vanishes,
}

impl Provider {
    fn new(n: u32, streams: Streams) -> Self {
        Self {
            conduct: streams.of("conduct", u64::from(n)),
            works: streams.of("works", u64::from(n)),
            executed: 0,
            running: 0,
            waiting: Queue::default(),
            accounts: BTreeMap::new(),
        }
    }

    /// How many run or wait.
    fn admitted(&self) -> u32 {
        self.running.saturating_add(u32::try_from(self.waiting.len()).unwrap_or(u32::MAX))
    }

    fn priority(&self, requester: u32, now: Time, giving: &Giving) -> Priority {
        let nothing = Kept::default();
        let kept = self.accounts.get(&requester).unwrap_or(&nothing);
        priority(&kept.account, &kept.lately, Limits::default().fuel, now.unix_seconds(), giving)
    }
}

/// A moment, as the queue has it.
fn since_the_beginning(now: Time) -> Duration {
    now.since(Time::ZERO).duration()
}

/// Whether a peer takes such a call at all.
fn takes(peer: &Peer, capability: usize) -> Result<(), Admitted> {
    let offered = peer.offers.get(capability).copied().unwrap_or(false);
    match peer.conduct {
        Conduct::NeverAnswers => Err(Admitted::Vanishes),
        Conduct::Refuses => Err(Admitted::Refused(Refused::NotNow)),
        _ if peer.free_rider || !offered => Err(Admitted::Refused(Refused::NotNow)),
        _ => Ok(()),
    }
}

impl Providers {
    pub(super) fn new(streams: Streams) -> Self {
        Self { each: BTreeMap::new(), streams, giving: Giving::default() }
    }

    fn one(&mut self, n: u32) -> &mut Provider {
        let streams = self.streams;
        self.each.entry(n).or_insert_with(|| Provider::new(n, streams))
    }

    /// A call has come to a peer that is there.
    pub(super) fn admit(
        &mut self,
        n: u32,
        (call, requester): (u64, u32),
        capability: usize,
        ctx: &mut Ctx<'_>,
    ) -> Admitted {
        let (now, giving) = (ctx.now(), self.giving);
        let Some(peer) = ctx.population.peer_mut(n) else { return Admitted::Vanishes };
        if let Err(refused) = takes(peer, capability) {
            return refused;
        }
        let provider = self.one(n);
        let (capacity, queue) = (ctx.params.capacity.max(1), ctx.params.queue);
        if provider.running < capacity {
            provider.running += 1;
            peer.admitted = provider.admitted();
            return Admitted::Runs;
        }
        let priority = match ctx.params.balances {
            true => provider.priority(requester, now, &giving),
            // All alike: the first come is the first served.
            false => Priority::Newcomer,
        };
        let at = since_the_beginning(now);
        let full = provider.waiting.len() >= usize::try_from(queue).unwrap_or(usize::MAX);
        let displaced = if full { provider.waiting.displace(priority, at) } else { None };
        if full && displaced.is_none() {
            return Admitted::Refused(Refused::NotNow);
        }
        if !provider.waiting.lets_wait(priority) {
            return Admitted::Refused(Refused::NotForYou);
        }
        provider.waiting.join(call, priority, at);
        peer.admitted = provider.admitted();
        Admitted::Waits(displaced)
    }

    /// Begins to execute a call: how long that takes, and what is going to be said.
    pub(super) fn execute(&mut self, n: u32, canary: bool, effect: Effect, ctx: &Ctx<'_>) -> (Span, Said) {
        let takes = ctx.profile.takes;
        let conduct = ctx.population.peer(n).map_or(Conduct::Honest, |peer| peer.conduct);
        let provider = self.one(n);
        let said = says(conduct, canary, effect, provider.executed, &mut provider.conduct);
        provider.executed += 1;
        (takes.admit + provider.works.log_normal(takes.execute, takes.execute_sigma), said)
    }

    /// A turn has become free: whose it is now. Whoever waits at a peer that has gone waits in vain, and is forgotten.
    pub(super) fn ended(&mut self, n: u32, ctx: &mut Ctx<'_>) -> (Option<u64>, Vec<u64>) {
        let now = ctx.now();
        let Some(peer) = ctx.population.peer_mut(n) else { return (None, Vec::new()) };
        let provider = self.one(n);
        let gone = match peer.online {
            true => Vec::new(),
            false => provider.waiting.leave_all(),
        };
        let next = provider.waiting.next(since_the_beginning(now));
        if next.is_none() {
            provider.running = provider.running.saturating_sub(1);
        }
        peer.admitted = provider.admitted();
        (next, gone)
    }

    /// Counts what a peer burned for a requester, at the peer.
    pub(super) fn served(&mut self, n: u32, requester: u32, fuel: u64, now: Time) {
        let hour = now.unix_seconds() / HOUR_SECONDS;
        let window = self.giving.window_seconds.seconds() / HOUR_SECONDS;
        let kept = self.one(n).accounts.entry(requester).or_default();
        kept.account.served_fuel = kept.account.served_fuel.saturating_add(fuel);
        match kept.lately.last_mut() {
            Some(last) if last.hour == hour => last.fuel = last.fuel.saturating_add(fuel),
            _ => {
                kept.lately.retain(|past| past.hour.saturating_add(window) >= hour);
                kept.lately.push(Hour { hour, fuel });
            }
        }
    }

    /// Counts the same at the requester, which is a provider to others.
    pub(super) fn consumed(&mut self, requester: u32, n: u32, fuel: u64) {
        let kept = self.one(requester).accounts.entry(n).or_default();
        kept.account.consumed_fuel = kept.account.consumed_fuel.saturating_add(fuel);
    }
}
