//! Has a TPM 2.0 quote receipts, by running the programs of tpm2-tools.

use super::{ATTEST_DEADLINE, ATTEST_REST, AttestError, Attester, Tpm2Config};
use crate::{clock, home::create_private_dir};
use actum_model::{Attestation, Receipt, Signed, Tpm2Quote};
use actum_trust::{AkName, AttestationVerifier, Tpm2};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt::Write,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, MutexGuard, TryLockError},
    thread,
    time::{Duration, Instant},
};

/// How often a program, or whoever is before, is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// How much is kept of what a program says when it fails, in bytes.
const MAX_SAID: u64 = 512;
/// The largest structure that is read from a program, in bytes.
const MAX_STRUCTURE: u64 = 4 << 10;

/// Has a TPM 2.0 quote receipts, by running `tpm2_quote` of tpm2-tools: these know every way to reach a TPM, and a program that
/// hangs can be ended, which a thread that waits for a device cannot.
pub struct Tpm2Attester {
    config: Tpm2Config,
    /// Where the programs write. One home has one node, so nobody else does.
    place: PathBuf,
    public: Vec<u8>,
    name: AkName,
    /// When it failed last. A TPM does one thing at a time, so whoever uses it holds this.
    failed: Mutex<Option<Instant>>,
}

impl Tpm2Attester {
    /// Reads the key's public area, which shows that the TPM can be reached. `place` is a directory of its own, made where it is
    /// missing.
    pub fn new(config: &Tpm2Config, place: &Path) -> Result<Self, AttestError> {
        create_private_dir(place).map_err(|e| AttestError::Place(Box::new(e)))?;
        let file = place.join("public");
        let args =
            [with("--object-context=", &config.ak_context), "--format=tss".into(), with("--output=", &file)];
        let run = Run { config, place, until: Instant::now() + ATTEST_DEADLINE };
        run.program("tpm2_readpublic", &args, &[&file])?;
        let public = take(&file)?;
        let name = AkName::of(&public)
            .map_err(|source| AttestError::Key { ak_context: config.ak_context.clone(), source })?;
        let (config, place) = (config.clone(), place.to_owned());
        Ok(Self { config, place, public, name, failed: Mutex::new(None) })
    }

    /// The name of the key that signs, for others to trust.
    pub fn name(&self) -> AkName {
        self.name
    }

    /// Waits for the TPM, no longer than until then.
    fn turn(&self, until: Instant) -> Result<MutexGuard<'_, Option<Instant>>, AttestError> {
        loop {
            match self.failed.try_lock() {
                Ok(turn) => return Ok(turn),
                Err(TryLockError::Poisoned(turn)) => return Ok(turn.into_inner()),
                Err(TryLockError::WouldBlock) if Instant::now() >= until => return Err(AttestError::TooSlow),
                Err(TryLockError::WouldBlock) => thread::sleep(LOOK_EVERY),
            }
        }
    }

    fn quote(&self, digest: &[u8], until: Instant) -> Result<Tpm2Quote, AttestError> {
        let (attest, signature) = (self.place.join("attest"), self.place.join("signature"));
        let numbers: Vec<_> = self.config.pcrs.iter().map(u8::to_string).collect();
        let args = [
            with("--key-context=", &self.config.ak_context),
            with("--pcr-list=sha256:", numbers.join(",")),
            with("--qualification=", hex(digest)),
            "--hash-algorithm=sha256".into(),
            "--format=tss".into(),
            with("--message=", &attest),
            with("--signature=", &signature),
        ];
        let run = Run { config: &self.config, place: &self.place, until };
        run.program("tpm2_quote", &args, &[&attest, &signature])?;
        Ok(Tpm2Quote {
            attest: take(&attest)?.into(),
            signature: take(&signature)?.into(),
            public: self.public.clone().into(),
        })
    }
}

impl Attester for Tpm2Attester {
    fn attest(&self, receipt: &Signed<Receipt>) -> Result<Attestation, AttestError> {
        let until = Instant::now() + ATTEST_DEADLINE;
        let mut failed = self.turn(until)?;
        if failed.is_some_and(|at| at.elapsed() < ATTEST_REST) {
            return Err(AttestError::Resting);
        }
        let id = receipt.id();
        let made = self.quote(id.digest(), until).and_then(|quote| {
            let evidence = quote.bytes();
            let own = Tpm2 { trusted: [self.name].into(), pcrs: BTreeMap::new() };
            own.verify(&evidence, receipt, clock::now_secs()).map_err(AttestError::Untrue)?;
            Attestation::new(id, Tpm2Quote::FORMAT, evidence).map_err(AttestError::TooLarge)
        });
        *failed = made.is_err().then(Instant::now);
        made
    }
}

/// How a program is run.
struct Run<'a> {
    config: &'a Tpm2Config,
    place: &'a Path,
    until: Instant,
}

impl Run<'_> {
    /// Runs a program to its end, or ends it. What it is to write is removed before, so that what is there afterwards is new.
    fn program(&self, program: &'static str, args: &[OsString], writes: &[&Path]) -> Result<(), AttestError> {
        for path in writes {
            match fs::remove_file(path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(path)(e)),
                _ => {}
            }
        }
        // Into a file: a pipe that nobody reads would hold it up.
        let path = self.place.join("said");
        let said = File::create(&path).map_err(failed(&path))?;
        let mut command = Command::new(program);
        command.args(args).arg("--quiet");
        command.args(self.config.tcti.iter().map(|tcti| with("--tcti=", tcti)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        let child = command.spawn().map_err(|source| AttestError::NoProgram { program, source })?;
        let status = Ended(child).by(self.until).map_err(failed(Path::new(program)))?;
        let status = status.ok_or(AttestError::TooSlow)?;
        if status.success() {
            return Ok(());
        }
        let said = fs::File::open(&path).map(|file| file.take(MAX_SAID));
        let mut text = Vec::new();
        said.and_then(|mut said| said.read_to_end(&mut text)).map_err(failed(&path))?;
        let said = String::from_utf8_lossy(&text).trim().replace(char::is_control, " ");
        Err(AttestError::Failed { program, status, said })
    }
}

/// A program that is ended when nobody waits for it any more.
struct Ended(Child);

impl Ended {
    /// How it ended; none where it had not by then.
    fn by(mut self, until: Instant) -> io::Result<Option<ExitStatus>> {
        loop {
            match self.0.try_wait()? {
                Some(status) => return Ok(Some(status)),
                None if Instant::now() >= until => return Ok(None),
                None => thread::sleep(LOOK_EVERY),
            }
        }
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        // One that has ended is not there to be killed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn with(option: &str, value: impl Into<OsString>) -> OsString {
    let mut arg = OsString::from(option);
    arg.push(value.into());
    arg
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> AttestError + '_ {
    move |source| AttestError::Io { path: path.to_owned(), source }
}

/// Reads what a program wrote. What is too long is cut, and is then no structure of a TPM's.
fn take(path: &Path) -> Result<Vec<u8>, AttestError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed(path))?;
    file.take(MAX_STRUCTURE).read_to_end(&mut bytes).map_err(failed(path))?;
    Ok(bytes)
}
