//! Hostile providers, each in a process of its own, and a requester that delegates thousands of actions among them and honest
//! ones: how many wrong outputs reach it, how soon it is rid of the liar, how soon everybody is, and what that costs.
//!
//! `docs/hostile.md` is what it writes; with `--check` it ends with an error where a goal is missed.

#[path = "hostile/cell.rs"]
mod cell;
#[path = "hostile/hearing.rs"]
mod hearing;
#[path = "hostile/kinds.rs"]
mod kinds;
#[path = "hostile/peers.rs"]
mod peers;
#[path = "hostile/table.rs"]
mod table;
#[path = "hostile/work.rs"]
mod work;

use actum_node::Home;
use cell::{Cell, Level};
use clap::{Parser, ValueEnum};
use kinds::Kind;
use peers::Role;
use std::{error::Error, fs, path::PathBuf, process::ExitCode};
use table::{Made, Row, thousands};
use work::Work;

/// Delegates actions among honest and hostile providers, and says what the hostile ones achieved.
#[derive(Debug, Parser)]
struct Args {
    /// Actions of each kind and level
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    actions: u32,
    /// What decides what is asked for
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A kind of provider to run; may be repeated. Default: all
    #[arg(long, value_name = "KIND")]
    only: Vec<Kind>,
    /// A level of risk to run; may be repeated. Default: all three
    #[arg(long, value_name = "LEVEL")]
    level: Vec<Level>,
    /// How long one provider's answer is waited for, in seconds. Default: as the level has it
    #[arg(long, value_name = "SECONDS")]
    patience: Option<u32>,
    /// End with an error where a goal is missed
    #[arg(long)]
    check: bool,
    /// Write the page about it here
    #[arg(long, value_name = "PATH", requires = "date")]
    write: Option<PathBuf>,
    /// What day it is, for the page
    #[arg(long, value_name = "YYYY-MM-DD")]
    date: Option<String>,
    #[command(flatten)]
    role: Role,
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut args = Args::parse();
    let done = match args.role.serve.take() {
        Some(home) => peers::serve(args.role, &home).await.map(|()| true),
        None => run(args).await,
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

/// Runs what is asked for; says whether that is well.
async fn run(args: Args) -> Result<bool, Box<dyn Error>> {
    let limits = limits(&args);
    let kinds = match args.only.is_empty() {
        true => Kind::value_variants().to_vec(),
        false => args.only,
    };
    let levels = match args.level.is_empty() {
        true => Level::value_variants().to_vec(),
        false => args.level,
    };
    let dir = tempfile::tempdir()?;
    let actions = usize::try_from(args.actions)?;
    let author = Home::open(&dir.path().join("author"))?;
    eprintln!("seed {}: finding out what is right", args.seed);
    let (mut pure, mut world) = (None, None);
    if kinds.iter().any(|kind| *kind != Kind::Journal) {
        pure = Some(Work::pure(&author, dir.path(), actions, args.seed)?);
    }
    if kinds.contains(&Kind::Journal) {
        world = Some(Work::of_the_world(&author, dir.path(), actions, args.seed)?);
    }
    let count = kinds.len().saturating_mul(levels.len());
    let (mut rows, mut broken): (Vec<Row>, Vec<String>) = (Vec::with_capacity(count), Vec::new());
    for kind in kinds {
        for level in &levels {
            let work = if kind == Kind::Journal { &world } else { &pure };
            let Some(work) = work else { continue };
            let place = dir.path().join(format!("{}-{}", kind.name(), level.name()));
            fs::create_dir(&place)?;
            let cell = Cell { author: &author, work, kind, level: *level, patience: args.patience };
            let done = cell.run(&place).await;
            // What is left of it goes with the directory at the end.
            let _ = fs::remove_dir_all(&place);
            let number = rows.len().saturating_add(broken.len()).saturating_add(1);
            let tally = match done {
                Ok(tally) => tally,
                Err(error) => {
                    broken.push(format!("{} under `{}`: {error}", kind.name(), level.name()));
                    eprintln!("[{number}/{count}] {} under {}: {error}", kind.name(), level.name());
                    continue;
                }
            };
            eprintln!(
                "[{number}/{count}] {} under {}: {} actions in {:.1} s, {} wrong, {} without an output{}",
                kind.name(),
                level.name(),
                thousands(tally.actions),
                tally.took.as_secs_f64(),
                tally.wrong,
                tally.failed,
                tally.failure.as_ref().map(|why| format!(" (the first: {why})")).unwrap_or_default(),
            );
            rows.push(Row { kind, level: *level, tally });
        }
    }
    println!("{}", table::table(&rows));
    if let (Some(path), Some(date)) = (&args.write, &args.date) {
        let work = pure.iter().chain(&world).map(|work| work.id().to_string()).collect();
        let made = Made { actions, seed: args.seed, limits, date, work, broken: &broken };
        fs::write(path, table::page(&rows, &made))?;
        eprintln!("wrote {}", path.display());
    }
    let missed = table::missed(&rows);
    for miss in &missed {
        eprintln!("missed: {miss}");
    }
    Ok(broken.is_empty() && (missed.is_empty() || !args.check))
}

/// The options by which less than everything is run, or otherwise than configured, as they are typed.
fn limits(args: &Args) -> String {
    let only = args.only.iter().map(|kind| format!(" --only {}", kind.name()));
    let level = args.level.iter().map(|level| format!(" --level {}", level.name()));
    let patience = args.patience.iter().map(|seconds| format!(" --patience {seconds}"));
    only.chain(level).chain(patience).collect()
}
