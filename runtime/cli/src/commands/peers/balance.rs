//! `actum peers balance`: who has served whom how much, whether both say so, and the proof of it.

use super::super::{Global, authority, runtime};
use crate::{
    error::{CliError, Kind},
    output::{self, Format, Progress},
};
use actum_model::{Did, balance::Side};
use actum_node::{
    Config, Home,
    balances::{self, BalancesError, Difference, Dispute, Doubt, Settled, Verified, View},
    requester::Requester,
};
use serde_json::{Value as Json, json};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The most disputed entries that are listed for people.
const LISTED: usize = 50;

/// Shows what this home and its peers have served each other, in fuel, by the receipts here.
///
/// With a peer, it is asked for its own balance, and where the two differ, the receipts that only one side counts are listed
/// as disputed; `--settle` replays those that are here and makes void what is not what happens.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A peer's did:key, or what this home calls it; none for all of them, as they are known here
    peer: Option<String>,
    /// Where the peer is, as a multiaddr, besides the addresses known here; repeat for several
    #[arg(long = "peer", value_name = "ADDRESS", requires = "peer")]
    address: Vec<String>,
    /// Ask nobody: show what is known here
    #[arg(long, requires = "peer", conflicts_with_all = ["address", "settle"])]
    offline: bool,
    /// Replay the disputed entries that are here, and count no more what is not what happens
    #[arg(long, requires = "peer")]
    settle: bool,
    /// Write the balance, the peer's, and every receipt and request that proves it, as one CAR archive
    #[arg(long, value_name = "PATH", requires = "peer")]
    export: Option<PathBuf>,
    /// Check an exported balance, offline and without a home: print `holds`, or why it does not
    #[arg(long, value_name = "PATH", conflicts_with_all = ["peer", "address", "offline", "settle", "export"])]
    verify: Option<PathBuf>,
}

pub(crate) fn run(args: Args, global: &Global) -> Result<(), CliError> {
    if let Some(path) = &args.verify {
        return verify(path, global.format);
    }
    let Some(peer) = &args.peer else { return all(&global.open_locked_home()?, global) };
    let home = Arc::new(global.open_home()?);
    let config = Config::read(&home.config_path(), false)?;
    let peer = named(&home, peer)?;
    let (mut difference, mut unheard) = (Difference::default(), None);
    let mut disputes = Vec::new();
    if args.offline {
        disputes = balances::disputes(&home, &peer, &difference)?;
    } else {
        let progress = Progress::start(format!("asking {} for its balance", peer.short()));
        let runtime = runtime()?;
        let addresses: Vec<String> = match args.address.is_empty() {
            true => home.store().peers()?.into_iter().filter(|p| p.did == peer).map(|p| p.addr).collect(),
            false => args.address.clone(),
        };
        // Without an address to begin with, it is asked for where other peers are.
        let started = runtime.block_on(Requester::start(home.clone(), &config.bootstrap, &addresses));
        match started {
            Err(e) => unheard = Some(CliError::from(e)),
            Ok(requester) => {
                let ask = || runtime.block_on(requester.balance(peer));
                let mut asked = ask();
                if let Ok((_, found)) = &asked {
                    difference = found.clone();
                }
                disputes = balances::disputes(&home, &peer, &difference)?;
                if args.settle {
                    balances::settle(&home, &mut disputes, &mut |dispute| {
                        progress.say(format!("replaying {}", dispute.receipt));
                    })?;
                    // The peer hears what is counted here now.
                    if asked.is_ok() && disputes.iter().any(|dispute| dispute.void) {
                        asked = ask();
                    }
                }
                unheard = asked.err().map(CliError::from);
                runtime.block_on(requester.stop())?;
            }
        }
        drop(progress);
    }
    let view = balances::view(&home, &peer, &config.giving)?;
    if view.served.receipts == 0 && view.consumed.receipts == 0 && view.void.is_empty() {
        return Err(BalancesError::Nothing { peer }.into());
    }
    let exported = args.export.as_deref().map(|path| export(&home, &peer, path)).transpose()?;
    match global.format {
        Format::Json => {
            let mut json = to_json(&view, &disputes);
            if let (Some(fields), Some((path, bytes))) = (json.as_object_mut(), exported) {
                fields.insert("exported".to_owned(), json!({"path": path, "bytes": bytes}));
            }
            output::json(&json);
        }
        Format::Text => show(&home, &view, &disputes),
    }
    match unheard {
        // What is known here was shown all the same.
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// The peer that is meant.
pub(super) fn named(home: &Home, text: &str) -> Result<Did, CliError> {
    if let Ok(did) = text.parse() {
        return Ok(did);
    }
    home.store().named(text)?.ok_or_else(|| {
        CliError::new(Kind::NotFound, format!("{text:?} is no did:key, and no name of a peer here"))
            .hint("`actum peers balance` lists those with whom there are receipts")
    })
}

fn all(home: &Home, global: &Global) -> Result<(), CliError> {
    let giving = Config::read(&home.config_path(), false)?.giving;
    let views = balances::partners(home)?.into_iter().map(|peer| balances::view(home, &peer, &giving));
    let views = views.collect::<Result<Vec<View>, _>>()?;
    if global.format == Format::Json {
        output::json(&views.iter().map(|view| to_json(view, &[])).collect());
        return Ok(());
    }
    if views.is_empty() {
        output::talk("no receipts with other peers yet");
        return Ok(());
    }
    let rows = views.iter().map(|view| {
        vec![
            authority::name(home, &view.peer),
            output::thousands(view.served.fuel),
            output::thousands(view.consumed.fuel),
            output::thousands(view.allowance_left),
            agrees(view).to_owned(),
            view.peer.to_string(),
        ]
    });
    let header = ["PEER", "SERVED", "CONSUMED", "ALLOWANCE LEFT", "BOTH SIDES", "DID"];
    output::line(output::table(&header, &rows.collect::<Vec<_>>()));
    Ok(())
}

fn agrees(view: &View) -> &'static str {
    match view.agrees {
        Some(true) => "agree",
        Some(false) => "differ",
        None => "not heard",
    }
}

fn doubt(dispute: &Dispute) -> &'static str {
    match (dispute.doubt, dispute.void) {
        (Doubt::OnlyTheirs, true) => "only the peer counts it; void here",
        (Doubt::OnlyTheirs, false) => "only the peer counts it; the receipt is not here",
        (Doubt::OnlyOurs, _) => "only this home counts it",
        (Doubt::Refuted, _) => "it is not what happens",
    }
}

fn settled(dispute: &Dispute) -> &'static str {
    match dispute.settled {
        _ if dispute.void => "void",
        Some(Settled::Counts) => "identical: counts",
        Some(Settled::Void) => "diverged: void once settled",
        Some(Settled::Disputed) => "not replayable here: disputed",
        None => "not tried",
    }
}

fn show(home: &Home, view: &View, disputes: &[Dispute]) {
    let side = |tally: &actum_model::balance::Tally| {
        format!("{} fuel by {} receipts", output::thousands(tally.fuel), output::thousands(tally.receipts))
    };
    let place = format!(
        "{}; {} fuel of its allowance is left",
        view.priority,
        output::thousands(view.allowance_left)
    );
    let lines = [
        ("peer", format!("{} ({})", view.peer, authority::name(home, &view.peer))),
        ("served", side(&view.served)),
        ("consumed", side(&view.consumed)),
        ("served here as", place),
        ("both sides", agrees(view).to_owned()),
    ];
    lines.iter().for_each(|(label, value)| output::line(format!("{label:<15}{}", output::clean(value))));
    for (direction, entry) in &view.void {
        let (receipt, fuel) = (entry.receipt, output::thousands(entry.fuel));
        output::line(format!("{:<15}{receipt}  {direction}, {fuel} fuel that count nothing", "void"));
    }
    for dispute in disputes.iter().take(LISTED) {
        let Dispute { receipt, direction, .. } = dispute;
        let (why, state) = (doubt(dispute), settled(dispute));
        output::line(format!("{:<15}{receipt}  {direction}, {why}; {state}", "disputed"));
    }
    if disputes.len() > LISTED {
        output::line(format!("{:<15}… and {} more; --format json lists them", "", disputes.len() - LISTED));
    }
}

fn side_json(receipts: u64, fuel: u64) -> Json {
    json!({"receipts": receipts, "fuel": fuel})
}

fn to_json(view: &View, disputes: &[Dispute]) -> Json {
    let theirs = view.theirs.as_ref().map(|kept| {
        let said = kept.balance.payload();
        let side = |side: &Side| side_json(side.receipts, side.fuel);
        json!({
            "served": side(&said.served), "consumed": side(&said.consumed), "seq": said.seq, "heard_at": kept.at,
        })
    });
    let void = view.void.iter().map(|(direction, entry)| {
        json!({"receipt": entry.receipt.to_string(), "direction": direction.to_string(), "fuel": entry.fuel})
    });
    let disputes = disputes.iter().map(|dispute| {
        let doubt = match dispute.doubt {
            Doubt::OnlyOurs => "only-ours",
            Doubt::OnlyTheirs => "only-theirs",
            Doubt::Refuted => "refuted",
        };
        let settled = dispute.settled.map(|settled| match settled {
            Settled::Counts => "counts",
            Settled::Void => "void",
            Settled::Disputed => "disputed",
        });
        json!({
            "receipt": dispute.receipt.to_string(), "direction": dispute.direction.to_string(), "doubt": doubt,
            "settled": settled, "void": dispute.void,
        })
    });
    json!({
        "peer": view.peer.to_string(),
        "served": side_json(view.served.receipts, view.served.fuel),
        "consumed": side_json(view.consumed.receipts, view.consumed.fuel),
        "served_as": view.priority.to_string(),
        "allowance_left": view.allowance_left,
        "agrees": view.agrees,
        "theirs": theirs,
        "void": void.collect::<Json>(),
        "disputed": disputes.collect::<Json>(),
    })
}

/// Writes a balance with its proof, over what is there; gives the size in bytes.
fn export<'a>(home: &Home, peer: &Did, path: &'a Path) -> Result<(&'a Path, usize), CliError> {
    let bytes = balances::export(home, peer)?.to_bytes();
    fs::write(path, &bytes)
        .map_err(|e| CliError::new(Kind::Usage, format!("cannot write {}: {e}", path.display())))?;
    output::talk(format!("{}: {}", path.display(), output::bytes(bytes.len() as u64)));
    Ok((path, bytes.len()))
}

fn verify(path: &Path, format: Format) -> Result<(), CliError> {
    let progress = Progress::start("checking every signature");
    let Verified { accounts, ours, theirs } = balances::verify_file(path)?;
    drop(progress);
    let said = accounts.ours.payload();
    let other = match &theirs {
        None => "not there",
        Some(Ok(())) => "holds",
        Some(Err(_)) => "does not hold by these receipts",
    };
    match format {
        Format::Json => output::json(&json!({
            "holds": ours.is_ok(),
            "iss": said.iss.to_string(),
            "peer": said.peer.to_string(),
            "issued_at": said.iat,
            "seq": said.seq,
            "served": side_json(said.served.receipts, said.served.fuel),
            "consumed": side_json(said.consumed.receipts, said.consumed.fuel),
            "why": ours.as_ref().err().map(ToString::to_string),
            "theirs": theirs.as_ref().map(Result::is_ok),
        })),
        Format::Text => {
            output::line(match &ours {
                Ok(()) => "holds".to_owned(),
                Err(why) => format!("does not hold: {}", output::clean(&why.to_string())),
            });
            let (served, consumed) =
                (output::thousands(said.served.fuel), output::thousands(said.consumed.fuel));
            output::talk(format!("{} served {}: {served} fuel", said.iss, said.peer));
            output::talk(format!("{} served {}: {consumed} fuel", said.peer, said.iss));
            output::talk(format!("the other side's balance: {other}"));
        }
    }
    Ok(ours.map_err(BalancesError::Unproven)?)
}
