//! The real world as this node gives it to guests: what stands behind the sandbox's `Host`.

pub mod http;
