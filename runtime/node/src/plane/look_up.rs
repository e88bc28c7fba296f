//! Looking a key up on the advertise plane: drives [`Lookup`] over the overlay.

use super::{ask, lock, wire::peers};
use crate::clock;
use actum_discovery::advertise::{
    Ad, Answer, Key, LocalAddresses, Lookup, Peer, Table, Verifier,
    limits::{ANSWER_TIMEOUT_MS, VERIFIED_HELD},
};
use actum_model::Did;
use actum_overlay::{Overlay, Request, Response};
use futures::{StreamExt, stream::FuturesUnordered};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde_bytes::ByteArray;
use std::{sync::Mutex, time::Duration};

/// What came of a lookup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LookedUp {
    /// Registrars asked.
    pub(crate) asked: usize,
    /// Registrars that answered.
    pub(crate) answered: usize,
    /// Different providers found.
    pub(crate) providers: usize,
}

/// Who looks, and from where.
#[derive(Clone, Copy)]
pub(crate) struct Seeker<'a> {
    /// The network it asks over.
    pub(crate) overlay: &'a Overlay,
    /// Itself: never found.
    pub(crate) own: Did,
    /// Whether addresses of one machine count.
    pub(crate) local: LocalAddresses,
    /// The peers a lookup begins at.
    pub(crate) seeds: &'a [Peer],
}

impl Seeker<'_> {
    /// Looks for the ads under a key for at most so long. Each ad is verified, and given to `on_found` as it comes.
    pub(crate) async fn look_up(
        &self,
        key: Key,
        within: Duration,
        on_found: &mut (dyn FnMut(Ad) + Send),
    ) -> LookedUp {
        let Self { overlay, own, local, seeds } = *self;
        let mut table = Table::new(key, local);
        for seed in seeds {
            table.add(seed);
        }
        let mut lookup = Lookup::new(table, own, local);
        let mut verifier = Verifier::new(VERIFIED_HELD);
        let rng = Mutex::new(ChaCha20Rng::from_seed(clock::random()));
        let request = Request::Ads { key: ByteArray::new(*key.as_bytes()) };
        let timeout = Duration::from_millis(ANSWER_TIMEOUT_MS);
        let mut answered = 0;
        let looking = async {
            let mut under_way = FuturesUnordered::new();
            loop {
                let ask_now = lookup.poll(clock::now_millis(), &mut *lock(&rng));
                for peer in ask_now {
                    let request = &request;
                    under_way.push(async move {
                        let answer = ask(overlay, &peer, request, timeout).await;
                        (*peer.did(), answer)
                    });
                }
                if under_way.is_empty() && lookup.is_done() {
                    return;
                }
                let due = lookup.deadline().unwrap_or_default().saturating_sub(clock::now_millis());
                tokio::select! {
                    Some((peer, answer)) = under_way.next() => match answer {
                        Ok(Response::Ads { ads, closer }) => {
                            answered += 1;
                            let answer = Answer { ads, closer: peers(closer) };
                            let taken = lookup.answered(clock::now_millis(), &peer, &answer, &mut verifier);
                            if let Some(fault) = taken.fault {
                                tracing::debug!(registrar = %peer, code = fault.code(), %fault, "an answer is of no use");
                            }
                            taken.found.into_iter().for_each(&mut *on_found);
                        }
                        _ => lookup.failed(clock::now_millis(), &peer),
                    },
                    () = tokio::time::sleep(Duration::from_millis(due.max(10))) => {}
                }
            }
        };
        // What was found so far has been given out already.
        let _ = tokio::time::timeout(within, looking).await;
        LookedUp { asked: lookup.peers_asked(), answered, providers: lookup.providers() }
    }
}
