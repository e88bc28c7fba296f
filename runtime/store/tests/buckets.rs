//! Buckets: private to requester, capability and name, bounded, and never losing an addition.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

mod common;

use actum_model::Did;
use actum_store::*;
use common::*;
use std::{env, path::Path, process::Command, thread};

/// Names the home to the child; absent in an ordinary run.
const CHILD_HOME: &str = "ACTUM_STORE_TEST_CHILD_HOME";
/// How often each of several adds.
const ADDITIONS: u64 = 200;

fn open() -> (tempfile::TempDir, Store) {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    (home, store)
}

fn bucket<'a>(requester: &'a Did, capability: &'a str, name: &'a str) -> Bucket<'a> {
    Bucket { requester, capability, name }
}

fn keys(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec())).collect()
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, KeyvalueError>, code: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.code(), code);
    assert!(error.to_string().starts_with(code), "{error}");
}

#[test]
fn what_is_set_is_there_after_opening_again() {
    let home = tempfile::tempdir().unwrap();
    let me = key(1).did();
    let notes = bucket(&me, "notes", "n");
    let store = Store::open(home.path()).unwrap();
    store.bucket_set(&notes, &pairs(&[("b", "2"), ("a", "1"), ("empty", "")])).unwrap();
    store.bucket_set(&notes, &pairs(&[("a", "one")])).unwrap();
    store.bucket_delete(&notes, &keys(&["b", "absent"])).unwrap();
    drop(store);
    let store = Store::open(home.path()).unwrap();
    let values = store.bucket_get(&notes, &keys(&["a", "b", "a", "empty"])).unwrap();
    assert_eq!(values, [Some(b"one".to_vec()), None, Some(b"one".to_vec()), Some(vec![])]);
    assert_eq!(store.bucket_keys(&notes, "", 0).unwrap(), (keys(&["a", "empty"]), None));
}

#[test]
fn other_requesters_capabilities_and_buckets_see_nothing_of_each_other() {
    let (_home, store) = open();
    let (me, you) = (key(1).did(), key(2).did());
    let all = [
        bucket(&me, "notes", "n"),
        bucket(&you, "notes", "n"),
        bucket(&me, "note", "sn"),
        bucket(&me, "notes", "m"),
    ];
    for (n, one) in all.iter().enumerate() {
        assert_eq!(store.bucket_get(one, &keys(&["k"])).unwrap(), [None]);
        assert_eq!(store.bucket_keys(one, "", 0).unwrap(), (vec![], None));
        assert_eq!(store.bucket_increment(one, "k", n as u64).unwrap(), n as u64);
    }
    store.bucket_delete(&all[0], &keys(&["k"])).unwrap();
    for (n, one) in all.iter().enumerate().skip(1) {
        assert_eq!(store.bucket_get(one, &keys(&["k"])).unwrap(), [Some(n.to_string().into_bytes())]);
    }
}

#[test]
fn keys_come_in_pages_by_their_bytes() {
    let (_home, store) = open();
    let me = key(1).did();
    let one = bucket(&me, "c", "n");
    let mut names: Vec<String> = (0..2_500).map(|n| format!("key {n}")).collect();
    names.extend(keys(&["Z", "é", "a\0b", "a", "😀"]));
    let all: Vec<_> = names.iter().map(|k| (k.clone(), b"v")).collect();
    store.bucket_set(&one, &all).unwrap();
    names.sort_unstable_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    let (mut listed, mut next, mut pages) = (Vec::new(), Some(0), 0);
    while let Some(offset) = next {
        let (page, after) = store.bucket_keys(&one, "", offset).unwrap();
        listed.extend(page);
        (next, pages) = (after, pages + 1);
    }
    assert_eq!((listed, pages), (names, 3));
    assert_eq!(store.bucket_keys(&one, "", u64::MAX).unwrap(), (vec![], None));
    // Those that begin with something, in pages of their own.
    let (first, next) = store.bucket_keys(&one, "key ", 0).unwrap();
    let (second, end) = store.bucket_keys(&one, "key ", next.unwrap()).unwrap();
    assert_eq!((first.len(), next, second.len(), end), (1_000, Some(1_000), 1_000, Some(2_000)));
    for (prefix, begin_so) in [
        ("a", &["a", "a\0b"][..]),
        ("a\0", &["a\0b"]),
        ("é", &["é"]),
        ("key 249", &["key 249", "key 2490", "key 2491", "key 2499"]),
        ("key 2500", &[]),
        ("ke_", &[]),
        ("K", &[]),
    ] {
        let (mut page, next) = store.bucket_keys(&one, prefix, 0).unwrap();
        if prefix == "key 249" {
            assert_eq!(page.len(), 11);
            page.drain(3..10);
        }
        assert_eq!((page, next), (keys(begin_so), None), "{prefix:?}");
    }
}

#[test]
fn an_addition_is_to_a_number_and_fits() {
    let (_home, store) = open();
    let me = key(1).did();
    let one = bucket(&me, "c", "n");
    assert_eq!(store.bucket_increment(&one, "k", 40).unwrap(), 40);
    assert_eq!(store.bucket_increment(&one, "k", 2).unwrap(), 42);
    assert_eq!(store.bucket_get(&one, &keys(&["k"])).unwrap(), [Some(b"42".to_vec())]);
    assert_eq!(store.bucket_increment(&one, "big", u64::MAX).unwrap(), u64::MAX);
    refused(store.bucket_increment(&one, "big", 1), "overflow");
    for no_number in ["", "+1", "-1", " 1", "one", "18446744073709551616", "\u{663}"] {
        store.bucket_set(&one, &pairs(&[("k", no_number)])).unwrap();
        refused(store.bucket_increment(&one, "k", 1), "not-a-number");
        assert_eq!(store.bucket_get(&one, &keys(&["k"])).unwrap(), [Some(no_number.as_bytes().to_vec())]);
    }
}

#[test]
fn what_is_over_a_bound_is_refused_whole() {
    let (_home, store) = open();
    let me = key(1).did();
    let one = bucket(&me, "c", "n");
    let large = |len: usize| vec![7; len];
    refused(
        store.bucket_set(&one, &[("a".to_owned(), large(1)), ("b".to_owned(), large(MAX_VALUE_BYTES + 1))]),
        "value-too-large",
    );
    assert_eq!(store.bucket_keys(&one, "", 0).unwrap(), (vec![], None));
    // Sixteen whole values do not fit, because their keys count too.
    let sixteen: Vec<_> = (0..16).map(|n| (format!("{n:x}"), large(MAX_VALUE_BYTES))).collect();
    refused(store.bucket_set(&one, &sixteen), "bucket-full");
    assert_eq!(store.bucket_keys(&one, "", 0).unwrap(), (vec![], None));
    store.bucket_set(&one, &sixteen[..15]).unwrap();
    store.bucket_set(&one, &[("f".to_owned(), large(MAX_VALUE_BYTES - 16))]).unwrap();
    refused(store.bucket_set(&one, &pairs(&[("g", "")])), "bucket-full");
    let again: Vec<String> = (0..17).map(|_| "0".to_owned()).collect();
    refused(store.bucket_get(&one, &again), "answer-too-large");
    store.bucket_delete(&one, &keys(&["0"])).unwrap();
    store.bucket_set(&one, &pairs(&[("g", "there is room again")])).unwrap();
}

#[test]
fn more_keys_than_a_bucket_has_are_refused() {
    let (_home, store) = open();
    let me = key(1).did();
    let one = bucket(&me, "c", "n");
    let all: Vec<_> = (0..MAX_KEYS_PER_BUCKET).map(|n| (n.to_string(), b"")).collect();
    store.bucket_set(&one, &all).unwrap();
    refused(store.bucket_set(&one, &pairs(&[("0", "changed"), ("one more", "")])), "too-many-keys");
    assert_eq!(store.bucket_get(&one, &keys(&["0"])).unwrap(), [Some(vec![])]);
    refused(store.bucket_increment(&one, "one more", 1), "too-many-keys");
    store.bucket_set(&one, &pairs(&[("0", "changed")])).unwrap();
}

#[test]
fn more_buckets_than_a_home_has_are_refused() {
    let (_home, store) = open();
    let me = key(1).did();
    for n in 0..MAX_BUCKETS {
        store.bucket_increment(&bucket(&me, "c", &n.to_string()), "k", 1).unwrap();
    }
    refused(store.bucket_increment(&bucket(&me, "c", "one more"), "k", 1), "too-many-buckets");
    store.bucket_increment(&bucket(&me, "c", "0"), "k", 1).unwrap();
    // One that is emptied makes room.
    store.bucket_delete(&bucket(&me, "c", "1"), &keys(&["k"])).unwrap();
    store.bucket_increment(&bucket(&me, "c", "one more"), "k", 1).unwrap();
}

#[test]
fn a_store_of_schema_1_is_upgraded_and_keeps_what_it_had() {
    let home = tempfile::tempdir().unwrap();
    let made = Made::new(1, 1, 10);
    Store::open(home.path()).unwrap().put_receipts(&[made.parts()]).unwrap();
    let db = rusqlite::Connection::open(home.path().join("store/actum.db")).unwrap();
    db.execute_batch(common::SCHEMA_5_GONE).unwrap();
    db.execute_batch(common::SCHEMA_3_GONE).unwrap();
    db.execute_batch("DROP TABLE buckets; DROP TABLE bucket_keys; PRAGMA user_version = 1").unwrap();
    drop(db);
    let store = Store::open(home.path()).unwrap();
    assert!(store.receipt(&made.receipt.id()).unwrap().is_some());
    let me = key(1).did();
    assert_eq!(store.bucket_increment(&bucket(&me, "c", "n"), "k", 1).unwrap(), 1);
}

fn add(store: &Store) {
    let me = key(1).did();
    for _ in 0..ADDITIONS {
        store.bucket_increment(&bucket(&me, "c", "n"), "k", 1).unwrap();
    }
}

/// Not a test of its own: what a child process does.
#[test]
fn child() {
    if let Ok(home) = env::var(CHILD_HOME) {
        add(&Store::open(Path::new(&home)).unwrap());
    }
}

#[test]
fn threads_and_processes_lose_no_addition() {
    let (home, store) = open();
    let children: Vec<_> = (0..2)
        .map(|_| {
            let mut command = Command::new(env::current_exe().unwrap());
            command.args(["--exact", "child"]).env(CHILD_HOME, home.path()).spawn().unwrap()
        })
        .collect();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| add(&store));
        }
    });
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let me = key(1).did();
    assert_eq!(store.bucket_increment(&bucket(&me, "c", "n"), "k", 0).unwrap(), 4 * ADDITIONS);
}
