//! What providers that this home verified itself say of those it does not know: their own verdicts, signed. They weigh a
//! little (see `actum-trust`), and condemn nobody.

use super::{Found, Requester};
use crate::{clock, home::Home, records};
use actum_model::{ComponentId, Did, Signed, Verdict};
use actum_overlay::{Refusal, RefusalCode, Request, Response};
use actum_store::{Experienced, StoreError};
use actum_trust::Standing;
use serde_bytes::ByteBuf;
use std::{collections::BTreeSet, sync::PoisonError, time::Duration};

/// How long the answers are waited for: nothing depends on them.
const DEADLINE: Duration = Duration::from_millis(500);
/// The most that are asked, and the most that they are asked about.
const VERIFIERS: usize = 3;
const ABOUT: usize = 4;
/// The most providers that one requester asks about, each once.
const MAX_HEARD: usize = 256;
/// The most verdicts that are told about one provider, the newest.
const TOLD: usize = actum_overlay::MAX_VERDICTS;

impl Requester {
    /// Asks those candidates that this home knows about those that it does not, and keeps what they say.
    pub(super) async fn hear_opinions(&self, candidates: &[Found]) -> Result<(), StoreError> {
        let (mut known, mut unknown) = (BTreeSet::new(), BTreeSet::new());
        for found in candidates {
            let d = found.offer.descriptor().payload();
            match self.records.of(&d.iss, &d.component)?.standing() {
                Standing::Known if known.len() < VERIFIERS => known.insert(d.iss),
                Standing::Unknown if unknown.len() < ABOUT => unknown.insert(d.iss),
                _ => continue,
            };
        }
        if known.is_empty() {
            return Ok(());
        }
        {
            let mut asked = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            unknown.retain(|about| asked.len() < MAX_HEARD && asked.insert(*about));
        }
        if unknown.is_empty() {
            return Ok(());
        }
        let of = |did: &Did| candidates.iter().find(|f| f.offer.descriptor().payload().iss == *did);
        let pairs = known.iter().flat_map(|verifier| unknown.iter().map(move |about| (*verifier, *about)));
        let asking = pairs.filter_map(|(verifier, about)| Some((of(&verifier)?, verifier, about)));
        let asking = asking.map(async |(found, verifier, about)| {
            let session = self.session(found).await.ok()?;
            let answer = session.request(&Request::Verdicts { about }, DEADLINE).await.ok()?;
            let Response::Verdicts { verdicts } = answer else { return None };
            Some((verifier, about, verdicts))
        });
        let asked = tokio::time::timeout(DEADLINE, futures::future::join_all(asking)).await;
        let mut heard = Vec::new();
        for (verifier, about, verdicts) in asked.unwrap_or_default().into_iter().flatten() {
            heard.extend(verdicts.iter().filter_map(|bytes| said(bytes, verifier, about)));
        }
        if !heard.is_empty() {
            self.home.store().put_experiences(&heard)?;
            self.records.forget(&unknown)?;
        }
        Ok(())
    }
}

/// What one verdict says, where it is the verifier's own and about whom was asked.
fn said(bytes: &[u8], verifier: Did, about: Did) -> Option<Experienced> {
    let verdict = Signed::<Verdict>::verify(bytes).ok()?;
    let said = verdict.payload();
    if said.iss != verifier || said.provider != about {
        return None;
    }
    Some(Experienced {
        provider: about,
        // Which it was, only its receipt says.
        component: ComponentId::of(b""),
        at: said.iat.min(clock::now_secs()),
        kind: records::experience(&said.judgement).name().to_owned(),
        millis: 0,
        receipt: Some(said.receipt),
        verifier,
        lasts: false,
    })
}

/// Tells a peer this home's own verdicts about a provider.
pub(crate) fn tell(home: &Home, about: &Did) -> Result<Response, Refusal> {
    let verdicts = home.store().newest_verdicts_about(about, TOLD.saturating_mul(4));
    let verdicts = verdicts.map_err(|e| Refusal::new(RefusalCode::Internal, e.to_string()))?;
    let own = verdicts.iter().filter(|verdict| verdict.payload().iss == home.did());
    Ok(Response::Verdicts { verdicts: own.take(TOLD).map(|v| ByteBuf::from(v.bytes())).collect() })
}
