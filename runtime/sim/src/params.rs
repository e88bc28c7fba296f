//! What a simulated network is like. A scenario sets these; what it leaves out has the value said here.

use crate::profile::Link;
use serde::{Deserialize, Serialize};

/// What a hostile provider does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, tag = "kind")]
pub enum Conduct {
    /// It answers truly.
    Honest,
    /// It lies each time.
    Lies,
    /// It lies one time in so many, by chance.
    LiesOneIn {
        /// In how many.
        one_in: u32,
    },
    /// It is honest for so many actions, canaries among them, and then lies each time.
    Turns {
        /// After how many.
        after: u32,
    },
    /// It tells canaries from work so often, answers those truly, and lies to what it takes for work.
    TellsCanaries {
        /// How often it tells one, 0 to 1. What it does not tell it takes for work; work it always takes for work.
        probability: f64,
    },
    /// It lies, and all such tell the same lie: replicas of one ring agree.
    Colludes,
    /// It lies; once it is caught by anyone whose proof it hears of, or by three requesters that ask no more, it comes back
    /// under another name.
    Whitewashes,
    /// It lies of what it did in the world and not of its output: no replay shows it.
    LiesOfTheWorld,
    /// It takes actions and never answers.
    NeverAnswers,
    /// It refuses everything it offers.
    Refuses,
}

/// A simulated network of providers, requesters and registries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// Peers, all of which offer something: N. 1 to 100,000.
    pub peers: u32,
    /// The first so many honest peers also ask for things.
    pub requesters: u32,
    /// Registries, which are peers beside those.
    pub registries: u32,
    /// Of those, the share that is captured: they list hostile providers alone, 0 to 1.
    pub captured: f64,
    /// Different capabilities, at most 10.
    pub capabilities: u32,
    /// Capabilities that each peer offers.
    pub offers_each: u32,
    /// The share of peers that is hostile, 0 to 1: the paper's α. The last ones are.
    pub alpha: f64,
    /// What hostile ones do.
    pub hostile: Conduct,
    /// Hostile peers in one operator's hand and one address prefix, as far as others can tell. 1: each has its own.
    pub ring: u32,
    /// Virtual seconds.
    pub seconds: u64,
    /// Workflows that each requester begins in an hour on average.
    pub workflows_per_hour: f64,
    /// The steps of a workflow: what each may do. Step n asks for capability n.
    pub steps: Vec<Step>,
    /// The policy's name, in the scenario's or the project's table.
    pub policy: String,
    /// How often whoever got a wrong output notices by itself and has the receipt replayed, 0 to 1.
    pub noticed: f64,
    /// Whether fraud proofs are passed on.
    pub proofs: bool,
    /// Peers each one passes proofs on to.
    pub neighbours: u32,
    /// How long leases live, in seconds.
    pub lease_seconds: u64,
    /// How long descriptors live, in seconds.
    pub descriptor_seconds: u64,
    /// Seconds until an offer is taken back or given again, on average; 0 for never. The provider's next announcement says so,
    /// not before.
    pub drift_seconds: u64,
    /// Seconds until a peer goes, without a word, or comes back, on average; 0 for never.
    pub churn_seconds: u64,
    /// Actions that a provider runs at once.
    pub capacity: u32,
    /// Actions that wait at a provider, beyond which it refuses as busy.
    pub queue: u32,
    /// What part of peers takes and does not give: it offers, and refuses everybody. 0 to 1.
    pub free_riders: f64,
    /// Whether providers keep balances and serve first who gave.
    pub balances: bool,
    /// What carries messages; the profile's own where it is left out.
    pub link: Option<Link>,
    /// Whether requesters look on the advertise plane: where registries leave them with nothing, and with one query in twenty
    /// to audit registries. Without, nobody audits.
    pub advertise: bool,
    /// What a component weighs, in bytes, which a requester fetches once to know canaries and to replay; the profile's own
    /// where it is left out. 0: everybody has all of them. At most 64 MiB.
    pub component_bytes: Option<u64>,
}

/// What a step of a workflow may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Nothing but answer.
    Pure,
    /// It is told something of the world.
    Reads,
    /// It changes something.
    Writes,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            peers: 100,
            requesters: 10,
            registries: 3,
            captured: 0.0,
            capabilities: 2,
            offers_each: 2,
            alpha: 0.0,
            hostile: Conduct::Lies,
            ring: 1,
            seconds: 3_600,
            workflows_per_hour: 60.0,
            steps: vec![Step::Pure, Step::Writes],
            policy: "naive".to_owned(),
            noticed: 0.0,
            proofs: false,
            neighbours: 8,
            lease_seconds: 600,
            descriptor_seconds: 21_600,
            drift_seconds: 0,
            churn_seconds: 0,
            capacity: 4,
            queue: 16,
            free_riders: 0.0,
            balances: false,
            link: None,
            advertise: true,
            component_bytes: None,
        }
    }
}
