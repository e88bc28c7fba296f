//! What a risk level should be: of a grid of levels the cheapest that keeps wrong outputs under a bound, for each share of
//! hostile providers, whatever they do of what is tried here.
//!
//! [`search`] tries levels in a market and leaves out what follows from others; [`risk_toml`] writes what it found as a table
//! that a node's `config.toml` takes.

mod search;
mod show;
mod space;
mod tally;

pub use search::{Better, Cheapest, Found, Node, OptimiseError, search};
pub use show::section;
pub use space::{Space, words};
pub use tally::{Damage, Tally};

use crate::{
    params::{Conduct, Params, Step},
    runs::RunFigures,
};
use actum_trust::{Level, RiskPolicy};
use std::fmt::Write;

/// What runs a market with a seed: its figures by name, as [`crate::market::Market::figures`] has them.
pub type Try<'a> = dyn Fn(&Params, &RiskPolicy, u64) -> Result<RunFigures, OptimiseError> + Sync + 'a;

/// At most this share of actions may go without an answer: none at all is no way to be without wrong ones.
pub const MOST_FAILED: f64 = 0.05;

/// The share of hostile providers that [`risk_toml`] is written for.
pub const RISK_ALPHA: f64 = 0.2;

/// What is tried, and how long.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Shares of hostile providers, the least first: what fails at one is not tried at a greater one.
    pub alphas: Vec<f64>,
    /// What hostile providers do, by name. The worst of them decides.
    pub conducts: Vec<(&'static str, Conduct)>,
    /// Wrong outputs of 10,000 that are borne, the most first.
    pub bounds: Vec<f64>,
    /// The levels.
    pub space: Space,
    /// Markets that each level and conduct is tried in at most; one decides already where a level is far off.
    pub seeds: u32,
    /// Runs of a market at most, in equal parts for the shares; what one leaves the next ones have. Where they are not enough,
    /// the best found so far is taken.
    pub most_runs: usize,
    /// The market.
    pub params: Params,
}

impl Setup {
    /// What a report has.
    pub fn full() -> Self {
        Self {
            alphas: vec![0.0, 0.1, 0.2, 0.3, 0.4, 0.5],
            conducts: vec![
                ("lies", Conduct::Lies),
                ("one lie in 50", Conduct::LiesOneIn { one_in: 50 }),
                ("turns after 200", Conduct::Turns { after: 200 }),
                ("tells canaries", Conduct::TellsCanaries { probability: 1.0 }),
            ],
            bounds: vec![100.0, 10.0],
            space: Space {
                canaries: vec![0, 1, 2],
                replay_one_in: vec![100, 50, 20, 10, 5, 2, 1],
                before: vec![false, true],
                probation: vec![0, 2, 8, 24, 48, 64],
                replicas: vec![1, 3],
            },
            seeds: 3,
            most_runs: 420,
            params: market(700.0),
        }
    }

    /// What shows in seconds that it works.
    pub fn quick() -> Self {
        Self {
            alphas: vec![0.0, 0.2],
            conducts: vec![("lies", Conduct::Lies), ("one lie in 50", Conduct::LiesOneIn { one_in: 50 })],
            bounds: vec![100.0],
            space: Space {
                canaries: vec![0, 1],
                replay_one_in: vec![50, 10, 1],
                before: vec![true],
                probation: vec![2, 24],
                replicas: vec![1],
            },
            seeds: 3,
            most_runs: 80,
            params: market(500.0),
        }
    }
}

/// A small market of pure actions, in which requesters come to know everybody.
fn market(workflows_per_hour: f64) -> Params {
    Params {
        peers: 20,
        requesters: 4,
        registries: 1,
        capabilities: 1,
        offers_each: 1,
        steps: vec![Step::Pure],
        workflows_per_hour,
        proofs: true,
        ..Params::default()
    }
}

/// The policy that gives every action this level.
pub fn policy_of(level: Level) -> RiskPolicy {
    const NAME: &str = "tried";
    let mut policy = RiskPolicy::default();
    policy.level.insert(NAME.to_owned(), level);
    for class in [
        &mut policy.pure,
        &mut policy.reads,
        &mut policy.writes,
        &mut policy.spends,
        &mut policy.large,
        &mut policy.granted,
    ] {
        NAME.clone_into(class);
    }
    policy
}

/// What was found for [`RISK_ALPHA`], or for the greatest share that was tried below it, as `[risk]` of a `config.toml`: a level
/// for each bound, and the middle one for pure actions. What else there is keeps the node's own levels.
pub fn risk_toml(found: &Found) -> String {
    let below = |alpha: &&Cheapest| alpha.alpha <= RISK_ALPHA;
    let alpha = found.cheapest.iter().filter(below).map(|c| c.alpha).fold(0.0, f64::max);
    let levels: Vec<(String, &Cheapest, &Level)> = found
        .cheapest
        .iter()
        .filter(|c| c.alpha == alpha)
        .filter_map(|c| Some((name(c.bound), c, c.level.as_ref()?)))
        .collect();
    let mut text = format!(
        "# Levels that the simulator found the cheapest where {} % of providers are hostile; docs/simulator.md says how.\n\
         # For `config.toml`. It tried pure actions; what reads, writes or spends keeps the node's own levels.\n\
         # Each was chosen among many by what few runs showed: it may let more through than its bound.\n",
        alpha * 100.0
    );
    let Some((middle, ..)) = levels.get(levels.len() / 2) else {
        text.push_str("# No level was found that keeps within a bound.\n\n[risk]\n");
        return text;
    };
    let _ = writeln!(text, "\n[risk]\npure = \"{middle}\"");
    for (name, cheapest, level) in &levels {
        let _ = writeln!(
            text,
            "\n# For a bound of {} wrong outputs of 10,000 ({:.2} in its runs); {:.0} % more fuel.\n[risk.level.{name}]\n{}",
            cheapest.bound,
            cheapest.damage.mean,
            cheapest.cost * 100.0,
            keys(level),
        );
    }
    text
}

/// What a level is called that keeps within a bound.
fn name(bound: f64) -> String {
    format!("within-{bound}").replace('.', "-")
}

/// Every key of a level, a line each.
fn keys(level: &Level) -> String {
    format!(
        "canaries = {}\nreplicas = {}\nreplicas_reads = {}\nreplay_one_in = {}\nbefore = {}\nprobation = {}\n\
         probation_here = {}\nfallbacks = {}\npatience_seconds = {}\nexplore_one_in = {}\nnewcomers = {}\nattestation = {}",
        level.canaries,
        level.replicas,
        level.replicas_reads,
        level.replay_one_in,
        level.before,
        level.probation,
        level.probation_here,
        level.fallbacks,
        level.patience_seconds,
        level.explore_one_in,
        level.newcomers,
        level.attestation,
    )
}
