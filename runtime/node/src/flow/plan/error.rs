//! Why a plan is refused: where in it, what is wrong, and what to do about it.

use actum_model::flow::MAX_NAME_BYTES;
use std::{fmt, io, path::PathBuf};

/// Why a plan is refused. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The plan or the inputs are larger than any.
    #[error("the {what} has more than the {limit} bytes that are allowed")]
    TooLarge {
        /// Which of the two.
        what: &'static str,
        /// Bytes allowed.
        limit: usize,
    },
    /// It is not TOML, or not of a plan's shape; line, column and reason.
    #[error("this is no plan: {0}")]
    Parse(String),
    /// A plan or inputs in a flow's file that are not in the one form those have.
    #[error("the {what} is not in its canonical form: {why}")]
    NotCanonical {
        /// Which of the two.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Something in it does not fit.
    #[error("{place}: {why}")]
    Wrong {
        /// Where.
        place: Place,
        /// What, and what to do about it.
        why: Wrong,
    },
}

/// A place in a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The line its step begins at, from 1, where that is known.
    pub line: Option<usize>,
    /// The step.
    pub step: Option<String>,
    /// The key, with the place inside its value.
    pub key: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}, ")?;
        }
        if let Some(step) = &self.step {
            write!(f, "step {step:?}, ")?;
        }
        f.write_str(&self.key)
    }
}

/// What does not fit in a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// Not a name.
    #[error("{0:?} is no name: use 1 to {MAX_NAME_BYTES} of a-z, 0-9, - and _")]
    Name(String),
    /// Two steps have one name.
    #[error("another step is called so: give each a name of its own")]
    Duplicate,
    /// No step has that name.
    #[error("there is no step {name:?}; there are {}", known.join(", "))]
    UnknownStep {
        /// The name given.
        name: String,
        /// The steps there are.
        known: Vec<String>,
    },
    /// No input has that name.
    #[error("there is no input {name:?}; {}", inputs(known))]
    UnknownInput {
        /// The name given.
        name: String,
        /// The inputs there are.
        known: Vec<String>,
    },
    /// No level of risk has that name.
    #[error("there is no level {name:?}; there are {}", known.join(", "))]
    UnknownLevel {
        /// The name given.
        name: String,
        /// The levels there are.
        known: Vec<String>,
    },
    /// Steps wait for one another.
    #[error("these steps wait for one another, so none can begin: {}; take one reference or `after` out", steps.join(" -> "))]
    Cycle {
        /// The steps, each needing the one behind it, the first again at the end.
        steps: Vec<String>,
    },
    /// An input that no step uses.
    #[error("no step uses it: write {{{{input.{0}}}}} where it belongs, or take it out")]
    Unused(String),
    /// What is between the braces is no reference.
    #[error("{0}")]
    Reference(String),
    /// A value that JSON does not have.
    #[error("{0}")]
    Value(String),
    /// More, or less, than is allowed.
    #[error("{actual} where {allowed} are allowed")]
    Bound {
        /// How much it is, in words.
        actual: String,
        /// How much is allowed, in words.
        allowed: String,
    },
}

fn inputs(known: &[String]) -> String {
    match known {
        [] => "the plan has none: give it a default under [input]".to_owned(),
        known => format!("there are {}; give it a default under [input]", known.join(", ")),
    }
}
