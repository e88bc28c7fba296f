//! What `run`, `replay` and `receipt` say of a journal: one numbered line an entry.

use crate::output;
use actum_model::{
    Bodies, Journal,
    explain::{Explained, Width},
};

/// How many entries there are.
pub(super) fn count(journal: &Journal) -> String {
    match journal.entries.len() {
        0 => "empty: the guest was told nothing of the real world".to_owned(),
        1 => "1 entry".to_owned(),
        n => format!("{n} entries"),
    }
}

/// The entries in words, numbered from 1. A terminal obeys nothing in them.
pub(super) fn lines(journal: &Journal, bodies: &Bodies, width: Width) -> impl Iterator<Item = String> {
    let digits = journal.entries.len().to_string().len();
    let numbered = journal.entries.iter().zip(1_usize..);
    numbered.map(move |(entry, n)| {
        let words = Explained::of(entry, bodies, width).to_string();
        format!("{n:>digits$}  {}", output::clean(&words))
    })
}

/// The entries in words, for programs.
pub(super) fn json(journal: &Journal, bodies: &Bodies, width: Width) -> serde_json::Value {
    let entry = |entry| {
        let Explained { function, asked, told, denied, withdrawn } = Explained::of(entry, bodies, width);
        let withdrawn = withdrawn.map(|why| why.code());
        serde_json::json!({
            "function": function, "asked": asked, "told": told, "denied": denied, "withdrawn": withdrawn
        })
    };
    journal.entries.iter().map(entry).collect()
}
