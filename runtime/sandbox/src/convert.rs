//! Between the model's types and values and the engine's: structural both ways, driven by the function's type.

use actum_model::types::{Case, Field, ResultType};
use actum_model::{Value, WitType, value};
use wasmtime::component::Val;
use wasmtime::component::types::Type;

/// Bounds how large a type may get once it is written out: types share their parts, and sharing can double at each level.
#[derive(Debug)]
pub(crate) struct Budget {
    depth: usize,
    left: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { depth: 0, left: MAX_TYPE_PARTS }
    }
}

/// The most parts the types of one function may have, written out.
const MAX_TYPE_PARTS: usize = 10_000;

impl Budget {
    pub(crate) fn enter(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > value::MAX_DEPTH {
            return Err(format!("its types nest more than {} deep", value::MAX_DEPTH));
        }
        self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| format!("its types have more than {MAX_TYPE_PARTS} parts"))?;
        Ok(())
    }

    pub(crate) fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }
}

/// An engine's type as the model's, or why it has none.
pub(crate) fn wit_type(ty: &Type, budget: &mut Budget) -> Result<WitType, String> {
    budget.enter()?;
    let found = structure(ty, budget)?;
    budget.leave();
    Ok(found)
}

fn structure(ty: &Type, budget: &mut Budget) -> Result<WitType, String> {
    Ok(match ty {
        Type::Bool => WitType::Bool,
        Type::S8 => WitType::S8,
        Type::U8 => WitType::U8,
        Type::S16 => WitType::S16,
        Type::U16 => WitType::U16,
        Type::S32 => WitType::S32,
        Type::U32 => WitType::U32,
        Type::S64 => WitType::S64,
        Type::U64 => WitType::U64,
        Type::Float32 => WitType::F32,
        Type::Float64 => WitType::F64,
        Type::Char => WitType::Char,
        Type::String => WitType::String,
        Type::List(list) => WitType::List(boxed(&list.ty(), budget)?),
        Type::Option(option) => WitType::Option(boxed(&option.ty(), budget)?),
        Type::Record(record) => {
            let mut fields = Vec::new();
            for f in record.fields() {
                fields.push(Field { name: f.name.to_owned(), ty: wit_type(&f.ty, budget)? });
            }
            WitType::Record(fields)
        }
        Type::Tuple(tuple) => {
            let mut types = Vec::new();
            for t in tuple.types() {
                types.push(wit_type(&t, budget)?);
            }
            WitType::Tuple(types)
        }
        Type::Variant(variant) => {
            let mut cases = Vec::new();
            for c in variant.cases() {
                let ty = c.ty.as_ref().map(|t| wit_type(t, budget)).transpose()?;
                cases.push(Case { name: c.name.to_owned(), ty });
            }
            WitType::Variant(cases)
        }
        Type::Enum(cases) => WitType::Enum(cases.names().map(str::to_owned).collect()),
        Type::Flags(flags) => {
            let names: Vec<_> = flags.names().map(str::to_owned).collect();
            if names.len() > 32 {
                return Err("it uses flags of more than 32 names".to_owned());
            }
            WitType::Flags(names)
        }
        Type::Result(result) => WitType::Result(ResultType {
            ok: result.ok().map(|t| boxed(&t, budget)).transpose()?,
            err: result.err().map(|t| boxed(&t, budget)).transpose()?,
        }),
        Type::Own(_) | Type::Borrow(_) => return Err("it uses a resource".to_owned()),
        Type::Future(_) => return Err("it uses a future".to_owned()),
        Type::Stream(_) => return Err("it uses a stream".to_owned()),
        Type::ErrorContext => return Err("it uses an error-context".to_owned()),
        Type::Map(_) => return Err("it uses a map".to_owned()),
        Type::FixedLengthList(_) => return Err("it uses a list of fixed length".to_owned()),
    })
}

fn boxed(ty: &Type, budget: &mut Budget) -> Result<Box<WitType>, String> {
    Ok(Box::new(wit_type(ty, budget)?))
}

/// A value as the engine's. `None` when it is not of the type, which decoding has already ruled out.
pub(crate) fn lower(ty: &WitType, value: Value) -> Option<Val> {
    Some(match (ty, value) {
        (WitType::Bool, Value::Bool(v)) => Val::Bool(v),
        (WitType::S8, Value::S8(v)) => Val::S8(v),
        (WitType::U8, Value::U8(v)) => Val::U8(v),
        (WitType::S16, Value::S16(v)) => Val::S16(v),
        (WitType::U16, Value::U16(v)) => Val::U16(v),
        (WitType::S32, Value::S32(v)) => Val::S32(v),
        (WitType::U32, Value::U32(v)) => Val::U32(v),
        (WitType::S64, Value::S64(v)) => Val::S64(v),
        (WitType::U64, Value::U64(v)) => Val::U64(v),
        (WitType::F32, Value::F32(v)) => Val::Float32(v),
        (WitType::F64, Value::F64(v)) => Val::Float64(v),
        (WitType::Char, Value::Char(v)) => Val::Char(v),
        (WitType::String, Value::String(v)) => Val::String(v),
        (WitType::List(_), Value::Bytes(v)) => Val::List(v.into_iter().map(Val::U8).collect()),
        (WitType::List(t), Value::List(v)) => {
            Val::List(v.into_iter().map(|x| lower(t, x)).collect::<Option<_>>()?)
        }
        (WitType::Record(fields), Value::Record(v)) if fields.len() == v.len() => Val::Record(
            fields
                .iter()
                .zip(v)
                .map(|(f, x)| Some((f.name.clone(), lower(&f.ty, x)?)))
                .collect::<Option<_>>()?,
        ),
        (WitType::Tuple(types), Value::Tuple(v)) if types.len() == v.len() => {
            Val::Tuple(types.iter().zip(v).map(|(t, x)| lower(t, x)).collect::<Option<_>>()?)
        }
        (WitType::Variant(cases), Value::Variant(index, payload)) => {
            let case = cases.get(usize::try_from(index).ok()?)?;
            Val::Variant(case.name.clone(), lower_payload(case.ty.as_ref(), payload)?)
        }
        (WitType::Enum(cases), Value::Enum(index)) => {
            Val::Enum(cases.get(usize::try_from(index).ok()?)?.clone())
        }
        (WitType::Option(t), Value::Option(v)) => Val::Option(match v {
            Some(x) => Some(Box::new(lower(t, *x)?)),
            None => None,
        }),
        (WitType::Result(t), Value::Result(v)) => Val::Result(match v {
            Ok(x) => Ok(lower_payload(t.ok.as_deref(), x)?),
            Err(x) => Err(lower_payload(t.err.as_deref(), x)?),
        }),
        (WitType::Flags(names), Value::Flags(bits)) => Val::Flags(
            names.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1).map(|(_, n)| n.clone()).collect(),
        ),
        _ => return None,
    })
}

#[expect(
    clippy::option_option,
    reason = "outer: whether it fits the type; inner: whether there is a payload"
)]
fn lower_payload(ty: Option<&WitType>, payload: Option<Box<Value>>) -> Option<Option<Box<Val>>> {
    match (ty, payload) {
        (Some(t), Some(v)) => Some(Some(Box::new(lower(t, *v)?))),
        (None, None) => Some(None),
        _ => None,
    }
}

/// An engine's value as the model's. `None` when it is not of the type, which the engine rules out.
pub(crate) fn lift(ty: &WitType, val: Val) -> Option<Value> {
    Some(match (ty, val) {
        (WitType::Bool, Val::Bool(v)) => Value::Bool(v),
        (WitType::S8, Val::S8(v)) => Value::S8(v),
        (WitType::U8, Val::U8(v)) => Value::U8(v),
        (WitType::S16, Val::S16(v)) => Value::S16(v),
        (WitType::U16, Val::U16(v)) => Value::U16(v),
        (WitType::S32, Val::S32(v)) => Value::S32(v),
        (WitType::U32, Val::U32(v)) => Value::U32(v),
        (WitType::S64, Val::S64(v)) => Value::S64(v),
        (WitType::U64, Val::U64(v)) => Value::U64(v),
        (WitType::F32, Val::Float32(v)) => Value::F32(v),
        (WitType::F64, Val::Float64(v)) => Value::F64(v),
        (WitType::Char, Val::Char(v)) => Value::Char(v),
        (WitType::String, Val::String(v)) => Value::String(v),
        (WitType::List(t), Val::List(v)) if **t == WitType::U8 => Value::Bytes(bytes(&v)?),
        (WitType::List(t), Val::List(v)) => {
            Value::List(v.into_iter().map(|x| lift(t, x)).collect::<Option<_>>()?)
        }
        (WitType::Record(fields), Val::Record(v)) if fields.len() == v.len() => {
            Value::Record(fields.iter().zip(v).map(|(f, (_, x))| lift(&f.ty, x)).collect::<Option<_>>()?)
        }
        (WitType::Tuple(types), Val::Tuple(v)) if types.len() == v.len() => {
            Value::Tuple(types.iter().zip(v).map(|(t, x)| lift(t, x)).collect::<Option<_>>()?)
        }
        (WitType::Variant(cases), Val::Variant(name, payload)) => {
            let index = cases.iter().position(|c| c.name == name)?;
            let ty = cases.get(index).and_then(|c| c.ty.as_ref());
            Value::Variant(u32::try_from(index).ok()?, lift_payload(ty, payload)?)
        }
        (WitType::Enum(cases), Val::Enum(name)) => {
            Value::Enum(u32::try_from(cases.iter().position(|c| *c == name)?).ok()?)
        }
        (WitType::Option(t), Val::Option(v)) => Value::Option(match v {
            Some(x) => Some(Box::new(lift(t, *x)?)),
            None => None,
        }),
        (WitType::Result(t), Val::Result(v)) => Value::Result(match v {
            Ok(x) => Ok(lift_payload(t.ok.as_deref(), x)?),
            Err(x) => Err(lift_payload(t.err.as_deref(), x)?),
        }),
        (WitType::Flags(names), Val::Flags(set)) => {
            let mut bits = 0u32;
            for name in set {
                bits |= 1u32.checked_shl(u32::try_from(names.iter().position(|n| *n == name)?).ok()?)?;
            }
            Value::Flags(bits)
        }
        _ => return None,
    })
}

/// Bytes, one value each. Into a buffer of their own: collecting in place would keep 40 bytes for each.
fn bytes(values: &[Val]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(values.len());
    for value in values {
        let Val::U8(byte) = value else { return None };
        bytes.push(*byte);
    }
    Some(bytes)
}

#[expect(
    clippy::option_option,
    reason = "outer: whether it fits the type; inner: whether there is a payload"
)]
fn lift_payload(ty: Option<&WitType>, payload: Option<Box<Val>>) -> Option<Option<Box<Value>>> {
    match (ty, payload) {
        (Some(t), Some(v)) => Some(Some(Box::new(lift(t, *v)?))),
        (None, None) => Some(None),
        _ => None,
    }
}
