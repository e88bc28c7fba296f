//! Tier 1: what this home's own experience with a provider adds up to, and how sure that is.
//!
//! A record is computed from events each time, so that it is what they say and nothing else: the same events in any
//! order, repeated or not, give the same record. Weights are in thousandths of one action, in integers.

use actum_model::{ComponentId, Did, ReceiptId};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

mod explain;
mod held;
mod score;

pub use held::Held;
pub use score::Score;

/// The most events that one record reads, the newest: enough for two thousand actions, and little enough to be computed
/// before each call. A divergence is read however old it is.
pub const MAX_EVENTS: usize = 4_096;

/// One action, in the thousandths that evidence is counted in.
pub const ACTION_MILLI: u64 = 1_000;

/// What one receipt that fails its checks weighs against honesty, in thousandths of an action: four actions, for an honest
/// provider never makes one, but a broken one may.
const INCONSISTENT_MILLI: u64 = 4 * ACTION_MILLI;

/// What a refusal weighs against service, in thousandths of an action: half of one, for it comes at once and costs no more
/// than the way there and back.
const REFUSED_MILLI: u64 = ACTION_MILLI / 2;

/// What one opinion weighs at most, in thousandths of an own verdict: a quarter, times how sure the verifier is known.
pub const OPINION_SHARE_PERMILLE: u64 = 250;

/// What all opinions on a provider weigh together at most, in own confirmations: no crowd says more than eight replays here.
pub const OPINION_CAP: u64 = 8;

/// What one verifier's opinions weigh together at most, in own confirmations: a quarter of the whole, so that no single
/// friend decides.
pub const VERIFIER_CAP: u64 = 2;

/// From how much evidence against honesty on a provider is suspect, in thousandths of an action, where as much as that does
/// not speak for it.
const SUSPECT_MILLI: u64 = ACTION_MILLI;

/// From how many failures on a provider that mostly fails is suspect, in thousandths of an action: a single lost answer
/// says little.
const FAILING_MILLI: u64 = 3 * ACTION_MILLI;

/// What one action with a provider showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Experience {
    /// Its receipt was re-executed and is what happens.
    Identical,
    /// Its receipt was re-executed and is not what happens.
    Diverged,
    /// Its receipt could not be tried here: neither for nor against.
    NotReplayable,
    /// It answered.
    Served {
        /// After how many milliseconds.
        millis: u32,
    },
    /// It did not answer within the requester's patience.
    Late,
    /// It was not reached, or the answer was lost.
    Lost,
    /// It refused what it offers.
    Refused,
    /// It gave a receipt that fails the checks that need no re-execution.
    Inconsistent,
}

impl Experience {
    /// The stable name, as stores and JSON have it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Identical => "identical",
            Self::Diverged => "diverged",
            Self::NotReplayable => "not-replayable",
            Self::Served { .. } => "served",
            Self::Late => "late",
            Self::Lost => "lost",
            Self::Refused => "refused",
            Self::Inconsistent => "inconsistent",
        }
    }

    /// What a name means; `None` for a name that means nothing. `millis` is read for `served` alone.
    pub fn parse(name: &str, millis: u32) -> Option<Self> {
        Some(match name {
            "identical" => Self::Identical,
            "diverged" => Self::Diverged,
            "not-replayable" => Self::NotReplayable,
            "served" => Self::Served { millis },
            "late" => Self::Late,
            "lost" => Self::Lost,
            "refused" => Self::Refused,
            "inconsistent" => Self::Inconsistent,
            _ => return None,
        })
    }

    /// What of one receipt counts once: all verdicts together, and each other kind.
    fn class(&self) -> u8 {
        match self {
            Self::Identical | Self::Diverged | Self::NotReplayable => 0,
            Self::Served { .. } => 1,
            Self::Late => 2,
            Self::Lost => 3,
            Self::Refused => 4,
            Self::Inconsistent => 5,
        }
    }

    /// Which verdict on one receipt holds: the one that says most.
    fn strength(&self) -> u8 {
        match self {
            Self::Diverged => 2,
            Self::Identical => 1,
            _ => 0,
        }
    }
}

/// Something that was seen of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whose doing it is.
    pub provider: Did,
    /// The component that was called.
    pub component: ComponentId,
    /// When, in seconds since the Unix epoch.
    pub at: u64,
    /// What was seen.
    pub what: Experience,
    /// Who says so. `None`: this home itself.
    pub verifier: Option<Did>,
    /// The receipt it is about, where there is one. One receipt counts once. What has none counts once a second, capability
    /// and kind: what is lost at one moment is lost to one cause.
    pub receipt: Option<ReceiptId>,
}

impl Event {
    /// Whether this home itself saw the provider lie.
    pub fn is_own_lie(&self) -> bool {
        self.verifier.is_none() && self.what == Experience::Diverged
    }
}

/// What another says of a provider, with what is held of that other.
#[derive(Clone, Copy, Debug)]
pub struct Opinion<'a> {
    /// Who says so.
    pub verifier: Did,
    /// This home's own record of the verifier, as a provider.
    pub verifier_record: &'a Record,
    /// What it says: a verdict on a receipt. Anything else counts nothing, as no receipt shows it.
    pub event: &'a Event,
}

/// How fast evidence fades.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reputation {
    /// Seconds after which evidence on honesty weighs half. Default: 30 days.
    pub half_life_seconds: u64,
    /// Seconds after which evidence on service weighs half: who was slow yesterday may be fast today. Default: a day.
    pub service_half_life_seconds: u64,
}

impl Default for Reputation {
    fn default() -> Self {
        Self { half_life_seconds: 30 * 24 * 3_600, service_half_life_seconds: 24 * 3_600 }
    }
}

/// What a weight is worth after some time: half of it for each whole half-life, and linearly less in between.
pub fn decay(weight: u64, age_seconds: u64, half_life_seconds: u64) -> u64 {
    let half_life = half_life_seconds.max(1);
    let halvings = u32::try_from(age_seconds / half_life).unwrap_or(u32::MAX);
    let whole = weight.checked_shr(halvings).unwrap_or(0);
    let lost = u128::from(whole / 2) * u128::from(age_seconds % half_life) / u128::from(half_life);
    whole - u64::try_from(lost).unwrap_or(whole).min(whole)
}

/// How a provider is known to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fraud {
    /// The first receipt that was refuted, where it is known.
    pub receipt: Option<ReceiptId>,
}

/// What is held for and against one provider, at one time and for one capability.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Whether its receipts are true, of whatever capability, opinions included.
    pub honesty: Score,
    /// The same for this capability alone.
    pub here: Score,
    /// Honesty by this home's own evidence alone, which decides the standing.
    pub own: Score,
    /// Whether it answers.
    pub service: Score,
    /// How many milliseconds it typically takes: the mean of those it took, each weighing less with time.
    pub millis: Option<u32>,
    /// Receipts that were re-executed here and confirmed, however long ago.
    pub confirmed: u64,
    /// Those of them that are of this capability.
    pub confirmed_here: u64,
    /// Receipts that could not be re-executed here.
    pub not_replayable: u64,
    /// Whether more of its receipts cannot be tried than were confirmed: then the few say nothing of the many.
    pub opaque: bool,
    /// Receipts that failed their checks.
    pub inconsistent: u64,
    /// Actions answered.
    pub served: u64,
    /// Actions late, lost or refused.
    pub missed: u64,
    /// How it is known to lie, if it is.
    pub fraud: Option<Fraud>,
    /// How many opinions weigh anything.
    pub opinions: u64,
    /// When it was last seen to do anything, in seconds since the Unix epoch.
    pub last_seen: Option<u64>,
    /// When this record was made, in seconds since the Unix epoch.
    pub as_of: u64,
}

/// What a record comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Nothing speaks for or against it, or too little.
    Unknown,
    /// At least one receipt was confirmed here, and nothing speaks against it.
    Known,
    /// It gives receipts that fail their checks, or mostly fails. Asked last.
    Suspect,
    /// Caught in a lie. Never asked again.
    Fraud,
}

impl Standing {
    /// The stable name, as JSON has it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Known => "known",
            Self::Suspect => "suspect",
            Self::Fraud => "fraud",
        }
    }

    /// Whether the provider is not to be asked again.
    pub fn excluded(&self) -> bool {
        *self == Self::Fraud
    }
}

/// The events of a provider under all its keys: the present one and those that handed over to it. A new key sheds no past.
pub fn inherit<'a>(events: impl IntoIterator<Item = &'a Event>, keys: &BTreeSet<Did>) -> Vec<&'a Event> {
    events.into_iter().filter(|event| keys.contains(&event.provider)).collect()
}

/// What one event is, if said twice.
type Identity<'a> = (Option<&'a ReceiptId>, u8, Option<(&'a ComponentId, u64)>);

fn identity(event: &Event) -> Identity<'_> {
    let moment = event.receipt.is_none().then_some((&event.component, event.at));
    (event.receipt.as_ref(), event.what.class(), moment)
}

/// What may be the same, one beside the other: first what says most, and of equals what came first.
fn order(a: &Event, b: &Event) -> Ordering {
    let strength = b.what.strength().cmp(&a.what.strength());
    let rest = (a.at, &a.component, a.what).cmp(&(b.at, &b.component, b.what));
    identity(a).cmp(&identity(b)).then(strength).then(rest)
}

/// Each thing once. Of verdicts on one receipt the one that says most holds; of equals the first, so that looking again
/// makes nothing younger.
fn once(events: &mut Vec<&Event>) {
    events.sort_unstable_by(|a, b| order(a, b));
    events.dedup_by(|a, b| identity(a) == identity(b));
}

/// What verdicts weigh for and against honesty, overall and for one capability.
#[derive(Clone, Copy, Default)]
struct Weights {
    all: Score,
    here: Score,
}

impl Weights {
    fn add(&mut self, here: bool, good_milli: u64, bad_milli: u64) {
        self.all = self.all.plus(Score { good_milli, bad_milli });
        if here {
            self.here = self.here.plus(Score { good_milli, bad_milli });
        }
    }

    fn capped(self, actions: u64) -> Self {
        let most = actions * ACTION_MILLI;
        Self { all: self.all.capped(most), here: self.here.capped(most) }
    }

    fn plus(self, other: Self) -> Self {
        Self { all: self.all.plus(other.all), here: self.here.plus(other.here) }
    }
}

impl Record {
    /// The record of a provider at `now`, in seconds since the Unix epoch, for a `component` or for none in particular.
    ///
    /// `events` are this home's own, of this provider and of the keys it had before ([`inherit`]); what others say is
    /// ignored among them and belongs to `opinions`. An event of the future counts as one of now. The caller passes every
    /// divergence, however old, and at least the newest [`MAX_EVENTS`] of the rest.
    pub fn of<'a>(
        events: impl IntoIterator<Item = &'a Event>,
        component: Option<&ComponentId>,
        now: u64,
        reputation: &Reputation,
        opinions: &[Opinion<'_>],
    ) -> Self {
        let mut events: Vec<&Event> = events.into_iter().filter(|e| e.verifier.is_none()).collect();
        let lies = events.iter().filter(|e| e.what == Experience::Diverged);
        let fraud = lies.min_by_key(|e| (e.at, e.receipt)).map(|e| Fraud { receipt: e.receipt });
        once(&mut events);
        if events.len() > MAX_EVENTS {
            // Stable: of one second, in the order that does not depend on how they came.
            events.sort_by_key(|e| std::cmp::Reverse(e.at));
            events.truncate(MAX_EVENTS);
        }
        let mut record = Self { fraud, as_of: now, ..Self::default() };
        let mut weights = Weights::default();
        let (mut unclear, mut slowness) = (0_u64, 0_u128);
        for event in events {
            let age = now.saturating_sub(event.at);
            let honesty = |weight| decay(weight, age, reputation.half_life_seconds);
            let service = |weight| decay(weight, age, reputation.service_half_life_seconds);
            let here = component == Some(&event.component);
            record.last_seen = record.last_seen.max(Some(event.at.min(now)));
            match event.what {
                Experience::Identical => {
                    record.confirmed += 1;
                    record.confirmed_here += u64::from(here);
                    weights.add(here, honesty(ACTION_MILLI), 0);
                }
                // It is held forever, and no score makes it worse.
                Experience::Diverged => weights.add(here, 0, ACTION_MILLI),
                Experience::NotReplayable => {
                    record.not_replayable += 1;
                    unclear = unclear.saturating_add(honesty(ACTION_MILLI));
                }
                Experience::Inconsistent => {
                    record.inconsistent += 1;
                    weights.add(here, 0, honesty(INCONSISTENT_MILLI));
                }
                Experience::Served { millis } => {
                    record.served += 1;
                    let weight = service(ACTION_MILLI);
                    record.service = record.service.plus(Score { good_milli: weight, bad_milli: 0 });
                    slowness += u128::from(weight) * u128::from(millis);
                }
                Experience::Late | Experience::Lost | Experience::Refused => {
                    record.missed += 1;
                    let refused = event.what == Experience::Refused;
                    let bad_milli = service(if refused { REFUSED_MILLI } else { ACTION_MILLI });
                    record.service = record.service.plus(Score { good_milli: 0, bad_milli });
                }
            }
        }
        let mean = slowness.checked_div(u128::from(record.service.good_milli));
        record.millis = mean.and_then(|mean| u32::try_from(mean).ok());
        record.own = weights.all;
        record.opaque = unclear > weights.all.good_milli;
        let (count, said) = heard(opinions, component, now, reputation);
        let weights = weights.plus(said);
        (record.opinions, record.honesty, record.here) = (count, weights.all, weights.here);
        record
    }

    /// The same record with a fraud proof that was verified here.
    #[must_use]
    pub fn with_fraud(mut self, receipt: ReceiptId) -> Self {
        self.fraud.get_or_insert(Fraud { receipt: Some(receipt) });
        self
    }

    /// What it comes to. Opinions do not enter.
    pub fn standing(&self) -> Standing {
        let (own, service) = (self.own, self.service);
        if self.fraud.is_some() {
            Standing::Fraud
        } else if (own.bad_milli >= SUSPECT_MILLI && own.bad_milli >= own.good_milli)
            || (service.bad_milli >= FAILING_MILLI && service.bad_milli > service.good_milli)
        {
            Standing::Suspect
        } else if self.proven() > 0 {
            Standing::Known
        } else {
            Standing::Unknown
        }
    }

    /// Own confirmations that say something of its receipts: none where most of those cannot be tried.
    pub fn proven(&self) -> u64 {
        if self.opaque { 0 } else { self.confirmed }
    }

    /// The same for this capability.
    pub fn proven_here(&self) -> u64 {
        if self.opaque { 0 } else { self.confirmed_here }
    }
}

/// What opinions weigh, and how many of them weigh anything.
fn heard(
    opinions: &[Opinion<'_>],
    component: Option<&ComponentId>,
    now: u64,
    reputation: &Reputation,
) -> (u64, Weights) {
    // Nobody is heard in their own cause.
    let judged: BTreeSet<&Did> = opinions.iter().map(|o| &o.event.provider).collect();
    let mut by_verifier: BTreeMap<&Did, (u64, Vec<&Event>)> = BTreeMap::new();
    for opinion in opinions {
        let Opinion { verifier, verifier_record, event } = opinion;
        let signed = event.verifier.as_ref() == Some(verifier) && event.receipt.is_some();
        let known = verifier_record.standing() == Standing::Known && !judged.contains(verifier);
        if signed && known && event.what.class() == 0 {
            let sure = verifier_record.own.low_permille() * OPINION_SHARE_PERMILLE / 1_000;
            let (weight, events) = by_verifier.entry(verifier).or_insert((sure, Vec::new()));
            // Were a verifier given with several records, the least counts.
            *weight = sure.min(*weight);
            events.push(event);
        }
    }
    let (mut count, mut all) = (0_u64, Weights::default());
    for (weight, mut events) in by_verifier.into_values() {
        once(&mut events);
        let mut one = Weights::default();
        for event in events {
            let decayed = |weight| decay(weight, now.saturating_sub(event.at), reputation.half_life_seconds);
            let here = component == Some(&event.component);
            let (good, bad) = match event.what {
                Experience::Identical => (decayed(weight), 0),
                Experience::Diverged => (0, decayed(weight * INCONSISTENT_MILLI / ACTION_MILLI)),
                _ => (0, 0),
            };
            count += u64::from(good > 0 || bad > 0);
            one.add(here, good, bad);
        }
        all = all.plus(one.capped(VERIFIER_CAP));
    }
    (count, all.capped(OPINION_CAP))
}
