//! Rotations of keys: the first one seen of each.

use super::{Ledger, Standing, count, take_room};
use crate::{StoreError, db::column};
use actum_model::{Did, Rotation, Statement};
use rusqlite::{OptionalExtension, params};

/// The most rotations kept of each [`Standing`]: 16,384.
pub const MAX_ROTATIONS: usize = 16_384;
/// The most bytes of rotations kept of each [`Standing`]: 64 MiB.
pub const MAX_ROTATIONS_BYTES: usize = 64 << 20;

/// What became of a rotation that was to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotationKept {
    /// It is the first of its key, and counts.
    News,
    /// It is the one that was kept before.
    Known,
    /// Another rotation of that key was kept before and counts; this one was not kept.
    Other,
}

impl Ledger {
    /// Keeps the rotation of a key, unless one is kept already; on the disk when this returns. It is kept for ever.
    /// `now` is when it was seen, in seconds since the Unix epoch. The caller has verified it.
    ///
    /// [`StoreError::Full`] when its standing has no more room, [`StoreError::TooLarge`] when it is over its bound.
    pub fn put_rotation(
        &self,
        old: &Did,
        bytes: &[u8],
        standing: Standing,
        now: u64,
    ) -> Result<RotationKept, StoreError> {
        super::admission::check("rotation", bytes.len(), Rotation::MAX_BYTES)?;
        let old = old.to_string();
        let room = match standing {
            Standing::Ours => "rotations ours",
            Standing::Near => "rotations near",
            Standing::Theirs => "rotations theirs",
        };
        self.write_durably(|tx| {
            let first: Option<Vec<u8>> = tx
                .prepare_cached("SELECT bytes FROM rotations WHERE old = ?1")?
                .query_row([&old], |row| row.get(0))
                .optional()?;
            if let Some(first) = first {
                return Ok(Ok(if first == bytes { RotationKept::Known } else { RotationKept::Other }));
            }
            let (used, all) = take_room(tx, room, 1, count(bytes.len()))?;
            if used > count(MAX_ROTATIONS) {
                return Ok(Err(StoreError::Full { what: "rotations", limit: MAX_ROTATIONS }));
            }
            if all > count(MAX_ROTATIONS_BYTES) {
                let what = "bytes of rotations";
                return Ok(Err(StoreError::Full { what, limit: MAX_ROTATIONS_BYTES }));
            }
            tx.prepare_cached("INSERT INTO rotations (old, seen, bytes) VALUES (?1, ?2, ?3)")?
                .execute(params![old, column(now), bytes])?;
            Ok(Ok(RotationKept::News))
        })?
    }

    /// The signed rotation of a key that counts.
    pub fn rotation(&self, old: &Did) -> Result<Option<Vec<u8>>, StoreError> {
        let old = old.to_string();
        self.read(|db| {
            db.prepare_cached("SELECT bytes FROM rotations WHERE old = ?1")?
                .query_row([&old], |row| row.get(0))
                .optional()
        })
    }

    /// At most `limit` signed rotations kept after a cursor, each with its own, in the order they were kept; the first
    /// page is that after 0. As [`Ledger::revocations_after`].
    pub fn rotations_after(&self, cursor: i64, limit: usize) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
        self.read(|db| {
            db.prepare_cached("SELECT n, bytes FROM rotations WHERE n > ?1 ORDER BY n LIMIT ?2")?
                .query_map(params![cursor, count(limit)], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
    }
}
