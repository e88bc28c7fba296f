//! Returns its own errors, which are answers and no traps.

actum_guest::capability! {
    wit: "wit",
    implement: Failing,
}

use bindings::exports::test::failing::failing::{Failure, Guest};

struct Failing;

impl Guest for Failing {
    fn fail(reason: String) -> Result<String, Failure> {
        Err(Failure::Because(reason))
    }

    fn even(value: u32) -> Result<u32, Failure> {
        if value.is_multiple_of(2) { Ok(value) } else { Err(Failure::Code(value)) }
    }

    fn bare(fail: bool) -> Result<(), ()> {
        if fail { Err(()) } else { Ok(()) }
    }
}
