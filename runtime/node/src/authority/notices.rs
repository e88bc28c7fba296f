//! Notices: revocations and rotations, verified, kept, and passed on to every peer that is connected.

use super::{Ended, Gate, lock, refuse};
use actum_model::{DelegationId, Did, Invocation, Rotation, Signed, ucan::Revocation};
use actum_overlay::{MAX_NOTICE_BYTES, MAX_NOTICES, Notice, Place, Refusal, RefusalCode};
use actum_store::{
    StoreError,
    ledger::{NewRevocation, RotationKept, Standing},
};
use serde_bytes::ByteBuf;
use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLockReadGuard, atomic::Ordering},
    time::Duration,
};

/// The most notices taken from one peer in [`HEARD_FOR`].
const MAX_HEARD: u32 = 1_024;
/// How long a peer's notices are counted together.
const HEARD_FOR: Duration = Duration::from_secs(60);
/// The most notices taken unasked from all peers together in [`HEARD_FOR`]: keys are cheap.
const MAX_HEARD_IN_ALL: u32 = 8_192;
/// What a request for notices counts as, of those that a peer may send.
pub(crate) const ASKING: usize = 16;
/// The most peers whose notices are counted apart; the oldest are forgotten.
const MAX_PEERS: usize = 1_024;
/// What the frame of a message of notices takes of its bytes, and each notice in it.
const FRAME_BYTES: usize = 256;

/// How many notices each peer sent lately, and all together.
#[derive(Default)]
pub(super) struct Heard {
    peers: BTreeMap<Did, (Duration, u32)>,
    all: (Duration, u32),
}

impl Heard {
    /// Counts notices, if so many are taken.
    fn take(&mut self, peer: &Did, notices: usize, at: Duration) -> bool {
        let old = |since: Duration| at.saturating_sub(since) >= HEARD_FOR;
        self.peers.retain(|_, (since, _)| !old(*since));
        if old(self.all.0) {
            self.all = (at, 0);
        }
        if self.peers.len() >= MAX_PEERS && !self.peers.contains_key(peer) {
            let oldest = self.peers.iter().min_by_key(|(_, (since, _))| *since).map(|(did, _)| *did);
            oldest.map(|did| self.peers.remove(&did));
        }
        let (_, count) = self.peers.entry(*peer).or_insert((at, 0));
        let more = u32::try_from(notices).unwrap_or(u32::MAX);
        let (mine, all) = (count.saturating_add(more), self.all.1.saturating_add(more));
        if mine > MAX_HEARD || all > MAX_HEARD_IN_ALL {
            return false;
        }
        (*count, self.all.1) = (mine, all);
        true
    }
}

impl Gate {
    pub(super) fn ended(&self) -> RwLockReadGuard<'_, Ended> {
        self.ended.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of what the ledger has that was not read yet.
    pub(super) fn catch_up(&self) -> Result<(), StoreError> {
        let mut read = lock(&self.read);
        let mut ended = self.ended().clone();
        let caught_up = ended.catch_up(&self.ledger, &mut read);
        *self.ended.write().unwrap_or_else(PoisonError::into_inner) = ended;
        caught_up
    }

    /// Takes note of what another process, such as `actum grant revoke`, has written. Costs some microseconds.
    pub(crate) fn refresh(&self) {
        match self.ledger.changed() {
            Ok(changed) => drop(self.unread.fetch_or(changed, Ordering::AcqRel)),
            Err(error) => tracing::error!(%error, "the ledger cannot be read"),
        }
        if self.unread.swap(false, Ordering::AcqRel) {
            self.read_on();
        }
    }

    /// Takes note of what the ledger has now, or the next time where that fails.
    fn read_on(&self) {
        if let Err(error) = self.catch_up() {
            self.unread.store(true, Ordering::Release);
            tracing::error!(%error, "the ledger cannot be read");
        }
    }

    /// Keeps the ledger small and quick: forgets what has expired, and moves its log into its database.
    pub(crate) fn tidy(&self, now: u64) {
        let tidied = self.ledger.prune(now).and_then(|_| self.ledger.checkpoint());
        if let Err(error) = tidied {
            tracing::warn!(%error, "the ledger could not be tidied");
        }
    }

    /// Counts what a peer sends or asks for unasked; refuses what is too much, all of it.
    pub(crate) fn meter(&self, peer: &Did, notices: usize) -> Result<(), Refusal> {
        if lock(&self.heard).take(peer, notices, self.began.elapsed()) {
            return Ok(());
        }
        let why = format!(
            "at most {MAX_HEARD} notices of a peer, and {MAX_HEARD_IN_ALL} of all, in {} s",
            HEARD_FOR.as_secs()
        );
        let again = u64::try_from(HEARD_FOR.as_millis()).unwrap_or(u64::MAX);
        Err(refuse(RefusalCode::Busy, why).retry_after_ms(again))
    }

    /// Verifies and keeps notices; says how many are news, and why each refused one was refused.
    pub(crate) fn hear(&self, notices: Vec<Notice>, now: u64) -> (u32, Vec<String>) {
        let (mut news, mut refused) = (0_u32, Vec::new());
        for notice in notices {
            match keep(self, &notice, now) {
                Ok(true) => news = news.saturating_add(1),
                Ok(false) => {}
                Err(why) => refused.push(why),
            }
        }
        if news > 0 {
            self.read_on();
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
        Notice::Revocation { revocation, witness } => keep_revocation(gate, revocation, witness, now),
        Notice::Rotation { rotation } => {
            let read = Signed::<Rotation>::verify(rotation).map_err(|e| format!("a rotation: {e}"))?;
            let old = read.payload().iss;
            if gate.own.contains(&old) {
                // Who this home is, it knows itself: a stolen key says nothing about that here.
                return Err(format!("{old} is this node's own key"));
            }
            let listed = gate.owners.iter().chain(&gate.deny).any(|one| gate.ended().means(one, &old));
            let standing = if listed { Standing::Ours } else { Standing::Theirs };
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

fn keep_revocation(gate: &Gate, bytes: &[u8], witness: &[ByteBuf], now: u64) -> Result<bool, String> {
    let is = |issuer: &Did, revoker: &Did| gate.ended().means(issuer, revoker);
    // One signature tells whether it is known; the others are looked at where it is not.
    let signed = Signed::<Invocation>::verify(bytes).map_err(|e| format!("a revocation: {e}"))?;
    if let Some(last) = witness.last()
        && gate.ended().knows(&DelegationId::of(last), &signed.payload().iss)
    {
        return Ok(false);
    }
    let read = Revocation::read_where(&signed, witness, is);
    let (read, path) = read.map_err(|e| format!("a revocation: {e}"))?;
    let revoker = read.revoker;
    if let Some(successor) = gate.ended().successor(&revoker) {
        return Err(format!("{revoker} was rotated; {successor} may revoke what it issued"));
    }
    let root_is = |listed: &[Did]| read.subject.is_some_and(|subject| gate.lists(listed, &subject));
    let standing = if gate.lists(&gate.own, &revoker) || gate.lists(&gate.owners, &revoker) {
        Standing::Ours
    } else if root_is(&gate.own) || root_is(&gate.owners) {
        Standing::Near
    } else {
        Standing::Theirs
    };
    // What its path rests on ends it too: there is nothing to revoke afterwards.
    let until = path.iter().filter_map(|proof| proof.exp).min();
    let until = until.map(|until| until.saturating_add(gate.skew));
    let ids: Vec<_> = path.iter().map(|proof| *proof.id()).collect();
    let above = ids.split_last().map(|(_, above)| above).unwrap_or_default();
    let issuers: Vec<_> = path.iter().map(|proof| proof.iss).collect();
    let ended = above
        .iter()
        .zip(1..)
        .find_map(|(id, n)| gate.ended().revoked_by(id, issuers.get(..n).unwrap_or_default()));
    if until.is_some_and(|until| until < now) || ended.is_some() {
        return Err("a revocation of what has ended already".to_owned());
    }
    let witness: Vec<_> = witness.iter().map(|d| d.to_vec()).collect();
    let new = NewRevocation { revoked: &read.revoked, revoker: &revoker, until, bytes, witness: &witness };
    gate.ledger.put_revocation(&new, standing, now).map_err(|e| e.to_string())
}
