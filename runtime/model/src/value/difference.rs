//! Where two values of one type first differ.

use super::Value;
use crate::{WitType, json};

/// Characters shown of each side.
const EXCERPT: usize = 80;

/// Bytes of a `list<u8>` shown of each side.
const BYTES: usize = 24;

/// The first place where two values of one type differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The place, e.g. `.ok.rows[3].key`; empty for the value itself.
    pub path: String,
    /// One side there, as JSON, at most 80 characters.
    pub left: String,
    /// The other side there.
    pub right: String,
}

/// The first place, in the order of the type, where `left` and `right` differ; none where they are equal.
///
/// Both must be of type `ty`, as [`super::decode_result`] gives them.
pub fn difference(ty: &WitType, left: &Value, right: &Value) -> Option<Difference> {
    // NaN is canonical, so it equals itself in the encoding; compare as written.
    let shown = |v: &Value| json::to_json(ty, v).to_string();
    let here = || {
        let (left, right) = (shown(left), shown(right));
        (left != right).then(|| Difference { path: String::new(), left: cut(&left), right: cut(&right) })
    };
    let inside = |step: String, ty: &WitType, a: &Value, b: &Value| {
        difference(ty, a, b).map(|d| Difference { path: format!("{step}{}", d.path), ..d })
    };
    match (ty, left, right) {
        (WitType::Record(fields), Value::Record(a), Value::Record(b)) => fields
            .iter()
            .zip(a.iter().zip(b))
            .find_map(|(field, (a, b))| inside(format!(".{}", field.name), &field.ty, a, b)),
        (WitType::Tuple(types), Value::Tuple(a), Value::Tuple(b)) => {
            let items = types.iter().zip(a.iter().zip(b)).enumerate();
            items.map(|(i, (ty, (a, b)))| inside(format!("[{i}]"), ty, a, b)).find_map(|d| d)
        }
        (WitType::List(ty), Value::List(a), Value::List(b)) if a.len() == b.len() => {
            let items = a.iter().zip(b).enumerate();
            items.map(|(i, (a, b))| inside(format!("[{i}]"), ty, a, b)).find_map(|d| d)
        }
        (WitType::List(_), Value::List(a), Value::List(b)) => Some(Difference {
            path: String::new(),
            left: format!("{} items", a.len()),
            right: format!("{} items", b.len()),
        }),
        (WitType::List(_), Value::Bytes(a), Value::Bytes(b)) => {
            let at = a.iter().zip(b).take_while(|(a, b)| a == b).count();
            let side = |v: &[u8]| match v.get(at..) {
                Some(rest) if !rest.is_empty() => {
                    let shown = rest.get(..BYTES).unwrap_or(rest);
                    let more = if rest.len() > BYTES { "…" } else { "" };
                    format!("\"{}\"{more} ({} bytes)", shown.escape_ascii(), v.len())
                }
                _ => format!("the end ({} bytes)", v.len()),
            };
            (a != b).then(|| Difference { path: format!("[{at}]"), left: side(a), right: side(b) })
        }
        (WitType::Option(ty), Value::Option(Some(a)), Value::Option(Some(b))) => {
            inside(String::new(), ty, a, b)
        }
        (WitType::Result(r), Value::Result(Ok(Some(a))), Value::Result(Ok(Some(b)))) => {
            inside(".ok".to_owned(), r.ok.as_deref()?, a, b)
        }
        (WitType::Result(r), Value::Result(Err(Some(a))), Value::Result(Err(Some(b)))) => {
            inside(".err".to_owned(), r.err.as_deref()?, a, b)
        }
        (WitType::Variant(cases), Value::Variant(a, Some(x)), Value::Variant(b, Some(y))) if a == b => {
            let case = cases.get(usize::try_from(*a).ok()?)?;
            inside(format!(".{}", case.name), case.ty.as_ref()?, x, y)
        }
        (WitType::String, Value::String(a), Value::String(b)) if a.len() > EXCERPT || b.len() > EXCERPT => {
            let at = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
            let side =
                |v: &str| format!("from character {at}: {}", cut(&v.chars().skip(at).collect::<String>()));
            (a != b).then(|| Difference { path: String::new(), left: side(a), right: side(b) })
        }
        _ => here(),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Field, ResultType};

    fn row(name: &str, count: u64) -> Value {
        Value::Record(vec![Value::String(name.to_owned()), Value::U64(count)])
    }

    #[test]
    fn the_place_and_both_sides_are_named() {
        let field = |name: &str, ty| Field { name: name.to_owned(), ty };
        let record = WitType::Record(vec![field("name", WitType::String), field("count", WitType::U64)]);
        let list = WitType::List(Box::new(record));
        let ty = WitType::Result(ResultType { ok: Some(Box::new(list)), err: None });
        let ok = |rows| Value::Result(Ok(Some(Box::new(Value::List(rows)))));
        let found = difference(&ty, &ok(vec![row("a", 1), row("b", 2)]), &ok(vec![row("a", 1), row("b", 3)]));
        let wanted = Difference { path: ".ok[1].count".into(), left: "2".into(), right: "3".into() };
        assert_eq!(found, Some(wanted));
        let found = difference(&ty, &ok(vec![row("a", 1)]), &ok(vec![]));
        assert_eq!(found.map(|d| (d.left, d.right)), Some(("1 items".into(), "0 items".into())));
        let same = ok(vec![row("a", 1)]);
        assert_eq!(difference(&ty, &same, &same), None);
        let found = difference(&ty, &same, &Value::Result(Err(None)));
        assert_eq!(found.map(|d| d.path), Some(String::new()));
    }

    #[test]
    fn bytes_differ_at_an_offset() {
        let found = difference(&WitType::bytes(), &Value::Bytes(vec![1, 2]), &Value::Bytes(vec![1, 2, 3]));
        let wanted = Difference {
            path: "[2]".into(),
            left: "the end (2 bytes)".into(),
            right: "\"\\x03\" (3 bytes)".into(),
        };
        assert_eq!(found, Some(wanted));
    }
}
