//! How far flows came: which step of which flow has which receipt, so that none is done twice.

use crate::{Store, StoreError, db::column};
use actum_model::{
    FlowId, ReceiptId,
    flow::{MAX_STEPS, is_name},
};
use rusqlite::{OptionalExtension, params};
use std::collections::BTreeMap;

/// The most steps of flows remembered, over all flows: 65,536, some ten MiB. When full, the flow begun longest ago makes
/// room.
pub const MAX_FLOW_STEPS: usize = 65_536;

/// The row that says when a flow was begun. No step is called so: a name is never empty.
const BEGUN: &str = "";

/// How far a flow came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowState {
    /// When it was begun, in seconds since the Unix epoch.
    pub begun: u64,
    /// The receipts of the steps that are done, by the steps' names.
    pub steps: BTreeMap<String, ReceiptId>,
}

impl Store {
    /// Remembers that a flow was begun, where that is not remembered yet; gives when. Survives a killed process.
    pub fn begin_flow(&self, flow: &FlowId, at: u64) -> Result<u64, StoreError> {
        let id = flow.to_string();
        let begun: i64 = self.write(|tx| {
            tx.prepare_cached(
                "INSERT OR IGNORE INTO flow_steps (flow, step, receipt, at) VALUES (?1, ?2, '', ?3)",
            )?
            .execute(params![id, BEGUN, column(at)])?;
            // Whole flows go, the one begun longest ago first, and never this one.
            let rows: i64 =
                tx.prepare_cached("SELECT count(*) FROM flow_steps")?.query_row([], |row| row.get(0))?;
            if rows > MAX_FLOW_STEPS as i64 {
                tx.prepare_cached(
                    "DELETE FROM flow_steps WHERE flow IN (
                        SELECT flow FROM flow_steps WHERE step = ?1 AND flow <> ?2 ORDER BY at LIMIT ?3)",
                )?
                .execute(params![BEGUN, id, MAX_STEPS as i64])?;
            }
            tx.prepare_cached("SELECT at FROM flow_steps WHERE flow = ?1 AND step = ?2")?
                .query_row(params![id, BEGUN], |row| row.get(0))
        })?;
        Ok(u64::try_from(begun).unwrap_or(0))
    }

    /// Remembers that a step of a flow is done, and by which receipt; a later receipt takes an earlier one's place. On the
    /// disk when this returns.
    ///
    /// A name that no step can have is [`StoreError::Mismatch`].
    pub fn put_flow_step(
        &self,
        flow: &FlowId,
        step: &str,
        receipt: &ReceiptId,
        at: u64,
    ) -> Result<(), StoreError> {
        if !is_name(step) {
            let (wanted, got) = ("a step's name".to_owned(), step.chars().take(80).collect());
            return Err(StoreError::Mismatch { what: "step of a flow", wanted, got });
        }
        self.write(|tx| {
            tx.prepare_cached(
                "INSERT OR REPLACE INTO flow_steps (flow, step, receipt, at) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![flow.to_string(), step, receipt.to_string(), column(at)])
            .map(drop)
        })
    }

    /// How far a flow came; `None` where it was never begun.
    pub fn flow_state(&self, flow: &FlowId) -> Result<Option<FlowState>, StoreError> {
        let id = flow.to_string();
        let (begun, rows) = self.read(|db| {
            let begun: Option<i64> = db
                .prepare_cached("SELECT at FROM flow_steps WHERE flow = ?1 AND step = ?2")?
                .query_row(params![id, BEGUN], |row| row.get(0))
                .optional()?;
            let rows: Vec<(String, String)> = db
                .prepare_cached("SELECT step, receipt FROM flow_steps WHERE flow = ?1 AND step <> ?2")?
                .query_map(params![id, BEGUN], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?;
            Ok((begun, rows))
        })?;
        let Some(begun) = begun else { return Ok(None) };
        let read = |(step, receipt): (String, String)| match receipt.parse() {
            Ok(receipt) => Ok((step, receipt)),
            Err(e) => {
                let why = format!("step {step:?}: {e}");
                Err(StoreError::Corrupt { what: "flow", id: id.clone(), why })
            }
        };
        let steps = rows.into_iter().map(read).collect::<Result<_, _>>()?;
        Ok(Some(FlowState { begun: u64::try_from(begun).unwrap_or(0), steps }))
    }

    /// Forgets how far a flow came; its receipts stay.
    pub fn remove_flow(&self, flow: &FlowId) -> Result<(), StoreError> {
        let id = flow.to_string();
        self.write(|tx| tx.prepare_cached("DELETE FROM flow_steps WHERE flow = ?1")?.execute([&id]).map(drop))
    }
}
