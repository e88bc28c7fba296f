//! A peer: wires the planes together. What the `actum` command does, a program that embeds this crate can do.
//!
//! - [`Home`]: one user's key, store and sandbox. [`keyring`]: what becomes of the key.
//! - [`publish::publish`], [`run::run`], [`audit`]: what needs no network.
//! - [`flow`]: several actions as one plan.
//! - [`grants::Grants`]: what others may do here, and what this home may do elsewhere.
//! - [`host::NodeHost`]: the real world behind what an action is granted.
//! - [`measure`]: what all of it takes and weighs.
//! - [`node::Node`]: hosts. [`requester::Requester`]: finds and calls.
//!
//! This crate reads the clock and the system's randomness (in [`clock`], nowhere else). It never reads the
//! environment, the terminal or a default directory: those are the caller's to choose.

#![forbid(unsafe_code)]

mod announcing;
pub mod attest;
pub mod audit;
mod auditor;
pub mod authority;
pub mod balances;
pub mod clock;
pub mod config;
mod content;
pub mod events;
mod failure;
mod find;
mod flights;
pub mod flow;
pub mod fraud;
pub mod grants;
pub mod home;
pub mod host;
mod intakes;
pub mod invoke;
mod keeper;
pub mod keyring;
mod lately;
pub mod manifest;
pub mod measure;
pub mod node;
pub mod peers;
mod plane;
pub mod provider;
pub mod publish;
pub mod quota;
pub mod records;
pub mod registry;
pub mod requester;
pub mod resolve;
pub mod run;
mod spread;
pub mod status;
pub mod tree;
mod turns;
mod wallet;

pub use actum_overlay::{BothWays, Moved, Notice, RefusalCode, Traffic, TrafficKind};
pub use actum_sandbox::EngineKind;
pub use actum_store::StoreError;
pub use actum_trust::RiskPolicy;
pub use config::{Config, ConfigError};
pub use flights::LINGER;
pub use home::{Home, HomeError};

/// A did:key's libp2p peer id, as addresses end in it.
pub fn peer_id(did: &actum_model::Did) -> String {
    actum_overlay::peer_id_of(did).to_string()
}
