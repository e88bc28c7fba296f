//! `actum:regex-extract`: what matches a regular expression, and its replacement.

actum_guest::capability! {
    wit: "../../wit/regex-extract",
    implement: RegexExtract,
}

use bindings::exports::actum::regex_extract::regex_extract::{
    Behaviour, Capture, Failure, Found, Guest, Span,
};
use regex::{Match, Regex, RegexBuilder};

/// Most memory a compiled pattern may take, in bytes. `regex`'s own default is ten times that; no honest pattern needs it.
const MAX_PATTERN_BYTES: usize = 1 << 20;

struct RegexExtract;

impl Guest for RegexExtract {
    fn extract(
        text: String,
        pattern: String,
        behaviour: Behaviour,
        limit: Option<u32>,
    ) -> Result<Vec<Found>, Failure> {
        let regex = compile(&pattern, behaviour)?;
        let limit = limit.map_or(usize::MAX, |limit| limit as usize);
        let mut matches = Vec::new();
        for captures in regex.captures_iter(&text).take(limit) {
            let Some(whole) = captures.get(0) else { continue };
            let groups = regex.capture_names().zip(captures.iter()).skip(1);
            matches.push(Found {
                whole: span(whole),
                captures: groups
                    .map(|(name, group)| Capture { name: name.map(str::to_owned), span: group.map(span) })
                    .collect(),
            });
        }
        Ok(matches)
    }

    fn replace(
        text: String,
        pattern: String,
        replacement: String,
        behaviour: Behaviour,
    ) -> Result<String, Failure> {
        let regex = compile(&pattern, behaviour)?;
        Ok(regex.replace_all(&text, replacement.as_str()).into_owned())
    }
}

fn compile(pattern: &str, behaviour: Behaviour) -> Result<Regex, Failure> {
    RegexBuilder::new(pattern)
        .case_insensitive(behaviour.contains(Behaviour::IGNORE_CASE))
        .multi_line(behaviour.contains(Behaviour::MULTI_LINE))
        .dot_matches_new_line(behaviour.contains(Behaviour::DOT_MATCHES_LINE_FEED))
        .size_limit(MAX_PATTERN_BYTES)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(limit) => Failure::TooLarge(limit as u64),
            error => Failure::Syntax(error.to_string()),
        })
}

fn span(found: Match<'_>) -> Span {
    Span { start: offset(found.start()), end: offset(found.end()), text: found.as_str().to_owned() }
}

/// A component's memory has 32-bit addresses, so every offset fits.
fn offset(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extract(text: &str, pattern: &str, behaviour: Behaviour) -> Vec<Found> {
        RegexExtract::extract(text.into(), pattern.into(), behaviour, None).unwrap()
    }

    #[test]
    fn finds_matches_with_their_groups() {
        let found = extract("Ada 1815, Alan 1912", r"(?<name>\w+) (\d{4})(!)?", Behaviour::empty());
        assert_eq!(found.len(), 2);
        assert_eq!((found[1].whole.start, found[1].whole.end), (10, 19));
        let captures = &found[1].captures;
        assert_eq!(captures[0].name.as_deref(), Some("name"));
        assert_eq!(captures[0].span.as_ref().unwrap().text, "Alan");
        assert_eq!(captures[1].span.as_ref().unwrap().text, "1912");
        assert!(captures[2].name.is_none() && captures[2].span.is_none());
    }

    #[test]
    fn offsets_are_bytes() {
        assert_eq!(extract("é1", r"\d", Behaviour::empty())[0].whole.start, 2);
    }

    #[test]
    fn behaviour_is_off_unless_named() {
        assert!(extract("A\nb", "^b|a", Behaviour::empty()).is_empty());
        assert_eq!(extract("A\nb", "^b|a", Behaviour::IGNORE_CASE | Behaviour::MULTI_LINE).len(), 2);
        assert_eq!(extract("a\nb", "a.b", Behaviour::DOT_MATCHES_LINE_FEED).len(), 1);
    }

    #[test]
    fn replaces_with_groups_and_stops_at_a_limit() {
        let swapped = RegexExtract::replace(
            "a=1 b=2".into(),
            r"(\w)=(\w)".into(),
            "$2:${1}$$".into(),
            Behaviour::empty(),
        );
        assert_eq!(swapped.unwrap(), "1:a$ 2:b$");
        let found = RegexExtract::extract("aaaa".into(), "a".into(), Behaviour::empty(), Some(3)).unwrap();
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn bad_and_huge_patterns_are_errors() {
        let refuse = |pattern: &str| {
            RegexExtract::extract(String::new(), pattern.into(), Behaviour::empty(), None).unwrap_err()
        };
        assert!(matches!(refuse("(a"), Failure::Syntax(_)));
        assert!(matches!(refuse(r"(?:\w{1000}){1000}"), Failure::TooLarge(_)));
    }
}
