//! Lookups on the advertise plane: by a requester that registries leave with nothing, and with one query in twenty to audit them.
//!
//! No registrars are here. What is found are statements that providers signed and that live; what a lookup weighs and takes, and how
//! many providers it finds, is what lookups came to where they were run ([`Walk`]).

use super::Directory;
use crate::{Kind, Span, Stream, advertise::Walk, market::Ctx};
use actum_discovery::LiveOffer;
use std::collections::BTreeMap;

/// How long is looked at most, as at a node.
const LOOK: Span = Span::from_seconds(5);
/// How many keys are looked up at once, as at a node: of the query's words. One is taken for a tag of what is wanted, which
/// everybody who offers it registered; under the others is nothing.
const KEYS: u32 = 3;

/// Who looks: what each draws.
#[derive(Default)]
pub(super) struct Lookers(BTreeMap<u32, Stream>);

/// What a lookup came to.
pub(super) struct LookedUp {
    pub(super) offers: Vec<LiveOffer>,
    pub(super) takes: Span,
}

impl Directory {
    /// A requester looks for a capability on the advertise plane. What it sends and gets is counted.
    pub(super) fn look_up(&mut self, requester: u32, capability: u8, ctx: &mut Ctx<'_>) -> LookedUp {
        let streams = ctx.streams;
        let draws = self.lookers.0.entry(requester);
        let draws = draws.or_insert_with(|| streams.of("advertised", u64::from(requester)));
        let mut offers = self.providers.advertised(capability, ctx.now().unix_seconds());
        let link = ctx.link();
        let peers = u32::try_from(ctx.population.peers.len()).unwrap_or(u32::MAX);
        let providers = u32::try_from(offers.len()).unwrap_or(u32::MAX);
        let (wanted, other) = (Walk::of_what_many_offer(peers, providers), Walk::of_nothing(peers));
        let wanted = if providers == 0 { other } else { wanted };
        let weighs = statements_weigh(&offers);
        // Question and answer: what one of them lacks is not asked of another in time.
        let answered = (1.0 - link.loss) * (1.0 - link.loss);
        let walks = (0..KEYS).map(|n| if n == 0 { wanted } else { other });
        let asked: f64 = walks.clone().map(|walk| walk.asked).sum();
        let bytes: f64 = walks.clone().map(|walk| walk.bytes(&ctx.profile.weighs, weighs)).sum();
        let messages = (asked * 2.0).round() as u64;
        // What does not come to be asked is not answered.
        let bytes = bytes * (1.0 - link.loss);
        ctx.carrier.count(Kind::Advertise, messages, bytes.round() as u64);
        let verified = walks.clone().map(|walk| walk.providers * 2.0).sum::<f64>();
        let verifies = super::times(ctx.profile.takes.verify, verified.round() as u64);
        let takes = walks.map(|walk| walk.takes(link, &ctx.profile.weighs, weighs)).max();
        let takes = takes.unwrap_or_default() + verifies;
        let all_answer = !draws.chance(1.0 - answered.powf(asked));
        let found = (wanted.providers * answered).round() as usize;
        // Of random registrars, random ones.
        for n in 0..found.min(offers.len()) {
            let other = n + draws.place(offers.len() - n);
            offers.swap(n, other);
        }
        offers.truncate(found);
        LookedUp { offers, takes: if all_answer { takes.min(LOOK) } else { LOOK } }
    }
}

/// What an ad's statements weigh on average, in bytes.
fn statements_weigh(offers: &[LiveOffer]) -> f64 {
    let bytes = offers.iter().map(|offer| offer.descriptor().bytes().len() + offer.lease().bytes().len());
    bytes.sum::<usize>() as f64 / offers.len().max(1) as f64
}
