//! A requester's side: asks who can do something, delegates to the best, checks what comes back.
//!
//! A requester only dials. It believes nothing an index says beyond what the providers signed, and nothing a provider
//! says beyond what can be checked; running the action again is how it knows.

mod checks;
mod compare;
mod delegate;
mod failed;
mod later;
mod local;
mod moves;
mod opinions;
mod resume;

use crate::{
    attest::{self, AttestConfig},
    authority::Ended,
    balances::Exchanges,
    clock, content, fraud,
    home::Home,
    invoke::{self, Choices},
    keeper::{Keeper, Keeping, Kept},
    node::multiaddrs,
    records::Records,
    wallet::{self, Calling},
};
use actum_discovery::{LiveOffer, advertise::LocalAddresses, agrees};
use actum_model::{
    Attestation, Bodies, Claim, ComponentId, Did, Filters, Function, Invocation, Journal, Receipt, Release,
    Signed, codec,
    receipt::Stdio,
    run::MAX_INVOCATION_LIFE,
    ucan::{Chain, Proof},
};
use actum_overlay::{
    ConnectError, Multiaddr, Notice, Overlay, OverlayConfig, ProgressSender, Refusal, RefusalCode, Request,
    Response, SessionHandle, Stream, StreamProtocol, Traffic,
};
use actum_store::StoreError;
use actum_trust::{Asked, Effect, RiskPolicy, Standing, consistency};
use futures::{StreamExt, stream::FuturesUnordered};
use later::Later;
use local::Local;
use resume::Sent;
use serde_bytes::ByteBuf;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::RwLock, time::Instant};

pub use crate::failure::{CallError, FindError};
pub use actum_discovery::{Found, Why};
pub use delegate::{Check, Checked, Delegated, Explained};
pub(crate) use later::pay;
pub(crate) use opinions::tell;

/// How long reaching a peer may take, as long as none is reached.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// How long an index may take to answer, as long as none has.
pub(crate) const FIND_DEADLINE: Duration = Duration::from_secs(10);
/// How long the others have, once one was reached or has answered: nobody waits long for those that are gone.
pub(crate) const OTHERS_DEADLINE: Duration = Duration::from_secs(5);
/// How long fetching a component for later replay may take.
const FETCH_DEADLINE: Duration = Duration::from_secs(60);
/// The most peers asked at once.
const ASKED: usize = 8;
/// The most notices in one message: together they stay below what one takes.
const NOTICES_AT_ONCE: usize = 4;
/// The most candidates for one call. How many of them are asked is the policy's.
const CANDIDATES: usize = 16;

/// How a call is coming along.
#[derive(Clone, Debug)]
pub enum CallProgress {
    /// A provider was asked.
    Asking {
        /// The provider.
        provider: Did,
    },
    /// The provider is busy with others.
    Queued {
        /// Actions before this one.
        ahead: u32,
    },
    /// The provider fetches the component.
    Fetching {
        /// Chunks verified.
        done: u32,
        /// Chunks in all.
        total: u32,
    },
    /// The action runs.
    Running,
    /// The session was lost, and the provider is asked for the answer on another.
    Resuming {
        /// The provider.
        provider: Did,
    },
    /// A provider could not, and the next is asked.
    FellBack {
        /// The provider.
        provider: Did,
        /// Why it could not.
        why: String,
    },
}

/// A call made ready: who may be asked, in order, and what exactly will be called.
#[derive(Clone)]
pub struct Prepared {
    /// The release called.
    pub release: Signed<Release>,
    /// The function called.
    pub function: Function,
    candidates: Vec<Found>,
    insisted: bool,
}

impl Prepared {
    /// Has the candidates asked whatever is held against them: somebody named them.
    pub fn insist(self) -> Self {
        Self { insisted: true, ..self }
    }
}

/// What is asked for.
#[derive(Clone)]
pub struct CallRequest {
    /// The canonical encoding of the arguments.
    pub args: Vec<u8>,
    /// Limits, seed, time base, permissions.
    pub choices: Choices,
    /// How long to wait for the result.
    pub deadline: Duration,
}

/// How a delegated action ended. The receipt is consistent, and stored by [`Requester::stop`] at the latest; whether it is true, replay tells.
#[derive(Clone, Debug)]
pub struct Called {
    /// The receipt.
    pub receipt: Signed<Receipt>,
    /// The release called.
    pub release: Signed<Release>,
    /// The function called.
    pub function: Function,
    /// The canonical encoding of the output, where the function returned one.
    pub output: Option<Vec<u8>>,
    /// What the guest wrote.
    pub stdio: Stdio,
    evidence: Arc<CalledEvidence>,
}

/// What running a call again takes, besides its component.
#[derive(Debug)]
struct CalledEvidence {
    args: Vec<u8>,
    journal: Vec<u8>,
    bodies: Bodies,
    stdio: Option<Vec<u8>>,
    /// What came beside it, if it is one at all.
    attestation: Option<Attestation>,
}

/// A peer that asks. Several questions may be asked of it one after another.
pub struct Requester {
    pub(crate) home: Arc<Home>,
    pub(crate) overlay: Overlay,
    /// Peers reached at the start.
    pub(crate) asked: Vec<Did>,
    /// Those of them that the caller or the configuration named.
    pub(crate) named: BTreeSet<Did>,
    pub(crate) local: LocalAddresses,
    pub(crate) tried: Vec<String>,
    keeper: Keeper,
    keeping: Keeping,
    policy: RiskPolicy,
    attest: AttestConfig,
    pub(crate) records: Arc<Records>,
    /// The secret by which receipts are drawn for replay.
    sampling: [u8; 32],
    locals: Mutex<Vec<(ComponentId, Arc<Local>)>>,
    later: Mutex<Later>,
    /// Of whom others were asked.
    heard: Mutex<BTreeSet<Did>>,
    exchanges: Exchanges,
    /// Whose answers are being replayed before they are handed over.
    judging: Mutex<BTreeMap<Did, Arc<RwLock<()>>>>,
}

impl Requester {
    /// Reaches the peers to ask: those named, those configured, else those met before.
    pub async fn start(home: Arc<Home>, bootstrap: &[String], named: &[String]) -> Result<Self, FindError> {
        let mut addresses: Vec<String> = named.iter().chain(bootstrap).cloned().collect();
        let by_name = named.len();
        if addresses.is_empty() {
            addresses = home.store().peers()?.into_iter().map(|p| p.addr).collect();
        }
        addresses.truncate(ASKED);
        let mut config = OverlayConfig::client();
        config.routing.bootstrap = addresses.iter().filter_map(|a| a.parse().ok()).collect();
        let local = match config.exempts_loopback() {
            true => LocalAddresses::Exempt,
            false => LocalAddresses::Count,
        };
        let overlay = Overlay::start(config, home.key()?, Arc::new(Serves(home.clone()))).await?;
        let (mut asked, mut tried) = (Vec::new(), Vec::new());
        let mut told = BTreeSet::new();
        for (n, (address, reached)) in reach(&overlay, addresses).await.into_iter().enumerate() {
            match reached {
                Ok(did) => {
                    home.store().put_peer(&address, &did, clock::now_secs())?;
                    told.extend((n < by_name).then_some(did));
                    if !asked.contains(&did) {
                        asked.push(did);
                    }
                }
                Err(why) => tried.push(format!("{address}: {why}")),
            }
        }
        let (keeper, keeping) = Keeper::start(home.clone());
        Ok(Self {
            overlay,
            asked,
            named: told,
            local,
            tried,
            keeper,
            keeping,
            policy: RiskPolicy::default(),
            attest: AttestConfig::default(),
            records: Arc::new(Records::new(home.clone())),
            sampling: home.sampling_secret()?,
            locals: Mutex::default(),
            later: Mutex::new(Later::new()),
            heard: Mutex::default(),
            exchanges: Exchanges::default(),
            judging: Mutex::default(),
            home,
        })
    }

    /// Delegates by this policy instead of the default one.
    pub fn with_policy(self, policy: RiskPolicy) -> Self {
        Self { policy, ..self }
    }

    /// Trusts these attestations instead of none.
    pub fn with_attest(self, attest: AttestConfig) -> Self {
        Self { attest, ..self }
    }

    /// Leaves the network, and stores the receipts that are not stored yet.
    pub async fn stop(self) -> Result<(), StoreError> {
        let (keeper, keeping) = (self.keeper, self.keeping);
        drop(keeper);
        // The task does not panic and is not aborted, so it gives its result.
        let kept = keeping.await.unwrap_or(Ok(()));
        let settled = later::settle(&self.home, &self.records, &self.later).await;
        // Others hear of the lies that this came upon, and get their proofs, before it leaves.
        fraud::push(&self.home, &self.overlay, &self.asked).await;
        self.overlay.shutdown().await;
        kept.and(settled)
    }

    /// Opens a stream of another plane's protocol, on the connection there is with that peer.
    pub async fn open_raw(&self, peer: Did, protocol: StreamProtocol) -> Result<Stream, ConnectError> {
        self.overlay.open_raw(peer, protocol).await
    }

    /// The providers that may be called for this, best match first, without those that were proven to have lied. A provider that
    /// `filters` name is taken as it is.
    pub async fn candidates(&self, target: &str, filters: &Filters) -> Result<Vec<Found>, CallError> {
        let mut found = self.find(target, filters, 50).await?;
        // What only registries say is meant is for people to judge, and called by name.
        found.retain(|f| f.why != Why::Meaning);
        let not_found = || CallError::NotFound { target: target.to_owned() };
        // A person who names a provider gets it; otherwise its record decides.
        if filters.provider.is_none() {
            let mut believed = Vec::with_capacity(found.len());
            for item in found {
                let d = item.offer.descriptor().payload();
                match self.records.of(&d.iss, &d.component)?.standing() {
                    Standing::Fraud => tracing::warn!(provider = %d.iss, "left out: it has lied"),
                    _ => believed.push(item),
                }
            }
            found = believed;
        }
        // One release, so that one set of arguments means the same to each: another author's release of the same
        // component may name its parameters otherwise.
        let first = found.first().map(|f| f.offer.descriptor().payload().release);
        found.retain(|f| Some(f.offer.descriptor().payload().release) == first);
        found.truncate(CANDIDATES);
        if found.is_empty() { Err(not_found()) } else { Ok(found) }
    }

    async fn session(&self, found: &Found) -> Result<SessionHandle, ConnectError> {
        self.session_at(&found.offer.descriptor().payload().iss, &addresses(&found.offer)).await
    }

    /// The same, in no more than so much time.
    async fn session_in(&self, found: &Found, within: Duration) -> Result<SessionHandle, ConnectError> {
        let provider = found.offer.descriptor().payload().iss;
        self.session_within(&provider, &addresses(&found.offer), within).await
    }

    /// Gets the release the candidates offer, from this home or the first candidate that gives it, and finds the
    /// function in it.
    pub async fn prepare(&self, candidates: &[Found], function: &str) -> Result<Prepared, CallError> {
        let mut tried = Vec::new();
        for found in candidates {
            let d = found.offer.descriptor().payload();
            let release = match self.home.store().release(&d.release)? {
                Some(release) => Ok(release),
                None => {
                    async {
                        let session = self.session(found).await.map_err(|e| e.to_string())?;
                        let fetch = content::release_from(&self.home, &session, d.release);
                        let fetch = tokio::time::timeout(FETCH_DEADLINE, fetch).await;
                        fetch
                            .map_err(|_| "its release did not come in time".to_owned())?
                            .map_err(|e| e.to_string())
                    }
                    .await
                }
            };
            match release.and_then(|r| agrees(d, &r).map(|()| r).map_err(|e| e.to_string())) {
                Ok(release) => {
                    self.home.store().put_release(&release)?;
                    let function = release.payload().function(function)?.clone();
                    return Ok(Prepared {
                        release,
                        function,
                        candidates: candidates.to_vec(),
                        insisted: false,
                    });
                }
                Err(why) => tried.push(format!("{}: {why}", d.iss)),
            }
        }
        Err(CallError::Unreachable { tried })
    }

    /// Delegates the action to the first candidate that takes it. Once one may have run it, no other is asked.
    pub async fn call(
        &self,
        prepared: Prepared,
        request: CallRequest,
        progress: &mut (dyn FnMut(CallProgress) + Send),
    ) -> Result<Called, CallError> {
        let Prepared { release, function, candidates, .. } = prepared;
        invoke::check_size(&function, &request.args)?;
        let (mut tried, mut refused) = (Vec::new(), None);
        // One that lost the call before it admitted it is asked once more: nothing is wrong with it.
        let mut asked_twice = None;
        let mut next = candidates.iter().peekable();
        while let Some(found) = next.peek() {
            let provider = found.offer.descriptor().payload().iss;
            progress(CallProgress::Asking { provider });
            let session = match self.session(found).await {
                Ok(session) => session,
                Err(e) => {
                    progress(CallProgress::FellBack { provider, why: e.to_string() });
                    tried.push(format!("{provider}: {e}"));
                    next.next();
                    continue;
                }
            };
            match self.call_one(&session, found, (&release, &function), &request, true, progress).await {
                Ok(called) => return Ok(called),
                Err(CallError::NotAdmitted { .. }) if asked_twice != Some(provider) => {
                    asked_twice = Some(provider);
                }
                // Only when this one certainly did not run the action.
                Err(e) if e.failure(true).is_some_and(|failure| failure.goes_on(Effect::Spends)) => {
                    progress(CallProgress::FellBack { provider, why: e.to_string() });
                    tried.push(e.to_string());
                    refused = Some(e);
                    next.next();
                }
                Err(e) => return Err(e),
            }
        }
        Err(refused.unwrap_or(CallError::Unreachable { tried }))
    }

    /// Asks one provider. `remembers`: whether the answer may be asked for later, should it not come: the answer to a check
    /// is no answer to what somebody wants to know.
    async fn call_one(
        &self,
        session: &SessionHandle,
        found: &Found,
        (release, function): (&Signed<Release>, &Function),
        request: &CallRequest,
        remembers: bool,
        progress: &mut (dyn FnMut(CallProgress) + Send),
    ) -> Result<Called, CallError> {
        let descriptor = found.offer.descriptor().payload();
        let (provider, public) = (descriptor.iss, descriptor.public);
        let action = invoke::action(
            self.home.did(),
            release.payload().component,
            function,
            &request.args,
            request.choices.clone(),
        );
        let (claim, iat) = (Claim::of(release.payload()), clock::now_secs());
        let life = request.deadline.as_secs().saturating_add(1).min(MAX_INVOCATION_LIFE);
        let exp = iat.saturating_add(life);
        let calling = Calling {
            provider,
            action: &action,
            fixed: &request.choices.fixed,
            claim: &claim,
            function,
            args: &request.args,
            exp,
            iat,
        };
        // Whoever may call anyway keeps their grants for what needs them. Grants of others' are shown last: whose they are is
        // nobody's business who does not honour them.
        let (own, others): (Vec<_>, Vec<_>) = match public && action.permissions.is_empty() {
            true => (Vec::new(), Vec::new()),
            false => {
                let ended = Ended::read(&self.home)?;
                let fitting = wallet::fitting(&self.home, &calling, &ended)?;
                let shown = fitting.into_iter();
                shown.partition(|(chain, _)| ended.means(chain.subject(), &provider))
            }
        };
        let own = own.iter().map(|(chain, action)| (Some(chain), action));
        let others = others.iter().map(|(chain, action)| (Some(chain), action));
        let (mut refused, mut without) = (None, None);
        for (chain, action) in own.chain([(None, &action)]).chain(others) {
            let calling = Calling { action, ..calling };
            let addresses = addresses(&found.offer);
            let to = (session, addresses.as_slice(), remembers);
            match self.ask(to, release, &calling, chain, request.deadline, progress).await {
                Err(CallError::Refused { refusal, .. }) if another_may_do(refusal.code) => {
                    // Why a grant was refused says more than that there was none.
                    let first = if chain.is_some() { &mut refused } else { &mut without };
                    first.get_or_insert(refusal);
                }
                Ok(answer) => return self.keep(&calling, release, answer).await,
                Err(other) => return Err(other),
            }
        }
        let refused = refused.or(without);
        let refusal = refused.unwrap_or_else(|| Refusal::new(RefusalCode::NotAllowed, "nothing was asked"));
        Err(CallError::Refused { provider, refusal })
    }

    /// Sends one invocation, and sees it through.
    async fn ask(
        &self,
        (session, addresses, remembers): (&SessionHandle, &[Multiaddr], bool),
        release: &Signed<Release>,
        calling: &Calling<'_>,
        chain: Option<&Chain>,
        deadline: Duration,
        progress: &mut (dyn FnMut(CallProgress) + Send),
    ) -> Result<Answered, CallError> {
        let provider = calling.provider;
        let signed = Signed::try_sign(calling.invocation(chain), self.home.key()?);
        let signed = signed.map_err(|e| CallError::TooMuch { why: e.to_string() })?;
        let proofs = chain.map_or_else(Vec::new, |c| c.proofs().to_vec());
        let call = Request::Call {
            invocation: signed.bytes().to_vec(),
            proofs: proofs.iter().map(|p| ByteBuf::from(p.bytes())).collect(),
            args: calling.args.to_vec(),
        };
        let sent = Sent { invocation: &signed, provider, addresses, remembers };
        let (response, remembered) =
            self.see_through(session, &sent, &call, release, deadline, progress).await?;
        match response {
            Response::Refused { refusal } => {
                if remembered {
                    self.forget(signed.id()).await;
                }
                match refusal.code {
                    RefusalCode::Gone => Err(CallError::Gone { provider, invocation: signed.id() }),
                    _ => Err(CallError::Refused { provider, refusal }),
                }
            }
            response @ Response::Done { .. } => {
                Ok(Answered { invocation: signed, proofs, response, remembered })
            }
            _ => Err(CallError::BadAnswer { provider, what: "another kind of message".to_owned() }),
        }
    }

    /// Checks an answer against what was asked, and keeps it.
    async fn keep(
        &self,
        calling: &Calling<'_>,
        release: &Signed<Release>,
        answered: Answered,
    ) -> Result<Called, CallError> {
        let Answered { invocation, proofs, response, remembered } = answered;
        let (provider, action) = (calling.provider, calling.action);
        let bad = |what: String| CallError::BadAnswer { provider, what };
        let Response::Done { receipt, output, journal, bodies: came, stdio, attestation } = response else {
            return Err(bad("another kind of message".to_owned()));
        };
        let receipt = Signed::<Receipt>::verify(&receipt).map_err(|e| bad(e.to_string()))?;
        let asked = Asked {
            provider,
            action,
            invocation: Some(invocation.id()),
            chain: &invocation.payload().prf,
            profiles: &[self.home.sandbox()?.profile_id()],
            output: output.as_deref(),
            journal: &journal,
            bodies: &came,
            stdio: stdio.as_deref(),
        };
        consistency(receipt.payload(), &asked)
            .map_err(|source| CallError::Inconsistent { provider, source })?;
        // They are known to be those the journal names, in its order.
        let named = match came.is_empty() {
            true => Vec::new(),
            false => codec::decode::<Journal>(&journal, Journal::MAX_BYTES)
                .map_err(|e| bad(e.to_string()))?
                .bodies(),
        };
        let bodies: Bodies = named.into_iter().zip(came.into_iter().map(ByteBuf::into_vec)).collect();
        let captured = match &stdio {
            Some(bytes) => codec::decode(bytes, bytes.len()).map_err(|e| bad(e.to_string()))?,
            None => Stdio::default(),
        };
        let evidence = Arc::new(CalledEvidence {
            args: calling.args.to_vec(),
            journal: journal.clone(),
            bodies: bodies.clone(),
            stdio: stdio.clone(),
            attestation: attestation.as_deref().and_then(|bytes| Attestation::read(bytes).ok()),
        });
        let kept = Kept {
            receipt: receipt.clone(),
            args: calling.args.to_vec(),
            output: output.clone(),
            journal,
            bodies,
            stdio,
            invocation: Some(invocation.bytes().to_vec()),
            proofs,
            flight: None,
            remembered,
        };
        // A keeper that has ended says why in `stop`.
        self.keeper.keep(kept).await;
        if let Some(attestation) = attestation {
            attest::keep(&self.home, &receipt, attestation).await;
        }
        let (function, stdio) = (calling.function.clone(), captured);
        Ok(Called { receipt, release: release.clone(), function, output, stdio, evidence })
    }

    /// Tells the peers that were reached what has ended; says of each how many of the notices were news to it, or why it
    /// did not take them. Peers pass on what is news.
    pub async fn notify(&self, notices: &[Notice]) -> Vec<(Did, Result<u32, String>)> {
        let tell = self.asked.iter().map(|peer| async {
            let mut news = 0;
            for some in notices.chunks(NOTICES_AT_ONCE) {
                let request = Request::Notify { notices: some.to_vec() };
                let answer = self.overlay.request(peer, &request, FIND_DEADLINE).await;
                news += match answer.map_err(|e| e.to_string()) {
                    Ok(Response::Notified { refused, .. }) if !refused.is_empty() => {
                        return (*peer, Err(refused.join("; ")));
                    }
                    Ok(Response::Notified { news, .. }) => news,
                    Ok(Response::Refused { refusal }) => return (*peer, Err(refusal.to_string())),
                    Ok(_) => return (*peer, Err("it answered something else".to_owned())),
                    Err(why) => return (*peer, Err(why)),
                };
            }
            (*peer, Ok(news))
        });
        futures::future::join_all(tell).await
    }

    /// What its sessions carried since it started, by what it was for.
    pub fn traffic(&self) -> Traffic {
        self.overlay.traffic()
    }

    /// Why addresses could not be reached.
    pub fn unreached(&self) -> &[String] {
        &self.tried
    }
}

/// Reaches all of these at once; says who is at each address, or why nobody was reached there.
async fn reach(overlay: &Overlay, addresses: Vec<String>) -> Vec<(String, Result<Did, String>)> {
    let began = Instant::now();
    let mut until = began + CONNECT_DEADLINE;
    let mut reached: Vec<Option<Result<Did, String>>> = vec![None; addresses.len()];
    let mut reaching: FuturesUnordered<_> = addresses
        .iter()
        .enumerate()
        .map(async |(n, address)| (n, overlay.connect(address).await.map_err(|e| e.to_string())))
        .collect();
    while let Ok(Some((n, result))) = tokio::time::timeout_at(until, reaching.next()).await {
        if result.is_ok() {
            until = until.min(Instant::now() + OTHERS_DEADLINE);
        }
        if let Some(place) = reached.get_mut(n) {
            *place = Some(result);
        }
    }
    drop(reaching);
    let waited = (until - began).as_secs();
    let or_late = |result: Option<_>| result.unwrap_or_else(|| Err(format!("no answer in {waited} s")));
    addresses.into_iter().zip(reached.into_iter().map(or_late)).collect()
}

/// What a provider answered to an invocation.
struct Answered {
    invocation: Signed<Invocation>,
    proofs: Vec<Proof>,
    response: Response,
    /// Whether it is remembered as unanswered until it is kept.
    remembered: bool,
}

/// Where an offer's provider says it can be reached.
pub(crate) fn addresses(offer: &LiveOffer) -> Vec<Multiaddr> {
    multiaddrs(&offer.lease().payload().addrs)
}

/// Whether another grant may do where this one was refused so.
fn another_may_do(code: RefusalCode) -> bool {
    use RefusalCode::{BadProof, Exhausted, Expired, NotAllowed, Revoked, TooEarly};
    matches!(code, NotAllowed | Exhausted | BadProof | Expired | TooEarly | Revoked)
}

/// A requester gives the components it holds to those it delegates to, proofs of lies to those that want them, and nothing
/// else to anyone.
struct Serves(Arc<Home>);

impl actum_overlay::Handler for Serves {
    fn handle(
        &self,
        _: Did,
        request: Request,
        _: SessionHandle,
        _: ProgressSender,
    ) -> actum_overlay::BoxFuture<'static, Response> {
        let home = self.0.clone();
        Box::pin(async move {
            fraud::touched();
            let answer = match request {
                Request::Proof { receipt } => fraud::give(home, receipt).await,
                Request::Chunk { component, index } => content::chunk(home, component, index).await,
                Request::Release { id } => content::release(&home, &id),
                Request::Manifest { component, manifest } => {
                    content::manifest_of(home, component, manifest).await
                }
                _ => Err(Refusal::new(RefusalCode::NotOffered, "this peer only asks")),
            };
            answer.unwrap_or_else(Response::from)
        })
    }
}
