//! `actum audit`: were they all true?

use super::{Global, authority, grant::time, replay::Engine, run};
use crate::{
    error::{CliError, Kind},
    output::{self, Format, Progress},
};
use actum_model::{Did, ReceiptId};
use actum_node::{
    Home,
    audit::{self, AuditOptions, Kind as Found, ReplayOptions, Report, Row, Selection},
    clock,
};
use std::{
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

/// The most providers that are listed.
const LISTED_PROVIDERS: usize = 100;
/// The most rows that are listed.
const LISTED_ROWS: usize = 50;
/// How much of a text is shown in a row, in characters.
const SHOWN: usize = 120;

/// Runs the actions of many receipts again, on all cores, and says by provider and by kind what it found.
///
/// WHAT is files (bundles, flows, fraud proofs, or directories of bundles), a provider by its did:key or your name for it,
/// how far back to look (`7d`, `24h`, `2026-11-01`), or a provider and a time. Without any it is every receipt of this
/// home. Nothing that is found ends it. Files are audited without a home and without a network.
///
/// Exits with 7 where something is wrong: a receipt diverged or is damaged, does not fit its action, or did not run by the
/// authority that it names; of files also where one could not be tried, and wherever it was interrupted.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Files, a provider, how far back to look, or a provider and that
    #[arg(value_name = "WHAT")]
    what: Vec<String>,
    /// Only receipts issued since then: `7d`, `24h`, `2026-11-01`, or a date and time
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<u64>,
    /// Only receipts of this provider, by its did:key or your name for it
    #[arg(long, value_name = "WHO")]
    provider: Option<String>,
    /// Only receipts whose replay this home owes
    #[arg(long, conflicts_with_all = ["what", "since", "provider"])]
    due: bool,
    /// Only receipts on which this home has no verdict yet: goes on where an audit was interrupted
    #[arg(long)]
    new: bool,
    /// Write the report there too, as one HTML page
    #[arg(long, value_name = "PATH")]
    html: Option<PathBuf>,
    /// Write each verdict into this directory, as an in-toto Simple Verification Result in a DSSE envelope
    #[arg(long, value_name = "DIR")]
    svr: Option<PathBuf>,
    /// How many to run at once [default: as many as there are cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=128))]
    jobs: Option<u16>,
    /// The engine to run on; pulley is an independent, slower one
    #[arg(long, value_enum, default_value_t)]
    engine: Engine,
    /// Seconds after which one replay is given up as not-replayable
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    wall_clock: u64,
}

/// When to begin, in seconds since the Unix epoch: a moment, or how long ago.
fn since(text: &str) -> Result<u64, String> {
    time::begin(text).or_else(|_| {
        let ago = time::span(text).map_err(|_| {
            let shown: String = text.chars().take(40).collect();
            format!("{shown:?} is neither a time such as 2026-11-01 nor how long ago, such as 7d or 24h")
        });
        Ok(clock::now_secs().saturating_sub(ago?))
    })
}

/// What was typed, as far as that can be told without a home.
enum Asked {
    Files(Vec<PathBuf>),
    Home { who: Option<String>, since: Option<u64> },
}

impl Args {
    fn asked(&self) -> Result<Asked, CliError> {
        let usage = |message: String| Err(CliError::new(Kind::Usage, message));
        let files = self.what.iter().filter(|what| Path::new(what).exists()).count();
        if files > 0 {
            if let Some(other) = self.what.iter().find(|what| !Path::new(what).exists()) {
                return usage(format!("there is no file {other:?}"));
            }
            if self.since.is_some() || self.provider.is_some() || self.new {
                return usage(
                    "--since, --provider and --new choose among this home's receipts, not files".to_owned(),
                );
            }
            return Ok(Asked::Files(self.what.iter().map(PathBuf::from).collect()));
        }
        let (mut who, mut from) = (self.provider.clone(), self.since);
        for what in &self.what {
            match since(what) {
                Ok(_) if from.is_some() => return usage(format!("{what:?} is a second time to begin at")),
                Ok(time) => from = Some(time),
                Err(_) if who.is_some() => {
                    return usage(format!("{what:?} is a second provider, or no file"));
                }
                Err(_) => who = Some(what.clone()),
            }
        }
        Ok(Asked::Home { who, since: from })
    }

    fn options(&self) -> AuditOptions {
        let wall_clock = Duration::from_secs(self.wall_clock);
        AuditOptions {
            replay: ReplayOptions { engine: self.engine.into(), wall_clock },
            threads: self.jobs.and_then(|jobs| NonZeroUsize::new(jobs.into())),
            new: self.new,
            svr: self.svr.clone(),
            cancel: run::until_ctrl_c(),
        }
    }
}

/// The provider that somebody typed.
fn provider(home: &Home, who: &str) -> Result<Did, CliError> {
    if let Ok(did) = who.parse() {
        return Ok(did);
    }
    home.store().named(who)?.ok_or_else(|| {
        let message = format!("there is no file {who:?}, nobody is called so here, and it is no time");
        CliError::new(Kind::NotFound, message)
            .hint("files to audit, a did:key, a name that you gave one, or a time such as 7d")
    })
}

pub(crate) fn run(args: Args, global: &Global) -> Result<(), CliError> {
    let asked = args.asked()?;
    // A file needs no home, unless verdicts on what is in it are to be signed.
    let (home, what) = match asked {
        Asked::Files(paths) => {
            let home = args.svr.is_some().then(|| global.open_home()).transpose()?;
            (home, Selection::Files(paths))
        }
        Asked::Home { who, since } => {
            let home = global.open_home()?;
            let what = match who {
                _ if args.due => Selection::Due,
                Some(who) => Selection::Provider { did: provider(&home, &who)?, since },
                None => Selection::Since(since.unwrap_or(0)),
            };
            (Some(home), what)
        }
    };
    let options = args.options();
    let spinner = Progress::start("looking what there is to audit");
    let mut progress = |p: audit::Progress| {
        let wrong = match p.wrong {
            0 => String::new(),
            n => format!(", something wrong with {}", output::thousands(n)),
        };
        let (done, total) = (output::thousands(p.done), output::thousands(p.total));
        spinner.say(format!("{done} of {total} receipts{wrong}"));
    };
    let report = match (&home, &what) {
        (Some(home), _) => audit::audit_many(home, &what, &options, &mut progress)?,
        (None, Selection::Files(paths)) => audit::audit_files(paths, &options, &mut progress)?,
        (None, _) => {
            return Err(CliError::new(Kind::Internal, "a home's receipts were to be audited without one"));
        }
    };
    drop(spinner);
    let name = |did: &Did| home.as_ref().map_or_else(|| did.short(), |home| authority::name(home, did));
    if let Some(path) = &args.html {
        let page = audit::html(&report, &name, &time::words(report.at));
        fs::write(path, page)
            .map_err(|e| CliError::new(Kind::Usage, format!("cannot write {}: {e}", path.display())))?;
    }
    match global.format {
        Format::Json => output::json(&report.to_json(&name)),
        Format::Text => print(&report, &name),
    }
    let from_files = matches!(what, Selection::Files(_));
    talk(&report, &args);
    concluded(&report, from_files)
}

/// Prints who has how many receipts of which kind, and what is not identical.
fn print(report: &Report, name: &dyn Fn(&Did) -> String) {
    if report.total.receipts() == 0 {
        return;
    }
    let kinds: Vec<_> = Found::ALL.into_iter().filter(|kind| report.total.of(*kind) > 0).collect();
    let titles: Vec<_> = kinds.iter().map(|kind| kind.name().to_uppercase()).collect();
    let mut header = vec!["PROVIDER", "RECEIPTS"];
    header.extend(titles.iter().map(String::as_str));
    header.push("FUEL");
    let providers = report.worst_first();
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (did, tally) in providers.iter().take(LISTED_PROVIDERS) {
        let mut row = vec![did.map_or_else(|| "?".to_owned(), name), output::thousands(tally.receipts())];
        row.extend(kinds.iter().map(|kind| output::thousands(tally.of(*kind))));
        row.push(output::thousands(tally.fuel));
        rows.push(row);
    }
    output::line(output::table(&header, &rows));
    if let more @ 1.. = providers.len().saturating_sub(LISTED_PROVIDERS) {
        output::line(format!("… and {more} more providers"));
    }
    if report.rows.is_empty() {
        return;
    }
    let mut found: Vec<&Row> = report.rows.iter().collect();
    found.sort_by_key(|row| row.kind);
    let rows: Vec<_> = found.iter().take(LISTED_ROWS).map(|row| cells(row)).collect();
    output::line("");
    output::line(output::table(&["KIND", "RECEIPT", "WHAT"], &rows));
    let hidden = found.len().saturating_sub(LISTED_ROWS) as u64;
    if let more @ 1.. = hidden.saturating_add(report.rows_left_out) {
        output::line(format!("… and {} more; --html and --format json show them", output::thousands(more)));
    }
}

fn cells(row: &Row) -> Vec<String> {
    let file = || row.file.as_ref().map(|path| path.display().to_string());
    let receipt = row.receipt.as_ref().map(ReceiptId::to_string).or_else(file).unwrap_or_default();
    let what = match &row.divergence {
        Some(d) => format!("at {}: receipt {}, replay {}", d.at, short(&d.receipt), short(&d.replay)),
        None => short(&row.says),
    };
    let what = row.also.iter().fold(what, |what, also| format!("{what}; also: {}", short(also)));
    vec![row.kind.name().to_owned(), receipt, what]
}

fn short(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// Says how it went.
fn talk(report: &Report, args: &Args) {
    let receipts = report.total.receipts();
    output::talk(format!(
        "{} receipts in {:.1} s, {} a second on {} threads; {} fuel run again; {} verdicts kept",
        output::thousands(receipts),
        report.took.as_secs_f64(),
        output::thousands(report.per_second()),
        report.threads,
        output::thousands(report.total.fuel),
        output::thousands(report.kept),
    ));
    let unknown = unknown(report);
    if unknown > 0 {
        output::talk(format!("{} of them could not be tried here", output::thousands(unknown)));
    }
    if report.more {
        output::talk(format!(
            "there are more than {} receipts: --new goes on with those that have no verdict yet",
            output::thousands(audit::MAX_RECEIPTS as u64)
        ));
    }
    report.lost.iter().for_each(output::talk);
    let written = [("report", &args.html), ("verdicts", &args.svr)];
    for (what, path) in written {
        if let Some(path) = path {
            output::talk(format!("{what}: {}", path.display()));
        }
    }
}

/// Receipts of which nothing is known to be wrong, and which were not seen to be right either.
fn unknown(report: &Report) -> u64 {
    let known = report.total.wrong().saturating_add(report.total.of(Found::Identical));
    report.total.receipts().saturating_sub(known)
}

/// Whether everything is as it should be.
fn concluded(report: &Report, from_files: bool) -> Result<(), CliError> {
    let (receipts, wrong, unknown) = (report.total.receipts(), report.total.wrong(), unknown(report));
    let mut failed = Vec::new();
    if wrong > 0 {
        let (wrong, receipts) = (output::thousands(wrong), output::thousands(receipts));
        failed.push(format!("something is wrong with {wrong} of {receipts} receipts"));
    }
    if from_files && unknown > 0 {
        failed.push(format!("{} could not be tried here", output::thousands(unknown)));
    }
    if report.not_reached > 0 {
        let left = output::thousands(report.not_reached);
        failed.push(format!("interrupted: {left} were not looked at"));
    }
    if !failed.is_empty() {
        let error = CliError::new(Kind::Verification, failed.join("; "));
        return Err(match (report.not_reached > 0 && !from_files, wrong > 0) {
            (true, _) => error.hint("the same with --new goes on where it was interrupted"),
            (_, true) => error.hint("`actum replay <receipt>` shows all there is to say of one"),
            _ => error,
        });
    }
    if receipts == 0 && from_files {
        return Err(CliError::new(
            Kind::NotFound,
            "there is nothing to audit: no file in there ends in .car",
        ));
    }
    if !report.lost.is_empty() {
        return Err(CliError::new(Kind::Internal, "not every verdict could be kept"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_moment_or_how_long_ago() {
        let now = clock::now_secs();
        assert!(since("24h").is_ok_and(|at| now.saturating_sub(at).abs_diff(86_400) <= 7_200));
        assert_eq!(since("2026-11-01T00:00:00Z"), Ok(1_793_491_200));
        for bad in ["", "bob", "did:key:z6Mk", "0d", "-7d", "bundle.car"] {
            assert!(since(bad).is_err(), "{bad}");
        }
    }
}
