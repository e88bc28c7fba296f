//! Releases and component chunks, given to whoever asks: they are public, and their ids prove them.

use crate::home::Home;
use actum_model::{ComponentId, ReleaseId, release::CHUNK_BYTES};
use actum_overlay::{Refusal, RefusalCode, Response};

pub(crate) fn release(home: &Home, id: &ReleaseId) -> Result<Response, Refusal> {
    match home.store().release(id) {
        Ok(Some(release)) => Ok(Response::Release { release: release.bytes().to_vec() }),
        Ok(None) => Err(Refusal::new(RefusalCode::UnknownRelease, format!("release {id} is not here"))),
        Err(e) => Err(Refusal::new(RefusalCode::Internal, e.to_string())),
    }
}

pub(crate) fn chunk(home: &Home, component: &ComponentId, index: u32) -> Result<Response, Refusal> {
    let unknown = |what: String| Refusal::new(RefusalCode::UnknownComponent, what);
    let bytes = home.store().component(component);
    let bytes = bytes.map_err(|e| Refusal::new(RefusalCode::Internal, e.to_string()))?;
    let bytes = bytes.ok_or_else(|| unknown(format!("component {component} is not here")))?;
    let chunk = bytes.chunks(CHUNK_BYTES).nth(index as usize);
    let chunk = chunk.ok_or_else(|| unknown(format!("component {component} has no chunk {index}")))?;
    Ok(Response::Chunk { bytes: chunk.to_vec() })
}
