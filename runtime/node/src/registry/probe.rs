//! Canaries: before an offer is ranked, its provider is asked for one action whose answer is known, an example of the
//! release's. Nothing about it says that it is one.

use super::{Keeping, PROBE_EVERY, PROBES, PROBES_PER_PREFIX, blocking};
use crate::{
    clock,
    invoke::{self, Choices},
    node::Service,
    requester::addresses,
    wallet::Calling,
};
use actum_discovery::{
    LiveOffer,
    advertise::{LocalAddresses, Prefix},
    agrees,
};
use actum_model::{BlobId, Claim, Did, Example, Receipt, Release, Signed, id::sha256};
use actum_overlay::{Overlay, RefusalCode, Request, Response, SessionHandle, fetch_release};
use actum_registry::{Probe, ip_of};
use actum_trust::{Asked, consistency};
use futures::{StreamExt, stream::FuturesUnordered};
use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Duration};

/// How long a probe may take in all.
const DEADLINE: Duration = Duration::from_secs(15);
/// Seconds that the invocation of a probe is good for.
const LIFE: u64 = 60;

/// Who is being probed, and at which address if its lease has one.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    provider: Did,
    ip: Option<IpAddr>,
}

/// Probes what is due, a few at a time, the next as soon as one ends. Runs until it is dropped.
pub(super) async fn run(service: &Service, keeping: &Arc<Keeping>, overlay: &Overlay) {
    let local = service.plane.local();
    let mut probing = FuturesUnordered::new();
    let mut under_way: Vec<UnderWay> = Vec::new();
    loop {
        while under_way.len() < PROBES {
            let Some(offer) = next(keeping, under_way.clone(), local).await else { break };
            let lease = offer.lease().payload();
            under_way.push(UnderWay { provider: lease.iss, ip: ip_of(lease) });
            probing.push(probe_one(service, keeping, overlay, offer));
        }
        tokio::select! {
            Some(ended) = probing.next() => under_way.retain(|other| other.provider != ended),
            () = tokio::time::sleep(PROBE_EVERY) => {}
        }
    }
}

/// An offer that may be probed now.
async fn next(keeping: &Arc<Keeping>, under_way: Vec<UnderWay>, local: LocalAddresses) -> Option<LiveOffer> {
    let offer = blocking(keeping, move |registry| {
        registry.to_probe(clock::now_secs(), |provider, ip| may_join(&under_way, local, provider, ip))
    });
    offer.await?
}

/// Whether a provider may be probed beside those. Leases without an IP address count as of one prefix: anybody can write such
/// a lease.
fn may_join(under_way: &[UnderWay], local: LocalAddresses, provider: &Did, ip: Option<IpAddr>) -> bool {
    let prefix = |ip: Option<IpAddr>| ip.map(Prefix::of);
    let of_its_prefix = under_way.iter().filter(|other| prefix(other.ip) == prefix(ip)).count();
    let counts = ip.is_none_or(|ip| local.counts(ip));
    let known = under_way.iter().any(|other| other.provider == *provider);
    !known && (!counts || of_its_prefix < PROBES_PER_PREFIX)
}

/// Probes an offer, tells the registry how that ended, and gives its provider back.
async fn probe_one(service: &Service, keeping: &Arc<Keeping>, overlay: &Overlay, offer: LiveOffer) -> Did {
    let d = offer.descriptor().payload();
    let probed = match d.iss == service.home.did() {
        true => Ok(Probe::Answered),
        false => tokio::time::timeout(DEADLINE, probe(service, overlay, &offer))
            .await
            .unwrap_or_else(|_| Err(format!("no answer in {} s", DEADLINE.as_secs()))),
    };
    let ended = probed.unwrap_or_else(|why| {
        tracing::info!(provider = %d.iss, name = %d.name, why, "a probe failed");
        Probe::Silent
    });
    let descriptor = sha256(offer.descriptor().bytes());
    blocking(keeping, move |registry| registry.probe_result(&descriptor, ended, clock::now_secs())).await;
    d.iss
}

async fn probe(service: &Service, overlay: &Overlay, offer: &LiveOffer) -> Result<Probe, String> {
    let d = offer.descriptor().payload();
    let session = overlay.connect_named(&d.iss, &addresses(offer)).await.map_err(|e| e.to_string())?;
    let release = match service.home.store().release(&d.release).map_err(|e| e.to_string())? {
        Some(release) => release,
        None => fetch_release(&session, d.release).await.map_err(|e| e.to_string())?,
    };
    agrees(d, &release).map_err(|e| e.to_string())?;
    let smallest = release.payload().examples.iter().min_by_key(|e| e.args.len() + e.output.len());
    match smallest {
        // What only some may call, or has no example, has shown by its release that it is there.
        Some(example) if d.public => ask(service, &session, &release, example).await,
        _ => Ok(Probe::Answered),
    }
}

/// Asks for one example, and compares.
async fn ask(
    service: &Service,
    session: &SessionHandle,
    release: &Signed<Release>,
    example: &Example,
) -> Result<Probe, String> {
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
        Response::Done { receipt, output, journal, bodies, stdio, .. } => {
            (receipt, output, journal, bodies, stdio)
        }
        Response::Refused { refusal } => {
            use RefusalCode::{Busy, Exhausted, ShuttingDown};
            return match refusal.code {
                Busy | Exhausted | ShuttingDown => Ok(Probe::Busy),
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
        true => Ok(Probe::Answered),
        false => Err(format!("it ended as {}, not as the example does", receipt.payload().outcome)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actum_model::SecretKey;

    #[test]
    fn one_at_a_time_of_a_provider_and_two_of_a_prefix() {
        let did = |n| SecretKey::from_seed(&[n; 32]).did();
        let ip = |ip: &str| Some(ip.parse::<IpAddr>().unwrap());
        let at = |n, ip| UnderWay { provider: did(n), ip };
        let under_way = [at(1, ip("192.0.2.1")), at(2, ip("192.0.2.2")), at(3, None), at(4, ip("127.0.0.1"))];
        let may = |n, ip, local| may_join(&under_way, local, &did(n), ip);
        let count = LocalAddresses::Count;
        assert!(!may(1, ip("198.51.100.1"), count), "it is being probed");
        assert!(!may(5, ip("192.0.2.3"), count), "two of 192.0.2.0/24 are");
        assert!(!may(5, ip("::ffff:192.0.2.3"), count));
        assert!(may(5, ip("192.0.3.3"), count) && may(5, ip("2001:db8::1"), count));
        assert!(may(5, None, count));
        let both = [at(3, None), at(4, None)];
        assert!(!may_join(&both, count, &did(5), None), "without an address they are of one prefix");
        let both = [at(3, ip("127.0.0.1")), at(4, ip("127.0.0.1"))];
        assert!(!may_join(&both, count, &did(5), ip("127.0.0.2")));
        assert!(may_join(&both, LocalAddresses::Exempt, &did(5), ip("127.0.0.2")));
        assert!(!may_join(&both, LocalAddresses::Exempt, &did(4), ip("127.0.0.2")));
    }
}
