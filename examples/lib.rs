//! Programs that embed Actum, each named after what it proves. Run one with
//! `cargo run --release -p actum-examples --example <name>`.
