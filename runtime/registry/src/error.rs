//! Why a registry does not do what it was asked to.

use actum_discovery::Refused;
use std::path::PathBuf;

/// Why a registry failed, or refused a statement.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The statement was refused; the registry is as it was.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The directory cannot be made, read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process has the directory open. It has one owner at a time.
    #[error("another process uses the registry in {}", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The database of statements failed. Opening the directory again rebuilds it where it is damaged.
    #[error("the registry's statements: {0}")]
    Store(#[from] rusqlite::Error),
    /// The index of words failed. Opening the directory again rebuilds it where it is damaged.
    #[error("the registry's index: {0}")]
    Index(#[from] tantivy::TantivyError),
}

impl RegistryError {
    /// The stable code, as on wires and in metrics: a refusal's own, else what failed.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(why) => why.code(),
            Self::Io { .. } => "io",
            Self::InUse { .. } => "in-use",
            Self::Store(_) => "store",
            Self::Index(_) => "index",
        }
    }
}

/// What was found damaged when the directory was opened, and done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The statements could not be read back; the registry begins empty, its epoch goes on.
    Statements {
        /// What was wrong.
        why: String,
    },
    /// The words could not be read back; they were indexed again from the statements.
    Words {
        /// What was wrong.
        why: String,
    },
}
