//! Gives back what it is given: bytes for benchmarks, every WIT type for the encoding of values.

actum_guest::capability! {
    wit: "wit",
    implement: Echo,
}

use bindings::exports::test::echo::echo::{Everything, Guest};

struct Echo;

impl Guest for Echo {
    fn echo(data: Vec<u8>) -> Vec<u8> {
        data
    }

    fn work(mut data: Vec<u8>) -> Vec<u8> {
        let mut state: u32 = 0x811c_9dc5;
        for _ in 0..4 {
            for byte in &mut data {
                state = (state ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
                *byte = (state >> 24) as u8;
            }
        }
        data
    }

    fn roundtrip(v: Everything) -> Everything {
        v
    }
}
