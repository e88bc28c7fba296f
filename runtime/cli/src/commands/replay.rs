//! `actum replay`: was the receipt true?

use super::{Global, attested, authority, journal};
use crate::{
    error::{CliError, Kind},
    output::{self, Format, Progress},
};
use actum_model::{Did, Judgement, Verdict, explain::Width};
use actum_node::audit::{self, AuditError, ReplayOptions, Replayed};
use clap::ValueEnum;
use std::{path::Path, time::Duration};

/// Runs a receipt's action again, offline, and prints `identical`, `diverged …` with the first difference, or
/// `not-replayable …` with the reason. It also says by what authority the action ran, and how much of that is proven.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A receipt's id in this home, or a bundle or fraud proof that `actum receipt export` wrote
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
pub(super) enum Engine {
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

/// Replays a file's receipt. A fraud proof may only name its component, which is then taken from the home, where there is one.
fn replay_file(path: &Path, options: ReplayOptions, global: &Global) -> Result<Replayed, CliError> {
    let replayed = match audit::replay_file(path, options) {
        Err(AuditError::MissingComponent { .. }) if global.home_path()?.exists() => {
            audit::replay_file_at(&global.open_locked_home()?, path, options)
        }
        other => other,
    };
    replayed.map_err(|e| match e {
        AuditError::MissingComponent { component, .. } => {
            let text = format!("the proof only names its component {component}, and it is not in this home");
            CliError::new(Kind::NotFound, text)
                .hint("have the proof made again without --without-component, or call or run the component here once")
        }
        e => e.into(),
    })
}

/// Whose claim it is that a receipt is false, and whether it is the place where it differs here.
fn claim(verdict: &Verdict, here: &Judgement) -> (String, bool) {
    match (&verdict.judgement, here) {
        (Judgement::Diverged(claimed), Judgement::Diverged(d)) => (claimed.at.clone(), claimed.at == d.at),
        (Judgement::Diverged(claimed), _) => (claimed.at.clone(), false),
        (other, _) => (other.to_string(), false),
    }
}

pub(crate) fn run(args: Args, global: &Global) -> Result<(), CliError> {
    let progress = Progress::start("running it again");
    let path = Path::new(&args.target);
    let wall_clock = Duration::from_secs(args.wall_clock);
    let options = ReplayOptions { engine: args.engine.into(), wall_clock };
    let home = if path.exists() { None } else { Some(global.open_home()?) };
    let replayed = match &home {
        None => replay_file(path, options, global)?,
        Some(home) => audit::replay(home, &args.target, options)?,
    };
    drop(progress);
    let r = replayed.receipt.payload();
    let judgement = &replayed.judgement;
    let judged = attested::judge(global, replayed.attestation.as_ref(), &replayed.receipt)?;
    if global.format == Format::Json {
        let mut json = serde_json::json!({
            "receipt": replayed.receipt.id().to_string(),
            "provider": replayed.receipt.payload().iss.to_string(),
            "judgement": serde_json::to_value(judgement).unwrap_or_default(),
            "outcome": r.outcome.code(),
            "detail": r.outcome.to_string(),
            "proof": authority::found(r, &replayed.claimed),
            "attested": attested::to_json(judged.as_ref()),
            "refused": authority::refusals_to_json(&replayed.journal, &replayed.bodies),
        });
        if let Some(fields) = json.as_object_mut() {
            if let Some(accusation) = &replayed.accusation {
                let said = accusation.payload();
                let (place, agrees) = claim(said, judgement);
                let claim = serde_json::json!({
                    "verifier": said.iss.to_string(), "at": said.iat, "place": place, "agrees": agrees,
                });
                fields.insert("claim".to_owned(), claim);
            }
            fields.extend(authority::said(r).map(|(name, value)| (name.to_owned(), value)));
            if args.explain {
                let entries = journal::json(&replayed.journal, &replayed.bodies, Width::FULL);
                fields.insert("journal".to_owned(), entries);
            }
        }
        output::json(&json);
    } else {
        if args.explain {
            journal::lines(&replayed.journal, &replayed.bodies, Width::FULL).for_each(output::line);
        }
        match judgement {
            Judgement::Diverged(d) => {
                output::line(format!("diverged at {}", output::clean(&d.at)));
                output::line(format!("  receipt: {}", output::clean(&d.receipt)));
                output::line(format!("  replay:  {}", output::clean(&d.replay)));
            }
            other => output::line(output::clean(&other.to_string())),
        }
        output::talk(format!(
            "receipt {} by {}: {}, {} fuel",
            replayed.receipt.id(),
            r.iss,
            authority::outcome(&r.outcome),
            output::thousands(r.fuel)
        ));
        let name = |did: &Did| home.as_ref().map_or_else(|| did.short(), |home| authority::name(home, did));
        let authority = authority::lines(r, &replayed.claimed, name);
        let refusals = authority::refusals(&replayed.journal, &replayed.bodies);
        let attested = attested::line(judged.as_ref());
        authority
            .into_iter()
            .chain(attested)
            .chain(refusals)
            .for_each(|line| output::talk(authority::line(line)));
    }
    if let Some(accusation) = replayed.accusation.as_ref().filter(|_| global.format == Format::Text) {
        let said = accusation.payload();
        let (place, agrees) = claim(said, judgement);
        let here = if agrees { "and so it does here" } else { "which is not what was found here" };
        let text = format!("{} says that it differs at {place}, {here}", said.iss);
        output::talk(authority::line(("claim", text)));
    }
    let result = match judgement {
        Judgement::Identical if replayed.accusation.is_some() => {
            Some("the proof is false: the receipt is what happens")
        }
        Judgement::Identical => None,
        Judgement::Diverged(_) => Some("the receipt is not what happens"),
        Judgement::NotReplayable(_) => Some("the receipt could not be checked here"),
    };
    let authority = replayed.claimed.found.as_ref().err().filter(|_| replayed.claimed.is_false());
    let authority = authority.map(|why| format!("it did not run by the authority that it names: {why}"));
    let wrong: Vec<_> = result.map(str::to_owned).into_iter().chain(authority).collect();
    match wrong.as_slice() {
        [] => Ok(()),
        wrong => Err(CliError::new(Kind::Verification, wrong.join("; "))),
    }
}
