//! One receipt with its evidence, looked at from every side: its authority, its consistency, and its replay.

use super::{AuditError, Kind, looks, shown};
use crate::home::Home;
use actum_model::{
    Bodies, ComponentId, Divergence, Invocation, Journal, Judgement, Proof, Receipt, Signed, bundle::Bundle,
    codec,
};
use actum_sandbox::{
    LoadError, Loaded, Sandbox,
    replay::{self, ReplayError},
};
use actum_store::Evidence;
use actum_trust::AtHand;
use serde_bytes::ByteBuf;
use std::{
    collections::VecDeque,
    error::Error,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

/// A receipt and what it names, all of it checked to be that; the component apart.
pub(super) struct Case {
    pub(super) receipt: Signed<Receipt>,
    args: Vec<u8>,
    output: Option<Vec<u8>>,
    journal: Vec<u8>,
    bodies: Bodies,
    stdio: Option<Vec<u8>>,
    invocation: Option<Signed<Invocation>>,
    proofs: Vec<Proof>,
}

impl Case {
    /// Of what a home keeps. The store has checked each part when it read it.
    pub(super) fn stored(home: &Home, evidence: Evidence) -> Result<Self, AuditError> {
        let (invocation, proofs) = shown(home, &evidence)?;
        let Evidence { receipt, args, output, journal, bodies, stdio, .. } = evidence;
        Ok(Self { receipt, args, output, journal, bodies, stdio, invocation, proofs })
    }

    /// Of a bundle, which was checked when it was read; and its component.
    pub(super) fn of<C>(bundle: Bundle<C>) -> (Self, C) {
        let Bundle { component, receipt, args, output, journal, bodies, stdio, invocation, proofs, .. } =
            bundle;
        (Self { receipt, args, output, journal, bodies, stdio, invocation, proofs }, component)
    }

    pub(super) fn component(&self) -> ComponentId {
        self.receipt.payload().action.component
    }

    /// Looks at it. Whatever is wrong with it is in the answer.
    pub(super) fn look(&self, sandbox: &Sandbox, component: &Component) -> Looked {
        let said = self.receipt.payload();
        let journal = match codec::decode::<Journal>(&self.journal, Journal::MAX_BYTES) {
            Ok(journal) => journal,
            Err(e) => return Looked::of(Kind::Damaged, format!("the journal cannot be read: {e}")),
        };
        let mut wrong = Vec::new();
        if let Some(why) = self.false_authority(component) {
            wrong.push((Kind::AuthorityFalse, why));
        }
        if let Some(why) = self.inconsistency(&journal) {
            wrong.push((Kind::Inconsistent, why));
        }
        let loaded = match component {
            Component::Loaded(loaded) => Ok(&**loaded),
            Component::Refused(why) => Err(why),
            Component::Damaged(why) => return Looked::with(Kind::Damaged, why.clone(), wrong),
            Component::Missing => {
                let why = format!("the component {} is not here", self.component());
                return Looked::with(Kind::MissingComponent, why, wrong);
            }
        };
        let evidence = replay::Evidence {
            receipt: said,
            component: &[],
            args: &self.args,
            output: self.output.as_deref(),
            journal: &journal,
            bodies: &self.bodies,
            stdio: self.stdio.as_deref(),
        };
        let judgement = match replay::replay_loaded(sandbox, loaded, &evidence) {
            Ok(judgement) => judgement,
            Err(e @ ReplayError::NotNamed { .. }) => return Looked::with(Kind::Damaged, chain(&e), wrong),
            Err(e @ ReplayError::Host(_)) => return Looked::with(Kind::Failed, chain(&e), wrong),
        };
        let mut looked = match &judgement {
            Judgement::Identical => Looked::with(Kind::Identical, "identical".to_owned(), wrong),
            Judgement::NotReplayable(why) => Looked::with(Kind::NotReplayable, why.clone(), wrong),
            Judgement::Diverged(d) => {
                let mut looked = Looked::with(Kind::Diverged, format!("diverged at {}", d.at), wrong);
                looked.divergence = Some(d.clone());
                looked
            }
        };
        looked.judgement = Some(judgement);
        looked
    }

    /// What is false of the authority that the receipt names; nothing where something is only not at hand.
    fn false_authority(&self, component: &Component) -> Option<String> {
        let said = self.receipt.payload();
        // The component's own types: anyone may have signed a release. What only a release shows makes nothing false.
        let function = match component {
            Component::Loaded(loaded) if looks(&self.proofs) => loaded.function(&said.action.function),
            _ => None,
        };
        let at_hand = AtHand {
            invocation: self.invocation.as_ref(),
            proofs: &self.proofs,
            release: None,
            input: function.map(|function| (function.params.as_slice(), self.args.as_slice())),
        };
        let error = actum_trust::authority(said, &at_hand).err()?;
        let words = || format!("it did not run by the authority that it names: {error}");
        (!error.is_missing()).then(words)
    }

    /// Where the receipt does not fit its own action or its own evidence.
    fn inconsistency(&self, journal: &Journal) -> Option<String> {
        let said = self.receipt.payload();
        let named = journal.bodies();
        let bodies = named.iter().filter_map(|id| self.bodies.get(id));
        let bodies: Vec<_> = bodies.map(|bytes| ByteBuf::from(bytes.as_slice())).collect();
        let asked = actum_trust::Asked {
            provider: said.iss,
            action: &said.action,
            invocation: said.invocation,
            chain: &[],
            profiles: &[said.profile],
            output: self.output.as_deref(),
            journal: &self.journal,
            bodies: &bodies,
            stdio: self.stdio.as_deref(),
        };
        actum_trust::consistency(said, &asked).err().map(|why| why.to_string())
    }
}

/// What looking at one receipt showed.
pub(super) struct Looked {
    pub(super) kind: Kind,
    pub(super) says: String,
    pub(super) also: Vec<String>,
    pub(super) divergence: Option<Divergence>,
    /// What running it again showed, where it came to that.
    pub(super) judgement: Option<Judgement>,
}

impl Looked {
    pub(super) fn of(kind: Kind, says: String) -> Self {
        Self { kind, says, also: Vec::new(), divergence: None, judgement: None }
    }

    /// With what else is wrong: the first kind in the order of [`Kind`] is what it is said to be, but that being
    /// identical comes last.
    fn with(kind: Kind, says: String, wrong: Vec<(Kind, String)>) -> Self {
        let mut all = wrong;
        if kind != Kind::Identical {
            all.push((kind, says.clone()));
            all.sort_by_key(|(kind, _)| *kind);
        }
        let mut all = all.into_iter();
        let (kind, says) = all.next().unwrap_or((kind, says));
        let also = all.map(|(_, says)| says).collect();
        Self { kind, says, also, divergence: None, judgement: None }
    }
}

/// What became of a component when it was wanted.
pub(super) enum Component {
    Loaded(Arc<Loaded>),
    /// It is no component that runs here, or could not be compiled now.
    Refused(LoadError),
    Missing,
    Damaged(String),
}

impl Component {
    pub(super) fn load(sandbox: &Sandbox, bytes: &[u8]) -> Self {
        sandbox.load(bytes).map_or_else(Self::Refused, Self::Loaded)
    }

    /// The component of that id in a home.
    pub(super) fn stored(home: &Home, sandbox: &Sandbox, id: &ComponentId) -> Self {
        if let Some(loaded) = sandbox.loaded(id) {
            return Self::Loaded(loaded);
        }
        match home.store().component(id) {
            Ok(Some(bytes)) => Self::load(sandbox, &bytes),
            Ok(None) => Self::Missing,
            Err(e) => Self::Damaged(chain(&e)),
        }
    }
}

/// Components held between receipts: 64, as many as a sandbox keeps.
const MAX_HELD: usize = 64;

type Slot = Arc<OnceLock<Arc<Component>>>;

/// The components met last, so that each is read, checked and compiled once however many receipts name it, and one that
/// is refused is not compiled again for each.
#[derive(Default)]
pub(super) struct Components(Mutex<VecDeque<(ComponentId, Slot)>>);

impl Components {
    /// The component of this id, which `get` gets; others who want the same one meanwhile wait for it.
    pub(super) fn of(&self, id: ComponentId, get: impl FnOnce() -> Component) -> Arc<Component> {
        let slot = {
            let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let found = held.iter().find(|(held, _)| *held == id).map(|(_, slot)| Arc::clone(slot));
            found.unwrap_or_else(|| {
                if held.len() >= MAX_HELD {
                    held.pop_front();
                }
                let slot = Slot::default();
                held.push_back((id, Arc::clone(&slot)));
                slot
            })
        };
        let component = Arc::clone(slot.get_or_init(|| Arc::new(get())));
        // The next receipt may bring it.
        if matches!(*component, Component::Missing) {
            let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            held.retain(|(_, other)| !Arc::ptr_eq(other, &slot));
        }
        component
    }
}

/// An error with its causes, as one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut last = error.to_string();
    let mut text = last.clone();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if words != last {
            text = format!("{text}: {words}");
        }
        last = words;
        next = cause.source();
    }
    text
}
