//! What is counted of delegation, and what it comes to.

use super::{Event, records::Excluded};
use crate::{
    Figures, Kind,
    market::{self, Ctx},
    params::Conduct,
};
use actum_model::Did;
use std::collections::BTreeMap;

/// What a refusal weighs, in bytes, framing included.
pub(super) const REFUSAL_BYTES: u64 = 120;

/// Sends a message about an action; says whether it comes.
pub(super) fn send(from: u32, bytes: u64, event: Event, ctx: &mut Ctx<'_>) -> bool {
    ctx.figures.add("bytes", bytes as f64);
    ctx.carrier.send(ctx.engine, from, Kind::Action, bytes, market::Event::Delegation(event))
}

/// A requester fetches a component, of so many bytes with the asking: it comes.
pub(super) fn fetched(bytes: u64, ctx: &mut Ctx<'_>) {
    ctx.figures.count("fetched");
    ctx.figures.add("bytes", bytes as f64);
    ctx.carrier.count(Kind::Action, 2, bytes);
}

/// Whether a requester takes and does not give.
fn rides(requester: u32, ctx: &Ctx<'_>) -> bool {
    ctx.population.peer(requester).is_some_and(|peer| peer.free_rider)
}

/// A requester asks for something.
pub(super) fn asked(requester: u32, ctx: &mut Ctx<'_>) {
    ctx.figures.count("asked");
    ctx.figures.count(if rides(requester, ctx) { "asked_by_riders" } else { "asked_by_givers" });
}

/// An action is over: whether anybody executed it, and whether the output that was handed over is right.
pub(super) fn ended(requester: u32, ran: bool, right: Option<bool>, ctx: &mut Ctx<'_>) {
    if ran {
        let weighs = ctx.profile.weighs;
        let once =
            [weighs.call, weighs.args, weighs.done, weighs.output].into_iter().fold(0, u64::saturating_add);
        ctx.figures.count("asked_once");
        ctx.figures.add("bytes_once", once as f64);
    }
    let Some(right) = right else { return };
    ctx.figures.count("handed_over");
    ctx.figures.count(if rides(requester, ctx) { "handed_to_riders" } else { "handed_to_givers" });
    if !right {
        ctx.figures.count("handed_wrong");
    }
}

/// So many answers are replayed by those who asked.
pub(super) fn replays(many: usize, ctx: &mut Ctx<'_>) {
    ctx.figures.add("replays", many as f64);
    ctx.figures.add("runs_here", many as f64);
}

/// A provider was caught, and is not asked again by the one that did.
pub(super) fn excluded(liar: &Did, excluded: Excluded, ctx: &mut Ctx<'_>) {
    let peer = ctx.population.by_did(liar).and_then(|n| ctx.population.peer(n));
    if peer.is_some_and(|peer| peer.conduct == Conduct::Honest) {
        ctx.figures.count("honest_dropped");
    } else if let Some(first) = excluded.first_lie {
        ctx.figures.sample("seconds_to_drop", ctx.now().since(first).seconds());
    }
}

/// Adds the figures, by name.
///
/// - `wrong_outputs_per_10k`: wrong outputs among 10,000 that were handed over.
/// - `extra_fuel`, `extra_bytes`: what was run and moved, here and elsewhere, beyond one run of each action that anybody ran, as
///   a share of what was handed over; components that were fetched to check with are moved too. Others' verifying of proofs is
///   apart: `proof_runs`.
/// - `fetched`: components that requesters fetched.
/// - `canaries`, `replays`, `fell_back`: of each action that was asked for.
/// - `lies_caught`: answers that somebody's replay refuted. `honest_dropped`: honest providers that somebody took for a liar.
/// - `seconds_to_drop`: from a provider's first lie to a requester until that one asks it no more, on average.
/// - `proofs`, `proofs_known_to_all`, `proof_runs`: liars of whom there is a proof, those of whom every requester that was there
///   has come to hold one, and runs to verify them. `known_to_all_s`: seconds that took, the median.
/// - `served_givers`, `served_riders`: shares of what those asked for who give, and who do not, that they got.
pub(super) fn figures(f: &Figures, all: &mut BTreeMap<&'static str, f64>) {
    let over = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
    let runs = f.get("runs_here") + f.get("runs_there");
    let extra = (runs - f.get("asked_once")).max(0.0);
    let bytes = (f.get("bytes") - f.get("bytes_once")).max(0.0);
    let useful_bytes = f.get("bytes_once") * f.share("handed_over", "asked_once");
    all.extend([
        ("wrong_outputs_per_10k", 10_000.0 * f.share("handed_wrong", "handed_over")),
        ("extra_fuel", over(extra, f.get("handed_over"))),
        ("extra_bytes", over(bytes, useful_bytes)),
        ("fetched", f.get("fetched")),
        ("canaries", f.share("canaries", "asked")),
        ("replays", f.share("replays", "asked")),
        ("fell_back", f.share("fell_back", "asked")),
        ("lies_caught", f.get("lies_caught")),
        ("seconds_to_drop", f.mean("seconds_to_drop")),
        ("proofs", f.get("proofs")),
        ("proofs_known_to_all", f.get("proofs_known_to_all")),
        ("proof_runs", f.get("proof_runs")),
        ("known_to_all_s", f.quantile("known_to_all_s", 500)),
        ("honest_dropped", f.get("honest_dropped")),
        ("served_givers", f.share("handed_to_givers", "asked_by_givers")),
        ("served_riders", f.share("handed_to_riders", "asked_by_riders")),
    ]);
}
