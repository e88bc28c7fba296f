//! A lookup: from the farthest peers to the nearest, until it has enough or has asked everybody it may.

use super::{
    Ad, AdRefused, Key, LocalAddresses, Peer, Prefix, Table, Verifier,
    limits::{
        ANSWER_ADS, ANSWER_TIMEOUT_MS, BUCKETS, COUNTED_PER_PREFIX, LOOKUP_ATTEMPTS, LOOKUP_MOST,
        LOOKUP_PEERS, LOOKUP_PROVIDERS, SWEEP_PEERS,
    },
    table::one_a_bucket,
};
use actum_model::{Did, Offer};
use rand_core::Rng;
use std::collections::{BTreeMap, BTreeSet};

/// A registrar's answer to GET_ADS.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Ads under the key. At most [`ANSWER_ADS`].
    pub ads: Vec<Offer>,
    /// Peers it knows, at most one of each bucket around the key; others are left out.
    pub closer: Vec<Peer>,
}

/// What is wrong with an answer. What had been verified before it counts; the registrar is asked no more.
#[derive(Debug, thiserror::Error)]
pub enum AnswerFault {
    /// More ads than may be in an answer.
    #[error("an answer of {ads} ads, where {ANSWER_ADS} are allowed")]
    TooManyAds {
        /// How many there are.
        ads: usize,
    },
    /// An ad that is none: a registrar that checks what it takes in could not have it.
    #[error(transparent)]
    Ad(#[from] AdRefused),
    /// Neither ads nor peers, which no peer with a routing table can have to say.
    #[error("an answer with neither ads nor peers")]
    Empty,
    /// It was not asked, or its time was over.
    #[error("an answer that was not asked for, or came too late")]
    Unasked,
}

impl AnswerFault {
    /// The stable code, as in metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooManyAds { .. } => "too-many-ads",
            Self::Ad(refused) => refused.code(),
            Self::Empty => "empty-answer",
            Self::Unasked => "unasked-answer",
        }
    }

    /// Whether the registrar is to blame.
    pub fn is_fault(&self) -> bool {
        match self {
            Self::TooManyAds { .. } | Self::Empty => true,
            Self::Ad(refused) => refused.is_fault(),
            Self::Unasked => false,
        }
    }
}

/// What an answer brought.
#[derive(Debug, Default)]
pub struct Answered {
    /// Ads that this lookup did not have yet, verified. They can be used at once: the lookup goes on meanwhile.
    pub found: Vec<Ad>,
    /// What was wrong with the answer, if anything.
    pub fault: Option<AnswerFault>,
}

/// Who brought something: a prefix, or where addresses say nothing, a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Brought {
    Prefix(Prefix),
    Peer(Did),
}

#[derive(Clone, Debug)]
struct Asked {
    peer: Peer,
    bucket: usize,
    deadline: u64,
}

/// Looks for the ads under one key.
///
/// Asks up to [`LOOKUP_PEERS`] peers in each bucket, none twice, [`LOOKUP_PEERS`] at once, the farthest bucket first. With
/// [`LOOKUP_PROVIDERS`] providers found it asks only [`SWEEP_PEERS`] in each bucket it has not come to: it never takes the
/// word of the far ones that there is nobody else. `now` is in milliseconds.
#[derive(Clone, Debug)]
pub struct Lookup {
    table: Table,
    local: LocalAddresses,
    /// Peers asked that have answered, or may yet, by bucket.
    asked: [usize; BUCKETS],
    attempts: [usize; BUCKETS],
    in_flight: BTreeMap<Did, Asked>,
    seen: BTreeSet<Did>,
    /// Providers found, with the sequence numbers of descriptor and lease.
    found: BTreeMap<(Did, [u8; 32]), (u64, u64)>,
    providers: BTreeSet<Did>,
    /// New providers by the prefix of the registrar that brought them.
    counted: BTreeMap<Brought, usize>,
    /// It goes on when it has enough.
    thorough: bool,
}

impl Lookup {
    /// A lookup that begins with the peers of `table`; `own` is not asked.
    pub fn new(table: Table, own: Did, local: LocalAddresses) -> Self {
        Self {
            table,
            local,
            asked: [0; BUCKETS],
            attempts: [0; BUCKETS],
            in_flight: BTreeMap::new(),
            seen: BTreeSet::from([own]),
            found: BTreeMap::new(),
            providers: BTreeSet::new(),
            counted: BTreeMap::new(),
            thorough: false,
        }
    }

    /// The key looked for.
    pub fn key(&self) -> Key {
        self.table.key()
    }

    /// From now on it asks [`LOOKUP_PEERS`] in every bucket, however many providers it has: for whoever cannot use those it
    /// was given. It may be called at any time, also when the lookup was over; poll it then.
    pub fn dig(&mut self) {
        self.thorough = true;
    }

    /// The peers to ask now. Call it at the start, after each answer or failure, and at [`Self::deadline`]; the lookup
    /// [is done](Self::is_done) when it returns none and none is awaited.
    pub fn poll(&mut self, now: u64, rng: &mut impl Rng) -> Vec<Peer> {
        let late: Vec<_> =
            self.in_flight.values().filter(|a| a.deadline <= now).map(|a| *a.peer.did()).collect();
        for did in late {
            self.failed(now, &did);
        }
        let mut ask = Vec::new();
        for bucket in 0..BUCKETS {
            while self.in_flight.len() < LOOKUP_PEERS {
                let Some(peer) = self.next(bucket, now, rng) else { break };
                let asked =
                    Asked { peer: peer.clone(), bucket, deadline: now.saturating_add(ANSWER_TIMEOUT_MS) };
                self.in_flight.insert(*peer.did(), asked);
                self.seen.insert(*peer.did());
                for count in [&mut self.asked, &mut self.attempts] {
                    if let Some(n) = count.get_mut(bucket) {
                        *n += 1;
                    }
                }
                ask.push(peer);
            }
        }
        ask
    }

    fn next(&self, bucket: usize, now: u64, rng: &mut impl Rng) -> Option<Peer> {
        let most = if self.has_enough() && !self.thorough { SWEEP_PEERS } else { LOOKUP_PEERS };
        if *self.asked.get(bucket)? >= most || *self.attempts.get(bucket)? >= LOOKUP_ATTEMPTS {
            return None;
        }
        self.table.pick(bucket, now, rng, |did| self.seen.contains(did))
    }

    /// Takes an answer in, verifying what is new in it.
    pub fn answered(&mut self, now: u64, from: &Did, answer: &Answer, verifier: &mut Verifier) -> Answered {
        let Some(asked) = self.in_flight.remove(from) else {
            return Answered { found: Vec::new(), fault: Some(AnswerFault::Unasked) };
        };
        let (mut found, mut fault) = (Vec::new(), None);
        let ads = answer.ads.len();
        if ads > ANSWER_ADS {
            fault = Some(AnswerFault::TooManyAds { ads });
        } else if ads == 0 && answer.closer.is_empty() {
            fault = Some(AnswerFault::Empty);
        } else {
            for offer in &answer.ads {
                match verifier.ad(offer, &self.key(), now) {
                    Ok(ad) => found.extend(self.take(ad, &asked.peer)),
                    // It ended on its way, or two clocks differ.
                    Err(refused) if !refused.is_fault() => {}
                    Err(refused) => {
                        fault = Some(refused.into());
                        break;
                    }
                }
            }
        }
        if fault.is_some() {
            self.gave_nothing(&asked, now);
        } else {
            self.table.answered(&asked.peer);
            for peer in one_a_bucket(&self.table.key(), &answer.closer) {
                self.table.add(peer);
            }
        }
        Answered { found, fault }
    }

    /// A peer could not be asked, or did not answer: another of its bucket is asked instead.
    pub fn failed(&mut self, now: u64, peer: &Did) {
        if let Some(asked) = self.in_flight.remove(peer) {
            self.gave_nothing(&asked, now);
        }
    }

    /// When to poll again if nothing happens, in milliseconds; `None` when nothing is awaited.
    pub fn deadline(&self) -> Option<u64> {
        self.in_flight.values().map(|a| a.deadline).min()
    }

    /// Whether nothing is awaited. After a poll that asked nobody, the lookup is over.
    pub fn is_done(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// How many different providers were found.
    pub fn providers(&self) -> usize {
        self.providers.len()
    }

    /// How many peers were asked.
    pub fn peers_asked(&self) -> usize {
        self.attempts.iter().sum()
    }

    fn has_enough(&self) -> bool {
        self.counted.values().map(|n| (*n).min(COUNTED_PER_PREFIX)).sum::<usize>() >= LOOKUP_PROVIDERS
    }

    /// An ad, unless this lookup has it or a newer one, or enough.
    fn take(&mut self, ad: Ad, registrar: &Peer) -> Option<Ad> {
        let provider = ad.provider();
        let age = (ad.descriptor().map_or(0, |d| d.payload().seq), ad.lease().payload().seq);
        let known = self.found.get(&(provider, ad.what()));
        if known.is_some_and(|known| *known >= age) || known.is_none() && self.found.len() >= LOOKUP_MOST {
            return None;
        }
        if self.providers.insert(provider) {
            let prefix = self.local.prefix(registrar.ip());
            let by = prefix.map_or(Brought::Peer(*registrar.did()), Brought::Prefix);
            *self.counted.entry(by).or_default() += 1;
        }
        self.found.insert((provider, ad.what()), age);
        Some(ad)
    }

    fn gave_nothing(&mut self, asked: &Asked, now: u64) {
        self.table.failed(&asked.peer, now);
        if let Some(n) = self.asked.get_mut(asked.bucket) {
            *n = n.saturating_sub(1);
        }
    }
}
