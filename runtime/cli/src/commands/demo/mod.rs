//! `actum demo`: the main job, watched: real peers as separate processes, real capabilities, three bad days.

#![expect(clippy::indexing_slicing, reason = "indexing JSON by name gives null where nothing is")]

pub(super) mod liar;
mod stage;

use super::{Global, node::StopSignal};
use crate::{
    error::{CliError, Kind},
    output::{self, Format},
};
use actum_node::{Config, config::OfferConfig, node::Node};
use stage::{Ran, Stage, failed};
use std::{sync::Arc, time::Instant};

/// Starts five peers as separate processes, shares real actions between them, and proves each one.
///
/// Ends with an error if any part of it did not happen. Everything is written to a temporary directory, which is kept.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Be the lying peer of the demo, offering these releases
    #[arg(long, hide = true, value_name = "RELEASE")]
    lie_about: Vec<String>,
    /// With --lie-about: whom to announce to
    #[arg(long, hide = true, value_name = "ADDRESS")]
    bootstrap: Vec<String>,
}

/// What each honest peer publishes and hosts.
const ADA: [&str; 3] = ["text-stats", "markdown", "text-summary"];
const GRACE: [&str; 4] = ["csv-aggregate", "json-query", "regex-extract", "digest"];
const KATHERINE: [&str; 3] = ["qr-code", "thumbnail", "text-diff"];

const ARCHITECTURE: &str = include_str!("../../../../../ARCHITECTURE.md");
const LICENCE: &str = include_str!("../../../../../LICENSE-APACHE");
const HARVEST: &str = include_str!("../../../../../examples/data/harvest.csv");

/// One row of the table at the end.
struct Row {
    what: String,
    who: String,
    outcome: String,
    fuel: String,
    verdict: String,
    receipt: String,
}

struct Demo {
    stage: Stage,
    rows: Vec<Row>,
    format: Format,
    started: Instant,
}

pub(crate) fn run(args: Args, global: &Global) -> Result<(), CliError> {
    if !args.lie_about.is_empty() {
        return lie(args, global);
    }
    let mut demo =
        Demo { stage: Stage::open()?, rows: Vec::new(), format: global.format, started: Instant::now() };
    demo.peers()?;
    demo.find()?;
    demo.real_work()?;
    demo.replay_all()?;
    demo.elsewhere()?;
    demo.a_lie()?;
    demo.no_end()?;
    demo.out_of_bounds()?;
    demo.stage.close();
    demo.table();
    Ok(())
}

/// The lying peer's process.
fn lie(args: Args, global: &Global) -> Result<(), CliError> {
    let home = Arc::new(global.open_home()?);
    let offers = args.lie_about.into_iter().map(|release| OfferConfig {
        release,
        public: true,
        callers: Vec::new(),
        allow: Vec::new(),
        price: 0,
    });
    let config = Config { bootstrap: args.bootstrap, offers: offers.collect(), ..Config::default() };
    super::runtime()?.block_on(async {
        let mut stop = StopSignal::listen()?;
        let node = Node::start(home, config, Some(Arc::new(liar::Liar))).await?;
        super::node::announce(&node, global.format);
        stop.next().await;
        node.stop().await;
        Ok(())
    })
}

impl Demo {
    fn say(&self, text: impl AsRef<str>) {
        if self.format == Format::Text {
            output::line(text);
        }
    }

    fn title(&self, text: &str) {
        self.say(format!("\n── {text} ({:.1} s)", self.started.elapsed().as_secs_f32()));
    }

    /// Publishes a built-in capability in a peer's home and returns the release id.
    fn publish(&self, home: &str, name: &str) -> Result<String, CliError> {
        let capability = actum_capabilities::find(name)
            .ok_or_else(|| failed(format!("no capability {name} is built in")))?;
        let dir = format!("published/capabilities/{name}");
        for (file, text) in capability.wit {
            self.stage.write(&format!("published/wit/{name}/{file}"), text.as_bytes())?;
        }
        let manifest = self.stage.write(&format!("{dir}/actum.toml"), capability.manifest.as_bytes())?;
        let component = self.stage.write(&format!("{dir}/{name}.wasm"), capability.component)?;
        let (component, manifest) = (component.display().to_string(), manifest.display().to_string());
        let published = self.stage.actum_ok(home, &["publish", &component, "--manifest", &manifest])?;
        let release = published["release"].as_str().ok_or_else(|| failed("publish printed no release"))?;
        let functions: Vec<_> = published["functions"].as_array().into_iter().flatten().collect();
        let plural = if functions.len() == 1 { "" } else { "s" };
        self.say(format!(
            "  {home:<10} publishes {name:<14} {} function{plural}, {} examples reproduced",
            functions.len(),
            published["examples"]
        ));
        Ok(release.to_owned())
    }

    fn peers(&mut self) -> Result<(), CliError> {
        self.title("Five peers, each a process with its own key");
        self.stage.start("index", &["node"])?;
        let index = self.stage.peer("index")?.address.clone();
        for (peer, capabilities) in [("ada", &ADA[..]), ("grace", &GRACE), ("katherine", &KATHERINE)] {
            let mut args = vec!["node".to_owned(), "--bootstrap".to_owned(), index.clone()];
            for name in capabilities {
                self.publish(peer, name)?;
                args.extend(["--offer".to_owned(), (*name).to_owned()]);
            }
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            self.stage.start(peer, &args)?;
        }
        // The fifth hosts what another published: it has only the release's id, and fetches the component.
        let grace = self.stage.peer("grace")?.address.clone();
        let digest =
            self.stage.actum_ok("grace", &["publish", "published/capabilities/digest/digest.wasm"])?;
        let digest = digest["release"].as_str().unwrap_or_default().to_owned();
        let args = ["node", "--bootstrap", &grace, "--bootstrap", &index, "--offer", &digest];
        self.stage.start("annie", &args)?;
        self.say("  annie      fetches digest from grace by its id, chunk by chunk, and hosts it too\n");
        for peer in self.stage.peers() {
            self.say(format!(
                "  {:<10} {}  {}",
                peer.name,
                peer.did,
                peer.address.split("/p2p/").next().unwrap_or_default()
            ));
        }
        Ok(())
    }

    fn find(&self) -> Result<(), CliError> {
        self.title("Found by intent, in plain words");
        let words = "count words in a text";
        self.say(format!("  $ actum find \"{words}\" --peer <index>"));
        let index = &self.stage.peer("index")?.address;
        let found = self.stage.actum_ok("you", &["find", words, "--peer", index])?;
        let offers = found.as_array().cloned().unwrap_or_default();
        let first = offers.first().ok_or_else(|| failed("nobody was found"))?;
        for offer in offers.iter().take(3) {
            let text = |key: &str| offer[key].as_str().unwrap_or_default().to_owned();
            self.say(format!(
                "  {}@{} by {}: {}",
                text("name"),
                text("version"),
                self.stage.name_of(&text("provider")),
                text("intent")
            ));
        }
        if first["name"] != "text-stats" {
            return Err(failed(format!("the best offer for {words:?} is {}, not text-stats", first["name"])));
        }
        Ok(())
    }

    /// Delegates an action as a user would, and notes how it ended.
    fn call(&mut self, target: &str, function: &str, args: &str, more: &[&str]) -> Result<Ran, CliError> {
        let index = self.stage.peer("index")?.address.clone();
        let shown = if args.chars().count() > 72 { "…" } else { args };
        self.say(format!("  $ actum call {target:?} {function} '{shown}' {}", more.join(" ")));
        let mut command = vec!["call", target, function, args, "--peer", &index];
        command.extend(more);
        let ran = self.stage.actum("you", &command)?;
        let text = |key: &str| ran.json[key].as_str().unwrap_or_default().to_owned();
        if text("receipt").is_empty() {
            return Err(failed(format!("the call of {target} left no receipt: {}", ran.stderr.trim())));
        }
        self.rows.push(Row {
            what: function.to_owned(),
            who: self.stage.name_of(&text("provider")).to_owned(),
            outcome: text("outcome"),
            fuel: output::thousands(ran.json["fuel"].as_u64().unwrap_or_default()),
            verdict: "not replayed".to_owned(),
            receipt: text("receipt"),
        });
        Ok(ran)
    }

    /// The same, for a provider whose answer must be found to be a lie before it is handed over; gives the receipt.
    fn call_refuted(
        &mut self,
        target: &str,
        function: &str,
        args: &str,
        provider: &str,
    ) -> Result<String, CliError> {
        let index = self.stage.peer("index")?.address.clone();
        let command = ["call", target, function, args, "--peer", &index, "--provider", provider];
        self.say(format!("  $ actum {}", command.join(" ")));
        let ran = self.stage.actum("you", &command)?;
        let receipt = ran.stderr.split_whitespace().find(|word| word.starts_with("bafyrei"));
        let (Some(receipt), Some(code)) = (receipt, ran.code) else {
            return Err(failed(format!("the forged result was handed over: {}", ran.json)));
        };
        if code != i32::from(Kind::Verification.exit_code()) {
            return Err(failed(format!("the forged result was not refused: {}", ran.stderr.trim())));
        }
        let shown = self.stage.actum_ok("you", &["receipt", "show", receipt])?;
        let who = self.stage.name_of(provider).to_owned();
        self.say(format!("    {who} signed {}", shown["output"]));
        self.say("    you do not get to see it: a newcomer's answers are run again before they are believed");
        self.rows.push(Row {
            what: function.to_owned(),
            who,
            outcome: shown["outcome"].as_str().unwrap_or_default().to_owned(),
            fuel: output::thousands(shown["fuel"].as_u64().unwrap_or_default()),
            verdict: "diverged".to_owned(),
            receipt: receipt.to_owned(),
        });
        Ok(receipt.to_owned())
    }

    /// The same, for an action that must end with a value.
    fn call_ok(&mut self, target: &str, function: &str, args: &str) -> Result<serde_json::Value, CliError> {
        self.call_ok_with(target, function, args, &[])
    }

    fn call_ok_with(
        &mut self,
        target: &str,
        function: &str,
        args: &str,
        more: &[&str],
    ) -> Result<serde_json::Value, CliError> {
        let ran = self.call(target, function, args, more)?;
        if ran.code != Some(0) {
            return Err(failed(format!("{function} ended badly: {}", ran.stderr.trim())));
        }
        let output = ran.json["output"].clone();
        let who = self.rows.last().map_or("", |r| r.who.as_str());
        let mut text = output.to_string();
        if text.chars().count() > 150 {
            text = format!("{}…", text.chars().take(150).collect::<String>());
        }
        self.say(format!("    {who}: {text}"));
        Ok(output)
    }

    fn real_work(&mut self) -> Result<(), CliError> {
        self.title("Delegated, on real files");
        self.stage.write("LICENCE.txt", LICENCE.as_bytes())?;
        self.stage.write("ARCHITECTURE.md", ARCHITECTURE.as_bytes())?;
        self.call_ok("count words in a text", "count-words", "@LICENCE.txt")?;
        let headings = self.call_ok("markdown", "headings", "@ARCHITECTURE.md")?;
        if headings.as_array().is_none_or(Vec::is_empty) {
            return Err(failed("ARCHITECTURE.md has no headings?"));
        }
        let args = serde_json::json!({
            "table": HARVEST, "group-by": ["field"],
            "aggregates": [{"column": "kilograms", "measure": "sum"}, {"column": "hours", "measure": "mean"}],
        });
        self.stage.write("harvest.json", args.to_string().as_bytes())?;
        self.call_ok("sum a column of a csv table by group", "aggregate-by", "@harvest.json")?;
        let code = self.call_ok("qr-code", "draw", r#"["https://arxiv.org/abs/2603.03753", {"png": 12}]"#)?;
        let png = code["ok"]["image"]["png"].as_str().unwrap_or_default();
        let png = data_encoding::BASE64
            .decode(png.as_bytes())
            .map_err(|e| failed(format!("no picture came: {e}")))?;
        self.stage.write("qr.png", &png)?;
        let fit = r#"{"image": "@qr.png", "fit": {"width": 96, "height": 96}}"#;
        self.call_ok("make a picture smaller", "make", fit)?;
        let annie = self.stage.peer("annie")?.did.clone();
        self.call_ok_with("digest", "sha256", "@qr.png", &["--provider", &annie]).map(drop)
    }

    /// Replays one receipt in your home and notes the verdict.
    fn replay(&mut self, receipt: &str, more: &[&str]) -> Result<Ran, CliError> {
        let mut command = vec!["replay", receipt];
        command.extend(more);
        let ran = self.stage.actum("you", &command)?;
        let judgement = &ran.json["judgement"];
        let verdict = match judgement.as_str() {
            Some(plain) => plain.to_owned(),
            None => judgement.as_object().and_then(|o| o.keys().next().cloned()).unwrap_or_default(),
        };
        if let Some(row) = self.rows.iter_mut().find(|r| r.receipt == receipt) {
            row.verdict = verdict;
        }
        Ok(ran)
    }

    fn replay_identical(&mut self, receipt: &str, more: &[&str]) -> Result<(), CliError> {
        let ran = self.replay(receipt, more)?;
        if ran.json["judgement"] == "identical" {
            return Ok(());
        }
        Err(failed(format!("receipt {receipt} did not replay: {} {}", ran.json, ran.stderr.trim())))
    }

    fn replay_all(&mut self) -> Result<(), CliError> {
        self.title("Every receipt run again, offline");
        for i in 0..self.rows.len() {
            let Some(receipt) = self.rows.get(i).map(|r| r.receipt.clone()) else { continue };
            self.replay_identical(&receipt, &[])?;
            self.say(format!("  $ actum replay {receipt}\n    identical"));
        }
        Ok(())
    }

    fn elsewhere(&mut self) -> Result<(), CliError> {
        self.title("And once more where there is nothing but the receipt's bundle, on a second engine");
        let receipt = self.rows.first().map(|r| r.receipt.clone()).unwrap_or_default();
        self.stage.actum_ok("you", &["receipt", "export", &receipt, "-o", "receipt.car"])?;
        let replayed = self.stage.actum_ok("nobody", &["replay", "receipt.car", "--engine", "pulley"])?;
        if replayed["judgement"] != "identical" {
            return Err(failed(format!("the bundle did not replay on pulley: {replayed}")));
        }
        self.say("  $ actum receipt export <receipt> -o receipt.car\n  $ actum replay receipt.car --engine pulley\n    identical");
        Ok(())
    }

    fn a_lie(&mut self) -> Result<(), CliError> {
        self.title("A bad day: a peer signs a forged result");
        let index = self.stage.peer("index")?.address.clone();
        self.publish("mallory", "text-stats")?;
        self.stage.start("mallory", &["demo", "--lie-about", "text-stats", "--bootstrap", &index])?;
        let did = self.stage.peer("mallory")?.did.clone();
        let receipt = self.call_refuted("text-stats", "count-words", "@LICENCE.txt", &did)?;
        self.say("    the signature is valid, the receipt consistent; only running it again tells");
        let replayed = self.replay(&receipt, &[])?;
        let diverged = &replayed.json["judgement"]["diverged"];
        if replayed.code != Some(Kind::Verification.exit_code().into()) || diverged["at"] != "output.words" {
            return Err(failed(format!("the forged result was not caught: {}", replayed.json)));
        }
        let text = |key: &str| diverged[key].as_str().unwrap_or_default().to_owned();
        self.say(format!(
            "  $ actum replay {receipt}\n    diverged at {}\n      receipt: {}\n      replay:  {}",
            text("at"),
            text("receipt"),
            text("replay")
        ));
        self.stage.actum_ok("you", &["receipt", "export", &receipt, "--proof", "-o", "proof.car"])?;
        let proven = self.stage.actum("nobody", &["replay", "proof.car"])?;
        if proven.json["judgement"]["diverged"]["at"] != "output.words" {
            return Err(failed(format!(
                "the proof convinced nobody: {} {}",
                proven.json,
                proven.stderr.trim()
            )));
        }
        self.say(format!(
            "  $ actum receipt export {receipt} --proof -o proof.car\n  $ actum replay proof.car\n    \
             diverged: whoever has the file finds it, trusting nobody"
        ));
        let again = self.call("text-stats", "count-words", "@LICENCE.txt", &[])?;
        if again.json["provider"] == did.as_str() {
            return Err(failed("the liar was chosen again"));
        }
        let who = self.rows.last().map(|r| r.who.clone()).unwrap_or_default();
        self.say(format!("    mallory is not asked again: {who} answers"));
        let receipt = self.rows.last().map(|r| r.receipt.clone()).unwrap_or_default();
        self.replay_identical(&receipt, &[])
    }

    /// Publishes a hostile guest in a new peer's home and starts the peer.
    fn hostile(
        &mut self,
        peer: &'static str,
        guest: &str,
        intent: &str,
        permission: bool,
    ) -> Result<(), CliError> {
        let index = self.stage.peer("index")?.address.clone();
        let found = actum_capabilities::guests::ALL.iter().find(|g| g.name == guest);
        let found = found.ok_or_else(|| failed(format!("no guest {guest} is built in")))?;
        let permissions = if permission { "permissions = [\"network\"]\n" } else { "" };
        let manifest =
            format!("name = \"{guest}\"\nversion = \"0.1.0\"\nintent = \"{intent}\"\n{permissions}");
        let manifest = self.stage.write(&format!("published/{guest}/actum.toml"), manifest.as_bytes())?;
        let component = self.stage.write(&format!("published/{guest}/{guest}.wasm"), found.component)?;
        let (component, manifest) = (component.display().to_string(), manifest.display().to_string());
        self.stage.actum_ok(peer, &["publish", &component, "--manifest", &manifest])?;
        self.stage.start(peer, &["node", "--bootstrap", &index, "--offer", guest])
    }

    fn no_end(&mut self) -> Result<(), CliError> {
        self.title("A bad day: a capability that never ends");
        self.hostile("eve", "endless", "Spin for ever", false)?;
        self.call("endless", "spin", "[]", &["--fuel", "200000000"])?;
        self.expect_outcome("out-of-fuel")?;
        self.say("    stopped by fuel; the receipt says so, and replays");
        let receipt = self.rows.last().map(|r| r.receipt.clone()).unwrap_or_default();
        self.replay_identical(&receipt, &[])
    }

    fn out_of_bounds(&mut self) -> Result<(), CliError> {
        self.title("A bad day: a capability that reaches for the network");
        self.hostile("trudy", "network", "Phone home", true)?;
        let ran = self.call("network", "phone-home", r#"["198.51.100.7"]"#, &[])?;
        self.expect_outcome("denied")?;
        self.say(format!("    {}", ran.json["detail"].as_str().unwrap_or_default()));
        let receipt = self.rows.last().map(|r| r.receipt.clone()).unwrap_or_default();
        self.replay_identical(&receipt, &[])
    }

    fn expect_outcome(&self, wanted: &str) -> Result<(), CliError> {
        match self.rows.last() {
            Some(row) if row.outcome == wanted => Ok(()),
            row => Err(failed(format!(
                "expected {wanted}, got {}",
                row.map_or("nothing", |r| r.outcome.as_str())
            ))),
        }
    }

    fn table(&self) {
        let home = self.stage.home("you");
        if self.format == Format::Json {
            let rows = self.rows.iter().map(|r| {
                serde_json::json!({
                    "function": r.what, "provider": r.who, "outcome": r.outcome, "verdict": r.verdict, "receipt": r.receipt,
                })
            });
            return output::json(&serde_json::json!({"home": home, "actions": rows.collect::<Vec<_>>()}));
        }
        self.title("What happened");
        let rows = self.rows.iter().map(|r| {
            let end = r.receipt.get(r.receipt.len().saturating_sub(8)..).unwrap_or_default();
            vec![
                r.what.clone(),
                r.who.clone(),
                r.outcome.clone(),
                r.fuel.clone(),
                r.verdict.clone(),
                format!("…{end}"),
            ]
        });
        let header = ["ACTION", "DONE BY", "OUTCOME", "FUEL", "REPLAYED", "RECEIPT"];
        output::line(output::table(&header, &rows.collect::<Vec<_>>()));
        let last = self.rows.first().map(|r| r.receipt.as_str()).unwrap_or_default();
        output::line(format!(
            "\nThe receipts lie in {home}; try next:\n  \
             {actum} --home {home} receipt show {last}\n  \
             {actum} replay {root}/receipt.car\n  \
             {actum} new greet",
            actum = self.stage.exe().display(),
            home = home.display(),
            root = self.stage.root().display(),
        ));
    }
}
