//! What a level means for one action at one provider.

use super::{Effect, Level};
use crate::{Record, Standing, reputation::ACTION_MILLI};

/// Whether a receipt is replayed, and what waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Replay {
    /// It is not.
    No,
    /// It is, in the background: the output is handed over at once.
    After,
    /// It is, and the output is handed over when it was confirmed.
    Before,
}

/// What is done about one action at one provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How many canaries the provider gets.
    pub canaries: u32,
    /// How many providers run the action, this one included.
    pub replicas: u32,
    /// Whether its receipt is replayed.
    pub replay: Replay,
    /// How many further providers are asked when this one fails.
    pub fallbacks: u32,
    /// How long its answer is waited for, in seconds.
    pub patience_seconds: u32,
    /// Whether it has to attest its machine's state.
    pub attestation: bool,
}

/// How often a plan has the action, or one like it, run beyond the once that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runs {
    /// On this machine: to know each canary's answer, and to replay.
    pub here: u32,
    /// At providers: canaries, and replicas beyond the first.
    pub there: u32,
}

/// What is done about one action of this level and effect at the provider that has this record.
///
/// `due` says whether its receipt is one of the sample ([`crate::sampling::due`]); `draw` is a random number that decides
/// whether a known provider gets a canary. While a provider is on probation, or suspect, everything is replayed before
/// its output is handed over. Canaries are for pure actions alone, as others cannot be tried without their effects;
/// replicas for pure ones and those that read, as an effect is wanted once.
pub fn plan(level: &Level, effect: Effect, record: &Record, due: bool, draw: u64) -> Plan {
    let standing = record.standing();
    let probation = record.proven() < u64::from(level.probation)
        || record.proven_here() < u64::from(level.probation_here)
        || matches!(standing, Standing::Suspect | Standing::Fraud);
    let sampled = due || level.replay_one_in.get() == 1;
    let replay = match (probation, sampled, level.before) {
        (true, _, _) | (false, true, true) => Replay::Before,
        (false, true, false) => Replay::After,
        (false, false, _) => Replay::No,
    };
    let canaries = match (effect, standing) {
        (Effect::Pure, Standing::Known) => {
            // One in two at first, one in a hundred after 98 confirmations of late.
            let rarely = record.here.good_milli / ACTION_MILLI + 2;
            u32::from(level.canaries > 0 && draw.is_multiple_of(rarely))
        }
        (Effect::Pure, _) => level.canaries,
        _ => 0,
    };
    let replicas = match effect {
        Effect::Pure => level.replicas,
        Effect::Reads => level.replicas.max(level.replicas_reads),
        Effect::Writes | Effect::Spends => 1,
    };
    Plan {
        canaries,
        replicas,
        replay,
        fallbacks: level.fallbacks,
        patience_seconds: level.patience_seconds,
        attestation: level.attestation,
    }
}

impl Plan {
    /// What it costs, in runs of the action: the minority among replicas, which is replayed too, apart.
    pub fn runs(&self) -> Runs {
        let replayed = u32::from(self.replay != Replay::No);
        Runs {
            here: self.canaries.saturating_add(replayed),
            there: self.canaries.saturating_add(self.replicas.saturating_sub(1)),
        }
    }

    /// Which checks there are and what they cost, a line each.
    pub fn explain(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let counted = |n: u32, one: &str, more: &str| format!("{n} {}", if n == 1 { one } else { more });
        if self.canaries > 0 {
            let canaries = counted(self.canaries, "canary", "canaries");
            lines.push(format!("{canaries} whose answer is known, among the real action"));
        }
        if self.replicas > 1 {
            lines.push(format!("{} providers of different operators run it and must agree", self.replicas));
        }
        lines.push(match self.replay {
            Replay::No => "the receipt is not replayed this time".to_owned(),
            Replay::After => "the receipt is replayed in the background".to_owned(),
            Replay::Before => "the receipt is replayed before the output is handed over".to_owned(),
        });
        if self.attestation {
            lines.push("the provider attests its machine's state".to_owned());
        }
        let Runs { here, there } = self.runs();
        lines.push(format!("cost beyond the action itself: {here} times as much here, {there} times there"));
        let fallbacks = counted(self.fallbacks, "further provider", "further providers");
        lines.push(format!("{} seconds of patience, then up to {fallbacks}", self.patience_seconds));
        lines
    }
}
