//! From values to bytes. Canonical by construction: there is one way to write each head, and maps have one entry.

use super::{MAX_VALUES, Value, ValueError, mismatch, spend};
use crate::{Param, WitType, path::Path};

/// Where encoded bytes go.
pub(super) trait Sink {
    fn push(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn push(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Takes bytes and keeps none: to check a value without encoding it.
pub(super) struct Discard;

impl Sink for Discard {
    fn push(&mut self, _: &[u8]) {}
}

pub(super) fn params(out: &mut impl Sink, params: &[Param], values: &[Value]) -> Result<(), ValueError> {
    if params.len() != values.len() {
        return Err(ValueError::Count { expected: params.len(), found: values.len() });
    }
    head(out, ARRAY, values.len() as u64);
    let mut left = MAX_VALUES;
    for (param, value) in params.iter().zip(values) {
        put(out, &param.ty, value, &Path::root(&param.name), &mut left)?;
    }
    Ok(())
}

pub(super) fn result(
    out: &mut impl Sink,
    ty: Option<&WitType>,
    value: Option<&Value>,
) -> Result<(), ValueError> {
    match (ty, value) {
        (Some(ty), Some(value)) => put(out, ty, value, &Path::root("result"), &mut { MAX_VALUES }),
        (None, None) => {
            out.push(&[NULL]);
            Ok(())
        }
        (Some(ty), None) => Err(mismatch(&Path::root("result"), ty, "no result")),
        (None, Some(value)) => Err(ValueError::Mismatch {
            path: "result".to_owned(),
            expected: "no result".to_owned(),
            found: value.kind(),
        }),
    }
}

/// Makes bytes or text, alone or as a side of a result, into their encoding by writing the heads before them.
///
/// # Errors
/// The value itself, where it is anything else: then it takes a buffer of its own.
pub(super) fn in_place(ty: &WitType, value: Value) -> Result<Vec<u8>, Value> {
    let mut heads = Heads::default();
    let body = match (ty, value) {
        (WitType::Result(sides), Value::Result(Ok(Some(payload)))) => {
            let plain = sides.ok.as_deref().is_some_and(|ty| is_plain(ty, &payload));
            if !plain {
                return Err(Value::Result(Ok(Some(payload))));
            }
            head(&mut heads, MAP, 1);
            text(&mut heads, "ok");
            *payload
        }
        (WitType::Result(sides), Value::Result(Err(Some(payload)))) => {
            let plain = sides.err.as_deref().is_some_and(|ty| is_plain(ty, &payload));
            if !plain {
                return Err(Value::Result(Err(Some(payload))));
            }
            head(&mut heads, MAP, 1);
            text(&mut heads, "err");
            *payload
        }
        (ty, value) if is_plain(ty, &value) => value,
        (_, value) => return Err(value),
    };
    let mut bytes = match body {
        Value::Bytes(bytes) => {
            head(&mut heads, BYTES, bytes.len() as u64);
            bytes
        }
        Value::String(text) => {
            head(&mut heads, TEXT, text.len() as u64);
            text.into_bytes()
        }
        other => return Err(other),
    };
    let heads = heads.bytes.get(..heads.len).unwrap_or_default();
    bytes.reserve_exact(heads.len());
    bytes.splice(0..0, heads.iter().copied());
    Ok(bytes)
}

/// Whether a value of this type is encoded as a head and its own bytes.
fn is_plain(ty: &WitType, value: &Value) -> bool {
    match value {
        Value::Bytes(_) => ty.is_bytes(),
        Value::String(_) => *ty == WitType::String,
        _ => false,
    }
}

/// The heads before a plain value: at most a map of one, `err` and the head of the longest string, 14 bytes.
#[derive(Default)]
struct Heads {
    bytes: [u8; 16],
    len: usize,
}

impl Sink for Heads {
    fn push(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        if let Some(place) = self.bytes.get_mut(self.len..end) {
            place.copy_from_slice(bytes);
            self.len = end;
        }
    }
}

// The major types and simple values of CBOR (RFC 8949, sections 3.1 and 3.3) that DAG-CBOR keeps.
pub(super) const UNSIGNED: u8 = 0;
pub(super) const NEGATIVE: u8 = 1;
pub(super) const BYTES: u8 = 2;
pub(super) const TEXT: u8 = 3;
pub(super) const ARRAY: u8 = 4;
pub(super) const MAP: u8 = 5;
pub(super) const FALSE: u8 = 0xf4;
pub(super) const TRUE: u8 = 0xf5;
pub(super) const NULL: u8 = 0xf6;
pub(super) const FLOAT64: u8 = 0xfb;

/// Writes a major type with its argument in the fewest bytes.
fn head(out: &mut impl Sink, major: u8, n: u64) {
    let major = major << 5;
    let be = n.to_be_bytes();
    let [.., c, d, e, f, g, h] = be;
    match n {
        0..=23 => out.push(&[major | h]),
        24..=0xff => out.push(&[major | 24, h]),
        0x100..=0xffff => out.push(&[major | 25, g, h]),
        0x1_0000..=0xffff_ffff => out.push(&[major | 26, e, f, g, h]),
        _ => {
            let [a, b, ..] = be;
            out.push(&[major | 27, a, b, c, d, e, f, g, h]);
        }
    }
}

fn text(out: &mut impl Sink, text: &str) {
    head(out, TEXT, text.len() as u64);
    out.push(text.as_bytes());
}

fn signed(out: &mut impl Sink, n: i64) {
    match u64::try_from(n) {
        Ok(n) => head(out, UNSIGNED, n),
        Err(_) => head(out, NEGATIVE, !n as u64),
    }
}

fn float(out: &mut impl Sink, v: f64) {
    match special(v) {
        Some(word) => text(out, word),
        None => {
            out.push(&[FLOAT64]);
            out.push(&v.to_be_bytes());
        }
    }
}

/// The word for a float that DAG-CBOR cannot say as a float.
fn special(v: f64) -> Option<&'static str> {
    if v.is_nan() {
        Some("nan")
    } else if v == f64::INFINITY {
        Some("inf")
    } else if v == f64::NEG_INFINITY {
        Some("-inf")
    } else if v == 0.0 && v.is_sign_negative() {
        Some("-0")
    } else {
        None
    }
}

/// Writes one value of a type.
fn put(
    out: &mut impl Sink,
    ty: &WitType,
    value: &Value,
    path: &Path<'_>,
    left: &mut usize,
) -> Result<(), ValueError> {
    spend(left, path)?;
    let wrong = || mismatch(path, ty, value.kind());
    match (ty, value) {
        (WitType::Bool, Value::Bool(v)) => out.push(&[if *v { TRUE } else { FALSE }]),
        (WitType::S8, Value::S8(v)) => signed(out, i64::from(*v)),
        (WitType::S16, Value::S16(v)) => signed(out, i64::from(*v)),
        (WitType::S32, Value::S32(v)) => signed(out, i64::from(*v)),
        (WitType::S64, Value::S64(v)) => signed(out, *v),
        (WitType::U8, Value::U8(v)) => head(out, UNSIGNED, u64::from(*v)),
        (WitType::U16, Value::U16(v)) => head(out, UNSIGNED, u64::from(*v)),
        (WitType::U32, Value::U32(v)) => head(out, UNSIGNED, u64::from(*v)),
        (WitType::U64, Value::U64(v)) => head(out, UNSIGNED, *v),
        (WitType::F32, Value::F32(v)) => float(out, f64::from(*v)),
        (WitType::F64, Value::F64(v)) => float(out, *v),
        (WitType::Char, Value::Char(v)) => text(out, v.encode_utf8(&mut [0; 4])),
        (WitType::String, Value::String(v)) => text(out, v),
        (WitType::List(_), Value::Bytes(v)) if ty.is_bytes() => {
            head(out, BYTES, v.len() as u64);
            out.push(v);
        }
        (WitType::List(element), Value::List(items)) if !ty.is_bytes() => {
            head(out, ARRAY, items.len() as u64);
            for (i, item) in items.iter().enumerate() {
                put(out, element, item, &path.index(i), left)?;
            }
        }
        (WitType::Record(fields), Value::Record(values)) if fields.len() == values.len() => {
            head(out, ARRAY, values.len() as u64);
            for (field, value) in fields.iter().zip(values) {
                put(out, &field.ty, value, &path.field(&field.name), left)?;
            }
        }
        (WitType::Tuple(types), Value::Tuple(values)) if types.len() == values.len() => {
            head(out, ARRAY, values.len() as u64);
            for (i, (ty, value)) in types.iter().zip(values).enumerate() {
                put(out, ty, value, &path.index(i), left)?;
            }
        }
        (WitType::Variant(cases), Value::Variant(index, payload)) => {
            let case = cases.get(*index as usize).ok_or_else(wrong)?;
            match (&case.ty, payload) {
                (None, None) => text(out, &case.name),
                (Some(ty), Some(payload)) => {
                    head(out, MAP, 1);
                    text(out, &case.name);
                    put(out, ty, payload, &path.field(&case.name), left)?;
                }
                _ => return Err(wrong()),
            }
        }
        (WitType::Enum(cases), Value::Enum(index)) => {
            text(out, cases.get(*index as usize).ok_or_else(wrong)?);
        }
        (WitType::Option(_), Value::Option(None)) => out.push(&[NULL]),
        (WitType::Option(ty), Value::Option(Some(payload))) => {
            if matches!(**ty, WitType::Option(_)) {
                head(out, ARRAY, 1);
            }
            put(out, ty, payload, &path.inside(), left)?;
        }
        (WitType::Result(sides), Value::Result(value)) => {
            let (name, ty, payload) = match value {
                Ok(payload) => ("ok", &sides.ok, payload),
                Err(payload) => ("err", &sides.err, payload),
            };
            head(out, MAP, 1);
            text(out, name);
            match (ty, payload) {
                (None, None) => out.push(&[NULL]),
                (Some(ty), Some(payload)) => put(out, ty, payload, &path.field(name), left)?,
                _ => return Err(wrong()),
            }
        }
        (WitType::Flags(names), Value::Flags(bits)) => {
            if !super::flags_fit(names.len(), u64::from(*bits)) {
                return Err(wrong());
            }
            head(out, UNSIGNED, u64::from(*bits));
        }
        _ => return Err(wrong()),
    }
    Ok(())
}
