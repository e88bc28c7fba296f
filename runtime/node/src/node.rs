//! A running peer: listens, announces, answers, drains.

use crate::{
    announcing::{Announcing, refresh},
    attest::AttestError,
    auditor,
    authority::Gate,
    balances, clock,
    config::{Config, OfferConfig},
    content::{self, Source},
    events::NodeEvent,
    flights::{Lingering, Slot},
    fraud::Accusing,
    home::{Home, HomeError},
    intakes::Intakes,
    keeper::Keeping,
    plane::Plane,
    provider::{Call, CancelToken, Executor, Honest, LiveOffer, Provider, ProviderConfig, Unusable},
    registry::{self, RegistryStartError},
    requester,
    resolve::{self, ResolveError},
    spread::Spread,
};
use actum_discovery::{
    Announcer, Index,
    advertise::{Key, LocalAddresses, Registration, Ticket},
};
use actum_model::{Did, Lease, Offer, Page, Query, Region, Release, ReleaseId, Signed};
use actum_overlay::{
    Accusation, BoxFuture, FetchError, Handler, Multiaddr, Overlay, OverlayError, Placed, ProgressSender,
    RawProtocol, Refusal, RefusalCode, Request, Response, SessionHandle, Traffic,
};
use actum_sandbox::{EngineKind, SandboxConfig, SandboxError};
use actum_store::StoreError;
use std::{
    collections::BTreeSet,
    fs::File,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, broadcast},
    task::JoinHandle,
};

/// Events kept for a slow reader; older ones are dropped for it.
const EVENTS: usize = 256;
/// How long one bootstrap peer gets to give a release or a component.
const FETCH_DEADLINE: Duration = Duration::from_secs(120);
/// How often a node that drains looks whether it is done.
const DRAIN_POLL: Duration = Duration::from_millis(50);

/// Why a node could not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// An offer names a release that is not here and cannot be fetched.
    #[error(transparent)]
    Offer(#[from] ResolveError),
    /// A release or component of an offer could not be fetched from any bootstrap peer.
    #[error("offer {offer:?} is not in this home, and no bootstrap peer could give it{}", tried.iter().map(|t| format!("; {t}")).collect::<String>())]
    Unavailable {
        /// The offer as configured.
        offer: String,
        /// What each peer answered.
        tried: Vec<String>,
    },
    /// An offer's component cannot be run, or is not what its release says.
    #[error("offer {offer:?} cannot be hosted: {why}")]
    Unusable {
        /// The offer as configured.
        offer: String,
        /// Why not.
        why: String,
    },
    /// Two offers are the same component, so neither's list of callers would hold.
    #[error("offer {offer:?} is the same component as offer {other}")]
    Duplicate {
        /// The later offer as configured.
        offer: String,
        /// The earlier one.
        other: String,
    },
    /// A configured limit is more than this machine's sandbox gives.
    #[error("limits.{limit} is {asked}; the sandbox gives at most {ceiling}")]
    Limit {
        /// The limit's name.
        limit: &'static str,
        /// What the configuration says.
        asked: u64,
        /// What the sandbox gives.
        ceiling: u64,
    },
    /// Another node of this home is running.
    #[error("another node of this home is running")]
    AlreadyRunning,
    /// An address to listen on is not a multiaddr.
    #[error("{address:?} is not a multiaddr, such as /ip4/127.0.0.1/tcp/4001")]
    BadAddress {
        /// The address as configured.
        address: String,
    },
    /// The network could not be set up.
    #[error("the network could not be set up")]
    Overlay(#[from] OverlayError),
    /// Its platform cannot attest receipts.
    #[error("receipts cannot be attested")]
    Attest(#[from] AttestError),
    /// It cannot be a registry.
    #[error("the registry cannot be opened")]
    Registry(#[from] RegistryStartError),
    /// The sandbox could not be made.
    #[error("the sandbox could not be made")]
    Sandbox(#[from] SandboxError),
    /// The home failed.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What answers other peers' requests.
pub(crate) struct Service {
    pub(crate) home: Arc<Home>,
    pub(crate) spread: Arc<Spread>,
    pub(crate) accusing: Arc<Accusing>,
    pub(crate) plane: Arc<Plane>,
    pub(crate) intakes: Intakes,
    /// Set once it has started.
    pub(crate) overlay: OnceLock<Overlay>,
    /// The index on disk, where this node is a registry.
    pub(crate) registry: Option<Arc<registry::Keeping>>,
    pub(crate) provider: Provider,
    index: Mutex<Index>,
    pub(crate) limits: actum_model::Limits,
    pub(crate) region: Option<Region>,
    pub(crate) capacity: NonZeroU32,
    announcing: Mutex<Announcing>,
    /// Where it can be reached has changed, and others are to hear of it.
    pub(crate) moved: Notify,
    pub(crate) events: broadcast::Sender<NodeEvent>,
}

/// A running node. Dropping it ends it at once; [`Node::drain`] and [`Node::stop`] end it well.
pub struct Node {
    service: Arc<Service>,
    overlay: Overlay,
    drain: Duration,
    refresher: JoinHandle<()>,
    spreader: JoinHandle<()>,
    accusing: JoinHandle<()>,
    advertising: JoinHandle<()>,
    standing: JoinHandle<()>,
    auditing: JoinHandle<()>,
    registering: Option<JoinHandle<()>>,
    keeping: Keeping,
    /// Held for as long as the node runs: two nodes of one home would speak over each other with one key.
    _lock: File,
}

impl Node {
    /// Starts a node: listens, gets what it offers, and announces itself to the bootstrap peers that can be reached.
    ///
    /// `executor` is how admitted actions are executed; `None` means in the sandbox, as every honest node does.
    pub async fn start(
        home: Arc<Home>,
        config: Config,
        executor: Option<Arc<dyn Executor>>,
    ) -> Result<Self, NodeError> {
        Self::start_with(home, config, executor, Vec::new()).await
    }

    /// As [`Node::start`], and takes streams of other planes' protocols on the same connections.
    pub async fn start_with(
        home: Arc<Home>,
        config: Config,
        executor: Option<Arc<dyn Executor>>,
        raw_protocols: Vec<RawProtocol>,
    ) -> Result<Self, NodeError> {
        let overlay_config =
            config.overlay(raw_protocols).map_err(|address| NodeError::BadAddress { address })?;
        let lock = home.lock_for_node()?.ok_or(NodeError::AlreadyRunning)?;
        let cores =
            std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX));
        let parallel = config.parallel.unwrap_or(NonZeroU32::new(cores).unwrap_or(NonZeroU32::MIN));
        let sandbox = home.sandbox_from(SandboxConfig {
            engine: EngineKind::Cranelift,
            wall_clock: config.wall_clock(),
            ..SandboxConfig::default()
        })?;
        if let Some((limit, asked, ceiling)) = config.limits.exceeds(&sandbox.ceiling()) {
            return Err(NodeError::Limit { limit, asked, ceiling });
        }
        let (attest, at) = (config.attest.clone(), home.clone());
        // The task does not panic and is not aborted, so it gives its result.
        let attester = tokio::task::spawn_blocking(move || attest.attester(&at)).await.unwrap_or(Ok(None))?;
        let (events, _) = broadcast::channel(EVENTS);
        let gate = Arc::new(Gate::new(home.clone(), &config)?);
        let (provider, keeping) = Provider::new(
            home.clone(),
            sandbox,
            executor.unwrap_or_else(|| Arc::new(Honest)),
            gate.clone(),
            ProviderConfig {
                limits: config.limits.clone(),
                parallel,
                queue: config.queue,
                giving: config.giving,
                args_bytes: (config.args_bytes as usize).min(actum_store::MAX_BLOB_BYTES),
                attester,
            },
            events.clone(),
        );
        let now = clock::now_secs();
        home.store().sweep_temporary(now)?;
        // An index that is built anew counts on: no node takes in a million statements a second.
        let mut index = Index::default().at_epoch(now << 20);
        let mut last_seq = 0;
        for known in home.store().offers(now)? {
            if known.lease.payload().iss == home.did() {
                last_seq = last_seq.max(known.lease.payload().seq);
            }
            let _ = index.observe_descriptor(known.descriptor, now);
            let _ = index.observe_lease(known.lease, now);
        }
        let local = match overlay_config.exempts_loopback() {
            true => LocalAddresses::Exempt,
            false => LocalAddresses::Count,
        };
        let registry = match config.registry {
            true => Some(Arc::new(registry::Keeping::open(&home, config.model.as_deref())?)),
            false => None,
        };
        let service = Arc::new(Service {
            registry: registry.clone(),
            plane: Arc::new(Plane::new(home.did(), local)),
            intakes: Intakes::new(local),
            overlay: OnceLock::new(),
            home: home.clone(),
            spread: Arc::new(Spread::new(gate)),
            accusing: Arc::new(Accusing::new(home.clone(), events.clone())),
            provider,
            index: Mutex::new(index),
            limits: config.limits.clone(),
            region: config.region.clone(),
            capacity: parallel,
            announcing: Mutex::new(Announcing {
                announcer: Announcer::new(config.announce.lifetimes(), last_seq),
                addresses: Vec::new(),
                lease: Vec::new(),
                descriptors: Vec::new(),
                registries: Vec::new(),
                told: BTreeSet::new(),
            }),
            moved: Notify::new(),
            events,
        });
        let overlay = Overlay::start(overlay_config, home.key()?, Arc::new(Answers(service.clone()))).await?;
        let _ = service.overlay.set(overlay.clone());
        service.announcing().addresses = reachable(&overlay);
        for known in home.store().peers()? {
            if let Ok(address) = known.addr.parse() {
                // One that is out of reach here is simply not known.
                let _ = overlay.add_peer(known.did, vec![address]).await;
            }
        }
        if config.registry {
            service.plane.advertise_registry();
        }
        for offer in &config.offers {
            let live = service.get_offer(&overlay, offer, &config.bootstrap).await?;
            let name = offer.release.clone();
            service.provider.offer(live).map_err(|other| NodeError::Duplicate { offer: name, other })?;
        }
        service.announce(clock::now_secs());
        let join = config
            .bootstrap
            .iter()
            .map(async |address| (!service.join(&overlay, address).await).then(|| address.clone()));
        let missed = futures::future::join_all(join).await.into_iter().flatten().collect();
        let refresher =
            tokio::spawn(refresh(service.clone(), overlay.clone(), missed, config.bootstrap.clone()));
        let spreader = tokio::spawn(service.spread.clone().run(overlay.clone()));
        let accusing = tokio::spawn(service.accusing.clone().run(overlay.clone()));
        let advertising = tokio::spawn(service.plane.clone().run(overlay.clone()));
        let standing = tokio::spawn(service.clone().keep_status(overlay.clone()));
        let (owing, busy) = (service.home.clone(), service.clone());
        let auditing = tokio::spawn(auditor::run(owing, move || busy.provider.running()));
        let registering =
            registry.map(|keeping| tokio::spawn(registry::run(service.clone(), keeping, overlay.clone())));
        let drain = config.drain();
        Ok(Self {
            service,
            overlay,
            drain,
            refresher,
            spreader,
            accusing,
            advertising,
            standing,
            auditing,
            registering,
            keeping,
            _lock: lock,
        })
    }

    /// Who this node is.
    pub fn did(&self) -> Did {
        self.service.home.did()
    }

    /// Where it listens, each with its peer id.
    pub fn addresses(&self) -> Vec<String> {
        self.overlay.addresses().iter().map(ToString::to_string).collect()
    }

    /// What it offers, as `name@version`.
    pub fn offers(&self) -> Vec<String> {
        let name =
            |o: Arc<LiveOffer>| format!("{}@{}", o.release.payload().name, o.release.payload().version);
        self.service.provider.offers().into_iter().map(name).collect()
    }

    /// What happens from now on.
    pub fn events(&self) -> broadcast::Receiver<NodeEvent> {
        self.service.events.subscribe()
    }

    /// What its sessions carried since it started, by what it was for.
    pub fn traffic(&self) -> Traffic {
        self.overlay.traffic()
    }

    /// Actions running or waiting.
    pub fn running(&self) -> u32 {
        self.service.provider.running()
    }

    /// Admits nothing more and waits for what runs; says whether all of it ended in the configured time.
    pub async fn drain(&self) -> bool {
        self.service.provider.stop_admitting();
        let ended = async {
            while self.running() > 0 {
                tokio::time::sleep(DRAIN_POLL).await;
            }
        };
        tokio::time::timeout(self.drain, ended).await.is_ok()
    }

    /// Ends the node: what still runs is cancelled, receipts are stored.
    pub async fn stop(self) {
        let Self {
            service,
            overlay,
            refresher,
            spreader,
            accusing,
            advertising,
            standing,
            auditing,
            registering,
            keeping,
            ..
        } = self;
        service.provider.stop_admitting();
        service.provider.cancel_all();
        for task in
            [refresher, spreader, accusing, advertising, standing, auditing].into_iter().chain(registering)
        {
            task.abort();
            let _ = task.await;
        }
        service.leave(&overlay).await;
        crate::status::remove(&service.home);
        if let Some(registry) = &service.registry {
            registry.commit();
        }
        overlay.shutdown().await;
        drop(overlay);
        drop(service);
        // What could not be stored was logged when it happened.
        let _ = keeping.await;
    }
}

/// The addresses a lease carries: those confirmed from elsewhere first, then those listened on.
pub(crate) fn reachable(overlay: &Overlay) -> Vec<String> {
    let mut addresses: Vec<String> = Vec::new();
    for address in overlay.external_addresses().iter().chain(&overlay.addresses()) {
        let address = without_peer_id(address);
        if !addresses.contains(&address) && address.len() <= Lease::MAX_ADDR_BYTES {
            addresses.push(address);
        }
    }
    // A lease may have room for the first ones only: those that lead nowhere from elsewhere come last.
    addresses.sort_by_key(|a| a.starts_with("/ip4/127.") || a.starts_with("/ip6/::1/"));
    addresses.truncate(Lease::MAX_ADDRS);
    addresses
}

impl Service {
    pub(crate) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn announcing(&self) -> MutexGuard<'_, Announcing> {
        self.announcing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an offer of the configuration names, fetched from a bootstrap peer where this home lacks it.
    async fn get_offer(
        &self,
        overlay: &Overlay,
        offer: &OfferConfig,
        bootstrap: &[String],
    ) -> Result<LiveOffer, NodeError> {
        let mut tried = Vec::new();
        let release =
            match (resolve::find_release(&self.home, &offer.release), offer.release.parse::<ReleaseId>()) {
                (Ok(release), _) => Some(release),
                (Err(ResolveError::NotFound { .. }), Ok(id)) => {
                    let fetched = self.ask_bootstrap(overlay, bootstrap, &mut tried, async |session| {
                        content::release_from(&self.home, session, id).await
                    });
                    fetched.await
                }
                (Err(e), _) => return Err(e.into()),
            };
        let unavailable = |tried| NodeError::Unavailable { offer: offer.release.clone(), tried };
        let Some(release) = release else { return Err(unavailable(tried)) };
        self.home.store().put_release(&release)?;
        let component = match content::whole(&self.home, &release.payload().component)? {
            Some(component) => Some(component),
            None => self.get_component(overlay, release.payload(), bootstrap, &mut tried).await,
        };
        match component {
            Some(component) => {
                let unusable = |why: Unusable| NodeError::Unusable {
                    offer: offer.release.clone(),
                    why: why.to_string(),
                };
                let never = CancelToken::default();
                self.provider.compile(&release, component, never).await.map_err(unusable)?;
            }
            None => tracing::warn!(
                offer = offer.release,
                tried = tried.join("; "),
                "the component is not here; it is fetched from the first caller who has it"
            ),
        }
        Ok(LiveOffer {
            release,
            public: offer.public,
            callers: offer.callers.clone(),
            allow: offer.allow.clone(),
            price: offer.price,
        })
    }

    /// A release's component, from all bootstrap peers that can be reached at once.
    async fn get_component(
        &self,
        overlay: &Overlay,
        release: &Release,
        bootstrap: &[String],
        tried: &mut Vec<String>,
    ) -> Option<Vec<u8>> {
        let reach = bootstrap.iter().map(async |address| {
            let peer = overlay.connect(address).await.map_err(|e| format!("{address}: {e}"))?;
            overlay.session_with(&peer).ok_or_else(|| format!("{address}: the session is gone"))
        });
        let (reached, missed): (Vec<_>, Vec<_>) =
            futures::future::join_all(reach).await.into_iter().partition(Result::is_ok);
        tried.extend(missed.into_iter().filter_map(Result::err));
        let sessions: Vec<_> = reached.into_iter().flatten().collect();
        if sessions.is_empty() {
            return None;
        }
        let mut progress = |_, _| {};
        let obtain = content::obtain(&self.home, Source::Release(release), &sessions, &mut progress);
        match tokio::time::timeout(FETCH_DEADLINE, obtain).await {
            Ok(Ok(component)) => return Some(component),
            Ok(Err(e)) => tried.push(e.to_string()),
            Err(_) => {
                tried.push(format!("{} took more than {} s", release.component, FETCH_DEADLINE.as_secs()))
            }
        }
        None
    }

    /// The first answer that a bootstrap peer gives.
    async fn ask_bootstrap<T>(
        &self,
        overlay: &Overlay,
        bootstrap: &[String],
        tried: &mut Vec<String>,
        ask: impl AsyncFn(&SessionHandle) -> Result<T, FetchError>,
    ) -> Option<T> {
        for address in bootstrap {
            let answer = tokio::time::timeout(FETCH_DEADLINE, async {
                let peer = overlay.connect(address).await.map_err(|e| e.to_string())?;
                let session = overlay.session_with(&peer).ok_or_else(|| "the session is gone".to_owned())?;
                ask(&session).await.map_err(|e| e.to_string())
            });
            match answer.await.unwrap_or_else(|_| Err(format!("more than {} s", FETCH_DEADLINE.as_secs()))) {
                Ok(given) => return Some(given),
                Err(why) => tried.push(format!("{address}: {why}")),
            }
        }
        None
    }

    /// Answers a query from the index, signed.
    fn find(&self, peer: Did, query: &[u8]) -> Result<Response, Refusal> {
        let query = Signed::<Query>::verify(query).map_err(|e| self.fault(peer, "bad-envelope", e))?;
        let query = query.into_payload();
        if query.iss != peer || query.aud != self.home.did() {
            return Err(self.fault(peer, "other-query", "the query is from or for somebody else"));
        }
        let (found, epoch) = match &self.registry {
            Some(registry) => {
                registry.search(&query).map_err(|e| Refusal::new(RefusalCode::Internal, e.to_string()))?
            }
            None => {
                let index = self.index();
                (index.search(&query, clock::now_secs()), index.epoch())
            }
        };
        // Nobody is sent to a proven liar from here. Where that cannot be told, who asks has its own records.
        let lied = |did: &Did| self.home.store().proven_liar(did).is_ok_and(|receipt| receipt.is_some());
        let believed = found.into_iter().filter(|f| !lied(&f.offer.descriptor().payload().iss));
        let mut offers: Vec<Offer> = believed.map(|f| f.offer.to_wire()).collect();
        let key = self.home.key().map_err(|e| Refusal::new(RefusalCode::Internal, e.to_string()))?;
        let page = |offers: &[Offer]| {
            let page =
                Page { iss: self.home.did(), aud: peer, nonce: query.nonce, epoch, offers: offers.to_vec() };
            Signed::sign(page, key).bytes().to_vec()
        };
        let mut bytes = page(&offers);
        while bytes.len() > <Page as actum_model::Statement>::MAX_BYTES && offers.pop().is_some() {
            bytes = page(&offers);
        }
        Ok(Response::Page { page: bytes })
    }
}

/// The service as the overlay sees it.
struct Answers(Arc<Service>);

impl Handler for Answers {
    fn handle(
        &self,
        peer: Did,
        request: Request,
        session: SessionHandle,
        progress: ProgressSender,
    ) -> BoxFuture<'static, Response> {
        let answer = self.0.clone().answer(peer, request, session, progress);
        Box::pin(async move { answer.await.unwrap_or_else(Response::from) })
    }
}

impl Service {
    async fn answer(
        self: Arc<Self>,
        peer: Did,
        request: Request,
        session: SessionHandle,
        progress: ProgressSender,
    ) -> Result<Response, Refusal> {
        let metered = || self.intakes.query(peer, self.seen_at(&peer));
        match request {
            Request::Call { invocation, proofs, args } => {
                let call = Call { invocation, proofs, args };
                let slot = Arc::new(Slot::default());
                let work = {
                    let (session, slot) = (session.clone(), slot.clone());
                    async move { self.provider.call(peer, call, &session, &progress, &slot).await }
                };
                Ok(Lingering::new(Box::pin(work), session, slot).await)
            }
            Request::Resume { invocation, leaves } => {
                metered()?;
                self.provider.resume(peer, &invocation, leaves, &session, &progress).await
            }
            Request::Announce { lease, descriptors } => self.announced(peer, lease, descriptors).await,
            Request::Find { query } => {
                metered()?;
                apart(move || self.find(peer, &query)).await
            }
            Request::Withdraw { tombstone } => apart(move || self.withdrawn(peer, &tombstone)).await,
            Request::Reconcile { message } => {
                let registry = self.registry.clone().ok_or_else(no_registry)?;
                apart(move || registry.reconcile(peer, &message)).await
            }
            Request::Statements { ids } => {
                let registry = self.registry.clone().ok_or_else(no_registry)?;
                metered()?;
                apart(move || Ok(registry.statements(&ids))).await
            }
            Request::Register { key, descriptor, lease, ticket } => {
                let offer = Offer { descriptor: descriptor.into(), lease: lease.into() };
                let ticket = ticket.map(|ticket| Ticket::from_bytes(ticket.into_array()));
                // A registry's own ad has no descriptor.
                let to_keep = self.registry.clone().filter(|_| !offer.descriptor.is_empty());
                let to_keep = to_keep.map(|registry| (registry, offer.clone()));
                let registration = Registration { key: Key::from_bytes(key.into_array()), offer, ticket };
                let answer = self.plane.register(&session, self.seen_at(&peer), registration).await;
                let placed = matches!(&answer, Response::Registered { placed: Placed::Confirmed { .. }, .. });
                // A registry knows what it gives out as a registrar.
                if let Some((registry, offer)) = to_keep.filter(|_| placed) {
                    let observe = move || registry.observe(&offer.lease, &[offer.descriptor]);
                    // What became of it shows in the registry.
                    let _ = tokio::task::spawn_blocking(observe).await;
                }
                Ok(answer)
            }
            Request::Renew { lease } => Ok(self.plane.renew(peer, self.seen_at(&peer), &lease)),
            Request::Ads { key } => self.plane.ads(self.seen_at(&peer), &Key::from_bytes(key.into_array())),
            Request::Notify { notices } => self.spread.hear(peer, notices).await,
            Request::Notices { after } => self.spread.answer(peer, after).await,
            Request::Accuse { receipt, provider, bytes } => {
                self.accusing.hear(peer, Accusation { receipt, provider, bytes }).await
            }
            Request::Proof { receipt } => self.accusing.give(peer, receipt).await,
            Request::Accusations { after } => self.accusing.answer(peer, after).await,
            Request::Balance { balance } => {
                metered()?;
                apart(move || balances::answer(&self.home, peer, &balance)).await
            }
            Request::Entries { served, after } => {
                metered()?;
                apart(move || balances::entries(&self.home, peer, served, after)).await
            }
            Request::Verdicts { about } => {
                metered()?;
                apart(move || requester::tell(&self.home, &about)).await
            }
            Request::Release { id } => apart(move || content::release(&self.home, &id)).await,
            Request::Manifest { component, manifest } => {
                content::manifest_of(self.home.clone(), component, manifest).await
            }
            Request::Chunk { component, index } => content::chunk(self.home.clone(), component, index).await,
        }
    }
}

/// Does what waits for a disk, or computes for long, where others do not wait for it.
async fn apart(
    work: impl FnOnce() -> Result<Response, Refusal> + Send + 'static,
) -> Result<Response, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(Refusal::new(RefusalCode::Internal, e.to_string())))
}

fn no_registry() -> Refusal {
    Refusal::new(RefusalCode::NotOffered, "this node is no registry")
}

/// Addresses as statements carry them, as they are dialled; what is no multiaddr is left out.
pub(crate) fn multiaddrs(addrs: &[String]) -> Vec<Multiaddr> {
    addrs.iter().filter_map(|a| a.parse().ok()).collect()
}

/// A multiaddr without its final peer id, as leases carry it. One through a relay keeps the relay's.
pub(crate) fn without_peer_id(address: &Multiaddr) -> String {
    let text = address.to_string();
    match text.rsplit_once("/p2p/") {
        Some((before, last)) if !last.contains('/') => before.to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_the_final_peer_id_is_left_out() {
        let (relay, own) = (
            "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
            "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5",
        );
        let through = format!("/ip4/192.0.2.1/tcp/4001/p2p/{relay}/p2p-circuit");
        let without = |address: &str| super::without_peer_id(&address.parse().unwrap());
        assert_eq!(without(&format!("{through}/p2p/{own}")), through);
        assert_eq!(without(&through), through);
        assert_eq!(without(&format!("/ip4/192.0.2.1/tcp/1/p2p/{own}")), "/ip4/192.0.2.1/tcp/1");
    }
}
