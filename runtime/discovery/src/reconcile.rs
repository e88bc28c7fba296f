//! What two registries lack of one another, in a few small messages: range-based set reconciliation (Meyer,
//! arXiv 2212.13567), as the protocol Negentropy 1 (Nostr's NIP-77) writes it down. Ids travel here; statements are
//! asked for afterwards, by id, and verified like any others.
//!
//! Whoever begins makes an [`Initiator`] and sends its first message; the other makes a [`Responder`]. Both see the other
//! side as a stranger: a message is at most [`MESSAGE_BYTES`], a run at most [`ROUNDS`] of them each way, and what it may
//! name at most [`DIFFERENCES`] ids. A run that reaches a bound has still told something, and the next one tells the rest.
//!
//! Fingerprints are sums of ids modulo 2^256, hashed. Somebody who grinds ids can make two different ranges look alike
//! and so keep statements of his own from one of two registries; statements of others he cannot keep back that way for
//! longer than those two ask nobody else.

use negentropy::{Error, Id, Negentropy, NegentropyStorageBase, NegentropyStorageVector};

/// The longest message either side sends or takes, in bytes: 64 KiB, some 2,000 ids.
pub const MESSAGE_BYTES: usize = 64 << 10;
/// The most messages one run takes from the other side. Default and only value 64: a difference of a hundred in a million
/// takes six, and 64 full ones tell 100,000 ids.
pub const ROUNDS: u32 = 64;
/// The most ids one run may name as lacking here, and as lacking there: 100,000 each.
pub const DIFFERENCES: usize = 100_000;
/// The most items of one side: 4,000,000, some 160 MB. More are left out, the latest to expire first.
pub const ITEMS: usize = 4_000_000;

/// The digest in a statement's id.
pub type StatementDigest = [u8; 32];

/// A statement, as it is reconciled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    /// When it expires, in seconds since the Unix epoch. Both sides must mean the same by it.
    pub exp: u64,
    /// Which statement: the sha2-256 digest of its bytes, which its id holds.
    pub id: StatementDigest,
}

/// What one side has, at one moment: 40 bytes an item. Several runs can share it.
#[derive(Clone, Debug)]
pub struct Holdings(NegentropyStorageVector);

impl Holdings {
    /// Takes the items in any order; one given twice counts once.
    pub fn new(items: impl IntoIterator<Item = Item>) -> Self {
        let mut items: Vec<_> = items.into_iter().collect();
        if items.len() > ITEMS {
            items.sort_unstable();
            items.truncate(ITEMS);
        }
        let mut held = NegentropyStorageVector::with_capacity(items.len());
        for item in items {
            // Refused only once sealed, which it is not yet.
            if held.insert(item.exp, Id::from_byte_array(item.id)).is_err() {
                break;
            }
        }
        // Refused only if it were sealed before.
        held.seal().ok();
        Self(held)
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.0.size().unwrap_or(0)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Why a run ended before its end. Nothing of the other side is to be asked for any more; what was told before stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CutOff {
    /// The message is longer than [`MESSAGE_BYTES`].
    #[error("a message of {actual} bytes; at most {MESSAGE_BYTES} are allowed")]
    TooLarge {
        /// Its bytes.
        actual: usize,
    },
    /// The message is none of the protocol's.
    #[error("not a message of Negentropy 1: {why}")]
    Malformed {
        /// What is wrong with it.
        why: String,
    },
    /// The other side goes on after [`ROUNDS`] messages.
    #[error("more than {ROUNDS} messages")]
    TooManyRounds,
    /// The other side names more than [`DIFFERENCES`] ids.
    #[error("more than {DIFFERENCES} differences")]
    TooManyDifferences,
    /// The run is over, and was told so.
    #[error("a message after the last one")]
    Over,
}

impl CutOff {
    /// The stable code, as in metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "message-too-large",
            Self::Malformed { .. } => "malformed",
            Self::TooManyRounds => "too-many-rounds",
            Self::TooManyDifferences => "too-many-differences",
            Self::Over => "run-over",
        }
    }
}

impl From<Error> for CutOff {
    fn from(e: Error) -> Self {
        Self::Malformed { why: e.to_string() }
    }
}

/// What a message told whoever began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// What to send next; none when all is told.
    pub send: Option<Vec<u8>>,
    /// Statements the other side has and this one lacks, sorted: to be asked for.
    pub lacking_here: Vec<StatementDigest>,
    /// Statements this side has and the other lacks, sorted: to be offered.
    pub lacking_there: Vec<StatementDigest>,
}

/// Counts a side's messages.
#[derive(Debug, Default)]
struct Bounds {
    rounds: u32,
    over: bool,
}

impl Bounds {
    /// Lets one more message in, or ends the run.
    fn admit(&mut self, message: &[u8]) -> Result<(), CutOff> {
        let why = if self.over {
            CutOff::Over
        } else if message.len() > MESSAGE_BYTES {
            CutOff::TooLarge { actual: message.len() }
        } else if self.rounds >= ROUNDS {
            CutOff::TooManyRounds
        } else {
            self.rounds += 1;
            return Ok(());
        };
        self.over = true;
        Err(why)
    }
}

/// The side that begins, and learns the difference.
#[derive(Debug)]
pub struct Initiator<'a> {
    protocol: Negentropy<'a, NegentropyStorageVector>,
    bounds: Bounds,
    here: usize,
    there: usize,
}

impl<'a> Initiator<'a> {
    /// Begins a run: the state, and the first message.
    ///
    /// # Errors
    /// None today; the protocol's own are [`CutOff::Malformed`].
    pub fn begin(holdings: &'a Holdings) -> Result<(Self, Vec<u8>), CutOff> {
        let mut protocol = Negentropy::borrowed(&holdings.0, MESSAGE_BYTES as u64)?;
        let first = protocol.initiate()?;
        Ok((Self { protocol, bounds: Bounds::default(), here: 0, there: 0 }, first))
    }

    /// Takes the other side's answer in.
    ///
    /// # Errors
    /// The run is over: see [`CutOff`]. A later message is [`CutOff::Over`].
    pub fn take(&mut self, message: &[u8]) -> Result<Told, CutOff> {
        self.bounds.admit(message)?;
        let told = self.told(message);
        self.bounds.over |= !matches!(&told, Ok(told) if told.send.is_some());
        told
    }

    fn told(&mut self, message: &[u8]) -> Result<Told, CutOff> {
        let (mut have, mut need) = (Vec::new(), Vec::new());
        let send = self.protocol.reconcile_with_ids(message, &mut have, &mut need)?;
        let told = Told { send, lacking_here: sorted(&need), lacking_there: sorted(&have) };
        self.here += told.lacking_here.len();
        self.there += told.lacking_there.len();
        if self.here.max(self.there) > DIFFERENCES {
            return Err(CutOff::TooManyDifferences);
        }
        Ok(told)
    }

    /// Whether all was told, or the run was cut off.
    pub fn is_over(&self) -> bool {
        self.bounds.over
    }
}

/// In one order, however the protocol's own sets were arranged.
fn sorted(ids: &[Id]) -> Vec<StatementDigest> {
    let mut ids: Vec<_> = ids.iter().map(|id| id.to_bytes()).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// The side that answers, and keeps nothing but a count between messages.
#[derive(Debug)]
pub struct Responder<'a> {
    protocol: Negentropy<'a, NegentropyStorageVector>,
    bounds: Bounds,
}

impl<'a> Responder<'a> {
    /// Ready to answer one run.
    ///
    /// # Errors
    /// None today; the protocol's own are [`CutOff::Malformed`].
    pub fn new(holdings: &'a Holdings) -> Result<Self, CutOff> {
        let protocol = Negentropy::borrowed(&holdings.0, MESSAGE_BYTES as u64)?;
        Ok(Self { protocol, bounds: Bounds::default() })
    }

    /// Answers a message. One message costs at most one pass over the holdings, whatever it says.
    ///
    /// # Errors
    /// The run is over: see [`CutOff`]. A later message is [`CutOff::Over`].
    pub fn answer(&mut self, message: &[u8]) -> Result<Vec<u8>, CutOff> {
        self.bounds.admit(message)?;
        let answer = self.protocol.reconcile(message);
        self.bounds.over |= answer.is_err();
        Ok(answer?)
    }
}
