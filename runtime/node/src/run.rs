//! A local action: the owner's own work, on the owner's own machine, which needs nobody's leave and leaves a receipt
//! too. What the owner grants it is allowed.

use crate::{
    clock,
    home::{Home, HomeError},
    host::NodeHost,
    invoke::{self, Choices},
    resolve::Target,
};
use actum_model::{Authority, DecodeError, Function, Receipt, Signed};
use actum_sandbox::{CancelToken, ExecuteError, Execution, Surroundings};
use actum_store::{NewReceipt, StoreError};

/// Why a local action left no receipt.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The host could not execute it.
    #[error("the action could not be executed")]
    Execute(#[from] ExecuteError),
    /// The home failed.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The receipt could not be kept.
    #[error("the receipt could not be kept")]
    Store(#[from] StoreError),
}

/// How a local action ended, with the receipt that was kept.
pub struct Ran {
    /// The receipt.
    pub receipt: Signed<Receipt>,
    /// What execution gave.
    pub execution: Execution,
}

/// Runs `function` of `target` with canonically encoded arguments, and keeps the receipt. Once `cancel` is cancelled it ends
/// soon, without one.
pub fn run(
    home: &Home,
    target: &Target,
    function: &Function,
    args: &[u8],
    choices: Choices,
    cancel: CancelToken,
) -> Result<Ran, RunError> {
    let sandbox = home.sandbox()?;
    home.key()?;
    let action = invoke::action(home.did(), *target.loaded.id(), function, args, choices);
    let release = target.release.as_ref().map(Signed::payload);
    let host = NodeHost::behind(home, sandbox, &action, release);
    let around = Surroundings { host, cancel, ..Surroundings::default() };
    let execution = sandbox.execute_in(&target.loaded, &action, args, &around)?;
    let payload =
        execution.receipt(action, home.did(), clock::now_secs(), Authority::Local, sandbox.profile().id());
    let unreadable = |e: DecodeError| ExecuteError::Host { reason: e.to_string() };
    let receipt = Signed::try_sign(payload, home.key()?).map_err(unreadable)?;
    home.store().put_component(&target.component)?;
    let stdio = execution.stdio_block().map(|(_, bytes)| bytes);
    let (output, journal) = (execution.output.as_deref(), execution.journal.bytes());
    home.store().put_receipt(NewReceipt {
        receipt: &receipt,
        args,
        output,
        journal: &journal,
        bodies: &execution.bodies,
        stdio: stdio.as_deref(),
        invocation: None,
    })?;
    Ok(Ran { receipt, execution })
}
