//! Takes all the memory it can get, rudely or politely.

actum_guest::capability! {
    wit: "wit",
    implement: MemoryBomb,
}

use std::hint::black_box;

use bindings::exports::test::memory_bomb::memory_bomb::Guest;

const STEP_BYTES: usize = 1 << 20;

struct MemoryBomb;

impl Guest for MemoryBomb {
    fn grow() -> u64 {
        let mut held: Vec<Vec<u8>> = Vec::new();
        loop {
            held.push(vec![0xa5; STEP_BYTES]);
            black_box(&held);
        }
    }

    fn grow_politely() -> u64 {
        let mut held: Vec<Vec<u8>> = Vec::new();
        loop {
            let mut step: Vec<u8> = Vec::new();
            if held.try_reserve(1).is_err() || step.try_reserve_exact(STEP_BYTES).is_err() {
                return (held.len() * STEP_BYTES) as u64;
            }
            step.resize(STEP_BYTES, 0xa5);
            held.push(step);
            black_box(&held);
        }
    }

    fn reserve(bytes: u64) -> bool {
        let mut held: Vec<u8> = Vec::new();
        let had = usize::try_from(bytes).is_ok_and(|bytes| held.try_reserve_exact(bytes).is_ok());
        black_box(&held);
        had
    }
}
