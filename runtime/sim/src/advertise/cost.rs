//! What one lookup comes to, as it was measured here: so that a market can have lookups without a network of registrars.

use super::Looked;
use crate::{
    Span,
    profile::{Link, Weighs},
};

/// What one lookup does, on average.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Walk {
    /// Peers asked. All of them answer.
    pub asked: f64,
    /// Peers that the answers name.
    pub named: f64,
    /// Ads in the answers, those known already among them.
    pub ads: f64,
    /// Different providers found.
    pub providers: f64,
    /// How long it takes, in round trips of the link's median.
    pub round_trips: f64,
}

/// What lookups were measured to come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Walked {
    /// What they did.
    pub walk: Walk,
    /// How long one took, in milliseconds.
    pub ms: f64,
    /// What all sent for one, in bytes.
    pub bytes: f64,
}

impl Walked {
    /// The mean of some lookups that are over, for which so many bytes were sent over such links.
    pub(super) fn of(looked: &[Looked], bytes: u64, link: Link) -> Self {
        let each = |sum: f64| sum / looked.len().max(1) as f64;
        let mean = |of: fn(&Looked) -> f64| each(looked.iter().map(of).sum());
        let ms = mean(|l| l.took.map_or(0.0, Span::millis));
        let walk = Walk {
            asked: mean(|l| l.asked as f64),
            named: mean(|l| l.named as f64),
            ads: mean(|l| l.ads as f64),
            providers: mean(|l| l.found.len() as f64),
            round_trips: ms / (2.0 * link.one_way.millis()).max(0.001),
        };
        Self { walk, ms, bytes: each(bytes as f64) }
    }
}
