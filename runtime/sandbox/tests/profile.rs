//! The profile: a changed setting is a changed id, seen here.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

mod common;

use actum_sandbox::EngineKind;
use common::sandbox;

/// The settings and the id of `actum/1`. A change here is a new profile: receipts made before it are no longer
/// replayable by what is built after it. Say so in the changelog, and give the profile a new name once it is released.
#[test]
fn the_profile_is_what_it_says() {
    let sandbox = sandbox(EngineKind::Cranelift);
    let profile = sandbox.profile();
    let mut text = format!("{} {}\n", profile.name, profile.engine);
    for (name, value) in &profile.settings {
        text += &format!("{name} = {value}\n");
    }
    text += &format!("id = {}\n", sandbox.profile_id());
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/profile.txt");
    if std::env::var_os("ACTUM_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "the profile changed; if that is meant, run this test with ACTUM_BLESS=1");
}

#[test]
fn the_profile_is_the_same_for_either_engine() {
    let [a, b] = [EngineKind::Cranelift, EngineKind::Pulley].map(|kind| sandbox(kind).profile_id());
    assert_eq!(a, b);
}

#[test]
fn every_setting_is_in_the_id() {
    let profile = sandbox(EngineKind::Cranelift).profile().clone();
    for name in profile.settings.keys() {
        let mut changed = profile.clone();
        changed.settings.insert(name.clone(), "something else".to_owned());
        assert_ne!(changed.id(), profile.id(), "{name}");
    }
}

#[test]
fn the_engine_is_the_release_the_lockfile_names() {
    let lock = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock");
    let lock = std::fs::read_to_string(lock).unwrap();
    let after = lock.split("name = \"wasmtime\"\nversion = \"").nth(1).unwrap();
    let version = after.split('"').next().unwrap();
    assert_eq!(sandbox(EngineKind::Cranelift).profile().engine, format!("wasmtime {version}"));
}
