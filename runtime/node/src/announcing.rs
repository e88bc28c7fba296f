//! What a node announces of itself, and what it takes in of others' announcements.

use crate::{
    clock,
    events::NodeEvent,
    node::Service,
    plane::{Seeker, dialled},
    status::{self, EVERY_SECONDS, Status},
};
use actum_discovery::{
    Conditions, Observed, Refused, RegistryCandidate, advertise::Peer, alive, descriptor_for,
};
use actum_model::{Descriptor, Did, Lease, SecretKey, Signed, Tier, Tombstone};
use actum_overlay::{Multiaddr, Overlay, Refusal, RefusalCode, Request, Response};
use serde_bytes::ByteBuf;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// How long meeting one peer to announce to may take.
const MEET_DEADLINE: Duration = Duration::from_secs(10);
/// How soon an unreachable bootstrap peer is tried again.
const RETRY: Duration = Duration::from_secs(15);
/// How long is looked for registries to announce to.
const LOOK_FOR_REGISTRIES: Duration = Duration::from_secs(5);
/// How often is looked for registries, beside whenever something is announced.
const LOOK_EVERY: Duration = Duration::from_secs(900);
/// How soon it is looked again where there was none.
const LOOK_SOON: Duration = Duration::from_secs(10);
/// How long peers get to hear that this node leaves.
const LEAVE_DEADLINE: Duration = Duration::from_secs(3);

/// What this node last announced, and when the next is due.
pub(crate) struct Announcing {
    pub(crate) announcer: actum_discovery::Announcer,
    pub(crate) addresses: Vec<String>,
    pub(crate) lease: Vec<u8>,
    pub(crate) descriptors: Vec<ByteBuf>,
    /// Registries found, beside the bootstrap peers.
    pub(crate) registries: Vec<Peer>,
    /// Who has heard of this lease. A bootstrap peer may be among the registries, and need not hear twice.
    pub(crate) told: BTreeSet<Did>,
}

/// Signs a lease, with as many of its addresses, the first ones, as it has room for.
fn sign(mut lease: Lease, key: &SecretKey) -> Signed<Lease> {
    while lease.addrs.len() > 1 {
        if let Ok(signed) = Signed::try_sign(lease.clone(), key) {
            return signed;
        }
        lease.addrs.pop();
    }
    Signed::sign(lease, key)
}

/// Announces to the bootstrap peers and to registries when something is due, and sooner again to those that could not be
/// reached.
pub(crate) async fn refresh(
    service: Arc<Service>,
    overlay: Overlay,
    mut missed: Vec<String>,
    bootstrap: Vec<String>,
) {
    // At the start nobody is known who could name a registry.
    let mut look_at = tokio::time::Instant::now() + Duration::from_secs(2);
    loop {
        let due = Duration::from_secs(service.announcing().announcer.due().saturating_sub(clock::now_secs()));
        let wait = if missed.is_empty() { due } else { due.min(RETRY) };
        let until = tokio::time::Instant::now() + wait.max(Duration::from_secs(1));
        tokio::select! {
            () = tokio::time::sleep_until(until.min(look_at)) => {}
            () = service.moved.notified() => {}
        }
        let now = clock::now_secs();
        let announced = service.announce(now);
        if announced || look_at <= tokio::time::Instant::now() {
            let any = service.find_registries(&overlay).await;
            look_at = tokio::time::Instant::now() + if any { LOOK_EVERY } else { LOOK_SOON };
            service.announce_to_registries(&overlay).await;
        }
        let asked = if announced { &bootstrap } else { &missed };
        let mut still = Vec::new();
        for address in asked.clone() {
            if !service.join(&overlay, &address).await {
                still.push(address);
            }
        }
        missed = still;
        service.index().expire(now);
        if let Err(e) = service.home.store().prune_offers(now) {
            tracing::warn!(error = %e, "expired offers could not be removed");
        }
    }
}

impl Service {
    /// On what terms a release is offered here.
    fn conditions(&self, public: bool, price: u64) -> Conditions {
        Conditions {
            profile: self.provider.profile(),
            limits: self.limits.clone(),
            price,
            region: self.region.clone(),
            public,
            // Whatever it executes leaves a receipt with its journal, so every tier can be applied to it.
            tiers: Tier::ALL.into(),
            verdicts: Vec::new(),
        }
    }

    /// Signs what is due of this node's readiness and offers, and puts it into its own index and among what it
    /// advertises. Says whether anything was due.
    pub(crate) fn announce(&self, now: u64) -> bool {
        let key = match self.home.key() {
            Ok(key) => key,
            Err(e) => {
                tracing::error!(error = %e, "nothing can be announced");
                return false;
            }
        };
        let mut announcing = self.announcing();
        let jitter = u64::from_le_bytes(clock::random());
        let Some(due) = announcing.announcer.poll(now, jitter) else { return false };
        if let Some(validity) = due.descriptors {
            let descriptors = self.provider.offers().into_iter().filter_map(|offer| {
                let conditions = self.conditions(offer.public, offer.price);
                match descriptor_for(&offer.release, key.did(), conditions, validity) {
                    Ok(d) => Some(ByteBuf::from(Signed::sign(d, key).bytes().to_vec())),
                    Err(e) => {
                        tracing::error!(release = %offer.release.id(), error = %e, "a release cannot be announced");
                        None
                    }
                }
            });
            announcing.descriptors = descriptors.collect();
        }
        let admitted = self.provider.running();
        let lease = Lease {
            iss: key.did(),
            addrs: announcing.addresses.clone(),
            load: admitted.min(self.capacity.get()),
            queued: admitted.saturating_sub(self.capacity.get()),
            capacity: self.capacity.get(),
            lately: self.provider.lately(now),
            descriptors_seq: due.descriptors_seq,
            seq: due.lease.seq,
            nbf: due.lease.nbf,
            exp: due.lease.exp,
        };
        announcing.lease = sign(lease, key).bytes().to_vec();
        announcing.told.clear();
        let (lease, descriptors) = (announcing.lease.clone(), announcing.descriptors.clone());
        drop(announcing);
        let (_, refused) = self.observe(&lease, &descriptors);
        for why in refused {
            tracing::error!(%why, "this node's own offer was refused");
        }
        self.plane.announce(&lease, &descriptors);
        true
    }

    /// Verifies and indexes an announcement; says how many offers were taken and why the others were not.
    fn observe(&self, lease: &[u8], descriptors: &[ByteBuf]) -> (u32, Vec<Refused>) {
        let now = clock::now_secs();
        let lease = match Signed::<Lease>::verify(lease) {
            Ok(lease) => lease,
            Err(e) => return (0, vec![e.into()]),
        };
        let (mut verified, mut refused) = (Vec::new(), Vec::new());
        for bytes in descriptors {
            let own = Signed::<Descriptor>::verify(bytes).map_err(Refused::from).and_then(|d| {
                let (descriptor, lease) = (d.payload().iss, lease.payload().iss);
                (descriptor == lease).then_some(d).ok_or(Refused::TwoProviders { descriptor, lease })
            });
            match own {
                Ok(descriptor) => verified.push(descriptor),
                Err(why) => refused.push(why),
            }
        }
        // A registry has bounds of its own, and answers from what it keeps.
        if let Some(registry) = &self.registry {
            let descriptors: Vec<_> = verified.iter().map(|d| ByteBuf::from(d.bytes())).collect();
            registry.observe(lease.bytes(), &descriptors);
        }
        let mut accepted = Vec::new();
        {
            let mut index = self.index();
            for descriptor in verified {
                match index.observe_descriptor(descriptor.clone(), now) {
                    Ok(_) => accepted.push(descriptor),
                    Err(why) => refused.push(why),
                }
            }
            if let Err(e) = index.observe_lease(lease.clone(), now) {
                // Which is why none of them counts, whatever else is wrong with them.
                return (0, vec![e]);
            }
        }
        let offers: Vec<_> = accepted.iter().map(|d| (d, &lease)).collect();
        if let Err(e) = self.home.store().put_offers(&offers, now) {
            tracing::warn!(error = %e, "offers could not be stored");
        }
        (u32::try_from(accepted.len()).unwrap_or(u32::MAX), refused)
    }

    /// Takes another peer's announcement in.
    pub(crate) async fn announced(
        self: &Arc<Self>,
        peer: Did,
        lease: Vec<u8>,
        descriptors: Vec<ByteBuf>,
    ) -> Result<Response, Refusal> {
        self.intakes.announcement(peer, self.seen_at(&peer))?;
        // Only a provider itself announces its offers here; nobody speaks for another.
        let own = Signed::<Lease>::verify(&lease).map(|l| l.payload().iss == peer);
        match own {
            Ok(true) => {}
            Ok(false) => return Err(self.fault(peer, "not-the-provider", "the lease is another peer's")),
            Err(e) => return Err(self.fault(peer, "bad-envelope", e)),
        }
        let service = self.clone();
        let observed = tokio::task::spawn_blocking(move || service.observe(&lease, &descriptors)).await;
        let (accepted, refused) = observed.map_err(|e| Refusal::new(RefusalCode::Internal, e.to_string()))?;
        refused.iter().for_each(|why| self.intakes.dropped(why.code()));
        if refused.iter().any(Refused::is_fault) {
            self.intakes.fault(peer);
        }
        let _ = self.events.send(NodeEvent::Announced { provider: peer, accepted });
        Ok(Response::Announced { accepted, refused: refused.iter().map(ToString::to_string).collect() })
    }

    /// Takes back what another peer announced, at its word.
    pub(crate) fn withdrawn(&self, peer: Did, tombstone: &[u8]) -> Result<Response, Refusal> {
        self.intakes.announcement(peer, self.seen_at(&peer))?;
        let tombstone =
            Signed::<Tombstone>::verify(tombstone).map_err(|e| self.fault(peer, "bad-envelope", e))?;
        if tombstone.payload().iss != peer {
            return Err(self.fault(peer, "not-the-provider", "the tombstone is another peer's"));
        }
        let Tombstone { nbf, exp, .. } = tombstone.payload();
        alive(*nbf, *exp, clock::now_secs()).map_err(|why| {
            self.intakes.dropped(why.code());
            Refusal::new(RefusalCode::BadRequest, why.to_string())
        })?;
        match self.index().observe_tombstone(&tombstone, clock::now_secs()) {
            Ok(Observed::Same | Observed::Older) => return Ok(Response::Withdrawn {}),
            Ok(_) => {}
            // An index that is full forgets no sooner for it; the others are told all the same.
            Err(why) => self.intakes.dropped(why.code()),
        }
        self.plane.left(tombstone.payload());
        if let Some(registry) = &self.registry {
            registry.take_back(&tombstone);
        }
        if let Err(e) = self.home.store().take_back(&tombstone) {
            tracing::warn!(error = %e, "what a peer took back could not be removed");
        }
        Ok(Response::Withdrawn {})
    }

    /// Counts what a peer sent that could not have been right at any time, and holds it against the peer.
    pub(crate) fn fault(&self, peer: Did, code: &'static str, what: impl ToString) -> Refusal {
        self.intakes.dropped(code);
        self.intakes.fault(peer);
        Refusal::new(RefusalCode::BadRequest, what.to_string())
    }

    /// Announces to one bootstrap peer; says whether it took the announcement.
    pub(crate) async fn join(&self, overlay: &Overlay, address: &str) -> bool {
        let joined = async {
            let peer = overlay.connect(address).await.map_err(|e| e.to_string())?;
            self.home.store().put_peer(address, &peer, clock::now_secs()).map_err(|e| e.to_string())?;
            self.tell(overlay, &peer).await?;
            let (spread, accusing, overlay) = (self.spread.clone(), self.accusing.clone(), overlay.clone());
            tokio::spawn(async move {
                if let Err(why) = spread.exchange(&overlay, peer).await {
                    tracing::debug!(%peer, why, "notices were not exchanged to the end");
                }
                if let Err(why) = accusing.exchange(&overlay, peer).await {
                    tracing::debug!(%peer, why, "accusations were not exchanged to the end");
                }
            });
            Ok(peer)
        };
        let joined = tokio::time::timeout(MEET_DEADLINE, joined).await;
        let event =
            match joined.unwrap_or_else(|_| Err(format!("no answer in {} s", MEET_DEADLINE.as_secs()))) {
                Ok(peer) => NodeEvent::Joined { peer },
                Err(why) => {
                    tracing::warn!(address, why, "a bootstrap peer cannot be reached");
                    NodeEvent::Unreachable { address: address.to_owned(), why }
                }
            };
        let joined = matches!(event, NodeEvent::Joined { .. });
        let _ = self.events.send(event);
        joined
    }

    /// Announces to a connected peer, which has not heard of this lease yet.
    async fn tell(&self, overlay: &Overlay, peer: &Did) -> Result<(), String> {
        let (lease, descriptors) = {
            let announcing = self.announcing();
            if announcing.told.contains(peer) {
                return Ok(());
            }
            (announcing.lease.clone(), announcing.descriptors.clone())
        };
        let announcement = Request::Announce { lease: lease.clone(), descriptors };
        let answer = overlay.request(peer, &announcement, MEET_DEADLINE).await;
        match answer.map_err(|e| e.to_string())? {
            Response::Announced { .. } => {
                let mut announcing = self.announcing();
                if announcing.lease == lease {
                    announcing.told.insert(*peer);
                }
                Ok(())
            }
            Response::Refused { refusal } => Err(refusal.to_string()),
            _ => Err("it answered something else".to_owned()),
        }
    }

    /// Looks for registries on the advertise plane, and keeps a few that share no operator and no address range. Says whether
    /// there are any.
    async fn find_registries(&self, overlay: &Overlay) -> bool {
        let candidate = |peer: &Peer| {
            Ok::<_, std::convert::Infallible>(RegistryCandidate {
                did: *peer.did(),
                operator: *peer.did(),
                ip: peer.ip(),
                omissions: 0,
                named: false,
            })
        };
        let draw = u64::from_le_bytes(clock::random());
        let (own, local, seeds) = (self.home.did(), self.plane.local(), self.plane.known());
        let seeker = Seeker { overlay, own, local, seeds: &seeds };
        let Ok(chosen) = seeker.find_registries(LOOK_FOR_REGISTRIES, Vec::new(), candidate, draw).await;
        let any = !chosen.is_empty();
        self.announcing().registries = chosen;
        any
    }

    async fn announce_to_registries(&self, overlay: &Overlay) {
        let registries = self.announcing().registries.clone();
        let told = registries.iter().map(|peer| async {
            let told = async {
                overlay.connect_named(peer.did(), &dialled(peer)).await.map_err(|e| e.to_string())?;
                self.tell(overlay, peer.did()).await
            };
            match tokio::time::timeout(MEET_DEADLINE, told).await {
                Ok(Ok(())) => {}
                Ok(Err(why)) => tracing::debug!(registry = %peer.did(), why, "a registry was not told"),
                Err(_) => tracing::debug!(registry = %peer.did(), "a registry did not answer"),
            }
        });
        futures::future::join_all(told).await;
    }

    /// Tells every connected peer, and the registries it announced to, that this node leaves, so that nobody waits for its
    /// lease to end. Those it does not reach find out by that.
    pub(crate) async fn leave(&self, overlay: &Overlay) {
        let Ok(key) = self.home.key() else { return };
        let taken_back = self.announcing().announcer.take_back(clock::now_secs());
        let tombstone = Tombstone {
            iss: key.did(),
            release: None,
            seq: taken_back.seq,
            nbf: taken_back.nbf,
            exp: taken_back.exp,
        };
        let request = Request::Withdraw { tombstone: Signed::sign(tombstone, key).bytes().to_vec() };
        let registries = self.announcing().registries.clone();
        let mut peers: BTreeMap<Did, Vec<Multiaddr>> =
            registries.iter().map(|peer| (*peer.did(), dialled(peer))).collect();
        for peer in overlay.peers() {
            peers.entry(peer.did).or_default();
        }
        let told = peers.iter().map(async |(peer, addresses)| {
            let session = overlay.connect_named(peer, addresses).await.ok()?;
            session.request(&request, LEAVE_DEADLINE).await.ok()
        });
        let _ = tokio::time::timeout(LEAVE_DEADLINE, futures::future::join_all(told)).await;
    }

    /// Writes how this node stands, now and then. Runs until it is dropped.
    pub(crate) async fn keep_status(self: Arc<Self>, overlay: Overlay) {
        loop {
            let refusals = overlay.refusals().into_iter().map(|(code, n)| (code.to_owned(), n)).collect();
            let addresses = crate::node::reachable(&overlay);
            let moved = std::mem::replace(&mut self.announcing().addresses, addresses.clone()) != addresses;
            if moved {
                // The next lease says so, and it is due now.
                self.announcing().announcer.readiness_changed();
                self.moved.notify_one();
            }
            let status = Status {
                at: clock::now_secs(),
                reachability: overlay.reachability().to_string(),
                addresses,
                connected: overlay.peers().len(),
                known: self.plane.known().len(),
                ads_held: self.plane.held(),
                ads_placed: self.plane.placed(),
                refusals,
                dropped: self.dropped(),
                traffic: overlay.traffic(),
            };
            status::write(&self.home, &status);
            let known = overlay.known_peers().await;
            let known = known.iter().filter_map(|p| Some((p.addresses.first()?.to_string(), p.did)));
            if let Err(e) = self.home.store().put_peers(&known.collect::<Vec<_>>(), clock::now_secs()) {
                tracing::debug!(error = %e, "peers could not be stored");
            }
            tokio::time::sleep(Duration::from_secs(EVERY_SECONDS)).await;
        }
    }

    /// What others sent that was dropped, by code.
    fn dropped(&self) -> BTreeMap<String, u64> {
        let mut dropped = BTreeMap::new();
        for (code, n) in self.plane.refused().into_iter().chain(self.intakes.counts()) {
            *dropped.entry(code.to_owned()).or_default() += n;
        }
        dropped
    }

    /// The address a connected peer is seen at, for bounds on ranges.
    pub(crate) fn seen_at(&self, peer: &Did) -> std::net::IpAddr {
        let seen = self.overlay.get().and_then(|overlay| overlay.seen_at(peer));
        // One that is gone already counts with all others of whom nothing is known.
        seen.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into())
    }
}
