//! Delegations in words, for the person who gives or is given one. What strangers wrote never begins a line of its own.

use super::{
    Capability, Quota, Terms,
    text::{ByteSize, Count},
};
use crate::{
    Delegation, Did, Granted, RunArgs,
    permission::Http,
    ucan::{
        Command,
        policy::{Selector, Statement, Step},
    },
};
use ipld_core::ipld::Ipld;
use std::{collections::BTreeSet, fmt::Write as _};

/// A delegation in words: a sentence of who lets whom do what, and one for each condition, each on a line of its own.
///
/// `names` says who a key is and `time` what a time in seconds since the Unix epoch is, both on one line; `now` is the time.
pub fn describe(
    delegation: &Delegation,
    names: &dyn Fn(&Did) -> String,
    time: &dyn Fn(u64) -> String,
    now: u64,
) -> String {
    describe_chain(&[delegation], names, time, now)
}

/// A chain in words, root first: what its last delegation gives to whom after all of them. Of no chain, nothing.
///
/// It says what is written, not whether the chain holds.
pub fn describe_chain(
    chain: &[&Delegation],
    names: &dyn Fn(&Did) -> String,
    time: &dyn Fn(u64) -> String,
    now: u64,
) -> String {
    let (Some(first), Some(last)) = (chain.first(), chain.last()) else { return String::new() };
    let names = |did: &Did| clean(&names(did));
    let time = |at: u64| clean(&time(at));
    let giver = names(&first.iss);
    let mut text = format!("{giver} lets {}", names(&last.aud));
    let through: Vec<_> = chain.iter().skip(1).map(|d| names(&d.iss)).collect();
    if !through.is_empty() {
        let _ = write!(text, ", through {},", through.join(" and "));
    }
    let sub = chain.iter().find_map(|d| d.sub);
    let authority = match sub {
        Some(sub) if sub == first.iss => format!("in the name of {giver}"),
        Some(sub) => format!("in the name of {}, as far as {giver} may", names(&sub)),
        None => format!("by whatever {giver} is let do by others, now and later"),
    };
    // The narrowest command: each that covers what was found before says no more.
    let top = Command::top();
    let cmd =
        chain.iter().map(|d| &d.cmd).fold(&top, |least, cmd| if least.covers(cmd) { cmd } else { least });
    let statements: Vec<&Statement> = chain.iter().flat_map(|d| &d.pol.statements).collect();
    let mut conditions: Vec<String> = Vec::new();
    if cmd.as_str() == RunArgs::COMMAND {
        let terms: Vec<Terms> = chain.iter().map(|d| Terms::read(&d.pol)).collect();
        let terms = Terms::effective(&terms);
        let _ = write!(text, " run {}, {authority}", what(&terms, &names));
        for phrase in phrases(&terms, chain.len() > 1) {
            let _ = write!(text, ", {phrase}");
        }
        conditions.extend(terms.input.iter().map(|s| condition(s).unwrap_or_else(|| verbatim(s))));
        conditions.extend(terms.other.iter().map(verbatim));
    } else {
        let scope = if *cmd == top {
            "everything: every command there is and will be".to_owned()
        } else {
            format!("the command {} and all below it", clean(cmd.as_str()))
        };
        let _ = write!(text, " use {scope}, {authority}");
        if statements.is_empty() {
            text.push_str(", without any condition");
        }
        conditions.extend(statements.into_iter().map(verbatim));
    }
    let from = chain.iter().filter_map(|d| d.nbf).max().filter(|from| *from > now);
    if let Some(from) = from {
        let _ = write!(text, ", from {}", time(from));
    }
    match chain.iter().filter_map(|d| d.exp).min() {
        Some(until) if until < now => {
            let _ = write!(text, ", until {}, which is over", time(until));
        }
        Some(until) => {
            let _ = write!(text, ", until {}", time(until));
        }
        None => text.push_str(", without end"),
    }
    text.push('.');
    for condition in conditions {
        let _ = write!(text, "\nOnly where {condition}.");
    }
    text
}

/// What may be run.
fn what(terms: &Terms, names: &dyn Fn(&Did) -> String) -> String {
    let capability = match &terms.capability {
        None => "any capability of anyone's".to_owned(),
        Some(any) => listed(any, "or", |c| match c {
            Capability::Component(id) => format!("the component {id}"),
            Capability::Named { author, name, version: None } => format!("{name} by {}", names(author)),
            Capability::Named { author, name, version: Some(version) } => {
                format!("{name}@{version} by {}", names(author))
            }
            Capability::Interface(interface) => format!("whatever offers {interface}"),
        }),
    };
    let functions = match &terms.functions {
        None if matches!(&terms.capability, Some(any) if interfaces_only(any)) => {
            "any of its functions".to_owned()
        }
        None => "any function".to_owned(),
        Some(any) => listed(any, "or", ToString::to_string),
    };
    format!("{capability} ({functions})")
}

fn interfaces_only(any: &BTreeSet<Capability>) -> bool {
    any.iter().all(|c| matches!(c, Capability::Interface(_)))
}

/// The clauses that are numbers and permissions.
fn phrases(terms: &Terms, chain: bool) -> Vec<String> {
    let mut phrases = Vec::new();
    let stated = |all: &[(&'static str, Option<u64>)]| {
        let amounts: Vec<_> = all.iter().filter_map(|(name, most)| Some(amount(name, (*most)?))).collect();
        (!amounts.is_empty()).then(|| joined(&amounts, "and"))
    };
    phrases.extend(stated(&terms.limits.all()).map(|most| format!("each time with at most {most}")));
    let quota = |quota: &Quota, within: &str| {
        // Each delegation counts for itself: through another one, more of the same root may be used up already.
        let by = if chain { ", less what others use of it" } else { "" };
        stated(&quota.all()).map(|most| format!("at most {most} {within}{by}"))
    };
    phrases.extend(quota(&terms.spent, "in all"));
    phrases.extend(quota(&terms.minute, "within 60 s"));
    phrases.push(match &terms.permissions {
        None => "with any permissions it asks for".to_owned(),
        Some(most) if most.is_empty() => "with no permissions: no network, no storage, no files".to_owned(),
        Some(most) => format!("with no permissions but {}", listed(most, "and", granted)),
    });
    phrases
}

fn listed<T>(items: &BTreeSet<T>, last: &str, text: impl Fn(&T) -> String) -> String {
    if items.is_empty() {
        return "nothing".to_owned();
    }
    joined(&items.iter().map(text).collect::<Vec<_>>(), last)
}

fn joined(items: &[String], word: &str) -> String {
    match items.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} {word} {last}", rest.join(", ")),
        _ => items.concat(),
    }
}

/// A number of a clause, with what it counts.
pub(super) fn amount(name: &str, n: u64) -> String {
    let thing = match name {
        "fuel" => "fuel",
        "actions" => "actions",
        "memory_bytes" => return format!("{} of memory", ByteSize(n)),
        "output_bytes" => return format!("{} of output", ByteSize(n)),
        "stdio_bytes" => return format!("{} of stdout and stderr", ByteSize(n)),
        "journal_bytes" => return format!("{} of journal", ByteSize(n)),
        "table_elements" => "table elements",
        other => other,
    };
    format!("{} {thing}", Count(n))
}

/// A permission with all its bounds.
pub(super) fn granted(granted: &Granted) -> String {
    let mut text = clean(&granted.to_string());
    if let Granted::Http(http) = granted {
        let usual = Http::new(http.origin.clone());
        if http.body_bytes != usual.body_bytes {
            let _ = write!(text, " with bodies of {}", ByteSize(http.body_bytes));
        }
        if http.timeout_ms != usual.timeout_ms {
            let _ = write!(text, " within {} ms", http.timeout_ms);
        }
    }
    text
}

/// A condition on an argument as [`super::InputRule`] reads it, where it is so simple: `rows <= 100`.
pub(super) fn condition(statement: &Statement) -> Option<String> {
    let (selector, value) = match statement {
        Statement::Eq(s, value)
        | Statement::Ne(s, value)
        | Statement::Lt(s, value)
        | Statement::Le(s, value)
        | Statement::Gt(s, value)
        | Statement::Ge(s, value) => (s, simple(value)?),
        Statement::Like(s, pattern) => (s, quoted(pattern.as_str())),
        _ => return None,
    };
    Some(format!("{} {} {value}", path(selector)?, statement.operator()))
}

/// `.input.options["max-rows"][0]` as `options.max-rows[0]`.
fn path(selector: &Selector) -> Option<String> {
    let (input, rest) = selector.segments().split_first()?;
    let mut text = String::new();
    for segment in rest {
        match &segment.step {
            Step::Field(name)
                if !name.is_empty()
                    && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') =>
            {
                let dot = if text.is_empty() { "" } else { "." };
                let _ = write!(text, "{dot}{name}");
            }
            Step::Index(index) if !text.is_empty() => {
                let _ = write!(text, "[{index}]");
            }
            _ => return None,
        }
    }
    let plain = input.step == Step::Field("input".to_owned())
        && !selector.segments().iter().any(|s| s.optional)
        && !text.is_empty();
    plain.then_some(text)
}

fn simple(value: &Ipld) -> Option<String> {
    match value {
        Ipld::Null => Some("null".to_owned()),
        Ipld::Bool(b) => Some(b.to_string()),
        Ipld::Integer(n) => Some(n.to_string()),
        Ipld::Float(n) => Some(format!("{n:?}")),
        Ipld::String(text) => Some(quoted(text)),
        _ => None,
    }
}

fn quoted(text: &str) -> String {
    clean(&serde_json::Value::from(text).to_string())
}

/// A statement as it is written, in one line.
pub(super) fn verbatim(statement: &Statement) -> String {
    clean(&statement.to_string())
}

/// Text with each character escaped that moves a cursor or turns the text around it.
pub(super) fn clean(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().fold(String::with_capacity(text.len()), |mut clean, c| {
        if hidden(c) {
            let _ = write!(clean, "\\u{:04x}", u32::from(c));
        } else {
            clean.push(c);
        }
        clean
    })
}

/// A time in seconds since the Unix epoch, as RFC 3339 writes it in UTC.
pub(super) fn utc(seconds: u64) -> String {
    /// Days of 400 years of the Gregorian calendar.
    const ERA: u64 = 146_097;
    let (days, clock) = (seconds / 86_400, seconds % 86_400);
    // Counted from 1 March of the year 0, so that a leap day ends its year.
    let days = days + 719_468;
    let (era, day) = (days / ERA, days % ERA);
    let year = (day - day / 1_460 + day / 36_524 - day / (ERA - 1)) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + next;
    let (hours, minutes, seconds) = (clock / 3_600, clock / 60 % 60, clock % 60);
    format!("{year:04}-{month:02}-{date:02}T{hours:02}:{minutes:02}:{seconds:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_calendar_has_them() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_790_000_000, "2026-09-21T14:13:20Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(seconds), text);
        }
        assert!(!utc(u64::MAX).is_empty());
    }
}
