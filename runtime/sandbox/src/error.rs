//! What can go wrong before or beside the guest. Whatever the guest itself does is an `Outcome`, never an error here.

use actum_model::{ComponentId, FunctionName, TrapCode, Withdrawal, value::ValueError};

/// Why a sandbox could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The engine refused its settings, or the machine its memory reservation.
    #[error("the engine cannot start: {reason}")]
    Engine {
        /// What the engine said.
        reason: String,
    },
    /// The directory for compiled components cannot be used.
    #[error("the cache of compiled components cannot be used: {reason}")]
    Cache {
        /// What the cache said.
        reason: String,
    },
    /// The thread that watches the wall clock could not be started.
    #[error("the wall-clock watcher cannot start")]
    Watcher(#[source] std::io::Error),
}

/// Why bytes are not a component that can be run here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Over the size limit; nothing was parsed.
    #[error("{actual} bytes where a component may have at most {limit}")]
    TooLarge {
        /// Bytes given.
        actual: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Does not begin as WebAssembly does.
    #[error("not WebAssembly: it does not begin with the bytes 00 61 73 6d")]
    NotWasm,
    /// The text format, where the binary is wanted.
    #[error("WebAssembly text, not a binary: convert it first, e.g. with `wasm-tools parse`")]
    Text,
    /// A core module, where a component is wanted.
    #[error(
        "a core WebAssembly module, not a component: build for wasm32-wasip2, or wrap it with `wasm-tools component new`"
    )]
    CoreModule,
    /// The bytes end in the middle of a section.
    #[error("truncated: a section begins at byte {at} and the file ends inside it")]
    Truncated {
        /// Where the incomplete section begins.
        at: usize,
    },
    /// Within the size limit, but made of more than this profile compiles. Nothing was compiled.
    #[error("{limit} is {asked}, but this profile compiles at most {allowed}")]
    OverBound {
        /// The bound's name, as in the profile's settings, e.g. `load-functions`.
        limit: &'static str,
        /// What the component needs, as far as it was counted.
        asked: u64,
        /// What is allowed.
        allowed: u64,
    },
    /// Not valid, or uses a feature or a size this profile does not have.
    #[error("not a component this profile runs: {reason}")]
    Invalid {
        /// What the engine said.
        reason: String,
    },
    /// Exports no function that takes and gives plain values.
    #[error("exports no callable function{}", left_out.first().map(|f| format!("; {f}")).unwrap_or_default())]
    NothingCallable {
        /// The functions it does export, each with the reason it is not offered.
        left_out: Vec<crate::LeftOut>,
    },
    /// Imports an interface of the virtual world, but something in it that this version does not have.
    #[error("imports what the virtual world of this version does not have: {reason}")]
    Unlinkable {
        /// What the linker said.
        reason: String,
    },
    /// It was not compiled in time. The compilation goes on, and is kept when it ends: asking later may find it done.
    #[error("compiling it takes longer than {seconds} s; it goes on in the background")]
    CompileTooSlow {
        /// How long was waited.
        seconds: u64,
    },
    /// Others were being compiled all the time.
    #[error("{running} other components are being compiled, and none was done within {seconds} s")]
    CompilersBusy {
        /// How many are compiled at once.
        running: usize,
        /// How long was waited.
        seconds: u64,
    },
    /// The caller cancelled the load.
    #[error("cancelled while waiting for the compiler")]
    Cancelled,
    /// The host failed: a thread, the compiler itself. It says nothing about the component.
    #[error("the host failed: {reason}")]
    Host {
        /// What failed.
        reason: String,
    },
}

impl LoadError {
    /// Whether it is about this host and this moment, not about the component: another host, or a later moment, may
    /// load the same bytes.
    pub fn is_of_the_host(&self) -> bool {
        match self {
            Self::CompileTooSlow { .. }
            | Self::CompilersBusy { .. }
            | Self::Cancelled
            | Self::Host { .. } => true,
            Self::TooLarge { .. }
            | Self::NotWasm
            | Self::Text
            | Self::CoreModule
            | Self::Truncated { .. }
            | Self::OverBound { .. }
            | Self::Invalid { .. }
            | Self::NothingCallable { .. }
            | Self::Unlinkable { .. } => false,
        }
    }
}

/// Why an action could not be run at all: the caller's mistake or the host's failure. No receipt comes of these.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The action names another component than the one given.
    #[error("the action is for component {asked}, but {given} was given")]
    WrongComponent {
        /// The component the action names.
        asked: Box<ComponentId>,
        /// The component given.
        given: Box<ComponentId>,
    },
    /// The component has no such callable function.
    #[error("no function {asked}; offered: {}", offered.join(", "))]
    NoSuchFunction {
        /// The function the action names.
        asked: FunctionName,
        /// The functions there are.
        offered: Vec<String>,
    },
    /// The arguments are not the canonical encoding of the function's parameters.
    #[error("the arguments do not fit the function")]
    Args(#[from] ValueError),
    /// A limit of the action exceeds what this sandbox was made for.
    #[error("limit {limit} is {asked}, but this sandbox allows at most {ceiling}")]
    LimitTooHigh {
        /// The limit's name.
        limit: &'static str,
        /// What the action asks for.
        asked: u64,
        /// What the sandbox allows.
        ceiling: u64,
    },
    /// What was withheld is not part of what the action asks for, or the action is not to run with less.
    #[error("{reason}")]
    Withheld {
        /// What is wrong with it.
        reason: String,
    },
    /// The caller cancelled the action while it ran.
    #[error("cancelled while running")]
    Cancelled,
    /// Another action waits for this one, and every place for such is taken. Trying again may help.
    #[error("no place is free for an action that another waits for")]
    NoPlace,
    /// The host failed: memory, address space, the engine. It says nothing about the guest.
    #[error("the host failed: {reason}")]
    Host {
        /// What failed.
        reason: String,
    },
}

/// Why a host function or the limiter ended the guest: travels through the engine as a typed error, never as text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    #[error("memory limit reached")]
    Memory,
    #[error("captured output limit reached")]
    Stdio,
    #[error("journal limit reached")]
    Journal,
    #[error("the guest asked what the journal does not have")]
    Strayed,
    #[error("the authority to run has ended: {}", .0.code())]
    Withdrawn(Withdrawal),
    #[error("no fuel left for the host's work")]
    Fuel,
    #[error("wall-clock protection")]
    TimedOut,
    #[error("cancelled")]
    Cancelled,
    #[error("the guest ended itself with status {0}")]
    Exit(u8),
    #[error("a rule of the virtual world was broken")]
    Fault(TrapCode),
    #[error("host failure: {0}")]
    Host(String),
}

/// The whole chain of an engine error, as one line.
pub(crate) fn chain(error: &wasmtime::Error) -> String {
    format!("{error:#}")
}
