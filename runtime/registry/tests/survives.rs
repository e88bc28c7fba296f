//! What a registry still has after a restart, after being killed, and after its files were damaged.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

#[path = "../../discovery/tests/common/mod.rs"]
mod common;

use actum_model::*;
use actum_registry::*;
use common::*;
use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};
use tempfile::TempDir;

fn open(dir: &Path) -> Registry {
    Registry::open(dir, RegistryLimits::default(), NOW).unwrap()
}

fn found(registry: &Registry, text: &str) -> Vec<String> {
    let found = registry.search(&Query { limit: 50, ..query(text) }, NOW).unwrap();
    found.iter().map(|f| f.offer.descriptor().payload().name.to_string()).collect()
}

fn ten(dir: &Path) -> Registry {
    let registry = open(dir);
    for n in 0..TEN.len() {
        let provider = u8::try_from(n + 1).unwrap();
        registry.observe_offer(&offer(provider, one_of_ten(n)), NOW).unwrap();
    }
    registry.commit().unwrap();
    registry
}

#[test]
fn everything_committed_is_there_after_a_restart_and_the_epoch_goes_on() {
    let dir = TempDir::new().unwrap();
    let registry = ten(dir.path());
    let query_before = found(&registry, "count words in a text");
    assert_eq!(registry.epoch(), 20);
    let release = one_of_ten(7).release;
    for (n, ended) in [(7, Probe::Answered), (8, Probe::Silent)] {
        let descriptor = sign(n + 1, one_of_ten(usize::from(n)));
        assert!(registry.probe_result(&id::sha256(descriptor.bytes()), ended, NOW));
    }
    registry.observe_lease(&sign(3, Lease { seq: 2, load: 9, ..plain_lease(3) }), NOW).unwrap();
    assert_eq!(registry.epoch(), 20, "what is not committed is not counted");
    registry.commit().unwrap();
    let stats = registry.stats();
    drop(registry);
    let registry = open(dir.path());
    assert_eq!((registry.epoch(), registry.damage()), (21, None));
    assert_eq!(registry.stats(), stats);
    let after: Vec<_> = query_before.into_iter().filter(|name| name != "text-summary").collect();
    assert_eq!(found(&registry, "count words in a text"), after);
    assert_eq!(registry.probed(&key(8).did(), &release), Some(true));
    assert_eq!(registry.offer(&key(3).did(), &one_of_ten(2).release, NOW).unwrap().lease().payload().load, 9);
    registry.observe_descriptor(&sign(11, plain(11, "more")), NOW).unwrap();
    registry.commit().unwrap();
    assert_eq!(registry.epoch(), 22);
}

#[test]
fn what_was_not_committed_is_lost_and_announced_again() {
    let dir = TempDir::new().unwrap();
    let registry = ten(dir.path());
    registry.observe_offer(&offer(11, plain(11, "more")), NOW).unwrap();
    registry.tick(NOW).unwrap();
    assert_eq!(registry.stats().uncommitted, 2);
    drop(registry);
    let registry = open(dir.path());
    assert_eq!((registry.stats().descriptors, registry.epoch()), (10, 20));
    registry.observe_offer(&offer(11, plain(11, "more")), NOW).unwrap();
    registry.tick(NOW + 1).unwrap();
    assert_eq!((registry.stats().uncommitted, found(&registry, "more").len()), (0, 1));
}

#[test]
fn so_many_statements_commit_by_themselves() {
    let dir = TempDir::new().unwrap();
    let limits = RegistryLimits { commit_after: 8, ..RegistryLimits::default() };
    let registry = Registry::open(dir.path(), limits, NOW).unwrap();
    for n in 0..5 {
        registry.observe_offer(&offer(n + 1, one_of_ten(usize::from(n))), NOW).unwrap();
    }
    assert_eq!((registry.epoch(), registry.stats().uncommitted), (8, 2));
}

/// Not a test of its own: what `a_process_killed_while_it_takes_statements_in` runs and kills.
#[test]
fn the_process_that_is_killed() {
    let Ok(dir) = std::env::var("ACTUM_TEST_REGISTRY") else { return };
    let limits = RegistryLimits { commit_after: 40, ..RegistryLimits::default() };
    let registry = Registry::open(Path::new(&dir), limits, NOW).unwrap();
    for n in 0_u64.. {
        let (provider, name) = ((n % 200 + 1) as u8, format!("c{}", n / 200 % 60));
        // Words change, so that documents are replaced; some offers are taken back.
        let intent = format!("Plays number{} on a xylophone", n / 12_000);
        let seq = n / 12_000 * 2 + 1;
        let descriptor = Descriptor { intent, seq, ..plain(provider, &name) };
        // After a restart some of it was taken back before.
        if let Err(e) = registry.observe_descriptor(&sign(provider, descriptor), NOW) {
            assert_eq!(e.code(), "taken-back");
        }
        registry.observe_lease(&sign(provider, Lease { seq: n + 1, ..plain_lease(provider) }), NOW).unwrap();
        if n % 7 == 0 {
            let release = Some(ReleaseId::of(name.as_bytes()));
            let tombstone = Tombstone { iss: key(provider).did(), release, seq, nbf: NOW, exp: NOW + 3_600 };
            registry.observe_tombstone(&sign(provider, tombstone), NOW).ok();
        }
        println!("epoch {}", registry.epoch());
    }
}

#[test]
fn a_process_killed_while_it_takes_statements_in() {
    let dir = TempDir::new().unwrap();
    let mut told = 0;
    for lines in [50, 130, 400, 700] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_process_that_is_killed", "--nocapture"])
            .env("ACTUM_TEST_REGISTRY", dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let epochs = said.filter_map(|line| line.strip_prefix("epoch ")?.parse::<u64>().ok());
        let last = epochs.take(lines).last().unwrap();
        // SIGKILL: nothing of the process runs any more.
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(last >= told, "{last} after {told}");
        let registry = open(dir.path());
        assert_eq!(registry.damage(), None);
        // Nothing that was counted is lost, and at most one commit's worth beyond.
        assert!(registry.epoch() >= last, "{} after {last}", registry.epoch());
        told = registry.epoch();
        let held = registry.stats().descriptors;
        let everything = registry.search(&Query { limit: 50, ..query("") }, NOW).unwrap();
        assert_eq!(everything.len(), held.min(50));
        // Every document is of a descriptor held, and every descriptor held has its document.
        for f in &everything {
            let d = f.offer.descriptor().payload();
            let by_name = Query {
                filters: Filters { provider: Some(d.iss), ..Filters::default() },
                limit: 50,
                ..query(d.name.as_str())
            };
            let by_words = Query { text: d.intent.clone(), ..by_name.clone() };
            for q in [by_name, by_words] {
                let again = registry.search(&q, NOW).unwrap();
                let bytes = f.offer.descriptor().bytes();
                assert_eq!(again.iter().filter(|f| f.offer.descriptor().bytes() == bytes).count(), 1);
            }
        }
    }
    assert!(told > 100, "{told}");
}

/// Damages the one file of a directory that `is` names, and opens it again.
fn damaged(inside: &str, is: impl Fn(&str) -> bool, damage: impl Fn(&mut Vec<u8>)) -> (TempDir, Registry) {
    let dir = TempDir::new().unwrap();
    drop(ten(dir.path()));
    let mut touched = 0;
    for file in fs::read_dir(dir.path().join(inside)).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() && is(path.file_name().unwrap().to_str().unwrap()) {
            let mut bytes = fs::read(&path).unwrap();
            damage(&mut bytes);
            fs::write(&path, bytes).unwrap();
            touched += 1;
        }
    }
    assert!(touched > 0);
    let registry = open(dir.path());
    (dir, registry)
}

#[test]
fn words_that_are_damaged_are_indexed_again_from_the_statements() {
    let turn = |bytes: &mut Vec<u8>| bytes.iter_mut().for_each(|b| *b ^= 0x55);
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2);
    type Damaging = Box<dyn Fn(&mut Vec<u8>)>;
    let middle = |bytes: &mut Vec<u8>| {
        let at = bytes.len() / 3;
        bytes[at] ^= 1;
    };
    let ways: [(&str, Damaging); 6] = [
        ("meta.json", Box::new(turn)),
        ("meta.json", Box::new(cut)),
        (".term", Box::new(middle)),
        (".idx", Box::new(middle)),
        (".fast", Box::new(cut)),
        (".managed.json", Box::new(turn)),
    ];
    for (name, way) in ways {
        let (_dir, registry) = damaged("words", |file| file.ends_with(name), way);
        assert!(matches!(registry.damage(), Some(Damage::Words { .. })), "{name}: {:?}", registry.damage());
        assert_eq!(found(&registry, "count words in a text")[0], "text-stats", "{name}");
        assert_eq!((registry.stats().descriptors, registry.epoch()), (10, 20));
    }
}

#[test]
fn statements_that_are_damaged_are_forgotten_and_announced_again_and_the_epoch_goes_on() {
    let head = |bytes: &mut Vec<u8>| bytes[..100].fill(0x55);
    let pages = |bytes: &mut Vec<u8>| {
        let from = bytes.len().min(4_096);
        bytes[from..].fill(0x55);
    };
    type Damaging = fn(&mut Vec<u8>);
    let ways: [Damaging; 2] = [head, pages];
    for way in ways {
        let (dir, registry) = damaged("", |file| file == "statements.db", way);
        assert!(matches!(registry.damage(), Some(Damage::Statements { .. })), "{:?}", registry.damage());
        assert_eq!((registry.stats().descriptors, registry.epoch()), (0, 20));
        assert!(found(&registry, "count words in a text").is_empty());
        registry.observe_offer(&offer(8, one_of_ten(7)), NOW).unwrap();
        registry.commit().unwrap();
        assert_eq!((found(&registry, "count words"), registry.epoch()), (vec!["text-stats".to_owned()], 22));
        drop(registry);
        let registry = open(dir.path());
        assert_eq!((registry.damage(), registry.epoch(), registry.stats().descriptors), (None, 22, 1));
    }
}

#[test]
fn one_statement_that_rotted_is_left_out_of_answers_and_nothing_else_is() {
    // In the name of one descriptor and in the address of one lease, as they lie in the file.
    for (rots, gone) in [(&b"Compute and check SHA"[..], 1), (b"/ip4/127.0.0.1/tcp/4001", 10)] {
        let rot = |bytes: &mut Vec<u8>| {
            let places: Vec<_> =
                (0..bytes.len() - rots.len()).filter(|at| bytes[*at..].starts_with(rots)).collect();
            assert!(!places.is_empty());
            places.into_iter().for_each(|at| bytes[at + 3] ^= 1);
        };
        let (_dir, registry) = damaged("", |file| file == "statements.db", rot);
        assert_eq!(registry.damage(), None);
        assert_eq!(registry.search(&Query { limit: 50, ..query("") }, NOW).unwrap().len(), 10 - gone);
        // Announced again, it is there again.
        for n in 0..TEN.len() {
            registry.observe_offer(&offer(n as u8 + 1, one_of_ten(n)), NOW).unwrap();
        }
        registry.commit().unwrap();
        assert_eq!(registry.search(&Query { limit: 50, ..query("") }, NOW).unwrap().len(), 10);
    }
}

#[test]
fn a_row_that_rotted_is_left_out_and_the_words_are_indexed_again() {
    // The row of an offer holds its release's digest.
    let digest = one_of_ten(1).release.digest().to_vec();
    let rot = |bytes: &mut Vec<u8>| {
        let places: Vec<_> = (0..bytes.len() - 40).filter(|at| bytes[*at..].starts_with(&digest)).collect();
        places.into_iter().for_each(|at| bytes[at + 31] ^= 1);
    };
    let (_dir, registry) = damaged("", |file| file == "statements.db", rot);
    assert!(matches!(registry.damage(), Some(Damage::Words { .. })), "{:?}", registry.damage());
    assert_eq!(registry.stats().descriptors, 9);
    assert_eq!(found(&registry, "count words in a text")[0], "text-stats");
    assert!(!found(&registry, "digest").contains(&"digest".to_owned()));
    registry.observe_offer(&offer(2, one_of_ten(1)), NOW).unwrap();
    registry.commit().unwrap();
    assert_eq!(found(&registry, "digest")[0], "digest");
}
