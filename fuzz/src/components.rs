//! Components: whatever loads can be run without the host failing.

use crate::arguments::{action, sandbox, timeless};
use actum_model::value::encode_params;
use actum_model::{Outcome, Value, WitType};
use std::time::{Duration, Instant};

/// The first value of a type that one would think of.
fn default(ty: &WitType) -> Value {
    let some = |ty: Option<&WitType>| ty.map(|t| Box::new(default(t)));
    match ty {
        WitType::Bool => Value::Bool(false),
        WitType::S8 => Value::S8(0),
        WitType::U8 => Value::U8(0),
        WitType::S16 => Value::S16(0),
        WitType::U16 => Value::U16(0),
        WitType::S32 => Value::S32(0),
        WitType::U32 => Value::U32(0),
        WitType::S64 => Value::S64(0),
        WitType::U64 => Value::U64(0),
        WitType::F32 => Value::F32(0.0),
        WitType::F64 => Value::F64(0.0),
        WitType::Char => Value::Char('a'),
        WitType::String => Value::String("text".to_owned()),
        WitType::List(t) if **t == WitType::U8 => Value::Bytes(b"bytes".to_vec()),
        WitType::List(t) => Value::List(vec![default(t)]),
        WitType::Record(fields) => Value::Record(fields.iter().map(|f| default(&f.ty)).collect()),
        WitType::Tuple(types) => Value::Tuple(types.iter().map(default).collect()),
        WitType::Variant(cases) => Value::Variant(0, some(cases.first().and_then(|c| c.ty.as_ref()))),
        WitType::Enum(_) => Value::Enum(0),
        WitType::Option(t) => Value::Option(some(Some(t))),
        WitType::Result(t) => Value::Result(Ok(some(t.ok.as_deref()))),
        WitType::Flags(_) => Value::Flags(0),
    }
}

/// The component an input stands for: text up to the first zero byte, then changes to the binary made from it, each a
/// position in two bytes and a value in one. What does not begin as text is the binary itself.
fn component(data: &[u8]) -> Option<Vec<u8>> {
    if !data.starts_with(b"(") {
        return Some(data.to_vec());
    }
    let end = data.iter().position(|b| *b == 0).unwrap_or(data.len());
    let (text, changes) = data.split_at(end);
    let mut bytes = wat::parse_str(std::str::from_utf8(text).ok()?).ok()?;
    for change in changes.get(1..).unwrap_or_default().chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % bytes.len();
        bytes[at] = change[2];
    }
    Some(bytes)
}

/// Loads the bytes as a component; runs every export on default arguments, twice.
pub(crate) fn load(data: &[u8]) {
    let Some(bytes) = component(data) else { return };
    let start = Instant::now();
    let Ok(loaded) = sandbox().load(&bytes) else { return };
    for (n, function) in loaded.functions().iter().enumerate() {
        let values: Vec<_> = function.params.iter().map(|p| default(&p.ty)).collect();
        // A type may be too large for any value of it to be written down.
        let Ok(args) = encode_params(&function.params, &values) else { continue };
        let action = action(&loaded, n, &args, 20_000);
        let [first, again] = [(); 2].map(|()| timeless(sandbox().execute(&loaded, &action, &args)));
        let first = first.unwrap_or_else(|e| panic!("{}: {e}", function.name));
        assert_ne!(first.outcome, Outcome::TimedOut, "{}", function.name);
        assert_eq!(Ok(first), again, "{}", function.name);
    }
    assert!(start.elapsed() < Duration::from_secs(10), "took {:?}", start.elapsed());
}

#[cfg(test)]
mod tests {
    use super::component;
    use crate::arguments::sandbox;

    #[test]
    fn every_committed_component_loads() {
        for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/components")).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|e| e == "wat") {
                let bytes = component(&std::fs::read(&path).unwrap());
                let bytes = bytes.unwrap_or_else(|| panic!("{} does not parse", path.display()));
                sandbox().load(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            }
        }
    }
}
