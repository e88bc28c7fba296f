//! What this home and others have served each other: told to the others, compared with what they say, settled by replay,
//! exported with its proof, and what it earns whoever asks something of this node.

mod claim;
mod proof;
mod view;

use crate::{
    audit::{self, AuditError, ReplayOptions},
    clock,
    home::{Home, HomeError},
    node::multiaddrs,
    requester::Requester,
};
use actum_model::{
    Balance, Did, ReceiptId, Signed, Verdict,
    balance::{AccountsError, receipt_of},
};
use actum_overlay::{
    ConnectError, MAX_ENTRIES, Refusal, RefusalCode, Request, RequestError, Response, SessionHandle,
};
use actum_store::{ListedEntry, MAX_ENTRIES_LISTED, StoreError};
pub use actum_trust::{
    Apart, BalanceError, CompareError, Difference, Direction, Giving, Ids, Priority, Settled,
};
use actum_trust::{agree, compare};
pub(crate) use claim::{Claim, claim};
pub use proof::{Verified, export, verify_file};
use serde_bytes::ByteArray;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
pub use view::{View, partners, view};

/// How often balances are exchanged with a peer that is called again and again: once a minute.
const EXCHANGE_EVERY: u64 = 60;
/// How long a peer may take to answer one question about its balance.
const EXCHANGE_DEADLINE: Duration = Duration::from_secs(10);
/// How often one question is asked again of a peer that says it is asked too much: 8 times.
const WAITS: u32 = 8;
/// How long such a peer may say to wait: two seconds. Who says longer is left alone.
const MOST_WAITED: Duration = Duration::from_secs(2);
/// For how many peers it is remembered when balances were last exchanged. Full: all are forgotten.
const MAX_REMEMBERED: usize = 1_024;
/// How often two balances are exchanged anew because something was counted between them.
const ATTEMPTS: usize = 3;
/// The most receipts of one direction that are compared or exported.
pub const MAX_COMPARED: usize = 100_000;

/// Why a balance could not be exchanged, compared, settled or proven.
#[derive(Debug, thiserror::Error)]
pub enum BalancesError {
    /// There is no receipt between this home and that peer.
    #[error("there is no receipt between this home and {peer}")]
    Nothing {
        /// The peer.
        peer: Did,
    },
    /// The peer could not be reached.
    #[error("{peer} could not be reached")]
    Connect {
        /// The peer.
        peer: Did,
        /// Why not.
        source: ConnectError,
    },
    /// The peer did not answer.
    #[error("{peer} did not answer")]
    Request {
        /// The peer.
        peer: Did,
        /// What became of the question.
        source: RequestError,
    },
    /// The peer refused.
    #[error("{peer} refused: {refusal}")]
    Refused {
        /// The peer.
        peer: Did,
        /// Why.
        refusal: Refusal,
    },
    /// The peer answered what is no answer.
    #[error("{peer} gave a bad answer: {what}")]
    BadAnswer {
        /// The peer.
        peer: Did,
        /// What is wrong with it.
        what: String,
    },
    /// The two balances cannot be compared.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// More receipts than are compared or exported.
    #[error("there are more than {MAX_COMPARED} receipts between the two in one direction")]
    TooMany,
    /// A receipt could not be replayed.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is no exported balance.
    #[error("{} is no exported balance", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Which check it failed.
        source: AccountsError,
    },
    /// The receipts here do not make the balance that was signed.
    #[error("the receipts here do not make the balance")]
    Unproven(#[from] BalanceError),
    /// The work was given up with this process.
    #[error("the work was given up: {0}")]
    GivenUp(String),
    /// The home failed.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The balances of both sides, of one moment.
#[derive(Clone, Debug)]
pub struct Exchanged {
    /// This home's.
    pub ours: Signed<Balance>,
    /// The peer's.
    pub theirs: Signed<Balance>,
}

/// This home's balance with a peer, signed; none where there is no receipt between them.
fn own_balance(home: &Home, peer: &Did) -> Result<Option<Signed<Balance>>, BalancesError> {
    let key = home.key()?;
    let sign = |balance| Signed::sign(balance, key);
    Ok(home.store().signed_balance(&home.did(), peer, clock::now_secs(), sign)?)
}

/// Does what waits for a disk where nobody waits for it.
async fn apart<T: Send + 'static>(
    home: &Arc<Home>,
    work: impl FnOnce(&Home) -> Result<T, BalancesError> + Send + 'static,
) -> Result<T, BalancesError> {
    let home = home.clone();
    let done = tokio::task::spawn_blocking(move || work(&home)).await;
    done.unwrap_or_else(|e| Err(BalancesError::GivenUp(e.to_string())))
}

/// Tells a peer this home's balance, and keeps what it answers.
pub(crate) async fn exchange(
    home: &Arc<Home>,
    session: &SessionHandle,
    peer: Did,
) -> Result<Exchanged, BalancesError> {
    let ours = apart(home, move |home| own_balance(home, &peer)).await?;
    let ours = ours.ok_or(BalancesError::Nothing { peer })?;
    let request = Request::Balance { balance: ours.bytes().to_vec() };
    let bad = |what: String| BalancesError::BadAnswer { peer, what };
    let Response::Balance { balance } = ask(session, peer, &request).await? else {
        return Err(bad("another kind of message".to_owned()));
    };
    let theirs = Signed::<Balance>::verify(&balance).map_err(|e| bad(e.to_string()))?;
    if (theirs.payload().iss, theirs.payload().peer) != (peer, home.did()) {
        return Err(bad("the balance of others".to_owned()));
    }
    let kept = theirs.clone();
    apart(home, move |home| Ok(home.store().put_balance(&kept, clock::now_secs())?)).await?;
    Ok(Exchanged { ours, theirs })
}

/// Asks; a peer that was asked too much at once is asked again when it says.
async fn ask(session: &SessionHandle, peer: Did, request: &Request) -> Result<Response, BalancesError> {
    let mut waited = 0;
    loop {
        match session.request(request, EXCHANGE_DEADLINE).await {
            Ok(Response::Refused { refusal }) => {
                let again = refusal.retry_after_ms.filter(|_| refusal.code == RefusalCode::Busy);
                let again = again.map(Duration::from_millis).filter(|again| *again <= MOST_WAITED);
                let Some(again) = again.filter(|_| waited < WAITS) else {
                    return Err(BalancesError::Refused { peer, refusal });
                };
                waited += 1;
                tokio::time::sleep(again).await;
            }
            Ok(response) => return Ok(response),
            Err(source) => return Err(BalancesError::Request { peer, source }),
        }
    }
}

/// When balances were last exchanged with whom.
#[derive(Debug, Default)]
pub struct Exchanges(Mutex<BTreeMap<Did, u64>>);

impl Exchanges {
    /// Exchanges balances with a peer that was called, behind the call: at most once a minute with each, and what comes of it
    /// is nobody's concern now.
    pub fn after_call(&self, home: &Arc<Home>, session: &SessionHandle, peer: Did) {
        let now = clock::now_secs();
        {
            let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if last.get(&peer).is_some_and(|at| now < at.saturating_add(EXCHANGE_EVERY)) {
                return;
            }
            if last.len() >= MAX_REMEMBERED {
                last.clear();
            }
            last.insert(peer, now);
        }
        let (home, session) = (home.clone(), session.clone());
        tokio::spawn(async move {
            let heard = apart(&home, move |home| Ok(home.store().balance(&peer, &home.did())?)).await;
            // A command that calls once begins anew each time: what it heard a moment ago is in the store.
            if heard.is_ok_and(|heard| heard.is_some_and(|h| now < h.at.saturating_add(EXCHANGE_EVERY))) {
                return;
            }
            match exchange(&home, &session, peer).await {
                Ok(Exchanged { ours, theirs }) if !agree(ours.payload(), theirs.payload()) => {
                    tracing::debug!(%peer, "the other side counts other receipts, so far");
                }
                Ok(_) | Err(BalancesError::Nothing { .. }) => {}
                Err(error) => tracing::debug!(%peer, %error, "balances were not exchanged"),
            }
        });
    }
}

/// Answers a peer's balance with this home's.
pub(crate) fn answer(home: &Home, peer: Did, balance: &[u8]) -> Result<Response, Refusal> {
    let bad = |why: String| Refusal::new(RefusalCode::BadRequest, why);
    let theirs = Signed::<Balance>::verify(balance).map_err(|e| bad(e.to_string()))?;
    if (theirs.payload().iss, theirs.payload().peer) != (peer, home.did()) {
        return Err(bad("the balance is of others".to_owned()));
    }
    let ours = own_balance(home, &peer).map_err(|e| internal(&e))?;
    // So that strangers fill nothing: whom an action was run for, or by, has a row here anyway.
    let ours = ours.ok_or_else(|| {
        Refusal::new(RefusalCode::NotOffered, "there is no receipt between this node and you")
    })?;
    home.store().put_balance(&theirs, clock::now_secs()).map_err(|e| internal(&e))?;
    Ok(Response::Balance { balance: ours.bytes().to_vec() })
}

/// Answers which receipts between a peer and this home are counted here.
pub(crate) fn entries(home: &Home, peer: Did, served: bool, after: u64) -> Result<Response, Refusal> {
    let own = home.did();
    let (provider, requester) = if served { (own, peer) } else { (peer, own) };
    let listed = home.store().entries(&provider, &requester, after, MAX_ENTRIES);
    let listed = listed.map_err(|e| internal(&e))?;
    let next = listed.last().map_or(after, |entry| entry.n);
    let digest = |entry: &ListedEntry| <[u8; 32]>::try_from(entry.receipt.digest()).ok().map(ByteArray::new);
    Ok(Response::Entries { ids: listed.iter().filter_map(digest).collect(), next })
}

fn internal(error: &dyn std::error::Error) -> Refusal {
    Refusal::new(RefusalCode::Internal, error.to_string())
}

/// Which receipts of one direction a peer counts, as it says.
async fn their_ids(
    session: &SessionHandle,
    peer: Did,
    served: bool,
) -> Result<BTreeSet<ReceiptId>, BalancesError> {
    let (mut ids, mut after) = (BTreeSet::new(), 0);
    loop {
        let bad = |what: &str| BalancesError::BadAnswer { peer, what: what.to_owned() };
        let Response::Entries { ids: some, next } =
            ask(session, peer, &Request::Entries { served, after }).await?
        else {
            return Err(bad("another kind of message"));
        };
        if some.is_empty() {
            return Ok(ids);
        }
        if next <= after {
            return Err(bad("a place that is not after the last"));
        }
        after = next;
        for digest in &some {
            // Else it could go on for ever.
            if !ids.insert(receipt_of(digest)) {
                return Err(bad("a receipt that it has named before"));
            }
        }
        if ids.len() > MAX_COMPARED {
            return Err(BalancesError::TooMany);
        }
    }
}

/// The entries of one direction that count here.
fn counted(home: &Home, provider: &Did, requester: &Did) -> Result<Vec<ListedEntry>, BalancesError> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let some = home.store().entries(provider, requester, after, MAX_ENTRIES_LISTED)?;
        let Some(last) = some.last() else { return Ok(all) };
        after = last.n;
        all.extend(some);
        if all.len() > MAX_COMPARED {
            return Err(BalancesError::TooMany);
        }
    }
}

fn our_ids(home: &Home, peer: &Did) -> Result<Ids, BalancesError> {
    let own = home.did();
    let ids = |entries: Vec<ListedEntry>| entries.into_iter().map(|entry| entry.receipt).collect();
    let served = ids(counted(home, &own, peer)?);
    Ok(Ids { served, consumed: ids(counted(home, peer, &own)?) })
}

impl Requester {
    /// Exchanges balances with a peer, and says where the two differ. The peer is looked for where this home met it or
    /// knows it to be.
    pub async fn balance(&self, peer: Did) -> Result<(Exchanged, Difference), BalancesError> {
        let known = apart(&self.home, move |home| {
            let met = home.store().peers()?.into_iter().filter(|p| p.did == peer).map(|p| p.addr);
            let offers = home.store().offers(clock::now_secs())?;
            let of_peer = offers.into_iter().filter(|o| o.lease.payload().iss == peer);
            let said = of_peer.flat_map(|o| o.lease.into_payload().addrs);
            Ok(met.chain(said).collect::<Vec<_>>())
        });
        let addresses = multiaddrs(&known.await?);
        let session = self.session_at(&peer, &addresses).await;
        let session = session.map_err(|source| BalancesError::Connect { peer, source })?;
        for attempt in 1..=ATTEMPTS {
            let exchanged = exchange(&self.home, &session, peer).await?;
            let (ours, theirs) = (exchanged.ours.payload(), exchanged.theirs.payload());
            if agree(ours, theirs) {
                return Ok((exchanged, Difference::default()));
            }
            let served = their_ids(&session, peer, true).await?;
            let their_ids = Ids { served, consumed: their_ids(&session, peer, false).await? };
            let our_ids = apart(&self.home, move |home| our_ids(home, &peer)).await?;
            match compare(ours, theirs, &our_ids, &their_ids) {
                Ok(difference) => return Ok((exchanged, difference)),
                // Something was counted between the one question and the other.
                Err(CompareError::OtherList { .. }) if attempt < ATTEMPTS => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(CompareError::OtherList { who: peer }.into())
    }
}

/// Takes a verdict of this home's own into the accounts: an entry whose receipt it refutes counts nothing from now on.
/// Anybody else's changes nothing.
pub fn judged(home: &Home, verdict: &Verdict) -> Result<(), StoreError> {
    let void = actum_trust::settle(&verdict.receipt, verdict) == Settled::Void;
    if verdict.iss == home.did() && void {
        home.store().void_entry(&verdict.receipt)?;
    }
    Ok(())
}

/// Why an entry is disputed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Only this home counts it.
    OnlyOurs,
    /// Only the peer counts it: this home lacks the receipt, or has found it void.
    OnlyTheirs,
    /// This home has replayed it, and it is not what happens.
    Refuted,
}

/// A disputed entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dispute {
    /// The receipt.
    pub receipt: ReceiptId,
    /// Which way it is, as this home sees it.
    pub direction: Direction,
    /// Why it is disputed.
    pub doubt: Doubt,
    /// What replays here have shown so far; none where there was none.
    pub settled: Option<Settled>,
    /// Whether it counts nothing here.
    pub void: bool,
}

/// What this home's own verdicts on a receipt make of its entry. One that refutes it is enough.
fn settled(home: &Home, receipt: &ReceiptId) -> Result<Option<Settled>, BalancesError> {
    let verdicts = home.store().verdicts_of(receipt)?;
    let own = verdicts.iter().map(Signed::payload).filter(|verdict| verdict.iss == home.did());
    let found: Vec<_> = own.map(|verdict| actum_trust::settle(receipt, verdict)).collect();
    let first = [Settled::Void, Settled::Counts, Settled::Disputed].into_iter().find(|s| found.contains(s));
    Ok(first)
}

/// The disputed entries with a peer: where both sides' balances differ, and what this home has refuted and still counts.
pub fn disputes(home: &Home, peer: &Did, difference: &Difference) -> Result<Vec<Dispute>, BalancesError> {
    let own = home.did();
    let mut doubted: BTreeMap<ReceiptId, (Direction, Doubt)> = BTreeMap::new();
    for (direction, pair, apart) in [
        (Direction::Served, (&own, peer), &difference.served),
        (Direction::Consumed, (peer, &own), &difference.consumed),
    ] {
        for entry in home.store().judged_entries(pair.0, pair.1)? {
            if settled(home, &entry.receipt)? == Some(Settled::Void) {
                doubted.insert(entry.receipt, (direction, Doubt::Refuted));
            }
        }
        let ours = apart.only_ours.iter().map(|id| (id, Doubt::OnlyOurs));
        for (id, doubt) in ours.chain(apart.only_theirs.iter().map(|id| (id, Doubt::OnlyTheirs))) {
            doubted.entry(*id).or_insert((direction, doubt));
        }
    }
    let dispute = |(receipt, (direction, doubt))| -> Result<Dispute, BalancesError> {
        let void = home.store().entry(&receipt)?.is_some_and(|entry| entry.void);
        let settled = settled(home, &receipt)?;
        Ok(Dispute { receipt, direction, doubt, settled, void })
    };
    doubted.into_iter().map(dispute).collect()
}

/// Replays the disputed entries that are here and were not tried, and makes void those that are not what happens. `each` hears
/// of each before it is replayed. What cannot be replayed here stays disputed.
pub fn settle(
    home: &Home,
    disputes: &mut [Dispute],
    each: &mut dyn FnMut(&Dispute),
) -> Result<(), BalancesError> {
    for dispute in disputes {
        let untried = matches!(dispute.settled, None | Some(Settled::Disputed));
        if untried && home.store().entry(&dispute.receipt)?.is_some() {
            each(dispute);
            match audit::replay(home, &dispute.receipt.to_string(), ReplayOptions::default()) {
                Ok(_) => dispute.settled = settled(home, &dispute.receipt)?,
                Err(AuditError::MissingComponent { .. } | AuditError::Evidence(_)) => {
                    dispute.settled = Some(Settled::Disputed);
                }
                Err(e) => return Err(e.into()),
            }
        }
        if dispute.settled == Some(Settled::Void) {
            home.store().void_entry(&dispute.receipt)?;
            dispute.void = home.store().entry(&dispute.receipt)?.is_some_and(|entry| entry.void);
        }
    }
    Ok(())
}
