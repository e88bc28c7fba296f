//! From values to JSON.

use crate::{Value, WitType};
use data_encoding::BASE64;
use serde_json::{Map, Number, Value as Json};

/// The largest integer up to which every JSON reader keeps integers exact: 2^53.
const MAX_EXACT: u64 = 1 << 53;

/// `None` where the value is not of the type.
pub(super) fn value(ty: &WitType, v: &Value) -> Option<Json> {
    Some(match (ty, v) {
        (WitType::Bool, Value::Bool(v)) => Json::from(*v),
        (WitType::S8, Value::S8(v)) => Json::from(*v),
        (WitType::S16, Value::S16(v)) => Json::from(*v),
        (WitType::S32, Value::S32(v)) => Json::from(*v),
        (WitType::U8, Value::U8(v)) => Json::from(*v),
        (WitType::U16, Value::U16(v)) => Json::from(*v),
        (WitType::U32, Value::U32(v)) => Json::from(*v),
        (WitType::S64, Value::S64(v)) if v.unsigned_abs() <= MAX_EXACT => Json::from(*v),
        (WitType::S64, Value::S64(v)) => Json::from(v.to_string()),
        (WitType::U64, Value::U64(v)) if *v <= MAX_EXACT => Json::from(*v),
        (WitType::U64, Value::U64(v)) => Json::from(v.to_string()),
        (WitType::F32, Value::F32(v)) => float(short(*v)),
        (WitType::F64, Value::F64(v)) => float(*v),
        (WitType::Char, Value::Char(v)) => Json::from(v.to_string()),
        (WitType::String, Value::String(v)) => Json::from(v.as_str()),
        (WitType::List(_), Value::Bytes(v)) if ty.is_bytes() => Json::from(BASE64.encode(v)),
        (WitType::List(element), Value::List(items)) if !ty.is_bytes() => {
            items.iter().map(|item| value(element, item)).collect::<Option<Vec<_>>>()?.into()
        }
        (WitType::Record(fields), Value::Record(values)) if fields.len() == values.len() => fields
            .iter()
            .zip(values)
            .map(|(f, v)| Some((f.name.clone(), value(&f.ty, v)?)))
            .collect::<Option<Map<_, _>>>()?
            .into(),
        (WitType::Tuple(types), Value::Tuple(values)) if types.len() == values.len() => {
            types.iter().zip(values).map(|(t, v)| value(t, v)).collect::<Option<Vec<_>>>()?.into()
        }
        (WitType::Variant(cases), Value::Variant(index, payload)) => {
            let case = cases.get(*index as usize)?;
            match (&case.ty, payload) {
                (None, None) => Json::from(case.name.as_str()),
                (Some(ty), Some(payload)) => single(&case.name, value(ty, payload)?),
                _ => return None,
            }
        }
        (WitType::Enum(cases), Value::Enum(index)) => Json::from(cases.get(*index as usize)?.as_str()),
        (WitType::Option(_), Value::Option(None)) => Json::Null,
        (WitType::Option(ty), Value::Option(Some(payload))) => {
            let inner = value(ty, payload)?;
            if matches!(**ty, WitType::Option(_)) { single("some", inner) } else { inner }
        }
        (WitType::Result(sides), Value::Result(v)) => {
            let (name, ty, payload) = match v {
                Ok(payload) => ("ok", &sides.ok, payload),
                Err(payload) => ("err", &sides.err, payload),
            };
            match (ty, payload) {
                (None, None) => Json::from(name),
                (Some(ty), Some(payload)) => single(name, value(ty, payload)?),
                _ => return None,
            }
        }
        (WitType::Flags(names), Value::Flags(bits)) => (0_u32..)
            .zip(names)
            .filter(|(i, _)| bits.checked_shr(*i).unwrap_or(0) & 1 == 1)
            .map(|(_, name)| Json::from(name.as_str()))
            .collect::<Vec<_>>()
            .into(),
        _ => return None,
    })
}

fn single(name: &str, payload: Json) -> Json {
    Map::from_iter([(name.to_owned(), payload)]).into()
}

fn float(v: f64) -> Json {
    match Number::from_f64(v) {
        Some(n) => n.into(),
        None if v.is_nan() => "nan".into(),
        None if v > 0.0 => "inf".into(),
        None => "-inf".into(),
    }
}

/// The `f64` that prints as the `f32` does, 0.1 and not 0.10000000149011612, where it reads back as the same `f32`.
pub(crate) fn short(v: f32) -> f64 {
    match v.to_string().parse::<f64>() {
        Ok(wide) if wide as f32 == v => wide,
        _ => f64::from(v),
    }
}
