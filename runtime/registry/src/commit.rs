//! Making what was taken in durable: the statements first, then the words.

use crate::{
    Registry, RegistryError,
    fetch::payload_of,
    meaning::Meaning,
    registry::{io, lock},
    state::Pending,
    store::{Batch, Meta, Table},
    words::Words,
};
use actum_model::Descriptor;
use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, atomic::Ordering},
};
use tantivy::IndexWriter;

/// Who makes commits, one at a time.
pub(crate) struct Committer {
    pub(crate) writer: IndexWriter,
    /// Documents deleted from the index whose rows are still among the doomed.
    pub(crate) done: BTreeSet<u64>,
    /// Whether the index may hold documents of this registry's slots that it does not know of: after a restart.
    pub(crate) unsure: bool,
    /// When [`Registry::tick`] last committed.
    pub(crate) last: u64,
}

/// How many rows one statement may change, or one expiry: its own, its bytes, its vector, its document's.
const CHANGES: usize = 4;

/// A descriptor whose document is to be made, and whether there may be one before.
struct Said {
    slot: u32,
    generation: u32,
    replaces: bool,
    descriptor: Arc<Descriptor>,
}

impl Registry {
    /// Forgets what expired, and commits if [`commit_every`](crate::RegistryLimits::commit_every) seconds went by since it
    /// last did, or if more waits to be written than a commit's worth of statements would. To be called
    /// every second or few.
    ///
    /// # Errors
    /// The commit failed. What it would have made durable is kept, and tried again.
    pub fn tick(&self, now: u64) -> Result<(), RegistryError> {
        let changes = {
            let mut state = self.write();
            state.expire(now);
            state.pending.batch.len()
        };
        {
            let mut committer = lock(&self.committer);
            let due = now >= committer.last.saturating_add(self.limits.commit_every);
            // What expires is no statement, but waits in memory to be deleted all the same.
            if !due && changes < self.limits.commit_after.saturating_mul(CHANGES) {
                return Ok(());
            }
            committer.last = now;
        }
        self.commit()
    }

    /// Makes all that was taken in durable, and its words found.
    ///
    /// # Errors
    /// Disk or index failed. What it would have made durable is kept, and tried again.
    pub fn commit(&self) -> Result<(), RegistryError> {
        let mut committer = lock(&self.committer);
        let (pending, batch, epoch) = {
            let mut state = self.write();
            if state.pending.is_empty() {
                return Ok(());
            }
            let mut pending = std::mem::take(&mut state.pending);
            let batch = Arc::new(std::mem::take(&mut pending.batch));
            state.committing = Some(Arc::clone(&batch));
            (pending, batch, state.epoch)
        };
        let made = self.commit_batch(&mut committer, &pending, &batch, epoch);
        let mut state = self.write();
        state.committing = None;
        match made {
            Ok(()) => {
                drop(state);
                self.epoch.store(epoch, Ordering::Release);
                self.write_epoch(epoch)
            }
            Err(e) => {
                let batch = Arc::unwrap_or_clone(batch);
                state.pending.absorb(Pending { batch, ..pending });
                Err(e)
            }
        }
    }

    fn commit_batch(
        &self,
        committer: &mut Committer,
        pending: &Pending,
        batch: &Batch,
        epoch: u64,
    ) -> Result<(), RegistryError> {
        let mut more = Batch::new();
        let said = self.to_say(pending);
        let mut vectors = Vec::new();
        if let Some(embedder) = &self.embedder {
            for Said { slot, descriptor, .. } in &said {
                let vector = Meaning::of(&**embedder, descriptor);
                more.insert((Table::Vectors, u64::from(*slot)), Some(vector.to_bytes()));
                vectors.push((*slot, vector));
            }
        }
        more.extend(committer.done.iter().map(|stamp| ((Table::Doomed, *stamp), None)));
        let embedder = self.embedder.as_ref().map(|e| e.name()).unwrap_or_default();
        // The statements first: an index that is behind can be brought up to them, not the other way round.
        self.store.write(&[batch, &more], &Meta { epoch, embedder })?;
        committer.done.clear();
        if said.is_empty() && pending.doomed.is_empty() {
            return Ok(());
        }
        if let Err(e) = self.index(committer, &said, &pending.doomed, epoch) {
            // What was half said is unsaid, to be said again whole.
            committer.writer.rollback()?;
            committer.unsure = true;
            return Err(e);
        }
        committer.done.clone_from(&pending.doomed);
        committer.unsure = false;
        let snapshot = self.words.snapshot(epoch)?;
        self.meaning.write().unwrap_or_else(PoisonError::into_inner).extend(vectors);
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
        Ok(())
    }

    /// The descriptors whose documents are to be made.
    fn to_say(&self, pending: &Pending) -> Vec<Said> {
        let state = self.read();
        let mut say = Vec::with_capacity(pending.say.len());
        for (slot, descriptor) in &pending.say {
            let Some(entry) = state.offers.get(*slot) else { continue };
            // After a restart only the statement is there.
            let read = || {
                let bytes = self.store.get(Table::Descriptors, u64::from(*slot)).ok()??;
                payload_of::<Descriptor>(&bytes).map(Arc::new)
            };
            let replaces = entry.generation != entry.taken as u32;
            if let Some(descriptor) = descriptor.clone().or_else(read) {
                say.push(Said { slot: *slot, generation: entry.generation, replaces, descriptor });
            }
        }
        say
    }

    fn index(
        &self,
        committer: &mut Committer,
        said: &[Said],
        doomed: &BTreeSet<u64>,
        epoch: u64,
    ) -> Result<(), RegistryError> {
        for stamp in doomed {
            self.words.unsay(&committer.writer, *stamp);
        }
        for Said { slot, generation, replaces, descriptor } in said {
            let replaces = *replaces || committer.unsure;
            self.words.say(&committer.writer, *slot, *generation, descriptor, replaces)?;
        }
        Ok(Words::commit(&mut committer.writer, epoch)?)
    }

    /// Keeps the epoch beside the database too: it outlives one that is damaged.
    pub(crate) fn write_epoch(&self, epoch: u64) -> Result<(), RegistryError> {
        let (path, new) = (self.dir.join("epoch"), self.dir.join("epoch.new"));
        std::fs::write(&new, epoch.to_string()).map_err(io(&new))?;
        std::fs::rename(&new, &path).map_err(io(&path))
    }
}
