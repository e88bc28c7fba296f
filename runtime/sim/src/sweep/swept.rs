//! What a sweep came to: tables of every run, and of what the seeds come to together.

use super::SweepError;
use crate::{
    runs::RunFigures,
    scenario::{Scenario, X},
    shape::{At, Curve, Expect, Verdict, judge},
    stats::Sample,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

/// What a sweep came to.
#[derive(Clone, Debug)]
pub struct Swept {
    scenario: String,
    parameter: String,
    series: Vec<String>,
    xs: Vec<X>,
    seeds: Vec<u64>,
    /// By series, then along the axis, then by seed.
    rows: Vec<RunFigures>,
    figures: Vec<String>,
    expects: Vec<Expect>,
    /// How many runs had been finished before.
    pub before: usize,
    /// What was found damaged, in words.
    pub warnings: Vec<String>,
}

/// One figure of one series at one x.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary<'a> {
    /// Of which series.
    pub series: &'a str,
    /// Where along the axis.
    pub x: &'a X,
    /// Which figure.
    pub figure: &'a str,
    /// What the seeds came to.
    pub sample: Sample,
}

/// The tables that were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// A line a run: scenario, series, x, seed, then every figure.
    pub runs: PathBuf,
    /// A line a figure, series and x: count, mean, standard deviation, and the interval's ends.
    pub summary: PathBuf,
}

impl Swept {
    pub(super) fn new(
        scenario: &Scenario,
        quick: bool,
        seeds: &[u64],
        rows: Vec<RunFigures>,
        before: usize,
        warnings: Vec<String>,
    ) -> Self {
        let figures: BTreeSet<&String> = rows.iter().flat_map(BTreeMap::keys).collect();
        Self {
            scenario: scenario.name.clone(),
            parameter: scenario.x.parameter.clone(),
            series: scenario.series.iter().map(|s| s.name.clone()).collect(),
            xs: scenario.xs(quick).to_vec(),
            seeds: seeds.to_vec(),
            figures: figures.into_iter().cloned().collect(),
            expects: scenario.expects.clone(),
            rows,
            before,
            warnings,
        }
    }

    /// All figures there are, in order.
    pub fn figures(&self) -> &[String] {
        &self.figures
    }

    /// One figure of one series along the axis; empty where there is none of the name.
    pub fn curve(&self, series: &str, figure: &str) -> Curve {
        let of = self.cells().filter(|(name, ..)| *name == series);
        let at = of.filter_map(|(_, x, rows)| {
            let sample = sample(rows, figure)?;
            Some(At { x: x.at, label: x.label.clone(), sample })
        });
        Curve(at.collect())
    }

    /// What the seeds came to: by series, then along the axis, then by figure.
    pub fn summaries(&self) -> impl Iterator<Item = Summary<'_>> {
        self.cells().flat_map(|(series, x, rows)| {
            self.figures.iter().filter_map(move |figure| {
                sample(rows, figure).map(|sample| Summary { series, x, figure, sample })
            })
        })
    }

    /// What came of each shape that the scenario expects.
    pub fn verdicts(&self) -> Vec<Verdict> {
        let series: Vec<&str> = self.series.iter().map(String::as_str).collect();
        let of =
            |expect| judge(expect, &series, &self.parameter, |series, figure| self.curve(series, figure));
        self.expects.iter().flat_map(of).collect()
    }

    /// Writes `<out>/<scenario>.csv` and `<out>/<scenario>-summary.csv`: the same runs, the same bytes.
    ///
    /// # Errors
    /// [`SweepError::Table`] when one cannot be written.
    pub fn write(&self, out: &Path) -> Result<Written, SweepError> {
        let written = Written {
            runs: out.join(format!("{}.csv", self.scenario)),
            summary: out.join(format!("{}-summary.csv", self.scenario)),
        };
        for (path, table) in [(&written.runs, self.runs_csv()), (&written.summary, self.summary_csv())] {
            let put = table.and_then(|bytes| put(path, &bytes));
            put.map_err(|error| SweepError::Table { path: path.clone(), error })?;
        }
        Ok(written)
    }

    /// The series, value and runs of each point.
    fn cells(&self) -> impl Iterator<Item = (&str, &X, &[RunFigures])> {
        let points = self.series.iter().flat_map(|series| self.xs.iter().map(move |x| (series.as_str(), x)));
        points.zip(self.rows.chunks(self.seeds.len().max(1))).map(|((series, x), rows)| (series, x, rows))
    }

    fn runs_csv(&self) -> io::Result<Vec<u8>> {
        let mut csv = csv::Writer::from_writer(Vec::new());
        let head = ["scenario", "series", "x", "seed"].into_iter();
        csv.write_record(head.chain(self.figures.iter().map(String::as_str)))?;
        for (series, x, rows) in self.cells() {
            for (seed, row) in self.seeds.iter().zip(rows) {
                let first = [self.scenario.clone(), series.to_owned(), x.label.clone(), seed.to_string()];
                let figures = self.figures.iter().map(|figure| text(row.get(figure).copied()));
                csv.write_record(first.into_iter().chain(figures))?;
            }
        }
        csv.into_inner().map_err(|error| error.into_error())
    }

    fn summary_csv(&self) -> io::Result<Vec<u8>> {
        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.write_record(["series", "x", "figure", "n", "mean", "sd", "low", "high"])?;
        for Summary { series, x, figure, sample } in self.summaries() {
            let (low, high) = sample.interval.unzip();
            let numbers = [Some(sample.mean), Some(sample.sd), low, high].map(text);
            let first = [series.to_owned(), x.label.clone(), figure.to_owned(), sample.n.to_string()];
            csv.write_record(first.iter().chain(&numbers))?;
        }
        csv.into_inner().map_err(|error| error.into_error())
    }
}

fn sample(rows: &[RunFigures], figure: &str) -> Option<Sample> {
    let values: Vec<f64> = rows.iter().filter_map(|row| row.get(figure).copied()).collect();
    Sample::of(&values)
}

/// A number as a table has it; nothing for what is none.
fn text(value: Option<f64>) -> String {
    value.filter(|v| v.is_finite()).map(|v| v.to_string()).unwrap_or_default()
}

/// Writes a file whole: under another name first, so that nobody ever reads a part of it.
fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("csv.part");
    fs::write(&beside, bytes)?;
    fs::rename(&beside, path)
}
