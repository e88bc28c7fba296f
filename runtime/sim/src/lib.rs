//! The network in virtual time. The rules that run in it are the node's own, `actum_trust` and `actum_discovery`; here are
//! only time, messages and people. No I/O but for reports, no clock, no randomness but a seed's.

#![forbid(unsafe_code)]

mod carrier;
mod engine;
mod figures;
pub mod market;
pub mod params;
pub mod profile;
mod streams;
mod time;

pub use carrier::{Carrier, Kind, Sent};
pub use engine::Engine;
pub use figures::Figures;
pub use streams::{Stream, Streams};
pub use time::{EPOCH_SECONDS, Span, Time};
