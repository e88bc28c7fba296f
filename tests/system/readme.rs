//! The README's claims are run: what it shows is what is printed.

use crate::harness::Stage;
use std::collections::BTreeSet;

const README: &str = include_str!("../../README.md");

/// Text with everything replaced that differs from run to run: ids, keys, ports, places, times and amounts of fuel.
fn normal(text: &str) -> Vec<String> {
    let word = |word: &str| -> String {
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        let changes = [("bafy", "ID"), ("bafk", "ID"), ("did:key:", "DID")];
        if let Some((_, name)) = changes.iter().find(|(prefix, _)| bare.starts_with(prefix)) {
            return word.replace(bare, name);
        }
        if word.starts_with('…') && word.chars().count() == 9 {
            return "…END".to_owned();
        }
        if word.starts_with("/ip4/") {
            return "ADDRESS".to_owned();
        }
        if word.contains("actum-demo-") || word.ends_with("/actum") {
            return "PATH".to_owned();
        }
        if bare.len() > 4 && bare.chars().all(|c| c.is_ascii_digit() || c == ',') {
            return "N".to_owned();
        }
        word.to_owned()
    };
    let line = |line: &str| {
        let without_time = line.rfind(" (").filter(|_| line.ends_with(" s)")).map_or(line, |at| &line[..at]);
        without_time.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
    };
    text.lines().map(line).filter(|l| !l.is_empty()).collect()
}

/// The fenced block after a marker.
fn block(marker: &str) -> &'static str {
    let after = README.split(&format!("<!-- {marker} -->\n```text\n")).nth(1).expect("the marker");
    after.split("```").next().expect("the block's end")
}

#[test]
fn the_quick_start_prints_what_the_readme_shows() {
    let stage = Stage::new();
    let ran = stage.actum("unused", &["demo"]).exits(0);
    let printed = normal(&ran.stdout);
    // A line with nothing but an ellipsis stands for whatever is left out.
    let mut from = 0;
    for part in block("demo").split("\n…\n") {
        let part = normal(part);
        let rest = &printed[from..];
        let found = rest.windows(part.len()).position(|w| w == part);
        let found = found.unwrap_or_else(|| panic!("not printed: {part:#?}\nprinted: {rest:#?}"));
        from += found + part.len();
    }
}

#[test]
fn every_verb_stands_in_the_readme_with_an_example() {
    let stage = Stage::new();
    let help = stage.actum("unused", &["--help"]).exits(0).stdout;
    let commands =
        help.split("Commands:").nth(1).and_then(|h| h.split("Options:").next()).expect("the verbs");
    let verbs: BTreeSet<&str> = commands.lines().filter_map(|l| l.split_whitespace().next()).collect();
    assert!(verbs.len() >= 12, "{verbs:?}");
    for verb in verbs.into_iter().filter(|v| *v != "help") {
        let shown = README.contains(&format!("actum {verb}")) || README.contains(&format!("-- {verb}"));
        assert!(shown, "the README shows no `actum {verb}`");
    }
}

#[test]
fn the_readme_s_example_configuration_is_accepted() {
    let toml = README.split("```toml\n").nth(1).and_then(|b| b.split("```").next()).expect("a configuration");
    actum_node::Config::parse(toml).expect("it parses");
}

/// `docs/commands.md` is what `--help` prints. `ACTUM_BLESS=1` writes it anew.
#[test]
fn the_command_reference_is_what_help_prints() {
    let stage = Stage::new();
    let mut text = String::from("# Commands\n\nWhat `actum --help` and `actum <verb> --help` print.\n");
    let verbs: Vec<&[&str]> = vec![
        &[],
        &["demo"],
        &["new"],
        &["build"],
        &["publish"],
        &["run"],
        &["node"],
        &["find"],
        &["call"],
        &["flow"],
        &["flow", "run"],
        &["flow", "check"],
        &["receipt"],
        &["receipt", "list"],
        &["receipt", "show"],
        &["receipt", "export"],
        &["replay"],
        &["audit"],
        &["grant"],
        &["grant", "new"],
        &["grant", "narrow"],
        &["grant", "show"],
        &["grant", "verify"],
        &["grant", "revoke"],
        &["grant", "list"],
        &["grant", "add"],
        &["key"],
        &["key", "show"],
        &["key", "export"],
        &["key", "import"],
        &["key", "seal"],
        &["key", "unseal"],
        &["key", "rotate"],
        &["peers"],
        &["peers", "show"],
        &["peers", "balance"],
        &["sim"],
        &["sim", "paper"],
        &["sim", "run"],
        &["sim", "list"],
        &["sim", "show"],
        &["sim", "calibrate"],
        &["sim", "crosscheck"],
        &["doctor"],
        &["completions"],
    ];
    for verb in verbs {
        let help = stage.actum("unused", &[verb, &["--help"]].concat()).exits(0).stdout;
        let home = stage.path().join("unused");
        let help = help.replace(&format!("[env: ACTUM_HOME={}]", home.display()), "[env: ACTUM_HOME=]");
        let title = [&["actum"], verb].concat().join(" ");
        let help: Vec<&str> = help.lines().map(str::trim_end).collect();
        text.push_str(&format!("\n## {title}\n\n```text\n{}\n```\n", help.join("\n").trim_end()));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/commands.md");
    if std::env::var_os("ACTUM_BLESS").is_some() {
        std::fs::write(path, &text).expect("it is written");
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == text,
        "docs/commands.md is not what --help prints; ACTUM_BLESS=1 cargo test writes it anew"
    );
}
