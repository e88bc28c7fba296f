//! `actum build`: a capability's crate to a checked component.

use super::Global;
use crate::{
    error::CliError,
    output::{self, Format, Progress},
};
use actum_node::{manifest, resolve};
use std::path::PathBuf;

/// Compiles the capability in a directory for wasm32-wasip2 and loads the result as a node would.
///
/// The component's path goes to stdout.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The capability's directory
    #[arg(default_value = ".")]
    dir: PathBuf,
}

pub(crate) fn run(args: Args, global: &Global) -> Result<(), CliError> {
    let home = global.open_locked_home()?;
    manifest::Manifest::read(&args.dir.join(manifest::FILE_NAME))?;
    let path = resolve::build(&args.dir)?;
    let progress = Progress::start("compiling the component");
    let shown = path.display().to_string();
    let target = resolve::resolve(&home, &shown)?;
    drop(progress);
    if global.format == Format::Json {
        output::json(&serde_json::json!({
            "path": shown,
            "component": target.loaded.id().to_string(),
            "component_bytes": target.component.len(),
            "functions": target.loaded.functions().iter().map(ToString::to_string).collect::<Vec<_>>(),
            "imports": target.loaded.imports().iter().map(|i| &i.name).collect::<Vec<_>>(),
        }));
        return Ok(());
    }
    for f in target.loaded.functions() {
        output::talk(format!("  {f}"));
    }
    output::talk(format!(
        "component: {} ({})",
        target.loaded.id(),
        output::bytes(target.component.len() as u64)
    ));
    output::line(shown);
    Ok(())
}
