//! `actum replay`: was the receipt true?

use super::Global;
use crate::{
    error::{CliError, Kind},
    output::{self, Format, Progress},
};
use actum_model::Judgement;
use actum_node::audit;
use clap::ValueEnum;
use std::path::Path;

/// Runs a receipt's action again, offline, and prints `identical`, `diverged …` with the first difference, or
/// `not-replayable …` with the reason.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A receipt's id in this home, or a bundle that `actum receipt export` wrote
    target: String,
    /// The engine to run on; pulley is an independent, slower one
    #[arg(long, value_enum, default_value_t)]
    engine: Engine,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Engine {
    #[default]
    Cranelift,
    Pulley,
}

impl From<Engine> for actum_node::EngineKind {
    fn from(engine: Engine) -> Self {
        match engine {
            Engine::Cranelift => Self::Cranelift,
            Engine::Pulley => Self::Pulley,
        }
    }
}

pub(crate) fn run(args: Args, global: &Global) -> Result<(), CliError> {
    let progress = Progress::start("running it again");
    let path = Path::new(&args.target);
    let replayed = if path.exists() {
        audit::replay_file(path, args.engine.into())?
    } else {
        audit::replay(&global.open_home()?, &args.target, Some(args.engine.into()))?
    };
    drop(progress);
    let judgement = &replayed.judgement;
    if global.format == Format::Json {
        output::json(&serde_json::json!({
            "receipt": replayed.receipt.id().to_string(),
            "provider": replayed.receipt.payload().iss.to_string(),
            "judgement": serde_json::to_value(judgement).unwrap_or_default(),
        }));
    } else {
        match judgement {
            Judgement::Diverged(d) => {
                output::line(format!("diverged at {}", d.at));
                output::line(format!("  receipt: {}", output::clean(&d.receipt)));
                output::line(format!("  replay:  {}", output::clean(&d.replay)));
            }
            other => output::line(output::clean(&other.to_string())),
        }
        let r = replayed.receipt.payload();
        output::talk(format!(
            "receipt {} by {}: {}, {} fuel",
            replayed.receipt.id(),
            r.iss,
            r.outcome,
            output::thousands(r.fuel)
        ));
    }
    match judgement {
        Judgement::Identical => Ok(()),
        Judgement::Diverged(_) => Err(CliError::new(Kind::Verification, "the receipt is not what happens")),
        Judgement::NotReplayable(_) => {
            Err(CliError::new(Kind::Verification, "the receipt could not be checked here"))
        }
    }
}
