//! `actum completions`: completion scripts.

use crate::error::CliError;
use clap::CommandFactory;

/// Prints a completion script for a shell.
///
/// Example: actum completions bash > ~/.local/share/bash-completion/completions/actum
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    shell: clap_complete::Shell,
}

pub(crate) fn run(args: Args) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "actum", &mut script);
    crate::output::raw(&script);
    Ok(())
}
