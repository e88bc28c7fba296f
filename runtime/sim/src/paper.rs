//! Everything that a report is of: the scenarios that are kept with the project, the advertise plane by itself, and the search for
//! the cheapest level of checks; and one scenario alone.

mod alone;
mod section;

pub use section::section;

use crate::{
    optimise::OptimiseError,
    profile::Profile,
    report::{self, Report, ReportError, Section, Verdict, Written},
    runs::{InMarket, Kept, KeptError},
    scenario::{CHECKED_IN, CheckedIn, Scenario, ScenarioError},
    sweep::{Sweep, SweepError},
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

/// The scenario of networks so large that few of them are run.
const LARGE: &str = "scale";

/// How it is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// With the scenarios' fewer values and seeds.
    pub quick: bool,
    /// What chance is drawn from.
    pub seed: u64,
    /// The folder to write to, which is made.
    pub out: &'a Path,
}

/// How it comes along.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A part is being run.
    Running {
        /// Which.
        name: &'a str,
        /// Runs that are over.
        done: u64,
        /// Of how many, at most.
        total: u64,
    },
    /// A part is over.
    Ended {
        /// Which.
        name: &'a str,
        /// Shapes that came as expected.
        held: usize,
        /// Those that did not.
        missed: usize,
    },
    /// Something that a person should know.
    Warning(&'a str),
}

/// Who hears how it comes along.
pub type Heard<'a> = dyn Fn(Event<'_>) + Sync + 'a;

/// What was done.
#[derive(Clone, Debug)]
pub struct Done {
    /// What came out.
    pub report: Report,
    /// Where it is written.
    pub written: Written,
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum PaperError {
    /// It was told to stop. What was over is kept.
    #[error("it was stopped")]
    Stopped,
    /// A scenario is none.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// A scenario could not be run.
    #[error(transparent)]
    Sweep(SweepError),
    /// A run could not be made or kept.
    #[error(transparent)]
    Optimise(OptimiseError),
    /// Runs could not be kept.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// The report could not be written.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The profile that is built in is none.
    #[error("the profile is none")]
    Profile(#[from] toml::de::Error),
    /// A profile's file is none.
    #[error("{} is no profile", path.display())]
    ProfileFile {
        /// Which.
        path: PathBuf,
        /// What and where.
        source: Box<toml::de::Error>,
    },
    /// A file cannot be read or written.
    #[error("cannot read or write {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl From<SweepError> for PaperError {
    fn from(error: SweepError) -> Self {
        match error {
            SweepError::Stopped { .. } => Self::Stopped,
            error => Self::Sweep(error),
        }
    }
}

impl From<OptimiseError> for PaperError {
    fn from(error: OptimiseError) -> Self {
        match error {
            OptimiseError::Stopped => Self::Stopped,
            OptimiseError::Kept(error) => Self::Kept(error),
            error => Self::Optimise(error),
        }
    }
}

/// Reads a profile, as `actum sim calibrate` writes it.
///
/// # Errors
/// [`PaperError::File`] and [`PaperError::ProfileFile`].
pub fn read_profile(path: &Path) -> Result<Profile, PaperError> {
    let text =
        fs::read_to_string(path).map_err(|source| PaperError::File { path: path.to_owned(), source })?;
    toml::from_str(&text)
        .map_err(|source| PaperError::ProfileFile { path: path.to_owned(), source: Box::new(source) })
}

/// Does everything and writes the report, the tables and `risk.toml`. The same options and profile give the same bytes; what
/// was over before is not done again.
///
/// # Errors
/// [`PaperError`]: stopped, or what could not be run or written.
pub fn paper(
    options: &Options<'_>,
    profile: &Profile,
    stop: &AtomicBool,
    heard: &Heard<'_>,
) -> Result<Done, PaperError> {
    begin(options)?;
    let sweep = |checked_in: &CheckedIn| swept(&checked_in.scenario()?, options, profile, stop, heard);
    // The largest networks are one run each, which one core does: others have something to do meanwhile.
    let (large, others): (Vec<_>, Vec<_>) =
        CHECKED_IN.iter().partition(|checked_in| checked_in.name == LARGE);
    let (alone, others) = rayon::join(
        || {
            let large = large.into_iter().map(sweep).collect::<Result<Vec<_>, _>>()?;
            Ok::<_, PaperError>((large, alone::advertise(options, profile, stop, heard)?))
        },
        || others.into_iter().map(sweep).collect::<Result<Vec<_>, PaperError>>(),
    );
    let ((large, advertise), mut sections) = (alone?, others?);
    sections.extend(large);
    sections.push(advertise);
    sections.push(alone::optimise(options, profile, stop, heard)?);
    let report = Report {
        title: "What the network does".to_owned(),
        made: made(options, profile),
        summary: sections.iter().filter_map(in_a_line).collect(),
        sections,
    };
    finish(options, report)
}

/// Runs one scenario and writes its report and tables.
///
/// # Errors
/// [`PaperError`]: stopped, or what could not be run or written.
pub fn one(
    scenario: &Scenario,
    options: &Options<'_>,
    profile: &Profile,
    stop: &AtomicBool,
    heard: &Heard<'_>,
) -> Result<Done, PaperError> {
    begin(options)?;
    let section = swept(scenario, options, profile, stop, heard)?;
    let report = Report {
        title: scenario.title.clone(),
        made: made(options, profile),
        summary: Vec::new(),
        sections: vec![section],
    };
    finish(options, report)
}

/// Runs a scenario, writes its tables and gives its section.
fn swept(
    scenario: &Scenario,
    options: &Options<'_>,
    profile: &Profile,
    stop: &AtomicBool,
    heard: &Heard<'_>,
) -> Result<Section, PaperError> {
    let name = &scenario.name;
    let sweep = Sweep::of(scenario, options.quick, options.seed, profile)?;
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let progress = |p: crate::sweep::Progress<'_>| {
        heard(Event::Running { name, done: count(p.done), total: count(p.of) });
    };
    let swept = sweep.run(&InMarket, options.out, &progress, stop)?;
    swept.warnings.iter().for_each(|warning| heard(Event::Warning(warning)));
    swept.write(options.out)?;
    let section = section(scenario, &swept, options.quick);
    ended(&section, heard);
    Ok(section)
}

fn ended(section: &Section, heard: &Heard<'_>) {
    let held = section.verdicts.iter().filter(|verdict| verdict.held()).count();
    heard(Event::Ended { name: &section.id, held, missed: section.verdicts.len().saturating_sub(held) });
}

/// How many of a section's shapes came as expected.
fn in_a_line(section: &Section) -> Option<Verdict> {
    let of = section.verdicts.len();
    let held = section.verdicts.iter().filter(|verdict| verdict.held()).count();
    let text = format!("{}: {held} of {of} held", section.title);
    match of {
        0 => None,
        _ if held == of => Some(Verdict::Held(text)),
        _ => Some(Verdict::Missed(text)),
    }
}

/// What a report says of how it was made.
fn made(options: &Options<'_>, profile: &Profile) -> Vec<(String, String)> {
    let facts = [
        ("seed", options.seed.to_string()),
        ("scenarios", if options.quick { "quick" } else { "full" }.to_owned()),
        ("actum", env!("CARGO_PKG_VERSION").to_owned()),
        ("profile", format!("{}, {}", profile.made.date, profile.made.machine)),
        ("profile of", format!("actum {}, {}", profile.made.actum, profile.made.action)),
    ];
    facts.map(|(name, value)| (name.to_owned(), value)).into()
}

fn begin(options: &Options<'_>) -> Result<(), PaperError> {
    let failed = |source| PaperError::File { path: options.out.to_owned(), source };
    fs::create_dir_all(options.out).map_err(failed)
}

fn finish(options: &Options<'_>, report: Report) -> Result<Done, PaperError> {
    let written = report::write(&report, options.out)?;
    tidy(&options.out.join("runs"))?;
    Ok(Done { report, written })
}

/// Has every file of runs hold them in one order, without what was damaged: it does not depend on which core was the faster.
fn tidy(folder: &Path) -> Result<(), PaperError> {
    let failed = |source| PaperError::File { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        let (kept, held) = Kept::open(&path)?;
        let beside = path.with_extension("new");
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let (tidied, _) = Kept::open(&beside)?;
        held.runs.iter().try_for_each(|(key, figures)| tidied.keep(key, figures))?;
        drop((kept, tidied));
        fs::rename(&beside, &path).map_err(failed)?;
    }
    Ok(())
}

/// Writes a file whole: under another name first, so that nobody ever reads a part of it.
fn put(path: &Path, text: &str) -> Result<(), PaperError> {
    let beside = path.with_extension("new");
    let put = fs::write(&beside, text).and_then(|()| fs::rename(&beside, path));
    put.map_err(|source| PaperError::File { path: path.to_owned(), source })
}
