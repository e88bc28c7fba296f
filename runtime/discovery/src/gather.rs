//! Several indexes' answers made one, trusting none of them: each page and each offer verified, the newest of each
//! provider's statements kept, all of it ranked here. So an index can leave an offer out, and can neither forge nor misrank
//! one; and what it leaves out is found out by comparing.

use crate::{Found, Index, LiveOffer, Record, Refused, Wanted, Why, order};
use actum_model::{Descriptor, Did, Offer, Page, Query, ReleaseId, Signed};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

/// How long an offer may have been announced without an index being to blame for not having it, in seconds: ten minutes. It
/// is told to three registries, which hand it on in rounds of a minute, and each probes it before it ranks it.
pub const SETTLED: u64 = 600;
/// The most offers that are listed though none of the query's words is in them, because indexes say that they mean the same.
pub const MEANT: usize = 10;

/// One index's answer, with the question it was asked.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The question sent to that index.
    pub query: &'a Query,
    /// What came back.
    pub page: &'a Signed<Page>,
}

/// Why a whole page was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageRefused {
    /// Signed by somebody other than the index asked.
    #[error("{signer} signed the answer of {asked}")]
    OtherIndex {
        /// Who was asked.
        asked: Did,
        /// Who signed.
        signer: Did,
    },
    /// Addressed to somebody else.
    #[error("the answer is for {addressee}, not for {asker}")]
    OtherAsker {
        /// Who asked.
        asker: Did,
        /// Who is addressed.
        addressee: Did,
    },
    /// It answers another question.
    #[error("the answer is to another question")]
    OtherQuestion,
    /// More offers than were asked for.
    #[error("{offers} offers where at most {limit} were asked for")]
    TooManyOffers {
        /// Offers on the page.
        offers: usize,
        /// Offers asked for.
        limit: u32,
    },
}

impl PageRefused {
    /// The stable code, as in metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OtherIndex { .. } => "other-index",
            Self::OtherAsker { .. } => "other-asker",
            Self::OtherQuestion => "other-question",
            Self::TooManyOffers { .. } => "too-many-offers",
        }
    }
}

/// What came of a page.
#[derive(Debug, Default)]
pub struct Taken {
    /// Why all of it was left out, if it was.
    pub page: Option<PageRefused>,
    /// Why offers of it were left out; the others count.
    pub offers: Vec<Refused>,
}

impl Taken {
    /// Whether the index is to blame: it could have seen that this is no answer, or that this is no offer.
    pub fn is_fault(&self) -> bool {
        self.page.is_some() || self.offers.iter().any(Refused::is_fault)
    }
}

/// An index that left out what it should have had.
#[derive(Clone, Debug)]
pub struct Omission {
    /// The index.
    pub index: Did,
    /// One of the offers it left out.
    pub offer: LiveOffer,
}

/// An offer, whichever of its statements is the newest.
type What = (Did, ReleaseId);

fn what(descriptor: &Descriptor) -> What {
    (descriptor.iss, descriptor.release)
}

/// One query's answers, as they come. Bounded by what it is given: pages of limited length, of few indexes.
///
/// It asks nobody and reads no clock; times are seconds since the Unix epoch.
#[derive(Debug)]
pub struct Gathering {
    query: Query,
    union: Index,
    /// What each index that answered has, and whether its page had room for more.
    pages: BTreeMap<Did, (BTreeSet<What>, bool)>,
    given: BTreeSet<What>,
}

impl Gathering {
    /// Nothing yet. The asker's own offers are never found.
    pub fn new(query: Query) -> Self {
        Self { query, union: Index::of_few(), pages: BTreeMap::new(), given: BTreeSet::new() }
    }

    /// Takes in an offer that the asker knew, or that the advertise plane has. One that is none any more is not found.
    pub fn offer(&mut self, offer: &LiveOffer, now: u64) {
        observe(&mut self.union, offer, now);
    }

    /// Takes in what an index answered.
    pub fn page(&mut self, answer: &Answer<'_>, now: u64) -> Taken {
        if let Err(why) = check(answer) {
            return Taken { page: Some(why), offers: Vec::new() };
        }
        let (mut has, mut offers) = (BTreeSet::new(), Vec::new());
        let page = answer.page.payload();
        for offer in &page.offers {
            match self.take(offer, now) {
                Ok(what) => has.extend([what]),
                Err(why) => offers.push(why),
            }
        }
        self.has(answer.query, has, page.offers.len());
        Taken { page: None, offers }
    }

    /// The same where page and offers were verified before: the offers on the answer to `query`.
    pub fn verified(&mut self, query: &Query, offers: &[LiveOffer], now: u64) {
        offers.iter().for_each(|offer| observe(&mut self.union, offer, now));
        let has = offers.iter().map(|offer| what(offer.descriptor().payload())).collect();
        self.has(query, has, offers.len());
    }

    fn has(&mut self, query: &Query, has: BTreeSet<What>, offers: usize) {
        let room = u32::try_from(offers).is_ok_and(|n| n < query.limit);
        self.pages.insert(query.aud, (has, room));
    }

    fn take(&mut self, offer: &Offer, now: u64) -> Result<What, Refused> {
        let descriptor = Signed::<Descriptor>::verify(&offer.descriptor)?;
        let (lease, what) = (Signed::verify(&offer.lease)?, what(descriptor.payload()));
        self.union.observe_halves(descriptor, lease, now)?;
        Ok(what)
    }

    /// How many indexes answered.
    pub fn answers(&self) -> usize {
        self.pages.len()
    }

    /// What answers the query of all that came, best first: exact matches, then those that share its words, then those of
    /// which indexes say that they mean the same, at most [`MEANT`], the ones that more indexes name first. Each part is in
    /// the [`order`] of what the asker has seen itself.
    pub fn found(&self, record: impl Fn(&Did) -> Record, now: u64, draw: u64) -> Vec<Found> {
        let mut found = self.union.search(&self.query, now);
        found.retain(|f| f.offer.descriptor().payload().iss != self.query.iss);
        let mut found = order(found, &record, now, draw);
        found.extend(order(self.meant(&found, now), &record, now, draw));
        found.truncate(usize::try_from(self.query.limit).unwrap_or(usize::MAX));
        found
    }

    /// Whether the indexes leave the asker with nothing to call by intent: none answered, or all that is [found](Self::found) is
    /// of providers that lied to it, or only said to mean the same. Then the advertise plane is asked, which nobody has captured.
    pub fn leaves_nothing(&self, found: &[Found], record: impl Fn(&Did) -> Record) -> bool {
        let lied = |found: &Found| record(&found.offer.descriptor().payload().iss).refuted > 0;
        self.answers() == 0 || found.iter().all(|found| found.why == Why::Meaning || lied(found))
    }

    /// What answers the query and was not given out by this yet.
    pub fn news(&mut self, record: impl Fn(&Did) -> Record, now: u64, draw: u64) -> Vec<Found> {
        let mut found = self.found(record, now, draw);
        found.retain(|f| self.given.insert(what(f.offer.descriptor().payload())));
        found
    }

    fn meant(&self, found: &[Found], now: u64) -> Vec<Found> {
        if !matches!(Wanted::of(&self.query.text), Wanted::Name(_) | Wanted::Words) {
            return Vec::new();
        }
        let mut named: BTreeMap<What, u64> = BTreeMap::new();
        for what in self.pages.values().flat_map(|(has, _)| has) {
            *named.entry(*what).or_default() += 1;
        }
        let found: BTreeSet<_> = found.iter().map(|f| what(f.offer.descriptor().payload())).collect();
        let mut meant: Vec<_> = self
            .union
            .offers(now)
            .into_iter()
            .filter_map(|offer| {
                let d = offer.descriptor().payload();
                let votes = *named.get(&what(d))?;
                let fits = d.iss != self.query.iss && self.query.filters.check(d).is_ok();
                (fits && !found.contains(&what(d))).then_some(Found {
                    offer,
                    why: Why::Meaning,
                    score: votes,
                })
            })
            .collect();
        // Stable: equals stay by provider, then release.
        meant.sort_by_key(|f| Reverse(f.score));
        meant.truncate(MEANT);
        meant
    }

    /// The indexes that left out an offer of the advertise plane's that answers the query, though they had room for it and
    /// time to hear of it.
    ///
    /// An honest index leaves out what does not stand its probe, so an offer that no other index has blames nobody; it counts
    /// where its provider has answered the asker itself, or where every other index that answered has it, and at least two
    /// did. A provider may be gone by now: whoever acts on an omission makes sure first that it is there.
    pub fn omissions(
        &self,
        advertised: &[LiveOffer],
        record: impl Fn(&Did) -> Record,
        now: u64,
    ) -> Vec<Omission> {
        let mut index = Index::of_few();
        let settled = |o: &&LiveOffer| o.descriptor().payload().nbf.saturating_add(SETTLED) <= now;
        for offer in advertised.iter().filter(settled) {
            observe(&mut index, offer, now);
        }
        let expected = index.search(&self.query, now);
        let mut omissions = Vec::new();
        for (index, (has, _)) in self.pages.iter().filter(|(_, (_, room))| *room) {
            let others = || self.pages.iter().filter(|(other, _)| *other != index);
            let missing = expected.iter().find(|found| {
                let d = found.offer.descriptor().payload();
                let holders = others().filter(|(_, (has, _))| has.contains(&what(d))).count();
                let everywhere = holders >= 2 && holders == others().count();
                d.iss != self.query.iss
                    && !has.contains(&what(d))
                    && holders > 0
                    && (record(&d.iss).vouches() || everywhere)
            });
            omissions.extend(missing.map(|f| Omission { index: *index, offer: f.offer.clone() }));
        }
        omissions
    }
}

fn observe(index: &mut Index, offer: &LiveOffer, now: u64) {
    // Verified already; what the index holds against it is its age, or that a newer one is known.
    let _ = index.observe_words(offer.descriptor.clone(), offer.words.clone(), now);
    let _ = index.observe_lease(offer.lease.clone(), now);
}

fn check(answer: &Answer<'_>) -> Result<(), PageRefused> {
    let (query, page) = (answer.query, answer.page.payload());
    if page.iss != query.aud {
        return Err(PageRefused::OtherIndex { asked: query.aud, signer: page.iss });
    }
    if page.aud != query.iss {
        return Err(PageRefused::OtherAsker { asker: query.iss, addressee: page.aud });
    }
    if page.nonce != query.nonce {
        return Err(PageRefused::OtherQuestion);
    }
    let offers = page.offers.len();
    if u32::try_from(offers).is_ok_and(|n| n <= query.limit) {
        Ok(())
    } else {
        Err(PageRefused::TooManyOffers { offers, limit: query.limit })
    }
}
