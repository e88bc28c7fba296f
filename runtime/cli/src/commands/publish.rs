//! `actum publish`: a signed release.

use super::Global;
use crate::{
    error::CliError,
    output::{self, Format, Progress},
};
use actum_model::{Release, Signed};
use actum_node::publish::{Described, publish};
use std::path::PathBuf;

/// Signs a release of a component: its name, functions, permissions and examples, each checked first.
///
/// The release's id goes to stdout. Publishing the same bytes twice gives the same id.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A capability's directory, or a .wasm or .wat file with an actum.toml beside it or the options below
    path: PathBuf,
    /// The capability's name, where there is no actum.toml
    #[arg(long)]
    name: Option<String>,
    /// Its version, where there is no actum.toml [default: 0.1.0]
    #[arg(long)]
    version: Option<semver::Version>,
    /// What it does, in one sentence, where there is no actum.toml
    #[arg(long)]
    intent: Option<String>,
    /// The exported interface to offer; repeat for several
    #[arg(long, value_name = "NAMESPACE:PACKAGE/INTERFACE")]
    interface: Vec<String>,
    /// An actum.toml elsewhere than beside the component
    #[arg(long, conflicts_with_all = ["name", "version", "intent", "interface"])]
    manifest: Option<PathBuf>,
}

pub(crate) fn run(args: Args, global: &Global) -> Result<(), CliError> {
    let home = global.open_home()?;
    let progress = Progress::start("checking the component and its examples");
    let described = Described {
        name: args.name,
        version: args.version,
        intent: args.intent,
        interfaces: args.interface,
        manifest: args.manifest,
    };
    let release = publish(&home, &args.path, described)?;
    drop(progress);
    print(&release, global.format);
    Ok(())
}

/// Prints a release: its id as data, what it offers as talk.
fn print(release: &Signed<Release>, format: Format) {
    let r = release.payload();
    if format == Format::Json {
        return output::json(&serde_json::json!({
            "release": release.id().to_string(),
            "component": r.component.to_string(),
            "component_bytes": r.component_bytes,
            "name": r.name.as_str(),
            "version": r.version.to_string(),
            "author": r.iss.to_string(),
            "functions": r.functions.iter().map(|f| serde_json::json!({
                "name": f.name.to_string(), "signature": f.to_string(), "docs": f.docs,
            })).collect::<Vec<_>>(),
            "permissions": r.permissions.iter().map(|p| p.name()).collect::<Vec<_>>(),
            "examples": r.examples.len(),
        }));
    }
    output::talk(format!("published {}@{}: {}", r.name, r.version, r.intent));
    for f in &r.functions {
        output::talk(format!("  {f}"));
    }
    let permissions = r.permissions.iter().map(|p| p.name()).collect::<Vec<_>>().join(", ");
    let permissions = if permissions.is_empty() { "none".to_owned() } else { permissions };
    output::talk(format!("permissions: {permissions}; examples reproduced: {}", r.examples.len()));
    output::talk(format!("component: {} ({})", r.component, output::bytes(r.component_bytes)));
    output::line(release.id().to_string());
}
