//! The model from outside: what it refuses, and that its formats stay what they are.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test, a panic is the message"
)]

mod balances;
mod bundles;
mod chains;
mod explain;
mod flows;
mod frauds;
mod golden;
mod grants;
mod json;
mod keyfiles;
mod permissions;
mod policies;
mod rotations;
mod runs;
mod samples;
mod statements;
mod trees;
mod values;
mod vectors;
