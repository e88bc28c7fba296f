//! Judging a policy: the value of each statement over the arguments, within a budget.

use super::{Pattern, Policy, Segment, Selector, Statement, Step, text};
use crate::ucan::Args;
use cid::Cid;
use ipld_core::ipld::Ipld;
use std::{cmp::Ordering, collections::BTreeMap};

/// Bytes of text compared, or searched, for one step.
const BYTES_A_STEP: usize = 64;

/// How much may be looked at before a policy counts as not met.
///
/// One step is a statement, a part of a selector, a value compared, or 64 bytes of text: some tens of nanoseconds. What
/// it does not bound is memory, which judging hardly needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    left: usize,
}

/// The budget is used up.
struct Spent;

impl Budget {
    /// Enough for a policy of 256 statements and for one look at a few thousand values, in steps.
    pub const STEPS: usize = 100_000;

    /// A budget of so many steps.
    pub fn new(steps: usize) -> Self {
        Self { left: steps }
    }

    /// The steps not used yet.
    pub fn left(&self) -> usize {
        self.left
    }

    fn step(&mut self) -> Result<(), Spent> {
        self.spend(1)
    }

    fn text(&mut self, bytes: usize) -> Result<(), Spent> {
        self.spend(bytes / BYTES_A_STEP)
    }

    fn spend(&mut self, steps: usize) -> Result<(), Spent> {
        match self.left.checked_sub(steps) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                // Whoever goes on with this budget gets nowhere either.
                self.left = 0;
                Err(Spent)
            }
        }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(Self::STEPS)
    }
}

/// Why arguments do not satisfy a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmet {
    /// A statement is false.
    #[error("statement {index} is not met: {text}")]
    Statement {
        /// Which of the policy's statements, from 0.
        index: usize,
        /// The statement, as much of it as a message holds.
        text: String,
    },
    /// The budget ran out while this statement was judged.
    #[error("statement {index} takes too long to judge: {text}")]
    Budget {
        /// Which of the policy's statements, from 0.
        index: usize,
        /// The statement, as much of it as a message holds.
        text: String,
    },
}

impl Unmet {
    /// Which of the policy's statements, from 0.
    pub fn index(&self) -> usize {
        match self {
            Self::Statement { index, .. } | Self::Budget { index, .. } => *index,
        }
    }
}

impl Policy {
    /// Whether the arguments satisfy every statement; the first that they do not.
    pub fn check(&self, args: &Args, budget: &mut Budget) -> Result<(), Unmet> {
        for (index, statement) in self.statements.iter().enumerate() {
            match holds(statement, &View::Map(args), budget) {
                Ok(true) => {}
                Ok(false) => return Err(Unmet::Statement { index, text: text::cut(statement) }),
                Err(Spent) => return Err(Unmet::Budget { index, text: text::cut(statement) }),
            }
        }
        Ok(())
    }
}

/// What a selector found: a part of the arguments, or what it makes of one.
#[derive(Clone)]
enum View<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(&'a str),
    Bytes(&'a [u8]),
    Link(&'a Cid),
    List(&'a [Ipld]),
    Map(&'a BTreeMap<String, Ipld>),
    /// The values of a map.
    Values(Vec<&'a Ipld>),
    /// The values of bytes, as a list.
    Octets(&'a [u8]),
}

#[derive(Clone, Copy)]
enum Number {
    Int(i128),
    Float(f64),
}

impl<'a> From<&'a Ipld> for View<'a> {
    fn from(ipld: &'a Ipld) -> Self {
        match ipld {
            Ipld::Null => Self::Null,
            Ipld::Bool(b) => Self::Bool(*b),
            Ipld::Integer(n) => Self::Number(Number::Int(*n)),
            Ipld::Float(n) => Self::Number(Number::Float(*n)),
            Ipld::String(text) => Self::Text(text),
            Ipld::Bytes(bytes) => Self::Bytes(bytes),
            Ipld::Link(cid) => Self::Link(cid),
            Ipld::List(list) => Self::List(list),
            Ipld::Map(map) => Self::Map(map),
        }
    }
}

fn octet(byte: u8) -> View<'static> {
    View::Number(Number::Int(i128::from(byte)))
}

impl Number {
    /// By value, exactly. `None` for what is no number, which DAG-CBOR cannot say.
    fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(&b)),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(&b),
            (Self::Int(a), Self::Float(b)) => int_with_float(a, b),
            (Self::Float(a), Self::Int(b)) => int_with_float(b, a).map(Ordering::reverse),
        }
    }
}

fn int_with_float(int: i128, float: f64) -> Option<Ordering> {
    /// 2^127, which no `i128` reaches and every one is at least the negative of.
    const END: f64 = 170_141_183_460_469_231_731_687_303_715_884_105_728.0;
    if float.is_nan() {
        None
    } else if float >= END {
        Some(Ordering::Less)
    } else if float < -END {
        Some(Ordering::Greater)
    } else {
        let whole = float.trunc();
        // Exact: it is whole and in range. What was cut off decides between equals.
        Some(int.cmp(&(whole as i128)).then_with(|| whole.partial_cmp(&float).unwrap_or(Ordering::Equal)))
    }
}

/// Where an index points in a list of `length`: counted from the end where negative; possibly outside.
fn place(index: i64, length: usize) -> i128 {
    let index = i128::from(index);
    if index < 0 { index + length as i128 } else { index }
}

/// The element an index names.
fn element<T>(list: &[T], index: i64) -> Option<&T> {
    usize::try_from(place(index, list.len())).ok().and_then(|n| list.get(n))
}

/// The part a slice names, as much of it as there is.
fn part<T>(list: &[T], from: Option<i64>, to: Option<i64>) -> &[T] {
    let length = list.len();
    let bound = |index: Option<i64>, without: usize| {
        let place = index.map_or(without as i128, |n| place(n, length));
        usize::try_from(place.clamp(0, length as i128)).unwrap_or(without)
    };
    list.get(bound(from, 0)..bound(to, length)).unwrap_or_default()
}

/// What one step leads to, if anything.
fn go<'a>(view: View<'a>, step: &Step, budget: &mut Budget) -> Result<Option<View<'a>>, Spent> {
    Ok(match (step, view) {
        (Step::Field(key), View::Map(map)) => {
            budget.text(key.len())?;
            Some(map.get(key).map_or(View::Null, View::from))
        }
        (Step::Values, View::Map(map)) => {
            budget.spend(map.len())?;
            Some(View::Values(map.values().collect()))
        }
        (Step::Values, View::Bytes(bytes)) => Some(View::Octets(bytes)),
        (Step::Values, list @ (View::List(_) | View::Values(_) | View::Octets(_))) => Some(list),
        (Step::Index(n), View::List(list)) => element(list, *n).map(View::from),
        (Step::Index(n), View::Values(list)) => element(&list, *n).map(|v| View::from(*v)),
        (Step::Index(n), View::Bytes(list) | View::Octets(list)) => element(list, *n).map(|b| octet(*b)),
        (Step::Slice(from, to), View::List(list)) => Some(View::List(part(list, *from, *to))),
        (Step::Slice(from, to), View::Values(list)) => {
            budget.spend(list.len())?;
            Some(View::Values(part(&list, *from, *to).to_vec()))
        }
        (Step::Slice(from, to), View::Bytes(list)) => Some(View::Bytes(part(list, *from, *to))),
        (Step::Slice(from, to), View::Octets(list)) => Some(View::Octets(part(list, *from, *to))),
        _ => None,
    })
}

/// What a selector finds, if anything.
fn resolve<'a>(selector: &Selector, from: &View<'a>, budget: &mut Budget) -> Result<Option<View<'a>>, Spent> {
    let mut view = from.clone();
    for Segment { step, optional } in selector.segments() {
        budget.step()?;
        view = match go(view, step, budget)? {
            Some(found) => found,
            None if *optional => View::Null,
            None => return Ok(None),
        };
    }
    Ok(Some(view))
}

/// Whether two lists are equal, element by element.
fn each<'a>(
    ours: impl ExactSizeIterator<Item = View<'a>>,
    theirs: &[Ipld],
    budget: &mut Budget,
) -> Result<bool, Spent> {
    if ours.len() != theirs.len() {
        return Ok(false);
    }
    for (a, b) in ours.zip(theirs) {
        if !equal(&a, b, budget)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether two values are equal at every depth; numbers by value.
fn equal(ours: &View<'_>, theirs: &Ipld, budget: &mut Budget) -> Result<bool, Spent> {
    budget.step()?;
    Ok(match (ours, theirs) {
        (View::Null, Ipld::Null) => true,
        (View::Bool(a), Ipld::Bool(b)) => a == b,
        (View::Number(a), Ipld::Integer(b)) => a.compare(Number::Int(*b)) == Some(Ordering::Equal),
        (View::Number(a), Ipld::Float(b)) => a.compare(Number::Float(*b)) == Some(Ordering::Equal),
        (View::Text(a), Ipld::String(b)) => {
            budget.text(a.len().min(b.len()))?;
            a == b
        }
        (View::Bytes(a), Ipld::Bytes(b)) => {
            budget.text(a.len().min(b.len()))?;
            a == b
        }
        (View::Link(a), Ipld::Link(b)) => *a == b,
        (View::List(a), Ipld::List(b)) => each(a.iter().map(View::from), b, budget)?,
        (View::Values(a), Ipld::List(b)) => each(a.iter().map(|v| View::from(*v)), b, budget)?,
        (View::Octets(a), Ipld::List(b)) => each(a.iter().map(|v| octet(*v)), b, budget)?,
        (View::Map(a), Ipld::Map(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for ((key, ours), (other, theirs)) in a.iter().zip(b) {
                budget.text(key.len().min(other.len()))?;
                if key != other || !equal(&View::from(ours), theirs, budget)? {
                    return Ok(false);
                }
            }
            true
        }
        _ => false,
    })
}

/// Whether what was found compares so with a number; what is no number does not.
fn ordered(
    selector: &Selector,
    view: &View<'_>,
    number: &Ipld,
    so: impl Fn(Ordering) -> bool,
    budget: &mut Budget,
) -> Result<bool, Spent> {
    let number = match number {
        Ipld::Integer(n) => Number::Int(*n),
        Ipld::Float(n) => Number::Float(*n),
        _ => return Ok(false),
    };
    Ok(match resolve(selector, view, budget)? {
        Some(View::Number(found)) => found.compare(number).is_some_and(so),
        _ => false,
    })
}

fn like(found: Option<View<'_>>, pattern: &Pattern, budget: &mut Budget) -> Result<bool, Spent> {
    let Some(View::Text(text)) = found else { return Ok(false) };
    budget.text(text.len() + pattern.as_str().len())?;
    Ok(pattern.matches(text))
}

/// Looks at what a selector found until one holds (`wanted`) or does not (`!wanted`); what is no collection is false.
fn quantified(
    found: Option<View<'_>>,
    statement: &Statement,
    wanted: bool,
    budget: &mut Budget,
) -> Result<bool, Spent> {
    fn search<'a>(
        mut views: impl Iterator<Item = View<'a>>,
        statement: &Statement,
        wanted: bool,
        budget: &mut Budget,
    ) -> Result<bool, Spent> {
        views
            .find_map(|view| match holds(statement, &view, budget) {
                Ok(held) => (held == wanted).then_some(Ok(wanted)),
                Err(spent) => Some(Err(spent)),
            })
            .unwrap_or(Ok(!wanted))
    }
    match found {
        Some(View::List(list)) => search(list.iter().map(View::from), statement, wanted, budget),
        Some(View::Values(list)) => search(list.into_iter().map(View::from), statement, wanted, budget),
        Some(View::Map(map)) => search(map.values().map(View::from), statement, wanted, budget),
        Some(View::Octets(list)) => search(list.iter().map(|b| octet(*b)), statement, wanted, budget),
        _ => Ok(false),
    }
}

fn holds(statement: &Statement, view: &View<'_>, budget: &mut Budget) -> Result<bool, Spent> {
    budget.step()?;
    match statement {
        Statement::Eq(selector, value) => match resolve(selector, view, budget)? {
            Some(found) => equal(&found, value, budget),
            None => Ok(false),
        },
        Statement::Ne(selector, value) => match resolve(selector, view, budget)? {
            Some(found) => Ok(!equal(&found, value, budget)?),
            None => Ok(false),
        },
        Statement::Lt(selector, n) => ordered(selector, view, n, Ordering::is_lt, budget),
        Statement::Le(selector, n) => ordered(selector, view, n, Ordering::is_le, budget),
        Statement::Gt(selector, n) => ordered(selector, view, n, Ordering::is_gt, budget),
        Statement::Ge(selector, n) => ordered(selector, view, n, Ordering::is_ge, budget),
        Statement::Like(selector, pattern) => like(resolve(selector, view, budget)?, pattern, budget),
        Statement::And(inner) => {
            for statement in inner {
                if !holds(statement, view, budget)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Statement::Or(inner) => {
            for statement in inner {
                if holds(statement, view, budget)? {
                    return Ok(true);
                }
            }
            Ok(inner.is_empty())
        }
        Statement::Not(inner) => Ok(!holds(inner, view, budget)?),
        Statement::All(selector, inner) => quantified(resolve(selector, view, budget)?, inner, false, budget),
        Statement::Any(selector, inner) => quantified(resolve(selector, view, budget)?, inner, true, budget),
    }
}
