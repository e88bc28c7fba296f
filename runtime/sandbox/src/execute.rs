//! Running one action: instantiate, call, and say how it ended. Everything the guest does is an outcome.

use crate::engine::{MAX_CROSSING_BYTES, Sandbox};
use crate::error::{ExecuteError, Stop, chain};
use crate::fast;
use crate::host::{Host, NoHost};
use crate::limits::Meter;
use crate::load::{Export, Loaded};
use crate::real::{Real, Recording, Source, Strayed, Tape, Watch};
use crate::stdio::{Capture, Written};
use crate::world::{Program, State};
use crate::{command, convert};
use actum_model::{
    Action, Authority, BlobId, Bodies, Did, Function, Granted, Journal, Limits, Outcome, ProfileId, Receipt,
    TrapCode, Value, codec, permission, receipt::Stdio, value,
};
use serde_bytes::ByteBuf;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use wasmtime::component::{Func, Val};
use wasmtime::{CallHook, Store, StoreContextMut, Trap, UpdateDeadline, WasmBacktrace};

/// How a function is called.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    /// Values in, a value out; through the typed path where the signature has one.
    Typed(Option<fast::Call>),
    /// A command program, through its standard streams.
    Command,
}

/// Cancels actions while they run. Clones share one switch.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// Ends every action run with this token, within some tens of milliseconds. It cannot be undone.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How an action ended, with everything a receipt says about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Execution {
    /// How it ended.
    pub outcome: Outcome,
    /// The canonical encoding of the result, where the function returned one: the bytes the outcome's id names.
    pub output: Option<Vec<u8>>,
    /// Fuel units burned, instantiation included. The whole limit when it ran out.
    pub fuel: u64,
    /// The most linear memory held at once, in bytes, summed over all memories.
    pub memory_bytes: u64,
    /// The host answers the guest observed, in the order it did. Empty for a pure action.
    pub journal: Journal,
    /// The bodies the journal names by id.
    pub bodies: Bodies,
    /// What the action asked for and was not given: [`Surroundings::withheld`].
    pub withheld: BTreeSet<Granted>,
    /// What a typed function wrote. Empty for a command that ended by itself: there it is the output.
    pub stdio: Stdio,
    /// How long it really took. Not part of a receipt.
    pub wall: Duration,
}

impl Execution {
    /// The captured stdio as one block: its id and its bytes. `None` when nothing was written.
    pub fn stdio_block(&self) -> Option<(BlobId, Vec<u8>)> {
        if self.stdio.stdout.is_empty() && self.stdio.stderr.is_empty() {
            return None;
        }
        let bytes = codec::encode(&self.stdio);
        Some((BlobId::of(&bytes), bytes))
    }

    /// The receipt to sign: this action, by this authority, ended so under this profile. `iat` is in seconds. Of the
    /// request it answers it says nothing: that is for whoever received one to add.
    pub fn receipt(
        &self,
        action: Action,
        iss: Did,
        iat: u64,
        authority: Authority,
        profile: ProfileId,
    ) -> Receipt {
        Receipt {
            iss,
            iat,
            action,
            authority,
            invocation: None,
            withheld: self.withheld.clone(),
            profile,
            outcome: self.outcome.clone(),
            fuel: self.fuel,
            memory_bytes: self.memory_bytes,
            journal: self.journal.id(),
            stdio: self.stdio_block().map(|(id, _)| id),
        }
    }

    /// A denial: nothing was instantiated.
    fn denied(names: Vec<String>, withheld: BTreeSet<Granted>) -> Self {
        Self {
            outcome: Outcome::Denied(names),
            output: None,
            fuel: 0,
            memory_bytes: 0,
            journal: Journal::default(),
            bodies: Bodies::new(),
            withheld,
            stdio: Stdio::default(),
            wall: Duration::ZERO,
        }
    }
}

/// What is around one action: nothing of it can change a result but what the host answers, which is journalled, and what
/// is withheld, which the receipt says.
#[derive(Clone)]
pub struct Surroundings {
    /// The real world behind what the action is granted. Default: [`NoHost`].
    pub host: Arc<dyn Host>,
    /// Ends the action with [`ExecuteError::Cancelled`] soon after it is cancelled. Default: never.
    pub cancel: CancelToken,
    /// What the action asks for and is not given: it runs as if it had not asked, and its receipt says so. Part of its
    /// permissions, and nothing where the action is not `partial`. Default: nothing.
    pub withheld: BTreeSet<Granted>,
    /// When the action is ended as `timed-out`, where that is before [`SandboxConfig::wall_clock`] has passed.
    ///
    /// [`SandboxConfig::wall_clock`]: crate::SandboxConfig::wall_clock
    pub deadline: Option<Instant>,
    /// Whether another action waits for this one: it then waits for nobody, and ends with [`ExecuteError::NoPlace`] where
    /// all of [`Pool::nested`] run. Default: no.
    ///
    /// [`Pool::nested`]: crate::Pool::nested
    pub nested: bool,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self {
            host: Arc::new(NoHost),
            cancel: CancelToken::default(),
            withheld: BTreeSet::new(),
            deadline: None,
            nested: false,
        }
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

/// A journal being replayed, and how the replay left it.
pub(crate) struct Replayed {
    pub(crate) execution: Execution,
    /// The first question that is not the recorded one.
    pub(crate) strayed: Option<Strayed>,
}

/// How the guest ended, before the outcome is made of it.
enum End {
    /// It returned: the value, or nothing for a function without a result.
    Returned(Option<Value>),
    /// It ended itself with this status.
    Exited(u8),
    /// It was ended.
    Stopped(Outcome),
}

impl Sandbox {
    /// Runs one action and says how it ended.
    ///
    /// `args` must be the bytes `action.args` names: the caller checks that when it admits the action, not this
    /// function. Imports outside the virtual world end it as [`Outcome::Denied`] before anything is instantiated.
    /// Waits for a free slot of the pool first; waiting does not count towards the wall-clock protection.
    ///
    /// # Errors
    /// [`ExecuteError`] for the caller's mistakes and the host's failures. Whatever the guest does is an outcome.
    pub fn execute(&self, loaded: &Loaded, action: &Action, args: &[u8]) -> Result<Execution, ExecuteError> {
        self.execute_in(loaded, action, args, &Surroundings::default())
    }

    /// As [`Self::execute`], with a host behind what the action is granted, and ways to end it early.
    ///
    /// # Errors
    /// As [`Self::execute`], and [`ExecuteError::Cancelled`] and [`ExecuteError::NoPlace`].
    pub fn execute_in(
        &self,
        loaded: &Loaded,
        action: &Action,
        args: &[u8],
        around: &Surroundings,
    ) -> Result<Execution, ExecuteError> {
        Ok(self.run(loaded, action, args, around, Source::Live, true)?.execution)
    }

    /// As [`Self::execute`], always through dynamic values. For tests and measurements: the result is the same.
    #[doc(hidden)]
    pub fn execute_dynamically(
        &self,
        loaded: &Loaded,
        action: &Action,
        args: &[u8],
    ) -> Result<Execution, ExecuteError> {
        Ok(self.run(loaded, action, args, &Surroundings::default(), Source::Live, false)?.execution)
    }

    /// As [`Self::execute`], with answers from a journal and nowhere else, and without what was withheld.
    pub(crate) fn execute_recorded(
        &self,
        loaded: &Loaded,
        receipt: &Receipt,
        args: &[u8],
        source: Source,
    ) -> Result<Replayed, ExecuteError> {
        let around = Surroundings { withheld: receipt.withheld.clone(), ..Surroundings::default() };
        self.run(loaded, &receipt.action, args, &around, source, true)
    }

    fn run(
        &self,
        loaded: &Loaded,
        action: &Action,
        args: &[u8],
        around: &Surroundings,
        source: Source,
        typed: bool,
    ) -> Result<Replayed, ExecuteError> {
        if action.component != *loaded.id() {
            return Err(ExecuteError::WrongComponent {
                asked: Box::new(action.component),
                given: Box::new(*loaded.id()),
            });
        }
        let (export, function) =
            loaded.export(&action.function).ok_or_else(|| ExecuteError::NoSuchFunction {
                asked: action.function.clone(),
                offered: loaded.functions().iter().map(|f| f.name.to_string()).collect(),
            })?;
        if let Some((limit, asked, ceiling)) = action.limits.exceeds(&self.ceiling()) {
            return Err(ExecuteError::LimitTooHigh { limit, asked, ceiling });
        }
        let withheld = &around.withheld;
        permission::check_withheld(action, withheld).map_err(|reason| ExecuteError::Withheld { reason })?;
        let granted = action.permissions.difference(withheld).cloned().collect();
        let given = Given::read(function, export.way, args, typed)?;
        let denied = loaded.denied(&granted);
        if !denied.is_empty() || loaded.ready.is_none() {
            return Ok(Replayed { execution: Execution::denied(denied, withheld.clone()), strayed: None });
        }
        let _turn = match around.nested {
            true => self.inner.nested.try_take().ok_or(ExecuteError::NoPlace)?,
            false => self.inner.turns.take(&around.cancel)?,
        };
        let job = Job { sandbox: self, loaded, export, function, action, granted, around };
        job.run(given, source)
    }
}

/// One action being run.
struct Job<'a> {
    sandbox: &'a Sandbox,
    loaded: &'a Loaded,
    export: &'a Export,
    function: &'a Function,
    action: &'a Action,
    /// What the action asks for, less what is withheld.
    granted: BTreeSet<Granted>,
    around: &'a Surroundings,
}

/// The arguments, in the form the way of calling wants.
enum Given<'a> {
    Plain(fast::Call, fast::Plains<'a>),
    Values(Vec<Value>),
    Program(Program),
}

impl<'a> Given<'a> {
    fn read(function: &Function, way: Way, args: &'a [u8], typed: bool) -> Result<Self, ExecuteError> {
        if let Way::Typed(Some(call)) = way
            && typed
            && let Some(plain) = fast::read(&function.params, args)
        {
            return Ok(Self::Plain(call, plain));
        }
        let values = value::decode_params(&function.params, args, args.len())?;
        Ok(match way {
            Way::Command => Self::Program(command::program(values).ok_or_else(unfit)?),
            Way::Typed(_) => Self::Values(values),
        })
    }
}

impl Job<'_> {
    fn run(&self, mut given: Given<'_>, source: Source) -> Result<Replayed, ExecuteError> {
        let start = Instant::now();
        let limits = &self.action.limits;
        let is_command = matches!(self.export.way, Way::Command);
        let program = match &mut given {
            Given::Program(program) => std::mem::take(program),
            _ => Program::default(),
        };
        let capture = Capture::new(if is_command { limits.output_bytes } else { limits.stdio_bytes });
        let real = self.real(source, self.around.host.clone(), start);
        let mut store = self.store(Meter::new(limits), capture, program, real)?;
        let end = self.call(&mut store, given)?;
        let left = store.get_fuel().map_err(host)?;
        // Everything the guest held is back in the pool before anything is encoded.
        let mut state = store.into_data();
        let memory_bytes = state.meter.peak_memory();
        let Recording { journal, bodies, strayed } = state.real.tape.finish();
        let (outcome, output, stdio) =
            conclude(self.function, limits, is_command, end, state.capture.take())?;
        let fuel = match outcome {
            Outcome::OutOfFuel => limits.fuel,
            _ => limits.fuel.saturating_sub(left),
        };
        let wall = start.elapsed();
        let withheld = self.around.withheld.clone();
        let execution =
            Execution { outcome, output, fuel, memory_bytes, journal, bodies, withheld, stdio, wall };
        Ok(Replayed { execution, strayed })
    }

    /// The action's share of the real world.
    fn real(&self, source: Source, host: Arc<dyn Host>, start: Instant) -> Real {
        let own = start + self.sandbox.inner.wall_clock;
        let deadline = self.around.deadline.map_or(own, |given| given.min(own));
        let watch = Watch { deadline, cancel: self.around.cancel.clone() };
        let tape = Tape::new(source, self.action.limits.journal_bytes, Arc::clone(&host));
        Real::new(self.granted.clone(), tape, host, watch)
    }

    fn store(
        &self,
        meter: Meter,
        capture: Capture,
        program: Program,
        real: Real,
    ) -> Result<Store<State>, ExecuteError> {
        let inner = &self.sandbox.inner;
        let state = State::new(meter, capture, program, *self.action.seed, self.action.time_base, real);
        let mut store = Store::new(&inner.engine, state);
        store.limiter(|state| &mut state.meter);
        store.set_fuel(self.action.limits.fuel).map_err(host)?;
        store.set_hostcall_fuel(MAX_CROSSING_BYTES);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut store| {
            let state = store.data_mut();
            state.toll.is_tick();
            let looked = state.real.watch.check();
            if looked.is_err() {
                state.toll.end();
            }
            looked.map(|()| UpdateDeadline::Continue(1))
        });
        if !self.loaded.imports().is_empty() {
            store.call_hook(pay);
        }
        Ok(store)
    }

    fn call(&self, store: &mut Store<State>, given: Given<'_>) -> Result<End, ExecuteError> {
        let Some(ready) = &self.loaded.ready else { return Err(unfit()) };
        let instance = match ready.instantiate(&mut *store) {
            Ok(instance) => instance,
            Err(error) => {
                let entered = store.data().toll.entered();
                return self.instantiation_failed(&error, entered);
            }
        };
        let func = instance.get_func(&mut *store, self.export.index).ok_or_else(unfit)?;
        let called = match given {
            Given::Program(_) => run_command(store, &func),
            Given::Plain(call, plain) => call(store, &func, plain.as_slice()).map(End::Returned),
            Given::Values(values) => call_dynamically(store, &func, self.function, values),
        };
        match called {
            Ok(end) => Ok(end),
            Err(error) => end(&error).unwrap_or(Ok(End::Stopped(Outcome::Trap(TrapCode::CanonicalAbi)))),
        }
    }

    /// Tells the guest's own failure at instantiation (a start function's trap, too much memory, too many instances)
    /// from the host's.
    fn instantiation_failed(&self, error: &wasmtime::Error, entered: bool) -> Result<End, ExecuteError> {
        if let Some(known) = end(error) {
            return known;
        }
        if self.one_instance_too_many(error) {
            return Ok(End::Stopped(Outcome::TooManyInstances));
        }
        // A start function may be an import itself: then no WebAssembly is on the stack when the canonical ABI refuses what
        // it is called with, in words only.
        if entered || error.is::<WasmBacktrace>() {
            return Ok(End::Stopped(Outcome::Trap(TrapCode::CanonicalAbi)));
        }
        Err(host_failure(error))
    }

    /// Whether the engine refused one instance more than the action may have. It says so in words only, which are those of
    /// the engine's release that the profile names; no guest has a say in them. Nothing else tells it: whether the
    /// engine called back before (as at each tick of its clock) is a matter of time.
    fn one_instance_too_many(&self, error: &wasmtime::Error) -> bool {
        let limit = self.action.limits.instances.saturating_add(1);
        error.root_cause().to_string()
            == format!("resource limit exceeded: instance count too high at {limit}")
    }
}

/// Takes the fuel that the host's work costs: before the guest's allocator makes room for the answer, and when the
/// outermost call of the host returns.
fn pay(mut store: StoreContextMut<'_, State>, hook: CallHook) -> wasmtime::Result<()> {
    let toll = &mut store.data_mut().toll;
    match hook {
        CallHook::CallingHost => toll.enter(),
        CallHook::CallingWasm if toll.is_inside() => return settle(&mut store),
        CallHook::ReturningFromHost if toll.leave() => return settle(&mut store),
        _ => {}
    }
    Ok(())
}

fn settle(store: &mut StoreContextMut<'_, State>) -> wasmtime::Result<()> {
    let owed = store.data_mut().owed();
    if owed == 0 {
        return Ok(()); // The engine's own work, such as growing a memory: its price is the instruction's.
    }
    match store.get_fuel()?.checked_sub(owed) {
        Some(left) => store.set_fuel(left),
        None => Err(Stop::Fuel.into()),
    }
}

fn unfit() -> ExecuteError {
    ExecuteError::Host { reason: "a value does not fit the type it was decoded by".to_owned() }
}

fn host(error: wasmtime::Error) -> ExecuteError {
    host_failure(&error)
}

fn host_failure(error: &wasmtime::Error) -> ExecuteError {
    ExecuteError::Host { reason: chain(error) }
}

fn call_dynamically(
    store: &mut Store<State>,
    func: &Func,
    function: &Function,
    values: Vec<Value>,
) -> wasmtime::Result<End> {
    let params: Option<Vec<Val>> =
        function.params.iter().zip(values).map(|(p, v)| convert::lower(&p.ty, v)).collect();
    let misfit = || Stop::Host("a value does not fit its type".to_owned());
    let params = params.ok_or_else(misfit)?;
    let mut results = match function.result {
        Some(_) => vec![Val::Bool(false)],
        None => Vec::new(),
    };
    func.call(&mut *store, &params, &mut results)?;
    let value = match (&function.result, results.pop()) {
        (Some(ty), Some(val)) => Some(convert::lift(ty, val).ok_or_else(misfit)?),
        _ => None,
    };
    Ok(End::Returned(value))
}

fn run_command(store: &mut Store<State>, func: &Func) -> wasmtime::Result<End> {
    let run = func.typed::<(), (Result<(), ()>,)>(&mut *store)?;
    let (result,) = run.call(&mut *store, ())?;
    Ok(End::Exited(u8::from(result.is_err())))
}

/// What an error of the engine means, as far as its type says it. `None`: it has no type of its own.
fn end(error: &wasmtime::Error) -> Option<Result<End, ExecuteError>> {
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return Some(match stop {
            Stop::Memory => Ok(End::Stopped(Outcome::OutOfMemory)),
            Stop::Stdio => Ok(End::Stopped(Outcome::StdioTooLarge)),
            Stop::Journal => Ok(End::Stopped(Outcome::JournalTooLarge)),
            Stop::Withdrawn(why) => Ok(End::Stopped(Outcome::Withdrawn(*why))),
            Stop::Fuel => Ok(End::Stopped(Outcome::OutOfFuel)),
            // Whoever replays looks at how it strayed, not at this.
            Stop::Strayed => Ok(End::Stopped(Outcome::Trap(TrapCode::Other))),
            Stop::TimedOut => Ok(End::Stopped(Outcome::TimedOut)),
            Stop::Fault(code) => Ok(End::Stopped(Outcome::Trap(*code))),
            Stop::Exit(status) => Ok(End::Exited(*status)),
            Stop::Cancelled => Err(ExecuteError::Cancelled),
            Stop::Host(reason) => Err(ExecuteError::Host { reason: reason.clone() }),
        });
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return Some(Ok(End::Stopped(trapped(*trap))));
    }
    if error.downcast_ref::<wasmtime::component::ResourceTableError>().is_some() {
        return Some(Ok(End::Stopped(Outcome::Trap(TrapCode::Other))));
    }
    if crate::crossing::exhausted(error) {
        return Some(Ok(End::Stopped(Outcome::ValuesTooLarge)));
    }
    let lacks = error.is::<wasmtime::PoolConcurrencyLimitError>() || error.is::<wasmtime::OutOfMemory>();
    if lacks || error.chain().any(|cause| cause.is::<std::io::Error>()) {
        return Some(Err(host_failure(error)));
    }
    None
}

/// The outcome of an engine's trap.
fn trapped(trap: Trap) -> Outcome {
    let code = match trap {
        Trap::StackOverflow => return Outcome::StackOverflow,
        Trap::OutOfFuel => return Outcome::OutOfFuel,
        Trap::Interrupt => return Outcome::TimedOut,
        Trap::UnreachableCodeReached => TrapCode::Unreachable,
        Trap::MemoryOutOfBounds | Trap::HeapMisaligned => TrapCode::MemoryOutOfBounds,
        Trap::TableOutOfBounds => TrapCode::TableOutOfBounds,
        Trap::IndirectCallToNull => TrapCode::IndirectCallToNull,
        Trap::BadSignature => TrapCode::BadSignature,
        Trap::IntegerOverflow => TrapCode::IntegerOverflow,
        Trap::IntegerDivisionByZero => TrapCode::IntegerDivisionByZero,
        Trap::BadConversionToInteger => TrapCode::BadConversionToInteger,
        Trap::CannotEnterComponent
        | Trap::CannotLeaveComponent
        | Trap::InvalidChar
        | Trap::StringOutOfBounds
        | Trap::ListOutOfBounds
        | Trap::InvalidDiscriminant
        | Trap::UnalignedPointer
        | Trap::DebugAssertStringEncodingFinished
        | Trap::DebugAssertEqualCodeUnits
        | Trap::DebugAssertPointerAligned
        | Trap::DebugAssertUpperBitsUnset => TrapCode::CanonicalAbi,
        _ => TrapCode::Other,
    };
    Outcome::Trap(code)
}

/// Makes the outcome, the output and the stdio of how the guest ended.
fn conclude(
    function: &Function,
    limits: &Limits,
    is_command: bool,
    end: End,
    written: Written,
) -> Result<(Outcome, Option<Vec<u8>>, Stdio), ExecuteError> {
    let stdio = |written: Written| Stdio {
        stdout: ByteBuf::from(written.stdout),
        stderr: ByteBuf::from(written.stderr),
    };
    let (value, written) = match end {
        End::Returned(value) => (value, written),
        End::Exited(status) if is_command => (Some(command::result(status, written)), Written::default()),
        End::Exited(_) => return Ok((Outcome::Trap(TrapCode::Exit), None, stdio(written))),
        End::Stopped(Outcome::StdioTooLarge) if is_command => {
            return Ok((Outcome::OutputTooLarge, None, Stdio::default()));
        }
        // What a command wrote before it was ended is no output, but it says what happened: kept where it fits.
        End::Stopped(outcome) if is_command && written.len() > limits.stdio_bytes => {
            return Ok((outcome, None, Stdio::default()));
        }
        End::Stopped(outcome) => return Ok((outcome, None, stdio(written))),
    };
    let failed = matches!(value, Some(Value::Result(Err(_))));
    // The engine has checked the type; what encoding can still refuse is a value too large or too deep for the format.
    let output = match value::encode_result_of(function.result.as_ref(), value) {
        Ok(output) if u64::try_from(output.len()).unwrap_or(u64::MAX) <= limits.output_bytes => output,
        _ => return Ok((Outcome::OutputTooLarge, None, stdio(written))),
    };
    let id = BlobId::of(&output);
    let outcome = if failed { Outcome::GuestError(id) } else { Outcome::Ok(id) };
    Ok((outcome, Some(output), stdio(written)))
}
