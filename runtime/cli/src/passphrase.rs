//! Where passphrases come from: the environment, a file that its owner alone can read, or a terminal, without echo.

use crate::error::{CliError, Kind};
use actum_model::{Passphrase, SecretKey, key::KeyError, keyfile::PassphraseError};
use actum_node::{Home, HomeError, keyring::KeyFile};
use std::{
    ffi::OsString,
    fs,
    io::{IsTerminal, Read, stderr, stdin},
    path::Path,
};

/// How often a person may mistype a passphrase.
const TRIES: u32 = 3;

/// Where one kind of passphrase is looked for.
struct Source {
    variable: &'static str,
    file_variable: &'static str,
    what: &'static str,
}

/// Of the key as it is.
const CURRENT: Source = Source {
    variable: "ACTUM_PASSPHRASE",
    file_variable: "ACTUM_PASSPHRASE_FILE",
    what: "the passphrase of the key",
};
/// Of the key as it is to be sealed.
const NEW: Source = Source {
    variable: "ACTUM_NEW_PASSPHRASE",
    file_variable: "ACTUM_NEW_PASSPHRASE_FILE",
    what: "a new passphrase",
};

fn set(variable: &str) -> Option<OsString> {
    std::env::var_os(variable).filter(|v| !v.is_empty())
}

impl Source {
    /// The passphrase that the environment gives or points to.
    fn environment(&self) -> Result<Option<String>, CliError> {
        if let Some(value) = set(self.variable) {
            let not_text = |_| CliError::new(Kind::Config, format!("{} is not UTF-8", self.variable));
            return value.into_string().map(Some).map_err(not_text);
        }
        set(self.file_variable).map(|path| read_file(Path::new(&path))).transpose()
    }

    /// Asks a person.
    fn ask(&self, prompt: &str) -> Result<String, CliError> {
        let nobody = |why: &str| {
            CliError::new(Kind::Config, format!("{} is needed{why}", self.what))
                .hint(format!("set {} or {}, or run it at a terminal", self.variable, self.file_variable))
        };
        if !stdin().is_terminal() && !stderr().is_terminal() {
            return Err(nobody(", and there is no terminal to ask at"));
        }
        rpassword::prompt_password(prompt)
            .map_err(|e| nobody(&format!(", and the terminal did not give it: {e}")))
    }
}

/// The first line of a file that nobody else can read.
fn read_file(path: &Path) -> Result<String, CliError> {
    let failed =
        |e: std::io::Error| CliError::new(Kind::Config, format!("cannot read {}: {e}", path.display()));
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(CliError::new(Kind::Config, format!("{} is not a file", path.display())));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let exposed = format!("{} can be read by others (mode {mode:o})", path.display());
            return Err(CliError::new(Kind::Config, exposed).hint(format!("chmod 600 {}", path.display())));
        }
    }
    let mut text = String::new();
    let most = Passphrase::MAX_BYTES as u64 + 2;
    fs::File::open(path).and_then(|f| f.take(most).read_to_string(&mut text)).map_err(failed)?;
    let line = text.lines().next().unwrap_or_default();
    Ok(line.to_owned())
}

fn unfit(error: PassphraseError) -> CliError {
    CliError::new(Kind::Usage, error.to_string())
}

/// Tries the passphrase on a key; a person may try again.
fn tried<T>(
    whose: &str,
    open: impl Fn(&Passphrase) -> Result<T, HomeError>,
) -> Result<(T, Passphrase), CliError> {
    if let Some(text) = CURRENT.environment()? {
        let passphrase = Passphrase::given(text).map_err(unfit)?;
        return Ok((open(&passphrase)?, passphrase));
    }
    let mut left = TRIES;
    loop {
        left -= 1;
        let passphrase =
            Passphrase::given(CURRENT.ask(&format!("Passphrase of {whose}: "))?).map_err(unfit)?;
        match open(&passphrase) {
            Err(HomeError::BadKey { source: KeyError::WrongPassphrase, .. }) if left > 0 => {
                crate::output::talk("that is not the passphrase; try again");
            }
            opened => return Ok((opened?, passphrase)),
        }
    }
}

/// Unlocks a home if it is sealed, and gives the passphrase it took.
pub(crate) fn unlock(home: &Home) -> Result<Option<Passphrase>, CliError> {
    if !home.is_sealed() {
        return Ok(None);
    }
    let whose = home.root().join("key.pem").display().to_string();
    tried(&whose, |passphrase| home.unlock(passphrase)).map(|((), passphrase)| Some(passphrase))
}

/// Reads a key's file, and gives the passphrase it took if it is sealed.
pub(crate) fn open(file: &KeyFile, path: &Path) -> Result<(SecretKey, Option<Passphrase>), CliError> {
    if !file.is_sealed() {
        return Ok((file.open(None)?, None));
    }
    let opened = tried(&path.display().to_string(), |passphrase| file.open(Some(passphrase)));
    opened.map(|(key, passphrase)| (key, Some(passphrase)))
}

/// A passphrase to seal a key with, asked for twice.
pub(crate) fn chosen() -> Result<Passphrase, CliError> {
    if let Some(text) = NEW.environment()? {
        return Passphrase::chosen(text).map_err(unfit);
    }
    let first = Passphrase::chosen(NEW.ask("New passphrase: ")?).map_err(unfit)?;
    let second = Passphrase::given(NEW.ask("The same again: ")?).map_err(unfit)?;
    if first == second {
        Ok(first)
    } else {
        Err(CliError::new(Kind::Usage, "the two passphrases differ; nothing was changed"))
    }
}
