//! The `actum` command: parses what a person typed, calls the library, prints.
//!
//! One file per verb under `commands`, no logic of its own. Data goes to stdout, talk to stderr.

#![forbid(unsafe_code)]

mod commands;
mod error;
mod output;
mod passphrase;

use clap::Parser;
use std::{io::IsTerminal, process::ExitCode};

fn main() -> ExitCode {
    let cli = commands::Cli::parse();
    let format = cli.global.format;
    init_tracing(cli.global.verbose, cli.is_staged());
    match commands::dispatch(cli).and_then(|()| output::finish()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.print(format);
            ExitCode::from(error.kind.exit_code())
        }
    }
}

/// Logs go to stderr; `-v` raises them, `RUST_LOG` overrides.
fn init_tracing(verbose: u8, quiet: bool) {
    let default = match verbose {
        0 if quiet => "error",
        0 => "actum=warn,actum_node=warn,error",
        1 => "actum=info,actum_node=info,actum_overlay=info,warn",
        2 => "actum=debug,actum_node=debug,actum_overlay=debug,actum_sandbox=debug,info",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| default.into());
    let colours = std::io::stderr().is_terminal();
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    log.with_target(false).init();
}
