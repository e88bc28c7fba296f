//! Whom to ask, and whom next if that fails.

use crate::{Standing, Standings};
use actum_model::{Did, ReleaseId};
use std::{cmp::Reverse, collections::BTreeMap};

/// Someone who could be asked, with whatever the caller needs to ask them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate<T> {
    /// The provider.
    pub provider: Did,
    /// The release it offers.
    pub release: ReleaseId,
    /// The caller's own, e.g. the offer.
    pub item: T,
}

/// Candidates in the order to ask them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice<T> {
    /// Whom to ask: the first, and if that fails the next.
    pub candidates: Vec<Candidate<T>>,
    /// Whom not to ask, and the standing that says so.
    pub excluded: Vec<(Candidate<T>, Standing)>,
}

/// Orders ranked candidates, best match first, by what is held of their providers.
///
/// How well a release answers the query comes first: releases keep the order in which they first appear. Among the
/// providers of one release, those with more confirmed receipts come first, by powers of two up to 128 so that one more
/// receipt does not draw all the work to one provider; equals keep their rank. Excluded providers are set aside.
pub fn choose<T>(ranked: Vec<Candidate<T>>, standings: &Standings) -> Choice<T> {
    let mut releases: BTreeMap<ReleaseId, usize> = BTreeMap::new();
    let mut asked = Vec::with_capacity(ranked.len());
    let mut excluded = Vec::new();
    for candidate in ranked {
        let standing = standings.of(&candidate.provider);
        if standing.excluded() {
            excluded.push((candidate, standing));
            continue;
        }
        let next = releases.len();
        let place = *releases.entry(candidate.release).or_insert(next);
        asked.push((place, Reverse(proven(&standing)), candidate));
    }
    // Stable: equals keep their rank.
    asked.sort_by_key(|(place, proven, _)| (*place, *proven));
    Choice { candidates: asked.into_iter().map(|(_, _, candidate)| candidate).collect(), excluded }
}

/// 0 for none, then one more for each doubling of confirmed receipts, up to 8.
fn proven(standing: &Standing) -> u32 {
    standing.identical.checked_ilog2().map_or(0, |log| (log + 1).min(8))
}
