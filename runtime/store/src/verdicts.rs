//! Verdicts, found by the receipt they judge and by the provider they are about.

use crate::{Store, StoreError, db::envelope};
use actum_model::{Did, ReceiptId, Signed, Verdict};
use rusqlite::params;

/// The most verdicts that one transaction keeps: 256. They share its sync of the disk, and nobody else waits long for it.
pub const VERDICTS_AT_ONCE: usize = 256;

impl Store {
    /// Keeps a verdict. Keeping it again changes nothing.
    pub fn put_verdict(&self, verdict: &Signed<Verdict>) -> Result<(), StoreError> {
        self.put_verdicts(std::slice::from_ref(verdict))
    }

    /// Keeps verdicts, [`VERDICTS_AT_ONCE`] a transaction: those of one transaction all or none. Keeping one again
    /// changes nothing.
    pub fn put_verdicts(&self, verdicts: &[Signed<Verdict>]) -> Result<(), StoreError> {
        for together in verdicts.chunks(VERDICTS_AT_ONCE) {
            self.write(|tx| {
                let mut insert = tx.prepare_cached(
                    "INSERT OR IGNORE INTO verdicts (id, receipt, provider, bytes) VALUES (?1, ?2, ?3, ?4)",
                )?;
                for verdict in together {
                    let payload = verdict.payload();
                    insert.execute(params![
                        verdict.id().to_string(),
                        payload.receipt.to_string(),
                        payload.provider.to_string(),
                        verdict.bytes()
                    ])?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Every verdict on a receipt, in the order they were kept.
    pub fn verdicts_of(&self, receipt: &ReceiptId) -> Result<Vec<Signed<Verdict>>, StoreError> {
        self.select_verdicts("receipt", &receipt.to_string())
    }

    /// Every verdict on a provider's receipts, in the order they were kept.
    pub fn verdicts_about(&self, provider: &Did) -> Result<Vec<Signed<Verdict>>, StoreError> {
        self.select_verdicts("provider", &provider.to_string())
    }

    /// The newest verdicts on a provider's receipts, at most `limit`, newest first.
    pub fn newest_verdicts_about(
        &self,
        provider: &Did,
        limit: usize,
    ) -> Result<Vec<Signed<Verdict>>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows: Vec<(String, Vec<u8>)> = self.read(|db| {
            db.prepare_cached("SELECT id, bytes FROM verdicts WHERE provider = ?1 ORDER BY n DESC LIMIT ?2")?
                .query_map(params![provider.to_string(), limit], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        rows.iter().map(|(id, bytes)| envelope("verdict", id, bytes)).collect()
    }

    fn select_verdicts(&self, by: &str, value: &str) -> Result<Vec<Signed<Verdict>>, StoreError> {
        let rows: Vec<(String, Vec<u8>)> = self.read(|db| {
            db.prepare_cached(&format!("SELECT id, bytes FROM verdicts WHERE {by} = ?1 ORDER BY n"))?
                .query_map([value], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        rows.iter().map(|(id, bytes)| envelope("verdict", id, bytes)).collect()
    }
}
