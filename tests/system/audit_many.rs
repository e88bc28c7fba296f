//! Many receipts are audited at once: whatever is wrong with one is said of that one, and ends nothing.

use crate::harness::Stage;
use actum_model::{Receipt, ReceiptId, SecretKey, Signed};
use actum_node::{
    Home,
    audit::{AuditOptions, Kind, Report, Selection, audit_many, svr},
    invoke::{self, Choices},
    provider::CancelToken,
    resolve, run,
};
use actum_store::NewReceipt;
use std::{
    collections::BTreeSet,
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

fn open(stage: &Stage, home: &str) -> Home {
    Home::open(&stage.path().join(home)).expect("a home")
}

/// Runs a function of a capability that is published in the home, once for each text.
fn run_all(home: &Home, capability: &str, function: &str, texts: &[String]) -> Vec<Signed<Receipt>> {
    let target = resolve::resolve(home, capability).expect("it is published");
    let function = target.function(function).expect("a function");
    let run_one = |text: &String| {
        let args = serde_json::json!([text]);
        let args =
            invoke::encode_args(function, &args, &mut |_| Err("no files".to_owned())).expect("arguments");
        let ran = run::run(home, &target, function, &args, Choices::default(), CancelToken::default());
        ran.expect("it runs").receipt
    };
    texts.iter().map(run_one).collect()
}

/// Keeps in one home what another has of a receipt, with the receipt as `change` makes it, signed by the other.
fn hand_over(to: &Home, from: &Home, id: &ReceiptId, change: impl Fn(&mut Receipt)) {
    let evidence = from.store().evidence(id).expect("the store").expect("a receipt");
    let mut receipt = evidence.receipt.payload().clone();
    change(&mut receipt);
    let kept = NewReceipt {
        receipt: &Signed::sign(receipt, from.key().expect("a key")),
        args: &evidence.args,
        output: evidence.output.as_deref(),
        journal: &evidence.journal,
        bodies: &evidence.bodies,
        stdio: evidence.stdio.as_deref(),
        invocation: None,
    };
    to.store().put_receipt(kept).expect("it is kept");
    to.store().put_component(&evidence.component.expect("a component")).expect("it is kept");
}

/// Where the store has the file of an id.
fn file_of(home: &Path, shelf: &str, id: &str) -> PathBuf {
    home.join("store").join(shelf).join(&id[id.len() - 2..]).join(id)
}

/// A home with 200 receipts of its own, one whose arguments are damaged, one whose component is gone, and of a liar five
/// honest ones and three lies. Gives the ids of the damaged one and the one without a component, and the liar's key.
fn stocked(stage: &Stage) -> (ReceiptId, ReceiptId, String) {
    for (home, capability) in [("auditor", "text-stats"), ("auditor", "digest"), ("liar", "text-stats")] {
        stage.publish(home, capability);
    }
    let (auditor, liar) = (open(stage, "auditor"), open(stage, "liar"));
    let texts: Vec<_> = (0..200).map(|n| format!("To be, or not to be, number {n}.")).collect();
    run_all(&auditor, "text-stats", "count-words", &texts);
    let long = run_all(&auditor, "text-stats", "count-words", &["long ".repeat(8_000)]).remove(0);
    let orphan = run_one_digest(&auditor);
    let texts: Vec<_> = (0..8).map(|n| format!("That is question {n}.")).collect();
    for (n, receipt) in run_all(&liar, "text-stats", "count-words", &texts).iter().enumerate() {
        hand_over(&auditor, &liar, &receipt.id(), |receipt| receipt.fuel += u64::from(n >= 5));
    }
    let args = file_of(auditor.root(), "blobs", &long.payload().action.args.to_string());
    let mut bytes = fs::read(&args).expect("large arguments are a file");
    bytes[100] ^= 1;
    fs::write(&args, bytes).expect("it is damaged");
    let component = orphan.payload().action.component.to_string();
    fs::remove_file(file_of(auditor.root(), "components", &component)).expect("it was there");
    (long.id(), orphan.id(), liar.did().to_string())
}

/// A receipt of the capability `digest`, by whatever function it has.
fn run_one_digest(home: &Home) -> Signed<Receipt> {
    let target = resolve::resolve(home, "digest").expect("it is published");
    let example =
        target.release.as_ref().expect("a release").payload().examples.first().expect("an example").clone();
    let function = target.function(&example.function.to_string()).expect("a function");
    let args = example.args.to_vec();
    let ran = run::run(home, &target, function, &args, Choices::default(), CancelToken::default());
    ran.expect("it runs").receipt
}

fn audit(home: &Home, options: &AuditOptions) -> Report {
    audit_many(home, &Selection::Since(0), options, &mut |_| {}).expect("a report")
}

fn counts(report: &Report) -> Vec<(&'static str, u64)> {
    let counts = Kind::ALL.into_iter().map(|kind| (kind.name(), report.total.of(kind)));
    counts.filter(|(_, count)| *count > 0).collect()
}

#[test]
fn whatever_is_wrong_with_one_receipt_is_said_of_that_one_and_ends_nothing() {
    let stage = Stage::new();
    let (damaged, orphan, liar) = stocked(&stage);
    let home = open(&stage, "auditor");
    let mut seen = Vec::new();
    let report = audit_many(&home, &Selection::Since(0), &AuditOptions::default(), &mut |p| seen.push(p));
    let report = report.expect("a report");
    let wanted = [("identical", 205), ("diverged", 3), ("damaged", 1), ("missing-component", 1)];
    assert_eq!(counts(&report), wanted);
    assert_eq!((report.kept, report.not_reached, report.lost.len()), (208, 0, 0));
    let last = seen.last().expect("progress");
    assert_eq!((last.done, last.total, last.wrong), (210, 210, 4));
    assert!(seen.is_sorted_by(|a, b| a.done < b.done));

    assert_eq!(report.rows.len(), 5);
    for row in &report.rows {
        match row.kind {
            Kind::Diverged => {
                assert_eq!(row.divergence.as_ref().expect("where").at, "fuel");
                assert_eq!(row.provider.expect("a provider").to_string(), liar);
            }
            Kind::Damaged => assert_eq!(row.receipt, Some(damaged)),
            Kind::MissingComponent => assert_eq!(row.receipt, Some(orphan)),
            other => panic!("{other:?}"),
        }
    }
    let (worst, tally) = report.worst_first()[0];
    assert_eq!(worst.expect("a provider").to_string(), liar);
    assert_eq!((tally.receipts(), tally.of(Kind::Identical), tally.wrong()), (8, 5, 3));
    assert!(report.total.fuel > 0 && report.per_second() > 0);

    // What one verdict says already is not kept again, and what has none is looked at again.
    assert_eq!(audit(&home, &AuditOptions::default()).kept, 0);
    let again = audit(&home, &AuditOptions { new: true, ..AuditOptions::default() });
    assert_eq!(counts(&again), [("damaged", 1), ("missing-component", 1)]);

    // What is a damaged file in one place is whole again once somebody brings it.
    let component = actum_capabilities::find("digest").expect("a capability").component;
    home.store().put_component(component).expect("it is kept");
    let again = audit(&home, &AuditOptions { new: true, ..AuditOptions::default() });
    assert_eq!(counts(&again), [("identical", 1), ("damaged", 1)]);
}

#[test]
fn the_command_says_it_as_text_json_a_page_and_statements() {
    let stage = Stage::new();
    let (damaged, _, liar) = stocked(&stage);
    let args = ["--format", "json", "audit", "--html", "report.html", "--svr", "verdicts"];
    let json =
        stage.actum("auditor", &args).exits(7).says("something is wrong with 4 of 210 receipts").json();
    let keys = |value: &serde_json::Value| {
        value.as_object().expect("an object").keys().cloned().collect::<BTreeSet<String>>()
    };
    let set = |keys: &[&str]| keys.iter().map(|&key| key.to_owned()).collect::<BTreeSet<String>>();
    assert_eq!(
        keys(&json),
        set(&[
            "at",
            "fuel",
            "kinds",
            "lost",
            "millis",
            "more",
            "not_reached",
            "providers",
            "receipts",
            "receipts_per_second",
            "rows",
            "rows_left_out",
            "threads",
            "verdicts_kept",
        ])
    );
    assert_eq!(
        keys(&json["kinds"]),
        set(&[
            "identical",
            "diverged",
            "authority-false",
            "inconsistent",
            "damaged",
            "missing-component",
            "not-replayable",
            "failed",
        ])
    );
    assert_eq!(keys(&json["providers"][0]), set(&["provider", "name", "receipts", "fuel", "kinds"]));
    let row = [
        "kind",
        "receipt",
        "provider",
        "name",
        "function",
        "file",
        "at",
        "receipt_says",
        "replay_says",
        "says",
        "also",
    ];
    assert_eq!(keys(&json["rows"][0]), set(&row));
    assert_eq!((&json["kinds"]["diverged"], &json["verdicts_kept"]), (&3.into(), &208.into()));

    let page = fs::read_to_string(stage.path().join("report.html")).expect("a page");
    for said in [&liar, &damaged.to_string()] {
        assert!(page.contains(said.as_str()), "{said}");
    }
    for elsewhere in ["http://", "https://", "<script", "<link", "<img", "@import", "url("] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }

    let files: Vec<_> = fs::read_dir(stage.path().join("verdicts")).expect("a directory").flatten().collect();
    assert_eq!(files.len(), 208);
    let (mut identical, home) = (0, open(&stage, "auditor"));
    for file in files {
        let name = file.file_name().into_string().expect("UTF-8");
        let verified = svr::verify(&fs::read(file.path()).expect("a statement")).expect("it holds");
        assert_eq!(verified.verifier, home.did());
        let [subject] = verified.subjects.as_slice() else { panic!("{:?}", verified.subjects) };
        let id: ReceiptId = subject.name.parse().expect("a receipt's id");
        assert_eq!(name, format!("{id}.svr.json"));
        // The digest is what sha256sum says of the receipt.
        let receipt = home.store().receipt(&id).expect("the store").expect("a receipt");
        let digest = actum_model::id::sha256(receipt.bytes()).map(|byte| format!("{byte:02x}")).concat();
        assert_eq!(subject.digest["sha256"], digest);
        identical += u32::from(verified.properties.iter().any(|p| p == svr::REPLAY_IDENTICAL));
    }
    assert_eq!(identical, 205);

    home.store().put_name("larry", &liar.parse().expect("a key")).expect("a name");
    for who in [vec![liar.as_str()], vec!["larry"], vec!["larry", "24h"], vec!["--provider", "larry"]] {
        let ran = stage.actum("auditor", &[&["audit"][..], who.as_slice()].concat()).exits(7);
        let ran = ran.says("something is wrong with 3 of 8 receipts");
        assert!(ran.stdout.contains("larry") && ran.stdout.contains("DIVERGED"), "{}", ran.stdout);
        assert!(ran.stdout.contains("at fuel: receipt "), "{}", ran.stdout);
    }
    stage.actum("auditor", &["audit", "2099-01-01"]).exits(0).says("0 receipts");
    stage.actum("auditor", &["audit", "nobody"]).exits(5).says("nobody is called so here");
    stage.actum("auditor", &["audit", "larry", "liar"]).exits(2);
}

#[test]
fn files_are_audited_without_a_home() {
    let stage = Stage::new();
    stage.publish("you", "text-stats");
    let texts: Vec<_> = (0..3).map(|n| format!("number {n}")).collect();
    let receipts = run_all(&open(&stage, "you"), "text-stats", "count-words", &texts);
    let elsewhere = Stage::new();
    for (n, receipt) in receipts.iter().enumerate() {
        stage.actum("you", &["receipt", "export", &receipt.id().to_string(), "-o", "bundle.car"]).exits(0);
        let bytes = fs::read(stage.path().join("bundle.car")).expect("a bundle");
        elsewhere.write(&format!("bundles/{n}.car"), bytes);
    }
    elsewhere.write("bundles/readme.txt", "no bundle");
    elsewhere.actum("home", &["audit", "bundles"]).exits(0);

    let mut changed = fs::read(elsewhere.path().join("bundles/1.car")).expect("a bundle");
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    elsewhere.write("bundles/1.car", changed);
    let json = elsewhere.actum("home", &["--format", "json", "audit", "bundles"]).exits(7).json();
    assert_eq!((&json["kinds"]["identical"], &json["kinds"]["damaged"]), (&2.into(), &1.into()));
    assert!(json["rows"][0]["file"].as_str().expect("a file").ends_with("1.car"), "{json:#}");
    let both = ["audit", "bundles/0.car", "bundles/2.car", "--engine", "pulley"];
    elsewhere.actum("home", &both).exits(0).says("2 receipts");

    // A lie in a file is found as one in a home is, and so is a receipt that cannot be tried.
    let bytes = fs::read(elsewhere.path().join("bundles/0.car")).expect("a bundle");
    let bundle = actum_model::bundle::Bundle::from_bytes(&bytes).expect("a true bundle");
    let liar = SecretKey::from_seed(&[7; 32]);
    let mut receipt = bundle.receipt.payload().clone();
    (receipt.iss, receipt.action.requester) = (liar.did(), liar.did());
    let mut lie = receipt.clone();
    lie.memory_bytes += 65_536;
    let mut foreign = receipt;
    foreign.profile = actum_model::ProfileId::of(b"another");
    for (file, receipt, code, kind) in
        [("lie.car", lie, 7, "diverged"), ("foreign.car", foreign, 7, "not-replayable")]
    {
        let forged = actum_model::bundle::Bundle { receipt: Signed::sign(receipt, &liar), ..bundle.clone() };
        elsewhere.write(file, forged.to_bytes());
        let json = elsewhere.actum("home", &["--format", "json", "audit", file]).exits(code).json();
        assert_eq!(json["rows"][0]["kind"], kind, "{json:#}");
    }
    elsewhere.actum("home", &["audit", "bundles", "--new"]).exits(2);
    let left = fs::read_dir(elsewhere.path()).expect("a directory").flatten();
    let left: BTreeSet<_> = left.map(|entry| entry.file_name().into_string().expect("UTF-8")).collect();
    let wanted = ["bundles", "foreign.car", "lie.car"].map(str::to_owned);
    assert_eq!(left, BTreeSet::from(wanted), "auditing files writes nothing");
}

#[test]
fn an_interrupted_audit_keeps_what_it_did() {
    let stage = Stage::new();
    for home in ["program", "auditor"] {
        stage.publish(home, "text-stats");
    }

    // As a program that embeds the library interrupts it: at the first it hears of. Whoever looks at receipts is never more than
    // 256 ahead of whoever counts them, so that some are left even where this thread is slow.
    const MANY: u64 = 300;
    let home = open(&stage, "program");
    let texts: Vec<_> = (0..MANY).map(|n| format!("{n} to be or not to be")).collect();
    run_all(&home, "text-stats", "count-words", &texts);
    let options = AuditOptions { threads: NonZeroUsize::new(1), ..AuditOptions::default() };
    let cancel = options.cancel.clone();
    let report =
        audit_many(&home, &Selection::Since(0), &options, &mut |_| cancel.cancel()).expect("a report");
    let done = report.total.receipts();
    assert!(done > 0 && report.not_reached > 0, "{done} done, {} not", report.not_reached);
    assert_eq!((done + report.not_reached, report.kept), (MANY, done));
    drop(home);

    // As Ctrl-C does. The interpreter is slow enough not to be done with so many when it comes.
    const RECEIPTS: u64 = 100;
    let texts: Vec<_> = (0..RECEIPTS).map(|n| format!("{n} to be or not to be").repeat(20_000)).collect();
    run_all(&open(&stage, "auditor"), "text-stats", "count-words", &texts);
    let args = ["audit", "--new", "--jobs", "1", "--engine", "pulley", "--svr", "verdicts"];
    let mut command = stage.command("auditor");
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("actum starts");
    let verdicts = stage.path().join("verdicts");
    let written = || fs::read_dir(&verdicts).map_or(0, |files| files.flatten().count());
    let patience = Instant::now() + Duration::from_secs(120);
    while written() == 0 {
        assert!(
            child.try_wait().expect("a child").is_none() && Instant::now() < patience,
            "no verdict was written"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it is there");
    let output = child.wait_with_output().expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{stderr}");
    assert!(stderr.contains("interrupted: ") && stderr.contains("--new"), "{stderr}");

    let home = open(&stage, "auditor");
    let left = RECEIPTS - written() as u64;
    assert!(left > 0, "it was interrupted");
    let rest = audit(&home, &AuditOptions { new: true, ..AuditOptions::default() });
    assert_eq!((rest.total.of(Kind::Identical), rest.kept), (left, left));
    assert_eq!(audit(&home, &AuditOptions { new: true, ..AuditOptions::default() }).total.receipts(), 0);
}
