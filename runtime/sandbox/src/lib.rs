//! The execution plane: runs an action in wasmtime so that anyone can run it again and get the same answer.
//!
//! [`Sandbox::load`] turns bytes into a [`Loaded`] component, [`Sandbox::execute`] runs one action of it, and
//! [`replay::replay`] judges a receipt by running its action once more. Nothing here signs, stores or reaches out.
//!
//! Calls are synchronous and may take as long as [`SandboxConfig::wall_clock`]: make them from a blocking thread, with
//! at least 1 MiB of stack left.

mod bounds;
mod cache;
mod clock;
mod command;
mod compile;
pub mod contract;
mod convert;
mod crossing;
mod engine;
mod error;
mod execute;
mod fast;
pub mod host;
mod io;
mod limits;
mod load;
mod random;
mod real;
pub mod replay;
mod shelf;
mod stdio;
mod toll;
mod turns;
mod world;

pub use actum_model::receipt::Stdio;
pub use cache::{CacheKey, CompileCache};
pub use compile::CompileCounts;
pub use contract::{Contract, ContractError, Disagreement};
pub use engine::{EngineKind, Optimise, Pool, Sandbox, SandboxConfig};
pub use error::{ExecuteError, LoadError, SandboxError};
pub use execute::{CancelToken, Execution, Surroundings};
pub use host::{Host, NoHost};
pub use load::{Import, LeftOut, Loaded};
pub use real::{Strayed, delegated_receipts};
pub use replay::{Evidence, ReplayError};
pub use world::{grantable, why_refused};
