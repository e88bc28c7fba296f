//! `actum:host/delegate`: a guest's call, run here as an action of its own with a receipt of its own.
//!
//! The node itself is the requester: a guest has no key. The child is granted nothing but calls of its own, one level
//! less, and only where it can make them; then half of the fuel is its own and half is for what it calls. Its seed and
//! nonce follow from the parent's action and the call's number, so no other call can pass for it.

use super::NodeHost;
use crate::{clock, invoke, resolve};
use actum_model::{
    Action, Authority, BlobId, Function, Granted, Limits, Outcome, Permission, Signed, permission, release,
};
use actum_sandbox::{
    ExecuteError, Execution, Loaded, Surroundings,
    host::{DelegateAnswer, DelegateAsk, DelegateError, DelegateTold},
};
use actum_store::NewReceipt;
use serde_bytes::ByteArray;
use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, atomic::Ordering},
    thread,
};

/// The stack of a child's thread: what the sandbox wants with room to spare, so that nesting uses nobody else's.
const STACK_BYTES: usize = 2 << 20;

impl NodeHost {
    /// Runs a call; gives what the guest is told, and the fuel that it and all it called burned.
    pub(super) fn call(&self, ask: DelegateAsk<'_>) -> (DelegateTold, u64) {
        let called = thread::scope(|scope| {
            let thread = thread::Builder::new().name("actum-delegated".to_owned()).stack_size(STACK_BYTES);
            let child = thread.spawn_scoped(scope, || self.run(&ask)).map_err(|e| failed("a thread", e))?;
            child.join().map_err(|_| failed("the call", "its thread panicked"))?
        });
        match called {
            Ok((told, fuel)) => (told, fuel),
            Err(error) => (Err(error), 0),
        }
    }

    fn run(&self, ask: &DelegateAsk<'_>) -> Result<(DelegateTold, u64), DelegateError> {
        let loaded = self.component(ask)?;
        let function = self.function(&loaded, ask.function)?;
        let json: serde_json::Value =
            serde_json::from_str(ask.args).map_err(|e| invalid("the arguments are not JSON", &e))?;
        let mut no_files = |_: &str| Err("a guest's call reads no files".to_owned());
        let args = invoke::encode_args(&function, &json, &mut no_files).map_err(|e| {
            let source = std::error::Error::source(&e).map(ToString::to_string).unwrap_or_default();
            invalid(&e.to_string(), &source)
        })?;
        let action = self.child(ask, &loaded, &function, &args);
        let host = Arc::new(Self {
            store: self.store.clone(),
            sandbox: self.sandbox.clone(),
            did: self.did,
            key: self.key.clone(),
            id: action.id(),
            capability: action.component.to_string(),
            action: action.clone(),
            delegated: 0.into(),
            tenure: self.tenure.clone(),
        });
        let around = Surroundings {
            host: host.clone(),
            cancel: ask.cancel.clone(),
            deadline: Some(ask.deadline),
            nested: true,
            ..Surroundings::default()
        };
        let execution = match self.sandbox.execute_in(&loaded, &action, &args, &around) {
            Ok(execution) => execution,
            Err(error) => {
                let told = match error {
                    e @ (ExecuteError::NoPlace
                    | ExecuteError::Cancelled
                    | ExecuteError::LimitTooHigh { .. }) => DelegateError::Unavailable(e.to_string()),
                    e @ (ExecuteError::Args(_) | ExecuteError::NoSuchFunction { .. }) => {
                        DelegateError::Invalid(e.to_string())
                    }
                    e => failed("the call", e),
                };
                return Ok((Err(told), host.delegated.load(Ordering::Relaxed)));
            }
        };
        let fuel = execution.fuel;
        let total_fuel = fuel.saturating_add(host.delegated.load(Ordering::Relaxed));
        // Whatever is told from here on, the fuel is burned.
        let told = self.keep(action, &args, &execution).and_then(|receipt| match &execution.outcome {
            Outcome::Ok(_) | Outcome::GuestError(_) => {
                let output = execution.output.as_deref();
                let json = invoke::output_json(&function, &execution.outcome, output);
                let json = json.map_err(|e| failed("the output", e))?.unwrap_or_default();
                Ok(DelegateAnswer { output: json.to_string(), receipt, fuel, total_fuel })
            }
            outcome => {
                let outcome = outcome.code().to_owned();
                Err(DelegateError::Failed { outcome, receipt, fuel, total_fuel })
            }
        });
        Ok((told, total_fuel))
    }

    /// The component a permission names, where it is in this home. Nothing is resolved, and nothing fetched.
    fn component(&self, ask: &DelegateAsk<'_>) -> Result<Arc<Loaded>, DelegateError> {
        let id = &ask.granted.component;
        if let Some(loaded) = self.sandbox.loaded(id) {
            return Ok(loaded);
        }
        let component = self.store.component(id).map_err(|e| failed("the component", e))?;
        let component =
            component.ok_or_else(|| DelegateError::Unavailable(format!("component {id} is not here")))?;
        let loaded = self.sandbox.load_before(&component, &ask.cancel, ask.deadline);
        loaded.map_err(|e| DelegateError::Unavailable(e.to_string()))
    }

    /// The function that is meant: of the first release here that is true of the component, else of the component.
    fn function(&self, loaded: &Loaded, asked: &str) -> Result<Function, DelegateError> {
        let releases = self.store.releases_of_component(loaded.id()).map_err(|e| failed("the release", e))?;
        let known = releases.iter().find(|r| resolve::tells_the_truth(r.payload(), loaded).is_ok());
        let found = match known {
            Some(release) => release.payload().function(asked),
            None => release::find_function(loaded.functions(), asked),
        };
        found.cloned().map_err(|e| DelegateError::Invalid(e.to_string()))
    }

    /// The action of a call.
    fn child(&self, ask: &DelegateAsk<'_>, loaded: &Loaded, function: &Function, args: &[u8]) -> Action {
        let calls_on = loaded.imports().iter().any(|i| i.permission == Some(Permission::Delegate));
        let (fuel, permissions) = if calls_on { self.attenuate(ask) } else { (ask.fuel, BTreeSet::new()) };
        let derived = |what: &str| {
            let text = format!("actum/delegate@1 {what} {} {}", self.id, ask.number);
            actum_model::id::sha256(text.as_bytes())
        };
        let mut nonce = [0; 12];
        nonce.iter_mut().zip(derived("nonce")).for_each(|(to, from)| *to = from);
        Action {
            requester: self.did(),
            component: *loaded.id(),
            function: function.name.clone(),
            args: BlobId::of(args),
            limits: Limits { fuel, ..self.action.limits.clone() },
            permissions,
            seed: ByteArray::new(derived("seed")),
            time_base: self.action.time_base,
            nonce: ByteArray::new(nonce),
            partial: false,
        }
    }

    /// The fuel a child that can call on gets for itself, and what it may call: the parent's own calls, a level less, with
    /// equal shares of half of the fuel. So the whole never burns more than the call was given.
    fn attenuate(&self, ask: &DelegateAsk<'_>) -> (u64, BTreeSet<Granted>) {
        let lower = |granted: &Granted| match granted {
            Granted::Delegate(d) => {
                let depth = d.depth.min(ask.granted.depth).saturating_sub(1);
                (depth > 0).then(|| permission::Delegate { depth, ..d.clone() })
            }
            _ => None,
        };
        let passed: Vec<_> = self.action.permissions.iter().filter_map(lower).collect();
        let count = u64::try_from(passed.len()).unwrap_or(u64::MAX);
        let share = (ask.fuel / 2).checked_div(count).unwrap_or(0);
        if share == 0 {
            return (ask.fuel, BTreeSet::new());
        }
        let given = passed
            .into_iter()
            .map(|d| Granted::Delegate(permission::Delegate { fuel: d.fuel.min(share), ..d }))
            .collect();
        (ask.fuel.saturating_sub(share.saturating_mul(count)), given)
    }

    /// Signs and keeps the receipt with its evidence, before anybody is told of it.
    fn keep(&self, action: Action, args: &[u8], execution: &Execution) -> Result<String, DelegateError> {
        let authority = Authority::Delegated(self.id);
        let profile = self.sandbox.profile_id();
        let receipt = execution.receipt(action, self.did(), clock::now_secs(), authority, profile);
        let key = self.key.as_ref().ok_or_else(|| failed("the receipt", "the key is locked"))?;
        let receipt = Signed::try_sign(receipt, key).map_err(|e| failed("the receipt", e))?;
        let stdio = execution.stdio_block().map(|(_, bytes)| bytes);
        let new = NewReceipt {
            receipt: &receipt,
            args,
            output: execution.output.as_deref(),
            journal: &execution.journal.bytes(),
            bodies: &execution.bodies,
            stdio: stdio.as_deref(),
            invocation: None,
        };
        self.store.put_receipts(&[new]).map_err(|e| failed("the receipt", e))?;
        Ok(receipt.id().to_string())
    }
}

fn invalid(what: &str, why: &dyn fmt::Display) -> DelegateError {
    DelegateError::Invalid(format!("{what}: {why}"))
}

/// A failure of this node. The guest is told which thing failed, not what this machine said of it.
fn failed(what: &str, error: impl fmt::Display) -> DelegateError {
    tracing::error!(what, %error, "a guest's call failed");
    DelegateError::Unavailable(format!("this node failed: {what}"))
}
