//! The engine profile: everything that can change a result, as one value whose digest is its id.

use crate::{ProfileId, codec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A deterministic engine profile. Two receipts are comparable only under the same one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The profile's name and version, e.g. `actum/1`.
    pub name: String,
    /// The engine and its release, e.g. `wasmtime 48.0.8`.
    pub engine: String,
    /// Every setting that can change a result, by name, e.g. `nan-canonicalization` = `on`.
    pub settings: BTreeMap<String, String>,
}

impl Profile {
    /// The digest of the whole profile.
    pub fn id(&self) -> ProfileId {
        ProfileId::of(&codec::encode(self))
    }
}
