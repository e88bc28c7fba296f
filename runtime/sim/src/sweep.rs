//! All runs of a scenario, on all cores: what is finished is kept at once, what is stopped goes on where it was, and what it
//! all comes to is the same bytes however it was done.

use crate::{
    profile::Profile,
    runs::{Kept, KeptError, NotRun, RunFigures, Runner},
    scenario::{Point, Scenario, ScenarioError},
};
use actum_model::id::sha256;
use rayon::prelude::*;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

mod swept;

pub use swept::{Summary, Swept, Written};

/// All runs of a scenario.
#[derive(Clone, Debug)]
pub struct Sweep {
    scenario: Scenario,
    quick: bool,
    points: Vec<Point>,
    /// The seed of each run at a point: the same for every point and series, so that they differ by nothing else.
    seeds: Vec<u64>,
    profile: Profile,
}

/// How far a sweep is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// Of which scenario.
    pub scenario: &'a str,
    /// Runs that are finished, those that were before included.
    pub done: usize,
    /// Of how many.
    pub of: usize,
    /// How many of them were finished before.
    pub before: usize,
}

/// Why a sweep is not finished.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// It was told to stop.
    #[error(
        "{scenario}: stopped after {done} of {of} runs; they are kept in {}, and the same command goes on from there",
        path.display()
    )]
    Stopped {
        /// Which scenario.
        scenario: String,
        /// How many runs are finished.
        done: usize,
        /// Of how many.
        of: usize,
        /// Where they are kept.
        path: PathBuf,
    },
    /// A run did not come to its end.
    #[error("{scenario}, series {series:?} at {x}, seed {seed}: {error}")]
    NotRun {
        /// Which scenario.
        scenario: String,
        /// Which series.
        series: String,
        /// Where along the axis.
        x: String,
        /// The run's own seed.
        seed: u64,
        /// Why.
        error: NotRun,
    },
    /// The scenario names a figure that runs do not have.
    #[error("{scenario}: no figure is called {figure:?}; there are {}", known.join(", "))]
    UnknownFigure {
        /// Which scenario.
        scenario: String,
        /// What it names.
        figure: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// Runs cannot be kept.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// A table cannot be written.
    #[error("{}: {error}", path.display())]
    Table {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// One run.
#[derive(Clone, Debug)]
struct Run<'a> {
    point: &'a Point,
    seed: u64,
    key: String,
}

impl Sweep {
    /// All runs of a scenario. Each has a seed of its own, made of `seed`, the scenario's name and its number.
    ///
    /// # Errors
    /// [`ScenarioError`] for too many runs, or networks that cannot be.
    pub fn of(scenario: &Scenario, quick: bool, seed: u64, profile: &Profile) -> Result<Self, ScenarioError> {
        let points = scenario.points(quick)?;
        let own = |n: u32| {
            let parts: [&[u8]; 4] =
                [b"actum/sweep@1", &seed.to_be_bytes(), &n.to_be_bytes(), scenario.name.as_bytes()];
            let first = sha256(&parts.concat()).first_chunk::<8>().copied();
            u64::from_be_bytes(first.unwrap_or_default())
        };
        let seeds = (0..scenario.seeds(quick)).map(own).collect();
        Ok(Self { scenario: scenario.clone(), quick, points, seeds, profile: profile.clone() })
    }

    /// How many runs it is.
    pub fn runs(&self) -> usize {
        self.points.len().saturating_mul(self.seeds.len())
    }

    /// The seeds of the runs at each point.
    pub fn seeds(&self) -> &[u64] {
        &self.seeds
    }

    /// Does all runs that are not yet kept in `<out>/runs/<scenario>.jsonl`, and keeps each there as soon as it is finished.
    ///
    /// # Errors
    /// [`SweepError`]: stopped, a run that did not come to its end, a figure that is named and not there, or a file that
    /// cannot be read or written.
    pub fn run(
        &self,
        runner: &(impl Runner + ?Sized),
        out: &Path,
        progress: &(dyn Fn(Progress<'_>) + Sync),
        stop: &AtomicBool,
    ) -> Result<Swept, SweepError> {
        let name = &self.scenario.name;
        let (kept, held) = Kept::open(&out.join("runs").join(format!("{name}.jsonl")))?;
        let mut runs = Vec::with_capacity(self.runs());
        for point in &self.points {
            let key = self.key(runner.name(), point);
            runs.extend(self.seeds.iter().map(|seed| Run { point, seed: *seed, key: key(*seed) }));
        }
        let of = runs.len();
        // One that was kept without a figure that is named is of before there was that: it is done again.
        let old =
            |run: &Run<'_>| held.runs.get(&run.key).filter(|row| self.has_figures(row).is_ok()).cloned();
        let rows: Vec<Option<RunFigures>> = runs.iter().map(old).collect();
        let before = rows.iter().flatten().count();
        let done = AtomicUsize::new(before);
        progress(Progress { scenario: name, done: before, of, before });
        let one = |(run, row): (&Run<'_>, Option<RunFigures>)| {
            if let Some(row) = row {
                return Ok(row);
            }
            let stopped = || SweepError::Stopped {
                scenario: name.clone(),
                done: done.load(Ordering::Relaxed),
                of,
                path: kept.path().to_owned(),
            };
            if stop.load(Ordering::Relaxed) {
                return Err(stopped());
            }
            let Point { params, policy, .. } = run.point;
            let ran = runner.run(params, policy, &self.profile, run.seed, stop);
            let row = ran.map_err(|error| match error {
                NotRun::Stopped => stopped(),
                NotRun::TooLong => self.not_run(run, error),
            })?;
            self.has_figures(&row)?;
            kept.keep(&run.key, &row)?;
            let done = done.fetch_add(1, Ordering::Relaxed).saturating_add(1);
            progress(Progress { scenario: name, done, of, before });
            Ok(row)
        };
        let all = runs.par_iter().zip(rows.into_par_iter()).with_max_len(1).map(one);
        let rows: Result<Vec<RunFigures>, SweepError> = all.collect();
        let rows = rows.map_err(|error| match error {
            // Others may have finished after the first saw that it is to stop.
            SweepError::Stopped { scenario, of, path, .. } => {
                SweepError::Stopped { scenario, done: done.load(Ordering::Relaxed), of, path }
            }
            error => error,
        })?;
        Ok(Swept::new(&self.scenario, self.quick, &self.seeds, rows, before, held.warnings))
    }

    /// What runs at a point are kept under: everything that what they come to follows from.
    fn key(&self, runner: &str, point: &Point) -> impl Fn(u64) -> String + use<> {
        let same = serde_json::json!({
            "actum": env!("CARGO_PKG_VERSION"), "rules": crate::RULES,
            "runner": runner,
            "params": point.params,
            "policy": format!("{:?}", point.policy),
            "profile": self.profile,
        });
        let same = sha256(same.to_string().as_bytes());
        move |seed| {
            let digest = sha256(&[same.as_slice(), &seed.to_be_bytes()].concat());
            digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
        }
    }

    /// Whether a run has every figure that the scenario names.
    fn has_figures(&self, row: &RunFigures) -> Result<(), SweepError> {
        let plotted = self.scenario.plots.iter().map(|plot| plot.figure.as_str());
        let named: BTreeSet<&str> = plotted.chain(self.scenario.expects.iter().map(|e| e.figure())).collect();
        match named.into_iter().find(|figure| !row.contains_key(*figure)) {
            None => Ok(()),
            Some(figure) => Err(SweepError::UnknownFigure {
                scenario: self.scenario.name.clone(),
                figure: figure.to_owned(),
                known: row.keys().cloned().collect(),
            }),
        }
    }

    fn not_run(&self, run: &Run<'_>, error: NotRun) -> SweepError {
        let series = self.scenario.series.get(run.point.series).map(|s| s.name.clone());
        let x = self.scenario.xs(self.quick).get(run.point.x);
        SweepError::NotRun {
            scenario: self.scenario.name.clone(),
            series: series.unwrap_or_default(),
            x: x.map(|x| format!("{} = {}", self.scenario.x.parameter, x.label)).unwrap_or_default(),
            seed: run.seed,
            error,
        }
    }
}
