//! From what a person types (a path, an id, a name) to a component and the functions it offers.

use crate::{
    home::{Home, HomeError},
    manifest::{Manifest, ManifestError},
};
use actum_model::{
    ComponentId, Function, Release, ReleaseId, Signed,
    name::split_version,
    release::{FunctionLookupError, MAX_COMPONENT_BYTES},
};
use actum_sandbox::{LoadError, Loaded, Sandbox};
use actum_store::StoreError;
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

/// Why a target could not be resolved.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Nothing here has that path, id or name.
    #[error("{target:?} is neither a file here nor the id or name of anything in this home")]
    NotFound {
        /// What was typed.
        target: String,
    },
    /// Several releases have that name.
    #[error("several releases are called {target:?}: {}", releases.join(", "))]
    Ambiguous {
        /// What was typed.
        target: String,
        /// Each as `name@version by author (id)`.
        releases: Vec<String>,
    },
    /// The release is here, its component is not.
    #[error("release {release} is here, but its component {component} is not")]
    NoComponent {
        /// The release.
        release: ReleaseId,
        /// The missing component.
        component: ComponentId,
    },
    /// The release says of its component what is not so.
    #[error("release {release} is not true: {why}")]
    Untrue {
        /// The release.
        release: ReleaseId,
        /// What is not so.
        why: String,
    },
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is larger than a component may be.
    #[error("{} has {bytes} bytes; a component has at most {MAX_COMPONENT_BYTES}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        bytes: u64,
    },
    /// WebAssembly text that does not parse.
    #[error("{} is not WebAssembly text: {message}", path.display())]
    Wat {
        /// The file.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// The bytes are not a component that can be run.
    #[error("{what} cannot be used")]
    Load {
        /// The file or id.
        what: String,
        /// Why not.
        source: LoadError,
    },
    /// No function is meant, or several.
    #[error(transparent)]
    Function(#[from] FunctionLookupError),
    /// The directory's manifest was refused.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The directory's component could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The home failed.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why `cargo build` did not give a component.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Cargo could not be started.
    #[error("cannot start cargo")]
    Start(#[source] io::Error),
    /// The build failed; cargo's own messages went to stderr.
    #[error("cargo build failed in {}", dir.display())]
    Failed {
        /// The crate's directory.
        dir: PathBuf,
    },
    /// Cargo built no, or more than one, Wasm file.
    #[error("cargo built {found} Wasm files in {}; exactly one is expected", dir.display())]
    Artifacts {
        /// The crate's directory.
        dir: PathBuf,
        /// How many there were.
        found: usize,
    },
    /// What cargo printed was not its own JSON.
    #[error("cannot read cargo's messages")]
    Messages(#[source] serde_json::Error),
}

/// A component ready to run, with the functions that may be called.
pub struct Target {
    /// The compiled component.
    pub loaded: Arc<Loaded>,
    /// The component's bytes.
    pub component: Vec<u8>,
    /// The release it was found by, where there is one.
    pub release: Option<Signed<Release>>,
}

impl Target {
    /// The callable function that `asked` means: of the release where there is one, else of the component.
    pub fn function(&self, asked: &str) -> Result<&Function, FunctionLookupError> {
        match &self.release {
            Some(release) => release.payload().function(asked),
            None => actum_model::release::find_function(self.loaded.functions(), asked),
        }
    }
}

/// Resolves a path, id or name in this home. Nothing is fetched.
pub fn resolve(home: &Home, target: &str) -> Result<Target, ResolveError> {
    let path = Path::new(target);
    // A directory that is no capability does not stand in the way of a name.
    if path.is_file() || path.join(crate::manifest::FILE_NAME).exists() {
        let component = read_component(path)?;
        let loaded = load(home.sandbox()?, target, &component)?;
        return Ok(Target { loaded, component, release: None });
    }
    if let Ok(id) = target.parse::<ComponentId>() {
        let component = home.store().component(&id)?;
        let component = component.ok_or_else(|| ResolveError::NotFound { target: target.to_owned() })?;
        let loaded = load(home.sandbox()?, target, &component)?;
        return Ok(Target { loaded, component, release: None });
    }
    let release = find_release(home, target)?;
    let id = release.payload().component;
    let component = home.store().component(&id)?;
    let component = component.ok_or(ResolveError::NoComponent { release: release.id(), component: id })?;
    let loaded = load(home.sandbox()?, target, &component)?;
    tells_the_truth(release.payload(), &loaded)
        .map_err(|why| ResolveError::Untrue { release: release.id(), why })?;
    Ok(Target { loaded, component, release: Some(release) })
}

fn load(sandbox: &Sandbox, what: &str, component: &[u8]) -> Result<Arc<Loaded>, ResolveError> {
    sandbox.load(component).map_err(|source| ResolveError::Load { what: what.to_owned(), source })
}

/// Finds a release of this home by id, `name` (the newest version) or `name@version`.
pub fn find_release(home: &Home, target: &str) -> Result<Signed<Release>, ResolveError> {
    let not_found = || ResolveError::NotFound { target: target.to_owned() };
    if let Ok(id) = target.parse::<ReleaseId>() {
        return home.store().release(&id)?.ok_or_else(not_found);
    }
    let (name, version) = split_version(target);
    let name = name.parse().map_err(|_| not_found())?;
    let mut found = home.store().find_release(&name, version.as_ref())?;
    // One's own come before anybody else's, whatever their version: nobody takes over a name here by being called once.
    // Of one's own, the highest version counts, and of that the one published last.
    if let Some(own) = found.iter().position(|r| r.payload().iss == home.did()) {
        return Ok(found.swap_remove(own));
    }
    let newest = found.first().ok_or_else(not_found)?.payload();
    let (author, newest) = (newest.iss, newest.version.clone());
    if found.iter().all(|r| r.payload().iss == author) {
        found.retain(|r| r.payload().version == newest);
    }
    match (found.pop(), found.is_empty()) {
        (Some(release), true) => Ok(release),
        (None, _) => Err(not_found()),
        (Some(last), false) => {
            let line = |r: &Signed<Release>| {
                let p = r.payload();
                format!("{}@{} by {} ({})", p.name, p.version, p.iss.short(), r.id())
            };
            let releases = found.iter().chain([&last]).map(line).collect();
            Err(ResolveError::Ambiguous { target: target.to_owned(), releases })
        }
    }
}

/// Whether a release says of its component's functions what they are; if not, which it does not.
///
/// A stranger may sign anything: parameters of one type under exchanged names would swap a caller's arguments.
pub(crate) fn tells_the_truth(release: &Release, loaded: &Loaded) -> Result<(), String> {
    let same = |f: &Function| {
        loaded.function(&f.name).is_some_and(|is| is.params == f.params && is.result == f.result)
    };
    match release.functions.iter().find(|f| !same(f)) {
        None => Ok(()),
        Some(f) => Err(format!("its component has no function {f} as the release says")),
    }
}

/// Reads a component from a Wasm binary, a text file (`.wat`) or a capability's directory, which is built first.
pub fn read_component(path: &Path) -> Result<Vec<u8>, ResolveError> {
    if path.is_dir() {
        let manifest = Manifest::read(&path.join(crate::manifest::FILE_NAME))?;
        return match manifest.component {
            Some(file) => read_component(&path.join(file)),
            None => read_component(&build(path)?),
        };
    }
    let read = |source| ResolveError::Read { path: path.to_owned(), source };
    let bytes = fs::metadata(path).map_err(read)?.len();
    if bytes > MAX_COMPONENT_BYTES as u64 {
        return Err(ResolveError::TooLarge { path: path.to_owned(), bytes });
    }
    let content = fs::read(path).map_err(read)?;
    if path.extension().is_some_and(|e| e == "wat") {
        let wat = wat::parse_bytes(&content);
        return wat
            .map(std::borrow::Cow::into_owned)
            .map_err(|e| ResolveError::Wat { path: path.to_owned(), message: e.to_string() });
    }
    Ok(content)
}

/// Builds the crate in `dir` for `wasm32-wasip2` and returns the component's path. Cargo's messages go to stderr.
pub fn build(dir: &Path) -> Result<PathBuf, BuildError> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "build",
            "--release",
            "--target",
            "wasm32-wasip2",
            "--message-format",
            "json-render-diagnostics",
        ])
        .current_dir(dir)
        // A crate's build scripts are not to be told what seals the key.
        .env_remove("ACTUM_PASSPHRASE")
        .env_remove("ACTUM_NEW_PASSPHRASE")
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(BuildError::Start)?;
    if !output.status.success() {
        return Err(BuildError::Failed { dir: dir.to_owned() });
    }
    let manifest = dir.join("Cargo.toml");
    let manifest = manifest.canonicalize().unwrap_or(manifest);
    let mut artifacts = Vec::new();
    for message in serde_json::Deserializer::from_slice(&output.stdout).into_iter::<serde_json::Value>() {
        let message = message.map_err(BuildError::Messages)?;
        let ours =
            message.get("manifest_path").and_then(|p| p.as_str()).is_some_and(|p| Path::new(p) == manifest);
        let files = message.get("filenames").and_then(|f| f.as_array());
        if let (true, Some(files)) = (ours, files) {
            let wasm = files.iter().filter_map(|f| f.as_str()).filter(|f| f.ends_with(".wasm"));
            artifacts.extend(wasm.map(PathBuf::from));
        }
    }
    match (artifacts.pop(), artifacts.len()) {
        (Some(only), 0) => Ok(only),
        (last, rest) => {
            Err(BuildError::Artifacts { dir: dir.to_owned(), found: rest + usize::from(last.is_some()) })
        }
    }
}
