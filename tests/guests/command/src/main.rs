//! A command program: no WIT of its own, only `wasi:cli/run`.
//!
//! Prints its arguments to stdout, a line each, then copies stdin to stdout; says on stderr how many bytes that were; exits with the
//! code given as `--exit=<n>`, else 0.

use std::io::Write;
use std::process::ExitCode;

fn main() -> std::io::Result<ExitCode> {
    let mut code = 0;
    let mut out = std::io::stdout().lock();
    for argument in std::env::args().skip(1) {
        if let Some(given) = argument.strip_prefix("--exit=").and_then(|given| given.parse().ok()) {
            code = given;
        }
        writeln!(out, "argument: {argument}")?;
    }
    let bytes = std::io::copy(&mut std::io::stdin().lock(), &mut out)?;
    out.flush()?;
    eprintln!("copied {bytes} bytes");
    Ok(ExitCode::from(code))
}
