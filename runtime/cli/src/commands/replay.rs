//! `actum replay`: was the receipt true?

use super::{Global, journal};
use crate::{
    error::{CliError, Kind},
    output::{self, Format, Progress},
};
use actum_model::Judgement;
use actum_model::explain::Width;
use actum_node::audit::{self, ReplayOptions};
use clap::ValueEnum;
use std::{path::Path, time::Duration};

/// Runs a receipt's action again, offline, and prints `identical`, `diverged …` with the first difference, or
/// `not-replayable …` with the reason.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A receipt's id in this home, or a bundle that `actum receipt export` wrote
    target: String,
    /// The engine to run on; pulley is an independent, slower one
    #[arg(long, value_enum, default_value_t)]
    engine: Engine,
    /// Seconds after which the replay is given up as not-replayable
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    wall_clock: u64,
    /// Show first what the guest asked of the real world and what it was told, entry by entry; with `--format json`, as
    /// the array `journal`
    #[arg(long)]
    explain: bool,
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
    let wall_clock = Duration::from_secs(args.wall_clock);
    let options = ReplayOptions { engine: args.engine.into(), wall_clock };
    let replayed = if path.exists() {
        audit::replay_file(path, options)?
    } else {
        audit::replay(&global.open_home()?, &args.target, options)?
    };
    drop(progress);
    let judgement = &replayed.judgement;
    if global.format == Format::Json {
        let mut json = serde_json::json!({
            "receipt": replayed.receipt.id().to_string(),
            "provider": replayed.receipt.payload().iss.to_string(),
            "judgement": serde_json::to_value(judgement).unwrap_or_default(),
        });
        if let (true, Some(fields)) = (args.explain, json.as_object_mut()) {
            let entries = journal::json(&replayed.journal, &replayed.bodies, Width::FULL);
            fields.insert("journal".to_owned(), entries);
        }
        output::json(&json);
    } else {
        if args.explain {
            journal::lines(&replayed.journal, &replayed.bodies, Width::FULL).for_each(output::line);
        }
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
