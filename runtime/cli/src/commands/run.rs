//! `actum run`: an action on this machine.

use super::{Global, invocation};
use crate::{error::CliError, output::Progress};
use actum_node::{invoke, resolve, run};

/// Runs a function of a component, on this machine, and keeps a receipt.
///
/// The result goes to stdout as JSON, the receipt's id to stderr.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A .wasm or .wat file, a capability's directory, an id, or a name of this home
    target: String,
    /// The function's name, or `namespace:package/interface#name`
    function: String,
    /// A JSON array in parameter order, an object by parameter name, one bare value, `@file`, or `-` for stdin
    args: Option<String>,
    #[command(flatten)]
    options: invocation::ActionOptions,
}

pub(crate) fn run(args: Args, global: &Global) -> Result<(), CliError> {
    let home = global.open_home()?;
    let progress = Progress::start(format!("loading {}", args.target));
    let target = resolve::resolve(&home, &args.target)?;
    let function = target.function(&args.function)?;
    let json = invocation::read_args(function, args.args.as_deref())?;
    let encoded = invoke::encode_args(function, &json, &mut |path| invocation::read_file(path))?;
    progress.say(format!("running {}", function.name.name()));
    let ran = run::run(&home, &target, function, &encoded, args.options.choices())?;
    drop(progress);
    let ended = invocation::Ended {
        function,
        receipt: &ran.receipt,
        output: ran.execution.output.as_deref(),
        stdout: &ran.execution.stdio.stdout,
        stderr: &ran.execution.stdio.stderr,
    };
    invocation::print(&ended, &args.options, global.format)
}
