//! Components on their way: what of them was verified lies in a file, and is not fetched again after a restart.
//!
//! `<home>/store/partial/<component>.<8 bytes of the manifest's digest>` has the component's bytes, each chunk in its
//! place, and behind them a bit for each chunk that was verified. Nothing of it is synced while it grows: a bit that a
//! killed process left is true, since the chunk was written before it, and what a power cut left is not believed either
//! way, because every chunk with a bit is verified again when the file is opened. That costs a digest of what is there
//! (0.1 s for the largest component), once a restart; a sync for each chunk would cost more than fetching it.
//!
//! The name has the manifest too, so that somebody's false manifest of a component does not spoil the true one's file.

use crate::{Store, StoreError, blobs::MAX_BLOB_BYTES, content::Shelf, db};
use actum_model::{
    ComponentId,
    id::sha256,
    release::{CHUNK_BYTES, manifest},
};
use serde_bytes::ByteArray;
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File, TryLockError},
    io::{ErrorKind, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The most components on their way kept: 16. When full, the one that grew longest ago makes room.
pub const MAX_PARTIALS: usize = 16;
/// What they may take together, in bytes: 256 MiB, four of the largest components.
pub const MAX_PARTIAL_BYTES: u64 = 256 << 20;
/// A component that has not grown for this long is given up, in seconds: a day.
pub const PARTIAL_STALE_SECONDS: u64 = 86_400;

/// A component on its way. Held by one at a time, in all processes; what was put stays when it is dropped.
#[derive(Debug)]
pub struct Partial {
    component: ComponentId,
    bytes: u64,
    digests: Vec<ByteArray<32>>,
    verified: Vec<bool>,
    path: PathBuf,
    file: File,
    /// The digest of the whole as far as chunks came in order, and how many that are.
    whole: Sha256,
    hashed: usize,
}

/// What became of asking for a component's partial file.
#[derive(Debug)]
pub enum Opened {
    /// It is the caller's.
    Ours(Box<Partial>),
    /// Somebody else is fetching the component, in this process or another.
    Taken,
}

/// What became of a whole component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// It is kept as a component, on the disk.
    Kept,
    /// Every chunk is as its manifest says, and together they are not the component: the manifest is false. Nothing was
    /// kept.
    NotTheComponent,
}

impl Store {
    /// Opens or begins the partial file of a component of `bytes` bytes, whose chunks have these digests. What was
    /// verified before is verified again.
    ///
    /// Makes room by giving up others that nobody holds; [`StoreError::Full`] when all are held. A size that these are
    /// not the chunks of is [`StoreError::Mismatch`].
    pub fn partial(
        &self,
        component: ComponentId,
        bytes: u64,
        digests: &[ByteArray<32>],
    ) -> Result<Opened, StoreError> {
        let size = usize::try_from(bytes).unwrap_or(usize::MAX);
        if size > MAX_BLOB_BYTES {
            return Err(StoreError::TooLarge { what: "component", actual: size, limit: MAX_BLOB_BYTES });
        }
        if size == 0 || digests.len() != size.div_ceil(CHUNK_BYTES) {
            let (wanted, got) = (format!("that of {size} bytes"), format!("{} chunks", digests.len()));
            return Err(StoreError::Mismatch { what: "manifest", wanted, got });
        }
        let dir = self.files().partial();
        let sum = sha256(&manifest(digests));
        let tag: String = sum.iter().take(8).map(|b| format!("{b:02x}")).collect();
        let path = dir.join(format!("{component}.{tag}"));
        // Held while files are opened and removed, so that nobody locks a file that is just being removed.
        let door = db::lock(dir)?;
        let fresh = !path.exists();
        if fresh {
            make_room(dir, bytes)?;
        }
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(StoreError::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Opened::Taken),
            Err(TryLockError::Error(e)) => return Err(StoreError::io("lock", path)(e)),
        }
        let mut partial = Partial {
            component,
            bytes,
            verified: vec![false; digests.len()],
            digests: digests.to_vec(),
            path,
            file,
            whole: Sha256::new(),
            hashed: 0,
        };
        // Only ours from here on.
        drop(door);
        let length = bytes.saturating_add(partial.map_bytes());
        let sized =
            partial.file.metadata().map(|m| m.len()).map_err(StoreError::io("read", &partial.path))?;
        if sized == length {
            partial.verify_again()?;
        } else {
            let clear = |file: &File| file.set_len(0).and_then(|()| file.set_len(length));
            clear(&partial.file).map_err(StoreError::io("size", &partial.path))?;
        }
        Ok(Opened::Ours(Box::new(partial)))
    }

    /// Gives up components on their way that have not grown since a day before `now` (seconds since the Unix epoch), but
    /// none that somebody holds. Returns how many.
    pub fn sweep_partials(&self, now: u64) -> Result<usize, StoreError> {
        let dir = self.files().partial();
        let stale = Duration::from_secs(now.saturating_sub(PARTIAL_STALE_SECONDS));
        let Some(stale) = UNIX_EPOCH.checked_add(stale) else { return Ok(0) };
        let _door = db::lock(dir)?;
        let mut given_up = 0;
        for found in found(dir)?.into_iter().filter(|f| f.grew < stale) {
            given_up += usize::from(found.give_up());
        }
        Ok(given_up)
    }
}

/// A partial file as the directory has it.
struct Found {
    path: PathBuf,
    grew: SystemTime,
    bytes: u64,
}

impl Found {
    /// Removes it, unless somebody holds it. Only with the directory's lock held.
    fn give_up(&self) -> bool {
        let held = File::open(&self.path).map(|file| file.try_lock().is_err()).unwrap_or(true);
        !held && fs::remove_file(&self.path).is_ok()
    }
}

/// The partial files there are, those that grew longest ago first.
fn found(dir: &Path) -> Result<Vec<Found>, StoreError> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).map_err(StoreError::io("list", dir))? {
        let entry = entry.map_err(StoreError::io("list", dir))?;
        if entry.file_name() == db::LOCK {
            continue;
        }
        // One that was finished meanwhile is no longer there.
        let Ok(meta) = entry.metadata() else { continue };
        let grew = meta.modified().unwrap_or(UNIX_EPOCH);
        all.push(Found { path: entry.path(), grew, bytes: meta.len() });
    }
    all.sort_by(|a, b| (a.grew, &a.path).cmp(&(b.grew, &b.path)));
    Ok(all)
}

/// Gives up what grew longest ago until one of `bytes` more fits.
fn make_room(dir: &Path, bytes: u64) -> Result<(), StoreError> {
    let all = found(dir)?;
    let mut files = all.len();
    let mut total = all.iter().fold(bytes, |sum, f| sum.saturating_add(f.bytes));
    for one in &all {
        if files < MAX_PARTIALS && total <= MAX_PARTIAL_BYTES {
            break;
        }
        if one.give_up() {
            files = files.saturating_sub(1);
            total = total.saturating_sub(one.bytes);
        }
    }
    match files < MAX_PARTIALS && total <= MAX_PARTIAL_BYTES {
        true => Ok(()),
        false => Err(StoreError::Full { what: "components on their way", limit: MAX_PARTIALS }),
    }
}

impl Partial {
    /// Bytes of the bits behind the component.
    fn map_bytes(&self) -> u64 {
        self.digests.len().div_ceil(8) as u64
    }

    fn fails(&self, doing: &'static str) -> impl FnOnce(std::io::Error) -> StoreError {
        StoreError::io(doing, &self.path)
    }

    fn read_at(&mut self, offset: u64, limit: u64) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::with_capacity(usize::try_from(limit).unwrap_or(0));
        let mut read = || {
            self.file.seek(SeekFrom::Start(offset))?;
            (&self.file).take(limit).read_to_end(&mut bytes)
        };
        read().map_err(StoreError::io("read", &self.path))?;
        Ok(bytes)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let mut write = || {
            self.file.seek(SeekFrom::Start(offset))?;
            self.file.write_all(bytes)
        };
        write().map_err(StoreError::io("write", &self.path))
    }

    fn chunk(&mut self, index: usize) -> Result<Vec<u8>, StoreError> {
        let offset = (index as u64).saturating_mul(CHUNK_BYTES as u64);
        self.read_at(offset, self.bytes.saturating_sub(offset).min(CHUNK_BYTES as u64))
    }

    /// Believes the bits whose chunks are what they should be, and clears the others.
    fn verify_again(&mut self) -> Result<(), StoreError> {
        let map = self.read_at(self.bytes, self.map_bytes())?;
        let said = |index: usize| map.get(index / 8).is_some_and(|byte| byte & (1 << (index % 8)) != 0);
        for index in (0..self.digests.len()).filter(|index| said(*index)) {
            let chunk = self.chunk(index)?;
            let right = self.digests.get(index).is_some_and(|wanted| **wanted == sha256(&chunk));
            if let Some(place) = self.verified.get_mut(index) {
                *place = right;
            }
            if right && index == self.hashed {
                self.whole.update(&chunk);
                self.hashed += 1;
            }
        }
        Ok(())
    }

    /// The component.
    pub fn component(&self) -> ComponentId {
        self.component
    }

    /// Whether each chunk is here, verified.
    pub fn verified(&self) -> &[bool] {
        &self.verified
    }

    /// Keeps a chunk. One that is not what the manifest says is [`StoreError::Mismatch`], and nothing is written.
    pub fn put(&mut self, index: u32, chunk: &[u8]) -> Result<(), StoreError> {
        let place = index as usize;
        if self.digests.get(place).is_none_or(|wanted| **wanted != sha256(chunk)) {
            let (wanted, got) = (format!("chunk {index}"), format!("{} other bytes", chunk.len()));
            return Err(StoreError::Mismatch { what: "chunk", wanted, got });
        }
        if self.verified.get(place) == Some(&true) {
            return Ok(());
        }
        self.write_at(u64::from(index).saturating_mul(CHUNK_BYTES as u64), chunk)?;
        if let Some(here) = self.verified.get_mut(place) {
            *here = true;
        }
        let byte = self.verified.chunks(8).nth(place / 8).unwrap_or_default();
        let bits = byte.iter().enumerate().fold(0, |bits, (bit, here)| bits | (u8::from(*here) << bit));
        self.write_at(self.bytes.saturating_add(place as u64 / 8), &[bits])?;
        if place == self.hashed {
            self.whole.update(chunk);
            self.hashed += 1;
        }
        Ok(())
    }

    /// Keeps the whole as a component, if that is what it is. Only once every chunk is here; else [`StoreError::Mismatch`].
    ///
    /// On return the component survives a power cut.
    pub fn finish(mut self, store: &Store) -> Result<Finished, StoreError> {
        if let Some(missing) = self.verified.iter().position(|here| !here) {
            let (wanted, got) = ("every chunk".to_owned(), format!("none at {missing}"));
            return Err(StoreError::Mismatch { what: "component", wanted, got });
        }
        // Those that came out of order.
        while self.hashed < self.digests.len() {
            let chunk = self.chunk(self.hashed)?;
            self.whole.update(&chunk);
            self.hashed += 1;
        }
        let digest = std::mem::take(&mut self.whole).finalize();
        if *digest != *self.component.digest() {
            let removed = fs::remove_file(&self.path);
            removed.map_err(self.fails("remove"))?;
            return Ok(Finished::NotTheComponent);
        }
        self.file.set_len(self.bytes).map_err(self.fails("size"))?;
        self.file.sync_all().map_err(self.fails("sync"))?;
        // Whoever has it open already has not locked it: the door is held for both.
        let _door = db::lock(store.files().partial())?;
        store.files().take_in(Shelf::Components, &self.component.to_string(), &self.path)?;
        Ok(Finished::Kept)
    }

    /// Gives it up: nothing of it stays.
    pub fn discard(self) -> Result<(), StoreError> {
        match fs::remove_file(&self.path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(self.fails("remove")(e)),
            _ => Ok(()),
        }
    }
}
