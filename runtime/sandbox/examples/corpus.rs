//! Components nobody here wrote: fetched by name and version, checked, executed compiled, replayed interpreted.
//!
//! `cargo run --release --example corpus` goes through `tests/corpus/corpus.toml` and prints a table; it ends with 1 when
//! something diverges, or ends otherwise than the table says. Names as arguments run only those; `--write` also writes
//! `docs/corpus.md`. What is fetched is kept in `$ACTUM_CORPUS`, by default `~/.cache/actum-corpus`. Needs cargo with
//! the targets `wasm32-wasip2` and `wasm32-wasip1`, npm, pip and tar; an entry that cannot be fetched is skipped, loudly.
#![allow(clippy::expect_used, reason = "a tool for this repository: what fails is shown as it is")]

use actum_model::value::{decode_result, encode_params};
use actum_model::{Action, Authority, BlobId, Judgement, Limits, SecretKey, Value, id, json};
use actum_sandbox::replay::{Evidence, replay};
use actum_sandbox::{CacheKey, CompileCache, EngineKind, Sandbox, SandboxConfig};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;
use std::{env, fs};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    /// What turns a WASI 0.1 module into a component.
    adapter: Source,
    component: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    source: Source,
    /// A WASI 0.1 module, to be adapted.
    #[serde(default)]
    adapt: bool,
    #[serde(default)]
    call: Vec<Call>,
    /// For those the profile refuses: what the refusal says.
    refused: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
enum Source {
    /// A file inside a package, and the file's digest.
    Npm(File),
    Pypi(File),
    Crate(File),
    /// A program compiled from its source, and the digest of the package.
    Compiled(Program),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    package: String,
    version: String,
    path: String,
    sha256: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Program {
    package: String,
    version: String,
    bin: String,
    target: String,
    #[serde(default)]
    features: Vec<String>,
    #[serde(default)]
    no_default_features: bool,
    sha256: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    #[serde(default = "run")]
    function: String,
    /// For a command.
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    stdin: String,
    /// For a typed function, instead: its arguments.
    json: Option<toml::Value>,
    /// The outcome's code.
    outcome: String,
    /// Text somewhere in what it gave or wrote.
    says: Option<String>,
}

fn run() -> String {
    "run".to_owned()
}

impl Source {
    fn described(&self) -> String {
        let file =
            |registry: &str, f: &File| format!("{registry} `{} {}`, `{}`", f.package, f.version, f.path);
        match self {
            Self::Npm(f) => file("npm", f),
            Self::Pypi(f) => file("PyPI", f),
            Self::Crate(f) => file("crates.io", f),
            Self::Compiled(p) => {
                format!("crates.io `{} {}`, compiled for {}", p.package, p.version, p.target)
            }
        }
    }

    /// The file's bytes, fetched if need be, and checked.
    fn get(&self, cache: &Path) -> Result<Vec<u8>, String> {
        let f = match self {
            Self::Compiled(program) => return program.get(cache),
            Self::Npm(f) | Self::Pypi(f) | Self::Crate(f) => f,
        };
        let at = cache.join(format!("{}-{}", f.package.replace('/', "+"), f.version));
        if !at.join(&f.path).is_file() {
            fs::create_dir_all(&at).map_err(|e| e.to_string())?;
            match self {
                Self::Npm(_) => f.npm(&at)?,
                Self::Pypi(_) => f.pypi(&at)?,
                _ => f.unpacked(&at)?,
            }
        }
        let bytes = fs::read(at.join(&f.path)).map_err(|e| format!("{}: {e}", f.path))?;
        check(&f.path, &bytes, &f.sha256)?;
        Ok(bytes)
    }
}

fn check(what: &str, bytes: &[u8], wanted: &str) -> Result<(), String> {
    let mut found = String::new();
    for byte in id::sha256(bytes) {
        _ = write!(found, "{byte:02x}");
    }
    if found == wanted { Ok(()) } else { Err(format!("{what} has sha256 {found}, not {wanted}")) }
}

fn command(program: &str, args: &[&str], at: &Path) -> Result<(), String> {
    let ran = Command::new(program)
        .args(args)
        .current_dir(at)
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTFLAGS")
        .output()
        .map_err(|e| format!("{program}: {e}"))?;
    if ran.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&ran.stderr);
    let why = why.lines().find(|l| l.starts_with("error") || l.starts_with("ERROR")).unwrap_or("failed");
    Err(format!("{program} {}: {why}", args.join(" ")))
}

impl File {
    fn npm(&self, at: &Path) -> Result<(), String> {
        command("npm", &["pack", "--silent", &format!("{}@{}", self.package, self.version)], at)?;
        let name = self.package.trim_start_matches('@').replace('/', "-");
        command("tar", &["xzf", &format!("{name}-{}.tgz", self.version)], at)
    }

    fn pypi(&self, at: &Path) -> Result<(), String> {
        let wanted = format!("{}=={}", self.package, self.version);
        command("pip", &["download", "--quiet", "--no-deps", "--only-binary=:all:", &wanted], at)?;
        let wheel = fs::read_dir(at)
            .map_err(|e| e.to_string())?
            .filter_map(|f| f.ok().map(|f| f.path()))
            .find(|p| p.extension().is_some_and(|e| e == "whl"))
            .ok_or("no wheel came")?;
        command("python3", &["-m", "zipfile", "-e", &wheel.to_string_lossy(), "."], at)
    }

    /// A file of a package on crates.io, as cargo unpacks it.
    fn unpacked(&self, at: &Path) -> Result<(), String> {
        fetch_crate(&self.package, &self.version, at)?;
        let found = in_registry("src", &format!("{}-{}", self.package, self.version))?.join(&self.path);
        let to = at.join(&self.path);
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(|e| e.to_string())?;
        }
        fs::copy(&found, &to).map(|_| ()).map_err(|e| format!("{}: {e}", found.display()))
    }
}

fn fetch_crate(package: &str, version: &str, at: &Path) -> Result<(), String> {
    let manifest = format!(
        "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[lib]\npath = \"lib.rs\"\n\
         [dependencies]\n\"{package}\" = \"={version}\"\n[workspace]\n"
    );
    fs::write(at.join("Cargo.toml"), manifest).map_err(|e| e.to_string())?;
    fs::write(at.join("lib.rs"), "").map_err(|e| e.to_string())?;
    command("cargo", &["fetch", "--quiet"], at)
}

/// A file or folder of cargo's own copy of the registry.
fn in_registry(kind: &str, name: &str) -> Result<PathBuf, String> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
    let root = home.ok_or("no home directory")?.join("registry").join(kind);
    let registries = fs::read_dir(&root).map_err(|e| format!("{}: {e}", root.display()))?;
    let mut places = registries.filter_map(|r| Some(r.ok()?.path().join(name)));
    places.find(|p| p.exists()).ok_or_else(|| format!("cargo did not fetch {name}"))
}

impl Program {
    fn get(&self, cache: &Path) -> Result<Vec<u8>, String> {
        let name = format!("{}-{}-{}", self.package, self.version, self.target);
        let root = cache.join("programs").join(&name);
        let binary = root.join("bin").join(format!("{}.wasm", self.bin));
        if !binary.is_file() {
            let (version, shared) = (format!("={}", self.version), cache.join("target"));
            let (root, shared) = (root.to_string_lossy(), shared.to_string_lossy());
            let features = self.features.join(",");
            let mut args = vec!["install", "--quiet", "--locked", &self.package, "--version", &version];
            args.extend(["--target", &self.target, "--root", &root, "--target-dir", &shared]);
            if self.no_default_features {
                args.push("--no-default-features");
            }
            if !self.features.is_empty() {
                args.extend(["--features", &features]);
            }
            command("cargo", &args, cache)?;
        }
        let source = in_registry("cache", &format!("{}-{}.crate", self.package, self.version));
        let source = source.and_then(|p| fs::read(p).map_err(|e| e.to_string()))?;
        check(&self.package, &source, &self.sha256)?;
        fs::read(&binary).map_err(|e| format!("{}: {e}", binary.display()))
    }
}

/// A WASI 0.1 module as a component.
fn adapt(module: &[u8], adapter: &[u8]) -> Result<Vec<u8>, String> {
    let encoder = wit_component::ComponentEncoder::default().module(module).map_err(|e| format!("{e:#}"))?;
    let mut encoder = encoder.adapter("wasi_snapshot_preview1", adapter).map_err(|e| format!("{e:#}"))?;
    encoder.encode().map_err(|e| format!("{e:#}"))
}

/// What is done with one entry, and what is wrong about it.
#[derive(Default)]
struct Done {
    rows: String,
    faults: Vec<String>,
    executed: bool,
}

struct Bench {
    compiled: Sandbox,
    interpreted: Sandbox,
}

impl Bench {
    fn new(cache: &Path) -> Self {
        let sandbox = |engine| {
            // The key protects a cache that others can write to; this one is as trusted as the programs beside it.
            let kept = Some(CompileCache::new(cache.join("compiled"), CacheKey::from([7; 32])));
            let wall_clock = Duration::from_secs(600);
            Sandbox::new(SandboxConfig {
                engine,
                cache: kept,
                wall_clock,
                compile_wall_clock: wall_clock,
                ..SandboxConfig::default()
            })
        };
        let compiled = sandbox(EngineKind::Cranelift).expect("a sandbox");
        Self { compiled, interpreted: sandbox(EngineKind::Pulley).expect("a sandbox") }
    }

    fn entry(&self, entry: &Entry, bytes: &[u8]) -> Done {
        let mut done = Done::default();
        let from = entry.source.described();
        let mut row = |cells: [&str; 5]| {
            let [call, outcome, fuel, memory, replay] = cells;
            let size = bytes.len() / 1024;
            _ = writeln!(
                done.rows,
                "| {} | {from} | {size} | {call} | {outcome} | {fuel} | {memory} | {replay} |",
                entry.name
            );
        };
        let loaded = match self.compiled.load(bytes) {
            Ok(loaded) => loaded,
            Err(error) => {
                let error = error.to_string();
                row(["", &format!("refused: {error}"), "", "", ""]);
                if !entry.refused.as_ref().is_some_and(|wanted| error.contains(wanted)) {
                    done.faults.push(format!("{}: refused: {error}", entry.name));
                }
                return done;
            }
        };
        for call in &entry.call {
            match self.call(&loaded, bytes, call) {
                Ok((cells, ran)) => {
                    row([&cells[0], &cells[1], &cells[2], &cells[3], &cells[4]]);
                    done.executed |= ran;
                    let says = call.says.as_deref().unwrap_or_default();
                    if call.outcome != cells[5]
                        || !cells[6].contains(says)
                        || (cells[4] != "identical" && ran)
                    {
                        done.faults.push(format!(
                            "{}: {} {}, wanted {} {says:?}: {}",
                            entry.name, cells[1], cells[4], call.outcome, cells[6]
                        ));
                    }
                }
                Err(why) => done.faults.push(format!("{}: {why}", entry.name)),
            }
        }
        done
    }

    /// Executes and replays: the table's cells, the outcome's code and what it said; and whether it ran at all.
    fn call(
        &self,
        loaded: &actum_sandbox::Loaded,
        component: &[u8],
        call: &Call,
    ) -> Result<([String; 7], bool), String> {
        let function = loaded.functions().iter().find(|f| f.name.answers_to(&call.function));
        let function = function.ok_or_else(|| {
            let names: Vec<_> = loaded.functions().iter().map(|f| f.name.to_string()).collect();
            format!("no function {}, only {}", call.function, names.join(", "))
        })?;
        let values = match &call.json {
            Some(given) => {
                let given = serde_json::to_value(given).map_err(|e| e.to_string())?;
                json::params_from_json(&function.params, &given).map_err(|e| e.to_string())?
            }
            None => {
                let args = call.args.iter().map(|a| Value::String(a.clone())).collect();
                vec![Value::List(args), Value::Bytes(call.stdin.clone().into_bytes())]
            }
        };
        let args = encode_params(&function.params, &values).map_err(|e| e.to_string())?;
        let action = Action {
            requester: SecretKey::from_seed(&[7; 32]).did(),
            component: *loaded.id(),
            function: function.name.clone(),
            args: BlobId::of(&args),
            limits: Limits { memory_bytes: 512 << 20, ..Limits::default() },
            permissions: BTreeSet::new(),
            seed: [9; 32].into(),
            time_base: 1_700_000_000_000_000_000,
            nonce: [1; 12].into(),
            partial: false,
        };
        let ran = self.compiled.execute(loaded, &action, &args).map_err(|e| e.to_string())?;
        let iss = SecretKey::from_seed(&[3; 32]).did();
        let receipt = ran.receipt(action, iss, 1_700_000_000, Authority::Local, self.compiled.profile_id());
        let stdio = ran.stdio_block();
        let evidence = Evidence {
            receipt: &receipt,
            component,
            args: &args,
            output: ran.output.as_deref(),
            journal: &ran.journal,
            bodies: &ran.bodies,
            stdio: stdio.as_ref().map(|(_, bytes)| bytes.as_slice()),
        };
        let replayed = match replay(&self.interpreted, &evidence).map_err(|e| e.to_string())? {
            Judgement::Identical => "identical".to_owned(),
            other => other.to_string(),
        };
        let said = match &ran.output {
            Some(output) => {
                let value = decode_result(function.result.as_ref(), output, output.len());
                texts(value.map_err(|e| e.to_string())?.as_ref())
            }
            None => String::from_utf8_lossy(&ran.stdio.stderr).into_owned(),
        };
        let asked = match &call.json {
            Some(_) => call.function.clone(),
            None => call.args.join(" ").replace('|', "\\|").replace('\n', " "),
        };
        let denied = matches!(ran.outcome, actum_model::Outcome::Denied(_));
        let outcome = match &ran.outcome {
            actum_model::Outcome::Denied(names) => format!("denied: {}", names.join(", ")),
            other => other.code().to_owned(),
        };
        let code = ran.outcome.code().to_owned();
        let cells = [
            format!("`{}`", asked.chars().take(60).collect::<String>()),
            outcome,
            ran.fuel.to_string(),
            (ran.memory_bytes / 1024).to_string(),
            replayed,
            code,
            said,
        ];
        Ok((cells, !denied))
    }
}

/// All the text in a value, bytes read as text.
fn texts(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        Some(Value::List(v) | Value::Record(v) | Value::Tuple(v)) => {
            v.iter().map(|v| texts(Some(v))).collect::<Vec<_>>().join("\n")
        }
        Some(Value::Variant(_, v) | Value::Option(v) | Value::Result(Ok(v) | Err(v))) => texts(v.as_deref()),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}

const HEAD: &str = "| name | from | KiB | call | outcome | fuel | memory, KiB | replayed by the interpreter |\n|---|---|---|---|---|---|---|---|\n";

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let cache = env::var_os("ACTUM_CORPUS").map(PathBuf::from).or_else(|| {
        let home = env::home_dir()?;
        Some(
            env::var_os("XDG_CACHE_HOME")
                .map_or_else(|| home.join(".cache"), PathBuf::from)
                .join("actum-corpus"),
        )
    });
    let cache = cache.expect("a home directory");
    fs::create_dir_all(cache.join("compiled")).expect("the cache can be made");
    let cache = cache.canonicalize().expect("the cache is there");
    let text = fs::read_to_string(root.join("tests/corpus/corpus.toml")).expect("the table");
    let corpus: Corpus = toml::from_str(&text).expect("the table is as documented");
    let only: Vec<String> = env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let (mut ran, mut refused, mut skipped, mut faults) =
        (String::new(), String::new(), Vec::new(), Vec::new());
    let mut executed = 0;
    let mut others = 0;
    let bench = Bench::new(&cache);
    for entry in corpus.component.iter().filter(|e| only.is_empty() || only.contains(&e.name)) {
        let bytes = entry.source.get(&cache).and_then(|bytes| match entry.adapt {
            true => adapt(&bytes, &corpus.adapter.get(&cache)?),
            false => Ok(bytes),
        });
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(why) => {
                eprintln!("SKIPPED {}: {why}", entry.name);
                skipped.push(format!("{}: {why}", entry.name));
                continue;
            }
        };
        let done = bench.entry(entry, &bytes);
        print!("{}", done.rows);
        for fault in &done.faults {
            eprintln!("FAULT {fault}");
        }
        faults.extend(done.faults);
        if done.executed {
            executed += 1;
            ran += &done.rows;
        } else {
            others += 1;
            refused += &done.rows;
        }
    }
    println!(
        "\n{executed} executed and replayed, {others} refused, {} skipped, {} faults",
        skipped.len(),
        faults.len()
    );
    if env::args().any(|a| a == "--write") && skipped.is_empty() && only.is_empty() {
        let page = format!(
            "# Components nobody here wrote\n\nMade by `cargo run --release --example corpus -- --write` from `tests/corpus/corpus.toml`: each is fetched by name and\nversion, checked against its digest, executed compiled, and replayed from its receipt by the interpreter, which must\nfind outcome, output, fuel, memory and stdio identical. A WASI 0.1 module was made a component by the adapter named in the table.\n\n## Executed: {executed}\n\n{HEAD}{ran}\n## Refused: {others}\n\n{HEAD}{refused}"
        );
        fs::write(root.join("docs/corpus.md"), page).expect("docs/corpus.md can be written");
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
