//! The verdict: a verifier's signed judgement of one receipt.

use crate::{Did, ProfileId, ReceiptId, Signed, Statement, VerdictId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What re-execution showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judgement {
    /// Same outcome, output, fuel, memory, journal and stdio.
    Identical,
    /// The receipt is not what happens: the first difference.
    Diverged(Divergence),
    /// It could not be tried here, and why.
    NotReplayable(String),
}

/// The first difference between a receipt and its re-execution, both sides in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Divergence {
    /// What differs: `outcome`, `output` with the place in it (`output.rows[3].key`), `fuel`, `memory`, `journal entry N`
    /// or `stdio`.
    pub at: String,
    /// What the receipt says.
    pub receipt: String,
    /// What re-execution gave.
    pub replay: String,
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identical => f.write_str("identical"),
            Self::Diverged(d) => {
                write!(f, "diverged at {}: receipt {}, replay {}", d.at, d.receipt, d.replay)
            }
            Self::NotReplayable(why) => write!(f, "not-replayable: {why}"),
        }
    }
}

/// This receipt, re-executed under this profile, was judged so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// The verifier, who signs.
    pub iss: Did,
    /// When, by the verifier's clock, in seconds since the Unix epoch.
    pub iat: u64,
    /// The receipt judged.
    pub receipt: ReceiptId,
    /// Whose receipt it is.
    pub provider: Did,
    /// The profile the verifier ran.
    pub profile: ProfileId,
    /// What it showed.
    pub judgement: Judgement,
}

impl Statement for Verdict {
    const TAG: &'static str = "actum/verdict@1";
    const MAX_BYTES: usize = 16 << 10;
    fn issuer(&self) -> Did {
        self.iss
    }
}

impl Signed<Verdict> {
    /// The verdict's id.
    pub fn id(&self) -> VerdictId {
        VerdictId::of(self.bytes())
    }
}
