//! A registry: what it holds, what of that it gives out, and what it probes next.

use super::stated::{Given, Key, Sheet, Stated};
use crate::Stream;
use actum_discovery::{
    Index, IndexLimits, LiveOffer, Observed, Probe, Probed, Probing, Refused,
    advertise::Prefix,
    reconcile::{Holdings, Item, StatementDigest},
};
use actum_model::{Descriptor, Did, Lease, Query, ReleaseId};
use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

/// Offers probed at once, each of another provider: as a node does.
const PROBES: usize = 8;
/// Of those, the most of one address prefix.
const PROBES_PER_PREFIX: usize = 2;
/// How many offers are looked at for one to probe.
const PROBE_SCAN: usize = 65_536;
/// What a registry may hold, as a node's: 200,000 providers, 1,000,000 descriptors, 64 of each provider.
const LIMITS: IndexLimits =
    IndexLimits { providers: 200_000, descriptors: 1_000_000, descriptors_per_provider: 64 };

/// Where a statement is held.
#[derive(Clone, Copy, Debug)]
enum Place {
    Lease(u32),
    Descriptor(Key),
}

/// What is held of one name.
#[derive(Debug, Default)]
struct Held {
    lease: Option<Stated<Lease>>,
    offers: Vec<Offer>,
}

/// A descriptor, and what is known of it.
#[derive(Debug)]
struct Offer {
    capability: u8,
    descriptor: Stated<Descriptor>,
    probing: Probing,
}

/// Which offers of a provider are given out, by capability, the first in the lowest bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Listed {
    /// Those that answered their last probe.
    answer: u16,
    /// Those never probed, which come after.
    unprobed: u16,
}

/// A probe that has not ended.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    key: Key,
    prefix: Prefix,
}

/// A registry.
pub(super) struct Registry {
    /// Its number among peers.
    pub(super) peer: u32,
    pub(super) did: Did,
    /// It lists hostile providers alone, and probes nobody.
    pub(super) captured: bool,
    pub(super) draws: Stream,
    index: Index,
    /// By name.
    held: Vec<Held>,
    places: HashMap<StatementDigest, Place>,
    releases: Arc<[ReleaseId]>,
    /// Which offers of each provider are given out.
    listed: HashMap<Did, Listed>,
    /// How many are.
    given: u64,
    due: BTreeSet<(Probed, u64, Key)>,
    under_way: Vec<UnderWay>,
}

impl Registry {
    /// A registry that holds nothing.
    pub(super) fn new(
        peer: u32,
        did: Did,
        captured: bool,
        draws: Stream,
        releases: Arc<[ReleaseId]>,
    ) -> Self {
        Self {
            peer,
            did,
            captured,
            draws,
            index: Index::new(LIMITS),
            held: Vec::new(),
            places: HashMap::new(),
            releases,
            listed: HashMap::new(),
            given: 0,
            due: BTreeSet::new(),
            under_way: Vec::new(),
        }
    }

    /// Takes an announcement in.
    pub(super) fn take(&mut self, sheet: &Sheet, hostile: bool, now: u64) {
        for (capability, descriptor) in sheet.descriptors.iter() {
            let key = Key { name: sheet.name, capability: *capability };
            // What is refused is expired or one too many, and the next announcement says more.
            let _ = self.take_descriptor(key, descriptor, hostile, now);
        }
        let _ = self.take_lease(sheet.name, &sheet.lease, now);
    }

    /// Takes in what another registry gave; says whether it was news.
    pub(super) fn take_given(&mut self, given: &Given, hostile: bool, now: u64) -> bool {
        let taken = match given {
            Given::Lease(name, lease) => self.take_lease(*name, lease, now),
            Given::Descriptor(key, descriptor) => self.take_descriptor(*key, descriptor, hostile, now),
        };
        taken.unwrap_or(false)
    }

    fn take_lease(&mut self, name: u32, lease: &Stated<Lease>, now: u64) -> Result<bool, Refused> {
        let observed = self.index.observe_lease(lease.signed.clone(), now)?;
        if matches!(observed, Observed::Same | Observed::Older) {
            return Ok(false);
        }
        if let Some(held) = slot(&mut self.held, name) {
            if let Some(before) = held.lease.replace(lease.clone()) {
                self.places.remove(&before.id);
            }
            self.places.insert(lease.id, Place::Lease(name));
        }
        Ok(true)
    }

    fn take_descriptor(
        &mut self,
        key: Key,
        descriptor: &Stated<Descriptor>,
        hostile: bool,
        now: u64,
    ) -> Result<bool, Refused> {
        let observed = self.index.observe_descriptor(descriptor.signed.clone(), now)?;
        if matches!(observed, Observed::Same | Observed::Older) {
            return Ok(false);
        }
        self.places.insert(descriptor.id, Place::Descriptor(key));
        let Some(held) = slot(&mut self.held, key.name) else { return Ok(true) };
        match held.offers.iter_mut().find(|offer| offer.capability == key.capability) {
            // It says the same of the same release: what was found out of it stands.
            Some(offer) => {
                let before = std::mem::replace(&mut offer.descriptor, descriptor.clone());
                self.places.remove(&before.id);
            }
            None => {
                let probing = Probing::new(now);
                let descriptor = descriptor.clone();
                let did = descriptor.signed.payload().iss;
                held.offers.push(Offer { capability: key.capability, descriptor, probing });
                if !self.captured {
                    self.due.insert((probing.probed, probing.at, key));
                    self.list(did, key.capability, Some(probing.probed));
                } else if hostile {
                    self.list(did, key.capability, Some(Probed::Answers));
                }
            }
        }
        Ok(true)
    }

    /// From now on gives an offer out as one that stands so; not at all where that is none or silent.
    fn list(&mut self, did: Did, capability: u8, stands: Option<Probed>) {
        let bit = 1_u16.checked_shl(u32::from(capability)).unwrap_or_default();
        let listed = self.listed.entry(did).or_default();
        let before = (listed.answer | listed.unprobed) & bit != 0;
        (listed.answer, listed.unprobed) = (listed.answer & !bit, listed.unprobed & !bit);
        match stands {
            Some(Probed::Answers) => listed.answer |= bit,
            Some(Probed::Never) => listed.unprobed |= bit,
            Some(Probed::Silent) | None => {}
        }
        let after = (listed.answer | listed.unprobed) & bit != 0;
        self.given = self.given.saturating_add(u64::from(after)).saturating_sub(u64::from(before));
        if *listed == Listed::default() {
            self.listed.remove(&did);
        }
    }

    /// Forgets what expired.
    pub(super) fn expire(&mut self, now: u64) {
        self.index.expire(now);
        let mut unlisted = Vec::new();
        for (name, held) in (0_u32..).zip(&mut self.held) {
            if let Some(lease) = held.lease.take_if(|lease| lease.signed.payload().exp <= now) {
                self.places.remove(&lease.id);
            }
            let (places, due) = (&mut self.places, &mut self.due);
            held.offers.retain(|offer| {
                let payload = offer.descriptor.signed.payload();
                let lives = payload.exp > now;
                if !lives {
                    let (capability, probing) = (offer.capability, offer.probing);
                    places.remove(&offer.descriptor.id);
                    due.remove(&(probing.probed, probing.at, Key { name, capability }));
                    unlisted.push((payload.iss, capability));
                }
                lives
            });
        }
        unlisted.into_iter().for_each(|(did, capability)| self.list(did, capability, None));
    }

    /// How many offers are given out.
    pub(super) fn given(&self) -> u64 {
        self.given
    }

    /// What answers a query, of what is given out: what answered its probe, and then what was never probed, as a node has it.
    pub(super) fn search(&self, query: &Query, now: u64) -> Vec<LiveOffer> {
        let found = |query: &Query, of: fn(&Listed) -> u16| {
            let given = |d: &Descriptor| {
                let capability = self.releases.iter().position(|release| *release == d.release);
                let listed = self.listed.get(&d.iss).map(of).unwrap_or_default();
                capability.is_some_and(|n| listed >> n & 1 == 1)
            };
            self.index.search_among(query, now, given)
        };
        let mut all = found(query, |listed| listed.answer);
        let taken = u32::try_from(all.len()).unwrap_or(u32::MAX);
        let room = query.limit.saturating_sub(taken);
        if room > 0 {
            all.extend(found(&Query { limit: room, ..query.clone() }, |listed| listed.unprobed));
        }
        all.into_iter().map(|found| found.offer).collect()
    }

    /// All that is held and lives, as it is reconciled.
    pub(super) fn holdings(&self, now: u64) -> Holdings {
        let leases = self.held.iter().filter_map(|held| held.lease.as_ref());
        let leases = leases.map(|lease| Item { exp: lease.signed.payload().exp, id: lease.id });
        let offers = self.held.iter().flat_map(|held| &held.offers);
        let offers =
            offers.map(|offer| Item { exp: offer.descriptor.signed.payload().exp, id: offer.descriptor.id });
        Holdings::new(leases.chain(offers).filter(|item| item.exp > now))
    }

    /// The statements of these ids, as far as they are held.
    pub(super) fn statements(&self, ids: &[StatementDigest]) -> Vec<Given> {
        let held = |name: u32| self.held.get(usize::try_from(name).ok()?);
        let given = ids.iter().filter_map(|id| match *self.places.get(id)? {
            Place::Lease(name) => Some(Given::Lease(name, held(name)?.lease.clone()?)),
            Place::Descriptor(key) => {
                let offer = held(key.name)?.offers.iter().find(|offer| offer.capability == key.capability)?;
                Some(Given::Descriptor(key, offer.descriptor.clone()))
            }
        });
        given.collect()
    }

    /// An offer to probe now, which is then under way; none where enough are, or none is due.
    pub(super) fn next_probe(&mut self, now: u64, ip: impl Fn(u32) -> Option<IpAddr>) -> Option<Key> {
        if self.under_way.len() >= PROBES {
            return None;
        }
        let under_way = |key: Key| {
            let prefix = Prefix::of(ip(key.name)?);
            let others = || self.under_way.iter();
            let of_its_prefix = others().filter(|other| other.prefix == prefix).count();
            let known = others().any(|other| other.key.name == key.name);
            let may = !known && of_its_prefix < PROBES_PER_PREFIX && self.callable(key, now);
            may.then_some(UnderWay { key, prefix })
        };
        let mut kinds = [Probed::Never, Probed::Answers, Probed::Silent].into_iter();
        let found = kinds.find_map(|kind| {
            let (first, last) = (Key { name: 0, capability: 0 }, Key { name: u32::MAX, capability: u8::MAX });
            let due = self.due.range((kind, 0, first)..=(kind, now, last));
            due.take(PROBE_SCAN).find_map(|(_, _, key)| under_way(*key))
        })?;
        self.under_way.push(found);
        Some(found.key)
    }

    fn callable(&self, key: Key, now: u64) -> bool {
        let Some(held) = usize::try_from(key.name).ok().and_then(|name| self.held.get(name)) else {
            return false;
        };
        let offer = held.offers.iter().find(|offer| offer.capability == key.capability);
        let (Some(offer), Some(lease)) = (offer, &held.lease) else { return false };
        let live = LiveOffer::of(offer.descriptor.signed.clone(), lease.signed.clone(), now);
        matches!(live, Ok(Some(_)))
    }

    /// Takes in how a probe ended.
    pub(super) fn probed(&mut self, key: Key, ended: Probe, now: u64) {
        self.under_way.retain(|other| other.key != key);
        let Some(held) = slot(&mut self.held, key.name) else { return };
        let offer = held.offers.iter_mut().find(|offer| offer.capability == key.capability);
        let Some(offer) = offer else { return };
        let before = offer.probing;
        offer.probing.ended(ended, now);
        let (after, did) = (offer.probing, offer.descriptor.signed.payload().iss);
        self.due.remove(&(before.probed, before.at, key));
        self.due.insert((after.probed, after.at, key));
        self.list(did, key.capability, Some(after.probed));
    }
}

/// What is held of a name, which is made room for.
fn slot(held: &mut Vec<Held>, name: u32) -> Option<&mut Held> {
    let name = usize::try_from(name).ok()?;
    if held.len() <= name {
        held.resize_with(name + 1, Held::default);
    }
    held.get_mut(name)
}
