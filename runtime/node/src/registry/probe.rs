//! Canaries: before an offer is ranked, its provider is asked for one action whose answer is known, an example of the
//! release's. Nothing about it says that it is one.

use super::{PROBE_EVERY, PROBES};
use crate::{
    clock,
    invoke::{self, Choices},
    node::Service,
    wallet::Calling,
};
use actum_discovery::{LiveOffer, agrees};
use actum_model::{BlobId, Claim, Example, Receipt, Release, Signed};
use actum_overlay::{Multiaddr, Overlay, RefusalCode, Request, Response, SessionHandle, fetch_release};
use actum_registry::Registry;
use actum_trust::{Asked, consistency};
use std::{collections::BTreeSet, time::Duration};

/// How long a probe may take in all.
const DEADLINE: Duration = Duration::from_secs(15);
/// Seconds that the invocation of a probe is good for.
const LIFE: u64 = 60;

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probed {
    /// The provider did what it offers.
    Answers,
    /// It did not.
    Fails,
    /// It had no room now: to be asked again.
    Busy,
}

/// Probes what was not probed yet, a few at a time. Runs until it is dropped.
pub(super) async fn run(service: &Service, registry: &Registry, overlay: &Overlay) {
    let own = service.home.did();
    loop {
        tokio::time::sleep(PROBE_EVERY).await;
        let offers = registry.to_probe(PROBES, clock::now_secs());
        let probes = offers.iter().map(async |offer| {
            let d = offer.descriptor().payload();
            if d.iss == own {
                registry.probe_result(&d.iss, &d.release, true);
                return;
            }
            let probed = tokio::time::timeout(DEADLINE, probe(service, overlay, offer)).await;
            let (probed, why) = match probed {
                Ok(Ok(probed)) => (probed, String::new()),
                Ok(Err(why)) => (Probed::Fails, why),
                Err(_) => (Probed::Fails, format!("no answer in {} s", DEADLINE.as_secs())),
            };
            match probed {
                Probed::Busy => {}
                Probed::Answers => drop(registry.probe_result(&d.iss, &d.release, true)),
                Probed::Fails => {
                    tracing::info!(provider = %d.iss, name = %d.name, why, "a probe failed");
                    registry.probe_result(&d.iss, &d.release, false);
                }
            }
        });
        futures::future::join_all(probes).await;
    }
}

async fn probe(service: &Service, overlay: &Overlay, offer: &LiveOffer) -> Result<Probed, String> {
    let (d, lease) = (offer.descriptor().payload(), offer.lease().payload());
    let addresses: Vec<Multiaddr> = lease.addrs.iter().filter_map(|a| a.parse().ok()).collect();
    let session = overlay.connect_to(&d.iss, &addresses).await.map_err(|e| e.to_string())?;
    let release = match service.home.store().release(&d.release).map_err(|e| e.to_string())? {
        Some(release) => release,
        None => fetch_release(&session, d.release).await.map_err(|e| e.to_string())?,
    };
    agrees(d, &release).map_err(|e| e.to_string())?;
    let smallest = release.payload().examples.iter().min_by_key(|e| e.args.len() + e.output.len());
    match smallest {
        // What only some may call, or has no example, has shown by its release that it is there.
        Some(example) if d.public => ask(service, &session, &release, example).await,
        _ => Ok(Probed::Answers),
    }
}

/// Asks for one example, and compares.
async fn ask(
    service: &Service,
    session: &SessionHandle,
    release: &Signed<Release>,
    example: &Example,
) -> Result<Probed, String> {
    let (provider, iat) = (session.peer(), clock::now_secs());
    let known = release.payload();
    let function = known.functions.iter().find(|f| f.name == example.function);
    let function = function.ok_or("the example is of a function that is not offered")?;
    let action =
        invoke::action(service.home.did(), known.component, function, &example.args, Choices::default());
    let (claim, fixed) = (Claim::of(known), BTreeSet::new());
    let calling = Calling {
        provider,
        action: &action,
        fixed: &fixed,
        claim: &claim,
        function,
        args: &example.args,
        exp: iat.saturating_add(LIFE),
        iat,
    };
    let key = service.home.key().map_err(|e| e.to_string())?;
    let signed = Signed::try_sign(calling.invocation(None), key).map_err(|e| e.to_string())?;
    let call = Request::Call {
        invocation: signed.bytes().to_vec(),
        proofs: Vec::new(),
        args: example.args.to_vec(),
    };
    let answer = session.request(&call, DEADLINE).await.map_err(|e| e.to_string())?;
    let (receipt, output, journal, bodies, stdio) = match answer {
        Response::Done { receipt, output, journal, bodies, stdio } => {
            (receipt, output, journal, bodies, stdio)
        }
        Response::Refused { refusal } => {
            use RefusalCode::{Busy, Exhausted, ShuttingDown};
            return match refusal.code {
                Busy | Exhausted | ShuttingDown => Ok(Probed::Busy),
                _ => Err(refusal.to_string()),
            };
        }
        _ => return Err("it answered something else".to_owned()),
    };
    let receipt = Signed::<Receipt>::verify(&receipt).map_err(|e| e.to_string())?;
    let asked = Asked {
        provider,
        action: &action,
        invocation: Some(signed.id()),
        chain: &[],
        profiles: &[service.provider.profile()],
        output: output.as_deref(),
        journal: &journal,
        bodies: &bodies,
        stdio: stdio.as_deref(),
    };
    consistency(receipt.payload(), &asked).map_err(|e| e.to_string())?;
    let answered = receipt.payload().outcome.output();
    match answered == Some(&BlobId::of(&example.output)) {
        true => Ok(Probed::Answers),
        false => Err(format!("it ended as {}, not as the example does", receipt.payload().outcome)),
    }
}
