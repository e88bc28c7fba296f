//! A node that is a registry: an index of others' offers on disk, each provider probed before it is ranked, and reconciled
//! with other registries.

mod probe;
mod pull;
mod reconcile;

use crate::{
    clock,
    find::{exact_keys, word_keys},
    home::Home,
    node::Service,
};
use actum_discovery::Found;
use actum_model::{Query, Signed, Tombstone};
use actum_overlay::Overlay;
use actum_registry::{Embedder, ModelError, Registry, RegistryError, RegistryLimits, StaticModel};
use reconcile::Answering;
use serde_bytes::ByteBuf;
use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How often the registry tidies up, and commits what is due: an offer is found a second or two after it was announced.
const TICK: Duration = Duration::from_millis(500);
/// How often offers are looked for that nobody has probed.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// Offers probed at once, each of another provider.
const PROBES: usize = 8;
/// Of those, the most of one address prefix: whoever lets probes hang holds up no more than these.
const PROBES_PER_PREFIX: usize = 2;
/// How often another registry is asked what it has: soon after the start, then at leisure. What a provider announces lives
/// for minutes at least.
const RECONCILE_EVERY: Duration = Duration::from_secs(60);
/// How soon for the first time, and again while no other is known.
const RECONCILE_FIRST: Duration = Duration::from_secs(5);

/// Why a node cannot be a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryStartError {
    /// The directory cannot be used.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The model for meanings cannot be used.
    #[error("the model for meanings in {dir} cannot be used")]
    Model {
        /// Its directory.
        dir: String,
        /// Why.
        source: ModelError,
    },
}

/// The registry of a node.
pub(crate) struct Keeping {
    registry: Registry,
    answering: Mutex<Answering>,
    wanted: Mutex<pull::Wanted>,
}

impl Keeping {
    /// Opens the registry of a home; with the model in `model`, offers are ranked by meaning too.
    pub(crate) fn open(home: &Home, model: Option<&Path>) -> Result<Self, RegistryStartError> {
        let embedder = match model {
            None => None,
            Some(dir) => {
                let unusable = |source| RegistryStartError::Model { dir: dir.display().to_string(), source };
                let model = StaticModel::load(dir).map_err(unusable)?;
                Some(Arc::new(model) as Arc<dyn Embedder>)
            }
        };
        let dir = home.root().join("registry");
        let registry = Registry::open_with(&dir, RegistryLimits::default(), embedder, clock::now_secs())?;
        if let Some(damage) = registry.damage() {
            tracing::warn!(?damage, "the registry was damaged, and is rebuilt");
        }
        Ok(Self { registry, answering: Mutex::default(), wanted: Mutex::default() })
    }

    /// Takes an announcement in that was verified. What is refused here was refused in memory, too, or shows in the counts.
    pub(crate) fn observe(&self, lease: &[u8], descriptors: &[ByteBuf]) {
        let now = clock::now_secs();
        for statement in descriptors.iter().map(|d| d.as_slice()).chain([lease]) {
            if let Err(error) = self.registry.observe(statement, now) {
                tracing::debug!(%error, code = error.code(), "the registry did not take a statement in");
            }
        }
    }

    /// Takes a tombstone in.
    pub(crate) fn take_back(&self, tombstone: &Signed<Tombstone>) {
        if let Err(error) = self.registry.observe_tombstone(tombstone, clock::now_secs()) {
            tracing::debug!(%error, "the registry did not take a tombstone in");
        }
    }

    /// What answers a query, and at which epoch. Where that is less than was asked for, it is looked for on the advertise
    /// plane, for whoever asks next.
    pub(crate) fn search(&self, query: &Query) -> Result<(Vec<Found>, u64), RegistryError> {
        // The epoch first: what comes in meanwhile is then no omission.
        let (epoch, now) = (self.registry.epoch(), clock::now_secs());
        let found = self.registry.search(query, now)?;
        if u32::try_from(found.len()).is_ok_and(|n| n < query.limit) {
            let keys = exact_keys(&query.text, &query.filters).into_iter().chain(word_keys(&query.text));
            self.wanted.lock().unwrap_or_else(PoisonError::into_inner).want(query.iss, keys, now);
        }
        Ok((found, epoch))
    }

    /// Makes what was taken in durable.
    pub(crate) fn commit(&self) {
        if let Err(error) = self.registry.commit() {
            tracing::error!(%error, "the registry could not be written");
        }
    }
}

/// Tidies up, probes, reconciles and looks for what it lacks. Runs until it is dropped.
pub(crate) async fn run(service: Arc<Service>, keeping: Arc<Keeping>, overlay: Overlay) {
    futures::join!(
        tidy(keeping.clone()),
        probe::run(&service, &keeping, &overlay),
        reconcile::run(&service, &keeping, &overlay),
        pull::run(&service, &keeping, &overlay),
    );
}

async fn tidy(keeping: Arc<Keeping>) {
    loop {
        tokio::time::sleep(TICK).await;
        let ticked = blocking(&keeping, |registry| registry.tick(clock::now_secs())).await;
        if let Some(Err(error)) = ticked {
            tracing::error!(%error, "the registry could not be written");
        }
    }
}

/// Does something with the registry where waiting for a disk is allowed. Nothing comes of it where it panicked.
async fn blocking<T: Send + 'static>(
    keeping: &Arc<Keeping>,
    work: impl FnOnce(&Registry) -> T + Send + 'static,
) -> Option<T> {
    let keeping = keeping.clone();
    tokio::task::spawn_blocking(move || work(&keeping.registry)).await.ok()
}
