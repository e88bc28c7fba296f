//! A peer's name on the wire and its signing key are the same Ed25519 key, in both directions.

use actum_model::{Did, SecretKey};
use libp2p::{PeerId, identity, multihash::Multihash};

/// The multihash code of "the bytes themselves".
const IDENTITY: u64 = 0x00;
/// The protobuf head of an Ed25519 public key: field 1 (type) is 1, field 2 (data) has 32 bytes.
const ED25519_PROTOBUF: [u8; 4] = [0x08, 0x01, 0x12, 0x20];

/// The key behind a peer id, where it is a usable Ed25519 key: its peer ids contain it.
pub fn did_of(peer: PeerId) -> Option<Did> {
    let hash: &Multihash<64> = peer.as_ref();
    if hash.code() != IDENTITY {
        return None;
    }
    let key = hash.digest().strip_prefix(&ED25519_PROTOBUF)?;
    Did::from_bytes(key.try_into().ok()?).ok()
}

/// The peer id of a key.
pub fn peer_id_of(did: &Did) -> PeerId {
    #[expect(clippy::expect_used, reason = "a Did is a valid Ed25519 public key by construction")]
    let key = identity::ed25519::PublicKey::try_from_bytes(did.as_bytes()).expect("a Did is a valid key");
    identity::PublicKey::from(key).to_peer_id()
}

/// The libp2p identity of a signing key.
pub(crate) fn keypair_of(key: &SecretKey) -> identity::Keypair {
    let mut seed = key.seed();
    #[expect(clippy::expect_used, reason = "any 32 bytes are an Ed25519 seed")]
    let keypair = identity::Keypair::ed25519_from_bytes(&mut seed).expect("a seed has 32 bytes");
    keypair
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_id_and_did_are_the_same_key() {
        for n in 0..32 {
            let key = SecretKey::from_seed(&[n; 32]);
            let peer = peer_id_of(&key.did());
            assert_eq!(peer, keypair_of(&key).public().to_peer_id());
            assert_eq!(did_of(peer), Some(key.did()));
        }
        assert_eq!(did_of(PeerId::random()), None);
    }
}
