//! What runs came to, a line each in a file, so that what was stopped goes on where it was. A line that was torn or changed
//! is not believed: its run is done again.

use super::RunFigures;
use actum_model::id::sha256;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// The most bytes of such a file: 1 GiB.
const MAX_BYTES: u64 = 1 << 30;

/// A line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    /// Which run.
    key: String,
    /// What it came to; what is no number is null.
    figures: BTreeMap<String, Option<f64>>,
    /// The beginning of the digest of both.
    sum: String,
}

/// Why runs cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// The file cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Somebody else writes to it.
    #[error("{path} is being written to by somebody else")]
    Busy {
        /// Which.
        path: PathBuf,
    },
    /// It is too large to be what it is taken for.
    #[error("{path} has more than {MAX_BYTES} bytes")]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
}

/// A file of runs, open for this process alone.
pub(crate) struct Kept {
    path: PathBuf,
    file: Mutex<File>,
}

/// What a file of runs held.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// What runs came to, by their keys.
    pub(crate) runs: BTreeMap<String, RunFigures>,
    /// What was not believed, in words.
    pub(crate) warnings: Vec<String>,
}

impl Kept {
    /// Opens a file of runs, or begins one, and reads it.
    pub(crate) fn open(path: &Path) -> Result<(Self, Held), KeptError> {
        let io = |error| KeptError::Io { path: path.to_owned(), error };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(io)?;
        }
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = file.map_err(io)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => KeptError::Busy { path: path.to_owned() },
            TryLockError::Error(error) => io(error),
        })?;
        if file.metadata().map_err(io)?.len() > MAX_BYTES {
            return Err(KeptError::TooLarge { path: path.to_owned() });
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io)?;
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |n| n.saturating_add(1));
        let mut held = Held::default();
        if whole < bytes.len() {
            held.warnings.push(format!("{}: the last line was torn, and is dropped", path.display()));
            bytes.truncate(whole);
            file.set_len(u64::try_from(whole).unwrap_or(0)).map_err(io)?;
        }
        file.seek(io::SeekFrom::End(0)).map_err(io)?;
        let lines = bytes.split(|b| *b == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
        for (n, line) in lines {
            match read(line) {
                Some((key, figures)) => {
                    held.runs.insert(key, figures);
                }
                None => held.warnings.push(format!(
                    "{}, line {}: it is damaged, and its run is done again",
                    path.display(),
                    n.saturating_add(1)
                )),
            }
        }
        Ok((Self { path: path.to_owned(), file: Mutex::new(file) }, held))
    }

    /// Keeps what a run came to, at once.
    pub(crate) fn keep(&self, key: &str, figures: &RunFigures) -> Result<(), KeptError> {
        let io = |error| KeptError::Io { path: self.path.clone(), error };
        let mut text = write(key, figures).map_err(io)?;
        text.push('\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(text.as_bytes()).map_err(io)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn sum(key: &str, figures: &BTreeMap<String, Option<f64>>) -> Option<String> {
    let text = serde_json::to_string(&(key, figures)).ok()?;
    let digest = sha256(text.as_bytes());
    Some(digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

fn write(key: &str, figures: &RunFigures) -> io::Result<String> {
    let figures = figures.iter().map(|(name, value)| (name.clone(), value.is_finite().then_some(*value)));
    let figures: BTreeMap<_, _> = figures.collect();
    let sum = sum(key, &figures).unwrap_or_default();
    Ok(serde_json::to_string(&Line { key: key.to_owned(), figures, sum })?)
}

fn read(line: &[u8]) -> Option<(String, RunFigures)> {
    let line: Line = serde_json::from_slice(line).ok()?;
    if sum(&line.key, &line.figures)? != line.sum {
        return None;
    }
    let figures = line.figures.into_iter().map(|(name, value)| (name, value.unwrap_or(f64::NAN)));
    Some((line.key, figures.collect()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_kept_is_read_bit_for_bit(values in prop::collection::vec(any::<f64>(), 0..8)) {
            let named = values.iter().enumerate().map(|(n, value)| (format!("f{n}"), *value));
            let figures: RunFigures = named.collect();
            let (key, read) = read(write("k", &figures).unwrap().as_bytes()).unwrap();
            prop_assert_eq!(key, "k");
            for (name, value) in &figures {
                let same = read[name].to_bits() == value.to_bits();
                prop_assert!(same || (!value.is_finite() && read[name].is_nan()), "{} {}", value, read[name]);
            }
        }

        #[test]
        fn a_changed_byte_is_not_believed(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let figures = RunFigures::from([("success".to_owned(), 0.25), ("ms".to_owned(), 12.5)]);
            let mut line = write("0123", &figures).unwrap().into_bytes();
            let at = at.index(line.len());
            line[at] ^= 1 << bit;
            // Spaces aside, nothing else says the same.
            if let Some((key, other)) = read(&line) {
                prop_assert_eq!((key.as_str(), other), ("0123", figures));
            }
        }
    }
}
