//! Names people type: capabilities (`name@version`) and functions (`interface#name`).

use semver::Version;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A capability's name: `[a-z0-9]` and inner hyphens, 1 to 64 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CapabilityName(String);

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a capability's name.
    #[error("{0:?} is not a capability name: use 1 to 64 of a-z, 0-9 and inner hyphens")]
    Capability(String),
    /// Not a function's name.
    #[error("{0:?} is not a function name: use `name` or `namespace:package/interface@version#name`")]
    Function(String),
}

impl CapabilityName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CapabilityName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let ok = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        if ok {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Capability(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for CapabilityName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<CapabilityName> for String {
    fn from(name: CapabilityName) -> String {
        name.0
    }
}

impl fmt::Display for CapabilityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Splits `name` or `name@version` as people write it.
pub fn split_version(text: &str) -> (&str, Option<Version>) {
    match text.rsplit_once('@') {
        Some((name, version)) => match Version::parse(version) {
            Ok(v) => (name, Some(v)),
            Err(_) => (text, None),
        },
        None => (text, None),
    }
}

/// An exported function: the interface that holds it, with its version, and its own name.
///
/// As text `namespace:package/interface@version#name`, or `name` alone for a function of the world itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FunctionName {
    interface: Option<String>,
    name: String,
}

impl FunctionName {
    /// The longest text accepted, in bytes.
    pub const MAX_BYTES: usize = 256;

    /// A function of an exported interface, or of the world itself.
    pub fn new(interface: Option<&str>, name: &str) -> Result<Self, NameError> {
        match interface {
            Some(i) => format!("{i}#{name}").parse(),
            None => name.parse(),
        }
    }

    /// The exported interface, e.g. `actum:markdown/render@0.1.0`.
    pub fn interface(&self) -> Option<&str> {
        self.interface.as_deref()
    }

    /// The function's own name, e.g. `render`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether `asked` means this function: its own name, its full text, or its full text without the version.
    pub fn answers_to(&self, asked: &str) -> bool {
        if asked == self.name || asked == self.to_string() {
            return true;
        }
        let unversioned = self.interface().map(|i| i.split('@').next().unwrap_or(i));
        unversioned
            .is_some_and(|i| asked.strip_prefix(i).and_then(|r| r.strip_prefix('#')) == Some(&self.name))
    }
}

impl FromStr for FunctionName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = || NameError::Function(text.chars().take(80).collect());
        let (interface, name) = match text.split_once('#') {
            Some((i, n)) => (Some(i), n),
            None => (None, text),
        };
        let name_ok =
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.[]".contains(&b));
        let interface_ok = interface.is_none_or(|i| {
            !i.is_empty() && i.bytes().all(|b| b.is_ascii_alphanumeric() || b"-:/@.+".contains(&b))
        });
        if text.len() > Self::MAX_BYTES || !name_ok || !interface_ok {
            return Err(wrong());
        }
        Ok(Self { interface: interface.map(str::to_owned), name: name.to_owned() })
    }
}

impl TryFrom<String> for FunctionName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<FunctionName> for String {
    fn from(name: FunctionName) -> String {
        name.to_string()
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.interface {
            Some(i) => write!(f, "{i}#{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}
