//! Releases and component chunks, given to whoever asks: they are public, and their ids prove them. Nothing else is: a
//! component is given only where a release kept here names it, and no blob is a component (see actum-store).

use crate::home::Home;
use actum_model::{ComponentId, ReleaseId, id::sha256, release::CHUNK_BYTES};
use actum_overlay::{Refusal, RefusalCode, Response};
use std::sync::Arc;
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
    let unknown = |what: String| Refusal::new(RefusalCode::UnknownComponent, what);
    let releases = home.store().releases_of_component(component).map_err(internal)?;
    if releases.is_empty() {
        return Err(unknown(format!("no release here names component {component}")));
    }
    let bytes = home.store().component_chunk(component, index, CHUNK_BYTES).map_err(internal)?;
    let missing = || unknown(format!("component {component} has no chunk {index} here"));
    let bytes = bytes.ok_or_else(missing)?;
    // A stranger's release may lie about the digests, so any that is kept here may confirm them.
    let digest = sha256(&bytes);
    let place = index as usize;
    if releases.iter().any(|r| r.payload().chunks.get(place).is_some_and(|wanted| **wanted == digest)) {
        return Ok(Response::Chunk { bytes });
    }
    tracing::error!(%component, index, "a stored chunk is not what any release here says; the disk may be damaged");
    Err(internal(format!("chunk {index} of component {component} is damaged here")))
}

/// A failure of this peer, which is not the asker's fault.
fn internal(error: impl ToString) -> Refusal {
    Refusal::new(RefusalCode::Internal, error.to_string())
}
