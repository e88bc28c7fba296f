//! Turns to run: who waits is served by what it has given, and nobody waits for ever. Whose turn is next and who is sent
//! away, `actum_trust`'s [`Queue`] says; here turns are handed over.

use actum_trust::{Priority, Queue};
use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::oneshot, time::Instant};

/// The turns of a node. Cheap to clone; clones are the same turns.
#[derive(Clone)]
pub(crate) struct Turns(Arc<Mutex<State>>);

struct State {
    /// Turns nobody has. While there is one, nobody waits.
    free: u32,
    waiting: Queue<Give>,
    /// From when on the queue counts.
    began: Instant,
}

/// Where one that waits gets its turn.
type Give = oneshot::Sender<Result<Turn, Displaced>>;

/// The place in the queue was given to one of a better priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Displaced;

/// A turn: dropped, it goes to the next.
pub(crate) struct Turn(Option<Turns>);

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.pass_on();
        }
    }
}

/// A place among the waiting: given up when dropped.
struct Place<'a> {
    turns: &'a Turns,
    arrival: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let give = self.turns.lock().waiting.leave(self.arrival);
        // Nothing of a waiter's is dropped while the lock is held: it might hold a turn.
        drop(give);
    }
}

impl State {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Turns {
    /// So many turns, all free.
    pub(crate) fn new(turns: NonZeroU32) -> Self {
        let state = State { free: turns.get(), waiting: Queue::default(), began: Instant::now() };
        Self(Arc::new(Mutex::new(state)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A turn, where one is free.
    pub(crate) fn try_take(&self) -> Option<Turn> {
        let mut state = self.lock();
        state.free = state.free.checked_sub(1)?;
        Some(Turn(Some(self.clone())))
    }

    /// Whether one of this priority that comes now may wait.
    pub(crate) fn lets_wait(&self, priority: Priority) -> bool {
        self.lock().waiting.lets_wait(priority)
    }

    /// How many that wait will be served before one of this priority that comes now, if nobody else comes.
    pub(crate) fn ahead_of(&self, priority: Priority) -> u32 {
        let state = self.lock();
        u32::try_from(state.waiting.ahead_of(priority, state.now())).unwrap_or(u32::MAX)
    }

    /// Waits for a turn. Dropped while it waits, it leaves no hole.
    pub(crate) async fn take(&self, priority: Priority) -> Result<Turn, Displaced> {
        let (give, given) = oneshot::channel();
        let _place = {
            let mut state = self.lock();
            if let Some(free) = state.free.checked_sub(1) {
                state.free = free;
                return Ok(Turn(Some(self.clone())));
            }
            let now = state.now();
            let arrival = state.waiting.join(give, priority, now);
            Place { turns: self, arrival }
        };
        // A waiter is answered before it is dropped, unless its place was given up, and with it this.
        given.await.unwrap_or(Err(Displaced))
    }

    /// Whether one waits with less of a claim than this priority.
    pub(crate) fn may_displace(&self, priority: Priority) -> bool {
        let state = self.lock();
        state.waiting.may_displace(priority, state.now())
    }

    /// Sends away the one that waits with the least claim, where one of this priority has a better one.
    pub(crate) fn displace(&self, priority: Priority) -> bool {
        let give = {
            let mut state = self.lock();
            let now = state.now();
            state.waiting.displace(priority, now)
        };
        let Some(give) = give else { return false };
        // One that is no longer there has left its place as well.
        let _ = give.send(Err(Displaced));
        true
    }

    /// Gives a turn that has become free to the next, or keeps it.
    fn pass_on(self) {
        let mut turn = Turn(Some(self.clone()));
        loop {
            let next = {
                let mut state = self.lock();
                let now = state.now();
                let next = state.waiting.next(now);
                if next.is_none() {
                    state.free = state.free.saturating_add(1);
                    turn.0 = None;
                }
                next
            };
            let Some(give) = next else { return };
            match give.send(Ok(turn)) {
                Ok(()) => return,
                // It was dropped meanwhile: whoever is next then.
                Err(Ok(back)) => turn = back,
                // What was sent comes back.
                Err(Err(Displaced)) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actum_trust::STARVES;
    use tokio::task::JoinHandle;

    const ONE: NonZeroU32 = NonZeroU32::MIN;

    fn waiting(turns: &Turns) -> usize {
        turns.lock().waiting.len()
    }

    /// Lets everybody else go on until they all wait.
    async fn settle() {
        for _ in 0..32 {
            tokio::task::yield_now().await;
        }
    }

    /// Starts to wait, and writes down its name when its turn comes.
    async fn wait(
        turns: &Turns,
        name: u32,
        priority: Priority,
        order: &Arc<Mutex<Vec<u32>>>,
    ) -> JoinHandle<Result<(), Displaced>> {
        let (turns, order) = (turns.clone(), order.clone());
        let waits = tokio::spawn(async move {
            let turn = turns.take(priority).await?;
            order.lock().unwrap().push(name);
            drop(turn);
            Ok(())
        });
        settle().await;
        waits
    }

    #[tokio::test]
    async fn the_better_goes_first_and_of_equals_the_first_come() {
        let (turns, order) = (Turns::new(ONE), Arc::new(Mutex::new(Vec::new())));
        let turn = turns.take(Priority::Debtor).await.unwrap();
        assert!(turns.try_take().is_none());
        let mut all = Vec::new();
        for (name, priority) in [
            (6, Priority::Debtor),
            (4, Priority::Newcomer),
            (3, Priority::Giver(3)),
            (5, Priority::Newcomer),
            (1, Priority::Owner),
            (2, Priority::Giver(0)),
        ] {
            all.push(wait(&turns, name, priority, &order).await);
        }
        assert_eq!(waiting(&turns), 6);
        assert_eq!(turns.ahead_of(Priority::Newcomer), 5);
        assert_eq!(turns.ahead_of(Priority::Owner), 1);
        drop(turn);
        for one in all {
            one.await.unwrap().unwrap();
        }
        assert_eq!(*order.lock().unwrap(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(waiting(&turns), 0);
        assert!(turns.try_take().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_starves_behind_a_stream_of_better_ones() {
        let (turns, order) = (Turns::new(ONE), Arc::new(Mutex::new(Vec::new())));
        let turn = turns.take(Priority::Owner).await.unwrap();
        let poor = wait(&turns, 1, Priority::Debtor, &order).await;
        tokio::time::advance(STARVES - Duration::from_millis(1)).await;
        let rich = wait(&turns, 2, Priority::Owner, &order).await;
        drop(turn);
        settle().await;
        assert_eq!(*order.lock().unwrap(), [2, 1], "a moment too early");
        poor.await.unwrap().unwrap();
        rich.await.unwrap().unwrap();

        let turn = turns.take(Priority::Owner).await.unwrap();
        let poor = wait(&turns, 3, Priority::Debtor, &order).await;
        tokio::time::advance(STARVES).await;
        let rich = wait(&turns, 4, Priority::Owner, &order).await;
        assert_eq!(turns.ahead_of(Priority::Owner), 2);
        assert!(!turns.displace(Priority::Owner), "it is not put off again");
        drop(turn);
        poor.await.unwrap().unwrap();
        rich.await.unwrap().unwrap();
        assert_eq!(order.lock().unwrap()[2..], [3, 4]);
    }

    #[tokio::test]
    async fn one_that_goes_away_leaves_no_hole() {
        let (turns, order) =
            (Turns::new(NonZeroU32::MIN.saturating_add(1)), Arc::new(Mutex::new(Vec::new())));
        let held = [turns.take(Priority::Owner).await.unwrap(), turns.take(Priority::Owner).await.unwrap()];
        let mut all = Vec::new();
        for name in 0..40 {
            all.push(wait(&turns, name, Priority::Newcomer, &order).await);
        }
        // Every other one is gone before its turn, some of them just as it is given to them.
        for gone in all.iter().step_by(2) {
            gone.abort();
        }
        settle().await;
        assert_eq!(waiting(&turns), 20);
        let mut given = Box::pin(turns.take(Priority::Owner));
        assert!(futures::poll!(&mut given).is_pending());
        drop(held);
        // The turn lies ready for it, and it never looks.
        drop(given);
        for (name, one) in all.into_iter().enumerate().filter(|(name, _)| name % 2 == 1) {
            assert_eq!(one.await.unwrap(), Ok(()), "{name}");
        }
        assert_eq!(order.lock().unwrap().len(), 20);
        let both = [turns.try_take(), turns.try_take()];
        assert!(both.iter().all(Option::is_some) && turns.try_take().is_none(), "two turns, as before");
    }

    #[tokio::test]
    async fn only_a_worse_one_is_sent_away_and_the_last_of_those() {
        let (turns, order) = (Turns::new(ONE), Arc::new(Mutex::new(Vec::new())));
        let turn = turns.take(Priority::Owner).await.unwrap();
        let giver = wait(&turns, 1, Priority::Giver(1), &order).await;
        let first = wait(&turns, 2, Priority::Newcomer, &order).await;
        let last = wait(&turns, 3, Priority::Newcomer, &order).await;
        assert!(!turns.displace(Priority::Newcomer) && !turns.displace(Priority::Debtor));
        assert!(turns.may_displace(Priority::Giver(3)) && !turns.may_displace(Priority::Newcomer));
        assert_eq!(waiting(&turns), 3, "asking sends nobody away");
        assert!(turns.displace(Priority::Giver(3)));
        assert_eq!(last.await.unwrap(), Err(Displaced));
        assert!(turns.displace(Priority::Giver(1)));
        assert_eq!(first.await.unwrap(), Err(Displaced));
        assert!(!turns.displace(Priority::Giver(1)));
        drop(turn);
        giver.await.unwrap().unwrap();
        assert_eq!(*order.lock().unwrap(), [1]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn many_at_once_never_have_more_turns_than_there_are() {
        let turns = Turns::new(NonZeroU32::MIN.saturating_add(2));
        let held = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let one = |n: u32| {
            let (turns, held) = (turns.clone(), held.clone());
            tokio::spawn(async move {
                let priority = [Priority::Owner, Priority::Giver(0), Priority::Newcomer, Priority::Debtor];
                let priority = priority.into_iter().nth(n as usize % 4).unwrap();
                let patience = Duration::from_micros(u64::from(n % 7) * 300);
                let waits = tokio::time::timeout(patience, turns.take(priority));
                let Ok(Ok(_turn)) = waits.await else { return };
                let now = held.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                assert!(now < 3, "{now} others have one");
                tokio::time::sleep(Duration::from_micros(200)).await;
                held.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
            })
        };
        for task in (0..2_000).map(one).collect::<Vec<_>>() {
            task.await.unwrap();
        }
        assert_eq!(waiting(&turns), 0);
        let all: Vec<_> = std::iter::from_fn(|| turns.try_take()).collect();
        assert_eq!(all.len(), 3);
    }
}
