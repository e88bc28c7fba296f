//! What people call keys: short names of this home's own, which nobody else sees.

use crate::{Store, StoreError};
use actum_model::Did;
use rusqlite::{OptionalExtension, params};

/// The longest name, in bytes: 32.
pub const MAX_NAME_BYTES: usize = 32;
/// The most names kept: 10,000.
pub const MAX_NAMES: usize = 10_000;

impl Store {
    /// Calls a key so. A key may have several names; giving it one that it has changes nothing.
    ///
    /// A name is 1 to [`MAX_NAME_BYTES`] ASCII letters, digits, `-`, `_` and `.`, the first a letter or digit, else
    /// [`StoreError::BadName`]. Names that differ in case alone are the same. One that another key has is
    /// [`StoreError::NameTaken`]: a name changes hands only where somebody removes it first.
    pub fn put_name(&self, name: &str, did: &Did) -> Result<(), StoreError> {
        if !is_name(name) {
            return Err(StoreError::BadName { name: name.chars().take(80).collect() });
        }
        let did = did.to_string();
        self.write_unless_refused(|tx| {
            let other: Option<(String, String)> = tx
                .prepare_cached("SELECT name, did FROM names WHERE name = ?1")?
                .query_row([name], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            match other {
                Some((_, same)) if same == did => return Ok(Ok(())),
                Some((name, did)) => return Ok(Err(StoreError::NameTaken { name, did })),
                None => {}
            }
            let names: i64 =
                tx.prepare_cached("SELECT count(*) FROM names")?.query_row([], |row| row.get(0))?;
            if names >= MAX_NAMES as i64 {
                return Ok(Err(StoreError::Full { what: "names", limit: MAX_NAMES }));
            }
            tx.prepare_cached("INSERT INTO names (name, did) VALUES (?1, ?2)")?.execute([name, &did])?;
            Ok(Ok(()))
        })
    }

    /// What a key is called: of several names the one given first.
    pub fn name_of(&self, did: &Did) -> Result<Option<String>, StoreError> {
        self.read(|db| {
            db.prepare_cached("SELECT name FROM names WHERE did = ?1 ORDER BY n LIMIT 1")?
                .query_row([did.to_string()], |row| row.get(0))
                .optional()
        })
    }

    /// Who is called so, in whatever case it is written.
    pub fn named(&self, name: &str) -> Result<Option<Did>, StoreError> {
        let found: Option<String> = self.read(|db| {
            db.prepare_cached("SELECT did FROM names WHERE name = ?1")?
                .query_row([name], |row| row.get(0))
                .optional()
        })?;
        found.map(|did| parsed(name, &did)).transpose()
    }

    /// Every name and whose it is, by name; at most [`MAX_NAMES`].
    pub fn names(&self) -> Result<Vec<(String, Did)>, StoreError> {
        let rows: Vec<(String, String)> = self.read(|db| {
            db.prepare_cached("SELECT name, did FROM names ORDER BY name")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        rows.into_iter().map(|(name, did)| parsed(&name, &did).map(|did| (name, did))).collect()
    }

    /// Takes a name away; whether anyone had it.
    pub fn remove_name(&self, name: &str) -> Result<bool, StoreError> {
        self.write(|tx| tx.prepare_cached("DELETE FROM names WHERE name = ?1")?.execute(params![name]))
            .map(|gone| gone > 0)
    }
}

fn is_name(name: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(good)
        && name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
}

fn parsed(name: &str, did: &str) -> Result<Did, StoreError> {
    did.parse().map_err(|e: actum_model::key::KeyError| StoreError::Corrupt {
        what: "name",
        id: name.to_owned(),
        why: e.to_string(),
    })
}
