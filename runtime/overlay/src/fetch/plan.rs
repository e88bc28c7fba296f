//! Who is asked for which chunk next: a plan without I/O and without a clock. Times are since the download began.

use crate::defaults::{
    CHUNK_FAILURES, CHUNK_SLOW, CHUNKS_IN_FLIGHT, CHUNKS_PER_PEER_MAX, CHUNKS_PER_PEER_MIN,
};
use std::time::Duration;

/// A chunk out for this many times the usual time is slow...
const SLOW_FACTOR: u32 = 4;
/// ...but not before this: on a fast network everything is over sooner.
const SLOW_LEAST: Duration = Duration::from_millis(50);
/// Peers that one chunk is asked of at once.
const ASKERS: usize = 2;

#[derive(Clone, Debug, Default)]
struct Chunk {
    done: bool,
    /// Who was asked, and when.
    asked: Vec<(usize, Duration)>,
}

#[derive(Clone, Debug)]
struct Peer {
    /// Chunks it may have out at once.
    window: usize,
    out: usize,
    failures: u32,
    rests_until: Duration,
    given_up: bool,
}

/// Why a chunk did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// The peer is given up for this download.
    ForGood,
    /// The peer is busy until then.
    Busy(Duration),
    /// It took too long, or the peer failed otherwise; it may be asked again a few times.
    Once,
}

/// What is done, what is out, and who is left.
#[derive(Debug)]
pub(super) struct Plan {
    chunks: Vec<Chunk>,
    peers: Vec<Peer>,
    done: usize,
    out: usize,
    /// The first chunk that is neither done nor out, or a later one than the last of those.
    fresh: usize,
    /// How long a chunk takes, as a moving mean.
    usual: Option<Duration>,
}

impl Plan {
    /// A plan for the chunks not `done` yet, with so many peers.
    pub(super) fn new(done: &[bool], peers: usize) -> Self {
        let peer = Peer {
            window: CHUNKS_PER_PEER_MIN,
            out: 0,
            failures: 0,
            rests_until: Duration::ZERO,
            given_up: false,
        };
        Self {
            chunks: done.iter().map(|done| Chunk { done: *done, asked: Vec::new() }).collect(),
            peers: vec![peer; peers],
            done: done.iter().filter(|done| **done).count(),
            out: 0,
            fresh: 0,
            usual: None,
        }
    }

    /// Chunks that are done.
    pub(super) fn done(&self) -> usize {
        self.done
    }

    pub(super) fn is_done(&self) -> bool {
        self.done == self.chunks.len()
    }

    /// Whom to ask for what now, if anybody; call it until it gives nothing.
    pub(super) fn next(&mut self, now: Duration) -> Option<(usize, usize)> {
        if self.out >= CHUNKS_IN_FLIGHT {
            return None;
        }
        let may = |p: &Peer| !p.given_up && p.rests_until <= now && p.out < p.window;
        // The one with the most room, so that a fast peer's room is what fills.
        let ready = self.peers.iter().enumerate().filter(|(_, p)| may(p));
        let mut ready: Vec<_> = ready.map(|(at, p)| (p.window.saturating_sub(p.out), at)).collect();
        ready.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        let (_, peer) = *ready.first()?;
        while self.chunks.get(self.fresh).is_some_and(|c| c.done || !c.asked.is_empty()) {
            self.fresh += 1;
        }
        if self.fresh < self.chunks.len() {
            return self.ask(peer, self.fresh, now);
        }
        // Nothing is left that nobody was asked for: what is slow is asked of somebody else too.
        let slow = self.slow_after();
        for (_, peer) in ready {
            let lost = |c: &Chunk| {
                let late = c.asked.iter().all(|(p, since)| *p != peer && now.saturating_sub(*since) >= slow);
                !c.done && c.asked.len() < ASKERS && late
            };
            if let Some(index) = self.chunks.iter().position(lost) {
                return self.ask(peer, index, now);
            }
        }
        None
    }

    fn slow_after(&self) -> Duration {
        self.usual.map_or(CHUNK_SLOW, |usual| (usual * SLOW_FACTOR).clamp(SLOW_LEAST, CHUNK_SLOW))
    }

    fn ask(&mut self, peer: usize, index: usize, now: Duration) -> Option<(usize, usize)> {
        self.chunks.get_mut(index)?.asked.push((peer, now));
        let asked = self.peers.get_mut(peer)?;
        asked.out += 1;
        self.out += 1;
        Some((peer, index))
    }

    /// When to look again although nothing came: a peer has rested, or a chunk has become slow. Nothing where only what
    /// comes can change anything.
    pub(super) fn wake(&self, now: Duration) -> Option<Duration> {
        let rested = self.peers.iter().filter(|p| !p.given_up && p.rests_until > now).map(|p| p.rests_until);
        let slow = self.slow_after();
        let waiting = self.chunks.iter().filter(|c| !c.done && c.asked.len() == 1);
        let late = waiting.flat_map(|c| &c.asked).map(|(_, since)| *since + slow).filter(|at| *at > now);
        rested.chain(late).min()
    }

    /// Takes a peer's chunk off the list of what is out; says since when it was.
    fn back(&mut self, peer: usize, index: usize) -> Option<Duration> {
        let chunk = self.chunks.get_mut(index)?;
        let at = chunk.asked.iter().position(|(p, _)| *p == peer)?;
        let (_, since) = chunk.asked.swap_remove(at);
        self.out = self.out.saturating_sub(1);
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.out = peer.out.saturating_sub(1);
        }
        if chunk.asked.is_empty() && !chunk.done {
            self.fresh = self.fresh.min(index);
        }
        Some(since)
    }

    /// A right chunk came. Gives those who were asked for it too and are no longer waited for.
    pub(super) fn came(&mut self, peer: usize, index: usize, now: Duration) -> Vec<usize> {
        let Some(since) = self.back(peer, index) else { return Vec::new() };
        let took = now.saturating_sub(since);
        self.usual = Some(self.usual.map_or(took, |usual| (usual * 7 + took) / 8));
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.window = (peer.window + 1).min(CHUNKS_PER_PEER_MAX);
            peer.failures = 0;
        }
        let Some(chunk) = self.chunks.get_mut(index) else { return Vec::new() };
        if !std::mem::replace(&mut chunk.done, true) {
            self.done += 1;
        }
        let losers: Vec<_> = chunk.asked.iter().map(|(peer, _)| *peer).collect();
        for loser in &losers {
            self.back(*loser, index);
            // One that was overtaken gets no more than one at a time, until it gives that one.
            if let Some(peer) = self.peers.get_mut(*loser) {
                peer.window = 1;
            }
        }
        losers
    }

    /// A chunk that came is not what it should be after all.
    pub(super) fn was_wrong(&mut self, index: usize) {
        if let Some(chunk) = self.chunks.get_mut(index).filter(|chunk| chunk.done) {
            chunk.done = false;
            self.done = self.done.saturating_sub(1);
            self.fresh = self.fresh.min(index);
        }
    }

    /// A chunk did not come. Where that gives the peer up, says which others it was asked for and is no longer waited for.
    pub(super) fn failed(&mut self, peer: usize, index: usize, why: Failed) -> Option<Vec<usize>> {
        self.back(peer, index);
        let known = self.peers.get_mut(peer)?;
        match why {
            Failed::ForGood => known.given_up = true,
            Failed::Busy(until) => {
                known.rests_until = until;
                known.window = 1;
            }
            Failed::Once => {
                known.failures += 1;
                known.window = 1;
                known.given_up |= known.failures >= CHUNK_FAILURES;
            }
        }
        if !known.given_up {
            return None;
        }
        let asked = |c: &Chunk| c.asked.iter().any(|(p, _)| *p == peer);
        let others: Vec<_> =
            (0..self.chunks.len()).filter(|at| self.chunks.get(*at).is_some_and(asked)).collect();
        for other in &others {
            self.back(peer, *other);
        }
        Some(others)
    }

    /// Whether nobody is left to ask.
    pub(super) fn is_stuck(&self) -> bool {
        self.peers.iter().all(|p| p.given_up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn all(plan: &mut Plan, now: Duration) -> Vec<(usize, usize)> {
        std::iter::from_fn(|| plan.next(now)).collect()
    }

    #[test]
    fn what_is_here_is_not_asked_for() {
        let mut plan = Plan::new(&[true, false, true, false], 1);
        assert_eq!(all(&mut plan, ms(0)), [(0, 1), (0, 3)]);
        plan.came(0, 1, ms(1));
        plan.came(0, 3, ms(1));
        assert!(plan.is_done());
    }

    #[test]
    fn windows_open_to_eight_and_no_more_than_the_bound_is_out() {
        let mut plan = Plan::new(&[false; 256], 8);
        assert_eq!(all(&mut plan, ms(0)).len(), CHUNKS_IN_FLIGHT);
        let mut plan = Plan::new(&[false; 256], 1);
        let first = all(&mut plan, ms(0));
        assert_eq!(first.len(), CHUNKS_PER_PEER_MIN);
        for (peer, index) in first {
            plan.came(peer, index, ms(10));
        }
        assert_eq!(all(&mut plan, ms(10)).len(), CHUNKS_PER_PEER_MAX);
    }

    #[test]
    fn a_peer_that_falls_silent_loses_its_chunks_to_others() {
        let mut plan = Plan::new(&[false; 8], 2);
        let asked = all(&mut plan, ms(0));
        for (peer, index) in asked.into_iter().filter(|(peer, _)| *peer == 1) {
            assert_eq!(plan.came(peer, index, ms(10)).len(), 0);
        }
        assert_eq!(plan.next(ms(10)), None);
        let wake = plan.wake(ms(10)).unwrap();
        assert_eq!(wake, SLOW_LEAST, "four times the usual ten milliseconds are less");
        let taken = all(&mut plan, wake);
        assert_eq!(taken.len(), 4);
        for (peer, index) in taken {
            assert_eq!(peer, 1);
            assert_eq!(plan.came(peer, index, wake + ms(1)), [0]);
        }
        assert!(plan.is_done());
    }

    #[test]
    fn a_liar_and_one_that_keeps_failing_are_given_up() {
        let mut plan = Plan::new(&[false; 4], 2);
        let asked = all(&mut plan, ms(0));
        let of = |peer| asked.iter().copied().find(|(p, _)| *p == peer).unwrap();
        let (peer, index) = of(0);
        assert_eq!(
            plan.failed(peer, index, Failed::ForGood).unwrap().len(),
            1,
            "and its other chunk is asked elsewhere"
        );
        let (peer, index) = of(1);
        assert_eq!(plan.failed(peer, index, Failed::Once), None);
        assert_eq!(plan.next(ms(1)), None, "it has one out still, and one is what it gets now");
        let (_, other) = asked.iter().copied().rfind(|(p, _)| *p == 1).unwrap();
        assert_eq!(plan.failed(1, other, Failed::Once), None);
        let (peer, index) = plan.next(ms(1)).unwrap();
        assert_eq!(peer, 1);
        assert!(!plan.is_stuck());
        assert_eq!(plan.failed(peer, index, Failed::Once), Some(vec![]));
        assert!(plan.is_stuck());
        assert_eq!(plan.next(ms(1)), None);
    }

    #[test]
    fn a_busy_peer_rests() {
        let mut plan = Plan::new(&[false], 1);
        let (peer, index) = plan.next(ms(0)).unwrap();
        assert_eq!(plan.failed(peer, index, Failed::Busy(ms(100))), None);
        assert_eq!(plan.next(ms(50)), None);
        assert_eq!(plan.wake(ms(50)), Some(ms(100)));
        assert_eq!(plan.next(ms(100)), Some((0, 0)));
    }
}
