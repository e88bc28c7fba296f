//! Whom to believe: what a receipt can be checked for without running anything, what re-execution said of it, and whom
//! to ask next. Pure policy: no I/O, no clock, no engine.
//!
//! A requester calls [`consistency`] on each receipt it is handed, and [`examine`] on the receipts it has replayed;
//! [`Held`] remembers what came of it, [`Record`] is what that comes to, and [`choose`] orders the next candidates by it.
//! [`RiskPolicy`] says how much is checked: [`canary`] makes actions whose answer is known, [`replicas`] compares what
//! several providers say, [`sampling`] draws what is replayed. Re-execution itself comes in through [`Replayer`]. By what
//! authority an action ran, [`authority()`] checks. At a busy provider actions wait in a [`Queue`], by [`priority()`].

#![forbid(unsafe_code)]

mod attempt;
mod attestation;
mod authority;
mod balance;
pub mod canary;
mod choose;
mod consistency;
mod queue;
pub mod replicas;
pub mod reputation;
pub mod risk;
pub mod sampling;
mod verdict;

pub use attempt::{Canaries, Failure, Next, Refused};
pub use attestation::{
    AkName, AkNameError, AttestationError, AttestationVerifier, Attested, MAX_PCR, PCR_BYTES, Tpm2, TpmError,
    attested, pcr_value,
};
pub use authority::{AtHand, AuthorityError, CLOCK_SKEW_SECONDS, How, Proven, Unproven, authority};
pub use balance::{
    Account, Apart, BalanceError, CompareError, Difference, Direction, Giving, HOUR_SECONDS, Hour, Ids,
    MAX_WINDOW_SECONDS, Priority, Settled, Window, agree, allowance_back, allowance_left, compare, priority,
    prove, settle,
};
pub use canary::{Known, Strength};
pub use choose::{Candidate, Choice, Chosen, Why, choose};
pub use consistency::{Asked, Inconsistency, consistency};
pub use queue::{Queue, STARVES};
pub use replicas::{Agreement, OutcomeDigest};
pub use reputation::{Event, Experience, Fraud, Held, Opinion, Record, Reputation, Score, Standing, inherit};
pub use risk::{
    Asker, Because, Class, Effect, Level, LevelError, Plan, Replay, RiskPolicy, Runs, UnknownLevel, plan,
};
pub use verdict::{Evidence, MAX_REASON_BYTES, Replayer, examine, verdict};
