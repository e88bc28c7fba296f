//! The peers a home knows: where they were met, what they offer, how their receipts fared.

use crate::{clock, home::Home, records};
use actum_model::Did;
use actum_store::StoreError;
use actum_trust::Experience;
use std::collections::BTreeMap;

/// A peer this home knows.
#[derive(Debug, Default)]
pub struct KnownPeer {
    /// Who.
    pub did: Option<Did>,
    /// Where it was met or says it is.
    pub addresses: Vec<String>,
    /// What it offers now, as `name@version`.
    pub offers: Vec<String>,
    /// Its receipts that were confirmed here, canaries' among them.
    pub identical: u64,
    /// Its receipts that did not.
    pub diverged: u64,
}

/// The peers this home knows, by did:key.
pub fn known_peers(home: &Home) -> Result<Vec<KnownPeer>, StoreError> {
    let mut peers: BTreeMap<Did, KnownPeer> = BTreeMap::new();
    for record in home.store().peers()? {
        peers.entry(record.did).or_default().addresses.push(record.addr);
    }
    for offer in home.store().offers(clock::now_secs())? {
        let d = offer.descriptor.payload();
        let peer = peers.entry(d.iss).or_default();
        peer.offers.push(format!("{}@{}", d.name, d.version));
        if peer.addresses.is_empty() {
            peer.addresses.clone_from(&offer.lease.payload().addrs);
        }
    }
    peers.remove(&home.did());
    let mut known = Vec::with_capacity(peers.len());
    for (did, mut peer) in peers {
        let events = records::events_with(home, &did)?;
        let own = events.iter().filter(|event| event.verifier.is_none());
        let count = |what: Experience| own.clone().filter(|event| event.what == what).count() as u64;
        peer.did = Some(did);
        (peer.identical, peer.diverged) = (count(Experience::Identical), count(Experience::Diverged));
        known.push(peer);
    }
    Ok(known)
}
