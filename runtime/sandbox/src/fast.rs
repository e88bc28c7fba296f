//! The typed path: signatures of bytes, strings and small numbers, called without a dynamic value per byte.
//!
//! Dynamic calls cost one enum per byte of a `list<u8>`: a hundred times the copy. Both paths make the same calls into
//! the guest, so fuel, memory and output are the same; a test compares them for every signature here.

use crate::world::State;
use actum_model::types::ResultType;
use actum_model::{Param, Value, WitType};
use wasmtime::Store;
use wasmtime::component::{ComponentNamedList, Func, Lift, Lower};

/// Calls a function of one known signature. `None` inside: the values are not of that signature.
pub(crate) type Call = fn(&mut Store<State>, &Func, &[Value]) -> wasmtime::Result<Option<Value>>;

/// A parameter type with a typed form.
trait Input {
    type Of<'a>: Lower + Send + Sync;
    fn ty() -> WitType;
    fn from(value: &Value) -> Option<Self::Of<'_>>;
}

/// A result type with a typed form.
trait Output: Lift + Send + Sync + 'static {
    fn ty() -> Option<WitType>;
    fn into(self) -> Option<Value>;
}

struct Bytes;
struct Text;

impl Input for Bytes {
    type Of<'a> = &'a [u8];
    fn ty() -> WitType {
        WitType::bytes()
    }
    fn from(value: &Value) -> Option<&[u8]> {
        if let Value::Bytes(v) = value { Some(v) } else { None }
    }
}

impl Input for Text {
    type Of<'a> = &'a str;
    fn ty() -> WitType {
        WitType::String
    }
    fn from(value: &Value) -> Option<&str> {
        if let Value::String(v) = value { Some(v) } else { None }
    }
}

impl Input for u32 {
    type Of<'a> = Self;
    fn ty() -> WitType {
        WitType::U32
    }
    fn from(value: &Value) -> Option<Self> {
        if let Value::U32(v) = value { Some(*v) } else { None }
    }
}

impl Output for Vec<u8> {
    fn ty() -> Option<WitType> {
        Some(WitType::bytes())
    }
    fn into(self) -> Option<Value> {
        Some(Value::Bytes(self))
    }
}

impl Output for String {
    fn ty() -> Option<WitType> {
        Some(WitType::String)
    }
    fn into(self) -> Option<Value> {
        Some(Value::String(self))
    }
}

impl<T: Output, E: Output> Output for Result<T, E> {
    fn ty() -> Option<WitType> {
        let (ok, err) = (T::ty()?, E::ty()?);
        Some(WitType::Result(ResultType { ok: Some(Box::new(ok)), err: Some(Box::new(err)) }))
    }
    fn into(self) -> Option<Value> {
        Some(Value::Result(match self {
            Ok(v) => Ok(Some(Box::new(v.into()?))),
            Err(e) => Err(Some(Box::new(e.into()?))),
        }))
    }
}

/// A list of parameters with a typed form.
trait Inputs {
    type Of<'a>: ComponentNamedList + Lower + Send + Sync;
    fn types() -> Vec<WitType>;
    fn from(values: &[Value]) -> Option<Self::Of<'_>>;
}

macro_rules! inputs {
    ($($name:ident $value:ident),+) => {
        impl<$($name: Input),+> Inputs for ($($name,)+) {
            type Of<'a> = ($($name::Of<'a>,)+);
            fn types() -> Vec<WitType> {
                vec![$($name::ty()),+]
            }
            fn from(values: &[Value]) -> Option<Self::Of<'_>> {
                let [$($value),+] = values else { return None };
                Some(($($name::from($value)?,)+))
            }
        }
    };
}

inputs!(A a);
inputs!(A a, B b);
inputs!(A a, B b, C c);

fn call<P: Inputs, R: Output>(
    store: &mut Store<State>,
    func: &Func,
    values: &[Value],
) -> wasmtime::Result<Option<Value>> {
    let Some(params) = P::from(values) else { return Ok(None) };
    let typed = func.typed::<P::Of<'_>, (R,)>(&mut *store)?;
    let (result,) = typed.call(&mut *store, params)?;
    Ok(result.into())
}

fn pick_result<P: Inputs>(result: &WitType) -> Option<Call> {
    macro_rules! first {
        ($($out:ty),+ $(,)?) => {
            $(if <$out as Output>::ty().as_ref() == Some(result) {
                return Some(call::<P, $out>);
            })+
        };
    }
    first!(
        Vec<u8>,
        String,
        Result<Vec<u8>, String>,
        Result<String, String>,
        Result<Vec<u8>, Vec<u8>>,
    );
    None
}

/// The typed call for a signature, where there is one.
pub(crate) fn pick(params: &[Param], result: Option<&WitType>) -> Option<Call> {
    let result = result?;
    macro_rules! first {
        ($($list:ty),+ $(,)?) => {
            $(if <$list as Inputs>::types().iter().eq(params.iter().map(|p| &p.ty)) {
                return pick_result::<$list>(result);
            })+
        };
    }
    first!(
        (Bytes,),
        (Text,),
        (Bytes, Bytes),
        (Bytes, Text),
        (Bytes, u32),
        (Text, Bytes),
        (Text, Text),
        (Text, u32),
        (Bytes, u32, u32),
        (Text, Text, Text),
    );
    None
}
