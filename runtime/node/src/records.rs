//! What this home has seen of each provider, as trust policy reads it: loaded once a provider, kept up to date in memory,
//! and written behind the calls that it comes from. How it is held and what it amounts to, `actum-trust` says.

use crate::{balances, clock, home::Home};
use actum_model::{ComponentId, Did, Judgement, ReceiptId, Rotation, Signed, Verdict};
use actum_store::{Experienced, StoreError, VERDICTS_AT_ONCE};
pub use actum_trust::{Event, Record};
use actum_trust::{Experience, Held, Reputation, reputation::MAX_EVENTS};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The most providers whose events are held in memory; then all are read anew.
const MAX_HELD: usize = 1_024;
/// The most events written at once, and the most that a killed process loses. What condemns a provider is written at once.
const WRITTEN_AT_ONCE: usize = 64;
/// The most verifiers whose opinions of one provider are weighed.
const MAX_VERIFIERS: usize = 32;
/// How often it is looked whether a provider was condemned elsewhere, by somebody's proof or by this home's own replay in
/// another process or an audit, in seconds.
const LOOK_EVERY: u64 = 1;

/// One home's records.
pub(crate) struct Records {
    home: Arc<Home>,
    reputation: Reputation,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: BTreeMap<Did, Provider>,
    unwritten: Vec<Experienced>,
    /// Whose former keys each key is.
    former: Option<BTreeMap<Did, BTreeSet<Did>>>,
}

struct Provider {
    held: Held,
    /// It, and who it was before.
    keys: Vec<Did>,
    /// When it was last looked what was found elsewhere, in seconds since the Unix epoch.
    looked: u64,
}

impl Records {
    pub(crate) fn new(home: Arc<Home>) -> Self {
        Self { home, reputation: Reputation::default(), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A provider's record, as it bears on this component.
    pub(crate) fn of(&self, provider: &Did, component: &ComponentId) -> Result<Record, StoreError> {
        let now = clock::now_secs();
        let mut state = self.state();
        let of = self.held(&mut state, provider)?;
        look(&self.home, of, now)?;
        if let Some(record) = of.held.fresh(component, now) {
            return Ok(record.clone());
        }
        let own = &of.keys;
        let verifiers = of.held.events().filter_map(|event| event.verifier).filter(|v| !own.contains(v));
        let verifiers: BTreeSet<Did> = verifiers.collect();
        let mut known = BTreeMap::new();
        // Only what this home saw itself of those who say something makes their word worth anything.
        for verifier in verifiers.into_iter().take(MAX_VERIFIERS) {
            let of = self.held(&mut state, &verifier)?;
            look(&self.home, of, now)?;
            known.insert(verifier, of.held.read(Some(component), now, &self.reputation, &BTreeMap::new()));
        }
        // Where there was no room for all of them, it was read anew.
        let of = self.held(&mut state, provider)?;
        look(&self.home, of, now)?;
        Ok(of.held.record(component, now, &self.reputation, &known))
    }

    /// Whether a provider, or whom it was before, was seen to lie here, or is proven a liar by somebody's proof that was verified
    /// here.
    pub(crate) fn lied(&self, provider: &Did) -> Result<bool, StoreError> {
        let mut state = self.state();
        let of = self.held(&mut state, provider)?;
        look(&self.home, of, clock::now_secs())?;
        Ok(of.held.lied() || of.held.proven().is_some())
    }

    /// Reads anew what is kept of these.
    pub(crate) fn forget(&self, providers: &BTreeSet<Did>) -> Result<(), StoreError> {
        let mut state = self.state();
        // What was seen of them and is not written would not be read.
        self.write(&mut state)?;
        state.held.retain(|did, _| !providers.contains(did));
        Ok(())
    }

    /// Which of a provider's receipts the next is, counted from 0, with those of earlier processes. Each is told once: actions
    /// that go on at the same time are different receipts.
    pub(crate) fn next_receipt_of(&self, provider: &Did) -> Result<u64, StoreError> {
        let mut state = self.state();
        let of = self.held(&mut state, provider)?;
        Ok(of.held.next_receipt())
    }

    /// Takes in what an action showed.
    pub(crate) fn note(
        &self,
        provider: Did,
        component: ComponentId,
        what: Experience,
        receipt: Option<ReceiptId>,
    ) -> Result<(), StoreError> {
        let at = clock::now_secs();
        let mut state = self.state();
        let event = Event { provider, component, at, what, verifier: None, receipt };
        self.held(&mut state, &provider)?.held.note(event);
        let row = experienced(self.home.did(), provider, component, at, what, receipt);
        let urgent = row.lasts;
        state.unwritten.push(row);
        if urgent || state.unwritten.len() >= WRITTEN_AT_ONCE {
            self.write(&mut state)?;
        }
        Ok(())
    }

    /// Writes what is not written yet.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        self.write(&mut self.state())
    }

    fn write(&self, state: &mut State) -> Result<(), StoreError> {
        if !state.unwritten.is_empty() {
            self.home.store().put_experiences(&state.unwritten)?;
            state.unwritten.clear();
        }
        Ok(())
    }

    fn held<'a>(&self, state: &'a mut State, provider: &Did) -> Result<&'a mut Provider, StoreError> {
        if state.held.len() >= MAX_HELD && !state.held.contains_key(provider) {
            self.write(state)?;
            state.held.clear();
        }
        if state.former.is_none() {
            state.former = Some(former(&self.home)?);
        }
        let State { held, former, .. } = state;
        match held.entry(*provider) {
            std::collections::btree_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let keys = former.as_ref().and_then(|former| former.get(provider)).into_iter().flatten();
                let keys: Vec<Did> = keys.copied().chain([*provider]).collect();
                let mut events = Vec::new();
                for key in &keys {
                    events.extend(events_with(&self.home, key)?);
                }
                let receipts = self.home.store().receipts_of(provider)?;
                Ok(entry.insert(Provider { held: Held::of(events, receipts), keys, looked: 0 }))
            }
        }
    }
}

/// A provider's record, of no capability in particular; for people to read.
pub fn overall(home: &Home, provider: &Did) -> Result<Record, StoreError> {
    Ok(Whole::read(home, provider)?.record(None))
}

/// The newest events with a provider, and with whom it was before, newest first; for people to read.
pub fn newest(home: &Home, provider: &Did, limit: usize) -> Result<Vec<Event>, StoreError> {
    let mut events = Vec::new();
    for key in keys_of(&former(home)?, provider) {
        events.extend(events_with(home, &key)?);
    }
    events.sort_by_key(|event| std::cmp::Reverse(event.at));
    events.truncate(limit);
    Ok(events)
}

/// A provider's record, as it bears on each component there is experience of; for people to read.
pub fn records_of(home: &Home, provider: &Did) -> Result<Vec<(ComponentId, Record)>, StoreError> {
    let whole = Whole::read(home, provider)?;
    let own = whole.held.events().filter(|event| event.verifier.is_none());
    let components: BTreeSet<ComponentId> = own.map(|event| event.component).collect();
    Ok(components.into_iter().map(|component| (component, whole.record(Some(&component)))).collect())
}

/// All that a provider's record is made of, read at once.
struct Whole {
    held: Held,
    known: BTreeMap<Did, Record>,
    now: u64,
}

impl Whole {
    fn read(home: &Home, provider: &Did) -> Result<Self, StoreError> {
        let (mut events, mut known, now) = (Vec::new(), BTreeMap::new(), clock::now_secs());
        let keys = keys_of(&former(home)?, provider);
        for key in &keys {
            events.extend(events_with(home, key)?);
        }
        for verifier in events.iter().filter_map(|event| event.verifier) {
            if known.len() < MAX_VERIFIERS && !known.contains_key(&verifier) && !keys.contains(&verifier) {
                let mut own = Held::of(events_with(home, &verifier)?, 0);
                own.prove(proven(home, std::slice::from_ref(&verifier))?);
                known.insert(verifier, own.read(None, now, &Reputation::default(), &BTreeMap::new()));
            }
        }
        let mut held = Held::of(events, 0);
        held.prove(proven(home, &keys)?);
        Ok(Self { held, known, now })
    }

    fn record(&self, component: Option<&ComponentId>) -> Record {
        self.held.read(component, self.now, &Reputation::default(), &self.known)
    }
}

/// The events with one key, oldest first. Verdicts from before events were kept count as events.
pub(crate) fn events_with(home: &Home, provider: &Did) -> Result<Vec<Event>, StoreError> {
    let store = home.store();
    let mut rows = store.experiences_with(provider, MAX_EVENTS)?;
    let judged = |row: &Experienced| {
        matches!(row.kind.as_str(), "identical" | "diverged" | "not-replayable") && own(home, &row.verifier)
    };
    if !rows.iter().any(judged) {
        let verdicts = store.verdicts_about(provider)?;
        let mut made = Vec::new();
        for verdict in verdicts.iter().filter(|verdict| own(home, &verdict.payload().iss)) {
            made.extend(from_verdict(home, verdict)?);
        }
        if !made.is_empty() {
            store.put_experiences(&made)?;
            rows = store.experiences_with(provider, MAX_EVENTS)?;
        }
    }
    rows.reverse();
    Ok(rows.into_iter().filter_map(|row| event(home, row)).collect())
}

fn event(home: &Home, row: Experienced) -> Option<Event> {
    let what = Experience::parse(&row.kind, row.millis)?;
    let verifier = (!own(home, &row.verifier)).then_some(row.verifier);
    let Experienced { provider, component, at, receipt, .. } = row;
    Some(Event { provider, component, at, what, verifier, receipt })
}

/// Takes in what condemns a provider and was found elsewhere since it was last looked.
fn look(home: &Home, of: &mut Provider, now: u64) -> Result<(), StoreError> {
    if now.saturating_sub(of.looked) < LOOK_EVERY {
        return Ok(());
    }
    of.looked = now;
    of.held.prove(proven(home, &of.keys)?);
    if !of.held.lied() {
        for key in &of.keys {
            // What lasts comes first.
            let newest = home.store().experiences_with(key, 1)?;
            for found in newest.into_iter().filter_map(|row| event(home, row)).filter(Event::is_own_lie) {
                of.held.note(found);
            }
        }
    }
    Ok(())
}

/// The receipt by which one of these keys was proven a liar, by somebody's proof that was verified here.
fn proven(home: &Home, keys: &[Did]) -> Result<Option<ReceiptId>, StoreError> {
    for key in keys {
        if let Some(receipt) = home.store().proven_liar(key)? {
            return Ok(Some(receipt));
        }
    }
    Ok(None)
}

fn own(home: &Home, did: &Did) -> bool {
    *did == home.did() || home.former().iter().any(|former| former.did == *did)
}

/// A key, and those that handed over to it.
fn keys_of(former: &BTreeMap<Did, BTreeSet<Did>>, provider: &Did) -> Vec<Did> {
    former.get(provider).into_iter().flatten().copied().chain([*provider]).collect()
}

/// Whose former keys each key is, as far as their rotations are known here.
fn former(home: &Home) -> Result<BTreeMap<Did, BTreeSet<Did>>, StoreError> {
    let (mut next, mut after) = (BTreeMap::new(), 0);
    loop {
        let page = home.ledger()?.rotations_after(after, 256)?;
        let Some((last, _)) = page.last() else { break };
        after = *last;
        for (_, bytes) in page {
            if let Ok(rotation) = Signed::<Rotation>::verify(&bytes) {
                next.insert(rotation.payload().iss, rotation.payload().to);
            }
        }
    }
    let mut former: BTreeMap<Did, BTreeSet<Did>> = BTreeMap::new();
    for old in next.keys() {
        // A line of keys has no end of its own: at most so many are followed.
        let mut heir = *old;
        for _ in 0..MAX_HEIRS {
            match next.get(&heir) {
                Some(to) if to != old => heir = *to,
                _ => break,
            }
            former.entry(heir).or_default().insert(*old);
        }
    }
    Ok(former)
}

/// How far a line of rotated keys is followed.
const MAX_HEIRS: usize = 64;

/// Keeps one's own verdict, and that it bears on its provider's record.
pub(crate) fn judged(home: &Home, verdict: &Signed<Verdict>) -> Result<(), StoreError> {
    home.store().put_verdict(verdict)?;
    balances::judged(home, verdict.payload())?;
    if let Some(made) = from_verdict(home, verdict)? {
        home.store().put_experiences(&[made])?;
    }
    Ok(())
}

/// As [`judged`], of many verdicts in few transactions, each with the component of its receipt, which is here.
pub(crate) fn judged_all(home: &Home, verdicts: &[(Signed<Verdict>, ComponentId)]) -> Result<(), StoreError> {
    for together in verdicts.chunks(VERDICTS_AT_ONCE) {
        let signed: Vec<_> = together.iter().map(|(verdict, _)| verdict.clone()).collect();
        home.store().put_verdicts(&signed)?;
        for verdict in &signed {
            balances::judged(home, verdict.payload())?;
        }
        let events = together.iter().map(|(verdict, component)| {
            let said = verdict.payload();
            let what = experience(&said.judgement);
            experienced(said.iss, said.provider, *component, said.iat, what, Some(said.receipt))
        });
        home.store().put_experiences(&events.collect::<Vec<_>>())?;
    }
    Ok(())
}

/// What a judgement is to a record.
pub(crate) fn experience(judgement: &Judgement) -> Experience {
    match judgement {
        Judgement::Identical => Experience::Identical,
        Judgement::Diverged(_) => Experience::Diverged,
        Judgement::NotReplayable(_) => Experience::NotReplayable,
    }
}

/// A verdict as an event; none where its receipt is not here, so that nobody knows of what it was.
pub(crate) fn from_verdict(
    home: &Home,
    verdict: &Signed<Verdict>,
) -> Result<Option<Experienced>, StoreError> {
    let said = verdict.payload();
    let Some(receipt) = home.store().receipt(&said.receipt)? else { return Ok(None) };
    let (component, what) = (receipt.payload().action.component, experience(&said.judgement));
    Ok(Some(experienced(said.iss, said.provider, component, said.iat, what, Some(said.receipt))))
}

fn experienced(
    verifier: Did,
    provider: Did,
    component: ComponentId,
    at: u64,
    what: Experience,
    receipt: Option<ReceiptId>,
) -> Experienced {
    let millis = match what {
        Experience::Served { millis } => millis,
        _ => 0,
    };
    let lasts = matches!(what, Experience::Diverged);
    Experienced { provider, component, at, kind: what.name().to_owned(), millis, receipt, verifier, lasts }
}
