//! Releases and components as they move: given to whoever asks, since they are public and their ids prove them, and
//! fetched from whoever has them. Nothing else is given: a component only where a release kept here names it, and no
//! blob is a component (see actum-store).

use crate::{clock, home::Home};
use actum_model::{BlobId, ComponentId, Descriptor, Did, Release, ReleaseId, Signed, release::manifest};
use actum_overlay::{
    BoxFuture, DownloadEvent, FetchError, Put, Refusal, RefusalCode, Response, SessionHandle, Sink, Wanted,
    download, fetch_manifest, fetch_release,
};
use actum_store::{Finished, Offence, Opened, Partial, StoreError};
use futures::{StreamExt, stream::FuturesUnordered};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// How many chunks this process reads at once, for all peers together; the others wait. Bounds the memory and the
/// threads that strangers' fetches take: 8 chunks are 2 MiB.
const CHUNK_READS: usize = 8;

static CHUNK_TURNS: Semaphore = Semaphore::const_new(CHUNK_READS);

pub(crate) fn release(home: &Home, id: &ReleaseId) -> Result<Response, Refusal> {
    match home.store().release(id) {
        Ok(Some(release)) => Ok(Response::Release { release: release.bytes().to_vec() }),
        Ok(None) => Err(Refusal::new(RefusalCode::UnknownRelease, format!("release {id} is not here"))),
        Err(e) => Err(internal(e)),
    }
}

/// Gives one chunk of a component that a release names.
pub(crate) async fn chunk(home: Arc<Home>, component: ComponentId, index: u32) -> Result<Response, Refusal> {
    let turn = CHUNK_TURNS.acquire().await.map_err(internal)?;
    // The turn goes with the reading: a peer that leaves does not end it sooner.
    let read = move || {
        let _turn = turn;
        read_chunk(&home, &component, index)
    };
    tokio::task::spawn_blocking(read).await.map_err(internal)?
}

fn read_chunk(home: &Home, component: &ComponentId, index: u32) -> Result<Response, Refusal> {
    match home.store().released_chunk(component, index) {
        Ok(Some(bytes)) => Ok(Response::Chunk { bytes }),
        Ok(None) => {
            let text = format!("no chunk {index} of a released component {component} is here");
            Err(Refusal::new(RefusalCode::UnknownComponent, text))
        }
        Err(e) => {
            tracing::error!(%component, index, error = %e, "a chunk could not be given");
            Err(internal(e))
        }
    }
}

/// Gives the manifest of that id, of a component that a release names.
pub(crate) async fn manifest_of(
    home: Arc<Home>,
    component: ComponentId,
    wanted: BlobId,
) -> Result<Response, Refusal> {
    let turn = CHUNK_TURNS.acquire().await.map_err(internal)?;
    let read = move || {
        let _turn = turn;
        // Only where the component is here too: whoever gets the manifest comes for the chunks.
        let releases = match home.store().has_component(&component).map_err(internal)? {
            true => home.store().releases_of_component(&component).map_err(internal)?,
            false => Vec::new(),
        };
        let mut manifests = releases.iter().map(|r| manifest(&r.payload().chunks));
        match manifests.find(|bytes| wanted.names(bytes)) {
            Some(bytes) => Ok(Response::Manifest { bytes }),
            None => {
                let text = format!("no manifest {wanted} of a released component {component} is here");
                Err(Refusal::new(RefusalCode::UnknownComponent, text))
            }
        }
    };
    tokio::task::spawn_blocking(read).await.map_err(internal)?
}

/// A failure of this peer, which is not the asker's fault.
fn internal(error: impl ToString) -> Refusal {
    Refusal::new(RefusalCode::Internal, error.to_string())
}

/// How long a peer that sent what it was not asked for is asked after all others, in seconds: a week. Not for ever: a disk
/// can fail and be replaced.
const REMEMBERED_SECONDS: u64 = 7 * 86_400;
/// How often a component that somebody else is fetching is looked for.
const TAKEN_POLL: Duration = Duration::from_millis(100);

/// What says which component is wanted.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    /// Its release, which has the digests of its chunks.
    Release(&'a Release),
    /// A descriptor, which names them: they are fetched first.
    Descriptor(&'a Descriptor),
}

/// Why a component could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObtainError {
    /// Nobody gave it.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody was there to ask.
    #[error("there is nobody to ask for {0}")]
    Nobody(ComponentId),
}

/// A component's bytes, fetched where this home lacks it from all of these peers at once, and kept. What came of it before,
/// in this process or one that was killed, is not fetched again; where somebody else of this home is fetching it, that is
/// waited for. The caller bounds the time.
///
/// `progress` hears chunks verified and chunks in all. Peers that were caught lying lately are asked only once the others
/// could not give it, and what they are caught at now is remembered.
pub(crate) async fn obtain(
    home: &Arc<Home>,
    source: Source<'_>,
    sessions: &[SessionHandle],
    progress: &mut (dyn FnMut(u32, u32) + Send),
) -> Result<Vec<u8>, ObtainError> {
    let component = match source {
        Source::Release(release) => release.component,
        Source::Descriptor(descriptor) => descriptor.component,
    };
    if let Some(bytes) = blocking(home, move |home| whole(home, &component)).await? {
        return Ok(bytes);
    }
    let (honest, caught) = by_record(home, sessions).await?;
    let wanted = match source {
        Source::Release(release) => Wanted::of_release(release)?,
        Source::Descriptor(descriptor) => {
            manifest_from(home, descriptor, honest.iter().chain(&caught)).await?
        }
    };
    let mut sink = loop {
        let digests = wanted.chunks().to_vec();
        let size = wanted.bytes();
        match blocking(home, move |home| home.store().partial(component, size, &digests)).await? {
            // Whoever had it may have ended a moment ago, and what was begun here is one too many.
            Opened::Ours(partial) => match blocking(home, move |home| whole(home, &component)).await? {
                None => break Kept(Some(partial)),
                Some(bytes) => {
                    blocking(home, move |_| partial.discard()).await?;
                    return Ok(bytes);
                }
            },
            Opened::Taken => tokio::time::sleep(TAKEN_POLL).await,
        }
        if let Some(bytes) = blocking(home, move |home| whole(home, &component)).await? {
            return Ok(bytes);
        }
    };
    let mut liars = BTreeSet::new();
    let mut on_event = |event| match event {
        DownloadEvent::Progress { done, total } => progress(done, total),
        DownloadEvent::WrongChunk { peer, index } => {
            tracing::warn!(%peer, %component, index, "a peer sent another chunk than the manifest names");
            liars.insert(peer);
        }
        DownloadEvent::GivenUp { peer, why } => tracing::debug!(%peer, %component, why, "a peer is given up"),
    };
    let mut fetched = download(&wanted, &honest, &mut sink, &mut on_event).await;
    if matches!(fetched, Err(FetchError::NobodyLeft { .. })) && !caught.is_empty() {
        fetched = download(&wanted, &caught, &mut sink, &mut on_event).await;
    }
    fetched?;
    let Some(partial) = sink.0 else { return Err(FetchError::BadManifest { component }.into()) };
    match blocking(home, move |home| partial.finish(home.store())).await? {
        // Now it is certain that the manifest is true, and they were not.
        Finished::Kept => liars.into_iter().for_each(|peer| remember(home, peer, Offence::WrongChunk)),
        Finished::NotTheComponent => return Err(FetchError::BadManifest { component }.into()),
    }
    let bytes = blocking(home, move |home| home.store().component(&component)).await?;
    bytes.ok_or(ObtainError::Nobody(component))
}

/// A component of this home. One that was damaged counts as absent: it is fetched anew, and takes its place.
pub(crate) fn whole(home: &Home, component: &ComponentId) -> Result<Option<Vec<u8>>, StoreError> {
    match home.store().component(component) {
        Err(StoreError::Corrupt { why, .. }) => {
            tracing::warn!(%component, why, "a component is damaged, and fetched anew");
            Ok(None)
        }
        found => found,
    }
}

/// Fetches a release; a peer that sends another one is remembered.
pub(crate) async fn release_from(
    home: &Arc<Home>,
    session: &SessionHandle,
    id: ReleaseId,
) -> Result<Signed<Release>, FetchError> {
    let fetched = fetch_release(session, id).await;
    if let Err(FetchError::WrongRelease { peer, .. }) = &fetched {
        remember(home, *peer, Offence::WrongRelease);
    }
    fetched
}

/// How long one that is asked for a manifest may be silent before the next is asked too.
const MANIFEST_SILENCE: Duration = Duration::from_secs(2);

/// The manifest a descriptor names, from the first of these that gives it. One that is silent holds up nobody for long.
async fn manifest_from(
    home: &Arc<Home>,
    descriptor: &Descriptor,
    mut sessions: impl Iterator<Item = &SessionHandle>,
) -> Result<Wanted, ObtainError> {
    let mut last = ObtainError::Nobody(descriptor.component);
    let mut asking: FuturesUnordered<BoxFuture<'static, _>> = FuturesUnordered::new();
    loop {
        if let Some(session) = sessions.next() {
            let (session, descriptor) = (session.clone(), descriptor.clone());
            asking.push(Box::pin(async move { fetch_manifest(&session, &descriptor).await }));
        }
        match tokio::time::timeout(MANIFEST_SILENCE, asking.next()).await {
            Ok(Some(Ok(wanted))) => return Ok(wanted),
            Ok(Some(Err(e))) => {
                if let FetchError::WrongManifest { peer, .. } = &e {
                    remember(home, *peer, Offence::WrongManifest);
                }
                last = e.into();
            }
            Ok(None) => return Err(last),
            Err(_) => {}
        }
    }
}

/// Those that were not caught lying lately, and those that were.
async fn by_record(
    home: &Arc<Home>,
    sessions: &[SessionHandle],
) -> Result<(Vec<SessionHandle>, Vec<SessionHandle>), StoreError> {
    let since = clock::now_secs().saturating_sub(REMEMBERED_SECONDS);
    let (peers, mut honest, mut caught) = (sessions.to_vec(), Vec::new(), Vec::new());
    let records = blocking(home, move |home| {
        let record = |s: SessionHandle| Ok((home.store().offences_of(&s.peer(), since)?.is_empty(), s));
        peers.into_iter().map(record).collect::<Result<Vec<_>, StoreError>>()
    });
    for (clean, session) in records.await? {
        let group = if clean { &mut honest } else { &mut caught };
        group.push(session);
    }
    Ok((honest, caught))
}

/// Remembers what a peer was caught at, behind the caller.
fn remember(home: &Arc<Home>, peer: Did, offence: Offence) {
    let home = home.clone();
    tokio::task::spawn_blocking(move || {
        if let Err(error) = home.store().put_offence(&peer, offence, clock::now_secs()) {
            tracing::error!(%peer, %offence, %error, "what a peer was caught at could not be remembered");
        }
    });
}

/// Runs what waits for a disk where waiting is allowed.
async fn blocking<T: Send + 'static>(
    home: &Arc<Home>,
    work: impl FnOnce(&Home) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let home = home.clone();
    let done = tokio::task::spawn_blocking(move || work(&home)).await;
    let failed =
        |e| StoreError::Io { doing: "read or write", path: "store".into(), source: std::io::Error::other(e) };
    done.unwrap_or_else(|e| Err(failed(e)))
}

/// The partial file as a download's sink; nothing after a write failed midway.
struct Kept(Option<Box<Partial>>);

impl Sink for Kept {
    fn verified(&self) -> Vec<bool> {
        self.0.as_ref().map_or_else(Vec::new, |partial| partial.verified().to_vec())
    }

    fn put(&mut self, index: u32, chunk: Vec<u8>) -> BoxFuture<'_, Result<Put, String>> {
        Box::pin(async move {
            let mut partial = self.0.take().ok_or("an earlier chunk could not be written")?;
            let write = move || {
                let put = partial.put(index, &chunk);
                (partial, put)
            };
            let (partial, put) = tokio::task::spawn_blocking(write).await.map_err(|e| e.to_string())?;
            self.0 = Some(partial);
            match put {
                Ok(()) => Ok(Put::Kept),
                Err(StoreError::Mismatch { .. }) => Ok(Put::Wrong),
                Err(e) => Err(e.to_string()),
            }
        })
    }
}

#[cfg(test)]
mod tests;
