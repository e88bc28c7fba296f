//! The index: what is known of each provider, while it lives.

use crate::{
    LiveOffer, Readiness, Refused,
    corpus::{Postings, Words},
    live::alive,
    rank::Text,
    turn,
};
use actum_model::{
    Descriptor, Did, EnvelopeError, Lease, Offer, Query, ReleaseId, Signed, Statement, Tombstone,
};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What an index may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexLimits {
    /// Providers. Default 10,000. A new provider beyond it is refused with `too-many-providers`. It bounds memory; it does
    /// not keep many false names out.
    pub providers: usize,
    /// Descriptors of all providers together. Default 20,000: at most some 400 MB, were all of the largest size. One
    /// more is refused with `index-full`, until another expires. It bounds memory, and what one query costs.
    pub descriptors: usize,
    /// Descriptors of one provider. Default 64. Those of the lowest sequence number make room; a lower one is refused
    /// with `too-many-descriptors`.
    pub descriptors_per_provider: usize,
}

impl Default for IndexLimits {
    fn default() -> Self {
        Self { providers: 10_000, descriptors: 20_000, descriptors_per_provider: 64 }
    }
}

/// What taking a statement in changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// Nothing of the kind was known.
    New,
    /// It replaced an older one.
    Newer,
    /// It was known.
    Same,
    /// A newer one is known; this one was ignored.
    Older,
}

/// Verified statements of many providers, alive and bounded.
///
/// The same statements observed at one time in any order give the same index, unless there were more providers or
/// descriptors than it may hold.
#[derive(Clone, Debug, Default)]
pub struct Index {
    limits: IndexLimits,
    providers: BTreeMap<Did, Provider>,
    pub(crate) postings: Postings,
    /// How many descriptors all providers have.
    descriptors: usize,
    /// Nothing held expires before this time: looking for it earlier is in vain.
    first_end: u64,
    epoch: u64,
}

#[derive(Clone, Debug, Default)]
struct Provider {
    lease: Option<Arc<Signed<Lease>>>,
    descriptors: BTreeMap<ReleaseId, Described>,
    /// The newest tombstone of each release, and of the provider as a whole (`None`).
    tombstones: BTreeMap<Option<ReleaseId>, Buried>,
}

/// What a tombstone takes back, until when it is kept.
#[derive(Clone, Copy, Debug)]
struct Buried {
    seq: u64,
    exp: u64,
}

impl Provider {
    /// Refuses what was taken back: of this release, or of all.
    fn stands(&self, provider: Did, release: Option<ReleaseId>, seq: u64) -> Result<(), Refused> {
        let buried = [None, release].into_iter().filter_map(|of| self.tombstones.get(&of));
        match buried.map(|b| b.seq).max() {
            Some(buried) if seq <= buried => Err(Refused::TakenBack { provider, seq: buried }),
            _ => Ok(()),
        }
    }
}

#[derive(Clone, Debug)]
struct Described {
    descriptor: Arc<Signed<Descriptor>>,
    words: Arc<Words>,
    /// Where its words are in the index's postings.
    slot: u32,
}

impl Index {
    /// An empty index.
    pub fn new(limits: IndexLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// An empty index for few statements, of which little is asked.
    pub(crate) fn of_few() -> Self {
        Self { postings: Postings::of_few(), ..Self::default() }
    }

    /// The same index, counting its epochs from at least this one on.
    pub fn at_epoch(self, epoch: u64) -> Self {
        Self { epoch: self.epoch.max(epoch), ..self }
    }

    /// How far this index has come: it grows with every statement taken in.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Takes in the bytes of a signed descriptor, a signed lease or a signed tombstone.
    pub fn observe(&mut self, bytes: &[u8], now: u64) -> Result<Observed, Refused> {
        match Signed::<Descriptor>::verify(bytes) {
            Ok(descriptor) => self.observe_descriptor(descriptor, now),
            Err(EnvelopeError::WrongTag { found, .. }) if found == Lease::TAG => {
                self.observe_lease(Signed::verify(bytes)?, now)
            }
            Err(EnvelopeError::WrongTag { found, .. }) if found == Tombstone::TAG => {
                self.observe_tombstone(&Signed::verify(bytes)?, now)
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Takes in both halves of an offer: both or neither.
    pub fn observe_offer(&mut self, offer: &Offer, now: u64) -> Result<Observed, Refused> {
        let descriptor = Signed::<Descriptor>::verify(&offer.descriptor)?;
        let lease = Signed::<Lease>::verify(&offer.lease)?;
        self.observe_halves(descriptor, lease, now)
    }

    /// The same, of halves that were verified.
    pub(crate) fn observe_halves(
        &mut self,
        descriptor: Signed<Descriptor>,
        lease: Signed<Lease>,
        now: u64,
    ) -> Result<Observed, Refused> {
        let (d, l) = (descriptor.payload(), lease.payload());
        if d.iss != l.iss {
            return Err(Refused::TwoProviders { descriptor: d.iss, lease: l.iss });
        }
        alive(l.nbf, l.exp, now)?;
        let observed = self.observe_descriptor(descriptor, now)?;
        self.observe_lease(lease, now)?;
        Ok(observed)
    }

    /// Takes in a descriptor, which others may hold too. A higher sequence number replaces what was known of the same
    /// release.
    pub fn observe_descriptor(
        &mut self,
        descriptor: impl Into<Arc<Signed<Descriptor>>>,
        now: u64,
    ) -> Result<Observed, Refused> {
        self.observe_words(descriptor.into(), None, now)
    }

    /// The same, with the descriptor's words where they are at hand.
    pub(crate) fn observe_words(
        &mut self,
        descriptor: Arc<Signed<Descriptor>>,
        words: Option<Arc<Words>>,
        now: u64,
    ) -> Result<Observed, Refused> {
        let payload = descriptor.payload();
        alive(payload.nbf, payload.exp, now)?;
        let (iss, release, exp) = (payload.iss, payload.release, payload.exp);
        if let Some(provider) = self.providers.get(&iss) {
            provider.stands(iss, Some(release), payload.seq)?;
        }
        let known = self.providers.get(&iss).and_then(|p| p.descriptors.get(&release));
        let observed = observed(known.map(|k| &*k.descriptor), &descriptor, |d| d.seq);
        match observed {
            Observed::Same | Observed::Older => return Ok(observed),
            Observed::Newer => self.forget(iss, release),
            Observed::New => self.make_room(&descriptor, now)?,
        }
        self.epoch += 1;
        let words = words.unwrap_or_else(|| Arc::new(Words::of(&Text::of(descriptor.payload()))));
        let slot = self.postings.insert(words.clone());
        self.descriptors += 1;
        self.first_end = self.first_end.min(exp);
        let described = Described { descriptor, words, slot };
        self.providers.entry(iss).or_default().descriptors.insert(release, described);
        Ok(observed)
    }

    /// Takes in a lease, which others may hold too. A higher sequence number replaces what was known of the provider.
    pub fn observe_lease(
        &mut self,
        lease: impl Into<Arc<Signed<Lease>>>,
        now: u64,
    ) -> Result<Observed, Refused> {
        let lease = lease.into();
        let payload = lease.payload();
        alive(payload.nbf, payload.exp, now)?;
        let (iss, exp) = (payload.iss, payload.exp);
        if let Some(provider) = self.providers.get(&iss) {
            provider.stands(iss, None, payload.seq)?;
        }
        let known = self.providers.get(&iss).and_then(|p| p.lease.as_deref());
        let observed = observed(known, &lease, |l| l.seq);
        if matches!(observed, Observed::New | Observed::Newer) {
            self.admit(iss, now)?;
            self.epoch += 1;
            self.first_end = self.first_end.min(exp);
            self.providers.entry(iss).or_default().lease = Some(lease);
        }
        Ok(observed)
    }

    /// Takes in a tombstone: what it takes back is forgotten, and not taken in again for as long as it lives.
    ///
    /// A provider has at most as many as it may have descriptors; one more is [`Refused::TooManyDescriptors`].
    pub fn observe_tombstone(
        &mut self,
        tombstone: &Signed<Tombstone>,
        now: u64,
    ) -> Result<Observed, Refused> {
        let payload = tombstone.payload();
        alive(payload.nbf, payload.exp, now)?;
        let (iss, of, buried) = (payload.iss, payload.release, Buried { seq: payload.seq, exp: payload.exp });
        self.admit(iss, now)?;
        let limit = self.limits.descriptors_per_provider;
        let provider = self.providers.entry(iss).or_default();
        let observed = match provider.tombstones.get(&of) {
            Some(known) if (known.seq, known.exp) == (buried.seq, buried.exp) => return Ok(Observed::Same),
            Some(known) if known.seq >= buried.seq => return Ok(Observed::Older),
            Some(_) => Observed::Newer,
            None if provider.tombstones.len() > limit => {
                return Err(Refused::TooManyDescriptors { provider: iss, limit });
            }
            None => Observed::New,
        };
        provider.tombstones.insert(of, buried);
        self.epoch += 1;
        if of.is_none() && provider.lease.as_ref().is_some_and(|l| l.payload().seq <= buried.seq) {
            provider.lease = None;
        }
        let taken_back = provider.descriptors.iter().filter(|(release, described)| {
            of.is_none_or(|of| of == **release) && described.descriptor.payload().seq <= buried.seq
        });
        let taken_back: Vec<_> = taken_back.map(|(release, _)| *release).collect();
        self.first_end = self.first_end.min(buried.exp);
        taken_back.into_iter().for_each(|release| self.forget(iss, release));
        Ok(observed)
    }

    /// The offers that can be called now, by provider, then release.
    pub fn offers(&self, now: u64) -> Vec<LiveOffer> {
        self.live(now).map(|live| live.offer()).collect()
    }

    /// The offers that can be called now, by provider, then release, where they lie.
    pub(crate) fn live(&self, now: u64) -> impl Iterator<Item = Live<'_>> {
        self.providers
            .values()
            .flat_map(move |provider| {
                let lease = provider.lease.iter();
                lease.flat_map(|lease| {
                    provider.descriptors.values().map(move |Described { descriptor, words, slot }| Live {
                        descriptor,
                        lease,
                        words,
                        slot: *slot,
                        turn: 0,
                    })
                })
            })
            .filter(move |l| LiveOffer::is_live(l.descriptor.payload(), l.lease.payload(), now))
    }

    /// Forgets what expired. Call it now and then: expired statements are never given out, and only take up room.
    pub fn expire(&mut self, now: u64) {
        if now < self.first_end {
            return;
        }
        let mut gone = BTreeSet::new();
        let mut first_end = u64::MAX;
        self.providers.retain(|_, provider| {
            provider.lease = provider.lease.take().filter(|l| l.payload().exp > now);
            provider.descriptors.retain(|_, d| {
                let payload = d.descriptor.payload();
                if payload.exp <= now {
                    gone.insert(d.slot);
                    return false;
                }
                first_end = first_end.min(payload.exp);
                true
            });
            provider.tombstones.retain(|_, buried| buried.exp > now);
            let ends = provider.lease.iter().map(|l| l.payload().exp);
            let ends = ends.chain(provider.tombstones.values().map(|buried| buried.exp));
            first_end = ends.fold(first_end, u64::min);
            let held = provider.lease.is_some() || !provider.descriptors.is_empty();
            held || !provider.tombstones.is_empty()
        });
        self.first_end = first_end;
        self.descriptors -= gone.len();
        self.postings.remove_all(&gone);
    }

    /// How many providers are held, expired ones included.
    pub fn len(&self) -> usize {
        self.providers.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.providers.is_empty()
    }

    /// Checks that there is room for this provider, if it is a new one.
    fn admit(&mut self, provider: Did, now: u64) -> Result<(), Refused> {
        let limit = self.limits.providers;
        let fits = |index: &Self| index.providers.len() < limit || index.providers.contains_key(&provider);
        if !fits(self) {
            self.expire(now);
        }
        if fits(self) { Ok(()) } else { Err(Refused::TooManyProviders { limit }) }
    }

    /// Makes room for a descriptor that is new. Where its provider has as many as it may, an expired one goes, else the
    /// one of the lowest sequence number if that is lower than the newcomer's.
    fn make_room(&mut self, newcomer: &Signed<Descriptor>, now: u64) -> Result<(), Refused> {
        let provider = newcomer.payload().iss;
        self.admit(provider, now)?;
        let limit = self.limits.descriptors_per_provider;
        let held = |index: &Self| index.providers.get(&provider).map_or(0, |p| p.descriptors.len());
        if held(self) >= limit {
            self.expire(now);
        }
        if held(self) >= limit {
            let age = |d: &Descriptor| (d.seq, d.release);
            let held = self.providers.get(&provider).into_iter().flat_map(|p| p.descriptors.values());
            return match held.map(|d| age(d.descriptor.payload())).min() {
                Some((seq, release)) if (seq, release) < age(newcomer.payload()) => {
                    self.forget(provider, release);
                    Ok(())
                }
                _ => Err(Refused::TooManyDescriptors { provider, limit }),
            };
        }
        let limit = self.limits.descriptors;
        if self.descriptors >= limit {
            self.expire(now);
        }
        if self.descriptors < limit { Ok(()) } else { Err(Refused::Full { limit }) }
    }

    /// Forgets one descriptor. Its provider stays.
    fn forget(&mut self, provider: Did, release: ReleaseId) {
        let held = self.providers.get_mut(&provider).and_then(|p| p.descriptors.remove(&release));
        if let Some(Described { slot, .. }) = held {
            self.postings.remove(slot);
            self.descriptors -= 1;
        }
    }
}

/// An offer that can be called now, where it lies in the index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Live<'a> {
    descriptor: &'a Arc<Signed<Descriptor>>,
    lease: &'a Arc<Signed<Lease>>,
    words: &'a Arc<Words>,
    /// Where its words are in the index's postings.
    pub(crate) slot: u32,
    /// Where it stands among equals, for whoever asks: 0 where nobody does.
    turn: u64,
}

impl<'a> Live<'a> {
    pub(crate) fn descriptor(self) -> &'a Descriptor {
        self.descriptor.payload()
    }

    pub(crate) fn lease(self) -> &'a Lease {
        self.lease.payload()
    }

    /// The same, standing among equals as a query has it.
    pub(crate) fn in_turn(self, query: &Query) -> Self {
        Self { turn: turn(query, &self.lease().iss), ..self }
    }

    /// Those that have room first; then in turn, and by provider and release, so that no two offers are equal.
    pub(crate) fn by_readiness(self, other: Self) -> Ordering {
        let (mine, theirs) = (self.lease(), other.lease());
        Readiness::of(mine)
            .cmp(&Readiness::of(theirs))
            .then_with(|| self.turn.cmp(&other.turn))
            .then_with(|| mine.iss.cmp(&theirs.iss))
            .then_with(|| self.descriptor().release.cmp(&other.descriptor().release))
    }

    pub(crate) fn offer(self) -> LiveOffer {
        LiveOffer {
            descriptor: self.descriptor.clone(),
            lease: self.lease.clone(),
            words: Some(self.words.clone()),
        }
    }
}

/// Compares by sequence number. A provider that signs two statements under one number is held to the one whose bytes
/// sort last, whichever came first.
fn observed<T: Statement>(known: Option<&Signed<T>>, new: &Signed<T>, seq: impl Fn(&T) -> u64) -> Observed {
    let age = |s: &Signed<T>| seq(s.payload());
    match known {
        None => Observed::New,
        Some(known) if known.bytes() == new.bytes() => Observed::Same,
        Some(known) if (age(known), known.bytes()) < (age(new), new.bytes()) => Observed::Newer,
        Some(_) => Observed::Older,
    }
}
