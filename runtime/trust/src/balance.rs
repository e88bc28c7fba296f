//! Who has served whom how much: what proves a balance, where two balances differ, what a disputed entry is worth, and who
//! is served first where not everybody can be.

use crate::authority::{AuthorityError, request};
use actum_model::{
    Authority, Balance, Did, Invocation, InvocationId, Judgement, Receipt, ReceiptId, Signed, Verdict,
    balance::{Entry, Side, Tally, between},
};
use serde::Deserialize;
use std::{collections::BTreeSet, fmt};

/// Seconds in which fuel that was served is counted together: an hour.
pub const HOUR_SECONDS: u64 = 3_600;
/// The longest window of an allowance, in seconds: 30 days, so that 720 hours are looked at.
pub const MAX_WINDOW_SECONDS: u64 = 30 * 24 * HOUR_SECONDS;

/// The two directions of a balance, as its issuer sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// What the issuer ran for the other.
    Served,
    /// What the other ran for the issuer.
    Consumed,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Served => "served",
            Self::Consumed => "consumed",
        })
    }
}

/// Why receipts do not prove a balance.
#[derive(Debug, thiserror::Error)]
pub enum BalanceError {
    /// A receipt is no entry between the two peers.
    #[error("receipt {receipt} is no entry between these two peers")]
    Stranger {
        /// The receipt.
        receipt: ReceiptId,
    },
    /// A receipt was shown twice.
    #[error("receipt {receipt} is there twice")]
    Twice {
        /// The receipt.
        receipt: ReceiptId,
    },
    /// Two receipts answer one request: what was asked once is owed once.
    #[error("receipt {receipt} answers invocation {invocation}, which another receipt has answered")]
    AnsweredTwice {
        /// The later receipt.
        receipt: Box<ReceiptId>,
        /// The request.
        invocation: Box<InvocationId>,
    },
    /// The request that a receipt answers is not at hand, so nothing shows that anybody asked.
    #[error("the request that receipt {receipt} answers is not there")]
    NoRequest {
        /// The receipt.
        receipt: ReceiptId,
    },
    /// The request is not the requester's for what the receipt says.
    #[error("receipt {receipt} does not answer what was asked")]
    NotAsked {
        /// The receipt.
        receipt: Box<ReceiptId>,
        /// What is false.
        source: AuthorityError,
    },
    /// The receipts add up to something else than the balance says.
    #[error(
        "{direction}: the balance says {} receipts with {} fuel, the receipts shown are {} with {}{}",
        said.receipts,
        said.fuel,
        shown.receipts,
        shown.fuel,
        if (said.receipts, said.fuel) == (shown.receipts, shown.fuel) { ", and are others" } else { "" }
    )]
    Sum {
        /// Which side.
        direction: Direction,
        /// What the balance says.
        said: Box<Side>,
        /// What the receipts make.
        shown: Box<Side>,
    },
}

/// Whether these entries, in any order, are exactly those of a balance.
///
/// Each must be a receipt between its two peers, shown once, that answers a request which its requester signed and no
/// other of them answers. Whether a receipt is true is another question: [`settle`].
pub fn prove<'a>(
    balance: &Balance,
    entries: impl IntoIterator<Item = &'a Entry>,
) -> Result<(), BalanceError> {
    let (mut served, mut consumed) = (Tally::default(), Tally::default());
    let (mut shown, mut answered) = (BTreeSet::new(), BTreeSet::new());
    for entry in entries {
        let (id, receipt) = (entry.receipt.id(), entry.receipt.payload());
        let tally = match between(receipt) {
            Some(pair) if pair == (balance.iss, balance.peer) => &mut served,
            Some(pair) if pair == (balance.peer, balance.iss) => &mut consumed,
            _ => return Err(BalanceError::Stranger { receipt: id }),
        };
        if !shown.insert(id) {
            return Err(BalanceError::Twice { receipt: id });
        }
        let invocation = asked(&id, receipt, entry.invocation.as_ref())?;
        if !answered.insert(invocation) {
            let (receipt, invocation) = (Box::new(id), Box::new(invocation));
            return Err(BalanceError::AnsweredTwice { receipt, invocation });
        }
        tally.add(&id, receipt.fuel);
    }
    for (direction, said, tally) in
        [(Direction::Served, balance.served, served), (Direction::Consumed, balance.consumed, consumed)]
    {
        let side = tally.side();
        if side != said {
            return Err(BalanceError::Sum { direction, said: Box::new(said), shown: Box::new(side) });
        }
    }
    Ok(())
}

/// The request that a receipt answers, once it is known to be its requester's.
fn asked(
    id: &ReceiptId,
    receipt: &Receipt,
    given: Option<&Signed<Invocation>>,
) -> Result<InvocationId, BalanceError> {
    let (Some(named), Some(given)) = (&receipt.invocation, given) else {
        return Err(BalanceError::NoRequest { receipt: *id });
    };
    let chain = match &receipt.authority {
        Authority::Granted(chain) => chain.as_slice(),
        _ => &[],
    };
    request(receipt, named, given, chain)
        .map_err(|source| BalanceError::NotAsked { receipt: Box::new(*id), source })?;
    Ok(*named)
}

/// The receipts that a peer counts, in both directions as it sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// What it ran for the other.
    pub served: BTreeSet<ReceiptId>,
    /// What the other ran for it.
    pub consumed: BTreeSet<ReceiptId>,
}

/// Where two peers' views of one direction differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Apart {
    /// What only we count.
    pub only_ours: Vec<ReceiptId>,
    /// What only the other counts.
    pub only_theirs: Vec<ReceiptId>,
    /// The same receipts, of which one of us says that they make another sum of fuel. Receipts prove who is right.
    pub other_fuel: bool,
}

impl Apart {
    /// Whether there is no difference.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Where two peers' balances differ, as we see the directions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// In what we ran for the other.
    pub served: Apart,
    /// In what the other ran for us.
    pub consumed: Apart,
}

impl Difference {
    /// Whether both say the same.
    pub fn is_nothing(&self) -> bool {
        self.served.is_nothing() && self.consumed.is_nothing()
    }
}

/// Why two balances cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompareError {
    /// They are not the two of one pair of peers.
    #[error("the two balances are not of the same two peers")]
    OtherPair,
    /// The receipts that a peer lists are not those its balance names: it has counted more meanwhile, or does not tell the
    /// truth.
    #[error("{who} lists other receipts than its balance names")]
    OtherList {
        /// Who.
        who: Did,
    },
}

/// Whether two balances of one pair of peers say the same.
pub fn agree(ours: &Balance, theirs: &Balance) -> bool {
    (ours.iss, ours.peer) == (theirs.peer, theirs.iss)
        && (ours.served, ours.consumed) == (theirs.consumed, theirs.served)
}

/// Says where two balances differ, by the receipts that each peer counts, which must be those its own balance names.
pub fn compare(
    ours: &Balance,
    theirs: &Balance,
    our_ids: &Ids,
    their_ids: &Ids,
) -> Result<Difference, CompareError> {
    if (ours.iss, ours.peer) != (theirs.peer, theirs.iss) {
        return Err(CompareError::OtherPair);
    }
    for (balance, ids) in [(ours, our_ids), (theirs, their_ids)] {
        if !(lists(&balance.served, &ids.served) && lists(&balance.consumed, &ids.consumed)) {
            return Err(CompareError::OtherList { who: balance.iss });
        }
    }
    Ok(Difference {
        served: apart((&ours.served, &our_ids.served), (&theirs.consumed, &their_ids.consumed)),
        consumed: apart((&ours.consumed, &our_ids.consumed), (&theirs.served, &their_ids.served)),
    })
}

/// Whether these are the receipts that a side names. Their fuel is not known here.
fn lists(side: &Side, ids: &BTreeSet<ReceiptId>) -> bool {
    let mut tally = Tally::default();
    ids.iter().for_each(|id| tally.add(id, 0));
    let listed = tally.side();
    (listed.receipts, listed.digest) == (side.receipts, side.digest)
}

fn apart(ours: (&Side, &BTreeSet<ReceiptId>), theirs: (&Side, &BTreeSet<ReceiptId>)) -> Apart {
    Apart {
        only_ours: ours.1.difference(theirs.1).copied().collect(),
        only_theirs: theirs.1.difference(ours.1).copied().collect(),
        other_fuel: ours.1 == theirs.1 && ours.0.fuel != theirs.0.fuel,
    }
}

/// What a disputed entry is worth once it was replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It is what happens: it counts what it says.
    Counts,
    /// It is not what happens: it counts nothing, and the verdict is the beginning of a fraud proof.
    Void,
    /// It could not be tried, or the verdict is on another receipt: the dispute stays.
    Disputed,
}

/// Settles a disputed entry by a verdict that the caller believes: its own.
pub fn settle(entry: &ReceiptId, verdict: &Verdict) -> Settled {
    match &verdict.judgement {
        _ if verdict.receipt != *entry => Settled::Disputed,
        Judgement::Identical => Settled::Counts,
        Judgement::Diverged(_) => Settled::Void,
        Judgement::NotReplayable(_) => Settled::Disputed,
    }
}

/// What two peers have served each other, as the provider that is asked counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Fuel that we burned for the peer.
    pub served_fuel: u64,
    /// Fuel that the peer burned for us.
    pub consumed_fuel: u64,
}

/// What we served a peer in one hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hour {
    /// Which: hours since the Unix epoch.
    pub hour: u64,
    /// The fuel.
    pub fuel: u64,
}

/// For how long fuel counts against an allowance, in seconds: from one hour to [`MAX_WINDOW_SECONDS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub struct Window(u64);

impl Window {
    /// In seconds.
    pub fn seconds(self) -> u64 {
        self.0
    }
}

impl Default for Window {
    fn default() -> Self {
        Self(24 * HOUR_SECONDS)
    }
}

impl TryFrom<u64> for Window {
    type Error = &'static str;
    fn try_from(seconds: u64) -> Result<Self, Self::Error> {
        match seconds {
            HOUR_SECONDS..=MAX_WINDOW_SECONDS => Ok(Self(seconds)),
            _ => Err("the window of an allowance is from 3,600 to 2,592,000 seconds"),
        }
    }
}

/// Whom a node serves first where not everybody can be served at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Giving {
    /// Fuel that a peer may have from this node in a window without having given. Default: 10^12, a hundred times what an
    /// action may burn unless it asks for more.
    pub allowance_fuel: u64,
    /// For how long fuel counts against that. Default: a day.
    pub window_seconds: Window,
    /// A peer is served as one that gives while it has given at least so many hundredths of what it took. Default: 50.
    pub return_percent: u32,
}

impl Default for Giving {
    fn default() -> Self {
        Self { allowance_fuel: 1_000_000_000_000, window_seconds: Window::default(), return_percent: 50 }
    }
}

/// Who is served first: the smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// The owner, and whom the owner let in by name or by a grant.
    Owner,
    /// One that gives, by how much: 0 for at least four times what it took, 1 for at least twice, 2 for at least as much, 3
    /// for enough.
    Giver(u8),
    /// One that has not given, or not enough, within its allowance.
    Newcomer,
    /// One whose allowance is used up, too.
    Debtor,
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Owner => "owner",
            Self::Giver(_) => "giver",
            Self::Newcomer => "newcomer",
            Self::Debtor => "debtor",
        })
    }
}

/// The place of a peer that has no other claim than what it gave. `asked` is the most fuel it asks for now; `lately` what it
/// was served in which hours; `now` in seconds since the Unix epoch.
pub fn priority(account: &Account, lately: &[Hour], asked: u64, now: u64, giving: &Giving) -> Priority {
    let (gave, took) = (u128::from(account.consumed_fuel), u128::from(account.served_fuel));
    let enough = |hundredths: u128| gave.saturating_mul(100) >= took.saturating_mul(hundredths);
    if gave > 0 {
        let mut tiers = [400, 200, 100, u128::from(giving.return_percent)].into_iter().zip(0_u8..);
        if let Some((_, tier)) = tiers.find(|(hundredths, _)| enough(*hundredths)) {
            return Priority::Giver(tier);
        }
    }
    match asked <= allowance_left(lately, now, giving) {
        true => Priority::Newcomer,
        false => Priority::Debtor,
    }
}

/// What is left of a peer's allowance.
pub fn allowance_left(lately: &[Hour], now: u64, giving: &Giving) -> u64 {
    let counts = lately.iter().filter(|hour| ends(hour, giving) > now);
    counts.fold(giving.allowance_fuel, |left, hour| left.saturating_sub(hour.fuel))
}

/// In how many seconds the allowance has room for this much, if nothing more is served until then. None: never.
pub fn allowance_back(lately: &[Hour], asked: u64, now: u64, giving: &Giving) -> Option<u64> {
    let moments: BTreeSet<u64> =
        lately.iter().map(|hour| ends(hour, giving)).filter(|end| *end > now).collect();
    let mut moments = std::iter::once(now).chain(moments);
    moments.find(|at| allowance_left(lately, *at, giving) >= asked).map(|at| at.saturating_sub(now))
}

/// When an hour counts no more: its last second is a whole window ago.
fn ends(hour: &Hour, giving: &Giving) -> u64 {
    let next = hour.hour.saturating_add(1).saturating_mul(HOUR_SECONDS);
    next.saturating_add(giving.window_seconds.seconds())
}
