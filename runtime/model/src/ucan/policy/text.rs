//! Values and statements as text for people: compact DAG-JSON with every control character escaped.

use data_encoding::BASE64_NOPAD;
use ipld_core::ipld::Ipld;
use std::fmt::{self, Display, Write};

/// The most characters of a value or statement shown in a message; what is longer ends in an ellipsis.
pub(super) const MAX_SHOWN_CHARS: usize = 200;

/// Text in quotes.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                // Control characters move a cursor; the others turn around the text that follows them.
                c if c.is_control()
                    || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
                {
                    write!(f, "\\u{:04x}", u32::from(c))?;
                }
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

/// Writes a value.
pub(super) fn write(f: &mut fmt::Formatter<'_>, value: &Ipld) -> fmt::Result {
    match value {
        Ipld::Null => f.write_str("null"),
        Ipld::Bool(b) => write!(f, "{b}"),
        Ipld::Integer(n) => write!(f, "{n}"),
        // With its point, so that a float is seen to be one.
        Ipld::Float(n) => write!(f, "{n:?}"),
        Ipld::String(text) => write!(f, "{}", Quoted(text)),
        Ipld::Bytes(bytes) => write!(f, r#"{{"/": {{"bytes": "{}"}}}}"#, BASE64_NOPAD.encode(bytes)),
        Ipld::Link(cid) => write!(f, r#"{{"/": "{cid}"}}"#),
        Ipld::List(values) => {
            f.write_char('[')?;
            for (n, value) in values.iter().enumerate() {
                f.write_str(if n == 0 { "" } else { ", " })?;
                write(f, value)?;
            }
            f.write_char(']')
        }
        Ipld::Map(map) => {
            f.write_char('{')?;
            for (n, (key, value)) in map.iter().enumerate() {
                write!(f, "{}{}: ", if n == 0 { "" } else { ", " }, Quoted(key))?;
                write(f, value)?;
            }
            f.write_char('}')
        }
    }
}

/// Writes a list of what can be shown.
pub(super) fn list(f: &mut fmt::Formatter<'_>, items: &[impl Display]) -> fmt::Result {
    f.write_char('[')?;
    for (n, item) in items.iter().enumerate() {
        write!(f, "{}{item}", if n == 0 { "" } else { ", " })?;
    }
    f.write_char(']')
}

/// A value for a message.
pub(super) fn brief(value: &Ipld) -> String {
    struct Shown<'a>(&'a Ipld);
    impl Display for Shown<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write(f, self.0)
        }
    }
    cut(&Shown(value))
}

/// The beginning of a text, as much as a message holds; the rest is not even written.
pub(super) fn cut(what: &impl Display) -> String {
    struct Cut {
        text: String,
        left: usize,
    }
    impl Write for Cut {
        fn write_str(&mut self, more: &str) -> fmt::Result {
            for c in more.chars() {
                self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
                self.text.push(c);
            }
            Ok(())
        }
    }
    let mut cut = Cut { text: String::new(), left: MAX_SHOWN_CHARS };
    if write!(cut, "{what}").is_err() {
        cut.text.push('…');
    }
    cut.text
}
