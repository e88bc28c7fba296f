//! `actum find`: who can do something.

use super::Global;
use crate::{
    error::CliError,
    output::{self, Format, Progress},
};
use actum_model::{Did, Filters, Permission, Region, Tier};
use actum_node::{
    Config,
    requester::{Found, Requester, Why},
};
use std::sync::Arc;

/// Asks other peers who can do something, in plain words or by name, and lists verified offers, best first.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Plain words, `name`, `name@version`, a release id or a component id
    #[arg(required_unless_present = "filters")]
    words: Vec<String>,
    #[command(flatten)]
    filters: FilterArgs,
    /// A peer to ask, as a multiaddr; repeat for several. Those of config.toml and those met before are asked too
    #[arg(long, value_name = "ADDRESS")]
    peer: Vec<String>,
    /// The most offers to list
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=50))]
    limit: u32,
}

/// What an offer must fulfil, whatever its words.
#[derive(Debug, clap::Args)]
#[group(id = "filters", multiple = true)]
struct FilterArgs {
    /// Only offers with this function: its name, or `namespace:package/interface#name`
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// Only offers of this interface, `namespace:package/interface`, of any version or with `@version`
    #[arg(long, value_name = "INTERFACE")]
    interface: Option<String>,
    /// Only offers that do not ask for this permission; repeat for several. `network` stands for `http` too
    #[arg(long, value_name = "PERMISSION")]
    needs_no: Vec<Permission>,
    /// Only offers that cost no more than this for a million units of fuel, in fuel credits
    #[arg(long, value_name = "CREDITS")]
    max_price: Option<u64>,
    /// Only providers that can be held to this tier: reputation, canary, evidence or replay; repeat for several
    #[arg(long, value_name = "TIER")]
    tier: Vec<Tier>,
    /// Only providers that say they are there: a country as in `de`, or a part of one as in `us-ca`
    #[arg(long, value_name = "REGION")]
    region: Option<Region>,
    /// Only this provider's offers
    #[arg(long, value_name = "DID")]
    provider: Option<Did>,
}

impl From<FilterArgs> for Filters {
    fn from(args: FilterArgs) -> Self {
        Self {
            function: args.function,
            interface: args.interface,
            needs_no: args.needs_no.into_iter().collect(),
            max_price: args.max_price,
            tiers: args.tier.into_iter().collect(),
            region: args.region,
            provider: args.provider,
        }
    }
}

pub(crate) fn run(args: Args, global: &Global) -> Result<(), CliError> {
    let home = Arc::new(global.open_home()?);
    let config = Config::read(&home.config_path(), false)?;
    let filters = Filters::from(args.filters);
    let progress = Progress::start("asking peers");
    let (words, limit, as_text) = (args.words.join(" "), args.limit, global.format != Format::Json);
    let mut printed = 0;
    let found = super::runtime()?.block_on(async {
        let requester = Requester::start(home.clone(), &config.bootstrap, &args.peer).await?;
        // Whoever answers first is shown first; the others are not waited for.
        let mut on_found = |found: &Found| {
            if as_text && printed < limit {
                printed += 1;
                progress.aside(|| show(found));
            }
        };
        let found = requester.find_as_they_come(&words, &filters, limit, &mut on_found).await;
        requester.stop().await?;
        Ok::<_, CliError>(found?)
    })?;
    drop(progress);
    match global.format {
        Format::Json => print_json(&found),
        _ if printed == 0 => {
            output::talk("nobody offers that now; try other words, or another peer with --peer");
        }
        _ => {}
    }
    Ok(())
}

fn print_json(found: &[Found]) {
    let offers = found.iter().map(|f| {
        let (d, lease) = (f.offer.descriptor().payload(), f.offer.lease().payload());
        serde_json::json!({
            "name": d.name.as_str(), "version": d.version.to_string(), "intent": d.intent,
            "provider": d.iss.to_string(), "author": d.author.to_string(), "public": d.public,
            "release": d.release.to_string(), "component": d.component.to_string(),
            "functions": d.functions.iter().map(|o| serde_json::json!({
                "name": o.name.to_string(), "signature": o.signature, "docs": o.docs,
            })).collect::<Vec<_>>(),
            "permissions": d.permissions.iter().map(Permission::name).collect::<Vec<_>>(),
            "price": d.price, "region": d.region.as_ref().map(Region::as_str),
            "tiers": d.tiers.iter().map(|t| t.name()).collect::<Vec<_>>(),
            "addresses": lease.addrs, "load": lease.load, "queued": lease.queued, "capacity": lease.capacity,
            "lately": lease.lately.map(|l| serde_json::json!({
                "window_seconds": l.window, "actions": l.actions, "ok": l.ok, "p50_ms": l.p50_ms,
            })),
            "why": why(&f.why),
        })
    });
    output::json(&offers.collect());
}

fn show(f: &Found) {
    let d = f.offer.descriptor().payload();
    let mut terms = vec![if d.public { "public" } else { "listed callers only" }.to_owned()];
    terms.extend((d.price > 0).then(|| format!("{} credits a million fuel", d.price)));
    terms.extend(d.region.as_ref().map(ToString::to_string));
    terms.extend((!d.permissions.is_empty()).then(|| {
        let asks: Vec<_> = d.permissions.iter().map(Permission::name).collect();
        format!("asks for {}", asks.join(", "))
    }));
    output::line(format!("{}@{}  {}", d.name, d.version, output::clean(&d.intent)));
    for o in &d.functions {
        output::line(format!("    {}", output::clean(&o.signature)));
    }
    output::line(format!("    by {} ({})", d.iss, terms.join("; ")));
    output::line(format!("    matched: {}", output::clean(&why(&f.why))));
}

/// Why an offer was found, in words.
fn why(why: &Why) -> String {
    match why {
        Why::Release => "its release id".to_owned(),
        Why::Component => "its component id".to_owned(),
        Why::NameVersion => "its name and version".to_owned(),
        Why::Name => "its name".to_owned(),
        Why::Words(words) => words.join(", "),
        Why::Meaning => "its meaning, as the registries asked say".to_owned(),
        Why::Everything => "everything".to_owned(),
    }
}
