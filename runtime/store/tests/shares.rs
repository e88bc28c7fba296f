//! One home, several threads, stores and processes; and what is left when one of them dies.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

mod common;

use actum_store::{INLINE_BYTES, Store, StoreError};
use common::*;
use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

/// Names the home to the child; absent in an ordinary run.
const CHILD_HOME: &str = "ACTUM_STORE_TEST_CHILD_HOME";
/// How many receipts the child writes; it writes for ever without it.
const CHILD_COUNT: &str = "ACTUM_STORE_TEST_CHILD_COUNT";
/// Which provider the child writes as.
const CHILD_PROVIDER: &str = "ACTUM_STORE_TEST_CHILD_PROVIDER";

/// Sizes on both sides of the boundary between rows and files.
fn size(n: u64) -> usize {
    if n.is_multiple_of(2) { 64 } else { INLINE_BYTES }
}

/// Not a test of its own: what a child process does.
#[test]
fn child() {
    let Ok(home) = env::var(CHILD_HOME) else { return };
    let count = env::var(CHILD_COUNT).map_or(u64::MAX, |n| n.parse().unwrap());
    let provider = env::var(CHILD_PROVIDER).unwrap().parse().unwrap();
    let store = Store::open(Path::new(&home)).unwrap();
    for n in 0..count {
        store.put_receipts(&[Made::new(provider, n, size(n)).parts()]).unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "kept {n}").unwrap();
        out.flush().unwrap();
    }
}

fn spawn(home: &Path, provider: u8, count: Option<u64>) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]).env(CHILD_HOME, home);
    command.env(CHILD_PROVIDER, provider.to_string()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    if let Some(count) = count {
        command.env(CHILD_COUNT, count.to_string());
    }
    command.spawn().unwrap()
}

/// The number in a line `kept n`.
fn kept(line: &str) -> Option<u64> {
    line.split("kept ").nth(1)?.trim().parse().ok()
}

#[test]
fn a_killed_writer_loses_nothing_it_acknowledged() {
    let home = tempfile::tempdir().unwrap();
    for (provider, after) in [(1, 0), (2, 7), (3, 20)] {
        let mut child = spawn(home.path(), provider, None);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut last = lines.by_ref().filter_map(|l| kept(&l)).find(|n| *n >= after).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        last = lines.filter_map(|l| kept(&l)).last().unwrap_or(last);
        let store = Store::open(home.path()).unwrap();
        let receipts = store.receipts(None, 1 << 20, Some(&key(provider).did())).unwrap();
        let there = receipts.len() as u64;
        assert!((last + 1..=last + 2).contains(&there), "acknowledged up to {last}, {there} there");
        for receipt in receipts {
            store.evidence(&receipt.id()).unwrap().unwrap();
        }
    }
}

#[test]
fn processes_share_a_home_from_its_first_moment() {
    let outer = tempfile::tempdir().unwrap();
    let home = outer.path().join("home");
    let children: Vec<_> = (1..=3).map(|p| spawn(&home, p, Some(15))).collect();
    let store = Store::open(&home).unwrap();
    for n in 0..15 {
        store.put_receipts(&[Made::new(9, n, size(n)).parts()]).unwrap();
        assert_eq!(store.receipts(None, 100, Some(&key(9).did())).unwrap().len() as u64, n + 1);
    }
    for child in children {
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    }
    assert_eq!(store.receipts(None, 100, None).unwrap().len(), 60);
}

#[test]
fn stores_and_threads_share_a_home() {
    let home = tempfile::tempdir().unwrap();
    let stores: Vec<_> = (0..3).map(|_| Store::open(home.path()).unwrap()).collect();
    thread::scope(|scope| {
        for (provider, store) in (0_u8..).zip(stores.iter().chain(&stores)) {
            let store = store.clone();
            scope.spawn(move || {
                for n in 0..10 {
                    store.put_receipts(&[Made::new(provider, n, size(n)).parts()]).unwrap();
                    store.put_peer(&format!("/memory/{n}"), &key(provider).did(), n).unwrap();
                    store.put_release(&release(1, "same", "1.0.0", b"same")).unwrap();
                    assert!(!store.receipts(None, 5, None).unwrap().is_empty());
                }
            });
        }
    });
    for store in &stores {
        assert_eq!(store.receipts(None, 1_000, None).unwrap().len(), 60);
        assert_eq!(store.peers().unwrap().len(), 60);
        assert_eq!(store.releases().unwrap().len(), 1);
    }
}

#[test]
fn receipts_kept_from_a_locked_database_are_kept_once_it_is_free() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let made: Vec<_> = (0..3).map(|n| Made::new(1, n, 8)).collect();
    let parts: Vec<_> = made.iter().map(Made::parts).collect();
    let other = rusqlite::Connection::open(home.path().join("store/actum.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(matches!(store.put_receipts_each(&parts), Err(StoreError::Busy { .. })));
    other.execute_batch("ROLLBACK").unwrap();
    assert!(store.put_receipts_each(&parts).unwrap().is_empty());
    assert_eq!(store.receipts(None, 100, None).unwrap().len(), 3);
}

#[test]
fn a_crash_between_blob_and_row_leaves_no_row_and_can_be_done_again() {
    let home = tempfile::tempdir().unwrap();
    let made = Made::new(1, 1, INLINE_BYTES);
    {
        // What a crash leaves at its worst: one blob whole, the next half-written, no row.
        let store = Store::open(home.path()).unwrap();
        store.put_blob(&made.args).unwrap();
        std::fs::write(home.path().join("store/tmp/.tmpHalf"), &made.output[..100]).unwrap();
    }
    let store = Store::open(home.path()).unwrap();
    assert_eq!(store.receipt(&made.receipt.id()).unwrap(), None);
    assert_eq!(store.evidence(&made.receipt.id()).unwrap(), None);
    store.put_receipts(&[made.parts()]).unwrap();
    assert!(store.evidence(&made.receipt.id()).unwrap().is_some());
    assert_eq!(store.sweep_temporary(0).unwrap(), 0);
    assert_eq!(store.sweep_temporary(1 << 33).unwrap(), 1);
    assert!(store.evidence(&made.receipt.id()).unwrap().is_some());
}
