//! One user's state on one machine: a directory that holds the key, the store, the compile cache and the configuration.
//!
//! ```text
//! key.pem        the Ed25519 key, PKCS#8 PEM, sealed or not, readable by its owner only (see keyring)
//! keys/          how former keys handed over to it; public
//! config.toml    what `actum node` offers and to whom (optional)
//! store/         blobs, components, receipts, names (see actum-store)
//! cache/         compiled components, safe to delete
//! sampling.key   the secret by which receipts are drawn for replay, readable by its owner only; safe to delete
//! attest/        what the TPM's programs write while they attest; safe to delete
//! cache.key      the secret that makes what lies in cache/ believable, readable by its owner only; safe to delete
//! node.lock      held by the home's running node
//! key.lock       held while the key is changed
//! ```
//! Nothing is written elsewhere.

use crate::{
    clock,
    keyring::{self, Former, Keyring},
};
use actum_model::{Delegation, DelegationId, Did, Passphrase, SecretKey, Signed, key::KeyError};
use actum_sandbox::{CacheKey, CompileCache, EngineKind, Sandbox, SandboxConfig, SandboxError};
use actum_store::{
    Ledger, Store, StoreError,
    ledger::{RotationKept, Standing},
};
use std::{
    collections::BTreeSet,
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// Why a home could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// The directory or a file in it could not be read or written.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others can read the key.
    #[error("{} can be read by others (mode {mode:o})", path.display())]
    KeyExposed {
        /// The key's file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key's file does not hold a key.
    #[error("{} holds no usable key", path.display())]
    BadKey {
        /// The key's file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyError,
    },
    /// The key is sealed, and nobody has unlocked it.
    #[error("{} is sealed with a passphrase", path.display())]
    Locked {
        /// The key's file.
        path: PathBuf,
    },
    /// A sealed key that does not say whose it is, so the home does not know who it is.
    #[error("{} is sealed, and does not say whose key it is", path.display())]
    NamelessKey {
        /// The key's file.
        path: PathBuf,
    },
    /// There is a key already.
    #[error("there is a key already: {}", path.display())]
    HasKey {
        /// The key's file.
        path: PathBuf,
    },
    /// The key was replaced since the home was opened.
    #[error("the key of {} was replaced meanwhile", root.display())]
    KeyChanged {
        /// The home.
        root: PathBuf,
    },
    /// Another process is changing the key.
    #[error("another command is changing the key of {}", root.display())]
    KeyBusy {
        /// The home.
        root: PathBuf,
    },
    /// A node is running with the key that should change.
    #[error("a node is running in {}", root.display())]
    NodeRunning {
        /// The home.
        root: PathBuf,
    },
    /// The key has a successor: nobody takes its word any more.
    #[error("{did} was handed over to {to}")]
    HandedOver {
        /// The key.
        did: Did,
        /// Its successor.
        to: Did,
    },
    /// The rotation would be refused by everybody.
    #[error("the key cannot be handed over: {why}")]
    Rotation {
        /// Why.
        why: String,
    },
    /// What proves who the home was before is damaged.
    #[error("the line of former keys is broken at {}: {why}", path.display())]
    Line {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The store could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The sandbox could not be made.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

/// An opened home.
pub struct Home {
    root: PathBuf,
    keyring: Keyring,
    store: Store,
    ledger: OnceLock<Ledger>,
    sandbox: OnceLock<Sandbox>,
}

impl Home {
    /// Opens the home at `root`, creating it with a fresh key on first use. A sealed key stays locked until
    /// [`Self::unlock`]: what only reads needs none.
    pub fn open(root: &Path) -> Result<Self, HomeError> {
        create_private_dir(root)?;
        let keyring = Keyring::open(root)?;
        let store = Store::open(root)?;
        let home =
            Self { root: root.to_owned(), keyring, store, ledger: OnceLock::new(), sandbox: OnceLock::new() };
        home.remember_former()?;
        Ok(home)
    }

    /// Sees to it that what the home's former keys said last lies where it is looked for: a rotation can be interrupted
    /// before that.
    fn remember_former(&self) -> Result<(), HomeError> {
        let former = self.former();
        if former.is_empty() {
            return Ok(());
        }
        let powerlines: Vec<_> = former.iter().map(|f| f.powerline.clone()).collect();
        self.store.put_delegations(&powerlines)?;
        for Former { did, rotation, .. } in former {
            // Others are told what the ledger has; that it has something else keeps nobody from using their home.
            let kept = self.ledger()?.put_rotation(did, rotation.bytes(), Standing::Ours, clock::now_secs());
            match kept {
                Ok(RotationKept::News | RotationKept::Known) => {}
                Ok(RotationKept::Other) => {
                    tracing::warn!(%did, "somebody else rotated this former key: it was stolen")
                }
                Err(error) => {
                    tracing::warn!(%did, %error, "a former key's rotation could not be kept for others")
                }
            }
        }
        Ok(())
    }

    /// The delegations that the home's key issued and that are worth keeping when it is handed over: those that have not
    /// expired by `now`, in seconds since the Unix epoch, and were not revoked here.
    pub fn worth_keeping(&self, now: u64) -> Result<BTreeSet<DelegationId>, HomeError> {
        let issued = self.store.delegations_by(&self.did(), usize::MAX)?;
        let live = issued.iter().filter(|d| d.payload().exp.is_none_or(|exp| exp >= now));
        let ids: Vec<_> = live.map(Signed::<Delegation>::id).collect();
        let revoked: BTreeSet<_> =
            self.ledger()?.revocations_of(&ids)?.into_iter().map(|(id, _)| id).collect();
        Ok(ids.into_iter().filter(|id| !revoked.contains(id)).collect())
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the node's configuration is looked for.
    pub fn config_path(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// Takes the place of this home's one node; none when it is taken. Given back when the file is dropped.
    pub(crate) fn lock_for_node(&self) -> Result<Option<fs::File>, HomeError> {
        let lock = node_lock(&self.root)?;
        if lock.is_some() {
            // Nobody changes the key from now on.
            keyring::still(&self.root, self.did())?;
        }
        Ok(lock)
    }

    /// The signing key; an error while it is locked.
    pub fn key(&self) -> Result<&SecretKey, HomeError> {
        self.keyring.key()
    }

    /// Whether the key is sealed with a passphrase, as of when the home was opened.
    pub fn is_sealed(&self) -> bool {
        self.keyring.is_sealed()
    }

    /// Unlocks a sealed key for as long as this home is open.
    pub fn unlock(&self, passphrase: &Passphrase) -> Result<(), HomeError> {
        self.keyring.unlock(passphrase)
    }

    /// Who this is.
    pub fn did(&self) -> Did {
        self.keyring.did
    }

    /// Who this was, oldest first: each key handed over to the next, the last of them to [`Self::did`].
    pub fn former(&self) -> &[Former] {
        &self.keyring.former
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The ledger, opened on first use.
    pub fn ledger(&self) -> Result<&Ledger, StoreError> {
        if let Some(opened) = self.ledger.get() {
            return Ok(opened);
        }
        let missing = !self.root.join("store").join("ledger.db").exists();
        let opened = Ledger::open(&self.root)?;
        if missing && !self.store.delegations_by(&self.did(), 1)?.is_empty() {
            tracing::warn!(
                "store/ledger.db was not there: what was revoked, served and spent before is forgotten"
            );
        }
        Ok(self.ledger.get_or_init(|| opened))
    }

    /// The sandbox of the default engine, made on first use.
    pub fn sandbox(&self) -> Result<&Sandbox, HomeError> {
        if let Some(made) = self.sandbox.get() {
            return Ok(made);
        }
        let made = self.sandbox_with(EngineKind::Cranelift)?;
        Ok(self.sandbox.get_or_init(|| made))
    }

    /// A sandbox of a chosen engine, with this home's compile cache.
    pub fn sandbox_with(&self, engine: EngineKind) -> Result<Sandbox, HomeError> {
        self.sandbox_from(SandboxConfig { engine, ..SandboxConfig::default() })
    }

    /// The secret by which receipts are drawn for replay: whoever has it knows which of their lies would be found.
    pub(crate) fn sampling_secret(&self) -> Result<[u8; 32], HomeError> {
        open_secret(&self.root.join("sampling.key"))
    }

    /// Takes over all that another home has compiled, and the secret by which it is believed, so that a home made like that one
    /// compiles nothing anew. For a home that was just made: what one has compiled itself it does not believe any more.
    pub fn compiled_as(&self, other: &Home) -> Result<(), HomeError> {
        for name in ["cache.key", "cache"] {
            let to = self.root.join(name);
            copy(&other.root.join(name), &to).map_err(io_error(&to))?;
        }
        Ok(())
    }

    /// A sandbox as configured, with this home's compile cache.
    pub(crate) fn sandbox_from(&self, config: SandboxConfig) -> Result<Sandbox, HomeError> {
        let secret = open_secret(&self.root.join("cache.key"))?;
        let cache = CompileCache::new(self.root.join("cache"), CacheKey::from(secret));
        Ok(Sandbox::new(SandboxConfig { cache: Some(cache), ..config })?)
    }
}

/// Copies a file, or a directory with all that is in it; what is not there is not copied.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        return match fs::copy(from, to) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        };
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

pub(crate) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> HomeError + '_ {
    move |source| HomeError::Io { path: path.to_owned(), source }
}

/// Takes the place of a home's one node; none when it is taken. Given back when the file is dropped.
pub(crate) fn node_lock(root: &Path) -> Result<Option<fs::File>, HomeError> {
    let path = root.join("node.lock");
    let file = fs::File::create(&path).map_err(io_error(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(e)) => Err(io_error(&path)(e)),
    }
}

pub(crate) fn create_private_dir(path: &Path) -> Result<(), HomeError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(io_error(path))
}

/// Reads a secret that nothing depends on for long, or makes one. One that others could have read, or that is none, is
/// replaced: of the compile cache's, nothing is lost by it but the time to compile again.
fn open_secret(path: &Path) -> Result<[u8; 32], HomeError> {
    for _ in 0..2 {
        match fs::read(path).map(<[u8; 32]>::try_from) {
            Ok(Ok(secret)) if mode(path)? & 0o077 == 0 => return Ok(secret),
            Ok(_) => fs::remove_file(path).map_err(io_error(path))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(io_error(path)(e)),
        }
        write_secret(path, &clock::random::<32>())?;
    }
    Err(io_error(path)(io::Error::other("it is replaced all the time")))
}

/// A file's permission bits; none where the system has none.
pub(crate) fn mode(path: &Path) -> Result<u32, HomeError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        Ok(fs::metadata(path).map_err(io_error(path))?.permissions().mode() & 0o777)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        Ok(0)
    }
}

/// Writes a secret whole or not at all, readable by its owner only, and never over another.
pub(crate) fn write_secret(path: &Path, secret: &[u8]) -> Result<(), HomeError> {
    let suffix: [u8; 8] = clock::random();
    let temporary = path.with_extension(format!("{:016x}.tmp", u64::from_be_bytes(suffix)));
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let write = || -> io::Result<()> {
        let mut file = options.open(&temporary)?;
        file.write_all(secret)?;
        file.sync_all()?;
        match fs::hard_link(&temporary, path) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
            _ => Ok(()),
        }
    };
    let written = write();
    let removed = fs::remove_file(&temporary);
    written.and(removed).map_err(io_error(path))
}
