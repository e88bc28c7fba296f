//! A provider's side of a delegated action: admission, execution, receipt.
//!
//! Nothing a stranger sends is trusted: who asks is what the connection proved, arguments are checked against their
//! id, and authority is decided before any work is done. What is refused has a code; what ran has a receipt.

mod resume;

use crate::{
    attest::{self, Attester},
    authority::{Gate, Offer, Tenure},
    balances::{self, Claim},
    clock,
    content::{self, Source},
    events::NodeEvent,
    flights::{Flights, Slot},
    home::Home,
    host::NodeHost,
    keeper::{Keeper, Keeping, Kept},
    lately::Recent,
    resolve,
    turns::{Turn, Turns},
};
use actum_model::{
    Action, Authority, BlobId, ComponentId, Did, Granted, InvocationId, Limits, Outcome, ProfileId, Receipt,
    Release, Signed, descriptor::Lately, ucan::Proof,
};
use actum_overlay::{Event, ProgressSender, Refusal, RefusalCode, Response, SessionHandle};
use actum_sandbox::LoadError;
pub use actum_sandbox::{CancelToken, ExecuteError, Execution, Loaded, Sandbox, Surroundings};
use actum_trust::{Giving, Priority};
use serde_bytes::ByteBuf;
use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{Semaphore, broadcast};

/// How an admitted action is executed. The sandbox is the honest way; a test of auditors has others.
pub trait Executor: Send + Sync + 'static {
    /// Executes on a blocking thread. `around` holds the host behind what the action is granted, and is cancelled when
    /// nobody waits for the answer any more.
    fn execute(
        &self,
        sandbox: &Sandbox,
        loaded: &Loaded,
        action: &Action,
        args: &[u8],
        around: &Surroundings,
    ) -> Result<Execution, ExecuteError>;
}

/// Executes in the sandbox and reports what happened.
#[derive(Debug)]
pub struct Honest;

impl Executor for Honest {
    fn execute(
        &self,
        sandbox: &Sandbox,
        loaded: &Loaded,
        action: &Action,
        args: &[u8],
        around: &Surroundings,
    ) -> Result<Execution, ExecuteError> {
        sandbox.execute_in(loaded, action, args, around)
    }
}

/// A release this node offers, and to whom.
#[derive(Debug)]
pub(crate) struct LiveOffer {
    pub(crate) release: Signed<Release>,
    pub(crate) public: bool,
    pub(crate) callers: Vec<Did>,
    pub(crate) allow: Vec<Granted>,
    pub(crate) price: u64,
}

impl LiveOffer {
    fn as_asked(&self) -> Offer<'_> {
        let Self { release, public, callers, allow, .. } = self;
        Offer { release: release.payload(), public: *public, callers, allow }
    }
}

/// Why an offered component cannot be run here, or not now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    /// It could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The release says of it what is not so.
    #[error("{0}")]
    Untrue(String),
}

impl From<Unusable> for Refusal {
    fn from(unusable: Unusable) -> Self {
        let text = unusable.to_string();
        match unusable {
            Unusable::Load(LoadError::CompileTooSlow { .. } | LoadError::CompilersBusy { .. }) => {
                Self::new(RefusalCode::Busy, text).retry_after_ms(COMPILING_RETRY_MS)
            }
            Unusable::Load(LoadError::Cancelled) => stopping(),
            Unusable::Load(LoadError::Host { .. }) => Self::new(RefusalCode::Internal, text),
            Unusable::Load(_) | Unusable::Untrue(_) => Self::new(RefusalCode::NotOffered, text),
        }
    }
}

fn busy(places: u32) -> Refusal {
    let text = format!("{places} actions are running or waiting");
    Refusal::new(RefusalCode::Busy, text).retry_after_ms(BUSY_RETRY_MS)
}

fn stopping() -> Refusal {
    Refusal::new(RefusalCode::ShuttingDown, "this node is stopping")
}

/// When a provider whose compiler is slow suggests asking again: the compilation goes on meanwhile.
const COMPILING_RETRY_MS: u64 = 30_000;
/// When a busy provider suggests asking again.
const BUSY_RETRY_MS: u64 = 1_000;
/// An action that ends sooner is not announced as running: its answer is the news.
const NEWS_AFTER: Duration = Duration::from_millis(10);
/// How long fetching a component for an action may take.
const FETCH_DEADLINE: Duration = Duration::from_secs(60);

/// What a provider is made with.
pub(crate) struct ProviderConfig {
    pub(crate) limits: Limits,
    pub(crate) parallel: NonZeroU32,
    pub(crate) queue: u32,
    /// Who is served first.
    pub(crate) giving: Giving,
    /// At most what the store keeps.
    pub(crate) args_bytes: usize,
    /// What attests the receipts that are signed here.
    pub(crate) attester: Option<Arc<dyn Attester>>,
}

/// What a peer sent.
pub(crate) struct Call {
    pub(crate) invocation: Vec<u8>,
    pub(crate) proofs: Vec<ByteBuf>,
    pub(crate) args: Vec<u8>,
}

/// What a receipt answers, and by what authority.
struct Answering {
    authority: Authority,
    invocation: Vec<u8>,
    proofs: Vec<Proof>,
}

/// Admits and executes actions.
pub(crate) struct Provider {
    home: Arc<Home>,
    gate: Arc<Gate>,
    sandbox: Sandbox,
    executor: Arc<dyn Executor>,
    config: ProviderConfig,
    offers: RwLock<BTreeMap<ComponentId, Arc<LiveOffer>>>,
    turns: Turns,
    /// Components being fetched or compiled for an action: as many as there are turns.
    loads: Semaphore,
    /// Actions admitted and not yet answered, running or waiting, by arrival.
    admitted: Mutex<BTreeMap<u64, CancelToken>>,
    arrivals: AtomicU64,
    flights: Flights,
    stopping: AtomicBool,
    recent: Mutex<Recent>,
    keeper: Keeper,
    events: broadcast::Sender<NodeEvent>,
}

/// Counts an action as admitted for as long as it lives, and stops it when nobody waits for it.
struct Admitted<'a> {
    provider: &'a Provider,
    arrival: u64,
    cancel: CancelToken,
    /// With what claim it takes the place of one that waits, where all are taken.
    instead: Option<Priority>,
}

impl Admitted<'_> {
    /// Sends away the one whose place this takes. Only once nothing else speaks against this one, so that what is refused
    /// anyway, such as a call that was served before, costs nobody their place.
    fn take_place(&self) -> Result<(), Refusal> {
        match self.instead {
            Some(priority) if !self.provider.turns.displace(priority) => Err(busy(self.provider.places())),
            _ => Ok(()),
        }
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.cancel.cancel();
        self.provider.admitted().remove(&self.arrival);
    }
}

impl Provider {
    /// A provider, and the task that stores its receipts; the task ends once the provider is gone and all are stored.
    pub(crate) fn new(
        home: Arc<Home>,
        sandbox: Sandbox,
        executor: Arc<dyn Executor>,
        gate: Arc<Gate>,
        config: ProviderConfig,
        events: broadcast::Sender<NodeEvent>,
    ) -> (Self, Keeping) {
        let (keeper, keeping) = Keeper::start(home.clone());
        let provider = Self {
            home,
            gate,
            sandbox,
            executor,
            loads: Semaphore::new(config.parallel.get() as usize),
            turns: Turns::new(config.parallel),
            config,
            offers: RwLock::default(),
            admitted: Mutex::default(),
            arrivals: AtomicU64::new(0),
            flights: Flights::default(),
            stopping: AtomicBool::new(false),
            recent: Mutex::default(),
            keeper,
            events,
        };
        (provider, keeping)
    }

    /// Offers a release; where its component is offered already, gives that offer's name and version instead.
    pub(crate) fn offer(&self, offer: LiveOffer) -> Result<(), String> {
        let mut offers = self.offers.write().unwrap_or_else(PoisonError::into_inner);
        let component = offer.release.payload().component;
        if let Some(other) = offers.get(&component) {
            let r = other.release.payload();
            return Err(format!("{}@{}", r.name, r.version));
        }
        offers.insert(component, Arc::new(offer));
        Ok(())
    }

    pub(crate) fn offers(&self) -> Vec<Arc<LiveOffer>> {
        self.offers.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// How it did lately, for a lease to say.
    pub(crate) fn lately(&self, now: u64) -> Option<Lately> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).report(now)
    }

    /// The profile it executes under.
    pub(crate) fn profile(&self) -> ProfileId {
        self.sandbox.profile_id()
    }

    /// Actions running or waiting.
    pub(crate) fn running(&self) -> u32 {
        u32::try_from(self.admitted().len()).unwrap_or(u32::MAX)
    }

    fn admitted(&self) -> MutexGuard<'_, BTreeMap<u64, CancelToken>> {
        self.admitted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on every call is refused as `shutting-down`.
    pub(crate) fn stop_admitting(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Ends what still runs.
    pub(crate) fn cancel_all(&self) {
        self.admitted().values().for_each(CancelToken::cancel);
    }

    /// Answers a call.
    pub(crate) async fn call(
        &self,
        peer: Did,
        call: Call,
        session: &SessionHandle,
        progress: &ProgressSender,
        slot: &Slot,
    ) -> Response {
        match self.try_call(peer, call, session, progress, slot).await {
            Ok(done) => done,
            Err(refusal) => {
                slot.refuse(&refusal);
                let _ = self.events.send(NodeEvent::Refused { requester: peer, refusal: refusal.clone() });
                refusal.into()
            }
        }
    }

    async fn try_call(
        &self,
        peer: Did,
        call: Call,
        session: &SessionHandle,
        progress: &ProgressSender,
        slot: &Slot,
    ) -> Result<Response, Refusal> {
        let Call { invocation, proofs, args } = call;
        let now = clock::now_secs();
        self.gate.refresh();
        let asked = self.gate.read(&peer, &invocation, &proofs, now)?;
        let offer = self.offered(&asked.action, &args)?;
        let grounds = self.gate.grounds(&asked, &offer.as_asked(), &args, now)?;
        let claim = || self.claim(&peer, &grounds.authority, &asked.action);
        let admitted = self.admit(|| claim().priority)?;
        // Before it counts as served: whoever asks what became of it finds it under way, or served, at every moment.
        slot.put(self.flights.begin(asked.invocation.id(), admitted.cancel.clone())?);
        let arrived = Instant::now();
        let weight = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
        let sent = args.len() + invocation.len() + proofs.iter().map(|p| p.len()).sum::<usize>();
        let mut reserved = self.gate.reserve(&asked, &grounds, weight(sent), now)?;
        admitted.take_place()?;
        // Before the turn, so that components that are slow to come or to compile hold up nobody whose own is here.
        let news = |event| slot.tell(progress, event);
        let loaded = self.load(&offer.release, &admitted.cancel, session, &news).await?;
        let turn = match self.turns.try_take() {
            Some(turn) => turn,
            None => self.wait(claim(), &news).await?,
        };
        self.gate.still(&asked, &grounds, clock::now_secs())?;
        let action = &asked.action;
        let _ = self.events.send(NodeEvent::Started { requester: peer, function: action.function.clone() });
        let tenure = Tenure::of(&self.gate, peer, &grounds);
        let release = Some(offer.release.payload());
        let host = NodeHost::new(&self.home, &self.sandbox, action, release, &grounds.withheld, tenure);
        let host = Arc::new(host);
        let around = Surroundings {
            host: host.clone(),
            cancel: admitted.cancel.clone(),
            withheld: grounds.withheld.clone(),
            ..Surroundings::default()
        };
        reserved.begin();
        let answering =
            Answering { authority: grounds.authority.clone(), invocation, proofs: grounds.proofs() };
        let (mut kept, named) = self.execute(around, loaded, action.clone(), args, answering, &news).await?;
        kept.flight = slot.take();
        let fuel = kept.receipt.payload().fuel.saturating_add(host.delegated());
        reserved.settle(fuel, weight(kept.bytes().saturating_add(sent)));
        drop(turn);
        let attestation = attest::made(&self.home, self.config.attester.as_ref(), &kept.receipt).await;
        drop(admitted);
        let response = Response::Done {
            receipt: kept.receipt.bytes().to_vec(),
            output: kept.output.clone(),
            journal: kept.journal.clone(),
            bodies: named.iter().filter_map(|id| kept.bodies.get(id)).cloned().map(ByteBuf::from).collect(),
            stdio: kept.stdio.clone(),
            attestation,
        };
        let r = kept.receipt.payload();
        let took = u32::try_from(arrived.elapsed().as_millis()).unwrap_or(u32::MAX);
        let well = matches!(r.outcome, Outcome::Ok(_) | Outcome::GuestError(_));
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).note(clock::now_secs(), well, took);
        let _ = self.events.send(NodeEvent::Executed {
            requester: peer,
            receipt: kept.receipt.id(),
            function: r.action.function.clone(),
            outcome: r.outcome.clone(),
            fuel: r.fuel,
        });
        if self.keeper.keep(kept).await {
            Ok(response)
        } else {
            Err(gone("this node cannot store receipts any more"))
        }
    }

    /// The offer of what is asked for, within this node's limits.
    fn offered(&self, action: &Action, args: &[u8]) -> Result<Arc<LiveOffer>, Refusal> {
        if args.len() > self.config.args_bytes {
            let text = format!("args_bytes of {} is over this node's {}", args.len(), self.config.args_bytes);
            return Err(Refusal::new(RefusalCode::OverLimit, text));
        }
        let not_offered = |what: String| Refusal::new(RefusalCode::NotOffered, what);
        let offers = self.offers.read().unwrap_or_else(PoisonError::into_inner);
        let offer = offers.get(&action.component).cloned();
        drop(offers);
        let offer = offer
            .ok_or_else(|| not_offered(format!("component {} is not offered here", action.component)))?;
        if !offer.release.payload().functions.iter().any(|f| f.name == action.function) {
            return Err(not_offered(format!("function {} is not offered", action.function)));
        }
        if let Some((limit, asked, allowed)) = action.limits.exceeds(&self.config.limits) {
            let text = format!("{limit} of {asked} is over this node's {allowed}");
            return Err(Refusal::new(RefusalCode::OverLimit, text));
        }
        Ok(offer)
    }

    /// How many may run or wait.
    fn places(&self) -> u32 {
        self.config.parallel.get().saturating_add(self.config.queue)
    }

    /// Takes a place among the running and waiting, or says when to come back. Where all are taken, one that waits with less
    /// of a claim makes room, by [`Admitted::take_place`]: `priority` is asked only then, for it reads from the disk.
    fn admit(&self, priority: impl FnOnce() -> Priority) -> Result<Admitted<'_>, Refusal> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(stopping());
        }
        let places = self.places();
        let arrival = self.arrivals.fetch_add(1, Ordering::Relaxed);
        let cancel = CancelToken::default();
        let full = {
            let mut admitted = self.admitted();
            let full = admitted.len() >= places as usize;
            if !full {
                admitted.insert(arrival, cancel.clone());
            }
            full
        };
        let instead = full.then(priority);
        if let Some(priority) = instead {
            if !self.turns.may_displace(priority) {
                return Err(busy(places));
            }
            self.admitted().insert(arrival, cancel.clone());
        }
        Ok(Admitted { provider: self, arrival, cancel, instead })
    }

    /// What claim a requester has to be served before others.
    fn claim(&self, peer: &Did, authority: &Authority, action: &Action) -> Claim {
        let (giving, asked, now) = (&self.config.giving, action.most_fuel(), clock::now_secs());
        balances::claim(&self.home, giving, peer, authority, asked, now)
    }

    /// Waits for a turn, where one of this claim may.
    async fn wait(&self, claim: Claim, news: &(dyn Fn(Event) + Sync)) -> Result<Turn, Refusal> {
        if let Some(refusal) = claim.refusal.filter(|_| !self.turns.lets_wait(claim.priority)) {
            return Err(refusal);
        }
        news(Event::Queued { ahead: self.turns.ahead_of(claim.priority) });
        self.turns.take(claim.priority).await.map_err(|_| busy(self.places()))
    }

    /// The compiled component, fetched from the requester where this home lacks it.
    async fn load(
        &self,
        release: &Signed<Release>,
        cancel: &CancelToken,
        session: &SessionHandle,
        news: &(dyn Fn(Event) + Sync),
    ) -> Result<Arc<Loaded>, Refusal> {
        let id = release.payload().component;
        if let Some(loaded) = self.sandbox.loaded(&id) {
            return Ok(loaded);
        }
        // Each may hold a whole component in memory.
        let _place = self.loads.acquire().await.map_err(|_| stopping())?;
        let mut report =
            |done: u32, total: u32| news(Event::Fetching { chunks_done: done, chunks_total: total });
        let source = Source::Release(release.payload());
        let obtain = content::obtain(&self.home, source, std::slice::from_ref(session), &mut report);
        let missing = |why: String| Refusal::new(RefusalCode::UnknownComponent, why);
        let component = tokio::time::timeout(FETCH_DEADLINE, obtain).await;
        let component = component
            .map_err(|_| missing(format!("fetching {id} took more than {} s", FETCH_DEADLINE.as_secs())))?
            .map_err(|e| match e {
                content::ObtainError::Store(e) => internal(e),
                e => missing(format!("{id} is not here and could not be fetched: {e}")),
            })?;
        self.compile(release, component, cancel.clone()).await.map_err(Refusal::from)
    }

    /// Compiles an offered component and checks that the author's release tells the truth about its functions. Waits no
    /// longer than the sandbox's bound on compiling, and only until `cancel`.
    pub(crate) async fn compile(
        &self,
        release: &Signed<Release>,
        component: Vec<u8>,
        cancel: CancelToken,
    ) -> Result<Arc<Loaded>, Unusable> {
        let sandbox = self.sandbox.clone();
        let loading = tokio::task::spawn_blocking(move || sandbox.load_cancellable(&component, &cancel));
        let loaded = loading.await.map_err(|e| LoadError::Host { reason: e.to_string() })??;
        resolve::tells_the_truth(release.payload(), &loaded).map_err(Unusable::Untrue)?;
        Ok(loaded)
    }

    /// Executes and signs. Gives the bodies' ids too, in the order in which the journal names them.
    async fn execute(
        &self,
        around: Surroundings,
        loaded: Arc<Loaded>,
        action: Action,
        args: Vec<u8>,
        answering: Answering,
        news: &(dyn Fn(Event) + Sync),
    ) -> Result<(Kept, Vec<BlobId>), Refusal> {
        let (sandbox, executor, home) = (self.sandbox.clone(), self.executor.clone(), self.home.clone());
        let work = move || -> Result<(Kept, Vec<BlobId>), ExecuteError> {
            let key = home.key().map_err(|e| ExecuteError::Host { reason: e.to_string() })?;
            let execution = executor.execute(&sandbox, &loaded, &action, &args, &around)?;
            let profile = sandbox.profile_id();
            let Answering { authority, invocation, proofs } = answering;
            let answered = (!authority.is_own()).then(|| InvocationId::of(&invocation));
            let receipt = execution.receipt(action, home.did(), clock::now_secs(), authority, profile);
            let receipt = Receipt { invocation: answered, ..receipt };
            let stdio = execution.stdio_block().map(|(_, bytes)| bytes);
            let named = execution.journal.bodies();
            let kept = Kept {
                receipt: Signed::try_sign(receipt, key)
                    .map_err(|e| ExecuteError::Host { reason: e.to_string() })?,
                args,
                output: execution.output,
                journal: execution.journal.bytes(),
                bodies: execution.bodies,
                stdio,
                invocation: answered.map(|_| invocation),
                proofs,
                flight: None,
                remembered: false,
            };
            Ok((kept, named))
        };
        let mut work = tokio::task::spawn_blocking(work);
        let done = match tokio::time::timeout(NEWS_AFTER, &mut work).await {
            Ok(done) => done,
            Err(_) => {
                news(Event::Running);
                work.await
            }
        };
        match done {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(ExecuteError::Cancelled)) => Err(gone("the action was stopped with this node")),
            Ok(Err(
                e @ (ExecuteError::Args(_)
                | ExecuteError::NoSuchFunction { .. }
                | ExecuteError::LimitTooHigh { .. }),
            )) => Err(Refusal::new(RefusalCode::BadRequest, e.to_string())),
            Ok(Err(e)) => Err(gone(e)),
            Err(e) => Err(gone(e)),
        }
    }
}

/// The refusal of an action that was begun and has no receipt: what it did, it did, and nobody else is to be asked.
fn gone(why: impl ToString) -> Refusal {
    Refusal::new(RefusalCode::Gone, why.to_string())
}

/// A failure of this node, which is not the asker's fault.
fn internal(error: impl std::error::Error) -> Refusal {
    Refusal::new(RefusalCode::Internal, error.to_string())
}
