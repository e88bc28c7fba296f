//! What a peer's account here earns it where not everybody can be served at once.

use crate::home::Home;
use actum_model::{Authority, Did};
use actum_overlay::{Refusal, RefusalCode};
use actum_store::StoreError;
use actum_trust::{Account, Giving, HOUR_SECONDS, Hour, Priority, allowance_back, allowance_left, priority};

/// When one that is refused because others wait may come again, in milliseconds: a load passes sooner than an allowance
/// comes back.
const LOAD_RETRY_MS: u64 = 10_000;

/// What claim a requester has to be served before others, and what it is told where it has none and others wait.
pub(crate) struct Claim {
    pub(crate) priority: Priority,
    pub(crate) refusal: Option<Refusal>,
}

/// What a peer was served here in the hours that count.
pub(super) fn lately(home: &Home, peer: &Did, giving: &Giving, now: u64) -> Result<Vec<Hour>, StoreError> {
    let first = now.saturating_sub(giving.window_seconds.seconds()) / HOUR_SECONDS;
    let served = home.store().served_since(&home.did(), peer, first)?;
    Ok(served.into_iter().map(|(hour, fuel)| Hour { hour, fuel }).collect())
}

/// The claim of a peer that asks for so much fuel at most by that authority.
pub(crate) fn claim(
    home: &Home,
    giving: &Giving,
    peer: &Did,
    authority: &Authority,
    asked: u64,
    now: u64,
) -> Claim {
    if !matches!(authority, Authority::Public) {
        return Claim { priority: Priority::Owner, refusal: None };
    }
    let own = home.did();
    let read = || -> Result<(Account, Vec<Hour>), StoreError> {
        let served_fuel = home.store().tally(&own, peer)?.fuel;
        let consumed_fuel = home.store().tally(peer, &own)?.fuel;
        Ok((Account { served_fuel, consumed_fuel }, lately(home, peer, giving, now)?))
    };
    let (account, lately) = match read() {
        Ok(read) => read,
        Err(error) => {
            // Nobody is turned away because a disk is slow.
            tracing::warn!(%peer, %error, "what a peer has given cannot be read");
            return Claim { priority: Priority::Newcomer, refusal: None };
        }
    };
    let priority = priority(&account, &lately, asked, now, giving);
    let refusal = (priority == Priority::Debtor).then(|| {
        let left = allowance_left(&lately, now, giving);
        let back = match allowance_back(&lately, asked, now, giving) {
            Some(seconds) => format!("it reaches again in {seconds} s, or when nobody waits"),
            None => "ask for less, or when nobody waits".to_owned(),
        };
        let why = format!(
            "others wait, and of the {} fuel that a peer may have here without giving in {} h, {left} is left, where up to {asked} is asked for: {back}",
            giving.allowance_fuel,
            giving.window_seconds.seconds() / HOUR_SECONDS
        );
        Refusal::new(RefusalCode::Exhausted, why).retry_after_ms(LOAD_RETRY_MS)
    });
    Claim { priority, refusal }
}
