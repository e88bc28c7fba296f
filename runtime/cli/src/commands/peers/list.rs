//! `actum peers`: the peers this home knows.

use super::super::Global;
use crate::{
    error::CliError,
    output::{self, Format},
};

pub(super) fn run(global: &Global) -> Result<(), CliError> {
    let home = global.open_locked_home()?;
    let peers = actum_node::peers::known_peers(&home)?;
    if global.format == Format::Json {
        let peers = peers.iter().map(|p| {
            serde_json::json!({
                "did": p.did.map(|d| d.to_string()), "addresses": p.addresses, "offers": p.offers,
                "identical": p.identical, "diverged": p.diverged,
            })
        });
        output::json(&peers.collect());
        return Ok(());
    }
    if let Some(status) = actum_node::status::of_running_node(&home) {
        output::talk(format!("this home's node: {}", output::clean(&status.reachability)));
    }
    if peers.is_empty() {
        output::talk("no peers yet: `actum find <words> --peer <address>` meets one");
        return Ok(());
    }
    let rows = peers.iter().map(|p| {
        vec![
            p.did.map(|d| d.to_string()).unwrap_or_default(),
            p.addresses.join(" "),
            p.offers.join(" "),
            format!("{} identical, {} diverged", p.identical, p.diverged),
        ]
    });
    output::line(output::table(&["PEER", "ADDRESSES", "OFFERS", "REPLAYED"], &rows.collect::<Vec<_>>()));
    Ok(())
}
