//! `actum call`: an action delegated to another peer.

use super::{Global, invocation, permit::Asks};
use crate::{
    error::{CliError, Kind},
    output::{self, Progress},
};
use actum_model::{Did, Filters, InvocationId, Judgement};
use actum_node::{
    Config, Home,
    audit::{self, ReplayOptions},
    clock,
    invoke::Choices,
    requester::{CallError, CallProgress, CallRequest, Called, Checked, Delegated, Explained, Requester},
};
use std::{sync::Arc, time::Duration};

/// The longest that an answer is asked for again, in seconds: a week, for as long as a call without one is remembered.
const MAX_RESUMING: u64 = 7 * 24 * 3_600;

/// Delegates an action to another peer, checks its receipt and keeps it.
///
/// The result goes to stdout as JSON, the receipt's id to stderr.
///
/// A call that was interrupted, here or by the network, goes on at the provider; `--resume` gets its answer. Nothing is run
/// twice.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A capability's name, a release or component id, or what it should do in plain words
    #[arg(required_unless_present = "resume")]
    target: Option<String>,
    /// The function's name, or `namespace:package/interface#name`
    #[arg(required_unless_present = "resume")]
    function: Option<String>,
    /// A JSON array in parameter order, an object by parameter name, one bare value, `@file`, or `-` for stdin
    args: Option<String>,
    /// Ask for the answer to a call that was interrupted, by its invocation's id; without one, to the only one there is
    #[arg(
        long,
        value_name = "INVOCATION",
        num_args = 0..=1,
        conflicts_with_all = ["target", "function", "args", "provider", "accept_less"],
    )]
    resume: Option<Option<String>>,
    /// A peer to ask, as a multiaddr; repeat for several. Those of config.toml and those met before are asked too
    #[arg(long, value_name = "ADDRESS")]
    peer: Vec<String>,
    /// The provider to use, by its did:key
    #[arg(long, value_name = "DID")]
    provider: Option<Did>,
    /// Seconds to wait for the result
    #[arg(long, default_value_t = 120)]
    deadline: u64,
    /// How much is at stake: `low`, `medium`, `high`, or a level of config.toml [default: by what the action may touch, as
    /// config.toml's `[risk]` says]
    #[arg(long, value_name = "LEVEL", conflicts_with = "resume")]
    risk: Option<String>,
    /// Say why this provider was asked, what was checked, and what that cost
    #[arg(long, conflicts_with = "resume")]
    explain: bool,
    /// Run the action again here, at once, and fail unless it is identical
    #[arg(long)]
    replay: bool,
    /// Let the provider run it with less than all that --grant asks for; the receipt says what was withheld
    #[arg(long)]
    accept_less: bool,
    #[command(flatten)]
    options: invocation::ActionOptions,
}

pub(crate) fn run(args: Args, global: &Global) -> Result<(), CliError> {
    let home = Arc::new(global.open_home()?);
    let config = Config::read(&home.config_path(), false)?;
    let lost = args.resume.as_ref().map(|id| unanswered(&home, id.as_deref())).transpose()?;
    let progress = Progress::start(match &args.target {
        Some(target) => format!("looking for {target}"),
        None => "asking for the answer".to_owned(),
    });
    let (called, explained) = super::runtime()?.block_on(async {
        let requester = Requester::start(home.clone(), &config.bootstrap, &args.peer).await?;
        let requester = requester.with_policy(config.risk.clone()).with_attest(config.attest.clone());
        let called = match &lost {
            Some(id) => resume(&requester, id, &args, &progress).await.map(|called| (called, None)),
            None => call(&home, &requester, &args, &progress).await.map(|d| (d.called, Some(d.explained))),
        };
        let stopped = requester.stop().await;
        let called = called?;
        stopped.map(|()| called).map_err(CliError::from)
    })?;
    drop(progress);
    if let Some(explained) = explained.filter(|_| args.explain) {
        explain(&explained);
    }
    not_refuted(&home, &called)?;
    let ended = invocation::Ended {
        function: &called.function,
        receipt: &called.receipt,
        output: called.output.as_deref(),
        stdout: &called.stdio.stdout,
        stderr: &called.stdio.stderr,
    };
    let printed = invocation::print(&ended, &args.options, global.format);
    if args.replay {
        let replayed = audit::replay(&home, &called.receipt.id().to_string(), ReplayOptions::default())?;
        output::talk(format!("replay: {}", replayed.judgement));
        let provider = called.receipt.payload().iss;
        match replayed.judgement {
            Judgement::Identical => {}
            Judgement::Diverged(_) => {
                return Err(CliError::new(Kind::Verification, format!("{provider} did not tell the truth")));
            }
            Judgement::NotReplayable(_) => {
                let text = format!("whether {provider} told the truth could not be checked here");
                return Err(CliError::new(Kind::Verification, text));
            }
        }
    }
    printed
}

/// Fails where the answer was found to be a lie by now: a level of risk may have it replayed behind the answer.
fn not_refuted(home: &Home, called: &Called) -> Result<(), CliError> {
    let receipt = called.receipt.id();
    for verdict in home.store().verdicts_of(&receipt)? {
        let said = verdict.payload();
        if said.iss == home.did() && matches!(said.judgement, Judgement::Diverged(_)) {
            let (provider, judgement) = (said.provider, Box::new(said.judgement.clone()));
            return Err(CallError::Lied { provider, receipt, judgement }.into());
        }
    }
    Ok(())
}

/// The call to resume: the one named, or the only one there is.
fn unanswered(home: &Home, named: Option<&str>) -> Result<InvocationId, CliError> {
    if let Some(named) = named {
        return named.parse().map_err(|e| CliError::new(Kind::Usage, format!("{named:?}: {e}")));
    }
    let waiting = home.store().all_unanswered()?;
    match waiting.as_slice() {
        [] => Err(CliError::new(Kind::NotFound, "no call waits for an answer here")),
        [one] => Ok(one.invocation.id()),
        several => {
            let mut text = format!("{} calls wait for an answer", several.len());
            for one in several {
                let minutes = clock::now_secs().saturating_sub(one.at) / 60;
                let release = home.store().release(&one.release)?;
                let name = release.map_or_else(
                    || one.release.to_string(),
                    |r| format!("{}@{}", r.payload().name, r.payload().version),
                );
                text += &format!("\n  {}  {name}, {minutes} min ago", one.invocation.id());
            }
            Err(CliError::new(Kind::Usage, text).hint("name one: `actum call --resume <INVOCATION>`"))
        }
    }
}

async fn resume(
    requester: &Requester,
    id: &InvocationId,
    args: &Args,
    progress: &Progress,
) -> Result<Called, CliError> {
    let deadline = Duration::from_secs(args.deadline.min(MAX_RESUMING));
    // It missed the checks that go with delegating.
    let called = requester.resume_checked(id, deadline, &mut |event| report(progress, event)).await?;
    keep(requester, &called, progress).await?;
    Ok(called)
}

/// Says how a call is coming along.
fn report(progress: &Progress, event: CallProgress) {
    match event {
        CallProgress::Asking { provider } => progress.say(format!("asking {}", provider.short())),
        CallProgress::Queued { ahead } => progress.say(format!("waiting for a turn, {ahead} ahead")),
        CallProgress::Fetching { done, total } => {
            progress.say(format!("the provider fetches the component, {done} of {total} chunks"));
        }
        CallProgress::Running => progress.say("running"),
        CallProgress::Resuming { provider } => {
            progress.say(format!("{} was lost; asking it for the answer again", provider.short()));
        }
        CallProgress::FellBack { provider, why } => {
            output::talk(format!("{} could not: {}; asking the next", provider.short(), output::clean(&why)));
        }
    }
}

/// Keeps the component: what was asked can be run again later, offline, only if it is here too.
async fn keep(requester: &Requester, called: &Called, progress: &Progress) -> Result<(), CliError> {
    progress.say("keeping the component for replay");
    match requester.keep_component(called).await {
        Ok(()) => {}
        Err(e @ CallError::Untrue { .. }) => return Err(e.into()),
        Err(e) => output::talk(format!(
            "the component could not be kept, so this receipt cannot be replayed offline yet: {e}"
        )),
    }
    Ok(())
}

async fn call(
    home: &Home,
    requester: &Requester,
    args: &Args,
    progress: &Progress,
) -> Result<Delegated, CliError> {
    let (Some(target), Some(function)) = (&args.target, &args.function) else {
        return Err(CliError::new(Kind::Usage, "say what to call: a target and a function"));
    };
    let candidates =
        requester.candidates(target, &Filters { provider: args.provider, ..Filters::default() }).await?;
    let json = |function: &_| invocation::read_args(function, args.args.as_deref());
    let prepared = requester.prepare(&candidates, function).await?;
    let release = prepared.release.payload();
    let asks =
        Asks { who: format!("{}@{}", release.name, release.version), kinds: release.permissions.clone() };
    let request = CallRequest {
        args: actum_node::invoke::encode_args(&prepared.function, &json(&prepared.function)?, &mut |path| {
            invocation::read_file(path)
        })?,
        choices: Choices { partial: args.accept_less, ..args.options.choices(home, &asks)? },
        deadline: Duration::from_secs(args.deadline),
    };
    let prepared = match args.provider {
        Some(_) => prepared.insist(),
        None => prepared,
    };
    let report = &mut |event| report(progress, event);
    let delegated = requester.delegate(prepared, request, args.risk.as_deref(), report).await?;
    keep(requester, &delegated.called, progress).await?;
    Ok(delegated)
}

/// Says why an action went where it went, what was checked, and what that cost.
pub(super) fn explain(explained: &Explained) {
    let say = |text: String| output::talk(output::clean(&text));
    say(format!("risk: {}, because {}", explained.level, explained.because));
    for (provider, why) in &explained.left_out {
        say(format!("left out: {}: {why}", provider.short()));
    }
    for (provider, why) in &explained.fell_back {
        say(format!("tried before: {}: {why}", provider.short()));
    }
    say(format!("asked: {}", explained.provider));
    for line in &explained.why {
        say(format!("  {line}"));
    }
    for Checked { check, provider, found, fuel, .. } in &explained.checks {
        let cost = match fuel {
            0 => String::new(),
            fuel => format!(" ({} fuel)", output::thousands(*fuel)),
        };
        say(format!("checked: {} of {}: {found}{cost}", check.name(), provider.short()));
    }
    say(format!(
        "cost beyond the action's own: {} fuel, {} moved",
        output::thousands(explained.extra_fuel),
        output::bytes(explained.extra_bytes)
    ));
}
