//! The signed statements and what is kept beside them, in one SQLite file that one process writes.
//!
//! Every table is from a number to bytes: a slot's or a provider's. Numbers are used again, so the tables stay dense and
//! a batch is written in their order.

use crate::limits::CACHE_KIB;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The layout's version. Another one is treated as damage: what it holds is soft state.
const FORMAT: i64 = 1;

/// What the journal keeps of the disk once it was folded into the file: 64 MiB.
const JOURNAL_BYTES: i64 = 64 << 20;

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Table {
    /// Rows of providers, by place.
    Providers,
    /// Leases' bytes, by the provider's place.
    Leases,
    /// Rows of offers, by slot.
    Offers,
    /// Descriptors' bytes, by slot.
    Descriptors,
    /// Rows of tombstones with their bytes, by key.
    Tombstones,
    /// Documents to be deleted from the index, by stamp; the bytes are empty.
    Doomed,
    /// What descriptors mean, by slot: quantised vectors.
    Vectors,
}

impl Table {
    pub(crate) const ALL: [Self; 7] = [
        Self::Providers,
        Self::Leases,
        Self::Offers,
        Self::Descriptors,
        Self::Tombstones,
        Self::Doomed,
        Self::Vectors,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Providers => "providers",
            Self::Leases => "leases",
            Self::Offers => "offers",
            Self::Descriptors => "descriptors",
            Self::Tombstones => "tombstones",
            Self::Doomed => "doomed",
            Self::Vectors => "vectors",
        }
    }
}

/// Writes to be made together: bytes to put, or nothing to keep.
pub(crate) type Batch = BTreeMap<(Table, u64), Option<Vec<u8>>>;

/// Numbers without a place among the tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Statements taken in.
    pub(crate) epoch: u64,
    /// Whose vectors are kept; empty where nobody's.
    pub(crate) embedder: String,
}

/// The database: one connection writes, another reads beside it.
#[derive(Debug)]
pub(crate) struct Store {
    /// Closed first: the last to be closed folds the journal into the file, which takes one that may write.
    reader: Mutex<Connection>,
    writer: Mutex<Connection>,
}

impl Store {
    /// Opens or makes the file.
    pub(crate) fn open(path: &Path) -> rusqlite::Result<Self> {
        let writer = Connection::open(path)?;
        // What was committed survives the loss of power too: two stores must not disagree on which of them is ahead.
        writer.pragma_update(None, "journal_mode", "WAL")?;
        writer.pragma_update(None, "synchronous", "FULL")?;
        writer.pragma_update(None, "cache_size", -CACHE_KIB)?;
        writer.pragma_update(None, "journal_size_limit", JOURNAL_BYTES)?;
        writer.execute_batch(
            "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID",
        )?;
        for table in Table::ALL {
            let name = table.name();
            writer.execute_batch(&format!(
                "CREATE TABLE IF NOT EXISTS {name} (key INTEGER PRIMARY KEY, value BLOB NOT NULL) STRICT"
            ))?;
        }
        writer.execute("INSERT OR IGNORE INTO meta VALUES ('format', ?1)", [FORMAT])?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader = Connection::open_with_flags(path, flags)?;
        reader.pragma_update(None, "cache_size", -CACHE_KIB)?;
        Ok(Self { writer: Mutex::new(writer), reader: Mutex::new(reader) })
    }

    /// Whether the file is of this layout.
    pub(crate) fn is_ours(&self) -> rusqlite::Result<bool> {
        let format: Option<i64> = lock(&self.reader)
            .query_row("SELECT value FROM meta WHERE name = 'format'", [], |row| row.get(0))
            .optional()?;
        Ok(format == Some(FORMAT))
    }

    pub(crate) fn meta(&self) -> rusqlite::Result<Meta> {
        let reader = lock(&self.reader);
        let epoch: Option<i64> =
            reader.query_row("SELECT value FROM meta WHERE name = 'epoch'", [], |r| r.get(0)).optional()?;
        let embedder: Option<String> = reader
            .query_row("SELECT value FROM meta WHERE name = 'embedder'", [], |r| r.get(0))
            .optional()?;
        Ok(Meta { epoch: epoch.unwrap_or_default().cast_unsigned(), embedder: embedder.unwrap_or_default() })
    }

    /// One value.
    pub(crate) fn get(&self, table: Table, key: u64) -> rusqlite::Result<Option<Vec<u8>>> {
        let reader = lock(&self.reader);
        let mut statement =
            reader.prepare_cached(&format!("SELECT value FROM {} WHERE key = ?1", table.name()))?;
        statement.query_row([key.cast_signed()], |row| row.get(0)).optional()
    }

    /// Every value of a table, in the order of the keys, until `each` says that it is enough.
    pub(crate) fn scan<E: From<rusqlite::Error>>(
        &self,
        table: Table,
        mut each: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let reader = lock(&self.reader);
        let mut statement =
            reader.prepare(&format!("SELECT key, value FROM {} ORDER BY key", table.name()))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let key: i64 = row.get(0)?;
            let value = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
            each(key.cast_unsigned(), value)?;
        }
        Ok(())
    }

    /// Writes batches, one after the other, and the numbers: all of it or nothing.
    pub(crate) fn write(&self, batches: &[&Batch], meta: &Meta) -> rusqlite::Result<()> {
        let mut writer = lock(&self.writer);
        let transaction = writer.transaction()?;
        for table in Table::ALL {
            let name = table.name();
            let mut put =
                transaction.prepare_cached(&format!("INSERT OR REPLACE INTO {name} VALUES (?1, ?2)"))?;
            let mut delete = transaction.prepare_cached(&format!("DELETE FROM {name} WHERE key = ?1"))?;
            let all = batches.iter().flat_map(|batch| batch.range((table, 0)..=(table, u64::MAX)));
            for ((_, key), value) in all {
                match value {
                    Some(value) => put.execute(params![key.cast_signed(), value])?,
                    None => delete.execute([key.cast_signed()])?,
                };
            }
        }
        let mut put = transaction.prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?;
        put.execute(params!["epoch", meta.epoch.cast_signed()])?;
        put.execute(params!["embedder", meta.embedder])?;
        drop(put);
        transaction.commit()
    }

    /// Empties a table.
    pub(crate) fn clear(&self, table: Table) -> rusqlite::Result<()> {
        lock(&self.writer).execute(&format!("DELETE FROM {}", table.name()), []).map(drop)
    }
}

fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    // A panic between two statements leaves a connection whole: a transaction that was dropped is rolled back.
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether an error says that the file is damaged, and not that the disk is full or the file locked.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::{Error, ErrorCode};
    match error {
        Error::SqliteFailure(e, _) => {
            matches!(e.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown)
                || e.code == ErrorCode::SchemaChanged
        }
        Error::FromSqlConversionFailure(..) | Error::InvalidColumnType(..) | Error::InvalidColumnName(_) => {
            true
        }
        _ => false,
    }
}
