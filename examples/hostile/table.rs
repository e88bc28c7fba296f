//! What is written of it: the table, and what it says in words.

use crate::{
    cell::{HONEST, IN_FLIGHT, Level, Tally},
    kinds::Kind,
};
use std::{fmt::Write, time::Duration};

/// From so many actions on, one in a thousand can be told.
const TELLS_ONE_IN_A_THOUSAND: usize = 1_000;
/// From so many actions on, what newcomers' probation costs is no longer most of what is checked.
const TELLS_EXTRA_FUEL: usize = 10_000;
/// The most extra fuel under `medium`, in thousandths of the work's.
const EXTRA_PERMILLE: u64 = 150;

/// One line of the table.
pub(crate) struct Row {
    pub(crate) kind: Kind,
    pub(crate) level: Level,
    pub(crate) tally: Tally,
}

impl Row {
    fn name(&self) -> String {
        format!("{} under `{}`", self.kind.name(), self.level.name())
    }

    /// What of the goals it misses.
    fn misses(&self) -> Vec<String> {
        let Tally { actions, wrong, failed, .. } = self.tally;
        let mut missed = Vec::new();
        if failed.saturating_mul(10) > actions {
            let why = self.tally.failure.as_deref().unwrap_or_default();
            missed
                .push(format!("{} left {failed} of {actions} actions without an output: {why}", self.name()));
        }
        let told = match self.level {
            Level::High => wrong > 0,
            // Nothing but others' eyes finds out what is false of the world, and this level has none.
            Level::Medium if self.kind != Kind::Journal => {
                actions >= TELLS_ONE_IN_A_THOUSAND && wrong.saturating_mul(1_000) >= actions
            }
            _ => false,
        };
        if told {
            missed.push(format!("{} handed over {wrong} wrong outputs in {actions} actions", self.name()));
        }
        if self.level == Level::Medium
            && actions >= TELLS_EXTRA_FUEL
            && self.tally.extra_permille() > EXTRA_PERMILLE
        {
            missed.push(format!("{} cost {} more fuel", self.name(), percent(self.tally.extra_permille())));
        }
        let heard = self.tally.heard;
        if self.kind.is_provable() && heard.convicted > 0 && heard.network.is_none() {
            missed.push(format!("{}: not every honest node came to know of the lie", self.name()));
        }
        missed
    }
}

/// The goals that these rows miss, each in a line: under `high` no wrong output; under `medium` less than one in a thousand but
/// for the journal's liar, at no more than 15% extra fuel; and an output for nine actions in ten, since no output is no proof.
pub(crate) fn missed(rows: &[Row]) -> Vec<String> {
    rows.iter().flat_map(Row::misses).collect()
}

/// The table, in Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| provider | level | wrong outputs | no output | actions it took | lies told | last asked at action | caught after | \
         everybody knew after | extra fuel | extra bytes an action | longest wait |\n\
         |---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for Row { kind, level, tally } in rows {
        let last = match (tally.last_asked, tally.is_dropped()) {
            (None, _) => "–".to_owned(),
            (Some((n, after)), true) => format!("{} ({})", thousands(n), seconds(after)),
            (Some(_), false) => "still asked".to_owned(),
        };
        let time = |time: Option<Duration>| time.map_or_else(|| "–".to_owned(), seconds);
        let each = tally.extra_bytes.checked_div(u64::try_from(tally.actions).unwrap_or(0)).unwrap_or(0);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {last} | {} | {} | {} | {} | {} |",
            kind.name(),
            level.name(),
            thousands(tally.wrong),
            thousands(tally.failed),
            thousands(tally.served),
            thousands(tally.lies),
            time(tally.heard.caught),
            time(tally.heard.network),
            percent(tally.extra_permille()),
            thousands(each),
            seconds(tally.longest),
        );
    }
    text
}

/// What a run was made with.
pub(crate) struct Made<'a> {
    pub(crate) actions: usize,
    pub(crate) seed: u64,
    /// The options that say that not all of it was run.
    pub(crate) limits: String,
    pub(crate) date: &'a str,
    /// The digests of what was asked for.
    pub(crate) work: Vec<String>,
    /// What could not be run, a line each.
    pub(crate) broken: &'a [String],
}

/// The whole page.
pub(crate) fn page(rows: &[Row], made: &Made<'_>) -> String {
    let Made { actions, seed, limits, date, work, broken } = made;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut text = format!(
        "# Hostile providers, and what they achieve\n\n\
         Written by one command, which runs all of it anew:\n\n\
         ```\n\
         cargo run --release -p actum-examples --example hostile-providers -- \\\n    \
         --actions {actions} --seed {seed}{limits} --date {date} --write docs/hostile.md\n\
         ```\n\n\
         Actum {}, {date}, {cores} cores. The seed decides what is asked for (sha2-256 of it: {}); whom it is asked of and what is checked is drawn by \
         the requester, who tells nobody.\n\n",
        env!("CARGO_PKG_VERSION"),
        work.join(", "),
    );
    let _ = write!(
        text,
        "## Who is there\n\n\
         Each line of the table is a run of its own: a peer that others announce to, {HONEST} honest providers, the hostile one (two of \
         those that collude), each a process with a home of its own, and a requester that nobody knows and that knows nobody. It \
         delegates {} actions, {IN_FLIGHT} at a time, by the same code as `actum call --risk`, with the levels as they are unless \
         configured (see [trust.md](trust.md)). In its home runs a node, which tells the others what was found out.\n\n",
        thousands(*actions),
    );
    text.push_str(
        "The actions count the words of texts of a hundred bytes to 16 KiB. One in five asks what was asked before, one new text in \
         twenty has 8 KiB or more. Against the one who lies about the world they read one of 200 facts from a bucket that the \
         provider keeps. Who offers the capability is looked up once in a thousand actions; `actum call` does so each time.\n\n",
    );
    let mut kinds: Vec<Kind> = rows.iter().map(|row| row.kind).collect();
    kinds.dedup();
    text.push_str("| provider | what it does |\n|---|---|\n");
    for kind in kinds {
        let _ = writeln!(text, "| {} | {} |", kind.name(), kind.does());
    }
    text.push_str("\n## What they achieve\n\n");
    text.push_str(&table(rows));
    text.push_str(
        "\nWhat right is, the program knows: it ran every input itself. *Wrong outputs* reached the user, *lies told* did not all: those \
         found out before are replaced by another provider's answer. *Actions it took* counts canaries and replicas, too. *Last asked* \
         is the action at which this requester asked it anything for the last time, and when; who was asked in the last tenth of the \
         run is *still asked*. *Caught* is when re-execution or a canary convicted it, from the first action on; *everybody knew* is \
         how much later every honest node had replayed the proof itself (of both, where two collude). *Extra fuel* is what checks \
         and answers not taken burned, here and at providers, over the fuel of the work; what an action without an output cost is not \
         in it; *extra bytes* are arguments, outputs and \
         journals that moved for them. *Longest wait* is that of the one answer that took longest, checks and other providers \
         included.\n\n## What that says\n\n",
    );
    text.push_str(&reading(rows));
    for what in *broken {
        let _ = writeln!(text, "- Not run: {what}.");
    }
    text
}

/// What the rows say, in words.
fn reading(rows: &[Row]) -> String {
    let mut text = String::new();
    for level in [Level::Low, Level::Medium, Level::High] {
        let here: Vec<&Row> = rows.iter().filter(|row| row.level == level).collect();
        if here.is_empty() {
            continue;
        }
        let actions = here.iter().fold(0_usize, |sum, row| sum.saturating_add(row.tally.actions));
        let wrong = here.iter().fold(0_usize, |sum, row| sum.saturating_add(row.tally.wrong));
        let _ = write!(
            text,
            "- Under `{}`, {} of {} actions gave a wrong output",
            level.name(),
            thousands(wrong),
            thousands(actions)
        );
        let mut worst: Vec<&&Row> = here.iter().filter(|row| row.tally.wrong > 0).collect();
        worst.sort_by_key(|row| std::cmp::Reverse(row.tally.wrong));
        let worst: Vec<String> = worst
            .into_iter()
            .map(|row| format!("{} by {}", thousands(row.tally.wrong), row.kind.name()))
            .collect();
        if !worst.is_empty() {
            let _ = write!(text, " ({})", worst.join(", "));
        }
        let extra = here.iter().map(|row| row.tally.extra_permille());
        let (least, most) = (extra.clone().min().unwrap_or(0), extra.max().unwrap_or(0));
        let _ = writeln!(text, ", for {} to {} extra fuel.", percent(least), percent(most));
    }
    let caught: Vec<&Row> = rows.iter().filter(|row| row.tally.heard.caught.is_some()).collect();
    let slowest = caught.iter().filter_map(|row| row.tally.heard.network).max();
    if let Some(slowest) = slowest {
        let knew = caught.iter().filter(|row| row.tally.heard.network.is_some()).count();
        let _ = writeln!(
            text,
            "- {} of {} runs convicted a liar; in {knew} of them every honest node verified the proof of it, the last of them {} after \
             it was found out.",
            caught.len(),
            rows.len(),
            seconds(slowest)
        );
    }
    if rows.iter().any(|row| row.kind == Kind::Journal) {
        text.push_str(
            "- A false world cannot be found out by replay: the receipt says truly what the guest was told and did. Only asking \
             several providers does, and nobody is convicted by it.\n",
        );
    }
    if rows.iter().any(|row| matches!(row.kind, Kind::Slow | Kind::NeverAnswers | Kind::Claims)) {
        text.push_str(
            "- Who is slow, silent or unable costs waiting, not truth. No proof of it exists that others would have to believe, so each \
             node finds out by itself.\n",
        );
    }
    match missed(rows) {
        missed if missed.is_empty() => text.push_str(
            "- The goals are met as far as these runs can tell: under `high` no wrong output; under `medium` fewer than one in a \
             thousand but for the liar about the world, and no more than 15% extra fuel.\n",
        ),
        missed => missed.iter().for_each(|miss| {
            let _ = writeln!(text, "- Missed: {miss}.");
        }),
    }
    text
}

fn percent(permille: u64) -> String {
    format!("{}.{}%", permille / 10, permille % 10)
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// A number with a comma before each three digits.
pub(crate) fn thousands(n: impl ToString) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
