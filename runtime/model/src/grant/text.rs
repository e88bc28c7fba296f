//! Clauses as people type them.

use super::{Capability, form};
use crate::{
    CapabilityName, ComponentId, Did,
    name::split_version,
    ucan::policy::{Policy, Selector, Statement},
};
use ipld_core::ipld::Ipld;
use semver::Version;
use std::{fmt, str::FromStr};

/// A number as people type it: `1500`, `1_500`, or with a decimal suffix `50k`, `50M`, `1G`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count(pub u64);

impl Count {
    const UNITS: [(&'static str, u64); 3] = [("k", 1_000), ("M", 1_000_000), ("G", 1_000_000_000)];
}

impl FromStr for Count {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        number(text, &Self::UNITS, "a number such as 1500, 50k, 50M or 1G").map(Self)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        largest(f, self.0, &Self::UNITS)
    }
}

/// A number of bytes as people type it: `4096`, `64KiB`, `64MiB`, `1GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl ByteSize {
    const UNITS: [(&'static str, u64); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
}

impl FromStr for ByteSize {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        number(text, &Self::UNITS, "a number of bytes such as 4096, 64KiB, 64MiB or 1GiB").map(Self)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        largest(f, self.0, &Self::UNITS)
    }
}

fn number(text: &str, units: &[(&str, u64)], wanted: &str) -> Result<u64, String> {
    let wrong = |why: &str| format!("{:?} is not {wanted}{why}", text.chars().take(40).collect::<String>());
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let unit = text.get(digits.len()..).unwrap_or_default().trim_start_matches(' ');
    let factor = match units.iter().find(|(name, _)| *name == unit) {
        Some((_, factor)) => *factor,
        None if unit.is_empty() => 1,
        None => {
            let known: Vec<_> = units.iter().map(|(name, _)| *name).collect();
            return Err(wrong(&format!(": the unit is one of {}", known.join(", "))));
        }
    };
    let grouped = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.chars().all(|c| c.is_ascii_digit() || c == '_');
    let n = if grouped { digits.replace('_', "").parse::<u64>().ok() } else { return Err(wrong("")) };
    n.and_then(|n| n.checked_mul(factor)).ok_or_else(|| wrong(": it is over 2^64"))
}

/// With the largest unit of which it is a whole number.
fn largest(f: &mut fmt::Formatter<'_>, n: u64, units: &[(&str, u64)]) -> fmt::Result {
    match units.iter().rev().find(|(_, factor)| n > 0 && n.is_multiple_of(*factor)) {
        Some((name, factor)) => write!(f, "{}{name}", n / factor),
        None => write!(f, "{n}"),
    }
}

/// What may be run, as people type it: a component's id, an interface `namespace:package/name@version`, a capability
/// `name` or `name@version`, or one with its author, `did:key:…/name@version`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum May {
    /// All of it was typed.
    Capability(Capability),
    /// A name whose author is to be found.
    Named {
        /// The capability's name.
        name: CapabilityName,
        /// Its version, where one was typed.
        version: Option<Version>,
    },
}

impl May {
    /// With the author that was found.
    pub fn by(self, author: Did) -> Capability {
        match self {
            Self::Capability(capability) => capability,
            Self::Named { name, version } => Capability::Named { author, name, version },
        }
    }
}

impl FromStr for May {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let named = |text: &str| {
            let (name, version) = split_version(text);
            name.parse::<CapabilityName>().map(|name| (name, version)).map_err(|e| e.to_string())
        };
        if text.starts_with("did:") {
            let (author, name) = text.split_once('/').ok_or("after the author's did:key, /name is wanted")?;
            let (name, version) = named(name)?;
            let author = author.parse().map_err(|e| format!("the author: {e}"))?;
            return Ok(Self::Capability(Capability::Named { author, name, version }));
        }
        if let Ok(component) = text.parse::<ComponentId>() {
            return Ok(Self::Capability(Capability::Component(component)));
        }
        let shown: String = text.chars().take(80).collect();
        if text.contains([':', '/']) {
            let wrong = format!("{shown:?} is not an interface such as actum:csv/query@0.1.0");
            if !text
                .split_once('/')
                .is_some_and(|(package, name)| package.contains(':') && name.contains('@'))
            {
                return Err(wrong);
            }
            return text.parse().map(|i| Self::Capability(Capability::Interface(i))).map_err(|_| wrong);
        }
        let (name, version) = named(text).map_err(|_| {
            format!("{shown:?} is not what may be run: a component's id, name, name@version, did:key:…/name@version, or an interface such as actum:csv/query@0.1.0")
        })?;
        Ok(Self::Named { name, version })
    }
}

/// A condition on a function's arguments, as people type it: `rows<=100`, `mode==fast`, `options.top < 5`,
/// `url like https://example.com/*`, `rows[0] != null`, or a statement of the policy language in JSON.
///
/// On the left stands the way to the value: the parameter's name and, below it, names after a dot and indices in brackets.
/// On the right of a comparison stands JSON, or text as it is where it is no JSON; of `like` a pattern, in quotes or as it
/// is, in which `*` is any text and `\*` a star.
#[derive(Clone, Debug, PartialEq)]
pub struct InputRule(pub Statement);

impl FromStr for InputRule {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let shown: String = text.chars().take(80).collect();
        let form = if text.trim_start().starts_with('[') {
            let json: serde_json::Value =
                serde_json::from_str(text).map_err(|e| format!("{shown:?} is not JSON: {e}"))?;
            from_json(json)?
        } else {
            friendly(text).ok_or_else(|| {
                format!("{shown:?} is not a condition such as rows<=100, mode==fast or \"url like https://example.com/*\"")
            })?
        };
        let policy =
            Policy::try_from(vec![form]).map_err(|e| format!("{shown:?} is not a condition: {e}"))?;
        let statement = policy.statements.into_iter().next().ok_or("no condition")?;
        if !form::is_input(&statement) {
            return Err(format!(
                "{shown:?} is not a condition on arguments: its selectors must begin with .input"
            ));
        }
        Ok(Self(statement))
    }
}

fn friendly(text: &str) -> Option<Ipld> {
    let at = text.find(['<', '>', '=', '!', ' ']).filter(|at| *at > 0)?;
    let (path, rest) = text.split_at(at);
    let rest = rest.trim_start();
    let selector = Ipld::from(selector(path)?);
    if let Some(pattern) = rest.strip_prefix("like ") {
        let pattern = pattern.trim();
        let pattern = serde_json::from_str::<String>(pattern).unwrap_or_else(|_| pattern.to_owned());
        return Some(form::statement("like", selector, Ipld::from(pattern)));
    }
    let operator = ["<=", ">=", "==", "!=", "<", ">"].into_iter().find(|o| rest.starts_with(o))?;
    let value = rest.strip_prefix(operator)?.trim();
    if value.is_empty() || value.starts_with(['=', '<', '>']) {
        return None;
    }
    let value = match serde_json::from_str(value) {
        Ok(json) => from_json(json).ok()?,
        Err(_) => Ipld::from(value),
    };
    Some(form::statement(operator, selector, value))
}

/// `options.max-rows[0]` as `.input.options["max-rows"][0]`.
fn selector(path: &str) -> Option<String> {
    let mut keys = vec!["input"];
    let mut selector = String::new();
    for segment in path.split('.') {
        let (name, indices) = segment.split_at(segment.find('[').unwrap_or(segment.len()));
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || !name.chars().all(fits) {
            return None;
        }
        keys.push(name);
        if indices.is_empty() {
            continue;
        }
        let digits = |index: &str| !index.is_empty() && index.bytes().all(|b| b.is_ascii_digit());
        let inner = indices.strip_prefix('[')?.strip_suffix(']')?;
        if !inner.split("][").all(|index| digits(index.strip_prefix('-').unwrap_or(index))) {
            return None;
        }
        append(&mut selector, &keys)?;
        selector.push_str(indices);
        keys.clear();
    }
    append(&mut selector, &keys)?;
    Some(selector)
}

fn append(selector: &mut String, keys: &[&str]) -> Option<()> {
    if !keys.is_empty() {
        let more = Selector::path(keys).ok()?;
        selector.push_str(more.as_str());
    }
    Some(())
}

/// JSON as IPLD, with links and bytes as DAG-JSON writes them.
fn from_json(json: serde_json::Value) -> Result<Ipld, String> {
    use serde_json::Value as Json;
    Ok(match json {
        Json::Null => Ipld::Null,
        Json::Bool(b) => Ipld::from(b),
        Json::String(text) => Ipld::from(text),
        Json::Number(n) => match (n.as_i64(), n.as_u64(), n.as_f64()) {
            (Some(n), ..) => Ipld::from(n),
            (_, Some(n), _) => Ipld::from(n),
            (_, _, Some(n)) if n.is_finite() => Ipld::Float(n),
            _ => return Err(format!("the number {n} is too large")),
        },
        Json::Array(items) => Ipld::List(items.into_iter().map(from_json).collect::<Result<_, _>>()?),
        Json::Object(object) => match (object.len(), object.get("/")) {
            (1, Some(Json::String(cid))) => {
                Ipld::Link(cid.parse().map_err(|e| format!("{cid:?} is not a link: {e}"))?)
            }
            (1, Some(Json::Object(inner))) => match (inner.len(), inner.get("bytes")) {
                (1, Some(Json::String(bytes))) => Ipld::Bytes(
                    data_encoding::BASE64_NOPAD
                        .decode(bytes.as_bytes())
                        .map_err(|e| format!("{bytes:?} is not bytes in base64 without padding: {e}"))?,
                ),
                _ => return Err("the key \"/\" stands for a link or bytes, as in DAG-JSON".to_owned()),
            },
            (_, Some(_)) => return Err("the key \"/\" stands for a link or bytes, as in DAG-JSON".to_owned()),
            _ => Ipld::Map(
                object.into_iter().map(|(k, v)| Ok((k, from_json(v)?))).collect::<Result<_, String>>()?,
            ),
        },
    })
}
