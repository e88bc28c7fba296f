//! Experiments as files: a network's parameters and whose they are, what goes along the axis, the lines of the plot, and the
//! shapes that are expected of them.

use crate::{
    params::Params,
    policies::{Policies, PolicyError},
    shape::Expect,
};
use actum_trust::RiskPolicy;
use serde::Deserialize;
use std::{fmt, fs, io, path::Path};
use toml::{Spanned, Table, Value};

mod checked_in;
mod read;
mod settings;

pub use checked_in::{CHECKED_IN, CheckedIn};
use settings::Settings;

/// The most runs of one scenario: points, times series, times seeds.
pub const MAX_RUNS: u64 = 100_000;
/// The most seeds of one scenario.
pub const MAX_SEEDS: u32 = 10_000;
/// The most bytes of a scenario's file: 256 KiB.
pub const MAX_SCENARIO_BYTES: u64 = 256 << 10;
/// The most bytes of a scenario's name, and of a series'.
pub const MAX_NAME_BYTES: usize = 64;

/// Whose a parameter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whose {
    /// The paper names it.
    Paper,
    /// It is ours: the paper does not say, or does not have it.
    Ours,
}

/// An experiment.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name, which its outputs are called after: 1 to 64 lower-case letters, digits and hyphens.
    pub name: String,
    /// What it is, in a few words.
    pub title: String,
    /// What it asks.
    pub question: String,
    /// Parameters that are the paper's.
    pub paper: Vec<Setting>,
    /// Parameters that are ours.
    pub ours: Vec<Setting>,
    /// What goes along the axis.
    pub x: Axis,
    /// The lines of the plots.
    pub series: Vec<Series>,
    /// Which figures are plotted.
    pub plots: Vec<Plot>,
    /// Which shapes are expected.
    pub expects: Vec<Expect>,
    /// How many seeds.
    pub seeds: Seeds,
    /// What is different where it has to be quick.
    pub quick: Vec<Setting>,
    policies: Policies,
    file: String,
}

/// A parameter and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// A key of [`Params`], or one of those that stand for more than one: `ttl_seconds`, `level`.
    pub key: String,
    /// What it is set to.
    pub value: Value,
    /// Why, as the comment beside it says.
    pub why: String,
    /// Where it stands: the line, from 1.
    pub line: usize,
}

/// What goes along the axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// The parameter; `level.` before a key of a level, `hostile.` or `link.` before one of those tables'.
    pub parameter: String,
    /// What the axis is labelled with; the parameter where it is left out.
    pub label: String,
    /// Its values, rising where they are numbers.
    pub values: Vec<X>,
    /// Its values where it has to be quick.
    pub quick: Vec<X>,
    /// Whose the values are.
    pub of: Whose,
    /// Whether the axis is logarithmic.
    pub log: bool,
}

/// A value along the axis.
#[derive(Clone, Debug, PartialEq)]
pub struct X {
    /// The value.
    pub value: Value,
    /// As it is written.
    pub label: String,
    /// Where it is on the axis: its number, or its place in the list where it is none.
    pub at: f64,
}

/// A line of the plots.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Whose what it changes is.
    pub of: Whose,
    /// What it changes.
    pub set: Vec<Setting>,
}

/// A figure that is plotted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plot {
    /// Its name among those of a run.
    pub figure: String,
    /// What the axis is labelled with.
    pub label: String,
    /// Whether the axis is logarithmic.
    #[serde(default)]
    pub log: bool,
}

/// How many seeds each point is run with, 1 to 10,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seeds {
    /// In full.
    pub full: u32,
    /// Where it has to be quick.
    pub quick: u32,
}

/// One network of an experiment.
#[derive(Clone, Debug)]
pub struct Point {
    /// Which series, by its place.
    pub series: usize,
    /// Which value along the axis, by its place.
    pub x: usize,
    /// The network.
    pub params: Params,
    /// The policy that its requesters have.
    pub policy: RiskPolicy,
}

/// A parameter as it is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// The key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// Whose it is.
    pub whose: Whose,
    /// Why it is that.
    pub why: String,
}

/// Where in which file something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}", self.file, self.line)
    }
}

/// Why a file is no scenario.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("{file}: {error}")]
    Unreadable {
        /// Which.
        file: String,
        /// Why.
        error: io::Error,
    },
    /// It is no TOML, or not of a scenario's form.
    #[error("{file}: {error}")]
    Form {
        /// Which.
        file: String,
        /// What and where.
        error: toml::de::Error,
    },
    /// A key is no parameter.
    #[error("{place}: {key} in {table} is no parameter; there are {}", known.join(", "))]
    UnknownKey {
        /// Where.
        place: Place,
        /// Which.
        key: String,
        /// In what table.
        table: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// A parameter is said to be the paper's and ours.
    #[error("{place}: {key} is in [paper] and in [ours]; it can be in one of them")]
    BothSides {
        /// Where the second is.
        place: Place,
        /// Which.
        key: String,
    },
    /// A parameter goes along the axis and is set besides.
    #[error("{place}: {key} is set in {table}, and goes along the axis")]
    OnTheAxis {
        /// Where it is set.
        place: Place,
        /// Which.
        key: String,
        /// In what table.
        table: String,
    },
    /// A policy that is named does not exist.
    #[error("{file}: no policy is called {policy:?}; there are {}", known.join(", "))]
    UnknownPolicy {
        /// The file.
        file: String,
        /// What was named.
        policy: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// A policy is not one that a node would take.
    #[error("{file}: {error}")]
    Policy {
        /// The file.
        file: String,
        /// Which and why.
        error: PolicyError,
    },
    /// A value does not fit its parameter.
    #[error("{file}: series {series:?} at {parameter} = {x}: {what}")]
    Value {
        /// The file.
        file: String,
        /// Of which series.
        series: String,
        /// What goes along the axis.
        parameter: String,
        /// Where along it.
        x: String,
        /// What does not fit.
        what: String,
    },
    /// Something else does not hold together.
    #[error("{file}: {what}")]
    Wrong {
        /// The file.
        file: String,
        /// What.
        what: String,
    },
    /// It would be more runs than are allowed.
    #[error(
        "{file}: {runs} runs, and at most {MAX_RUNS} are allowed: {series} series, {points} values along the axis, {seeds} seeds"
    )]
    TooMany {
        /// The file.
        file: String,
        /// How many it would be.
        runs: u64,
        /// Series.
        series: usize,
        /// Values along the axis.
        points: usize,
        /// Seeds.
        seeds: u32,
    },
}

impl Scenario {
    /// The scenario in a file.
    ///
    /// # Errors
    /// [`ScenarioError`], which says what is wrong and where.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let file = path.display().to_string();
        let unreadable = |error| ScenarioError::Unreadable { file: file.clone(), error };
        if fs::metadata(path).map_err(unreadable)?.len() > MAX_SCENARIO_BYTES {
            let what = format!("it has more than {MAX_SCENARIO_BYTES} bytes");
            return Err(ScenarioError::Wrong { file, what });
        }
        let text = fs::read_to_string(path).map_err(unreadable)?;
        Self::parse(&text, &file)
    }

    /// The scenario that a text says; `file` is what it is called in errors. Every network in it is made once, so that what
    /// is read can be run.
    ///
    /// # Errors
    /// [`ScenarioError`], which says what is wrong and where.
    pub fn parse(text: &str, file: &str) -> Result<Self, ScenarioError> {
        let scenario = read::read(text, file)?;
        for quick in [false, true] {
            scenario.points(quick)?;
        }
        Ok(scenario)
    }

    /// The values along the axis.
    pub fn xs(&self, quick: bool) -> &[X] {
        if quick { &self.x.quick } else { &self.x.values }
    }

    /// How many seeds each point is run with.
    pub fn seeds(&self, quick: bool) -> u32 {
        if quick { self.seeds.quick } else { self.seeds.full }
    }

    /// How many runs it is.
    ///
    /// # Errors
    /// [`ScenarioError::TooMany`] beyond [`MAX_RUNS`], and [`ScenarioError::Wrong`] for a number of seeds out of bounds.
    pub fn runs(&self, quick: bool) -> Result<u64, ScenarioError> {
        let (series, points, seeds) = (self.series.len(), self.xs(quick).len(), self.seeds(quick));
        if !(1..=MAX_SEEDS).contains(&seeds) {
            return Err(self.wrong(format!("{seeds} seeds; 1 to {MAX_SEEDS} are allowed")));
        }
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let runs = count(series).saturating_mul(count(points)).saturating_mul(u64::from(seeds));
        if runs > MAX_RUNS {
            return Err(ScenarioError::TooMany { file: self.file.clone(), runs, series, points, seeds });
        }
        Ok(runs)
    }

    /// All its networks, by series and then along the axis.
    ///
    /// # Errors
    /// [`ScenarioError`] for a value that does not fit, a policy that does not exist, or too many runs.
    pub fn points(&self, quick: bool) -> Result<Vec<Point>, ScenarioError> {
        self.runs(quick)?;
        let mut points = Vec::new();
        for (series, line) in self.series.iter().enumerate() {
            for (place, x) in self.xs(quick).iter().enumerate() {
                let wrong = |what: String| ScenarioError::Value {
                    file: self.file.clone(),
                    series: line.name.clone(),
                    parameter: self.x.parameter.clone(),
                    x: x.label.clone(),
                    what,
                };
                let mut settings = Settings::defaults();
                let quick: &[Setting] = if quick { &self.quick } else { &[] };
                for setting in self.paper.iter().chain(&self.ours).chain(quick).chain(&line.set) {
                    settings.put(&setting.key, &setting.value).map_err(wrong)?;
                }
                settings.put(&self.x.parameter, &x.value).map_err(wrong)?;
                let (params, level) = settings.done().map_err(wrong)?;
                let policy = self.policy(&params.policy, &level, wrong)?;
                points.push(Point { series, x: place, params, policy });
            }
        }
        Ok(points)
    }

    /// All parameters but what goes along the axis and what every series sets: the paper's, ours, and those that have their
    /// defaults, which are ours too.
    pub fn parameters(&self, quick: bool) -> Vec<Parameter> {
        let quick: &[Setting] = if quick { &self.quick } else { &[] };
        let listed = [(Whose::Paper, &self.paper), (Whose::Ours, &self.ours)];
        let mut all = Vec::new();
        for (whose, setting) in listed.iter().flat_map(|(whose, s)| s.iter().map(move |s| (*whose, s))) {
            let shorter = quick.iter().find(|s| s.key == setting.key);
            let (key, value) = (setting.key.clone(), shorter.unwrap_or(setting).value.to_string());
            let (whose, why) = match shorter {
                Some(shorter) => (Whose::Ours, shorter.why.clone()),
                None => (whose, setting.why.clone()),
            };
            all.push(Parameter { key, value, whose, why });
        }
        let set = |key: &str| {
            let given = self.paper.iter().chain(&self.ours);
            given.chain([self.x.setting()].iter()).any(|s| settings::keys_of(&s.key).contains(&key))
        };
        let varies = |key: &str| {
            let sets = |s: &Series| s.set.iter().any(|s| settings::keys_of(&s.key).contains(&key));
            self.series.iter().all(sets)
        };
        for (key, value) in settings::defaults() {
            if set(&key) || varies(&key) {
                continue;
            }
            let shorter = quick.iter().find(|s| s.key == key);
            let value = shorter.map_or(value, |s| s.value.clone()).to_string();
            let why = shorter.map_or_else(|| "a default".to_owned(), |s| s.why.clone());
            all.push(Parameter { key, value, whose: Whose::Ours, why });
        }
        all
    }

    /// What the file is called.
    pub fn file(&self) -> &str {
        &self.file
    }

    fn policy(
        &self,
        name: &str,
        level: &Table,
        wrong: impl FnOnce(String) -> ScenarioError,
    ) -> Result<RiskPolicy, ScenarioError> {
        let Some(policy) = self.policies.get(name) else {
            let known = self.policies.names().into_iter().map(str::to_owned).collect();
            return Err(ScenarioError::UnknownPolicy {
                file: self.file.clone(),
                policy: name.to_owned(),
                known,
            });
        };
        if level.is_empty() {
            return Ok(policy.risk().clone());
        }
        policy.changed(level).map_err(|error| wrong(error.to_string().trim_end().to_owned()))
    }

    fn wrong(&self, what: String) -> ScenarioError {
        ScenarioError::Wrong { file: self.file.clone(), what }
    }
}

impl Axis {
    fn setting(&self) -> Setting {
        let value = Value::Boolean(true);
        Setting { key: self.parameter.clone(), value, why: String::new(), line: 0 }
    }
}

impl X {
    fn of(value: Value, place: usize) -> Self {
        let (label, at) = match &value {
            Value::Integer(n) => (n.to_string(), *n as f64),
            Value::Float(n) => (n.to_string(), *n),
            Value::String(text) => (text.clone(), place as f64),
            other => (other.to_string(), place as f64),
        };
        Self { value, label, at }
    }
}

/// The line, from 1, that something begins in.
fn line_of<T>(text: &str, spanned: &Spanned<T>) -> usize {
    text.bytes().take(spanned.span().start).filter(|b| *b == b'\n').count().saturating_add(1)
}
