//! The policy language: predicates over an invocation's arguments.
//!
//! Source: UCAN Delegation 1.0.0, "Policy". Where the text leaves a choice, or contradicts itself, the choice is the one
//! that lets less through:
//!
//! - a selector that cannot be resolved makes its statement false, `!=` included; `not` of such a statement is true;
//! - numbers are equal by value, whatever their type, at any depth: `1 == 1.0`;
//! - `or` and `and` of nothing hold, as the text says; `any` over nothing does not, and `all` over nothing does;
//! - `[]` on a list is the list, so a field after it does not resolve; on bytes it is the list of their values;
//! - the values of a map come in the order of its keys' bytes;
//! - in a pattern `\*` is a star, and a backslash before anything else is a backslash.
//!
//! Judging costs steps, from a [`Budget`] that the caller gives: a policy that takes more is not met, wherever in it the
//! budget ran out, also under `not`.

mod judge;
mod pattern;
mod read;
mod selector;
mod text;

pub use judge::{Budget, Unmet};
pub use pattern::Pattern;
pub use selector::{Segment, Selector, Step};

use ipld_core::ipld::Ipld;
use ipld_core::serde::{SerdeError, from_ipld};
use serde::{Serialize, Serializer, ser::SerializeSeq};
use std::fmt;

/// The most statements in one policy, those inside of others included.
pub const MAX_STATEMENTS: usize = 256;
/// How deep statements may lie in one another; a statement of the policy itself is at depth 1.
pub const MAX_DEPTH: usize = 16;
/// How deep a value may be nested: what a statement compares with, an argument, a fact. A number is at depth 1.
pub const MAX_VALUE_DEPTH: usize = 64;

/// What arguments must satisfy: all of these statements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The statements.
    pub statements: Vec<Statement>,
}

/// One predicate.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// Why a policy was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyError(pub String);

impl Policy {
    /// A policy of these statements. Nothing is checked before it is signed; see [`Policy::bounds`].
    pub fn new(statements: Vec<Statement>) -> Self {
        Self { statements }
    }

    /// Whether a reader would take it: its size and depth, and that its values can be said in DAG-CBOR.
    pub fn bounds(&self) -> Result<(), PolicyError> {
        let mut left = MAX_STATEMENTS;
        self.statements.iter().try_for_each(|s| s.bounds(1, &mut left))
    }
}

impl Statement {
    /// `["==", selector, value]`
    pub fn eq(selector: Selector, value: impl Into<Ipld>) -> Self {
        Self::Eq(selector, value.into())
    }

    /// `["!=", selector, value]`
    pub fn ne(selector: Selector, value: impl Into<Ipld>) -> Self {
        Self::Ne(selector, value.into())
    }

    /// `["<", selector, number]`
    pub fn lt(selector: Selector, number: impl Into<Ipld>) -> Self {
        Self::Lt(selector, number.into())
    }

    /// `["<=", selector, number]`
    pub fn le(selector: Selector, number: impl Into<Ipld>) -> Self {
        Self::Le(selector, number.into())
    }

    /// `[">", selector, number]`
    pub fn gt(selector: Selector, number: impl Into<Ipld>) -> Self {
        Self::Gt(selector, number.into())
    }

    /// `[">=", selector, number]`
    pub fn ge(selector: Selector, number: impl Into<Ipld>) -> Self {
        Self::Ge(selector, number.into())
    }

    /// `["like", selector, pattern]`
    pub fn like(selector: Selector, pattern: impl Into<Pattern>) -> Self {
        Self::Like(selector, pattern.into())
    }

    /// `["and", [statement]]`
    pub fn and(statements: Vec<Self>) -> Self {
        Self::And(statements)
    }

    /// `["or", [statement]]`
    pub fn or(statements: Vec<Self>) -> Self {
        Self::Or(statements)
    }

    /// `["not", statement]`
    pub fn negate(statement: Self) -> Self {
        Self::Not(Box::new(statement))
    }

    /// `["all", selector, statement]`
    pub fn all(selector: Selector, statement: Self) -> Self {
        Self::All(selector, Box::new(statement))
    }

    /// `["any", selector, statement]`
    pub fn any(selector: Selector, statement: Self) -> Self {
        Self::Any(selector, Box::new(statement))
    }

    /// The operator, as written.
    pub fn operator(&self) -> &'static str {
        match self {
            Self::Eq(..) => "==",
            Self::Ne(..) => "!=",
            Self::Lt(..) => "<",
            Self::Le(..) => "<=",
            Self::Gt(..) => ">",
            Self::Ge(..) => ">=",
            Self::Like(..) => "like",
            Self::And(_) => "and",
            Self::Or(_) => "or",
            Self::Not(_) => "not",
            Self::All(..) => "all",
            Self::Any(..) => "any",
        }
    }

    /// Whether what this says can depend on the argument `key`, as far as its selectors tell.
    ///
    /// A selector that does not begin with a field, such as `.` or `.[]`, mentions every argument. Statements inside
    /// `all` and `any` see only what the outer selector found, so that selector decides for them.
    pub fn mentions(&self, key: &str) -> bool {
        match self {
            Self::Eq(s, _)
            | Self::Ne(s, _)
            | Self::Lt(s, _)
            | Self::Le(s, _)
            | Self::Gt(s, _)
            | Self::Ge(s, _)
            | Self::Like(s, _)
            | Self::All(s, _)
            | Self::Any(s, _) => s.mentions(key),
            Self::And(inner) | Self::Or(inner) => inner.iter().any(|s| s.mentions(key)),
            Self::Not(inner) => inner.mentions(key),
        }
    }

    fn bounds(&self, depth: usize, left: &mut usize) -> Result<(), PolicyError> {
        count(depth, left).map_err(PolicyError)?;
        match self {
            Self::Eq(_, value) | Self::Ne(_, value) => sayable(value).map_err(PolicyError),
            Self::Lt(_, n) | Self::Le(_, n) | Self::Gt(_, n) | Self::Ge(_, n) => {
                number(n).and_then(|()| sayable(n)).map_err(PolicyError)
            }
            Self::Like(..) => Ok(()),
            Self::And(inner) | Self::Or(inner) => inner.iter().try_for_each(|s| s.bounds(depth + 1, left)),
            Self::Not(inner) | Self::All(_, inner) | Self::Any(_, inner) => inner.bounds(depth + 1, left),
        }
    }
}

/// Counts a statement at a depth against what one policy may hold.
fn count(depth: usize, left: &mut usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("statements nested over {MAX_DEPTH} deep"));
    }
    *left = left.checked_sub(1).ok_or_else(|| format!("over {MAX_STATEMENTS} statements in one policy"))?;
    Ok(())
}

fn number(value: &Ipld) -> Result<(), String> {
    match value {
        Ipld::Integer(_) | Ipld::Float(_) => Ok(()),
        other => Err(format!("compared with what is no number: {}", text::brief(other))),
    }
}

/// Whether DAG-CBOR can say a value, and a reader would take it: integers of 64 bits, finite floats, bounded depth.
pub(crate) fn sayable(value: &Ipld) -> Result<(), String> {
    fn at(value: &Ipld, left: usize) -> Result<(), String> {
        let Some(left) = left.checked_sub(1) else {
            return Err(format!("a value nested over {MAX_VALUE_DEPTH} deep"));
        };
        match value {
            Ipld::Integer(n) if *n > i128::from(u64::MAX) || *n < -1 - i128::from(u64::MAX) => {
                Err(format!("the integer {n} has over 64 bits"))
            }
            Ipld::Float(n) if !n.is_finite() => Err(format!("the number {n} is not finite")),
            Ipld::List(list) => list.iter().try_for_each(|v| at(v, left)),
            Ipld::Map(map) => map.values().try_for_each(|v| at(v, left)),
            _ => Ok(()),
        }
    }
    at(value, MAX_VALUE_DEPTH)
}

impl TryFrom<Vec<Ipld>> for Policy {
    type Error = PolicyError;
    fn try_from(statements: Vec<Ipld>) -> Result<Self, PolicyError> {
        let wrong = |e: SerdeError| PolicyError(e.to_string().trim_start_matches("serde error: ").to_owned());
        from_ipld(Ipld::List(statements)).map_err(wrong)
    }
}

impl From<Policy> for Vec<Ipld> {
    fn from(policy: Policy) -> Self {
        policy.statements.into_iter().map(Ipld::from).collect()
    }
}

impl From<Statement> for Ipld {
    fn from(statement: Statement) -> Self {
        let operator = Self::String(statement.operator().to_owned());
        let text = |s: Selector| Self::String(s.into());
        let many = |inner: Vec<Statement>| Self::List(inner.into_iter().map(Self::from).collect());
        Self::List(match statement {
            Statement::Eq(s, value)
            | Statement::Ne(s, value)
            | Statement::Lt(s, value)
            | Statement::Le(s, value)
            | Statement::Gt(s, value)
            | Statement::Ge(s, value) => vec![operator, text(s), value],
            Statement::Like(s, pattern) => vec![operator, text(s), Self::String(pattern.into())],
            Statement::And(inner) | Statement::Or(inner) => vec![operator, many(inner)],
            Statement::Not(inner) => vec![operator, Self::from(*inner)],
            Statement::All(s, inner) | Statement::Any(s, inner) => {
                vec![operator, text(s), Self::from(*inner)]
            }
        })
    }
}

/// As the list of its statements, without building it in IPLD first.
impl Serialize for Policy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.statements)
    }
}

impl Serialize for Statement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let operator = self.operator();
        match self {
            Self::Eq(s, value)
            | Self::Ne(s, value)
            | Self::Lt(s, value)
            | Self::Le(s, value)
            | Self::Gt(s, value)
            | Self::Ge(s, value) => tuple(serializer, operator, Some(s), value),
            Self::Like(s, pattern) => tuple(serializer, operator, Some(s), pattern.as_str()),
            Self::And(inner) | Self::Or(inner) => tuple(serializer, operator, None, inner),
            Self::Not(inner) => tuple(serializer, operator, None, inner),
            Self::All(s, inner) | Self::Any(s, inner) => tuple(serializer, operator, Some(s), inner),
        }
    }
}

fn tuple<S: Serializer>(
    serializer: S,
    operator: &str,
    selector: Option<&Selector>,
    operand: &(impl Serialize + ?Sized),
) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(Some(2 + usize::from(selector.is_some())))?;
    list.serialize_element(operator)?;
    if let Some(selector) = selector {
        list.serialize_element(selector.as_str())?;
    }
    list.serialize_element(operand)?;
    list.end()
}

/// As compact DAG-JSON: `["<=", ".limits.fuel", 50000000]`. Control characters are escaped.
impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[\"{}\", ", self.operator())?;
        match self {
            Self::Eq(s, value)
            | Self::Ne(s, value)
            | Self::Lt(s, value)
            | Self::Le(s, value)
            | Self::Gt(s, value)
            | Self::Ge(s, value) => {
                write!(f, "{}, ", text::Quoted(s.as_str()))?;
                text::write(f, value)?;
            }
            Self::Like(s, pattern) => {
                write!(f, "{}, {}", text::Quoted(s.as_str()), text::Quoted(pattern.as_str()))?;
            }
            Self::And(inner) | Self::Or(inner) => text::list(f, inner)?,
            Self::Not(inner) => write!(f, "{inner}")?,
            Self::All(s, inner) | Self::Any(s, inner) => {
                write!(f, "{}, {inner}", text::Quoted(s.as_str()))?;
            }
        }
        f.write_str("]")
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::list(f, &self.statements)
    }
}
