//! What a node must not forget while it decides: what it has served, what each delegation has spent, what was revoked,
//! and which keys were rotated. No policy, no clock, and nothing is verified here: callers give what they verified.
//!
//! It is a database of its own, so that an admission never waits for the sync of a receipt, and so that a restored
//! backup of receipts takes back no revocation. Every change is one transaction; several processes may have it open.
//!
//! # On disk
//!
//! `<home>/store/ledger.db`, SQLite 3 in WAL mode, `application_id` 0x4163746c ("Actl"), `user_version` =
//! [`LEDGER_SCHEMA_VERSION`], in the directory that its owner alone may enter.
//!
//! | table | key | kept |
//! |---|---|---|
//! | `served` | caller, nonce | until when; `callers` counts each requester's |
//! | `spent` | delegation | actions and fuel; `spent_roots` counts the rows of each chain's root |
//! | `revocations` | delegation, revoker | the signed revocation; `witness` has the delegations that bear it out |
//! | `rotations` | old key | the first signed rotation seen |
//! | `room` | table, or table and standing | rows and bytes kept, and up to when it has forgotten |
//!
//! # What a crash can do
//!
//! What was answered survives a killed process (`synchronous = NORMAL`). A power cut may undo the last moments, back to
//! the last checkpoint: an invocation served then can be served again while it is valid, and what it spent is not
//! counted. [`Ledger::put_revocation`] and [`Ledger::put_rotation`] sync before they return, and so everything before
//! them. A crash between [`Ledger::admit`] and [`Ledger::settle`] leaves the whole reservation counted: a total is never
//! less than what was used.
//!
//! # Clocks that jump
//!
//! What has expired is forgotten by the time the caller gives. So that a clock set back does not bring it to life again,
//! the ledger remembers up to which second it has forgotten, and refuses what ends earlier as [`NotAdmitted::Stale`].

mod admission;
mod revocations;
mod rotations;

pub use admission::{
    Admission, Counted, MAX_SERVED, MAX_SERVED_PER_REQUESTER, MAX_SPENT, MAX_SPENT_PER_ROOT, NotAdmitted,
    Reservation, Served, Spent, WasServed,
};
pub use revocations::{
    MAX_REVOCATIONS, MAX_REVOCATIONS_BYTES, MAX_REVOCATIONS_PER_REVOKER, NewRevocation,
    REVOCATION_GRACE_SECONDS, StoredRevocation,
};
pub use rotations::{MAX_ROTATIONS, MAX_ROTATIONS_BYTES, RotationKept};

use crate::{
    StoreError,
    db::{self, Format, column, database_error, guard, transact_unless_refused},
};
use rusqlite::{Connection, params};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// The schema of `ledger.db` that this build reads and writes.
pub const LEDGER_SCHEMA_VERSION: i64 = 1;

const FORMAT: Format = Format { application_id: 0x4163_746c, steps: &[SCHEMA], fill: |_, _| Ok(()) };

const SCHEMA: &str = "
CREATE TABLE room (
    what TEXT PRIMARY KEY, used INTEGER NOT NULL, bytes INTEGER NOT NULL, forgotten INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE callers (n INTEGER PRIMARY KEY, did TEXT NOT NULL UNIQUE, served INTEGER NOT NULL) STRICT;
CREATE TABLE served (
    caller INTEGER NOT NULL, nonce BLOB NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (caller, nonce)
) STRICT, WITHOUT ROWID;
CREATE INDEX served_by_end ON served (until);
CREATE TABLE spent (
    delegation TEXT PRIMARY KEY, root TEXT NOT NULL, actions INTEGER NOT NULL, fuel INTEGER NOT NULL, until INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX spent_by_end ON spent (until) WHERE until IS NOT NULL;
CREATE TABLE spent_roots (root TEXT PRIMARY KEY, used INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE revocations (
    n INTEGER PRIMARY KEY AUTOINCREMENT, revoked TEXT NOT NULL, revoker TEXT NOT NULL, until INTEGER,
    standing TEXT NOT NULL, size INTEGER NOT NULL, bytes BLOB NOT NULL, UNIQUE (revoked, revoker)
) STRICT;
CREATE INDEX revocations_by_revoker ON revocations (revoker, standing);
CREATE INDEX revocations_by_end ON revocations (until) WHERE until IS NOT NULL;
CREATE TABLE witness (
    revocation INTEGER NOT NULL, place INTEGER NOT NULL, bytes BLOB NOT NULL, UNIQUE (revocation, place)
) STRICT;
CREATE TABLE rotations (
    n INTEGER PRIMARY KEY AUTOINCREMENT, old TEXT NOT NULL UNIQUE, seen INTEGER NOT NULL, bytes BLOB NOT NULL
) STRICT;
";

/// How long the log may grow, in pages of 4 KiB, before a commit moves it into the database by itself and waits for the
/// disk: 64 MiB. Where [`Ledger::checkpoint`] is called now and then, it does not come to that.
const CHECKPOINT_PAGES: i64 = 16_384;

/// Memory for pages, in KiB: 16 MiB. Nonces are random, so that an admission touches pages all over the table.
const CACHE_KIB: i64 = 16_384;

/// The most that [`Ledger::prune`] forgets of one kind at a time: 1,000, some milliseconds' worth.
pub const PRUNED_AT_ONCE: usize = 1_000;

/// Whose a revocation or rotation is. Each has its own room, so that strangers cannot take that of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Of this home's own key, or of an owner it honours.
    Ours,
    /// Of somebody who holds authority of this home's, about what they handed on.
    Near,
    /// Anybody's; kept to be passed on, and for later.
    Theirs,
}

impl Standing {
    fn text(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Near => "near",
            Self::Theirs => "theirs",
        }
    }
}

/// What one [`Ledger::prune`] forgot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Invocations served.
    pub served: usize,
    /// Totals of delegations.
    pub spent: usize,
    /// Revocations.
    pub revocations: usize,
}

/// One home's ledger. Cheap to clone; clones share one connection. Safe to use from several threads, and any
/// number of processes may have the same home open.
///
/// Calls block on the disk, most of them for microseconds.
#[derive(Clone, Debug)]
pub struct Ledger(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    db: Mutex<Held>,
    /// For checkpoints, which admissions do not wait for.
    keeper: Mutex<Connection>,
}

#[derive(Debug)]
struct Held {
    db: Connection,
    /// SQLite's `data_version` when it was last asked for.
    seen: i64,
}

/// A change that may be refused: then nothing of it stays.
type Refusable<T, E> = rusqlite::Result<Result<T, E>>;

impl Ledger {
    /// Opens the ledger of a home, creating what is missing for its owner alone (mode 0700 on Unix).
    ///
    /// Refuses one written by a newer schema, another program's database, and a damaged one; then nothing was changed.
    pub fn open(home: &Path) -> Result<Self, StoreError> {
        let store = home.join("store");
        db::create_dir(home)?;
        db::create_dir(&store)?;
        let path = store.join("ledger.db");
        let lock = db::lock(&store)?;
        let fails = |e| database_error(&path, e);
        let mut db = db::connect(&path).map_err(fails)?;
        db::prepare_schema(&path, &mut db, &FORMAT)?;
        let settings = |db: &Connection| {
            db.pragma_update(None, "synchronous", "NORMAL")?;
            db.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
            db.pragma_update(None, "cache_size", -CACHE_KIB)?;
            data_version(db)
        };
        let seen = settings(&db).map_err(fails)?;
        let keeper = db::connect(&path).map_err(fails)?;
        drop(lock);
        Ok(Self(Arc::new(Inner { path, db: Mutex::new(Held { db, seen }), keeper: Mutex::new(keeper) })))
    }

    /// Whether another process, or another [`Ledger::open`], has changed anything since this was last asked (at first:
    /// since it was opened). A few microseconds. Its own changes are not told.
    ///
    /// Ask first and read afterwards: what comes in between is told the next time.
    pub fn changed(&self) -> Result<bool, StoreError> {
        let mut held = guard(&self.0.db);
        let now = data_version(&held.db).map_err(|e| self.failed(e))?;
        Ok(std::mem::replace(&mut held.seen, now) != now)
    }

    /// Forgets what has expired at `now` (seconds since the Unix epoch): at most [`PRUNED_AT_ONCE`] of each kind.
    /// Admissions forget a little as they go; this is for a quiet node, and for revocations.
    pub fn prune(&self, now: u64) -> Result<Pruned, StoreError> {
        self.write(|tx| {
            Ok(Pruned {
                served: admission::prune_served(tx, now, PRUNED_AT_ONCE)?,
                spent: admission::prune_spent(tx, now, PRUNED_AT_ONCE)?,
                revocations: revocations::prune(tx, now, PRUNED_AT_ONCE)?,
            })
        })
    }

    /// Syncs what was written and moves it from the log into the database, while admissions go on: what was answered
    /// before this was called survives a power cut when it returns. Tens of milliseconds; every few seconds is right for
    /// a busy node. What others read keeps its place in the log until they are done.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        guard(&self.0.keeper)
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
            .map_err(|e| self.failed(e))
    }

    fn failed(&self, error: rusqlite::Error) -> StoreError {
        database_error(&self.0.path, error)
    }

    fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        query(&guard(&self.0.db).db).map_err(|e| self.failed(e))
    }

    /// Runs `change` as one transaction that survives a killed process.
    fn write<T>(&self, change: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        self.write_unless_refused(|tx| change(tx).map(Ok::<T, std::convert::Infallible>)).map(|Ok(done)| done)
    }

    /// As [`Self::write`], and what is refused leaves nothing behind.
    fn write_unless_refused<T, E>(
        &self,
        change: impl FnOnce(&Connection) -> Refusable<T, E>,
    ) -> Result<Result<T, E>, StoreError> {
        transact_unless_refused(&mut guard(&self.0.db).db, change).map_err(|e| self.failed(e))
    }

    /// As [`Self::write_unless_refused`], and on the disk when this returns.
    fn write_durably<T, E>(
        &self,
        change: impl FnOnce(&Connection) -> Refusable<T, E>,
    ) -> Result<Result<T, E>, StoreError> {
        let held = &mut guard(&self.0.db).db;
        let run = |db: &mut Connection| {
            db.pragma_update(None, "synchronous", "FULL")?;
            let result = transact_unless_refused(db, change);
            db.pragma_update(None, "synchronous", "NORMAL")?;
            result
        };
        run(held).map_err(|e| self.failed(e))
    }
}

fn data_version(db: &Connection) -> rusqlite::Result<i64> {
    db.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}

/// Takes room for more rows and bytes, or gives some back where they are negative; tells what is in use then.
fn take_room(tx: &Connection, what: &str, used: i64, bytes: i64) -> rusqlite::Result<(i64, i64)> {
    tx.prepare_cached(
        "INSERT INTO room (what, used, bytes, forgotten) VALUES (?1, max(?2, 0), max(?3, 0), -1)
         ON CONFLICT (what) DO UPDATE SET used = max(used + ?2, 0), bytes = max(bytes + ?3, 0)
         RETURNING used, bytes",
    )?
    .query_row(params![what, used, bytes], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Remembers that what ended at `until` has been forgotten.
fn forget(tx: &Connection, what: &str, until: i64) -> rusqlite::Result<()> {
    tx.prepare_cached("UPDATE room SET forgotten = max(forgotten, ?2) WHERE what = ?1")?
        .execute(params![what, until])?;
    Ok(())
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn seconds(until: Option<u64>) -> Option<i64> {
    until.map(column)
}

/// Text of our own writing that no longer reads as what it was.
fn corrupt(what: &'static str, id: &str, why: impl ToString) -> StoreError {
    StoreError::Corrupt { what, id: id.to_owned(), why: why.to_string() }
}
