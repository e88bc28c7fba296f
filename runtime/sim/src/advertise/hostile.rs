//! What hostile registrars give out.

use super::{
    Conduct, Net,
    statements::{describe, leased},
};
use crate::{Span, Stream, Streams, Time};
use actum_discovery::{Validity, advertise::limits::ANSWER_ADS};
use actum_model::{Offer, Release, SecretKey, Signed};
use std::sync::Arc;

/// How long accomplices' statements are used before they sign others.
const FRESH: Span = Span::from_seconds(600);
/// The accomplices whose ads are given out.
const SHILLS: usize = 500;

/// What hostile peers share.
#[derive(Debug)]
pub(super) struct Hostile {
    /// The numbers of accomplices.
    pub(super) shills: Vec<u32>,
    /// What they say they offer.
    lie: Option<Arc<Signed<Release>>>,
    /// What a forged ad is of that belongs under another key.
    other: Option<Arc<Signed<Release>>>,
    /// When their ads were signed, and the ads.
    signed: Option<(Time, Vec<Offer>)>,
    draws: Stream,
}

impl Hostile {
    pub(super) fn new(streams: Streams) -> Self {
        Self { shills: Vec::new(), lie: None, other: None, signed: None, draws: streams.of("hostile", 0) }
    }
}

fn carried(descriptor: &[u8], lease: &[u8]) -> Offer {
    Offer { descriptor: descriptor.to_vec().into(), lease: lease.to_vec().into() }
}

impl Net {
    /// What hostile registrars give out ads of, whatever they are asked for: `lie`, and where it is to be of another key,
    /// `other`. Without it they give out none.
    pub fn lie_about(&mut self, lie: Arc<Signed<Release>>, other: Arc<Signed<Release>>) {
        (self.hostile.lie, self.hostile.other) = (Some(lie), Some(other));
    }

    /// Ten accomplices' ads, signed and alive.
    pub(super) fn shilled(&mut self) -> Vec<Offer> {
        let now = self.engine.now();
        let Some(lie) = self.hostile.lie.clone() else { return Vec::new() };
        if self.hostile.signed.as_ref().is_none_or(|(made, _)| now >= *made + FRESH) {
            let validity = validity(now, 0, 3_600);
            let shills = self.hostile.shills.iter().take(SHILLS);
            let offers = shills.filter_map(|n| self.node(*n)).filter_map(|node| {
                let lease = leased(&node.secret, node.peer.addrs(), validity, 0);
                Some(carried(describe(&lie, &node.secret, validity)?.bytes(), lease.bytes()))
            });
            self.hostile.signed = Some((now, offers.collect()));
        }
        let Some((_, offers)) = &self.hostile.signed else { return Vec::new() };
        let from = self.hostile.draws.place(offers.len());
        offers.iter().cycle().skip(from).take(offers.len().min(ANSWER_ADS)).cloned().collect()
    }

    /// An ad that is none: of another key, with a dead descriptor, with a dead lease, with a lease that does not cover it, or
    /// with the lease of somebody else.
    pub(super) fn forged(&mut self) -> Vec<Offer> {
        let now = self.engine.now();
        let draws = &mut self.hostile.draws;
        let (pick, seed, whose) = (draws.below(5), draws.number(), draws.place(self.nodes.len()));
        let secret = SecretKey::from_seed(&self.streams.bytes("forged", seed));
        let release = if pick == 0 { &self.hostile.other } else { &self.hostile.lie };
        let alive = validity(now, 0, 3_600);
        let dead = validity(now, 7_200, 3_600);
        let Some(descriptor) =
            release.as_ref().and_then(|r| describe(r, &secret, if pick == 1 { dead } else { alive }))
        else {
            return Vec::new();
        };
        let own = ["/ip4/192.0.2.1/tcp/4001".to_owned()];
        let honest = || {
            let nodes = self.nodes.iter().cycle().skip(whose).take(self.nodes.len());
            nodes.into_iter().find(|node| node.conduct == Conduct::Honest)
        };
        let lease = match (pick, honest()) {
            (2, _) => leased(&secret, &own, dead, 0),
            (3, _) => leased(&secret, &own, alive, alive.seq.saturating_add(8)),
            (4, Some(node)) => leased(&node.secret, node.peer.addrs(), alive, 0),
            _ => leased(&secret, &own, alive, 0),
        };
        vec![carried(descriptor.bytes(), lease.bytes())]
    }
}

/// Statements made so many seconds ago that live so many.
fn validity(now: Time, ago: u64, life: u64) -> Validity {
    let nbf = now.unix_seconds().saturating_sub(ago);
    Validity { seq: nbf, nbf, exp: nbf.saturating_add(life) }
}
