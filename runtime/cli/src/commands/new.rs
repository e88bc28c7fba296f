//! `actum new`: the start of a capability.

use super::Global;
use crate::{
    error::{CliError, Kind},
    output::{self, Format},
};
use actum_model::CapabilityName;
use std::{fs, path::PathBuf};

/// Begins a capability in Rust: a crate that builds, passes its own test, and can be published as it is.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The capability's name: a-z, 0-9 and hyphens, beginning with a letter
    name: CapabilityName,
    /// Where to put it [default: a directory of that name here]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Each file's place and its template.
const FILES: [(&str, &str); 4] = [
    ("Cargo.toml", include_str!("../../templates/new/Cargo.toml.txt")),
    ("actum.toml", include_str!("../../templates/new/actum.toml.txt")),
    ("wit/world.wit", include_str!("../../templates/new/world.wit.txt")),
    ("src/lib.rs", include_str!("../../templates/new/lib.rs.txt")),
];

/// Words that cannot name a WIT package or a Rust module without quoting.
const RESERVED: [&str; 33] = [
    "as",
    "async",
    "await",
    "bool",
    "char",
    "crate",
    "dyn",
    "enum",
    "export",
    "flags",
    "fn",
    "for",
    "func",
    "future",
    "if",
    "impl",
    "import",
    "in",
    "interface",
    "let",
    "list",
    "mod",
    "option",
    "package",
    "record",
    "resource",
    "result",
    "static",
    "stream",
    "test",
    "tuple",
    "type",
    "world",
];

pub(crate) fn run(args: Args, global: &Global) -> Result<(), CliError> {
    let name = args.name.as_str();
    let words_ok = name.split('-').all(|w| w.starts_with(|c: char| c.is_ascii_lowercase()));
    if !words_ok || RESERVED.contains(&name) {
        return Err(CliError::new(Kind::Usage, format!("{name:?} cannot name a WIT package and a crate"))
            .hint("use words that begin with a letter, joined by hyphens, e.g. word-count"));
    }
    let dir = args.dir.unwrap_or_else(|| PathBuf::from(name));
    let failed = |path: &std::path::Path, e: std::io::Error| {
        CliError::new(Kind::Usage, format!("cannot write {}: {e}", path.display()))
    };
    if dir.exists() {
        return Err(CliError::new(Kind::Usage, format!("{} already exists", dir.display()))
            .hint("choose another name, or another place with --dir"));
    }
    for (file, template) in FILES {
        let path = dir.join(file);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|e| failed(parent, e))?;
        }
        let text = template.replace("__name__", name).replace("__module__", &name.replace('-', "_"));
        fs::write(&path, text).map_err(|e| failed(&path, e))?;
    }
    fs::write(dir.join(".gitignore"), "/target\n").map_err(|e| failed(&dir, e))?;
    let shown = dir.display();
    if global.format == Format::Json {
        output::json(&serde_json::json!({"dir": dir, "name": name}));
    } else {
        output::line(shown.to_string());
    }
    output::talk(format!(
        "next:\n  (cd {shown} && cargo test)\n  actum build {shown}\n  actum publish {shown}\n  actum run {name} greet '\"Ada\"'"
    ));
    Ok(())
}
