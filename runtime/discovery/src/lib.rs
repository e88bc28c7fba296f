//! How offers are announced, kept while they live, and found: sans-I/O state, with time and randomness as arguments.
//! No network, no disk, no clock may enter.
//!
//! An offer is two statements of its provider: a descriptor (what is offered; hours) and a lease (how things stand;
//! minutes). Whoever passes them on can leave some out but cannot forge, and whoever asks ranks them again.
//!
//! - A provider makes its descriptors with [`descriptor_for`] and asks an [`Announcer`] when to announce.
//! - An index takes statements in with [`Index::observe`] and answers with [`Index::search`].
//! - Two indexes find out what either lacks with [`reconcile`].
//! - A requester makes one ranked list of several indexes' answers with a [`Gathering`], which also tells who left what out.
//!
//! Times are seconds since the Unix epoch.

#![forbid(unsafe_code)]

pub mod advertise;
mod announce;
mod corpus;
mod describe;
mod gather;
mod index;
mod intake;
mod live;
mod order;
mod probing;
mod rank;
mod rates;
pub mod reconcile;
mod refused;
mod registries;
mod search;
mod turn;

pub use announce::{Announcement, Announcer, Lifetimes, Validity};
pub use corpus::Corpus;
pub use describe::{Conditions, DescribeError, Disagreement, agrees, descriptor_for};
pub use gather::{Answer, Gathering, MEANT, Omission, PageRefused, SETTLED, Taken};
pub use index::{Index, IndexLimits, Observed};
pub use intake::{Allowance, Intake};
pub use live::{CLOCK_SKEW, LiveOffer, Readiness, alive};
pub use order::{EXPLORE_ONE_IN, Record, order};
pub use probing::{BUSY_AT_MOST, PROBED_FOR, Probe, Probed, Probing, SILENT_AT_MOST, SILENT_FOR};
pub use rank::{Match, QUERY_TERMS, Ranker, Ranking, Term, Text, WordRanker};
pub use rates::TooMuch;
pub use refused::Refused;
pub use registries::{Candidate as RegistryCandidate, MAX_OMISSIONS, REGISTRIES, choose_registries};
pub use search::{Found, Wanted, Why};
pub use turn::turn;
