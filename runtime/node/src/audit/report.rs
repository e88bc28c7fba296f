//! What an audit found: counted by provider and by kind, with a row for everything that is not identical.

use actum_model::{Did, Divergence, ReceiptId};
use serde_json::{Value as Json, json};
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// The most rows that a report holds; further ones are counted only. 10,000 of at most some 3 KiB.
pub const MAX_ROWS: usize = 10_000;
/// The longest text in a row, in bytes: 1 KiB. Verdicts hold more, and `actum replay` shows all of it.
const MAX_WORDS_BYTES: usize = 1 << 10;

/// What an audit says of one receipt. Where several things are to be said, it is the first of them in this order, and
/// [`Kind::Identical`] only where nothing else is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Run again, it did the same, and nothing else is wrong with it.
    Identical,
    /// Run again, it did something else.
    Diverged,
    /// It did not run by the authority that it names.
    AuthorityFalse,
    /// It does not fit its own action or its own evidence.
    Inconsistent,
    /// Something of it is not what it was: a block in the store, a file.
    Damaged,
    /// The component that it names is not here.
    MissingComponent,
    /// It cannot be tried here, and says nothing for or against its provider.
    NotReplayable,
    /// This host failed while looking at it.
    Failed,
}

impl Kind {
    /// All of them, in the order in which reports list them.
    pub const ALL: [Self; 8] = [
        Self::Identical,
        Self::Diverged,
        Self::AuthorityFalse,
        Self::Inconsistent,
        Self::Damaged,
        Self::MissingComponent,
        Self::NotReplayable,
        Self::Failed,
    ];

    /// Its name among programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identical => "identical",
            Self::Diverged => "diverged",
            Self::AuthorityFalse => "authority-false",
            Self::Inconsistent => "inconsistent",
            Self::Damaged => "damaged",
            Self::MissingComponent => "missing-component",
            Self::NotReplayable => "not-replayable",
            Self::Failed => "failed",
        }
    }

    /// Whether something is wrong, as against not known.
    pub const fn is_wrong(self) -> bool {
        match self {
            Self::Diverged | Self::AuthorityFalse | Self::Inconsistent | Self::Damaged => true,
            Self::Identical | Self::MissingComponent | Self::NotReplayable | Self::Failed => false,
        }
    }
}

/// One receipt, or one file, that is not identical.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What is wrong, or not known.
    pub kind: Kind,
    /// The receipt; absent where not even that could be read.
    pub receipt: Option<ReceiptId>,
    /// Whose receipt it is, as far as that could be read.
    pub provider: Option<Did>,
    /// The function that was called.
    pub function: Option<String>,
    /// The file that it came in; absent for a receipt of the home.
    pub file: Option<PathBuf>,
    /// Where the receipt and its re-execution part, for one that diverged.
    pub divergence: Option<Divergence>,
    /// What is wrong, in words. Most of it may be a stranger's.
    pub says: String,
    /// What else is wrong with it.
    pub also: Vec<String>,
}

impl Row {
    /// Cuts what is long.
    fn cut(mut self) -> Self {
        if let Some(d) = &mut self.divergence {
            [&mut d.at, &mut d.receipt, &mut d.replay].into_iter().for_each(cut);
        }
        self.also.iter_mut().chain([&mut self.says]).for_each(cut);
        self
    }

    fn to_json(&self, name: &dyn Fn(&Did) -> String) -> Json {
        let divergence = self.divergence.as_ref();
        json!({
            "kind": self.kind.name(),
            "receipt": self.receipt.map(|id| id.to_string()),
            "provider": self.provider.map(|did| did.to_string()),
            "name": self.provider.as_ref().map(name),
            "function": self.function,
            "file": self.file.as_ref().map(|path| path.display().to_string()),
            "at": divergence.map(|d| &d.at),
            "receipt_says": divergence.map(|d| &d.receipt),
            "replay_says": divergence.map(|d| &d.replay),
            "says": self.says,
            "also": self.also,
        })
    }
}

fn cut(text: &mut String) {
    const ELLIPSIS: char = '…';
    if text.len() > MAX_WORDS_BYTES {
        text.truncate(text.floor_char_boundary(MAX_WORDS_BYTES - ELLIPSIS.len_utf8()));
        text.push(ELLIPSIS);
    }
}

/// How many receipts of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    counts: BTreeMap<Kind, u64>,
    /// The fuel of those that were identical: what running them again burned.
    pub fuel: u64,
}

impl Tally {
    /// How many of this kind.
    pub fn of(&self, kind: Kind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or(0)
    }

    /// How many in all.
    pub fn receipts(&self) -> u64 {
        self.counts.values().sum()
    }

    /// How many with which something is wrong.
    pub fn wrong(&self) -> u64 {
        self.counts.iter().filter(|(kind, _)| kind.is_wrong()).map(|(_, count)| count).sum()
    }

    fn add(&mut self, kind: Kind, fuel: u64) {
        let count = self.counts.entry(kind).or_default();
        *count = count.saturating_add(1);
        if kind == Kind::Identical {
            self.fuel = self.fuel.saturating_add(fuel);
        }
    }

    fn kinds(&self) -> Json {
        Kind::ALL.iter().map(|kind| (kind.name().to_owned(), json!(self.of(*kind)))).collect()
    }
}

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// When it began, in seconds since the Unix epoch.
    pub at: u64,
    /// How long it took.
    pub took: Duration,
    /// On how many threads.
    pub threads: usize,
    /// All receipts that were looked at.
    pub total: Tally,
    /// The same by provider; those of which not even the provider could be read under none.
    pub providers: BTreeMap<Option<Did>, Tally>,
    /// Everything that is not identical, in the order in which it was found; at most [`MAX_ROWS`].
    pub rows: Vec<Row>,
    /// How many more rows there would be.
    pub rows_left_out: u64,
    /// Receipts, or files, that were to be looked at and were not, because the audit was interrupted.
    pub not_reached: u64,
    /// Whether there are more receipts than one audit takes.
    pub more: bool,
    /// Verdicts that were kept. What a verdict of this home's says already is not kept again.
    pub kept: u64,
    /// Why verdicts could not be kept or written, the first reason of each; empty when all were.
    pub lost: Vec<String>,
}

impl Report {
    /// Receipts looked at in a second.
    pub fn per_second(&self) -> u64 {
        let millis = u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX).max(1);
        self.total.receipts().saturating_mul(1_000) / millis
    }

    /// The providers, those with most wrong first, then those with most receipts.
    pub fn worst_first(&self) -> Vec<(Option<&Did>, &Tally)> {
        let mut all: Vec<_> = self.providers.iter().map(|(did, tally)| (did.as_ref(), tally)).collect();
        let rank = |tally: &Tally| std::cmp::Reverse((tally.wrong(), tally.receipts()));
        all.sort_by_key(|(_, tally)| rank(tally));
        all
    }

    /// Takes in what was found of one receipt.
    pub(super) fn add(&mut self, row: Row, fuel: u64) {
        self.total.add(row.kind, fuel);
        self.providers.entry(row.provider).or_default().add(row.kind, fuel);
        if row.kind == Kind::Identical {
            return;
        }
        if self.rows.len() < MAX_ROWS {
            self.rows.push(row.cut());
        } else {
            self.rows_left_out = self.rows_left_out.saturating_add(1);
        }
    }

    /// For programs. `name` is what a key is called.
    pub fn to_json(&self, name: &dyn Fn(&Did) -> String) -> Json {
        let providers = self.worst_first().into_iter().map(|(did, tally)| {
            json!({
                "provider": did.map(Did::to_string),
                "name": did.map(name),
                "receipts": tally.receipts(),
                "fuel": tally.fuel,
                "kinds": tally.kinds(),
            })
        });
        json!({
            "at": self.at,
            "millis": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            "threads": self.threads,
            "receipts": self.total.receipts(),
            "receipts_per_second": self.per_second(),
            "not_reached": self.not_reached,
            "more": self.more,
            "fuel": self.total.fuel,
            "kinds": self.total.kinds(),
            "providers": providers.collect::<Vec<_>>(),
            "rows": self.rows.iter().map(|row| row.to_json(name)).collect::<Vec<_>>(),
            "rows_left_out": self.rows_left_out,
            "verdicts_kept": self.kept,
            "lost": self.lost,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actum_model::SecretKey;

    fn row(kind: Kind, provider: u8, says: &str) -> Row {
        Row {
            kind,
            receipt: Some(ReceiptId::of(&[provider])),
            provider: Some(SecretKey::from_seed(&[provider; 32]).did()),
            function: None,
            file: None,
            divergence: None,
            says: says.to_owned(),
            also: Vec::new(),
        }
    }

    #[test]
    fn everything_is_counted_and_only_what_is_not_identical_is_a_row() {
        let mut report = Report::default();
        for _ in 0..3 {
            report.add(row(Kind::Identical, 1, ""), 10);
        }
        // A liar's fuel is its word, and counts for nothing.
        report.add(row(Kind::Diverged, 2, "x"), u64::MAX);
        report.add(row(Kind::NotReplayable, 2, "y"), 5);
        assert_eq!((report.total.receipts(), report.total.wrong(), report.total.fuel), (5, 1, 30));
        assert_eq!(report.rows.len(), 2);
        let worst = report.worst_first();
        assert_eq!(worst[0].1.of(Kind::Diverged), 1);
        assert_eq!(worst[1].1.receipts(), 3);
        let json = report.to_json(&|did| did.short());
        assert_eq!(json["kinds"].as_object().map(|kinds| kinds.len()), Some(Kind::ALL.len()));
        assert_eq!(json["providers"][0]["kinds"]["not-replayable"], 1);
        assert_eq!(json["rows"][0]["kind"], "diverged");
    }

    #[test]
    fn rows_are_bounded_in_number_and_length() {
        let mut report = Report::default();
        for _ in 0..MAX_ROWS + 7 {
            report.add(row(Kind::Damaged, 1, ""), 0);
        }
        assert_eq!((report.rows.len(), report.rows_left_out), (MAX_ROWS, 7));
        let long = row(Kind::Failed, 1, &"ä".repeat(4_000)).cut();
        assert!(long.says.len() <= MAX_WORDS_BYTES && long.says.ends_with('…'));
    }

    #[test]
    fn every_kind_is_listed_once_in_its_order() {
        assert!(Kind::ALL.is_sorted_by(|a, b| a < b));
    }
}
