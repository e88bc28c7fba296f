//! The network in virtual time. The rules that run in it are the node's own, `actum_trust` and `actum_discovery`; here are
//! only time, messages and people. No I/O but for reports, no clock, no randomness but a seed's.

#![forbid(unsafe_code)]

pub mod advertise;
mod carrier;
mod engine;
mod figures;
pub mod market;
pub mod optimise;
pub mod paper;
pub mod params;
pub mod policies;
pub mod profile;
pub mod report;
pub mod runs;
pub mod scenario;
pub mod shape;
pub mod stats;
mod streams;
pub mod sweep;
mod time;

pub use carrier::{Carrier, Kind, Sent};
pub use engine::Engine;
pub use figures::Figures;
pub use streams::{Stream, Streams};
pub use time::{EPOCH_SECONDS, Span, Time};

/// What the rules are that run here: a digest of the sources of this crate and of those whose rules it drives. Runs that were
/// kept under other rules are not taken for ones of these.
pub const RULES: &str = env!("ACTUM_RULES");
