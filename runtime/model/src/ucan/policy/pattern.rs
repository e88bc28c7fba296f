//! Glob patterns: `*` is any text, none included; `\*` is a star; everything else is itself.

/// A glob: `*` is any text, `\*` a star.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    /// What stands between the wildcards, escapes undone: one more than there are wildcards.
    literals: Vec<String>,
}

impl Pattern {
    /// The pattern that only this text matches.
    pub fn exactly(text: &str) -> Self {
        Self::from(text.replace('*', r"\*"))
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the whole of `text` matches, in time linear in both.
    ///
    /// Each literal takes the first place that is left: taking a later one would only leave less to the next.
    pub fn matches(&self, text: &str) -> bool {
        let (first, rest) = match self.literals.as_slice() {
            [] => return text.is_empty(),
            [only] => return text == only,
            [first, rest @ ..] => (first, rest),
        };
        let (Some((last, middle)), Some(mut left)) = (rest.split_last(), text.strip_prefix(first.as_str()))
        else {
            return false;
        };
        for literal in middle {
            match left.split_once(literal.as_str()) {
                Some((_, after)) => left = after,
                None => return false,
            }
        }
        left.ends_with(last.as_str())
    }
}

impl From<String> for Pattern {
    fn from(text: String) -> Self {
        let mut literals = vec![String::new()];
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            let escaped = c == '\\' && chars.next_if_eq(&'*').is_some();
            match (c, literals.last_mut()) {
                ('*', _) => literals.push(String::new()),
                (c, Some(literal)) => literal.push(if escaped { '*' } else { c }),
                (_, None) => {}
            }
        }
        Self { text, literals }
    }
}

impl From<&str> for Pattern {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_specification_lists_matches_and_what_it_excludes_does_not() {
        let pattern = Pattern::from(r"Alice\*, Bob*, Carol.");
        for good in [
            "Alice*, Bob, Carol.",
            "Alice*, Bob, Dan, Erin, Carol.",
            "Alice*, Bob  , Carol.",
            "Alice*, Bob*, Carol.",
        ] {
            assert!(pattern.matches(good), "{good}");
        }
        for bad in [
            "Alice*, Bob, Carol",
            "Alice*, Bob*, Carol!",
            "Alice, Bob, Carol.",
            "Alice Cooper, Bob, Carol.",
            " Alice*, Bob, Carol. ",
        ] {
            assert!(!pattern.matches(bad), "{bad}");
        }
    }

    #[test]
    fn literals_never_share_a_character() {
        assert!(!Pattern::from("ab*ba").matches("aba"));
        assert!(Pattern::from("ab*ba").matches("abba"));
        assert!(!Pattern::from("*a*a*").matches("bab"));
        assert!(Pattern::from("*a*a*").matches("baab"));
        assert!(
            Pattern::from("*").matches("")
                && Pattern::from("**").matches("")
                && Pattern::from("").matches("")
        );
        assert!(!Pattern::from("").matches("a"));
    }

    #[test]
    fn a_backslash_escapes_a_star_and_nothing_else() {
        assert!(Pattern::from(r"a\b").matches(r"a\b"));
        assert!(Pattern::from(r"a\\*").matches(r"a\*"));
        assert!(!Pattern::from(r"a\\*").matches(r"a\bc"));
        assert!(Pattern::from("a\\").matches("a\\"));
        let hard = r"*\**\\";
        assert!(Pattern::exactly(hard).matches(hard) && !Pattern::exactly(hard).matches(r"x\**\\"));
    }

    #[test]
    fn many_wildcards_take_linear_time() {
        let pattern = Pattern::from("*a".repeat(2_000) + "b");
        assert!(!pattern.matches(&"a".repeat(200_000)));
    }
}
