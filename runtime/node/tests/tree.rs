//! A directory as a tree: the same content is the same id, and what cannot be in a tree is refused by name.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

use actum_model::BlobId;
use actum_model::tree::{Directory, Entry};
use actum_node::tree::{MAX_DEPTH, MAX_ENTRIES, TreeError, import};
use actum_store::Store;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A store, and a directory to import.
struct Case {
    temp: TempDir,
    store: Store,
    root: PathBuf,
}

impl Case {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let store = Store::open(&temp.path().join("home")).unwrap();
        let root = temp.path().join("files");
        fs::create_dir(&root).unwrap();
        let case = Self { temp, store, root };
        for (name, bytes) in files {
            case.write(name, bytes);
        }
        case
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn import(&self) -> Result<BlobId, TreeError> {
        import(&self.store, &self.root)
    }

    fn refusal(&self) -> TreeError {
        let refusal = self.import().unwrap_err();
        assert_eq!(self.stored(), 0, "{refusal} leaves nothing in the store");
        refusal
    }

    /// How many blobs lie in the store as files.
    fn stored(&self) -> usize {
        let blobs = self.temp.path().join("home/store/blobs");
        fs::read_dir(blobs).unwrap().count()
    }
}

fn directory(store: &Store, id: &BlobId) -> Directory {
    Directory::decode(&store.get(id).unwrap().unwrap()).unwrap()
}

#[test]
fn every_file_is_in_the_store_under_its_name_and_size() {
    let large = vec![7; 1 << 20];
    let case = Case::new(&[("a.txt", b"hello"), ("sub/deep/b.bin", &large), ("sub/empty", b"")]);
    fs::create_dir(case.root.join("bare")).unwrap();
    let root = directory(&case.store, &case.import().unwrap());
    let names: Vec<_> = root.entries.keys().map(String::as_str).collect();
    assert_eq!(names, ["a.txt", "bare", "sub"]);
    let Entry::File(id, 5) = root.entries["a.txt"] else { panic!("{root:?}") };
    assert_eq!(case.store.get(&id).unwrap().unwrap(), b"hello");
    let Entry::Directory(bare) = root.entries["bare"] else { panic!("{root:?}") };
    assert_eq!(directory(&case.store, &bare), Directory::default());
    let Entry::Directory(sub) = root.entries["sub"] else { panic!("{root:?}") };
    let sub = directory(&case.store, &sub);
    assert_eq!(sub.entries["empty"], Entry::File(BlobId::of(b""), 0));
    let Entry::Directory(deep) = sub.entries["deep"] else { panic!("{sub:?}") };
    let deep = directory(&case.store, &deep);
    assert_eq!(deep.entries["b.bin"], Entry::File(BlobId::of(&large), 1 << 20));
    assert_eq!(case.store.get(&BlobId::of(&large)).unwrap().unwrap(), large);
}

#[test]
fn the_id_follows_from_names_and_bytes_alone() {
    let a = Case::new(&[("x", b"1"), ("y/z", b"2"), ("y/a", b"3")]);
    let b = Case::new(&[("y/a", b"3"), ("y/z", b"2"), ("x", b"1")]);
    assert_eq!(a.import().unwrap(), b.import().unwrap());
    assert_eq!(a.import().unwrap(), a.import().unwrap());
    let past = std::time::SystemTime::UNIX_EPOCH;
    File::options().write(true).open(a.root.join("x")).unwrap().set_modified(past).unwrap();
    assert_eq!(a.import().unwrap(), b.import().unwrap());
    a.write("x", b"another");
    assert_ne!(a.import().unwrap(), b.import().unwrap());
}

#[test]
fn what_is_no_directory_is_refused() {
    let case = Case::new(&[("x", b"1")]);
    let file = case.root.join("x");
    assert!(matches!(import(&case.store, &file), Err(TreeError::NotADirectory { path }) if path == file));
    let none = case.root.join("none");
    assert!(matches!(import(&case.store, &none), Err(TreeError::Read { path, .. }) if path == none));
}

#[cfg(unix)]
#[test]
fn links_and_special_files_are_refused_by_name() {
    let case = Case::new(&[("sub/x", b"1")]);
    let link = case.root.join("sub/link");
    std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
    let refusal = case.refusal();
    assert!(matches!(&refusal, TreeError::Symlink { path } if *path == link), "{refusal}");
    assert!(refusal.to_string().contains("put what it points to in its place"), "{refusal}");
    fs::remove_file(&link).unwrap();
    let socket = case.root.join("sub/socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let refusal = case.refusal();
    assert!(matches!(&refusal, TreeError::Special { path } if *path == socket), "{refusal}");
}

#[cfg(unix)]
#[test]
fn names_no_guest_could_spell_are_refused() {
    use std::os::unix::ffi::OsStrExt;
    let case = Case::new(&[]);
    let odd = case.root.join(std::ffi::OsStr::from_bytes(b"\xff"));
    fs::write(&odd, "").unwrap();
    assert!(matches!(case.refusal(), TreeError::NotUtf8 { path } if path == odd));
    fs::remove_file(&odd).unwrap();
    let line = case.write("two\nlines", b"");
    assert!(matches!(case.refusal(), TreeError::Name { path, .. } if path == line));
}

fn sparse(path: &Path, bytes: u64) {
    File::create(path).unwrap().set_len(bytes).unwrap();
}

#[test]
fn a_tree_is_bounded_in_bytes_names_and_depth() {
    let case = Case::new(&[]);
    let large = case.root.join("large");
    sparse(&large, Directory::MAX_FILE_BYTES + 1);
    assert!(matches!(case.refusal(), TreeError::FileTooLarge { path, .. } if path == large));
    for n in 0..17 {
        sparse(&case.root.join(format!("{n}")), Directory::MAX_FILE_BYTES);
    }
    fs::remove_file(&large).unwrap();
    assert!(matches!(case.refusal(), TreeError::TooManyBytes { path } if path == case.root));

    let case = Case::new(&[]);
    for n in 0..=MAX_ENTRIES {
        File::create(case.root.join(n.to_string())).unwrap();
    }
    assert!(matches!(case.refusal(), TreeError::TooManyEntries { path } if path == case.root));

    let case = Case::new(&[]);
    let deepest = "d/".repeat(MAX_DEPTH - 1);
    fs::create_dir_all(case.root.join(&deepest)).unwrap();
    case.import().unwrap();
    fs::create_dir(case.root.join(&deepest).join("d")).unwrap();
    assert!(matches!(case.refusal(), TreeError::TooDeep { .. }));
}
