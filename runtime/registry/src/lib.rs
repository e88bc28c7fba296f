//! A registry's durable index of what providers announce: signed descriptors, leases and tombstones on disk, found by words, by
//! exact names and ids, and under hard constraints. No network and no clock may enter: times are arguments.
//!
//! - [`Registry::observe`] takes statements in, [`Registry::search`] answers as `actum_discovery::Index` does, with the
//!   statements as they were signed.
//! - What changes every few minutes (leases, probes) is compact state; what changes every few hours (words, constraints) is
//!   indexed. A refresh that says the same again touches no document.
//! - [`Registry::holdings`] and [`Registry::statements`] are what `actum_discovery::reconcile` needs of one side.
//! - Ranking by meaning is optional: an [`Embedder`], such as a [`StaticModel`] that the owner has on disk.
//!
//! Times are seconds since the Unix epoch.

#![forbid(unsafe_code)]

mod collect;
mod commit;
mod ends;
mod error;
mod fetch;
mod limits;
mod meaning;
mod model;
mod open;
mod probes;
mod recent;
mod registry;
mod room;
mod rows;
mod search;
mod slab;
mod state;
mod store;
mod take;
mod words;

pub use actum_discovery::{PROBED_FOR, Probe, SILENT_AT_MOST, SILENT_FOR};
pub use error::{Damage, RegistryError};
pub use limits::{LOOKED_AT, RegistryLimits};
pub use meaning::{DIMENSIONS, Embedder, NEIGHBOURS};
pub use model::{ModelError, StaticModel};
pub use registry::{Registry, Stats};
pub use state::ip_of;
