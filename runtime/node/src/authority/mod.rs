//! Who may ask what of this node, with how much, until when: read from a signed invocation and its proofs, decided before
//! any work is done, and asked again while the action runs.
//!
//! Everything a stranger sends is checked in the order of what it costs. What is decided by whom:
//!
//! | question | by |
//! |---|---|
//! | is the invocation the peer's, for this node, and fresh | `Gate::read` |
//! | what is its authority, and does that allow this action | `Gate::grounds` |
//! | is there room left, of quotas and of the grant's budget; was it served before | `Gate::reserve` |
//! | does the authority still hold: in the queue, at each host call | `Tenure` |

mod ended;
mod notices;
mod tenure;

use ended::Cursors;
pub use ended::Ended;
pub(crate) use notices::ASKING;
pub(crate) use tenure::Tenure;

use crate::{
    Home,
    config::Config,
    quota::{Ceiling, Exhausted, MinuteTicket, Minutes, NotReserved, Quotas, Ticket},
};
use actum_model::{
    Action, Authority, BlobId, Claim, DelegationId, Did, Granted, Invocation, Release, Signed,
    grant::{self, Terms},
    permission,
    run::{self, RunArgs, Use},
    ucan::{Args, Budget, Chain, ChainError, Known, Link, Policy, Proof, chain::within},
};
use actum_overlay::{Refusal, RefusalCode};
use actum_store::{
    Ledger, StoreError,
    ledger::{Admission, Counted, NotAdmitted, Reservation, Spent, WasServed},
};
use ipld_core::ipld::Ipld;
use serde_bytes::ByteBuf;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, atomic::AtomicBool},
    time::{Duration, Instant},
};

/// The most of its own grants that a node tries for a requester who shows none.
const ISSUED_TRIED: usize = 8;
/// When a node whose ledger is full suggests asking again: invocations are forgotten within minutes.
const FULL_RETRY_MS: u64 = 60_000;

/// Decides for one node.
pub(crate) struct Gate {
    home: Arc<Home>,
    ledger: Ledger,
    /// This node's key, and the keys it was.
    own: Vec<Did>,
    owners: Vec<Did>,
    deny: Vec<Did>,
    /// Seconds.
    skew: u64,
    ended: RwLock<Ended>,
    /// How far the ledger was read into `ended`.
    read: Mutex<Cursors>,
    known: Mutex<Known>,
    quotas: Quotas,
    minutes: Minutes,
    /// When quotas began to count.
    began: Instant,
    /// Whether the ledger has what was not read yet.
    unread: AtomicBool,
    /// How often each peer sent notices lately.
    heard: Mutex<notices::Heard>,
}

/// What was asked, by whom, as signed: nothing about whether it may be.
pub(crate) struct Asked {
    pub(crate) invocation: Signed<Invocation>,
    pub(crate) action: Action,
    claim: Claim,
    proofs: Vec<Proof>,
}

/// By what an action may run.
pub(crate) struct Grounds {
    pub(crate) authority: Authority,
    /// What it asked for and is not given.
    pub(crate) withheld: BTreeSet<Granted>,
    chain: Option<Chain>,
    /// The function's arguments, where a policy looks at them.
    input: Option<Ipld>,
    /// The most fuel it and all it calls may burn.
    fuel: u64,
}

/// What an admitted action holds of this node's quotas and of its grant's budget.
///
/// Dropped before anything was begun, it is given back; dropped afterwards, it stays counted in full.
pub(crate) struct Reserved {
    gate: Arc<Gate>,
    ticket: Option<Ticket>,
    minute: Option<MinuteTicket>,
    reservation: Option<Reservation>,
    begun: bool,
}

/// What an offer's owner says of it.
pub(crate) struct Offer<'a> {
    pub(crate) release: &'a Release,
    pub(crate) public: bool,
    pub(crate) callers: &'a [Did],
    pub(crate) allow: &'a [Granted],
}

fn refuse(code: RefusalCode, why: impl ToString) -> Refusal {
    Refusal::new(code, why.to_string())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gate {
    /// The gate of a node, which knows what its home's ledger has.
    pub(crate) fn new(home: Arc<Home>, config: &Config) -> Result<Self, StoreError> {
        let gate = Self {
            ledger: home.ledger()?.clone(),
            own: std::iter::once(home.did()).chain(home.former().iter().map(|f| f.did)).collect(),
            owners: config.owners.clone(),
            deny: config.deny.clone(),
            skew: config.clock_skew_seconds.seconds(),
            ended: RwLock::new(Ended::of(&home)),
            read: Mutex::default(),
            known: Mutex::default(),
            quotas: Quotas::new(&config.quota),
            minutes: Minutes::new(),
            began: Instant::now(),
            unread: AtomicBool::new(false),
            heard: Mutex::default(),
            home,
        };
        gate.catch_up()?;
        Ok(gate)
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Whether `key` is one of `listed`, or has been.
    pub(crate) fn lists(&self, listed: &[Did], key: &Did) -> bool {
        let ended = self.ended();
        listed.iter().any(|one| ended.means(one, key))
    }

    /// Reads an invocation of `/actum/run`: the peer's own, for this node, and of now.
    pub(crate) fn read(
        &self,
        peer: &Did,
        invocation: &[u8],
        proofs: &[ByteBuf],
        now: u64,
    ) -> Result<Asked, Refusal> {
        use RefusalCode::{BadProof, BadRequest};
        let invocation = Signed::<Invocation>::verify(invocation).map_err(|e| refuse(BadRequest, e))?;
        let said = invocation.payload();
        if said.iss != *peer {
            return Err(refuse(BadRequest, "the invocation is another's than the peer's that sent it"));
        }
        let (action, claim) = RunArgs::read(said).map_err(|e| refuse(BadRequest, e))?;
        if said.aud != Some(self.home.did()) {
            return Err(refuse(BadRequest, "the invocation is for another provider"));
        }
        self.may_ask(peer)?;
        let times = within(Link(None), said.iat, said.exp, now, self.skew);
        times.map_err(|e| chain_refusal(&e))?;
        let mut given = BTreeMap::new();
        for bytes in proofs {
            let id = DelegationId::of(bytes);
            if !said.prf.contains(&id) {
                return Err(refuse(BadRequest, "a proof came that the invocation does not name"));
            }
            let seen = lock(&self.known).get(&id).cloned();
            let proof = match seen {
                Some(proof) => proof,
                // Not under the lock: whoever sends many new ones keeps nobody else waiting.
                None => Proof::read(bytes).map_err(|e| refuse(BadProof, format!("a proof: {e}")))?,
            };
            lock(&self.known).remember(proof.clone());
            given.insert(id, proof);
        }
        let mut found = Vec::with_capacity(said.prf.len());
        for (index, id) in said.prf.iter().enumerate() {
            let proof = match given.remove(id) {
                Some(proof) => Some(proof),
                None => self.stored(id)?,
            };
            let link = Link(Some(index));
            found.push(proof.ok_or_else(|| chain_refusal(&ChainError::UnavailableProof { link, id: *id }))?);
        }
        if found.is_empty() && !self.own.contains(&said.sub) {
            let why = format!("the invocation shows no proof that its issuer may act for {}", said.sub);
            return Err(refuse(BadProof, why));
        }
        Ok(Asked { action, claim, proofs: found, invocation })
    }

    /// An invocation for this node, as the peer that signed it shows it again: nothing about when it is good, or whether it
    /// may be.
    pub(crate) fn own_invocation(&self, peer: &Did, bytes: &[u8]) -> Result<Signed<Invocation>, Refusal> {
        let bad = |why: &str| refuse(RefusalCode::BadRequest, why);
        let invocation =
            Signed::<Invocation>::verify(bytes).map_err(|e| refuse(RefusalCode::BadRequest, e))?;
        let said = invocation.payload();
        if said.iss != *peer {
            return Err(bad("the invocation is another's than the peer's that sent it"));
        }
        if !said.aud.is_some_and(|aud| self.own.contains(&aud)) {
            return Err(bad("the invocation is for another provider"));
        }
        self.may_ask(peer)?;
        Ok(invocation)
    }

    /// Whether an invocation was served here.
    pub(crate) fn was_served(&self, said: &Invocation) -> Result<WasServed, StoreError> {
        let until = said.exp.unwrap_or(0).saturating_add(self.skew);
        self.ledger.was_served(&said.iss, &said.nonce, until)
    }

    /// A delegation this home keeps.
    fn stored(&self, id: &DelegationId) -> Result<Option<Proof>, Refusal> {
        if let Some(proof) = lock(&self.known).get(id) {
            return Ok(Some(proof.clone()));
        }
        let stored = self.home.store().delegation(id).map_err(internal)?;
        Ok(stored.map(Proof::from))
    }

    /// Decides by what authority, if any, an action may run, and with what of the real world. `public` and `callers` are
    /// the offer's, and `allow` is what its owner lets anybody be given.
    pub(crate) fn grounds(
        &self,
        asked: &Asked,
        offer: &Offer<'_>,
        args: &[u8],
        now: u64,
    ) -> Result<Grounds, Refusal> {
        let peer = asked.invocation.payload().iss;
        if asked.claim != Claim::of(offer.release) {
            let r = offer.release;
            return Err(refuse(
                RefusalCode::NotOffered,
                format!("this component is offered here as {}@{} by {}", r.name, r.version, r.iss),
            ));
        }
        permission::check_granted(&asked.action.permissions)
            .map_err(|e| refuse(RefusalCode::BadRequest, e))?;
        let true_args = || match BlobId::of(args) == asked.action.args {
            true => Ok(()),
            false => Err(refuse(RefusalCode::BadRequest, "the arguments are not those the invocation names")),
        };
        let authority = match self.chain(asked, now)? {
            Some(chain) => {
                true_args()?;
                return self.judged(asked, offer, args, Some(chain), Authority::Local);
            }
            None if peer == self.home.did() => Some(Authority::Local),
            None if self.lists(offer.callers, &peer) => Some(Authority::Listed),
            None if offer.public => Some(Authority::Public),
            None => None,
        };
        let first = match authority {
            // Checked here, because it costs what the arguments weigh: a stranger with no business here gets no work done.
            Some(authority) => true_args().and_then(|()| self.judged(asked, offer, args, None, authority)),
            None => {
                let why = format!("{peer} shows no grant, and is not among the callers of this offer");
                Err(refuse(RefusalCode::NotAllowed, why))
            }
        };
        if !first.as_ref().is_err_and(|refusal| refusal.code == RefusalCode::NotAllowed) {
            return first;
        }
        let issued = self.issued(&peer, now)?;
        if issued.is_empty() {
            return first;
        }
        true_args()?;
        let mut refused = None;
        for chain in issued {
            match self.judged(asked, offer, args, Some(chain), Authority::Local) {
                Ok(grounds) => return Ok(grounds),
                Err(refusal) => refused = refused.or(Some(refusal)),
            }
        }
        refused.map_or(first, Err)
    }

    /// The grounds of a chain, or of `otherwise` without one, once what the action asks for has been compared with what it
    /// may be given, and the chain's policies have judged it as if nothing had been used yet.
    fn judged(
        &self,
        asked: &Asked,
        offer: &Offer<'_>,
        args: &[u8],
        chain: Option<Chain>,
        otherwise: Authority,
    ) -> Result<Grounds, Refusal> {
        let withheld =
            withheld(asked, offer, chain.as_ref(), otherwise == Authority::Local && chain.is_none())?;
        let looks = chain.as_ref().is_some_and(|c| c.proofs().iter().any(|p| grant::sees_input(&p.pol)));
        let input = match offer.release.functions.iter().find(|f| f.name == asked.action.function) {
            Some(function) if looks => {
                let input = run::input_of(&function.params, args);
                Some(input.map_err(|e| refuse(RefusalCode::BadRequest, e))?)
            }
            _ => None,
        };
        let authority = chain.as_ref().map_or(otherwise, |chain| Authority::Granted(chain.ids()));
        let mut given = asked.action.clone();
        given.permissions.retain(|granted| !withheld.contains(granted));
        let fuel = given.most_fuel();
        let grounds = Grounds { authority, withheld, chain, input, fuel };
        if let Some(chain) = &grounds.chain {
            let first = Use { actions: 1, fuel };
            let args = grounds.args(asked, first, first);
            let judged = chain.judge(|_, _| &args, &mut Budget::new(Budget::STEPS));
            judged.map_err(|e| chain_refusal(&e))?;
        }
        Ok(grounds)
    }

    /// The chain that an invocation names, where it names one that holds now and is rooted in this node or its owners.
    fn chain(&self, asked: &Asked, now: u64) -> Result<Option<Chain>, Refusal> {
        let said = asked.invocation.payload();
        if asked.proofs.is_empty() {
            return Ok(None);
        }
        let chain = Chain::of(asked.proofs.clone(), &said.sub, &said.iss)
            .and_then(|chain| chain.covers(&said.cmd).map(|()| chain))
            .map_err(|e| chain_refusal(&e))?;
        if !self.own.contains(chain.subject()) && !self.lists(&self.owners, chain.subject()) {
            return Err(refuse(
                RefusalCode::NotAllowed,
                format!("the grant is rooted in {}, who is nobody to this node", chain.subject()),
            ));
        }
        self.sound(&chain, now)?;
        Ok(Some(chain))
    }

    /// Whether a chain holds now, says no more further down than above, and nothing that this node cannot count.
    fn sound(&self, chain: &Chain, now: u64) -> Result<(), Refusal> {
        self.holds(chain, now)?;
        narrows(chain)?;
        countable(chain)
    }

    /// Whether a chain holds at this moment: its times, and what was revoked, rotated or denied since.
    pub(crate) fn holds(&self, chain: &Chain, now: u64) -> Result<(), Refusal> {
        chain.at(now, self.skew).map_err(|e| chain_refusal(&e))?;
        let ended = self.ended();
        let revoked = |id: &DelegationId, above: &[Did]| ended.revoked_by(id, above);
        chain.standing(&revoked).map_err(|e| chain_refusal(&e))?;
        for (index, proof) in chain.proofs().iter().enumerate() {
            if let Some(successor) = ended.dropped(proof.id(), proof) {
                let why =
                    format!("proof {index} is of a key that {successor} has succeeded without keeping it");
                return Err(refuse(RefusalCode::Revoked, why));
            }
            if self.deny.iter().any(|one| ended.same(one, &proof.iss)) {
                let why =
                    format!("proof {index} is by {}, whom this node's owner denies everything", proof.iss);
                return Err(refuse(RefusalCode::NotAllowed, why));
            }
        }
        Ok(())
    }

    /// Whether an action that waited for its turn may still run.
    pub(crate) fn still(&self, asked: &Asked, grounds: &Grounds, now: u64) -> Result<(), Refusal> {
        within(Link(None), None, asked.invocation.payload().exp, now, self.skew)
            .map_err(|e| chain_refusal(&e))?;
        self.refresh();
        self.may_ask(&asked.invocation.payload().iss)?;
        grounds.chain.as_ref().map_or(Ok(()), |chain| self.holds(chain, now))
    }

    /// Refuses a key that the owner denies everything, and one that has a successor.
    pub(crate) fn may_ask(&self, peer: &Did) -> Result<(), Refusal> {
        let ended = self.ended();
        if self.deny.iter().any(|one| ended.same(one, peer)) {
            return Err(refuse(RefusalCode::NotAllowed, "this node's owner denies this key everything"));
        }
        match ended.successor(peer) {
            // This home's own keys are as it says itself.
            Some(successor) if *peer != self.home.did() => {
                let why = format!("this key was rotated; its successor is {successor}");
                Err(refuse(RefusalCode::Revoked, why))
            }
            _ => Ok(()),
        }
    }

    /// The grants that this home has given the requester itself: nobody has to carry what lies here.
    fn issued(&self, peer: &Did, now: u64) -> Result<Vec<Chain>, Refusal> {
        let mut found = Vec::new();
        for own in &self.own {
            for delegations in
                self.home.store().chains_to(peer, Some(own), now, ISSUED_TRIED).map_err(internal)?
            {
                let proofs = delegations.into_iter().map(Proof::from).collect();
                let Ok(chain) = Chain::of(proofs, own, peer) else { continue };
                if chain.covers(&RunArgs::command()).is_ok() && self.sound(&chain, now).is_ok() {
                    found.push(chain);
                }
            }
        }
        found.truncate(ISSUED_TRIED);
        Ok(found)
    }

    /// Takes what the action needs of the node's quotas and the grant's budget, and remembers the invocation as served:
    /// all of it or nothing.
    pub(crate) fn reserve(
        self: &Arc<Self>,
        asked: &Asked,
        grounds: &Grounds,
        bytes: u64,
        now: u64,
    ) -> Result<Reserved, Refusal> {
        let said = asked.invocation.payload();
        let requester = said.iss;
        let at = self.elapsed();
        let ceiling = Ceiling { fuel: grounds.fuel, bytes };
        let ticket = match grounds.authority {
            Authority::Local => None,
            _ => Some(self.quotas.admit(&requester, ceiling, at).map_err(exhausted)?),
        };
        let mut reserved =
            Reserved { gate: self.clone(), ticket, minute: None, reservation: None, begun: false };
        let counted = grounds.counted();
        let until = |proof: &Proof| proof.exp.map(|exp| exp.saturating_add(self.skew));
        let delegations: Vec<_> =
            counted.iter().map(|(proof, _)| Counted { id: *proof.id(), until: until(proof) }).collect();
        let ids: Vec<_> = delegations.iter().map(|d| d.id).collect();
        let admission = Admission {
            requester: &requester,
            nonce: &said.nonce,
            until: said.exp.unwrap_or(now).saturating_add(self.skew),
            now,
            root: grounds.chain.as_ref().and_then(|c| c.proofs().first()).map(Proof::id),
            delegations: &delegations,
            fuel: grounds.fuel,
        };
        // Comparisons of numbers and nothing else: everybody waits for them.
        let judge = |spent: &[Spent], minute: &[Use]| {
            for (((_, most), spent), minute) in counted.iter().zip(spent).zip(minute) {
                most.holds(&use_of(spent), minute)?;
            }
            Ok::<(), String>(())
        };
        let mut over = None;
        let admitted = self.ledger.admit(&admission, |spent| {
            let refused = match self.minutes.reserve(&ids, grounds.fuel, at, |minute| judge(spent, minute)) {
                Ok(ticket) => {
                    reserved.minute = Some(ticket);
                    return Ok(());
                }
                Err(NotReserved::Full(full)) => exhausted(full),
                Err(NotReserved::Refused(over_most)) => {
                    over = Some(spent.to_vec());
                    refuse(RefusalCode::Exhausted, over_most)
                }
            };
            Err(refused)
        });
        let refused = match admitted.map_err(internal)? {
            Ok(reservation) => {
                reserved.reservation = Some(reservation);
                return Ok(reserved);
            }
            Err(refused) => refused,
        };
        let fits = |spent: &[Spent]| {
            self.minutes.fits_again(&ids, grounds.fuel, at, |minute| judge(spent, minute).is_ok())
        };
        let again = over.and_then(|spent| fits(&spent));
        Err(match refused {
            NotAdmitted::AlreadyServed => refuse(
                RefusalCode::AlreadyServed,
                "this invocation, or another with its nonce, was served before",
            ),
            NotAdmitted::Stale => {
                refuse(RefusalCode::Expired, "this node can no longer tell whether it was served")
            }
            NotAdmitted::Full { what, limit } => {
                refuse(RefusalCode::Exhausted, format!("{limit} {what} are remembered here"))
                    .retry_after_ms(FULL_RETRY_MS)
            }
            NotAdmitted::Refused(refusal) => match again {
                Some(after) => refusal.retry_after_ms(millis(after)),
                None => refusal,
            },
        })
    }
}

impl Reserved {
    /// From now on the action is served, whatever becomes of it.
    pub(crate) fn begin(&mut self) {
        self.begun = true;
    }

    /// Counts what the action used in place of what was reserved for it.
    pub(crate) fn settle(mut self, fuel: u64, bytes: u64) {
        if let Some(ticket) = self.ticket.take() {
            ticket.settle(Ceiling { fuel, bytes });
        }
        if let Some(minute) = self.minute.take() {
            minute.settle(fuel);
        }
        if let Some(reservation) = self.reservation.take()
            && let Err(error) = self.gate.ledger.settle(reservation, fuel)
        {
            tracing::error!(%error, "what was used could not be counted; all that was reserved stays counted");
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if self.begun {
            return;
        }
        if let Some(ticket) = self.ticket.take() {
            ticket.settle(Ceiling { fuel: 0, bytes: 0 });
        }
        if let Some(minute) = self.minute.take() {
            minute.take_back();
        }
        if let Some(reservation) = self.reservation.take()
            && let Err(error) = self.gate.ledger.take_back(reservation)
        {
            tracing::error!(%error, "what was reserved could not be given back");
        }
    }
}

impl Grounds {
    /// What an authority's policies see of the action.
    fn args(&self, asked: &Asked, spent: Use, minute: Use) -> Args {
        let mut args = run::policy_args(asked.invocation.payload(), self.input.clone(), spent, minute);
        if !self.withheld.is_empty() {
            let given = asked.action.permissions.difference(&self.withheld).cloned().collect();
            if run::ask_for(&mut args, &given).is_err() {
                // Nothing that policies could judge: none of them holds.
                args.clear();
            }
        }
        args
    }

    /// The delegations of its chain, root first.
    pub(crate) fn proofs(&self) -> Vec<Proof> {
        self.chain.iter().flat_map(Chain::proofs).cloned().collect()
    }

    /// The delegations with a budget or a rate, and what it is.
    fn counted(&self) -> Vec<(&Proof, Most)> {
        let most = |proof: &Proof| {
            let Terms { spent, minute, .. } = Terms::read(&proof.pol);
            Most { spent, minute }
        };
        let proofs = self.chain.iter().flat_map(Chain::proofs);
        let says = |proof: &&Proof| proof.pol.statements.iter().any(grant::is_exhaustion);
        proofs.filter(says).map(|proof| (proof, most(proof))).collect()
    }
}

/// The most that a delegation may be used for.
struct Most {
    spent: grant::Quota,
    minute: grant::Quota,
}

impl Most {
    fn holds(&self, spent: &Use, minute: &Use) -> Result<(), String> {
        let all = [
            ("spent.actions", self.spent.actions, spent.actions),
            ("spent.fuel", self.spent.fuel, spent.fuel),
            ("minute.actions", self.minute.actions, minute.actions),
            ("minute.fuel", self.minute.fuel, minute.fuel),
        ];
        match all
            .into_iter()
            .find_map(|(name, most, used)| Some((name, most?, used)).filter(|(_, m, u)| u > m))
        {
            Some((name, most, used)) => {
                Err(format!("the grant's {name} is used up: {used} with this action, where it gives {most}"))
            }
            None => Ok(()),
        }
    }
}

/// Refuses conditions on what was used that are not plain ceilings: this node counts, and does not judge counts.
fn countable(chain: &Chain) -> Result<(), Refusal> {
    for (index, proof) in chain.proofs().iter().enumerate() {
        for statement in proof.pol.statements.iter().filter(|s| grant::is_exhaustion(s)) {
            let terms = Terms::read(&Policy::new(vec![statement.clone()]));
            if !terms.other.is_empty() || !terms.input.is_empty() {
                let why =
                    format!("proof {index}: {statement}: of .spent and .minute only `<=` is known here");
                return Err(refuse(RefusalCode::NotAllowed, why));
            }
        }
    }
    Ok(())
}

/// Whether each delegation of a chain says no more than those above it.
fn narrows(chain: &Chain) -> Result<(), Refusal> {
    let links: Vec<_> = chain.proofs().iter().map(|p| p.signed().payload()).collect();
    grant::check_chain(&links).map_err(|e| refuse(RefusalCode::BadProof, e))
}

/// What of the permissions an action asks for it may not be given here. Where it does not take less than all, that is a
/// refusal.
///
/// It may have what the release asks for: as far as the grant states what may be had, else as far as the offer's owner
/// allows it. The owner's own action is allowed whatever the release asks for.
fn withheld(
    asked: &Asked,
    offer: &Offer<'_>,
    chain: Option<&Chain>,
    own: bool,
) -> Result<BTreeSet<Granted>, Refusal> {
    // What is stated lower down gives nothing that the owner's own word, the root, does not speak of.
    let stated = chain.and_then(|chain| {
        let terms: Vec<_> = chain.proofs().iter().map(|p| Terms::read(&p.pol)).collect();
        terms.first()?.permissions.as_ref()?;
        Terms::effective(&terms).permissions
    });
    let (release, mut withheld) = (offer.release, BTreeSet::new());
    for granted in &asked.action.permissions {
        let (name, kind) = (&release.name, granted.permission());
        let why = if !release.permissions.contains(&kind) {
            format!("{name}@{} does not ask for {kind}; ask without {granted}", release.version)
        } else if own {
            continue;
        } else if let Some(stated) = &stated {
            if stated.iter().any(|one| granted.within(one)) {
                continue;
            }
            format!("the grant does not give {granted}")
        } else if offer.allow.iter().any(|one| granted.within(one)) {
            continue;
        } else {
            format!(
                "{granted} is not allowed here; the owner would add \"{granted}\" to `allow` of the offer {name}"
            )
        };
        if !asked.action.partial {
            return Err(refuse(RefusalCode::NotAllowed, why));
        }
        withheld.insert(granted.clone());
    }
    Ok(withheld)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

fn use_of(spent: &Spent) -> Use {
    Use { actions: spent.actions, fuel: spent.fuel }
}

fn exhausted(exhausted: Exhausted) -> Refusal {
    let refusal = refuse(RefusalCode::Exhausted, exhausted);
    match exhausted.retry_after {
        Some(after) => refusal.retry_after_ms(millis(after)),
        None => refusal,
    }
}

fn chain_refusal(error: &ChainError) -> Refusal {
    let code = match error {
        ChainError::Expired { .. } => RefusalCode::Expired,
        ChainError::TooEarly { .. } => RefusalCode::TooEarly,
        ChainError::Revoked { .. } => RefusalCode::Revoked,
        ChainError::Policy { .. } => RefusalCode::NotAllowed,
        _ => RefusalCode::BadProof,
    };
    refuse(code, error)
}

/// A failure of this node, which is not the asker's fault.
fn internal(error: impl std::error::Error) -> Refusal {
    refuse(RefusalCode::Internal, error)
}
