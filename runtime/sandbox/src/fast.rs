//! The typed path: signatures of bytes, strings and small numbers, called without a dynamic value per byte.
//!
//! Dynamic calls cost one enum per byte of a `list<u8>`: a hundred times the copy. Both paths make the same calls into
//! the guest, so fuel, memory and output are the same; a test compares them for every signature here.

use crate::world::State;
use actum_model::types::ResultType;
use actum_model::{BlobId, Param, Value, WitType};
use wasmtime::Store;
use wasmtime::component::{ComponentNamedList, Func, Lift, Lower};

/// Calls a function of one known signature. `None` inside: the values are not of that signature.
pub(crate) type Call = fn(&mut Store<State>, &Func, &[Plain<'_>]) -> wasmtime::Result<Option<Value>>;

/// An argument of a typed signature, borrowed from the encoded arguments: a megabyte is not copied before the guest
/// gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plain<'a> {
    Bytes(&'a [u8]),
    Text(&'a str),
    U32(u32),
}

/// The most parameters a typed signature has.
const MOST: usize = 3;

/// The arguments of a typed signature.
#[derive(Debug)]
pub(crate) struct Plains<'a> {
    values: [Plain<'a>; MOST],
    count: usize,
}

impl<'a> Plains<'a> {
    fn none() -> Self {
        Self { values: [Plain::U32(0); MOST], count: 0 }
    }

    fn push(&mut self, value: Plain<'a>) -> Option<()> {
        *self.values.get_mut(self.count)? = value;
        self.count += 1;
        Some(())
    }

    pub(crate) fn as_slice(&self) -> &[Plain<'a>] {
        self.values.get(..self.count).unwrap_or_default()
    }
}

/// Reads the canonical encoding of a typed signature's arguments: an array of byte strings, texts and small numbers.
///
/// `None` for anything else, canonical or not: the model's decoder then decides, and says what is wrong.
pub(crate) fn read<'a>(params: &[Param], mut args: &'a [u8]) -> Option<Plains<'a>> {
    let count = head(&mut args, 4)?;
    if count != u64::try_from(params.len()).ok()? {
        return None;
    }
    let mut values = Plains::none();
    for param in params {
        let mut string = |major| {
            let len = usize::try_from(head(&mut args, major)?).ok()?;
            let (text, rest) = args.split_at_checked(len)?;
            args = rest;
            Some(text)
        };
        values.push(match &param.ty {
            WitType::String => Plain::Text(std::str::from_utf8(string(3)?).ok()?),
            WitType::U32 => Plain::U32(u32::try_from(head(&mut args, 0)?).ok()?),
            ty if ty.is_bytes() => Plain::Bytes(string(2)?),
            _ => return None,
        })?;
    }
    args.is_empty().then_some(values)
}

/// Takes the head of one CBOR item of this major type, in its shortest form only.
fn head(bytes: &mut &[u8], major: u8) -> Option<u64> {
    let (first, rest) = bytes.split_first()?;
    if first >> 5 != major {
        return None;
    }
    let short = first & 0x1f;
    let (width, least) = match short {
        0..=23 => (0, 0),
        24 => (1, 24),
        25 => (2, 1 << 8),
        26 => (4, 1 << 16),
        27 => (8, 1 << 32),
        _ => return None,
    };
    let (long, rest) = rest.split_at_checked(width)?;
    let value = match width {
        0 => u64::from(short),
        _ => long.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)),
    };
    *bytes = rest;
    (value >= least).then_some(value)
}

/// A parameter type with a typed form.
trait Input {
    type Of<'a>: Lower + Send + Sync;
    fn ty() -> WitType;
    fn from(value: Plain<'_>) -> Option<Self::Of<'_>>;
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
    fn from(value: Plain<'_>) -> Option<&[u8]> {
        if let Plain::Bytes(v) = value { Some(v) } else { None }
    }
}

impl Input for Text {
    type Of<'a> = &'a str;
    fn ty() -> WitType {
        WitType::String
    }
    fn from(value: Plain<'_>) -> Option<&str> {
        if let Plain::Text(v) = value { Some(v) } else { None }
    }
}

impl Input for u32 {
    type Of<'a> = Self;
    fn ty() -> WitType {
        WitType::U32
    }
    fn from(value: Plain<'_>) -> Option<Self> {
        if let Plain::U32(v) = value { Some(v) } else { None }
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

macro_rules! numbers {
    ($($name:ident $case:ident),+) => {
        $(impl Output for $name {
            fn ty() -> Option<WitType> {
                Some(WitType::$case)
            }
            fn into(self) -> Option<Value> {
                Some(Value::$case(self))
            }
        })+
    };
}
numbers!(bool Bool, u32 U32, u64 U64);

impl Output for Vec<String> {
    fn ty() -> Option<WitType> {
        Some(WitType::List(Box::new(WitType::String)))
    }
    fn into(self) -> Option<Value> {
        Some(Value::List(self.into_iter().map(Value::String).collect()))
    }
}

impl<T: Output> Output for Option<T> {
    fn ty() -> Option<WitType> {
        Some(WitType::Option(Box::new(T::ty()?)))
    }
    fn into(self) -> Option<Value> {
        Some(Value::Option(match self {
            Some(v) => Some(Box::new(v.into()?)),
            None => None,
        }))
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
    fn from<'a>(values: &[Plain<'a>]) -> Option<Self::Of<'a>>;
}

macro_rules! inputs {
    ($($name:ident $value:ident),+) => {
        impl<$($name: Input),+> Inputs for ($($name,)+) {
            type Of<'a> = ($($name::Of<'a>,)+);
            fn types() -> Vec<WitType> {
                vec![$($name::ty()),+]
            }
            fn from<'a>(values: &[Plain<'a>]) -> Option<Self::Of<'a>> {
                let [$($value),+] = values else { return None };
                Some(($($name::from(*$value)?,)+))
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
    values: &[Plain<'_>],
) -> wasmtime::Result<Option<Value>> {
    let Some(params) = P::from(values) else { return Ok(None) };
    let typed = func.typed::<P::Of<'_>, (R,)>(&mut *store)?;
    let (result,) = typed.call(&mut *store, params)?;
    Ok(result.into())
}

/// Gives every result with a typed form to a macro.
macro_rules! results {
    ($to:ident) => {
        $to!(
            Vec<u8>,
            String,
            Vec<String>,
            Option<Vec<u8>>,
            bool,
            u32,
            u64,
            Result<Vec<u8>, String>,
            Result<String, String>,
            Result<Vec<u8>, Vec<u8>>,
        )
    };
}

/// Gives every list of parameters with a typed form to a macro.
macro_rules! lists {
    ($to:ident) => {
        $to!(
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
        )
    };
}

fn pick_result<P: Inputs>(result: &WitType) -> Option<Call> {
    macro_rules! first {
        ($($out:ty),+ $(,)?) => {
            $(if <$out as Output>::ty().as_ref() == Some(result) {
                return Some(call::<P, $out>);
            })+
        };
    }
    results!(first);
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
    lists!(first);
    None
}

/// The digest of the table. It is part of the profile: the engine counts what crosses differently for typed and for
/// dynamic values, so the table decides where the bound on crossing is met.
pub(crate) fn table() -> String {
    let mut text = String::new();
    macro_rules! note_lists {
        ($($list:ty),+ $(,)?) => {
            $(text += &format!("{:?}\n", <$list as Inputs>::types());)+
        };
    }
    macro_rules! note_results {
        ($($out:ty),+ $(,)?) => {
            $(text += &format!("{:?}\n", <$out as Output>::ty());)+
        };
    }
    lists!(note_lists);
    results!(note_results);
    BlobId::of(text.as_bytes()).to_string()
}
