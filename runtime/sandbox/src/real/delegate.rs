//! `actum:host/delegate`: another capability's function, run by the node as an action of its own.

use super::RealView;
use super::bindings::actum::host::delegate;
use crate::host::{DelegateAnswer, DelegateAsk, DelegateError};
use actum_model::{Body, Granted, Journal, codec};
use serde::{Deserialize, Serialize};

/// An answer as the journal holds it, with a large output by id.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    output: Body,
    receipt: String,
    fuel: u64,
    total_fuel: u64,
}

/// The function's name in a journal.
const CALL: &str = "actum:host/delegate#call";

/// The ids of the receipts that the calls in a journal left, as text, in the order of the calls.
pub fn delegated_receipts(journal: &Journal) -> Vec<String> {
    let receipt = |told: &[u8]| match codec::decode(told, Journal::MAX_BYTES).ok()? {
        Ok(Answer { receipt, .. }) | Err(DelegateError::Failed { receipt, .. }) => Some(receipt),
        Err(_) => None,
    };
    journal.entries.iter().filter(|e| e.function == CALL).filter_map(|e| receipt(&e.told)).collect()
}

/// The most bytes of a call's arguments, as JSON: 1 MiB.
const MAX_ARGS_BYTES: usize = 1 << 20;
/// The most delegated calls of one action.
const MAX_CALLS: u64 = 256;

/// These bounds, as the profile has them.
pub(crate) fn rules() -> String {
    format!("{MAX_CALLS} calls, {MAX_ARGS_BYTES} bytes of arguments each")
}

impl delegate::Host for RealView<'_> {
    fn call(
        &mut self,
        target: String,
        function: String,
        args: String,
    ) -> wasmtime::Result<Result<delegate::Answer, delegate::Error>> {
        let granted = self.real.granted.iter().find_map(|granted| match granted {
            Granted::Delegate(delegate) if delegate.target == target => Some(delegate.clone()),
            _ => None,
        });
        let number = self.real.calls;
        self.real.calls = number.saturating_add(1);
        let used = self.real.delegated.get(&target).copied().unwrap_or(0);
        let (host, watch) = (self.real.host.clone(), self.real.watch.clone());
        let text = self.real.tape.keep(args.as_bytes());
        let question = (number, target.as_str(), function.as_str(), text);
        let told: Result<Answer, DelegateError> = self.real.tape.ask(CALL, &question, |tape| {
            let Some(granted) = &granted else {
                return Ok(Err(DelegateError::Denied(format!("no grant names {target:?}"))));
            };
            let fuel = granted.fuel.saturating_sub(used);
            if number >= MAX_CALLS || fuel == 0 {
                let what = if fuel == 0 { granted.fuel } else { MAX_CALLS };
                let unit = if fuel == 0 { "fuel" } else { "calls" };
                return Ok(Err(DelegateError::Exhausted(format!("all {what} {unit} are used"))));
            }
            if args.len() > MAX_ARGS_BYTES || function.len() > MAX_ARGS_BYTES {
                return Ok(Err(DelegateError::Invalid(format!("at most {MAX_ARGS_BYTES} bytes are taken"))));
            }
            let told = host.delegate(DelegateAsk {
                number,
                granted,
                function: &function,
                args: &args,
                fuel,
                deadline: watch.deadline,
                cancel: watch.cancel.clone(),
            });
            Ok(told.map(|DelegateAnswer { output, receipt, fuel, total_fuel }| {
                let output = tape.keep(output.as_bytes());
                Answer { output, receipt, fuel, total_fuel }
            }))
        })?;
        // Decided by the action alone: a journal cannot say otherwise.
        if granted.is_none() != matches!(told, Err(DelegateError::Denied(_))) {
            return Err(self.real.tape.refuse("the action grants otherwise".to_owned()));
        }
        let burned = match &told {
            Ok(answer) => answer.total_fuel,
            Err(DelegateError::Failed { total_fuel, .. }) => *total_fuel,
            Err(_) => 0,
        };
        self.real.delegated.insert(target, used.saturating_add(burned));
        Ok(match told {
            Ok(Answer { output, receipt, fuel, .. }) => {
                let output = self.real.tape.open(&output)?;
                // What the host gave was text; a forged journal's need not be.
                let output = String::from_utf8_lossy(&output).into_owned();
                Ok(delegate::Answer { output, receipt, fuel })
            }
            Err(DelegateError::Denied(why)) => Err(delegate::Error::Denied(why)),
            Err(DelegateError::Exhausted(why)) => Err(delegate::Error::Exhausted(why)),
            Err(DelegateError::Invalid(why)) => Err(delegate::Error::Invalid(why)),
            Err(DelegateError::Unavailable(why)) => Err(delegate::Error::Unavailable(why)),
            Err(DelegateError::Failed { outcome, receipt, fuel, .. }) => {
                Err(delegate::Error::Failed(delegate::Failure { outcome, receipt, fuel }))
            }
        })
    }
}
