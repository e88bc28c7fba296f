//! What a study came to, for people: a page that stands alone, the same as Markdown, and each figure as a file.
//!
//! A report is given as data and says nothing of its own but how it reads. The same report gives the same bytes: it has no
//! time and no machine in it but what [`Report::made`] is told.

mod html;
mod markdown;
mod pen;
mod plot;
mod scale;
mod text;
mod trace;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use text::number;

/// The longest id: 128 bytes, for a scenario's name and a figure's.
pub const LONGEST_ID: usize = 128;
/// The most lines that a figure shows: 8. More could not be told apart; what is left out is said under it.
pub const MOST_LINES: usize = 8;

/// What a study came to.
///
/// In sentences (questions, verdicts, notes, reasons) what stands between backticks is set as code. All else is text, whatever
/// is in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// What it is about, in a few words.
    pub title: String,
    /// How it was made, as names and values: the seeds, the release, whose machine the profile is.
    pub made: Vec<(String, String)>,
    /// What came out, for who reads no further.
    pub summary: Vec<Verdict>,
    /// One a question.
    pub sections: Vec<Section>,
}

/// One question, and what came out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section {
    /// What links name it by: of `a-z`, `0-9`, `-` and `_`, at most [`LONGEST_ID`], once in a report.
    pub id: String,
    /// Its heading.
    pub title: String,
    /// What it asks.
    pub question: String,
    /// Plots.
    pub figures: Vec<Figure>,
    /// Tables.
    pub tables: Vec<Table>,
    /// What was set, and who says so.
    pub parameters: Vec<Parameter>,
    /// What was expected, and whether it came so.
    pub verdicts: Vec<Verdict>,
    /// What else a reader should know.
    pub notes: Vec<String>,
}

/// A plot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figure {
    /// The name of its file, without `.svg`: as a section's id.
    pub id: String,
    /// Its caption.
    pub title: String,
    /// From left to right.
    pub x: Axis,
    /// From bottom to top.
    pub y: Axis,
    /// At most [`MOST_LINES`] are shown.
    pub lines: Vec<Line>,
}

/// An axis of a plot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Axis {
    /// What is on it, and the unit.
    pub label: String,
    /// Whether it is logarithmic. What is not above 0 then stands at its foot, under a mark of its own.
    pub log: bool,
    /// Where it begins; by default where the data does, or at 0 for an upright axis that is not logarithmic. Points beyond it
    /// move it, intervals are cut off there.
    pub from: Option<f64>,
    /// Where it ends; by default where the data does.
    pub to: Option<f64>,
}

/// A line of a plot, drawn in the order of its points.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// What the legend calls it.
    pub name: String,
    /// Its points. One that has no finite place is left out, and the figure says so.
    pub points: Vec<Point>,
}

/// A point of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// From left to right.
    pub x: f64,
    /// From bottom to top.
    pub y: f64,
    /// The lower end of its interval. An interval is drawn where both ends are there.
    pub low: Option<f64>,
    /// The upper end of its interval.
    pub high: Option<f64>,
}

/// A table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Its heading.
    pub title: String,
    /// What is in each column.
    pub head: Vec<String>,
    /// Its rows. Columns of numbers stand to the right.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// How many columns it has: as many as its longest row.
    fn columns(&self) -> usize {
        self.rows.iter().map(Vec::len).chain([self.head.len()]).max().unwrap_or_default()
    }
}

/// Something that was set.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// What it is called.
    pub name: String,
    /// What it was set to, with its unit.
    pub value: String,
    /// Whose it is.
    pub of: Of,
    /// Why it is that.
    pub why: String,
}

/// Who set a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// The paper says it.
    Paper,
    /// The paper does not say, or it is about what the paper has not: it is ours.
    Ours,
}

impl Of {
    /// Whose, in a word.
    pub fn name(self) -> &'static str {
        match self {
            Of::Paper => "the paper’s",
            Of::Ours => "ours",
        }
    }
}

/// What was expected, and whether it came so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It came as was expected.
    Held(String),
    /// It did not.
    Missed(String),
}

impl Verdict {
    /// Whether it came as was expected.
    pub fn held(&self) -> bool {
        matches!(self, Verdict::Held(_))
    }

    /// What was expected, and what came.
    pub fn text(&self) -> &str {
        match self {
            Verdict::Held(text) | Verdict::Missed(text) => text,
        }
    }
}

/// The files of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The page.
    pub html: PathBuf,
    /// The same in Markdown, which shows the figures' files.
    pub markdown: PathBuf,
    /// The figures, in the order of the report.
    pub figures: Vec<PathBuf>,
}

/// Why a report was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// An id is no file's name.
    #[error("{0:?} is no id: 1 to {LONGEST_ID} of a-z, 0-9, - and _")]
    Id(String),
    /// Two sections or two figures have one id.
    #[error("there are two of {0:?}")]
    Twice(String),
    /// A figure cannot be drawn.
    #[error("cannot draw: {0}")]
    Draw(String),
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A figure as it is shown: what it looks like, and what it does not show.
struct Drawn {
    svg: String,
    notes: Vec<String>,
}

/// Writes a report into a folder, which is made: `report.html`, `report.md` and `figures/<id>.svg`. A file that is there is
/// replaced, in one step.
pub fn write(report: &Report, out: &Path) -> Result<Written, ReportError> {
    check(report)?;
    let mut drawn = Vec::new();
    for section in &report.sections {
        drawn.push(section.figures.iter().map(plot::draw).collect::<Result<Vec<_>, _>>()?);
    }
    let folder = out.join("figures");
    fs::create_dir_all(&folder).map_err(|source| ReportError::Write { path: folder.clone(), source })?;
    let mut figures = Vec::new();
    for (section, drawn) in report.sections.iter().zip(&drawn) {
        for (figure, drawn) in section.figures.iter().zip(drawn) {
            figures.push(put(folder.join(format!("{}.svg", figure.id)), &drawn.svg)?);
        }
    }
    let markdown = put(out.join("report.md"), &markdown::markdown(report, &drawn))?;
    let html = put(out.join("report.html"), &html::html(report, &drawn))?;
    Ok(Written { html, markdown, figures })
}

/// Whether all ids are names of files, and each there once.
fn check(report: &Report) -> Result<(), ReportError> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let (mut sections, mut figures) = (BTreeSet::new(), BTreeSet::new());
    let ids = report.sections.iter().flat_map(|section| {
        let of_figures = section.figures.iter().map(|figure| (false, figure.id.as_str()));
        std::iter::once((true, section.id.as_str())).chain(of_figures)
    });
    for (of_section, id) in ids {
        if id.is_empty() || id.len() > LONGEST_ID || !id.chars().all(good) {
            return Err(ReportError::Id(id.to_owned()));
        }
        let seen = if of_section { &mut sections } else { &mut figures };
        if !seen.insert(id) {
            return Err(ReportError::Twice(id.to_owned()));
        }
    }
    Ok(())
}

/// Writes a file beside where it belongs, and moves it there.
fn put(path: PathBuf, text: &str) -> Result<PathBuf, ReportError> {
    let mut staged = path.clone().into_os_string();
    staged.push(".new");
    let done = fs::write(&staged, text).and_then(|()| fs::rename(&staged, &path));
    match done {
        Ok(()) => Ok(path),
        Err(source) => Err(ReportError::Write { path, source }),
    }
}
