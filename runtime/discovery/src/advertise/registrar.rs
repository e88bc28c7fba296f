//! The registrar: holds others' ads for a while, and says who has to wait how long for a place.

use super::{
    Ad, Challenge, Key, LocalAddresses, ProofFailed, RegisterRefused, Secret, Ticket, Verifier,
    cache::Cache,
    limits::{
        AD_TTL_MS, ADS_PER_PROVIDER, ADS_PER_PROVIDER_AND_KEY, CAPACITY, LEFT_HELD, MIN_LIFE_MS, NO_WAIT_MS,
        PREFIX_BURST, PREFIX_EVERY_MS, PROVIDER_BURST, PROVIDER_EVERY_MS, RENEWAL_MS, WAIT_CAP_MS,
        WAIT_FLOOR_MS,
    },
    proofs::Proofs,
    ticket::{Bound, Waited},
};
use crate::{Allowance, Intake, TooMuch};
use actum_model::{Did, Lease, Offer, Tombstone, release::MAX_COMPONENT_BYTES};
use rand_core::Rng;
use std::{collections::BTreeMap, net::IpAddr};

/// What one provider and one prefix may ask.
const ALLOWANCE: Allowance = Allowance {
    peer_burst: PROVIDER_BURST,
    peer_every_ms: PROVIDER_EVERY_MS,
    prefix_burst: PREFIX_BURST,
    prefix_every_ms: PREFIX_EVERY_MS,
};

/// A peer asks for an offer to be registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Under which key.
    pub key: Key,
    /// What: a descriptor and a lease, or for registries a lease alone.
    pub offer: Offer,
    /// How long it has waited already, by this registrar's word.
    pub ticket: Option<Ticket>,
}

/// A registrar's answer. Times are spans, so that no two clocks need agree.
#[derive(Debug)]
pub enum Reply {
    /// The ad has a place.
    Confirmed {
        /// For how many milliseconds, from now; the descriptor's life is taken into account, and the lease has to be renewed
        /// meanwhile.
        for_ms: u64,
    },
    /// The ad has to wait. If it has a place, it keeps that until it ends.
    Wait {
        /// To be shown when the wait is over.
        ticket: Ticket,
        /// How long, from now. It is computed anew then: there may be more to wait.
        wait_ms: u64,
    },
    /// It is refused; to ask again is to begin again.
    Refused(RegisterRefused),
}

/// What the driver does with a registration.
#[derive(Debug)]
pub enum Registered {
    /// Send this.
    Reply(Reply),
    /// Find out whether the provider has the component, tell [`Registrar::proved`], and send what that returns.
    Prove(Challenge),
}

/// Holds ads, bounded in everything, and says who waits.
///
/// It sends nothing and reads no clock: `now` is milliseconds since the Unix epoch. The sender's key and address are what the
/// connection proved.
#[derive(Clone, Debug)]
pub struct Registrar {
    secret: Secret,
    local: LocalAddresses,
    cache: Cache,
    proofs: Proofs,
    intake: Intake,
    /// Providers that left: up to which lease, and until when that is remembered, in seconds since the Unix epoch.
    left: BTreeMap<Did, (u64, u64)>,
    refused: BTreeMap<&'static str, u64>,
}

impl Registrar {
    /// A registrar without ads. `secret` is 32 random bytes that nobody else has.
    pub fn new(secret: Secret, local: LocalAddresses) -> Self {
        Self {
            secret,
            local,
            cache: Cache::new(local),
            proofs: Proofs::default(),
            intake: Intake::new(ALLOWANCE, local),
            left: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    /// Answers a registration, or asks for proof first. `sender` is who the connection proved it is, `ip` where from.
    pub fn register(
        &mut self,
        now: u64,
        sender: Did,
        ip: IpAddr,
        asked: &Registration,
        verifier: &mut Verifier,
    ) -> Registered {
        let ip = ip.to_canonical();
        match self.try_register(now, sender, ip, asked, verifier) {
            Ok(registered) => registered,
            Err(refused) => Registered::Reply(self.refuse(refused, sender, ip)),
        }
    }

    /// Takes the outcome of a challenge, and says what to answer to the registration it was for.
    pub fn proved(&mut self, now: u64, challenge: u64, outcome: Result<(), ProofFailed>) -> Reply {
        let Some(pending) = self.proofs.end(challenge, now) else {
            return self.count(ProofFailed::Late.into());
        };
        let (provider, ip) = (pending.ad.provider(), pending.ip);
        if let Err(failed) = outcome {
            return self.refuse(failed.into(), provider, ip);
        }
        self.cache.expire(now);
        self.proofs.remember(&pending.ad, now);
        let fits = self.stands(pending.ad.lease().payload());
        let fits = fits.and_then(|()| self.room(&pending.key, &pending.ad));
        match fits.and_then(|()| lives(&pending.ad, now)) {
            Ok(()) => self.admit(pending.key, &pending.ad, ip, now),
            Err(refused) => self.count(refused),
        }
    }

    /// Takes a provider's newer lease for all its ads here: one small message, however many there are.
    pub fn renew(
        &mut self,
        now: u64,
        sender: Did,
        ip: IpAddr,
        lease: &[u8],
        verifier: &mut Verifier,
    ) -> Reply {
        let ip = ip.to_canonical();
        let asked = self.intake.ask(now, sender, ip).map_err(RegisterRefused::from);
        let renewed = asked.and_then(|()| {
            self.cache.expire(now);
            let lease = verifier.lease(lease, now).map_err(super::AdRefused::from)?;
            self.stands(lease.payload())?;
            let (provider, exp) = (lease.payload().iss, lease.payload().exp);
            if provider != sender {
                return Err(RegisterRefused::NotTheProvider { sender, provider });
            }
            let here = self.cache.renew(&lease);
            here.then(|| exp.saturating_mul(1_000).saturating_sub(now)).ok_or(RegisterRefused::NothingHere)
        });
        match renewed {
            Ok(for_ms) => Reply::Confirmed { for_ms },
            Err(refused) => self.refuse(refused, sender, ip),
        }
    }

    /// A provider left: its ads go, and none comes with a lease up to the tombstone's sequence number for as long as that
    /// lives. The tombstone was verified.
    pub fn left(&mut self, tombstone: &Tombstone, now: u64) {
        let Tombstone { iss, release: None, seq, exp, .. } = tombstone else { return };
        let secs = now / 1_000;
        self.left.retain(|_, (_, until)| *until > secs);
        let known = self.left.get(iss).map(|(seq, _)| *seq);
        if known.is_some_and(|known| known >= *seq) {
            return;
        }
        if known.is_some() || self.left.len() < LEFT_HELD {
            self.left.insert(*iss, (*seq, *exp));
        }
        self.cache.leave(iss, *seq, now);
    }

    /// Refuses what comes with a lease of a provider that left since.
    fn stands(&self, lease: &Lease) -> Result<(), RegisterRefused> {
        match self.left.get(&lease.iss) {
            Some((seq, _)) if lease.seq <= *seq => Err(RegisterRefused::Left { seq: *seq }),
            _ => Ok(()),
        }
    }

    /// At most ten ads under a key, of different providers, drawn at random of those alive. With them go
    /// [`closer_peers`](super::closer_peers).
    ///
    /// # Errors
    /// [`RegisterRefused::TooFast`] or [`RegisterRefused::Busy`]: the asker's prefix asks too often.
    pub fn get_ads(
        &mut self,
        now: u64,
        ip: IpAddr,
        key: &Key,
        rng: &mut impl Rng,
    ) -> Result<Vec<Ad>, RegisterRefused> {
        self.intake.ask_by_prefix(now, ip)?;
        Ok(self.cache.draw(key, now, rng))
    }

    /// How many ads are held, ended ones included until something is asked.
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// Whether no ads are held.
    pub fn is_empty(&self) -> bool {
        self.cache.len() == 0
    }

    /// How often each refusal was given, by its code.
    pub fn refused(&self) -> &BTreeMap<&'static str, u64> {
        &self.refused
    }

    fn try_register(
        &mut self,
        now: u64,
        sender: Did,
        ip: IpAddr,
        asked: &Registration,
        verifier: &mut Verifier,
    ) -> Result<Registered, RegisterRefused> {
        self.intake.ask(now, sender, ip)?;
        self.cache.expire(now);
        let ad = verifier.ad(&asked.offer, &asked.key, now)?;
        let provider = ad.provider();
        if provider != sender {
            return Err(RegisterRefused::NotTheProvider { sender, provider });
        }
        self.stands(ad.lease().payload())?;
        if let Some(bytes) = ad.descriptor().map(|d| d.payload().component_bytes)
            && !(1..=MAX_COMPONENT_BYTES as u64).contains(&bytes)
        {
            return Err(RegisterRefused::ComponentSize { bytes });
        }
        lives(&ad, now)?;
        let left = self.replace(&asked.key, &ad, now)?;
        if let Some(for_ms) = left.filter(|left| *left > RENEWAL_MS) {
            return Ok(Registered::Reply(Reply::Confirmed {
                for_ms: for_ms.min(ad.descriptor_ends() - now),
            }));
        }
        self.room(&asked.key, &ad)?;
        let wait = self.cache.quote(&asked.key, &sender, ip, left.is_some(), now);
        let digest = ad.digest();
        let bound = Bound { key: &asked.key, ad: &digest, advertiser: &sender };
        let began = match &asked.ticket {
            Some(ticket) => ticket.open(&self.secret, &bound, now)?.began,
            None => now,
        };
        let rest = wait - now.saturating_sub(began) as f64;
        if rest > 0.0 && wait >= NO_WAIT_MS {
            return Ok(Registered::Reply(self.wait(&bound, began, rest, now)));
        }
        if self.proofs.holds(&ad, now) {
            return Ok(Registered::Reply(self.admit(asked.key, &ad, ip, now)));
        }
        let prefix = self.local.prefix(ip);
        Ok(match self.proofs.ask(&self.secret, asked.key, ad, ip, prefix, now) {
            Some(challenge) => Registered::Prove(challenge),
            // It has waited enough, and loses nothing but the time until it comes again.
            None => Registered::Reply(self.wait(&bound, began, 0.0, now)),
        })
    }

    fn wait(&self, bound: &Bound<'_>, began: u64, rest: f64, now: u64) -> Reply {
        // Rounded up: whoever keeps to it has waited enough. As an integer, a wait beyond all bounds is the highest one.
        let wait_ms = (rest as u64).saturating_add(1).clamp(WAIT_FLOOR_MS, WAIT_CAP_MS);
        let wait = u32::try_from(wait_ms).unwrap_or(u32::MAX);
        Reply::Wait {
            ticket: Ticket::seal(&self.secret, bound, Waited { began, issued: now, wait }),
            wait_ms,
        }
    }

    /// Puts a newer ad in the place of the same provider's older one of the same release, and says how long that place
    /// still lasts: to say something new costs no new wait, and gains no time.
    fn replace(&mut self, key: &Key, ad: &Ad, now: u64) -> Result<Option<u64>, RegisterRefused> {
        let Some(placed) = self.cache.place(key, &ad.provider(), &ad.what()) else { return Ok(None) };
        if let (Some(known), Some(new)) = (&placed.descriptor, ad.descriptor()) {
            let (known, new) = (known.signed.payload(), new.payload());
            if new.seq < known.seq {
                return Err(RegisterRefused::Older { known: known.seq, seq: new.seq });
            }
            if (known.component, known.manifest) != (new.component, new.manifest) {
                return Err(RegisterRefused::OtherComponent);
            }
        }
        placed.descriptor.clone_from(&ad.descriptor);
        let left = placed.ends.saturating_sub(now);
        self.cache.renew(&ad.lease);
        self.cache.ends_by(ad.descriptor_ends());
        Ok(Some(left))
    }

    /// Whether there is room for an ad that has no place yet.
    fn room(&mut self, key: &Key, ad: &Ad) -> Result<(), RegisterRefused> {
        if self.cache.place(key, &ad.provider(), &ad.what()).is_some() {
            return Ok(());
        }
        let (ads, of_key) = self.cache.of(&ad.provider(), key);
        if self.cache.len() >= CAPACITY {
            Err(RegisterRefused::Full)
        } else if ads >= ADS_PER_PROVIDER {
            Err(RegisterRefused::TooManyAds)
        } else if of_key >= ADS_PER_PROVIDER_AND_KEY {
            Err(RegisterRefused::TooManyOfKey)
        } else {
            Ok(())
        }
    }

    fn admit(&mut self, key: Key, ad: &Ad, ip: IpAddr, now: u64) -> Reply {
        self.cache.admit(key, ad, ip, now);
        let for_ms = AD_TTL_MS.min(ad.descriptor_ends().saturating_sub(now));
        Reply::Confirmed { for_ms }
    }

    fn refuse(&mut self, refused: RegisterRefused, sender: Did, ip: IpAddr) -> Reply {
        if refused.is_fault() {
            self.intake.charge(sender, ip);
        }
        self.count(refused)
    }

    fn count(&mut self, refused: RegisterRefused) -> Reply {
        *self.refused.entry(refused.code()).or_default() += 1;
        Reply::Refused(refused)
    }
}

impl From<TooMuch> for RegisterRefused {
    fn from(much: TooMuch) -> Self {
        match much {
            TooMuch::Fast { again_ms } => Self::TooFast { again_ms },
            TooMuch::Busy => Self::Busy,
        }
    }
}

/// Whether enough is left of an ad's life.
fn lives(ad: &Ad, now: u64) -> Result<(), RegisterRefused> {
    let ends = ad.descriptor_ends().min(ad.lease().payload().exp.saturating_mul(1_000));
    let left_ms = ends.saturating_sub(now);
    if left_ms < MIN_LIFE_MS { Err(RegisterRefused::EndsSoon { left_ms }) } else { Ok(()) }
}
