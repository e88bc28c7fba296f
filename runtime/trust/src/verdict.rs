//! From a receipt and its evidence to a verdict, through whoever can re-execute.

use actum_model::{
    BlobId, Bodies, Did, Divergence, Journal, Judgement, ProfileId, Receipt, Signed, Verdict, codec,
};

/// The longest text of a verdict, in bytes: 4 KiB each for both sides of a divergence, or for a reason. Longer ones are
/// cut, so that every verdict fits in its envelope.
pub const MAX_REASON_BYTES: usize = 4 << 10;

/// What re-executing a receipt needs.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The component's binary.
    pub component: &'a [u8],
    /// The canonical encoding of the arguments.
    pub args: &'a [u8],
    /// The canonical encoding of the output, where the outcome names one.
    pub output: Option<&'a [u8]>,
    /// The journal's canonical bytes.
    pub journal: &'a [u8],
    /// The bodies the journal names by id.
    pub bodies: &'a Bodies,
    /// The encoded [`actum_model::receipt::Stdio`], where the receipt names one.
    pub stdio: Option<&'a [u8]>,
}

/// Something that can run an action again. The sandbox is one; tests have simpler ones.
pub trait Replayer {
    /// The profile it runs, as its verdicts will say.
    fn profile(&self) -> ProfileId;

    /// Runs the receipt's action again and says what that showed.
    ///
    /// Called once a verdict, with evidence that is what the receipt names. It may take as long as the action's limits
    /// allow. What it cannot try is [`Judgement::NotReplayable`], never an error: a broken host accuses nobody.
    fn replay(&self, receipt: &Receipt, evidence: &Evidence<'_>) -> Judgement;
}

/// Re-executes a receipt and gives the verdict to sign. `now` is in seconds since the Unix epoch.
///
/// Evidence that is not what the receipt names says nothing about the provider: the verdict is then `not-replayable`.
pub fn examine(
    replayer: &impl Replayer,
    receipt: &Signed<Receipt>,
    evidence: &Evidence<'_>,
    verifier: Did,
    now: u64,
) -> Verdict {
    let judgement = match foreign(receipt.payload(), evidence) {
        Some(part) => Judgement::NotReplayable(format!("the {part} given is not the one the receipt names")),
        None => replayer.replay(receipt.payload(), evidence),
    };
    verdict(receipt, judgement, verifier, replayer.profile(), now)
}

/// The first part of the evidence that the receipt does not name.
fn foreign(receipt: &Receipt, evidence: &Evidence<'_>) -> Option<&'static str> {
    let optional = |id: Option<&BlobId>, bytes: Option<&[u8]>| match (id, bytes) {
        (Some(id), Some(bytes)) => id.names(bytes),
        (id, bytes) => id.is_none() && bytes.is_none(),
    };
    let action = &receipt.action;
    [
        ("component", action.component.names(evidence.component)),
        ("arguments", action.args.names(evidence.args)),
        ("output", optional(receipt.outcome.output(), evidence.output)),
        ("journal", receipt.journal.names(evidence.journal)),
        ("body of the journal", whole(evidence.journal, evidence.bodies)),
        ("stdio", optional(receipt.stdio.as_ref(), evidence.stdio)),
    ]
    .into_iter()
    .find_map(|(part, named)| (!named).then_some(part))
}

/// Whether these are the bodies the journal names. What is wrong with a journal that is none, re-execution shows.
fn whole(journal: &[u8], bodies: &Bodies) -> bool {
    let named = codec::decode::<Journal>(journal, Journal::MAX_BYTES).map(|j| j.bodies()).unwrap_or_default();
    named.len() == bodies.len() && named.iter().all(|id| bodies.get(id).is_some_and(|b| id.names(b)))
}

/// The verdict that a judgement makes, to be signed by `verifier`. `now` is in seconds since the Unix epoch.
pub fn verdict(
    receipt: &Signed<Receipt>,
    judgement: Judgement,
    verifier: Did,
    profile: ProfileId,
    now: u64,
) -> Verdict {
    let judgement = match judgement {
        Judgement::Identical => Judgement::Identical,
        Judgement::NotReplayable(why) => Judgement::NotReplayable(cut(why)),
        Judgement::Diverged(d) => {
            Judgement::Diverged(Divergence { at: cut(d.at), receipt: cut(d.receipt), replay: cut(d.replay) })
        }
    };
    Verdict {
        iss: verifier,
        iat: now,
        receipt: receipt.id(),
        provider: receipt.payload().iss,
        profile,
        judgement,
    }
}

fn cut(mut text: String) -> String {
    const ELLIPSIS: char = '…';
    if text.len() > MAX_REASON_BYTES {
        text.truncate(text.floor_char_boundary(MAX_REASON_BYTES - ELLIPSIS.len_utf8()));
        text.push(ELLIPSIS);
    }
    text
}
