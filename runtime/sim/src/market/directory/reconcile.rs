//! Registries tell one another what they lack, as a node does: now and then with another one, first which statements, then
//! those.

use super::{Directory, stated::Given};
use crate::{
    Kind, Span, Time,
    market::{self, Ctx},
};
use actum_discovery::reconcile::{CutOff, Holdings, Initiator, Responder, StatementDigest};
use std::collections::VecDeque;

/// How often a registry asks another what it has: every minute.
const EVERY: Span = Span::from_seconds(60);
/// How soon for the first time, and again where there is no other.
const FIRST: Span = Span::from_seconds(5);
/// How long one answer may take.
const DEADLINE: Span = Span::from_seconds(20);
/// How long the other gets to name what it has.
const NAMING: Span = Span::from_seconds(60);
/// How long one run may take in all.
const RUN: Span = Span::from_seconds(120);
/// The most statements that one run takes in that are news.
const NEWS: usize = 10_000;
/// The most statements asked for at once.
const STATEMENTS: usize = 128;

/// What happens in reconciliation, at or for the registry that began the run.
#[derive(Debug)]
pub(crate) enum Event {
    /// A run begins.
    Begin(u32),
    /// A message comes to the other registry.
    Named(u32),
    /// Its answer comes back.
    Told(u32),
    /// What is lacking is asked for.
    Asked(u32, Vec<StatementDigest>),
    /// Statements come.
    Given(u32, Vec<Given>),
    /// They are verified.
    Verified(u32, Vec<Given>),
    /// An answer did not come.
    Late(u32),
}

fn event(event: Event) -> market::Event {
    market::Event::Directory(super::Event::Reconcile(event))
}

/// A message of a run, and its answer.
struct Leg {
    there: u64,
    back: u64,
    lacking: Vec<StatementDigest>,
}

/// A registry's run with another.
///
/// Both answer from what they held as it began, the other one too: a node answers from what it held up to 20 seconds ago. So
/// all that is going to be said is known from the start, and only has to be carried.
pub(super) struct Run {
    with: u32,
    began: Time,
    naming: bool,
    legs: VecDeque<Leg>,
    lacking: Vec<StatementDigest>,
    news: usize,
}

impl Directory {
    /// Has every registry reconcile for the first time.
    pub(super) fn reconcile_first(&mut self, ctx: &mut Ctx<'_>) {
        for (registry, at) in (0_u32..).zip(&mut self.registries) {
            let apart = Span::from_micros(at.draws.below(1_000_000));
            ctx.engine.after(FIRST + apart, event(Event::Begin(registry)));
        }
    }

    pub(super) fn handle_reconcile(&mut self, happens: Event, ctx: &mut Ctx<'_>) {
        match happens {
            Event::Begin(registry) => self.begin_run(registry, ctx),
            Event::Named(registry) => {
                ctx.carrier.delivered();
                let Some(run) = self.runs.get(&registry) else { return };
                let back = run.legs.front().map_or(0, |leg| leg.back);
                let bytes = ctx.profile.weighs.reconcile.saturating_add(back);
                let (from, event) = (self.number(run.with), Event::Told(registry));
                send(registry, from, bytes, event, ctx);
            }
            Event::Told(registry) => {
                ctx.carrier.delivered();
                if let Some(run) = self.runs.get_mut(&registry) {
                    run.lacking.extend(run.legs.pop_front().into_iter().flat_map(|leg| leg.lacking));
                }
                self.go_on(registry, ctx);
            }
            Event::Asked(registry, ids) => {
                ctx.carrier.delivered();
                let Some(with) = self.runs.get(&registry).map(|run| run.with) else { return };
                let from = self.number(with);
                let given = super::get(&mut self.registries, with).map(|other| other.statements(&ids));
                let given = given.unwrap_or_default();
                let weighs = ctx.profile.weighs.statements;
                let bytes = given.iter().map(Given::bytes).fold(weighs, u64::saturating_add);
                send(registry, from, bytes, Event::Given(registry, given), ctx);
            }
            Event::Given(registry, given) => {
                ctx.carrier.delivered();
                let takes = super::times(ctx.profile.takes.verify, given.len() as u64);
                ctx.engine.after(takes, event(Event::Verified(registry, given)));
            }
            Event::Verified(registry, given) => {
                self.take_given(registry, &given, ctx);
                self.go_on(registry, ctx);
            }
            Event::Late(registry) => {
                let Some(run) = self.runs.get_mut(&registry) else { return };
                // What was named by then is still asked for.
                run.legs.clear();
                if !run.naming {
                    run.lacking.clear();
                }
                self.go_on(registry, ctx);
            }
        }
    }

    fn number(&self, registry: u32) -> u32 {
        let place = usize::try_from(registry).ok();
        place.and_then(|place| self.registries.get(place)).map_or(0, |registry| registry.peer)
    }

    fn begin_run(&mut self, registry: u32, ctx: &mut Ctx<'_>) {
        let others = self.registries.len().saturating_sub(1) as u64;
        let now = ctx.now().unix_seconds();
        let Some(here) = super::get(&mut self.registries, registry).filter(|_| others > 0) else {
            ctx.engine.after(FIRST, event(Event::Begin(registry)));
            return;
        };
        let drawn = u32::try_from(here.draws.below(others)).unwrap_or_default();
        let with = if drawn < registry { drawn } else { drawn + 1 };
        let here = here.holdings(now);
        let there = super::get(&mut self.registries, with).map(|there| there.holdings(now));
        let Some(there) = there else { return };
        let mut legs = VecDeque::new();
        // One that is cut off told something until then.
        let _ = talk(&here, &there, &mut legs);
        let run = Run { with, began: ctx.now(), naming: true, legs, lacking: Vec::new(), news: 0 };
        self.runs.insert(registry, run);
        self.go_on(registry, ctx);
    }

    /// Says what comes next in a run, or ends it.
    fn go_on(&mut self, registry: u32, ctx: &mut Ctx<'_>) {
        let from = self.number(registry);
        let (Some(run), Some(here)) =
            (self.runs.get_mut(&registry), super::get(&mut self.registries, registry))
        else {
            return;
        };
        let took = ctx.now().since(run.began);
        let weighs = &ctx.profile.weighs;
        if run.naming {
            if let Some(leg) = run.legs.front().filter(|_| took < NAMING) {
                let bytes = weighs.reconcile.saturating_add(leg.there);
                send(registry, from, bytes, Event::Named(registry), ctx);
                return;
            }
            run.naming = false;
            // From anywhere on: what is refused here is named again each time, and is not to stand before all else.
            let place = here.draws.place(run.lacking.len());
            run.lacking.rotate_left(place);
        }
        let most = STATEMENTS.min(NEWS.saturating_sub(run.news)).min(run.lacking.len());
        if most == 0 || took >= RUN {
            self.runs.remove(&registry);
            ctx.engine.after(EVERY, event(Event::Begin(registry)));
            return;
        }
        let ids: Vec<_> = run.lacking.drain(..most).collect();
        let bytes = weighs.statements.saturating_mul(ids.len() as u64 + 1);
        send(registry, from, bytes, Event::Asked(registry, ids), ctx);
    }

    fn take_given(&mut self, registry: u32, given: &[Given], ctx: &mut Ctx<'_>) {
        let now = ctx.now().unix_seconds();
        for given in given {
            let hostile = self.is_hostile(given.name(), ctx);
            let at = super::get(&mut self.registries, registry);
            if at.is_some_and(|at| at.take_given(given, hostile, now)) {
                ctx.figures.count("reconciled");
                if let Some(run) = self.runs.get_mut(&registry) {
                    run.news += 1;
                }
            }
        }
    }
}

/// All that two registries say to one another, one message and its answer after the other.
fn talk(here: &Holdings, there: &Holdings, legs: &mut VecDeque<Leg>) -> Result<(), CutOff> {
    let (mut initiator, first) = Initiator::begin(here)?;
    let mut responder = Responder::new(there)?;
    let mut message = Some(first);
    while let Some(bytes) = message.take() {
        let answer = responder.answer(&bytes)?;
        let told = initiator.take(&answer)?;
        legs.push_back(Leg {
            there: bytes.len() as u64,
            back: answer.len() as u64,
            lacking: told.lacking_here,
        });
        message = told.send;
    }
    Ok(())
}

/// Sends one message of a run that this registry began; one that is lost is waited for.
fn send(registry: u32, from: u32, bytes: u64, next: Event, ctx: &mut Ctx<'_>) {
    if !ctx.carrier.send(ctx.engine, from, Kind::Reconcile, bytes, event(next)) {
        ctx.engine.after(DEADLINE, event(Event::Late(registry)));
    }
}
