//! Looking at one accusation: getting its proof and what that takes, judging it, and drawing the consequences.

use super::{Accusing, wanted};
use crate::{
    clock,
    content::{self, Source},
    events::NodeEvent,
    fraud::{
        bounds::FUEL,
        judge::{Judged, tried},
        make::with_true_release,
        queue::Waiting,
    },
    home::Home,
};
use actum_model::{Did, FraudProof};
use actum_overlay::{Overlay, Request, Response, SessionHandle};
use actum_store::{Offence, ProofState, StoreError};
use std::time::Duration;

/// How long a peer may take to give a proof: 8 MiB on a slow line.
const PROOF_IN: Duration = Duration::from_secs(30);
/// How long it may take to get a component.
const COMPONENT_IN: Duration = Duration::from_secs(120);
/// How often a proof is tried whose parts were not to be had.
const TRIES: u32 = 3;
/// How long is waited between two tries.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// Why an accusation is not looked at to the end.
const SETTLED: &str =
    "its provider is proven a liar by now, or it was judged, or its sender is not heard any more";

/// What came of looking at an accusation.
pub(super) enum Outcome {
    /// It was judged.
    Judged { from: Did, proof: Box<FraudProof>, judged: Judged },
    /// What the sender gave is no such proof.
    Wrong { from: Did, why: String },
    /// What it takes could not be had.
    NotHad(String),
    /// There is no room for it before then.
    Later(Duration),
    /// It is not looked at further.
    Left(String),
}

/// One who says that it has a proof, and is connected.
struct Sender {
    did: Did,
    /// Whether this home has had to do with it.
    known: bool,
    session: SessionHandle,
}

impl Accusing {
    /// Gets a proof from one of those who say they have it, and judges it.
    pub(super) async fn look_at(&self, overlay: &Overlay, waiting: &Waiting) -> Outcome {
        let mut why = "nobody who accuses is connected".to_owned();
        let (mut any, mut later) = (false, None);
        for from in &waiting.senders {
            let known = match self.still_wanted(*from, waiting).await {
                Ok(Some(known)) => known,
                Ok(None) => continue,
                Err(error) => return Outcome::Left(error),
            };
            any = true;
            let Some(session) = overlay.session_with(from) else { continue };
            let sender = Sender { did: *from, known, session };
            match self.look_at_of(&sender, waiting).await {
                // Another may give what this one does not, or have more left of what it may cost.
                Outcome::NotHad(of_this) => why = of_this,
                Outcome::Later(after) => {
                    later = Some(later.map_or(after, |other: Duration| other.min(after)))
                }
                outcome => return outcome,
            }
        }
        match later {
            Some(after) => Outcome::Later(after),
            None if any => Outcome::NotHad(why),
            None => Outcome::Left(SETTLED.to_owned()),
        }
    }

    /// Gets the proof from this one, and judges it.
    async fn look_at_of(&self, sender: &Sender, waiting: &Waiting) -> Outcome {
        // Nothing is fetched that could not be counted.
        if let Some(after) = self.fetched_enough(sender, 1) {
            return Outcome::Later(after);
        }
        let request = Request::Proof { receipt: waiting.receipt };
        match sender.session.request(&request, PROOF_IN).await {
            Ok(Response::Proof { car }) => self.look_into(sender, waiting, car).await,
            Ok(Response::Refused { refusal }) => Outcome::NotHad(refusal.to_string()),
            Ok(_) => Outcome::NotHad("it answered something else than a proof".to_owned()),
            Err(error) => Outcome::NotHad(error.to_string()),
        }
    }

    /// Whether this home has had to do with a sender that is still heard, of what was not judged meanwhile; else nothing.
    async fn still_wanted(&self, from: Did, waiting: &Waiting) -> Result<Option<bool>, String> {
        let (receipt, provider) = (waiting.receipt, waiting.provider);
        let known = self.blocking(move |home| wanted(home, &from, &receipt, &provider)).await?;
        Ok(known.map(|known| known.sender))
    }

    async fn look_into(&self, sender: &Sender, waiting: &Waiting, car: Vec<u8>) -> Outcome {
        let (from, known) = (sender.did, sender.known);
        if let Some(after) = self.fetched_enough(sender, car.len() as u64) {
            return Outcome::Later(after);
        }
        let read = self.blocking(move |_| Ok(FraudProof::from_bytes(&car))).await;
        let proof = match read {
            Ok(Ok(proof)) => proof,
            Ok(Err(error)) => return Outcome::Wrong { from, why: error.to_string() },
            Err(error) => return Outcome::Left(error),
        };
        let said = proof.bundle.receipt.payload();
        if proof.bundle.receipt.id() != waiting.receipt || said.iss != waiting.provider {
            return Outcome::Wrong { from, why: "it is about another receipt or provider".to_owned() };
        }
        let fuel = said.action.limits.fuel;
        if fuel > FUEL {
            return Outcome::Left(format!(
                "its action may burn {fuel} fuel, and {FUEL} an hour are spent here"
            ));
        }
        // What can be told without its component is told without fetching it.
        let profile = match self.home.sandbox() {
            Ok(sandbox) => sandbox.profile_id(),
            Err(error) => return Outcome::Left(error.to_string()),
        };
        if said.profile != profile {
            let judged = Judged::Undecided(format!("it needs profile {}", said.profile));
            return Outcome::Judged { from, proof: Box::new(proof), judged };
        }
        {
            let mut state = self.state();
            if !state.bounds.fuel.has(&from, known, fuel, self.at()) {
                return Outcome::Later(state.bounds.fuel.again(&from));
            }
        }
        let component = match self.component(&proof, sender).await {
            Ok(component) => component,
            Err(why) => return Outcome::NotHad(why),
        };
        let Ok(_turn) = self.turn.acquire().await else { return Outcome::Left("this node ends".to_owned()) };
        match self.still_wanted(from, waiting).await {
            Ok(Some(_)) => {}
            Ok(None) => return Outcome::Left(SETTLED.to_owned()),
            Err(error) => return Outcome::Left(error),
        }
        if !self.state().bounds.fuel.take(&from, known, fuel, self.at()) {
            return Outcome::Later(self.at().saturating_add(RETRY_AFTER));
        }
        let judging = move |home: &Home| -> Result<(Box<FraudProof>, Judged), String> {
            let sandbox = home.sandbox().map_err(|e| e.to_string())?;
            let judged = tried(sandbox, &proof.bundle, &component).map_err(|e| e.to_string())?;
            let mut proof = Box::new(proof);
            if matches!(judged, Judged::Proven(_)) {
                with_true_release(home, &mut proof.bundle, &component).map_err(|e| e.to_string())?;
            }
            Ok((proof, judged))
        };
        match self.blocking(judging).await {
            Ok((proof, judged)) => Outcome::Judged { from, proof, judged },
            // This host failed, as where its compiler was busy. Nothing is remembered of the receipt.
            Err(error) => Outcome::NotHad(error),
        }
    }

    /// Counts bytes that a sender has this node fetch; where they are too many, when there is room again.
    fn fetched_enough(&self, sender: &Sender, bytes: u64) -> Option<Duration> {
        let (mut state, at) = (self.state(), self.at());
        let allowance = &mut state.bounds.bytes;
        (!allowance.take(&sender.did, sender.known, bytes, at)).then(|| allowance.again(&sender.did))
    }

    /// The component of a proof, from this home or from whoever sent the proof.
    async fn component(&self, proof: &FraudProof, sender: &Sender) -> Result<Vec<u8>, String> {
        if let Some(component) = &proof.bundle.component {
            return Ok(component.clone());
        }
        let id = proof.bundle.receipt.payload().action.component;
        let here = self.blocking(move |home| content::whole(home, &id).map_err(|e| e.to_string()));
        if let Some(component) = here.await? {
            return Ok(component);
        }
        let release =
            proof.bundle.release.as_ref().ok_or("its component is not here, nor a release of it")?;
        let release = release.payload();
        if self.fetched_enough(sender, release.component_bytes).is_some() {
            return Err("its accuser has had enough fetched for today".to_owned());
        }
        let sessions = [sender.session.clone()];
        let mut progress = |_, _| {};
        let obtain = content::obtain(&self.home, Source::Release(release), &sessions, &mut progress);
        match tokio::time::timeout(COMPONENT_IN, obtain).await {
            Ok(obtained) => obtained.map_err(|e| e.to_string()),
            Err(_) => Err(format!("{id} took more than {} s", COMPONENT_IN.as_secs())),
        }
    }

    /// Draws the consequences; what is to be looked at again is given back, and what the log is to say.
    pub(super) async fn settle(
        &self,
        waiting: Waiting,
        outcome: Outcome,
    ) -> (Option<Waiting>, Option<NodeEvent>) {
        let (receipt, provider) = (waiting.receipt, waiting.provider);
        match outcome {
            Outcome::Judged { from, proof, judged } => {
                let (state, offence) = match &judged {
                    Judged::Proven(divergence) => {
                        tracing::warn!(%provider, %receipt, at = divergence.at, "a lie is proven");
                        (ProofState::Proven, None)
                    }
                    Judged::Refuted => {
                        tracing::warn!(%from, %provider, %receipt, "a provider was accused of a lie that is none");
                        (ProofState::Refuted, Some(from))
                    }
                    Judged::Undecided(why) => {
                        tracing::info!(%provider, %receipt, why, "an accusation cannot be judged here");
                        (ProofState::Undecided, None)
                    }
                };
                let keep = move |home: &Home| {
                    let keep = || -> Result<(), StoreError> {
                        let now = clock::now_secs();
                        if let (ProofState::Proven, Some(release)) = (state, &proof.bundle.release) {
                            // Those that this node tells fetch the component here by it.
                            home.store().put_release(release)?;
                        }
                        home.store().put_proof(&receipt, &provider, state, &proof.to_bytes(false), now)?;
                        offence
                            .map_or(Ok(()), |from| home.store().put_offence(&from, Offence::WrongProof, now))
                    };
                    keep().map_err(|e| e.to_string())
                };
                if let Err(error) = self.blocking(keep).await {
                    tracing::error!(error, "what came of an accusation could not be kept");
                }
                match state {
                    ProofState::Proven => self.proven.notify_one(),
                    ProofState::Refuted => self.state().queue.forget(&from),
                    ProofState::Undecided => {}
                }
                (None, Some(NodeEvent::Accused { from, provider, receipt, state }))
            }
            Outcome::Wrong { from, why } => {
                tracing::warn!(%from, %receipt, why, "a peer sent a wrong proof");
                let note = move |home: &Home| {
                    let noted = home.store().put_offence(&from, Offence::WrongProof, clock::now_secs());
                    noted.map_err(|e| e.to_string())
                };
                if let Err(error) = self.blocking(note).await {
                    tracing::error!(error, "what a peer was caught at could not be remembered");
                }
                self.state().queue.forget(&from);
                // Others who say that they have it may be honest.
                let senders: Vec<Did> = waiting.senders.iter().copied().filter(|did| *did != from).collect();
                let again = (!senders.is_empty()).then_some(Waiting { senders, ..waiting });
                (again, Some(NodeEvent::WrongProof { from, provider, receipt, why }))
            }
            Outcome::NotHad(why) => {
                let tries = waiting.tries.saturating_add(1);
                tracing::debug!(%provider, %receipt, why, tries, "a proof could not be had");
                let after = self.at().saturating_add(RETRY_AFTER);
                ((tries < TRIES).then_some(Waiting { tries, after, ..waiting }), None)
            }
            Outcome::Later(after) => (Some(Waiting { after, ..waiting }), None),
            Outcome::Left(why) => {
                tracing::info!(%provider, %receipt, why, "an accusation is left aside");
                (None, None)
            }
        }
    }
}
