//! From JSON to values.

use super::JsonError;
use crate::{
    Param, Value, WitType,
    path::{Path, excerpt},
    types::Field,
    value::MAX_DEPTH,
};
use data_encoding::BASE64;
use serde_json::{Map, Value as Json};

type Files<'f> = &'f mut dyn FnMut(&str) -> Result<Vec<u8>, String>;

pub(super) fn value(ty: &WitType, json: &Json, files: Files<'_>) -> Result<Value, JsonError> {
    read(ty, json, &Path::root("value"), files)
}

pub(super) fn params(params: &[Param], json: &Json, files: Files<'_>) -> Result<Vec<Value>, JsonError> {
    match params {
        [param] => one(param, json, files),
        _ => exact(params, json, files),
    }
}

/// The rule for one parameter, as the module's description has it.
fn one(param: &Param, json: &Json, files: Files<'_>) -> Result<Vec<Value>, JsonError> {
    let params = std::slice::from_ref(param);
    // Only these have the shape of arguments; anything else can only be the bare value.
    let by_name = json.as_object().is_some_and(|o| o.contains_key(&param.name));
    let shaped = by_name
        || json.as_array().is_some_and(|a| a.len() == 1)
        || json.as_object().is_some_and(Map::is_empty);
    let arguments = if shaped { Some(exact(params, json, files)) } else { None };
    match arguments {
        Some(Ok(values)) if by_name => return Ok(values),
        // A reading that came as far as a file is the one that was meant.
        Some(Err(e @ JsonError::File { .. })) => return Err(e),
        _ => {}
    }
    let bare = read(&param.ty, json, &Path::root(&param.name), files).map(|v| vec![v]);
    match (arguments, bare) {
        (None, bare) => bare,
        (Some(Ok(values)), Err(_)) | (Some(Err(_)), Ok(values)) => Ok(values),
        // A NaN differs from itself, which costs no more than a needless question.
        (Some(Ok(a)), Ok(b)) if a == b => Ok(a),
        (Some(Ok(values)), Ok(_)) => Err(JsonError::Ambiguous {
            found: brief(json),
            name: param.name.clone(),
            list: super::params_to_json(params, &values).to_string(),
            bare: excerpt(&Json::from(Map::from_iter([(param.name.clone(), json.clone())])).to_string(), 60),
        }),
        (Some(Err(arguments)), Err(bare)) => Err(JsonError::Neither {
            name: param.name.clone(),
            arguments: Box::new(arguments),
            bare: Box::new(bare),
        }),
    }
}

/// An array in order, or an object by name.
fn exact(params: &[Param], json: &Json, files: Files<'_>) -> Result<Vec<Value>, JsonError> {
    match json {
        Json::Array(items) if items.len() <= params.len() && optional_from(params, items.len()) => {
            let given = params.iter().zip(items).map(|(p, j)| read(&p.ty, j, &Path::root(&p.name), files));
            let absent = params.iter().skip(items.len()).map(|_| Ok(Value::Option(None)));
            given.chain(absent).collect()
        }
        Json::Object(object) => {
            let known: Vec<_> = params.iter().map(|p| p.name.as_str()).collect();
            let root = Path::root("arguments");
            refuse_unknown(object, &known, "parameter", &root)?;
            params
                .iter()
                .map(|p| entry(object, &p.name, &p.ty, "parameter", &root, &Path::root(&p.name), files))
                .collect()
        }
        _ => Err(JsonError::Arguments { expected: signature(params), found: brief(json) }),
    }
}

/// Whether every parameter from this one on is an option, so that it may be left out.
fn optional_from(params: &[Param], first: usize) -> bool {
    params.iter().skip(first).all(|p| matches!(p.ty, WitType::Option(_)))
}

fn signature(params: &[Param]) -> String {
    let list: Vec<_> =
        params.iter().map(|p| format!("{}: {}", p.name, excerpt(&p.ty.to_string(), 60))).collect();
    match list.len() {
        0 => "no arguments: [] or {}".to_owned(),
        1 => format!("one argument ({})", list.join(", ")),
        n => format!("{n} arguments ({}) as an array, or an object by name", list.join(", ")),
    }
}

/// The value of a field or parameter; an absent option is none.
fn entry(
    object: &Map<String, Json>,
    name: &str,
    ty: &WitType,
    kind: &'static str,
    around: &Path<'_>,
    path: &Path<'_>,
    files: Files<'_>,
) -> Result<Value, JsonError> {
    match object.get(name) {
        Some(json) => read(ty, json, path, files),
        None if matches!(ty, WitType::Option(_)) => Ok(Value::Option(None)),
        None => Err(JsonError::Missing {
            path: around.to_string(),
            kind,
            name: name.to_owned(),
            expected: excerpt(&ty.to_string(), 120),
        }),
    }
}

fn refuse_unknown(
    object: &Map<String, Json>,
    known: &[&str],
    kind: &'static str,
    path: &Path<'_>,
) -> Result<(), JsonError> {
    match object.keys().find(|k| !known.contains(&k.as_str())) {
        Some(name) => Err(unknown(name, known, kind, path)),
        None => Ok(()),
    }
}

fn unknown(name: &str, known: &[&str], kind: &'static str, path: &Path<'_>) -> JsonError {
    let name = excerpt(name, 60);
    let nearest = known
        .iter()
        .map(|k| (distance(&name, k), *k))
        .min()
        .filter(|(d, k)| *d <= 1 + k.chars().count() / 3)
        .map(|(_, k)| k.to_owned());
    let known = known.iter().map(|k| (*k).to_owned()).collect();
    JsonError::Unknown { path: path.to_string(), kind, name, nearest, known }
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, cb) in row.iter_mut().skip(1).zip(&b) {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = *cell;
            left = replaced.min(left + 1).min(*cell + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// At most 60 characters of JSON, without writing out the rest of a large one.
fn brief(json: &Json) -> String {
    match json {
        Json::String(s) => excerpt(&Json::from(excerpt(s, 58)).to_string(), 60),
        Json::Array(a) if a.len() > 64 => format!("an array of {}", a.len()),
        Json::Object(o) if o.len() > 64 => format!("an object of {} keys", o.len()),
        other => {
            let mut out = Capped(Vec::new());
            // The cap ends the writing with an error, which is what it is for.
            let _ = serde_json::to_writer(&mut out, other);
            excerpt(&String::from_utf8_lossy(&out.0), 60)
        }
    }
}

/// Takes a few hundred bytes and then refuses more.
struct Capped(Vec<u8>);

impl std::io::Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() > 256 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        let taken = bytes.get(..256).unwrap_or(bytes);
        self.0.extend_from_slice(taken);
        Ok(taken.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn wrong(path: &Path<'_>, expected: impl Into<String>, json: &Json) -> JsonError {
    JsonError::Mismatch { path: path.to_string(), expected: expected.into(), found: brief(json) }
}

fn mismatch(path: &Path<'_>, ty: &WitType, json: &Json) -> JsonError {
    wrong(path, excerpt(&ty.to_string(), 120), json)
}

/// An integer within the range of its type.
fn integer<T>(ty: &WitType, json: &Json, path: &Path<'_>, least: T, most: T) -> Result<T, JsonError>
where
    T: TryFrom<i128> + std::fmt::Display,
{
    let n = match json {
        Json::Number(n) => n.as_i64().map(i128::from).or_else(|| n.as_u64().map(i128::from)),
        Json::String(s) if matches!(ty, WitType::S64 | WitType::U64) => {
            let digits = s.strip_prefix('-').unwrap_or(s);
            let plain = digits.bytes().all(|b| b.is_ascii_digit());
            s.parse().ok().filter(|_| plain)
        }
        _ => None,
    };
    n.and_then(|n| T::try_from(n).ok())
        .ok_or_else(|| wrong(path, format!("{ty} (an integer from {least} to {most})"), json))
}

fn float(ty: &WitType, json: &Json, path: &Path<'_>) -> Result<f64, JsonError> {
    let v = match json {
        Json::Number(n) => n.as_f64(),
        Json::String(s) => match s.as_str() {
            "nan" => Some(f64::NAN),
            "inf" => Some(f64::INFINITY),
            "-inf" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    };
    v.ok_or_else(|| wrong(path, format!("{ty} (a number, \"nan\", \"inf\" or \"-inf\")"), json))
}

fn bytes(json: &Json, path: &Path<'_>, files: Files<'_>) -> Result<Value, JsonError> {
    let base64 = || wrong(path, "list<u8> (bytes in base64, standard alphabet, padded)", json);
    let text = json.as_str().ok_or_else(base64)?;
    match text.strip_prefix('@') {
        Some(file) => files(file).map(Value::Bytes).map_err(|why| JsonError::File {
            path: path.to_string(),
            file: file.to_owned(),
            why,
        }),
        None => BASE64.decode(text.as_bytes()).map(Value::Bytes).map_err(|_| base64()),
    }
}

/// The one entry of an object of one.
fn single(json: &Json) -> Option<(&str, &Json)> {
    let mut entries = json.as_object()?.iter();
    match (entries.next(), entries.next()) {
        (Some((name, payload)), None) => Some((name.as_str(), payload)),
        _ => None,
    }
}

fn read(ty: &WitType, json: &Json, path: &Path<'_>, files: Files<'_>) -> Result<Value, JsonError> {
    if path.depth > MAX_DEPTH {
        return Err(JsonError::TooDeep { path: path.to_string() });
    }
    let refused = || mismatch(path, ty, json);
    Ok(match ty {
        WitType::Bool => Value::Bool(json.as_bool().ok_or_else(refused)?),
        WitType::S8 => Value::S8(integer(ty, json, path, i8::MIN, i8::MAX)?),
        WitType::S16 => Value::S16(integer(ty, json, path, i16::MIN, i16::MAX)?),
        WitType::S32 => Value::S32(integer(ty, json, path, i32::MIN, i32::MAX)?),
        WitType::S64 => Value::S64(integer(ty, json, path, i64::MIN, i64::MAX)?),
        WitType::U8 => Value::U8(integer(ty, json, path, u8::MIN, u8::MAX)?),
        WitType::U16 => Value::U16(integer(ty, json, path, u16::MIN, u16::MAX)?),
        WitType::U32 => Value::U32(integer(ty, json, path, u32::MIN, u32::MAX)?),
        WitType::U64 => Value::U64(integer(ty, json, path, u64::MIN, u64::MAX)?),
        WitType::F64 => Value::F64(float(ty, json, path)?),
        WitType::F32 => {
            let wide = float(ty, json, path)?;
            let v = wide as f32;
            if v.is_infinite() && wide.is_finite() {
                return Err(wrong(path, format!("f32 (at most {:e} either way)", f32::MAX), json));
            }
            Value::F32(v)
        }
        WitType::Char => {
            let mut chars = json.as_str().ok_or_else(refused)?.chars();
            match (chars.next(), chars.next()) {
                (Some(c), None) => Value::Char(c),
                _ => return Err(wrong(path, "char (a string of one character)", json)),
            }
        }
        WitType::String => Value::String(json.as_str().ok_or_else(refused)?.to_owned()),
        WitType::List(_) if ty.is_bytes() => bytes(json, path, files)?,
        WitType::List(element) => {
            let items = json.as_array().ok_or_else(refused)?;
            let item = |(i, item)| read(element, item, &path.index(i), files);
            Value::List(items.iter().enumerate().map(item).collect::<Result<_, _>>()?)
        }
        WitType::Record(fields) => {
            let object = json.as_object().ok_or_else(refused)?;
            let known: Vec<_> = fields.iter().map(|f| f.name.as_str()).collect();
            refuse_unknown(object, &known, "field", path)?;
            let field = |f: &Field| entry(object, &f.name, &f.ty, "field", path, &path.field(&f.name), files);
            Value::Record(fields.iter().map(field).collect::<Result<_, _>>()?)
        }
        WitType::Tuple(types) => {
            let items = json.as_array().filter(|a| a.len() == types.len()).ok_or_else(refused)?;
            let item = |(i, (ty, item))| read(ty, item, &path.index(i), files);
            Value::Tuple(types.iter().zip(items).enumerate().map(item).collect::<Result<_, _>>()?)
        }
        WitType::Variant(cases) => {
            let (name, payload) = match (json, single(json)) {
                (Json::String(name), _) => (name.as_str(), None),
                (_, Some((name, payload))) => (name, Some(payload)),
                _ => return Err(refused()),
            };
            let Some((index, case)) = (0..).zip(cases).find(|(_, c)| c.name == name) else {
                let known: Vec<_> = cases.iter().map(|c| c.name.as_str()).collect();
                return Err(unknown(name, &known, "case", path));
            };
            match (&case.ty, payload) {
                (None, None) => Value::Variant(index, None),
                (Some(ty), Some(payload)) => {
                    let payload = read(ty, payload, &path.field(&case.name), files)?;
                    Value::Variant(index, Some(Box::new(payload)))
                }
                (None, Some(_)) => return Err(wrong(path, format!("{name:?} without a payload"), json)),
                (Some(ty), None) => {
                    let ty = excerpt(&ty.to_string(), 60);
                    return Err(wrong(path, format!("{{{name:?}: payload}}, the payload of {ty}"), json));
                }
            }
        }
        WitType::Enum(cases) => {
            let name = json.as_str().ok_or_else(refused)?;
            match (0..).zip(cases).find(|(_, c)| *c == name) {
                Some((index, _)) => Value::Enum(index),
                None => {
                    let known: Vec<_> = cases.iter().map(String::as_str).collect();
                    return Err(unknown(name, &known, "case", path));
                }
            }
        }
        WitType::Option(_) if json.is_null() => Value::Option(None),
        WitType::Option(payload) => {
            let json = if matches!(**payload, WitType::Option(_)) {
                match single(json) {
                    Some(("some", inner)) => inner,
                    _ => return Err(wrong(path, format!("null or {{\"some\": {payload}}}"), json)),
                }
            } else {
                json
            };
            Value::Option(Some(Box::new(read(payload, json, &path.inside(), files)?)))
        }
        WitType::Result(sides) => {
            let (name, payload) = match (json, single(json)) {
                (Json::String(name), _) => (name.as_str(), None),
                (_, Some((name, payload))) => (name, Some(payload)),
                _ => return Err(refused()),
            };
            let side = match name {
                "ok" => &sides.ok,
                "err" => &sides.err,
                _ => return Err(unknown(name, &["ok", "err"], "case", path)),
            };
            let payload = match (side, payload) {
                (None, None) => None,
                (Some(ty), Some(payload)) => Some(Box::new(read(ty, payload, &path.field(name), files)?)),
                (None, Some(_)) => return Err(wrong(path, format!("{name:?} without a payload"), json)),
                (Some(ty), None) => {
                    let ty = excerpt(&ty.to_string(), 60);
                    return Err(wrong(path, format!("{{{name:?}: payload}}, the payload of {ty}"), json));
                }
            };
            Value::Result(if name == "ok" { Ok(payload) } else { Err(payload) })
        }
        WitType::Flags(names) => {
            let mut bits = 0_u32;
            for (i, json) in json.as_array().ok_or_else(refused)?.iter().enumerate() {
                let path = path.index(i);
                let name = json.as_str().ok_or_else(|| wrong(&path, "the name of a flag", json))?;
                let Some((bit, _)) = (0..32).zip(names).find(|(_, n)| *n == name) else {
                    let known: Vec<_> = names.iter().map(String::as_str).collect();
                    return Err(unknown(name, &known, "flag", &path));
                };
                if bits & 1 << bit != 0 {
                    return Err(wrong(&path, "each flag at most once", json));
                }
                bits |= 1 << bit;
            }
            Value::Flags(bits)
        }
    })
}
