//! Compiles every capability and every test guest for `wasm32-wasip2` and writes them down as constants.
//!
//! One nested cargo, with a target directory of its own (the outer one's is locked) and none of the outer build's
//! flags: what a guest's bytes depend on is this repository, its lockfile and its pinned compiler, because a component's id is
//! the digest of those bytes.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const TARGET: &str = "wasm32-wasip2";
const PROFILE: &str = "guest";

/// A person reads it, once, at the end of a failed build.
type Result<T> = std::result::Result<T, String>;

/// One folder that becomes one component.
struct Source {
    /// The folder's name, in kebab case.
    name: String,
    folder: PathBuf,
    /// The cargo package in it.
    package: String,
    /// A library exports its WIT world; a binary exports `wasi:cli/run`.
    is_library: bool,
}

impl Source {
    /// `a-b` as a Rust name.
    fn ident(&self) -> String {
        self.name.replace('-', "_")
    }

    /// The file cargo leaves in the profile's directory.
    fn artifact(&self) -> String {
        let stem = if self.is_library { self.package.replace('-', "_") } else { self.package.clone() };
        format!("{stem}.wasm")
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let here = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let root = here.parent().ok_or("the capabilities folder has no parent")?.to_owned();
    let out = PathBuf::from(variable("OUT_DIR")?);

    let capabilities = sources(&here, "actum-cap-")?;
    let guests = sources(&root.join("tests/guests"), "guest-")?;

    for path in ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "wit", "guest-sdk", "tests/guests"] {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    println!("cargo::rerun-if-changed={}", here.join("build.rs").display());
    for capability in &capabilities {
        println!("cargo::rerun-if-changed={}", capability.folder.display());
    }

    ensure_target()?;
    let target_dir = out.join("guests");
    build(&root, &target_dir, capabilities.iter().chain(&guests))?;

    let built = target_dir.join(TARGET).join(PROFILE);
    let mut text = String::new();
    capability_constants(&mut text, &built, &capabilities)?;
    guest_constants(&mut text, &built, &guests)?;
    foreach(&mut text, "foreach_capability", "capability under `capabilities/`", &capabilities)?;
    foreach(&mut text, "foreach_guest", "guest under `tests/guests/`", &guests)?;
    let file = out.join("generated.rs");
    fs::write(&file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))
}

fn variable(name: &str) -> Result<String> {
    env::var(name).map_err(|error| format!("cargo did not set {name}: {error}"))
}

/// The crates directly under `folder`, by name. The package in `<name>` must be called `<prefix><name>`.
fn sources(folder: &Path, prefix: &str) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    let entries =
        fs::read_dir(folder).map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    for entry in entries {
        let folder = entry.map_err(|error| error.to_string())?.path();
        let manifest = folder.join("Cargo.toml");
        if !manifest.is_file() {
            continue;
        }
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let package = format!("{prefix}{name}");
        let manifest_text = read(&manifest)?;
        if !manifest_text.contains(&format!("name = \"{package}\"")) {
            return Err(format!("{}: the package must be called {package}", manifest.display()));
        }
        let is_library = folder.join("src/lib.rs").is_file();
        sources.push(Source { name, folder, package, is_library });
    }
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(sources)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// Adds the guests' target where rustup can, else says how.
fn ensure_target() -> Result<()> {
    let remedy = format!("capabilities need the Rust target {TARGET}; type: rustup target add {TARGET}");
    let rustc = variable("RUSTC")?;
    let printed = Command::new(&rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|error| format!("cannot run {rustc}: {error}"))?;
    let libdir = PathBuf::from(String::from_utf8_lossy(&printed.stdout).trim());
    let present = || fs::read_dir(&libdir).is_ok_and(|mut entries| entries.next().is_some());
    if printed.status.success() && present() {
        return Ok(());
    }
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", TARGET]);
    if let Ok(toolchain) = env::var("RUSTUP_TOOLCHAIN") {
        rustup.args(["--toolchain", &toolchain]);
    }
    match rustup.status() {
        Ok(status) if status.success() && present() => Ok(()),
        _ => Err(remedy),
    }
}

/// Builds all of them in one go, so that what they share is compiled once.
fn build<'a>(root: &Path, target_dir: &Path, sources: impl Iterator<Item = &'a Source>) -> Result<()> {
    let cargo = variable("CARGO")?;
    let mut command = Command::new(&cargo);
    command
        .current_dir(root)
        // The outer cargo has just resolved this very lockfile; a build script has no business changing it.
        .args(["build", "--locked", "--quiet", "--target", TARGET, "--profile", PROFILE])
        .arg("--target-dir")
        .arg(target_dir);
    for source in sources {
        command.args(["--package", &source.package]);
    }
    for (name, _) in env::vars_os() {
        if leaks(&name.to_string_lossy()) {
            command.env_remove(&name);
        }
    }
    command.env("CARGO_ENCODED_RUSTFLAGS", remapped_paths(root, target_dir)?);
    let status = command.status().map_err(|error| format!("cannot run {cargo}: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err("the guests did not compile; the compiler's words are above".to_owned())
    }
}

/// Whether a variable of the outer build could change the guests' bytes or what builds them.
///
/// Kept: the job server, so that both cargos share the cores; `CARGO`, `CARGO_HOME`, `CARGO_NET_*`, `CARGO_HTTP_*`, `CARGO_REGISTRIES_*` and `RUSTUP_*`, which say where things come from.
fn leaks(name: &str) -> bool {
    const EXACT: [&str; 9] = [
        "RUSTFLAGS",
        "RUSTDOCFLAGS",
        "RUSTC",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_LINKER",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_INCREMENTAL",
        "CARGO_TARGET_DIR",
    ];
    const PREFIXES: [&str; 7] = [
        "CARGO_BUILD_",
        "CARGO_PROFILE_",
        "CARGO_TARGET_",
        "CARGO_CFG_",
        "CARGO_FEATURE_",
        "CARGO_PKG_",
        "CARGO_UNSTABLE_",
    ];
    EXACT.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Compiler flags that keep this machine's paths out of panic messages.
fn remapped_paths(root: &Path, target_dir: &Path) -> Result<String> {
    let cargo_home = match env::var_os("CARGO_HOME") {
        Some(home) => Some(PathBuf::from(home)),
        None => env::home_dir().map(|home| home.join(".cargo")),
    };
    let registry = cargo_home.map(|home| home.join("registry/src"));
    // The last that matches wins. The registry's folder carries a digest of its address, the same everywhere.
    let mut flags = vec![format!("--remap-path-prefix={}=actum", root.display())];
    if let Some(registry) = registry {
        flags.push(format!("--remap-path-prefix={}=registry", registry.display()));
    }
    flags.push(format!("--remap-path-prefix={}=target", target_dir.display()));
    Ok(flags.join("\u{1f}"))
}

fn capability_constants(text: &mut String, built: &Path, sources: &[Source]) -> Result<()> {
    for source in sources {
        let manifest = source.folder.join("actum.toml");
        let manifest_text = read(&manifest)?;
        let wit = manifest_text
            .lines()
            .find_map(|line| line.strip_prefix("wit = \"")?.split('"').next())
            .ok_or_else(|| format!("{}: needs a line wit = \"…\"", manifest.display()))?;
        let wit = source.folder.join(wit);
        constant(
            text,
            &format!("The capability `{}`.", source.name),
            "Capability",
            source,
            built,
            &wit,
            &format!("manifest: include_str!({manifest:?}),"),
        )?;
    }
    list(text, "Every capability, in the order of their names.", "Capability", sources)
}

fn guest_constants(text: &mut String, built: &Path, sources: &[Source]) -> Result<()> {
    text.push_str(
        "/// The guests of the tests: hostile, odd or plain, none of them for use.\n\
         pub mod guests {\nuse super::Guest;\n",
    );
    for source in sources {
        let wit = source.folder.join("wit");
        constant(text, &format!("The guest `{}`.", source.name), "Guest", source, built, &wit, "")?;
    }
    list(text, "Every guest, in the order of their names.", "Guest", sources)?;
    text.push_str("}\n");
    Ok(())
}

fn constant(
    text: &mut String,
    doc: &str,
    kind: &str,
    source: &Source,
    built: &Path,
    wit: &Path,
    more: &str,
) -> Result<()> {
    let name = &source.name;
    let constant = source.ident().to_uppercase();
    let component = built.join(source.artifact());
    let wit = wit_files(wit)?;
    writeln!(
        text,
        "/// {doc}\npub static {constant}: {kind} = {kind} {{ name: {name:?}, \
         component: include_bytes!({component:?}), wit: &[{wit}], {more} }};"
    )
    .map_err(|error| error.to_string())
}

/// The WIT files directly in a folder, as `("name", include_str!("path"))`; nothing where there is no folder.
fn wit_files(folder: &Path) -> Result<String> {
    if !folder.is_dir() {
        return Ok(String::new());
    }
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .map_err(|error| format!("cannot read {}: {error}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "wit"))
        .map(|path| path.canonicalize().unwrap_or(path))
        .collect();
    files.sort();
    let mut text = String::new();
    for file in files {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        write!(text, "({name:?}, include_str!({file:?})), ").map_err(|error| error.to_string())?;
    }
    Ok(text)
}

fn list(text: &mut String, doc: &str, kind: &str, sources: &[Source]) -> Result<()> {
    let names: Vec<String> =
        sources.iter().map(|source| format!("&{}", source.ident().to_uppercase())).collect();
    writeln!(text, "/// {doc}\npub static ALL: &[&{kind}] = &[{}];", names.join(", "))
        .map_err(|error| error.to_string())
}

/// A macro that calls another once for each source, with the source's name as an identifier.
fn foreach(text: &mut String, name: &str, what: &str, sources: &[Source]) -> Result<()> {
    let calls: String = sources.iter().map(|source| format!("$each!({});", source.ident())).collect();
    writeln!(
        text,
        "/// Calls `$each!(name_in_snake_case);` once for every {what}: see the crate's documentation.\n\
         #[macro_export]\nmacro_rules! {name} {{ ($each:ident) => {{ {calls} }}; }}"
    )
    .map_err(|error| error.to_string())
}
