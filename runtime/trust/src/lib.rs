//! Whom to believe: what a receipt can be checked for without running anything, what re-execution said of it, and whom
//! to ask next. Pure policy: no I/O, no clock, no engine.
//!
//! A requester calls [`consistency`] on each receipt it is handed, and [`examine`] on the receipts it has replayed;
//! [`Standings`] counts what came of it, and [`choose`] orders the next candidates by it. Re-execution itself comes
//! in through [`Replayer`]. By what authority an action ran, [`authority()`] checks.

#![forbid(unsafe_code)]

mod authority;
mod choose;
mod consistency;
mod standing;
mod verdict;

pub use authority::{AtHand, AuthorityError, CLOCK_SKEW_SECONDS, How, Proven, Unproven, authority};
pub use choose::{Candidate, Choice, choose};
pub use consistency::{Asked, Inconsistency, consistency};
pub use standing::{Standing, Standings};
pub use verdict::{Evidence, MAX_REASON_BYTES, Replayer, examine, verdict};
