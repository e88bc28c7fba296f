//! The virtual world: the WASI 0.2 interfaces that show a guest nothing real, and the only ones ever linked.
//!
//! Clocks are virtual, randomness is the action's seed, there is no environment and no argument, and no file but those of
//! a tree that was granted; a command alone has arguments and standard input, and those are the action's. What is not in
//! [`WORLD`] is denied by name.

use crate::clock::{Clock, ClockView, HasClock};
use crate::error::Stop;
use crate::io::{HasIo, HasTable, IoView};
use crate::limits::Meter;
use crate::random::{Chance, HasRandomness, Randomness};
use crate::real::files::{self, FilesView};
use crate::real::{self, Real, RealView};
use crate::stdio::Capture;
use crate::toll::Toll;
use actum_model::Permission;
use std::sync::Arc;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::{cli, clocks, random, sync};
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};

/// The most handles (streams, pollables, errors) a guest may hold at once. One more is a trap.
pub(crate) const MAX_HANDLES: usize = 10_000;

/// What one action's guest lives in: the store's data.
pub(crate) struct State {
    pub(crate) meter: Meter,
    pub(crate) capture: Capture,
    pub(crate) program: Program,
    clock: Arc<Clock>,
    seed: [u8; 32],
    random: Option<Randomness>,
    stdin: Option<MemoryInputPipe>,
    table: ResourceTable,
    pub(crate) toll: Toll,
    pub(crate) real: Real,
}

/// What a command program is given. Empty for a typed function.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub(crate) args: Vec<String>,
    pub(crate) stdin: Vec<u8>,
}

impl State {
    pub(crate) fn new(
        meter: Meter,
        capture: Capture,
        program: Program,
        seed: [u8; 32],
        time_base: u64,
        real: Real,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_HANDLES);
        Self {
            meter,
            capture,
            program,
            clock: Clock::new(time_base),
            seed,
            random: None,
            stdin: None,
            table,
            toll: Toll::default(),
            real,
        }
    }

    /// The fuel owed for the host's work since this was last called.
    pub(crate) fn owed(&mut self) -> u64 {
        let bytes = self.real.tape.take_unpaid();
        self.toll.bytes(usize::try_from(bytes).unwrap_or(usize::MAX));
        if self.real.tape.ended() {
            self.toll.end();
        }
        self.toll.take()
    }

    // Each of these is how one host call begins, so each pays for one.

    pub(crate) fn real(&mut self) -> RealView<'_> {
        self.toll.call();
        RealView { real: &mut self.real, table: &mut self.table }
    }

    fn clocks(&mut self) -> ClockView<'_> {
        self.toll.call();
        ClockView { clock: &self.clock, table: &mut self.table }
    }

    fn io(&mut self) -> IoView<'_> {
        self.toll.call();
        IoView { clock: &self.clock, table: &mut self.table, real: &mut self.real, toll: &mut self.toll }
    }

    fn table(&mut self) -> &mut ResourceTable {
        self.toll.call();
        &mut self.table
    }

    fn randomness(&mut self) -> Chance<'_> {
        self.toll.call();
        let seed = self.seed;
        Chance { random: self.random.get_or_insert_with(|| Randomness::new(seed)), toll: &mut self.toll }
    }

    pub(crate) fn files(&mut self) -> FilesView<'_> {
        self.toll.call();
        FilesView { real: &mut self.real, table: &mut self.table, toll: &mut self.toll }
    }

    fn itself(&mut self) -> &mut Self {
        self.toll.call();
        self
    }
}

/// Names [`State`] to the linker, for `wasi:cli`.
struct HasCli;

impl HasData for HasCli {
    type Data<'a> = &'a mut State;
}

impl cli::environment::Host for State {
    fn get_environment(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(Vec::new())
    }

    fn get_arguments(&mut self) -> wasmtime::Result<Vec<String>> {
        self.toll.bytes(self.program.args.iter().map(String::len).sum());
        Ok(self.program.args.clone())
    }

    fn initial_cwd(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(None)
    }
}

impl cli::exit::Host for State {
    fn exit(&mut self, status: Result<(), ()>) -> wasmtime::Result<()> {
        Err(Stop::Exit(u8::from(status.is_err())).into())
    }

    fn exit_with_code(&mut self, status: u8) -> wasmtime::Result<()> {
        Err(Stop::Exit(status).into())
    }
}

impl cli::stdin::Host for State {
    fn get_stdin(&mut self) -> wasmtime::Result<Resource<DynInputStream>> {
        let input = &mut self.program.stdin;
        let pipe = self.stdin.get_or_insert_with(|| MemoryInputPipe::new(std::mem::take(input)));
        let stream: DynInputStream = Box::new(pipe.clone());
        Ok(self.table.push(stream)?)
    }
}

impl State {
    fn output(&mut self, stderr: bool) -> wasmtime::Result<Resource<DynOutputStream>> {
        let stream: DynOutputStream = Box::new(self.capture.stream(stderr));
        Ok(self.table.push(stream)?)
    }
}

impl cli::stdout::Host for State {
    fn get_stdout(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        self.output(false)
    }
}

impl cli::stderr::Host for State {
    fn get_stderr(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        self.output(true)
    }
}

impl cli::terminal_input::Host for State {}
impl cli::terminal_input::HostTerminalInput for State {
    fn drop(&mut self, handle: Resource<cli::terminal_input::TerminalInput>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}
impl cli::terminal_output::Host for State {}
impl cli::terminal_output::HostTerminalOutput for State {
    fn drop(&mut self, handle: Resource<cli::terminal_output::TerminalOutput>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}
impl cli::terminal_stdin::Host for State {
    fn get_terminal_stdin(
        &mut self,
    ) -> wasmtime::Result<Option<Resource<cli::terminal_stdin::TerminalInput>>> {
        Ok(None)
    }
}
impl cli::terminal_stdout::Host for State {
    fn get_terminal_stdout(
        &mut self,
    ) -> wasmtime::Result<Option<Resource<cli::terminal_stdout::TerminalOutput>>> {
        Ok(None)
    }
}
impl cli::terminal_stderr::Host for State {
    fn get_terminal_stderr(
        &mut self,
    ) -> wasmtime::Result<Option<Resource<cli::terminal_stderr::TerminalOutput>>> {
        Ok(None)
    }
}

type Link = fn(&mut Linker<State>) -> wasmtime::Result<()>;

/// Every interface of the virtual world, without its version, and how it is linked.
const WORLD: &[(&str, Link)] = &[
    ("wasi:cli/environment", |l| cli::environment::add_to_linker::<_, HasCli>(l, State::itself)),
    ("wasi:cli/exit", |l| cli::exit::add_to_linker::<_, HasCli>(l, State::itself)),
    ("wasi:cli/stdin", |l| cli::stdin::add_to_linker::<_, HasCli>(l, State::itself)),
    ("wasi:cli/stdout", |l| cli::stdout::add_to_linker::<_, HasCli>(l, State::itself)),
    ("wasi:cli/stderr", |l| cli::stderr::add_to_linker::<_, HasCli>(l, State::itself)),
    ("wasi:cli/terminal-input", |l| cli::terminal_input::add_to_linker::<_, HasCli>(l, State::itself)),
    ("wasi:cli/terminal-output", |l| cli::terminal_output::add_to_linker::<_, HasCli>(l, State::itself)),
    ("wasi:cli/terminal-stdin", |l| cli::terminal_stdin::add_to_linker::<_, HasCli>(l, State::itself)),
    ("wasi:cli/terminal-stdout", |l| cli::terminal_stdout::add_to_linker::<_, HasCli>(l, State::itself)),
    ("wasi:cli/terminal-stderr", |l| cli::terminal_stderr::add_to_linker::<_, HasCli>(l, State::itself)),
    ("wasi:clocks/monotonic-clock", |l| {
        clocks::monotonic_clock::add_to_linker::<_, HasClock>(l, State::clocks)
    }),
    ("wasi:clocks/wall-clock", |l| clocks::wall_clock::add_to_linker::<_, HasClock>(l, State::clocks)),
    ("wasi:filesystem/preopens", files::link_preopens),
    ("wasi:filesystem/types", files::link_types),
    ("wasi:io/error", |l| {
        wasmtime_wasi_io::bindings::wasi::io::error::add_to_linker::<_, HasTable>(l, State::table)
    }),
    ("wasi:io/poll", |l| sync::io::poll::add_to_linker::<_, HasIo>(l, State::io)),
    ("wasi:io/streams", |l| sync::io::streams::add_to_linker::<_, HasIo>(l, State::io)),
    ("wasi:random/random", |l| random::random::add_to_linker::<_, HasRandomness>(l, State::randomness)),
    ("wasi:random/insecure", |l| random::insecure::add_to_linker::<_, HasRandomness>(l, State::randomness)),
    ("wasi:random/insecure-seed", |l| {
        random::insecure_seed::add_to_linker::<_, HasRandomness>(l, State::randomness)
    }),
];

/// A linker holding the virtual world and everything that can be granted, and nothing else.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    for (_, link) in WORLD {
        link(&mut linker)?;
    }
    real::link(&mut linker)?;
    Ok(linker)
}

/// How an import is had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// It is part of the virtual world.
    Virtual,
    /// It is there for an action that was granted this.
    Granted(Permission),
    /// Nobody gives it. The permission it would need, where there is a name for it.
    Nowhere(Option<Permission>),
}

/// The permission that gives a component this import, by its name and version; none where no permission does.
pub fn grantable(import: &str) -> Option<Permission> {
    match source(import) {
        Source::Granted(permission) => Some(permission),
        Source::Virtual | Source::Nowhere(_) => None,
    }
}

/// Why a component does not get this import, and what to do instead; for one that is neither in the virtual world nor
/// granted.
pub fn why_refused(import: &str) -> &'static str {
    let (name, version) = import.split_once('@').unwrap_or((import, ""));
    if name.starts_with("wasi:") && version.starts_with("0.3") {
        "WASI 0.3 has more than one order of events, so it cannot be replayed: build for WASI 0.2 (wasm32-wasip2)"
    } else if name.starts_with("wasi:sockets/") {
        "connections cannot be journalled: ask for wasi:http instead"
    } else if grantable(import).is_some() {
        "it must be granted"
    } else if name.starts_with("wasi:") {
        "it is not in the virtual world of this profile"
    } else {
        "nobody provides it"
    }
}

/// Where an import comes from, by its name and version.
pub(crate) fn source(import: &str) -> Source {
    let (name, version) = match import.split_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (import, None),
    };
    if let Some(permission) = real::permission(name, version) {
        return Source::Granted(permission);
    }
    let release = version.and_then(|v| v.strip_prefix("0.2.")).unwrap_or_default();
    let any_0_2 = !release.is_empty() && release.bytes().all(|b| b.is_ascii_digit());
    if any_0_2 && WORLD.iter().any(|(known, _)| *known == name) {
        return Source::Virtual;
    }
    Source::Nowhere(name.starts_with("wasi:sockets/").then_some(Permission::Network))
}
