//! The advertiser: keeps a provider's offers registered, three times in each bucket of each key.

use super::{
    Added, Key, LocalAddresses, Peer, Registration, Reply, Table, Ticket,
    ad::digest_of,
    keys_of,
    limits::{
        ADVERTISER_IDLE_MS, ADVERTISER_IN_FLIGHT, ANSWER_TIMEOUT_MS, BUCKETS, GIVE_UP_MS, MIN_LIFE_MS,
        PROOF_TIMEOUT_MS, REGISTRATIONS, RENEWAL_MS, ROTATE_ONE_IN, WAIT_CAP_MS, WAIT_FLOOR_MS,
    },
    table::{below, one_a_bucket},
};
use actum_model::{Descriptor, Did, Lease, Offer, ReleaseId, Signed};
use rand_core::Rng;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What an advertiser wants sent. The answer is told to [`Advertiser::answered`], its failing to [`Advertiser::failed`].
#[derive(Clone, Debug)]
pub enum Request {
    /// Register an offer.
    Register(Registration),
    /// Tell a registrar of the provider's newer lease.
    Renew(Arc<Signed<Lease>>),
}

/// A request, to whom, and the number by which its answer is known.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The request's number.
    pub id: u64,
    /// The registrar.
    pub to: Peer,
    /// What to send.
    pub request: Request,
}

/// An offer under a key. A registry's has no release.
type What = (Key, Option<[u8; 32]>);

/// What is to be registered under a key, and where it is.
#[derive(Clone, Debug, Default)]
struct Job {
    descriptor: Option<Arc<Signed<Descriptor>>>,
    /// The registrations in each bucket that count: those that are leaving do not.
    counts: [usize; BUCKETS],
    /// The registrars of all of them.
    taken: BTreeSet<Did>,
}

#[derive(Clone, Debug)]
struct Slot {
    what: What,
    bucket: usize,
    peer: Peer,
    /// The descriptor being registered; a ticket is good for no other.
    descriptor: Option<Arc<Signed<Descriptor>>>,
    /// When it was asked for first: it is given up a while after that.
    began: u64,
    /// Until when it holds a place; 0 for none yet.
    placed_until: u64,
    /// Another takes over; this one only lasts.
    leaving: bool,
    /// When its timer is set for, if it is.
    timer: Option<u64>,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// An answer is awaited.
    Asked,
    /// To be asked, with a ticket or anew.
    Due(Option<Ticket>),
}

#[derive(Clone, Debug)]
enum Awaited {
    Slot(u64),
    Lease(Peer),
}

/// Keeps offers registered. `now` is in milliseconds since the Unix epoch.
///
/// Each registration is renewed at its registrar in the last third of its time, at a moment drawn at random; one in 32 moves to
/// another. Quoted waits are kept, between 10 s and 900 s; after 1,350 s in all the registrar is given up. A new lease goes
/// once to each registrar, however many ads it has.
#[derive(Clone, Debug)]
pub struct Advertiser {
    own: Did,
    local: LocalAddresses,
    lease: Option<Arc<Signed<Lease>>>,
    tables: BTreeMap<Key, Table>,
    jobs: BTreeMap<What, Job>,
    slots: BTreeMap<u64, Slot>,
    timers: BTreeSet<(u64, u64)>,
    awaited: BTreeMap<u64, (u64, Awaited)>,
    /// Registrars that have an older lease.
    stale: BTreeMap<Did, Peer>,
    next_id: u64,
    /// When to look for registrars again; 0 for at once.
    look_again: u64,
    /// There was no living lease when last polled, so nothing is due until there is.
    without_lease: bool,
}

impl Advertiser {
    /// An advertiser of the provider `own`, with nothing to advertise.
    pub fn new(own: Did, local: LocalAddresses) -> Self {
        Self {
            own,
            local,
            lease: None,
            tables: BTreeMap::new(),
            jobs: BTreeMap::new(),
            slots: BTreeMap::new(),
            timers: BTreeSet::new(),
            awaited: BTreeMap::new(),
            stale: BTreeMap::new(),
            next_id: 0,
            look_again: 0,
            without_lease: true,
        }
    }

    /// The provider's newest lease; without one nothing is sent. It has to be given anew well before it ends: ads end with
    /// the lease their registrar knows.
    pub fn set_lease(&mut self, now: u64, lease: Arc<Signed<Lease>>) {
        if self.lease.is_some() {
            let placed = self.slots.values().filter(|s| s.placed_until > now);
            self.stale = placed.map(|s| (*s.peer.did(), s.peer.clone())).collect();
        }
        self.lease = Some(lease);
        self.without_lease = false;
        self.look_again = 0;
    }

    /// Advertises a descriptor under all its keys, or a newer one of the same release in place of the older.
    pub fn advertise(&mut self, descriptor: &Arc<Signed<Descriptor>>) {
        let release = digest_of(descriptor.payload().release.digest());
        for key in keys_of(descriptor.payload()) {
            let what = (key, Some(release));
            self.jobs.entry(what).or_default().descriptor = Some(descriptor.clone());
            self.table(key);
            // Places held get the newer one at once. Whoever waits begins again: its ticket is for the older one, which the
            // next lease covers no longer.
            let mut at_once = Vec::new();
            for (id, slot) in self.slots.iter_mut().filter(|(_, s)| s.what == what && !s.leaving) {
                if let State::Due(_) = slot.state {
                    slot.state = State::Due(None);
                    slot.descriptor = Some(descriptor.clone());
                    at_once.push(*id);
                }
            }
            at_once.into_iter().for_each(|id| self.set_timer(id, 0));
        }
        self.look_again = 0;
    }

    /// Advertises the provider as a registry.
    pub fn advertise_registry(&mut self) {
        self.jobs.entry((Key::registries(), None)).or_default();
        self.table(Key::registries());
        self.look_again = 0;
    }

    /// Advertises a release no more. Its places end by themselves, or at once by a lease that no longer covers it.
    pub fn withdraw(&mut self, release: &ReleaseId) {
        let release = digest_of(release.digest());
        self.jobs.retain(|(_, of), _| *of != Some(release));
        let gone: Vec<_> =
            self.slots.iter().filter(|(_, s)| s.what.1 == Some(release)).map(|(id, _)| *id).collect();
        gone.into_iter().for_each(|id| self.drop_slot(id));
        let jobs = &self.jobs;
        self.tables.retain(|key, _| jobs.keys().any(|(of, _)| of == key));
    }

    /// Peers of the routing table: candidates for every key.
    pub fn learn<'a>(&mut self, peers: impl IntoIterator<Item = &'a Peer>) {
        for peer in peers.into_iter().filter(|p| *p.did() != self.own) {
            for table in self.tables.values_mut() {
                table.add(peer);
            }
        }
    }

    /// The requests to send now. Call it after every change and at [`Self::deadline`].
    pub fn poll(&mut self, now: u64, rng: &mut impl Rng) -> Vec<Sent> {
        let late: Vec<_> =
            self.awaited.iter().filter(|(_, (end, _))| *end <= now).map(|(id, _)| *id).collect();
        late.into_iter().for_each(|id| self.failed(now, id));
        let mut sent = Vec::new();
        let alive = |l: &Arc<Signed<Lease>>| l.payload().exp.saturating_mul(1_000) > now;
        let Some(lease) = self.lease.clone().filter(alive) else {
            self.without_lease = true;
            return sent;
        };
        self.due(now, &lease, rng, &mut sent);
        while self.awaited.len() < ADVERTISER_IN_FLIGHT {
            let Some((_, to)) = self.stale.pop_first() else { break };
            let id = self.awaits(now, Awaited::Lease(to.clone()));
            sent.push(Sent { id, to, request: Request::Renew(lease.clone()) });
        }
        self.fill(now, &lease, rng, &mut sent);
        sent
    }

    /// Takes an answer in, and the peers that came with it.
    pub fn answered(&mut self, now: u64, id: u64, reply: &Reply, closer: &[Peer], rng: &mut impl Rng) {
        let Some((_, awaited)) = self.awaited.remove(&id) else { return };
        let slot_id = match awaited {
            Awaited::Slot(slot) => slot,
            Awaited::Lease(peer) => {
                if matches!(reply, Reply::Refused(_)) {
                    self.lost(now, &peer);
                }
                return;
            }
        };
        let Some(slot) = self.slots.get_mut(&slot_id) else { return };
        if let Some(table) = self.tables.get_mut(&slot.what.0) {
            for peer in one_a_bucket(&slot.what.0, closer).filter(|p| *p.did() != self.own) {
                if matches!(table.add(peer), Added::New | Added::Replaced) {
                    self.look_again = 0;
                }
            }
        }
        let at = match reply {
            Reply::Confirmed { for_ms } => {
                self.answered_well(slot_id);
                self.placed(now, slot_id, *for_ms, rng)
            }
            Reply::Wait { ticket, wait_ms } => {
                let at = now.saturating_add((*wait_ms).clamp(WAIT_FLOOR_MS, WAIT_CAP_MS));
                let newer = self.newer_descriptor(slot_id);
                let Some(slot) = self.slots.get_mut(&slot_id) else { return };
                slot.state = State::Due(newer.is_none().then_some(*ticket));
                slot.descriptor = newer.or_else(|| slot.descriptor.take());
                (at <= slot.began.saturating_add(GIVE_UP_MS)).then_some(at)
            }
            Reply::Refused(_) => None,
        };
        match at {
            Some(at) => self.set_timer(slot_id, at),
            None => self.give_up(now, slot_id),
        }
    }

    /// A request could not be sent, or was not answered.
    pub fn failed(&mut self, now: u64, id: u64) {
        match self.awaited.remove(&id) {
            Some((_, Awaited::Slot(slot))) => self.give_up(now, slot),
            Some((_, Awaited::Lease(peer))) => self.lost(now, &peer),
            None => {}
        }
    }

    /// When to poll again if nothing happens, in milliseconds; `u64::MAX` when there is nothing to do.
    pub fn deadline(&self) -> u64 {
        let answer = self.awaited.values().map(|(end, _)| *end).min().unwrap_or(u64::MAX);
        if self.without_lease || self.awaited.len() >= ADVERTISER_IN_FLIGHT {
            return answer;
        }
        let timer = self.timers.first().map_or(u64::MAX, |(at, _)| *at);
        let look_again = if self.jobs.is_empty() { u64::MAX } else { self.look_again };
        timer.min(answer).min(look_again)
    }

    /// How many registrations hold a place at `now`, by key.
    pub fn placed_at(&self, now: u64) -> BTreeMap<Key, usize> {
        let mut placed = BTreeMap::new();
        for slot in self.slots.values().filter(|s| s.placed_until > now) {
            *placed.entry(slot.what.0).or_default() += 1;
        }
        placed
    }

    /// Whatever is due: to be asked again, to be renewed, or over.
    fn due(&mut self, now: u64, lease: &Arc<Signed<Lease>>, rng: &mut impl Rng, sent: &mut Vec<Sent>) {
        while let Some((at, id)) = self.timers.first().copied() {
            if at > now || self.awaited.len() >= ADVERTISER_IN_FLIGHT {
                break;
            }
            self.timers.pop_first();
            let Some(slot) = self.slots.get_mut(&id) else { continue };
            slot.timer = None;
            if slot.leaving {
                self.drop_slot(id);
                continue;
            }
            let State::Due(ticket) = slot.state else { continue };
            if ticket.is_none() {
                // A renewal begins.
                slot.began = now;
                let (what, bucket, until) = (slot.what, slot.bucket, slot.placed_until);
                let renewal = until.saturating_sub(now) <= RENEWAL_MS;
                if renewal
                    && below(rng, ROTATE_ONE_IN) == 0
                    && self.another(&what, bucket, now, rng).is_some()
                {
                    self.leave(id, until);
                    continue;
                }
            }
            self.send(now, id, ticket, lease, sent);
        }
    }

    /// New registrations, wherever there are fewer than three.
    fn fill(&mut self, now: u64, lease: &Arc<Signed<Lease>>, rng: &mut impl Rng, sent: &mut Vec<Sent>) {
        if now < self.look_again {
            return;
        }
        self.look_again = now.saturating_add(ADVERTISER_IDLE_MS);
        let wanting = |(what, job): (&What, &Job)| {
            let few = job.counts.into_iter().enumerate().filter(|(_, n)| *n < REGISTRATIONS);
            few.map(|(bucket, n)| (*what, bucket, REGISTRATIONS - n)).collect::<Vec<_>>()
        };
        let wanting: Vec<_> = self.jobs.iter().flat_map(wanting).collect();
        for (what, bucket, few) in wanting {
            for _ in 0..few {
                if self.awaited.len() >= ADVERTISER_IN_FLIGHT {
                    // To be gone on with when there is room again.
                    self.look_again = 0;
                    return;
                }
                let Some(peer) = self.another(&what, bucket, now, rng) else { break };
                let Some(job) = self.jobs.get_mut(&what) else { break };
                if let Some(n) = job.counts.get_mut(bucket) {
                    *n += 1;
                }
                job.taken.insert(*peer.did());
                let (descriptor, id) = (job.descriptor.clone(), self.next_id);
                self.next_id += 1;
                let state = State::Due(None);
                let slot = Slot {
                    what,
                    bucket,
                    peer,
                    descriptor,
                    began: now,
                    placed_until: 0,
                    leaving: false,
                    timer: None,
                    state,
                };
                self.slots.insert(id, slot);
                self.send(now, id, None, lease, sent);
            }
        }
    }

    fn send(
        &mut self,
        now: u64,
        slot_id: u64,
        ticket: Option<Ticket>,
        lease: &Arc<Signed<Lease>>,
        sent: &mut Vec<Sent>,
    ) {
        let id = self.awaits(now, Awaited::Slot(slot_id));
        let Some(slot) = self.slots.get_mut(&slot_id) else { return };
        slot.state = State::Asked;
        let descriptor = slot.descriptor.as_ref().map(|d| d.bytes().to_vec()).unwrap_or_default();
        let offer = Offer { descriptor: descriptor.into(), lease: lease.bytes().to_vec().into() };
        let request = Request::Register(Registration { key: slot.what.0, offer, ticket });
        sent.push(Sent { id, to: slot.peer.clone(), request });
    }

    fn awaits(&mut self, now: u64, awaited: Awaited) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.awaited.insert(id, (now.saturating_add(ANSWER_TIMEOUT_MS + PROOF_TIMEOUT_MS), awaited));
        id
    }

    /// A peer of a bucket that has no registration of this offer.
    fn another(&self, what: &What, bucket: usize, now: u64, rng: &mut impl Rng) -> Option<Peer> {
        let job = self.jobs.get(what)?;
        self.tables.get(&what.0)?.pick(bucket, now, rng, |did| job.taken.contains(did))
    }

    /// Notes a place, and says when to renew it: at a random moment of the time in which that can be done.
    fn placed(&mut self, now: u64, slot_id: u64, for_ms: u64, rng: &mut impl Rng) -> Option<u64> {
        let slot = self.slots.get_mut(&slot_id)?;
        let until = now.saturating_add(for_ms);
        slot.placed_until = until;
        slot.state = State::Due(None);
        let jitter = below(rng, RENEWAL_MS - MIN_LIFE_MS);
        let at = until.saturating_sub(RENEWAL_MS).saturating_add(jitter);
        let earliest = now.saturating_add(WAIT_FLOOR_MS);
        let at = at.max(earliest);
        let newer = self.newer_descriptor(slot_id);
        let at = if newer.is_some() { earliest } else { at };
        if newer.is_some() {
            self.slots.get_mut(&slot_id)?.descriptor = newer;
        }
        Some(at)
    }

    /// The descriptor that came while an answer was awaited, if one did.
    fn newer_descriptor(&self, slot_id: u64) -> Option<Arc<Signed<Descriptor>>> {
        let slot = self.slots.get(&slot_id)?;
        let newest = self.jobs.get(&slot.what)?.descriptor.as_ref()?;
        let has = slot.descriptor.as_ref().map(|d| d.payload().seq);
        (has < Some(newest.payload().seq)).then(|| newest.clone())
    }

    fn answered_well(&mut self, slot_id: u64) {
        let Some(slot) = self.slots.get(&slot_id) else { return };
        if let Some(table) = self.tables.get_mut(&slot.what.0) {
            table.answered(&slot.peer);
        }
    }

    /// Turns away from a registrar. A place held there lasts until it ends.
    fn give_up(&mut self, now: u64, slot_id: u64) {
        let Some(slot) = self.slots.get(&slot_id) else { return };
        if let Some(table) = self.tables.get_mut(&slot.what.0) {
            table.failed(&slot.peer, now);
        }
        let until = slot.placed_until;
        if until > now { self.leave(slot_id, until) } else { self.drop_slot(slot_id) }
    }

    /// Lets a place end by itself; it no longer counts, so that another is looked for.
    fn leave(&mut self, slot_id: u64, until: u64) {
        let Some(slot) = self.slots.get_mut(&slot_id) else { return };
        (slot.leaving, slot.state) = (true, State::Due(None));
        let (what, bucket) = (slot.what, slot.bucket);
        self.uncount(&what, bucket);
        self.set_timer(slot_id, until);
        self.look_again = 0;
    }

    /// Whatever was placed at a registrar is there no more.
    fn lost(&mut self, now: u64, registrar: &Peer) {
        let lost = |s: &Slot| s.peer.did() == registrar.did() && s.placed_until > now;
        let lost: Vec<_> = self.slots.iter().filter(|(_, s)| lost(s)).map(|(id, _)| *id).collect();
        lost.into_iter().for_each(|id| self.drop_slot(id));
        self.look_again = 0;
    }

    fn drop_slot(&mut self, slot_id: u64) {
        let Some(slot) = self.slots.remove(&slot_id) else { return };
        if !slot.leaving {
            self.uncount(&slot.what, slot.bucket);
        }
        if let Some(job) = self.jobs.get_mut(&slot.what) {
            job.taken.remove(slot.peer.did());
        }
        if let Some(at) = slot.timer {
            self.timers.remove(&(at, slot_id));
        }
        self.awaited.retain(|_, (_, awaited)| !matches!(awaited, Awaited::Slot(of) if *of == slot_id));
        self.look_again = 0;
    }

    fn set_timer(&mut self, slot_id: u64, at: u64) {
        let Some(slot) = self.slots.get_mut(&slot_id) else { return };
        if let Some(before) = slot.timer.replace(at) {
            self.timers.remove(&(before, slot_id));
        }
        self.timers.insert((at, slot_id));
    }

    fn uncount(&mut self, what: &What, bucket: usize) {
        let job = self.jobs.get_mut(what);
        if let Some(n) = job.and_then(|job| job.counts.get_mut(bucket)) {
            *n = n.saturating_sub(1);
        }
    }

    fn table(&mut self, key: Key) -> &mut Table {
        self.tables.entry(key).or_insert_with(|| Table::new(key, self.local))
    }
}
