//! The scenarios that are kept with the project.

use super::{Scenario, ScenarioError, Whose};

/// A scenario that is kept with the project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckedIn {
    /// Its name.
    pub name: &'static str,
    /// Its file, as it is.
    pub text: &'static str,
    /// Whether the paper has the experiment.
    pub of: Whose,
}

macro_rules! checked_in {
    ($($of:ident $name:literal,)*) => {
        &[$(CheckedIn {
            name: $name,
            text: include_str!(concat!("../../scenarios/", $name, ".toml")),
            of: Whose::$of,
        },)*]
    };
}

/// All of them: the paper's first, in the order they are reported.
pub const CHECKED_IN: &[CheckedIn] = checked_in![
    Paper "alpha",
    Paper "peers",
    Paper "refresh",
    Paper "ttl",
    Ours "turns",
    Ours "telltale",
    Ours "ring",
    Ours "whitewash",
    Ours "proofs",
    Ours "sampling",
    Ours "captured",
    Ours "churn",
    Ours "free-riders",
    Ours "world",
    Ours "scale",
];

impl CheckedIn {
    /// The scenario of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        CHECKED_IN.iter().find(|one| one.name == name)
    }

    /// The scenario itself.
    ///
    /// # Errors
    /// Never, as a test reads it.
    pub fn scenario(&self) -> Result<Scenario, ScenarioError> {
        Scenario::parse(self.text, &format!("{}.toml", self.name))
    }
}
