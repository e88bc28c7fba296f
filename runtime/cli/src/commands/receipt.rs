//! `actum receipt`: what was done, signed.

use super::{Global, attested, authority, journal};
use crate::{
    error::{CliError, Kind},
    output::{self, Format},
};
use actum_model::{Did, Granted, Receipt, ReceiptId, Signed, explain::Width};
use actum_node::{Home, audit, fraud};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The most entries of a journal that are listed.
const LISTED_ENTRIES: usize = 50;

/// Lists, shows and exports receipts.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List receipts, newest first
    List {
        /// The most receipts to list
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Show one receipt
    Show {
        /// The receipt's id, or enough of its end to be the only one
        id: String,
    },
    /// Write a receipt with everything needed to run it again, as one CAR archive
    Export {
        /// The receipt's id, or enough of its end to be the only one
        id: String,
        /// Where to write
        #[arg(short, long, value_name = "PATH")]
        output: PathBuf,
        /// Write a proof that the receipt is false, which a replay here must have shown: anyone can check it
        #[arg(long)]
        proof: bool,
        /// Only name the component in the proof: whoever checks it must have it
        #[arg(long, requires = "proof")]
        without_component: bool,
    },
}

pub(crate) fn run(args: Args, global: &Global) -> Result<(), CliError> {
    let home = global.open_locked_home()?;
    match args.verb {
        Verb::List { limit } => {
            list(&audit::receipts(&home, limit)?, global.format);
        }
        Verb::Show { id } => {
            let shown = audit::show(&home, &id)?;
            let calls = audit::calls(&home, &shown.receipt, &shown.journal)?;
            let judged = attested::judge(global, shown.attestation.as_ref(), &shown.receipt)?;
            let json = to_json(&shown.receipt);
            match global.format {
                Format::Json => {
                    let entries = journal::json(&shown.journal, &shown.bodies, Width::SHORT);
                    let values = [
                        ("args", shown.args),
                        ("output", shown.output),
                        ("journal_entries", Some(entries)),
                        ("proof", Some(authority::found(shown.receipt.payload(), &shown.claimed))),
                        ("attested", Some(attested::to_json(judged.as_ref()))),
                        ("refused", Some(authority::refusals_to_json(&shown.journal, &shown.bodies))),
                        ("calls", Some(calls.iter().map(call_to_json).collect())),
                    ];
                    let values = values.map(|(name, value)| (name.to_owned(), value.unwrap_or_default()));
                    let fields = json.as_object().cloned().unwrap_or_default();
                    output::json(&fields.into_iter().chain(values).collect());
                }
                Format::Text => {
                    show(&shown, attested::line(judged.as_ref()), |did| authority::name(&home, did));
                    calls.iter().for_each(show_call);
                }
            }
        }
        Verb::Export { id, output: path, proof, without_component } => {
            let (id, bytes) = match proof {
                true => export_proof(&home, &id, &path, !without_component)?,
                false => export(&home, &id, &path)?,
            };
            if global.format == Format::Json {
                output::json(&serde_json::json!({"receipt": id.to_string(), "path": path, "bytes": bytes}));
            }
        }
    }
    Ok(())
}

/// Writes a receipt's bundle, over what is there; gives the receipt's id and the bundle's size in bytes.
pub(super) fn export(home: &Home, id: &str, path: &Path) -> Result<(ReceiptId, usize), CliError> {
    let bundle = audit::bundle(home, id)?;
    let bytes = bundle.to_bytes();
    write(path, &bytes)?;
    Ok((bundle.receipt.id(), bytes.len()))
}

/// Writes the proof that a receipt is false, over what is there; gives the receipt's id and the proof's size in bytes.
fn export_proof(
    home: &Home,
    id: &str,
    path: &Path,
    with_component: bool,
) -> Result<(ReceiptId, usize), CliError> {
    let proof = fraud::proof(home, id)?;
    if with_component && proof.bundle.component.is_none() {
        let text = "the component is not in this home, so the proof can only name it";
        return Err(CliError::new(Kind::NotFound, text).hint("add --without-component"));
    }
    let bytes = proof.to_bytes(with_component);
    write(path, &bytes)?;
    Ok((proof.bundle.receipt.id(), bytes.len()))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    fs::write(path, bytes)
        .map_err(|e| CliError::new(Kind::Usage, format!("cannot write {}: {e}", path.display())))?;
    output::talk(format!("{}: {}", path.display(), output::bytes(bytes.len() as u64)));
    Ok(())
}

fn to_json(receipt: &Signed<Receipt>) -> serde_json::Value {
    let r = receipt.payload();
    let mut json = serde_json::json!({
        "receipt": receipt.id().to_string(),
        "provider": r.iss.to_string(),
        "requester": r.action.requester.to_string(),
        "issued_at": r.iat,
        "component": r.action.component.to_string(),
        "function": r.action.function.to_string(),
        "permissions": r.action.permissions.iter().map(Granted::to_string).collect::<Vec<_>>(),
        "outcome": r.outcome.code(),
        "detail": r.outcome.to_string(),
        "fuel": r.fuel,
        "memory_bytes": r.memory_bytes,
        "profile": r.profile.to_string(),
        "journal": r.journal.to_string(),
    });
    if let Some(fields) = json.as_object_mut() {
        fields.extend(authority::said(r).map(|(name, value)| (name.to_owned(), value)));
    }
    json
}

fn call_to_json(call: &audit::Call) -> serde_json::Value {
    let r = call.receipt.as_ref().map(|r| r.payload());
    serde_json::json!({
        "depth": call.depth,
        "receipt": call.id,
        "function": r.map(|r| r.action.function.to_string()),
        "component": r.map(|r| r.action.component.to_string()),
        "outcome": r.map(|r| r.outcome.code()),
        "fuel": r.map(|r| r.fuel),
    })
}

/// Prints a guest's call, under the one that made it.
fn show_call(call: &audit::Call) {
    let what = match call.receipt.as_ref().map(|r| r.payload()) {
        Some(r) => {
            let (function, outcome) = (r.action.function.name(), r.outcome.code());
            format!("{function}: {outcome}, {} fuel", output::thousands(r.fuel))
        }
        None => "not in this home".to_owned(),
    };
    let indent = "  ".repeat(call.depth.saturating_sub(1) as usize);
    output::line(format!("{:<10} {indent}{}  {}", "call", output::clean(&call.id), output::clean(&what)));
}

fn list(receipts: &[Signed<Receipt>], format: Format) {
    if format == Format::Json {
        return output::json(&receipts.iter().map(to_json).collect());
    }
    if receipts.is_empty() {
        return output::talk("no receipts yet: `actum run` and `actum call` leave one each");
    }
    let rows = receipts.iter().map(|receipt| {
        let r = receipt.payload();
        vec![
            receipt.id().to_string(),
            r.action.function.name().to_owned(),
            r.outcome.code().to_owned(),
            output::thousands(r.fuel),
            r.iss.short(),
        ]
    });
    let rows: Vec<_> = rows.collect();
    output::line(output::table(&["RECEIPT", "FUNCTION", "OUTCOME", "FUEL", "PROVIDER"], &rows));
}

/// What an action was granted, as `--grant` takes it.
pub(super) fn granted(permissions: &BTreeSet<Granted>) -> String {
    let permissions: Vec<_> = permissions.iter().map(Granted::to_string).collect();
    if permissions.is_empty() { "nothing".to_owned() } else { permissions.join(", ") }
}

fn show(shown: &audit::Shown, attested: Option<(&'static str, String)>, name: impl Fn(&Did) -> String) {
    let r = shown.receipt.payload();
    let excerpt = |json: &Option<serde_json::Value>| match json {
        None => "-".to_owned(),
        Some(json) => {
            let text = json.to_string();
            let short: String = text.chars().take(200).collect();
            if short.len() < text.len() {
                format!("{short}… ({} bytes of JSON)", text.len())
            } else {
                short
            }
        }
    };
    let lines = [
        ("receipt", shown.receipt.id().to_string()),
        ("provider", r.iss.to_string()),
        ("requester", r.action.requester.to_string()),
        ("function", r.action.function.to_string()),
        ("component", r.action.component.to_string()),
        ("args", excerpt(&shown.args)),
        ("outcome", authority::outcome(&r.outcome)),
        ("output", excerpt(&shown.output)),
        ("fuel", output::thousands(r.fuel)),
        ("memory", output::bytes(r.memory_bytes)),
    ];
    let after = [
        ("granted", granted(&r.given())),
        ("profile", r.profile.to_string()),
        ("journal", journal::count(&shown.journal)),
    ];
    let authority = authority::lines(r, &shown.claimed, name);
    let refusals = authority::refusals(&shown.journal, &shown.bodies);
    lines
        .into_iter()
        .chain(authority)
        .chain(attested)
        .chain(after)
        .chain(refusals)
        .for_each(|line| output::line(authority::line(line)));
    for line in journal::lines(&shown.journal, &shown.bodies, Width::SHORT).take(LISTED_ENTRIES) {
        output::line(format!("  {line}"));
    }
    if shown.journal.entries.len() > LISTED_ENTRIES {
        output::line("  … `actum replay --explain` shows all of them");
    }
}
