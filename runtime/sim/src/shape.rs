//! The shapes that are expected of curves, and whether they came out: judged by the intervals over seeds, and said in words
//! with the numbers. What does not come out is said just so.

use crate::stats::Sample;
use serde::Deserialize;
use std::fmt;

mod judge;

pub use judge::judge;

/// A shape that is expected, as a scenario has it. Where `series` is left out it is expected of every one.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, tag = "shape")]
pub enum Expect {
    /// It is lower at the last x than at the first, the intervals apart, and rises nowhere between neighbours, their
    /// intervals apart.
    Falls {
        /// Of which figure.
        figure: String,
        /// Of which series.
        series: Option<String>,
    },
    /// The same upwards.
    Rises {
        /// Of which figure.
        figure: String,
        /// Of which series.
        series: Option<String>,
    },
    /// One series is above another at every x of a range, the intervals apart.
    Above {
        /// Of which figure.
        figure: String,
        /// Which is above.
        series: String,
        /// What it is above of.
        than: String,
        /// By how much at least. Default 0.
        #[serde(default)]
        by: f64,
        /// From which x on; the first where it is left out.
        from: Option<f64>,
        /// Up to which x; the last where it is left out.
        to: Option<f64>,
    },
    /// It hardly changes: the largest mean is at most so many times the smallest.
    Flat {
        /// Of which figure.
        figure: String,
        /// Of which series.
        series: Option<String>,
        /// How many times, e.g. 1.2.
        within: f64,
    },
    /// Its means are on a straight line.
    Linear {
        /// Of which figure.
        figure: String,
        /// Of which series.
        series: Option<String>,
        /// Against what. Default x itself.
        #[serde(default)]
        against: Against,
        /// What part of the variance the line has to account for: R², 0 to 1.
        r2: f64,
    },
    /// It has one knee: near its best until some x, and beyond that it leaves it and does not come back.
    Knee {
        /// Of which figure.
        figure: String,
        /// Of which series.
        series: Option<String>,
        /// How near to the best is near.
        by: f64,
        /// By how much at least the last one is worse than the best.
        drop: f64,
        /// Which way it leaves. Default down.
        #[serde(default)]
        toward: Toward,
    },
    /// Its whole interval is at most so much, at every x of a range.
    AtMost {
        /// Of which figure.
        figure: String,
        /// Of which series.
        series: Option<String>,
        /// How much.
        bound: f64,
        /// From which x on; the first where it is left out.
        from: Option<f64>,
        /// Up to which x; the last where it is left out.
        to: Option<f64>,
    },
    /// Its whole interval is at least so much, at every x of a range.
    AtLeast {
        /// Of which figure.
        figure: String,
        /// Of which series.
        series: Option<String>,
        /// How much.
        bound: f64,
        /// From which x on; the first where it is left out.
        from: Option<f64>,
        /// Up to which x; the last where it is left out.
        to: Option<f64>,
    },
}

/// What a straight line is drawn against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Against {
    /// x.
    #[default]
    #[serde(rename = "x")]
    X,
    /// 1/x, e.g. a rate where x is an interval.
    #[serde(rename = "1/x")]
    Inverse,
}

/// Which way a curve leaves its best.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Toward {
    /// The best is the highest.
    #[default]
    Down,
    /// The best is the lowest.
    Up,
}

/// Whether a shape came out, and what says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It did.
    Held {
        /// What was seen.
        text: String,
    },
    /// It did not.
    Missed {
        /// What was seen.
        text: String,
    },
}

/// One figure of one series along the axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve(pub Vec<At>);

/// A figure at one x.
#[derive(Clone, Debug, PartialEq)]
pub struct At {
    /// x.
    pub x: f64,
    /// x as it is written.
    pub label: String,
    /// What the seeds came to.
    pub sample: Sample,
}

impl Expect {
    /// Which figure it is about.
    pub fn figure(&self) -> &str {
        match self {
            Self::Falls { figure, .. }
            | Self::Rises { figure, .. }
            | Self::Above { figure, .. }
            | Self::Flat { figure, .. }
            | Self::Linear { figure, .. }
            | Self::Knee { figure, .. }
            | Self::AtMost { figure, .. }
            | Self::AtLeast { figure, .. } => figure,
        }
    }

    /// The series it names.
    pub fn series(&self) -> Vec<&str> {
        match self {
            Self::Above { series, than, .. } => vec![series, than],
            Self::Falls { series, .. }
            | Self::Rises { series, .. }
            | Self::Flat { series, .. }
            | Self::Linear { series, .. }
            | Self::Knee { series, .. }
            | Self::AtMost { series, .. }
            | Self::AtLeast { series, .. } => series.as_deref().into_iter().collect(),
        }
    }
}

impl Verdict {
    fn of(held: bool, text: String) -> Self {
        if held { Self::Held { text } } else { Self::Missed { text } }
    }

    /// Whether it came out.
    pub fn held(&self) -> bool {
        matches!(self, Self::Held { .. })
    }

    /// What was seen.
    pub fn text(&self) -> &str {
        match self {
            Self::Held { text } | Self::Missed { text } => text,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", if self.held() { "held" } else { "missed" }, self.text())
    }
}
