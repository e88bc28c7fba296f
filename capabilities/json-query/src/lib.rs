//! `actum:json-query`: jq filters over JSON, by jaq.

actum_guest::capability! {
    wit: "../../wit/json-query",
    implement: JsonQuery,
}

use bindings::exports::actum::json_query::json_query::{Failure, Guest, Layout, Place};
use jaq_core::data::JustLut;
use jaq_core::load::{self, Arena, File, Loader};
use jaq_core::native::Fun;
use jaq_core::{Compiler, Ctx, Vars};
use jaq_json::{Val, read, write};

/// Reading and writing recurse; deeper nesting would exhaust the stack rather than return an error.
const MAX_DEPTH: usize = 512;

struct JsonQuery;

impl Guest for JsonQuery {
    fn query(document: String, filter: String, layout: Option<Layout>) -> Result<Vec<String>, Failure> {
        if depth(&document) > MAX_DEPTH {
            return Err(Failure::Document(format!("nested more than {MAX_DEPTH} deep")));
        }
        let input =
            read::parse_single(document.as_bytes()).map_err(|error| Failure::Document(error.to_string()))?;

        let arena = Arena::default();
        let program = File { code: filter.as_str(), path: () };
        let definitions = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
        let modules =
            Loader::new(definitions).load(&arena, program).map_err(|errors| bad_syntax(&filter, errors))?;
        let functions = jaq_core::funs().chain(pure_functions()).chain(jaq_json::funs());
        let compiled = Compiler::default().with_funs(functions).compile(modules).map_err(undefined)?;

        let indented = layout == Some(Layout::Indented);
        let printer = write::Pp {
            indent: indented.then(|| "  ".to_owned()),
            sep_space: indented,
            ..write::Pp::default()
        };
        let context = Ctx::<JustLut<Val>>::new(&compiled.lut, Vars::new([]));
        let mut results = Vec::new();
        for result in compiled.id.run((context, input)) {
            match result {
                Ok(value) => {
                    let mut text = Vec::new();
                    write::write(&mut text, &printer, 0, &value)
                        .map_err(|error| Failure::Evaluation(error.to_string()))?;
                    results.push(String::from_utf8_lossy(&text).into_owned());
                }
                Err(exception) => match exception.get_err() {
                    Ok(error) => return Err(Failure::Evaluation(error.to_string())),
                    // `halt`: the program ends here of its own will.
                    Err(_) => break,
                },
            }
        }
        Ok(results)
    }
}

/// jq's library, without what looks at the host: in a virtual world those would only mislead.
fn pure_functions() -> impl Iterator<Item = Fun<JustLut<Val>>> {
    const IMPURE: [&str; 4] = ["env", "localtime", "now", "strflocaltime"];
    jaq_std::funs().filter(|(name, ..)| !IMPURE.contains(name))
}

/// How deep brackets nest outside strings. Exact for JSON, and an upper bound of what a reader recurses for anything else.
fn depth(document: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in document.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn bad_syntax<P>(filter: &str, errors: load::Errors<&str, P>) -> Failure {
    let first = errors.into_iter().next().map(|(_, error)| error);
    let (message, found) = match first {
        Some(load::Error::Lex(errors)) => first_of(errors, |(expected, found)| (expected.as_str(), found)),
        Some(load::Error::Parse(errors)) => first_of(errors, |(expected, found)| (expected.as_str(), found)),
        Some(load::Error::Io(errors)) => match errors.into_iter().next() {
            Some((path, error)) => (format!("cannot load the module {path}: {error}"), Some(path)),
            None => (String::new(), None),
        },
        None => ("no jq program".to_owned(), None),
    };
    // An imported prelude cannot be at fault, so what was found is a part of the filter.
    let offset = found.and_then(|found| (found.as_ptr() as usize).checked_sub(filter.as_ptr() as usize));
    let offset =
        offset.filter(|&offset| offset <= filter.len()).and_then(|offset| u32::try_from(offset).ok());
    Failure::Filter(Place { message, offset })
}

fn first_of<'a, E>(errors: Vec<E>, parts: impl Fn(E) -> (&'a str, &'a str)) -> (String, Option<&'a str>) {
    match errors.into_iter().next().map(parts) {
        Some((expected, "")) => (format!("expected {expected}, found the end"), None),
        Some((expected, found)) => {
            let shown: String = found.chars().take(20).collect();
            (format!("expected {expected}, found {shown:?}"), Some(found))
        }
        None => ("no jq program".to_owned(), None),
    }
}

fn undefined<P>(errors: jaq_core::compile::Errors<&str, P>) -> Failure {
    let first = errors.into_iter().find_map(|(file, errors)| Some((file.code, errors.into_iter().next()?)));
    let Some((code, (name, kind))) = first else {
        return Failure::Filter(Place { message: "no jq program".to_owned(), offset: None });
    };
    let offset = u32::try_from(load::span(code, name).start).ok();
    Failure::Filter(Place { message: format!("undefined {} {name:?}", kind.as_str()), offset })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(document: &str, filter: &str) -> Result<Vec<String>, Failure> {
        JsonQuery::query(document.to_owned(), filter.to_owned(), None)
    }

    #[test]
    fn selects_and_reshapes() {
        let document = r#"{"items":[{"name":"tea","price":4},{"name":"cup","price":12.5}]}"#;
        assert_eq!(query(document, ".items[] | select(.price > 10) | .name").unwrap(), [r#""cup""#]);
        assert_eq!(query(document, "[.items[].price] | add").unwrap(), ["16.5"]);
        assert_eq!(
            query(document, ".items | map({(.name): .price}) | add").unwrap(),
            [r#"{"tea":4,"cup":12.5}"#]
        );
        assert_eq!(query(document, "empty").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn groups_and_sorts() {
        let document = r#"[{"k":"b","v":1},{"k":"a","v":2},{"k":"b","v":3}]"#;
        assert_eq!(
            query(document, "group_by(.k)[] | {k: .[0].k, sum: map(.v) | add}").unwrap(),
            [r#"{"k":"a","sum":2}"#, r#"{"k":"b","sum":4}"#]
        );
    }

    #[test]
    fn indents_on_request() {
        let found = JsonQuery::query(r#"{"a":[1]}"#.into(), ".".into(), Some(Layout::Indented)).unwrap();
        assert_eq!(found, ["{\n  \"a\": [\n    1\n  ]\n}"]);
    }

    #[test]
    fn a_bad_filter_says_where() {
        let Err(Failure::Filter(place)) = query("{}", ".a | ]") else { panic!("accepted") };
        assert_eq!(place.offset, Some(5), "{}", place.message);
        let Err(Failure::Filter(place)) = query("{}", ".a | nonsense") else { panic!("accepted") };
        assert_eq!((place.message.as_str(), place.offset), ("undefined filter \"nonsense\"", Some(5)));
    }

    #[test]
    fn the_host_is_out_of_sight() {
        for filter in ["now", "env", "$ENV", "input", "0 | localtime", "import \"a\" as a; 1"] {
            assert!(matches!(query("{}", filter), Err(Failure::Filter(_))), "{filter}");
        }
    }

    #[test]
    fn a_bad_document_or_a_failing_filter_is_an_error() {
        for document in ["", "{", "{} {}", "nope"] {
            assert!(matches!(query(document, "."), Err(Failure::Document(_))), "{document}");
        }
        assert!(matches!(query(&"[".repeat(100_000), "."), Err(Failure::Document(_))));
        assert!(matches!(query("1", ".a"), Err(Failure::Evaluation(_))));
        assert!(matches!(query("1", "error(\"no\")"), Err(Failure::Evaluation(_))));
    }

    #[test]
    fn matches_formats_and_converts_dates() {
        assert_eq!(query(r#""a1""#, r#"test("\\d")"#).unwrap(), ["true"]);
        assert_eq!(query("\"<b>\"", "@html, @base64").unwrap(), [r#""&lt;b&gt;""#, r#""PGI+""#]);
        assert_eq!(query("0", "todate").unwrap(), [r#""1970-01-01T00:00:00Z""#]);
    }

    #[test]
    fn halt_ends_the_program_not_the_process() {
        assert_eq!(query("1", "1, halt, 2").unwrap(), ["1"]);
    }
}
