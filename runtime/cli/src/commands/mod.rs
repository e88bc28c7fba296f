//! The verbs. Each file parses its own options and calls the library.

mod attested;
mod audit;
mod authority;
mod build;
mod call;
mod completions;
mod demo;
mod doctor;
mod find;
mod flow;
mod grant;
mod invocation;
mod journal;
mod key;
mod new;
mod node;
mod peers;
mod permit;
mod publish;
mod receipt;
mod replay;
mod run;
mod sim;

use crate::{
    error::{CliError, Kind},
    output::Format,
    passphrase,
};
use actum_node::Home;
use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Share actions between personal agents, and prove them.
///
/// A developer publishes a capability; a peer hosts it; another peer finds it by intent, delegates an action to it and
/// gets the output with a signed receipt; anyone can run the action again, offline, and say whether it was true.
///
/// Exit codes: 0 done; 1 internal; 2 usage; 3 configuration; 4 denied; 5 not found; 6 the guest failed; 7 verification
/// failed; 8 network; 9 exhausted: no room now.
#[derive(Debug, Parser)]
#[command(name = "actum", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    verb: Verb,
}

impl Cli {
    /// Whether peers are made to be lied to here, so that what they warn of is no news to anybody.
    pub(crate) fn is_staged(&self) -> bool {
        matches!(self.verb, Verb::Sim(_))
    }
}

/// Options of every verb.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Global {
    /// Where the key, the store and the configuration live [default: the platform's data directory]
    #[arg(long, env = "ACTUM_HOME", global = true, value_name = "DIR")]
    home: Option<PathBuf>,
    /// The form of what goes to stdout
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// Say more on stderr; twice for more still
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

impl Global {
    pub(crate) fn home_path(&self) -> Result<PathBuf, CliError> {
        if let Some(home) = self.home.as_ref().filter(|h| !h.as_os_str().is_empty()) {
            let failed = |e| CliError::new(Kind::Config, format!("cannot use {}: {e}", home.display()));
            return std::path::absolute(home).map_err(failed);
        }
        use etcetera::BaseStrategy;
        let strategy = etcetera::choose_base_strategy().map_err(|e| {
            CliError::new(Kind::Config, format!("no data directory: {e}")).hint("give one with --home")
        })?;
        Ok(strategy.data_dir().join("actum"))
    }

    /// Opens the home for what signs: a sealed key is unlocked, which may ask for its passphrase.
    pub(crate) fn open_home(&self) -> Result<Home, CliError> {
        let home = self.open_locked_home()?;
        passphrase::unlock(&home)?;
        Ok(home)
    }

    /// Opens the home for what signs nothing: nobody is asked for a passphrase.
    pub(crate) fn open_locked_home(&self) -> Result<Home, CliError> {
        Ok(Home::open(&self.home_path()?)?)
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Watch real peers share real actions and prove them
    Demo(demo::Args),
    /// Begin a new capability in Rust
    New(new::Args),
    /// Compile a capability to a component and check it
    Build(build::Args),
    /// Sign a release of a component, after running its examples
    Publish(publish::Args),
    /// Run an action on this machine
    Run(run::Args),
    /// Host capabilities for other peers until Ctrl-C
    Node(node::Args),
    /// Ask other peers who can do something
    Find(find::Args),
    /// Delegate an action to another peer
    Call(call::Args),
    /// Run several actions as one plan, and prove the whole
    Flow(flow::Args),
    /// Let others run things here, within bounds
    Grant(grant::Args),
    /// List, show and export receipts
    Receipt(receipt::Args),
    /// Run a receipt's action again and say whether it was true
    Replay(replay::Args),
    /// Run the actions of many receipts again and say what was found
    Audit(audit::Args),
    /// Simulate a network of many peers, some of them hostile
    Sim(sim::Args),
    /// Show who this home is, and keep its key
    Key(key::Args),
    /// List the peers this home knows
    Peers(peers::Args),
    /// Show the engine profile and check this machine
    Doctor(doctor::Args),
    /// Print a completion script for a shell
    Completions(completions::Args),
}

pub(crate) fn dispatch(cli: Cli) -> Result<(), CliError> {
    let global = &cli.global;
    match cli.verb {
        Verb::Demo(args) => demo::run(args, global),
        Verb::New(args) => new::run(args, global),
        Verb::Build(args) => build::run(args, global),
        Verb::Publish(args) => publish::run(args, global),
        Verb::Run(args) => run::run(args, global),
        Verb::Node(args) => node::run(args, global),
        Verb::Find(args) => find::run(args, global),
        Verb::Call(args) => call::run(args, global),
        Verb::Flow(args) => flow::run(args, global),
        Verb::Grant(args) => grant::run(args, global),
        Verb::Receipt(args) => receipt::run(args, global),
        Verb::Replay(args) => replay::run(args, global),
        Verb::Audit(args) => audit::run(args, global),
        Verb::Sim(args) => sim::run(args, global),
        Verb::Key(args) => key::run(args, global),
        Verb::Peers(args) => peers::run(args, global),
        Verb::Doctor(args) => doctor::run(args, global),
        Verb::Completions(args) => completions::run(args),
    }
}

/// A runtime for the verbs that talk to peers.
fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| CliError::new(Kind::Internal, format!("cannot start the async runtime: {e}")))
}
