//! A peer of a cross-check: a real node in a process of its own, which says what it sent when it is asked.

use crate::{
    commands::{Global, demo::liar::Liar, node::announce},
    error::{CliError, Kind},
    output::{self, Format},
};
use actum_model::{Action, BlobId};
use actum_node::{
    Config,
    config::{AnnounceConfig, OfferConfig},
    events::NodeEvent,
    node::Node,
    provider::{ExecuteError, Execution, Executor, Honest, Loaded, Sandbox, Surroundings},
    resolve,
};
use std::{
    collections::BTreeSet,
    io,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{broadcast, mpsc};

/// Questions that wait while one is answered.
const QUESTIONS: usize = 16;

/// Is a peer of a cross-check until the standard input ends; answers each line of it with what it sent and heard so far.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Whom to announce to; repeat for several
    #[arg(long, value_name = "ADDRESS")]
    bootstrap: Vec<String>,
    /// What to offer to anyone, by id; repeat for several
    #[arg(long, value_name = "RELEASE")]
    offer: Vec<String>,
    /// Be a registry
    #[arg(long)]
    registry: bool,
    /// Lie each time, but about the examples that registries ask for
    #[arg(long)]
    lies: bool,
    /// Seconds that its leases hold
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    lease: u64,
    /// Actions it runs at once
    #[arg(long, value_name = "N", default_value = "2")]
    parallel: NonZeroU32,
}

/// A liar that knows what registries ask before they list anybody: the examples that are public.
struct Sly {
    examples: BTreeSet<BlobId>,
}

impl Executor for Sly {
    fn execute(
        &self,
        sandbox: &Sandbox,
        loaded: &Loaded,
        action: &Action,
        args: &[u8],
        around: &Surroundings,
    ) -> Result<Execution, ExecuteError> {
        match self.examples.contains(&action.args) {
            true => Honest.execute(sandbox, loaded, action, args, around),
            false => Liar.execute(sandbox, loaded, action, args, around),
        }
    }
}

pub(super) fn run(args: Args, global: &Global) -> Result<(), CliError> {
    let home = Arc::new(global.open_home()?);
    let lease_seconds =
        args.lease.try_into().map_err(|e| CliError::new(Kind::Usage, format!("--lease: {e}")))?;
    let mut examples = BTreeSet::new();
    for offer in &args.offer {
        let release = resolve::find_release(&home, offer)?;
        examples.extend(release.payload().examples.iter().map(|example| BlobId::of(&example.args)));
    }
    let offer =
        |release| OfferConfig { release, public: true, callers: Vec::new(), allow: Vec::new(), price: 0 };
    let config = Config {
        listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
        bootstrap: args.bootstrap,
        registry: args.registry,
        offers: args.offer.into_iter().map(offer).collect(),
        parallel: Some(args.parallel),
        announce: AnnounceConfig { lease_seconds, ..AnnounceConfig::default() },
        ..Config::default()
    };
    let executor = args.lies.then(|| Arc::new(Sly { examples }) as Arc<dyn Executor>);
    crate::commands::runtime()?.block_on(async {
        let mut asked = asked()?;
        let node = Node::start(home, config, executor).await?;
        let heard = Arc::new(Mutex::new(BTreeSet::new()));
        let (mut events, hears) = (node.events(), heard.clone());
        let hearing = tokio::spawn(async move {
            loop {
                match events.recv().await {
                    Ok(NodeEvent::Announced { provider, accepted }) if accepted > 0 => {
                        hears.lock().unwrap_or_else(PoisonError::into_inner).insert(provider);
                    }
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return,
                }
            }
        });
        announce(&node, Format::Json);
        while asked.recv().await.is_some() {
            let heard = heard.lock().unwrap_or_else(PoisonError::into_inner).len();
            let said = serde_json::json!({ "traffic": node.traffic(), "heard": heard });
            output::line(output::json_line(&said));
        }
        hearing.abort();
        node.stop().await;
        Ok(())
    })
}

/// A word for each line of the standard input, until it ends.
fn asked() -> Result<mpsc::Receiver<()>, CliError> {
    let (ask, asked) = mpsc::channel(QUESTIONS);
    let read = move || {
        for line in io::stdin().lines() {
            if line.is_err() || ask.blocking_send(()).is_err() {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().name("questions".to_owned()).spawn(read);
    thread.map_err(|e| CliError::new(Kind::Internal, format!("cannot read the standard input: {e}")))?;
    Ok(asked)
}
