//! What a delegation of `/actum/run` says, clause by clause: for people to read, to make delegations from, and to find
//! the clause in which one says more than the one above it.
//!
//! None of this decides what runs: policies do, as UCAN has it, each delegation of a chain by itself. [`Terms`] are the
//! statements of a policy that have a form of [their own](self#forms); every other statement is kept as it is.
//!
//! # Forms
//!
//! | clause | statement |
//! |---|---|
//! | a component | `["==", ".component", id]` |
//! | a capability by name | `["and", [["==", ".author", did], ["==", ".name", name]]]`, with a version a third `["==", ".version", version]` |
//! | an interface | `["like", ".function", "actum:csv/query@0.1.0#*"]` |
//! | a function | `["==", ".function", "actum:csv/query@0.1.0#run"]` |
//! | a condition on arguments | any statement all of whose selectors begin with `.input` |
//! | a ceiling | `["<=", ".limits.fuel", 50000000]`, and so for every limit |
//! | permissions at most | `["all", ".permissions", permission]` |
//! | no permissions | `["==", ".permissions", []]` |
//! | in all | `["<=", ".spent.actions", 100]`, `["<=", ".spent.fuel", 1000000000]` |
//! | in 60 s | `["<=", ".minute.actions", 10]`, `["<=", ".minute.fuel", 100000000]` |
//!
//! Several of a kind, of capabilities, functions or permissions, stand in one `["or", […]]`, in the order of their types.
//! None of them is `["==", ".name", ""]` and `["==", ".function", ""]`, which nothing satisfies. A permission is:
//!
//! | permission | statement |
//! |---|---|
//! | `http` | `["and", [["==", ".http.origin", origin], ["all", ".http.methods", ["or", [["==", ".", "GET"], …]]], ["<=", ".http.body_bytes", bytes], ["<=", ".http.timeout_ms", ms]]]` |
//! | `keyvalue` | `["==", ".keyvalue.bucket", bucket]`; to read, and of keys that begin so, `["and", [that, ["==", ".keyvalue.write", false], ["like", ".keyvalue.keys", "inbox/*"]]]`; what ends in a backslash can only be `["==", …]` |
//! | `config` | `["and", [["==", ".config.key", key], ["==", ".config.value", value]]]` |
//! | `files` | `["==", ".files.tree", id]` |
//! | `delegate` | `["and", [["==", ".delegate.target", target], ["==", ".delegate.component", id], ["<=", ".delegate.depth", depth], ["<=", ".delegate.fuel", fuel]]]` |
//! | `network` | `["==", ".", "network"]` |

mod chain;
mod form;
mod text;
mod words;

pub use chain::{Widened, Widening, check_chain, narrows};
pub use form::{clause, is_exhaustion, sees_input};
pub use text::{ByteSize, Count, InputRule, May};
pub use words::{describe, describe_chain};

use crate::{
    Action, CapabilityName, Claim, ComponentId, Did, FunctionName, Granted, Limits, name::NameError,
    run::Use, ucan::policy::Statement,
};
use semver::Version;
use std::{collections::BTreeSet, fmt, str::FromStr};

/// What may be run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capability {
    /// These very bytes, under whatever name.
    Component(ComponentId),
    /// Whatever this author releases under this name.
    Named {
        /// The author.
        author: Did,
        /// The capability's name.
        name: CapabilityName,
        /// This version alone. `None`: every version, those to come too.
        version: Option<Version>,
    },
    /// The functions of this interface, of whatever component, by whatever author.
    Interface(Interface),
}

impl Capability {
    fn allows(&self, action: &Action, claim: &Claim) -> bool {
        match self {
            Self::Component(component) => action.component == *component,
            Self::Named { author, name, version } => {
                claim.author == *author
                    && claim.name == *name
                    && version.as_ref().is_none_or(|v| *v == claim.version)
            }
            Self::Interface(interface) => action.function.interface() == Some(interface.as_str()),
        }
    }

    /// What both allow; `None` where no capability says that: the two are of different kinds.
    fn meet(&self, other: &Self) -> Option<Option<Self>> {
        match (self, other) {
            (
                Self::Named { author, name, version },
                Self::Named { author: other_author, name: other_name, version: other_version },
            ) => {
                let apart = (author, name) != (other_author, other_name)
                    || matches!((version, other_version), (Some(a), Some(b)) if a != b);
                let version = version.clone().or_else(|| other_version.clone());
                Some((!apart).then(|| Self::Named { author: *author, name: name.clone(), version }))
            }
            (Self::Component(_), Self::Component(_)) | (Self::Interface(_), Self::Interface(_)) => {
                Some((self == other).then(|| self.clone()))
            }
            _ => None,
        }
    }
}

/// An exported interface with its version, e.g. `actum:csv/query@0.1.0`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interface(String);

impl Interface {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Interface {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        // What no function may be of is no interface; it is short enough to be followed by some name.
        FunctionName::new(Some(text), "f")?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Ceilings of an action's [`Limits`], each stated or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ceilings {
    /// Of [`Limits::fuel`].
    pub fuel: Option<u64>,
    /// Of [`Limits::memory_bytes`].
    pub memory_bytes: Option<u64>,
    /// Of [`Limits::table_elements`].
    pub table_elements: Option<u64>,
    /// Of [`Limits::instances`].
    pub instances: Option<u64>,
    /// Of [`Limits::output_bytes`].
    pub output_bytes: Option<u64>,
    /// Of [`Limits::stdio_bytes`].
    pub stdio_bytes: Option<u64>,
    /// Of [`Limits::journal_bytes`].
    pub journal_bytes: Option<u64>,
}

impl Ceilings {
    fn all(&self) -> [(&'static str, Option<u64>); 7] {
        let Self { fuel, memory_bytes, table_elements, instances, output_bytes, stdio_bytes, journal_bytes } =
            self;
        [
            ("fuel", *fuel),
            ("memory_bytes", *memory_bytes),
            ("table_elements", *table_elements),
            ("instances", *instances),
            ("output_bytes", *output_bytes),
            ("stdio_bytes", *stdio_bytes),
            ("journal_bytes", *journal_bytes),
        ]
    }

    fn named(&mut self, name: &str) -> Option<&mut Option<u64>> {
        match name {
            "fuel" => Some(&mut self.fuel),
            "memory_bytes" => Some(&mut self.memory_bytes),
            "table_elements" => Some(&mut self.table_elements),
            "instances" => Some(&mut self.instances),
            "output_bytes" => Some(&mut self.output_bytes),
            "stdio_bytes" => Some(&mut self.stdio_bytes),
            "journal_bytes" => Some(&mut self.journal_bytes),
            _ => None,
        }
    }

    fn allow(&self, limits: &Limits) -> bool {
        let none = u64::MAX;
        let ceiling = Limits {
            fuel: self.fuel.unwrap_or(none),
            memory_bytes: self.memory_bytes.unwrap_or(none),
            table_elements: self.table_elements.unwrap_or(none),
            instances: self.instances.unwrap_or(none),
            output_bytes: self.output_bytes.unwrap_or(none),
            stdio_bytes: self.stdio_bytes.unwrap_or(none),
            journal_bytes: self.journal_bytes.unwrap_or(none),
        };
        limits.exceeds(&ceiling).is_none()
    }
}

/// Ceilings of what one delegation is used for, each stated or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Actions.
    pub actions: Option<u64>,
    /// Fuel units: the ceilings of those actions, with all that they may burn through `delegate`.
    pub fuel: Option<u64>,
}

impl Quota {
    fn all(&self) -> [(&'static str, Option<u64>); 2] {
        [("actions", self.actions), ("fuel", self.fuel)]
    }

    fn named(&mut self, name: &str) -> Option<&mut Option<u64>> {
        match name {
            "actions" => Some(&mut self.actions),
            "fuel" => Some(&mut self.fuel),
            _ => None,
        }
    }

    fn allows(&self, used: Use) -> bool {
        self.actions.is_none_or(|most| used.actions <= most) && self.fuel.is_none_or(|most| used.fuel <= most)
    }
}

/// What a policy for `/actum/run` says. A clause that is not stated allows everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Terms {
    /// What may be run: one of these. `None`: anything.
    pub capability: Option<BTreeSet<Capability>>,
    /// Which of its functions. `None`: any.
    pub functions: Option<BTreeSet<FunctionName>>,
    /// Conditions on the function's arguments, all of which must hold.
    pub input: Vec<Statement>,
    /// The most an action may use.
    pub limits: Ceilings,
    /// The most an action may ask for of the real world. `None`: anything; empty: nothing.
    pub permissions: Option<BTreeSet<Granted>>,
    /// The most in all.
    pub spent: Quota,
    /// The most within 60 seconds.
    pub minute: Quota,
    /// Statements without a form of their own, all of which must hold.
    pub other: Vec<Statement>,
}

impl Terms {
    /// Whether the clauses allow an action, by themselves: what policies decide, said a second time without them.
    ///
    /// `input` and `other` are statements, which only a policy judges. `spent` and `minute` include this action.
    pub fn allows(&self, action: &Action, claim: &Claim, spent: Use, minute: Use) -> bool {
        self.capability.as_ref().is_none_or(|any| any.iter().any(|c| c.allows(action, claim)))
            && self.functions.as_ref().is_none_or(|any| any.contains(&action.function))
            && self.limits.allow(&action.limits)
            && self.permissions.as_ref().is_none_or(|most| {
                action.permissions.iter().all(|asked| most.iter().any(|one| asked.within(one)))
            })
            && self.spent.allows(spent)
            && self.minute.allows(minute)
    }

    /// Lowers each limit but the `fixed` ones, named by their fields, to what these terms give one action; fuel also to what
    /// they give in all and within 60 seconds. For a requester who did not choose: asking for more would be refused.
    pub fn lower(&self, limits: &mut Limits, fixed: &BTreeSet<&str>) {
        let totals = [self.spent.fuel, self.minute.fuel].map(|fuel| ("fuel", fuel));
        for (name, most) in self.limits.all().into_iter().chain(totals) {
            let limit = match name {
                "fuel" => &mut limits.fuel,
                "memory_bytes" => &mut limits.memory_bytes,
                "table_elements" => &mut limits.table_elements,
                "instances" => &mut limits.instances,
                "output_bytes" => &mut limits.output_bytes,
                "stdio_bytes" => &mut limits.stdio_bytes,
                "journal_bytes" => &mut limits.journal_bytes,
                _ => continue,
            };
            if let Some(most) = most.filter(|_| !fixed.contains(name)) {
                *limit = most.min(*limit);
            }
        }
    }

    /// What all of these terms allow, for showing: the terms of a chain, root first.
    ///
    /// Totals are the least of those stated, though each delegation counts its own use.
    pub fn effective(chain: &[Self]) -> Self {
        let mut all = Self::default();
        for terms in chain {
            for clause in terms.clauses() {
                all.add(clause);
            }
        }
        all.settled()
    }
}
