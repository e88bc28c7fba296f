//! Delegations: those this home issued, those it was given, and the links between. Kept as they came, for as long as
//! nobody removes them: a receipt's chain must stay readable when it has expired or was revoked.

mod chains;

pub use chains::{MAX_LINKS_SEARCHED, MAX_LINKS_SEARCHED_PER_KEY, MAX_SUBJECTS};

use crate::{
    Store, StoreError,
    db::{column, envelope},
};
use actum_model::{Delegation, DelegationId, Did, Signed};
use rusqlite::{Params, params};

impl Store {
    /// Keeps a delegation, whoever issued it and to whom. Keeping it again changes nothing.
    pub fn put_delegation(&self, delegation: &Signed<Delegation>) -> Result<(), StoreError> {
        self.put_delegations(std::slice::from_ref(delegation))
    }

    /// Keeps several delegations, such as a chain: all of them or none, on the disk when this returns. Where all are
    /// kept already, it only reads.
    pub fn put_delegations(&self, delegations: &[Signed<Delegation>]) -> Result<(), StoreError> {
        let ids: Vec<String> = delegations.iter().map(|d| d.id().to_string()).collect();
        let known = self.read(|db| {
            let mut known = db.prepare_cached("SELECT 1 FROM delegations WHERE id = ?1")?;
            ids.iter().try_fold(true, |all, id| Ok::<_, rusqlite::Error>(all && known.exists([id])?))
        })?;
        if known {
            return Ok(());
        }
        self.write(|tx| {
            let mut insert = tx.prepare_cached(
                "INSERT OR IGNORE INTO delegations (id, iss, aud, sub, exp, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            for (delegation, id) in delegations.iter().zip(&ids) {
                let payload = delegation.payload();
                insert.execute(params![
                    id,
                    payload.iss.to_string(),
                    payload.aud.to_string(),
                    payload.sub.map(|sub| sub.to_string()),
                    payload.exp.map(column),
                    delegation.bytes()
                ])?;
            }
            Ok(())
        })
    }

    /// A delegation by its id.
    pub fn delegation(&self, id: &DelegationId) -> Result<Option<Signed<Delegation>>, StoreError> {
        Ok(self.select_delegations("WHERE id = ?1", [id.to_string()])?.pop())
    }

    /// The delegations to a key, the one kept last first, at most `limit`.
    pub fn delegations_to(&self, aud: &Did, limit: usize) -> Result<Vec<Signed<Delegation>>, StoreError> {
        self.select_delegations(
            "WHERE aud = ?1 ORDER BY n DESC LIMIT ?2",
            params![aud.to_string(), rows(limit)],
        )
    }

    /// The delegations by a key, the one kept last first, at most `limit`.
    pub fn delegations_by(&self, iss: &Did, limit: usize) -> Result<Vec<Signed<Delegation>>, StoreError> {
        self.select_delegations(
            "WHERE iss = ?1 ORDER BY n DESC LIMIT ?2",
            params![iss.to_string(), rows(limit)],
        )
    }

    /// All delegations, the one kept last first, at most `limit`.
    pub fn delegations(&self, limit: usize) -> Result<Vec<Signed<Delegation>>, StoreError> {
        self.select_delegations("ORDER BY n DESC LIMIT ?1", [rows(limit)])
    }

    /// The delegations by a key or to it, the one kept last first, at most `limit`.
    pub fn delegations_of(&self, did: &Did, limit: usize) -> Result<Vec<Signed<Delegation>>, StoreError> {
        self.select_delegations(
            "WHERE iss = ?1 OR aud = ?1 ORDER BY n DESC LIMIT ?2",
            params![did.to_string(), rows(limit)],
        )
    }

    /// The delegation whose id begins or ends so, for people who type a short one; `None` when none does.
    ///
    /// [`StoreError::Ambiguous`] lists the ids when several do: the first eight, newest first.
    pub fn delegation_by_part(&self, part: &str) -> Result<Option<Signed<Delegation>>, StoreError> {
        // Ids are lower-case letters and digits, which all sort before `~`; nothing else is looked for.
        if part.is_empty() || !part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
            return Ok(None);
        }
        let mut found = self.select_delegations(
            "WHERE (id >= ?1 AND id < ?2) OR id LIKE '%' || ?1 ORDER BY n DESC LIMIT ?3",
            params![part, format!("{part}~"), rows(crate::receipts::LISTED_MATCHES)],
        )?;
        match found.len() {
            0 | 1 => Ok(found.pop()),
            _ => Err(StoreError::Ambiguous {
                prefix: part.to_owned(),
                matches: found.iter().map(|d| d.id().to_string()).collect(),
            }),
        }
    }

    /// Removes a delegation; whether it was there. It revokes nothing, and what names it can no longer be shown to hold.
    pub fn remove_delegation(&self, id: &DelegationId) -> Result<bool, StoreError> {
        self.write(|tx| tx.prepare_cached("DELETE FROM delegations WHERE id = ?1")?.execute([id.to_string()]))
            .map(|gone| gone > 0)
    }

    fn select_delegations(
        &self,
        rest: &str,
        params: impl Params,
    ) -> Result<Vec<Signed<Delegation>>, StoreError> {
        let rows: Vec<(String, Vec<u8>)> = self.read(|db| {
            db.prepare_cached(&format!("SELECT id, bytes FROM delegations {rest}"))?
                .query_map(params, |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        rows.iter().map(|(id, bytes)| envelope("delegation", id, bytes)).collect()
    }
}

fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
