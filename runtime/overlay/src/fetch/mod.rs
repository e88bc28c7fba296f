//! Fetches what peers hold, believing only what its digests prove.
//!
//! A component is fetched by its manifest: the digests of its chunks, which its release has in it and its descriptor names.
//! [`Wanted`] is both. [`download`] asks several peers at once; where the chunks go is a [`Sink`]'s.

mod download;
mod memory;
mod plan;

pub use download::{DownloadEvent, Fetched, Put, Sink, download};
pub use memory::InMemory;

use crate::{Refusal, Request, RequestError, Response, SessionHandle, defaults};
use actum_model::{
    BlobId, ComponentId, Descriptor, Did, EnvelopeError, Release, ReleaseId, Signed,
    release::{CHUNK_BYTES, MAX_COMPONENT_BYTES, read_manifest},
};
use serde_bytes::ByteArray;

/// Why content could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// A request failed.
    #[error("fetching from {peer}: {source}")]
    Request {
        /// The peer asked.
        peer: Did,
        /// What happened.
        source: RequestError,
    },
    /// The peer refused.
    #[error("{peer} refused: {refusal}")]
    Refused {
        /// The peer asked.
        peer: Did,
        /// Its words.
        refusal: Refusal,
    },
    /// Every chunk is as the manifest says, but together they are not the component: the manifest, or the release with
    /// it, is false.
    #[error("the chunks of {component} in its manifest are not those of the component")]
    BadManifest {
        /// The component wanted.
        component: ComponentId,
    },
    /// Not the manifest asked for. The peer is faulty or hostile.
    #[error("{peer} sent another manifest of {component} than the one asked for")]
    WrongManifest {
        /// The peer that sent it.
        peer: Did,
        /// The component wanted.
        component: ComponentId,
    },
    /// Not the release asked for. The peer is faulty or hostile.
    #[error("{peer} sent another release than {wanted}")]
    WrongRelease {
        /// The peer that sent it.
        peer: Did,
        /// The release asked for.
        wanted: ReleaseId,
    },
    /// The release's bytes have the right id, but it is not valid.
    #[error("release {wanted} is not valid: {source}")]
    BadRelease {
        /// The release asked for.
        wanted: ReleaseId,
        /// What is wrong with it.
        source: EnvelopeError,
    },
    /// No peer is left that could give the missing chunks.
    #[error("{component} could not be fetched, {done} of {total} chunks are here{}",
        tried.iter().map(|(peer, why)| format!("; {peer}: {why}")).collect::<String>())]
    NobodyLeft {
        /// The component wanted.
        component: ComponentId,
        /// Chunks verified.
        done: u32,
        /// Chunks in all.
        total: u32,
        /// Each peer, and why it was given up.
        tried: Vec<(Did, String)>,
    },
    /// What came could not be kept.
    #[error("{component} could not be kept: {why}")]
    Sink {
        /// The component wanted.
        component: ComponentId,
        /// What the sink said.
        why: String,
    },
}

/// A component to fetch: its id, its size, and the digest of each chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    component: ComponentId,
    bytes: u64,
    chunks: Vec<ByteArray<32>>,
}

impl Wanted {
    /// The component of a release. [`FetchError::BadManifest`] where it has not as many chunks as its size takes, or is
    /// over [`MAX_COMPONENT_BYTES`].
    pub fn of_release(release: &Release) -> Result<Self, FetchError> {
        Self::new(release.component, release.component_bytes, release.chunks.clone())
    }

    fn new(component: ComponentId, bytes: u64, chunks: Vec<ByteArray<32>>) -> Result<Self, FetchError> {
        let size = usize::try_from(bytes).unwrap_or(usize::MAX);
        let fits = size > 0 && size <= MAX_COMPONENT_BYTES && chunks.len() == size.div_ceil(CHUNK_BYTES);
        fits.then_some(Self { component, bytes, chunks }).ok_or(FetchError::BadManifest { component })
    }

    /// The component.
    pub fn component(&self) -> ComponentId {
        self.component
    }

    /// Its size in bytes: 1 to 64 MiB.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The sha2-256 digest of each chunk of 256 KiB, the last one shorter: 1 to 256.
    pub fn chunks(&self) -> &[ByteArray<32>] {
        &self.chunks
    }
}

/// Fetches a release and verifies its id and its author's signature.
pub async fn fetch_release(session: &SessionHandle, id: ReleaseId) -> Result<Signed<Release>, FetchError> {
    let peer = session.peer();
    match ask(session, Request::Release { id }).await? {
        Response::Release { release } if id.names(&release) => {
            Signed::verify(&release).map_err(|source| FetchError::BadRelease { wanted: id, source })
        }
        _ => Err(FetchError::WrongRelease { peer, wanted: id }),
    }
}

/// Fetches the manifest that a descriptor names, and verifies its id: what it takes to [`download`] the component from
/// anybody.
pub async fn fetch_manifest(session: &SessionHandle, of: &Descriptor) -> Result<Wanted, FetchError> {
    let (peer, component, manifest): (_, _, BlobId) = (session.peer(), of.component, of.manifest);
    match ask(session, Request::Manifest { component, manifest }).await? {
        Response::Manifest { bytes } if manifest.names(&bytes) => {
            let chunks = read_manifest(&bytes, of.component_bytes);
            Wanted::new(
                component,
                of.component_bytes,
                chunks.map_err(|_| FetchError::BadManifest { component })?,
            )
        }
        _ => Err(FetchError::WrongManifest { peer, component }),
    }
}

async fn ask(session: &SessionHandle, request: Request) -> Result<Response, FetchError> {
    let peer = session.peer();
    match session.request(&request, defaults::REQUEST).await {
        Ok(Response::Refused { refusal }) => Err(FetchError::Refused { peer, refusal }),
        Ok(response) => Ok(response),
        Err(source) => Err(FetchError::Request { peer, source }),
    }
}
