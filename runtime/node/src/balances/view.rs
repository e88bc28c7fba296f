//! How it stands with a peer, as it is known here: nobody is asked.

use super::{BalancesError, claim::lately};
use crate::{clock, home::Home};
use actum_model::{Did, balance::Tally};
use actum_store::{KeptBalance, ListedEntry};
use actum_trust::{Account, Direction, Giving, Priority, allowance_left, priority};
use std::collections::BTreeSet;

/// What this home and a peer have served each other, as it is known here.
#[derive(Clone, Debug)]
pub struct View {
    /// The peer.
    pub peer: Did,
    /// What this home ran for it.
    pub served: Tally,
    /// What it ran for this home.
    pub consumed: Tally,
    /// What it said last, and when.
    pub theirs: Option<KeptBalance>,
    /// Whether that is what is counted here.
    pub agrees: Option<bool>,
    /// How it would be served here now, if it came as a stranger.
    pub priority: Priority,
    /// What is left of what it may have here without giving.
    pub allowance_left: u64,
    /// Entries that were found void, and which way each is.
    pub void: Vec<(Direction, ListedEntry)>,
}

/// What is known here of the balance with a peer.
pub fn view(home: &Home, peer: &Did, giving: &Giving) -> Result<View, BalancesError> {
    let (own, store, now) = (home.did(), home.store(), clock::now_secs());
    let (served, consumed) = (store.tally(&own, peer)?, store.tally(peer, &own)?);
    let theirs = store.balance(peer, &own)?;
    let agrees = theirs.as_ref().map(|theirs| {
        let said = theirs.balance.payload();
        (said.consumed, said.served) == (served.side(), consumed.side())
    });
    let lately = lately(home, peer, giving, now)?;
    let account = Account { served_fuel: served.fuel, consumed_fuel: consumed.fuel };
    let mut void = Vec::new();
    for (direction, entries) in [
        (Direction::Served, store.void_entries(&own, peer)?),
        (Direction::Consumed, store.void_entries(peer, &own)?),
    ] {
        void.extend(entries.into_iter().map(|entry| (direction, entry)));
    }
    Ok(View {
        peer: *peer,
        served,
        consumed,
        theirs,
        agrees,
        priority: priority(&account, &lately, 0, now, giving),
        allowance_left: allowance_left(&lately, now, giving),
        void,
    })
}

/// Those with whom this home has receipts.
pub fn partners(home: &Home) -> Result<BTreeSet<Did>, BalancesError> {
    Ok(home.store().partners(&home.did())?)
}
