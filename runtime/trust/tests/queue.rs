//! Who waits, who goes first, and who is sent away.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use actum_trust::{Priority, Queue, STARVES};
use proptest::prelude::*;
use std::time::Duration;

const START: Duration = Duration::ZERO;
const MOMENT: Duration = Duration::from_millis(1);

fn all(queue: &mut Queue<u32>, now: Duration) -> Vec<u32> {
    std::iter::from_fn(|| queue.next(now)).collect()
}

#[test]
fn the_better_goes_first_and_of_equals_the_first_come() {
    let mut queue = Queue::default();
    for (name, priority) in [
        (6, Priority::Debtor),
        (4, Priority::Newcomer),
        (3, Priority::Giver(3)),
        (5, Priority::Newcomer),
        (1, Priority::Owner),
        (2, Priority::Giver(0)),
    ] {
        queue.join(name, priority, START);
    }
    assert_eq!(queue.len(), 6);
    assert_eq!(queue.ahead_of(Priority::Newcomer, START), 5);
    assert_eq!(queue.ahead_of(Priority::Owner, START), 1);
    assert_eq!(all(&mut queue, START), [1, 2, 3, 4, 5, 6]);
    assert!(queue.is_empty());
}

#[test]
fn nobody_starves_behind_a_stream_of_better_ones() {
    let mut queue = Queue::default();
    queue.join(1, Priority::Debtor, START);
    queue.join(2, Priority::Owner, STARVES);
    let mut early = queue.clone();
    assert_eq!(all(&mut early, STARVES - MOMENT), [2, 1], "a moment too early");
    assert_eq!(queue.ahead_of(Priority::Owner, STARVES), 2);
    assert!(!queue.may_displace(Priority::Owner, STARVES), "it is not put off again");
    assert_eq!(queue.displace(Priority::Owner, STARVES), None);
    assert_eq!(all(&mut queue, STARVES), [1, 2]);
    // Of those that starve the first come, whatever their claim.
    queue.join(1, Priority::Debtor, START);
    queue.join(2, Priority::Owner, MOMENT);
    assert_eq!(all(&mut queue, STARVES + MOMENT), [1, 2]);
}

#[test]
fn only_a_worse_one_is_sent_away_and_the_last_of_those() {
    let mut queue = Queue::default();
    queue.join(1, Priority::Giver(1), START);
    queue.join(2, Priority::Newcomer, START);
    queue.join(3, Priority::Newcomer, START);
    for priority in [Priority::Newcomer, Priority::Debtor] {
        assert!(!queue.may_displace(priority, START));
        assert_eq!(queue.displace(priority, START), None);
    }
    assert!(queue.may_displace(Priority::Giver(3), START));
    assert_eq!(queue.len(), 3, "asking sends nobody away");
    assert_eq!(queue.displace(Priority::Giver(3), START), Some(3));
    assert_eq!(queue.displace(Priority::Giver(1), START), Some(2));
    assert_eq!(queue.displace(Priority::Giver(1), START), None);
    assert_eq!(queue.leave_all(), [1]);
}

#[test]
fn a_debtor_waits_only_where_nobody_else_does() {
    let mut queue = Queue::default();
    assert!(queue.lets_wait(Priority::Debtor));
    let place = queue.join(1, Priority::Debtor, START);
    assert!(!queue.lets_wait(Priority::Debtor) && queue.lets_wait(Priority::Newcomer));
    assert_eq!((queue.leave(place), queue.leave(place)), (Some(1), None));
    assert!(queue.lets_wait(Priority::Debtor));
}

fn priority() -> impl Strategy<Value = Priority> {
    prop_oneof![
        Just(Priority::Owner),
        (0..4_u8).prop_map(Priority::Giver),
        Just(Priority::Newcomer),
        Just(Priority::Debtor),
    ]
}

proptest! {
    /// Seconds between those that come, and their claims.
    #[test]
    fn each_is_served_or_sent_away_once_and_in_order(
        come in prop::collection::vec((0..20_u64, priority()), 1..30),
        bound in 1..10_usize,
    ) {
        let (mut queue, mut now, mut away, mut came) = (Queue::default(), START, Vec::new(), Vec::new());
        for (n, (after, priority)) in come.iter().enumerate() {
            now += Duration::from_secs(*after);
            came.push((*priority, now));
            if queue.len() < bound {
                queue.join(n, *priority, now);
                continue;
            }
            let may = queue.may_displace(*priority, now);
            match queue.displace(*priority, now) {
                Some(other) => {
                    let (claim, since) = came.get(other).copied().unwrap();
                    prop_assert!(may && claim > *priority && now - since < STARVES);
                    away.push(other);
                    queue.join(n, *priority, now);
                }
                None => {
                    prop_assert!(!may);
                    away.push(n);
                }
            }
            prop_assert!(queue.len() <= bound);
        }
        let order: Vec<usize> = std::iter::from_fn(|| queue.next(now)).collect();
        for pair in order.windows(2) {
            let place = |n: &usize| {
                let (priority, since) = came.get(*n).copied().unwrap();
                ((now - since < STARVES).then_some(priority), *n)
            };
            prop_assert!(pair.iter().map(place).is_sorted());
        }
        let mut all: Vec<usize> = order.into_iter().chain(away).collect();
        all.sort_unstable();
        prop_assert_eq!(all, (0..come.len()).collect::<Vec<_>>());
    }
}
