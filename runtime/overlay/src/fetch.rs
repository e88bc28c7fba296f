//! Fetches what a peer holds, believing only what its digests prove.

use crate::{Refusal, Request, RequestError, Response, SessionHandle, defaults};
use actum_model::{
    ComponentId, Did, EnvelopeError, Release, ReleaseId, Signed,
    id::sha256,
    release::{CHUNK_BYTES, MAX_COMPONENT_BYTES},
};
use futures::{StreamExt, stream};

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
    /// A chunk is not what the release says. The peer is faulty or hostile.
    #[error("{peer} sent a wrong chunk {index} of {component}")]
    WrongChunk {
        /// The peer that sent it.
        peer: Did,
        /// The component fetched.
        component: ComponentId,
        /// Which chunk, from 0.
        index: u32,
    },
    /// Every chunk is as the release says, but together they are not the component: the release contradicts itself.
    #[error("the chunks of {component} in the release are not those of the component")]
    BadManifest {
        /// The component the release names.
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

/// Fetches a release's component: each chunk is verified before it is kept, then the whole.
///
/// `progress` hears chunks verified and chunks in all. At most the component's size (64 MiB) and eight chunks are held.
pub async fn fetch_component(
    session: &SessionHandle,
    release: &Release,
    mut progress: impl FnMut(u32, u32),
) -> Result<Vec<u8>, FetchError> {
    let (peer, component) = (session.peer(), release.component);
    let total = u32::try_from(release.chunks.len()).unwrap_or(u32::MAX);
    let size = usize::try_from(release.component_bytes).unwrap_or(usize::MAX);
    let bad = || FetchError::BadManifest { component };
    if size > MAX_COMPONENT_BYTES || release.chunks.len() != size.div_ceil(CHUNK_BYTES) {
        return Err(bad());
    }
    let asked = (0..total).zip(release.chunks.clone()).map(|(index, digest)| async move {
        let wrong = || FetchError::WrongChunk { peer, component, index };
        match ask(session, Request::Chunk { component, index }).await? {
            Response::Chunk { bytes } if sha256(&bytes) == *digest => Ok((index, bytes)),
            _ => Err(wrong()),
        }
    });
    let in_flight = usize::try_from(defaults::CHUNKS_IN_FLIGHT.get()).unwrap_or(1);
    let mut chunks = stream::iter(asked).buffered(in_flight);
    let mut whole = Vec::with_capacity(size.min(CHUNK_BYTES));
    while let Some(chunk) = chunks.next().await {
        let (index, bytes) = chunk?;
        whole.extend_from_slice(&bytes);
        progress(index.saturating_add(1), total);
    }
    if whole.len() == size && component.names(&whole) { Ok(whole) } else { Err(bad()) }
}

async fn ask(session: &SessionHandle, request: Request) -> Result<Response, FetchError> {
    let peer = session.peer();
    match session.request(&request, defaults::REQUEST).await {
        Ok(Response::Refused { refusal }) => Err(FetchError::Refused { peer, refusal }),
        Ok(response) => Ok(response),
        Err(source) => Err(FetchError::Request { peer, source }),
    }
}
