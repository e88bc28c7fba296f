//! Where a delegation says more than the ones above it.

use super::{
    Capability, Terms,
    words::{amount, granted, utc},
};
use crate::{Delegation, Granted, RunArgs, ucan::Command};
use std::{collections::BTreeSet, fmt};

/// A clause in which one delegation says more than the one above it gives.
///
/// It gives nothing: whatever it says, both must allow. It is refused because whoever wrote it meant something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Widening {
    /// Which, e.g. `limits.fuel`.
    pub clause: String,
    /// What the lower one says, in words.
    pub child: String,
    /// What the one above it gives, in words.
    pub parent: String,
}

impl Widening {
    fn new(clause: impl Into<String>, child: impl Into<String>, parent: impl Into<String>) -> Self {
        Self { clause: clause.into(), child: child.into(), parent: parent.into() }
    }
}

impl fmt::Display for Widening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clause, child, parent } = self;
        write!(f, "it widens {clause}: {child} where the grant above gives {parent}")
    }
}

impl std::error::Error for Widening {}

/// A delegation that says more than those above it in its chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("delegation {position} of the chain: {widening}")]
pub struct Widened {
    /// Its place in the chain: the root is 1.
    pub position: usize,
    /// In what.
    pub widening: Widening,
}

impl Terms {
    /// Refuses a clause that is stated and allows more than the same clause above. What is not stated is inherited, and
    /// statements about `input` and those of no form of their own only ever narrow.
    ///
    /// Capabilities of different kinds, say a component under a name, are not compared: both must be true.
    pub fn widens(&self, parent: &Self) -> Result<(), Widening> {
        let text = ToString::to_string;
        within("capability", self.capability.as_ref(), parent.capability.as_ref(), text, |child, parent| {
            child.meet(parent).is_none_or(|met| met.as_ref() == Some(child))
        })?;
        let text = ToString::to_string;
        within("functions", self.functions.as_ref(), parent.functions.as_ref(), text, |a, b| a == b)?;
        most("limits", &self.limits.all(), &parent.limits.all())?;
        let (child, above) = (self.permissions.as_ref(), parent.permissions.as_ref());
        within("permissions", child, above, granted, Granted::within)?;
        most("spent", &self.spent.all(), &parent.spent.all())?;
        most("minute", &self.minute.all(), &parent.minute.all())
    }
}

/// Refuses one of the child's that is within none of the parent's.
fn within<T>(
    clause: &str,
    child: Option<&BTreeSet<T>>,
    parent: Option<&BTreeSet<T>>,
    words: impl Fn(&T) -> String,
    within: impl Fn(&T, &T) -> bool,
) -> Result<(), Widening> {
    let (Some(child), Some(parent)) = (child, parent) else { return Ok(()) };
    match child.iter().find(|one| !parent.iter().any(|other| within(one, other))) {
        Some(wide) => {
            let all: Vec<_> = parent.iter().map(&words).collect();
            let all = if all.is_empty() { "none".to_owned() } else { all.join(", ") };
            Err(Widening::new(clause, words(wide), all))
        }
        None => Ok(()),
    }
}

/// Refuses a number of the child's that is over the parent's.
fn most<const N: usize>(
    clause: &str,
    child: &[(&'static str, Option<u64>); N],
    parent: &[(&'static str, Option<u64>); N],
) -> Result<(), Widening> {
    for ((name, child), (_, parent)) in child.iter().zip(parent) {
        if let (Some(child), Some(parent)) = (child, parent)
            && child > parent
        {
            return Err(Widening::new(
                format!("{clause}.{name}"),
                amount(name, *child),
                amount(name, *parent),
            ));
        }
    }
    Ok(())
}

/// What of a chain the next delegation is compared with.
struct Above {
    sub: Option<crate::Did>,
    cmd: Option<Command>,
    from: Option<u64>,
    until: Option<u64>,
    terms: Terms,
}

impl Above {
    fn nothing() -> Self {
        Self { sub: None, cmd: None, from: None, until: None, terms: Terms::default() }
    }

    /// A powerline of `/` hands on whatever there is: of the command it says nothing.
    fn command(delegation: &Delegation) -> Option<&Command> {
        let hands_on = delegation.sub.is_none() && delegation.cmd == Command::top();
        (!hands_on).then_some(&delegation.cmd)
    }

    fn check(&self, child: &Delegation, terms: &Terms) -> Result<(), Widening> {
        if let (Some(child), Some(parent)) = (child.sub, self.sub)
            && child != parent
        {
            return Err(Widening::new("sub", child.to_string(), parent.to_string()));
        }
        if let (Some(child), Some(parent)) = (Self::command(child), &self.cmd)
            && !parent.covers(child)
        {
            return Err(Widening::new("cmd", child.to_string(), parent.to_string()));
        }
        if let (Some(child), Some(parent)) = (child.nbf, self.from)
            && child < parent
        {
            return Err(Widening::new("from", utc(child), utc(parent)));
        }
        if let (Some(child), Some(parent)) = (child.exp, self.until)
            && child > parent
        {
            return Err(Widening::new("until", utc(child), utc(parent)));
        }
        terms.widens(&self.terms)
    }

    fn and(self, delegation: &Delegation, terms: Terms) -> Self {
        Self {
            sub: self.sub.or(delegation.sub),
            cmd: Self::command(delegation).cloned().or(self.cmd),
            from: self.from.max(delegation.nbf),
            until: match (self.until, delegation.exp) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            },
            terms: Terms::effective(&[self.terms, terms]),
        }
    }
}

/// Terms are the reading of arguments of [`RunArgs::COMMAND`]; the policies of other commands speak of others.
fn terms(delegation: &Delegation) -> Terms {
    if delegation.cmd.covers(&RunArgs::command()) { Terms::read(&delegation.pol) } else { Terms::default() }
}

/// Refuses a delegation that says more than the one above it: in its subject, its command, its times, or a clause of its
/// terms. What it does not say, it inherits: no `nbf`, no `exp`, no `sub`, and with no `sub` the command `/`.
pub fn narrows(child: &Delegation, parent: &Delegation) -> Result<(), Widening> {
    Above::nothing().and(parent, terms(parent)).check(child, &terms(child))
}

/// Refuses a chain, root first, in which a delegation says more than those above it together.
pub fn check_chain(chain: &[&Delegation]) -> Result<(), Widened> {
    let mut above = Above::nothing();
    for (position, delegation) in (1..).zip(chain) {
        let terms = terms(delegation);
        above.check(delegation, &terms).map_err(|widening| Widened { position, widening })?;
        above = above.and(delegation, terms);
    }
    Ok(())
}

/// For errors; people are told the author's name elsewhere.
impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Component(id) => id.fmt(f),
            Self::Named { author, name, version } => {
                write!(f, "{author}/{name}")?;
                version.as_ref().map_or(Ok(()), |v| write!(f, "@{v}"))
            }
            Self::Interface(interface) => interface.fmt(f),
        }
    }
}
