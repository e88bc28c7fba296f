//! From text to stems: lower case, without the words that say nothing, and with a few synonyms.

use rust_stemmers::{Algorithm, Stemmer};
use std::sync::LazyLock;

/// A word of a text.
pub(super) struct Word {
    /// As typed, in lower case.
    pub(super) typed: String,
    /// What remains when its ending is taken off.
    pub(super) stem: String,
}

/// The longest word looked at, in bytes; a longer one is no word.
const MAX_WORD_BYTES: usize = 64;

/// Words that say nothing about what is wanted: English function words, and what every capability says of itself.
const STOP: &[&str] = &[
    "a",
    "about",
    "actum",
    "all",
    "an",
    "and",
    "any",
    "are",
    "as",
    "at",
    "be",
    "by",
    "can",
    "capability",
    "do",
    "does",
    "each",
    "find",
    "for",
    "from",
    "get",
    "give",
    "has",
    "have",
    "how",
    "i",
    "if",
    "in",
    "into",
    "is",
    "it",
    "its",
    "like",
    "make",
    "makes",
    "me",
    "my",
    "need",
    "of",
    "on",
    "one",
    "or",
    "our",
    "out",
    "please",
    "s",
    "so",
    "some",
    "something",
    "than",
    "that",
    "the",
    "their",
    "them",
    "then",
    "there",
    "these",
    "this",
    "those",
    "to",
    "turn",
    "turns",
    "up",
    "us",
    "use",
    "using",
    "want",
    "was",
    "we",
    "what",
    "when",
    "where",
    "which",
    "while",
    "who",
    "will",
    "with",
    "would",
    "you",
    "your",
];

/// Words that people use for one another when they ask for something to be done. Each line is one meaning.
const SYNONYMS: &[&[&str]] = &[
    &["picture", "image", "photo", "photograph"],
    &["smaller", "small", "shrink", "resize", "scale", "thumbnail", "reduce"],
    &["summary", "summarize", "summarise", "shorten", "abstract", "condense", "gist"],
    &["html", "webpage", "page"],
    &["convert", "render", "transform", "translate"],
    &["difference", "diff", "compare", "comparison", "changes"],
    &["hash", "digest", "checksum", "fingerprint"],
    &["total", "sum", "aggregate"],
    &["table", "spreadsheet", "csv"],
    &["extract", "match", "regex", "pattern"],
    &["search", "query", "filter", "select"],
    &["barcode", "qr"],
    &["count", "number", "tally"],
    &["keyword", "topic"],
];

/// The words of a text, in order.
pub(super) fn words(text: &str) -> impl Iterator<Item = Word> + '_ {
    let stemmer = Stemmer::create(Algorithm::English);
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty() && w.len() <= MAX_WORD_BYTES)
        .map(str::to_lowercase)
        .filter(|w| STOP.binary_search(&w.as_str()).is_err())
        .map(move |typed| Word { stem: stemmer.stem(&typed).into_owned(), typed })
}

/// The stems of each line of synonyms: stemmed once, for every query asks.
static ALIKE: LazyLock<Vec<Vec<String>>> = LazyLock::new(|| {
    let stemmer = Stemmer::create(Algorithm::English);
    let stems = |line: &&[&str]| line.iter().map(|word| stemmer.stem(word).into_owned()).collect();
    SYNONYMS.iter().map(stems).collect()
});

/// The stems that mean the same as this one, itself not included.
pub(super) fn synonyms(stem: &str) -> Vec<String> {
    let lines = ALIKE.iter().filter(|line| line.iter().any(|s| s == stem));
    let mut alike: Vec<_> = lines.flatten().filter(|s| *s != stem).cloned().collect();
    alike.sort();
    alike.dedup();
    alike
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stop_words_are_sorted() {
        assert!(STOP.is_sorted());
    }

    #[test]
    fn endings_and_case_do_not_matter() {
        let stems = |text| words(text).map(|w| w.stem).collect::<Vec<_>>();
        assert_eq!(stems("Counting the WORDS"), stems("count word"));
        assert_eq!(stems("into the  -- "), Vec::<String>::new());
        assert!(synonyms("pictur").contains(&"imag".to_owned()));
    }
}
