//! What a registry goes and fetches: the ads under the keys it was asked for and had little to answer with.

use super::{Keeping, blocking};
use crate::{clock, node::Service, plane::Seeker};
use actum_discovery::advertise::{Ad, Key};
use actum_overlay::Overlay;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, PoisonError},
    time::Duration,
};

/// How long one key is looked up for, and how soon after it the next one is, at the earliest.
const LOOK: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_secs(2);
/// Keys waiting to be looked up. Those wanted beyond it are not.
const WAITING: usize = 64;
/// How long a key that was looked up is not looked up again, in seconds.
const AGAIN_SECONDS: u64 = 300;
/// Keys remembered as looked up. Beyond it no other is, until one may be again.
const REMEMBERED: usize = 4_096;

/// The keys to look up.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    waiting: VecDeque<Key>,
    /// When each was looked up or came to wait, in seconds since the Unix epoch.
    known: BTreeMap<Key, u64>,
}

impl Wanted {
    /// Has these looked up, but for those that were lately.
    pub(super) fn want(&mut self, keys: impl IntoIterator<Item = Key>, now: u64) {
        for key in keys {
            if self.known.len() >= REMEMBERED {
                self.known.retain(|_, at| at.saturating_add(AGAIN_SECONDS) > now);
            }
            let lately = self.known.get(&key).is_some_and(|at| at.saturating_add(AGAIN_SECONDS) > now);
            let room = self.waiting.len() < WAITING && self.known.len() < REMEMBERED;
            if !lately && room {
                self.known.insert(key, now);
                self.waiting.push_back(key);
            }
        }
    }

    fn next(&mut self) -> Option<Key> {
        self.waiting.pop_front()
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

    #[test]
    fn a_key_waits_once_and_is_looked_up_again_after_a_while() {
        let mut wanted = Wanted::default();
        let key = |n: usize| Key::tag(&format!("tag-{n}"));
        wanted.want([key(1), key(2), key(1)], 1_000);
        assert_eq!((wanted.next(), wanted.next(), wanted.next()), (Some(key(1)), Some(key(2)), None));
        wanted.want([key(1)], 1_000 + AGAIN_SECONDS - 1);
        assert_eq!(wanted.next(), None);
        wanted.want([key(1)], 1_000 + AGAIN_SECONDS);
        assert_eq!(wanted.next(), Some(key(1)));
        wanted.want((0..10_000).map(key), 9_000);
        assert_eq!((wanted.waiting.len(), wanted.known.len() <= REMEMBERED), (WAITING, true));
    }
}
