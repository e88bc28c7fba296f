//! `actum sim paper`: the paper's experiments again, and what lies past them.

use super::{Global, print, simulate};
use crate::error::CliError;
use actum_sim::{
    paper::{self, Options},
    profile::Profile,
};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What chance is drawn from; the same seed gives the same files
    #[arg(long, value_name = "N")]
    seed: u64,
    /// Where to write
    #[arg(long, value_name = "DIR", default_value = "actum-sim-paper")]
    out: PathBuf,
    /// Fewer values, fewer seeds and less time: whether it works, in a minute
    #[arg(long)]
    quick: bool,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<(), CliError> {
    let profile = Profile::measured().map_err(paper::PaperError::from)?;
    let options = Options { quick: args.quick, seed: args.seed, out: &args.out };
    let quick = if args.quick { " --quick" } else { "" };
    let again = format!("actum sim paper{quick} --seed {} --out {}", args.seed, args.out.display());
    let done = simulate(&again, |stop, heard| paper::paper(&options, &profile, stop, heard))?;
    print(&done, &args.out, global);
    Ok(())
}
