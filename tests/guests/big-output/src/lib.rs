//! Returns more than anybody asked for, in four shapes.

actum_guest::capability! {
    wit: "wit",
    implement: BigOutput,
}

use bindings::exports::test::big_output::big_output::Guest;

struct BigOutput;

impl Guest for BigOutput {
    fn bytes(count: u64) -> Vec<u8> {
        vec![0x61; count as usize]
    }

    fn text(count: u64) -> String {
        "a".repeat(count as usize)
    }

    fn empties(count: u32) -> Vec<Vec<u32>> {
        vec![Vec::new(); count as usize]
    }

    fn repeated(count: u32, length: u32) -> Vec<String> {
        vec!["a".repeat(length as usize); count as usize]
    }
}
