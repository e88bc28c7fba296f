//! What answering a query takes, by how many offers an index has.

use super::{MeasureError, Subject, Times, sizes::statements};
use crate::{clock, home::Home};
use actum_model::{Filters, Query, SecretKey};
use actum_registry::{Registry, RegistryLimits};
use serde_bytes::ByteArray;
use std::time::Duration;

/// Offers in the small index, and in the large one.
const OFFERS: [u32; 2] = [50, 5_000];
/// The most offers that one answer has, and what requesters ask for.
const PAGE: u32 = 50;
/// Turns before those that count.
const WARM_UP: usize = 5;

/// How long a search takes without what each offer takes, and how many nanoseconds that is.
pub(super) fn measure(
    home: &Home,
    subject: &Subject<'_>,
    rounds: usize,
) -> Result<(Duration, u64), MeasureError> {
    let mut took = [Duration::ZERO; 2];
    for (offers, took) in OFFERS.into_iter().zip(&mut took) {
        *took = search(home, subject, offers, rounds)?;
    }
    let [small, large] = took;
    let [few, many] = OFFERS;
    let more = u64::from(many.saturating_sub(few)).max(1);
    let each = u64::try_from(large.saturating_sub(small).as_nanos()).unwrap_or(u64::MAX) / more;
    let offers = Duration::from_nanos(each.saturating_mul(few.into()));
    Ok((small.saturating_sub(offers), each))
}

fn search(home: &Home, subject: &Subject<'_>, offers: u32, rounds: usize) -> Result<Duration, MeasureError> {
    let now = clock::now_secs();
    let dir = home.root().join(format!("measured-{offers}"));
    let registry = Registry::open(&dir, RegistryLimits::default(), now)?;
    let seed: [u8; 28] = clock::random();
    for n in 0..offers {
        let mut own = [0; 32];
        own.iter_mut().zip(seed.into_iter().chain(n.to_be_bytes())).for_each(|(to, from)| *to = from);
        let made = statements(home, subject, &SecretKey::from_seed(&own))?;
        registry.observe_descriptor(&made.descriptor, now)?;
        registry.observe_lease(&made.lease, now)?;
    }
    registry.commit()?;
    let query = Query {
        iss: home.did(),
        aud: home.did(),
        text: subject.release.payload().name.to_string(),
        filters: Filters::default(),
        limit: PAGE,
        nonce: ByteArray::new(clock::random()),
    };
    let mut times = Times::default();
    for turn in 0..rounds.saturating_add(WARM_UP) {
        let found = times.time(|| registry.search(&query, clock::now_secs()))?;
        if u32::try_from(found.len()) != Ok(PAGE) {
            return Err(MeasureError::Unexpected("an index lacks what it took in"));
        }
        if turn < WARM_UP {
            times = Times::default();
        }
    }
    Ok(times.median())
}
