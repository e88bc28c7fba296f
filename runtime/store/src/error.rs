//! Why the store could not do what was asked: each remedy has its own variant.

use std::{io, path::PathBuf};

/// Why the store refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was being done, as a verb.
        doing: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The database refused for another reason than those below, e.g. a full disk.
    #[error("the database {} failed: {source}", path.display())]
    Database {
        /// The database file.
        path: PathBuf,
        /// SQLite's answer.
        source: rusqlite::Error,
    },
    /// Another process kept the database locked for the whole of [`crate::BUSY_TIMEOUT`]. Trying again may succeed.
    #[error("another process has kept {} locked for {} seconds; try again", path.display(), crate::BUSY_TIMEOUT.as_secs())]
    Busy {
        /// The locked file.
        path: PathBuf,
    },
    /// A later Actum wrote this store. Nothing was changed.
    #[error("{} was written by a newer Actum (schema {found}; this one knows {known}): upgrade Actum, or name another home", path.display())]
    NewerVersion {
        /// The database file.
        path: PathBuf,
        /// The schema version found.
        found: i64,
        /// The newest schema version this build knows.
        known: i64,
    },
    /// The database belongs to another program.
    #[error("{} is not an Actum store; name another home", path.display())]
    NotAStore {
        /// The database file.
        path: PathBuf,
    },
    /// What is on disk is not what was written: a blob or envelope that no longer matches its id, a row whose blob is
    /// gone, or a damaged database.
    #[error("the stored {what} {id} is damaged: {why}")]
    Corrupt {
        /// What kind of thing is damaged.
        what: &'static str,
        /// Which one: its id, or the path of the database.
        id: String,
        /// How the damage showed.
        why: String,
    },
    /// More bytes than this kind of thing may have. Nothing was written.
    #[error("the {what} has {actual} bytes; at most {limit} are kept")]
    TooLarge {
        /// What kind of thing.
        what: &'static str,
        /// Bytes offered.
        actual: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// As many of these as are kept. Nothing was written.
    #[error("full: at most {limit} {what} are kept")]
    Full {
        /// What kind of thing, and of whom.
        what: &'static str,
        /// How many are kept, or how many bytes of them where `what` says so.
        limit: usize,
    },
    /// Not a name that a key can have here. Nothing was written.
    #[error(
        "{name:?} is not a name: 1 to {} letters, digits, '-', '_' or '.', the first a letter or digit",
        crate::MAX_NAME_BYTES
    )]
    BadName {
        /// The name as given, its first 80 characters.
        name: String,
    },
    /// The name is another key's. Nothing was written.
    #[error("the name {name} is {did}'s already; remove it first")]
    NameTaken {
        /// The name as it is kept.
        name: String,
        /// Whose it is.
        did: String,
    },
    /// The evidence given with a receipt is not the evidence it names, or an offer's two halves have two providers.
    /// Nothing was written.
    #[error("the {what} given is not the one named: wanted {wanted}, got {got}")]
    Mismatch {
        /// Which part.
        what: &'static str,
        /// What the receipt or descriptor names.
        wanted: String,
        /// What was given.
        got: String,
    },
    /// A short id that begins or ends several ids.
    #[error("{prefix:?} begins or ends several ids: {}", matches.join(", "))]
    Ambiguous {
        /// The short id as typed.
        prefix: String,
        /// Ids it may mean: the first eight, newest first.
        matches: Vec<String>,
    },
}

impl StoreError {
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}
