//! A component on its way: what was verified survives a killed process, and nothing else is believed.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod common;

use actum_model::{
    ComponentId,
    id::sha256,
    release::{CHUNK_BYTES, chunk_digests},
};
use actum_store::*;
use common::{key, release};
use std::{
    env,
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

const CHILD_HOME: &str = "PARTIAL_CHILD_HOME";

fn open() -> (tempfile::TempDir, Store) {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    (home, store)
}

/// Two chunks and a bit, other for each `n`.
fn component(n: u32) -> Vec<u8> {
    (n << 16..).flat_map(|i| sha256(&i.to_be_bytes())).take(2 * CHUNK_BYTES + 77).collect()
}

fn ours(store: &Store, bytes: &[u8]) -> Partial {
    match store.partial(ComponentId::of(bytes), bytes.len() as u64, &chunk_digests(bytes)).unwrap() {
        Opened::Ours(partial) => *partial,
        Opened::Taken => panic!("taken"),
    }
}

fn chunk(bytes: &[u8], index: u32) -> &[u8] {
    bytes.chunks(CHUNK_BYTES).nth(index as usize).unwrap()
}

/// The partial files there are.
fn files(home: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(home.join("store/partial")).unwrap().map(|e| e.unwrap().path());
    all.filter(|p| !p.ends_with("open.lock")).collect()
}

#[test]
fn chunks_in_any_order_become_the_component() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        let (home, store) = open();
        let bytes = component(1);
        let mut partial = ours(&store, &bytes);
        for index in order {
            assert!(!partial.verified()[index as usize]);
            partial.put(index, chunk(&bytes, index)).unwrap();
        }
        assert_eq!(partial.finish(&store).unwrap(), Finished::Kept);
        assert_eq!(store.component(&ComponentId::of(&bytes)).unwrap().unwrap(), bytes);
        assert!(files(home.path()).is_empty());
    }
}

#[test]
fn a_wrong_chunk_is_not_written() {
    let (_home, store) = open();
    let bytes = component(1);
    let mut partial = ours(&store, &bytes);
    for (index, wrong) in [(0, chunk(&bytes, 1)), (2, b"x"), (3, chunk(&bytes, 0)), (u32::MAX, b"")] {
        assert!(matches!(partial.put(index, wrong), Err(StoreError::Mismatch { what: "chunk", .. })));
    }
    assert_eq!(partial.verified(), [false; 3]);
    assert!(matches!(partial.finish(&store), Err(StoreError::Mismatch { what: "component", .. })));
}

#[test]
fn what_was_verified_is_there_again_and_damage_is_not_believed() {
    let (home, store) = open();
    let bytes = component(1);
    let mut partial = ours(&store, &bytes);
    partial.put(0, chunk(&bytes, 0)).unwrap();
    partial.put(2, chunk(&bytes, 2)).unwrap();
    drop(partial);
    let partial = ours(&store, &bytes);
    assert_eq!(partial.verified(), [true, false, true]);
    drop(partial);
    // As after a power cut: a bit whose chunk never came to the disk, and a chunk half of which did.
    let mut file = File::options().write(true).open(&files(home.path())[0]).unwrap();
    file.seek(SeekFrom::Start(5)).unwrap();
    file.write_all(b"damage").unwrap();
    file.seek(SeekFrom::Start(bytes.len() as u64)).unwrap();
    file.write_all(&[0b111]).unwrap();
    drop(file);
    let mut partial = ours(&store, &bytes);
    assert_eq!(partial.verified(), [false, false, true]);
    for index in 0..2 {
        partial.put(index, chunk(&bytes, index)).unwrap();
    }
    assert_eq!(partial.finish(&store).unwrap(), Finished::Kept);
    assert_eq!(store.component(&ComponentId::of(&bytes)).unwrap().unwrap(), bytes);
}

#[test]
fn a_file_of_another_length_is_begun_anew() {
    let (home, store) = open();
    let bytes = component(1);
    let mut partial = ours(&store, &bytes);
    partial.put(0, chunk(&bytes, 0)).unwrap();
    drop(partial);
    File::options().write(true).open(&files(home.path())[0]).unwrap().set_len(9).unwrap();
    assert_eq!(ours(&store, &bytes).verified(), [false; 3]);
}

#[test]
fn a_manifest_of_another_component_keeps_nothing() {
    let (home, store) = open();
    let (bytes, other) = (component(1), component(2));
    let named = ComponentId::of(&other);
    let Opened::Ours(mut partial) = store.partial(named, bytes.len() as u64, &chunk_digests(&bytes)).unwrap()
    else {
        panic!("taken")
    };
    for index in 0..3 {
        partial.put(index, chunk(&bytes, index)).unwrap();
    }
    // The true manifest's file is another, so that the false one did not spoil it.
    let mut honest = ours(&store, &other);
    honest.put(1, chunk(&other, 1)).unwrap();
    assert_eq!(partial.finish(&store).unwrap(), Finished::NotTheComponent);
    assert_eq!(store.component(&named).unwrap(), None);
    drop(honest);
    assert_eq!(ours(&store, &other).verified(), [false, true, false]);
    assert_eq!(files(home.path()).len(), 1);
}

#[test]
fn one_at_a_time_and_sizes_that_are_none_are_refused() {
    let (home, store) = open();
    let bytes = component(1);
    let id = ComponentId::of(&bytes);
    let partial = ours(&store, &bytes);
    let other = Store::open(home.path()).unwrap();
    for store in [&store, &other] {
        let again = store.partial(id, bytes.len() as u64, &chunk_digests(&bytes)).unwrap();
        assert!(matches!(again, Opened::Taken));
    }
    drop(partial);
    ours(&other, &bytes).discard().unwrap();
    assert!(files(home.path()).is_empty());
    let refused = |size| store.partial(id, size, &[]).unwrap_err();
    assert!(matches!(refused(bytes.len() as u64), StoreError::Mismatch { what: "manifest", .. }));
    assert!(matches!(refused(0), StoreError::Mismatch { what: "manifest", .. }));
    assert!(matches!(refused((64 << 20) + 1), StoreError::TooLarge { .. }));
    assert!(matches!(refused(u64::MAX), StoreError::TooLarge { .. }));
}

#[test]
fn when_full_what_grew_longest_ago_makes_room_and_what_is_held_stays() {
    let (home, store) = open();
    let held: Vec<_> = (0..3).map(|n| ours(&store, &component(n))).collect();
    for n in 3..40 {
        let bytes = component(n);
        ours(&store, &bytes).put(0, chunk(&bytes, 0)).unwrap();
    }
    assert_eq!(files(home.path()).len(), MAX_PARTIALS);
    drop(held);
    // Five of the largest do not fit.
    for n in 0..5_u8 {
        let digests = vec![serde_bytes::ByteArray::new([n; 32]); 256];
        store.partial(ComponentId::of(&[n]), 64 << 20, &digests).unwrap();
    }
    assert_eq!(files(home.path()).len(), 3, "the bits take a little too");
    let digests = vec![serde_bytes::ByteArray::new([9; 32]); 256];
    let all: Vec<_> =
        (0..3_u8).map(|n| store.partial(ComponentId::of(&[9, n]), 64 << 20, &digests)).collect();
    let full = store.partial(ComponentId::of(&[9, 9]), 64 << 20, &digests).unwrap_err();
    assert!(matches!(full, StoreError::Full { .. }), "{full}");
    drop(all);
}

#[test]
fn what_did_not_grow_for_a_day_is_swept() {
    let (home, store) = open();
    let (old, new) = (component(1), component(2));
    drop((ours(&store, &old), ours(&store, &new)));
    let now = SystemTime::now();
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let name = ComponentId::of(&old).to_string();
    let path = files(home.path()).into_iter().find(|p| p.to_string_lossy().contains(&name)).unwrap();
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(now - Duration::from_secs(PARTIAL_STALE_SECONDS + 60)).unwrap();
    assert_eq!(store.sweep_partials(seconds).unwrap(), 1);
    assert_eq!(files(home.path()).len(), 1);
    let held = ours(&store, &new);
    assert_eq!(store.sweep_temporary(seconds + 2 * PARTIAL_STALE_SECONDS).unwrap(), 0);
    drop(held);
    assert_eq!(store.sweep_temporary(seconds + 2 * PARTIAL_STALE_SECONDS).unwrap(), 1);
}

/// Not a test of its own: what a child process does until it is killed.
#[test]
fn child() {
    if let Ok(home) = env::var(CHILD_HOME) {
        let store = Store::open(Path::new(&home)).unwrap();
        let bytes = component(1);
        let mut partial = ours(&store, &bytes);
        partial.put(1, chunk(&bytes, 1)).unwrap();
        fs::write(Path::new(&home).join("put"), b"").unwrap();
        std::thread::sleep(Duration::from_secs(60));
    }
}

#[test]
fn a_killed_process_loses_no_verified_chunk_and_no_lock_stays() {
    let (home, store) = open();
    let mut command = Command::new(env::current_exe().unwrap());
    let mut child = command.args(["--exact", "child"]).env(CHILD_HOME, home.path()).spawn().unwrap();
    while !home.path().join("put").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(ours(&store, &component(1)).verified(), [false, true, false]);
}

#[test]
fn offences_are_remembered_by_peer_newest_first_and_bounded() {
    let (home, store) = open();
    let (liar, other) = (key(1).did(), key(2).did());
    for at in 0..40 {
        let offence = if at % 2 == 0 { Offence::WrongChunk } else { Offence::WrongManifest };
        store.put_offence(&liar, offence, at).unwrap();
    }
    store.put_offence(&other, Offence::WrongRelease, 7).unwrap();
    drop(store);
    let store = Store::open(home.path()).unwrap();
    let all = store.offences_of(&liar, 0).unwrap();
    assert_eq!(all.len(), MAX_OFFENCES_PER_PEER);
    assert_eq!(all[0], OffenceRecord { offence: Offence::WrongManifest, at: 39 });
    assert_eq!(store.offences_of(&liar, 38).unwrap().len(), 2);
    assert_eq!(store.offences_of(&liar, 40).unwrap(), []);
    assert_eq!(store.offences_of(&other, 0).unwrap().len(), 1);
    for offence in Offence::ALL {
        assert_eq!(offence.name().parse(), Ok(offence));
    }
}

#[test]
fn unanswered_calls_are_found_again_and_forgotten_in_time() {
    use actum_model::{Claim, Invocation, ReleaseId, RunArgs, Signed};
    let (home, store) = open();
    let made = common::Made::new(1, 1, 10);
    let (action, claim) =
        (&made.receipt.payload().action, Claim::of(release(1, "r", "1.0.0", b"c").payload()));
    let call = |at: u64| {
        let (sub, aud) = (key(1).did(), key(1).did());
        let mut action = action.clone();
        action.requester = key(3).did();
        let said: Invocation = RunArgs::invocation(&action, &claim, sub, aud, vec![], at + 9, at);
        let invocation = Signed::sign(said, &key(3));
        let addrs = vec!["/ip4/127.0.0.1/tcp/1".to_owned(), "/ip4/127.0.0.1/tcp/2".to_owned()];
        Unanswered { invocation, release: ReleaseId::of(b"r"), addrs, at }
    };
    let (first, second) = (call(1_000), call(1_001));
    for call in [&first, &second, &first] {
        store.put_unanswered(call).unwrap();
    }
    drop(store);
    let store = Store::open(home.path()).unwrap();
    assert_eq!(store.all_unanswered().unwrap(), [second.clone(), first.clone()]);
    assert_eq!(store.unanswered(&first.invocation.id()).unwrap(), Some(first.clone()));
    store.remove_unanswered(&first.invocation.id()).unwrap();
    assert_eq!(store.unanswered(&first.invocation.id()).unwrap(), None);
    let later = call(1_002 + UNANSWERED_KEPT_SECONDS);
    store.put_unanswered(&later).unwrap();
    assert_eq!(store.all_unanswered().unwrap(), [later]);
}
