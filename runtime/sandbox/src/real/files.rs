//! `wasi:filesystem`: the tree of files the action names by its id, read-only, as the guest's directory `/`.
//!
//! Every action has the interface; without the permission there is no directory to begin at, so nothing of it can be
//! reached. No machine's file system is behind it: a directory is a block that names other blocks, see
//! [`actum_model::tree`]. So there are no links, no times and no owners, and what asks for a change is told `read-only`
//! before anything is looked at.

mod tree;

pub(crate) use tree::{Blocks, MAX_PATH_BYTES, MAX_PATH_NAMES};

use super::Real;
use crate::toll::Toll;
use crate::world::State;
use actum_model::tree::{Directory, Entry};
use bindings::wasi::filesystem::{preopens, types};
use std::ops::Bound;
use std::sync::Arc;
use tree::Node;
use types::{DescriptorFlags, DescriptorStat, DescriptorType, ErrorCode, NewTimestamp, OpenFlags, PathFlags};
use wasmtime::component::{HasData, Linker, Resource, ResourceTable, ResourceTableError};
use wasmtime_wasi::p2::bindings::sync::io::error::Error as StreamError;
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};

/// The interfaces' types, from `wit/host`.
mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/host",
        world: "wasi:filesystem/imports",
        imports: { default: trappable },
        trappable_error_type: {
            "wasi:filesystem/types.error-code" => super::Fault,
        },
        with: {
            "wasi:io": wasmtime_wasi::p2::bindings::sync::io,
            "wasi:clocks": wasmtime_wasi::p2::bindings::clocks,
            "wasi:filesystem/types.descriptor": super::Descriptor,
            "wasi:filesystem/types.directory-entry-stream": super::Listing,
        },
        require_store_data_send: true,
    });
}

/// An open file or directory.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated interface names it in public")]
pub struct Descriptor(Node);

/// A directory being read, in the order of its names' bytes.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated interface names it in public")]
pub struct Listing {
    directory: Arc<Directory>,
    /// The name given last.
    last: Option<String>,
}

/// Why there is no answer: an error the guest reads, or the end of the guest.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated interface names it in public")]
pub enum Fault {
    Code(ErrorCode),
    End(wasmtime::Error),
}

impl From<ErrorCode> for Fault {
    fn from(code: ErrorCode) -> Self {
        Self::Code(code)
    }
}

impl From<wasmtime::Error> for Fault {
    fn from(error: wasmtime::Error) -> Self {
        Self::End(error)
    }
}

impl From<ResourceTableError> for Fault {
    fn from(error: ResourceTableError) -> Self {
        Self::End(error.into())
    }
}

/// The `wasi:filesystem` host of one action.
pub(crate) struct FilesView<'a> {
    pub(crate) real: &'a mut Real,
    pub(crate) table: &'a mut ResourceTable,
    pub(crate) toll: &'a mut Toll,
}

/// Names [`FilesView`] to the linker.
struct HasFiles;

impl HasData for HasFiles {
    type Data<'a> = FilesView<'a>;
}

/// Links `wasi:filesystem/preopens`.
pub(crate) fn link_preopens(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    preopens::add_to_linker::<_, HasFiles>(linker, State::files)
}

/// Links `wasi:filesystem/types`.
pub(crate) fn link_types(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    types::add_to_linker::<_, HasFiles>(linker, State::files)
}

type Answer<T> = Result<T, Fault>;

fn read_only<T>() -> Answer<T> {
    Err(ErrorCode::ReadOnly.into())
}

fn kind(node: Node) -> DescriptorType {
    match node {
        Node::File(..) => DescriptorType::RegularFile,
        Node::Directory(_) => DescriptorType::Directory,
    }
}

/// A file's size is in the directory that names it; a directory's is 0, since its content need not be touched.
fn stat(node: Node) -> DescriptorStat {
    let size = match node {
        Node::File(_, size) => size,
        Node::Directory(_) => 0,
    };
    DescriptorStat {
        type_: kind(node),
        link_count: 1,
        size,
        data_access_timestamp: None,
        data_modification_timestamp: None,
        status_change_timestamp: None,
    }
}

/// The first 128 bits of the content's digest: the same content has the same hash, wherever it stands.
///
/// Programs take it for a file's serial number. A directory never has the one of a directory it lies in, so those that
/// look for loops find none.
fn hash(node: Node) -> types::MetadataHashValue {
    let digest = node.id().digest();
    let word = |from: usize| digest.iter().skip(from).take(8).fold(0, |word, b| word << 8 | u64::from(*b));
    types::MetadataHashValue { lower: word(0), upper: word(8) }
}

impl FilesView<'_> {
    fn node(&self, descriptor: &Resource<Descriptor>) -> Answer<Node> {
        Ok(self.table.get(descriptor)?.0)
    }

    fn find(&mut self, descriptor: &Resource<Descriptor>, path: &str) -> Answer<Node> {
        let from = self.node(descriptor)?;
        self.walk(from, path)
    }
}

impl preopens::Host for FilesView<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        let root = self.root().map(|root| self.table.push(Descriptor(root))).transpose()?;
        Ok(root.map(|root| (root, "/".to_owned())).into_iter().collect())
    }
}

impl types::Host for FilesView<'_> {
    fn convert_error_code(&mut self, fault: Fault) -> wasmtime::Result<ErrorCode> {
        match fault {
            Fault::Code(code) => Ok(code),
            Fault::End(error) => Err(error),
        }
    }

    /// No stream of a file ever fails: its bytes are there before it is.
    fn filesystem_error_code(&mut self, _: Resource<StreamError>) -> wasmtime::Result<Option<ErrorCode>> {
        Ok(None)
    }
}

impl types::HostDescriptor for FilesView<'_> {
    fn read_via_stream(
        &mut self,
        file: Resource<Descriptor>,
        offset: u64,
    ) -> Answer<Resource<DynInputStream>> {
        let node = self.node(&file)?;
        let mut bytes = self.content(node)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let stream: DynInputStream = Box::new(MemoryInputPipe::new(bytes.split_off(start)));
        Ok(self.table.push(stream)?)
    }

    /// The end is told with the last bytes.
    fn read(&mut self, file: Resource<Descriptor>, length: u64, offset: u64) -> Answer<(Vec<u8>, bool)> {
        let node = self.node(&file)?;
        let bytes = self.content(node)?;
        let clamp = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        let (start, end) = (clamp(offset), clamp(offset.saturating_add(length)));
        let read = bytes.get(start..end).unwrap_or_default();
        self.toll.bytes(read.len());
        Ok((read.to_vec(), end == bytes.len()))
    }

    fn read_directory(&mut self, directory: Resource<Descriptor>) -> Answer<Resource<Listing>> {
        let id = self.node(&directory)?.directory()?;
        let directory = self.entries(id)?;
        Ok(self.table.push(Listing { directory, last: None })?)
    }

    fn open_at(
        &mut self,
        base: Resource<Descriptor>,
        _: PathFlags,
        path: String,
        how: OpenFlags,
        flags: DescriptorFlags,
    ) -> Answer<Resource<Descriptor>> {
        let creates = OpenFlags::CREATE | OpenFlags::EXCLUSIVE | OpenFlags::TRUNCATE;
        let writes = DescriptorFlags::WRITE | DescriptorFlags::MUTATE_DIRECTORY;
        if how.intersects(creates) || flags.intersects(writes) {
            return read_only();
        }
        let node = self.find(&base, &path)?;
        if how.contains(OpenFlags::DIRECTORY) {
            node.directory()?;
        }
        Ok(self.table.push(Descriptor(node))?)
    }

    fn stat(&mut self, descriptor: Resource<Descriptor>) -> Answer<DescriptorStat> {
        Ok(stat(self.node(&descriptor)?))
    }

    fn stat_at(&mut self, base: Resource<Descriptor>, _: PathFlags, path: String) -> Answer<DescriptorStat> {
        Ok(stat(self.find(&base, &path)?))
    }

    fn metadata_hash(&mut self, descriptor: Resource<Descriptor>) -> Answer<types::MetadataHashValue> {
        Ok(hash(self.node(&descriptor)?))
    }

    fn metadata_hash_at(
        &mut self,
        base: Resource<Descriptor>,
        _: PathFlags,
        path: String,
    ) -> Answer<types::MetadataHashValue> {
        Ok(hash(self.find(&base, &path)?))
    }

    /// Whether both are the same content.
    fn is_same_object(&mut self, a: Resource<Descriptor>, b: Resource<Descriptor>) -> wasmtime::Result<bool> {
        Ok(self.table.get(&a)?.0 == self.table.get(&b)?.0)
    }

    fn get_type(&mut self, descriptor: Resource<Descriptor>) -> Answer<DescriptorType> {
        Ok(kind(self.node(&descriptor)?))
    }

    fn get_flags(&mut self, _: Resource<Descriptor>) -> Answer<DescriptorFlags> {
        Ok(DescriptorFlags::READ)
    }

    /// Nothing is a symbolic link.
    fn readlink_at(&mut self, base: Resource<Descriptor>, path: String) -> Answer<String> {
        self.find(&base, &path)?;
        Err(ErrorCode::Invalid.into())
    }

    fn advise(&mut self, _: Resource<Descriptor>, _: u64, _: u64, _: types::Advice) -> Answer<()> {
        Ok(())
    }

    fn sync(&mut self, _: Resource<Descriptor>) -> Answer<()> {
        Ok(())
    }

    fn sync_data(&mut self, _: Resource<Descriptor>) -> Answer<()> {
        Ok(())
    }

    fn drop(&mut self, descriptor: Resource<Descriptor>) -> wasmtime::Result<()> {
        self.table.delete(descriptor)?;
        Ok(())
    }

    // What would change something.

    fn write_via_stream(&mut self, _: Resource<Descriptor>, _: u64) -> Answer<Resource<DynOutputStream>> {
        read_only()
    }

    fn append_via_stream(&mut self, _: Resource<Descriptor>) -> Answer<Resource<DynOutputStream>> {
        read_only()
    }

    fn write(&mut self, _: Resource<Descriptor>, _: Vec<u8>, _: u64) -> Answer<u64> {
        read_only()
    }

    fn set_size(&mut self, _: Resource<Descriptor>, _: u64) -> Answer<()> {
        read_only()
    }

    fn set_times(&mut self, _: Resource<Descriptor>, _: NewTimestamp, _: NewTimestamp) -> Answer<()> {
        read_only()
    }

    fn set_times_at(
        &mut self,
        _: Resource<Descriptor>,
        _: PathFlags,
        _: String,
        _: NewTimestamp,
        _: NewTimestamp,
    ) -> Answer<()> {
        read_only()
    }

    fn create_directory_at(&mut self, _: Resource<Descriptor>, _: String) -> Answer<()> {
        read_only()
    }

    fn link_at(
        &mut self,
        _: Resource<Descriptor>,
        _: PathFlags,
        _: String,
        _: Resource<Descriptor>,
        _: String,
    ) -> Answer<()> {
        read_only()
    }

    fn symlink_at(&mut self, _: Resource<Descriptor>, _: String, _: String) -> Answer<()> {
        read_only()
    }

    fn rename_at(
        &mut self,
        _: Resource<Descriptor>,
        _: String,
        _: Resource<Descriptor>,
        _: String,
    ) -> Answer<()> {
        read_only()
    }

    fn remove_directory_at(&mut self, _: Resource<Descriptor>, _: String) -> Answer<()> {
        read_only()
    }

    fn unlink_file_at(&mut self, _: Resource<Descriptor>, _: String) -> Answer<()> {
        read_only()
    }
}

impl types::HostDirectoryEntryStream for FilesView<'_> {
    fn read_directory_entry(&mut self, listing: Resource<Listing>) -> Answer<Option<types::DirectoryEntry>> {
        self.toll.each(1);
        let listing = self.table.get_mut(&listing)?;
        let after = listing.last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let next = listing.directory.entries.range::<str, _>((after, Bound::Unbounded)).next();
        let Some((name, entry)) = next else { return Ok(None) };
        let (name, entry): (String, Entry) = (name.clone(), *entry);
        listing.last = Some(name.clone());
        self.toll.bytes(name.len());
        Ok(Some(types::DirectoryEntry { type_: kind(entry.into()), name }))
    }

    fn drop(&mut self, listing: Resource<Listing>) -> wasmtime::Result<()> {
        self.table.delete(listing)?;
        Ok(())
    }
}
