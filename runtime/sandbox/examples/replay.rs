//! Replays bundles with the sandbox alone, under both engines: what an auditor's machine needs at the least, and how a
//! machine that the command is not built for is tried.
//!
//! `cargo run --release -p actum-sandbox --example replay -- receipt.car …`; for another architecture, build it with
//! `--target` and run it there or under an emulator. Prints a line for each bundle and engine; fails if one is not identical.

use actum_model::{Journal, Judgement, bundle::Bundle, codec};
use actum_sandbox::replay::{Evidence, replay};
use actum_sandbox::{EngineKind, Sandbox, SandboxConfig};
use std::error::Error;
use std::process::ExitCode;

fn judge(path: &str, engine: EngineKind) -> Result<Judgement, Box<dyn Error>> {
    let bundle = Bundle::from_bytes(&std::fs::read(path)?)?;
    let mut config = SandboxConfig { engine, ..SandboxConfig::default() };
    // Room for one action: an emulator may not have the address space of a node.
    config.pool.actions = std::num::NonZeroU32::MIN;
    config.pool.nested = 0;
    let journal: Journal = codec::decode(&bundle.journal, Journal::MAX_BYTES)?;
    let evidence = Evidence {
        receipt: bundle.receipt.payload(),
        component: &bundle.component,
        args: &bundle.args,
        output: bundle.output.as_deref(),
        journal: &journal,
        bodies: &bundle.bodies,
        stdio: bundle.stdio.as_deref(),
    };
    Ok(replay(&Sandbox::new(config)?, &evidence)?)
}

fn main() -> ExitCode {
    let mut all = true;
    for path in std::env::args().skip(1) {
        for engine in [EngineKind::Cranelift, EngineKind::Pulley] {
            let said = match judge(&path, engine) {
                Ok(judgement) => {
                    all &= judgement == Judgement::Identical;
                    judgement.to_string()
                }
                Err(error) => {
                    all = false;
                    format!("no judgement: {error}")
                }
            };
            println!("{} on {}: {path}: {said}", engine.name(), std::env::consts::ARCH);
        }
    }
    if all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
