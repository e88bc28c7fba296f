//! What a registry goes and fetches: the ads under the keys it was asked for and had little to answer with.

use super::{Keeping, blocking};
use crate::{clock, node::Service, plane::Seeker};
use actum_discovery::advertise::{Ad, Key};
use actum_model::Did;
use actum_overlay::Overlay;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, PoisonError},
    time::Duration,
};

/// How long one key is looked up for, and how soon after it the next one is, at the earliest.
const LOOK: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_secs(2);
/// Keys waiting to be looked up; for one more, the last of whoever has most waiting goes.
const WAITING: usize = 64;
/// Of those, the most that one asker has waiting.
const WAITING_OF_ONE: usize = 3;
/// How long a key that was looked up is not looked up again, in seconds.
const AGAIN_SECONDS: u64 = 300;
/// Keys remembered as looked up. Beyond it no other is, until one may be again.
const REMEMBERED: usize = 4_096;

/// The keys to look up.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    waiting: VecDeque<(Did, Key)>,
    /// When each was looked up or came to wait, in seconds since the Unix epoch.
    known: BTreeMap<Key, u64>,
}

impl Wanted {
    /// Has these looked up for an asker, but for those that were lately.
    pub(super) fn want(&mut self, asker: Did, keys: impl IntoIterator<Item = Key>, now: u64) {
        for key in keys {
            if self.known.len() >= REMEMBERED {
                self.known.retain(|_, at| at.saturating_add(AGAIN_SECONDS) > now);
            }
            let lately = self.known.get(&key).is_some_and(|at| at.saturating_add(AGAIN_SECONDS) > now);
            let mine = self.waiting.iter().filter(|(did, _)| *did == asker).count();
            if lately || self.known.len() >= REMEMBERED || mine >= WAITING_OF_ONE {
                continue;
            }
            if self.waiting.len() >= WAITING && !self.give_way(mine) {
                continue;
            }
            self.known.insert(key, now);
            self.waiting.push_back((asker, key));
        }
    }

    /// Drops the last key of whoever has most waiting, if that is more than one key beyond so many.
    fn give_way(&mut self, mine: usize) -> bool {
        let mut counts: BTreeMap<Did, usize> = BTreeMap::new();
        for (did, _) in &self.waiting {
            *counts.entry(*did).or_default() += 1;
        }
        let Some((most, count)) = counts.into_iter().max_by_key(|(_, count)| *count) else { return false };
        let last = self.waiting.iter().rposition(|(did, _)| *did == most).filter(|_| count > mine + 1);
        let dropped = last.and_then(|at| self.waiting.remove(at));
        dropped.is_some_and(|(_, key)| self.known.remove(&key).is_some())
    }

    fn next(&mut self) -> Option<Key> {
        self.waiting.pop_front().map(|(_, key)| key)
    }
}

/// Looks up what is wanted, one key after another. Runs until it is dropped.
pub(super) async fn run(service: &Service, keeping: &Arc<Keeping>, overlay: &Overlay) {
    loop {
        tokio::time::sleep(PAUSE).await;
        let next = keeping.wanted.lock().unwrap_or_else(PoisonError::into_inner).next();
        let Some(key) = next else { continue };
        let seeds = service.plane.known();
        let (own, local) = (service.home.did(), service.plane.local());
        let seeker = Seeker { overlay, own, local, seeds: &seeds };
        let mut offers = Vec::new();
        let mut on_found = |ad: Ad| offers.extend(ad.live_offer());
        seeker.look_up(key, LOOK, &mut on_found).await;
        let observe = move |registry: &actum_registry::Registry| {
            let mut news = 0;
            for offer in &offers {
                let now = clock::now_secs();
                // As what other registries bring: it makes nothing go that was announced here.
                let statements = [offer.descriptor().bytes(), offer.lease().bytes()];
                for statement in statements {
                    match registry.observe_from_registry(statement, now) {
                        Ok(_) => news += 1,
                        Err(error) => {
                            tracing::debug!(%error, code = error.code(), "an ad was not taken in");
                        }
                    }
                }
            }
            news
        };
        if let Some(statements @ 1..) = blocking(keeping, observe).await {
            tracing::debug!(statements, "ads were taken in");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actum_model::SecretKey;

    #[test]
    fn a_key_waits_once_and_is_looked_up_again_after_a_while() {
        let mut wanted = Wanted::default();
        let key = |n: usize| Key::tag(&format!("tag-{n}"));
        let did = |n: u8| SecretKey::from_seed(&[n; 32]).did();
        wanted.want(did(1), [key(1), key(2), key(1)], 1_000);
        assert_eq!((wanted.next(), wanted.next(), wanted.next()), (Some(key(1)), Some(key(2)), None));
        wanted.want(did(1), [key(1)], 1_000 + AGAIN_SECONDS - 1);
        assert_eq!(wanted.next(), None);
        wanted.want(did(2), [key(1)], 1_000 + AGAIN_SECONDS);
        assert_eq!(wanted.next(), Some(key(1)));
        // Nobody fills the places: not one asker, nor many that were first.
        wanted.want(did(1), (0..10_000).map(key), 9_000);
        assert_eq!(wanted.waiting.len(), WAITING_OF_ONE);
        for n in 2..100 {
            let from = usize::from(n) * 100;
            wanted.want(did(n), (from..from + 10).map(key), 9_000);
        }
        assert_eq!((wanted.waiting.len(), wanted.known.len() <= REMEMBERED), (WAITING, true));
        assert!(wanted.waiting.iter().any(|(did_, _)| *did_ == did(60)));
    }
}
