//! The one policy: which checks an action gets, by what it may touch, how large it is and whose authority is at stake.
//!
//! [`RiskPolicy`] is the table as a person writes it, [`RiskPolicy::level_for`] finds an action's line in it, and [`plan`]
//! says what that line means for one provider with the record it has.

use actum_model::Granted;
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

mod level;
mod plan;
mod text;

pub use level::{
    Level, LevelError, MAX_CANARIES, MAX_FALLBACKS, MAX_PATIENCE_SECONDS, MAX_PROBATION, MAX_REPLICAS,
};
pub use plan::{Plan, Replay, Runs, plan};

/// The most levels a table has, the three that always exist included.
pub const MAX_LEVELS: usize = 16;
/// The most bytes of a level's name.
pub const MAX_LEVEL_NAME_BYTES: usize = 32;

/// What an action may do beyond giving an answer, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Nothing: the answer follows from the arguments, and replay proves all of it.
    Pure,
    /// It is told something of the world, which no replay can prove.
    Reads,
    /// It changes something, which no replay can take back.
    Writes,
    /// It has others act, at somebody's cost.
    Spends,
}

impl Effect {
    /// What an action that is granted this may do: the most of what each gives.
    pub fn of(permissions: &BTreeSet<Granted>) -> Self {
        permissions.iter().map(Self::of_one).max().unwrap_or(Self::Pure)
    }

    fn of_one(granted: &Granted) -> Self {
        const READING: [&str; 3] = ["GET", "HEAD", "OPTIONS"];
        match granted {
            // Nothing stands behind the name.
            Granted::Network => Self::Pure,
            Granted::Http(http) if http.methods.iter().all(|m| READING.contains(&m.as_str())) => Self::Reads,
            Granted::Http(_) => Self::Writes,
            Granted::Keyvalue(keyvalue) if keyvalue.write => Self::Writes,
            Granted::Keyvalue(_) | Granted::Config(_) | Granted::Files(_) => Self::Reads,
            Granted::Delegate(_) => Self::Spends,
        }
    }

    /// The stable name, as in the table.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Pure => "pure",
            Self::Reads => "reads",
            Self::Writes => "writes",
            Self::Spends => "spends",
        }
    }
}

/// Whose authority an action runs by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asker {
    /// The requester's own, or nobody's in particular.
    Own,
    /// Somebody's who granted it to the requester and answers for what is done with it.
    Granted,
}

/// What of an action decides its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// What it may do.
    pub effect: Effect,
    /// How many bytes its arguments have, encoded.
    pub args_bytes: u64,
    /// Whose authority is at stake.
    pub asker: Asker,
}

/// The table: what level an action gets, and what each level means. `[risk]` in a home's `config.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "text::Table")]
pub struct RiskPolicy {
    /// The level of actions that touch nothing. Default: `low`.
    pub pure: String,
    /// The level of actions that are told something of the world. Default: `medium`.
    pub reads: String,
    /// The level of actions that change something. Default: `high`.
    pub writes: String,
    /// The level of actions that have others act. Default: `high`.
    pub spends: String,
    /// From more bytes of arguments than this on, an action is large. Default: 1 MiB.
    pub large_bytes: u64,
    /// The level of large actions, if it is stricter. Default: `medium`.
    pub large: String,
    /// The level of actions under another's grant, if it is stricter. Default: `medium`.
    pub granted: String,
    /// What each level means, by name: `low`, `medium`, `high`, and whatever else a person names.
    pub level: BTreeMap<String, Level>,
}

impl Default for RiskPolicy {
    fn default() -> Self {
        Self {
            pure: "low".to_owned(),
            reads: "medium".to_owned(),
            writes: "high".to_owned(),
            spends: "high".to_owned(),
            large_bytes: 1 << 20,
            large: "medium".to_owned(),
            granted: "medium".to_owned(),
            level: Level::defaults().map(|(name, level)| (name.to_owned(), level)).into(),
        }
    }
}

/// Why an action has the level it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Because {
    /// By what it may do.
    Effect(Effect),
    /// By the size of its arguments.
    Large {
        /// Their bytes.
        args_bytes: u64,
        /// From more than which on it is large.
        large_bytes: u64,
    },
    /// Because it runs under another's grant.
    Granted,
    /// Because it was asked for.
    Asked {
        /// The level it would have had.
        instead_of: String,
        /// Whether that one is stricter than what was asked for.
        lower: bool,
    },
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Effect(Effect::Pure) => f.write_str("the action touches nothing"),
            Self::Effect(Effect::Reads) => {
                f.write_str("the action is told something of the world, which replay cannot prove")
            }
            Self::Effect(Effect::Writes) => f.write_str("the action may change something"),
            Self::Effect(Effect::Spends) => f.write_str("the action may have others act"),
            Self::Large { args_bytes, large_bytes } => {
                write!(f, "its arguments have {args_bytes} bytes, more than {large_bytes}")
            }
            Self::Granted => f.write_str("it runs under another's grant"),
            Self::Asked { instead_of, lower: true } => {
                write!(f, "it was asked for, though the table has the stricter {instead_of}")
            }
            Self::Asked { instead_of, lower: false } => {
                write!(f, "it was asked for; the table has {instead_of}")
            }
        }
    }
}

/// No level has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no risk level is called {asked:?}; there are {}", known.join(", "))]
pub struct UnknownLevel {
    /// What was asked for.
    pub asked: String,
    /// The levels there are.
    pub known: Vec<String>,
}

impl RiskPolicy {
    /// The level of an action, its name, and why it is that: the strictest that the table has for it, or the one asked
    /// for, be it less strict.
    ///
    /// # Errors
    /// [`UnknownLevel`] when no level has the name asked for, or a name in a table that was made by hand.
    pub fn level_for(
        &self,
        class: &Class,
        asked: Option<&str>,
    ) -> Result<(&str, &Level, Because), UnknownLevel> {
        let effect = match class.effect {
            Effect::Pure => &self.pure,
            Effect::Reads => &self.reads,
            Effect::Writes => &self.writes,
            Effect::Spends => &self.spends,
        };
        let (mut name, mut level) = self.named(effect)?;
        let mut because = Because::Effect(class.effect);
        let (args_bytes, large_bytes) = (class.args_bytes, self.large_bytes);
        let further = [
            (args_bytes > large_bytes, &self.large, Because::Large { args_bytes, large_bytes }),
            (class.asker == Asker::Granted, &self.granted, Because::Granted),
        ];
        for (applies, other, why) in further {
            let (other, stricter) = self.named(other)?;
            if applies && stricter.strictness() > level.strictness() {
                (name, level, because) = (other, stricter, why);
            }
        }
        let Some(asked) = asked else { return Ok((name, level, because)) };
        let (wanted, given) = self.named(asked)?;
        let lower = given.strictness() < level.strictness();
        if wanted == name {
            return Ok((name, level, because));
        }
        Ok((wanted, given, Because::Asked { instead_of: name.to_owned(), lower }))
    }

    /// The names of all levels, the least strict first.
    pub fn names(&self) -> Vec<&str> {
        let mut levels: Vec<_> = self.level.iter().collect();
        levels.sort_by_key(|(_, level)| level.strictness());
        levels.into_iter().map(|(name, _)| name.as_str()).collect()
    }

    fn named(&self, name: &str) -> Result<(&str, &Level), UnknownLevel> {
        let found = self.level.get_key_value(name).map(|(name, level)| (name.as_str(), level));
        found.ok_or_else(|| UnknownLevel {
            asked: name.to_owned(),
            known: self.names().into_iter().map(str::to_owned).collect(),
        })
    }
}
