//! The engine, the streams and the carrier: what every simulation rests on.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use actum_sim::{Carrier, Engine, Kind, Span, Streams, Time, profile::Link};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What somebody does with an engine.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Asks for an event at this moment, which may have passed.
    At(u64),
    /// Asks for an event so long from now.
    After(u64),
    /// Takes an event before this moment.
    Take(u64),
    /// Takes an event before so long from now.
    TakeSoon(u64),
}

/// Spans of every size: many of a few microseconds, so that events meet, and some far away.
fn span() -> impl Strategy<Value = u64> {
    prop_oneof![0..4_u64, 0..1_000_u64, any::<u64>().prop_map(|n| n >> (n % 64))]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => span().prop_map(Step::At),
        4 => span().prop_map(Step::After),
        2 => span().prop_map(Step::Take),
        4 => span().prop_map(Step::TakeSoon),
    ];
    prop::collection::vec(step, 0..400)
}

/// The same as the engine in the plainest way: a list in order of moment and asking.
#[derive(Default)]
struct Plain {
    now: u64,
    asked: u64,
    queue: BTreeMap<(u64, u64), u64>,
}

impl Plain {
    fn at(&mut self, when: u64) -> u64 {
        self.asked += 1;
        self.queue.insert((when.max(self.now), self.asked), self.asked);
        self.asked
    }

    fn next_before(&mut self, end: u64) -> Option<u64> {
        match self.queue.first_entry().filter(|first| first.key().0 < end) {
            Some(first) => {
                self.now = first.key().0;
                Some(first.remove())
            }
            None => {
                self.now = self.now.max(end);
                None
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever is asked for and taken, in whatever turn: the engine gives what the plain list gives, at the same moments. Time
    /// never runs back, nothing comes at its end or after it, and every event is either handled once or still to come.
    #[test]
    fn events_happen_once_in_order_of_moment_and_asking(steps in steps()) {
        let (mut engine, mut plain) = (Engine::new(), Plain::default());
        for step in steps {
            let before = engine.now();
            match step {
                Step::At(when) => engine.at(Time::from_micros(when), plain.at(when)),
                Step::After(span) => {
                    engine.after(Span::from_micros(span), plain.at(plain.now.saturating_add(span)));
                }
                Step::Take(_) | Step::TakeSoon(_) => {
                    let end = match step {
                        Step::TakeSoon(span) => before.micros().saturating_add(span),
                        Step::Take(end) | Step::At(end) | Step::After(end) => end,
                    };
                    let end = Time::from_micros(end);
                    let event = engine.next_before(end);
                    prop_assert_eq!(event, plain.next_before(end.micros()));
                    prop_assert!(engine.now() >= before);
                    prop_assert!(event.is_none() || engine.now() < end);
                }
            }
            prop_assert_eq!(engine.now().micros(), plain.now);
            prop_assert_eq!(engine.pending(), plain.queue.len());
            prop_assert_eq!(engine.scheduled(), engine.handled() + engine.pending() as u64);
        }
        let end = Time::from_micros(u64::MAX);
        while let Some(event) = engine.next_before(end) {
            prop_assert_eq!(Some(event), plain.next_before(u64::MAX));
        }
        // What is due at the end of time never comes before it.
        prop_assert_eq!(plain.next_before(u64::MAX), None);
        prop_assert_eq!(engine.scheduled(), engine.handled() + engine.pending() as u64);
    }

    /// Actors that ask again whenever they are woken: the same schedule twice is the same order.
    #[test]
    fn the_same_schedule_is_the_same_order(seed in any::<u64>(), actors in 1..50_u64) {
        let run = || {
            let (mut engine, mut draws) = (Engine::new(), Streams::new(seed).of("test", 0));
            (0..actors).for_each(|actor| engine.after(Span::from_micros(draws.below(10)), actor));
            let mut order = Vec::new();
            while let Some(actor) = engine.next_before(Time::from_micros(500)) {
                order.push((engine.now(), actor));
                engine.after(Span::from_micros(draws.below(20)), actor);
            }
            order
        };
        let order = run();
        prop_assert!(order.is_sorted_by_key(|(when, _)| *when));
        prop_assert_eq!(order, run());
    }

    /// A stream depends on seed, purpose and actor, and on nothing that others draw.
    #[test]
    fn streams_differ_and_none_moves_another(
        seed in any::<u64>(), one in any::<u64>(), other in any::<u64>(), drawn in 0..100_usize,
    ) {
        let streams = Streams::new(seed);
        let first = |purpose: &str, actor: u64| -> Vec<u64> {
            let mut stream = streams.of(purpose, actor);
            (0..20).map(|_| stream.number()).collect()
        };
        let alone = first("work", one);
        let (mut beside, mut mine) = (streams.of("work", other), streams.of("work", one));
        let together: Vec<u64> = (0..20)
            .map(|_| {
                for _ in 0..drawn {
                    beside.number();
                }
                mine.number()
            })
            .collect();
        prop_assert_eq!(&together, &alone);
        prop_assert_eq!(first("work", other) == alone, one == other);
        prop_assert_ne!(first("rest", one), alone.clone());
        let next = Streams::new(seed.wrapping_add(1));
        prop_assert_ne!(next.of("work", one).number(), alone[0]);
        prop_assert_ne!(streams.bytes("key", one), streams.bytes("other", one));
        prop_assert_eq!(streams.bytes("key", one) == streams.bytes("key", other), one == other);
    }

    /// Of a network that loses some: what was sent was delivered, lost, or is under way, and all that is not lost comes in the end.
    #[test]
    fn what_is_sent_is_delivered_or_lost_or_under_way(
        seed in any::<u64>(),
        loss in 0.0..1.0_f64,
        sends in prop::collection::vec((0..20_u32, 0..6_usize, 0..100_000_u64), 1..300),
        stop in 0..2_000_000_u64,
    ) {
        let link = Link { one_way: Span::from_millis(50), sigma: 1.0, loss, bytes_per_second: 100_000 };
        let (mut engine, mut carrier) = (Engine::new(), Carrier::new(link, u32::MAX, Streams::new(seed)));
        let (mut under_way, mut arrived) = (0, 0);
        for (from, kind, bytes) in &sends {
            under_way += u64::from(carrier.send(&mut engine, *from, Kind::ALL[*kind], *bytes, ()));
        }
        for end in [stop, u64::MAX] {
            while engine.next_before(Time::from_micros(end)).is_some() {
                carrier.delivered();
                arrived += 1;
            }
            prop_assert_eq!(carrier.under_way(), under_way - arrived);
            let lost: u64 = Kind::ALL.iter().map(|kind| carrier.sent(*kind).lost).sum();
            prop_assert_eq!(carrier.messages(), arrived + lost + carrier.under_way());
        }
        prop_assert_eq!((carrier.messages(), carrier.under_way()), (sends.len() as u64, 0));
        let control = sends.iter().filter(|(_, kind, _)| Kind::ALL[*kind].is_control());
        prop_assert_eq!(carrier.control_bytes(), control.map(|(_, _, bytes)| bytes).sum::<u64>());
    }

    /// One sender's messages take as long as they do, whoever else sends.
    #[test]
    fn no_sender_moves_anothers_delays(seed in any::<u64>(), beside in 0..50_u32) {
        let arrivals = |beside: u32| {
            let link = Link { one_way: Span::from_millis(50), sigma: 0.5, loss: 0.2, bytes_per_second: u64::MAX };
            let (mut engine, mut carrier) = (Engine::new(), Carrier::new(link, u32::MAX, Streams::new(seed)));
            for n in 0..20 {
                for other in 1..=beside {
                    carrier.send(&mut engine, other, Kind::Find, 1, None);
                }
                carrier.send(&mut engine, 0, Kind::Action, 100, Some(n));
            }
            let mut mine = Vec::new();
            while let Some(event) = engine.next_before(Time::from_micros(u64::MAX)) {
                mine.extend(event.map(|n| (n, engine.now())));
            }
            mine
        };
        prop_assert_eq!(arrivals(beside), arrivals(0));
    }
}
