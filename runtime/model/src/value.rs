//! WIT values and their one canonical encoding, in DAG-CBOR under the value's type.
//!
//! Arguments are an array in the order of the parameters; the result of a function that returns nothing is null.
//!
//! | type | encoding |
//! |---|---|
//! | `bool`, integers | as CBOR has them |
//! | `f32`, `f64` | a 64-bit float; where DAG-CBOR has none, the text `nan`, `inf`, `-inf` or `-0` |
//! | `char`, `string` | text |
//! | `list<u8>` | a byte string |
//! | other `list`, `tuple`, `record` | an array; a record's fields in the order of the type |
//! | `enum` | text: the case's name |
//! | `variant` | text: the case's name; with a payload a map of one entry, `{name: payload}` |
//! | `option` | null for none, otherwise the payload; an option of an option has its payload in an array of one |
//! | `result` | a map of one entry, `{"ok": payload}` or `{"err": payload}`, null where there is no payload |
//! | `flags` | an integer: bit i is set when flag i is |
//!
//! A NaN has one encoding, so its payload bits are lost. The encoder and the decoder are written here, not derived
//! through serde: a map of the library copies its payload twice more, and its errors do not say where they are. That
//! both agree on what is canonical is a property test.

mod decode;
mod difference;
mod encode;

pub use difference::{Difference, difference};

use crate::{
    Param, WitType,
    path::{Path, excerpt},
};

/// A WIT value. Which type it belongs to is known from the function, never from the value alone.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `bool`
    Bool(bool),
    /// `s8`
    S8(i8),
    /// `u8`
    U8(u8),
    /// `s16`
    S16(i16),
    /// `u16`
    U16(u16),
    /// `s32`
    S32(i32),
    /// `u32`
    U32(u32),
    /// `s64`
    S64(i64),
    /// `u64`
    U64(u64),
    /// `f32`
    F32(f32),
    /// `f64`
    F64(f64),
    /// `char`
    Char(char),
    /// `string`
    String(String),
    /// `list<u8>`, always in this form
    Bytes(Vec<u8>),
    /// any other `list<T>`
    List(Vec<Value>),
    /// `record`: the fields' values in the order of the type
    Record(Vec<Value>),
    /// `tuple`
    Tuple(Vec<Value>),
    /// `variant`: the case's index in the type, and its payload
    Variant(u32, Option<Box<Value>>),
    /// `enum`: the case's index in the type
    Enum(u32),
    /// `option<T>`
    Option(Option<Box<Value>>),
    /// `result<ok, err>`
    Result(Result<Option<Box<Value>>, Option<Box<Value>>>),
    /// `flags`: bit i is set when flag i is
    Flags(u32),
}

/// The deepest nesting of types that a value may have: the type of a parameter is at depth 0. Beyond it, encoding and
/// decoding end in [`ValueError::TooDeep`], so that a hostile type cannot exhaust the stack.
pub const MAX_DEPTH: usize = 64;

/// The most values that one encoding may hold, each element of a list counted and bytes counted as one. A decoded value
/// takes up to a hundred bytes of memory for each byte of its encoding; this bounds the whole to a few hundred MiB.
/// Beyond it, encoding and decoding end in [`ValueError::TooMany`].
pub const MAX_VALUES: usize = 4 << 20;

/// Why a value does not fit its type, or bytes are not the canonical encoding of a value of that type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Another kind of value, or a number, text or case its type does not have.
    #[error("{path}: expected {expected}, found {found}")]
    Mismatch {
        /// Where, e.g. `options.items[3].name`.
        path: String,
        /// The type there, as WIT writes it.
        expected: String,
        /// What is there instead.
        found: String,
    },
    /// The value nests deeper than [`MAX_DEPTH`].
    #[error("{path}: nested more than {MAX_DEPTH} types deep")]
    TooDeep {
        /// Where the limit was reached.
        path: String,
    },
    /// More values than [`MAX_VALUES`].
    #[error("{path}: more than {MAX_VALUES} values")]
    TooMany {
        /// Where the limit was reached.
        path: String,
    },
    /// The bytes exceed the limit the caller set; nothing was read.
    #[error("{actual} bytes where at most {limit} are allowed")]
    TooLarge {
        /// Bytes received.
        actual: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The bytes end before the value does, or announce more than there is.
    #[error("{path}: the bytes end inside this value")]
    CutShort {
        /// Where they end.
        path: String,
    },
    /// The bytes mean a value, but are not the one encoding of it.
    #[error("{path}: not canonical: {what}")]
    NotCanonical {
        /// Where.
        path: String,
        /// Which rule is broken.
        what: &'static str,
    },
    /// Bytes follow the value.
    #[error("{bytes} bytes follow the value")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// Another number of arguments than the function has parameters.
    #[error("expected {expected} arguments, found {found}")]
    Count {
        /// The function's parameters.
        expected: usize,
        /// The arguments given.
        found: usize,
    },
}

impl Value {
    /// Makes a list of `element`: of `u8` it makes [`Value::Bytes`], the only form `list<u8>` has.
    ///
    /// Returns the items back when `element` is `u8` and one of them is not.
    pub fn list(element: &WitType, items: Vec<Value>) -> Result<Self, Vec<Value>> {
        if *element != WitType::U8 {
            return Ok(Self::List(items));
        }
        let bytes: Option<Vec<u8>> = items
            .iter()
            .map(|v| match v {
                Self::U8(b) => Some(*b),
                _ => None,
            })
            .collect();
        bytes.map(Self::Bytes).ok_or(items)
    }

    /// What kind of value this is, for an error.
    fn kind(&self) -> String {
        match self {
            Self::Bool(v) => format!("bool {v}"),
            Self::S8(v) => format!("s8 {v}"),
            Self::U8(v) => format!("u8 {v}"),
            Self::S16(v) => format!("s16 {v}"),
            Self::U16(v) => format!("u16 {v}"),
            Self::S32(v) => format!("s32 {v}"),
            Self::U32(v) => format!("u32 {v}"),
            Self::S64(v) => format!("s64 {v}"),
            Self::U64(v) => format!("u64 {v}"),
            Self::F32(v) => format!("f32 {v}"),
            Self::F64(v) => format!("f64 {v}"),
            Self::Char(v) => format!("char {v:?}"),
            Self::String(v) => format!("string {:?}", excerpt(v, 40)),
            Self::Bytes(v) => format!("{} bytes", v.len()),
            Self::List(v) => format!("a list of {}", v.len()),
            Self::Record(v) => format!("a record of {}", v.len()),
            Self::Tuple(v) => format!("a tuple of {}", v.len()),
            Self::Variant(case, None) => format!("variant case {case} without a payload"),
            Self::Variant(case, Some(_)) => format!("variant case {case} with a payload"),
            Self::Enum(case) => format!("enum case {case}"),
            Self::Option(None) => "none".to_owned(),
            Self::Option(Some(_)) => "some".to_owned(),
            Self::Result(Ok(v)) => format!("ok with{} a payload", if v.is_some() { "" } else { "out" }),
            Self::Result(Err(v)) => format!("err with{} a payload", if v.is_some() { "" } else { "out" }),
            Self::Flags(bits) => format!("flags {bits:#b}"),
        }
    }
}

/// The canonical encoding of a function's arguments: an array, in the order of its parameters.
pub fn encode_params(params: &[Param], values: &[Value]) -> Result<Vec<u8>, ValueError> {
    let mut out = Vec::new();
    encode::params(&mut out, params, values)?;
    Ok(out)
}

/// Reads the arguments of a function from at most `limit` bytes, refusing all but their canonical encoding.
pub fn decode_params(params: &[Param], bytes: &[u8], limit: usize) -> Result<Vec<Value>, ValueError> {
    decode::params(params, bytes, limit, MAX_VALUES)
}

/// As [`decode_params`], of at most `most` values: what is over it is [`ValueError::TooMany`] before it is in memory.
pub(crate) fn decode_few_params(
    params: &[Param],
    bytes: &[u8],
    most: usize,
) -> Result<Vec<Value>, ValueError> {
    decode::params(params, bytes, bytes.len(), most)
}

/// The canonical encoding of a function's result: the value, or null for a function that returns nothing.
pub fn encode_result(ty: Option<&WitType>, value: Option<&Value>) -> Result<Vec<u8>, ValueError> {
    let mut out = Vec::new();
    encode::result(&mut out, ty, value)?;
    Ok(out)
}

/// As [`encode_result`], of a value nobody else needs: bytes and text become their encoding where they lie, so that a
/// megabyte is not held twice.
pub fn encode_result_of(ty: Option<&WitType>, value: Option<Value>) -> Result<Vec<u8>, ValueError> {
    match (ty, value) {
        (Some(ty), Some(value)) => match encode::in_place(ty, value) {
            Ok(bytes) => Ok(bytes),
            Err(value) => encode_result(Some(ty), Some(&value)),
        },
        (ty, value) => encode_result(ty, value.as_ref()),
    }
}

/// Reads the result of a function from at most `limit` bytes, refusing all but its canonical encoding.
pub fn decode_result(ty: Option<&WitType>, bytes: &[u8], limit: usize) -> Result<Option<Value>, ValueError> {
    decode::result(ty, bytes, limit)
}

/// Whether a value is of a type, within [`MAX_DEPTH`] and [`MAX_VALUES`]: whether it can be encoded.
pub fn check(ty: &WitType, value: &Value) -> Result<(), ValueError> {
    encode::result(&mut encode::Discard, Some(ty), Some(value))
}

fn mismatch(path: &Path<'_>, ty: &WitType, found: impl Into<String>) -> ValueError {
    ValueError::Mismatch {
        path: path.to_string(),
        expected: excerpt(&ty.to_string(), 120),
        found: found.into(),
    }
}

/// Takes one value off the budget of an encoding, and looks at its depth.
fn spend(left: &mut usize, path: &Path<'_>) -> Result<(), ValueError> {
    if path.depth > MAX_DEPTH {
        return Err(ValueError::TooDeep { path: path.to_string() });
    }
    *left = left.checked_sub(1).ok_or_else(|| ValueError::TooMany { path: path.to_string() })?;
    Ok(())
}

/// Whether a bit mask has only bits that stand for a flag; more than 32 flags have no mask.
fn flags_fit(flags: usize, bits: u64) -> bool {
    flags <= 32 && bits < 1 << flags
}
