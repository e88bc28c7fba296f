//! `actum sim list` and `actum sim show`: the scenarios that are built in.

use super::Global;
use crate::{
    error::{CliError, Kind},
    output::{self, Format},
};
use actum_sim::scenario::{CHECKED_IN, CheckedIn, Scenario};

#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// Its name
    name: String,
}

/// The scenario of a name.
pub(super) fn named(name: &str) -> Result<&'static CheckedIn, CliError> {
    CHECKED_IN.iter().find(|scenario| scenario.name == name).ok_or_else(|| {
        let known: Vec<_> = CHECKED_IN.iter().map(|scenario| scenario.name).collect();
        let message = format!("no scenario is called {name:?}; there are {}", known.join(", "));
        CliError::new(Kind::NotFound, message).hint("`actum sim list` says what each asks")
    })
}

pub(super) fn run(global: &Global) -> Result<(), CliError> {
    let mut rows = Vec::new();
    for checked_in in CHECKED_IN {
        let scenario = Scenario::parse(checked_in.text, &format!("{}.toml", checked_in.name))?;
        rows.push((checked_in.name, scenario.runs(false)?, scenario.title, scenario.question));
    }
    if global.format == Format::Json {
        let all = rows.iter().map(|(name, runs, title, question)| {
            serde_json::json!({"name": name, "runs": runs, "title": title, "question": question})
        });
        output::json(&all.collect());
        return Ok(());
    }
    for (name, runs, title, question) in rows {
        output::line(format!("{name}: {title}, {} runs\n  {question}", output::thousands(runs)));
    }
    Ok(())
}

pub(super) fn show(args: &Show, global: &Global) -> Result<(), CliError> {
    let found = named(&args.name)?;
    match global.format {
        Format::Json => output::json(&serde_json::json!({"name": found.name, "toml": found.text})),
        Format::Text => output::raw(found.text.as_bytes()),
    }
    Ok(())
}
