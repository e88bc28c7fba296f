//! What a provider says: the truth, or which lie.

use crate::{Stream, params::Conduct};
use actum_model::{BlobId, Did, Outcome};
use actum_trust::{Effect, OutcomeDigest};

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// What happens.
    Truth,
    /// Something of its own.
    Lie,
    /// The lie that all of one ring tell.
    RingsLie,
    /// Something of the world that is not so, from which the output follows.
    OfTheWorld,
}

impl Said {
    /// Whether the output is right.
    pub(super) fn is_right(self) -> bool {
        self == Self::Truth
    }

    /// Whether replay says that this is what happens. It takes the journal's word for what the world said.
    pub(super) fn replays(self) -> bool {
        matches!(self, Self::Truth | Self::OfTheWorld)
    }

    /// How the action ended, to compare with what others say of it. `receipt`: which this is, of `provider`.
    pub(super) fn digest(self, provider: &Did, receipt: u64) -> OutcomeDigest {
        let output = match self {
            Self::Truth => BlobId::of(b"what happens"),
            Self::RingsLie => BlobId::of(b"what the ring says"),
            Self::Lie | Self::OfTheWorld => {
                BlobId::of(&[provider.as_bytes().as_slice(), &receipt.to_be_bytes()].concat())
            }
        };
        OutcomeDigest::of(&Outcome::Ok(output))
    }
}

/// What a provider says to the next action it executes. `before`: how many it has executed, canaries among them.
pub(super) fn says(conduct: Conduct, canary: bool, effect: Effect, before: u64, draws: &mut Stream) -> Said {
    match conduct {
        Conduct::Honest | Conduct::NeverAnswers | Conduct::Refuses => Said::Truth,
        Conduct::Lies | Conduct::Whitewashes => Said::Lie,
        Conduct::LiesOneIn { one_in } => match draws.below(u64::from(one_in)) {
            0 => Said::Lie,
            _ => Said::Truth,
        },
        Conduct::Turns { after } if before < u64::from(after) => Said::Truth,
        Conduct::Turns { .. } => Said::Lie,
        Conduct::TellsCanaries { probability } => match canary && draws.chance(probability) {
            true => Said::Truth,
            false => Said::Lie,
        },
        Conduct::Colludes => Said::RingsLie,
        Conduct::LiesOfTheWorld if effect > Effect::Pure => Said::OfTheWorld,
        Conduct::LiesOfTheWorld => Said::Truth,
    }
}
