//! Runs an action in wasmtime, deterministically, and runs it again.
