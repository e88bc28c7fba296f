//! Who has shown that it has a component, and who is asked to.

use super::{
    Ad, Key, Prefix,
    ad::digest_of,
    limits::{PROOF_TIMEOUT_MS, PROOF_TTL_MS, PROOFS_HELD, PROOFS_IN_FLIGHT, PROOFS_PER_PREFIX},
    ticket::Secret,
};
use actum_model::{BlobId, ComponentId, Did, release::CHUNK_BYTES};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// What the driver is to do before a registrar answers: fetch from the provider, on the connection it asked on, the manifest
/// `manifest`, read it with [`actum_model::release::read_manifest`], fetch the chunk `index` that it names, check its digest,
/// and tell [`Registrar::proved`](super::Registrar::proved).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Names the challenge.
    pub id: u64,
    /// Who has to show it.
    pub provider: Did,
    /// The component.
    pub component: ComponentId,
    /// Its size in bytes, by the descriptor.
    pub component_bytes: u64,
    /// The manifest's id, by the descriptor.
    pub manifest: BlobId,
    /// The chunk to fetch, from 0.
    pub index: u64,
}

/// Why a provider did not prove that it has a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofFailed {
    /// It did not send what was asked for, or the connection ended.
    #[error("the provider did not send what was asked for")]
    Withheld,
    /// It sent a manifest other than the descriptor names, or one that does not fit the component's size.
    #[error("the manifest is not the one of the descriptor")]
    WrongManifest,
    /// It sent a chunk other than the manifest names.
    #[error("the chunk is not the one of the manifest")]
    WrongChunk,
    /// It took more than [`PROOF_TIMEOUT_MS`].
    #[error("the proof came after {PROOF_TIMEOUT_MS} ms")]
    Late,
}

impl ProofFailed {
    /// The stable code, as on wires and in metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Withheld => "proof-withheld",
            Self::WrongManifest => "proof-wrong-manifest",
            Self::WrongChunk => "proof-wrong-chunk",
            Self::Late => "proof-late",
        }
    }
}

/// A registration that waits for its proof.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) key: Key,
    pub(super) ad: Ad,
    pub(super) ip: IpAddr,
    prefix: Option<Prefix>,
    started: u64,
}

type Proven = (Did, [u8; 32]);

#[derive(Clone, Debug, Default)]
pub(super) struct Proofs {
    until: BTreeMap<Proven, u64>,
    by_end: BTreeSet<(u64, Proven)>,
    pending: BTreeMap<u64, Pending>,
    next: u64,
}

impl Proofs {
    /// Whether nothing is to be proven: there is no component, or it was shown lately.
    pub(super) fn holds(&self, ad: &Ad, now: u64) -> bool {
        proven(ad).is_none_or(|proven| self.until.get(&proven).is_some_and(|until| *until > now))
    }

    /// Asks for a proof; `None` when as many are under way as may be, or one of this provider.
    pub(super) fn ask(
        &mut self,
        secret: &Secret,
        key: Key,
        ad: Ad,
        ip: IpAddr,
        prefix: Option<Prefix>,
        now: u64,
    ) -> Option<Challenge> {
        self.pending.retain(|_, p| now < p.started.saturating_add(PROOF_TIMEOUT_MS));
        let of_prefix = self.pending.values().filter(|p| prefix.is_some() && p.prefix == prefix).count();
        let asked = self.pending.values().any(|p| p.ad.provider() == ad.provider());
        if self.pending.len() >= PROOFS_IN_FLIGHT || of_prefix >= PROOFS_PER_PREFIX || asked {
            return None;
        }
        let (provider, component) = proven(&ad)?;
        let payload = ad.descriptor()?.payload().clone();
        let chunks = payload.component_bytes.div_ceil(CHUNK_BYTES as u64);
        let index = secret.chunk(&provider, &component, now / PROOF_TTL_MS, chunks);
        let id = self.next;
        self.next += 1;
        self.pending.insert(id, Pending { key, ad, ip, prefix, started: now });
        Some(Challenge {
            id,
            provider,
            component: payload.component,
            component_bytes: payload.component_bytes,
            manifest: payload.manifest,
            index,
        })
    }

    /// Ends a challenge. `None` when it is unknown or too late.
    pub(super) fn end(&mut self, id: u64, now: u64) -> Option<Pending> {
        self.pending.remove(&id).filter(|p| now < p.started.saturating_add(PROOF_TIMEOUT_MS))
    }

    /// Remembers that a provider has shown an ad's component.
    pub(super) fn remember(&mut self, ad: &Ad, now: u64) {
        let Some(proven) = proven(ad) else { return };
        let until = now.saturating_add(PROOF_TTL_MS);
        if let Some(before) = self.until.insert(proven, until) {
            self.by_end.remove(&(before, proven));
        }
        self.by_end.insert((until, proven));
        while let Some((end, first)) = self.by_end.first().copied() {
            if end > now && self.by_end.len() <= PROOFS_HELD {
                break;
            }
            self.by_end.pop_first();
            self.until.remove(&first);
        }
    }
}

fn proven(ad: &Ad) -> Option<Proven> {
    ad.descriptor().map(|d| (ad.provider(), digest_of(d.payload().component.digest())))
}
