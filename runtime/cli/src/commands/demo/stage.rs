//! The demo's stage: a temporary directory, peers as separate processes, and commands run as a user would run them.

#![expect(clippy::indexing_slicing, reason = "indexing JSON by name gives null where nothing is")]

use crate::{
    error::{CliError, Kind},
    output,
};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A peer: one process with one home.
pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) did: String,
    pub(super) address: String,
    child: Child,
}

/// Everything the demo starts and writes.
pub(super) struct Stage {
    root: PathBuf,
    exe: PathBuf,
    peers: Vec<Peer>,
}

/// What a command printed and how it ended.
pub(super) struct Ran {
    pub(super) json: serde_json::Value,
    pub(super) stderr: String,
    pub(super) code: Option<i32>,
}

pub(super) fn failed(what: impl Into<String>) -> CliError {
    CliError::new(Kind::Internal, what)
}

impl Stage {
    pub(super) fn open() -> Result<Self, CliError> {
        let exe = std::env::current_exe().map_err(|e| failed(format!("cannot find this program: {e}")))?;
        let suffix: [u8; 6] = actum_node::clock::random();
        let suffix: String = suffix.iter().map(|b| format!("{b:02x}")).collect();
        let root = std::env::temp_dir().join(format!("actum-demo-{suffix}"));
        let stage = Self { root, exe, peers: Vec::new() };
        stage.make_dir(&stage.root)?;
        Ok(stage)
    }

    fn make_dir(&self, path: &Path) -> Result<(), CliError> {
        fs::create_dir_all(path).map_err(|e| failed(format!("cannot make {}: {e}", path.display())))
    }

    /// This program, relative to the working directory where that is shorter to type.
    pub(super) fn exe(&self) -> &Path {
        let here = std::env::current_dir().ok();
        here.and_then(|here| self.exe.strip_prefix(here).ok()).unwrap_or(&self.exe)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn home(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(super) fn write(&self, file: &str, content: &[u8]) -> Result<PathBuf, CliError> {
        let path = self.root.join(file);
        if let Some(parent) = path.parent() {
            self.make_dir(parent)?;
        }
        fs::write(&path, content).map_err(|e| failed(format!("cannot write {}: {e}", path.display())))?;
        Ok(path)
    }

    fn command(&self, home: &str) -> Command {
        let mut command = Command::new(&self.exe);
        command.arg("--home").arg(self.home(home)).args(["--format", "json"]).env_remove("ACTUM_HOME");
        command.current_dir(&self.root).stdin(Stdio::null());
        command
    }

    /// Runs a command in a peer's home to its end.
    pub(super) fn actum(&self, home: &str, args: &[&str]) -> Result<Ran, CliError> {
        let output = self.command(home).args(args).output();
        let output = output.map_err(|e| failed(format!("cannot run actum {}: {e}", args.join(" "))))?;
        Ok(Ran {
            json: serde_json::from_slice(&output.stdout).unwrap_or_default(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code(),
        })
    }

    /// The same, for a command that must end well.
    pub(super) fn actum_ok(&self, home: &str, args: &[&str]) -> Result<serde_json::Value, CliError> {
        let ran = self.actum(home, args)?;
        if ran.code == Some(0) {
            return Ok(ran.json);
        }
        Err(failed(format!("actum {} failed: {}", args.join(" "), ran.stderr.trim())))
    }

    /// Starts a peer as a process of its own and waits until it says that it is ready.
    pub(super) fn start(&mut self, name: &'static str, args: &[&str]) -> Result<(), CliError> {
        let mut child = self
            .command(name)
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| failed(format!("cannot start peer {name}: {e}")))?;
        let ready = child.stdout.take().map(|out| BufReader::new(out).lines());
        // What a peer logs later is drained, so that it never waits for the demo.
        let mut lines = ready.ok_or_else(|| failed("a peer has no stdout"))?;
        let first = lines.next().and_then(Result::ok).unwrap_or_default();
        let event: serde_json::Value = serde_json::from_str(&first).unwrap_or_default();
        let text = |v: &serde_json::Value| v.as_str().map(str::to_owned);
        let (did, address) = (text(&event["did"]), text(&event["addresses"][0]));
        let (Some(did), Some(address)) = (did, address) else {
            let _ = child.kill();
            let said = child.wait_with_output().map(|o| String::from_utf8_lossy(&o.stderr).into_owned());
            return Err(failed(format!("peer {name} did not start: {}", said.unwrap_or_default().trim())));
        };
        std::thread::spawn(move || lines.for_each(drop));
        if let Some(err) = child.stderr.take() {
            std::thread::spawn(move || BufReader::new(err).lines().for_each(drop));
        }
        self.peers.push(Peer { name, did, address, child });
        Ok(())
    }

    pub(super) fn peers(&self) -> &[Peer] {
        &self.peers
    }

    pub(super) fn peer(&self, name: &str) -> Result<&Peer, CliError> {
        self.peers.iter().find(|p| p.name == name).ok_or_else(|| failed(format!("no peer {name}")))
    }

    /// The name of the peer with this did:key.
    pub(super) fn name_of(&self, did: &str) -> &str {
        self.peers.iter().find(|p| p.did == did).map_or("a stranger", |p| p.name)
    }

    /// Asks every peer to drain and stop, and waits for them.
    pub(super) fn close(&mut self) {
        for peer in &mut self.peers {
            end(&mut peer.child);
        }
        self.peers.clear();
    }
}

/// Sends what Ctrl-C would, and waits; on systems without signals, ends the process.
fn end(child: &mut Child) {
    #[cfg(unix)]
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
    }
    #[cfg(not(unix))]
    let _ = child.kill();
    let _ = child.wait();
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.peers.is_empty() {
            output::talk("stopping the peers");
            self.close();
        }
    }
}
