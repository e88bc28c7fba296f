//! Opening a home's database, its schema, and the two ways in: a read, and a write as one transaction.

use crate::{StoreError, blobs::Files};
use actum_model::{Signed, Statement, id::DAG_CBOR};
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// How long one call waits for another process's transaction before it gives up with [`StoreError::Busy`]: 10 seconds.
/// Transactions here take milliseconds; only a stopped process or a very slow disk gets near it.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The schema of `actum.db` that this build reads and writes.
pub const SCHEMA_VERSION: i64 = 5;

/// What `actum.db` is.
const FORMAT: Format =
    Format { application_id: 0x4163_746d, steps: &[SCHEMA, SCHEMA_2, SCHEMA_3, SCHEMA_4, SCHEMA_5], fill };

/// Schema 5 counts what was only kept before.
fn fill(tx: &Connection, found: i64) -> rusqlite::Result<()> {
    if found < 5 { crate::entries::enter_all(tx) } else { Ok(()) }
}

/// What a database file is: whose, and how its tables came to be.
pub(crate) struct Format {
    /// Marks the file as ours.
    pub(crate) application_id: i64,
    /// What brings a file to version 1, to version 2, and so on to this build's.
    pub(crate) steps: &'static [&'static str],
    /// Fills new tables from what a file of the version found has, in the same transaction.
    pub(crate) fill: fn(&Connection, i64) -> rusqlite::Result<()>,
}

/// How often a held `open.lock` is tried again.
const LOCK_RETRY: Duration = Duration::from_millis(10);

const SCHEMA: &str = "
CREATE TABLE blobs (id TEXT PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
CREATE TABLE receipts (
    n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, provider TEXT NOT NULL, iat INTEGER NOT NULL,
    bytes BLOB NOT NULL
) STRICT;
CREATE INDEX receipts_by_time ON receipts (iat);
CREATE INDEX receipts_by_provider ON receipts (provider, iat);
CREATE TABLE releases (
    n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, component TEXT NOT NULL,
    bytes BLOB NOT NULL
) STRICT;
CREATE INDEX releases_by_name ON releases (name);
CREATE INDEX releases_by_component ON releases (component);
CREATE TABLE descriptors (
    provider TEXT NOT NULL, release TEXT NOT NULL, seq INTEGER NOT NULL, exp INTEGER NOT NULL, bytes BLOB NOT NULL,
    PRIMARY KEY (provider, release)
) STRICT;
CREATE INDEX descriptors_by_expiry ON descriptors (exp);
CREATE TABLE leases (
    provider TEXT PRIMARY KEY, seq INTEGER NOT NULL, exp INTEGER NOT NULL, bytes BLOB NOT NULL
) STRICT;
CREATE TABLE peers (
    did TEXT NOT NULL, addr TEXT NOT NULL, last_seen INTEGER NOT NULL, PRIMARY KEY (did, addr)
) STRICT;
CREATE INDEX peers_by_time ON peers (last_seen);
CREATE TABLE verdicts (
    n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, receipt TEXT NOT NULL, provider TEXT NOT NULL,
    bytes BLOB NOT NULL
) STRICT;
CREATE INDEX verdicts_by_receipt ON verdicts (receipt);
CREATE INDEX verdicts_by_provider ON verdicts (provider);
";

/// What schema 2 has and schema 1 has not: the buckets of guests.
const SCHEMA_2: &str = "
CREATE TABLE buckets (
    n INTEGER PRIMARY KEY AUTOINCREMENT, requester TEXT NOT NULL, capability TEXT NOT NULL, name TEXT NOT NULL,
    keys INTEGER NOT NULL, bytes INTEGER NOT NULL, UNIQUE (requester, capability, name)
) STRICT;
CREATE TABLE bucket_keys (
    bucket INTEGER NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, UNIQUE (bucket, key)
) STRICT;
";

/// What schema 3 has and schema 2 has not: delegations, what people call keys, and the invocation a receipt answers.
const SCHEMA_3: &str = "
CREATE TABLE delegations (
    n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, iss TEXT NOT NULL, aud TEXT NOT NULL, sub TEXT,
    exp INTEGER, bytes BLOB NOT NULL
) STRICT;
CREATE INDEX delegations_by_issuer ON delegations (iss);
CREATE INDEX delegations_by_audience ON delegations (aud, sub);
CREATE TABLE names (
    n INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL COLLATE NOCASE UNIQUE, did TEXT NOT NULL
) STRICT;
CREATE INDEX names_by_did ON names (did);
ALTER TABLE receipts ADD COLUMN invocation TEXT;
";

/// What schema 4 has and schema 3 has not: receipts by the invocation they answer, what peers were caught at, and calls
/// whose answer was lost.
const SCHEMA_4: &str = "
CREATE INDEX receipts_by_invocation ON receipts (invocation) WHERE invocation IS NOT NULL;
CREATE TABLE offences (
    n INTEGER PRIMARY KEY AUTOINCREMENT, did TEXT NOT NULL, kind TEXT NOT NULL, at INTEGER NOT NULL
) STRICT;
CREATE INDEX offences_by_peer ON offences (did, at);
CREATE TABLE unanswered (
    n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, release TEXT NOT NULL, addrs TEXT NOT NULL,
    at INTEGER NOT NULL, bytes BLOB NOT NULL
) STRICT;
";

/// What schema 5 has and schema 4 has not: what each provider's actions showed, replays that are owed, proofs of lies,
/// attestations, who served whom how much, and how far flows came.
const SCHEMA_5: &str = "
CREATE TABLE experiences (
    n INTEGER PRIMARY KEY AUTOINCREMENT, provider TEXT NOT NULL, component TEXT NOT NULL, at INTEGER NOT NULL,
    kind TEXT NOT NULL, millis INTEGER NOT NULL, receipt TEXT, verifier TEXT NOT NULL, lasts INTEGER NOT NULL
) STRICT;
CREATE INDEX experiences_by_provider ON experiences (provider, lasts, n);
CREATE UNIQUE INDEX experiences_once ON experiences (receipt, kind, verifier) WHERE receipt IS NOT NULL;
CREATE TABLE due (
    n INTEGER PRIMARY KEY AUTOINCREMENT, receipt TEXT NOT NULL UNIQUE, at INTEGER NOT NULL
) STRICT;
CREATE TABLE proofs (
    n INTEGER PRIMARY KEY AUTOINCREMENT, receipt TEXT NOT NULL UNIQUE, provider TEXT NOT NULL, at INTEGER NOT NULL,
    state TEXT NOT NULL, bytes BLOB NOT NULL
) STRICT;
CREATE INDEX proofs_by_provider ON proofs (provider);
CREATE TABLE attestations (receipt TEXT PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
CREATE TABLE entries (
    n INTEGER PRIMARY KEY AUTOINCREMENT, receipt TEXT NOT NULL UNIQUE, invocation TEXT NOT NULL UNIQUE,
    provider TEXT NOT NULL, requester TEXT NOT NULL, fuel INTEGER NOT NULL, void INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX entries_by_pair ON entries (provider, requester, n);
CREATE TABLE accounts (
    provider TEXT NOT NULL, requester TEXT NOT NULL, receipts INTEGER NOT NULL, fuel INTEGER NOT NULL, sum BLOB NOT NULL,
    PRIMARY KEY (provider, requester)
) STRICT;
CREATE INDEX accounts_by_requester ON accounts (requester);
CREATE TABLE served (
    provider TEXT NOT NULL, requester TEXT NOT NULL, hour INTEGER NOT NULL, fuel INTEGER NOT NULL,
    PRIMARY KEY (provider, requester, hour)
) STRICT, WITHOUT ROWID;
CREATE TABLE balances (
    iss TEXT NOT NULL, peer TEXT NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL, bytes BLOB NOT NULL,
    PRIMARY KEY (iss, peer)
) STRICT;
CREATE TABLE flow_steps (
    flow TEXT NOT NULL, step TEXT NOT NULL, receipt TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (flow, step)
) STRICT;
";

/// The file that [`lock`] locks.
pub(crate) const LOCK: &str = "open.lock";

/// One home's store. Cheap to clone; clones share their connections. Safe to use from several threads, and any number
/// of processes may have the same home open.
///
/// Calls block on the disk: an async caller runs them where blocking is allowed.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    files: Files,
    /// Reads do not wait for a writer's sync.
    reader: Mutex<Connection>,
    writers: Mutex<Writers>,
}

/// Behind one lock, because SQLite lets one write at a time and waiting on a mutex is fairer than on its busy handler.
#[derive(Debug)]
struct Writers {
    /// Syncs the log at each commit.
    durable: Connection,
    /// Leaves the sync to the next checkpoint: for soft state.
    soft: Connection,
}

impl Store {
    /// Opens the store of a home, creating what is missing for its owner alone (mode 0700 on Unix).
    ///
    /// Refuses a store written by a newer schema, another program's database, and a damaged one; then nothing was
    /// changed.
    pub fn open(home: &Path) -> Result<Self, StoreError> {
        let store = home.join("store");
        create_dir(home)?;
        create_dir(&store)?;
        let path = store.join("actum.db");
        let lock = lock(&store)?;
        let fails = |e| database_error(&path, e);
        let mut durable = connect(&path).map_err(fails)?;
        prepare_schema(&path, &mut durable, &FORMAT)?;
        let files = Files::open(&store)?;
        durable.pragma_update(None, "synchronous", "FULL").map_err(fails)?;
        let soft = connect(&path).map_err(fails)?;
        soft.pragma_update(None, "synchronous", "NORMAL").map_err(fails)?;
        let reader = connect(&path).map_err(fails)?;
        reader.pragma_update(None, "query_only", true).map_err(fails)?;
        drop(lock);
        let writers = Mutex::new(Writers { durable, soft });
        Ok(Self(Arc::new(Inner { path, files, reader: Mutex::new(reader), writers })))
    }

    pub(crate) fn files(&self) -> &Files {
        &self.0.files
    }

    pub(crate) fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        query(&guard(&self.0.reader)).map_err(|e| database_error(&self.0.path, e))
    }

    /// Runs `change` as one transaction that is on the disk when this returns.
    pub(crate) fn write<T>(
        &self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.transact(&mut guard(&self.0.writers).durable, change)
    }

    /// Runs `change` as one transaction that a power cut may undo, and nothing less.
    pub(crate) fn write_soft<T>(
        &self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.transact(&mut guard(&self.0.writers).soft, change)
    }

    /// As [`Self::write`], and what is refused leaves nothing behind.
    pub(crate) fn write_unless_refused<T, E: From<StoreError>>(
        &self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<Result<T, E>>,
    ) -> Result<T, E> {
        self.unless_refused(&mut guard(&self.0.writers).durable, change)
    }

    /// As [`Self::write_soft`], and what is refused leaves nothing behind.
    pub(crate) fn write_soft_unless_refused<T, E: From<StoreError>>(
        &self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<Result<T, E>>,
    ) -> Result<T, E> {
        self.unless_refused(&mut guard(&self.0.writers).soft, change)
    }

    fn unless_refused<T, E: From<StoreError>>(
        &self,
        db: &mut Connection,
        change: impl FnOnce(&Connection) -> rusqlite::Result<Result<T, E>>,
    ) -> Result<T, E> {
        transact_unless_refused(db, change).map_err(|e| database_error(&self.0.path, e))?
    }

    fn transact<T>(
        &self,
        db: &mut Connection,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        // Immediate: the lock is taken first, so that a transaction waits at its start and never fails in its middle.
        let run = |db: &mut Connection| {
            let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let result = change(&tx)?;
            tx.commit()?;
            Ok(result)
        };
        run(db).map_err(|e| database_error(&self.0.path, e))
    }
}

/// Runs `change` as one transaction, which is undone where it refuses.
pub(crate) fn transact_unless_refused<T, E>(
    db: &mut Connection,
    change: impl FnOnce(&Connection) -> rusqlite::Result<Result<T, E>>,
) -> rusqlite::Result<Result<T, E>> {
    // Immediate: the lock is taken first, so that a transaction waits at its start and what it reads is the latest.
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let result = change(&tx)?;
    if result.is_ok() {
        tx.commit()?;
    }
    Ok(result)
}

/// A panic in another thread rolled its transaction back as it unwound: the connection is sound.
pub(crate) fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn database_error(path: &Path, source: rusqlite::Error) -> StoreError {
    let path = path.to_path_buf();
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy { path },
        Some(ErrorCode::DatabaseCorrupt) => {
            StoreError::Corrupt { what: "database", id: path.display().to_string(), why: source.to_string() }
        }
        Some(ErrorCode::NotADatabase) => StoreError::NotAStore { path },
        _ => StoreError::Database { path, source },
    }
}

pub(crate) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open(path)?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    db.pragma_update(None, "trusted_schema", false)?;
    db.pragma_update(None, "cell_size_check", true)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

/// Checks whose database this is and which version, before anything is changed; then creates what a new one needs.
pub(crate) fn prepare_schema(path: &Path, db: &mut Connection, format: &Format) -> Result<(), StoreError> {
    let fails = |e| database_error(path, e);
    let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(fails);
    let found = pragma("user_version")?;
    let owner = pragma("application_id")?;
    let tables: i64 =
        db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(fails)?;
    if owner != format.application_id && (owner != 0 || found != 0 || tables != 0) {
        return Err(StoreError::NotAStore { path: path.to_path_buf() });
    }
    let known = i64::try_from(format.steps.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(StoreError::NewerVersion { path: path.to_path_buf(), found, known });
    }
    db.pragma_update(None, "journal_mode", "WAL").map_err(fails)?;
    if found < known {
        let create = |db: &mut Connection| {
            let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for step in format.steps.iter().skip(usize::try_from(found).unwrap_or(0)) {
                tx.execute_batch(step)?;
            }
            (format.fill)(&tx, found)?;
            tx.pragma_update(None, "application_id", format.application_id)?;
            tx.pragma_update(None, "user_version", known)?;
            tx.commit()
        };
        create(db).map_err(fails)?;
    }
    Ok(())
}

/// Takes the advisory lock of a directory, waiting at most [`BUSY_TIMEOUT`]. Released when the file is dropped.
pub(crate) fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join(LOCK);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(StoreError::io("open", &path))?;
    for _ in 0..BUSY_TIMEOUT.as_millis() / LOCK_RETRY.as_millis() {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_RETRY),
            Err(TryLockError::Error(e)) => return Err(StoreError::io("lock", path)(e)),
        }
    }
    Err(StoreError::Busy { path })
}

/// Creates a directory, and those above it, for its owner alone. One that exists is left as it is.
pub(crate) fn create_dir(path: &Path) -> Result<(), StoreError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(StoreError::io("create", path))
}

/// Reads an envelope that was verified when it came in: it must still have its id, and still verify.
pub(crate) fn envelope<T: Statement>(
    what: &'static str,
    id: &str,
    bytes: &[u8],
) -> Result<Signed<T>, StoreError> {
    let corrupt = |why| StoreError::Corrupt { what, id: id.to_owned(), why };
    if actum_model::id::cid_of(DAG_CBOR, bytes).to_string() != id {
        return Err(corrupt(format!("its {} bytes have another digest", bytes.len())));
    }
    Signed::verify(bytes).map_err(|e| corrupt(e.to_string()))
}

/// A time or sequence number as an index column. Values past 2^63 sort last; the envelope keeps the exact one.
pub(crate) fn column(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
