//! What an action may use. Every limit has a name, a unit, a default and an outcome of its own.

use serde::{Deserialize, Serialize};

/// The ceilings of one action. They are part of what a receipt binds: a replay runs under the same ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Fuel units the guest may burn, instantiation included. Ends in `out-of-fuel`.
    pub fuel: u64,
    /// Bytes of linear memory, summed over all memories of all instances. Ends in `out-of-memory`.
    pub memory_bytes: u64,
    /// Elements of all tables, summed. Ends in `out-of-memory`.
    pub table_elements: u64,
    /// Core instances a component may be made of. Ends in `too-many-instances`.
    pub instances: u64,
    /// Bytes of the canonical encoding of the output. Ends in `output-too-large`.
    pub output_bytes: u64,
    /// Bytes of stdout and stderr together. Ends in `stdio-too-large`.
    pub stdio_bytes: u64,
    /// Bytes of the journal. Ends in `journal-too-large`.
    pub journal_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fuel: 10_000_000_000,
            memory_bytes: 256 << 20,
            table_elements: 100_000,
            instances: 64,
            output_bytes: 32 << 20,
            stdio_bytes: 1 << 20,
            journal_bytes: 16 << 20,
        }
    }
}

impl Limits {
    /// The first limit of `self` that exceeds `ceiling`'s, by name, with both values.
    pub fn exceeds(&self, ceiling: &Self) -> Option<(&'static str, u64, u64)> {
        [
            ("fuel", self.fuel, ceiling.fuel),
            ("memory_bytes", self.memory_bytes, ceiling.memory_bytes),
            ("table_elements", self.table_elements, ceiling.table_elements),
            ("instances", self.instances, ceiling.instances),
            ("output_bytes", self.output_bytes, ceiling.output_bytes),
            ("stdio_bytes", self.stdio_bytes, ceiling.stdio_bytes),
            ("journal_bytes", self.journal_bytes, ceiling.journal_bytes),
        ]
        .into_iter()
        .find(|(_, mine, theirs)| mine > theirs)
    }
}
