//! What `receipt` and `replay` say of a receipt's attestation.

use super::Global;
use crate::error::CliError;
use actum_model::{Attestation, Receipt, Signed};
use actum_node::{Config, attest::Judged, clock};
use serde_json::{Value as Json, json};

/// Looks at an attestation, by whom the home's `config.toml` trusts; reads nothing where there is none.
pub(super) fn judge(
    global: &Global,
    attestation: Option<&Attestation>,
    receipt: &Signed<Receipt>,
) -> Result<Option<Judged>, CliError> {
    let Some(attestation) = attestation else { return Ok(None) };
    let config = Config::read(&global.home_path()?.join("config.toml"), false)?;
    Ok(Some(config.attest.judge(attestation, receipt, clock::now_secs())))
}

/// A label and what it says, where there is an attestation.
pub(super) fn line(judged: Option<&Judged>) -> Option<(&'static str, String)> {
    judged.map(|judged| ("attested", format!("by {judged}")))
}

/// For programs: null where there is no attestation.
pub(super) fn to_json(judged: Option<&Judged>) -> Json {
    judged.map_or(Json::Null, |judged| {
        let why = judged.found.as_ref().err().map(ToString::to_string);
        json!({"by": judged.by, "state": judged.state(), "why": why})
    })
}
