//! The index: what is known of each provider, while it lives.

use crate::{LiveOffer, Refused, Text, live::alive};
use actum_model::{Descriptor, Did, EnvelopeError, Lease, Offer, ReleaseId, Signed, Statement};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

/// What an index may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexLimits {
    /// Providers. Default 10,000: some 50 MB where each offers two capabilities. A new provider beyond it is refused
    /// with `too-many-providers`. It bounds memory; it does not keep many false names out.
    pub providers: usize,
    /// Descriptors of one provider. Default 64. Those of the lowest sequence number make room; a lower one is refused
    /// with `too-many-descriptors`.
    pub descriptors_per_provider: usize,
}

impl Default for IndexLimits {
    fn default() -> Self {
        Self { providers: 10_000, descriptors_per_provider: 64 }
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
/// The same statements observed at one time in any order give the same index, unless there were more providers than it
/// may hold.
#[derive(Clone, Debug, Default)]
pub struct Index {
    limits: IndexLimits,
    providers: BTreeMap<Did, Provider>,
}

#[derive(Clone, Debug, Default)]
struct Provider {
    lease: Option<Arc<Signed<Lease>>>,
    descriptors: BTreeMap<ReleaseId, Described>,
}

#[derive(Clone, Debug)]
struct Described {
    descriptor: Arc<Signed<Descriptor>>,
    text: Arc<Text>,
}

impl Index {
    /// An empty index.
    pub fn new(limits: IndexLimits) -> Self {
        Self { limits, providers: BTreeMap::new() }
    }

    /// Takes in the bytes of a signed descriptor or a signed lease.
    pub fn observe(&mut self, bytes: &[u8], now: u64) -> Result<Observed, Refused> {
        match Signed::<Descriptor>::verify(bytes) {
            Ok(descriptor) => self.observe_descriptor(descriptor, now),
            Err(EnvelopeError::WrongTag { found, .. }) if found == Lease::TAG => {
                self.observe_lease(Signed::verify(bytes)?, now)
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Takes in both halves of an offer: both or neither.
    pub fn observe_offer(&mut self, offer: &Offer, now: u64) -> Result<Observed, Refused> {
        let descriptor = Signed::<Descriptor>::verify(&offer.descriptor)?;
        let lease = Signed::<Lease>::verify(&offer.lease)?;
        let (d, l) = (descriptor.payload(), lease.payload());
        if d.iss != l.iss {
            return Err(Refused::TwoProviders { descriptor: d.iss, lease: l.iss });
        }
        alive(l.nbf, l.exp, now)?;
        let observed = self.observe_descriptor(descriptor, now)?;
        self.observe_lease(lease, now)?;
        Ok(observed)
    }

    /// Takes in a descriptor. A higher sequence number replaces what was known of the same release.
    pub fn observe_descriptor(
        &mut self,
        descriptor: Signed<Descriptor>,
        now: u64,
    ) -> Result<Observed, Refused> {
        let payload = descriptor.payload();
        alive(payload.nbf, payload.exp, now)?;
        let (iss, release) = (payload.iss, payload.release);
        let limit = self.limits.descriptors_per_provider;
        let provider = self.provider(iss, now)?;
        let known = provider.descriptors.get(&release);
        let observed = observed(known.map(|k| &*k.descriptor), &descriptor, |d| d.seq);
        if observed == Observed::New && provider.descriptors.len() >= limit {
            provider.make_room(iss, &descriptor, limit, now)?;
        }
        if matches!(observed, Observed::New | Observed::Newer) {
            let text = Arc::new(Text::of(descriptor.payload()));
            provider.descriptors.insert(release, Described { descriptor: Arc::new(descriptor), text });
        }
        Ok(observed)
    }

    /// Takes in a lease. A higher sequence number replaces what was known of the provider.
    pub fn observe_lease(&mut self, lease: Signed<Lease>, now: u64) -> Result<Observed, Refused> {
        let payload = lease.payload();
        alive(payload.nbf, payload.exp, now)?;
        let provider = self.provider(payload.iss, now)?;
        let observed = observed(provider.lease.as_deref(), &lease, |l| l.seq);
        if matches!(observed, Observed::New | Observed::Newer) {
            provider.lease = Some(Arc::new(lease));
        }
        Ok(observed)
    }

    /// The offers that can be called now, by provider, then release.
    pub fn offers(&self, now: u64) -> Vec<LiveOffer> {
        let mut offers = Vec::new();
        for provider in self.providers.values() {
            let Some(lease) = &provider.lease else { continue };
            for described in provider.descriptors.values() {
                if LiveOffer::is_live(described.descriptor.payload(), lease.payload(), now) {
                    offers.push(LiveOffer {
                        descriptor: described.descriptor.clone(),
                        lease: lease.clone(),
                        text: described.text.clone(),
                    });
                }
            }
        }
        offers
    }

    /// Forgets what expired. Call it now and then: expired statements are never given out, and only take up room.
    pub fn expire(&mut self, now: u64) {
        self.providers.retain(|_, provider| {
            provider.lease = provider.lease.take().filter(|l| l.payload().exp > now);
            provider.descriptors.retain(|_, d| d.descriptor.payload().exp > now);
            provider.lease.is_some() || !provider.descriptors.is_empty()
        });
    }

    /// How many providers are held, expired ones included.
    pub fn len(&self) -> usize {
        self.providers.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.providers.is_empty()
    }

    fn provider(&mut self, did: Did, now: u64) -> Result<&mut Provider, Refused> {
        let limit = self.limits.providers;
        if self.providers.len() >= limit && !self.providers.contains_key(&did) {
            self.expire(now);
            if self.providers.len() >= limit {
                return Err(Refused::TooManyProviders { limit });
            }
        }
        Ok(match self.providers.entry(did) {
            Entry::Occupied(held) => held.into_mut(),
            Entry::Vacant(free) => free.insert(Provider::default()),
        })
    }
}

impl Provider {
    /// Drops an expired descriptor, else the one of the lowest sequence number if that is lower than the newcomer's.
    fn make_room(
        &mut self,
        provider: Did,
        newcomer: &Signed<Descriptor>,
        limit: usize,
        now: u64,
    ) -> Result<(), Refused> {
        self.descriptors.retain(|_, d| d.descriptor.payload().exp > now);
        if self.descriptors.len() < limit {
            return Ok(());
        }
        let age = |d: &Descriptor| (d.seq, d.release);
        let lowest = self.descriptors.values().map(|d| age(d.descriptor.payload())).min();
        match lowest {
            Some((seq, release)) if (seq, release) < age(newcomer.payload()) => {
                self.descriptors.remove(&release);
                Ok(())
            }
            _ => Err(Refused::TooManyDescriptors { provider, limit }),
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
