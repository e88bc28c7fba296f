//! `actum doctor`: the engine profile and this machine.

use super::Global;
use crate::{
    error::CliError,
    output::{self, Format},
};
use actum_node::{BothWays, TrafficKind};
use std::process::Command;

/// Shows the engine profile that receipts carry, and checks what building capabilities needs.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: Args, global: &Global) -> Result<(), CliError> {
    let home = global.open_locked_home()?;
    let profile = home.sandbox()?.profile().clone();
    let target = wasm_target();
    let status = actum_node::status::of_running_node(&home);
    let [proven, refuted, undecided] = home.store().proof_counts()?;
    if global.format == Format::Json {
        output::json(&serde_json::json!({
            "home": home.root().display().to_string(),
            "did": home.did().to_string(),
            "profile": {
                "id": profile.id().to_string(), "name": profile.name, "engine": profile.engine, "settings": profile.settings,
            },
            "wasm32_wasip2": target,
            "node": status,
            "proofs": {"proven": proven, "refuted": refuted, "undecided": undecided},
        }));
        return Ok(());
    }
    output::line(format!("home     {}", home.root().display()));
    output::line(format!("key      {}", home.did()));
    match &status {
        Some(status) => {
            output::line(format!("node     runs: {}", output::clean(&status.reachability)));
            output::line(format!(
                "         {} peers connected, {} known; {} ads held for others, {} places at others",
                status.connected, status.known, status.ads_held, status.ads_placed
            ));
            for kind in TrafficKind::ALL {
                let BothWays { sent, received } = status.traffic.of(kind);
                if (sent.messages, received.messages) != (0, 0) {
                    output::line(format!(
                        "         {:<9} {} messages ({}) sent, {} ({}) received",
                        kind.name(),
                        output::thousands(sent.messages),
                        output::bytes(sent.bytes),
                        output::thousands(received.messages),
                        output::bytes(received.bytes)
                    ));
                }
            }
            for (code, n) in &status.refusals {
                output::line(format!("         {n} connections refused: {}", output::clean(code)));
            }
            for (code, n) in &status.dropped {
                output::line(format!(
                    "         {n} announcements, queries or ads dropped: {}",
                    output::clean(code)
                ));
            }
        }
        None => output::line("node     does not run here: `actum node --offer <name>` starts one"),
    }
    if proven > 0 || refuted > 0 || undecided > 0 {
        output::line(format!(
            "proofs   of lies: {proven} hold, {refuted} were false, {undecided} could not be judged here"
        ));
    }
    output::line(format!("profile  {} on {}", profile.name, profile.engine));
    output::line(format!("         {}", profile.id()));
    for (name, value) in &profile.settings {
        output::line(format!("           {name} = {value}"));
    }
    output::line(match target {
        Some(true) => "builds   ok: the wasm32-wasip2 target is installed".to_owned(),
        Some(false) => {
            "builds   missing the wasm32-wasip2 target: rustup target add wasm32-wasip2".to_owned()
        }
        None => {
            "builds   unknown: rustc was not found; only `actum new` and `actum build` need it".to_owned()
        }
    });
    Ok(())
}

/// Whether the target that capabilities are built for is installed; `None` without a Rust compiler.
fn wasm_target() -> Option<bool> {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", "wasm32-wasip2"])
        .output()
        .ok()?;
    let dir = String::from_utf8(output.stdout).ok()?;
    Some(output.status.success() && std::path::Path::new(dir.trim()).is_dir())
}
