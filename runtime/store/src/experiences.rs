//! What each provider's actions showed this home, one row an event: what reputations are made of; and the replays that are
//! owed. What a row means is the caller's.

use crate::{Store, StoreError, db::column};
use actum_model::{ComponentId, Did, ReceiptId, id::IdError};
use rusqlite::params;
use std::str::FromStr;

/// The most experiences kept: 200,000, about 40 MB. When full, the oldest make room, but for those that
/// [last](Experienced::lasts).
pub const MAX_EXPERIENCES: usize = 200_000;
/// The longest kind of an experience, in bytes.
pub const MAX_KIND_BYTES: usize = 32;
/// The most replays that are owed: 100,000. When full, one more is refused.
pub const MAX_OWED: usize = 100_000;

/// One event with a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Experienced {
    /// The provider.
    pub provider: Did,
    /// The component of the action.
    pub component: ComponentId,
    /// When, in seconds since the Unix epoch.
    pub at: u64,
    /// What it was, by a name of at most [`MAX_KIND_BYTES`].
    pub kind: String,
    /// How long it took, where that says something, in milliseconds.
    pub millis: u32,
    /// The receipt it is about. A receipt has one event of a kind by a verifier: keeping another changes nothing.
    pub receipt: Option<ReceiptId>,
    /// Whose judgement it is.
    pub verifier: Did,
    /// Whether it is kept for ever, and is on the disk at once.
    pub lasts: bool,
}

impl Store {
    /// Keeps experiences. Unless one of them [lasts](Experienced::lasts), a power cut may undo it.
    pub fn put_experiences(&self, experiences: &[Experienced]) -> Result<(), StoreError> {
        for one in experiences {
            if one.kind.len() > MAX_KIND_BYTES {
                let (actual, limit) = (one.kind.len(), MAX_KIND_BYTES);
                return Err(StoreError::TooLarge { what: "kind of an experience", actual, limit });
            }
        }
        let insert = |tx: &rusqlite::Connection| {
            let mut insert = tx.prepare_cached(
                "INSERT OR IGNORE INTO experiences (provider, component, at, kind, millis, receipt, verifier, lasts)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?;
            for one in experiences {
                insert.execute(params![
                    one.provider.to_string(),
                    one.component.to_string(),
                    column(one.at),
                    one.kind,
                    one.millis,
                    one.receipt.as_ref().map(ReceiptId::to_string),
                    one.verifier.to_string(),
                    one.lasts
                ])?;
            }
            tx.prepare_cached(
                "DELETE FROM experiences WHERE n <= (SELECT max(n) FROM experiences) - ?1 AND NOT lasts",
            )?
            .execute([MAX_EXPERIENCES as i64])
        };
        match experiences.iter().any(|one| one.lasts) {
            true => self.write(insert)?,
            false => self.write_soft(insert)?,
        };
        Ok(())
    }

    /// The newest experiences with a provider, at most `limit`, newest first; those that last come before all others.
    pub fn experiences_with(&self, provider: &Did, limit: usize) -> Result<Vec<Experienced>, StoreError> {
        type Row = (String, i64, String, u32, Option<String>, String, bool);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows: Vec<Row> = self.read(|db| {
            db.prepare_cached(
                "SELECT component, at, kind, millis, receipt, verifier, lasts FROM experiences
                 WHERE provider = ?1 ORDER BY lasts DESC, n DESC LIMIT ?2",
            )?
            .query_map(params![provider.to_string(), limit], |row| {
                Ok((
                    row.get(0)?,
                    row.get(1)?,
                    row.get(2)?,
                    row.get(3)?,
                    row.get(4)?,
                    row.get(5)?,
                    row.get(6)?,
                ))
            })?
            .collect()
        })?;
        let read = |(component, at, kind, millis, receipt, verifier, lasts): Row| {
            Ok(Experienced {
                provider: *provider,
                component: known(&component)?,
                at: u64::try_from(at).unwrap_or(0),
                kind,
                millis,
                receipt: receipt.as_deref().map(known).transpose()?,
                verifier: verifier.parse().map_err(|e: actum_model::key::KeyError| corrupt(&verifier, &e))?,
                lasts,
            })
        };
        rows.into_iter().map(read).collect()
    }

    /// The providers with whom there is any experience.
    pub fn experienced(&self) -> Result<Vec<Did>, StoreError> {
        let rows: Vec<String> = self.read(|db| {
            db.prepare_cached("SELECT DISTINCT provider FROM experiences")?
                .query_map([], |row| row.get(0))?
                .collect()
        })?;
        let read = |text: String| text.parse().map_err(|e: actum_model::key::KeyError| corrupt(&text, &e));
        rows.into_iter().map(read).collect()
    }

    /// How many receipts of a provider are kept here.
    pub fn receipts_of(&self, provider: &Did) -> Result<u64, StoreError> {
        let count: i64 = self.read(|db| {
            db.prepare_cached("SELECT count(*) FROM receipts WHERE provider = ?1")?
                .query_row([provider.to_string()], |row| row.get(0))
        })?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Notes that a receipt is to be replayed, until [`Self::replay_paid`]. Says whether there was room.
    pub fn owe_replay(&self, receipt: &ReceiptId, at: u64) -> Result<bool, StoreError> {
        let owed = self.write_soft(|tx| {
            tx.prepare_cached(
                "INSERT OR IGNORE INTO due (receipt, at) SELECT ?1, ?2 WHERE (SELECT count(*) FROM due) < ?3",
            )?
            .execute(params![receipt.to_string(), column(at), MAX_OWED as i64])
        })?;
        Ok(owed > 0)
    }

    /// The replays that are owed, the oldest first, at most `limit`.
    pub fn owed_replays(&self, limit: usize) -> Result<Vec<ReceiptId>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows: Vec<String> = self.read(|db| {
            db.prepare_cached("SELECT receipt FROM due ORDER BY n LIMIT ?1")?
                .query_map([limit], |row| row.get(0))?
                .collect()
        })?;
        rows.iter().map(|id| known(id)).collect()
    }

    /// A replay is owed no more.
    pub fn replay_paid(&self, receipt: &ReceiptId) -> Result<(), StoreError> {
        self.write_soft(|tx| {
            tx.prepare_cached("DELETE FROM due WHERE receipt = ?1")?.execute([receipt.to_string()])
        })?;
        Ok(())
    }
}

fn known<T: FromStr<Err = IdError>>(text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|e: IdError| corrupt(text, &e))
}

fn corrupt(text: &str, why: &dyn std::fmt::Display) -> StoreError {
    StoreError::Corrupt { what: "experience", id: text.to_owned(), why: why.to_string() }
}
