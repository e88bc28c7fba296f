//! Risk policies by name, as scenarios choose among them: each is a node's `[risk]` table, read by the node's own code.

use actum_trust::RiskPolicy;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::{Table, Value};

/// A risk policy, and the table it was read from.
#[derive(Clone, Debug)]
pub struct Policy {
    table: Table,
    policy: RiskPolicy,
}

impl Policy {
    /// The policy that a `[risk]` table says.
    ///
    /// # Errors
    /// Whatever a node would say to it.
    pub fn of(table: Table) -> Result<Self, toml::de::Error> {
        let policy = RiskPolicy::deserialize(Value::Table(table.clone()))?;
        Ok(Self { table, policy })
    }

    /// The policy itself.
    pub fn risk(&self) -> &RiskPolicy {
        &self.policy
    }

    /// The policy with these keys changed in every level it has.
    ///
    /// # Errors
    /// Whatever a node would say to the changed table: a key that no level has, or a number out of bounds.
    pub fn changed(&self, level: &Table) -> Result<RiskPolicy, toml::de::Error> {
        let mut levels = match self.table.get("level") {
            Some(Value::Table(levels)) => levels.clone(),
            _ => Table::new(),
        };
        for name in self.policy.level.keys() {
            let line = levels.entry(name.as_str()).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(line) = line {
                line.extend(level.clone());
            }
        }
        let mut table = self.table.clone();
        table.insert("level".to_owned(), Value::Table(levels));
        RiskPolicy::deserialize(Value::Table(table))
    }
}

/// Policies by name.
#[derive(Clone, Debug, Default)]
pub struct Policies(BTreeMap<String, Policy>);

/// Why there are no such policies.
#[derive(Debug, thiserror::Error)]
#[error("policy {name}: {error}")]
pub struct PolicyError {
    /// Which.
    pub name: String,
    /// What a node would say to it.
    pub error: toml::de::Error,
}

impl Policies {
    /// Those that are kept with the project (`policies.toml`).
    ///
    /// # Errors
    /// Never, as a test reads it.
    pub fn checked_in() -> Result<Self, PolicyError> {
        let tables = toml::from_str(include_str!("../policies.toml"));
        let tables: BTreeMap<String, Table> =
            tables.map_err(|error| PolicyError { name: "policies.toml".to_owned(), error })?;
        Self::default().with(tables)
    }

    /// These and those, the new ones in the place of any of the same name.
    ///
    /// # Errors
    /// [`PolicyError`] for the first that a node would not take.
    pub fn with(mut self, tables: impl IntoIterator<Item = (String, Table)>) -> Result<Self, PolicyError> {
        for (name, table) in tables {
            let policy = Policy::of(table).map_err(|error| PolicyError { name: name.clone(), error })?;
            self.0.insert(name, policy);
        }
        Ok(self)
    }

    /// The policy of this name.
    pub fn get(&self, name: &str) -> Option<&Policy> {
        self.0.get(name)
    }

    /// All names, in order.
    pub fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use super::*;
    use actum_trust::{Asker, Class, Effect, Level};

    fn level(policy: &RiskPolicy, effect: Effect, args_bytes: u64, asker: Asker) -> (String, Level) {
        let (name, level, _) = policy.level_for(&Class { effect, args_bytes, asker }, None).unwrap();
        (name.to_owned(), *level)
    }

    const EFFECTS: [Effect; 4] = [Effect::Pure, Effect::Reads, Effect::Writes, Effect::Spends];

    #[test]
    fn the_node_s_table_is_the_node_s_and_the_others_have_one_level_for_everything() {
        let policies = Policies::checked_in().unwrap();
        for name in policies.names() {
            let policy = policies.get(name).unwrap().risk();
            if name == "node" {
                assert_eq!(policy, &RiskPolicy::default());
                continue;
            }
            for effect in EFFECTS {
                for (bytes, asker) in [(1, Asker::Own), (u64::MAX, Asker::Own), (1, Asker::Granted)] {
                    assert_eq!(level(policy, effect, bytes, asker).0, name, "{effect:?} {bytes} {asker:?}");
                }
            }
        }
        let of = |name| level(policies.get(name).unwrap().risk(), Effect::Pure, 1, Asker::Own).1;
        assert_eq!([of("low"), of("medium"), of("high")], Level::defaults().map(|(_, level)| level));
        assert_eq!((of("canary").canaries, of("canary").replay_one_in.get()), (1, u32::MAX));
        assert_eq!((of("replay").replay_one_in.get(), of("replay").before), (1, true));
    }

    #[test]
    fn a_change_is_made_in_every_level_and_in_nothing_else() {
        let policies = Policies::checked_in().unwrap();
        for name in policies.names() {
            let policy = policies.get(name).unwrap();
            let changed = policy.changed(&toml::from_str("replay_one_in = 7").unwrap()).unwrap();
            let mut by_hand = policy.risk().clone();
            for level in by_hand.level.values_mut() {
                level.replay_one_in = 7.try_into().unwrap();
            }
            assert_eq!(changed, by_hand, "{name}");
        }
        let node = policies.get("node").unwrap();
        let wrong = node.changed(&toml::from_str("replay_every = 7").unwrap()).unwrap_err();
        assert!(wrong.to_string().contains("replay_every"), "{wrong}");
        let wrong = node.changed(&toml::from_str("canaries = 9").unwrap()).unwrap_err();
        assert!(wrong.to_string().contains("0 to 8 are allowed"), "{wrong}");
    }

    #[test]
    fn what_a_node_refuses_is_refused_here() {
        let table: Table = toml::from_str("pure = \"lax\"").unwrap();
        let error = Policies::default().with([("mine".to_owned(), table)]).unwrap_err();
        assert!(
            error.to_string().starts_with("policy mine: ") && error.to_string().contains("lax"),
            "{error}"
        );
    }
}
