//! What a ledger remembers, across restarts, processes and kills.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

mod common;

use actum_model::{DelegationId, Did};
use actum_store::{
    StoreError,
    ledger::{
        Admission, Counted, LEDGER_SCHEMA_VERSION, Ledger, MAX_REVOCATIONS, MAX_REVOCATIONS_PER_REVOKER,
        MAX_ROTATIONS, MAX_SERVED, MAX_SERVED_PER_REQUESTER, MAX_SPENT, MAX_SPENT_PER_ROOT, NewRevocation,
        NotAdmitted, REVOCATION_GRACE_SECONDS, Reservation, RotationKept, Served, Spent, Standing,
    },
};
use common::key;
use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

/// Names the home to the child; absent in an ordinary run.
const CHILD_HOME: &str = "ACTUM_LEDGER_TEST_CHILD_HOME";
/// How many invocations the child asks for; it goes on for ever without it.
const CHILD_COUNT: &str = "ACTUM_LEDGER_TEST_CHILD_COUNT";

fn open() -> (tempfile::TempDir, Ledger) {
    let home = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(home.path()).unwrap();
    (home, ledger)
}

fn did(n: u8) -> Did {
    key(n).did()
}

fn id(text: &str) -> DelegationId {
    DelegationId::of(text.as_bytes())
}

fn forever(ids: &[DelegationId]) -> Vec<Counted> {
    ids.iter().map(|id| Counted { id: *id, until: None }).collect()
}

/// Admits under these delegations whatever they have spent.
fn admit(
    ledger: &Ledger,
    nonce: u64,
    delegations: &[Counted],
    fuel: u64,
    now: u64,
) -> Result<(Reservation, Vec<Spent>), NotAdmitted<()>> {
    let requester = did(1);
    let nonce = nonce.to_be_bytes();
    let asked = Admission {
        requester: &requester,
        nonce: &nonce,
        until: now + 60,
        now,
        root: None,
        delegations,
        fuel,
    };
    let mut seen = Vec::new();
    let admitted = ledger.admit(&asked, |spent| {
        seen = spent.to_vec();
        Ok(())
    });
    admitted.unwrap().map(|reservation| (reservation, seen))
}

fn query(home: &Path, sql: &str) {
    rusqlite::Connection::open(home.join("store/ledger.db")).unwrap().execute_batch(sql).unwrap();
}

fn number(home: &Path, sql: &str) -> i64 {
    let db = rusqlite::Connection::open(home.join("store/ledger.db")).unwrap();
    db.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn an_invocation_is_served_once() {
    let (home, ledger) = open();
    let [a, b] = [did(1), did(2)];
    assert_eq!(ledger.serve(&a, b"n", 100, 10).unwrap(), Served::Now);
    assert_eq!(ledger.serve(&a, b"n", 100, 10).unwrap(), Served::AlreadyServed);
    assert_eq!(
        ledger.serve(&a, b"n", 900, 100).unwrap(),
        Served::AlreadyServed,
        "another end, the same nonce"
    );
    assert_eq!(ledger.serve(&a, b"m", 100, 10).unwrap(), Served::Now);
    assert_eq!(ledger.serve(&b, b"n", 100, 10).unwrap(), Served::Now);
    drop(ledger);
    let ledger = Ledger::open(home.path()).unwrap();
    assert_eq!(ledger.serve(&a, b"n", 100, 100).unwrap(), Served::AlreadyServed, "after a restart");
}

#[test]
fn what_has_ended_is_forgotten_and_never_served_again() {
    let (home, ledger) = open();
    let me = did(1);
    for n in 0..20_u8 {
        assert_eq!(ledger.serve(&me, &[n], 100 + u64::from(n), 10).unwrap(), Served::Now);
    }
    assert_eq!(ledger.serve(&me, b"late", 105, 110).unwrap(), Served::Stale);
    assert_eq!(ledger.prune(110).unwrap().served, 10);
    assert_eq!(number(home.path(), "SELECT count(*) FROM served"), 10);
    // The clock is set back: what was served and forgotten, and what nobody can tell from it, stays out.
    assert_eq!(ledger.serve(&me, &[0], 100, 10).unwrap(), Served::Stale);
    assert_eq!(ledger.serve(&me, b"new", 109, 10).unwrap(), Served::Stale);
    assert_eq!(ledger.serve(&me, &[10], 110, 10).unwrap(), Served::AlreadyServed);
    assert_eq!(ledger.serve(&me, b"new", 110, 10).unwrap(), Served::Now);
    drop(ledger);
    let ledger = Ledger::open(home.path()).unwrap();
    assert_eq!(ledger.serve(&me, b"x", 109, 10).unwrap(), Served::Stale);
}

#[test]
fn admissions_forget_as_they_go() {
    let (home, ledger) = open();
    for round in 0..50_u64 {
        for n in 0..10_u8 {
            let now = 1_000 + round * 100;
            assert_eq!(ledger.serve(&did(n), &round.to_be_bytes(), now + 50, now).unwrap(), Served::Now);
        }
    }
    assert!(number(home.path(), "SELECT count(*) FROM served") <= 20);
    let kept = number(home.path(), "SELECT used FROM room WHERE what = 'served'");
    assert_eq!(kept, number(home.path(), "SELECT count(*) FROM served"));
    assert_eq!(kept, number(home.path(), "SELECT sum(served) FROM callers"));
    ledger.prune(1 << 40).unwrap();
    assert_eq!(number(home.path(), "SELECT count(*) FROM callers"), 0);
}

#[test]
fn more_invocations_than_are_kept() {
    let (home, ledger) = open();
    let [a, b, c] = [did(1), did(2), did(3)];
    for who in [&a, &b] {
        assert_eq!(ledger.serve(who, b"first", 100, 10).unwrap(), Served::Now);
    }
    query(home.path(), &format!("UPDATE callers SET served = {MAX_SERVED_PER_REQUESTER} WHERE did = '{a}'"));
    assert_eq!(ledger.serve(&a, b"n", 100, 10).unwrap(), Served::Full);
    assert_eq!(ledger.serve(&a, b"first", 100, 10).unwrap(), Served::AlreadyServed, "full or not");
    assert_eq!(ledger.serve(&b, b"n", 100, 10).unwrap(), Served::Now);
    query(home.path(), &format!("UPDATE room SET used = {MAX_SERVED} WHERE what = 'served'"));
    assert_eq!(ledger.serve(&c, b"n", 100, 10).unwrap(), Served::Full);
    // Those that have ended make room.
    assert_eq!(ledger.serve(&c, b"n", 200, 101).unwrap(), Served::Now);
    assert_eq!(ledger.serve(&a, b"n", 200, 101).unwrap(), Served::Now);
}

#[test]
fn a_nonce_or_a_chain_over_its_bound() {
    let (_home, ledger) = open();
    let error = ledger.serve(&did(1), &[0; 65], 100, 10).unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { what: "nonce", limit: 64, .. }), "{error}");
    let nine: Vec<_> = (0..9).map(|n| id(&n.to_string())).collect();
    let delegations = forever(&nine);
    let requester = did(1);
    let asked = Admission {
        requester: &requester,
        nonce: b"n",
        until: 100,
        now: 10,
        root: None,
        delegations: &delegations,
        fuel: 1,
    };
    let error = ledger.admit(&asked, |_| Ok::<_, ()>(())).unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { limit: 8, .. }), "{error}");
}

#[test]
fn a_decision_sees_the_totals_with_the_action_and_a_refusal_leaves_nothing() {
    let (_home, ledger) = open();
    let [root, leaf] = [id("root"), id("leaf")];
    let chain = forever(&[root, leaf]);
    let (_, seen) = admit(&ledger, 1, &chain, 100, 10).unwrap();
    assert_eq!(seen, [Spent { actions: 1, fuel: 100 }; 2]);
    let (_, seen) = admit(&ledger, 2, &chain[..1], 50, 10).unwrap();
    assert_eq!(seen, [Spent { actions: 2, fuel: 150 }]);

    let requester = did(1);
    let asked = Admission {
        requester: &requester,
        nonce: b"3",
        until: 70,
        now: 10,
        root: None,
        delegations: &chain,
        fuel: 7,
    };
    let refused = ledger.admit(&asked, |spent| Err(spent.to_vec())).unwrap().unwrap_err();
    let would_be = vec![Spent { actions: 3, fuel: 157 }, Spent { actions: 2, fuel: 107 }];
    assert_eq!(refused, NotAdmitted::Refused(would_be));
    assert_eq!(ledger.spent(&root).unwrap(), Spent { actions: 2, fuel: 150 });
    assert_eq!(ledger.spent(&leaf).unwrap(), Spent { actions: 1, fuel: 100 });
    assert!(ledger.admit(&asked, |_| Ok::<_, ()>(())).unwrap().is_ok(), "what was refused was not served");
    assert_eq!(ledger.spent(&id("unknown")).unwrap(), Spent::default());
}

#[test]
fn what_was_served_before_spends_nothing() {
    let (_home, ledger) = open();
    let chain = forever(&[id("root")]);
    let _ = admit(&ledger, 1, &chain, 100, 10).unwrap();
    assert_eq!(admit(&ledger, 1, &chain, 100, 10).unwrap_err(), NotAdmitted::AlreadyServed);
    assert_eq!(ledger.spent(&id("root")).unwrap(), Spent { actions: 1, fuel: 100 });
}

#[test]
fn a_delegation_named_twice_is_counted_once() {
    let (_home, ledger) = open();
    let (one, two) = (id("one"), id("two"));
    let (reservation, seen) = admit(&ledger, 1, &forever(&[one, two, one]), 100, 10).unwrap();
    assert_eq!(seen, [Spent { actions: 1, fuel: 100 }; 3]);
    ledger.settle(reservation, 30).unwrap();
    assert_eq!(ledger.spent(&one).unwrap(), Spent { actions: 1, fuel: 30 });
}

#[test]
fn settling_counts_what_was_used_and_never_less_than_nothing() {
    let (home, ledger) = open();
    let chain = forever(&[id("root")]);
    let spent = |ledger: &Ledger| ledger.spent(&id("root")).unwrap();
    let (first, _) = admit(&ledger, 1, &chain, 100, 10).unwrap();
    let (second, _) = admit(&ledger, 2, &chain, 100, 10).unwrap();
    assert_eq!(first.fuel(), 100);
    ledger.settle(first, 30).unwrap();
    assert_eq!(spent(&ledger), Spent { actions: 2, fuel: 130 });
    // A crash: the second is never settled, and counts in full.
    drop(ledger);
    let ledger = Ledger::open(home.path()).unwrap();
    assert_eq!(spent(&ledger), Spent { actions: 2, fuel: 130 });
    ledger.settle(second, 170).unwrap();
    assert_eq!(spent(&ledger), Spent { actions: 2, fuel: 200 }, "more than was reserved counts too");
    let (third, _) = admit(&ledger, 3, &chain, 500, 10).unwrap();
    query(home.path(), "UPDATE spent SET fuel = 10");
    ledger.settle(third, 0).unwrap();
    assert_eq!(spent(&ledger), Spent { actions: 3, fuel: 0 });
}

#[test]
fn totals_saturate_and_stay_there() {
    let (_home, ledger) = open();
    let chain = forever(&[id("root")]);
    let most = i64::MAX.unsigned_abs();
    let _ = admit(&ledger, 1, &chain, u64::MAX, 10).unwrap();
    assert_eq!(ledger.spent(&id("root")).unwrap().fuel, most);
    let (reservation, seen) = admit(&ledger, 2, &chain, 5, 10).unwrap();
    assert_eq!(seen, [Spent { actions: 2, fuel: most }]);
    ledger.settle(reservation, 0).unwrap();
    assert_eq!(ledger.spent(&id("root")).unwrap().fuel, most, "nobody knows what is above it");
}

#[test]
fn what_was_not_begun_is_taken_back() {
    let (home, ledger) = open();
    let chain = forever(&[id("root")]);
    let _ = admit(&ledger, 1, &chain, 10, 10).unwrap();
    let (reservation, _) = admit(&ledger, 2, &chain, 100, 10).unwrap();
    ledger.take_back(reservation).unwrap();
    assert_eq!(ledger.spent(&id("root")).unwrap(), Spent { actions: 1, fuel: 10 });
    assert_eq!(number(home.path(), "SELECT used FROM room WHERE what = 'served'"), 1);
    assert!(admit(&ledger, 2, &chain, 100, 10).is_ok());
    assert_eq!(admit(&ledger, 1, &chain, 100, 10).unwrap_err(), NotAdmitted::AlreadyServed);
}

#[test]
fn totals_of_ended_delegations_are_forgotten_and_do_not_begin_anew() {
    let (home, ledger) = open();
    let ending = [Counted { id: id("ending"), until: Some(100) }];
    let _ = admit(&ledger, 1, &ending, 10, 10).unwrap();
    let _ = admit(&ledger, 2, &forever(&[id("lasting")]), 10, 10).unwrap();
    assert_eq!(admit(&ledger, 3, &ending, 10, 101).unwrap_err(), NotAdmitted::Stale);
    assert_eq!(ledger.prune(101).unwrap().spent, 1);
    assert_eq!(ledger.spent(&id("ending")).unwrap(), Spent::default());
    assert_eq!(ledger.spent(&id("lasting")).unwrap().actions, 1);
    // The clock is set back: it was spent, nobody knows how much.
    assert_eq!(admit(&ledger, 4, &ending, 10, 50).unwrap_err(), NotAdmitted::Stale);
    assert_eq!(number(home.path(), "SELECT count(*) FROM spent_roots"), 1);
}

#[test]
fn more_delegations_with_totals_than_are_kept() {
    let (home, ledger) = open();
    let [root, other] = [id("root"), id("other")];
    let _ = admit(&ledger, 1, &forever(&[root]), 1, 10).unwrap();
    let _ = admit(&ledger, 2, &forever(&[other]), 1, 10).unwrap();
    query(home.path(), &format!("UPDATE spent_roots SET used = {MAX_SPENT_PER_ROOT} WHERE root = '{root}'"));
    let full =
        NotAdmitted::Full { what: "delegations with totals below one root", limit: MAX_SPENT_PER_ROOT };
    assert_eq!(admit(&ledger, 3, &forever(&[root, id("leaf")]), 1, 10).unwrap_err(), full);
    assert!(admit(&ledger, 3, &forever(&[root]), 1, 10).is_ok(), "one that is kept goes on");
    assert!(admit(&ledger, 4, &forever(&[other, id("leaf")]), 1, 10).is_ok(), "another's room");
    query(home.path(), &format!("UPDATE room SET used = {MAX_SPENT} WHERE what = 'spent'"));
    let full = NotAdmitted::Full { what: "delegations with totals", limit: MAX_SPENT };
    assert_eq!(admit(&ledger, 5, &forever(&[id("third")]), 1, 10).unwrap_err(), full);
}

fn put(
    ledger: &Ledger,
    revoked: &str,
    revoker: u8,
    until: Option<u64>,
    standing: Standing,
    now: u64,
) -> Result<bool, StoreError> {
    let witness = [format!("witness of {revoked}").into_bytes(), b"second".to_vec()];
    let bytes = format!("{revoker} revokes {revoked}");
    let new = NewRevocation {
        revoked: &id(revoked),
        revoker: &did(revoker),
        until,
        bytes: bytes.as_bytes(),
        witness: &witness,
    };
    ledger.put_revocation(&new, standing, now)
}

#[test]
fn revocations_are_kept_once_found_and_paged() {
    use Standing::{Ours, Theirs};
    let (home, ledger) = open();
    assert!(put(&ledger, "a", 1, None, Ours, 10).unwrap());
    assert!(!put(&ledger, "a", 1, None, Theirs, 11).unwrap());
    assert!(put(&ledger, "a", 2, None, Theirs, 10).unwrap());
    assert!(put(&ledger, "b", 1, Some(100), Ours, 10).unwrap());
    drop(ledger);
    let ledger = Ledger::open(home.path()).unwrap();
    let found = ledger.revocations_of(&[id("a"), id("c"), id("b")]).unwrap();
    assert_eq!(found, [(id("a"), did(1)), (id("a"), did(2)), (id("b"), did(1))]);
    let all = ledger.revoked_after(0).unwrap();
    assert_eq!(all.iter().map(|(_, id, did)| (*id, *did)).collect::<Vec<_>>(), found);
    assert_eq!(ledger.revoked_after(all[1].0).unwrap(), all[2..]);
    let page = ledger.revocations_after(0, 2).unwrap();
    assert_eq!(page[0].bytes, b"1 revokes a");
    assert_eq!(page[0].witness, [b"witness of a".to_vec(), b"second".to_vec()]);
    assert_eq!(page.len(), 2);
    let rest = ledger.revocations_after(page[1].cursor, 10).unwrap();
    assert_eq!((rest.len(), rest[0].bytes.as_slice()), (1, &b"1 revokes b"[..]));
    assert!(ledger.revocations_after(rest[0].cursor, 10).unwrap().is_empty());
}

#[test]
fn revocations_outlive_their_delegation_by_a_grace() {
    let (home, ledger) = open();
    put(&ledger, "ending", 1, Some(100), Standing::Ours, 10).unwrap();
    put(&ledger, "lasting", 1, None, Standing::Ours, 10).unwrap();
    assert_eq!(ledger.prune(100 + REVOCATION_GRACE_SECONDS).unwrap().revocations, 0);
    assert_eq!(ledger.prune(101 + REVOCATION_GRACE_SECONDS).unwrap().revocations, 1);
    assert_eq!(ledger.revoked_after(0).unwrap().len(), 1);
    assert_eq!(number(home.path(), "SELECT count(*) FROM witness"), 2);
    assert!(!put(&ledger, "ending", 1, Some(100), Standing::Ours, 101 + REVOCATION_GRACE_SECONDS).unwrap());
    // A new one never takes the cursor of one that is gone.
    put(&ledger, "next", 1, Some(1 << 40), Standing::Ours, 10).unwrap();
    assert_eq!(ledger.revoked_after(2).unwrap().len(), 1);
}

#[test]
fn strangers_cannot_take_the_room_of_ours() {
    use Standing::{Ours, Theirs};
    let (home, ledger) = open();
    put(&ledger, "old", 1, Some(10), Theirs, 10).unwrap();
    query(
        home.path(),
        &format!("UPDATE room SET used = {MAX_REVOCATIONS} WHERE what = 'revocations theirs'"),
    );
    let error = put(&ledger, "new", 2, None, Theirs, 10).unwrap_err();
    assert!(matches!(error, StoreError::Full { what: "revocations", limit: MAX_REVOCATIONS }), "{error}");
    assert_eq!(number(home.path(), "SELECT count(*) FROM revocations"), 1);
    assert!(put(&ledger, "new", 2, None, Ours, 10).unwrap());
    // Those that have long ended make room.
    assert!(put(&ledger, "next", 2, None, Theirs, 11 + REVOCATION_GRACE_SECONDS).unwrap());
    query(
        home.path(),
        &format!(
            "UPDATE room SET used = 0;
             WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {MAX_REVOCATIONS_PER_REVOKER})
             INSERT INTO revocations (revoked, revoker, standing, size, bytes)
             SELECT n, '{}', 'theirs', 1, x'00' FROM n",
            did(9)
        ),
    );
    let error = put(&ledger, "one more", 9, None, Theirs, 10).unwrap_err();
    let limit = MAX_REVOCATIONS_PER_REVOKER;
    assert!(matches!(error, StoreError::Full { what: "revocations by one other", limit: l } if l == limit));
    // What somebody holds of ours takes neither the room of strangers nor that of ours.
    assert!(put(&ledger, "one more", 9, None, Standing::Near, 10).unwrap());
    assert!(put(&ledger, "another", 9, None, Ours, 10).unwrap());
}

#[test]
fn a_revocation_over_its_bounds() {
    let (_home, ledger) = open();
    let (revoked, revoker) = (id("a"), did(1));
    let [many, long, bytes] = [vec![vec![0]; 9], vec![vec![0; (16 << 10) + 1]], vec![vec![0]; 1]];
    let size = (32 << 10) + 1;
    for (witness, len) in [(many, 1), (long, 1), (bytes, size)] {
        let new = NewRevocation {
            revoked: &revoked,
            revoker: &revoker,
            until: None,
            bytes: &vec![0; len],
            witness: &witness,
        };
        let error = ledger.put_revocation(&new, Standing::Ours, 1).unwrap_err();
        assert!(matches!(error, StoreError::TooLarge { .. }), "{error}");
    }
    assert!(ledger.revoked_after(0).unwrap().is_empty());
}

#[test]
fn the_first_rotation_of_a_key_counts() {
    let (home, ledger) = open();
    let put = |old, bytes: &[u8]| ledger.put_rotation(&did(old), bytes, Standing::Theirs, 10);
    assert_eq!(put(1, b"first").unwrap(), RotationKept::News);
    assert_eq!(put(1, b"first").unwrap(), RotationKept::Known);
    assert_eq!(put(1, b"second").unwrap(), RotationKept::Other);
    assert_eq!(put(2, b"another").unwrap(), RotationKept::News);
    assert_eq!(ledger.rotation(&did(1)).unwrap().unwrap(), b"first");
    assert_eq!(ledger.rotation(&did(3)).unwrap(), None);
    let page = ledger.rotations_after(0, 1).unwrap();
    assert_eq!((page.len(), page[0].1.as_slice()), (1, &b"first"[..]));
    assert_eq!(ledger.rotations_after(page[0].0, 9).unwrap()[0].1, b"another");
    query(home.path(), &format!("UPDATE room SET used = {MAX_ROTATIONS}"));
    assert!(matches!(put(4, b"x"), Err(StoreError::Full { what: "rotations", .. })));
    assert_eq!(put(1, b"first").unwrap(), RotationKept::Known, "full or not");
    assert_eq!(ledger.put_rotation(&did(4), b"x", Standing::Ours, 1).unwrap(), RotationKept::News);
    assert!(matches!(put(5, &vec![0; (64 << 10) + 1]), Err(StoreError::TooLarge { what: "rotation", .. })));
}

#[test]
fn changes_of_others_are_told_once_and_own_ones_never() {
    let (home, ledger) = open();
    assert!(!ledger.changed().unwrap());
    ledger.serve(&did(1), b"own", 100, 10).unwrap();
    assert!(!ledger.changed().unwrap());
    ledger.checkpoint().unwrap();
    assert!(!ledger.changed().unwrap());
    ledger.serve(&did(1), b"after the log began anew", 100, 10).unwrap();
    assert!(!ledger.changed().unwrap());
    let other = Ledger::open(home.path()).unwrap();
    put(&other, "a", 1, None, Standing::Ours, 10).unwrap();
    assert!(ledger.changed().unwrap());
    assert!(!ledger.changed().unwrap());
    assert!(!other.changed().unwrap());
    assert_eq!(ledger.revoked_after(0).unwrap().len(), 1);
}

#[test]
fn checkpoints_while_admissions_go_on_lose_nothing_and_empty_the_log() {
    let (home, ledger) = open();
    let log = || std::fs::metadata(home.path().join("store/ledger.db-wal")).unwrap().len();
    thread::scope(|scope| {
        let asking = scope.spawn(|| ask(&ledger, 2_000, |_| ()));
        while !asking.is_finished() {
            ledger.checkpoint().unwrap();
        }
        assert_eq!(asking.join().unwrap(), 2_000);
    });
    assert_eq!(ledger.spent(&id("shared")).unwrap().actions, 2_000);
    // It may never have grown, where checkpoints were quicker than admissions.
    for n in 2_000..2_020 {
        assert!(admit(&ledger, n, &[], 1, 10).is_ok());
    }
    ledger.checkpoint().unwrap();
    let before = log();
    for n in 2_020..2_030 {
        assert!(admit(&ledger, n, &[], 1, 10).is_ok());
    }
    assert_eq!(log(), before, "written over from its beginning");
}

#[test]
fn a_newer_ledger_and_another_programs() {
    let (home, ledger) = open();
    drop(ledger);
    query(home.path(), &format!("PRAGMA user_version = {}", LEDGER_SCHEMA_VERSION + 1));
    let error = Ledger::open(home.path()).unwrap_err();
    assert!(matches!(error, StoreError::NewerVersion { found: 2, known: 1, .. }), "{error}");
    let home = tempfile::tempdir().unwrap();
    drop(actum_store::Store::open(home.path()).unwrap());
    std::fs::copy(home.path().join("store/actum.db"), home.path().join("store/ledger.db")).unwrap();
    assert!(matches!(Ledger::open(home.path()), Err(StoreError::NotAStore { .. })));
}

/// Asks for nonces 0, 1, 2, …, each until it is answered, and says which were served now.
fn ask(ledger: &Ledger, count: u64, mut say: impl FnMut(u64)) -> u64 {
    let delegations = forever(&[id("shared")]);
    let mut served = 0;
    for n in 0..count {
        if admit(ledger, n, &delegations, 1, 10).is_ok() {
            served += 1;
            say(n);
        }
    }
    served
}

/// Not a test of its own: what a child process does.
#[test]
fn child() {
    let Ok(home) = env::var(CHILD_HOME) else { return };
    let count = env::var(CHILD_COUNT).map_or(u64::MAX, |n| n.parse().unwrap());
    let ledger = Ledger::open(Path::new(&home)).unwrap();
    ask(&ledger, count, |n| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "served {n}").unwrap();
        out.flush().unwrap();
    });
}

fn spawn(home: &Path, count: Option<u64>) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]).env(CHILD_HOME, home);
    command.stdout(Stdio::piped()).stderr(Stdio::inherit());
    if let Some(count) = count {
        command.env(CHILD_COUNT, count.to_string());
    }
    command.spawn().unwrap()
}

/// The number in a line `served n`.
fn served(line: &str) -> Option<u64> {
    line.split("served ").nth(1)?.trim().parse().ok()
}

#[test]
fn a_killed_node_serves_nothing_again_and_forgets_no_spending() {
    let home = tempfile::tempdir().unwrap();
    let mut begun = 0;
    for after in [0, 50, 400] {
        let mut child = spawn(home.path(), None);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut last = lines.by_ref().filter_map(|l| served(&l)).find(|n| *n >= begun + after).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        last = lines.filter_map(|l| served(&l)).last().unwrap_or(last);
        let ledger = Ledger::open(home.path()).unwrap();
        for n in 0..=last {
            assert_eq!(admit(&ledger, n, &[], 1, 10).unwrap_err(), NotAdmitted::AlreadyServed);
        }
        let spent = ledger.spent(&id("shared")).unwrap();
        assert!((last + 1..=last + 2).contains(&spent.actions), "{last} answered, {spent:?}");
        begun = spent.actions;
    }
}

#[test]
fn of_processes_and_threads_that_race_one_serves() {
    const NONCES: u64 = 400;
    let (home, ledger) = open();
    let children: Vec<_> = (0..2).map(|_| spawn(home.path(), Some(NONCES))).collect();
    let other = Ledger::open(home.path()).unwrap();
    let mut total: u64 = thread::scope(|scope| {
        let threads = [&ledger, &ledger, &other].map(|l| scope.spawn(|| ask(l, NONCES, |_| ())));
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    });
    for child in children {
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success());
        total += String::from_utf8(out.stdout).unwrap().lines().filter_map(served).count() as u64;
    }
    assert_eq!(total, NONCES);
    assert_eq!(ledger.spent(&id("shared")).unwrap(), Spent { actions: NONCES, fuel: NONCES });
}
