//! The table as it stands in a file: what is left out has its default, what is unknown or out of bounds is an error.

use super::{Level, MAX_LEVEL_NAME_BYTES, MAX_LEVELS, RiskPolicy};
use serde::Deserialize;
use std::{collections::BTreeMap, num::NonZeroU32};

/// `[risk]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    pure: Option<String>,
    reads: Option<String>,
    writes: Option<String>,
    spends: Option<String>,
    large_bytes: Option<u64>,
    large: Option<String>,
    granted: Option<String>,
    #[serde(default)]
    level: BTreeMap<String, Line>,
}

/// `[risk.level.<name>]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    canaries: Option<u32>,
    replicas: Option<u32>,
    replicas_reads: Option<u32>,
    replay_one_in: Option<NonZeroU32>,
    before: Option<bool>,
    probation: Option<u32>,
    probation_here: Option<u32>,
    fallbacks: Option<u32>,
    patience_seconds: Option<u32>,
    explore_one_in: Option<NonZeroU32>,
    newcomers: Option<bool>,
    attestation: Option<bool>,
}

impl Line {
    /// What stands here, and of `base` what does not.
    fn over(self, base: Level) -> Level {
        Level {
            canaries: self.canaries.unwrap_or(base.canaries),
            replicas: self.replicas.unwrap_or(base.replicas),
            replicas_reads: self.replicas_reads.unwrap_or(base.replicas_reads),
            replay_one_in: self.replay_one_in.unwrap_or(base.replay_one_in),
            before: self.before.unwrap_or(base.before),
            probation: self.probation.unwrap_or(base.probation),
            probation_here: self.probation_here.unwrap_or(base.probation_here),
            fallbacks: self.fallbacks.unwrap_or(base.fallbacks),
            patience_seconds: self.patience_seconds.unwrap_or(base.patience_seconds),
            explore_one_in: self.explore_one_in.unwrap_or(base.explore_one_in),
            newcomers: self.newcomers.unwrap_or(base.newcomers),
            attestation: self.attestation.unwrap_or(base.attestation),
        }
    }
}

fn name(name: &str) -> Result<(), String> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if (1..=MAX_LEVEL_NAME_BYTES).contains(&name.len()) && name.bytes().all(fits) {
        return Ok(());
    }
    Err(format!(
        "a risk level is called {name:?}; 1 to {MAX_LEVEL_NAME_BYTES} lower-case letters, digits and hyphens are allowed"
    ))
}

impl TryFrom<Table> for RiskPolicy {
    type Error = String;

    fn try_from(table: Table) -> Result<Self, String> {
        let mut policy = Self::default();
        for (level, line) in table.level {
            name(&level)?;
            // A level of a person's own starts from the middle one.
            let base = policy.level.get(&level).copied().unwrap_or_default();
            let line = line.over(base);
            line.check().map_err(|error| format!("risk level {level}: {error}"))?;
            policy.level.insert(level, line);
        }
        if policy.level.len() > MAX_LEVELS {
            return Err(format!("{} risk levels where at most {MAX_LEVELS} are allowed", policy.level.len()));
        }
        let lines = [
            ("pure", &mut policy.pure, table.pure),
            ("reads", &mut policy.reads, table.reads),
            ("writes", &mut policy.writes, table.writes),
            ("spends", &mut policy.spends, table.spends),
            ("large", &mut policy.large, table.large),
            ("granted", &mut policy.granted, table.granted),
        ];
        for (key, line, level) in lines {
            let Some(level) = level else { continue };
            if !policy.level.contains_key(&level) {
                let known: Vec<_> = policy.level.keys().map(String::as_str).collect();
                return Err(format!(
                    "{key} is {level:?}, and no risk level is called that; there are {}",
                    known.join(", ")
                ));
            }
            *line = level;
        }
        policy.large_bytes = table.large_bytes.unwrap_or(policy.large_bytes);
        Ok(policy)
    }
}
