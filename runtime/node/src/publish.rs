//! From a component, its WIT package and its manifest to a signed release.
//!
//! Everything a release says is read from the component or checked against it: types, imports, and every example is
//! executed before the author's key signs.

use crate::{
    home::{Home, HomeError},
    invoke::{self, ArgsError, Choices},
    manifest::{FILE_NAME, Manifest, ManifestError},
    resolve::{self, ResolveError},
};
use actum_model::{
    Example, Function, FunctionName, Outcome, Release, Signed,
    json::{self, JsonError},
    release::{FunctionLookupError, chunk_digests, find_function},
    value::{self, ValueError},
};
use actum_sandbox::{
    ExecuteError, LoadError, Loaded, Sandbox,
    contract::{Contract, ContractError, Disagreement},
};
use actum_store::StoreError;
use serde_bytes::ByteBuf;
use std::path::{Path, PathBuf};

/// Why a release was not signed. Nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The component could not be read, built or compiled.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The component cannot be loaded.
    #[error("{what} cannot be published")]
    Load {
        /// The file.
        what: String,
        /// Why not.
        source: LoadError,
    },
    /// The manifest was refused.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A bare component needs a name and an intent.
    #[error("{} has no {FILE_NAME}, so --{missing} is needed", path.display())]
    NoManifest {
        /// The component's file.
        path: PathBuf,
        /// The first option that is missing.
        missing: &'static str,
    },
    /// The WIT package could not be read.
    #[error("the WIT package cannot be used")]
    Contract(#[from] ContractError),
    /// The WIT package and the component differ.
    #[error("the WIT package and the component disagree")]
    Disagreement(#[from] Disagreement),
    /// Nothing says which exports are the capability and which a toolchain added.
    #[error("the component exports {}; say which to offer", interfaces.join(", "))]
    Undeclared {
        /// The exported interfaces.
        interfaces: Vec<String>,
    },
    /// A declared interface is not among the component's exports.
    #[error("the component does not export {declared:?}; it exports {}", exported.join(", "))]
    NoSuchInterface {
        /// The interface declared.
        declared: String,
        /// The exported interfaces.
        exported: Vec<String>,
    },
    /// The component exports nothing that can be called with values.
    #[error("the component offers no function that can be called{}", reasons.iter().map(|r| format!("; {r}")).collect::<String>())]
    NoFunctions {
        /// Why each function that was left out was.
        reasons: Vec<String>,
    },
    /// The component imports what needs a permission that the manifest does not ask for.
    #[error("the component imports {import}, which needs the permission {permission:?}")]
    PermissionNotAsked {
        /// The import.
        import: String,
        /// The permission to ask for.
        permission: &'static str,
    },
    /// The component imports what no node provides.
    #[error("the component imports {import}, which no node provides: {}", crate::invoke::why_refused(import))]
    UnknownImport {
        /// The import.
        import: String,
    },
    /// An example names no function.
    #[error("example {number}")]
    ExampleFunction {
        /// Which example, from 1.
        number: usize,
        /// Why not.
        source: FunctionLookupError,
    },
    /// An example's arguments do not fit.
    #[error("example {number}")]
    ExampleArgs {
        /// Which example, from 1.
        number: usize,
        /// Why not.
        source: ArgsError,
    },
    /// An example's output does not fit the function's result type.
    #[error("example {number}: its output does not fit the result of {function}")]
    ExampleOutput {
        /// Which example, from 1.
        number: usize,
        /// The function, as WIT writes it.
        function: String,
        /// Why not.
        source: JsonError,
    },
    /// An example ended otherwise than it says.
    #[error("example {number} does not reproduce: {function} should give {expected}, gave {actual}")]
    ExampleDiffers {
        /// Which example, from 1.
        number: usize,
        /// The function.
        function: FunctionName,
        /// What the manifest says.
        expected: String,
        /// What execution gave.
        actual: String,
    },
    /// A value could not be encoded.
    #[error("an example's value cannot be encoded")]
    Value(#[from] ValueError),
    /// The host failed to execute an example.
    #[error("example {number} could not be executed")]
    Execute {
        /// Which example, from 1.
        number: usize,
        /// Why not.
        source: ExecuteError,
    },
    /// The release breaks a rule of its own, such as a text's length.
    #[error("the release is not valid: {0}")]
    Invalid(String),
    /// The home failed.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a bare component's author says on the command line instead of in a manifest.
#[derive(Clone, Debug, Default)]
pub struct Described {
    /// The capability's name.
    pub name: Option<String>,
    /// Its version. Default: 0.1.0.
    pub version: Option<semver::Version>,
    /// What it does, in one sentence.
    pub intent: Option<String>,
    /// The exported interfaces to offer.
    pub interfaces: Vec<String>,
    /// A manifest elsewhere than beside the component.
    pub manifest: Option<PathBuf>,
}

/// Publishes what is at `path`: a component, its text, or a capability's directory.
pub fn publish(home: &Home, path: &Path, described: Described) -> Result<Signed<Release>, PublishError> {
    let (manifest, base) = manifest_for(path, described)?;
    let component = resolve::read_component(path)?;
    let release = draft(home, path, &component, &manifest, &base)?;
    home.store().put_component(&component)?;
    home.store().put_release(&release)?;
    Ok(release)
}

/// The signed release of these bytes under this manifest, checked but not stored.
fn draft(
    home: &Home,
    path: &Path,
    component: &[u8],
    manifest: &Manifest,
    base: &Path,
) -> Result<Signed<Release>, PublishError> {
    let sandbox = home.sandbox()?;
    let what = path.display().to_string();
    let loaded = sandbox.load(component).map_err(|source| PublishError::Load { what, source })?;
    check_imports(&loaded, manifest)?;
    let contract = match &manifest.wit {
        Some(wit) => {
            let contract = Contract::from_path(&base.join(wit), manifest.world.as_deref())?;
            contract.agrees_with(&loaded)?;
            contract
        }
        None => Contract::from_component(component)?,
    };
    let functions = offered(&loaded, &contract, manifest)?;
    let examples = examples(sandbox, &loaded, home, &functions, manifest)?;
    let release = Release {
        iss: home.did(),
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        intent: manifest.intent.clone(),
        tags: manifest.tags.clone(),
        component: *loaded.id(),
        component_bytes: component.len() as u64,
        chunks: chunk_digests(component),
        wit: ByteBuf::from(contract.wit),
        functions,
        permissions: manifest.permissions.clone(),
        examples,
    };
    Signed::try_sign(release, home.key()?).map_err(|e| PublishError::Invalid(e.to_string()))
}

fn manifest_for(path: &Path, described: Described) -> Result<(Manifest, PathBuf), PublishError> {
    let dir = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new(".")) };
    let file = match described.manifest {
        Some(file) => Some(file),
        None => {
            Some(dir.join(FILE_NAME)).filter(|f| path.is_dir() || (f.exists() && described.name.is_none()))
        }
    };
    if let Some(file) = file {
        let base = file.parent().unwrap_or(Path::new(".")).to_owned();
        return Ok((Manifest::read(&file)?, base));
    }
    let missing = |missing| PublishError::NoManifest { path: path.to_owned(), missing };
    let name = described.name.ok_or_else(|| missing("name"))?;
    let manifest = Manifest {
        name: name.parse().map_err(|e: actum_model::name::NameError| PublishError::Invalid(e.to_string()))?,
        version: described.version.unwrap_or(semver::Version::new(0, 1, 0)),
        intent: described.intent.ok_or_else(|| missing("intent"))?,
        tags: Vec::new(),
        wit: None,
        world: None,
        interfaces: described.interfaces,
        component: None,
        permissions: std::collections::BTreeSet::new(),
        examples: Vec::new(),
    };
    Ok((manifest, dir.to_owned()))
}

/// Every import is in the virtual world, or stands behind a permission the manifest asks for.
fn check_imports(loaded: &Loaded, manifest: &Manifest) -> Result<(), PublishError> {
    for import in loaded.imports() {
        match import.permission {
            None if import.provided => {}
            None => return Err(PublishError::UnknownImport { import: import.name.clone() }),
            Some(p) if !manifest.permissions.contains(&p) => {
                return Err(PublishError::PermissionNotAsked {
                    import: import.name.clone(),
                    permission: p.name(),
                });
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// The functions of the declared interface, no others.
fn offered(loaded: &Loaded, contract: &Contract, manifest: &Manifest) -> Result<Vec<Function>, PublishError> {
    let group = |f: &Function| f.name.interface().unwrap_or("the world itself").to_owned();
    // A command has no types of its own to declare: its one function is the sandbox's.
    let all: &[Function] =
        if contract.functions.is_empty() { loaded.functions() } else { &contract.functions };
    let mut exported: Vec<String> = all.iter().map(group).collect();
    exported.dedup();
    let declared = |f: &&Function| {
        let interface = f.name.interface().unwrap_or_default();
        manifest.interfaces.is_empty()
            || manifest
                .interfaces
                .iter()
                .any(|d| d == interface || Some(d.as_str()) == interface.split('@').next())
    };
    for declared in &manifest.interfaces {
        let known = |e: &String| e == declared || e.split('@').next() == Some(declared);
        if !exported.iter().any(known) {
            return Err(PublishError::NoSuchInterface { declared: declared.clone(), exported });
        }
    }
    if manifest.wit.is_none() && manifest.interfaces.is_empty() && exported.len() > 1 {
        return Err(PublishError::Undeclared { interfaces: exported });
    }
    let functions: Vec<Function> = all.iter().filter(declared).cloned().collect();
    if functions.is_empty() {
        return Err(PublishError::NoFunctions {
            reasons: loaded.left_out().iter().map(ToString::to_string).collect(),
        });
    }
    Ok(functions)
}

/// Executes every example and keeps those that give what they say; one that does not ends the publication.
fn examples(
    sandbox: &Sandbox,
    loaded: &Loaded,
    home: &Home,
    functions: &[Function],
    manifest: &Manifest,
) -> Result<Vec<Example>, PublishError> {
    let mut examples = Vec::with_capacity(manifest.examples.len());
    for (i, example) in manifest.examples.iter().enumerate() {
        let number = i + 1;
        let function = find_function(functions, &example.function)
            .map_err(|source| PublishError::ExampleFunction { number, source })?;
        let no_files = &mut |_: &str| Err("an example cannot read files".to_owned());
        let args = invoke::encode_args(function, &example.args, no_files)
            .map_err(|source| PublishError::ExampleArgs { number, source })?;
        let ty = function.result.as_ref();
        let expected = match ty {
            Some(ty) => Some(json::from_json(ty, &example.output).map_err(|source| {
                PublishError::ExampleOutput { number, function: function.to_string(), source }
            })?),
            None => None,
        };
        let expected = value::encode_result(ty, expected.as_ref())?;
        // An example must hold for everyone: a fixed seed and time base, and nothing granted.
        let choices = Choices { seed: Some([0; 32]), time_base: Some(0), ..Choices::default() };
        let action = invoke::action(home.did(), *loaded.id(), function, &args, choices);
        let execution = sandbox
            .execute(loaded, &action, &args)
            .map_err(|source| PublishError::Execute { number, source })?;
        let output = execution.output.as_deref();
        if output != Some(expected.as_slice()) {
            let text = |outcome: &Outcome, bytes: Option<&[u8]>| {
                let json = invoke::output_json(function, outcome, bytes).ok().flatten();
                json.map_or_else(|| outcome.to_string(), |j| j.to_string())
            };
            return Err(PublishError::ExampleDiffers {
                number,
                function: function.name.clone(),
                expected: example.output.to_string(),
                actual: text(&execution.outcome, output),
            });
        }
        examples.push(Example {
            function: function.name.clone(),
            args: ByteBuf::from(args),
            output: ByteBuf::from(expected),
        });
    }
    Ok(examples)
}
