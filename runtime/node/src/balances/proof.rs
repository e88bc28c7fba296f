//! A balance with its proof, as one file: written here, checked by anybody.

use super::{ATTEMPTS, BalancesError, our_ids, own_balance};
use crate::home::Home;
use actum_model::{
    Did, Invocation, ReceiptId, Signed,
    balance::{Accounts, Entry},
    bundle::MAX_BUNDLE_BYTES,
};
use actum_trust::{BalanceError, prove};
use std::{fs, io, path::Path};

/// This home's balance with a peer, the peer's newest, and everything that proves this home's.
pub fn export(home: &Home, peer: &Did) -> Result<Accounts, BalancesError> {
    for attempt in 1..=ATTEMPTS {
        let ours = own_balance(home, peer)?.ok_or(BalancesError::Nothing { peer: *peer })?;
        let theirs = home.store().balance(peer, &home.did())?.map(|kept| kept.balance);
        let ids = our_ids(home, peer)?;
        let entries = ids.served.iter().chain(&ids.consumed).map(|id| entry(home, id));
        let entries = entries.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        let accounts = Accounts { ours, theirs, entries };
        match prove(accounts.ours.payload(), &accounts.entries) {
            Ok(()) => return Ok(accounts),
            // Something was counted meanwhile.
            Err(BalanceError::Sum { .. }) if attempt < ATTEMPTS => {}
            Err(e) => return Err(e.into()),
        }
    }
    Err(BalancesError::Nothing { peer: *peer })
}

/// A receipt with the request it answers, as far as they are here.
fn entry(home: &Home, id: &ReceiptId) -> Result<Option<Entry>, BalancesError> {
    let Some(receipt) = home.store().receipt(id)? else { return Ok(None) };
    let named = receipt.payload().invocation;
    let request = named.map(|id| home.store().get(&id)).transpose()?.flatten();
    let invocation = request.and_then(|bytes| Signed::<Invocation>::verify(&bytes).ok());
    Ok(Some(Entry { receipt, invocation }))
}

/// What an exported balance holds, and whether it holds.
#[derive(Debug)]
pub struct Verified {
    /// What is in the file.
    pub accounts: Accounts,
    /// Whether the receipts make the balance of who exported it.
    pub ours: Result<(), BalanceError>,
    /// Whether they make the other's, where that is there.
    pub theirs: Option<Result<(), BalanceError>>,
}

/// Checks an exported balance offline: uses no home, and believes nobody.
pub fn verify_file(path: &Path) -> Result<Verified, BalancesError> {
    let cannot = |source| BalancesError::Io { path: path.to_owned(), source };
    let size = fs::metadata(path).map_err(cannot)?.len();
    if size > MAX_BUNDLE_BYTES as u64 {
        return Err(cannot(io::Error::other(format!(
            "{size} bytes where at most {MAX_BUNDLE_BYTES} are allowed"
        ))));
    }
    let bytes = fs::read(path).map_err(cannot)?;
    let accounts = Accounts::from_bytes(&bytes)
        .map_err(|source| BalancesError::File { path: path.to_owned(), source })?;
    let ours = prove(accounts.ours.payload(), &accounts.entries);
    let theirs = accounts.theirs.as_ref().map(|theirs| prove(theirs.payload(), &accounts.entries));
    Ok(Verified { accounts, ours, theirs })
}
