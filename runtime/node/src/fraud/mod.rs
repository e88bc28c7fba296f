//! Fraud proofs: made of what this home's own replays showed, judged by running them again, and passed on to peers, who
//! judge for themselves.
//!
//! Nobody's word counts here. A proof convicts because its receipt, signed by the provider, is not what happens; so what a
//! stranger can do with accusations is to make this node spend time, and `bounds.rs` says how much.

mod bounds;
mod judge;
mod make;
mod own;
mod queue;
mod serve;
mod spread;

pub use judge::{Judged, judge, verify};
pub use make::{ProofError, proof};
pub(crate) use serve::{give, push, touched};
pub(crate) use spread::Accusing;
