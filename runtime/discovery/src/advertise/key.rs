//! What ads are registered under, and how far a peer is from it.

use super::limits::BUCKETS;
use actum_model::{ComponentId, Descriptor, Did, id::sha256};
use sha2::{Digest, Sha256};
use std::{collections::BTreeSet, fmt};

/// Separates keys from every other digest.
const DOMAIN: &[u8] = b"actum/advertise-key@1";

/// What ads are registered under: the digest of an interface, a tag or a component.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// The key of an interface, `namespace:package/interface`. A version is left out, so that whoever needs another than the
    /// newest finds it under the same key; the descriptor names the one offered.
    pub fn interface(name: &str) -> Self {
        Self::of("interface", name.split('@').next().unwrap_or(name).as_bytes())
    }

    /// The key of a tag. ASCII letters of either case are the same.
    pub fn tag(tag: &str) -> Self {
        Self::of("tag", tag.to_ascii_lowercase().as_bytes())
    }

    /// The key of a component.
    pub fn component(component: &ComponentId) -> Self {
        Self::of("component", component.digest())
    }

    /// The key under which registries advertise themselves. Their ads are leases alone.
    pub fn registries() -> Self {
        Self::of("registries", b"")
    }

    /// A key as it came over a wire. Every 32 bytes are some key.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The bucket of a place around this key: how many leading bits they share, 0 for the farthest half, at most 15.
    pub fn bucket(&self, place: &Place) -> usize {
        let mut shared = 0;
        for (a, b) in self.0.iter().zip(&place.0) {
            let zeros = (a ^ b).leading_zeros() as usize;
            shared += zeros;
            if zeros < 8 || shared >= BUCKETS {
                break;
            }
        }
        shared.min(BUCKETS - 1)
    }

    /// Each part is preceded by its length, so that no two lists of parts have the same bytes.
    fn of(kind: &str, value: &[u8]) -> Self {
        let mut hash = Sha256::new();
        for part in [DOMAIN, kind.as_bytes(), value] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The keys a descriptor may be registered under: of its component, its tags and its functions' interfaces, each once. At
/// most 33.
pub fn keys_of(descriptor: &Descriptor) -> Vec<Key> {
    let interfaces = descriptor.functions.iter().filter_map(|f| f.name.interface()).map(Key::interface);
    let tags = descriptor.tags.iter().map(|tag| Key::tag(tag));
    let keys: BTreeSet<Key> = interfaces.chain(tags).chain([Key::component(&descriptor.component)]).collect();
    keys.into_iter().collect()
}

/// Where a peer is among the keys: the sha2-256 digest of its public key. Nobody chooses it, but whoever makes many keys
/// can choose among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place([u8; 32]);

impl Place {
    /// The place of a peer.
    pub fn of(peer: &Did) -> Self {
        Self(sha256(peer.as_bytes()))
    }

    /// The place's bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_values_are_kept_apart() {
        let component = ComponentId::of(b"csv");
        let keys = [
            Key::interface("csv"),
            Key::tag("csv"),
            Key::component(&component),
            Key::registries(),
            Key::of("ta", b"gcsv"),
        ];
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
        assert_eq!(Key::interface("a:b/c@1.0.0"), Key::interface("a:b/c"));
        assert_eq!(Key::tag("CSV"), Key::tag("csv"));
    }

    #[test]
    fn bucket_0_is_the_farthest_and_15_takes_the_rest() {
        let key = Key([0; 32]);
        let at = |n: usize| {
            let mut place = [0; 32];
            if let Some(byte) = place.get_mut(n / 8) {
                *byte = 0x80 >> (n % 8);
            }
            key.bucket(&Place(place))
        };
        assert_eq!([0, 1, 7, 8, 14, 15, 16, 200].map(at), [0, 1, 7, 8, 14, 15, 15, 15]);
        assert_eq!(key.bucket(&Place([0; 32])), 15);
    }
}
