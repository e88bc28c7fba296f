//! Counts what an audit finds, and keeps its verdicts in batches. One thread does: the others look.

use super::{Report, Row, case::chain};
use crate::{home::Home, records};
use actum_model::{ComponentId, ReceiptId, Signed, Verdict};
use actum_store::VERDICTS_AT_ONCE;
use std::collections::BTreeSet;

/// The most reasons that a report gives for verdicts that were lost.
const MAX_LOST: usize = 8;

/// What looking at one receipt gave.
pub(super) struct Answer {
    pub(super) row: Row,
    pub(super) fuel: u64,
    /// A verdict that says what none of the home's says yet, with the component of its receipt.
    pub(super) verdict: Option<(Signed<Verdict>, ComponentId)>,
    /// Whether its replay is done, and owed no more.
    pub(super) judged: bool,
    /// Why its verdict was not written to a file.
    pub(super) lost: Option<String>,
}

/// The one that counts, and keeps verdicts.
pub(super) struct Counter<'a> {
    home: Option<&'a Home>,
    /// The receipts whose replay the home owes.
    owed: BTreeSet<ReceiptId>,
    report: Report,
    /// Verdicts that are to be kept together.
    kept: Vec<(Signed<Verdict>, ComponentId)>,
}

impl<'a> Counter<'a> {
    pub(super) fn new(home: Option<&'a Home>, owed: BTreeSet<ReceiptId>, report: Report) -> Self {
        Self { home, owed, report, kept: Vec::new() }
    }

    /// With how many something is wrong so far.
    pub(super) fn wrong(&self) -> u64 {
        self.report.total.wrong()
    }

    /// Takes in what was found of one.
    pub(super) fn take(&mut self, answer: Answer) {
        let Answer { row, fuel, verdict, judged, lost } = answer;
        self.lose(lost);
        // What waits to be kept is owed until it is.
        let paid = row.receipt.filter(|id| judged && verdict.is_none() && self.owed.contains(id));
        self.report.add(row, fuel);
        if let Some(id) = paid {
            self.pay(&id);
        }
        self.kept.extend(verdict);
        if self.kept.len() >= VERDICTS_AT_ONCE {
            self.keep();
        }
    }

    /// Keeps the verdicts that wait.
    fn keep(&mut self) {
        let kept = std::mem::take(&mut self.kept);
        let Some(home) = self.home.filter(|_| !kept.is_empty()) else { return };
        if let Err(e) = records::judged_all(home, &kept) {
            self.lose(Some(format!("verdicts could not be kept: {}", chain(&e))));
            return;
        }
        self.report.kept = self.report.kept.saturating_add(u64::try_from(kept.len()).unwrap_or(u64::MAX));
        for (verdict, _) in &kept {
            let id = verdict.payload().receipt;
            if self.owed.contains(&id) {
                self.pay(&id);
            }
        }
    }

    fn pay(&mut self, receipt: &ReceiptId) {
        self.owed.remove(receipt);
        if let Some(Err(e)) = self.home.map(|home| home.store().replay_paid(receipt)) {
            self.lose(Some(format!("a replay that is done is still owed: {}", chain(&e))));
        }
    }

    fn lose(&mut self, why: Option<String>) {
        let lost = &mut self.report.lost;
        if let Some(why) = why.filter(|why| !lost.contains(why))
            && lost.len() < MAX_LOST
        {
            lost.push(why);
        }
    }

    /// Keeps what waits, and gives the report.
    pub(super) fn finish(mut self) -> Report {
        self.keep();
        self.report
    }
}
