//! What `receipt` and `replay` say of the authority by which an action ran, and of what it was refused.

use crate::output;
use actum_model::{
    ActionId, Authority, Bodies, DelegationId, Did, Granted, Journal, Outcome, Receipt, Withdrawal,
    explain::{Width, refused},
};
use actum_node::{
    Home,
    audit::{Claimed, How},
};
use serde_json::{Value as Json, json};

/// The most refusals of a journal that are listed.
const LISTED_REFUSALS: usize = 50;

/// Its name among programs, and for a guest's call the action that made it.
pub(super) fn code(authority: &Authority) -> (&'static str, Option<&ActionId>) {
    match authority {
        Authority::Local => ("local", None),
        Authority::Public => ("public", None),
        Authority::Listed => ("listed", None),
        Authority::Granted(_) => ("granted", None),
        Authority::Delegated(by) => ("delegated", Some(by)),
    }
}

fn chain(receipt: &Receipt) -> &[DelegationId] {
    match &receipt.authority {
        Authority::Granted(chain) => chain,
        _ => &[],
    }
}

/// What a key is called in a home, or the end of its did:key.
pub(super) fn name(home: &Home, did: &Did) -> String {
    if *did == home.did() {
        return "you".to_owned();
    }
    home.store().name_of(did).ok().flatten().unwrap_or_else(|| did.short())
}

/// How an action ended; where that is its authority's end, in words.
pub(super) fn outcome(outcome: &Outcome) -> String {
    let words = match outcome {
        Outcome::Withdrawn(Withdrawal::Revoked) => "was revoked",
        Outcome::Withdrawn(Withdrawal::Expired) => "expired",
        _ => return outcome.to_string(),
    };
    format!("{outcome}: the authority to run {words} while it ran; what it asked for next was not done")
}

/// A label and what it says, one a line.
pub(super) fn lines(
    receipt: &Receipt,
    claimed: &Claimed,
    name: impl Fn(&Did) -> String,
) -> Vec<(&'static str, String)> {
    let who = |did: &Did| {
        let name = name(did);
        if name == did.short() { did.to_string() } else { format!("{name} ({did})") }
    };
    let ids = chain(receipt);
    let held = |id: &DelegationId| claimed.proofs.iter().find(|proof| proof.id() == id);
    let by = match (code(&receipt.authority), ids.first()) {
        ((name, Some(by)), _) => format!("{name} by {by}"),
        ((name, None), Some(root)) => match held(root) {
            Some(proof) => format!("{name} by {} (root {root})", who(&proof.iss)),
            None => format!("{name} (root {root})"),
        },
        ((name, None), None) => name.to_owned(),
    };
    let mut lines = vec![("authority", by)];
    for (n, id) in (1..).zip(ids) {
        let link = match held(id) {
            Some(proof) => format!("{} to {}", name(&proof.iss), name(&proof.aud)),
            None => "not at hand".to_owned(),
        };
        lines.push(("grant", format!("{n} of {}: {link}  {id}", ids.len())));
    }
    lines.extend(receipt.invocation.map(|id| match claimed.invocation {
        Some(_) => ("request", id.to_string()),
        None => ("request", format!("{id} (not at hand)")),
    }));
    match &claimed.found {
        Ok(proven) => {
            if proven.how != How::Own {
                lines.push(("proven", proven.how.to_string()));
            }
            lines.extend(proven.unproven.iter().map(|what| ("its word", what.to_string())));
        }
        Err(error) if error.is_missing() => lines.push(("unproven", error.to_string())),
        Err(error) => lines.push(("false", error.to_string())),
    }
    if !receipt.withheld.is_empty() {
        lines.push(("withheld", super::receipt::granted(&receipt.withheld)));
    }
    lines
}

/// What the guest asked for and was refused: the entry, the function and why.
pub(super) fn refusals(journal: &Journal, bodies: &Bodies) -> Vec<(&'static str, String)> {
    let mut all = refused(journal, bodies, Width::SHORT);
    let shown = all.by_ref().take(LISTED_REFUSALS);
    let mut lines: Vec<_> =
        shown.map(|r| ("refused", format!("entry {}, {}, {}", r.entry, r.function, r.why))).collect();
    match all.count() {
        0 => {}
        more => lines.push(("refused", format!("… and {more} more"))),
    }
    lines
}

/// A line with its label, in which a terminal obeys nothing.
pub(super) fn line((label, value): (&str, String)) -> String {
    format!("{label:<10} {}", output::clean(&value))
}

/// For programs, what the receipt itself says.
pub(super) fn said(receipt: &Receipt) -> [(&'static str, Json); 5] {
    let (name, by) = code(&receipt.authority);
    let text = |id: &DelegationId| id.to_string();
    [
        ("authority", json!(name)),
        ("delegated_by", json!(by.map(ToString::to_string))),
        ("chain", chain(receipt).iter().map(text).collect()),
        ("invocation", json!(receipt.invocation.map(|id| id.to_string()))),
        ("withheld", receipt.withheld.iter().map(Granted::to_string).collect()),
    ]
}

/// For programs, what of that is proven.
pub(super) fn found(receipt: &Receipt, claimed: &Claimed) -> Json {
    let ids = chain(receipt).iter();
    let links: Vec<Json> = ids
        .map(|id| {
            let proof = claimed.proofs.iter().find(|proof| proof.id() == id);
            json!({
                "id": id.to_string(),
                "at_hand": proof.is_some(),
                "iss": proof.map(|p| p.iss.to_string()),
                "aud": proof.map(|p| p.aud.to_string()),
            })
        })
        .collect();
    let (state, check, says, unproven) = match &claimed.found {
        Ok(proven) => {
            let unproven: Vec<_> = proven.unproven.iter().map(ToString::to_string).collect();
            ("proven", None, proven.how.to_string(), unproven)
        }
        Err(error) if error.is_missing() => ("not-at-hand", None, error.to_string(), Vec::new()),
        Err(error) => ("false", Some(error.check()), error.to_string(), Vec::new()),
    };
    json!({
        "state": state,
        "check": check,
        "says": says,
        "unproven": unproven,
        "invocation_at_hand": claimed.invocation.is_some(),
        "links": links,
    })
}

/// For programs, what the guest asked for and was refused.
pub(super) fn refusals_to_json(journal: &Journal, bodies: &Bodies) -> Json {
    let refusals = refused(journal, bodies, Width::SHORT).take(LISTED_REFUSALS);
    refusals
        .map(|r| json!({"entry": r.entry, "function": r.function, "asked": r.asked, "why": r.why}))
        .collect()
}
