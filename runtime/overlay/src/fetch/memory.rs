//! A component fetched into memory: for tools that keep nothing.

use super::{Put, Sink, Wanted};
use crate::BoxFuture;
use actum_model::{ComponentId, id::sha256, release::CHUNK_BYTES};
use serde_bytes::ByteArray;

/// Keeps the chunks in memory: as many bytes as the component has, at most 64 MiB.
#[derive(Debug)]
pub struct InMemory {
    component: ComponentId,
    digests: Vec<ByteArray<32>>,
    bytes: Vec<u8>,
    verified: Vec<bool>,
}

impl InMemory {
    /// Nothing of it yet.
    pub fn new(wanted: &Wanted) -> Self {
        Self {
            component: wanted.component(),
            digests: wanted.chunks().to_vec(),
            bytes: vec![0; usize::try_from(wanted.bytes()).unwrap_or(0)],
            verified: vec![false; wanted.chunks().len()],
        }
    }

    /// The component, if all of it is here and together it is what its id names.
    pub fn finish(self) -> Option<Vec<u8>> {
        let whole = self.verified.iter().all(|here| *here) && self.component.names(&self.bytes);
        whole.then_some(self.bytes)
    }
}

impl Sink for InMemory {
    fn verified(&self) -> Vec<bool> {
        self.verified.clone()
    }

    fn put(&mut self, index: u32, chunk: Vec<u8>) -> BoxFuture<'_, Result<Put, String>> {
        let place = index as usize;
        let right = self.digests.get(place).is_some_and(|wanted| **wanted == sha256(&chunk));
        let (room, here) = (self.bytes.chunks_mut(CHUNK_BYTES).nth(place), self.verified.get_mut(place));
        let put = match (room, here) {
            (Some(room), Some(here)) if right && room.len() == chunk.len() => {
                room.copy_from_slice(&chunk);
                *here = true;
                Put::Kept
            }
            _ => Put::Wrong,
        };
        Box::pin(std::future::ready(Ok(put)))
    }
}
