//! What Actum's data means: ids, canonical encoding, keys and signatures, and every type that outlives a process.
//!
//! Nothing here does I/O, reads a clock or awaits: the same bytes give the same answer on every machine. What needs
//! a wasm engine, a disk or a network belongs to the crates above.

#![forbid(unsafe_code)]

pub mod action;
pub mod archive;
pub mod attestation;
pub mod balance;
pub mod bundle;
pub mod codec;
pub mod descriptor;
pub mod envelope;
pub mod explain;
pub mod flow;
pub mod fraud;
pub mod grant;
pub mod id;
pub mod journal;
pub mod json;
pub mod key;
pub mod keyfile;
pub mod limits;
pub mod name;
pub mod outcome;
mod path;
pub mod permission;
pub mod profile;
pub mod query;
pub mod receipt;
pub mod release;
pub mod rotation;
pub mod run;
mod text;
pub mod tree;
pub mod types;
pub mod ucan;
pub mod value;
pub mod verdict;

pub use action::{Action, Authority};
pub use attestation::{Attestation, Tpm2Quote};
pub use balance::Balance;
pub use codec::DecodeError;
pub use descriptor::{Descriptor, Lease, Region, Tier, Tombstone};
pub use envelope::{EnvelopeError, Signed, Statement};
pub use flow::{FlowBundle, FlowRecord};
pub use fraud::FraudProof;
pub use grant::Terms;
pub use id::{
    ActionId, BlobId, ComponentId, DelegationId, DescriptorId, FlowId, InvocationId, JournalId, LeaseId,
    ProfileId, ReceiptId, ReleaseId, RotationId, VerdictId,
};
pub use journal::{Bodies, Body, Journal, JournalEntry};
pub use key::{Did, SecretKey};
pub use keyfile::Passphrase;
pub use limits::Limits;
pub use name::{CapabilityName, FunctionName};
pub use outcome::{Outcome, TrapCode, Withdrawal};
pub use permission::{Granted, Permission};
pub use profile::Profile;
pub use query::{Filters, Offer, Page, Query};
pub use receipt::Receipt;
pub use release::{Example, Function, Param, Release};
pub use rotation::Rotation;
pub use run::{Claim, RunArgs};
pub use types::WitType;
pub use ucan::{Chain, Delegation, Invocation, Policy, Proof, Revocation};
pub use value::Value;
pub use verdict::{Divergence, Judgement, Verdict};
