//! Peers as the wire has them, and as the advertise plane does.

use actum_discovery::advertise::Peer;
use actum_overlay::Contact;

/// Peers as an answer names them.
pub(super) fn contacts(peers: &[Peer]) -> Vec<Contact> {
    peers.iter().map(|peer| Contact { did: *peer.did(), addrs: peer.addrs().to_vec() }).collect()
}

/// The peers an answer names; those without an address that says where they are count as none.
pub(super) fn peers(contacts: Vec<Contact>) -> Vec<Peer> {
    contacts.into_iter().filter_map(|contact| Peer::named(contact.did, contact.addrs).ok()).collect()
}
