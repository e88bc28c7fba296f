//! The actum command.
fn main() {}
