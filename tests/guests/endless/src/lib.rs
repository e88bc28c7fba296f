//! Never ends: only fuel, or the host's clock, can stop it.

actum_guest::capability! {
    wit: "wit",
    implement: Endless,
}

use bindings::exports::test::endless::endless::Guest;

struct Endless;

impl Guest for Endless {
    fn spin() -> u64 {
        loop {
            std::hint::spin_loop();
        }
    }
}
