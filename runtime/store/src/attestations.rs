//! What providers' platforms say of receipts, found by the receipt.

use crate::{Store, StoreError};
use actum_model::{Attestation, ReceiptId};
use rusqlite::{OptionalExtension, params};

impl Store {
    /// Keeps an attestation. The first one of a receipt stays: what comes later cannot take its place.
    ///
    /// Soft: a power cut may undo it until the next receipt is committed.
    pub fn put_attestation(&self, attestation: &Attestation) -> Result<(), StoreError> {
        self.write_soft(|tx| {
            tx.prepare_cached("INSERT OR IGNORE INTO attestations (receipt, bytes) VALUES (?1, ?2)")?
                .execute(params![attestation.receipt().to_string(), attestation.bytes()])
        })?;
        Ok(())
    }

    /// The attestation of a receipt, if one is kept. Whether it holds is not said.
    pub fn attestation_of(&self, receipt: &ReceiptId) -> Result<Option<Attestation>, StoreError> {
        let id = receipt.to_string();
        let bytes: Option<Vec<u8>> = self.read(|db| {
            db.prepare_cached("SELECT bytes FROM attestations WHERE receipt = ?1")?
                .query_row([&id], |row| row.get(0))
                .optional()
        })?;
        let Some(bytes) = bytes else { return Ok(None) };
        let corrupt = |why| StoreError::Corrupt { what: "attestation", id: id.clone(), why };
        let attestation = Attestation::read(&bytes).map_err(|e| corrupt(e.to_string()))?;
        if attestation.receipt() != receipt {
            return Err(corrupt(format!("it is of receipt {}", attestation.receipt())));
        }
        Ok(Some(attestation))
    }
}
