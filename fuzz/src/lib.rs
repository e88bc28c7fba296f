//! The fuzz targets: each takes any bytes, and panics when a promise is broken.
//!
//! What is promised: nothing panics or hangs; what decodes re-encodes to the very bytes it came from; what loads can be
//! executed, export by export, without the host failing, and does the same when executed again; a peer's frames are answered
//! within the memory allowed.

mod arguments;
mod components;
mod shapes;
mod statements;
mod wire;

/// A target's name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target. Its committed inputs are the folder of its name under `fuzz/corpus`.
pub const TARGETS: &[Target] = &[
    ("components", components::load),
    ("arguments", arguments::binary),
    ("json", arguments::json),
    ("typed", arguments::typed),
    ("statements", statements::decode),
    ("messages", wire::message),
    ("sessions", wire::session),
];
