//! The demo is the main job.

use crate::harness::Stage;

#[test]
fn the_demo_shows_the_main_job_and_the_three_bad_days() {
    let stage = Stage::new();
    let temporary = stage.path().join("tmp");
    std::fs::create_dir(&temporary).expect("a directory");
    let ran = stage
        .command("unused")
        .env("TMPDIR", &temporary)
        .args(["demo", "--format", "json"])
        .output()
        .expect("it runs");
    let stderr = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{stderr}");
    let shown: serde_json::Value = serde_json::from_slice(&ran.stdout).expect("JSON");
    let actions = shown["actions"].as_array().expect("actions");
    let count = |key: &str, value: &str| actions.iter().filter(|a| a[key] == value).count();
    assert!(count("outcome", "ok") >= 7, "{shown}");
    assert_eq!(count("verdict", "diverged"), 1, "{shown}");
    assert_eq!(count("outcome", "out-of-fuel"), 1, "{shown}");
    assert_eq!(count("outcome", "denied"), 1, "{shown}");
    assert_eq!(count("verdict", "identical"), actions.len() - 1, "every receipt was replayed: {shown}");
    assert!(!stage.path().join("unused").exists(), "the demo keeps to its own homes");
}
