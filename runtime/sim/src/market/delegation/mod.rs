//! What a requester does with what it found: whom it asks, what it checks, and what it learns. The rules are `actum_trust`'s;
//! here they meet messages and time, in the order in which a node has them meet.
//!
//! Nothing is executed: what an answer says is decided by its provider's conduct ([`conduct`]), and replay sees through it as
//! far as replay can. A home's opinions of others' verdicts are left out, as are connections: who is there is reached.

mod asking;
mod believing;
mod components;
mod conduct;
mod fraud;
mod later;
mod providers;
mod records;
mod tally;
#[cfg(test)]
mod tests;

use super::Ctx;
use crate::{Figures, Span, Time, params::Step};
use actum_discovery::Found;
use actum_model::{Did, ReceiptId};
use actum_trust::{Canaries, Chosen, Effect, Experience, Failure, Level, Plan, Refused};
use components::Components;
use conduct::Said;
use fraud::{Heard, Spreading};
use later::Owed;
use providers::Providers;
use records::Requester;
use std::collections::{BTreeMap, BTreeSet};

/// How long all of an action may take: two minutes, as where nobody says otherwise.
const DEADLINE: Span = Span::from_seconds(120);
/// After how long it is clear that a peer is not there: as long as a node tries.
const NOT_THERE_AFTER: Span = Span::from_seconds(10);
/// Of how many requesters that caught it a whitewasher thinks that it is time to go.
const CAUGHT_BY: u32 = 3;

/// What happens in delegation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// What goes with an action is prepared: the provider is asked.
    Ask(Turn),
    /// A call comes to its provider.
    Arrives(u64),
    /// A provider has executed it.
    Executed(u64),
    /// The answer comes.
    Answered(u64),
    /// A refusal comes.
    Refused(u64, Refused),
    /// The provider is not there.
    NotReached(u64),
    /// No answer is waited for any longer.
    Over(Turn),
    /// What waited for a replay has waited.
    Judged(Turn),
    /// A replay that came after the answer is over.
    Later(u64),
    Fraud(fraud::Event),
}

/// One part of an action: what was going to happen in an earlier one does not happen any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    action: u64,
    turn: u32,
}

/// An action that is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    /// For which workflow.
    pub(crate) job: u64,
    /// Whether the output that was handed over is right; `None` where there is none.
    pub(crate) right: Option<bool>,
}

/// An action under way.
struct Action {
    job: u64,
    requester: u32,
    capability: usize,
    effect: Effect,
    level: Level,
    chosen: Vec<Chosen<u32>>,
    /// Who of them is asked next.
    place: usize,
    until: Time,
    turn: u32,
    /// Whether anybody has executed it.
    ran: bool,
    attempt: Option<Attempt>,
}

/// One candidate, and how far it has come with it.
struct Attempt {
    provider: u32,
    did: Did,
    plan: Plan,
    patience: Span,
    /// Whether it has about as long as any provider has.
    fair: bool,
    /// Calls that have not come back.
    waiting: Vec<(u64, What, Did)>,
    work: Option<Result<Reply, Failure>>,
    /// What came back of canaries, or of replicas.
    others: Vec<(Did, Result<Reply, Failure>)>,
    canaries: Canaries,
    /// Whether replay has found the answer true that is going to be handed over.
    confirmed: bool,
    phase: Phase,
}

/// What an attempt waits for.
enum Phase {
    /// For the answers to the action and its canaries.
    Asking,
    /// For the replay of canaries that were answered otherwise than known.
    Canaries(Vec<Reply>),
    /// For the answers of replicas.
    Comparing(Reply),
    /// For the replay of answers that most do not share.
    Doubted { agreed: Vec<Reply>, doubted: Vec<Reply> },
    /// For the replay of those who agreed on something else than what is proven.
    LookedInto { by: Reply, agreed: Vec<Reply> },
    /// For the replay of the answer.
    Replayed(Reply),
    /// For the replay of another answer of the same provider.
    Waiting(Reply),
}

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Work,
    Canary,
    Replica,
}

/// An answer. Its number is its receipt's, and was the call's.
#[derive(Clone, Copy, Debug)]
struct Reply {
    receipt: u64,
    did: Did,
    said: Said,
    millis: u32,
}

/// A call under way, at its provider, or back.
#[derive(Clone, Copy, Debug)]
struct Call {
    of: Turn,
    requester: u32,
    provider: u32,
    /// As whom it is asked.
    did: Did,
    capability: usize,
    effect: Effect,
    what: What,
    said: Said,
    sent: Time,
}

/// Actions under way, and what each requester holds of providers.
pub(crate) struct Delegations {
    requesters: Vec<Requester>,
    providers: Providers,
    spreading: Spreading,
    components: Components,
    actions: BTreeMap<u64, Action>,
    calls: BTreeMap<u64, Call>,
    owed: BTreeMap<u64, Owed>,
    next: u64,
    done: Vec<Done>,
    /// Whitewashers that were caught, by the name that was caught: by how many requesters.
    caught: BTreeMap<Did, u32>,
    /// Names that were given up.
    left: BTreeSet<Did>,
    renamed: Vec<u32>,
}

fn place(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

fn receipt_id(receipt: u64) -> ReceiptId {
    ReceiptId::of(&receipt.to_be_bytes())
}

/// So many times as long.
fn times(span: Span, n: usize) -> Span {
    Span::from_micros(span.micros().saturating_mul(u64::try_from(n).unwrap_or(u64::MAX)))
}

/// Whether a peer is there, and goes by this name.
fn is_there(n: u32, did: &Did, ctx: &Ctx<'_>) -> bool {
    ctx.population.peer(n).is_some_and(|peer| peer.online && peer.did == *did)
}

fn is_online(n: u32, ctx: &Ctx<'_>) -> bool {
    ctx.population.peer(n).is_some_and(|peer| peer.online)
}

impl Delegations {
    pub(crate) fn new(ctx: &mut Ctx<'_>) -> Self {
        Self {
            requesters: (0..ctx.params.requesters).map(|n| Requester::new(n, ctx.streams)).collect(),
            providers: Providers::new(ctx.streams),
            spreading: Spreading::new(ctx),
            components: Components::new(ctx),
            actions: BTreeMap::new(),
            calls: BTreeMap::new(),
            owed: BTreeMap::new(),
            next: 0,
            done: Vec::new(),
            caught: BTreeMap::new(),
            left: BTreeSet::new(),
            renamed: Vec::new(),
        }
    }

    /// Delegates an action to one of those found.
    pub(crate) fn begin(
        &mut self,
        job: u64,
        requester: u32,
        capability: usize,
        step: Step,
        found: Vec<Found>,
        ctx: &mut Ctx<'_>,
    ) -> Vec<Done> {
        tally::asked(requester, ctx);
        match self.open(job, requester, capability, step, &found, ctx) {
            Some(action) => {
                let id = self.number();
                self.next(id, action, ctx);
            }
            None => self.done.push(Done { job, right: None }),
        }
        std::mem::take(&mut self.done)
    }

    pub(crate) fn handle(&mut self, event: Event, ctx: &mut Ctx<'_>) -> Vec<Done> {
        match event {
            Event::Ask(turn) => self.ask(turn, ctx),
            Event::Arrives(call) => self.arrives(call, ctx),
            Event::Executed(call) => self.executed(call, ctx),
            Event::Answered(call) => self.answered(call, ctx),
            Event::Refused(call, why) => {
                ctx.carrier.delivered();
                self.failed(call, Failure::Refused(why), ctx);
            }
            Event::NotReached(call) => self.failed(call, Failure::NotReached, ctx),
            Event::Over(turn) => self.over(turn, ctx),
            Event::Judged(turn) => self.judged(turn, ctx),
            Event::Later(owed) => self.replayed_later(owed, ctx),
            Event::Fraud(event) => match self.spreading.handle(event, &mut self.components, ctx) {
                Some(Heard::Proven { requester, liar, receipt }) => {
                    let excluded = self.requesters.get_mut(place(requester));
                    let excluded = excluded.and_then(|r| r.prove(liar, receipt_id(receipt)));
                    excluded.into_iter().for_each(|excluded| tally::excluded(&liar, excluded, ctx));
                }
                Some(Heard::OfItself { liar }) => self.leave(&liar, ctx),
                None => {}
            },
        }
        std::mem::take(&mut self.done)
    }

    /// Peers that take another name now; each is told once.
    pub(crate) fn renamed(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.renamed)
    }

    /// What a requester has of a provider itself, as the order of what is found reads it.
    pub(crate) fn seen(&self, requester: u32, provider: &Did) -> actum_discovery::Record {
        self.requesters.get(place(requester)).map(|r| r.seen(provider)).unwrap_or_default()
    }

    pub(crate) fn figures(&self, counted: &Figures, all: &mut BTreeMap<&'static str, f64>) {
        tally::figures(counted, all);
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Takes an action out that has not gone on since.
    fn take(&mut self, turn: Turn) -> Option<(Action, Attempt)> {
        let mut action = self.actions.remove(&turn.action)?;
        match action.attempt.take() {
            Some(attempt) if action.turn == turn.turn => Some((action, attempt)),
            attempt => {
                action.attempt = attempt;
                self.actions.insert(turn.action, action);
                None
            }
        }
    }

    fn keep(&mut self, id: u64, action: Action, attempt: Attempt) {
        self.actions.insert(id, Action { attempt: Some(attempt), ..action });
    }

    /// Takes in what an action showed of a provider.
    fn note(
        &mut self,
        (requester, capability): (u32, usize),
        provider: Did,
        what: Experience,
        receipt: Option<u64>,
        ctx: &mut Ctx<'_>,
    ) {
        let Some(component) = ctx.population.capabilities.get(capability).map(|c| c.component) else {
            return;
        };
        let Some(asker) = self.requesters.get_mut(place(requester)) else { return };
        let (at, id) = (ctx.now().unix_seconds(), receipt.map(receipt_id));
        let event = actum_trust::Event { provider, component, at, what, verifier: None, receipt: id };
        let excluded = asker.note(event);
        if let (Experience::Diverged, Some(receipt)) = (what, receipt) {
            ctx.figures.count("lies_caught");
            let proven = (receipt, capability);
            self.spreading.found(requester, provider, proven, &mut self.components, ctx);
        }
        if let Some(excluded) = excluded {
            tally::excluded(&provider, excluded, ctx);
            let caught = self.caught.entry(provider).or_default();
            *caught += 1;
            if *caught >= CAUGHT_BY {
                self.leave(&provider, ctx);
            }
        }
    }

    /// A provider that was caught comes back under another name, where that is what it does.
    fn leave(&mut self, liar: &Did, ctx: &Ctx<'_>) {
        let whitewashes = |n: &u32| {
            let peer = ctx.population.peer(*n);
            peer.is_some_and(|p| p.did == *liar && p.conduct == crate::params::Conduct::Whitewashes)
        };
        if let Some(n) = ctx.population.by_did(liar).filter(whitewashes)
            && self.left.insert(*liar)
        {
            self.renamed.push(n);
        }
    }
}
