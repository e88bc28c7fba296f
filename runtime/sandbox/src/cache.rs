//! The compile cache: compiled components on disk, believed only with a tag that nobody without the key can make.
//!
//! ```text
//! <dir>/<compatibility, 32 hex digits>/<component id>
//!     8 bytes    "actumcc1"
//!     32 bytes   HMAC-SHA-256 over what the file is (see below) and the rest of it
//!     the rest   the machine code, as the engine serialises it
//! ```
//! The compatibility is the digest of the profile and of everything the engine says its compiler depends on: its release,
//! the machine's features, every setting. The tag covers it, the component's id and the code, so that a valid file under
//! another name is not believed either. A file that is not believed is compiled again and replaced. Writing is one
//! rename; nothing is synced, since a torn file is one that is not believed. All of it is safe to delete.

mod thaw;

use crate::error::SandboxError;
use actum_model::{ComponentId, ProfileId};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use std::{fmt, process};
use wasmtime::Engine;
use wasmtime::component::Component;

/// What a file begins with: the format and its version.
const MAGIC: &[u8; 8] = b"actumcc1";
/// Bytes of the tag.
const TAG: usize = 32;
/// Bytes before the code.
const HEADER: usize = MAGIC.len() + TAG;

/// Where compiled components are kept between processes.
#[derive(Clone, Debug)]
pub struct CompileCache {
    /// The directory, made if need be.
    pub dir: PathBuf,
    /// What makes the files believable. Whoever has it can have the host run any machine code; whoever can only write to
    /// the directory cannot.
    pub key: CacheKey,
    /// Bytes of all files together; the oldest are removed first. Default 2 GiB, some fifty of the largest components.
    pub most_bytes: u64,
}

impl CompileCache {
    /// The default of [`Self::most_bytes`]: 2 GiB.
    pub const MOST_BYTES: u64 = 2 << 30;

    /// A cache of the default size.
    pub fn new(dir: PathBuf, key: CacheKey) -> Self {
        Self { dir, key, most_bytes: Self::MOST_BYTES }
    }
}

/// The secret of a compile cache: 32 random bytes that only its owner can read. Not shown when debugged.
#[derive(Clone)]
pub struct CacheKey([u8; 32]);

impl From<[u8; 32]> for CacheKey {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CacheKey(…)")
    }
}

/// What looking for a component gave.
pub(crate) enum Found {
    /// There is no file.
    Nothing,
    /// There is one, and it is not believed.
    Disbelieved,
    /// The compiled component.
    Compiled(Component),
}

/// An open compile cache, for one engine.
pub(crate) struct Cache {
    root: PathBuf,
    dir: PathBuf,
    keyed: Hmac<Sha256>,
    most_bytes: u64,
    /// Numbers the temporary files of this process.
    written: AtomicU64,
}

impl Cache {
    pub(crate) fn open(
        wanted: CompileCache,
        engine: &Engine,
        profile: ProfileId,
    ) -> Result<Self, SandboxError> {
        let failed = |reason: String| SandboxError::Cache { reason };
        let compatibility = compatibility(engine, profile);
        let name: String = compatibility.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let dir = wanted.dir.join(name);
        create_private_dir(&dir).map_err(|e| failed(format!("{}: {e}", dir.display())))?;
        let mut keyed = Hmac::<Sha256>::new_from_slice(&wanted.key.0).map_err(|e| failed(e.to_string()))?;
        keyed.update(MAGIC);
        keyed.update(&compatibility);
        Ok(Self { root: wanted.dir, dir, keyed, most_bytes: wanted.most_bytes, written: AtomicU64::new(0) })
    }

    /// Looks for a component. What cannot be read is not there; what is not believed is not loaded.
    pub(crate) fn find(&self, engine: &Engine, id: &ComponentId) -> Found {
        let Some(file) = self.read(id) else { return Found::Nothing };
        let compiled = file
            .strip_prefix(MAGIC)
            .and_then(|rest| rest.split_at_checked(TAG))
            .and_then(|(tag, code)| thaw::authentic(self.mac(id), tag, code))
            .and_then(|code| thaw::thaw(engine, &code).ok());
        compiled.map_or(Found::Disbelieved, Found::Compiled)
    }

    fn read(&self, id: &ComponentId) -> Option<Vec<u8>> {
        let path = self.dir.join(id.to_string());
        let metadata = fs::symlink_metadata(&path).ok()?;
        // Not a link, a pipe or a device; and no more than is ever written.
        if !metadata.is_file() || metadata.len() > self.most_bytes {
            return None;
        }
        let mut file = Vec::with_capacity(usize::try_from(metadata.len()).ok()?);
        File::open(&path).ok()?.take(self.most_bytes).read_to_end(&mut file).ok()?;
        Some(file)
    }

    /// Keeps a compiled component. That it cannot be kept costs the next process time, and is no error of this one.
    pub(crate) fn keep(&self, id: &ComponentId, compiled: &Component) {
        let Ok(code) = compiled.serialize() else { return };
        if (code.len().saturating_add(HEADER)) as u64 > self.most_bytes {
            return;
        }
        let tag = self.mac(id).chain_update(&code).finalize().into_bytes();
        if self.write(id, &tag, &code).is_ok() {
            self.evict();
        }
    }

    fn write(&self, id: &ComponentId, tag: &[u8], code: &[u8]) -> io::Result<()> {
        // Removed by hand, or with its directory's contents, since this cache was opened.
        create_private_dir(&self.dir)?;
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let temporary = self.dir.join(format!("{}-{number}.tmp", process::id()));
        let written = private_file(&temporary).and_then(|mut file| {
            file.write_all(MAGIC)?;
            file.write_all(tag)?;
            file.write_all(code)?;
            fs::rename(&temporary, self.dir.join(id.to_string()))
        });
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    /// The tag of a component's file, but for the code.
    fn mac(&self, id: &ComponentId) -> Hmac<Sha256> {
        let id = id.to_string();
        self.keyed.clone().chain_update((id.len() as u64).to_be_bytes()).chain_update(id)
    }

    /// Removes the oldest files of every compatibility until all together are within the size.
    fn evict(&self) {
        let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for dir in entries(&self.root).filter(|e| is_ours(&e.file_name().to_string_lossy())) {
            for file in entries(&dir.path()) {
                if let Ok(metadata) = file.metadata()
                    && metadata.is_file()
                {
                    let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                    files.push((modified, metadata.len(), file.path()));
                }
            }
        }
        let mut bytes: u64 = files.iter().map(|(_, len, _)| len).sum();
        files.sort_unstable();
        for (_, len, path) in files {
            if bytes <= self.most_bytes {
                break;
            }
            if fs::remove_file(&path).is_ok() {
                bytes = bytes.saturating_sub(len);
            }
        }
    }
}

/// The entries of a directory; none where it cannot be read.
fn entries(dir: &Path) -> impl Iterator<Item = fs::DirEntry> {
    fs::read_dir(dir).into_iter().flatten().flatten()
}

/// Whether a directory has the name of a compatibility: nothing else is ever removed from.
fn is_ours(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

fn create_private_dir(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// The digest of everything compiled code depends on but the component.
fn compatibility(engine: &Engine, profile: ProfileId) -> [u8; 32] {
    /// Gives what is hashed to the digest; the 64 bits of a hasher would be too few.
    struct Into(Sha256);
    impl Hasher for Into {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut hasher = Into(Sha256::new_with_prefix(profile.to_string()));
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.0.finalize().into()
}
