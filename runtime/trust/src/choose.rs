//! Whom to ask, and whom next if that fails.

use crate::{Level, Record, Score, Standing};
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
    pub candidates: Vec<Chosen<T>>,
    /// Whom not to ask, and the record that says so.
    pub excluded: Vec<(Candidate<T>, Record)>,
}

/// Someone to ask, with what is held of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen<T> {
    /// Who.
    pub candidate: Candidate<T>,
    /// What is held for and against them.
    pub record: Record,
    /// Why they stand where they do.
    pub why: Why,
}

/// Why a candidate stands where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Known, and past the level's probation.
    Proven,
    /// Some of its receipts were confirmed.
    Known,
    /// Nothing is known of it.
    Newcomer,
    /// One that is not past probation, asked first so that others come to be known.
    Explored,
    /// Something speaks against it: it comes after all others.
    Suspect,
}

impl Why {
    /// The stable name, as JSON has it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Known => "known",
            Self::Newcomer => "newcomer",
            Self::Explored => "explored",
            Self::Suspect => "suspect",
        }
    }

    fn of(record: &Record, level: &Level) -> Self {
        match record.standing() {
            Standing::Suspect | Standing::Fraud => Self::Suspect,
            Standing::Unknown => Self::Newcomer,
            Standing::Known => {
                let past = record.proven() >= u64::from(level.probation)
                    && record.proven_here() >= u64::from(level.probation_here);
                if past { Self::Proven } else { Self::Known }
            }
        }
    }
}

/// By what candidates of one release are ordered, the least first. All of it is coarse: equals share the work.
type Rank = (u8, Reverse<u32>, Reverse<u8>, u8);

fn rank(record: &Record, why: Why) -> Rank {
    let (standing, heard) = match why {
        Why::Proven => (0, 0),
        Why::Known => (1, 0),
        // What others say decides among those of whom this home has seen nothing, and nowhere else.
        Why::Newcomer | Why::Explored => (2, record.honesty.doublings()),
        Why::Suspect => (3, 0),
    };
    (standing, Reverse(heard), Reverse(answers(&record.service)), pace(record.millis))
}

/// Whether a provider answers: 2 where it nearly always does, 1 where nothing is known, 0 where it often does not.
fn answers(service: &Score) -> u8 {
    match service.mean_permille() {
        0..=399 => 0,
        400..=799 => 1,
        _ => 2,
    }
}

/// How slow it is, by factors of eight: 0 up to 63 ms, 1 up to half a second or where nothing is known, 2 up to four
/// seconds, 3 beyond.
fn pace(millis: Option<u32>) -> u8 {
    match millis {
        Some(0..=63) => 0,
        None | Some(64..=511) => 1,
        Some(512..=4_095) => 2,
        Some(_) => 3,
    }
}

/// One more number from a draw, unlike the draw itself: the step of SplitMix64.
fn again(draw: u64) -> u64 {
    let draw = draw.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let a = (draw ^ (draw >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let b = (a ^ (a >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    b ^ (b >> 31)
}

/// Orders ranked candidates, best match first, by what is held of their providers. `draw` is a random number.
///
/// How well a release answers the query comes first: releases keep the order in which they first appear. Among the
/// providers of one release, those past the level's probation come first, then others that are known, then newcomers, of
/// whom verified others speak well before the rest, and suspects last; among those, who answers well and fast, all of it
/// coarsely. Who are then equal keep the order of their rank, begun at one of them by `draw`, so that work spreads: one more
/// confirmed receipt draws none of it. One time in [`Level::explore_one_in`] the first of the first release that is not
/// past probation comes before all, so that others come to be known; no newcomer where the level has none of them first.
/// Frauds are set aside.
pub fn choose<T>(
    ranked: Vec<Candidate<T>>,
    mut record_of: impl FnMut(&Did) -> Record,
    policy: &Level,
    draw: u64,
) -> Choice<T> {
    let mut releases: BTreeMap<ReleaseId, usize> = BTreeMap::new();
    let mut asked = Vec::with_capacity(ranked.len());
    let mut excluded = Vec::new();
    for candidate in ranked {
        let record = record_of(&candidate.provider);
        if record.standing().excluded() {
            excluded.push((candidate, record));
            continue;
        }
        let next = releases.len();
        let place = *releases.entry(candidate.release).or_insert(next);
        let why = Why::of(&record, policy);
        asked.push(((place, rank(&record, why)), Chosen { candidate, record, why }));
    }
    // Stable: equals keep their rank.
    asked.sort_by_key(|(key, _)| *key);
    for equals in asked.chunk_by_mut(|(a, _), (b, _)| a == b) {
        let first = u64::try_from(equals.len()).ok().and_then(|n| draw.checked_rem(n));
        equals.rotate_left(first.and_then(|n| usize::try_from(n).ok()).unwrap_or(0));
    }
    if again(draw).is_multiple_of(u64::from(policy.explore_one_in.get())) {
        let unproven = |why: Why| why == Why::Known || (why == Why::Newcomer && policy.newcomers);
        let first = asked.iter().position(|((place, _), c)| *place == 0 && unproven(c.why));
        if let Some(n) = first
            && let Some(before) = asked.get_mut(..=n)
        {
            before.rotate_right(1);
            if n > 0
                && let Some((_, first)) = before.first_mut()
            {
                first.why = Why::Explored;
            }
        }
    }
    Choice { candidates: asked.into_iter().map(|(_, chosen)| chosen).collect(), excluded }
}
