//! A hermetic stage for the command: homes of its own, ports of its own, an environment of its own.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, mpsc},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long a node may take to come to what a test waits for, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(300);

/// A directory in which commands run and homes lie. Removed when dropped.
pub(crate) struct Stage {
    dir: TempDir,
    /// The network namespaces that homes are in, those of this machine's own apart.
    places: BTreeMap<String, String>,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// stdout as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("stdout is not JSON ({e}): {self:?}"))
    }

    /// The id after `receipt: ` on stderr.
    pub(crate) fn receipt(&self) -> String {
        let line = self.stderr.lines().find_map(|l| l.strip_prefix("receipt: "));
        line.unwrap_or_else(|| panic!("no receipt line: {self:?}")).to_owned()
    }

    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Asserts that stderr says this.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "stderr does not say {text:?}: {}", self.stderr);
        self
    }
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self { dir: TempDir::new().expect("a temporary directory"), places: BTreeMap::new() }
    }

    /// Puts a home into a network namespace: what runs in it runs there.
    #[cfg(target_os = "linux")]
    pub(crate) fn place(&mut self, home: &str, namespace: &str) {
        self.places.insert(home.to_owned(), namespace.to_owned());
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn write(&self, file: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(file);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(&path, content).expect("a file");
        path
    }

    /// The command in a home of this stage, with nothing of the caller's environment but what finds programs.
    pub(crate) fn command(&self, home: &str) -> Command {
        let actum = env!("CARGO_BIN_EXE_actum");
        let mut command = match self.places.get(home) {
            // Which becomes the command.
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace, actum]);
                command
            }
            None => Command::new(actum),
        };
        command.env_clear().current_dir(self.path()).env("ACTUM_HOME", self.path().join(home));
        for key in ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "TMPDIR"] {
            if let Some(value) = std::env::var_os(key) {
                command.env(key, value);
            }
        }
        command
    }

    pub(crate) fn actum(&self, home: &str, args: &[&str]) -> Ran {
        self.actum_with(home, args, b"")
    }

    pub(crate) fn actum_with(&self, home: &str, args: &[&str], stdin: &[u8]) -> Ran {
        let mut command = self.command(home);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("actum starts");
        let mut pipe = child.stdin.take().expect("a pipe");
        let stdin = stdin.to_vec();
        let writer = std::thread::spawn(move || {
            // A command that does not read its stdin closes it: not an error of the test.
            let _ = pipe.write_all(&stdin);
        });
        let output = child.wait_with_output().expect("actum ends");
        writer.join().expect("the writer ends");
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Writes a built-in capability as its author's directory and publishes it; returns the release id.
    pub(crate) fn publish(&self, home: &str, name: &str) -> String {
        let capability = actum_capabilities::find(name).expect("a built-in capability");
        for (file, text) in capability.wit {
            self.write(&format!("wit/{name}/{file}"), text);
        }
        self.write(&format!("capabilities/{name}/actum.toml"), capability.manifest);
        let component = self.write(&format!("capabilities/{name}/{name}.wasm"), capability.component);
        let ran = self.actum(home, &["publish", component.to_str().expect("UTF-8")]).exits(0);
        ran.stdout.trim().to_owned()
    }

    /// Writes a test guest's component; returns its path.
    pub(crate) fn guest(&self, name: &str) -> String {
        let guests = actum_capabilities::guests::ALL;
        let guest = guests.iter().find(|g| g.name == name).expect("a built-in guest");
        self.write(&format!("{name}.wasm"), guest.component).to_str().expect("UTF-8").to_owned()
    }

    /// Publishes a test guest under its own name.
    pub(crate) fn publish_guest(&self, home: &str, name: &str, permissions: &str) {
        let component = self.guest(name);
        let manifest = format!(
            "name = \"{name}\"\nversion = \"0.1.0\"\nintent = \"Test\"\npermissions = {permissions}\n"
        );
        let manifest = self.write(&format!("{name}.toml"), manifest);
        self.actum(home, &["publish", &component, "--manifest", manifest.to_str().expect("UTF-8")]).exits(0);
    }

    /// Starts a node and waits until it is ready.
    pub(crate) fn node(&self, home: &str, args: &[&str]) -> Node {
        self.start_as(home, &[&["node"], args].concat())
    }

    /// Starts what runs as a node does, such as the demo's liar, and waits until it is ready.
    pub(crate) fn start_as(&self, home: &str, args: &[&str]) -> Node {
        let mut command = self.command(home);
        command.args(["--format", "json"]).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("actum starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        lines.read_line(&mut line).expect("a line");
        if line.is_empty() {
            let output = child.wait_with_output().expect("actum ends");
            panic!("the node did not start: {}", String::from_utf8_lossy(&output.stderr));
        }
        let ready: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(ready["event"], "ready");
        let stderr = child.stderr.take().expect("a pipe");
        // Whatever it says is drained, so that it never waits for the test.
        std::thread::spawn(move || BufReader::new(stderr).lines().for_each(drop));
        let (said, events) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                // A test that looks at nothing more of it may hold it still.
                let _ = said.send(line);
            }
        });
        Node { child, ready, events: Mutex::new(events) }
    }
}

/// A running node. Killed when dropped.
pub(crate) struct Node {
    child: Child,
    pub(crate) ready: serde_json::Value,
    /// What it says after that, line by line. Locked only so that a node can be shared between threads.
    events: Mutex<mpsc::Receiver<String>>,
}

impl Node {
    pub(crate) fn did(&self) -> &str {
        self.ready["did"].as_str().expect("a did")
    }

    /// The first address over this transport (`tcp` or `udp`).
    pub(crate) fn address(&self, transport: &str) -> &str {
        let addresses = self.ready["addresses"].as_array().expect("addresses");
        let wanted = format!("/{transport}/");
        addresses.iter().filter_map(|a| a.as_str()).find(|a| a.contains(&wanted)).expect("an address")
    }

    /// Waits for an event of this name.
    pub(crate) fn wait_for(&mut self, event: &str) -> serde_json::Value {
        self.wait_within(event, PATIENCE).unwrap_or_else(|| panic!("the node does not come to {event:?}"))
    }

    /// Waits for an event of this name for so long; gives none where there was none.
    pub(crate) fn wait_within(&mut self, event: &str, patience: Duration) -> Option<serde_json::Value> {
        let events = self.events.get_mut().expect("no panic");
        let until = Instant::now() + patience;
        loop {
            let line = match events.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => line,
                Err(mpsc::RecvTimeoutError::Timeout) => return None,
                Err(mpsc::RecvTimeoutError::Disconnected) => panic!("the node ended before {event:?}"),
            };
            let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            if value["event"] == event {
                return Some(value);
            }
        }
    }

    /// The processor time that it has used so far, all its threads together.
    #[cfg(target_os = "linux")]
    pub(crate) fn burned(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        // After its name, which may hold anything: the 12th and 13th word are hundredths of a second.
        let (_, words) = stat.rsplit_once(')').expect("a name");
        let times =
            words.split_whitespace().skip(11).take(2).map(|word| word.parse::<u64>().expect("a number"));
        Duration::from_millis(times.sum::<u64>() * 10)
    }

    /// Sends what Ctrl-C sends.
    pub(crate) fn interrupt(&self) {
        let pid =
            rustix::process::Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("the node is there");
    }

    /// Waits for the end; says whether it ended well.
    pub(crate) fn wait(&mut self) -> bool {
        self.child.wait().expect("the node ends").success()
    }

    pub(crate) fn stop(mut self) {
        self.interrupt();
        assert!(self.wait(), "the node ended badly");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Bytes as a `list<u8>` is written in JSON.
pub(crate) fn bytes(bytes: &[u8]) -> serde_json::Value {
    actum_model::json::to_json(&actum_model::WitType::bytes(), &actum_model::Value::Bytes(bytes.to_vec()))
}
