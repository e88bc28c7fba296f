//! `actum find`: who can do something.

use super::Global;
use crate::{
    error::CliError,
    output::{self, Format, Progress},
};
use actum_node::{
    Config,
    requester::{Found, Requester, Why},
};
use std::sync::Arc;

/// Asks other peers who can do something, in plain words or by name, and lists verified offers, best first.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Plain words, `name`, `name@version`, a release id or a component id
    #[arg(required = true)]
    words: Vec<String>,
    /// A peer to ask, as a multiaddr; repeat for several. Those of config.toml and those met before are asked too
    #[arg(long, value_name = "ADDRESS")]
    peer: Vec<String>,
    /// The most offers to list
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=50))]
    limit: u32,
}

pub(crate) fn run(args: Args, global: &Global) -> Result<(), CliError> {
    let home = Arc::new(global.open_home()?);
    let config = Config::read(&home.config_path(), false)?;
    let progress = Progress::start("asking peers");
    let found = super::runtime()?.block_on(async {
        let requester = Requester::start(home.clone(), &config.bootstrap, &args.peer).await?;
        let found = requester.find(&args.words.join(" "), args.limit).await;
        requester.stop().await?;
        Ok::<_, CliError>(found?)
    })?;
    drop(progress);
    print(&found, global.format);
    Ok(())
}

fn print(found: &[Found], format: Format) {
    if format == Format::Json {
        let offers = found.iter().map(|f| {
            let (d, lease) = (f.offer.descriptor().payload(), f.offer.lease().payload());
            serde_json::json!({
                "name": d.name.as_str(), "version": d.version.to_string(), "intent": d.intent,
                "provider": d.iss.to_string(), "author": d.author.to_string(), "public": d.public,
                "release": d.release.to_string(), "component": d.component.to_string(),
                "functions": d.functions.iter().map(|o| serde_json::json!({
                    "name": o.name.to_string(), "signature": o.signature, "docs": o.docs,
                })).collect::<Vec<_>>(),
                "addresses": lease.addrs, "load": lease.load, "why": why(&f.why),
            })
        });
        return output::json(&offers.collect());
    }
    if found.is_empty() {
        return output::talk("nobody offers that now; try other words, or another peer with --peer");
    }
    for f in found {
        let d = f.offer.descriptor().payload();
        let access = if d.public { "public" } else { "listed callers only" };
        output::line(format!("{}@{}  {}", d.name, d.version, output::clean(&d.intent)));
        for o in &d.functions {
            output::line(format!("    {}", output::clean(&o.signature)));
        }
        output::line(format!("    by {} ({access})", d.iss));
        output::line(format!("    matched: {}", output::clean(&why(&f.why))));
    }
}

/// Why an offer was found, in words.
fn why(why: &Why) -> String {
    match why {
        Why::Release => "its release id".to_owned(),
        Why::Component => "its component id".to_owned(),
        Why::NameVersion => "its name and version".to_owned(),
        Why::Name => "its name".to_owned(),
        Why::Words(words) => words.join(", "),
        Why::Everything => "everything".to_owned(),
    }
}
