//! Parameters by key: what keys there are, what they may be, and a network made of them.

use crate::{
    Span,
    params::{Conduct, Params},
    profile::Link,
};
use actum_model::{Descriptor, Lease, release::MAX_COMPONENT_BYTES};
use serde::Deserialize;
use toml::{Table, Value};

/// The keys that stand for descriptors' and leases' lives together: a lease lives as long as a descriptor does, and no
/// longer than a lease may.
const TTL: &str = "ttl_seconds";
/// The table that changes every level of a policy.
const LEVEL: &str = "level";
/// The shortest life of what is announced, in seconds, as a node's announcer has it.
const MIN_LIFE: u64 = 6;
/// The longest that is simulated, in seconds: a week.
const MAX_SECONDS: u64 = 7 * 86_400;

/// What is set, one over the other.
pub(super) struct Settings {
    params: Table,
    level: Table,
}

/// What a default network has, by key.
pub(super) fn defaults() -> Table {
    Table::try_from(Params::default()).unwrap_or_default()
}

/// All keys of a network's parameters.
fn params_keys() -> Table {
    let link = Link { one_way: Span::from_micros(0), sigma: 0.0, loss: 0.0, bytes_per_second: 1 };
    let all = Params { link: Some(link), component_bytes: Some(0), ..Params::default() };
    Table::try_from(all).unwrap_or_default()
}

/// All keys that can be set.
pub(super) fn known() -> Vec<String> {
    let further = [TTL, LEVEL].map(str::to_owned);
    params_keys().into_iter().map(|(key, _)| key).chain(further).collect()
}

/// Whether this can be set. What stands after a dot is judged with the value.
pub(super) fn is_known(key: &str) -> bool {
    match key.split_once('.') {
        Some((table, rest)) => ["hostile", "link", LEVEL].contains(&table) && !rest.is_empty(),
        None => key == TTL || key == LEVEL || params_keys().contains_key(key),
    }
}

/// What a key sets.
pub(super) fn keys_of(key: &str) -> Vec<&str> {
    if key == TTL { vec![TTL, "descriptor_seconds", "lease_seconds"] } else { vec![key] }
}

impl Settings {
    pub(super) fn defaults() -> Self {
        Self { params: defaults(), level: Table::new() }
    }

    /// Sets a key, over whatever it was.
    pub(super) fn put(&mut self, key: &str, value: &Value) -> Result<(), String> {
        match key.split_once('.') {
            Some((LEVEL, key)) => {
                self.level.insert(key.to_owned(), value.clone());
            }
            Some((table, key)) => {
                let Some(Value::Table(inner)) = self.params.get_mut(table) else {
                    return Err(format!("{table} is to be set too, for {table}.{key} is one of its keys"));
                };
                inner.insert(key.to_owned(), value.clone());
            }
            None if key == TTL => {
                let Value::Integer(seconds) = value else {
                    return Err(format!("{TTL} is {value}; whole seconds are allowed"));
                };
                let longest = i64::try_from(Lease::MAX_LIFE).unwrap_or(i64::MAX);
                self.params.insert("descriptor_seconds".to_owned(), Value::Integer(*seconds));
                self.params.insert("lease_seconds".to_owned(), Value::Integer((*seconds).min(longest)));
            }
            None if key == LEVEL => {
                let Value::Table(changes) = value else {
                    return Err(format!("{LEVEL} is {value}; a table of a level's keys is allowed"));
                };
                self.level.extend(changes.clone());
            }
            None => {
                self.params.insert(key.to_owned(), value.clone());
            }
        }
        Ok(())
    }

    /// The network that was set, and what is changed in every level of its policy.
    pub(super) fn done(self) -> Result<(Params, Table), String> {
        let params = Params::deserialize(Value::Table(self.params.clone()));
        let params = params.map_err(|error| error.to_string().trim_end().replace('\n', " "))?;
        // What a tagged table has beyond its kind's keys is not always refused when it is read.
        let read = Table::try_from(&params).map_err(|error| error.to_string())?;
        if let Some(key) = beyond(&self.params, &read) {
            return Err(format!("{key} is no parameter here"));
        }
        check(&params)?;
        Ok((params, self.level))
    }
}

/// The first key of one table that another does not have.
fn beyond(given: &Table, read: &Table) -> Option<String> {
    given.iter().find_map(|(key, value)| match (value, read.get(key)) {
        (_, None) => Some(key.clone()),
        (Value::Table(given), Some(Value::Table(read))) => {
            beyond(given, read).map(|inner| format!("{key}.{inner}"))
        }
        _ => None,
    })
}

/// Whether every number is within its bounds, and they fit together.
fn check(params: &Params) -> Result<(), String> {
    let count = |n: u32| u64::from(n);
    let steps = u64::try_from(params.steps.len()).unwrap_or(u64::MAX);
    let hostile = match params.hostile {
        Conduct::LiesOneIn { one_in } => ("hostile.one_in", count(one_in), 1, u64::from(u32::MAX)),
        _ => ("hostile", 1, 1, 1),
    };
    let bytes = params.link.map_or(1, |link| link.bytes_per_second);
    let bounds = [
        ("peers", count(params.peers), 1, 100_000),
        ("registries", count(params.registries), 1, 100),
        ("capabilities", count(params.capabilities), 1, 10),
        ("offers_each", count(params.offers_each), 1, 10),
        ("ring", count(params.ring), 1, 100_000),
        ("seconds", params.seconds, 1, MAX_SECONDS),
        ("neighbours", count(params.neighbours), 0, 64),
        ("lease_seconds", params.lease_seconds, MIN_LIFE, Lease::MAX_LIFE),
        ("descriptor_seconds", params.descriptor_seconds, MIN_LIFE, Descriptor::MAX_LIFE),
        ("drift_seconds", params.drift_seconds, 0, MAX_SECONDS),
        ("churn_seconds", params.churn_seconds, 0, MAX_SECONDS),
        ("capacity", count(params.capacity), 1, 1_000),
        ("queue", count(params.queue), 0, 100_000),
        ("link.bytes_per_second", bytes, 1, u64::MAX),
        ("component_bytes", params.component_bytes.unwrap_or_default(), 0, MAX_COMPONENT_BYTES as u64),
        hostile,
    ];
    if let Some((key, value, least, most)) =
        bounds.into_iter().find(|(_, value, least, most)| !(*least..=*most).contains(value))
    {
        return Err(format!("{key} is {value}; {least} to {most} are allowed"));
    }
    if steps == 0 || steps > count(params.capabilities) {
        let capabilities = params.capabilities;
        return Err(format!("{steps} steps; 1 to {capabilities} are allowed, a capability for each"));
    }
    let told = match params.hostile {
        Conduct::TellsCanaries { probability } => probability,
        _ => 0.0,
    };
    let (loss, sigma) = params.link.map_or((0.0, 0.0), |link| (link.loss, link.sigma));
    let shares = [
        ("captured", params.captured, 1.0),
        ("alpha", params.alpha, 1.0),
        ("noticed", params.noticed, 1.0),
        ("free_riders", params.free_riders, 1.0),
        ("hostile.probability", told, 1.0),
        ("link.loss", loss, 1.0),
        ("link.sigma", sigma, 10.0),
        ("workflows_per_hour", params.workflows_per_hour, 10_000_000.0),
    ];
    if let Some((key, value, most)) = shares.into_iter().find(|(_, v, most)| !(0.0..=*most).contains(v)) {
        return Err(format!("{key} is {value}; 0 to {most} are allowed"));
    }
    let honest = params.peers.saturating_sub((f64::from(params.peers) * params.alpha).round() as u32);
    if !(1..=honest).contains(&params.requesters) {
        let requesters = params.requesters;
        return Err(format!("requesters is {requesters}; 1 to {honest} are allowed, as many as are honest"));
    }
    Ok(())
}
