//! `actum sim run`: one scenario.

use super::{Global, list, print, simulate};
use crate::error::CliError;
use actum_sim::{
    paper::{self, Options},
    profile::Profile,
    scenario::Scenario,
};
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A file, or the name of one that `actum sim list` lists
    scenario: String,
    /// What chance is drawn from; the same seed gives the same files
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How many seeds to run each point with [default: the scenario's]
    #[arg(long, value_name = "N")]
    seeds: Option<u32>,
    /// Where to write [default: actum-sim-NAME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The scenario's fewer values and seeds
    #[arg(long)]
    quick: bool,
    /// A profile to use instead of the one that is built in, as `actum sim calibrate` writes it
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
}

/// The scenario that somebody typed: a file wins over a name.
fn scenario(typed: &str) -> Result<Scenario, CliError> {
    let path = Path::new(typed);
    match path.is_file() || typed.contains(['/', '.']) {
        true => Ok(Scenario::read(path)?),
        false => {
            let found = list::named(typed)?;
            Ok(Scenario::parse(found.text, &format!("{}.toml", found.name))?)
        }
    }
}

pub(super) fn run(args: &Args, global: &Global) -> Result<(), CliError> {
    let mut scenario = scenario(&args.scenario)?;
    if let Some(seeds) = args.seeds {
        (scenario.seeds.full, scenario.seeds.quick) = (seeds, seeds);
        scenario.runs(args.quick)?;
    }
    let profile = match &args.profile {
        Some(path) => paper::read_profile(path)?,
        None => Profile::measured().map_err(paper::PaperError::from)?,
    };
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("actum-sim-{}", scenario.name)));
    let options = Options { quick: args.quick, seed: args.seed, out: &out };
    let quick = if args.quick { " --quick" } else { "" };
    let seeds = args.seeds.map(|seeds| format!(" --seeds {seeds}")).unwrap_or_default();
    let profile_of = args.profile.as_ref().map(|path| format!(" --profile {}", path.display()));
    let again = format!(
        "actum sim run {}{quick} --seed {}{seeds}{} --out {}",
        args.scenario,
        args.seed,
        profile_of.unwrap_or_default(),
        out.display()
    );
    let done = simulate(&again, |stop, heard| paper::one(&scenario, &options, &profile, stop, heard))?;
    print(&done, &out, global);
    Ok(())
}
