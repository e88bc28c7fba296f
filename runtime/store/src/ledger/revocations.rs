//! Revocations, with the delegations that bear them out.

use super::{Ledger, Standing, corrupt, count, seconds, take_room};
use crate::{StoreError, db::column};
use actum_model::{Delegation, DelegationId, Did, Invocation, Statement, ucan::MAX_CHAIN};
use rusqlite::{Connection, OptionalExtension, params};

/// The most revocations kept of each [`Standing`]: 32,768, so 98,304 in all.
pub const MAX_REVOCATIONS: usize = 32_768;
/// The most revocations kept of one revoker who is not [`Standing::Ours`]: 4,096 of each standing.
pub const MAX_REVOCATIONS_PER_REVOKER: usize = 4_096;
/// The most bytes of revocations and their witness kept of each [`Standing`]: 256 MiB.
pub const MAX_REVOCATIONS_BYTES: usize = 256 << 20;
/// How long a revocation is kept after its delegation has ended, in seconds: 7 days. A clock that was ahead for a while
/// and is set back within that time brings no revoked delegation to life.
pub const REVOCATION_GRACE_SECONDS: u64 = 7 * 86_400;

/// A revocation to be kept. The caller has verified it.
#[derive(Clone, Copy, Debug)]
pub struct NewRevocation<'a> {
    /// The delegation revoked.
    pub revoked: &'a DelegationId,
    /// Who revoked it.
    pub revoker: &'a Did,
    /// When the delegation ends, with the clock skew allowed, in seconds since the Unix epoch; `None`: never.
    pub until: Option<u64>,
    /// The signed revocation, at most [`Invocation::MAX_BYTES`](Statement::MAX_BYTES).
    pub bytes: &'a [u8],
    /// The signed delegations it names, at most [`MAX_CHAIN`] of at most
    /// [`Delegation::MAX_BYTES`](Statement::MAX_BYTES).
    pub witness: &'a [Vec<u8>],
}

/// A revocation as it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRevocation {
    /// Its place: the cursor of what comes after it.
    pub cursor: i64,
    /// The signed revocation.
    pub bytes: Vec<u8>,
    /// The signed delegations it names, in their order.
    pub witness: Vec<Vec<u8>>,
}

impl Ledger {
    /// Keeps a revocation; on the disk when this returns. Whether it is news: the first of this delegation by this
    /// revoker. One of a delegation that ended longer than [`REVOCATION_GRACE_SECONDS`] before `now` (seconds since the
    /// Unix epoch) is not kept and no news.
    ///
    /// [`StoreError::Full`] when its standing, or its revoker as a stranger, has no more room; nothing is ever put out
    /// to make room. [`StoreError::TooLarge`] for parts over their bound.
    pub fn put_revocation(
        &self,
        new: &NewRevocation<'_>,
        standing: Standing,
        now: u64,
    ) -> Result<bool, StoreError> {
        let size = size_of(new)?;
        let (revoked, revoker) = (new.revoked.to_string(), new.revoker.to_string());
        if new.until.is_some_and(|until| until.saturating_add(REVOCATION_GRACE_SECONDS) < now) {
            return Ok(false);
        }
        let room = room(standing);
        self.write_durably(|tx| {
            let n: Option<i64> = tx
                .prepare_cached(
                    "INSERT INTO revocations (revoked, revoker, until, standing, size, bytes)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING RETURNING n",
                )?
                .query_row(
                    params![revoked, revoker, seconds(new.until), standing.text(), size, new.bytes],
                    |row| row.get(0),
                )
                .optional()?;
            let Some(n) = n else { return Ok(Ok(false)) };
            let (mut used, mut bytes) = take_room(tx, room, 1, size)?;
            if used > count(MAX_REVOCATIONS) || bytes > count(MAX_REVOCATIONS_BYTES) {
                while prune(tx, now, super::PRUNED_AT_ONCE)? > 0 {}
                (used, bytes) = take_room(tx, room, 0, 0)?;
            }
            if used > count(MAX_REVOCATIONS) {
                return Ok(Err(StoreError::Full { what: "revocations", limit: MAX_REVOCATIONS }));
            }
            if bytes > count(MAX_REVOCATIONS_BYTES) {
                let what = "bytes of revocations";
                return Ok(Err(StoreError::Full { what, limit: MAX_REVOCATIONS_BYTES }));
            }
            if standing != Standing::Ours
                && by_other(tx, &revoker, standing)? > count(MAX_REVOCATIONS_PER_REVOKER)
            {
                let what = "revocations by one other";
                return Ok(Err(StoreError::Full { what, limit: MAX_REVOCATIONS_PER_REVOKER }));
            }
            let mut witness =
                tx.prepare_cached("INSERT INTO witness (revocation, place, bytes) VALUES (?1, ?2, ?3)")?;
            for (place, bytes) in new.witness.iter().enumerate() {
                witness.execute(params![n, count(place), bytes])?;
            }
            Ok(Ok(true))
        })?
    }

    /// Which of these delegations are revoked, and by whom.
    pub fn revocations_of(&self, ids: &[DelegationId]) -> Result<Vec<(DelegationId, Did)>, StoreError> {
        let mut found = Vec::new();
        for id in ids {
            let text = id.to_string();
            let revokers: Vec<String> = self.read(|db| {
                db.prepare_cached("SELECT revoker FROM revocations WHERE revoked = ?1 ORDER BY n")?
                    .query_map([&text], |row| row.get(0))?
                    .collect()
            })?;
            for revoker in revokers {
                found.push((*id, revoker.parse().map_err(|e| corrupt("revoker of", &text, e))?));
            }
        }
        Ok(found)
    }

    /// Every revocation kept after a cursor, in the order they were kept: its own cursor, the delegation, and who revoked
    /// it. All of them from 0 on; later, those that came since. At most twice [`MAX_REVOCATIONS`], some 10 MiB.
    pub fn revoked_after(&self, cursor: i64) -> Result<Vec<(i64, DelegationId, Did)>, StoreError> {
        let rows: Vec<(i64, String, String)> = self.read(|db| {
            db.prepare_cached("SELECT n, revoked, revoker FROM revocations WHERE n > ?1 ORDER BY n")?
                .query_map([cursor], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect()
        })?;
        rows.into_iter()
            .map(|(n, revoked, revoker)| {
                let id = revoked.parse().map_err(|e| corrupt("revocation of", &revoked, e))?;
                Ok((n, id, revoker.parse().map_err(|e| corrupt("revoker of", &revoked, e))?))
            })
            .collect()
    }

    /// At most `limit` revocations kept after a cursor, whole, to be passed on; the first page is that after 0. None
    /// comes twice, and none that is kept while the pages are read is missed.
    pub fn revocations_after(&self, cursor: i64, limit: usize) -> Result<Vec<StoredRevocation>, StoreError> {
        self.read(|db| {
            let tx = db.unchecked_transaction()?; // one snapshot; it changes nothing, so it need not commit
            let rows: Vec<(i64, Vec<u8>)> = tx
                .prepare_cached("SELECT n, bytes FROM revocations WHERE n > ?1 ORDER BY n LIMIT ?2")?
                .query_map(params![cursor, count(limit)], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<_>>()?;
            let mut witness =
                tx.prepare_cached("SELECT bytes FROM witness WHERE revocation = ?1 ORDER BY place")?;
            rows.into_iter()
                .map(|(cursor, bytes)| {
                    let witness = witness.query_map([cursor], |row| row.get(0))?.collect::<Result<_, _>>()?;
                    Ok(StoredRevocation { cursor, bytes, witness })
                })
                .collect()
        })
    }
}

fn room(standing: Standing) -> &'static str {
    match standing {
        Standing::Ours => "revocations ours",
        Standing::Near => "revocations near",
        Standing::Theirs => "revocations theirs",
    }
}

fn size_of(new: &NewRevocation<'_>) -> Result<i64, StoreError> {
    super::admission::check("revocation", new.bytes.len(), Invocation::MAX_BYTES)?;
    super::admission::check("list of delegations", new.witness.len(), MAX_CHAIN)?;
    let mut size = new.bytes.len();
    for bytes in new.witness {
        super::admission::check("delegation", bytes.len(), Delegation::MAX_BYTES)?;
        size = size.saturating_add(bytes.len());
    }
    Ok(count(size))
}

fn by_other(tx: &Connection, revoker: &str, standing: Standing) -> rusqlite::Result<i64> {
    tx.prepare_cached("SELECT count(*) FROM revocations WHERE revoker = ?1 AND standing = ?2")?
        .query_row([revoker, standing.text()], |row| row.get(0))
}

/// Forgets revocations of delegations that have long ended.
pub(super) fn prune(tx: &Connection, now: u64, limit: usize) -> rusqlite::Result<usize> {
    let before = column(now.saturating_sub(REVOCATION_GRACE_SECONDS));
    let ended: Vec<(i64, String, i64)> = tx
        .prepare_cached(
            "SELECT n, standing, size FROM revocations WHERE until IS NOT NULL AND until < ?1 ORDER BY until LIMIT ?2",
        )?
        .query_map(params![before, count(limit)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (n, standing, size) in &ended {
        tx.prepare_cached("DELETE FROM witness WHERE revocation = ?1")?.execute([n])?;
        tx.prepare_cached("DELETE FROM revocations WHERE n = ?1")?.execute([n])?;
        let all = [Standing::Ours, Standing::Near, Standing::Theirs];
        let standing = all.into_iter().find(|s| s.text() == standing).unwrap_or(Standing::Theirs);
        take_room(tx, room(standing), -1, size.saturating_neg())?;
    }
    Ok(ended.len())
}
