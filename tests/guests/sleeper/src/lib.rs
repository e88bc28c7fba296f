//! Waits, once or for several things at once: in a virtual world time passes without anybody waiting.
#![cfg(target_os = "wasi")]

actum_guest::capability! {
    wit: "wit",
    implement: Sleeper,
}

use std::time::Duration;

use bindings::exports::test::sleeper::sleeper::Guest;
use wasip2::clocks::monotonic_clock::{now, subscribe_duration};
use wasip2::io::poll::{Pollable, poll};

struct Sleeper;

impl Guest for Sleeper {
    fn sleep(nanoseconds: u64) -> u64 {
        let start = now();
        std::thread::sleep(Duration::from_nanos(nanoseconds));
        now() - start
    }

    fn sleep_an_hour() -> u64 {
        Self::sleep(3_600_000_000_000)
    }

    fn wait_for_all(nanoseconds: Vec<u64>) -> Vec<(u32, u64)> {
        let start = now();
        let mut waiting: Vec<(u32, Pollable)> =
            (0..).zip(nanoseconds.into_iter().map(subscribe_duration)).collect();
        let mut reported = Vec::new();
        while !waiting.is_empty() {
            let ready = poll(&waiting.iter().map(|(_, pollable)| pollable).collect::<Vec<_>>());
            let passed = now() - start;
            reported.extend(ready.iter().map(|&position| (waiting[position as usize].0, passed)));
            let mut position = 0;
            waiting.retain(|_| {
                position += 1;
                !ready.contains(&(position - 1))
            });
        }
        reported
    }

    fn spin_for(nanoseconds: u64) -> u64 {
        let start = now();
        let mut readings = 1;
        while now() - start < nanoseconds {
            readings += 1;
        }
        readings
    }
}
