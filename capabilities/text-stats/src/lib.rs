//! `actum:text-stats`: counts what a reader would count in a text, by the Unicode segmentation rules.

actum_guest::capability! {
    wit: "../../wit/text-stats",
    implement: TextStats,
}

use std::collections::{BTreeMap, BTreeSet};

use bindings::exports::actum::text_stats::text_stats::{Counts, Frequency, Guest};
use unicode_segmentation::UnicodeSegmentation;

struct TextStats;

impl Guest for TextStats {
    fn count_words(text: String) -> Counts {
        let mut words = 0;
        let mut distinct = BTreeSet::new();
        for word in text.unicode_words() {
            words += 1;
            distinct.insert(word.to_lowercase());
        }
        Counts {
            words,
            distinct_words: count(distinct.iter()),
            sentences: count(text.unicode_sentences()),
            paragraphs: paragraphs(&text),
            lines: count(text.lines()),
            characters: count(text.graphemes(true)),
            bytes: text.len() as u64,
        }
    }

    fn frequent_words(text: String, limit: u32, shortest: Option<u32>) -> Vec<Frequency> {
        let shortest = shortest.unwrap_or(0) as usize;
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for word in text.unicode_words() {
            if word.graphemes(true).count() >= shortest {
                *counts.entry(word.to_lowercase()).or_default() += 1;
            }
        }
        let mut frequencies: Vec<Frequency> =
            counts.into_iter().map(|(word, count)| Frequency { word, count }).collect();
        // Stable, so that the map's alphabetical order decides between equals.
        frequencies.sort_by_key(|frequency| std::cmp::Reverse(frequency.count));
        frequencies.truncate(limit as usize);
        frequencies
    }
}

fn count<T>(items: impl Iterator<Item = T>) -> u64 {
    items.count() as u64
}

/// Blocks of lines that are not blank.
fn paragraphs(text: &str) -> u64 {
    let mut paragraphs = 0;
    let mut inside = false;
    for line in text.lines() {
        let blank = line.trim().is_empty();
        if !blank && !inside {
            paragraphs += 1;
        }
        inside = !blank;
    }
    paragraphs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_a_reader_counts() {
        let counts = TextStats::count_words("Don't panic. Don't!\n\nNaïve café: 3.5 €\n".to_owned());
        assert_eq!((counts.words, counts.distinct_words), (6, 5));
        assert_eq!((counts.sentences, counts.paragraphs, counts.lines), (3, 2, 3));
        assert_eq!(counts.bytes, 43);
        assert_eq!(counts.characters, 39);
    }

    #[test]
    fn an_empty_text_counts_nothing() {
        let counts = TextStats::count_words(String::new());
        assert_eq!((counts.words, counts.lines, counts.characters, counts.paragraphs), (0, 0, 0, 0));
    }

    #[test]
    fn an_emoji_family_is_one_character() {
        assert_eq!(TextStats::count_words("👩‍👩‍👧‍👦".to_owned()).characters, 1);
    }

    #[test]
    fn frequent_words_are_ordered_by_count_then_alphabet() {
        let found = TextStats::frequent_words("b a B a c the The THE".to_owned(), 3, None);
        let words: Vec<_> = found.iter().map(|f| (f.word.as_str(), f.count)).collect();
        assert_eq!(words, [("the", 3), ("a", 2), ("b", 2)]);
    }

    #[test]
    fn short_words_can_be_left_out() {
        let found = TextStats::frequent_words("of the of the sea".to_owned(), 10, Some(3));
        assert_eq!(found.iter().map(|f| f.word.as_str()).collect::<Vec<_>>(), ["the", "sea"]);
    }
}
