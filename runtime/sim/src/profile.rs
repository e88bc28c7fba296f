//! What the real node takes and weighs, measured on it (`actum sim calibrate`): nothing here is a guess but the link, which
//! scenarios set for the networks they are about.

use crate::Span;
use serde::{Deserialize, Serialize};

/// A profile, as its TOML file has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Where and of what it was measured.
    pub made: Made,
    /// What carries messages.
    pub link: Link,
    /// What work takes.
    pub takes: Takes,
    /// What messages weigh beyond the statements in them.
    pub weighs: Weighs,
}

/// Where and of what a profile was measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// The day, as `YYYY-MM-DD`.
    pub date: String,
    /// What machine, in words.
    pub machine: String,
    /// The release of Actum.
    pub actum: String,
    /// The action that was run, as `capability function`.
    pub action: String,
}

/// What carries messages between two peers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// The median time a message is under way.
    #[serde(rename = "one_way_us", with = "micros")]
    pub one_way: Span,
    /// The standard deviation of its natural logarithm.
    pub sigma: f64,
    /// The share of messages that do not come, 0 to 1.
    pub loss: f64,
    /// Bytes a second that one message moves at.
    pub bytes_per_second: u64,
}

impl Link {
    /// How long so many bytes take on the wire, once they are under way.
    pub fn on_the_wire(self, bytes: u64) -> Span {
        Span::from_micros(bytes.saturating_mul(1_000_000) / self.bytes_per_second.max(1))
    }
}

/// What work takes, medians in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Takes {
    /// Signing a statement.
    #[serde(rename = "sign_us", with = "micros")]
    pub sign: Span,
    /// Verifying a statement's signature.
    #[serde(rename = "verify_us", with = "micros")]
    pub verify: Span,
    /// Admitting an action, receipt included: all that a provider does beside executing it.
    #[serde(rename = "admit_us", with = "micros")]
    pub admit: Span,
    /// Executing the action.
    #[serde(rename = "execute_us", with = "micros")]
    pub execute: Span,
    /// The standard deviation of its natural logarithm.
    pub execute_sigma: f64,
    /// Executing it again from its receipt, everything included.
    #[serde(rename = "replay_us", with = "micros")]
    pub replay: Span,
    /// Answering a query from an index, without what each offer takes.
    #[serde(rename = "search_us", with = "micros")]
    pub search: Span,
    /// What each offer in the index adds to that, in nanoseconds.
    pub search_offer_ns: u64,
    /// Judging a fraud proof, its replay apart.
    #[serde(rename = "judge_us", with = "micros")]
    pub judge: Span,
}

/// What messages weigh beyond the statements in them, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weighs {
    /// An announcement without its lease and descriptors.
    pub announce: u64,
    /// The answer to one.
    pub announced: u64,
    /// A question without its query.
    pub find: u64,
    /// An answer without its offers.
    pub page: u64,
    /// What each offer adds in an answer beside its two statements.
    pub offer: u64,
    /// A registration without the statements in it.
    pub register: u64,
    /// The answer to one, without the peers it names.
    pub registered: u64,
    /// A renewal without its lease.
    pub renew: u64,
    /// The answer to one.
    pub renewed: u64,
    /// Asking for ads.
    pub get_ads: u64,
    /// The answer, without the ads and peers in it.
    pub ads: u64,
    /// A peer that an answer names.
    pub peer: u64,
    /// A proof of possession: challenge and answer, without the chunk.
    pub prove: u64,
    /// A message of reconciliation without what is reconciled.
    pub reconcile: u64,
    /// Asking for statements, and each statement's id.
    pub statements: u64,
    /// An accusation.
    pub accuse: u64,
    /// A fraud proof without its component: receipt, arguments, journal, claim.
    pub proof: u64,
    /// A call without its arguments: invocation and framing.
    pub call: u64,
    /// An answer without the output: receipt, journal and framing.
    pub done: u64,
    /// The action's arguments.
    pub args: u64,
    /// The action's output.
    pub output: u64,
    /// The component.
    pub component: u64,
    /// Fuel units of the action.
    pub fuel: u64,
}

impl Profile {
    /// The profile that is measured and kept with the project.
    ///
    /// # Errors
    /// Never, as a test reads it.
    pub fn measured() -> Result<Self, toml::de::Error> {
        toml::from_str(include_str!("../profile.toml"))
    }
}

/// A span in whole microseconds.
mod micros {
    use crate::Span;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(span: &Span, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(span.micros())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Span, D::Error> {
        u64::deserialize(from).map(Span::from_micros)
    }
}
