//! Bytes found by their digest: blobs and, apart from them, components. Small blobs are rows, everything else is a
//! file; both are verified when read.

use crate::{ContentId, Store, StoreError, content::Shelf, db};
use actum_model::{BlobId, ComponentId};
use rusqlite::{Connection, OptionalExtension, params};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{ErrorKind, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

/// The largest blob or component kept, in bytes: 64 MiB. Bounds the memory one read takes.
pub const MAX_BLOB_BYTES: usize = 64 << 20;

/// The largest blob kept as a row, in bytes: 16 KiB. It commits with the receipt that names it, without syncs of its own.
pub const INLINE_BYTES: usize = 16 << 10;

/// How old a file in `tmp/` must be before it counts as left behind, in seconds: a day.
const STALE_SECONDS: u64 = 86_400;

/// The directories of what is kept as files.
#[derive(Debug)]
pub(crate) struct Files {
    blobs: PathBuf,
    components: PathBuf,
    partial: PathBuf,
    tmp: PathBuf,
}

/// Directories with a new name in them, to be synced before the names are relied on.
#[derive(Default)]
pub(crate) struct Unsynced(BTreeSet<PathBuf>);

impl Files {
    pub(crate) fn open(store: &Path) -> Result<Self, StoreError> {
        let [blobs, components, partial, tmp] =
            ["blobs", "components", "partial", "tmp"].map(|name| store.join(name));
        let files = Self { blobs, components, partial, tmp };
        for dir in [&files.blobs, &files.components, &files.partial, &files.tmp] {
            db::create_dir(dir)?;
        }
        Ok(files)
    }

    fn root(&self, shelf: Shelf) -> &Path {
        match shelf {
            Shelf::Blobs => &self.blobs,
            Shelf::Components => &self.components,
        }
    }

    fn shard(&self, shelf: Shelf, cid: &str) -> PathBuf {
        self.root(shelf).join(cid.get(cid.len().saturating_sub(2)..).unwrap_or_default())
    }

    /// Writes a file. It is durable once `unsynced` was synced.
    fn write(
        &self,
        shelf: Shelf,
        cid: &str,
        bytes: &[u8],
        unsynced: &mut Unsynced,
    ) -> Result<(), StoreError> {
        let shard = self.shard(shelf, cid);
        let path = shard.join(cid);
        // Present already, by this or another process: its name may not be on the disk yet. Present but damaged: replaced.
        if self.read(shelf, cid)?.is_none_or(|found| found != bytes) {
            if !shard.is_dir() {
                db::create_dir(&shard)?;
                unsynced.0.insert(self.root(shelf).to_owned());
            }
            let mut file = tempfile::NamedTempFile::new_in(&self.tmp)
                .map_err(StoreError::io("create a file in", &self.tmp))?;
            file.write_all(bytes).map_err(StoreError::io("write", file.path()))?;
            file.as_file().sync_all().map_err(StoreError::io("sync", file.path()))?;
            file.persist(&path).map_err(|e| StoreError::io("rename to", &path)(e.error))?;
        }
        unsynced.0.insert(shard);
        Ok(())
    }

    /// Where components on their way lie.
    pub(crate) fn partial(&self) -> &Path {
        &self.partial
    }

    /// Makes a file that lies elsewhere in the store, whole and synced, the file of that id. Durable on return.
    pub(crate) fn take_in(&self, shelf: Shelf, cid: &str, from: &Path) -> Result<(), StoreError> {
        let shard = self.shard(shelf, cid);
        let mut unsynced = Unsynced::default();
        if !shard.is_dir() {
            db::create_dir(&shard)?;
            unsynced.0.insert(self.root(shelf).to_owned());
        }
        let path = shard.join(cid);
        fs::rename(from, &path).map_err(StoreError::io("rename to", path))?;
        unsynced.0.insert(shard);
        Self::sync(unsynced)
    }

    fn sync(unsynced: Unsynced) -> Result<(), StoreError> {
        // Elsewhere than on Unix a directory cannot be opened as a file, and the rename is journalled by the file system.
        if cfg!(unix) {
            for dir in unsynced.0 {
                File::open(&dir).and_then(|d| d.sync_all()).map_err(StoreError::io("sync", &dir))?;
            }
        }
        Ok(())
    }

    /// The bytes of a file as they are, unverified; at most one more than a blob may have.
    fn read(&self, shelf: Shelf, cid: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_range(shelf, cid, 0, MAX_BLOB_BYTES as u64 + 1)
    }

    /// At most `limit` bytes of a file from `offset` on, as they are, unverified; none past its end.
    fn read_range(
        &self,
        shelf: Shelf,
        cid: &str,
        offset: u64,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.shard(shelf, cid).join(cid);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(StoreError::io("open", path)(e)),
        };
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(offset))
            .and_then(|_| file.take(limit).read_to_end(&mut bytes))
            .map_err(StoreError::io("read", path))?;
        Ok(Some(bytes))
    }
}

impl Store {
    /// Keeps bytes and gives their id. Keeping the same bytes again is free, and mends a damaged copy.
    ///
    /// Refuses more than [`MAX_BLOB_BYTES`]. On return the bytes survive a power cut.
    pub fn put<I: ContentId>(&self, bytes: &[u8]) -> Result<I, StoreError> {
        let id = I::of(bytes);
        self.put_files(I::SHELF, &[(I::KIND, id.text(), bytes)])?;
        if is_row(I::SHELF, bytes) {
            self.write(|tx| put_row(tx, &id.text(), bytes))?;
        }
        Ok(id)
    }

    /// The bytes an id names, verified; `None` when they are not here.
    ///
    /// Bytes that no longer match their id are [`StoreError::Corrupt`].
    pub fn get<I: ContentId>(&self, id: &I) -> Result<Option<Vec<u8>>, StoreError> {
        let text = id.text();
        let row = match I::SHELF {
            Shelf::Components => None,
            Shelf::Blobs => self.read(|db| {
                db.prepare_cached("SELECT bytes FROM blobs WHERE id = ?1")?
                    .query_row([&text], |row| row.get(0))
                    .optional()
            })?,
        };
        let found: Option<Vec<u8>> = match row {
            Some(bytes) => Some(bytes),
            None => self.files().read(I::SHELF, &text)?,
        };
        match found {
            Some(bytes) if !id.names(&bytes) => Err(StoreError::Corrupt {
                what: I::KIND,
                id: text,
                why: format!("its {} bytes have another digest", bytes.len()),
            }),
            other => Ok(other),
        }
    }

    /// Whether bytes of that id are here; they are verified only when read.
    pub fn has<I: ContentId>(&self, id: &I) -> Result<bool, StoreError> {
        let text = id.text();
        let row = match I::SHELF {
            Shelf::Components => false,
            Shelf::Blobs => self.read(|db| {
                db.prepare_cached("SELECT EXISTS(SELECT 1 FROM blobs WHERE id = ?1)")?
                    .query_row([&text], |row| row.get(0))
            })?,
        };
        Ok(row || self.files().shard(I::SHELF, &text).join(&text).is_file())
    }

    /// Keeps arguments, an output or captured stdio. As [`Store::put`].
    pub fn put_blob(&self, bytes: &[u8]) -> Result<BlobId, StoreError> {
        self.put(bytes)
    }

    /// Keeps a component's binary, apart from every blob: a blob of the same bytes is another entry. As [`Store::put`].
    pub fn put_component(&self, bytes: &[u8]) -> Result<ComponentId, StoreError> {
        self.put(bytes)
    }

    /// A component's binary, if it was kept as a component; arguments, outputs and stdio are never found here. As
    /// [`Store::get`].
    pub fn component(&self, id: &ComponentId) -> Result<Option<Vec<u8>>, StoreError> {
        self.get(id)
    }

    /// Whether a component is here. As [`Store::has`].
    pub fn has_component(&self, id: &ComponentId) -> Result<bool, StoreError> {
        self.has(id)
    }

    /// The `index`th piece of `chunk_bytes` bytes of a component, the last one shorter; `None` when the component is not
    /// here or has no such piece.
    ///
    /// Only the piece is read, so it is not verified: whoever knows its digest compares.
    pub fn component_chunk(
        &self,
        id: &ComponentId,
        index: u32,
        chunk_bytes: usize,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let limit = chunk_bytes.min(MAX_BLOB_BYTES) as u64;
        let offset = u64::from(index).saturating_mul(limit);
        if offset >= MAX_BLOB_BYTES as u64 {
            return Ok(None);
        }
        let read = self.files().read_range(Shelf::Components, &id.to_string(), offset, limit)?;
        Ok(read.filter(|bytes| !bytes.is_empty()))
    }

    /// Removes files that a crash left half-written more than a day before `now` (seconds since the Unix epoch).
    /// Returns how many. A file that a running process is writing is younger and stays. Components on their way are swept
    /// too, as [`Store::sweep_partials`] has it.
    pub fn sweep_temporary(&self, now: u64) -> Result<usize, StoreError> {
        let tmp = &self.files().tmp;
        let Some(stale) = UNIX_EPOCH.checked_add(Duration::from_secs(now.saturating_sub(STALE_SECONDS)))
        else {
            return Ok(0);
        };
        let mut removed = self.sweep_partials(now)?;
        for entry in fs::read_dir(tmp).map_err(StoreError::io("list", tmp))? {
            let entry = entry.map_err(StoreError::io("list", tmp))?;
            let modified = entry.metadata().and_then(|m| m.modified());
            if modified.is_ok_and(|at| at < stale) && fs::remove_file(entry.path()).is_ok() {
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Checks sizes and writes the parts that are too large to be rows, durably. First of the two steps of every put.
    pub(crate) fn put_files(
        &self,
        shelf: Shelf,
        parts: &[(&'static str, String, &[u8])],
    ) -> Result<(), StoreError> {
        if let Some((what, _, bytes)) = parts.iter().find(|(_, _, b)| b.len() > MAX_BLOB_BYTES) {
            return Err(StoreError::TooLarge { what, actual: bytes.len(), limit: MAX_BLOB_BYTES });
        }
        let mut unsynced = Unsynced::default();
        for (_, cid, bytes) in parts.iter().filter(|(_, _, b)| !is_row(shelf, b)) {
            self.files().write(shelf, cid, bytes, &mut unsynced)?;
        }
        Files::sync(unsynced)
    }
}

/// Whether these bytes are kept as a row rather than a file.
pub(crate) fn is_row(shelf: Shelf, bytes: &[u8]) -> bool {
    shelf == Shelf::Blobs && bytes.len() <= INLINE_BYTES
}

/// Writes a small blob as a row, inside the transaction that needs it. A damaged row is mended.
pub(crate) fn put_row(tx: &Connection, cid: &str, bytes: &[u8]) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO blobs (id, bytes) VALUES (?1, ?2)
         ON CONFLICT (id) DO UPDATE SET bytes = excluded.bytes WHERE bytes <> excluded.bytes",
    )?
    .execute(params![cid, bytes])?;
    Ok(())
}
