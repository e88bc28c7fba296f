//! How far a flow came survives, and makes room for others.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test, a panic is the message"
)]

use actum_model::{BlobId, FlowId, ReceiptId};
use actum_store::{FlowState, MAX_FLOW_STEPS, Store, StoreError};
use std::collections::BTreeMap;

fn flow(n: u64) -> FlowId {
    FlowId::of_plan(&BlobId::of(&n.to_be_bytes()), &BlobId::of(b"{}"))
}

fn receipt(n: u64) -> ReceiptId {
    ReceiptId::of(&n.to_be_bytes())
}

#[test]
fn a_flow_is_where_it_was_when_the_store_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.flow_state(&flow(1)).unwrap(), None);
    assert_eq!(store.begin_flow(&flow(1), 10).unwrap(), 10);
    assert_eq!(store.begin_flow(&flow(1), 20).unwrap(), 10, "it was begun once");
    store.put_flow_step(&flow(1), "a", &receipt(1), 11).unwrap();
    store.put_flow_step(&flow(1), "b", &receipt(2), 12).unwrap();
    store.put_flow_step(&flow(1), "b", &receipt(3), 13).unwrap();
    store.begin_flow(&flow(2), 30).unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    let steps = BTreeMap::from([("a".to_owned(), receipt(1)), ("b".to_owned(), receipt(3))]);
    assert_eq!(store.flow_state(&flow(1)).unwrap(), Some(FlowState { begun: 10, steps }));
    store.remove_flow(&flow(1)).unwrap();
    assert_eq!(store.flow_state(&flow(1)).unwrap(), None);
    assert_eq!(store.flow_state(&flow(2)).unwrap().unwrap().begun, 30);
}

#[test]
fn what_no_step_is_called_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for name in ["", "A", "a b", "a.b", &"a".repeat(65)] {
        let refused = store.put_flow_step(&flow(1), name, &receipt(1), 1);
        assert!(matches!(refused, Err(StoreError::Mismatch { .. })), "{name:?}");
    }
}

#[test]
fn the_flows_begun_longest_ago_make_room() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.begin_flow(&flow(0), 0).unwrap();
    store.put_flow_step(&flow(0), "a", &receipt(0), 0).unwrap();
    // Rows of one flow more than fit, put there directly: one by one, each would sync the disk.
    let db = rusqlite::Connection::open(dir.path().join("store/actum.db")).unwrap();
    db.execute_batch("BEGIN").unwrap();
    for n in 0..MAX_FLOW_STEPS {
        let row = (flow(1).to_string(), format!("s{n}"), receipt(n as u64).to_string());
        db.execute("INSERT INTO flow_steps (flow, step, receipt, at) VALUES (?1, ?2, ?3, 5)", row).unwrap();
    }
    db.execute_batch("COMMIT").unwrap();
    store.begin_flow(&flow(2), 6).unwrap();
    assert_eq!(store.flow_state(&flow(0)).unwrap(), None, "the oldest went");
    assert_eq!(store.flow_state(&flow(2)).unwrap().unwrap().begun, 6, "the newest stays");
}
