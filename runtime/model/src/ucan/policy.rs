//! The policy language: predicates over an invocation's arguments.

use ipld_core::ipld::Ipld;
use serde::{Deserialize, Serialize};

/// What arguments must satisfy: all of these statements.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Ipld>", into = "Vec<Ipld>")]
pub struct Policy {
    /// The statements.
    pub statements: Vec<Statement>,
}

/// One predicate.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// `["==", selector, value]`
    Eq(Selector, Ipld),
    /// `["!=", selector, value]`
    Ne(Selector, Ipld),
    /// `["<", selector, number]`
    Lt(Selector, Ipld),
    /// `["<=", selector, number]`
    Le(Selector, Ipld),
    /// `[">", selector, number]`
    Gt(Selector, Ipld),
    /// `[">=", selector, number]`
    Ge(Selector, Ipld),
    /// `["like", selector, pattern]`
    Like(Selector, Pattern),
    /// `["and", [statement]]`
    And(Vec<Statement>),
    /// `["or", [statement]]`
    Or(Vec<Statement>),
    /// `["not", statement]`
    Not(Box<Statement>),
    /// `["all", selector, statement]`
    All(Selector, Box<Statement>),
    /// `["any", selector, statement]`
    Any(Selector, Box<Statement>),
}

/// A path into the arguments, as it was written and as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    text: String,
}

/// A glob: `*` is any text, `\*` a star.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
}

impl Selector {
    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Pattern {
    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Why a policy was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyError(pub String);

impl TryFrom<Vec<Ipld>> for Policy {
    type Error = PolicyError;
    fn try_from(statements: Vec<Ipld>) -> Result<Self, PolicyError> {
        if statements.is_empty() { Ok(Self::default()) } else { Err(PolicyError("not read yet".to_owned())) }
    }
}

impl From<Policy> for Vec<Ipld> {
    fn from(_: Policy) -> Self {
        Self::new()
    }
}
