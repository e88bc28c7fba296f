//! Tells all it can see of the world: whatever differs between two of its runs is a hole in the virtual world.
#![cfg(target_os = "wasi")]

actum_guest::capability! {
    wit: "wit",
    implement: Observer,
}

use std::collections::HashMap;

use bindings::exports::test::observer::observer::{Guest, Observation};
use wasip2::clocks::{monotonic_clock, wall_clock};
use wasip2::random::{insecure, insecure_seed, random};

struct Observer;

impl Guest for Observer {
    fn observe() -> Observation {
        let wall = wall_clock::now();
        let map: HashMap<u32, ()> = (0..32).map(|key| (key, ())).collect();
        let observation = Observation {
            wall: (wall.seconds, wall.nanoseconds),
            monotonic: (monotonic_clock::now(), monotonic_clock::now()),
            random: random::get_random_bytes(32),
            insecure: insecure::get_insecure_random_bytes(32),
            seed: insecure_seed::insecure_seed(),
            hash_order: map.into_keys().collect(),
            environment: std::env::vars().collect(),
            arguments: std::env::args().collect(),
            root: names_in_root().map_err(|error| error.to_string()),
        };
        println!("wall {:?}", observation.wall);
        println!("monotonic {:?}", observation.monotonic);
        println!("random {:?}", observation.random);
        println!("insecure {:?}", observation.insecure);
        println!("seed {:?}", observation.seed);
        println!("hash order {:?}", observation.hash_order);
        println!("environment {:?}", observation.environment);
        println!("arguments {:?}", observation.arguments);
        println!("root {:?}", observation.root);
        observation
    }

    fn wall_readings(count: u32) -> Vec<u64> {
        (0..count)
            .map(|_| {
                let now = wall_clock::now();
                now.seconds * 1_000_000_000 + u64::from(now.nanoseconds)
            })
            .collect()
    }

    fn random_bytes(count: u64) -> Vec<u8> {
        random::get_random_bytes(count)
    }
}

fn names_in_root() -> std::io::Result<Vec<String>> {
    std::fs::read_dir("/")?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}
