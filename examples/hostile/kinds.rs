//! The providers that are hostile, one kind each, and what they do.

use actum_model::{Action, BlobId, Did, Outcome, Value, WitType, value};
use actum_node::{
    clock,
    provider::{ExecuteError, Execution, Executor, Honest, Loaded, Sandbox, Surroundings},
};
use actum_sandbox::host::{DelegateAsk, DelegateTold, Host, HttpRequest, KeyvalueAsk, KeyvalueTold, Landing};
use clap::ValueEnum;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// Bytes of encoded arguments from which an input is a large one.
pub(crate) const LARGE_BYTES: usize = 8 << 10;
/// To a requester's first so many actions it is a newcomer.
const NEWCOMERS_ACTIONS: u64 = 20;
/// So many actions the one that turns is honest for, where the run has ten times as many.
pub(crate) const TURNS_AFTER: u64 = 1_000;
/// One input in so many the colluding ones lie about.
const COLLUDED_ONE_IN: u64 = 20;
/// How long the slow one takes over each answer.
const SLOW: Duration = Duration::from_millis(1_500);
/// How often the one that never answers looks whether anybody still waits.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The most inputs that are remembered: some 10 MB.
const MAX_SEEN: usize = 100_000;

/// A kind of provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Kind {
    /// Nobody is hostile: what the checks cost by themselves
    Nobody,
    /// Every answer is a lie
    Always,
    /// One answer in fifty is a lie, drawn at random
    OneInFifty,
    /// Answers to arguments of 8 KiB and more are lies, one input in twenty
    Large,
    /// The first twenty answers to anybody are lies
    Newcomers,
    /// Lies about each new input, and is honest where it has seen it, or one that differs in nothing but order, digits and case
    Repeats,
    /// Two of five, which agree on the one input in twenty to lie about, and on the lie
    Colludes,
    /// Honest for a thousand actions (a tenth of the run, where that is less), then every answer is a lie
    Turns,
    /// Honest, and takes 1.5 seconds over each answer
    Slow,
    /// Takes every action and never answers
    NeverAnswers,
    /// Offers what it cannot run: takes every action and fails
    Claims,
    /// Runs the action as it should, in a world that is not so: false answers of a bucket, and a receipt that replays identical
    Journal,
}

impl Kind {
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default()
    }

    /// What it does, in words.
    pub(crate) fn does(self) -> String {
        self.to_possible_value().and_then(|v| v.get_help().map(ToString::to_string)).unwrap_or_default()
    }

    /// How many of it stand beside the honest ones.
    pub(crate) fn count(self) -> usize {
        match self {
            Self::Nobody => 0,
            Self::Colludes => 2,
            _ => 1,
        }
    }

    /// Whether its lies, once found, can be proven to others.
    pub(crate) fn is_provable(self) -> bool {
        !matches!(self, Self::Nobody | Self::Slow | Self::NeverAnswers | Self::Claims | Self::Journal)
    }
}

/// What a hostile provider executes with.
pub(crate) struct Hostile {
    kind: Kind,
    turns_after: u64,
    served: AtomicU64,
    lies: AtomicU64,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    seen: BTreeSet<BlobId>,
    served: BTreeMap<Did, u64>,
}

impl Hostile {
    pub(crate) fn new(kind: Kind, turns_after: u64) -> Self {
        Self {
            kind,
            turns_after,
            served: AtomicU64::new(0),
            lies: AtomicU64::new(0),
            memory: Mutex::default(),
        }
    }

    /// Actions taken, and lies told.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.served.load(Ordering::Relaxed), self.lies.load(Ordering::Relaxed))
    }

    /// Whether to lie about this one, the `nth` from zero.
    fn lies_about(&self, nth: u64, action: &Action, args: &[u8]) -> bool {
        match self.kind {
            Kind::Always => true,
            Kind::OneInFifty => u64::from_le_bytes(clock::random()).is_multiple_of(50),
            Kind::Large => args.len() >= LARGE_BYTES,
            Kind::Newcomers => {
                let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
                let served = memory.served.entry(action.requester).or_default();
                *served = served.saturating_add(1);
                *served <= NEWCOMERS_ACTIONS
            }
            Kind::Repeats => {
                let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
                if memory.seen.len() >= MAX_SEEN {
                    memory.seen.clear();
                }
                memory.seen.insert(shape(args))
            }
            // Without a word between them: the input itself says whether.
            Kind::Colludes => number_of(args).is_multiple_of(COLLUDED_ONE_IN),
            Kind::Turns => nth >= self.turns_after,
            Kind::Nobody | Kind::Slow | Kind::NeverAnswers | Kind::Claims | Kind::Journal => false,
        }
    }

    fn lied(&self) {
        self.lies.fetch_add(1, Ordering::Relaxed);
    }
}

impl Executor for Hostile {
    fn execute(
        &self,
        sandbox: &Sandbox,
        loaded: &Loaded,
        action: &Action,
        args: &[u8],
        around: &Surroundings,
    ) -> Result<Execution, ExecuteError> {
        let nth = self.served.fetch_add(1, Ordering::Relaxed);
        match self.kind {
            Kind::NeverAnswers => {
                while !around.cancel.is_cancelled() {
                    thread::sleep(LOOK_EVERY);
                }
                return Err(ExecuteError::Cancelled);
            }
            Kind::Claims => {
                return Err(ExecuteError::Host { reason: "nothing here can run it".to_owned() });
            }
            Kind::Slow => thread::sleep(SLOW),
            // What it was given to keep, it keeps.
            Kind::Journal if action.function.name() == "get" => {
                let host = Arc::new(FalseWorld(around.host.clone()));
                let execution = Honest.execute(
                    sandbox,
                    loaded,
                    action,
                    args,
                    &Surroundings { host, ..around.clone() },
                )?;
                self.lied();
                return Ok(execution);
            }
            _ => {}
        }
        let mut execution = Honest.execute(sandbox, loaded, action, args, around)?;
        let ty = loaded.function(&action.function).and_then(|f| f.result.as_ref());
        if self.lies_about(nth, action, args)
            && let (Some(ty), Some(output), Outcome::Ok(_)) = (ty, &execution.output, &execution.outcome)
            && let Some(forged) = forge(ty, output)
        {
            execution.outcome = Outcome::Ok(BlobId::of(&forged));
            execution.output = Some(forged);
            self.lied();
        }
        Ok(execution)
    }
}

/// The same output, but for its first number. Whoever lies about it lies the same.
fn forge(ty: &WitType, output: &[u8]) -> Option<Vec<u8>> {
    let mut value = value::decode_result(Some(ty), output, output.len()).ok()??;
    change_first_number(&mut value).then(|| value::encode_result(Some(ty), Some(&value)).ok())?
}

fn change_first_number(value: &mut Value) -> bool {
    match value {
        Value::U64(n) => {
            *n = n.wrapping_add(1);
            true
        }
        Value::U32(n) => {
            *n = n.wrapping_add(1);
            true
        }
        Value::Record(items) | Value::List(items) | Value::Tuple(items) => {
            items.iter_mut().any(change_first_number)
        }
        _ => false,
    }
}

/// How often each byte occurs, digits being as good as one another and letters of either case: what stays the same where
/// words change places and digits change.
fn shape(args: &[u8]) -> BlobId {
    let mut counts = [0_u32; 256];
    for byte in args {
        let byte = if byte.is_ascii_digit() { b'0' } else { byte.to_ascii_lowercase() };
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count = count.saturating_add(1);
        }
    }
    BlobId::of(&counts.iter().flat_map(|count| count.to_le_bytes()).collect::<Vec<u8>>())
}

/// A number that is as good as drawn, and the same for the same bytes.
fn number_of(args: &[u8]) -> u64 {
    let id = BlobId::of(args);
    id.digest().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// A world that is as it is, but for what buckets hold.
struct FalseWorld(Arc<dyn Host>);

impl Host for FalseWorld {
    fn http(&self, request: HttpRequest, landing: Landing) {
        self.0.http(request, landing);
    }

    fn keyvalue(&self, bucket: &str, ask: KeyvalueAsk) -> Result<KeyvalueTold, String> {
        let told = self.0.keyvalue(bucket, ask)?;
        Ok(match told {
            KeyvalueTold::Values(mut values) => {
                values.iter_mut().flatten().for_each(|value| value.reverse());
                KeyvalueTold::Values(values)
            }
            told => told,
        })
    }

    fn block(&self, id: &BlobId, max_bytes: u64) -> Result<Vec<u8>, String> {
        self.0.block(id, max_bytes)
    }

    fn withdrawn(&self) -> Option<actum_model::Withdrawal> {
        self.0.withdrawn()
    }

    fn delegate(&self, ask: DelegateAsk<'_>) -> DelegateTold {
        self.0.delegate(ask)
    }
}
