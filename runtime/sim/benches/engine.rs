//! What the engine costs beside a bare heap: events a second of 100,000 actors that each ask for their next event when one
//! happens, against popping and pushing a `BinaryHeap` of numbers as often, at the same moments. Medians of interleaved rounds in
//! one run, so that a busy machine slows both sides.
//!
//! `cargo bench -p actum-sim --bench engine`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark stops at its first surprise")]

use actum_sim::{Engine, Span, Time};
use std::{cmp::Reverse, collections::BinaryHeap, hint::black_box, time::Instant};

const ACTORS: u64 = 100_000;
const EVENTS: u64 = 10_000_000;
const ROUNDS: usize = 5;
/// The most that the engine may cost over the heap.
const GOAL: f64 = 1.5;

/// An event as a simulation has them: several kinds, 40 bytes.
#[derive(Clone, Copy, Debug)]
enum Event {
    Wakes(u64),
    Arrives { to: u64, from: u32, bytes: u64, about: [u32; 3] },
}

/// The next number; the same on both sides, and as cheap as they come.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 32
}

/// How long until an actor's next event, in microseconds: mostly as long as a message takes, at times as long as a lease lives.
fn delay(state: &mut u64) -> u64 {
    let number = next(state);
    if number.is_multiple_of(4) { number % 300_000_000 } else { number % 100_000 }
}

fn engine() -> f64 {
    let (mut engine, mut state) = (Engine::new(), 1);
    let start = Instant::now();
    for actor in 0..ACTORS {
        engine.after(Span::from_micros(delay(&mut state)), Event::Wakes(actor));
    }
    let mut sum = 0;
    for _ in 0..EVENTS {
        let event = engine.next_before(Time::from_micros(u64::MAX)).unwrap();
        let actor = match event {
            Event::Wakes(actor) => actor,
            Event::Arrives { to, from, bytes, about } => {
                sum += bytes + u64::from(from) + u64::from(about[0]);
                to
            }
        };
        let (from, about) = (actor as u32, [1, 2, 3]);
        engine.after(
            Span::from_micros(delay(&mut state)),
            Event::Arrives { to: actor, from, bytes: 64, about },
        );
    }
    black_box(sum);
    assert_eq!(engine.handled(), EVENTS);
    EVENTS as f64 / start.elapsed().as_secs_f64()
}

fn heap() -> f64 {
    let (mut heap, mut state) = (BinaryHeap::new(), 1);
    let start = Instant::now();
    for actor in 0..ACTORS {
        heap.push((Reverse(delay(&mut state)), actor));
    }
    let mut sum = 0;
    for _ in 0..EVENTS {
        let (Reverse(now), actor) = heap.pop().unwrap();
        sum += actor;
        heap.push((Reverse(now + delay(&mut state)), actor));
    }
    black_box(sum);
    EVENTS as f64 / start.elapsed().as_secs_f64()
}

fn median(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn main() {
    assert_eq!(size_of::<Event>(), 40);
    let (mut engines, mut heaps) = (Vec::new(), Vec::new());
    // The first round warms up.
    for round in 0..=ROUNDS {
        let (one, other) = (engine(), heap());
        if round > 0 {
            engines.push(one);
            heaps.push(other);
        }
    }
    let (engine, heap) = (median(&mut engines) / 1e6, median(&mut heaps) / 1e6);
    let ratio = heap / engine;
    println!(
        "engine: {engine:.2} M events/s, bare heap {heap:.2} M events/s, ratio {ratio:.2}; goal at most {GOAL}: {}",
        if ratio <= GOAL { "met" } else { "MISSED" }
    );
}
