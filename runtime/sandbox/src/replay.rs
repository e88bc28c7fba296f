//! Replay: runs a receipt's action once more and says whether the receipt is what happens.
//!
//! It needs the receipt and the blocks it names, nothing else: no network, no store, no key. Signatures are the
//! caller's business; what is judged here is the statement.

use crate::engine::Sandbox;
use crate::error::{ExecuteError, LoadError};
use crate::execute::{Execution, Replayed};
use crate::load::Loaded;
use crate::real::Source;
use actum_model::explain::{Explained, Width, text};
use actum_model::receipt::Stdio;
use actum_model::{
    BlobId, Bodies, Divergence, Journal, JournalEntry, Judgement, Outcome, Receipt, WitType, codec, value,
};
use std::sync::Arc;

/// A receipt with what is needed to run its action again.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The receipt's payload; the caller has checked its signature.
    pub receipt: &'a Receipt,
    /// The component's bytes.
    pub component: &'a [u8],
    /// The canonical encoding of the arguments.
    pub args: &'a [u8],
    /// The canonical encoding of the output, where it is at hand: a divergence can then show the first difference.
    pub output: Option<&'a [u8]>,
    /// The journal.
    pub journal: &'a Journal,
    /// The bodies the journal names by id.
    pub bodies: &'a Bodies,
    /// The encoded [`Stdio`], where it is at hand.
    pub stdio: Option<&'a [u8]>,
}

/// Why no judgement was reached: the evidence is not what the receipt names, or this host failed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A block is not the one the receipt names: evidence was changed or mixed up.
    #[error("{what}: the receipt names {named}, but the bytes given are {given}")]
    NotNamed {
        /// Which block: `component`, `arguments`, `output`, `journal` or `stdio`.
        what: &'static str,
        /// The id in the receipt, or `none`.
        named: String,
        /// The id of the bytes given.
        given: String,
    },
    /// This host failed while running the action again.
    #[error("the action could not be run again here")]
    Host(#[source] ExecuteError),
}

/// Checks one block against the id the receipt has for it.
fn named<I: PartialEq + ToString>(
    what: &'static str,
    in_receipt: Option<&I>,
    given: I,
) -> Result<(), ReplayError> {
    if in_receipt == Some(&given) {
        return Ok(());
    }
    let named = in_receipt.map_or_else(|| "none".to_owned(), ToString::to_string);
    Err(ReplayError::NotNamed { what, named, given: given.to_string() })
}

impl Evidence<'_> {
    /// Checks that every block at hand is the one the receipt names.
    ///
    /// # Errors
    /// [`ReplayError::NotNamed`], for the first block that is not.
    pub fn check(&self) -> Result<(), ReplayError> {
        self.check_inputs()?;
        self.check_output()
    }

    fn check_output(&self) -> Result<(), ReplayError> {
        match self.output {
            Some(output) => named("output", self.receipt.outcome.output(), BlobId::of(output)),
            None => Ok(()),
        }
    }

    /// Everything but the output, which need not be hashed when re-execution gives the very same bytes.
    fn check_inputs(&self) -> Result<(), ReplayError> {
        let receipt = self.receipt;
        named("component", Some(&receipt.action.component), actum_model::ComponentId::of(self.component))?;
        named("arguments", Some(&receipt.action.args), BlobId::of(self.args))?;
        named("journal", Some(&receipt.journal), self.journal.id())?;
        for id in self.journal.bodies() {
            let given = self.bodies.get(&id).map(|bytes| BlobId::of(bytes));
            if given != Some(id) {
                let given = given.map_or_else(|| "missing".to_owned(), |id| id.to_string());
                return Err(ReplayError::NotNamed {
                    what: "a body of the journal",
                    named: id.to_string(),
                    given,
                });
            }
        }
        if let Some(stdio) = self.stdio {
            named("stdio", receipt.stdio.as_ref(), BlobId::of(stdio))?;
        }
        Ok(())
    }
}

/// Why a stack that ran out is no divergence.
const STACK: &str = "the native stack ran out; how deep that is depends on the machine's code";

/// Runs the receipt's action again and judges the receipt.
///
/// Compared in this order: outcome, output, fuel, memory, journal, stdio; the first difference is the divergence.
/// `NotReplayable` where an honest provider may have seen something else: another profile, an end by the wall clock, a
/// native stack exhausted, a limit this sandbox cannot give.
///
/// # Errors
/// [`ReplayError`] when the evidence is not what the receipt names, or this host failed.
pub fn replay(sandbox: &Sandbox, evidence: &Evidence<'_>) -> Result<Judgement, ReplayError> {
    evidence.check_inputs()?;
    if let Some(untried) = untried(sandbox, evidence.receipt) {
        evidence.check_output()?;
        return Ok(untried);
    }
    let component = evidence.receipt.action.component;
    let loaded = sandbox.load_named(component, evidence.component, None, None);
    again(sandbox, loaded.as_deref(), evidence)
}

/// As [`replay`], with what loading the component gave: for who replays many receipts of one component, and neither reads
/// nor hashes it for each.
///
/// `evidence.component` is not looked at, and may be empty. That the other blocks are those the receipt names, the caller
/// has checked, or had from whoever checks what it reads; else a divergence may be the evidence's, not the receipt's.
///
/// # Errors
/// As [`replay`]; also where the component that was loaded is not the receipt's.
pub fn replay_loaded(
    sandbox: &Sandbox,
    loaded: Result<&Loaded, &LoadError>,
    evidence: &Evidence<'_>,
) -> Result<Judgement, ReplayError> {
    match untried(sandbox, evidence.receipt) {
        Some(untried) => Ok(untried),
        None => again(sandbox, loaded, evidence),
    }
}

/// Runs the receipt's action again and compares, where it can be tried.
fn again(
    sandbox: &Sandbox,
    loaded: Result<&Loaded, &LoadError>,
    evidence: &Evidence<'_>,
) -> Result<Judgement, ReplayError> {
    let run = match loaded {
        Ok(loaded) => run(sandbox, loaded, evidence).map(|again| (loaded, again)),
        Err(why) => Err(refused(evidence.receipt, why)),
    };
    let (loaded, again) = match run {
        Ok(run) => run,
        Err(untried) => {
            evidence.check_output()?;
            return untried;
        }
    };
    if let Some(judgement) = strayed(evidence, &again) {
        evidence.check_output()?;
        let further = again.strayed.as_ref().is_some_and(|strayed| strayed.recorded.is_none());
        if further && evidence.receipt.outcome == Outcome::StackOverflow {
            return Ok(Judgement::NotReplayable(STACK.to_owned()));
        }
        return Ok(judgement);
    }
    let again = again.execution;
    // The same bytes have the id just computed; comparing it with the receipt's is then all that is left to do.
    let same = evidence.output.is_some() && evidence.output == again.output.as_deref();
    if !same || again.outcome.output() != evidence.receipt.outcome.output() {
        evidence.check_output()?;
    }
    let function = loaded.function(&evidence.receipt.action.function);
    Ok(judge(evidence, &again, function.and_then(|f| f.result.as_ref())))
}

/// Why a receipt cannot be tried in this sandbox, whatever its component.
fn untried(sandbox: &Sandbox, receipt: &Receipt) -> Option<Judgement> {
    if receipt.profile != sandbox.profile_id() {
        let ours = sandbox.profile();
        return Some(Judgement::NotReplayable(format!(
            "the receipt needs profile {}; this is {} of {}, {}. An Actum whose `actum doctor` shows the receipt's \
             profile replays it",
            receipt.profile,
            ours.name,
            ours.engine,
            sandbox.profile_id(),
        )));
    }
    (receipt.outcome == Outcome::TimedOut).then(|| {
        Judgement::NotReplayable(
            "the provider's wall-clock protection ended it; another machine may be faster".to_owned(),
        )
    })
}

/// What it says of a receipt that its component cannot be loaded here.
fn refused(receipt: &Receipt, why: &LoadError) -> Result<Judgement, ReplayError> {
    match why {
        // What a host can hold is not in the profile; everything else about a component is.
        LoadError::Invalid { reason } => {
            Ok(Judgement::NotReplayable(format!("this engine refuses the component: {reason}")))
        }
        failure if failure.is_of_the_host() => {
            Err(ReplayError::Host(ExecuteError::Host { reason: failure.to_string() }))
        }
        refusal => Ok(at("outcome", &receipt.outcome, format!("refused: {refusal}"))),
    }
}

/// Runs the receipt's action again, or says what the judgement is where that is refused.
fn run(
    sandbox: &Sandbox,
    loaded: &Loaded,
    evidence: &Evidence<'_>,
) -> Result<Replayed, Result<Judgement, ReplayError>> {
    let receipt = evidence.receipt;
    let source = Source::Recorded {
        entries: evidence.journal.entries.clone().into_iter(),
        bodies: Arc::new(evidence.bodies.clone()),
        full: receipt.outcome == Outcome::JournalTooLarge,
        withdrawn: match &receipt.outcome {
            Outcome::Withdrawn(why) => Some(*why),
            _ => None,
        },
    };
    let again = sandbox.execute_recorded(loaded, receipt, evidence.args, source);
    again.map_err(|error| match error {
        ExecuteError::LimitTooHigh { limit, asked, ceiling } => {
            let why = format!("it needs {limit} of {asked}; this sandbox has {ceiling}");
            Ok(Judgement::NotReplayable(why))
        }
        refusal @ (ExecuteError::Args(_)
        | ExecuteError::NoSuchFunction { .. }
        | ExecuteError::Withheld { .. }) => {
            Ok(at("outcome", &receipt.outcome, format!("refused: {}", chain(&refusal))))
        }
        failure => Err(ReplayError::Host(failure)),
    })
}

/// Whether the guest asked other questions than the journal has answers to.
fn strayed(evidence: &Evidence<'_>, again: &Replayed) -> Option<Judgement> {
    let strayed = again.strayed.as_ref()?;
    let words = |encoded: &[u8]| text(encoded, evidence.bodies, ENTRY);
    let mut is = words(&strayed.asked);
    let was = match (&strayed.recorded, &strayed.why) {
        (Some(entry), Some(why)) => format!("{} told {}: {why}", entry.function, words(&entry.told)),
        (Some(entry), None) => {
            let mut was = words(&entry.asked);
            if was == is && entry.function == strayed.function {
                tell_apart((&mut was, &entry.asked), (&mut is, &strayed.asked));
            }
            format!("{} asked {was}", entry.function)
        }
        (None, _) => "none".to_owned(),
    };
    Some(at(format!("journal entry {}", strayed.entry), was, format!("{} asked {is}", strayed.function)))
}

/// Adds to two texts that read the same where the bytes behind them differ.
fn tell_apart((was, a): (&mut String, &[u8]), (is, b): (&mut String, &[u8])) {
    let from = first_difference(a, b);
    for (text, bytes) in [(was, a), (is, b)] {
        text.push_str(&format!(", from byte {from} {}", excerpt(bytes, from)));
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn at(place: impl Into<String>, receipt: impl ToString, replay: impl ToString) -> Judgement {
    Judgement::Diverged(Divergence {
        at: place.into(),
        receipt: receipt.to_string(),
        replay: replay.to_string(),
    })
}

/// Compares a receipt with its re-execution.
fn judge(evidence: &Evidence<'_>, again: &Execution, result: Option<&WitType>) -> Judgement {
    let difference = compare(evidence, again, result);
    let (Judgement::Diverged(_), receipt) = (&difference, evidence.receipt) else { return difference };
    if again.outcome == Outcome::TimedOut {
        return Judgement::NotReplayable("this host's wall-clock protection ended the replay".to_owned());
    }
    if receipt.outcome == Outcome::StackOverflow || again.outcome == Outcome::StackOverflow {
        return Judgement::NotReplayable(STACK.to_owned());
    }
    difference
}

fn compare(evidence: &Evidence<'_>, again: &Execution, result: Option<&WitType>) -> Judgement {
    let receipt = evidence.receipt;
    if let (Some(was), Some(is)) = (receipt.outcome.output(), again.outcome.output()) {
        if receipt.outcome.code() != again.outcome.code() {
            return at("outcome", &receipt.outcome, &again.outcome);
        }
        if was != is {
            let again = again.output.as_deref().unwrap_or_default();
            return evidence
                .output
                .map_or_else(|| at("output", was, is), |bytes| outputs(bytes, again, result));
        }
    } else if receipt.outcome != again.outcome {
        return at("outcome", &receipt.outcome, &again.outcome);
    }
    if receipt.fuel != again.fuel {
        return at("fuel", receipt.fuel, again.fuel);
    }
    if receipt.memory_bytes != again.memory_bytes {
        return at("memory", receipt.memory_bytes, again.memory_bytes);
    }
    journals(evidence, again).or_else(|| stdio(evidence, again)).unwrap_or(Judgement::Identical)
}

/// Bytes shown on each side of a difference.
const EXCERPT: usize = 24;

/// How much of a journal's entry is shown on each side of a difference: less than a verdict holds.
const ENTRY: Width = Width { value_bytes: 120, side_bytes: 600 };

/// A few bytes from an offset, as text where they are text.
fn excerpt(bytes: &[u8], from: usize) -> String {
    let rest = bytes.get(from..).unwrap_or_default();
    let shown = rest.get(..EXCERPT).unwrap_or(rest);
    let more = if rest.len() > shown.len() { "…" } else { "" };
    format!("\"{}\"{more} ({} bytes)", shown.escape_ascii(), bytes.len())
}

fn first_difference(was: &[u8], is: &[u8]) -> usize {
    was.iter().zip(is).take_while(|(a, b)| a == b).count()
}

/// Where two outputs first differ: in the terms of the result's type where both are of it, else in bytes.
fn outputs(was: &[u8], is: &[u8], result: Option<&WitType>) -> Judgement {
    let decode = |bytes: &[u8]| value::decode_result(result, bytes, bytes.len()).ok().flatten();
    if let (Some(ty), Some(a), Some(b)) = (result, decode(was), decode(is))
        && let Some(d) = value::difference(ty, &a, &b)
    {
        return at(format!("output{}", d.path), d.left, d.right);
    }
    let from = first_difference(was, is);
    let side = |bytes| format!("from byte {from}: {}", excerpt(bytes, from));
    at("output", side(was), side(is))
}

/// Where the guest asked fewer questions than were recorded, or the tapes differ otherwise.
fn journals(evidence: &Evidence<'_>, again: &Execution) -> Option<Judgement> {
    let (was, is) = (&evidence.journal.entries, &again.journal.entries);
    let n = (0..was.len().max(is.len())).find(|n| was.get(*n) != is.get(*n))?;
    let words = |entry: Option<&JournalEntry>| {
        entry.map_or_else(|| "none".to_owned(), |e| Explained::of(e, evidence.bodies, ENTRY).to_string())
    };
    Some(at(format!("journal entry {}", n + 1), words(was.get(n)), words(is.get(n))))
}

fn stdio(evidence: &Evidence<'_>, again: &Execution) -> Option<Judgement> {
    let block = again.stdio_block();
    let (was, is) = (evidence.receipt.stdio, block.as_ref().map(|(id, _)| *id));
    if was == is {
        return None;
    }
    let limit = usize::MAX;
    let decoded = |bytes: Option<&[u8]>| bytes.and_then(|b| codec::decode::<Stdio>(b, limit).ok());
    if let Some(was) = decoded(evidence.stdio) {
        for (name, was, is) in
            [("stdout", &was.stdout, &again.stdio.stdout), ("stderr", &was.stderr, &again.stdio.stderr)]
        {
            if was != is {
                let from = first_difference(was, is);
                let side = |bytes| format!("{name} from byte {from}: {}", excerpt(bytes, from));
                return Some(at("stdio", side(was), side(is)));
            }
        }
    }
    let name = |id: Option<BlobId>| id.map_or_else(|| "none".to_owned(), |id| id.to_string());
    Some(at("stdio", name(was), name(is)))
}
