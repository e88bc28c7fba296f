//! Whole-system tests: the real command, real processes, real sockets, real components. Each module is named after the
//! point of the main job it holds to.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

mod harness;

mod any_component;
#[cfg(target_os = "linux")]
mod attested;
mod audit;
mod audit_many;
mod authority;
mod balance;
mod cache;
mod call;
mod capabilities;
mod demo;
mod discovery;
mod flow;
mod fraud;
mod grants;
mod guests;
mod host;
#[cfg(target_os = "linux")]
mod hosts;
mod journal;
mod keys;
mod network;
mod publish;
mod readme;
mod real_world;
mod risk;
mod sim;
mod strangers;
