//! Receipts in files: bundles, flows, and fraud proofs, each told by what it begins with.

use super::{AuditError, case::Case};
use crate::flow;
use actum_model::{
    archive::{self, Archive, ArchiveError},
    bundle::MAX_BUNDLE_BYTES,
};
use actum_sandbox::Sandbox;
use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

/// What the files of a directory that are looked at end in.
const EXTENSION: &str = "car";

/// What a file holds.
pub(super) struct Opened {
    /// Its receipts, each with its component's bytes where they are in it.
    pub(super) cases: Vec<(Case, Option<Vec<u8>>)>,
    /// What is wrong with the file as a whole: a flow whose parts do not fit.
    pub(super) flaw: Option<String>,
}

/// The files that are meant: each as named, and of a directory those in it that end in `.car`, by name; at most `limit`.
pub(super) fn list(paths: &[PathBuf], limit: usize) -> Result<Vec<PathBuf>, AuditError> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let failed = |source| AuditError::Io { path: path.clone(), source };
        let mut inside = Vec::new();
        for entry in fs::read_dir(path).map_err(failed)?.take(limit) {
            let file = entry.map_err(failed)?.path();
            let named = file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case(EXTENSION));
            if named && file.is_file() {
                inside.push(file);
            }
        }
        inside.sort();
        files.extend(inside);
    }
    files.truncate(limit);
    Ok(files)
}

/// The bytes of a file, of which no more is read than shows that it is too long.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, AuditError> {
    let failed = |source| AuditError::Io { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_BUNDLE_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(failed)?;
    Ok(bytes)
}

/// Reads a file and checks all of it that can be checked without executing.
pub(super) fn open_file(path: &Path, sandbox: &Sandbox) -> Result<Opened, AuditError> {
    let refused =
        |source: ArchiveError| AuditError::Archive { path: path.to_owned(), source: Box::new(source) };
    let bytes = read(path)?;
    let archive = archive::read(&bytes).map_err(refused)?;
    drop(bytes);
    let flaw = match &archive {
        Archive::Flow(flow) => flow::verify::whole(flow, sandbox).err(),
        Archive::Receipt(_) | Archive::Proof(_) => None,
    };
    let flaw = flaw.map(|why| format!("it is not the flow that its plan says: {why}"));
    // A proof may leave its component out, which is then looked for at home.
    let cases = match archive {
        Archive::Proof(proof) => vec![Case::of(proof.bundle)],
        other => other.bundles().into_iter().map(whole).collect(),
    };
    Ok(Opened { cases, flaw })
}

fn whole(bundle: actum_model::bundle::Bundle) -> (Case, Option<Vec<u8>>) {
    let (case, component) = Case::of(bundle);
    (case, Some(component))
}
