//! The search. What checks no more than a level that fails, fails; what checks no less than one that keeps within the bound keeps
//! within it and costs more: of each round's levels a few are tried, from cheap to strict, and most are never tried.

use super::{
    MOST_FAILED, Setup, Try, policy_of,
    space::{about, is_weaker},
    tally::{Damage, Known, LEAST_RUNS, Tally},
};
use crate::{
    params::{Conduct, Params},
    runs::{KeptError, NotRun},
};
use actum_trust::Level;
use rayon::prelude::*;
use std::{
    ops::Range,
    sync::atomic::{AtomicBool, Ordering},
};

/// Levels that are tried at once: a number of its own and not that of cores, so that every machine finds the same.
const AT_ONCE: usize = 4;

/// A level that costs at most this share of what another does is cheaper: what differs less may be chance.
const CHEAPER: f64 = 0.9;

/// The cheapest level within a bound.
#[derive(Clone, Debug, PartialEq)]
pub struct Cheapest {
    /// At this share of hostile providers.
    pub alpha: f64,
    /// Wrong outputs of 10,000 that are borne.
    pub bound: f64,
    /// The level; `None` where none was shown to keep within the bound.
    pub level: Option<Level>,
    /// What the worst conduct did to it.
    pub damage: Damage,
    /// Extra fuel as a share of the useful fuel.
    pub cost: f64,
    /// The share of actions without an output.
    pub failed: f64,
}

/// Where one of the node's own levels stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// At this share of hostile providers.
    pub alpha: f64,
    /// The level's name.
    pub name: &'static str,
    /// What the worst conduct did to it.
    pub damage: Damage,
    /// Extra fuel as a share of the useful fuel.
    pub cost: f64,
    /// The share of actions without an output.
    pub failed: f64,
    /// The cheapest of those tried that costs less and was not seen to let more through.
    pub better: Option<Better>,
}

/// A level that costs less than one of the node's own, and of which no greater share of outputs was wrong with the same seeds.
#[derive(Clone, Debug, PartialEq)]
pub struct Better {
    /// The level.
    pub level: Level,
    /// Extra fuel as a share of the useful fuel.
    pub cost: f64,
    /// Outputs of each of both, at least, that this is known by, against each conduct.
    pub outputs: f64,
    /// Whether any of them was wrong. If none was, they say nothing of which lets more through: both stand where so few
    /// outputs leave whatever is never seen to fail.
    pub told_apart: bool,
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// By share and bound.
    pub cheapest: Vec<Cheapest>,
    /// By share and level.
    pub node: Vec<Node>,
    /// Levels in the grid.
    pub levels: usize,
    /// Levels and shares of which at least one run was made.
    pub tried: usize,
    /// Runs of a market.
    pub runs: usize,
    /// Whether it ended because there were as many runs as allowed: there may be cheaper ones.
    pub cut: bool,
}

/// Why a search gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum OptimiseError {
    /// It was stopped.
    #[error("stopped before the search for the cheapest levels was over")]
    Stopped,
    /// A run did not come to its end.
    #[error("the search for the cheapest levels: {0}")]
    NotRun(NotRun),
    /// Runs cannot be kept.
    #[error(transparent)]
    Kept(#[from] KeptError),
}

impl From<NotRun> for OptimiseError {
    fn from(error: NotRun) -> Self {
        match error {
            NotRun::Stopped => Self::Stopped,
            error => Self::NotRun(error),
        }
    }
}

/// How a level stands to a bound.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// It is shown to keep within it.
    Within,
    /// It is shown not to.
    Beyond,
    /// Neither is shown, and more runs would hardly show that it does.
    Unshown,
    /// It leaves too many without an answer, which a weaker one may not.
    Useless,
    /// There are too few runs yet.
    Open,
}

/// Levels by how they stand to a bound.
struct Lists<'a> {
    within: Vec<Level>,
    beyond: &'a mut Vec<Level>,
    unshown: Vec<Level>,
    useless: Vec<Level>,
}

impl Lists<'_> {
    fn put(&mut self, level: Level, stands: Stands) {
        match stands {
            Stands::Within => self.within.push(level),
            Stands::Beyond => self.beyond.push(level),
            Stands::Unshown => self.unshown.push(level),
            Stands::Useless => self.useless.push(level),
            Stands::Open => {}
        }
    }

    /// Whether nothing that is known of other levels decides for this one.
    fn is_open(&self, level: &Level) -> bool {
        let is_weaker = |other: &Level| level == other || self::is_weaker(level, other);
        let is_stricter = |other: &Level| level == other || self::is_weaker(other, level);
        !self.beyond.iter().chain(&self.unshown).any(is_weaker)
            && !self.within.iter().any(is_stricter)
            && !self.useless.contains(level)
    }
}

/// Searches. The same setup, seeds and `try_one` give the same on any number of cores.
///
/// # Errors
/// [`OptimiseError::Stopped`] once `stop` is set.
pub fn search(
    setup: &Setup,
    seeds: &[u64],
    try_one: &Try<'_>,
    stop: &AtomicBool,
) -> Result<Found, OptimiseError> {
    let mut levels = setup.space.levels();
    levels.sort_by(|a, b| about(a).total_cmp(&about(b)));
    let mut found = Found { levels: levels.len(), ..Found::default() };
    // By bound: levels shown to be beyond it at a smaller share.
    let mut beyond: Vec<Vec<Level>> = vec![Vec::new(); setup.bounds.len()];
    for (nth, &alpha) in setup.alphas.iter().enumerate() {
        let honest = [("honest", Conduct::Honest)];
        let conducts = if alpha == 0.0 { &honest[..] } else { &setup.conducts[..] };
        // What one share leaves of its part of the runs, the next ones have.
        let most_runs = setup.most_runs / setup.alphas.len().max(1) * (nth + 1);
        let (known, runs) = (Vec::new(), found.runs);
        let (hardest, cut) = (0, false);
        let mut at =
            At { setup, seeds, try_one, stop, alpha, conducts, known, runs, most_runs, cut, hardest };
        at.learn(&Level::defaults().map(|(_, level)| level), LEAST_RUNS, 0..conducts.len())?;
        at.hardest = at.hardest();
        for (bound, beyond) in setup.bounds.iter().zip(&mut beyond) {
            let cheapest = at.cheapest(*bound, &levels, beyond)?;
            found.cheapest.push(cheapest);
        }
        found.node.extend(Level::defaults().iter().filter_map(|(name, level)| at.node(name, level)));
        found.tried += at.known.len();
        found.runs = at.runs;
        found.cut |= at.cut;
    }
    Ok(found)
}

/// A search at one share of hostile providers.
struct At<'a> {
    setup: &'a Setup,
    seeds: &'a [u64],
    try_one: &'a Try<'a>,
    stop: &'a AtomicBool,
    alpha: f64,
    conducts: &'a [(&'static str, Conduct)],
    known: Vec<(Level, Known)>,
    runs: usize,
    most_runs: usize,
    /// Whether more runs were wanted than are allowed.
    cut: bool,
    /// The conduct that does the most to the node's own levels: the first that a level is tried against.
    hardest: usize,
}

impl At<'_> {
    fn known(&self, level: &Level) -> Option<&Known> {
        self.known.iter().find(|(known, _)| known == level).map(|(_, known)| known)
    }

    fn hardest(&self) -> usize {
        let wrong = |conduct: &usize| -> f64 {
            let runs = self.known.iter().filter_map(|(_, known)| known.runs.get(*conduct));
            runs.map(|runs| Damage::of(runs).mean).sum()
        };
        (0..self.conducts.len()).max_by(|a, b| wrong(a).total_cmp(&wrong(b))).unwrap_or_default()
    }

    /// Has each of these levels tried against some conducts with the first so many seeds, unless it was, in as many runs as are
    /// left.
    fn learn(&mut self, levels: &[Level], seeds: usize, conducts: Range<usize>) -> Result<(), OptimiseError> {
        let mut jobs = Vec::new();
        for level in levels {
            for nth in conducts.clone() {
                let Some((_, conduct)) = self.conducts.get(nth) else { continue };
                let runs = self.known(level).and_then(|known| known.runs.get(nth));
                let seeds = self.seeds.iter().take(seeds).skip(runs.map_or(0, Vec::len));
                jobs.extend(seeds.map(|seed| (*level, nth, *conduct, *seed)));
            }
        }
        let left = self.most_runs.saturating_sub(self.runs);
        self.cut |= jobs.len() > left;
        jobs.truncate(left);
        let tally = |(level, _, conduct, seed): &(Level, usize, Conduct, u64)| {
            if self.stop.load(Ordering::Relaxed) {
                return Err(OptimiseError::Stopped);
            }
            let params = Params { alpha: self.alpha, hostile: *conduct, ..self.setup.params.clone() };
            (self.try_one)(&params, &policy_of(*level), *seed).map(|figures| Tally::of(&figures))
        };
        let tallies: Result<Vec<Tally>, OptimiseError> = jobs.par_iter().map(tally).collect();
        self.runs += jobs.len();
        for ((level, conduct, ..), tally) in jobs.iter().zip(tallies?) {
            if self.known(level).is_none() {
                self.known.push((*level, Known::new(self.conducts.len())));
            }
            let known = self.known.iter_mut().find(|(known, _)| known == level);
            if let Some(runs) = known.and_then(|(_, known)| known.runs.get_mut(*conduct)) {
                runs.push(tally);
            }
        }
        Ok(())
    }

    /// How a level stands to a bound by what is known of it.
    fn stands(&self, level: &Level, bound: f64) -> Stands {
        let Some(known) = self.known(level) else { return Stands::Open };
        let damage = known.damage();
        if damage.low > bound {
            Stands::Beyond
        } else if known.failed() > MOST_FAILED {
            Stands::Useless
        } else if known.seeds() < LEAST_RUNS.min(self.seeds.len()) {
            Stands::Open
        } else if damage.high <= bound {
            Stands::Within
        } else if damage.mean > bound || known.seeds() >= self.seeds.len() {
            Stands::Unshown
        } else {
            Stands::Open
        }
    }

    /// The cheapest of these levels, which are from cheap to strict, that keeps within a bound. `beyond` are those that did not at
    /// a smaller share; those that do not at this one are added.
    fn cheapest(
        &mut self,
        bound: f64,
        levels: &[Level],
        beyond: &mut Vec<Level>,
    ) -> Result<Cheapest, OptimiseError> {
        // What was tried for a bound before this one may decide for this one too.
        let mut lists = Lists { within: Vec::new(), beyond, unshown: Vec::new(), useless: Vec::new() };
        levels.iter().for_each(|level| lists.put(*level, self.stands(level, bound)));
        loop {
            let costs = lists.within.iter().filter_map(|level| self.known(level)).map(Known::cost);
            let best = costs.fold(f64::MAX, f64::min);
            let is_open = |level: &&Level| lists.is_open(level) && self.costs_at_least(level) < best;
            let open: Vec<Level> = levels.iter().filter(is_open).copied().collect();
            if open.is_empty() {
                break;
            }
            if self.runs >= self.most_runs {
                self.cut = true;
                break;
            }
            let places = (0..AT_ONCE).map(|nth| nth * open.len().saturating_sub(1) / (AT_ONCE - 1));
            let mut some: Vec<Level> = places.filter_map(|place| open.get(place).copied()).collect();
            some.dedup();
            // One run shows most of those that are far off; of the others only those that could become the best are worth more.
            let (hardest, all) = (self.hardest..self.hardest + 1, 0..self.conducts.len());
            let stages = [(1, hardest), (1, all.clone()), (LEAST_RUNS, all.clone()), (self.seeds.len(), all)];
            for (seeds, conducts) in stages {
                self.learn(&some, seeds, conducts)?;
                some.retain(|level| {
                    let stands = self.stands(level, bound);
                    lists.put(*level, stands);
                    // As above: what is dropped here must not be open there, or it is taken up again for ever.
                    stands == Stands::Open && self.costs_at_least(level) < best
                });
            }
        }
        let within = lists.within;
        let known = |level: &Level| Some((*level, self.known(level)?));
        let best = within.iter().filter_map(known).min_by(|a, b| a.1.cost().total_cmp(&b.1.cost()));
        Ok(Cheapest {
            alpha: self.alpha,
            bound,
            level: best.map(|(level, _)| level),
            damage: best.map(|(_, known)| known.damage()).unwrap_or_default(),
            cost: best.map(|(_, known)| known.cost()).unwrap_or_default(),
            failed: best.map(|(_, known)| known.failed()).unwrap_or_default(),
        })
    }

    /// What a level costs at least, as a weaker one costs that against all conducts; 0 where no such one was tried against all.
    fn costs_at_least(&self, level: &Level) -> f64 {
        let weaker = self.known.iter().filter(|(other, _)| other == level || is_weaker(other, level));
        weaker.filter(|(_, known)| known.is_whole()).map(|(_, known)| known.cost()).fold(0.0, f64::max)
    }

    /// Where one of the node's own levels stands, and the cheapest that costs less and was not seen to let more through; `None`
    /// if it was not tried against all conducts.
    fn node(&self, name: &'static str, level: &Level) -> Option<Node> {
        let known = self.known(level).filter(|known| known.is_whole())?;
        let (damage, cost) = (known.damage(), known.cost());
        let better = self
            .known
            .iter()
            .filter(|(_, k)| k.seeds() >= LEAST_RUNS.min(self.seeds.len()) && k.failed() <= MOST_FAILED)
            .filter(|(_, k)| k.cost() < cost * CHEAPER && k.damage().high <= damage.high)
            .filter_map(|(level, k)| {
                // Of as many outputs: by the seeds that both were tried with.
                let seeds = k.seeds().min(known.seeds());
                let (ours, theirs) = (known.first(seeds), k.first(seeds));
                let wrong = ours.damage().mean;
                let outputs = ours.outputs().min(theirs.outputs());
                let better = Better { level: *level, cost: k.cost(), outputs, told_apart: wrong > 0.0 };
                (theirs.damage().mean <= wrong).then_some(better)
            })
            .min_by(|a, b| a.cost.total_cmp(&b.cost));
        Some(Node { alpha: self.alpha, name, damage, cost, failed: known.failed(), better })
    }
}
