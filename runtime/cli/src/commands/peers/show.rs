//! `actum peers show`: what this home holds for and against a peer, and by which receipts.

use super::super::{Global, authority, grant::time};
use crate::{
    error::CliError,
    output::{self, Format},
};
use actum_model::ComponentId;
use actum_node::{
    Home,
    records::{self, Event, Record},
};
use serde_json::{Value as Json, json};

/// Shows what this home holds for and against a peer: its standing, why, and the receipts behind it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A peer's did:key, or what this home calls it
    peer: String,
    /// How many of the newest events to list
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<(), CliError> {
    let home = global.open_locked_home()?;
    let peer = super::balance::named(&home, &args.peer)?;
    let records = records::records_of(&home, &peer)?;
    let overall = records::overall(&home, &peer)?;
    let events = records::newest(&home, &peer, args.limit)?;
    if global.format == Format::Json {
        let capabilities = records.iter().map(|(component, record)| capability(&home, component, record));
        output::json(&json!({
            "peer": peer.to_string(),
            "standing": overall.standing().name(),
            "why": overall.explain(),
            "confirmed": overall.confirmed,
            "served": overall.served,
            "missed": overall.missed,
            "millis": overall.millis,
            "fraud": overall.fraud.and_then(|fraud| fraud.receipt).map(|receipt| receipt.to_string()),
            "capabilities": capabilities.collect::<Result<Vec<_>, CliError>>()?,
            "events": events.iter().map(event).collect::<Vec<_>>(),
        }));
        return Ok(());
    }
    output::line(format!("{} is {}", authority::name(&home, &peer), overall.standing().name()));
    overall.explain().iter().for_each(|line| output::line(format!("  {line}")));
    if records.len() > 1 {
        let rows = records.iter().map(|(component, record)| {
            let honesty = format!("{} of 1000", record.here.low_permille());
            Ok(vec![name(&home, component)?, record.confirmed_here.to_string(), honesty])
        });
        let rows = rows.collect::<Result<Vec<_>, CliError>>()?;
        output::line(output::table(&["CAPABILITY", "CONFIRMED", "HONEST, AT LEAST"], &rows));
    }
    if !events.is_empty() {
        let rows = events.iter().map(|e| {
            let who = e.verifier.map_or_else(|| "this home".to_owned(), |did| authority::name(&home, &did));
            let receipt = e.receipt.map_or_else(String::new, |id| id.to_string());
            vec![time::short(e.at), e.what.name().to_owned(), who, receipt]
        });
        output::line(output::table(&["WHEN", "WHAT", "SEEN BY", "RECEIPT"], &rows.collect::<Vec<_>>()));
    }
    Ok(())
}

fn capability(home: &Home, component: &ComponentId, record: &Record) -> Result<Json, CliError> {
    Ok(json!({
        "component": component.to_string(),
        "name": name(home, component)?,
        "confirmed": record.confirmed_here,
        "honest_permille_at_least": record.here.low_permille(),
    }))
}

fn event(event: &Event) -> Json {
    json!({
        "at": event.at,
        "what": event.what.name(),
        "verifier": event.verifier.map(|did| did.to_string()),
        "component": event.component.to_string(),
        "receipt": event.receipt.map(|id| id.to_string()),
    })
}

/// What a component is called by a release kept here, or its id.
fn name(home: &Home, component: &ComponentId) -> Result<String, CliError> {
    let release = home.store().release_of_component(component)?;
    Ok(release
        .map_or_else(|| component.to_string(), |r| format!("{}@{}", r.payload().name, r.payload().version)))
}
