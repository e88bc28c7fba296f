//! What a guest was told of the real world is recorded, travels with the receipt, replays anywhere, and reads as words.

use crate::harness::{Ran, Stage, bytes};
use actum_model::{Journal, Receipt, SecretKey, Signed, bundle::Bundle, codec};
use std::fs;

/// Has the guest go through everything a bucket does, with a value of so many bytes.
fn tour(stage: &Stage, bucket: &str, value: usize, more: &[&str]) -> Ran {
    let notes = stage.guest("notes");
    let args = serde_json::json!([bucket, bytes(&vec![b'v'; value])]).to_string();
    stage.actum("you", &[&["run", &notes, "tour", &args], more].concat())
}

/// The numbered lines of a journal in words.
fn entries(text: &str) -> Vec<&str> {
    let numbered =
        |line: &&str| line.trim_start().split_once("  ").is_some_and(|(n, _)| n.parse::<u32>().is_ok());
    text.lines().filter(numbered).collect()
}

#[test]
fn a_recorded_run_replays_from_its_bundle_alone_and_says_what_was_told() {
    let stage = Stage::new();
    let ran = tour(&stage, "notes", 5_000, &["--grant", "keyvalue:notes", "--record=tour.car"]).exits(0);
    let recorded = entries(&ran.stderr);
    assert_eq!(recorded.len(), 8, "{ran:?}");
    assert_eq!(recorded[0], r#"1  wasi:keyvalue/store#open  asked ["notes", "Open"]  told {"Ok": true}"#);
    assert!(
        recorded[1]
            .starts_with(r#"2  wasi:keyvalue/store#bucket.set  asked ["notes", {"Set": [["note", b"vvv"#)
    );
    assert!(recorded[1].contains("… (5000 bytes)"), "{}", recorded[1]);

    let bundle = fs::read(stage.path().join("tour.car")).expect("a bundle");
    let bodies = Bundle::from_bytes(&bundle).expect("a true bundle").bodies;
    assert_eq!(
        bodies.values().map(Vec::len).collect::<Vec<_>>(),
        [5_000],
        "the value lies beside the journal"
    );

    let elsewhere = Stage::new();
    elsewhere.write("tour.car", &bundle);
    for engine in ["cranelift", "pulley"] {
        let replay = ["replay", "tour.car", "--explain", "--engine", engine, "--wall-clock", "50"];
        let replayed = elsewhere.actum("me", &replay).exits(0);
        assert_eq!(replayed.stdout.lines().collect::<Vec<_>>(), [&recorded[..], &["identical"]].concat());
    }
    let json =
        elsewhere.actum("me", &["--format", "json", "replay", "tour.car", "--explain"]).exits(0).json();
    assert_eq!(json["judgement"], "identical");
    assert_eq!(json["journal"].as_array().map(Vec::len), Some(8));
    assert_eq!(json["journal"][0]["asked"], r#"["notes", "Open"]"#);
    let plain = elsewhere.actum("me", &["replay", "tour.car"]).exits(0);
    assert_eq!(plain.stdout, "identical\n");
    elsewhere.actum("me", &["replay", "tour.car", "--wall-clock", "0"]).exits(2);

    // The receipt of the home says the same, shorter.
    let shown = stage.actum("you", &["receipt", "show", &ran.receipt()]).exits(0);
    assert!(shown.stdout.contains("journal    8 entries"), "{}", shown.stdout);
    assert_eq!(entries(&shown.stdout)[0].trim_start(), recorded[0]);
    let replayed = stage.actum("you", &["replay", &ran.receipt(), "--explain"]).exits(0);
    assert_eq!(entries(&replayed.stdout), recorded);

    // A byte of the body is as good as any other.
    let at = bundle.windows(100).position(|w| w == [b'v'; 100]).expect("the body") + 50;
    let mut changed = bundle;
    changed[at] ^= 1;
    elsewhere.write("changed.car", changed);
    elsewhere.actum("me", &["replay", "changed.car"]).exits(7).says("is not a true bundle");
}

#[test]
fn a_denial_is_recorded_and_marked() {
    let stage = Stage::new();
    let ran = tour(&stage, "secrets", 5, &["--grant", "keyvalue:notes", "--record"]).exits(0);
    assert_eq!(ran.json(), serde_json::json!(["open: access denied"]));
    let denied =
        r#"1  wasi:keyvalue/store#open  asked ["secrets", "Open"]  told {"Err": "access-denied"}  denied"#;
    assert_eq!(entries(&ran.stderr), [denied]);
    let replayed = stage.actum("you", &["replay", &ran.receipt(), "--explain"]).exits(0);
    assert_eq!(replayed.stdout, format!("{denied}\nidentical\n"));
    let json = ["--format", "json", "receipt", "show", &ran.receipt()];
    assert_eq!(stage.actum("you", &json).exits(0).json()["journal_entries"][0]["denied"], true);

    let read = tour(&stage, "notes", 5, &["--grant", "keyvalue:notes:read", "--record"]).exits(0);
    let denied = |line: &&str| line.ends_with("  denied");
    assert_eq!(
        entries(&read.stderr).into_iter().filter(denied).count(),
        3,
        "set, increment, delete: {read:?}"
    );
}

#[test]
fn a_pure_action_has_nothing_to_explain() {
    let stage = Stage::new();
    let echo = stage.guest("echo");
    let ran = stage.actum("you", &["run", &echo, "echo", "\"aGVsbG8=\"", "--record=echo.car"]).exits(0);
    assert!(entries(&ran.stderr).is_empty(), "{ran:?}");
    assert_eq!(stage.actum("you", &["replay", "echo.car", "--explain"]).exits(0).stdout, "identical\n");
    let shown = stage.actum("you", &["receipt", "show", &ran.receipt()]).exits(0);
    assert!(shown.stdout.contains("journal    empty"), "{}", shown.stdout);
}

/// A journal validly signed over other questions or answers: the first entry that differs is named, both sides in words.
#[test]
fn a_forged_journal_diverges_at_its_entry_in_words() {
    let stage = Stage::new();
    tour(&stage, "notes", 5, &["--grant", "keyvalue:notes", "--record=true.car"]).exits(0);
    let true_bundle =
        Bundle::from_bytes(&fs::read(stage.path().join("true.car")).expect("a bundle")).expect("a true one");
    let liar = SecretKey::from_seed(&[7; 32]);
    let replay = |lie: &dyn Fn(&mut Journal)| {
        let mut journal: Journal =
            codec::decode(&true_bundle.journal, Journal::MAX_BYTES).expect("a journal");
        lie(&mut journal);
        let payload = true_bundle.receipt.payload().clone();
        let payload = Receipt { iss: liar.did(), journal: journal.id(), ..payload };
        let forged =
            Bundle { receipt: Signed::sign(payload, &liar), journal: journal.bytes(), ..true_bundle.clone() };
        stage.write("forged.car", forged.to_bytes());
        stage.actum("you", &["replay", "forged.car", "--explain"]).exits(7).stdout
    };
    let asked = replay(&|j| {
        let note = j.entries[1].asked.windows(4).position(|w| w == b"note").expect("the bucket");
        j.entries[1].asked[note + 1] = b'a';
    });
    let last: Vec<_> = asked.lines().rev().take(3).collect();
    assert_eq!(last[2], "diverged at journal entry 2");
    assert_eq!(
        last[1],
        r#"  receipt: wasi:keyvalue/store#bucket.set asked ["nates", {"Set": [["note", b"vvvvv"]]}]"#
    );
    assert_eq!(
        last[0],
        r#"  replay:  wasi:keyvalue/store#bucket.set asked ["notes", {"Set": [["note", b"vvvvv"]]}]"#
    );
    let fewer = replay(&|j| j.entries.truncate(1));
    assert!(fewer.contains("diverged at journal entry 2\n  receipt: none\n"), "{fewer}");
    let more = replay(&|j| j.entries.push(j.entries[0].clone()));
    assert!(more.contains("diverged at journal entry 9\n"), "{more}");
    assert!(more.ends_with("replay:  none\n"), "{more}");
}

#[test]
fn what_a_guest_asks_moves_no_terminal() {
    let stage = Stage::new();
    let notes = stage.guest("notes");
    let args = serde_json::json!(["notes", "\u{1b}[2K\u{9b}\u{202e}\r\n"]).to_string();
    let ran = stage.actum("you", &["run", &notes, "get", &args, "--grant", "keyvalue:notes", "--record"]);
    let replayed = stage.actum("you", &["replay", &ran.receipt(), "--explain"]).exits(0);
    let shown = stage.actum("you", &["receipt", "show", &ran.receipt()]).exits(0);
    for text in [&ran.stderr, &replayed.stdout, &shown.stdout] {
        assert!(text.contains("bucket.get"), "{text}");
        assert!(!text.contains(['\u{1b}', '\u{9b}', '\u{202e}', '\r']), "{text:?}");
    }
}
