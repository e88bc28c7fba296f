//! `actum flow`: several actions as one plan.

use super::{
    Global, call, invocation,
    node::StopSignal,
    permit::{self, Asks},
};
use crate::{
    error::{CliError, Kind},
    output::{self, Board, Format},
};
use actum_model::Release;
use actum_node::{
    Config, Home,
    flow::{self, Done, Ended, Event, Finished, Flow, How, Options, Step, StepError, plan},
    requester::{CallError, CallProgress, Requester},
};
use serde_json::Value as Json;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Runs several actions as one plan: steps found by intent, outputs put into arguments, in parallel where they can be, each
/// delegated and falling back by itself.
///
/// A plan is a TOML file; docs/flows.md says what stands in it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Run a plan, or go on where it was left
    ///
    /// The output of the last steps goes to stdout as JSON, a line for each step to stderr. When all steps are done, one file
    /// is written that holds every receipt and how outputs were put into arguments; `actum audit` verifies it, offline.
    ///
    /// What is done is not done again: the same plan with the same inputs goes on where it was interrupted or failed.
    Run(Run),
    /// Check a plan and show its steps, sending nothing
    Check(Check),
}

#[derive(Debug, clap::Args)]
struct Run {
    /// The plan, a TOML file
    plan: PathBuf,
    #[command(flatten)]
    inputs: Inputs,
    /// A peer to ask, as a multiaddr; repeat for several. Those of config.toml and those met before are asked too
    #[arg(long, value_name = "ADDRESS")]
    peer: Vec<String>,
    /// Where to write the flow's file [default: flows/FLOW.car in the home]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Do every step anew, whatever is done already
    #[arg(long)]
    again: bool,
    /// Say of each step why this provider was asked, what was checked, and what that cost
    #[arg(long)]
    explain: bool,
}

#[derive(Debug, clap::Args)]
struct Check {
    /// The plan, a TOML file
    plan: PathBuf,
    #[command(flatten)]
    inputs: Inputs,
}

#[derive(Debug, clap::Args)]
struct Inputs {
    /// An input in place of the plan's default, as `name=<JSON>`, `name=<text>` or `name=@file` for a file's text; repeat for
    /// several
    #[arg(long, value_name = "NAME=VALUE", value_parser = input)]
    input: Vec<(String, String)>,
}

fn input(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("an input is written name=value")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Inputs {
    /// What is JSON is taken so, anything else as text.
    fn read(&self) -> Result<BTreeMap<String, Json>, CliError> {
        let usage = |message: String| CliError::new(Kind::Usage, message);
        let mut inputs = BTreeMap::new();
        for (name, value) in &self.input {
            let value = match value.strip_prefix('@') {
                Some(path) => {
                    let text = String::from_utf8(invocation::read_file(path).map_err(usage)?);
                    Json::from(text.map_err(|_| usage(format!("{path} is not UTF-8 text")))?)
                }
                None => serde_json::from_str(value).unwrap_or_else(|_| Json::from(value.as_str())),
            };
            if inputs.insert(name.clone(), value).is_some() {
                return Err(usage(format!("the input {name:?} is given twice")));
            }
        }
        Ok(inputs)
    }
}

pub(crate) fn run(args: Args, global: &Global) -> Result<(), CliError> {
    match args.verb {
        Verb::Run(args) => run_plan(&args, global),
        Verb::Check(args) => check(&args, global),
    }
}

/// Reads a plan and checks it whole, with what this home's configuration has.
fn open(path: &Path, inputs: &Inputs, config: &Config) -> Result<Flow, CliError> {
    let flow = Flow::parse(&plan::read(path)?, inputs.read()?)?;
    flow.check_levels(&config.risk.names())?;
    for step in flow.steps() {
        for grant in &step.grant {
            let wrong = |e| CliError::new(Kind::Usage, format!("step {:?}, grant {grant:?}: {e}", step.name));
            permit::parse(grant).map_err(wrong)?;
        }
    }
    Ok(flow)
}

fn check(args: &Check, global: &Global) -> Result<(), CliError> {
    let home = global.open_locked_home()?;
    let flow = open(&args.plan, &args.inputs, &Config::read(&home.config_path(), false)?)?;
    if global.format == Format::Json {
        let steps = flow.order().iter().filter_map(|at| Some((*at, flow.steps().get(*at)?)));
        let steps = steps.map(|(at, step)| {
            serde_json::json!({
                "name": step.name, "call": step.call, "function": step.function, "risk": step.risk,
                "needs": flow.needs(at).collect::<Vec<_>>(),
            })
        });
        let json = serde_json::json!({
            "flow": flow.id().to_string(), "name": flow.plan().name, "inputs": flow.inputs(),
            "steps": steps.collect::<Vec<_>>(),
        });
        output::json(&json);
        return Ok(());
    }
    output::line(format!("flow {}: {} steps", flow.plan().name, flow.steps().len()));
    for at in flow.order() {
        let Some(step) = flow.steps().get(*at) else { continue };
        let needs: Vec<_> = flow.needs(*at).collect();
        let after =
            if needs.is_empty() { "at once".to_owned() } else { format!("after {}", needs.join(", ")) };
        let risk = step.risk.as_ref().map(|risk| format!(", under risk {risk}")).unwrap_or_default();
        let (call, function) = (output::clean(&step.call), output::clean(&step.function));
        output::line(format!("  {}: {after}, {function} of {call:?}{risk}", step.name));
    }
    output::talk(format!("flow: {}", flow.id()));
    Ok(())
}

fn run_plan(args: &Run, global: &Global) -> Result<(), CliError> {
    let home = Arc::new(global.open_home()?);
    let config = Config::read(&home.config_path(), false)?;
    let flow = open(&args.plan, &args.inputs, &config)?;
    if args.again {
        home.store().remove_flow(&flow.id())?;
    }
    let done = flow::recall(&home, &flow)?;
    let mut finished = match is_complete(&home, &flow, &done)? {
        true => {
            let steps = done.into_iter().map(|(at, done)| (at, Ended::Done(Box::new(done)))).collect();
            Finished { steps, stopped: false }
        }
        false => delegate(args, &home, &config, &flow, done)?,
    };
    if args.explain {
        explain(&flow, &finished);
    }
    finished.take_back(&home, &flow)?;
    let (written, unwritten) = match finished.done().map(|done| flow::bundle(&home, &flow, &done)) {
        Some(Ok(bytes)) => (Some(write(&home, &flow, args.output.as_deref(), &bytes)?), None),
        Some(Err(error)) => (None, Some(CliError::from(error))),
        None => (None, None),
    };
    print(&flow, &finished, written.as_deref(), global.format);
    unwritten.map_or_else(|| conclude(args, &flow, finished), Err)
}

/// Whether nothing is left to be had of anybody.
fn is_complete(home: &Home, flow: &Flow, done: &BTreeMap<usize, Done>) -> Result<bool, CliError> {
    if done.len() < flow.steps().len() {
        return Ok(false);
    }
    for done in done.values() {
        if !home.store().has_component(&done.release.payload().component)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn delegate(
    args: &Run,
    home: &Arc<Home>,
    config: &Config,
    flow: &Flow,
    done: BTreeMap<usize, Done>,
) -> Result<Finished, CliError> {
    let board = Board::default();
    super::runtime()?.block_on(async {
        let mut stop = StopSignal::listen()?;
        let requester = Requester::start(home.clone(), &config.bootstrap, &args.peer).await?;
        let requester = requester.with_policy(config.risk.clone()).with_attest(config.attest.clone());
        let grants = |step: &Step, release: &Release| {
            let who = format!("{}@{}", release.name, release.version);
            let asks = Asks { who, kinds: release.permissions.clone() };
            permit::resolve(home, &step.grant, &asks).map_err(|e| e.words())
        };
        for (at, done) in &done {
            let name = flow.steps().get(*at).map(|step| step.name.as_str()).unwrap_or_default();
            board.end(name, &format!("done before, receipt {}", done.receipt.id()));
        }
        let mut heard = |step: &str, event| report(&board, step, event);
        let options = Options { grants: &grants, done };
        let finished = flow::run(&requester, flow, options, stop.next(), &mut heard).await;
        if finished.as_ref().is_ok_and(|finished| finished.stopped) {
            board.talk("stopping; what was sent goes on where it runs");
        }
        let stopped = requester.stop().await;
        let finished = finished?;
        stopped.map(|()| finished).map_err(CliError::from)
    })
}

/// Says how a step is coming along.
fn report(board: &Board, step: &str, event: Event) {
    let text = match event {
        Event::Started => "looking for somebody who can".to_owned(),
        Event::Call(CallProgress::FellBack { provider, why }) => {
            return board.talk(format!(
                "{step}: {} could not: {}; asking the next",
                provider.short(),
                output::clean(&why)
            ));
        }
        Event::Call(CallProgress::Asking { provider }) => format!("asking {}", provider.short()),
        Event::Call(CallProgress::Queued { ahead }) => format!("waiting for a turn, {ahead} ahead"),
        Event::Call(CallProgress::Fetching { done, total }) => {
            format!("the provider fetches the component, {done} of {total} chunks")
        }
        Event::Call(CallProgress::Running) => "running".to_owned(),
        Event::Call(CallProgress::Resuming { provider }) => {
            format!("asking {} for the answer again", provider.short())
        }
        Event::Done => return board.end(step, "done"),
        Event::Failed(why) => return board.end(step, &format!("failed: {why}")),
    };
    board.say(step, &text);
}

fn explain(flow: &Flow, finished: &Finished) {
    for (step, ended) in steps(flow, finished) {
        if let Ended::Done(done) = ended
            && let Some(explained) = &done.explained
        {
            output::talk(format!("{}:", step.name));
            call::explain(explained);
        }
    }
}

/// Each step with how it ended, in the order of the plan.
fn steps<'a>(flow: &'a Flow, finished: &'a Finished) -> impl Iterator<Item = (&'a Step, &'a Ended)> {
    finished.steps.iter().filter_map(|(at, ended)| Some((flow.steps().get(*at)?, ended)))
}

/// Writes the flow's file, over what is there; gives its path.
fn write(home: &Home, flow: &Flow, asked: Option<&Path>, bytes: &[u8]) -> Result<PathBuf, CliError> {
    let path = match asked {
        Some(path) => path.to_owned(),
        None => home.root().join("flows").join(format!("{}.car", flow.id())),
    };
    let failed = |e| CliError::new(Kind::Usage, format!("cannot write {}: {e}", path.display()));
    if let (None, Some(parent)) = (asked, path.parent()) {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    fs::write(&path, bytes).map_err(failed)?;
    Ok(path)
}

/// The outcome of a step as one word, and what more there is to say of it.
fn outcome(ended: &Ended) -> (&'static str, Option<String>) {
    match ended {
        Ended::Done(_) => ("ok", None),
        Ended::Failed(error) => match &**error {
            StepError::Outcome { outcome, .. } => (outcome.code(), Some(outcome.to_string())),
            error => ("failed", Some(error.to_string())),
        },
        Ended::NotBegun(because) => ("not-begun", Some(format!("it needs {}", because.join(", ")))),
        Ended::Misled(because) => {
            ("misled", Some(format!("it was given what {} said, which is a lie", because.join(", "))))
        }
        Ended::Stopped => ("stopped", None),
    }
}

fn how(how: How) -> &'static str {
    match how {
        How::Now => "now",
        How::Before => "before",
        How::Resumed => "resumed",
    }
}

fn print(flow: &Flow, finished: &Finished, bundle: Option<&Path>, format: Format) {
    if format == Format::Json {
        let steps = steps(flow, finished).map(|(step, ended)| {
            let (outcome, why) = outcome(ended);
            let done = if let Ended::Done(done) = ended { Some(done) } else { None };
            let receipt = match ended {
                Ended::Done(done) => Some(done.receipt.id()),
                Ended::Failed(error) => match &**error {
                    StepError::Outcome { receipt, .. } | StepError::Call(CallError::Lied { receipt, .. }) => {
                        Some(*receipt)
                    }
                    _ => None,
                },
                _ => None,
            };
            serde_json::json!({
                "name": step.name, "outcome": outcome, "why": why, "output": done.map(|d| &d.output),
                "receipt": receipt.map(|id| id.to_string()),
                "provider": done.map(|d| d.receipt.payload().iss.to_string()),
                "fuel": done.map(|d| d.receipt.payload().fuel),
                "risk": done.map_or(step.risk.as_ref(), |d| d.risk.as_ref()),
                "done": done.map(|d| how(d.how)),
            })
        });
        let json = serde_json::json!({
            "flow": flow.id().to_string(), "name": flow.plan().name, "steps": steps.collect::<Vec<_>>(),
            "bundle": bundle.map(|path| path.display().to_string()),
        });
        return output::json(&json);
    }
    let rows = steps(flow, finished).map(|(step, ended)| {
        let (outcome, why) = outcome(ended);
        let said = match ended {
            Ended::Done(done) => {
                let receipt = done.receipt.payload();
                [receipt.iss.short(), output::thousands(receipt.fuel), done.receipt.id().to_string()]
            }
            _ => [String::new(), String::new(), why.unwrap_or_default()],
        };
        [step.name.clone(), outcome.to_owned()].into_iter().chain(said).collect()
    });
    let rows: Vec<Vec<String>> = rows.collect();
    output::talk(output::table(&["STEP", "OUTCOME", "PROVIDER", "FUEL", "RECEIPT"], &rows));
    if let Some(result) = result(flow, finished) {
        output::json(&result);
    }
    if let Some(path) = bundle {
        output::talk(format!("flow: {}", flow.id()));
        output::talk(format!("bundle: {}", path.display()));
    }
}

/// The output of the step that no other needs; of several, an object by their names. None unless all steps are done.
fn result(flow: &Flow, finished: &Finished) -> Option<Json> {
    let done = finished.done()?;
    let needed: BTreeSet<&str> = flow.order().iter().flat_map(|at| flow.needs(*at)).collect();
    let last = done.iter().filter_map(|(at, done)| Some((flow.steps().get(*at)?, *done)));
    let last: Vec<_> = last.filter(|(step, _)| !needed.contains(step.name.as_str())).collect();
    match last.as_slice() {
        [(_, done)] => Some(done.output.clone()),
        several => {
            Some(several.iter().map(|(step, done)| (step.name.clone(), done.output.clone())).collect())
        }
    }
}

/// The first failure, with what to do next; nothing where all is done.
fn conclude(args: &Run, flow: &Flow, finished: Finished) -> Result<(), CliError> {
    // With other inputs it is another flow.
    let with = if args.inputs.input.is_empty() { "" } else { " with the same --input" };
    let again = format!("`actum flow run {}`{with} goes on where it was left", args.plan.display());
    let stopped = finished.stopped;
    let failed = finished.steps.into_iter().find_map(|(at, ended)| match ended {
        Ended::Failed(error) => Some((at, *error)),
        _ => None,
    });
    match failed {
        Some((at, error)) => {
            let name = flow.steps().get(at).map(|step| step.name.as_str()).unwrap_or_default();
            output::talk(&again);
            Err(CliError::from(error).of_part(&format!("step {name:?}")))
        }
        None if stopped => Err(CliError::new(Kind::Network, "the flow was stopped").hint(again)),
        None => Ok(()),
    }
}
