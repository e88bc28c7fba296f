//! `actum run`: an action on this machine.

use super::{Global, invocation, journal, permit::Asks, receipt};
use crate::{
    error::CliError,
    output::{self, Progress},
};
use actum_model::{Permission, explain::Width};
use actum_node::{
    invoke,
    provider::{CancelToken, Loaded},
    resolve::{self, Target},
    run,
};
use std::{collections::BTreeSet, path::PathBuf};

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
    /// Show on stderr what the guest asked of the real world and what it was told; with a path, also write the receipt
    /// there with everything needed to run it again, as `actum receipt export` does
    #[arg(long, value_name = "PATH", num_args = 0..=1, require_equals = true)]
    record: Option<Option<PathBuf>>,
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
    let choices = args.options.choices(&home, &asks(&args.target, &target))?;
    let ran = run::run(&home, &target, function, &encoded, choices, until_ctrl_c())?;
    drop(progress);
    let ended = invocation::Ended {
        function,
        receipt: &ran.receipt,
        output: ran.execution.output.as_deref(),
        stdout: &ran.execution.stdio.stdout,
        stderr: &ran.execution.stdio.stderr,
    };
    let printed = invocation::print(&ended, &args.options, global.format);
    if let Some(path) = &args.record {
        journal::lines(&ran.execution.journal, &ran.execution.bodies, Width::FULL).for_each(output::talk);
        if let Some(path) = path {
            receipt::export(&home, &ran.receipt.id().to_string(), path)?;
        }
    }
    printed
}

/// A token that Ctrl-C cancels: the action then ends by itself, and says so. A second Ctrl-C ends the process.
pub(super) fn until_ctrl_c() -> CancelToken {
    let cancel = CancelToken::default();
    let token = cancel.clone();
    on_ctrl_c(move || token.cancel());
    cancel
}

/// Does this on the first Ctrl-C from now on. A second one ends the process.
pub(super) fn on_ctrl_c(stop: impl FnOnce() + Send + 'static) {
    let (deaf, listening) = std::sync::mpsc::sync_channel::<()>(0);
    let listen = move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let mut deaf = Some(deaf);
            let mut pressed = std::pin::pin!(tokio::signal::ctrl_c());
            let pressed = std::future::poll_fn(|cx| {
                let now = pressed.as_mut().poll(cx);
                // From the first look on it is listened for.
                drop(deaf.take());
                now
            });
            if pressed.await.is_ok() {
                stop();
                let _ = tokio::signal::ctrl_c().await;
                std::process::exit(130);
            }
        });
    };
    // Without the thread Ctrl-C ends the process at once, as it did before.
    let _ = std::thread::Builder::new().name("ctrl-c".to_owned()).spawn(listen);
    // Nothing is ever sent: this ends once the other side is dropped, there or with a thread that could not be.
    let _ = listening.recv();
}

/// What the target asks for: its release says so, and of a bare component its imports.
fn asks(typed: &str, target: &Target) -> Asks {
    match target.release.as_ref().map(|r| r.payload()) {
        Some(release) => {
            Asks { who: format!("{}@{}", release.name, release.version), kinds: release.permissions.clone() }
        }
        None => Asks { who: typed.to_owned(), kinds: imported(&target.loaded) },
    }
}

/// What a component without a release can make use of. Files have no import of their own: any that knows file systems reads
/// them where they are granted.
fn imported(loaded: &Loaded) -> BTreeSet<Permission> {
    let reads = loaded.imports().iter().any(|i| i.name.starts_with("wasi:filesystem/"));
    let files = reads.then_some(Permission::Files);
    loaded.imports().iter().filter_map(|i| i.permission).chain(files).collect()
}
