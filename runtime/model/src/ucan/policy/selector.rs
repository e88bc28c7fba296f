//! Selectors: paths into the arguments.
//!
//! | written | selects |
//! |---|---|
//! | `.` | everything |
//! | `.name`, `["any key"]` | the value of a map's key, null where the map has no such key |
//! | `[]` | a map's values; a list itself |
//! | `[0]`, `[-1]` | an element of a list or of bytes, from the front or from the back |
//! | `[1:3]`, `[2:]`, `[:-1]` | a part of a list or of bytes, as much of it as there is |
//! | any of these and `?` | the same, and null where it would fail |
//!
//! A selector begins with a dot, and a dot may stand before a bracket. A name after a dot is of ASCII letters, digits,
//! `_` and `-`, and begins with a letter or `_`; a key in quotes is a JSON string. Others allow fewer names, so
//! [`Selector::path`] writes those with a hyphen in quotes.

use super::PolicyError;
use std::{fmt, str::FromStr};

/// A path into the arguments, as it was written and as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    text: String,
    segments: Vec<Segment>,
}

/// One part of a selector's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where to go.
    pub step: Step,
    /// Whether null stands for what cannot be reached.
    pub optional: bool,
}

/// Where one part of a selector goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// To the value of a map's key.
    Field(String),
    /// To all values of a map, or of a list.
    Values,
    /// To an element, counted from the end where it is negative.
    Index(i64),
    /// To the elements from one index to before another, each counted from the end where it is negative.
    Slice(Option<i64>, Option<i64>),
}

impl Selector {
    /// The most bytes of a selector.
    pub const MAX_BYTES: usize = 1024;
    /// The most segments of a selector.
    pub const MAX_SEGMENTS: usize = 32;

    /// `.`, which selects everything.
    pub fn identity() -> Self {
        Self { text: ".".to_owned(), segments: Vec::new() }
    }

    /// The selector of these keys, one inside the other: `.limits.fuel`, or `.input["a-key"]` where quotes are needed.
    pub fn path(keys: &[&str]) -> Result<Self, PolicyError> {
        let mut text = String::new();
        for key in keys {
            if matches!(name(key), (_, "")) && !key.is_empty() && !key.contains('-') {
                text.push('.');
                text.push_str(key);
            } else {
                text.push_str(if text.is_empty() { ".[" } else { "[" });
                text.push_str(&serde_json::Value::from(*key).to_string());
                text.push(']');
            }
        }
        if text.is_empty() { Ok(Self::identity()) } else { Self::try_from(text) }
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The parts of the path; none for `.`.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Whether the argument `key` is on the path, or may be.
    pub(super) fn mentions(&self, key: &str) -> bool {
        match self.segments.first() {
            Some(Segment { step: Step::Field(name), .. }) => name == key,
            _ => true,
        }
    }
}

/// Splits a text after the name it begins with, which may be none.
fn name(text: &str) -> (&str, &str) {
    let inside = |n: usize, b: u8| {
        b == b'_' || b.is_ascii_alphabetic() || (n > 0 && (b == b'-' || b.is_ascii_digit()))
    };
    let end = text.bytes().enumerate().position(|(n, b)| !inside(n, b)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// Splits a text after the JSON string it begins with.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut escaped = false;
    let inner = text.strip_prefix('"')?;
    let end = inner.bytes().position(|b| {
        let ends = b == b'"' && !escaped;
        escaped = b == b'\\' && !escaped;
        ends
    })?;
    let (string, rest) = text.split_at_checked(end + 2)?;
    Some((serde_json::from_str(string).ok()?, rest))
}

fn integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Reads what stands between brackets: `]`, `3]`, `1:-1]`.
fn bracket(text: &str) -> Option<(Step, &str)> {
    if text.starts_with('"') {
        let (key, rest) = quoted(text)?;
        return Some((Step::Field(key), rest.strip_prefix(']')?));
    }
    let (inner, rest) = text.split_once(']')?;
    let step = match inner.split_once(':') {
        None if inner.is_empty() => Step::Values,
        None => Step::Index(integer(inner)?),
        Some(("", "")) => return None,
        Some((from, "")) => Step::Slice(Some(integer(from)?), None),
        Some(("", to)) => Step::Slice(None, Some(integer(to)?)),
        Some((from, to)) => Step::Slice(Some(integer(from)?), Some(integer(to)?)),
    };
    Some((step, rest))
}

/// Reads one segment: `.name`, `[…]` or `.[…]`, with its question marks.
fn segment(text: &str) -> Option<(Segment, &str)> {
    let (step, rest) = match text.strip_prefix('.') {
        Some(after) => match after.strip_prefix('[') {
            Some(inner) => bracket(inner)?,
            None => match name(after) {
                ("", _) => return None,
                (key, rest) => (Step::Field(key.to_owned()), rest),
            },
        },
        None => bracket(text.strip_prefix('[')?)?,
    };
    let plain = rest.trim_start_matches('?');
    Some((Segment { step, optional: plain.len() < rest.len() }, plain))
}

impl TryFrom<String> for Selector {
    type Error = PolicyError;
    fn try_from(text: String) -> Result<Self, PolicyError> {
        let wrong = |why: &str| {
            let shown: String = text.chars().take(80).collect();
            PolicyError(format!("{shown:?} is not a selector: {why}"))
        };
        if text.len() > Self::MAX_BYTES {
            return Err(wrong(&format!("at most {} bytes are allowed", Self::MAX_BYTES)));
        }
        let Some(after) = text.strip_prefix('.') else { return Err(wrong("it begins with a dot")) };
        let mut segments = Vec::new();
        // `.` itself cannot fail, so `.?` is the same.
        let mut rest = if after.trim_start_matches('?').is_empty() { "" } else { text.as_str() };
        while !rest.is_empty() {
            let Some((read, after)) = segment(rest) else {
                let shown: String = rest.chars().take(20).collect();
                return Err(wrong(&format!("no part of one begins with {shown:?}")));
            };
            if segments.len() == Self::MAX_SEGMENTS {
                return Err(wrong(&format!("at most {} parts are allowed", Self::MAX_SEGMENTS)));
            }
            segments.push(read);
            rest = after;
        }
        Ok(Self { text, segments })
    }
}

impl FromStr for Selector {
    type Err = PolicyError;
    fn from_str(text: &str) -> Result<Self, PolicyError> {
        Self::try_from(text.to_owned())
    }
}

impl From<Selector> for String {
    fn from(selector: Selector) -> Self {
        selector.text
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
