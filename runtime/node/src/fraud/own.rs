//! Proofs of the lies that this home found itself: by an audit, a call's checks or a replay, in this process or another.

use super::{
    judge::{Judged, verify},
    make::{self, is_own},
};
use crate::{clock, home::Home};
use actum_model::{Did, Judgement, ReceiptId, fraud::MAX_SPREAD_BYTES};
use actum_store::{ProofRecord, ProofState, StoreError};

/// The last so many verdicts of a home are looked at by a command that leaves: those that it may have come to itself.
const LAST_VERDICTS: u64 = 64;
/// How many verdicts are read at once, and how often at a time: 8,192 in half a second.
const VERDICTS: usize = 256;
const VERDICT_READS: usize = 32;
/// The most lies of this home's own finding that wait for what a proof takes, those of one provider, and how often each is
/// tried. One proof of a provider is enough, and the first of its lies may be one that cannot be proven.
const MAX_OWN: usize = 64;
const MAX_OWN_OF_ONE: usize = 4;
const OWN_TRIES: u32 = 120;

/// What came of trying to make and keep a proof of a verdict of this home's.
enum Made {
    /// It is kept, or another one of the same provider is.
    Done,
    /// What it takes is not here yet.
    NotYet,
}

/// Makes a proof of a receipt that this home has found to be false, runs it again as its receivers will, and keeps it.
/// A provider that was proven a liar already needs no more.
fn make_own(home: &Home, receipt: &ReceiptId, provider: &Did) -> Result<Made, StoreError> {
    if home.store().proven_liar(provider)?.is_some() {
        return Ok(Made::Done);
    }
    let proof = match make::proof(home, &receipt.to_string()) {
        Ok(proof) => proof,
        Err(make::ProofError::NotShown { .. }) => return Ok(Made::Done),
        Err(error) => {
            tracing::debug!(%receipt, %error, "there is no proof of this lie yet");
            return Ok(Made::NotYet);
        }
    };
    match verify(home, &proof) {
        Ok(Judged::Proven(_)) => {}
        Ok(Judged::Refuted) => {
            tracing::error!(%receipt, "a verdict says that this receipt diverged, and it does not");
            return Ok(Made::Done);
        }
        Ok(Judged::Undecided(why)) => {
            tracing::debug!(%receipt, why, "this lie cannot be proven yet");
            return Ok(Made::NotYet);
        }
        Err(error) => {
            tracing::error!(%receipt, %error, "this lie cannot be proven");
            return Ok(Made::NotYet);
        }
    }
    if let Some(release) = &proof.bundle.release {
        // Peers that lack the component fetch it here by the release.
        home.store().put_release(release)?;
    }
    let mut bytes = proof.to_bytes(false);
    if bytes.len() > MAX_SPREAD_BYTES {
        tracing::info!(%receipt, bytes = bytes.len(), "this proof is too large to be spread");
        bytes.clear();
    }
    home.store().put_proof(receipt, provider, ProofState::Proven, &bytes, clock::now_secs())?;
    tracing::info!(%receipt, %provider, "a lie is proven");
    Ok(Made::Done)
}

/// Makes proofs of this home's last verdicts where there are none yet; gives those that can be spread.
pub(super) fn last_made(home: &Home) -> Result<Vec<ProofRecord>, StoreError> {
    let last = home.store().last_verdict()?;
    let verdicts = home.store().verdicts_after(last.saturating_sub(LAST_VERDICTS), LAST_VERDICTS as usize)?;
    let mut made = Vec::new();
    for (_, verdict) in verdicts {
        let said = verdict.payload();
        let lie = matches!(said.judgement, Judgement::Diverged(_)) && make::is_own(home, said);
        if !lie || home.store().proof_of(&said.receipt)?.is_some() {
            continue;
        }
        make_own(home, &said.receipt, &said.provider)?;
        let kept = home.store().proof_of(&said.receipt)?;
        made.extend(kept.filter(|proof| proof.state == ProofState::Proven && proof.bytes > 0));
    }
    Ok(made)
}

/// The lies that this home found itself: how far its verdicts were read, and those of which there is no proof yet.
#[derive(Default)]
pub(super) struct Own {
    read: u64,
    waiting: Vec<(ReceiptId, Did, u32)>,
}

impl Own {
    /// Reads on in the verdicts, and makes the proofs that can be made.
    pub(super) fn look(mut self, home: &Home) -> Self {
        for _ in 0..VERDICT_READS {
            let verdicts = match home.store().verdicts_after(self.read, VERDICTS) {
                Ok(verdicts) => verdicts,
                Err(error) => {
                    tracing::error!(%error, "verdicts cannot be read");
                    break;
                }
            };
            if verdicts.is_empty() || self.waiting.len() >= MAX_OWN {
                break;
            }
            for (place, verdict) in &verdicts {
                // The rest is read when there is room.
                if self.waiting.len() >= MAX_OWN {
                    break;
                }
                self.read = *place;
                let said = verdict.payload();
                let lie = matches!(said.judgement, Judgement::Diverged(_)) && is_own(home, said);
                let of_one =
                    self.waiting.iter().filter(|(_, provider, _)| *provider == said.provider).count();
                let known = self.waiting.iter().any(|(receipt, _, _)| *receipt == said.receipt);
                if lie && !known && of_one < MAX_OWN_OF_ONE {
                    self.waiting.push((said.receipt, said.provider, 0));
                }
            }
        }
        let tried = self.waiting.into_iter().filter_map(|(receipt, provider, tries)| {
            let made = make_own(home, &receipt, &provider).unwrap_or_else(|error| {
                tracing::error!(%error, %receipt, "a proof could not be kept");
                Made::NotYet
            });
            let tries = tries.saturating_add(1);
            (matches!(made, Made::NotYet) && tries < OWN_TRIES).then_some((receipt, provider, tries))
        });
        Self { read: self.read, waiting: tried.collect() }
    }
}
