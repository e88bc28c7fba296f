//! Walking a tree of files block by block: a block is on the tape the first time an action touches it, and in memory
//! after that.
//!
//! The ids decide the content, so a block is true or it is not there. What is not there, what does not decode and what
//! has another size than its directory says are one thing to the guest: an input/output error, the same on every replay.

use super::bindings::wasi::filesystem::types::ErrorCode;
use super::{Fault, FilesView};
use crate::host::Host;
use crate::real::Real;
use actum_model::tree::{Directory, Entry};
use actum_model::{BlobId, Body};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The longest path, in bytes. A longer one is refused as `name-too-long` before anything is looked at.
pub(crate) const MAX_PATH_BYTES: usize = 4_096;
/// The most names in a path, `.` and `..` included. One more is refused as `name-too-long`.
pub(crate) const MAX_PATH_NAMES: usize = 256;

/// The function that stands in the journal for the fetching of a block. No guest can import it.
const BLOCK: &str = "wasi:filesystem#block";

/// A file or a directory of the tree: all there is to know of it without touching its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// A file: the id of its bytes, and how many they are.
    File(BlobId, u64),
    /// A directory: the id of its encoding.
    Directory(BlobId),
}

impl Node {
    pub(super) fn id(&self) -> &BlobId {
        match self {
            Self::File(id, _) | Self::Directory(id) => id,
        }
    }

    /// The directory's id.
    pub(super) fn directory(self) -> Result<BlobId, ErrorCode> {
        match self {
            Self::Directory(id) => Ok(id),
            Self::File(..) => Err(ErrorCode::NotDirectory),
        }
    }
}

impl From<Entry> for Node {
    fn from(entry: Entry) -> Self {
        match entry {
            Entry::File(id, bytes) => Self::File(id, bytes),
            Entry::Directory(id) => Self::Directory(id),
        }
    }
}

/// The blocks one action has touched; `None` for one that is not to be had, or is no directory. Each is on the tape, so
/// `journal_bytes` bounds them.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    bytes: BTreeMap<BlobId, Option<Bytes>>,
    directories: BTreeMap<BlobId, Option<Arc<Directory>>>,
}

/// A block from the host, if it is the one asked for.
fn fetch(host: &dyn Host, id: &BlobId) -> Result<Vec<u8>, String> {
    const MAX: u64 = Directory::MAX_FILE_BYTES;
    let bytes = host.block(id, MAX)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len <= MAX) && id.names(&bytes) {
        return Ok(bytes);
    }
    Err(format!("the host gave {} bytes that are not those of {id}", bytes.len()))
}

impl Real {
    fn block(&mut self, id: BlobId) -> wasmtime::Result<Option<Bytes>> {
        if let Some(known) = self.blocks.bytes.get(&id) {
            return Ok(known.clone());
        }
        let host = self.host.clone();
        let told: Result<Body, String> =
            self.tape.ask(BLOCK, &id, |tape| Ok(fetch(&*host, &id).map(|bytes| tape.keep(&bytes))))?;
        let bytes = match &told {
            Ok(body) => Some(self.proven(&id, body)?),
            Err(_) => None,
        };
        self.blocks.bytes.insert(id, bytes.clone());
        Ok(bytes)
    }

    /// The bytes of a block the tape told of. A forged journal may tell of others, or hide their weight.
    fn proven(&mut self, id: &BlobId, body: &Body) -> wasmtime::Result<Bytes> {
        let beside = match body {
            Body::Id(_) => std::slice::from_ref(id),
            Body::Bytes(_) => &[],
        };
        if self.tape.last().is_none_or(|entry| entry.bodies != beside) {
            return Err(self.tape.refuse(format!("its bodies are not those of the block {id}")));
        }
        let bytes = self.tape.open(body)?;
        let placed = matches!(body, Body::Id(_)) == (bytes.len() > Body::MAX_INLINE);
        if !placed || !id.names(&bytes) {
            return Err(self.tape.refuse(format!("it is not the block {id}")));
        }
        Ok(bytes.into())
    }
}

impl FilesView<'_> {
    /// The root of the tree that was granted.
    pub(super) fn root(&self) -> Option<Node> {
        self.real.granted.iter().find_map(|granted| match granted {
            actum_model::Granted::Files(files) => Some(Node::Directory(files.tree)),
            _ => None,
        })
    }

    /// A directory's entries.
    pub(super) fn entries(&mut self, id: BlobId) -> Result<Arc<Directory>, Fault> {
        let known = match self.real.blocks.directories.get(&id) {
            Some(known) => known.clone(),
            None => {
                let block = self.real.block(id)?;
                let decoded = block.and_then(|bytes| Directory::decode(&bytes).ok()).map(Arc::new);
                self.real.blocks.directories.insert(id, decoded.clone());
                decoded
            }
        };
        Ok(known.ok_or(ErrorCode::Io)?)
    }

    /// A file's bytes.
    pub(super) fn content(&mut self, node: Node) -> Result<Bytes, Fault> {
        let Node::File(id, size) = node else { return Err(ErrorCode::IsDirectory.into()) };
        let bytes = self.real.block(id)?.ok_or(ErrorCode::Io)?;
        if u64::try_from(bytes.len()) != Ok(size) {
            return Err(ErrorCode::Io.into());
        }
        Ok(bytes)
    }

    /// What a path names, from a directory on and never above it.
    ///
    /// Only the directories on the way are touched, not what the last name stands for.
    pub(super) fn walk(&mut self, from: Node, path: &str) -> Result<Node, Fault> {
        if path.len() > MAX_PATH_BYTES {
            return Err(ErrorCode::NameTooLong.into());
        }
        if path.starts_with('/') {
            return Err(ErrorCode::NotPermitted.into());
        }
        if path.is_empty() {
            return Err(ErrorCode::NoEntry.into());
        }
        let mut above: Vec<BlobId> = Vec::new();
        let mut here = from;
        for (count, name) in path.split('/').enumerate() {
            if count >= MAX_PATH_NAMES || name.len() > Directory::MAX_NAME_BYTES {
                return Err(ErrorCode::NameTooLong.into());
            }
            self.toll.each(1);
            let directory = here.directory()?;
            match name {
                // Two slashes are one, and one at the end says that a directory is meant.
                "" | "." => {}
                ".." => here = Node::Directory(above.pop().ok_or(ErrorCode::NotPermitted)?),
                name => {
                    let entries = self.entries(directory)?;
                    let entry = entries.entries.get(name).ok_or(ErrorCode::NoEntry)?;
                    above.push(directory);
                    here = Node::from(*entry);
                }
            }
        }
        Ok(here)
    }
}
