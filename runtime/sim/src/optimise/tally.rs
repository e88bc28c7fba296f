//! What came of a level: wrong outputs and how sure that is, and what it cost.

use crate::{runs::RunFigures, stats::Sample};

/// What a normal distribution exceeds one time in twenty, in standard deviations.
const Z: f64 = 1.644_853_626_951_472_2;

/// Fewer runs than this say nothing of how much runs differ: no level is believed to keep within a bound before.
pub(super) const LEAST_RUNS: usize = 3;

/// What one run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Actions that ended.
    pub actions: f64,
    /// Outputs that were handed over and are wrong.
    pub wrong: f64,
    /// Actions without any output.
    pub failed: f64,
    /// Fuel beyond one run of each action, as a share of that.
    pub extra_fuel: f64,
}

impl Tally {
    /// What the figures of a market of one-step workflows say.
    pub fn of(figures: &RunFigures) -> Self {
        let get = |name: &str| figures.get(name).copied().unwrap_or_default();
        let actions = get("workflows");
        Self {
            actions,
            wrong: get("wrong") * actions,
            failed: get("failed") * actions,
            extra_fuel: get("extra_fuel"),
        }
    }

    fn handed_over(&self) -> f64 {
        (self.actions - self.failed).max(0.0)
    }
}

/// Wrong outputs of 10,000 that were handed over, and within what that is. Of one conduct each end is exceeded one time in twenty
/// at most; where the worst of several conducts is taken, the mean and the lower end are that of the unluckiest as well.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Damage {
    /// On average.
    pub mean: f64,
    /// At least.
    pub low: f64,
    /// At most.
    pub high: f64,
}

impl Damage {
    /// Of the runs of one conduct: Wilson's interval of all outputs together, which holds where none was wrong, or Student's
    /// over runs where that is wider, because the lies of one run come together.
    pub fn of(runs: &[Tally]) -> Self {
        let n: f64 = runs.iter().map(Tally::handed_over).sum();
        if n <= 0.0 {
            // Nothing was handed over: nothing is known of what would be.
            return Self { mean: 0.0, low: 0.0, high: 10_000.0 };
        }
        let share = (runs.iter().map(|t| t.wrong).sum::<f64>() / n).clamp(0.0, 1.0);
        let middle = (share + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
        let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt() / (1.0 + Z * Z / n);
        let least = if share == 0.0 { 0.0 } else { (middle - half).max(0.0) };
        let (mut low, mut high) = (least, middle + half);
        if runs.len() >= LEAST_RUNS {
            let shares: Vec<f64> = runs.iter().map(|t| t.wrong / t.handed_over().max(1.0)).collect();
            if let Some(sample) = Sample::of(&shares) {
                (low, high) = (low.min(sample.low().max(0.0)), high.max(sample.high()));
            }
        }
        Self { mean: share * 10_000.0, low: low * 10_000.0, high: high.min(1.0) * 10_000.0 }
    }

    /// The greater in everything: of two conducts the worse decides. The upper end still is exceeded no more often.
    pub(super) fn or_worse(self, other: Self) -> Self {
        Self {
            mean: self.mean.max(other.mean),
            low: self.low.max(other.low),
            high: self.high.max(other.high),
        }
    }
}

/// All that is known of a level at one share of hostile providers: the runs of each conduct, by seed.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) runs: Vec<Vec<Tally>>,
}

impl Known {
    pub(super) fn new(conducts: usize) -> Self {
        Self { runs: vec![Vec::new(); conducts] }
    }

    /// Seeds that every conduct was tried with.
    pub(super) fn seeds(&self) -> usize {
        self.runs.iter().map(Vec::len).min().unwrap_or_default()
    }

    /// Of the conduct that does the most of it.
    pub(super) fn damage(&self) -> Damage {
        self.runs.iter().map(|runs| Damage::of(runs)).fold(Damage::default(), Damage::or_worse)
    }

    /// Whether every conduct was tried: what a level costs depends on the conduct, so that others' costs compare with no less.
    pub(super) fn is_whole(&self) -> bool {
        self.seeds() > 0
    }

    /// The mean of the conducts' means, each weighing the same however many runs it has; of those that were tried.
    pub(super) fn cost(&self) -> f64 {
        let tried: Vec<&Vec<Tally>> = self.runs.iter().filter(|runs| !runs.is_empty()).collect();
        let mean = |runs: &&Vec<Tally>| runs.iter().map(|t| t.extra_fuel).sum::<f64>() / runs.len() as f64;
        tried.iter().map(mean).sum::<f64>() / tried.len().max(1) as f64
    }

    /// What is known of it by its first so many seeds.
    pub(super) fn first(&self, seeds: usize) -> Self {
        Self { runs: self.runs.iter().map(|runs| runs.iter().take(seeds).copied().collect()).collect() }
    }

    /// Outputs that were handed over, of the conduct with the fewest.
    pub(super) fn outputs(&self) -> f64 {
        let outputs = |runs: &Vec<Tally>| runs.iter().map(Tally::handed_over).sum();
        self.runs.iter().map(outputs).min_by(f64::total_cmp).unwrap_or_default()
    }

    /// The share of actions without an output, of the conduct that brings about the most.
    pub(super) fn failed(&self) -> f64 {
        let share = |runs: &Vec<Tally>| {
            let actions: f64 = runs.iter().map(|t| t.actions).sum();
            runs.iter().map(|t| t.failed).sum::<f64>() / actions.max(1.0)
        };
        self.runs.iter().map(share).fold(0.0, f64::max)
    }
}
