//! `actum key`: who this home is.

use super::Global;
use crate::{
    error::CliError,
    output::{self, Format},
};

/// Shows who this home is.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Print this home's did:key
    Show,
}

pub(crate) fn run(args: Args, global: &Global) -> Result<(), CliError> {
    let Verb::Show = args.verb;
    let home = global.open_home()?;
    let (did, peer_id) = (home.did(), actum_node::peer_id(&home.did()));
    match global.format {
        Format::Text => output::line(did.to_string()),
        Format::Json => output::json(&serde_json::json!({"did": did.to_string(), "peer_id": peer_id})),
    }
    Ok(())
}
