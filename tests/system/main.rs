//! Whole-system tests: the real command, real processes, real sockets, real components. Each module is named after the
//! point of the main job it holds to.

mod harness;

mod any_component;
mod audit;
mod call;
mod capabilities;
mod demo;
mod guests;
mod host;
mod publish;
mod readme;
