//! Every committed input through its target, and through every other.

use std::fs;
use std::path::Path;

#[test]
fn no_committed_input_breaks_a_promise() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<_> =
        actum_fuzz::TARGETS.iter().map(|(name, _)| root.join("corpus").join(name)).collect();
    folders.push(root.join("../runtime/model/tests/golden/v1"));
    for folder in folders {
        let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|f| f.unwrap().path()).collect();
        assert!(!files.is_empty(), "{}", folder.display());
        for file in files {
            let data = fs::read(&file).unwrap();
            for (name, target) in actum_fuzz::TARGETS {
                println!("{name} {}", file.display());
                target(&data);
            }
        }
    }
}
