//! `actum.toml`: what an author says of a capability that its component cannot say itself.

use actum_model::{CapabilityName, Permission};
use semver::Version;
use serde::Deserialize;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The file's name in a capability's directory.
pub const FILE_NAME: &str = "actum.toml";

/// A capability's manifest. Unknown keys and unknown permissions are errors.
///
/// ```toml
/// name = "greet"
/// version = "0.1.0"
/// intent = "Greet a person by name"
/// tags = ["text"]
/// wit = "wit"
/// world = "greet"
/// permissions = []
///
/// [[example]]
/// function = "greet"
/// args = { name = "Ada" }
/// output = "Hello, Ada!"
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The capability's name. Example: `name = "greet"`
    pub name: CapabilityName,
    /// Its semantic version. Example: `version = "0.1.0"`
    pub version: Version,
    /// What it does, in one sentence of plain words. Example: `intent = "Greet a person by name"`
    pub intent: String,
    /// Words to be found by. Example: `tags = ["text"]`
    #[serde(default)]
    pub tags: Vec<String>,
    /// The WIT package, a directory or file, relative to this file. Example: `wit = "wit"`. Without it, the
    /// component's own types are published, which have no doc comments.
    #[serde(default)]
    pub wit: Option<PathBuf>,
    /// The world in that package, where it has several. Example: `world = "greet"`
    #[serde(default)]
    pub world: Option<String>,
    /// The exported interfaces to offer, where the component alone does not tell. Example:
    /// `interfaces = ["example:greet/greeting"]`
    #[serde(default)]
    pub interfaces: Vec<String>,
    /// The component's file, where it is not what `cargo build` makes here. Example: `component = "greet.wasm"`
    #[serde(default)]
    pub component: Option<PathBuf>,
    /// What it asks to be granted. Example: `permissions = ["network"]`
    #[serde(default)]
    pub permissions: BTreeSet<Permission>,
    /// Calls whose answer is known; each is executed before publishing.
    #[serde(default, rename = "example")]
    pub examples: Vec<ManifestExample>,
}

/// A call whose answer is known, in JSON terms.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestExample {
    /// The function. Example: `function = "greet"`
    pub function: String,
    /// Its arguments, by parameter name or in order. Example: `args = { name = "Ada" }`
    #[serde(default = "no_args")]
    pub args: serde_json::Value,
    /// The result; left out for a function that returns nothing. Example: `output = "Hello, Ada!"`
    #[serde(default)]
    pub output: serde_json::Value,
}

fn no_args() -> serde_json::Value {
    serde_json::Value::Array(Vec::new())
}

/// Why a manifest was refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, or a value of the wrong type; the text shows the place.
    #[error("{}: {message}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        message: String,
    },
}

impl Manifest {
    /// Reads a manifest.
    pub fn read(path: &Path) -> Result<Self, ManifestError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ManifestError::Read { path: path.to_owned(), source })?;
        toml::from_str(&text)
            .map_err(|e| ManifestError::Parse { path: path.to_owned(), message: e.to_string() })
    }
}
