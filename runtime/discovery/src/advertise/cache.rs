//! The ads a registrar holds, and how long the next one waits for a place among them.

use super::{
    Ad, Key, LocalAddresses, Prefix,
    ad::Described,
    limits::{
        AD_TTL_MS, ADS_PER_PROVIDER, ANSWER_ADS, ANSWER_PER_PREFIX, BASE, CAPACITY, OCCUPANCY_POWER,
        SHARE_FLOOR,
    },
    table::{below, one_of},
    trie::{Floor, Trie},
};
use actum_model::{Did, Lease, Signed};
use rand_core::Rng;
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

/// The ads held: at most [`CAPACITY`], and of everything else at most as much as they need.
#[derive(Clone, Debug, Default)]
pub(super) struct Cache {
    local: LocalAddresses,
    keys: BTreeMap<Key, UnderKey>,
    providers: BTreeMap<Did, Provider>,
    ads: usize,
    trie: Trie,
    /// Nothing ends before this time.
    first_end: u64,
}

#[derive(Clone, Debug, Default)]
struct UnderKey {
    providers: BTreeMap<Did, BTreeMap<[u8; 32], Placed>>,
    floor: Floor,
}

/// An ad with its place. The lease is the provider's, one for all its ads.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) descriptor: Option<Described>,
    /// When the place ends, in milliseconds.
    pub(super) ends: u64,
}

impl Placed {
    fn alive(&self, now: u64) -> bool {
        let ends = self.descriptor.as_ref().map(|d| d.signed.payload().exp.saturating_mul(1_000));
        now < self.ends.min(ends.unwrap_or(u64::MAX))
    }

    pub(super) fn seq(&self) -> u64 {
        self.descriptor.as_ref().map_or(0, |d| d.signed.payload().seq)
    }
}

#[derive(Clone, Debug)]
struct Provider {
    lease: Arc<Signed<Lease>>,
    ads: usize,
    /// Its address, when last admitted; it stands in the trie once, however many ads there are.
    ip: Option<IpAddr>,
}

fn lease_ends(lease: &Signed<Lease>) -> u64 {
    lease.payload().exp.saturating_mul(1_000)
}

impl Cache {
    pub(super) fn new(local: LocalAddresses) -> Self {
        Self { local, ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.ads
    }

    /// How many ads a provider has, and how many under a key.
    pub(super) fn of(&self, provider: &Did, key: &Key) -> (usize, usize) {
        let under = self.keys.get(key).and_then(|under| under.providers.get(provider));
        (self.providers.get(provider).map_or(0, |p| p.ads), under.map_or(0, BTreeMap::len))
    }

    pub(super) fn place(&mut self, key: &Key, provider: &Did, what: &[u8; 32]) -> Option<&mut Placed> {
        self.keys.get_mut(key)?.providers.get_mut(provider)?.get_mut(what)
    }

    /// Takes a provider's lease if it is newer than the one known. `false` when the provider has nothing here.
    pub(super) fn renew(&mut self, lease: &Arc<Signed<Lease>>) -> bool {
        let Some(provider) = self.providers.get_mut(&lease.payload().iss) else { return false };
        if lease.payload().seq > provider.lease.payload().seq {
            provider.lease = lease.clone();
            self.first_end = self.first_end.min(lease_ends(lease));
        }
        true
    }

    /// Forgets the ads of a provider whose lease is of this sequence number or a lower one.
    pub(super) fn leave(&mut self, provider: &Did, seq: u64, now: u64) {
        if self.providers.get(provider).is_none_or(|p| p.lease.payload().seq > seq) {
            return;
        }
        for under in self.keys.values_mut() {
            under.providers.remove(provider);
        }
        if let Some(p) = self.providers.get_mut(provider) {
            p.ads = 0;
        }
        // Counts anew, and drops what is empty.
        self.first_end = 0;
        self.expire(now);
    }

    /// Something held now ends at this time, at the latest.
    pub(super) fn ends_by(&mut self, end: u64) {
        self.first_end = self.first_end.min(end);
    }

    /// Gives an ad a place for a quarter of an hour, or its place a quarter of an hour more.
    pub(super) fn admit(&mut self, key: Key, ad: &Ad, ip: IpAddr, now: u64) {
        let (did, what) = (ad.provider(), ad.what());
        let ends = now.saturating_add(AD_TTL_MS);
        let under = self.keys.entry(key).or_default().providers.entry(did).or_default();
        let new = under.insert(what, Placed { descriptor: ad.descriptor.clone(), ends }).is_none();
        let provider = self.providers.entry(did).or_insert_with(|| Provider {
            lease: ad.lease.clone(),
            ads: 0,
            ip: None,
        });
        if new {
            provider.ads += 1;
            self.ads += 1;
        }
        let ip = self.local.counts(ip).then_some(ip);
        if provider.ip != ip {
            if let Some(before) = std::mem::replace(&mut provider.ip, ip) {
                self.trie.remove(before);
            }
            if let Some(ip) = ip {
                self.trie.insert(ip);
            }
        }
        self.renew(&ad.lease);
        let lease_ends = self.providers.get(&did).map_or(0, |p| lease_ends(&p.lease));
        self.first_end = self.first_end.min(ends).min(ad.descriptor_ends()).min(lease_ends);
    }

    /// How long an ad has to wait in all, in milliseconds, and takes it into account that it was said.
    ///
    /// `renewal`: it has a place, which does not count against it.
    ///
    /// Occupancy times the sum of four parts: the key's share of the ads, how alike the address is to those of other
    /// providers, how much of the provider's own allowance is used, squared, and a constant. The first and the second never
    /// fall faster than half of time each, as long as the key and the prefix have ads here: so asking anew is never better
    /// than to have waited. The floors are kept apart, since a floor under the sum would let one crowded prefix lengthen
    /// everybody's wait for a key; and no floor is above the life of an ad, after which whatever made the wait long is gone.
    pub(super) fn quote(&mut self, key: &Key, provider: &Did, ip: IpAddr, renewal: bool, now: u64) -> f64 {
        let mine = usize::from(renewal);
        let ads = self.ads.saturating_sub(mine);
        let own = self.providers.get(provider);
        let own_share = own.map_or(0, |p| p.ads.saturating_sub(mine)) as f64 / ADS_PER_PROVIDER as f64;
        let own_ip = own.and_then(|p| p.ip);
        let unit = AD_TTL_MS as f64 * occupancy(ads);
        let cap = AD_TTL_MS as f64;
        let mut wait = unit * (own_share * own_share + BASE);
        if let Some(under) = self.keys.get_mut(key) {
            let others = under.providers.len() - usize::from(under.providers.contains_key(provider));
            let part = unit * others as f64 / ads.max(SHARE_FLOOR) as f64;
            wait += part.max(under.floor.left(now));
            under.floor.raise(part.min(cap), now);
        }
        if self.local.counts(ip) {
            let part = unit * self.trie.score(ip, own_ip);
            wait += part.max(self.trie.floor(ip, now));
            self.trie.raise(ip, part.min(cap), now);
        }
        wait
    }

    /// At most [`ANSWER_ADS`] ads of different providers, [`ANSWER_PER_PREFIX`] of one address prefix, drawn at random of
    /// those that are alive.
    pub(super) fn draw(&self, key: &Key, now: u64, rng: &mut impl Rng) -> Vec<Ad> {
        let Some(under) = self.keys.get(key) else { return Vec::new() };
        let mut left: Vec<_> = under.providers.iter().collect();
        let mut drawn = Vec::new();
        let mut prefixes: BTreeMap<Prefix, usize> = BTreeMap::new();
        while drawn.len() < ANSWER_ADS && !left.is_empty() {
            let at = below(rng, left.len() as u64);
            let (did, placed) = left.swap_remove(usize::try_from(at).unwrap_or(0));
            let Some(provider) = self.providers.get(did) else { continue };
            let lease = &provider.lease;
            let covered = lease.payload().descriptors_seq;
            let alive = |p: &&Placed| {
                p.alive(now) && (p.descriptor.is_none() || p.seq() >= covered) && now < lease_ends(lease)
            };
            let Some(placed) = one_of(placed.values().filter(alive), rng) else { continue };
            if let Some(ip) = provider.ip {
                let n = prefixes.entry(Prefix::of(ip)).or_default();
                if *n >= ANSWER_PER_PREFIX {
                    continue;
                }
                *n += 1;
            }
            drawn.push(Ad { descriptor: placed.descriptor.clone(), lease: lease.clone() });
        }
        drawn
    }

    /// Forgets what has ended.
    pub(super) fn expire(&mut self, now: u64) {
        if now < self.first_end {
            return;
        }
        let (mut first_end, mut ads) = (u64::MAX, 0);
        let Self { keys, providers, trie, .. } = self;
        let ended = |p: Option<&Provider>| p.is_none_or(|p| lease_ends(&p.lease) <= now);
        keys.retain(|_, under| {
            under.providers.retain(|did, placed| {
                let gone = ended(providers.get(did));
                placed.retain(|_, p| {
                    let stays = !gone && p.alive(now);
                    if stays {
                        ads += 1;
                        let exp = p.descriptor.as_ref().map(|d| d.signed.payload().exp.saturating_mul(1_000));
                        first_end = first_end.min(p.ends).min(exp.unwrap_or(u64::MAX));
                    } else if let Some(provider) = providers.get_mut(did) {
                        provider.ads = provider.ads.saturating_sub(1);
                    }
                    stays
                });
                !placed.is_empty()
            });
            !under.providers.is_empty()
        });
        providers.retain(|_, provider| {
            if provider.ads > 0 {
                first_end = first_end.min(lease_ends(&provider.lease));
            } else if let Some(ip) = provider.ip {
                trie.remove(ip);
            }
            provider.ads > 0
        });
        (self.first_end, self.ads) = (first_end, ads);
    }
}

/// What the waiting time is multiplied by when so many ads are held: 1 when none, without bound as they near the capacity.
/// Made of multiplications and one division, so that it is the same on every machine.
fn occupancy(ads: usize) -> f64 {
    let free = CAPACITY.saturating_sub(ads).max(1) as f64 / CAPACITY as f64;
    let mut product = 1.0;
    for _ in 0..OCCUPANCY_POWER {
        product *= free;
    }
    1.0 / product
}

#[cfg(test)]
mod tests {
    use super::occupancy;

    #[test]
    fn half_full_is_a_thousandfold_and_four_fifths_ten_millionfold() {
        assert_eq!(occupancy(0), 1.0);
        assert_eq!(occupancy(500), 1024.0);
        assert!((9.7e6..9.8e6).contains(&occupancy(800)));
        assert!(occupancy(1_000).is_finite());
    }
}
