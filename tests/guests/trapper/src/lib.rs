//! Ends in every kind of trap, each from its own function.

actum_guest::capability! {
    wit: "wit",
    implement: Trapper,
}

use std::hint::black_box;
use std::num::NonZeroU32;

use bindings::exports::test::trapper::trapper::Guest;

struct Trapper;

impl Guest for Trapper {
    fn panic(message: String) {
        panic!("{message}")
    }

    fn unreachable() {
        #[cfg(target_family = "wasm")]
        std::arch::wasm32::unreachable();
    }

    fn divide(dividend: u32, divisor: u32) -> u32 {
        // SAFETY: none for zero, and that is the point. Rust's own division checks first and panics; this one is the
        // bare instruction, whose trap the host has to name.
        let divisor = unsafe { NonZeroU32::new_unchecked(black_box(divisor)) };
        black_box(dividend) / divisor
    }

    fn overflow_stack(seed: u64) -> u64 {
        descend(seed)
    }

    fn out_of_bounds() -> u8 {
        let address = black_box(usize::MAX - 16);
        // SAFETY: none: the last page of the address space is not the guest's, and the host has to say so.
        unsafe { std::ptr::read_volatile(std::ptr::without_provenance(address)) }
    }
}

/// Recursion that no optimiser turns into a loop, and that keeps nothing in linear memory.
#[inline(never)]
fn descend(seed: u64) -> u64 {
    if seed == u64::MAX { seed } else { descend(seed + 1).rotate_left(7) ^ seed }
}
