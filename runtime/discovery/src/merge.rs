//! Several indexes' answers made one, trusting none of them.

use crate::{Found, Index, IndexLimits, Refused};
use actum_model::{Did, Page, Query, Signed};

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

/// A page that was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedPage {
    /// The index asked.
    pub index: Did,
    /// Why.
    pub why: PageRefused,
}

/// An offer that was left out. The rest of its page counts.
#[derive(Debug)]
pub struct RefusedOffer {
    /// The index that sent it.
    pub index: Did,
    /// Why.
    pub why: Refused,
}

/// Several answers as one.
#[derive(Debug, Default)]
pub struct Merged {
    /// What was found, best first, ranked here.
    pub found: Vec<Found>,
    /// Pages left out.
    pub refused_pages: Vec<RefusedPage>,
    /// Offers left out.
    pub refused_offers: Vec<RefusedOffer>,
}

/// The union of several answers to one question: each page and each offer verified, the newest of each provider's
/// statements kept, and all of it ranked here. So an index can leave an offer out, and can neither forge nor misrank one.
///
/// At most `query.limit` are given back, `query` being the first answer's.
pub fn merge(answers: &[Answer<'_>], now: u64) -> Merged {
    let mut merged = Merged::default();
    let Some(first) = answers.first() else {
        return merged;
    };
    let mut union = Index::new(IndexLimits::default());
    for answer in answers {
        let index = answer.query.aud;
        if let Err(why) = check(answer) {
            merged.refused_pages.push(RefusedPage { index, why });
            continue;
        }
        for offer in &answer.page.payload().offers {
            if let Err(why) = union.observe_offer(offer, now) {
                merged.refused_offers.push(RefusedOffer { index, why });
            }
        }
    }
    merged.found = union.search(first.query, now);
    merged
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
