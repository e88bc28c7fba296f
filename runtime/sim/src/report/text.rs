//! Text as it may stand in a page or in Markdown, and numbers as people read them.

/// Text that shows all there is in it: what is not seen, or turns the direction of writing, is `\u{…}`. Lines become one.
pub(super) fn seen(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {
                out.extend(c.escape_unicode());
            }
            '\u{fffe}' | '\u{ffff}' => out.extend(c.escape_unicode()),
            c if c.is_control() => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// Text as it may stand anywhere in a page, attributes in quotes among it.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in seen(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '`' => out.push_str("&#96;"),
            c => out.push(c),
        }
    }
    out
}

/// A sentence for a page: escaped, with what stands between backticks as code.
pub(super) fn prose(text: &str) -> String {
    pieces(text, escape, |code| format!("<code>{}</code>", escape(code)))
}

/// Text as it may stand anywhere in Markdown, cells of tables among it.
pub(super) fn escape_markdown(text: &str) -> String {
    let text = seen(text);
    let mut out = String::with_capacity(text.len() + 16);
    let (mut before, mut rest) = (None, text.chars().peekable());
    // Digits, a dot or a bracket, and a space would begin a list.
    let after = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let numbered = after.len() < text.len()
        && after.strip_prefix(['.', ')']).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
    while let Some(c) = rest.next() {
        let within = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '`' | '*' | '[' | ']' | '|' | '~' => out.extend(['\\', c]),
            // Between letters it is nothing but itself.
            '_' if !within(before) || !within(rest.peek().copied()) => out.push_str("\\_"),
            '#' | '-' | '+' | '=' if before.is_none() => out.extend(['\\', c]),
            '.' | ')' if numbered && out.chars().all(|c| c.is_ascii_digit()) => out.extend(['\\', c]),
            c => out.push(c),
        }
        before = Some(c);
    }
    out
}

/// A sentence for Markdown, with what stands between backticks as code.
pub(super) fn prose_markdown(text: &str) -> String {
    pieces(text, escape_markdown, |code| format!("`{code}`"))
}

/// A sentence, with what stands between backticks as code, where that is plain enough to be the same in Markdown and a page.
fn pieces(text: &str, other: impl Fn(&str) -> String, code: impl Fn(&str) -> String) -> String {
    let plain = |c: char| c.is_alphanumeric() || " _-.:=/,+%()".contains(c);
    let whole = |piece: &&str| !piece.is_empty() && piece.trim() == *piece && piece.chars().all(plain);
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, within, after)) = rest.split_once('`').and_then(|(before, after)| {
        let (within, after) = after.split_once('`')?;
        Some((before, within, after)).filter(|(_, within, _)| whole(within))
    }) {
        if !before.is_empty() {
            out.push_str(&other(before));
        }
        out.push_str(&code(within));
        rest = after;
    }
    out.push_str(&other(rest));
    out
}

/// A caption as a sentence, so that another may follow.
pub(super) fn sentence(text: &str) -> String {
    let text = text.trim_end();
    if text.is_empty() || text.ends_with(['.', '?', '!', '…']) {
        text.to_owned()
    } else {
        format!("{text}.")
    }
}

/// Whether a cell of a table is a number, with a unit or without, or the dash for there being none.
pub(super) fn numeric(cell: &str) -> bool {
    let bare = cell.trim_start_matches(['-', '−', '+', '±', '≤', '≥', '<', '>', '~', ' ']);
    matches!(cell, "" | "–" | "—" | "-") || bare.starts_with(|c: char| c.is_ascii_digit())
}

/// Which of a table's columns hold numbers alone.
pub(super) fn numeric_columns(rows: &[Vec<String>], columns: usize) -> Vec<bool> {
    let cells = |at: usize| rows.iter().filter_map(move |row| row.get(at));
    let digits = |cell: &String| cell.contains(|c: char| c.is_ascii_digit());
    (0..columns).map(|at| cells(at).all(|cell| numeric(cell)) && cells(at).any(digits)).collect()
}

/// A number as people read it: thousands separated, to two places or, below 1, to three digits, without zeros at the end:
/// `1,234.57`, `3.14`, `0.0123`. What is no number is a dash.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let digits = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
    let places = (2 - digits).clamp(2, 17) as usize;
    let fixed = grouped(&format!("{value:.places$}"));
    let short = match fixed.contains('.') {
        true => fixed.trim_end_matches('0').trim_end_matches('.'),
        false => &fixed,
    };
    if short == "-0" { "0".to_owned() } else { short.to_owned() }
}

/// A number in digits, with its thousands separated.
pub(super) fn grouped(digits: &str) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    let (whole, rest) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let mut out = String::from(sign);
    for (i, c) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        let all = [
            (0.0, "0"),
            (-0.0001e-20, "0"),
            (1.0, "1"),
            (-1234567.0, "-1,234,567"),
            (1234.567, "1,234.57"),
            (2.34567, "2.35"),
            (0.012345, "0.0123"),
            (100.0, "100"),
            (f64::NAN, "–"),
        ];
        for (value, text) in all {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn code_is_code_and_nothing_else_is() {
        assert_eq!(prose("under `medium`, 1 < 2"), "under <code>medium</code>, 1 &lt; 2");
        assert_eq!(prose("`<b>` and ` x` and `"), "&#96;&lt;b&gt;&#96; and &#96; x&#96; and &#96;");
        assert_eq!(prose_markdown("`a_b` is lease_seconds *2*"), "`a_b` is lease_seconds \\*2\\*");
        assert_eq!(escape_markdown("1. a | _b_"), "1\\. a \\| \\_b\\_");
        assert_eq!(escape_markdown("- # <script>"), "\\- # &lt;script&gt;");
        assert_eq!(escape_markdown("1.5 s and 1. s"), "1.5 s and 1. s");
    }

    proptest! {
        #[test]
        fn whatever_is_said_is_text(text in "(?s).{0,40}") {
            for page in [escape(&text), prose(&text)] {
                let own = page.replace("<code>", "").replace("</code>", "");
                prop_assert!(!own.contains(['<', '>', '"', '\'', '`', '\u{202e}', '\u{0}', '\n']), "{own}");
            }
            for line in [escape_markdown(&text), prose_markdown(&text)] {
                prop_assert!(!line.contains(['<', '>', '\n', '\r']), "{line}");
            }
        }
    }
}
