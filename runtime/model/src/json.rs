//! Values as JSON, for people: strict both ways, never a guess.
//!
//! | type | JSON |
//! |---|---|
//! | `bool`, `string`, `char` | a boolean; a string; a string of one character |
//! | integers | a number without fraction or exponent; `s64` and `u64` also a string of decimal digits, and are written so beyond 2^53 |
//! | `f32`, `f64` | a number, or `"nan"`, `"inf"`, `"-inf"` |
//! | `list<u8>` | base64: standard alphabet, padded; `"@path"` where the caller reads files |
//! | other `list`, `tuple` | an array |
//! | `record` | an object; an absent field is `none` |
//! | `option<T>` | null, or the payload; where T is itself an option, the payload stands as `{"some": payload}` |
//! | `variant` | `"case"`, or with a payload `{"case": payload}` |
//! | `result` | `{"ok": payload}`, `{"err": payload}`, or `"ok"`, `"err"` without one |
//! | `enum`, `flags` | a string; an array of strings, none twice |
//!
//! # Arguments
//!
//! An array in the order of the parameters, or an object by parameter name. In an object an option may be absent, in an
//! array those at the end. One parameter
//! alone may stand bare, which makes some JSON readable in two ways: for a `list<list<u32>>`, `[[]]` is an empty list as
//! the one argument, or bare a list of one empty list. So, for one parameter named `p`:
//!
//! 1. An object with the key `p` is read by name, if its value is of `p`'s type.
//! 2. Otherwise the JSON is read as arguments (an array of one, an object without `p`) and as the bare value. If only
//!    one reading is of the type, or both mean the same, it counts. If both are and they differ, the error says both
//!    and how to write the one that is meant: nothing is misread silently.
//! 3. If neither is, the error says why for each reading the JSON has the shape of.
//!
//! `{"p": …}` as [`params_to_json`] writes it is therefore always read as it was meant.

mod read;
mod write;

pub(crate) use write::short;

use crate::{Param, Value, WitType};
use serde_json::Value as Json;

/// Why JSON is not a value of a type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Another kind of value, or a number, text or case the type does not have.
    #[error("{path}: expected {expected}, got {found}")]
    Mismatch {
        /// Where, e.g. `options.items[3].name`.
        path: String,
        /// The type there as WIT writes it, with its range or form where that is the point.
        expected: String,
        /// The JSON there, at most 60 characters of it.
        found: String,
    },
    /// A field, case, flag or parameter that the type does not have.
    #[error("{path}: unknown {kind} {name:?}{}; known: {}", meant(.nearest), .known.join(", "))]
    Unknown {
        /// Where.
        path: String,
        /// What the name would be the name of.
        kind: &'static str,
        /// The name given.
        name: String,
        /// The known name most like it, if one is like it.
        nearest: Option<String>,
        /// The names there are.
        known: Vec<String>,
    },
    /// A field or parameter that is not an option is absent.
    #[error("{path}: the {kind} {name:?} ({expected}) is missing")]
    Missing {
        /// Where.
        path: String,
        /// `field` or `parameter`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Its type, as WIT writes it.
        expected: String,
    },
    /// Another number of arguments than the function has parameters.
    #[error("expected {expected}, got {found}")]
    Arguments {
        /// The parameters, with their types.
        expected: String,
        /// The JSON given, at most 60 characters of it.
        found: String,
    },
    /// The one argument can be read in two ways that differ.
    #[error(
        "`{found}` can be read in two ways: as the list of arguments, or as {name:?} itself; write `{list}` or `{bare}`"
    )]
    Ambiguous {
        /// The JSON given, at most 60 characters of it.
        found: String,
        /// The parameter's name.
        name: String,
        /// How to write it if it is the list of arguments.
        list: String,
        /// How to write it if it is the argument itself.
        bare: String,
    },
    /// The one argument has the shape of two readings, and is of the right type in neither.
    #[error("read as the arguments: {arguments}; read as {name:?} itself: {bare}")]
    Neither {
        /// The parameter's name.
        name: String,
        /// What is wrong with it as the list or object of arguments.
        arguments: Box<JsonError>,
        /// What is wrong with it as the bare argument.
        bare: Box<JsonError>,
    },
    /// A file named by `"@path"` could not be had.
    #[error("{path}: cannot use \"@{file}\": {why}")]
    File {
        /// Where.
        path: String,
        /// The path after `@`.
        file: String,
        /// Why not.
        why: String,
    },
    /// The value nests deeper than [`crate::value::MAX_DEPTH`].
    #[error("{path}: nested more than {} types deep", crate::value::MAX_DEPTH)]
    TooDeep {
        /// Where the limit was reached.
        path: String,
    },
}

fn meant(name: &Option<String>) -> String {
    name.as_ref().map(|n| format!(", did you mean {n:?}?")).unwrap_or_default()
}

/// Reads a function's arguments; the forms are those of the module's description. `"@path"` is refused.
pub fn params_from_json(params: &[Param], json: &Json) -> Result<Vec<Value>, JsonError> {
    params_from_json_with(params, json, &mut no_files)
}

/// Reads a function's arguments; where a `list<u8>` is written `"@path"`, `files` is asked for the bytes at `path`.
///
/// `files` may be asked more than once for one path.
pub fn params_from_json_with(
    params: &[Param],
    json: &Json,
    files: &mut dyn FnMut(&str) -> Result<Vec<u8>, String>,
) -> Result<Vec<Value>, JsonError> {
    read::params(params, json, files)
}

/// Reads one value of a type. `"@path"` is refused.
pub fn from_json(ty: &WitType, json: &Json) -> Result<Value, JsonError> {
    read::value(ty, json, &mut no_files)
}

/// Writes a value of a type. What is not of its type (see [`crate::value::check`]) is written as null.
pub fn to_json(ty: &WitType, value: &Value) -> Json {
    write::value(ty, value).unwrap_or(Json::Null)
}

/// Writes a function's result; null for a function that returns nothing.
pub fn result_to_json(ty: Option<&WitType>, value: Option<&Value>) -> Json {
    match (ty, value) {
        (Some(ty), Some(value)) => to_json(ty, value),
        _ => Json::Null,
    }
}

/// Writes a function's arguments as an object by parameter name, every parameter present.
pub fn params_to_json(params: &[Param], values: &[Value]) -> Json {
    params
        .iter()
        .zip(values)
        .map(|(p, v)| (p.name.clone(), to_json(&p.ty, v)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn no_files(_: &str) -> Result<Vec<u8>, String> {
    Err("files are read only where arguments are given at the command line; write the bytes as base64"
        .to_owned())
}
