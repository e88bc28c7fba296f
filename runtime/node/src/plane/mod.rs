//! The advertise plane's driver: carries what [`Advertiser`] and [`Registrar`] want over the overlay, with this machine's
//! clock and randomness. The rules are theirs; nothing is decided here.

mod look_up;
mod registries;
mod wire;

use crate::clock;
use actum_discovery::advertise::{
    Ad, Advertiser, Challenge, Key, LocalAddresses, Peer, ProofFailed, Registered, Registrar, Registration,
    Reply, Request as Wanted, Secret, Sent, Ticket, Verifier, closer_peers, limits::VERIFIED_HELD,
};
use actum_model::{
    BlobId, Descriptor, Did, Lease, Offer, ReleaseId, Signed, Tombstone, id::sha256, release::read_manifest,
};
use actum_overlay::{
    ConnectError, Overlay, PeerAddrs, Placed, Refusal, RefusalCode, Request, RequestError, Response,
    SessionHandle,
};
pub(crate) use look_up::Seeker;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
pub(crate) use registries::dialled;
use serde_bytes::{ByteArray, ByteBuf};
use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, task::JoinSet};
use wire::{contacts, peers};

/// How often the routing table is looked at for registrars.
const LEARN_EVERY: Duration = Duration::from_secs(15);
/// How soon it is looked at again while nobody is known.
const LEARN_SOON: Duration = Duration::from_secs(1);
/// The shortest pause between two looks at what is due.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a registrar may take: it may ask for a proof of possession first.
const REGISTER_DEADLINE: Duration = Duration::from_secs(40);
/// How long one part of a proof of possession may take.
const PROOF_DEADLINE: Duration = Duration::from_secs(12);

/// A node's part in the advertise plane: the ads it holds for others, and its own at others.
pub(crate) struct Plane {
    local: LocalAddresses,
    registrar: Mutex<(Registrar, Verifier)>,
    advertiser: Mutex<Advertiser>,
    /// What is advertised, by release: what is no longer offered is withdrawn.
    advertised: Mutex<BTreeMap<ReleaseId, u64>>,
    /// The routing table as last looked at.
    known: Mutex<Vec<Peer>>,
    rng: Mutex<ChaCha20Rng>,
    /// Something changed that the advertiser should look at.
    changed: Notify,
}

impl Plane {
    /// The part of `own`, with nothing advertised and no ads held.
    pub(crate) fn new(own: Did, local: LocalAddresses) -> Self {
        Self {
            local,
            registrar: Mutex::new((
                Registrar::new(Secret::from_bytes(clock::random()), local),
                Verifier::new(VERIFIED_HELD),
            )),
            advertiser: Mutex::new(Advertiser::new(own, local)),
            advertised: Mutex::default(),
            known: Mutex::default(),
            rng: Mutex::new(ChaCha20Rng::from_seed(clock::random())),
            changed: Notify::new(),
        }
    }

    /// Whether addresses of one machine count, as this node's network is.
    pub(crate) fn local(&self) -> LocalAddresses {
        self.local
    }

    /// Advertises this node as a registry.
    pub(crate) fn advertise_registry(&self) {
        lock(&self.advertiser).advertise_registry();
        self.changed.notify_one();
    }

    /// Advertises these offers with this lease, and what was advertised before no more.
    pub(crate) fn announce(&self, lease: &[u8], descriptors: &[ByteBuf]) {
        let (Ok(lease), descriptors) = (Signed::<Lease>::verify(lease), descriptors.iter()) else { return };
        let descriptors = descriptors.filter_map(|d| Signed::<Descriptor>::verify(d).ok().map(Arc::new));
        let mut advertiser = lock(&self.advertiser);
        let mut advertised = lock(&self.advertised);
        let mut now = BTreeMap::new();
        for descriptor in descriptors {
            let d = descriptor.payload();
            now.insert(d.release, d.seq);
            if advertised.get(&d.release) != Some(&d.seq) {
                advertiser.advertise(&descriptor);
            }
        }
        advertised.keys().filter(|release| !now.contains_key(release)).for_each(|r| advertiser.withdraw(r));
        *advertised = now;
        advertiser.set_lease(clock::now_millis(), Arc::new(lease));
        drop((advertiser, advertised));
        self.changed.notify_one();
    }

    /// Gives out no more ads of a provider that left.
    pub(crate) fn left(&self, tombstone: &Tombstone) {
        lock(&self.registrar).0.left(tombstone, clock::now_millis());
    }

    /// How often registrations were refused, by code.
    pub(crate) fn refused(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.registrar).0.refused().clone()
    }

    /// How many places this node's offers have at registrars now, over all keys.
    pub(crate) fn placed(&self) -> usize {
        lock(&self.advertiser).placed_at(clock::now_millis()).values().sum()
    }

    /// How many ads of others' are held.
    pub(crate) fn held(&self) -> usize {
        lock(&self.registrar).0.len()
    }

    /// The peers of the routing table, as last looked at.
    pub(crate) fn known(&self) -> Vec<Peer> {
        lock(&self.known).clone()
    }

    /// Keeps this node's offers registered. Runs until it is dropped, and what it has sent with it.
    pub(crate) async fn run(self: Arc<Self>, overlay: Overlay) {
        let mut under_way = JoinSet::new();
        let mut learn_at = tokio::time::Instant::now();
        loop {
            if learn_at <= tokio::time::Instant::now() {
                let every = if self.learn(&overlay).await { LEARN_EVERY } else { LEARN_SOON };
                learn_at = tokio::time::Instant::now() + every;
            }
            let sent = lock(&self.advertiser).poll(clock::now_millis(), &mut *lock(&self.rng));
            for sent in sent {
                under_way.spawn(self.clone().send(overlay.clone(), sent));
            }
            while under_way.try_join_next().is_some() {}
            let due = lock(&self.advertiser).deadline().saturating_sub(clock::now_millis());
            let due = tokio::time::Instant::now() + Duration::from_millis(due.min(3_600_000)).max(PAUSE);
            tokio::select! {
                () = tokio::time::sleep_until(due.min(learn_at)) => {}
                () = self.changed.notified() => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Looks at the routing table; says whether anybody is known.
    async fn learn(&self, overlay: &Overlay) -> bool {
        let known: Vec<_> = overlay.known_peers().await.iter().filter_map(peer_of).collect();
        lock(&self.advertiser).learn(&known);
        let any = !known.is_empty();
        *lock(&self.known) = known;
        any
    }

    async fn send(self: Arc<Self>, overlay: Overlay, sent: Sent) {
        let request = match sent.request {
            Wanted::Register(registration) => Request::Register {
                key: ByteArray::new(*registration.key.as_bytes()),
                descriptor: registration.offer.descriptor.into_vec(),
                lease: registration.offer.lease.into_vec(),
                ticket: registration.ticket.map(|t| ByteArray::new(*t.as_bytes())),
            },
            Wanted::Renew(lease) => Request::Renew { lease: lease.bytes().to_vec() },
        };
        let answer = ask(&overlay, &sent.to, &request, REGISTER_DEADLINE).await;
        let now = clock::now_millis();
        let (mut advertiser, mut rng) = (lock(&self.advertiser), lock(&self.rng));
        match answer {
            Ok(Response::Registered { placed, closer }) => {
                let closer = peers(closer);
                match placed {
                    Placed::Confirmed { for_ms } => {
                        advertiser.answered(now, sent.id, &Reply::Confirmed { for_ms }, &closer, &mut *rng);
                    }
                    Placed::Wait { ticket, wait_ms } => {
                        let ticket = Ticket::from_bytes(ticket.into_array());
                        advertiser.answered(
                            now,
                            sent.id,
                            &Reply::Wait { ticket, wait_ms },
                            &closer,
                            &mut *rng,
                        );
                    }
                    Placed::Refused { code, message } => {
                        tracing::debug!(registrar = %sent.to.did(), code, message, "an ad was refused");
                        advertiser.failed(now, sent.id);
                    }
                }
            }
            Ok(other) => {
                tracing::debug!(registrar = %sent.to.did(), answer = ?other, "an ad was not answered as such");
                advertiser.failed(now, sent.id);
            }
            Err(why) => {
                tracing::debug!(registrar = %sent.to.did(), why, "a registrar cannot be asked");
                advertiser.failed(now, sent.id);
            }
        }
        drop((advertiser, rng));
        self.changed.notify_one();
    }

    /// Answers a registration: at once, or after the provider showed that it has the component.
    pub(crate) async fn register(
        &self,
        session: &SessionHandle,
        from: IpAddr,
        registration: Registration,
    ) -> Response {
        let (key, sender) = (registration.key, session.peer());
        let registered = {
            let mut registrar = lock(&self.registrar);
            let (registrar, verifier) = &mut *registrar;
            registrar.register(clock::now_millis(), sender, from, &registration, verifier)
        };
        let reply = match registered {
            Registered::Reply(reply) => reply,
            Registered::Prove(challenge) => {
                let outcome = prove(session, &challenge).await;
                lock(&self.registrar).0.proved(clock::now_millis(), challenge.id, outcome)
            }
        };
        Response::Registered { placed: placed(reply), closer: self.closer(&key) }
    }

    /// Takes a newer lease for the ads of its provider.
    pub(crate) fn renew(&self, sender: Did, from: IpAddr, lease: &[u8]) -> Response {
        let mut registrar = lock(&self.registrar);
        let (registrar, verifier) = &mut *registrar;
        let reply = registrar.renew(clock::now_millis(), sender, from, lease, verifier);
        Response::Registered { placed: placed(reply), closer: Vec::new() }
    }

    /// The ads held under a key, some of them.
    pub(crate) fn ads(&self, from: IpAddr, key: &Key) -> Result<Response, Refusal> {
        let ads = lock(&self.registrar)
            .0
            .get_ads(clock::now_millis(), from, key, &mut *lock(&self.rng))
            .map_err(|refused| Refusal::new(RefusalCode::Busy, refused.to_string()).retry_after_ms(1_000))?;
        let ads: Vec<Offer> = ads.iter().map(Ad::to_wire).collect();
        Ok(Response::Ads { ads, closer: self.closer(key) })
    }

    fn closer(&self, key: &Key) -> Vec<actum_overlay::Contact> {
        contacts(&closer_peers(key, lock(&self.known).iter(), &mut *lock(&self.rng)))
    }
}

fn placed(reply: Reply) -> Placed {
    match reply {
        Reply::Confirmed { for_ms } => Placed::Confirmed { for_ms },
        Reply::Wait { ticket, wait_ms } => {
            Placed::Wait { ticket: ByteArray::new(*ticket.as_bytes()), wait_ms }
        }
        Reply::Refused(refused) => {
            Placed::Refused { code: refused.code().to_owned(), message: refused.to_string() }
        }
    }
}

/// Asks the provider for its manifest and for the chunk that it is challenged to show.
async fn prove(session: &SessionHandle, challenge: &Challenge) -> Result<(), ProofFailed> {
    let (component, manifest) = (challenge.component, challenge.manifest);
    let asked = Request::Manifest { component, manifest };
    let Ok(Response::Manifest { bytes }) = session.request(&asked, PROOF_DEADLINE).await else {
        return Err(ProofFailed::Withheld);
    };
    if BlobId::of(&bytes) != manifest {
        return Err(ProofFailed::WrongManifest);
    }
    let digests = read_manifest(&bytes, challenge.component_bytes).map_err(|_| ProofFailed::WrongManifest)?;
    let index = u32::try_from(challenge.index).map_err(|_| ProofFailed::WrongManifest)?;
    let digest = digests.get(index as usize).ok_or(ProofFailed::WrongManifest)?;
    let asked = Request::Chunk { component, index };
    match session.request(&asked, PROOF_DEADLINE).await {
        Ok(Response::Chunk { bytes }) if sha256(&bytes) == **digest => Ok(()),
        Ok(Response::Chunk { .. }) => Err(ProofFailed::WrongChunk),
        _ => Err(ProofFailed::Withheld),
    }
}

/// Asks a peer something, on the session there is or a new one.
async fn ask(
    overlay: &Overlay,
    peer: &Peer,
    request: &Request,
    within: Duration,
) -> Result<Response, String> {
    let asked = async {
        let session = overlay
            .connect_named(peer.did(), &dialled(peer))
            .await
            .map_err(|e: ConnectError| e.to_string())?;
        session.request(request, within).await.map_err(|e: RequestError| e.to_string())
    };
    tokio::time::timeout(within, asked)
        .await
        .unwrap_or_else(|_| Err(format!("no answer in {} s", within.as_secs())))
}

/// A peer of the routing table as the advertise plane knows it. One that nobody could dial is none.
pub(crate) fn peer_of(known: &PeerAddrs) -> Option<Peer> {
    let addrs: Vec<_> = known.addresses.iter().map(crate::node::without_peer_id).take(4).collect();
    match known.observed {
        _ if addrs.is_empty() => None,
        Some(ip) => Some(Peer::observed(known.did, addrs, ip)),
        None => Peer::named(known.did, addrs).ok(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
