//! How grants are shown.

use super::time;
use crate::{
    error::CliError,
    output::{self, Format},
};
use actum_model::{Did, ucan::Proof};
use actum_node::grants::{Flaw, Grant, Grants, Listed, State};
use serde_json::{Value as Json, json};
use std::path::Path;

/// Why a grant does not hold, in words.
pub(super) fn flaw(grants: &Grants<'_>, flaw: &Flaw) -> String {
    output::clean(&flaw.words(&|did| grants.name(did), &time::words))
}

fn state(grants: &Grants<'_>, state: &State) -> String {
    match state {
        State::Valid => "valid".to_owned(),
        State::NotYet(from) => format!("not yet: from {}", time::words(*from)),
        State::Expired(until) => format!("expired: it held until {}", time::words(*until)),
        State::Revoked(by) => format!("revoked by {}", grants.name(by)),
        State::Succeeded(by) => {
            format!("void: {} succeeded the issuer's key without keeping it", grants.name(by))
        }
        State::Broken => "does not hold: `actum grant verify` says why".to_owned(),
    }
}

/// A key with what it is called here.
fn who(grants: &Grants<'_>, did: &Did) -> String {
    let name = grants.name(did);
    if did.short() == name { did.to_string() } else { format!("{name} ({did})") }
}

/// Who says how it stands with a delegation.
fn by(state: &State) -> Option<String> {
    match state {
        State::Revoked(by) | State::Succeeded(by) => Some(by.to_string()),
        _ => None,
    }
}

fn link_to_json(grants: &Grants<'_>, link: &Proof, state: &State) -> Result<Json, CliError> {
    // A statement is written as DAG-JSON, which is JSON.
    let policy = link.pol.statements.iter().map(ToString::to_string);
    let policy: Vec<Json> =
        policy.map(|text| serde_json::from_str(&text).unwrap_or(Json::String(text))).collect();
    let spent = grants.spent(link.id())?;
    Ok(json!({
        "id": link.id().to_string(),
        "iss": link.iss.to_string(),
        "aud": link.aud.to_string(),
        "sub": link.sub.map(|sub| sub.to_string()),
        "cmd": link.cmd.as_str(),
        "pol": policy,
        "nbf": link.nbf,
        "exp": link.exp,
        "state": state.code(),
        "by": by(state),
        "spent": {"actions": spent.actions, "fuel": spent.fuel},
    }))
}

/// A grant for programs.
pub(super) fn to_json(grants: &Grants<'_>, grant: &Grant, file: Option<&Path>) -> Result<Json, CliError> {
    let states = grants.states(grant);
    let links = grant.links().iter().zip(&states);
    let links: Vec<Json> =
        links.map(|(link, state)| link_to_json(grants, link, state)).collect::<Result<_, _>>()?;
    let until = grant.links().iter().filter_map(|link| link.exp).min();
    Ok(json!({
        "grant": grant.id().to_string(),
        "says": grants.describe(grant, &time::words),
        "subject": grant.subject().map(|did| did.to_string()),
        "to": grant.last().aud.to_string(),
        "until": until,
        "until_utc": until.map(time::utc),
        "state": grants.state(grant).code(),
        "chain": links,
        "container": grant.to_text()?,
        "file": file,
    }))
}

/// Prints a grant: what it gives, then each delegation.
pub(super) fn show(grants: &Grants<'_>, grant: &Grant, format: Format) -> Result<(), CliError> {
    if format == Format::Json {
        output::json(&to_json(grants, grant, None)?);
        return Ok(());
    }
    output::line(grants.describe(grant, &time::words));
    if let Err(why) = grants.verify(grant, grants.now(), None) {
        output::line(format!("It does not hold ({}): {}.", why.name(), flaw(grants, &why)));
    }
    let states = grants.states(grant);
    let mut above_hold = true;
    for (n, (link, stands)) in (1..).zip(grant.links().iter().zip(&states)) {
        output::line("");
        let field = |name: &str, value: String| output::line(format!("{name:<8} {}", output::clean(&value)));
        field("grant", format!("{} ({n} of {})", link.id(), grant.links().len()));
        field("by", who(grants, &link.iss));
        field("to", who(grants, &link.aud));
        if link.sub != Some(link.iss) {
            let of = link.sub.map_or_else(|| "whomever they act for".to_owned(), |sub| who(grants, &sub));
            field("in name", of);
        }
        field("command", link.cmd.to_string());
        for statement in &link.pol.statements {
            field("where", statement.to_string());
        }
        if let Some(from) = link.nbf {
            field("from", format!("{} ({})", time::words(from), time::utc(from)));
        }
        match link.exp {
            Some(until) => field("until", format!("{} ({})", time::words(until), time::utc(until))),
            None => field("until", "without end".to_owned()),
        }
        field(
            "state",
            match stands {
                State::Valid if !above_hold => "valid by itself, but not what it rests on".to_owned(),
                stands => state(grants, stands),
            },
        );
        above_hold &= *stands == State::Valid;
        let spent = grants.spent(link.id())?;
        let counted = grant.subject().is_some_and(|subject| grants.is_me(&subject));
        if counted || spent.actions > 0 {
            let (actions, fuel) = (output::thousands(spent.actions), output::thousands(spent.fuel));
            field("spent", format!("{actions} actions, {fuel} fuel"));
        }
    }
    Ok(())
}

/// Prints grants, one on a line.
pub(super) fn list(grants: &Grants<'_>, listed: &[Listed], format: Format) -> Result<(), CliError> {
    if format == Format::Json {
        let all = listed.iter().map(|one| {
            json!({
                "grant": one.last.id().to_string(),
                "by": one.last.iss.to_string(),
                "to": one.last.aud.to_string(),
                "what": one.what,
                "until": one.until,
                "state": one.state.code(),
                "revoked_by": by(&one.state),
                "complete": one.grant.is_some(),
                "spent": {"actions": one.spent.actions, "fuel": one.spent.fuel},
            })
        });
        output::json(&all.collect());
        return Ok(());
    }
    if listed.is_empty() {
        output::talk(
            "no grants yet: `actum grant new` makes one, `actum grant add` keeps one you were given",
        );
        return Ok(());
    }
    let rows = listed.iter().map(|one| {
        let id = one.last.id().to_string();
        let state = match (&one.grant, &one.state) {
            (None, State::Valid) => "incomplete".to_owned(),
            (_, State::Revoked(by)) => format!("revoked by {}", grants.name(by)),
            (_, state) => state.code().to_owned(),
        };
        vec![
            id.get(id.len().saturating_sub(12)..).unwrap_or(&id).to_owned(),
            format!("{} → {}", grants.name(&one.last.iss), grants.name(&one.last.aud)),
            one.what.clone(),
            one.until.map_or_else(|| "no end".to_owned(), time::short),
            state,
            if one.spent.actions == 0 {
                "-".to_owned()
            } else {
                format!(
                    "{} × {} fuel",
                    output::thousands(one.spent.actions),
                    output::thousands(one.spent.fuel)
                )
            },
        ]
    });
    let rows: Vec<_> = rows.collect();
    output::line(output::table(&["GRANT", "WHO", "WHAT", "UNTIL", "STATE", "SPENT"], &rows));
    Ok(())
}
