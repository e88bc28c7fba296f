//! Compiled components outlive a process, and are believed only with the home's own secret.

use crate::harness::Stage;
use std::fs;
use std::path::{Path, PathBuf};

/// Every file of the compile cache.
fn compiled(home: &Path) -> Vec<PathBuf> {
    let dirs = fs::read_dir(home.join("cache")).expect("a cache").map(|d| d.expect("an entry").path());
    let files = dirs.flat_map(|d| fs::read_dir(d).expect("a directory"));
    files.map(|f| f.expect("an entry").path()).collect()
}

#[test]
fn a_planted_or_exposed_cache_changes_no_result() {
    let stage = Stage::new();
    let component = stage.guest("failing");
    let run = || {
        let ran = stage.actum("you", &["run", &component, "even", "2"]).exits(0);
        assert_eq!(ran.json(), serde_json::json!({"ok": 2}));
    };
    run();
    let home = stage.path().join("you");
    let files = compiled(&home);
    assert_eq!(files.len(), 1, "one component was compiled");
    let whole = fs::read(&files[0]).expect("a file");
    let mut planted = whole.clone();
    let last = planted.len() - 1;
    planted[last] ^= 1;
    fs::write(&files[0], planted).expect("a file");
    run();
    assert_eq!(fs::read(&files[0]).expect("a file"), whole, "compiled again and replaced");

    let secret = home.join("cache.key");
    let before = fs::read(&secret).expect("a secret");
    assert_eq!(before.len(), 32);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode() & 0o777;
        assert_eq!(mode(&secret), 0o600);
        assert_eq!(mode(&files[0]), 0o600);
        // A secret that others could have read is none any more.
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).expect("a mode");
        run();
        assert_ne!(fs::read(&secret).expect("a secret"), before);
        assert_eq!(mode(&secret), 0o600);
        assert_ne!(fs::read(&files[0]).expect("a file"), whole, "its tag is another");
    }
    fs::write(&secret, b"short").expect("a file");
    run();
    assert_eq!(fs::read(&secret).expect("a secret").len(), 32);
}
