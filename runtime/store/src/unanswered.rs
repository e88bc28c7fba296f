//! Calls that were sent and not answered yet, for as long as their answer may be had: so that whoever was killed while it
//! waited can ask again.

use crate::{
    Store, StoreError,
    db::{column, envelope},
};
use actum_model::{Invocation, InvocationId, ReleaseId, Signed};
use rusqlite::{OptionalExtension, Row, params};

/// The most unanswered calls remembered: 1,000. When full, the oldest make room.
pub const MAX_UNANSWERED: usize = 1_000;
/// For how long an unanswered call is remembered, in seconds: a week.
pub const UNANSWERED_KEPT_SECONDS: u64 = 7 * 86_400;

/// A call whose answer has not come. Its arguments are kept as a blob, its proofs as delegations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// What was asked, as it was signed and sent; it names the provider.
    pub invocation: Signed<Invocation>,
    /// The release called.
    pub release: ReleaseId,
    /// Where the provider was to be reached.
    pub addrs: Vec<String>,
    /// When it was sent, in seconds since the Unix epoch.
    pub at: u64,
}

type Columns = (String, String, String, i64, Vec<u8>);

fn columns(row: &Row<'_>) -> rusqlite::Result<Columns> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
}

fn read((id, release, addrs, at, bytes): Columns) -> Result<Unanswered, StoreError> {
    let corrupt = |why: String| StoreError::Corrupt { what: "unanswered call", id: id.clone(), why };
    Ok(Unanswered {
        invocation: envelope("invocation", &id, &bytes)?,
        release: release.parse().map_err(|e: actum_model::id::IdError| corrupt(e.to_string()))?,
        addrs: addrs.lines().map(str::to_owned).collect(),
        at: u64::try_from(at).map_err(|e| corrupt(e.to_string()))?,
    })
}

impl Store {
    /// Remembers a call that was sent. Survives a killed process.
    pub fn put_unanswered(&self, call: &Unanswered) -> Result<(), StoreError> {
        let addrs = call.addrs.join("\n");
        self.write_soft(|tx| {
            tx.prepare_cached(
                "INSERT OR IGNORE INTO unanswered (id, release, addrs, at, bytes) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                call.invocation.id().to_string(),
                call.release.to_string(),
                addrs,
                column(call.at),
                call.invocation.bytes()
            ])?;
            tx.prepare_cached("DELETE FROM unanswered WHERE at < ?1")?
                .execute([column(call.at.saturating_sub(UNANSWERED_KEPT_SECONDS))])?;
            tx.prepare_cached(
                "DELETE FROM unanswered WHERE n <= (SELECT n FROM unanswered ORDER BY n DESC LIMIT 1 OFFSET ?1)",
            )?
            .execute([MAX_UNANSWERED as i64])?;
            Ok(())
        })
    }

    /// Forgets a call: it was answered, or never will be.
    pub fn remove_unanswered(&self, id: &InvocationId) -> Result<(), StoreError> {
        let id = id.to_string();
        self.write_soft(|tx| {
            tx.prepare_cached("DELETE FROM unanswered WHERE id = ?1")?.execute([&id]).map(drop)
        })
    }

    /// A call whose answer has not come.
    pub fn unanswered(&self, id: &InvocationId) -> Result<Option<Unanswered>, StoreError> {
        let id = id.to_string();
        let found = self.read(|db| {
            db.prepare_cached("SELECT id, release, addrs, at, bytes FROM unanswered WHERE id = ?1")?
                .query_row([&id], columns)
                .optional()
        })?;
        found.map(read).transpose()
    }

    /// Every call whose answer has not come, the newest first.
    pub fn all_unanswered(&self) -> Result<Vec<Unanswered>, StoreError> {
        let rows: Vec<Columns> = self.read(|db| {
            db.prepare_cached("SELECT id, release, addrs, at, bytes FROM unanswered ORDER BY n DESC")?
                .query_map([], columns)?
                .collect()
        })?;
        rows.into_iter().map(read).collect()
    }
}
