//! References in a plan's arguments: `{{input.text}}`, `{{steps.summary.output.ok[0].text}}`, and what stands in their place.
//!
//! A text that is one reference and nothing else becomes the value itself; within a text, texts are put in as they are and
//! everything else as JSON on one line. `| bytes` gives a text's bytes in the form that a `list<u8>` has in JSON. What is put
//! in is never searched for references again: a stranger's output cannot reach for other steps'.

use serde_json::{Map, Value as Json};
use std::{collections::BTreeMap, fmt};

/// The most bytes that a step's arguments may have once everything is put in, counted roughly: 128 MiB, twice what an output
/// may have. References can name the same output again and again.
pub(super) const MAX_FILLED_BYTES: usize = 128 << 20;
/// What a value costs besides its text, in bytes.
const VALUE_BYTES: usize = 16;
/// The most parts of one reference's path.
const MAX_PATH: usize = 32;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// An input of the flow.
    Input(String),
    /// The output of a step.
    Step(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Field(String),
    Index(usize),
}

/// One reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) source: Source,
    path: Vec<Part>,
    bytes: bool,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Input(name) => write!(f, "input.{name}")?,
            Source::Step(name) => write!(f, "steps.{name}.output")?,
        }
        for part in &self.path {
            match part {
                Part::Field(name) => write!(f, ".{name}")?,
                Part::Index(n) => write!(f, "[{n}]")?,
            }
        }
        if self.bytes { f.write_str(" | bytes") } else { Ok(()) }
    }
}

impl Reference {
    fn read(text: &str) -> Result<Self, String> {
        let (path, bytes) = match text.split_once('|') {
            Some((path, filter)) if filter.trim() == "bytes" => (path.trim(), true),
            Some((_, filter)) => {
                return Err(format!("{:?} is no filter: the only one is `| bytes`", filter.trim()));
            }
            None => (text.trim(), false),
        };
        let mut parts = parts(path)?.into_iter();
        let (root, name) = (parts.next(), parts.next());
        let source = match (root, name) {
            (Some(Part::Field(root)), Some(Part::Field(name))) if root == "input" => Source::Input(name),
            (Some(Part::Field(root)), Some(Part::Field(name))) if root == "steps" => match parts.next() {
                Some(Part::Field(output)) if output == "output" => Source::Step(name),
                _ => return Err(format!("of a step there is its output: write steps.{name}.output")),
            },
            _ => {
                return Err(format!(
                    "{path:?} is no reference: write input.<name> or steps.<step>.output, with a path such as .field[0] after it"
                ));
            }
        };
        let path: Vec<_> = parts.collect();
        if path.len() > MAX_PATH {
            return Err(format!("a path of {} parts where {MAX_PATH} are allowed", path.len()));
        }
        Ok(Self { source, path, bytes })
    }

    /// What it means now.
    fn value<'a>(&self, values: &Values<'a>) -> Result<&'a Json, String> {
        let (what, mut value) = match &self.source {
            Source::Input(name) => (format!("input.{name}"), values.inputs.get(name)),
            Source::Step(name) => (format!("steps.{name}.output"), values.outputs.get(name)),
        };
        let mut at = what;
        for part in &self.path {
            let found = value.ok_or_else(|| format!("there is no {at}"))?;
            value = match part {
                Part::Field(name) => {
                    at = format!("{at}.{name}");
                    found.as_object().and_then(|o| o.get(name))
                }
                Part::Index(n) => {
                    at = format!("{at}[{n}]");
                    found.as_array().and_then(|a| a.get(*n))
                }
            };
            if value.is_none() {
                return Err(format!("there is no {at}: {}", describe(found)));
            }
        }
        value.ok_or_else(|| format!("there is no {at}"))
    }
}

/// What a value is, for whoever looked for something else in it. No text of a stranger's but the names of fields.
fn describe(value: &Json) -> String {
    match value {
        Json::Object(fields) => {
            let names: Vec<_> = fields.keys().take(8).map(String::as_str).collect();
            format!("there it has the fields {}", names.join(", "))
        }
        Json::Array(items) => format!("there is a list of {}", items.len()),
        Json::String(_) => "there is a text".to_owned(),
        other => format!("there is {other}"),
    }
}

/// The parts of a path: `steps.a.output.rows[3].key`.
fn parts(path: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    for piece in path.split('.') {
        let (name, mut rest) = match piece.find('[') {
            Some(at) => piece.split_at(at),
            None => (piece, ""),
        };
        if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_') {
            return Err(format!("{path:?}: {piece:?} is no name of a field"));
        }
        parts.push(Part::Field(name.to_owned()));
        while !rest.is_empty() {
            let inner = rest.strip_prefix('[').and_then(|r| r.split_once(']'));
            let (number, after) =
                inner.ok_or_else(|| format!("{path:?}: a place in a list is written [0]"))?;
            let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
            let number = number.parse().ok().filter(|_| plain);
            parts
                .push(Part::Index(number.ok_or_else(|| format!("{path:?}: a place in a list is a number"))?));
            rest = after;
        }
    }
    Ok(parts)
}

enum Piece<'a> {
    Text(&'a str),
    Reference(Reference),
}

/// A text, taken apart.
fn pieces(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while let Some((before, after)) = rest.split_once("{{") {
        let unclosed = || {
            "a reference that begins with {{ ends with }}; text with braces of its own comes in as an input"
                .to_owned()
        };
        let (reference, behind) = after.split_once("}}").ok_or_else(unclosed)?;
        if !before.is_empty() {
            pieces.push(Piece::Text(before));
        }
        pieces.push(Piece::Reference(Reference::read(reference)?));
        rest = behind;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

/// What is wrong, and at which place in the arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// As `args.options[0].text`.
    pub(super) place: String,
    pub(super) why: String,
}

/// What becomes of a text at a place: itself where it gives nothing.
type Visit<'a, E> = dyn FnMut(&str, &str) -> Result<Option<Json>, E> + 'a;

fn walk<E>(
    json: &Json,
    place: &str,
    visit: &mut Visit<'_, E>,
    key: &mut dyn FnMut(&str, &str) -> Result<(), E>,
) -> Result<Json, E> {
    Ok(match json {
        Json::String(text) => visit(place, text)?.unwrap_or_else(|| json.clone()),
        Json::Array(items) => {
            let each = items.iter().enumerate();
            let each = each.map(|(n, item)| walk(item, &format!("{place}[{n}]"), visit, key));
            each.collect::<Result<Vec<_>, E>>()?.into()
        }
        Json::Object(fields) => {
            let mut walked = Map::new();
            for (name, value) in fields {
                key(place, name)?;
                walked.insert(name.clone(), walk(value, &format!("{place}.{name}"), visit, key)?);
            }
            walked.into()
        }
        other => other.clone(),
    })
}

/// The references in a step's arguments, each with its place.
pub(super) fn references(args: &Json) -> Result<Vec<(String, Reference)>, Fault> {
    let mut found = Vec::new();
    walk(
        args,
        "args",
        &mut |place, text| {
            let fault = |why| Fault { place: place.to_owned(), why };
            for piece in pieces(text).map_err(fault)? {
                if let Piece::Reference(reference) = piece {
                    found.push((place.to_owned(), reference));
                }
            }
            Ok(None)
        },
        &mut |place, name| match name.contains("{{") {
            true => Err(Fault {
                place: place.to_owned(),
                why: format!("a field's name, {name:?}, is no place for a reference"),
            }),
            false => Ok(()),
        },
    )?;
    Ok(found)
}

/// What references may mean.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    pub(super) inputs: &'a BTreeMap<String, Json>,
    pub(super) outputs: &'a BTreeMap<String, Json>,
}

/// A step's arguments with everything put in.
pub(super) fn fill(args: &Json, values: &Values<'_>) -> Result<Json, Fault> {
    let mut left = MAX_FILLED_BYTES;
    let mut take = |bytes: usize| match left.checked_sub(bytes) {
        Some(rest) => {
            left = rest;
            Ok(())
        }
        None => Err(format!("with everything put in, the arguments have more than {MAX_FILLED_BYTES} bytes")),
    };
    walk(
        args,
        "args",
        &mut |place, text| {
            let fault = |why| Fault { place: place.to_owned(), why };
            text_filled(text, values, &mut take).map_err(fault)
        },
        &mut |_, _| Ok(()),
    )
}

fn text_filled(
    text: &str,
    values: &Values<'_>,
    take: &mut dyn FnMut(usize) -> Result<(), String>,
) -> Result<Option<Json>, String> {
    let pieces = pieces(text)?;
    if let [Piece::Reference(reference)] = pieces.as_slice() {
        let value = reference.value(values)?;
        take(weight(value))?;
        return Ok(Some(if reference.bytes { bytes(value) } else { value.clone() }));
    }
    if !pieces.iter().any(|piece| matches!(piece, Piece::Reference(_))) {
        return Ok(None);
    }
    let mut filled = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => filled.push_str(text),
            Piece::Reference(reference) => {
                let value = reference.value(values)?;
                take(weight(value))?;
                let value = if reference.bytes { bytes(value) } else { value.clone() };
                filled.push_str(&plain(value));
            }
        }
    }
    Ok(Some(filled.into()))
}

/// A text as it is, anything else as JSON on one line.
fn plain(value: Json) -> String {
    match value {
        Json::String(text) => text,
        other => other.to_string(),
    }
}

/// The bytes of a value's text, as a `list<u8>` is written in JSON.
fn bytes(value: &Json) -> Json {
    let bytes = plain(value.clone()).into_bytes();
    actum_model::json::to_json(&actum_model::WitType::bytes(), &actum_model::Value::Bytes(bytes))
}

/// About how many bytes a value takes.
fn weight(value: &Json) -> usize {
    VALUE_BYTES.saturating_add(match value {
        Json::String(text) => text.len(),
        Json::Array(items) => items.iter().map(weight).fold(0, usize::saturating_add),
        Json::Object(fields) => {
            let each = fields.iter().map(|(name, value)| name.len().saturating_add(weight(value)));
            each.fold(0, usize::saturating_add)
        }
        _ => 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn filled(args: Json) -> Result<Json, Fault> {
        let inputs =
            BTreeMap::from([("text".to_owned(), json!("to {{input.n}} be")), ("n".to_owned(), json!(7))]);
        let outputs =
            BTreeMap::from([("a-b".to_owned(), json!({"rows": [{"key": "x", "n": 1.5}], "none": null}))]);
        fill(&args, &Values { inputs: &inputs, outputs: &outputs })
    }

    #[test]
    fn a_reference_alone_is_the_value_and_within_a_text_it_is_text() {
        assert_eq!(
            filled(json!({"a": "{{steps.a-b.output.rows}}"})),
            Ok(json!({"a": [{"key": "x", "n": 1.5}]}))
        );
        assert_eq!(filled(json!(["{{ input.n }}"])), Ok(json!([7])));
        assert_eq!(
            filled(json!("n is {{input.n}}, {{steps.a-b.output.rows[0]}}!")),
            Ok(json!("n is 7, {\"key\":\"x\",\"n\":1.5}!"))
        );
        assert_eq!(filled(json!("{{steps.a-b.output.rows[0].key}}{{input.n}}")), Ok(json!("x7")));
        assert_eq!(filled(json!({"n": 3, "t": "}} as it is"})), Ok(json!({"n": 3, "t": "}} as it is"})));
    }

    #[test]
    fn what_is_put_in_is_not_searched_again() {
        assert_eq!(filled(json!("{{input.text}}")), Ok(json!("to {{input.n}} be")));
        assert_eq!(filled(json!("<{{input.text}}>")), Ok(json!("<to {{input.n}} be>")));
    }

    #[test]
    fn bytes_are_base64_of_the_text() {
        assert_eq!(filled(json!("{{steps.a-b.output.rows[0].key | bytes}}")), Ok(json!("eA==")));
        assert_eq!(filled(json!("{{input.n|bytes}}")), Ok(json!("Nw==")));
    }

    #[test]
    fn what_is_not_there_is_said_with_what_is() {
        let why = |args| filled(args).expect_err("nothing is there").why;
        assert!(why(json!("{{steps.a-b.output.row}}")).contains("rows"));
        assert!(why(json!("{{steps.a-b.output.rows[1]}}")).contains("a list of 1"));
        assert!(why(json!("{{steps.a-b.output.none.x}}")).contains("null"));
        assert_eq!(filled(json!(["x", {"y": "{{input.gone}}"}])).expect_err("gone").place, "args[1].y");
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for text in [
            "{{",
            "{{}}",
            "{{input}}",
            "{{input.a",
            "{{steps.a}}",
            "{{steps.a.receipt}}",
            "{{env.HOME}}",
            "{{input.a..b}}",
            "{{input.a[}}",
            "{{input.a[x]}}",
            "{{input.a[-1]}}",
            "{{input.a[+1]}}",
            "{{input.a | sh}}",
            "{{input.a[0]b}}",
            "{{input[0]}}",
            "{{{{input.a}}}}",
        ] {
            assert!(references(&json!(text)).is_err(), "{text}");
        }
        assert!(references(&json!({"{{input.a}}": 1})).is_err());
        let long = format!("{{{{input.a{}}}}}", ".x".repeat(MAX_PATH + 1));
        assert!(references(&json!(long)).is_err());
    }

    #[test]
    fn many_references_to_much_are_too_much() {
        let inputs = BTreeMap::from([("big".to_owned(), json!("x".repeat(8 << 20)))]);
        let args: Json = vec![json!("{{input.big}}"); 17].into();
        let fault =
            fill(&args, &Values { inputs: &inputs, outputs: &BTreeMap::new() }).expect_err("too much");
        assert!(fault.why.contains("134217728"), "{}", fault.why);
    }
}
