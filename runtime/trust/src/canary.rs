//! Tier 2: actions whose right answer is known, that nothing tells from work.
//!
//! [`perturb`] changes a call's arguments so that they stay what they look like: of the same types, the same shape and
//! exactly as many bytes, in numbers with as many digits, in texts with the same words. Whoever asks runs the component on
//! them first and keeps the answer as [`Known`]; a provider's receipt is then compared by [`check`]. Everything else that
//! could tell a canary apart (limits, grant, requester, timing) is the caller's to keep alike.

use actum_model::{
    BlobId, Divergence, JournalId, Outcome, Param, ProfileId, Receipt, Value, value::encode_params,
};

mod digits;
mod walk;

use walk::Walk;

/// How often other arguments are drawn before it is given up that any differ.
const TRIES: usize = 4;

/// How far a canary's arguments may be from those they are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// Other digits in numbers and texts.
    Digits,
    /// And words of equal length change places within a text, elements within a list; so in bytes that are text.
    Words,
    /// And flags, `bool`s, and cases of equally long names; a few bits of bytes that are no text. What comes of it may be an
    /// error, whose answer is known as well.
    Strong,
}

/// Other arguments of the same types, whose encoding has the same length: `None` if none were found. `random` gives
/// uniformly random numbers.
pub fn perturb(
    params: &[Param],
    values: &[Value],
    strength: Strength,
    random: &mut dyn FnMut() -> u64,
) -> Option<Vec<Value>> {
    let before = encode_params(params, values).ok()?;
    for _ in 0..TRIES {
        let mut walk = Walk { strength, random: &mut *random };
        let other: Vec<_> = params.iter().zip(values).map(|(p, v)| walk.value(&p.ty, v)).collect();
        let after = encode_params(params, &other).ok()?;
        if after != before && after.len() == before.len() {
            return Some(other);
        }
    }
    None
}

/// At which of the places 0 to `n_canaries` the real action stands among its canaries.
pub fn order(n_canaries: u32, draw: u64) -> usize {
    usize::try_from(draw % (u64::from(n_canaries) + 1)).unwrap_or(0)
}

/// How an action ends, known beforehand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The profile it ran under here: under another it may end otherwise.
    pub profile: ProfileId,
    /// How it ends, with the id of the output.
    pub outcome: Outcome,
    /// Fuel units it burns.
    pub fuel: u64,
    /// The most linear memory it holds at once, in bytes.
    pub memory_bytes: u64,
    /// The root of its journal.
    pub journal: JournalId,
    /// The id of what it writes; none where it writes nothing.
    pub stdio: Option<BlobId>,
}

impl Known {
    /// From the parts of an execution.
    pub fn of(
        profile: ProfileId,
        outcome: Outcome,
        fuel: u64,
        memory_bytes: u64,
        journal: JournalId,
        stdio: Option<BlobId>,
    ) -> Self {
        Self { profile, outcome, fuel, memory_bytes, journal, stdio }
    }

    /// Whether a receipt can be compared with this at all. It cannot under another profile, nor where one of the two ended
    /// by what a machine has of time or stack: it is then neither right nor wrong, and no answer.
    pub fn comparable(&self, receipt: &Receipt) -> bool {
        let of_the_machine = |o: &Outcome| matches!(o, Outcome::TimedOut | Outcome::StackOverflow);
        self.profile == receipt.profile && !of_the_machine(&self.outcome) && !of_the_machine(&receipt.outcome)
    }
}

/// The first place where a receipt differs from what is known, in the order in which replay compares: outcome, output,
/// fuel, memory, journal, stdio. `None` where nothing differs or it is not [comparable](Known::comparable).
///
/// The receipt has to be of the very action whose answer is known, seed and time base included, which
/// [`crate::consistency`] says.
pub fn check(known: &Known, receipt: &Receipt) -> Option<Divergence> {
    if !known.comparable(receipt) {
        return None;
    }
    let at =
        |at: &str, was: String, is: String| Some(Divergence { at: at.to_owned(), receipt: was, replay: is });
    let (was, is) = (&receipt.outcome, &known.outcome);
    match (was.output(), is.output()) {
        (Some(a), Some(b)) if was.code() == is.code() && a != b => {
            return at("output", a.to_string(), b.to_string());
        }
        _ if was != is => return at("outcome", was.to_string(), is.to_string()),
        _ => {}
    }
    if receipt.fuel != known.fuel {
        return at("fuel", receipt.fuel.to_string(), known.fuel.to_string());
    }
    if receipt.memory_bytes != known.memory_bytes {
        return at("memory", receipt.memory_bytes.to_string(), known.memory_bytes.to_string());
    }
    if receipt.journal != known.journal {
        return at("journal", receipt.journal.to_string(), known.journal.to_string());
    }
    if receipt.stdio != known.stdio {
        let text = |id: Option<BlobId>| id.map_or_else(|| "none".to_owned(), |id| id.to_string());
        return at("stdio", text(receipt.stdio), text(known.stdio));
    }
    None
}
