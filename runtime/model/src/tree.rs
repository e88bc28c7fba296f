//! A tree of files by content: directories are blocks that name their entries by id, so one id names all of it.

use crate::{BlobId, codec, codec::DecodeError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One directory: its entries by name, in the order of their bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    /// The entries.
    pub entries: BTreeMap<String, Entry>,
}

/// What a name in a directory stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// A file: the id of its bytes, and how many they are.
    File(BlobId, u64),
    /// A directory: the id of its encoded [`Directory`].
    Directory(BlobId),
}

impl Directory {
    /// The largest encoded directory accepted, in bytes: 1 MiB, some ten thousand entries.
    pub const MAX_BYTES: usize = 1 << 20;
    /// The largest file accepted, in bytes: 16 MiB.
    pub const MAX_FILE_BYTES: u64 = 16 << 20;
    /// The longest name, in bytes.
    pub const MAX_NAME_BYTES: usize = 255;

    /// Its canonical bytes; the id of a tree is that of its root directory's.
    pub fn bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Its id.
    pub fn id(&self) -> BlobId {
        BlobId::of(&self.bytes())
    }

    /// Reads a directory and refuses names no file system has.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let directory: Self = codec::decode(bytes, Self::MAX_BYTES)?;
        for (name, entry) in &directory.entries {
            check_name(name).map_err(DecodeError::Invalid)?;
            if let Entry::File(_, bytes) = entry
                && *bytes > Self::MAX_FILE_BYTES
            {
                let limit = Self::MAX_FILE_BYTES;
                return Err(DecodeError::Invalid(format!("{name:?} has {bytes} bytes; {limit} are allowed")));
            }
        }
        Ok(directory)
    }
}

/// Checks a name: not empty, `.` or `..`, and without `/`, `\` and control characters.
pub fn check_name(name: &str) -> Result<(), String> {
    let bad = name.is_empty()
        || name.len() > Directory::MAX_NAME_BYTES
        || matches!(name, "." | "..")
        || name.chars().any(|c| matches!(c, '/' | '\\') || c.is_control());
    if bad { Err(format!("{name:?} is not a file's name")) } else { Ok(()) }
}
