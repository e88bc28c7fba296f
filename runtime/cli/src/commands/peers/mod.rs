//! `actum peers`: the peers this home knows, and how it stands with each.

mod balance;
mod list;
mod show;

use super::Global;
use crate::error::CliError;

/// Lists the peers this home has met, and what they offer now; or says how it stands with one.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show what this home holds for and against a peer, and by which receipts
    Show(show::Args),
    /// Show what this home and a peer have served each other, and whether both count the same
    Balance(balance::Args),
}

pub(crate) fn run(args: Args, global: &Global) -> Result<(), CliError> {
    match args.verb {
        None => list::run(global),
        Some(Verb::Show(args)) => show::run(&args, global),
        Some(Verb::Balance(args)) => balance::run(args, global),
    }
}
