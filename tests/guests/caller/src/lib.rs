//! Calls others through its node, by `actum:host/delegate`.
#![cfg(target_os = "wasi")]

#[allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated: the component model's calling convention is raw memory"
)]
mod bindings {
    use super::Caller;

    actum_guest::wit_bindgen::generate!({
        path: ["../../../wit/host", "wit"],
        world: "test:caller/guest",
        runtime_path: "actum_guest::wit_bindgen::rt",
        generate_all,
    });

    export!(Caller with_types_in self);
}

use bindings::actum::host::delegate::{Error, call};
use bindings::exports::test::caller::caller::Guest;

struct Caller;

fn say(error: Error) -> String {
    match error {
        Error::Denied(why) => format!("denied: {why}"),
        Error::Exhausted(why) => format!("exhausted: {why}"),
        Error::Invalid(why) => format!("invalid: {why}"),
        Error::Failed(failure) => format!("failed: {} after {}", failure.outcome, failure.fuel),
        Error::Unavailable(why) => format!("unavailable: {why}"),
    }
}

impl Guest for Caller {
    fn relay(target: String, function: String, args: String) -> Result<String, String> {
        call(&target, &function, &args).map(|answer| answer.output).map_err(say)
    }

    fn twice(target: String, function: String, args: String) -> Result<(String, String), String> {
        let first = Self::relay(target.clone(), function.clone(), args.clone())?;
        Ok((first, Self::relay(target, function, args)?))
    }

    fn deep(n: u32) -> String {
        if n == 0 {
            return "bottom".to_owned();
        }
        match call("self", "deep", &format!("[{}]", n - 1)) {
            Ok(answer) => format!("down {}", answer.output.trim_matches('"')),
            Err(Error::Denied(_)) => "denied".to_owned(),
            Err(Error::Exhausted(_)) => "exhausted".to_owned(),
            Err(other) => say(other),
        }
    }

    fn exhaust(target: String, function: String, args: String) -> (u32, String) {
        let mut answers = 0;
        loop {
            match call(&target, &function, &args) {
                Ok(_) => answers += 1,
                Err(error) => return (answers, say(error)),
            }
        }
    }

    fn swallow(target: String, function: String, args: String) -> String {
        match call(&target, &function, &args) {
            Ok(_) => "answer",
            Err(Error::Denied(_)) => "denied",
            Err(Error::Exhausted(_)) => "exhausted",
            Err(Error::Invalid(_)) => "invalid",
            Err(Error::Failed(_)) => "failed",
            Err(Error::Unavailable(_)) => "unavailable",
        }
        .to_owned()
    }

    fn receipt(target: String, function: String, args: String) -> Option<String> {
        match call(&target, &function, &args) {
            Ok(answer) => Some(answer.receipt),
            Err(Error::Failed(failure)) => Some(failure.receipt),
            Err(_) => None,
        }
    }
}
