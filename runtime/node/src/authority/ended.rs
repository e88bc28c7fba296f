//! Which authority has ended before its time, as far as this home has heard: a pure table, filled from the ledger.

use crate::Home;
use actum_model::{Delegation, DelegationId, Did, Rotation, Signed};
use actum_store::{Ledger, StoreError};
use std::collections::{BTreeMap, BTreeSet};

/// The longest line of former keys followed. A longer one is nobody's.
const MAX_LINE: usize = 16;
/// How many rotations are read at a time.
const PAGE: usize = 64;

/// How far a ledger was read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cursors {
    revocations: i64,
    rotations: i64,
}

/// Revoked delegations and keys with successors.
#[derive(Clone, Debug, Default)]
pub struct Ended {
    revoked: BTreeMap<DelegationId, BTreeSet<Did>>,
    rotated: BTreeMap<Did, Successor>,
}

#[derive(Clone, Debug)]
struct Successor {
    to: Did,
    keep: BTreeSet<DelegationId>,
}

impl Ended {
    /// What a home says of its own keys: whoever says otherwise elsewhere says it too late.
    pub(crate) fn of(home: &Home) -> Self {
        let mut ended = Self::default();
        home.former().iter().for_each(|former| ended.rotate(former.rotation.payload()));
        ended
    }

    /// All that a home knows.
    pub fn read(home: &Home) -> Result<Self, StoreError> {
        let mut ended = Self::of(home);
        ended.catch_up(home.ledger()?, &mut Cursors::default())?;
        Ok(ended)
    }

    /// Takes note of what a ledger has that was not read yet. What fails is read the next time.
    pub(super) fn catch_up(&mut self, ledger: &Ledger, read: &mut Cursors) -> Result<(), StoreError> {
        for (cursor, delegation, by) in ledger.revoked_after(read.revocations)? {
            self.revoke(delegation, by);
            read.revocations = cursor;
        }
        loop {
            let page = ledger.rotations_after(read.rotations, PAGE)?;
            if page.is_empty() {
                return Ok(());
            }
            for (cursor, bytes) in page {
                match Signed::<Rotation>::verify(&bytes) {
                    Ok(rotation) => self.rotate(rotation.payload()),
                    Err(error) => tracing::error!(%error, "a stored rotation does not verify"),
                }
                read.rotations = cursor;
            }
        }
    }

    /// Takes note of a revocation that was verified.
    pub fn revoke(&mut self, delegation: DelegationId, by: Did) {
        self.revoked.entry(delegation).or_default().insert(by);
    }

    /// Takes note of a rotation that was verified. The first of a key counts.
    pub fn rotate(&mut self, rotation: &Rotation) {
        let successor = Successor { to: rotation.to, keep: rotation.keep.clone() };
        self.rotated.entry(rotation.iss).or_insert(successor);
    }

    /// Whether this revocation is known.
    pub(super) fn knows(&self, delegation: &DelegationId, by: &Did) -> bool {
        self.revoked.get(delegation).is_some_and(|all| all.contains(by))
    }

    /// Who revoked a delegation, where one of those who may is who did: its issuer, the issuers above it in its chain, and
    /// who they have become.
    pub fn revoked_by(&self, delegation: &DelegationId, may: &[Did]) -> Option<Did> {
        let by = self.revoked.get(delegation)?;
        may.iter().find_map(|issuer| by.iter().find(|revoker| self.means(issuer, revoker))).copied()
    }

    /// Who an old key has become, one after the other.
    fn line(&self, did: &Did) -> impl Iterator<Item = Did> {
        let next = |did: &Did| self.rotated.get(did).map(|successor| successor.to);
        std::iter::successors(next(did), move |did| next(did)).take(MAX_LINE)
    }

    /// Who an old key has become, at the end of its line.
    pub fn successor(&self, did: &Did) -> Option<Did> {
        self.line(did).last()
    }

    /// Who a delegation's issuer has become without keeping it.
    pub fn dropped(&self, id: &DelegationId, delegation: &Delegation) -> Option<Did> {
        let successor = self.rotated.get(&delegation.iss)?;
        (!successor.keep.contains(id)).then_some(successor.to)
    }

    /// Whether `listed` is this key, or one that has become it.
    pub fn means(&self, listed: &Did, key: &Did) -> bool {
        listed == key || self.line(listed).any(|did| did == *key)
    }

    /// Whether two keys are, or have become, the same: whoever is denied by one of their keys is denied by all.
    pub fn same(&self, one: &Did, other: &Did) -> bool {
        let now = |did: &Did| self.successor(did).unwrap_or(*did);
        now(one) == now(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actum_model::SecretKey;

    fn key(n: u8) -> SecretKey {
        SecretKey::from_seed(&[n; 32])
    }

    fn rotation(from: u8, to: u8, keep: &[DelegationId]) -> Rotation {
        Rotation::new(&key(from), &key(to), 1, keep.iter().copied().collect())
    }

    #[test]
    fn only_those_above_revoke() {
        let (id, other) = (DelegationId::of(b"one"), DelegationId::of(b"other"));
        let mut ended = Ended::default();
        ended.revoke(id, key(2).did());
        assert_eq!(ended.revoked_by(&id, &[key(1).did(), key(2).did()]), Some(key(2).did()));
        assert_eq!(ended.revoked_by(&id, &[key(1).did(), key(3).did()]), None);
        assert_eq!(ended.revoked_by(&other, &[key(2).did()]), None);
    }

    #[test]
    fn a_line_of_keys_is_followed_and_a_ring_ends() {
        let mut ended = Ended::default();
        ended.rotate(&rotation(1, 2, &[]));
        ended.rotate(&rotation(2, 3, &[]));
        assert!(ended.means(&key(1).did(), &key(3).did()) && ended.means(&key(2).did(), &key(3).did()));
        assert!(ended.means(&key(1).did(), &key(2).did()));
        assert!(!ended.means(&key(3).did(), &key(1).did()) && !ended.means(&key(2).did(), &key(1).did()));
        assert!(ended.same(&key(3).did(), &key(1).did()) && ended.same(&key(1).did(), &key(2).did()));
        assert!(!ended.same(&key(1).did(), &key(4).did()));
        // Who has become the issuer may revoke what the issuer might.
        let id = DelegationId::of(b"one");
        ended.revoke(id, key(3).did());
        assert_eq!(ended.revoked_by(&id, &[key(1).did()]), Some(key(3).did()));
        assert_eq!(ended.revoked_by(&id, &[key(4).did()]), None);
        // A second rotation of a key does not count.
        ended.rotate(&rotation(1, 9, &[]));
        assert_eq!(ended.successor(&key(1).did()), Some(key(3).did()));
        ended.rotate(&rotation(3, 1, &[]));
        assert!(ended.successor(&key(1).did()).is_some());
    }
}
