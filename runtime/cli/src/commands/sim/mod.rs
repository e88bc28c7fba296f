//! `actum sim`: the network in virtual time.

mod calibrate;
mod crosscheck;
mod homes;
mod list;
mod paper;
mod peer;
mod run;

use super::{Global, run::on_ctrl_c};
use crate::{
    error::{CliError, Kind},
    output::{self, Format, Progress},
};
use actum_sim::{
    paper::{Done, Event, PaperError},
    report::Verdict,
};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Simulates a network of many peers, some of them hostile, by the rules that the node has.
///
/// Time is virtual and chance is a seed's: the same seed gives the same files, byte by byte. docs/simulator.md says what is
/// modelled and what is not.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Repeat the paper's experiments and those past it, and write a report
    ///
    /// Runs every scenario that comes with this command, the advertise plane by itself and the search for the cheapest level of
    /// checks; writes report.html and report.md with their figures, every figure of every run as CSV, and risk.toml. A shape
    /// that was expected and did not come is reported, and is no failure.
    ///
    /// What is done is not done again: the same command goes on where it was interrupted.
    Paper(paper::Args),
    /// Run one scenario, your own or one of those listed
    Run(run::Args),
    /// List the scenarios that come with this command
    List,
    /// Print a scenario's file, to begin one's own from
    Show(list::Show),
    /// Measure what this machine's node takes and weighs
    Calibrate(calibrate::Args),
    /// Run a network of real nodes and the same one in virtual time, and compare
    Crosscheck(crosscheck::Args),
    /// Run a node of a cross-check
    #[command(hide = true)]
    Peer(peer::Args),
}

pub(crate) fn run(args: Args, global: &Global) -> Result<(), CliError> {
    match args.verb {
        Verb::Paper(args) => paper::run(&args, global),
        Verb::Run(args) => run::run(&args, global),
        Verb::List => list::run(global),
        Verb::Show(args) => list::show(&args, global),
        Verb::Calibrate(args) => calibrate::run(args, global),
        Verb::Crosscheck(args) => crosscheck::run(args, global),
        Verb::Peer(args) => peer::run(args, global),
    }
}

/// Simulates, and says how it comes along: a line for each part that is over, and on a terminal what is being run. Ctrl-C ends
/// it, and then `again` is the command that goes on.
fn simulate(
    again: &str,
    simulate: impl FnOnce(&AtomicBool, &(dyn Fn(Event<'_>) + Sync)) -> Result<Done, PaperError>,
) -> Result<Done, CliError> {
    let stop = Arc::new(AtomicBool::new(false));
    let told = stop.clone();
    on_ctrl_c(move || told.store(true, Ordering::Relaxed));
    let spinner = Progress::start("reading the scenarios");
    let heard = |event: Event<'_>| match event {
        Event::Running { name, done, total } => {
            let (done, total) = (output::thousands(done), output::thousands(total));
            spinner.say(format!("{name}: {done} of {total} runs"));
        }
        Event::Ended { name, held, missed } => {
            let shapes = match (held, missed) {
                (0, 0) => String::new(),
                (held, 0) => format!(", {held} of {held} shapes held"),
                (held, missed) => format!(", {held} of {} shapes held", held.saturating_add(missed)),
            };
            spinner.aside(|| output::talk(format!("{name}: done{shapes}")));
        }
        Event::Warning(text) => spinner.aside(|| output::talk(text)),
    };
    let done = simulate(&stop, &heard);
    drop(spinner);
    done.map_err(|error| match error {
        PaperError::Stopped => CliError::new(Kind::Internal, "interrupted; every run that was over is kept")
            .hint(format!("`{again}` goes on where it was left")),
        error => error.into(),
    })
}

/// Prints what came out.
fn print(done: &Done, out: &Path, global: &Global) {
    if global.format == Format::Json {
        let sections = done.report.sections.iter().map(|section| {
            let texts = |held: bool| -> Vec<&str> {
                section.verdicts.iter().filter(|v| v.held() == held).map(Verdict::text).collect()
            };
            serde_json::json!({
                "name": section.id, "title": section.title, "held": texts(true), "missed": texts(false),
            })
        });
        let json = serde_json::json!({
            "out": out.display().to_string(), "report": done.written.html.display().to_string(),
            "sections": sections.collect::<Vec<_>>(),
        });
        return output::json(&json);
    }
    for section in done.report.sections.iter().filter(|section| !section.verdicts.is_empty()) {
        output::line(&section.title);
        for verdict in &section.verdicts {
            output::line(format!(
                "  {:6}  {}",
                if verdict.held() { "held" } else { "missed" },
                verdict.text()
            ));
        }
    }
    output::talk(format!("report: {}", done.written.html.display()));
}
