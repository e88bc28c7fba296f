//! Directories of a tree: one encoding each, and no name that a file system does not have.

use actum_model::BlobId;
use actum_model::tree::{Directory, Entry, check_name};
use proptest::{collection::btree_map, prelude::*};

fn entry() -> impl Strategy<Value = Entry> {
    let id = any::<[u8; 4]>().prop_map(|bytes| BlobId::of(&bytes));
    (id, prop::option::of(0..=Directory::MAX_FILE_BYTES)).prop_map(|(id, size)| match size {
        Some(size) => Entry::File(id, size),
        None => Entry::Directory(id),
    })
}

fn directory() -> impl Strategy<Value = Directory> {
    let name = "[a-zA-Z0-9 ._~é東-]{1,12}".prop_filter("a name", |name| check_name(name).is_ok());
    btree_map(name, entry(), 0..20).prop_map(|entries| Directory { entries })
}

/// A directory of one file, whatever its name.
fn named(name: &str) -> Vec<u8> {
    let entries = [(name.to_owned(), Entry::File(BlobId::of(b""), 0))].into();
    Directory { entries }.bytes()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn decoding_a_directory_undoes_encoding_it(directory in directory()) {
        let bytes = directory.bytes();
        prop_assert_eq!(Directory::decode(&bytes).unwrap(), directory);
    }

    #[test]
    fn what_decodes_as_a_directory_is_its_one_encoding(
        directory in directory(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = directory.bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(other) = Directory::decode(&bytes) {
            prop_assert_eq!(other.bytes(), bytes);
        }
    }

    #[test]
    fn no_name_leaves_its_directory(name in any::<String>()) {
        let decoded = Directory::decode(&named(&name)).is_ok();
        prop_assert_eq!(decoded, check_name(&name).is_ok());
        if decoded {
            prop_assert!(!name.contains(['/', '\\', '\0', '\n']) && name != "." && name != ".." && !name.is_empty());
        }
    }
}

#[test]
fn names_that_no_file_has_are_refused() {
    let long = "n".repeat(Directory::MAX_NAME_BYTES + 1);
    for name in ["", ".", "..", "a/b", "/", "a\\b", "a\0", "a\n", "\u{7f}", "\u{85}", &long] {
        assert!(Directory::decode(&named(name)).is_err(), "{name:?}");
    }
    for name in ["...", ".hidden", "a b", "é", &long[1..]] {
        assert!(Directory::decode(&named(name)).is_ok(), "{name:?}");
    }
}

/// Replaces what stands in some bytes, in place.
fn swap(bytes: &mut [u8], pairs: &[(&[u8; 2], &[u8; 2])]) {
    let found: Vec<_> =
        pairs.iter().map(|(was, _)| bytes.windows(2).position(|w| w == *was).unwrap()).collect();
    for (at, (_, is)) in found.into_iter().zip(pairs) {
        bytes[at..at + 2].copy_from_slice(*is);
    }
}

#[test]
fn names_out_of_order_or_given_twice_are_refused() {
    let file = Entry::File(BlobId::of(b""), 0);
    let directory = Directory { entries: [("xx".to_owned(), file), ("yy".to_owned(), file)].into() };
    let mut unsorted = directory.bytes();
    swap(&mut unsorted, &[(b"xx", b"yy"), (b"yy", b"xx")]);
    assert!(Directory::decode(&unsorted).is_err());
    let mut twice = directory.bytes();
    swap(&mut twice, &[(b"yy", b"xx")]);
    assert!(Directory::decode(&twice).is_err());
}

#[test]
fn a_file_or_a_directory_over_its_bound_is_refused() {
    let id = BlobId::of(b"");
    let of = |size| Directory { entries: [("f".to_owned(), Entry::File(id, size))].into() }.bytes();
    assert!(Directory::decode(&of(Directory::MAX_FILE_BYTES)).is_ok());
    assert!(Directory::decode(&of(Directory::MAX_FILE_BYTES + 1)).is_err());
    let entries = (0..30_000).map(|n| (format!("{n:05}"), Entry::File(id, 0))).collect();
    assert!(Directory::decode(&Directory { entries }.bytes()).is_err());
}
