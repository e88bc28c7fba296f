//! Keys: made on first use, sealed, copied, brought in and handed over, by the command alone.

use crate::harness::{Ran, Stage};
use std::{fs, path::PathBuf, process::Stdio};

const PASSPHRASE: (&str, &str) = ("ACTUM_PASSPHRASE", "correct horse battery");
const NEW: (&str, &str) = ("ACTUM_NEW_PASSPHRASE", "correct horse battery");

impl Stage {
    /// The command with these variables, and nobody at a terminal.
    fn with(&self, home: &str, variables: &[(&str, &str)], args: &[&str]) -> Ran {
        let mut command = self.command(home);
        command.args(args).envs(variables.iter().copied());
        let output = command.stdin(Stdio::null()).output().expect("actum runs");
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub(crate) fn did(&self, home: &str) -> String {
        self.actum(home, &["key", "show"]).exits(0).stdout.trim().to_owned()
    }

    fn key_file(&self, home: &str) -> PathBuf {
        self.path().join(home).join("key.pem")
    }

    /// An action that signs a receipt.
    fn signs(&self, home: &str, variables: &[(&str, &str)]) -> Ran {
        self.with(home, variables, &["run", "text-stats", "count-words", "one two"])
    }
}

#[cfg(unix)]
fn mode(path: &std::path::Path, set: Option<u32>) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    if let Some(mode) = set {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    }
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[cfg(unix)]
#[test]
fn a_key_that_others_can_read_is_refused_with_the_chmod_to_type() {
    let stage = Stage::new();
    let did = stage.did("me");
    let key = stage.key_file("me");
    assert_eq!((mode(&key, None), mode(&stage.path().join("me"), None)), (0o600, 0o700));
    mode(&key, Some(0o640));
    let chmod = format!("chmod 600 {}", key.display());
    for args in [&["key", "show"][..], &["doctor"], &["key", "rotate"], &["receipt", "list"]] {
        stage.actum("me", args).exits(3).says("can be read by others (mode 640)").says(&chmod);
    }
    stage.actum("other", &["key", "import", key.to_str().expect("UTF-8")]).exits(3).says(&chmod);
    mode(&key, Some(0o600));
    assert_eq!(stage.did("me"), did);
}

#[test]
fn a_sealed_home_signs_with_its_passphrase_and_reads_without() {
    let stage = Stage::new();
    stage.publish("me", "text-stats");
    let did = stage.did("me");
    stage.with("me", &[], &["key", "seal"]).exits(3).says("ACTUM_NEW_PASSPHRASE").says("no terminal");
    stage.with("me", &[("ACTUM_NEW_PASSPHRASE", "short")], &["key", "seal"]).exits(2).says("at least 8");
    stage.with("me", &[NEW], &["key", "seal"]).exits(0);
    let text = fs::read_to_string(stage.key_file("me")).expect("a key");
    assert!(text.contains("BEGIN ENCRYPTED PRIVATE KEY"), "{text}");

    stage.signs("me", &[]).exits(3).says("no terminal").says("set ACTUM_PASSPHRASE or");
    stage.signs("me", &[("ACTUM_PASSPHRASE", "wrong")]).exits(3).says("the passphrase is wrong");
    let receipt = stage.signs("me", &[PASSPHRASE]).exits(0).receipt();
    let file = stage.write("passphrase", "correct horse battery\n");
    let file_variable = [("ACTUM_PASSPHRASE_FILE", file.to_str().expect("UTF-8"))];
    #[cfg(unix)]
    {
        mode(&file, Some(0o644));
        let chmod = format!("chmod 600 {}", file.display());
        stage.signs("me", &file_variable).exits(3).says("can be read by others").says(&chmod);
        mode(&file, Some(0o600));
    }
    stage.signs("me", &file_variable).exits(0);

    // None of these asks.
    assert_eq!(stage.did("me"), did);
    stage.with("me", &[], &["receipt", "list"]).exits(0);
    stage.with("me", &[], &["receipt", "export", &receipt, "-o", "bundle.car"]).exits(0);
    stage.with("me", &[], &["replay", "bundle.car"]).exits(0);
    stage.with("me", &[], &["peers"]).exits(0);
    assert!(stage.with("me", &[], &["doctor"]).exits(0).stdout.contains(&did));
    let shown = stage.with("me", &[], &["--format", "json", "key", "show"]).exits(0).json();
    assert_eq!((&shown["did"], &shown["sealed"]), (&did.as_str().into(), &true.into()));

    stage.with("me", &[], &["key", "unseal"]).exits(3);
    stage.with("me", &[PASSPHRASE], &["key", "unseal"]).exits(0);
    stage.signs("me", &[]).exits(0);
    stage.with("me", &[], &["key", "unseal"]).exits(2).says("not sealed");
    assert_eq!(stage.did("me"), did);
}

#[test]
fn a_key_goes_from_home_to_home_and_replaces_nothing_unasked() {
    let stage = Stage::new();
    let did = stage.did("me");
    stage.actum("me", &["key", "export"]).exits(2);
    stage.actum("me", &["key", "export", "-o", "plain.pem"]).exits(0);
    stage.actum("me", &["key", "export", "-o", "plain.pem"]).exits(2).says("not overwritten");
    #[cfg(unix)]
    assert_eq!(mode(&stage.path().join("plain.pem"), None), 0o600);
    let printed = stage.actum("me", &["key", "export", "-o", "-"]).exits(0).stdout;
    assert_eq!(printed, fs::read_to_string(stage.path().join("plain.pem")).expect("a key"));
    stage.with("me", &[NEW], &["key", "export", "--sealed", "-o", "sealed.pem"]).exits(0);

    let brought = stage.actum("plain", &["key", "import", "plain.pem"]).exits(0);
    assert_eq!((brought.stdout.trim(), stage.did("plain")), (did.as_str(), did.clone()));
    stage.with("sealed", &[], &["key", "import", "sealed.pem"]).exits(3).says("ACTUM_PASSPHRASE");
    stage.with("sealed", &[PASSPHRASE], &["key", "import", "sealed.pem"]).exits(0);
    let shown = stage.actum("sealed", &["--format", "json", "key", "show"]).exits(0).json();
    assert_eq!((&shown["did"], &shown["sealed"]), (&did.as_str().into(), &true.into()));
    // A sealed key is copied as it is; to unseal the copy takes a word and the passphrase.
    let copy = stage.with("sealed", &[], &["key", "export", "-o", "-"]).exits(0).stdout;
    assert!(copy.contains("ENCRYPTED"), "{copy}");
    stage.with("sealed", &[], &["key", "export", "--unsealed", "-o", "-"]).exits(3);
    let bare = stage.with("sealed", &[PASSPHRASE], &["key", "export", "--unsealed", "-o", "-"]).exits(0);
    assert_eq!(bare.stdout, printed);

    let before = stage.did("third");
    stage.actum("third", &["key", "import", "plain.pem"]).exits(2).says("--replace");
    assert_eq!(stage.did("third"), before);
    let replaced = stage
        .actum("third", &["--format", "json", "key", "import", "plain.pem", "--replace"])
        .exits(0)
        .json();
    assert_eq!(stage.did("third"), did);
    let aside = replaced["aside"].as_str().expect("a file");
    stage.actum("third", &["key", "import", aside, "--replace"]).exits(0);
    assert_eq!(stage.did("third"), before);
}

#[test]
fn what_is_no_key_of_ours_is_refused_by_name() {
    let stage = Stage::new();
    stage.actum("me", &["key", "import", "nothing.pem"]).exits(5).says("there is no nothing.pem");
    for (label, what) in
        [("RSA PRIVATE KEY", "an RSA key"), ("OPENSSH PRIVATE KEY", "OpenSSH's own format"), ("X", "a \"X\"")]
    {
        let file = stage.write("odd.pem", format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n"));
        #[cfg(unix)]
        mode(&file, Some(0o600));
        stage.actum("me", &["key", "import", file.to_str().expect("UTF-8")]).exits(2).says(what);
    }
    assert!(!stage.key_file("me").exists(), "a refused import makes no key");
}

#[test]
fn a_home_hands_over_to_a_new_key_and_remembers_the_old() {
    let stage = Stage::new();
    stage.publish("me", "text-stats");
    let first = stage.did("me");
    let node = stage.node("me", &["--offer", "text-stats"]);
    stage.actum("me", &["key", "rotate"]).exits(3).says("stop the node first");
    stage.actum("me", &["key", "import", "x.pem", "--replace"]).exits(5);
    node.stop();
    let rotated = stage.actum("me", &["key", "rotate"]).exits(0).says("start the node again");
    let second = stage.did("me");
    assert_eq!(rotated.stdout.trim(), second);
    assert_ne!(first, second);

    stage.with("me", &[NEW], &["key", "seal"]).exits(0);
    stage.with("me", &[], &["key", "rotate"]).exits(3).says("ACTUM_PASSPHRASE");
    let json = stage.with("me", &[PASSPHRASE], &["--format", "json", "key", "rotate"]).exits(0).json();
    assert_eq!(json["former"], second);
    let shown = stage.actum("me", &["--format", "json", "key", "show"]).exits(0).json();
    let former: Vec<_> = shown["former"].as_array().expect("keys").iter().map(|f| f["did"].clone()).collect();
    assert_eq!(former, [first.clone(), second]);
    assert_eq!((&shown["did"], &shown["sealed"]), (&json["did"], &true.into()));
    stage.actum("me", &["key", "show"]).exits(0).says(&format!("former   {first}"));
    stage.signs("me", &[PASSPHRASE]).exits(0);
}

/// Whether what is typed at this terminal is shown there.
#[cfg(unix)]
fn echoes(terminal: &str) -> bool {
    let terminal = fs::File::open(terminal).expect("a terminal");
    let settings = std::process::Command::new("stty").arg("-a").stdin(terminal).output().expect("stty runs");
    !String::from_utf8_lossy(&settings.stdout).split_whitespace().any(|setting| setting == "-echo")
}

/// At a terminal the passphrase is asked for and not shown; a wrong one may be typed again.
#[cfg(unix)]
#[test]
fn a_person_is_asked_without_echo() {
    use std::{
        io::{Read, Write},
        time::{Duration, Instant},
    };
    let stage = Stage::new();
    let did = stage.did("me");
    stage.with("me", &[NEW], &["key", "seal"]).exits(0);
    let actum = env!("CARGO_BIN_EXE_actum");
    let mut command = stage.command("me");
    let home =
        command.get_envs().find(|(k, _)| *k == "ACTUM_HOME").and_then(|(_, v)| v).expect("a home").to_owned();
    command = std::process::Command::new("script");
    // Which terminal it is stands on the first line.
    command.env("ACTUM_HOME", home).args(["-qec", &format!("tty; {actum} key unseal"), "/dev/null"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        eprintln!("SKIPPED: script (util-linux) is not installed, so no terminal was tried");
        return;
    };
    let mut keys = child.stdin.take().expect("a pipe");
    let mut screen = child.stdout.take().expect("a pipe");
    let mut seen = String::new();
    let mut see = |seen: &mut String| {
        let mut byte = [0];
        assert_eq!(screen.read(&mut byte).expect("a screen"), 1, "it ended: {seen}");
        seen.push(char::from(byte[0]));
    };
    while !seen.contains('\n') {
        see(&mut seen);
    }
    let terminal = seen.trim().to_owned();
    for (asked, line) in [(1, "not this one\n"), (2, "correct horse battery\n")] {
        while seen.matches("key.pem: ").count() < asked {
            see(&mut seen);
        }
        // The echo goes off just after the question.
        let begun = Instant::now();
        while echoes(&terminal) {
            assert!(begun.elapsed() < Duration::from_secs(60), "what is typed at {terminal} is shown");
            std::thread::sleep(Duration::from_millis(20));
        }
        keys.write_all(line.as_bytes()).expect("it listens");
    }
    screen.read_to_string(&mut seen).expect("text");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{seen}");
    assert!(seen.contains("Passphrase of ") && seen.contains("try again"), "{seen}");
    assert!(!seen.contains("not this one") && !seen.contains("correct horse"), "{seen}");
    let shown = stage.actum("me", &["--format", "json", "key", "show"]).exits(0).json();
    assert_eq!((&shown["did"], &shown["sealed"]), (&did.as_str().into(), &false.into()));
}
