//! Buckets: what guests keep between actions, each private to one requester, one capability and one name.
//!
//! A change is one transaction. It is on the disk when the next receipt is: the commit of that syncs the log for both,
//! so a change that a receipt tells of is never lost without the receipt.

use crate::{Store, StoreError};
use actum_model::Did;
use rusqlite::{Connection, OptionalExtension, params};

/// The most bytes of a value: 1 MiB.
pub const MAX_VALUE_BYTES: usize = 1 << 20;
/// The most keys of one bucket.
pub const MAX_KEYS_PER_BUCKET: u64 = 10_000;
/// The most bytes of one bucket, keys and values: 16 MiB.
pub const MAX_BUCKET_BYTES: u64 = 16 << 20;
/// The most buckets of one home that hold anything.
pub const MAX_BUCKETS: u64 = 4_096;
/// The most bytes of all buckets of one home: 1 GiB.
pub const MAX_BUCKETS_BYTES: u64 = 1 << 30;
/// The most bytes of values that one answer holds: 16 MiB. A key may be asked for many times in one question.
pub const MAX_ANSWER_BYTES: usize = 16 << 20;
/// How many keys one page of a listing has.
pub const KEYS_PER_PAGE: u64 = 1_000;

/// Which bucket is meant. Buckets that differ in any part share nothing.
#[derive(Clone, Copy, Debug)]
pub struct Bucket<'a> {
    /// Whose action it is.
    pub requester: &'a Did,
    /// What the component is called, in a text that no other capability has.
    pub capability: &'a str,
    /// The name it is opened by.
    pub name: &'a str,
}

/// Why a bucket was not read or changed. Nothing was changed; each text begins with [`KeyvalueError::code`].
#[derive(Debug, thiserror::Error)]
pub enum KeyvalueError {
    /// A value over [`MAX_VALUE_BYTES`].
    #[error("value-too-large: {actual} bytes where a value has at most {MAX_VALUE_BYTES}")]
    ValueTooLarge {
        /// Bytes given.
        actual: usize,
    },
    /// The values asked for are together over [`MAX_ANSWER_BYTES`].
    #[error(
        "answer-too-large: one answer has at most {MAX_ANSWER_BYTES} bytes of values; ask for fewer keys"
    )]
    AnswerTooLarge,
    /// More keys than [`MAX_KEYS_PER_BUCKET`].
    #[error("too-many-keys: a bucket has at most {MAX_KEYS_PER_BUCKET}; delete some first")]
    TooManyKeys,
    /// More bytes than [`MAX_BUCKET_BYTES`].
    #[error("bucket-full: a bucket has at most {MAX_BUCKET_BYTES} bytes; delete some first")]
    BucketFull,
    /// More buckets than [`MAX_BUCKETS`].
    #[error("too-many-buckets: this provider keeps at most {MAX_BUCKETS}")]
    TooManyBuckets,
    /// More bytes in all buckets than [`MAX_BUCKETS_BYTES`].
    #[error("store-full: this provider keeps at most {MAX_BUCKETS_BYTES} bytes in all buckets")]
    StoreFull,
    /// Adding to a value that is not a number from 0 to 2^64 - 1 in decimal digits.
    #[error("not-a-number: the value is no number in decimal digits that fits 64 bits")]
    NotANumber,
    /// The sum does not fit 64 bits.
    #[error("overflow: the sum does not fit 64 bits")]
    Overflow,
    /// The store failed, or another process kept it too long.
    #[error("unavailable: the store failed")]
    Store(#[from] StoreError),
}

impl KeyvalueError {
    /// The code its text begins with.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ValueTooLarge { .. } => "value-too-large",
            Self::AnswerTooLarge => "answer-too-large",
            Self::TooManyKeys => "too-many-keys",
            Self::BucketFull => "bucket-full",
            Self::TooManyBuckets => "too-many-buckets",
            Self::StoreFull => "store-full",
            Self::NotANumber => "not-a-number",
            Self::Overflow => "overflow",
            Self::Store(_) => "unavailable",
        }
    }
}

type Refusable<T> = rusqlite::Result<Result<T, KeyvalueError>>;

/// A bucket's row.
#[derive(Clone, Copy)]
struct Row {
    n: i64,
    keys: i64,
    bytes: i64,
}

impl Store {
    /// The values of these keys, all as they were at one moment; none where there is none.
    pub fn bucket_get(
        &self,
        bucket: &Bucket<'_>,
        keys: &[String],
    ) -> Result<Vec<Option<Vec<u8>>>, KeyvalueError> {
        self.read(|db| {
            let tx = db.unchecked_transaction()?; // one snapshot; it changes nothing, so it need not commit
            let Some(row) = find(&tx, bucket)? else { return Ok(Ok(vec![None; keys.len()])) };
            let (mut values, mut bytes) = (Vec::with_capacity(keys.len()), 0_usize);
            for key in keys {
                let value = value(&tx, row, key)?;
                bytes = bytes.saturating_add(value.as_ref().map_or(0, Vec::len));
                if bytes > MAX_ANSWER_BYTES {
                    return Ok(Err(KeyvalueError::AnswerTooLarge));
                }
                values.push(value);
            }
            Ok(Ok(values))
        })?
    }

    /// Sets these keys, in this order: all of them or none.
    pub fn bucket_set<V: AsRef<[u8]>>(
        &self,
        bucket: &Bucket<'_>,
        pairs: &[(String, V)],
    ) -> Result<(), KeyvalueError> {
        if let Some((_, value)) = pairs.iter().find(|(_, v)| v.as_ref().len() > MAX_VALUE_BYTES) {
            return Err(KeyvalueError::ValueTooLarge { actual: value.as_ref().len() });
        }
        if pairs.is_empty() {
            return Ok(());
        }
        self.write_soft_unless_refused(|tx| {
            let before = find_or_make(tx, bucket)?;
            let mut row = before;
            for (key, value) in pairs {
                put(tx, &mut row, key, value.as_ref())?;
            }
            keep(tx, before, row)
        })
    }

    /// Deletes these keys, all of them or none; those that are not there are left out.
    pub fn bucket_delete(&self, bucket: &Bucket<'_>, keys: &[String]) -> Result<(), KeyvalueError> {
        self.write_soft_unless_refused(|tx| {
            let Some(before) = find(tx, bucket)? else { return Ok(Ok(())) };
            let mut row = before;
            for key in keys {
                if let Some(old) = length(tx, row, key)? {
                    tx.prepare_cached("DELETE FROM bucket_keys WHERE bucket = ?1 AND key = ?2")?
                        .execute(params![row.n, key])?;
                    row.keys -= 1;
                    row.bytes -= old.saturating_add(count(key.len()));
                }
            }
            keep(tx, before, row)
        })
    }

    /// At most [`KEYS_PER_PAGE`] of the keys that begin so, in the order of their bytes, from the `offset`th of them on,
    /// and where the next page begins. Keys that come or go between two pages shift the second.
    pub fn bucket_keys(
        &self,
        bucket: &Bucket<'_>,
        prefix: &str,
        offset: u64,
    ) -> Result<(Vec<String>, Option<u64>), KeyvalueError> {
        let from = i64::try_from(offset).unwrap_or(i64::MAX);
        let keys = self.read(|db| {
            let tx = db.unchecked_transaction()?;
            let Some(row) = find(&tx, bucket)? else { return Ok(Vec::new()) };
            // As bytes: a text's length ends at its first zero.
            tx.prepare_cached(
                "SELECT key FROM bucket_keys
                WHERE bucket = ?1 AND key >= ?4
                    AND substr(CAST(key AS BLOB), 1, length(CAST(?4 AS BLOB))) = CAST(?4 AS BLOB)
                ORDER BY key LIMIT ?2 OFFSET ?3",
            )?
            .query_map(params![row.n, column(KEYS_PER_PAGE + 1), from, prefix], |row| row.get(0))?
            .collect::<rusqlite::Result<Vec<String>>>()
        })?;
        let page = usize::try_from(KEYS_PER_PAGE).unwrap_or(usize::MAX);
        let next = (keys.len() > page).then(|| offset.saturating_add(KEYS_PER_PAGE));
        Ok((keys.into_iter().take(page).collect(), next))
    }

    /// Adds to a number in decimal digits, absent meaning 0, and gives the sum. Nobody else's addition is lost.
    pub fn bucket_increment(&self, bucket: &Bucket<'_>, key: &str, delta: u64) -> Result<u64, KeyvalueError> {
        self.write_soft_unless_refused(|tx| {
            let before = find_or_make(tx, bucket)?;
            let old = match value(tx, before, key)? {
                None => 0,
                Some(bytes) => match number(&bytes) {
                    Some(number) => number,
                    None => return Ok(Err(KeyvalueError::NotANumber)),
                },
            };
            let Some(sum) = old.checked_add(delta) else { return Ok(Err(KeyvalueError::Overflow)) };
            let mut row = before;
            put(tx, &mut row, key, sum.to_string().as_bytes())?;
            Ok(keep(tx, before, row)?.map(|()| sum))
        })
    }
}

/// A number in decimal digits and nothing else.
fn number(bytes: &[u8]) -> Option<u64> {
    let text = str::from_utf8(bytes).ok()?;
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn count(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

fn column(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn find(db: &Connection, bucket: &Bucket<'_>) -> rusqlite::Result<Option<Row>> {
    db.prepare_cached(
        "SELECT n, keys, bytes FROM buckets WHERE requester = ?1 AND capability = ?2 AND name = ?3",
    )?
    .query_row(params![bucket.requester.to_string(), bucket.capability, bucket.name], |row| {
        Ok(Row { n: row.get(0)?, keys: row.get(1)?, bytes: row.get(2)? })
    })
    .optional()
}

fn find_or_make(tx: &Connection, bucket: &Bucket<'_>) -> rusqlite::Result<Row> {
    if let Some(row) = find(tx, bucket)? {
        return Ok(row);
    }
    tx.prepare_cached(
        "INSERT INTO buckets (requester, capability, name, keys, bytes) VALUES (?1, ?2, ?3, 0, 0)",
    )?
    .execute(params![bucket.requester.to_string(), bucket.capability, bucket.name])?;
    Ok(Row { n: tx.last_insert_rowid(), keys: 0, bytes: 0 })
}

fn value(db: &Connection, row: Row, key: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    db.prepare_cached("SELECT value FROM bucket_keys WHERE bucket = ?1 AND key = ?2")?
        .query_row(params![row.n, key], |row| row.get(0))
        .optional()
}

fn length(db: &Connection, row: Row, key: &str) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached("SELECT length(value) FROM bucket_keys WHERE bucket = ?1 AND key = ?2")?
        .query_row(params![row.n, key], |row| row.get(0))
        .optional()
}

fn put(tx: &Connection, row: &mut Row, key: &str, value: &[u8]) -> rusqlite::Result<()> {
    match length(tx, *row, key)? {
        Some(old) => row.bytes -= old,
        None => {
            row.keys += 1;
            row.bytes += count(key.len());
        }
    }
    row.bytes += count(value.len());
    tx.prepare_cached(
        "INSERT INTO bucket_keys (bucket, key, value) VALUES (?1, ?2, ?3)
         ON CONFLICT (bucket, key) DO UPDATE SET value = excluded.value",
    )?
    .execute(params![row.n, key, value])?;
    Ok(())
}

/// Keeps what a bucket came to, or refuses it: what grew must be within every bound. An empty bucket is gone.
fn keep(tx: &Connection, before: Row, row: Row) -> Refusable<()> {
    if row.keys == 0 {
        tx.prepare_cached("DELETE FROM buckets WHERE n = ?1")?.execute([row.n])?;
        return Ok(Ok(()));
    }
    if row.keys > before.keys && row.keys > column(MAX_KEYS_PER_BUCKET) {
        return Ok(Err(KeyvalueError::TooManyKeys));
    }
    if row.bytes > before.bytes && row.bytes > column(MAX_BUCKET_BYTES) {
        return Ok(Err(KeyvalueError::BucketFull));
    }
    tx.prepare_cached("UPDATE buckets SET keys = ?2, bytes = ?3 WHERE n = ?1")?
        .execute(params![row.n, row.keys, row.bytes])?;
    if row.bytes > before.bytes {
        let (buckets, bytes): (i64, i64) = tx
            .prepare_cached("SELECT count(*), coalesce(sum(bytes), 0) FROM buckets")?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if before.keys == 0 && buckets > column(MAX_BUCKETS) {
            return Ok(Err(KeyvalueError::TooManyBuckets));
        }
        if bytes > column(MAX_BUCKETS_BYTES) {
            return Ok(Err(KeyvalueError::StoreFull));
        }
    }
    Ok(Ok(()))
}
