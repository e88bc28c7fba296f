//! Text that others show: it may not move a cursor, hide itself or begin a line of its own.

/// Refuses control characters: C0, DEL and C1.
pub(crate) fn one_line(what: &str, text: &str) -> Result<(), String> {
    without_control(what, text, &[])
}

/// Refuses control characters but line feeds and tabs.
pub(crate) fn lines(what: &str, text: &str) -> Result<(), String> {
    without_control(what, text, &['\n', '\t'])
}

fn without_control(what: &str, text: &str, allowed: &[char]) -> Result<(), String> {
    match text.chars().find(|c| c.is_control() && !allowed.contains(c)) {
        Some(c) => Err(format!("{what} holds the control character U+{:04X}", u32::from(c))),
        None => Ok(()),
    }
}
