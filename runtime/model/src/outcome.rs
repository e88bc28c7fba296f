//! How an action ended. Each way has its own code: exhaustion, denial, a guest's own error and a trap are never one.

use crate::BlobId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How an action ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The function returned, and its result is not an `err`. Holds the id of the canonical encoding of the result.
    Ok(BlobId),
    /// The function returned the `err` of its `result`, or a command exited with a failure. Holds the id of the
    /// canonical encoding of the whole result, error included.
    GuestError(BlobId),
    /// The guest broke a rule of WebAssembly or of the canonical ABI, or gave up.
    Trap(TrapCode),
    /// The fuel limit was reached.
    OutOfFuel,
    /// The memory or table limit was reached.
    OutOfMemory,
    /// The guest's call stack exceeded the profile's.
    StackOverflow,
    /// The component is made of more instances than allowed.
    TooManyInstances,
    /// The result's encoding exceeded the output limit.
    OutputTooLarge,
    /// What the guest gave in one call, its result included, is more than the profile lets cross to the host at once. Not
    /// the output limit: that one is the action's, and of what is encoded.
    ValuesTooLarge,
    /// Captured stdout and stderr exceeded their limit.
    StdioTooLarge,
    /// The journal exceeded its limit.
    JournalTooLarge,
    /// The component needs what was not granted: its imports outside the grant, sorted, each once: at most
    /// [`Self::DENIED_NAMES`], each cut to [`Self::DENIED_NAME_BYTES`]. It was not instantiated.
    Denied(Vec<String>),
    /// The authority it ran by ended while it ran, and it asked the host for something. The question is its journal's
    /// last entry, and had no effect.
    Withdrawn(Withdrawal),
    /// The host's own wall-clock protection ended the action. Not replayable: another machine may be faster.
    TimedOut,
}

/// How the authority of a running action ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Withdrawal {
    /// Somebody of the chain took it back.
    Revoked,
    /// Its time was over.
    Expired,
}

impl Withdrawal {
    /// Every way there is.
    pub const ALL: [Self; 2] = [Self::Revoked, Self::Expired];

    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Expired => "expired",
        }
    }
}

/// Why a guest trapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrapCode {
    /// `unreachable` was executed: how most toolchains end a panic or abort.
    Unreachable,
    /// A memory access out of bounds, or on a misaligned address.
    MemoryOutOfBounds,
    /// A table access out of bounds.
    TableOutOfBounds,
    /// An indirect call to a null entry.
    IndirectCallToNull,
    /// An indirect call with another signature than the entry's.
    BadSignature,
    /// Integer overflow in a conversion or division.
    IntegerOverflow,
    /// Integer division by zero.
    IntegerDivisionByZero,
    /// A float that has no integer value was converted.
    BadConversionToInteger,
    /// A rule of the canonical ABI was broken: a bad string, list, discriminant, pointer or re-entrance.
    CanonicalAbi,
    /// The guest ended itself through `wasi:cli/exit` in a function that must return a value.
    Exit,
    /// Any other trap of the engine.
    Other,
}

impl Outcome {
    /// The most imports a denial names: a hostile component may have thousands, and a receipt must stay small.
    pub const DENIED_NAMES: usize = 64;
    /// The most bytes of each import's name in a denial.
    pub const DENIED_NAME_BYTES: usize = 128;

    /// What the types alone cannot say: the order and the sizes of a denial's names.
    pub fn check(&self) -> Result<(), String> {
        let Self::Denied(names) = self else { return Ok(()) };
        if names.len() > Self::DENIED_NAMES || names.iter().any(|n| n.len() > Self::DENIED_NAME_BYTES) {
            let (names, bytes) = (Self::DENIED_NAMES, Self::DENIED_NAME_BYTES);
            return Err(format!("a denial names at most {names} imports of {bytes} bytes"));
        }
        if !names.is_sorted_by(|a, b| a < b) {
            return Err("a denial's imports are unsorted, or one occurs twice".to_owned());
        }
        Ok(())
    }

    /// The stable code, as in receipts, JSON and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Ok(_) => "ok",
            Self::GuestError(_) => "guest-error",
            Self::Trap(_) => "trap",
            Self::OutOfFuel => "out-of-fuel",
            Self::OutOfMemory => "out-of-memory",
            Self::StackOverflow => "stack-overflow",
            Self::TooManyInstances => "too-many-instances",
            Self::OutputTooLarge => "output-too-large",
            Self::ValuesTooLarge => "values-too-large",
            Self::StdioTooLarge => "stdio-too-large",
            Self::JournalTooLarge => "journal-too-large",
            Self::Denied(_) => "denied",
            Self::Withdrawn(_) => "withdrawn",
            Self::TimedOut => "timed-out",
        }
    }

    /// The id of the output, where the function returned one.
    pub fn output(&self) -> Option<&BlobId> {
        match self {
            Self::Ok(id) | Self::GuestError(id) => Some(id),
            _ => None,
        }
    }
}

impl TrapCode {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::MemoryOutOfBounds => "memory-out-of-bounds",
            Self::TableOutOfBounds => "table-out-of-bounds",
            Self::IndirectCallToNull => "indirect-call-to-null",
            Self::BadSignature => "bad-signature",
            Self::IntegerOverflow => "integer-overflow",
            Self::IntegerDivisionByZero => "integer-division-by-zero",
            Self::BadConversionToInteger => "bad-conversion-to-integer",
            Self::CanonicalAbi => "canonical-abi",
            Self::Exit => "exit",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trap(code) => write!(f, "trap ({})", code.code()),
            Self::Withdrawn(why) => write!(f, "withdrawn ({})", why.code()),
            Self::Denied(imports) => write!(f, "denied ({})", imports.join(", ")),
            other => f.write_str(other.code()),
        }
    }
}
