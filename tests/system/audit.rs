//! An auditor replays: from a home, from a bundle alone, without a network, on a second engine; and refuses what was
//! changed.

use crate::harness::Stage;
use std::{fs, process::Command};

fn exported(stage: &Stage) -> (String, Vec<u8>) {
    stage.publish("you", "text-stats");
    let ran = stage.actum("you", &["run", "text-stats", "count-words", "to be or not to be"]).exits(0);
    stage.actum("you", &["receipt", "export", &ran.receipt(), "-o", "bundle.car"]).exits(0);
    (ran.receipt(), fs::read(stage.path().join("bundle.car")).expect("a bundle"))
}

#[test]
fn a_local_run_leaves_a_receipt_that_replays_on_both_engines() {
    let stage = Stage::new();
    let (receipt, _) = exported(&stage);
    for engine in ["cranelift", "pulley"] {
        let ran = stage.actum("you", &["replay", &receipt, "--engine", engine]).exits(0);
        assert_eq!(ran.stdout.trim(), "identical", "{engine}");
    }
    let shown = stage.actum("you", &["--format", "json", "receipt", "show", &receipt]).exits(0).json();
    assert_eq!(shown["args"]["text"], "to be or not to be");
    assert_eq!(shown["output"]["words"], 6);
    assert_eq!(shown["authority"], "local");
    stage.actum("you", &["replay", "bafyreinosuchreceipt"]).exits(5).says("receipt list");
}

#[test]
fn a_bundle_alone_is_enough_with_the_network_cut() {
    let stage = Stage::new();
    let (_, bundle) = exported(&stage);
    let elsewhere = Stage::new();
    elsewhere.write("bundle.car", &bundle);
    let replay = ["replay", "bundle.car", "--engine", "pulley"];
    // A network namespace of its own has not even a loopback that is up.
    let mut cut = Command::new("unshare");
    cut.args(["--net", "--", env!("CARGO_BIN_EXE_actum")]).args(replay);
    cut.env_clear()
        .env("ACTUM_HOME", elsewhere.path().join("home"))
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    match cut.current_dir(elsewhere.path()).output() {
        Ok(output) if output.status.success() => {
            assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "identical")
        }
        other => eprintln!("SKIPPED: cutting the network needs unshare and its privilege: {other:?}"),
    }
    assert_eq!(elsewhere.actum("home", &replay).exits(0).stdout.trim(), "identical");
    let left: Vec<_> =
        fs::read_dir(elsewhere.path()).expect("a directory").flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, ["bundle.car"], "a replay of a bundle writes nothing");
}

#[test]
fn one_changed_byte_anywhere_is_refused_with_the_check_that_failed() {
    let stage = Stage::new();
    let (_, bundle) = exported(&stage);
    // The exhaustive check over every byte is the model's; here, the command at places all over a real bundle.
    let places = [0, 1, 20, 60, 100, 200, 400, bundle.len() / 3, bundle.len() / 2, bundle.len() - 1];
    for at in places {
        let mut changed = bundle.clone();
        changed[at] ^= 0x20;
        stage.write("changed.car", &changed);
        let ran = stage.actum("you", &["replay", "changed.car"]).exits(7).says("is not a true bundle");
        assert!(ran.stderr.contains("because:"), "byte {at}: {}", ran.stderr);
        assert_eq!(ran.stdout, "", "byte {at}");
    }
    stage.write("cut.car", &bundle[..bundle.len() - 1]);
    stage.actum("you", &["replay", "cut.car"]).exits(7);
    stage.write("longer.car", [&bundle[..], b"x"].concat());
    stage.actum("you", &["replay", "longer.car"]).exits(7);
}

/// A receipt validly signed over a false fuel, memory and output: each is found, and named.
#[test]
fn a_signed_lie_is_found_at_the_first_difference() {
    use actum_model::{BlobId, Outcome, Receipt, SecretKey, Signed, bundle::Bundle, codec, value};
    let stage = Stage::new();
    let (_, bytes) = exported(&stage);
    let true_bundle = Bundle::from_bytes(&bytes).expect("a true bundle");
    let liar = SecretKey::from_seed(&[7; 32]);
    type Lie = fn(&mut Receipt, &mut Option<Vec<u8>>);
    let lies: [(&str, Lie); 4] = [
        ("fuel", |r, _| r.fuel += 1),
        ("memory", |r, _| r.memory_bytes += 65_536),
        ("outcome", |r, output| {
            r.outcome = Outcome::OutOfFuel;
            r.fuel = r.action.limits.fuel;
            *output = None;
        }),
        ("output", |r, output| {
            let ty = actum_capabilities_result();
            let mut v = value::decode_result(Some(&ty), output.as_deref().expect("one"), 1 << 20)
                .expect("it decodes");
            if let Some(actum_model::Value::Record(fields)) = &mut v {
                fields[0] = actum_model::Value::U64(7);
            }
            let forged = value::encode_result(Some(&ty), v.as_ref()).expect("it encodes");
            r.outcome = Outcome::Ok(BlobId::of(&forged));
            *output = Some(forged);
        }),
    ];
    for (at, lie) in lies {
        let mut receipt = true_bundle.receipt.payload().clone();
        let mut output = true_bundle.output.clone();
        receipt.iss = liar.did();
        lie(&mut receipt, &mut output);
        let forged = Bundle { receipt: Signed::sign(receipt, &liar), output, ..true_bundle.clone() };
        stage.write("forged.car", forged.to_bytes());
        let ran = stage.actum("you", &["replay", "forged.car"]).exits(7);
        assert!(ran.stdout.starts_with(&format!("diverged at {at}")), "{at}: {}", ran.stdout);
        assert!(ran.stdout.contains("receipt:") && ran.stdout.contains("replay:"), "{}", ran.stdout);
    }
    // A receipt of a profile nobody runs cannot be tried, and is not called a lie.
    let mut receipt = true_bundle.receipt.payload().clone();
    receipt.iss = liar.did();
    receipt.profile = actum_model::ProfileId::of(&codec::encode("another profile"));
    let other = Bundle { receipt: Signed::sign(receipt, &liar), ..true_bundle };
    stage.write("other.car", other.to_bytes());
    let ran = stage.actum("you", &["replay", "other.car"]).exits(7);
    assert!(ran.stdout.starts_with("not-replayable"), "{}", ran.stdout);
    // It says what would be needed: the receipt's profile, and by what one knows an Actum that has it.
    let profile = other.receipt.payload().profile.to_string();
    for needed in [profile.as_str(), "wasmtime ", "`actum doctor`"] {
        assert!(ran.stdout.contains(needed), "{needed}: {}", ran.stdout);
    }
}

/// The result type of `text-stats`' `count-words`: seven counts.
fn actum_capabilities_result() -> actum_model::WitType {
    use actum_model::{WitType, types::Field};
    let names = ["words", "distinct-words", "sentences", "paragraphs", "lines", "characters", "bytes"];
    WitType::Record(names.map(|name| Field { name: name.to_owned(), ty: WitType::U64 }).into())
}
