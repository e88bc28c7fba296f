//! Notices: revocations and rotations, verified, kept, and passed on to every peer that is connected.

use super::{Ended, Gate, lock};
use actum_model::{Did, Rotation, Signed, ucan::Revocation};
use actum_overlay::{MAX_NOTICE_BYTES, MAX_NOTICES, Notice, Place};
use actum_store::{
    StoreError,
    ledger::{NewRevocation, RotationKept, Standing},
};
use serde_bytes::ByteBuf;
use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLockReadGuard},
    time::Duration,
};

/// The most notices taken from one peer in [`HEARD_FOR`].
const MAX_HEARD: u32 = 1_024;
/// How long a peer's notices are counted together.
const HEARD_FOR: Duration = Duration::from_secs(60);
/// The most peers whose notices are counted apart; the oldest are forgotten.
const MAX_PEERS: usize = 1_024;
/// What the frame of a message of notices takes of its bytes, and each notice in it.
const FRAME_BYTES: usize = 256;

/// How many notices each peer sent lately.
#[derive(Default)]
pub(super) struct Heard(BTreeMap<Did, (Duration, u32)>);

impl Heard {
    /// Counts notices; says how many of them are taken.
    fn take(&mut self, peer: &Did, notices: usize, at: Duration) -> usize {
        self.0.retain(|_, (since, _)| at.saturating_sub(*since) < HEARD_FOR);
        if self.0.len() >= MAX_PEERS && !self.0.contains_key(peer) {
            let oldest = self.0.iter().min_by_key(|(_, (since, _))| *since).map(|(did, _)| *did);
            oldest.map(|did| self.0.remove(&did));
        }
        let (_, count) = self.0.entry(*peer).or_insert((at, 0));
        let taken = u32::try_from(notices).unwrap_or(u32::MAX).min(MAX_HEARD.saturating_sub(*count));
        *count = count.saturating_add(taken);
        taken as usize
    }
}

impl Gate {
    pub(super) fn ended(&self) -> RwLockReadGuard<'_, Ended> {
        self.ended.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of what the ledger has that was not read yet.
    pub(super) fn catch_up(&self) -> Result<(), StoreError> {
        let mut read = lock(&self.read);
        let revoked = self.ledger.revoked_after(read.revocations)?;
        let mut rotations = Vec::new();
        loop {
            let page = self.ledger.rotations_after(read.rotations, MAX_NOTICES)?;
            let Some((cursor, _)) = page.last() else { break };
            read.rotations = *cursor;
            rotations.extend(page);
        }
        let mut ended = self.ended.write().unwrap_or_else(PoisonError::into_inner);
        for (cursor, delegation, by) in revoked {
            read.revocations = cursor;
            ended.revoke(delegation, by);
        }
        for (_, bytes) in rotations {
            match Signed::<Rotation>::verify(&bytes) {
                Ok(rotation) => ended.rotate(rotation.payload()),
                Err(error) => tracing::error!(%error, "a stored rotation does not verify"),
            }
        }
        Ok(())
    }

    /// Takes note of what another process, such as `actum grant revoke`, has written. Says whether there was any.
    pub(crate) fn refresh(&self) -> bool {
        let changed = self.ledger.changed().and_then(|changed| {
            if changed {
                self.catch_up()?;
            }
            Ok(changed)
        });
        changed.unwrap_or_else(|error| {
            tracing::error!(%error, "the ledger cannot be read");
            false
        })
    }

    /// Keeps the ledger small and quick: forgets what has expired, and moves its log into its database.
    pub(crate) fn tidy(&self, now: u64) {
        let tidied = self.ledger.prune(now).and_then(|_| self.ledger.checkpoint());
        if let Err(error) = tidied {
            tracing::warn!(%error, "the ledger could not be tidied");
        }
    }

    /// Verifies and keeps notices; says how many are news, and why each refused one was refused. `from` is the peer that sent
    /// them unasked; of those that were asked for, none are too many.
    pub(crate) fn hear(&self, from: Option<&Did>, notices: Vec<Notice>, now: u64) -> (u32, Vec<String>) {
        let unasked = from.map(|peer| lock(&self.heard).take(peer, notices.len(), self.began.elapsed()));
        let taken = unasked.unwrap_or(notices.len());
        let (mut news, mut refused) = (0_u32, Vec::new());
        for (n, notice) in notices.into_iter().enumerate() {
            let kept = match n < taken {
                true => keep(self, &notice, now),
                false => Err(format!("more than {MAX_HEARD} notices in {} s", HEARD_FOR.as_secs())),
            };
            match kept {
                Ok(true) => news = news.saturating_add(1),
                Ok(false) => {}
                Err(why) => refused.push(why),
            }
        }
        if news > 0
            && let Err(error) = self.catch_up()
        {
            tracing::error!(%error, "the ledger cannot be read");
        }
        (news, refused)
    }

    /// The notices kept after a place, as many as one message holds, and the place after them.
    pub(crate) fn tell(&self, after: Place) -> Result<(Vec<Notice>, Place), StoreError> {
        let cursor = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let number = |n: i64| u64::try_from(n).unwrap_or(0);
        let (mut notices, mut next, mut bytes) = (Vec::new(), after, 0);
        let mut fits = |notice: &Notice| {
            bytes += notice.weight() + FRAME_BYTES;
            bytes <= MAX_NOTICE_BYTES - FRAME_BYTES
        };
        for (cursor, rotation) in self.ledger.rotations_after(cursor(after.rotations), MAX_NOTICES)? {
            let notice = Notice::Rotation { rotation };
            if !fits(&notice) {
                return Ok((notices, next));
            }
            next.rotations = number(cursor);
            notices.push(notice);
        }
        let room = MAX_NOTICES.saturating_sub(notices.len());
        for stored in self.ledger.revocations_after(cursor(after.revocations), room)? {
            let witness = stored.witness.into_iter().map(ByteBuf::from).collect();
            let notice = Notice::Revocation { revocation: stored.bytes, witness };
            if !fits(&notice) {
                break;
            }
            next.revocations = number(stored.cursor);
            notices.push(notice);
        }
        Ok((notices, next))
    }
}

/// Verifies a notice and keeps it; says whether it is news.
fn keep(gate: &Gate, notice: &Notice, now: u64) -> Result<bool, String> {
    match notice {
        Notice::Revocation { revocation, witness } => {
            let is = |issuer: &Did, revoker: &Did| gate.ended().means(issuer, revoker);
            let read = Revocation::read_where(revocation, witness, is);
            let read = read.map_err(|e| format!("a revocation: {e}"))?;
            let ours = read.subject.is_some_and(|s| gate.own.contains(&s) || gate.lists(&gate.owners, &s))
                || gate.home.store().delegation(&read.revoked).is_ok_and(|held| held.is_some());
            let witness: Vec<_> = witness.iter().map(|d| d.to_vec()).collect();
            let new = NewRevocation {
                revoked: &read.revoked,
                revoker: &read.revoker,
                until: read.until.map(|until| until.saturating_add(gate.skew)),
                bytes: revocation,
                witness: &witness,
            };
            let standing = if ours { Standing::Ours } else { Standing::Theirs };
            gate.ledger.put_revocation(&new, standing, now).map_err(|e| e.to_string())
        }
        Notice::Rotation { rotation } => {
            let read = Signed::<Rotation>::verify(rotation).map_err(|e| format!("a rotation: {e}"))?;
            let old = read.payload().iss;
            let ours = gate.own.contains(&old)
                || gate.owners.contains(&old)
                || gate.home.store().delegations_by(&old, 1).is_ok_and(|held| !held.is_empty());
            let standing = if ours { Standing::Ours } else { Standing::Theirs };
            let kept = gate.ledger.put_rotation(&old, rotation, standing, now).map_err(|e| e.to_string())?;
            match kept {
                RotationKept::News => Ok(true),
                RotationKept::Known => Ok(false),
                RotationKept::Other => {
                    Err(format!("{old} has another successor here, which was heard of first"))
                }
            }
        }
    }
}
