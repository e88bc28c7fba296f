//! The answer to an invocation, for whoever lost it: the receipt and what was sent with it.

use crate::{Store, StoreError, db::envelope};
use actum_model::{InvocationId, Receipt, Signed};
use rusqlite::OptionalExtension;

/// What was answered to an invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The receipt.
    pub receipt: Signed<Receipt>,
    /// The canonical encoding of the output, when the outcome names one.
    pub output: Option<Vec<u8>>,
    /// The journal's canonical bytes.
    pub journal: Vec<u8>,
    /// The bodies the journal names, each once, in the order in which it first names them.
    pub bodies: Vec<Vec<u8>>,
    /// The encoded [`actum_model::receipt::Stdio`], when the receipt names one.
    pub stdio: Option<Vec<u8>>,
}

impl Store {
    /// The answer to an invocation that was kept with its receipt, each part verified; `None` when there is none. Where
    /// several receipts say they answer it, the one kept first.
    ///
    /// A part that the receipt names and the store lost is [`StoreError::Corrupt`].
    pub fn answer_to(&self, invocation: &InvocationId) -> Result<Option<Answer>, StoreError> {
        let found: Option<(String, Vec<u8>)> = self.read(|db| {
            db.prepare_cached("SELECT id, bytes FROM receipts WHERE invocation = ?1 ORDER BY n LIMIT 1")?
                .query_row([invocation.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })?;
        let Some((id, bytes)) = found else { return Ok(None) };
        let receipt: Signed<Receipt> = envelope("receipt", &id, &bytes)?;
        let payload = receipt.payload();
        let output = payload.outcome.output().map(|id| self.need("output", id)).transpose()?;
        let stdio = payload.stdio.map(|id| self.need("stdio", &id)).transpose()?;
        let journal = self.need("journal", &payload.journal)?;
        let named = self.bodies_of(payload, &journal)?;
        let bodies = named.into_iter().map(|(_, body)| body).collect();
        Ok(Some(Answer { receipt, output, journal, bodies, stdio }))
    }
}
