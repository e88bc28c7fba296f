//! A provider's TPM quotes each receipt, and whoever holds the receipt says whether that holds: with swtpm, a TPM 2.0 in software,
//! and tpm2-tools, both as Debian has them.

use crate::harness::Stage;
use actum_model::{Attestation, Tpm2Quote, bundle::Bundle};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Where the key lies in the TPM.
const HANDLE: &str = "0x81010002";

/// A TPM. Its program is ended when dropped.
struct Tpm {
    program: Child,
    dir: PathBuf,
}

impl Tpm {
    fn start(stage: &Stage, name: &str) -> Self {
        let dir = stage.path().join(name);
        fs::create_dir(&dir).expect("a directory");
        // Whoever speaks to the one finds the other by its name.
        let (socket, control) = (dir.join("socket"), dir.join("socket.ctrl"));
        let place = |option: &str, path: &Path| format!("{option}{}", path.display());
        let mut command = Command::new("swtpm");
        command.args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"]);
        command.args(["--tpmstate", &place("dir=", &dir), "--server", &place("type=unixio,path=", &socket)]);
        command.args(["--ctrl", &place("type=unixio,path=", &control)]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let program = command.spawn().expect("swtpm, of `apt-get install swtpm tpm2-tools`, starts");
        let tpm = Self { program, dir };
        let until = Instant::now() + Duration::from_secs(60);
        while !socket.exists() || !control.exists() {
            assert!(Instant::now() < until, "swtpm does not listen");
            std::thread::yield_now();
        }
        tpm
    }

    fn tcti(&self) -> String {
        format!("swtpm:path={}", self.dir.join("socket").display())
    }

    fn tool(&self, program: &str, args: &[&str]) {
        let mut command = Command::new(program);
        command.current_dir(&self.dir).env("TPM2TOOLS_TCTI", self.tcti()).args(args);
        let output = command.output().expect("tpm2-tools, of `apt-get install swtpm tpm2-tools`");
        assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Makes an attestation key, as docs/attestation.md says; gives its name.
    fn key(&self) -> String {
        self.tool("tpm2_createek", &["-c", "0x81010001", "-G", "ecc", "-u", "ek.pub"]);
        let key = ["-C", "0x81010001", "-c", "ak.ctx", "-G", "ecc", "-g", "sha256", "-s", "ecdsa"];
        self.tool("tpm2_createak", &[&key[..], &["-u", "ak.pub", "-n", "ak.name"]].concat());
        // Nobody else gives the memory of this TPM back.
        self.tool("tpm2_flushcontext", &["-t"]);
        self.tool("tpm2_evictcontrol", &["-c", "ak.ctx", HANDLE]);
        self.tool("tpm2_flushcontext", &["-t"]);
        hex(&fs::read(self.dir.join("ak.name")).expect("the key's name"))
    }

    /// The values of PCRs 0 to 7, as `config.toml` has them.
    fn pcrs(&self) -> String {
        self.tool("tpm2_pcrread", &["-o", "pcrs", "sha256:0,1,2,3,4,5,6,7"]);
        let values = fs::read(self.dir.join("pcrs")).expect("the registers");
        assert_eq!(values.len(), 8 * 32);
        let each =
            (0..).zip(values.chunks_exact(32)).map(|(n, value): (u8, _)| format!("{n} = \"{}\"", hex(value)));
        format!("{{ {} }}", each.collect::<Vec<_>>().join(", "))
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attesting(tcti: &str, handle: &str) -> String {
    format!(
        "[attest]\ntpm2 = {{ ak_context = \"{handle}\", tcti = \"{tcti}\" }}\n\n[[offer]]\nrelease = \"text-stats\"\npublic = true\n"
    )
}

fn trusting(names: &[&str], pcrs: &str) -> String {
    format!("[attest]\ntrust = {names:?}\npcrs = {pcrs}\n")
}

/// What `actum receipt show` says in a home that trusts so.
fn shown(stage: &Stage, home: &str, config: &str, receipt: &str) -> (String, serde_json::Value) {
    stage.write(&format!("{home}/config.toml"), config);
    let text = stage.actum(home, &["receipt", "show", receipt]).exits(0).stdout;
    let json = stage.actum(home, &["--format", "json", "receipt", "show", receipt]).exits(0).json();
    let line = text.lines().find(|line| line.starts_with("attested")).unwrap_or_default();
    (line.to_owned(), json["attested"].clone())
}

/// Has Bob count words until a receipt comes attested; gives that one. A TPM has five seconds for each, which may be too few
/// where other programs run; then the receipt goes without, and the TPM is left alone for half a minute.
fn attested_call(stage: &Stage, address: &str, text: &str) -> String {
    let until = Instant::now() + Duration::from_secs(180);
    loop {
        let call = ["call", "text-stats", "count-words", text, "--peer", address];
        let receipt = stage.actum("bob", &call).exits(0).receipt();
        let shown = stage.actum("bob", &["--format", "json", "receipt", "show", &receipt]).exits(0).json();
        if !shown["attested"].is_null() {
            return receipt;
        }
        assert!(Instant::now() < until, "no receipt is attested: {shown:#}");
        thread::sleep(Duration::from_secs(1));
    }
}

#[test]
fn a_receipt_is_attested_by_a_tpm_and_only_as_it_was() {
    let stage = Stage::new();
    let tpm = Tpm::start(&stage, "tpm");
    let name = tpm.key();
    stage.publish("alice", "text-stats");
    stage.write("alice.toml", attesting(&tpm.tcti(), HANDLE));
    let alice = stage.node("alice", &["--config", "alice.toml"]);
    let address = alice.address("tcp").to_owned();
    let receipt = attested_call(&stage, &address, "to be or not to be");

    // Whom one trusts is one's own to say, and may be said later.
    let (line, json) = shown(&stage, "bob", "", &receipt);
    assert_eq!(line, format!("attested   by TPM {name}: not trusted"));
    assert_eq!((&json["by"], &json["state"]), (&format!("TPM {name}").into(), &"not-trusted".into()));
    let another = format!("{}{}", &name[..67], if name.ends_with('0') { '1' } else { '0' });
    let (line, _) = shown(&stage, "bob", &trusting(&[&another], "{}"), &receipt);
    assert_eq!(line, format!("attested   by TPM {name}: not trusted"));
    let trusts = trusting(&[&another, &name], "{}");
    let (line, json) = shown(&stage, "bob", &trusts, &receipt);
    assert_eq!(line, format!("attested   by TPM {name}: holds"));
    assert_eq!((&json["state"], &json["why"]), (&"holds".into(), &serde_json::Value::Null));
    // The provider kept it too.
    assert_eq!(shown(&stage, "alice", &trusts, &receipt).0, line);

    // The platform's state, before it changes and after.
    let pinned = trusting(&[&name], &tpm.pcrs());
    assert_eq!(shown(&stage, "bob", &pinned, &receipt).0, line);
    tpm.tool("tpm2_pcrextend", &[&format!("4:sha256={}", "5a".repeat(32))]);
    let later = attested_call(&stage, &address, "that is the question");
    assert_eq!(shown(&stage, "bob", &trusts, &later).0, line);
    let (changed, json) = shown(&stage, "bob", &pinned, &later);
    assert!(
        changed.contains(&format!("{name}: does not hold: the platform's PCRs have other values")),
        "{changed}"
    );
    assert_eq!(json["state"], "other-state");
    assert_eq!(shown(&stage, "bob", &pinned, &receipt).0, line);
    let zero = format!("{{ 0 = \"{}\" }}", "0".repeat(64));
    let (others, _) = shown(&stage, "bob", &trusting(&[&name], &zero), &receipt);
    assert!(others.contains("where sha256:0 are asked for"), "{others}");

    // A TPM that is gone costs the receipt its attestation and nothing else.
    drop(tpm);
    let call = ["call", "text-stats", "count-words", "nobler in the mind", "--peer", &address];
    let bare = stage.actum("bob", &call).exits(0).receipt();
    assert_eq!(shown(&stage, "bob", &trusts, &bare), (String::new(), serde_json::Value::Null));
    assert_eq!(stage.actum("bob", &["replay", &bare]).exits(0).stdout, "identical\n");
    alice.stop();

    carried(&stage, &name, &receipt, &later);
}

/// A bundle carries the attestation to whoever replays it, and nobody can make it another.
fn carried(stage: &Stage, name: &str, receipt: &str, later: &str) {
    let exported = |id: &str| {
        stage.actum("bob", &["receipt", "export", id, "-o", "bundle.car"]).exits(0);
        fs::read(stage.path().join("bundle.car")).expect("a bundle")
    };
    let (bytes, other) = (exported(receipt), exported(later));
    let (bundle, other) =
        (Bundle::from_bytes(&bytes).expect("true"), Bundle::from_bytes(&other).expect("true"));
    let attestation = bundle.attestation.clone().expect("an attestation");

    let auditor = Stage::new();
    let replayed = |bytes: &[u8]| {
        auditor.write("bundle.car", bytes);
        auditor.actum("auditor", &["replay", "bundle.car"])
    };
    let trusted = format!("attested   by TPM {name}: holds");
    replayed(&bytes).exits(0).says(&format!("attested   by TPM {name}: not trusted"));
    auditor.write("auditor/config.toml", trusting(&[name], "{}"));
    assert_eq!(replayed(&bytes).exits(0).says(&trusted).stdout, "identical\n");

    // Every byte of it is what it was, or the bundle is refused.
    let at = bytes.len() - attestation.bytes().len();
    for n in at..bytes.len() {
        let mut changed = bytes.clone();
        changed[n] ^= 1;
        assert!(Bundle::from_bytes(&changed).is_err(), "byte {n}");
    }
    let mut changed = bytes.clone();
    changed[at + 100] ^= 1;
    replayed(&changed).exits(7).says("is not a true bundle");

    // One made anew is a true bundle, whose attestation does not hold. It says nothing against the receipt.
    let forged = |receipt, evidence: Vec<u8>| {
        let attestation = Attestation::new(receipt, Tpm2Quote::FORMAT, evidence).expect("an attestation");
        Bundle { attestation: Some(attestation), ..bundle.clone() }.to_bytes()
    };
    let quote = Tpm2Quote::read(attestation.evidence()).expect("a quote");
    let refused = |bytes: &[u8], why: &str| {
        let replayed = replayed(bytes).exits(0).says(why);
        assert!(!replayed.stderr.contains("holds\n"), "{}", replayed.stderr);
        assert_eq!(replayed.stdout, "identical\n");
    };
    let id = bundle.receipt.id();
    let others = other.attestation.as_ref().expect("an attestation").evidence().to_vec();
    refused(&forged(id, others), "does not hold: what was signed is over something else than this receipt");
    let mut attest = quote.attest.clone();
    *attest.last_mut().expect("a digest") ^= 1;
    refused(
        &forged(id, Tpm2Quote { attest, ..quote.clone() }.bytes()),
        "does not hold: the signature is not that key's",
    );
    let mut signature = quote.signature.clone();
    signature[20] ^= 1;
    refused(
        &forged(id, Tpm2Quote { signature, ..quote }.bytes()),
        "does not hold: the signature is not that key's",
    );
    refused(&forged(id, vec![0xa0]), "attested   by tpm2-quote@1: does not hold: its evidence is malformed");
    let error = Bundle::from_bytes(&forged(other.receipt.id(), vec![])).expect_err("of another receipt");
    assert!(error.to_string().contains("the attestation is of receipt"), "{error}");
    // Left out, it is not missed.
    let bare = Bundle { attestation: None, ..bundle.clone() }.to_bytes();
    assert!(!replayed(&bare).exits(0).stderr.contains("attested"));
}

#[test]
fn two_tpms_speak_for_themselves_and_none_is_no_start() {
    let stage = Stage::new();
    let (mine, other) = (Tpm::start(&stage, "tpm"), Tpm::start(&stage, "other"));
    let (mine_name, other_name) = (mine.key(), other.key());
    assert_ne!(mine_name, other_name);
    stage.publish("alice", "text-stats");
    stage.write("alice.toml", attesting(&other.tcti(), HANDLE));
    let alice = stage.node("alice", &["--config", "alice.toml"]);
    let receipt = attested_call(&stage, alice.address("tcp"), "to be");
    let (line, _) = shown(&stage, "bob", &trusting(&[&mine_name], "{}"), &receipt);
    assert_eq!(line, format!("attested   by TPM {other_name}: not trusted"));
    alice.stop();

    // A key that would sign anything attests nothing, nor does one that is not there.
    mine.tool(
        "tpm2_createprimary",
        &[
            "-Q",
            "-C",
            "o",
            "-G",
            "ecc256:ecdsa-sha256:null",
            "-c",
            "free.ctx",
            "-a",
            "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign",
        ],
    );
    mine.tool("tpm2_evictcontrol", &["-c", "free.ctx", "0x81010003"]);
    mine.tool("tpm2_flushcontext", &["-t"]);
    for (tcti, handle, why) in [
        (mine.tcti(), "0x81010003", "the key is not restricted"),
        (mine.tcti(), "0x81010004", "tpm2_readpublic failed"),
        (format!("swtpm:path={}", stage.path().join("nowhere").display()), HANDLE, "tpm2_readpublic failed"),
    ] {
        stage.write("no.toml", attesting(&tcti, handle));
        stage
            .actum("alice", &["node", "--config", "no.toml"])
            .exits(3)
            .says("receipts cannot be attested")
            .says(why);
    }
}
