//! The home's key, and the line of keys before it: made, sealed, given away, brought in and handed over.
//!
//! ```text
//! key.pem                    the key in use (see actum_model::keyfile), readable by its owner only
//! key.staged.pem             what is about to become key.pem: sealed, unsealed or brought in
//! key.next.pem               the successor, while a rotation is under way
//! key.<who>.pem              a key that an import put aside
//! key.lock                   held while one of these changes
//! keys/<id>.rotation         a signed rotation, by its id: public, as is
//! keys/<id>.delegation       the powerline from an old key to its successor, by its id
//! ```
//!
//! # What an interruption can do
//!
//! `key.pem` is only ever replaced by a rename, so it is always a whole key. A rotation is decided by the rename that puts
//! `keys/<id>.rotation` in its place: cut short before, the home keeps its key and the successor is forgotten; cut short
//! after, whoever opens the home next puts the successor in place. No key is removed before the next one is on the
//! medium. Assumed of the medium is what `actum_store` assumes.

mod rotate;

pub use rotate::{Former, MAX_LINE_FILES, Rotated, rotate};

use crate::{
    clock,
    home::{Home, HomeError, create_private_dir, io_error, mode, node_lock, write_secret},
};
use actum_model::{
    Did, Passphrase, SecretKey,
    key::KeyError,
    keyfile::{KeyText, MAX_PEM_BYTES, Zeroizing},
};
use std::{
    fs, io,
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// The most keys of one name that imports put aside.
const MAX_ASIDE: u32 = 100;

const KEY: &str = "key.pem";
const STAGED: &str = "key.staged.pem";
const NEXT: &str = "key.next.pem";
const LOCK: &str = "key.lock";

/// The key of an opened home.
pub(crate) struct Keyring {
    pub(crate) did: Did,
    pub(crate) former: Vec<Former>,
    /// The key's file, where it is sealed.
    file: Option<KeyFile>,
    /// Empty while the key is locked.
    key: OnceLock<SecretKey>,
}

impl Keyring {
    /// Opens the keyring of a home, finishing what was interrupted; makes a key on first use.
    pub(crate) fn open(root: &Path) -> Result<Self, HomeError> {
        if root.join(STAGED).exists() || root.join(NEXT).exists() {
            // Who holds the lock is not interrupted, but at it.
            if let Some(_held) = try_lock(root)? {
                rotate::recover(root)?;
            }
        }
        let path = root.join(KEY);
        if !path.try_exists().map_err(io_error(&path))? {
            write_secret(&path, SecretKey::from_seed(&clock::random()).to_pem().as_bytes())?;
            sync_dir(root)?;
        }
        let file = KeyFile::read(&path)?;
        let key = OnceLock::new();
        let did = match file.said {
            KeyText { sealed: true, did: Some(did) } => did,
            KeyText { sealed: true, did: None } => return Err(HomeError::NamelessKey { path }),
            KeyText { sealed: false, .. } => key.get_or_init_with(|| file.open(None))?.did(),
        };
        let former = rotate::line(root, did)?;
        Ok(Self { did, former, file: file.said.sealed.then_some(file), key })
    }

    pub(crate) fn key(&self) -> Result<&SecretKey, HomeError> {
        let locked = || {
            let path = self.file.as_ref().map(|f| f.path.clone()).unwrap_or_default();
            HomeError::Locked { path }
        };
        self.key.get().ok_or_else(locked)
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.file.is_some()
    }

    pub(crate) fn unlock(&self, passphrase: &Passphrase) -> Result<(), HomeError> {
        match &self.file {
            Some(file) => self.key.get_or_init_with(|| file.open(Some(passphrase))).map(|_| ()),
            None => Ok(()),
        }
    }
}

/// [`OnceLock::get_or_init`] for what can fail.
trait GetOrInitWith<T> {
    fn get_or_init_with<E>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<&T, E>;
}

impl<T> GetOrInitWith<T> for OnceLock<T> {
    fn get_or_init_with<E>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        if let Some(made) = self.get() {
            return Ok(made);
        }
        let made = make()?;
        Ok(self.get_or_init(|| made))
    }
}

/// A private key's file, as read: not yet unsealed.
pub struct KeyFile {
    path: PathBuf,
    text: Zeroizing<String>,
    said: KeyText,
}

impl KeyFile {
    /// Reads a private key's file of at most [`MAX_PEM_BYTES`]; refused where others can read it, too.
    pub fn read(path: &Path) -> Result<Self, HomeError> {
        let bad = |source| HomeError::BadKey { path: path.to_owned(), source };
        let metadata = fs::metadata(path).map_err(io_error(path))?;
        if !metadata.is_file() {
            return Err(bad(KeyError::NotPem("not a file".to_owned())));
        }
        let mode = mode(path)?;
        if mode & 0o077 != 0 {
            return Err(HomeError::KeyExposed { path: path.to_owned(), mode });
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_PEM_BYTES + 1));
        let file = fs::File::open(path).map_err(io_error(path))?;
        file.take(MAX_PEM_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(io_error(path))?;
        let text = std::str::from_utf8(&bytes).map_err(|_| bad(KeyError::NotPem("not text".to_owned())))?;
        let said = KeyText::of(text).map_err(bad)?;
        Ok(Self { path: path.to_owned(), text: Zeroizing::new(text.to_owned()), said })
    }

    /// Whether reading the key takes a passphrase.
    pub fn is_sealed(&self) -> bool {
        self.said.sealed
    }

    /// Reads the key, with the passphrase where it is sealed.
    pub fn open(&self, passphrase: Option<&Passphrase>) -> Result<SecretKey, HomeError> {
        let read = match passphrase {
            Some(passphrase) if self.said.sealed => SecretKey::from_sealed_pem(&self.text, passphrase),
            _ => SecretKey::from_pem(&self.text),
        };
        read.map_err(|source| HomeError::BadKey { path: self.path.clone(), source })
    }

    /// The file's text, as it is.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whose key it is, as far as that is known without a passphrase.
    fn did(&self) -> Option<Did> {
        self.said.did.or_else(|| self.open(None).ok().map(|key| key.did()))
    }
}

/// The key as text, sealed where there is a passphrase to seal it with.
pub fn to_text(key: &SecretKey, passphrase: Option<&Passphrase>) -> Zeroizing<String> {
    match passphrase {
        Some(passphrase) => Zeroizing::new(key.to_sealed_pem(passphrase, &clock::random(), clock::random())),
        None => key.to_pem(),
    }
}

/// The file of the home's key as it is on the disk now, e.g. to give away a sealed key without unsealing it.
pub fn file_of(home: &Home) -> Result<KeyFile, HomeError> {
    current(home.root(), home.did())
}

/// Seals the home's key with a passphrase, or with another one than before. The home must be unlocked. What is opened
/// afterwards needs the passphrase; what is open stays so.
pub fn seal(home: &Home, passphrase: &Passphrase) -> Result<(), HomeError> {
    rewrite(home, Some(passphrase))
}

/// Keeps the home's key unsealed. The home must be unlocked.
pub fn unseal(home: &Home) -> Result<(), HomeError> {
    rewrite(home, None)
}

fn rewrite(home: &Home, passphrase: Option<&Passphrase>) -> Result<(), HomeError> {
    let root = home.root();
    let _held = lock(root)?;
    rotate::recover(root)?;
    current(root, home.did())?;
    put(&root.join(STAGED), to_text(home.key()?, passphrase).as_bytes())?;
    install(root, STAGED)
}

/// Brings a key into the home at `root`, sealed where a passphrase is given. A key that is there already is replaced only
/// if `replace` says so, and is put aside; then gives the file it was put into.
pub fn import(
    root: &Path,
    key: &SecretKey,
    passphrase: Option<&Passphrase>,
    replace: bool,
) -> Result<Option<PathBuf>, HomeError> {
    create_private_dir(root)?;
    let _no_node = node_lock(root)?.ok_or_else(|| HomeError::NodeRunning { root: root.to_owned() })?;
    let _held = lock(root)?;
    rotate::recover(root)?;
    rotate::refuse_handed_over(root, key.did())?;
    let (path, staged) = (root.join(KEY), root.join(STAGED));
    let has_key = || HomeError::HasKey { path: path.clone() };
    let there = path.try_exists().map_err(io_error(&path))?;
    if there && !replace {
        return Err(has_key());
    }
    put(&staged, to_text(key, passphrase).as_bytes())?;
    if there {
        let aside = put_aside(root, &path)?;
        install(root, STAGED)?;
        return Ok(Some(aside));
    }
    // Unlike a rename, a link replaces nothing: another process may have made the home's first key meanwhile.
    let linked = fs::hard_link(&staged, &path);
    fs::remove_file(&staged).map_err(io_error(&staged))?;
    match linked {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(has_key()),
        linked => linked.map_err(io_error(&path)).and_then(|()| sync_dir(root)).map(|()| None),
    }
}

/// Gives the key in use a second name, which it keeps when it is replaced.
fn put_aside(root: &Path, path: &Path) -> Result<PathBuf, HomeError> {
    let whose = KeyFile::read(path).ok().and_then(|f| f.did()).map_or("unknown".to_owned(), |d| d.short());
    for n in 1..=MAX_ASIDE {
        let suffix = if n == 1 { String::new() } else { format!(".{n}") };
        let aside = root.join(format!("key.{whose}{suffix}.pem"));
        match fs::hard_link(path, &aside) {
            Ok(()) => return sync_dir(root).map(|()| aside),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(io_error(&aside)(e)),
        }
    }
    Err(io_error(path)(io::Error::other(format!("{MAX_ASIDE} keys of that name were put aside already"))))
}

/// Writes a secret to a new file that its owner alone can read, whole or not at all; never over another.
pub fn write_new(path: &Path, secret: &str) -> Result<(), HomeError> {
    let mut file = private_file(path).map_err(io_error(path))?;
    let written = file.write_all(secret.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|e| {
        let _ = fs::remove_file(path);
        io_error(path)(e)
    })
}

/// The key's file as it is now, while it is still the key of `did`.
fn current(root: &Path, did: Did) -> Result<KeyFile, HomeError> {
    let file = KeyFile::read(&root.join(KEY))?;
    match file.did() {
        Some(now) if now == did => Ok(file),
        _ => Err(HomeError::KeyChanged { root: root.to_owned() }),
    }
}

/// Whether the key in use is still that of `did`, e.g. after waiting for a lock.
pub(crate) fn still(root: &Path, did: Did) -> Result<(), HomeError> {
    current(root, did).map(|_| ())
}

fn try_lock(root: &Path) -> Result<Option<fs::File>, HomeError> {
    let path = root.join(LOCK);
    let file = fs::File::create(&path).map_err(io_error(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(e)) => Err(io_error(&path)(e)),
    }
}

/// The right to change the key. Given back when the file is dropped.
fn lock(root: &Path) -> Result<fs::File, HomeError> {
    try_lock(root)?.ok_or_else(|| HomeError::KeyBusy { root: root.to_owned() })
}

fn private_file(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Writes a file anew, over what an interruption left, and syncs it. Only under the lock.
fn put(path: &Path, bytes: &[u8]) -> Result<(), HomeError> {
    remove(path)?;
    let mut file = private_file(path).map_err(io_error(path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io_error(path))
}

fn remove(path: &Path) -> Result<(), HomeError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(io_error(path)(e)),
        _ => Ok(()),
    }
}

/// Makes a whole, synced file the key in use.
fn install(root: &Path, from: &str) -> Result<(), HomeError> {
    let path = root.join(KEY);
    fs::rename(root.join(from), &path).map_err(io_error(&path))?;
    sync_dir(root)
}

/// Makes names durable. Other systems than Unix do that by themselves, or not at all.
fn sync_dir(dir: &Path) -> Result<(), HomeError> {
    #[cfg(unix)]
    fs::File::open(dir).and_then(|d| d.sync_all()).map_err(io_error(dir))?;
    #[cfg(not(unix))]
    let _ = dir;
    Ok(())
}
