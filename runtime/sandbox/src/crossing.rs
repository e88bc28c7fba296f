//! What crosses from the guest to the host in one call is bounded by the engine, whose error for it has no public type.

/// The engine's own words. They belong to its release, as the profile does; a test provokes them.
const EXHAUSTED: &str = "too much data is being copied between the host and the guest: fuel allocated for hostcalls has been exhausted";

/// Whether an error says that too much crossed. Every error of the engine with a type has been told before; no text of
/// the guest's reaches one without.
pub(crate) fn exhausted(error: &wasmtime::Error) -> bool {
    error.chain().any(|cause| cause.to_string() == EXHAUSTED)
}
