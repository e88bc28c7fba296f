//! `actum node`: a peer that hosts.

use super::Global;
use crate::{
    error::{CliError, Kind},
    output::{self, Format},
};
use actum_node::{Config, config::OfferConfig, events::NodeEvent, node::Node};
use std::{path::PathBuf, sync::Arc};

/// Hosts what its configuration lists, until Ctrl-C; running actions get to end first.
///
/// Prints its did:key and the addresses it listens on to stdout.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The configuration [default: config.toml in the home, where there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A multiaddr to listen on, instead of the configured ones; repeat for several
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<String>,
    /// A peer to announce to and to ask, as a multiaddr, besides the configured ones; repeat for several
    #[arg(long, value_name = "ADDRESS")]
    bootstrap: Vec<String>,
    /// A release to offer to anyone, by name or id, besides the configured ones; repeat for several
    #[arg(long, value_name = "RELEASE")]
    offer: Vec<String>,
}

pub(crate) fn run(args: Args, global: &Global) -> Result<(), CliError> {
    let home = Arc::new(global.open_home()?);
    let (path, must_exist) = match args.config {
        Some(path) => (path, true),
        None => (home.config_path(), false),
    };
    let mut config = Config::read(&path, must_exist)?;
    if !args.listen.is_empty() {
        config.listen = args.listen;
    }
    config.bootstrap.extend(args.bootstrap);
    config.offers.extend(args.offer.into_iter().map(|release| OfferConfig {
        release,
        public: true,
        callers: Vec::new(),
        allow: Vec::new(),
        price: 0,
    }));
    let format = global.format;
    super::runtime()?.block_on(async move {
        let mut stop = StopSignal::listen()?;
        let node = tokio::select! {
            node = Node::start(home, config, None) => node?,
            () = stop.next() => return Ok(()),
        };
        // Whoever reads that it is ready hears of everything from then on.
        let mut events = node.events();
        announce(&node, format);
        loop {
            tokio::select! {
                () = stop.next() => break,
                event = events.recv() => if let Ok(event) = event { print_event(&event, format) },
            }
        }
        let running = node.running();
        if running > 0 {
            output::talk(format!("finishing {running} actions; Ctrl-C again to stop at once"));
        }
        tokio::select! {
            ended = node.drain() => if !ended { output::talk("some actions did not end in time and were stopped") },
            () = stop.next() => output::talk("stopped at once"),
        }
        node.stop().await;
        Ok(())
    })
}

/// Ctrl-C, or what a service manager sends, from the moment this is made.
pub(super) struct StopSignal {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl StopSignal {
    pub(super) fn listen() -> Result<Self, CliError> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let failed = |e| CliError::new(Kind::Internal, format!("cannot listen for Ctrl-C: {e}"));
            let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
            Ok(Self { interrupt, terminate: signal(SignalKind::terminate()).map_err(failed)? })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    }
}

pub(super) fn announce(node: &Node, format: Format) {
    let (did, addresses, offers) = (node.did(), node.addresses(), node.offers());
    if format == Format::Json {
        return output::line(
            serde_json::json!({"event": "ready", "did": did.to_string(), "addresses": addresses, "offers": offers}).to_string(),
        );
    }
    output::line(format!("peer {did}"));
    for address in addresses {
        output::line(format!("listening {address}"));
    }
    for offer in offers {
        output::line(format!("offering {offer}"));
    }
    output::line("ready");
}

fn print_event(event: &NodeEvent, format: Format) {
    match format {
        Format::Json => output::line(output::json_line(&event.to_json())),
        Format::Text => output::talk(output::clean(&event.to_string())),
    }
}
