//! Types and values out of raw bytes.

use actum_model::types::{Case, Field, ResultType};
use actum_model::{Param, Value, WitType};
use arbitrary::{Result, Unstructured};

/// Up to four parameters.
pub(crate) fn params(u: &mut Unstructured<'_>) -> Result<Vec<Param>> {
    let count = u.int_in_range(0..=4)?;
    (0..count).map(|n| Ok(Param { name: format!("p{n}"), ty: ty(u, 0)? })).collect()
}

fn boxed(u: &mut Unstructured<'_>, depth: usize) -> Result<Option<Box<WitType>>> {
    u.ratio(3, 4)?.then(|| ty(u, depth).map(Box::new)).transpose()
}

fn names(u: &mut Unstructured<'_>, most: usize) -> Result<Vec<String>> {
    Ok((0..u.int_in_range(1..=most)?).map(|n| format!("n{n}")).collect())
}

fn ty(u: &mut Unstructured<'_>, depth: usize) -> Result<WitType> {
    let deeper = depth + 1;
    let simple = [
        WitType::Bool,
        WitType::S8,
        WitType::U8,
        WitType::S16,
        WitType::U16,
        WitType::S32,
        WitType::U32,
        WitType::S64,
        WitType::U64,
        WitType::F32,
        WitType::F64,
        WitType::Char,
        WitType::String,
    ];
    let kind = u.int_in_range(0..=if depth < 4 { 21 } else { 12 })?;
    Ok(match kind {
        13 | 14 => WitType::List(Box::new(ty(u, deeper)?)),
        15 => {
            let names = names(u, 4)?;
            let fields = names.into_iter().map(|name| Ok(Field { name, ty: ty(u, deeper)? }));
            WitType::Record(fields.collect::<Result<_>>()?)
        }
        16 => {
            let count = u.int_in_range(1..=4)?;
            WitType::Tuple((0..count).map(|_| ty(u, deeper)).collect::<Result<_>>()?)
        }
        17 => {
            let names = names(u, 4)?;
            let case = |name| Ok(Case { name, ty: boxed(u, deeper)?.map(|t| *t) });
            WitType::Variant(names.into_iter().map(case).collect::<Result<_>>()?)
        }
        18 => WitType::Enum(names(u, 5)?),
        19 => WitType::Option(Box::new(ty(u, deeper)?)),
        20 => WitType::Result(ResultType { ok: boxed(u, deeper)?, err: boxed(u, deeper)? }),
        21 => WitType::Flags(names(u, 32)?),
        n => simple[n].clone(),
    })
}

fn payload(u: &mut Unstructured<'_>, ty: Option<&WitType>) -> Result<Option<Box<Value>>> {
    ty.map(|t| value(u, t).map(Box::new)).transpose()
}

/// A value of a type.
pub(crate) fn value(u: &mut Unstructured<'_>, ty: &WitType) -> Result<Value> {
    Ok(match ty {
        WitType::Bool => Value::Bool(u.arbitrary()?),
        WitType::S8 => Value::S8(u.arbitrary()?),
        WitType::U8 => Value::U8(u.arbitrary()?),
        WitType::S16 => Value::S16(u.arbitrary()?),
        WitType::U16 => Value::U16(u.arbitrary()?),
        WitType::S32 => Value::S32(u.arbitrary()?),
        WitType::U32 => Value::U32(u.arbitrary()?),
        WitType::S64 => Value::S64(u.arbitrary()?),
        WitType::U64 => Value::U64(u.arbitrary()?),
        WitType::F32 => Value::F32(f32::from_bits(u.arbitrary()?)),
        WitType::F64 => Value::F64(f64::from_bits(u.arbitrary()?)),
        WitType::Char => Value::Char(u.arbitrary()?),
        WitType::String => Value::String(u.arbitrary()?),
        WitType::List(t) if **t == WitType::U8 => Value::Bytes(u.arbitrary()?),
        WitType::List(t) => {
            let count = u.int_in_range(0..=5)?;
            Value::List((0..count).map(|_| value(u, t)).collect::<Result<_>>()?)
        }
        WitType::Record(fields) => {
            Value::Record(fields.iter().map(|f| value(u, &f.ty)).collect::<Result<_>>()?)
        }
        WitType::Tuple(types) => Value::Tuple(types.iter().map(|t| value(u, t)).collect::<Result<_>>()?),
        WitType::Variant(cases) => {
            let index = u.choose_index(cases.len())?;
            Value::Variant(u32::try_from(index).unwrap_or_default(), payload(u, cases[index].ty.as_ref())?)
        }
        WitType::Enum(cases) => Value::Enum(u32::try_from(u.choose_index(cases.len())?).unwrap_or_default()),
        WitType::Option(t) => Value::Option(if u.arbitrary()? { payload(u, Some(t))? } else { None }),
        WitType::Result(t) => Value::Result(if u.arbitrary()? {
            Ok(payload(u, t.ok.as_deref())?)
        } else {
            Err(payload(u, t.err.as_deref())?)
        }),
        WitType::Flags(names) => {
            let all = u32::MAX.checked_shr(32 - u32::try_from(names.len()).unwrap_or(32)).unwrap_or(0);
            Value::Flags(u.arbitrary::<u32>()? & all)
        }
    })
}
