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

/// Alice lets Bob, who lets Carol, who calls: the receipt's id, and its bundle as each end exports it.
fn granted(stage: &Stage) -> (String, [Vec<u8>; 2]) {
    let did = |home| stage.actum(home, &["key", "show"]).exits(0).stdout.trim().to_owned();
    let [bob, carol] = ["bob", "carol"].map(|home| format!("{home}={}", did(home)));
    stage.publish("alice", "text-stats");
    let new = ["grant", "new", "--to", &bob, "--may", "text-stats", "--actions", "5", "-o", "bob.grant"];
    stage.actum("alice", &new).exits(0);
    let rule = ["--input", "text like to be*"];
    let narrow = ["grant", "narrow", "bob.grant", "--to", &carol, "-o", "carol.grant"];
    stage.actum("bob", &[&narrow[..], &rule].concat()).exits(0);
    stage.actum("carol", &["grant", "add", "carol.grant"]).exits(0);
    stage.write("closed.toml", "[[offer]]\nrelease = \"text-stats\"\n");
    let alice = stage.node("alice", &["--config", "closed.toml"]);
    let call = ["call", "text-stats", "count-words", "to be or not to be", "--peer", alice.address("tcp")];
    let receipt = stage.actum("carol", &call).exits(0).receipt();
    alice.stop();
    let exported = ["alice", "carol"].map(|home| {
        let file = format!("{home}.car");
        stage.actum(home, &["receipt", "export", &receipt, "-o", &file]).exits(0);
        fs::read(stage.path().join(file)).expect("a bundle")
    });
    (receipt, exported)
}

#[test]
fn by_what_authority_an_action_ran_is_proven_offline_alike_from_both_ends() {
    use actum_model::{ComponentId, Receipt, SecretKey, Signed, bundle::Bundle};
    let stage = Stage::new();
    let (receipt, exported) = granted(&stage);
    let elsewhere = Stage::new();
    let judged = exported.clone().map(|bundle| {
        elsewhere.write("granted.car", bundle);
        elsewhere.actum("auditor", &["--format", "json", "replay", "granted.car"]).exits(0).json()
    });
    assert_eq!(judged[0], judged[1]);
    let [_, judged] = judged;
    assert_eq!(judged["judgement"], "identical");
    assert_eq!(judged["authority"], "granted");
    assert_eq!(judged["proof"]["state"], "proven", "{judged:#}");
    assert_eq!(judged["chain"].as_array().map(Vec::len), Some(2));
    // The count is the provider's; the condition on the arguments was judged on the arguments.
    let unproven = judged["proof"]["unproven"].to_string();
    assert!(unproven.contains("delegation 1 was not used up (spent.actions)"), "{unproven}");
    assert!(!unproven.contains("arguments") && !unproven.contains("text-stats"), "{unproven}");

    let replayed = elsewhere.actum("auditor", &["replay", "granted.car"]).exits(0);
    assert_eq!(replayed.stdout, "identical\n");
    replayed.says("granted by did:key:").says("(root bafy").says("grant      2 of 2: ").says("proven     ");
    // Each end calls the others by its own names for them.
    for (home, link) in [("alice", "1 of 2: you to bob  bafy"), ("carol", " to you  bafy")] {
        let shown = stage.actum(home, &["receipt", "show", &receipt]).exits(0).stdout;
        assert!(shown.contains(link) && shown.contains("proven     the request is"), "{shown}");
        assert_eq!(stage.actum(home, &["replay", &receipt]).exits(0).stdout, "identical\n");
    }

    // Every byte of the request and of the chain is what it was, or the bundle is refused.
    let [bytes, _] = exported;
    let bundle = Bundle::from_bytes(&bytes).expect("a true bundle");
    let request = bundle.invocation.as_ref().expect("the request").bytes();
    let tokens = bundle.proofs.iter().map(|proof| proof.bytes()).chain([request]);
    for token in tokens {
        let at = bytes.windows(token.len()).position(|part| part == token).expect("it is there");
        for n in at..at + token.len() {
            let mut changed = bytes.clone();
            changed[n] ^= 1;
            assert!(Bundle::from_bytes(&changed).is_err(), "byte {n}");
        }
        let mut changed = bytes.clone();
        changed[at + token.len() / 2] ^= 0x20;
        elsewhere.write("changed.car", changed);
        elsewhere.actum("auditor", &["replay", "changed.car"]).exits(7).says("is not a true bundle");
    }

    // What is missing is only said.
    let bare = Bundle { invocation: None, proofs: vec![], ..bundle.clone() };
    elsewhere.write("bare.car", bare.to_bytes());
    let replayed = elsewhere.actum("auditor", &["replay", "bare.car"]).exits(0);
    assert_eq!(replayed.stdout, "identical\n");
    replayed.says("unproven   ").says("is not at hand");

    // What does not hold fails, and does not hide that the result is what happens.
    let liar = SecretKey::from_seed(&[7; 32]);
    let forged = Receipt { iss: liar.did(), ..bundle.receipt.payload().clone() };
    let forged = Bundle { receipt: Signed::sign(forged, &liar), ..bundle.clone() };
    elsewhere.write("forged.car", forged.to_bytes());
    let replayed = elsewhere.actum("auditor", &["replay", "forged.car"]).exits(7);
    assert_eq!(replayed.stdout, "identical\n");
    replayed
        .says("false      the invocation is for did:key:")
        .says("did not run by the authority that it names");
    let json = elsewhere.actum("auditor", &["--format", "json", "replay", "forged.car"]).exits(7).json();
    assert_eq!((&json["proof"]["state"], &json["proof"]["check"]), (&"false".into(), &"provider".into()));
    assert_eq!(json["judgement"], "identical");

    // A bundle takes no other component for the one that the request is for.
    let other = Bundle { component: b"another".to_vec(), ..bundle };
    assert_ne!(ComponentId::of(&other.component), other.receipt.payload().action.component);
    assert!(Bundle::from_bytes(&other.to_bytes()).is_err());
}
