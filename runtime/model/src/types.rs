//! WIT types, structurally: what a function takes and gives, without the names of the types themselves.
//!
//! Source: component model, `WIT.md`. Resources, streams, futures and `error-context` have no value that can be
//! written down, so a function that uses one is not offered and has no [`WitType`].

use crate::text;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A WIT value type.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WitType {
    /// `bool`
    Bool,
    /// `s8`
    S8,
    /// `u8`
    U8,
    /// `s16`
    S16,
    /// `u16`
    U16,
    /// `s32`
    S32,
    /// `u32`
    U32,
    /// `s64`
    S64,
    /// `u64`
    U64,
    /// `f32`
    F32,
    /// `f64`
    F64,
    /// `char`: a Unicode scalar value
    Char,
    /// `string`
    String,
    /// `list<T>`; `list<u8>` is bytes
    List(Box<WitType>),
    /// `record`
    Record(Vec<Field>),
    /// `tuple`
    Tuple(Vec<WitType>),
    /// `variant`
    Variant(Vec<Case>),
    /// `enum`
    Enum(Vec<String>),
    /// `option<T>`
    Option(Box<WitType>),
    /// `result<ok, err>`, each side possibly without a payload
    Result(ResultType),
    /// `flags`, at most 32
    Flags(Vec<String>),
}

/// One field of a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// The field's kebab-case name.
    pub name: String,
    /// The field's type.
    #[serde(rename = "type")]
    pub ty: WitType,
}

/// One case of a variant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The case's kebab-case name.
    pub name: String,
    /// The payload's type, where the case has one.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub ty: Option<WitType>,
}

/// The two sides of a `result`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultType {
    /// The payload of `ok`, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok: Option<Box<WitType>>,
    /// The payload of `err`, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub err: Option<Box<WitType>>,
}

impl WitType {
    /// `list<u8>`.
    pub fn bytes() -> Self {
        Self::List(Box::new(Self::U8))
    }

    /// Whether this is `list<u8>`.
    pub fn is_bytes(&self) -> bool {
        matches!(self, Self::List(t) if **t == Self::U8)
    }

    /// Whether this can be a type of the component model, whose values then have one encoding each: names within a
    /// type are unique, on one line and not empty, at least one of each, at most 32 flags, and no deeper than
    /// [`crate::value::MAX_DEPTH`].
    ///
    /// What a component declares always is; what a signed release claims may be anything.
    pub fn check(&self) -> Result<(), String> {
        self.check_at(0)
    }

    fn check_at(&self, depth: usize) -> Result<(), String> {
        if depth > crate::value::MAX_DEPTH {
            return Err(format!("a type is nested more than {} deep", crate::value::MAX_DEPTH));
        }
        let inner = |t: &Self| t.check_at(depth + 1);
        match self {
            Self::List(t) | Self::Option(t) => inner(t),
            Self::Record(fields) => {
                unique("record", fields.iter().map(|f| f.name.as_str()))?;
                fields.iter().map(|f| &f.ty).try_for_each(inner)
            }
            Self::Tuple(types) if types.is_empty() => Err("a tuple is empty".to_owned()),
            Self::Tuple(types) => types.iter().try_for_each(inner),
            Self::Variant(cases) => {
                unique("variant", cases.iter().map(|c| c.name.as_str()))?;
                cases.iter().filter_map(|c| c.ty.as_ref()).try_for_each(inner)
            }
            Self::Enum(cases) => unique("enum", cases.iter().map(String::as_str)),
            Self::Flags(flags) if flags.len() > 32 => {
                Err(format!("{} flags; at most 32 are allowed", flags.len()))
            }
            Self::Flags(flags) => unique("flags", flags.iter().map(String::as_str)),
            Self::Result(r) => r.ok.iter().chain(&r.err).map(|t| &**t).try_for_each(inner),
            _ => Ok(()),
        }
    }
}

/// Refuses no names, an empty one, and one that occurs twice.
fn unique<'a>(kind: &str, names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if name.is_empty() || !seen.insert(name) {
            return Err(format!("in a {kind}, the name {name:?} is empty or occurs twice"));
        }
        text::one_line(&format!("a name in a {kind}"), name)?;
    }
    if seen.is_empty() { Err(format!("a {kind} is empty")) } else { Ok(()) }
}

/// Joins items with a separator while writing.
fn join<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    mut write: impl FnMut(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        write(f, item)?;
    }
    Ok(())
}

/// As WIT writes it, with records and variants spelled out in place, e.g. `list<record { n: u32 }>`.
impl fmt::Display for WitType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |f: &mut fmt::Formatter<'_>, kind: &str, names: &[String]| {
            write!(f, "{kind} {{ ")?;
            join(f, names, |f, n| f.write_str(n))?;
            f.write_str(" }")
        };
        match self {
            Self::Bool => f.write_str("bool"),
            Self::S8 => f.write_str("s8"),
            Self::U8 => f.write_str("u8"),
            Self::S16 => f.write_str("s16"),
            Self::U16 => f.write_str("u16"),
            Self::S32 => f.write_str("s32"),
            Self::U32 => f.write_str("u32"),
            Self::S64 => f.write_str("s64"),
            Self::U64 => f.write_str("u64"),
            Self::F32 => f.write_str("f32"),
            Self::F64 => f.write_str("f64"),
            Self::Char => f.write_str("char"),
            Self::String => f.write_str("string"),
            Self::List(t) => write!(f, "list<{t}>"),
            Self::Option(t) => write!(f, "option<{t}>"),
            Self::Record(fields) => {
                f.write_str("record { ")?;
                join(f, fields, |f, x| write!(f, "{}: {}", x.name, x.ty))?;
                f.write_str(" }")
            }
            Self::Tuple(types) => {
                f.write_str("tuple<")?;
                join(f, types, |f, t| t.fmt(f))?;
                f.write_str(">")
            }
            Self::Variant(cases) => {
                f.write_str("variant { ")?;
                join(f, cases, |f, c| match &c.ty {
                    Some(t) => write!(f, "{}({t})", c.name),
                    None => f.write_str(&c.name),
                })?;
                f.write_str(" }")
            }
            Self::Enum(cases) => names(f, "enum", cases),
            Self::Flags(flags) => names(f, "flags", flags),
            Self::Result(r) => match (&r.ok, &r.err) {
                (None, None) => f.write_str("result"),
                (Some(ok), None) => write!(f, "result<{ok}>"),
                (None, Some(err)) => write!(f, "result<_, {err}>"),
                (Some(ok), Some(err)) => write!(f, "result<{ok}, {err}>"),
            },
        }
    }
}
