//! From bytes to running code: the one unsafe line of the workspace, and the check that it stands behind.
#![expect(unsafe_code, reason = "the engine cannot check code it did not compile itself; a tag can")]

use hmac::{Hmac, Mac};
use sha2::Sha256;
use wasmtime::Engine;
use wasmtime::component::Component;

/// Code whose tag was right. Nothing else makes one.
pub(super) struct Authentic<'a>(&'a [u8]);

/// Checks the tag of a file's code, in constant time. `mac` has taken in everything before the code.
pub(super) fn authentic<'a>(mac: Hmac<Sha256>, tag: &[u8], code: &'a [u8]) -> Option<Authentic<'a>> {
    mac.chain_update(code).verify_slice(tag).ok().map(|()| Authentic(code))
}

/// The component whose code this is.
pub(super) fn thaw(engine: &Engine, code: &Authentic<'_>) -> wasmtime::Result<Component> {
    // SAFETY: `Component::deserialize` asks for bytes that `Component::serialize` gave under a compatible engine. The tag
    // says so: only a holder of the key makes one, the only thing ever tagged is what `serialize` has just given (see
    // `Cache::keep`), and the tag covers the engine's own digest of what it is compatible with. The bytes are in this
    // process's memory since before they were checked, so nobody can change them in between, and the engine copies them.
    unsafe { Component::deserialize(engine, code.0) }
}
