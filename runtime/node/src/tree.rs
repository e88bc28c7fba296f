//! A directory of this machine as a tree by content: what `files` grants.
//!
//! The whole directory is looked over before anything is stored, so that a refusal leaves nothing behind. The id follows
//! from names and bytes alone: neither times nor owners nor the order a file system tells its names in are in it.

use actum_model::BlobId;
use actum_model::tree::{Directory, Entry, check_name};
use actum_store::{Store, StoreError};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The most bytes of all files of a tree: 256 MiB. Bounds what one mistyped path puts into the store.
pub const MAX_BYTES: u64 = 256 << 20;
/// The most files and directories of a tree, its root apart: 10,000.
pub const MAX_ENTRIES: usize = 10_000;
/// The most directories that may lie in each other, the root included: 32.
pub const MAX_DEPTH: usize = 32;

/// Why a directory is no tree. Nothing was stored, unless it changed meanwhile or the store failed.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The machine refused.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file or directory.
        path: PathBuf,
        /// The machine's answer.
        source: io::Error,
    },
    /// Something else than a directory was named.
    #[error("{} is not a directory; name the directory that holds it", path.display())]
    NotADirectory {
        /// What was named.
        path: PathBuf,
    },
    /// A symbolic link: a tree holds no way out of itself.
    #[error("{} is a symbolic link, which a tree cannot hold; put what it points to in its place, or leave it out", path.display())]
    Symlink {
        /// The link.
        path: PathBuf,
    },
    /// A device, a pipe or a socket.
    #[error("{} is neither a file nor a directory; leave it out", path.display())]
    Special {
        /// Which one.
        path: PathBuf,
    },
    /// A name that a guest could not spell.
    #[error("the name of {} is not UTF-8; rename it, or leave it out", path.display())]
    NotUtf8 {
        /// Which one, as far as it can be shown.
        path: PathBuf,
    },
    /// A name that no tree holds: one with a backslash or a control character.
    #[error("{} cannot stand in a tree: {why}; rename it, or leave it out", path.display())]
    Name {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A file over [`Directory::MAX_FILE_BYTES`].
    #[error("{} has {bytes} bytes; a file of a tree has at most {}; split it, or leave it out", path.display(), Directory::MAX_FILE_BYTES)]
    FileTooLarge {
        /// Which one.
        path: PathBuf,
        /// How many it has.
        bytes: u64,
    },
    /// More names in one directory than its encoding holds.
    #[error("{} has too many names: {bytes} bytes of them, and {} are allowed; divide it", path.display(), Directory::MAX_BYTES)]
    DirectoryTooLarge {
        /// Which one.
        path: PathBuf,
        /// The size of its encoding.
        bytes: usize,
    },
    /// More than [`MAX_BYTES`].
    #[error("{} has more than {MAX_BYTES} bytes; name a smaller directory", path.display())]
    TooManyBytes {
        /// The root.
        path: PathBuf,
    },
    /// More than [`MAX_ENTRIES`].
    #[error("{} has more than {MAX_ENTRIES} files and directories; name a smaller directory", path.display())]
    TooManyEntries {
        /// The root.
        path: PathBuf,
    },
    /// Deeper than [`MAX_DEPTH`].
    #[error("{} is more than {MAX_DEPTH} directories deep; name a flatter directory", path.display())]
    TooDeep {
        /// The first that is too deep.
        path: PathBuf,
    },
    /// A file has another size than a moment before.
    #[error("{} changed while it was read; try again", path.display())]
    Changed {
        /// Which one.
        path: PathBuf,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Keeps a directory and everything below it as a tree; gives the tree's id. The same content has the same id.
///
/// # Errors
/// [`TreeError`], naming what cannot be in a tree and what to do about it.
pub fn import(store: &Store, path: &Path) -> Result<BlobId, TreeError> {
    let metadata = fs::metadata(path).map_err(read(path))?;
    if !metadata.is_dir() {
        return Err(TreeError::NotADirectory { path: path.to_owned() });
    }
    let mut survey = Survey { root: path, entries: 0, bytes: 0 };
    let found = survey.directory(path, 1)?;
    keep(store, path, &found)
}

fn read(path: &Path) -> impl FnOnce(io::Error) -> TreeError {
    let path = path.to_owned();
    move |source| TreeError::Read { path, source }
}

/// What a directory holds, before any of it is stored.
type Found = BTreeMap<String, Item>;

enum Item {
    File(u64),
    Directory(Found),
}

/// Looks a directory over and refuses what cannot be in a tree.
struct Survey<'a> {
    root: &'a Path,
    entries: usize,
    bytes: u64,
}

impl Survey<'_> {
    fn directory(&mut self, path: &Path, depth: usize) -> Result<Found, TreeError> {
        if depth > MAX_DEPTH {
            return Err(TreeError::TooDeep { path: path.to_owned() });
        }
        let mut found = Found::new();
        for entry in fs::read_dir(path).map_err(read(path))? {
            let entry = entry.map_err(read(path))?;
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(TreeError::TooManyEntries { path: self.root.to_owned() });
            }
            let path = entry.path();
            let name = name(&path, entry.file_name())?;
            found.insert(name, self.item(&path, depth)?);
        }
        Ok(found)
    }

    fn item(&mut self, path: &Path, depth: usize) -> Result<Item, TreeError> {
        let metadata = fs::symlink_metadata(path).map_err(read(path))?;
        let kind = metadata.file_type();
        let path_owned = || path.to_owned();
        if kind.is_symlink() {
            return Err(TreeError::Symlink { path: path_owned() });
        }
        if kind.is_dir() {
            return Ok(Item::Directory(self.directory(path, depth + 1)?));
        }
        if !kind.is_file() {
            return Err(TreeError::Special { path: path_owned() });
        }
        let bytes = metadata.len();
        if bytes > Directory::MAX_FILE_BYTES {
            return Err(TreeError::FileTooLarge { path: path_owned(), bytes });
        }
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > MAX_BYTES {
            return Err(TreeError::TooManyBytes { path: self.root.to_owned() });
        }
        Ok(Item::File(bytes))
    }
}

fn name(path: &Path, name: OsString) -> Result<String, TreeError> {
    let name = name.into_string().map_err(|_| TreeError::NotUtf8 { path: path.to_owned() })?;
    check_name(&name).map_err(|why| TreeError::Name { path: path.to_owned(), why })?;
    Ok(name)
}

/// Stores what was found, files before the directories that name them.
fn keep(store: &Store, path: &Path, found: &Found) -> Result<BlobId, TreeError> {
    let mut directory = Directory::default();
    for (name, item) in found {
        let path = path.join(name);
        let entry = match item {
            Item::File(size) => {
                let bytes = content(&path, *size)?;
                Entry::File(store.put_blob(&bytes)?, *size)
            }
            Item::Directory(found) => Entry::Directory(keep(store, &path, found)?),
        };
        directory.entries.insert(name.clone(), entry);
    }
    let bytes = directory.bytes();
    if bytes.len() > Directory::MAX_BYTES {
        return Err(TreeError::DirectoryTooLarge { path: path.to_owned(), bytes: bytes.len() });
    }
    Ok(store.put_blob(&bytes)?)
}

/// A file's bytes, as many as it had when it was looked at.
fn content(path: &Path, size: u64) -> Result<Vec<u8>, TreeError> {
    let file = File::open(path).map_err(read(path))?;
    let mut bytes = Vec::new();
    file.take(size.saturating_add(1)).read_to_end(&mut bytes).map_err(read(path))?;
    if u64::try_from(bytes.len()) != Ok(size) {
        return Err(TreeError::Changed { path: path.to_owned() });
    }
    Ok(bytes)
}
