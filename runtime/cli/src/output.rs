//! How results and progress reach a person or a program.

use crate::error::{CliError, Kind};
pub(crate) use actum_node::audit::thousands;
use clap::ValueEnum;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, IsTerminal, Write as _},
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

/// The form of what goes to stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON value, for programs.
    Json,
}

/// What kept results from reaching stdout, the first time.
static LOST: OnceLock<String> = OnceLock::new();

/// A reader that has gone away is no error of ours; results lost otherwise are, and [`finish`] says so.
fn remember(written: io::Result<()>) {
    if let Err(e) = written
        && e.kind() != io::ErrorKind::BrokenPipe
    {
        let _ = LOST.set(e.to_string());
    }
}

/// Writes out what is left, and fails if anything was lost on the way to stdout.
pub(crate) fn finish() -> Result<(), CliError> {
    remember(io::stdout().lock().flush());
    match LOST.get() {
        Some(e) => {
            Err(CliError::new(Kind::Internal, format!("the result could not be written to stdout: {e}")))
        }
        None => Ok(()),
    }
}

/// Whether a terminal would obey or hide this character instead of showing it: C0, DEL, C1, and what turns the direction
/// of writing.
fn is_hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text with those characters written as `\u{..}`, but for `keep`.
fn escape<'a>(text: &'a str, keep: &[char]) -> Cow<'a, str> {
    let hidden = |c: char| is_hidden(c) && !keep.contains(&c);
    if !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if hidden(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// A stranger's text within a line of ours: it stays on that line, and a terminal obeys nothing in it.
pub(crate) fn clean(text: &str) -> String {
    escape(text, &[]).into_owned()
}

/// Writes lines of text to stdout; a terminal obeys nothing in them.
pub(crate) fn line(text: impl AsRef<str>) {
    remember(writeln!(io::stdout().lock(), "{}", escape(text.as_ref(), &['\n', '\t'])));
}

/// Writes bytes to stdout as they are.
pub(crate) fn raw(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    remember(out.write_all(bytes).and_then(|()| out.flush()));
}

/// Writes JSON to stdout: pretty on a terminal, one line otherwise.
pub(crate) fn json(value: &serde_json::Value) {
    let text = if io::stdout().is_terminal() { format!("{value:#}") } else { value.to_string() };
    remember(writeln!(io::stdout().lock(), "{}", ascii_controls(&text)));
}

/// JSON as one line of text, the same value for every reader, in which a terminal obeys nothing.
pub(crate) fn json_line(value: &serde_json::Value) -> String {
    ascii_controls(&value.to_string())
}

/// JSON with the hidden characters of its strings in JSON's own escapes. Those below U+0020 are there already, so what is
/// hidden and not a line feed is inside a string.
fn ascii_controls(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if is_hidden(c) && c != '\n' {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// Writes lines of talk to stderr; a terminal obeys nothing in them.
pub(crate) fn talk(text: impl AsRef<str>) {
    let _ = writeln!(io::stderr().lock(), "{}", escape(text.as_ref(), &['\n', '\t']));
}

/// A spinner on stderr: drawn only on a terminal, gone when dropped.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn start(message: impl Into<String>) -> Self {
        let bar = ProgressBar::new_spinner().with_message(clean(&message.into()));
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed:.dim}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(bar)
    }

    /// Prints a block of data without the spinner in its way.
    pub(crate) fn aside(&self, print: impl FnOnce()) {
        self.0.suspend(print);
    }

    pub(crate) fn say(&self, message: impl Into<String>) {
        self.0.set_message(clean(&message.into()));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Several spinners on stderr, a line for each thing that is under way: drawn only on a terminal, gone when dropped.
#[derive(Default)]
pub(crate) struct Board {
    all: MultiProgress,
    lines: Mutex<BTreeMap<String, Progress>>,
}

impl Board {
    /// What is to be said of one of them; it has a line from now on.
    pub(crate) fn say(&self, name: &str, message: &str) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let message = format!("{name}: {message}");
        match lines.get(name) {
            Some(line) => line.say(message),
            None => {
                let line = Progress::start(message);
                self.all.add(line.0.clone());
                lines.insert(name.to_owned(), line);
            }
        }
    }

    /// One of them is over: its line goes, and this is said of it for good.
    pub(crate) fn end(&self, name: &str, message: &str) {
        drop(self.lines.lock().unwrap_or_else(PoisonError::into_inner).remove(name));
        self.talk(format!("{name}: {}", clean(message)));
    }

    /// A line of talk without the spinners in its way.
    pub(crate) fn talk(&self, text: impl AsRef<str>) {
        self.all.suspend(|| talk(text));
    }
}

/// A number of bytes as people read it, e.g. `1.5 MiB`.
pub(crate) fn bytes(n: u64) -> String {
    match n {
        0..1024 => format!("{n} B"),
        1024..1_048_576 => format!("{}.{} KiB", n >> 10, ((n & 0x3ff) * 10) >> 10),
        _ => format!("{}.{} MiB", n >> 20, ((n & 0xf_ffff) * 10) >> 20),
    }
}

/// Rows in columns, with a header. Widths count characters. A cell stays on its line.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let rows = rows.iter().map(|row| row.iter().map(|cell| clean(cell)).collect::<Vec<_>>());
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(header).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_nothing_in_what_strangers_say() {
        assert_eq!(clean("plain, grüße → 名"), "plain, grüße → 名");
        assert_eq!(clean("a\x1b[2Kb\r\n\t\x7f\u{9b}"), "a\\u{1b}[2Kb\\u{d}\\u{a}\\u{9}\\u{7f}\\u{9b}");
        assert_eq!(clean("\u{202e}x\u{2066}"), "\\u{202e}x\\u{2066}");
        assert_eq!(escape("a\n\tb\x07", &['\n', '\t']), "a\n\tb\\u{7}");
    }

    #[test]
    fn a_cell_forges_no_row() {
        let text = table(&["A", "B"], &[vec!["x\ny".to_owned(), "\x1b[1m".to_owned()]]);
        assert_eq!(text.lines().count(), 2);
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn json_stays_the_same_value() {
        let value = serde_json::json!({"a\u{9b}": ["\x1b\n\x7f\u{202e}", "名"]});
        for text in [json_line(&value), ascii_controls(&format!("{value:#}"))] {
            assert!(!text.contains(|c| is_hidden(c) && c != '\n'));
            assert_eq!(serde_json::from_str::<serde_json::Value>(&text).ok().as_ref(), Some(&value));
        }
    }
}
