//! Opening a directory: reading back what is kept in memory, bringing the index up to the statements, and beginning anew where
//! something is damaged.

use crate::{
    Damage, Embedder, Registry, RegistryError, RegistryLimits,
    commit::Committer,
    fetch::payload_of,
    meaning::{Meaning, Meant},
    recent::Recent,
    registry::io,
    rows,
    state::{Buried, Ending, Entry, Place, Provider, State, ip_of},
    store::{Batch, Meta, Store, Table, is_damage},
    words::Words,
};
use actum_model::{Descriptor, Lease};
use std::{
    collections::BTreeSet,
    fs::{self, File, TryLockError},
    io::ErrorKind,
    path::Path,
    sync::{Arc, Mutex, RwLock, atomic::AtomicU64},
};

/// How many statements' vectors are written at once when all are made anew.
const VECTORS_AT_ONCE: usize = 10_000;

/// Why statements could not be read back.
enum Lost {
    Damaged(String),
    Failed(RegistryError),
}

impl From<rusqlite::Error> for Lost {
    fn from(e: rusqlite::Error) -> Self {
        if is_damage(&e) { Self::Damaged(e.to_string()) } else { Self::Failed(e.into()) }
    }
}

impl Registry {
    /// Opens the registry in a directory, or makes one there. The directory is this process's alone until the registry is
    /// dropped, and its owner's: what lies in it was verified when it was taken in, and is verified again when it is
    /// given out.
    ///
    /// What is damaged is rebuilt, and [`Registry::damage`] says so: words from the statements; statements, which are soft state, from
    /// what providers announce next.
    ///
    /// # Errors
    /// [`RegistryError::InUse`]; or the directory cannot be read and written.
    pub fn open(dir: &Path, limits: RegistryLimits, now: u64) -> Result<Self, RegistryError> {
        Self::open_with(dir, limits, None, now)
    }

    /// As [`Registry::open`], with a model for meanings.
    ///
    /// # Errors
    /// As [`Registry::open`].
    pub fn open_with(
        dir: &Path,
        limits: RegistryLimits,
        embedder: Option<Arc<dyn Embedder>>,
        now: u64,
    ) -> Result<Self, RegistryError> {
        fs::create_dir_all(dir).map_err(io(dir))?;
        let held = lock(dir)?;
        let mut kept_epoch = read_epoch(dir);
        let (database, words_dir) = (dir.join("statements.db"), dir.join("words"));
        let mut damage = None;
        let read = Store::open(&database).map_err(Lost::from).and_then(|store| {
            let (state, skipped) = load(&store, limits, now)?;
            Ok((store, state, skipped))
        });
        let (store, mut state, skipped) = match read {
            Ok(read) => read,
            Err(Lost::Failed(e)) => return Err(e),
            Err(Lost::Damaged(why)) => {
                let indexed = Words::open(&words_dir).and_then(|words| words.epoch()).unwrap_or(0);
                kept_epoch = kept_epoch.max(indexed);
                remove(&database)?;
                remove_dir(&words_dir)?;
                damage = Some(Damage::Statements { why });
                (Store::open(&database)?, State::new(limits), 0)
            }
        };
        let meta = store.meta()?;
        state.epoch = meta.epoch.max(kept_epoch);
        let (words, why) = open_words(&words_dir, meta.epoch)?;
        let why = why.or_else(|| (skipped > 0).then(|| format!("{skipped} rows are damaged")));
        let words = match (&why, skipped) {
            (Some(_), 1..) => {
                drop(words);
                remove_dir(&words_dir)?;
                open_words(&words_dir, 0)?.0
            }
            _ => words,
        };
        let indexed = words.epoch()?;
        let writer = words.writer()?;
        let snapshot = RwLock::new(words.snapshot(indexed)?);
        let committer = Committer { writer, done: BTreeSet::new(), unsure: true, last: now };
        let epoch = state.epoch;
        // What the index does not know yet, and what it does not know to be gone.
        let again = state.offers.iter().filter(|(_, e)| e.taken > indexed).map(|(slot, _)| slot);
        let again: BTreeSet<_> = again.collect();
        let mut doomed = BTreeSet::new();
        store.scan(Table::Doomed, |stamp, _| {
            doomed.insert(stamp);
            Ok::<_, rusqlite::Error>(())
        })?;
        let rebuild = why.is_some() || again.len() > limits.commit_after.saturating_mul(4);
        if !rebuild {
            state.pending.say = again.into_iter().map(|slot| (slot, None)).collect();
            state.pending.doomed = doomed;
        }
        if damage.is_none() {
            damage = why.map(|why| Damage::Words { why });
        }
        let registry = Self {
            dir: dir.to_owned(),
            limits,
            state: RwLock::new(state),
            store,
            words,
            snapshot,
            committer: Mutex::new(committer),
            epoch: AtomicU64::new(epoch),
            probe_from: Mutex::default(),
            recent: Mutex::new(Recent::default()),
            embedder,
            meaning: RwLock::new(Meaning::default()),
            damage,
            _lock: held,
        };
        if rebuild {
            match registry.index_all(epoch) {
                // Found out only when every statement was read.
                Err(RegistryError::Store(e)) if is_damage(&e) => {
                    let embedder = registry.embedder.clone();
                    drop(registry);
                    remove(&database)?;
                    remove_dir(&words_dir)?;
                    let mut anew = Self::open_with(dir, limits, embedder, now)?;
                    anew.damage = Some(Damage::Statements { why: e.to_string() });
                    return Ok(anew);
                }
                done => done?,
            }
        }
        registry.read_meanings(&meta)?;
        registry.commit()?;
        Ok(registry)
    }

    /// Makes every document anew, from the statements.
    fn index_all(&self, epoch: u64) -> Result<(), RegistryError> {
        let mut committer = crate::registry::lock(&self.committer);
        committer.writer.delete_all_documents()?;
        {
            let state = self.read();
            self.store.scan(Table::Descriptors, |slot, bytes| {
                let slot = slot as u32;
                let (Some(entry), Some(d)) = (state.offers.get(slot), payload_of::<Descriptor>(bytes)) else {
                    return Ok(());
                };
                self.words.say(&committer.writer, slot, entry.generation, &d, false)?;
                Ok::<_, RegistryError>(())
            })?;
        }
        Words::commit(&mut committer.writer, epoch)?;
        self.store.clear(Table::Doomed)?;
        *self.snapshot.write().unwrap_or_else(std::sync::PoisonError::into_inner) =
            self.words.snapshot(epoch)?;
        Ok(())
    }

    /// Reads the vectors back, or makes them anew where they are another model's.
    fn read_meanings(&self, meta: &Meta) -> Result<(), RegistryError> {
        let Some(embedder) = &self.embedder else {
            if !meta.embedder.is_empty() {
                self.store.clear(Table::Vectors)?;
                self.store.write(&[], &Meta { embedder: String::new(), ..meta.clone() })?;
            }
            return Ok(());
        };
        let mut meaning = Meaning::default();
        if meta.embedder == embedder.name() {
            self.store.scan(Table::Vectors, |slot, bytes| {
                meaning.extend([(slot as u32, Meant::read(bytes))]);
                Ok::<_, rusqlite::Error>(())
            })?;
        } else {
            self.store.clear(Table::Vectors)?;
            let meta = Meta { embedder: embedder.name(), ..meta.clone() };
            let mut batch = Batch::new();
            let slots: Vec<_> = self.read().offers.iter().map(|(slot, _)| slot).collect();
            for slot in slots {
                let bytes = self.store.get(Table::Descriptors, u64::from(slot))?;
                let Some(d) = bytes.as_deref().and_then(payload_of::<Descriptor>) else { continue };
                let meant = Meaning::of(&**embedder, &d);
                batch.insert((Table::Vectors, u64::from(slot)), Some(meant.to_bytes()));
                meaning.extend([(slot, meant)]);
                if batch.len() >= VECTORS_AT_ONCE {
                    self.store.write(&[&std::mem::take(&mut batch)], &Meta::default_embedder(&meta))?;
                }
            }
            self.store.write(&[&batch], &meta)?;
        }
        *self.meaning.write().unwrap_or_else(std::sync::PoisonError::into_inner) = meaning;
        Ok(())
    }
}

impl Meta {
    /// The same, of nobody's vectors: while they are being made they are not all there.
    fn default_embedder(meta: &Self) -> Self {
        Self { embedder: String::new(), ..meta.clone() }
    }
}

/// Reads the state back, and says how many rows were damaged and left out.
fn load(store: &Store, limits: RegistryLimits, now: u64) -> Result<(State, usize), Lost> {
    if !store.is_ours()? {
        return Err(Lost::Damaged("the file is of another version".to_owned()));
    }
    let mut state = State::new(limits);
    let mut skipped = Vec::new();
    store.scan(Table::Providers, |key, row| {
        let (place, read) = (key as u32, rows::read_provider(row));
        let Some((did, generation, lease)) = read else {
            skipped.push((Table::Providers, place));
            return Ok(());
        };
        if let Some(lease) = &lease {
            state.note_id(&lease.id, Place::Lease(place));
        }
        state.by_did.insert(did, place);
        let (offers, buried) = (Vec::new(), Vec::new());
        let provider = Provider { did, generation, lease, offers, buried, ends: false, standing: None };
        state.providers.restore(place, provider);
        Ok::<_, Lost>(())
    })?;
    let reached = store.scan(Table::Leases, |key, bytes| {
        if let Some(lease) = state.providers.get_mut(key as u32).and_then(|p| p.lease.as_mut()) {
            lease.ip = payload_of::<Lease>(bytes).as_ref().and_then(ip_of);
        }
        Ok::<_, rusqlite::Error>(())
    });
    if let Err(e) = reached
        && !is_damage(&e)
    {
        // A lease that is damaged is found out when it is asked for.
        return Err(e.into());
    }
    store.scan(Table::Tombstones, |key, row| {
        let key = key as u32;
        let held = Buried::read(key, row)
            .and_then(|(place, buried)| Some((state.providers.get_mut(place)?, buried)));
        let Some((provider, buried)) = held else {
            skipped.push((Table::Tombstones, key));
            return Ok(());
        };
        let id = buried.id;
        provider.buried.push(buried);
        state.note_id(&id, Place::Tombstone(key));
        state.graves.restore(key, ());
        Ok::<_, Lost>(())
    })?;
    store.scan(Table::Offers, |key, row| {
        let slot = key as u32;
        let held = Entry::read(row).and_then(|e| Some((state.providers.get_mut(e.provider)?, e)));
        let Some((provider, mut entry)) = held else {
            skipped.push((Table::Offers, slot));
            return Ok(());
        };
        entry.resume(slot, now);
        provider.offers.push(slot);
        state.probes.note(slot, &entry);
        state.note_id(&entry.id, Place::Descriptor(slot));
        state.mark(slot, entry.probed == crate::state::Probed::Answers);
        state.end_at(entry.exp, Ending::Offer { slot, generation: entry.generation });
        state.offers.restore(slot, entry);
        Ok::<_, Lost>(())
    })?;
    state.providers.settle();
    state.graves.settle();
    state.offers.settle();
    for place in 0..state.providers.numbers() {
        state.provider_ends(place);
        state.rank(place);
    }
    for (table, key) in &skipped {
        state.delete(*table, *key);
    }
    Ok((state, skipped.len()))
}

/// Opens the index, or a new one where it is damaged or ahead of the statements; then why.
fn open_words(dir: &Path, epoch: u64) -> Result<(Words, Option<String>), RegistryError> {
    fs::create_dir_all(dir).map_err(io(dir))?;
    let read = Words::open(dir).and_then(|words| Ok((words.epoch()?, words)));
    let why = match read {
        Ok((indexed, words)) if indexed <= epoch => return Ok((words, None)),
        Ok((indexed, _)) => format!("it is of epoch {indexed}, the statements of {epoch}"),
        Err(e) => e.to_string(),
    };
    remove_dir(dir)?;
    fs::create_dir_all(dir).map_err(io(dir))?;
    Ok((Words::open(dir)?, Some(why)))
}

fn lock(dir: &Path) -> Result<File, RegistryError> {
    let path = dir.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(RegistryError::InUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(e)) => Err(io(&path)(e)),
    }
}

/// The epoch kept beside the database; 0 where there is none.
fn read_epoch(dir: &Path) -> u64 {
    let text = fs::read_to_string(dir.join("epoch")).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// Removes a database with its journals.
fn remove(database: &Path) -> Result<(), RegistryError> {
    for suffix in ["", "-wal", "-shm"] {
        let mut path = database.as_os_str().to_owned();
        path.push(suffix);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(io(Path::new(&path))(e)),
            _ => {}
        }
    }
    Ok(())
}

fn remove_dir(dir: &Path) -> Result<(), RegistryError> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(io(dir)(e)),
        _ => Ok(()),
    }
}
