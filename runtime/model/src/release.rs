//! The release: an author's signed statement of what a component is and how it is called.

use crate::{
    CapabilityName, ComponentId, Did, FunctionName, Permission, ReleaseId, Signed, Statement, WitType, text,
};
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};
use std::{collections::BTreeSet, fmt};

/// The size of a chunk of content, in bytes: 256 KiB.
pub const CHUNK_BYTES: usize = 256 << 10;
/// The largest component accepted, in bytes: 64 MiB.
pub const MAX_COMPONENT_BYTES: usize = 64 << 20;

/// This component is `name@version`, offers these functions, and asks for these permissions.
///
/// It carries no date: publishing the same bytes twice gives the same id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The author, who signs.
    pub iss: Did,
    /// The capability's name.
    pub name: CapabilityName,
    /// Its version.
    pub version: Version,
    /// What it does, in one sentence of plain words. At most 512 bytes, on one line.
    pub intent: String,
    /// Words to be found by. At most 16, of 32 bytes each, on one line.
    pub tags: Vec<String>,
    /// The component.
    pub component: ComponentId,
    /// The component's size in bytes.
    pub component_bytes: u64,
    /// The sha2-256 digest of each chunk of [`CHUNK_BYTES`], the last one shorter.
    pub chunks: Vec<ByteArray<32>>,
    /// The WIT package in its binary form, doc comments included; it agrees with the component's own types.
    pub wit: ByteBuf,
    /// The functions offered: those of the declared interface, no others.
    pub functions: Vec<Function>,
    /// What it asks to be granted.
    pub permissions: BTreeSet<Permission>,
    /// Calls whose answer is known; each was executed before signing.
    pub examples: Vec<Example>,
}

/// An offered function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Function {
    /// Its full name.
    pub name: FunctionName,
    /// Its doc comment, without control characters but line feeds and tabs. Empty when it has none.
    pub docs: String,
    /// Its parameters, in order.
    pub params: Vec<Param>,
    /// Its result; absent when it returns nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<WitType>,
}

/// A parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Param {
    /// Its kebab-case name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: WitType,
}

/// A call whose answer is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// The function called.
    pub function: FunctionName,
    /// The canonical encoding of the arguments.
    pub args: ByteBuf,
    /// The canonical encoding of the result.
    pub output: ByteBuf,
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.name.name())?;
        for (i, p) in self.params.iter().enumerate() {
            write!(f, "{}{}: {}", if i > 0 { ", " } else { "" }, p.name, p.ty)?;
        }
        f.write_str(")")?;
        match &self.result {
            Some(t) => write!(f, " -> {t}"),
            None => Ok(()),
        }
    }
}

impl Release {
    /// The offered function that `asked` means, where exactly one does.
    pub fn function(&self, asked: &str) -> Result<&Function, FunctionLookupError> {
        find_function(&self.functions, asked)
    }
}

/// The function that `asked` means, where exactly one of `functions` does.
pub fn find_function<'a>(
    functions: &'a [Function],
    asked: &str,
) -> Result<&'a Function, FunctionLookupError> {
    let mut found = functions.iter().filter(|f| f.name.answers_to(asked));
    let names = || functions.iter().map(|f| f.name.to_string()).collect();
    match (found.next(), found.next()) {
        (Some(f), None) => Ok(f),
        (None, _) => Err(FunctionLookupError::None { asked: asked.to_owned(), offered: names() }),
        (Some(_), Some(_)) => Err(FunctionLookupError::Several { asked: asked.to_owned(), offered: names() }),
    }
}

/// Why a function could not be named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FunctionLookupError {
    /// No offered function has that name.
    #[error("no function {asked:?}; offered: {}", offered.join(", "))]
    None {
        /// The name asked for.
        asked: String,
        /// The functions there are.
        offered: Vec<String>,
    },
    /// Several interfaces have a function of that name.
    #[error("several functions are called {asked:?}; say which of: {}", offered.join(", "))]
    Several {
        /// The name asked for.
        asked: String,
        /// The functions there are.
        offered: Vec<String>,
    },
}

/// The sha2-256 digests of a component's chunks.
pub fn chunk_digests(component: &[u8]) -> Vec<ByteArray<32>> {
    component.chunks(CHUNK_BYTES).map(|c| ByteArray::new(crate::id::sha256(c))).collect()
}

/// A component's manifest: the sha2-256 digests of its chunks, one after the other, 32 bytes each. At most 8 KiB.
///
/// A descriptor names it by its id, so that whoever has the descriptor can fetch the component from anybody, chunk by chunk,
/// and believe no one.
pub fn manifest(chunks: &[ByteArray<32>]) -> Vec<u8> {
    chunks.iter().flat_map(|digest| digest.iter().copied()).collect()
}

/// The digests in a manifest of a component of so many bytes.
///
/// # Errors
/// What of it does not fit.
pub fn read_manifest(manifest: &[u8], component_bytes: u64) -> Result<Vec<ByteArray<32>>, String> {
    let bytes = usize::try_from(component_bytes).unwrap_or(usize::MAX);
    if bytes == 0 || bytes > MAX_COMPONENT_BYTES {
        return Err(format!("a component of {bytes} bytes; 1 to {MAX_COMPONENT_BYTES} are allowed"));
    }
    let (digests, rest) = manifest.as_chunks::<32>();
    if !rest.is_empty() || digests.len() != bytes.div_ceil(CHUNK_BYTES) {
        return Err(format!("a manifest of {} bytes for a component of {bytes}", manifest.len()));
    }
    Ok(digests.iter().map(|digest| ByteArray::new(*digest)).collect())
}

impl Statement for Release {
    const TAG: &'static str = "actum/release@1";
    const MAX_BYTES: usize = 256 << 10;

    fn issuer(&self) -> Did {
        self.iss
    }

    fn check(&self) -> Result<(), String> {
        let bytes = usize::try_from(self.component_bytes).unwrap_or(usize::MAX);
        if bytes == 0 || bytes > MAX_COMPONENT_BYTES {
            return Err(format!("component_bytes is {bytes}; 1 to {MAX_COMPONENT_BYTES} are allowed"));
        }
        if self.chunks.len() != bytes.div_ceil(CHUNK_BYTES) {
            return Err(format!("{} chunks for {bytes} bytes", self.chunks.len()));
        }
        if self.intent.is_empty() || self.intent.len() > 512 {
            return Err("intent must have 1 to 512 bytes".to_owned());
        }
        if self.tags.len() > 16 || self.tags.iter().any(|t| t.is_empty() || t.len() > 32) {
            return Err("at most 16 tags of 1 to 32 bytes are allowed".to_owned());
        }
        text::one_line("intent", &self.intent)?;
        self.tags.iter().try_for_each(|t| text::one_line("a tag", t))?;
        if self.functions.is_empty() {
            return Err("no function is offered".to_owned());
        }
        for f in &self.functions {
            let in_function = |e| format!("function {}: {e}", f.name);
            text::lines("docs", &f.docs).map_err(in_function)?;
            let mut names = BTreeSet::new();
            for p in &f.params {
                p.ty.check().map_err(in_function)?;
                text::one_line("a parameter's name", &p.name).map_err(in_function)?;
                if p.name.is_empty() || !names.insert(&p.name) {
                    let e = format!("the parameter name {:?} is empty or occurs twice", p.name);
                    return Err(in_function(e));
                }
            }
            f.result.iter().try_for_each(WitType::check).map_err(in_function)?;
        }
        if self.examples.len() > 16 {
            return Err("at most 16 examples are allowed".to_owned());
        }
        Ok(())
    }
}

impl Signed<Release> {
    /// The release's id.
    pub fn id(&self) -> ReleaseId {
        ReleaseId::of(self.bytes())
    }
}
