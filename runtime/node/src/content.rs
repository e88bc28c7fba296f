//! Releases and component chunks, given to whoever asks: they are public, and their ids prove them. Nothing else is: a
//! component is given only where a release kept here names it, and no blob is a component (see actum-store).

use crate::home::Home;
use actum_model::{ComponentId, ReleaseId};
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

/// A failure of this peer, which is not the asker's fault.
fn internal(error: impl ToString) -> Refusal {
    Refusal::new(RefusalCode::Internal, error.to_string())
}
